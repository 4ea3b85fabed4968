/* coreflow - the link to Coreflow, the control plane that sends the route sets: a WebSocket that we
 * open and keep open, on the control thread.
 *
 *   OFF
 *   WAITING (back-off) -> CONNECTING -> TAGGING -> UP -> WAITING ...
 *
 * TAGGING: the connection is open and its tag "coretraffic" is on the way, by which Coreflow finds
 * it; requests are served from then on.  A server that refuses the tag is served all the same
 * (UP, not tagged): it may find us otherwise.
 *
 * `updateRouting` goes the way of every update (route_apply.h): the newest whole set wins, whoever
 * sent it, and each request is answered with its own fate.  While Coreflow is away the last set
 * stays in force; an update that was on its way when the link broke is still applied.
 */
#ifndef TRAFFIC_COREFLOW_H
#define TRAFFIC_COREFLOW_H

#include "base/log.h"
#include "traffic/coreflow_json.h"
#include "traffic/route_apply.h"
#include "tunnel/backoff.h"
#include "ws/client.h"

#define COREFLOW_TAG "coretraffic"

struct resolver;
struct traffic_conf;

enum coreflow_state {
    COREFLOW_OFF,
    COREFLOW_WAITING,
    COREFLOW_CONNECTING,
    COREFLOW_TAGGING,
    COREFLOW_UP,
    COREFLOW_STATE_COUNT,
};

/* X(name, word): what came in. */
#define COREFLOW_MESSAGES(X)                                                                       \
    X(UPDATE, "update_routing")                                                                    \
    X(UNKNOWN, "unknown_method") /* answered with an error */                                      \
    X(ANSWER, "answer")          /* to our tag */                                                  \
    X(IGNORED, "ignored")        /* no TypedRequest: there is nobody to answer */                  \
    X(BROKEN, "broken")          /* no JSON object: the link is closed with 1007 */

#define X(name, word) COREFLOW_MESSAGE_##name,
enum coreflow_message { COREFLOW_MESSAGES(X) COREFLOW_MESSAGE_COUNT };
#undef X

struct coreflow_stats {
    uint64_t connects; /* how often it was open */
    uint64_t ends[WS_END_COUNT];
    uint64_t messages[COREFLOW_MESSAGE_COUNT];
    uint64_t pauses;        /* reading paused: limits.coreflowAnswers */
    int64_t last_update_at; /* seconds since 1970: the newest set that came; 0: none */
    int64_t last_change_at; /* when the link came or went */
    char last_error[200];   /* why the newest link ended or did not come to be */
};

struct coreflow {
    enum coreflow_state state; /* written by coreflow_enter() only */
    struct loop *loop;         /* borrowed, like the next three */
    struct resolver *resolver;
    struct route_apply *apply;
    const struct traffic_conf *conf;
    struct ws_url url;
    struct ws_client *ws; /* ends itself; NULL: none */
    union addr peer;
    bool is_tagged;
    struct typed_message message; /* that is coming in */
    struct list asked;            /* struct coreflow_asked: updates that wait for their fate */
    struct backoff backoff;
    struct deadline wait; /* WAITING: until the next try; TAGGING: for the answer */
    char tag_id[40];
    struct coreflow_stats stats;
    struct log_limit log_end, log_message;
};

/* coreflow.url of `conf` (borrowed for good) is valid or empty.  After route_apply_new(). */
void coreflow_start(struct coreflow *c, struct loop *loop, struct resolver *resolver,
                    struct route_apply *apply, const struct traffic_conf *conf);
/* Says goodbye.  After route_apply_stop(), whose answers it still carries; fine on a zeroed one. */
void coreflow_stop(struct coreflow *c);

const char *coreflow_state_word(const struct coreflow *c);
const char *coreflow_message_word(enum coreflow_message message);
/* How often reading paused, the link that is open included. */
uint64_t coreflow_pauses(const struct coreflow *c);

#endif
