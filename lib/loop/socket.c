/* socket - see socket.h. */
#include "loop/socket.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

#define KEEPALIVE_IDLE_SECS     3
#define KEEPALIVE_INTERVAL_SECS 1
#define KEEPALIVE_PROBES        3
#define USER_TIMEOUT_MS         6000
#define PEER_IDLE_SECS          60
#define PEER_INTERVAL_SECS      10
#define PEER_PROBES             6
#define UNSENT_BYTES_MAX        131072

ssize_t socket_read(int fd, const struct iovec *pieces, size_t count)
{
    ssize_t n;

    do
        n = count == 1 ? recv(fd, pieces->iov_base, pieces->iov_len, MSG_DONTWAIT)
                       : readv(fd, pieces, (int)count);
    while (n < 0 && errno == EINTR);
    return n;
}

static ssize_t write_pieces(int fd, const struct iovec *pieces, size_t count, int more)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)pieces, .msg_iovlen = count};
    int flags = MSG_NOSIGNAL | MSG_DONTWAIT | more;
    ssize_t n;

    do
        n = count == 1 ? send(fd, pieces->iov_base, pieces->iov_len, flags)
                       : sendmsg(fd, &message, flags);
    while (n < 0 && errno == EINTR);
    return n;
}

ssize_t socket_write(int fd, const struct iovec *pieces, size_t count)
{
    return write_pieces(fd, pieces, count, 0);
}

ssize_t socket_write_last(int fd, const struct iovec *pieces, size_t count)
{
    return write_pieces(fd, pieces, count, MSG_MORE);
}

bool socket_is_answered(int fd)
{
    struct pollfd at = {.fd = fd, .events = POLLOUT};

    return poll(&at, 1, 0) > 0;
}

/* An option that cannot be set costs comfort, not the connection. */
static void set_option(int fd, int level, int option, int value)
{
    if (setsockopt(fd, level, option, &value, sizeof(value)) != 0)
        log_debug("loop", "socket_option_refused", LOG_I("option", option),
                  LOG_S("error", strerrordesc_np(errno)));
}

void socket_set_tunnel_options(int fd)
{
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_SECS);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECS);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
    set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX);
    socket_set_nodelay(fd);
}

void socket_set_nodelay(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

void socket_set_keepalive(int fd)
{
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, PEER_IDLE_SECS);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, PEER_INTERVAL_SECS);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, PEER_PROBES);
}

void socket_set_reset_on_close(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)); /* else it is a FIN: no harm */
}

void socket_set_fin_on_close(int fd)
{
    struct linger off = {0};

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof(off));
}

int socket_error(int fd)
{
    int error = 0;
    socklen_t len = sizeof(error);

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : 0;
}

int socket_queued(int fd)
{
    int n = 0;

    return ioctl(fd, SIOCOUTQ, &n) == 0 ? n : 0;
}

unsigned long rlimit_raise_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};

        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            limit = raised;
    }
    return (unsigned long)limit.rlim_cur;
}
