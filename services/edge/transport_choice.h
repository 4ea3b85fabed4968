/* transport_choice - which transport the edge dials its hub by, and why: QUIC where the path takes
 * it, else TLS.  One for all lanes, since the path is the same.  Pure: the clock and the random
 * number come in.  (api/tunnel.md, QUIC transport)
 *
 * quicWithFallback, by what is dialled next:
 *
 *   QUIC -- not up in 5 s, lost or collapsed -----> TLS -- a probe is due: QUIC dialled beside
 *     ^                                             |      the running TLS lane, and it came up --+
 *     |<-- no TLS lane is up, and one did not come -+                                             |
 *     +-------------------------------------------------------------------------------------------+
 *
 * So while neither comes up they take turns: the path may be one that lets only the other through.
 * From QUIC to TLS it goes at once, from TLS to QUIC after the back-off of the slot: where UDP is
 * blocked and the hub is away too, a turn of both costs the 5 s of QUIC and no more.
 *
 * A path that has collapsed (tunnel/path_watch.h) may do well until it is under load again, so each
 * further collapse in a row doubles the time until QUIC is tried again.  Where TLS does not come up
 * beside it, QUIC stays, and is left in peace for a while.
 *
 * When TLS failed as well, the hub itself was away, and what QUIC did says nothing of the path:
 * then the probe comes soon after TLS is back. Falling back weakens nothing: ALPN, pin and proof
 * are the same on both.
 */
#ifndef EDGE_TRANSPORT_CHOICE_H
#define EDGE_TRANSPORT_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

#include "link/link.h"

#define TRANSPORT_QUIC_UP_MS 5000u /* to be up, in quicWithFallback; else TLS */
/* After a QUIC path that ran well was lost: it may be back. */
#define TRANSPORT_PROBE_SOON_MS 2000u
#define TRANSPORT_RAN_WELL_MS   60000u
#define TRANSPORT_COLLAPSES_MAX 5u     /* in a row that count: 16 times quicRetrySecs at the most */
#define TRANSPORT_DEAF_MS       60000u /* to a collapse, after TLS has failed */

enum transport_mode { TRANSPORT_TLS, TRANSPORT_QUIC, TRANSPORT_FALLBACK };

/* Why the transport in use is in use: status and metrics say it in these words. */
#define TRANSPORT_REASONS(X)                                                                       \
    X(CONFIGURED, "configured")        /* the mode leaves no choice */                             \
    X(PREFERRED, "preferred")          /* QUIC works */                                            \
    X(QUIC_NOT_UP, "quicNotUp")        /* it was not up in time, or refused */                     \
    X(QUIC_LOST, "quicLost")           /* it ran, and the path died */                             \
    X(QUIC_COLLAPSED, "quicCollapsed") /* it is up and moves next to nothing */                    \
    X(TLS_NOT_UP, "tlsNotUp")          /* TLS was not up either: QUIC has its turn again */
enum transport_reason {
#define X(name, text) TRANSPORT_REASON_##name,
    TRANSPORT_REASONS(X)
#undef X
        TRANSPORT_REASON_COUNT
};
const char *transport_reason_name(enum transport_reason reason);

struct transport_choice {
    enum transport_mode mode;
    uint64_t retry_ms;            /* quicRetrySecs */
    enum link_transport next;     /* what is dialled next */
    enum transport_reason reason; /* of `next` */
    uint64_t probe_due_ms;        /* when QUIC is to be tried beside TLS; UINT64_MAX: never */
    bool is_hub_away;             /* TLS failed too, and nothing came up since */
    unsigned collapses;           /* in a row */
    uint64_t collapse_pause_ms;   /* what the newest one led to */
    uint64_t deaf_until_ms;       /* no collapse counts before */
    uint64_t switches[TRANSPORT_REASON_COUNT]; /* times that `next` changed, by reason (counter) */
};

void transport_choice_init(struct transport_choice *c, enum transport_mode mode, uint64_t retry_ms);
void transport_choice_quic_up(struct transport_choice *c);
void transport_choice_tls_up(struct transport_choice *c, uint64_t now_ms, uint64_t random);
/* A lane failed by what is below it, not by a refusal of the hub.  `ran_ms`: how long it was up, 0:
 * never. */
void transport_choice_quic_failed(struct transport_choice *c, uint64_t ran_ms, uint64_t now_ms,
                                  uint64_t random);
/* A lane by QUIC that is up is next to useless. */
void transport_choice_quic_collapsed(struct transport_choice *c, uint64_t ran_ms, uint64_t now_ms,
                                     uint64_t random);
/* The same as quic_failed, of one that never was up, while no other lane by TLS is. */
void transport_choice_tls_failed(struct transport_choice *c, uint64_t now_ms);
/* Whether a probe is due now; then it counts as begun, and the next one is set for the case that it
 * fails. */
bool transport_choice_probe(struct transport_choice *c, uint64_t now_ms, uint64_t random);

#endif
