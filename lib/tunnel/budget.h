/* budget - what all streams of a process may lend and hold, in sum.  (api/tunnel.md, Flow control)
 *
 * Each stream has its first BUDGET_STREAM_FREE bytes of window and one chunk on its way out for
 * nothing; everything beyond is taken from here and given back.  The number of open streams is
 * bounded here too.  Shared by all workers: relaxed atomics, nothing else is.
 *
 * UDP sessions have bounds of their own: how many are open, what one may queue, and what all of
 * them may hold in chunks.
 */
#ifndef TUNNEL_BUDGET_H
#define TUNNEL_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/must.h"

#define BUDGET_STREAM_FREE  65536u     /* the initial window */
#define BUDGET_WINDOW_FLOOR (1u << 20) /* the least that a full window is, however many streams */

struct budget {
    _Atomic uint64_t taken;   /* bytes */
    _Atomic uint32_t streams; /* open */
    _Atomic uint64_t denied;  /* takes refused (counter) */
    _Atomic uint64_t streams_refused;
    uint64_t limit_bytes;   /* tunnel.memoryBudget */
    uint32_t limit_streams; /* limits.streams */
    uint32_t max_window;    /* tunnel.maxWindow */
    struct budget_udp {
        _Atomic uint64_t taken;    /* bytes of chunks */
        _Atomic uint32_t sessions; /* open */
        _Atomic uint64_t denied, sessions_refused;
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

/* Any thread. */
MUST_USE bool budget_take(struct budget *b, uint64_t n);
void budget_give(struct budget *b, uint64_t n);
MUST_USE bool budget_open_stream(struct budget *b);
void budget_close_stream(struct budget *b);
MUST_USE bool budget_take_udp(struct budget *b, uint64_t n);
void budget_give_udp(struct budget *b, uint64_t n);
MUST_USE bool budget_open_udp(struct budget *b);
void budget_close_udp(struct budget *b);
/* clamp(limit / open streams, 1 MiB, max_window): what a stream's window may grow to now. */
uint32_t budget_window(const struct budget *b);

#endif
