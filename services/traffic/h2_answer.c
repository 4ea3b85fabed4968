/* h2_answer - the answer of a stream over HTTP/2 on its way from an exchange to nghttp2: see
 * h2_stream.h.
 *
 * The exchange pushes, nghttp2 asks when a window is there; what is in between waits in st->out,
 * but for a piece that goes at once (st->direct). */
#include <string.h>

#include "traffic/h2_emit.h"
#include "traffic/h2_stream_internal.h"
#include "traffic/own_answer.h"
#include "traffic/upstream.h"

static struct h2_stream *stream_of(const struct exchange *x)
{
    return container_of(x, struct h2_stream, exchange);
}

/* --- answers -------------------------------------------------------------------------------- */

/* nghttp2 has something new to send for it. */
static void resume(struct h2_stream *st)
{
    if (st->is_deferred) {
        st->is_deferred = false;
        if (nghttp2_session_resume_data(st->session->ng, st->id) != 0)
            return; /* reset meanwhile */
    }
}

static ssize_t read_data(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t max, uint32_t *flags,
                         nghttp2_data_source *source, void *arg)
{
    struct h2_stream *st = source->ptr;
    bool ended;
    size_t n = h2_stream_next_data(st, max, &ended);

    (void)ng;
    (void)id;
    (void)buf;
    (void)arg;
    if (n == 0 && !ended) {
        st->is_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (ended) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (h2_stream_put_trailers(st))
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    }
    return (ssize_t)n;
}

/* `has_body`: payload follows, or at least an end. */
static int submit(struct h2_stream *st, const struct http_response *r, const struct h2_answer *a,
                  bool has_body)
{
    nghttp2_data_provider provider = {.source.ptr = st, .read_callback = read_data};
    struct h2_fields fields;

    h2_fields_response(&fields, r, a);
    return nghttp2_submit_response(st->session->ng, st->id, fields.list, fields.count,
                                   has_body ? &provider : NULL);
}

/* A refusal or a failure, as an answer. */
void h2_answer_own(struct h2_stream *st, enum traffic_reason reason)
{
    struct traffic_worker *w = worker_of(st);
    struct own_answer own;

    if (traffic_reason_status(reason) == 0) {
        h2_stream_reset(st, reason, NGHTTP2_CANCEL);
        return;
    }
    exchange_cancel(&st->exchange, reason);
    own_answer_set(&own, &st->exchange, reason);
    own_answer_make(&own, &w->response);
    memcpy(st->own, own.body, own.body_len); /* not into a chunk: a client may let many wait */
    st->direct = st->own;
    st->direct_len = own.body_len;
    exchange_own_body(&st->exchange, own.body_len);
    if (submit(st, &w->response,
               &(struct h2_answer){
                   .version_header = own.version_header, .version = own.version, .date = own.date},
               own.body_len > 0) != 0) {
        h2_stream_reset(st, REASON_NO_MEMORY, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    st->status = own.status;
    st->reason = reason;
    st->has_head = st->has_answer_ended = true;
    h2_stream_enter(st, H2_STREAM_ANSWERED);
    client_wake(st->session->client);
}

/* The exchange failed: an answer if none has begun, else the cut must show. */
void h2_answer_break_off(struct h2_stream *st, enum traffic_reason reason, uint32_t code)
{
    if (st->has_head)
        h2_stream_reset(st, reason, code);
    else
        h2_answer_own(st, reason);
}

/* --- the exchange's side -------------------------------------------------------------------- */

static bool is_open(const struct h2_stream *st)
{
    return st->state == H2_STREAM_EXCHANGE && st->session->state != H2_OVER &&
           !st->session->client->is_broken;
}

static void push_interim(struct exchange *x, const struct http_response *r)
{
    struct h2_stream *st = stream_of(x);
    struct h2_fields fields;

    if (!is_open(st))
        return;
    /* Those are hints, and the client reads nothing: they would wait in nghttp2's memory. */
    if (r->status != 100 &&
        nghttp2_session_get_outbound_queue_size(st->session->ng) >= H2_INTERIMS_QUEUED)
        return;
    h2_fields_response(&fields, r, &(struct h2_answer){0});
    if (nghttp2_submit_headers(st->session->ng, NGHTTP2_FLAG_NONE, st->id, NULL, fields.list,
                               fields.count, NULL) < 0)
        h2_session_fail(st->session, REASON_NO_MEMORY, NGHTTP2_INTERNAL_ERROR);
    client_wake(st->session->client);
}

static void push_head(struct exchange *x, const struct http_response *r)
{
    struct h2_stream *st = stream_of(x);
    const struct traffic_settings *settings = x->worker->settings;
    bool has_body = r->status == 101 ||
                    !(r->framing == HTTP_NO_BODY || (r->framing == HTTP_LENGTH && r->length == 0));

    if (!is_open(st))
        return;
    h2_stream_let_go_of_head(st);
    st->has_head = true;
    st->status = r->status == 101 ? 200 : r->status;
    st->moved_ms = now_ms(st);
    if (submit(st, r,
               &(struct h2_answer){.version_header = settings->version_header,
                                   .version = settings->version,
                                   .date = x->worker->date},
               has_body) != 0)
        h2_session_fail(st->session, REASON_NO_MEMORY, NGHTTP2_INTERNAL_ERROR);
    client_wake(st->session->client);
}

/* --- what the client leaves waiting ----------------------------------------------------------- */

static size_t clamp(int32_t window)
{
    return window > 0 ? (size_t)window : 0;
}

bool h2_stream_waits(const struct h2_stream *st)
{
    return st->out.len + st->direct_len > 0 || st->is_starved ||
           (st->has_answer_ended && !st->has_end_sent && st->state != H2_STREAM_CLOSED);
}

uint64_t h2_stream_take_due_ms(const struct h2_stream *st)
{
    if (st->shut_since_ms == 0 || worker_of(st)->settings->limits.read_rate == 0)
        return UINT64_MAX;
    return st->shut_since_ms + st->take_left_ms;
}

/* Only time in which the stream's own window is shut counts: for the connection's it waits in turn
 * with others, and for the kernel's buffer there is client_write_due_ms(). */
static void pay_take(struct h2_stream *st, size_t n)
{
    uint64_t rate = (uint64_t)worker_of(st)->settings->limits.read_rate, now = now_ms(st);
    uint64_t waited = st->shut_since_ms ? now - st->shut_since_ms : 0;
    uint64_t left = st->take_left_ms > waited ? st->take_left_ms - waited : 0;
    int32_t window = nghttp2_session_get_stream_remote_window_size(st->session->ng, st->id);
    bool is_shut = h2_stream_waits(st) && clamp(window) <= n; /* nghttp2 takes n off behind this */

    st->take_left_ms = MIN(left + (rate ? (uint64_t)n * 1000 / rate : 0), body_idle_ms(st));
    st->shut_since_ms = is_shut ? MAX(now, 1u) : 0;
}

/* --- payload -----------------------------------------------------------------------------------
 */

/* The exchange is on the stack: the stream ends when the session runs. */
static void fail_later(struct h2_stream *st)
{
    st->reason = REASON_NO_MEMORY;
    if (list_is_empty(&st->attention))
        list_push(&st->session->attention, &st->attention);
}

static void keep(struct h2_stream *st, const uint8_t *bytes, size_t n)
{
    if (n == 0)
        return;
    st->session->holding_count += st->out.len == 0;
    if (bufq_push(&st->out, bytes, n) == 0)
        return;
    st->session->holding_count -= st->out.len == 0;
    fail_later(st);
}

static void push_body(struct exchange *x, const uint8_t *bytes, size_t n)
{
    struct h2_stream *st = stream_of(x);

    if (!is_open(st) || st->reason != REASON_NONE)
        return;
    if (n < H2_DIRECT_MIN || st->out.len > 0) {
        keep(st, bytes, n);
        resume(st);
    } else {
        st->direct = bytes;
        st->direct_len = n;
        resume(st);
        h2_session_send(st->session);
        keep(st, st->direct, st->direct_len);
        st->direct = NULL;
        st->direct_len = 0;
    }
    if (st->shut_since_ms == 0)
        pay_take(st, 0);
    client_wake(st->session->client);
}

static void push_end(struct exchange *x, const struct http_fields *trailers)
{
    struct h2_stream *st = stream_of(x);
    struct h1_text text = {.p = x->worker->text, .size = sizeof(x->worker->text)};
    size_t used;

    if (!is_open(st) || st->reason != REASON_NONE)
        return;
    if (trailers && trailers->count > 0) {
        h1_trailers_emit(&text, trailers);
        must(!text.is_cut); /* H1_TRAILER_BYTES, and some blanks more */
        if (text.n > 2 && h1_gather_add(&st->trailers, text.p, text.n, SIZE_MAX / 2, &used) != 0) {
            fail_later(st);
            client_wake(st->session->client);
            return;
        }
    }
    st->has_answer_ended = true;
    st->moved_ms = now_ms(st);
    if (x->state != EXCHANGE_RELAYING)
        h2_stream_enter(st, H2_STREAM_ANSWERED);
    h2_stream_linger(st);
    resume(st);
    client_wake(st->session->client);
}

/* What the client's windows and the connection's buffer take.  Without a window a little is read
 * all the same, of some streams: the head of an answer needs none, and a window may be small for
 * ever. */
static size_t room(const struct exchange *x)
{
    struct h2_stream *st = stream_of(x);
    struct h2_session *s = st->session;
    struct client *c = s->client;
    size_t window, n, own;

    if (!is_open(st))
        return 0;
    window = MIN(clamp(nghttp2_session_get_stream_remote_window_size(s->ng, st->id)),
                 clamp(nghttp2_session_get_remote_window_size(s->ng)));
    own = MIN(client_room(c), bufq_room(&st->out));
    n = window > st->out.len ? MIN(window - st->out.len, own) : 0;
    if (n >= UPSTREAM_READ_MIN)
        return n;
    if (st->out.len == 0 && own >= UPSTREAM_READ_MIN && s->holding_count < H2_UNASKED_STREAMS)
        return UPSTREAM_READ_MIN;
    st->is_starved = s->is_starved = true;
    return n;
}

static void taken(struct exchange *x, size_t n)
{
    struct h2_stream *st = stream_of(x);
    struct h2_session *s = st->session;

    st->moved_ms = http_upgrade_is_asked(&x->upgrade) ? now_ms(st) : st->moved_ms;
    if (x->body.len + n >= s->window_bytes / 2) /* the origin took its time: none of the client's */
        st->body_due_ms = now_ms(st) + body_idle_ms(st);
    nghttp2_session_consume(s->ng, st->id, n);
    if (nghttp2_session_want_write(s->ng))
        client_wake(s->client);
}

static void wake(struct exchange *x)
{
    struct h2_stream *st = stream_of(x);

    if (list_is_empty(&st->attention))
        list_push(&st->session->attention, &st->attention);
    client_wake(st->session->client);
}

const struct exchange_codec h2_answer_codec = {
    push_interim, push_head, push_body, push_end, room, taken, wake,
};

size_t h2_stream_next_data(struct h2_stream *st, size_t max, bool *ended)
{
    size_t n = st->out.len + st->direct_len;

    *ended = st->has_answer_ended && n <= max;
    return MIN(n, max);
}

void h2_stream_put_data(struct h2_stream *st, const uint8_t head[9], size_t n)
{
    const size_t taken = n;
    struct client *c = st->session->client;
    struct iovec piece;

    client_put(c, head, 9);
    st->session->holding_count -= st->out.len > 0 && st->out.len <= n;
    while (n > 0 && bufq_peek(&st->out, &piece, 1) > 0) {
        size_t part = MIN(n, piece.iov_len);

        client_put(c, piece.iov_base, part);
        bufq_skip(&st->out, part);
        n -= part;
    }
    must(n <= st->direct_len);
    if (n > 0) {
        client_put(c, st->direct, n);
        st->direct += n;
        st->direct_len -= n;
    }
    st->moved_ms = st->session->data_ms = now_ms(st);
    pay_take(st, taken);
}

bool h2_stream_put_trailers(struct h2_stream *st)
{
    struct http_fields *trailers = &worker_of(st)->trailers;
    struct h2_fields fields;

    if (st->trailers.len == 0 ||
        h1_fields_parse(trailers, st->trailers.bytes, st->trailers.bytes + st->trailers.len,
                        HTTP_FIELDS_MAX) != REASON_NONE)
        return false;
    h2_fields_trailers(&fields, trailers);
    return nghttp2_submit_trailer(st->session->ng, st->id, fields.list, fields.count) == 0;
}

void h2_stream_resume(struct h2_stream *st)
{
    if (!st->is_starved)
        return;
    st->is_starved = false;
    if (room(&st->exchange) >= UPSTREAM_READ_MIN)
        exchange_resume(&st->exchange);
}
