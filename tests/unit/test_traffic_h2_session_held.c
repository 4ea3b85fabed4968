/* What a session holds of requests, and what it takes from one that makes it hold much: h2_held.h
 * in a whole session, against nghttp2's client. */
#include "support/suite.h"
#include "traffic_h2_peer_fixture.h"

/* CVE-2026-49975: one field in HPACK's table, named again and again for a byte each; one that is
 * named once in each of many requests; a table of small entries, which cost the most; requests of a
 * few bytes; heads that are refused. */
static const struct {
    const char *name, *authority;
    size_t value, times;
} bombs[] = {{"x-bomb", "a.test", 3000, 5},   {"x-bomb", "a.test", 1000, 14},
             {"x-bomb", "a.test", 100, 80},   {"x-bomb", "a.test", 3000, 1},
             {"cookie", "a.test", 1000, 14},  {"x", "a.test", 0, 90},
             {"x", "a.test", 0, 0},           {"x-bomb", "b.test", 1000, 14},
             {"user-agent", "a.test", 250, 1}};

#define HELD_RATIO 16u
#define ONE_REQUEST                                                                                \
    20480u /* which is always taken: limits.headerBytes, and what it takes besides */

static void submit_bomb(const char *name, const char *authority, size_t value_len, size_t times)
{
    static char value[4000];
    nghttp2_nv nv[100] = {NV(":method", "GET"), NV(":scheme", "https"), NV(":authority", authority),
                          NV(":path", "/")};

    memset(value, 'v', sizeof(value));
    for (size_t i = 0; i < times; i++)
        nv[4 + i] =
            (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)value, strlen(name), value_len, 0};
    ck_assert_int_gt(nghttp2_submit_request(peer, NULL, nv, 4 + times, NULL, NULL), 0);
}

/* By what is there, not by what was counted: every byte of nghttp2's, every stream with a
 * connection to its origin, every head. */
static size_t really_held(const struct h2_session *s)
{
    size_t bytes = s->held.library - s->held.library_base + s->head.text.size;

    LIST_EACH (&s->streams, node, after) {
        const struct exchange *x = &container_of(node, struct h2_stream, node)->exchange;

        bytes += sizeof(struct h2_stream) + x->head_len;
        bytes += x->notes ? sizeof(*x->notes) : 0;
        bytes += x->upstream ? sizeof(struct upstream) : 0;
    }
    return bytes;
}

START_TEST(what_is_held_follows_what_was_sent)
{
    struct traffic_conf conf = h2_rig_conf();
    const struct h2_session *s = &rig.client.h2;

    conf.limits.h2_shared_bytes = 0; /* others have borrowed all of it */
    conf.limits.upstream_connections = 100;
    conf.limits.h2_resets = 1; /* that nothing is left is not this client's doing */
    conf.log_access = conf.generate_request_id = true;
    conf.log_access_format = ACCESS_COMBINED; /* which keeps the most */
    log_set_level(LOG_WARN);
    setup_anew(&conf);
    nghttp2_submit_settings(peer, 0,
                            &(nghttp2_settings_entry){NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}, 1);
    for (unsigned i = 0; i < 100; i++) {
        submit_bomb(bombs[_i].name, bombs[_i].authority, bombs[_i].value, bombs[_i].times);
        pump();
        ck_assert_uint_le(really_held(s), h2_held_bytes(&s->held));
        ck_assert_uint_le(really_held(s), MAX(HELD_RATIO * s->held.sent, ONE_REQUEST));
    }
    ck_assert_uint_le(loop_pool(rig.loop)->out_count, 1); /* the rig's record on its way out */
    ck_assert_ptr_null(s->head.text.bytes);
    ck_assert_uint_gt(rig.worker->counters.reasons[REASON_H2_UNLENT], 1);
    ck_assert_uint_eq(s->resets.used, 0);
    ck_assert_int_eq(s->state, H2_OPEN);
    ck_assert_uint_ge(s->stream_count, 1);
}
END_TEST

/* A head without an end. */
START_TEST(what_is_held_of_a_head_under_way)
{
    struct traffic_conf conf = h2_rig_conf();
    const struct h2_session *s = &rig.client.h2;
    uint8_t frame[9 + 3 + 13] = {0, 0, 105, NGHTTP2_HEADERS, 0, 0, 0, 0, 0, 0x82, 0x84, 0x87};
    int32_t id;

    conf.limits.h2_shared_bytes = 0;
    setup_anew(&conf);
    for (unsigned i = 0; i < 50; i++)
        submit_bomb("x-bomb", "a.test", 1000, 1);
    pump();
    ck_assert_uint_gt(rig.worker->counters.reasons[REASON_H2_UNLENT], 0);
    id = s->last_id + 2;
    frame[7] = (uint8_t)(id >> 8);
    frame[8] = (uint8_t)id;
    for (size_t i = 12; i < sizeof(frame); i++)
        frame[i] = 0x80 | 62; /* the newest entry of the table */
    h2_rig_feed(&rig, frame, sizeof(frame));
    ck_assert_int_eq(s->head.reason, REASON_H2_UNLENT);
    ck_assert_ptr_null(s->head.text.bytes);
    ck_assert_uint_le(really_held(s), MAX(HELD_RATIO * s->held.sent, ONE_REQUEST));
}
END_TEST

/* A browser that opens a hundred streams with its first bytes, a cookie of 4 KB in each: nothing is
 * refused, and what was lent for it is given back. */
START_TEST(a_hundred_at_once_in_good_faith)
{
    struct traffic_conf conf = h2_rig_conf();
    const struct h2_session *s = &rig.client.h2;

    conf.limits.upstream_connections = 100;
    setup_anew(&conf);
    for (unsigned i = 0; i < 100; i++)
        submit_bomb("cookie", "a.test", 1950, 2);
    pump();
    ck_assert_uint_eq(s->stream_count, 100);
    ck_assert_uint_eq(rig.worker->counters.reasons[REASON_H2_HEADS], 0);
    ck_assert_uint_eq(rig.worker->counters.reasons[REASON_H2_UNLENT], 0);
    ck_assert_uint_ge(h2_held_bytes(&s->held), really_held(s));
    ck_assert_uint_gt(really_held(s), 100 * 3900);
    ck_assert_uint_le(h2_held_bytes(&s->held), 1 << 20);
    ck_assert_uint_eq(*rig.worker->h2_lent, s->held.lent);
    ck_assert_uint_gt(s->held.lent, 0);
    LIST_EACH (&s->streams, node, after) {
        struct exchange *x = &container_of(node, struct h2_stream, node)->exchange;

        exchange_on_connected(x);
        exchange_sent(x, x->head_len);
        answer_head(x, HTTP_LENGTH, 0);
        answer_end(x);
    }
    ck_assert_uint_eq(ended, 100);
    ck_assert_uint_eq(s->stream_count, 0);
    ck_assert_uint_eq(s->held.requests, 0);
    ck_assert_uint_eq(*rig.worker->h2_lent, s->held.lent);
    ck_assert_uint_lt(s->held.lent, 16384); /* what nghttp2 keeps of it */
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("on memory");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, what_is_held_follows_what_was_sent, 0, ARRAY_LEN(bombs));
    tcase_add_test(tcase, what_is_held_of_a_head_under_way);
    tcase_add_test(tcase, a_hundred_at_once_in_good_faith);
    return suite_run("traffic/h2_session_held", tcase);
}
