/* test_tunnel_path_watch - tunnel/path_watch.h on made-up traces: what collapses, and what is only
 * slow. */
#include <check.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/must.h"
#include "tunnel/path_watch.h"

#define TICK_MS 250u
#define PACKET  1452u

static struct path_watch watch;
static struct path_sample now;
static enum path_sign last;
static unsigned told; /* how often it has collapsed */

static void begin(void)
{
    watch = (struct path_watch){0};
    now = (struct path_sample){.now_ms = 5000, .packet = PACKET, .cwnd = 10 * PACKET, .rtt_ms = 20};
    last = PATH_SIGN_NONE;
    told = 0;
    ck_assert_int_eq(path_watch_take(&watch, &now), PATH_SIGN_NONE);
}

/* What a path does: bytes a second that arrive, one in a thousand that is lost of what leaves. */
struct trace {
    uint64_t rate;
    unsigned loss_ppt, rtt_ms, cwnd; /* cwnd: packets */
    unsigned waiting_pct;
};

/* Until it collapses, or for so long.  How long it was, in ms. */
static uint64_t runs(struct trace t, uint64_t ms)
{
    uint64_t until_ms = now.now_ms + ms, since_ms = now.now_ms;

    now.rtt_ms = t.rtt_ms;
    now.cwnd = (uint64_t)t.cwnd * PACKET;
    while (now.now_ms < until_ms) {
        uint64_t arrives = t.rate * TICK_MS / 1000;

        now.now_ms += TICK_MS;
        now.waiting_ms += TICK_MS * t.waiting_pct / 100;
        now.sent += arrives * 1000 / (1000 - t.loss_ppt);
        now.acked += arrives - arrives * 3 / 100; /* headers */
        now.in_flight = MIN(now.cwnd, now.sent);
        last = path_watch_take(&watch, &now);
        if (last != PATH_SIGN_NONE) {
            told++;
            break;
        }
    }
    return now.now_ms - since_ms;
}

static const struct {
    const char *what;
    struct trace t;
} fine[] = {
    {"a fast path", {12500000, 1, 20, 200, 100}},
    {"one packet in a hundred lost", {1500000, 10, 20, 20, 100}},
    {"200 kbit/s with a queue", {25000, 20, 300, 6, 100}},
    {"200 kbit/s at the floor", {25000, 100, 110, 2, 100}},
    {"64 kbit/s by satellite", {8000, 30, 700, 4, 100}},
    {"10 kbit/s: no evidence at all", {1250, 0, 900, 2, 100}},
    {"one packet in ten lost, far from the floor", {1000000, 100, 20, 12, 100}},
    {"a third lost, and nothing more to send", {100000, 330, 20, 2, 50}},
    {"loss that does not matter: the window is wide", {4000000, 250, 50, 200, 100}},
    {"nothing to send", {0, 0, 20, 10, 0}},
};

START_TEST(what_is_slow_or_idle_never_collapses)
{
    begin();
    runs(fine[_i].t, 600000);
    ck_assert_msg(told == 0, "%s: %s", fine[_i].what, path_sign_name(last));
}
END_TEST

START_TEST(loss_at_the_floor_collapses)
{
    begin();
    ck_assert_uint_le(runs((struct trace){60000, 300, 20, 3, 100}, 60000), 5000);
    ck_assert_int_eq(last, PATH_SIGN_LOSS);
    ck_assert_uint_ge(watch.loss_pct, 30);
    ck_assert_uint_le(watch.loss_pct, 36);
}
END_TEST

/* A policer lets a megabit through; the loss that it takes to hold a window of ten is small. */
START_TEST(a_fall_collapses)
{
    begin();
    runs((struct trace){12500000, 1, 100, 900, 100}, 10000);
    ck_assert_uint_eq(told, 0);
    ck_assert_uint_le(runs((struct trace){125000, 30, 100, 10, 100}, 60000), 5000);
    ck_assert_int_eq(last, PATH_SIGN_FALL);
    ck_assert_uint_le(runs((struct trace){125000, 30, 100, 10, 100}, 60000), 5000);
    ck_assert_uint_eq(told, 2); /* told again as long as it lasts */
}
END_TEST

static const struct {
    const char *what;
    struct trace before, after;
} kept[] = {
    {"an eighth is left", {4000000, 1, 50, 200, 100}, {500000, 10, 50, 25, 100}},
    {"much less, but still fast", {125000000, 1, 10, 900, 100}, {1000000, 10, 10, 8, 100}},
    {"slower by a longer queue alone", {3000000, 1, 20, 60, 100}, {150000, 1, 600, 60, 100}},
    {"slower since it has less to send", {12500000, 1, 20, 200, 100}, {100000, 1, 20, 200, 40}},
};

START_TEST(what_got_slower_has_not_fallen)
{
    begin();
    runs(kept[_i].before, 10000);
    runs(kept[_i].after, 600000);
    ck_assert_msg(told == 0, "%s: %s", kept[_i].what, path_sign_name(last));
}
END_TEST

START_TEST(a_stall_collapses_and_a_short_one_does_not)
{
    begin();
    runs((struct trace){1000000, 1, 20, 20, 100}, 10000);
    runs((struct trace){0, 0, 20, 20, 100}, 3000);
    runs((struct trace){1000000, 1, 20, 20, 100}, 10000);
    ck_assert_uint_eq(told, 0);
    ck_assert_uint_le(runs((struct trace){0, 0, 20, 2, 100}, 60000), 7000);
    ck_assert_int_eq(last, PATH_SIGN_STALL);
}
END_TEST

/* The peer's credit is lost on its way as well: nothing waits but what is under way. */
START_TEST(a_stall_without_credit_collapses)
{
    begin();
    runs((struct trace){1000000, 1, 20, 20, 100}, 10000);
    for (unsigned i = 0; i < 40 && !told; i++) {
        now.stalled_ms += TICK_MS;
        runs((struct trace){0, 0, 20, 2, 0}, TICK_MS);
    }
    ck_assert_uint_eq(told, 1);
    ck_assert_uint_ge(now.stalled_ms, 6000);
    ck_assert_int_eq(last, PATH_SIGN_STALL);
}
END_TEST

/* Bad and good by turns is no collapse; bad twice as often as good is one, later. */
START_TEST(a_score_goes_down_too)
{
    struct trace bad = {60000, 300, 20, 3, 100}, good = {60000, 10, 20, 20, 100};

    begin();
    for (unsigned i = 0; i < 100; i++)
        runs(i % 2 ? good : bad, 1000);
    ck_assert_uint_eq(told, 0);
    for (unsigned i = 0; i < 30 && !told; i++)
        runs(i % 3 == 2 ? good : bad, 1000);
    ck_assert_uint_eq(told, 1);
}
END_TEST

/* A made-up path of each kind between all that is fine and all that is not: however it wavers, what
 * arrives is never more than what left, and the watch takes it. */
START_TEST(any_trace_is_taken)
{
    begin();
    srand(4711);
    for (unsigned i = 0; i < 20000; i++)
        runs((struct trace){(uint64_t)(rand() % 4) * (unsigned)(rand() % 2000000),
                            (unsigned)(rand() % 900), (unsigned)(rand() % 800),
                            2 + (unsigned)(rand() % 50), (unsigned)(rand() % 101)},
             TICK_MS);
    ck_assert_uint_gt(now.acked, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tunnel/path_watch");
    TCase *tcase = tcase_create("all");

    tcase_add_loop_test(tcase, what_is_slow_or_idle_never_collapses, 0, (int)ARRAY_LEN(fine));
    tcase_add_test(tcase, loss_at_the_floor_collapses);
    tcase_add_test(tcase, a_fall_collapses);
    tcase_add_loop_test(tcase, what_got_slower_has_not_fallen, 0, (int)ARRAY_LEN(kept));
    tcase_add_test(tcase, a_stall_collapses_and_a_short_one_does_not);
    tcase_add_test(tcase, a_stall_without_credit_collapses);
    tcase_add_test(tcase, a_score_goes_down_too);
    tcase_add_test(tcase, any_trace_is_taken);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
