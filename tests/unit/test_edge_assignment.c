/* test_edge_assignment - edge/assignment.h in a whole uplink: which ports are open while lanes come
 * and go, for how long without a hub, and which CONFIG is applied. */
#include "edge/edge_events.h"
#include "edge_uplink_fixture.h"
#include "support/await.h"

#define PATIENCE_MS 10000

static bool happens(bool (*is_true)(void))
{
    return await_plain_within(loop, is_true, PATIENCE_MS);
}

#define UNTIL(is_true) ck_assert_msg(happens(is_true), "never: " #is_true)

static void say_config(uint64_t serial, char session, uint64_t revision, unsigned port_count)
{
    struct lane_report *r = report_of(LANE_REPORT_CONFIG, serial, session);

    r->config.revision = revision;
    port_list_set(&r->config.ports, ports, port_count);
    uplink_on_report(&u, r);
}

static bool is_suspended(void)
{
    return u.assignment.ports.is_suspended;
}

static bool is_port_open(unsigned i)
{
    for (size_t k = 0; k < u.assignment.ports.count; k++)
        if (u.assignment.ports.ports[k].port == ports[i])
            return u.assignment.ports.ports[k].is_open;
    return false;
}

START_TEST(ports_outlive_a_short_absence)
{
    stand_up(10000);
    use("e1");
    all_up('a', 1);
    ck_assert(is_port_open(0));
    for (unsigned i = 0; i < WORKERS; i++)
        say_dead(slot(i)->serial, 'a');
    ck_assert(!uplink_is_connected(&u));
    ck_assert(is_port_open(0));
    ck_assert(shared.is_holding);
    ck_assert_uint_ne(u.assignment.hold.due_ms, 0);
    slot(1)->wait.on_due(&slot(1)->wait);
    say_up(slot(1)->serial, false, 3, 'a', 1, 1);
    ck_assert_uint_eq(u.assignment.hold.due_ms, 0);
    ck_assert(is_port_open(0));
    ck_assert_uint_eq(u.assignment.connects, 2);
    stand_down();
}
END_TEST

static unsigned port_events(struct event_place *place)
{
    unsigned n = 0;
    size_t len;
    char *text;

    while ((text = events_next(shared.events, place, &len))) {
        for (const char *at = text; (at = strstr(at, "event: ports")); at++)
            n++;
        free(text);
    }
    return n;
}

/* The workers close their sockets when they come to it; here they never do: so ports[] changes. */
START_TEST(what_changes_without_the_hub_is_told_too)
{
    struct event_place place;
    char why[EVENTS_WHY_BYTES];

    stand_up(20);
    shared.events = events_new(loop, edge_event_types, 64, 1);
    ck_assert_int_eq(
        events_join(shared.events, &place, "portsAssigned,portsUpdated", NULL, why, sizeof(why)),
        0);
    use("e1");
    all_up('a', 1);
    ck_assert_uint_eq(port_events(&place), 1);
    for (unsigned i = 0; i < WORKERS; i++)
        say_dead(slot(i)->serial, 'a');
    ck_assert_uint_eq(port_events(&place), 0); /* they are held */
    UNTIL(is_suspended);
    ck_assert_uint_eq(port_events(&place), 1);
    u.assignment.ports.ports[0].port = ports[0] = free_port();
    if (slot(1)->state == SLOT_WAITING)
        slot(1)->wait.on_due(&slot(1)->wait);
    say_up(slot(1)->serial, false, 3, 'a', 1, 1);
    ck_assert_uint_eq(port_events(&place), 1);
    use(NULL);
    ck_assert_uint_eq(port_events(&place), 1);
    use(NULL);
    ck_assert_uint_eq(port_events(&place), 0);
    events_leave(shared.events, &place);
    events_free(shared.events);
    stand_down();
}
END_TEST

/* The workers close their sockets when they come to it; here they never do.  So the port that comes
 * back is another one than the one that was bound. */
START_TEST(ports_come_back_into_the_same_session_after_the_time_to_hold)
{
    stand_up(20);
    use("e1");
    all_up('a', 1);
    for (unsigned i = 0; i < WORKERS; i++)
        say_dead(slot(i)->serial, 'a');
    UNTIL(is_suspended);
    ck_assert(!shared.is_holding);
    ck_assert(!is_port_open(0));
    u.assignment.ports.ports[0].port = ports[0] = free_port();
    if (slot(1)->state == SLOT_WAITING)
        slot(1)->wait.on_due(&slot(1)->wait);
    ck_assert_int_eq(slot(1)->state, SLOT_DIALLING);
    say_up(slot(1)->serial, false, 3, 'a', 1, 1); /* the same session, the same revision */
    ck_assert(!is_suspended());
    ck_assert(is_port_open(0));
    ck_assert(shared.is_holding);
    stand_down();
}
END_TEST

START_TEST(a_port_in_use_is_tried_again_but_not_while_suspended)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    stand_up(20);
    at.sin_port = htons(ports[0]);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    use("e1");
    say_up(slot(0)->serial, true, 0, 'a', 1, 2);
    ck_assert(!is_port_open(0));
    ck_assert(is_port_open(1));
    ck_assert_str_ne(u.assignment.ports.ports[u.assignment.ports.ports[0].is_open].error, "");
    ck_assert_uint_ne(u.assignment.ports.retry.due_ms, 0);
    close(fd);
    u.assignment.ports.retry.on_due(&u.assignment.ports.retry);
    ck_assert(is_port_open(0));
    ck_assert_uint_eq(u.assignment.ports.retry.due_ms, 0);
    say_config(slot(0)->serial, 'a', 2, 0);
    ck_assert_uint_eq(u.assignment.ports.count, 0);
    stand_down();
}
END_TEST

START_TEST(without_time_to_hold_ports_close_at_once)
{
    stand_up(0);
    use("e1");
    all_up('a', 1);
    for (unsigned i = 0; i < WORKERS; i++)
        say_dead(slot(i)->serial, 'a');
    ck_assert(is_suspended());
    ck_assert(!shared.is_holding);
    stand_down();
}
END_TEST

START_TEST(only_a_higher_revision_of_this_session_is_applied)
{
    stand_up(10000);
    use("e1");
    all_up('a', 5);
    say_config(slot(1)->serial, 'a', 4, 0); /* lower */
    ck_assert_uint_eq(u.assignment.ports.count, 1);
    say_config(slot(1)->serial, 'a', 5, 0); /* equal: acknowledged, and changes nothing */
    ck_assert_uint_eq(u.assignment.ports.count, 1);
    say_config(slot(1)->serial, 'z', 9, 0); /* another session */
    ck_assert_uint_eq(u.assignment.ports.count, 1);
    say_config(12345, 'a', 9, 0); /* nobody's */
    ck_assert_uint_eq(u.assignment.ports.count, 1);
    say_config(slot(1)->serial, 'a', 6, 2);
    ck_assert_uint_eq(u.assignment.ports.count, 2);
    ck_assert_uint_eq(u.assignment.config.revision, 6);
    stand_down();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("edge_assignment");
    TCase *c = tcase_create("assignment");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(c, 120);
    tcase_add_test(c, ports_outlive_a_short_absence);
    tcase_add_test(c, what_changes_without_the_hub_is_told_too);
    tcase_add_test(c, ports_come_back_into_the_same_session_after_the_time_to_hold);
    tcase_add_test(c, a_port_in_use_is_tried_again_but_not_while_suspended);
    tcase_add_test(c, without_time_to_hold_ports_close_at_once);
    tcase_add_test(c, only_a_higher_revision_of_this_session_is_applied);
    suite_add_tcase(suite, c);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
