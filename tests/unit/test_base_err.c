/* Tests of base/err: every error has a name and a text, with either sign; nothing else has. */
#include <check.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

START_TEST(names_and_texts_are_found_with_either_sign)
{
    ck_assert_str_eq(err_name(0), "none");
    ck_assert_str_eq(err_name(ERR_PROTO), "proto");
    ck_assert_str_eq(err_name(-ERR_PROTO), "proto");
    ck_assert_str_eq(err_name(-ERR_SYS), "sys");
    ck_assert_str_eq(err_name(-ERR_NOT_FOUND), "not_found");
    ck_assert_str_eq(err_text(-ERR_PROTO), "the peer broke the protocol");
    ck_assert_str_eq(err_text(ERR_SYS), "a system call failed");
}
END_TEST

START_TEST(each_name_is_that_of_its_constant)
{
    static const char *const constants[] = {
#define X(name, text) #name,
        ERR_LIST(X)
#undef X
    };

    for (int i = 0; i < ERR_COUNT; i++)
        ck_assert_int_eq(strcasecmp(err_name(i), constants[i]), 0);
}
END_TEST

START_TEST(numbers_that_are_no_error_are_unknown)
{
    static const int strange[] = {ERR_COUNT, -ERR_COUNT, 1000, -1000, INT_MAX, INT_MIN};

    for (unsigned i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
        ck_assert_str_eq(err_name(strange[i]), "unknown");
        ck_assert_str_eq(err_text(strange[i]), "unknown error");
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base_err");
    TCase *tc = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, names_and_texts_are_found_with_either_sign);
    tcase_add_test(tc, each_name_is_that_of_its_constant);
    tcase_add_test(tc, numbers_that_are_no_error_are_unknown);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
