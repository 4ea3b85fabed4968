/* Tests of h2_held: what a connection may hold, what is lent, that all of it comes back. */
#include "traffic/h2_held.h"

#include "support/seeded.h"
#include "traffic_h1_fixture.h"

static const struct h2_held_limits limits = {.connection = 1 << 20, .shared = 100000};
static _Atomic uint64_t shared;

static void setup(void)
{
    shared = 0;
}

START_TEST(what_was_sent_buys_memory)
{
    const struct h2_held_limits none = {.connection = 1 << 20, .shared = 0};
    struct h2_held h = {.shared = &shared};

    ck_assert(h2_held_take(&h, H2_HELD_OWN, &none));
    ck_assert(!h2_held_take(&h, 1, &none));
    h.sent = H2_HELD_OWN / H2_HELD_FACTOR;
    ck_assert(!h2_held_take(&h, H2_HELD_FACTOR, &none));
    h.sent++;
    ck_assert(h2_held_take(&h, H2_HELD_FACTOR, &none));
    ck_assert(!h2_held_take(&h, 1, &none));
    ck_assert_uint_eq(shared, 0);
    h2_held_give(&h, H2_HELD_OWN + H2_HELD_FACTOR);
    h2_held_end(&h);
}
END_TEST

START_TEST(one_request_is_always_taken)
{
    const struct h2_held_limits none = {.connection = 1024, .shared = 0};
    struct h2_held h = {.shared = &shared};

    ck_assert(h2_held_take(&h, 2 * H2_HELD_OWN, &none));
    ck_assert(!h2_held_take(&h, 1, &none));
    h2_held_give(&h, 2 * H2_HELD_OWN);
    ck_assert(h2_held_take(&h, 2 * H2_HELD_OWN, &none));
    h2_held_give(&h, 2 * H2_HELD_OWN);
    h2_held_end(&h);
}
END_TEST

START_TEST(the_library_counts)
{
    const struct h2_held_limits none = {.connection = 1 << 20, .shared = 0};
    struct h2_held h = {.library = 30000, .library_base = 20000, .shared = &shared};

    ck_assert_uint_eq(h2_held_bytes(&h), 10000);
    ck_assert(h2_held_take(&h, H2_HELD_OWN - 10000, &none));
    ck_assert(!h2_held_take(&h, 1, &none));
    h.library = 10000; /* less than it began with */
    ck_assert_uint_eq(h2_held_bytes(&h), H2_HELD_OWN - 10000);
    h2_held_give(&h, H2_HELD_OWN - 10000);
    h2_held_end(&h);
}
END_TEST

START_TEST(a_connection_has_an_end_of_its_own)
{
    const struct h2_held_limits small = {.connection = 50000, .shared = 100000};
    struct h2_held h = {.sent = 1 << 20, .shared = &shared};

    ck_assert(h2_held_take(&h, 50000, &small));
    ck_assert(!h2_held_take(&h, 1, &small));
    ck_assert_uint_eq(shared, 0);
    h2_held_give(&h, 50000);
    h2_held_end(&h);
}
END_TEST

START_TEST(what_is_lent_is_lent_once)
{
    struct h2_held a = {.shared = &shared}, b = {.shared = &shared};

    ck_assert(h2_held_take(&a, H2_HELD_OWN + 90000, &limits));
    ck_assert_uint_eq(shared, 90000);
    ck_assert(h2_held_take(&b, H2_HELD_OWN, &limits));
    ck_assert(h2_held_take(&b, 10000, &limits));
    ck_assert(!h2_held_take(&b, 1, &limits));
    ck_assert_uint_eq(shared, 100000);
    h2_held_give(&a, 80000);
    ck_assert_uint_eq(shared, 20000);
    ck_assert(!h2_held_take(&b, 70001, &limits)); /* more than would be left */
    ck_assert(h2_held_take(&b, 70000, &limits));
    ck_assert_uint_eq(b.lent, 80000);
    a.sent = 1 << 20; /* it has a right to all of it now */
    h2_held_give(&a, 1);
    ck_assert_uint_eq(a.lent, 0);
    h2_held_give(&a, H2_HELD_OWN + 9999);
    h2_held_end(&a);
    h2_held_give(&b, H2_HELD_OWN + 80000);
    h2_held_end(&b);
    ck_assert_uint_eq(shared, 0);
}
END_TEST

/* Whatever they do: nobody holds more than the rule says, the loans are what is lent, and with the
 * last connection all of it is back. */
START_TEST(whatever_they_do)
{
    enum { COUNT = 50, TURNS = 20000 };
    static struct h2_held held[COUNT];
    uint64_t seed = 0x5eed + (uint64_t)_i;

    for (unsigned i = 0; i < COUNT; i++)
        held[i] = (struct h2_held){.shared = &shared};
    for (unsigned turn = 0; turn < TURNS; turn++) {
        struct h2_held *h = &held[seeded_below(&seed, COUNT)];
        size_t n = seeded_below(&seed, 20000);
        bool was_first = h->requests == 0;
        uint64_t lent = 0;

        switch (seeded_below(&seed, 4)) {
        case 0:
            h->sent += n / 100;
            break;
        case 1:
            h2_held_give(h, MIN(n, h->requests));
            break;
        default:
            if (h2_held_take(h, n, &limits) && !was_first)
                ck_assert_uint_le(h2_held_bytes(h),
                                  MAX(H2_HELD_OWN, H2_HELD_FACTOR * h->sent) + h->lent);
        }
        for (unsigned i = 0; i < COUNT; i++)
            lent += held[i].lent;
        ck_assert_uint_eq(lent, shared);
        ck_assert_uint_le(lent, limits.shared);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        h2_held_give(&held[i], held[i].requests);
        h2_held_end(&held[i]);
    }
    ck_assert_uint_eq(shared, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("traffic/h2_held");
    TCase *tcase = tcase_create("held");

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, what_was_sent_buys_memory);
    tcase_add_test(tcase, one_request_is_always_taken);
    tcase_add_test(tcase, the_library_counts);
    tcase_add_test(tcase, a_connection_has_an_end_of_its_own);
    tcase_add_test(tcase, what_is_lent_is_lent_once);
    tcase_add_loop_test(tcase, whatever_they_do, 0, 4);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
