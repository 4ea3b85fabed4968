/* Bytes through a lane: they arrive exact and in order over every kind of network and with every
 * kind of reader and writer, nobody starves, and nothing is held beyond the budget. (api/tunnel.md,
 * Flow control; the checks of every step are in support/fake_net.h)
 */
#include <check.h>
#include <stdlib.h>

#include "support/fake_net.h"
#include "support/suite.h"

static const struct fake_plan_end fast_reader = {.write_max = FAKE_FAST, .read_max = FAKE_FAST};

static void run_exact(const struct fake_net_options *options, const struct fake_plan *plans,
                      unsigned n, uint64_t max_ms)
{
    struct fake_net net;

    fake_net_init(&net, options, plans, n);
    fake_net_run(&net, max_ms);
    for (unsigned i = 0; i < n; i++)
        ck_assert_msg(fake_pair_is_exact(&net.pairs[i]), "connection %u of seed %lu", i,
                      (unsigned long)options->seed);
    ck_assert_int_eq(net.side[TAP_EDGE].input_error, 0);
    ck_assert_int_eq(net.side[TAP_HUB].input_error, 0);
    ck_assert_uint_eq(net.side[TAP_EDGE].lane.table.count, 0);
    ck_assert_uint_eq(net.side[TAP_HUB].lane.table.count, 0);
    fake_net_fini(&net);
}

START_TEST(one_stream_is_exact_over_every_cut)
{
    static const unsigned pieces[] = {0, 1, 2, 3, 8, 9, 10, 100, 4096, 16393};
    struct fake_plan plan = {.client = fast_reader, .target = fast_reader};

    plan.client.bytes = 70000;
    plan.target.bytes = 150000;
    for (unsigned i = 0; i < ARRAY_LEN(pieces); i++) {
        struct fake_net_options options = {.seed = i, .delay_max_ms = 3, .piece_max = pieces[i]};

        run_exact(&options, &plan, 1, 5000);
    }
}
END_TEST

/* Random networks, random readers and writers, and sometimes hardly any budget. */
static void run_random(uint64_t seed)
{
    struct fake_plan plans[24];
    struct fake_net_options options = {
        .seed = seed,
        .rate = (unsigned)(seeded_chance(&seed, 50) ? 0 : 500 + seeded_below(&seed, 20000)),
        .delay_max_ms = (unsigned)seeded_below(&seed, 60),
        .piece_max = (unsigned)(seeded_chance(&seed, 30) ? 0 : 1 + seeded_below(&seed, 20000)),
        .queue_bytes = (unsigned)(1 + seeded_below(&seed, 200000)),
        .memory_budget = seeded_chance(&seed, 50) ? 0 : seeded_below(&seed, 300000),
        .max_window = (uint32_t)(seeded_chance(&seed, 50) ? 0 : 65536 << seeded_below(&seed, 6)),
        .initial_window =
            (uint32_t)(seeded_chance(&seed, 70) ? 0 : 4096 + seeded_below(&seed, 61441)),
    };

    fake_plans_random(plans, ARRAY_LEN(plans), &seed);
    run_exact(&options, plans, ARRAY_LEN(plans), 200000);
}

START_TEST(random_streams_are_exact_and_never_starve)
{
    for (uint64_t seed = 0; seed < 5; seed++)
        run_random((seed + 5 * (uint64_t)_i) * 7919 + 1);
}
END_TEST

/* A budget of nothing at all: every stream lives on its free window and its free chunk. */
START_TEST(without_a_budget_every_stream_still_ends)
{
    struct fake_plan plans[8];
    struct fake_net_options options = {.seed = 5, .delay_max_ms = 4, .memory_budget = 1};

    for (unsigned i = 0; i < ARRAY_LEN(plans); i++) {
        plans[i] = (struct fake_plan){.client = fast_reader, .target = fast_reader};
        plans[i].client.bytes = plans[i].target.bytes = 600000;
    }
    run_exact(&options, plans, ARRAY_LEN(plans), 20000);
}
END_TEST

/* One loop's pool runs dry: streams wait and try again, and those whose bytes find no place when
 * they come in are reset; nothing hangs. */
START_TEST(without_chunks_streams_wait_or_are_reset)
{
    struct fake_plan plans[20];
    struct fake_net_options options = {.seed = 6, .delay_max_ms = 4, .rate = 20000};
    struct fake_net net;
    unsigned exact = 0;

    for (unsigned i = 0; i < ARRAY_LEN(plans); i++) {
        plans[i] = (struct fake_plan){.client = fast_reader, .target = fast_reader};
        plans[i].client.bytes = 200000;
    }
    fake_net_init(&net, &options, plans, ARRAY_LEN(plans));
    net.side[TAP_EDGE].pool.cap = 6;
    fake_net_run(&net, 60000);
    for (unsigned i = 0; i < ARRAY_LEN(plans); i++)
        exact += fake_pair_is_exact(&net.pairs[i]);
    ck_assert_uint_gt(net.side[TAP_EDGE].pool.refused, 0);
    ck_assert_uint_eq(exact, ARRAY_LEN(plans)); /* only the sender was short: no byte was lost */
    fake_net_fini(&net);

    plans[0].client.read_max = plans[0].target.read_max =
        0; /* holds its window's worth of chunks */
    plans[0].target.reset_at = 0;
    options.seed = 7;
    fake_net_init(&net, &options, plans, ARRAY_LEN(plans));
    net.side[TAP_HUB].pool.cap = 3;
    fake_net_run_for(&net, 5000);
    ck_assert_uint_gt(net.side[TAP_HUB].pool.refused, 0);
    ck_assert_uint_gt(net.tap.resets[TAP_HUB], 0);
    fake_net_fini(&net);
}
END_TEST

START_TEST(one_stalled_stream_of_a_thousand_holds_nobody_up)
{
    enum { N = 1000 };
    struct fake_plan *plans = calloc(N, sizeof(*plans));
    struct fake_net_options options = {.seed = 11, .delay_max_ms = 5, .check_every = 10};
    struct fake_net net;

    ck_assert_ptr_nonnull(plans);
    for (unsigned i = 0; i < N; i++) {
        plans[i] = (struct fake_plan){.client = fast_reader, .target = fast_reader};
        plans[i].client.bytes = 300;
        plans[i].target.bytes = 8000;
        plans[i].open_at_ms = i / 20;
    }
    plans[500].target.bytes = 1000000;
    plans[500].client.read_max = 0;
    fake_net_init(&net, &options, plans, N);
    while (net.done_count < N - 1) {
        ck_assert_uint_lt(net.now_ms, 6000);
        fake_net_step(&net);
    }
    for (unsigned i = 0; i < N; i++)
        ck_assert(i == 500 || fake_pair_is_exact(&net.pairs[i]));
    fake_net_run_for(&net, 1000);
    ck_assert(!net.pairs[500].is_done);
    /* What is held for it is one initial window and no more: it never used one up. */
    ck_assert_uint_eq(net.pairs[500].end[TAP_EDGE].stream.recvq.len, 65536);
    fake_net_fini(&net);
    free(plans);
}
END_TEST

/* A client that half-closes and then reads nothing: the answer waits at the edge after both FINs
 * have passed, and must still count against the budget and the number of streams. */
START_TEST(what_waits_after_the_end_still_counts)
{
    struct fake_plan plan = {.client = fast_reader, .target = fast_reader};
    struct fake_net_options options = {.seed = 12};
    struct fake_net net;
    const struct stream *s;
    uint64_t held;

    plan.target.bytes = 6u << 20;
    fake_net_init(&net, &options, &plan, 1);
    s = &net.pairs[0].end[TAP_EDGE].stream;
    while (s->window.size < 2u << 20) {
        ck_assert_uint_lt(net.now_ms, 10000);
        fake_net_step(&net);
    }
    net.pairs[0].plan.client.read_max = 0; /* now it stalls, with a wide window open */
    net.pairs[0].plan.target.bytes = net.pairs[0].end[TAP_HUB].written + 1500000;
    fake_net_run_for(&net, 500);
    ck_assert_int_eq(s->state, STREAM_ENDED);
    ck_assert_ptr_null(s->lane);
    held = s->recvq.len;
    ck_assert_uint_gt(held, 1000000);
    ck_assert_uint_eq(atomic_load(&net.side[TAP_EDGE].budget.taken), held - BUDGET_STREAM_FREE);
    ck_assert_uint_eq(atomic_load(&net.side[TAP_EDGE].budget.streams), 1);
    ck_assert_uint_eq(atomic_load(&net.side[TAP_HUB].budget.streams), 0);
    net.pairs[0].plan.client.read_max = 100000;
    fake_net_run(&net, 1000);
    ck_assert(fake_pair_is_exact(&net.pairs[0]));
    ck_assert_uint_eq(atomic_load(&net.side[TAP_EDGE].budget.taken), 0);
    ck_assert_uint_eq(atomic_load(&net.side[TAP_EDGE].budget.streams), 0);
    fake_net_fini(&net);
}
END_TEST

/* The whole lane is lost at a random moment: every stream is told, nothing is left over. */
START_TEST(a_lost_lane_resets_its_streams)
{
    for (unsigned round = 0; round < 12; round++) {
        uint64_t seed = round * 101 + 3;
        struct fake_plan plans[12];
        struct fake_net_options options = {
            .seed = seed, .rate = 3000, .delay_max_ms = 9, .piece_max = 3000};
        struct fake_net net;

        fake_plans_random(plans, ARRAY_LEN(plans), &seed);
        for (unsigned i = 0; i < ARRAY_LEN(plans); i++)
            plans[i].open_at_ms = 0;
        fake_net_init(&net, &options, plans, ARRAY_LEN(plans));
        fake_net_run_for(&net, seeded_below(&seed, 300));
        fake_net_cut(&net);
        fake_net_step(&net);
        for (unsigned i = 0; i < 2 * ARRAY_LEN(plans); i++) {
            const struct fake_end *end = &net.pairs[i / 2].end[i % 2];

            if (!end->is_started)
                continue;
            ck_assert_int_ne(end->stream.state, STREAM_OPEN);
            if (end->stream.state == STREAM_RESET) {
                ck_assert_int_eq(end->stream.reset_code, RESET_LANE_LOST);
                ck_assert_uint_ge(end->changes, 1);
                ck_assert_uint_eq(end->stream.recvq.len, 0);
            }
        }
        fake_net_fini(&net);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, one_stream_is_exact_over_every_cut);
    tcase_add_loop_test(tc, random_streams_are_exact_and_never_starve, 0, 3);
    tcase_add_test(tc, without_a_budget_every_stream_still_ends);
    tcase_add_test(tc, without_chunks_streams_wait_or_are_reset);
    tcase_add_test(tc, one_stalled_stream_of_a_thousand_holds_nobody_up);
    tcase_add_test(tc, what_waits_after_the_end_still_counts);
    tcase_add_test(tc, a_lost_lane_resets_its_streams);
    return suite_run("lane transfer", tc);
}
