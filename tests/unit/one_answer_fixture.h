/* one_answer_fixture - a server of one HTTP answer, or of some, one a connection, in a thread: what
 * a command that asks a service meets; and what a command prints. */
#ifndef TESTS_UNIT_ONE_ANSWER_FIXTURE_H
#define TESTS_UNIT_ONE_ANSWER_FIXTURE_H

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/listener.h"

static struct one_answer {
    const char *texts[3]; /* ended by NULL */
    char listen[40];
    int fd;
    pthread_t thread;
} one_answer;

static inline void *answer_each(void *arg)
{
    struct one_answer *a = arg;
    char request[4096];

    for (const char *const *text = a->texts; *text; text++) {
        int fd = accept(a->fd, NULL, NULL);

        if (fd >= 0 && recv(fd, request, sizeof(request), 0) > 0)
            (void)!write(fd, *text, strlen(*text));
        if (fd >= 0)
            close(fd);
    }
    return NULL;
}

/* `second` may be NULL. */
static inline void two_answers_up(const char *first, const char *second)
{
    union addr at, bound;

    one_answer.texts[0] = first;
    one_answer.texts[1] = second;
    ck_assert_int_eq(addr_parse_host(&at, "127.0.0.1", 0), 0);
    ck_assert_int_eq(listen_bind(&at, 1, &one_answer.fd, &bound), 0);
    ck_assert_int_eq(fcntl(one_answer.fd, F_SETFL, 0), 0); /* accept() waits */
    snprintf(one_answer.listen, sizeof(one_answer.listen), "127.0.0.1:%u",
             (unsigned)addr_port(&bound));
    ck_assert_int_eq(pthread_create(&one_answer.thread, NULL, answer_each, &one_answer), 0);
}

static inline void one_answer_up(const char *text)
{
    two_answers_up(text, NULL);
}

static inline void one_answer_down(void)
{
    pthread_join(one_answer.thread, NULL);
    close(one_answer.fd);
}

/* --- what is printed
 * -------------------------------------------------------------------------------- */

static int kept_out, kept_err;
static FILE *printed_to;

static inline void print_begin(void)
{
    fflush(NULL);
    kept_out = dup(STDOUT_FILENO);
    kept_err = dup(STDERR_FILENO);
    printed_to = tmpfile();
    ck_assert_ptr_nonnull(printed_to);
    dup2(fileno(printed_to), STDOUT_FILENO);
    dup2(fileno(printed_to), STDERR_FILENO);
}

/* All of it, both streams; until the next call. */
static inline const char *print_end(void)
{
    static char text[65536];
    ssize_t n;

    fflush(NULL);
    dup2(kept_out, STDOUT_FILENO);
    dup2(kept_err, STDERR_FILENO);
    close(kept_out);
    close(kept_err);
    n = pread(fileno(printed_to), text, sizeof(text) - 1, 0);
    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    fclose(printed_to);
    return text;
}

#endif
