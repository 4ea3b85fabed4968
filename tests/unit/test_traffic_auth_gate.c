/* Credentials of requests on one worker: who may pass, who has to wait, what is remembered. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/suite.h"
#include "traffic/auth_gate.h"
#include "traffic/pass_hash.h"
#include "traffic/traffic_worker_internal.h"

#define GOOD    "Basic YWxpY2U6czM6Y3JldA==" /* alice, s3:cret */
#define WRONG   "Basic YWxpY2U6d3Jvbmc="     /* alice, wrong */
#define NOBODY  "Basic Ym9iOnMzOmNyZXQ="     /* bob, s3:cret */
#define RUBBISH "Basic !"

static struct auth_key key;
static struct traffic_settings settings;
static struct traffic_worker worker;
static struct route route;
static struct auth_check check;
static enum traffic_reason told;
static unsigned verdicts;

static void setup(void)
{
    memset(&worker, 0, sizeof(worker));
    memset(&check, 0, sizeof(check));
    settings = (struct traffic_settings){.auth = {.failures = 3, .cache_secs = 60}};
    worker.loop = loop_new("test", 0, 4);
    worker.settings = &settings;
    ck_assert_int_eq(auth_pool_new(&worker.auth_pool, 1, 4), 0);
    auth_key_init(&key);
    route = (struct route){.host = "a.test", .auth = route_auth_new(&key, "alice", "s3:cret", 7)};
    verdicts = 0;
}

static void teardown(void)
{
    auth_pool_free(worker.auth_pool);
    auth_gate_fini(&worker.auth);
    route_auth_free(route.auth);
    loop_free(worker.loop);
}

static void hash_it(void)
{
    char hash[PASS_HASH_MAX];

    ck_assert_int_eq(pass_hash_make("sha512", "s3:cret", hash, sizeof(hash)), 0);
    route_auth_free(route.auth);
    route.auth = route_auth_new_hashed(&key, "alice", hash);
}

static void on_verdict(struct auth_check *c, enum traffic_reason reason)
{
    ck_assert_ptr_eq(c, &check);
    told = reason;
    verdicts++;
    loop_stop(worker.loop);
}

/* What becomes of a request, the verdict of a pool included. */
static enum traffic_reason ask(const char *value, const char *address)
{
    static struct http_request r;
    enum traffic_reason reason;
    bool waits;

    r.authorization_count = value != NULL;
    r.authorization = (struct http_text){value, value ? strlen(value) : 0};
    check.on_verdict = on_verdict;
    reason = auth_gate_ask(&worker, &route, &r, address, &check, &waits);
    if (!waits)
        return reason;
    ck_assert_int_eq(reason, REASON_NONE);
    loop_run(worker.loop);
    return told;
}

START_TEST(who_may_pass)
{
    if (_i)
        hash_it();
    ck_assert_int_eq(ask(NULL, "192.0.2.1"), REASON_AUTH_REQUIRED);
    ck_assert_int_eq(ask(RUBBISH, "192.0.2.1"), REASON_AUTH_FAILED);
    ck_assert_int_eq(ask(WRONG, "192.0.2.1"), REASON_AUTH_FAILED);
    ck_assert_int_eq(ask(NOBODY, "192.0.2.1"), REASON_AUTH_FAILED);
    ck_assert_int_eq(ask(GOOD, "192.0.2.1"), REASON_NONE);
    route_auth_free(route.auth);
    route.auth = NULL;
    ck_assert_int_eq(ask(NULL, "192.0.2.1"), REASON_NONE);
}
END_TEST

/* Three wrong ones, and the address has to wait; the others don't. */
START_TEST(guessing)
{
    if (_i)
        hash_it();
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ask(WRONG, "2001:db8::1"), REASON_AUTH_FAILED);
    ck_assert_int_eq(ask(GOOD, "2001:db8::1"), REASON_AUTH_BACKOFF);
    ck_assert_int_eq(ask(GOOD, "2001:db8::2:3"), REASON_AUTH_BACKOFF); /* the same /64 */
    ck_assert_int_eq(ask(GOOD, "2001:db8:0:1::1"), REASON_NONE);
    ck_assert_int_eq(ask(NULL, "2001:db8::1"), REASON_AUTH_REQUIRED);
    settings.auth.failures = 0;
    ck_assert_int_eq(ask(GOOD, "2001:db8::1"), REASON_NONE);
}
END_TEST

/* One that is right begins anew. */
START_TEST(success_forgives)
{
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(ask(i % 3 == 2 ? GOOD : WRONG, "192.0.2.1"),
                         i % 3 == 2 ? REASON_NONE : REASON_AUTH_FAILED);
}
END_TEST

/* Not what is wrong at another route. */
START_TEST(success_forgives_at_its_own_route)
{
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(ask(WRONG, "192.0.2.1"), REASON_AUTH_FAILED);
        route.host = "b.test";
        ck_assert_int_eq(ask(GOOD, "192.0.2.1"), REASON_NONE);
        route.host = "a.test";
    }
    ck_assert_int_eq(ask(GOOD, "192.0.2.1"), REASON_AUTH_BACKOFF);
}
END_TEST

START_TEST(a_right_one_is_remembered)
{
    hash_it();
    ck_assert_int_eq(ask(GOOD, "192.0.2.1"), REASON_NONE);
    ck_assert_uint_eq(verdicts, 1);
    ck_assert_int_eq(ask(GOOD, "192.0.2.1"), REASON_NONE);
    ck_assert_uint_eq(verdicts, 1);
    ck_assert_int_eq(ask(WRONG, "192.0.2.1"), REASON_AUTH_FAILED);
    ck_assert_uint_eq(verdicts, 2);
    ck_assert_int_eq(ask(WRONG, "192.0.2.1"), REASON_AUTH_FAILED); /* a wrong one is not */
    ck_assert_uint_eq(verdicts, 3);
    hash_it(); /* the same password, another hash: another route's, say */
    ck_assert_int_eq(ask(GOOD, "192.0.2.9"), REASON_NONE);
    ck_assert_uint_eq(verdicts, 4);
    settings.auth.cache_secs = 0;
    hash_it();
    ck_assert_int_eq(ask(GOOD, "192.0.2.9"), REASON_NONE);
    ck_assert_int_eq(ask(GOOD, "192.0.2.9"), REASON_NONE);
    ck_assert_uint_eq(verdicts, 6);
}
END_TEST

START_TEST(the_line_is_full)
{
    static struct http_request r = {.authorization_count = 1, .authorization = {WRONG, 22}};
    struct auth_check many[20];
    enum traffic_reason reason = REASON_NONE;
    bool waits;
    unsigned i = 0;

    hash_it();
    memset(many, 0, sizeof(many));
    for (; i < 20 && reason == REASON_NONE; i++) {
        many[i].on_verdict = on_verdict;
        reason = auth_gate_ask(&worker, &route, &r, "192.0.2.1", &many[i], &waits);
        auth_check_cancel(&many[i]);
    }
    ck_assert_int_eq(reason, REASON_AUTH_BUSY);
    ck_assert_uint_gt(i, 4);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("gate");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, who_may_pass, 0, 2);
    tcase_add_loop_test(tcase, guessing, 0, 2);
    tcase_add_test(tcase, success_forgives);
    tcase_add_test(tcase, success_forgives_at_its_own_route);
    tcase_add_test(tcase, a_right_one_is_remembered);
    tcase_add_test(tcase, the_line_is_full);
    return suite_run("traffic_auth_gate", tcase);
}
