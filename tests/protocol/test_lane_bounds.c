/* A peer that sends what asks for answers and never reads: what a lane holds for it stays bounded.
 * (api/tunnel.md: "Reading a tunnel never stops", "Control answers are state")
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "support/lane_probe.h"
#include "support/seeded.h"
#include "support/suite.h"

/* Everything on the heap that a lane itself can hold, without its streams' queues. */
static size_t held(const struct lane *l)
{
    return l->out.resets.size * sizeof(*l->out.resets.items) +
           (l->out.config ? strlen(l->out.config) : 0) + (l->out.last ? strlen(l->out.last) : 0) +
           (l->out.drain ? strlen(l->out.drain) : 0) + (l->out.body ? l->out.body_len : 0) +
           (l->in.payload ? l->in.frame.len : 0) + l->table.size * sizeof(*l->table.slots);
}

START_TEST(refused_opens_without_end_are_too_much_in_the_end)
{
    struct lane_probe p;
    uint32_t id = 0;
    int err = 0;

    lane_probe_init(&p, LANE_HUB);
    while (p.lane.state == LANE_OPEN && id < 200000) {
        err = probe_open(&p, ++id, PROBE_REFUSED_PORT);
        ck_assert_uint_le(held(&p.lane), LANE_RESETS_MAX * sizeof(*p.lane.out.resets.items) + 300);
    }
    ck_assert_int_eq(err, 0); /* the peer broke no rule */
    ck_assert_uint_eq(id, LANE_RESETS_MAX + 1);
    ck_assert_int_eq(p.lane.error, -ERR_LIMIT);
    probe_expect_goodbye(&p, "overloaded");
    lane_probe_fini(&p);
}
END_TEST

/* The ring goes round and round as long as the peer reads, and keeps its order. */
START_TEST(resets_come_out_in_order_through_the_ring)
{
    struct lane_probe p;
    uint64_t seed = 4;
    uint32_t in = 0, out = 0;

    lane_probe_init(&p, LANE_HUB);
    while (in < 20000) {
        for (uint64_t n = seeded_below(&seed, 150); n > 0; n--)
            ck_assert_int_eq(probe_open(&p, ++in, PROBE_REFUSED_PORT), 0);
        for (uint64_t n = seeded_below(&seed, 150); n > 0 && out < in; n--)
            probe_expect(&p, ++out, FRAME_CLOSE_BACK, 1);
    }
    while (out < in)
        probe_expect(&p, ++out, FRAME_CLOSE_BACK, 1);
    ck_assert_uint_le(p.lane.out.resets.size, 16384);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(floods_of_control_are_state_and_no_queue)
{
    static const char *const drain = "{\"deadlineSecs\":3600}";
    struct lane_probe p;
    size_t before;

    lane_probe_init(&p, LANE_EDGE);
    probe_dial(&p);
    before = held(&p.lane);
    for (unsigned i = 0; i < 20000; i++) {
        ck_assert_int_eq(probe_send(&p, 0, FRAME_PING, "12345678", 8), 0);
        ck_assert_int_eq(probe_send_text(&p, FRAME_DRAIN, drain), 0);
        ck_assert_int_eq(probe_data(&p, 1, 100), 0);
        probe_read(&p, 0, 100);
        lane_send_config(&p.lane, "{\"revision\":1}"); /* an answer to each */
        ck_assert_int_eq(probe_data(&p, 1, 0), 0);
        if (i % 1000 == 0)
            ck_assert_int_eq(probe_wait(&p, 101), 0);
    }
    ck_assert_uint_le(held(&p.lane), before + 64);
    ck_assert_uint_eq(p.pool.out_count, 0);
    probe_expect(&p, 0, FRAME_PONG, 8);
    probe_expect(&p, 1, FRAME_WINDOW_UPDATE, 4);
    probe_expect(&p, 0, FRAME_CONFIG_ACK, 14);
    probe_expect_silence(&p);
    lane_probe_fini(&p);
}
END_TEST

/* An edge that opens, fills every window, and reads nothing: hub memory is windows and nothing
 * more. */
START_TEST(full_windows_are_all_that_is_held)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_HUB);
    for (uint32_t id = 1; id <= PROBE_STREAMS; id++) {
        ck_assert_int_eq(probe_open(&p, id, 443), 0);
        for (unsigned i = 0; i < 64; i++)
            ck_assert_int_eq(probe_data(&p, id, 1024), 0);
        ck_assert_uint_eq(p.streams[id - 1].stream.recvq.len, 65536);
    }
    ck_assert_uint_eq(atomic_load(&p.budget.taken), 0);
    ck_assert_uint_le(p.pool.out_count,
                      PROBE_STREAMS * 5); /* 64 KiB are a bit more than 4 chunks */
    ck_assert_int_eq(probe_data(&p, 7, 1), -ERR_PROTO);
    lane_probe_fini(&p);
}
END_TEST

/* Single bytes in frames of their own cost no more than the window either. */
START_TEST(tiny_frames_share_chunks)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_HUB);
    ck_assert_int_eq(probe_open(&p, 1, 443), 0);
    for (unsigned i = 0; i < 65536; i++)
        ck_assert_int_eq(probe_data(&p, 1, 1), 0);
    ck_assert_uint_le(p.pool.out_count, 5);
    lane_probe_fini(&p);
}
END_TEST

/* Owners fill what goes out while the peer reads nothing: credit and the queue's cap stop them. */
START_TEST(what_goes_out_is_bounded_by_credit_cap_and_budget)
{
    struct lane_probe p;
    struct iovec piece[16];
    struct stream *s;
    size_t sum = 0;

    lane_probe_init(&p, LANE_HUB);
    ck_assert_int_eq(probe_open(&p, 1, 443), 0);
    ck_assert_int_eq(probe_open(&p, 2, 443), 0);
    s = &p.streams[0].stream;
    probe_write(&p, 0, 65536); /* all its credit */
    ck_assert_uint_eq(stream_reserve(s, piece, 16), 0);
    ck_assert_uint_eq(p.lane.stats.window_stalls, 1);
    ck_assert_int_eq(probe_credit(&p, 1, 10u << 20), 0);
    ck_assert_uint_eq(p.streams[0].changes, 1);
    for (size_t n; (n = stream_reserve(s, piece, 16)) > 0; sum += n)
        stream_commit(s, piece[0].iov_len);
    ck_assert_uint_le(sendq_unsent(&s->sendq), STREAM_SEND_CAP);
    ck_assert_uint_gt(sendq_unsent(&s->sendq), STREAM_SEND_CAP - CHUNK_ROOM);
    ck_assert_uint_ge(atomic_load(&p.budget.taken), 15 * CHUNK_BYTES);
    p.budget.limit_bytes = atomic_load(&p.budget.taken); /* nothing is left for the other one */
    s = &p.streams[1].stream;
    ck_assert_uint_eq(stream_reserve(s, piece, 16), 1);
    ck_assert_uint_eq(piece[0].iov_len, CHUNK_ROOM); /* its free chunk */
    stream_commit(s, CHUNK_ROOM);
    ck_assert_uint_eq(stream_reserve(s, piece, 16), 0);
    while (p.streams[1].changes == 0) { /* room comes when its chunk has gone */
        struct probe_frame f;

        ck_assert(probe_next(&p, &f));
    }
    ck_assert_uint_gt(stream_reserve(s, piece, 16), 0);
    stream_commit(s, 0);
    lane_probe_fini(&p);
}
END_TEST

/* The worst ids that someone can pick who knows the code: multiples of what a table could be large.
 */
START_TEST(no_choice_of_ids_makes_the_table_slow)
{
    enum { N = 8191 };
    struct stream *streams = calloc(N, sizeof(*streams));
    struct id_table t = {0};
    uint64_t longest = 0;

    ck_assert_ptr_nonnull(streams);
    for (uint32_t i = 0; i < N; i++) {
        streams[i].id = (i + 1) << 19;
        ck_assert_int_eq(stream_table_add(&t, &streams[i]), 0);
    }
    for (uint32_t slot = 0, run = 0; slot < t.size; slot++) {
        run = t.slots[slot] ? run + 1 : 0;
        longest = MAX(longest, run);
    }
    ck_assert_uint_lt(longest, 200); /* at half full; all in a row would be 8,192 */
    id_table_fini(&t);
    free(streams);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, refused_opens_without_end_are_too_much_in_the_end);
    tcase_add_test(tc, resets_come_out_in_order_through_the_ring);
    tcase_add_test(tc, floods_of_control_are_state_and_no_queue);
    tcase_add_test(tc, full_windows_are_all_that_is_held);
    tcase_add_test(tc, tiny_frames_share_chunks);
    tcase_add_test(tc, what_goes_out_is_bounded_by_credit_cap_and_budget);
    tcase_add_test(tc, no_choice_of_ids_makes_the_table_slow);
    return suite_run("lane bounds", tc);
}
