/* udp_hand_over - datagrams on their way from a worker that has no lane to one that has.
 *
 * The kernel deals datagrams to the workers' sockets by the client's address, and not every worker
 * has a lane: it may still be dialled, or be past the hub's tunnel.maxLanes.  A connection's
 * descriptor goes over once (edge_worker_hand_over()); of a UDP client each datagram does, as a
 * copy.  Answers leave from the socket that the other worker has for the same port.
 *
 * What waits for a worker is bounded: UDP_HANDED_BYTES.  Each is handed over once at most.
 */
#ifndef EDGE_UDP_HAND_OVER_H
#define EDGE_UDP_HAND_OVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/must.h"

#define UDP_HANDED_BYTES (1u << 20) /* that wait for one worker */

struct edge_worker;
struct udp_arrival;

/* Copies the arrival for `to`, whose udp_flows_take_guest() gets it.  False: too much waits there.
 * On the thread of any worker. */
MUST_USE bool udp_hand_over(struct edge_worker *to, uint16_t port, const struct udp_arrival *a);

#endif
