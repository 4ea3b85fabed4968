/* A process that is killed at any moment loses nothing that its store acknowledged. */
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "store_fixture.h"

#define KILLS 200

/* Writes pairs that must stay equal, and says so after each. */
static void write_until_killed(uint64_t number, int out)
{
    struct store *s = opened();

    for (;;) {
        struct store_batch *b = store_batch_new();
        char body[32];

        snprintf(body, sizeof(body), "%llu", (unsigned long long)++number);
        store_batch_put(b, "pair", "left", body, body, strlen(body));
        store_batch_put(b, "pair", "right", body, body, strlen(body));
        if (store_write(s, b, why, sizeof(why)) != 0)
            _exit(1);
        store_batch_free(b);
        if (write(out, &number, sizeof(number)) != sizeof(number))
            _exit(2);
    }
}

static void on_pair(void *arg, const struct store_record *r)
{
    uint64_t *sides = arg;

    ck_assert_uint_eq(strlen(r->body), r->secret_len);
    ck_assert_int_eq(memcmp(r->body, r->secret, r->secret_len), 0);
    sides[strcmp(r->id, "right") == 0] = strtoull(r->body, NULL, 10);
}

START_TEST(killed_at_any_moment)
{
    uint64_t acknowledged = 0, total = 0;

    srandom(20260101);
    for (unsigned i = 0; i < KILLS; i++) {
        uint64_t sides[2] = {0}, number;
        long writes = random() % 6, us = random() % 2000;
        int fds[2], how;
        struct store *s;
        pid_t pid;

        ck_assert_int_eq(pipe(fds), 0);
        pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
            close(fds[0]);
            write_until_killed(acknowledged, fds[1]);
        }
        close(fds[1]);
        while (writes-- > 0 && read(fds[0], &number, sizeof(number)) == sizeof(number))
            acknowledged = number, total++;
        for (uint64_t since_us = clock_now_us(); clock_now_us() - since_us < (uint64_t)us;)
            sched_yield(); /* somewhere in the opening, or in the next write */
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(pid, &how, 0), pid);
        ck_assert(WIFSIGNALED(how));
        while (read(fds[0], &number, sizeof(number)) == sizeof(number)) {
            acknowledged = number;
            total++;
        }
        close(fds[0]);
        s = opened();
        ck_assert_int_eq(store_load(s, "pair", on_pair, sides, why, sizeof(why)), 0);
        store_close(s);
        ck_assert_uint_eq(sides[0], sides[1]);     /* whole or not at all */
        ck_assert_uint_ge(sides[0], acknowledged); /* nothing lost */
        ck_assert_uint_le(sides[0], acknowledged + 1);
        acknowledged = sides[0];
    }
    ck_assert_uint_gt(total, KILLS); /* most of them were in the middle of writes */
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("store");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 200);
    tcase_add_test(tcase, killed_at_any_moment);
    return suite_run("store_killed", tcase);
}
