/* h1_session - HTTP/1 on one client connection: requests in, answers out, one at a time, in order.
 *
 *   IDLE -> HEAD -> EXCHANGE -> IDLE ...
 *                     |  \-> RELAY (101)        any -> OVER
 *
 * state     what                              deadline                   at its end
 * IDLE      between two requests              idleSecs                   closed
 * HEAD      a head came in part               headerSecs, all in all     408
 * EXCHANGE  one request is in flight          bodyIdleSecs, see below    408, or closed
 * RELAY     upgraded, bytes both ways         upgradeIdleSecs            closed
 * OVER      nothing more is read              the client's
 *
 * Never two opinions about where a message ends: what is ambiguous is answered 400 and the
 * connection closed.  Bytes behind a request for an upgrade are not looked at before the origin has
 * agreed; when it doesn't, the connection is closed behind its answer, since they might be no HTTP
 * at all (RFC 9931).
 */
#ifndef TRAFFIC_H1_SESSION_H
#define TRAFFIC_H1_SESSION_H

#include "traffic/exchange.h"
#include "traffic/h1_body.h"
#include "traffic/h1_gather.h"

struct client;
struct client_session;

#define H1_BODY_RATE 250u /* bytes a second */

#define H1_SESSION_STATES(X)                                                                       \
    X(IDLE, BIT(H1_HEAD) | BIT(H1_EXCHANGE) | BIT(H1_OVER))                                        \
    X(HEAD, BIT(H1_EXCHANGE) | BIT(H1_IDLE) | BIT(H1_OVER))                                        \
    X(EXCHANGE, BIT(H1_IDLE) | BIT(H1_RELAY) | BIT(H1_OVER))                                       \
    X(RELAY, BIT(H1_OVER))                                                                         \
    X(OVER, 0)

#define X(name, next) H1_##name,
enum h1_session_state { H1_SESSION_STATES(X) H1_SESSION_STATE_COUNT };
#undef X

struct h1_session {
    enum h1_session_state state;
    struct client *client; /* borrowed: it embeds us */
    struct exchange exchange;
    /* The request. */
    struct h1_scan scan;
    struct h1_gather gather;
    struct h1_body body;
    unsigned minor;
    bool closes; /* the connection ends with this answer */
    bool has_request_ended;
    uint64_t body_due_ms; /* when the body has to have come further; 0: begins anew */
    bool may_skip_line;   /* one empty line in front of a request is passed over */
    bool is_upgrade;
    bool is_held; /* the next request waits until the client has read more */
    /* The answer. */
    bool has_head, has_answer_ended, is_chunked_out;
    unsigned requests; /* served here */
};

/* A request's body must come at H1_BODY_RATE on the whole, until the answer begins: each byte buys
 * its time, and no more than timeouts.bodyIdleSecs is ever in hand. */
extern const struct client_session h1_session_of_client;

#endif
