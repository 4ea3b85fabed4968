/* dial - one outgoing TCP connection: looks the name up, tries its addresses, gives a descriptor.
 *
 *   IDLE -> RESOLVING -> CONNECTING (address after address) -> IDLE
 *
 * An IP literal is not looked up.  Each address gets address_ms, all together, the lookup included,
 * total_ms.  IPv6 and IPv4 addresses alternate, the resolver's first family first.
 */
#ifndef LOOP_DIAL_H
#define LOOP_DIAL_H

#include "loop/addr.h"
#include "loop/congestion.h"
#include "loop/loop.h"
#include "loop/resolver.h"

#define DIAL_ADDRESSES_MAX RESOLVER_ADDRESSES_MAX

enum dial_state { DIAL_IDLE, DIAL_RESOLVING, DIAL_CONNECTING };

struct dial {
    enum dial_state state;
    struct loop *loop;         /* borrowed */
    struct resolver *resolver; /* borrowed; may be NULL where only literals are dialled */
    struct resolve query;
    struct ready begin; /* a literal's first step: not from within dial_start() */
    struct loop_io io;
    struct deadline deadline; /* the address's or all addresses', whichever is due first */
    union addr addrs[DIAL_ADDRESSES_MAX];
    unsigned count, next;
    int fd;                              /* owned until handed over; -1 */
    const struct congestion *congestion; /* borrowed; NULL: the system's */
    unsigned address_ms;
    uint64_t total_due_ms;
    int last_errno; /* of the last address that failed; 0: none did */
    /* fd >= 0 (the callee's: connected, non-blocking, TCP_NODELAY, CLOEXEC) with err 0 and the
     * address reached, or fd -1 and `peer` the last address tried or NULL:
     *   -ERR_RESOLVE  the name has no address
     *   -ERR_CONNECT  every address refused (last_errno says how)
     *   -ERR_TIMEOUT  total_ms are over, or the last address did not answer
     *   -ERR_SYS      this machine has no descriptor, port or memory left (last_errno)
     * Called from the loop, never from dial_start(); the dial is idle then and may start again. */
    void (*on_done)(struct dial *d, int fd, int err, const union addr *peer);
};

void dial_init(struct dial *d, struct loop *loop, struct resolver *resolver,
               void (*on_done)(struct dial *d, int fd, int err, const union addr *peer));
/* The dial must be idle; both times above 0. */
void dial_start(struct dial *d, const char *host, uint16_t port, unsigned address_ms,
                unsigned total_ms);
void dial_cancel(struct dial *d); /* on_done is not called any more; fine when idle or zeroed */

#endif
