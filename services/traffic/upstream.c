/* upstream - see upstream.h.  What goes through it for an exchange is upstream_pump.c. */
#include "traffic/upstream_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop/socket.h"
#include "tls/tls.h"
#include "traffic/exchange.h"
#include "traffic/traffic_worker_internal.h"

#define QUIET_TRIES 16u /* kept connections that are looked at for one that needs no call */

static const unsigned next_of[] = {
#define X(name, next) [UPSTREAM_##name] = (next),
    UPSTREAM_STATES(X)
#undef X
};

static void upstream_free(struct reap *reap)
{
    free(container_of(reap, struct upstream, reap));
}

static void close_upstream(struct upstream *u)
{
    struct traffic_worker *w = u->worker;

    deadline_off(&u->deadline);
    loop_io_arm(&u->io, 0);
    ready_cancel(&u->ready);
    if (u->tls && tls_error(u->tls) == 0) {
        tls_bye(u->tls);
        (void)!tls_flush(u->tls); /* what the socket takes */
    }
    tls_free(u->tls);
    u->tls = NULL;
    u->in_len = 0;
    close(u->fd);
    u->fd = -1;
    h1_gather_fini(&u->gather);
    h1_body_fini(&u->body);
    u->exchange = NULL;
    list_remove(&u->node);
    u->pool->open--;
    COUNT_DOWN(w, upstreams_open);
    loop_reap(w->loop, &u->reap);
}

static void leave_idle(struct upstream *u)
{
    list_remove(&u->idle_node);
    u->pool->idle_count--;
    COUNT_DOWN(u->worker, upstreams_idle);
}

/* The route's own, or the service's. */
void upstream_touch(struct upstream *u)
{
    const struct route_options *options = u->exchange ? u->exchange->options : NULL;
    uint64_t ms = (uint64_t)u->worker->settings->timeouts.body_idle_secs * 1000;

    deadline_set(&u->deadline, options && options->silence_ms ? options->silence_ms : ms);
}

/* The only writer of u->state. */
void upstream_enter(struct upstream *u, enum upstream_state to)
{
    must(next_of[u->state] & BIT(to));
    if (u->state == UPSTREAM_IDLE)
        leave_idle(u);
    u->state = to;
    switch (to) {
    case UPSTREAM_CONNECTING:
    case UPSTREAM_HANDSHAKE: /* of the time for the whole attempt */
        break;
    case UPSTREAM_ACTIVE:
        upstream_touch(u);
        break;
    case UPSTREAM_IDLE:
        deadline_set(&u->deadline, UPSTREAM_IDLE_MS);
        list_push(u->pool->idle.next, &u->idle_node); /* in front: the warmest is taken first */
        u->pool->idle_count++;
        COUNT(u->worker, upstreams_idle);
        break;
    case UPSTREAM_RELAY:
        deadline_off(&u->deadline); /* the client's counts */
        break;
    case UPSTREAM_DEAD:
        close_upstream(u);
        break;
    case UPSTREAM_STATE_COUNT:
        must(!"a state");
    }
}

void upstream_lose(struct upstream *u, enum traffic_reason reason)
{
    struct exchange *x = u->exchange;
    bool had_answer = u->has_bytes, was_kept = u->served > 0;

    u->exchange = NULL;
    upstream_enter(u, UPSTREAM_DEAD);
    if (x)
        exchange_on_lost(x, reason, had_answer, was_kept);
}

/* --- running ------------------------------------------------------------------------------ */

/* The only place that starts and stops watchers. */
static void upstream_arm(struct upstream *u)
{
    unsigned events = 0;

    switch (u->state) {
    case UPSTREAM_CONNECTING:
        events = LOOP_WRITE;
        break;
    case UPSTREAM_HANDSHAKE:
        events = tls_wants(u->tls);
        break;
    case UPSTREAM_ACTIVE:
    case UPSTREAM_RELAY:
        if (!u->is_paused && !u->is_eof)
            events |= LOOP_READ;
        if (u->is_write_blocked && !u->is_write_broken)
            events |= LOOP_WRITE;
        break;
    case UPSTREAM_IDLE:
        events = LOOP_READ;
        break;
    case UPSTREAM_DEAD:
    case UPSTREAM_STATE_COUNT:
        return;
    }
    loop_io_arm(&u->io, events);
}

/* The only pump. */
static void upstream_run(struct upstream *u)
{
    if (u->exchange && (u->state == UPSTREAM_ACTIVE || u->state == UPSTREAM_RELAY)) {
        upstream_write(u);
        upstream_read(u);
        if (u->state == UPSTREAM_RELAY && u->exchange && u->is_eof &&
            (u->is_write_shut || u->is_write_broken)) {
            struct exchange *x = u->exchange;

            upstream_enter(u, UPSTREAM_DEAD);
            exchange_on_relay_over(x);
        }
    }
    upstream_arm(u);
}

static void fail_to_connect(struct upstream *u, bool is_timeout)
{
    struct exchange *x = u->exchange;

    u->exchange = NULL;
    upstream_enter(u, UPSTREAM_DEAD);
    exchange_on_unreachable(x, is_timeout);
}

static void become_active(struct upstream *u)
{
    COUNT(u->worker, upstream_connects);
    upstream_enter(u, UPSTREAM_ACTIVE);
    exchange_on_connected(u->exchange);
}

static void handshake_step(struct upstream *u)
{
    struct traffic_worker *w = u->worker;

    switch (tls_handshake(u->tls)) {
    case IO_OK:
        u->is_readable = true; /* its first records may be here already */
        become_active(u);
        return;
    case IO_WAIT:
        return;
    case IO_EOF:
    case IO_FAIL:
        break;
    }
    if (log_limit_pass(&w->refusals, loop_now_ms(w->loop)))
        log_warn("traffic", "upstream_tls_failed", LOG_S("target", u->pool->key),
                 LOG_S("error", tls_error_text(u->tls)));
    fail_to_connect(u, false);
}

static void on_connected(struct upstream *u)
{
    const struct origin_tls *tls = u->pool->tls;
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(u->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
        fail_to_connect(u, false);
    } else if (!tls) {
        become_active(u);
    } else if (tls_new_client(&u->tls, tls->ctx, loop_pool(u->worker->loop), u->fd,
                              tls->name[0] ? tls->name : NULL) != 0) {
        fail_to_connect(u, false);
    } else {
        upstream_enter(u, UPSTREAM_HANDSHAKE);
        handshake_step(u);
    }
}

/* What comes while nobody asked: the end, or bytes that belong to nothing.  TLS may have said
 * something of its own (a session ticket). */
static bool is_still_silent(struct upstream *u)
{
    const uint8_t *bytes;
    size_t n;

    return u->tls && tls_read(u->tls, &bytes, &n) == IO_WAIT && tls_flush(u->tls) == IO_OK;
}

static void on_event(struct loop_io *io, unsigned events)
{
    struct upstream *u = container_of(io, struct upstream, io);

    if (u->state == UPSTREAM_IDLE) {
        if (!is_still_silent(u))
            upstream_enter(u, UPSTREAM_DEAD);
        return;
    }
    if (u->state == UPSTREAM_CONNECTING)
        on_connected(u);
    else if (u->state == UPSTREAM_HANDSHAKE)
        handshake_step(u);
    else if (events & LOOP_WRITE)
        u->is_write_blocked = false;
    if (events & LOOP_READ)
        u->is_readable = true;
    upstream_run(u);
}

/* As with a client: what moves now is in time. */
static bool is_saved(struct upstream *u)
{
    if (u->state == UPSTREAM_CONNECTING && socket_is_answered(u->fd)) {
        on_connected(u);
        upstream_run(u);
        return u->state != UPSTREAM_HANDSHAKE; /* no time is left for that */
    }
    if (u->state != UPSTREAM_ACTIVE)
        return false;
    u->is_readable = u->is_readable || !u->is_paused;
    u->is_write_blocked = false;
    upstream_run(u);
    return u->state != UPSTREAM_ACTIVE || deadline_is_set(&u->deadline);
}

static void on_due(struct deadline *d)
{
    struct upstream *u = container_of(d, struct upstream, deadline);
    struct exchange *x = u->exchange;

    if (is_saved(u))
        return;
    switch (u->state) {
    case UPSTREAM_CONNECTING:
    case UPSTREAM_HANDSHAKE:
        fail_to_connect(u, true);
        return;
    case UPSTREAM_IDLE:
        upstream_enter(u, UPSTREAM_DEAD);
        return;
    case UPSTREAM_ACTIVE:
        if (u->is_paused || exchange_waits_for_client(x)) { /* the client's deadlines count */
            upstream_touch(u);
            return;
        }
        upstream_lose(u, REASON_UPSTREAM_TIMEOUT);
        return;
    case UPSTREAM_RELAY:
    case UPSTREAM_DEAD:
    case UPSTREAM_STATE_COUNT:
        return;
    }
}

static void on_ready(struct ready *ready)
{
    upstream_run(container_of(ready, struct upstream, ready));
}

/* --- life --------------------------------------------------------------------------------- */

static void begin(struct upstream *u, struct exchange *x)
{
    u->exchange = x;
    u->has_head = u->has_bytes = u->closes = u->is_readable = u->is_paused = false;
    u->scan = (struct h1_scan){0};
    h1_body_fini(&u->body);
}

/* Bytes or an end that the kernel has already and the loop did not tell yet would be taken for the
 * answer to the next request. */
static bool is_silent(struct upstream *u)
{
    char byte;

    if (u->tls)
        return is_still_silent(u);
    return recv(u->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* The same without a call: when the loop's poll has just found it silent.  What came since then,
 * bytes or an end, is like what comes while the request is on its way; after an end it is sent
 * again, so this is for requests of which that may be done. */
static bool was_silent(const struct upstream *u)
{
    return loop_io_was_quiet(&u->io) && !(u->tls && tls_has_input(u->tls));
}

/* The last used one that is silent; those that are not are closed. */
static struct upstream *find_kept(struct upstream_pool *pool, bool is_repeatable)
{
    unsigned tries = is_repeatable ? QUIET_TRIES : 0;

    LIST_EACH (&pool->idle, node, after) {
        struct upstream *u = container_of(node, struct upstream, idle_node);

        if (tries-- == 0)
            break;
        if (was_silent(u))
            return u;
    }
    LIST_EACH (&pool->idle, node, after) {
        struct upstream *u = container_of(node, struct upstream, idle_node);

        if (is_silent(u))
            return u;
        upstream_enter(u, UPSTREAM_DEAD);
    }
    return NULL;
}

struct upstream *upstream_take(struct traffic_worker *w, struct upstream_pool *pool,
                               struct exchange *x)
{
    struct upstream *u = find_kept(pool, x->is_repeatable);

    if (!u)
        return NULL;
    begin(u, x);
    upstream_enter(u, UPSTREAM_ACTIVE);
    COUNT(w, upstream_reuses);
    loop_again(w->loop, &u->ready);
    return u;
}

/* Too few descriptors or ports say nothing about the destination: -ERR_NOMEM, not -ERR_CONNECT. */
static int open_socket(const struct traffic_worker *w, const struct upstream_pool *pool, int *out)
{
    int fd = socket(pool->addr.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    *out = fd;
    if (fd < 0)
        return -ERR_NOMEM;
    socket_set_nodelay(fd);
    congestion_before_connect(w->congestion, fd, &pool->addr);
    if (connect(fd, &pool->addr.sa, addr_len(&pool->addr)) != 0 && errno != EINPROGRESS) {
        int error = errno;

        close(fd);
        *out = -1;
        return error == EADDRNOTAVAIL || error == ENOBUFS ? -ERR_NOMEM : -ERR_CONNECT;
    }
    return 0;
}

int upstream_connect(struct traffic_worker *w, struct upstream_pool *pool, struct exchange *x,
                     struct upstream **out)
{
    struct upstream *u;
    int rc;

    *out = NULL;
    if (pool->open >= (size_t)w->settings->limits.upstream_connections)
        return -ERR_LIMIT;
    u = calloc(1, sizeof(*u));
    if (!u)
        return -ERR_NOMEM;
    rc = open_socket(w, pool, &u->fd);
    if (rc != 0) {
        free(u);
        return rc;
    }
    u->worker = w;
    u->pool = pool;
    u->state = UPSTREAM_CONNECTING;
    loop_io_init(&u->io, w->loop, u->fd, on_event);
    deadline_init(&u->deadline, w->loop, on_due);
    ready_init(&u->ready, on_ready);
    reap_init(&u->reap, upstream_free);
    list_init(&u->idle_node);
    begin(u, x);
    deadline_set(&u->deadline, x->options && x->options->connect_ms
                                   ? x->options->connect_ms
                                   : (uint64_t)w->settings->timeouts.connect_secs * 1000);
    upstream_arm(u);
    pool->open++;
    COUNT(w, upstreams_open);
    list_push(&w->upstreams, &u->node);
    *out = u;
    return 0;
}

void upstream_wake(struct upstream *u)
{
    if (u->is_paused) {
        u->is_paused = false;
        u->is_readable = true;
    }
    loop_again(u->worker->loop, &u->ready);
}

void upstream_drop(struct upstream *u)
{
    if (u->state == UPSTREAM_DEAD)
        return;
    u->exchange = NULL;
    if (u->state != UPSTREAM_IDLE)
        upstream_enter(u, UPSTREAM_DEAD);
}

void upstream_close_all(struct traffic_worker *w, bool busy_ones_too)
{
    LIST_EACH (&w->upstreams, node, after) {
        struct upstream *u = container_of(node, struct upstream, node);

        if (u->state == UPSTREAM_IDLE)
            upstream_enter(u, UPSTREAM_DEAD);
        else if (busy_ones_too && u->exchange)
            upstream_lose(u, REASON_STOPPED);
        else if (busy_ones_too && u->state != UPSTREAM_DEAD)
            upstream_enter(u, UPSTREAM_DEAD);
    }
}
