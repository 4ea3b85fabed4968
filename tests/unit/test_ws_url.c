/* Where a WebSocket server is: what is taken, what it means, and what is refused. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "ws/url.h"

static const struct {
    const char *text, *host, *authority, *target;
    uint16_t port;
    bool is_secure;
} good[] = {
    {"http://coreflow:3000", "coreflow", "coreflow:3000", "/", 3000, false},
    {"ws://coreflow", "coreflow", "coreflow", "/", 80, false},
    {"wss://flow.example.com", "flow.example.com", "flow.example.com", "/", 443, true},
    {"HTTPS://flow.example.com:443/a/b?c=d", "flow.example.com", "flow.example.com", "/a/b?c=d",
     443, true},
    {"ws://127.0.0.1:80/", "127.0.0.1", "127.0.0.1", "/", 80, false},
    {"ws://127.0.0.1:443/", "127.0.0.1", "127.0.0.1:443", "/", 443, false},
    {"wss://[2001:db8::1]:65535?q", "2001:db8::1", "[2001:db8::1]:65535", "/?q", 65535, true},
    {"ws://[::1]", "::1", "[::1]", "/", 80, false},
    {"ws://my_flow.local:1", "my_flow.local", "my_flow.local:1", "/", 1, false},
};

START_TEST(good_ones)
{
    struct ws_url url;
    const char *why;

    ck_assert_int_eq(ws_url_parse(&url, good[_i].text, &why), 0);
    ck_assert_str_eq(url.host, good[_i].host);
    ck_assert_str_eq(url.authority, good[_i].authority);
    ck_assert_str_eq(url.target, good[_i].target);
    ck_assert_uint_eq(url.port, good[_i].port);
    ck_assert(url.is_secure == good[_i].is_secure);
}
END_TEST

static const struct {
    const char *text, *why; /* a part of the reason */
} bad[] = {
    {"", "must begin with"},
    {"coreflow:3000", "must begin with"},
    {"ftp://coreflow", "must begin with"},
    {"ws:/coreflow", "must begin with"},
    {"ws://", "must name a host"},
    {"ws:///path", "must name a host"},
    {"ws://:3000", "must name a host"},
    {"ws://user:pass@coreflow", "no user"},
    {"ws://user@coreflow/", "no user"},
    {"ws://core flow", "no host name"},
    {"ws://-coreflow", "no host name"},
    {"ws://[::1", "no end"},
    {"ws://[]", "must name a host"},
    {"ws://[coreflow]", "no host name"},
    {"ws://[127.0.0.1]", "no host name"},
    {"ws://[::1]x", "port"},
    {"ws://coreflow:", "port"},
    {"ws://coreflow:0", "port"},
    {"ws://coreflow:65536", "port"},
    {"ws://coreflow:99999999999", "port"},
    {"ws://coreflow:+80", "port"},
    {"ws://coreflow:80x", "port"},
    {"ws://coreflow/#top", "fragment"},
    {"ws://coreflow#top", "fragment"},
    {"ws://coreflow/a b", "printable"},
    {"ws://coreflow/\r\nX: y", "printable"},
    {"ws://coreflow/\xc3\xa4", "printable"},
};

START_TEST(bad_ones)
{
    struct ws_url url;
    const char *why = NULL;

    ck_assert_int_ne(ws_url_parse(&url, bad[_i].text, &why), 0);
    ck_assert_msg(strstr(why, bad[_i].why) != NULL, "%s: %s", bad[_i].text, why);
}
END_TEST

START_TEST(lengths)
{
    char text[2000] = "ws://";
    struct ws_url url;
    const char *why;

    memset(text + 5, 'a', 253);
    ck_assert_int_eq(ws_url_parse(&url, text, &why), 0);
    text[5 + 253] = 'a';
    ck_assert_int_ne(ws_url_parse(&url, text, &why), 0);
    strcpy(text, "ws://h");
    memset(text + 6, '/', 1023);
    text[6 + 1023] = '\0';
    ck_assert_int_eq(ws_url_parse(&url, text, &why), 0);
    ck_assert_uint_eq(strlen(url.target), 1023);
    text[6 + 1023] = '/';
    text[6 + 1024] = '\0';
    ck_assert_int_ne(ws_url_parse(&url, text, &why), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ws_url");
    TCase *tc = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tc, good_ones, 0, (int)(sizeof(good) / sizeof(good[0])));
    tcase_add_loop_test(tc, bad_ones, 0, (int)(sizeof(bad) / sizeof(bad[0])));
    tcase_add_test(tc, lengths);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
