/* Which destination a request goes to, and in which order the others follow. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/suite.h"
#include "traffic/health.h"
#include "traffic/traffic_worker_internal.h"
#include "traffic/upstream_choice.h"

#define POOLS 4u
#define NOW   1000u

static struct route_options options;
static struct upstream_pool pools[POOLS], *list[POOLS];
static struct health_mark marks[POOLS], *mark_list[POOLS];
static struct route route;
static struct route_slot slot;
static uint64_t dice;

static void setup(void)
{
    memset(pools, 0, sizeof(pools));
    memset(marks, 0, sizeof(marks));
    for (unsigned i = 0; i < POOLS; i++) {
        list[i] = &pools[i];
        mark_list[i] = &marks[i];
    }
    options = (struct route_options){.balance = BALANCE_ROUND_ROBIN};
    route = (struct route){.options = &options, .destination_count = POOLS, .marks = mark_list};
    slot = (struct route_slot){.pools = list};
    dice = 42;
}

/* The order of one request, as digits. */
static const char *order(void)
{
    static char out[UPSTREAM_ATTEMPTS_MAX + 1];
    struct upstream_choice c;
    struct upstream_pool *pool;
    unsigned n = 0;

    upstream_choice_start(&c, &slot, &route);
    while ((pool = upstream_choice_next(&c, &slot, &route, NOW, &dice)))
        out[n++] = (char)('0' + (pool - pools));
    out[n] = '\0';
    return out;
}

START_TEST(round_robin)
{
    ck_assert_str_eq(order(), "0123");
    ck_assert_str_eq(order(), "1230");
    pools[3].down_until_ms = NOW + 1;
    ck_assert_str_eq(order(), "2013"); /* who is down comes last, not never */
    marks[0].is_down = true;
    ck_assert_str_eq(order(), "1230");
    pools[3].down_until_ms = NOW; /* time to try it again */
    ck_assert_str_eq(order(), "1230");
}
END_TEST

START_TEST(all_are_down)
{
    for (unsigned i = 0; i < POOLS; i++)
        marks[i].is_down = true;
    ck_assert_str_eq(order(), "0123");
    options.balance = BALANCE_P2C;
    ck_assert_uint_eq(strlen(order()), POOLS);
    route.marks = NULL;
    ck_assert_uint_eq(strlen(order()), POOLS);
}
END_TEST

START_TEST(least_connections)
{
    options.balance = BALANCE_LEAST_CONNECTIONS;
    pools[0].open = 5;
    pools[1].open = 9;
    pools[1].idle_count = 8; /* one in flight */
    pools[2].open = 2;
    pools[3].open = 1;
    ck_assert_str_eq(order(), "1320"); /* 1 and 3 are alike: by turns */
    slot.next = 2;
    ck_assert_str_eq(order(), "3120");
    marks[3].is_down = true;
    ck_assert_str_eq(order(), "1203");
}
END_TEST

/* Never the busiest where another is up, and all the others in turn. */
START_TEST(better_of_two)
{
    unsigned first[POOLS] = {0};

    options.balance = BALANCE_P2C;
    pools[2].open = 100;
    for (unsigned i = 0; i < 1000; i++) {
        const char *line = order();

        ck_assert_uint_eq(strlen(line), POOLS);
        first[line[0] - '0']++;
    }
    ck_assert_uint_eq(first[2], 0);
    for (unsigned i = 0; i < POOLS; i++)
        ck_assert(i == 2 || first[i] > 200);
}
END_TEST

START_TEST(attempts_have_an_end)
{
    static struct upstream_pool many[20], *many_list[20];
    struct upstream_choice c;
    unsigned n = 0;

    for (unsigned i = 0; i < 20; i++)
        many_list[i] = &many[i];
    route.destination_count = 20;
    route.marks = NULL;
    slot.pools = many_list;
    upstream_choice_start(&c, &slot, &route);
    while (upstream_choice_next(&c, &slot, &route, NOW, &dice))
        n++;
    ck_assert_uint_eq(n, UPSTREAM_ATTEMPTS_MAX);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("choice");

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, round_robin);
    tcase_add_test(tcase, all_are_down);
    tcase_add_test(tcase, least_connections);
    tcase_add_test(tcase, better_of_two);
    tcase_add_test(tcase, attempts_have_an_end);
    return suite_run("traffic_upstream_choice", tcase);
}
