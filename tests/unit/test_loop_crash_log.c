/* The last line of a process that dies of a fatal signal. */
#include <check.h>
#include <json.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/must.h"
#include "loop/crash_log.h"
#include "support/suite.h"

static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};

struct last_words {
    char text[16384];
    int how; /* it ended */
};

/* Runs `die` in a process of its own. */
static void run(struct last_words *out, enum log_format format, void (*die)(int arg), int arg)
{
    int fds[2];
    size_t len = 0;
    ssize_t n;
    pid_t pid;

    ck_assert_int_eq(pipe(fds), 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        dup2(fds[1], 2);
        close(fds[0]);
        log_init(format, LOG_INFO, 2);
        crash_log_start();
        die(arg);
        _exit(0);
    }
    close(fds[1]);
    memset(out, 0, sizeof(*out));
    while ((n = read(fds[0], out->text + len, sizeof(out->text) - 1 - len)) > 0)
        len += (size_t)n;
    close(fds[0]);
    ck_assert_int_eq(waitpid(pid, &out->how, 0), pid);
}

static const char *field(struct json_object *line, const char *key)
{
    struct json_object *value = NULL;

    ck_assert_msg(json_object_object_get_ex(line, key, &value), "%s", key);
    return json_object_get_string(value);
}

static void by_raise(int signum)
{
    raise(signum);
}

START_TEST(each_signal_is_told)
{
    struct last_words words;
    struct json_object *line;
    const char *end;

    run(&words, LOG_JSON, by_raise, signals[_i]);
    ck_assert(WIFSIGNALED(words.how));
    ck_assert_int_eq(WTERMSIG(words.how), signals[_i]);
    end = strchr(words.text, '\n');
    ck_assert_ptr_nonnull(end);
    words.text[end - words.text] = '\0';
    line = json_tokener_parse(words.text);
    ck_assert_msg(line != NULL, "%s", words.text);
    ck_assert_str_eq(field(line, "event"), "fatal_signal");
    ck_assert_str_eq(field(line, "level"), "error");
    ck_assert_str_eq(field(line, "signal"), sigabbrev_np(signals[_i]));
    ck_assert_ptr_nonnull(strstr(field(line, "backtrace"), "loop_crash_log+0x"));
    ck_assert_uint_eq(strlen(field(line, "ts")), strlen("2026-01-02T03:04:05.678Z"));
    json_object_put(line);
}
END_TEST

START_TEST(the_text_form)
{
    struct last_words words;

    run(&words, LOG_TEXT, by_raise, SIGABRT);
    ck_assert_ptr_nonnull(strstr(words.text, " error crash fatal_signal signal=\"ABRT\""));
}
END_TEST

/* The date is worked out by hand: it must be the day that it is. */
START_TEST(the_time_is_right)
{
    struct last_words words;
    char before[32], after[32];
    time_t now = time(NULL);
    struct tm utc;

    strftime(before, sizeof(before), "%Y-%m-%dT%H:%M:%S", gmtime_r(&now, &utc));
    run(&words, LOG_TEXT, by_raise, SIGTRAP);
    now = time(NULL);
    strftime(after, sizeof(after), "%Y-%m-%dT%H:%M:%S", gmtime_r(&now, &utc));
    words.text[strlen(before)] = '\0';
    ck_assert_str_ge(words.text, before);
    ck_assert_str_le(words.text, after);
}
END_TEST

/* Deeper than any stack, if the compiler lets it be one. */
static unsigned overflow(unsigned depth)
{
    volatile char block[4096];

    block[0] = (char)depth;
    return depth < UINT32_MAX ? overflow(depth + 1) + (unsigned)block[0] : 0;
}

static void *thread_main(void *arg)
{
    crash_log_thread_start();
    pthread_setname_np(pthread_self(), "deep");
    return overflow(0) ? arg : NULL;
}

static void by_overflow(int arg)
{
    pthread_t thread;

    (void)arg;
    if (pthread_create(&thread, NULL, thread_main, NULL) == 0)
        pthread_join(thread, NULL);
}

/* A real fault: a raised signal would only wait while it is blocked. */
static void *fault(void *arg)
{
    volatile char *nothing = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    crash_log_thread_start();
    pthread_setname_np(pthread_self(), "masked");
    *nothing = 1;
    return arg;
}

/* As workers, the store and the apply thread are made. */
static void by_masked_thread(int arg)
{
    sigset_t all;
    pthread_t thread;

    (void)arg;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    if (pthread_create(&thread, NULL, fault, NULL) == 0)
        pthread_join(thread, NULL);
}

START_TEST(a_thread_that_was_made_with_all_signals_blocked)
{
    struct last_words words;

    run(&words, LOG_JSON, by_masked_thread, 0);
    ck_assert(WIFSIGNALED(words.how));
    ck_assert_int_eq(WTERMSIG(words.how), SIGSEGV);
    ck_assert_ptr_nonnull(strstr(words.text, "\"signal\":\"SEGV\""));
    ck_assert_ptr_nonnull(strstr(words.text, "\"thread\":\"masked\""));
}
END_TEST

START_TEST(a_stack_that_overflows)
{
    struct last_words words;

    run(&words, LOG_JSON, by_overflow, 0);
    ck_assert(WIFSIGNALED(words.how));
    ck_assert_int_eq(WTERMSIG(words.how), SIGSEGV);
    ck_assert_ptr_nonnull(strstr(words.text, "\"signal\":\"SEGV\""));
    ck_assert_ptr_nonnull(strstr(words.text, "\"thread\":\"deep\""));
}
END_TEST

#if defined(__x86_64__)
/* A stack of which not even the first frame can be read. */
static void by_broken_stack(int arg)
{
    __asm__ volatile("movq %0, %%rbp\n\tmovq %0, %%rsp\n\tpushq %0" : : "r"(16L) : "memory");
    _exit(arg);
}

START_TEST(a_stack_that_cannot_be_walked)
{
    struct last_words words;
    struct json_object *line;
    char *end;

    run(&words, LOG_JSON, by_broken_stack, 0);
    ck_assert(WIFSIGNALED(words.how));
    ck_assert_int_eq(WTERMSIG(words.how), SIGSEGV);
    end = strchr(words.text, '\n');
    ck_assert_ptr_nonnull(end);
    *end = '\0';
    line = json_tokener_parse(words.text);
    ck_assert_msg(line != NULL, "%s", words.text);
    ck_assert_str_eq(field(line, "signal"), "SEGV");
    ck_assert_ptr_nonnull(field(line, "backtrace"));
    json_object_put(line);
}
END_TEST
#endif

static void *short_thread(void *arg)
{
    crash_log_thread_start();
    crash_log_thread_start();
    crash_log_thread_end();
    crash_log_thread_end();
    return arg;
}

START_TEST(threads_come_and_go)
{
    for (int i = 0; i < 8; i++) {
        pthread_t thread;

        ck_assert_int_eq(pthread_create(&thread, NULL, short_thread, NULL), 0);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("line");

    tcase_add_loop_test(tcase, each_signal_is_told, 0, (int)ARRAY_LEN(signals));
    tcase_add_test(tcase, the_text_form);
    tcase_add_test(tcase, the_time_is_right);
    tcase_add_test(tcase, a_stack_that_overflows);
#if defined(__x86_64__)
    tcase_add_test(tcase, a_stack_that_cannot_be_walked);
#endif
    tcase_add_test(tcase, a_thread_that_was_made_with_all_signals_blocked);
    tcase_add_test(tcase, threads_come_and_go);
    return suite_run("loop_crash_log", tcase);
}
