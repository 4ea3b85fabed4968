/* test_edge_udp_flows - edge/udp_flows.h: one worker. */
#include "edge_udp_fixture.h"
#include "support/suite.h"

static bool flows_are(unsigned n)
{
    return t.workers[0].stats.udp.flows == n;
}

static uint64_t evicted(enum udp_eviction why)
{
    return t.workers[0].stats.udp.evicted[why];
}

static bool were_evicted(unsigned n)
{
    return evicted(UDP_EVICTED_LEAST_RECENT) == n;
}

static bool paid_for_their_address(unsigned n)
{
    return evicted(UDP_EVICTED_ADDRESS_SHARE) == n;
}

static bool found_no_tunnel(unsigned n)
{
    return t.workers[0].stats.udp.dropped[UDP_DROP_NO_TUNNEL] == n;
}

static bool sessions_are_held(unsigned n)
{
    return t.shared.budget.udp.sessions == n;
}

/* As other workers of the process do. */
static void others_hold(unsigned n)
{
    while (n-- > 0)
        ck_assert(budget_open_udp(&t.shared.budget));
}

static void others_let_go(unsigned n)
{
    while (n-- > 0)
        budget_close_udp(&t.shared.budget);
}

static int pressing; /* a client that does not wait for answers */

static bool were_shut_out(unsigned n)
{
    ck_assert_int_eq(send(pressing, "again", 5, 0), 5);
    return t.workers[0].stats.udp.dropped[UDP_DROP_CLOSED] >= n;
}

/* --- tests ------------------------------------------------------------------------------------ */

static uint64_t dialled_ms; /* before the lane that a flow leaves for was there */

static void lane_up_to_move_to(void)
{
    dialled_ms = clock_now_us() / 1000;
    lane_up(0);
}

/* The session that was left behind: the hub closes it, or the edge after a moment. */
static bool is_left_open(unsigned i)
{
    uint64_t now_ms = clock_now_us() / 1000;

    if (sessions[i].is_closed)
        ck_assert_uint_ge(now_ms - dialled_ms, UDP_LEFT_MS);
    return !sessions[i].is_closed;
}

static bool is_answered_or_closed(unsigned i)
{
    return is_told(i) || !is_left_open(i);
}

/* What the target of a session that was left says is heard as long as the session is there. */
static void expect_late(unsigned i, int fd)
{
    if (!is_left_open(i))
        return;
    asking = fd;
    hub_says(i, "late");
    UNTIL(is_answered_or_closed, i);
    while (recv(fd, (char[4]){0}, 4, MSG_DONTWAIT) == 4)
        continue;
}

START_TEST(a_client_is_a_session)
{
    int a, b;

    udp_up(1, 100, 60000);
    a = client();
    ck_assert_int_eq(send(a, "early", 5, 0), 5);
    UNTIL(found_no_tunnel, 1);
    lane_up(0);
    b = client();
    ask(a, "one");
    ask(b, "two");
    ask(a, "three");
    ck_assert_uint_eq(session_count, 2);
    UNTIL(flows_are, 2);
    edge_worker_close_port(&t.workers[0], PORT_UDP, t.port);
    UNTIL(session_is_closed, 0);
    UNTIL(session_is_closed, 1);
    UNTIL(flows_are, 0);
    close(a);
    close(b);
    udp_down();
}
END_TEST

START_TEST(a_flow_opens_again_when_its_lane_is_lost)
{
    int a;

    udp_up(1, 100, 60000);
    lane_up(0);
    a = client();
    ask(a, "one");
    lose_lane(0);
    lane_up(0);
    UNTIL(sessions_came, 2); /* though the client says nothing: its target may */
    ck_assert_uint_eq(sessions[1].client_port, sessions[0].client_port);
    asking = a;
    hub_says(1, "from the target");
    UNTIL(is_told, 1);
    close(a);
    udp_down();
}
END_TEST

START_TEST(a_flow_leaves_a_lane_that_drains)
{
    int a;

    udp_up(1, 100, 60000);
    lane_up(0);
    a = client();
    ask(a, "one");
    link_send_drain(t.lanes[0].link, 30);
    UNTIL(lanes_drain, 1);
    ask(a, "two"); /* there is no other lane yet */
    ck_assert_uint_eq(session_count, 1);
    lane_up_to_move_to();
    UNTIL(sessions_came, 2);
    ck_assert_ptr_eq(sessions[1].end, &t.lanes[1]);
    expect_late(0, a);
    udp_session_close(&sessions[0].session, UDP_END_ORDERLY);
    ask(a, "three");
    ck_assert_uint_eq(session_count, 2);
    close(a);
    udp_down();
}
END_TEST

/* Another hub: the one that was left never learns where the flow went. */
START_TEST(what_a_flow_has_left_is_closed_after_a_moment)
{
    int fds[3];

    udp_up(1, 100, 60000);
    lane_up(0);
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = client();
        ask(fds[i], "one");
    }
    link_send_drain(t.lanes[0].link, 30);
    UNTIL(lanes_drain, 1);
    lane_up_to_move_to();
    UNTIL(sessions_came, 6);
    expect_late(1, fds[1]);
    udp_session_close(&sessions[0].session, UDP_END_ORDERLY); /* one was moved by the hub */
    UNTIL(session_is_closed, 1);
    UNTIL(session_is_closed, 2);
    ck_assert(!is_left_open(1));
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++) {
        ask(fds[i], "two");
        ck_assert(!sessions[3 + i].is_closed);
        close(fds[i]);
    }
    ck_assert_uint_eq(session_count, 6);
    udp_down();
}
END_TEST

/* Each client holds two sessions while it moves: no other one goes for that. */
START_TEST(at_the_limit_a_lane_that_drains_costs_no_client)
{
    int fds[3];

    udp_up(1, 2, 60000);
    lane_up(0);
    for (unsigned i = 0; i < 2; i++) {
        fds[i] = client();
        ask(fds[i], "one");
    }
    link_send_drain(t.lanes[0].link, 30);
    UNTIL(lanes_drain, 1);
    lane_up(0);
    UNTIL(sessions_came, 4);
    UNTIL(session_is_closed, 0);
    UNTIL(session_is_closed, 1);
    for (unsigned i = 0; i < 2; i++)
        ask(fds[i], "two");
    ck_assert_uint_eq(session_count, 4);
    UNTIL(flows_are, 2);
    ck_assert(were_evicted(0));
    fds[2] = client(); /* one too many is one too many */
    ask(fds[2], "three");
    UNTIL(were_evicted, 1);
    for (unsigned i = 0; i < 3; i++)
        close(fds[i]);
    udp_down();
}
END_TEST

/* A session that was left goes before a client does. */
START_TEST(a_new_client_takes_the_place_of_what_was_left_behind)
{
    int a, b;

    udp_up(1, 2, 60000);
    lane_up(0);
    a = client();
    ask(a, "one");
    link_send_drain(t.lanes[0].link, 30);
    UNTIL(lanes_drain, 1);
    lane_up(0);
    UNTIL(sessions_came, 2);
    b = client();
    ask(b, "here");
    ask(a, "two");
    ck_assert_uint_eq(session_count, 3);
    UNTIL(flows_are, 2);
    ck_assert(were_evicted(0));
    close(a);
    close(b);
    udp_down();
}
END_TEST

START_TEST(past_the_limit_the_least_recently_used_goes)
{
    int fds[3];

    udp_up(1, 2, 60000);
    lane_up(0);
    for (unsigned i = 0; i < 3; i++) {
        fds[i] = client();
        ask(fds[i], "here");
        if (i == 1)
            ask(fds[0], "still here");
    }
    UNTIL(session_is_closed, 1);
    ck_assert(!sessions[0].is_closed);
    UNTIL(were_evicted, 1);
    for (unsigned i = 0; i < 3; i++)
        close(fds[i]);
    udp_down();
}
END_TEST

/* A client with ever new ports, and one with one: the first pays for each of them itself. */
START_TEST(an_address_with_many_ports_takes_no_place_of_another)
{
    int quiet, fds[20];

    udp_up(1, 8, 60000);
    lane_up(0);
    quiet = client_at(2);
    ask(quiet, "here");
    for (unsigned i = 0; i < 20; i++) {
        fds[i] = client_at(1);
        ask(fds[i], "many");
    }
    UNTIL(paid_for_their_address, 20 - 7);
    ck_assert_uint_eq(evicted(UDP_EVICTED_LEAST_RECENT), 0);
    for (unsigned i = 0; i < 20 - 7; i++) /* the least recently used ones */
        UNTIL(session_is_closed, 1 + i);
    for (unsigned i = 20 - 7; i < 20; i++)
        ck_assert(!sessions[1 + i].is_closed);
    ck_assert(!sessions[0].is_closed);
    ask(quiet, "still here");
    ck_assert_uint_eq(session_count, 21);
    UNTIL(flows_are, 8);
    for (unsigned i = 0; i < 20; i++)
        close(fds[i]);
    close(quiet);
    udp_down();
}
END_TEST

/* It has them all; then others come, until all have the same: there the least recently used goes.
 */
START_TEST(who_has_most_makes_room_for_others)
{
    int many[4], others[4];

    udp_up(1, 4, 60000);
    lane_up(0);
    for (unsigned i = 0; i < 4; i++) {
        many[i] = client_at(1);
        ask(many[i], "many");
    }
    for (unsigned i = 0; i < 3; i++) {
        others[i] = client_at((uint8_t)(2 + i));
        ask(others[i], "other");
        UNTIL(session_is_closed, i);
        UNTIL(paid_for_their_address, i + 1);
    }
    ck_assert_uint_eq(evicted(UDP_EVICTED_LEAST_RECENT), 0);
    ask(many[3], "the last of many");
    ask(others[0], "not the oldest");
    others[3] = client_at(5);
    ask(others[3], "other");
    UNTIL(were_evicted, 1);
    UNTIL(session_is_closed, 5); /* that of others[1] */
    ck_assert_uint_eq(session_count, 8);
    ck_assert_uint_eq(evicted(UDP_EVICTED_ADDRESS_SHARE), 3);
    for (unsigned i = 0; i < 4; i++) {
        close(many[i]);
        close(others[i]);
    }
    udp_down();
}
END_TEST

/* What the process has is used up by others, and the oldest client here holds none of it. */
START_TEST(a_client_without_a_session_makes_no_room_for_one)
{
    int shut, fds[2], newcomer;

    udp_up(1, 4, 60000);
    lane_up(0);
    shut = client();
    ask(shut, "here");
    udp_session_close(&sessions[0].session, UDP_END_ORDERLY);
    UNTIL(sessions_are_held, 0);
    for (unsigned i = 0; i < 2; i++) {
        fds[i] = client();
        ask(fds[i], "here");
    }
    others_hold(2);
    newcomer = client();
    ask(newcomer, "its first one");
    UNTIL(session_is_closed, 1);
    UNTIL(were_evicted, 1);
    UNTIL(flows_are, 3);
    ck_assert(!sessions[2].is_closed);
    ask(fds[1], "still here");
    ck_assert_uint_eq(session_count, 4);
    close(shut);
    close(fds[0]);
    close(fds[1]);
    close(newcomer);
    others_let_go(2);
    udp_down();
}
END_TEST

/* The same by addresses: many flows are nothing to pay with, sessions are. */
START_TEST(an_address_pays_for_a_session_with_a_session)
{
    int shut[3], many[3], newcomer;

    udp_up(1, 8, 60000);
    lane_up(0);
    for (unsigned i = 0; i < 3; i++) {
        shut[i] = client_at(1);
        ask(shut[i], "here");
        udp_session_close(&sessions[i].session, UDP_END_ORDERLY);
    }
    UNTIL(sessions_are_held, 0);
    for (unsigned i = 0; i < 3; i++) {
        many[i] = client_at(2);
        ask(many[i], "many");
    }
    others_hold(5);
    newcomer = client_at(3);
    ask(newcomer, "its first one");
    UNTIL(session_is_closed, 3);
    UNTIL(paid_for_their_address, 1);
    UNTIL(flows_are, 6);
    ck_assert(were_evicted(0));
    for (unsigned i = 1; i < 3; i++)
        ask(many[i], "still here");
    ck_assert_uint_eq(session_count, 7);
    for (unsigned i = 0; i < 3; i++) {
        close(shut[i]);
        close(many[i]);
    }
    close(newcomer);
    others_let_go(5);
    udp_down();
}
END_TEST

static bool found_no_room(unsigned n)
{
    return t.workers[0].stats.udp.dropped[UDP_DROP_LIMIT_SESSIONS] == n;
}

/* Others hold them all: the newcomer is dropped, and nobody goes for nothing. */
START_TEST(where_nobody_holds_a_session_nobody_goes)
{
    int shut, newcomer;

    udp_up(1, 4, 60000);
    lane_up(0);
    shut = client();
    ask(shut, "here");
    udp_session_close(&sessions[0].session, UDP_END_ORDERLY);
    UNTIL(sessions_are_held, 0);
    others_hold(4);
    newcomer = client();
    ck_assert_int_eq(send(newcomer, "in vain", 7, 0), 7);
    UNTIL(found_no_room, 1);
    UNTIL(flows_are, 2);
    ck_assert(were_evicted(0));
    others_let_go(1);
    ask(newcomer, "again");
    ck_assert_uint_eq(session_count, 2);
    close(shut);
    close(newcomer);
    others_let_go(3);
    udp_down();
}
END_TEST

START_TEST(what_is_idle_or_refused_goes)
{
    int a, b;

    udp_up(1, 100, 300);
    lane_up(0);
    a = client();
    ask(a, "one");
    UNTIL(session_is_closed, 0);
    UNTIL(flows_are, 0);
    refuses = true;
    b = client();
    pressing = b;
    UNTIL(were_shut_out, 1); /* the first opens, and is refused; the next ones are not heard */
    ck_assert_uint_eq(session_count, 1);
    close(a);
    close(b);
    udp_down();
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, a_client_is_a_session);
    tcase_add_test(tc, a_flow_opens_again_when_its_lane_is_lost);
    tcase_add_test(tc, a_flow_leaves_a_lane_that_drains);
    tcase_add_test(tc, what_a_flow_has_left_is_closed_after_a_moment);
    tcase_add_test(tc, at_the_limit_a_lane_that_drains_costs_no_client);
    tcase_add_test(tc, a_new_client_takes_the_place_of_what_was_left_behind);
    tcase_add_test(tc, past_the_limit_the_least_recently_used_goes);
    tcase_add_test(tc, an_address_with_many_ports_takes_no_place_of_another);
    tcase_add_test(tc, who_has_most_makes_room_for_others);
    tcase_add_test(tc, a_client_without_a_session_makes_no_room_for_one);
    tcase_add_test(tc, an_address_pays_for_a_session_with_a_session);
    tcase_add_test(tc, where_nobody_holds_a_session_nobody_goes);
    tcase_add_test(tc, what_is_idle_or_refused_goes);
    return suite_run("udp_flows", tc);
}
