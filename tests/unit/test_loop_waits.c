/* Tests of loop/loop: what it waits for: deadlines, descriptors, signals.  Real time is only ever
 * waited for by the loop itself. */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/loop.h"
#include "loop_fixture.h"

/* ------------------------------------------------------------------ deadlines and the clock */

struct alarm {
    struct deadline deadline;
    uint64_t rang_us, set_again_ms;
    unsigned times;
};

static void on_alarm(struct deadline *d)
{
    struct alarm *a = container_of(d, struct alarm, deadline);

    ck_assert_uint_eq(d->due_ms, 0);
    a->rang_us = clock_now_us();
    a->times++;
    if (a->set_again_ms) {
        deadline_set(d, a->set_again_ms);
        a->set_again_ms = 0;
    } else
        loop_stop(d->loop);
}

START_TEST(a_deadline_is_due_once_and_not_early)
{
    struct alarm a = {0};
    uint64_t begin = clock_now_us();

    deadline_init(&a.deadline, loop, on_alarm);
    deadline_set(&a.deadline, 30);
    loop_run(loop);
    ck_assert_uint_eq(a.times, 1);
    ck_assert_uint_ge(a.rang_us - begin, 29000); /* set within a millisecond of the loop's clock */
    run_for(50);
    ck_assert_uint_eq(a.times, 1);
}
END_TEST

START_TEST(pushing_it_back_leaves_the_timer_where_it_is)
{
    struct alarm a = {0};
    uint64_t timer_ms, begin = clock_now_us();

    deadline_init(&a.deadline, loop, on_alarm);
    deadline_set(&a.deadline, 20);
    timer_ms = a.deadline.timer_ms;
    for (int i = 0; i < 10; i++)
        deadline_set(&a.deadline, 60);
    ck_assert_uint_eq(a.deadline.timer_ms, timer_ms);
    ck_assert(ev_is_active(&a.deadline.ev));
    loop_run(loop);
    ck_assert_uint_eq(a.times, 1);
    ck_assert_uint_ge(a.rang_us - begin, 59000);
}
END_TEST

START_TEST(pulling_it_forward_is_obeyed)
{
    struct alarm a = {0};
    uint64_t begin = clock_now_us();

    deadline_init(&a.deadline, loop, on_alarm);
    deadline_set(&a.deadline, 3600000);
    deadline_set(&a.deadline, 10);
    loop_run(loop);
    ck_assert_uint_eq(a.times, 1);
    ck_assert_uint_lt(a.rang_us - begin, 5000000);
}
END_TEST

START_TEST(off_is_off)
{
    struct alarm a = {0};

    deadline_init(&a.deadline, loop, on_alarm);
    deadline_set(&a.deadline, 1);
    deadline_off(&a.deadline);
    deadline_off(&a.deadline);
    run_for(20);
    deadline_set(&a.deadline, 1);
    deadline_set(&a.deadline, 0);
    run_for(20);
    ck_assert_uint_eq(a.times, 0);
    ck_assert(!ev_is_active(&a.deadline.ev));
    deadline_off(&(struct deadline){0});
}
END_TEST

START_TEST(it_may_be_set_again_when_due)
{
    struct alarm a = {.set_again_ms = 5};

    deadline_init(&a.deadline, loop, on_alarm);
    deadline_set(&a.deadline, 5);
    loop_run(loop);
    ck_assert_uint_eq(a.times, 2);
}
END_TEST

START_TEST(a_deadline_beyond_all_time_is_capped)
{
    struct alarm a = {0};

    deadline_init(&a.deadline, loop, on_alarm);
    deadline_set(&a.deadline, UINT64_MAX);
    ck_assert_uint_gt(a.deadline.due_ms, loop_now_ms(loop));
    ck_assert_uint_le(a.deadline.due_ms, loop_now_ms(loop) + DEADLINE_MAX_MS);
    run_for(5);
    ck_assert_uint_eq(a.times, 0);
    deadline_off(&a.deadline);
}
END_TEST

static void on_ready_spends_time(struct ready *r)
{
    uint64_t turn = loop_now_ms(loop), begin = clock_now_us();

    (void)r;
    while (clock_now_us() - begin < 5000)
        continue;
    ck_assert_uint_eq(loop_now_ms(loop), turn); /* one turn, one time */
    deadline_set(&stopper, 1);
}

START_TEST(the_clock_stands_during_a_turn_and_goes_on_between_turns)
{
    uint64_t before = loop_now_ms(loop);
    struct ready ready;

    ready_init(&ready, on_ready_spends_time);
    loop_again(loop, &ready);
    deadline_set(&stopper, 5000);
    loop_run(loop);
    ck_assert_uint_ge(loop_now_ms(loop), before + 5);
    ck_assert_uint_le(loop_now_ms(loop), clock_now_us() / 1000);
}
END_TEST

START_TEST(a_deadline_set_long_after_the_last_turn_counts_from_now)
{
    uint64_t begin = clock_now_us();

    while (clock_now_us() - begin < 30000)
        continue;
    begin = clock_now_us();
    run_for(20);
    ck_assert_uint_ge(clock_now_us() - begin, 19000);
}
END_TEST

/* ------------------------------------------------------------------ descriptors */

struct end {
    struct loop_io io;
    struct end *peer;
    unsigned calls, events;
};

static void on_end(struct loop_io *io, unsigned events)
{
    struct end *e = container_of(io, struct end, io);

    e->calls++;
    e->events |= events;
    if (e->peer)
        loop_io_arm(&e->peer->io, 0);
    loop_io_arm(io, 0);
    loop_stop(loop);
}

static int socketpair_nonblock(int fds[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds);
}

START_TEST(a_descriptor_tells_what_it_waits_for_and_no_more)
{
    struct end e = {0};
    int fds[2];

    ck_assert_int_eq(socketpair_nonblock(fds), 0);
    loop_io_init(&e.io, loop, fds[0], on_end);
    loop_io_arm(&e.io, LOOP_READ);
    run_for(20); /* nothing to read */
    ck_assert_uint_eq(e.calls, 0);
    loop_io_arm(&e.io, LOOP_READ | LOOP_WRITE);
    loop_run(loop);
    ck_assert_uint_eq(e.events, LOOP_WRITE);
    e.events = 0;
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    loop_io_arm(&e.io, LOOP_READ);
    loop_run(loop);
    ck_assert_uint_eq(e.events, LOOP_READ);
    ck_assert_uint_eq(e.calls, 2);
    loop_io_arm(&e.io, 0);
    run_for(20);
    ck_assert_uint_eq(e.calls, 2);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(stopping_takes_back_an_event_of_the_same_turn)
{
    struct end a = {0}, b = {0};
    int fds[2];

    ck_assert_int_eq(socketpair_nonblock(fds), 0);
    ck_assert_int_eq(write(fds[0], "x", 1), 1);
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    a.peer = &b;
    b.peer = &a;
    loop_io_init(&a.io, loop, fds[0], on_end);
    loop_io_init(&b.io, loop, fds[1], on_end);
    loop_io_arm(&a.io, LOOP_READ);
    loop_io_arm(&b.io, LOOP_READ);
    loop_run(loop);
    ck_assert_uint_eq(a.calls + b.calls, 1);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(a_descriptor_number_used_anew_is_watched_anew)
{
    struct end old = {0}, fresh = {0};
    int first[2], second[2];

    ck_assert_int_eq(socketpair_nonblock(first), 0);
    loop_io_init(&old.io, loop, first[0], on_end);
    loop_io_arm(&old.io, LOOP_READ);
    run_for(1); /* the kernel knows of it now */
    loop_io_arm(&old.io, 0);
    close(first[0]);
    ck_assert_int_eq(socketpair_nonblock(second), 0);
    ck_assert_int_eq(second[0], first[0]);
    loop_io_init(&fresh.io, loop, second[0], on_end);
    loop_io_arm(&fresh.io, LOOP_READ);
    ck_assert_int_eq(write(second[1], "x", 1), 1);
    deadline_set(&stopper, 5000);
    loop_run(loop);
    ck_assert_uint_eq(fresh.calls, 1);
    ck_assert_uint_eq(old.calls, 0);
    close(second[0]);
    close(second[1]);
    close(first[1]);
}
END_TEST

START_TEST(a_peer_that_is_gone_wakes_the_reader)
{
    struct end e = {0};
    int fds[2];

    ck_assert_int_eq(socketpair_nonblock(fds), 0);
    loop_io_init(&e.io, loop, fds[0], on_end);
    loop_io_arm(&e.io, LOOP_READ);
    close(fds[1]);
    loop_run(loop);
    ck_assert_uint_eq(e.events, LOOP_READ);
    loop_io_arm(&(struct loop_io){0}, 0); /* fine on a zeroed one */
    close(fds[0]);
}
END_TEST

/* Two that have something to read, and somebody who looks at them at the end of each turn. */
struct listeners {
    struct end a, b;
    struct ready look;
    unsigned turns;
};

static void on_end_heard(struct loop_io *io, unsigned events)
{
    struct end *e = container_of(io, struct end, io);
    char byte;

    ck_assert_uint_eq(events, LOOP_READ);
    ck_assert_int_eq(read(io->ev.fd, &byte, 1), 1);
    ck_assert(!loop_io_was_quiet(&e->io));
    ck_assert(!loop_io_was_quiet(&e->peer->io)); /* its event waits, or was this turn's, too */
    e->calls++;
}

static void on_writable(struct loop_io *io, unsigned events)
{
    (void)io;
    (void)events;
}

static void on_look(struct ready *r)
{
    struct listeners *l = container_of(r, struct listeners, look);

    switch (l->turns++) {
    case 0: /* nobody has looked since they were armed */
    case 1: /* both were told */
        ck_assert(!loop_io_was_quiet(&l->a.io));
        ck_assert(!loop_io_was_quiet(&l->b.io));
        break;
    case 2:
        ck_assert(loop_io_was_quiet(&l->a.io));
        ck_assert(loop_io_was_quiet(&l->b.io));
        l->a.io.on_event = on_writable;
        loop_io_arm(&l->a.io, LOOP_WRITE);
        break;
    case 3: /* it was not asked whether there is something to read */
        ck_assert(!loop_io_was_quiet(&l->a.io));
        ck_assert(loop_io_was_quiet(&l->b.io));
        loop_io_arm(&l->b.io, 0);
        ck_assert(!loop_io_was_quiet(&l->b.io));
        loop_stop(loop);
        return;
    default:
        ck_abort_msg("turn %u", l->turns);
    }
    loop_again(loop, r);
}

START_TEST(what_the_poll_did_not_tell_was_quiet)
{
    struct listeners l = {0};
    int fds[2];

    ck_assert_int_eq(socketpair_nonblock(fds), 0);
    ck_assert_int_eq(write(fds[0], "x", 1), 1);
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    l.a.peer = &l.b;
    l.b.peer = &l.a;
    loop_io_init(&l.a.io, loop, fds[0], on_end_heard);
    loop_io_init(&l.b.io, loop, fds[1], on_end_heard);
    loop_io_arm(&l.a.io, LOOP_READ);
    loop_io_arm(&l.b.io, LOOP_READ);
    ready_init(&l.look, on_look);
    loop_again(loop, &l.look);
    loop_run(loop);
    ck_assert_uint_eq(l.a.calls, 1);
    ck_assert_uint_eq(l.b.calls, 1);
    loop_io_arm(&l.a.io, 0);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

/* ------------------------------------------------------------------ signals */

static int seen_signal;

static void on_signal(struct loop_signal *s, int signum)
{
    seen_signal = signum;
    loop_signal_stop(s);
    loop_stop(loop);
}

START_TEST(a_signal_arrives_in_the_loop)
{
    struct loop_signal s = {0};

    loop_signal_stop(&s);
    loop_signal_start(&s, loop, SIGUSR1, on_signal);
    ck_assert_int_eq(raise(SIGUSR1), 0);
    ck_assert_int_eq(seen_signal, 0); /* not in the handler */
    loop_run(loop);
    ck_assert_int_eq(seen_signal, SIGUSR1);
    loop_signal_stop(&s);
}
END_TEST

static void add_deadlines(Suite *suite)
{
    TCase *tc = tcase_create("deadlines");

    tcase_add_checked_fixture(tc, loop_setup, loop_teardown);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, a_deadline_is_due_once_and_not_early);
    tcase_add_test(tc, pushing_it_back_leaves_the_timer_where_it_is);
    tcase_add_test(tc, pulling_it_forward_is_obeyed);
    tcase_add_test(tc, off_is_off);
    tcase_add_test(tc, it_may_be_set_again_when_due);
    tcase_add_test(tc, a_deadline_beyond_all_time_is_capped);
    tcase_add_test(tc, the_clock_stands_during_a_turn_and_goes_on_between_turns);
    tcase_add_test(tc, a_deadline_set_long_after_the_last_turn_counts_from_now);
    suite_add_tcase(suite, tc);
}

static void add_descriptors(Suite *suite)
{
    TCase *tc = tcase_create("descriptors");

    tcase_add_checked_fixture(tc, loop_setup, loop_teardown);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, a_descriptor_tells_what_it_waits_for_and_no_more);
    tcase_add_test(tc, stopping_takes_back_an_event_of_the_same_turn);
    tcase_add_test(tc, a_descriptor_number_used_anew_is_watched_anew);
    tcase_add_test(tc, a_peer_that_is_gone_wakes_the_reader);
    tcase_add_test(tc, what_the_poll_did_not_tell_was_quiet);
    suite_add_tcase(suite, tc);
}

static void add_signals(Suite *suite)
{
    TCase *tc = tcase_create("signals");

    tcase_add_checked_fixture(tc, loop_setup, loop_teardown);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, a_signal_arrives_in_the_loop);
    suite_add_tcase(suite, tc);
}

int main(void)
{
    Suite *suite = suite_create("loop_waits");
    SRunner *runner = srunner_create(suite);
    int failed;

    add_deadlines(suite);
    add_descriptors(suite);
    add_signals(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
