/* stream - see stream.h.
 *
 * Memory: what waits to go out beyond the first chunk is charged to the budget, chunk by chunk, so
 * that a process with many streams stays within its bound; what came in is bounded by the window,
 * which is charged when it is lent.
 */
#include "tunnel/stream.h"

#include "base/err.h"
#include "base/pieces.h"
#include "tunnel/lane_internal.h"

const char *stream_reset_name(enum stream_reset code)
{
    switch (code) {
    case RESET_NONE:
        return "none";
    case RESET_BY_PEER:
        return "reset";
    case RESET_UNREACHABLE:
        return "unreachable";
    case RESET_NOT_ALLOWED:
        return "not_allowed";
    case RESET_LANE_LOST:
        return "lane_lost";
    case RESET_NO_MEMORY:
        return "no_memory";
    }
    return "unknown";
}

void stream_init(struct stream *s, void (*on_change)(struct stream *s))
{
    *s = (struct stream){.state = STREAM_IDLE, .on_change = on_change};
    list_init(&s->in_lane);
    list_init(&s->in_control);
    list_init(&s->in_ring);
    list_init(&s->in_quiet);
    list_init(&s->in_line);
}

/* It holds nothing of the budget any more. */
static void let_go(struct stream *s)
{
    if (!s->budget)
        return;
    window_close(&s->window);
    budget_close_stream(s->budget);
    s->budget = NULL;
}

int stream_join(struct stream *s, struct lane *l, uint32_t id, uint64_t now_ms)
{
    int err;

    must(s->state == STREAM_IDLE);
    if (!budget_open_stream(l->budget))
        return -ERR_LIMIT;
    s->budget = l->budget;
    s->id = id;
    err = window_open(&s->window, l->budget, l->initial_window);
    if (err == 0)
        err = stream_table_add(&l->table, s);
    if (err) {
        let_go(s);
        return err;
    }
    s->lane = l;
    s->opened_ms = now_ms;
    s->credit = l->initial_credit;
    bufq_init(&s->recvq, l->pool, SIZE_MAX); /* the window bounds it */
    sendq_init(&s->sendq, l->pool, l->send_cap);
    l->stats.opened++;
    l->stream_count++;
    list_push(&l->streams, &s->in_lane);
    stream_enter(s, STREAM_OPEN, RESET_NONE);
    return 0;
}

static void drop_unsent(struct stream *s)
{
    sendq_clear(&s->sendq);
    if (s->send_charged > 0)
        budget_give(s->lane->budget, s->send_charged);
    s->send_charged = 0;
}

static void leave_lane(struct stream *s)
{
    struct lane *l = s->lane;

    if (l->out.direct == s) /* its chunk is being sent just now */
        must(!"a stream must not end between lane_next_record and lane_record_done");
    stream_feed_leave(s);
    drop_unsent(s);
    list_remove(&s->in_lane);
    list_remove(&s->in_control);
    list_remove(&s->in_quiet);
    lane_sched_remove(s);
    stream_table_remove(&l->table, s);
    if (l->in.stream == s)
        l->in.stream = NULL;
    l->stream_count--;
    s->lane = NULL;
}

void stream_enter(struct stream *s, enum stream_state to, enum stream_reset code)
{
    switch (to) {
    case STREAM_IDLE:
        must(!"no stream becomes idle again");
        break;
    case STREAM_OPEN:
        must(s->state == STREAM_IDLE);
        break;
    case STREAM_ENDED:
        must(s->state == STREAM_OPEN);
        must(s->in == HALF_ENDED && s->out == HALF_ENDED);
        leave_lane(s);
        if (s->recvq.len == 0)
            let_go(s);
        break;
    case STREAM_RESET:
        must(s->state == STREAM_OPEN);
        s->reset_code = code;
        leave_lane(s);
        if (s->recvq.len == 0)
            let_go(s);
        break;
    }
    s->state = to;
}

void stream_reset_by_peer(struct stream *s, enum stream_reset code)
{
    stream_enter(s, STREAM_RESET, code);
    stream_changed(s);
}

void stream_drop(struct stream *s, enum stream_reset code)
{
    bufq_clear(&s->recvq);
    stream_enter(s, STREAM_RESET, code);
}

void stream_changed(struct stream *s)
{
    s->on_change(s);
}

void stream_end_if_done(struct stream *s)
{
    if (s->state == STREAM_OPEN && s->in == HALF_ENDED && s->out == HALF_ENDED &&
        sendq_held(&s->sendq) == 0)
        stream_enter(s, STREAM_ENDED, RESET_NONE);
}

void stream_release(struct stream *s)
{
    if (!s->on_change)
        return;
    stream_abort(s, RESET_BY_PEER);
    let_go(s);
    bufq_fini(&s->recvq);
    sendq_fini(&s->sendq);
    s->on_change = NULL;
}

static size_t chunks_for(size_t bytes)
{
    return (bytes + CHUNK_ROOM - 1) / CHUNK_ROOM;
}

void stream_check(const struct stream *s)
{
    if (s->state == STREAM_IDLE)
        return;
    bufq_check(&s->recvq);
    sendq_check(&s->sendq);
    if (s->state != STREAM_OPEN) {
        must(!s->lane);
        must((s->budget != NULL) == (s->recvq.len > 0));
        must(s->send_charged == 0);
        must(sendq_unsent(&s->sendq) == 0);
    }
    if (s->state == STREAM_RESET)
        return;
    must(s->window.received - s->window.taken == s->recvq.len);
    if (s->budget)
        window_check(&s->window);
    if (s->state == STREAM_ENDED)
        return;
    must(s->budget != NULL);
    must(s->window.is_ended == (s->in == HALF_ENDED));
    must(s->send_charged == 0 || chunks_for(sendq_held(&s->sendq)) > 1);
    must(!(s->in == HALF_ENDED && s->out == HALF_ENDED && sendq_held(&s->sendq) == 0));
    must(list_is_empty(&s->in_ring) || sendq_unsent(&s->sendq) > 0 || s->out == HALF_ENDING);
}

/* --- going out --- */

/* Charges what `bytes` bytes on their way need beyond one chunk. */
static bool charge_held(struct stream *s, size_t bytes)
{
    size_t chunks = chunks_for(bytes);
    uint64_t due = chunks > 1 ? (uint64_t)(chunks - 1) * CHUNK_BYTES : 0;

    if (due > s->send_charged) {
        if (!budget_take(s->lane->budget, due - s->send_charged))
            return false;
    } else if (due < s->send_charged) {
        budget_give(s->lane->budget, s->send_charged - due);
    }
    s->send_charged = due;
    return true;
}

/* How much further it may read ahead of the tunnel. */
static size_t ahead_room(const struct stream *s)
{
    size_t unsent = sendq_unsent(&s->sendq), ahead = s->lane->send_ahead;

    return unsent < ahead ? ahead - unsent : 0;
}

static bool takes_bytes(const struct stream *s)
{
    return s->state == STREAM_OPEN && s->out == HALF_OPEN;
}

/* What waited for more of its owner's bytes waits no longer, whatever the owner has. */
static void wait_no_longer(struct stream *s)
{
    if (!list_is_empty(&s->in_ring) || sendq_unsent(&s->sendq) == 0)
        return;
    stream_schedule(s, s->lane->now_ms);
    lane_wake(s->lane);
}

size_t stream_room(struct stream *s)
{
    size_t room;

    if (!takes_bytes(s))
        return 0;
    if (stream_feed_is_told(s))
        wait_no_longer(s);
    room = MIN(MIN(sendq_room(&s->sendq), ahead_room(s)), s->credit);
    if (room == 0 && s->feed != FEED_STARVED && s->credit == 0)
        s->lane->stats.window_stalls++;
    stream_feed_ask(s, room > 0);
    return room;
}

size_t stream_reserve(struct stream *s, struct iovec *out, size_t max)
{
    size_t room = stream_room(s), held = sendq_held(&s->sendq), count = 0;

    room = MIN(room, max * CHUNK_ROOM); /* no more than a call can fill is charged */
    if (room > 0)
        room = stream_feed_admit(s, room, max);
    if (room == 0)
        return 0;
    if (!charge_held(s, held + room)) /* no budget: its first chunk is free */
        room = held < CHUNK_ROOM ? MIN(room, CHUNK_ROOM - held) : 0;
    if (room > 0)
        count = sendq_reserve(&s->sendq, room, out, max);
    stream_feed_give(s, pieces_bytes(out, count));
    if (room > 0 && count == 0) {   /* the loop's pool is used up */
        (void)charge_held(s, held); /* gives back */
        lane_retry_later(s->lane);
    }
    return count;
}

void stream_commit(struct stream *s, size_t n)
{
    bool fits;

    must(n <= s->credit);
    sendq_commit(&s->sendq, n);
    s->credit -= n;
    stream_feed_put(s, n);
    fits = charge_held(s, sendq_held(&s->sendq)); /* no more than stream_reserve() charged */
    must(fits);
    if (n > 0) {
        stream_schedule(s, s->lane->now_ms);
        lane_wake(s->lane);
    }
}

static bool has_output(const struct stream *s)
{
    return sendq_unsent(&s->sendq) > 0 || s->out == HALF_ENDING;
}

void stream_schedule(struct stream *s, uint64_t now_ms)
{
    if (has_output(s) && s->lane->out.direct != s) /* else it goes on when that is out */
        lane_sched_add(&s->lane->out.sched, s, now_ms);
}

void stream_go_on(struct stream *s, uint64_t now_ms)
{
    if (has_output(s))
        lane_sched_go_on(&s->lane->out.sched, s, now_ms);
}

/* Its owner may read again: not for a few bytes. */
static void read_on(struct stream *s)
{
    if (sendq_unsent(&s->sendq) <= s->lane->send_ahead / 2)
        stream_tell_room(s);
}

void stream_sent(struct stream *s, size_t n)
{
    sendq_sent(&s->sendq, n);
    stream_feed_sent(s, n);
    if (s->lane->carrier == LANE_FRAMES) /* TLS: what left is with the kernel */
        stream_acked(s, n);
    else
        read_on(s);
}

void stream_acked(struct stream *s, uint64_t n)
{
    sendq_acked(&s->sendq, s->sendq.acked + n);
    if (s->send_charged > 0) {
        bool fits = charge_held(s, sendq_held(&s->sendq)); /* only ever gives back here */

        must(fits);
    }
    read_on(s);
    stream_tell_flushed(s);
}

void stream_flush(struct stream *s)
{
    if (s->state != STREAM_OPEN)
        return;
    s->is_flushing = true;
    stream_feed_stop(s);
    stream_schedule(s, s->lane->now_ms); /* on QUIC the last bytes may have waited for more */
    lane_wake(s->lane);
}

bool stream_is_flushed(const struct stream *s)
{
    return s->state != STREAM_OPEN || (sendq_held(&s->sendq) == 0 && s->out != HALF_ENDING);
}

void stream_tell_flushed(struct stream *s)
{
    if (s->is_flushing && stream_is_flushed(s))
        stream_changed(s);
}

void stream_finish(struct stream *s)
{
    if (s->state != STREAM_OPEN)
        return;
    must(s->out == HALF_OPEN);
    s->out = HALF_ENDING;
    stream_feed_stop(s);
    stream_schedule(s, s->lane->now_ms);
    lane_wake(s->lane);
}

void stream_abort(struct stream *s, enum stream_reset code)
{
    struct lane *l = s->lane;

    if (s->state != STREAM_OPEN)
        return;
    if (s->open_line_len == 0) /* else the peer never heard of it */
        lane_queue_reset(l, s->id, code);
    stream_drop(s, code);
    l->stats.resets_out++;
    lane_wake(l);
}

/* --- coming in --- */

size_t stream_peek(const struct stream *s, struct iovec *out, size_t max)
{
    return bufq_peek(&s->recvq, out, max);
}

bool stream_grant_credit(struct stream *s, bool at_rest)
{
    uint32_t grant;

    if (s->in != HALF_OPEN) /* nothing more comes: the peer needs no credit */
        return false;
    grant = window_grant(&s->window, at_rest);
    if (grant == 0)
        return false;
    s->grant += grant;
    if (list_is_empty(&s->in_control))
        list_push(&s->lane->out.control, &s->in_control);
    return true;
}

void stream_return_credit(struct stream *s, bool at_rest)
{
    if (stream_grant_credit(s, at_rest))
        lane_wake(s->lane);
}

void stream_taken(struct stream *s, size_t n, uint64_t now_ms)
{
    bufq_skip(&s->recvq, n);
    if (!s->budget)
        return;
    window_taken(&s->window, n);
    if (s->state != STREAM_OPEN) {
        if (s->recvq.len == 0)
            let_go(s);
        return;
    }
    stream_return_credit(s, false);
    list_remove(&s->in_quiet);
    /* QUIC's stack tells of credit when half of a stream's first window is due, not before. */
    if (s->recvq.len == 0 && s->in == HALF_OPEN && s->lane->carrier == LANE_FRAMES &&
        window_is_owing(&s->window)) {
        bool is_first = list_is_empty(&s->lane->out.quiet);

        s->quiet_due_ms = now_ms + LANE_REST_MS;
        list_push(&s->lane->out.quiet, &s->in_quiet);
        if (is_first)
            lane_wake(s->lane); /* the deadline moved */
    }
}

bool stream_is_at_end(const struct stream *s)
{
    return stream_ends_after(s, 0);
}

bool stream_ends_after(const struct stream *s, size_t n)
{
    return s->in == HALF_ENDED && s->recvq.len == n;
}

uint64_t stream_bytes_in(const struct stream *s)
{
    return s->window.received - s->head_in;
}

uint64_t stream_bytes_out(const struct stream *s)
{
    return s->sendq.sent - MIN(s->sendq.sent, (uint64_t)s->head_out);
}
