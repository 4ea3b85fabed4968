/* One value of each kind: what is taken, what is refused and with which words. */
#include "conf_fixture.h"

static void refuse(const char *json, const char *variable, const char *pointer, const char *part)
{
    char *env[] = {(char *)(uintptr_t)variable, NULL};

    if (json)
        expect_fault(json, NULL, NULL, pointer, part);
    if (variable)
        expect_fault(NULL, env, NULL, pointer, part);
}

START_TEST(integers)
{
    static const char range[] = "must be an integer from 1 to 64, not ";
    struct sample s;
    char *env[] = {"PENSTOCK_TUNNEL__MEMORY_BUDGET=9223372036854775807", NULL};

    refuse("{\"tunnel\":{\"lanes\":0}}", "PENSTOCK_TUNNEL__LANES=0", "/tunnel/lanes", range);
    refuse("{\"tunnel\":{\"lanes\":65}}", "PENSTOCK_TUNNEL__LANES=65", "/tunnel/lanes", range);
    refuse("{\"tunnel\":{\"lanes\":18446744073709551615}}",
           "PENSTOCK_TUNNEL__LANES=99999999999999999999", "/tunnel/lanes", range);
    refuse(NULL, "PENSTOCK_TUNNEL__LANES=", "/tunnel/lanes", range);
    refuse(NULL, "PENSTOCK_TUNNEL__LANES=-", "/tunnel/lanes", range);
    refuse(NULL, "PENSTOCK_TUNNEL__LANES=+5", "/tunnel/lanes", range);
    refuse(NULL, "PENSTOCK_TUNNEL__LANES= 5", "/tunnel/lanes", range);
    refuse(NULL, "PENSTOCK_TUNNEL__LANES=5x", "/tunnel/lanes", "not \"5x\"");
    refuse("{\"tunnel\":{\"lanes\":5.0}}", NULL, "/tunnel/lanes", "must be an integer, not number");
    refuse("{\"tunnel\":{\"lanes\":\"5\"}}", NULL, "/tunnel/lanes",
           "must be an integer, not string");
    refuse("{\"tunnel\":{\"lanes\":null}}", NULL, "/tunnel/lanes", "not null");
    expect_good(&s, "{\"tunnel\":{\"lanes\":64}}", env, NULL);
    ck_assert_int_eq(s.lanes, 64);
    ck_assert(s.budget == INT64_MAX);
    conf_free(&sample_table, &s);
}
END_TEST

START_TEST(booleans)
{
    struct sample s;

    refuse("{\"isOn\":1}", NULL, "/isOn", "must be true or false, not integer");
    refuse(NULL, "PENSTOCK_IS_ON=yes", "/isOn", "must be true or false, not \"yes\"");
    expect_good(&s, "{\"isOn\":true}", NULL, NULL);
    ck_assert(s.is_on);
    conf_free(&sample_table, &s);
}
END_TEST

START_TEST(choices)
{
    refuse("{\"log\":{\"level\":\"loud\"}}", "PENSTOCK_LOG__LEVEL=loud", "/log/level",
           "must be one of debug, info, warn, not \"loud\"");
    refuse("{\"log\":{\"level\":2}}", NULL, "/log/level", "must be a string, not integer");
}
END_TEST

START_TEST(strings)
{
    struct sample s;

    refuse("{\"name\":\"x\"}", "PENSTOCK_NAME=x", "/name", "must have 2 to 10 bytes, not 1");
    refuse("{\"name\":\"12345678901\"}", "PENSTOCK_NAME=12345678901", "/name", "not 11");
    refuse("{\"name\":\"a\\nb\"}", "PENSTOCK_NAME=a\nb", "/name", "control characters");
    refuse("{\"name\":\"ab\\u0000c\"}", NULL, "/name", "");
    refuse("{\"name\":[]}", NULL, "/name", "must be a string, not array");
    expect_good(&s, "{\"name\":\"1234567890\"}", NULL, NULL);
    ck_assert_str_eq(s.name, "1234567890");
    conf_free(&sample_table, &s);
}
END_TEST

START_TEST(a_wrong_secret_is_not_repeated)
{
    struct sample s = {0};
    struct json_check faults;
    char *env[] = {"PENSTOCK_MANAGEMENT__TOKEN=short", NULL};

    json_check_init(&faults);
    ck_assert_int_eq(conf_read(&sample_table, NULL, env, NULL, &s, &faults), -ERR_SYNTAX);
    ck_assert_int_eq((int)faults.count, 1);
    ck_assert_ptr_null(strstr(faults.faults[0].detail, "short"));
    json_check_fini(&faults);
}
END_TEST

START_TEST(addresses_to_listen_on)
{
    static const char *const good[] = {"127.0.0.1:0",       "0.0.0.0:65535", "[::]:1",
                                       "[::1]:8443",        ":443",          "[2001:db8::1]:00443",
                                       "[::ffff:1.2.3.4]:5"};
    static const char *const bad[] = {
        "",           "127.0.0.1",   "127.0.0.1:", "1.2.3:4",       "localhost:1",
        "[::1:1",     "::1:80",      "[::1]80",    "1.2.3.4:65536", "1.2.3.4:-1",
        "1.2.3.4:+1", "[1.2.3.4]:5", "[]:5",       "1.2.3.4:5 ",    "1.2.3.4:000080"};

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct sample s;
        char *env[] = {must_printf("PENSTOCK_TUNNEL__LISTEN=%s", good[i]), NULL};
        expect_good(&s, NULL, env, NULL);
        ck_assert_str_eq(s.listen, good[i]);
        conf_free(&sample_table, &s);
        free(env[0]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char *env[] = {must_printf("PENSTOCK_TUNNEL__LISTEN=%s", bad[i]), NULL};
        expect_fault(NULL, env, NULL, "/tunnel/listen", "must be address:port as in");
        free(env[0]);
    }
    refuse(NULL, "PENSTOCK_METRICS__LISTEN=x", "/metrics/listen", "or empty, not \"x\"");
}
END_TEST

START_TEST(lists_and_maps)
{
    struct sample s;
    char *env[] = {"PENSTOCK_ANYTHING=[1]", "PENSTOCK_TARGET__PORTS={\"443\":8000}", NULL};

    refuse("{\"edges\":{}}", "PENSTOCK_EDGES={}", "/edges", "must be a list, not object");
    refuse("{\"target\":{\"ports\":[]}}", "PENSTOCK_TARGET__PORTS=[]", "/target/ports",
           "must be a map, not array");
    refuse("{\"anything\":\"x\"}", "PENSTOCK_ANYTHING=\"x\"", "/anything",
           "must be a list or a map, not string");
    refuse(NULL, "PENSTOCK_EDGES=[1,", "/edges", "must be a JSON array, as in");
    expect_good(&s, NULL, env, NULL);
    ck_assert_str_eq(json_object_to_json_string_ext(s.any, 0), "[1]");
    ck_assert_str_eq(json_object_to_json_string_ext(s.ports, 0), "{\"443\":8000}");
    conf_free(&sample_table, &s);
}
END_TEST

START_TEST(long_values_are_cut_in_messages)
{
    char value[300], *variable;

    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    variable = must_printf("PENSTOCK_LOG__LEVEL=%s", value);
    refuse(NULL, variable, "/log/level", "xxx...\"");
    free(variable);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        integers,
        booleans,
        choices,
        strings,
        a_wrong_secret_is_not_repeated,
        addresses_to_listen_on,
        lists_and_maps,
        long_values_are_cut_in_messages,
    };

    return run_suite("conf_value", tests, ARRAY_LEN(tests));
}
