/* Edges as JSON: every fault at its pointer, defaults, changes over what is there. */
#include "base/err.h"
#include "hub/own_listeners.h"
#include "hub/registry.h"
#include "hub/target.h"
#include "hub_fixture.h"

static const struct {
    const char *body, *pointer, *code;
} faulty[] = {
    {"[]", "", "type"},
    {"{}", "/id", "required"},
    {"{\"id\":\"\"}", "/id", "range"},
    {"{\"id\":\"a b\"}", "/id", "invalid"},
    {"{\"id\":\"a/b\"}", "/id", "invalid"},
    {"{\"id\":5}", "/id", "type"},
    {"{\"id\":\"e\",\"listenPorts\":443}", "/listenPorts", "type"},
    {"{\"id\":\"e\",\"listenPorts\":[443,0]}", "/listenPorts/1", "range"},
    {"{\"id\":\"e\",\"listenPorts\":[65536]}", "/listenPorts/0", "range"},
    {"{\"id\":\"e\",\"listenPorts\":[\"443\"]}", "/listenPorts/0", "type"},
    {"{\"id\":\"e\",\"listenPorts\":[443.0]}", "/listenPorts/0", "type"},
    {"{\"id\":\"e\",\"listenPorts\":[443,80,443]}", "/listenPorts/2", "duplicate"},
    {"{\"id\":\"e\",\"listenPorts\":[9001]}", "/listenPorts/0", "conflict"},
    {"{\"id\":\"e\",\"listenPortsUdp\":53}", "/listenPortsUdp", "type"},
    {"{\"id\":\"e\",\"listenPortsUdp\":[53,0]}", "/listenPortsUdp/1", "range"},
    {"{\"id\":\"e\",\"listenPortsUdp\":[53,80,53]}", "/listenPortsUdp/2", "duplicate"},
    {"{\"id\":\"e\",\"listenPortsUdp\":[9001]}", "/listenPortsUdp/0", "conflict"},
    {"{\"id\":\"e\",\"stunIntervalSecs\":-1}", "/stunIntervalSecs", "range"},
    {"{\"id\":\"e\",\"maxInstances\":0}", "/maxInstances", "range"},
    {"{\"id\":\"e\",\"maxInstances\":65}", "/maxInstances", "range"},
    {"{\"id\":\"e\",\"enabled\":\"yes\"}", "/enabled", "type"},
    {"{\"id\":\"e\",\"secret\":\"short\"}", "/secret", "range"},
    {"{\"id\":\"e\",\"secret\":\"012345678901234567890 \"}", "/secret", "invalid"},
    {"{\"id\":\"e\",\"secretFile\":\"/x\"}", "/secretFile", "unknown"}, /* configuration only */
    {"{\"id\":\"e\",\"listenports\":[]}", "/listenports", "unknown"},
};

static struct target_map *direct_targets(void)
{
    struct json_object *none = json_of("{}");
    struct target_map *map = NULL;
    struct json_check faults;

    json_check_init(&faults);
    ck_assert_int_eq(target_map_parse(&map, "127.0.0.1", PROXY_MODE_V1, none, &faults, ""), 0);
    json_check_fini(&faults);
    json_object_put(none);
    return map;
}

START_TEST(refuses)
{
    struct json_object *obj = json_of(faulty[_i].body);
    struct own_listeners own;
    struct target_map *targets = direct_targets();
    struct spec_rules rules = {targets, targets, &own};
    struct edge_spec spec;
    struct json_check faults;
    union addr at;

    own_listeners_init(&own);
    ck_assert_int_eq(addr_parse(&at, "127.0.0.1:9001"), 0);
    own_listeners_add(&own, &at, "management");
    json_check_init(&faults);
    edge_spec_init(&spec);
    edge_spec_parse(&spec, obj, SPEC_FROM_API, &rules, &faults, "");
    ck_assert_uint_eq(faults.total, 1);
    ck_assert_msg(has_fault(&faults, faulty[_i].pointer, faulty[_i].code), "%s at %s: %s",
                  faults.faults[0].code, faults.faults[0].pointer, faults.faults[0].detail);
    edge_spec_fini(&spec);
    json_check_fini(&faults);
    target_map_free(targets);
    json_object_put(obj);
}
END_TEST

static void parse(struct edge_spec *spec, const char *body)
{
    struct json_object *obj = json_of(body);
    struct json_check faults;

    json_check_init(&faults);
    edge_spec_parse(spec, obj, SPEC_FROM_API, NULL, &faults, "");
    ck_assert_uint_eq(faults.total, 0);
    json_check_fini(&faults);
    json_object_put(obj);
}

START_TEST(defaults_and_patch)
{
    struct registry r;
    struct edge_spec spec;
    unsigned change;

    registry_init(&r, 10);
    edge_spec_init(&spec);
    parse(&spec, "{\"id\":\"e1\",\"listenPorts\":[443,80],\"secret\":\"0123456789012345678901\"}");
    ck_assert_uint_eq(spec.stun_interval_secs, 300);
    ck_assert_uint_eq(spec.max_instances, 1);
    ck_assert(spec.is_enabled);
    ck_assert_uint_eq(spec.ports.count, 2);
    ck_assert_uint_eq(spec.ports.ports[0], 80); /* sorted */
    ck_assert_int_eq(registry_put(&r, &spec, &change), 0);
    edge_spec_fini(&spec);

    edge_spec_of(&spec, registry_find(&r, "e1"));
    parse(&spec, "{\"maxInstances\":3}");
    ck_assert_uint_eq(registry_compare(&r, &spec), EDGE_OTHER); /* ports and secret stay */
    parse(&spec, "{\"listenPorts\":[]}");
    ck_assert_uint_eq(spec.ports.count, 0);
    edge_spec_fini(&spec);
    registry_fini(&r);
}
END_TEST

START_TEST(an_edge_keeps_its_id)
{
    struct json_object *obj = json_of("{\"id\":\"other\"}");
    struct edge_spec spec;
    struct json_check faults;

    json_check_init(&faults);
    edge_spec_init(&spec);
    memcpy(spec.id, "e1", 3);
    edge_spec_parse(&spec, obj, SPEC_FROM_API, NULL, &faults, "");
    ck_assert(has_fault(&faults, "/id", "conflict"));
    edge_spec_fini(&spec);
    json_check_fini(&faults);
    json_object_put(obj);
}
END_TEST

/* All faults of all entries in one answer. */
START_TEST(lists)
{
    struct json_object *obj = json_of("[{\"id\":\"a\"},{\"id\":\"b\",\"enabled\":1},{\"id\":\"a\"},"
                                      "{\"listenPorts\":[0,1,1]}]");
    struct edge_spec *specs = NULL;
    struct json_check faults;
    size_t count = 0;

    json_check_init(&faults);
    ck_assert_int_eq(
        edge_specs_parse(&specs, &count, obj, 10, SPEC_FROM_API, NULL, &faults, "/edges"),
        -ERR_SYNTAX);
    ck_assert_uint_eq(faults.total, 5);
    ck_assert(has_fault(&faults, "/edges/1/enabled", "type"));
    ck_assert(has_fault(&faults, "/edges/2/id", "duplicate"));
    ck_assert(has_fault(&faults, "/edges/3/id", "required"));
    ck_assert(has_fault(&faults, "/edges/3/listenPorts/0", "range"));
    ck_assert(has_fault(&faults, "/edges/3/listenPorts/2", "duplicate"));
    json_check_fini(&faults);

    json_check_init(&faults);
    ck_assert_int_eq(
        edge_specs_parse(&specs, &count, obj, 3, SPEC_FROM_API, NULL, &faults, "/edges"),
        -ERR_SYNTAX);
    ck_assert(has_fault(&faults, "/edges", "range"));
    json_check_fini(&faults);
    json_object_put(obj);
}
END_TEST

START_TEST(no_secret_is_shown)
{
    struct registry r;
    struct edge_spec spec;
    struct json_object *shown;
    unsigned change;

    registry_init(&r, 10);
    edge_spec_init(&spec);
    parse(&spec, "{\"id\":\"e1\",\"listenPorts\":[443],\"secret\":\"hush-hush-hush-hush-hush\"}");
    ck_assert_int_eq(registry_put(&r, &spec, &change), 0);
    registry_renew_secret(&r, registry_find(&r, "e1"), new_secret(),
                          secret_grace_of(1000, 5, 1700000000));
    shown = edge_emit(registry_find(&r, "e1"));
    ck_assert_ptr_null(strstr(json_object_to_json_string(shown), "hush"));
    ck_assert_ptr_null(strstr(json_object_to_json_string(shown), registry_find(&r, "e1")->secret));
    ck_assert_ptr_nonnull(strstr(json_object_to_json_string(shown), "2023-11-14T22:13:21Z"));
    json_object_put(shown);
    edge_spec_fini(&spec);
    registry_fini(&r);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("registry_json");

    tcase_add_loop_test(tcase, refuses, 0, (int)(sizeof(faulty) / sizeof(faulty[0])));
    tcase_add_test(tcase, defaults_and_patch);
    tcase_add_test(tcase, an_edge_keeps_its_id);
    tcase_add_test(tcase, lists);
    tcase_add_test(tcase, no_secret_is_shown);
    return suite_run("hub_registry_json", tcase);
}
