/* redirect - one client connection on the plain listener: every request is answered 301 to https.
 *
 *   PROXY -> HEAD -> LINGER -> DEAD        any -> DEAD
 *
 * state   deadline                                                at its end
 * PROXY   3 s                                                     closed
 * HEAD    timeouts.headerSecs; idleSecs between two requests      408, or closed
 * LINGER  2 s                                                     closed
 *
 * HEAD covers the time between two requests too.  A request is read as strictly as on the TLS
 * listener, and stands in the access log as there; one with a body is answered and the connection
 * closed.  No route is looked at and no version header sent: whoever asks here learns nothing about
 * which hosts exist.
 */
#ifndef TRAFFIC_REDIRECT_H
#define TRAFFIC_REDIRECT_H

#include "loop/loop.h"
#include "traffic/h1_gather.h"
#include "traffic/h1_scan.h"
#include "traffic/proxy_intake.h"

struct traffic_worker;

#define REDIRECT_LINGER_MS    2000u
#define REDIRECT_LINGER_BYTES (64u << 10)
#define REDIRECT_STEPS_MAX    16u

#define REDIRECT_STATES(X)                                                                         \
    X(PROXY, BIT(REDIRECT_HEAD) | BIT(REDIRECT_DEAD))                                              \
    X(HEAD, BIT(REDIRECT_LINGER) | BIT(REDIRECT_DEAD))                                             \
    X(LINGER, BIT(REDIRECT_DEAD))                                                                  \
    X(DEAD, 0)

#define X(name, next) REDIRECT_##name,
enum redirect_state { REDIRECT_STATES(X) REDIRECT_STATE_COUNT };
#undef X

struct redirect {
    enum redirect_state state;
    int fd; /* owned; -1 */
    struct loop_io io;
    struct deadline deadline;
    struct ready ready;
    struct reap reap;
    struct list node;              /* of the worker's */
    struct traffic_worker *worker; /* borrowed */
    union addr address;
    uint32_t address_slot;
    bool has_address_slot;
    struct proxy_intake intake;
    struct h1_scan scan;
    struct h1_gather in;  /* what came and is not answered yet */
    struct h1_gather out; /* what the socket did not take */
    size_t out_sent;
    bool is_readable, is_write_blocked, is_eof, closes;
    size_t lingered;
};

/* A connection was accepted and admitted; takes fd over. */
void redirect_start(struct traffic_worker *w, int fd, const union addr *peer);
/* Closes it, now if it is idle or `now`, else after its answer. */
void redirect_drain(struct redirect *r, bool now);

/* The address to go to: "https://" host [":" port] target.  `authority` is Host's value.
 * REASON_NONE, REASON_HOST_INVALID. */
struct h1_text;
enum traffic_reason redirect_location(struct h1_text *out, struct http_text authority,
                                      struct http_text target, uint16_t port);

#endif
