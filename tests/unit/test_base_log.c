/* Tests of base/log: the two formats, what is escaped, what is cut and how, levels, the limit.
 * Each line is written to a pipe and read back. */
#include <check.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/must.h"

static int read_fd, write_fd;
static char line[16384];

static void setup(void)
{
    int fds[2];

    ck_assert_int_eq(pipe2(fds, O_NONBLOCK), 0);
    read_fd = fds[0];
    write_fd = fds[1];
}

static void teardown(void)
{
    close(read_fd);
    close(write_fd);
}

/* What was logged since; "" for nothing. */
static const char *logged(void)
{
    ssize_t n = read(read_fd, line, sizeof(line) - 1);

    line[n > 0 ? n : 0] = '\0';
    return line;
}

static void ck_assert_matches(const char *text, const char *pattern)
{
    regex_t regex;

    ck_assert_int_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    ck_assert_msg(regexec(&regex, text, 0, NULL, 0) == 0, "%s\ndoes not match\n%s", text, pattern);
    regfree(&regex);
}

static struct json_object *parsed(const char *text)
{
    struct json_object *object = json_tokener_parse(text);

    ck_assert_msg(object != NULL, "no JSON: %s", text);
    return object;
}

static const char *member(struct json_object *object, const char *key)
{
    struct json_object *value;

    ck_assert_msg(json_object_object_get_ex(object, key, &value), "no %s", key);
    return json_object_get_string(value);
}

START_TEST(a_text_line_has_time_level_module_event_fields)
{
    log_init(LOG_TEXT, LOG_INFO, write_fd);
    log_info("link", "lane_open", LOG_S("edge", "e1"), LOG_U("lane", 3), LOG_I("delta", -5),
             LOG_B("up", true), LOG_S("none", NULL), LOG_S("empty", ""), LOG_S("two", "a b"),
             LOG_NOTHING, LOG_B("down", 0));
    ck_assert_matches(logged(),
                      "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z info  "
                      "link lane_open edge=e1 lane=3 delta=-5 up=true none=- empty=\"\" "
                      "two=\"a b\" down=false\n$");
    log_err("loop", "broken");
    ck_assert_matches(logged(), "Z error loop broken\n$");
}
END_TEST

START_TEST(a_json_line_is_one_object)
{
    struct json_object *object;

    log_init(LOG_JSON, LOG_INFO, write_fd);
    log_warn("link", "lane_open", LOG_S("edge", "e\"1\\\n\t\x7f"), LOG_U("lane", UINT64_MAX),
             LOG_I("delta", INT64_MIN), LOG_B("up", true), LOG_S("none", NULL));
    object = parsed(logged());
    ck_assert_str_eq(member(object, "level"), "warn");
    ck_assert_str_eq(member(object, "module"), "link");
    ck_assert_str_eq(member(object, "event"), "lane_open");
    ck_assert_str_eq(member(object, "edge"), "e\"1\\\n\t\x7f");
    ck_assert_str_eq(member(object, "delta"), "-9223372036854775808");
    ck_assert_str_eq(member(object, "up"), "true");
    ck_assert_ptr_null(member(object, "none"));
    ck_assert_ptr_nonnull(strstr(line, "\"lane\":18446744073709551615"));
    json_object_put(object);
}
END_TEST

START_TEST(no_value_forges_a_line_or_a_field)
{
    static const char *const evil[] = {"a\nb",     "a\rb",     "a b=c",    "a\"b", "a\\b",
                                       "\x1b[31m", "\xc3\xa4", "\xff\xfe", "a=b",  "\x7f"};

    for (unsigned i = 0; i < ARRAY_LEN(evil); i++) {
        log_init(LOG_TEXT, LOG_INFO, write_fd);
        log_info("m", "e", LOG_S("k", evil[i]), LOG_S("z", "1"));
        logged();
        ck_assert_matches(line, "^[^\n]* m e k=\"[ -!#-~]*(\\\\\")?[ -!#-~]*\" z=1\n$");
        for (const char *c = line; c[1]; c++)
            ck_assert(*c >= 0x20 && *c < 0x7f);
        log_init(LOG_JSON, LOG_INFO, write_fd);
        log_info("m", "e", LOG_S("k", evil[i]), LOG_S("z", "1"));
        struct json_object *object = parsed(logged());
        ck_assert_str_eq(member(object, "z"), "1");
        ck_assert_int_eq(json_object_object_length(object), 6);
        json_object_put(object);
    }
}
END_TEST

/* Lengths around the limit of a line, of bytes that stay one and of bytes that become six. */
START_TEST(a_long_value_is_cut_and_the_line_ends_well)
{
    static const char fills[] = {'x', '\x01', '"', ' '};
    enum log_format format = _i % 2 ? LOG_JSON : LOG_TEXT;
    char fill = fills[_i / 2];
    static char value[6000];

    log_init(format, LOG_INFO, write_fd);
    for (size_t n = 500; n < sizeof(value) - 1; n++) {
        size_t len;

        if (n < 3900 || n > 4200)
            n += 96;
        n = MIN(n, sizeof(value) - 1);

        memset(value, fill, n);
        value[n] = '\0';
        log_info("m", "e", LOG_S("k", value), LOG_S("late", value), LOG_U("n", n));
        len = strlen(logged());
        ck_assert_uint_le(len, 4096);
        ck_assert_uint_gt(len, 0);
        ck_assert_ptr_eq(strchr(line, '\n'), line + len - 1);
        if (n > 4096)
            ck_assert_ptr_nonnull(strstr(line, "..."));
        if (format == LOG_JSON)
            json_object_put(parsed(line));
    }
}
END_TEST

START_TEST(fields_without_room_are_left_out_whole)
{
    struct log_field fields[400];
    struct json_object *object;

    for (unsigned i = 0; i < ARRAY_LEN(fields); i++)
        fields[i] = LOG_U("counter", 18446744073709551615u);
    log_init(LOG_JSON, LOG_INFO, write_fd);
    log_write(LOG_INFO, "m", "e", fields, ARRAY_LEN(fields));
    ck_assert_uint_le(strlen(logged()), 4096);
    object = parsed(line);
    ck_assert_str_eq(member(object, "event"), "e");
    ck_assert_matches(line, "18446744073709551615}\n$");
    json_object_put(object);
}
END_TEST

START_TEST(levels_below_the_threshold_are_silent)
{
    log_init(LOG_TEXT, LOG_WARN, write_fd);
    log_debug("m", "e");
    log_info("m", "e");
    ck_assert_str_eq(logged(), "");
    ck_assert(!log_is_on(LOG_INFO));
    ck_assert(log_is_on(LOG_WARN));
    log_set_level(LOG_DEBUG);
    ck_assert_int_eq(log_level(), LOG_DEBUG);
    log_debug("m", "e");
    ck_assert_matches(logged(), " debug m e\n$");
}
END_TEST

START_TEST(a_raw_line_is_written_as_it_is)
{
    static const char raw[] = "a \"b\\\x01\xff\n";

    log_init(LOG_JSON, LOG_WARN, write_fd);
    log_raw(LOG_INFO, raw, sizeof(raw) - 1);
    ck_assert_str_eq(logged(), "");
    log_raw(LOG_WARN, raw, sizeof(raw) - 1);
    ck_assert_str_eq(logged(), raw);
}
END_TEST

START_TEST(levels_have_names)
{
    for (int i = 0; i < LOG_LEVEL_COUNT; i++)
        ck_assert_int_eq(log_level_parse(log_level_name((enum log_level)i)), i);
    ck_assert_str_eq(log_level_name(LOG_LEVEL_COUNT), "?");
    ck_assert_int_eq(log_level_parse("loud"), -1);
    ck_assert_int_eq(log_level_parse(""), -1);
}
END_TEST

/* What has no log_writer waits a moment for a reader that has stopped, not for good. */
START_TEST(a_reader_that_stopped_costs_the_line)
{
    static char zeros[4096];

    log_init(LOG_TEXT, LOG_INFO, write_fd);
    while (write(write_fd, zeros, sizeof(zeros)) > 0)
        continue;
    ck_assert_int_eq(fcntl(write_fd, F_SETFL, 0), 0); /* from now on a write waits */
    log_info("m", "lost");
    ck_assert(!log_last_words(write_fd, "words\n", 6));
    while (read(read_fd, zeros, sizeof(zeros)) > 0)
        continue;
    ck_assert(log_last_words(write_fd, "words\n", 6));
    log_info("m", "e");
    ck_assert_matches(logged(), "^words\n.* m e\n$");
}
END_TEST

START_TEST(the_limit_lets_a_burst_pass_then_one_a_period)
{
    struct log_limit limit = {.burst = 3, .every_ms = 100};
    uint64_t now = 5000;
    unsigned passed = 0;

    for (int i = 0; i < 10; i++)
        passed += log_limit_pass(&limit, now);
    ck_assert_uint_eq(passed, 3);
    ck_assert_uint_eq(limit.held, 7);
    ck_assert(!log_limit_pass(&limit, now + 99));
    ck_assert(log_limit_pass(&limit, now + 100));
    ck_assert(!log_limit_pass(&limit, now + 199));
    ck_assert(log_limit_pass(&limit, now + 1000)); /* rested: a burst again */
    ck_assert(log_limit_pass(&limit, now + 1000));
    ck_assert(log_limit_pass(&limit, now + 1000));
    ck_assert(!log_limit_pass(&limit, now + 1000));
}
END_TEST

START_TEST(the_limit_loses_no_part_of_a_period)
{
    struct log_limit limit = {.burst = 2, .every_ms = 100};
    unsigned passed = 0;

    for (uint64_t now = 1000; now < 11000; now += 30) /* 10 s, asked all the time */
        passed += log_limit_pass(&limit, now);
    ck_assert_uint_ge(passed, 100);
    ck_assert_uint_le(passed, 102);
}
END_TEST

START_TEST(the_limit_has_defaults)
{
    struct log_limit limit = {0};
    unsigned passed = 0;

    for (int i = 0; i < 50; i++)
        passed += log_limit_pass(&limit, 123456);
    ck_assert_uint_eq(passed, 10);
    ck_assert(log_limit_pass(&limit, 124456));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base_log");
    TCase *tc = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_text_line_has_time_level_module_event_fields);
    tcase_add_test(tc, a_json_line_is_one_object);
    tcase_add_test(tc, no_value_forges_a_line_or_a_field);
    tcase_add_loop_test(tc, a_long_value_is_cut_and_the_line_ends_well, 0, 8);
    tcase_add_test(tc, fields_without_room_are_left_out_whole);
    tcase_add_test(tc, levels_below_the_threshold_are_silent);
    tcase_add_test(tc, a_raw_line_is_written_as_it_is);
    tcase_add_test(tc, levels_have_names);
    tcase_add_test(tc, a_reader_that_stopped_costs_the_line);
    tcase_add_test(tc, the_limit_lets_a_burst_pass_then_one_a_period);
    tcase_add_test(tc, the_limit_loses_no_part_of_a_period);
    tcase_add_test(tc, the_limit_has_defaults);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
