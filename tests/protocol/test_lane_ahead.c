/* How far many streams read ahead of a lane that is busy: a megabyte in sum, in turn, and
 * nobody waits for nothing.  (tunnel/stream_feed.h)
 */
#include <check.h>

#include "support/fake_net.h"
#include "support/lane_probe.h"
#include "support/suite.h"
#include "tunnel/lane_quic.h"

enum { STREAMS = 40, LENT = 1 << 20 };

static size_t ask(struct lane_probe *p, unsigned i, size_t max)
{
    struct iovec piece[16];
    size_t count = stream_reserve(&p->streams[i].stream, piece, max), sum = 0;

    for (size_t k = 0; k < count; k++)
        sum += piece[k].iov_len;
    return sum;
}

/* Puts in all that it may; how much that was. */
static size_t fill(struct lane_probe *p, unsigned i)
{
    size_t sum = 0;

    for (size_t n; (n = ask(p, i, 16)) > 0; sum += n)
        stream_commit(&p->streams[i].stream, n);
    lane_check(&p->lane);
    return sum;
}

/* Every stream has no end of bytes: a few fill the lane, the others are in line. */
static void fill_lane(struct lane_probe *p)
{
    lane_probe_init(p, LANE_HUB);
    for (unsigned i = 0; i < STREAMS; i++) {
        ck_assert_int_eq(probe_open(p, i + 1, 443), 0);
        ck_assert_int_eq(probe_credit(p, i + 1, LENT), 0);
        (void)fill(p, i);
    }
    ck_assert_uint_ge(p->lane.out.feed.ahead, LANE_AHEAD_BYTES);
    ck_assert_uint_le(p->lane.out.feed.ahead, LANE_AHEAD_BYTES + STREAM_SEND_CAP);
}

static bool is_in_line(const struct lane_probe *p, unsigned i)
{
    return p->streams[i].stream.feed == FEED_IN_LINE;
}

static bool is_due(const struct lane_probe *p, unsigned i)
{
    return p->streams[i].stream.feed == FEED_DUE;
}

/* Records leave until somebody in line is told; who. */
static unsigned first_due(struct lane_probe *p)
{
    struct probe_frame f;

    for (;;) {
        for (unsigned i = 0; i < STREAMS; i++)
            if (is_due(p, i))
                return i;
        ck_assert(probe_next(p, &f));
        lane_check(&p->lane);
    }
}

START_TEST(past_the_bound_streams_wait_in_line)
{
    struct lane_probe p;
    unsigned in_line = 0;

    fill_lane(&p);
    for (unsigned i = 0; i < STREAMS; i++)
        in_line += is_in_line(&p, i);
    ck_assert_uint_eq(in_line, STREAMS - LANE_AHEAD_BYTES / STREAM_SEND_CAP - 1);
    ck_assert_uint_eq(p.lane.stats.ahead_waits, in_line);
    (void)fill(&p, STREAMS - 1); /* who asks again is in line once */
    ck_assert_uint_eq(p.lane.stats.ahead_waits, in_line);
    lane_probe_fini(&p);
}
END_TEST

/* First come, first served, each a turn of the ring: here one chunk, the lane has not moved yet. */
START_TEST(the_line_moves_as_records_leave)
{
    struct lane_probe p;
    unsigned before = 0;

    fill_lane(&p);
    for (unsigned k = 0; k < 8; k++) {
        unsigned i = first_due(&p), changes = p.streams[i].changes;

        ck_assert_uint_gt(i, before);
        before = i;
        ck_assert_uint_eq(fill(&p, i), CHUNK_ROOM);
        ck_assert(is_in_line(&p, i)); /* at its end */
        ck_assert_uint_eq(p.streams[i].changes, changes);
    }
    lane_probe_fini(&p);
}
END_TEST

START_TEST(who_is_due_and_has_nothing_lets_the_next_one_go)
{
    struct lane_probe p;
    unsigned first;

    fill_lane(&p);
    first = first_due(&p);
    ck_assert_uint_eq(ask(&p, first, 16), CHUNK_ROOM);
    ck_assert(!is_due(&p, first + 1));
    stream_commit(&p.streams[first].stream, 100); /* it had no more */
    ck_assert_int_eq(p.streams[first].stream.feed, FEED_FED);
    lane_check(&p.lane);
    first = first_due(&p);
    ck_assert_uint_eq(ask(&p, first, 16), CHUNK_ROOM);
    stream_commit(&p.streams[first].stream, 0);
    ck_assert(is_due(&p, first + 1));
    stream_finish(&p.streams[first + 1].stream);
    ck_assert(is_due(&p, first + 2));
    stream_abort(&p.streams[first + 2].stream, RESET_BY_PEER);
    ck_assert(is_due(&p, first + 3));
    ck_assert_int_eq(probe_close(&p, first + 4, RESET_BY_PEER), 0);
    ck_assert(is_due(&p, first + 4));
    lane_check(&p.lane);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(who_leaves_the_line_is_not_waited_for)
{
    struct lane_probe p;
    unsigned last = STREAMS - 1;

    fill_lane(&p);
    ck_assert(is_in_line(&p, last));
    stream_abort(&p.streams[last].stream, RESET_BY_PEER);
    stream_finish(&p.streams[last - 1].stream);
    ck_assert_int_eq(probe_close(&p, last - 1, RESET_BY_PEER), 0);
    lane_check(&p.lane);
    ck_assert_uint_lt(first_due(&p), last - 2);
    lane_probe_fini(&p);
}
END_TEST

/* What a request's answer needs first goes past the line: it waits in the ring alone. */
START_TEST(a_first_chunk_is_not_in_line)
{
    struct lane_probe p;
    unsigned last = STREAMS - 1;
    struct stream *s = &p.streams[STREAMS - 1].stream;

    fill_lane(&p);
    ck_assert(is_in_line(&p, last));
    ck_assert_uint_eq(ask(&p, last, 1), CHUNK_ROOM);
    stream_commit(s, 200);
    lane_check(&p.lane);
    ck_assert_uint_eq(ask(&p, last, 1), 0); /* its second one is */
    ck_assert(is_in_line(&p, last));
    lane_probe_fini(&p);
}
END_TEST

/* However much it asks for: its last read was small, the next one may be. */
START_TEST(after_a_small_read_a_chunk_is_not_in_line)
{
    struct lane_probe p;
    unsigned last = STREAMS - 1;
    struct stream *s = &p.streams[STREAMS - 1].stream;
    uint64_t ahead;

    fill_lane(&p);
    ck_assert(is_in_line(&p, last));
    s->had_small_read = true;
    ahead = p.lane.out.feed.ahead;
    ck_assert_uint_eq(ask(&p, last, 16), CHUNK_ROOM);
    stream_commit(s, CHUNK_ROOM);
    ck_assert_uint_eq(p.lane.out.feed.ahead, ahead); /* it does not count */
    ck_assert(!s->had_small_read);
    lane_check(&p.lane);
    ck_assert_uint_eq(ask(&p, last, 16), 0);
    ck_assert(is_in_line(&p, last));
    stream_commit(s, 0); /* a read that found nothing says nothing */
    ck_assert(!s->had_small_read);
    lane_probe_fini(&p);
}
END_TEST

/* Who reads little is not in line, and what it brings moves the line all the same: however many
 * they are, who waits gets his turn. */
START_TEST(small_readers_hold_nobody_up)
{
    struct lane_probe p;
    struct probe_frame f;
    struct iovec piece[16];
    unsigned last = PROBE_STREAMS - 1, left = 0;

    must((PROBE_STREAMS - 9) * CHUNK_ROOM > LANE_AHEAD_BYTES);
    lane_probe_init(&p, LANE_HUB);
    for (unsigned i = 0; i <= last; i++) {
        ck_assert_int_eq(probe_open(&p, i + 1, 443), 0);
        ck_assert_int_eq(probe_credit(&p, i + 1, 64u << 20), 0);
    }
    for (unsigned i = 0; i < 8; i++)
        (void)fill(&p, i);
    ck_assert_uint_eq(fill(&p, last), 0);
    ck_assert(is_in_line(&p, last));
    while (is_in_line(&p, last)) { /* what leaves, the others replace */
        for (unsigned i = 8; i < last; i++)
            if (stream_reserve(&p.streams[i].stream, piece, 1) == 1)
                stream_commit(&p.streams[i].stream, CHUNK_ROOM - 1);
        ck_assert(probe_next(&p, &f));
        lane_check(&p.lane);
        ck_assert_uint_lt(++left, 1000);
    }
    ck_assert(is_due(&p, last));
    lane_probe_fini(&p);
}
END_TEST

static void on_change(struct stream *s)
{
    (void)s;
}

/* On QUIC its PROXY line is in front of a client's first bytes, and not out yet. */
START_TEST(a_first_chunk_behind_its_proxy_line_is_not_in_line)
{
    struct proxy_header client = {.family = PROXY_INET, .transport = PROXY_STREAM};
    enum { UPLOADS = 4 };
    struct lane_probe p;

    lane_probe_init_quic(&p, LANE_EDGE);
    for (unsigned i = 0; i <= UPLOADS; i++) {
        stream_init(&p.streams[i].stream, on_change);
        p.stream_count++;
        ck_assert_int_eq(lane_quic_open(&p.lane, &p.streams[i].stream, i + 1, &client, p.now_ms),
                         0);
        lane_quic_credit(&p.lane, i + 1, 8u << 20);
        if (i < UPLOADS)
            (void)fill(&p, i);
    }
    ck_assert(is_in_line(&p, UPLOADS - 1));
    ck_assert_uint_gt(p.streams[UPLOADS].stream.head_out, 0);
    ck_assert_uint_gt(ask(&p, UPLOADS, 1), 0);
    stream_commit(&p.streams[UPLOADS].stream, 100);
    ck_assert_uint_eq(ask(&p, UPLOADS, 1), 0);
    lane_check(&p.lane);
    lane_probe_fini(&p);
}
END_TEST

/* They go last in the ring: what they have ahead is not counted, and they are not in line. */
START_TEST(sustained_streams_take_no_room_of_others)
{
    struct lane_probe p;
    unsigned last = STREAMS - 1;

    fill_lane(&p);
    p.streams[last].stream.is_sustained = true;
    ck_assert_uint_eq(fill(&p, last), STREAM_SEND_CAP);
    lane_check(&p.lane);
    lane_probe_fini(&p);

    lane_probe_init(&p, LANE_HUB);
    for (unsigned i = 0; i < STREAMS; i++) {
        ck_assert_int_eq(probe_open(&p, i + 1, 443), 0);
        ck_assert_int_eq(probe_credit(&p, i + 1, LENT), 0);
        p.streams[i].stream.is_sustained = i < last;
        ck_assert_uint_eq(fill(&p, i), STREAM_SEND_CAP);
    }
    ck_assert_uint_eq(p.lane.out.feed.ahead, STREAM_SEND_CAP);
    ck_assert_uint_eq(p.lane.stats.ahead_waits, 0);
    lane_probe_fini(&p);
}
END_TEST

/* Over a whole tunnel: all get the same, and nothing is lost. */
START_TEST(all_of_it_arrives_in_equal_shares)
{
    struct fake_plan plans[STREAMS];
    struct fake_net_options options = {
        .seed = 7, .rate = 100000, .delay_max_ms = 3, .check_every = 20};
    uint64_t least = UINT64_MAX, most = 0;
    struct fake_net net;

    for (unsigned i = 0; i < STREAMS; i++)
        plans[i] = (struct fake_plan){.client = {.read_max = FAKE_FAST},
                                      .target = {.bytes = 3u << 20, .write_max = FAKE_FAST}};
    fake_net_init(&net, &options, plans, STREAMS);
    fake_net_run_for(&net, 900);
    for (unsigned i = 0; i < STREAMS; i++) {
        least = MIN(least, net.pairs[i].end[TAP_EDGE].taken);
        most = MAX(most, net.pairs[i].end[TAP_EDGE].taken);
    }
    ck_assert_uint_gt(net.side[TAP_HUB].lane.stats.ahead_waits, STREAMS);
    ck_assert_msg(least * 10 >= most * 8, "%lu to %lu", (unsigned long)least, (unsigned long)most);
    fake_net_run(&net, 20000);
    for (unsigned i = 0; i < STREAMS; i++)
        ck_assert(fake_pair_is_exact(&net.pairs[i]));
    fake_net_fini(&net);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, past_the_bound_streams_wait_in_line);
    tcase_add_test(tc, the_line_moves_as_records_leave);
    tcase_add_test(tc, who_is_due_and_has_nothing_lets_the_next_one_go);
    tcase_add_test(tc, who_leaves_the_line_is_not_waited_for);
    tcase_add_test(tc, a_first_chunk_is_not_in_line);
    tcase_add_test(tc, after_a_small_read_a_chunk_is_not_in_line);
    tcase_add_test(tc, small_readers_hold_nobody_up);
    tcase_add_test(tc, a_first_chunk_behind_its_proxy_line_is_not_in_line);
    tcase_add_test(tc, sustained_streams_take_no_room_of_others);
    tcase_add_test(tc, all_of_it_arrives_in_equal_shares);
    return suite_run("lane ahead", tc);
}
