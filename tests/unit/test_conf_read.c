/* Reading a configuration: the order of its sources, unknown keys, secrets, checks, reloads. */
#include "conf_fixture.h"

START_TEST(defaults_hold)
{
    struct sample s;

    expect_good(&s, NULL, NULL, NULL);
    ck_assert_str_eq(s.listen, "[::]:8443");
    ck_assert_str_eq(s.name, "penstock");
    ck_assert_str_eq(s.token, "a-default-token");
    ck_assert_str_eq(s.also_listen, "");
    ck_assert_int_eq(s.lanes, 16);
    ck_assert_int_eq(s.budget, 209715200);
    ck_assert_int_eq(s.level, 1);
    ck_assert(!s.is_on);
    ck_assert_str_eq(json_object_to_json_string_ext(s.ports, 0), "{\"80\":7999}");
    ck_assert_ptr_null(s.any);
    conf_free(&sample_table, &s);
    ck_assert_ptr_null(s.listen);
}
END_TEST

START_TEST(later_source_wins)
{
    struct sample s;
    const char *json = "{\"tunnel\":{\"lanes\":2,\"memoryBudget\":5},\"name\":\"file\","
                       "\"log\":{\"level\":\"warn\"},\"isOn\":true,\"edges\":[\"a\"]}";
    char *env[] = {"PENSTOCK_TUNNEL__LANES=3",     "PENSTOCK_NAME=env",    "HOME=/root",
                   "PENSTOCK_EDGES=[\"b\",\"c\"]", "PENSTOCK_IS_ON=false", NULL};
    const char *sets[] = {"name=set", "log.level=debug", NULL};

    expect_good(&s, json, env, sets);
    ck_assert_int_eq(s.lanes, 3);
    ck_assert_int_eq(s.budget, 5);
    ck_assert_str_eq(s.name, "set");
    ck_assert_int_eq(s.level, 0);
    ck_assert(!s.is_on);
    ck_assert_int_eq((int)json_object_array_length(s.edges), 2);
    conf_free(&sample_table, &s);
}
END_TEST

START_TEST(camel_case_becomes_variable)
{
    struct sample s;
    char *env[] = {"PENSTOCK_TUNNEL__MEMORY_BUDGET=77", NULL};

    expect_good(&s, NULL, env, NULL);
    ck_assert_int_eq(s.budget, 77);
    conf_free(&sample_table, &s);
}
END_TEST

START_TEST(unknown_keys_are_errors)
{
    const char *bad_set[] = {"tunnel.lane=1", NULL}, *no_value[] = {"name", NULL};
    const char *near_secret[] = {"management.toknFile=x", NULL};
    const char *far_set[] = {"metrics.everything=1", NULL};

    expect_fault("{\"tunel\":{}}", NULL, NULL, "/tunel",
                 "tunel: no such key; the top level allows");
    expect_fault("{\"tunnel\":{\"lane\":1}}", NULL, NULL, "/tunnel/lane",
                 "tunnel.lane: no such key; tunnel allows listen, lanes, memoryBudget");
    expect_fault("{\"tunnel.lanes\":1}", NULL, NULL, "/tunnel/lanes", "no such key");
    expect_fault("{\"tunnel\":3}", NULL, NULL, "/tunnel", "must be a map of keys, not integer");
    expect_fault(
        NULL, NULL, bad_set, "/tunnel/lane",
        "--set: tunnel.lane: no such key; the nearest is tunnel.lanes (--help lists them)");
    expect_fault(NULL, NULL, near_secret, "/management/toknFile",
                 "no such key; the nearest is management.tokenFile (--help lists them)");
    expect_fault(NULL, NULL, far_set, "/metrics/everything", "no such key (--help lists them)");
    expect_fault(NULL, NULL, no_value, "", "must be key=value");
}
END_TEST

START_TEST(unknown_variable_is_no_error)
{
    struct sample s;
    char *env[] = {"PENSTOCK_SERVICE_PORT=tcp://10.0.0.1:80", "PENSTOCK_NAME", "PENSTOCK_NAMES=x",
                   "PENSTOCK_NAME=/a/link", NULL};

    expect_good(&s, NULL, env, NULL);
    conf_free(&sample_table, &s);
}
END_TEST

/* How it is written: the table's example, or the default. */
START_TEST(text_that_is_no_json)
{
    static const char *const sets[][2] = {
        {"edges=hub", "must be a JSON array, as in [\"a\"]: a value expected (byte 0)"},
        {"target.ports=80", "must be a map, not integer"},
        {"target.ports=80:81", "must be a JSON object, as in {\"80\":7999}: something follows"},
        {"anything=x", "must be JSON: a value expected"},
    };

    for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
        const char *set[] = {sets[i][0], NULL};
        char *pointer = must_printf("/%.*s", (int)strcspn(sets[i][0], "="), sets[i][0]);

        for (char *p = pointer; *p; p++)
            *p = *p == '.' ? '/' : *p;
        expect_fault(NULL, NULL, set, pointer, sets[i][1]);
        free(pointer);
    }
}
END_TEST

START_TEST(all_faults_are_told_together)
{
    struct sample s = {0};
    struct json_check faults;
    const char *json = "{\"tunnel\":{\"lanes\":100},\"x\":1}";
    char *file = file_with(json, strlen(json));
    char *env[] = {"PENSTOCK_LOG__LEVEL=loud", NULL};
    const char *sets[] = {"isOn=perhaps", NULL};

    json_check_init(&faults);
    ck_assert_int_eq(conf_read(&sample_table, file, env, sets, &s, &faults), -ERR_SYNTAX);
    ck_assert_int_eq((int)faults.count, 4);
    for (size_t i = 0; i < 2; i++) /* those of the file begin with its name */
        ck_assert_int_eq(strncmp(faults.faults[i].detail, file, strlen(file)), 0);
    ck_assert_int_eq(strncmp(faults.faults[2].detail, "PENSTOCK_LOG__LEVEL: log.level: ", 32), 0);
    json_check_fini(&faults);
    drop_file(file);
}
END_TEST

START_TEST(files_that_are_none)
{
    struct sample s = {0};
    struct json_check faults;

    expect_fault("{\"name\":}", NULL, NULL, "", "line 1, column 9 (byte 8)");
    expect_fault("{\n  \"name\": \"\xc3\xa9\xc3\xa9\" 1\n}", NULL, NULL, "",
                 "line 2, column 16 (byte 19)");
    expect_fault("", NULL, NULL, "", "line 1, column 1 (byte 0)");
    expect_fault("[]", NULL, NULL, "", "must hold one JSON object, not array");
    expect_fault("null", NULL, NULL, "", "must hold one JSON object, not null");
    expect_fault("{\"name\":\"ab\",\"name\":\"cd\"}", NULL, NULL, "", "byte");
    json_check_init(&faults);
    ck_assert_int_eq(conf_read(&sample_table, "/nonexistent/x.json", NULL, NULL, &s, &faults),
                     -ERR_SYNTAX);
    ck_assert_str_eq(faults.faults[0].detail, "/nonexistent/x.json: No such file or directory");
    json_check_fini(&faults);
    json_check_init(&faults);
    ck_assert_int_eq(conf_read(&sample_table, "/dev/zero", NULL, NULL, &s, &faults), -ERR_SYNTAX);
    ck_assert_str_eq(faults.faults[0].detail, "/dev/zero: is no regular file");
    json_check_fini(&faults);
}
END_TEST

/* One secret file with `text`: the fault it makes, or the token it gives. */
static void try_secret(const char *text, size_t n, const char *token, const char *part)
{
    char *path = file_with(text, n);
    char *json = must_printf("{\"management\":{\"tokenFile\":\"%s\"}}", path);
    struct sample s;

    if (token) {
        expect_good(&s, json, NULL, NULL);
        ck_assert_str_eq(s.token, token);
        conf_free(&sample_table, &s);
    } else {
        expect_fault(json, NULL, NULL, "/management/tokenFile", part);
    }
    free(json);
    drop_file(path);
}

START_TEST(secrets_come_from_files)
{
    try_secret("12345678", 8, "12345678", NULL);
    try_secret("12345678\r\n", 10, "12345678", NULL);
    try_secret("12345678\nabcdefgh\n", 18, "12345678\nabcdefgh", NULL); /* two, a line each */
    try_secret("", 0, NULL, "is empty");
    try_secret("\n\n", 2, NULL, "is empty");
    try_secret("1234567\n", 8, NULL, "must hold 8 to 100 bytes, not 7");
    try_secret("1234\0005678", 9, NULL, "holds a NUL byte");
    try_secret("1234\0335678", 9, NULL, "must not contain control characters");
    expect_fault("{\"management\":{\"tokenFile\":\"/nonexistent\"}}", NULL, NULL,
                 "/management/tokenFile", "/nonexistent: No such file or directory");
    expect_fault("{\"management\":{\"tokenFile\":7}}", NULL, NULL, "/management/tokenFile",
                 "must be a string, not integer");
}
END_TEST

START_TEST(secret_and_its_file_exclude_each_other)
{
    char *path = file_with("12345678", 8);
    char *both =
        must_printf("{\"management\":{\"token\":\"abcdefgh\",\"tokenFile\":\"%s\"}}", path);
    char *variable = must_printf("PENSTOCK_MANAGEMENT__TOKEN_FILE=%s", path);
    char *set = must_printf("management.tokenFile=%s", path);
    char *env[] = {variable, NULL};
    const char *sets[] = {set, NULL};
    struct sample s;

    expect_fault(both, NULL, NULL, "/management/tokenFile", "management.token is given too");
    expect_fault("{\"management\":{\"token\":\"abcdefgh\"}}", env, NULL, "/management/tokenFile",
                 "only one of the two may be");
    expect_good(&s, NULL, env, NULL);
    ck_assert_str_eq(s.token, "12345678");
    conf_free(&sample_table, &s);
    expect_good(&s, NULL, NULL, sets);
    ck_assert_str_eq(s.token, "12345678");
    conf_free(&sample_table, &s);
    free(set);
    free(variable);
    free(both);
    drop_file(path);
}
END_TEST

START_TEST(secrets_are_not_set_on_the_command_line)
{
    const char *sets[] = {"management.token=hunter2hunter2", NULL};
    struct sample s = {0};
    struct json_check faults;

    expect_fault(NULL, NULL, sets, "/management/token", "not set on the command line");
    json_check_init(&faults);
    ck_assert_int_eq(conf_read(&sample_table, NULL, NULL, sets, &s, &faults), -ERR_SYNTAX);
    ck_assert_ptr_null(strstr(faults.faults[0].detail, "hunter2"));
    json_check_fini(&faults);
}
END_TEST

/* A list or a map of a service may hold some too. */
START_TEST(nor_are_secrets_in_lists_and_maps)
{
    const char *plain[] = {"anything={\"a\":[{\"name\":\"secret\",\"secretFile\":\"/x\"}]}", NULL};
    const char *in_list[] = {"anything=[{\"id\":\"a\"},{\"secret\":\"hunter2hunter2\"}]", NULL};
    const char *deep[] = {"anything={\"a\":{\"b\":[[{\"secret\":\"hunter2hunter2\"}]]}}", NULL};
    const char *no_json[] = {"anything=[{\"secret\":\"x\"}", NULL};
    struct sample s = {0};
    struct json_check faults;

    expect_good(&s, NULL, NULL, plain);
    conf_free(&sample_table, &s);
    expect_fault(NULL, NULL, deep, "/anything", "not set on the command line");
    expect_fault(NULL, NULL, no_json, "/anything", "--set: anything");
    json_check_init(&faults);
    ck_assert_int_eq(conf_read(&sample_table, NULL, NULL, in_list, &s, &faults), -ERR_SYNTAX);
    ck_assert_uint_eq(faults.total, 1);
    ck_assert_ptr_nonnull(strstr(faults.faults[0].detail, "not set on the command line"));
    ck_assert_ptr_null(strstr(faults.faults[0].detail, "hunter2"));
    json_check_fini(&faults);
}
END_TEST

START_TEST(required_keys)
{
    char *env[] = {"PENSTOCK_NAME=", NULL};

    expect_fault(NULL, env, NULL, "/name", "PENSTOCK_NAME: name: must be given");
    expect_fault("{\"management\":{\"token\":\"\"}}", NULL, NULL, "/management/token",
                 "must be given");
}
END_TEST

START_TEST(checks_of_the_service)
{
    char *env[] = {"PENSTOCK_IS_ON=true", "PENSTOCK_TUNNEL__LANES=13", NULL};

    expect_fault("{\"edges\":[\"a\",7]}", NULL, NULL, "/edges/1", "edges.1: must be a string");
    expect_fault(NULL, env, NULL, "/tunnel/lanes",
                 "configuration: tunnel.lanes: 13 lanes cannot be on");
}
END_TEST

START_TEST(cold_differences_name_the_keys)
{
    struct sample a, b;
    const char *cold[] = {"name=other", "isOn=true", "tunnel.lanes=5", NULL};
    const char *hot[] = {"tunnel.lanes=5", NULL};
    char *told;
    char *ports[] = {"PENSTOCK_TARGET__PORTS={}", NULL};

    expect_good(&a, NULL, NULL, NULL);
    expect_good(&b, NULL, NULL, cold);
    told = conf_cold_differences(&sample_table, &a, &b);
    ck_assert_str_eq(told, "name, isOn");
    free(told);
    conf_free(&sample_table, &b);
    expect_good(&b, NULL, NULL, hot);
    ck_assert_ptr_null(conf_cold_differences(&sample_table, &a, &b));
    conf_free(&sample_table, &b);
    expect_good(&b, NULL, ports, NULL);
    told = conf_cold_differences(&sample_table, &a, &b);
    ck_assert_str_eq(told, "target.ports");
    free(told);
    conf_free(&sample_table, &b);
    conf_free(&sample_table, &a);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        defaults_hold,
        later_source_wins,
        camel_case_becomes_variable,
        unknown_keys_are_errors,
        unknown_variable_is_no_error,
        text_that_is_no_json,
        all_faults_are_told_together,
        files_that_are_none,
        secrets_come_from_files,
        secret_and_its_file_exclude_each_other,
        secrets_are_not_set_on_the_command_line,
        nor_are_secrets_in_lists_and_maps,
        required_keys,
        checks_of_the_service,
        cold_differences_name_the_keys,
    };

    return run_suite("conf_read", tests, ARRAY_LEN(tests));
}
