/* Tests of loop/worker: names, blocked signals, hand-over at the end, and the count of cores. */
#include <check.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "buf/bufq.h"
#include "loop/worker.h"

#define WORKERS 3

static struct worker workers[WORKERS];
static struct loop *main_loop;

/* A question that a worker answers by posting it back. */
struct question {
    struct task task;
    struct worker *worker;
    char name[32];
    sigset_t blocked;
    pthread_t thread;
};

static unsigned answers;

static void on_answer(struct task *task)
{
    (void)task;
    if (++answers == WORKERS)
        loop_stop(main_loop);
}

static void on_question(struct task *task)
{
    struct question *q = container_of(task, struct question, task);

    pthread_getname_np(pthread_self(), q->name, sizeof(q->name));
    pthread_sigmask(SIG_BLOCK, NULL, &q->blocked);
    q->thread = pthread_self();
    task->run = on_answer;
    loop_post(main_loop, task);
}

/* What a thread's own fault raises: it must reach crash_log's handler. */
static bool is_fault(int signum)
{
    return signum == SIGSEGV || signum == SIGBUS || signum == SIGILL || signum == SIGFPE ||
           signum == SIGABRT || signum == SIGSYS || signum == SIGTRAP;
}

START_TEST(workers_have_names_threads_and_no_signals_but_their_faults)
{
    struct question questions[WORKERS];

    main_loop = loop_new("main", 0, 0);
    ck_assert_int_eq(workers_start(workers, WORKERS, "edge", 4, 0), 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        questions[i] = (struct question){.task.run = on_question, .worker = &workers[i]};
        ck_assert_uint_eq(workers[i].index, i);
        loop_post(workers[i].loop, &questions[i].task);
    }
    loop_run(main_loop);
    workers_stop(workers, WORKERS);
    workers_stop(workers, WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        char name[32];

        snprintf(name, sizeof(name), "edge-%u", i);
        ck_assert_str_eq(questions[i].name, name);
        ck_assert_str_eq(loop_name(workers[i].loop), name);
        for (int signum = 1; signum < 32; signum++)
            if (signum != SIGKILL && signum != SIGSTOP)
                ck_assert_int_eq(sigismember(&questions[i].blocked, signum), !is_fault(signum));
        ck_assert(!pthread_equal(questions[i].thread, pthread_self()));
    }
    workers_free(workers, WORKERS);
    workers_free(workers, WORKERS);
    loop_free(main_loop);
}
END_TEST

START_TEST(the_starter_keeps_its_signal_mask)
{
    sigset_t before, after;

    sigemptyset(&before);
    sigaddset(&before, SIGUSR2);
    ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    ck_assert_int_eq(workers_start(workers, 1, "w", 0, 0), 0);
    ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, NULL, &after), 0);
    ck_assert_int_eq(sigismember(&after, SIGUSR2), 1);
    ck_assert_int_eq(sigismember(&after, SIGTERM), 0);
    workers_stop(workers, 1);
    workers_free(workers, 1);
}
END_TEST

START_TEST(a_long_name_is_cut_for_the_thread_only)
{
    struct question question = {.task.run = on_question, .worker = &workers[0]};

    main_loop = loop_new("main", 0, 0);
    answers = WORKERS - 1;
    ck_assert_int_eq(workers_start(workers, 1, "a-name-of-many-letters", 0, 0), 0);
    loop_post(workers[0].loop, &question.task);
    loop_run(main_loop);
    workers_stop(workers, 1);
    ck_assert_str_eq(question.name, "a-name-of-many-");
    ck_assert_str_eq(loop_name(workers[0].loop), "a-name-of-many-letters-0");
    workers_free(workers, 1);
    loop_free(main_loop);
}
END_TEST

/* An object as a connection is one: bytes of the worker's pool, a deadline, freed by reaping. */
struct object {
    struct task task;
    struct loop *loop;
    struct deadline deadline;
    struct bufq bytes;
    struct reap reap;
    pthread_t freed_by;
};

static pthread_barrier_t is_made;

static void on_never(struct deadline *d)
{
    (void)d;
    ck_abort_msg("an hour has passed");
}

static void on_free(struct reap *reap)
{
    struct object *o = container_of(reap, struct object, reap);

    deadline_off(&o->deadline);
    bufq_fini(&o->bytes);
    o->freed_by = pthread_self();
}

static void on_make(struct task *task)
{
    struct object *o = container_of(task, struct object, task);

    deadline_init(&o->deadline, o->loop, on_never);
    deadline_set(&o->deadline, 3600000);
    bufq_init(&o->bytes, loop_pool(o->loop), 100);
    ck_assert_int_eq(bufq_push(&o->bytes, "abc", 3), 0);
    reap_init(&o->reap, on_free);
    pthread_barrier_wait(&is_made);
}

START_TEST(what_a_worker_left_is_freed_by_who_stopped_it)
{
    struct object left = {.task.run = on_make};

    pthread_barrier_init(&is_made, NULL, 2);
    ck_assert_int_eq(workers_start(workers, 1, "w", 2, 0), 0);
    left.loop = workers[0].loop;
    loop_post(workers[0].loop, &left.task);
    pthread_barrier_wait(&is_made);
    workers_stop(workers, 1);
    ck_assert_int_eq(bufq_push(&left.bytes, "def", 3), 0); /* it may still be used */
    deadline_set(&left.deadline, 7200000);
    loop_reap(workers[0].loop, &left.reap);
    workers_free(workers, 1);
    ck_assert(pthread_equal(left.freed_by, pthread_self()));
    pthread_barrier_destroy(&is_made);
}
END_TEST

static unsigned late_runs;

static void on_late(struct task *task)
{
    (void)task;
    late_runs++;
}

START_TEST(a_task_for_a_stopped_worker_runs_when_it_is_freed)
{
    struct task late = {.run = on_late};

    ck_assert_int_eq(workers_start(workers, 1, "w", 2, 0), 0);
    workers_stop(workers, 1);
    loop_post(workers[0].loop, &late);
    ck_assert_uint_eq(late_runs, 0);
    workers_free(workers, 1);
    ck_assert_uint_eq(late_runs, 1);
}
END_TEST

/* ------------------------------------------------------------------ how many cores */

static char folder[] = "/tmp/penstock-worker-XXXXXX";

static void write_file(const char *name, const char *text)
{
    char path[PATH_MAX];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static void remove_file(const char *name)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    ck_assert_int_eq(remove(path), 0);
}

static unsigned quota(void)
{
    char membership[PATH_MAX];

    snprintf(membership, sizeof(membership), "%s/cgroup", folder);
    return worker_quota_count(membership, folder);
}

START_TEST(a_quota_is_rounded_up_and_the_tightest_counts)
{
    static const struct {
        const char *group, *outer, *root;
        unsigned cores;
    } table[] = {
        {"max 100000\n", "max 100000\n", "max 100000\n", 0},
        {"200000 100000\n", "max 100000\n", "max 100000\n", 2},
        {"150000 100000\n", "max 100000\n", "max 100000\n", 2},
        {"10000 100000\n", "max 100000\n", "max 100000\n", 1},
        {"400000 100000\n", "300000 100000\n", "max 100000\n", 3},
        {"max 100000\n", "max 100000\n", "500000 100000\n", 5},
        {"rubbish\n", "100000 0\n", "-1 100000\n", 0},
        {"", "18446744073709551615 1\n", "0 100000\n", 0},
        {"100000\n", "max\n", "250000 50000", 5},
    };
    char path[PATH_MAX];

    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/outer", folder);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/outer/group", folder);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    write_file("cgroup", "1:cpu:/v1\n0::/outer/group\n");
    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        write_file("outer/group/cpu.max", table[i].group);
        write_file("outer/cpu.max", table[i].outer);
        write_file("cpu.max", table[i].root);
        ck_assert_msg(quota() == table[i].cores, "row %u: %u", i, quota());
    }
    write_file("cgroup", "0::/\n"); /* a namespace's root: the limit stands at the mount */
    write_file("cpu.max", "300000 100000\n");
    ck_assert_uint_eq(quota(), 3);
    write_file("cgroup", "0::/gone/away\n"); /* the group's own folder is not to be seen */
    ck_assert_uint_eq(quota(), 3);
    write_file("cgroup", "1:cpu:/v1\n");
    ck_assert_uint_eq(quota(), 0);
    ck_assert_uint_eq(worker_quota_count("/nonexistent/cgroup", folder), 0);
    remove_file("outer/group/cpu.max");
    remove_file("outer/cpu.max");
    remove_file("outer/group");
    remove_file("outer");
    remove_file("cpu.max");
    remove_file("cgroup");
    remove_file("");
}
END_TEST

START_TEST(the_default_honours_the_affinity)
{
    unsigned all = worker_default_count();
    cpu_set_t mine, one;

    ck_assert_uint_ge(all, 1);
    ck_assert_int_eq(sched_getaffinity(0, sizeof(mine), &mine), 0);
    ck_assert_uint_le(all, (unsigned)CPU_COUNT(&mine));
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &mine))
            CPU_SET(cpu, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
    ck_assert_uint_eq(worker_default_count(), 1);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(mine), &mine), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loop_worker");
    TCase *tc = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, workers_have_names_threads_and_no_signals_but_their_faults);
    tcase_add_test(tc, the_starter_keeps_its_signal_mask);
    tcase_add_test(tc, a_long_name_is_cut_for_the_thread_only);
    tcase_add_test(tc, what_a_worker_left_is_freed_by_who_stopped_it);
    tcase_add_test(tc, a_task_for_a_stopped_worker_runs_when_it_is_freed);
    tcase_add_test(tc, a_quota_is_rounded_up_and_the_tightest_counts);
    tcase_add_test(tc, the_default_honours_the_affinity);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
