/* Tests of loop/socket: the options are read back from the kernel; a reset is seen by the peer. */
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "loop/socket.h"

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);

    ck_assert_int_eq(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

START_TEST(a_tunnel_socket_finds_dead_paths)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    socket_set_tunnel_options(fd);
    ck_assert_int_eq(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 3);
    ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 1);
    ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 3);
    ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 6000);
    ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 131072);
    close(fd);
}
END_TEST

START_TEST(what_a_listener_accepts_inherits_its_keepalive)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof(at);
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0), fd;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    socket_set_keepalive(listener);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&at, len), 0);
    fd = accept(listener, NULL, NULL);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 60);
    ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 10);
    ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 6);
    close(fd);
    close(client);
    close(listener);
}
END_TEST

START_TEST(options_on_what_is_no_tcp_socket_do_no_harm)
{
    int fds[2];

    ck_assert_int_eq(pipe(fds), 0);
    socket_set_tunnel_options(fds[0]);
    socket_set_nodelay(fds[0]);
    socket_set_reset_on_close(fds[0]);
    ck_assert_int_eq(close(fds[0]), 0);
    ck_assert_int_eq(close(fds[1]), 0);
}
END_TEST

START_TEST(the_peer_sees_a_reset)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0), fd;
    char byte;

    ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, len), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&at, len), 0);
    fd = accept(listener, NULL, NULL);
    ck_assert_int_ge(fd, 0);
    socket_set_reset_on_close(fd);
    close(fd);
    ck_assert_int_eq(poll(&(struct pollfd){.fd = client, .events = POLLIN}, 1, 5000), 1);
    ck_assert_int_eq(read(client, &byte, 1), -1);
    ck_assert_int_eq(errno, ECONNRESET);
    close(client);
    close(listener);
}
END_TEST

/* tcpi_segs_out, which the C library's struct tcp_info does not have. */
static uint32_t segments_sent(int fd)
{
    uint32_t info[64] = {0};
    socklen_t len = sizeof(info);

    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &len), 0);
    ck_assert_uint_ge(len, 140);
    return info[136 / sizeof(*info)];
}

/* How many segments five bytes and the end are. */
static uint32_t say_hello_and_end(int listener, const struct sockaddr_in *at)
{
    int from = socket(AF_INET, SOCK_STREAM, 0), to;
    char hello[] = "hello", got[8];
    struct iovec piece = {hello, 5};
    uint32_t sent;

    ck_assert_int_eq(connect(from, (const struct sockaddr *)at, sizeof(*at)), 0);
    socket_set_nodelay(from);
    to = accept(listener, NULL, NULL);
    sent = segments_sent(from);
    ck_assert_int_eq(socket_write_last(from, &piece, 1), 5);
    ck_assert_int_eq(shutdown(from, SHUT_WR), 0);
    sent = segments_sent(from) - sent;
    ck_assert_int_eq(recv(to, got, sizeof(got), MSG_WAITALL), 5);
    ck_assert_mem_eq(got, "hello", 5);
    ck_assert_int_eq(read(to, got, 1), 0);
    close(from);
    close(to);
    return sent;
}

/* Again when the kernel did not wait for the end, as this program was held up in between. */
START_TEST(the_end_leaves_with_the_last_bytes)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t len = sizeof(at);
    uint32_t segments = 0;

    ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    for (unsigned i = 0; i < 100 && segments != 1; i++)
        segments = say_hello_and_end(listener, &at);
    ck_assert_uint_eq(segments, 1);
    close(listener);
}
END_TEST

/* By one piece and by several: the calls differ, what they do does not. */
START_TEST(pieces_are_written_and_read)
{
    char hello[] = "hello ", world[] = "world", a[4], b[16];
    struct iovec out[] = {{hello, 6}, {world, 5}}, in[] = {{a, sizeof(a)}, {b, sizeof(b)}};
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    ck_assert_int_eq(socket_read(pair[1], in, 1), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(socket_read(pair[1], in, 2), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(socket_write(pair[0], out, 2), 11);
    ck_assert_int_eq(socket_read(pair[1], in, 1), 4);
    ck_assert_mem_eq(a, "hell", 4);
    ck_assert_int_eq(socket_read(pair[1], in, 2), 7);
    ck_assert_mem_eq(a, "o wo", 4);
    ck_assert_mem_eq(b, "rld", 3);
    ck_assert_int_eq(socket_write(pair[0], out + 1, 1), 5);
    ck_assert_int_eq(socket_read(pair[1], in + 1, 1), 5);
    ck_assert_mem_eq(b, "world", 5);
    close(pair[0]);
    ck_assert_int_eq(socket_read(pair[1], in, _i ? 2 : 1), 0);
    ck_assert_int_eq(socket_write(pair[1], out, _i ? 2 : 1), -1); /* no SIGPIPE */
    ck_assert_int_eq(errno, EPIPE);
    close(pair[1]);
}
END_TEST

START_TEST(the_limit_of_files_is_raised_to_the_hard_one)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_uint_gt(limit.rlim_max, 64);
    limit.rlim_cur = 64;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_uint_eq(rlimit_raise_files(), limit.rlim_max);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_uint_eq(limit.rlim_cur, limit.rlim_max);
    ck_assert_uint_eq(rlimit_raise_files(), limit.rlim_max);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loop_socket");
    TCase *tc = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, a_tunnel_socket_finds_dead_paths);
    tcase_add_test(tc, what_a_listener_accepts_inherits_its_keepalive);
    tcase_add_test(tc, the_end_leaves_with_the_last_bytes);
    tcase_add_test(tc, options_on_what_is_no_tcp_socket_do_no_harm);
    tcase_add_test(tc, the_peer_sees_a_reset);
    tcase_add_loop_test(tc, pieces_are_written_and_read, 0, 2);
    tcase_add_test(tc, the_limit_of_files_is_raised_to_the_hard_one);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
