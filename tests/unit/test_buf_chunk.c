/* Tests of buf/chunk: what the pool keeps, gives back, counts and refuses. */
#include <check.h>
#include <signal.h>
#include <stdlib.h>

#include "buf/chunk.h"

START_TEST(a_taken_chunk_is_empty_behind_its_headroom)
{
    struct chunk_pool pool;
    struct chunk *c;

    chunk_pool_init(&pool, 1, 0);
    c = chunk_take(&pool);
    ck_assert_ptr_nonnull(c);
    ck_assert_uint_eq(c->head, CHUNK_HEADROOM);
    ck_assert_uint_eq(c->tail, CHUNK_HEADROOM);
    ck_assert_ptr_null(c->next);
    c->tail = CHUNK_BYTES;
    c->bytes[CHUNK_BYTES - 1] = 7;
    chunk_give(&pool, c);
    ck_assert_ptr_eq(chunk_take(&pool), c); /* kept, and empty again */
    ck_assert_uint_eq(c->tail, CHUNK_HEADROOM);
    c->bytes[0] = c->bytes[CHUNK_BYTES - 1] = 8; /* all of it may be written */
    chunk_give(&pool, c);
    chunk_pool_fini(&pool);
}
END_TEST

START_TEST(the_pool_keeps_no_more_than_told)
{
    struct chunk_pool pool;
    struct chunk *c[5];

    chunk_pool_init(&pool, 2, 0);
    for (unsigned i = 0; i < ARRAY_LEN(c); i++)
        c[i] = chunk_take(&pool);
    ck_assert_uint_eq(pool.out_count, 5);
    ck_assert_uint_eq(pool.free_count, 0);
    for (unsigned i = 0; i < ARRAY_LEN(c); i++)
        chunk_give(&pool, c[i]);
    ck_assert_uint_eq(pool.out_count, 0);
    ck_assert_uint_eq(pool.free_count, 2);
    ck_assert_uint_eq(pool.out_peak, 5);
    chunk_pool_fini(&pool);
    ck_assert_ptr_null(pool.free);
}
END_TEST

START_TEST(the_cap_refuses_and_counts)
{
    struct chunk_pool pool;
    struct chunk *a, *b;

    chunk_pool_init(&pool, 2, 2);
    a = chunk_take(&pool);
    b = chunk_take(&pool);
    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_nonnull(b);
    ck_assert_ptr_null(chunk_take(&pool));
    ck_assert_ptr_null(chunk_take(&pool));
    ck_assert_uint_eq(pool.refused, 2);
    ck_assert_uint_eq(pool.out_count, 2);
    chunk_give(&pool, a);
    a = chunk_take(&pool); /* one back: one out */
    ck_assert_ptr_nonnull(a);
    chunk_give(&pool, a);
    chunk_give(&pool, b);
    chunk_pool_fini(&pool);
}
END_TEST

START_TEST(a_chunk_given_twice_ends_the_program)
{
    struct chunk_pool pool;
    struct chunk *a, *b;

    chunk_pool_init(&pool, 2, 0);
    a = chunk_take(&pool);
    b = chunk_take(&pool);
    (void)b;
    chunk_give(&pool, a);
    chunk_give(&pool, a);
}
END_TEST

START_TEST(a_pool_that_is_owed_chunks_ends_the_program)
{
    struct chunk_pool pool;

    chunk_pool_init(&pool, 2, 0);
    ck_assert_ptr_nonnull(chunk_take(&pool));
    chunk_pool_fini(&pool);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("buf_chunk");
    TCase *tc = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, a_taken_chunk_is_empty_behind_its_headroom);
    tcase_add_test(tc, the_pool_keeps_no_more_than_told);
    tcase_add_test(tc, the_cap_refuses_and_counts);
    if (srunner_fork_status(runner) == CK_FORK) {
        tcase_add_test_raise_signal(tc, a_chunk_given_twice_ends_the_program, SIGABRT);
        tcase_add_test_raise_signal(tc, a_pool_that_is_owed_chunks_ends_the_program, SIGABRT);
    }
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
