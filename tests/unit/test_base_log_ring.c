/* Tests of base/log_ring: whole lines in order, what happens when it is full and how it is told,
 * many threads at once. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/log_ring.h"
#include "base/must.h"
#include "support/suite.h"

static struct log_ring ring;
static char out[LOG_LINE_BYTES];

static void setup(void)
{
    log_ring_init(&ring);
}

/* A line of `len` bytes with its end, all the same letter. */
static void push(char letter, size_t len)
{
    char text[LOG_LINE_BYTES];

    memset(text, letter, len);
    text[len - 1] = '\n';
    log_ring_push(&ring, text, len);
}

/* Fills the ring but for `room` bytes; how many lines. */
static unsigned fill(size_t room)
{
    size_t left = LOG_RING_BYTES - room;
    unsigned lines = 0;

    for (; left > 0; lines++) {
        size_t len = MIN(left, LOG_LINE_BYTES);

        push('f', len);
        left -= len;
    }
    ck_assert_uint_eq(log_ring_dropped(&ring), 0);
    return lines;
}

static void drain(void)
{
    size_t n;

    while ((n = log_ring_peek(&ring, out, sizeof(out))) > 0)
        log_ring_written(&ring, n);
    ck_assert(log_ring_is_empty(&ring));
}

START_TEST(only_whole_lines_are_peeked)
{
    ck_assert_uint_eq(log_ring_peek(&ring, out, sizeof(out)), 0);
    push('a', 1500);
    push('b', 1500);
    push('c', 1500);
    ck_assert_uint_eq(log_ring_peek(&ring, out, sizeof(out)), 3000);
    ck_assert_int_eq(out[0], 'a');
    ck_assert_int_eq(out[1499], '\n');
    ck_assert_int_eq(out[2998], 'b');
    ck_assert_uint_eq(log_ring_peek(&ring, out, sizeof(out)), 3000); /* they stay */
    log_ring_written(&ring, 3000);
    ck_assert_uint_eq(log_ring_peek(&ring, out, sizeof(out)), 1500);
    ck_assert_int_eq(out[0], 'c');
    log_ring_written(&ring, 1000); /* the descriptor took a part */
    ck_assert_uint_eq(log_ring_peek(&ring, out, sizeof(out)), 500);
    log_ring_written(&ring, 500);
    ck_assert(log_ring_is_empty(&ring));
}
END_TEST

/* Lengths that do not divide the ring: its end falls at every place of a line. */
START_TEST(lines_go_around)
{
    uint64_t in = 0, seen = 0;

    while (seen < 3 * (uint64_t)LOG_RING_BYTES / 100) {
        char text[200];
        size_t n;
        int len;

        for (int i = 0; i < 7; i++) {
            len = snprintf(text, sizeof(text), "%0*llu\n", (int)(10 + in % 177),
                           (unsigned long long)in);
            log_ring_push(&ring, text, (size_t)len);
            in++;
        }
        while ((n = log_ring_peek(&ring, out, sizeof(out))) > 0) {
            for (char *at = out; at < out + n; at = strchr(at, '\n') + 1)
                ck_assert_uint_eq(strtoull(at, NULL, 10), seen++);
            log_ring_written(&ring, n);
        }
    }
    ck_assert_uint_eq(in, seen);
    ck_assert_uint_eq(log_ring_dropped(&ring), 0);
}
END_TEST

START_TEST(a_line_that_fills_it_is_taken)
{
    fill(100);
    push('x', 100);
    ck_assert_uint_eq(log_ring_dropped(&ring), 0);
    push('x', 1);
    ck_assert_uint_eq(log_ring_dropped(&ring), 1);
}
END_TEST

START_TEST(a_line_longer_than_the_room_is_lost_whole)
{
    uint64_t end;

    fill(100);
    end = log_ring_end(&ring);
    push('x', 101);
    ck_assert_uint_eq(log_ring_dropped(&ring), 1);
    ck_assert_uint_eq(log_ring_end(&ring), end);
}
END_TEST

/* A short line behind a lost one would find room, and the gap would be told in the wrong place. */
START_TEST(a_gap_is_taken_in_its_place)
{
    fill(100);
    push('x', 101);
    push('y', 10);
    ck_assert_uint_eq(log_ring_dropped(&ring), 2);
    ck_assert(log_ring_has_gap(&ring));
    ck_assert_uint_eq(log_ring_take_gap(&ring), 0); /* lines come before it */
    drain();
    push('z', 10);
    ck_assert(log_ring_is_empty(&ring));
    ck_assert_uint_eq(log_ring_take_gap(&ring), 3);
    push('n', 10);
    ck_assert(!log_ring_is_empty(&ring));
    log_ring_told(&ring);
    ck_assert_uint_eq(log_ring_take_gap(&ring), 0);
    ck_assert_uint_eq(log_ring_dropped(&ring), 3);
}
END_TEST

START_TEST(a_gap_that_could_not_be_told_stays)
{
    push('a', 10);
    log_ring_lose(&ring, 1); /* it could not be written */
    log_ring_written(&ring, 10);
    ck_assert_uint_eq(log_ring_take_gap(&ring), 1);
    log_ring_untold(&ring);
    push('b', 10);
    ck_assert(log_ring_is_empty(&ring));
    ck_assert_uint_eq(log_ring_take_gap(&ring), 2);
    ck_assert_uint_eq(log_ring_dropped(&ring), 2);
}
END_TEST

START_TEST(settled_is_what_is_written_and_told)
{
    uint64_t end;

    fill(0);
    end = log_ring_end(&ring);
    ck_assert(!log_ring_is_settled(&ring, end));
    push('x', 10);
    drain();
    ck_assert(!log_ring_is_settled(&ring, end));
    ck_assert_uint_eq(log_ring_take_gap(&ring), 1);
    ck_assert(!log_ring_is_settled(&ring, end)); /* the line about it is on its way */
    log_ring_told(&ring);
    ck_assert(log_ring_is_settled(&ring, end));
    push('y', 10); /* later than was asked about */
    ck_assert(log_ring_is_settled(&ring, end));
    ck_assert(!log_ring_is_settled(&ring, log_ring_end(&ring)));
}
END_TEST

#define THREADS      4
#define LINES_EACH   20000
#define RUNNING_BITS ((1u << THREADS) - 1)

static _Atomic unsigned running;

static void *pusher(void *arg)
{
    unsigned own = *(unsigned *)arg;

    for (unsigned i = 0; i < LINES_EACH; i++) {
        char text[300];
        int len = snprintf(text, sizeof(text), "%u %0*u\n", own, (int)(6 + i % 251), i);

        log_ring_push(&ring, text, (size_t)len);
    }
    atomic_fetch_and(&running, ~BIT(own));
    return NULL;
}

/* What came out: each thread's lines in its order.  How many. */
static uint64_t check_lines(size_t n, unsigned next[THREADS])
{
    uint64_t count = 0;

    for (char *at = out; at < out + n; count++) {
        char *rest;
        unsigned long of = strtoul(at, &rest, 10), number = strtoul(rest, &rest, 10);

        ck_assert_uint_lt(of, THREADS);
        ck_assert_uint_ge(number, next[of]);
        ck_assert_int_eq(*rest, '\n');
        next[of] = (unsigned)number + 1;
        at = rest + 1;
    }
    return count;
}

START_TEST(threads_push_while_one_writes)
{
    unsigned numbers[THREADS], next[THREADS] = {0};
    uint64_t came = 0, told = 0, gap;
    pthread_t threads[THREADS];
    size_t n;

    running = RUNNING_BITS;
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, pusher, &numbers[i]), 0);
    }
    while (atomic_load(&running) || !log_ring_is_empty(&ring) || log_ring_has_gap(&ring)) {
        if ((n = log_ring_peek(&ring, out, sizeof(out))) > 0) {
            came += check_lines(n, next);
            log_ring_written(&ring, n);
        } else if ((gap = log_ring_take_gap(&ring)) > 0) {
            told += gap;
            log_ring_told(&ring);
        }
    }
    for (unsigned i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(told, log_ring_dropped(&ring));
    ck_assert_uint_eq(came + told, THREADS * LINES_EACH);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("ring");

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, only_whole_lines_are_peeked);
    tcase_add_test(tcase, lines_go_around);
    tcase_add_test(tcase, a_line_that_fills_it_is_taken);
    tcase_add_test(tcase, a_line_longer_than_the_room_is_lost_whole);
    tcase_add_test(tcase, a_gap_is_taken_in_its_place);
    tcase_add_test(tcase, a_gap_that_could_not_be_told_stays);
    tcase_add_test(tcase, settled_is_what_is_written_and_told);
    tcase_add_test(tcase, threads_push_while_one_writes);
    return suite_run("base_log_ring", tcase);
}
