/* What `penstock-traffic check` makes of the routes: each fault, each certificate, each destination
 * once; and of Coreflow's address. (Beside real origins: e2e/test_check.py.) */
#include "doctor_fixture.h"

#include "base/log.h"
#include "doctor/reach.h"
#include "loop/addr.h"
#include "loop/listener.h"
#include "traffic/traffic_check.h"
#include "traffic/traffic_conf.h"
#include "unit/traffic_route_fixture.h"
#include "json/json.h"

static char *routes_path;
static struct json_object *routes;

static struct json_object *route(const char *host, const char *chain, const char *key)
{
    struct json_object *one = json_object_new_object();

    json_object_object_add(one, "hostName", json_object_new_string(host));
    json_object_object_add(one, "publicKey", json_object_new_string(chain));
    json_object_object_add(one, "privateKey", json_object_new_string(key));
    json_object_object_add(one, "destinationIps", json_object_new_array());
    json_object_object_add(one, "destinationPorts", json_object_new_array());
    json_object_array_add(routes, one);
    return one;
}

static void leads_to(struct json_object *one, const char *ip, unsigned port)
{
    if (ip)
        json_object_array_add(json_object_object_get(one, "destinationIps"),
                              json_object_new_string(ip));
    if (port)
        json_object_array_add(json_object_object_get(one, "destinationPorts"),
                              json_object_new_int((int)port));
}

static void routes_begin(void)
{
    routes = json_object_new_array();
}

static void check(const char *coreflow_url)
{
    static char *none[] = {NULL};
    char state[100], file[120];
    const char *const sets[] = {"management.listen=127.0.0.1:0",
                                "http.listen=127.0.0.1:0",
                                "https.listen=127.0.0.1:0",
                                state,
                                file,
                                NULL};
    struct traffic_conf conf = {0};
    struct json_check faults;

    log_init(LOG_TEXT, LOG_ERR, 2);
    snprintf(state, sizeof(state), "stateDir=%s", folder);
    routes_path = must_printf("%s/routes.json", folder);
    snprintf(file, sizeof(file), "routesFile=%s", routes ? routes_path : "");
    if (routes) {
        struct json_object *top = json_object_new_object();

        json_object_object_add(top, "routes", routes);
        ck_assert_int_eq(json_object_to_file(routes_path, top), 0);
        json_object_put(top);
        routes = NULL;
    }
    json_check_init(&faults);
    ck_assert_msg(conf_read(&traffic_conf_table, NULL, none, sets, &conf, &faults) == 0, "%s: %s",
                  faults.faults[0].pointer, faults.faults[0].detail);
    json_check_fini(&faults);
    if (coreflow_url) { /* not by the table, which takes no wrong one */
        free(conf.coreflow_url);
        conf.coreflow_url = must_strdup(coreflow_url);
    }
    traffic_check(&r, &conf);
    conf_free(&traffic_conf_table, &conf);
    free(routes_path);
}

static int listening(uint16_t *port)
{
    union addr at, bound;
    int fd;

    ck_assert_int_eq(addr_parse_host(&at, "127.0.0.1", 0), 0);
    ck_assert_int_eq(listen_bind(&at, 1, &fd, &bound), 0);
    *port = addr_port(&bound);
    return fd;
}

START_TEST(no_file)
{
    check(NULL);
    ck_assert_ptr_null(find(&r, "routes"));
    ck_assert_ptr_null(find(&r, "destination"));
    ck_assert_ptr_null(find(&r, "coreflow.url"));
    ck_assert_ptr_nonnull(find(&r, "http.listen"));
    ck_assert_ptr_nonnull(find(&r, "https.listen"));
}
END_TEST

/* Every fault is a finding that fails, and names its place; of a file with a fault nothing is
 * tried. */
START_TEST(faults)
{
    struct json_object *one;
    unsigned seen = 0;

    routes_begin();
    leads_to(route("a.test", a_test_chain, a_test_key), "127.0.0.1", 70000);
    one = route("a b", a_test_chain, a_test_key);
    leads_to(one, "127.0.0.1", 80);
    check(NULL);
    ck_assert_uint_ge(count_of(&r, "routes"), 2);
    for (size_t i = 0; i < r.count; i++) {
        const struct finding *f = &r.findings[i];

        ck_assert_ptr_null(strstr(f->seen, "PRIVATE"));
        if (strcmp(f->name, "routes") != 0)
            continue;
        ck_assert_int_eq(f->verdict, REPORT_FAIL);
        ck_assert_int_eq(strncmp(f->seen, "routesFile ", 11), 0);
        seen += strstr(f->seen, "/routes/0/destinationPorts/0") != NULL;
        seen += strstr(f->seen, "/routes/1/hostName") != NULL;
    }
    ck_assert_uint_eq(seen, 2);
    ck_assert_ptr_null(find(&r, "destination"));
    ck_assert_ptr_null(find(&r, "certificate a.test"));
}
END_TEST

/* A certificate for each route, and one finding more for a name that it does not cover; a wildcard
 * is asked for its time alone. */
START_TEST(certificates)
{
    routes_begin();
    leads_to(route("a.test", a_test_chain, a_test_key), "127.0.0.1", 9);
    leads_to(route("*.a.test", a_test_chain, a_test_key), "127.0.0.1", 9);
    leads_to(route("old.test", expired_chain, expired_key), "127.0.0.1", 9);
    leads_to(route("new.test", future_chain, future_key), "127.0.0.1", 9);
    check(NULL);
    ck_assert_ptr_nonnull(find(&r, "routes"));
    ck_assert_int_eq(only(&r, "certificate a.test")->verdict, REPORT_OK);
    ck_assert_int_eq(only(&r, "certificate *.a.test")->verdict, REPORT_OK);
    ck_assert_int_ne(only(&r, "certificate old.test")->verdict, REPORT_OK);
    ck_assert_int_ne(only(&r, "certificate new.test")->verdict, REPORT_OK);
    ck_assert_uint_eq(count_of(&r, "destination"), 1); /* of four routes */
}
END_TEST

START_TEST(destinations)
{
    uint16_t port, nobody;
    int fd;
    struct json_object *one;
    unsigned good = 0, bad = 0;

    close(listening(&nobody));
    fd = listening(&port);
    routes_begin();
    one = route("a.test", a_test_chain, a_test_key);
    leads_to(one, "127.0.0.1", port);
    leads_to(one, NULL, nobody);
    one = route("b.a.test", a_test_chain, a_test_key);
    leads_to(one, "127.0.0.1", port);
    leads_to(one, "127.0.0.2", 0);
    check(NULL);
    close(fd);
    /* 127.0.0.1 at both ports, 127.0.0.2 at one: the first of them stands in both routes */
    ck_assert_uint_eq(count_of(&r, "destination"), 3);
    for (size_t i = 0; i < r.count; i++)
        if (strcmp(r.findings[i].name, "destination") == 0) {
            good += r.findings[i].verdict == REPORT_OK;
            bad += r.findings[i].verdict == REPORT_WARN;
        }
    ck_assert_uint_eq(good, 1);
    ck_assert_uint_eq(bad, 2);
    ck_assert_int_eq(report_status(&r), 0);
}
END_TEST

START_TEST(more_destinations_than_are_tried)
{
    uint16_t nobody;

    close(listening(&nobody));
    routes_begin();
    for (unsigned i = 0; i < REACH_MAX + 7; i++) {
        char host[40], ip[20];

        snprintf(host, sizeof(host), "h%u.a.test", i);
        snprintf(ip, sizeof(ip), "127.0.%u.%u", i / 200, 1 + i % 200);
        leads_to(route(host, a_test_chain, a_test_key), ip, nobody);
    }
    check(NULL);
    ck_assert_uint_eq(count_of(&r, "destination"), REACH_MAX + 1);
    ck_assert_ptr_nonnull(strstr(r.findings[r.count - 1].seen, "7 more were not tried"));
}
END_TEST

START_TEST(coreflow)
{
    uint16_t port;
    int fd = listening(&port);
    char url[60];

    snprintf(url, sizeof(url), "ws://127.0.0.1:%u/x", port);
    check(url);
    ck_assert_int_eq(only(&r, "coreflow.url")->verdict, REPORT_OK);
    close(fd);
    report_fini(&r);
    report_init(&r, "test");
    check(url);
    ck_assert_int_eq(only(&r, "coreflow.url")->verdict, REPORT_FAIL);
    report_fini(&r);
    report_init(&r, "test");
    check("gopher://coreflow");
    ck_assert_int_eq(only(&r, "coreflow.url")->verdict, REPORT_FAIL);
    ck_assert_str_eq(only(&r, "coreflow.url")->mend, "correct it");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        no_file, faults, certificates, destinations, more_destinations_than_are_tried, coreflow};

    return run_suite("traffic check", tests, ARRAY_LEN(tests));
}
