/* Forwards against a whole hub over real TLS: the PROXY header, both ends, resets, authority,
 * limits. */
#include "hub_tunnel_fixture.h"
#include "support/client_stream.h"

/* --- a target: takes all until the end, then sends it back ------------------------------------ */

#define SLOW_BYTES 65536u

static struct target_end {
    pthread_t thread;
    int listen_fd;
    uint16_t port;
    char got[4096];
    size_t got_len, heard;
    bool resets;
    bool is_stuck; /* says its end at once, and reads nothing before a byte in `go` */
    bool is_slow;  /* the same, and then SLOW_BYTES for each byte there, until `go` ends */
    int go[2];     /* a pipe */
} target;

/* Then all of the rest; 0: to an orderly end. */
static ssize_t hear_slowly(struct target_end *t, int fd)
{
    static char bytes[65536];
    ssize_t n = 1;
    char go;

    while (n > 0 && read(t->go[0], &go, 1) == 1)
        for (size_t left = SLOW_BYTES; n > 0 && left > 0; left -= (size_t)n) {
            n = read(fd, bytes, MIN(left, sizeof(bytes)));
            t->heard += n > 0 ? (size_t)n : 0;
        }
    while (n > 0) {
        n = read(fd, bytes, sizeof(bytes));
        t->heard += n > 0 ? (size_t)n : 0;
    }
    return n;
}

static void *serve(void *arg)
{
    struct target_end *t = arg;
    int fd = accept(t->listen_fd, NULL, NULL);
    ssize_t n = 1;

    if (fd < 0)
        return NULL;
    if (t->is_stuck || t->is_slow)
        shutdown(fd, SHUT_WR);
    if (t->is_slow)
        n = hear_slowly(t, fd);
    else if (t->is_stuck)
        n = read(t->go[0], t->got, 1);
    while (!t->resets && n > 0 && t->got_len < sizeof(t->got)) {
        n = read(fd, t->got + t->got_len, sizeof(t->got) - t->got_len);
        t->got_len += n > 0 ? (size_t)n : 0;
    }
    if (t->resets) { /* after the first byte */
        n = read(fd, t->got, sizeof(t->got));
        struct linger now = {.l_onoff = 1};

        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    } else if (n == 0) {
        n = send(fd, t->got, t->got_len, MSG_NOSIGNAL);
    }
    close(fd);
    return NULL;
}

static void target_up(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);

    target.listen_fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(target.listen_fd, (struct sockaddr *)&at, len), 0);
    ck_assert_int_eq(listen(target.listen_fd, 16), 0);
    ck_assert_int_eq(getsockname(target.listen_fd, (struct sockaddr *)&at, &len), 0);
    target.port = ntohs(at.sin_port);
}

static void target_serves(void)
{
    ck_assert_int_eq(pthread_create(&target.thread, NULL, serve, &target), 0);
}

static void target_ends(void)
{
    ck_assert_int_eq(pthread_join(target.thread, NULL), 0);
}

/* A port where nobody listens: bound, and never listened on. */
static uint16_t dead_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, len), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    return ntohs(at.sin_port); /* the descriptor stays open as long as the test's process */
}

/* A port whose listener takes nobody: its backlog is full, so a connect to it hangs. */
static uint16_t deaf_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, len), 0);
    ck_assert_int_eq(listen(fd, 0), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    for (int i = 0; i < 4; i++) { /* the first is taken into the backlog, others wait for ever */
        int filler = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

        (void)!connect(filler, (struct sockaddr *)&at, len);
    }
    return ntohs(at.sin_port); /* all of them stay open as long as the test's process */
}

static void setup(void)
{
    char ports[256];

    target_up();
    snprintf(ports, sizeof(ports),
             "target.ports={\"80\":%u,\"81\":{\"port\":%u,\"proxyProtocol\":\"v2\"},"
             "\"82\":{\"port\":%u,\"proxyProtocol\":\"off\"},\"83\":%u,"
             "\"84\":{\"host\":\"localhost\",\"port\":%u},\"85\":%u}",
             target.port, target.port, target.port, dead_port(), target.port, deaf_port());
    hub_up((const char *const[]){"edges=[{\"id\":\"e1\",\"listenPorts\":[80,81,82,83,84,85],"
                                 "\"secret\":\"" SECRET_OF_E1 "\"}]",
                                 ports, "limits.streams=3", "limits.flushSecs=2",
                                 "limits.connects=2", "limits.connectSecs=5", NULL});
}

static void teardown(void)
{
    close(target.listen_fd);
    hub_down();
}

static bool no_forwards(void *arg)
{
    (void)arg;
    return atomic_load(&hub.shared.forwards) == 0;
}

static uint64_t results(enum stream_result result)
{
    return counted(&hub.shared.counters.stream_results[result]);
}

/* --- tests ------------------------------------------------------------------------------------ */

static const struct {
    uint16_t port;
    int version; /* of the header */
} modes[] = {{80, 1}, {81, 2}, {82, 0}, {84, 1}};

START_TEST(there_and_back)
{
    static const char line[] = "PROXY TCP4 192.0.2.1 198.51.100.2 5000 ";
    struct client_stream s = {0};
    struct proxy_header header;
    struct test_lane t = {0};
    int used = 0;

    edge_up(&t);
    target_serves();
    client_stream_open(&s, t.link, 5000, modes[_i].port);
    client_stream_says(&s, "hello");
    stream_finish(&s.stream); /* before the target is connected */
    UNTIL(client_stream_is_at_end, &s);
    target_ends();
    if (modes[_i].version == 1)
        ck_assert_mem_eq(target.got, line, sizeof(line) - 1);
    if (modes[_i].version > 0) {
        used = proxy_parse(&header, (uint8_t *)target.got, target.got_len, NULL);
        ck_assert_int_gt(used, 0);
        ck_assert_mem_eq(header.src, ((uint8_t[]){192, 0, 2, 1}), 4);
        ck_assert_uint_eq(header.src_port, 5000);
        ck_assert_uint_eq(header.dst_port, modes[_i].port);
    }
    ck_assert_uint_eq(target.got_len - (size_t)used, 5);
    ck_assert_mem_eq(target.got + used, "hello", 5);
    ck_assert_uint_eq(s.got_len, target.got_len); /* it sends everything back */
    ck_assert_mem_eq(s.got, target.got, s.got_len);
    UNTIL(no_forwards, NULL);
    ck_assert_uint_eq(results(RESULT_ENDED), 1);
    stream_release(&s.stream);
    lane_down(&t);
}
END_TEST

/* Of the hub, which is in this process: its socket to the target has keep-alive. */
static bool target_is_watched(void *arg)
{
    (void)arg;
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_in peer = {0};
        socklen_t len = sizeof(peer), on_len = sizeof(int);
        int on = 0;

        if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && peer.sin_family == AF_INET &&
            peer.sin_port == htons(target.port))
            return getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &on_len) == 0 && on;
    }
    return false;
}

/* It is not set before the stream has lived for a while. */
START_TEST(a_target_that_says_nothing_is_watched)
{
    struct client_stream s = {0};
    struct test_lane t = {0};

    edge_up(&t);
    target_serves();
    client_stream_open(&s, t.link, 5000, 80);
    UNTIL(target_is_watched, NULL);
    stream_finish(&s.stream);
    UNTIL(no_forwards, NULL);
    target_ends();
    stream_release(&s.stream);
    lane_down(&t);
}
END_TEST

START_TEST(not_allowed)
{
    struct client_stream s = {0};
    struct test_lane t = {0};

    edge_up(&t);
    client_stream_open(&s, t.link, 5000, 22);
    UNTIL(client_stream_is_reset, &s);
    ck_assert_int_eq(s.stream.reset_code, RESET_NOT_ALLOWED);
    ck_assert_uint_eq(counted(&hub.shared.counters.open_refusals[OPEN_PORT]), 1);
    stream_release(&s.stream);
    lane_down(&t);
}
END_TEST

START_TEST(target_is_down)
{
    struct client_stream s = {0};
    struct test_lane t = {0};

    edge_up(&t);
    client_stream_open(&s, t.link, 5000, 83);
    client_stream_says(&s, "hello");
    UNTIL(client_stream_is_reset, &s);
    ck_assert_int_eq(s.stream.reset_code, RESET_UNREACHABLE);
    UNTIL(no_forwards, NULL);
    ck_assert_uint_eq(results(RESULT_UNREACHABLE), 1);
    ck_assert_uint_eq(counted(&hub.shared.counters.connect_faults[CONNECT_REFUSED]), 1);
    ck_assert_uint_eq(atomic_load(&hub.shared.connects), 0);
    stream_release(&s.stream);
    lane_down(&t);
}
END_TEST

START_TEST(target_resets)
{
    struct client_stream s = {0};
    struct test_lane t = {0};

    target.resets = true;
    edge_up(&t);
    target_serves();
    client_stream_open(&s, t.link, 5000, 80);
    client_stream_says(&s, "hello");
    UNTIL(client_stream_is_reset, &s);
    ck_assert_int_eq(s.stream.reset_code, RESET_BY_PEER);
    target_ends();
    UNTIL(no_forwards, NULL);
    ck_assert_uint_eq(results(RESULT_TARGET_RESET), 1);
    stream_release(&s.stream);
    lane_down(&t);
}
END_TEST

static bool is_dialling(void *arg)
{
    (void)arg;
    return atomic_load(&hub.shared.connects) > 0;
}

/* While the target is dialled. */
START_TEST(client_resets_early)
{
    struct client_stream s = {0};
    struct test_lane t = {0};

    edge_up(&t);
    client_stream_open(&s, t.link, 5000, 85);
    client_stream_says(&s, "hello");
    UNTIL(is_dialling, NULL);
    stream_abort(&s.stream, RESET_BY_PEER);
    UNTIL(no_forwards, NULL);
    ck_assert_uint_eq(results(RESULT_CLIENT_RESET), 1);
    ck_assert_uint_eq(atomic_load(&hub.shared.connects), 0);
    stream_release(&s.stream);
    lane_down(&t);
}
END_TEST

START_TEST(target_is_deaf)
{
    struct client_stream s[3];
    struct test_lane t = {0};

    memset(s, 0, sizeof(s));
    edge_up(&t);
    for (size_t i = 0; i < 3; i++)
        client_stream_open(&s[i], t.link, 5000, 85);
    UNTIL(client_stream_is_reset, &s[2]); /* limits.connects */
    ck_assert_int_eq(s[2].stream.reset_code, RESET_BY_PEER);
    ck_assert_uint_eq(counted(&hub.shared.counters.open_refusals[OPEN_LIMIT_CONNECTS]), 1);
    ck_assert_int_eq(s[0].stream.state, STREAM_OPEN);
    UNTIL(client_stream_is_reset, &s[0]); /* limits.connectSecs */
    UNTIL(client_stream_is_reset, &s[1]);
    ck_assert_int_eq(s[0].stream.reset_code, RESET_UNREACHABLE);
    UNTIL(no_forwards, NULL);
    ck_assert_uint_eq(counted(&hub.shared.counters.connect_faults[CONNECT_TIMEOUT]), 2);
    ck_assert_uint_eq(atomic_load(&hub.shared.connects), 0);
    for (size_t i = 0; i < 3; i++)
        stream_release(&s[i].stream);
    lane_down(&t);
}
END_TEST

static bool is_connected(void *times)
{
    uint64_t count = 0;

    for (size_t i = 0; i <= DURATION_BOUNDS; i++)
        count += counted(&hub.shared.counters.connect.counts[i]);
    return count >= *(uint64_t *)times;
}

START_TEST(too_many)
{
    struct client_stream s[4];
    struct test_lane t = {0};

    memset(s, 0, sizeof(s));
    edge_up(&t);
    for (size_t i = 0; i < 4; i++) {
        client_stream_open(&s[i], t.link, 5000, 82);
        if (i < 3)
            UNTIL(is_connected, &(uint64_t){i + 1});
    }
    UNTIL(client_stream_is_reset, &s[3]);
    ck_assert_int_eq(s[3].stream.reset_code, RESET_BY_PEER);
    ck_assert_uint_eq(counted(&hub.shared.counters.open_refusals[OPEN_LIMIT_STREAMS]), 1);
    for (size_t i = 0; i < 4; i++)
        stream_release(&s[i].stream);
    UNTIL(no_forwards, NULL);
    lane_down(&t);
}
END_TEST

/* Its streams are reset, and so are their targets. */
START_TEST(lane_is_lost)
{
    struct client_stream s = {0};
    struct test_lane t = {0};

    edge_up(&t);
    target_serves();
    client_stream_open(&s, t.link, 5000, 80);
    client_stream_says(&s, "hello");
    UNTIL(is_connected, &(uint64_t){1});
    lane_down(&t);
    ck_assert_int_eq(s.stream.reset_code, RESET_LANE_LOST);
    UNTIL(no_forwards, NULL);
    ck_assert_uint_eq(results(RESULT_LANE_LOST), 1);
    stream_release(&s.stream);
    target_ends();
}
END_TEST

static bool has_room(void *arg)
{
    return stream_room(&((struct client_stream *)arg)->stream) > 0;
}

/* Until the buffers of both kernels are full too: three looks, for one may have met a hub that was
 * held up.  How many bytes it was. */
static size_t fill(struct client_stream *s)
{
    struct iovec piece;
    size_t bytes = 0;

    for (unsigned quiet = 0; quiet < 3;) {
        if (!until_ms(has_room, s, 500)) {
            quiet++;
            continue;
        }
        quiet = 0;
        ck_assert_uint_eq(stream_reserve(&s->stream, &piece, 1), 1);
        memset(piece.iov_base, 'x', piece.iov_len);
        stream_commit(&s->stream, piece.iov_len);
        bytes += piece.iov_len;
    }
    return bytes;
}

/* Both sides have said their end, but the target does not take the rest: it gets limits.flushSecs.
 */
START_TEST(end_that_nobody_takes)
{
    struct client_stream s = {0};
    struct test_lane t = {0};

    target.is_stuck = true;
    ck_assert_int_eq(pipe(target.go), 0);
    edge_up(&t);
    target_serves();
    client_stream_open(&s, t.link, 5000, 82);
    fill(&s);
    stream_finish(&s.stream);
    UNTIL(client_stream_is_at_end, &s);
    ck_assert_int_eq(s.stream.reset_code, RESET_NONE);
    UNTIL(no_forwards, NULL);
    ck_assert_uint_eq(results(RESULT_FLUSH_TIMEOUT), 1);
    ck_assert_int_eq(write(target.go[1], "g", 1), 1);
    target_ends();
    stream_release(&s.stream);
    lane_down(&t);
}
END_TEST

static bool never(void *arg)
{
    (void)arg;
    return false;
}

/* It takes some of the rest four times within limits.flushSecs, for twice as long as that: seldom
 * enough that the kernel tells the hub of no room meanwhile. */
START_TEST(end_that_is_taken_slowly)
{
    struct client_stream s = {0};
    struct test_lane t = {0};
    int buffer_bytes = 16384; /* or the kernel takes all of the rest once some was taken */
    size_t bytes;

    target.is_slow = true;
    ck_assert_int_eq(
        setsockopt(target.listen_fd, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof(int)), 0);
    ck_assert_int_eq(pipe(target.go), 0);
    edge_up(&t);
    target_serves();
    client_stream_open(&s, t.link, 5000, 82);
    bytes = fill(&s);
    ck_assert_uint_gt(bytes, 8 * SLOW_BYTES);
    stream_finish(&s.stream);
    UNTIL(client_stream_is_at_end, &s);
    for (unsigned i = 0; i < 8; i++) {
        ck_assert_int_eq(write(target.go[1], "g", 1), 1);
        ck_assert(!until_ms(never, NULL, 500));
    }
    close(target.go[1]);
    UNTIL(no_forwards, NULL);
    target_ends();
    ck_assert_uint_eq(target.heard, bytes);
    ck_assert_uint_eq(results(RESULT_FLUSH_TIMEOUT), 0);
    ck_assert_uint_eq(results(RESULT_ENDED), 1);
    stream_release(&s.stream);
    lane_down(&t);
}
END_TEST

/* A removed port stays good while the edge may not know better, and an open stream goes on. */
START_TEST(removed_port_fades)
{
    struct edge *edge = registry_find(&hub.registry, "e1");
    struct client_stream s = {0};
    struct test_lane t = {0};
    struct edge_spec spec;
    unsigned change;

    edge_up(&t);
    edge_spec_of(&spec, edge);
    port_list_fini(&spec.ports);
    port_list_set(&spec.ports, (const uint16_t[]){81}, 1);
    ck_assert_int_eq(hub_put_edge(&hub, &spec, &change), 0);
    edge_spec_fini(&spec);
    target_serves();
    client_stream_open(&s, t.link, 5000, 82);
    client_stream_says(&s, "hello");
    stream_finish(&s.stream);
    UNTIL(client_stream_is_at_end, &s);
    target_ends();
    ck_assert_uint_eq(s.got_len, 5);
    stream_release(&s.stream);
    lane_down(&t);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("forwards");

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, there_and_back, 0, (int)(sizeof(modes) / sizeof(modes[0])));
    tcase_add_test(tcase, a_target_that_says_nothing_is_watched);
    tcase_add_test(tcase, not_allowed);
    tcase_add_test(tcase, target_is_down);
    tcase_add_test(tcase, target_resets);
    tcase_add_test(tcase, client_resets_early);
    tcase_add_test(tcase, target_is_deaf);
    tcase_add_test(tcase, too_many);
    tcase_add_test(tcase, lane_is_lost);
    tcase_add_test(tcase, end_that_nobody_takes);
    tcase_add_test(tcase, end_that_is_taken_slowly);
    tcase_add_test(tcase, removed_port_fades);
    return suite_run("hub_forwards", tcase);
}
