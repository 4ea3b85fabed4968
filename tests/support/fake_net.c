/* fake_net - see fake_net.h. */
#include "support/fake_net.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define QUEUE_BYTES (128u * 1024)

/* --- a pipe ------------------------------------------------------------------------------------
 */

static void pipe_add(struct fake_pipe *p, const uint8_t *bytes, size_t n)
{
    if (p->end + n > p->size) {
        if (p->at > 0)
            memmove(p->bytes, p->bytes + p->at, p->end - p->at);
        p->end -= p->at;
        p->at = 0;
        if (p->end + n > p->size) {
            p->size = (p->end + n) * 2;
            p->bytes = realloc(p->bytes, p->size);
            ck_assert_ptr_nonnull(p->bytes);
        }
    }
    memcpy(p->bytes + p->end, bytes, n);
    p->end += n;
}

static size_t pipe_queued(const struct fake_pipe *p)
{
    return p->end - p->at - p->sent;
}

/* Up to n bytes leave the queue and will be there at due_ms, or later: order holds. */
static void pipe_leave(struct fake_pipe *p, size_t n, uint64_t due_ms)
{
    n = MIN(n, pipe_queued(p));
    if (n == 0)
        return;
    if (p->parts_end == p->parts_size) {
        if (p->parts_at > 0)
            memmove(p->parts, p->parts + p->parts_at,
                    (p->parts_end - p->parts_at) * sizeof(*p->parts));
        p->parts_end -= p->parts_at;
        p->parts_at = 0;
        if (p->parts_end * 2 >= p->parts_size) {
            p->parts_size = p->parts_size ? p->parts_size * 2 : 64;
            p->parts = realloc(p->parts, p->parts_size * sizeof(*p->parts));
            ck_assert_ptr_nonnull(p->parts);
        }
    }
    p->newest_due_ms = MAX(p->newest_due_ms, due_ms);
    p->parts[p->parts_end++] = (struct fake_part){.due_ms = p->newest_due_ms, .n = n};
    p->sent += n;
}

static size_t pipe_arrived(const struct fake_pipe *p, uint64_t now_ms)
{
    size_t n = 0;

    for (size_t i = p->parts_at; i < p->parts_end && p->parts[i].due_ms <= now_ms; i++)
        n += p->parts[i].n;
    return n;
}

static void pipe_take(struct fake_pipe *p, size_t n)
{
    p->at += n;
    p->sent -= n;
    while (n > 0) {
        struct fake_part *part = &p->parts[p->parts_at];
        size_t used = MIN(n, part->n);

        part->n -= used;
        n -= used;
        p->parts_at += part->n == 0;
    }
}

static void pipe_fini(struct fake_pipe *p)
{
    free(p->bytes);
    free(p->parts);
    *p = (struct fake_pipe){0};
}

/* --- a side ------------------------------------------------------------------------------------
 */

static struct fake_side *side_of(struct lane *lane)
{
    return container_of(lane, struct fake_side, lane);
}

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
    struct fake_net *net = side_of(lane)->net;
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
    struct fake_side *side = side_of(lane);

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

static void side_init(struct fake_net *net, unsigned number)
{
    const struct fake_net_options *o = &net->options;
    struct fake_side *side = &net->side[number];

    side->net = net;
    side->number = number;
    chunk_pool_init(&side->pool, 64, 0);
    budget_init(&side->budget, o->memory_budget, o->stream_limit, o->max_window);
    lane_init(&side->lane, number == TAP_EDGE ? LANE_EDGE : LANE_HUB, &ops, &side->budget,
              &side->pool, o->initial_window, net->now_ms);
    side->lane.highest_id = o->first_id - 1;
    side->armed_ms = lane_deadline(&side->lane);
}

/* What link_run() does about output. */
static void side_run(struct fake_side *side)
{
    struct fake_net *net = side->net;
    const uint8_t *record;
    size_t n;

    if (side->is_blocked && pipe_queued(&side->out) < net->options.queue_bytes) {
        side->is_blocked = false;
        side->is_awake = true;
    }
    while (side->is_awake && !side->is_blocked) {
        if (pipe_queued(&side->out) >= net->options.queue_bytes) {
            side->is_blocked = true;
            break;
        }
        n = lane_next_record(&side->lane, net->now_ms, &record);
        if (n == 0) {
            side->is_awake = false;
            break;
        }
        ck_assert_uint_le(n, LANE_RECORD_BYTES);
        frame_tap_sent(&net->tap, side->number, record, n);
        if (!net->is_cut)
            pipe_add(&side->out, record, n);
        lane_record_done(&side->lane);
    }
    if (!side->is_blocked)
        ck_assert_msg(!lane_has_output(&side->lane), "output waits, but nothing woke the lane");
    side->armed_ms = lane_deadline(&side->lane);
}

static void side_deliver(struct fake_side *from, struct fake_side *to)
{
    struct fake_net *net = from->net;
    size_t left = to->is_deaf ? 0 : pipe_arrived(&from->out, net->now_ms);

    while (left > 0) {
        size_t most = net->options.piece_max ? MIN(left, (size_t)net->options.piece_max) : left;
        size_t n = net->options.piece_max ? 1 + seeded_below(&net->seed, most) : most;
        uint8_t *copy = malloc(n); /* of its own, so that ASan sees an overread */
        int err;

        ck_assert_ptr_nonnull(copy);
        memcpy(copy, from->out.bytes + from->out.at, n);
        frame_tap_got(&net->tap, to->number, copy, n);
        err = lane_input(&to->lane, copy, n, net->now_ms);
        if (err && !to->input_error)
            to->input_error = err;
        free(copy);
        pipe_take(&from->out, n);
        left -= n;
        to->is_awake = true;
    }
}

static void side_transmit(struct fake_side *side)
{
    const struct fake_net_options *o = &side->net->options;
    uint64_t jitter = seeded_below(&side->net->seed, o->delay_max_ms - o->delay_min_ms + 1);
    size_t n = o->rate ? o->rate : SIZE_MAX;

    if (side->net->side[!side->number].is_deaf) /* its window is closed */
        return;
    pipe_leave(&side->out, n, side->net->now_ms + o->delay_min_ms + jitter);
}

static void side_tick(struct fake_side *side)
{
    int err;

    if (!side->is_awake) /* a deadline that moves to an earlier time must be told */
        ck_assert_uint_ge(lane_deadline(&side->lane), side->armed_ms);
    if (lane_deadline(&side->lane) > side->net->now_ms)
        return;
    err = lane_tick(&side->lane, side->net->now_ms);
    if (err && !side->tick_error)
        side->tick_error = err;
    side->is_awake = true;
}

static void side_fini(struct fake_side *side)
{
    lane_fini(&side->lane);
    pipe_fini(&side->out);
    free(side->control);
    ck_assert_uint_eq(atomic_load(&side->budget.taken), 0);
    ck_assert_uint_eq(atomic_load(&side->budget.streams), 0);
    chunk_pool_fini(&side->pool);
}

/* --- the whole ---------------------------------------------------------------------------------
 */

void fake_net_init(struct fake_net *net, const struct fake_net_options *options,
                   const struct fake_plan *plans, unsigned n)
{
    struct fake_net_options *o = &net->options;

    *net = (struct fake_net){.options = *options, .seed = options->seed, .now_ms = 1000};
    o->queue_bytes = o->queue_bytes ? o->queue_bytes : QUEUE_BYTES;
    o->memory_budget = o->memory_budget ? o->memory_budget : 200u << 20;
    o->stream_limit = o->stream_limit ? o->stream_limit : 16384;
    o->max_window = o->max_window ? o->max_window : 4u << 20;
    o->initial_window = o->initial_window ? o->initial_window : 65536;
    o->first_id = o->first_id ? o->first_id : 1;
    o->check_every = o->check_every ? o->check_every : 1;
    o->delay_max_ms = MAX(o->delay_max_ms, o->delay_min_ms);
    net->refused_port = 9;
    frame_tap_init(&net->tap, o->initial_window, o->first_id - 1);
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

void fake_net_fini(struct fake_net *net)
{
    for (unsigned i = 0; i < net->pair_count; i++)
        for (unsigned k = 0; k < 2; k++)
            stream_release(&net->pairs[i].end[k].stream);
    side_fini(&net->side[TAP_EDGE]);
    side_fini(&net->side[TAP_HUB]);
    frame_tap_fini(&net->tap);
    free(net->pairs);
}

static void open_pair(struct fake_net *net, struct fake_pair *pair)
{
    struct proxy_header client;
    uint16_t port = pair->plan.port ? pair->plan.port : 443;

    pair->is_opened = true;
    fake_end_start(&pair->end[TAP_EDGE], &net->now_ms, &net->seed, pair, TAP_EDGE);
    client_of(&client, (unsigned)(pair - net->pairs), port);
    pair->open_error = lane_open_stream(&net->side[TAP_EDGE].lane, &pair->end[TAP_EDGE].stream,
                                        &client, net->now_ms);
    if (pair->open_error) {
        pair->is_refused = true;
        pair->end[TAP_EDGE].is_over = true;
    }
}

static void run_pair(struct fake_net *net, struct fake_pair *pair)
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

static void run_sides(struct fake_net *net)
{
    unsigned first = (unsigned)seeded_below(&net->seed, 2);

    for (unsigned i = 0; i < TAP_SIDES; i++) {
        struct fake_side *side = &net->side[i ^ first];

        side_tick(side);
        side_run(side);
        side_transmit(side);
    }
    side_deliver(&net->side[first], &net->side[!first]);
    side_deliver(&net->side[!first], &net->side[first]);
}

void fake_net_step(struct fake_net *net)
{
    net->now_ms++;
    for (unsigned i = 0; i < net->pair_count; i++)
        run_pair(net, &net->pairs[i]);
    if (!net->is_cut)
        run_sides(net);
    if (net->steps++ % net->options.check_every == 0)
        fake_net_check(net);
    if (net->on_step)
        net->on_step(net);
}

void fake_net_run(struct fake_net *net, uint64_t max_ms)
{
    uint64_t until_ms = net->now_ms + max_ms;

    while (net->done_count < net->pair_count) {
        ck_assert_msg(net->now_ms < until_ms, "%u of %u connections are not done after %lu ms",
                      net->pair_count - net->done_count, net->pair_count, (unsigned long)max_ms);
        fake_net_step(net);
    }
}

void fake_net_run_for(struct fake_net *net, uint64_t ms)
{
    for (; ms > 0; ms--)
        fake_net_step(net);
}

void fake_net_cut(struct fake_net *net)
{
    net->is_cut = true;
    for (unsigned i = 0; i < TAP_SIDES; i++) {
        pipe_fini(&net->side[i].out);
        lane_fini(&net->side[i].lane);
    }
}

/* What the streams of a side hold is what its budget says, and within the bound. */
static void check_budget(const struct fake_net *net, unsigned number)
{
    const struct fake_side *side = &net->side[number];
    uint64_t charged = 0, beyond = 0;
    uint32_t counted = 0;

    for (unsigned i = 0; i < net->pair_count; i++) {
        const struct stream *s = &net->pairs[i].end[number].stream;
        uint64_t lent = s->window.granted - s->window.taken;

        fake_end_check(&net->pairs[i].end[number]);
        if (!s->budget)
            continue;
        counted++;
        charged += s->window.charged + s->send_charged;
        beyond += lent > BUDGET_STREAM_FREE ? lent - BUDGET_STREAM_FREE : 0;
        if (s->state == STREAM_OPEN)
            beyond += s->sendq.end - s->sendq.sent > CHUNK_ROOM
                          ? s->sendq.end - s->sendq.sent - CHUNK_ROOM
                          : 0;
    }
    ck_assert_uint_eq(charged, atomic_load(&side->budget.taken));
    ck_assert_uint_le(charged, side->budget.limit_bytes);
    ck_assert_uint_le(beyond, charged);
    ck_assert_uint_eq(counted, atomic_load(&side->budget.streams));
    ck_assert_uint_le(counted, side->budget.limit_streams);
}

void fake_net_check(const struct fake_net *net)
{
    for (unsigned i = 0; i < TAP_SIDES; i++) {
        if (!net->is_cut)
            lane_check(&net->side[i].lane);
        check_budget(net, i);
    }
}
