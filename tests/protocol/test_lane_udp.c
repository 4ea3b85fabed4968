/* UDP sessions in a lane: what travels when one opens, talks and closes, and whose turn it is.
 * (api/tunnel.md: UDP sessions, Ids, QoS; the queue itself: unit/test_tunnel_udp_session.c) */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "support/lane_probe.h"
#include "support/seeded.h"
#include "support/suite.h"

static uint8_t content[UDP_DATAGRAM_MAX + 1];

START_TEST(an_edge_opens_talks_and_closes)
{
    struct lane_probe p;
    struct proxy_header client;
    struct udp_session *u;
    struct probe_frame f;

    lane_probe_init(&p, LANE_EDGE);
    u = &p.udp[probe_udp_ask(&p)].session;
    udp_session_send(u, "question", 8, p.now_ms);
    ck_assert(probe_next(&p, &f));
    ck_assert_uint_eq(f.type, FRAME_UDP_OPEN); /* comes before all else of its session */
    ck_assert_int_eq(proxy_parse_udp_open(&client, f.payload, f.len), 0);
    ck_assert_uint_eq(client.dst_port, 443);
    probe_expect(&p, 1, FRAME_UDP_DATA, 8);
    ck_assert_int_eq(probe_udp_data(&p, 1, 300), 0);
    ck_assert_int_eq(probe_udp_data(&p, 1, 0), 0);
    ck_assert_uint_eq(p.udp[0].datagrams, 2);
    ck_assert_uint_eq(p.udp[0].bytes, 300);
    udp_session_close(u, UDP_END_ORDERLY);
    probe_expect(&p, 1, FRAME_UDP_CLOSE, 0);
    ck_assert_int_eq(probe_udp_data(&p, 1, 7), 0); /* was under way */
    ck_assert_uint_eq(p.udp[0].datagrams, 2);
    ck_assert_uint_eq(p.lane.stats.udp.dropped[UDP_DROP_CLOSED], 1);
    ck_assert_uint_eq(p.lane.stats.udp.bytes_from_clients, 8);
    ck_assert_uint_eq(p.lane.stats.udp.bytes_to_clients, 300);
    probe_expect_silence(&p);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(a_hub_is_told_and_tells)
{
    struct lane_probe p;
    struct probe_frame f;

    lane_probe_init(&p, LANE_HUB);
    ck_assert_int_eq(probe_udp_open(&p, 5, 53), 0);
    ck_assert_int_eq(probe_udp_open(&p, 6, PROBE_BUSY_PORT), 0);
    ck_assert_int_eq(probe_udp_open(&p, 7, PROBE_REFUSED_PORT), 0);
    ck_assert_int_eq(probe_udp_open(&p, 8, 53), 0);
    probe_expect(&p, 6, FRAME_UDP_CLOSE, 0);
    probe_expect(&p, 7, FRAME_UDP_CLOSE, 1);
    ck_assert_int_eq(probe_udp_data(&p, 5, 100), 0);
    udp_session_send(&p.udp[0].session, "answer", 6, p.now_ms);
    probe_expect(&p, 5, FRAME_UDP_DATA_BACK, 6);
    ck_assert_int_eq(probe_send(&p, 5, FRAME_UDP_CLOSE, "", 0), 0);
    ck_assert_uint_eq(p.udp[0].closes, 1);
    ck_assert_int_eq(p.udp[0].session.state, UDP_CLOSED);
    udp_session_close(&p.udp[1].session, UDP_END_NOT_ALLOWED); /* its port was taken away */
    ck_assert(probe_next(&p, &f));
    ck_assert_uint_eq(f.type, FRAME_UDP_CLOSE);
    ck_assert_uint_eq(f.stream, 8);
    ck_assert_uint_eq(f.payload[0], 3);
    probe_expect_silence(&p); /* a close is not answered */
    ck_assert_uint_eq(p.lane.stats.refused_ports, 1);
    ck_assert_uint_eq(p.lane.stats.refused_limit, 1);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(past_the_limit_a_hub_says_so_to_both)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_HUB);
    budget_set_udp(&p.budget, 1, BUDGET_UDP_QUEUE_BYTES, BUDGET_UDP_MEMORY);
    ck_assert_int_eq(probe_udp_open(&p, 1, 53), 0);
    ck_assert_int_eq(probe_udp_open(&p, 2, 53), 0);
    probe_expect(&p, 2, FRAME_UDP_CLOSE, 0);
    ck_assert_int_eq(p.udp[1].session.state, UDP_IDLE);
    ck_assert_int_eq(p.udp[1].session.end, UDP_END_LIMIT);
    ck_assert_uint_eq(p.udp[1].closes, 1);
    ck_assert_uint_eq(p.udp[0].closes, 0);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(ids_rise_whatever_they_are_for)
{
    struct lane_probe p;
    struct probe_frame f;
    uint32_t last = 0;
    uint64_t seed = 3;

    lane_probe_init(&p, LANE_EDGE);
    for (unsigned i = 0; i < 100; i++)
        if ((seeded_chance(&seed, 50) && p.udp_count < 60) || p.stream_count == 60)
            probe_udp_ask(&p);
        else
            probe_ask(&p);
    udp_session_close(&p.udp[3].session, UDP_END_ORDERLY); /* the hub never hears of it */
    for (unsigned i = 0; i < 99; i++) {
        ck_assert(probe_next(&p, &f));
        ck_assert(f.type == FRAME_OPEN || f.type == FRAME_UDP_OPEN);
        ck_assert_uint_gt(f.stream, last);
        last = f.stream;
    }
    probe_expect_silence(&p);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(frames_before_our_udp_open_break)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_EDGE);
    probe_udp_ask(&p);
    ck_assert_int_eq(probe_udp_data(&p, 1, 5), -ERR_PROTO);
    probe_expect_goodbye(&p, "protocol_error");
    lane_probe_fini(&p);
}
END_TEST

static void expect_datagram(struct lane_probe *p, uint32_t id, size_t n)
{
    struct probe_frame f;

    ck_assert(probe_next(p, &f));
    ck_assert_uint_eq(f.type, FRAME_UDP_DATA);
    ck_assert_uint_eq(f.stream, id);
    ck_assert_uint_eq(f.len, n);
    ck_assert_mem_eq(f.payload, content, n);
}

START_TEST(every_size_goes_through_both_ways)
{
    static const size_t sizes[] = {0,     1,     512,   1200,  1472,  1473, 9000,
                                   16375, 16376, 16384, 32750, 60000, 65507};
    struct lane_probe p;
    struct udp_session *u;
    uint64_t seed = 5;

    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = seeded_byte(77, i);
    lane_probe_init(&p, LANE_EDGE);
    u = &p.udp[probe_udp_dial(&p)].session;
    for (unsigned round = 0; round < 100; round++) {
        size_t a = sizes[seeded_below(&seed, ARRAY_LEN(sizes))];
        size_t b = sizes[seeded_below(&seed, ARRAY_LEN(sizes))];

        udp_session_send(u, content, a, p.now_ms);
        udp_session_send(u, content, b, p.now_ms);
        expect_datagram(&p, 1, a);
        expect_datagram(&p, 1, b);
        ck_assert_int_eq(probe_udp_data(&p, 1, a), 0);
        ck_assert_uint_eq(p.udp[0].newest_len, a);
        ck_assert_uint_eq(p.udp[0].datagrams, round + 1);
    }
    ck_assert_uint_le(p.record_max, LANE_RECORD_BYTES);
    ck_assert_int_eq(probe_udp_data(&p, 1, UDP_DATAGRAM_MAX + 1), 0); /* no protocol error */
    ck_assert_int_eq(probe_udp_data(&p, 1, FRAME_PAYLOAD_MAX), 0);
    ck_assert_uint_eq(p.udp[0].datagrams, 100);
    ck_assert_uint_eq(p.lane.stats.udp.dropped[UDP_DROP_TOO_BIG], 2);
    ck_assert_uint_eq(p.pool.out_count, 0);
    lane_probe_fini(&p);
}
END_TEST

/* One record of a long datagram is out: whatever becomes of its session, its frame is whole; and
 * control waits for no more than that frame. */
START_TEST(a_frame_that_began_ends_whole)
{
    for (unsigned how = 0; how < 4; how++) {
        struct lane_probe p;
        struct udp_session *u, *other;
        const uint8_t *record;
        size_t n, whole = FRAME_HEADER_BYTES + UDP_DATAGRAM_MAX;

        lane_probe_init(&p, LANE_EDGE);
        u = &p.udp[probe_udp_dial(&p)].session;
        other = &p.udp[probe_udp_dial(&p)].session;
        udp_session_send(u, content, UDP_DATAGRAM_MAX, p.now_ms);
        udp_session_send(other, content, UDP_DATAGRAM_MAX, p.now_ms);
        n = lane_next_record(&p.lane, p.now_ms, &record);
        ck_assert_uint_eq(n, LANE_RECORD_BYTES);
        lane_record_done(&p.lane);
        if (how == 0)
            udp_session_close(u, UDP_END_ORDERLY);
        if (how == 1)
            udp_session_release(u);
        if (how == 2)
            ck_assert_int_eq(probe_send(&p, 1, FRAME_UDP_CLOSE, "", 0), 0);
        if (how == 3)
            ck_assert_int_eq(probe_send(&p, 1, FRAME_DATA_BACK, "x", 1), -ERR_PROTO);
        ck_assert_int_eq(how < 3 ? probe_send(&p, 0, FRAME_PING, "12345678", 8) : 0, 0);
        while (whole > LANE_RECORD_BYTES) {
            whole -= n;
            n = lane_next_record(&p.lane, p.now_ms, &record);
            ck_assert_uint_ge(n, MIN(whole, LANE_RECORD_BYTES));
            if (whole > LANE_RECORD_BYTES)
                lane_record_done(&p.lane);
        }
        ck_assert_uint_gt(n, whole); /* what follows at once */
        ck_assert_uint_eq(record[whole + 4], how < 3 ? FRAME_PONG : FRAME_GOODBYE);
        lane_record_done(&p.lane);
        lane_probe_fini(&p);
    }
}
END_TEST

START_TEST(sessions_and_streams_take_turns)
{
    struct lane_probe p;
    struct probe_frame f;
    unsigned turns[6] = {0};

    lane_probe_init(&p, LANE_EDGE);
    for (unsigned i = 0; i < 2; i++)
        probe_dial(&p);
    for (unsigned i = 0; i < 3; i++)
        probe_udp_dial(&p);
    for (unsigned i = 0; i < 2; i++)
        probe_write(&p, i, 60000);
    for (unsigned i = 0; i < 3 * 60; i++)
        udp_session_send(&p.udp[i % 3].session, content, 1000, p.now_ms);
    for (size_t bytes = 0; bytes < 5 * 3 * SCHED_TURN_BYTES; bytes += f.len) {
        ck_assert(probe_next(&p, &f));
        turns[f.stream] += f.len;
    }
    for (unsigned id = 1; id <= 5; id++) {
        ck_assert_uint_ge(turns[id], 2 * SCHED_TURN_BYTES - 4000);
        ck_assert_uint_le(turns[id], 3 * SCHED_TURN_BYTES + 17500);
    }
    lane_probe_fini(&p);
}
END_TEST

START_TEST(what_is_stale_is_not_sent)
{
    struct lane_probe p;
    struct udp_session *u;

    lane_probe_init(&p, LANE_EDGE);
    u = &p.udp[probe_udp_dial(&p)].session;
    udp_session_send(u, content, 10, p.now_ms);
    p.now_ms += UDP_FRAME_AGE_MS;
    udp_session_send(u, content, 20, p.now_ms);
    p.now_ms++;
    probe_expect(&p, 1, FRAME_UDP_DATA, 20);
    udp_session_send(u, content, 30, p.now_ms);
    p.now_ms += 500;
    probe_expect_silence(&p);
    ck_assert_uint_eq(p.lane.stats.udp.dropped[UDP_DROP_TOO_OLD], 2);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(at_the_end_of_a_drain_sessions_are_closed)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_EDGE);
    probe_udp_dial(&p);
    lane_send_drain(&p.lane, 2, p.now_ms);
    probe_expect(&p, 0, FRAME_DRAIN, 18);
    ck_assert(!lane_is_drained(&p.lane));
    ck_assert_int_eq(probe_wait(&p, 2000), 0);
    ck_assert_uint_eq(p.udp[0].closes, 1);
    probe_expect(&p, 1, FRAME_UDP_CLOSE, 0);
    ck_assert(lane_is_drained(&p.lane));
    lane_probe_fini(&p);
}
END_TEST

START_TEST(closes_without_end_are_too_much_in_the_end)
{
    struct lane_probe p;
    uint32_t id = 0;

    lane_probe_init(&p, LANE_HUB);
    while (p.lane.state == LANE_OPEN && id < 200000)
        ck_assert_int_eq(probe_udp_open(&p, ++id, PROBE_REFUSED_PORT), 0);
    ck_assert_uint_eq(id, LANE_RESETS_MAX + 1);
    probe_expect_goodbye(&p, "overloaded");
    lane_probe_fini(&p);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, an_edge_opens_talks_and_closes);
    tcase_add_test(tc, a_hub_is_told_and_tells);
    tcase_add_test(tc, past_the_limit_a_hub_says_so_to_both);
    tcase_add_test(tc, ids_rise_whatever_they_are_for);
    tcase_add_test(tc, frames_before_our_udp_open_break);
    tcase_add_test(tc, every_size_goes_through_both_ways);
    tcase_add_test(tc, a_frame_that_began_ends_whole);
    tcase_add_test(tc, sessions_and_streams_take_turns);
    tcase_add_test(tc, what_is_stale_is_not_sent);
    tcase_add_test(tc, at_the_end_of_a_drain_sessions_are_closed);
    tcase_add_test(tc, closes_without_end_are_too_much_in_the_end);
    return suite_run("lane udp", tc);
}
