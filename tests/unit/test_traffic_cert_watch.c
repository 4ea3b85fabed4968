/* Certificates that end: who is told of, when, and how often. */
#include "traffic/cert_watch.h"

#include "support/suite.h"
#include "traffic/route_json.h"
#include "traffic_h1_fixture.h"
#include "traffic_route_fixture.h"
#include "json/json.h"

#define A_TEST_ENDS 4070908800 /* 2099-01-01 */
#define DAY         86400

static struct loop *loop;
static struct cert_watch watch;
static struct auth_key key;
static char told[4096];
static unsigned count;

static void on_notice(struct cert_watch *w, const struct cert_notice *n)
{
    size_t at = strlen(told);

    ck_assert_ptr_eq(w, &watch);
    count++;
    if (at < sizeof(told) / 2)
        snprintf(told + at, sizeof(told) - at, "%s%s %lld%s", at > 0 ? ", " : "", n->host,
                 (long long)n->days_left, n->is_expired ? " expired" : "");
}

/* What was told since. */
static const char *heard(void)
{
    static char out[sizeof(told)];

    memcpy(out, told, sizeof(told));
    told[0] = '\0';
    return out;
}

static void setup(void)
{
    told[0] = '\0';
    count = 0;
    auth_key_init(&key);
    loop = loop_new("test", 4, 0);
    cert_watch_init(&watch, loop, 14, on_notice);
}

static void teardown(void)
{
    cert_watch_fini(&watch);
    cert_watch_fini(&watch); /* fine twice */
    loop_free(loop);
}

static void add_route(struct json_object *list, const char *host, const char *chain,
                      const char *key_pem)
{
    struct json_object *o = json_object_new_object(), *ips = json_object_new_array(),
                       *ports = json_object_new_array();

    json_object_array_add(ips, json_object_new_string("127.0.0.1"));
    json_object_array_add(ports, json_object_new_int(1));
    json_object_object_add(o, "hostName", json_object_new_string(host));
    json_object_object_add(o, "destinationIps", ips);
    json_object_object_add(o, "destinationPorts", ports);
    json_object_object_add(o, "publicKey", json_object_new_string(chain));
    json_object_object_add(o, "privateKey", json_object_new_string(key_pem));
    json_object_array_add(list, o);
}

/* Takes the list over, and puts it into force. */
static void take(struct json_object *list, int64_t now)
{
    struct route_build b;
    struct route_set *set;

    route_build_init(&b, &key, watch.set);
    set = route_json_parse(&b, list);
    ck_assert_ptr_nonnull(set);
    route_build_fini(&b);
    json_object_put(list);
    cert_watch_take(&watch, set, now);
    route_set_unref(set);
}

START_TEST(told_when_it_comes_and_once_a_day)
{
    struct json_object *list = json_object_new_array();
    int64_t now = A_TEST_ENDS - 10 * DAY;

    add_route(list, "a.test", a_test_chain, a_test_key);
    add_route(list, "old.test", expired_chain, expired_key);
    take(json_object_get(list), now);
    ck_assert_str_eq(heard(), "a.test 10, old.test 0 expired");
    ck_assert_uint_eq(watch.expiring, 1);
    ck_assert_uint_eq(watch.expired, 1);
    /* The next set: only what is new in it. */
    add_route(list, "b.test", a_test_chain, a_test_key);
    take(json_object_get(list), now);
    ck_assert_str_eq(heard(), "b.test 10");
    take(list, now);
    ck_assert_str_eq(heard(), "");
    ck_assert_uint_eq(watch.expiring, 2);
    cert_watch_look(&watch, now + DAY + 1);
    ck_assert_str_eq(heard(), "a.test 8, old.test 0 expired, b.test 8");
    cert_watch_look(&watch, A_TEST_ENDS); /* its last second is over */
    ck_assert_str_eq(heard(), "a.test 0 expired, old.test 0 expired, b.test 0 expired");
    ck_assert_uint_eq(watch.expired, 3);
}
END_TEST

START_TEST(as_early_as_configured)
{
    static const struct {
        int64_t days, left_secs;
        const char *told;
    } rows[] = {
        {14, 14 * DAY + 1, ""},     {14, 14 * DAY, "a.test 14"}, {0, 1, ""},
        {0, 0, "a.test 0 expired"}, {30, 20 * DAY, "a.test 20"}, {3650, 3650ll * DAY + 1, ""},
        {14, DAY - 1, "a.test 0"},
    };
    struct json_object *list = json_object_new_array();

    watch.warn_days = rows[_i].days;
    add_route(list, "a.test", a_test_chain, a_test_key);
    take(list, A_TEST_ENDS - rows[_i].left_secs);
    ck_assert_str_eq(heard(), rows[_i].told);
    ck_assert_uint_eq(watch.good + watch.expiring + watch.expired, 1);
}
END_TEST

/* A look a day: the deadline sets itself anew. */
START_TEST(the_daily_look)
{
    struct json_object *list = json_object_new_array();

    add_route(list, "old.test", expired_chain, expired_key);
    take(list, A_TEST_ENDS);
    heard();
    for (unsigned day = 0; day < 3; day++) {
        uint64_t in_ms = watch.daily.due_ms - loop_now_ms(loop);

        ck_assert_uint_le(in_ms, CERT_WATCH_EVERY_MS);
        ck_assert_uint_gt(in_ms, CERT_WATCH_EVERY_MS - 60000);
        deadline_off(&watch.daily);
        watch.daily.on_due(&watch.daily);
        ck_assert_str_eq(heard(), "old.test 0 expired");
    }
}
END_TEST

START_TEST(not_more_than_so_many)
{
    struct json_object *list = json_object_new_array();
    char host[32];

    for (unsigned i = 0; i < CERT_WATCH_TOLD_MAX + 44; i++) {
        snprintf(host, sizeof(host), "h%u.test", i);
        add_route(list, host, expired_chain, expired_key);
    }
    take(list, A_TEST_ENDS);
    ck_assert_uint_eq(count, CERT_WATCH_TOLD_MAX);
    ck_assert_uint_eq(watch.untold, 44);
    ck_assert_uint_eq(watch.expired, CERT_WATCH_TOLD_MAX + 44);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("certificates");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, told_when_it_comes_and_once_a_day);
    tcase_add_loop_test(tcase, as_early_as_configured, 0, 7);
    tcase_add_test(tcase, the_daily_look);
    tcase_add_test(tcase, not_more_than_so_many);
    return suite_run("traffic/cert_watch", tcase);
}
