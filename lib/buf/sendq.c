/* sendq - see sendq.h. */
#include "buf/sendq.h"

#include <string.h>

#include "base/err.h"
#include "base/pieces.h"

static void give_all(struct sendq *q, struct chunk *c)
{
    while (c) {
        struct chunk *next = c->next;

        chunk_give(q->pool, c);
        c = next;
    }
}

void sendq_init(struct sendq *q, struct chunk_pool *pool, size_t cap)
{
    *q = (struct sendq){.pool = pool, .cap = cap};
}

void sendq_fini(struct sendq *q)
{
    if (!q->pool)
        return;
    sendq_clear(q);
    q->pool = NULL;
}

void sendq_clear(struct sendq *q)
{
    give_all(q, q->head);
    give_all(q, q->spare);
    q->head = q->tail = q->at = q->spare = NULL;
    q->end = q->acked = q->sent;
}

void sendq_check(const struct sendq *q)
{
    uint64_t held = 0, unsent = 0;
    const struct chunk *last = NULL;
    bool is_unsent = false;

    must(q->acked <= q->sent);
    must(q->sent <= q->end);
    must(q->end <= q->acked + q->cap);
    for (const struct chunk *c = q->head; c; c = c->next) {
        must(c->head >= CHUNK_HEADROOM && c->head < c->tail && c->tail <= CHUNK_BYTES);
        held += c->tail - c->head;
        if (c == q->at) {
            must(q->at_pos >= c->head && q->at_pos < c->tail);
            is_unsent = true;
            unsent = c->tail - q->at_pos;
        } else if (is_unsent) {
            unsent += c->tail - c->head;
        }
        last = c;
    }
    must(last == q->tail);
    must(held == q->end - q->acked);
    must(is_unsent == (q->at != NULL));
    must(unsent == q->end - q->sent);
}

bool sendq_is_idle(const struct sendq *q)
{
    return q->sent == q->end;
}

size_t sendq_unsent(const struct sendq *q)
{
    return (size_t)(q->end - q->sent);
}

size_t sendq_held(const struct sendq *q)
{
    return (size_t)(q->end - q->acked);
}

size_t sendq_room(const struct sendq *q)
{
    size_t held = sendq_held(q);

    return held < q->cap ? q->cap - held : 0;
}

size_t sendq_reserve(struct sendq *q, size_t limit, struct iovec *out, size_t max)
{
    size_t room = MIN(limit, sendq_room(q)), count = 0;
    struct chunk **end = &q->spare;

    must(!q->spare);
    if (max > 0 && room > 0 && q->tail && q->tail->tail < CHUNK_BYTES) {
        size_t part = MIN(room, (size_t)(CHUNK_BYTES - q->tail->tail));

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

/* n new bytes begin in chunk c at pos: where `sent` is, if everything before was sent. */
static void note_unsent(struct sendq *q, struct chunk *c, uint32_t pos)
{
    if (!q->at) {
        q->at = c;
        q->at_pos = pos;
    }
}

void sendq_commit(struct sendq *q, size_t n)
{
    must(n <= sendq_room(q));
    q->end += n;
    if (q->tail && n > 0 && q->tail->tail < CHUNK_BYTES) {
        size_t part = MIN(n, (size_t)(CHUNK_BYTES - q->tail->tail));

        note_unsent(q, q->tail, q->tail->tail);
        q->tail->tail += (uint32_t)part;
        n -= part;
    }
    while (n > 0) {
        struct chunk *c = q->spare;
        size_t part = MIN(n, CHUNK_ROOM);

        must(c != NULL);
        q->spare = c->next;
        c->next = NULL;
        note_unsent(q, c, c->tail);
        c->tail += (uint32_t)part;
        n -= part;
        if (q->tail)
            q->tail->next = c;
        else
            q->head = c;
        q->tail = c;
    }
    give_all(q, q->spare);
    q->spare = NULL;
}

int sendq_push_pieces(struct sendq *q, const struct iovec *src, size_t src_count)
{
    struct iovec room[SENDQ_PUSH_PIECES];
    size_t n = pieces_bytes(src, src_count), count, at = 0, filled = 0;

    must(n <= (SENDQ_PUSH_PIECES - 1) * CHUNK_ROOM);
    if (n > sendq_room(q))
        return -ERR_FULL;
    count = sendq_reserve(q, n, room, SENDQ_PUSH_PIECES);
    if (pieces_bytes(room, count) < n) {
        sendq_commit(q, 0);
        return -ERR_NOMEM;
    }
    for (size_t i = 0; i < src_count; i++) {
        const uint8_t *from = src[i].iov_base;

        for (size_t left = src[i].iov_len; left > 0;) {
            size_t part = MIN(left, room[at].iov_len - filled);

            memcpy((uint8_t *)room[at].iov_base + filled, from, part);
            from += part;
            left -= part;
            filled += part;
            if (filled == room[at].iov_len) {
                at++;
                filled = 0;
            }
        }
    }
    sendq_commit(q, n);
    return 0;
}

int sendq_push(struct sendq *q, const void *src, size_t n)
{
    struct iovec piece = {(void *)(uintptr_t)src, n};

    return sendq_push_pieces(q, &piece, 1);
}

size_t sendq_peek(const struct sendq *q, uint8_t **out, size_t max)
{
    if (!q->at)
        return 0;
    *out = q->at->bytes + q->at_pos;
    return MIN(max, (size_t)(q->at->tail - q->at_pos));
}

size_t sendq_peek_pieces(const struct sendq *q, struct iovec *out, size_t max)
{
    const struct chunk *c = q->at;
    uint32_t pos = q->at_pos;
    size_t count = 0;

    while (c && count < max) {
        out[count++] = (struct iovec){(void *)(uintptr_t)(c->bytes + pos), c->tail - pos};
        c = c->next;
        pos = c ? c->head : 0;
    }
    return count;
}

void sendq_sent(struct sendq *q, size_t n)
{
    must(n <= sendq_unsent(q));
    q->sent += n;
    while (n > 0) {
        size_t part = MIN(n, (size_t)(q->at->tail - q->at_pos));

        q->at_pos += (uint32_t)part;
        n -= part;
        if (q->at_pos == q->at->tail) {
            q->at = q->at->next;
            q->at_pos = q->at ? q->at->head : 0;
        }
    }
}

void sendq_acked(struct sendq *q, uint64_t upto)
{
    uint64_t n = upto - q->acked;

    must(upto >= q->acked);
    must(upto <= q->sent);
    must(!q->spare); /* what is reserved may lie in a chunk that goes now */
    q->acked = upto;
    while (n > 0) {
        struct chunk *c = q->head;
        uint64_t part = MIN(n, (uint64_t)(c->tail - c->head));

        c->head += (uint32_t)part;
        n -= part;
        if (c->head < c->tail)
            break;
        must(c != q->at);
        q->head = c->next;
        if (!q->head)
            q->tail = NULL;
        chunk_give(q->pool, c);
    }
}
