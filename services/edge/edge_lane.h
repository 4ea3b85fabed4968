/* edge_lane - one lane to the hub, on its worker: dials, proves itself, checks the hub's proof,
 * then carries streams until it ends.
 *
 *   DIALING -> TALKING (TLS or QUIC, hello, answer) -> UP -> DEAD          any -> DEAD
 *
 * The control thread knows it by its serial only; it is told by lane_report.h.
 */
#ifndef EDGE_EDGE_LANE_H
#define EDGE_EDGE_LANE_H

#include "edge/edge_worker.h"
#include "link/link.h"
#include "loop/dial.h"

#define EDGE_ADDRESS_MS   3000u  /* one address of the hub */
#define EDGE_DIAL_MS      15000u /* all of them */
#define EDGE_COLLAPSE_MS  1000u
#define EDGE_WORN_SECS    3600u  /* how long streams of a worn-out lane may go on */
#define EDGE_HANDSHAKE_MS 10000u /* TLS, hello and answer: the hub waits 1 s before it refuses */

enum edge_lane_state { EDGE_LANE_DIALING, EDGE_LANE_TALKING, EDGE_LANE_UP, EDGE_LANE_DEAD };

struct edge_lane {
    struct list node;           /* in the worker's lanes */
    struct edge_worker *worker; /* borrowed */
    enum edge_lane_state state; /* written by edge_lane_enter() only */
    struct lane_order *order;   /* owned */
    struct dial dial;           /* TLS */
    struct edge_quic_dial {     /* QUIC: address after address, each with a link of its own */
        struct resolve query;
        union addr addrs[RESOLVER_ADDRESSES_MAX];
        unsigned count, next;
        uint64_t due_ms;
        struct deadline deadline; /* of the lookup */
    } quic;
    bool is_secure;    /* the handshake of the transport is done */
    struct link *link; /* owned, from TALKING on */
    struct reap reap;
    bool is_draining;           /* told to the control thread: no preferred lane any more */
    bool is_config_away;        /* one CONFIG is with the control thread, the newest waits here */
    struct lane_report *config; /* owned: the one that waits, or NULL */
    uint64_t collapse_told_ms;  /* at most once in EDGE_COLLAPSE_MS, whatever the hub says */
    uint8_t session[SESSION_BYTES]; /* that it belongs to, once UP */
    enum answer_code answer;
    uint32_t retry_after_secs;
    char why[200];
};

/* Whether a lane that ended by `error`, with nothing said by the hub, ended by what is below it:
 * then the other transport may do better.  What either end did wrong is not the path's, nor is
 * memory, nor a name that does not resolve. */
bool edge_lane_is_path_fault(int error, bool was_secure);
/* Takes the order over and begins. */
void edge_lane_start(struct edge_worker *w, struct lane_order *order);
/* Ends without a word; reported unless `is_silent`. */
void edge_lane_close(struct edge_lane *lane, bool is_silent);
/* The control thread has taken the CONFIG that was sent to it: the newest may follow. */
void edge_lane_config_taken(struct edge_lane *lane);
/* Opens no more streams (DRAIN; 0 s: nothing is said): what is open may finish within `secs`. */
void edge_lane_drain(struct edge_lane *lane, uint32_t secs);
/* The edge ends: the lane's last word; one that is not up yet is closed. */
void edge_lane_leave(struct edge_lane *lane);
/* Each tick: says GOODBYE when drained, asks for a successor when worn out. */
void edge_lane_tick(struct edge_lane *lane);
/* It waits for ticks: it drains, or goes by QUIC, whose path is watched. */
bool edge_lane_wants_ticks(const struct edge_lane *lane);

#endif
