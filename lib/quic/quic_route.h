/* quic_route - the table that finds a connection by what a packet shows: the id that it is sent to,
 * or the token of a stateless reset (RFC 9000, 5.2 and 10.3.1).
 *
 * Routes stand in their owner's memory; the table only links them.  Its hash is keyed, since a
 * client chooses the first id of its connection.
 */
#ifndef QUIC_QUIC_ROUTE_H
#define QUIC_QUIC_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must.h"

#define ROUTE_KEY_MAX 20u /* a connection id; a reset token has 16 */

enum route_kind { ROUTE_NONE, ROUTE_ID, ROUTE_RESET_TOKEN };

struct route {
    struct route *next; /* borrowed: in the same bucket */
    void *owner;        /* borrowed */
    enum route_kind kind;
    uint8_t key[ROUTE_KEY_MAX], key_len;
};

struct route_table {
    struct route **buckets;   /* owned; a power of two of them */
    const struct route *last; /* found: packets come in bundles for one connection */
    size_t size, count;
    uint64_t seed[2];
};

/* The seed is to be random.  0, -ERR_NOMEM. */
MUST_USE int quic_route_table_init(struct route_table *t, const uint64_t seed[2]);
void quic_route_table_fini(struct route_table *t); /* empty by then; fine on a zeroed one */

/* Adds a route that is in no table (kind ROUTE_NONE).  False: the key is there already. */
bool quic_route_add(struct route_table *t, struct route *r, enum route_kind kind,
                    const uint8_t *key, size_t key_len, void *owner);
void quic_route_remove(struct route_table *t, struct route *r); /* fine when it is in none */
/* The owner, or NULL. */
void *quic_route_find(struct route_table *t, enum route_kind kind, const uint8_t *key,
                      size_t key_len);

#endif
