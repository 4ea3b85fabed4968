/* quic_refusal - what the network says of packets that we sent (ICMP): nobody there, no way there,
 * not allowed.
 *
 * A connection that is not up ends by it at once: whoever dials need not wait until the time for it
 * is over to try another address, or TLS.  Once it is up, such a word proves nothing (RFC 9000,
 * 14.2.1).  But that nobody has the peer's port, while its machine is there, is how a process ends
 * that was killed; so this one word raises a suspicion: the peer is asked, and asked again, whether
 * it is there.  Anything that comes from it ends the suspicion; silence for SUSPECT_MS, or three
 * probe timeouts if that is longer, ends the connection, where the idle timeout would take 6 s to.
 *
 *   up -- port unreachable --> suspected: PING every SUSPECT_PING_MS -- silence --> over
 *    ^                             |
 *    '----- anything came ---------'
 *
 * Anybody can send such a word.  The kernel passes it on when the addresses and ports are those of
 * a socket; here it counts only when it quotes enough of our packet to show the connection id that
 * it went to, which nobody can know who did not see it (21.10 of the RFC asks for as much).  And
 * who did see it gains by it no more than some PINGs, as long as the peer's packets get through.
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

#define SUSPECT_MS      1000u
#define SUSPECT_PTOS    3u
#define SUSPECT_PING_MS 200u

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

/* A handshake's packet shows the id that it went to behind its length, any other at its begin. */
static bool is_quoted(const struct quic *q, const uint8_t *quote, size_t n)
{
    const ngtcp2_cid *id = ngtcp2_conn_get_dcid(q->conn);
    size_t at = 1;

    if (n > LONG_ID_LEN_AT && (quote[0] & LONG_HEADER)) {
        if (quote[LONG_ID_LEN_AT] != id->datalen)
            return false;
        at = LONG_ID_LEN_AT + 1;
    }
    return n >= at + id->datalen && memcmp(quote + at, id->data, id->datalen) == 0;
}

/* --- a connection that is up ------------------------------------------------------------------ */

static void suspect(struct quic *q)
{
    uint64_t patience_ns = SUSPECT_PTOS * ngtcp2_conn_get_pto(q->conn);

    q->suspicion.until_ns = q->port->now_ns + MAX(patience_ns, SUSPECT_MS * QUIC_MS);
    q->suspicion.packets_in = q->stats.packets_in;
    ngtcp2_conn_set_keep_alive_timeout(q->conn, SUSPECT_PING_MS * QUIC_MS);
}

static void trust(struct quic *q)
{
    q->suspicion.until_ns = 0;
    ngtcp2_conn_set_keep_alive_timeout(q->conn, q->port->params.keep_alive_ms * QUIC_MS);
}

uint64_t quic_refusal_due_ns(const struct quic *q)
{
    return q->suspicion.until_ns ? q->suspicion.until_ns : UINT64_MAX;
}

void quic_refusal_on_timer(struct quic *q, uint64_t now_ns)
{
    if (q->suspicion.until_ns == 0 || q->state != CONN_OPEN)
        return;
    if (q->stats.packets_in != q->suspicion.packets_in) {
        trust(q);
    } else if (now_ns >= q->suspicion.until_ns) {
        q->port->stats.refusals++;
        quic_refuse(q);
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

static void take(struct quic_port *port, const union addr *to, uint32_t err, const uint8_t *quote,
                 size_t n)
{
    LIST_EACH (&port->conns, node, after) {
        struct quic *q = container_of(node, struct quic, node);

        if (!addr_is_same(&q->peer, to) || !is_quoted(q, quote, n))
            continue;
        if (q->state == CONN_SHAKING) {
            port->stats.refusals++;
            quic_refuse(q);
            quic_touch(q);
            return;
        }
        if (q->state == CONN_OPEN && err == ECONNREFUSED && q->suspicion.until_ns == 0) {
            suspect(q);
            quic_touch(q);
        }
        break;
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
        uint32_t err;

        if (n < 0)
            return;
        err = read_error(&m);
        if (is_final(err))
            take(s->port, &to, err, quote, (size_t)n);
    }
}
