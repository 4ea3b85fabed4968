/* edge_worker - one worker of the edge: its lanes to the hub, its listening sockets, its clients.
 *
 * The control thread (uplink.c, public_ports.c) tells it what to do by the functions below, each of
 * which may be called from the control thread and runs on the worker; its lanes tell the control
 * thread by struct lane_report.  What is shared is in struct edge_shared: relaxed atomics
 * only.
 */
#ifndef EDGE_EDGE_WORKER_H
#define EDGE_EDGE_WORKER_H

#include "base/log.h"
#include "edge/credentials.h"
#include "edge/edge_stats.h"
#include "edge/lane_report.h"
#include "edge/udp_flows.h"
#include "loop/address_count.h"
#include "loop/congestion.h"
#include "loop/listener.h"
#include "loop/resolver.h"
#include "loop/worker.h"
#include "quic/quic.h"
#include "quic/quic_gauges.h"
#include "tunnel/budget.h"

struct edge_worker;

/* What all workers and the control thread look at. */
struct edge_shared {
    struct budget budget;
    struct edge_worker *workers; /* borrowed from main, `count` of them */
    unsigned count;
    struct loop *control;  /* borrowed */
    struct events *events; /* borrowed from the edge; or NULL */
    struct congestion lane_congestion, client_congestion;
    const char *instance;     /* borrowed from main */
    struct quic_params quic;  /* of all tunnels by QUIC */
    _Atomic uint64_t hold_ms; /* a reload changes it */
    uint64_t udp_idle_ms;
    uint64_t flush_ms; /* for a client to take any of what is left of a stream that has ended */
    uint32_t held_max;
    _Atomic uint32_t held;   /* clients that wait for a lane */
    _Atomic bool is_holding; /* the tunnel is away, clients may wait */
    void (*on_report)(void *arg, struct lane_report *report); /* in the control loop; frees it */
    void *arg;
    uint32_t per_address_max; /* clients at once of one address, relayed or held */
    struct address_count addresses;
};

#define EDGE_TICK_MS   250u  /* while something waits for a tick */
#define EDGE_REST_MS   1000u /* else: a process at rest is not woken without need */
#define EDGE_LANES_MAX 16u   /* of a worker, those that drain with them: past it the oldest ends */
#define EDGE_HOPS_MAX  3u    /* from worker to worker, for want of a lane; then a client is held */

struct edge_worker {
    struct worker *worker;      /* borrowed from main */
    struct loop *loop;          /* borrowed from it */
    struct edge_shared *shared; /* borrowed */
    unsigned index;
    struct resolver *resolver; /* owned */
    struct quic_port *quic; /* owned: edge_worker_quic(); NULL: nothing was dialled by QUIC yet */
    struct list lanes;      /* struct edge_lane, newest first */
    struct list ports;      /* struct public_socket */
    struct list clients;    /* struct client: all of them */
    struct list held;       /* struct client: those that wait */
    struct udp_flows udp;
    struct deadline tick;
    struct log_limit failures;
    bool is_paused;                /* limits.streams is reached: accepts nothing */
    bool is_closed;                /* edge_worker_fini() was here: messages are dropped */
    _Atomic bool has_lane;         /* others may hand clients over */
    _Atomic uint32_t handed_bytes; /* of datagrams from others that wait here */
    uint64_t past_in, past_out, past_stalls, past_waits; /* of lanes that are gone */
    uint64_t past_exhausted;                             /* of ports that are closed */
    struct edge_stats stats;
    struct quic_gauges quic_gauges;
};

/* Before the worker's loop runs; 0, -ERR_SYS (no resolver). */
MUST_USE int edge_worker_init(struct edge_worker *w, struct worker *worker,
                              struct edge_shared *shared);
/* After its thread has ended, before its loop is freed: messages on their way come to nothing. */
void edge_worker_fini(struct edge_worker *w);

/* --- from the control thread ------------------------------------------------------------------ */

/* Takes the order over. */
void edge_worker_dial(struct edge_worker *w, struct lane_order *order);
/* To the lane `serial`, if it is still there. */
void edge_worker_send_config_ack(struct edge_worker *w, uint64_t serial, const char *json);
/* The LANE_REPORT_CONFIG of lane `serial` was looked at. */
void edge_worker_config_taken(struct edge_worker *w, uint64_t serial);
/* The lane ends now; its streams are reset. */
void edge_worker_close_lane(struct edge_worker *w, uint64_t serial);
/* The lane opens no more streams; those that are open may finish within `secs`. */
void edge_worker_drain_lane(struct edge_worker *w, uint64_t serial, uint32_t secs);
/* Takes the bound sockets of a public port over (one or two). */
void edge_worker_open_port(struct edge_worker *w, enum port_protocol protocol, uint16_t port,
                           const int *fds, unsigned count);
void edge_worker_close_port(struct edge_worker *w, enum port_protocol protocol, uint16_t port);
/* Before its ports are closed: UDP ports keep the flows they have until those are idle. */
void edge_worker_keep_flows(struct edge_worker *w);
/* After its ports are closed: who waits is opened or reset, then every lane says DRAIN (0 s: none
 * does). */
void edge_worker_drain(struct edge_worker *w, unsigned secs);
/* Every lane says GOODBYE draining and ends. */
void edge_worker_leave(struct edge_worker *w);
/* Clients that wait: open them if there is a lane; `is_over`: reset them. */
void edge_worker_flush_held(struct edge_worker *w, bool is_over);

/* --- on the worker ---------------------------------------------------------------------------- */

struct edge_lane;
struct link;
/* Where QUIC is dialled from: made when it is asked for first.  0, -ERR_SYS (no UDP socket),
 * -ERR_NOMEM. */
MUST_USE int edge_worker_quic(struct edge_worker *w, struct quic_port **out);
/* The link to open new streams on: the newest lane that takes streams, draining ones last. */
struct link *edge_worker_link(struct edge_worker *w);
/* A lane came or went, or began to drain. */
void edge_worker_lanes_changed(struct edge_worker *w);
/* A client has its stream: where it is the last that fits, accepting pauses here and now. */
void edge_worker_opened(struct edge_worker *w);
/* A client's stream has ended: who waits to be accepted may be next. */
void edge_worker_ended(struct edge_worker *w);
/* Something waits for a tick from now on: the next one comes within EDGE_TICK_MS. */
void edge_worker_watch(struct edge_worker *w);
/* Another worker that has a lane; NULL: none has.  It is a moment old. */
struct edge_worker *edge_worker_with_lane(struct edge_worker *w);
/* A socket that this worker has no lane for, handed on `hops` times already: to one that has;
 * false: none has. */
bool edge_worker_hand_over(struct edge_worker *w, int fd, const union addr *peer, unsigned hops);
void edge_worker_refuse(struct edge_worker *w, int fd, enum edge_refusal why);

#endif
