/* Tests of h2_guard: bursts, and what time brings back. */
#include "traffic/h2_guard.h"

#include "support/suite.h"
#include "traffic_h1_fixture.h"

static unsigned take_all(struct h2_bucket *b, uint64_t now_ms)
{
    unsigned n = 0;

    while (h2_bucket_take(b, now_ms))
        n++;
    return n;
}

START_TEST(a_burst_and_no_more)
{
    struct h2_bucket b;

    h2_bucket_init(&b, 100, 5000);
    ck_assert_uint_eq(take_all(&b, 5000), 100);
    ck_assert(!h2_bucket_take(&b, 5000));
}
END_TEST

START_TEST(a_tenth_comes_back_each_second)
{
    struct h2_bucket b;
    unsigned sum = 0;

    h2_bucket_init(&b, 100, 0);
    take_all(&b, 0);
    ck_assert_uint_eq(take_all(&b, 1000), 10);
    for (uint64_t now = 1000; now <= 11000; now += 7) /* whatever the steps */
        sum += take_all(&b, now);
    ck_assert_uint_ge(sum, 99);
    ck_assert_uint_le(sum, 100);
    ck_assert_uint_eq(take_all(&b, 1000000000), 100); /* never more than the burst */
}
END_TEST

START_TEST(what_is_given_back)
{
    struct h2_bucket b;

    h2_bucket_init(&b, 10, 0);
    h2_bucket_give(&b, 5); /* it is full: nothing */
    ck_assert_uint_eq(take_all(&b, 0), 10);
    h2_bucket_give(&b, 3);
    ck_assert_uint_eq(take_all(&b, 0), 3);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("buckets");

    tcase_add_test(tcase, a_burst_and_no_more);
    tcase_add_test(tcase, a_tenth_comes_back_each_second);
    tcase_add_test(tcase, what_is_given_back);
    return suite_run("traffic/h2_guard", tcase);
}
