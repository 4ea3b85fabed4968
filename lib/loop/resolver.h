/* resolver - names to addresses without blocking the loop (c-ares; /etc/hosts and resolv.conf as
 * the system has them).  One resolver a loop.
 *
 * Nothing is cached: every lookup asks anew, /etc/hosts is read each time, and a resolv.conf that
 * changed holds from the next lookup on.  A server gets a second to answer, then the next one is
 * asked, three rounds at most. */
#ifndef LOOP_RESOLVER_H
#define LOOP_RESOLVER_H

#include "loop/addr.h"
#include "loop/loop.h"

#define RESOLVER_ADDRESSES_MAX 16 /* of one name; more are left out */
#define RESOLVER_QUERIES_MAX                                                                       \
    4096 /* under way at once, cancelled ones included; more fail at once */

struct resolver;

struct resolver *resolver_new(struct loop *loop); /* NULL: c-ares could not start */

/* What the system's settings are replaced with, in tests; NULL or 0: not replaced. */
struct resolver_options {
    const char *resolv_conf; /* borrowed for the resolver's life */
    uint16_t server_port;
};
struct resolver *resolver_new_with(struct loop *loop, const struct resolver_options *options);
void resolver_free(struct resolver *r); /* open queries are forgotten, not answered; NULL is fine */

struct resolve {
    struct resolver *resolver; /* borrowed while busy, else NULL */
    struct resolver_query
        *query; /* owned by the resolver: under way; NULL for what failed at once */
    struct ready answer;
    /* `count` addresses with `port` set, in the order of RFC 6724, or err -ERR_RESOLVE and count 0.
     * From the loop, never from resolve_start(); it may start the same lookup again. */
    void (*on_addresses)(struct resolve *q, const union addr *addrs, unsigned count, int err);
};

/* IP literals are answered too.  `q` must be idle: zeroed, answered or cancelled. */
void resolve_start(struct resolve *q, struct resolver *r, const char *host, uint16_t port,
                   void (*on_addresses)(struct resolve *q, const union addr *addrs, unsigned count,
                                        int err));
void resolve_cancel(struct resolve *q); /* fine when idle or zeroed */

#endif
