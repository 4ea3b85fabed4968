/* The texts of the Coreflow link: what is read of a message, what is written, and the set in it. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/suite.h"
#include "traffic/coreflow.h"
#include "traffic/route_apply.h"
#include "unit/traffic_route_fixture.h"

static struct typed_head read_head(const char *text)
{
    struct typed_message m;
    struct typed_head head;

    typed_message_init(&m);
    ck_assert_int_eq(typed_message_push(&m, text, strlen(text)), 0);
    ck_assert(typed_message_is_object(&m));
    typed_head_read(&head, &m);
    typed_message_clear(&m);
    return head;
}

#define LONG_80 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct {
    const char *text;
    enum typed_phase phase;
    const char *method, *id, *why; /* of the reason a part */
    bool is_good;
} heads[] = {
    {"{\"method\":\"updateRouting\",\"correlation\":{\"id\":\"a\",\"phase\":\"request\"}}",
     TYPED_REQUEST, "updateRouting", "a", "", false},
    {"{\"correlation\":{\"phase\":\"request\",\"id\":\"\\u00e4\"},\"method\":\"m\"}", TYPED_REQUEST,
     "m", "\xc3\xa4", "", false},
    {"{\"response\":{\"success\":true},\"correlation\":{\"id\":\"a\",\"phase\":\"response\"}}",
     TYPED_ANSWER, "", "a", "", true},
    {"{\"correlation\":{\"id\":\"a\",\"phase\":\"response\"}}", TYPED_ANSWER, "", "a", "", true},
    {"{\"response\":{\"success\":false},\"correlation\":{\"id\":\"a\",\"phase\":\"response\"}}",
     TYPED_ANSWER, "", "a", "success is false", false},
    {"{\"error\":{\"text\":\"no\",\"data\":{}},\"correlation\":{\"id\":\"a\",\"phase\":"
     "\"response\"}}",
     TYPED_ANSWER, "", "a", "no", false},
    {"{\"error\":7,\"correlation\":{\"id\":\"a\",\"phase\":\"response\"}}", TYPED_ANSWER, "", "a",
     "without a text", false},
    {"{}", TYPED_UNREADABLE, "", "", "correlation.id", false},
    {"{\"correlation\":\"a\"}", TYPED_UNREADABLE, "", "", "correlation.id", false},
    {"{\"correlation\":{\"id\":7,\"phase\":\"request\"}}", TYPED_UNREADABLE, "", "",
     "correlation.id", false},
    {"{\"correlation\":{\"id\":\"\",\"phase\":\"request\"}}", TYPED_UNREADABLE, "", "",
     "correlation.id", false},
    {"{\"correlation\":{\"id\":\"a\\n\",\"phase\":\"request\"}}", TYPED_UNREADABLE, "", "",
     "correlation.id", false},
    {"{\"correlation\":{\"id\":\"" LONG_80 LONG_80 LONG_80
     "12345678901234567\",\"phase\":\"request\"}}",
     TYPED_UNREADABLE, "", "", "correlation.id", false},
    {"{\"correlation\":{\"id\":\"a\",\"id\":\"b\",\"phase\":\"request\"}}", TYPED_UNREADABLE, "",
     "", "correlation.id", false}, /* twice: no JSON of ours */
    {"{\"correlation\":{\"id\":\"a\"},\"method\":\"m\"}", TYPED_UNREADABLE, "", "a", "phase",
     false},
    {"{\"correlation\":{\"id\":\"a\",\"phase\":1}}", TYPED_UNREADABLE, "", "a", "phase", false},
    {"{\"correlation\":{\"id\":\"a\",\"phase\":\"request\"}}", TYPED_UNREADABLE, "", "a",
     "no method", false},
    {"{\"method\":[],\"correlation\":{\"id\":\"a\",\"phase\":\"request\"}}", TYPED_UNREADABLE, "",
     "a", "no method", false},
    {"{\"method\":\"" LONG_80 LONG_80 "\",\"correlation\":{\"id\":\"a\",\"phase\":\"request\"}}",
     TYPED_UNREADABLE, "", "a", "no method", false},
};

START_TEST(what_is_read)
{
    struct typed_head head = read_head(heads[_i].text);

    ck_assert_int_eq(head.phase, heads[_i].phase);
    ck_assert_str_eq(head.method, heads[_i].method);
    ck_assert_str_eq(head.id, heads[_i].id);
    ck_assert_msg(strstr(head.why, heads[_i].why) != NULL, "%s", head.why);
    ck_assert(heads[_i].why[0] != '\0' || head.why[0] == '\0');
    ck_assert(head.is_good == heads[_i].is_good);
}
END_TEST

static void expect_text(char *text, const char *expect)
{
    ck_assert_str_eq(text, expect);
    free(text);
}

START_TEST(what_is_written)
{
    struct typed_head head = {.method = "re\"start", .id = "7"};

    expect_text(coreflow_emit_tag("coretraffic", "id1"),
                "{\"method\":\"__typedsocket_setTag\",\"request\":{\"name\":\"coretraffic\","
                "\"payload\":{}},"
                "\"response\":null,\"correlation\":{\"id\":\"id1\",\"phase\":\"request\"}}");
    expect_text(coreflow_emit_error(&head, "no such method"),
                "{\"method\":\"re\\\"start\",\"request\":{},\"response\":null,"
                "\"error\":{\"text\":\"no such method\",\"data\":{}},"
                "\"correlation\":{\"id\":\"7\",\"phase\":\"response\"}}");
    expect_text(coreflow_emit_status_answer("updateRouting", "8", "ok", ""),
                "{\"method\":\"updateRouting\",\"request\":{},"
                "\"response\":{\"status\":\"ok\",\"errorText\":\"\"},"
                "\"correlation\":{\"id\":\"8\",\"phase\":\"response\"}}");
    expect_text(coreflow_emit_status_answer("updateRouting", "9", "error", "/a: bad"),
                "{\"method\":\"updateRouting\",\"request\":{},"
                "\"response\":{\"status\":\"error\",\"errorText\":\"/a: bad\"},"
                "\"correlation\":{\"id\":\"9\",\"phase\":\"response\"}}");
}
END_TEST

START_TEST(what_became_of_an_update)
{
    struct route_update *u = route_update_new(ROUTE_UPDATE_SET);
    struct route_set *live = route_set_new(0);
    char why[TYPED_TEXT_MAX];

    route_set_seal(live);
    route_set_number(live, 4);
    u->fate = ROUTE_APPLIED;
    ck_assert_str_eq(coreflow_describe(u, live, why), "ok");
    ck_assert_str_eq(why, "");
    u->is_store_failed = true; /* in force, and said */
    snprintf(u->store_why, sizeof(u->store_why), "the disk");
    ck_assert_str_eq(coreflow_describe(u, live, why), "ok");
    ck_assert_str_eq(why,
                     "notStored: the set is served, but a restart would not find it: the disk");
    u->is_store_failed = false;
    u->fate = ROUTE_UNCHANGED;
    ck_assert_str_eq(coreflow_describe(u, live, why), "ok");
    ck_assert_str_eq(why, "");
    u->fate = ROUTE_SUPERSEDED;
    u->superseded_by = 6;
    ck_assert_str_eq(coreflow_describe(u, live, why), "error");
    ck_assert_ptr_nonnull(strstr(why, "superseded"));
    ck_assert_ptr_nonnull(strstr(why, "update 6"));
    ck_assert_ptr_nonnull(strstr(why, "revision 4"));
    u->fate = ROUTE_STOPPED;
    ck_assert_str_eq(coreflow_describe(u, live, why), "error");
    ck_assert_ptr_nonnull(strstr(why, "revision 4"));
    u->fate = ROUTE_REJECTED;
    json_fault(&u->build.faults, "/reverseConfigs/0", "x", "one thing");
    ck_assert_str_eq(coreflow_describe(u, live, why), "error");
    ck_assert_str_eq(why, "1 fault: /reverseConfigs/0: one thing");
    for (unsigned i = 0; i < 5000; i++)
        json_fault(&u->build.faults, "/reverseConfigs/1", "x", "%0500u", i);
    ck_assert_str_eq(coreflow_describe(u, live, why), "error");
    ck_assert_ptr_nonnull(strstr(why, "5001 faults: /reverseConfigs/0: one thing; "));
    ck_assert_uint_lt(strlen(why), TYPED_TEXT_MAX);
    route_update_free(u);
    route_set_unref(live);
}
END_TEST

/* --- the set in a message -------------------------------------------------------------------- */

static struct auth_key key;

/* Reads "{'request': ...}" with ' for "; the set or NULL. */
static struct route_set *read_set(struct route_build *b, const char *request, bool has_route)
{
    struct json_object *document = json_object_new_object(), *value, *list = NULL, *route;
    struct json_syntax syntax;
    struct route_set *set;

    ck_assert_int_eq(json_read(&value, request, strlen(request), &syntax), 0);
    json_object_object_add(document, "method", json_object_new_string("updateRouting"));
    json_object_object_add(document, "request", value);
    if (has_route) { /* the certificate is too long to write it each time */
        list = json_object_is_type(value, json_type_array)
                   ? value
                   : json_object_object_get(value, "reverseConfigs");
        route = json_object_array_get_idx(list, 0);
        json_object_object_add(route, "publicKey", json_object_new_string(a_test_chain));
        json_object_object_add(route, "privateKey", json_object_new_string(a_test_key));
    }
    auth_key_init(&key);
    route_build_init(b, &key, NULL);
    b->shape = &route_shape_coreflow;
    set = route_json_parse(b, document);
    route_json_wipe(document);
    if (has_route) {
        const char *text = json_object_get_string(json_object_object_get(route, "privateKey"));

        ck_assert_int_eq(text[0], '\0');
    }
    json_object_put(document);
    return set;
}

#define ROUTE                                                                                      \
    "{\"hostName\":\"a.test\",\"destinationIps\":[\"192.0.2.1\"],\"destinationPorts\":[80]}"
#define OLDER                                                                                      \
    "{\"hostName\":\"a.test\",\"destinationIp\":\"192.0.2.1\",\"destinationPort\":80,\"new\":1}"

static const struct {
    const char *request, *pointer; /* of the first fault; NULL: taken */
    bool has_route;
    size_t warnings;
} sets[] = {
    {"{\"reverseConfigs\":[" ROUTE "]}", NULL, true, 0},
    {"[" ROUTE "]", NULL, true, 0},
    {"{\"more\":{},\"reverseConfigs\":[" OLDER "]}", NULL, true, 1},
    {"[]", NULL, false, 0},
    {"null", "/request", false, 0},
    {"7", "", false, 0},
    {"{}", "/reverseConfigs", false, 0},
    {"{\"routes\":[]}", "/reverseConfigs", false, 0},
    {"{\"reverseConfigs\":{}}", "/reverseConfigs", false, 0},
    {"[7]", "/reverseConfigs/0", false, 0},
    {"[" ROUTE "]", "/reverseConfigs/0/publicKey", false, 0},
    {"[" ROUTE "," ROUTE "]", "/reverseConfigs/1/publicKey", true, 0},
};

START_TEST(sets_in_messages)
{
    struct route_build b;
    struct route_set *set = read_set(&b, sets[_i].request, sets[_i].has_route);

    if (sets[_i].pointer) {
        ck_assert_ptr_null(set);
        ck_assert_str_eq(b.faults.faults[0].pointer, sets[_i].pointer);
    } else {
        ck_assert_msg(set != NULL, "%s", b.faults.count ? b.faults.faults[0].detail : "");
        ck_assert_uint_eq(b.warnings.total, sets[_i].warnings);
        ck_assert_uint_eq(set->count, sets[_i].has_route ? 1 : 0);
        if (sets[_i].has_route)
            ck_assert_str_eq(set->routes[0].destinations[0].key, "192.0.2.1:80");
    }
    route_build_fini(&b);
    route_set_unref(set);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_loop_test(tc, what_is_read, 0, (int)(sizeof(heads) / sizeof(heads[0])));
    tcase_add_test(tc, what_is_written);
    tcase_add_test(tc, what_became_of_an_update);
    tcase_add_loop_test(tc, sets_in_messages, 0, (int)(sizeof(sets) / sizeof(sets[0])));
    return suite_run("traffic_coreflow_json", tc);
}
