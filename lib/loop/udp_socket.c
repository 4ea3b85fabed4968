/* udp_socket - see udp_socket.h. */
#include "loop/udp_socket.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define SEGMENT_MAX  1472u  /* larger ones are fragmented, which segments cannot be */
#define SEGMENTS_MAX 64u    /* the kernel's UDP_MAX_SEGMENTS */
#define BUNDLE_MAX   65000u /* with headers it has to fit into one packet */
#define PLAIN_AFTER  1000u  /* bundles that go one by one after one was refused */

#define CONTROL_BYTES                                                                              \
    (CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int)) +                            \
     CMSG_SPACE(sizeof(uint32_t)) + CMSG_SPACE(sizeof(struct in_pktinfo)))

struct udp_batch {
    struct mmsghdr messages[UDP_BATCH];
    struct iovec pieces[UDP_BATCH];
    union addr peers[UDP_BATCH];
    _Alignas(struct cmsghdr) uint8_t control[UDP_BATCH][CONTROL_BYTES];
    uint8_t bytes[UDP_BATCH][UDP_BUFFER_BYTES];
};

struct udp_batch *udp_batch_new(void)
{
    struct udp_batch *b = malloc(sizeof(*b)); /* 1 MiB, touched as far as it is used */

    if (!b)
        return NULL;
    for (unsigned i = 0; i < UDP_BATCH; i++) {
        b->pieces[i] = (struct iovec){b->bytes[i], UDP_BUFFER_BYTES};
        b->messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &b->pieces[i], .msg_iovlen = 1}};
    }
    return b;
}

void udp_batch_free(struct udp_batch *b)
{
    free(b);
}

int udp_batch_receive(struct udp_batch *b, int fd)
{
    int n;

    for (unsigned i = 0; i < UDP_BATCH; i++) {
        struct msghdr *m = &b->messages[i].msg_hdr;

        m->msg_name = &b->peers[i];
        m->msg_namelen = sizeof(b->peers[i]);
        m->msg_control = b->control[i];
        m->msg_controllen = CONTROL_BYTES;
        m->msg_flags = 0;
    }
    n = recvmmsg(fd, b->messages, UDP_BATCH, 0, NULL);
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -errno;
}

static void read_control(struct msghdr *m, struct udp_arrival *out)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;

            memcpy(&info, CMSG_DATA(c), sizeof(info));
            out->local.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = info.ipi_addr};
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;

            memcpy(&info, CMSG_DATA(c), sizeof(info));
            out->local.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6,
                                                   .sin6_addr = info.ipi6_addr,
                                                   .sin6_scope_id = info.ipi6_ifindex};
        } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            int segment;

            memcpy(&segment, CMSG_DATA(c), sizeof(segment));
            if (segment > 0)
                out->segment = (size_t)segment;
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
            memcpy(&out->dropped, CMSG_DATA(c), sizeof(out->dropped));
        }
    }
}

void udp_batch_get(const struct udp_batch *b, unsigned i, struct udp_arrival *out)
{
    struct msghdr m = b->messages[i].msg_hdr;
    size_t len = b->messages[i].msg_len;

    *out = (struct udp_arrival){.peer = b->peers[i],
                                .bytes = b->bytes[i],
                                .len = len,
                                .segment = MAX(len, 1u),
                                .is_cut = (m.msg_flags & MSG_TRUNC) != 0};
    read_control(&m, out);
}

static void try_option(int fd, int level, int name, int value)
{
    (void)!setsockopt(fd, level, name, &value, sizeof(value)); /* a kernel without it works too */
}

/* Past net.core.rmem_max only for root. */
static void ask_for_room(int fd, int bytes)
{
    try_option(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0)
        try_option(fd, SOL_SOCKET, SO_RCVBUF, bytes);
}

void udp_socket_set_public(int fd, int family)
{
    if (family == AF_INET6)
        try_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    else
        try_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
    try_option(fd, IPPROTO_UDP, UDP_GRO, 1);
    ask_for_room(fd, UDP_SOCKET_BYTES);
}

int udp_socket_connect(const union addr *to)
{
    int fd = socket(to->sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), err;

    if (fd < 0)
        return -errno;
    ask_for_room(fd, UDP_ANSWER_BYTES);
    if (connect(fd, &to->sa, addr_len(to)) == 0)
        return fd;
    err = errno;
    close(fd);
    return -err;
}

#define SEND_CONTROL_BYTES (CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(uint16_t)))

/* The answer leaves from the address that was asked. */
static void put_local(struct msghdr *m, uint8_t *control, const union addr *local)
{
    struct cmsghdr *c = (struct cmsghdr *)(void *)control;

    m->msg_control = control;
    if (local->sa.sa_family == AF_INET) {
        struct in_pktinfo info = {.ipi_spec_dst = local->in.sin_addr};

        m->msg_controllen = CMSG_SPACE(sizeof(info));
        *c = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof(info)), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO};
        memcpy(CMSG_DATA(c), &info, sizeof(info));
    } else {
        struct in6_pktinfo info = {.ipi6_addr = local->in6.sin6_addr};

        if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
            info.ipi6_ifindex = local->in6.sin6_scope_id;
        m->msg_controllen = CMSG_SPACE(sizeof(info));
        *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(info)),
                              .cmsg_level = IPPROTO_IPV6,
                              .cmsg_type = IPV6_PKTINFO};
        memcpy(CMSG_DATA(c), &info, sizeof(info));
    }
}

/* Behind what put_local() made. */
static void put_segment(struct msghdr *m, uint8_t *control, uint16_t segment)
{
    struct cmsghdr *c = (struct cmsghdr *)(void *)(control + m->msg_controllen);

    m->msg_control = control;
    *c = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof(segment)), .cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT};
    memcpy(CMSG_DATA(c), &segment, sizeof(segment));
    m->msg_controllen += CMSG_SPACE(sizeof(segment));
}

static int send_message(int fd, const union addr *peer, const union addr *local, uint16_t segment,
                        const struct iovec *pieces, size_t count)
{
    _Alignas(struct cmsghdr) uint8_t control[SEND_CONTROL_BYTES] = {0};
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)pieces, .msg_iovlen = count};

    if (peer) {
        m.msg_name = (void *)(uintptr_t)peer;
        m.msg_namelen = addr_len(peer);
    }
    if (local && local->sa.sa_family != 0)
        put_local(&m, control, local);
    if (segment > 0)
        put_segment(&m, control, segment);
    return sendmsg(fd, &m, MSG_NOSIGNAL) >= 0 ? 0 : -errno;
}

int udp_socket_send(int fd, const union addr *peer, const union addr *local,
                    const struct iovec *pieces, size_t count)
{
    return send_message(fd, peer, local, 0, pieces, count);
}

/* --- outbox ----------------------------------------------------------------------------------- */

void udp_outbox_init(struct udp_outbox *box, void *owner,
                     void (*on_error)(struct udp_outbox *box, int err))
{
    memset(box, 0, offsetof(struct udp_outbox, bytes));
    box->fd = -1;
    box->owner = owner;
    box->on_error = on_error;
}

/* Is about this datagram, and would be so again. */
static bool is_own_error(int err)
{
    return err == -EAGAIN || err == -ENOBUFS || err == -EMSGSIZE;
}

/* An error that waited on the socket (ICMP) is about an earlier datagram, and a firewall's EPERM
 * may be once: so each is tried twice. */
static void send_plain(struct udp_outbox *box, size_t at, size_t n)
{
    const union addr *peer = box->has_peer ? &box->peer : NULL;
    struct iovec piece = {box->bytes + at, n};
    int err = udp_socket_send(box->fd, peer, &box->local, &piece, 1);

    if (err && !is_own_error(err))
        err = udp_socket_send(box->fd, peer, &box->local, &piece, 1);
    if (err)
        box->on_error(box, err);
}

static bool send_bundle(struct udp_outbox *box)
{
    struct iovec piece = {box->bytes, box->len};
    int err;

    if (box->plain_left > 0) {
        box->plain_left--;
        return false;
    }
    err = send_message(box->fd, box->has_peer ? &box->peer : NULL, &box->local,
                       (uint16_t)box->segment, &piece, 1);
    if (err == 0) {
        box->bundles++;
        return true;
    }
    if (err == -EIO || err == -EINVAL || err == -EOPNOTSUPP || err == -EMSGSIZE) {
        box->refused++; /* the device, or the path's MTU: told only here, and even after it worked
                         */
        box->plain_left = PLAIN_AFTER;
    }
    return false;
}

void udp_outbox_flush(struct udp_outbox *box)
{
    if (box->fd < 0)
        return;
    if (box->count == 1 || !send_bundle(box))
        for (size_t i = 0; i < box->count; i++)
            send_plain(box, i * box->segment, MIN(box->segment, box->len - i * box->segment));
    box->fd = -1;
    box->len = box->count = 0;
}

void udp_outbox_forget(struct udp_outbox *box, int fd)
{
    if (fd >= 0 && box->fd == fd)
        udp_outbox_flush(box);
}

static bool fits(const struct udp_outbox *box, int fd, const union addr *peer,
                 const union addr *local, size_t n)
{
    return box->fd == fd && !box->is_closed && box->count < SEGMENTS_MAX && n > 0 &&
           n <= box->segment && box->segment <= SEGMENT_MAX && box->len + n <= BUNDLE_MAX &&
           box->has_peer == (peer != NULL) &&
           (!peer || memcmp(peer, &box->peer, addr_len(peer)) == 0) &&
           (!local || memcmp(local, &box->local, sizeof(*local)) == 0);
}

void udp_outbox_add(struct udp_outbox *box, int fd, const union addr *peer, const union addr *local,
                    const struct iovec *pieces, size_t count)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++)
        n += pieces[i].iov_len;
    must(n <= sizeof(box->bytes));
    if (!fits(box, fd, peer, local, n)) {
        udp_outbox_flush(box);
        box->fd = fd;
        box->has_peer = peer != NULL;
        box->segment = n;
        box->peer = peer ? *peer : (union addr){0};
        box->local = local ? *local : (union addr){0};
        box->is_closed = false;
    }
    box->is_closed = n < box->segment;
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].iov_len > 0)
            memcpy(box->bytes + box->len, pieces[i].iov_base, pieces[i].iov_len);
        box->len += pieces[i].iov_len;
    }
    box->count++;
}
