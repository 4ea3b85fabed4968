/* Tests of access_log: the combined line by the letter, escaped and within its bounds; what a
 * request's head leaves for it. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "support/suite.h"
#include "traffic/traffic_worker_internal.h"

static struct traffic_worker *worker;
static struct traffic_settings settings;
static int read_fd, write_fd;

static void setup(void)
{
    struct tm tm = {.tm_mday = 10, .tm_mon = 9, .tm_year = 100, .tm_hour = 13, .tm_min = 55};
    int fds[2];

    ck_assert_int_eq(pipe2(fds, O_NONBLOCK), 0);
    read_fd = fds[0];
    write_fd = fds[1];
    log_init(LOG_JSON, LOG_INFO, write_fd);
    settings = (struct traffic_settings){.log_access = true, .access_format = ACCESS_COMBINED};
    worker = must_alloc(sizeof(*worker));
    worker->settings = &settings;
    access_log_time(worker->log_time, &tm);
}

static void teardown(void)
{
    free(worker);
    close(read_fd);
    close(write_fd);
}

/* What was logged since; "" for nothing. */
static const char *logged(void)
{
    static char line[2 * ACCESS_LINE_MAX];
    ssize_t n = read(read_fd, line, sizeof(line) - 1);

    line[n > 0 ? n : 0] = '\0';
    return line;
}

static struct access_record record_of(const struct access_notes *notes)
{
    return (struct access_record){.client = "192.0.2.1",
                                  .host = "a.test",
                                  .protocol = "HTTP/1.1",
                                  .method = "GET",
                                  .path = "/a?b",
                                  .upstream = "-",
                                  .tls = "TLS1.3",
                                  .request_id = "",
                                  .notes = notes,
                                  .status = 200,
                                  .bytes_out = 2326};
}

#define START "192.0.2.1 - - [10/Oct/2000:13:55:00 +0000] "

START_TEST(combined)
{
    struct access_notes notes = {"ann", "https://a.test/x", "Mozilla/5.0 (X11)"};
    struct access_record r = record_of(&notes);

    access_log_write(worker, &r);
    ck_assert_str_eq(logged(), "192.0.2.1 - ann [10/Oct/2000:13:55:00 +0000] "
                               "\"GET /a?b HTTP/1.1\" 200 2326 \"https://a.test/x\" "
                               "\"Mozilla/5.0 (X11)\"\n");
    r.notes = NULL;
    r.status = 0;
    r.bytes_out = 0;
    access_log_write(worker, &r);
    ck_assert_str_eq(logged(), START "\"GET /a?b HTTP/1.1\" 499 0 \"-\" \"-\"\n");
    r.method = r.path = "";
    r.protocol = NULL;
    r.status = 408;
    access_log_write(worker, &r);
    ck_assert_str_eq(logged(), START "\"-\" 408 0 \"-\" \"-\"\n");
}
END_TEST

/* Every byte but NUL, in every text. */
START_TEST(no_byte_leaves_its_column)
{
    for (unsigned c = 1; c < 256; c++) {
        bool is_bare = c > ' ' && c < 0x7f && c != '"' && c != '\\';
        char text[] = {'<', (char)c, '>', '\0'}, word[8], value[8], want[256];
        struct access_notes notes;
        struct access_record r = record_of(&notes);

        memcpy(notes.user, text, sizeof(text));
        memcpy(notes.referer, text, sizeof(text));
        memcpy(notes.agent, text, sizeof(text));
        r.method = r.path = text;
        snprintf(word, sizeof(word), is_bare ? "<%c>" : "<\\x%02X>", c);
        snprintf(value, sizeof(value), is_bare || c == ' ' ? "<%c>" : "<\\x%02X>", c);
        snprintf(want, sizeof(want),
                 "192.0.2.1 - %s [10/Oct/2000:13:55:00 +0000] \"%s %s HTTP/1.1\" 200 2326 \"%s\" "
                 "\"%s\"\n",
                 word, word, word, value, value);
        access_log_write(worker, &r);
        ck_assert_str_eq(logged(), want);
    }
}
END_TEST

static void fill(char *text, size_t size)
{
    memset(text, 0xff, size - 1);
    text[size - 1] = '\0';
}

START_TEST(the_longest_line_is_whole)
{
    char method[ACCESS_METHOD_MAX], path[ACCESS_PATH_MAX];
    struct access_notes notes;
    struct access_record r = record_of(&notes);
    const char *line;

    fill(method, sizeof(method));
    fill(path, sizeof(path));
    fill(notes.user, sizeof(notes.user));
    fill(notes.referer, sizeof(notes.referer));
    fill(notes.agent, sizeof(notes.agent));
    r.method = method;
    r.path = path;
    r.client = "2001:db8:1111:2222:3333:4444:5555:6666";
    r.bytes_out = UINT64_MAX;
    access_log_write(worker, &r);
    line = logged();
    ck_assert_uint_le(strlen(line), ACCESS_LINE_MAX);
    ck_assert_str_eq(line + strlen(line) - 6, "\\xFF\"\n");
}
END_TEST

START_TEST(what_a_head_leaves)
{
    static struct http_fields fields;
    static char agent[2 * ACCESS_VALUE_MAX];
    struct access_notes notes;

    memset(&notes, 'x', sizeof(notes));
    access_notes_set(&notes, &fields);
    ck_assert_str_eq(notes.user, "");
    ck_assert_str_eq(notes.referer, "");
    ck_assert_str_eq(notes.agent, "");
    memset(agent, 'a', sizeof(agent));
    fields.list[0] =
        (struct http_field){.name = "REFERER", .name_len = 7, .value = "1st", .value_len = 3};
    fields.list[1] =
        (struct http_field){.name = "referer", .name_len = 7, .value = "2nd", .value_len = 3};
    fields.list[2] = (struct http_field){
        .name = "User-Agent", .name_len = 10, .value = agent, .value_len = sizeof(agent)};
    fields.count = 3;
    access_notes_set(&notes, &fields);
    ck_assert_str_eq(notes.referer, "1st");
    ck_assert_uint_eq(strlen(notes.agent), ACCESS_VALUE_MAX - 1);
}
END_TEST

START_TEST(json_and_off)
{
    struct access_record r = record_of(NULL);

    settings.access_format = ACCESS_JSON;
    access_log_write(worker, &r);
    ck_assert_ptr_nonnull(strstr(logged(), "\"path\":\"/a?b\",\"status\":200,"));
    r.request_id = "theirs";
    access_log_write(worker, &r);
    ck_assert_ptr_nonnull(strstr(logged(), "\"request_id\":\"theirs\"}\n"));
    settings.log_access = false;
    access_log_write(worker, &r);
    settings.access_format = ACCESS_COMBINED;
    access_log_write(worker, &r);
    ck_assert_str_eq(logged(), "");
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("access_log");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, combined);
    tcase_add_test(tcase, no_byte_leaves_its_column);
    tcase_add_test(tcase, the_longest_line_is_whole);
    tcase_add_test(tcase, what_a_head_leaves);
    tcase_add_test(tcase, json_and_off);
    return suite_run("traffic_access_log", tcase);
}
