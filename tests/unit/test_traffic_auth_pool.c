/* Passwords checked on threads of their own: every verdict comes to the loop that asked, but for
 * those that were cancelled; the line has an end. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "loop/loop.h"
#include "support/suite.h"
#include "traffic/auth_pool.h"
#include "traffic/pass_hash.h"

#define ASKED 20u

static struct loop *loop;
static struct auth_pool *pool;
static char hash[PASS_HASH_MAX];
static unsigned verdicts, rights, expected;

static void setup(void)
{
    verdicts = rights = 0;
    loop = loop_new("test", 0, 4);
    ck_assert_int_eq(pass_hash_make("sha512", "right", hash, sizeof(hash)), 0);
}

static void teardown(void)
{
    auth_pool_free(pool);
    loop_free(loop);
}

static void on_verdict(struct auth_wait *wait, bool is_right)
{
    ck_assert_ptr_null(wait->job);
    rights += is_right;
    if (++verdicts == expected)
        loop_stop(loop);
}

START_TEST(verdicts_come_to_the_loop)
{
    struct auth_wait waits[ASKED] = {{NULL, NULL}};

    ck_assert_int_eq(auth_pool_new(&pool, 2, ASKED), 0);
    for (unsigned i = 0; i < ASKED; i++) {
        waits[i].on_verdict = on_verdict;
        ck_assert_int_eq(auth_pool_ask(pool, loop, hash, i % 4 ? "wrong" : "right", &waits[i]), 0);
    }
    expected = ASKED - 2;
    auth_wait_cancel(&waits[0]);
    auth_wait_cancel(&waits[ASKED - 1]);
    loop_run(loop);
    ck_assert_uint_eq(rights, ASKED / 4 - 1);
    ck_assert_uint_eq(verdicts, ASKED - 2);
}
END_TEST

START_TEST(the_line_has_an_end)
{
    struct auth_wait waits[ASKED] = {{NULL, NULL}};
    unsigned taken = 0;

    ck_assert_int_eq(auth_pool_new(&pool, 1, 2), 0);
    for (unsigned i = 0; i < ASKED; i++) {
        waits[i].on_verdict = on_verdict;
        if (auth_pool_ask(pool, loop, hash, "right", &waits[i]) == 0)
            taken++;
        else
            ck_assert_ptr_null(waits[i].job);
    }
    ck_assert_uint_ge(taken, 2);
    ck_assert_uint_lt(taken, ASKED); /* a check takes milliseconds, asking none */
    expected = taken;
    loop_run(loop);
    ck_assert_uint_eq(rights, taken);
}
END_TEST

START_TEST(ends_while_some_wait)
{
    struct auth_wait waits[ASKED] = {{NULL, NULL}};

    ck_assert_int_eq(auth_pool_new(&pool, 1, ASKED), 0);
    for (unsigned i = 0; i < ASKED; i++) {
        waits[i].on_verdict = on_verdict;
        ck_assert_int_eq(auth_pool_ask(pool, loop, hash, "right", &waits[i]), 0);
    }
    auth_pool_free(pool);
    pool = NULL;
    loop_settle(loop); /* those that were checked in time */
    for (unsigned i = 0; i < ASKED; i++)
        ck_assert_ptr_null(waits[i].job);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("pool");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, verdicts_come_to_the_loop);
    tcase_add_test(tcase, the_line_has_an_end);
    tcase_add_test(tcase, ends_while_some_wait);
    return suite_run("traffic_auth_pool", tcase);
}
