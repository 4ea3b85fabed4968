/* test_edge_uplink - edge/uplink.h: which slot dials when, and what a report of a lane changes. */
#include "edge_uplink_fixture.h"

/* --- founding --------------------------------------------------------------------------------- */

START_TEST(one_founds_and_the_others_join)
{
    stand_up(10000);
    ck_assert_str_eq(uplink_phase(&u), "noCredentials");
    use("e1");
    ck_assert_int_eq(slot(0)->state, SLOT_DIALLING);
    ck_assert_uint_eq(count_in(SLOT_OFF), WORKERS - 1);
    ck_assert_uint_eq(u.founder, slot(0)->serial);
    ck_assert_str_eq(uplink_phase(&u), "connecting");
    say_up(slot(0)->serial, true, 0, 'a', 1, 1);
    ck_assert_uint_eq(count_in(SLOT_DIALLING), WORKERS - 1);
    ck_assert_uint_eq(u.founder, 0);
    ck_assert_uint_eq(u.next_number, WORKERS);
    ck_assert_str_eq(uplink_phase(&u), "connected");
    say_up(slot(1)->serial, false, 1, 'a', 1, 1);
    ck_assert_uint_eq(u.lane_count, 2);
    ck_assert_uint_eq(u.assignment.connects, 1);
    stand_down();
}
END_TEST

/* Or each slot would make the next one dial at once, past all back-off. */
START_TEST(a_founder_that_fails_tries_again_alone)
{
    stand_up(10000);
    use("e1");
    for (unsigned i = 0; i < 5; i++) {
        uint64_t since_ms = loop_now_ms(loop);

        say_refused(slot(0)->serial, 0, ANSWER_OVERLOADED, 30);
        ck_assert_int_eq(slot(0)->state, SLOT_WAITING);
        ck_assert_uint_eq(count_in(SLOT_OFF), WORKERS - 1);
        ck_assert_uint_ge(slot(0)->wait.due_ms, since_ms + 29000);
        slot(0)->wait.on_due(&slot(0)->wait);
        ck_assert_int_eq(slot(0)->state, SLOT_DIALLING);
    }
    ck_assert_str_eq(u.last_error, "refused");
    stand_down();
}
END_TEST

START_TEST(a_lost_lane_is_dialled_into_its_session_with_the_next_number)
{
    stand_up(10000);
    use("e1");
    all_up('a', 1);
    say_dead(slot(1)->serial, 'a');
    ck_assert_int_eq(slot(1)->state, SLOT_WAITING);
    ck_assert_uint_eq(u.lane_count, WORKERS - 1);
    slot(1)->wait.on_due(&slot(1)->wait);
    ck_assert_int_eq(slot(1)->state, SLOT_DIALLING);
    ck_assert_uint_eq(u.next_number, WORKERS + 1);
    ck_assert(u.has_session);
    stand_down();
}
END_TEST

/* --- a hub that was restarted ----------------------------------------------------------------- */

static void all_lost_and_dialled_again(void)
{
    for (unsigned i = 0; i < WORKERS; i++)
        say_dead(slot(i)->serial, 'a');
    for (unsigned i = 0; i < WORKERS; i++)
        slot(i)->wait.on_due(&slot(i)->wait);
    ck_assert_uint_eq(count_in(SLOT_DIALLING), WORKERS);
}

START_TEST(two_that_learn_of_it_at_once_found_one_session)
{
    uint64_t old[WORKERS], founder;

    stand_up(10000);
    use("e1");
    all_up('a', 1);
    time_passes();
    all_lost_and_dialled_again();
    for (unsigned i = 0; i < WORKERS; i++)
        old[i] = slot(i)->serial;
    say_refused(old[1], 'a', ANSWER_UNKNOWN_SESSION, 0);
    ck_assert_int_eq(slot(1)->state, SLOT_DIALLING); /* at once */
    ck_assert(!u.has_session);
    founder = u.founder;
    ck_assert_uint_eq(founder, slot(1)->serial);
    say_refused(old[0], 'a', ANSWER_UNKNOWN_SESSION, 0); /* was on its way already */
    say_dead(old[2], 'a');                               /* told to close */
    ck_assert_uint_eq(u.founder, founder);
    ck_assert_int_eq(slot(0)->state, SLOT_OFF);
    ck_assert_int_eq(slot(2)->state, SLOT_WAITING);
    say_up(founder, true, 0, 'b', 1, 1);
    ck_assert_int_eq(slot(0)->state, SLOT_DIALLING);
    say_up(slot(0)->serial, false, 1, 'b', 1, 1);
    ck_assert_uint_eq(u.lane_count, 2);
    stand_down();
}
END_TEST

/* A hub that says so again and again does not get us to dial without end. */
START_TEST(a_young_session_that_is_unknown_is_a_failure)
{
    stand_up(10000);
    use("e1");
    all_up('a', 1);
    say_dead(slot(1)->serial, 'a');
    slot(1)->wait.on_due(&slot(1)->wait);
    say_refused(slot(1)->serial, 'a', ANSWER_UNKNOWN_SESSION, 0);
    ck_assert_int_eq(slot(1)->state, SLOT_WAITING);
    ck_assert(!u.has_session);
    stand_down();
}
END_TEST

START_TEST(a_lane_that_joined_a_session_given_up_meanwhile_is_none)
{
    uint64_t late;

    stand_up(10000);
    use("e1");
    all_up('a', 1);
    time_passes();
    all_lost_and_dialled_again();
    late = slot(0)->serial;
    say_refused(slot(1)->serial, 'a', ANSWER_UNKNOWN_SESSION, 0);
    say_up(late, false, 3, 'a', 1, 1);
    ck_assert_uint_eq(u.lane_count, 0);
    ck_assert_int_ne(slot(0)->state, SLOT_UP);
    say_dead(late, 'a');
    ck_assert_int_eq(slot(0)->state, SLOT_WAITING);
    stand_down();
}
END_TEST

/* --- replaced --------------------------------------------------------------------------------- */

static void say_replaced(uint64_t serial, char session)
{
    struct lane_report *r = report_of(LANE_REPORT_DEAD, serial, session);

    r->has_goodbye = true;
    r->goodbye = GOODBYE_REPLACED;
    r->error = -ERR_CLOSED;
    strcpy(r->why, "replaced");
    uplink_on_report(&u, r);
}

START_TEST(replaced_on_the_present_session_parks)
{
    uint64_t since_ms;

    stand_up(10000);
    use("e1");
    all_up('a', 1);
    since_ms = loop_now_ms(loop);
    say_replaced(slot(2)->serial, 'a');
    ck_assert_str_eq(uplink_phase(&u), "replaced");
    ck_assert_uint_eq(count_in(SLOT_OFF), WORKERS);
    ck_assert_uint_eq(u.lane_count, 0);
    ck_assert_uint_ge(u.parked.due_ms, since_ms + UPLINK_REPLACED_MS - 1000);
    u.parked.on_due(&u.parked);
    ck_assert_uint_eq(count_in(SLOT_DIALLING), 1);
    ck_assert_uint_ne(u.founder, 0);
    stand_down();
}
END_TEST

/* Lane numbers are used up: this edge itself replaces its session. */
START_TEST(replaced_on_an_earlier_session_does_not_park)
{
    uint64_t lost;

    stand_up(10000);
    use("e1");
    all_up('a', 1);
    u.next_number = LANE_MAX + 1;
    lost = slot(0)->serial;
    say_dead(lost, 'a');
    slot(0)->wait.on_due(&slot(0)->wait);
    ck_assert_uint_eq(u.founder, slot(0)->serial);
    say_replaced(slot(1)->serial, 'a'); /* before the new one is known here */
    say_up(slot(0)->serial, true, 0, 'b', 1, 1);
    say_replaced(slot(2)->serial, 'a'); /* and after it */
    ck_assert(!u.is_parked);
    ck_assert_int_eq(slot(0)->state, SLOT_UP);
    ck_assert_int_eq(slot(2)->state, SLOT_WAITING);
    ck_assert_uint_eq(u.lane_count, 1);
    stand_down();
}
END_TEST

START_TEST(new_credentials_end_the_parking)
{
    stand_up(10000);
    use("e1");
    all_up('a', 1);
    say_replaced(slot(0)->serial, 'a');
    use("e2");
    ck_assert_uint_eq(count_in(SLOT_DIALLING), 1);
    ck_assert_uint_eq(u.parked.due_ms, 0);
    stand_down();
}
END_TEST

/* --- draining --------------------------------------------------------------------------------- */

static void say_draining(uint64_t serial)
{
    uplink_on_report(&u, report_of(LANE_REPORT_DRAINING, serial, 0));
}

START_TEST(a_lane_that_drains_has_a_successor_at_once)
{
    uint64_t drained;

    stand_up(10000);
    use("e1");
    all_up('a', 1);
    time_passes();
    drained = slot(1)->serial;
    say_draining(drained);
    ck_assert_int_eq(slot(1)->state, SLOT_DIALLING);
    ck_assert_uint_ne(slot(1)->serial, drained);
    ck_assert_uint_eq(u.lane_count, WORKERS);
    say_draining(drained); /* told twice: nothing more */
    say_up(slot(1)->serial, false, 3, 'a', 1, 1);
    say_dead(drained, 'a');
    ck_assert_int_eq(slot(1)->state, SLOT_UP);
    ck_assert_uint_eq(u.lane_count, WORKERS);
    stand_down();
}
END_TEST

START_TEST(lanes_that_drain_as_soon_as_they_are_up_are_dialled_slowly)
{
    uint64_t since_ms;

    stand_up(10000);
    use("e1");
    all_up('a', 1);
    since_ms = loop_now_ms(loop);
    say_draining(slot(1)->serial);
    ck_assert_int_eq(slot(1)->state, SLOT_WAITING);
    ck_assert_uint_ge(slot(1)->wait.due_ms, since_ms + BACKOFF_FLOOR_MS - 1);
    stand_down();
}
END_TEST

/* --- credentials ------------------------------------------------------------------------------ */

START_TEST(credentials_changed_twice_leave_one_founder)
{
    uint64_t old[3];

    stand_up(10000);
    use("e1");
    all_up('a', 1);
    for (unsigned i = 0; i < 3; i++)
        old[i] = slot(i)->serial;
    use("e2");
    uint64_t second = slot(0)->serial;
    use("e3");
    ck_assert_uint_eq(count_in(SLOT_DIALLING), 1);
    ck_assert_uint_eq(u.founder, slot(0)->serial);
    ck_assert_uint_ne(slot(0)->serial, second);
    for (unsigned i = 0; i < 3; i++)
        say_replaced(old[i], 'a'); /* late: they were told to end */
    say_up(second, true, 0, 'b', 7, 2);
    say_dead(second, 'b');
    ck_assert(!u.has_session && !u.is_parked);
    ck_assert_uint_eq(u.lane_count, 0);
    ck_assert_uint_eq(u.founder, slot(0)->serial);
    ck_assert_str_eq(u.last_error, "");
    say_up(slot(0)->serial, true, 0, 'c', 1, 1);
    ck_assert_uint_eq(u.assignment.config.revision, 1);
    stand_down();
}
END_TEST

START_TEST(without_credentials_nothing_is_left)
{
    stand_up(10000);
    use("e1");
    all_up('a', 1);
    use(NULL);
    ck_assert_str_eq(uplink_phase(&u), "noCredentials");
    ck_assert_uint_eq(count_in(SLOT_OFF), WORKERS);
    ck_assert_uint_eq(u.assignment.ports.count, 0);
    ck_assert(!u.assignment.has_config && !shared.is_holding);
    ck_assert_uint_eq(u.assignment.hold.due_ms, 0);
    stand_down();
}
END_TEST

/* While the tunnel is away clients wait: not any more when no tunnel is wanted. */
START_TEST(without_credentials_nobody_is_held)
{
    stand_up(10000);
    use("e1");
    all_up('a', 1);
    for (unsigned i = 0; i < WORKERS; i++)
        say_dead(slot(i)->serial, 'a');
    ck_assert(shared.is_holding);
    use(NULL);
    ck_assert(!shared.is_holding);
    ck_assert_uint_eq(u.assignment.ports.count, 0);
    ck_assert_uint_eq(u.assignment.hold.due_ms, 0);
    use(NULL); /* again: nothing happens */
    stand_down();
}
END_TEST

START_TEST(a_report_after_the_end_is_freed)
{
    struct lane_report *r;

    stand_up(10000);
    use("e1");
    r = report_of(LANE_REPORT_UP, slot(0)->serial, 'a');
    port_list_set(&r->config.ports, ports, 2);
    stand_down();
    uplink_on_report(&u, r); /* AddressSanitizer looks whether it is */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("edge_uplink");
    TCase *c = tcase_create("uplink");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(c, 120);
    tcase_add_test(c, one_founds_and_the_others_join);
    tcase_add_test(c, a_founder_that_fails_tries_again_alone);
    tcase_add_test(c, a_lost_lane_is_dialled_into_its_session_with_the_next_number);
    tcase_add_test(c, two_that_learn_of_it_at_once_found_one_session);
    tcase_add_test(c, a_young_session_that_is_unknown_is_a_failure);
    tcase_add_test(c, a_lane_that_joined_a_session_given_up_meanwhile_is_none);
    tcase_add_test(c, replaced_on_the_present_session_parks);
    tcase_add_test(c, replaced_on_an_earlier_session_does_not_park);
    tcase_add_test(c, new_credentials_end_the_parking);
    tcase_add_test(c, a_lane_that_drains_has_a_successor_at_once);
    tcase_add_test(c, lanes_that_drain_as_soon_as_they_are_up_are_dialled_slowly);
    tcase_add_test(c, credentials_changed_twice_leave_one_founder);
    tcase_add_test(c, without_credentials_nothing_is_left);
    tcase_add_test(c, without_credentials_nobody_is_held);
    tcase_add_test(c, a_report_after_the_end_is_freed);
    suite_add_tcase(suite, c);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
