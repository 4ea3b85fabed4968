/* The hub's part of the management API, over HTTP against a whole hub. */
#include <arpa/inet.h>

#include "hub/unix_time.h"
#include "hub_api_fixture.h"
#include "wire/token.h"

static const char *member(const char *key)
{
    struct json_object *value = NULL;

    if (!json_object_object_get_ex(call.json, key, &value))
        return "(absent)";
    return value ? json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN) : "null";
}

/* The answer's ETag as an If-Match line. */
static const char *if_match(void)
{
    static char line[128];
    const char *at = strcasestr(call.answer, "\r\nETag: ");
    size_t n;

    ck_assert_ptr_nonnull(at);
    at += strlen("\r\nETag: ");
    n = strcspn(at, "\r");
    snprintf(line, sizeof(line), "If-Match: %.*s\r\n", (int)n, at);
    return line;
}

static void setup(void)
{
    hub_up((const char *const[]){
        "edges=[{\"id\":\"e1\",\"listenPorts\":[443],\"secret\":\"" SECRET_OF_E1 "\"}]",
        "tunnel.publicHost=hub.example", "limits.edges=3",
        "target.ports={\"9\":{\"host\":\"192.0.2.1\",\"port\":9}}", NULL});
}

static void teardown(void)
{
    json_object_put(call.json);
    call.json = NULL;
    hub_down();
}

START_TEST(create_read_change_delete)
{
    char etag[128];

    ck_assert_uint_eq(ask("POST", "/v1/edges", NULL, "{\"id\":\"e2\",\"listenPorts\":[80]}"), 201);
    ck_assert_ptr_nonnull(strstr(call.answer, "Location: /v1/edges/e2\r\n"));
    ck_assert_str_eq(member("listenPorts"), "[80]");
    ck_assert_uint_eq(ask("POST", "/v1/edges", NULL, "{\"id\":\"e2\"}"), 409);
    ck_assert_uint_eq(ask("GET", "/v1/edges/e2", NULL, NULL), 200);
    snprintf(etag, sizeof(etag), "%s", if_match());
    ck_assert_uint_eq(ask("PATCH", "/v1/edges/e2?dryRun=true", etag, "{\"enabled\":false}"), 200);
    ck_assert_str_eq(member("enabled"), "false");
    ck_assert(registry_find(&hub.registry, "e2")->is_enabled);
    ck_assert_uint_eq(ask("PATCH", "/v1/edges/e2", etag, "{\"enabled\":false}"), 200);
    ck_assert(!registry_find(&hub.registry, "e2")->is_enabled);
    ck_assert_uint_eq(ask("PATCH", "/v1/edges/e2", etag, "{\"enabled\":true}"), 412);
    ck_assert_uint_eq(ask("DELETE", "/v1/edges/e2", etag, NULL), 412);
    ck_assert_uint_eq(ask("DELETE", "/v1/edges/e2?dryRun=true", NULL, NULL), 204);
    ck_assert_uint_eq(ask("DELETE", "/v1/edges/e2", NULL, NULL), 204);
    ck_assert_uint_eq(ask("DELETE", "/v1/edges/e2", NULL, NULL), 404);
    ck_assert_uint_eq(ask("GET", "/v1/edges/e2/streams", NULL, NULL), 404);
}
END_TEST

START_TEST(the_whole_set)
{
    char etag[128], secret[SECRET_MAX + 1];

    memcpy(secret, registry_find(&hub.registry, "e1")->secret, sizeof(secret));
    ck_assert_uint_eq(ask("GET", "/v1/edges", NULL, NULL), 200);
    snprintf(etag, sizeof(etag), "%s", if_match());
    ck_assert_uint_eq(ask("PUT", "/v1/edges?dryRun=true", etag, "[{\"id\":\"e3\"}]"), 200);
    ck_assert_str_eq(member("added"), "[\"e3\"]");
    ck_assert_str_eq(member("removed"), "[\"e1\"]");
    ck_assert_uint_eq(hub.registry.count, 1);
    ck_assert_uint_eq(
        ask("PUT", "/v1/edges", etag, "{\"edges\":[{\"id\":\"e1\"},{\"id\":\"e3\"}]}"), 200);
    ck_assert_str_eq(member("added"), "[\"e3\"]");
    ck_assert_str_eq(member("changed"), "[\"e1\"]"); /* its ports are not named: none */
    ck_assert_str_eq(member("removed"), "[]");
    ck_assert_str_eq(registry_find(&hub.registry, "e1")->secret, secret);
    ck_assert_uint_eq(strlen(registry_find(&hub.registry, "e3")->secret), EDGE_SECRET_MADE);
    ck_assert_uint_eq(ask("PUT", "/v1/edges", etag, "[]"), 412);
    ck_assert_uint_eq(
        ask("PUT", "/v1/edges", NULL, "[{\"id\":\"a\"},{\"id\":\"b\"},{\"id\":\"c\"}]"),
        200); /* as many as limits.edges, none of them there before */
    ck_assert_uint_eq(hub.registry.count, 3);
    ck_assert_uint_eq(ask("POST", "/v1/edges", NULL, "{\"id\":\"d\"}"), 409);
    ck_assert_str_eq(member("type"), "\"urn:penstock:problem:limit\"");
    ck_assert_uint_eq(ask("PUT", "/v1/edges", NULL,
                          "[{\"id\":\"a\"},{\"id\":\"b\"},{\"id\":\"c\"},{\"id\":\"d\"}]"),
                      422);
    ck_assert_uint_eq(counted(&hub.shared.counters.edges_refused), 2);
    ck_assert_uint_eq(ask("PUT", "/v1/edges", NULL, "{\"edges\":[],\"more\":1}"), 422);
    ck_assert_uint_eq(hub.registry.count, 3); /* nothing of a refused set is made */
}
END_TEST

START_TEST(a_port_that_leads_home)
{
    char body[64];

    snprintf(body, sizeof(body), "{\"listenPorts\":[%u]}", addr_port(&hub.tunnel_at));
    ck_assert_uint_eq(ask("PATCH", "/v1/edges/e1", NULL, body), 422);
    ck_assert_ptr_nonnull(strstr(call.body, "\"/listenPorts/0\""));
    ck_assert_ptr_nonnull(strstr(call.body, "tunnel listener"));
}
END_TEST

static void check_token(const char *host, uint16_t port)
{
    struct json_object *value;
    struct wire_why why;
    struct token t;
    uint8_t pin[PIN_BYTES];

    ck_assert(json_object_object_get_ex(call.json, "token", &value));
    ck_assert_int_eq(token_parse(&t, json_object_get_string(value), &why), 0);
    ck_assert_str_eq(t.hub_host, host);
    ck_assert_uint_eq(t.hub_port, port);
    ck_assert_str_eq(t.edge_id, "e1");
    ck_assert_str_eq(t.secret, registry_find(&hub.registry, "e1")->secret);
    tls_cert_pin(hub.cert, pin);
    ck_assert(t.has_pin);
    ck_assert_mem_eq(t.pin, pin, sizeof(pin));
    token_fini(&t);
}

START_TEST(tokens_and_secrets)
{
    char first[SECRET_MAX + 1], until[UNIX_TIME_TEXT_MAX];

    ck_assert_uint_eq(ask("POST", "/v1/edges/e1/token", NULL, NULL), 200);
    check_token("hub.example", addr_port(&hub.tunnel_at));
    ck_assert_uint_eq(
        ask("POST", "/v1/edges/e1/token", NULL, "{\"hubHost\":\"10.0.0.1\",\"hubPort\":99}"), 200);
    check_token("10.0.0.1", 99);
    ck_assert_uint_eq(ask("POST", "/v1/edges/e1/token", NULL, "{\"hubHost\":\"a b\"}"), 422);
    memcpy(first, registry_find(&hub.registry, "e1")->secret, sizeof(first));
    ck_assert_uint_eq(ask("POST", "/v1/edges/e1/secret?dryRun=true", NULL, NULL), 200);
    ck_assert_str_eq(registry_find(&hub.registry, "e1")->secret, first);
    ck_assert_uint_eq(ask("POST", "/v1/edges/e1/secret", NULL, "{\"graceSecs\":-1}"), 422);
    ck_assert_uint_eq(ask("POST", "/v1/edges/e1/secret", NULL, NULL), 200);
    check_token("hub.example", addr_port(&hub.tunnel_at));
    ck_assert_str_ne(registry_find(&hub.registry, "e1")->secret, first);
    /* what is told is what is kept, to the second */
    unix_time_format(registry_find(&hub.registry, "e1")->old_until.until_unix, until);
    ck_assert_mem_eq(member("oldSecretGoodUntil") + 1, until, strlen(until)); /* in quotes */
    ck_assert_uint_eq(ask("GET", "/v1/edges", NULL, NULL), 200);
    ck_assert_ptr_null(strstr(call.body, first));
    ck_assert_ptr_null(strstr(call.body, registry_find(&hub.registry, "e1")->secret));
    ck_assert_uint_eq(ask("GET", "/v1/config", NULL, NULL), 200);
    ck_assert_ptr_null(strstr(call.body, SECRET_OF_E1));
}
END_TEST

START_TEST(status_and_streams)
{
    struct test_lane t = {.acks = true};

    ck_assert_uint_eq(ask("GET", "/v1/edges/e1/streams", NULL, NULL), 200);
    ck_assert_str_eq(member("streams"), "[]");
    ck_assert_int_eq(lane_up(&t), ANSWER_OK);
    ck_assert_uint_eq(ask("GET", "/v1/status", NULL, NULL), 200);
    ck_assert_str_eq(member("running"), "true");
    ck_assert_ptr_nonnull(strstr(call.body, "\"edgeId\":\"e1\",\"instance\":\"here\","
                                            "\"transport\":\"tcpTls\",\"lanes\":1,"
                                            "\"remoteAddress\":\"127.0.0.1\""));
    ck_assert_uint_eq(ask("DELETE", "/v1/edges/e1/connection", NULL, NULL), 204);
    UNTIL(is_dead, &t);
    ck_assert_int_eq(t.goodbye.code, GOODBYE_KICKED);
    ck_assert_uint_eq(ask("GET", "/v1/status", NULL, NULL), 200);
    ck_assert_str_eq(member("connectedEdges"), "[]");
    lane_down(&t);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("api");

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, create_read_change_delete);
    tcase_add_test(tcase, the_whole_set);
    tcase_add_test(tcase, a_port_that_leads_home);
    tcase_add_test(tcase, tokens_and_secrets);
    tcase_add_test(tcase, status_and_streams);
    return suite_run("hub_api", tcase);
}
