/* link_fixture - an edge's and a hub's link over a real TCP connection with TLS, in one loop: what
 * each end does, and what it heard. */
#ifndef TESTS_UNIT_LINK_FIXTURE_H
#define TESTS_UNIT_LINK_FIXTURE_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "buf/chunk.h"
#include "link/link.h"
#include "support/await.h"
#include "support/descriptors.h"
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

/* True: the callback is to return at once. */
static inline bool is_freed_now(struct end *e, enum moment now)
{
    if (e->frees_at != now)
        return false;
    link_free(e->link);
    e->link = NULL;
    e->is_over = true;
    return true;
}

/* --- callbacks -------------------------------------------------------------------------------- */

static inline void on_secure(struct link *link)
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

static inline void hub_decides(struct link *link, enum verdict verdict)
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

static inline int on_line(struct link *link, const uint8_t *bytes, size_t n)
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

static inline void on_change(struct stream *s)
{
    container_of(s, struct end, stream)->changes++;
}

static inline struct stream *on_open(struct link *link, const struct proxy_header *client,
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

static inline int on_control(struct link *link, enum frame_type type, const uint8_t *json, size_t n,
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

static inline void on_drain(struct link *link)
{
    struct end *e = link_owner(link);

    e->drains++;
    (void)is_freed_now(e, AT_DRAIN);
}

static inline void on_dead(struct link *link)
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

/* --- the stand -------------------------------------------------------------------------------- */

static inline void stand_up(void)
{
    log_init(LOG_TEXT, LOG_ERR, 2);
    edge = hub = (struct end){0};
    server_ctx = tls_pair_server_ctx(TLS_ONLY_13, alpn, "hub.test");
    client_ctx = tls_pair_client_ctx(TLS_ONLY_13, alpn);
    fds_before = count_fds();
    loop = loop_new("test", 64, 0);
    budget_init(&budget, 64u << 20, 1000, 4u << 20);
}

static inline void stand_down(void)
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

static inline void open_sockets(int *edge_fd, int *hub_fd)
{
    struct tls_pair sockets;

    tls_pair_open(&sockets, PAIR_TCP, 0);
    chunk_pool_fini(&sockets.pool);
    *edge_fd = sockets.client_fd;
    *hub_fd = sockets.server_fd;
}

static inline void link_up(struct end *e, int fd, struct tls_ctx *ctx, unsigned handshake_ms)
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

static inline void both_up_within(unsigned handshake_ms)
{
    int edge_fd, hub_fd;

    open_sockets(&edge_fd, &hub_fd);
    link_up(&hub, hub_fd, server_ctx, handshake_ms);
    link_up(&edge, edge_fd, client_ctx, handshake_ms);
}

static inline void both_up(void)
{
    both_up_within(PATIENCE_MS);
}

static inline bool happens_within(bool (*is_true)(void), uint64_t ms)
{
    return is_true() || await_plain_within(loop, is_true, ms);
}

#define UNTIL(is_true) ck_assert_msg(happens_within(is_true, PATIENCE_MS), "never: " #is_true)

static inline bool is_in(const struct end *e, enum link_state state)
{
    return e->link && link_state(e->link) == state;
}

static inline bool both_are_open(void)
{
    return is_in(&edge, LINK_OPEN) && is_in(&hub, LINK_OPEN);
}

static inline bool both_are_over(void)
{
    return edge.is_over && hub.is_over;
}

static inline bool hub_judges(void)
{
    return is_in(&hub, LINK_VERDICT);
}

static inline void both_open(void)
{
    both_up();
    UNTIL(both_are_open);
}

static inline void edge_opens_stream(void)
{
    struct proxy_header client = {.family = PROXY_INET, .src_port = 1, .dst_port = 443};

    stream_init(&edge.stream, on_change);
    ck_assert_int_eq(link_open_stream(edge.link, &edge.stream, &client), 0);
}

static inline bool stream_is_there(void)
{
    return hub.opens == 1 && hub.stream.state == STREAM_OPEN;
}

#endif
