/* udp_door - one socket of a public UDP port, on its worker: reads what comes and hands it to the
 * flows (udp_flows.h), which it counts.
 *
 * One that is closing takes no new flow and goes with its last one.
 */
#ifndef EDGE_UDP_DOOR_H
#define EDGE_UDP_DOOR_H

#include "loop/loop.h"
#include "loop/udp_socket.h"

#define UDP_ROUNDS 8u /* receives of one socket in a turn; then others have theirs */

struct udp_flows;

struct udp_door {
    struct list node;        /* in flows.sockets */
    struct udp_flows *flows; /* borrowed */
    struct loop_io io;
    struct reap reap;
    int fd; /* owned */
    uint16_t port;
    sa_family_t family;
    uint32_t overflow; /* what the kernel dropped so far */
    size_t flow_count;
    bool is_closing;
    void (*take)(struct udp_door *door, const struct udp_arrival *a);
};

/* Takes the bound socket over.  take() gets all that comes, valid until it returns. */
void udp_door_open(struct udp_flows *f, uint16_t port, int fd,
                   void (*take)(struct udp_door *door, const struct udp_arrival *a));
/* None of its flows is left; it is freed by the loop. */
void udp_door_close(struct udp_door *door);

#endif
