/* dial - one outgoing TCP connection: looks the name up, tries its addresses, gives a descriptor.
 *
 *   RESOLVING -> CONNECTING (address after address) -> done
 *
 * An IP literal is not looked up.  Each address gets address_ms, all together total_ms.  IPv6 and
 * IPv4 addresses alternate, the resolver's first family first.
 */
#ifndef LOOP_DIAL_H
#define LOOP_DIAL_H

#include "loop/listener.h"
#include "loop/resolver.h"

#define DIAL_ADDRESSES_MAX 16

struct dial {
    struct loop *loop;     /* borrowed */
    struct resolver *resolver; /* borrowed */
    struct resolve query;
    struct loop_io io;
    struct deadline deadline;
    union addr addrs[DIAL_ADDRESSES_MAX];
    unsigned count, next;
    int fd; /* owned until handed over; -1 */
    unsigned address_ms;
    uint64_t total_due_ms;
    int last_errno;
    bool is_busy;
    /* fd >= 0 (the callee's: connected, non-blocking, TCP_NODELAY, CLOEXEC) with err 0 and the
     * address reached, or fd -1 and -ERR_RESOLVE, -ERR_CONNECT, -ERR_TIMEOUT, -ERR_SYS with `peer`
     * the last address tried or NULL.  Called from the loop, never from dial_start(). */
    void (*on_done)(struct dial *d, int fd, int err, const union addr *peer);
};

void dial_init(struct dial *d, struct loop *loop, struct resolver *resolver,
               void (*on_done)(struct dial *d, int fd, int err, const union addr *peer));
void dial_start(struct dial *d, const char *host, uint16_t port, unsigned address_ms,
                unsigned total_ms);
void dial_cancel(struct dial *d); /* on_done is not called any more; fine when idle */

#endif
