/* listener - see listener.h. */
#include "loop/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

#define ACCEPT_FINISH_MAX 4096 /* of who is in the queue at the end: as many as it holds */

#define PORT_TRIES 16 /* a port that IPv6 took from the kernel may be in use on IPv4 */

static void close_all(int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        close(fds[i]);
        fds[i] = -1;
    }
}

/* A descriptor, bound and not listening yet, or -errno. */
static int bind_one(const union addr *at, int type, bool is_shared)
{
    int on = 1, err;
    int fd = socket(at->sa.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (type == SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
        goto fail;
    if (is_shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)
        goto fail;
    if (at->sa.sa_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0)
        goto fail;
    if (bind(fd, &at->sa, addr_len(at)) != 0)
        goto fail;
    return fd;
fail:
    err = errno;
    close(fd);
    return -err;
}

static int learn_bound(int fd, union addr *out)
{
    socklen_t len = sizeof(*out);

    memset(out, 0, sizeof(*out));
    return getsockname(fd, &out->sa, &len) == 0 ? 0 : -errno;
}

static int bind_set(const union addr *at, int type, unsigned count, int *fds)
{
    for (unsigned i = 0; i < count; i++) {
        int err = 0;

        fds[i] = bind_one(at, type, count > 1);
        if (fds[i] < 0) {
            err = fds[i];
            close_all(fds, i);
            return err;
        }
        if (type == SOCK_STREAM && listen(fds[i], LISTEN_BACKLOG) != 0) {
            err = -errno;
            close_all(fds, i + 1);
            return err;
        }
    }
    return 0;
}

/* For a shared port a probe, bound without SO_REUSEPORT, says whether anyone listens there, and
 * learns the port when the kernel chooses it.  It is kept open until the set listens, so that the
 * kernel gives the port to nobody else meanwhile; it never listens itself, so it is in nobody's
 * way.  One of UDP would be in the way of the set, so it is closed before. */
static int bind_all(const union addr *at, int type, unsigned count, int *fds, union addr *bound)
{
    union addr where = *at;
    int probe = -1, err = 0;

    must(count > 0);
    if (addr_len(at) == 0)
        return -EAFNOSUPPORT;
    if (count > 1) {
        probe = bind_one(at, type, false);
        if (probe < 0)
            return probe;
        err = learn_bound(probe, &where);
    }
    if (type == SOCK_DGRAM && probe >= 0) {
        close(probe);
        probe = -1;
    }
    if (err == 0)
        err = bind_set(&where, type, count, fds);
    if (probe >= 0)
        close(probe);
    if (err != 0)
        return err;
    err = learn_bound(fds[0], &where);
    if (err != 0) {
        close_all(fds, count);
        return err;
    }
    if (bound)
        *bound = where;
    return 0;
}

/* Errors by which a machine says that it has no such address family. */
static bool is_family_missing(int err)
{
    return err == -EAFNOSUPPORT || err == -EADDRNOTAVAIL || err == -EPFNOSUPPORT;
}

static int bind_both(const union addr *at, int type, unsigned count, int *fds, unsigned *sets,
                     union addr *bound)
{
    union addr v4 = {.in = {.sin_family = AF_INET}};
    int err = bind_all(at, type, count, fds, bound);

    *sets = 0;
    addr_set_port(&v4, addr_port(at));
    if (is_family_missing(err)) {
        err = bind_all(&v4, type, count, fds, bound);
        *sets = err == 0 ? 1 : 0;
        return err;
    }
    if (err != 0)
        return err;
    addr_set_port(&v4, addr_port(bound));
    err = bind_all(&v4, type, count, fds + count, NULL);
    *sets = err == 0 ? 2 : 1;
    if (err == 0 || is_family_missing(err))
        return 0;
    *sets = 0;
    close_all(fds, count);
    return err;
}

static int bind_any(const union addr *at, int type, unsigned count, int *fds, unsigned *sets,
                    union addr *bound)
{
    union addr where;
    int err;

    *sets = 0;
    if (at->sa.sa_family != AF_INET6 || !addr_is_any(at)) {
        err = bind_all(at, type, count, fds, bound);
        *sets = err == 0 ? 1 : 0;
        return err;
    }
    for (unsigned tries = 1;; tries++) {
        err = bind_both(at, type, count, fds, sets, &where);
        if (err != -EADDRINUSE || addr_port(at) != 0 || tries == PORT_TRIES)
            break;
    }
    if (err == 0 && bound)
        *bound = where;
    return err;
}

int listen_bind(const union addr *at, unsigned count, int *fds, union addr *bound)
{
    return bind_all(at, SOCK_STREAM, count, fds, bound);
}

int listen_bind_any(const union addr *at, unsigned count, int *fds, unsigned *sets,
                    union addr *bound)
{
    return bind_any(at, SOCK_STREAM, count, fds, sets, bound);
}

int listen_bind_udp(const union addr *at, unsigned count, int *fds, unsigned *sets,
                    union addr *bound)
{
    return bind_any(at, SOCK_DGRAM, count, fds, sets, bound);
}

static void acceptor_arm(struct acceptor *a)
{
    bool is_paused = a->pause.due_ms != 0;

    loop_io_arm(&a->io, a->fd >= 0 && !a->is_stopped && !is_paused ? LOOP_READ : 0);
}

static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* One client learns that there is no room.  Another thread may have taken the descriptor that we
 * gave up: then nobody learns it now. */
static void shed_one(struct acceptor *a)
{
    int fd;

    if (a->spare_fd < 0)
        return;
    close(a->spare_fd);
    fd = accept4(a->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        socket_set_reset_on_close(fd);
        close(fd);
    }
    a->spare_fd = open_spare();
}

static void pause_accepting(struct acceptor *a, int err)
{
    uint64_t times = atomic_fetch_add_explicit(&a->exhausted, 1, memory_order_relaxed) + 1;

    if (err == EMFILE || err == ENFILE)
        shed_one(a);
    if (log_limit_pass(&a->limit, loop_now_ms(a->io.loop))) {
        log_warn("loop", "accept_paused", LOG_S("error", strerrordesc_np(err)),
                 LOG_U("times", times), LOG_U("held", a->limit.held));
        a->limit.held = 0;
    }
    deadline_set(&a->pause, ACCEPT_PAUSE_MS);
}

/* What accept4() says of the one connection that it took from the queue, or of the network below it
 * (accept(2)): the next one may be fine. */
static bool is_passing(int err)
{
    switch (err) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
        return true;
    default:
        return false;
    }
}

static void take(struct acceptor *a, int fd, const union addr *peer)
{
    atomic_fetch_add_explicit(&a->accepted, 1, memory_order_relaxed);
    if (a->congestion)
        congestion_accepted(a->congestion, fd, peer);
    a->on_accept(a, fd, peer);
}

static void on_acceptable(struct loop_io *io, unsigned events)
{
    struct acceptor *a = container_of(io, struct acceptor, io);

    (void)events;
    for (unsigned i = 0; i < ACCEPT_BATCH && a->fd >= 0 && !a->is_stopped; i++) {
        union addr peer = {0};
        socklen_t len = sizeof(peer);
        int fd = accept4(a->fd, &peer.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            take(a, fd, &peer);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            break;
        } else if (!is_passing(errno)) {
            pause_accepting(a, errno);
            break;
        }
    }
    acceptor_arm(a);
}

static void on_pause_over(struct deadline *d)
{
    struct acceptor *a = container_of(d, struct acceptor, pause);

    if (a->spare_fd < 0)
        a->spare_fd = open_spare();
    acceptor_arm(a);
}

void acceptor_init(struct acceptor *a, struct loop *loop, int fd,
                   void (*on_accept)(struct acceptor *a, int fd, const union addr *peer))
{
    *a = (struct acceptor){.fd = fd, .is_stopped = true, .on_accept = on_accept};
    loop_io_init(&a->io, loop, fd, on_acceptable);
    deadline_init(&a->pause, loop, on_pause_over);
    a->spare_fd = open_spare();
    socket_set_nodelay(fd); /* what is accepted inherits it */
}

void acceptor_set_congestion(struct acceptor *a, const struct congestion *congestion)
{
    a->congestion = congestion;
    congestion_listen(congestion, a->fd);
}

void acceptor_start(struct acceptor *a)
{
    a->is_stopped = false;
    acceptor_arm(a);
}

void acceptor_stop(struct acceptor *a)
{
    a->is_stopped = true;
    acceptor_arm(a);
}

void acceptor_finish(struct acceptor *a)
{
    for (unsigned i = 0; i < ACCEPT_FINISH_MAX && a->io.loop && a->fd >= 0; i++) {
        union addr peer = {0};
        socklen_t len = sizeof(peer);
        int fd = accept4(a->fd, &peer.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            take(a, fd, &peer);
        } else if (!is_passing(errno)) {
            break;
        }
    }
    acceptor_fini(a);
}

void acceptor_fini(struct acceptor *a)
{
    if (!a->io.loop || a->fd < 0)
        return;
    a->is_stopped = true;
    deadline_off(&a->pause);
    acceptor_arm(a);
    close(a->fd);
    a->fd = -1;
    if (a->spare_fd >= 0)
        close(a->spare_fd);
    a->spare_fd = -1;
}
