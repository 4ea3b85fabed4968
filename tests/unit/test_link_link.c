/* test_link_link - link/link.h: an edge's and a hub's link over a real TCP connection with TLS, in
 * one loop: from the handshake to the last word, and freed at every moment. */
#include <check.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "buf/chunk.h"
#include "link/link.h"
#include "support/tls_pair.h"
#include "wire/hello.h"

#define PATIENCE_MS 10000
#define WINDOW      65536u
#define HELLO_LINE  "hello\n"
#define ANSWER_LINE "answer\n"
#define SORRY_LINE  "sorry\n"

/* Where an end frees its link: within the callback. */
enum moment { NEVER, AT_SECURE, AT_LINE, AT_OPEN, AT_CONTROL, AT_DRAIN, AT_DEAD };

/* What the hub does with the edge's line. */
enum verdict { OPENS, REFUSES, WAITS, DROPS };

struct end {
    struct link *link;
    enum moment frees_at;
    enum verdict verdict;
    bool is_mute;       /* edge: says no hello */
    const char *behind; /* edge: sent with the hello, behind it; may be NULL */
    size_t behind_len;
    char line[64]; /* what came */
    bool is_secure, is_over;
    int error;
    char why[200];
    enum goodbye_code goodbye;
    bool has_goodbye;
    unsigned opens, controls, drains;
    struct stream stream;
    unsigned changes;
};

static struct end edge, hub;
static struct loop *loop;
static struct budget budget;
static struct tls_ctx *server_ctx, *client_ctx;
static unsigned fds_before;
static const char *const alpn[] = {WIRE_ALPN, NULL};

static struct end *other(const struct end *e)
{
    return e == &edge ? &hub : &edge;
}

/* True: the callback is to return at once. */
static bool is_freed_now(struct end *e, enum moment now)
{
    if (e->frees_at != now)
        return false;
    link_free(e->link);
    e->link = NULL;
    e->is_over = true;
    return true;
}

/* --- callbacks
 * -------------------------------------------------------------------------------------- */

static void on_secure(struct link *link)
{
    struct end *e = link_owner(link);

    e->is_secure = true;
    if (is_freed_now(e, AT_SECURE) || e == &hub || e->is_mute)
        return;
    if (e->behind) { /* in one record with the line */
        char both[1024] = HELLO_LINE;

        memcpy(both + strlen(HELLO_LINE), e->behind, e->behind_len);
        link_send_line(link, both, strlen(HELLO_LINE) + e->behind_len);
        return;
    }
    link_send_line(link, HELLO_LINE, strlen(HELLO_LINE));
}

static void hub_decides(struct link *link, enum verdict verdict)
{
    switch (verdict) {
    case OPENS:
        link_send_line(link, ANSWER_LINE, strlen(ANSWER_LINE));
        link_open(link, WINDOW);
        break;
    case REFUSES:
        link_refuse(link, SORRY_LINE, strlen(SORRY_LINE), -ERR_DENIED);
        break;
    case WAITS:
        link_wait(link);
        break;
    case DROPS:
        break;
    }
}

static int on_line(struct link *link, const uint8_t *bytes, size_t n)
{
    struct end *e = link_owner(link);
    const uint8_t *end = memchr(bytes, '\n', n);
    size_t used;

    if (is_freed_now(e, AT_LINE))
        return 1;
    if (!end)
        return 0;
    used = (size_t)(end - bytes) + 1;
    memcpy(e->line, bytes, MIN(used, sizeof(e->line) - 1));
    if (e == &hub) {
        hub_decides(link, e->verdict);
        return e->verdict == DROPS ? -ERR_AUTH : (int)used;
    }
    if (strcmp(e->line, ANSWER_LINE) != 0)
        return -ERR_DENIED;
    link_open(link, WINDOW);
    return (int)used;
}

static void on_change(struct stream *s)
{
    container_of(s, struct end, stream)->changes++;
}

static struct stream *on_open(struct link *link, const struct proxy_header *client,
                              enum stream_reset *refuse)
{
    struct end *e = link_owner(link);

    ck_assert_uint_eq(client->dst_port, 443);
    e->opens++;
    stream_init(&e->stream, on_change);
    (void)is_freed_now(e, AT_OPEN); /* what it gives is still joined, and reset with the lane */
    (void)refuse;
    return &e->stream;
}

static int on_control(struct link *link, enum frame_type type, const uint8_t *json, size_t n,
                      struct wire_why *why)
{
    struct end *e = link_owner(link);

    ck_assert_int_eq(type, e == &hub ? FRAME_CONFIG_ACK : FRAME_CONFIG);
    ck_assert_uint_eq(n, 2);
    ck_assert_mem_eq(json, "{}", 2);
    (void)why;
    e->controls++;
    (void)is_freed_now(e, AT_CONTROL);
    return 0;
}

static void on_drain(struct link *link)
{
    struct end *e = link_owner(link);

    e->drains++;
    (void)is_freed_now(e, AT_DRAIN);
}

static void on_dead(struct link *link)
{
    struct end *e = link_owner(link);

    ck_assert(!e->is_over);
    ck_assert_int_eq(link_state(link), LINK_DEAD);
    e->error = link_error(link);
    strcpy(e->why, link_error_text(link));
    e->has_goodbye = link_peer_goodbye(link) != NULL;
    if (e->has_goodbye)
        e->goodbye = link_peer_goodbye(link)->code;
    if (is_freed_now(e, AT_DEAD))
        return;
    e->is_over = true;
}

static const struct link_ops ops = {.on_secure = on_secure,
                                    .on_line = on_line,
                                    .on_open = on_open,
                                    .on_control = on_control,
                                    .on_drain = on_drain,
                                    .on_dead = on_dead};

/* --- the stand
 * -------------------------------------------------------------------------------------- */

static unsigned count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static void stand_up(void)
{
    log_init(LOG_TEXT, LOG_ERR, 2);
    edge = hub = (struct end){0};
    server_ctx = tls_pair_server_ctx(TLS_ONLY_13, alpn, "hub.test");
    client_ctx = tls_pair_client_ctx(TLS_ONLY_13, alpn);
    fds_before = count_fds();
    loop = loop_new("test", 64, 0);
    budget_init(&budget, 64u << 20, 1000, 4u << 20);
}

static void stand_down(void)
{
    link_free(edge.link);
    link_free(hub.link);
    loop_free(loop); /* the links are freed; every chunk is back */
    stream_release(&edge.stream);
    stream_release(&hub.stream);
    ck_assert_uint_eq(budget.taken, 0);
    ck_assert_uint_eq(budget.streams, 0);
    tls_ctx_unref(server_ctx);
    tls_ctx_unref(client_ctx);
    ck_assert_uint_eq(count_fds(), fds_before);
}

static void open_sockets(int *edge_fd, int *hub_fd)
{
    struct tls_pair sockets;

    tls_pair_open(&sockets, PAIR_TCP, 0);
    chunk_pool_fini(&sockets.pool);
    *edge_fd = sockets.client_fd;
    *hub_fd = sockets.server_fd;
}

static void link_up(struct end *e, int fd, struct tls_ctx *ctx, unsigned handshake_ms)
{
    ck_assert_int_eq(link_new(&e->link, fd,
                              &(struct link_options){.side = e == &hub ? LINK_HUB : LINK_EDGE,
                                                     .loop = loop,
                                                     .tls = ctx,
                                                     .budget = &budget,
                                                     .ops = &ops,
                                                     .owner = e,
                                                     .handshake_ms = handshake_ms}),
                     0);
    ck_assert_int_eq(link_state(e->link), LINK_HANDSHAKE);
    ck_assert_ptr_null(link_lane(e->link));
}

static void both_up_within(unsigned handshake_ms)
{
    int edge_fd, hub_fd;

    open_sockets(&edge_fd, &hub_fd);
    link_up(&hub, hub_fd, server_ctx, handshake_ms);
    link_up(&edge, edge_fd, client_ctx, handshake_ms);
}

static void both_up(void)
{
    both_up_within(PATIENCE_MS);
}

static bool (*awaited)(void);
static uint64_t until_ms;
static bool was_true;

static void on_poll(struct deadline *d)
{
    was_true = awaited();
    if (was_true || loop_now_ms(loop) >= until_ms)
        loop_stop(loop);
    else
        deadline_set(d, 1);
}

static bool happens_within(bool (*is_true)(void), uint64_t ms)
{
    struct deadline poll;

    if (is_true())
        return true;
    awaited = is_true;
    until_ms = clock_now_us() / 1000 + ms;
    deadline_init(&poll, loop, on_poll);
    deadline_set(&poll, 1);
    loop_run(loop);
    deadline_off(&poll);
    return was_true;
}

#define UNTIL(is_true) ck_assert_msg(happens_within(is_true, PATIENCE_MS), "never: " #is_true)

static bool is_in(const struct end *e, enum link_state state)
{
    return e->link && link_state(e->link) == state;
}

static bool both_are_open(void)
{
    return is_in(&edge, LINK_OPEN) && is_in(&hub, LINK_OPEN);
}

static bool both_are_over(void)
{
    return edge.is_over && hub.is_over;
}

static bool hub_is_over(void)
{
    return hub.is_over;
}

static bool edge_is_over(void)
{
    return edge.is_over;
}

static bool hub_judges(void)
{
    return is_in(&hub, LINK_VERDICT);
}

static void both_open(void)
{
    both_up();
    UNTIL(both_are_open);
}

static void edge_opens_stream(void)
{
    struct proxy_header client = {.family = PROXY_INET, .src_port = 1, .dst_port = 443};

    stream_init(&edge.stream, on_change);
    ck_assert_int_eq(link_open_stream(edge.link, &edge.stream, &client), 0);
}

/* --- in order
 * --------------------------------------------------------------------------------------- */

static bool stream_is_there(void)
{
    return hub.opens == 1 && hub.stream.state == STREAM_OPEN;
}

static bool bytes_are_there(void)
{
    return hub.stream.recvq.len == 5;
}

static bool controls_are_there(void)
{
    return edge.controls == 1 && hub.controls == 1;
}

START_TEST(from_handshake_to_bytes)
{
    uint8_t of_edge[TLS_EXPORTER_BYTES], of_hub[TLS_EXPORTER_BYTES];
    struct iovec piece;
    int64_t from, until;

    stand_up();
    both_open();
    ck_assert_str_eq(hub.line, HELLO_LINE);
    ck_assert_str_eq(edge.line, ANSWER_LINE);
    ck_assert_int_eq(link_exporter(edge.link, of_edge), 0);
    ck_assert_int_eq(link_exporter(hub.link, of_hub), 0);
    ck_assert_mem_eq(of_edge, of_hub, sizeof(of_edge));
    ck_assert(link_takes_streams(edge.link));
    ck_assert_ptr_nonnull(link_lane(edge.link));
    ck_assert_str_eq(link_cipher(edge.link), "AES-128-GCM");
    ck_assert_int_eq(link_peer_times(edge.link, &from, &until), 0);
    ck_assert(from < until);
    link_send_config(hub.link, "{}");
    link_send_config(edge.link, "{}");
    edge_opens_stream();
    UNTIL(stream_is_there);
    UNTIL(controls_are_there);
    ck_assert_uint_ge(stream_reserve(&edge.stream, &piece, 1), 1);
    memcpy(piece.iov_base, "12345", 5);
    stream_commit(&edge.stream, 5);
    UNTIL(bytes_are_there);
    stand_down();
}
END_TEST

/* The hub's answer and its first frames may come in one record. */
START_TEST(frames_behind_the_line_are_frames)
{
    static const uint8_t pong[] = {0, 0, 0, 0, 0x08, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8};

    stand_up();
    edge.behind = (const char *)pong; /* that nobody asked for */
    edge.behind_len = sizeof(pong);
    both_up();
    UNTIL(both_are_over);
    ck_assert_int_eq(hub.error, -ERR_PROTO);
    ck_assert_ptr_nonnull(strstr(hub.why, "PONG"));
    ck_assert(edge.has_goodbye);
    ck_assert_int_eq(edge.goodbye, GOODBYE_PROTOCOL_ERROR);
    stand_down();
}
END_TEST

START_TEST(a_verdict_may_come_later)
{
    stand_up();
    hub.verdict = WAITS;
    both_up();
    UNTIL(hub_judges);
    hub_decides(hub.link, OPENS);
    UNTIL(both_are_open);
    stand_down();
}
END_TEST

static bool drains_are_there(void)
{
    return edge.drains == 1 && hub.drains == 1;
}

START_TEST(drains_are_told)
{
    stand_up();
    both_open();
    link_send_drain(hub.link, 30);
    link_send_drain(edge.link, 30);
    UNTIL(drains_are_there);
    ck_assert(!link_takes_streams(edge.link));
    stand_down();
}
END_TEST

/* --- the last word
 * ---------------------------------------------------------------------------------- */

static void one_says_goodbye(struct end *e)
{
    struct end *o = other(e);

    stand_up();
    both_open();
    edge_opens_stream();
    UNTIL(stream_is_there);
    link_goodbye(e->link, GOODBYE_KICKED, "enough", 0);
    UNTIL(both_are_over);
    ck_assert(o->has_goodbye && !e->has_goodbye);
    ck_assert_int_eq(o->goodbye, GOODBYE_KICKED);
    ck_assert_int_eq(o->error, -ERR_CLOSED);
    ck_assert_int_eq(e->error, 0);
    ck_assert_str_eq(e->why, "enough");
    ck_assert_int_eq(edge.stream.state, STREAM_RESET);
    ck_assert_int_eq(edge.stream.reset_code, RESET_LANE_LOST);
    ck_assert_int_eq(hub.stream.state, STREAM_RESET);
    ck_assert_uint_gt(edge.changes, 0);
    stand_down();
}

START_TEST(a_goodbye_of_the_hub)
{
    one_says_goodbye(&hub);
}
END_TEST

START_TEST(a_goodbye_of_the_edge)
{
    one_says_goodbye(&edge);
}
END_TEST

START_TEST(a_refusal_is_heard)
{
    stand_up();
    hub.verdict = REFUSES;
    both_up();
    UNTIL(both_are_over);
    ck_assert_str_eq(edge.line, SORRY_LINE);
    ck_assert_int_eq(edge.error, -ERR_DENIED);
    ck_assert_int_eq(hub.error, -ERR_DENIED);
    stand_down();
}
END_TEST

START_TEST(a_refusal_later_is_heard)
{
    stand_up();
    hub.verdict = WAITS;
    both_up();
    UNTIL(hub_judges);
    hub_decides(hub.link, REFUSES);
    UNTIL(both_are_over);
    ck_assert_str_eq(edge.line, SORRY_LINE);
    stand_down();
}
END_TEST

START_TEST(a_drop_says_nothing)
{
    stand_up();
    hub.verdict = DROPS;
    both_up();
    UNTIL(both_are_over);
    ck_assert_str_eq(edge.line, "");
    ck_assert_int_eq(hub.error, -ERR_AUTH);
    stand_down();
}
END_TEST

/* --- peers that misbehave
 * --------------------------------------------------------------------------- */

START_TEST(a_silent_peer_has_the_time_of_a_handshake)
{
    int edge_fd, hub_fd;

    stand_up();
    open_sockets(&edge_fd, &hub_fd);
    link_up(&hub, hub_fd, server_ctx, 50);
    UNTIL(hub_is_over);
    ck_assert_int_eq(hub.error, -ERR_TIMEOUT);
    ck_assert(!hub.is_secure);
    close(edge_fd);
    open_sockets(&edge_fd, &hub_fd);
    link_up(&edge, edge_fd, client_ctx, 50);
    UNTIL(edge_is_over);
    ck_assert_int_eq(edge.error, -ERR_TIMEOUT);
    close(hub_fd);
    stand_down();
}
END_TEST

START_TEST(a_verdict_that_does_not_come_is_a_timeout)
{
    int edge_fd, hub_fd;

    stand_up();
    hub.verdict = WAITS;
    open_sockets(&edge_fd, &hub_fd);
    link_up(&hub, hub_fd, server_ctx, PATIENCE_MS);
    link_up(&edge, edge_fd, client_ctx, PATIENCE_MS);
    UNTIL(hub_judges);
    link_extend(hub.link, 50);
    UNTIL(both_are_over);
    ck_assert_int_eq(hub.error, -ERR_TIMEOUT);
    stand_down();
}
END_TEST

/* Nothing is read while the verdict is out: its end is noticed with the verdict. */
static void edge_goes_during_verdict(enum verdict verdict)
{
    stand_up();
    hub.verdict = WAITS;
    both_up();
    UNTIL(hub_judges);
    link_free(edge.link);
    edge.link = NULL;
    edge.is_over = true;
    hub_decides(hub.link, verdict);
    UNTIL(hub_is_over);
    ck_assert_int_ne(hub.error, 0);
    stand_down();
}

START_TEST(a_peer_that_goes_during_the_verdict_and_is_let_in)
{
    edge_goes_during_verdict(OPENS);
    ck_assert(hub.error == -ERR_CLOSED || hub.error == -ERR_RESET);
}
END_TEST

START_TEST(a_peer_that_goes_during_the_verdict_and_is_refused)
{
    edge_goes_during_verdict(REFUSES);
    ck_assert_int_eq(hub.error, -ERR_DENIED);
}
END_TEST

START_TEST(an_end_without_goodbye_is_a_loss)
{
    stand_up();
    both_open();
    edge_opens_stream();
    UNTIL(stream_is_there);
    link_free(edge.link);
    edge.link = NULL;
    UNTIL(hub_is_over);
    ck_assert(hub.error == -ERR_CLOSED || hub.error == -ERR_RESET);
    ck_assert_int_eq(hub.stream.state, STREAM_RESET);
    ck_assert_int_eq(edge.stream.state, STREAM_RESET);
    stand_down();
}
END_TEST

START_TEST(without_alpn_nobody_gets_in)
{
    struct tls_ctx *bare;
    int edge_fd, hub_fd;

    stand_up();
    bare = tls_pair_client_ctx(TLS_ONLY_13, NULL);
    open_sockets(&edge_fd, &hub_fd);
    link_up(&hub, hub_fd, server_ctx, PATIENCE_MS);
    link_up(&edge, edge_fd, bare, PATIENCE_MS);
    UNTIL(both_are_over);
    ck_assert_int_eq(hub.error, -ERR_PROTO);
    ck_assert(!hub.is_secure && !edge.is_secure);
    tls_ctx_unref(bare);
    stand_down();
}
END_TEST

static bool edge_is_secure(void)
{
    return edge.is_secure;
}

START_TEST(a_line_without_end_is_cut)
{
    static char much[HELLO_MAX + 2 * TLS_RECORD_BYTES];

    stand_up();
    edge.is_mute = true;
    both_up();
    UNTIL(edge_is_secure);
    memset(much, 'x', sizeof(much));
    link_send_line(edge.link, much, sizeof(much));
    UNTIL(both_are_over);
    ck_assert_int_eq(hub.error, -ERR_TOO_BIG);
    ck_assert_str_eq(edge.line, "");
    stand_down();
}
END_TEST

/* A peer that neither reads nor closes, and one that sends without end, don't keep a link that
 * leaves. */
static void leave_in_spite_of(bool is_flooding)
{
    static char waste[65536];
    struct end *e = &hub;
    int edge_fd, hub_fd, kept;
    uint64_t began_ms;

    stand_up();
    hub.verdict = WAITS;
    open_sockets(&edge_fd, &hub_fd);
    kept = dup(edge_fd); /* the connection stays when the edge's link is gone */
    link_up(&hub, hub_fd, server_ctx, PATIENCE_MS);
    link_up(&edge, edge_fd, client_ctx, PATIENCE_MS);
    UNTIL(hub_judges);
    link_free(edge.link);
    edge.link = NULL;
    hub_decides(e->link, REFUSES);
    began_ms = clock_now_us() / 1000;
    do {
        while (is_flooding && send(kept, waste, sizeof(waste), MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
            continue;
    } while (!happens_within(hub_is_over, 5) && clock_now_us() / 1000 < began_ms + 5000);
    ck_assert(hub.is_over);
    ck_assert_uint_ge(clock_now_us() / 1000 - began_ms, 900);
    ck_assert_uint_le(clock_now_us() / 1000 - began_ms, 3000);
    close(kept);
    stand_down();
}

START_TEST(leaves_a_peer_that_does_not_close)
{
    leave_in_spite_of(false);
}
END_TEST

START_TEST(leaves_a_peer_that_floods)
{
    leave_in_spite_of(true);
}
END_TEST

/* No memory for the last word: the link ends without it. */
START_TEST(a_refusal_that_cannot_be_written_ends_the_link)
{
    enum { CAP = 8 };
    struct chunk *taken[CAP + 1];
    unsigned n = 0;

    stand_up();
    loop_free(loop);
    loop = loop_new("test", 4, CAP);
    hub.verdict = WAITS;
    both_up();
    UNTIL(hub_judges);
    while ((taken[n] = chunk_take(loop_pool(loop))))
        n++;
    hub_decides(hub.link, REFUSES);
    UNTIL(hub_is_over);
    ck_assert_str_eq(edge.line, "");
    while (n > 0)
        chunk_give(loop_pool(loop), taken[--n]);
    stand_down();
}
END_TEST

/* --- freed at every moment
 * ---------------------------------------------------------------------------- */

static bool one_is_over(void)
{
    return edge.is_over || hub.is_over;
}

/* Everything that can be on the way is: a stream, bytes, a CONFIG, a DRAIN, a GOODBYE. */
static void traffic(void)
{
    if (is_in(&edge, LINK_OPEN)) {
        edge_opens_stream();
        link_send_config(edge.link, "{}");
        link_send_drain(edge.link, 30);
    }
    if (is_in(&hub, LINK_OPEN)) {
        link_send_config(hub.link, "{}");
        link_send_drain(hub.link, 30);
        link_goodbye(hub.link, GOODBYE_KICKED, "enough", 0);
    }
}

static bool open_or_over(void)
{
    return both_are_open() || one_is_over();
}

START_TEST(freed_in_a_callback)
{
    struct end *e = _i % 2 ? &hub : &edge;

    stand_up();
    e->frees_at = (enum moment)(_i / 2 + 1);
    both_up();
    UNTIL(open_or_over);
    traffic();
    UNTIL(both_are_over);
    stand_down();
}
END_TEST

static enum link_state wanted;
static struct end *watched;

static bool is_wanted(void)
{
    return watched->is_over || is_in(watched, wanted);
}

START_TEST(freed_between_callbacks)
{
    wanted = (enum link_state)(_i / 2);
    watched = _i % 2 ? &hub : &edge;
    stand_up();
    if (watched == &edge && (wanted == LINK_VERDICT || wanted == LINK_LEAVING))
        wanted = LINK_LINE; /* states of the hub's side alone, here */
    edge.is_mute = watched == &hub && wanted == LINK_LINE;
    hub.verdict = wanted == LINK_LEAVING                          ? REFUSES
                  : wanted == LINK_VERDICT || wanted == LINK_LINE ? WAITS
                                                                  : OPENS;
    both_up_within(500); /* a verdict that nobody gives any more */
    if (wanted == LINK_DEAD) {
        UNTIL(both_are_open);
        link_goodbye(other(watched)->link, GOODBYE_KICKED, "enough", 0);
    }
    UNTIL(is_wanted);
    link_free(watched->link);
    watched->link = NULL;
    watched->is_over = true;
    UNTIL(both_are_over);
    stand_down();
}
END_TEST

START_TEST(freed_before_the_first_turn_and_twice)
{
    struct link *link;
    int edge_fd, hub_fd;

    stand_up();
    open_sockets(&edge_fd, &hub_fd);
    link_up(&hub, hub_fd, server_ctx, PATIENCE_MS);
    link = hub.link;
    link_free(link);
    link_free(link);
    link_free(NULL);
    hub.link = NULL;
    close(edge_fd);
    stand_down();
}
END_TEST

START_TEST(states_have_names)
{
    ck_assert_str_eq(link_state_name(LINK_HANDSHAKE), "HANDSHAKE");
    ck_assert_str_eq(link_state_name(LINK_DEAD), "DEAD");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("link_link");
    TCase *c = tcase_create("link");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(c, 30);
    tcase_add_test(c, from_handshake_to_bytes);
    tcase_add_test(c, frames_behind_the_line_are_frames);
    tcase_add_test(c, a_verdict_may_come_later);
    tcase_add_test(c, drains_are_told);
    tcase_add_test(c, a_goodbye_of_the_hub);
    tcase_add_test(c, a_goodbye_of_the_edge);
    tcase_add_test(c, a_refusal_is_heard);
    tcase_add_test(c, a_refusal_later_is_heard);
    tcase_add_test(c, a_drop_says_nothing);
    tcase_add_test(c, a_silent_peer_has_the_time_of_a_handshake);
    tcase_add_test(c, a_verdict_that_does_not_come_is_a_timeout);
    tcase_add_test(c, a_peer_that_goes_during_the_verdict_and_is_let_in);
    tcase_add_test(c, a_peer_that_goes_during_the_verdict_and_is_refused);
    tcase_add_test(c, an_end_without_goodbye_is_a_loss);
    tcase_add_test(c, without_alpn_nobody_gets_in);
    tcase_add_test(c, a_line_without_end_is_cut);
    tcase_add_test(c, leaves_a_peer_that_does_not_close);
    tcase_add_test(c, leaves_a_peer_that_floods);
    tcase_add_test(c, a_refusal_that_cannot_be_written_ends_the_link);
    tcase_add_loop_test(c, freed_in_a_callback, 0, 2 * AT_DEAD);
    tcase_add_loop_test(c, freed_between_callbacks, 0, 2 * LINK_STATE_COUNT);
    tcase_add_test(c, freed_before_the_first_turn_and_twice);
    tcase_add_test(c, states_have_names);
    suite_add_tcase(suite, c);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
