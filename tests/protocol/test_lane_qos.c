/* Whose turn it is on a full lane: control first, streams in turn, elephants last but not starved,
 * and the order within a stream always.  (api/tunnel.md, QoS)
 */
#include <check.h>
#include <stdlib.h>

#include "base/err.h"
#include "support/fake_net.h"
#include "support/lane_probe.h"
#include "support/suite.h"

START_TEST(control_goes_before_data)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_HUB);
    for (uint32_t id = 1; id <= 3; id++)
        ck_assert_int_eq(probe_open(&p, id, 443), 0);
    probe_write(&p, 0, 60000);
    probe_write(&p, 1, 50);
    probe_expect(&p, 1, FRAME_DATA_BACK, SCHED_TURN_BYTES);
    ck_assert_int_eq(probe_data(&p, 2, 30000), 0); /* now all kinds of control come up */
    probe_read(&p, 1, 30000);
    stream_abort(&p.streams[2].stream, RESET_UNREACHABLE);
    lane_send_config(&p.lane, "{}");
    lane_send_drain(&p.lane, 60, p.now_ms);
    ck_assert_int_eq(probe_wait(&p, 15000), 0);
    probe_expect(&p, 0, FRAME_PING, 8);
    probe_expect(&p, 2, FRAME_WINDOW_UPDATE_BACK, 4);
    probe_expect(&p, 3, FRAME_CLOSE_BACK, 1);
    probe_expect(&p, 0, FRAME_CONFIG, 2);
    probe_expect(&p, 0, FRAME_DRAIN, 19);
    probe_expect(&p, 2, FRAME_DATA_BACK, 50);
    probe_expect(&p, 1, FRAME_DATA_BACK, SCHED_TURN_BYTES);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(small_writes_of_many_streams_share_a_record)
{
    struct lane_probe p;
    uint64_t before;

    lane_probe_init(&p, LANE_HUB);
    for (uint32_t id = 1; id <= 40; id++) {
        ck_assert_int_eq(probe_open(&p, id, 443), 0);
        probe_write(&p, id - 1, 200);
    }
    before = p.lane.stats.records_out;
    for (uint32_t id = 1; id <= 40; id++)
        probe_expect(&p, id, FRAME_DATA_BACK, 200);
    probe_expect_silence(&p);
    ck_assert_uint_eq(p.lane.stats.records_out, before + 1);
    lane_probe_fini(&p);
}
END_TEST

/* A fast lane: a turn has several chunks, and what comes in meanwhile makes it no longer. */
START_TEST(who_is_written_to_while_its_turn_lasts_has_one_turn)
{
    struct lane_probe p;
    struct lane_sched *sched;
    unsigned records = 0;
    const uint8_t *record;

    lane_probe_init(&p, LANE_HUB);
    sched = &p.lane.out.sched;
    for (uint32_t id = 1; id <= 2; id++) {
        ck_assert_int_eq(probe_open(&p, id, 443), 0);
        ck_assert_int_eq(probe_credit(&p, id, 1u << 20), 0);
        probe_write(&p, id - 1, 4 * SCHED_TURN_BYTES);
    }
    lane_sched_drained(sched, &p.streams[1].stream, 200000000, p.now_ms); /* 50,000 a turn */
    p.now_ms += 1000;
    lane_sched_drained(sched, &p.streams[1].stream, 0, p.now_ms);
    while (lane_next_record(&p.lane, p.now_ms, &record) > 0 &&
           p.lane.out.direct == &p.streams[0].stream) {
        records++;
        probe_write(&p, 0, SCHED_TURN_BYTES);
        lane_record_done(&p.lane);
    }
    ck_assert_uint_eq(records, 4);
    ck_assert_ptr_eq(p.lane.out.direct, &p.streams[1].stream);
    lane_record_done(&p.lane);
    lane_probe_fini(&p);
}
END_TEST

/* Jain's index of what each got: (sum x)^2 / (n * sum x^2); 1 is perfectly fair. */
static double jain(const struct fake_net *net, unsigned from, unsigned n)
{
    double sum = 0, squares = 0;

    for (unsigned i = from; i < from + n; i++) {
        double x = (double)net->pairs[i].end[TAP_EDGE].taken;

        sum += x;
        squares += x * x;
    }
    return sum * sum / (n * squares);
}

START_TEST(equal_flows_get_equal_shares)
{
    static const unsigned flows[] = {2, 7, 30};

    for (unsigned k = 0; k < ARRAY_LEN(flows); k++) {
        struct fake_plan plans[30];
        struct fake_net_options options = {
            .seed = k, .rate = 4000, .delay_max_ms = 10, .check_every = 5};
        struct fake_net net;

        for (unsigned i = 0; i < flows[k]; i++)
            plans[i] = (struct fake_plan){.client = {.read_max = FAKE_FAST},
                                          .target = {.bytes = 1u << 30, .write_max = FAKE_FAST}};
        fake_net_init(&net, &options, plans, flows[k]);
        fake_net_run_for(&net, 3000);
        ck_assert_msg(jain(&net, 0, flows[k]) >= 0.95, "%u flows: %f", flows[k],
                      jain(&net, 0, flows[k]));
        fake_net_fini(&net);
    }
}
END_TEST

/* A small flow among greedy ones waits for at most a turn of each, not for all that they have. */
START_TEST(a_small_flow_is_not_held_up_by_greedy_ones)
{
    struct fake_plan plans[11];
    struct fake_net_options options = {
        .seed = 4, .rate = 10000, .queue_bytes = 16384, .check_every = 5};
    struct fake_net net;

    for (unsigned i = 0; i < 10; i++)
        plans[i] = (struct fake_plan){.client = {.read_max = FAKE_FAST},
                                      .target = {.bytes = 1u << 30, .write_max = FAKE_FAST}};
    plans[10] = (struct fake_plan){
        .open_at_ms = 1000,
        .client = {.bytes = 100, .write_max = FAKE_FAST, .read_max = FAKE_FAST},
        .target = {.bytes = 3000, .write_max = FAKE_FAST, .read_max = FAKE_FAST}};
    fake_net_init(&net, &options, plans, ARRAY_LEN(plans));
    while (!net.pairs[10].is_done) {
        ck_assert_uint_lt(net.now_ms, 2100 + 60); /* 11 turns of 16 KiB are 18 ms */
        fake_net_step(&net);
    }
    ck_assert(fake_pair_is_exact(&net.pairs[10]));
    fake_net_fini(&net);
}
END_TEST

/* --- elephants ---------------------------------------------------------------------------------
 */

/* Sends n bytes of stream i; the peer's credit comes as needed. */
static void pour(struct lane_probe *p, unsigned i, size_t n)
{
    struct stream *s = &p->streams[i].stream;

    while (n > 0) {
        size_t part = MIN(n, (size_t)65536);
        uint64_t until = s->sendq.sent + part;
        struct probe_frame f;

        ck_assert_int_eq(probe_credit(p, s->id, (uint32_t)part), 0);
        probe_write(p, i, part);
        while (s->sendq.sent < until)
            ck_assert(probe_next(p, &f));
        n -= part;
    }
}

START_TEST(an_elephant_is_older_than_10_s_and_averages_2500000)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_HUB);
    p.lane.beat.ping_due_ms = 0; /* not the matter here */
    for (uint32_t id = 1; id <= 3; id++)
        ck_assert_int_eq(probe_open(&p, id, 443), 0);
    pour(&p, 0, 25000000); /* just enough, but too young by a millisecond */
    pour(&p, 1, 24999999); /* one byte short */
    ck_assert_int_eq(probe_wait(&p, 9999), 0);
    pour(&p, 0, 1);
    ck_assert(!p.streams[0].stream.is_sustained);
    ck_assert_int_eq(probe_wait(&p, 1), 0);
    pour(&p, 0, 1);
    ck_assert(p.streams[0].stream.is_sustained);
    pour(&p, 1, 1);
    ck_assert(!p.streams[1].stream.is_sustained); /* looked at before its byte was sent */
    ck_assert_int_eq(probe_wait(&p, 100000), 0);
    pour(&p, 0, 1);
    ck_assert(p.streams[0].stream.is_sustained); /* it stays so */
    pour(&p, 1, 1);
    ck_assert(!p.streams[1].stream.is_sustained);
    lane_probe_fini(&p);
}
END_TEST

/* A lane with elephants (from..from+n of the pairs) and others, all of them greedy. */
static void make_elephants(struct fake_net *net, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        net->pairs[i].end[TAP_HUB].stream.is_sustained = true;
}

static uint64_t taken(const struct fake_net *net, unsigned from, unsigned n)
{
    uint64_t sum = 0;

    for (unsigned i = from; i < from + n; i++)
        sum += net->pairs[i].end[TAP_EDGE].taken;
    return sum;
}

static void run_elephants(unsigned rate, uint64_t *elephants, uint64_t *others)
{
    struct fake_plan plans[6];
    struct fake_net_options options = {
        .seed = rate, .rate = rate, .queue_bytes = 32768, .check_every = 20};
    struct fake_net net;
    uint64_t before;

    for (unsigned i = 0; i < ARRAY_LEN(plans); i++)
        plans[i] = (struct fake_plan){.client = {.read_max = FAKE_FAST},
                                      .target = {.bytes = 1u << 30, .write_max = FAKE_FAST}};
    fake_net_init(&net, &options, plans, ARRAY_LEN(plans));
    fake_net_run_for(&net, 50);
    make_elephants(&net, 2);
    fake_net_run_for(&net, 3000);
    before = taken(&net, 0, 2);
    *others = taken(&net, 2, 4);
    fake_net_run_for(&net, 4000);
    *elephants = (taken(&net, 0, 2) - before) / 4;
    *others = (taken(&net, 2, 4) - *others) / 4;
    if (*elephants > 200000)
        ck_assert_msg(jain(&net, 0, 2) > 0.9, "among themselves: %f", jain(&net, 0, 2));
    fake_net_fini(&net);
}

START_TEST(elephants_are_last_but_get_1_mb_a_second)
{
    uint64_t elephants, others;

    run_elephants(15000, &elephants, &others); /* 15 MB/s: the floor is 1 MB/s */
    ck_assert_msg(elephants >= 950000 && elephants <= 1150000, "%lu", (unsigned long)elephants);
    ck_assert_uint_gt(others, 13000000);
}
END_TEST

START_TEST(elephants_get_a_tenth_of_a_slow_lane)
{
    uint64_t elephants, others;

    run_elephants(2000, &elephants, &others); /* 2 MB/s: a tenth is 200 KB/s */
    ck_assert_msg(elephants >= 170000 && elephants <= 240000, "%lu", (unsigned long)elephants);
    ck_assert_uint_gt(others, 1650000);
}
END_TEST

START_TEST(elephants_have_a_lane_without_others_for_themselves)
{
    struct fake_plan plan = {.client = {.read_max = FAKE_FAST},
                             .target = {.bytes = 1u << 30, .write_max = FAKE_FAST}};
    struct fake_net_options options = {.seed = 1, .rate = 10000, .check_every = 20};
    struct fake_net net;
    uint64_t before;

    fake_net_init(&net, &options, &plan, 1);
    fake_net_run_for(&net, 50);
    make_elephants(&net, 1);
    fake_net_run_for(&net, 500);
    before = taken(&net, 0, 1);
    fake_net_run_for(&net, 1000);
    ck_assert_uint_gt(taken(&net, 0, 1) - before, 9000000);
    fake_net_fini(&net);
}
END_TEST

/* Streams that become elephants in the middle, with their FIN behind: still exact. */
START_TEST(order_holds_when_a_stream_changes_its_tier)
{
    struct fake_plan plans[6];
    struct fake_net_options options = {
        .seed = 2, .rate = 6000, .piece_max = 9000, .check_every = 5};
    struct fake_net net;

    for (unsigned i = 0; i < ARRAY_LEN(plans); i++)
        plans[i] = (struct fake_plan){
            .client = {.bytes = 100000, .write_max = FAKE_FAST, .read_max = FAKE_FAST},
            .target = {.bytes = 400000, .write_max = FAKE_FAST, .read_max = FAKE_FAST}};
    fake_net_init(&net, &options, plans, ARRAY_LEN(plans));
    for (unsigned i = 0; i < ARRAY_LEN(plans); i++) {
        fake_net_run_for(&net, 40);
        net.pairs[i].end[TAP_HUB].stream.is_sustained = true;
        net.pairs[i].end[TAP_EDGE].stream.is_sustained = true;
    }
    fake_net_run(&net, 5000);
    for (unsigned i = 0; i < ARRAY_LEN(plans); i++)
        ck_assert(fake_pair_is_exact(&net.pairs[i]));
    fake_net_fini(&net);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, control_goes_before_data);
    tcase_add_test(tc, small_writes_of_many_streams_share_a_record);
    tcase_add_test(tc, who_is_written_to_while_its_turn_lasts_has_one_turn);
    tcase_add_test(tc, equal_flows_get_equal_shares);
    tcase_add_test(tc, a_small_flow_is_not_held_up_by_greedy_ones);
    tcase_add_test(tc, an_elephant_is_older_than_10_s_and_averages_2500000);
    tcase_add_test(tc, elephants_are_last_but_get_1_mb_a_second);
    tcase_add_test(tc, elephants_get_a_tenth_of_a_slow_lane);
    tcase_add_test(tc, elephants_have_a_lane_without_others_for_themselves);
    tcase_add_test(tc, order_holds_when_a_stream_changes_its_tier);
    return suite_run("lane qos", tc);
}
