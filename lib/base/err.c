/* err - see err.h. */
#include "base/err.h"

#include "base/must.h"

static const char *const texts[] = {
#define X(name, text) text,
    ERR_LIST(X)
#undef X
};
static const char *const names[] = {
    "none",      "proto",    "syntax", "too_big", "full",    "nomem",   "limit",
    "not_found", "conflict", "auth",   "denied",  "timeout", "resolve", "connect",
    "reset",     "closed",   "tls",    "cert",    "io",      "sys",
};
_Static_assert(ARRAY_LEN(names) == ERR_COUNT, "every error has a name");

/* Defined for INT_MIN too. */
static unsigned magnitude(int err)
{
    return err < 0 ? 0u - (unsigned)err : (unsigned)err;
}

const char *err_name(int err)
{
    unsigned i = magnitude(err);

    return i < ERR_COUNT ? names[i] : "unknown";
}

const char *err_text(int err)
{
    unsigned i = magnitude(err);

    return i < ERR_COUNT ? texts[i] : "unknown error";
}
