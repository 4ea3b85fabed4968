/* A TypedRequest message as it comes in: its parts are found whole and a byte at a time, what is no
 * object is told, and a large one is cheap. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "refusing_malloc.h"
#include "support/suite.h"
#include "tls/tls.h"
#include "traffic/typed_message.h"

static struct typed_message message;

static void setup(void)
{
    typed_message_init(&message);
}

static void teardown(void)
{
    typed_message_clear(&message);
}

static void push(const char *text, size_t step)
{
    size_t n = strlen(text);

    typed_message_clear(&message);
    for (size_t at = 0; at < n; at += step)
        ck_assert_int_eq(typed_message_push(&message, text + at, MIN(step, n - at)), 0);
    ck_assert_uint_eq(message.len, n);
}

/* "method|correlation|response|error" as they stand in the text, "-" for what is not there. */
static const char *parts(void)
{
    static char out[1000];
    size_t at = 0;

    for (unsigned i = 0; i < TYPED_PART_COUNT; i++) {
        size_t n;
        const char *text = typed_message_part(&message, (enum typed_part)i, &n);

        at += (size_t)snprintf(out + at, sizeof(out) - at, "%s%.*s", i > 0 ? "|" : "",
                               text ? (int)n : 1, text ? text : "-");
    }
    return out;
}

static const struct {
    const char *text, *parts;
} good[] = {
    {"{}", "-|-|-|-"},
    {" \t\r\n{ } ", "-|-|-|-"},
    {"{\"method\":\"m\"}", "\"m\"|-|-|-"},
    {" { \"method\" : \"m\" , \"correlation\" : { \"id\" : \"1\" } } ",
     "\"m\"|{ \"id\" : \"1\" }|-|-"},
    {"{\"response\":null,\"error\":7,\"method\":true}", "true|-|null|7"},
    {"{\"response\":[[],{}],\"error\":\"}\",\"x\":1}", "-|-|[[],{}]|\"}\""},
    {"{\"a\":{\"method\":\"inner\"},\"b\":[\"method\",\"x\"],\"c\":\"method\"}", "-|-|-|-"},
    {"{\"a\":\"\\\"method\\\":\\\\\",\"method\":\"\\\"}\\\\\"}", "\"\\\"}\\\\\"|-|-|-"},
    {"{\"\":0,\"metho\":1,\"method \":2,\"\\u006dethod\":3}", "-|-|-|-"},
    {"{\"request\":[{\"privateKey\":\"-----\\n\"}],\"correlation\":{}}", "-|{}|-|-"},
    {"{\"error\":\"\",\"response\":\"\"}", "-|-|\"\"|\"\""},
};

START_TEST(parts_are_found)
{
    for (size_t step = 1; step <= strlen(good[_i].text); step++) {
        push(good[_i].text, step);
        ck_assert(typed_message_is_object(&message));
        ck_assert_str_eq(parts(), good[_i].parts);
    }
}
END_TEST

static const char *const bad[] = {
    "",
    " ",
    "7",
    "null",
    "\"x\"",
    "[]",
    "{",
    "}",
    "{}x",
    "{}{}",
    "{,}",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{a:1}",
    "{\"a\" 1}",
    "{\"a\"::1}",
    "{\"a\":1 \"b\"",
    "{\"a\":\"",
    "{\"a\":[",
    "{\"a\":]}",
    "{\"a\":1]",
    "{\"a\":[1}",
    "{\"a\":1\"b\"}",
    "{\"a\":\"\\\"}",
    "{\"a\":\"x\"\"y\"}",
};

START_TEST(what_is_no_object)
{
    for (size_t step = 1; step <= MAX(strlen(bad[_i]), 1u); step++) {
        push(bad[_i], step);
        /* Brackets are only counted: whoever parses the whole finds which of them fits which. */
        ck_assert_msg(!typed_message_is_object(&message) || strcmp(bad[_i], "{\"a\":[1}") == 0,
                      "%s", bad[_i]);
    }
}
END_TEST

START_TEST(it_is_handed_over)
{
    char *text;
    size_t n;

    push("{\"method\":\"m\"}", 3);
    text = typed_message_take(&message, &n);
    ck_assert_uint_eq(n, 14);
    ck_assert_mem_eq(text, "{\"method\":\"m\"}", n);
    free(text);
    ck_assert_str_eq(parts(), "-|-|-|-");
    ck_assert(!typed_message_is_object(&message));
    push("{}", 2);
    ck_assert(typed_message_is_object(&message));
}
END_TEST

START_TEST(room_is_made_once)
{
    const char *before;

    ck_assert_int_eq(typed_message_reserve(&message, 1000000), 0);
    before = message.text;
    for (unsigned i = 0; i < 1000; i++) {
        char piece[1000];

        memset(piece, ' ', sizeof(piece));
        ck_assert_int_eq(typed_message_reserve(&message, 1000000), 0);
        ck_assert_int_eq(typed_message_push(&message, piece, sizeof(piece)), 0);
    }
    ck_assert_ptr_eq(message.text, before);
    ck_assert_uint_eq(message.room, 1000000);
    ck_assert_int_eq(typed_message_push(&message, "{}", 2), 0);
    ck_assert_uint_eq(message.len, 1000002);
    ck_assert(typed_message_is_object(&message));
}
END_TEST

START_TEST(there_is_no_memory)
{
    size_t n;

    push("{\"method\":\"m\"", 100);
    ck_assert_int_eq(typed_message_reserve(&message, SIZE_MAX / 4), -ERR_NOMEM);
    ck_assert_int_eq(typed_message_push(&message, "}", 1), 0); /* what was there is there still */
    ck_assert(typed_message_is_object(&message));
    ck_assert_ptr_nonnull(typed_message_part(&message, TYPED_METHOD, &n));
}
END_TEST

/* It grows by doubling, and finds a part behind megabytes. */
START_TEST(a_large_one)
{
    static char piece[4096];
    size_t n;

    memset(piece, 'x', sizeof(piece));
    for (size_t i = 63; i < sizeof(piece) - 1; i += 65)
        memcpy(piece + i, "\\n", 2);
    ck_assert_int_eq(typed_message_push(&message, "{\"request\":\"", 12), 0);
    for (unsigned i = 0; i < 2048; i++)
        ck_assert_int_eq(typed_message_push(&message, piece, sizeof(piece)), 0);
    ck_assert_int_eq(typed_message_push(&message, "\",\"method\":\"m\"}", 15), 0);
    ck_assert(typed_message_is_object(&message));
    ck_assert_str_eq(parts(), "\"m\"|-|-|-");
    ck_assert_uint_lt(message.room, 4 * message.len);
    free(typed_message_take(&message, &n));
    ck_assert_uint_eq(n, 12 + 2048 * sizeof(piece) + 15);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, parts_are_found, 0, (int)(sizeof(good) / sizeof(good[0])));
    tcase_add_loop_test(tc, what_is_no_object, 0, (int)(sizeof(bad) / sizeof(bad[0])));
    tcase_add_test(tc, it_is_handed_over);
    tcase_add_test(tc, room_is_made_once);
    tcase_add_test(tc, there_is_no_memory);
    tcase_add_test(tc, a_large_one);
    return suite_run("traffic_typed_message", tc);
}
