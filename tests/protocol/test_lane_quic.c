/* A lane on QUIC, both ends, over a made-up QUIC connection: bytes are exact however streams,
 * credit, resets and acknowledgements overtake one another, nothing is read after it was given
 * back, and everything is given back.  (tunnel/lane_quic.h; the checks of every step are in
 * support/fake_quic.h)
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "support/fake_quic.h"
#include "support/suite.h"

static const struct fake_plan_end fast = {.write_max = FAKE_FAST, .read_max = FAKE_FAST};

static void assert_in_order(const struct fake_quic *net)
{
    for (unsigned i = 0; i < TAP_SIDES; i++) {
        ck_assert_msg(net->side[i].input_error == 0, "seed %lu: %s",
                      (unsigned long)net->options.seed, net->side[i].lane.fault);
        ck_assert_int_eq(net->side[i].tick_error, 0);
        ck_assert_uint_eq(net->side[i].lane.table.count, 0);
    }
}

/* What the lanes counted is what the clients and targets saw, without a byte of PROXY lines. */
static void assert_counted(const struct fake_quic *net)
{
    uint64_t up = 0, down = 0;

    for (unsigned i = 0; i < net->pair_count; i++) {
        const struct fake_end *client = &net->pairs[i].end[TAP_EDGE];
        const struct fake_end *target = &net->pairs[i].end[TAP_HUB];

        ck_assert_uint_eq(stream_bytes_out(&client->stream), client->written);
        ck_assert_uint_eq(stream_bytes_in(&client->stream), client->taken);
        ck_assert_uint_eq(stream_bytes_out(&target->stream), target->written);
        ck_assert_uint_eq(stream_bytes_in(&target->stream), target->taken);
        up += client->written;
        down += target->written;
    }
    for (unsigned i = 0; i < TAP_SIDES; i++) {
        ck_assert_uint_eq(net->side[i].lane.stats.bytes_from_clients, up);
        ck_assert_uint_eq(net->side[i].lane.stats.bytes_to_clients, down);
        ck_assert_uint_eq(net->side[i].lane.stats.opened, net->pair_count);
    }
}

static void run_exact(const struct fake_quic_options *options, const struct fake_plan *plans,
                      unsigned n, uint64_t max_ms)
{
    struct fake_quic net;

    fake_quic_init(&net, options, plans, n);
    fake_quic_run(&net, max_ms);
    for (unsigned i = 0; i < n; i++)
        ck_assert_msg(fake_pair_is_exact(&net.pairs[i]), "connection %u of seed %lu", i,
                      (unsigned long)options->seed);
    assert_in_order(&net);
    assert_counted(&net);
    fake_quic_fini(&net);
}

/* Both ways: nothing, a byte, about a packet, a window and its neighbours, many windows. */
START_TEST(every_size_is_exact_both_ways)
{
    static const uint64_t sizes[] = {0,     1,     1199,  1200,   1201,    16375,   16376,
                                     65486, 65536, 65537, 131072, 1000000, 2u << 20};
    struct fake_plan plans[2 * ARRAY_LEN(sizes)];
    struct fake_quic_options options = {
        .seed = (uint64_t)_i + 1, .delay_max_ms = 8, .check_every = 16};

    for (unsigned i = 0; i < ARRAY_LEN(plans); i++) {
        plans[i] = (struct fake_plan){.open_at_ms = i, .client = fast, .target = fast};
        plans[i].client.bytes = sizes[i % ARRAY_LEN(sizes)];
        plans[i].target.bytes = sizes[(i * 5 + i / ARRAY_LEN(sizes)) % ARRAY_LEN(sizes)];
    }
    run_exact(&options, plans, ARRAY_LEN(plans), 20000);
}
END_TEST

static void random_options(struct fake_quic_options *options, uint64_t *seed)
{
    *options = (struct fake_quic_options){
        .seed = *seed,
        .delay_max_ms = (unsigned)seeded_below(seed, 60),
        .packets = (unsigned)(seeded_chance(seed, 50) ? 0 : 1 + seeded_below(seed, 30)),
        .memory_budget = seeded_chance(seed, 50) ? 0 : seeded_below(seed, 300000),
        .max_window = (uint32_t)(seeded_chance(seed, 50) ? 0 : 65536 << seeded_below(seed, 6)),
        .initial_window =
            (uint32_t)(seeded_chance(seed, 70) ? 0 : 4096 + seeded_below(seed, 61441)),
    };
}

START_TEST(random_streams_are_exact_and_never_starve)
{
    for (uint64_t round = 0; round < 2; round++) {
        uint64_t seed = (round + 2 * (uint64_t)_i) * 7919 + 1;
        struct fake_quic_options options;
        struct fake_plan plans[20];

        random_options(&options, &seed);
        fake_plans_random(plans, ARRAY_LEN(plans), &seed);
        run_exact(&options, plans, ARRAY_LEN(plans), 200000);
    }
}
END_TEST

/* Either side ends first, and the other still gets, or sends, all of it. */
START_TEST(half_closed_streams_still_carry_the_other_way)
{
    struct fake_plan plans[2] = {{.client = fast, .target = fast},
                                 {.client = fast, .target = fast}};
    struct fake_quic_options options = {.seed = 41 + (uint64_t)_i, .delay_max_ms = 20};

    plans[0].client.bytes = 300;
    plans[0].target = (struct fake_plan_end){
        .bytes = 400000, .write_max = 3000, .read_max = FAKE_FAST, .finish = FINISH_AFTER_PEER};
    plans[1].target.bytes = 0; /* ends at once */
    plans[1].client = (struct fake_plan_end){
        .bytes = 400000, .write_max = 3000, .read_max = FAKE_FAST, .finish = FINISH_AFTER_PEER};
    run_exact(&options, plans, 2, 5000);
}
END_TEST

/* Resets by either end at any moment: in the line, before and after a FIN, both at once. */
START_TEST(streams_that_are_reset_at_any_moment_leave_nothing)
{
    for (uint64_t round = 0; round < 2; round++) {
        uint64_t seed = (round + 2 * (uint64_t)_i) * 104729 + 5;
        struct fake_quic_options options;
        struct fake_plan plans[24];
        struct fake_quic net;
        unsigned resets = 0;

        random_options(&options, &seed);
        fake_plans_random(plans, ARRAY_LEN(plans), &seed);
        for (unsigned i = 0; i < ARRAY_LEN(plans); i++) {
            struct fake_plan_end *end =
                seeded_chance(&seed, 50) ? &plans[i].client : &plans[i].target;

            if (i % 8 == 7) {
                plans[i].port = 9;
            } else if (seeded_chance(&seed, 40)) {
                end->finish = FINISH_BY_RESET;
            } else if (seeded_chance(&seed, 80)) {
                end->reset_at =
                    1 + seeded_below(&seed, plans[i].client.bytes + plans[i].target.bytes + 1);
            }
        }
        fake_quic_init(&net, &options, plans, ARRAY_LEN(plans));
        fake_quic_run(&net, 200000);
        fake_quic_run_for(&net, 200); /* and all that is still on its way */
        assert_in_order(&net);
        for (unsigned i = 0; i < ARRAY_LEN(plans); i++)
            resets += net.pairs[i].end[TAP_EDGE].stream.state == STREAM_RESET;
        ck_assert_uint_gt(resets, 3);
        ck_assert_uint_eq(net.side[TAP_HUB].resets[RESET_NOT_ALLOWED], 3);
        fake_quic_fini(&net);
    }
}
END_TEST

/* The target's code reaches the client; the edge has one code only. */
START_TEST(each_reset_code_arrives)
{
    struct fake_plan plans[3] = {{.client = fast, .target = fast},
                                 {.client = fast, .target = fast},
                                 {.client = fast, .target = fast, .port = 9}};
    struct fake_quic_options options = {.seed = 43, .delay_max_ms = 9};
    struct fake_quic net;

    plans[0].client.bytes = plans[1].client.bytes = plans[0].target.bytes = 5000;
    plans[0].client.reset_at = 5001; /* once something came back */
    plans[0].target.finish = FINISH_NEVER;
    plans[1].target.reset_at = 100; /* UNREACHABLE */
    plans[0].client.finish = plans[1].client.finish = plans[2].client.finish = FINISH_NEVER;
    fake_quic_init(&net, &options, plans, 3);
    fake_quic_run(&net, 2000);
    ck_assert_int_eq(net.pairs[0].end[TAP_HUB].stream.reset_code, RESET_BY_PEER);
    ck_assert_int_eq(net.pairs[1].end[TAP_EDGE].stream.reset_code, RESET_UNREACHABLE);
    ck_assert_int_eq(net.pairs[2].end[TAP_EDGE].stream.reset_code, RESET_NOT_ALLOWED);
    ck_assert(!net.pairs[2].end[TAP_HUB].is_started);
    ck_assert_uint_eq(net.side[TAP_HUB].lane.stats.refused_ports, 1);
    assert_in_order(&net);
    fake_quic_fini(&net);
}
END_TEST

/* A reader that stalls stops its own stream, at one window, and no other. */
START_TEST(a_stalled_reader_holds_up_only_its_stream)
{
    enum { N = 200 };
    struct fake_plan plans[N];
    struct fake_quic_options options = {.seed = 11, .delay_max_ms = 5, .check_every = 10};
    struct fake_quic net;

    for (unsigned i = 0; i < N; i++) {
        plans[i] = (struct fake_plan){.open_at_ms = i / 10, .client = fast, .target = fast};
        plans[i].client.bytes = 300;
        plans[i].target.bytes = 8000;
    }
    plans[50].target.bytes = plans[60].client.bytes = 1000000;
    plans[50].client.read_max = plans[60].target.read_max = 0;
    fake_quic_init(&net, &options, plans, N);
    while (net.done_count < N - 2) {
        ck_assert_uint_lt(net.now_ms, 6000);
        fake_quic_step(&net);
    }
    for (unsigned i = 0; i < N; i++)
        ck_assert(i == 50 || i == 60 || fake_pair_is_exact(&net.pairs[i]));
    fake_quic_run_for(&net, 1000);
    ck_assert(!net.pairs[50].is_done && !net.pairs[60].is_done);
    ck_assert_uint_eq(net.pairs[50].end[TAP_EDGE].stream.recvq.len, 65536);
    /* The line is part of the window that the stream began with. */
    ck_assert_uint_eq(net.pairs[60].end[TAP_HUB].stream.recvq.len,
                      65536 - net.pairs[60].end[TAP_HUB].stream.head_in);
    ck_assert_uint_gt(net.side[TAP_HUB].lane.stats.window_stalls, 0);
    ck_assert_uint_gt(net.side[TAP_EDGE].lane.stats.window_stalls, 0);
    net.pairs[50].plan.client.read_max = net.pairs[60].plan.target.read_max = FAKE_FAST;
    fake_quic_run(&net, 3000);
    ck_assert(fake_pair_is_exact(&net.pairs[50]) && fake_pair_is_exact(&net.pairs[60]));
    fake_quic_fini(&net);
}
END_TEST

START_TEST(without_a_budget_every_stream_still_ends)
{
    struct fake_plan plans[8];
    struct fake_quic_options options = {.seed = 5, .delay_max_ms = 4, .memory_budget = 1};

    for (unsigned i = 0; i < ARRAY_LEN(plans); i++) {
        plans[i] = (struct fake_plan){.client = fast, .target = fast};
        plans[i].client.bytes = plans[i].target.bytes = 300000;
    }
    run_exact(&options, plans, ARRAY_LEN(plans), 20000);
}
END_TEST

/* One loop's pool runs dry at the sender for a while: streams wait; none is lost that was open. */
START_TEST(a_pool_that_is_dry_for_a_while_only_delays)
{
    struct fake_plan plans[20];
    struct fake_quic_options options = {.seed = 6, .delay_max_ms = 4, .packets = 20};
    struct fake_quic net;

    for (unsigned i = 0; i < ARRAY_LEN(plans); i++) {
        plans[i] = (struct fake_plan){.client = fast, .target = fast};
        plans[i].target.bytes = 200000;
    }
    fake_quic_init(&net, &options, plans, ARRAY_LEN(plans));
    fake_quic_run_for(&net, 12); /* all are open */
    net.side[TAP_HUB].pool.cap = 6;
    fake_quic_run_for(&net, 500);
    ck_assert_uint_gt(net.side[TAP_HUB].pool.refused, 0);
    net.side[TAP_HUB].pool.cap = 0;
    fake_quic_run(&net, 60000);
    for (unsigned i = 0; i < ARRAY_LEN(plans); i++)
        ck_assert(fake_pair_is_exact(&net.pairs[i]));
    assert_in_order(&net);
    fake_quic_fini(&net);
}
END_TEST

/* At the receiver what finds no place is gone: that stream is reset; and an edge without a chunk
 * for the PROXY line resets its client. */
START_TEST(a_pool_that_is_dry_resets_what_it_cannot_hold)
{
    struct fake_plan plans[20];
    struct fake_quic_options options = {.seed = 7, .delay_max_ms = 4};
    struct fake_quic net;
    unsigned reset = 0;

    for (unsigned i = 0; i < ARRAY_LEN(plans); i++) {
        plans[i] = (struct fake_plan){.client = fast, .target = fast};
        plans[i].client.bytes = 60000;
        plans[i].target.read_max = 0;
    }
    fake_quic_init(&net, &options, plans, ARRAY_LEN(plans));
    net.side[TAP_HUB].pool.cap = 10;
    net.side[TAP_EDGE].pool.cap = 15;
    fake_quic_run_for(&net, 1000);
    for (unsigned i = 0; i < ARRAY_LEN(plans); i++)
        reset += net.pairs[i].end[TAP_EDGE].is_over;
    ck_assert_uint_gt(net.side[TAP_HUB].pool.refused, 0);
    ck_assert_uint_gt(net.side[TAP_EDGE].pool.refused, 0);
    ck_assert_uint_gt(net.side[TAP_HUB].resets[RESET_BY_PEER], 0);
    ck_assert_uint_gt(net.side[TAP_EDGE].resets[RESET_BY_PEER], 0);
    ck_assert_uint_gt(reset, 5);
    ck_assert_int_eq(net.side[TAP_HUB].input_error, 0);
    fake_quic_fini(&net);
}
END_TEST

/* limits.streams at either side: the rest of the streams live. */
START_TEST(past_the_limit_of_streams_the_newest_is_refused)
{
    struct fake_plan plans[12];
    struct fake_quic_options options = {.seed = 8, .delay_max_ms = 4, .stream_limit = 8};
    struct fake_quic net;

    for (unsigned i = 0; i < ARRAY_LEN(plans); i++) {
        plans[i] = (struct fake_plan){.client = fast, .target = fast};
        plans[i].client.bytes = 100;
        plans[i].client.write_max = 5; /* lasts for a while */
        plans[i].target.finish = FINISH_AFTER_PEER;
    }
    fake_quic_init(&net, &options, plans, ARRAY_LEN(plans));
    net.side[TAP_HUB].budget.limit_streams = _i ? 5 : 8;
    fake_quic_run(&net, 5000);
    for (unsigned i = 8; i < ARRAY_LEN(plans); i++)
        ck_assert_int_eq(net.pairs[i].open_error, -ERR_LIMIT);
    ck_assert_uint_eq(net.side[TAP_HUB].lane.stats.refused_limit, _i ? 3 : 0);
    assert_in_order(&net);
    fake_quic_fini(&net);
}
END_TEST

START_TEST(a_lost_connection_resets_its_streams)
{
    for (unsigned round = 0; round < 12; round++) {
        uint64_t seed = round * 101 + 3;
        struct fake_plan plans[12];
        struct fake_quic_options options = {.seed = seed, .packets = 3, .delay_max_ms = 9};
        struct fake_quic net;

        fake_plans_random(plans, ARRAY_LEN(plans), &seed);
        for (unsigned i = 0; i < ARRAY_LEN(plans); i++)
            plans[i].open_at_ms = 0;
        fake_quic_init(&net, &options, plans, ARRAY_LEN(plans));
        fake_quic_run_for(&net, 1 + seeded_below(&seed, 300));
        fake_quic_cut(&net);
        fake_quic_step(&net);
        for (unsigned i = 0; i < ARRAY_LEN(plans); i++)
            for (unsigned k = 0; k < TAP_SIDES; k++)
                ck_assert(net.pairs[i].end[k].is_over || !net.pairs[i].end[k].is_started ||
                          net.pairs[i].end[k].stream.state == STREAM_ENDED);
        fake_quic_fini(&net);
    }
}
END_TEST

/* --- the control stream ------------------------------------------------------------------------
 */

static char *long_json(size_t n, char with)
{
    char *text = malloc(n + 1);

    ck_assert_ptr_nonnull(text);
    memset(text, with, n);
    memcpy(text, "{\"", 2);
    memcpy(text + n - 2, "\"}", 2);
    text[n] = '\0';
    return text;
}

START_TEST(a_long_config_and_its_ack_come_whole_beside_the_streams)
{
    struct fake_plan plans[6];
    struct fake_quic_options options = {
        .seed = 50 + (uint64_t)_i, .delay_max_ms = 15, .packets = 40};
    char *config = long_json(61440, 'c'), *ack = long_json(65536, 'a');
    struct fake_quic net;

    for (unsigned i = 0; i < ARRAY_LEN(plans); i++) {
        plans[i] = (struct fake_plan){.client = fast, .target = fast};
        plans[i].client.bytes = plans[i].target.bytes = 300000;
    }
    fake_quic_init(&net, &options, plans, ARRAY_LEN(plans));
    lane_send_config(&net.side[TAP_HUB].lane, "{\"replaced\":1}");
    lane_send_config(&net.side[TAP_HUB].lane, config);
    lane_send_config(&net.side[TAP_EDGE].lane, ack);
    fake_quic_run(&net, 5000);
    ck_assert_uint_eq(net.side[TAP_EDGE].control_count, 1);
    ck_assert_str_eq(net.side[TAP_EDGE].control, config);
    ck_assert_uint_eq(net.side[TAP_HUB].control_count, 1);
    ck_assert_str_eq(net.side[TAP_HUB].control, ack);
    assert_in_order(&net);
    fake_quic_fini(&net);
    free(config);
    free(ack);
}
END_TEST

START_TEST(pings_are_answered_and_measured)
{
    struct fake_quic_options options = {.seed = 60, .delay_min_ms = 5, .delay_max_ms = 20};
    struct fake_quic net;

    fake_quic_init(&net, &options, NULL, 0);
    fake_quic_run_for(&net, 60000);
    ck_assert_uint_ge(net.side[TAP_HUB].lane.beat.serial, 3);
    ck_assert_uint_ge(net.side[TAP_HUB].lane.beat.rtt_ms, 10);
    ck_assert_uint_le(net.side[TAP_HUB].lane.beat.rtt_ms, 45);
    assert_in_order(&net);
    fake_quic_fini(&net);
}
END_TEST

START_TEST(a_peer_that_answers_no_more_is_dead)
{
    struct fake_quic_options options = {.seed = 61};
    struct fake_quic net;

    fake_quic_init(&net, &options, NULL, 0);
    fake_quic_run_for(&net, 100);
    net.is_deaf[_i] = true; /* the edge hears no PING; or the hub no PONG */
    fake_quic_run_for(&net, LANE_PING_EVERY_MS + LANE_PING_SILENCE_MS);
    ck_assert_int_eq(net.side[_i].tick_error, -ERR_TIMEOUT);
    ck_assert_int_eq(net.side[_i].lane.state, LANE_ENDED);
    ck_assert_int_eq(net.side[TAP_HUB].tick_error, -ERR_TIMEOUT);
    fake_quic_fini(&net);
}
END_TEST

/* Where much is lost, QUIC sends that again before anything new: messages are late by minutes. */
START_TEST(what_moves_keeps_a_lane_alive)
{
    bool is_down = _i % 2;
    unsigned deaf = (unsigned)_i / 2;
    struct fake_plan_end slow = {.bytes = 100000, .write_max = 1, .read_max = FAKE_FAST};
    struct fake_plan_end mute = {.bytes = 1, .write_max = 1, .read_max = FAKE_FAST};
    struct fake_plan plan = {.client = is_down ? mute : slow, .target = is_down ? slow : mute};
    struct fake_quic_options options = {.seed = 62};
    struct fake_quic net;

    fake_quic_init(&net, &options, &plan, 1);
    fake_quic_run_for(&net, 100);
    net.is_control_deaf[deaf] = true;
    fake_quic_run(&net, 10 * 60000);
    ck_assert_uint_ge(net.now_ms, 2 * (LANE_PING_EVERY_MS + LANE_PING_SILENCE_MS));
    ck_assert_int_eq(net.side[TAP_HUB].lane.state, LANE_OPEN);
    ck_assert_int_eq(net.side[TAP_EDGE].lane.state, LANE_OPEN);
    fake_quic_run_for(&net, LANE_PING_EVERY_MS + LANE_PING_SILENCE_MS);
    ck_assert_int_eq(net.side[deaf].tick_error, -ERR_TIMEOUT); /* all was sent: now it counts */
    fake_quic_fini(&net);
}
END_TEST

/* --- the end -----------------------------------------------------------------------------------
 */

static void drain_plans(struct fake_plan *plans, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        plans[i] = (struct fake_plan){
            .open_at_ms = i * 200,
            .client = {.bytes = 4000, .write_max = FAKE_FAST, .read_max = FAKE_FAST},
            .target = {.bytes = 9000,
                       .write_max = FAKE_FAST,
                       .read_max = FAKE_FAST,
                       .finish = i % 4 ? FINISH_AT_END : FINISH_NEVER}};
}

START_TEST(a_hub_that_drains_takes_streams_until_its_deadline)
{
    struct fake_plan plans[20];
    struct fake_quic_options options = {.seed = 21, .delay_max_ms = 40};
    struct fake_quic net;
    unsigned exact = 0, reset = 0;

    drain_plans(plans, ARRAY_LEN(plans));
    fake_quic_init(&net, &options, plans, ARRAY_LEN(plans));
    fake_quic_run_for(&net, 1500);
    lane_send_drain(&net.side[TAP_HUB].lane, 2, net.now_ms);
    fake_quic_run(&net, 5000);
    ck_assert_uint_eq(net.side[TAP_EDGE].drain_count, 1);
    for (unsigned i = 0; i < ARRAY_LEN(plans); i++) {
        exact += fake_pair_is_exact(&net.pairs[i]);
        reset += net.pairs[i].end[TAP_EDGE].stream.state == STREAM_RESET;
        if (i * 200 > 3600)
            ck_assert_int_eq(net.pairs[i].open_error, -ERR_CONFLICT);
    }
    ck_assert_uint_ge(exact, 10);
    ck_assert_uint_ge(reset, 3); /* those that never end */
    fake_quic_run_for(&net, 100);
    assert_in_order(&net);
    fake_quic_fini(&net);
}
END_TEST

/* Its DRAIN overtakes the streams that it opened just before: they are served all the same. */
START_TEST(an_edge_that_drains_is_served_what_it_had_opened)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct fake_plan plans[8];
        struct fake_quic_options options = {.seed = seed, .delay_max_ms = 60};
        struct fake_quic net;

        for (unsigned i = 0; i < ARRAY_LEN(plans); i++) {
            plans[i] = (struct fake_plan){.client = fast, .target = fast};
            plans[i].client.bytes = plans[i].target.bytes = 500;
        }
        fake_quic_init(&net, &options, plans, ARRAY_LEN(plans));
        fake_quic_step(&net);
        lane_send_drain(&net.side[TAP_EDGE].lane, 30, net.now_ms);
        ck_assert(!lane_takes_streams(&net.side[TAP_EDGE].lane));
        fake_quic_run(&net, 3000);
        for (unsigned i = 0; i < ARRAY_LEN(plans); i++)
            ck_assert_msg(fake_pair_is_exact(&net.pairs[i]), "connection %u of seed %lu", i,
                          (unsigned long)seed);
        ck_assert(lane_is_drained(&net.side[TAP_EDGE].lane));
        ck_assert(lane_is_drained(&net.side[TAP_HUB].lane));
        assert_in_order(&net);
        fake_quic_fini(&net);
    }
}
END_TEST

START_TEST(goodbye_ends_both_lanes_in_the_middle_of_it_all)
{
    unsigned from = (unsigned)_i % 2;
    struct fake_plan plans[6];
    struct fake_quic_options options = {
        .seed = 70 + (uint64_t)_i, .delay_max_ms = 15, .packets = 10};
    struct fake_quic net;

    for (unsigned i = 0; i < ARRAY_LEN(plans); i++) {
        plans[i] = (struct fake_plan){.client = fast, .target = fast};
        plans[i].client.bytes = plans[i].target.bytes = 2000000;
    }
    fake_quic_init(&net, &options, plans, ARRAY_LEN(plans));
    fake_quic_run_for(&net, 80);
    lane_send_goodbye(&net.side[from].lane, GOODBYE_KICKED, "enough of you", 7);
    fake_quic_run_for(&net, 100);
    ck_assert_int_eq(net.side[from].lane.state, LANE_ENDED);
    ck_assert_int_eq(net.side[from].lane.error, 0);
    ck_assert_int_eq(net.side[!from].input_error, -ERR_CLOSED);
    ck_assert(net.side[!from].lane.has_goodbye);
    ck_assert_int_eq(net.side[!from].lane.goodbye.code, GOODBYE_KICKED);
    ck_assert_str_eq(net.side[!from].lane.goodbye.message, "enough of you");
    ck_assert_uint_eq(net.side[!from].lane.goodbye.retry_after_secs, 7);
    fake_quic_cut(&net);
    fake_quic_run(&net, 10);
    for (unsigned i = 0; i < ARRAY_LEN(plans); i++)
        for (unsigned k = 0; k < TAP_SIDES; k++)
            ck_assert_int_eq(net.pairs[i].end[k].stream.reset_code, RESET_LANE_LOST);
    fake_quic_fini(&net);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, every_size_is_exact_both_ways, 0, 2);
    tcase_add_loop_test(tc, random_streams_are_exact_and_never_starve, 0, 4);
    tcase_add_loop_test(tc, half_closed_streams_still_carry_the_other_way, 0, 2);
    tcase_add_loop_test(tc, streams_that_are_reset_at_any_moment_leave_nothing, 0, 4);
    tcase_add_test(tc, each_reset_code_arrives);
    tcase_add_test(tc, a_stalled_reader_holds_up_only_its_stream);
    tcase_add_test(tc, without_a_budget_every_stream_still_ends);
    tcase_add_test(tc, a_pool_that_is_dry_for_a_while_only_delays);
    tcase_add_test(tc, a_pool_that_is_dry_resets_what_it_cannot_hold);
    tcase_add_loop_test(tc, past_the_limit_of_streams_the_newest_is_refused, 0, 2);
    tcase_add_test(tc, a_lost_connection_resets_its_streams);
    tcase_add_loop_test(tc, a_long_config_and_its_ack_come_whole_beside_the_streams, 0, 2);
    tcase_add_test(tc, pings_are_answered_and_measured);
    tcase_add_loop_test(tc, a_peer_that_answers_no_more_is_dead, 0, 2);
    tcase_add_loop_test(tc, what_moves_keeps_a_lane_alive, 0, 4);
    tcase_add_test(tc, a_hub_that_drains_takes_streams_until_its_deadline);
    tcase_add_test(tc, an_edge_that_drains_is_served_what_it_had_opened);
    tcase_add_loop_test(tc, goodbye_ends_both_lanes_in_the_middle_of_it_all, 0, 2);
    return suite_run("lane quic", tc);
}
