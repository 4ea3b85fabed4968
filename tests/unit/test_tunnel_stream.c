/* Tests of tunnel/stream: names, counters, and what must not be done.  (All else:
 * protocol/test_lane_*.c)
 */
#include <check.h>
#include <signal.h>
#include <string.h>

#include "support/lane_probe.h"
#include "support/suite.h"
#include "tunnel/stream.h"

START_TEST(resets_have_names)
{
    static const enum stream_reset codes[] = {RESET_NONE,        RESET_BY_PEER,   RESET_UNREACHABLE,
                                              RESET_NOT_ALLOWED, RESET_LANE_LOST, RESET_NO_MEMORY};

    for (unsigned i = 0; i < ARRAY_LEN(codes); i++)
        for (unsigned k = 0; k < i; k++)
            ck_assert_str_ne(stream_reset_name(codes[i]), stream_reset_name(codes[k]));
    ck_assert_str_eq(stream_reset_name(RESET_NOT_ALLOWED), "not_allowed");
}
END_TEST

START_TEST(bytes_are_counted_in_both_directions)
{
    struct lane_probe p;
    struct stream *s = &p.streams[0].stream;

    lane_probe_init(&p, LANE_HUB);
    ck_assert_int_eq(probe_open(&p, 1, 443), 0);
    ck_assert_int_eq(probe_data(&p, 1, 1234), 0);
    probe_write(&p, 0, 777);
    ck_assert_uint_eq(stream_bytes_in(s), 1234);
    ck_assert_uint_eq(stream_bytes_out(s), 0); /* not with the transport yet */
    probe_expect(&p, 1, FRAME_DATA_BACK, 777);
    ck_assert_uint_eq(stream_bytes_out(s), 777);
    ck_assert_uint_eq(p.lane.stats.bytes_from_clients, 1234);
    ck_assert_int_eq(probe_close(&p, 1, 1), 0);
    ck_assert_uint_eq(stream_bytes_in(s), 1234); /* also afterwards, for the log */
    ck_assert_uint_eq(stream_bytes_out(s), 777);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(a_zeroed_stream_may_be_released)
{
    struct stream s;

    memset(&s, 0, sizeof(s));
    stream_release(&s);
    stream_check(&s);
    ck_assert_int_eq(s.state, STREAM_IDLE);
}
END_TEST

START_TEST(a_second_finish_is_a_bug)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_HUB);
    ck_assert_int_eq(probe_open(&p, 1, 443), 0);
    stream_finish(&p.streams[0].stream);
    stream_finish(&p.streams[0].stream);
}
END_TEST

START_TEST(an_end_while_its_chunk_is_being_sent_is_a_bug)
{
    struct lane_probe p;
    const uint8_t *record;

    lane_probe_init(&p, LANE_HUB);
    ck_assert_int_eq(probe_open(&p, 1, 443), 0);
    probe_write(&p, 0, 10000);
    ck_assert_uint_gt(lane_next_record(&p.lane, p.now_ms, &record), 10000);
    stream_abort(&p.streams[0].stream, RESET_BY_PEER);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, resets_have_names);
    tcase_add_test(tc, bytes_are_counted_in_both_directions);
    tcase_add_test(tc, a_zeroed_stream_may_be_released);
    tcase_add_test_raise_signal(tc, a_second_finish_is_a_bug, SIGABRT);
    tcase_add_test_raise_signal(tc, an_end_while_its_chunk_is_being_sent_is_a_bug, SIGABRT);
    return suite_run("stream", tc);
}
