/* Tests of loop/congestion: what the kernel says of a socket afterwards.  What the system's default
 * is called can be told; that name is then set as the one which it really is. */
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "loop/congestion.h"
#include "loop/listener.h"
#include "support/suite.h"

static const char *told;    /* NULL: nothing is told */
static const char *refused; /* a name that cannot be set; or NULL */
static char standard[CONGESTION_NAME_MAX];
static unsigned sets; /* how often a socket was given one */

static bool is_name(const void *value, socklen_t len, const char *name)
{
    return name && len == strlen(name) && memcmp(value, name, len) == 0;
}

/* Both in place of the C library's. */
int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    if (level == IPPROTO_TCP && name == TCP_CONGESTION) {
        sets++;
        if (is_name(value, len, refused)) {
            errno = ENOENT;
            return -1;
        }
        if (is_name(value, len, told)) {
            value = standard;
            len = (socklen_t)strlen(standard);
        }
    }
    return (int)syscall(SYS_setsockopt, fd, level, name, value, len);
}

int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict len)
{
    if (!told || level != IPPROTO_TCP || name != TCP_CONGESTION)
        return (int)syscall(SYS_getsockopt, fd, level, name, value, len);
    ck_assert_uint_ge(*len, strlen(told));
    memcpy(value, told, strlen(told));
    return 0;
}

static union addr near_peer, far_peer;

static void expect(int fd, const char *name)
{
    char has[CONGESTION_NAME_MAX] = "";
    socklen_t len = sizeof(has);

    ck_assert_int_eq((int)syscall(SYS_getsockopt, fd, IPPROTO_TCP, TCP_CONGESTION, has, &len), 0);
    ck_assert_str_eq(has, name);
}

static void setup(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t len = sizeof(standard);

    told = refused = NULL;
    memset(standard, 0, sizeof(standard));
    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, standard, &len), 0);
    close(fd);
    ck_assert_int_eq(addr_parse_host(&near_peer, "127.0.0.1", 9), 0);
    ck_assert_int_eq(addr_parse_host(&far_peer, "192.0.2.1", 9), 0);
}

static int connecting(const struct congestion *c, const union addr *peer)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    sets = 0;
    congestion_before_connect(c, fd, peer);
    return fd;
}

/* A connection that a listener took, from this machine, and that is said to be from `peer`. */
static int accepted(const struct congestion *c, const union addr *peer)
{
    union addr at;
    int listener, client = socket(AF_INET, SOCK_STREAM, 0), fd;

    ck_assert_int_eq(addr_parse_host(&at, "127.0.0.1", 0), 0);
    ck_assert_int_eq(listen_bind(&at, 1, &listener, &at), 0);
    congestion_listen(c, listener);
    ck_assert_int_eq(connect(client, &at.sa, addr_len(&at)), 0);
    fd = (int)syscall(SYS_accept4, listener, NULL, NULL, 0);
    ck_assert_int_ge(fd, 0);
    sets = 0;
    congestion_accepted(c, fd, peer);
    close(listener);
    close(client);
    return fd;
}

static void expect_both(const struct congestion *c, const union addr *peer, const char *name,
                        unsigned connect_sets, unsigned accept_sets)
{
    int fd = connecting(c, peer);

    expect(fd, name);
    ck_assert_uint_eq(sets, connect_sets);
    close(fd);
    fd = accepted(c, peer);
    expect(fd, name);
    ck_assert_uint_eq(sets, accept_sets);
    close(fd);
}

static const char *const paced[] = {"bbr", "bbr2"};

START_TEST(between_sockets_of_this_machine_nothing_is_paced)
{
    struct congestion c;

    told = paced[_i];
    congestion_init(&c, NULL);
    told = NULL;
    ck_assert_str_eq(c.far, paced[_i]);
    expect_both(&c, &near_peer, "reno", 1, 0);
}
END_TEST

START_TEST(others_have_the_systems)
{
    struct congestion c;

    told = paced[_i];
    congestion_init(&c, "");
    expect_both(&c, &far_peer, standard, 0, 1);
}
END_TEST

static const struct {
    const char *told, *refused;
} left[] = {{"cubic", NULL}, {"bbr", "bbr"}};

START_TEST(what_paces_nothing_or_cannot_be_set_back_is_left)
{
    struct congestion c;

    told = left[_i].told;
    refused = left[_i].refused;
    congestion_init(&c, NULL);
    expect_both(&c, &near_peer, standard, 0, 0);
    expect_both(&c, &far_peer, standard, 0, 0);
}
END_TEST

START_TEST(the_configured_one_is_for_all)
{
    struct congestion c;

    congestion_init(&c, "reno");
    expect_both(&c, &near_peer, "reno", 1, 1);
    expect_both(&c, &far_peer, "reno", 1, 1);
}
END_TEST

START_TEST(a_configured_one_that_is_missing_is_none)
{
    struct congestion c, none;

    congestion_init(&none, NULL);
    congestion_init(&c, "no-such-thing");
    ck_assert_str_eq(c.near, none.near);
    ck_assert_str_eq(c.far, none.far);
    congestion_init(&c, "a-name-that-is-longer-than-the-kernel-takes");
    ck_assert_str_eq(c.near, none.near);
    expect_both(&c, &far_peer, standard, 0, strcmp(none.near, none.far) != 0 ? 1 : 0);
}
END_TEST

/* An administrator takes it away while we run. */
START_TEST(one_that_is_forbidden_later_is_told_once)
{
    char said[2048] = "", *line;
    struct congestion c;
    int fd, log[2];

    ck_assert_int_eq(pipe(log), 0);
    log_init(LOG_TEXT, LOG_WARN, log[1]);
    told = "bbr";
    congestion_init(&c, NULL);
    refused = told;
    for (unsigned i = 0; i < 3; i++) {
        fd = accepted(&c, &far_peer);
        expect(fd, "reno");
        close(fd);
    }
    log_init(LOG_TEXT, LOG_WARN, 2);
    close(log[1]);
    ck_assert_int_gt(read(log[0], said, sizeof(said) - 1), 0);
    line = strstr(said, "congestion_control_lost");
    ck_assert_ptr_nonnull(line);
    ck_assert_ptr_null(strstr(line + 1, "congestion_control_lost"));
    close(log[0]);
}
END_TEST

START_TEST(on_what_is_no_tcp_socket_it_does_no_harm)
{
    struct congestion c;
    int fds[2];

    congestion_init(&c, "reno");
    ck_assert_int_eq(pipe(fds), 0);
    congestion_listen(&c, fds[0]);
    congestion_before_connect(&c, fds[0], &near_peer);
    ck_assert_int_eq(close(fds[0]), 0);
    ck_assert_int_eq(close(fds[1]), 0);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_loop_test(tc, between_sockets_of_this_machine_nothing_is_paced, 0, ARRAY_LEN(paced));
    tcase_add_loop_test(tc, others_have_the_systems, 0, ARRAY_LEN(paced));
    tcase_add_loop_test(tc, what_paces_nothing_or_cannot_be_set_back_is_left, 0, ARRAY_LEN(left));
    tcase_add_test(tc, the_configured_one_is_for_all);
    tcase_add_test(tc, a_configured_one_that_is_missing_is_none);
    tcase_add_test(tc, one_that_is_forbidden_later_is_told_once);
    tcase_add_test(tc, on_what_is_no_tcp_socket_it_does_no_harm);
    return suite_run("congestion", tc);
}
