/* What the server refuses by itself, byte for byte: framing, target, Host, Origin, routes, bodies.
 */
#include <fcntl.h>

#include "admin_fixture.h"

#define GET(path) "GET " path " HTTP/1.1\r\n"
#define PUT(path) "PUT " path " HTTP/1.1\r\n"

START_TEST(body_length_that_can_be_read_in_two_ways)
{
    static const char *const bad[] = {
        PUT("/v1/things") HOST AUTH JSON "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        PUT("/v1/things") HOST AUTH JSON "Content-Length: 2\r\nContent-Length: 0\r\n\r\n{}",
        PUT("/v1/things") HOST AUTH JSON
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        PUT("/v1/things") HOST AUTH JSON
        "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        PUT("/v1/things") HOST AUTH JSON
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "PUT /v1/things HTTP/1.0\r\n" HOST AUTH JSON
        "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        PUT("/v1/things") HOST AUTH JSON "Content-Length : 2\r\nContent-Length: 0\r\n\r\n{}",
        PUT("/v1/things") HOST AUTH JSON "Content Length: 2\r\n\r\n{}",
    };
    struct service s;

    service_up(&s);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        /* libmicrohttpd 1.0 refuses broken names itself, in HTML */
        bool is_ours = i < 6 || MHD_IS_OLD;
        ask_closed(&s, bad[i], 400, is_ours ? "badFraming" : NULL);
    }
    ck_assert_uint_eq(atomic_load(&s.handled), 0);
    service_stop(&s);
}
END_TEST

START_TEST(transfer_encodings_but_chunked)
{
    static const char *const codings[] = {"gzip",         "chunked, chunked", "gzip, chunked",
                                          "chunked,gzip", "identity",         "x"};
    struct service s;

    service_up(&s);
    for (size_t i = 0; i < ARRAY_LEN(codings); i++) {
        char *request = must_printf(PUT("/v1/things") HOST AUTH JSON
                                    "Transfer-Encoding: %s\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
                                    codings[i]);
        ask_closed(&s, request, 400, MHD_IS_OLD ? "badFraming" : NULL);
        free(request);
    }
    ck_assert_uint_eq(atomic_load(&s.handled), 0);
    service_stop(&s);
}
END_TEST

/* libmicrohttpd answers these itself: the status counts, and that the connection is closed. (0.9.75
 * even sends the head of this answer twice, so what follows the status is not looked at.) */
static void expect_status_and_end(struct service *s, const char *request, unsigned status)
{
    int fd = dial_to(admin_address(s->admin));
    char text[4096];
    size_t n = 0;
    ssize_t got;
    unsigned have = 0;

    say(fd, request, strlen(request));
    while ((got = hear_bytes(fd, text + n, sizeof(text) - 1 - n)) > 0)
        n += (size_t)got;
    ck_assert(got == 0 || errno == ECONNRESET);
    text[n] = '\0';
    ck_assert_int_eq(sscanf(text, "HTTP/1.1 %u ", &have), 1);
    ck_assert_uint_eq(have, status);
    close(fd);
}

START_TEST(content_lengths_that_are_no_numbers)
{
    static const char *const lengths[] = {"-1", "+2", "0x2", "2 2", "2,2", "two", ""};
    struct service s;

    service_up(&s);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        char *request = must_printf(PUT("/v1/things") HOST AUTH JSON "Content-Length: %s\r\n\r\n{}",
                                    lengths[i]);
        expect_status_and_end(&s, request, 400);
        free(request);
    }
    expect_status_and_end(
        &s, PUT("/v1/things") HOST AUTH JSON "Content-Length: 99999999999999999999999\r\n\r\n",
        413);
    ck_assert_uint_eq(atomic_load(&s.handled), 0);
    service_stop(&s);
}
END_TEST

START_TEST(hosts)
{
    static const char *const good[] = {"localhost",  "LOCALHOST:9001", "127.0.0.1:80",
                                       "[::1]:9001", "[2001:db8::1]",  "10.0.0.1",
                                       "hub.test",   "Hub.Test.:443"};
    static const char *const foreign[] = {
        "evil.test", "localhost.evil.test", "127.0.0.1.evil.test", "hub.test.evil",
        "127.1",     "xn--hub.test"};
    static const char *const broken[] = {
        "",       ":80",        "a b",         "user@localhost",  "[::1",        "[::1]x",
        "[evil]", "localhost:", "localhost:0", "localhost:99999", "localhost/x", "[]"};
    struct service s;

    service_prepare(&s);
    s.options.hosts = json_object_new_array();
    json_object_array_add(s.options.hosts, json_object_new_string("hub.test"));
    service_start(&s);
    json_object_put(s.options.hosts); /* the server has its own reference */
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        char *request = must_printf(GET("/healthz") "Host: %s\r\n\r\n", good[i]);
        ask_status(&s, request, 200);
        free(request);
    }
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++) {
        char *request = must_printf(GET("/healthz") "Host: %s\r\n\r\n", foreign[i]);
        ask_problem(&s, request, 403, "hostNotAllowed");
        free(request);
    }
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        char *request = must_printf(GET("/healthz") "Host: %s\r\n\r\n", broken[i]);
        ask_problem(&s, request, 400, "badHost");
        free(request);
    }
    ask_closed(&s, GET("/healthz") "\r\n", 400, MHD_IS_OLD ? "badHost" : NULL);
    ask_closed(&s, "GET /healthz HTTP/1.0\r\n\r\n", 400, "badHost");
    ask_closed(&s, GET("/healthz") HOST HOST "\r\n", 400, "badHost");
    ask_closed(&s, GET("/healthz") HOST "Host: evil.test\r\n\r\n", 400, "badHost");
    service_stop(&s);
}
END_TEST

START_TEST(origins)
{
    static const char at[] = GET("/healthz") "Host: localhost:9001\r\nOrigin: %s\r\n\r\n";
    static const char *const bad[] = {"null",
                                      "http://evil.test",
                                      "http://localhost",
                                      "http://localhost:9002",
                                      "https://localhost",
                                      "localhost:9001",
                                      "ftp://localhost:9001",
                                      "",
                                      "http://localhost:9001.evil.test"};
    struct service s;

    service_up(&s);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char *request = must_printf(at, bad[i]);
        ask_problem(&s, request, 403, "originNotAllowed");
        free(request);
    }
    ask_status(&s, GET("/healthz") "Host: localhost:9001\r\nOrigin: http://localhost:9001\r\n\r\n",
               200);
    ask_status(&s, GET("/healthz") "Host: LocalHost\r\nOrigin: https://localhost\r\n\r\n", 200);
    ask_status(&s, GET("/healthz") "Host: [::1]:80\r\nOrigin: http://[::1]\r\n\r\n", 200);
    ask_problem(&s,
                GET("/healthz") "Host: localhost\r\nOrigin: http://localhost\r\n"
                                "Origin: http://localhost\r\n\r\n",
                403, "originNotAllowed");
    service_stop(&s);
}
END_TEST

START_TEST(targets)
{
    static const char *const bad[] = {
        "*",      "localhost:80", "http:/healthz", "/a%zz", "/a%2",
        "/a%00b", "/a%",          "/a\"b",         "/a\\b", "http://evil.test/healthz",
        "healthz"};
    struct service s;

    service_up(&s);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char *request = must_printf("GET %s HTTP/1.1\r\n" HOST "\r\n", bad[i]);
        ask_problem(&s, request, 400, "badTarget");
        free(request);
    }
    ask_status(&s, GET("http://localhost/healthz") HOST "\r\n", 200); /* RFC 9112, 3.2.2 */
    ask_status(&s, GET("HTTP://LOCALHOST/v1/things/a/b?q=1") HOST READ "\r\n", 200);
    service_stop(&s);
}
END_TEST

START_TEST(queries)
{
    static const char *const bad[] = {"a=%zz",         "%00=1",        "dryRun=%00",
                                      "dryRun=yes",    "dryRun=",      "dryRun=true&dryRun=true",
                                      "dryrun=true",   "dry_run=true", "dry-run",
                                      "dryRun=true&x", "q=1",          "dryRun&dryRun=false",
                                      "=true",         "%ff%22=1"};
    struct service s;
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

    service_prepare(&s);
    log_init(LOG_TEXT, LOG_DEBUG, nowhere); /* what is logged of a request is made */
    service_start(&s);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char *request = must_printf("GET /v1/things?%s HTTP/1.1\r\n" HOST READ "\r\n", bad[i]);
        ask_problem(&s, request, 400, "badQuery");
        free(request);
        request = must_printf("DELETE /v1/things/x?%s HTTP/1.1\r\n" HOST AUTH "\r\n", bad[i]);
        ask_problem(&s, request, 400, "badQuery"); /* the audit looks at the query too */
        free(request);
    }
    ck_assert_uint_eq(atomic_load(&s.handled), 0);
    service_stop(&s);
    close(nowhere);
}
END_TEST

/* The refusal says what is allowed here. */
START_TEST(parameters_of_a_route)
{
    static const struct {
        const char *method, *query, *detail;
    } cases[] = {
        {"DELETE /v1/things/x", "dry_run=true", "dry_run is not known here; allowed: dryRun"},
        {"DELETE /v1/things/x", "dryRun=maybe", "dryRun must be true or false"},
        {"DELETE /v1/things/x", "dryRun&dryRun", "dryRun stands twice"},
        {"DELETE /v1/things/x", "%ff%c3%a9=1", "?\xc3\xa9 is not known here; allowed: dryRun"},
        {"DELETE /v1/things/x", "=1",
         "a parameter without a name is not known here; "
         "allowed: dryRun"},
        {"DELETE /v1/things/x", "0123456789012345678901234567890123456789abc",
         "0123456789012345678901234567890123456789 is not known here; allowed: dryRun"},
        {"GET /v1/things/x/y", "dryRun=true", "dryRun is not known here; allowed: q, x"},
        {"GET /v1/things", "q=1", "q is not known here; allowed: none"},
        {"GET /healthz", "q=1", "q is not known here; allowed: none"},
    };
    struct service s;

    service_up(&s);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *request =
            must_printf("%s?%s HTTP/1.1\r\n" HOST AUTH "\r\n", cases[i].method, cases[i].query);
        struct json_object *body = NULL, *detail = NULL;
        struct json_syntax why;
        struct answer a;

        ask(&s, &a, request);
        expect_problem(&a, 400, "badQuery");
        ck_assert_int_eq(json_read(&body, a.body, a.body_len, &why), 0);
        ck_assert(json_object_object_get_ex(body, "detail", &detail));
        ck_assert_str_eq(json_object_get_string(detail), cases[i].detail);
        json_object_put(body);
        answer_fini(&a);
        free(request);
    }
    ck_assert_uint_eq(atomic_load(&s.handled), 0);
    ask_status(&s, "DELETE /v1/things/x?dryRun HTTP/1.1\r\n" HOST AUTH "\r\n", 204);
    ask_status(&s, "DELETE /v1/things/x? HTTP/1.1\r\n" HOST AUTH "\r\n", 204);
    service_stop(&s);
}
END_TEST

/* Without a token nobody learns which paths there are; with one, what is wrong with the request. */
START_TEST(paths_and_methods)
{
    struct service s;
    struct answer a;

    service_up(&s);
    ask_problem(&s, GET("/nothing") HOST "\r\n", 401, "unauthenticated");
    ask_problem(&s, GET("/v1/things") HOST "\r\n", 401, "unauthenticated");
    ask_problem(&s, "PATCH /v1/things HTTP/1.1\r\n" HOST "\r\n", 401, "unauthenticated");
    ask_problem(&s, GET("/nothing") HOST READ "\r\n", 404, "notFound");
    ask_problem(&s, GET("/v1/things/") HOST READ "\r\n", 404, "notFound");
    ask_problem(&s, GET("/v1//things") HOST READ "\r\n", 404, "notFound");
    ask_problem(&s, GET("/v1/thingsx") HOST READ "\r\n", 404, "notFound");
    ask_problem(&s, GET("/v1/things/a/b/c") HOST READ "\r\n", 404, "notFound");
    ask_problem(&s, GET("/v1/things//b") HOST READ "\r\n", 404, "notFound");
    ask(&s, &a, "PATCH /v1/things HTTP/1.1\r\n" HOST READ "\r\n");
    expect_problem(&a, 405, "methodNotAllowed");
    expect_header(&a, "Allow", "GET, HEAD, PUT, POST");
    answer_fini(&a);
    ask(&s, &a, "get /v1/things HTTP/1.1\r\n" HOST READ "\r\n"); /* methods have a case */
    expect_problem(&a, 405, "methodNotAllowed");
    answer_fini(&a);
    ask(&s, &a, "POST /healthz HTTP/1.1\r\n" HOST "\r\n"); /* public: nothing to hide */
    expect_problem(&a, 405, "methodNotAllowed");
    expect_header(&a, "Allow", "GET, HEAD");
    answer_fini(&a);
    service_stop(&s);
}
END_TEST

START_TEST(media_types)
{
    static const char *const bad[] = {
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/jsonx\r\n",
        "Content-Type: application/problem+json\r\n",
        "Content-Type: application/json; charset=latin1\r\n",
        JSON JSON,
        JSON "Content-Encoding: gzip\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
    };
    static const char *const good[] = {
        "Content-Type: Application/JSON\r\n",
        "Content-Type: application/json; charset=UTF-8\r\n",
        "Content-Type: application/json;charset=\"utf-8\"\r\n",
        JSON "Content-Encoding: identity\r\n",
    };
    struct service s;

    service_up(&s);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char *request =
            must_printf(PUT("/v1/things") HOST AUTH "%sContent-Length: 2\r\n\r\n{}", bad[i]);
        ask_closed(&s, request, 415, "unsupportedMediaType");
        free(request);
    }
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        char *request =
            must_printf(PUT("/v1/things") HOST AUTH "%sContent-Length: 2\r\n\r\n{}", good[i]);
        ask_status(&s, request, 200);
        free(request);
    }
    service_stop(&s);
}
END_TEST

START_TEST(bodies_where_none_belong_and_none_where_one_does)
{
    struct service s;

    service_up(&s);
    ask_problem(&s, PUT("/v1/things") HOST AUTH JSON "\r\n", 400, "bodyRequired");
    ask_problem(&s, PUT("/v1/things") HOST AUTH JSON "Content-Length: 0\r\n\r\n", 400,
                "bodyRequired");
    ask_closed(&s, GET("/v1/things") HOST READ "Content-Length: 1\r\n\r\nx", 400, "unexpectedBody");
    ask_closed(&s,
               "DELETE /v1/things/a HTTP/1.1\r\n" HOST AUTH
               "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
               400, "unexpectedBody");
    ask_status(&s, "DELETE /v1/things/a HTTP/1.1\r\n" HOST AUTH "Content-Length: 0\r\n\r\n", 204);
    ask_status(&s, "POST /v1/optional HTTP/1.1\r\n" HOST AUTH "\r\n", 200);
    service_stop(&s);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        body_length_that_can_be_read_in_two_ways,
        transfer_encodings_but_chunked,
        content_lengths_that_are_no_numbers,
        hosts,
        origins,
        targets,
        queries,
        parameters_of_a_route,
        paths_and_methods,
        media_types,
        bodies_where_none_belong_and_none_where_one_does,
    };

    return run_suite("admin_guard", tests, ARRAY_LEN(tests));
}
