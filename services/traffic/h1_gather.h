/* h1_gather - a head that comes in pieces, put together in contiguous memory; grows from 2 KiB to
 * the limit of a head, and holds nothing while heads come whole. */
#ifndef TRAFFIC_H1_GATHER_H
#define TRAFFIC_H1_GATHER_H

#include "base/must.h"

#define H1_GATHER_FIRST 2048u

struct h1_gather {
    char *bytes; /* owned */
    size_t len, size;
};

void h1_gather_fini(struct h1_gather *g); /* gives the memory back; usable again */
/* Where n more bytes go, counted already.  NULL: no memory. */
char *h1_gather_extend(struct h1_gather *g, size_t n);
/* Adds at most `limit` - len of the n bytes; *used says how many: none when more than a limit that
 * a reload has lowered is held already.  0, -ERR_NOMEM. */
MUST_USE int h1_gather_add(struct h1_gather *g, const void *src, size_t n, size_t limit,
                           size_t *used);

#endif
