/* h2_session - HTTP/2 on one client connection: nghttp2 between the plaintext and the streams
 * (h2_stream.h), each of which is one request.
 *
 *   OPEN -> NOTICE -> LEAVING -> OVER        any -> [REFUSED ->] [FAILED ->] OVER
 *
 * state     what                                          deadline             at its end
 * OPEN      requests come                                 idleSecs, without    GOAWAY, closed
 *                                                         a stream
 * NOTICE    a first GOAWAY says that no more are wanted;  1 s                  LEAVING
 *           a PING behind it tells when the client knows
 * LEAVING   the last GOAWAY went; streams finish          their own            OVER
 * REFUSED   nghttp2 found the client against RFC 9113,  those of its       OVER
 *           its GOAWAY is on its way                    streams
 * FAILED    a rule of ours was broken, or there is no   none: it ends      OVER
 *           memory; our own GOAWAY is due               when it runs
 * OVER      nothing more is read                          the client's
 *
 * In all but OVER: a head must be whole headerSecs after its first frame, and a client that takes
 * nothing of what waits for bodyIdleSecs, or less than limits.readRate, is cut off, whatever it
 * sends meanwhile; but where every stream is a relay, they keep their own time (h2_stream.h).
 *
 * What a client may do is bounded: streams, heads (h2_head.h), resets and control frames
 * (h2_guard.h), CONTINUATION frames, memory (h2_held.h).  Who goes beyond gets GOAWAY with
 * ENHANCE_YOUR_CALM and the reason stands in the log; all else against RFC 9113 is nghttp2's to
 * find, and ends the stream or the connection as the RFC says.  Priorities are ignored: streams
 * with bytes to send take turns.
 *
 * Bodies on their way to us are credited to the client's windows when their origin has taken them.
 */
#ifndef TRAFFIC_H2_SESSION_H
#define TRAFFIC_H2_SESSION_H

#include "base/list.h"
#include "traffic/h2_closed.h"
#include "traffic/h2_guard.h"
#include "traffic/h2_head.h"
#include "traffic/h2_held.h"
#include "traffic/h2_walk.h"

struct client;
struct client_session;
struct nghttp2_session;

#define H2_NOTICE_MS 1000u

#define H2_SESSION_STATES(X)                                                                       \
    X(OPEN, BIT(H2_NOTICE) | BIT(H2_REFUSED) | BIT(H2_FAILED) | BIT(H2_OVER))                      \
    X(NOTICE, BIT(H2_LEAVING) | BIT(H2_REFUSED) | BIT(H2_FAILED) | BIT(H2_OVER))                   \
    X(LEAVING, BIT(H2_REFUSED) | BIT(H2_FAILED) | BIT(H2_OVER))                                    \
    X(REFUSED, BIT(H2_FAILED) | BIT(H2_OVER))                                                      \
    X(FAILED, BIT(H2_OVER))                                                                        \
    X(OVER, 0)

#define X(name, next) H2_##name,
enum h2_session_state { H2_SESSION_STATES(X) H2_SESSION_STATE_COUNT };
#undef X

struct h2_session {
    enum h2_session_state state;
    struct client *client;      /* borrowed: it embeds us */
    struct nghttp2_session *ng; /* owned */
    struct h2_walk walk;
    struct list streams;   /* owned: struct h2_stream */
    struct list attention; /* of them: those that wait for h2_stream_attend() */
    unsigned stream_count;
    struct h2_closed closed;
    int32_t last_id;        /* the highest that the client has used */
    uint64_t requests;      /* begun here */
    struct h2_head head;    /* the section of fields under way */
    uint64_t head_since_ms; /* 0: none is under way */
    struct h2_bucket resets, control;
    size_t window_bytes; /* of a stream */
    struct h2_held held;
    size_t head_held;            /* taken for `head` */
    unsigned holding_count;      /* streams that hold payload of an origin's answer */
    uint64_t data_ms;            /* when DATA of an answer last moved */
    uint64_t quiet_ms;           /* without a stream since then */
    uint64_t notice_ms;          /* of H2_NOTICE */
    uint64_t due_ms;             /* of the client's deadline; 0: none */
    enum traffic_reason failure; /* of H2_FAILED, with the code for the client */
    uint32_t failure_code;
    bool is_held;    /* nothing is read or sent until the client has read more */
    bool is_starved; /* an origin's answer waits for room */
};

extern const struct client_session h2_session_of_client;

/* --- for the streams ------------------------------------------------------------------------ */

/* Ends the connection: `code` of RFC 9113 section 7 in its GOAWAY.  What is on the stack goes on;
 * the session ends when it runs next. */
void h2_session_fail(struct h2_session *s, enum traffic_reason reason, uint32_t code);
/* A stream was reset.  False: there were too many, and the session has failed. */
bool h2_session_count_reset(struct h2_session *s);
/* Something is due at this time. */
void h2_session_due_at(struct h2_session *s, uint64_t ms);
/* n bytes more are to be held.  Else than REASON_NONE: why they must not. */
enum traffic_reason h2_session_hold(struct h2_session *s, size_t n);
/* One stream less, whoever ended it. */
void h2_session_stream_ended(struct h2_session *s);
/* Moves frames that may go out into the client's next records, as far as it has room. */
void h2_session_send(struct h2_session *s);
/* No more requests than those that have begun. */
void h2_session_leave(struct h2_session *s);

/* --- for nghttp2's callbacks (h2_library.c) --------------------------------------------------- */

/* s->head has grown: it is given up when it must not be held. */
void h2_session_head_grew(struct h2_session *s);
/* It is whole: what goes on of it is its stream's to answer for. */
void h2_session_head_whole(struct h2_session *s);
/* It is not needed any more. */
void h2_session_head_over(struct h2_session *s);

/* In NOTICE: the client knows that no more is wanted; what it began until now is the last. */
void h2_session_say_last(struct h2_session *s);
/* nghttp2 itself ended the connection. */
void h2_session_refused(struct h2_session *s);

#endif
