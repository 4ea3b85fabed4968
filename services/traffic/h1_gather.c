/* h1_gather - see h1_gather.h. */
#include "traffic/h1_gather.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

void h1_gather_fini(struct h1_gather *g)
{
    free(g->bytes);
    *g = (struct h1_gather){0};
}

int h1_gather_add(struct h1_gather *g, const void *src, size_t n, size_t limit, size_t *used)
{
    size_t part = g->len < limit ? MIN(n, limit - g->len) : 0, size = g->size;

    while (size < g->len + part)
        size = size == 0 ? H1_GATHER_FIRST : size * 2;
    if (size > g->size) {
        char *bytes = realloc(g->bytes, size);

        if (!bytes)
            return -ERR_NOMEM;
        g->bytes = bytes;
        g->size = size;
    }
    if (part > 0)
        memcpy(g->bytes + g->len, src, part);
    g->len += part;
    *used = part;
    return 0;
}
