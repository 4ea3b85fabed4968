/* Tests of h2_held: what a connection may hold, what is lent, that all of it comes back. */
#include "traffic/h2_held.h"

#include "support/seeded.h"
#include "support/suite.h"
#include "traffic_h1_fixture.h"

static const struct h2_held_limits limits = {.connection = 1 << 20, .shared = 100000};
static _Atomic uint64_t shared, address, elsewhere;

static void setup(void)
{
    shared = address = elsewhere = 0;
}

START_TEST(what_was_sent_buys_memory)
{
    const struct h2_held_limits none = {.connection = 1 << 20, .shared = 0};
    struct h2_held h = {.shared = &shared, .address = &address};

    ck_assert_int_eq(h2_held_take(&h, H2_HELD_OWN, &none), H2_HELD_TAKEN);
    ck_assert_int_eq(h2_held_take(&h, 1, &none), H2_HELD_UNLENT);
    h.sent = H2_HELD_OWN / H2_HELD_FACTOR;
    ck_assert_int_eq(h2_held_take(&h, H2_HELD_FACTOR, &none), H2_HELD_UNLENT);
    h.sent++;
    ck_assert_int_eq(h2_held_take(&h, H2_HELD_FACTOR, &none), H2_HELD_TAKEN);
    ck_assert_int_eq(h2_held_take(&h, 1, &none), H2_HELD_UNLENT);
    ck_assert_uint_eq(shared, 0);
    h2_held_give(&h, H2_HELD_OWN + H2_HELD_FACTOR);
    h2_held_end(&h);
}
END_TEST

START_TEST(one_request_is_always_taken)
{
    const struct h2_held_limits none = {.connection = 1024, .shared = 0};
    struct h2_held h = {.shared = &shared, .address = &address};

    ck_assert_int_eq(h2_held_take(&h, 2 * H2_HELD_OWN, &none), H2_HELD_TAKEN);
    ck_assert_int_eq(h2_held_take(&h, 1, &none), H2_HELD_FULL);
    h2_held_give(&h, 2 * H2_HELD_OWN);
    ck_assert_int_eq(h2_held_take(&h, 2 * H2_HELD_OWN, &none), H2_HELD_TAKEN);
    h2_held_give(&h, 2 * H2_HELD_OWN);
    h2_held_end(&h);
}
END_TEST

START_TEST(the_library_counts)
{
    const struct h2_held_limits none = {.connection = 1 << 20, .shared = 0};
    struct h2_held h = {
        .library = 25000, .library_base = 20000, .shared = &shared, .address = &address};

    ck_assert_uint_eq(h2_held_bytes(&h), 5000);
    ck_assert_int_eq(h2_held_take(&h, H2_HELD_OWN - 5000, &none), H2_HELD_TAKEN);
    ck_assert_int_eq(h2_held_take(&h, 1, &none), H2_HELD_UNLENT);
    h.library = 10000; /* less than it began with */
    ck_assert_uint_eq(h2_held_bytes(&h), H2_HELD_OWN - 5000);
    h2_held_give(&h, H2_HELD_OWN - 5000);
    h2_held_end(&h);
}
END_TEST

START_TEST(a_connection_has_an_end_of_its_own)
{
    const struct h2_held_limits small = {.connection = 50000, .shared = 100000};
    struct h2_held h = {.sent = 1 << 20, .shared = &shared, .address = &address};

    ck_assert_int_eq(h2_held_take(&h, 50000, &small), H2_HELD_TAKEN);
    ck_assert_int_eq(h2_held_take(&h, 1, &small), H2_HELD_FULL);
    ck_assert_uint_eq(shared, 0);
    h2_held_give(&h, 50000);
    h2_held_end(&h);
}
END_TEST

/* 9 times what is left: 81,818 alone.  The second finds 50,000 left, and its address has as much.
 */
START_TEST(what_is_lent_is_lent_once)
{
    struct h2_held a = {.shared = &shared, .address = &address},
                   b = {.shared = &shared, .address = &address};

    ck_assert_int_eq(h2_held_take(&a, H2_HELD_OWN, &limits), H2_HELD_TAKEN);
    ck_assert_int_eq(h2_held_take(&a, 81819, &limits), H2_HELD_UNLENT);
    ck_assert_int_eq(h2_held_take(&a, 50000, &limits), H2_HELD_TAKEN);
    ck_assert_uint_eq(shared, 50000);
    ck_assert_uint_eq(address, 50000);
    ck_assert_int_eq(h2_held_take(&b, H2_HELD_OWN, &limits), H2_HELD_TAKEN);
    ck_assert_int_eq(h2_held_take(&b, 36364, &limits), H2_HELD_UNLENT);
    ck_assert_int_eq(h2_held_take(&b, 36363, &limits), H2_HELD_TAKEN);
    ck_assert_uint_eq(shared, 86363);
    h2_held_give(&a, 40000);
    ck_assert_uint_eq(shared, 46363);
    a.sent = 1 << 20; /* it has a right to all of it now */
    h2_held_give(&a, 1);
    ck_assert_uint_eq(a.lent, 0);
    ck_assert_uint_eq(address, 36363);
    h2_held_give(&a, H2_HELD_OWN + 9999);
    h2_held_end(&a);
    h2_held_give(&b, H2_HELD_OWN + 36363);
    h2_held_end(&b);
    ck_assert_uint_eq(shared, 0);
    ck_assert_uint_eq(address, 0);
}
END_TEST

/* However many connections it has, and in whatever portions they take: nine tenths, and one that
 * comes from elsewhere finds most of the rest. */
START_TEST(an_address_never_has_all)
{
    static struct h2_held held[200];
    struct h2_held other = {.shared = &shared, .address = &elsewhere};
    uint64_t seed = 0xadd7 + (uint64_t)_i;

    for (unsigned i = 0; i < ARRAY_LEN(held); i++) {
        held[i] = (struct h2_held){.shared = &shared, .address = &address};
        ck_assert_int_eq(h2_held_take(&held[i], H2_HELD_OWN, &limits), H2_HELD_TAKEN);
        while (h2_held_take(&held[i], 1 + seeded_below(&seed, 200), &limits) == H2_HELD_TAKEN)
            ;
    }
    ck_assert_uint_le(address, limits.shared / 10 * 9);
    ck_assert_uint_gt(address, limits.shared / 10 * 8);
    ck_assert_int_eq(h2_held_take(&other, H2_HELD_OWN, &limits), H2_HELD_TAKEN);
    ck_assert_int_eq(h2_held_take(&other, limits.shared / 13, &limits), H2_HELD_TAKEN);
    ck_assert_uint_eq(elsewhere, limits.shared / 13);
    for (unsigned i = 0; i < ARRAY_LEN(held); i++) {
        h2_held_give(&held[i], held[i].requests);
        h2_held_end(&held[i]);
    }
    ck_assert_uint_eq(address, 0);
    h2_held_give(&other, other.requests);
    h2_held_end(&other);
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
        held[i] = (struct h2_held){.shared = &shared, .address = i % 2 ? &address : &elsewhere};
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
            if (h2_held_take(h, n, &limits) == H2_HELD_TAKEN && !was_first)
                ck_assert_uint_le(h2_held_bytes(h),
                                  MAX(H2_HELD_OWN, H2_HELD_FACTOR * h->sent) + h->lent);
        }
        for (unsigned i = 0; i < COUNT; i++)
            lent += held[i].lent;
        ck_assert_uint_eq(lent, shared);
        ck_assert_uint_eq(address + elsewhere, shared);
        ck_assert_uint_le(lent, limits.shared);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        h2_held_give(&held[i], held[i].requests);
        h2_held_end(&held[i]);
    }
    ck_assert_uint_eq(shared, 0);
    ck_assert_uint_eq(address, 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("held");

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, what_was_sent_buys_memory);
    tcase_add_test(tcase, one_request_is_always_taken);
    tcase_add_test(tcase, the_library_counts);
    tcase_add_test(tcase, a_connection_has_an_end_of_its_own);
    tcase_add_test(tcase, what_is_lent_is_lent_once);
    tcase_add_loop_test(tcase, an_address_never_has_all, 0, 4);
    tcase_add_loop_test(tcase, whatever_they_do, 0, 4);
    return suite_run("traffic/h2_held", tcase);
}
