/* fake_quic - see fake_quic.h. */
#include "support/fake_quic.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define CONTROL 0u

static struct fake_quic_side *side_of(struct lane *lane)
{
    return container_of(lane, struct fake_quic_side, lane);
}

static uint64_t due(struct fake_quic *net)
{
    const struct fake_quic_options *o = &net->options;

    return net->now_ms + o->delay_min_ms +
           seeded_below(&net->seed, o->delay_max_ms - o->delay_min_ms + 1);
}

static bool is_due(const struct fake_quic *net, uint64_t due_ms)
{
    return due_ms > 0 && due_ms <= net->now_ms;
}

/* --- frames ----------------------------------------------------------------------------------- */

static void drop_frames(struct fake_way *way)
{
    while (way->head) {
        struct fake_frame *frame = way->head;

        way->head = frame->next;
        free(frame->bytes);
        free(frame);
    }
    way->tail = way->coming = NULL;
}

/* The bytes are not read again: but what is in a packet may still arrive. */
static void shut(struct fake_way *way)
{
    way->is_shut = true;
    for (struct fake_frame *frame = way->head; frame; frame = frame->next)
        frame->span_count = 0;
}

/* n bytes from the front of the pieces into a frame. */
static void send_frame(struct fake_quic *net, struct fake_way *way, const struct iovec *piece,
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
    way->newest_due_ms = MAX(way->newest_due_ms, due(net));
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

/* Are its bytes that are not acknowledged where they were, and what they were? */
static void verify(struct fake_quic *net, const struct fake_frame *frame)
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

static bool has_lane(const struct fake_quic_side *side)
{
    return !side->net->is_cut && side->lane.state == LANE_OPEN;
}

/* --- the lanes' owners ------------------------------------------------------------------------ */

/* The client's address says which connection it is. */
static void client_of(struct proxy_header *h, unsigned number, uint16_t port)
{
    *h = (struct proxy_header){.family = PROXY_INET, .transport = PROXY_STREAM};
    h->src[0] = h->dst[0] = 10;
    h->src[2] = (uint8_t)(number >> 16);
    h->src_port = (uint16_t)number;
    h->dst_port = port;
}

static struct stream *on_open(struct lane *lane, const struct proxy_header *client,
                              enum stream_reset *refuse)
{
    struct fake_quic *net = side_of(lane)->net;
    unsigned number = (unsigned)client->src[2] << 16 | client->src_port;
    struct fake_pair *pair;

    ck_assert_uint_lt(number, net->pair_count);
    pair = &net->pairs[number];
    ck_assert(pair->is_opened);
    ck_assert(!pair->end[TAP_HUB].is_started);
    if (client->dst_port == net->refused_port) {
        *refuse = RESET_NOT_ALLOWED;
        return NULL;
    }
    fake_end_start(&pair->end[TAP_HUB], &net->now_ms, &net->seed, pair, TAP_HUB);
    return &pair->end[TAP_HUB].stream;
}

static int on_control(struct lane *lane, enum frame_type type, const uint8_t *json, size_t n,
                      struct wire_why *why)
{
    struct fake_quic_side *side = side_of(lane);

    (void)why;
    ck_assert_int_eq(type, side->number == TAP_EDGE ? FRAME_CONFIG : FRAME_CONFIG_ACK);
    free(side->control);
    side->control = strndup((const char *)json, n);
    side->control_count++;
    return 0;
}

static void on_drain(struct lane *lane)
{
    side_of(lane)->drain_count++;
}

static void on_wake(struct lane *lane)
{
    side_of(lane)->is_awake = true;
}

static const struct lane_ops ops = {
    .on_open = on_open, .on_control = on_control, .on_drain = on_drain, .on_wake = on_wake};

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
            way->reset_due_ms = due(net);
            way->reset_code = code;
        }
        shut(way);
        if (!s->way[!side->number].is_over) {
            way->stop_due_ms = due(net);
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
            way->credit_due_ms = due(net);
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

            send_frame(net, way, &piece, 1, part, false);
            at += part;
        }
        shut(way); /* a record's bytes are copied: they need not stay */
        lane_record_done(&side->lane);
    }
}

/* Any of what waits to be acknowledged may be sent again now. */
static void retransmit_some(struct fake_quic_side *side)
{
    struct fake_quic *net = side->net;
    const struct fake_quic_stream *s = &net->streams[seeded_below(&net->seed, net->stream_count)];

    for (const struct fake_frame *f = s->way[side->number].head; f; f = f->next)
        verify(net, f);
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
    send_frame(net, way, piece, count, n, is_fin && n == total);
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

static void side_run(struct fake_quic_side *side)
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

static void side_tick(struct fake_quic_side *side)
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

    while (way->coming && is_due(net, way->coming->due_ms)) {
        struct fake_frame *frame = way->coming;

        way->coming = frame->next;
        if (!way->is_over)
            deliver_frame(to, number, frame);
        way->is_over |= frame->is_fin;
        frame->has_arrived = true;
        way->newest_ack_ms = MAX(way->newest_ack_ms, due(net));
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

    if (is_due(net, in->reset_due_ms)) { /* RESET_STREAM */
        in->reset_due_ms = 0;
        if (!in->is_over && has_lane(to))
            lane_quic_reset(&to->lane, number, in->reset_code);
        in->is_over = true;
        to->is_awake = true;
    }
    if (is_due(net, in->stop_due_ms)) { /* STOP_SENDING, which QUIC itself answers */
        in->stop_due_ms = 0;
        if (has_lane(to))
            lane_quic_reset(&to->lane, number, in->stop_code);
        if (!out->is_shut && (!out->has_fin || out->head)) {
            out->reset_due_ms = due(net);
            out->reset_code = in->stop_code;
        }
        shut(out);
        to->is_awake = true;
    }
    if (is_due(net, out->credit_due_ms)) { /* MAX_STREAM_DATA */
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

    while (way->head && way->head->has_arrived && is_due(net, way->head->due_ms)) {
        struct fake_frame *frame = way->head;
        size_t left = frame->n - frame->acked;

        if (is_open && !way->is_shut)
            verify(net, frame);
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

static void deliver(struct fake_quic_side *to)
{
    struct fake_quic *net = to->net;
    uint32_t first = (uint32_t)seeded_below(&net->seed, net->stream_count);

    if (net->is_deaf[to->number])
        return;
    for (uint32_t i = 0; i < net->stream_count; i++) {
        uint32_t number = (first + i) % net->stream_count;
        bool signs_first = seeded_chance(&net->seed, 50);

        if (signs_first)
            deliver_signs(to, number);
        deliver_data(to, number);
        if (!signs_first)
            deliver_signs(to, number);
        deliver_acks(to, number);
    }
}

/* --- the whole -------------------------------------------------------------------------------- */

static void add_stream(struct fake_quic *net)
{
    struct fake_quic_stream *s;

    if (net->stream_count == net->stream_room) {
        net->stream_room = net->stream_room ? net->stream_room * 2 : 16;
        net->streams = realloc(net->streams, net->stream_room * sizeof(*net->streams));
        ck_assert_ptr_nonnull(net->streams);
    }
    s = &net->streams[net->stream_count++];
    *s = (struct fake_quic_stream){.is_known[TAP_EDGE] = true};
    for (unsigned i = 0; i < TAP_SIDES; i++)
        s->way[i].limit = s->way[i].lent = net->options.initial_window;
}

static void side_init(struct fake_quic *net, unsigned number)
{
    const struct fake_quic_options *o = &net->options;
    struct fake_quic_side *side = &net->side[number];

    side->net = net;
    side->number = number;
    chunk_pool_init(&side->pool, 0, 0);
    budget_init(&side->budget, o->memory_budget, o->stream_limit, o->max_window);
    lane_quic_init(&side->lane, number == TAP_EDGE ? LANE_EDGE : LANE_HUB, &ops, &side->budget,
                   &side->pool, o->initial_window, o->initial_window, net->now_ms);
    side->armed_ms = lane_deadline(&side->lane);
}

void fake_quic_init(struct fake_quic *net, const struct fake_quic_options *options,
                    const struct fake_plan *plans, unsigned n)
{
    struct fake_quic_options *o = &net->options;

    *net = (struct fake_quic){.options = *options, .seed = options->seed, .now_ms = 1000};
    o->memory_budget = o->memory_budget ? o->memory_budget : 200u << 20;
    o->stream_limit = o->stream_limit ? o->stream_limit : 16384;
    o->max_window = o->max_window ? o->max_window : 4u << 20;
    o->initial_window = o->initial_window ? o->initial_window : 65536;
    o->check_every = o->check_every ? o->check_every : 1;
    o->delay_max_ms = MAX(o->delay_max_ms, o->delay_min_ms);
    net->refused_port = 9;
    add_stream(net); /* the control stream */
    side_init(net, TAP_EDGE);
    side_init(net, TAP_HUB);
    net->pair_count = n;
    net->pairs = calloc(n ? n : 1, sizeof(*net->pairs));
    ck_assert_ptr_nonnull(net->pairs);
    for (unsigned i = 0; i < n; i++) {
        net->pairs[i].plan = plans[i];
        net->pairs[i].key = seeded_next(&net->seed);
    }
}

static void side_fini(struct fake_quic_side *side)
{
    lane_fini(&side->lane);
    free(side->control);
    ck_assert_uint_eq(atomic_load(&side->budget.taken), 0);
    ck_assert_uint_eq(atomic_load(&side->budget.streams), 0);
    ck_assert_uint_eq(side->pool.out_count, 0);
    chunk_pool_fini(&side->pool);
}

void fake_quic_fini(struct fake_quic *net)
{
    for (unsigned i = 0; i < net->pair_count; i++)
        for (unsigned k = 0; k < TAP_SIDES; k++)
            stream_release(&net->pairs[i].end[k].stream);
    side_fini(&net->side[TAP_EDGE]);
    side_fini(&net->side[TAP_HUB]);
    for (uint32_t i = 0; i < net->stream_count; i++)
        for (unsigned k = 0; k < TAP_SIDES; k++)
            drop_frames(&net->streams[i].way[k]);
    free(net->streams);
    free(net->pairs);
}

/* What link_quic.c's open_stream() does. */
static void open_pair(struct fake_quic *net, struct fake_pair *pair)
{
    struct lane *lane = &net->side[TAP_EDGE].lane;
    uint16_t port = pair->plan.port ? pair->plan.port : 443;
    struct proxy_header client;
    uint32_t number = net->stream_count;

    pair->is_opened = true;
    fake_end_start(&pair->end[TAP_EDGE], &net->now_ms, &net->seed, pair, TAP_EDGE);
    client_of(&client, (unsigned)(pair - net->pairs), port);
    pair->open_error = -ERR_CONFLICT;
    if (lane_takes_streams(lane)) {
        add_stream(net);
        pair->open_error =
            lane_quic_open(lane, &pair->end[TAP_EDGE].stream, number, &client, net->now_ms);
        if (pair->open_error) { /* its number is used up all the same */
            net->streams[number].way[TAP_EDGE].reset_due_ms = due(net);
            net->streams[number].way[TAP_EDGE].stop_due_ms = due(net);
            shut(&net->streams[number].way[TAP_EDGE]);
        }
    }
    if (pair->open_error) {
        pair->is_refused = true;
        pair->end[TAP_EDGE].is_over = true;
    }
}

static void run_pair(struct fake_quic *net, struct fake_pair *pair)
{
    unsigned first = (unsigned)seeded_below(&net->seed, 2);

    if (pair->is_done)
        return;
    if (!pair->is_opened && pair->plan.open_at_ms + 1000 <= net->now_ms)
        open_pair(net, pair);
    fake_end_run(&pair->end[first]);
    fake_end_run(&pair->end[!first]);
    /* A target that never heard of its client is done with it. */
    if (pair->end[TAP_EDGE].is_over &&
        (pair->end[TAP_HUB].is_over || !pair->end[TAP_HUB].is_started)) {
        pair->is_done = true;
        net->done_count++;
    }
}

void fake_quic_step(struct fake_quic *net)
{
    unsigned first;

    net->now_ms++;
    for (unsigned i = 0; i < net->pair_count; i++)
        run_pair(net, &net->pairs[i]);
    first = (unsigned)seeded_below(&net->seed, 2);
    for (unsigned i = 0; i < TAP_SIDES && !net->is_cut; i++) {
        side_tick(&net->side[i ^ first]);
        side_run(&net->side[i ^ first]);
    }
    for (unsigned i = 0; i < TAP_SIDES && !net->is_cut; i++)
        deliver(&net->side[i ^ first]);
    if (net->steps++ % net->options.check_every == 0)
        fake_quic_check(net);
    if (net->on_step)
        net->on_step(net);
}

void fake_quic_run(struct fake_quic *net, uint64_t max_ms)
{
    uint64_t until_ms = net->now_ms + max_ms;

    while (net->done_count < net->pair_count) {
        ck_assert_msg(net->now_ms < until_ms, "%u of %u connections are not done after %lu ms",
                      net->pair_count - net->done_count, net->pair_count, (unsigned long)max_ms);
        fake_quic_step(net);
    }
}

void fake_quic_run_for(struct fake_quic *net, uint64_t ms)
{
    for (; ms > 0; ms--)
        fake_quic_step(net);
}

void fake_quic_cut(struct fake_quic *net)
{
    net->is_cut = true;
    for (unsigned i = 0; i < TAP_SIDES; i++)
        lane_fini(&net->side[i].lane);
}

/* What the streams of a side hold is what its budget says, and within the bound. */
static void check_budget(const struct fake_quic *net, unsigned number)
{
    const struct fake_quic_side *side = &net->side[number];
    uint64_t charged = 0, beyond = 0;
    uint32_t counted = 0;

    for (unsigned i = 0; i < net->pair_count; i++) {
        const struct stream *s = &net->pairs[i].end[number].stream;
        uint64_t lent = s->window.granted - s->window.taken;
        uint64_t held = s->sendq.end - s->sendq.acked;

        fake_end_check(&net->pairs[i].end[number]);
        if (!s->budget)
            continue;
        counted++;
        charged += s->window.charged + s->send_charged;
        beyond += lent > BUDGET_STREAM_FREE ? lent - BUDGET_STREAM_FREE : 0;
        if (s->state == STREAM_OPEN)
            beyond += held > CHUNK_ROOM ? held - CHUNK_ROOM : 0;
    }
    ck_assert_uint_eq(charged, atomic_load(&side->budget.taken));
    ck_assert_uint_le(charged, side->budget.limit_bytes);
    ck_assert_uint_le(beyond, charged);
    ck_assert_uint_eq(counted, atomic_load(&side->budget.streams));
    ck_assert_uint_le(counted, side->budget.limit_streams);
}

void fake_quic_check(const struct fake_quic *net)
{
    for (unsigned i = 0; i < TAP_SIDES; i++) {
        if (!net->is_cut)
            lane_check(&net->side[i].lane);
        check_budget(net, i);
    }
}
