/* exchange - see exchange.h. */
#include "traffic/exchange.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "loop/loop.h"
#include "traffic/access_log.h"
#include "traffic/forward_rules.h"
#include "traffic/h1_emit.h"
#include "traffic/traffic_worker_internal.h"
#include "traffic/upstream.h"

#define EXTRAS_MAX    (FORWARD_EXTRAS_MAX + ROUTE_HEADERS_BYTES) /* and the route's own fields */
#define TRAILER_BYTES (H1_TRAILER_BYTES + 128u) /* written anew: some blanks more */

static const unsigned next_of[] = {
#define X(name, next) [EXCHANGE_##name] = (next),
    EXCHANGE_STATES(X)
#undef X
};

/* The only writer of x->state. */
static void exchange_enter(struct exchange *x, enum exchange_state to)
{
    must(next_of[x->state] & BIT(to));
    if (to == EXCHANGE_RELAYING) {
        COUNT(x->worker, upgrades);
        COUNT(x->worker, upgrades_open);
    }
    if (x->state == EXCHANGE_RELAYING)
        COUNT_DOWN(x->worker, upgrades_open);
    x->state = to;
}

void exchange_init(struct exchange *x, struct requester *requester,
                   const struct exchange_codec *codec)
{
    struct traffic_worker *w = requester->worker;

    memset(x, 0, sizeof(*x));
    x->worker = w;
    x->requester = requester;
    x->codec = codec;
    x->state = EXCHANGE_IDLE;
    bufq_init(&x->body, loop_pool(w->loop), (size_t)w->settings->limits.buffer_bytes);
    bufq_init(&x->trailers, loop_pool(w->loop), TRAILER_BYTES);
}

/* Once the answer has begun no other destination will be asked.  A download or a WebSocket may last
 * for hours: it must not keep the whole set of its time. */
static void let_go_of_routes(struct exchange *x)
{
    route_hold_unref(x->hold);
    x->hold = NULL;
    x->route = NULL;
    x->pool = NULL;
    x->choice.attempts = 0; /* of `tried` */
}

static void drop_head(struct exchange *x)
{
    free(x->head);
    x->head = NULL;
    x->head_len = x->head_sent = 0;
}

static void drop_bytes(struct exchange *x)
{
    drop_head(x);
    bufq_clear(&x->body);
    bufq_clear(&x->trailers);
}

void exchange_fini(struct exchange *x)
{
    if (!x->worker)
        return;
    if (x->state != EXCHANGE_IDLE && x->state != EXCHANGE_DONE)
        exchange_cancel(x, REASON_CLIENT_GONE);
    exchange_reset(x);
    x->worker = NULL;
}

void exchange_reset(struct exchange *x)
{
    struct requester *requester = x->requester;
    const struct exchange_codec *codec = x->codec;

    must((x->state == EXCHANGE_DONE || x->state == EXCHANGE_IDLE) && !x->upstream);
    if (x->state == EXCHANGE_DONE)
        exchange_enter(x, EXCHANGE_IDLE);
    if (x->is_counted)
        COUNT_DOWN(x->worker, exchanges_open);
    let_go_of_routes(x);
    route_options_unref(x->options);
    free(x->notes);
    drop_bytes(x);
    exchange_init(x, requester, codec);
}

/* The end, with the reason when it failed.  The codec sees it when it runs. */
static void finish(struct exchange *x, enum traffic_reason reason)
{
    struct upstream *u = x->upstream;

    x->upstream = NULL;
    auth_check_cancel(&x->check);
    if (reason != REASON_NONE && x->reason == REASON_NONE)
        x->reason = reason;
    exchange_enter(x, EXCHANGE_DONE);
    drop_bytes(x);
    if (u)
        upstream_drop(u);
}

static void fail(struct exchange *x, enum traffic_reason reason)
{
    finish(x, reason);
    x->codec->wake(x);
}

/* --- destinations ------------------------------------------------------------------------- */

static void note_unreachable(struct exchange *x, struct upstream_pool *pool)
{
    COUNT(x->worker, upstream_connect_failures);
    if (upstream_pool_failed(pool, loop_now_ms(x->worker->loop)))
        worker_tell_target(x->worker, pool->key, false);
}

static void set_pool(struct exchange *x, struct upstream_pool *pool)
{
    x->pool = pool;
    memcpy(x->target, pool->key, sizeof(x->target));
}

/* A kept connection or a new one, at the first destination that has either. */
static enum traffic_reason find_upstream(struct exchange *x)
{
    const struct route_slot *slot = route_hold_slot(x->hold, x->route);
    struct upstream_pool *pool;
    bool was_full = false;

    while ((pool = upstream_choice_next(&x->choice, slot, x->route, loop_now_ms(x->worker->loop),
                                        &x->worker->dice))) {
        int rc;

        set_pool(x, pool);
        x->upstream = upstream_take(x->worker, pool, x);
        if (x->upstream) {
            exchange_enter(x, EXCHANGE_WAITING);
            return REASON_NONE;
        }
        rc = upstream_connect(x->worker, pool, x, &x->upstream);
        if (rc == 0) {
            if (x->state != EXCHANGE_CONNECTING)
                exchange_enter(x, EXCHANGE_CONNECTING);
            return REASON_NONE;
        }
        if (rc == -ERR_LIMIT)
            was_full = true;
        else if (rc == -ERR_CONNECT)
            note_unreachable(x, pool);
        else
            return REASON_NO_MEMORY;
    }
    if (was_full)
        return REASON_UPSTREAM_FULL;
    return x->is_timed_out ? REASON_UPSTREAM_TIMEOUT : REASON_UPSTREAM_CONNECT;
}

/* --- start -------------------------------------------------------------------------------- */

static void choose_id(struct exchange *x, const struct http_request *r)
{
    if (request_id_read(x->request_id, &r->fields) || !x->worker->settings->generate_request_id)
        return;
    request_id_make(x->request_id, &x->worker->request_ids);
    x->has_own_id = true;
}

void exchange_open(struct exchange *x, const char *protocol, const struct http_request *r)
{
    must(x->state == EXCHANGE_IDLE && x->started_us == 0);
    COUNT(x->worker, requests);
    x->started_us = clock_now_us();
    x->protocol = protocol;
    if (!r)
        return;
    choose_id(x, r);
    if (x->worker->settings->log_access)
        access_log_note(x, r);
}

void exchange_log(struct exchange *x, unsigned status, enum traffic_reason reason)
{
    uint64_t us = x->started_us > 0 ? clock_now_us() - x->started_us : 0;

    if (x->is_logged)
        return;
    x->is_logged = true;
    worker_count_request(x->worker, status, us);
    if (reason != REASON_NONE)
        worker_count_reason(x->worker, reason);
    access_log_request(x, status, us, reason);
}

void exchange_own_body(struct exchange *x, size_t n)
{
    x->bytes_out = n;
}

/* The request as it goes to the origin, into x->head. */
static enum traffic_reason build_head(struct exchange *x, struct http_request *r)
{
    char extras[EXTRAS_MAX];
    struct h1_text text = {.p = x->worker->text, .size = sizeof(x->worker->text)};
    struct h1_text more = {.p = extras, .size = sizeof(extras)};

    more.n = forward_extras(extras, &x->requester->forward, r->authority);
    if (more.n == 0)
        return REASON_HEADER_TOO_LARGE;
    forward_request_filter(r, x->route->auth && !x->options->forwards_authorization);
    if (x->has_own_id)
        request_id_put(&r->fields, x->request_id);
    forward_rules_request(x->options, r, &more);
    if (more.is_cut)
        return REASON_HEADER_TOO_LARGE;
    h1_request_emit(&text, r, (struct http_text){extras, more.n});
    if (text.is_cut)
        return REASON_HEADER_TOO_LARGE;
    x->head = malloc(text.n); /* a chunk of the pool would be thirty times what most heads need */
    if (!x->head)
        return REASON_NO_MEMORY;
    memcpy(x->head, text.p, text.n);
    x->head_len = text.n;
    return REASON_NONE;
}

static bool is_body_too_large(const struct exchange *x, uint64_t bytes)
{
    return bytes > x->options->max_body_bytes && !http_upgrade_is_asked(&x->upgrade);
}

/* The credentials were right, or wrong. */
static void on_verdict(struct auth_check *check, enum traffic_reason reason)
{
    struct exchange *x = container_of(check, struct exchange, check);

    must(x->state == EXCHANGE_CHECKING);
    if (reason == REASON_NONE) {
        access_log_note_user(x);
        reason = find_upstream(x);
    }
    if (reason != REASON_NONE)
        fail(x, reason);
}

enum traffic_reason exchange_start(struct exchange *x, struct http_request *r)
{
    const struct route *route = requester_route(x->requester);
    struct route_slot *slot;
    enum traffic_reason reason;
    bool waits;

    must(x->state == EXCHANGE_IDLE && !x->hold && route);
    if (worker_pressure(x->worker) != PRESSURE_NONE)
        return REASON_NO_MEMORY;
    reason = auth_gate_ask(x->worker, route, r, x->requester->forward.address, &x->check, &waits);
    if (reason != REASON_NONE)
        return reason;
    x->hold = route_hold_ref(x->requester->hold);
    x->route = route;
    if (!waits)
        access_log_note_user(x);
    x->options = route_options_ref(route->options);
    x->is_counted = true;
    COUNT(x->worker, exchanges_open);
    x->is_idempotent = r->is_idempotent;
    x->is_repeatable = r->is_idempotent && r->framing != HTTP_CHUNKED && r->length == 0;
    x->is_head = r->is_head;
    http_upgrade_note(&x->upgrade, r);
    x->expects_continue = r->expects_continue;
    x->framer.is_chunked = r->framing == HTTP_CHUNKED;
    slot = route_hold_slot(x->hold, route);
    if (!slot) {
        finish(x, REASON_NO_MEMORY);
        return REASON_NO_MEMORY;
    }
    upstream_choice_start(&x->choice, slot, route);
    reason = is_body_too_large(x, r->framing == HTTP_LENGTH ? r->length : 0)
                 ? REASON_LENGTH_TOO_LARGE
                 : build_head(x, r);
    if (reason == REASON_NONE && waits) {
        x->check.on_verdict = on_verdict;
        exchange_enter(x, EXCHANGE_CHECKING);
        return REASON_NONE;
    }
    if (reason == REASON_NONE)
        reason = find_upstream(x);
    if (reason != REASON_NONE)
        finish(x, reason);
    return reason;
}

/* --- the codec's side --------------------------------------------------------------------- */

size_t exchange_room(const struct exchange *x)
{
    if (x->state == EXCHANGE_DONE || x->state == EXCHANGE_IDLE)
        return 0;
    return bufq_room(&x->body);
}

void exchange_push_body(struct exchange *x, const uint8_t *bytes, size_t n)
{
    must(n <= exchange_room(x) && !x->is_ended);
    if (n == 0)
        return;
    if (is_body_too_large(x, x->bytes_in + n)) {
        fail(x, REASON_LENGTH_TOO_LARGE);
        return;
    }
    if (bufq_push(&x->body, bytes, n) != 0) {
        fail(x, REASON_NO_MEMORY);
        return;
    }
    x->bytes_in += n;
    COUNT_N(x->worker, bytes_in, n);
    if (x->upstream)
        upstream_wake(x->upstream);
}

void exchange_push_end(struct exchange *x, const struct http_fields *trailers)
{
    must(!x->is_ended);
    x->is_ended = true;
    if (x->state == EXCHANGE_DONE)
        return;
    if (x->framer.is_chunked && trailers && trailers->count > 0) {
        struct h1_text text = {.p = x->worker->text, .size = TRAILER_BYTES};

        h1_trailers_emit(&text, trailers);
        if (text.is_cut || bufq_push(&x->trailers, text.p, text.n) != 0) {
            fail(x, REASON_NO_MEMORY);
            return;
        }
    }
    if (x->upstream)
        upstream_wake(x->upstream);
}

void exchange_resume(struct exchange *x)
{
    if (x->upstream && x->upstream->is_paused)
        upstream_wake(x->upstream);
}

void exchange_cancel(struct exchange *x, enum traffic_reason reason)
{
    if (x->state != EXCHANGE_DONE && x->state != EXCHANGE_IDLE)
        finish(x, reason);
}

/* --- the upstream's side ------------------------------------------------------------------ */

static bool may_send_body(const struct exchange *x)
{
    return !http_upgrade_is_asked(&x->upgrade) || x->state == EXCHANGE_RELAYING;
}

/* Of the payload under way, *left bytes: as many of them as the pieces hold. */
static size_t payload_output(const struct exchange *x, struct iovec *out, size_t max, size_t *left)
{
    size_t count = *left > 0 ? bufq_peek(&x->body, out, max) : 0;

    for (size_t i = 0; i < count; i++) {
        out[i].iov_len = MIN(out[i].iov_len, *left);
        *left -= out[i].iov_len;
        if (*left == 0)
            return i + 1;
    }
    return count;
}

size_t exchange_output(struct exchange *x, struct iovec *out, size_t max)
{
    struct h1_framer *f = &x->framer;
    size_t count = 0, left, n;
    const char *text;

    must(max >= 5);
    if (x->head_sent < x->head_len)
        out[count++] = (struct iovec){x->head + x->head_sent, x->head_len - x->head_sent};
    if (!may_send_body(x))
        return count;
    h1_framer_next(f, x->body.len, x->is_ended, x->trailers.len > 0);
    n = h1_framer_text(f, &text);
    if (n > 0)
        out[count++] = (struct iovec){(char *)text, n};
    left = f->left;
    count += payload_output(x, out + count, max - count - 1, &left);
    if (left > 0)
        return count; /* the rest of the chunk first */
    n = h1_framer_tail(f, &text);
    if (n > 0)
        out[count++] = (struct iovec){(char *)text, n};
    if (f->is_last)
        count += bufq_peek(&x->trailers, out + count, max - count);
    return count;
}

void exchange_sent(struct exchange *x, size_t n)
{
    size_t of_head = MIN(n, x->head_len - x->head_sent), payload;

    x->head_sent += of_head;
    n -= of_head;
    payload = h1_framer_sent(&x->framer, &n);
    if (n > 0)
        bufq_skip(&x->trailers, n);
    x->trailers_taken += n;
    if (payload == 0)
        return;
    bufq_skip(&x->body, payload);
    x->body_taken += payload;
    x->codec->taken(x, payload);
}

bool exchange_is_sent(const struct exchange *x)
{
    return x->is_ended && x->body.len == 0 && x->head_sent == x->head_len &&
           h1_framer_is_done(&x->framer) && x->trailers.len == 0;
}

size_t exchange_client_room(const struct exchange *x)
{
    return x->codec->room(x);
}

bool exchange_waits_for_client(const struct exchange *x)
{
    bool may_send = !x->expects_continue || x->has_continued || x->bytes_in > 0;

    return !x->is_ended && x->body.len == 0 && x->head_sent == x->head_len && may_send &&
           (!http_upgrade_is_asked(&x->upgrade) || x->state == EXCHANGE_RELAYING);
}

void exchange_on_connected(struct exchange *x)
{
    if (upstream_pool_succeeded(x->pool))
        worker_tell_target(x->worker, x->pool->key, true);
    exchange_enter(x, EXCHANGE_WAITING);
}

void exchange_on_unreachable(struct exchange *x, bool is_timeout)
{
    enum traffic_reason reason;

    must(x->state == EXCHANGE_CONNECTING);
    x->upstream = NULL;
    x->is_timed_out = is_timeout;
    note_unreachable(x, x->pool);
    reason = find_upstream(x);
    if (reason != REASON_NONE)
        fail(x, reason);
}

static bool on_interim(struct exchange *x, struct http_response *r)
{
    if (++x->interims > EXCHANGE_INTERIMS_MAX) {
        fail(x, REASON_UPSTREAM_INVALID);
        return false;
    }
    if (r->status == 100) {
        if (!x->expects_continue || x->has_continued)
            return true; /* nobody waits for it */
        x->has_continued = true;
    }
    x->codec->push_interim(x, r);
    return true;
}

bool exchange_on_head(struct exchange *x, struct http_response *r)
{
    must(x->state == EXCHANGE_WAITING);
    forward_response_filter(r, x->worker->settings->version_header);
    if (r->status == 101) {
        if (!http_upgrade_is_answered(&x->upgrade, r)) {
            fail(x, REASON_UPSTREAM_UPGRADE);
            return false;
        }
        x->status = 101;
        exchange_enter(x, EXCHANGE_RELAYING);
    } else if (r->status < 200) {
        return on_interim(x, r);
    } else {
        enum traffic_reason reason = forward_rules_response(x->options, r);

        if (reason != REASON_NONE) {
            fail(x, REASON_UPSTREAM_INVALID);
            return false;
        }
        x->status = r->status;
        exchange_enter(x, EXCHANGE_ANSWERING);
    }
    if (x->head_sent == x->head_len) /* it will not be sent again */
        drop_head(x);
    /* else the rest still goes: without it the body would be read as the head's */
    let_go_of_routes(x);
    x->codec->push_head(x, r);
    return true;
}

void exchange_on_body(struct exchange *x, const uint8_t *bytes, size_t n)
{
    x->bytes_out += n;
    COUNT_N(x->worker, bytes_out, n);
    x->codec->push_body(x, bytes, n);
}

void exchange_on_end(struct exchange *x, struct http_fields *trailers)
{
    if (trailers)
        http_trailers_filter(trailers);
    x->codec->push_end(x, trailers);
    if (x->state == EXCHANGE_RELAYING)
        return; /* the client may have more to say */
    x->upstream = NULL;
    finish(x, REASON_NONE);
}

void exchange_on_relay_over(struct exchange *x)
{
    must(x->state == EXCHANGE_RELAYING);
    x->upstream = NULL;
    finish(x, REASON_NONE);
    x->codec->wake(x);
}

/* Whether the origin cannot have acted on the request, or may act on it twice; and we still have
 * all of it. */
static bool may_send_again(const struct exchange *x, bool had_answer)
{
    bool is_whole = x->body_taken == 0 && x->trailers_taken == 0;

    return x->state == EXCHANGE_WAITING && !had_answer && !x->is_retried && x->interims == 0 &&
           is_whole && (x->is_idempotent || x->head_sent == 0);
}

/* REASON_NONE: another connection is being made for it. */
static enum traffic_reason send_again(struct exchange *x, bool to_the_same)
{
    int rc = -ERR_LIMIT;

    x->is_retried = true;
    x->head_sent = 0;
    h1_framer_rewind(&x->framer);
    COUNT(x->worker, upstream_retries);
    exchange_enter(x, EXCHANGE_CONNECTING);
    if (to_the_same)
        rc = upstream_connect(x->worker, x->pool, x, &x->upstream);
    if (rc == 0)
        return REASON_NONE;
    if (rc == -ERR_CONNECT)
        note_unreachable(x, x->pool);
    return find_upstream(x);
}

void exchange_on_lost(struct exchange *x, enum traffic_reason reason, bool had_answer,
                      bool was_kept)
{
    enum traffic_reason again;

    x->upstream = NULL;
    if (reason == REASON_UPSTREAM_CLOSED && may_send_again(x, had_answer)) {
        again = send_again(x, was_kept);
        if (again == REASON_NONE)
            return;
        /* Nobody else to ask: what happened first is the better word for it. */
        if (was_kept)
            reason = again;
    }
    fail(x, reason);
}
