/* listener - TCP listening sockets (and UDP sockets, as far as binding goes): bound for all workers
 * of a port or for none, accepted by each worker with its own acceptor.
 *
 * The control thread binds (listen_bind); SO_REUSEPORT gives each worker a socket of its own.
 * An acceptor takes connections in batches.  When the process is out of descriptors it uses its
 * spare one to accept and reset one connection (so that a client learns of it instead of hanging),
 * then pauses; it never spins.
 */
#ifndef LOOP_LISTENER_H
#define LOOP_LISTENER_H

#include <stdatomic.h>

#include "base/log.h"
#include "loop/addr.h"
#include "loop/congestion.h"
#include "loop/loop.h"
#include "loop/socket.h"

#define LISTEN_BACKLOG  4096 /* the kernel clamps it to net.core.somaxconn */
#define ACCEPT_BATCH    64   /* connections taken in one turn */
#define ACCEPT_PAUSE_MS 100  /* after descriptors or memory ran out */

/* Binds and listens `count` sockets on one address (SO_REUSEPORT when count > 1, V6ONLY,
 * O_NONBLOCK, CLOEXEC), all or none.  Port 0 takes one port for all; *bound (may be NULL) tells
 * which.
 *
 * SO_REUSEPORT alone would let another process of the same user share the port in silence; so the
 * port is first bound without it, which fails when anyone listens there.  What is left: two
 * processes that bind the same port within the same moment, before either listens, may share it.
 * 0, or -errno of the first failure. */
MUST_USE int listen_bind(const union addr *at, unsigned count, int *fds, union addr *bound);
/* For [::]: a second set on 0.0.0.0, same port.  A machine without IPv6 gets the second set only,
 * one without IPv4 the first; any other address gets one set.  fds has room for 2 * count; *sets
 * tells how many sets were bound, *bound (may be NULL) where the first of them is.
 * 0, or -errno: nothing is bound then. */
MUST_USE int listen_bind_any(const union addr *at, unsigned count, int *fds, unsigned *sets,
                             union addr *bound);

/* The same for UDP: a set for each worker on `at`, both families for [::]. */
MUST_USE int listen_bind_udp(const union addr *at, unsigned count, int *fds, unsigned *sets,
                             union addr *bound);

struct acceptor {
    struct loop_io io;
    struct deadline pause;
    int fd;       /* owned, -1 when closed */
    int spare_fd; /* owned: /dev/null, given up for a moment when descriptors run out */
    bool is_stopped;
    const struct congestion *congestion; /* borrowed; NULL: what is accepted has the system's */
    struct log_limit limit;
    /* Counters, for any thread to read: connections taken; pauses for want of descriptors or
     * memory. */
    _Atomic uint64_t accepted, exhausted;
    /* The descriptor is the callee's; it is non-blocking, CLOEXEC, with TCP_NODELAY.  The callee
     * may stop or fini the acceptor. */
    void (*on_accept)(struct acceptor *a, int fd, const union addr *peer);
};

/* Takes `fd` over; does not accept yet. */
void acceptor_init(struct acceptor *a, struct loop *loop, int fd,
                   void (*on_accept)(struct acceptor *a, int fd, const union addr *peer));
/* Before it starts; `congestion` is borrowed. */
void acceptor_set_congestion(struct acceptor *a, const struct congestion *congestion);
void acceptor_start(struct acceptor *a);
void acceptor_stop(struct acceptor *a); /* accepts no more for now; what is queued waits */
void acceptor_fini(struct acceptor *a); /* closes; fine twice or zeroed */
/* The same, but who is in the queue already is accepted before: its connection stands, as far as it
 * knows. */
void acceptor_finish(struct acceptor *a);

#endif
