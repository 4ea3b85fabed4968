/* Tests of loop/listener: one set or none, one port for all, a port in use is an error even with
 * SO_REUSEPORT; accepting in batches, stopping, and running out of descriptors.
 * All on loopback, ports from the kernel.  IPv6 cases need ::1 and are left out where it is
 * missing. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "loop/listener.h"

static struct loop *loop;
static struct deadline guard;
static struct acceptor acceptor;
static int taken[200];
static unsigned taken_count, taken_wanted, turns_with_some, stop_after;
static union addr last_peer;
static struct ready end_of_turn;

static void on_guard(struct deadline *d)
{
    (void)d;
    ck_abort_msg("nothing happened for 10 s");
}

static void setup(void)
{
    log_init(LOG_TEXT, LOG_ERR, 2);
    loop = loop_new("test", 0, 0);
    deadline_init(&guard, loop, on_guard);
    taken_count = taken_wanted = turns_with_some = stop_after = 0;
}

static void teardown(void)
{
    deadline_off(&guard);
    loop_free(loop);
}

static void run(void)
{
    deadline_set(&guard, 10000);
    loop_run(loop);
    deadline_off(&guard);
}

static union addr at(const char *text)
{
    union addr a;

    ck_assert_int_eq(addr_parse(&a, text), 0);
    return a;
}

static void close_all(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(close(fds[i]), 0);
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);

    ck_assert_int_eq(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

/* A client's socket, connected or on its way. */
static int client_of(const union addr *to)
{
    int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);

    ck_assert_int_ge(fd, 0);
    if (connect(fd, &to->sa, addr_len(to)) != 0)
        ck_assert_int_eq(errno, EINPROGRESS);
    return fd;
}

static bool has_ipv6(void)
{
    union addr a = at("[::1]:0");
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool has = fd >= 0 && bind(fd, &a.sa, addr_len(&a)) == 0;

    if (fd >= 0)
        close(fd);
    return has;
}

/* ------------------------------------------------------------------ binding */

START_TEST(a_set_shares_one_port_of_the_kernels_choice)
{
    union addr a = at("127.0.0.1:0"), bound;
    int fds[4];

    ck_assert_int_eq(listen_bind(&a, 4, fds, &bound), 0);
    ck_assert_uint_gt(addr_port(&bound), 0);
    ck_assert(addr_is_same_host(&a, &bound));
    for (unsigned i = 0; i < 4; i++) {
        union addr own = {0};
        socklen_t len = sizeof(own);

        ck_assert_int_eq(getsockname(fds[i], &own.sa, &len), 0);
        ck_assert(addr_is_same(&own, &bound));
        ck_assert_int_eq(option(fds[i], SOL_SOCKET, SO_ACCEPTCONN), 1);
        ck_assert_int_eq(option(fds[i], SOL_SOCKET, SO_REUSEPORT), 1);
        ck_assert_int_ne(fcntl(fds[i], F_GETFL) & O_NONBLOCK, 0);
        ck_assert_int_ne(fcntl(fds[i], F_GETFD) & FD_CLOEXEC, 0);
    }
    close_all(fds, 4);
}
END_TEST

START_TEST(a_single_socket_does_not_share)
{
    union addr a = at("127.0.0.1:0"), bound;
    int fd;

    ck_assert_int_eq(listen_bind(&a, 1, &fd, &bound), 0);
    ck_assert_int_eq(option(fd, SOL_SOCKET, SO_REUSEPORT), 0);
    close(fd);
}
END_TEST

/* Every pair of set sizes: the second comer learns that the port is taken, and leaves nothing open.
 */
START_TEST(a_port_in_use_is_refused)
{
    unsigned first = _i % 2 ? 3 : 1, second = _i / 2 ? 3 : 1;
    union addr a = at("127.0.0.1:0"), bound;
    int fds[3], more[3], probe;

    ck_assert_int_eq(listen_bind(&a, first, fds, &bound), 0);
    probe = dup(0);
    close(probe);
    ck_assert_int_eq(listen_bind(&bound, second, more, NULL), -EADDRINUSE);
    ck_assert_int_eq(dup(0), probe); /* the lowest free descriptor is the same as before */
    close(probe);
    close_all(fds, first);
    ck_assert_int_eq(listen_bind(&bound, second, more, NULL), 0); /* free again at once */
    close_all(more, second);
}
END_TEST

START_TEST(an_address_that_is_not_ours_is_refused)
{
    union addr a = at("192.0.2.1:0"), none = {0};
    int fds[2];

    ck_assert_int_eq(listen_bind(&a, 2, fds, NULL), -EADDRNOTAVAIL);
    ck_assert_int_eq(listen_bind(&a, 1, fds, NULL), -EADDRNOTAVAIL);
    ck_assert_int_eq(listen_bind(&none, 1, fds, NULL), -EAFNOSUPPORT);
}
END_TEST

START_TEST(any_means_both_families_on_one_port)
{
    union addr a = at(":0"), bound;
    unsigned sets, want = has_ipv6() ? 2 : 1;
    int fds[4];

    ck_assert_int_eq(listen_bind_any(&a, 2, fds, &sets, &bound), 0);
    ck_assert_uint_eq(sets, want);
    for (unsigned i = 0; i < 2 * sets; i++) {
        union addr own = {0};
        socklen_t len = sizeof(own);

        ck_assert_int_eq(getsockname(fds[i], &own.sa, &len), 0);
        ck_assert_uint_eq(addr_port(&own), addr_port(&bound));
        ck_assert(addr_is_any(&own));
        ck_assert_int_eq(own.sa.sa_family, sets == 2 && i < 2 ? AF_INET6 : AF_INET);
        if (own.sa.sa_family == AF_INET6)
            ck_assert_int_eq(option(fds[i], IPPROTO_IPV6, IPV6_V6ONLY), 1);
    }
    close_all(fds, 2 * sets);
}
END_TEST

START_TEST(any_is_bound_whole_or_not_at_all)
{
    union addr v4 = at("0.0.0.0:0"), any = at(":0"), bound;
    unsigned sets = 9;
    int holder, fds[2], probe;

    ck_assert_int_eq(listen_bind(&v4, 1, &holder, &bound), 0);
    addr_set_port(&any, addr_port(&bound));
    probe = dup(0);
    close(probe);
    ck_assert_int_eq(listen_bind_any(&any, 1, fds, &sets, NULL), -EADDRINUSE);
    ck_assert_uint_eq(sets, 0);
    ck_assert_int_eq(dup(0), probe);
    close(probe);
    close(holder);
}
END_TEST

START_TEST(any_other_address_is_one_set)
{
    union addr a = at("127.0.0.1:0"), bound;
    unsigned sets;
    int fds[4];

    ck_assert_int_eq(listen_bind_any(&a, 2, fds, &sets, &bound), 0);
    ck_assert_uint_eq(sets, 1);
    close_all(fds, 2);
}
END_TEST

/* ------------------------------------------------------------------ accepting */

static void on_end_of_turn(struct ready *r)
{
    (void)r;
    turns_with_some++;
    ck_assert_uint_le(taken_count, turns_with_some * ACCEPT_BATCH);
    if (taken_count >= taken_wanted)
        loop_stop(loop);
}

static void on_accept(struct acceptor *a, int fd, const union addr *peer)
{
    taken[taken_count++] = fd;
    last_peer = *peer;
    loop_again(loop, &end_of_turn);
    if (stop_after && taken_count == stop_after)
        acceptor_stop(a);
}

static union addr start_accepting(unsigned wanted)
{
    union addr a = at("127.0.0.1:0"), bound;
    int fd;

    ready_init(&end_of_turn, on_end_of_turn);
    taken_wanted = wanted;
    ck_assert_int_eq(listen_bind(&a, 1, &fd, &bound), 0);
    acceptor_init(&acceptor, loop, fd, on_accept);
    acceptor_start(&acceptor);
    return bound;
}

static void expect_congestion(int fd, const char *name)
{
    char has[CONGESTION_NAME_MAX] = "";
    socklen_t n = sizeof(has);

    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, has, &n), 0);
    ck_assert_str_eq(has, name);
}

/* The listener is given it, and what was accepted by itself, too: here it inherits another one. */
START_TEST(what_is_accepted_gets_its_congestion_control)
{
    const struct congestion c = {.near = "reno", .far = "reno"}; /* every kernel has this one */
    char standard[CONGESTION_NAME_MAX] = "";
    union addr bound = start_accepting(1);
    socklen_t n = sizeof(standard);
    int client;

    ck_assert_int_eq(getsockopt(acceptor.fd, IPPROTO_TCP, TCP_CONGESTION, standard, &n), 0);
    acceptor_set_congestion(&acceptor, &c);
    expect_congestion(acceptor.fd, "reno");
    ck_assert_int_eq(
        setsockopt(acceptor.fd, IPPROTO_TCP, TCP_CONGESTION, standard, (socklen_t)strlen(standard)),
        0);
    client = client_of(&bound);
    run();
    ck_assert_uint_eq(taken_count, 1);
    expect_congestion(taken[0], "reno");
    close(taken[0]);
    close(client);
    acceptor_fini(&acceptor);
}
END_TEST

START_TEST(what_is_accepted_is_ready_for_use)
{
    union addr bound = start_accepting(1), own = {0};
    socklen_t len = sizeof(own);
    int client = client_of(&bound);

    run();
    ck_assert_uint_eq(taken_count, 1);
    ck_assert_uint_eq(acceptor.accepted, 1);
    ck_assert_uint_eq(acceptor.exhausted, 0);
    ck_assert_int_ne(fcntl(taken[0], F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_ne(fcntl(taken[0], F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_eq(option(taken[0], IPPROTO_TCP, TCP_NODELAY), 1);
    ck_assert_int_eq(getsockname(client, &own.sa, &len), 0);
    ck_assert(addr_is_same(&own, &last_peer));
    close(taken[0]);
    close(client);
    acceptor_fini(&acceptor);
    acceptor_fini(&acceptor);
    acceptor_fini(&(struct acceptor){0});
    ck_assert_int_eq(acceptor.fd, -1);
}
END_TEST

START_TEST(a_crowd_is_taken_in_batches)
{
    union addr bound = start_accepting(150);
    int clients[150];

    for (unsigned i = 0; i < 150; i++)
        clients[i] = client_of(&bound);
    run();
    ck_assert_uint_eq(taken_count, 150);
    ck_assert_uint_ge(turns_with_some, 3); /* 64 a turn */
    close_all(clients, 150);
    close_all(taken, 150);
    acceptor_fini(&acceptor);
}
END_TEST

START_TEST(who_is_in_the_queue_is_taken_before_the_end)
{
    union addr bound = start_accepting(0);
    int clients[150], late;

    acceptor_stop(&acceptor);
    for (unsigned i = 0; i < 150; i++)
        clients[i] = client_of(&bound);
    acceptor_finish(&acceptor);
    ck_assert_uint_eq(taken_count, 150);
    ck_assert_int_eq(acceptor.fd, -1);
    late = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_ne(connect(late, &bound.sa, addr_len(&bound)), 0);
    ck_assert_int_eq(errno, ECONNREFUSED);
    close(late);
    acceptor_finish(&acceptor); /* as fini: fine twice or zeroed */
    acceptor_finish(&(struct acceptor){0});
    close_all(clients, 150);
    close_all(taken, 150);
}
END_TEST

static void on_quiet(struct deadline *d)
{
    loop_stop(d->loop);
}

START_TEST(stopped_takes_no_more_until_started)
{
    union addr bound = start_accepting(2);
    struct deadline quiet;
    int clients[5];

    stop_after = 2;
    for (unsigned i = 0; i < 5; i++)
        clients[i] = client_of(&bound);
    run();
    deadline_init(&quiet, loop, on_quiet);
    deadline_set(&quiet, 50);
    run();
    ck_assert_uint_eq(taken_count, 2); /* the rest waits in the kernel */
    stop_after = 0;
    taken_wanted = 5;
    acceptor_start(&acceptor);
    run();
    ck_assert_uint_eq(taken_count, 5);
    close_all(clients, 5);
    close_all(taken, 5);
    acceptor_fini(&acceptor);
}
END_TEST

static void on_accept_then_fini(struct acceptor *a, int fd, const union addr *peer)
{
    (void)peer;
    close(fd);
    taken_count++;
    acceptor_fini(a);
    loop_stop(loop);
}

START_TEST(the_callee_may_end_the_acceptor)
{
    union addr bound = start_accepting(1);
    int clients[3];

    acceptor.on_accept = on_accept_then_fini;
    for (unsigned i = 0; i < 3; i++)
        clients[i] = client_of(&bound);
    run();
    ck_assert_uint_eq(taken_count, 1);
    ck_assert_int_eq(acceptor.fd, -1);
    ck_assert_int_eq(acceptor.spare_fd, -1);
    close_all(clients, 3);
}
END_TEST

/* ------------------------------------------------------------------ out of descriptors */

static struct loop_io shed_io;
static int shed_client;

static void on_shed(struct loop_io *io, unsigned events)
{
    char byte;

    (void)events;
    ck_assert_int_eq(read(shed_client, &byte, 1), -1);
    ck_assert_int_eq(errno, ECONNRESET);
    loop_io_arm(io, 0);
    loop_stop(loop);
}

static void on_accept_and_stop(struct acceptor *a, int fd, const union addr *peer)
{
    (void)a;
    (void)peer;
    taken[taken_count++] = fd;
    loop_stop(loop);
}

/* Leaves the process `left` descriptors above those in use. */
static rlim_t tighten(unsigned left)
{
    struct rlimit limit;
    rlim_t before;
    int next = dup(0);

    ck_assert_int_ge(next, 0);
    close(next);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    before = limit.rlim_cur;
    limit.rlim_cur = (rlim_t)next + left;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return before;
}

static void loosen(rlim_t before)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = before;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

START_TEST(without_descriptors_one_client_is_reset_then_it_pauses_then_goes_on)
{
    union addr bound = start_accepting(1);
    int second;
    rlim_t before;
    uint64_t paused_until;

    acceptor.on_accept = on_accept_and_stop;
    loop_stop(loop);
    run(); /* the loop's own descriptors are all open now */
    shed_client = client_of(&bound);
    loop_io_init(&shed_io, loop, shed_client, on_shed);
    loop_io_arm(&shed_io, LOOP_READ);
    before = tighten(0);
    paused_until = loop_now_ms(loop) + ACCEPT_PAUSE_MS;
    run();
    ck_assert_uint_eq(taken_count, 0);
    ck_assert_uint_eq(acceptor.exhausted, 1);
    ck_assert_int_ge(acceptor.spare_fd, 0); /* taken back */
    if (acceptor.pause.due_ms)              /* else it is over: the loop was held up for so long */
        ck_assert_uint_ge(acceptor.pause.due_ms, paused_until);
    loosen(before);
    second = client_of(&bound);
    run();
    ck_assert_uint_eq(taken_count, 1); /* the next one, once the pause is over */
    ck_assert_uint_ge(clock_now_us() / 1000, paused_until);
    ck_assert_uint_eq(acceptor.exhausted, 1);
    close(taken[0]);
    close(second);
    close(shed_client);
    acceptor_fini(&acceptor);
}
END_TEST

static void on_three_times(struct deadline *d)
{
    if (acceptor.exhausted >= 3)
        loop_stop(d->loop);
    else
        deadline_set(d, 10);
}

START_TEST(without_descriptors_it_does_not_spin)
{
    union addr bound = start_accepting(1);
    struct deadline look;
    int clients[40];
    rlim_t before;
    uint64_t since_ms;

    loop_stop(loop);
    run();
    for (unsigned i = 0; i < 40; i++)
        clients[i] = client_of(&bound);
    before = tighten(0);
    deadline_init(&look, loop, on_three_times);
    deadline_set(&look, 10);
    since_ms = loop_now_ms(loop);
    run();
    loosen(before);
    ck_assert_uint_le(acceptor.exhausted, 1 + (loop_now_ms(loop) - since_ms) / ACCEPT_PAUSE_MS);
    close_all(clients, 40);
    acceptor_fini(&acceptor);
}
END_TEST

START_TEST(an_acceptor_may_end_while_it_pauses)
{
    union addr bound = start_accepting(1);
    rlim_t before;

    acceptor.on_accept = on_accept_and_stop;
    loop_stop(loop);
    run();
    shed_client = client_of(&bound);
    loop_io_init(&shed_io, loop, shed_client, on_shed);
    loop_io_arm(&shed_io, LOOP_READ);
    before = tighten(0);
    run();
    loosen(before);
    acceptor_stop(&acceptor);
    acceptor_fini(&acceptor);
    ck_assert_uint_eq(acceptor.pause.due_ms, 0);
    close(shed_client);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loop_listener");
    TCase *tc = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, a_set_shares_one_port_of_the_kernels_choice);
    tcase_add_test(tc, a_single_socket_does_not_share);
    tcase_add_loop_test(tc, a_port_in_use_is_refused, 0, 4);
    tcase_add_test(tc, an_address_that_is_not_ours_is_refused);
    tcase_add_test(tc, any_means_both_families_on_one_port);
    tcase_add_test(tc, any_is_bound_whole_or_not_at_all);
    tcase_add_test(tc, any_other_address_is_one_set);
    tcase_add_test(tc, what_is_accepted_is_ready_for_use);
    tcase_add_test(tc, what_is_accepted_gets_its_congestion_control);
    tcase_add_test(tc, a_crowd_is_taken_in_batches);
    tcase_add_test(tc, who_is_in_the_queue_is_taken_before_the_end);
    tcase_add_test(tc, stopped_takes_no_more_until_started);
    tcase_add_test(tc, the_callee_may_end_the_acceptor);
    if (srunner_fork_status(runner) == CK_FORK) { /* these change limits of the process */
        tcase_add_test(tc, without_descriptors_one_client_is_reset_then_it_pauses_then_goes_on);
        tcase_add_test(tc, without_descriptors_it_does_not_spin);
        tcase_add_test(tc, an_acceptor_may_end_while_it_pauses);
    }
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
