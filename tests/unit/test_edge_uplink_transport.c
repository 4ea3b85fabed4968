/* test_edge_uplink_transport - edge/uplink.h with edge/transport_choice.h: by which transport slots
 * dial, and how they move from one to the other. */
#include "edge_uplink_fixture.h"

static void say_up_by(uint64_t serial, bool is_founded, uint32_t number, char session,
                      enum link_transport transport)
{
    struct lane_report *r = report_of(LANE_REPORT_UP, serial, session);

    r->is_founded = is_founded;
    r->lane_number = number;
    r->transport = transport;
    r->config.revision = 1;
    uplink_on_report(&u, r);
}

/* It never came up, or what carried it is gone. */
static void say_path_fault(uint64_t serial, char session, enum link_transport transport)
{
    struct lane_report *r = report_of(LANE_REPORT_DEAD, serial, session);

    r->transport = transport;
    r->is_path_fault = true;
    r->error = -ERR_TIMEOUT;
    strcpy(r->why, "no answer");
    uplink_on_report(&u, r);
}

static void stand_up_choosing(void)
{
    stand_up_by(10000, TRANSPORT_FALLBACK);
    use("e1");
}

/* A blip of QUIC where TCP is blocked must not be the end of it; and a hub that is away is not
 * dialled without end. */
START_TEST(while_nothing_is_up_the_transports_take_turns)
{
    stand_up_choosing();
    for (unsigned i = 0; i < 4; i++) {
        uint64_t quic = slot(0)->serial, since_ms = loop_now_ms(loop);

        ck_assert_int_eq(u.choice.next, LINK_QUIC);
        say_path_fault(quic, 0, LINK_QUIC);
        ck_assert_int_eq(u.choice.next, LINK_TLS);
        ck_assert_int_eq(slot(0)->state, SLOT_DIALLING); /* at once */
        ck_assert_uint_ne(slot(0)->serial, quic);
        say_path_fault(slot(0)->serial, 0, LINK_TLS);
        ck_assert_int_eq(u.choice.next, LINK_QUIC);
        ck_assert_int_eq(slot(0)->state, SLOT_WAITING); /* the back-off paces it */
        ck_assert_uint_ge(slot(0)->wait.due_ms, since_ms + BACKOFF_FLOOR_MS - 1);
        ck_assert_uint_eq(count_in(SLOT_OFF), WORKERS - 1);
        ck_assert_uint_eq(u.move.due_ms, 0);
        slot(0)->wait.on_due(&slot(0)->wait);
        ck_assert_int_eq(slot(0)->state, SLOT_DIALLING);
    }
    say_up_by(slot(0)->serial, true, 0, 'a', LINK_QUIC);
    ck_assert_int_eq(u.choice.reason, TRANSPORT_REASON_PREFERRED);
    ck_assert_int_eq(uplink_transport(&u), LINK_QUIC);
    stand_down();
}
END_TEST

/* All slots of a session that stands dial at once: each finds the way that is left. */
START_TEST(slots_that_fail_out_of_step_end_on_the_transport_that_works)
{
    stand_up_choosing();
    for (unsigned i = 0; i < WORKERS; i++)
        say_up_by(slot(i)->serial, i == 0, i, 'a', LINK_QUIC);
    for (unsigned i = 0; i < WORKERS; i++)
        say_path_fault(slot(i)->serial, 'a', LINK_QUIC);
    ck_assert_int_eq(u.choice.next, LINK_TLS);
    ck_assert_uint_eq(count_in(SLOT_DIALLING), WORKERS);
    for (unsigned i = 0; i < WORKERS; i++)
        say_path_fault(slot(i)->serial, 'a', LINK_TLS);
    ck_assert_uint_eq(count_in(SLOT_WAITING), WORKERS);
    ck_assert_uint_eq(u.choice.switches[TRANSPORT_REASON_TLS_NOT_UP], 1);
    slot(1)->wait.on_due(&slot(1)->wait);
    say_path_fault(slot(1)->serial, 'a', LINK_QUIC);
    slot(2)->wait.on_due(&slot(2)->wait);
    ck_assert_int_eq(u.choice.next, LINK_TLS);
    say_up_by(slot(1)->serial, false, 3, 'a', LINK_TLS);
    say_path_fault(slot(2)->serial, 'a', LINK_TLS); /* one alone: TLS is up beside it */
    ck_assert_int_eq(u.choice.next, LINK_TLS);
    ck_assert_uint_le(u.move.due_ms, loop_now_ms(loop) + TRANSPORT_PROBE_SOON_MS);
    slot(2)->wait.on_due(&slot(2)->wait);
    say_up_by(slot(2)->serial, false, 4, 'a', LINK_TLS);
    ck_assert_int_eq(uplink_transport(&u), LINK_TLS);
    stand_down();
}
END_TEST

/* All slots by TLS, and QUIC is dialled beside the first. */
static void all_up_and_one_moves(void)
{
    stand_up_choosing();
    say_path_fault(slot(0)->serial, 0, LINK_QUIC);
    for (unsigned i = 0; i < WORKERS; i++)
        say_up_by(slot(i)->serial, i == 0, i, 'a', LINK_TLS);
    u.choice.probe_due_ms = 0;
    u.move.on_due(&u.move);
    ck_assert_uint_ne(slot(0)->beside, 0);
    ck_assert_uint_eq(slot(1)->beside, 0);
}

START_TEST(a_lane_beside_takes_the_place_of_the_first)
{
    uint64_t old, beside;

    all_up_and_one_moves();
    old = slot(0)->serial;
    beside = slot(0)->beside;
    say_up_by(beside, false, 3, 'a', LINK_QUIC);
    ck_assert_uint_eq(slot(0)->serial, beside);
    ck_assert_uint_eq(slot(0)->beside, 0);
    ck_assert_uint_eq(u.lane_count, WORKERS + 1);
    for (unsigned i = 1; i < WORKERS; i++)
        ck_assert_uint_ne(slot(i)->beside, 0); /* the others follow */
    say_dead(old, 'a');
    ck_assert_int_eq(slot(0)->state, SLOT_UP);
    stand_down();
}
END_TEST

static void say_collapsed(uint64_t serial)
{
    struct lane_report *r = report_of(LANE_REPORT_COLLAPSED, serial, 'a');

    strcpy(r->why, "loss");
    uplink_on_report(&u, r);
}

/* One is enough: the path is the same.  The lanes that are up stay until TLS is. */
START_TEST(a_path_that_collapses_moves_all_to_tls)
{
    uint64_t old[WORKERS], since_ms;

    stand_up_choosing();
    for (unsigned i = 0; i < WORKERS; i++)
        say_up_by(slot(i)->serial, i == 0, i, 'a', LINK_QUIC);
    since_ms = loop_now_ms(loop);
    say_collapsed(slot(0)->serial + 1000); /* of nobody */
    ck_assert_int_eq(u.choice.next, LINK_QUIC);
    say_collapsed(slot(1)->serial);
    ck_assert_int_eq(u.choice.next, LINK_TLS);
    ck_assert_int_eq(u.choice.reason, TRANSPORT_REASON_QUIC_COLLAPSED);
    ck_assert_int_eq(uplink_transport(&u), LINK_QUIC);
    for (unsigned i = 0; i < WORKERS; i++) {
        ck_assert_uint_ne(slot(i)->beside, 0);
        old[i] = slot(i)->serial;
    }
    for (unsigned i = 0; i < WORKERS; i++)
        say_up_by(slot(i)->beside, false, WORKERS + i, 'a', LINK_TLS);
    ck_assert_int_eq(uplink_transport(&u), LINK_TLS);
    ck_assert_uint_eq(u.lane_count, 2 * WORKERS);
    say_collapsed(old[2]); /* a lane that drains: no news */
    ck_assert_uint_eq(u.choice.collapses, 1);
    ck_assert_uint_ge(u.choice.probe_due_ms, since_ms + u.choice.retry_ms / 2);
    /* outside of a turn the clock goes on between two looks at it */
    ck_assert_uint_le(u.move.due_ms, u.choice.probe_due_ms + 1 + loop_now_ms(loop) - since_ms);
    stand_down();
}
END_TEST

START_TEST(a_path_that_collapses_where_tls_fails_serves_on)
{
    stand_up_choosing();
    for (unsigned i = 0; i < WORKERS; i++)
        say_up_by(slot(i)->serial, i == 0, i, 'a', LINK_QUIC);
    say_collapsed(slot(0)->serial);
    for (unsigned i = 0; i < WORKERS; i++)
        say_path_fault(slot(i)->beside, 'a', LINK_TLS);
    ck_assert_int_eq(u.choice.next, LINK_QUIC);
    ck_assert_int_eq(u.choice.reason, TRANSPORT_REASON_TLS_NOT_UP);
    ck_assert_uint_eq(count_in(SLOT_UP), WORKERS);
    say_collapsed(slot(0)->serial);
    ck_assert_uint_eq(slot(0)->beside, 0);
    stand_down();
}
END_TEST

/* The numbers of the session are used up: it is given up, and the lane beside has joined it. */
START_TEST(a_lane_beside_for_a_session_given_up_leaves_the_slot_free_to_move)
{
    uint64_t mine, late;

    all_up_and_one_moves();
    late = slot(0)->beside;
    mine = slot(0)->serial;
    u.next_number = LANE_MAX + 1;
    say_dead(slot(1)->serial, 'a');
    slot(1)->wait.on_due(&slot(1)->wait);
    ck_assert_uint_eq(u.founder, slot(1)->serial);
    say_up_by(late, false, 3, 'a', LINK_QUIC);
    ck_assert_uint_eq(slot(0)->beside, 0);
    ck_assert_uint_eq(slot(0)->serial, mine);
    ck_assert_int_eq(slot(0)->state, SLOT_UP);
    say_dead(late, 'a');
    ck_assert_int_eq(slot(0)->state, SLOT_UP);
    say_up_by(slot(1)->serial, true, 0, 'b', LINK_QUIC);
    ck_assert_uint_ne(slot(0)->beside, 0);
    stand_down();
}
END_TEST

/* It is told to close, and is no lane of ours: until it is gone nothing that it reports counts. */
START_TEST(a_lane_of_a_foreign_session_changes_nothing)
{
    uint64_t foreign;
    struct uplink_slot before;

    stand_up_choosing();
    say_up_by(slot(0)->serial, true, 0, 'a', LINK_QUIC);
    foreign = slot(1)->serial;
    say_up_by(foreign, false, 1, 'x', LINK_QUIC);
    ck_assert_uint_eq(u.lane_count, 1);
    before = *slot(1);
    say_collapsed(foreign);
    ck_assert_int_eq(u.choice.next, LINK_QUIC);
    ck_assert_uint_eq(u.choice.collapses, 0);
    uplink_on_report(&u, report_of(LANE_REPORT_DRAINING, foreign, 'x'));
    uplink_on_report(&u, report_of(LANE_REPORT_CONFIG, foreign, 'x'));
    ck_assert_int_eq(slot(1)->state, before.state);
    ck_assert_uint_eq(slot(1)->serial, foreign);
    say_dead(foreign, 'x');
    ck_assert_int_eq(slot(1)->state, SLOT_WAITING);
    ck_assert(uplink_is_connected(&u));
    stand_down();
}
END_TEST

START_TEST(a_session_that_is_unknown_takes_what_is_dialled_beside_with_it)
{
    uint64_t beside;

    all_up_and_one_moves();
    beside = slot(0)->beside;
    time_passes();
    say_dead(slot(1)->serial, 'a');
    slot(1)->wait.on_due(&slot(1)->wait);
    say_refused(slot(1)->serial, 'a', ANSWER_UNKNOWN_SESSION, 0);
    ck_assert_uint_eq(slot(0)->beside, 0);
    say_up_by(beside, false, 3, 'a', LINK_QUIC); /* was on its way already */
    ck_assert_uint_eq(slot(0)->beside, 0);
    ck_assert_uint_eq(u.lane_count, WORKERS - 1);
    stand_down();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("edge_uplink_transport");
    TCase *c = tcase_create("transport");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(c, 120);
    tcase_add_test(c, while_nothing_is_up_the_transports_take_turns);
    tcase_add_test(c, slots_that_fail_out_of_step_end_on_the_transport_that_works);
    tcase_add_test(c, a_path_that_collapses_moves_all_to_tls);
    tcase_add_test(c, a_path_that_collapses_where_tls_fails_serves_on);
    tcase_add_test(c, a_lane_beside_takes_the_place_of_the_first);
    tcase_add_test(c, a_lane_beside_for_a_session_given_up_leaves_the_slot_free_to_move);
    tcase_add_test(c, a_lane_of_a_foreign_session_changes_nothing);
    tcase_add_test(c, a_session_that_is_unknown_takes_what_is_dialled_beside_with_it);
    suite_add_tcase(suite, c);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
