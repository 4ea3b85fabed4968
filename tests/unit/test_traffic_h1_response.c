/* Tests of h1_response: how the body of an answer is framed, and which answers are not believed. */
#include "traffic/h1_response.h"

#include "support/suite.h"
#include "traffic_h1_fixture.h"

#define OK "HTTP/1.1 200 OK\r\n"

static enum traffic_reason read_head(struct http_response *out, const char *text, bool to_head,
                                     enum traffic_reason *why)
{
    struct h1_scan scan = {0};

    *why = h1_scan_run(&scan, text, strlen(text), &fixture_limits);
    if (*why != REASON_NONE)
        return REASON_UPSTREAM_INVALID;
    ck_assert_uint_eq(scan.head_len, strlen(text));
    return h1_response_parse(out, text, &scan, &fixture_limits, to_head, why);
}

static const struct {
    const char *head;
    bool to_head;
    enum http_framing framing;
    uint64_t length;
    bool closes;
} rows[] = {
    {OK "Content-Length: 5\r\n\r\n", false, HTTP_LENGTH, 5, false},
    {OK "Content-Length: 0\r\nConnection: close\r\n\r\n", false, HTTP_LENGTH, 0, true},
    {OK "Transfer-Encoding: chunked\r\n\r\n", false, HTTP_CHUNKED, 0, false},
    {OK "\r\n", false, HTTP_UNTIL_CLOSE, 0, false},
    {OK "Content-Length: 5\r\n\r\n", true, HTTP_NO_BODY, 5, false},
    {OK "Transfer-Encoding: chunked\r\n\r\n", true, HTTP_NO_BODY, 0, false},
    {OK "\r\n", true, HTTP_NO_BODY, 0, false},
    {"HTTP/1.1 204 No\r\n\r\n", false, HTTP_NO_BODY, 0, false},
    {"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", false, HTTP_NO_BODY, 0, false},
    {"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n", false, HTTP_NO_BODY, 9, false},
    {"HTTP/1.1 100 Go on\r\n\r\n", false, HTTP_NO_BODY, 0, false},
    {"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", false, HTTP_NO_BODY, 0, false},
    {"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\n", false, HTTP_LENGTH, 1, false},
    {"HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\n", false, HTTP_LENGTH, 1, false},
    {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", false, HTTP_LENGTH, 1, true},
    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n", false, HTTP_LENGTH,
     1, false},
};

START_TEST(how_the_body_is_framed)
{
    static struct http_response r;
    enum traffic_reason why;

    ck_assert_msg(read_head(&r, rows[_i].head, rows[_i].to_head, &why) == REASON_NONE, "%s: %s",
                  rows[_i].head, traffic_reason_word(why));
    ck_assert_int_eq(r.framing, rows[_i].framing);
    ck_assert_uint_eq(r.length, rows[_i].length);
    ck_assert_int_eq(r.wants_close, rows[_i].closes);
}
END_TEST

static const struct {
    const char *head;
    enum traffic_reason why;
} refused[] = {
    {"HTTP/1.1 099 OK\r\n\r\n", REASON_BAD_REQUEST_LINE},
    {"HTTP/1.1 600 OK\r\n\r\n", REASON_BAD_REQUEST_LINE},
    {"HTTP/1.1 20 OK\r\n\r\n", REASON_BAD_REQUEST_LINE},
    {"HTTP/1.1 2000 OK\r\n\r\n", REASON_BAD_REQUEST_LINE},
    {"HTTP/1.1  200 OK\r\n\r\n", REASON_BAD_REQUEST_LINE},
    {"HTTP/1.2 200 OK\r\n\r\n", REASON_BAD_REQUEST_LINE},
    {"http/1.1 200 OK\r\n\r\n", REASON_BAD_REQUEST_LINE},
    {"ICY 200 OK\r\n\r\n", REASON_BAD_REQUEST_LINE},
    {"HTTP/1.1 200 a\tb\x01\r\n\r\n", REASON_BAD_BYTE},
    {OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", REASON_LENGTH_DUPLICATE},
    {OK "Content-Length: 1, 1\r\n\r\n", REASON_LENGTH_INVALID},
    {OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", REASON_LENGTH_AND_CODING},
    {OK "Transfer-Encoding: gzip\r\n\r\n", REASON_CODING_UNKNOWN},
    {OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", REASON_CODING_INVALID},
    {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", REASON_CODING_ON_HTTP10},
    {"HTTP/1.1 204 No\r\nContent-Length: 1\r\n\r\n", REASON_LENGTH_INVALID},
    {"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", REASON_LENGTH_INVALID},
    {"HTTP/1.1 103 Hints\r\nContent-Length: 1\r\n\r\n", REASON_LENGTH_INVALID},
    {OK "A: b\r\n c\r\n\r\n", REASON_OBS_FOLD},
    {OK "A: b\nC: d\r\n\r\n", REASON_BARE_LF},
    {OK "A : b\r\n\r\n", REASON_BAD_FIELD_NAME},
    {OK "Connection: content-length\r\nContent-Length: 1\r\n\r\n", REASON_CONNECTION_INVALID},
};

START_TEST(answers_that_are_not_believed)
{
    static struct http_response r;
    enum traffic_reason why;

    ck_assert_int_eq(read_head(&r, refused[_i].head, false, &why), REASON_UPSTREAM_INVALID);
    ck_assert_msg(why == refused[_i].why, "%s: %s", refused[_i].head, traffic_reason_word(why));
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("heads");

    tcase_add_loop_test(tcase, how_the_body_is_framed, 0, ARRAY_LEN(rows));
    tcase_add_loop_test(tcase, answers_that_are_not_believed, 0, ARRAY_LEN(refused));
    return suite_run("traffic/h1_response", tcase);
}
