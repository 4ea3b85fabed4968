/* h2_stream - see h2_stream.h. */
#include <stdlib.h>
#include <string.h>

#include "tls/tls.h"
#include "traffic/forward_headers.h"
#include "traffic/h2_stream_internal.h"
#include "traffic/upstream.h"

static const unsigned next_of[] = {
#define X(name, next) [H2_STREAM_##name] = (next),
    H2_STREAM_STATES(X)
#undef X
};

void h2_stream_let_go_of_head(struct h2_stream *st)
{
    must(st->held >= st->head_bytes);
    h2_held_give(&st->session->held, st->head_bytes);
    st->held -= st->head_bytes;
    st->head_bytes = 0;
}

/* The only writer of st->state. */
void h2_stream_enter(struct h2_stream *st, enum h2_stream_state to)
{
    must(next_of[st->state] & BIT(to));
    st->state = to;
    if (to == H2_STREAM_ANSWERED || to == H2_STREAM_CLOSED)
        h2_stream_let_go_of_head(st);
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
    exchange_init(&st->exchange, &c->requester, &h2_answer_codec);
    /* As much as the client may send: its window, or the one it began with. */
    st->exchange.body.cap = MAX(s->window_bytes, (size_t)NGHTTP2_INITIAL_WINDOW_SIZE);
    bufq_init(&st->out, loop_pool(c->worker->loop),
              (size_t)c->worker->settings->limits.buffer_bytes);
    list_init(&st->attention);
    reap_init(&st->reap, free_stream);
    st->moved_ms = now_ms(st);
    st->take_left_ms = body_idle_ms(st);
    s->stream_count++;
    list_push(&s->streams, &st->node);
    return st;
}

/* --- its end ---------------------------------------------------------------------------------- */

void h2_stream_reset(struct h2_stream *st, enum traffic_reason reason, uint32_t code)
{
    if (st->state == H2_STREAM_CLOSED)
        return;
    if (st->reason == REASON_NONE)
        st->reason = reason;
    exchange_cancel(&st->exchange, reason);
    if (nghttp2_submit_rst_stream(st->session->ng, NGHTTP2_FLAG_NONE, st->id, code) != 0)
        h2_session_fail(st->session, REASON_NO_MEMORY, NGHTTP2_INTERNAL_ERROR);
    if (st->state == H2_STREAM_HEAD || st->state == H2_STREAM_EXCHANGE)
        h2_stream_enter(st, H2_STREAM_ANSWERED);
    client_wake(st->session->client);
}

/* RFC 9113 8.1: the answer went, what still comes of the request is not wanted.  A reset right
 * behind the answer would keep some clients from reading it (curl 7.88): they get time to stop by
 * themselves, and no more window. */
void h2_stream_linger(struct h2_stream *st)
{
    if (st->state != H2_STREAM_ANSWERED || st->has_request_ended || !st->has_end_sent)
        return;
    h2_stream_enter(st, H2_STREAM_LINGERING);
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

/* --- nghttp2's side ------------------------------------------------------------------------- */

/* What it takes from now on: itself, and with a head that goes on its connection to the origin and
 * the head as that will get it. */
static enum traffic_reason hold(struct h2_stream *st, bool goes_on)
{
    size_t head = goes_on ? st->session->head.bytes + FORWARD_EXTRAS_MAX : 0;
    size_t notes = st->exchange.notes ? sizeof(*st->exchange.notes) : 0;
    size_t n = sizeof(*st) + notes + (goes_on ? sizeof(struct upstream) : 0) + head;
    enum traffic_reason reason = h2_session_hold(st->session, n);

    if (reason != REASON_NONE)
        return reason;
    st->held = n;
    st->head_bytes = head;
    return REASON_NONE;
}

static bool is_of_memory(enum traffic_reason reason)
{
    return reason == REASON_H2_HEADS || reason == REASON_H2_UNLENT;
}

/* The head is made: it is as long as it is. */
static void settle_head(struct h2_stream *st)
{
    size_t n = st->exchange.head_len, more = n < st->head_bytes ? st->head_bytes - n : 0;

    h2_held_give(&st->session->held, more);
    st->held -= more;
    st->head_bytes -= more;
}

/* What a well-formed request gets instead of an exchange, if anything. */
static enum traffic_reason start(struct h2_stream *st, struct http_request *r)
{
    struct h2_session *s = st->session;
    enum traffic_reason reason = requester_check(&s->client->requester, r->authority);

    if (reason != REASON_NONE)
        return reason;
    h2_stream_enter(st, H2_STREAM_EXCHANGE);
    st->body_due_ms = now_ms(st) + body_idle_ms(st);
    h2_session_due_at(s, st->body_due_ms);
    reason = exchange_start(&st->exchange, r);
    settle_head(st);
    return reason;
}

void h2_stream_on_request(struct h2_stream *st, bool ended)
{
    struct h2_session *s = st->session;
    struct traffic_worker *w = worker_of(st);
    struct http_request *r = &w->request;
    struct h2_websocket websocket;
    enum traffic_reason reason, unheld;

    if (s->head.is_extended) {
        uint8_t nonce[WS_NONCE_BYTES];

        tls_random(nonce, sizeof(nonce));
        ws_key_emit(nonce, websocket.key);
        ws_accept_emit(websocket.key, websocket.accept);
    }
    reason = h2_head_request(&s->head, r, ended, &websocket);
    exchange_open(&st->exchange, "HTTP/2.0", r);
    st->exchange.is_head = r->is_head;
    st->has_request_ended = ended;
    if ((reason == REASON_HEADER_TOO_LARGE || reason == REASON_TOO_MANY_FIELDS) &&
        !h2_session_count_reset(s))
        return;
    unheld = is_of_memory(reason) ? reason : hold(st, reason == REASON_NONE);
    if (unheld != REASON_NONE)
        reason = unheld;
    if (reason == REASON_NONE)
        reason = start(st, r);
    if (is_of_memory(reason)) {
        h2_stream_reset(st, reason, NGHTTP2_REFUSED_STREAM);
        return;
    }
    if (reason != REASON_NONE) {
        h2_answer_own(st, reason);
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
    if (reason == REASON_NONE && http_upgrade_is_asked(&st->exchange.upgrade))
        reason = REASON_TRAILER_INVALID;
    if (reason != REASON_NONE) {
        h2_answer_break_off(st, reason, NGHTTP2_PROTOCOL_ERROR);
        return;
    }
    http_trailers_filter(trailers);
    exchange_push_end(&st->exchange, trailers);
}

void h2_stream_on_data(struct h2_stream *st, const uint8_t *bytes, size_t n)
{
    struct exchange *x = &st->exchange;
    uint64_t before = x->bytes_in;

    /* Beyond the window nghttp2 resets the stream, and gives us all the same what came (RFC 9113
     * 6.9.1). */
    if (takes_body(st) && n > exchange_room(x))
        h2_stream_reset(st, REASON_H2_PROTOCOL, NGHTTP2_FLOW_CONTROL_ERROR);
    else if (takes_body(st))
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
    h2_stream_linger(st);
}

void h2_stream_on_closed(struct h2_stream *st, uint32_t code)
{
    enum traffic_reason reason = st->reason;

    if (code == NGHTTP2_NO_ERROR && reason == REASON_NONE && st->has_answer_ended &&
        st->exchange.state == EXCHANGE_RELAYING) {
        h2_stream_enter(st, H2_STREAM_PARTING);
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

    h2_stream_enter(st, H2_STREAM_CLOSED);
    list_remove(&st->node);
    list_remove(&st->attention);
    h2_held_give(&s->held, st->held);
    h2_session_stream_ended(s);
    s->holding_count -= st->out.len > 0;
    if (x->bytes_in > x->body_taken)
        nghttp2_session_consume_connection(s->ng, (size_t)(x->bytes_in - x->body_taken));
    if (x->started_us == 0) /* it never came to a request */
        exchange_open(x, "HTTP/2.0", NULL);
    exchange_log(x, st->status, reason);
    exchange_fini(x);
    bufq_fini(&st->out);
    h1_gather_fini(&st->trailers);
    st->direct_len = 0;
    loop_reap(s->client->worker->loop, &st->reap);
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
        h2_answer_break_off(st, st->reason, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    if (x->state != EXCHANGE_DONE)
        return;
    if (x->reason != REASON_NONE) {
        h2_answer_break_off(st, x->reason, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    h2_stream_enter(st,
                    H2_STREAM_ANSWERED); /* a relay is over: its end is on its way or was sent */
    h2_stream_linger(st);
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
    bool is_slow = now - stalled_since(st) < body_idle_ms(st);

    if (now - s->data_ms >= body_idle_ms(st))
        h2_session_fail(s, REASON_WRITE_TIMEOUT, NGHTTP2_ENHANCE_YOUR_CALM);
    else
        h2_stream_reset(st, is_slow ? REASON_SLOW_READ : REASON_WRITE_TIMEOUT, NGHTTP2_CANCEL);
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
            h2_stream_reset(st, REASON_UPGRADE_IDLE, NGHTTP2_CANCEL);
    } else if (h2_stream_waits(st)) {
        due = MIN(stalled_since(st) + idle, h2_stream_take_due_ms(st));
        if (due <= now)
            stall(st, now);
    } else if (st->state == H2_STREAM_EXCHANGE && !st->has_request_ended &&
               !http_upgrade_is_asked(&x->upgrade) && exchange_waits_for_client(x)) {
        due = st->body_due_ms;
        if (due <= now)
            h2_answer_break_off(st, REASON_BODY_TIMEOUT, NGHTTP2_CANCEL);
    } else { /* the origin's time counts, and its connection has deadlines of its own */
        st->body_due_ms = due = now + idle;
    }
    return due > now ? due : now + idle;
}
