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

char *h1_gather_extend(struct h1_gather *g, size_t n)
{
    size_t size = g->size, before = g->len;

    while (size < g->len + n)
        size = size == 0 ? H1_GATHER_FIRST : size * 2;
    if (size > g->size) {
        char *bytes = realloc(g->bytes, size);

        if (!bytes)
            return NULL;
        g->bytes = bytes;
        g->size = size;
    }
    g->len += n;
    return g->bytes + before;
}

int h1_gather_add(struct h1_gather *g, const void *src, size_t n, size_t limit, size_t *used)
{
    size_t part = g->len < limit ? MIN(n, limit - g->len) : 0;
    char *at;

    *used = 0;
    if (part == 0)
        return 0;
    at = h1_gather_extend(g, part);
    if (!at)
        return -ERR_NOMEM;
    memcpy(at, src, part);
    *used = part;
    return 0;
}
