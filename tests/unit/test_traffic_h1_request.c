/* Tests of h1_scan and h1_request: which heads are requests, what they say, and the exact reason
 * why others are not.  Each row is read at one go and byte by byte. */
#include "traffic/h1_request.h"

#include "support/suite.h"
#include "traffic/http_request.h"
#include "traffic_h1_fixture.h"

#define H "Host: a.test\r\n"
#define G "GET / HTTP/1.1\r\n" H

static const struct {
    const char *bytes;
    size_t n;
    enum traffic_reason reason;
} refused[] = {
#define ROW(text, word)                                                                            \
    {                                                                                              \
        text, sizeof(text) - 1, REASON_##word                                                      \
    }
    ROW("GET / HTTP/1.1\r\n\r\n", HOST_MISSING),
    ROW(G H "\r\n", HOST_DUPLICATE),
    ROW("GET / HTTP/1.1\r\nHost: \r\n\r\n", HOST_INVALID),
    ROW("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", HOST_INVALID),
    ROW("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", HOST_INVALID),
    ROW("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", HOST_INVALID),
    ROW("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", HOST_INVALID),
    ROW(G "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", LENGTH_DUPLICATE),
    ROW(G "Content-Length: 1,1\r\n\r\n", LENGTH_INVALID),
    ROW(G "Content-Length: +1\r\n\r\n", LENGTH_INVALID),
    ROW(G "Content-Length: 1 \t1\r\n\r\n", LENGTH_INVALID),
    ROW(G "Content-Length: \r\n\r\n", LENGTH_INVALID),
    ROW(G "Content-Length: 9223372036854775808\r\n\r\n", LENGTH_TOO_LARGE),
    ROW(G "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", LENGTH_AND_CODING),
    ROW(G "Content-Length: 0\r\nTransfer-Encoding: \r\n\r\n", LENGTH_AND_CODING),
    ROW(G "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", CODING_INVALID),
    ROW(G "Transfer-Encoding: chunked, chunked\r\n\r\n", CODING_INVALID),
    ROW(G "Transfer-Encoding: \r\n\r\n", CODING_INVALID),
    ROW(G "Transfer-Encoding: ,\r\n\r\n", CODING_INVALID),
    ROW(G "Transfer-Encoding: ,chunked\r\n\r\n", CODING_INVALID),
    ROW(G "Transfer-Encoding: gzip\r\n\r\n", CODING_UNKNOWN),
    ROW(G "Transfer-Encoding: gzip, chunked\r\n\r\n", CODING_UNKNOWN),
    ROW(G "Transfer-Encoding: chunked, gzip\r\n\r\n", CODING_INVALID),
    ROW("GET / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n", CODING_ON_HTTP10),
    ROW(G "A : b\r\n\r\n", BAD_FIELD_NAME),
    ROW(G "A\r\n\r\n", BAD_FIELD_NAME),
    ROW(G ": b\r\n\r\n", BAD_FIELD_NAME),
    ROW(G "A(: b\r\n\r\n", BAD_FIELD_NAME),
    ROW(G "A: b\n\r\n", BARE_LF),
    ROW(G "\n", BARE_LF),
    ROW("\n" G "\r\n", BARE_LF),
    ROW(G "A: b\rc\r\n\r\n", BARE_CR),
    ROW(G "A: b\r\r\n\r\n", BARE_CR),
    ROW(G "A: b\0c\r\n\r\n", BAD_BYTE),
    ROW(G "A: b\x1f\r\n\r\n", BAD_BYTE),
    ROW(G "A: b\x7f\r\n\r\n", BAD_BYTE),
    ROW(G " A: b\r\n\r\n", OBS_FOLD),
    ROW(G "A: b\r\n\tc\r\n\r\n", OBS_FOLD),
    ROW("GET / HTTP/1.1\r\n " H "\r\n", OBS_FOLD),
    ROW("GET /\r\n\r\n", BAD_REQUEST_LINE),
    ROW("GET\r\n\r\n", BAD_REQUEST_LINE),
    ROW("\r\n", BAD_REQUEST_LINE),
    ROW(" GET / HTTP/1.1\r\n" H "\r\n", BAD_REQUEST_LINE),
    ROW("GET  / HTTP/1.1\r\n" H "\r\n", BAD_REQUEST_LINE),
    ROW("GET / HTTP/1.1 \r\n" H "\r\n", BAD_REQUEST_LINE),
    ROW("GET / HTTP/01.1\r\n" H "\r\n", BAD_REQUEST_LINE),
    ROW("GET / HTTP/1.1x\r\n" H "\r\n", BAD_REQUEST_LINE),
    ROW("GET / HTTP/1.2\r\n" H "\r\n", BAD_VERSION),
    ROW("GET / HTTP/3.0\r\n" H "\r\n", BAD_VERSION),
    ROW("PRI * HTTP/2.0\r\n\r\n", HTTP2_PREFACE),
    ROW("G@T / HTTP/1.1\r\n" H "\r\n", BAD_METHOD),
    ROW("Get / HTTP/1.1\r\n" H "\r\n", METHOD_UNKNOWN),
    ROW("SOURCE / HTTP/1.1\r\n" H "\r\n", METHOD_UNKNOWN),
    ROW("CONNECT a.test:443 HTTP/1.1\r\n" H "\r\n", METHOD_REFUSED),
    ROW("TRACE / HTTP/1.1\r\n" H "\r\n", METHOD_REFUSED),
    ROW("GET /#a HTTP/1.1\r\n" H "\r\n", BAD_TARGET),
    ROW("GET /\x80 HTTP/1.1\r\n" H "\r\n", BAD_TARGET),
    ROW("GET * HTTP/1.1\r\n" H "\r\n", BAD_TARGET),
    ROW("GET a HTTP/1.1\r\n" H "\r\n", BAD_TARGET),
    ROW("GET https:/a.test/ HTTP/1.1\r\n" H "\r\n", BAD_TARGET),
    ROW("GET http://a.test/ HTTP/1.1\r\n" H "\r\n", BAD_TARGET),
    ROW("GET https://a.test?x HTTP/1.1\r\n" H "\r\n", BAD_TARGET),
    ROW("GET https://b.test/ HTTP/1.1\r\n" H "\r\n", HOST_MISMATCH),
    ROW("GET https://a.test:443/ HTTP/1.1\r\n" H "\r\n", HOST_MISMATCH),
    ROW(G "Connection: host\r\n\r\n", CONNECTION_INVALID),
    ROW(G "Connection: transfer-encoding\r\n\r\n", CONNECTION_INVALID),
    ROW(G "Connection: forwarded\r\n\r\n", CONNECTION_INVALID),
    ROW(G "Connection: a b\r\n\r\n", CONNECTION_INVALID),
    ROW(G "Connection: a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a\r\n\r\n",
        CONNECTION_INVALID),
    ROW(G "Expect: 100-continue, b\r\n\r\n", EXPECT_UNKNOWN),
    ROW(G "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n", EXPECT_UNKNOWN),
#undef ROW
};

static enum traffic_reason read_head(struct http_request *out, const char *head, size_t n)
{
    struct h1_scan scan = {0};
    enum traffic_reason reason = h1_scan_run(&scan, head, n, &fixture_limits);

    if (reason != REASON_NONE)
        return reason;
    ck_assert_uint_eq(scan.head_len, n);
    return h1_request_parse(out, head, &scan, &fixture_limits, "https");
}

START_TEST(heads_that_are_refused)
{
    static struct http_request r;
    struct h1_scan scan;
    char *head = exact_copy(refused[_i].bytes, refused[_i].n);
    enum traffic_reason reason = read_head(&r, head, refused[_i].n);

    ck_assert_msg(reason == refused[_i].reason, "%s: %s, expected %s", refused[_i].bytes,
                  traffic_reason_word(reason), traffic_reason_word(refused[_i].reason));
    reason = scan_slowly(&scan, head, refused[_i].n);
    if (reason == REASON_NONE)
        reason = h1_request_parse(&r, head, &scan, &fixture_limits, "https");
    ck_assert_msg(reason != REASON_NONE, "%s: taken when it comes slowly", refused[_i].bytes);
    free(head);
}
END_TEST

/* Reads a head that must be taken, at one go and byte by byte.  The texts point into *head. */
static void take(struct http_request *r, char **head, const char *text)
{
    size_t n = strlen(text);
    struct h1_scan scan;
    enum traffic_reason reason;

    *head = exact_copy(text, n);
    ck_assert_int_eq(scan_slowly(&scan, *head, n), REASON_NONE);
    ck_assert_uint_eq(scan.head_len, n);
    reason = read_head(r, *head, n);
    ck_assert_msg(reason == REASON_NONE, "%s: %s", text, traffic_reason_word(reason));
}

START_TEST(what_a_request_says)
{
    static struct http_request r;
    char *head;

    take(&r, &head,
         "POST /a?b=c HTTP/1.1\r\nHOST:\t a.test:8443 \r\ncontent-length: 007\r\n"
         "Expect: 100-Continue\r\nAuthorization: Basic eDp5\r\nX-Empty:\r\n\r\n");
    ck_assert(text_is(r.method, "POST") && text_is(r.target, "/a?b=c"));
    ck_assert(text_is(r.authority, "a.test:8443"));
    ck_assert_int_eq(r.framing, HTTP_LENGTH);
    ck_assert_uint_eq(r.length, 7);
    ck_assert(r.expects_continue && !r.is_idempotent && !r.is_head && !r.wants_close);
    ck_assert(text_is(r.authorization, "Basic eDp5"));
    ck_assert_uint_eq(r.fields.count, 5);
    ck_assert_uint_eq(r.fields.list[4].value_len, 0);
    free(head);

    take(&r, &head, "HEAD https://A.test/x HTTP/1.1\r\nHost: a.TEST\r\nConnection: Close\r\n\r\n");
    ck_assert(r.is_head && r.is_idempotent && r.wants_close && text_is(r.target, "/x"));
    ck_assert_int_eq(r.framing, HTTP_NO_BODY);
    free(head);

    take(&r, &head,
         "PUT / HTTP/1.1\r\n" H
         "Transfer-Encoding: Chunked\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    ck_assert_int_eq(r.framing, HTTP_CHUNKED);
    ck_assert(r.takes_trailers && r.is_idempotent);
    free(head);
}
END_TEST

START_TEST(http_1_0_closes_unless_asked_not_to)
{
    static struct http_request r;
    char *head;

    take(&r, &head, "GET / HTTP/1.0\r\n" H "\r\n");
    ck_assert_uint_eq(r.minor, 0);
    ck_assert(r.wants_close);
    free(head);
    take(&r, &head, "GET / HTTP/1.0\r\n" H "Connection: keep-alive\r\n\r\n");
    ck_assert(!r.wants_close);
    free(head);
    take(&r, &head, "GET / HTTP/1.0\r\n" H "Connection: keep-alive, close\r\n\r\n");
    ck_assert(r.wants_close);
    free(head);
    take(&r, &head, "GET / HTTP/1.0\r\n" H "Expect: anything\r\n\r\n");
    ck_assert(!r.expects_continue);
    free(head);
}
END_TEST

static const struct {
    const char *fields, *upgrade;
} upgrades[] = {
    {"Connection: Upgrade\r\nUpgrade: websocket\r\n", "websocket"},
    {"Connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\n", "WebSocket"},
    {"Upgrade: websocket\r\n", ""}, /* not asked for */
    {"Connection: Upgrade\r\n", ""},
    {"Connection: Upgrade\r\nUpgrade: h2c\r\n", ""},
    {"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", ""},
    {"Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n", ""},
    {"Connection: Upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n", ""}, /* two */
    {"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n",
     ""}, /* a body in front */
    {"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n", "websocket"},
};

START_TEST(which_upgrades_go_on)
{
    static struct http_request r;
    char text[512], *head;

    snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n" H "%s\r\n", upgrades[_i].fields);
    take(&r, &head, text);
    ck_assert_msg(text_is(r.upgrade, upgrades[_i].upgrade), "%s", upgrades[_i].fields);
    free(head);
}
END_TEST

/* n bytes of filling between `before` and `after`. */
static char *fill(const char *before, size_t n, const char *after)
{
    char *text = malloc(strlen(before) + n + strlen(after) + 1);

    ck_assert_ptr_nonnull(text);
    strcpy(text, before);
    memset(text + strlen(before), 'a', n);
    strcpy(text + strlen(before) + n, after);
    return text;
}

START_TEST(limits_are_met_to_the_byte)
{
    static struct http_request r;
    size_t frame = strlen("GET / HTTP/1.1"), rest = strlen(G "A: \r\n\r\n");
    char *text = fill("GET /", fixture_limits.request_line_bytes - frame, " HTTP/1.1\r\n" H "\r\n");

    ck_assert_int_eq(read_head(&r, text, strlen(text)), REASON_NONE);
    free(text);
    text = fill("GET /", fixture_limits.request_line_bytes - frame + 1, " HTTP/1.1\r\n" H "\r\n");
    ck_assert_int_eq(read_head(&r, text, strlen(text)), REASON_URI_TOO_LONG);
    free(text);
    text = fill(G "A: ", fixture_limits.head_bytes - rest, "\r\n\r\n");
    ck_assert_int_eq(read_head(&r, text, strlen(text)), REASON_NONE);
    free(text);
    text = fill(G "A: ", fixture_limits.head_bytes - rest + 1, "\r\n\r\n");
    ck_assert_int_eq(read_head(&r, text, strlen(text)), REASON_HEADER_TOO_LARGE);
    free(text);
}
END_TEST

START_TEST(what_never_ends_is_refused_at_its_limit)
{
    char *text = fill(G "A: ", 20000, ""), *line = fill("GET /", 20000, "");
    struct h1_scan scan;

    ck_assert_int_eq(scan_slowly(&scan, text, strlen(text)), REASON_HEADER_TOO_LARGE);
    ck_assert_uint_le(scan.pos, fixture_limits.head_bytes);
    ck_assert_int_eq(scan_slowly(&scan, line, strlen(line)), REASON_URI_TOO_LONG);
    ck_assert_uint_le(scan.pos, fixture_limits.request_line_bytes + 1);
    free(text);
    free(line);
}
END_TEST

START_TEST(fields_are_counted)
{
    static struct http_request r;
    char text[2048] = G;

    for (unsigned i = 1; i < fixture_limits.fields; i++)
        strcat(text, "A: b\r\n");
    strcat(text, "\r\n");
    ck_assert_int_eq(read_head(&r, text, strlen(text)), REASON_NONE);
    ck_assert_uint_eq(r.fields.count, fixture_limits.fields);
    text[strlen(text) - 2] = '\0';
    strcat(text, "A: b\r\n\r\n");
    ck_assert_int_eq(read_head(&r, text, strlen(text)), REASON_TOO_MANY_FIELDS);
}
END_TEST

START_TEST(a_first_line_is_judged_before_the_head_is_whole)
{
    ck_assert_int_eq(h1_request_line_check("GET / HTTP/1.1", 14), REASON_NONE);
    ck_assert_int_eq(h1_request_line_check("GET /", 5), REASON_BAD_REQUEST_LINE);
    ck_assert_int_eq(h1_request_line_check("PRI * HTTP/2.0", 14), REASON_HTTP2_PREFACE);
}
END_TEST

START_TEST(bytes_that_can_not_become_a_head_are_refused_at_once)
{
    static const char *const parts[] = {"\x16\x03\x01", "GET / HTTP/1.1\r\nA: b\x01", "GET /\x00",
                                        "GET / HTTP/1.1\r\nA: b\rc\r\n"};
    static const size_t lengths[] = {3, 21, 6, 24};

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        struct h1_scan scan = {0};

        ck_assert_int_ne(h1_scan_run(&scan, parts[i], lengths[i], &fixture_limits), REASON_NONE);
    }
}
END_TEST

START_TEST(no_byte_is_checked_twice)
{
    char *text = fill(G "A: ", 4000, "\r");
    struct h1_scan scan = {0};

    for (size_t i = 1; i <= strlen(text); i++) {
        ck_assert_int_eq(h1_scan_run(&scan, text, i, &fixture_limits), REASON_NONE);
        ck_assert_uint_eq(scan.checked,
                          text[i - 1] == '\r' ? i - 1 : i); /* what waits for its LF */
    }
    free(text);
}
END_TEST

START_TEST(names_are_normalised)
{
    static const struct {
        const char *authority, *name;
    } rows[] = {
        {"A.Test", "a.test"},
        {"a.test.", "a.test"},
        {"a.test:443", "a.test"},
        {"a.test.:", "a.test"},
        {"192.0.2.1:80", "192.0.2.1"},
        {"-a.test", NULL},
        {"a..test", NULL},
        {".test", NULL},
        {"[::1]:80", NULL},
        {"a.test..", NULL},
    };
    char out[ROUTE_HOST_MAX + 1];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_text t = {rows[i].authority, strlen(rows[i].authority)};

        ck_assert_int_eq(http_host_normalise(t, out),
                         rows[i].name ? REASON_NONE : REASON_HOST_INVALID);
        if (rows[i].name)
            ck_assert_str_eq(out, rows[i].name);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("heads");

    tcase_add_loop_test(tcase, heads_that_are_refused, 0, ARRAY_LEN(refused));
    tcase_add_test(tcase, what_a_request_says);
    tcase_add_test(tcase, http_1_0_closes_unless_asked_not_to);
    tcase_add_loop_test(tcase, which_upgrades_go_on, 0, ARRAY_LEN(upgrades));
    tcase_add_test(tcase, limits_are_met_to_the_byte);
    tcase_add_test(tcase, what_never_ends_is_refused_at_its_limit);
    tcase_add_test(tcase, fields_are_counted);
    tcase_add_test(tcase, a_first_line_is_judged_before_the_head_is_whole);
    tcase_add_test(tcase, bytes_that_can_not_become_a_head_are_refused_at_once);
    tcase_add_test(tcase, no_byte_is_checked_twice);
    tcase_add_test(tcase, names_are_normalised);
    return suite_run("traffic/h1_request", tcase);
}
