/* client - a WebSocket connection that we open (RFC 6455), over TCP or TLS: one loop, one dial, one
 * life.
 *
 *   DIALLING -> TLS (wss) -> UPGRADING -> OPEN <-> PINGED -> CLOSING -> DEAD;  any -> DEAD
 *
 * - From the first moment to OPEN at most handshake_ms.  In OPEN a ping leaves every ping_ms;
 * PINGED is the wait for its pong, at most pong_ms without any byte of the server.  A message may
 * take message_ms from its first byte to its last.  CLOSING waits WS_CLOSING_MS for the other side.
 * - While more than `queue_max` messages of ours wait, nothing is read: a server that asks without
 *   reading answers presses on itself.
 * - Every end has one reason, told once by on_end; after it the client is gone by itself.
 */
#ifndef WS_CLIENT_H
#define WS_CLIENT_H

#include "loop/addr.h"
#include "loop/loop.h"
#include "ws/frames.h"
#include "ws/url.h"

#define WS_CLOSING_MS 3000u

struct resolver;
struct tls_ctx;
struct ws_client;

/* X(name, word): the word is for logs, status and metrics. */
#define WS_ENDS(X)                                                                                 \
    X(RESOLVE, "resolve")                     /* the name has no address */                        \
    X(CONNECT, "connect")                     /* no address answered */                            \
    X(HANDSHAKE_TIMEOUT, "handshake_timeout") /* not open in time */                               \
    X(TLS, "tls")                             /* no TLS, or a certificate that is not trusted */   \
    X(UPGRADE, "upgrade")                     /* an answer that is no upgrade by the letter */     \
    X(PROTOCOL, "protocol")                   /* closed with 1002 */                               \
    X(UNSUPPORTED, "unsupported")             /* closed with 1003: a binary message */             \
    X(BAD_DATA, "bad_data")                   /* closed with 1007: no UTF-8 */                     \
    X(POLICY, "policy")                       /* closed with 1008 */                               \
    X(TOO_BIG, "too_big")                     /* closed with 1009 */                               \
    X(MESSAGE_TIMEOUT, "message_timeout")     /* closed with 1008: a message took too long */      \
    X(PONG_TIMEOUT, "pong_timeout")                                                                \
    X(PEER_CLOSED, "peer_closed") /* the server's close frame */                                   \
    X(LOST, "lost")               /* it ended without one */                                       \
    X(NO_MEMORY, "no_memory")                                                                      \
    X(STOPPED, "stopped") /* by ws_client_stop() */

#define X(name, word) WS_END_##name,
enum ws_end { WS_ENDS(X) WS_END_COUNT };
#undef X

/* "pong_timeout". */
const char *ws_end_word(enum ws_end end);

struct ws_callbacks {
    void (*on_open)(void *arg, const union addr *peer);
    /* Pieces of a text message, then its end: see frames.h. */
    void (*on_data)(void *arg, const uint8_t *bytes, size_t n);
    void (*on_message)(void *arg);
    /* `why`: a sentence, borrowed for the call.  Not after ws_client_stop(). */
    void (*on_end)(void *arg, enum ws_end end, const char *why);
};

struct ws_options {
    struct loop *loop;         /* borrowed */
    struct resolver *resolver; /* borrowed; may be NULL where only addresses are dialled */
    struct tls_ctx *tls;       /* counted here too; may be NULL where the URL is not secure */
    uint64_t message_max;
    size_t queue_max;
    unsigned handshake_ms, ping_ms, pong_ms, message_ms;
    const struct ws_callbacks *callbacks; /* borrowed, static */
    void *arg;
};

/* Starts to dial.  Nothing is called before it has returned. */
struct ws_client *ws_client_new(const struct ws_options *options, const struct ws_url *url);
/* Copies a text into the queue; from a callback too.  -ERR_CLOSED: not open, or closing;
 * -ERR_NOMEM. */
MUST_USE int ws_client_send(struct ws_client *c, const char *text, size_t n);
/* Closes in order with this code; then on_end.  From a callback too. */
void ws_client_close(struct ws_client *c, enum ws_code code, const char *why);
/* Says goodbye (1001) if the socket takes it, and ends at once; nothing is called any more. */
void ws_client_stop(struct ws_client *c);
/* Within on_data: the length of the message that is coming in, as far as its frames have told. */
uint64_t ws_client_message_len(const struct ws_client *c);
/* Reading has paused since queue_max was passed: how often. */
uint64_t ws_client_pauses(const struct ws_client *c);

#endif
