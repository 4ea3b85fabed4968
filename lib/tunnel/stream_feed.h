/* stream_feed - when a stream's owner may put more bytes in: who found no room is told once there
 * is some, and who would read far ahead of a busy lane waits in line.
 *
 *   FED -- asks, has no room --> STARVED -- there is some --> TOLD -- asks --> FED
 *   FED -- asks, the lane has enough --> IN_LINE -- it has room --> DUE
 *   DUE -- had its turn, or gave all that it had --> FED
 *
 * Whoever asks and has no credit, queue or memory is STARVED, from wherever it was.
 *
 * A lane has enough while its streams hold LANE_AHEAD_BYTES that are not sent.  Then what a
 * stream's owner has is better off where it is, in the kernel, and is read when the lane is about
 * to send it: thousands of streams hold a megabyte in sum and not each its own quarter of one,
 * and what is read is sent while it is in the caches.  The line is first come, first served; who is
 * DUE may read what a turn of the lane is (lane_sched.h), so that each has its turn in the line and
 * in the ring once.
 *
 * Free of the line, and not counted in what the lane has, are the first chunk of a stream that has
 * nothing else to send and whose last read was small (a small answer waits for its turn in the ring
 * alone), and sustained streams: they go last in the ring, and must not take the room of others.
 * The former are bounded by a chunk each, the latter by STREAM_SEND_CAP, in sum by the budget.
 *
 * For the lane's own files: stream.c asks, lane.c begins.  (api/tunnel.md, Flow control)
 */
#ifndef TUNNEL_STREAM_FEED_H
#define TUNNEL_STREAM_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

#define LANE_AHEAD_BYTES (1u << 20)

struct lane;
struct stream;

enum stream_feed {
    FEED_FED,     /* it found room when it asked */
    FEED_STARVED, /* it found none: it is told when there is some */
    FEED_TOLD,    /* it was told and has not asked yet: more bytes follow at once */
    FEED_IN_LINE, /* the lane has enough: it is told in its turn */
    FEED_DUE,     /* it was: it asks at once, and may read its turn */
};

/* Of a lane. */
struct lane_feed {
    struct list line; /* streams that are IN_LINE */
    uint64_t ahead;   /* bytes that count: stream.ahead of all */
    uint64_t due;     /* bytes that those who are DUE may read: stream.turn_left of all */
};

void lane_feed_init(struct lane_feed *f);

/* The owner asks, and credit and queue have room, or have none. */
void stream_feed_ask(struct stream *s, bool has_room);
/* It would read `room` bytes (> 0) into at most `max` chunks: how many of them it may.
 * 0: it is in line. */
size_t stream_feed_admit(struct stream *s, size_t room, size_t max);
/* It was given room for n bytes.  (0: none was to be had, it starves.) */
void stream_feed_give(struct stream *s, size_t n);
/* It put n of them in; n of its bytes went out. */
void stream_feed_put(struct stream *s, size_t n);
void stream_feed_sent(struct stream *s, size_t n);
/* It puts nothing in any more, or leaves its lane: nobody waits for it. */
void stream_feed_stop(struct stream *s);
void stream_feed_leave(struct stream *s);
/* There may be room: it is told, if it found none before. */
void stream_tell_room(struct stream *s);
/* It was told and has not asked yet. */
bool stream_feed_is_told(const struct stream *s);
void lane_feed_check(const struct lane *l);

#endif
