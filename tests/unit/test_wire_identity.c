/* Tests of wire/identity: every single byte as a part of each name, and the lengths. */
#include <check.h>
#include <ctype.h>
#include <string.h>

#include "base/must.h"
#include "wire/identity.h"

static const struct {
    bool (*is_valid)(const char *);
    size_t min, max;
    const char *others; /* besides letters and digits; NULL: all but control characters */
} names[] = {
    {edge_id_is_valid, 1, 64, "._-"},
    {secret_is_valid, 22, 256, "-_.~"},
    {host_is_valid, 1, 253, "._:-"},
    {instance_is_valid, 1, 253, NULL},
};

START_TEST(lengths_are_kept)
{
    char text[300];

    for (size_t n = 0; n < sizeof(text); n++) {
        memset(text, 'a', n);
        text[n] = '\0';
        ck_assert_int_eq(names[_i].is_valid(text), n >= names[_i].min && n <= names[_i].max);
    }
    ck_assert(!names[_i].is_valid(NULL));
}
END_TEST

START_TEST(only_listed_characters_are_taken)
{
    char text[64];

    for (int c = 1; c < 256; c++) {
        memset(text, 'a', 40);
        text[40] = '\0';
        text[39] = (char)c;
        bool is_letter = c < 0x80 && isalnum(c);
        bool expected =
            names[_i].others ? is_letter || strchr(names[_i].others, c) : c >= 0x20 && c != 0x7f;
        ck_assert_msg(names[_i].is_valid(text) == expected, "byte 0x%02x", (unsigned)c);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wire/identity");
    TCase *tcase = tcase_create("all");

    tcase_add_loop_test(tcase, lengths_are_kept, 0, ARRAY_LEN(names));
    tcase_add_loop_test(tcase, only_listed_characters_are_taken, 0, ARRAY_LEN(names));
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
