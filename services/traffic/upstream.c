/* upstream - see upstream.h.
 *
 * Reading: one recv into the worker's scratch memory, of which everything is used up at once: heads
 * are parsed where they lie (or gathered when they come in pieces), payload goes to the exchange,
 * which hands it to the client's encryption.  So no answer's byte waits here, and never more is
 * read than the client has room for.
 *
 * Over TLS the plaintext of a record stays where TLS put it until there is room for all of it.
 *
 * Writing: the exchange's pieces in one sendmsg; over TLS gathered into records, which wait in
 * TLS's queue when the socket is full.  When the origin takes no more because it closed (EPIPE),
 * its answer may be there all the same (413 to a large upload): reading goes on.
 */
#include "traffic/upstream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop/socket.h"
#include "tls/tls.h"
#include "traffic/exchange.h"
#include "traffic/h1_response.h"
#include "traffic/traffic_worker_internal.h"

#define OUTPUT_PIECES 12u
#define TLS_OUT_MAX   65536u /* ciphertext that waits: then no more is encrypted */

static const unsigned next_of[] = {
#define X(name, next) [UPSTREAM_##name] = (next),
    UPSTREAM_STATES(X)
#undef X
};

static void upstream_free(struct reap *reap)
{
    free(container_of(reap, struct upstream, reap));
}

/* What TLS holds, as far as the socket takes it. */
static void flush_tls(struct upstream *u)
{
    enum io io = u->tls && !u->is_write_broken ? tls_flush(u->tls) : IO_OK;

    u->is_write_blocked = io == IO_WAIT || (u->is_write_blocked && !u->tls);
    u->is_write_broken |= io == IO_FAIL;
    u->is_readable |= io == IO_FAIL;
}

static void close_upstream(struct upstream *u)
{
    struct traffic_worker *w = u->worker;

    deadline_off(&u->deadline);
    loop_io_arm(&u->io, 0);
    ready_cancel(&u->ready);
    if (u->tls && tls_error(u->tls) == 0) {
        tls_bye(u->tls);
        flush_tls(u); /* what the socket takes */
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

/* Something moved: the origin's time begins anew.  The route's own, or the service's. */
static void touch(struct upstream *u)
{
    const struct route_options *options = u->exchange ? u->exchange->options : NULL;
    uint64_t ms = (uint64_t)u->worker->settings->timeouts.body_idle_secs * 1000;

    deadline_set(&u->deadline, options && options->silence_ms ? options->silence_ms : ms);
}

/* The only writer of u->state. */
static void upstream_enter(struct upstream *u, enum upstream_state to)
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
        touch(u);
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

/* The connection broke, or is not to be trusted any more: the exchange hears of it. */
static void lose(struct upstream *u, enum traffic_reason reason)
{
    struct exchange *x = u->exchange;
    bool had_answer = u->has_bytes, was_kept = u->served > 0;

    u->exchange = NULL;
    upstream_enter(u, UPSTREAM_DEAD);
    if (x)
        exchange_on_lost(x, reason, had_answer, was_kept);
}

/* --- reading ------------------------------------------------------------------------------ */

/* The answer is whole; `extra` bytes came behind it. */
static void finish_answer(struct upstream *u, struct http_fields *trailers, size_t extra)
{
    struct exchange *x = u->exchange;
    struct upstream_pool *pool = u->pool;
    bool is_sent = exchange_is_sent(x);
    bool is_good;

    extra += u->in_len;
    is_good = is_sent && extra == 0 && !u->closes && !u->is_eof && !u->is_write_broken &&
              !(u->tls && tls_out_len(u->tls) > 0);

    u->exchange = NULL;
    if (extra > 0)
        worker_count_reason(u->worker, REASON_UPSTREAM_EXTRA);
    exchange_on_end(x, trailers);
    h1_body_fini(&u->body);
    if (!is_good || pool->idle_count >= (size_t)u->worker->settings->limits.upstream_idle ||
        u->worker->is_draining) {
        upstream_enter(u, UPSTREAM_DEAD);
        return;
    }
    u->served++;
    upstream_enter(u, UPSTREAM_IDLE);
}

/* Gets at the next head's bytes.  *head is whole (returns true) or has to wait for more (false, all
 * n are used); u->state is DEAD when it cannot become one. */
static bool find_head(struct upstream *u, const uint8_t *p, size_t n, const char **head,
                      size_t *used)
{
    const struct h1_limits *limits = &u->worker->limits;
    size_t before = u->gather.len, added = n;
    const char *base = (const char *)p;
    enum traffic_reason reason;

    if (before > 0) {
        if (h1_gather_add(&u->gather, p, n, limits->head_bytes, &added) != 0) {
            lose(u, REASON_NO_MEMORY);
            return false;
        }
        base = u->gather.bytes;
    }
    reason = h1_scan_run(&u->scan, base, before + added, limits);
    if (reason != REASON_NONE) {
        lose(u, REASON_UPSTREAM_INVALID);
        return false;
    }
    if (u->scan.head_len == 0) {
        if (before == 0 && h1_gather_add(&u->gather, p, n, limits->head_bytes, &added) != 0)
            lose(u, REASON_NO_MEMORY);
        return false;
    }
    *head = base;
    *used = u->scan.head_len - before;
    return true;
}

/* A status line may be longer than a request line is allowed to be; only the head's size counts. */
static struct h1_limits head_limits(const struct traffic_worker *w)
{
    struct h1_limits limits = w->limits;

    limits.request_line_bytes = limits.head_bytes;
    return limits;
}

/* One head from the n bytes; returns how many it used, 0 when it is not whole or all is over. */
static size_t read_head(struct upstream *u, const uint8_t *p, size_t n)
{
    struct exchange *x = u->exchange;
    struct http_response *r = &u->worker->response;
    struct h1_limits limits = head_limits(u->worker);
    const char *head;
    size_t used;

    if (!find_head(u, p, n, &head, &used))
        return 0;
    if (h1_response_parse(r, head, &u->scan, &limits, x->is_head, NULL) != REASON_NONE) {
        lose(u, REASON_UPSTREAM_INVALID);
        return 0;
    }
    u->closes = r->wants_close || r->framing == HTTP_UNTIL_CLOSE;
    if (!exchange_on_head(x, r))
        return 0; /* dropped us */
    u->scan = (struct h1_scan){0};
    if (r->status == 101) {
        upstream_enter(u, UPSTREAM_RELAY);
    } else if (r->status >= 200) {
        u->has_head = true;
        h1_body_init(&u->body, loop_pool(u->worker->loop), r->framing, r->length);
    }
    h1_gather_fini(&u->gather);
    return used;
}

/* Goes on with the body; returns how many bytes it used. */
static size_t read_body(struct upstream *u, const uint8_t *p, size_t n)
{
    struct http_fields *trailers = &u->worker->trailers;
    struct h1_piece piece;

    switch (h1_body_run(&u->body, p, n, n > 0 ? n : 1, trailers, &piece)) {
    case H1_STEP_MORE:
        break;
    case H1_STEP_DATA:
        exchange_on_body(u->exchange, piece.payload, piece.payload_len);
        break;
    case H1_STEP_END:
        finish_answer(u, trailers, n - piece.used);
        break;
    case H1_STEP_BAD:
        lose(u, piece.reason == REASON_NO_MEMORY ? REASON_NO_MEMORY : REASON_UPSTREAM_INVALID);
        break;
    }
    return piece.used;
}

/* Uses up all n bytes. */
static void feed(struct upstream *u, const uint8_t *p, size_t n)
{
    u->has_bytes = true;
    while (u->exchange) {
        size_t used;

        if (u->state == UPSTREAM_RELAY) {
            if (n > 0)
                exchange_on_body(u->exchange, p, n);
            return;
        }
        if (u->has_head) {
            used = read_body(u, p, n);
            if (used == n && !(u->exchange && u->body.state == H1_BODY_NONE))
                return;
        } else {
            if (n == 0)
                return;
            used = read_head(u, p, n);
            if (used == 0)
                return;
        }
        p += used;
        n -= used;
    }
}

static void on_end_of_file(struct upstream *u)
{
    u->is_eof = true;
    if (u->state == UPSTREAM_RELAY) {
        exchange_on_end(u->exchange, NULL);
        return;
    }
    if (u->has_head && h1_body_eof(&u->body)) {
        u->worker->trailers.count = 0;
        finish_answer(u, &u->worker->trailers, 0);
        return;
    }
    lose(u, REASON_UPSTREAM_CLOSED);
}

/* The next bytes, at most `want`. */
static enum io receive_plain(struct upstream *u, size_t want, const uint8_t **bytes, size_t *n)
{
    ssize_t got;

    do
        got = recv(u->fd, u->worker->read, want, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == EAGAIN ? IO_WAIT : IO_FAIL;
    *bytes = u->worker->read;
    *n = (size_t)got;
    u->is_readable = *n == want;
    return got == 0 ? IO_EOF : IO_OK;
}

static enum io receive_tls(struct upstream *u, size_t want, const uint8_t **bytes, size_t *n)
{
    enum io io = u->in_len > 0 ? IO_OK : tls_read(u->tls, &u->in, &u->in_len);

    if (io == IO_WAIT && tls_flush(u->tls) == IO_FAIL) /* TLS may have answered by itself */
        return IO_FAIL;
    if (io != IO_OK)
        return io;
    *bytes = u->in;
    *n = MIN(want, u->in_len);
    u->in += *n;
    u->in_len -= *n;
    return IO_OK;
}

static void read_some(struct upstream *u)
{
    struct traffic_worker *w = u->worker;

    for (unsigned i = 0; u->exchange && u->is_readable && !u->is_eof; i++) {
        size_t room = exchange_client_room(u->exchange), want = MIN(room, sizeof(w->read)), n = 0;
        const uint8_t *bytes = NULL;

        u->is_paused = room < UPSTREAM_READ_MIN;
        if (u->is_paused)
            return;
        if (i == UPSTREAM_STEPS_MAX) {
            if (u->tls) /* what it holds makes no socket readable */
                loop_again(w->loop, &u->ready);
            return; /* else level-triggered: the loop comes back */
        }
        switch (u->tls ? receive_tls(u, want, &bytes, &n) : receive_plain(u, want, &bytes, &n)) {
        case IO_OK:
            break;
        case IO_WAIT:
            u->is_readable = false;
            return;
        case IO_EOF:
            on_end_of_file(u);
            return;
        case IO_FAIL:
            lose(u, REASON_UPSTREAM_CLOSED);
            return;
        }
        if (u->state == UPSTREAM_ACTIVE)
            touch(u);
        feed(u, bytes, n);
    }
}

/* --- writing ------------------------------------------------------------------------------ */

/* Sends pieces; how many bytes left, or -1. */
static ssize_t send_plain(struct upstream *u, struct iovec *pieces, size_t count)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    size_t offered = 0;
    ssize_t n;

    for (size_t i = 0; i < count; i++)
        offered += pieces[i].iov_len;
    do
        n = sendmsg(u->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        n = 0;
    u->is_write_blocked = n >= 0 && (size_t)n < offered;
    return n;
}

/* Into one record, which is TLS's from then on. */
static ssize_t send_tls(struct upstream *u, const struct iovec *pieces, size_t count)
{
    uint8_t *record = u->worker->read;
    size_t n = 0;

    for (size_t i = 0; i < count && n < TLS_RECORD_BYTES; i++) {
        size_t part = MIN(pieces[i].iov_len, TLS_RECORD_BYTES - n);

        memcpy(record + n, pieces[i].iov_base, part);
        n += part;
    }
    return tls_write(u->tls, record, n) == IO_OK ? (ssize_t)n : -1;
}

static void write_some(struct upstream *u)
{
    struct exchange *x = u->exchange;

    while (!u->is_write_broken && !u->is_write_blocked) {
        struct iovec pieces[OUTPUT_PIECES];
        size_t count = exchange_output(x, pieces, OUTPUT_PIECES);
        ssize_t n;

        if (count == 0)
            break;
        n = u->tls ? send_tls(u, pieces, count) : send_plain(u, pieces, count);
        if (n < 0) {
            u->is_write_broken = true;
            u->is_readable = true; /* what it said before it closed */
            return;
        }
        if (n == 0)
            return;
        exchange_sent(x, (size_t)n);
        if (u->state == UPSTREAM_ACTIVE)
            touch(u);
        if (u->tls && tls_out_len(u->tls) >= TLS_OUT_MAX)
            flush_tls(u);
    }
    flush_tls(u);
    if (u->state == UPSTREAM_RELAY && !u->is_write_shut && exchange_is_sent(x)) {
        u->is_write_shut = true;
        if (u->tls)
            tls_bye(u->tls);
        if (u->tls)
            flush_tls(u);
        else
            shutdown(u->fd, SHUT_WR);
    }
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
        write_some(u);
        read_some(u);
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
    if (u->state != UPSTREAM_ACTIVE)
        return false;
    u->is_readable = u->is_readable || !u->is_paused;
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
            touch(u);
            return;
        }
        lose(u, REASON_UPSTREAM_TIMEOUT);
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

struct upstream *upstream_take(struct traffic_worker *w, struct upstream_pool *pool,
                               struct exchange *x)
{
    while (!list_is_empty(&pool->idle)) {
        struct upstream *u = container_of(pool->idle.next, struct upstream, idle_node);

        if (!is_silent(u)) {
            upstream_enter(u, UPSTREAM_DEAD);
            continue;
        }
        begin(u, x);
        upstream_enter(u, UPSTREAM_ACTIVE);
        COUNT(w, upstream_reuses);
        loop_again(w->loop, &u->ready);
        return u;
    }
    return NULL;
}

/* Too few descriptors or ports say nothing about the destination: -ERR_NOMEM, not -ERR_CONNECT. */
static int open_socket(const struct upstream_pool *pool, int *out)
{
    int fd = socket(pool->addr.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    *out = fd;
    if (fd < 0)
        return -ERR_NOMEM;
    socket_set_nodelay(fd);
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
    rc = open_socket(pool, &u->fd);
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
            lose(u, REASON_STOPPED);
        else if (busy_ones_too && u->state != UPSTREAM_DEAD)
            upstream_enter(u, UPSTREAM_DEAD);
    }
}
