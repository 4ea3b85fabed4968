/* session - the hub's book of sessions: which edge instance runs, and with which lanes.
 *
 * A session is one running edge instance.  A hello without `session` begins a new one at once; the
 * older one of the same (edge, instance) is replaced, and so is the oldest instance of the edge when
 * it would have more than it may.  A hello with the current session joins it as a further lane; a
 * lane number is used once.  A session without a lane for 30 s ends.
 *
 * Pure: no socket, no clock; the ids come in as random bytes.  The hub's control thread owns the book.
 * (api/tunnel.md, Handshake and sessions)
 */
#ifndef TUNNEL_SESSION_H
#define TUNNEL_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/must.h"
#include "wire/hello.h"

#define SESSION_WITHOUT_LANE_MS 30000

struct session_lane {
    struct list node;
    uint32_t number;
    bool is_draining; /* counts no more against the cap */
    void *link;       /* borrowed: whatever the owner knows the lane by */
};

struct session {
    struct list node;
    uint8_t id[SESSION_BYTES];
    char edge_id[EDGE_ID_MAX + 1];
    char instance[INSTANCE_MAX + 1];
    uint64_t generation;     /* rises with every session of the book */
    uint64_t began_ms;
    uint64_t alone_since_ms; /* 0: has a lane */
    struct list lanes;       /* struct session_lane, owned, in order of joining */
    unsigned lane_count, draining_count;
    void *user;              /* borrowed: the owner's own */
    uint64_t used[(LANE_MAX + 64) / 64]; /* lane numbers */
};

struct session_book {
    struct list sessions; /* owned, oldest first */
    size_t count;
    uint64_t generation;
    /* A session ends (replaced, expired, or ended by the owner): its lanes are still in it, so that
     * they can be told why; it is freed when the call returns. */
    void (*on_end)(void *arg, struct session *s, enum goodbye_code code);
    void *arg;
};

void session_book_init(struct session_book *b,
                       void (*on_end)(void *arg, struct session *s, enum goodbye_code code),
                       void *arg);
void session_book_fini(struct session_book *b); /* on_end is not called */

/* A hello without `session`: what it replaces has ended when this returns.  lane must be 0:
 * *code ANSWER_BAD_REQUEST and NULL otherwise. */
struct session *session_begin(struct session_book *b, const struct hello *h,
                              unsigned max_instances, const uint8_t id[SESSION_BYTES], void *link,
                              uint64_t now_ms, enum answer_code *code);
/* A hello with `session`.  NULL with *code ANSWER_UNKNOWN_SESSION, ANSWER_LANE_IN_USE or
 * ANSWER_TOO_MANY_LANES. */
struct session *session_join(struct session_book *b, const struct hello *h, unsigned max_lanes,
                             void *link, uint64_t now_ms, enum answer_code *code);

/* Ends it: on_end, then free. */
void session_end(struct session_book *b, struct session *s, enum goodbye_code code);
/* A lane is gone; fine when the session does not know it. */
void session_lane_lost(struct session *s, const void *link, uint64_t now_ms);
void session_lane_draining(struct session *s, const void *link);
/* The lowest live lane's link: CONFIG goes there.  NULL: none. */
void *session_first_link(const struct session *s);
/* Ends sessions that had no lane for too long; when to call again, in ms (UINT64_MAX: no need). */
uint64_t session_expire(struct session_book *b, uint64_t now_ms);

#endif
