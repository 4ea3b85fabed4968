/* traffic_reason - see traffic_reason.h. */
#include "traffic/traffic_reason.h"

#include "base/must.h"

static const struct {
    const char *word;
    unsigned status;
} reasons[] = {
#define X(name, word, status) [REASON_##name] = {word, status},
    TRAFFIC_REASONS(X)
#undef X
};

const char *traffic_reason_word(enum traffic_reason reason)
{
    must(reason < REASON_COUNT);
    return reasons[reason].word;
}

unsigned traffic_reason_status(enum traffic_reason reason)
{
    must(reason < REASON_COUNT);
    return reasons[reason].status;
}
