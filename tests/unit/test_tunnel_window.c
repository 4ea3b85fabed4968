/* Tests of tunnel/window and tunnel/budget: doubling, clamp, charge, credit returned; and a random
 * run in which nothing is ever lent beyond the budget. */
#include <check.h>
#include <pthread.h>

#include "base/err.h"
#include "support/seeded.h"
#include "support/suite.h"
#include "tunnel/window.h"

#define KIB 1024u
#define MIB (1024u * 1024u)

static void use_up(struct window *w, uint64_t n)
{
    while (n > 0) { /* the sender fills, the socket takes, credit goes back */
        uint64_t part = MIN(n, w->granted - w->received);

        ck_assert_uint_gt(part, 0);
        ck_assert_int_eq(window_received(w, part), 0);
        window_taken(w, part);
        (void)!window_grant(w, true);
        window_check(w);
        n -= part;
    }
}

START_TEST(it_doubles_each_time_one_is_used_up)
{
    struct budget b;
    struct window w;

    budget_init(&b, 200 * MIB, 16384, 4 * MIB);
    ck_assert(budget_open_stream(&b));
    ck_assert_int_eq(window_open(&w, &b, 64 * KIB), 0);
    for (uint32_t size = 64 * KIB; size < 4 * MIB; size *= 2) {
        ck_assert_uint_eq(w.size, size);
        use_up(&w, size - 1);
        ck_assert_uint_eq(w.size, size);
        use_up(&w, 1);
        ck_assert_uint_eq(w.size, 2 * size);
        ck_assert_uint_eq(w.granted - w.taken, 2 * size);
        ck_assert_uint_eq(atomic_load(&b.taken), 2 * size - 64 * KIB);
    }
    use_up(&w, 16 * MIB);
    ck_assert_uint_eq(w.size, 4 * MIB);
    window_close(&w);
    window_close(&w);
    ck_assert_uint_eq(atomic_load(&b.taken), 0);
}
END_TEST

START_TEST(the_clamp_follows_the_number_of_streams)
{
    static const struct {
        uint32_t streams, window;
    } rows[] = {{1, 4 * MIB},   {50, 4 * MIB},  {51, 200u * MIB / 51}, {100, 2 * MIB},
                {200, 1 * MIB}, {201, 1 * MIB}, {16384, 1 * MIB}}; /* nothing is lent */
    struct budget b;
    uint32_t n = 0;

    budget_init(&b, 200 * MIB, 16384, 4 * MIB);
    ck_assert_uint_eq(budget_window(&b), 4 * MIB);
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        for (; n < rows[i].streams; n++)
            ck_assert(budget_open_stream(&b));
        ck_assert_uint_eq(budget_window(&b), rows[i].window);
    }
    ck_assert(!budget_open_stream(&b));
    ck_assert_uint_eq(atomic_load(&b.streams), 16384);
    ck_assert_uint_eq(atomic_load(&b.streams_refused), 1);
    budget_init(&b, 200 * MIB, 16384, 16 * MIB); /* tunnel.maxWindow, for long fat paths */
    ck_assert_uint_eq(budget_window(&b), 16 * MIB);
}
END_TEST

START_TEST(a_share_that_falls_shrinks_the_window_but_takes_no_credit_back)
{
    struct budget b;
    struct window w;
    uint64_t granted;

    budget_init(&b, 200 * MIB, 16384, 4 * MIB);
    ck_assert(budget_open_stream(&b));
    ck_assert_int_eq(window_open(&w, &b, 64 * KIB), 0);
    use_up(&w, 16 * MIB);
    granted = w.granted;
    for (unsigned i = 0; i < 300; i++)
        ck_assert(budget_open_stream(&b));
    ck_assert_int_eq(window_received(&w, 1000), 0);
    window_taken(&w, 1000);
    ck_assert_uint_eq(w.size, 1 * MIB);
    ck_assert_uint_eq(w.granted, granted);
    ck_assert(!window_is_owing(&w));
    ck_assert_uint_eq(window_grant(&w, true), 0); /* withheld until what is out is below a window */
    ck_assert_uint_eq(w.charged, granted - w.taken - 64 * KIB);
    ck_assert_int_eq(window_received(&w, 3 * MIB), 0);
    window_taken(&w, 3 * MIB);
    window_check(&w);
    ck_assert_uint_eq(window_grant(&w, true), 1 * MIB - (granted - w.taken));
    window_close(&w);
}
END_TEST

/* Each stream in turn takes a whole window, `rounds` times. */
static void take_turns(struct window *w, unsigned n, unsigned rounds)
{
    for (unsigned round = 0; round < rounds; round++)
        for (unsigned i = 0; i < n; i++)
            use_up(&w[i], w[i].size);
}

static void open_all(struct window *w, unsigned n, struct budget *b)
{
    for (unsigned i = 0; i < n; i++) {
        ck_assert(budget_open_stream(b));
        ck_assert_int_eq(window_open(&w[i], b, 64 * KIB), 0);
    }
}

static void close_all(struct window *w, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct budget *b = w[i].budget;

        window_close(&w[i]);
        budget_close_stream(b);
    }
}

/* Within a tenth. */
static void all_have(const struct window *w, unsigned n, uint32_t bytes)
{
    for (unsigned i = 0; i < n; i++) {
        ck_assert_uint_ge(w[i].size, bytes - bytes / 10);
        ck_assert_uint_le(w[i].size, bytes + bytes / 10);
    }
}

START_TEST(many_at_work_come_to_an_even_share)
{
    enum { N = 2000, FIRST = 1600, FEW = 20 };
    static struct window w[N];
    struct budget b;

    budget_init(&b, 200 * MIB, 16384, 4 * MIB);
    open_all(w, FIRST, &b);
    take_turns(w, FEW, 8); /* few of them are at work: the many cost them nothing */
    for (unsigned i = 0; i < FEW; i++)
        ck_assert_uint_eq(w[i].size, 1 * MIB);
    take_turns(w, FIRST, 40);
    all_have(w, FIRST, 200u * MIB / FIRST + 64 * KIB);
    open_all(w + FIRST, N - FIRST,
             &b); /* there is nothing left, and they get theirs all the same */
    take_turns(w, N, 40);
    all_have(w, N, 200u * MIB / N + 64 * KIB);
    ck_assert_uint_le(atomic_load(&b.taken), 200 * MIB);
    ck_assert_uint_gt(atomic_load(&b.denied), 0);
    close_all(w, N);
    ck_assert_uint_eq(atomic_load(&b.taken), 0);
}
END_TEST

/* One edge alone first, then another beside it; with shares and without. */
START_TEST(edges_at_work_come_to_an_even_share)
{
    enum { N = 1000 };
    static const struct {
        unsigned percent, alone, both; /* of the budget: what all of one edge's may have */
    } rows[] = {{90, 180, 94}, {100, 200, 100}};
    static struct window w[2 * N];

    for (unsigned row = 0; row < ARRAY_LEN(rows); row++) {
        struct budget whole, first, other;

        budget_init(&whole, 200 * MIB, 16384, 4 * MIB);
        budget_init_part(&first, &whole, rows[row].percent);
        budget_init_part(&other, &whole, rows[row].percent);
        open_all(w, N, &first);
        take_turns(w, N, 40);
        all_have(w, N, rows[row].alone * MIB / N + 64 * KIB);
        open_all(w + N, N, &other);
        take_turns(w, 2 * N, 60);
        all_have(w, 2 * N, rows[row].both * MIB / N + 64 * KIB);
        close_all(w, 2 * N);
        ck_assert_uint_eq(atomic_load(&whole.taken), 0);
    }
}
END_TEST

START_TEST(credit_is_due_at_a_quarter_or_at_rest)
{
    struct budget b;
    struct window w;

    budget_init(&b, 0, 16384, 4 * MIB);
    ck_assert_int_eq(window_open(&w, &b, 64 * KIB), 0);
    ck_assert(!window_is_owing(&w));
    ck_assert_int_eq(window_received(&w, 64 * KIB), 0);
    ck_assert_int_eq(window_received(&w, 1), -ERR_PROTO);
    ck_assert_int_eq(window_received(&w, UINT64_MAX), -ERR_PROTO);
    window_taken(&w, 4 * KIB - 1);
    ck_assert(!window_is_owing(&w));
    ck_assert_uint_eq(window_grant(&w, true), 0);
    window_taken(&w, 12 * KIB);
    ck_assert(window_is_owing(&w));
    ck_assert_uint_eq(window_grant(&w, false), 0);
    window_taken(&w, 1);
    ck_assert_uint_eq(window_grant(&w, false), 16 * KIB);
    ck_assert_uint_eq(window_grant(&w, false), 0);
    window_taken(&w, 4 * KIB);
    ck_assert_uint_eq(window_grant(&w, false), 0);
    ck_assert_uint_eq(window_grant(&w, true), 4 * KIB);
    window_taken(&w, 44 * KIB); /* a whole window was taken, but no stream's share is larger */
    ck_assert_uint_eq(w.size, 64 * KIB);
    window_close(&w);
}
END_TEST

START_TEST(after_the_end_only_what_is_held_is_charged)
{
    struct budget b;
    struct window w;

    budget_init(&b, 200 * MIB, 16384, 4 * MIB);
    ck_assert_int_eq(window_open(&w, &b, 64 * KIB), 0);
    use_up(&w, 16 * MIB);
    ck_assert_int_eq(window_received(&w, 100 * KIB), 0);
    window_end(&w);
    ck_assert_uint_eq(atomic_load(&b.taken), 36 * KIB);
    ck_assert(!window_is_owing(&w));
    ck_assert_uint_eq(window_grant(&w, true), 0);
    window_taken(&w, 30 * KIB);
    window_check(&w);
    ck_assert_uint_eq(atomic_load(&b.taken), 6 * KIB);
    window_taken(&w, 70 * KIB);
    ck_assert_uint_eq(atomic_load(&b.taken), 0);
    window_close(&w);
}
END_TEST

START_TEST(an_initial_window_beyond_the_free_part_needs_budget)
{
    struct budget b;
    struct window w, other;

    budget_init(&b, 1 * MIB, 16384, 4 * MIB);
    ck_assert_int_eq(window_open(&w, &b, 1 * MIB), 0);
    ck_assert_uint_eq(atomic_load(&b.taken), 1 * MIB - 64 * KIB);
    ck_assert_int_eq(window_open(&other, &b, 1 * MIB), -ERR_LIMIT);
    window_close(&other);
    ck_assert_int_eq(window_open(&other, &b, 4 * KIB), 0);
    window_check(&w);
    window_check(&other);
    window_close(&w);
    window_close(&other);
    ck_assert_uint_eq(atomic_load(&b.taken), 0);
}
END_TEST

static void come_or_go(struct budget *b, unsigned n, bool come)
{
    for (unsigned i = 0; i < n; i++)
        if (!come)
            budget_close_stream(b);
        else
            ck_assert(budget_open_stream(b));
}

/* Many windows on a tight budget, with random traffic; send queues take of it as well, others'
 * streams come and go, and in every other round an edge's part is what they have.  The sum of what
 * is lent or held beyond 64 KiB of each is within the budget after every step, and the budget knows
 * the sum. */
START_TEST(nothing_is_lent_beyond_the_budget)
{
    enum { N = 40 };
    uint64_t grown = 0, shrunk = 0;

    for (uint64_t round = 0; round < 6; round++) {
        uint64_t seed = round, limit = 4 * MIB + seeded_below(&seed, 30 * MIB), beside = 0;
        struct window w[N];
        struct budget whole, part, *b = round % 2 ? &part : &whole;

        budget_init(&whole, limit, 16384, 4 * MIB);
        budget_init_part(&part, &whole, 90);
        for (unsigned i = 0; i < N; i++) {
            ck_assert(budget_open_stream(b));
            ck_assert_int_eq(window_open(&w[i], b, 64 * KIB), 0);
        }
        for (unsigned step = 0; step < 20000; step++) {
            struct window *x = &w[seeded_below(&seed, N)];
            uint64_t sum = 0, beyond = 0, n = seeded_below(&seed, limit / 8);
            uint32_t size = x->size;

            if (step % 500 == 0)
                come_or_go(b, 3 * N, step % 1000 == 0);
            (void)!window_received(x, seeded_below(&seed, x->granted - x->received + 1));
            window_taken(x, seeded_below(&seed, x->received - x->taken + 1));
            shrunk += x->size < size;
            grown += x->size > size;
            (void)!window_grant(x, seeded_chance(&seed, 30));
            if (seeded_below(&seed, 500) == 0)
                window_end(x);
            else if (seeded_below(&seed, 200) == 0) {
                window_close(x);
                ck_assert_int_eq(window_open(x, b, 64 * KIB), 0);
            }
            if (beside > 0 && seeded_chance(&seed, 50)) {
                budget_give(b, beside);
                beside = 0;
            } else if (budget_take(b, n)) {
                beside += n;
            }
            window_check(x);
            for (unsigned i = 0; i < N; i++) {
                uint64_t out = w[i].granted - w[i].taken;

                sum += w[i].charged;
                beyond += out > 64 * KIB ? out - 64 * KIB : 0;
            }
            ck_assert_uint_eq(sum + beside, atomic_load(&b->taken));
            ck_assert_uint_eq(atomic_load(&b->taken), atomic_load(&whole.taken));
            ck_assert_uint_le(beyond, sum);
            ck_assert_uint_le(sum + beside, limit);
        }
        budget_give(b, beside);
        for (unsigned i = 0; i < N; i++)
            window_close(&w[i]);
        ck_assert_uint_eq(atomic_load(&whole.taken), 0);
    }
    ck_assert_uint_gt(grown, 1000);
    ck_assert_uint_gt(shrunk, 100);
}
END_TEST

static void *take_and_give(void *arg)
{
    struct budget *b = arg;

    for (unsigned i = 0; i < 100000; i++) {
        uint64_t n = 1 + i % 700;

        if (budget_take(b, n))
            budget_give(b, n);
        if (budget_open_stream(b))
            budget_close_stream(b);
    }
    return NULL;
}

START_TEST(workers_share_a_budget)
{
    pthread_t threads[4];
    struct budget b;

    budget_init(&b, 1000, 3, 4 * MIB);
    for (unsigned i = 0; i < ARRAY_LEN(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_and_give, &b), 0);
    for (unsigned i = 0; i < ARRAY_LEN(threads); i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(atomic_load(&b.taken), 0);
    ck_assert_uint_eq(atomic_load(&b.streams), 0);
    ck_assert(budget_take(&b, 1000));
    ck_assert(!budget_take(&b, 1));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, it_doubles_each_time_one_is_used_up);
    tcase_add_test(tc, the_clamp_follows_the_number_of_streams);
    tcase_add_test(tc, a_share_that_falls_shrinks_the_window_but_takes_no_credit_back);
    tcase_add_test(tc, many_at_work_come_to_an_even_share);
    tcase_add_test(tc, edges_at_work_come_to_an_even_share);
    tcase_add_test(tc, credit_is_due_at_a_quarter_or_at_rest);
    tcase_add_test(tc, after_the_end_only_what_is_held_is_charged);
    tcase_add_test(tc, an_initial_window_beyond_the_free_part_needs_budget);
    tcase_add_test(tc, nothing_is_lent_beyond_the_budget);
    tcase_add_test(tc, workers_share_a_budget);
    return suite_run("window", tc);
}
