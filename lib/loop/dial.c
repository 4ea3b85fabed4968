/* dial - see dial.h. */
#include "loop/dial.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "loop/socket.h"

/* The only writer of d->state. */
static void dial_enter(struct dial *d, enum dial_state to)
{
    must(d->state != to);
    must(to != DIAL_RESOLVING || d->state == DIAL_IDLE);
    must(to != DIAL_CONNECTING || d->state == DIAL_RESOLVING);
    d->state = to;
}

/* The one attempt under way, if any. */
static void attempt_close(struct dial *d)
{
    if (d->fd < 0)
        return;
    loop_io_arm(&d->io, 0);
    close(d->fd);
    d->fd = -1;
}

static void finish(struct dial *d, int err)
{
    union addr peer;
    bool has_peer = d->next > 0;
    int fd = -1;

    if (has_peer)
        peer = d->addrs[d->next - 1];
    if (err == 0) {
        loop_io_arm(&d->io, 0);
        fd = d->fd;
        d->fd = -1;
    }
    attempt_close(d);
    deadline_off(&d->deadline);
    resolve_cancel(&d->query);
    dial_enter(d, DIAL_IDLE);
    d->on_done(d, fd, err, has_peer ? &peer : NULL);
}

/* What the last failure makes of the whole dial. */
static int name_error(int last_errno)
{
    switch (last_errno) {
    case ETIMEDOUT:
        return -ERR_TIMEOUT;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EAGAIN:        /* connect(2): no local port is free */
    case EADDRNOTAVAIL: /* the same, of a port range used up */
        return -ERR_SYS;
    default:
        return -ERR_CONNECT;
    }
}

/* A closed port of this machine, dialled from the very same port number, answers itself (TCP's
 * simultaneous open): nobody is there. */
static bool is_self(const struct dial *d)
{
    union addr local = {0}, peer = {0};
    socklen_t local_len = sizeof(local), peer_len = sizeof(peer);

    return getsockname(d->fd, &local.sa, &local_len) == 0 &&
           addr_port(&local) == addr_port(&d->addrs[d->next - 1]) &&
           getpeername(d->fd, &peer.sa, &peer_len) == 0 && addr_is_same(&local, &peer);
}

static void on_writable(struct loop_io *io, unsigned events);

/* A target on this machine, or a few microseconds away, has answered by now: then the loop need not
 * tell. */
static int connect_now(int fd, const union addr *to)
{
    int err = connect(fd, &to->sa, addr_len(to)) == 0 ? 0 : errno;

    if (err == EINPROGRESS)
        err = connect(fd, &to->sa, addr_len(to)) == 0 ? 0 : errno;
    return err == EALREADY ? EINPROGRESS : err;
}

/* 0: under way or connected (then `*is_open`), or an errno. */
static int attempt_start(struct dial *d, const union addr *to, bool *is_open)
{
    int err;

    *is_open = false;
    d->fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (d->fd < 0)
        return errno;
    loop_io_init(&d->io, d->loop, d->fd, on_writable);
    socket_set_nodelay(d->fd);
    if (d->congestion)
        congestion_before_connect(d->congestion, d->fd, to);
    do {
        err = connect_now(d->fd, to);
    } while (err == EINTR);
    if (err == 0)
        *is_open = true;
    return err == EINPROGRESS ? 0 : err;
}

/* The pump: tries addresses until one is under way, is reached, or none is left. */
static void dial_run(struct dial *d)
{
    while (d->next < d->count) {
        uint64_t now = loop_now_ms(d->loop);
        bool is_open;
        int err;

        if (now >= d->total_due_ms) {
            finish(d, -ERR_TIMEOUT);
            return;
        }
        err = attempt_start(d, &d->addrs[d->next++], &is_open);
        if (err == 0 && is_open && is_self(d))
            err = ECONNREFUSED;
        if (err == 0 && is_open) {
            finish(d, 0);
            return;
        }
        if (err == 0) {
            loop_io_arm(&d->io, LOOP_WRITE);
            deadline_set(&d->deadline, MIN(d->address_ms, d->total_due_ms - now));
            return;
        }
        d->last_errno = err;
        attempt_close(d);
    }
    finish(d, name_error(d->last_errno));
}

static void take_result(struct dial *d)
{
    int err = 0;
    socklen_t len = sizeof(err);

    if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
        err = errno;
    if (err == 0 && is_self(d))
        err = ECONNREFUSED;
    if (err == 0) {
        finish(d, 0);
        return;
    }
    d->last_errno = err;
    attempt_close(d);
    dial_run(d);
}

static void on_writable(struct loop_io *io, unsigned events)
{
    (void)events;
    take_result(container_of(io, struct dial, io));
}

static void on_due(struct deadline *deadline)
{
    struct dial *d = container_of(deadline, struct dial, deadline);

    if (d->fd >= 0 && socket_is_answered(d->fd)) {
        take_result(d);
        return;
    }
    d->last_errno = ETIMEDOUT;
    if (d->state == DIAL_RESOLVING || loop_now_ms(d->loop) >= d->total_due_ms) {
        finish(d, -ERR_TIMEOUT);
        return;
    }
    attempt_close(d);
    dial_run(d);
}

/* Families alternate, so that one that leads nowhere costs one address_ms, not all of them. */
static void take_alternating(struct dial *d, const union addr *addrs, unsigned count)
{
    sa_family_t first = addrs[0].sa.sa_family;
    unsigned at[2] = {0, 0}; /* the next of the first family, of the other */

    d->count = 0;
    for (unsigned turn = 0; d->count < count; turn = !turn) {
        while (at[turn] < count && (addrs[at[turn]].sa.sa_family != first) != (turn == 1))
            at[turn]++;
        if (at[turn] < count)
            d->addrs[d->count++] = addrs[at[turn]++];
    }
}

static void on_addresses(struct resolve *q, const union addr *addrs, unsigned count, int err)
{
    struct dial *d = container_of(q, struct dial, query);

    if (err != 0) {
        finish(d, err);
        return;
    }
    take_alternating(d, addrs, MIN(count, DIAL_ADDRESSES_MAX));
    dial_enter(d, DIAL_CONNECTING);
    dial_run(d);
}

static void on_begin(struct ready *ready)
{
    struct dial *d = container_of(ready, struct dial, begin);

    dial_enter(d, DIAL_CONNECTING);
    dial_run(d);
}

void dial_init(struct dial *d, struct loop *loop, struct resolver *resolver,
               void (*on_done)(struct dial *d, int fd, int err, const union addr *peer))
{
    *d = (struct dial){.loop = loop, .resolver = resolver, .fd = -1, .on_done = on_done};
    deadline_init(&d->deadline, loop, on_due);
    ready_init(&d->begin, on_begin);
}

void dial_start(struct dial *d, const char *host, uint16_t port, unsigned address_ms,
                unsigned total_ms)
{
    must(address_ms > 0);
    must(total_ms > 0);
    dial_enter(d, DIAL_RESOLVING);
    d->count = d->next = 0;
    d->last_errno = 0;
    d->address_ms = address_ms;
    deadline_set(&d->deadline, total_ms);
    d->total_due_ms = d->deadline.due_ms;
    if (addr_parse_host(&d->addrs[0], host, port) == 0) {
        d->count = 1;
        loop_again(d->loop, &d->begin);
        return;
    }
    must(d->resolver != NULL);
    resolve_start(&d->query, d->resolver, host, port, on_addresses);
}

void dial_cancel(struct dial *d)
{
    if (d->state == DIAL_IDLE)
        return;
    ready_cancel(&d->begin);
    resolve_cancel(&d->query);
    attempt_close(d);
    deadline_off(&d->deadline);
    dial_enter(d, DIAL_IDLE);
}
