/* Listeners to events that do not read: one that comes back hears of the gap, one that does not is
 * cut off, and nobody waits for either. */
#include <netinet/in.h>
#include <sched.h>

#include "admin/events.h"
#include "admin_fixture.h"

#define KEPT        4
#define RAISED      64
#define EVENT_BYTES 2048
#define STALL_MS    3000
#define GET_EVENTS  "GET /v1/events HTTP/1.1\r\n" HOST READ "\r\n"

static const struct event_type types[] = {{"comes", false}, {"last", false}, {NULL, false}};

static struct service service;

static void up(unsigned stall_ms)
{
    service_prepare(&service);
    service.options.events = events_new(service.loop, types, KEPT, 4);
    service.options.timeout_secs = 1; /* of silence: not a listener's */
    service.options.stall_ms = stall_ms;
    service_start(&service);
}

static void down(void)
{
    struct events *events = service.options.events;

    service_stop(&service);
    events_free(events);
}

/* The server's end of a connection: both are in this process. */
static int other_end(int fd)
{
    union addr own, peer;
    socklen_t size = sizeof(own);

    ck_assert_int_eq(getsockname(fd, &own.sa, &size), 0);
    for (int i = 3; i < 1024; i++) {
        size = sizeof(peer);
        if (getpeername(i, &peer.sa, &size) == 0 && peer.sa.sa_family == AF_INET &&
            peer.in.sin_port == own.in.sin_port)
            return i;
    }
    ck_abort_msg("no such connection");
}

/* One for whom the kernel keeps next to nothing. */
static int listen_to_events(void)
{
    int fd = dial_to(admin_address(service.admin)), small = 8192;
    struct answer a;

    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    say(fd, GET_EVENTS, strlen(GET_EVENTS));
    hear(fd, &a, true);
    ck_assert_uint_eq(a.status, 200);
    answer_fini(&a);
    ck_assert_int_eq(setsockopt(other_end(fd), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    return fd;
}

static void raise_one(struct service *s)
{
    char *text = must_alloc(EVENT_BYTES + 1);

    memset(text, 'x', EVENT_BYTES);
    events_raise(s->options.events, 0, fixture_object("text", text));
    free(text);
}

static void raise_last(struct service *s)
{
    events_raise(s->options.events, 1, NULL);
}

/* Turn after turn, so that the listener has all the time it wants in between. */
static void raise_many(void)
{
    for (unsigned i = 0; i < RAISED; i++)
        on_loop(&service, raise_one);
}

static struct events_stats stats;

static void read_stats(struct service *s)
{
    events_stats(s->options.events, &stats);
}

static unsigned slow_ones(void)
{
    static const char name[] = "penstock_admin_refused_total{reason=\"slow\"} ";
    const char *at;
    struct answer a;
    unsigned n;

    ask(&service, &a, "GET /metrics HTTP/1.1\r\n" HOST READ "Connection: close\r\n\r\n");
    ck_assert_uint_eq(a.status, 200);
    at = strstr(a.body, name);
    ck_assert_ptr_nonnull(at);
    n = (unsigned)strtoul(at + strlen(name), NULL, 10);
    answer_fini(&a);
    return n;
}

/* Reads until `text` was there. */
static bool hears(int fd, const char *text)
{
    static char all[2 * RAISED * EVENT_BYTES];
    static size_t n;
    ssize_t got = 1;

    n = 0;
    while (!memmem(all, n, text, strlen(text)) && n < sizeof(all) && got > 0) {
        got = hear_bytes(fd, all + n, sizeof(all) - n);
        n += got > 0 ? (size_t)got : 0;
    }
    return memmem(all, n, text, strlen(text)) != NULL;
}

START_TEST(one_that_comes_back_hears_of_the_gap)
{
    int fd;

    up(60000);
    fd = listen_to_events();
    raise_many();
    ask_status(&service, "GET /healthz HTTP/1.1\r\n" HOST "\r\n", 200);
    on_loop(&service, read_stats);
    ck_assert_uint_eq(stats.raised, RAISED); /* nobody waited */
    ck_assert_uint_eq(stats.gaps, 0);        /* it is told when it takes something */
    on_loop(&service, raise_last);
    ck_assert(hears(fd, "event: last"));
    on_loop(&service, read_stats);
    ck_assert_uint_eq(stats.gaps, 1);
    ck_assert_uint_eq(stats.subscribers, 1);
    ck_assert_uint_eq(slow_ones(), 0);
    close(fd);
    down();
}
END_TEST

/* By the rule for listeners, which counts it, and not before its time: the silence that others may
 * keep is shorter. */
START_TEST(one_that_does_not_is_cut_off)
{
    uint64_t since_ms, took_ms;
    int fd;

    up(STALL_MS);
    fd = listen_to_events();
    since_ms = clock_now_us() / 1000;
    raise_many();
    do {
        on_loop(&service, read_stats);
        took_ms = clock_now_us() / 1000 - since_ms;
        sched_yield();
    } while (stats.subscribers && took_ms < 10 * STALL_MS);
    ck_assert_uint_eq(stats.subscribers, 0);
    ck_assert_uint_ge(took_ms, STALL_MS);
    ck_assert_uint_eq(slow_ones(), 1);
    close(fd);
    down();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        one_that_comes_back_hears_of_the_gap,
        one_that_does_not_is_cut_off,
    };

    return run_suite("admin_subscriber", tests, ARRAY_LEN(tests));
}
