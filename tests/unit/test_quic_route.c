/* The table of ids: a model test beside a plain array. */
#include "quic/quic_route.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/seeded.h"

#define ROUTES 2000u

static const uint64_t seed[2] = {1, 2};

START_TEST(finds_what_it_has)
{
    struct route_table t;
    struct route a = {0}, b = {0}, c = {0};
    int first, second;

    ck_assert_int_eq(quic_route_table_init(&t, seed), 0);
    ck_assert_ptr_null(quic_route_find(&t, ROUTE_ID, (const uint8_t *)"abcd", 4));
    ck_assert(quic_route_add(&t, &a, ROUTE_ID, (const uint8_t *)"abcd", 4, &first));
    ck_assert(quic_route_add(&t, &b, ROUTE_RESET_TOKEN, (const uint8_t *)"abcd", 4, &second));
    ck_assert(!quic_route_add(&t, &c, ROUTE_ID, (const uint8_t *)"abcd", 4, &second));
    ck_assert_int_eq(c.kind, ROUTE_NONE);
    ck_assert_ptr_eq(quic_route_find(&t, ROUTE_ID, (const uint8_t *)"abcd", 4), &first);
    ck_assert_ptr_eq(quic_route_find(&t, ROUTE_RESET_TOKEN, (const uint8_t *)"abcd", 4), &second);
    ck_assert_ptr_null(quic_route_find(&t, ROUTE_ID, (const uint8_t *)"abcde", 5));
    ck_assert_ptr_null(quic_route_find(&t, ROUTE_ID, (const uint8_t *)"abc", 3));
    ck_assert_ptr_null(quic_route_find(&t, ROUTE_ID, (const uint8_t *)"", 0));
    ck_assert_ptr_null(
        quic_route_find(&t, ROUTE_ID, (const uint8_t *)"abcdefghijklmnopqrstuvwxyz", 26));
    ck_assert_ptr_eq(quic_route_find(&t, ROUTE_ID, (const uint8_t *)"abcd", 4), &first);
    quic_route_remove(&t, &a); /* the one that was found last */
    quic_route_remove(&t, &a); /* fine twice */
    ck_assert_ptr_null(quic_route_find(&t, ROUTE_ID, (const uint8_t *)"abcd", 4));
    ck_assert_ptr_eq(quic_route_find(&t, ROUTE_RESET_TOKEN, (const uint8_t *)"abcd", 4), &second);
    quic_route_remove(&t, &b);
    quic_route_table_fini(&t);
    quic_route_table_fini(&t);
}
END_TEST

static void key_of(unsigned i, uint8_t key[ROUTE_KEY_MAX], size_t *n)
{
    uint64_t at = i;

    for (size_t k = 0; k < ROUTE_KEY_MAX; k++)
        key[k] = (uint8_t)seeded_next(&at);
    *n = 8 + i % 13;
}

START_TEST(many)
{
    struct route *routes = calloc(ROUTES, sizeof(*routes));
    uint8_t key[ROUTE_KEY_MAX];
    struct route_table t;
    uint64_t dice = 3;
    size_t n, count = 0;

    ck_assert_int_eq(quic_route_table_init(&t, seed), 0);
    for (unsigned step = 0; step < 20000; step++) {
        unsigned i = (unsigned)seeded_below(&dice, ROUTES);

        key_of(i, key, &n);
        if (routes[i].kind == ROUTE_NONE) {
            ck_assert_ptr_null(quic_route_find(&t, ROUTE_ID, key, n));
            ck_assert(quic_route_add(&t, &routes[i], ROUTE_ID, key, n, &routes[i]));
            count++;
        } else {
            ck_assert_ptr_eq(quic_route_find(&t, ROUTE_ID, key, n), &routes[i]);
            quic_route_remove(&t, &routes[i]);
            count--;
        }
        ck_assert_uint_eq(t.count, count);
    }
    for (unsigned i = 0; i < ROUTES; i++) {
        key_of(i, key, &n);
        ck_assert_ptr_eq(quic_route_find(&t, ROUTE_ID, key, n),
                         routes[i].kind == ROUTE_NONE ? NULL : &routes[i]);
        quic_route_remove(&t, &routes[i]);
    }
    quic_route_table_fini(&t);
    free(routes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quic_route");
    TCase *all = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(all, finds_what_it_has);
    tcase_add_test(all, many);
    suite_add_tcase(suite, all);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
