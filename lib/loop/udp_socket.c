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

/* The answer leaves from the address that was asked. */
static void put_local(struct msghdr *m, const union addr *local)
{
    struct cmsghdr *c = m->msg_control;

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

static void put_segment(struct msghdr *m, struct udp_control *control, uint16_t segment)
{
    struct cmsghdr *c = (struct cmsghdr *)(void *)(control->bytes + m->msg_controllen);

    *c = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof(segment)), .cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT};
    memcpy(CMSG_DATA(c), &segment, sizeof(segment));
    m->msg_controllen += CMSG_SPACE(sizeof(segment));
}

void udp_control_put(struct msghdr *m, struct udp_control *control, const union addr *local,
                     uint16_t segment)
{
    memset(control->bytes, 0, sizeof(control->bytes)); /* the kernel sees the gaps too */
    m->msg_control = control->bytes;
    m->msg_controllen = 0;
    if (local && local->sa.sa_family != 0)
        put_local(m, local);
    if (segment > 0)
        put_segment(m, control, segment);
    if (m->msg_controllen == 0)
        m->msg_control = NULL;
}

int udp_socket_send(int fd, const union addr *peer, const union addr *local,
                    const struct iovec *pieces, size_t count)
{
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)pieces, .msg_iovlen = count};
    struct udp_control control;

    if (peer) {
        m.msg_name = (void *)(uintptr_t)peer;
        m.msg_namelen = addr_len(peer);
    }
    udp_control_put(&m, &control, local, 0);
    return sendmsg(fd, &m, MSG_NOSIGNAL) >= 0 ? 0 : -errno;
}
