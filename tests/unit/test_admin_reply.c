/* Answers: JSON, problems, ETags and their conditions, HEAD, parameters, what every answer carries;
 * and the audit line of a change. */
#include "admin/etag.h"
#include "admin_fixture.h"

START_TEST(lists_of_tags)
{
    static const struct {
        const char *field;
        bool is_strong, is_weak;
    } cases[] = {
        {"*", true, true},
        {" * ", true, true},
        {"\"a\"", true, true},
        {"\"b\", \"a\"", true, true},
        {"\"b\",\"a\" ", true, true},
        {", ,\"a\",,", true, true},
        {"W/\"a\"", false, true},
        {"W/\"a\", \"a\"", true, true},
        {"\"b\", W/\"a\"", false, true},
        {"\"b\"", false, false},
        {"\"A\"", false, false},
        {"\"aa\"", false, false},
        {"\"\"", false, false},
        {"a", false, false},
        {"\"a", false, false},
        {"a\"", false, false},
        {"", false, false},
        {",", false, false},
        {"\"a\" \"b\"", false, false},
        {"\"a\", x", false, false},
        {"\"a\", *", false, false},
        {"* , \"a\"", false, false},
        {"w/\"a\"", false, false},
        {"W/ \"a\"", false, false},
        {"\"a b\", \"a\"", false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ck_assert_msg(etag_list_has(cases[i].field, "a", ETAG_STRONG) == cases[i].is_strong,
                      "strong %s", cases[i].field);
        ck_assert_msg(etag_list_has(cases[i].field, "a", ETAG_WEAK) == cases[i].is_weak, "weak %s",
                      cases[i].field);
    }
}
END_TEST

START_TEST(if_none_match_on_reading)
{
    static const char *const same[] = {"*", "\"rev-1\"", "W/\"rev-1\"", "\"x\", \"rev-1\""};
    struct service s;
    struct answer a;

    service_up(&s);
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        char *request = must_printf(
            "GET /v1/things HTTP/1.1\r\n" HOST READ "If-None-Match: %s\r\n\r\n", same[i]);
        ask(&s, &a, request);
        ck_assert_uint_eq(a.status, 304);
        expect_header(&a, "ETag", "\"rev-1\"");
        expect_header(&a, "Content-Type", NULL);
        answer_fini(&a);
        free(request);
    }
    ask_status(&s, "GET /v1/things HTTP/1.1\r\n" HOST READ "If-None-Match: \"rev-2\"\r\n\r\n", 200);
    ask(&s, &a,
        "GET /v1/things HTTP/1.1\r\n" HOST READ
        "If-None-Match: \"x\"\r\nIf-None-Match: \"rev-1\"\r\n\r\n");
    ck_assert_uint_eq(a.status, 304);
    answer_fini(&a);
    ask(&s, &a, "HEAD /v1/things HTTP/1.1\r\n" HOST READ "If-None-Match: \"rev-1\"\r\n\r\n");
    ck_assert_uint_eq(a.status, 304);
    answer_fini(&a);
    service_stop(&s);
}
END_TEST

/* Nothing is left on the connection behind a 304. */
START_TEST(not_modified_has_no_body)
{
    static const char two[] = "GET /v1/things HTTP/1.1\r\n" HOST READ "If-None-Match: *\r\n\r\n"
                              "HEAD /v1/things HTTP/1.1\r\n" HOST READ "\r\n"
                              "DELETE /v1/things/a HTTP/1.1\r\n" HOST AUTH "\r\n"
                              "GET /healthz HTTP/1.1\r\n" HOST "\r\n";
    struct service s;
    struct answer a;
    int fd;

    service_up(&s);
    fd = dial_to(admin_address(s.admin));
    say(fd, two, strlen(two));
    hear(fd, &a, false);
    ck_assert_uint_eq(a.status, 304);
    answer_fini(&a);
    hear(fd, &a, true);
    ck_assert_uint_eq(a.status, 200);
    expect_header(&a, "Content-Length", "17");
    expect_header(&a, "ETag", "\"rev-1\"");
    answer_fini(&a);
    hear(fd, &a, false);
    ck_assert_uint_eq(a.status, 204);
    ck_assert_uint_eq(a.body_len, 0);
    answer_fini(&a);
    hear(fd, &a, false);
    ck_assert_str_eq(a.body, "{\"status\":\"ok\"}");
    answer_fini(&a);
    close(fd);
    service_stop(&s);
}
END_TEST

START_TEST(conditions_of_a_change)
{
    static const struct {
        const char *field;
        unsigned status;
    } cases[] = {
        {"", 200},
        {"If-Match: *\r\n", 200},
        {"If-Match: \"rev-1\"\r\n", 200},
        {"If-Match: \"rev-0\", \"rev-1\"\r\n", 200},
        {"If-Match: \"rev-0\"\r\nIf-Match: \"rev-1\"\r\n", 200},
        {"If-Match: \"rev-2\"\r\n", 412},
        {"If-Match: W/\"rev-1\"\r\n", 412},
        {"If-Match: rev-1\r\n", 412},
        {"If-Match: \r\n", 412},
        {"If-None-Match: *\r\n", 412},
        {"If-None-Match: \"rev-1\"\r\n", 412},
        {"If-None-Match: \"rev-2\"\r\n", 200},
    };
    struct service s;
    struct answer a;

    service_up(&s);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *request = must_printf("PUT /v1/things HTTP/1.1\r\n" HOST AUTH JSON
                                    "%sContent-Length: 2\r\n\r\n{}",
                                    cases[i].field);
        ask(&s, &a, request);
        ck_assert_msg(a.status == cases[i].status, "%u for %s", a.status, cases[i].field);
        if (a.status == 412) {
            expect_problem(&a, 412, "preconditionFailed");
            expect_header(&a, "ETag", "\"rev-1\"");
        }
        answer_fini(&a);
        free(request);
    }
    service_stop(&s);
}
END_TEST

START_TEST(created_and_faults)
{
    struct service s;
    struct answer a;

    service_up(&s);
    ask(&s, &a, "POST /v1/things HTTP/1.1\r\n" HOST AUTH JSON "Content-Length: 2\r\n\r\n{}");
    ck_assert_uint_eq(a.status, 201);
    expect_header(&a, "Location", "/v1/things/a%2Fb");
    expect_header(&a, "ETag", "\"one\"");
    ck_assert_str_eq(a.body, "{\"made\":\"yes\"}");
    answer_fini(&a);
    ask(&s, &a, "POST /v1/faults HTTP/1.1\r\n" HOST AUTH JSON "Content-Length: 2\r\n\r\n{}");
    expect_problem(&a, 422, "invalid");
    ck_assert_ptr_nonnull(strstr(
        a.body, "\"detail\":\"2 faults in the body\",\"errors\":["
                "{\"pointer\":\"/a\",\"code\":\"required\",\"detail\":\"must be there\"},"
                "{\"pointer\":\"/b/3\",\"code\":\"range\",\"detail\":\"must be below 7\"}]"));
    answer_fini(&a);
    ask(&s, &a, "POST /v1/optional HTTP/1.1\r\n" HOST AUTH "\r\n");
    ck_assert_str_eq(a.body, "{\"body\":\"none\"}");
    answer_fini(&a);
    ask(&s, &a, "POST /v1/optional HTTP/1.1\r\n" HOST AUTH JSON "Content-Length: 2\r\n\r\n{}");
    ck_assert_str_eq(a.body, "{\"body\":\"given\"}");
    answer_fini(&a);
    service_stop(&s);
}
END_TEST

START_TEST(parameters_are_decoded)
{
    struct service s;
    struct answer a;

    service_up(&s);
    ask(&s, &a, "GET /v1/things/a%2Fb%20c/%7e+?q=1%2b1+2%26&x HTTP/1.1\r\n" HOST READ "\r\n");
    ck_assert_uint_eq(a.status, 200);
    ck_assert_str_eq(a.body, "{\"id\":\"a/b c\",\"part\":\"~+\",\"none\":\"\",\"q\":\"1+1 2&\","
                             "\"peer\":\"127.0.0.1\"}");
    answer_fini(&a);
    ask(&s, &a, "GET /v1/things/a/b HTTP/1.1\r\n" HOST READ "\r\n");
    ck_assert_ptr_nonnull(strstr(a.body, "\"q\":null"));
    answer_fini(&a);
    service_stop(&s);
}
END_TEST

START_TEST(dry_run)
{
    struct service s;
    struct answer a;

    service_up(&s);
    ask(&s, &a,
        "PUT /v1/things?dryRun=true HTTP/1.1\r\n" HOST AUTH JSON "Content-Length: 2\r\n\r\n{}");
    ck_assert_uint_eq(a.status, 200);
    expect_header(&a, "ETag", NULL); /* the handler was told */
    answer_fini(&a);
    ask(&s, &a, "PUT /v1/things?dryRun HTTP/1.1\r\n" HOST AUTH JSON "Content-Length: 2\r\n\r\n{}");
    ck_assert_uint_eq(a.status, 200);
    expect_header(&a, "ETag", NULL); /* without a value it means true */
    answer_fini(&a);
    ask(&s, &a,
        "PUT /v1/things?dryRun=false HTTP/1.1\r\n" HOST AUTH JSON "Content-Length: 2\r\n\r\n{}");
    expect_header(&a, "ETag", "\"rev-2\"");
    answer_fini(&a);
    service_stop(&s);
}
END_TEST

START_TEST(what_every_answer_carries)
{
    static const char *const bad_ids[] = {"",
                                          "a b",
                                          "a/b",
                                          "<x>",
                                          "\xc3\xa9",
                                          "0123456789012345678901234567890123456789"
                                          "0123456789012345678901234"};
    struct service s;
    struct answer a;
    char id[1024];

    service_up(&s);
    ask(&s, &a, "GET /healthz HTTP/1.1\r\n" HOST "X-Request-Id: a.B_c-9\r\n\r\n");
    expect_header(&a, "X-Request-Id", "a.B_c-9");
    expect_header(&a, "Cache-Control", "no-store");
    expect_header(&a, "X-Content-Type-Options", "nosniff");
    expect_header(&a, "Server", NULL);
    ck_assert_ptr_nonnull(header_of(&a, "Date", id));
    answer_fini(&a);
    for (size_t i = 0; i < ARRAY_LEN(bad_ids); i++) {
        char *request = must_printf(
            "GET /nothing HTTP/1.1\r\n" HOST READ "X-Request-Id: %s\r\n\r\n", bad_ids[i]);
        ask(&s, &a, request);
        expect_problem(&a, 404, "notFound");
        ck_assert_ptr_nonnull(header_of(&a, "X-Request-Id", id));
        ck_assert_uint_eq(strlen(id), 16);
        ck_assert_uint_eq(strspn(id, "0123456789abcdef"), 16);
        answer_fini(&a);
        free(request);
    }
    service_stop(&s);
}
END_TEST

/* The log goes to a file; one line for each change, none for reading, never a token. */
START_TEST(changes_are_audited)
{
    struct service s;
    FILE *file = tmpfile();
    char text[16384];

    service_prepare(&s);
    ck_assert_ptr_nonnull(file);
    log_init(LOG_TEXT, LOG_INFO, fileno(file));
    service_start(&s);
    ask_status(&s, "GET /v1/things HTTP/1.1\r\n" HOST AUTH "\r\n", 200);
    ask_status(&s,
               "PUT /v1/things?dryRun=true HTTP/1.1\r\n" HOST AUTH JSON
               "X-Request-Id: r1\r\nContent-Length: 2\r\n\r\n{}",
               200);
    ask_status(&s,
               "PUT /v1/things HTTP/1.1\r\n" HOST AUTH JSON
               "X-Request-Id: r2\r\nIf-Match: \"no\"\r\nContent-Length: 2\r\n\r\n{}",
               412);
    ask_status(&s, "DELETE /v1/things/x HTTP/1.1\r\n" HOST READ "X-Request-Id: r3\r\n\r\n", 403);
    service_stop(&s);
    rewind(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    ck_assert_ptr_nonnull(strstr(text, "admin audit method=PUT path=/v1/things status=200 "
                                       "peer=127.0.0.1 scope=write dry_run=true request_id=r1"));
    ck_assert_ptr_nonnull(strstr(text, "admin audit method=PUT path=/v1/things status=412 "
                                       "peer=127.0.0.1 scope=write dry_run=false request_id=r2"));
    ck_assert_ptr_null(strstr(text, "method=GET"));
    ck_assert_ptr_nonnull(strstr(text, "admin audit method=DELETE path=/v1/things/x status=403 "
                                       "peer=127.0.0.1 scope=read dry_run=false request_id=r3"));
    ck_assert_ptr_null(strstr(text, TOKEN));
    ck_assert_ptr_null(strstr(text, READ_TOKEN));
    fclose(file);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        lists_of_tags,
        if_none_match_on_reading,
        not_modified_has_no_body,
        conditions_of_a_change,
        created_and_faults,
        parameters_are_decoded,
        dry_run,
        what_every_answer_carries,
        changes_are_audited,
    };

    return run_suite("admin_reply", tests, ARRAY_LEN(tests));
}
