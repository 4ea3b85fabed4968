/* test_edge_udp_guests - edge/udp_flows.h, udp_hand_over.h: a client whose datagrams come to a
 * worker that has lost its lane is the guest of another one, and comes back. */
#include "edge_udp_fixture.h"
#include "support/suite.h"

#define LIMIT 100 /* limits.udpSessions */

static int guest;
static unsigned home; /* its session on the lane of its own worker, workers[0] */

static bool is_answered_at_last(unsigned n)
{
    static uint64_t said_ms;

    if (is_answered(n))
        return true;
    if (loop_now_ms(t.loop) - said_ms >= 50) {
        said_ms = loop_now_ms(t.loop);
        ck_assert_int_eq(send(asking, "again", 5, 0), 5);
    }
    return false;
}

static void pass_over_answers(int fd)
{
    char got[100];

    while (recv(fd, got, sizeof(got), MSG_DONTWAIT) > 0)
        continue;
}

/* As clients do: says it again when nothing comes, for what was on its way on a lane that is lost
 * is lost. */
static void ask_until_answered(int fd)
{
    asking = fd;
    pass_over_answers(fd);
    UNTIL(is_answered_at_last, 0);
    pass_over_answers(fd);
}

static void two_lanes_up(void)
{
    udp_up(2, LIMIT, 60000);
    lane_up(0);
    lane_up(1);
}

/* One whose datagrams the kernel deals to the first worker.  It is told by the lane on which the
 * session comes; those before it are the other's. */
static int client_of_the_first(void)
{
    for (;;) {
        int fd = client();

        ask(fd, "where");
        if (sessions[session_count - 1].end == &t.lanes[0])
            return fd;
        ck_assert_uint_lt(session_count, SESSIONS_MAX / 2);
        close(fd);
    }
}

/* Both workers have a lane, lanes[0] and lanes[1]. */
static void guest_up(void)
{
    two_lanes_up();
    guest = client_of_the_first();
    home = session_count - 1;
}

/* Its worker loses its lane: its session is on the other's. */
static void guest_leaves(unsigned lane)
{
    unsigned before = session_count;

    lose_lane(lane);
    UNTIL(lanes_are_dead, lane == 0 ? 1 : 2);
    ask_until_answered(guest);
    ck_assert_uint_le(session_count, before + 1);
}

static uint64_t handed_over(void)
{
    return t.workers[0].stats.udp.handed_over;
}

static bool were_handed_over(unsigned n)
{
    return handed_over() >= n;
}

/* Answers to what was asked twice may still come. */
static bool is_late(unsigned i)
{
    char got[100];

    return is_told(i) && recv(guest, got, sizeof(got), MSG_DONTWAIT) == 4 &&
           memcmp(got, "late", 4) == 0;
}

START_TEST(it_comes_back_when_its_worker_has_a_lane_again)
{
    guest_up();
    guest_leaves(0);
    UNTIL(sessions_came, home + 2);
    ck_assert_ptr_eq(sessions[home + 1].end, &t.lanes[1]);
    ck_assert_uint_eq(sessions[home + 1].client_port, sessions[home].client_port);
    UNTIL(were_handed_over, 1);
    lane_up(0);
    UNTIL(sessions_came, home + 3); /* without a word of the client */
    ck_assert_ptr_eq(sessions[home + 2].end, &t.lanes[2]);
    ck_assert_uint_eq(sessions[home + 2].client_port, sessions[home].client_port);
    ask_until_answered(guest);
    ck_assert_uint_ge(sessions[home + 2].got, 1);
    /* The one that it had as a guest is there until it is idle: its target's answers are heard. */
    ck_assert(!sessions[home + 1].is_closed);
    asking = guest;
    hub_says(home + 1, "late");
    UNTIL(is_late, home + 1);
    ck_assert_uint_eq(session_count, home + 3);
    close(guest);
    udp_down();
}
END_TEST

START_TEST(a_guest_that_comes_again_has_its_session_still)
{
    unsigned got;

    guest_up();
    guest_leaves(0);
    UNTIL(sessions_came, home + 2);
    lane_up(0);
    UNTIL(sessions_came, home + 3);
    ask_until_answered(guest);
    got = sessions[home + 1].got;
    guest_leaves(2);
    ck_assert_uint_gt(sessions[home + 1].got, got);
    ck_assert_uint_eq(session_count, home + 3);
    close(guest);
    udp_down();
}
END_TEST

static bool a_session_came_on(unsigned lane)
{
    return session_count > 0 && sessions[session_count - 1].end == &t.lanes[lane];
}

/* It may be at home again: nothing is opened for it before it comes. */
START_TEST(a_guests_lane_that_is_lost_is_not_followed_unasked)
{
    int newcomer;

    guest_up();
    guest_leaves(0);
    UNTIL(sessions_came, home + 2);
    lose_lane(1);
    UNTIL(lanes_are_dead, 2);
    lane_up(1); /* lanes[2]: the worker's own clients follow, its guest does not */
    UNTIL(sessions_came, home + 2 + home);
    newcomer = client();
    ask_until_answered(newcomer); /* so all that was to follow has followed */
    for (unsigned i = home + 2; i < session_count; i++)
        ck_assert_uint_ne(sessions[i].client_port, sessions[home].client_port);
    ask_until_answered(guest);
    ck_assert(a_session_came_on(2));
    ck_assert_uint_eq(sessions[session_count - 1].client_port, sessions[home].client_port);
    close(newcomer);
    close(guest);
    udp_down();
}
END_TEST

static bool were_shut_out(unsigned n)
{
    ck_assert_int_eq(send(guest, "again", 5, 0), 5);
    return t.workers[1].stats.udp.dropped[UDP_DROP_CLOSED] >= n;
}

/* The other worker keeps it shut; its own goes on handing over, and opens when it has a lane. */
START_TEST(a_guest_that_is_refused_is_served_when_it_is_back)
{
    guest_up();
    refuses = true;
    lose_lane(0);
    UNTIL(lanes_are_dead, 1);
    UNTIL(were_shut_out, 1);
    ck_assert_uint_eq(session_count, home + 1);
    refuses = false;
    lane_up(0);
    UNTIL(sessions_came, home + 2);
    ck_assert_ptr_eq(sessions[home + 1].end, &t.lanes[2]);
    ask_until_answered(guest);
    close(guest);
    udp_down();
}
END_TEST

static bool is_served_by_home(unsigned i)
{
    return sessions[i].end == &t.lanes[2] && !sessions[i].is_closed;
}

/* There is room for one session more, and two come back: the second waits for what it has as a
 * guest, which the hub closes when it has moved the first. */
START_TEST(at_the_limit_who_comes_back_costs_no_client)
{
    int fds[2];
    unsigned before, held;

    two_lanes_up();
    for (unsigned i = 0; i < 2; i++)
        fds[i] = client_of_the_first();
    before = session_count;
    lose_lane(0);
    UNTIL(lanes_are_dead, 1);
    for (unsigned i = 0; i < 2; i++)
        ask_until_answered(fds[i]);
    ck_assert_uint_eq(session_count, before + 2);
    for (held = 0; t.shared.budget.udp.sessions < LIMIT - 1; held++)
        ck_assert(budget_open_udp(&t.shared.budget));
    lane_up(0);
    UNTIL(sessions_came, before + 3);
    for (unsigned i = 0; i < 2; i++)
        ask_until_answered(fds[i]);
    ck_assert_uint_eq(session_count, before + 3);
    ck_assert(is_served_by_home(before + 2));
    for (unsigned i = 0; i < 2; i++)
        if (sessions[before + i].client_port == sessions[before + 2].client_port)
            udp_session_close(&sessions[before + i].session, UDP_END_ORDERLY);
    UNTIL(sessions_came, before + 4);
    ck_assert(is_served_by_home(before + 2));
    ck_assert(is_served_by_home(before + 3));
    for (unsigned i = 0; i < 2; i++) {
        ask_until_answered(fds[i]);
        close(fds[i]);
    }
    ck_assert_uint_eq(t.workers[0].stats.udp.evicted[UDP_EVICTED_LEAST_RECENT], 0);
    for (; held > 0; held--)
        budget_close_udp(&t.shared.budget);
    udp_down();
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, it_comes_back_when_its_worker_has_a_lane_again);
    tcase_add_test(tc, a_guest_that_comes_again_has_its_session_still);
    tcase_add_test(tc, a_guests_lane_that_is_lost_is_not_followed_unasked);
    tcase_add_test(tc, a_guest_that_is_refused_is_served_when_it_is_back);
    tcase_add_test(tc, at_the_limit_who_comes_back_costs_no_client);
    return suite_run("udp_guests", tc);
}
