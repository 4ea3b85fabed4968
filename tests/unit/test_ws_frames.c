/* Frames, byte for byte: what a server may send, whole and a byte at a time, what it may not and
 * which code it gets, and what leaves: masked, bounded, the close frame once. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "ws/frames.h"

static struct chunk_pool pool;
static struct ws_frames frames;
static char seen[4096]; /* "data|" for each message, "pong" for each pong */
static size_t data_len;
static enum ws_code closes_with; /* on_message closes with it */

static void on_data(struct ws_frames *f, const uint8_t *bytes, size_t n)
{
    ck_assert_ptr_eq(f, &frames);
    ck_assert_uint_gt(n, 0);
    if (strlen(seen) + n < sizeof(seen))
        strncat(seen, (const char *)bytes, n);
    data_len += n;
}

static void on_message(struct ws_frames *f)
{
    strcat(seen, "|");
    if (closes_with != WS_CODE_NONE)
        ws_frames_close(f, closes_with, "as the test wants it");
}

static void on_pong(struct ws_frames *f)
{
    ck_assert_ptr_eq(f, &frames);
    strcat(seen, "pong");
}

static void setup(void)
{
    chunk_pool_init(&pool, 0, 64);
    memset(&frames, 0, sizeof(frames));
    frames.on_data = on_data;
    frames.on_message = on_message;
    frames.on_pong = on_pong;
    int rc = ws_frames_init(&frames, &pool, 1000);
    ck_assert_int_eq(rc, 0);
    seen[0] = '\0';
    data_len = 0;
    closes_with = WS_CODE_NONE;
}

static void teardown(void)
{
    ws_frames_fini(&frames);
    chunk_pool_fini(&pool);
}

/* The n bytes, `step` at a time; the first code that is not 0. */
static int feed(const void *bytes, size_t n, size_t step)
{
    const uint8_t *p = bytes;

    for (size_t at = 0; at < n; at += step) {
        size_t piece = MIN(step, n - at);
        uint8_t *exact = malloc(piece);
        int rc;

        memcpy(exact, p + at, piece);
        rc = ws_frames_input(&frames, exact, piece);
        free(exact);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* The next frame that leaves, unmasked: "<opcode> <payload>", "" when there is none. */
static const char *take(void)
{
    static char text[2000];
    uint8_t head[8];
    uint16_t len;

    ck_assert_int_eq(ws_frames_emit(&frames), 0);
    if (frames.out.len == 0)
        return "";
    ck_assert_uint_eq(bufq_copy(&frames.out, head, 2), 2);
    bufq_skip(&frames.out, 2);
    ck_assert_uint_eq(head[0] & 0x70, 0);
    ck_assert_uint_eq(head[0] & 0x80, 0x80);
    ck_assert_uint_eq(head[1] & 0x80, 0x80); /* a client's frames are masked */
    len = head[1] & 0x7f;
    if (len == 126) {
        uint8_t wide[2];

        bufq_copy(&frames.out, wide, 2);
        bufq_skip(&frames.out, 2);
        len = (uint16_t)(wide[0] << 8 | wide[1]);
    }
    ck_assert_uint_lt(len, 1900);
    uint8_t mask[4], payload[1900];
    bufq_copy(&frames.out, mask, 4);
    bufq_skip(&frames.out, 4);
    ck_assert_uint_eq(bufq_copy(&frames.out, payload, len), len);
    bufq_skip(&frames.out, len);
    for (size_t i = 0; i < len; i++)
        payload[i] ^= mask[i % 4];
    if ((head[0] & 0x0f) == 8 && len >= 2)
        snprintf(text, sizeof(text), "8 %u", (unsigned)payload[0] << 8 | payload[1]);
    else
        snprintf(text, sizeof(text), "%u %.*s", head[0] & 0x0fu, (int)len, (char *)payload);
    return text;
}

#define B(text) (text), sizeof(text) - 1

static const struct {
    const char *bytes;
    size_t n;
    const char *seen;
} good[] = {
    {B("\x81\x05hello"), "hello|"},
    {B("\x81\x00"), "|"},
    {B("\x01\x03hel\x80\x02lo"), "hello|"},
    {B("\x01\x00\x00\x00\x80\x00"), "|"},
    {B("\x01\x01"
       "a\x00\x01"
       "b\x89\x00\x80\x01"
       "c\x81\x01"
       "d"),
     "abc|d|"},
    {B("\x81\x02\xc3\xa4"), "\xc3\xa4|"},
    {B("\x01\x01\xc3\x80\x01\xa4"), "\xc3\xa4|"}, /* a character in two fragments */
    {B("\x8a\x08penstock"), "pong"},
    {B("\x01\x01"
       "a\x8a\x00\x80\x01"
       "b"),
     "apongb|"},
};

START_TEST(messages)
{
    for (size_t step = 1; step <= good[_i].n; step++) {
        teardown();
        setup();
        ck_assert_int_eq(feed(good[_i].bytes, good[_i].n, step), 0);
        ck_assert_str_eq(seen, good[_i].seen);
        ck_assert(!frames.is_in_message);
    }
}
END_TEST

static const struct {
    const char *bytes;
    size_t n;
    const char *sent;
} bad[] = {
    {B("\x81\x81"
       "abcd\x05"),
     "8 1002"}, /* masked */
    {B("\xc1\x01"
       "a"),
     "8 1002"},                /* a reserved bit */
    {B("\x83\x00"), "8 1002"}, /* no such opcode */
    {B("\x8b\x00"), "8 1002"}, /* nor this control frame */
    {B("\x80\x01"
       "a"),
     "8 1002"}, /* continues nothing */
    {B("\x01\x01"
       "a\x81\x01"
       "b"),
     "8 1002"},                             /* a text within one */
    {B("\x09\x00"), "8 1002"},              /* a ping in fragments */
    {B("\x89\x7e\x00\x7e"), "8 1002"},      /* a ping of 126 bytes */
    {B("\x81\x7e\x00\x05hello"), "8 1002"}, /* a length longer than it need be */
    {B("\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00"), "8 1002"},
    {B("\x88\x02\x03\xed"), "8 1002"}, /* 1005 may not be sent */
    {B("\x88\x02\x00\x07"), "8 1002"}, /* nor 7 */
    {B("\x81\x01\xff"), "8 1007"},
    {B("\x81\x01\xc3"), "8 1007"}, /* cut */
    {B("\x01\x01\xc3\x80\x01"
       "a"),
     "8 1007"},
    {B("\x82\x01"
       "a"),
     "8 1003"},
    {B("\x81\x7e\x03\xe9x"), "8 1009"}, /* 1,001 bytes, by its head */
};

START_TEST(faults)
{
    for (size_t step = 1; step <= bad[_i].n; step++) {
        teardown();
        setup();
        int rc = feed(bad[_i].bytes, bad[_i].n, step);
        ck_assert_msg(rc == -ERR_PROTO, "step %zu: %d, %s", step, rc, take());
        ck_assert_str_eq(take(), bad[_i].sent);
        ck_assert_str_eq(take(), "");
        ck_assert_uint_eq(frames.code, (unsigned)atoi(bad[_i].sent + 2));
        ck_assert(ws_frames_is_idle(&frames));
        ck_assert_int_eq(ws_frames_text(&frames, "x", 1), -ERR_CLOSED);
        (void)feed("\x81\x01z", 3, 3); /* what comes behind it is dropped */
        ck_assert_ptr_null(strchr(seen, 'z'));
    }
}
END_TEST

/* However many fragments a message has, and however small they are. */
START_TEST(the_sum_of_fragments_is_bounded)
{
    ck_assert_int_eq(feed("\x01\x00", 2, 2), 0);
    for (unsigned i = 0; i < 1000; i++) {
        ck_assert_int_eq(feed("\x00\x01x", 3, 3), 0);
        ck_assert_int_eq(feed("\x00\x00", 2, 2), 0);
    }
    ck_assert_uint_eq(data_len, 1000);
    ck_assert_int_eq(feed("\x00\x01x", 3, 3), -ERR_PROTO);
    ck_assert_str_eq(take(), "8 1009");
    ck_assert_uint_eq(data_len, 1000);
    teardown();
    setup(); /* the next message has all of it again */
    for (unsigned i = 0; i < 3; i++) {
        char text[1004] = "\x81\x7e\x03\xe8";

        memset(text + 4, ' ', 1000);
        ck_assert_int_eq(feed(text, sizeof(text), 100), 0);
    }
    ck_assert_uint_eq(data_len, 3000);
}
END_TEST

START_TEST(a_message_that_is_not_wanted_ends_it)
{
    closes_with = WS_CODE_BAD_DATA;
    ck_assert_int_eq(feed("\x81\x01"
                          "a\x81\x01"
                          "b",
                          6, 6),
                     -ERR_PROTO);
    ck_assert_str_eq(seen, "a|");
    ck_assert_str_eq(take(), "8 1007");
    ck_assert_str_eq(take(), "");
}
END_TEST

START_TEST(what_leaves)
{
    ck_assert_int_eq(ws_frames_text(&frames, "hello", 5), 0);
    ck_assert_int_eq(ws_frames_ping(&frames), 0);
    ck_assert_uint_eq(ws_frames_queued(&frames), 2);
    ck_assert(!ws_frames_is_idle(&frames));
    ck_assert_int_eq(feed("\x89\x03you", 5, 5), 0);
    char both[3][40];
    for (unsigned i = 0; i < 3; i++)
        snprintf(both[i], sizeof(both[i]), "%s", take());
    ck_assert_str_eq(take(), "");
    /* Control frames go first. */
    ck_assert_str_eq(both[0], "9 penstock");
    ck_assert_str_eq(both[1], "10 you");
    ck_assert_str_eq(both[2], "1 hello");
    ck_assert(ws_frames_is_idle(&frames));
}
END_TEST

START_TEST(the_servers_close_is_answered_once)
{
    ck_assert_int_eq(feed("\x88\x05\x03\xe9"
                          "bye\x81\x01"
                          "a",
                          10, 10),
                     0);
    ck_assert(ws_frames_got_close(&frames));
    ck_assert_uint_eq(ws_frames_close_code(&frames), 1001);
    ck_assert_str_eq(take(), "8 1001");
    ck_assert_str_eq(take(), "");
    ws_frames_close(&frames, WS_CODE_NORMAL, "");
    ck_assert_str_eq(take(), "");
    ck_assert_str_eq(seen, ""); /* what came behind it is dropped */
}
END_TEST

START_TEST(our_close_is_sent_once)
{
    ws_frames_close(&frames, WS_CODE_GOING_AWAY, "");
    ws_frames_close(&frames, WS_CODE_POLICY, "");
    ck_assert_str_eq(take(), "8 1001");
    ck_assert_str_eq(take(), "");
    (void)feed("\x88\x02\x03\xe9", 4, 4);
    ck_assert(ws_frames_got_close(&frames));
    ck_assert_str_eq(take(), "");
}
END_TEST

/* A head that cannot be, while `out` ends within a frame: no close frame may cut that one. */
START_TEST(a_fault_while_a_frame_is_on_its_way)
{
    static char text[2 * WS_OUT_BYTES];
    size_t before;

    memset(text, 'x', sizeof(text));
    ck_assert_int_eq(ws_frames_text(&frames, text, sizeof(text)), 0);
    ck_assert_int_eq(ws_frames_emit(&frames), 0);
    before = frames.out.len;
    ck_assert_uint_eq(before, WS_OUT_BYTES);
    ck_assert_int_eq(feed("\x09\x00", 2, 2), -ERR_PROTO);
    ck_assert_uint_eq(frames.out.len, before);
    ck_assert_uint_eq(frames.code, WS_CODE_PROTOCOL);
}
END_TEST

START_TEST(without_a_chunk_it_fails)
{
    struct chunk *all[64];

    ck_assert_int_eq(ws_frames_text(&frames, "hello", 5), 0);
    for (unsigned i = 0; i < 64; i++)
        all[i] = chunk_take(&pool);
    ck_assert_int_eq(ws_frames_emit(&frames), -ERR_NOMEM);
    for (unsigned i = 0; i < 64; i++)
        chunk_give(&pool, all[i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ws_frames");
    TCase *tc = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, messages, 0, (int)(sizeof(good) / sizeof(good[0])));
    tcase_add_loop_test(tc, faults, 0, (int)(sizeof(bad) / sizeof(bad[0])));
    tcase_add_test(tc, the_sum_of_fragments_is_bounded);
    tcase_add_test(tc, a_message_that_is_not_wanted_ends_it);
    tcase_add_test(tc, what_leaves);
    tcase_add_test(tc, the_servers_close_is_answered_once);
    tcase_add_test(tc, our_close_is_sent_once);
    tcase_add_test(tc, a_fault_while_a_frame_is_on_its_way);
    tcase_add_test(tc, without_a_chunk_it_fails);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
