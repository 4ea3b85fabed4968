/* Who may open streams: ports that are refused, limits, ids, and the end of the ids.
 * (api/tunnel.md: Frames, Authority)
 */
#include <check.h>
#include <stdlib.h>

#include "base/err.h"
#include "support/fake_net.h"
#include "support/lane_probe.h"
#include "support/suite.h"

static void expect_close(struct lane_probe *p, uint32_t stream, uint8_t code)
{
    struct probe_frame f;

    ck_assert(probe_next(p, &f));
    ck_assert_uint_eq(f.type, FRAME_CLOSE_BACK);
    ck_assert_uint_eq(f.stream, stream);
    ck_assert_uint_eq(f.len, 1);
    ck_assert_uint_eq(f.payload[0], code);
}

START_TEST(a_port_that_is_not_allowed_is_refused_with_3)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_HUB);
    ck_assert_int_eq(probe_open(&p, 1, PROBE_REFUSED_PORT), 0);
    expect_close(&p, 1, 3);
    ck_assert_uint_eq(p.lane.stats.refused_ports, 1);
    ck_assert_uint_eq(p.lane.stats.opened, 0);
    ck_assert_uint_eq(p.client.dst_port, PROBE_REFUSED_PORT);
    ck_assert_uint_eq(p.client.src[3], 1);
    ck_assert_uint_eq(p.lane.stream_count, 0);
    /* What the edge sent before it knew is dropped, and the id is used up. */
    ck_assert_int_eq(probe_data(&p, 1, 65536), 0);
    ck_assert_int_eq(probe_data(&p, 1, 65536), 0);
    ck_assert_int_eq(probe_close(&p, 1, 0), 0);
    ck_assert_uint_eq(p.pool.out_count, 0);
    ck_assert_uint_eq(p.lane.highest_id, 1);
    ck_assert_int_eq(probe_open(&p, 2, 443), 0);
    ck_assert_int_eq(p.streams[0].stream.state, STREAM_OPEN);
    ck_assert_int_eq(probe_open(&p, 2, PROBE_REFUSED_PORT), -ERR_PROTO);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(a_refused_id_counts_as_seen)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_HUB);
    ck_assert_int_eq(probe_open(&p, 100, PROBE_REFUSED_PORT), 0);
    ck_assert_int_eq(probe_open(&p, 200, PROBE_BUSY_PORT), 0);
    expect_close(&p, 100, 3);
    expect_close(&p, 200, 1);
    ck_assert_int_eq(probe_data(&p, 150, 10),
                     0); /* below the highest: it just ended, for all we know */
    ck_assert_int_eq(probe_open(&p, 150, 443), -ERR_PROTO);
    probe_expect_goodbye(&p, "protocol_error");
    lane_probe_fini(&p);
}
END_TEST

START_TEST(past_the_limit_of_streams_the_hub_resets_with_1)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_HUB);
    p.budget.limit_streams = 2;
    for (uint32_t id = 1; id <= 4; id++)
        ck_assert_int_eq(probe_open(&p, id, 443), 0);
    expect_close(&p, 3, 1);
    expect_close(&p, 4, 1);
    probe_expect_silence(&p);
    ck_assert_uint_eq(p.lane.stats.refused_limit, 2);
    ck_assert_uint_eq(atomic_load(&p.budget.streams_refused), 2);
    ck_assert_uint_eq(p.lane.stream_count, 2);
    /* The owner who gave the stream is told: it will never be open. */
    ck_assert_int_eq(p.streams[2].stream.state, STREAM_IDLE);
    ck_assert_int_eq(p.streams[2].stream.reset_code, RESET_BY_PEER);
    ck_assert_uint_eq(p.streams[2].changes, 1);
    ck_assert_int_eq(probe_close(&p, 1, 1), 0);
    ck_assert_int_eq(probe_open(&p, 5, 443), 0); /* one went, one comes */
    ck_assert_int_eq(p.streams[4].stream.state, STREAM_OPEN);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(past_the_limit_of_streams_the_edge_accepts_no_more)
{
    struct proxy_header client = {.family = PROXY_INET6, .transport = PROXY_STREAM, .dst_port = 1};
    struct lane_probe p;
    struct stream *s = &p.streams[1].stream;

    lane_probe_init(&p, LANE_EDGE);
    p.budget.limit_streams = 1;
    probe_dial(&p);
    stream_init(s, p.streams[0].stream.on_change);
    ck_assert_int_eq(lane_open_stream(&p.lane, s, &client, p.now_ms), -ERR_LIMIT);
    ck_assert_int_eq(s->state, STREAM_IDLE);
    ck_assert_uint_eq(p.lane.highest_id, 1);
    probe_expect_silence(&p);
    stream_abort(&p.streams[0].stream, RESET_BY_PEER);
    probe_expect(&p, 1, FRAME_CLOSE, 1);
    ck_assert_int_eq(lane_open_stream(&p.lane, s, &client, p.now_ms), 0);
    ck_assert_uint_eq(s->id, 2);
    stream_release(s);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(an_initial_window_beyond_the_free_part_is_charged)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_HUB);
    p.lane.initial_window = 1u << 20;
    p.budget.limit_bytes = 2u << 20;
    for (uint32_t id = 1; id <= 4; id++)
        ck_assert_int_eq(probe_open(&p, id, 443), 0);
    ck_assert_uint_eq(p.lane.stream_count, 2);
    ck_assert_uint_eq(atomic_load(&p.budget.taken), 2 * ((1u << 20) - BUDGET_STREAM_FREE));
    expect_close(&p, 3, 1);
    expect_close(&p, 4, 1);
    ck_assert_int_eq(probe_close(&p, 2, 1), 0);
    ck_assert_int_eq(probe_open(&p, 5, 443), 0);
    ck_assert_uint_eq(p.lane.stream_count, 2);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(a_client_that_no_line_can_name_is_no_stream)
{
    struct proxy_header client = {.family = PROXY_UNSPEC, .transport = PROXY_STREAM};
    struct lane_probe p;

    lane_probe_init(&p, LANE_EDGE);
    probe_dial(&p);
    stream_init(&p.streams[1].stream, p.streams[0].stream.on_change);
    ck_assert_int_eq(lane_open_stream(&p.lane, &p.streams[1].stream, &client, p.now_ms),
                     -ERR_PROTO);
    ck_assert_uint_eq(atomic_load(&p.budget.streams), 1);
    lane_probe_fini(&p);
}
END_TEST

/* A port that is not allowed; and a side that takes no UDP at all. */
START_TEST(udp_sessions_are_refused_with_3)
{
    static const struct lane_ops without = {.on_open = NULL};
    struct lane_probe p;
    struct probe_frame f;

    lane_probe_init(&p, LANE_HUB);
    ck_assert_int_eq(probe_udp_open(&p, 1, PROBE_REFUSED_PORT), 0);
    ck_assert(probe_next(&p, &f));
    ck_assert_uint_eq(f.type, FRAME_UDP_CLOSE);
    ck_assert_uint_eq(f.stream, 1);
    ck_assert_uint_eq(f.len, 1);
    ck_assert_uint_eq(f.payload[0], 3);
    ck_assert_int_eq(probe_send(&p, 1, FRAME_UDP_DATA, "q", 1), 0); /* on its way already */
    p.lane.ops = &without;
    ck_assert_int_eq(probe_udp_open(&p, 2, 53), 0);
    ck_assert(probe_next(&p, &f));
    ck_assert_uint_eq(f.type, FRAME_UDP_CLOSE);
    ck_assert_uint_eq(f.payload[0], 3);
    ck_assert_uint_eq(p.lane.stats.refused_ports, 2);
    ck_assert_int_eq(probe_open(&p, 2, 443), -ERR_PROTO); /* one space of ids */
    lane_probe_fini(&p);
}
END_TEST

START_TEST(near_the_last_id_a_lane_takes_no_more_streams)
{
    struct proxy_header client = {.family = PROXY_INET, .transport = PROXY_STREAM, .dst_port = 1};
    struct lane_probe p;
    unsigned i;

    lane_probe_init(&p, LANE_EDGE);
    p.lane.highest_id = LANE_ID_WORN - 1;
    ck_assert(lane_takes_streams(&p.lane));
    i = probe_dial(&p);
    ck_assert_uint_eq(p.streams[i].stream.id, LANE_ID_WORN);
    ck_assert(!lane_takes_streams(&p.lane));
    stream_init(&p.streams[1].stream, p.streams[0].stream.on_change);
    ck_assert_int_eq(lane_open_stream(&p.lane, &p.streams[1].stream, &client, p.now_ms),
                     -ERR_CONFLICT);
    ck_assert_int_eq(probe_data(&p, LANE_ID_WORN, 5), 0); /* what is open goes on */
    probe_read(&p, 0, 5);
    lane_probe_fini(&p);

    lane_probe_init(&p, LANE_HUB); /* the hub takes every id that rises */
    ck_assert_int_eq(probe_open(&p, UINT32_MAX, 443), 0);
    ck_assert_int_eq(probe_data(&p, UINT32_MAX, 5), 0);
    probe_read(&p, 0, 5);
    ck_assert_int_eq(probe_open(&p, UINT32_MAX, 443), -ERR_PROTO);
    lane_probe_fini(&p);
}
END_TEST

/* Over a network: refused ports and a hub that is full, among streams that go on. */
START_TEST(refusals_do_not_disturb_the_others)
{
    struct fake_plan plans[60];
    struct fake_net_options options = {.seed = 3,
                                       .delay_max_ms = 30,
                                       .rate = 3000,
                                       .piece_max = 900,
                                       .first_id = LANE_ID_WORN - 80};
    struct fake_net net;
    unsigned exact = 0, refused = 0, full = 0;

    for (unsigned i = 0; i < ARRAY_LEN(plans); i++)
        plans[i] = (struct fake_plan){
            .open_at_ms = i / 2,
            .port = i % 5 == 0 ? 9 : 443,
            .client = {.bytes = 4000, .write_max = FAKE_FAST, .read_max = FAKE_FAST},
            .target = {.bytes = 9000, .write_max = FAKE_FAST, .read_max = FAKE_FAST}};
    fake_net_init(&net, &options, plans, ARRAY_LEN(plans));
    net.side[TAP_HUB].budget.limit_streams = 8;
    fake_net_run(&net, 10000);
    for (unsigned i = 0; i < ARRAY_LEN(plans); i++) {
        const struct stream *s = &net.pairs[i].end[TAP_EDGE].stream;

        exact += fake_pair_is_exact(&net.pairs[i]);
        refused += s->state == STREAM_RESET && s->reset_code == RESET_NOT_ALLOWED;
        full += s->state == STREAM_RESET && s->reset_code == RESET_BY_PEER;
    }
    ck_assert_uint_eq(refused, ARRAY_LEN(plans) / 5);
    ck_assert_uint_gt(full, 0);
    ck_assert_uint_ge(exact, 8);
    ck_assert_uint_eq(exact + refused + full, ARRAY_LEN(plans));
    ck_assert_uint_eq(net.side[TAP_HUB].lane.stats.refused_ports, refused);
    ck_assert_uint_eq(net.side[TAP_HUB].lane.stats.refused_limit, full);
    fake_net_fini(&net);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, a_port_that_is_not_allowed_is_refused_with_3);
    tcase_add_test(tc, a_refused_id_counts_as_seen);
    tcase_add_test(tc, past_the_limit_of_streams_the_hub_resets_with_1);
    tcase_add_test(tc, past_the_limit_of_streams_the_edge_accepts_no_more);
    tcase_add_test(tc, an_initial_window_beyond_the_free_part_is_charged);
    tcase_add_test(tc, a_client_that_no_line_can_name_is_no_stream);
    tcase_add_test(tc, udp_sessions_are_refused_with_3);
    tcase_add_test(tc, near_the_last_id_a_lane_takes_no_more_streams);
    tcase_add_test(tc, refusals_do_not_disturb_the_others);
    return suite_run("lane open", tc);
}
