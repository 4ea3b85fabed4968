/* Tests of tunnel/udp_session: its queue, its bounds and its life, with a lane that is not drained
 * by itself.  (Frames: protocol/test_lane_udp.c) */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "support/lane_probe.h"
#include "support/seeded.h"
#include "support/suite.h"

static const struct proxy_header client = {.family = PROXY_INET,
                                           .transport = PROXY_DGRAM,
                                           .src = {192, 0, 2, 1},
                                           .dst = {192, 0, 2, 9},
                                           .src_port = 40000,
                                           .dst_port = 53};

static uint8_t content[UDP_DATAGRAM_MAX + 1];

/* Datagram `number` of n bytes begins with its number and goes on with what follows from it. */
static void fill(uint8_t *to, uint32_t number, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(i < 4 ? number >> 8 * i : seeded_byte(number, i));
}

static void send_numbered(struct udp_session *u, uint32_t number, size_t n, uint64_t now_ms)
{
    fill(content, number, n);
    udp_session_send(u, content, n, now_ms);
    udp_session_check(u);
}

static void expect(struct udp_session *u, uint32_t number, size_t n, uint64_t now_ms)
{
    static uint8_t got[UDP_DATAGRAM_MAX];
    struct udp_datagram d;
    size_t at = 0;

    ck_assert(udp_session_peek(u, now_ms, UDP_FRAME_AGE_MS, &d));
    ck_assert_uint_eq(d.len, n);
    for (size_t i = 0; i < d.count; i++) {
        memcpy(got + at, d.pieces[i].iov_base, d.pieces[i].iov_len);
        at += d.pieces[i].iov_len;
    }
    ck_assert_uint_eq(at, n);
    fill(content, number, n);
    ck_assert_mem_eq(got, content, n);
    udp_session_taken(u);
    udp_session_check(u);
}

static struct udp_session *open_one(struct lane_probe *p)
{
    lane_probe_init(p, LANE_EDGE);
    return &p->udp[probe_udp_ask(p)].session;
}

START_TEST(datagrams_come_out_whole_and_in_order)
{
    static const size_t sizes[] = {0,     1,
                                   512,   1200,
                                   1472,  1473,
                                   9000,  0,
                                   16367, 16368,
                                   16375, 16384,
                                   32768, UDP_DATAGRAM_MAX,
                                   3,     UDP_DATAGRAM_MAX,
                                   0};
    struct lane_probe p;
    struct udp_session *u = open_one(&p);
    struct udp_datagram d;

    for (uint32_t i = 0; i < ARRAY_LEN(sizes); i++)
        send_numbered(u, i, sizes[i], p.now_ms);
    ck_assert_uint_eq(u->queued, ARRAY_LEN(sizes));
    for (uint32_t i = 0; i < ARRAY_LEN(sizes); i++)
        expect(u, i, sizes[i], p.now_ms);
    ck_assert(!udp_session_peek(u, p.now_ms, UDP_FRAME_AGE_MS, &d));
    ck_assert_uint_eq(p.pool.out_count, 0);
    ck_assert_uint_eq(atomic_load(&p.budget.udp.taken), 0);
    ck_assert_uint_eq(p.lane.stats.udp.datagrams_from_clients, ARRAY_LEN(sizes));
    lane_probe_fini(&p);
}
END_TEST

START_TEST(past_its_cap_the_oldest_go)
{
    struct lane_probe p;
    struct udp_session *u = open_one(&p);
    uint32_t sent = 0, queued;

    while (p.lane.stats.udp.dropped[UDP_DROP_QUEUE_FULL] == 0)
        send_numbered(u, sent++, 1000, p.now_ms);
    ck_assert_uint_le(u->queue.len, BUDGET_UDP_QUEUE_BYTES);
    ck_assert_uint_gt(u->queue.len, BUDGET_UDP_QUEUE_BYTES - 1008);
    ck_assert_uint_eq(p.lane.stats.udp.dropped[UDP_DROP_QUEUE_FULL], 1);
    queued = u->queued;
    send_numbered(u, sent++, UDP_DATAGRAM_MAX, p.now_ms); /* one may push out many */
    ck_assert_uint_eq(p.lane.stats.udp.dropped[UDP_DROP_QUEUE_FULL], sent - u->queued);
    ck_assert_uint_lt(u->queued, queued - 60);
    for (uint32_t i = sent - u->queued; i < sent; i++)
        expect(u, i, i + 1 == sent ? UDP_DATAGRAM_MAX : 1000, p.now_ms);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(what_waited_too_long_is_dropped_at_its_turn)
{
    struct lane_probe p;
    struct udp_session *u = open_one(&p);
    struct udp_datagram d;

    p.now_ms = UINT32_MAX - 100; /* the record's time wraps */
    send_numbered(u, 1, 10, p.now_ms);
    send_numbered(u, 2, 0, p.now_ms + 1);
    send_numbered(u, 3, 30, p.now_ms + 50);
    ck_assert(udp_session_peek(u, p.now_ms + UDP_FRAME_AGE_MS, UDP_FRAME_AGE_MS, &d));
    ck_assert_uint_eq(d.len, 10); /* just young enough */
    ck_assert_uint_eq(d.queued_ms, p.now_ms);
    expect(u, 3, 30, p.now_ms + UDP_FRAME_AGE_MS + 2);
    ck_assert_uint_eq(p.lane.stats.udp.dropped[UDP_DROP_TOO_OLD], 2);
    send_numbered(u, 4, 30, p.now_ms);
    ck_assert(udp_session_peek(u, p.now_ms + 100000, UDP_AGE_ANY, &d)); /* another transport */
    ck_assert(!udp_session_peek(u, p.now_ms + 100000, UDP_FRAME_AGE_MS, &d));
    udp_session_check(u);
    ck_assert(!lane_has_output(&p.lane) || !list_is_empty(&p.lane.out.udp_opens));
    lane_probe_fini(&p);
}
END_TEST

START_TEST(too_big_for_a_datagram_is_dropped)
{
    struct lane_probe p;
    struct udp_session *u = open_one(&p);

    udp_session_send(u, content, sizeof(content), p.now_ms);
    ck_assert_uint_eq(u->queued, 0);
    ck_assert_uint_eq(p.lane.stats.udp.dropped[UDP_DROP_TOO_BIG], 1);
    send_numbered(u, 1, UDP_DATAGRAM_MAX, p.now_ms);
    udp_session_drop(u, UDP_DROP_TOO_BIG); /* a transport that cannot carry it */
    ck_assert_uint_eq(p.lane.stats.udp.dropped[UDP_DROP_TOO_BIG], 2);
    ck_assert_uint_eq(u->queued, 0);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(memory_is_bounded_for_the_process_and_by_the_pool)
{
    struct lane_probe p;
    struct udp_session *a = open_one(&p), *b = &p.udp[probe_udp_ask(&p)].session;

    budget_set_udp(&p.budget, 100, BUDGET_UDP_QUEUE_BYTES, 5 * CHUNK_BYTES);
    send_numbered(a, 1, 60000, p.now_ms); /* four chunks */
    send_numbered(b, 2, 60000, p.now_ms);
    ck_assert_uint_eq(b->queued, 0);
    ck_assert_uint_eq(p.lane.stats.udp.dropped[UDP_DROP_NO_MEMORY], 1);
    send_numbered(b, 3, 100, p.now_ms); /* the fifth */
    ck_assert_uint_eq(b->queued, 1);
    ck_assert_uint_eq(atomic_load(&p.budget.udp.taken), 5 * CHUNK_BYTES);
    ck_assert_uint_ge(atomic_load(&p.budget.udp.denied), 1);
    expect(a, 1, 60000, p.now_ms);
    expect(b, 3, 100, p.now_ms);
    budget_set_udp(&p.budget, 100, BUDGET_UDP_QUEUE_BYTES, BUDGET_UDP_MEMORY);
    p.pool.cap = 1; /* five lie in the pool already */
    send_numbered(a, 4, 60000, p.now_ms);
    send_numbered(b, 5, 60000, p.now_ms);
    ck_assert_uint_eq(b->queued, 0);
    expect(a, 4, 60000, p.now_ms);
    ck_assert_uint_eq(p.lane.stats.udp.dropped[UDP_DROP_NO_MEMORY], 2);
    ck_assert_uint_eq(atomic_load(&p.budget.udp.taken), 0);
    ck_assert_uint_eq(p.pool.out_count, 0);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(sessions_are_counted_and_limited)
{
    struct lane_probe p;
    struct udp_session *a = open_one(&p), late;

    budget_set_udp(&p.budget, 1, BUDGET_UDP_QUEUE_BYTES, BUDGET_UDP_MEMORY);
    udp_session_init(&late, a->on_datagram, a->on_closed);
    ck_assert_int_eq(lane_udp_open(&p.lane, &late, &client, p.now_ms), -ERR_LIMIT);
    ck_assert_int_eq(late.state, UDP_IDLE);
    ck_assert_uint_eq(p.lane.highest_id, 1);
    udp_session_close(a, UDP_END_ORDERLY);
    ck_assert_int_eq(a->state, UDP_CLOSED);
    ck_assert_uint_eq(atomic_load(&p.budget.udp.sessions), 0);
    ck_assert_int_eq(lane_udp_open(&p.lane, &late, &client, p.now_ms), 0);
    udp_session_send(a, "late", 4, p.now_ms); /* fine in every state */
    udp_session_release(&late);
    udp_session_release(&late);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(what_waits_at_the_end_is_counted)
{
    struct lane_probe p;
    struct udp_session *a = open_one(&p), *b = &p.udp[probe_udp_ask(&p)].session;

    send_numbered(a, 1, 100, p.now_ms);
    send_numbered(a, 2, 100, p.now_ms);
    send_numbered(b, 3, 100, p.now_ms);
    udp_session_close(a, UDP_END_ORDERLY);
    ck_assert_uint_eq(p.lane.stats.udp.dropped[UDP_DROP_CLOSED], 2);
    ck_assert_uint_eq(p.udp[0].closes, 0); /* its owner knows */
    lane_fini(&p.lane);
    ck_assert_uint_eq(p.lane.stats.udp.dropped[UDP_DROP_CLOSED], 3);
    ck_assert_uint_eq(p.udp[1].closes, 1);
    ck_assert_int_eq(b->end, UDP_END_LANE_LOST);
    ck_assert_uint_eq(p.lane.stats.udp.opened, 2);
    ck_assert_uint_eq(p.lane.stats.udp.closed, 2);
    lane_probe_fini(&p);
}
END_TEST

/* Against a naive queue, with random sizes, ages and closes of neighbours. */
START_TEST(it_does_what_a_naive_queue_does)
{
    struct {
        uint32_t number;
        size_t n;
        uint64_t at_ms;
    } model[4000];
    struct lane_probe p;
    struct udp_session *u = open_one(&p);
    uint64_t seed = 11;
    uint32_t first = 0, end = 0;
    size_t bytes = 0;

    for (unsigned step = 0; step < 3000; step++) {
        size_t n = seeded_below(&seed, seeded_chance(&seed, 10) ? UDP_DATAGRAM_MAX : 2000);

        p.now_ms += seeded_below(&seed, 8);
        if (seeded_chance(&seed, 70)) {
            while (bytes + n + 8 > BUDGET_UDP_QUEUE_BYTES)
                bytes -= model[first++].n + 8;
            model[end].number = end;
            model[end].n = n;
            model[end].at_ms = p.now_ms;
            bytes += n + 8;
            send_numbered(u, end++, n, p.now_ms);
        } else {
            while (first < end && p.now_ms - model[first].at_ms > UDP_FRAME_AGE_MS)
                bytes -= model[first++].n + 8;
            if (first < end) {
                expect(u, model[first].number, model[first].n, p.now_ms);
                bytes -= model[first++].n + 8;
            }
        }
    }
    ck_assert_uint_gt(p.lane.stats.udp.dropped[UDP_DROP_QUEUE_FULL], 0);
    ck_assert_uint_gt(p.lane.stats.udp.dropped[UDP_DROP_TOO_OLD], 0);
    ck_assert_uint_gt(p.lane.stats.udp.datagrams_from_clients, 100);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(every_reason_has_a_name)
{
    for (unsigned i = 0; i < UDP_DROP_COUNT; i++)
        ck_assert_str_ne(udp_drop_name((enum udp_drop)i), "");
    ck_assert_str_eq(udp_drop_name(UDP_DROP_TOO_OLD), "too_old");
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, datagrams_come_out_whole_and_in_order);
    tcase_add_test(tc, past_its_cap_the_oldest_go);
    tcase_add_test(tc, what_waited_too_long_is_dropped_at_its_turn);
    tcase_add_test(tc, too_big_for_a_datagram_is_dropped);
    tcase_add_test(tc, memory_is_bounded_for_the_process_and_by_the_pool);
    tcase_add_test(tc, sessions_are_counted_and_limited);
    tcase_add_test(tc, what_waits_at_the_end_is_counted);
    tcase_add_test(tc, it_does_what_a_naive_queue_does);
    tcase_add_test(tc, every_reason_has_a_name);
    return suite_run("udp_session", tc);
}
