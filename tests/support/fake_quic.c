/* fake_quic - see fake_quic.h. */
#include "support/fake_quic.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "support/fake_quic_side.h"

static struct fake_quic_side *side_of(struct lane *lane)
{
    return container_of(lane, struct fake_quic_side, lane);
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
            fake_way_drop(&net->streams[i].way[k]);
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
            net->streams[number].way[TAP_EDGE].reset_due_ms = fake_way_due(net);
            net->streams[number].way[TAP_EDGE].stop_due_ms = fake_way_due(net);
            fake_way_shut(&net->streams[number].way[TAP_EDGE]);
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
        fake_quic_side_tick(&net->side[i ^ first]);
        fake_quic_side_run(&net->side[i ^ first]);
    }
    for (unsigned i = 0; i < TAP_SIDES && !net->is_cut; i++)
        fake_quic_side_deliver(&net->side[i ^ first]);
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
