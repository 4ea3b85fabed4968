/* fuzz_buf_queues - the input is a program: each three bytes are one step on a bufq and a sendq
 * that share a pool; both are checked after every step, and their bytes compared with plain arrays.
 *
 *   byte 0  low 4 bits: the step (enum op); bit 4: sizes count in chunks instead of bytes
 *   byte 1, 2  the size or choice
 * The first three bytes of the input set the caps.
 */
#include <stdint.h>
#include <string.h>

#include "buf/bufq.h"
#include "buf/sendq.h"

#define CAP_MAX   300000u
#define STEPS_MAX 400

enum op {
    OP_BUFQ_PUSH,
    OP_BUFQ_FILL,
    OP_BUFQ_SKIP,
    OP_BUFQ_CLEAR,
    OP_SENDQ_PUSH,
    OP_SENDQ_FILL,
    OP_SENDQ_SEND,
    OP_SENDQ_ACK,
    OP_SENDQ_CLEAR,
    OP_MOVE, /* from the bufq's head to the sendq, as a relay does */
    OP_COUNT
};

struct model {
    uint8_t bytes[CAP_MAX];
    size_t len, sent; /* sent: of these bytes; sendq only */
    uint8_t mark;     /* the next byte to be put in: shows order */
};

static struct model in, out;
static uint8_t scratch[CAP_MAX + 1];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void make_bytes(struct model *m, uint8_t *at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        at[i] = m->mark++;
}

static void append(struct model *m, const uint8_t *from, size_t n)
{
    must(m->len + n <= sizeof(m->bytes));
    memcpy(m->bytes + m->len, from, n);
    m->len += n;
}

static void drop(struct model *m, size_t n)
{
    memmove(m->bytes, m->bytes + n, m->len - n);
    m->len -= n;
}

static size_t fill(struct model *m, const struct iovec *piece, size_t count, size_t want)
{
    size_t done = 0;

    for (size_t i = 0; i < count && done < want; i++) {
        size_t part = MIN(want - done, piece[i].iov_len);

        make_bytes(m, piece[i].iov_base, part);
        append(m, piece[i].iov_base, part);
        done += part;
    }
    return done;
}

static void step_bufq(struct bufq *q, enum op op, size_t n)
{
    struct iovec piece[6];

    if (op == OP_BUFQ_PUSH && n <= CAP_MAX) {
        uint8_t mark = in.mark;

        make_bytes(&in, scratch, n);
        if (bufq_push(q, scratch, n) == 0)
            append(&in, scratch, n);
        else
            in.mark = mark;
    } else if (op == OP_BUFQ_FILL) {
        size_t count = bufq_reserve(q, piece, n % 7);

        bufq_commit(q, fill(&in, piece, count, n));
    } else if (op == OP_BUFQ_SKIP) {
        n = MIN(n, q->len);
        bufq_skip(q, n);
        drop(&in, n);
    } else if (op == OP_BUFQ_CLEAR) {
        bufq_clear(q);
        in.len = 0;
    }
}

static void step_sendq(struct sendq *q, enum op op, size_t n)
{
    struct iovec piece[6];
    uint8_t *at;

    if (op == OP_SENDQ_PUSH && n <= (SENDQ_PUSH_PIECES - 1) * CHUNK_ROOM) {
        uint8_t mark = out.mark;

        make_bytes(&out, scratch, n);
        if (sendq_push(q, scratch, n) == 0)
            append(&out, scratch, n);
        else
            out.mark = mark;
    } else if (op == OP_SENDQ_FILL) {
        size_t count = sendq_reserve(q, n, piece, n % 7);

        sendq_commit(q, fill(&out, piece, count, n));
    } else if (op == OP_SENDQ_SEND) {
        n = sendq_peek(q, &at, n);
        must(n == 0 || memcmp(at, out.bytes + out.sent, n) == 0);
        sendq_sent(q, n);
        out.sent += n;
    } else if (op == OP_SENDQ_ACK) {
        n = MIN(n, out.sent);
        sendq_acked(q, q->acked + n);
        drop(&out, n);
        out.sent -= n;
    } else if (op == OP_SENDQ_CLEAR) {
        sendq_clear(q);
        out.len = out.sent = 0;
    }
}

static void step_move(struct bufq *from, struct sendq *to)
{
    struct iovec piece;

    if (bufq_peek(from, &piece, 1) == 0)
        return;
    memcpy(scratch, piece.iov_base, piece.iov_len);
    if (sendq_push(to, piece.iov_base, piece.iov_len) != 0)
        return;
    append(&out, scratch, piece.iov_len);
    bufq_skip(from, piece.iov_len);
    drop(&in, piece.iov_len);
}

static void compare(const struct bufq *q, const struct sendq *s)
{
    size_t at = 0;

    bufq_check(q);
    sendq_check(s);
    must(q->len == in.len);
    must(bufq_copy(q, scratch, sizeof(scratch)) == in.len);
    must(memcmp(scratch, in.bytes, in.len) == 0);
    must(sendq_unsent(s) == out.len - out.sent);
    for (const struct chunk *c = s->head; c; c = c->next) {
        must(memcmp(c->bytes + c->head, out.bytes + at, c->tail - c->head) == 0);
        at += c->tail - c->head;
    }
    must(at == out.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chunk_pool pool;
    struct bufq q;
    struct sendq s;

    if (size < 3)
        return 0;
    in.len = out.len = in.sent = out.sent = 0;
    chunk_pool_init(&pool, 3, data[2] % 32);
    bufq_init(&q, &pool, 1 + data[0] * 1175u);
    sendq_init(&s, &pool, 1 + data[1] * 1175u);
    for (size_t i = 3; i + 3 <= size && i < 3 * STEPS_MAX; i += 3) {
        enum op op = (enum op)((data[i] & 15) % OP_COUNT);
        size_t n = (size_t)data[i + 1] << 8 | data[i + 2];

        if (data[i] & 16) /* sizes around whole chunks */
            n = (size_t)(data[i + 1] % 18) * CHUNK_ROOM + (data[i + 2] % 32);
        if (op <= OP_BUFQ_CLEAR)
            step_bufq(&q, op, n);
        else if (op == OP_MOVE)
            step_move(&q, &s);
        else
            step_sendq(&s, op, n);
        compare(&q, &s);
    }
    bufq_fini(&q);
    sendq_fini(&s);
    chunk_pool_fini(&pool);
    return 0;
}
