/* Tests of loop/dial: addresses one after another, each failure by its name, no callback from
 * within dial_start().  All on loopback; an address that does not answer is a listener whose queue
 * is full. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "loop/dial.h"
#include "loop/listener.h"
#include "support/dns_server.h"

static struct loop *loop;
static struct deadline guard;
static struct dns_server server;
static struct resolver *resolver;
static char conf_path[64];
static int holder = -1;

struct call {
    struct dial dial;
    unsigned calls;
    int fd, err;
    union addr peer;
    bool has_peer;
    const char *then; /* dialled next from within on_done */
    uint16_t then_port;
};

static void on_guard(struct deadline *d)
{
    (void)d;
    ck_abort_msg("nothing happened for 20 s");
}

static void setup(void)
{
    FILE *file;
    int fd;

    log_init(LOG_TEXT, LOG_ERR, 2);
    loop = loop_new("test", 0, 0);
    deadline_init(&guard, loop, on_guard);
    dns_server_start(&server, loop, "127.0.0.1", 0);
    strcpy(conf_path, "/tmp/penstock-resolv-XXXXXX");
    fd = mkstemp(conf_path);
    ck_assert_int_ge(fd, 0);
    file = fdopen(fd, "w");
    fputs("nameserver 127.0.0.1\n", file);
    fclose(file);
    resolver = resolver_new_with(loop, &(struct resolver_options){conf_path, server.port});
    ck_assert_ptr_nonnull(resolver);
}

static void teardown(void)
{
    resolver_free(resolver);
    dns_server_stop(&server);
    deadline_off(&guard);
    loop_free(loop);
    unlink(conf_path);
    if (holder >= 0)
        close(holder);
    holder = -1;
}

static void run(void)
{
    deadline_set(&guard, 20000);
    loop_run(loop);
    deadline_off(&guard);
}

static void on_done(struct dial *d, int fd, int err, const union addr *peer)
{
    struct call *c = container_of(d, struct call, dial);

    c->calls++;
    c->fd = fd;
    c->err = err;
    c->has_peer = peer != NULL;
    if (peer)
        c->peer = *peer;
    ck_assert_int_eq(d->state, DIAL_IDLE);
    ck_assert_int_eq(d->fd, -1);
    ck_assert((fd >= 0) == (err == 0));
    if (c->then) {
        const char *next = c->then;

        c->then = NULL;
        dial_start(d, next, c->then_port, 5000, 5000);
        return;
    }
    loop_stop(loop);
}

static void start(struct call *c, const char *host, uint16_t port, unsigned address_ms,
                  unsigned total_ms)
{
    if (!c->dial.loop)
        dial_init(&c->dial, loop, resolver, on_done);
    c->fd = -1;
    dial_start(&c->dial, host, port, address_ms, total_ms);
    ck_assert_uint_eq(c->calls, 0); /* never from within dial_start() */
}

static int listen_on(const char *host, uint16_t *port)
{
    union addr a, bound;
    int fd;

    ck_assert_int_eq(addr_parse_host(&a, host, *port), 0);
    ck_assert_int_eq(listen_bind(&a, 1, &fd, &bound), 0);
    *port = addr_port(&bound);
    return fd;
}

/* A port of 127.0.0.1 where nobody listens: held by a socket that never will. */
static uint16_t closed_port(void)
{
    union addr a;
    socklen_t len = sizeof(a);

    ck_assert_int_eq(addr_parse_host(&a, "127.0.0.1", 0), 0);
    holder = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(holder, &a.sa, addr_len(&a)), 0);
    ck_assert_int_eq(getsockname(holder, &a.sa, &len), 0);
    return addr_port(&a);
}

/* A listener whose queue is full: the next SYN is not answered. */
struct stuck {
    int listener, clients[8];
};

static void stuck_start(struct stuck *s, const char *host, uint16_t *port)
{
    union addr a;
    socklen_t len = sizeof(a);
    unsigned opened = 0;

    ck_assert_int_eq(addr_parse_host(&a, host, *port), 0);
    s->listener = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(s->listener, &a.sa, addr_len(&a)), 0);
    ck_assert_int_eq(listen(s->listener, 0), 0);
    ck_assert_int_eq(getsockname(s->listener, &a.sa, &len), 0);
    *port = addr_port(&a);
    for (unsigned i = 0; i < ARRAY_LEN(s->clients); i++) {
        struct pollfd p = {.events = POLLOUT};

        s->clients[i] = p.fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(p.fd, &a.sa, addr_len(&a)) != 0)
            ck_assert_int_eq(errno, EINPROGRESS);
        opened += poll(&p, 1, 50) == 1;
    }
    ck_assert_uint_lt(opened, ARRAY_LEN(s->clients)); /* else nothing is stuck here */
}

static void stuck_stop(struct stuck *s)
{
    for (unsigned i = 0; i < ARRAY_LEN(s->clients); i++)
        close(s->clients[i]);
    close(s->listener);
}

START_TEST(a_literal_is_reached_without_a_lookup)
{
    uint16_t port = 0;
    int listener = listen_on("127.0.0.1", &port), on = 0;
    socklen_t len = sizeof(on);
    struct call c = {0};
    char text[ADDR_TEXT_MAX], want[ADDR_TEXT_MAX];

    start(&c, "127.0.0.1", port, 1000, 1000);
    run();
    ck_assert_int_eq(c.err, 0);
    snprintf(want, sizeof(want), "127.0.0.1:%u", port);
    ck_assert_str_eq(addr_format(&c.peer, text), want);
    ck_assert_int_ne(fcntl(c.fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_ne(fcntl(c.fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_eq(getsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    ck_assert_int_eq(on, 1);
    ck_assert_int_eq(write(c.fd, "x", 1), 1);
    ck_assert_uint_eq(server.asked, 0);
    close(c.fd);
    close(listener);
}
END_TEST

START_TEST(a_socket_to_this_machine_gets_its_own_congestion_control)
{
    uint16_t port = 0;
    int listener = listen_on("127.0.0.1", &port);
    char name[16] = "";
    socklen_t len = sizeof(name);
    const struct congestion near = {.near = "reno", /* every kernel has this one */
                                    .far = "bbr"};
    struct call c = {0};

    dial_init(&c.dial, loop, resolver, on_done);
    c.dial.congestion = &near;
    start(&c, "127.0.0.1", port, 1000, 1000);
    run();
    ck_assert_int_eq(c.err, 0);
    ck_assert_int_eq(getsockopt(c.fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
    ck_assert_str_eq(name, "reno");
    close(c.fd);
    close(listener);
}
END_TEST

START_TEST(literals_need_no_resolver)
{
    uint16_t port = 0;
    int listener = listen_on("127.0.0.1", &port);
    struct call c = {0};

    dial_init(&c.dial, loop, NULL, on_done);
    start(&c, "127.0.0.1", port, 1000, 1000);
    run();
    ck_assert_int_eq(c.err, 0);
    close(c.fd);
    close(listener);
}
END_TEST

START_TEST(a_refusal_is_an_error_with_its_address)
{
    uint16_t port = closed_port();
    struct call c = {0};

    start(&c, "127.0.0.1", port, 1000, 1000);
    run();
    ck_assert_int_eq(c.err, -ERR_CONNECT);
    ck_assert_int_eq(c.dial.last_errno, ECONNREFUSED);
    ck_assert(c.has_peer);
    ck_assert_uint_eq(addr_port(&c.peer), port);
    ck_assert_uint_eq(c.calls, 1);
}
END_TEST

START_TEST(the_next_address_is_tried_after_a_refusal)
{
    uint16_t port = 0;
    int listener = listen_on("127.0.0.3", &port);
    struct call c = {0};
    char text[ADDR_TEXT_MAX];

    dns_server_add(&server, "three.test", "127.0.0.1");
    dns_server_add(&server, "three.test", "127.0.0.2");
    dns_server_add(&server, "three.test", "127.0.0.3");
    start(&c, "three.test", port, 1000, 5000);
    run();
    ck_assert_int_eq(c.err, 0);
    ck_assert_str_eq(addr_format_host(&c.peer, text), "127.0.0.3");
    close(c.fd);
    close(listener);
}
END_TEST

/* Whichever family the resolver puts first, the listener is on the other side of it in one of the
 * two runs. */
START_TEST(the_other_family_is_tried)
{
    static const char *const hosts[] = {"127.0.0.1", "::1"};
    uint16_t port = 0;
    struct call c = {0};
    union addr a;
    int listener, fd;

    ck_assert_int_eq(addr_parse_host(&a, hosts[_i], 0), 0);
    fd = socket(a.sa.sa_family, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, &a.sa, addr_len(&a)) != 0)
        return; /* a machine without IPv6 */
    close(fd);
    listener = listen_on(hosts[_i], &port);
    dns_server_add(&server, "both.test", "127.0.0.1");
    dns_server_add(&server, "both.test", "::1");
    start(&c, "both.test", port, 1000, 5000);
    run();
    ck_assert_int_eq(c.err, 0);
    ck_assert_int_eq(c.peer.sa.sa_family, a.sa.sa_family);
    close(c.fd);
    close(listener);
}
END_TEST

START_TEST(families_alternate)
{
    struct call c = {0};
    sa_family_t first;

    dns_server_add(&server, "many.test", "127.0.0.1");
    dns_server_add(&server, "many.test", "127.0.0.2");
    dns_server_add(&server, "many.test", "127.0.0.3");
    dns_server_add(&server, "many.test", "::1");
    dns_server_add(&server, "many.test", "::2");
    start(&c, "many.test", closed_port(), 1000, 5000);
    run();
    ck_assert_uint_eq(c.dial.count, 5);
    first = c.dial.addrs[0].sa.sa_family;
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(c.dial.addrs[i].sa.sa_family == first, i % 2 == 0);
    ck_assert_int_eq(c.dial.addrs[4].sa.sa_family, AF_INET);
    for (unsigned i = 0; i < 5; i++)
        for (unsigned k = 0; k < i; k++)
            ck_assert(!addr_is_same(&c.dial.addrs[i], &c.dial.addrs[k]));
}
END_TEST

START_TEST(a_name_without_addresses_does_not_resolve)
{
    struct call c = {0};

    start(&c, "gone.test", 1, 1000, 5000);
    run();
    ck_assert_int_eq(c.err, -ERR_RESOLVE);
    ck_assert(!c.has_peer);
}
END_TEST

START_TEST(a_lookup_that_takes_too_long_is_a_timeout)
{
    struct call c = {0};
    uint64_t begin = clock_now_us();

    server.silent = "silent.test";
    start(&c, "silent.test", 1, 1000, 100);
    run();
    ck_assert_int_eq(c.err, -ERR_TIMEOUT);
    ck_assert(!c.has_peer);
    ck_assert_uint_ge(clock_now_us() - begin, 99000);
    ck_assert_uint_lt(clock_now_us() - begin, 5000000);
}
END_TEST

START_TEST(an_address_that_does_not_answer_costs_its_own_time_only)
{
    uint16_t port = 0;
    struct stuck stuck;
    struct call c = {0};
    char text[ADDR_TEXT_MAX];
    uint64_t begin;
    int listener;

    stuck_start(&stuck, "127.0.0.2", &port);
    listener = listen_on("127.0.0.3", &port);
    dns_server_add(&server, "slow.test", "127.0.0.2");
    dns_server_add(&server, "slow.test", "127.0.0.3");
    begin = clock_now_us();
    start(&c, "slow.test", port, 150, 10000);
    run();
    ck_assert_int_eq(c.err, 0);
    ck_assert_str_eq(addr_format_host(&c.peer, text), "127.0.0.3");
    ck_assert_uint_ge(clock_now_us() - begin, 149000);
    ck_assert_int_eq(c.dial.last_errno, ETIMEDOUT);
    close(c.fd);
    close(listener);
    stuck_stop(&stuck);
}
END_TEST

START_TEST(all_addresses_together_have_their_time)
{
    uint16_t port = 0;
    struct stuck a, b;
    struct call c = {0};
    uint64_t begin;

    stuck_start(&a, "127.0.0.2", &port);
    stuck_start(&b, "127.0.0.3", &port);
    dns_server_add(&server, "slow.test", "127.0.0.2");
    dns_server_add(&server, "slow.test", "127.0.0.3");
    begin = clock_now_us();
    start(&c, "slow.test", port, 100000, 4000);
    run();
    ck_assert_int_eq(c.err, -ERR_TIMEOUT);
    ck_assert(c.has_peer);
    ck_assert_uint_ge(clock_now_us() - begin, 3999000);
    ck_assert_uint_eq(c.dial.next, 1); /* the second was not reached */
    c.calls = 0;
    start(&c, "slow.test", port, 100, 100000);
    run();
    ck_assert_int_eq(c.err, -ERR_TIMEOUT); /* both tried, the last without answer */
    ck_assert_uint_eq(c.dial.next, 2);
    stuck_stop(&a);
    stuck_stop(&b);
}
END_TEST

START_TEST(a_dial_may_begin_anew_when_it_is_done)
{
    uint16_t port = 0;
    int listener = listen_on("127.0.0.1", &port);
    struct call c = {.then = "127.0.0.1", .then_port = port};

    start(&c, "127.0.0.1", closed_port(), 1000, 1000);
    run();
    ck_assert_uint_eq(c.calls, 2);
    ck_assert_int_eq(c.err, 0);
    close(c.fd);
    close(listener);
}
END_TEST

static void on_quiet(struct deadline *d)
{
    loop_stop(d->loop);
}

/* Cancelled at each stage: before the first step, in the lookup, in the connection. */
START_TEST(a_cancelled_dial_is_silent)
{
    uint16_t port = 0;
    struct stuck stuck;
    struct call at_once = {0}, looking = {0}, connecting = {0};
    struct deadline quiet;
    int probe;

    stuck_start(&stuck, "127.0.0.2", &port);
    probe = dup(0);
    close(probe);
    server.silent = "silent.test";
    start(&at_once, "127.0.0.1", 1, 1000, 1000);
    start(&looking, "silent.test", 1, 60000, 60000);
    start(&connecting, "127.0.0.2", port, 60000, 60000);
    dial_cancel(&at_once.dial);
    deadline_init(&quiet, loop, on_quiet);
    deadline_set(&quiet, 20);
    run();
    ck_assert_int_eq(connecting.dial.state, DIAL_CONNECTING);
    ck_assert_int_eq(looking.dial.state, DIAL_RESOLVING);
    dial_cancel(&looking.dial);
    dial_cancel(&connecting.dial);
    dial_cancel(&connecting.dial);
    dial_cancel(&(struct dial){0});
    ck_assert(!deadline_is_set(&looking.dial.deadline));
    ck_assert(!deadline_is_set(&connecting.dial.deadline));
    deadline_set(&quiet, 50);
    run();
    ck_assert_uint_eq(at_once.calls + looking.calls + connecting.calls, 0);
    ck_assert_int_eq(connecting.dial.fd, -1);
    stuck_stop(&stuck);
}
END_TEST

START_TEST(without_descriptors_the_error_is_the_machines)
{
    struct rlimit limit, before;
    struct call c = {0};
    int next;

    loop_stop(loop);
    run(); /* the loop's own descriptors are all open now */
    next = dup(0);
    close(next);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    limit.rlim_cur = (rlim_t)next;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    start(&c, "127.0.0.1", 1, 1000, 1000);
    run();
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(c.err, -ERR_SYS);
    ck_assert_int_eq(c.dial.last_errno, EMFILE);
}
END_TEST

/* A network of our own where port 40000 is the only one that a client may have: dialling it from
 * itself connects, to nobody. */
static bool enter_one_port_network(void)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    FILE *file;
    int fd, err;

    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        return false;
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    err = ioctl(fd, SIOCSIFFLAGS, &lo);
    close(fd);
    file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "w");
    if (err != 0 || !file)
        return false;
    err = fputs("40000 40000\n", file) < 0;
    return fclose(file) == 0 && err == 0;
}

START_TEST(reaching_oneself_is_a_refusal)
{
    struct call c = {0};

    if (!enter_one_port_network())
        return; /* needs root or user namespaces */
    start(&c, "127.0.0.1", 40000, 1000, 1000);
    run();
    ck_assert_int_eq(c.err, -ERR_CONNECT);
    ck_assert_int_eq(c.dial.last_errno, ECONNREFUSED);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loop_dial");
    TCase *tc = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, a_literal_is_reached_without_a_lookup);
    tcase_add_test(tc, a_socket_to_this_machine_gets_its_own_congestion_control);
    tcase_add_test(tc, literals_need_no_resolver);
    tcase_add_test(tc, a_refusal_is_an_error_with_its_address);
    tcase_add_test(tc, the_next_address_is_tried_after_a_refusal);
    tcase_add_loop_test(tc, the_other_family_is_tried, 0, 2);
    tcase_add_test(tc, families_alternate);
    tcase_add_test(tc, a_name_without_addresses_does_not_resolve);
    tcase_add_test(tc, a_lookup_that_takes_too_long_is_a_timeout);
    tcase_add_test(tc, an_address_that_does_not_answer_costs_its_own_time_only);
    tcase_add_test(tc, all_addresses_together_have_their_time);
    tcase_add_test(tc, a_dial_may_begin_anew_when_it_is_done);
    tcase_add_test(tc, a_cancelled_dial_is_silent);
    if (srunner_fork_status(runner) == CK_FORK) { /* these change the process */
        tcase_add_test(tc, without_descriptors_the_error_is_the_machines);
        tcase_add_test(tc, reaching_oneself_is_a_refusal);
    }
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
