/* tunnel_port - the sockets that edges dial: accepts on the control thread, asks the desk, and
 * deals the connections round robin to the workers, so that two lanes of an edge sit on two of
 * them. */
#ifndef HUB_TUNNEL_PORT_H
#define HUB_TUNNEL_PORT_H

#include "hub/desk.h"
#include "loop/listener.h"

#define TUNNEL_PORT_SETS 2 /* IPv6 and IPv4 */

struct tunnel_port {
    struct tunnel_door {
        struct acceptor acceptor;
        struct tunnel_port *port; /* borrowed: the owner */
    } doors[TUNNEL_PORT_SETS];
    unsigned door_count;
    struct desk *desk;          /* borrowed */
    struct hub_worker *workers; /* borrowed: worker_count of them */
    unsigned worker_count, next;
    union addr bound;
};

/* Binds; accepts nothing before tunnel_port_start().  `congestion` is borrowed.  0, -ERR_SYNTAX,
 * -ERR_SYS with `why`. */
MUST_USE int tunnel_port_bind(struct tunnel_port *p, struct loop *loop, const char *listen,
                              const struct congestion *congestion, char *why, size_t why_size);
void tunnel_port_start(struct tunnel_port *p, struct desk *desk, struct hub_worker *workers,
                       unsigned worker_count);
void tunnel_port_fini(struct tunnel_port *p); /* fine on a zeroed one and twice */

#endif
