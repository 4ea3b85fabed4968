/* Tests of loop/udp_socket: real datagrams on loopback. */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "support/suite.h"
#include "udp_fixture.h"

START_TEST(every_size_comes_whole_and_says_where_it_was_sent_to)
{
    static const size_t sizes[] = {0, 1, 1200, 9000, 65507};
    struct udp_batch *b = udp_batch_new();
    union addr at;
    int fd, out;

    ck_assert_int_eq(bound("127.0.0.1", 1, &fd, &at), 0);
    udp_socket_set_public(fd, AF_INET);
    out = udp_socket_connect(&at);
    ck_assert_int_ge(out, 0);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct iovec pieces[2] = {{content, sizes[i] / 2},
                                  {content + sizes[i] / 2, sizes[i] - sizes[i] / 2}};
        struct udp_arrival a;

        memset(content, (int)i + 1, sizes[i]);
        ck_assert_int_eq(udp_socket_send(out, NULL, NULL, pieces, 2), 0);
        ck_assert_uint_eq(receive(b, fd, 1, &a), 1);
        ck_assert_uint_eq(a.len, sizes[i]);
        ck_assert_mem_eq(a.bytes, content, sizes[i]);
        ck_assert(!a.is_cut);
        addr_set_port(&a.local, addr_port(&at));
        ck_assert(addr_is_same(&a.local, &at));
    }
    ck_assert_int_eq(udp_batch_receive(b, fd), 0);
    close(out);
    close(fd);
    udp_batch_free(b);
}
END_TEST

START_TEST(an_answer_leaves_from_the_address_that_was_asked)
{
    static const char *const asked[] = {"127.0.0.1", "127.0.0.9"};
    struct udp_batch *b = udp_batch_new();
    struct iovec piece = {content, 10};
    union addr any;
    int fd;

    ck_assert_int_eq(bound("0.0.0.0", 1, &fd, &any), 0);
    udp_socket_set_public(fd, AF_INET);
    for (unsigned i = 0; i < ARRAY_LEN(asked); i++) {
        struct udp_arrival a;
        union addr to;
        int client;

        ck_assert_int_eq(addr_parse_host(&to, asked[i], addr_port(&any)), 0);
        client = udp_socket_connect(&to); /* takes nothing from another address */
        ck_assert_int_eq(udp_socket_send(client, NULL, NULL, &piece, 1), 0);
        receive(b, fd, 1, &a);
        ck_assert_int_eq(udp_socket_send(fd, &a.peer, &a.local, &piece, 1), 0);
        receive(b, client, 1, &a);
        ck_assert_uint_eq(a.len, 10);
        close(client);
    }
    close(fd);
    udp_batch_free(b);
}
END_TEST

START_TEST(an_icmp_error_is_told_and_passes)
{
    struct udp_batch *b = udp_batch_new();
    struct iovec piece = {content, 10};
    struct udp_arrival a;
    struct pollfd wait;
    union addr at;
    int fd, client;

    ck_assert_int_eq(bound("127.0.0.1", 1, &fd, &at), 0);
    client = udp_socket_connect(&at);
    close(fd);
    ck_assert_int_eq(udp_socket_send(client, NULL, NULL, &piece, 1), 0);
    wait = (struct pollfd){.fd = client, .events = POLLIN};
    ck_assert_int_eq(poll(&wait, 1, 10000), 1);
    ck_assert_int_eq(udp_batch_receive(b, client), -ECONNREFUSED);
    ck_assert_int_eq(udp_batch_receive(b, client), 0);
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(fd, &at.sa, addr_len(&at)), 0);
    ck_assert_int_eq(udp_socket_send(client, NULL, NULL, &piece, 1), 0);
    receive(b, fd, 1, &a);
    ck_assert_int_eq(udp_socket_send(client, NULL, NULL, &(struct iovec){content, 65508}, 1),
                     -EMSGSIZE);
    close(fd);
    close(client);
    udp_batch_free(b);
}
END_TEST

START_TEST(all_workers_are_bound_or_none)
{
    union addr at, again;
    int fds[6], other[6];
    unsigned sets;

    ck_assert_int_eq(bound("127.0.0.1", 3, fds, &at), 0);
    again = at;
    ck_assert_int_eq(listen_bind_udp(&again, 3, other, &sets, NULL), -EADDRINUSE);
    for (unsigned i = 0; i < 3; i++)
        close(fds[i]);
    ck_assert_int_eq(listen_bind_udp(&again, 3, other, &sets, NULL), 0);
    for (unsigned i = 0; i < 3; i++)
        close(other[i]);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, every_size_comes_whole_and_says_where_it_was_sent_to);
    tcase_add_test(tc, an_answer_leaves_from_the_address_that_was_asked);
    tcase_add_test(tc, an_icmp_error_is_told_and_passes);
    tcase_add_test(tc, all_workers_are_bound_or_none);
    return suite_run("udp_socket", tc);
}
