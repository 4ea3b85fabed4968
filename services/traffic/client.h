/* client - one client connection on the TLS listener: PROXY header, handshake, plaintext in and
 * out, the end.  What the plaintext means is its session's business: HTTP/1 (h1_session.h) or
 * HTTP/2 (h2_session.h), as ALPN agreed.
 *
 *   PROXY -> HANDSHAKE -> OPEN -> FLUSHING -> LINGER -> DEAD        any -> DEAD
 *                 \________\__________________^   TLS has failed
 *
 * state      deadline                                   at its end
 * PROXY      3 s                                        closed
 * HANDSHAKE  timeouts.handshakeSecs, from accept        closed
 * OPEN       the session's                              the session's
 * FLUSHING   timeouts.bodyIdleSecs without movement,    closed
 *            or limits.readRate
 * LINGER     2 s                                        closed
 *
 * FLUSHING: the last answer and close_notify wait for the client to take them; nothing is read.
 * LINGER: the kernel has all of it; what the client still sends is thrown away for a moment, so
 * that the kernel doesn't answer it with a reset that would overtake the answer.
 *
 * Input is never copied: a record's plaintext stays where TLS put it until it is used up.  Output
 * is gathered into records of 16 KiB in one buffer, `stage`, that exists only while something
 * waits.
 */
#ifndef TRAFFIC_CLIENT_H
#define TRAFFIC_CLIENT_H

#include "base/err.h"
#include "loop/loop.h"
#include "traffic/client_patience.h"
#include "traffic/h1_session.h"
#include "traffic/h2_session.h"
#include "traffic/proxy_intake.h"
#include "traffic/requester.h"
#include "traffic/traffic_reason.h"

struct chunk;
struct tls;
struct traffic_worker;

#define CLIENT_LINGER_MS    2000u
#define CLIENT_LINGER_BYTES (256u << 10)
#define CLIENT_STEPS_MAX    32u

#define CLIENT_STATES(X)                                                                           \
    X(PROXY, BIT(CLIENT_HANDSHAKE) | BIT(CLIENT_DEAD))                                             \
    X(HANDSHAKE, BIT(CLIENT_OPEN) | BIT(CLIENT_LINGER) | BIT(CLIENT_DEAD))                         \
    X(OPEN, BIT(CLIENT_FLUSHING) | BIT(CLIENT_LINGER) | BIT(CLIENT_DEAD))                          \
    X(FLUSHING, BIT(CLIENT_LINGER) | BIT(CLIENT_DEAD))                                             \
    X(LINGER, BIT(CLIENT_DEAD))                                                                    \
    X(DEAD, 0)

#define X(name, next) CLIENT_##name,
enum client_state { CLIENT_STATES(X) CLIENT_STATE_COUNT };
#undef X

enum step { STEP_MORE, STEP_WAIT };

/* What a client connection asks of the protocol that its plaintext speaks.  All but `start` and
 * `fini` are called in OPEN only. */
struct client_session {
    int (*start)(struct client *c); /* 0, -ERR_NOMEM */
    void (*fini)(struct client *c); /* once, after a start that gave 0 */
    enum step (*step)(struct client *c);
    bool (*is_over)(const struct client *c); /* nothing more is read */
    void (*on_due)(struct client *c);        /* c->deadline */
    /* Bytes moved, `got` of them from the client. */
    void (*moved)(struct client *c, size_t got);
    bool (*wants_input)(const struct client *c);
    void (*on_room)(struct client *c); /* room for output may have come back */
    /* No more requests; true when it can be closed at once. */
    bool (*drain)(struct client *c);
};

struct client {
    enum client_state state;
    int fd; /* owned; -1 */
    struct loop_io io;
    struct deadline deadline;
    struct ready ready;
    struct reap reap;
    struct list node;              /* of the worker's */
    struct list stalled;           /* of the worker's, while buffers are short */
    struct traffic_worker *worker; /* borrowed */
    union addr address;            /* the peer's, then what the PROXY header says */
    struct requester requester;    /* its name and TLS version: from OPEN on */
    uint32_t address_slot;
    bool has_address_slot;
    struct proxy_intake *intake; /* owned; in PROXY only */
    struct tls *tls;             /* owned; from HANDSHAKE on */
    uint64_t accepted_us;
    /* Plaintext. */
    const uint8_t *in; /* borrowed from tls */
    size_t in_len;
    struct chunk *stage; /* owned */
    size_t stage_len;
    bool is_readable, is_in_ended, is_broken;
    bool is_out_of_memory; /* that is why it is broken */
    size_t lingered;       /* bytes thrown away */
    /* What waits for the client to read it (RELAY apart: it has an idle time of its own). */
    uint64_t write_since_ms; /* since when it waits without a byte leaving; 0: nothing waits */
    uint64_t write_left_ms;  /* how long it may still wait: limits.readRate */
    const struct client_session *session; /* static; NULL before OPEN */
    union {
        struct h1_session h1;
        struct h2_session h2;
    };
};

/* A connection was accepted and admitted (worker_admit()); takes fd over. */
void client_start(struct traffic_worker *w, int fd, const union addr *peer);
/* The worker's buffers have run out: it is ended if it has taken nothing of what waits for it for
 * PRESSURE_PATIENCE_MS. */
void client_hurry(struct client *c);
/* Closes it, now if it is idle or `now`, else after the answer under way. */
void client_drain(struct client *c, bool now);

/* --- for the session ---------------------------------------------------------------------- */

/* Sees to it that c->in has bytes.  IO_OK; IO_WAIT; IO_EOF: the client sends no more (in order);
 * IO_FAIL: it is gone. */
MUST_USE enum io client_fill(struct client *c);
void client_skip(struct client *c, size_t n); /* n <= c->in_len are used up */
/* Puts bytes on their way; errors show when it is flushed. */
void client_put(struct client *c, const void *bytes, size_t n);
size_t client_out_len(const struct client *c); /* bytes that wait */
/* Of limits.bufferBytes; less where the worker's buffers are short, and then client_wake() follows
 * when they are not. */
size_t client_room(struct client *c);
/* Why its work is ended with it. */
enum traffic_reason client_end_reason(const struct client *c);
void client_wake(struct client *c); /* runs it after the events of this turn */
/* The other side must see that the answer is cut short: reset, nothing more is sent. */
void client_abort(struct client *c);
/* Everything of this direction is sent and close_notify behind it; reading goes on (relay). */
void client_shut(struct client *c);

#endif
