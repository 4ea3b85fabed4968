/* budget - what all streams of a process may lend and hold, in sum.  (api/tunnel.md, Flow control)
 *
 * Each stream has its first BUDGET_STREAM_FREE bytes of window and one chunk on its way out for
 * nothing; everything beyond is taken from here and given back.  The number of open streams is
 * bounded here too.  Shared by all workers: relaxed atomics, nothing else is.
 *
 * UDP sessions have bounds of their own: how many are open, what one may queue, and what all of
 * them may hold in chunks.
 *
 * A budget may be a *part* of another, its whole: the hub has one for each edge.  What is taken
 * from a part is taken from the whole as well, and a part gets more of it only while
 *
 *      what the part holds  <  what is free of the whole * percent / (100 - percent)
 *
 * So one that is alone gets `percent` of the whole; n that all want more than there is hold the
 * same each, and something always stays free for one that comes later: with 90 percent a tenth
 * beside one such part, a nineteenth beside two.  Nothing is reserved, nothing that is held is
 * taken back: a part past its share waits until it gives back.  (Dynamic thresholds: Choudhury and
 * Hahne, 1998.)
 */
#ifndef TUNNEL_BUDGET_H
#define TUNNEL_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/must.h"

#define BUDGET_STREAM_FREE 65536u     /* the initial window */
#define BUDGET_WINDOW_FULL (1u << 20) /* what a window may grow to while there is plenty */
#define BUDGET_SPARE_PARTS 32u        /* plenty: so many of the window are free */

struct budget {
    struct budget *whole;        /* borrowed; NULL: this one is no part */
    unsigned percent;            /* of a part */
    _Atomic uint64_t taken;      /* bytes */
    _Atomic uint32_t streams;    /* open */
    _Atomic uint64_t denied;     /* takes refused (counter) */
    _Atomic uint64_t past_share; /* those refused to a part for its share: counted in both */
    _Atomic uint64_t streams_refused;
    uint64_t limit_bytes;   /* tunnel.memoryBudget */
    uint32_t limit_streams; /* limits.streams */
    uint32_t max_window;    /* tunnel.maxWindow */
    struct budget_udp {
        _Atomic uint64_t taken;    /* bytes of chunks */
        _Atomic uint32_t sessions; /* open */
        _Atomic uint64_t denied, sessions_refused, past_share;
        uint64_t limit_bytes;    /* limits.udpMemory */
        uint32_t limit_sessions; /* limits.udpSessions */
        uint32_t queue_bytes;    /* limits.udpQueueBytes: of one session */
    } udp;
};

#define BUDGET_UDP_SESSIONS    16384u /* what budget_init() sets, and the keys' defaults */
#define BUDGET_UDP_QUEUE_BYTES 262144u
#define BUDGET_UDP_MEMORY      (64u << 20)

void budget_init(struct budget *b, uint64_t limit_bytes, uint32_t limit_streams,
                 uint32_t max_window);

/* Instead of the defaults; before the workers run. */
void budget_set_udp(struct budget *b, uint32_t limit_sessions, uint32_t queue_bytes,
                    uint64_t limit_bytes);

/* A part of `whole`, whose limits stand: it may be dropped once all that was taken is given back.
 */
void budget_init_part(struct budget *b, struct budget *whole, unsigned percent);

/* The rule above: may who holds `own` have more of `limit`, of which all together hold `taken`?
 * The limit itself is another question. */
bool budget_share_allows(uint64_t own, uint64_t taken, uint64_t limit, unsigned percent);

/* Any thread.  How many streams and UDP sessions a part opens is counted, and bounded by the
 * whole's limits alone: who opens them asks for its share first. */
MUST_USE bool budget_take(struct budget *b, uint64_t n);
void budget_give(struct budget *b, uint64_t n);
MUST_USE bool budget_open_stream(struct budget *b);
void budget_close_stream(struct budget *b);
MUST_USE bool budget_take_udp(struct budget *b, uint64_t n);
void budget_give_udp(struct budget *b, uint64_t n);
MUST_USE bool budget_open_udp(struct budget *b);
void budget_close_udp(struct budget *b);
/* How many streams are open. */
uint32_t budget_streams(const struct budget *b);
/* One more could be opened now; nothing is counted.  Of a whole. */
bool budget_has_udp_room(const struct budget *b);
/* What a stream's window may grow to now: an even share of the limit,
 *
 *      limit / open streams, at most max_window
 *
 * and where that is less than 1 MiB, which may be for streams that are at rest,
 *
 *      max(reach / open streams + BUDGET_STREAM_FREE, free part of reach / 32), at most 1 MiB
 *
 * with the reach being the limit, or of a part (whose own streams count then) what its share lets
 * it come to.  So the few of many streams that are at work have large windows; when all are, those
 * that came first do not keep what there is: all come to about their even share.  What a stream at
 * rest was lent it keeps, since credit is never taken back. */
uint32_t budget_window(const struct budget *b);

#endif
