/* One end of a QUIC lane against a peer played by hand: how a stream begins, is refused and ends,
 * and what a peer must not do.  (tunnel/lane_quic.h; api/tunnel.md, QUIC transport)
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "support/lane_probe.h"
#include "support/suite.h"
#include "tunnel/lane_quic.h"
#include "wire/channel.h"

#define LINE "PROXY TCP4 192.0.2.1 192.0.2.9 40000 443\r\n"

static void on_change(struct stream *s)
{
    container_of(s, struct probe_stream, stream)->changes++;
}

/* In a block of its own, as a packet's payload is; an end by itself comes with no bytes at all. */
static int data(struct lane_probe *p, uint32_t number, bool is_new, const void *bytes, size_t n,
                bool is_fin)
{
    uint8_t *copy = n > 0 ? malloc(n) : NULL;
    int err;

    if (n > 0) {
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, bytes, n);
    }
    err = lane_quic_data(&p->lane, number, is_new, copy, n, is_fin, p->now_ms);
    free(copy);
    lane_check(&p->lane);
    return err;
}

static int text(struct lane_probe *p, uint32_t number, const char *bytes)
{
    return data(p, number, true, bytes, strlen(bytes), false);
}

static void expect_reset(struct lane_probe *p, uint32_t number, uint64_t code)
{
    uint32_t got = 0;
    uint64_t got_code = 0;

    ck_assert(lane_quic_next_reset(&p->lane, &got, &got_code));
    ck_assert_uint_eq(got, number);
    ck_assert_uint_eq(got_code, code);
}

static void expect_no_reset(struct lane_probe *p)
{
    uint32_t number;
    uint64_t code;

    ck_assert(!lane_quic_next_reset(&p->lane, &number, &code));
}

/* The next message on the control stream. */
static void expect_control(struct lane_probe *p, uint8_t type, const char *part)
{
    const uint8_t *record;
    size_t n = lane_next_record(&p->lane, p->now_ms, &record);

    ck_assert_uint_gt(n, CHANNEL_HEADER_MIN);
    ck_assert_uint_eq(record[0], type);
    ck_assert_ptr_nonnull(memmem(record, n, part, strlen(part)));
    lane_record_done(&p->lane);
}

static void expect_broken(struct lane_probe *p, const char *fault)
{
    ck_assert_int_eq(p->lane.state, LANE_ENDED);
    ck_assert_int_eq(p->lane.error, -ERR_PROTO);
    ck_assert_msg(strstr(p->lane.fault, fault) != NULL, "%s", p->lane.fault);
    expect_control(p, FRAME_GOODBYE, "protocol_error");
}

static void message(uint8_t out[CHANNEL_HEADER_MAX + 64], size_t *n, uint8_t type, uint32_t id,
                    const void *payload, size_t len)
{
    size_t header = channel_emit(out, id, (enum frame_type)type, (uint32_t)len);

    ck_assert_uint_le(len, 64);
    memcpy(out + header, payload, len);
    *n = header + len;
}

/* --- how a stream begins -----------------------------------------------------------------------
 */

START_TEST(the_line_may_be_cut_at_every_byte)
{
    static const char whole[] = LINE "GET /";
    size_t line = strlen(LINE), total = strlen(whole);

    for (size_t cut = 1; cut < total; cut++) {
        struct lane_probe p;
        struct stream *s = &p.streams[0].stream;

        lane_probe_init_quic(&p, LANE_HUB);
        ck_assert_int_eq(data(&p, 1, true, whole, cut, false), 0);
        ck_assert_uint_eq(p.stream_count, cut >= line);
        ck_assert_int_eq(data(&p, 1, false, whole + cut, total - cut, true), 0);
        ck_assert_uint_eq(p.stream_count, 1);
        ck_assert_uint_eq(p.client.src_port, 40000);
        ck_assert_uint_eq(p.client.dst_port, 443);
        ck_assert_uint_eq(stream_bytes_in(s), 5);
        ck_assert_uint_eq(s->recvq.len, 5);
        ck_assert_int_eq(s->in, HALF_ENDED);
        ck_assert_uint_eq(p.lane.stats.bytes_from_clients, 5);
        lane_probe_fini(&p);
    }
}
END_TEST

START_TEST(the_line_may_come_byte_by_byte_beside_others)
{
    struct lane_probe p;

    lane_probe_init_quic(&p, LANE_HUB);
    for (size_t i = 0; i < strlen(LINE); i++)
        for (uint32_t number = 40; number > 0; number--) /* the newest first */
            ck_assert_int_eq(data(&p, number, i == 0, LINE + i, 1, false), 0);
    ck_assert_uint_eq(p.stream_count, 40);
    ck_assert_uint_eq(p.lane.table.count, 40);
    ck_assert_uint_eq(p.lane.highest_id, 40);
    lane_probe_fini(&p);
}
END_TEST

static const struct {
    const char *line;
} no_lines[] = {
    {"GET / HTTP/1.1\r\n"},
    {"\n"},
    {"\r\n"},
    {"PROXY UNKNOWN\r\n"},
    {"PROXY TCP4 192.0.2.1 192.0.2.9 40000 443\n"},
    {"PROXY TCP4 192.0.2.1 192.0.2.9 40000 443 \r\n"},
    {"PROXY TCP4 192.0.2.1 192.0.2.9 40000 65536\r\n"},
    {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
     "AAAAAAAAAAAAAAAAAAAAAAAAAAA"}, /* 107 without an end */
};

START_TEST(what_is_no_line_breaks_the_lane_however_it_is_cut)
{
    const char *line = no_lines[_i].line;

    for (size_t cut = 1; cut <= strlen(line); cut++) {
        struct lane_probe p;
        int err;

        lane_probe_init_quic(&p, LANE_HUB);
        err = data(&p, 1, true, line, cut, false);
        if (err == 0)
            err = data(&p, 1, false, line + cut, strlen(line) - cut, false);
        ck_assert_int_eq(err, -ERR_PROTO);
        expect_broken(&p, "does not begin with one PROXY v1 line");
        ck_assert_int_eq(data(&p, 2, true, LINE, strlen(LINE), false), -ERR_PROTO);
        ck_assert_uint_eq(p.stream_count, 0);
        lane_probe_fini(&p);
    }
}
END_TEST

START_TEST(an_end_within_the_line_breaks_the_lane)
{
    for (size_t cut = 0; cut < strlen(LINE); cut++) {
        struct lane_probe p;

        lane_probe_init_quic(&p, LANE_HUB);
        if (cut % 2) { /* the end by itself */
            ck_assert_int_eq(data(&p, 1, true, LINE, cut, false), 0);
            ck_assert_int_eq(data(&p, 1, false, NULL, 0, true), -ERR_PROTO);
        } else {
            ck_assert_int_eq(data(&p, 1, true, LINE, cut, true), -ERR_PROTO);
        }
        expect_broken(&p, "ended within its PROXY line");
        lane_probe_fini(&p);
    }
}
END_TEST

/* Our direction is shut down as well, or QUIC would keep the stream for ever. */
START_TEST(a_reset_within_the_line_frees_its_place)
{
    struct lane_probe p;

    lane_probe_init_quic(&p, LANE_HUB);
    for (uint32_t number = 1; number <= 3 * LANE_QUIC_OPENINGS_MAX; number++) {
        ck_assert_int_eq(data(&p, number, true, LINE, 1 + number % 40, false), 0);
        lane_quic_reset(&p.lane, number, RESET_BY_PEER);
        lane_quic_reset(&p.lane, number, RESET_BY_PEER); /* RESET_STREAM, STOP_SENDING */
        expect_reset(&p, number, RESET_BY_PEER);
        expect_no_reset(&p);
        ck_assert_int_eq(data(&p, number, false, "late", 4, false), 0);
    }
    ck_assert_uint_eq(p.stream_count, 0);
    ck_assert_uint_eq(p.lane.stats.refused_limit, 0);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(too_many_lines_that_are_not_whole_are_refused)
{
    struct lane_probe p;

    lane_probe_init_quic(&p, LANE_HUB);
    for (uint32_t number = 1; number <= LANE_QUIC_OPENINGS_MAX; number++)
        ck_assert_int_eq(text(&p, number, "PROXY TCP4"), 0);
    expect_no_reset(&p);
    for (uint32_t number = 65; number < 70; number++) {
        ck_assert_int_eq(text(&p, number, "PROXY"), 0);
        expect_reset(&p, number, RESET_BY_PEER);
        ck_assert_int_eq(data(&p, number, false, " TCP4", 5, true), 0); /* was on its way */
    }
    ck_assert_uint_eq(p.lane.stats.refused_limit, 5);
    ck_assert_int_eq(text(&p, 70, LINE), 0); /* one that comes whole needs no place */
    ck_assert_uint_eq(p.stream_count, 1);
    ck_assert_int_eq(data(&p, 33, false, LINE + 10, strlen(LINE) - 10, false), 0);
    ck_assert_uint_eq(p.stream_count, 2);
    ck_assert_int_eq(text(&p, 71, "P"), 0); /* its place is free again */
    expect_no_reset(&p);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(silent_streams_past_the_free_ones_are_charged)
{
    const uint32_t most = LANE_SILENT_FREE + 10;
    struct lane_probe p;

    lane_probe_init_quic(&p, LANE_HUB);
    p.budget.limit_bytes = 10 * LANE_SILENT_COST + 100;
    for (uint32_t number = 1; number <= most; number++)
        ck_assert_uint_eq(lane_quic_silent_opened(&p.lane, number), 0);
    ck_assert_uint_eq(atomic_load(&p.budget.taken), 10 * LANE_SILENT_COST);
    ck_assert_uint_eq(lane_quic_silent_opened(&p.lane, most + 1), 0); /* one too many is borne */
    ck_assert_uint_eq(lane_quic_silent_opened(&p.lane, most + 2), most + 1);
    ck_assert_uint_eq(lane_quic_silent_opened(&p.lane, most + 3), most + 2);
    ck_assert_uint_eq(p.lane.stats.refused_limit, 2);
    ck_assert_uint_gt(atomic_load(&p.budget.denied), 0);
    lane_quic_silent_over(&p.lane, most + 3); /* its line came with it: nobody is refused for it */
    ck_assert_uint_eq(lane_quic_silent_opened(&p.lane, most + 4), 0);
    lane_quic_silent_over(&p.lane, most + 4);
    ck_assert_uint_eq(p.lane.stats.refused_limit, 2);
    ck_assert_uint_eq(atomic_load(&p.budget.taken), 10 * LANE_SILENT_COST);
    for (uint32_t number = 1; number <= 9; number++)
        lane_quic_silent_over(&p.lane, number);
    ck_assert_uint_eq(atomic_load(&p.budget.taken), LANE_SILENT_COST);
    ck_assert_uint_eq(lane_quic_silent_opened(&p.lane, most + 5), 0);
    ck_assert_uint_eq(atomic_load(&p.budget.taken), 2 * LANE_SILENT_COST);
    lane_probe_fini(&p); /* what is left goes with the lane */
}
END_TEST

START_TEST(what_was_refused_or_reset_is_dropped_without_a_word)
{
    struct lane_probe p;

    lane_probe_init_quic(&p, LANE_HUB);
    ck_assert_int_eq(text(&p, 1, "PROXY TCP4 192.0.2.1 192.0.2.9 40000 9\r\nhello"), 0);
    expect_reset(&p, 1, RESET_NOT_ALLOWED);
    ck_assert_int_eq(text(&p, 2, "PROXY TCP4 192.0.2.1 192.0.2.9 40000 10\r\nhello"), 0);
    expect_reset(&p, 2, RESET_BY_PEER);
    ck_assert_int_eq(text(&p, 3, LINE "hello"), 0);
    stream_abort(&p.streams[0].stream, RESET_UNREACHABLE);
    expect_reset(&p, 3, RESET_UNREACHABLE);
    for (uint32_t number = 1; number <= 3; number++) {
        ck_assert_int_eq(data(&p, number, false, "more", 4, false), 0);
        lane_quic_credit(&p.lane, number, 1u << 20);
        lane_quic_reset(&p.lane, number, RESET_BY_PEER);
        ck_assert_int_eq(data(&p, number, false, NULL, 0, true), 0);
    }
    expect_no_reset(&p);
    ck_assert_uint_eq(p.lane.stats.refused_ports, 1);
    ck_assert_uint_eq(p.lane.stats.refused_limit, 1);
    ck_assert_uint_eq(p.lane.stats.bytes_from_clients, 5);
    ck_assert_uint_eq(p.stream_count, 1);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(a_hub_that_opens_a_stream_breaks_the_lane)
{
    struct lane_probe p;

    lane_probe_init_quic(&p, LANE_EDGE);
    ck_assert_int_eq(text(&p, 1, "hello"), -ERR_PROTO);
    expect_broken(&p, "the hub opened stream 1");
    lane_probe_fini(&p);
}
END_TEST

START_TEST(data_after_the_end_breaks_the_lane)
{
    struct lane_probe p;

    lane_probe_init_quic(&p, LANE_HUB);
    ck_assert_int_eq(data(&p, 1, true, LINE, strlen(LINE), true), 0);
    ck_assert_int_eq(data(&p, 1, false, "x", 1, false), -ERR_PROTO);
    expect_broken(&p, "after its FIN");
    lane_probe_fini(&p);
}
END_TEST

/* --- how it ends -------------------------------------------------------------------------------
 */

/* The code counts at the edge; a hub knows one only, and neither takes what is not listed. */
START_TEST(the_code_of_a_reset_is_one_that_exists)
{
    static const struct {
        uint64_t code;
        enum stream_reset edge;
    } table[] = {
        {0, RESET_BY_PEER},     {1, RESET_BY_PEER},          {2, RESET_UNREACHABLE},
        {3, RESET_NOT_ALLOWED}, {4, RESET_BY_PEER},          {0x100, RESET_BY_PEER},
        {0x101, RESET_BY_PEER}, {UINT64_MAX, RESET_BY_PEER}, {1ull << 32 | 2, RESET_BY_PEER}};
    struct proxy_header client = {.family = PROXY_INET, .transport = PROXY_STREAM};

    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        struct lane_probe edge, hub;
        struct stream *s = &edge.streams[0].stream;

        lane_probe_init_quic(&edge, LANE_EDGE);
        stream_init(s, on_change);
        edge.stream_count = 1;
        lane_probe_init_quic(&hub, LANE_HUB);
        ck_assert_int_eq(text(&hub, 1, LINE), 0);
        ck_assert_int_eq(lane_quic_open(&edge.lane, s, 1, &client, edge.now_ms), 0);
        lane_quic_reset(&edge.lane, 1, table[i].code);
        ck_assert_int_eq(s->reset_code, table[i].edge);
        ck_assert_uint_eq(edge.streams[0].changes, 1);
        expect_reset(&edge, 1, RESET_BY_PEER); /* our direction ends too */
        lane_quic_reset(&hub.lane, 1, table[i].code);
        ck_assert_int_eq(hub.streams[0].stream.reset_code, RESET_BY_PEER);
        expect_reset(&hub, 1, RESET_BY_PEER);
        ck_assert_uint_eq(edge.lane.stats.resets_in, 1);
        lane_probe_fini(&edge);
        lane_probe_fini(&hub);
    }
}
END_TEST

/* Bytes and end are written, but a stream leaves its lane only once the peer has all of it. */
START_TEST(a_stream_has_ended_when_its_bytes_are_acknowledged)
{
    struct iovec piece[8];
    struct lane_probe p;
    struct stream *s, *turn;
    size_t count;
    bool is_fin;

    lane_probe_init_quic(&p, LANE_HUB);
    ck_assert_int_eq(data(&p, 1, true, LINE, strlen(LINE), true), 0);
    s = &p.streams[0].stream;
    probe_write(&p, 0, 1000);
    stream_finish(s);
    turn = lane_quic_pick(&p.lane, p.now_ms, piece, 8, &count, &is_fin);
    ck_assert_ptr_eq(turn, s);
    ck_assert(is_fin);
    lane_quic_written(&p.lane, s, 1000, true, p.now_ms);
    lane_check(&p.lane);
    ck_assert_int_eq(s->state, STREAM_OPEN);
    ck_assert_uint_eq(stream_bytes_out(s), 1000);
    lane_quic_acked(&p.lane, 1, 999);
    lane_check(&p.lane);
    ck_assert_int_eq(s->state, STREAM_OPEN);
    ck_assert_ptr_null(lane_quic_pick(&p.lane, p.now_ms, piece, 8, &count, &is_fin));
    lane_quic_acked(&p.lane, 1, 1);
    ck_assert_int_eq(s->state, STREAM_ENDED);
    ck_assert_uint_eq(p.pool.out_count, 0);
    lane_quic_acked(&p.lane, 1, 0); /* its FIN */
    lane_probe_fini(&p);
}
END_TEST

static void fill(struct lane_probe *p, struct stream *s)
{
    size_t room;

    while ((room = stream_room(s)) > 0)
        probe_write(p, 0, MIN(room, 65536u));
    lane_check(&p->lane);
}

static void leave(struct lane_probe *p, struct stream *s, size_t n)
{
    struct iovec piece[2];
    size_t count;
    bool is_fin;

    ck_assert_ptr_eq(lane_quic_pick(&p->lane, p->now_ms, piece, 2, &count, &is_fin), s);
    lane_quic_written(&p->lane, s, n, false, p->now_ms);
    lane_check(&p->lane);
}

/* However much the peer lends: its owner reads on when half of it has left, acknowledged or not. */
START_TEST(a_stream_reads_so_far_ahead_of_the_connection)
{
    struct lane_probe p;
    struct stream *s;
    unsigned changes;

    lane_probe_init_quic(&p, LANE_HUB);
    ck_assert_int_eq(text(&p, 1, LINE), 0);
    s = &p.streams[0].stream;
    lane_quic_credit(&p.lane, 1, 8u << 20);
    fill(&p, s);
    ck_assert_uint_eq(sendq_unsent(&s->sendq), LANE_QUIC_AHEAD);
    changes = p.streams[0].changes;
    for (unsigned i = 0; i < LANE_QUIC_AHEAD / 2 / 8192 - 1; i++)
        leave(&p, s, 8192);
    lane_quic_acked(&p.lane, 1, 8192);
    ck_assert_uint_eq(p.streams[0].changes, changes);
    leave(&p, s, 8192);
    ck_assert_uint_eq(p.streams[0].changes, changes + 1);
    ck_assert_uint_eq(stream_room(s), LANE_QUIC_AHEAD / 2);
    fill(&p, s);
    ck_assert_uint_eq(sendq_unsent(&s->sendq), LANE_QUIC_AHEAD);
    lane_probe_fini(&p);
}
END_TEST

/* A bundle is not begun for what is left while the owner is about to add to it; but what the owner
 * has looked for and not found, or ended, is not waited for. */
START_TEST(the_last_bytes_wait_for_those_that_follow_at_once)
{
    enum { LEAST = 20000 };
    struct iovec piece[2];
    struct lane_probe p;
    struct stream *s;
    size_t count;
    bool is_fin;

    lane_probe_init_quic(&p, LANE_HUB);
    ck_assert_int_eq(text(&p, 1, LINE), 0);
    s = &p.streams[0].stream;
    lane_quic_credit(&p.lane, 1, 8u << 20);
    lane_quic_set_packet(&p.lane, 1000, LEAST);
    for (unsigned i = 0; i < 3; i++) {
        unsigned changes = p.streams[0].changes;

        fill(&p, s);
        while (sendq_unsent(&s->sendq) >= LEAST)
            leave(&p, s, 8192);
        ck_assert_uint_eq(p.streams[0].changes, changes + 1);
        ck_assert_uint_gt(sendq_unsent(&s->sendq), 0);
        ck_assert_ptr_null(lane_quic_pick(&p.lane, p.now_ms, piece, 2, &count, &is_fin));
        lane_check(&p.lane);
        if (i == 1) { /* it looks, and its socket has nothing */
            ck_assert_uint_gt(stream_reserve(s, piece, 2), 0);
            stream_commit(s, 0);
            leave(&p, s, 100);
        }
    }
    stream_finish(s);
    while (sendq_unsent(&s->sendq) > 8192)
        leave(&p, s, 8192);
    ck_assert_ptr_eq(lane_quic_pick(&p.lane, p.now_ms, piece, 2, &count, &is_fin), s);
    ck_assert(is_fin);
    lane_quic_written(&p.lane, s, sendq_unsent(&s->sendq), true, p.now_ms);
    lane_probe_fini(&p);
}
END_TEST

/* As many of them as make a turn of the loop worth it. */
START_TEST(very_large_packets_are_read_further_ahead_for)
{
    struct lane_probe p;
    struct stream *s;

    lane_probe_init_quic(&p, LANE_HUB);
    ck_assert_int_eq(text(&p, 1, LINE), 0);
    s = &p.streams[0].stream;
    lane_quic_credit(&p.lane, 1, 8u << 20);
    lane_quic_set_packet(&p.lane, 65000, 65000);
    fill(&p, s);
    ck_assert_uint_eq(sendq_unsent(&s->sendq), LANE_QUIC_AHEAD_PACKETS * 65000u);
    lane_probe_fini(&p);
}
END_TEST

/* --- the control stream ------------------------------------------------------------------------
 */

START_TEST(control_may_be_cut_at_every_byte)
{
    uint8_t bytes[2 * (CHANNEL_HEADER_MAX + 64)];
    size_t first, second;

    message(bytes, &first, FRAME_DRAIN, 0, "{\"deadlineSecs\":30}", 19);
    message(bytes + first, &second, FRAME_CONFIG_ACK, 0, "{\"revision\":1}", 14);
    for (size_t cut = 1; cut < first + second; cut++) {
        struct lane_probe p;

        lane_probe_init_quic(&p, LANE_HUB);
        ck_assert_int_eq(lane_input(&p.lane, bytes, cut, p.now_ms), 0);
        ck_assert_int_eq(lane_input(&p.lane, bytes + cut, first + second - cut, p.now_ms), 0);
        ck_assert_uint_eq(p.drains, 1);
        ck_assert_str_eq(p.control, "{\"revision\":1}");
        lane_probe_fini(&p);
    }
}
END_TEST

/* Ids of UDP sessions are their own: one that is refused, and its like among the streams, have
 * nothing to do with each other. */
START_TEST(a_udp_session_is_refused_on_the_control_stream)
{
    static const uint8_t header[28] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a,
                                       0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x12,
                                       0,    12,   192,  0,    2,    1,    192,
                                       0,    2,    9,    0x9c, 0x40, 0,    PROBE_REFUSED_PORT};
    static const uint8_t close[1] = {3};
    uint8_t bytes[CHANNEL_HEADER_MAX + 64];
    struct lane_probe p;
    size_t n;

    lane_probe_init_quic(&p, LANE_HUB);
    ck_assert_int_eq(text(&p, 9, LINE), 0);
    ck_assert_int_eq(text(&p, 2, LINE), 0);
    for (uint32_t id = 2; id <= 9; id += 7) {
        const uint8_t want[] = {FRAME_UDP_CLOSE, 0, 0, 0, 5, 0, 0, 0, (uint8_t)id, 3};
        const uint8_t *record;

        message(bytes, &n, FRAME_UDP_OPEN, id, header, sizeof(header));
        ck_assert_int_eq(lane_input(&p.lane, bytes, n, p.now_ms), 0);
        expect_no_reset(&p);
        ck_assert(lane_has_output(&p.lane));
        ck_assert_uint_eq(lane_next_record(&p.lane, p.now_ms, &record), sizeof(want));
        ck_assert_mem_eq(record, want, sizeof(want));
        lane_record_done(&p.lane);
        message(bytes, &n, FRAME_UDP_CLOSE, id, close, 1);
        ck_assert_int_eq(lane_input(&p.lane, bytes, n, p.now_ms), 0);
    }
    ck_assert_int_eq(p.streams[0].stream.state, STREAM_OPEN);
    ck_assert_int_eq(p.streams[1].stream.state, STREAM_OPEN);
    ck_assert_int_eq(text(&p, 3, LINE), 0);
    message(bytes, &n, FRAME_UDP_OPEN, 9, header, sizeof(header));
    ck_assert_int_eq(lane_input(&p.lane, bytes, n, p.now_ms), -ERR_PROTO);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(frames_of_streams_do_not_exist_there)
{
    static const uint8_t types[] = {FRAME_OPEN,          FRAME_DATA, FRAME_CLOSE,
                                    FRAME_WINDOW_UPDATE, 0,          0x7f};

    for (unsigned i = 0; i < ARRAY_LEN(types); i++) {
        uint8_t bytes[] = {types[i], 0, 0, 0, 4, 0, 0, 0, 1};
        struct lane_probe p;

        lane_probe_init_quic(&p, LANE_HUB);
        ck_assert_int_eq(lane_input(&p.lane, bytes, sizeof(bytes), p.now_ms), -ERR_PROTO);
        expect_broken(&p, types[i] && types[i] < 0x12 ? "not_on_channel" : "unknown_type");
        lane_probe_fini(&p);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, the_line_may_be_cut_at_every_byte);
    tcase_add_test(tc, the_line_may_come_byte_by_byte_beside_others);
    tcase_add_loop_test(tc, what_is_no_line_breaks_the_lane_however_it_is_cut, 0,
                        (int)ARRAY_LEN(no_lines));
    tcase_add_test(tc, an_end_within_the_line_breaks_the_lane);
    tcase_add_test(tc, a_reset_within_the_line_frees_its_place);
    tcase_add_test(tc, too_many_lines_that_are_not_whole_are_refused);
    tcase_add_test(tc, silent_streams_past_the_free_ones_are_charged);
    tcase_add_test(tc, what_was_refused_or_reset_is_dropped_without_a_word);
    tcase_add_test(tc, a_hub_that_opens_a_stream_breaks_the_lane);
    tcase_add_test(tc, data_after_the_end_breaks_the_lane);
    tcase_add_test(tc, the_code_of_a_reset_is_one_that_exists);
    tcase_add_test(tc, a_stream_has_ended_when_its_bytes_are_acknowledged);
    tcase_add_test(tc, a_stream_reads_so_far_ahead_of_the_connection);
    tcase_add_test(tc, the_last_bytes_wait_for_those_that_follow_at_once);
    tcase_add_test(tc, very_large_packets_are_read_further_ahead_for);
    tcase_add_test(tc, control_may_be_cut_at_every_byte);
    tcase_add_test(tc, a_udp_session_is_refused_on_the_control_stream);
    tcase_add_test(tc, frames_of_streams_do_not_exist_there);
    return suite_run("lane quic rules", tc);
}
