/* h1_session - see h1_session.h. */
#include "traffic/h1_session.h"

#include <string.h>

#include "tls/tls.h"
#include "traffic/client.h"
#include "traffic/h1_codec.h"
#include "traffic/h1_request.h"
#include "traffic/own_answer.h"
#include "traffic/traffic_worker_internal.h"
#include "traffic/upstream.h"

static const unsigned next_of[] = {
#define X(name, next) [H1_##name] = (next),
    H1_SESSION_STATES(X)
#undef X
};

/* The only writer of s->state. */
static void session_enter(struct h1_session *s, enum h1_session_state to)
{
    const struct traffic_timeouts *t = &s->client->worker->settings->timeouts;
    int64_t secs = 0;

    must(next_of[s->state] & BIT(to));
    s->state = to;
    switch (to) {
    case H1_IDLE:
        secs = t->idle_secs;
        break;
    case H1_HEAD:
        secs = t->header_secs;
        break;
    case H1_EXCHANGE:
        secs = t->body_idle_secs;
        break;
    case H1_RELAY:
        secs = t->upgrade_idle_secs;
        break;
    case H1_OVER:
        return; /* the client's own */
    case H1_SESSION_STATE_COUNT:
        must(!"a state");
    }
    deadline_set(&s->client->deadline, (uint64_t)secs * 1000);
}

/* --- our own answers ---------------------------------------------------------------------- */

/* Back to the state between two requests, or to the end. */
static void end_request(struct h1_session *s)
{
    h1_body_fini(&s->body);
    exchange_reset(&s->exchange);
    s->has_head = s->has_answer_ended = s->is_chunked_out = s->is_upgrade = false;
    s->may_skip_line = true;
    session_enter(s, s->closes ? H1_OVER : H1_IDLE);
}

/* A refusal or a failure, as an answer; the connection ends with it unless the request is whole. */
static enum step answer(struct h1_session *s, enum traffic_reason reason)
{
    struct traffic_worker *w = s->client->worker;
    struct h1_text text = {.p = w->text, .size = sizeof(w->text)};
    struct own_answer own;

    if (traffic_reason_status(reason) == 0) {
        exchange_log(&s->exchange, 0, reason);
        client_abort(s->client);
        return STEP_WAIT;
    }
    own_answer_set(&own, &s->exchange, reason);
    own.minor = s->minor;
    own.closes = s->closes;
    own_answer_emit(&text, &own);
    client_put(s->client, text.p, text.n);
    exchange_own_body(&s->exchange, own.body_len);
    exchange_log(&s->exchange, own.status, reason);
    end_request(s);
    return STEP_MORE;
}

/* The end of a message is not known any more: nothing more is read. */
static enum step answer_and_close(struct h1_session *s, enum traffic_reason reason)
{
    s->closes = true;
    return answer(s, reason);
}

/* --- requests ----------------------------------------------------------------------------- */

/* A request is well formed: what is to be done with it. */
static enum step on_request(struct h1_session *s, struct http_request *r)
{
    struct traffic_worker *w = s->client->worker;
    enum traffic_reason reason = requester_check(&s->client->requester, r->authority);

    s->requests++;
    s->is_upgrade = r->upgrade.n > 0;
    s->has_request_ended = !s->is_upgrade && (r->framing == HTTP_NO_BODY ||
                                              (r->framing == HTTP_LENGTH && r->length == 0));
    s->closes = r->wants_close || w->is_draining ||
                s->requests >= (uint64_t)w->settings->limits.requests_per_connection;
    s->exchange.is_head = r->is_head;
    s->body_due_ms = loop_now_ms(w->loop) + (uint64_t)w->settings->timeouts.body_idle_secs * 1000;
    session_enter(s, H1_EXCHANGE);
    if (reason != REASON_NONE)
        return answer_and_close(s, reason);
    h1_body_init(&s->body, loop_pool(w->loop), r->framing, r->length);
    reason = exchange_start(&s->exchange, r);
    if (reason != REASON_NONE)
        return s->has_request_ended ? answer(s, reason) : answer_and_close(s, reason);
    if (s->has_request_ended)
        exchange_push_end(&s->exchange, NULL);
    return STEP_MORE;
}

static enum step parse_request(struct h1_session *s, const char *head)
{
    struct traffic_worker *w = s->client->worker;
    struct http_request *r = &w->request;
    struct exchange *x = &s->exchange;
    enum traffic_reason reason = h1_request_parse(r, head, &s->scan, &w->limits, "https");

    s->minor = r->minor;
    exchange_open(x, r->minor == 0 ? "HTTP/1.0" : "HTTP/1.1", r);
    s->scan = (struct h1_scan){0};
    if (reason != REASON_NONE) {
        x->is_head = r->is_head;
        return answer_and_close(s, reason);
    }
    return on_request(s, r);
}

/* A head that is not whole: kept, with an early look at its first line when that has come. */
static enum step keep_part(struct h1_session *s, bool had_line)
{
    struct client *c = s->client;
    size_t added;

    if (s->state == H1_IDLE) {
        if (h1_gather_add(&s->gather, c->in, c->in_len, s->client->worker->limits.head_bytes,
                          &added) != 0)
            return answer_and_close(s, REASON_NO_MEMORY);
        session_enter(s, H1_HEAD);
    }
    client_skip(c, c->in_len);
    if (s->scan.first_len > 0 && !had_line) {
        enum traffic_reason reason = h1_request_line_check(s->gather.bytes, s->scan.first_len);

        if (reason != REASON_NONE)
            return answer_and_close(s, reason);
    }
    return STEP_MORE;
}

static enum step read_head(struct h1_session *s)
{
    struct client *c = s->client;
    const struct h1_limits *limits = &c->worker->limits;
    size_t before = s->gather.len, added = c->in_len;
    const char *base = (const char *)c->in;
    bool had_line = s->scan.first_len > 0;
    enum traffic_reason reason;
    enum step step;

    if (s->state == H1_HEAD) {
        if (h1_gather_add(&s->gather, c->in, c->in_len, limits->head_bytes, &added) != 0)
            return answer_and_close(s, REASON_NO_MEMORY);
        base = s->gather.bytes;
    }
    reason = h1_scan_run(&s->scan, base, before + added, limits);
    if (reason != REASON_NONE)
        return answer_and_close(s, reason);
    if (s->scan.head_len == 0)
        return keep_part(s, had_line);
    client_skip(c,
                s->scan.head_len - before); /* the bytes stay where they are until the next fill */
    step = parse_request(s, base);
    h1_gather_fini(&s->gather);
    return step;
}

static enum step request_step(struct h1_session *s)
{
    struct client *c = s->client;

    s->is_held = client_room(c) == 0; /* who doesn't read its answers gets no more of them */
    if (s->is_held)
        return STEP_WAIT;
    switch (client_fill(c)) {
    case IO_OK:
        break;
    case IO_WAIT:
        return STEP_WAIT;
    case IO_EOF:
        session_enter(s, H1_OVER);
        return STEP_MORE;
    case IO_FAIL: /* between two requests, or in a head: nobody waits for an answer */
        c->is_broken = true;
        return STEP_WAIT;
    }
    if (s->state == H1_IDLE && s->may_skip_line) {
        s->may_skip_line = false; /* RFC 9112 2.2: one empty line in front is no harm */
        if (c->in_len >= 2 && c->in[0] == '\r' && c->in[1] == '\n') {
            client_skip(c, 2);
            return STEP_MORE;
        }
    }
    return read_head(s);
}

/* --- the body, and the end of the answer --------------------------------------------------- */

/* The request cannot go on: an answer if none has begun, else the cut must show. */
static enum step break_request(struct h1_session *s, enum traffic_reason reason)
{
    exchange_cancel(&s->exchange, reason);
    if (!s->has_head)
        return answer_and_close(s, reason);
    exchange_log(&s->exchange, s->exchange.status, reason);
    client_abort(s->client);
    return STEP_WAIT;
}

/* Of the body towards the origin; one record where buffers are short. */
static size_t body_room(const struct h1_session *s)
{
    const struct exchange *x = &s->exchange;
    size_t room = exchange_room(x);

    if (room == 0 || worker_pressure(x->worker) == PRESSURE_NONE)
        return room;
    return x->body.len < TLS_RECORD_BYTES ? MIN(room, TLS_RECORD_BYTES - x->body.len) : 0;
}

static enum step body_step(struct h1_session *s)
{
    struct client *c = s->client;
    struct exchange *x = &s->exchange;
    struct http_fields *trailers = &c->worker->trailers;
    size_t space = body_room(s);
    struct h1_piece piece;
    enum h1_body_step step;

    if (s->body.state != H1_BODY_NONE) {
        enum io io;

        if (space == 0) { /* the origin takes its time: none of the client's */
            s->body_due_ms = 0;
            return STEP_WAIT;
        }
        io = client_fill(c);
        if (io == IO_WAIT)
            return STEP_WAIT;
        if (io != IO_OK) {
            break_request(s, REASON_CLIENT_GONE);
            return STEP_WAIT;
        }
    }
    step = h1_body_run(&s->body, c->in, s->body.state == H1_BODY_NONE ? 0 : c->in_len, space,
                       trailers, &piece);
    client_skip(c, piece.used);
    switch (step) {
    case H1_STEP_MORE:
        break;
    case H1_STEP_DATA:
        exchange_push_body(x, piece.payload, piece.payload_len);
        break;
    case H1_STEP_END:
        s->has_request_ended = true;
        http_trailers_filter(trailers);
        exchange_push_end(x, trailers);
        break;
    case H1_STEP_BAD:
        return break_request(s, piece.reason);
    }
    return STEP_MORE;
}

static enum step finish_exchange(struct h1_session *s)
{
    struct exchange *x = &s->exchange;
    enum traffic_reason reason = x->reason;

    if (reason != REASON_NONE && !s->has_head) {
        if (!s->has_request_ended)
            s->closes = true;
        return answer(s, reason);
    }
    exchange_log(x, x->status, reason);
    if (reason != REASON_NONE) { /* the client must not take it for whole */
        client_abort(s->client);
        return STEP_WAIT;
    }
    must(s->has_answer_ended);
    end_request(s);
    return STEP_MORE;
}

static enum step exchange_step(struct h1_session *s)
{
    if (s->exchange.state == EXCHANGE_DONE)
        return finish_exchange(s);
    if (s->exchange.state == EXCHANGE_RELAYING) {
        session_enter(s, H1_RELAY);
        return STEP_MORE;
    }
    if (!s->has_request_ended && !s->is_upgrade)
        return body_step(s);
    /* Only to see whether the client is still there; what it sends meanwhile waits. */
    if (s->client->in_len == 0 && client_fill(s->client) == IO_FAIL) {
        exchange_log(&s->exchange, s->exchange.status, REASON_CLIENT_GONE);
        client_abort(s->client);
    }
    return STEP_WAIT;
}

static enum step relay_step(struct h1_session *s)
{
    struct client *c = s->client;
    struct exchange *x = &s->exchange;
    size_t n = body_room(s);
    enum io io;

    if (x->state == EXCHANGE_DONE) {
        exchange_log(x, x->status, x->reason);
        session_enter(s, H1_OVER);
        return STEP_MORE;
    }
    if (s->has_answer_ended)
        client_shut(c);
    if (s->has_request_ended || n == 0)
        return STEP_WAIT;
    io = client_fill(c);
    if (io == IO_WAIT)
        return STEP_WAIT;
    if (io == IO_OK) {
        n = MIN(n, c->in_len);
        exchange_push_body(x, c->in, n);
        client_skip(c, n);
        return STEP_MORE;
    }
    if (io == IO_FAIL && tls_error(c->tls) != -ERR_CLOSED) {
        exchange_cancel(x, REASON_CLIENT_GONE);
        exchange_log(x, x->status, REASON_CLIENT_GONE);
        client_abort(c);
        return STEP_WAIT;
    }
    s->has_request_ended = true;
    exchange_push_end(x, NULL);
    return STEP_WAIT;
}

static enum step session_step(struct client *c)
{
    struct h1_session *s = &c->h1;

    switch (s->state) {
    case H1_IDLE:
    case H1_HEAD:
        return request_step(s);
    case H1_EXCHANGE:
        return exchange_step(s);
    case H1_RELAY:
        return relay_step(s);
    case H1_OVER:
    case H1_SESSION_STATE_COUNT:
        break;
    }
    return STEP_WAIT;
}

/* --- life --------------------------------------------------------------------------------- */

static int start(struct client *c)
{
    struct h1_session *s = &c->h1;

    s->client = c;
    s->may_skip_line = true;
    exchange_init(&s->exchange, &c->requester, &h1_codec);
    deadline_set(&c->deadline, (uint64_t)c->worker->settings->timeouts.idle_secs * 1000);
    return 0;
}

static void fini(struct client *c)
{
    struct h1_session *s = &c->h1;

    if (s->state == H1_EXCHANGE || s->state == H1_RELAY)
        exchange_log(&s->exchange, s->exchange.status, client_end_reason(c));
    exchange_fini(&s->exchange);
    h1_body_fini(&s->body);
    h1_gather_fini(&s->gather);
}

static bool is_over(const struct client *c)
{
    return c->h1.state == H1_OVER;
}

static void on_due(struct client *c)
{
    struct h1_session *s = &c->h1;
    struct exchange *x = &s->exchange;

    switch (s->state) {
    case H1_IDLE:
        session_enter(s, H1_OVER);
        return;
    case H1_HEAD:
        answer_and_close(s, REASON_HEADER_TIMEOUT);
        return;
    case H1_EXCHANGE:
        if (client_out_len(c) > 0) {
            enum traffic_reason reason = client_write_reason(c);

            exchange_cancel(x, reason);
            exchange_log(x, x->status, reason);
            client_abort(c);
        } else if (!s->has_request_ended && !s->is_upgrade && exchange_waits_for_client(x)) {
            break_request(s, REASON_BODY_TIMEOUT);
        } else { /* the origin's time counts, and its connection has deadlines of its own */
            deadline_set(&c->deadline,
                         (uint64_t)c->worker->settings->timeouts.body_idle_secs * 1000);
        }
        return;
    case H1_RELAY:
        exchange_cancel(x, REASON_UPGRADE_IDLE);
        return;
    case H1_OVER:
    case H1_SESSION_STATE_COUNT:
        return;
    }
}

/* How long nothing may move from now on, when `got` bytes of a body have just come. */
static uint64_t patience_ms(struct h1_session *s, size_t got)
{
    const struct traffic_worker *w = s->client->worker;
    const struct traffic_timeouts *t = &w->settings->timeouts;
    uint64_t now = loop_now_ms(w->loop), latest = now + (uint64_t)t->body_idle_secs * 1000;

    if (s->state == H1_RELAY && !s->has_answer_ended && !s->has_request_ended)
        return (uint64_t)t->upgrade_idle_secs * 1000;
    if (s->state != H1_EXCHANGE || s->has_request_ended || s->has_head || s->is_upgrade ||
        s->body_due_ms == 0)
        s->body_due_ms = latest;
    else
        s->body_due_ms = MIN(s->body_due_ms + (uint64_t)got * 1000 / H1_BODY_RATE, latest);
    return s->body_due_ms > now ? s->body_due_ms - now : 1;
}

static void moved(struct client *c, size_t got)
{
    struct h1_session *s = &c->h1;

    if (s->state == H1_EXCHANGE)
        deadline_set(&c->deadline, client_clip_patience(c, patience_ms(s, got)));
    else if (s->state == H1_RELAY)
        deadline_set(&c->deadline, patience_ms(s, got));
}

static bool wants_input(const struct client *c)
{
    const struct h1_session *s = &c->h1;

    switch (s->state) {
    case H1_IDLE:
    case H1_HEAD:
        return client_room(s->client) > 0;
    case H1_EXCHANGE:
        return s->has_request_ended || s->is_upgrade || body_room(s) > 0;
    case H1_RELAY:
        return !s->has_request_ended && body_room(s) > 0;
    case H1_OVER:
    case H1_SESSION_STATE_COUNT:
        break;
    }
    return false;
}

static void on_room(struct client *c)
{
    struct h1_session *s = &c->h1;

    if (s->is_held && client_room(s->client) > 0) {
        s->is_held = false;
        client_wake(s->client);
    }
    if ((s->state == H1_EXCHANGE || s->state == H1_RELAY) &&
        client_room(s->client) >= UPSTREAM_READ_MIN)
        exchange_resume(&s->exchange);
}

static bool drain(struct client *c)
{
    struct h1_session *s = &c->h1;

    s->closes = true;
    if (s->state != H1_IDLE)
        return false;
    session_enter(s, H1_OVER);
    return true;
}

const struct client_session h1_session_of_client = {
    start, fini, session_step, is_over, on_due, moved, wants_input, on_room, drain,
};
