/* upstream - one connection to an origin, HTTP/1.1, plain or over TLS (upstreamTls of its route).
 *
 *   CONNECTING -> [HANDSHAKE ->] ACTIVE <-> IDLE      ACTIVE -> RELAY (101)        any -> DEAD
 *
 * state       deadline                                            at its end
 * CONNECTING  timeouts.connectSecs, the handshake included        the next destination, or 504
 * HANDSHAKE   the rest of it                                      the same
 * ACTIVE      timeouts.bodyIdleSecs, while the origin owes        504, or the answer is cut
 * IDLE        60 s                                                closed
 * RELAY       the client's
 *
 * ACTIVE works for one exchange: sends what it has, reads the answer, hands it over.  IDLE waits in
 * its destination's pool; what the loop tells of then, bytes or the end, closes it, but for what is
 * TLS's own (a session ticket).
 * A connection is kept only when the answer was whole and nothing came behind it, the request had
 * been sent to its end, and neither side asked for close.
 */
#ifndef TRAFFIC_UPSTREAM_H
#define TRAFFIC_UPSTREAM_H

#include "base/err.h"
#include "loop/loop.h"
#include "traffic/h1_body.h"
#include "traffic/h1_gather.h"

struct exchange;
struct tls;
struct traffic_worker;
struct upstream_pool;

#define UPSTREAM_IDLE_MS   60000u
#define UPSTREAM_READ_MIN  4096u /* less room than this at the client: not read on */
#define UPSTREAM_STEPS_MAX 4u    /* reads in one turn */

#define UPSTREAM_STATES(X)                                                                         \
    X(CONNECTING, BIT(UPSTREAM_HANDSHAKE) | BIT(UPSTREAM_ACTIVE) | BIT(UPSTREAM_DEAD))             \
    X(HANDSHAKE, BIT(UPSTREAM_ACTIVE) | BIT(UPSTREAM_DEAD))                                        \
    X(ACTIVE, BIT(UPSTREAM_IDLE) | BIT(UPSTREAM_RELAY) | BIT(UPSTREAM_DEAD))                       \
    X(IDLE, BIT(UPSTREAM_ACTIVE) | BIT(UPSTREAM_DEAD))                                             \
    X(RELAY, BIT(UPSTREAM_DEAD))                                                                   \
    X(DEAD, 0)

#define X(name, next) UPSTREAM_##name,
enum upstream_state { UPSTREAM_STATES(X) UPSTREAM_STATE_COUNT };
#undef X

struct upstream {
    enum upstream_state state;
    int fd; /* owned; -1 */
    struct loop_io io;
    struct deadline deadline;
    struct ready ready;
    struct reap reap;
    struct list node;              /* of the worker's */
    struct list idle_node;         /* of the pool's idle ones */
    struct traffic_worker *worker; /* borrowed */
    struct upstream_pool *pool;    /* borrowed: it outlives its connections */
    struct exchange *exchange;     /* borrowed, while it works for one */
    struct tls *tls;               /* owned; NULL: plain */
    const uint8_t *in;             /* borrowed from tls: plaintext that is not used up yet */
    size_t in_len;
    unsigned served; /* exchanges before this one */
    bool is_readable, is_paused, is_eof;
    bool is_write_blocked; /* until the loop tells that the socket takes more */
    bool is_write_broken;
    bool is_write_shut; /* RELAY: the kernel has the last byte, and the end behind it */
    /* The answer under way. */
    bool has_head, has_bytes, closes;
    struct h1_scan scan;
    struct h1_gather gather; /* a head that comes in pieces */
    struct h1_body body;
};

/* A kept connection of the pool, or NULL.  None that is known to have ended or said something: for
 * a request that may be sent again the loop's last poll may be the word for it, for others the
 * socket is asked now.  What comes later is taken for what follows the request. */
struct upstream *upstream_take(struct traffic_worker *w, struct upstream_pool *pool,
                               struct exchange *x);
/* A new one.  0; -ERR_CONNECT: at once refused; -ERR_LIMIT: as many as allowed; -ERR_NOMEM: no
 * memory, descriptor or port here. */
MUST_USE int upstream_connect(struct traffic_worker *w, struct upstream_pool *pool,
                              struct exchange *x, struct upstream **out);
/* There is something to send, or room to read for. */
void upstream_wake(struct upstream *u);
/* Its exchange wants it no more: closed, unless it is idle already. */
void upstream_drop(struct upstream *u);
/* Closes all that are idle; or, all. */
void upstream_close_all(struct traffic_worker *w, bool busy_ones_too);

#endif
