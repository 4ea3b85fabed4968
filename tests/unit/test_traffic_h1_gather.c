/* Tests of h1_gather: bytes stay in order while it grows, and no limit is passed, not even one that
 * was lowered meanwhile. */
#include "traffic/h1_gather.h"

#include "support/suite.h"
#include "traffic_h1_fixture.h"

START_TEST(pieces_are_put_together)
{
    struct h1_gather g = {0};
    size_t used;

    for (unsigned i = 0; i < 10000; i++) {
        char byte = (char)('a' + i % 26);

        ck_assert_int_eq(h1_gather_add(&g, &byte, 1, 10000, &used), 0);
        ck_assert_uint_eq(used, 1);
    }
    ck_assert_uint_eq(g.len, 10000);
    ck_assert_uint_lt(g.size, 20000);
    for (unsigned i = 0; i < 10000; i++)
        ck_assert_int_eq(g.bytes[i], 'a' + (int)(i % 26));
    ck_assert_int_eq(h1_gather_add(&g, "x", 1, 10000, &used), 0);
    ck_assert_uint_eq(used, 0);
    h1_gather_fini(&g);
    ck_assert_ptr_null(g.bytes);
    h1_gather_fini(&g);
}
END_TEST

START_TEST(room_is_made_behind_what_is_there)
{
    struct h1_gather g = {0};
    char *at = h1_gather_extend(&g, 3);

    memcpy(at, "one", 3);
    at = h1_gather_extend(&g, 2 * H1_GATHER_FIRST);
    ck_assert_uint_eq(g.len, 3 + 2 * H1_GATHER_FIRST);
    ck_assert_uint_ge(g.size, g.len);
    ck_assert_ptr_eq(at, g.bytes + 3);
    memset(at, '-', 2 * H1_GATHER_FIRST);
    ck_assert_mem_eq(g.bytes, "one-", 4);
    h1_gather_fini(&g);
}
END_TEST

START_TEST(a_limit_may_be_lowered_below_what_is_held)
{
    struct h1_gather g = {0};
    size_t used;

    ck_assert_int_eq(h1_gather_add(&g, "hello", 5, 100, &used), 0);
    ck_assert_int_eq(h1_gather_add(&g, "world", 5, 3, &used), 0);
    ck_assert_uint_eq(used, 0);
    ck_assert_uint_eq(g.len, 5);
    ck_assert_int_eq(h1_gather_add(&g, "world", 5, 7, &used), 0);
    ck_assert_uint_eq(used, 2);
    ck_assert_mem_eq(g.bytes, "hellowo", 7);
    h1_gather_fini(&g);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("heads in pieces");

    tcase_add_test(tcase, pieces_are_put_together);
    tcase_add_test(tcase, room_is_made_behind_what_is_there);
    tcase_add_test(tcase, a_limit_may_be_lowered_below_what_is_held);
    return suite_run("traffic/h1_gather", tcase);
}
