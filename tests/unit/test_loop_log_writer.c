/* Tests of loop/log_writer: the log goes into a pipe that is read, is not read, is read by nobody
 * any more; threads, the end in order, and processes that die. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <json.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_ring.h"
#include "base/must.h"
#include "loop/crash_log.h"
#include "loop/log_writer.h"
#include "loop/loop.h"
#include "support/suite.h"

#define TEXT_BYTES (8u << 20)
#define TOO_MANY   20000u /* lines: more than the ring and a pipe hold */
#define LINES_LAST 400u   /* as many as a pipe holds: nobody needs to read in time */

static int read_fd, write_fd;
static char text[TEXT_BYTES]; /* all that was read */
static size_t text_len;

static void open_pipe(int flags)
{
    int fds[2];

    ck_assert_int_eq(pipe2(fds, flags), 0);
    read_fd = fds[0];
    write_fd = fds[1];
    log_init(LOG_JSON, LOG_INFO, write_fd);
}

static void setup(void)
{
    open_pipe(0);
    ck_assert_int_eq(log_writer_start(), 0);
}

/* One piece; false at the end. */
static bool read_piece(void)
{
    ssize_t n;

    ck_assert_uint_lt(text_len, TEXT_BYTES - 1);
    n = read(read_fd, text + text_len, TEXT_BYTES - 1 - text_len);
    ck_assert_int_ge(n, 0);
    text_len += (size_t)n;
    text[text_len] = '\0';
    return n > 0;
}

static void read_all(void)
{
    while (read_piece())
        continue;
}

/* Reads until this was read. */
static void read_until(const char *what)
{
    while (!strstr(text, what))
        ck_assert_msg(read_piece(), "no %s", what);
}

static uint64_t number_of(struct json_object *line, const char *key)
{
    struct json_object *value = NULL;

    return json_object_object_get_ex(line, key, &value) ? json_object_get_uint64(value) : 0;
}

/* What was read: whole lines, those of each `of` in order, each gap as long as the lines that are
 * missing where it is told (of one thread).  How many lines of tests, and how many lost. */
static void check_text(uint64_t *came, uint64_t *told)
{
    uint64_t next[8] = {0}, gap = 0;
    char *at = text, *end;

    *came = *told = 0;
    for (; (end = strchr(at, '\n')); at = end + 1) {
        struct json_object *line;

        *end = '\0';
        line = json_tokener_parse(at);
        ck_assert_msg(line != NULL, "no JSON: %s", at);
        if (strstr(at, "\"event\":\"log_dropped\"")) {
            ck_assert_ptr_nonnull(strstr(at, "\"level\":\"warn\",\"module\":\"log\""));
            gap = number_of(line, "count");
            ck_assert_uint_gt(gap, 0);
            *told += gap;
        } else if (strstr(at, "\"event\":\"numbered\"")) {
            uint64_t of = number_of(line, "of"), number = number_of(line, "number");

            ck_assert_uint_lt(of, ARRAY_LEN(next));
            if (gap > 0 && of == 0)
                ck_assert_uint_eq(number, next[of] + gap);
            ck_assert_uint_ge(number, next[of]);
            next[of] = number + 1;
            gap = 0;
            (*came)++;
        }
        json_object_put(line);
        *end = '\n';
    }
    ck_assert_int_eq(*at, '\0');
}

static void log_numbered(uint64_t of, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++)
        log_info("test", "numbered", LOG_U("of", of), LOG_U("number", i));
}

static void *stop_main(void *arg)
{
    log_writer_stop();
    close(write_fd);
    return arg;
}

/* Ends in order while somebody reads; all that came. */
static void stop_and_read(void)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, stop_main, NULL), 0);
    read_all();
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

START_TEST(lines_come_in_order)
{
    uint64_t came, told;

    log_numbered(1, 0, 100);
    stop_and_read();
    check_text(&came, &told);
    ck_assert_uint_eq(came, 100);
    ck_assert_uint_eq(log_writer_dropped(), 0);
}
END_TEST

START_TEST(a_line_comes_by_itself)
{
    for (uint64_t i = 0; i < 20; i++) { /* it sleeps in between */
        char number[32];

        log_numbered(1, i, i + 1);
        snprintf(number, sizeof(number), "\"number\":%llu}\n", (unsigned long long)i);
        read_until(number);
    }
}
END_TEST

/* Nobody waits for a reader that has stopped; once it goes on it is told how many it missed, where
 * they are missing, at every level. */
START_TEST(a_reader_that_stops)
{
    uint64_t came, told;

    log_numbered(0, 0, TOO_MANY);
    ck_assert_uint_gt(log_writer_dropped(), 0);
    log_set_level(LOG_ERR);
    read_until("log_dropped");
    log_set_level(LOG_INFO);
    log_numbered(0, TOO_MANY, TOO_MANY + 100);
    stop_and_read();
    check_text(&came, &told);
    ck_assert_uint_eq(told, log_writer_dropped());
    ck_assert_uint_eq(came + told, TOO_MANY + 100);
    ck_assert_uint_gt(came, LOG_RING_BYTES / 200);
    ck_assert_ptr_nonnull(strstr(text, "\"number\":20099}\n"));
}
END_TEST

/* Each write(2) into such a pipe is a packet, and read(2) takes one. */
START_TEST(a_write_has_as_many_lines_as_a_pipe_takes_whole)
{
    size_t seen = 0, packets = 0;

    open_pipe(O_DIRECT);
    ck_assert_int_eq(log_writer_start(), 0);
    log_numbered(1, 0, TOO_MANY);
    while (!strstr(text + seen, "log_dropped")) {
        size_t before = text_len;

        seen = before;
        ck_assert(read_piece());
        ck_assert_uint_le(text_len - before, PIPE_BUF);
        ck_assert_int_eq(text[text_len - 1], '\n');
        packets++;
        /* Those that left while lines still came may be short: a pipe holds 16. */
        if (packets > 32 && packets < 128)
            ck_assert_uint_gt(text_len - before, PIPE_BUF - 200);
    }
    ck_assert_uint_gt(packets, 128);
}
END_TEST

#define THREADS    4u
#define LINES_EACH 10000u

static pthread_t threads[THREADS];

static void *log_main(void *arg)
{
    log_numbered(*(uint64_t *)arg, 0, LINES_EACH);
    return NULL;
}

static atomic_bool is_seen;
static uint64_t markers;

/* It ends once the reader has come so far: what the end gives a reader is no time for all of it. */
static void *end_main(void *arg)
{
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (; !atomic_load(&is_seen); markers++) { /* one of them finds room */
        log_numbered(7, markers, markers + 1);
        (void)poll(NULL, 0, 1);
    }
    return stop_main(arg);
}

START_TEST(threads_log_at_once)
{
    uint64_t numbers[THREADS], came, told;
    pthread_t end;

    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i + 1;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, log_main, &numbers[i]), 0);
    }
    ck_assert_int_eq(pthread_create(&end, NULL, end_main, NULL), 0);
    read_until("\"of\":7,");
    atomic_store(&is_seen, true);
    read_all();
    ck_assert_int_eq(pthread_join(end, NULL), 0);
    check_text(&came, &told);
    ck_assert_uint_eq(told, log_writer_dropped());
    ck_assert_uint_eq(came + told, THREADS * LINES_EACH + markers);
}
END_TEST

/* What the reader finds then ends with a whole line. */
START_TEST(the_end_does_not_wait_for_a_reader_that_stopped)
{
    uint64_t since_us = clock_now_us(), came, told;

    log_numbered(1, 0, TOO_MANY);
    log_writer_stop();
    ck_assert_uint_ge(clock_now_us() - since_us, LOG_FLUSH_MS * 1000); /* it might have gone on */
    log_numbered(1, TOO_MANY, 2 * TOO_MANY);                           /* it does not wait either */
    close(write_fd);
    read_all();
    check_text(&came, &told);
    ck_assert_uint_gt(came, 500);
}
END_TEST

START_TEST(after_the_end_lines_are_written_as_before)
{
    log_writer_stop();
    log_info("test", "direct");
    ck_assert(read_piece()); /* one read: there is no thread to wait for */
    ck_assert_ptr_nonnull(strstr(text, "\"event\":\"direct\""));
    log_writer_stop();
    ck_assert_int_eq(log_writer_start(), 0);
    log_info("test", "again");
    read_until("\"event\":\"again\"");
}
END_TEST

static void wait_for_dropped(uint64_t count)
{
    while (log_writer_dropped() < count)
        sched_yield();
    ck_assert_uint_eq(log_writer_dropped(), count);
}

/* Lines that the descriptor refuses are lost and counted; the next one that it takes is told of it.
 */
START_TEST(a_reader_that_is_gone_and_another)
{
    char path[64];
    uint64_t came, told;

    close(read_fd);
    log_numbered(0, 0, 1);
    wait_for_dropped(1);
    log_numbered(0, 1, 3);
    wait_for_dropped(3);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", write_fd);
    read_fd = open(path, O_RDONLY); /* of the same pipe */
    ck_assert_int_ge(read_fd, 0);
    log_numbered(0, 3, 4); /* lost too, where the gap is not told yet */
    read_until("log_dropped");
    log_numbered(0, 4, 5);
    stop_and_read();
    check_text(&came, &told);
    ck_assert_uint_ge(told, 3);
    ck_assert_uint_eq(came + told, 5);
}
END_TEST

/* --- processes that die
 * ---------------------------------------------------------------------------------- */

/* Runs `die` in a process of its own, whose log nobody reads until it is dead, or somebody does at
 * once; how it ended. */
static int run(void (*die)(void), bool is_read)
{
    int how;
    pid_t pid;

    open_pipe(0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        dup2(write_fd, 2);
        close(write_fd);
        close(read_fd);
        log_init(LOG_JSON, LOG_INFO, 2);
        crash_log_start();
        must(log_writer_start() == 0);
        die();
        _exit(0);
    }
    close(write_fd);
    if (is_read)
        read_all();
    ck_assert_int_eq(waitpid(pid, &how, 0), pid);
    if (!is_read)
        read_all();
    return how;
}

static void by_must(void)
{
    log_numbered(0, 0, LINES_LAST);
    must(1 + 1 == 3);
}

static void by_fault(void)
{
    log_numbered(0, 0, LINES_LAST);
    raise(SIGSEGV);
}

/* The thread that writes is the one that dies. */
static void by_writer(void)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *task;

    log_numbered(0, 0, LINES_LAST);
    while ((task = readdir(tasks))) {
        pid_t tid = (pid_t)strtol(task->d_name, NULL, 10);

        if (tid > 0 && tid != getpid())
            syscall(SYS_tgkill, getpid(), tid, SIGABRT);
    }
    for (;;)
        pause();
}

static const struct {
    void (*die)(void);
    int signum;
    const char *words;
} deaths[] = {{by_must, SIGABRT, "must(1 + 1 == 3) does not hold\n"},
              {by_fault, SIGSEGV, "\"signal\":\"SEGV\""},
              {by_writer, SIGABRT, "\"signal\":\"ABRT\""}};

START_TEST(who_dies_has_its_last_lines_written)
{
    int how = run(deaths[_i].die, true);
    char *words = strstr(text, deaths[_i].words), *last;

    ck_assert(WIFSIGNALED(how));
    ck_assert_int_eq(WTERMSIG(how), deaths[_i].signum);
    last = strstr(text, "\"number\":399}\n");
    ck_assert_ptr_nonnull(last);
    ck_assert_ptr_nonnull(words);
    ck_assert(words > last);
    ck_assert(strstr(text, "\"event\":\"fatal_signal\"") > last);
}
END_TEST

static void by_must_unread(void)
{
    log_numbered(0, 0, TOO_MANY);
    must(1 + 1 == 3);
}

START_TEST(who_dies_does_not_wait_for_a_reader_that_stopped)
{
    int how = run(by_must_unread, false);

    ck_assert(WIFSIGNALED(how));
    ck_assert_int_eq(WTERMSIG(how), SIGABRT);
    ck_assert_ptr_nonnull(strstr(text, "\"number\":100}\n"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loop_log_writer");
    TCase *started = tcase_create("started"), *own = tcase_create("own");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(started, setup, NULL);
    tcase_add_test(started, lines_come_in_order);
    tcase_add_test(started, a_line_comes_by_itself);
    tcase_add_test(started, a_reader_that_stops);
    tcase_add_test(started, threads_log_at_once);
    tcase_add_test(started, the_end_does_not_wait_for_a_reader_that_stopped);
    tcase_add_test(started, after_the_end_lines_are_written_as_before);
    tcase_add_test(started, a_reader_that_is_gone_and_another);
    suite_add_tcase(suite, started);
    tcase_add_test(own, a_write_has_as_many_lines_as_a_pipe_takes_whole);
    tcase_add_loop_test(own, who_dies_has_its_last_lines_written, 0, (int)ARRAY_LEN(deaths));
    tcase_add_test(own, who_dies_does_not_wait_for_a_reader_that_stopped);
    suite_add_tcase(suite, own);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
