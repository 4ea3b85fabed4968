/* A budget's parts: who is alone gets nearly all, those that compete the same each, and something
 * stays for one that comes later.  (The budget itself: test_tunnel_window.c.) */
#include <check.h>
#include <pthread.h>

#include "support/suite.h"
#include "tunnel/budget.h"

#define LIMIT 1000000u
#define BITE  100u

static struct budget whole;

static void whole_init(void)
{
    budget_init(&whole, LIMIT, 16, 4u << 20);
    budget_set_udp(&whole, 8, 65536, LIMIT);
}

/* Takes what it is given; how much it holds then. */
static uint64_t gorge(struct budget *part)
{
    while (budget_take(part, BITE))
        ;
    return atomic_load(&part->taken);
}

START_TEST(alone_it_gets_its_percents)
{
    static const struct {
        unsigned percent;
        uint64_t holds;
    } rows[] = {{100, LIMIT}, {99, 990000}, {90, 900000}, {50, 500000}, {1, 10000}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct budget part;

        whole_init();
        budget_init_part(&part, &whole, rows[i].percent);
        ck_assert_uint_eq(gorge(&part), rows[i].holds);
        ck_assert_uint_eq(atomic_load(&whole.taken), rows[i].holds);
        ck_assert_uint_eq(atomic_load(&part.past_share), rows[i].percent < 100);
        ck_assert_uint_eq(atomic_load(&whole.past_share), rows[i].percent < 100);
        ck_assert_uint_eq(atomic_load(&whole.denied), rows[i].percent == 100);
        budget_give(&part, rows[i].holds);
        ck_assert_uint_eq(atomic_load(&whole.taken), 0);
        ck_assert(budget_take(&part, LIMIT)); /* one take may pass the share, never the limit */
        ck_assert(!budget_take(&part, 1));
        budget_give(&part, LIMIT);
    }
}
END_TEST

/* All take as much as they may; what they have they give back bit by bit, as streams that end do,
 * and who gave takes last. */
START_TEST(those_that_compete_get_the_same)
{
    struct budget parts[4];
    uint64_t share;

    whole_init();
    for (unsigned n = 0; n < ARRAY_LEN(parts); n++) {
        budget_init_part(&parts[n], &whole, 90);
        ck_assert(budget_take(&parts[n], BITE)); /* the one that comes finds room */
        for (unsigned turn = 0; turn < 20000; turn++) {
            struct budget *part = &parts[turn % (n + 1)];

            budget_give(part, BITE);
            for (unsigned i = 1; i <= n + 1; i++)
                gorge(&parts[(turn + i) % (n + 1)]);
        }
        share = LIMIT * 90ull / (10 + 90 * (n + 1));
        for (unsigned i = 0; i <= n; i++) {
            ck_assert_uint_ge(atomic_load(&parts[i].taken), share - share / 50);
            ck_assert_uint_le(atomic_load(&parts[i].taken), share + share / 50);
        }
    }
    ck_assert_uint_eq(atomic_load(&whole.denied), 0); /* the whole was never used up */
    for (unsigned i = 0; i < ARRAY_LEN(parts); i++)
        budget_give(&parts[i], atomic_load(&parts[i].taken));
    ck_assert_uint_eq(atomic_load(&whole.taken), 0);
}
END_TEST

START_TEST(datagrams_have_shares_too)
{
    struct budget a, b;

    whole_init();
    budget_init_part(&a, &whole, 90);
    budget_init_part(&b, &whole, 90);
    ck_assert_uint_eq(a.udp.queue_bytes, 65536);
    while (budget_take_udp(&a, BITE))
        ;
    ck_assert_uint_eq(atomic_load(&a.udp.taken), 900000);
    ck_assert_uint_eq(atomic_load(&a.udp.past_share), 1);
    ck_assert_uint_eq(atomic_load(&whole.udp.past_share), 1);
    ck_assert_uint_eq(atomic_load(&whole.udp.denied), 0);
    ck_assert(budget_take_udp(&b, 50000));
    budget_give_udp(&a, 900000);
    budget_give_udp(&b, 50000);
    ck_assert_uint_eq(atomic_load(&whole.udp.taken), 0);
}
END_TEST

/* Streams and UDP sessions: of the whole; a window's share, where all are many, is of the part. */
START_TEST(what_is_open_is_counted_in_both)
{
    struct budget a, b;

    whole_init();
    budget_init_part(&a, &whole, 90);
    budget_init_part(&b, &whole, 90);
    for (unsigned i = 0; i < 8; i++) {
        ck_assert(budget_open_stream(&a));
        ck_assert(budget_open_stream(&b));
        ck_assert(budget_has_udp_room(&whole));
        ck_assert(budget_open_udp(&a));
    }
    ck_assert(!budget_has_udp_room(&whole));
    ck_assert(!budget_open_stream(&a) && !budget_open_udp(&b));
    ck_assert_uint_eq(atomic_load(&whole.streams), 16);
    ck_assert_uint_eq(atomic_load(&a.streams), 8);
    ck_assert_uint_eq(atomic_load(&whole.streams_refused), 1);
    ck_assert_uint_eq(atomic_load(&whole.udp.sessions_refused), 1);
    ck_assert_uint_eq(budget_window(&whole), whole.limit_bytes / 16 + BUDGET_STREAM_FREE);
    ck_assert_uint_eq(budget_window(&a), whole.limit_bytes / 100 * 90 / 8 + BUDGET_STREAM_FREE);
    for (unsigned i = 0; i < 8; i++) {
        budget_close_stream(&a);
        budget_close_stream(&b);
        budget_close_udp(&a);
    }
    ck_assert_uint_eq(atomic_load(&whole.streams), 0);
    ck_assert_uint_eq(atomic_load(&whole.udp.sessions), 0);
}
END_TEST

START_TEST(the_rule)
{
    ck_assert(budget_share_allows(0, 0, 1, 1));
    ck_assert(budget_share_allows(1, 1, 2, 90)); /* small limits have no share to keep */
    ck_assert(budget_share_allows(8, 8, 9, 90));
    ck_assert(!budget_share_allows(9, 9, 10, 90));
    ck_assert(!budget_share_allows(0, 10, 10, 90)); /* nothing is free */
    ck_assert(budget_share_allows(10, 10, 10, 100));
    ck_assert(!budget_share_allows(1, 11, 10, 90)); /* workers admit at the same time */
    ck_assert(budget_share_allows(1ull << 39, 1ull << 39, 1ull << 40, 90));
}
END_TEST

static void *take_and_give(void *arg)
{
    struct budget *part = arg;

    for (unsigned i = 0; i < 100000; i++) {
        uint64_t n = 1 + i % 700;

        if (budget_take(part, n))
            budget_give(part, n);
        if (budget_open_stream(part))
            budget_close_stream(part);
    }
    return NULL;
}

START_TEST(workers_use_parts)
{
    pthread_t threads[4];
    struct budget parts[2];

    budget_init(&whole, 1000, 3, 4u << 20);
    for (unsigned i = 0; i < ARRAY_LEN(parts); i++)
        budget_init_part(&parts[i], &whole, 90);
    for (unsigned i = 0; i < ARRAY_LEN(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_and_give, &parts[i % 2]), 0);
    for (unsigned i = 0; i < ARRAY_LEN(threads); i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(atomic_load(&whole.taken), 0);
    ck_assert_uint_eq(atomic_load(&whole.streams), 0);
    for (unsigned i = 0; i < ARRAY_LEN(parts); i++) {
        ck_assert_uint_eq(atomic_load(&parts[i].taken), 0);
        ck_assert_uint_eq(atomic_load(&parts[i].streams), 0);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, alone_it_gets_its_percents);
    tcase_add_test(tc, those_that_compete_get_the_same);
    tcase_add_test(tc, datagrams_have_shares_too);
    tcase_add_test(tc, what_is_open_is_counted_in_both);
    tcase_add_test(tc, the_rule);
    tcase_add_test(tc, workers_use_parts);
    return suite_run("budget", tc);
}
