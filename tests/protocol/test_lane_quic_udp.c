/* UDP sessions of a lane on QUIC: DATAGRAM frames, side streams, what comes too early.  (One end of
 * a lane; the test is the connection.) */
#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "support/lane_probe.h"
#include "tunnel/lane_quic.h"
#include "wire/channel.h"

#define PORT 53

static struct lane_probe p;

static void hub_up(void)
{
    lane_probe_init_quic(&p, LANE_HUB);
}

static void edge_up(void)
{
    lane_probe_init_quic(&p, LANE_EDGE);
}

static void down(void)
{
    lane_probe_fini(&p);
}

/* UDP_OPEN on the control stream. */
static void open_session(uint32_t id, uint16_t port)
{
    uint8_t bytes[CHANNEL_HEADER_MAX + PROXY_V2_EMIT_MAX];
    struct sockaddr_in client = {.sin_family = AF_INET, .sin_port = htons(40000)};
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct proxy_header header;
    uint8_t body[PROXY_V2_EMIT_MAX];
    size_t n, at;

    client.sin_addr.s_addr = htonl(0xc0000201);
    server.sin_addr.s_addr = htonl(0xc0000209);
    proxy_header_set(&header, PROXY_DGRAM, (struct sockaddr *)&client, (struct sockaddr *)&server);
    n = proxy_emit_v2(body, &header);
    at = channel_emit(bytes, id, FRAME_UDP_OPEN, (uint32_t)n);
    memcpy(bytes + at, body, n);
    ck_assert_int_eq(lane_input(&p.lane, bytes, at + n, p.now_ms), 0);
    lane_check(&p.lane);
}

static void datagram(uint32_t id, const char *text)
{
    uint8_t bytes[64] = {0, 0, 0, (uint8_t)id};
    size_t n = strlen(text);

    memcpy(bytes + 4, text, n);
    lane_quic_datagram(&p.lane, bytes, 4 + n, p.now_ms);
    lane_check(&p.lane);
}

static uint64_t dropped(enum udp_drop why)
{
    return p.lane.stats.udp.dropped[why];
}

/* --- coming in --- */

START_TEST(a_datagram_reaches_its_session)
{
    hub_up();
    open_session(1, PORT);
    open_session(7, PORT);
    datagram(7, "seven");
    datagram(1, "one");
    datagram(1, "");
    ck_assert_uint_eq(p.udp[0].datagrams, 2);
    ck_assert_uint_eq(p.udp[0].bytes, 3);
    ck_assert_uint_eq(p.udp[1].datagrams, 1);
    ck_assert_mem_eq(p.udp[1].newest, "seven", 5);
    datagram(3, "a number that was passed over");
    ck_assert_uint_eq(dropped(UDP_DROP_CLOSED), 1);
    lane_quic_datagram(&p.lane, (const uint8_t *)"abc", 3, p.now_ms);
    ck_assert_uint_eq(dropped(UDP_DROP_TRUNCATED), 1);
    ck_assert_uint_eq(p.lane.stats.udp.datagrams_from_clients, 3);
    down();
}
END_TEST

START_TEST(one_that_overtook_its_open_waits_for_it)
{
    hub_up();
    datagram(1, "early");
    datagram(2, "too");
    datagram(1, "birds");
    open_session(1, PORT);
    ck_assert_uint_eq(p.udp[0].datagrams, 2);
    ck_assert_mem_eq(p.udp[0].newest, "birds", 5);
    ck_assert_int_eq(probe_wait(&p, LANE_EARLY_MS), 0);
    ck_assert_uint_eq(dropped(UDP_DROP_CLOSED), 1);
    open_session(2, PORT);
    ck_assert_uint_eq(p.udp[1].datagrams, 0);
    down();
}
END_TEST

START_TEST(early_ones_of_a_refused_session_are_dropped)
{
    hub_up();
    datagram(1, "x");
    open_session(1, PROBE_REFUSED_PORT);
    ck_assert_int_eq(probe_wait(&p, LANE_EARLY_MS), 0);
    ck_assert_uint_eq(dropped(UDP_DROP_CLOSED), 1);
    down();
}
END_TEST

START_TEST(early_ones_are_bounded_by_sessions_and_bytes)
{
    uint8_t *large = calloc(1, 4 + 60000);

    hub_up();
    for (uint32_t id = 1; id <= LANE_EARLY_SESSIONS + 3; id++)
        datagram(id, "x");
    ck_assert_uint_eq(dropped(UDP_DROP_NO_MEMORY), 3);
    for (unsigned i = 0; i < 30; i++) {
        large[3] = 1;
        lane_quic_datagram(&p.lane, large, 4 + 60000, p.now_ms);
    }
    /* 17 of 60,000 bytes fit into what is left of 1 MiB */
    ck_assert_uint_eq(dropped(UDP_DROP_NO_MEMORY), 3 + 13);
    open_session(1, PORT);
    ck_assert_uint_eq(p.udp[0].datagrams, 18);
    free(large);
    down();
}
END_TEST

START_TEST(empty_early_ones_are_bounded_too)
{
    const unsigned more_than_fit = LANE_EARLY_BYTES / 64;

    hub_up();
    for (unsigned i = 0; i < more_than_fit; i++)
        lane_quic_datagram(&p.lane, (const uint8_t[]){0, 0, 0, 1}, 4, p.now_ms);
    ck_assert_uint_gt(dropped(UDP_DROP_NO_MEMORY), more_than_fit / 2);
    open_session(1, PORT);
    ck_assert_uint_eq(p.udp[0].datagrams, more_than_fit - dropped(UDP_DROP_NO_MEMORY));
    down();
}
END_TEST

static void fill_again_and_again(unsigned rounds)
{
    enum { FIT = LANE_EARLY_BYTES / 256, LAST = LANE_EARLY_SESSIONS - 1 };

    hub_up();
    for (unsigned round = 0; round < rounds; round++) {
        ck_assert_int_eq(probe_wait(&p, LANE_EARLY_MS), 0);
        for (unsigned i = 0; i < FIT; i++)
            lane_quic_datagram(&p.lane, (const uint8_t[]){0, 0, 0, (uint8_t)(1 + i % LAST)}, 4,
                               p.now_ms);
    }
    ck_assert_uint_eq(dropped(UDP_DROP_CLOSED), FIT * (rounds - 1));
    ck_assert_uint_eq(dropped(UDP_DROP_NO_MEMORY), 0);
    for (unsigned i = 0; i < LAST; i++) {
        open_session(i + 1, PORT);
        ck_assert_uint_eq(p.udp[i].datagrams, FIT / LAST + (i < FIT % LAST));
    }
    ck_assert_uint_eq(atomic_load(&p.budget.udp.taken), 0);
    down();
}

/* Those that are kept are not looked through for each that comes: that would be minutes here. */
START_TEST(early_ones_of_many_sessions_are_no_work)
{
    for (unsigned i = 0; i < 8; i++)
        fill_again_and_again(32); /* no more: nobody answers its PING */
}
END_TEST

/* A place is free again when the last of a session is delivered or too old. */
START_TEST(sessions_of_early_ones_come_and_go)
{
    uint64_t closed;

    hub_up();
    for (unsigned round = 0; round < 3; round++) {
        uint64_t refused = dropped(UDP_DROP_NO_MEMORY);
        uint32_t first = 1 + round * LANE_EARLY_SESSIONS;

        for (uint32_t id = first; id < first + LANE_EARLY_SESSIONS; id++) {
            datagram(id, "a");
            datagram(id, "b");
        }
        ck_assert_uint_eq(dropped(UDP_DROP_NO_MEMORY), refused);
        datagram(first + LANE_EARLY_SESSIONS, "c");
        ck_assert_uint_eq(dropped(UDP_DROP_NO_MEMORY), refused + 1);
        closed = dropped(UDP_DROP_CLOSED);
        ck_assert_int_eq(probe_wait(&p, LANE_EARLY_MS), 0);
        ck_assert_uint_eq(dropped(UDP_DROP_CLOSED), closed + 2 * LANE_EARLY_SESSIONS);
    }
    datagram(250, "x");
    datagram(251, "y");
    open_session(250, PORT);
    ck_assert_uint_eq(p.udp[0].datagrams, 1);
    open_session(251, PORT);
    ck_assert_uint_eq(p.udp[1].datagrams, 1);
    ck_assert_mem_eq(p.udp[1].newest, "y", 1);
    down();
}
END_TEST

/* A record of `n` bytes on a side stream, cut into pieces. */
static int side(struct udp_side_in **kept, bool with_id, uint8_t id, size_t n, size_t cut)
{
    uint8_t *bytes = calloc(1, 6 + n);
    size_t at = 0, len, done = 0;
    int err = 0;

    if (with_id) {
        bytes[3] = id;
        at = 4;
    }
    bytes[at] = (uint8_t)(n >> 8);
    bytes[at + 1] = (uint8_t)n;
    memset(bytes + at + 2, 's', n);
    len = at + 2 + n;
    while (!err && done < len) {
        size_t part = MIN(cut, len - done);

        err = lane_quic_side_data(&p.lane, kept, bytes + done, part, p.now_ms);
        done += part;
    }
    free(bytes);
    return err;
}

START_TEST(long_ones_come_on_a_side_stream)
{
    static const size_t cuts[] = {1, 2, 3, 5, 7, 1200, 70000};
    static const size_t sizes[] = {0, 1, 1500, 65507};

    for (unsigned c = 0; c < ARRAY_LEN(cuts); c++) {
        struct udp_side_in *kept = NULL;
        uint64_t bytes = 0;

        hub_up();
        open_session(1, PORT);
        for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
            ck_assert_int_eq(side(&kept, i == 0, 1, sizes[i], cuts[c]), 0);
            bytes += sizes[i];
            ck_assert_uint_eq(p.udp[0].datagrams, i + 1);
            ck_assert_uint_eq(p.udp[0].newest_len, sizes[i]);
        }
        ck_assert_uint_eq(p.udp[0].bytes, bytes);
        lane_quic_side_closed(&p.lane, kept);
        down();
    }
}
END_TEST

START_TEST(one_that_is_too_long_even_there_is_dropped)
{
    struct udp_side_in *kept = NULL;

    hub_up();
    open_session(1, PORT);
    ck_assert_int_eq(side(&kept, true, 1, 65508, 4000), 0);
    ck_assert_uint_eq(dropped(UDP_DROP_TOO_BIG), 1);
    ck_assert_int_eq(side(&kept, false, 1, 9, 4000), 0);
    ck_assert_uint_eq(p.udp[0].datagrams, 1);
    down(); /* the lane gives the stream's memory back itself */
}
END_TEST

START_TEST(side_streams_are_bounded)
{
    struct udp_side_in *kept[LANE_SIDES_MAX + 1] = {NULL};

    hub_up();
    for (unsigned i = 0; i < LANE_SIDES_MAX; i++)
        ck_assert_int_eq(side(&kept[i], true, 1, 10, 3), 0);
    ck_assert_int_eq(side(&kept[LANE_SIDES_MAX], true, 1, 10, 3), -ERR_PROTO);
    down();
}
END_TEST

START_TEST(one_without_memory_is_passed_over)
{
    struct udp_side_in *kept = NULL;

    hub_up();
    open_session(1, PORT);
    ck_assert_int_eq(side(&kept, true, 1, 100, 4000), 0);
    p.budget.udp.limit_bytes = 2 * CHUNK_BYTES;
    ck_assert_int_eq(side(&kept, false, 1, 65507, 4000), 0);
    ck_assert_uint_eq(dropped(UDP_DROP_NO_MEMORY), 1);
    ck_assert_uint_eq(atomic_load(&p.budget.udp.taken), 0);
    ck_assert_uint_gt(atomic_load(&p.budget.udp.denied), 0);
    ck_assert_int_eq(side(&kept, false, 1, 9, 3), 0); /* the next one is found */
    ck_assert_uint_eq(p.udp[0].datagrams, 2);
    ck_assert_uint_eq(p.udp[0].newest_len, 9);
    p.pool.cap = p.pool.out_count + p.pool.free_count + 1; /* the same of the pool */
    p.budget.udp.limit_bytes = 64u << 20;
    ck_assert_uint_le(p.pool.free_count, 2); /* 60,000 bytes are four chunks */
    ck_assert_int_eq(side(&kept, false, 1, 60000, 4000), 0);
    ck_assert_uint_eq(dropped(UDP_DROP_NO_MEMORY), 2);
    p.pool.cap = 0;
    ck_assert_int_eq(side(&kept, false, 1, 10, 4000), 0);
    ck_assert_uint_eq(p.udp[0].newest_len, 10);
    down();
}
END_TEST

START_TEST(what_waits_of_a_side_stream_is_charged)
{
    uint8_t half[5000] = {0, 0, 0, 1, 0xff, 0};
    struct udp_side_in *kept = NULL;

    hub_up();
    open_session(1, PORT);
    ck_assert_int_eq(lane_quic_side_data(&p.lane, &kept, half, sizeof(half), p.now_ms), 0);
    ck_assert_uint_eq(atomic_load(&p.budget.udp.taken), CHUNK_BYTES);
    datagram(7, "early");
    ck_assert_uint_gt(atomic_load(&p.budget.udp.taken), CHUNK_BYTES);
    lane_quic_side_closed(&p.lane, kept);
    ck_assert_uint_lt(atomic_load(&p.budget.udp.taken), CHUNK_BYTES);
    ck_assert_int_eq(probe_wait(&p, LANE_EARLY_MS + 1), 0);
    ck_assert_uint_eq(atomic_load(&p.budget.udp.taken), 0);
    down();
}
END_TEST

/* --- going out --- */

static void take_opens(void)
{
    const uint8_t *record;

    while (lane_next_record(&p.lane, p.now_ms, &record) > 0)
        lane_record_done(&p.lane);
}

START_TEST(datagrams_go_out_with_their_id)
{
    struct lane_quic_datagram d;
    unsigned a, b;

    edge_up();
    a = probe_udp_ask(&p);
    b = probe_udp_ask(&p);
    ck_assert(lane_has_output(&p.lane));
    take_opens();
    udp_session_send(&p.udp[a].session, "hello", 5, p.now_ms);
    udp_session_send(&p.udp[b].session, "", 0, p.now_ms);
    ck_assert(lane_quic_pick_datagram(&p.lane, p.now_ms, 1200, false, &d));
    ck_assert_ptr_eq(d.session, &p.udp[a].session);
    lane_quic_datagram_done(&p.lane, &d, DATAGRAM_LATER, p.now_ms);
    ck_assert(lane_quic_pick_datagram(&p.lane, p.now_ms, 1200, false, &d));
    ck_assert_ptr_eq(d.session, &p.udp[a].session); /* it is the next one again */
    ck_assert_uint_eq(d.count, 2);
    ck_assert_mem_eq(d.pieces[0].iov_base, "\0\0\0\1", 4);
    ck_assert_mem_eq(d.pieces[1].iov_base, "hello", 5);
    lane_quic_datagram_done(&p.lane, &d, DATAGRAM_SENT, p.now_ms);
    ck_assert(lane_quic_pick_datagram(&p.lane, p.now_ms, 1200, false, &d));
    ck_assert_ptr_eq(d.session, &p.udp[b].session);
    ck_assert_uint_eq(d.count, 1);
    lane_quic_datagram_done(&p.lane, &d, DATAGRAM_TOO_BIG, p.now_ms);
    ck_assert_uint_eq(dropped(UDP_DROP_TOO_BIG), 1);
    ck_assert(!lane_quic_pick_datagram(&p.lane, p.now_ms, 1200, false, &d));
    ck_assert_uint_eq(p.lane.stats.udp.datagrams_from_clients, 1);
    down();
}
END_TEST

START_TEST(age_is_no_reason_on_quic)
{
    struct lane_quic_datagram d;
    unsigned a;

    edge_up();
    a = probe_udp_ask(&p);
    take_opens();
    udp_session_send(&p.udp[a].session, "old", 3, p.now_ms);
    ck_assert_int_eq(probe_wait(&p, 5000), 0);
    ck_assert(lane_quic_pick_datagram(&p.lane, p.now_ms, 1200, false, &d));
    lane_quic_datagram_done(&p.lane, &d, DATAGRAM_SENT, p.now_ms);
    down();
}
END_TEST

static void on_change(struct stream *s)
{
    (void)s;
}

START_TEST(they_do_not_wait_for_streams_that_are_blocked)
{
    static const struct proxy_header client = {
        .family = PROXY_INET, .transport = PROXY_STREAM, .dst_port = 443};
    struct lane_quic_datagram d;
    struct stream s;
    unsigned a;

    edge_up();
    a = probe_udp_ask(&p);
    take_opens();
    stream_init(&s, on_change);
    ck_assert_int_eq(lane_quic_open(&p.lane, &s, 1, &client, p.now_ms), 0); /* its line waits */
    udp_session_send(&p.udp[a].session, "dns", 3, p.now_ms);
    ck_assert(!lane_quic_pick_datagram(&p.lane, p.now_ms, 1200, false, &d)); /* the stream's turn */
    ck_assert(lane_quic_pick_datagram(&p.lane, p.now_ms, 1200, true, &d));
    ck_assert_ptr_eq(d.session, &p.udp[a].session);
    lane_quic_datagram_done(&p.lane, &d, DATAGRAM_SENT, p.now_ms);
    stream_release(&s);
    down();
}
END_TEST

static size_t take_side(int64_t want_stream, uint8_t *out, size_t max)
{
    struct iovec pieces[8];
    size_t count, n = 0;
    int64_t stream;
    struct udp_side *s;

    while ((s = lane_quic_pick_side(&p.lane, &stream, pieces, 8, &count))) {
        size_t part = MIN(pieces[0].iov_len, (size_t)1100);

        ck_assert_int_eq(stream, want_stream);
        ck_assert_uint_le(n + part, max);
        memcpy(out + n, pieces[0].iov_base, part);
        n += part;
        lane_quic_side_written(&p.lane, s, part);
    }
    return n;
}

START_TEST(long_ones_go_out_on_a_side_stream)
{
    static uint8_t payload[UDP_DATAGRAM_MAX], got[UDP_DATAGRAM_MAX + 64];
    struct lane_quic_datagram d;
    struct udp_side *s;
    int64_t stream;
    unsigned a;
    size_t n;

    edge_up();
    a = probe_udp_ask(&p);
    take_opens();
    memset(payload, 'l', sizeof(payload));
    udp_session_send(&p.udp[a].session, payload, 1197, p.now_ms); /* 1,201 with its id */
    udp_session_send(&p.udp[a].session, "short", 5, p.now_ms);
    ck_assert(lane_quic_pick_datagram(&p.lane, p.now_ms, 1200, false, &d));
    ck_assert_uint_eq(d.pieces[1].iov_len, 5);
    lane_quic_datagram_done(&p.lane, &d, DATAGRAM_SENT, p.now_ms);
    s = lane_quic_next_side_to_open(&p.lane);
    ck_assert_ptr_nonnull(s);
    lane_quic_side_opened(s, 2);
    ck_assert_ptr_null(lane_quic_next_side_to_open(&p.lane));
    n = take_side(2, got, sizeof(got));
    ck_assert_uint_eq(n, 4 + 2 + 1197);
    ck_assert_mem_eq(got, "\0\0\0\1\x04\xad", 6);
    ck_assert_uint_eq(atomic_load(&p.budget.udp.taken), CHUNK_BYTES); /* until it is there */
    lane_quic_side_acked(&p.lane, 2, n);
    ck_assert_uint_eq(atomic_load(&p.budget.udp.taken), 0);
    udp_session_send(&p.udp[a].session, payload, sizeof(payload), p.now_ms);
    ck_assert(!lane_quic_pick_datagram(&p.lane, p.now_ms, 1200, false, &d));
    n = take_side(2, got, sizeof(got));
    ck_assert_uint_eq(n, 2 + UDP_DATAGRAM_MAX);
    /* not acknowledged: 256 KiB at the most are on their way */
    for (unsigned i = 0; i < 4; i++)
        udp_session_send(&p.udp[a].session, payload, sizeof(payload), p.now_ms);
    ck_assert(!lane_quic_pick_datagram(&p.lane, p.now_ms, 1200, false, &d));
    ck_assert_uint_gt(dropped(UDP_DROP_QUEUE_FULL), 0);
    udp_session_close(&p.udp[a].session, UDP_END_ORDERLY);
    ck_assert(lane_quic_next_side_to_end(&p.lane, &stream));
    ck_assert_int_eq(stream, 2);
    ck_assert(!lane_quic_next_side_to_end(&p.lane, &stream));
    down();
}
END_TEST

START_TEST(a_side_stream_may_be_refused_or_blocked)
{
    static uint8_t payload[3000];
    struct lane_quic_datagram d;
    struct iovec pieces[8];
    struct udp_side *s;
    int64_t stream;
    size_t count;
    unsigned a;

    edge_up();
    a = probe_udp_ask(&p);
    take_opens();
    udp_session_send(&p.udp[a].session, payload, sizeof(payload), p.now_ms);
    ck_assert(!lane_quic_pick_datagram(&p.lane, p.now_ms, 1200, false, &d));
    lane_quic_side_refused(&p.lane, lane_quic_next_side_to_open(&p.lane));
    ck_assert_uint_eq(dropped(UDP_DROP_TOO_BIG), 1);
    udp_session_send(&p.udp[a].session, payload, sizeof(payload), p.now_ms);
    ck_assert(!lane_quic_pick_datagram(&p.lane, p.now_ms, 1200, false, &d));
    lane_quic_side_opened(lane_quic_next_side_to_open(&p.lane), 6);
    s = lane_quic_pick_side(&p.lane, &stream, pieces, 8, &count);
    lane_quic_side_blocked(&p.lane, s);
    ck_assert_ptr_null(lane_quic_pick_side(&p.lane, &stream, pieces, 8, &count));
    lane_quic_side_credit(&p.lane, 6);
    ck_assert_ptr_eq(lane_quic_pick_side(&p.lane, &stream, pieces, 8, &count), s);
    down();
}
END_TEST

START_TEST(a_side_stream_without_memory_for_its_first_datagram)
{
    static uint8_t payload[3000], got[4096];
    struct lane_quic_datagram d;
    struct udp_side *s;
    unsigned a;

    edge_up();
    a = probe_udp_ask(&p);
    take_opens();
    udp_session_send(&p.udp[a].session, payload, sizeof(payload), p.now_ms);
    ck_assert_uint_eq(p.pool.free_count, 0);
    p.pool.cap = p.pool.out_count;
    ck_assert(!lane_quic_pick_datagram(&p.lane, p.now_ms, 1200, false, &d));
    ck_assert_uint_eq(dropped(UDP_DROP_NO_MEMORY), 1);
    p.pool.cap = 0;
    s = lane_quic_next_side_to_open(&p.lane);
    ck_assert_ptr_nonnull(s);
    lane_quic_side_opened(s, 2);
    ck_assert_uint_eq(take_side(2, got, sizeof(got)), 0);
    udp_session_send(&p.udp[a].session, payload, sizeof(payload), p.now_ms);
    ck_assert(!lane_quic_pick_datagram(&p.lane, p.now_ms, 1200, false, &d));
    ck_assert_uint_eq(take_side(2, got, sizeof(got)), 4 + 2 + sizeof(payload));
    ck_assert_mem_eq(got, "\0\0\0\1\x0b\xb8", 6);
    down();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lane_quic_udp");
    TCase *all = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(all, a_datagram_reaches_its_session);
    tcase_add_test(all, one_that_overtook_its_open_waits_for_it);
    tcase_add_test(all, early_ones_of_a_refused_session_are_dropped);
    tcase_add_test(all, early_ones_are_bounded_by_sessions_and_bytes);
    tcase_add_test(all, empty_early_ones_are_bounded_too);
    tcase_add_test(all, early_ones_of_many_sessions_are_no_work);
    tcase_add_test(all, sessions_of_early_ones_come_and_go);
    tcase_add_test(all, long_ones_come_on_a_side_stream);
    tcase_add_test(all, one_that_is_too_long_even_there_is_dropped);
    tcase_add_test(all, side_streams_are_bounded);
    tcase_add_test(all, one_without_memory_is_passed_over);
    tcase_add_test(all, what_waits_of_a_side_stream_is_charged);
    tcase_add_test(all, datagrams_go_out_with_their_id);
    tcase_add_test(all, age_is_no_reason_on_quic);
    tcase_add_test(all, they_do_not_wait_for_streams_that_are_blocked);
    tcase_add_test(all, long_ones_go_out_on_a_side_stream);
    tcase_add_test(all, a_side_stream_may_be_refused_or_blocked);
    tcase_add_test(all, a_side_stream_without_memory_for_its_first_datagram);
    suite_add_tcase(suite, all);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
