/* How a link ends, over real TLS: a GOODBYE in order, a peer that never reads, an owner that frees
 * the link from within its own callback.  (lib/link/link.h)
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "link/link.h"
#include "support/suite.h"
#include "support/tls_pair.h"
#include "wire/hello.h"

#define PATIENCE_MS 20000u

/* One end: a link and what was heard of it. */
struct end {
    struct rig *rig;
    struct link *link;
    struct stream stream; /* edge: the one it opens; hub: the one it takes */
    unsigned changes, controls, deaths, opens;
    int error;
    bool has_goodbye;
    enum goodbye_code goodbye;
    uint64_t dead_ms;
    bool frees_in_control, frees_in_open;
};

struct rig {
    struct loop *loop;
    struct budget budget;
    struct tls_ctx *server, *client;
    struct end edge, hub;
    int edge_fd;     /* when the edge is not a link but the test's own */
    struct tls *raw; /* the same: its connection */
    struct chunk_pool raw_pool;
    unsigned raw_step;
    bool breaks; /* the raw edge breaks the protocol in the end */
    struct deadline tick, patience;
    void (*on_tick)(struct rig *rig);
    unsigned tick_ms;
    uint64_t began_ms;
};

static void on_change(struct stream *s)
{
    container_of(s, struct end, stream)->changes++;
}

static void on_secure(struct link *link)
{
    struct end *end = link_owner(link);

    if (end == &end->rig->edge)
        link_send_line(link, "hello\n", 6);
}

static int on_line(struct link *link, const uint8_t *bytes, size_t n)
{
    struct end *end = link_owner(link);

    if (!memchr(bytes, '\n', n))
        return 0;
    if (end == &end->rig->hub)
        link_send_line(link, "welcome\n", 8);
    link_open(link, INITIAL_WINDOW);
    return end == &end->rig->hub ? 6 : 8;
}

static struct stream *on_open(struct link *link, const struct proxy_header *client,
                              enum stream_reset *refuse)
{
    struct end *end = link_owner(link);

    (void)client;
    end->opens++;
    *refuse = RESET_BY_PEER;
    if (end->frees_in_open) {
        link_free(link);
        end->link = NULL;
    }
    if (end->opens > 1)
        return NULL;
    stream_init(&end->stream, on_change);
    return &end->stream;
}

static int on_control(struct link *link, enum frame_type type, const uint8_t *json, size_t n,
                      struct wire_why *why)
{
    struct end *end = link_owner(link);

    (void)type;
    (void)why;
    end->controls++;
    ck_assert_mem_eq(json, "{}", 2);
    if (end->frees_in_control) {
        link_free(link);
        end->link = NULL;
    }
    ck_assert_mem_eq(json, "{}", n); /* still there after it */
    return 0;
}

static void on_drain(struct link *link)
{
    (void)link;
    ck_abort_msg("nobody drains here");
}

static void on_dead(struct link *link)
{
    struct end *end = link_owner(link);
    struct rig *rig = end->rig;

    end->deaths++;
    end->error = link_error(link);
    end->dead_ms = loop_now_ms(rig->loop);
    end->has_goodbye = link_peer_goodbye(link) != NULL;
    if (end->has_goodbye)
        end->goodbye = link_peer_goodbye(link)->code;
    link_free(link);
    end->link = NULL;
    if (!rig->edge.link && !rig->hub.link)
        loop_stop(rig->loop);
}

static const struct link_ops ops = {.on_secure = on_secure,
                                    .on_line = on_line,
                                    .on_open = on_open,
                                    .on_control = on_control,
                                    .on_drain = on_drain,
                                    .on_dead = on_dead};

static void on_patience(struct deadline *d)
{
    (void)d;
    ck_abort_msg("it did not come to an end");
}

static void on_tick(struct deadline *d)
{
    struct rig *rig = container_of(d, struct rig, tick);

    rig->on_tick(rig);
    if (rig->tick_ms)
        deadline_set(&rig->tick, rig->tick_ms);
}

static void make_link(struct rig *rig, struct end *end, enum link_side side, int fd)
{
    struct link_options options = {.side = side,
                                   .loop = rig->loop,
                                   .tls = side == LINK_HUB ? rig->server : rig->client,
                                   .budget = &rig->budget,
                                   .ops = &ops,
                                   .owner = end,
                                   .handshake_ms = 5000};

    end->rig = rig;
    ck_assert_int_eq(link_new(&end->link, fd, &options), 0);
}

static void rig_open(struct rig *rig, bool is_edge_raw, int sndbuf)
{
    static const char *const alpn[] = {WIRE_ALPN, NULL};
    int fds[2];

    memset(rig, 0, sizeof(*rig));
    rig->loop = loop_new("test", 16, 0);
    budget_init(&rig->budget, 200u << 20, 100, 4u << 20);
    rig->server = tls_pair_server_ctx(TLS_ONLY_13, alpn, "hub.test");
    rig->client = tls_pair_client_ctx(TLS_ONLY_13, alpn);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    if (sndbuf > 0)
        ck_assert_int_eq(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf)), 0);
    make_link(rig, &rig->hub, LINK_HUB, fds[1]);
    if (is_edge_raw) {
        rig->edge_fd = fds[0];
        chunk_pool_init(&rig->raw_pool, 4, 0);
        ck_assert_int_eq(tls_new_client(&rig->raw, rig->client, &rig->raw_pool, fds[0], NULL), 0);
    } else {
        rig->edge_fd = -1;
        make_link(rig, &rig->edge, LINK_EDGE, fds[0]);
    }
    deadline_init(&rig->patience, rig->loop, on_patience);
    deadline_set(&rig->patience, PATIENCE_MS);
    deadline_init(&rig->tick, rig->loop, on_tick);
    rig->tick_ms = 2;
    deadline_set(&rig->tick, rig->tick_ms);
}

static void rig_close(struct rig *rig)
{
    deadline_off(&rig->patience);
    deadline_off(&rig->tick);
    link_free(rig->edge.link);
    link_free(rig->hub.link);
    if (rig->raw) {
        tls_free(rig->raw);
        close(rig->edge_fd);
        chunk_pool_fini(&rig->raw_pool);
    }
    stream_release(&rig->edge.stream);
    stream_release(&rig->hub.stream);
    loop_free(rig->loop);
    tls_ctx_unref(rig->server);
    tls_ctx_unref(rig->client);
    ck_assert_uint_eq(atomic_load(&rig->budget.streams), 0);
    ck_assert_uint_eq(atomic_load(&rig->budget.taken), 0);
}

static bool are_open(const struct rig *rig)
{
    return rig->edge.link && link_state(rig->edge.link) == LINK_OPEN && rig->hub.link &&
           link_state(rig->hub.link) == LINK_OPEN;
}

static void open_streams(struct rig *rig, unsigned n)
{
    struct proxy_header client = {.family = PROXY_INET, .transport = PROXY_STREAM, .dst_port = 443};
    static struct stream more; /* the second one: its reset comes back, or it dies with the link */

    stream_init(&rig->edge.stream, on_change);
    ck_assert_int_eq(link_open_stream(rig->edge.link, &rig->edge.stream, &client), 0);
    if (n > 1) {
        stream_release(&more);
        stream_init(&more, rig->edge.stream.on_change);
        more.on_change = rig->edge.stream.on_change;
        ck_assert_int_eq(link_open_stream(rig->edge.link, &more, &client), 0);
        stream_abort(&more, RESET_BY_PEER); /* its OPEN was not sent: it leaves no trace */
        stream_release(&more);
    }
}

/* --- in order ----------------------------------------------------------------------------------
 */

static void say_goodbye(struct rig *rig)
{
    if (!are_open(rig) || rig->raw_step++ > 0)
        return;
    open_streams(rig, 1);
    link_send_config(rig->edge.link, "{}");
    link_goodbye(rig->hub.link, GOODBYE_KICKED, "by the test", 7);
}

START_TEST(goodbye_ends_both_sides_in_order)
{
    struct rig rig;

    rig_open(&rig, false, 0);
    rig.on_tick = say_goodbye;
    loop_run(rig.loop);
    ck_assert_uint_eq(rig.edge.deaths, 1);
    ck_assert_uint_eq(rig.hub.deaths, 1);
    ck_assert_int_eq(rig.hub.error, 0);
    ck_assert(!rig.hub.has_goodbye);
    ck_assert_int_eq(rig.edge.error, -ERR_CLOSED);
    ck_assert(rig.edge.has_goodbye);
    ck_assert_int_eq(rig.edge.goodbye, GOODBYE_KICKED);
    ck_assert_int_eq(rig.edge.stream.state, STREAM_RESET);
    ck_assert_int_eq(rig.edge.stream.reset_code, RESET_LANE_LOST);
    ck_assert_uint_ge(rig.edge.changes, 1);
    rig_close(&rig);
}
END_TEST

/* --- the owner lets go from within -------------------------------------------------------------
 */

static void send_twice(struct rig *rig)
{
    if (!are_open(rig) || rig->raw_step > 1)
        return;
    if (rig->raw_step++ == 0)
        open_streams(rig, 1);
    else
        link_send_config(rig->edge.link, "{}");
}

START_TEST(a_link_may_be_freed_in_on_control)
{
    struct rig rig;

    rig_open(&rig, false, 0);
    rig.hub.frees_in_control = true;
    rig.on_tick = send_twice;
    loop_run(rig.loop);
    ck_assert_uint_eq(rig.hub.controls, 1);
    ck_assert_uint_eq(rig.hub.deaths, 0); /* who freed it needs not be told */
    ck_assert_uint_eq(rig.hub.opens, 1);
    ck_assert_int_eq(rig.hub.stream.state, STREAM_RESET);
    ck_assert_uint_eq(rig.edge.deaths, 1);
    ck_assert(!rig.edge.has_goodbye);
    ck_assert_int_ne(rig.edge.error, 0);
    rig_close(&rig);
}
END_TEST

static void open_and_send(struct rig *rig)
{
    if (!are_open(rig) || rig->raw_step++ > 0)
        return;
    open_streams(rig, 2);
    link_send_config(rig->edge.link, "{}"); /* in the same record: nobody is to hear of it */
}

START_TEST(a_link_may_be_freed_in_on_open)
{
    struct rig rig;

    rig_open(&rig, false, 0);
    rig.hub.frees_in_open = true;
    rig.on_tick = open_and_send;
    loop_run(rig.loop);
    ck_assert_uint_eq(rig.hub.opens, 1);
    ck_assert_uint_eq(rig.hub.controls, 0);
    ck_assert_uint_eq(rig.hub.deaths, 0);
    ck_assert_int_eq(rig.hub.stream.state, STREAM_RESET); /* though it joined afterwards */
    ck_assert_uint_eq(rig.edge.deaths, 1);
    rig_close(&rig);
}
END_TEST

/* --- a peer that never reads -------------------------------------------------------------------
 */

static void raw_send(struct rig *rig, const void *bytes, size_t n)
{
    ck_assert_int_eq(tls_write(rig->raw, bytes, n), IO_OK);
    ck_assert_int_eq(tls_flush(rig->raw), IO_OK);
}

/* Handshake, hello, the answer; then it opens a stream with 1 MiB of credit, and reads no more. */
static void open_and_never_read(struct rig *rig)
{
    static const char open[] = "\0\0\0\1\1\0\0\0\x29PROXY TCP4 192.0.2.1 192.0.2.9 4000 443\r\n"
                               "\0\0\0\1\x09\0\0\0\4\0\x10\0\0";
    const uint8_t *bytes;
    size_t n;

    if (rig->raw_step == 0 && tls_handshake(rig->raw) == IO_OK) {
        raw_send(rig, "hello\n", 6);
        rig->raw_step = 1;
    } else if (rig->raw_step == 1 && tls_read(rig->raw, &bytes, &n) == IO_OK) {
        ck_assert_mem_eq(bytes, "welcome\n", 8);
        raw_send(rig, open, sizeof(open) - 1);
        rig->raw_step = 2;
    }
}

/* As much as socket, TLS and stream take; true: nothing moves any more. */
static bool fill(struct stream *s)
{
    struct iovec piece[16];
    uint64_t before = s->sendq.end;

    while (stream_reserve(s, piece, ARRAY_LEN(piece)) > 0) {
        memset(piece[0].iov_base, 'f', piece[0].iov_len);
        stream_commit(s, piece[0].iov_len);
    }
    return s->sendq.end == before && before > 0;
}

/* A lane with more to send than goes out: then the peer breaks it, or the owner wants to be rid of
 * it. */
static void fill_and_end(struct rig *rig)
{
    if (!rig->hub.link)
        return;
    if (rig->raw_step < 2) {
        open_and_never_read(rig);
    } else if (rig->raw_step == 2 && rig->hub.opens == 1 && fill(&rig->hub.stream)) {
        ck_assert_uint_gt(sendq_unsent(&rig->hub.stream.sendq), 100000);
        if (rig->breaks)
            raw_send(rig, "\0\0\0\1\xee\0\0\0\0", 9);
        else
            link_goodbye(rig->hub.link, GOODBYE_REPLACED, "by another", 0);
        ck_assert_int_eq(link_state(rig->hub.link), LINK_OPEN); /* it waits behind all that */
        rig->began_ms = loop_now_ms(rig->loop);
        rig->raw_step = 3;
    }
}

START_TEST(a_broken_peer_that_never_reads_is_gone_in_a_moment)
{
    struct rig rig;

    rig_open(&rig, true, 4096);
    rig.on_tick = fill_and_end;
    rig.breaks = true;
    loop_run(rig.loop);
    ck_assert_uint_eq(rig.hub.deaths, 1);
    ck_assert_int_eq(rig.hub.error, -ERR_PROTO);
    ck_assert_uint_lt(rig.hub.dead_ms - rig.began_ms, 5000); /* 1 s, on a machine that is busy */
    rig_close(&rig);
}
END_TEST

START_TEST(a_silent_peer_does_not_hold_up_goodbye_for_ever)
{
    struct rig rig;

    rig_open(&rig, true, 4096);
    rig.on_tick = fill_and_end;
    loop_run(rig.loop);
    ck_assert_uint_eq(rig.hub.deaths, 1);
    ck_assert_int_eq(rig.hub.error, 0);
    ck_assert_uint_lt(rig.hub.dead_ms - rig.began_ms, 5000);
    rig_close(&rig);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, goodbye_ends_both_sides_in_order);
    tcase_add_test(tc, a_link_may_be_freed_in_on_control);
    tcase_add_test(tc, a_link_may_be_freed_in_on_open);
    tcase_add_test(tc, a_broken_peer_that_never_reads_is_gone_in_a_moment);
    tcase_add_test(tc, a_silent_peer_does_not_hold_up_goodbye_for_ever);
    return suite_run("link end", tc);
}
