/* Tests of wire/base64url: the vectors of RFC 4648, and every text that is not the one text. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "wire/base64url.h"

static const struct {
    const char *bytes;
    size_t n;
    const char *text;
} same[] = {
    {"", 0, ""},
    {"f", 1, "Zg"},
    {"fo", 2, "Zm8"},
    {"foo", 3, "Zm9v"},
    {"foob", 4, "Zm9vYg"},
    {"fooba", 5, "Zm9vYmE"},
    {"foobar", 6, "Zm9vYmFy"},
    {"\0", 1, "AA"},
    {"\0\0\0", 3, "AAAA"},
    {"\xff\xff\xff", 3, "____"},
    {"\xfb\xff", 2, "-_8"},
};

START_TEST(bytes_and_text_are_each_others)
{
    char text[16];
    uint8_t bytes[8];
    size_t len;

    ck_assert_uint_eq(BASE64URL_LEN(same[_i].n), strlen(same[_i].text));
    ck_assert_uint_eq(base64url_emit(text, (const uint8_t *)same[_i].bytes, same[_i].n),
                      strlen(same[_i].text));
    ck_assert_str_eq(text, same[_i].text);
    ck_assert_int_eq(base64url_parse(bytes, same[_i].n, text, strlen(text), &len), 0);
    ck_assert_uint_eq(len, same[_i].n);
    if (len > 0)
        ck_assert_mem_eq(bytes, same[_i].bytes, len);
}
END_TEST

static const char *const wrong[] = {
    "A",   "AAAAA", "Zg==", "Zg=", "=",  "Zm9v\n",   " Zm9v",    "Zm9v ", "Zm 9v",
    "+_8", "/_8",   "Zh",   "Zm9", "_-", "\xc3\xa9", "Zm9vYg\r", "Zm.v",
};

START_TEST(every_other_text_is_refused)
{
    uint8_t bytes[8];
    size_t len;

    ck_assert_int_eq(base64url_parse(bytes, 8, wrong[_i], strlen(wrong[_i]), &len), -ERR_SYNTAX);
    ck_assert_uint_eq(len, 0);
}
END_TEST

START_TEST(a_nul_is_no_letter)
{
    uint8_t bytes[8];
    size_t len;

    ck_assert_int_eq(base64url_parse(bytes, 8, "Zm\0v", 4, &len), -ERR_SYNTAX);
}
END_TEST

START_TEST(more_than_there_is_room_for_is_refused)
{
    uint8_t *bytes = malloc(2);
    size_t len;

    ck_assert_ptr_nonnull(bytes);
    ck_assert_int_eq(base64url_parse(bytes, 2, "Zm9v", 4, &len), -ERR_TOO_BIG);
    ck_assert_int_eq(base64url_parse(bytes, 2, "Zm8", 3, &len), 0);
    free(bytes);
}
END_TEST

START_TEST(of_all_pairs_of_letters_one_in_sixteen_is_a_byte)
{
    unsigned taken = 0;
    uint8_t byte, seen[256] = {0};
    size_t len;

    for (int a = 0; a < 256; a++)
        for (int b = 0; b < 256; b++) {
            char text[2] = {(char)a, (char)b};
            if (base64url_parse(&byte, 1, text, 2, &len) != 0)
                continue;
            ck_assert_uint_eq(len, 1);
            ck_assert_uint_eq(seen[byte], 0);
            seen[byte] = 1;
            taken++;
        }
    ck_assert_uint_eq(taken, 256);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wire/base64url");
    TCase *tcase = tcase_create("all");

    tcase_add_loop_test(tcase, bytes_and_text_are_each_others, 0, ARRAY_LEN(same));
    tcase_add_loop_test(tcase, every_other_text_is_refused, 0, ARRAY_LEN(wrong));
    tcase_add_test(tcase, a_nul_is_no_letter);
    tcase_add_test(tcase, more_than_there_is_room_for_is_refused);
    tcase_add_test(tcase, of_all_pairs_of_letters_one_in_sixteen_is_a_byte);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
