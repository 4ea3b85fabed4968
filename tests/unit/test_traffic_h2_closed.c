/* Tests of h2_closed: who closed a stream, and what is forgotten. */
#include "traffic/h2_closed.h"

#include "support/suite.h"
#include "traffic_h1_fixture.h"

START_TEST(who_closed_it)
{
    struct h2_closed c;

    ck_assert_int_eq(h2_closed_init(&c, 100), 0);
    h2_closed_add(&c, 1, false);
    h2_closed_add(&c, 5, true);
    h2_closed_add(&c, INT32_MAX, true);
    ck_assert_int_eq(h2_closed_find(&c, 1), H2_CLOSED_BY_CLIENT);
    ck_assert_int_eq(h2_closed_find(&c, 5), H2_CLOSED_BY_US);
    ck_assert_int_eq(h2_closed_find(&c, INT32_MAX), H2_CLOSED_BY_US);
    ck_assert_int_eq(h2_closed_find(&c, 3), H2_CLOSED_UNKNOWN);
    h2_closed_fini(&c);
}
END_TEST

START_TEST(the_oldest_is_forgotten)
{
    static const struct {
        unsigned streams_max, count;
    } rows[] = {{1, H2_CLOSED_MIN}, {100, 200}, {1000, 2000}};
    struct h2_closed c;

    ck_assert_int_eq(h2_closed_init(&c, rows[_i].streams_max), 0);
    ck_assert_uint_eq(c.count, rows[_i].count);
    for (int32_t i = 0; i <= (int32_t)c.count; i++)
        h2_closed_add(&c, 2 * i + 1, i % 2);
    ck_assert_int_eq(h2_closed_find(&c, 1), H2_CLOSED_UNKNOWN);
    ck_assert_int_eq(h2_closed_find(&c, 3), H2_CLOSED_BY_US);
    ck_assert_int_eq(h2_closed_find(&c, 5), H2_CLOSED_BY_CLIENT);
    h2_closed_fini(&c);
    h2_closed_fini(&c); /* fine twice */
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("closed");

    tcase_add_test(tcase, who_closed_it);
    tcase_add_loop_test(tcase, the_oldest_is_forgotten, 0, 3);
    return suite_run("traffic/h2_closed", tcase);
}
