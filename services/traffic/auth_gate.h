/* auth_gate - whether a request's credentials open its route: one worker's part.
 *
 * A password kept as a MAC is compared at once.  One kept as a hash (`passHash`) is checked by the
 * auth_pool; that it was right is remembered for `auth.cacheSecs`, as a MAC of route, name and
 * password together, in a table of a fixed size.
 *
 * An address whose credentials for a route were wrong `auth.failures` times in a row has to wait:
 * 1 s, then 2, 4, ... 60 s for each further failure; meanwhile credentials from there for that
 * route are not looked at (429).  An IPv6 address counts as its /64.
 */
#ifndef TRAFFIC_AUTH_GATE_H
#define TRAFFIC_AUTH_GATE_H

#include "traffic/auth.h"
#include "traffic/auth_pool.h"
#include "traffic/http_head.h"

struct route;
struct traffic_worker;

#define AUTH_CACHE_SLOTS   1024u
#define AUTH_ADDRESS_SLOTS 4096u

struct auth_gate {
    struct auth_cache_slot {
        uint8_t id[AUTH_MAC_BYTES];
        uint64_t due_ms; /* 0: empty */
    } * cache;           /* owned; made when it is first used, as the other one */
    struct auth_address_slot {
        uint64_t address; /* hashed */
        unsigned failures;
        uint64_t until_ms, last_ms;
    } * addresses; /* owned */
};

/* What is asked for one request; embedded in it, zeroed at first. */
struct auth_check {
    struct auth_wait wait;
    struct traffic_worker *worker; /* borrowed */
    uint8_t id[AUTH_MAC_BYTES];    /* of the credentials */
    uint64_t address;
    bool is_user_right;
    /* Once, later, after auth_gate_ask() said that it waits: REASON_NONE or why not. */
    void (*on_verdict)(struct auth_check *check, enum traffic_reason reason);
};

void auth_gate_fini(struct auth_gate *gate);
/* REASON_NONE: it may pass, or *waits and on_verdict comes.  Else why it may not. */
MUST_USE enum traffic_reason auth_gate_ask(struct traffic_worker *w, const struct route *route,
                                           const struct http_request *r, const char *address,
                                           struct auth_check *check, bool *waits);
static inline void auth_check_cancel(struct auth_check *check)
{
    auth_wait_cancel(&check->wait);
}

#endif
