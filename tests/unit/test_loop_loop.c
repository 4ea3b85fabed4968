/* Tests of loop/loop: its life, the order of a turn, the ready list, reaping, tasks from other
 * threads.  (What it waits for: test_loop_waits.c) */
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
#include "loop_fixture.h"

static char trace[64]; /* what happened, a letter each */

static void note(char letter)
{
    size_t len = strlen(trace);

    ck_assert_uint_lt(len, sizeof(trace) - 1);
    trace[len] = letter;
    trace[len + 1] = '\0';
}

static void setup(void)
{
    loop_setup();
    memset(trace, 0, sizeof(trace));
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

static void add_life(Suite *suite)
{
    TCase *tc = tcase_create("life");

    tcase_add_checked_fixture(tc, setup, loop_teardown);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, a_loop_has_a_name_a_pool_and_a_clock);
    tcase_add_test(tc, a_stop_before_the_run_ends_it_at_once);
    tcase_add_test(tc, another_thread_may_stop_it);
    tcase_add_test(tc, a_loop_without_work_sleeps);
    suite_add_tcase(suite, tc);
}

static void add_turn(Suite *suite, bool has_fork)
{
    TCase *tc = tcase_create("turn");

    tcase_add_checked_fixture(tc, setup, loop_teardown);
    tcase_set_timeout(tc, 120);
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

    tcase_add_checked_fixture(tc, setup, loop_teardown);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, tasks_of_many_threads_arrive_all_and_in_order);
    tcase_add_test(tc, a_task_thrown_between_two_loops_is_never_lost);
    tcase_add_test(tc, what_was_posted_before_the_stop_runs);
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
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
