/* resolver - names to addresses without blocking the loop (c-ares; /etc/hosts and resolv.conf as
 * the system has them).  One resolver a loop. */
#ifndef LOOP_RESOLVER_H
#define LOOP_RESOLVER_H

#include "loop/listener.h"

struct resolver;

struct resolver *resolver_new(struct loop *loop); /* NULL: c-ares could not start */
void resolver_free(struct resolver *r);           /* open queries are forgotten, not answered */

struct resolve {
    struct list node;
    struct resolver *resolver; /* borrowed while busy, else NULL */
    void *pending; /* owned by the resolver: the query under way */
    /* `count` addresses with `port` set, or err -ERR_RESOLVE and count 0.  From the loop, never from
     * resolve_start(). */
    void (*on_addresses)(struct resolve *q, const union addr *addrs, unsigned count, int err);
};

/* IP literals are answered too (in the next turn). */
void resolve_start(struct resolve *q, struct resolver *r, const char *host, uint16_t port,
                   void (*on_addresses)(struct resolve *q, const union addr *addrs, unsigned count,
                                        int err));
void resolve_cancel(struct resolve *q); /* fine when idle or zeroed */

#endif
