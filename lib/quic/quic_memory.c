/* quic_memory - see quic_memory.h.
 *
 * Nothing is kept beside a block: malloc_usable_size() says how large it is, also when it is freed.
 */
#include "quic/quic_memory.h"

#include <malloc.h>
#include <stdlib.h>

/* --- what is lent ----------------------------------------------------------------------------- */

static uint64_t bound_of(const struct quic_memory *m)
{
    return m->allowance + m->streams * m->per_stream + m->lent;
}

/* Whether n bytes more may be held. */
static bool has_room(struct quic_memory *m, size_t n)
{
    uint64_t bound = bound_of(m), more;

    if (m->state != QUIC_MEMORY_GOOD)
        return false;
    if (m->held + n <= bound)
        return true;
    more = (m->held + n - bound + QUIC_MEMORY_STEP - 1) / QUIC_MEMORY_STEP * QUIC_MEMORY_STEP;
    if (!m->lender || !m->lender->take(m->arg, more)) {
        m->state = QUIC_MEMORY_REFUSED;
        return false;
    }
    m->lent += more;
    return true;
}

/* A step stays behind, so that one block that comes and goes does not make one go to and fro. */
static void give_back(struct quic_memory *m)
{
    while (m->lent > 0 && m->held + 2 * QUIC_MEMORY_STEP <= bound_of(m)) {
        m->lent -= QUIC_MEMORY_STEP;
        m->lender->give(m->arg, QUIC_MEMORY_STEP);
    }
}

static void *count(struct quic_memory *m, void *block)
{
    if (block)
        m->held += malloc_usable_size(block);
    else
        m->state = QUIC_MEMORY_NONE;
    return block;
}

/* --- what ngtcp2 calls ------------------------------------------------------------------------ */

static void *on_malloc(size_t n, void *arg)
{
    return has_room(arg, n) ? count(arg, malloc(n)) : NULL;
}

static void *on_calloc(size_t count_of, size_t n, void *arg)
{
    must(n == 0 || count_of <= SIZE_MAX / n);
    return has_room(arg, count_of * n) ? count(arg, calloc(count_of, n)) : NULL;
}

static void on_free(void *block, void *arg)
{
    struct quic_memory *m = arg;
    size_t n = malloc_usable_size(block); /* of NULL: 0 */

    must(m->held >= n);
    m->held -= n;
    free(block);
    give_back(m);
}

static void *on_realloc(void *block, size_t n, void *arg)
{
    size_t before = malloc_usable_size(block);
    struct quic_memory *m = arg;
    void *longer;

    if (n > before && !has_room(m, n - before))
        return NULL;
    longer = realloc(block, MAX(n, 1u)); /* of 0 it would free */
    if (longer)
        m->held -= before;
    return count(m, longer);
}

/* --- for the connection ----------------------------------------------------------------------- */

void quic_memory_init(struct quic_memory *m, uint64_t allowance, uint64_t per_stream)
{
    *m = (struct quic_memory){.mem = {.user_data = m,
                                      .malloc = on_malloc,
                                      .free = on_free,
                                      .calloc = on_calloc,
                                      .realloc = on_realloc},
                              .allowance = allowance,
                              .per_stream = per_stream};
}

void quic_memory_fini(struct quic_memory *m)
{
    quic_memory_set_lender(m, NULL, NULL);
}

void quic_memory_set_allowance(struct quic_memory *m, uint64_t allowance, uint64_t per_stream)
{
    m->allowance = allowance;
    m->per_stream = per_stream;
    give_back(m);
}

void quic_memory_stream_opened(struct quic_memory *m)
{
    m->streams++;
}

void quic_memory_stream_closed(struct quic_memory *m)
{
    must(m->streams > 0);
    m->streams--;
}

void quic_memory_set_lender(struct quic_memory *m, const struct quic_lender *lender, void *arg)
{
    if (m->lent > 0)
        m->lender->give(m->arg, m->lent);
    m->lent = 0;
    m->lender = lender;
    m->arg = arg;
}
