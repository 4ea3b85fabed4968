/* quic_port - the UDP sockets of one loop: reads bundles, finds whom each packet is for, and says
 * what strangers get.
 *
 *   known id, live            the connection reads it
 *   known id, over            quic_ids_answer()
 *   a token of ours at its end: a stateless reset of the peer; the connection reads it
 *   Initial, server           on_initial(): a connection, Retry, or nothing
 *   version we don't speak    version negotiation (server)
 *   any other                 stateless reset (server, short header) or nothing
 *
 * A turn reads eight bundles of up to 64 KiB, or of small packets eight times as many: were it
 * eight of those as well, a port that is behind would answer each handful by a turn and a packet
 * of its own.  The owners are woken once behind all of it.
 */
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "quic/quic_internal.h"

#define READ_MESSAGES 8u
#define READ_ROUNDS   8u /* a turn: as long as all that came is no more than a bundle may be */
#define READ_BYTES    65536u
#define READ_PACKETS  512u /* a turn: as many as eight bundles have; many bundles may be short */
#define LONG_HEADER   0x80u

struct quic_read_buffers {
    struct mmsghdr messages[READ_MESSAGES];
    struct iovec iov[READ_MESSAGES];
    union addr peers[READ_MESSAGES];
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int))];
    } control[READ_MESSAGES];
    uint8_t bytes[READ_MESSAGES][READ_BYTES];
};

uint64_t quic_now(struct quic_port *port)
{
    struct timespec now;
    uint64_t ns;

    clock_gettime(CLOCK_MONOTONIC, &now);
    ns = (uint64_t)now.tv_sec * NGTCP2_SECONDS + (uint64_t)now.tv_nsec;
    port->now_ns = MAX(port->now_ns, ns);
    return port->now_ns;
}

struct quic_socket *quic_port_socket(struct quic_port *port, sa_family_t family)
{
    for (unsigned i = 0; i < port->socket_count; i++)
        if (port->sockets[i].bound.sa.sa_family == family)
            return &port->sockets[i];
    return NULL;
}

void quic_port_make_id(const struct quic_port *port, ngtcp2_cid *id)
{
    uint8_t bytes[QUIC_ID_BYTES];
    unsigned first;

    tls_random(bytes, sizeof(bytes));
    first = bytes[0] - bytes[0] % port->count + port->index;
    bytes[0] = (uint8_t)(first > UINT8_MAX ? first - port->count : first);
    ngtcp2_cid_init(id, bytes, sizeof(bytes));
}

/* --- waking ------------------------------------------------------------------------------ */

void quic_touch(struct quic *q)
{
    if (list_is_empty(&q->touched))
        list_push(&q->port->touched, &q->touched);
}

void quic_wake_touched(struct quic_port *port)
{
    struct list *node;

    while ((node = list_pop(&port->touched))) {
        struct quic *q = container_of(node, struct quic, touched);

        q->ops->on_wake(q);
    }
}

/* --- packets ----------------------------------------------------------------------------- */

static void accept_new(struct quic_port *port, const struct quic_datagram *d,
                       const ngtcp2_pkt_hd *hd)
{
    ngtcp2_cid original;
    enum quic_token token = quic_retry_check(port, hd, &d->peer, &original);
    enum quic_verdict verdict;
    struct quic *q;

    if (token == TOKEN_BAD) {
        quic_retry_refuse_token(port, d, hd);
        return;
    }
    verdict = port->ops->on_initial(port->arg, &d->peer, token == TOKEN_GOOD);
    if (verdict == QUIC_RETRY && token != TOKEN_GOOD) {
        quic_retry_send(port, d, hd);
        return;
    }
    if (verdict == QUIC_REFUSE) {
        port->stats.refused++;
        return;
    }
    q = quic_new_server(port, d, hd, token == TOKEN_GOOD ? &original : NULL);
    if (!q) {
        port->stats.refused++;
        return;
    }
    /* Nobody hears of one whose first packet was none. */
    if (!quic_read(q, d)) {
        quic_free(q);
        port->stats.malformed++;
        return;
    }
    if (!port->ops->on_accept(port->arg, q)) {
        port->stats.refused++;
        return;
    }
    must(q->ops);
    quic_touch(q);
}

static void stranger(struct quic_port *port, const struct quic_datagram *d,
                     const ngtcp2_version_cid *of)
{
    bool is_long = (d->bytes[0] & LONG_HEADER) != 0;
    ngtcp2_pkt_hd hd;

    if (port->tls && is_long && ngtcp2_accept(&hd, d->bytes, d->len) == 0) {
        accept_new(port, d, &hd);
        return;
    }
    port->stats.unknown++;
    if (port->tls && !is_long)
        quic_reset_send(port, d, of->dcid);
}

/* A stateless reset shows no id, only its token. */
static struct quic_ids *find_reset(struct quic_port *port, const struct quic_datagram *d)
{
    if ((d->bytes[0] & LONG_HEADER) != 0 || d->len < NGTCP2_STATELESS_RESET_TOKENLEN + 5)
        return NULL;
    return quic_route_find(&port->routes, ROUTE_RESET_TOKEN,
                           d->bytes + d->len - NGTCP2_STATELESS_RESET_TOKENLEN,
                           NGTCP2_STATELESS_RESET_TOKENLEN);
}

void quic_port_take(struct quic_port *port, const struct quic_datagram *d)
{
    ngtcp2_version_cid of;
    struct quic_ids *ids;
    int rc;

    port->stats.datagrams_in++;
    port->stats.bytes_in += d->len;
    rc = d->len > 0 ? ngtcp2_pkt_decode_version_cid(&of, d->bytes, d->len, QUIC_ID_BYTES)
                    : NGTCP2_ERR_INVALID_ARGUMENT;
    if (rc == NGTCP2_ERR_VERSION_NEGOTIATION) {
        port->stats.unknown++;
        if (port->tls)
            quic_version_send(port, d, &of);
        return;
    }
    if (rc != 0) {
        port->stats.malformed++;
        return;
    }
    ids = quic_route_find(&port->routes, ROUTE_ID, of.dcid, of.dcidlen);
    if (!ids)
        ids = find_reset(port, d);
    if (!ids) {
        stranger(port, d, &of);
    } else if (!ids->q) {
        quic_ids_answer(port, ids, d);
    } else {
        struct quic *q = ids->q;

        quic_read(q, d);
        quic_touch(q);
    }
}

/* --- reading ----------------------------------------------------------------------------- */

/* What the kernel says of a message: the address that it was sent to, the size of its segments. */
static size_t read_control(struct msghdr *m, union addr *local)
{
    size_t segment = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;

            memcpy(&info, CMSG_DATA(c), sizeof(info));
            local->in.sin_addr = info.ipi_addr;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;

            memcpy(&info, CMSG_DATA(c), sizeof(info));
            local->in6.sin6_addr = info.ipi6_addr;
            if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
                local->in6.sin6_scope_id = info.ipi6_ifindex;
        } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            int size;

            memcpy(&size, CMSG_DATA(c), sizeof(size));
            segment = size > 0 ? (size_t)size : 0;
        }
    }
    return segment;
}

static void take_message(struct quic_socket *s, struct msghdr *m, const uint8_t *bytes, size_t n)
{
    struct quic_datagram d = {.sock = s, .local = s->bound};
    size_t segment;

    if (m->msg_flags & MSG_TRUNC) {
        s->port->stats.malformed++;
        return;
    }
    memcpy(&d.peer, m->msg_name, m->msg_namelen);
    segment = read_control(m, &d.local);
    do { /* an empty datagram is one too */
        d.bytes = bytes;
        d.len = segment > 0 ? MIN(segment, n) : n;
        bytes += d.len;
        n -= d.len;
        quic_port_take(s->port, &d);
    } while (n > 0);
}

static void prepare(struct quic_read_buffers *b)
{
    for (unsigned i = 0; i < READ_MESSAGES; i++) {
        b->iov[i] = (struct iovec){.iov_base = b->bytes[i], .iov_len = READ_BYTES};
        memset(&b->peers[i], 0, sizeof(b->peers[i]));
        b->messages[i].msg_hdr = (struct msghdr){.msg_name = &b->peers[i],
                                                 .msg_namelen = sizeof(b->peers[i]),
                                                 .msg_iov = &b->iov[i],
                                                 .msg_iovlen = 1,
                                                 .msg_control = &b->control[i],
                                                 .msg_controllen = sizeof(b->control[i])};
    }
}

/* How many messages came; *bytes grows by what is in them. */
static int read_bundles(struct quic_socket *s, size_t *bytes)
{
    struct quic_read_buffers *b = s->port->buffers;
    int got;

    prepare(b);
    s->port->stats.reads++;
    quic_now(s->port); /* when all of them came */
    got = recvmmsg(s->fd, b->messages, READ_MESSAGES, MSG_DONTWAIT, NULL);
    if (got <= 0 && !s->port->tls) /* an error is one of an earlier datagram that was sent */
        quic_refusal_read(s);
    for (int i = 0; i < got; i++) {
        take_message(s, &b->messages[i].msg_hdr, b->bytes[i], b->messages[i].msg_len);
        *bytes += b->messages[i].msg_len;
    }
    return got;
}

static void read_turn(struct quic_socket *s)
{
    uint64_t packets = s->port->stats.datagrams_in + READ_PACKETS;
    unsigned rounds = READ_ROUNDS;
    size_t bytes = 0;

    while (read_bundles(s, &bytes) == (int)READ_MESSAGES && bytes < READ_BYTES &&
           s->port->stats.datagrams_in < packets && --rounds > 0)
        continue;
}

/* The socket takes datagrams again: who waited for it flushes. */
static void resume(struct quic_socket *s)
{
    struct list woken, *node;

    if (quic_bundle_flush(s, NULL) == IO_WAIT)
        return;
    list_init(&woken);
    list_move_all(&woken, &s->port->waiting);
    while ((node = list_pop(&woken)))
        quic_touch(container_of(node, struct quic, waiting));
}

static void on_event(struct loop_io *io, unsigned events)
{
    struct quic_socket *s = container_of(io, struct quic_socket, io);
    struct quic_port *port = s->port;

    if (events & LOOP_WRITE)
        resume(s);
    if (events & LOOP_READ)
        read_turn(s);
    quic_wake_touched(port);
}

/* --- life -------------------------------------------------------------------------------- */

static ssize_t send_real(int fd, const struct msghdr *message, int flags)
{
    return sendmsg(fd, message, flags);
}

void quic_port_set_send(struct quic_port *port,
                        ssize_t (*send)(int fd, const struct msghdr *message, int flags))
{
    port->send = send ? send : send_real;
}

static uint32_t buffer_size(int fd, int option)
{
    int value = 0;
    socklen_t n = sizeof(value);

    if (getsockopt(fd, SOL_SOCKET, option, &value, &n) != 0 || value < 0)
        return 0;
    return (uint32_t)value / 2; /* the kernel doubles what it was asked for */
}

static int open_socket(struct quic_port *port, int fd)
{
    struct quic_socket *s = &port->sockets[port->socket_count++];
    socklen_t n = sizeof(s->bound);

    s->port = port;
    s->fd = fd;
    loop_io_init(&s->io, port->loop, fd, on_event);
    if (getsockname(fd, &s->bound.sa, &n) != 0)
        return -ERR_SYS;
    if (quic_bundle_init(&s->bundle) != 0)
        return -ERR_NOMEM;
    if (!port->tls)
        quic_refusal_watch(s);
    port->stats.recv_buffer = buffer_size(fd, SO_RCVBUF);
    port->stats.send_buffer = buffer_size(fd, SO_SNDBUF);
    return 0;
}

static int open_sockets(struct quic_port *port, const struct quic_port_options *o)
{
    int first = 0;

    for (unsigned i = 0; i < o->fd_count; i++) {
        int rc = open_socket(port, o->fds[i]);

        first = first != 0 ? first : rc;
    }
    return first;
}

static struct quic_port *port_new(const struct quic_port_options *o)
{
    struct quic_port *port = calloc(1, sizeof(*port));

    if (!port)
        return NULL;
    port->loop = o->loop;
    port->tls = o->tls ? tls_ctx_ref(o->tls) : NULL;
    port->index = o->index;
    port->count = o->count;
    memcpy(port->reset_key, o->reset_key, sizeof(port->reset_key));
    memcpy(port->retry_key, o->retry_key, sizeof(port->retry_key));
    port->params = o->params;
    port->ops = o->ops;
    port->arg = o->arg;
    port->send = send_real;
    list_init(&port->conns);
    list_init(&port->touched);
    list_init(&port->waiting);
    quic_ids_init(port);
    return port;
}

int quic_port_new(struct quic_port **out, const struct quic_port_options *o)
{
    struct quic_port *port = port_new(o);
    uint64_t seed[2];
    int rc;

    must(o->fd_count >= 1 && o->fd_count <= 2);
    must(o->count >= 1 && o->count <= 256 && o->index < o->count);
    must(!o->tls || (o->ops && o->ops->on_initial && o->ops->on_accept));
    *out = NULL;
    if (!port) {
        for (unsigned i = 0; i < o->fd_count; i++)
            close(o->fds[i]);
        return -ERR_NOMEM;
    }
    rc = open_sockets(port, o);
    tls_random(seed, sizeof(seed));
    if (quic_route_table_init(&port->routes, seed) != 0)
        rc = -ERR_NOMEM;
    port->buffers = malloc(sizeof(*port->buffers));
    if (!port->buffers)
        rc = -ERR_NOMEM;
    if (rc != 0) {
        quic_port_free(port);
        return rc;
    }
    for (unsigned i = 0; i < port->socket_count; i++)
        loop_io_arm(&port->sockets[i].io, LOOP_READ);
    *out = port;
    return 0;
}

void quic_port_free(struct quic_port *port)
{
    if (!port)
        return;
    must(list_is_empty(&port->conns));
    quic_ids_fini(port);
    quic_route_table_fini(&port->routes);
    for (unsigned i = 0; i < port->socket_count; i++) {
        loop_io_arm(&port->sockets[i].io, 0);
        close(port->sockets[i].fd);
        quic_bundle_fini(&port->sockets[i].bundle);
    }
    tls_ctx_unref(port->tls);
    tls_wipe(port->reset_key, sizeof(port->reset_key));
    tls_wipe(port->retry_key, sizeof(port->retry_key));
    free(port->buffers);
    free(port);
}

const struct quic_port_stats *quic_port_stats(const struct quic_port *port)
{
    return &port->stats;
}

unsigned quic_port_unvalidated(const struct quic_port *port)
{
    return port->unvalidated;
}
