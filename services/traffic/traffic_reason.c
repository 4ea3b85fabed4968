/* traffic_reason - see traffic_reason.h. */
#include "traffic/traffic_reason.h"

#include "base/must.h"

static const struct {
    const char *word;
    unsigned status;
} reasons[] = {
#define X(name, word, status, meaning) [REASON_##name] = {word, status},
    TRAFFIC_REASONS(X)
#undef X
};

const char *traffic_reason_word(enum traffic_reason reason)
{
    must(reason < REASON_COUNT);
    return reasons[reason].word;
}

bool traffic_reason_is_clients(enum traffic_reason reason)
{
    static const enum traffic_reason others[] = {
        REASON_AUTH_BUSY,        REASON_NO_MEMORY,        REASON_STOPPED,
        REASON_H2_UNLENT,        REASON_UPSTREAM_CONNECT, REASON_UPSTREAM_FULL,
        REASON_UPSTREAM_CLOSED,  REASON_UPSTREAM_INVALID, REASON_UPSTREAM_EXTRA,
        REASON_UPSTREAM_TIMEOUT, REASON_UPSTREAM_UPGRADE,
    };

    must(reason < REASON_COUNT);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (reason == others[i])
            return false;
    return true;
}

unsigned traffic_reason_status(enum traffic_reason reason)
{
    must(reason < REASON_COUNT);
    return reasons[reason].status;
}
