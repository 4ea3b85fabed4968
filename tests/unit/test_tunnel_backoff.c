/* Tests of tunnel/backoff: the delays' bounds and distribution, try by try. */
#include <check.h>

#include "base/must.h"
#include "support/seeded.h"
#include "support/suite.h"
#include "tunnel/backoff.h"

static const uint64_t caps_ms[] = {1000, 1000, 1000,  1000,  1000,  2000,
                                   4000, 8000, 16000, 30000, 30000, 30000};

START_TEST(the_cap_rises_after_five_tries)
{
    struct backoff b = {0};

    for (unsigned i = 0; i < ARRAY_LEN(caps_ms); i++) {
        struct backoff copy = b;

        /* random % (cap + 1): the cap itself is reached, nothing above it. */
        ck_assert_uint_eq(backoff_down(&copy, 1, caps_ms[i]), caps_ms[i]);
        ck_assert_uint_eq(backoff_down(&b, 1, caps_ms[i] + 1), BACKOFF_FLOOR_MS);
    }
    for (unsigned i = 0; i < 100000; i++)
        ck_assert_uint_le(backoff_down(&b, 1, 30000), 30000);
}
END_TEST

/* Full jitter: uniform between 0 and the cap, what is below the floor lifted to it. */
START_TEST(delays_are_uniform_up_to_the_cap)
{
    enum { N = 20000 };
    uint64_t seed = 7;

    for (unsigned i = 0; i < ARRAY_LEN(caps_ms); i++) {
        unsigned tenth[10] = {0};
        uint64_t least = UINT64_MAX;

        for (unsigned k = 0; k < N; k++) {
            struct backoff b = {.tries = i};
            uint64_t ms = backoff_down(&b, 1, seeded_next(&seed));

            ck_assert_uint_le(ms, caps_ms[i]);
            least = MIN(least, ms);
            tenth[MIN(ms * 10 / caps_ms[i], 9u)]++;
        }
        ck_assert_uint_ge(least, BACKOFF_FLOOR_MS);
        ck_assert_uint_le(least, BACKOFF_FLOOR_MS + caps_ms[i] / 100);
        for (unsigned k = caps_ms[i] == 1000 ? 2 : 1; k < 10; k++)
            ck_assert_msg(tenth[k] > N / 10 * 9 / 10 && tenth[k] < N / 10 * 11 / 10,
                          "try %u, tenth %u: %u of %u", i, k, tenth[k], N);
    }
}
END_TEST

START_TEST(only_a_minute_of_a_good_connection_forgets)
{
    struct backoff b = {.tries = 9};
    uint64_t now_ms = 5000;

    backoff_up(&b, now_ms);
    now_ms += BACKOFF_GOOD_MS - 1;
    ck_assert_uint_eq(backoff_down(&b, now_ms, 29999), 29999); /* n went on rising */
    ck_assert_uint_eq(b.tries, 10);
    backoff_up(&b, now_ms);
    now_ms += BACKOFF_GOOD_MS;
    ck_assert_uint_eq(backoff_down(&b, now_ms, 1000), 1000);
    ck_assert_uint_eq(b.tries, 1);
    ck_assert_uint_eq(backoff_down(&b, now_ms + BACKOFF_GOOD_MS, 1001), BACKOFF_FLOOR_MS);
    ck_assert_uint_eq(b.tries, 2); /* time without a connection does not count */
    backoff_up(&b, 0);             /* the clock may begin at 0 */
    ck_assert_uint_eq(backoff_down(&b, BACKOFF_GOOD_MS + 1, 500), 500);
    ck_assert_uint_eq(b.tries, 1);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, the_cap_rises_after_five_tries);
    tcase_add_test(tc, delays_are_uniform_up_to_the_cap);
    tcase_add_test(tc, only_a_minute_of_a_good_connection_forgets);
    return suite_run("backoff", tc);
}
