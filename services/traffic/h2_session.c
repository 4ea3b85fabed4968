/* h2_session - see h2_session.h.
 *
 * A client's bytes go to nghttp2 frame by frame: each is judged by its head first (judge_frame), so
 * that also those count that nghttp2 passes over in silence.  Once nghttp2 was left by an error, or
 * a rule of ours was broken, it is not asked any more: the GOAWAY is of our own making.
 */
#include "traffic/h2_session.h"

#include <nghttp2/nghttp2.h>

#include "traffic/client.h"
#include "traffic/h2_library.h"
#include "traffic/h2_stream.h"
#include "traffic/traffic_worker_internal.h"

#define GOAWAY_BYTES      17u
#define TOKENS_OF_REQUEST 2u

static const unsigned next_of[] = {
#define X(name, next) [H2_##name] = (next),
    H2_SESSION_STATES(X)
#undef X
};

static uint64_t now_ms(const struct h2_session *s)
{
    return loop_now_ms(s->client->worker->loop);
}

static const struct traffic_timeouts *timeouts(const struct h2_session *s)
{
    return &s->client->worker->settings->timeouts;
}

/* The only writer of s->state. */
static void session_enter(struct h2_session *s, enum h2_session_state to)
{
    must(next_of[s->state] & BIT(to));
    s->state = to;
    switch (to) {
    case H2_OPEN:
    case H2_LEAVING:
    case H2_REFUSED:
        break;
    case H2_NOTICE:
        s->notice_ms = now_ms(s);
        h2_session_due_at(s, s->notice_ms + H2_NOTICE_MS);
        break;
    case H2_FAILED:
    case H2_OVER:
        client_wake(s->client);
        break;
    case H2_SESSION_STATE_COUNT:
        must(!"a state");
    }
}

void h2_session_due_at(struct h2_session *s, uint64_t ms)
{
    uint64_t now = now_ms(s);

    if (s->due_ms != 0 && s->due_ms <= ms)
        return;
    s->due_ms = ms;
    deadline_set(&s->client->deadline, ms > now ? ms - now : 1);
}

/* --- what is held ----------------------------------------------------------------------------- */

enum traffic_reason h2_session_hold(struct h2_session *s, size_t n)
{
    static const enum traffic_reason reasons[] = {
        [H2_HELD_TAKEN] = REASON_NONE,
        [H2_HELD_FULL] = REASON_H2_HEADS,
        [H2_HELD_UNLENT] = REASON_H2_UNLENT,
    };
    const struct traffic_limits *l = &s->client->worker->settings->limits;

    return reasons[h2_held_take(&s->held, n,
                                &(struct h2_held_limits){.connection = (uint64_t)l->h2_heads_bytes,
                                                         .shared = (uint64_t)l->h2_shared_bytes})];
}

void h2_session_head_grew(struct h2_session *s)
{
    size_t size = s->head.text.size;
    enum traffic_reason reason;

    if (size == s->head_held)
        return;
    h2_session_head_whole(s); /* all of it anew: the first head of a connection is always taken */
    reason = h2_session_hold(s, size);
    if (reason == REASON_NONE)
        s->head_held = size;
    else
        h2_head_give_up(&s->head, reason);
}

void h2_session_head_whole(struct h2_session *s)
{
    h2_held_give(&s->held, s->head_held);
    s->head_held = 0;
}

void h2_session_head_over(struct h2_session *s)
{
    h2_head_fini(&s->head);
    h2_session_head_whole(s);
}

/* --- its end -------------------------------------------------------------------------------- */

void h2_session_fail(struct h2_session *s, enum traffic_reason reason, uint32_t code)
{
    if (s->state == H2_FAILED || s->state == H2_OVER)
        return;
    s->failure = reason;
    s->failure_code = code;
    session_enter(s, H2_FAILED);
}

static void end_streams(struct h2_session *s, enum traffic_reason reason)
{
    LIST_EACH (&s->streams, node, after)
        h2_stream_end(container_of(node, struct h2_stream, node), reason);
}

static void note_failure(const struct h2_session *s, enum traffic_reason reason)
{
    struct traffic_worker *w = s->client->worker;

    worker_count_reason(w, reason);
    if (log_limit_pass(&w->refusals, loop_now_ms(w->loop)))
        log_warn("traffic", "h2_connection_ended",
                 LOG_S("client", s->client->requester.forward.address),
                 LOG_S("host", s->client->requester.sni),
                 LOG_S("reason", traffic_reason_word(reason)), LOG_U("requests", s->requests));
}

void h2_session_refused(struct h2_session *s)
{
    note_failure(s, REASON_H2_PROTOCOL);
    if (s->state != H2_REFUSED && s->state != H2_FAILED && s->state != H2_OVER)
        session_enter(s, H2_REFUSED);
}

void h2_session_stream_ended(struct h2_session *s)
{
    must(s->stream_count > 0);
    if (--s->stream_count > 0)
        return;
    s->quiet_ms = now_ms(s);
    h2_session_due_at(s, s->quiet_ms + (uint64_t)timeouts(s)->idle_secs * 1000);
}

/* A GOAWAY of our own making: nghttp2 is not asked any more once it has been left by an error. */
static void put_goaway(struct h2_session *s, uint32_t code)
{
    uint32_t last = (uint32_t)nghttp2_session_get_last_proc_stream_id(s->ng);
    uint8_t frame[GOAWAY_BYTES] = {0, 0, 8, NGHTTP2_GOAWAY};

    for (unsigned i = 0; i < 4; i++) {
        frame[9 + i] = (uint8_t)(last >> (24 - 8 * i));
        frame[13 + i] = (uint8_t)(code >> (24 - 8 * i));
    }
    client_put(s->client, frame, sizeof(frame));
}

static enum step over(struct h2_session *s)
{
    if (s->state != H2_OVER)
        session_enter(s, H2_OVER);
    return STEP_MORE;
}

/* Ends as h2_session_fail() asked for. */
static enum step end_failed(struct h2_session *s)
{
    note_failure(s, s->failure);
    put_goaway(s, s->failure_code);
    end_streams(s, s->failure);
    return over(s);
}

void h2_session_leave(struct h2_session *s)
{
    if (s->state != H2_OPEN)
        return;
    session_enter(s, H2_NOTICE);
    if (nghttp2_submit_shutdown_notice(s->ng) != 0 ||
        nghttp2_submit_ping(s->ng, NGHTTP2_FLAG_NONE, NULL) != 0)
        h2_session_fail(s, REASON_NO_MEMORY, NGHTTP2_INTERNAL_ERROR);
}

/* The client knows that no more is wanted: what it began until now is the last. */
void h2_session_say_last(struct h2_session *s)
{
    if (s->state != H2_NOTICE)
        return;
    session_enter(s, H2_LEAVING);
    if (nghttp2_submit_goaway(s->ng, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(s->ng), NGHTTP2_NO_ERROR,
                              NULL, 0) != 0)
        h2_session_fail(s, REASON_NO_MEMORY, NGHTTP2_INTERNAL_ERROR);
}

/* --- frames of the client -------------------------------------------------------------------- */

bool h2_session_count_reset(struct h2_session *s)
{
    if (h2_bucket_take(&s->resets, now_ms(s)))
        return true;
    h2_session_fail(s, REASON_H2_RESETS, NGHTTP2_ENHANCE_YOUR_CALM);
    return false;
}

/* HEADERS or DATA of a stream that is not open any more: an error, or what was on its way. */
static bool is_late(struct h2_session *s, uint8_t type, int32_t id)
{
    if (id == 0 || id > s->last_id || nghttp2_session_get_stream_user_data(s->ng, id))
        return false;
    switch (h2_closed_find(&s->closed, id)) {
    case H2_CLOSED_BY_US:
        break;
    case H2_CLOSED_BY_CLIENT:
        h2_session_fail(s, REASON_H2_PROTOCOL, NGHTTP2_STREAM_CLOSED);
        break;
    case H2_CLOSED_UNKNOWN: /* or so long ago that others took its place: of DATA no harm comes */
        if (type == NGHTTP2_HEADERS)
            h2_session_fail(s, REASON_H2_PROTOCOL, NGHTTP2_PROTOCOL_ERROR);
        break;
    }
    return true;
}

static void count_control(struct h2_session *s)
{
    if (!h2_bucket_take(&s->control, now_ms(s)))
        h2_session_fail(s, REASON_H2_CONTROL_FRAMES, NGHTTP2_ENHANCE_YOUR_CALM);
}

/* A frame begins; nothing of it was seen by nghttp2 yet. */
static void judge_frame(struct h2_session *s, const struct h2_walk *f)
{
    bool is_of_late = (f->type == NGHTTP2_HEADERS || f->type == NGHTTP2_DATA) &&
                      is_late(s, f->type, f->stream_id);

    switch (f->type) {
    case NGHTTP2_RST_STREAM:
        h2_session_count_reset(s);
        break;
    case NGHTTP2_HEADERS:
        s->last_id = MAX(s->last_id, f->stream_id);
        if (is_of_late) /* decoded all the same, and no request */
            count_control(s);
        else
            h2_bucket_give(&s->control, TOKENS_OF_REQUEST);
        break;
    case NGHTTP2_CONTINUATION: /* has a limit of its own */
        break;
    case NGHTTP2_DATA:
        if (f->length == 0 && !(f->flags & NGHTTP2_FLAG_END_STREAM))
            count_control(s);
        break;
    default:
        count_control(s);
        break;
    }
}

/* DATA that has nothing but padding, the length of which comes first. */
static bool is_padding(const struct h2_walk *f)
{
    return f->type == NGHTTP2_DATA && f->length > 0 && f->length == 1 + (f->first >> 24) &&
           (f->flags & (NGHTTP2_FLAG_PADDED | NGHTTP2_FLAG_END_STREAM)) == NGHTTP2_FLAG_PADDED;
}

/* A frame is whole, nghttp2 had it.  Priorities are ignored, but for what was always an error in
 * them. */
static void judge_whole(struct h2_session *s, const struct h2_walk *f)
{
    if (f->type == NGHTTP2_PRIORITY &&
        (f->stream_id == 0 || f->stream_id == (int32_t)(f->first & INT32_MAX)))
        h2_session_fail(s, REASON_H2_PROTOCOL, NGHTTP2_PROTOCOL_ERROR);
    if (is_padding(f))
        count_control(s);
}

/* --- sending and reading -------------------------------------------------------------------- */

void h2_session_send(struct h2_session *s)
{
    struct client *c = s->client;

    while (s->state != H2_OVER && s->state != H2_FAILED && client_room(c) > 0) {
        const uint8_t *bytes;
        ssize_t n = nghttp2_session_mem_send(s->ng, &bytes);

        if (n < 0)
            h2_session_fail(s, REASON_NO_MEMORY, NGHTTP2_INTERNAL_ERROR);
        if (n <= 0)
            return;
        client_put(c, bytes, (size_t)n);
    }
}

/* nghttp2 was left by an error. */
static enum step leave_library(struct h2_session *s, int error)
{
    enum traffic_reason reason = REASON_H2_PROTOCOL;
    uint32_t code = NGHTTP2_PROTOCOL_ERROR;

    if (s->state != H2_FAILED) {
        if (error == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS) {
            reason = REASON_H2_CONTINUATIONS;
            code = NGHTTP2_ENHANCE_YOUR_CALM;
        } else if (error == NGHTTP2_ERR_FLOODED) {
            reason = REASON_H2_CONTROL_FRAMES;
            code = NGHTTP2_ENHANCE_YOUR_CALM;
        } else if (error == NGHTTP2_ERR_NOMEM) {
            reason = REASON_NO_MEMORY;
            code = NGHTTP2_INTERNAL_ERROR;
        }
        h2_session_fail(s, reason, code);
    }
    return end_failed(s);
}

static void attend(struct h2_session *s)
{
    while (!list_is_empty(&s->attention))
        h2_stream_attend(container_of(s->attention.next, struct h2_stream, attention));
}

/* The n bytes, frame by frame: 0, or nghttp2's error. */
static int feed(struct h2_session *s, const uint8_t *p, size_t n)
{
    size_t from = 0, at = 0;

    do {
        size_t used;
        enum h2_walk_step step = h2_walk_next(&s->walk, p + at, n - at, &used);
        ssize_t rc;

        at += used;
        if (step == H2_WALK_HEAD) {
            judge_frame(s, &s->walk);
            if (s->state == H2_FAILED)
                return NGHTTP2_ERR_CALLBACK_FAILURE;
            continue; /* also when nothing is left: a frame without payload has an end */
        }
        rc = nghttp2_session_mem_recv(s->ng, p + from, at - from);
        if (rc < 0)
            return (int)rc;
        from = at;
        if (step == H2_WALK_END)
            judge_whole(s, &s->walk);
        if (s->state == H2_FAILED)
            return NGHTTP2_ERR_CALLBACK_FAILURE;
    } while (at < n || from < n);
    return 0;
}

static enum step read_some(struct h2_session *s)
{
    struct client *c = s->client;
    enum io io = client_fill(c);
    int rc;

    if (io == IO_WAIT)
        return STEP_WAIT;
    if (io == IO_EOF) {
        end_streams(s, REASON_CLIENT_GONE);
        return over(s);
    }
    if (io == IO_FAIL) {
        c->is_broken = true;
        return STEP_WAIT;
    }
    s->held.sent += c->in_len;
    rc = feed(s, c->in, c->in_len);
    if (rc < 0)
        return leave_library(s, rc);
    client_skip(c, c->in_len);
    if (s->head_since_ms != 0)
        h2_session_due_at(s, s->head_since_ms + (uint64_t)timeouts(s)->header_secs * 1000);
    return STEP_MORE;
}

static enum step session_step(struct client *c)
{
    struct h2_session *s = &c->h2;
    enum step step;

    if (s->state == H2_OVER)
        return STEP_WAIT;
    attend(s);
    s->is_held = client_room(c) == 0; /* who doesn't read gets no more */
    step = s->is_held ? STEP_WAIT : read_some(s);
    if (s->state == H2_OVER || c->is_broken)
        return step;
    h2_session_send(s);
    if (s->state == H2_FAILED)
        return end_failed(s);
    if (s->state == H2_LEAVING && s->stream_count == 0 && !nghttp2_session_want_write(s->ng))
        return over(s);
    if (!nghttp2_session_want_read(s->ng) && !nghttp2_session_want_write(s->ng)) {
        end_streams(s, s->state == H2_REFUSED ? REASON_H2_PROTOCOL : REASON_CLIENT_GONE);
        return over(s);
    }
    return step;
}

/* --- time ----------------------------------------------------------------------------------- */

static void check_streams(struct h2_session *s, uint64_t now)
{
    LIST_EACH (&s->streams, node, after)
        h2_session_due_at(s, h2_stream_check(container_of(node, struct h2_stream, node), now));
}

static void check_notice(struct h2_session *s, uint64_t now)
{
    if (s->state != H2_NOTICE)
        return;
    if (s->notice_ms + H2_NOTICE_MS <= now)
        h2_session_say_last(s);
    else
        h2_session_due_at(s, s->notice_ms + H2_NOTICE_MS);
}

static void check_head(struct h2_session *s, uint64_t now)
{
    uint64_t due = s->head_since_ms + (uint64_t)timeouts(s)->header_secs * 1000;

    if (s->head_since_ms == 0)
        return;
    if (due <= now)
        h2_session_fail(s, REASON_HEADER_TIMEOUT, NGHTTP2_ENHANCE_YOUR_CALM);
    else
        h2_session_due_at(s, due);
}

static bool has_only_relays(const struct h2_session *s)
{
    LIST_EACH (&s->streams, node, after)
        if (!h2_stream_is_relay(container_of(node, struct h2_stream, node)))
            return false;
    return s->stream_count > 0;
}

/* What waits for the client: false when it takes too little of it, and is cut off. */
static bool check_write(struct h2_session *s, uint64_t now)
{
    struct client *c = s->client;
    enum traffic_reason reason;

    if (has_only_relays(s))
        client_forgive_write(c);
    if (client_write_due_ms(c) == 0)
        return true;
    if (client_write_due_ms(c) > now) {
        h2_session_due_at(s, client_write_due_ms(c));
        return true;
    }
    reason = client_write_reason(c);
    if (s->stream_count == 0)
        worker_count_reason(c->worker, reason);
    end_streams(s, reason);
    client_abort(c);
    return false;
}

static void on_due(struct client *c)
{
    struct h2_session *s = &c->h2;
    uint64_t now = now_ms(s), idle = (uint64_t)timeouts(s)->idle_secs * 1000;

    s->due_ms = 0;
    if (s->state == H2_OVER || !check_write(s, now))
        return;
    check_notice(s, now);
    check_head(s, now);
    check_streams(s, now);
    if (s->stream_count > 0 || s->head_since_ms != 0)
        return;
    if (now - s->quiet_ms < idle) {
        h2_session_due_at(s, s->quiet_ms + idle);
        return;
    }
    put_goaway(s, NGHTTP2_NO_ERROR);
    over(s);
}

/* Nothing begins anew by this: each stream knows when its own bytes moved, the client when it took
 * some. */
static void moved(struct client *c, size_t got)
{
    (void)c;
    (void)got;
}

/* --- life ----------------------------------------------------------------------------------- */

static int start(struct client *c)
{
    struct h2_session *s = &c->h2;
    const struct traffic_limits *l = &c->worker->settings->limits;
    uint64_t now = loop_now_ms(c->worker->loop);
    int rc;

    s->client = c;
    s->held.shared = c->worker->h2_lent;
    s->held.address = &c->worker->h2_lent_to[c->address_slot];
    list_init(&s->streams);
    list_init(&s->attention);
    s->window_bytes = (size_t)l->buffer_bytes;
    h2_bucket_init(&s->resets, (uint64_t)l->h2_resets, now);
    h2_bucket_init(&s->control, (uint64_t)l->h2_control_frames, now);
    s->data_ms = s->quiet_ms = now;
    rc = h2_closed_init(&s->closed, (unsigned)l->h2_streams);
    if (rc == 0)
        rc = h2_library_new(s, l);
    if (rc != 0) {
        h2_closed_fini(&s->closed);
        return rc;
    }
    COUNT(c->worker, h2_connections);
    h2_session_due_at(s, now + (uint64_t)c->worker->settings->timeouts.idle_secs * 1000);
    if (c->worker->is_draining)
        h2_session_leave(s);
    return 0;
}

static void fini(struct client *c)
{
    struct h2_session *s = &c->h2;

    end_streams(s, client_end_reason(c));
    h2_session_head_over(s);
    nghttp2_session_del(s->ng);
    s->ng = NULL;
    h2_closed_fini(&s->closed);
    h2_held_end(&s->held);
}

static bool is_over(const struct client *c)
{
    return c->h2.state == H2_OVER;
}

static bool wants_input(const struct client *c)
{
    return c->h2.state != H2_OVER && client_room(c->h2.client) > 0;
}

static void on_room(struct client *c)
{
    struct h2_session *s = &c->h2;

    if (s->state == H2_OVER)
        return;
    if (client_write_due_ms(c) != 0) /* what did not go waits from now on */
        h2_session_due_at(s, client_write_due_ms(c));
    if (client_room(c) == 0)
        return;
    if (s->is_held || nghttp2_session_want_write(s->ng))
        client_wake(c);
    if (!s->is_starved)
        return;
    s->is_starved = false;
    LIST_EACH (&s->streams, node, after)
        h2_stream_resume(container_of(node, struct h2_stream, node));
}

static bool drain(struct client *c)
{
    h2_session_leave(&c->h2);
    return true;
}

const struct client_session h2_session_of_client = {
    start, fini, session_step, is_over, on_due, moved, wants_input, on_room, drain,
};
