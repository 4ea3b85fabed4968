/* Frames into records: whatever is in the record already, a frame goes in whole, or (CONFIG, DRAIN,
 * GOODBYE) goes on in the next one; none is lost, none is cut, and the order stands.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "support/lane_probe.h"
#include "support/suite.h"

static char *long_text(size_t n)
{
    char *text = malloc(n + 1);

    ck_assert_ptr_nonnull(text);
    memset(text, 'c', n);
    text[n] = '\0';
    return text;
}

/* Sends a CONFIG that fills the first record and all of the second but `room` bytes; the first
 * record is taken out. */
static void leave_room(struct lane_probe *p, size_t room)
{
    char *text = long_text(2 * LANE_RECORD_BYTES - FRAME_HEADER_BYTES - room);
    const uint8_t *record;

    lane_send_config(&p->lane, text);
    ck_assert_uint_eq(lane_next_record(&p->lane, p->now_ms, &record), LANE_RECORD_BYTES);
    lane_record_done(&p->lane);
    ck_assert(lane_has_output(&p->lane)); /* the rest of it, if nothing else */
    free(text);
}

/* The rest of the CONFIG, without looking at it: it has no header of its own any more. */
static void skip_config(struct lane_probe *p, size_t room)
{
    const uint8_t *record;
    size_t n = lane_next_record(&p->lane, p->now_ms, &record), rest = LANE_RECORD_BYTES - room;

    ck_assert_uint_ge(n, rest);
    ck_assert_uint_eq(p->out_at, p->out_len);
    free(p->out);
    p->out_at = 0;
    p->out = malloc(n - rest + 1);
    ck_assert_ptr_nonnull(p->out);
    memcpy(p->out, record + rest, n - rest);
    p->out_len = n - rest;
    lane_record_done(&p->lane);
}

START_TEST(a_hub_puts_everything_behind_a_long_config)
{
    for (size_t room = 0; room < 120; room++) {
        struct lane_probe p;

        lane_probe_init(&p, LANE_HUB);
        for (uint32_t id = 1; id <= 5; id++)
            ck_assert_int_eq(probe_open(&p, id, 443), 0);
        leave_room(&p, room);
        for (uint32_t id = 1; id <= 2; id++) {
            ck_assert_int_eq(probe_data(&p, id, 20000), 0);
            probe_read(&p, id - 1, 20000);
        }
        stream_abort(&p.streams[2].stream, RESET_UNREACHABLE);
        stream_abort(&p.streams[3].stream, RESET_BY_PEER);
        probe_write(&p, 0, 10);
        stream_finish(&p.streams[1].stream);
        stream_finish(&p.streams[4].stream);
        lane_send_drain(&p.lane, 77, p.now_ms);
        lane_send_config(&p.lane, "{}");
        ck_assert_int_eq(probe_wait(&p, 15000), 0);
        skip_config(&p, room);
        probe_expect(&p, 0, FRAME_PING, 8);
        probe_expect(&p, 1, FRAME_WINDOW_UPDATE_BACK, 4);
        probe_expect(&p, 2, FRAME_WINDOW_UPDATE_BACK, 4);
        probe_expect(&p, 3, FRAME_CLOSE_BACK, 1);
        probe_expect(&p, 4, FRAME_CLOSE_BACK, 1);
        probe_expect(&p, 0, FRAME_CONFIG, 2);
        probe_expect(&p, 0, FRAME_DRAIN, 19);
        probe_expect(&p, 1, FRAME_DATA_BACK, 10);
        probe_expect(&p, 2, FRAME_CLOSE_BACK, 0);
        probe_expect(&p, 5, FRAME_CLOSE_BACK, 0);
        probe_expect_silence(&p);
        lane_probe_fini(&p);
    }
}
END_TEST

START_TEST(an_edge_puts_everything_behind_a_long_ack)
{
    for (size_t room = 0; room < 150; room++) {
        struct lane_probe p;

        lane_probe_init(&p, LANE_EDGE);
        probe_dial(&p);
        leave_room(&p, room);
        ck_assert_int_eq(probe_data(&p, 1, 30000), 0);
        probe_read(&p, 0, 30000);
        probe_ask(&p);
        probe_ask(&p);
        probe_write(&p, 1, 5000); /* a record of its own */
        probe_write(&p, 2, 10);
        ck_assert_int_eq(probe_send(&p, 0, FRAME_PING, "12345678", 8), 0);
        skip_config(&p, room);
        probe_expect(&p, 0, FRAME_PONG, 8);
        probe_expect(&p, 1, FRAME_WINDOW_UPDATE, 4);
        probe_expect(&p, 2, FRAME_OPEN, 42);
        probe_expect(&p, 3, FRAME_OPEN, 42);
        probe_expect(&p, 2, FRAME_DATA, 5000);
        probe_expect(&p, 3, FRAME_DATA, 10);
        probe_expect_silence(&p);
        lane_probe_fini(&p);
    }
}
END_TEST

/* Far more control than a record holds, of each kind. */
START_TEST(control_goes_on_over_many_records)
{
    enum { N = 5000 };
    struct lane_probe p;

    lane_probe_init(&p, LANE_HUB);
    for (uint32_t id = 1; id <= N; id++)
        ck_assert_int_eq(probe_open(&p, id, PROBE_REFUSED_PORT), 0);
    for (uint32_t id = 1; id <= N; id++)
        probe_expect(&p, id, FRAME_CLOSE_BACK, 1);
    probe_expect_silence(&p);
    ck_assert_uint_eq(p.lane.stats.records_out,
                      (N * 10 + LANE_RECORD_BYTES - 1) / LANE_RECORD_BYTES);
    lane_probe_fini(&p);
}
END_TEST

/* Pieces of every size around the one from which a record is a stream's own. */
START_TEST(every_size_of_data_comes_out_whole)
{
    static const size_t sizes[] = {1,     4095,  4096,  4097,  16366, 16374, 16375,
                                   16376, 20470, 20471, 20472, 32750, 32751, 65536};

    for (unsigned i = 0; i < ARRAY_LEN(sizes) * 2; i++) {
        struct lane_probe p;
        struct probe_frame f;
        size_t sum = 0;

        lane_probe_init(&p, LANE_HUB);
        ck_assert_int_eq(probe_open(&p, 1, 443), 0);
        ck_assert_int_eq(probe_open(&p, 2, 443), 0);
        if (i & 1)
            probe_write(&p, 1, 333); /* something small is in the record before it */
        probe_write(&p, 0, sizes[i / 2]);
        while (probe_next(&p, &f)) {
            ck_assert_uint_le(f.len, SCHED_TURN_BYTES);
            for (uint32_t k = 0; k < f.len; k++)
                ck_assert_uint_eq(f.payload[k], 'y');
            sum += f.stream == 1 ? f.len : 0;
        }
        ck_assert_uint_eq(sum, sizes[i / 2]);
        ck_assert_uint_eq(stream_bytes_out(&p.streams[0].stream), sizes[i / 2]);
        ck_assert_uint_eq(p.lane.stats.bytes_to_clients, sizes[i / 2] + (i & 1 ? 333 : 0));
        ck_assert_uint_le(p.record_max, LANE_RECORD_BYTES);
        lane_probe_fini(&p);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, a_hub_puts_everything_behind_a_long_config);
    tcase_add_test(tc, an_edge_puts_everything_behind_a_long_ack);
    tcase_add_test(tc, control_goes_on_over_many_records);
    tcase_add_test(tc, every_size_of_data_comes_out_whole);
    return suite_run("lane records", tc);
}
