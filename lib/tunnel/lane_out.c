/* lane_out - records out of a lane: which frame goes next, and how it gets into a record.  Of a
 * QUIC lane only what concerns the connection, for its control stream; the rest is QUIC's
 * (lane_quic.c).
 *
 * Order: the rest of a long payload, then control (PING, PONG, OPEN and credit, resets, CONFIG,
 * DRAIN), then normal streams, then sustained ones, and GOODBYE instead of all that, as the last
 * frame ever.
 *
 * A full chunk of a stream leaves as a record of its own: the frame's header is written into the
 * chunk's headroom, no byte is copied.  Everything smaller is gathered into one record.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tunnel/lane_internal.h"
#include "wire/channel.h"

#define DIRECT_MIN 4096u /* from here on a record of its own is cheaper than a copy */

size_t lane_batch_room(const struct lane *l)
{
    return LANE_RECORD_BYTES - l->out.batch_len;
}

void lane_put(struct lane *l, const void *src, size_t n)
{
    must(n <= lane_batch_room(l));
    memcpy(l->out.batch + l->out.batch_len, src, n);
    l->out.batch_len += (uint32_t)n;
}

static void put_header(struct lane *l, uint32_t id, enum frame_type type, size_t n)
{
    uint8_t header[FRAME_HEADER_BYTES];

    if (l->carrier == LANE_QUIC) {
        lane_put(l, header, channel_emit(header, id, type, (uint32_t)n));
        return;
    }
    frame_emit(header, id, type, (uint32_t)n);
    lane_put(l, header, sizeof(header));
}

bool lane_put_frame(struct lane *l, uint32_t id, enum frame_type type, const void *payload,
                    size_t n)
{
    if (lane_batch_room(l) < FRAME_HEADER_BYTES + n)
        return false;
    put_header(l, id, type, n);
    if (n > 0)
        lane_put(l, payload, n);
    return true;
}

static bool put_body(struct lane *l)
{
    struct lane_out *o = &l->out;
    size_t n = MIN(lane_batch_room(l), (size_t)(o->body_len - o->body_at));

    lane_put(l, o->body + o->body_at, n);
    o->body_at += (uint32_t)n;
    if (o->body_at < o->body_len)
        return false;
    free(o->body);
    o->body = NULL;
    return true;
}

/* A frame of any length: what does not fit follows in the next records. */
static bool put_long(struct lane *l, enum frame_type type, char **slot)
{
    char *text = *slot;

    if (lane_batch_room(l) < FRAME_HEADER_BYTES)
        return false;
    must(!l->out.body);
    put_header(l, 0, type, strlen(text));
    *slot = NULL;
    l->out.body = (uint8_t *)text;
    l->out.body_len = (uint32_t)strlen(text);
    l->out.body_at = 0;
    return put_body(l);
}

static bool put_stream_control(struct lane *l, struct stream *s)
{
    bool is_edge = l->role == LANE_EDGE;

    if (s->open_line_len > 0) { /* ids rise, whatever they are for */
        if (!lane_put_udp_opens(l, s->id) ||
            !lane_put_frame(l, s->id, FRAME_OPEN, s->open_line, s->open_line_len))
            return false;
        s->open_line_len = 0;
    }
    if (s->grant > 0) {
        uint8_t body[FRAME_CREDIT_BYTES];

        frame_credit_emit(body, s->grant);
        if (!lane_put_frame(l, s->id, is_edge ? FRAME_WINDOW_UPDATE : FRAME_WINDOW_UPDATE_BACK,
                            body, sizeof(body)))
            return false;
        s->grant = 0;
    }
    list_remove(&s->in_control);
    return true;
}

static bool put_reset(struct lane *l)
{
    const struct lane_reset *r = lane_reset_ring_first(&l->out.resets);

    if (!lane_put_frame(l, r->id, l->role == LANE_EDGE ? FRAME_CLOSE : FRAME_CLOSE_BACK, &r->code,
                        1))
        return false;
    lane_reset_ring_pop(&l->out.resets);
    return true;
}

/* OPEN, credit and resets of streams, UDP_OPEN. */
static bool put_streams_control(struct lane *l)
{
    struct lane_out *o = &l->out;

    while (!list_is_empty(&o->control))
        if (!put_stream_control(l, container_of(o->control.next, struct stream, in_control)))
            return false;
    if (!lane_put_udp_opens(l, UINT32_MAX))
        return false;
    while (o->resets.count > 0)
        if (!put_reset(l))
            return false;
    return true;
}

/* A QUIC lane's datagrams overtake the control stream: there UDP_CLOSE goes at once. */
static bool put_udp_control(struct lane *l)
{
    if (!lane_put_udp_opens(l, UINT32_MAX))
        return false;
    while (l->out.udp_closes.count > 0)
        if (!lane_put_udp_close(l))
            return false;
    return true;
}

/* All control that fits; false when some had to wait for the next record. */
static bool put_control(struct lane *l)
{
    struct lane_out *o = &l->out;

    if ((o->body && !put_body(l)) || !lane_put_rest(l))
        return false;
    if (l->state == LANE_ENDED && !o->last)
        return false; /* what was just finished was the GOODBYE */
    if (o->last) {
        bool is_out = put_long(l, FRAME_GOODBYE, &o->last);

        lane_end(l, l->error, "%s", "GOODBYE was sent");
        return is_out;
    }
    if (o->has_ping) {
        if (!lane_put_frame(l, 0, FRAME_PING, o->ping, sizeof(o->ping)))
            return false;
        o->has_ping = false;
    }
    if (o->has_pong) {
        if (!lane_put_frame(l, 0, FRAME_PONG, o->pong, sizeof(o->pong)))
            return false;
        o->has_pong = false;
    }
    if (l->carrier == LANE_FRAMES && !put_streams_control(l))
        return false;
    if (l->carrier == LANE_QUIC && !put_udp_control(l))
        return false;
    if (o->config &&
        !put_long(l, l->role == LANE_HUB ? FRAME_CONFIG : FRAME_CONFIG_ACK, &o->config))
        return false;
    return !o->drain || put_long(l, FRAME_DRAIN, &o->drain);
}

static enum frame_type data_type(const struct lane *l)
{
    return l->role == LANE_EDGE ? FRAME_DATA : FRAME_DATA_BACK;
}

void lane_count_out(struct lane *l, size_t n)
{
    if (l->role == LANE_EDGE)
        l->stats.bytes_from_clients += n;
    else
        l->stats.bytes_to_clients += n;
}

/* The FIN behind the data: the direction ends. */
static bool put_fin(struct lane *l, struct stream *s)
{
    if (!lane_put_frame(l, s->id, l->role == LANE_EDGE ? FRAME_CLOSE : FRAME_CLOSE_BACK, NULL, 0))
        return false;
    s->out = HALF_ENDED;
    stream_end_if_done(s);
    if (s->state == STREAM_ENDED)
        stream_changed(s);
    else
        stream_tell_flushed(s);
    return true;
}

/* One turn of one stream into the batch, or into a record of its own (o->direct).
 * False without that: it does not fit behind what is in the batch, and keeps its turn. */
static bool put_turn(struct lane *l, struct stream *s, uint64_t now_ms)
{
    struct lane_out *o = &l->out;
    uint8_t *piece = NULL;
    size_t n = sendq_peek(&s->sendq, &piece, SCHED_TURN_BYTES);

    if (n == 0) {
        must(s->out == HALF_ENDING);
        return put_fin(l, s);
    }
    if (n >= DIRECT_MIN) {
        if (o->batch_len > 0)
            return false; /* what was gathered goes first */
        frame_emit(piece - FRAME_HEADER_BYTES, s->id, data_type(l), (uint32_t)n);
        o->direct = s;
        o->direct_len = (uint32_t)n;
        return false;
    }
    if (!lane_put_frame(l, s->id, data_type(l), piece, n))
        return false;
    lane_count_out(l, n);
    lane_sched_drained(&o->sched, s, n, now_ms);
    stream_sent(s, n);
    return true;
}

static void put_data(struct lane *l, uint64_t now_ms)
{
    struct stream *s;

    while (lane_put_udp_close(l)) {
        bool had_turn;

        if (lane_sched_is_udp_next(&l->out.sched)) {
            if (!lane_put_udp_turn(l, now_ms))
                return;
            continue;
        }
        s = lane_sched_pick(&l->out.sched, now_ms);
        if (!s) {
            if (l->out.udp_closes.count == 0)
                return;
            continue;
        }
        had_turn = put_turn(l, s, now_ms);

        if (l->out.direct)
            return; /* back into its ring in lane_record_done() */
        if (!had_turn) {
            lane_sched_return(&l->out.sched, s);
            return;
        }
        if (s->state == STREAM_OPEN)
            stream_go_on(s, now_ms);
    }
}

/* Streams at rest: in a record of data their credit costs 13 bytes, by itself a record, a wake-up
 * and a system call at both ends. */
static void put_rested_credit(struct lane *l)
{
    LIST_EACH (&l->out.quiet, node, after) {
        struct stream *s = container_of(node, struct stream, in_quiet);

        if (lane_batch_room(l) < FRAME_HEADER_BYTES + FRAME_CREDIT_BYTES)
            return;
        list_remove(node);
        if (stream_grant_credit(s, true) && !put_stream_control(l, s))
            return;
    }
}

size_t lane_next_record(struct lane *l, uint64_t now_ms, const uint8_t **record)
{
    struct lane_out *o = &l->out;
    uint8_t *piece = NULL;
    size_t n;

    must(!o->direct);
    must(o->batch_len == 0);
    l->now_ms = MAX(l->now_ms, now_ms);
    if (l->state == LANE_ENDED && !o->body && !o->last)
        return 0;
    if (put_control(l) && l->state == LANE_OPEN && l->carrier == LANE_FRAMES) {
        uint32_t control_len = o->batch_len;

        put_data(l, l->now_ms);
        if (o->batch_len > control_len)
            put_rested_credit(l);
    }
    if (o->direct) {
        n = sendq_peek(&o->direct->sendq, &piece, o->direct_len);
        must(n == o->direct_len);
        *record = piece - FRAME_HEADER_BYTES;
        return n + FRAME_HEADER_BYTES;
    }
    *record = o->batch;
    return o->batch_len;
}

void lane_record_done(struct lane *l)
{
    struct lane_out *o = &l->out;
    struct stream *s = o->direct;

    l->stats.records_out++;
    o->batch_len = 0;
    if (!s)
        return;
    o->direct = NULL;
    lane_count_out(l, o->direct_len);
    lane_sched_drained(&o->sched, s, o->direct_len, l->now_ms);
    stream_sent(s, o->direct_len);
    stream_go_on(s, l->now_ms);
}

bool lane_has_output(const struct lane *l)
{
    const struct lane_out *o = &l->out;

    if (o->body || o->last)
        return true;
    if (l->state == LANE_ENDED)
        return false;
    return o->has_ping || o->has_pong || !list_is_empty(&o->control) || o->resets.count > 0 ||
           !list_is_empty(&o->udp_opens) || o->udp_closes.count > 0 || o->rest.len > 0 ||
           o->config || o->drain || !lane_sched_is_empty(&o->sched);
}
