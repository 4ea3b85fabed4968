/* Texts around JSON: what is no UTF-8 becomes it, and where a byte is, as editors count. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "json/json.h"

START_TEST(what_is_no_utf8_is_repaired)
{
    static const char *const texts[][2] = {
        {"", ""},
        {"plain", "plain"},
        {"\xc3\xa9\xff", "\xc3\xa9?"},
        {"\xc3", "?"},
        {"\xe2\x82", "??"},
        {"\xed\xa0\x80x", "???x"},
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char text[16];

        strcpy(text, texts[i][0]);
        json_repair_utf8(text);
        ck_assert_str_eq(text, texts[i][1]);
    }
}
END_TEST

START_TEST(a_place_is_a_line_and_a_column)
{
    static const struct {
        const char *before;
        size_t line, column;
    } cases[] = {
        {"", 1, 1},       {"ab", 1, 3},       {"a\n", 2, 1},
        {"\n\n  ", 3, 3}, {"\xc3\xa9", 1, 2}, {"a\xe2\x82\xac\nb\xc3\xa9", 2, 3},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t line, column;

        json_place(cases[i].before, strlen(cases[i].before), &line, &column);
        ck_assert_uint_eq(line, cases[i].line);
        ck_assert_uint_eq(column, cases[i].column);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("json_text");
    TCase *tc = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, what_is_no_utf8_is_repaired);
    tcase_add_test(tc, a_place_is_a_line_and_a_column);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
