/* Tests of forward_headers, h1_emit, own_answer and the address of a redirect: the exact bytes. */
#include "traffic/forward_headers.h"

#include "support/suite.h"
#include "traffic/h1_emit.h"
#include "traffic/h1_request.h"
#include "traffic/h1_response.h"
#include "traffic/own_answer.h"
#include "traffic/redirect.h"
#include "traffic_h1_fixture.h"

#define EXTRAS                                                                                     \
    "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a.test:8443\r\n"  \
    "Forwarded: for=192.0.2.1;host=\"a.test:8443\";proto=https\r\n"

static void client_of(struct forward_client *c, const char *address)
{
    union addr addr;

    ck_assert_int_eq(addr_parse_host(&addr, address, 1), 0);
    forward_client_set(c, &addr);
}

static void check_request(const char *head, bool drops_authorization, const char *want)
{
    static struct http_request r;
    char out[2048], extras[FORWARD_EXTRAS_MAX];
    struct h1_text t = {.p = out, .size = sizeof(out)};
    struct forward_client c;
    struct h1_scan scan = {0};
    size_t n;

    client_of(&c, "192.0.2.1");
    ck_assert_int_eq(h1_scan_run(&scan, head, strlen(head), &fixture_limits), REASON_NONE);
    ck_assert_int_eq(h1_request_parse(&r, head, &scan, &fixture_limits, "https"), REASON_NONE);
    forward_request_filter(&r, drops_authorization);
    n = forward_extras(extras, &c, r.authority);
    ck_assert_uint_gt(n, 0);
    h1_request_emit(&t, &r, (struct http_text){extras, n});
    ck_assert(!t.is_cut);
    out[t.n] = '\0';
    ck_assert_str_eq(out, want);
}

START_TEST(requests_as_the_origin_gets_them)
{
    check_request(
        "GET /a HTTP/1.1\r\nhost: a.test:8443\r\nX-Forwarded-For: 1\r\nX_Forwarded_For: 1\r\n"
        "Forwarded: for=1\r\nx-real-ip: 1\r\nConnection: close, X-N\r\nX-N: 1\r\nProxy: 1\r\n"
        "Authorization: Basic eDp5\r\nAccept:  */* \r\n\r\n",
        true, "GET /a HTTP/1.1\r\nHost: a.test:8443\r\nAccept: */*\r\n" EXTRAS "\r\n");
    check_request(
        "POST / HTTP/1.0\r\nContent-Length: 05\r\nHost: a.test:8443\r\nAuthorization: b\r\n"
        "Trailer: X\r\n\r\n",
        false,
        "POST / HTTP/1.1\r\nHost: a.test:8443\r\nAuthorization: b\r\n" EXTRAS
        "Content-Length: 5\r\n\r\n");
    check_request(
        "PUT https://a.test:8443/b HTTP/1.1\r\nHost: a.test:8443\r\nTransfer-Encoding: CHUNKED\r\n"
        "TE: trailers, gzip\r\nConnection: te\r\nExpect: 100-continue\r\nTrailer: X\r\n\r\n",
        true,
        "PUT /b HTTP/1.1\r\nHost: a.test:8443\r\nTrailer: X\r\n" EXTRAS
        "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\nConnection: TE\r\n"
        "TE: trailers\r\n\r\n");
    check_request(
        "GET / HTTP/1.1\r\nHost: a.test:8443\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        true,
        "GET / HTTP/1.1\r\nHost: a.test:8443\r\n" EXTRAS
        "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    check_request("GET / HTTP/1.1\r\nHost: a.test:8443\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                  "Upgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n",
                  true, "GET / HTTP/1.1\r\nHost: a.test:8443\r\n" EXTRAS "\r\n");
}
END_TEST

START_TEST(an_ipv6_client_is_quoted)
{
    char extras[FORWARD_EXTRAS_MAX + 1];
    struct forward_client c;

    client_of(&c, "2001:db8::1");
    extras[forward_extras(extras, &c, (struct http_text){"a", 1})] = '\0';
    ck_assert_ptr_nonnull(strstr(extras, "X-Forwarded-For: 2001:db8::1\r\n"));
    ck_assert_ptr_nonnull(
        strstr(extras, "Forwarded: for=\"[2001:db8::1]\";host=\"a\";proto=https\r\n"));
    client_of(&c, "::ffff:192.0.2.1");
    ck_assert_str_eq(c.address, "192.0.2.1");
    ck_assert(!c.is_ipv6);
}
END_TEST

static void check_answer(const char *head, bool to_head, const struct h1_answer *a,
                         const char *want)
{
    static struct http_response r;
    char out[2048];
    struct h1_text t = {.p = out, .size = sizeof(out)};
    struct h1_scan scan = {0};

    ck_assert_int_eq(h1_scan_run(&scan, head, strlen(head), &fixture_limits), REASON_NONE);
    ck_assert_int_eq(h1_response_parse(&r, head, &scan, &fixture_limits, to_head, NULL),
                     REASON_NONE);
    forward_response_filter(&r, a->version_header);
    h1_response_emit(&t, &r, a);
    ck_assert(!t.is_cut);
    out[t.n] = '\0';
    ck_assert_str_eq(out, want);
}

START_TEST(answers_as_the_client_gets_them)
{
    struct h1_answer plain = {.minor = 1, .version_header = "v_h", .version = "1", .date = "now"};
    struct h1_answer chunked = plain, closing = plain, old = plain, unversioned = plain;

    unversioned.version_header = NULL;
    chunked.is_chunked = true;
    closing.closes = true;
    old.minor = 0;
    check_answer("HTTP/1.1 200 OK\r\nV_H: 9\r\nContent-Length: 05\r\nConnection: X-N\r\nX-N: 1\r\n"
                 "Keep-Alive: 1\r\nDate: then\r\nA: b\r\n\r\n",
                 false, &plain,
                 "HTTP/1.1 200 OK\r\nDate: then\r\nA: b\r\nv_h: 1\r\nContent-Length: 5\r\n\r\n");
    check_answer(
        "HTTP/1.1 404\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n", false, &chunked,
        "HTTP/1.1 404 \r\nTrailer: X\r\nDate: now\r\nv_h: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
    check_answer("HTTP/1.0 200 OK\r\n\r\n", false, &closing,
                 "HTTP/1.1 200 OK\r\nDate: now\r\nv_h: 1\r\nConnection: close\r\n\r\n");
    check_answer("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", true, &old,
                 "HTTP/1.1 200 OK\r\nDate: now\r\nv_h: 1\r\nContent-Length: 7\r\nConnection: "
                 "keep-alive\r\n\r\n");
    check_answer("HTTP/1.1 204 No\r\nV_H: 9\r\n\r\n", false, &unversioned,
                 "HTTP/1.1 204 No\r\nV_H: 9\r\nDate: now\r\n\r\n");
    check_answer("HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", false, &plain,
                 "HTTP/1.1 204 No\r\nDate: now\r\nv_h: 1\r\n\r\n");
    check_answer("HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", false,
                 &plain,
                 "HTTP/1.1 101 Go\r\nDate: now\r\nv_h: 1\r\nConnection: Upgrade\r\nUpgrade: "
                 "websocket\r\n\r\n");
}
END_TEST

START_TEST(text_that_does_not_fit_is_cut_once_and_for_all)
{
    char out[4] = "...";
    struct h1_text t = {.p = out, .size = 3};

    h1_put_text(&t, "ab");
    h1_put_text(&t, "cd");
    h1_put_text(&t, "e");
    ck_assert(t.is_cut);
    ck_assert_uint_eq(t.n, 2);
    ck_assert_mem_eq(out, "ab.", 4);
}
END_TEST

START_TEST(chunk_frames)
{
    static const struct {
        size_t n;
        const char *head;
    } rows[] = {{1, "1\r\n"},
                {15, "f\r\n"},
                {16, "10\r\n"},
                {65536, "10000\r\n"},
                {SIZE_MAX, "ffffffffffffffff\r\n"}};
    char out[H1_CHUNK_HEAD_MAX];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ck_assert_uint_eq(h1_chunk_head(out, rows[i].n), strlen(rows[i].head));
        ck_assert_mem_eq(out, rows[i].head, strlen(rows[i].head));
    }
}
END_TEST

START_TEST(our_own_answers)
{
    char out[1024];
    struct h1_text t = {.p = out, .size = sizeof(out)};

    own_answer_emit(&t, &(struct own_answer){.status = 401,
                                             .word = "auth_required",
                                             .minor = 1,
                                             .date = "now",
                                             .version_header = "v",
                                             .version = "1",
                                             .realm = "a.test",
                                             .explains = true,
                                             .request_id = "abc"});
    out[t.n] = '\0';
    ck_assert_str_eq(out, "HTTP/1.1 401 Unauthorized\r\n"
                          "WWW-Authenticate: Basic realm=\"a.test\", charset=\"UTF-8\"\r\n"
                          "penstock-reason: auth_required\r\nX-Request-Id: abc\r\n"
                          "Content-Type: text/plain; charset=utf-8\r\n"
                          "Date: now\r\nv: 1\r\nContent-Length: 18\r\n\r\n"
                          "401 auth_required\n");
    t = (struct h1_text){.p = out, .size = sizeof(out)};
    own_answer_emit(&t, &(struct own_answer){.status = 405,
                                             .word = "method_refused",
                                             .closes = true,
                                             .is_head = true,
                                             .date = "now"});
    out[t.n] = '\0';
    ck_assert_str_eq(out, "HTTP/1.1 405 Method Not Allowed\r\n"
                          "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
                          "Content-Type: text/plain; charset=utf-8\r\n"
                          "Date: now\r\nContent-Length: 19\r\n"
                          "Connection: close\r\n\r\n");
}
END_TEST

START_TEST(where_a_redirect_goes)
{
    static const struct {
        const char *host, *target;
        uint16_t port;
        const char *location; /* NULL: refused */
    } rows[] = {
        {"A.test:80", "/x?y", 443, "https://a.test/x?y"},
        {"a.test.", "/", 8443, "https://a.test:8443/"},
        {"[2001:db8::1]:80", "/", 443, "https://[2001:db8::1]/"},
        {"a.test", "*", 443, "https://a.test/"},
        {"a_b.test", "/", 443, NULL},
        {"[::x]", "/", 443, NULL},
        {"[]", "/", 443, NULL},
        {"..", "/", 443, NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[256];
        struct h1_text t = {.p = out, .size = sizeof(out)};
        enum traffic_reason reason = redirect_location(
            &t, (struct http_text){rows[i].host, strlen(rows[i].host)},
            (struct http_text){rows[i].target, strlen(rows[i].target)}, rows[i].port);

        ck_assert_msg(reason == (rows[i].location ? REASON_NONE : REASON_HOST_INVALID), "%s",
                      rows[i].host);
        out[t.n] = '\0';
        if (rows[i].location)
            ck_assert_str_eq(out, rows[i].location);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("bytes");

    tcase_add_test(tcase, requests_as_the_origin_gets_them);
    tcase_add_test(tcase, an_ipv6_client_is_quoted);
    tcase_add_test(tcase, answers_as_the_client_gets_them);
    tcase_add_test(tcase, text_that_does_not_fit_is_cut_once_and_for_all);
    tcase_add_test(tcase, chunk_frames);
    tcase_add_test(tcase, our_own_answers);
    tcase_add_test(tcase, where_a_redirect_goes);
    return suite_run("traffic/forward_headers", tcase);
}
