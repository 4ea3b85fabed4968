/* fake_quic_side - see fake_quic_side.h. */
#include "support/fake_quic_side.h"

#include <check.h>
#include <stdlib.h>

#define CONTROL 0u

static bool has_lane(const struct fake_quic_side *side)
{
    return !side->net->is_cut && side->lane.state == LANE_OPEN;
}

/* --- out of a lane: what link_quic.c's open_step() does --------------------------------------- */

static void take_resets(struct fake_quic_side *side)
{
    struct fake_quic *net = side->net;
    uint32_t number;
    uint64_t code;

    while (lane_quic_next_reset(&side->lane, &number, &code)) {
        struct fake_quic_stream *s = &net->streams[number];
        struct fake_way *way = &s->way[side->number];

        ck_assert_uint_lt(number, net->stream_count);
        ck_assert_uint_ge(code, RESET_BY_PEER);
        ck_assert_uint_le(code, RESET_NOT_ALLOWED);
        ck_assert(side->number == TAP_HUB || code == RESET_BY_PEER);
        side->resets[code]++;
        if (!way->is_shut && (!way->has_fin || way->head)) {
            way->reset_due_ms = fake_way_due(net);
            way->reset_code = code;
        }
        fake_way_shut(way);
        if (!s->way[!side->number].is_over) {
            way->stop_due_ms = fake_way_due(net);
            way->stop_code = code;
        }
    }
}

static void take_credit(struct fake_quic_side *side)
{
    struct fake_quic *net = side->net;
    uint32_t number, bytes;

    while (lane_quic_next_credit(&side->lane, &number, &bytes)) {
        struct fake_way *way = &net->streams[number].way[!side->number];

        ck_assert_uint_lt(number, net->stream_count);
        ck_assert_uint_gt(bytes, 0);
        way->lent += bytes;
        if (!way->credit_due_ms)
            way->credit_due_ms = fake_way_due(net);
    }
}

static void take_control(struct fake_quic_side *side)
{
    struct fake_quic *net = side->net;
    const uint8_t *record;
    size_t n;

    while ((n = lane_next_record(&side->lane, net->now_ms, &record)) > 0) {
        struct fake_way *way = &net->streams[CONTROL].way[side->number];

        ck_assert_uint_le(n, LANE_RECORD_BYTES);
        for (size_t at = 0; at < n;) {
            size_t part = 1 + (size_t)seeded_below(&net->seed, MIN(n - at, (size_t)FAKE_PACKET));
            struct iovec piece = {(void *)(uintptr_t)(record + at), part};

            fake_way_send(net, way, &piece, 1, part, false);
            at += part;
        }
        fake_way_shut(way); /* a record's bytes are copied: they need not stay */
        lane_record_done(&side->lane);
    }
}

/* Any of what waits to be acknowledged may be sent again now. */
static void retransmit_some(struct fake_quic_side *side)
{
    struct fake_quic *net = side->net;
    const struct fake_quic_stream *s = &net->streams[seeded_below(&net->seed, net->stream_count)];

    for (const struct fake_frame *f = s->way[side->number].head; f; f = f->next)
        fake_way_verify(net, f);
}

/* STOP_SENDING came, or it was reset: QUIC does not take its bytes. */
static void refuse(struct fake_quic_side *side, struct stream *s)
{
    uint32_t number = s->id;

    lane_quic_return(&side->lane, s);
    lane_quic_reset(&side->lane, number, RESET_BY_PEER);
}

/* One packet's worth of one stream.  False: nobody has anything. */
static bool send_packet(struct fake_quic_side *side)
{
    struct fake_quic *net = side->net;
    struct iovec piece[FAKE_SPANS];
    size_t count, total = 0, n;
    struct fake_way *way;
    struct stream *s;
    bool is_fin;

    s = lane_quic_pick(&side->lane, net->now_ms, piece,
                       1 + (size_t)seeded_below(&net->seed, FAKE_SPANS), &count, &is_fin);
    if (!s)
        return false;
    way = &net->streams[s->id].way[side->number];
    if (way->is_shut) {
        refuse(side, s);
        return true;
    }
    ck_assert(!way->has_fin);
    for (size_t i = 0; i < count; i++)
        total += piece[i].iov_len;
    n = MIN(total, (size_t)FAKE_PACKET);
    if (n > 0 && seeded_chance(&net->seed, 10))
        n = 1 + (size_t)seeded_below(&net->seed, n);
    ck_assert_msg(way->sent + n <= way->limit, "stream %u sends past its credit", s->id);
    fake_way_send(net, way, piece, count, n, is_fin && n == total);
    lane_quic_written(&side->lane, s, n, is_fin && n == total, net->now_ms);
    return true;
}

static void send_streams(struct fake_quic_side *side)
{
    struct fake_quic *net = side->net;
    unsigned left = net->options.packets ? net->options.packets : UINT32_MAX;

    for (; left > 0; left--) {
        if (seeded_chance(&net->seed, 2)) { /* a packet had no room for it */
            struct iovec piece[FAKE_SPANS];
            size_t count;
            bool is_fin;
            struct stream *s =
                lane_quic_pick(&side->lane, net->now_ms, piece, FAKE_SPANS, &count, &is_fin);

            if (s)
                lane_quic_return(&side->lane, s);
        }
        if (!send_packet(side))
            return;
    }
    side->is_blocked = true;
}

void fake_quic_side_run(struct fake_quic_side *side)
{
    if (side->is_awake || side->is_blocked) {
        side->is_awake = side->is_blocked = false;
        take_resets(side);
        take_credit(side);
        take_control(side);
        retransmit_some(side);
        send_streams(side);
        take_resets(side); /* of streams that were refused just now */
        side->is_awake = false;
    }
    if (!side->is_blocked)
        ck_assert_msg(!lane_has_output(&side->lane), "output waits, but nothing woke the lane");
    side->armed_ms = lane_deadline(&side->lane);
}

void fake_quic_side_tick(struct fake_quic_side *side)
{
    int err;

    if (!side->is_awake && !side->is_blocked)
        ck_assert_uint_ge(lane_deadline(&side->lane), side->armed_ms);
    if (lane_deadline(&side->lane) > side->net->now_ms)
        return;
    err = lane_tick(&side->lane, side->net->now_ms);
    if (err && !side->tick_error)
        side->tick_error = err;
    side->is_awake = true;
}

/* --- into a lane ------------------------------------------------------------------------------ */

static void deliver_frame(struct fake_quic_side *to, uint32_t number, struct fake_frame *frame)
{
    struct fake_quic_stream *s = &to->net->streams[number];
    bool is_new = !s->is_known[to->number];
    const uint8_t *bytes = frame->n ? frame->bytes : NULL; /* as ngtcp2 gives an end by itself */
    int err;

    if (!has_lane(to))
        return;
    s->is_known[to->number] = true;
    if (number == CONTROL)
        err = lane_input(&to->lane, bytes, frame->n, to->net->now_ms);
    else
        err = lane_quic_data(&to->lane, number, is_new, bytes, frame->n, frame->is_fin,
                             to->net->now_ms);
    if (err && !to->input_error)
        to->input_error = err;
}

/* STREAM frames that arrive now. */
static void deliver_data(struct fake_quic_side *to, uint32_t number)
{
    struct fake_quic *net = to->net;
    struct fake_way *way = &net->streams[number].way[!to->number];

    while (way->coming && fake_way_is_due(net, way->coming->due_ms)) {
        struct fake_frame *frame = way->coming;

        way->coming = frame->next;
        if (!way->is_over)
            deliver_frame(to, number, frame);
        way->is_over |= frame->is_fin;
        frame->has_arrived = true;
        way->newest_ack_ms = MAX(way->newest_ack_ms, fake_way_due(net));
        frame->due_ms = way->newest_ack_ms;
        to->is_awake = true;
    }
}

/* What concerns streams by themselves: each comes when it comes. */
static void deliver_signs(struct fake_quic_side *to, uint32_t number)
{
    struct fake_quic *net = to->net;
    struct fake_way *in = &net->streams[number].way[!to->number];
    struct fake_way *out = &net->streams[number].way[to->number];

    if (fake_way_is_due(net, in->reset_due_ms)) { /* RESET_STREAM */
        in->reset_due_ms = 0;
        if (!in->is_over && has_lane(to))
            lane_quic_reset(&to->lane, number, in->reset_code);
        in->is_over = true;
        to->is_awake = true;
    }
    if (fake_way_is_due(net, in->stop_due_ms)) { /* STOP_SENDING, which QUIC itself answers */
        in->stop_due_ms = 0;
        if (has_lane(to))
            lane_quic_reset(&to->lane, number, in->stop_code);
        if (!out->is_shut && (!out->has_fin || out->head)) {
            out->reset_due_ms = fake_way_due(net);
            out->reset_code = in->stop_code;
        }
        fake_way_shut(out);
        to->is_awake = true;
    }
    if (fake_way_is_due(net, out->credit_due_ms)) { /* MAX_STREAM_DATA */
        out->credit_due_ms = 0;
        out->limit = out->lent;
        if (has_lane(to))
            lane_quic_credit(&to->lane, number, out->limit);
        to->is_awake = true;
    }
}

/* Consecutive bytes that the peer has, and of the last frame perhaps only some. */
static void deliver_acks(struct fake_quic_side *to, uint32_t number)
{
    struct fake_quic *net = to->net;
    struct fake_way *way = &net->streams[number].way[to->number];
    bool is_open = has_lane(to) && stream_table_find(&to->lane.table, number);
    uint64_t n = 0;

    while (way->head && way->head->has_arrived && fake_way_is_due(net, way->head->due_ms)) {
        struct fake_frame *frame = way->head;
        size_t left = frame->n - frame->acked;

        if (is_open && !way->is_shut)
            fake_way_verify(net, frame);
        if (left > 1 && seeded_chance(&net->seed, 5)) {
            left = (size_t)seeded_below(&net->seed, left);
            frame->acked += left;
            n += left;
            break;
        }
        n += left;
        way->head = frame->next;
        if (!way->head)
            way->tail = NULL;
        free(frame->bytes);
        free(frame);
    }
    if (n == 0 || way->is_shut || number == CONTROL || !has_lane(to))
        return;
    lane_quic_acked(&to->lane, number, n);
    to->is_awake = true;
}

void fake_quic_side_deliver(struct fake_quic_side *to)
{
    struct fake_quic *net = to->net;
    uint32_t first = (uint32_t)seeded_below(&net->seed, net->stream_count);

    if (net->is_deaf[to->number])
        return;
    for (uint32_t i = 0; i < net->stream_count; i++) {
        uint32_t number = (first + i) % net->stream_count;
        bool signs_first = seeded_chance(&net->seed, 50);

        if (number == CONTROL && net->is_control_deaf[to->number])
            continue;
        if (signs_first)
            deliver_signs(to, number);
        deliver_data(to, number);
        if (!signs_first)
            deliver_signs(to, number);
        deliver_acks(to, number);
    }
}
