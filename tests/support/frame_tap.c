/* frame_tap - see frame_tap.h. */
#include "support/frame_tap.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

void frame_tap_init(struct frame_tap *t, uint32_t initial_window, uint32_t base)
{
    *t = (struct frame_tap){.initial_window = initial_window, .base = base, .highest_id = base};
}

void frame_tap_fini(struct frame_tap *t)
{
    free(t->streams);
    t->streams = NULL;
    t->size = 0;
}

static struct tap_stream *find(const struct frame_tap *t, uint32_t id)
{
    if (id <= t->base || id - t->base > t->size || !t->streams[id - t->base - 1].is_open)
        return NULL;
    return &t->streams[id - t->base - 1];
}

const struct tap_stream *frame_tap_stream(const struct frame_tap *t, uint32_t id)
{
    return find(t, id);
}

static void open_stream(struct frame_tap *t, uint32_t id)
{
    struct tap_stream *s;

    ck_assert_msg(id > t->highest_id, "OPEN of %u after %u", id, t->highest_id);
    t->highest_id = id;
    if (id - t->base > t->size) {
        uint32_t size = (id - t->base) * 2 + 16;

        t->streams = realloc(t->streams, size * sizeof(*t->streams));
        ck_assert_ptr_nonnull(t->streams);
        memset(t->streams + t->size, 0, (size - t->size) * sizeof(*t->streams));
        t->size = size;
    }
    s = &t->streams[id - t->base - 1];
    s->is_open = true;
    s->credit[TAP_EDGE] = s->credit[TAP_HUB] = t->initial_window;
}

static uint32_t credit_of(const struct tap_reader *r)
{
    return (uint32_t)r->payload[0] << 24 | (uint32_t)r->payload[1] << 16 |
           (uint32_t)r->payload[2] << 8 | r->payload[3];
}

/* A header of a side went out: is it allowed now?  (CLOSE is judged once its payload is known.) */
static void judge_header(struct frame_tap *t, unsigned side, const struct frame *f)
{
    struct tap_stream *s;

    ck_assert_msg(!t->has_goodbye[side], "%s after GOODBYE", frame_name(f->type));
    ck_assert_msg(frame_fault(f) == NULL, "frame type %u: %s", f->type, frame_fault(f));
    ck_assert_msg(side == TAP_EDGE ? frame_is_from_edge(f->type) : frame_is_from_hub(f->type),
                  "%s from the wrong side", frame_name(f->type));
    t->count[side][f->type]++;
    if (f->type == FRAME_OPEN) {
        ck_assert_msg(!t->has_drain[side], "OPEN after DRAIN");
        open_stream(t, f->stream);
        return;
    }
    if (frame_kind(f->type) != FRAME_OF_STREAM)
        return;
    s = find(t, f->stream);
    ck_assert_msg(s != NULL, "%s for %u, never opened", frame_name(f->type), f->stream);
    ck_assert_msg(!s->has_reset[side], "%s of %u after its reset", frame_name(f->type), f->stream);
    if (f->type == FRAME_DATA || f->type == FRAME_DATA_BACK) {
        ck_assert_msg(!s->has_fin[side], "data of %u after its FIN", f->stream);
        s->data[side] += f->len;
        ck_assert_msg(s->data[side] <= s->credit[side], "stream %u: %lu bytes sent, %lu allowed",
                      f->stream, (unsigned long)s->data[side], (unsigned long)s->credit[side]);
    }
}

static void judge_whole(struct frame_tap *t, unsigned side, const struct tap_reader *r)
{
    const struct frame *f = &r->frame;
    struct tap_stream *s;

    if (f->type == FRAME_GOODBYE)
        t->has_goodbye[side] = true;
    if (f->type == FRAME_DRAIN)
        t->has_drain[side] = true;
    if (f->type != FRAME_CLOSE && f->type != FRAME_CLOSE_BACK)
        return;
    s = find(t, f->stream);
    if (f->len == 0) {
        ck_assert_msg(!s->has_fin[side], "a second FIN of %u", f->stream);
        s->has_fin[side] = true;
        return;
    }
    s->has_reset[side] = true;
    s->reset_code[side] = r->payload[0];
    t->resets[side]++;
}

/* Goes over bytes; calls on_header and on_whole for what they make. */
static void read_frames(struct frame_tap *t, struct tap_reader *r, unsigned side,
                        const uint8_t *bytes, size_t n,
                        void (*on_header)(struct frame_tap *, unsigned, const struct frame *),
                        void (*on_whole)(struct frame_tap *, unsigned, const struct tap_reader *))
{
    while (n > 0) {
        size_t used;

        if (r->left > 0) {
            size_t kept;

            used = MIN(n, (size_t)r->left);
            kept = MIN(used, sizeof(r->payload) - r->payload_len);
            memcpy(r->payload + r->payload_len, bytes, kept);
            r->payload_len += (uint32_t)kept;
            r->left -= (uint32_t)used;
        } else {
            used = MIN(n, (size_t)(FRAME_HEADER_BYTES - r->header_len));
            memcpy(r->header + r->header_len, bytes, used);
            r->header_len += (uint32_t)used;
            if (r->header_len < FRAME_HEADER_BYTES)
                return;
            r->header_len = 0;
            if (frame_parse(&r->frame, r->header, FRAME_HEADER_BYTES) < 0)
                ck_abort_msg("an illegal header on the wire: %s", frame_fault(&r->frame));
            r->left = r->frame.len;
            r->payload_len = 0;
            if (on_header)
                on_header(t, side, &r->frame);
        }
        if (r->left == 0)
            on_whole(t, side, r);
        bytes += used;
        n -= used;
    }
}

void frame_tap_sent(struct frame_tap *t, unsigned side, const uint8_t *bytes, size_t n)
{
    read_frames(t, &t->sent[side], side, bytes, n, judge_header, judge_whole);
}

static void note_credit(struct frame_tap *t, unsigned side, const struct tap_reader *r)
{
    struct tap_stream *s;

    if (r->frame.type != FRAME_WINDOW_UPDATE && r->frame.type != FRAME_WINDOW_UPDATE_BACK)
        return;
    s = find(t, r->frame.stream);
    ck_assert_ptr_nonnull(s);
    s->credit[side] += credit_of(r);
    ck_assert_msg(s->credit[side] - s->data[side] <= FRAME_CREDIT_MAX, "credit past 2^31 - 1");
}

void frame_tap_got(struct frame_tap *t, unsigned side, const uint8_t *bytes, size_t n)
{
    read_frames(t, &t->got[side], side, bytes, n, NULL, note_credit);
}
