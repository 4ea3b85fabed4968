/* must - see must.h. */
#include "base/must.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

void must_fail(const char *what, const char *file, int line)
{
    char text[LOG_LINE_BYTES];
    int len =
        snprintf(text, sizeof(text), "penstock: %s:%d: must(%s) does not hold\n", file, line, what);

    if (len > 0)
        (void)log_last_words(STDERR_FILENO, text, MIN((size_t)len, sizeof(text) - 1));
    abort();
}

void *must_alloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);

    must(p != NULL);
    return p;
}

char *must_strdup(const char *s)
{
    char *copy = strdup(s);

    must(copy != NULL);
    return copy;
}

char *must_printf(const char *fmt, ...)
{
    va_list args;
    char *out = NULL;

    va_start(args, fmt);
    int n = vasprintf(&out, fmt, args);
    va_end(args);
    must(n >= 0);
    return out;
}

char *must_join(const char *const *words)
{
    char *all = must_strdup("");

    for (size_t i = 0; words && words[i]; i++) {
        char *longer = must_printf("%s%s%s", all, i ? ", " : "", words[i]);

        free(all);
        all = longer;
    }
    return all;
}
