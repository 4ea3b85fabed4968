/* Tests of proxy_intake: which peers are trusted; that exactly the header's bytes are taken from a
 * real socket. */
#include "traffic/proxy_intake.h"

#include <unistd.h>

#include "support/suite.h"
#include "traffic_h1_fixture.h"

static union addr address(const char *text)
{
    union addr a;

    ck_assert_int_eq(addr_parse_host(&a, text, 0), 0);
    return a;
}

static const struct {
    const char *net, *peer;
    bool is_inside;
} nets[] = {
    {"10.0.0.0/8", "10.255.0.1", true},
    {"10.0.0.0/8", "11.0.0.1", false},
    {"192.0.2.128/25", "192.0.2.128", true},
    {"192.0.2.128/25", "192.0.2.127", false},
    {"192.0.2.1", "192.0.2.1", true},
    {"192.0.2.1", "192.0.2.2", false},
    {"192.0.2.1", "::ffff:192.0.2.1", true},
    {"0.0.0.0/0", "203.0.113.9", true},
    {"0.0.0.0/0", "2001:db8::1", false},
    {"::/0", "2001:db8::1", true},
    {"2001:db8::/33", "2001:db8:7fff::1", true},
    {"2001:db8::/33", "2001:db8:8000::1", false},
    {"::1", "::1", true},
    {"192.0.2.0/31", "192.0.2.1", true},
    {"192.0.2.0/32", "192.0.2.1", false},
};

START_TEST(who_is_trusted)
{
    struct proxy_trust *trust = proxy_trust_new();
    union addr peer = address(nets[_i].peer);

    ck_assert(!proxy_trust_has(trust, &peer));
    ck_assert_int_eq(proxy_trust_add(trust, "198.51.100.7"), 0);
    ck_assert_int_eq(proxy_trust_add(trust, nets[_i].net), 0);
    ck_assert_msg(proxy_trust_has(trust, &peer) == nets[_i].is_inside, "%s in %s", nets[_i].peer,
                  nets[_i].net);
    proxy_trust_unref(proxy_trust_ref(trust));
    proxy_trust_unref(trust);
    proxy_trust_unref(NULL);
}
END_TEST

START_TEST(what_is_no_network)
{
    static const char *const wrong[] = {"hub",    "10.0.0.0/33", "10.0.0.0/",   "10.0.0.0/-1",
                                        "::/129", "10.0.0/8",    "10.0.0.0/08", "",
                                        "/8",     "10.0.0.0/8 ", "10.0.0.0/1e", "10.0.0.0/0000"};
    struct proxy_trust *trust = proxy_trust_new();

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        ck_assert_msg(proxy_trust_add(trust, wrong[i]) == -ERR_SYNTAX, "%s", wrong[i]);
    ck_assert_uint_eq(trust->count, 0);
    for (unsigned i = 0; i < 100; i++) {
        union addr a = address("192.0.2.1");

        proxy_trust_add_address(trust, &a);
    }
    ck_assert_uint_eq(trust->count, 100);
    proxy_trust_unref(trust);
}
END_TEST

static void send_bytes(int fd, const char *bytes, size_t n)
{
    ck_assert_int_eq(write(fd, bytes, n), (ssize_t)n);
}

START_TEST(the_header_is_taken_and_nothing_behind_it)
{
    static const char header[] = "PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n";
    struct proxy_intake intake;
    union addr client = address("127.0.0.1");
    char rest[8], out[ADDR_TEXT_MAX];
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    proxy_intake_init(&intake);
    ck_assert_int_eq(proxy_intake_run(&intake, fds[0], &client), IO_WAIT);
    for (size_t i = 0; i + 2 < sizeof(header); i++) {
        send_bytes(fds[1], header + i, 1);
        ck_assert_int_eq(proxy_intake_run(&intake, fds[0], &client), IO_WAIT);
    }
    send_bytes(fds[1], "\nGET", 4);
    ck_assert_int_eq(proxy_intake_run(&intake, fds[0], &client), IO_OK);
    ck_assert_str_eq(addr_format(&client, out), "192.0.2.7:40000");
    ck_assert_int_eq(read(fds[0], rest, sizeof(rest)), 3);
    ck_assert_mem_eq(rest, "GET", 3);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(the_peer_stays_where_the_header_names_nobody)
{
    struct proxy_intake intake;
    union addr client = address("127.0.0.1");
    char out[ADDR_TEXT_MAX];
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    proxy_intake_init(&intake);
    send_bytes(fds[1], "PROXY UNKNOWN\r\n", 15);
    ck_assert_int_eq(proxy_intake_run(&intake, fds[0], &client), IO_OK);
    ck_assert_str_eq(addr_format_host(&client, out), "127.0.0.1");
    proxy_intake_init(&intake);
    send_bytes(fds[1],
               "\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c"
               "abcdefghijkl",
               28); /* datagrams */
    ck_assert_int_eq(proxy_intake_run(&intake, fds[0], &client), IO_FAIL);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(an_end_or_other_bytes_are_no_header)
{
    struct proxy_intake intake;
    union addr client = address("127.0.0.1");
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    proxy_intake_init(&intake);
    send_bytes(fds[1], "GET / HTTP/1.1\r\n", 16);
    ck_assert_int_eq(proxy_intake_run(&intake, fds[0], &client), IO_FAIL);
    close(fds[0]);
    close(fds[1]);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    proxy_intake_init(&intake);
    send_bytes(fds[1], "PROXY", 5);
    close(fds[1]);
    ck_assert_int_eq(proxy_intake_run(&intake, fds[0], &client), IO_EOF);
    close(fds[0]);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("peers");

    tcase_add_loop_test(tcase, who_is_trusted, 0, ARRAY_LEN(nets));
    tcase_add_test(tcase, what_is_no_network);
    tcase_add_test(tcase, the_header_is_taken_and_nothing_behind_it);
    tcase_add_test(tcase, the_peer_stays_where_the_header_names_nobody);
    tcase_add_test(tcase, an_end_or_other_bytes_are_no_header);
    return suite_run("traffic/proxy_intake", tcase);
}
