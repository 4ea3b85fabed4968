/* hub_worker - what one worker thread has: its loop, its lanes, a resolver; and what all of them
 * share, which is either never written after the start or a relaxed counter.
 */
#ifndef HUB_HUB_WORKER_H
#define HUB_HUB_WORKER_H

#include "base/log.h"
#include "hub/hub_counters.h"
#include "hub/own_listeners.h"
#include "hub/target.h"
#include "hub/udp_book.h"
#include "loop/congestion.h"
#include "loop/loop.h"
#include "loop/resolver.h"
#include "quic/quic.h"
#include "quic/quic_gauges.h"
#include "tls/tls.h"
#include "tunnel/budget.h"

struct desk;

/* One for the process.  Filled before the workers start. */
struct hub_shared {
    struct loop *control;                     /* borrowed: where the desk is */
    struct desk *desk;                        /* borrowed: for desk_post_*() only */
    struct events *events;                    /* borrowed from the hub */
    struct tls_ctx *tls;                      /* owned: of the tunnel port */
    struct target_map *targets, *targets_udp; /* owned */
    struct hub_worker *workers;               /* borrowed from the hub: `worker_count` */
    unsigned worker_count;
    struct own_listeners own;
    struct congestion lane_congestion, target_congestion;
    unsigned connect_ms, flush_ms;
    uint32_t
        forwards_max; /* limits.streams: also those whose stream is over and whose target is not */
    uint32_t connects_max;
    uint32_t udp_lookups_max; /* of a worker */
    unsigned share_percent;   /* limits.edgeShare */
    unsigned handshakes_max;
    unsigned retry_at; /* QUIC connections before their handshake, of all workers (quic_door.h) */
    struct budget budget;
    _Atomic uint32_t forwards, connects; /* present */
    _Atomic bool is_closing;             /* no new lanes: QUIC ones are not answered */
    _Atomic uint32_t udp_flows;          /* present: sockets to targets of UDP sessions */
    uint64_t udp_idle_ms, udp_seed;
    struct hub_counters counters;
};

struct hub_worker {
    struct loop *loop;         /* borrowed from the process's struct worker */
    struct hub_shared *shared; /* borrowed */
    struct resolver *resolver; /* owned */
    struct quic_port *quic;    /* owned: quic_door.h; NULL: TLS only */
    struct list lanes;         /* struct hub_lane, owned, until the desk forgets them */
    struct list young;         /* struct forward: RELAYING, keep-alive not set yet; oldest first */
    struct udp_book udp;
    struct deadline tick; /* publishes the lanes' counters, and see forward_tick() */
    /* Lines that others can cause; apart, or strangers could silence those about targets. */
    struct log_limit handshake_log, target_log, share_log;
    bool is_closed;
    _Atomic uint64_t pool_out, pool_refused; /* chunks, published by the tick */
    struct quic_gauges quic_gauges;
};

/* On the control thread, before the loop runs.  0, -ERR_SYS. */
MUST_USE int hub_worker_init(struct hub_worker *w, struct loop *loop, struct hub_shared *shared);
/* On the control thread, after the worker's thread has ended: closes lanes and forwards without a
 * word; messages that still come do nothing. */
void hub_worker_close(struct hub_worker *w);
/* After the loops are freed. */
void hub_worker_fini(struct hub_worker *w);
/* The tick runs while there are lanes. */
void hub_worker_watch(struct hub_worker *w);

#endif
