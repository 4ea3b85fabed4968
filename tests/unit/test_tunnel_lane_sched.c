/* Tests of tunnel/lane_sched: whose turn it is, by itself.  (With a lane: protocol/test_lane_qos.c)
 */
#include <check.h>
#include <string.h>

#include "support/suite.h"
#include "tunnel/lane_sched.h"

enum { STREAMS = 6 };

static struct stream streams[STREAMS];

static void on_change(struct stream *s)
{
    (void)s;
}

static void setup(struct lane_sched *q, uint64_t now_ms)
{
    for (unsigned i = 0; i < STREAMS; i++) {
        stream_init(&streams[i], on_change);
        streams[i].id = i;
        streams[i].opened_ms = now_ms;
    }
    lane_sched_init(q, now_ms);
}

START_TEST(normal_streams_go_round)
{
    struct lane_sched q;

    setup(&q, 1000);
    ck_assert(lane_sched_is_empty(&q));
    ck_assert_ptr_null(lane_sched_pick(&q, 1000));
    for (unsigned i = 0; i < 3; i++) {
        lane_sched_add(&q, &streams[i], 1000);
        lane_sched_add(&q, &streams[i], 1000); /* it is in already */
    }
    ck_assert_uint_eq(lane_sched_depth(&q.normal), 3);
    for (unsigned turn = 0; turn < 9; turn++) {
        struct stream *s = lane_sched_pick(&q, 1000);

        ck_assert_ptr_eq(s, &streams[turn % 3]);
        if (turn == 4) { /* it could not use its turn: it is next again */
            lane_sched_return(&q, s);
            ck_assert_ptr_eq(lane_sched_pick(&q, 1000), s);
        }
        lane_sched_add(&q, s, 1000);
    }
    lane_sched_remove(&streams[1]);
    lane_sched_remove(&streams[1]);
    ck_assert_ptr_eq(lane_sched_pick(&q, 1000), &streams[0]);
    ck_assert_ptr_eq(lane_sched_pick(&q, 1000), &streams[2]);
    ck_assert(lane_sched_is_empty(&q));
}
END_TEST

static const uint64_t no_end = 1u << 30; /* of data */

/* Two streams with no end of data in pieces of `piece` bytes, on a lane that drained `drained`
 * bytes in the second before: how many bytes a turn had. */
static uint64_t turn_of(uint64_t drained, size_t piece)
{
    struct lane_sched q;
    struct stream *s;
    uint64_t sent = 0;

    setup(&q, 1000);
    streams[0].sendq.end = no_end;
    lane_sched_add(&q, &streams[0], 1000);
    lane_sched_add(&q, &streams[1], 1000);
    lane_sched_drained(&q, &streams[2], drained, 1000);
    lane_sched_drained(&q, &streams[2], 0, 2000);
    while ((s = lane_sched_pick(&q, 2000)) == &streams[0]) {
        sent += piece;
        lane_sched_drained(&q, s, piece, 2000);
        lane_sched_go_on(&q, s, 2000);
    }
    ck_assert_ptr_eq(s, &streams[1]);
    return sent;
}

START_TEST(a_turn_is_a_quarter_of_a_millisecond)
{
    static const struct {
        uint64_t drained;
        size_t piece, turn;
    } rows[] = {
        {0, 1200, 1200},
        {4000000, 1200, 1200},
        {40000000, 1200, 10800},
        {1000000000, 1200, 110 * 1200},
        {0, SCHED_TURN_BYTES, SCHED_TURN_BYTES},
        {40000000, SCHED_TURN_BYTES, SCHED_TURN_BYTES},
        {200000000, SCHED_TURN_BYTES, 4 * SCHED_TURN_BYTES},
        {UINT64_C(100000000000), SCHED_TURN_BYTES, SCHED_TURN_MAX},
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        ck_assert_uint_eq(turn_of(rows[i].drained, rows[i].piece), rows[i].turn);
}
END_TEST

/* Two streams, and the turn of the first one ends after `turn` bytes with `rest` left. */
static struct stream *end_turn(struct lane_sched *q, size_t turn, uint64_t rest)
{
    setup(q, 1000);
    lane_sched_add(q, &streams[0], 1000);
    lane_sched_add(q, &streams[1], 1000);
    ck_assert_ptr_eq(lane_sched_pick(q, 1000), &streams[0]);
    lane_sched_drained(q, &streams[0], turn, 1000);
    streams[0].sendq.end = rest;
    lane_sched_go_on(q, &streams[0], 1000);
    return lane_sched_pick(q, 1000);
}

/* Who has little left, or his FIN alone, is not a ring's round later with it. */
START_TEST(a_small_rest_goes_with_the_turn)
{
    static const struct {
        size_t turn;
        uint64_t rest;
        bool goes_on;
    } rows[] = {
        {SCHED_TURN_MAX, 0, true},
        {SCHED_TURN_MAX, SCHED_REST_MAX, true},
        {SCHED_TURN_MAX, SCHED_REST_MAX + 1, false},
        {SCHED_TURN_BYTES, SCHED_TURN_BYTES / SCHED_REST_PART, true},
        {SCHED_TURN_BYTES, SCHED_TURN_BYTES / SCHED_REST_PART + 1, false},
        {1200, 300, true},
        {1200, 301, false},
        {1200, 1200, false},
    };
    struct lane_sched q;

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        ck_assert_ptr_eq(end_turn(&q, rows[i].turn, rows[i].rest),
                         &streams[rows[i].goes_on ? 0 : 1]);
}
END_TEST

START_TEST(what_comes_after_the_turn_does_not_go_with_it)
{
    struct lane_sched q;

    ck_assert_ptr_eq(end_turn(&q, SCHED_TURN_MAX, 1000), &streams[0]);
    streams[0].sendq.end += 500; /* 1,500 are left, which is little, too */
    lane_sched_go_on(&q, &streams[0], 1000);
    ck_assert_ptr_eq(lane_sched_pick(&q, 1000), &streams[1]);
    ck_assert_ptr_eq(lane_sched_pick(&q, 1000), &streams[0]);
    lane_sched_drained(&q, &streams[0], SCHED_TURN_MAX, 1000); /* and so in its next turn */
    lane_sched_go_on(&q, &streams[0], 1000);
    ck_assert_ptr_eq(lane_sched_pick(&q, 1000), &streams[0]);
}
END_TEST

START_TEST(a_udp_session_has_the_same_turn)
{
    struct udp_session sessions[2] = {0};
    struct lane_sched q;
    uint64_t sent = 0;

    setup(&q, 1000);
    for (unsigned i = 0; i < 2; i++) {
        list_init(&sessions[i].in_ring);
        lane_sched_add_udp(&q, &sessions[i]);
    }
    lane_sched_add(&q, &streams[0], 1000);
    lane_sched_drained(&q, &streams[1], 40000000, 1000);
    lane_sched_drained(&q, &streams[1], 0, 2000);
    while (lane_sched_is_udp_next(&q)) {
        struct udp_session *u = lane_sched_pick_udp(&q);

        if (u != &sessions[0]) {
            lane_sched_return_udp(&q, u);
            break;
        }
        sent += 1200;
        lane_sched_drained_udp(&q, u, 1200, 2000);
        lane_sched_go_on_udp(&q, u);
    }
    ck_assert_uint_eq(sent, 10800);
    ck_assert_uint_gt(sessions[0].turn, streams[0].turn); /* its next turn is behind the stream's */
}
END_TEST

START_TEST(a_stream_becomes_sustained_by_age_and_rate_and_stays_so)
{
    static const struct {
        uint64_t age_ms, sent;
        bool is_sustained;
    } rows[] = {
        {0, 1u << 30, false},         {9999, 1u << 30, false},     {10000, 24999999, false},
        {10000, 25000000, true},      {20000, 49999999, false},    {20000, 50000000, true},
        {3600000, 8999999999, false}, {3600000, 9000000000, true},
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct lane_sched q;

        setup(&q, 5000);
        streams[0].sendq.sent = streams[0].sendq.acked = streams[0].sendq.end = rows[i].sent;
        lane_sched_add(&q, &streams[0], 5000 + rows[i].age_ms);
        ck_assert_int_eq(streams[0].is_sustained, rows[i].is_sustained);
        ck_assert_uint_eq(lane_sched_depth(&q.sustained), rows[i].is_sustained);
        lane_sched_remove(&streams[0]);
        lane_sched_add(&q, &streams[0], 5000 + 100 * rows[i].age_ms + 1000000);
        ck_assert_int_eq(streams[0].is_sustained, rows[i].is_sustained); /* never back */
    }
}
END_TEST

/* A lane that drains `rate` bytes a millisecond, two normal and two sustained streams with no end
 * of data; what the sustained ones got in the seconds from `from` to `to`. */
static uint64_t run(struct lane_sched *q, uint64_t rate, uint64_t from_ms, uint64_t to_ms,
                    unsigned normal)
{
    uint64_t sustained = 0, spare = 0;

    for (uint64_t now_ms = from_ms; now_ms < to_ms; now_ms++) {
        for (spare += rate; spare >= SCHED_TURN_BYTES; spare -= SCHED_TURN_BYTES) {
            struct stream *s = lane_sched_pick(q, now_ms);

            if (!s)
                break;
            lane_sched_drained(q, s, SCHED_TURN_BYTES, now_ms);
            sustained += s->is_sustained ? SCHED_TURN_BYTES : 0;
            if (s->is_sustained || normal > 0)
                lane_sched_add(q, s, now_ms);
        }
    }
    return sustained;
}

START_TEST(sustained_streams_get_their_floor)
{
    static const struct {
        uint64_t rate, floor;
    } rows[] = {
        {100000, 1000000}, {20000, 1000000}, {10000, 1000000}, {5000, 500000}, {500, 50000}};

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct lane_sched q;
        uint64_t got;

        setup(&q, 1000);
        streams[2].is_sustained = streams[3].is_sustained = true;
        for (unsigned k = 0; k < 4; k++)
            lane_sched_add(&q, &streams[k], 1000);
        (void)run(&q, rows[i].rate, 1000, 5000, 2);
        got = run(&q, rows[i].rate, 5000, 15000, 2) / 10;
        ck_assert_msg(got >= rows[i].floor * 9 / 10 && got <= rows[i].floor * 11 / 10, "%lu of %lu",
                      (unsigned long)got, (unsigned long)rows[i].floor);
    }
}
END_TEST

START_TEST(alone_they_get_all)
{
    struct lane_sched q;

    setup(&q, 1000);
    streams[2].is_sustained = streams[3].is_sustained = true;
    lane_sched_add(&q, &streams[2], 1000);
    lane_sched_add(&q, &streams[3], 1000);
    ck_assert_uint_gt(run(&q, 20000, 1000, 2000, 0), 19900000);
}
END_TEST

/* Nothing is saved up in quiet times that would come out as a burst. */
START_TEST(a_pause_is_not_made_up_for)
{
    struct lane_sched q;
    uint64_t got;

    setup(&q, 1000);
    streams[2].is_sustained = true;
    for (unsigned k = 0; k < 3; k++)
        lane_sched_add(&q, &streams[k], 1000);
    (void)run(&q, 20000, 1000, 4000, 2);
    got = run(&q, 20000, 3600000, 3600100, 2); /* an hour later, in a tenth of a second */
    ck_assert_uint_le(got, SCHED_FLOOR_RATE / 4 + 100000 + SCHED_TURN_BYTES);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, normal_streams_go_round);
    tcase_add_test(tc, a_turn_is_a_quarter_of_a_millisecond);
    tcase_add_test(tc, a_small_rest_goes_with_the_turn);
    tcase_add_test(tc, what_comes_after_the_turn_does_not_go_with_it);
    tcase_add_test(tc, a_udp_session_has_the_same_turn);
    tcase_add_test(tc, a_stream_becomes_sustained_by_age_and_rate_and_stays_so);
    tcase_add_test(tc, sustained_streams_get_their_floor);
    tcase_add_test(tc, alone_they_get_all);
    tcase_add_test(tc, a_pause_is_not_made_up_for);
    return suite_run("lane_sched", tc);
}
