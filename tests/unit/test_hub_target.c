/* Targets: the map of ports, its faults, the header in front of a stream. */
#include "base/err.h"
#include "hub/own_listeners.h"
#include "hub/target.h"
#include "hub_fixture.h"
#include "wire/proxy.h"

static struct target_map *map_of(const char *ports)
{
    struct json_object *obj = json_of(ports);
    struct target_map *map = NULL;
    struct json_check faults;

    json_check_init(&faults);
    ck_assert_int_eq(
        target_map_parse(&map, "10.0.0.7", PROXY_MODE_V1, obj, &faults, "/target/ports"), 0);
    json_check_fini(&faults);
    json_object_put(obj);
    return map;
}

START_TEST(finds)
{
    static const struct {
        uint16_t port;
        const char *host;
        uint16_t to;
        enum proxy_mode mode;
    } rows[] = {
        {80, "10.0.0.7", 7999, PROXY_MODE_V1},       {443, "10.0.0.8", 8000, PROXY_MODE_V2},
        {25, "mail.internal", 2525, PROXY_MODE_OFF}, {53, "10.0.0.7", 5353, PROXY_MODE_V1},
        {8080, "10.0.0.7", 8080, PROXY_MODE_V1}, /* not named: the same number */
        {65535, "10.0.0.7", 1, PROXY_MODE_V1},
    };
    struct target_map *map = map_of(
        "{\"80\":7999,\"443\":{\"host\":\"10.0.0.8\",\"port\":8000,\"proxyProtocol\":\"v2\"},"
        "\"25\":{\"host\":\"mail.internal\",\"port\":2525,\"proxyProtocol\":\"off\"},"
        "\"53\":{\"port\":5353},\"65535\":1}");
    struct target t = target_map_find(map, rows[_i].port);

    ck_assert_str_eq(t.host, rows[_i].host);
    ck_assert_uint_eq(t.port, rows[_i].to);
    ck_assert_int_eq(t.mode, rows[_i].mode);
    target_map_free(map);
}
END_TEST

static const struct {
    const char *ports, *pointer, *code;
} faulty[] = {
    {"[]", "/target/ports", "type"},
    {"{\"0\":1}", "/target/ports/0", "invalid"},
    {"{\"65536\":1}", "/target/ports/65536", "invalid"},
    {"{\"080\":1}", "/target/ports/080", "invalid"},
    {"{\"http\":1}", "/target/ports/http", "invalid"},
    {"{\"80\":0}", "/target/ports/80", "range"},
    {"{\"80\":65536}", "/target/ports/80", "range"},
    {"{\"80\":\"7999\"}", "/target/ports/80", "type"},
    {"{\"80\":{}}", "/target/ports/80/port", "required"},
    {"{\"80\":{\"port\":1,\"hots\":\"a\"}}", "/target/ports/80/hots", "unknown"},
    {"{\"80\":{\"port\":1,\"host\":\"a b\"}}", "/target/ports/80/host", "invalid"},
    {"{\"80\":{\"port\":1,\"proxyProtocol\":\"v3\"}}", "/target/ports/80/proxyProtocol", "invalid"},
};

START_TEST(refuses)
{
    struct json_object *obj = json_of(faulty[_i].ports);
    struct target_map *map = NULL;
    struct json_check faults;

    json_check_init(&faults);
    ck_assert_int_eq(
        target_map_parse(&map, "10.0.0.7", PROXY_MODE_V1, obj, &faults, "/target/ports"),
        -ERR_SYNTAX);
    ck_assert_ptr_null(map);
    ck_assert_msg(has_fault(&faults, faulty[_i].pointer, faulty[_i].code), "%s at %s",
                  faults.faults[0].code, faults.faults[0].pointer);
    ck_assert_uint_eq(faults.total, 1);
    json_check_fini(&faults);
    json_object_put(obj);
}
END_TEST

START_TEST(own_listener_is_a_fault)
{
    struct target_map *map = map_of("{\"80\":7999,\"81\":{\"host\":\"localhost\",\"port\":9001}}");
    struct own_listeners own;
    struct json_check faults;
    union addr at;

    own_listeners_init(&own);
    ck_assert_int_eq(addr_parse(&at, "127.0.0.1:9001"), 0);
    own_listeners_add(&own, &at, "management");
    json_check_init(&faults);
    target_map_check_own(map, &own, &faults, "/target/ports");
    ck_assert_uint_eq(faults.total, 1);
    ck_assert(has_fault(&faults, "/target/ports/81", "conflict"));
    json_check_fini(&faults);
    target_map_free(map);
}
END_TEST

START_TEST(headers)
{
    struct proxy_header client = {.family = PROXY_INET,
                                  .src = {192, 0, 2, 1},
                                  .dst = {198, 51, 100, 2},
                                  .src_port = 5000,
                                  .dst_port = 443};
    static const char line[] = "PROXY TCP4 192.0.2.1 198.51.100.2 5000 443\r\n";
    struct proxy_header back;
    uint8_t out[108];
    size_t n;

    n = target_emit_header(out, PROXY_MODE_V1, &client);
    ck_assert_uint_eq(n, strlen(line));
    ck_assert_mem_eq(out, line, n);
    n = target_emit_header(out, PROXY_MODE_V2, &client);
    ck_assert_int_eq(proxy_parse(&back, out, n, NULL), (int)n);
    ck_assert_mem_eq(back.src, client.src, 4);
    ck_assert_uint_eq(back.dst_port, 443);
    ck_assert_uint_eq(target_emit_header(out, PROXY_MODE_OFF, &client), 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("target");

    tcase_add_loop_test(tcase, finds, 0, 6);
    tcase_add_loop_test(tcase, refuses, 0, (int)(sizeof(faulty) / sizeof(faulty[0])));
    tcase_add_test(tcase, own_listener_is_a_fault);
    tcase_add_test(tcase, headers);
    return suite_run("hub_target", tcase);
}
