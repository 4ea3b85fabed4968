/* test_edge_transport_choice - edge/transport_choice.h: every way through its picture, on a made-up
 * clock and with made-up random numbers. */
#include <check.h>
#include <stdlib.h>

#include "edge/transport_choice.h"

#define RETRY_MS 600000u
#define NOW_MS   1000000u

static struct transport_choice c;

static void begin(enum transport_mode mode)
{
    transport_choice_init(&c, mode, RETRY_MS);
}

static void ck_is(enum link_transport next, enum transport_reason reason)
{
    ck_assert_int_eq(c.next, next);
    ck_assert_str_eq(transport_reason_name(c.reason), transport_reason_name(reason));
}

/* On TLS, since QUIC was not up. */
static void fall_back(void)
{
    begin(TRANSPORT_FALLBACK);
    transport_choice_quic_failed(&c, 0, NOW_MS, 0);
    ck_is(LINK_TLS, TRANSPORT_REASON_QUIC_NOT_UP);
}

START_TEST(a_mode_that_leaves_no_choice_never_moves)
{
    static const enum transport_mode modes[] = {TRANSPORT_TLS, TRANSPORT_QUIC};

    for (unsigned i = 0; i < 2; i++) {
        enum link_transport only = modes[i] == TRANSPORT_TLS ? LINK_TLS : LINK_QUIC;

        begin(modes[i]);
        ck_is(only, TRANSPORT_REASON_CONFIGURED);
        transport_choice_quic_failed(&c, 0, NOW_MS, 0);
        transport_choice_quic_failed(&c, TRANSPORT_RAN_WELL_MS, NOW_MS, 0);
        transport_choice_quic_collapsed(&c, 1, NOW_MS, 0);
        transport_choice_tls_failed(&c, NOW_MS);
        transport_choice_tls_up(&c, NOW_MS, 0);
        transport_choice_quic_up(&c);
        ck_is(only, TRANSPORT_REASON_CONFIGURED);
        ck_assert(!transport_choice_probe(&c, NOW_MS + 10 * RETRY_MS, 0));
        for (unsigned k = 0; k < TRANSPORT_REASON_COUNT; k++)
            ck_assert_uint_eq(c.switches[k], 0);
    }
}
END_TEST

START_TEST(quic_is_first_and_stays_while_it_works)
{
    begin(TRANSPORT_FALLBACK);
    ck_is(LINK_QUIC, TRANSPORT_REASON_PREFERRED);
    transport_choice_quic_up(&c);
    ck_is(LINK_QUIC, TRANSPORT_REASON_PREFERRED);
    ck_assert(!transport_choice_probe(&c, UINT64_MAX - 1, 0));
    ck_assert_uint_eq(c.switches[TRANSPORT_REASON_PREFERRED], 0);
}
END_TEST

START_TEST(not_up_or_lost_it_falls_back_to_tls)
{
    fall_back();
    ck_assert_uint_eq(c.switches[TRANSPORT_REASON_QUIC_NOT_UP], 1);
    ck_assert_uint_eq(c.probe_due_ms, NOW_MS + RETRY_MS);

    begin(TRANSPORT_FALLBACK);
    transport_choice_quic_up(&c);
    transport_choice_quic_failed(&c, TRANSPORT_RAN_WELL_MS - 1, NOW_MS, 0);
    ck_is(LINK_TLS, TRANSPORT_REASON_QUIC_LOST);
    ck_assert_uint_eq(c.probe_due_ms, NOW_MS + RETRY_MS);

    begin(TRANSPORT_FALLBACK);
    transport_choice_quic_up(&c);
    transport_choice_quic_failed(&c, TRANSPORT_RAN_WELL_MS, NOW_MS, 0);
    ck_is(LINK_TLS, TRANSPORT_REASON_QUIC_LOST);
    ck_assert_uint_eq(c.probe_due_ms, NOW_MS + TRANSPORT_PROBE_SOON_MS);
    ck_assert_uint_eq(c.switches[TRANSPORT_REASON_QUIC_LOST], 1);
}
END_TEST

START_TEST(a_probe_that_comes_up_moves_all_to_quic)
{
    fall_back();
    transport_choice_tls_up(&c, NOW_MS, 0); /* the hub was there: nothing sooner than planned */
    ck_assert(!transport_choice_probe(&c, NOW_MS + RETRY_MS - 1, 0));
    ck_assert(transport_choice_probe(&c, NOW_MS + RETRY_MS, 0));
    ck_is(LINK_TLS, TRANSPORT_REASON_QUIC_NOT_UP);
    transport_choice_quic_up(&c);
    ck_is(LINK_QUIC, TRANSPORT_REASON_PREFERRED);
    ck_assert_uint_eq(c.switches[TRANSPORT_REASON_PREFERRED], 1);
    ck_assert_uint_eq(c.probe_due_ms, UINT64_MAX);
}
END_TEST

START_TEST(a_probe_that_fails_changes_nothing_and_the_next_is_planned)
{
    uint64_t due_ms = NOW_MS + RETRY_MS;

    fall_back();
    ck_assert(transport_choice_probe(&c, due_ms, 0));
    transport_choice_quic_failed(&c, 0, due_ms + TRANSPORT_QUIC_UP_MS, 0);
    ck_is(LINK_TLS, TRANSPORT_REASON_QUIC_NOT_UP);
    ck_assert_uint_eq(c.probe_due_ms, due_ms + RETRY_MS);
    ck_assert_uint_eq(c.switches[TRANSPORT_REASON_QUIC_NOT_UP], 1);
    ck_assert(!transport_choice_probe(&c, due_ms + RETRY_MS - 1, 0));
    ck_assert(transport_choice_probe(&c, due_ms + RETRY_MS, 0));
}
END_TEST

/* One failure of QUIC where TCP is blocked must not be for ever. */
START_TEST(while_neither_comes_up_they_take_turns)
{
    fall_back();
    for (unsigned i = 1; i <= 3; i++) {
        transport_choice_tls_failed(&c, NOW_MS);
        ck_is(LINK_QUIC, TRANSPORT_REASON_TLS_NOT_UP);
        ck_assert_uint_eq(c.switches[TRANSPORT_REASON_TLS_NOT_UP], i);
        ck_assert_uint_eq(c.probe_due_ms, UINT64_MAX); /* it is dialled anyway */
        transport_choice_tls_failed(&c, NOW_MS);       /* of another slot */
        ck_assert_uint_eq(c.switches[TRANSPORT_REASON_TLS_NOT_UP], i);
        transport_choice_quic_failed(&c, 0, NOW_MS, 0);
        ck_is(LINK_TLS, TRANSPORT_REASON_QUIC_NOT_UP);
        ck_assert_uint_eq(c.switches[TRANSPORT_REASON_QUIC_NOT_UP], i + 1);
        transport_choice_quic_failed(&c, 0, NOW_MS, 0); /* of another slot */
        ck_assert_uint_eq(c.switches[TRANSPORT_REASON_QUIC_NOT_UP], i + 1);
    }
    transport_choice_tls_failed(&c, NOW_MS);
    transport_choice_quic_up(&c);
    ck_is(LINK_QUIC, TRANSPORT_REASON_PREFERRED);
    ck_assert(!c.is_hub_away);
}
END_TEST

START_TEST(a_slot_that_is_late_does_not_rename_a_quic_that_runs)
{
    begin(TRANSPORT_FALLBACK);
    transport_choice_quic_up(&c);
    transport_choice_tls_failed(&c, NOW_MS);
    ck_is(LINK_QUIC, TRANSPORT_REASON_PREFERRED);
    ck_assert_uint_eq(c.switches[TRANSPORT_REASON_TLS_NOT_UP], 0);
}
END_TEST

/* The hub was away: what QUIC did says nothing of the path. */
START_TEST(after_an_absence_of_the_hub_quic_is_tried_soon)
{
    fall_back();
    transport_choice_tls_failed(&c, NOW_MS);
    ck_assert(c.is_hub_away);
    transport_choice_quic_failed(&c, 0, NOW_MS, 0);
    transport_choice_tls_up(&c, NOW_MS, 0);
    ck_is(LINK_TLS, TRANSPORT_REASON_QUIC_NOT_UP);
    ck_assert(!c.is_hub_away);
    ck_assert_uint_eq(c.probe_due_ms, NOW_MS + TRANSPORT_PROBE_SOON_MS);
    ck_assert(transport_choice_probe(&c, NOW_MS + TRANSPORT_PROBE_SOON_MS, 0));
    transport_choice_tls_up(&c, NOW_MS + 3000, 0); /* one more lane: no sooner for that */
    ck_assert_uint_eq(c.probe_due_ms, NOW_MS + TRANSPORT_PROBE_SOON_MS + RETRY_MS);
}
END_TEST

/* A lane by TLS that was dialled before QUIC had its turn again. */
START_TEST(tls_that_comes_up_after_all_is_no_failure_of_quic)
{
    fall_back();
    transport_choice_tls_failed(&c, NOW_MS);
    transport_choice_tls_up(&c, NOW_MS, 0);
    ck_is(LINK_QUIC, TRANSPORT_REASON_TLS_NOT_UP);
    ck_assert(!c.is_hub_away);
    transport_choice_quic_failed(&c, 0, NOW_MS, 0);
    ck_is(LINK_TLS, TRANSPORT_REASON_QUIC_NOT_UP);
    ck_assert_uint_eq(c.probe_due_ms, NOW_MS + RETRY_MS);
}
END_TEST

/* Each further one in a row doubles the time until QUIC is tried again. */
START_TEST(a_collapse_leaves_quic_for_longer_each_time)
{
    uint64_t now_ms = NOW_MS, pause_ms = RETRY_MS;

    begin(TRANSPORT_FALLBACK);
    for (unsigned i = 0; i < 8; i++) {
        transport_choice_quic_up(&c);
        transport_choice_quic_collapsed(&c, RETRY_MS / 2, now_ms, 0);
        ck_is(LINK_TLS, TRANSPORT_REASON_QUIC_COLLAPSED);
        ck_assert_uint_eq(c.probe_due_ms, now_ms + pause_ms);
        transport_choice_quic_collapsed(&c, RETRY_MS / 2, now_ms, 0); /* of another slot */
        transport_choice_tls_up(&c, now_ms, 0);
        ck_assert_uint_eq(c.probe_due_ms, now_ms + pause_ms);
        now_ms += pause_ms;
        ck_assert(transport_choice_probe(&c, now_ms, 0));
        pause_ms = MIN(2 * pause_ms, RETRY_MS << (TRANSPORT_COLLAPSES_MAX - 1));
    }
    ck_assert_uint_eq(c.switches[TRANSPORT_REASON_QUIC_COLLAPSED], 8);
    transport_choice_quic_up(&c);
    transport_choice_quic_collapsed(&c, pause_ms + 1, now_ms, 0); /* it did well for as long */
    ck_assert_uint_eq(c.probe_due_ms, now_ms + RETRY_MS);
    transport_choice_quic_up(&c);
    transport_choice_quic_collapsed(&c, 1, now_ms, RETRY_MS); /* jitter: half of it at most */
    ck_assert_uint_eq(c.probe_due_ms, now_ms + RETRY_MS);
}
END_TEST

START_TEST(where_tls_fails_a_collapsed_quic_stays_and_is_left_in_peace)
{
    begin(TRANSPORT_FALLBACK);
    transport_choice_quic_up(&c);
    transport_choice_quic_collapsed(&c, 1000, NOW_MS, 0);
    transport_choice_tls_failed(&c, NOW_MS);
    ck_is(LINK_QUIC, TRANSPORT_REASON_TLS_NOT_UP);
    transport_choice_quic_collapsed(&c, 1000, NOW_MS + TRANSPORT_DEAF_MS - 1, 0);
    ck_is(LINK_QUIC, TRANSPORT_REASON_TLS_NOT_UP);
    transport_choice_quic_collapsed(&c, 1000, NOW_MS + TRANSPORT_DEAF_MS, 0);
    ck_is(LINK_TLS, TRANSPORT_REASON_QUIC_COLLAPSED);
    transport_choice_tls_up(&c, NOW_MS + TRANSPORT_DEAF_MS, 0); /* the hub was not away */
    ck_assert_uint_eq(c.probe_due_ms, NOW_MS + TRANSPORT_DEAF_MS + 2 * RETRY_MS);
}
END_TEST

START_TEST(edges_do_not_come_back_in_step)
{
    static const uint64_t randoms[] = {0,           1,         RETRY_MS / 2, RETRY_MS / 2 + 1,
                                       12345678901, UINT64_MAX};

    for (unsigned i = 0; i < sizeof(randoms) / sizeof(*randoms); i++) {
        begin(TRANSPORT_FALLBACK);
        transport_choice_quic_failed(&c, 0, NOW_MS, randoms[i]);
        ck_assert_uint_ge(c.probe_due_ms, NOW_MS + RETRY_MS / 2);
        ck_assert_uint_le(c.probe_due_ms, NOW_MS + RETRY_MS);
        ck_assert(transport_choice_probe(&c, c.probe_due_ms, randoms[i]));
        begin(TRANSPORT_FALLBACK);
        transport_choice_quic_failed(&c, TRANSPORT_RAN_WELL_MS, NOW_MS, randoms[i]);
        ck_assert_uint_ge(c.probe_due_ms, NOW_MS + TRANSPORT_PROBE_SOON_MS / 2);
        ck_assert_uint_le(c.probe_due_ms, NOW_MS + TRANSPORT_PROBE_SOON_MS);
    }
    begin(TRANSPORT_FALLBACK);
    transport_choice_quic_failed(&c, 0, NOW_MS, RETRY_MS / 2);
    ck_assert_uint_eq(c.probe_due_ms, NOW_MS + RETRY_MS / 2); /* both bounds are reached */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("edge_transport_choice");
    TCase *tc = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, a_mode_that_leaves_no_choice_never_moves);
    tcase_add_test(tc, quic_is_first_and_stays_while_it_works);
    tcase_add_test(tc, not_up_or_lost_it_falls_back_to_tls);
    tcase_add_test(tc, a_probe_that_comes_up_moves_all_to_quic);
    tcase_add_test(tc, a_probe_that_fails_changes_nothing_and_the_next_is_planned);
    tcase_add_test(tc, while_neither_comes_up_they_take_turns);
    tcase_add_test(tc, a_slot_that_is_late_does_not_rename_a_quic_that_runs);
    tcase_add_test(tc, after_an_absence_of_the_hub_quic_is_tried_soon);
    tcase_add_test(tc, tls_that_comes_up_after_all_is_no_failure_of_quic);
    tcase_add_test(tc, a_collapse_leaves_quic_for_longer_each_time);
    tcase_add_test(tc, where_tls_fails_a_collapsed_quic_stays_and_is_left_in_peace);
    tcase_add_test(tc, edges_do_not_come_back_in_step);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
