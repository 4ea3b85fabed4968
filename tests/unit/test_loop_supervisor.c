/* The supervisor: the rule, and real processes that die in every way. */
#include <check.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/must.h"
#include "loop/loop.h"
#include "loop/supervisor.h"

static const struct supervisor_options quick = {
    .service = "test", .restarts_max = 3, .delay_min_ms = 1, .delay_max_ms = 4};

/* --- the rule */

START_TEST(the_delay_doubles_up_to_a_cap)
{
    static const uint64_t expect[] = {1000,  2000,  4000,  8000,  16000,
                                      30000, 30000, 30000, 30000, 30000};
    struct supervisor_options options = {.restarts_max = 10};
    struct crash crash = {0};
    uint64_t delay_ms;

    for (unsigned i = 0; i < ARRAY_LEN(expect); i++) {
        crash_row_ran(&crash, &options, 59999);
        ck_assert(crash_row_add(&crash, &options, &delay_ms));
        ck_assert_uint_eq(delay_ms, expect[i]);
        ck_assert_uint_eq(crash.row, i + 1);
    }
    crash_row_ran(&crash, &options, 59999);
    ck_assert(!crash_row_add(&crash, &options, &delay_ms));
}
END_TEST

START_TEST(a_calm_minute_ends_the_row)
{
    struct supervisor_options options = {.restarts_max = 2};
    struct crash crash = {0};
    uint64_t delay_ms;

    ck_assert(crash_row_add(&crash, &options, &delay_ms));
    crash_row_ran(&crash, &options, 10);
    ck_assert(crash_row_add(&crash, &options, &delay_ms));
    crash_row_ran(&crash, &options, 60000);
    ck_assert(crash_row_add(&crash, &options, &delay_ms));
    ck_assert_uint_eq(crash.row, 1);
    ck_assert_uint_eq(delay_ms, 1000);
    options.restarts_max = 0;
    crash_row_ran(&crash, &options, 60000);
    ck_assert(!crash_row_add(&crash, &options, &delay_ms));
}
END_TEST

/* --- real processes */

/* What a service process writes, so that the test sees each of them. */
struct report {
    pid_t pid;
    struct crash crash;
};

static int reports[2];

/* The supervisor as a child of the test; `serve` is the service, what it returns its status. */
static pid_t start(const struct supervisor_options *options,
                   int (*serve)(const struct crash *crash))
{
    pid_t pid;

    ck_assert_int_eq(pipe(reports), 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct report report = {0};
        int status;

        close(reports[0]);
        log_set_level(LOG_ERR + 1);
        if (!supervisor_run(options, &report.crash, &status))
            _exit(status);
        report.pid = getpid();
        if (write(reports[1], &report, sizeof(report)) != sizeof(report))
            _exit(99);
        _exit(serve(&report.crash));
    }
    close(reports[1]);
    return pid;
}

/* The next service process; false: there are no more. */
static bool next(struct report *report)
{
    return read(reports[0], report, sizeof(*report)) == sizeof(*report);
}

static int end_of(pid_t pid)
{
    int how;

    ck_assert_int_eq(waitpid(pid, &how, 0), pid);
    close(reports[0]);
    ck_assert(WIFEXITED(how));
    return WEXITSTATUS(how);
}

static int wait_for_signal(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP); /* held by supervisor_run() */
    return sigwaitinfo(&set, NULL);
}

static int die_twice(const struct crash *crash)
{
    if (crash->row < 2)
        raise(crash->row ? SIGKILL : SIGILL);
    return 0;
}

START_TEST(a_crash_is_recovered_and_told)
{
    pid_t pid = start(&quick, die_twice);
    struct report r;

    ck_assert(next(&r));
    ck_assert_uint_eq(r.crash.row, 0);
    ck_assert(next(&r));
    ck_assert_uint_eq(r.crash.row, 1);
    ck_assert_int_eq(r.crash.signal, SIGILL);
    ck_assert(next(&r));
    ck_assert_uint_eq(r.crash.row, 2);
    ck_assert_int_eq(r.crash.signal, SIGKILL);
    ck_assert_uint_eq(r.crash.recovered, 2);
    ck_assert(!next(&r));
    ck_assert_int_eq(end_of(pid), 0);
}
END_TEST

static int die_always(const struct crash *crash)
{
    (void)crash;
    raise(SIGSEGV);
    return 0;
}

START_TEST(it_gives_up)
{
    pid_t pid;
    struct report r;
    unsigned starts = 0;

    signal(SIGSEGV, SIG_DFL); /* not a sanitizer's */
    pid = start(&quick, die_always);
    while (next(&r))
        starts++;
    ck_assert_uint_eq(starts, 4);
    ck_assert_int_eq(end_of(pid), SUPERVISOR_GAVE_UP);
}
END_TEST

static int refuse_to_start(const struct crash *crash)
{
    (void)crash;
    return 2;
}

START_TEST(a_status_is_passed_on)
{
    pid_t pid = start(&quick, refuse_to_start);
    struct report r;

    ck_assert(next(&r));
    ck_assert(!next(&r));
    ck_assert_int_eq(end_of(pid), 2);
}
END_TEST

static int crash_then_fail_once(const struct crash *crash)
{
    if (crash->row == 0)
        raise(SIGKILL);
    return crash->row == 1 ? 3 : 0;
}

START_TEST(a_start_that_fails_in_a_row_is_tried_again)
{
    pid_t pid = start(&quick, crash_then_fail_once);
    struct report r;

    ck_assert(next(&r) && next(&r) && next(&r));
    ck_assert_int_eq(r.crash.signal, 0);
    ck_assert_int_eq(r.crash.status, 3);
    ck_assert_uint_eq(r.crash.row, 2);
    ck_assert_int_eq(end_of(pid), 0);
}
END_TEST

#define CALM_MS 20

static int crash_then_fail_after_a_calm_run(const struct crash *crash)
{
    uint64_t since_us = clock_now_us();

    if (crash->row == 0)
        raise(SIGKILL);
    while (clock_now_us() - since_us < 1000 * CALM_MS)
        sched_yield();
    return 3;
}

/* Its row is over: its status is its own word again. */
START_TEST(a_status_after_a_calm_run_is_passed_on)
{
    struct supervisor_options options = quick;
    struct report r;
    pid_t pid;

    options.calm_after_ms = CALM_MS;
    pid = start(&options, crash_then_fail_after_a_calm_run);
    ck_assert(next(&r) && next(&r));
    ck_assert(!next(&r));
    ck_assert_int_eq(end_of(pid), 3);
}
END_TEST

START_TEST(ends_of_children_that_were_ignored)
{
    struct report r;
    pid_t pid;

    ck_assert(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    pid = start(&quick, refuse_to_start);
    ck_assert(signal(SIGCHLD, SIG_DFL) != SIG_ERR);
    ck_assert(next(&r));
    ck_assert_int_eq(end_of(pid), 2);
}
END_TEST

static int tell_signals(const struct crash *crash)
{
    int signum;

    (void)crash;
    do {
        struct report told = {.pid = wait_for_signal()};

        signum = told.pid;
        if (write(reports[1], &told, sizeof(told)) != sizeof(told))
            return 99;
    } while (signum == SIGHUP);
    return 40 + signum;
}

START_TEST(orders_are_passed_on)
{
    static const int orders[] = {SIGTERM, SIGINT};
    pid_t pid = start(&quick, tell_signals);
    struct report r;

    ck_assert(next(&r));
    ck_assert_int_eq(kill(pid, SIGHUP), 0);
    ck_assert(next(&r));
    ck_assert_int_eq(r.pid, SIGHUP);
    ck_assert_int_eq(kill(pid, orders[_i]), 0);
    ck_assert(next(&r));
    ck_assert_int_eq(r.pid, orders[_i]);
    ck_assert_int_eq(end_of(pid), 40 + orders[_i]);
}
END_TEST

static int die_at_the_order(const struct crash *crash)
{
    (void)crash;
    wait_for_signal();
    raise(SIGKILL);
    return 0;
}

START_TEST(a_death_after_the_order_to_end_is_the_end)
{
    pid_t pid = start(&quick, die_at_the_order);
    struct report r;

    ck_assert(next(&r));
    ck_assert_int_eq(kill(pid, SIGTERM), 0);
    ck_assert(!next(&r));
    ck_assert_int_eq(end_of(pid), 128 + SIGKILL);
}
END_TEST

START_TEST(an_order_while_nothing_runs)
{
    struct supervisor_options slow = {
        .service = "test", .restarts_max = 3, .delay_min_ms = 3600000, .delay_max_ms = 3600000};
    pid_t pid;
    struct report r;

    signal(SIGSEGV, SIG_DFL);
    pid = start(&slow, die_always);
    ck_assert(next(&r));
    while (kill(r.pid, 0) == 0) /* until it was reaped */
        sched_yield();
    ck_assert_int_eq(kill(pid, SIGTERM), 0);
    ck_assert_int_eq(end_of(pid), 0);
}
END_TEST

START_TEST(the_service_dies_with_its_supervisor)
{
    pid_t pid = start(&quick, tell_signals);
    struct report r;

    ck_assert(next(&r));
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert(!next(&r)); /* the last writer of the pipe is gone */
    close(reports[0]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loop_supervisor");
    TCase *rule = tcase_create("rule"), *processes = tcase_create("processes");
    SRunner *runner;
    int failed;

    tcase_add_test(rule, the_delay_doubles_up_to_a_cap);
    tcase_add_test(rule, a_calm_minute_ends_the_row);
    tcase_add_test(processes, a_crash_is_recovered_and_told);
    tcase_add_test(processes, it_gives_up);
    tcase_add_test(processes, a_status_is_passed_on);
    tcase_add_test(processes, a_start_that_fails_in_a_row_is_tried_again);
    tcase_add_test(processes, a_status_after_a_calm_run_is_passed_on);
    tcase_add_test(processes, ends_of_children_that_were_ignored);
    tcase_add_loop_test(processes, orders_are_passed_on, 0, 2);
    tcase_add_test(processes, a_death_after_the_order_to_end_is_the_end);
    tcase_add_test(processes, an_order_while_nothing_runs);
    tcase_add_test(processes, the_service_dies_with_its_supervisor);
    suite_add_tcase(suite, rule);
    suite_add_tcase(suite, processes);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
