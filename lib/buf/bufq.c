/* bufq - see bufq.h.
 *
 *   head -> [##] -> [####] -> [##..] <- tail      spare -> [....] -> [....]
 *
 * Chunks behind the tail exist only between reserve and commit; commit links what was filled and
 * gives the rest back.
 */
#include "buf/bufq.h"

#include <string.h>

#include "base/err.h"
#include "base/pieces.h"

static size_t chunk_used(const struct chunk *c)
{
    return c->tail - c->head;
}

static size_t chunk_left(const struct chunk *c)
{
    return CHUNK_BYTES - c->tail;
}

static void give_all(struct bufq *q, struct chunk *c)
{
    while (c) {
        struct chunk *next = c->next;

        chunk_give(q->pool, c);
        c = next;
    }
}

static void link_tail(struct bufq *q, struct chunk *c)
{
    c->next = NULL;
    if (q->tail)
        q->tail->next = c;
    else
        q->head = c;
    q->tail = c;
}

void bufq_init(struct bufq *q, struct chunk_pool *pool, size_t cap)
{
    *q = (struct bufq){.pool = pool, .cap = cap};
}

void bufq_fini(struct bufq *q)
{
    if (!q->pool)
        return;
    bufq_clear(q);
    q->pool = NULL;
}

void bufq_clear(struct bufq *q)
{
    give_all(q, q->head);
    give_all(q, q->spare);
    q->head = q->tail = q->spare = NULL;
    q->len = 0;
}

void bufq_check(const struct bufq *q)
{
    size_t sum = 0;
    const struct chunk *last = NULL;

    for (const struct chunk *c = q->head; c; c = c->next) {
        must(c->head >= CHUNK_HEADROOM && c->head < c->tail && c->tail <= CHUNK_BYTES);
        sum += chunk_used(c);
        last = c;
    }
    must(sum == q->len);
    must(q->len <= q->cap);
    must(last == q->tail);
}

size_t bufq_room(const struct bufq *q)
{
    return q->len < q->cap ? q->cap - q->len : 0;
}

/* All chunks that n bytes behind the tail need, linked; NULL with -ERR_NOMEM: the pool has not so
 * many. */
static int take_chunks(struct bufq *q, size_t n, struct chunk **out)
{
    struct chunk **end = out;

    *out = NULL;
    for (; n > 0; n -= MIN(n, CHUNK_ROOM)) {
        *end = chunk_take(q->pool);
        if (!*end) {
            give_all(q, *out);
            return -ERR_NOMEM;
        }
        end = &(*end)->next;
    }
    return 0;
}

int bufq_push_pieces(struct bufq *q, const struct iovec *src, size_t count)
{
    struct chunk *fresh;
    size_t n = pieces_bytes(src, count), in_tail;

    must(!q->spare);
    if (n > bufq_room(q))
        return -ERR_FULL;
    in_tail = q->tail ? MIN(n, chunk_left(q->tail)) : 0;
    if (take_chunks(q, n - in_tail, &fresh) != 0)
        return -ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *from = src[i].iov_base;

        for (size_t left = src[i].iov_len; left > 0;) {
            size_t part;

            if (!q->tail || chunk_left(q->tail) == 0) {
                struct chunk *next = fresh->next;

                link_tail(q, fresh);
                fresh = next;
            }
            part = MIN(left, chunk_left(q->tail));
            memcpy(q->tail->bytes + q->tail->tail, from, part);
            q->tail->tail += (uint32_t)part;
            from += part;
            left -= part;
        }
    }
    must(!fresh);
    q->len += n;
    return 0;
}

int bufq_push(struct bufq *q, const void *src, size_t n)
{
    struct iovec piece = {(void *)(uintptr_t)src, n};

    return bufq_push_pieces(q, &piece, 1);
}

size_t bufq_reserve(struct bufq *q, struct iovec *out, size_t max)
{
    size_t room = bufq_room(q), count = 0;
    struct chunk **end = &q->spare;

    must(!q->spare);
    if (max > 0 && room > 0 && q->tail && chunk_left(q->tail) > 0) {
        size_t part = MIN(room, chunk_left(q->tail));

        out[count++] = (struct iovec){q->tail->bytes + q->tail->tail, part};
        room -= part;
    }
    while (count < max && room > 0) {
        struct chunk *c = chunk_take(q->pool);
        size_t part = MIN(room, CHUNK_ROOM);

        if (!c)
            break;
        *end = c;
        end = &c->next;
        out[count++] = (struct iovec){c->bytes + c->tail, part};
        room -= part;
    }
    return count;
}

void bufq_commit(struct bufq *q, size_t n)
{
    must(n <= bufq_room(q));
    q->len += n;
    if (q->tail && n > 0) {
        size_t part = MIN(n, chunk_left(q->tail));

        q->tail->tail += (uint32_t)part;
        n -= part;
    }
    while (n > 0) {
        struct chunk *c = q->spare;
        size_t part = MIN(n, CHUNK_ROOM);

        must(c != NULL);
        q->spare = c->next;
        c->tail += (uint32_t)part;
        n -= part;
        link_tail(q, c);
    }
    give_all(q, q->spare);
    q->spare = NULL;
}

size_t bufq_peek(const struct bufq *q, struct iovec *out, size_t max)
{
    size_t count = 0;

    for (struct chunk *c = q->head; c && count < max; c = c->next)
        out[count++] = (struct iovec){c->bytes + c->head, chunk_used(c)};
    return count;
}

void bufq_skip(struct bufq *q, size_t n)
{
    must(n <= q->len);
    must(!q->spare);
    q->len -= n;
    while (q->head && (n > 0 || chunk_used(q->head) == 0)) {
        struct chunk *c = q->head;
        size_t part = MIN(n, chunk_used(c));

        c->head += (uint32_t)part;
        n -= part;
        if (chunk_used(c) > 0)
            break;
        q->head = c->next;
        if (!q->head)
            q->tail = NULL;
        chunk_give(q->pool, c);
    }
}

size_t bufq_copy(const struct bufq *q, void *dst, size_t n)
{
    uint8_t *to = dst;
    size_t done = 0;

    for (const struct chunk *c = q->head; c && done < n; c = c->next) {
        size_t part = MIN(n - done, chunk_used(c));

        memcpy(to + done, c->bytes + c->head, part);
        done += part;
    }
    return done;
}
