/* Tests of loop/loop: the order of a turn, readiness, deadlines, the ready list, reaping, tasks
 * from other threads, signals.  Real time is only ever waited for by the loop itself. */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "buf/chunk.h"
#include "loop/loop.h"

static struct loop *loop;
static char trace[64]; /* what happened, a letter each */
static struct deadline stopper;

static void note(char letter)
{
    size_t len = strlen(trace);

    ck_assert_uint_lt(len, sizeof(trace) - 1);
    trace[len] = letter;
    trace[len + 1] = '\0';
}

static void on_stopper(struct deadline *d)
{
    loop_stop(d->loop);
}

static void setup(void)
{
    loop = loop_new("test", 2, 0);
    memset(trace, 0, sizeof(trace));
    deadline_init(&stopper, loop, on_stopper);
}

static void teardown(void)
{
    deadline_off(&stopper);
    loop_free(loop);
}

static void run_for(uint64_t ms)
{
    deadline_set(&stopper, ms);
    loop_run(loop);
}

/* ------------------------------------------------------------------ life of a loop */

START_TEST(a_loop_has_a_name_a_pool_and_a_clock)
{
    struct chunk *c = chunk_take(loop_pool(loop));

    ck_assert_ptr_nonnull(c);
    chunk_give(loop_pool(loop), c);
    ck_assert_str_eq(loop_name(loop), "test");
    ck_assert_uint_le(loop_now_ms(loop), clock_now_us() / 1000);
    ck_assert_uint_gt(loop_now_ms(loop) + 60000, clock_now_us() / 1000);
    loop_free(NULL);
}
END_TEST

START_TEST(a_stop_before_the_run_ends_it_at_once)
{
    loop_stop(loop);
    loop_run(loop);
    run_for(1); /* and does not stick */
    ck_assert_uint_eq(stopper.due_ms, 0);
}
END_TEST

static void *stop_from_outside(void *arg)
{
    (void)arg;
    loop_stop(loop);
    return NULL;
}

START_TEST(another_thread_may_stop_it)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, stop_from_outside, NULL), 0);
    loop_run(loop); /* nothing else would end this */
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

START_TEST(a_loop_without_work_sleeps)
{
    struct timespec before, after;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    run_for(300);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
    ck_assert_int_lt(
        (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000, 100);
}
END_TEST

/* ------------------------------------------------------------------ ready list and reaping */

struct thing {
    struct ready ready;
    struct reap reap;
    struct task task;
    struct loop_io io;
    struct thing *other;
    char letter;
    unsigned runs, again;
};

static void on_ready(struct ready *r)
{
    struct thing *t = container_of(r, struct thing, ready);

    note(t->letter);
    t->runs++;
    if (t->again > 0) {
        t->again--;
        loop_again(loop, r);
    } else if (!t->other)
        loop_stop(loop);
    else
        ready_cancel(&t->other->ready);
}

static void on_reap(struct reap *r)
{
    struct thing *t = container_of(r, struct thing, reap);

    note(t->letter);
    if (t->other)
        loop_reap(loop, &t->other->reap);
}

static void on_task(struct task *task)
{
    struct thing *t = container_of(task, struct thing, task);

    note(t->letter);
}

static void thing_init(struct thing *t, char letter)
{
    *t = (struct thing){.letter = letter, .task.run = on_task};
    ready_init(&t->ready, on_ready);
    reap_init(&t->reap, on_reap);
}

START_TEST(ready_runs_once_however_often_it_was_asked_for)
{
    struct thing t;

    thing_init(&t, 'a');
    for (int i = 0; i < 3; i++)
        loop_again(loop, &t.ready);
    loop_run(loop);
    ck_assert_uint_eq(t.runs, 1);
}
END_TEST

START_TEST(ready_runs_in_the_order_of_asking)
{
    struct thing a, b, c;

    thing_init(&a, 'a');
    thing_init(&b, 'b');
    thing_init(&c, 'c');
    a.again = b.again = 1;
    loop_again(loop, &a.ready);
    loop_again(loop, &b.ready);
    loop_again(loop, &c.ready);
    loop_run(loop); /* c stops the loop; the next turn is still begun and ended in order */
    ck_assert_str_eq(trace, "abcab");
}
END_TEST

START_TEST(asking_again_runs_in_the_next_turn_without_sleep)
{
    struct thing t;
    uint64_t begin = clock_now_us();

    thing_init(&t, 'a');
    t.again = 40;
    loop_again(loop, &t.ready);
    loop_run(loop); /* nothing but the ready list keeps this loop awake */
    ck_assert_uint_eq(t.runs, 41);
    ck_assert_uint_lt(clock_now_us() - begin, 2000000);
}
END_TEST

static void on_readable_once(struct loop_io *io, unsigned events)
{
    struct thing *t = container_of(io, struct thing, io);

    ck_assert_uint_eq(events, LOOP_READ);
    note('e');
    loop_io_arm(io, 0);
    t->other->again = 0;
}

START_TEST(events_come_between_two_passes_of_the_ready_list)
{
    struct thing busy, source;
    int fds[2];

    ck_assert_int_eq(pipe2(fds, O_NONBLOCK), 0);
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    thing_init(&busy, 'r');
    thing_init(&source, 's');
    source.other = &busy;
    busy.again = 30; /* would run on and on; the event ends it */
    loop_io_init(&source.io, loop, fds[0], on_readable_once);
    loop_io_arm(&source.io, LOOP_READ);
    loop_again(loop, &busy.ready);
    loop_run(loop);
    ck_assert_str_eq(trace, "rer");
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(cancel_reaches_into_the_running_pass)
{
    struct thing a, b, c;

    thing_init(&a, 'a');
    thing_init(&b, 'b');
    thing_init(&c, 'c');
    a.other = &b; /* a cancels b */
    loop_again(loop, &a.ready);
    loop_again(loop, &b.ready);
    loop_again(loop, &c.ready);
    loop_run(loop);
    ck_assert_str_eq(trace, "ac");
    ready_cancel(&b.ready);
    ready_cancel(&(struct ready){0});
}
END_TEST

static struct thing reaped_late;

static void on_ready_reaps(struct ready *r)
{
    (void)r;
    note('r');
    loop_reap(loop, &reaped_late.reap);
    note('s');
    loop_stop(loop);
}

START_TEST(a_turn_is_events_then_ready_then_reap)
{
    struct thing task_thing, reaped;
    struct ready ready;

    thing_init(&task_thing, 't');
    thing_init(&reaped, 'F');
    thing_init(&reaped_late, 'G');
    ready_init(&ready, on_ready_reaps);
    loop_post(loop, &task_thing.task);
    loop_reap(loop, &reaped.reap); /* asked for first, and still last */
    loop_again(loop, &ready);
    loop_run(loop);
    ck_assert_str_eq(trace, "rsFGt"); /* the first turn has no events yet */
}
END_TEST

START_TEST(reaping_may_reap_others)
{
    struct thing a, b, c;

    thing_init(&a, 'a');
    thing_init(&b, 'b');
    thing_init(&c, 'c');
    a.other = &b;
    b.other = &c;
    loop_reap(loop, &a.reap);
    run_for(1);
    ck_assert_str_eq(trace, "abc");
}
END_TEST

static void on_post_and_reap(struct task *task)
{
    struct thing *t = container_of(task, struct thing, task);

    note(t->letter);
    loop_reap(loop, &t->other->reap);
    loop_post(loop, &t->other->task);
}

START_TEST(free_runs_what_is_posted_and_reaped)
{
    struct thing a, b, never;

    thing_init(&a, 'a');
    thing_init(&b, 'b');
    thing_init(&never, 'n');
    a.task.run = on_post_and_reap;
    a.other = &b;
    loop_post(loop, &a.task);
    loop_again(loop, &never.ready);
    loop_free(loop);
    ck_assert_str_eq(trace, "abb");
    ck_assert(list_is_empty(&never.ready.node)); /* forgotten, and free to be cancelled */
    setup();
}
END_TEST

START_TEST(reaping_twice_ends_the_program)
{
    struct thing t;

    thing_init(&t, 'a');
    loop_reap(loop, &t.reap);
    loop_reap(loop, &t.reap);
}
END_TEST

static void *run_loop(void *arg)
{
    (void)arg;
    loop_run(loop);
    return NULL;
}

static void on_owned(struct ready *r)
{
    (void)r;
}

static pthread_barrier_t is_up;

static void on_up(struct task *task)
{
    (void)task;
    pthread_barrier_wait(&is_up);
}

START_TEST(touching_a_running_loop_from_outside_ends_the_program)
{
    struct task task = {.run = on_up};
    struct ready ready;
    pthread_t thread;

    pthread_barrier_init(&is_up, NULL, 2);
    ready_init(&ready, on_owned);
    if (pthread_create(&thread, NULL, run_loop, NULL) != 0)
        return;
    loop_post(loop, &task);
    pthread_barrier_wait(&is_up);
    loop_again(loop, &ready);
}
END_TEST

/* ------------------------------------------------------------------ tasks */

#define SENDERS    4
#define TASKS_EACH 3000

struct letter {
    struct task task;
    unsigned sender, number;
};

static unsigned next_of[SENDERS], received;
static pthread_t receiver;

static void on_letter(struct task *task)
{
    struct letter *l = container_of(task, struct letter, task);

    ck_assert(pthread_equal(pthread_self(), receiver));
    ck_assert_uint_eq(l->number, next_of[l->sender]); /* in the order of posting */
    next_of[l->sender]++;
    free(l);
    if (++received == SENDERS * TASKS_EACH)
        loop_stop(loop);
}

static void *send_letters(void *arg)
{
    for (unsigned i = 0; i < TASKS_EACH; i++) {
        struct letter *l = malloc(sizeof(*l));

        *l = (struct letter){{NULL, on_letter}, *(unsigned *)arg, i};
        loop_post(loop, &l->task);
    }
    return NULL;
}

START_TEST(tasks_of_many_threads_arrive_all_and_in_order)
{
    pthread_t threads[SENDERS];
    unsigned numbers[SENDERS];

    receiver = pthread_self();
    for (unsigned i = 0; i < SENDERS; i++) {
        numbers[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, send_letters, &numbers[i]), 0);
    }
    loop_run(loop);
    for (unsigned i = 0; i < SENDERS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(received, SENDERS * TASKS_EACH);
}
END_TEST

/* Two loops throw one task to each other: every throw must wake a loop that sleeps. */
#define THROWS 2000

static struct loop *far_loop;
static unsigned throws;

static void on_ball_far(struct task *task);

static void on_ball_here(struct task *task)
{
    if (++throws == THROWS) {
        loop_stop(far_loop);
        loop_stop(loop);
        return;
    }
    task->run = on_ball_far;
    loop_post(far_loop, task);
}

static void on_ball_far(struct task *task)
{
    task->run = on_ball_here;
    loop_post(loop, task);
}

static void *run_far_loop(void *arg)
{
    (void)arg;
    loop_run(far_loop);
    return NULL;
}

START_TEST(a_task_thrown_between_two_loops_is_never_lost)
{
    struct task ball = {.run = on_ball_here};
    pthread_t thread;

    far_loop = loop_new("far", 0, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, run_far_loop, NULL), 0);
    loop_post(loop, &ball);
    loop_run(loop);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(throws, THROWS);
    loop_free(far_loop);
}
END_TEST

START_TEST(what_was_posted_before_the_stop_runs)
{
    struct thing a, b;

    thing_init(&a, 'a');
    thing_init(&b, 'b');
    deadline_set(&stopper, 5000);
    loop_post(loop, &a.task);
    loop_post(loop, &b.task);
    deadline_set(&stopper, 1);
    loop_run(loop);
    ck_assert_str_eq(trace, "ab");
}
END_TEST

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

static void add_life(Suite *suite)
{
    TCase *tc = tcase_create("life");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, a_loop_has_a_name_a_pool_and_a_clock);
    tcase_add_test(tc, a_stop_before_the_run_ends_it_at_once);
    tcase_add_test(tc, another_thread_may_stop_it);
    tcase_add_test(tc, a_loop_without_work_sleeps);
    tcase_add_test(tc, a_signal_arrives_in_the_loop);
    suite_add_tcase(suite, tc);
}

static void add_turn(Suite *suite, bool has_fork)
{
    TCase *tc = tcase_create("turn");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, ready_runs_once_however_often_it_was_asked_for);
    tcase_add_test(tc, ready_runs_in_the_order_of_asking);
    tcase_add_test(tc, asking_again_runs_in_the_next_turn_without_sleep);
    tcase_add_test(tc, events_come_between_two_passes_of_the_ready_list);
    tcase_add_test(tc, cancel_reaches_into_the_running_pass);
    tcase_add_test(tc, a_turn_is_events_then_ready_then_reap);
    tcase_add_test(tc, reaping_may_reap_others);
    tcase_add_test(tc, free_runs_what_is_posted_and_reaped);
    if (has_fork) {
        tcase_add_test_raise_signal(tc, reaping_twice_ends_the_program, SIGABRT);
        tcase_add_test_raise_signal(tc, touching_a_running_loop_from_outside_ends_the_program,
                                    SIGABRT);
    }
    suite_add_tcase(suite, tc);
}

static void add_tasks(Suite *suite)
{
    TCase *tc = tcase_create("tasks");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, tasks_of_many_threads_arrive_all_and_in_order);
    tcase_add_test(tc, a_task_thrown_between_two_loops_is_never_lost);
    tcase_add_test(tc, what_was_posted_before_the_stop_runs);
    suite_add_tcase(suite, tc);
}

static void add_deadlines(Suite *suite)
{
    TCase *tc = tcase_create("deadlines");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
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

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, a_descriptor_tells_what_it_waits_for_and_no_more);
    tcase_add_test(tc, stopping_takes_back_an_event_of_the_same_turn);
    tcase_add_test(tc, a_descriptor_number_used_anew_is_watched_anew);
    tcase_add_test(tc, a_peer_that_is_gone_wakes_the_reader);
    suite_add_tcase(suite, tc);
}

int main(void)
{
    Suite *suite = suite_create("loop_loop");
    SRunner *runner = srunner_create(suite);
    int failed;

    add_life(suite);
    add_turn(suite, srunner_fork_status(runner) == CK_FORK);
    add_tasks(suite);
    add_deadlines(suite);
    add_descriptors(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
