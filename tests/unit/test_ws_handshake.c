/* The upgrade, the client's side: the example of RFC 6455, the request byte for byte, and every
 * answer that is none, whole and in pieces. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "ws/handshake.h"

#define KEY    "dGhlIHNhbXBsZSBub25jZQ==" /* RFC 6455, section 1.3 */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define GOOD                                                                                       \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"            \
    "Sec-WebSocket-Accept: " ACCEPT "\r\n"

START_TEST(the_example_of_the_rfc)
{
    char key[WS_KEY_TEXT], accept[WS_ACCEPT_TEXT];

    ws_key_emit((const uint8_t *)"the sample nonce", key);
    ck_assert_str_eq(key, KEY);
    ws_accept_emit(key, accept);
    ck_assert_str_eq(accept, ACCEPT);
}
END_TEST

START_TEST(the_request)
{
    char out[WS_REQUEST_MAX];
    struct ws_url url;
    const char *why;

    ck_assert_int_eq(ws_url_parse(&url, "ws://[::1]:3000/a?b", &why), 0);
    ck_assert_uint_eq(ws_request_emit(&url, KEY, out), strlen(out));
    ck_assert_str_eq(out, "GET /a?b HTTP/1.1\r\nHost: [::1]:3000\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Key: " KEY
                          "\r\nSec-WebSocket-Version: 13\r\nUser-Agent: Penstock\r\n\r\n");
}
END_TEST

static int parse(const char *text, size_t n, size_t *used, char *why)
{
    char *exact = malloc(n ? n : 1); /* so that a sanitizer sees what is read behind it */
    int rc;

    memcpy(exact, text, n);
    why[0] = '\0';
    rc = ws_answer_parse(exact, n, KEY, used, why, 160);
    free(exact);
    return rc;
}

static const char *const taken[] = {
    GOOD "\r\n",
    "HTTP/1.1 101\r\nupgrade:WebSocket\r\nCONNECTION: keep-alive , UPGRADE\r\n"
    "sec-websocket-accept:\t" ACCEPT " \r\nDate: now\r\nX:\r\n\r\n",
    "HTTP/1.1 101 x\r\nConnection: close\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Accept: " ACCEPT "\r\n\r\n",
};

START_TEST(upgrades)
{
    char text[1000], why[160];
    size_t n = strlen(taken[_i]), used;

    for (size_t i = 0; i < n; i++) { /* not before its last byte */
        ck_assert_msg(parse(taken[_i], i, &used, why) == 0, "%s", why);
        ck_assert_uint_eq(used, 0);
    }
    ck_assert_msg(parse(taken[_i], n, &used, why) == 0, "%s", why);
    ck_assert_uint_eq(used, n);
    snprintf(text, sizeof(text), "%s\x81\x05hello", taken[_i]);
    ck_assert_int_eq(parse(text, strlen(text), &used, why), 0);
    ck_assert_uint_eq(used, n); /* the rest is frames */
}
END_TEST

static const struct {
    const char *text, *why;
} refused[] = {
    {"SSH-2.0-OpenSSH", "no HTTP/1.1"},
    {"HTTP/1.0 101 x\r\n\r\n", "no HTTP/1.1"},
    {"HTTP/2", "no HTTP/1.1"},
    {"HTTP/1.1 \r\n\r\n", "no status"},
    {"HTTP/1.1 10\r\n\r\n", "no status"},
    {"HTTP/1.1 1x1 y\r\n\r\n", "no status"},
    {"HTTP/1.1 1010\r\n\r\n", "no status"},
    {"HTTP/1.1 200 OK\r\n\r\n", "status 200"},
    {"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\n\r\n", "status 401"},
    {"HTTP/1.1 101 x\r\n\r\n", "Upgrade: websocket"},
    {"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n",
     "Upgrade: websocket"},
    {GOOD "Upgrade: websocket\r\n\r\n", "Upgrade: websocket"},
    {"HTTP/1.1 101 x\r\nUpgrade: websocket2\r\nConnection: Upgrade\r\n"
     "Sec-WebSocket-Accept: " ACCEPT "\r\n\r\n",
     "Upgrade: websocket"},
    {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n",
     "Connection: Upgrade"},
    {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: xupgrade\r\n"
     "Sec-WebSocket-Accept: " ACCEPT "\r\n\r\n",
     "Connection: Upgrade"},
    {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", "Accept"},
    {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
     "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
     "Accept"},
    {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
     "Sec-WebSocket-Accept: " KEY "\r\n\r\n",
     "Accept"},
    {GOOD "Sec-WebSocket-Accept: " ACCEPT "\r\n\r\n", "Accept"},
    {GOOD "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "extension"},
    {GOOD "Sec-WebSocket-Protocol: chat\r\n\r\n", "subprotocol"},
    {GOOD "no field\r\n\r\n", "no header field"},
    {GOOD ": x\r\n\r\n", "no header field"},
    {GOOD "X Y: z\r\n\r\n", "no header field"},
    {GOOD " folded: x\r\n\r\n", "no header field"},
    {GOOD "X: a\rb\r\n\r\n", "control character"},
    {GOOD "X: a\nb\r\n\r\n", "control character"},
};

START_TEST(answers_that_are_no_upgrade)
{
    char why[160];
    size_t used;

    ck_assert_int_eq(parse(refused[_i].text, strlen(refused[_i].text), &used, why), -ERR_PROTO);
    ck_assert_uint_eq(used, 0);
    ck_assert_msg(strstr(why, refused[_i].why) != NULL, "%s", why);
}
END_TEST

START_TEST(a_head_has_an_end)
{
    char text[WS_HEAD_MAX], why[160];
    size_t used;

    memset(text, 'x', sizeof(text));
    memcpy(text, GOOD "X: ", strlen(GOOD "X: "));
    ck_assert_int_eq(parse(text, sizeof(text) - 1, &used, why), 0);
    ck_assert_int_eq(parse(text, sizeof(text), &used, why), -ERR_TOO_BIG);
    memcpy(text + sizeof(text) - 4, "\r\n\r\n", 4);
    ck_assert_int_eq(parse(text, sizeof(text), &used, why), 0);
    ck_assert_uint_eq(used, sizeof(text));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ws_handshake");
    TCase *tc = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, the_example_of_the_rfc);
    tcase_add_test(tc, the_request);
    tcase_add_loop_test(tc, upgrades, 0, (int)(sizeof(taken) / sizeof(taken[0])));
    tcase_add_loop_test(tc, answers_that_are_no_upgrade, 0,
                        (int)(sizeof(refused) / sizeof(refused[0])));
    tcase_add_test(tc, a_head_has_an_end);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
