/* congestion - which congestion control TCP sockets get, and when: before they are connected, or by
 * their listener.
 *
 * Where none is configured it is the system's (as it was at the start), except by a loopback
 * address where that is BBR: BBR lets bytes go by timers, one for each segment, and loopback
 * neither delays nor loses.  What BBR has begun to pace is paced for good (Linux's
 * sk_pacing_status), so that a socket has to have the other one first: a listener is given it, and
 * what it accepts from elsewhere gets the system's before a byte is sent, which costs one call a
 * connection.  What a listener took before it was given to congestion_listen() keeps what it has:
 * slower by that, no worse.
 */
#ifndef LOOP_CONGESTION_H
#define LOOP_CONGESTION_H

#include "loop/addr.h"

#define CONGESTION_NAME_MAX 16 /* TCP_CA_NAME_MAX, which the C library does not have */

/* Both the same: the configured one, or "" where nothing is set.  Where they differ, `far` is the
 * system's: what a new socket has anyway. */
struct congestion {
    char near[CONGESTION_NAME_MAX]; /* by a loopback address */
    char far[CONGESTION_NAME_MAX];  /* by all others */
};

/* NULL or "": none is configured.  One that the kernel does not have is logged, and is none. */
void congestion_init(struct congestion *c, const char *configured);
/* Of a new socket, before connect(2). */
void congestion_before_connect(const struct congestion *c, int fd, const union addr *peer);
/* Of a listening socket; then of each that it accepted. */
void congestion_listen(const struct congestion *c, int fd);
void congestion_accepted(const struct congestion *c, int fd, const union addr *peer);

#endif
