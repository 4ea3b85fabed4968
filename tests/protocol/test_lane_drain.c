/* DRAIN in both directions: who may still open, until when, and what happens then.
 * (api/tunnel.md: DRAIN; Exact rules: DRAIN)
 */
#include <check.h>
#include <stdlib.h>

#include "base/err.h"
#include "support/fake_net.h"
#include "support/lane_probe.h"
#include "support/suite.h"

START_TEST(a_drained_hub_takes_streams_until_its_deadline)
{
    struct lane_probe p;
    struct probe_frame f;

    lane_probe_init(&p, LANE_HUB);
    ck_assert_int_eq(probe_open(&p, 1, 443), 0);
    ck_assert(!lane_is_drained(&p.lane));
    lane_send_drain(&p.lane, 10, p.now_ms);
    ck_assert(!lane_is_drained(&p.lane));
    ck_assert(probe_next(&p, &f));
    ck_assert_uint_eq(f.type, FRAME_DRAIN);
    ck_assert_mem_eq(f.payload, "{\"deadlineSecs\":10}", f.len);
    ck_assert_uint_eq(lane_deadline(&p.lane), p.now_ms + 10000);
    ck_assert_int_eq(probe_wait(&p, 9999), 0);
    ck_assert_int_eq(probe_open(&p, 2, 443), 0);
    ck_assert_int_eq(p.streams[1].stream.state, STREAM_OPEN);
    ck_assert_int_eq(probe_wait(&p, 1), 0);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(p.streams[i].stream.state, STREAM_RESET);
        ck_assert_uint_ge(p.streams[i].changes, 1);
        probe_expect(&p, i + 1, FRAME_CLOSE_BACK, 1);
    }
    ck_assert(lane_is_drained(&p.lane));
    ck_assert_int_eq(probe_open(&p, 3, 443), 0); /* too late */
    probe_expect(&p, 3, FRAME_CLOSE_BACK, 1);
    ck_assert_uint_eq(p.stream_count, 2);
    ck_assert_uint_eq(p.lane.stats.refused_limit, 1);
    lane_send_drain(&p.lane, 60, p.now_ms); /* nothing is prolonged */
    ck_assert_int_eq(probe_open(&p, 4, 443), 0);
    probe_expect(&p, 4, FRAME_CLOSE_BACK, 1);
    probe_expect_silence(&p);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(an_edge_that_drains_opens_no_more)
{
    struct proxy_header client = {.family = PROXY_INET, .transport = PROXY_STREAM};
    struct lane_probe p;
    struct stream *late = &p.streams[2].stream;
    struct probe_frame f;

    lane_probe_init(&p, LANE_EDGE);
    probe_dial(&p);
    probe_ask(&p); /* its OPEN still waits: it must go before the DRAIN */
    lane_send_drain(&p.lane, 5, p.now_ms);
    ck_assert(!lane_takes_streams(&p.lane));
    stream_init(late, p.streams[0].stream.on_change);
    ck_assert_int_eq(lane_open_stream(&p.lane, late, &client, p.now_ms), -ERR_CONFLICT);
    ck_assert(probe_next(&p, &f));
    ck_assert_uint_eq(f.type, FRAME_OPEN);
    ck_assert_uint_eq(f.stream, 2);
    probe_expect(&p, 0, FRAME_DRAIN, 18);
    ck_assert_int_eq(probe_data(&p, 1, 5000), 0); /* what is open may finish */
    probe_read(&p, 0, 5000);
    ck_assert_int_eq(probe_wait(&p, 4999), 0);
    probe_expect(&p, 1, FRAME_WINDOW_UPDATE, 4);
    ck_assert_int_eq(probe_wait(&p, 1), 0);
    probe_expect(&p, 1, FRAME_CLOSE, 1);
    probe_expect(&p, 2, FRAME_CLOSE, 1);
    ck_assert(lane_is_drained(&p.lane));
    lane_probe_fini(&p);
}
END_TEST

START_TEST(an_edge_goes_on_opening_on_a_lane_that_the_hub_drains)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_EDGE);
    ck_assert_int_eq(probe_send_text(&p, FRAME_DRAIN, "{\"deadlineSecs\":20}"), 0);
    ck_assert_uint_eq(p.drains, 1);
    ck_assert(lane_takes_streams(&p.lane)); /* while there is no other */
    probe_dial(&p);
    ck_assert_int_eq(probe_wait(&p, 5000), 0);
    ck_assert_int_eq(probe_send_text(&p, FRAME_DRAIN, "{\"deadlineSecs\":20}"), 0); /* not longer */
    ck_assert_uint_eq(p.lane.drain.deadline_ms, p.now_ms + 15000);
    ck_assert_int_eq(probe_send_text(&p, FRAME_DRAIN, "{\"deadlineSecs\":2}"), 0); /* shorter */
    ck_assert_uint_eq(p.lane.drain.deadline_ms, p.now_ms + 2000);
    ck_assert_int_eq(probe_wait(&p, 2000), 0);
    ck_assert(!lane_takes_streams(&p.lane));
    probe_expect(&p, 1, FRAME_CLOSE, 1);
    ck_assert_int_eq(probe_send_text(&p, FRAME_DRAIN, "{\"deadlineSecs\":20}"), 0);
    ck_assert(!lane_takes_streams(&p.lane));
    ck_assert(lane_is_drained(&p.lane));
    lane_probe_fini(&p);
}
END_TEST

/* The longest time that a DRAIN can name, in 32 bits of seconds, is no time in the past. */
START_TEST(a_drain_of_a_century_is_no_drain_of_now)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_HUB);
    ck_assert_int_eq(probe_open(&p, 1, 443), 0);
    ck_assert_int_eq(probe_send_text(&p, FRAME_DRAIN, "{\"deadlineSecs\":4294967295}"), 0);
    ck_assert_uint_eq(p.lane.drain.deadline_ms, p.now_ms + 4294967295000u);
    ck_assert_int_eq(probe_wait(&p, 1000), 0);
    ck_assert_int_eq(p.streams[0].stream.state, STREAM_OPEN);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(our_second_drain_can_only_shorten)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_HUB);
    lane_send_drain(&p.lane, 30, p.now_ms);
    probe_expect(&p, 0, FRAME_DRAIN, 19);
    lane_send_drain(&p.lane, 31, p.now_ms);
    lane_send_drain(&p.lane, 30, p.now_ms);
    probe_expect_silence(&p);
    lane_send_drain(&p.lane, 0, p.now_ms);
    probe_expect(&p, 0, FRAME_DRAIN, 18);
    ck_assert_int_eq(probe_wait(&p, 0), 0);
    ck_assert(p.lane.drain.is_over);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(a_network_drains_and_the_rest_is_reset)
{
    struct fake_plan plans[20];
    struct fake_net_options options = {.seed = 21, .delay_max_ms = 40, .rate = 2000};
    struct fake_net net;
    unsigned exact = 0, reset = 0;

    for (unsigned i = 0; i < ARRAY_LEN(plans); i++)
        plans[i] = (struct fake_plan){
            .open_at_ms = i * 200,
            .client = {.bytes = 4000, .write_max = FAKE_FAST, .read_max = i % 4 ? FAKE_FAST : 1},
            .target = {.bytes = 9000,
                       .write_max = FAKE_FAST,
                       .read_max = FAKE_FAST,
                       .finish = i % 4 ? FINISH_AT_END : FINISH_NEVER}};
    fake_net_init(&net, &options, plans, ARRAY_LEN(plans));
    fake_net_run_for(&net, 1500);
    lane_send_drain(&net.side[TAP_HUB].lane, 2, net.now_ms);
    fake_net_run(&net, 5000);
    ck_assert_uint_eq(net.side[TAP_EDGE].drain_count, 1);
    for (unsigned i = 0; i < ARRAY_LEN(plans); i++) {
        exact += fake_pair_is_exact(&net.pairs[i]);
        reset += net.pairs[i].end[TAP_EDGE].stream.state == STREAM_RESET;
        if (i * 200 > 3600)
            ck_assert_int_eq(net.pairs[i].open_error, -ERR_CONFLICT);
    }
    ck_assert_uint_ge(exact, 10);
    ck_assert_uint_ge(reset, 3); /* those that never end */
    ck_assert_int_eq(net.side[TAP_EDGE].input_error, 0);
    ck_assert_int_eq(net.side[TAP_HUB].input_error, 0);
    fake_net_fini(&net);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, a_drained_hub_takes_streams_until_its_deadline);
    tcase_add_test(tc, an_edge_that_drains_opens_no_more);
    tcase_add_test(tc, an_edge_goes_on_opening_on_a_lane_that_the_hub_drains);
    tcase_add_test(tc, a_drain_of_a_century_is_no_drain_of_now);
    tcase_add_test(tc, our_second_drain_can_only_shorten);
    tcase_add_test(tc, a_network_drains_and_the_rest_is_reset);
    return suite_run("lane drain", tc);
}
