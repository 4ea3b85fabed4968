/* Tests of http_request: methods, authorities, targets and upgrades, whatever version they came in.
 * (Host names: test_traffic_h1_request.c.) */
#include "traffic/http_request.h"

#include "support/suite.h"
#include "traffic_h1_fixture.h"

static struct http_text text(const char *s)
{
    return (struct http_text){s, strlen(s)};
}

START_TEST(methods)
{
    static const struct {
        const char *name;
        enum traffic_reason reason;
        bool is_idempotent, is_head;
    } rows[] = {
        {"GET", REASON_NONE, true, false},
        {"HEAD", REASON_NONE, true, true},
        {"POST", REASON_NONE, false, false},
        {"M-SEARCH", REASON_NONE, true, false},
        {"get", REASON_METHOD_UNKNOWN, false, false},
        {"GETT", REASON_METHOD_UNKNOWN, false, false},
        {"", REASON_BAD_METHOD, false, false},
        {"G T", REASON_BAD_METHOD, false, false},
        {"G\tT", REASON_BAD_METHOD, false, false},
        {"CONNECT", REASON_METHOD_REFUSED, false, false},
        {"TRACE", REASON_METHOD_REFUSED, true, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_request r = {.method = text(rows[i].name)};

        ck_assert_int_eq(http_method_check(&r), rows[i].reason);
        ck_assert_int_eq(r.is_idempotent, rows[i].is_idempotent);
        ck_assert_int_eq(r.is_head, rows[i].is_head);
    }
}
END_TEST

START_TEST(authorities)
{
    static const struct {
        const char *text;
        bool is_one;
    } rows[] = {
        {"a.test", true},     {"a.test:443", true},    {"a.test:", true}, {"[::1]:80", true},
        {"A_b-c.test", true}, {"192.0.2.1:1", true},   {"", false},       {":80", false},
        {"a.test:x", false},  {"a.test:65536", false}, {"a b", false},    {"u@a.test", false},
        {"a/b", false},       {"[::1", false},         {"[::1]x", false}, {"a.test:443443", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        ck_assert_msg(http_is_authority(text(rows[i].text)) == rows[i].is_one, "%s", rows[i].text);
}
END_TEST

START_TEST(targets)
{
    static const struct {
        const char *method, *target;
        bool has_good_bytes, is_plain;
    } rows[] = {
        {"GET", "/", true, true},        {"GET", "/a?b=c%20", true, true},
        {"GET", "*", true, false},       {"OPTIONS", "*", true, true},
        {"GET", "a", true, false},       {"GET", "https://a/", true, false},
        {"GET", "/a b", false, true},    {"GET", "/a#b", false, true},
        {"GET", "/a\r\nb", false, true}, {"GET", "/\x80", false, true},
        {"GET", "/\x7f", false, true},
    };
    struct http_request none = {0};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_request r = {.method = text(rows[i].method), .target = text(rows[i].target)};

        ck_assert_int_eq(http_target_check_bytes(&r) == REASON_NONE, rows[i].has_good_bytes);
        ck_assert_int_eq(http_target_is_plain(&r), rows[i].is_plain);
    }
    ck_assert_int_eq(http_target_check_bytes(&none), REASON_BAD_TARGET);
}
END_TEST

START_TEST(upgrades)
{
    ck_assert(http_may_upgrade(text("websocket")));
    ck_assert(http_may_upgrade(text("a, b/2")));
    ck_assert(!http_may_upgrade(text("h2c")));
    ck_assert(!http_may_upgrade(text("websocket, H2C")));
    ck_assert(!http_may_upgrade(text("HTTP/2.0")));
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("rules");

    tcase_add_test(tcase, methods);
    tcase_add_test(tcase, authorities);
    tcase_add_test(tcase, targets);
    tcase_add_test(tcase, upgrades);
    return suite_run("traffic/http_request", tcase);
}
