/* lane_quic - see lane_quic.h. */
#include "tunnel/lane_quic.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/pieces.h"
#include "tunnel/lane_internal.h"

/* A packet may end in the middle of the line that begins a stream: what came of it waits here. */
struct lane_openings {
    unsigned count;
    struct opening {
        uint32_t number;
        uint8_t len;
        char line[PROXY_V1_MAX];
    } at[LANE_QUIC_OPENINGS_MAX];
};

void lane_quic_init(struct lane *l, enum lane_role role, const struct lane_ops *ops,
                    struct budget *budget, struct chunk_pool *pool, uint32_t window,
                    uint64_t peer_window, uint64_t now_ms)
{
    lane_init(l, role, ops, budget, pool, window, now_ms);
    l->carrier = LANE_QUIC;
    l->initial_credit = MIN(peer_window, (uint64_t)FRAME_CREDIT_MAX);
    l->send_cap = budget->max_window; /* what the path holds, until it is acknowledged */
    l->send_ahead = LANE_QUIC_AHEAD;
}

/* --- coming in --- */

uint32_t lane_quic_silent_opened(struct lane *l, uint32_t number)
{
    uint32_t refused = l->silent.extra;

    must(l->role == LANE_HUB && number > 0);
    if (l->silent.count < LANE_SILENT_FREE || budget_take(l->budget, LANE_SILENT_COST)) {
        l->silent.count++;
        return 0;
    }
    l->silent.extra = number;
    l->stats.refused_limit += refused > 0;
    return refused;
}

static void silent_over(struct lane *l)
{
    must(l->silent.count > 0);
    l->silent.count--;
    if (l->silent.count >= LANE_SILENT_FREE)
        budget_give(l->budget, LANE_SILENT_COST);
}

void lane_quic_silent_over(struct lane *l, uint32_t number)
{
    if (number == l->silent.extra)
        l->silent.extra = 0;
    else
        silent_over(l);
}

void lane_silent_end(struct lane *l)
{
    while (l->silent.count > 0)
        silent_over(l);
}

static struct opening *find_opening(const struct lane *l, uint32_t number)
{
    if (!l->openings)
        return NULL;
    for (unsigned i = 0; i < l->openings->count; i++)
        if (l->openings->at[i].number == number)
            return &l->openings->at[i];
    return NULL;
}

static void drop_opening(struct lane *l, struct opening *o)
{
    *o = l->openings->at[--l->openings->count];
}

/* NULL: too many of them; this one is refused. */
static struct opening *add_opening(struct lane *l, uint32_t number)
{
    struct opening *o;

    if (!l->openings)
        l->openings = must_alloc(sizeof(*l->openings));
    if (l->openings->count == LANE_QUIC_OPENINGS_MAX)
        return NULL;
    o = &l->openings->at[l->openings->count++];
    o->number = number;
    o->len = 0;
    return o;
}

/* How many bytes the line has, with its end; 0: it is not whole; -1: it never will be. */
static int line_length(const char *line, size_t n)
{
    /* QUIC tells an end by itself with no bytes at all: NULL is not memchr()'s to see. */
    const char *end = n > 0 ? memchr(line, '\n', MIN(n, (size_t)PROXY_V1_MAX)) : NULL;

    if (end)
        return (int)(end + 1 - line);
    return n < PROXY_V1_MAX ? 0 : -1;
}

static int begin_stream(struct lane *l, uint32_t number, const char *line, size_t n)
{
    struct proxy_header client;
    struct stream *s;
    int err;

    if (proxy_parse_open(&client, (const uint8_t *)line, n) != 0)
        return lane_break(l, "stream %u does not begin with one PROXY v1 line", number);
    err = lane_accept(l, number, &client);
    s = err ? NULL : stream_table_find(&l->table, number);
    if (!s)
        return err; /* refused */
    s->head_in = (uint8_t)n;
    err = window_received(&s->window, n); /* the line counts, as every byte of a QUIC stream */
    must(err == 0);
    window_taken(&s->window, n);
    return 0;
}

/* Bytes of a stream whose line is not whole yet.  *used: how many of them belong to the line. */
static int gather_line(struct lane *l, uint32_t number, const uint8_t *bytes, size_t n,
                       size_t *used)
{
    struct opening *o = find_opening(l, number);
    int length, err;

    *used = n;
    if (!o) { /* nearly always it comes whole */
        length = line_length((const char *)bytes, n);
        if (length > 0) {
            *used = (size_t)length;
            return begin_stream(l, number, (const char *)bytes, (size_t)length);
        }
        o = length == 0 ? add_opening(l, number) : NULL;
        if (length == 0 && !o) {
            l->stats.refused_limit++;
            lane_queue_reset(l, number, RESET_BY_PEER);
            return 0;
        }
    }
    if (o) {
        size_t part = MIN(n, sizeof(o->line) - o->len), before = o->len;

        if (part > 0)
            memcpy(o->line + o->len, bytes, part);
        o->len = (uint8_t)(o->len + part);
        length = line_length(o->line, o->len);
        if (length == 0)
            return 0;
        if (length > 0) {
            *used = (size_t)length - before;
            err = begin_stream(l, number, o->line, (size_t)length);
            o = find_opening(l, number); /* the callback may have changed the list */
            if (o)
                drop_opening(l, o);
            return err;
        }
    }
    return lane_break(l, "stream %u does not begin with one PROXY v1 line", number);
}

/* What moves, either way, proves as much of the peer as PING and PONG do, and on a path that loses
 * much those wait behind all that QUIC sends again. */
static void note_alive(struct lane *l)
{
    if (l->beat.silence_due_ms)
        l->beat.silence_due_ms = l->now_ms + LANE_PING_SILENCE_MS;
    if (l->beat.pong_due_ms)
        l->beat.pong_due_ms = l->now_ms + LANE_PONG_WITHIN_MS;
}

int lane_quic_data(struct lane *l, uint32_t number, bool is_new, const uint8_t *bytes, size_t n,
                   bool is_fin, uint64_t now_ms)
{
    struct stream *s = stream_table_find(&l->table, number);
    int err;

    l->now_ms = MAX(l->now_ms, now_ms);
    if (l->state != LANE_OPEN)
        return l->error;
    note_alive(l);
    if (!s && (is_new || find_opening(l, number))) {
        size_t used;

        if (l->role == LANE_EDGE)
            return lane_break(l, "the hub opened stream %u", number);
        l->highest_id = MAX(l->highest_id, number);
        err = gather_line(l, number, bytes, n, &used);
        if (err)
            return err;
        if (is_fin && find_opening(l, number))
            return lane_break(l, "stream %u ended within its PROXY line", number);
        s = stream_table_find(&l->table, number);
        bytes += used;
        n -= used;
    }
    if (!s) /* it ended here while this was on its way */
        return 0;
    if (s->in != HALF_OPEN)
        return lane_break(l, "data for stream %u after its FIN", number);
    if (n > 0)
        lane_take_data(l, s, bytes, n);
    if (is_fin && s->state == STREAM_OPEN)
        lane_take_fin(s);
    return 0;
}

void lane_quic_reset(struct lane *l, uint32_t number, uint64_t code)
{
    struct stream *s = stream_table_find(&l->table, number);
    struct opening *o = find_opening(l, number);

    if (o) {
        drop_opening(l, o);
        lane_queue_reset(l, number, RESET_BY_PEER); /* or QUIC keeps our direction open */
    }
    if (!s)
        return;
    if (code < RESET_BY_PEER || code > RESET_NOT_ALLOWED || l->role == LANE_HUB)
        code = RESET_BY_PEER;
    l->stats.resets_in++;
    lane_queue_reset(l, number, RESET_BY_PEER); /* our direction ends as well */
    stream_reset_by_peer(s, (enum stream_reset)code);
}

void lane_quic_acked(struct lane *l, uint32_t number, uint64_t n)
{
    struct stream *s = stream_table_find(&l->table, number);

    if (!s)
        return;
    note_alive(l);
    stream_acked(s, n);
    stream_end_if_done(s);
    if (s->state == STREAM_ENDED)
        stream_changed(s);
}

void lane_quic_credit(struct lane *l, uint32_t number, uint64_t upto)
{
    struct stream *s = stream_table_find(&l->table, number);

    if (!s || upto <= s->sendq.end + s->credit)
        return;
    s->credit = upto - s->sendq.end;
    stream_tell_room(s);
}

/* --- going out --- */

int lane_quic_open(struct lane *l, struct stream *s, uint32_t number,
                   const struct proxy_header *client, uint64_t now_ms)
{
    char line[PROXY_V1_MAX];
    size_t n;
    int err;

    must(l->role == LANE_EDGE && l->carrier == LANE_QUIC);
    must(number == l->highest_id + 1);
    l->highest_id = number; /* QUIC has counted it already */
    if (client->family == PROXY_UNSPEC)
        return -ERR_PROTO;
    n = proxy_emit_v1(line, client);
    if (n > l->initial_credit)
        return -ERR_LIMIT;
    l->now_ms = MAX(l->now_ms, now_ms);
    err = stream_join(s, l, number, now_ms);
    if (err)
        return err;
    if (sendq_push(&s->sendq, line, n) != 0) { /* the owner sees it as any reset */
        stream_abort(s, RESET_NO_MEMORY);
        return 0;
    }
    s->head_out = (uint8_t)n;
    s->credit -= n;
    stream_schedule(s, now_ms);
    lane_wake(l);
    return 0;
}

bool lane_quic_next_reset(struct lane *l, uint32_t *number, uint64_t *code)
{
    const struct lane_reset *r = lane_reset_ring_first(&l->out.resets);

    if (!r)
        return false;
    *number = r->id;
    *code = r->code;
    lane_reset_ring_pop(&l->out.resets);
    return true;
}

bool lane_quic_next_credit(struct lane *l, uint32_t *number, uint32_t *bytes)
{
    struct list *node = list_pop(&l->out.control);
    struct stream *s;

    if (!node)
        return false;
    s = container_of(node, struct stream, in_control);
    *number = s->id;
    *bytes = s->grant;
    s->grant = 0;
    return true;
}

bool lane_quic_has_signs(const struct lane *l)
{
    return l->out.resets.count > 0 || !list_is_empty(&l->out.control) || lane_has_side_signs(l);
}

void lane_quic_set_packet(struct lane *l, size_t packet, size_t least)
{
    l->send_ahead = MAX((size_t)LANE_QUIC_AHEAD, packet * LANE_QUIC_AHEAD_PACKETS);
    l->send_least = least;
}

/* stream_room() puts it back. */
static bool waits_for_more(const struct stream *s)
{
    return stream_feed_is_told(s) && s->out == HALF_OPEN &&
           sendq_unsent(&s->sendq) < s->lane->send_least;
}

struct stream *lane_quic_pick(struct lane *l, uint64_t now_ms, struct iovec *out, size_t max,
                              size_t *count, bool *is_fin)
{
    struct stream *s;

    l->now_ms = MAX(l->now_ms, now_ms);
    if (l->state != LANE_OPEN || l->out.last)
        return NULL;
    do {
        s = lane_sched_pick(&l->out.sched, l->now_ms);
    } while (s && waits_for_more(s));
    if (!s)
        return NULL;
    *count = sendq_peek_pieces(&s->sendq, out, max);
    *is_fin = s->out == HALF_ENDING && pieces_bytes(out, *count) == sendq_unsent(&s->sendq);
    must(*count > 0 || *is_fin);
    return s;
}

void lane_quic_written(struct lane *l, struct stream *s, size_t n, bool is_fin, uint64_t now_ms)
{
    uint64_t head = s->head_out > s->sendq.sent ? s->head_out - s->sendq.sent : 0;

    lane_count_out(l, n - MIN(n, (size_t)head));
    lane_sched_drained(&l->out.sched, s, n, now_ms);
    stream_sent(s, n);
    if (is_fin) {
        must(sendq_is_idle(&s->sendq));
        s->out = HALF_ENDED;
        stream_end_if_done(s); /* an end without bytes, and all of them are acknowledged */
        if (s->state == STREAM_ENDED) {
            stream_changed(s);
            return;
        }
        stream_tell_flushed(s);
    } else {
        stream_go_on(s, now_ms);
    }
}

void lane_quic_return(struct lane *l, struct stream *s)
{
    lane_sched_return(&l->out.sched, s);
}
