/* The hub's configuration: defaults, and what several keys must agree on. */
#include "base/err.h"
#include "hub/hub_conf.h"
#include "hub/target.h"
#include "hub_fixture.h"

static char *no_environment[] = {NULL};

START_TEST(defaults)
{
    struct hub_conf conf = {0};
    struct json_check faults;

    json_check_init(&faults);
    ck_assert_int_eq(conf_read(&hub_conf_table, NULL, no_environment, NULL, &conf, &faults), 0);
    ck_assert_str_eq(conf.tunnel_listen, "[::]:8443");
    ck_assert_str_eq(conf.target_host, "127.0.0.1");
    ck_assert_int_eq(conf.target_proxy_protocol, PROXY_MODE_V1);
    ck_assert_int_eq(conf.max_lanes, 16);
    ck_assert_int_eq(conf.memory_budget, 200 * 1048576);
    ck_assert_int_eq(conf.max_window, 4 * 1048576);
    ck_assert_int_eq(conf.limits.streams, 16384);
    ck_assert_int_eq(conf.limits.handshakes, 256);
    ck_assert_int_eq(conf.limits.handshakes_per_source, 32);
    ck_assert_str_eq(conf.service.management_listen, "127.0.0.1:9001");
    conf_free(&hub_conf_table, &conf);
    json_check_fini(&faults);
}
END_TEST

static const struct {
    const char *set, *pointer;
} faulty[] = {
    {"tunnel.transports=[\"tls\",\"sctp\"]", "/tunnel/transports"},
    {"tunnel.transports=[]", "/tunnel/transports"},
    {"tunnel.transports=5", "/tunnel/transports"},
    {"tunnel.certFile=/a.pem", "/tunnel/keyFile"},
    {"tunnel.publicHost=a b", "/tunnel/publicHost"},
    {"tunnel.maxLanes=0", "/tunnel/maxLanes"},
    {"target.host=a b", "/target/host"},
    {"target.ports={\"x\":1}", "/target/ports/x"},
    {"target.ports={\"80\":\"x\"}", "/target/ports/80"},
    {"target.proxyProtocol=v3", "/target/proxyProtocol"},
    {"edges={}", "/edges"},
    {"edges=[{\"id\":\"a\"},{\"id\":\"a\"}]", "/edges/1/id"},
    {"edges=[{\"id\":\"a\",\"secret\":\"0123456789012345678901\"}]", "/edges"}, /* argv is public */
    {"edges=[{\"id\":\"a\",\"listenPortsUdp\":[53,53]}]", "/edges/0/listenPortsUdp/1"},
    {"target.portsUdp={\"53\":{\"port\":53,\"proxyProtocol\":\"v1\"}}",
     "/target/portsUdp/53/proxyProtocol"},
    {"target.proxyProtocolUdp=v2", "/target/proxyProtocolUdp"},
    {"limits.udpQueueBytes=65507", "/limits/udpQueueBytes"},
    {"limits.edges=0", "/limits/edges"},
    {"nonsense=1", ""},
};

START_TEST(refuses)
{
    const char *const sets[] = {faulty[_i].set, NULL};
    struct hub_conf conf = {0};
    struct json_check faults;

    json_check_init(&faults);
    ck_assert_int_eq(conf_read(&hub_conf_table, NULL, no_environment, sets, &conf, &faults),
                     -ERR_SYNTAX);
    ck_assert_uint_eq(faults.total, 1);
    if (*faulty[_i].pointer)
        ck_assert_str_eq(faults.faults[0].pointer, faulty[_i].pointer);
    json_check_fini(&faults);
}
END_TEST

START_TEST(a_secret_and_its_file_exclude_each_other)
{
    char *environment[] = {"PENSTOCK_EDGES=[{\"id\":\"a\",\"secret\":\"0123456789012345678901\","
                           "\"secretFile\":\"/x\"}]",
                           NULL};
    struct hub_conf conf = {0};
    struct json_check faults;

    json_check_init(&faults);
    ck_assert_int_eq(conf_read(&hub_conf_table, NULL, environment, NULL, &conf, &faults),
                     -ERR_SYNTAX);
    ck_assert_uint_eq(faults.total, 1);
    ck_assert_str_eq(faults.faults[0].pointer, "/edges/0/secretFile");
    json_check_fini(&faults);
}
END_TEST

START_TEST(secrets_of_edges_are_masked)
{
    char *environment[] = {
        "PENSTOCK_EDGES=[{\"id\":\"a\",\"secret\":\"hush-hush-hush-hush-hush\"}]", NULL};
    struct hub_conf conf = {0};
    struct json_check faults;
    struct json_object *shown;

    json_check_init(&faults);
    ck_assert_int_eq(conf_read(&hub_conf_table, NULL, environment, NULL, &conf, &faults), 0);
    shown = conf_emit(&hub_conf_table, &conf);
    ck_assert_ptr_null(strstr(json_object_to_json_string(shown), "hush"));
    ck_assert_ptr_nonnull(strstr(json_object_to_json_string(shown), "\"id\": \"a\""));
    /* What is in force is not touched. */
    ck_assert_ptr_nonnull(strstr(json_object_to_json_string(conf.edges), "hush"));
    json_object_put(shown);
    conf_free(&hub_conf_table, &conf);
    json_check_fini(&faults);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("conf");

    tcase_add_test(tcase, defaults);
    tcase_add_loop_test(tcase, refuses, 0, (int)(sizeof(faulty) / sizeof(faulty[0])));
    tcase_add_test(tcase, a_secret_and_its_file_exclude_each_other);
    tcase_add_test(tcase, secrets_of_edges_are_masked);
    return suite_run("hub_conf", tcase);
}
