/* hello - see hello.h: what needs no JSON. */
#include "wire/hello.h"

#include <string.h>

#include "wire/base64url.h"

_Static_assert(SESSION_TEXT_LEN == BASE64URL_LEN(SESSION_BYTES), "a session is 128 bits");

bool feature_list_has(const struct feature_list *l, const char *name)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->names[i], name) == 0)
            return true;
    return false;
}

void feature_list_add(struct feature_list *l, const char *name)
{
    size_t n = strlen(name);

    if (n == 0 || n > FEATURE_MAX || l->count == FEATURES_MAX || feature_list_has(l, name))
        return;
    memcpy(l->names[l->count++], name, n + 1);
}

const char *answer_name(enum answer_code code)
{
    static const char *const names[] = {
        [ANSWER_OK] = "ok",
#define X(name, text) [ANSWER_##name] = text,
        ANSWER_CODES(X)
#undef X
            [ANSWER_OTHER] = "other",
    };

    return names[code];
}

void answer_fini(struct answer *a)
{
    wire_config_fini(&a->config);
    *a = (struct answer){.code = ANSWER_OK};
}
