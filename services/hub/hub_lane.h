/* hub_lane - one lane of an edge, on its worker: the link, the ports it may open streams for, its
 * forwards, and the counters that the control thread reads.
 *
 * It says hello to the desk (desk.h) and does what the desk decides (hub_lane_mail.h).  Its life,
 * over two threads:
 *
 *   worker   new ---- hello --> ... open ......... link dead -- dead -->           free
 *   control             verdict --> hub_lane_post_open() ...       record freed -- forget -->
 *
 * The lane's memory stays until `forget` has come and its last forward has ended.  So every message
 * that the desk posted before finds it; with a dead link they do nothing.
 *
 * States are those of its link (link.h): HANDSHAKE, LINE, VERDICT, OPEN, LEAVING; without a link it
 * is dead.
 */
#ifndef HUB_HUB_LANE_H
#define HUB_HUB_LANE_H

#include "hub/hub_worker.h"
#include "link/link.h"
#include "tunnel/authority.h"
#include "wire/control.h"

#define HUB_HANDSHAKE_MS   5000 /* from accept to the right proof */
#define HUB_VERDICT_MS     2000 /* for the desk to decide; and the second of a wrong proof */
#define HUB_WRONG_PROOF_MS 1000

struct edge;
struct edge_share;
struct lane_record;

/* Written by the worker, read by anyone; relaxed. */
struct lane_gauges {
    _Atomic uint64_t bytes_in, bytes_out; /* from clients, to clients */
    _Atomic uint64_t opened, window_stalls, ahead_waits;
    _Atomic uint64_t udp_opened, udp_datagrams_in, udp_datagrams_out, udp_bytes_in, udp_bytes_out;
    _Atomic uint64_t udp_dropped[UDP_DROP_COUNT];
    _Atomic uint32_t streams, udp_sessions, rtt_ms;
    _Atomic uint32_t queue_data, queue_sustained, queue_udp; /* what waits to send */
};

struct hub_lane {
    struct list node;           /* in the worker's lanes */
    struct hub_worker *worker;  /* borrowed */
    struct lane_record *record; /* borrowed from the desk: only handed back to it */
    enum link_transport transport;
    struct link *link;               /* owned; NULL when dead */
    struct authority_pair authority; /* a copy of the session's */
    uint8_t session[SESSION_BYTES];  /* that it belongs to, once open */
    struct edge_share *share;        /* counted: its edge's, once open; else NULL */
    struct list udp_flows; /* struct udp_flow, borrowed from the worker's book; the least recently
                              used first */
    struct list forwards;  /* struct forward, newest first */
    size_t forward_count;
    uint64_t accepted_us;
    char edge_id[EDGE_ID_MAX + 1];
    bool was_open;
    bool is_validated; /* the desk knows that the peer's address is one; QUIC only */
    bool is_told;      /* the desk knows what became of the hello */
    bool is_drain_told;
    const char *goodbye; /* static: the code of ours; NULL: none was said */
    bool is_forgotten;
    struct deadline refusal; /* when refusal_line goes out: the second of a wrong proof */
    char *refusal_line;      /* owned */
    size_t refusal_len;
    struct ack_mail *ack; /* owned: a CONFIG_ACK that waits until the desk took the one before */
    bool is_ack_away;
    bool takes_collapse; /* its hello named FEATURE_COLLAPSE */
    struct lane_gauges gauges;
};

/* On the worker: a QUIC connection begins; the desk is asked whether it may stay.  False: no
 * memory, and the connection is freed. */
bool hub_lane_accept(struct hub_worker *w, struct quic *quic);
/* From the control thread: `fd` goes to the worker.  What the desk decides later it sends with
 * hub_lane_mail.h. */
void hub_lane_post_new(struct hub_worker *w, int fd, struct lane_record *record);

/* --- on the worker ---------------------------------------------------------------------------- */

void hub_lane_publish(struct hub_lane *lane);
/* Some times a second: the edge is told when the path to it has collapsed. */
void hub_lane_watch(struct hub_lane *lane);
/* A forward has ended. */
void hub_lane_forward_gone(struct hub_lane *lane);
/* Closes link and forwards without a word and without telling the desk. */
void hub_lane_close(struct hub_lane *lane);
void hub_lane_free(struct hub_lane *lane);

/* --- on the worker, for hub_lane_mail.c ------------------------------------------------------- */

/* A warning that its hello was refused; rate-limited. */
void hub_lane_log_refusal(struct hub_lane *lane, enum answer_code code);
/* The CONFIG_ACK that waits goes to the desk, unless one is on its way there. */
void hub_lane_send_ack(struct hub_lane *lane);
/* Closes the link, which must be there, and tells the desk. */
void hub_lane_end(struct hub_lane *lane);
/* The desk knows it no longer: it is freed, now or with its last forward. */
void hub_lane_forget(struct hub_lane *lane);

#endif
