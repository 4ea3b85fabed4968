/* link_quic_fixture - a hub's link on a real QUIC connection over loopback, and at its other end
 * an edge's link or a peer that a test plays by hand; all in one loop.  What an end sends can be
 * lost for as long as a test wants.  (link_fixture.h has the ends and what they heard.) */
#ifndef TESTS_UNIT_LINK_QUIC_FIXTURE_H
#define TESTS_UNIT_LINK_QUIC_FIXTURE_H

#include <arpa/inet.h>

#include "link_fixture.h"
#include "quic/quic_internal.h"
#include "tunnel/lane_quic.h"

#define CLIENT_LINE  "PROXY TCP4 192.0.2.1 192.0.2.9 40000 443\r\n"
#define STREAMS_MAX  4000u
#define HAND_CONTROL 0

/* A peer of the hub that sends what it is told, in this order, and gives no credit back. */
struct hand {
    struct quic *q; /* owned */
    struct ready run;
    struct hand_piece {
        int64_t stream;
        const char *bytes; /* borrowed: stays until the end */
        size_t len;
    } pieces[3 * STREAMS_MAX];
    unsigned count, at; /* pieces, and the one that is next */
    uint64_t acked;     /* of all that was sent */
    uint64_t heard;     /* bytes of the control stream */
    unsigned resets;    /* streams that the hub shut down */
    bool is_shaken, is_blocked;
};

static struct hand hand;
static struct quic_port *edge_port, *hub_port;
static union addr hub_at;
static bool is_edge_lost, is_hub_lost; /* what it sends, from now on */

/* --- the way ---------------------------------------------------------------------------------- */

static inline ssize_t send_or_lose(bool is_lost, int fd, const struct msghdr *message, int flags)
{
    size_t n = 0;

    if (!is_lost)
        return sendmsg(fd, message, flags);
    for (size_t i = 0; i < message->msg_iovlen; i++)
        n += message->msg_iov[i].iov_len;
    return (ssize_t)n;
}

static inline ssize_t edge_sends(int fd, const struct msghdr *message, int flags)
{
    return send_or_lose(is_edge_lost, fd, message, flags);
}

static inline ssize_t hub_sends(int fd, const struct msghdr *message, int flags)
{
    return send_or_lose(is_hub_lost, fd, message, flags);
}

/* --- the hub ---------------------------------------------------------------------------------- */

static inline struct link_options quic_link_options(struct end *e, const struct link_ops *its)
{
    return (struct link_options){.side = e == &hub ? LINK_HUB : LINK_EDGE,
                                 .loop = loop,
                                 .budget = &budget,
                                 .ops = its,
                                 .owner = e,
                                 .handshake_ms = PATIENCE_MS};
}

static const struct link_ops *hub_ops = &ops; /* or a test's own */

static inline enum quic_verdict on_initial(void *arg, const union addr *peer, bool is_validated)
{
    (void)arg, (void)peer, (void)is_validated;
    return QUIC_ACCEPT;
}

static inline bool on_accept(void *arg, struct quic *q)
{
    struct link_options options = quic_link_options(&hub, hub_ops);

    (void)arg;
    ck_assert_ptr_null(hub.link);
    ck_assert_int_eq(link_new_quic(&hub.link, q, &options), 0);
    return true;
}

static const struct quic_port_ops hub_port_ops = {on_initial, on_accept};

/* --- the stand -------------------------------------------------------------------------------- */

static inline struct quic_port *port_up(const struct quic_params *params, struct tls_ctx *tls,
                                        union addr *at)
{
    struct quic_port_options options = {
        .loop = loop, .fd_count = 1, .tls = tls, .count = 1, .params = *params};
    struct quic_port *port;
    int fd;

    at->in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ck_assert_int_eq(quic_bind(at, 1, &fd, at), 0);
    options.fds = &fd;
    options.ops = tls ? &hub_port_ops : NULL;
    ck_assert_int_eq(quic_port_new(&port, &options), 0);
    return port;
}

/* `edge_window`: what the hub's direction of each stream begins with. */
static inline void quic_stand_up(uint64_t edge_window)
{
    struct quic_params params = {.stream_window = WINDOW,
                                 .connection_window = 16u << 20,
                                 .unproven_window = WINDOW,
                                 .streams_bidi = STREAMS_MAX + 1,
                                 .streams_uni = LANE_SIDES_MAX,
                                 .idle_ms = 3 * PATIENCE_MS,
                                 .keep_alive_ms = QUIC_KEEP_ALIVE_MS,
                                 .handshake_ms = PATIENCE_MS};
    union addr edge_at;

    stand_up();
    memset(&hand, 0, sizeof(hand));
    is_edge_lost = is_hub_lost = false;
    hub_port = port_up(&params, server_ctx, &hub_at);
    params.stream_window = edge_window;
    edge_port = port_up(&params, NULL, &edge_at);
    quic_port_set_send(hub_port, hub_sends);
    quic_port_set_send(edge_port, edge_sends);
}

static inline void quic_stand_down(void)
{
    ready_cancel(&hand.run);
    if (hand.q)
        quic_free(hand.q);
    link_free(edge.link);
    link_free(hub.link);
    edge.link = hub.link = NULL;
    quic_port_free(edge_port);
    quic_port_free(hub_port);
    stand_down();
}

static inline struct quic *dial_hub(void)
{
    struct quic_dial_options options = {
        .tls = client_ctx, .peer = &hub_at, .server_name = "hub.test"};
    struct quic *q;

    ck_assert_int_eq(quic_dial(&q, edge_port, &options), 0);
    return q;
}

static inline void edge_dials(void)
{
    struct link_options options = quic_link_options(&edge, &ops);

    ck_assert_int_eq(link_new_quic(&edge.link, dial_hub(), &options), 0);
}

/* --- a peer by hand --------------------------------------------------------------------------- */

static inline void hand_wake(void)
{
    loop_again(loop, &hand.run);
}

static inline void hand_sends(int64_t stream, const char *bytes, size_t n)
{
    ck_assert_uint_lt(hand.count, ARRAY_LEN(hand.pieces));
    hand.pieces[hand.count++] = (struct hand_piece){stream, bytes, n};
    hand_wake();
}

/* A stream of which the hub hears nothing yet. */
static inline int64_t hand_opens(void)
{
    int64_t stream;

    ck_assert_int_eq(quic_open(hand.q, &stream, &hand), 0);
    return stream;
}

static inline void hand_run(struct ready *ready)
{
    (void)ready;
    (void)!quic_flush(hand.q);
    if (hand.is_shaken || !quic_is_secure(hand.q))
        return;
    hand.is_shaken = true;
    ck_assert_int_eq(hand_opens(), HAND_CONTROL);
    hand_sends(HAND_CONTROL, HELLO_LINE, strlen(HELLO_LINE));
}

static inline void hand_on_wake(struct quic *q)
{
    (void)q;
    hand.is_blocked = false;
    hand_wake();
}

static inline void hand_on_open(struct quic *q, int64_t stream)
{
    (void)q, (void)stream;
}

static inline int hand_on_data(struct quic *q, int64_t stream, void *user, const uint8_t *bytes,
                               size_t n, bool is_fin)
{
    (void)q, (void)user, (void)bytes, (void)is_fin;
    hand.heard += stream == HAND_CONTROL ? n : 0;
    return 0;
}

static inline void hand_on_acked(struct quic *q, int64_t stream, void *user, uint64_t n)
{
    (void)q, (void)stream, (void)user;
    hand.acked += n;
}

static inline void hand_on_reset(struct quic *q, int64_t stream, void *user, uint64_t code)
{
    (void)q, (void)stream, (void)user;
    ck_assert_uint_eq(code, RESET_BY_PEER);
    hand.resets++;
}

static inline void hand_on_stop(struct quic *q, int64_t stream, void *user, uint64_t code)
{
    (void)q, (void)stream, (void)user, (void)code;
}

static inline void hand_on_closed(struct quic *q, int64_t stream, void *user)
{
    (void)q, (void)stream, (void)user;
}

static inline void hand_on_credit(struct quic *q, int64_t stream, void *user, uint64_t upto)
{
    (void)q, (void)stream, (void)user, (void)upto;
}

static inline void hand_on_datagram(struct quic *q, const uint8_t *bytes, size_t n)
{
    (void)q, (void)bytes, (void)n;
}

static inline bool hand_next(struct quic *q, struct quic_piece *piece)
{
    const struct hand_piece *p = &hand.pieces[hand.at];

    (void)q;
    if (hand.at == hand.count || hand.is_blocked)
        return false;
    *piece = (struct quic_piece){.stream = p->stream, .count = 1};
    piece->iov[0] = (struct iovec){(void *)(uintptr_t)p->bytes, p->len};
    return true;
}

static inline void hand_on_written(struct quic *q, const struct quic_piece *piece, size_t n)
{
    struct hand_piece *p = &hand.pieces[hand.at];

    (void)q, (void)piece;
    p->bytes += n;
    p->len -= n;
    hand.at += p->len == 0;
}

static inline void hand_on_refused(struct quic *q, const struct quic_piece *piece,
                                   enum quic_refusal why)
{
    (void)q, (void)piece;
    if (why == QUIC_BLOCKED)
        hand.is_blocked = true;
    else
        hand.at++; /* the hub shut it down */
}

static const struct quic_ops hand_ops = {
    .on_wake = hand_on_wake,
    .on_open = hand_on_open,
    .on_data = hand_on_data,
    .on_acked = hand_on_acked,
    .on_reset = hand_on_reset,
    .on_stop = hand_on_stop,
    .on_closed = hand_on_closed,
    .on_credit = hand_on_credit,
    .on_datagram = hand_on_datagram,
    .next = hand_next,
    .on_written = hand_on_written,
    .on_refused = hand_on_refused,
};

static inline bool hub_is_open(void)
{
    return is_in(&hub, LINK_OPEN);
}

static inline bool hand_has_sent(void)
{
    return hand.at == hand.count;
}

/* Up to the hub's answer. */
static inline bool hand_is_in(void)
{
    return hub_is_open() && hand.heard == strlen(ANSWER_LINE);
}

static inline void hand_up(void)
{
    ready_init(&hand.run, hand_run);
    hand.q = dial_hub();
    quic_own(hand.q, &hand_ops, NULL);
    hand_wake();
    UNTIL(hand_is_in);
    quic_admit(hand.q);
}

#endif
