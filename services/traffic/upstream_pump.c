/* upstream_pump - what goes through a connection to an origin for the exchange that it works for:
 * the request's bytes out, the answer's in (upstream.h).
 *
 * Reading: one recv into the worker's scratch memory, of which everything is used up at once: heads
 * are parsed where they lie (or gathered when they come in pieces), payload goes to the exchange,
 * which hands it to the client's encryption.  So no answer's byte waits here, and never more is
 * read than the client has room for.
 *
 * Over TLS the plaintext of a record stays where TLS put it until there is room for all of it.
 *
 * Writing: the exchange's pieces in one sendmsg; over TLS gathered into records, which wait in
 * TLS's queue when the socket is full.  From then on nothing more is tried, whatever is pushed
 * meanwhile, until the loop tells that the socket takes more.  When the origin takes no more
 * because it closed (EPIPE), its answer may be there all the same (413 to a large upload): reading
 * goes on.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "loop/socket.h"
#include "tls/tls.h"
#include "traffic/exchange.h"
#include "traffic/h1_response.h"
#include "traffic/traffic_worker_internal.h"
#include "traffic/upstream_internal.h"

#define OUTPUT_PIECES 12u
#define TLS_OUT_MAX   65536u /* ciphertext that waits: then no more is encrypted */

/* What TLS holds, as far as the socket takes it. */
static void flush(struct upstream *u)
{
    size_t before;
    enum io io;

    if (!u->tls || u->is_write_broken || u->is_write_blocked)
        return;
    before = tls_out_len(u->tls);
    io = tls_flush(u->tls);
    u->is_write_blocked = io == IO_WAIT;
    u->is_write_broken = io == IO_FAIL;
    u->is_readable |= io == IO_FAIL;
    if (u->state == UPSTREAM_ACTIVE && tls_out_len(u->tls) < before)
        upstream_touch(u);
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

/* A status line may be longer than a request line is allowed to be; only the head's size counts. */
static struct h1_limits head_limits(const struct traffic_worker *w)
{
    struct h1_limits limits = w->limits;

    limits.request_line_bytes = limits.head_bytes;
    return limits;
}

/* Gets at the next head's bytes.  *head is whole (returns true) or has to wait for more (false, all
 * n are used); u->state is DEAD when it cannot become one. */
static bool find_head(struct upstream *u, const struct h1_limits *limits, const uint8_t *p,
                      size_t n, const char **head, size_t *used)
{
    size_t before = u->gather.len, added = n;
    const char *base = (const char *)p;
    enum traffic_reason reason;

    if (before > 0) {
        if (h1_gather_add(&u->gather, p, n, limits->head_bytes, &added) != 0) {
            upstream_lose(u, REASON_NO_MEMORY);
            return false;
        }
        base = u->gather.bytes;
    }
    reason = h1_scan_run(&u->scan, base, before + added, limits);
    if (reason != REASON_NONE) {
        upstream_lose(u, REASON_UPSTREAM_INVALID);
        return false;
    }
    if (u->scan.head_len == 0) {
        if (before == 0 && h1_gather_add(&u->gather, p, n, limits->head_bytes, &added) != 0)
            upstream_lose(u, REASON_NO_MEMORY);
        return false;
    }
    *head = base;
    *used = u->scan.head_len - before;
    return true;
}

/* One head from the n bytes; returns how many it used, 0 when it is not whole or all is over. */
static size_t read_head(struct upstream *u, const uint8_t *p, size_t n)
{
    struct exchange *x = u->exchange;
    struct http_response *r = &u->worker->response;
    struct h1_limits limits = head_limits(u->worker);
    const char *head;
    size_t used;

    if (!find_head(u, &limits, p, n, &head, &used))
        return 0;
    if (h1_response_parse(r, head, &u->scan, &limits, x->is_head, NULL) != REASON_NONE) {
        upstream_lose(u, REASON_UPSTREAM_INVALID);
        return 0;
    }
    u->closes = r->wants_close || r->framing == HTTP_UNTIL_CLOSE;
    if (!exchange_on_head(x, r))
        return 0; /* dropped us */
    u->scan = (struct h1_scan){0};
    if (r->status == 101) {
        upstream_enter(u, UPSTREAM_RELAY);
        upstream_wake(u); /* what the client said until now was held back: it goes */
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
        upstream_lose(u, piece.reason == REASON_NO_MEMORY ? REASON_NO_MEMORY
                                                          : REASON_UPSTREAM_INVALID);
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
    upstream_lose(u, REASON_UPSTREAM_CLOSED);
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

    if (io == IO_WAIT)
        flush(u); /* TLS may have answered by itself */
    if (io != IO_OK)
        return io;
    *bytes = u->in;
    *n = MIN(want, u->in_len);
    u->in += *n;
    u->in_len -= *n;
    return IO_OK;
}

void upstream_read(struct upstream *u)
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
            upstream_lose(u, REASON_UPSTREAM_CLOSED);
            return;
        }
        if (u->state == UPSTREAM_ACTIVE)
            upstream_touch(u);
        feed(u, bytes, n);
    }
}

/* --- writing ------------------------------------------------------------------------------ */

/* Sends pieces; how many bytes left, or -1. */
static ssize_t send_plain(struct upstream *u, const struct iovec *pieces, size_t count)
{
    size_t offered = 0;
    ssize_t n;

    for (size_t i = 0; i < count; i++)
        offered += pieces[i].iov_len;
    n = socket_write(u->fd, pieces, count);
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

/* An upgraded connection's client has said all, and so the origin hears: behind its last byte. */
static void shut_write(struct upstream *u)
{
    if (u->tls) {
        tls_bye(u->tls); /* once, however often it is called */
        flush(u);
    } else {
        shutdown(u->fd, SHUT_WR);
    }
    u->is_write_shut = !u->is_write_blocked;
}

void upstream_write(struct upstream *u)
{
    struct exchange *x = u->exchange;

    while (!u->is_write_broken && !u->is_write_blocked) {
        struct iovec pieces[OUTPUT_PIECES];
        size_t count;
        ssize_t n;

        if (u->tls && tls_out_len(u->tls) >= TLS_OUT_MAX) {
            flush(u);
            continue;
        }
        count = exchange_output(x, pieces, OUTPUT_PIECES);
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
            upstream_touch(u);
    }
    flush(u);
    if (u->state == UPSTREAM_RELAY && !u->is_write_shut && exchange_is_sent(x))
        shut_write(u);
}
