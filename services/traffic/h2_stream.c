/* h2_stream - see h2_stream.h. */
#include "traffic/h2_stream.h"

#include <stdlib.h>
#include <string.h>

#include "tls/tls.h"
#include "traffic/client.h"
#include "traffic/h2_emit.h"
#include "traffic/h2_session.h"
#include "traffic/own_answer.h"
#include "traffic/traffic_worker_internal.h"
#include "traffic/upstream.h"

static const unsigned next_of[] = {
#define X(name, next) [H2_STREAM_##name] = (next),
    H2_STREAM_STATES(X)
#undef X
};

static const struct exchange_codec h2_codec;

static struct h2_stream *stream_of(const struct exchange *x)
{
    return container_of(x, struct h2_stream, exchange);
}

static struct traffic_worker *worker_of(const struct h2_stream *st)
{
    return st->session->client->worker;
}

static uint64_t now_ms(const struct h2_stream *st)
{
    return loop_now_ms(worker_of(st)->loop);
}

static uint64_t body_idle_ms(const struct h2_stream *st)
{
    return (uint64_t)worker_of(st)->settings->timeouts.body_idle_secs * 1000;
}

/* The head is not held any more: the answer has begun, or never will. */
static void let_go_of_head(struct h2_stream *st)
{
    must(st->session->heads_bytes >= st->head_bytes);
    st->session->heads_bytes -= st->head_bytes;
    st->head_bytes = 0;
}

/* The only writer of st->state. */
static void stream_enter(struct h2_stream *st, enum h2_stream_state to)
{
    must(next_of[st->state] & BIT(to));
    st->state = to;
    if (to == H2_STREAM_ANSWERED || to == H2_STREAM_CLOSED)
        let_go_of_head(st);
}

static void free_stream(struct reap *reap)
{
    free(container_of(reap, struct h2_stream, reap));
}

struct h2_stream *h2_stream_new(struct h2_session *s, int32_t id)
{
    struct client *c = s->client;
    struct h2_stream *st = calloc(1, sizeof(*st));

    if (!st)
        return NULL;
    st->state = H2_STREAM_HEAD;
    st->id = id;
    st->session = s;
    exchange_init(&st->exchange, &c->requester, &h2_codec);
    /* As much as the client may send: its window, or the one it began with. */
    st->exchange.body.cap = MAX(s->window_bytes, (size_t)NGHTTP2_INITIAL_WINDOW_SIZE);
    bufq_init(&st->out, loop_pool(c->worker->loop),
              (size_t)c->worker->settings->limits.buffer_bytes);
    list_init(&st->attention);
    reap_init(&st->reap, free_stream);
    st->moved_ms = now_ms(st);
    s->stream_count++;
    list_push(&s->streams, &st->node);
    return st;
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

/* Sends nothing more; the client must not take what it has for whole. */
static void reset(struct h2_stream *st, enum traffic_reason reason, uint32_t code)
{
    if (st->state == H2_STREAM_CLOSED)
        return;
    if (st->reason == REASON_NONE)
        st->reason = reason;
    exchange_cancel(&st->exchange, reason);
    if (nghttp2_submit_rst_stream(st->session->ng, NGHTTP2_FLAG_NONE, st->id, code) != 0)
        h2_session_fail(st->session, REASON_NO_MEMORY, NGHTTP2_INTERNAL_ERROR);
    if (st->state != H2_STREAM_ANSWERED)
        stream_enter(st, H2_STREAM_ANSWERED);
    client_wake(st->session->client);
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
static void answer(struct h2_stream *st, enum traffic_reason reason)
{
    struct traffic_worker *w = worker_of(st);
    struct own_answer own;

    if (traffic_reason_status(reason) == 0) {
        reset(st, reason, NGHTTP2_CANCEL);
        return;
    }
    exchange_cancel(&st->exchange, reason);
    own_answer_set(&own, &st->exchange, reason);
    own_answer_make(&own, &w->response);
    if (own.body_len > 0 && bufq_push(&st->out, own.body, own.body_len) != 0) {
        reset(st, REASON_NO_MEMORY, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    st->session->unsent_bytes += own.body_len;
    if (submit(st, &w->response,
               &(struct h2_answer){
                   .version_header = own.version_header, .version = own.version, .date = own.date},
               own.body_len > 0) != 0) {
        reset(st, REASON_NO_MEMORY, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    st->status = own.status;
    st->reason = reason;
    st->has_head = st->has_answer_ended = true;
    stream_enter(st, H2_STREAM_ANSWERED);
    client_wake(st->session->client);
}

/* The exchange failed: an answer if none has begun, else the cut must show. */
static void break_off(struct h2_stream *st, enum traffic_reason reason, uint32_t code)
{
    if (st->has_head)
        reset(st, reason, code);
    else
        answer(st, reason);
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
    let_go_of_head(st);
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
    if (bufq_push(&st->out, bytes, n) == 0)
        st->session->unsent_bytes += n;
    else
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
    client_wake(st->session->client);
}

/* RFC 9113 8.1: the answer went, what still comes of the request is not wanted.  A reset right
 * behind the answer would keep some clients from reading it (curl 7.88): they get time to stop by
 * themselves, and no more window. */
static void linger(struct h2_stream *st)
{
    if (st->state != H2_STREAM_ANSWERED || st->has_request_ended || !st->has_end_sent)
        return;
    stream_enter(st, H2_STREAM_LINGERING);
    exchange_log(&st->exchange, st->status, st->reason);
    st->body_due_ms = now_ms(st) + H2_LINGER_MS;
    h2_session_due_at(st->session, st->body_due_ms);
}

static void stop_request(struct h2_stream *st)
{
    if (nghttp2_submit_rst_stream(st->session->ng, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_NO_ERROR) !=
        0)
        h2_session_fail(st->session, REASON_NO_MEMORY, NGHTTP2_INTERNAL_ERROR);
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
        stream_enter(st, H2_STREAM_ANSWERED);
    linger(st);
    resume(st);
    client_wake(st->session->client);
}

static size_t clamp(int32_t window)
{
    return window > 0 ? (size_t)window : 0;
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
    if (st->out.len == 0 && own >= UPSTREAM_READ_MIN &&
        s->unsent_bytes < (size_t)c->worker->settings->limits.buffer_bytes)
        return UPSTREAM_READ_MIN;
    st->is_starved = s->is_starved = true;
    return n;
}

static void taken(struct exchange *x, size_t n)
{
    struct h2_stream *st = stream_of(x);
    struct h2_session *s = st->session;

    st->moved_ms = x->is_upgrade ? now_ms(st) : st->moved_ms;
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

static const struct exchange_codec h2_codec = {
    push_interim, push_head, push_body, push_end, room, taken, wake,
};

/* --- nghttp2's side ------------------------------------------------------------------------- */

/* What a well-formed request gets instead of an exchange, if anything. */
static enum traffic_reason start(struct h2_stream *st, struct http_request *r)
{
    struct h2_session *s = st->session;
    enum traffic_reason reason = requester_check(&s->client->requester, r->authority);

    if (reason != REASON_NONE)
        return reason;
    if (s->heads_bytes > 0 &&
        s->heads_bytes + s->head.bytes > (size_t)worker_of(st)->settings->limits.h2_heads_bytes)
        return REASON_H2_HEADS;
    st->head_bytes = s->head.bytes;
    s->heads_bytes += st->head_bytes;
    stream_enter(st, H2_STREAM_EXCHANGE);
    st->body_due_ms = now_ms(st) + body_idle_ms(st);
    h2_session_due_at(s, st->body_due_ms);
    return exchange_start(&st->exchange, r);
}

void h2_stream_on_request(struct h2_stream *st, bool ended)
{
    struct h2_session *s = st->session;
    struct traffic_worker *w = worker_of(st);
    struct http_request *r = &w->request;
    struct h2_websocket websocket;
    enum traffic_reason reason;

    if (s->head.is_extended) {
        uint8_t nonce[WS_NONCE_BYTES];

        tls_random(nonce, sizeof(nonce));
        ws_key_emit(nonce, websocket.key);
        ws_accept_emit(websocket.key, websocket.accept);
    }
    reason = h2_head_request(&s->head, r, ended, &websocket);
    exchange_open(&st->exchange, "HTTP/2.0", r->method, r->target);
    st->exchange.is_head = r->is_head;
    st->has_request_ended = ended;
    if ((reason == REASON_HEADER_TOO_LARGE || reason == REASON_TOO_MANY_FIELDS) &&
        !h2_session_count_reset(s))
        return;
    if (reason == REASON_NONE)
        reason = start(st, r);
    if (reason == REASON_H2_HEADS) {
        reset(st, reason, NGHTTP2_REFUSED_STREAM);
        return;
    }
    if (reason != REASON_NONE) {
        answer(st, reason);
        return;
    }
    if (ended)
        exchange_push_end(&st->exchange, NULL);
}

static bool takes_body(const struct h2_stream *st)
{
    const struct exchange *x = &st->exchange;

    return st->state == H2_STREAM_EXCHANGE && x->state != EXCHANGE_DONE && !x->is_ended;
}

void h2_stream_on_trailers(struct h2_stream *st)
{
    struct http_fields *trailers = &worker_of(st)->trailers;
    enum traffic_reason reason = h2_head_trailers(&st->session->head, trailers, H1_TRAILER_BYTES);

    st->has_request_ended = true;
    if (!takes_body(st))
        return;
    if (reason == REASON_NONE && st->exchange.is_upgrade)
        reason = REASON_TRAILER_INVALID;
    if (reason != REASON_NONE) {
        break_off(st, reason, NGHTTP2_PROTOCOL_ERROR);
        return;
    }
    http_trailers_filter(trailers);
    exchange_push_end(&st->exchange, trailers);
}

void h2_stream_on_data(struct h2_stream *st, const uint8_t *bytes, size_t n)
{
    struct exchange *x = &st->exchange;
    uint64_t before = x->bytes_in;

    if (takes_body(st))
        exchange_push_body(x, bytes, n);
    if (st->state == H2_STREAM_LINGERING) { /* its own window stays shut */
        nghttp2_session_consume_connection(st->session->ng, n);
        return;
    }
    if (x->bytes_in == before) /* nobody will take it */
        nghttp2_session_consume(st->session->ng, st->id, n);
    st->moved_ms = now_ms(st);
    st->body_due_ms = st->has_head ? st->moved_ms + body_idle_ms(st)
                                   : MIN(st->body_due_ms + (uint64_t)n * 1000 / H2_BODY_RATE,
                                         st->moved_ms + body_idle_ms(st));
}

void h2_stream_on_end(struct h2_stream *st)
{
    st->has_request_ended = true;
    st->moved_ms = now_ms(st);
    if (takes_body(st))
        exchange_push_end(&st->exchange, NULL);
}

void h2_stream_on_end_sent(struct h2_stream *st)
{
    st->moved_ms = now_ms(st);
    st->has_end_sent = true;
    linger(st);
}

void h2_stream_on_closed(struct h2_stream *st, uint32_t code)
{
    enum traffic_reason reason = st->reason;

    if (code == NGHTTP2_NO_ERROR && reason == REASON_NONE && st->has_answer_ended &&
        st->exchange.state == EXCHANGE_RELAYING) {
        stream_enter(st, H2_STREAM_PARTING);
        return;
    }
    if (reason == REASON_NONE && st->state != H2_STREAM_LINGERING &&
        (code != NGHTTP2_NO_ERROR || !st->has_answer_ended))
        reason = st->exchange.reason != REASON_NONE ? st->exchange.reason : REASON_CLIENT_GONE;
    h2_stream_end(st, reason);
}

void h2_stream_end(struct h2_stream *st, enum traffic_reason reason)
{
    struct h2_session *s = st->session;
    struct exchange *x = &st->exchange;

    stream_enter(st, H2_STREAM_CLOSED);
    list_remove(&st->node);
    list_remove(&st->attention);
    h2_session_stream_ended(s);
    must(s->unsent_bytes >= st->out.len);
    s->unsent_bytes -= st->out.len;
    if (x->bytes_in > x->body_taken)
        nghttp2_session_consume_connection(s->ng, (size_t)(x->bytes_in - x->body_taken));
    if (x->started_us == 0) /* it never came to a request */
        exchange_open(x, "HTTP/2.0", (struct http_text){0}, (struct http_text){0});
    exchange_log(x, st->status, reason);
    exchange_fini(x);
    bufq_fini(&st->out);
    h1_gather_fini(&st->trailers);
    st->direct_len = 0;
    loop_reap(s->client->worker->loop, &st->reap);
}

size_t h2_stream_next_data(struct h2_stream *st, size_t max, bool *ended)
{
    size_t n = st->out.len + st->direct_len;

    *ended = st->has_answer_ended && n <= max;
    return MIN(n, max);
}

void h2_stream_put_data(struct h2_stream *st, const uint8_t head[9], size_t n)
{
    struct client *c = st->session->client;
    struct iovec piece;

    client_put(c, head, 9);
    st->session->unsent_bytes -= MIN(n, st->out.len);
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

/* --- the session's side --------------------------------------------------------------------- */

void h2_stream_attend(struct h2_stream *st)
{
    struct exchange *x = &st->exchange;

    list_remove(&st->attention);
    list_init(&st->attention);
    if (st->state == H2_STREAM_PARTING && x->state == EXCHANGE_DONE)
        h2_stream_end(st, x->reason);
    if (st->state != H2_STREAM_EXCHANGE)
        return;
    if (st->reason != REASON_NONE) { /* an answer that we have no memory for */
        break_off(st, st->reason, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    if (x->state != EXCHANGE_DONE)
        return;
    if (x->reason != REASON_NONE) {
        break_off(st, x->reason, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    stream_enter(st, H2_STREAM_ANSWERED); /* a relay is over: its end is on its way or was sent */
    linger(st);
}

void h2_stream_resume(struct h2_stream *st)
{
    if (!st->is_starved)
        return;
    st->is_starved = false;
    if (room(&st->exchange) >= UPSTREAM_READ_MIN)
        exchange_resume(&st->exchange);
}

bool h2_stream_is_relay(const struct h2_stream *st)
{
    return st->state == H2_STREAM_PARTING || st->exchange.state == EXCHANGE_RELAYING;
}

/* The client takes nothing of it: since when.  While its own window has room it waits for the
 * connection, whose bytes go to others in turn. */
static uint64_t stalled_since(const struct h2_stream *st)
{
    const struct h2_session *s = st->session;
    int32_t window = nghttp2_session_get_stream_remote_window_size(s->ng, st->id);

    return window > 0 ? MAX(st->moved_ms, s->data_ms) : st->moved_ms;
}

/* When nothing goes to this client at all it is the connection that stalls. */
static void stall(struct h2_stream *st, uint64_t now)
{
    struct h2_session *s = st->session;

    if (now - s->data_ms >= body_idle_ms(st))
        h2_session_fail(s, REASON_WRITE_TIMEOUT, NGHTTP2_ENHANCE_YOUR_CALM);
    else
        reset(st, REASON_WRITE_TIMEOUT, NGHTTP2_CANCEL);
}

uint64_t h2_stream_check(struct h2_stream *st, uint64_t now)
{
    const struct traffic_timeouts *t = &worker_of(st)->settings->timeouts;
    struct exchange *x = &st->exchange;
    uint64_t idle = body_idle_ms(st), due = st->moved_ms + idle;

    if (st->state == H2_STREAM_PARTING) {
        if (due <= now)
            h2_stream_end(st, REASON_UPGRADE_IDLE);
    } else if (st->state == H2_STREAM_LINGERING) {
        due = st->body_due_ms;
        if (due <= now)
            stop_request(st);
    } else if (x->state == EXCHANGE_RELAYING) {
        if (!st->has_answer_ended && !st->has_request_ended)
            due = st->moved_ms + (uint64_t)t->upgrade_idle_secs * 1000;
        if (due <= now)
            reset(st, REASON_UPGRADE_IDLE, NGHTTP2_CANCEL);
    } else if (st->out.len > 0 || st->is_starved) {
        due = stalled_since(st) + idle;
        if (due <= now)
            stall(st, now);
    } else if (st->state == H2_STREAM_EXCHANGE && !st->has_request_ended && !x->is_upgrade &&
               exchange_waits_for_client(x)) {
        due = st->body_due_ms;
        if (due <= now)
            break_off(st, REASON_BODY_TIMEOUT, NGHTTP2_CANCEL);
    } else { /* the origin's time counts, and its connection has deadlines of its own */
        st->body_due_ms = due = now + idle;
    }
    return due > now ? due : now + idle;
}
