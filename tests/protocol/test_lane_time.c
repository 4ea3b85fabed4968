/* What a lane does by the clock and by its owner's word: PING and PONG, GOODBYE, CONFIG, credit at
 * rest. (api/tunnel.md: Dead paths; Exact rules: GOODBYE, PING, Credit.  DRAIN: test_lane_drain.c)
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "support/fake_net.h"
#include "support/lane_probe.h"
#include "support/suite.h"

/* --- PING and PONG -----------------------------------------------------------------------------
 */

static int pong(struct lane_probe *p, uint64_t serial)
{
    uint8_t body[8];

    for (unsigned i = 0; i < 8; i++)
        body[i] = (uint8_t)(serial >> (56 - 8 * i));
    return probe_send(p, 0, FRAME_PONG, body, sizeof(body));
}

START_TEST(the_hub_pings_every_15_s_and_measures)
{
    struct lane_probe p;
    struct probe_frame f;

    lane_probe_init(&p, LANE_HUB);
    ck_assert_uint_eq(lane_deadline(&p.lane), p.now_ms + 15000);
    ck_assert_int_eq(probe_wait(&p, 14999), 0);
    probe_expect_silence(&p);
    for (uint64_t serial = 1; serial <= 3; serial++) {
        ck_assert_int_eq(probe_wait(&p, serial == 1 ? 1 : 15000 - 70), 0);
        ck_assert(probe_next(&p, &f));
        ck_assert_uint_eq(f.type, FRAME_PING);
        ck_assert_uint_eq(f.payload[7], serial);
        ck_assert_uint_eq(lane_deadline(&p.lane), p.now_ms + 10000);
        ck_assert_int_eq(probe_wait(&p, 70), 0);
        ck_assert_int_eq(pong(&p, serial), 0);
        ck_assert_uint_eq(p.lane.beat.rtt_ms, 70);
        ck_assert_uint_eq(lane_deadline(&p.lane), p.now_ms + 15000 - 70);
    }
    lane_probe_fini(&p);
}
END_TEST

START_TEST(ten_seconds_without_pong_are_the_end)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_HUB);
    ck_assert_int_eq(probe_wait(&p, 15000), 0);
    probe_expect(&p, 0, FRAME_PING, 8);
    ck_assert_int_eq(pong(&p, 77), 0); /* some other bytes are no answer */
    ck_assert_int_eq(probe_wait(&p, 9999), 0);
    ck_assert_int_eq(probe_wait(&p, 1), -ERR_TIMEOUT);
    ck_assert_int_eq(p.lane.state, LANE_ENDED);
    ck_assert_int_eq(p.lane.error, -ERR_TIMEOUT);
    ck_assert(!lane_has_output(&p.lane)); /* there is nobody to say GOODBYE to */
    probe_expect_silence(&p);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(an_old_pong_does_not_count_for_the_new_ping)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_HUB);
    ck_assert_int_eq(probe_wait(&p, 15000), 0);
    ck_assert_int_eq(pong(&p, 1), 0);
    ck_assert_int_eq(probe_wait(&p, 15000), 0);
    ck_assert_int_eq(pong(&p, 1), 0);
    ck_assert_uint_ne(p.lane.beat.pong_due_ms, 0);
    ck_assert_int_eq(pong(&p, 2), 0);
    ck_assert_uint_eq(p.lane.beat.pong_due_ms, 0);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(the_edge_answers_the_newest_ping_only)
{
    struct lane_probe p;
    struct probe_frame f;

    lane_probe_init(&p, LANE_EDGE);
    for (unsigned i = 0; i < 100000; i++)
        ck_assert_int_eq(probe_send(&p, 0, FRAME_PING, i == 99999 ? "newest!!" : "some old", 8), 0);
    ck_assert(probe_next(&p, &f));
    ck_assert_uint_eq(f.type, FRAME_PONG);
    ck_assert_mem_eq(f.payload, "newest!!", 8);
    probe_expect_silence(&p);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(the_edge_gives_up_after_25_s_of_silence)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_EDGE);
    ck_assert_int_eq(probe_wait(&p, 24999), 0);
    ck_assert_int_eq(probe_send(&p, 0, FRAME_PING, "12345678", 8), 0);
    probe_expect(&p, 0, FRAME_PONG, 8);
    ck_assert_uint_eq(lane_deadline(&p.lane), p.now_ms + 25000);
    ck_assert_int_eq(probe_wait(&p, 24999), 0);
    ck_assert_int_eq(probe_send_text(&p, FRAME_CONFIG, "{}"), 0); /* nothing but PING counts */
    ck_assert_int_eq(probe_wait(&p, 1), -ERR_TIMEOUT);
    ck_assert(!lane_has_output(&p.lane));
    lane_probe_fini(&p);
}
END_TEST

START_TEST(a_quiet_lane_lives_and_a_silent_one_dies_on_both_sides)
{
    struct fake_net_options options = {.seed = 1, .delay_min_ms = 40, .delay_max_ms = 200};
    struct fake_net net;

    fake_net_init(&net, &options, NULL, 0);
    fake_net_run_for(&net, 50000);
    ck_assert_int_eq(net.side[TAP_EDGE].lane.state, LANE_OPEN);
    ck_assert_int_eq(net.side[TAP_HUB].lane.state, LANE_OPEN);
    ck_assert_uint_eq(net.tap.count[TAP_HUB][FRAME_PING], 3);
    ck_assert_uint_eq(net.tap.count[TAP_EDGE][FRAME_PONG], 3);
    ck_assert_uint_ge(net.side[TAP_HUB].lane.beat.rtt_ms, 80);
    ck_assert_uint_le(net.side[TAP_HUB].lane.beat.rtt_ms, 405);
    net.side[TAP_EDGE].is_deaf = net.side[TAP_HUB].is_deaf = true;
    fake_net_run_for(&net, 26000);
    ck_assert_int_eq(net.side[TAP_EDGE].tick_error, -ERR_TIMEOUT);
    ck_assert_int_eq(net.side[TAP_HUB].tick_error, -ERR_TIMEOUT);
    fake_net_fini(&net);
}
END_TEST

/* --- GOODBYE -----------------------------------------------------------------------------------
 */

START_TEST(goodbye_drops_all_that_waits)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_HUB);
    ck_assert_int_eq(probe_open(&p, 1, 443), 0);
    ck_assert_int_eq(probe_open(&p, 2, PROBE_REFUSED_PORT), 0);
    probe_write(&p, 0, 30000);
    lane_send_config(&p.lane, "{\"revision\":1}");
    lane_send_drain(&p.lane, 9, p.now_ms);
    ck_assert_int_eq(probe_wait(&p, 8000), 0);
    lane_send_goodbye(&p.lane, GOODBYE_REPLACED, "another instance", 3);
    lane_send_goodbye(&p.lane, GOODBYE_KICKED, "the first one counts", 0);
    probe_expect_goodbye(&p, "replaced");
    ck_assert_int_eq(p.lane.error, 0);
    lane_probe_fini(&p);
}
END_TEST

static char *long_text(size_t n)
{
    char *text = malloc(n + 1);

    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < n; i++)
        text[i] = (char)('a' + i % 26);
    text[n] = '\0';
    return text;
}

/* All that the lane has, in one piece of memory; free() it. */
static uint8_t *take_all(struct lane_probe *p, size_t *n)
{
    uint8_t *all = malloc(200000);
    const uint8_t *record;
    size_t part;

    ck_assert_ptr_nonnull(all);
    *n = 0;
    while ((part = lane_next_record(&p->lane, p->now_ms, &record)) > 0) {
        ck_assert_uint_le(*n + part, 200000);
        memcpy(all + *n, record, part);
        *n += part;
        lane_record_done(&p->lane);
        if (*n == LANE_RECORD_BYTES) { /* behind the first record, CONFIG half out */
            lane_send_goodbye(&p->lane, GOODBYE_OVERLOADED, "so much to do", 60);
            probe_write(p, 0, 3000);
            stream_abort(&p->streams[1].stream, RESET_BY_PEER);
            lane_send_drain(&p->lane, 5, p->now_ms);
            lane_send_config(&p->lane, "{}");
            ck_assert_int_eq(probe_wait(p, 15000), 0); /* a PING is due as well */
        }
    }
    ck_assert(!lane_has_output(&p->lane));
    return all;
}

/* A CONFIG is under way when GOODBYE comes: it is finished, GOODBYE follows, wherever the records
 * are cut, and nothing comes behind it. */
START_TEST(goodbye_is_last_wherever_the_records_are_cut)
{
    for (size_t extra = 0; extra < 400; extra += 3) {
        struct lane_probe p;
        char *text = long_text(2 * LANE_RECORD_BYTES - FRAME_HEADER_BYTES - 200 + extra);
        struct frame f = {0};
        uint8_t *all;
        size_t n, at;

        lane_probe_init(&p, LANE_HUB);
        ck_assert_int_eq(probe_open(&p, 1, 443), 0);
        ck_assert_int_eq(probe_open(&p, 2, 443), 0);
        lane_send_config(&p.lane, text);
        all = take_all(&p, &n);
        ck_assert_int_eq(frame_parse(&f, all, n), FRAME_HEADER_BYTES);
        ck_assert_uint_eq(f.type, FRAME_CONFIG);
        ck_assert_uint_eq(f.len, strlen(text));
        ck_assert_mem_eq(all + FRAME_HEADER_BYTES, text, f.len);
        at = FRAME_HEADER_BYTES + f.len;
        ck_assert_int_eq(frame_parse(&f, all + at, n - at), FRAME_HEADER_BYTES);
        ck_assert_uint_eq(f.type, FRAME_GOODBYE);
        ck_assert_uint_eq(n, at + FRAME_HEADER_BYTES + f.len);
        free(text);
        free(all);
        lane_probe_fini(&p);
    }
}
END_TEST

/* --- CONFIG ------------------------------------------------------------------------------------
 */

START_TEST(the_newest_config_replaces_one_that_waits)
{
    struct lane_probe p;
    struct probe_frame f;

    lane_probe_init(&p, LANE_HUB);
    for (unsigned i = 0; i < 1000; i++)
        lane_send_config(&p.lane, i == 999 ? "{\"revision\":999}" : "{\"revision\":1}");
    ck_assert(probe_next(&p, &f));
    ck_assert_uint_eq(f.type, FRAME_CONFIG);
    ck_assert_mem_eq(f.payload, "{\"revision\":999}", f.len);
    probe_expect_silence(&p);
    lane_probe_fini(&p);

    lane_probe_init(&p, LANE_EDGE);
    lane_send_config(&p.lane, "{}");
    probe_expect(&p, 0, FRAME_CONFIG_ACK, 2);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(a_long_config_goes_through_with_streams_around_it)
{
    struct fake_plan plans[3];
    struct fake_net_options options = {
        .seed = 8, .delay_max_ms = 5, .piece_max = 2000, .rate = 4000};
    struct fake_net net;
    char *first = long_text(60000), *second = long_text(FRAME_PAYLOAD_MAX);

    for (unsigned i = 0; i < ARRAY_LEN(plans); i++)
        plans[i] = (struct fake_plan){
            .client = {.bytes = 30000, .write_max = FAKE_FAST, .read_max = FAKE_FAST},
            .target = {.bytes = 60000, .write_max = FAKE_FAST, .read_max = FAKE_FAST}};
    fake_net_init(&net, &options, plans, ARRAY_LEN(plans));
    lane_send_config(&net.side[TAP_HUB].lane, first);
    fake_net_step(&net); /* the first one is being sent: it is finished, the other follows */
    lane_send_config(&net.side[TAP_HUB].lane, second);
    fake_net_run(&net, 3000);
    for (unsigned i = 0; i < ARRAY_LEN(plans); i++)
        ck_assert(fake_pair_is_exact(&net.pairs[i]));
    ck_assert_uint_eq(net.side[TAP_EDGE].control_count, 2);
    ck_assert_str_eq(net.side[TAP_EDGE].control, second);
    fake_net_fini(&net);
    free(first);
    free(second);
}
END_TEST

/* --- credit by the clock -----------------------------------------------------------------------
 */

static uint32_t credit_of(const struct probe_frame *f)
{
    return (uint32_t)f->payload[0] << 24 | (uint32_t)f->payload[1] << 16 |
           (uint32_t)f->payload[2] << 8 | f->payload[3];
}

START_TEST(credit_returns_at_a_quarter_or_when_the_stream_has_come_to_rest)
{
    struct lane_probe p;
    struct probe_frame f;
    uint64_t ping_ms;

    lane_probe_init(&p, LANE_HUB);
    ping_ms = lane_deadline(&p.lane);
    ck_assert_int_eq(probe_open(&p, 1, 443), 0);
    ck_assert_int_eq(probe_data(&p, 1, 21000), 0);
    probe_read(&p, 0, 16383);
    probe_expect_silence(&p);
    ck_assert_uint_eq(lane_deadline(&p.lane), ping_ms); /* not empty: no rest */
    probe_read(&p, 0, 1);
    probe_expect(&p, 1, FRAME_WINDOW_UPDATE_BACK, 4); /* a quarter of 64 KiB */
    probe_read(&p, 0, 4616);                          /* empty */
    ck_assert_uint_eq(lane_deadline(&p.lane), p.now_ms + LANE_REST_MS);
    ck_assert_int_eq(probe_wait(&p, LANE_REST_MS - 1), 0);
    probe_expect_silence(&p);
    ck_assert_int_eq(probe_wait(&p, 1), 0);
    ck_assert(probe_next(&p, &f));
    ck_assert_uint_eq(f.type, FRAME_WINDOW_UPDATE_BACK);
    ck_assert_uint_eq(credit_of(&f), 4616);
    ck_assert_uint_eq(p.streams[0].stream.window.granted, 21000 + 65536); /* its whole window */
    ck_assert_uint_eq(lane_deadline(&p.lane), ping_ms);
    lane_probe_fini(&p);
}
END_TEST

/* Many streams come to rest at different times: each in its own time, in order. */
START_TEST(streams_come_to_rest_one_by_one)
{
    enum { N = 20, AGAIN = 5, FINISHED = 7, GONE = 9 };
    struct lane_probe p;
    uint64_t due_ms[N + 1];

    lane_probe_init(&p, LANE_HUB);
    for (uint32_t id = 1; id <= N; id++)
        ck_assert_int_eq(probe_open(&p, id, 443), 0);
    for (uint32_t id = 1; id <= N; id++) {
        ck_assert_int_eq(probe_data(&p, id, 5000 + id), 0);
        probe_read(&p, id - 1, 5000 + id);
        due_ms[id] = p.now_ms + LANE_REST_MS;
        ck_assert_int_eq(probe_wait(&p, 3), 0);
    }
    ck_assert_int_eq(probe_data(&p, AGAIN, 7), 0); /* its rest begins anew */
    probe_read(&p, AGAIN - 1, 7);
    due_ms[AGAIN] = p.now_ms + LANE_REST_MS;
    ck_assert_int_eq(probe_close(&p, FINISHED, 0), 0); /* needs no credit any more */
    ck_assert_int_eq(probe_close(&p, GONE, 1), 0);
    for (uint32_t id = 1; id <= N; id++) {
        if (id == AGAIN || id == GONE)
            continue;
        ck_assert_uint_eq(lane_deadline(&p.lane), due_ms[id]);
        ck_assert_int_eq(probe_wait(&p, due_ms[id] - p.now_ms), 0);
        if (id != FINISHED)
            probe_expect(&p, id, FRAME_WINDOW_UPDATE_BACK, 4);
        probe_expect_silence(&p);
    }
    ck_assert_uint_eq(lane_deadline(&p.lane), due_ms[AGAIN]);
    ck_assert_int_eq(probe_wait(&p, due_ms[AGAIN] - p.now_ms), 0);
    probe_expect(&p, AGAIN, FRAME_WINDOW_UPDATE_BACK, 4);
    lane_probe_fini(&p);
}
END_TEST

/* A hub with streams 1 and 2; `n` bytes came by the first and were taken.  The deadline before. */
static uint64_t rest_after(struct lane_probe *p, size_t n)
{
    uint64_t ping_ms;

    lane_probe_init(p, LANE_HUB);
    ping_ms = lane_deadline(&p->lane);
    ck_assert_int_eq(probe_open(p, 1, 443), 0);
    ck_assert_int_eq(probe_open(p, 2, 443), 0);
    ck_assert_int_eq(probe_data(p, 1, n), 0);
    probe_read(p, 0, n);
    probe_expect_silence(p);
    return ping_ms;
}

/* Credit goes with data of any stream, behind it; by itself only after a while. */
START_TEST(credit_of_a_resting_stream_rides_on_data)
{
    struct lane_probe p;
    uint64_t ping_ms = rest_after(&p, 5000);

    probe_write(&p, 1, 10);
    probe_expect(&p, 2, FRAME_DATA_BACK, 10);
    probe_expect(&p, 1, FRAME_WINDOW_UPDATE_BACK, 4);
    probe_expect_silence(&p);
    ck_assert_uint_eq(p.streams[0].stream.window.granted, 5000 + 65536);
    ck_assert_uint_eq(lane_deadline(&p.lane), ping_ms);
    lane_probe_fini(&p);
}
END_TEST

/* For less than a sixteenth of the window there is no timer and no frame. */
START_TEST(little_credit_is_kept)
{
    struct lane_probe p;
    uint64_t ping_ms = rest_after(&p, 4095);

    ck_assert_uint_eq(lane_deadline(&p.lane), ping_ms);
    ck_assert_int_eq(probe_wait(&p, 2 * LANE_REST_MS), 0);
    probe_write(&p, 1, 10);
    probe_expect(&p, 2, FRAME_DATA_BACK, 10);
    probe_expect_silence(&p);
    ck_assert_int_eq(probe_data(&p, 1, 1), 0); /* but it adds up */
    probe_read(&p, 0, 1);
    ck_assert_uint_eq(lane_deadline(&p.lane), p.now_ms + LANE_REST_MS);
    ck_assert_int_eq(probe_wait(&p, LANE_REST_MS), 0);
    probe_expect(&p, 1, FRAME_WINDOW_UPDATE_BACK, 4);
    lane_probe_fini(&p);
}
END_TEST

/* Credit of a stream is one sum, however often it is returned before it is sent. */
START_TEST(credit_that_waits_is_one_frame)
{
    struct lane_probe p;
    struct probe_frame f;

    lane_probe_init(&p, LANE_EDGE);
    probe_dial(&p);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(probe_data(&p, 1, 20000), 0);
        probe_read(&p, 0, 20000);
    }
    ck_assert(probe_next(&p, &f));
    ck_assert_uint_eq(f.type, FRAME_WINDOW_UPDATE);
    ck_assert_uint_eq(credit_of(&f), 60000);
    probe_expect_silence(&p);
    lane_probe_fini(&p);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, the_hub_pings_every_15_s_and_measures);
    tcase_add_test(tc, ten_seconds_without_pong_are_the_end);
    tcase_add_test(tc, an_old_pong_does_not_count_for_the_new_ping);
    tcase_add_test(tc, the_edge_answers_the_newest_ping_only);
    tcase_add_test(tc, the_edge_gives_up_after_25_s_of_silence);
    tcase_add_test(tc, a_quiet_lane_lives_and_a_silent_one_dies_on_both_sides);
    tcase_add_test(tc, goodbye_drops_all_that_waits);
    tcase_add_test(tc, goodbye_is_last_wherever_the_records_are_cut);
    tcase_add_test(tc, the_newest_config_replaces_one_that_waits);
    tcase_add_test(tc, a_long_config_goes_through_with_streams_around_it);
    tcase_add_test(tc, credit_returns_at_a_quarter_or_when_the_stream_has_come_to_rest);
    tcase_add_test(tc, streams_come_to_rest_one_by_one);
    tcase_add_test(tc, credit_of_a_resting_stream_rides_on_data);
    tcase_add_test(tc, little_credit_is_kept);
    tcase_add_test(tc, credit_that_waits_is_one_frame);
    return suite_run("lane time", tc);
}
