/* budget - what all streams of a process may lend and hold, in sum.  (api/tunnel.md, Flow control)
 *
 * Each stream has its first BUDGET_STREAM_FREE bytes of window and one chunk on its way out for
 * nothing; everything beyond is taken from here and given back.  The number of open streams is
 * bounded here too.  Shared by all workers: relaxed atomics, nothing else is.
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
};

void budget_init(struct budget *b, uint64_t limit_bytes, uint32_t limit_streams,
                 uint32_t max_window);

/* Any thread. */
MUST_USE bool budget_take(struct budget *b, uint64_t n);
void budget_give(struct budget *b, uint64_t n);
MUST_USE bool budget_open_stream(struct budget *b);
void budget_close_stream(struct budget *b);
/* clamp(limit / open streams, 1 MiB, max_window): what a stream's window may grow to now. */
uint32_t budget_window(const struct budget *b);

#endif
