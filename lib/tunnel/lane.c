/* lane - see lane.h: life, time, and what the owner asks for.  Frames come in through lane_in.c and
 * go out through lane_out.c. */
#include "tunnel/lane.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tunnel/lane_internal.h"

static void lane_enter(struct lane *l, enum lane_state to) /* the only writer of l->state */
{
    must(l->state == LANE_OPEN && to == LANE_ENDED);
    l->state = to;
}

void lane_init(struct lane *l, enum lane_role role, const struct lane_ops *ops,
               struct budget *budget, struct chunk_pool *pool, uint32_t initial_window,
               uint64_t now_ms)
{
    memset(l, 0, offsetof(struct lane, out.batch));
    l->role = role;
    l->state = LANE_OPEN;
    l->ops = ops;
    l->budget = budget;
    l->pool = pool;
    l->initial_window = initial_window;
    l->initial_credit = initial_window;
    l->send_cap = STREAM_SEND_CAP;
    l->send_ahead = SIZE_MAX;
    l->now_ms = now_ms;
    list_init(&l->streams);
    list_init(&l->udp_sessions);
    list_init(&l->out.udp_opens);
    bufq_init(&l->out.rest, pool, FRAME_PAYLOAD_MAX);
    list_init(&l->out.control);
    list_init(&l->out.quiet);
    lane_feed_init(&l->out.feed);
    lane_sched_init(&l->out.sched, now_ms);
    l->openings = NULL;
    l->sides = NULL;
    l->beat = (struct lane_beat){.opened_ms = now_ms};
    if (role == LANE_HUB)
        l->beat.ping_due_ms = now_ms + LANE_PING_EVERY_MS;
    else
        l->beat.silence_due_ms = now_ms + LANE_PING_SILENCE_MS;
    memset(&l->drain, 0, sizeof(l->drain));
}

static void reset_all(struct lane *l, enum stream_reset code)
{
    LIST_EACH (&l->streams, node, after) {
        struct stream *s = container_of(node, struct stream, in_lane);

        if (code != RESET_LANE_LOST && s->open_line_len == 0) {
            lane_queue_reset(l, s->id, code);
            l->stats.resets_out++;
        }
        stream_drop(s, code);
        stream_changed(s);
    }
}

void lane_fini(struct lane *l)
{
    if (!l->ops)
        return;
    l->out.direct = NULL;
    reset_all(l, RESET_LANE_LOST);
    lane_close_udp(l, UDP_END_LANE_LOST);
    lane_early_free(l);
    lane_sides_free(l);
    lane_silent_end(l);
    must(l->stream_count == 0 && l->udp_count == 0);
    id_table_fini(&l->table);
    id_table_fini(&l->udp_table);
    bufq_fini(&l->out.rest);
    free(l->in.payload);
    free(l->openings);
    free(l->in.datagram);
    free(l->out.resets.items);
    free(l->out.udp_closes.items);
    free(l->out.config);
    free(l->out.last);
    free(l->out.drain);
    free(l->out.body);
    l->out.config = l->out.last = l->out.drain = NULL;
    l->in.payload = l->in.datagram = l->out.body = NULL;
    l->openings = NULL;
    l->out.resets.items = l->out.udp_closes.items = NULL;
    l->ops = NULL;
}

void lane_check(const struct lane *l)
{
    uint32_t count = 0;

    for (const struct list *n = l->streams.next; n != &l->streams; n = n->next) {
        const struct stream *s = container_of(n, struct stream, in_lane);

        must(s->lane == l);
        must(s->state == STREAM_OPEN);
        must(s->id <= l->highest_id);
        must(stream_table_find(&l->table, s->id) == s);
        stream_check(s);
        count++;
    }
    must(count == l->stream_count);
    must(count == l->table.count);
    lane_feed_check(l);
    lane_check_udp(l);
}

void lane_wake(struct lane *l)
{
    if (l->ops->on_wake)
        l->ops->on_wake(l);
}

void lane_end(struct lane *l, int error, const char *fmt, ...)
{
    va_list args;

    if (l->state == LANE_ENDED)
        return;
    va_start(args, fmt);
    vsnprintf(l->fault, sizeof(l->fault), fmt, args);
    va_end(args);
    l->error = error;
    lane_enter(l, LANE_ENDED);
    lane_wake(l);
}

int lane_break(struct lane *l, const char *fmt, ...)
{
    char what[sizeof(l->fault)];
    va_list args;

    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    if (l->state == LANE_OPEN)
        lane_send_goodbye(l, GOODBYE_PROTOCOL_ERROR, what, 0);
    lane_end(l, -ERR_PROTO, "%s", what);
    return -ERR_PROTO;
}

/* --- time ------------------------------------------------------------------------------------ */

uint64_t lane_deadline(const struct lane *l)
{
    uint64_t due = UINT64_MAX;

    if (l->state == LANE_ENDED)
        return due;
    if (l->beat.ping_due_ms)
        due = MIN(due, l->beat.ping_due_ms);
    if (l->beat.pong_due_ms)
        due = MIN(due, l->beat.pong_due_ms);
    if (l->beat.silence_due_ms)
        due = MIN(due, l->beat.silence_due_ms);
    if (l->drain.deadline_ms)
        due = MIN(due, l->drain.deadline_ms);
    if (l->out.retry_due_ms)
        due = MIN(due, l->out.retry_due_ms);
    due = MIN(due, lane_early_due(l));
    if (!list_is_empty(&l->out.quiet))
        due = MIN(due, container_of(l->out.quiet.next, struct stream, in_quiet)->quiet_due_ms);
    return due;
}

static void send_ping(struct lane *l, uint64_t now_ms)
{
    l->beat.serial++;
    for (unsigned i = 0; i < 8; i++)
        l->out.ping[i] = (uint8_t)(l->beat.serial >> (56 - 8 * i));
    l->out.has_ping = true;
    l->beat.pinged_ms = now_ms;
    l->beat.ping_due_ms = now_ms + LANE_PING_EVERY_MS;
    if (!l->beat.pong_due_ms) /* an older PONG that is overdue stays so */
        l->beat.pong_due_ms = now_ms + LANE_PONG_WITHIN_MS;
    lane_wake(l);
}

static void return_rested_credit(struct lane *l, uint64_t now_ms)
{
    LIST_EACH (&l->out.quiet, node, after) {
        struct stream *s = container_of(node, struct stream, in_quiet);

        if (s->quiet_due_ms > now_ms)
            break;
        list_remove(node);
        stream_return_credit(s, true);
    }
}

void lane_retry_later(struct lane *l)
{
    if (l->out.retry_due_ms)
        return;
    l->out.retry_due_ms = l->now_ms + LANE_RETRY_MS;
    lane_wake(l);
}

static void retry(struct lane *l)
{
    l->out.retry_due_ms = 0;
    LIST_EACH (&l->streams, node, after)
        stream_tell_room(container_of(node, struct stream, in_lane));
}

int lane_tick(struct lane *l, uint64_t now_ms)
{
    if (l->state == LANE_ENDED)
        return 0;
    l->now_ms = MAX(l->now_ms, now_ms);
    return_rested_credit(l, now_ms);
    lane_early_expire(l);
    if (l->out.retry_due_ms && now_ms >= l->out.retry_due_ms)
        retry(l);
    if (l->beat.pong_due_ms && now_ms >= l->beat.pong_due_ms) {
        lane_end(l, -ERR_TIMEOUT, "no PONG within %u ms", LANE_PONG_WITHIN_MS);
        return -ERR_TIMEOUT;
    }
    if (l->beat.silence_due_ms && now_ms >= l->beat.silence_due_ms) {
        lane_end(l, -ERR_TIMEOUT, "no PING for %u ms", LANE_PING_SILENCE_MS);
        return -ERR_TIMEOUT;
    }
    if (l->beat.ping_due_ms && now_ms >= l->beat.ping_due_ms)
        send_ping(l, now_ms);
    if (l->drain.deadline_ms && now_ms >= l->drain.deadline_ms) {
        l->drain.deadline_ms = 0;
        l->drain.is_over = true;
        reset_all(l, RESET_BY_PEER);
        lane_close_udp(l, UDP_END_ORDERLY);
        lane_wake(l);
    }
    return 0;
}

/* --- what the owner asks for ----------------------------------------------------------------- */

bool lane_takes_streams(const struct lane *l)
{
    return l->state == LANE_OPEN && !l->out.last && !l->drain.by_us && !l->drain.is_over &&
           l->highest_id < LANE_ID_WORN;
}

int lane_open_stream(struct lane *l, struct stream *s, const struct proxy_header *client,
                     uint64_t now_ms)
{
    size_t n;
    int err;

    must(l->role == LANE_EDGE);
    if (!lane_takes_streams(l))
        return -ERR_CONFLICT;
    if (client->family == PROXY_UNSPEC)
        return -ERR_PROTO;
    n = proxy_emit_v1(s->open_line, client);
    l->now_ms = MAX(l->now_ms, now_ms);
    err = stream_join(s, l, l->highest_id + 1, now_ms);
    if (err)
        return err;
    l->highest_id++;
    s->open_line_len = (uint8_t)n;
    list_push(&l->out.control, &s->in_control);
    lane_wake(l);
    return 0;
}

static void replace(char **slot, char *text)
{
    free(*slot);
    *slot = text;
}

void lane_send_config(struct lane *l, const char *json)
{
    if (l->state == LANE_ENDED || l->out.last)
        return;
    must(strlen(json) <= FRAME_PAYLOAD_MAX);
    replace(&l->out.config, must_strdup(json));
    lane_wake(l);
}

void lane_drain_by(struct lane *l, uint64_t deadline_ms)
{
    if (l->drain.is_over || (l->drain.deadline_ms && deadline_ms >= l->drain.deadline_ms))
        return;
    l->drain.deadline_ms = MAX(deadline_ms, 1u);
    lane_wake(l);
}

void lane_send_drain(struct lane *l, uint32_t deadline_secs, uint64_t now_ms)
{
    uint64_t deadline_ms = now_ms + (uint64_t)deadline_secs * 1000;

    if (l->state == LANE_ENDED || l->out.last)
        return;
    if (l->drain.by_us &&
        (l->drain.is_over || (l->drain.deadline_ms && deadline_ms >= l->drain.deadline_ms)))
        return;
    l->drain.by_us = true;
    lane_drain_by(l, deadline_ms);
    replace(&l->out.drain, drain_emit(&(struct drain){.deadline_secs = deadline_secs}, NULL));
    lane_wake(l);
}

void lane_send_goodbye(struct lane *l, enum goodbye_code code, const char *message,
                       uint32_t retry_after_secs)
{
    struct goodbye body = {.code = code, .retry_after_secs = retry_after_secs};

    if (l->state == LANE_ENDED || l->out.last)
        return;
    snprintf(body.message, sizeof(body.message), "%s", message);
    l->out.last = goodbye_emit(&body, NULL);
    lane_wake(l);
}

bool lane_is_drained(const struct lane *l)
{
    return (l->drain.by_us || l->drain.by_peer) && l->stream_count == 0 && l->udp_count == 0;
}

void lane_reset_ring_push(struct lane *l, struct lane_reset_ring *ring, struct lane_reset what)
{
    if (ring->count == LANE_RESETS_MAX) {
        lane_send_goodbye(l, GOODBYE_OVERLOADED, "too many resets wait to be sent", 0);
        lane_end(l, -ERR_LIMIT, "more than %u resets waited to be sent", LANE_RESETS_MAX);
        return;
    }
    if (ring->count == ring->size) {
        uint32_t size = ring->size ? ring->size * 2 : 64;
        struct lane_reset *bigger = must_alloc(size * sizeof(*bigger));

        for (uint32_t i = 0; i < ring->count; i++)
            bigger[i] = ring->items[(ring->at + i) % ring->size];
        free(ring->items);
        ring->items = bigger;
        ring->size = size;
        ring->at = 0;
    }
    ring->items[(ring->at + ring->count++) % ring->size] = what;
    lane_wake(l);
}

const struct lane_reset *lane_reset_ring_first(const struct lane_reset_ring *ring)
{
    return ring->count > 0 ? &ring->items[ring->at] : NULL;
}

void lane_reset_ring_pop(struct lane_reset_ring *ring)
{
    must(ring->count > 0);
    ring->at = (ring->at + 1) % ring->size;
    ring->count--;
}

void lane_queue_reset(struct lane *l, uint32_t id, enum stream_reset code)
{
    if (code > RESET_NOT_ALLOWED || l->role == LANE_EDGE) /* CLOSE knows one byte only */
        code = RESET_BY_PEER;
    lane_reset_ring_push(l, &l->out.resets, (struct lane_reset){.id = id, .code = (uint8_t)code});
}
