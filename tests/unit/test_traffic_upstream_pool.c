/* Tests of upstream_pool: one pool an address, passive health with its back-off, and what is freed.
 */
#include "traffic/upstream_pool.h"

#include "support/suite.h"
#include "traffic_h1_fixture.h"

static struct destination destination(unsigned port)
{
    struct destination d = {0};
    char text[ADDR_TEXT_MAX];

    snprintf(text, sizeof(text), "192.0.2.1:%u", port);
    ck_assert_int_eq(addr_parse(&d.addr, text), 0);
    addr_format(&d.addr, d.key);
    return d;
}

START_TEST(an_address_has_one_pool)
{
    struct upstream_pools pools = {0};
    struct destination a = destination(80), b = destination(81);
    struct upstream_pool *first = upstream_pool_ref(&pools, &a, NULL);

    ck_assert_ptr_eq(upstream_pool_ref(&pools, &a, NULL), first);
    ck_assert_ptr_ne(upstream_pool_ref(&pools, &b, NULL), first);
    ck_assert_uint_eq(first->users, 2);
    ck_assert_str_eq(first->key, "192.0.2.1:80");
    ck_assert_uint_eq(addr_port(&first->addr), 80);
    upstream_pool_unref(first);
    upstream_pool_unref(first);
    ck_assert_uint_eq(upstream_pools_sweep(&pools, 0), 0);
    first = upstream_pool_ref(&pools, &b, NULL); /* it was in use, so it is there still */
    ck_assert_uint_eq(first->users, 2);
    upstream_pool_unref(first);
    upstream_pool_unref(first);
    upstream_pools_fini(&pools);
}
END_TEST

START_TEST(many_pools_share_buckets)
{
    struct upstream_pools pools = {0};
    struct upstream_pool *made[2000];

    for (unsigned i = 0; i < ARRAY_LEN(made); i++) {
        struct destination d = destination(1 + i);

        made[i] = upstream_pool_ref(&pools, &d, NULL);
    }
    for (unsigned i = 0; i < ARRAY_LEN(made); i++) {
        struct destination d = destination(1 + i);

        ck_assert_ptr_eq(upstream_pool_ref(&pools, &d, NULL), made[i]);
        upstream_pool_unref(made[i]);
        upstream_pool_unref(made[i]);
    }
    upstream_pools_sweep(&pools, 0);
    for (unsigned i = 0; i < POOL_BUCKETS; i++)
        ck_assert_ptr_null(pools.buckets[i]);
}
END_TEST

START_TEST(a_failure_marks_it_down_for_a_growing_time)
{
    static const uint64_t times[] = {5000, 10000, 20000, 40000, 60000, 60000};
    struct upstream_pools pools = {0};
    struct destination d = destination(80);
    struct upstream_pool *pool = upstream_pool_ref(&pools, &d, NULL);
    uint64_t now = 1000;

    ck_assert(!upstream_pool_is_down(pool, now));
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        ck_assert(upstream_pool_failed(pool, now) == (i == 0)); /* a change only the first time */
        ck_assert(!upstream_pool_failed(pool, now + 1)); /* one that began before counts once */
        ck_assert(upstream_pool_is_down(pool, now + times[i] - 1));
        ck_assert(!upstream_pool_is_down(pool, now + times[i]));
        now += times[i];
    }
    ck_assert(upstream_pool_succeeded(pool));
    ck_assert(!upstream_pool_succeeded(pool));
    ck_assert(upstream_pool_failed(pool, now));
    ck_assert(upstream_pool_is_down(pool, now + 4999));
    ck_assert(!upstream_pool_is_down(pool, now + 5000));
    upstream_pool_unref(pool);
    upstream_pools_fini(&pools);
}
END_TEST

START_TEST(who_is_down_is_remembered_while_nobody_uses_it)
{
    struct upstream_pools pools = {0};
    struct destination d = destination(80);
    struct upstream_pool *pool = upstream_pool_ref(&pools, &d, NULL);

    ck_assert(upstream_pool_failed(pool, 1000));
    upstream_pool_unref(pool);
    ck_assert_uint_eq(upstream_pools_sweep(&pools, 2000), 1);
    ck_assert_ptr_eq(upstream_pool_ref(&pools, &d, NULL), pool);
    ck_assert(upstream_pool_is_down(pool, 2000));
    upstream_pool_unref(pool);
    ck_assert_uint_eq(upstream_pools_sweep(&pools, 6000), 0);
    for (unsigned i = 0; i < POOL_BUCKETS; i++)
        ck_assert_ptr_null(pools.buckets[i]);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("pools");

    tcase_add_test(tcase, an_address_has_one_pool);
    tcase_add_test(tcase, many_pools_share_buckets);
    tcase_add_test(tcase, a_failure_marks_it_down_for_a_growing_time);
    tcase_add_test(tcase, who_is_down_is_remembered_while_nobody_uses_it);
    return suite_run("traffic/upstream_pool", tcase);
}
