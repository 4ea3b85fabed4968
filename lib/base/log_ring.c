/* log_ring - see log_ring.h.
 *
 * head, tail and gap are read and written in one order (seq_cst) that all threads agree on: the
 * writer says that it sleeps and then looks at them, who pushes writes them and then looks whether
 * it sleeps; one of both sees the other (log_writer.c). */
#include "base/log_ring.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "base/must.h"

static_assert((LOG_RING_BYTES & (LOG_RING_BYTES - 1)) == 0, "a place is the low bits of an offset");
static_assert(LOG_RING_BYTES > LOG_LINE_BYTES, "no line would ever find room");

void log_ring_init(struct log_ring *r)
{
    must(pthread_mutex_init(&r->lock, NULL) == 0);
    atomic_store(&r->head, 0);
    atomic_store(&r->tail, 0);
    atomic_store(&r->gap, 0);
    atomic_store(&r->telling, 0);
    atomic_store(&r->dropped, 0);
}

/* How much of n bytes at this offset comes before the ring's end. */
static size_t before_wrap(uint64_t at, size_t n)
{
    return MIN(n, LOG_RING_BYTES - (size_t)(at % LOG_RING_BYTES));
}

static void copy_in(struct log_ring *r, uint64_t at, const char *text, size_t len)
{
    size_t first = before_wrap(at, len);

    memcpy(r->text + at % LOG_RING_BYTES, text, first);
    memcpy(r->text, text + first, len - first);
}

static void copy_out(const struct log_ring *r, uint64_t at, char *out, size_t len)
{
    size_t first = before_wrap(at, len);

    memcpy(out, r->text + at % LOG_RING_BYTES, first);
    memcpy(out + first, r->text, len - first);
}

/* With the lock. */
static void add_gap(struct log_ring *r, uint64_t lines)
{
    atomic_fetch_add(&r->dropped, lines);
    atomic_fetch_add(&r->gap, lines);
}

/* --- any thread
 * ------------------------------------------------------------------------------------ */

void log_ring_push(struct log_ring *r, const char *text, size_t len)
{
    uint64_t head;

    must(len > 0 && len <= LOG_LINE_BYTES);
    must(text[len - 1] == '\n');
    pthread_mutex_lock(&r->lock);
    head = atomic_load(&r->head);
    if (log_ring_has_gap(r) || len > LOG_RING_BYTES - (head - atomic_load(&r->tail))) {
        add_gap(r, 1);
    } else {
        copy_in(r, head, text, len);
        atomic_store(&r->head, head + len);
    }
    pthread_mutex_unlock(&r->lock);
}

uint64_t log_ring_end(const struct log_ring *r)
{
    return atomic_load(&r->head);
}

/* Whoever takes a gap is telling before it is none any more: one of the two is seen. */
bool log_ring_is_settled(const struct log_ring *r, uint64_t end)
{
    return atomic_load(&r->tail) >= end && !log_ring_has_gap(r) && atomic_load(&r->telling) == 0;
}

uint64_t log_ring_dropped(const struct log_ring *r)
{
    return atomic_load_explicit(&r->dropped, memory_order_relaxed);
}

/* --- the writer
 * ------------------------------------------------------------------------------------ */

size_t log_ring_peek(const struct log_ring *r, char *out, size_t max)
{
    uint64_t tail = atomic_load(&r->tail), n = atomic_load(&r->head) - tail;
    const char *end;

    must(max >= LOG_LINE_BYTES);
    if (n == 0)
        return 0;
    n = MIN(n, max);
    copy_out(r, tail, out, n);
    end = memrchr(out, '\n', n);
    must(end != NULL);
    return (size_t)(end - out) + 1;
}

void log_ring_written(struct log_ring *r, size_t n)
{
    uint64_t tail = atomic_load(&r->tail);

    must(n <= atomic_load(&r->head) - tail);
    atomic_store(&r->tail, tail + n);
}

void log_ring_lose(struct log_ring *r, uint64_t lines)
{
    pthread_mutex_lock(&r->lock);
    add_gap(r, lines);
    pthread_mutex_unlock(&r->lock);
}

uint64_t log_ring_take_gap(struct log_ring *r)
{
    uint64_t gap = 0;

    must(atomic_load(&r->telling) == 0);
    if (!log_ring_has_gap(r))
        return 0;
    pthread_mutex_lock(&r->lock);
    if (log_ring_is_empty(r)) {
        gap = atomic_load(&r->gap);
        atomic_store(&r->telling, gap);
        atomic_store(&r->gap, 0);
    }
    pthread_mutex_unlock(&r->lock);
    return gap;
}

void log_ring_told(struct log_ring *r)
{
    must(atomic_load(&r->telling) > 0);
    atomic_store(&r->telling, 0);
}

void log_ring_untold(struct log_ring *r)
{
    must(atomic_load(&r->telling) > 0);
    pthread_mutex_lock(&r->lock);
    atomic_fetch_add(&r->gap, atomic_load(&r->telling));
    atomic_store(&r->telling, 0);
    pthread_mutex_unlock(&r->lock);
}

bool log_ring_is_empty(const struct log_ring *r)
{
    return atomic_load(&r->head) == atomic_load(&r->tail);
}

bool log_ring_has_gap(const struct log_ring *r)
{
    return atomic_load(&r->gap) > 0;
}
