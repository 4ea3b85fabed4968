/* trust_watch - proxyProtocol.trusted, kept true: networks and addresses as they stand, names
 * looked up again every 10 s.
 *
 * A name that cannot be looked up keeps the addresses that it had: a name server that is away must
 * not lock the hub out.  Each change gives a new list (proxy_intake.h).  Control thread only.
 */
#ifndef TRAFFIC_TRUST_WATCH_H
#define TRAFFIC_TRUST_WATCH_H

#include <stdbool.h>

#include "loop/resolver.h"
#include "traffic/proxy_intake.h"

#define TRUST_WATCH_EVERY_MS 10000u

struct json_object;

struct trust_name {
    struct resolve query;
    struct trust_watch *watch; /* borrowed */
    char *name;                /* owned */
    union addr addrs[RESOLVER_ADDRESSES_MAX];
    unsigned count;
    bool was_asked;  /* the first answer has come, whatever it was */
    bool is_failing; /* told once in the log */
};

struct trust_watch {
    struct loop *loop;         /* borrowed */
    struct resolver *resolver; /* borrowed */
    struct deadline again;
    struct trust_name *names; /* owned */
    size_t names_count;
    struct json_object *list;    /* counted: what was configured */
    struct proxy_trust *present; /* counted: in force */
    void (*on_change)(struct trust_watch *w, struct proxy_trust *trust);
};

/* `list` has been checked (traffic_conf.h); it is counted, not copied.  `present` is there at once,
 * with the names still missing; on_change is called from the loop. */
void trust_watch_init(struct trust_watch *w, struct loop *loop, struct resolver *resolver,
                      struct json_object *list,
                      void (*on_change)(struct trust_watch *w, struct proxy_trust *trust));
/* Another list; on_change is called when it differs.  Names that stand in both keep the addresses
 * that they have. */
void trust_watch_take(struct trust_watch *w, struct json_object *list);
void trust_watch_fini(struct trust_watch *w); /* fine when zeroed */
/* Each name has been looked up once: until then a peer may be refused that is to be trusted. */
bool trust_watch_is_settled(const struct trust_watch *w);

#endif
