/* Tests of base/must: a failing must() says where and aborts, a holding one does nothing; the
 * allocations that cannot fail. */
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"

START_TEST(a_fact_that_holds_is_evaluated_once)
{
    int times = 0;

    must(++times == 1);
    ck_assert_int_eq(times, 1);
}
END_TEST

START_TEST(a_fact_that_does_not_hold_aborts)
{
    must(1 + 1 == 3);
}
END_TEST

START_TEST(the_message_names_the_fact_and_the_place)
{
    int pipe_fds[2];
    char text[256] = "";
    ssize_t n;
    pid_t child;

    ck_assert_int_eq(pipe(pipe_fds), 0);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        dup2(pipe_fds[1], 2);
        must_fail("two == three", "some/file.c", 42);
    }
    close(pipe_fds[1]);
    n = read(pipe_fds[0], text, sizeof(text) - 1);
    ck_assert_int_gt(n, 0);
    ck_assert_str_eq(text, "penstock: some/file.c:42: must(two == three) does not hold\n");
}
END_TEST

START_TEST(memory_comes_zeroed_and_even_for_nothing)
{
    char *p = must_alloc(64), *none = must_alloc(0);

    for (int i = 0; i < 64; i++)
        ck_assert_int_eq(p[i], 0);
    ck_assert_ptr_nonnull(none);
    free(p);
    free(none);
}
END_TEST

START_TEST(words_are_joined)
{
    char *all = must_join((const char *const[]){"a", "b", "c", NULL});
    char *one = must_join((const char *const[]){"a", NULL}), *none = must_join(NULL);

    ck_assert_str_eq(all, "a, b, c");
    ck_assert_str_eq(one, "a");
    ck_assert_str_eq(none, "");
    free(all);
    free(one);
    free(none);
}
END_TEST

START_TEST(text_is_copied_and_formatted)
{
    char source[] = "text";
    char *copy = must_strdup(source), *made = must_printf("%s-%d", "x", 7);

    source[0] = 'T';
    ck_assert_str_eq(copy, "text");
    ck_assert_str_eq(made, "x-7");
    free(copy);
    free(made);
}
END_TEST

START_TEST(the_macros_compute_what_they_say)
{
    struct pair {
        int a;
        long b;
    } pair;
    int three[3];

    ck_assert_ptr_eq(container_of(&pair.b, struct pair, b), &pair);
    ck_assert_uint_eq(ARRAY_LEN(three), 3);
    ck_assert_int_eq(MIN(2, 3), 2);
    ck_assert_int_eq(MAX(2, 3), 3);
    ck_assert_uint_eq(BIT(5), 32);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base_must");
    TCase *tc = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, a_fact_that_holds_is_evaluated_once);
    tcase_add_test(tc, the_message_names_the_fact_and_the_place);
    tcase_add_test(tc, memory_comes_zeroed_and_even_for_nothing);
    tcase_add_test(tc, text_is_copied_and_formatted);
    tcase_add_test(tc, words_are_joined);
    tcase_add_test(tc, the_macros_compute_what_they_say);
    if (srunner_fork_status(runner) == CK_FORK)
        tcase_add_test_raise_signal(tc, a_fact_that_does_not_hold_aborts, SIGABRT);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
