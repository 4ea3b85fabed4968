/* What a peer must not send, one row each: the lane ends with GOODBYE protocol_error as its last
 * frame, and another lane of the process goes on as if nothing had been.  And what looks odd but is
 * allowed. (api/tunnel.md: Frames; Exact rules: Malformed payloads, End of a stream, Credit)
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "support/lane_probe.h"
#include "support/suite.h"

/* The lane's state before a row: stream 1 is open, 2 was passed over, 3 was opened and has ended.
 */
enum before {
    FRESH,     /* as above */
    FIN_CAME,  /* the peer has ended its direction of 1 */
    NO_CREDIT, /* the peer has used up its credit of 1 */
    RICH,      /* we have all the credit of 1 that there can be */
    PINGED,    /* hub: a PING went out */
    DRAINED,   /* the peer said DRAIN */
    UDP,       /* 4 is a UDP session */
};

struct row {
    const char *name;
    enum before before;
    uint32_t stream;
    uint8_t type;
    const char *payload;
    size_t n;
    uint32_t claimed; /* length in the header when it isn't n: the payload never comes */
};

#define P(text)  (text), sizeof(text) - 1
#define V1       "PROXY TCP4 192.0.2.1 192.0.2.9 4000 443\r\n"
#define V1_6     "PROXY TCP6 2001:db8::1 2001:db8::2 4000 443\r\n"
#define V2_SIG   "\r\n\r\n\0\r\nQUIT\n"
#define V2_ADDRS "\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x09\x0f\xa0\x01\xbb"
#define V2_DGRAM V2_SIG "\x21\x12" V2_ADDRS

static const struct row hub_breaks[] = {
    {"no such type 0", FRESH, 0, 0x00, P(""), 0},
    {"no such type 0x12", FRESH, 0, 0x12, P(""), 0},
    {"no such type 0xff on a stream", FRESH, 1, 0xff, P("x"), 0},
    {"DATA_BACK from an edge", FRESH, 1, FRAME_DATA_BACK, P("x"), 0},
    {"CLOSE_BACK from an edge", FRESH, 1, FRAME_CLOSE_BACK, P(""), 0},
    {"CONFIG from an edge", FRESH, 0, FRAME_CONFIG, P("{}"), 0},
    {"PING from an edge", FRESH, 0, FRAME_PING, P("12345678"), 0},
    {"WINDOW_UPDATE_BACK from an edge", FRESH, 1, FRAME_WINDOW_UPDATE_BACK, P("\0\0\0\1"), 0},
    {"UDP_DATA_BACK from an edge", FRESH, 3, FRAME_UDP_DATA_BACK, P("x"), 0},
    {"DATA of 65,537 bytes", FRESH, 1, FRAME_DATA, P(""), 65537},
    {"DATA of 4 GiB", FRESH, 1, FRAME_DATA, P(""), UINT32_MAX},
    {"CONFIG_ACK of 65,537 bytes", FRESH, 0, FRAME_CONFIG_ACK, P(""), 65537},
    {"an OPEN longer than a line", FRESH, 4, FRAME_OPEN, P(""), 108},
    {"an OPEN of nothing", FRESH, 4, FRAME_OPEN, P(""), 0},
    {"DATA past the credit", NO_CREDIT, 1, FRAME_DATA, P("x"), 0},
    {"DATA after the FIN", FIN_CAME, 1, FRAME_DATA, P("x"), 0},
    {"empty DATA after the FIN", FIN_CAME, 1, FRAME_DATA, P(""), 0},
    {"a second FIN", FIN_CAME, 1, FRAME_CLOSE, P(""), 0},
    {"OPEN on 0", FRESH, 0, FRAME_OPEN, P(V1), 0},
    {"DATA on 0", FRESH, 0, FRAME_DATA, P("x"), 0},
    {"CLOSE on 0", FRESH, 0, FRAME_CLOSE, P(""), 0},
    {"WINDOW_UPDATE on 0", FRESH, 0, FRAME_WINDOW_UPDATE, P("\0\0\0\1"), 0},
    {"UDP_OPEN on 0", FRESH, 0, FRAME_UDP_OPEN, P(V2_DGRAM), 0},
    {"PONG on a stream", PINGED, 1, FRAME_PONG, P("\0\0\0\0\0\0\0\1"), 0},
    {"CONFIG_ACK on a stream", FRESH, 1, FRAME_CONFIG_ACK, P("{}"), 0},
    {"DRAIN on a stream", FRESH, 1, FRAME_DRAIN, P("{\"deadlineSecs\":5}"), 0},
    {"GOODBYE on a stream", FRESH, 1, FRAME_GOODBYE, P("{}"), 0},
    {"OPEN of the newest id again", FRESH, 3, FRAME_OPEN, P(V1), 0},
    {"OPEN of an open id", FRESH, 1, FRAME_OPEN, P(V1), 0},
    {"OPEN of a passed over id", FRESH, 2, FRAME_OPEN, P(V1), 0},
    {"UDP_OPEN of a passed over id", FRESH, 2, FRAME_UDP_OPEN, P(V2_DGRAM), 0},
    {"DATA for what was never opened", FRESH, 4, FRAME_DATA, P("x"), 0},
    {"CLOSE for what was never opened", FRESH, 4, FRAME_CLOSE, P("\1"), 0},
    {"credit for what was never opened", FRESH, 4, FRAME_WINDOW_UPDATE, P("\0\0\0\1"), 0},
    {"UDP_DATA for what was never opened", FRESH, 4, FRAME_UDP_DATA, P("x"), 0},
    {"UDP_CLOSE for what was never opened", FRESH, 4, FRAME_UDP_CLOSE, P(""), 0},
    {"UDP_DATA on a TCP stream", FRESH, 1, FRAME_UDP_DATA, P("x"), 0},
    {"UDP_CLOSE of a TCP stream", FRESH, 1, FRAME_UDP_CLOSE, P(""), 0},
    {"DATA on a UDP session", UDP, 4, FRAME_DATA, P("x"), 0},
    {"CLOSE of a UDP session", UDP, 4, FRAME_CLOSE, P("\1"), 0},
    {"credit for a UDP session", UDP, 4, FRAME_WINDOW_UPDATE, P("\0\0\0\1"), 0},
    {"OPEN of a UDP session's id", UDP, 4, FRAME_OPEN, P(V1), 0},
    {"UDP_OPEN of an open id", UDP, 4, FRAME_UDP_OPEN, P(V2_DGRAM), 0},
    {"UDP_CLOSE 0x02 of an open session", UDP, 4, FRAME_UDP_CLOSE, P("\2"), 0},
    {"UDP_CLOSE of two bytes", UDP, 4, FRAME_UDP_CLOSE, P("\3\3"), 0},
    {"UDP_OPEN after its own DRAIN", DRAINED, 4, FRAME_UDP_OPEN, P(V2_DGRAM), 0},
    {"three bytes of credit", FRESH, 1, FRAME_WINDOW_UPDATE, P("\0\0\1"), 0},
    {"five bytes of credit", FRESH, 1, FRAME_WINDOW_UPDATE, P("\0\0\0\0\1"), 0},
    {"no credit at all", FRESH, 1, FRAME_WINDOW_UPDATE, P("\0\0\0\0"), 0},
    {"no credit, for an ended stream", FRESH, 3, FRAME_WINDOW_UPDATE, P("\0\0\0\0"), 0},
    {"2^31 of credit", FRESH, 1, FRAME_WINDOW_UPDATE, P("\x80\0\0\0"), 0},
    {"credit that passes 2^31 - 1", RICH, 1, FRAME_WINDOW_UPDATE, P("\0\0\0\1"), 0},
    {"CLOSE 0x00", FRESH, 1, FRAME_CLOSE, P("\0"), 0},
    {"CLOSE 0x02, which is the hub's", FRESH, 1, FRAME_CLOSE, P("\2"), 0},
    {"CLOSE 0x03, which is the hub's", FRESH, 1, FRAME_CLOSE, P("\3"), 0},
    {"CLOSE 0x04", FRESH, 1, FRAME_CLOSE, P("\4"), 0},
    {"CLOSE 0x04 of an ended stream", FRESH, 3, FRAME_CLOSE, P("\4"), 0},
    {"CLOSE of two bytes", FRESH, 1, FRAME_CLOSE, P("\1\1"), 0},
    {"UDP_CLOSE 0x01", FRESH, 3, FRAME_UDP_CLOSE, P("\1"), 0},
    {"PONG of seven bytes", PINGED, 0, FRAME_PONG, P("\0\0\0\0\0\0\1"), 0},
    {"PONG of nine bytes", PINGED, 0, FRAME_PONG, P("\0\0\0\0\0\0\0\0\1"), 0},
    {"PONG without any PING", FRESH, 0, FRAME_PONG, P("\0\0\0\0\0\0\0\1"), 0},
    {"OPEN of UNKNOWN", FRESH, 4, FRAME_OPEN, P("PROXY UNKNOWN\r\n"), 0},
    {"OPEN without CRLF", FRESH, 4, FRAME_OPEN, P("PROXY TCP4 1.2.3.4 1.2.3.4 1 2"), 0},
    {"OPEN with LF alone", FRESH, 4, FRAME_OPEN, P("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n"), 0},
    {"OPEN with a byte behind it", FRESH, 4, FRAME_OPEN, P(V1 "G"), 0},
    {"OPEN of two lines", FRESH, 4, FRAME_OPEN, P(V1 V1), 0},
    {"OPEN with a port of 65,536", FRESH, 4, FRAME_OPEN,
     P("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n"), 0},
    {"OPEN of version 2", FRESH, 4, FRAME_OPEN, P(V2_SIG "\x21\x11" V2_ADDRS), 0},
    {"UDP_OPEN of a stream", FRESH, 4, FRAME_UDP_OPEN, P(V2_SIG "\x21\x11" V2_ADDRS), 0},
    {"UDP_OPEN of LOCAL", FRESH, 4, FRAME_UDP_OPEN, P(V2_SIG "\x20\x12" V2_ADDRS), 0},
    {"UDP_OPEN cut short", FRESH, 4, FRAME_UDP_OPEN,
     P(V2_SIG "\x21\x12\x00\x0d\xc0\x00\x02\x01\xc0\x00\x02\x09\x0f\xa0\x01\xbb"), 0},
    {"UDP_OPEN with a byte behind it", FRESH, 4, FRAME_UDP_OPEN, P(V2_DGRAM "x"), 0},
    {"OPEN after its own DRAIN", DRAINED, 4, FRAME_OPEN, P(V1), 0},
    {"DRAIN that is no JSON", FRESH, 0, FRAME_DRAIN, P("{\"deadlineSecs\":"), 0},
    {"DRAIN without its key", FRESH, 0, FRAME_DRAIN, P("{}"), 0},
    {"DRAIN of a string", FRESH, 0, FRAME_DRAIN, P("{\"deadlineSecs\":\"5\"}"), 0},
    {"GOODBYE that is no JSON", FRESH, 0, FRAME_GOODBYE, P("bye"), 0},
};

static const struct row edge_breaks[] = {
    {"OPEN from a hub", FRESH, 9, FRAME_OPEN, P(V1), 0},
    {"DATA from a hub", FRESH, 1, FRAME_DATA, P("x"), 0},
    {"CLOSE from a hub", FRESH, 1, FRAME_CLOSE, P(""), 0},
    {"PONG from a hub", FRESH, 0, FRAME_PONG, P("12345678"), 0},
    {"CONFIG_ACK from a hub", FRESH, 0, FRAME_CONFIG_ACK, P("{}"), 0},
    {"UDP_OPEN from a hub", FRESH, 9, FRAME_UDP_OPEN, P(V2_DGRAM), 0},
    {"DATA_BACK past the credit", NO_CREDIT, 1, FRAME_DATA_BACK, P("x"), 0},
    {"DATA_BACK after the FIN", FIN_CAME, 1, FRAME_DATA_BACK, P("x"), 0},
    {"a second FIN from a hub", FIN_CAME, 1, FRAME_CLOSE_BACK, P(""), 0},
    {"DATA_BACK on 0", FRESH, 0, FRAME_DATA_BACK, P("x"), 0},
    {"DATA_BACK for what was never opened", FRESH, 4, FRAME_DATA_BACK, P("x"), 0},
    {"CLOSE_BACK 0x04", FRESH, 1, FRAME_CLOSE_BACK, P("\4"), 0},
    {"CLOSE_BACK of two bytes", FRESH, 1, FRAME_CLOSE_BACK, P("\1\1"), 0},
    {"PING of seven bytes", FRESH, 0, FRAME_PING, P("1234567"), 0},
    {"PING on a stream", FRESH, 1, FRAME_PING, P("12345678"), 0},
    {"CONFIG on a stream", FRESH, 1, FRAME_CONFIG, P("{}"), 0},
    {"UDP_DATA_BACK on a TCP stream", FRESH, 1, FRAME_UDP_DATA_BACK, P("x"), 0},
    {"UDP_CLOSE 0x02", FRESH, 3, FRAME_UDP_CLOSE, P("\2"), 0},
    {"DATA_BACK on a UDP session", UDP, 4, FRAME_DATA_BACK, P("x"), 0},
    {"CLOSE_BACK of a UDP session", UDP, 4, FRAME_CLOSE_BACK, P("\1"), 0},
    {"credit that passes 2^31 - 1 from a hub", RICH, 1, FRAME_WINDOW_UPDATE_BACK, P("\0\0\0\1"), 0},
};

static const struct row hub_allows[] = {
    {"empty DATA", FRESH, 1, FRAME_DATA, P(""), 0},
    {"DATA of an ended stream", FRESH, 3, FRAME_DATA, P("late"), 0},
    {"DATA of a passed over id", FRESH, 2, FRAME_DATA, P("late"), 0},
    {"FIN of an ended stream", FRESH, 3, FRAME_CLOSE, P(""), 0},
    {"a reset of an ended stream", FRESH, 3, FRAME_CLOSE, P("\1"), 0},
    {"credit for an ended stream", FRESH, 3, FRAME_WINDOW_UPDATE, P("\0\0\0\1"), 0},
    {"credit after the FIN", FIN_CAME, 1, FRAME_WINDOW_UPDATE, P("\0\0\0\1"), 0},
    {"a reset after the FIN", FIN_CAME, 1, FRAME_CLOSE, P("\1"), 0},
    {"UDP_DATA of an ended session", FRESH, 3, FRAME_UDP_DATA, P("late"), 0},
    {"UDP_CLOSE of an ended session", FRESH, 3, FRAME_UDP_CLOSE, P(""), 0},
    {"UDP_CLOSE 0x03 of an ended session", FRESH, 3, FRAME_UDP_CLOSE, P("\3"), 0},
    {"empty DATA without credit", NO_CREDIT, 1, FRAME_DATA, P(""), 0},
    {"an id far above", FRESH, UINT32_MAX, FRAME_OPEN, P(V1), 0},
    {"OPEN of TCP6", FRESH, 4, FRAME_OPEN, P(V1_6), 0},
    {"UDP_OPEN", FRESH, 4, FRAME_UDP_OPEN, P(V2_DGRAM), 0},
    {"UDP_DATA", UDP, 4, FRAME_UDP_DATA, P("datagram"), 0},
    {"empty UDP_DATA", UDP, 4, FRAME_UDP_DATA, P(""), 0},
    {"UDP_CLOSE", UDP, 4, FRAME_UDP_CLOSE, P(""), 0},
    {"UDP_CLOSE 0x03", UDP, 4, FRAME_UDP_CLOSE, P("\3"), 0},
    {"CONFIG_ACK", FRESH, 0, FRAME_CONFIG_ACK, P("{}"), 0},
    {"the newest PONG", PINGED, 0, FRAME_PONG, P("\0\0\0\0\0\0\0\1"), 0},
    {"some other PONG", PINGED, 0, FRAME_PONG, P("\0\0\0\0\0\0\0\x09"), 0},
    {"DRAIN with more keys", FRESH, 0, FRAME_DRAIN, P("{\"deadlineSecs\":5,\"x\":[]}"), 0},
};

static void prepare(struct lane_probe *p, enum lane_role role, enum before before)
{
    lane_probe_init(p, role);
    if (role == LANE_EDGE) {
        probe_dial(p);
        p->lane.highest_id = 2;
        probe_dial(p);
        ck_assert_uint_eq(p->streams[1].stream.id, 3);
    } else {
        ck_assert_int_eq(probe_open(p, 1, 443), 0);
        ck_assert_int_eq(probe_open(p, 3, 443), 0);
    }
    ck_assert_int_eq(probe_close(p, 3, 1), 0);
    if (before == FIN_CAME)
        ck_assert_int_eq(probe_close(p, 1, 0), 0);
    if (before == NO_CREDIT)
        ck_assert_int_eq(probe_data(p, 1, 65536), 0);
    if (before == RICH)
        ck_assert_int_eq(probe_credit(p, 1, FRAME_CREDIT_MAX - 65536), 0);
    if (before == DRAINED)
        ck_assert_int_eq(probe_send_text(p, FRAME_DRAIN, "{\"deadlineSecs\":30}"), 0);
    if (before == UDP && role == LANE_EDGE)
        ck_assert_uint_eq(p->udp[probe_udp_dial(p)].session.id, 4);
    if (before == UDP && role == LANE_HUB)
        ck_assert_int_eq(probe_udp_open(p, 4, 53), 0);
    if (before == PINGED) {
        ck_assert_int_eq(probe_wait(p, LANE_PING_EVERY_MS), 0);
        probe_expect(p, 0, FRAME_PING, 8);
    }
}

/* In pieces of `piece` bytes, each in memory of its own. */
static int feed(struct lane_probe *p, const struct row *r, size_t piece)
{
    uint8_t frame[300];
    uint32_t len = r->claimed ? r->claimed : (uint32_t)r->n;
    size_t n = FRAME_HEADER_BYTES + r->n;
    int err = 0;

    ck_assert_uint_le(n, sizeof(frame));
    for (unsigned i = 0; i < 4; i++) {
        frame[i] = (uint8_t)(r->stream >> (24 - 8 * i));
        frame[5 + i] = (uint8_t)(len >> (24 - 8 * i));
    }
    frame[4] = r->type;
    memcpy(frame + FRAME_HEADER_BYTES, r->payload, r->n);
    for (size_t at = 0; at < n && err == 0; at += piece) {
        size_t part = MIN(piece, n - at);
        uint8_t *copy = malloc(part);

        ck_assert_ptr_nonnull(copy);
        memcpy(copy, frame + at, part);
        err = lane_input(&p->lane, copy, part, p->now_ms);
        free(copy);
        lane_check(&p->lane);
    }
    return err;
}

/* The other lane shares budget and pool with the one that breaks; its stream must go on. */
static void check_other(struct lane_probe *other)
{
    struct probe_frame f;

    ck_assert_int_eq(other->lane.state, LANE_OPEN);
    ck_assert_int_eq(probe_data(other, 1, 100), 0);
    probe_read(other, 0, 100);
    probe_write(other, 0, 50);
    ck_assert(probe_next(other, &f));
    ck_assert_int_eq(f.type, FRAME_DATA_BACK);
    ck_assert_uint_eq(f.len, 50);
}

static void check_breaks(enum lane_role role, const struct row *rows, size_t n)
{
    static const size_t pieces[] = {1, 7, 9, 10, 1000};

    for (size_t i = 0; i < n * ARRAY_LEN(pieces); i++) {
        const struct row *r = &rows[i / ARRAY_LEN(pieces)];
        struct lane_probe p, other;
        const struct stream *s = &p.streams[0].stream;

        prepare(&p, role, r->before);
        lane_probe_init(&other, LANE_HUB);
        other.lane.budget = &p.budget;
        other.lane.pool = &p.pool;
        ck_assert_int_eq(probe_open(&other, 1, 443), 0);
        if (r->before != RICH)        /* what is queued is used credit */
            probe_write(&p, 0, 1000); /* must not come behind the GOODBYE */
        ck_assert_msg(feed(&p, r, pieces[i % ARRAY_LEN(pieces)]) == -ERR_PROTO, "%s", r->name);
        ck_assert_int_eq(p.lane.error, -ERR_PROTO);
        ck_assert_str_ne(p.lane.fault, "");
        probe_expect_goodbye(&p, "protocol_error");
        ck_assert_int_eq(s->state, STREAM_OPEN); /* told once the connection is gone */
        lane_fini(&p.lane);
        ck_assert_int_eq(s->state, STREAM_RESET);
        ck_assert_int_eq(s->reset_code, RESET_LANE_LOST);
        check_other(&other);
        lane_probe_fini(&other);
        lane_probe_fini(&p);
    }
}

START_TEST(a_hub_ends_on_each)
{
    check_breaks(LANE_HUB, hub_breaks, ARRAY_LEN(hub_breaks));
}
END_TEST

START_TEST(an_edge_ends_on_each)
{
    check_breaks(LANE_EDGE, edge_breaks, ARRAY_LEN(edge_breaks));
}
END_TEST

START_TEST(a_hub_goes_on_after_each)
{
    static const size_t pieces[] = {1, 9, 1000};

    for (size_t i = 0; i < ARRAY_LEN(hub_allows) * ARRAY_LEN(pieces); i++) {
        const struct row *r = &hub_allows[i / ARRAY_LEN(pieces)];
        struct lane_probe p;

        prepare(&p, LANE_HUB, r->before);
        ck_assert_msg(feed(&p, r, pieces[i % ARRAY_LEN(pieces)]) == 0, "%s: %s", r->name,
                      p.lane.fault);
        ck_assert_int_eq(p.lane.state, LANE_OPEN);
        ck_assert_uint_eq(p.lane.in.left, 0);
        lane_probe_fini(&p);
    }
}
END_TEST

/* What on_control() refuses breaks the lane too, with the owner's reason. */
START_TEST(an_invalid_config_breaks)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_EDGE);
    p.refuse_control = true;
    ck_assert_int_eq(probe_send_text(&p, FRAME_CONFIG, "{\"revision\":1}"), -ERR_PROTO);
    ck_assert_str_eq(p.lane.fault, "CONFIG: not to my taste");
    probe_expect_goodbye(&p, "protocol_error");
    lane_probe_fini(&p);
}
END_TEST

/* A hub that talks about a stream whose OPEN it can't have seen yet: it waits in the edge. */
START_TEST(frames_before_our_open_break)
{
    static const uint8_t types[] = {FRAME_DATA_BACK, FRAME_CLOSE_BACK, FRAME_WINDOW_UPDATE_BACK};

    for (unsigned i = 0; i < ARRAY_LEN(types); i++) {
        struct lane_probe p;

        lane_probe_init(&p, LANE_EDGE);
        probe_ask(&p);
        ck_assert_int_eq(probe_send(&p, 1, types[i], "\0\0\0\1", i == 1 ? 0 : 4), -ERR_PROTO);
        probe_expect_goodbye(&p, "protocol_error");
        lane_probe_fini(&p);
    }
}
END_TEST

/* GOODBYE from the peer ends the lane without an answer, whatever was waiting; an unknown code too.
 */
START_TEST(goodbye_from_the_peer_is_not_answered)
{
    struct lane_probe p;

    prepare(&p, LANE_HUB, FRESH);
    probe_write(&p, 0, 20000);
    lane_send_config(&p.lane, "{\"revision\":7}");
    ck_assert_int_eq(
        probe_send_text(&p, FRAME_GOODBYE,
                        "{\"code\":\"so_long\",\"message\":\"m\",\"retryAfterSecs\":9}"),
        -ERR_CLOSED);
    ck_assert(p.lane.has_goodbye);
    ck_assert_int_eq(p.lane.goodbye.code, GOODBYE_OTHER);
    ck_assert_uint_eq(p.lane.goodbye.retry_after_secs, 9);
    ck_assert_int_eq(p.lane.error, -ERR_CLOSED);
    ck_assert(!lane_has_output(&p.lane));
    probe_expect_silence(&p);
    ck_assert_int_eq(probe_data(&p, 4, 10), 0); /* ignored */
    lane_probe_fini(&p);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, a_hub_ends_on_each);
    tcase_add_test(tc, an_edge_ends_on_each);
    tcase_add_test(tc, a_hub_goes_on_after_each);
    tcase_add_test(tc, an_invalid_config_breaks);
    tcase_add_test(tc, frames_before_our_open_break);
    tcase_add_test(tc, goodbye_from_the_peer_is_not_answered);
    return suite_run("lane rules", tc);
}
