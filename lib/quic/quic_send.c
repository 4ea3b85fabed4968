/* quic_send - packets into bundles, bundles into the kernel (UDP_SEGMENT: one system call, one walk
 * through the stack for up to 64 packets of one size).
 *
 * A bundle takes packets of one size to one peer; a shorter one ends it, a longer one begins the
 * next.  What the kernel says of a bundle never ends a connection:
 *
 *   EAGAIN                        the bundle stays, the socket is waited for
 *   EIO, EINVAL of many segments  the interface cannot: one by one, no more bundles on this path
 *   EPERM                         once more (a first packet while a firewall learns), then dropped
 *   what an earlier packet met    once more: the kernel tells it once (quic_refusal)
 *   any other                     dropped and counted; QUIC finds out and sends again
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#include "quic/quic_internal.h"

int quic_bundle_init(struct quic_bundle *b)
{
    b->bytes = malloc(QUIC_BUNDLE_BYTES + QUIC_PACKET_BYTES);
    return b->bytes ? 0 : -ERR_NOMEM;
}

void quic_bundle_fini(struct quic_bundle *b)
{
    free(b->bytes);
    *b = (struct quic_bundle){0};
}

uint8_t *quic_bundle_tail(struct quic_socket *s)
{
    must(!s->is_blocked);
    return s->bundle.bytes + s->bundle.len;
}

size_t quic_bundle_room(size_t packet)
{
    return packet * MIN(QUIC_SEGMENTS_MAX, QUIC_BUNDLE_BYTES / packet);
}

void quic_hop_of_path(struct quic_hop *hop, const struct quic *q, const ngtcp2_path *path)
{
    memset(hop, 0, sizeof(*hop));
    memcpy(&hop->to, path->remote.addr, path->remote.addrlen);
    if (q->is_server) /* a client's socket may be rebound by the kernel at any time */
        memcpy(&hop->from, path->local.addr, path->local.addrlen);
}

/* --- one system call --------------------------------------------------------------------- */

union control {
    struct cmsghdr align;
    uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(uint16_t))];
};

static void put_control(struct msghdr *m, int level, int type, const void *value, size_t n)
{
    struct cmsghdr *c = (struct cmsghdr *)(void *)((uint8_t *)m->msg_control + m->msg_controllen);

    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(n);
    memcpy(CMSG_DATA(c), value, n);
    m->msg_controllen += CMSG_SPACE(n);
}

static void put_source(struct msghdr *m, const union addr *from)
{
    if (from->sa.sa_family == AF_INET) {
        struct in_pktinfo info = {.ipi_spec_dst = from->in.sin_addr};

        put_control(m, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
    } else if (from->sa.sa_family == AF_INET6) {
        struct in6_pktinfo info = {.ipi6_addr = from->in6.sin6_addr,
                                   .ipi6_ifindex = from->in6.sin6_scope_id};

        put_control(m, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    }
}

static bool is_of_earlier(int err)
{
    return err == ECONNREFUSED || err == EHOSTUNREACH || err == ENETUNREACH || err == EACCES;
}

/* 0 or the errno.  `segment` 0: one datagram. */
static int send_bytes(struct quic_socket *s, uint8_t *bytes, size_t n, size_t segment,
                      const struct quic_hop *hop)
{
    struct quic_port_stats *stats = &s->port->stats;
    union control control;
    struct iovec iov = {.iov_base = bytes, .iov_len = n};
    struct msghdr m = {.msg_name = (void *)(uintptr_t)&hop->to,
                       .msg_namelen = addr_len(&hop->to),
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes};
    bool is_retried = false;

    memset(&control, 0, sizeof(control));
    put_source(&m, &hop->from);
    if (segment > 0) {
        uint16_t size = (uint16_t)segment;

        put_control(&m, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size));
    }
    if (m.msg_controllen == 0)
        m.msg_control = NULL;
    for (;;) {
        stats->sends++;
        if (s->port->send(s->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            break;
        if (errno == EINTR)
            continue;
        if ((errno != EPERM && !is_of_earlier(errno)) || is_retried)
            return errno == EWOULDBLOCK ? EAGAIN : errno;
        is_retried = true;
    }
    stats->bytes_out += n;
    stats->datagrams_out += segment > 0 ? (n + segment - 1) / segment : 1;
    return 0;
}

static void count_lost(struct quic_socket *s, uint64_t datagrams)
{
    s->port->stats.send_errors++;
    s->port->stats.dropped += datagrams;
}

void quic_send_one(struct quic_socket *s, const uint8_t *bytes, size_t n,
                   const struct quic_hop *hop)
{
    if (send_bytes(s, (uint8_t *)(uintptr_t)bytes, n, 0, hop) != 0)
        count_lost(s, 1);
}

/* --- bundles ----------------------------------------------------------------------------- */

/* What follows the bundle is the next one. */
static void advance(struct quic_bundle *b)
{
    size_t len = b->next_len;

    memmove(b->bytes, b->bytes + b->len, len);
    b->len = b->segment = len;
    b->count = len > 0 ? 1 : 0;
    b->is_complete = false;
    b->hop = b->next_hop;
    b->next_len = 0;
}

/* The kernel refuses the segments.  IO_WAIT: the rest waits. */
static enum io send_one_by_one(struct quic_socket *s)
{
    struct quic_bundle *b = &s->bundle;

    while (b->len > 0) {
        size_t n = MIN(b->segment, b->len);
        int err = send_bytes(s, b->bytes, n, 0, &b->hop);

        if (err == EAGAIN)
            return IO_WAIT;
        if (err != 0)
            count_lost(s, 1);
        memmove(b->bytes, b->bytes + n, b->len - n + b->next_len);
        b->len -= n;
        b->count--;
    }
    return IO_OK;
}

/* IO_OK: it is gone, one way or the other. */
static enum io send_bundle(struct quic_socket *s, struct quic *q)
{
    struct quic_bundle *b = &s->bundle;
    int err = send_bytes(s, b->bytes, b->len, b->count > 1 ? b->segment : 0, &b->hop);

    if (err == EAGAIN)
        return IO_WAIT;
    if (b->count > 1 && (err == EIO || err == EINVAL)) {
        if (q && q->has_gso) {
            q->has_gso = false;
            s->port->stats.gso_off++;
        }
        return send_one_by_one(s);
    }
    if (err != 0)
        count_lost(s, b->count);
    return IO_OK;
}

enum io quic_bundle_flush(struct quic_socket *s, struct quic *q)
{
    while (s->bundle.len > 0) {
        if (send_bundle(s, q) == IO_WAIT) {
            s->is_blocked = true;
            loop_io_arm(&s->io, LOOP_READ | LOOP_WRITE);
            return IO_WAIT;
        }
        advance(&s->bundle);
    }
    if (s->is_blocked) {
        s->is_blocked = false;
        loop_io_arm(&s->io, LOOP_READ);
    }
    return IO_OK;
}

/* Byte by byte, since this is asked for each packet: quic_hop_of_path() clears what it does not
 * set. */
static bool hop_is_same(const struct quic_hop *a, const struct quic_hop *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

static bool may_join(const struct quic_bundle *b, const struct quic *q, size_t n,
                     const struct quic_hop *hop)
{
    return q->has_gso && !b->is_complete && n <= b->segment && b->count < QUIC_SEGMENTS_MAX &&
           b->len + n <= QUIC_BUNDLE_BYTES && hop_is_same(&b->hop, hop);
}

enum io quic_bundle_add(struct quic_socket *s, struct quic *q, size_t n, const struct quic_hop *hop)
{
    struct quic_bundle *b = &s->bundle;

    must(n > 0 && n <= QUIC_PACKET_BYTES);
    if (b->len > 0 && !may_join(b, q, n, hop)) {
        b->next_len = n;
        b->next_hop = *hop;
        if (send_bundle(s, q) == IO_WAIT) {
            s->is_blocked = true;
            loop_io_arm(&s->io, LOOP_READ | LOOP_WRITE);
            return IO_WAIT;
        }
        advance(b);
        return IO_OK;
    }
    if (b->len == 0) {
        b->segment = n;
        b->hop = *hop;
        b->count = 0;
    }
    b->len += n;
    b->count++;
    b->is_complete = n < b->segment;
    /* full for packets of this size: sent now, so that none has to be moved */
    if (!q->has_gso || b->count == QUIC_SEGMENTS_MAX || b->len + b->segment > QUIC_BUNDLE_BYTES)
        return quic_bundle_flush(s, q);
    return IO_OK;
}
