/* quic_bind - UDP sockets for QUIC, and the program by which the kernel gives each connection's
 * packets to one of them.
 *
 * The program (classic BPF, which needs no privilege) returns the first byte of the destination
 * connection id modulo the number of sockets; a socket's number is its place in the order of
 * binding.  The id begins at byte 1 of a short header, at byte 6 of a long one (RFC 8999).  So a
 * packet finds its worker whatever address it comes from; whoever has a connection's ids made with
 * that first byte gets it.
 */
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <unistd.h>

#include "quic/quic.h"

#define SOCKET_BUFFER_BYTES (4 << 20)
#define SHORT_ID_AT         1
#define LONG_ID_AT          6

/* An option that cannot be had costs speed or comfort, not the connection. */
static void prefer(int fd, int level, int option, int value)
{
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

static bool require(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) == 0;
}

static void want_buffer(int fd, int force, int option)
{
    if (!require(fd, SOL_SOCKET, force, SOCKET_BUFFER_BYTES))
        prefer(fd, SOL_SOCKET, option, SOCKET_BUFFER_BYTES);
}

/* No packet is to be fragmented, by us or on the way, or path MTU discovery would believe in what
 * routers drop; PROBE lets us send what the kernel thinks too large. */
static bool set_options(int fd, sa_family_t family)
{
    want_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
    want_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
    prefer(fd, IPPROTO_UDP, UDP_GRO, 1);
    if (family == AF_INET6) {
        prefer(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
        return require(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) &&
               require(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    }
    prefer(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    return require(fd, IPPROTO_IP, IP_PKTINFO, 1);
}

/* A descriptor, or -errno. */
static int bind_one(const union addr *at, bool is_shared)
{
    int fd = socket(at->sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), err;

    if (fd < 0)
        return -errno;
    if ((!is_shared || require(fd, SOL_SOCKET, SO_REUSEPORT, 1)) &&
        set_options(fd, at->sa.sa_family) && bind(fd, &at->sa, addr_len(at)) == 0)
        return fd;
    err = errno;
    close(fd);
    return -err;
}

static int attach(int fd, unsigned count)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x80, 0, 2),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, LONG_ID_AT),
        BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, SHORT_ID_AT),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, count),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    struct sock_fprog program = {.len = ARRAY_LEN(code), .filter = code};

    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) != 0)
        return -errno;
    return 0;
}

static int learn_bound(int fd, union addr *out)
{
    socklen_t len = sizeof(*out);

    memset(out, 0, sizeof(*out));
    return getsockname(fd, &out->sa, &len) == 0 ? 0 : -errno;
}

static void close_all(int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        close(fds[i]);
        fds[i] = -1;
    }
}

/* SO_REUSEPORT would let us join strangers: a socket without it says whether there are any, and
 * goes at once, since it would be in the way of the others.  The first of a shared port 0 learns
 * the kernel's choice. */
static int check_free(const union addr *at)
{
    int fd;

    if (addr_port(at) == 0)
        return 0;
    fd = bind_one(at, false);
    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

int quic_bind(const union addr *at, unsigned count, int *fds, union addr *bound)
{
    union addr where = *at;
    unsigned done = 0;
    int err;

    must(count > 0 && count <= 256);
    if (addr_len(at) == 0)
        return -EAFNOSUPPORT;
    err = count > 1 ? check_free(at) : 0;
    while (err == 0 && done < count) {
        fds[done] = bind_one(&where, count > 1);
        if (fds[done] < 0)
            err = fds[done];
        else if (done++ == 0)
            err = learn_bound(fds[0], &where);
    }
    if (err == 0 && count > 1)
        err = attach(fds[0], count);
    if (err != 0) {
        close_all(fds, done);
        return err;
    }
    if (bound)
        *bound = where;
    return 0;
}
