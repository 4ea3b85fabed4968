/* How a service ends: the states, what each waits for, a second signal. */
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "admin/service_drain.h"
#include "base/log.h"
#include "support/suite.h"

static struct loop *loop;
static struct service_conf conf;
static struct service_drain drain;
static uint64_t since_us; /* before anything began */

/* The service, as the drain sees it. */
static struct {
    char calls[64]; /* in order: c(lose) l(eave) */
    unsigned secs;
    bool is_idle, is_gone;
} fake;

static void note(const char *call)
{
    strncat(fake.calls, call, sizeof(fake.calls) - strlen(fake.calls) - 1);
}

static void on_close(void *arg, unsigned secs)
{
    ck_assert_ptr_eq(arg, &fake);
    fake.secs = secs;
    note("c");
}

static bool is_idle(const void *arg)
{
    ck_assert_ptr_eq(arg, &fake);
    return fake.is_idle;
}

static void on_leave(void *arg)
{
    ck_assert_ptr_eq(arg, &fake);
    note("l");
}

static bool is_gone(const void *arg)
{
    ck_assert_ptr_eq(arg, &fake);
    return fake.is_gone;
}

static const struct service_drain_ops ops = {on_close, is_idle, on_leave, is_gone};
static const struct service_drain_ops without_peers = {.close = on_close, .is_idle = is_idle};

static void setup(void)
{
    log_set_level(LOG_ERR);
    since_us = clock_now_us();
    loop = loop_new("test", 0, 0);
    memset(&fake, 0, sizeof(fake));
    conf = (struct service_conf){.drain_secs = 3600, .drain_delay_secs = 0};
    service_drain_init(&drain, loop, "test", &conf, &ops, &fake);
}

static void teardown(void)
{
    service_drain_fini(&drain);
    loop_free(loop);
}

static uint64_t run(void)
{
    loop_run(loop);
    ck_assert_int_eq(drain.state, DRAIN_OVER);
    return (clock_now_us() - since_us) / 1000;
}

START_TEST(nothing_is_open)
{
    fake.is_idle = fake.is_gone = true;
    ck_assert(!service_drain_is_begun(&drain));
    service_drain_begin(&drain, "test");
    ck_assert(service_drain_is_begun(&drain));
    run();
    ck_assert_str_eq(fake.calls, "cl");
    ck_assert_uint_eq(fake.secs, 3600);
    service_drain_begin(&drain, "test");
    service_drain_signal(&drain, SIGTERM);
    ck_assert_str_eq(fake.calls, "cl");
}
END_TEST

static struct deadline later;

static void on_idle(struct deadline *d)
{
    (void)d;
    ck_assert_int_eq(drain.state, DRAIN_CLOSING);
    ck_assert_str_eq(fake.calls, "c");
    fake.is_idle = true;
}

START_TEST(what_is_open_finishes)
{
    fake.is_gone = true;
    deadline_init(&later, loop, on_idle);
    deadline_set(&later, 200);
    service_drain_begin(&drain, "test");
    ck_assert_uint_ge(run(), 199);
    ck_assert_str_eq(fake.calls, "cl");
}
END_TEST

START_TEST(but_not_for_ever)
{
    conf.drain_secs = 1;
    fake.is_gone = true;
    service_drain_begin(&drain, "test");
    ck_assert_uint_ge(run(), 990);
    ck_assert_str_eq(fake.calls, "cl");
}
END_TEST

START_TEST(no_time_at_all)
{
    conf.drain_secs = 0;
    fake.is_gone = true;
    service_drain_begin(&drain, "test");
    ck_assert_uint_lt(run(), 30000); /* and not 3600 s */
    ck_assert_uint_eq(fake.secs, 0);
}
END_TEST

START_TEST(peers_that_do_not_go)
{
    fake.is_idle = true;
    service_drain_begin(&drain, "test");
    ck_assert_uint_ge(run(), DRAIN_LEAVE_MS - 10);
    ck_assert_str_eq(fake.calls, "cl");
}
END_TEST

START_TEST(no_peers)
{
    service_drain_init(&drain, loop, "test", &conf, &without_peers, &fake);
    fake.is_idle = true;
    service_drain_begin(&drain, "test");
    run();
    ck_assert_str_eq(fake.calls, "c");
}
END_TEST

START_TEST(the_delay_comes_first)
{
    conf.drain_delay_secs = 1;
    fake.is_idle = fake.is_gone = true;
    service_drain_begin(&drain, "test");
    ck_assert_int_eq(drain.state, DRAIN_ANNOUNCED);
    ck_assert_str_eq(fake.calls, "");
    ck_assert_uint_ge(run(), 990);
    ck_assert_str_eq(fake.calls, "cl");
}
END_TEST

static void on_second(struct deadline *d)
{
    (void)d;
    service_drain_signal(&drain, SIGTERM);
}

/* In one turn of the loop, which has one time. */
static void on_twins(struct ready *ready)
{
    (void)ready;
    service_drain_signal(&drain, SIGINT);
    service_drain_signal(&drain, SIGTERM); /* the twin */
    ck_assert_int_eq(drain.state, DRAIN_ANNOUNCED);
    deadline_set(&later, DRAIN_SECOND_MS);
}

START_TEST(a_second_signal)
{
    struct ready twins;

    conf.drain_delay_secs = 3600;
    deadline_init(&later, loop, on_second);
    ready_init(&twins, on_twins);
    loop_again(loop, &twins);
    ck_assert_uint_ge(run(), DRAIN_SECOND_MS - 10);
    ck_assert_str_eq(fake.calls, "");
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("states");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, nothing_is_open);
    tcase_add_test(tcase, what_is_open_finishes);
    tcase_add_test(tcase, but_not_for_ever);
    tcase_add_test(tcase, no_time_at_all);
    tcase_add_test(tcase, peers_that_do_not_go);
    tcase_add_test(tcase, no_peers);
    tcase_add_test(tcase, the_delay_comes_first);
    tcase_add_test(tcase, a_second_signal);
    return suite_run("admin_service_drain", tcase);
}
