/* desk - where lanes report: the control thread's side of all tunnels.  It admits connections,
 * gives the verdict about each hello, keeps the sessions and sends CONFIG and GOODBYE to their
 * lanes.
 *
 * Lanes live on workers (hub_lane.h); the desk has one record for each of them, from accept until
 * the lane reported its death.
 */
#ifndef HUB_DESK_H
#define HUB_DESK_H

#include "hub/admission.h"
#include "hub/edge_session.h"
#include "hub/hub_lane.h"
#include "hub/registry.h"
#include "tunnel/session.h"

struct lane_record {
    struct list node;                 /* in desk.records */
    struct list in_edge;              /* in edge.records, once it is known whose it is */
    struct hub_lane *lane;            /* borrowed from its worker; NULL before it reported */
    struct admission_entry handshake; /* counts until its hello is read */
    bool is_validated;                /* its peer's address has shown to be one: always so on TCP */
    bool is_dropped;                  /* too many: it ends, whatever it still says */
    bool is_waiting;                  /* a wrong proof: waits out its second */
    bool is_open;
    union addr peer;
    struct edge *edge;            /* borrowed from the registry; NULL when removed, or not known */
    struct edge_session *session; /* borrowed; NULL: none, or ended */
    uint32_t number;              /* in its session */
    uint64_t secret_number;       /* of the edge's secret that it was proved with */
};

struct desk {
    struct loop *loop;         /* borrowed */
    struct hub_shared *shared; /* borrowed */
    struct registry *registry; /* borrowed */
    struct admission admission;
    struct session_book book;
    struct list records; /* struct lane_record, owned */
    size_t record_count;
    unsigned open_count, waiting_count;
    unsigned max_lanes, max_waiting;
    size_t max_sessions;
    struct deadline expiry; /* of sessions without a lane */
    struct deadline grace;  /* of the old secret, of the edge where it ends first */
    struct log_limit limit;
    uint64_t past_in, past_out, past_opened, past_stalls, past_waits; /* of lanes that are gone */
    struct udp_stats past_udp;                                        /* the same */
    bool is_stopping;                                                 /* no new lanes */
    bool is_closed; /* the workers are gone: reports do nothing */
};

struct desk_options {
    struct loop *loop;
    struct hub_shared *shared;
    struct registry *registry;
    unsigned handshakes, handshakes_per_source, max_waiting, max_lanes;
    size_t max_sessions;
};

void desk_init(struct desk *d, const struct desk_options *options);
/* After the loops are freed. */
void desk_fini(struct desk *d);
/* The workers are gone. */
void desk_close(struct desk *d);

/* --- control thread --------------------------------------------------------------------------- */

/* A connection that was accepted: its record, or NULL when it has to be closed (counted). */
struct lane_record *desk_admit(struct desk *d, const union addr *peer);
/* A record that no desk has yet, for desk_post_arrived().  Any thread. */
struct lane_record *lane_record_new(const union addr *peer, bool is_validated);
/* The edge's ports or interval changed: CONFIG to its sessions. */
void desk_config_changed(struct desk *d, struct edge *edge);
/* Ends all sessions of the edge; how many there were. */
size_t desk_end_edge(struct desk *d, struct edge *edge, enum goodbye_code code);
/* Ends what was proved with a secret of the edge that is good no longer, now and when the time of
 * grace of another is over. */
void desk_watch_secrets(struct desk *d, struct edge *edge);
/* Before registry_remove(): its sessions end (kicked) and no record points to it any more. */
void desk_edge_removed(struct desk *d, struct edge *edge);
/* No new lanes from now on, and DRAIN to every one there is; 0 s: without a word. */
void desk_drain(struct desk *d, uint32_t secs);
/* GOODBYE draining to every lane. */
void desk_leave(struct desk *d);

/* --- reports of a lane: any worker; each runs later on the control thread --------------------- */

struct hello_mail;
/* A connection that the lane's worker has accepted itself: its record moves to the desk, which has
 * the lane dropped when there are too many. */
void desk_post_arrived(struct desk *d, struct hub_lane *lane);
/* The lane of a connection that the desk has admitted is there. */
void desk_post_begun(struct desk *d, struct hub_lane *lane);
/* The handshake of one whose address had not shown to be one is complete: from now on it counts for
 * its address. */
void desk_post_validated(struct desk *d, struct hub_lane *lane);
/* The hello is read and needs a verdict. */
void desk_post_hello(struct desk *d, struct hub_lane *lane, const struct hello *hello,
                     const uint8_t exporter[TLS_EXPORTER_BYTES]);
/* It was refused on the spot. */
void desk_post_refused(struct desk *d, struct hub_lane *lane);
void desk_post_draining(struct desk *d, struct hub_lane *lane);
/* CONFIG_ACK (its lists move); one at a time: hub_lane_post_ack_taken() answers. */
void desk_post_ack(struct desk *d, struct hub_lane *lane, struct ack_mail *mail);
/* The last report. */
void desk_post_dead(struct desk *d, struct hub_lane *lane);

struct ack_mail {
    struct task task;
    struct desk *desk;     /* borrowed */
    struct hub_lane *lane; /* borrowed */
    struct config_ack ack; /* owned */
};
void ack_mail_free(struct ack_mail *mail); /* fine with NULL */

#endif
