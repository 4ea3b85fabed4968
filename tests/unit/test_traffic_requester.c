/* Tests of requester: the name of the handshake and its route, through a change of routes. */
#include "traffic/requester.h"

#include "support/suite.h"
#include "traffic_h1_fixture.h"
#include "traffic_h2_fixture.h"

static struct h2_rig rig;

static void setup(void)
{
    struct traffic_conf conf = h2_rig_conf();

    h2_rig_init(&rig, &conf);
}

static void teardown(void)
{
    h2_rig_fini(&rig);
}

static enum traffic_reason check(const char *authority)
{
    return requester_check(&rig.client.requester, (struct http_text){authority, strlen(authority)});
}

START_TEST(names)
{
    ck_assert_int_eq(check("a.test"), REASON_NONE);
    ck_assert_int_eq(check("A.TEST"), REASON_NONE);
    ck_assert_int_eq(check("a.test.:8443"), REASON_NONE);
    ck_assert_int_eq(check("b.test"), REASON_MISDIRECTED);
    ck_assert_int_eq(check("x.a.test"), REASON_MISDIRECTED);
    ck_assert_int_eq(check("a..test"), REASON_HOST_INVALID);
    rig.client.requester.sni = "b.test"; /* it had a route at the handshake */
    requester_forget_route(&rig.client.requester);
    ck_assert_int_eq(check("b.test"), REASON_NO_ROUTE);
    rig.client.requester.sni = "a.test";
}
END_TEST

START_TEST(a_change_of_routes)
{
    struct requester *q = &rig.client.requester;
    const struct route *route = requester_route(q);
    unsigned users = rig.worker->hold->users;

    ck_assert_ptr_nonnull(route);
    ck_assert_ptr_eq(requester_route(q), route); /* looked up once */
    ck_assert_uint_eq(rig.worker->hold->users, users);
    requester_forget_route(q);
    ck_assert_uint_eq(rig.worker->hold->users, users - 1);
    requester_forget_route(q);
    ck_assert_ptr_eq(requester_route(q), route);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("names");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, names);
    tcase_add_test(tcase, a_change_of_routes);
    return suite_run("traffic/requester", tcase);
}
