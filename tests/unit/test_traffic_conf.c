/* The table of keys: defaults are good, wrong values are named. */
#include <check.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/suite.h"
#include "traffic/traffic_conf.h"
#include "json/json.h"

static char *no_environment[] = {NULL};

static int read_sets(const char *const *sets, struct traffic_conf *conf, struct json_check *faults)
{
    memset(conf, 0, sizeof(*conf));
    json_check_init(faults);
    return conf_read(&traffic_conf_table, NULL, no_environment, sets, conf, faults);
}

START_TEST(defaults)
{
    struct traffic_conf conf;
    struct json_check faults;

    ck_assert_int_eq(read_sets((const char *const[]){NULL}, &conf, &faults), 0);
    ck_assert_str_eq(conf.http_listen, "[::]:7999");
    ck_assert_str_eq(conf.https_listen, "[::]:8000");
    ck_assert_int_eq(conf.http_redirect_port, 443);
    ck_assert_int_eq((int)json_object_array_length(conf.proxy_trusted), 0);
    ck_assert_str_eq(conf.routes_file, "");
    ck_assert_str_eq(conf.coreflow_url, "");
    ck_assert_str_eq(conf.coreflow_ca_file, "");
    ck_assert_int_eq(conf.timeouts.coreflow_handshake_secs, 10);
    ck_assert_int_eq(conf.timeouts.coreflow_ping_secs, 20);
    ck_assert_int_eq(conf.timeouts.coreflow_pong_secs, 10);
    ck_assert_int_eq(conf.timeouts.coreflow_message_secs, 120);
    ck_assert_int_eq(conf.limits.coreflow_answers, 16);
    ck_assert_str_eq(conf.version_header, "servezone_coretraffic_version");
    ck_assert_int_eq(conf.timeouts.handshake_secs, 10);
    ck_assert_int_eq(conf.timeouts.header_secs, 10);
    ck_assert_int_eq(conf.timeouts.body_idle_secs, 60);
    ck_assert_int_eq(conf.timeouts.idle_secs, 75);
    ck_assert_int_eq(conf.timeouts.connect_secs, 5);
    ck_assert_int_eq(conf.timeouts.upgrade_idle_secs, 3600);
    ck_assert_int_eq(conf.limits.connections, 65536);
    ck_assert_int_eq(conf.limits.header_bytes, 16384);
    ck_assert_int_eq(conf.limits.header_fields, 100);
    ck_assert_int_eq(conf.limits.routes_bytes, 64 << 20);
    ck_assert_str_eq(conf.service.management_listen, "127.0.0.1:9003");
    ck_assert_str_eq(conf.service.state_dir, "/var/lib/penstock/traffic");
    ck_assert(conf.log_access);
    ck_assert_int_eq(conf.log_access_format, ACCESS_JSON);
    ck_assert(conf.generate_request_id);
    conf_free(&traffic_conf_table, &conf);
    json_check_fini(&faults);
}
END_TEST

static const struct {
    const char *set, *pointer; /* NULL: it is taken */
} rows[] = {
    {"http.listen=127.0.0.1:0", NULL},
    {"http.listen=", "/http/listen"},
    {"https.listen=nowhere", "/https/listen"},
    {"http.redirectPort=0", "/http/redirectPort"},
    {"http.redirectPort=65536", "/http/redirectPort"},
    {"proxyProtocol.trusted=[\"10.0.0.0/8\",\"::1\",\"hub\",\"my_hub.local\"]", NULL},
    {"proxyProtocol.trusted=[\"10.0.0.0/33\"]", "/proxyProtocol/trusted/0"},
    {"proxyProtocol.trusted=[\"10.0.0\"]", "/proxyProtocol/trusted/0"},
    {"proxyProtocol.trusted=[\"::1\",7]", "/proxyProtocol/trusted/1"},
    {"proxyProtocol.trusted=[\"a b\"]", "/proxyProtocol/trusted/0"},
    {"proxyProtocol.trusted={}", "/proxyProtocol/trusted"},
    {"versionHeader=x-version", NULL},
    {"versionHeader=x version", "/versionHeader"},
    {"versionHeader=x:y", "/versionHeader"},
    {"versionHeader=", NULL},
    {"timeouts.connectSecs=0", "/timeouts/connectSecs"},
    {"limits.headerFields=257", "/limits/headerFields"},
    {"limits.headerBytes=4096", "/limits/requestLineBytes"}, /* no longer below it */
    {"limits.routesBytes=4096", "/limits/routeBytes"},
    {"limits.waitingUpdates=0", "/limits/waitingUpdates"},
    {"drainSecs=0", NULL},
    {"drainSecs=-1", "/drainSecs"},
    {"drainDelaySecs=3601", "/drainDelaySecs"},
    {"coreflow.url=wss://flow.test", NULL},
    {"coreflow.url=http://coreflow:3000/socket?a=b", NULL},
    {"coreflow.url=", NULL},
    {"coreflow.url=coreflow:3000", "/coreflow/url"},
    {"coreflow.url=ws://user:pass@coreflow", "/coreflow/url"},
    {"coreflow.token=x", "/coreflow/token"},
    {"timeouts.coreflowPingSecs=0", "/timeouts/coreflowPingSecs"},
    {"timeouts.coreflowPongSecs=3601", "/timeouts/coreflowPongSecs"},
    {"limits.coreflowAnswers=0", "/limits/coreflowAnswers"},
};

START_TEST(values)
{
    struct traffic_conf conf;
    struct json_check faults;
    int rc = read_sets((const char *const[]){rows[_i].set, NULL}, &conf, &faults);

    if (rows[_i].pointer) {
        ck_assert_msg(rc != 0, "%s was taken", rows[_i].set);
        ck_assert_uint_eq(faults.count, 1);
        ck_assert_msg(strcmp(faults.faults[0].pointer, rows[_i].pointer) == 0 ||
                          strstr(faults.faults[0].detail, rows[_i].pointer + 1) != NULL,
                      "%s: %s %s", rows[_i].set, faults.faults[0].pointer, faults.faults[0].detail);
    } else {
        ck_assert_msg(rc == 0, "%s: %s", rows[_i].set,
                      faults.count ? faults.faults[0].detail : "?");
        conf_free(&traffic_conf_table, &conf);
    }
    json_check_fini(&faults);
}
END_TEST

/* Every limit has a unit, and what it bounds is said. */
START_TEST(limits_are_described)
{
    size_t first = offsetof(struct traffic_conf, limits);
    unsigned limits = 0;

    for (const struct conf_key *key = traffic_conf_table.keys; key->path; key++) {
        ck_assert_msg(key->doc && key->doc[0], "%s", key->path);
        if (strncmp(key->path, "limits.", 7) != 0)
            continue;
        ck_assert_msg(key->unit && key->unit[0], "%s", key->path);
        ck_assert_int_eq(key->kind, CONF_INT);
        if (key->offset >= first && key->offset < first + sizeof(struct traffic_limits))
            limits++; /* the others are in service_conf.h */
    }
    ck_assert_uint_eq(limits, sizeof(struct traffic_limits) / sizeof(int64_t));
}
END_TEST

static void on_secret(void *arg, const char *secret)
{
    char *all = arg;

    snprintf(all + strlen(all), 64 - strlen(all), "%s|", secret);
}

/* The query is whom Coreflow knows us by: it is shown nowhere. */
START_TEST(the_query_of_a_url_is_a_secret)
{
    struct traffic_conf conf;
    struct json_check faults;
    struct json_object *shown, *part = NULL;
    char all[64] = "";

    ck_assert_int_eq(
        read_sets((const char *const[]){"coreflow.url=wss://flow.test/ws?token=abc&x&y=d=e", NULL},
                  &conf, &faults),
        0);
    shown = conf_emit(&traffic_conf_table, &conf);
    ck_assert_ptr_null(strstr(json_object_to_json_string(shown), "abc"));
    json_object_object_get_ex(shown, "coreflow", &part);
    json_object_object_get_ex(part, "url", &part);
    ck_assert_str_eq(json_object_get_string(part), "wss://flow.test/ws?***");
    json_object_put(shown);
    conf_each_secret(&traffic_conf_table, &conf, on_secret, all);
    ck_assert_str_eq(all, "abc|x|d=e|");
    conf_free(&traffic_conf_table, &conf);
    json_check_fini(&faults);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("conf");

    tcase_add_test(tcase, defaults);
    tcase_add_loop_test(tcase, values, 0, (int)(sizeof(rows) / sizeof(rows[0])));
    tcase_add_test(tcase, limits_are_described);
    tcase_add_test(tcase, the_query_of_a_url_is_a_secret);
    return suite_run("traffic_conf", tcase);
}
