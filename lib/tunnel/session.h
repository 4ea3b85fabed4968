/* session - the hub's book of sessions: which edge instance runs, and with which lanes.
 *
 * A session is one running edge instance.  A hello without `session` begins a new one at once; the
 * older one of the same (edge, instance) is replaced, and so is the oldest instance of the edge
 * when it would have more than it may.  A hello with the current session joins it as a further
 * lane; a lane number is used once.  A session without a lane for 30 s expires.
 *
 * A hub may hold many thousands of sessions, and after a failure of its network all of their edges
 * come at once: so nothing here but the end looks through all of them.  Those of one edge are found
 * by a hash of its id; those without a lane stand in a list of their own, the next to expire first.
 *
 * Pure: no socket, no clock; the ids come in as random bytes.  The hub's control thread owns the
 * book. (api/tunnel.md, Handshake and sessions)
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
#define SESSION_LANES_FACTOR    4u    /* lanes in all, the draining ones too: so often max_lanes */
#define SESSION_BUCKETS         4096u /* a power of two */

struct session_lane {
    struct list node;
    uint32_t number;
    bool is_draining; /* counts no more against the cap */
    void *link;       /* borrowed: whatever the owner knows the lane by */
};

struct session {
    struct list node;          /* in book.sessions */
    struct list in_bucket;     /* in one of book.buckets: oldest first */
    struct list in_alone;      /* in book.alone, while it has no lane */
    struct session_book *book; /* borrowed: the owner */
    uint8_t id[SESSION_BYTES];
    char edge_id[EDGE_ID_MAX + 1];
    char instance[INSTANCE_MAX + 1];
    uint64_t generation;     /* rises with every session of the book */
    uint64_t alone_since_ms; /* 0: has a lane */
    struct list lanes;       /* struct session_lane, owned, in order of joining */
    unsigned lane_count, draining_count;
    void *user;                          /* borrowed: the owner's own */
    uint64_t used[(LANE_MAX + 64) / 64]; /* lane numbers */
};

/* Either is called before the session is freed, with `user` as it was. */
struct session_events {
    /* Replaced, or ended by the owner: its lanes are still in it, so that they can be told why. */
    void (*on_end)(void *arg, struct session *s, enum goodbye_code code);
    /* It had no lane for too long: there is nobody left to tell. */
    void (*on_expired)(void *arg, struct session *s);
};

struct session_book {
    struct list sessions; /* owned, oldest first */
    struct list *buckets; /* owned: SESSION_BUCKETS of them, by the edge's id */
    struct list alone;    /* sessions without a lane, the one that lost it first in front */
    size_t count;
    uint64_t generation;
    const struct session_events *events; /* borrowed: static */
    void *arg;
};

void session_book_init(struct session_book *b, const struct session_events *events, void *arg);
void session_book_fini(struct session_book *b); /* no event; fine on a zeroed one */

/* A hello without `session`: what it replaces has ended when this returns.  lane must be 0:
 * *code ANSWER_BAD_REQUEST and NULL otherwise. */
struct session *session_begin(struct session_book *b, const struct hello *h, unsigned max_instances,
                              const uint8_t id[SESSION_BYTES], void *link, enum answer_code *code);
/* A hello with `session`.  NULL with *code ANSWER_UNKNOWN_SESSION, ANSWER_LANE_IN_USE or
 * ANSWER_TOO_MANY_LANES: max_lanes that are not draining, or SESSION_LANES_FACTOR times as many in
 * all, since it is the edge that says which of them drain. */
struct session *session_join(struct session_book *b, const struct hello *h, unsigned max_lanes,
                             void *link, uint64_t now_ms, enum answer_code *code);

/* The session of the edge that is next younger than `after`, or with NULL its oldest; NULL: none.
 * Ask for the next before a session is ended. */
struct session *session_of_edge(const struct session_book *b, const char *edge_id,
                                const struct session *after);

/* Ends it: on_end, then free. */
void session_end(struct session_book *b, struct session *s, enum goodbye_code code);
/* A lane is gone; fine when the session does not know it. */
void session_lane_lost(struct session *s, const void *link, uint64_t now_ms);
void session_lane_draining(struct session *s, const void *link);
/* The lowest live lane's link: CONFIG goes there.  NULL: none. */
void *session_first_link(const struct session *s);
/* Ends (on_expired) sessions that had no lane for too long; when to call again, in ms (UINT64_MAX:
 * no need). */
uint64_t session_expire(struct session_book *b, uint64_t now_ms);

#endif
