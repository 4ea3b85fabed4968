/* fake_way - see fake_way.h. */
#include "support/fake_way.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/fake_quic.h"

uint64_t fake_way_due(struct fake_quic *net)
{
    const struct fake_quic_options *o = &net->options;

    return net->now_ms + o->delay_min_ms +
           seeded_below(&net->seed, o->delay_max_ms - o->delay_min_ms + 1);
}

bool fake_way_is_due(const struct fake_quic *net, uint64_t due_ms)
{
    return due_ms > 0 && due_ms <= net->now_ms;
}

void fake_way_drop(struct fake_way *way)
{
    while (way->head) {
        struct fake_frame *frame = way->head;

        way->head = frame->next;
        free(frame->bytes);
        free(frame);
    }
    way->tail = way->coming = NULL;
}

void fake_way_shut(struct fake_way *way)
{
    way->is_shut = true;
    for (struct fake_frame *frame = way->head; frame; frame = frame->next)
        frame->span_count = 0;
}

void fake_way_send(struct fake_quic *net, struct fake_way *way, const struct iovec *piece,
                   size_t count, size_t n, bool is_fin)
{
    struct fake_frame *frame = calloc(1, sizeof(*frame));
    size_t at = 0;

    ck_assert_ptr_nonnull(frame);
    frame->bytes = malloc(n ? n : 1);
    ck_assert_ptr_nonnull(frame->bytes);
    for (size_t i = 0; i < count && at < n; i++) {
        size_t part = MIN(piece[i].iov_len, n - at);

        memcpy(frame->bytes + at, piece[i].iov_base, part);
        frame->span[frame->span_count++] = (struct iovec){piece[i].iov_base, part};
        at += part;
    }
    ck_assert_uint_eq(at, n);
    way->newest_due_ms = MAX(way->newest_due_ms, fake_way_due(net));
    frame->due_ms = way->newest_due_ms;
    frame->n = n;
    frame->is_fin = is_fin;
    way->has_fin |= is_fin;
    way->sent += n;
    if (way->tail)
        way->tail->next = frame;
    else
        way->head = frame;
    way->tail = frame;
    if (!way->coming)
        way->coming = frame;
}

void fake_way_verify(struct fake_quic *net, const struct fake_frame *frame)
{
    size_t at = 0;

    for (unsigned i = 0; i < frame->span_count; i++) {
        const struct iovec *span = &frame->span[i];
        size_t skip = frame->acked > at ? MIN(frame->acked - at, span->iov_len) : 0;

        ck_assert_msg(memcmp((const uint8_t *)span->iov_base + skip, frame->bytes + at + skip,
                             span->iov_len - skip) == 0,
                      "bytes in flight have changed");
        net->verified += span->iov_len - skip;
        at += span->iov_len;
    }
}
