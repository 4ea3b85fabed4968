/* exchange - one request and its answer in flight: a codec on one side, an upstream on the other.
 *
 *   codec --exchange_push_body()--> [head][payload] --exchange_output()--> upstream --> origin
 *   codec <--codec->push_*()---------------------- exchange_on_*() <------ upstream <-- origin
 *
 * A codec (h1_codec.h, h2_stream.h) knows nothing of upstreams, an upstream nothing of codecs. What
 * a codec pushes is payload: how a body is framed for the origin is decided as it leaves
 * (h1_framer.h), so the codec's bytes count one for one against its client's window.
 * All push functions move memory only; who has something to do is put on the loop's ready list.
 *
 * What is alike in every version of HTTP is here too: whether a request has a route and may have
 * it, what is counted and logged of it (exchange_log()).
 *
 *   IDLE -> [CHECKING ->] CONNECTING -> WAITING -> ANSWERING -> DONE
 *              ^____________|  \-> RELAYING -> DONE      any -> DONE (failed)
 *
 * Retries: a destination that cannot be reached is passed over for the next.  A request whose
 * connection ended before the first byte of an answer is sent once more: when none of it had left,
 * or when its method is idempotent and nothing of a body or its trailers was sent.  After a kept
 * connection, which the origin may have closed meanwhile, the same destination is asked again; else
 * the next one.
 *
 * Back-pressure: the body towards the origin is held up to limits.bufferBytes (exchange_room()),
 * and the codec hears what left (codec->taken()); towards the client the codec says how much it
 * takes (codec->room()).  What a client says behind a request for an upgrade waits until the origin
 * has agreed: it might be no HTTP at all (RFC 9931).
 */
#ifndef TRAFFIC_EXCHANGE_H
#define TRAFFIC_EXCHANGE_H

#include "buf/bufq.h"
#include "traffic/access_log.h"
#include "traffic/auth_gate.h"
#include "traffic/h1_framer.h"
#include "traffic/http_upgrade.h"
#include "traffic/request_id.h"
#include "traffic/requester.h"
#include "traffic/route.h"
#include "traffic/upstream_choice.h"

struct exchange;
struct route_hold;
struct traffic_worker;
struct upstream;
struct upstream_pool;

#define EXCHANGE_INTERIMS_MAX 16u /* 1xx answers in front of the last one */

#define EXCHANGE_STATES(X)                                                                         \
    X(IDLE, BIT(EXCHANGE_CHECKING) | BIT(EXCHANGE_CONNECTING) | BIT(EXCHANGE_WAITING) |            \
                BIT(EXCHANGE_DONE))                                                                \
    X(CHECKING, BIT(EXCHANGE_CONNECTING) | BIT(EXCHANGE_WAITING) | BIT(EXCHANGE_DONE))             \
    X(CONNECTING, BIT(EXCHANGE_WAITING) | BIT(EXCHANGE_DONE))                                      \
    X(WAITING, BIT(EXCHANGE_CONNECTING) | BIT(EXCHANGE_ANSWERING) | BIT(EXCHANGE_RELAYING) |       \
                   BIT(EXCHANGE_DONE))                                                             \
    X(ANSWERING, BIT(EXCHANGE_DONE))                                                               \
    X(RELAYING, BIT(EXCHANGE_DONE))                                                                \
    X(DONE, BIT(EXCHANGE_IDLE))

#define X(name, next) EXCHANGE_##name,
enum exchange_state { EXCHANGE_STATES(X) EXCHANGE_STATE_COUNT };
#undef X

/* The client's side.  The heads are borrowed for the call. */
struct exchange_codec {
    void (*push_interim)(struct exchange *x, const struct http_response *r); /* 1xx but 101 */
    void (*push_head)(struct exchange *x, const struct http_response *r);    /* 101 too */
    void (*push_body)(struct exchange *x, const uint8_t *bytes, size_t n);
    void (*push_end)(struct exchange *x, const struct http_fields *trailers);
    size_t (*room)(const struct exchange *x);    /* bytes of body taken now */
    void (*taken)(struct exchange *x, size_t n); /* n bytes of the request's body left */
    void (*wake)(struct exchange *x);            /* x failed, or its relay is over */
};

struct exchange {
    enum exchange_state state;
    struct traffic_worker *worker;      /* borrowed */
    struct requester *requester;        /* borrowed: the client connection's */
    const struct exchange_codec *codec; /* static */
    struct route_hold *hold;            /* counted until the answer begins */
    const struct route *route;          /* borrowed from hold */
    struct upstream *upstream;          /* borrowed: works for us */
    struct upstream_pool *pool;         /* borrowed from the slot of the route */

    /* The request as the origin gets it. */
    char *head; /* owned: not a byte more than it has; kept until the answer comes, for it may be
                   sent again */
    size_t head_len, head_sent;
    struct bufq body;     /* payload */
    struct bufq trailers; /* with their empty line */
    struct h1_framer framer;
    uint64_t body_taken;   /* bytes of payload that left for the origin */
    size_t trailers_taken; /* bytes of `trailers` that left: they are kept by nobody */
    bool is_ended;         /* all of it is in `body`, or went */
    bool is_idempotent, is_head, expects_continue;
    bool is_repeatable; /* idempotent and without a body: it may be sent again as long as no answer
                           has come */
    struct http_upgrade upgrade;

    /* Destinations. */
    struct upstream_choice choice;
    struct route_options *options; /* counted */
    struct auth_check check;       /* of a password, in CHECKING */
    bool is_retried, is_timed_out, is_counted;

    /* The answer. */
    unsigned interims;
    bool has_continued;         /* 100 went to the client */
    unsigned status;            /* 0: none yet */
    enum traffic_reason reason; /* why it failed */

    /* For the log. */
    const char *protocol;                /* static: "HTTP/1.1" */
    char request_id[REQUEST_ID_MAX + 1]; /* "": none */
    bool has_own_id;                     /* it is ours: the origin gets it in place of what came */
    bool is_logged;
    uint64_t started_us, bytes_in, bytes_out;
    char method[ACCESS_METHOD_MAX], path[ACCESS_PATH_MAX];
    struct access_notes *notes; /* owned; NULL: none are needed, or there was no memory */
    char target[ADDR_TEXT_MAX]; /* the destination that answered, or was tried last */
};

void exchange_init(struct exchange *x, struct requester *requester,
                   const struct exchange_codec *codec);
void exchange_fini(struct exchange *x); /* cancels; fine on a zeroed one */
/* IDLE or DONE: ready for the next request. */
void exchange_reset(struct exchange *x);

/* A request came, well formed or not: it is counted, gets its id, and is noted for the log.  `r` is
 * as far as it could be read; NULL: it never came to a request. */
void exchange_open(struct exchange *x, const char *protocol, const struct http_request *r);
/* Checks credentials, filters the request's fields, builds what is sent, finds a connection.  Only
 * when requester_check() had nothing against it.  REASON_NONE, or why no origin is asked (the state
 * is IDLE or DONE then). */
enum traffic_reason exchange_start(struct exchange *x, struct http_request *r);
/* The request of exchange_open() was answered with `status` (0: it could not be): counted and
 * logged, once. */
void exchange_log(struct exchange *x, unsigned status, enum traffic_reason reason);
/* The codec answered by itself, with a body of n bytes. */
void exchange_own_body(struct exchange *x, size_t n);

/* --- for the codec ------------------------------------------------------------------------ */

size_t exchange_room(const struct exchange *x); /* bytes of body that may be pushed now */
/* n <= exchange_room() */
void exchange_push_body(struct exchange *x, const uint8_t *bytes, size_t n);
void exchange_push_end(struct exchange *x, const struct http_fields *trailers); /* or NULL */
/* The client has room again. */
void exchange_resume(struct exchange *x);
/* The client is gone, or broke its request: the origin's connection is closed. */
void exchange_cancel(struct exchange *x, enum traffic_reason reason);

/* --- for the upstream --------------------------------------------------------------------- */

/* Up to `max` pieces to send; returns how many. */
size_t exchange_output(struct exchange *x, struct iovec *out, size_t max);
void exchange_sent(struct exchange *x, size_t n);
bool exchange_is_sent(const struct exchange *x); /* ended, and all of it went */
size_t exchange_client_room(const struct exchange *x);
/* The client owes the next bytes of the request. */
bool exchange_waits_for_client(const struct exchange *x);

void exchange_on_connected(struct exchange *x);
void exchange_on_unreachable(struct exchange *x, bool is_timeout);
/* A head; false: the exchange is over, the connection must not be used again. */
MUST_USE bool exchange_on_head(struct exchange *x, struct http_response *r);
void exchange_on_body(struct exchange *x, const uint8_t *bytes, size_t n);
/* The answer is whole: the exchange is done with this upstream, which sees to itself.  In a relay:
 * the origin ended its side; exchange_on_relay_over() follows when the client's has ended too. */
void exchange_on_end(struct exchange *x, struct http_fields *trailers);
void exchange_on_relay_over(struct exchange *x);
/* The connection is lost.  `had_answer`: a byte of an answer had come; `was_kept`: it had served
 * others before. */
void exchange_on_lost(struct exchange *x, enum traffic_reason reason, bool had_answer,
                      bool was_kept);

#endif
