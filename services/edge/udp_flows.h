/* udp_flows - all UDP of one worker: the sockets of its public ports, and a flow for each client
 * that talks to one of them.
 *
 *   public socket --> flow of (client, address asked) --> UDP session on the worker's lane
 *
 *   STRAY (no lane) -> OPEN -> SHUT (the hub closed it) -> OPEN ...      any -> freed
 *      \-> AWAY (another worker has a lane) -> STRAY or OPEN
 *
 *   STRAY  its lane was lost, or there never was one: it opens again as soon as there is a lane
 *   OPEN   datagrams pass
 *   AWAY   they are handed to a worker that has a lane (udp_hand_over.h), until this one has:
 *          then it opens, and the hub moves the flow with its socket to the target
 *   SHUT   the hub said UDP_CLOSE; for a moment nothing is opened for this client
 *
 * A flow whose lane begins to drain opens on another lane before it leaves the old one: the hub
 * moves it with its socket to the target and closes the old session itself.  Another hub knows
 * nothing of it: so the edge closes what it left after UDP_LEFT_MS; until then answers of both
 * reach the client.  Where limits.udpSessions has no room for both, the old one ends first.  A flow
 * is freed when it was idle for limits.udpIdleSecs in both directions, when its port is closed
 * (while the edge drains the port takes no new one and waits for those it has), or for a client's
 * datagram past limits.udpSessions (udp_room.h): one flow of the worker where that many are here,
 * one that is OPEN where the process has that many sessions.  Nothing is freed for a flow that only
 * follows to a lane: it waits.
 *
 * One loop.  (api/tunnel.md, UDP sessions)
 */
#ifndef EDGE_UDP_FLOWS_H
#define EDGE_UDP_FLOWS_H

#include "base/list.h"
#include "edge/udp_room.h"
#include "loop/addr.h"
#include "loop/loop.h"
#include "loop/udp_outbox.h"
#include "tunnel/udp_session.h"

struct edge_worker;
struct udp_batch;

#define UDP_SHUT_MS         100u  /* after an orderly UDP_CLOSE */
#define UDP_SHUT_REFUSED_MS 1000u /* after 0x03 */
#define UDP_LEFT_MS         1000u /* a session that was left behind may still answer */
#define UDP_FLOW_BUCKETS    4096u /* of one worker; a power of two */

enum udp_flow_state { UDP_FLOW_STRAY, UDP_FLOW_OPEN, UDP_FLOW_AWAY, UDP_FLOW_SHUT };

struct udp_flows {
    struct edge_worker *worker; /* borrowed */
    struct list *buckets;       /* owned; made with the first port */
    struct udp_room all;        /* flows */
    struct udp_room open;       /* the OPEN ones: who has a session to give */
    struct list left;           /* those that moved; the one that did so first is the first */
    struct list sockets;        /* struct udp_door, owned */
    struct udp_batch *batch;    /* owned; the same */
    struct udp_outbox *out;     /* owned; the same */
    struct udp_out_counters sent;
    struct ready flush; /* at the end of the turn */
    uint64_t seed;
    bool has_strays;                  /* some flow may have to follow to another lane */
    bool is_draining;                 /* a port that is closed keeps its flows until they end */
    struct udp_stats past;            /* of lanes that are gone */
    uint64_t dropped[UDP_DROP_COUNT]; /* outside of lanes */
    uint64_t evicted[UDP_EVICTION_COUNT];
    uint64_t idle, errors; /* by time; of single packets */
    uint64_t handed_over;  /* datagrams that went to another worker */
};

/* Before the worker's loop runs. */
void udp_flows_init(struct udp_flows *f, struct edge_worker *w);
/* Closes all; fine on a zeroed one. */
void udp_flows_fini(struct udp_flows *f);
/* Takes the bound sockets of a public port over. */
void udp_flows_open_port(struct udp_flows *f, uint16_t port, const int *fds, unsigned count);
/* From now on a port that is closed takes no new flow, and is closed with its last one. */
void udp_flows_drain(struct udp_flows *f);
/* The port's sockets and flows. */
void udp_flows_close_port(struct udp_flows *f, uint16_t port);
/* What another worker handed over: it goes no further. */
void udp_flows_take_guest(struct udp_flows *f, uint16_t port, const struct udp_arrival *a);
/* A lane of the worker begins to drain: its flows have to leave it. */
void udp_flows_leave(struct udp_flows *f);
/* A lane came up, went, or began to drain: flows follow. */
void udp_flows_follow(struct udp_flows *f);
/* Each tick: frees what is idle, closes what was left behind and ports that wait for no flow. */
void udp_flows_tick(struct udp_flows *f);

#endif
