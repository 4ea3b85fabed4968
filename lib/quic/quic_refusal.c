/* quic_refusal - what the network says of packets that we sent (ICMP): nobody there, no way there,
 * not allowed.
 *
 * A connection that is not up ends by it at once: whoever dials need not wait until the time for it
 * is over to try another address, or TLS.  Once it is up, such a word is counted and no more (RFC
 * 9000, 14.2.1): what was refused was a packet of ours, and if it asked for an answer its probe
 * timer is running already.
 *
 * Anybody can send such a word.  The kernel passes it on when the addresses and ports are those of
 * a socket; here it counts only when it quotes enough of our packet to show the connection id that
 * it went to, which nobody can know who did not see it (21.10 of the RFC asks for as much).
 *
 * Only ports that just dial ask the kernel for them: a server's peers are strangers.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>

#include <linux/errqueue.h> /* wants time.h before it */

#include "quic/quic_internal.h"

#define READS_PER_TURN 64u
#define QUOTE_BYTES    64u
#define LONG_HEADER    0x80u
#define LONG_ID_LEN_AT 5u

void quic_refusal_watch(const struct quic_socket *s)
{
    int on = 1;

    /* without it the attempt lasts as long as it may: comfort, no more */
    if (s->bound.sa.sa_family == AF_INET6)
        (void)setsockopt(s->fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
    else
        (void)setsockopt(s->fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
}

static bool is_final(uint32_t err)
{
    return err == ECONNREFUSED || err == EHOSTUNREACH || err == ENETUNREACH || err == EACCES;
}

/* Its errno when it came over the network; 0: of another kind. */
static uint32_t read_error(struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        struct sock_extended_err e;

        if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
            !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
            continue;
        memcpy(&e, CMSG_DATA(c), sizeof(e));
        if (e.ee_origin == SO_EE_ORIGIN_ICMP || e.ee_origin == SO_EE_ORIGIN_ICMP6)
            return e.ee_errno;
    }
    return 0;
}

/* Of a handshake's packet, which shows the id that it went to behind its length. */
static bool is_quoted(const struct quic *q, const uint8_t *quote, size_t n)
{
    const ngtcp2_cid *id = ngtcp2_conn_get_dcid(q->conn);

    return n > LONG_ID_LEN_AT + id->datalen && (quote[0] & LONG_HEADER) &&
           quote[LONG_ID_LEN_AT] == id->datalen &&
           memcmp(quote + LONG_ID_LEN_AT + 1, id->data, id->datalen) == 0;
}

static void take(struct quic_port *port, const union addr *to, const uint8_t *quote, size_t n)
{
    LIST_EACH (&port->conns, node, after) {
        struct quic *q = container_of(node, struct quic, node);

        if (!addr_is_same(&q->peer, to) || quic_is_secure(q) || !is_quoted(q, quote, n))
            continue;
        port->stats.refusals++;
        quic_refuse(q);
        quic_touch(q);
        return;
    }
    port->stats.refusals_ignored++;
}

void quic_refusal_read(const struct quic_socket *s)
{
    union {
        struct cmsghdr align;
        uint8_t bytes[512];
    } control;
    uint8_t quote[QUOTE_BYTES];

    for (unsigned i = 0; i < READS_PER_TURN; i++) {
        struct iovec iov = {quote, sizeof(quote)};
        union addr to = {0};
        struct msghdr m = {.msg_name = &to,
                           .msg_namelen = sizeof(to),
                           .msg_iov = &iov,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof(control)};
        ssize_t n = recvmsg(s->fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT);

        if (n < 0)
            return;
        if (is_final(read_error(&m)))
            take(s->port, &to, quote, (size_t)n);
    }
}
