/* The two text formats: exact bytes of small scrapes, the shape of whole ones, who gets which. */
#include <math.h>

#include "admin_fixture.h"

static void expect_text(struct metrics *m, const char *wanted)
{
    size_t len = 0;
    char *text = metrics_finish(m, &len);

    ck_assert_str_eq(text, wanted);
    ck_assert_uint_eq(len, strlen(wanted));
    free(text);
}

static void fill(struct metrics *m)
{
    static const double bounds[] = {0.005, 1, 2.5};
    static const uint64_t counts[] = {1, 2, 0, 4};

    metrics_family(m, "penstock_a_total", METRIC_COUNTER, "Line\nwith \\ and \".");
    metrics_value(m, 3, NULL);
    metrics_value(m, 1e18, "x", "1", "y", "q\"b\\n\nz", NULL);
    metrics_family(m, "penstock_b_seconds", METRIC_GAUGE, "B.");
    metrics_value(m, 0.1, NULL);
    metrics_value(m, -2.5e-7, "k", "caf\xc3\xa9\x01", NULL);
    metrics_value(m, NAN, NULL);
    metrics_value(m, INFINITY, NULL);
    metrics_value(m, -INFINITY, NULL);
    metrics_family(m, "penstock_c_seconds", METRIC_HISTOGRAM, "C.");
    metrics_histogram(m, bounds, counts, ARRAY_LEN(bounds), 7.25, "op", "read", NULL);
}

START_TEST(text_format)
{
    struct metrics *m = metrics_new(false);

    fill(m);
    expect_text(m, "# HELP penstock_a_total Line\\nwith \\\\ and \".\n"
                   "# TYPE penstock_a_total counter\n"
                   "penstock_a_total 3\n"
                   "penstock_a_total{x=\"1\",y=\"q\\\"b\\\\n\\nz\"} 1e+18\n"
                   "# HELP penstock_b_seconds B.\n"
                   "# TYPE penstock_b_seconds gauge\n"
                   "penstock_b_seconds 0.1\n"
                   "penstock_b_seconds{k=\"caf???\"} -2.5e-07\n"
                   "penstock_b_seconds NaN\n"
                   "penstock_b_seconds +Inf\n"
                   "penstock_b_seconds -Inf\n"
                   "# HELP penstock_c_seconds C.\n"
                   "# TYPE penstock_c_seconds histogram\n"
                   "penstock_c_seconds_bucket{op=\"read\",le=\"0.005\"} 1\n"
                   "penstock_c_seconds_bucket{op=\"read\",le=\"1\"} 3\n"
                   "penstock_c_seconds_bucket{op=\"read\",le=\"2.5\"} 3\n"
                   "penstock_c_seconds_bucket{op=\"read\",le=\"+Inf\"} 7\n"
                   "penstock_c_seconds_sum{op=\"read\"} 7.25\n"
                   "penstock_c_seconds_count{op=\"read\"} 7\n");
}
END_TEST

START_TEST(open_metrics_format)
{
    struct metrics *m = metrics_new(true);

    fill(m);
    expect_text(m, "# HELP penstock_a Line\\nwith \\\\ and \\\".\n"
                   "# TYPE penstock_a counter\n"
                   "penstock_a_total 3\n"
                   "penstock_a_total{x=\"1\",y=\"q\\\"b\\\\n\\nz\"} 1e+18\n"
                   "# HELP penstock_b_seconds B.\n"
                   "# TYPE penstock_b_seconds gauge\n"
                   "penstock_b_seconds 0.1\n"
                   "penstock_b_seconds{k=\"caf???\"} -2.5e-07\n"
                   "penstock_b_seconds NaN\n"
                   "penstock_b_seconds +Inf\n"
                   "penstock_b_seconds -Inf\n"
                   "# HELP penstock_c_seconds C.\n"
                   "# TYPE penstock_c_seconds histogram\n"
                   "penstock_c_seconds_bucket{op=\"read\",le=\"0.005\"} 1\n"
                   "penstock_c_seconds_bucket{op=\"read\",le=\"1.0\"} 3\n"
                   "penstock_c_seconds_bucket{op=\"read\",le=\"2.5\"} 3\n"
                   "penstock_c_seconds_bucket{op=\"read\",le=\"+Inf\"} 7\n"
                   "penstock_c_seconds_sum{op=\"read\"} 7.25\n"
                   "penstock_c_seconds_count{op=\"read\"} 7\n"
                   "# EOF\n");
}
END_TEST

START_TEST(numbers_read_back_as_they_were)
{
    static const double values[] = {0.1 + 0.2, 1.0 / 3, 1e300, 5e-324, 123456789.125, -0.7};

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct metrics *m = metrics_new(false);
        size_t len = 0;
        metrics_family(m, "x", METRIC_GAUGE, "X.");
        metrics_value(m, values[i], NULL);
        char *text = metrics_finish(m, &len);
        double back = strtod(strrchr(text, ' '), NULL);
        ck_assert_msg(memcmp(&back, &values[i], sizeof(back)) == 0, "%s", text);
        free(text);
    }
}
END_TEST

/* --- mistakes of ours end the program ----------------------------------------------------------
 */

START_TEST(family_twice)
{
    struct metrics *m = metrics_new(false);

    metrics_family(m, "x", METRIC_GAUGE, "X.");
    metrics_family(m, "x", METRIC_GAUGE, "X.");
}
END_TEST

START_TEST(counter_without_total)
{
    metrics_family(metrics_new(false), "x", METRIC_COUNTER, "X.");
}
END_TEST

START_TEST(gauge_with_total)
{
    metrics_family(metrics_new(false), "x_total", METRIC_GAUGE, "X.");
}
END_TEST

START_TEST(value_without_family)
{
    metrics_value(metrics_new(false), 1, NULL);
}
END_TEST

START_TEST(name_that_is_none)
{
    metrics_family(metrics_new(false), "a-b", METRIC_GAUGE, "X.");
}
END_TEST

/* --- a whole scrape ------------------------------------------------------------------------------
 */

/* One sample's line: name{label="value",...} number.  Where it goes wrong, or NULL. */
static const char *read_sample(const char *p, const char *family)
{
    size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789_");
    char *end;

    if (strncmp(p, family, strlen(family)) != 0 || n < strlen(family))
        return p;
    p += n;
    if (*p == '{') {
        do {
            p++;
            p += strspn(p, "abcdefghijklmnopqrstuvwxyz_");
            if (strncmp(p, "=\"", 2) != 0)
                return p;
            for (p += 2; *p && *p != '"'; p++)
                if (*p == '\\' && *++p == '\0')
                    return p;
            if (*p++ != '"')
                return p;
        } while (*p == ',');
        if (*p++ != '}')
            return p;
    }
    if (*p++ != ' ')
        return p;
    (void)strtod(p, &end);
    return end > p && *end == '\0' ? NULL : p;
}

/* Every sample stands behind the HELP and TYPE of its own family. */
static unsigned read_scrape(char *text, bool is_open)
{
    char family[256] = "";
    unsigned samples = 0;
    bool has_end = false;

    ck_assert_uint_gt(strlen(text), 0);
    ck_assert_int_eq(text[strlen(text) - 1], '\n');
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char type[32];

        ck_assert(!has_end);
        if (strcmp(line, "# EOF") == 0) {
            has_end = true;
        } else if (strncmp(line, "# HELP ", 7) == 0) {
            ck_assert_int_eq(sscanf(line, "# HELP %255s", family), 1);
        } else if (line[0] == '#') {
            char name[256];
            ck_assert_int_eq(sscanf(line, "# TYPE %255s %31s", name, type), 2);
            ck_assert_str_eq(name, family);
            ck_assert(strcmp(type, "counter") == 0 || strcmp(type, "gauge") == 0 ||
                      strcmp(type, "histogram") == 0);
        } else {
            const char *fault = read_sample(line, family);
            ck_assert_msg(!fault, "bad sample at '%s' in: %s", fault, line);
            samples++;
        }
    }
    ck_assert(has_end == is_open);
    return samples;
}

static void scrape(struct service *s, const char *accept, bool is_open)
{
    char *request = must_printf("GET /metrics HTTP/1.1\r\n" HOST READ "%s\r\n", accept);
    struct answer a;

    ask(s, &a, request);
    ck_assert_uint_eq(a.status, 200);
    expect_header(&a, "Content-Type",
                  is_open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                          : "text/plain; version=0.0.4; charset=utf-8");
    expect_header(&a, "Vary", "Accept");
    ck_assert_ptr_nonnull(strstr(
        a.body, "penstock_build_info{service=\"sample\",version=\"" PENSTOCK_VERSION "\"} 1\n"));
    ck_assert_ptr_nonnull(strstr(a.body, "penstock_things_total{kind=\"a\\\"b\\\\c\\nd\"} 7\n"));
    ck_assert_uint_gt(read_scrape(a.body, is_open), 20);
    answer_fini(&a);
    free(request);
}

START_TEST(format_by_accept)
{
    static const struct {
        const char *accept;
        bool is_open;
    } cases[] = {
        {"", false},
        {"Accept: */*\r\n", false},
        {"Accept: text/plain\r\n", false},
        {"Accept: application/openmetrics-text\r\n", true},
        {"Accept: application/openmetrics-text; version=1.0.0\r\n", true},
        {"Accept: application/openmetrics-text;version=\"1.0.0\";q=0.1\r\n", true},
        {"Accept: application/openmetrics-text; version=0.0.1\r\n", false},
        {"Accept: application/openmetrics-text; q=0\r\n", false},
        {"Accept: application/openmetrics-text;q=0.4, text/plain;q=0.5\r\n", false},
        {"Accept: text/plain;q=0.5, application/openmetrics-text;q=0.51\r\n", true},
        {"Accept: application/openmetrics-text;version=1.0.0;q=0.5,"
         "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,"
         "*/*;q=0.2\r\n",
         true},
        {"Accept: text/plain\r\nAccept: application/openmetrics-text\r\n", true},
        {"Accept: application/openmetrics-textual\r\n", false},
        {"Accept: ,,;q=,=\r\n", false},
    };
    struct service s;

    service_up(&s);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        scrape(&s, cases[i].accept, cases[i].is_open);
    service_stop(&s);
}
END_TEST

/* The value of a sample in a scrape of /metrics. */
static double value_of(struct service *s, const char *sample)
{
    struct answer a;
    char *line, *at;
    double value;

    ask(s, &a, "GET /metrics HTTP/1.1\r\n" HOST READ "\r\n");
    line = must_printf("\n%s ", sample);
    at = strstr(a.body, line);
    ck_assert_msg(at != NULL, "no %s", sample);
    value = strtod(at + strlen(line), NULL);
    free(line);
    answer_fini(&a);
    return value;
}

START_TEST(what_the_server_counts)
{
    struct service s;

    service_up(&s);
    ask_status(&s, "GET /v1/things HTTP/1.1\r\n" HOST READ "\r\n", 200);
    ask_status(&s, "GET /nothing HTTP/1.1\r\n" HOST READ "\r\n", 404);
    ask_status(&s, "GET /nothing HTTP/1.1\r\n" HOST READ "\r\n", 404);
    ask_status(&s, "BREW /nothing HTTP/1.1\r\n" HOST READ "\r\n", 404);
    ask_status(&s, "GET /v1/things HTTP/1.1\r\n" HOST "\r\n", 401);
    ask_status(&s, "GET /v1/things HTTP/1.1\r\nHost: evil.test\r\n\r\n", 403);
    ck_assert_double_eq(value_of(&s, "penstock_admin_requests_total{method=\"GET\",code=\"404\"}"),
                        2);
    ck_assert_double_eq(
        value_of(&s, "penstock_admin_requests_total{method=\"other\",code=\"404\"}"), 1);
    ck_assert_double_ge(value_of(&s, "penstock_admin_requests_total{method=\"GET\",code=\"200\"}"),
                        3);
    ck_assert_double_eq(value_of(&s, "penstock_admin_refused_total{reason=\"path\"}"), 3);
    ck_assert_double_eq(value_of(&s, "penstock_admin_refused_total{reason=\"auth\"}"), 1);
    ck_assert_double_eq(value_of(&s, "penstock_admin_refused_total{reason=\"host\"}"), 1);
    ck_assert_double_eq(value_of(&s, "penstock_admin_refused_total{reason=\"slow\"}"), 0);
    ck_assert_double_ge(value_of(&s, "penstock_admin_connections{port=\"management\"}"), 1);
    service_stop(&s);
}
END_TEST

START_TEST(what_the_process_uses)
{
    struct service s;
    double before, after;
    int fds[50];

    service_up(&s);
    before = value_of(&s, "process_open_fds");
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = dup(0);
    after = value_of(&s, "process_open_fds");
    ck_assert_double_ge(after - before, 48); /* a connection of the scrape may come or go */
    ck_assert_double_le(after - before, 52);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    ck_assert_double_ge(value_of(&s, "process_max_fds"), after);
    ck_assert_double_ge(value_of(&s, "process_resident_memory_bytes"), 1e6);
    ck_assert_double_gt(value_of(&s, "process_cpu_seconds_total"), 0);
    double start = value_of(&s, "process_start_time_seconds");
    ck_assert_double_le(start, (double)time(NULL) + 1);
    ck_assert_double_ge(start, (double)time(NULL) - 120); /* this test's own process */
    ck_assert_double_eq(start, value_of(&s, "process_start_time_seconds"));
    service_stop(&s);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        text_format,      open_metrics_format,    numbers_read_back_as_they_were,
        format_by_accept, what_the_server_counts, what_the_process_uses,
    };
    const TTest *const bugs[] = {
        family_twice,         counter_without_total, gauge_with_total,
        value_without_family, name_that_is_none,
    };
    Suite *suite = suite_create("admin_metrics");
    TCase *good = tcase_create("formats"), *bad = tcase_create("bugs");
    SRunner *runner;
    int failed;

    for (size_t i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(good, tests[i]);
    for (size_t i = 0; i < ARRAY_LEN(bugs); i++)
        tcase_add_test_raise_signal(bad, bugs[i], SIGABRT);
    tcase_set_timeout(good, 120);
    suite_add_tcase(suite, good);
    suite_add_tcase(suite, bad);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
