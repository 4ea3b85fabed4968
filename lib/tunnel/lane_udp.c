/* lane_udp - UDP sessions in a lane: they are opened, their frames come in, their datagrams go out.
 *
 * What is here of frames is all there is: udp_session.c knows none, so that another transport takes
 * the same sessions.  A datagram that fits into what is left of a record, or into a whole one, goes
 * there; a longer one begins at once, and what is left of its frame is copied aside (out.rest) and
 * leaves in the next records before anything else does: its session may then go any time.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tunnel/lane_internal.h"

/* --- opening and closing ---------------------------------------------------------------------- */

uint32_t *lane_highest_udp(struct lane *l)
{
    return l->carrier == LANE_QUIC ? &l->highest_udp : &l->highest_id;
}

int lane_udp_open(struct lane *l, struct udp_session *u, const struct proxy_header *client,
                  uint64_t now_ms)
{
    struct proxy_header header = *client;
    int err;

    must(l->role == LANE_EDGE);
    if (!lane_takes_streams(l))
        return -ERR_CONFLICT;
    if (client->family == PROXY_UNSPEC || client->is_local)
        return -ERR_PROTO;
    header.transport = PROXY_DGRAM;
    l->now_ms = MAX(l->now_ms, now_ms);
    err = udp_session_join(u, l, *lane_highest_udp(l) + 1);
    if (err)
        return err;
    *lane_highest_udp(l) = u->id;
    u->open_header_len = (uint8_t)proxy_emit_v2(u->open_header, &header);
    list_push(&l->out.udp_opens, &u->in_control);
    lane_wake(l);
    return 0;
}

void lane_queue_udp_close(struct lane *l, uint32_t id, enum udp_end end)
{
    bool is_told = l->role == LANE_HUB && end == UDP_END_NOT_ALLOWED;

    lane_reset_ring_push(l, &l->out.udp_closes,
                         (struct lane_reset){.id = id, .code = is_told ? CLOSE_NOT_ALLOWED : 0});
}

void lane_close_udp(struct lane *l, enum udp_end end)
{
    LIST_EACH (&l->udp_sessions, node, after) {
        struct udp_session *u = container_of(node, struct udp_session, in_lane);

        if (end != UDP_END_LANE_LOST && u->open_header_len == 0)
            lane_queue_udp_close(l, u->id, end);
        udp_session_enter(u, UDP_CLOSED, end);
        u->on_closed(u);
    }
}

void lane_check_udp(const struct lane *l)
{
    uint32_t count = 0;

    for (const struct list *n = l->udp_sessions.next; n != &l->udp_sessions; n = n->next) {
        const struct udp_session *u = container_of(n, struct udp_session, in_lane);

        must(u->lane == l);
        must(u->state == UDP_OPEN);
        must(u->id <= (l->carrier == LANE_QUIC ? l->highest_udp : l->highest_id));
        must(lane_find_udp(l, u->id) == u);
        /* one space of ids */
        must(l->carrier == LANE_QUIC || id_table_find(&l->table, u->id) == NULL);
        udp_session_check(u);
        count++;
    }
    must(count == l->udp_count);
    must(count == l->udp_table.count);
}

struct udp_session *lane_find_udp(const struct lane *l, uint32_t id)
{
    uint32_t *found = id_table_find(&l->udp_table, id);

    return found ? container_of(found, struct udp_session, id) : NULL;
}

/* --- frames in -------------------------------------------------------------------------------- */

static void refuse(struct lane *l, uint32_t id, enum udp_end end)
{
    l->stats.refused_ports += end == UDP_END_NOT_ALLOWED;
    l->stats.refused_limit += end != UDP_END_NOT_ALLOWED;
    lane_queue_udp_close(l, id, end);
}

int lane_on_udp_open(struct lane *l, const uint8_t *payload, size_t n)
{
    enum udp_end end = UDP_END_NOT_ALLOWED;
    struct proxy_header client;
    struct udp_session *u;
    uint32_t id = l->in.frame.stream;
    int err;

    if (proxy_parse_udp_open(&client, payload, n) != 0)
        return lane_break(l, "UDP_OPEN of session %u is not one PROXY v2 DGRAM header", id);
    *lane_highest_udp(l) = id;
    if (l->drain.by_peer)
        return lane_break(l, "UDP_OPEN of session %u after DRAIN", id);
    if (l->drain.is_over) {
        refuse(l, id, UDP_END_LIMIT);
        return 0;
    }
    u = l->ops->on_udp_open ? l->ops->on_udp_open(l, &client, &end) : NULL;
    if (!u) {
        refuse(l, id, end);
        return 0;
    }
    err = udp_session_join(u, l, id);
    if (err) {
        u->end = err == -ERR_LIMIT ? UDP_END_LIMIT : UDP_END_NO_MEMORY;
        refuse(l, id, u->end);
        u->on_closed(u);
        return 0;
    }
    lane_early_deliver(l, u);
    return 0;
}

int lane_on_udp_close(struct lane *l, const uint8_t *payload)
{
    struct udp_session *u = l->in.udp;
    enum close_code code;

    if (frame_close_parse(&code, &l->in.frame, payload) != 0)
        return lane_break(l, "UDP_CLOSE of session %u carries an unlisted byte",
                          l->in.frame.stream);
    if (!u)
        return 0;
    udp_session_enter(u, UDP_CLOSED,
                      code == CLOSE_NOT_ALLOWED ? UDP_END_NOT_ALLOWED : UDP_END_ORDERLY);
    u->on_closed(u);
    return 0;
}

void lane_on_datagram(struct lane *l, const uint8_t *bytes, size_t n)
{
    lane_deliver_datagram(l, l->in.udp, bytes, n);
}

void lane_deliver_datagram(struct lane *l, struct udp_session *u, const uint8_t *bytes, size_t n)
{
    struct udp_stats *stats = &l->stats.udp;

    if (!u) {
        stats->dropped[UDP_DROP_CLOSED]++;
        return;
    }
    if (n > UDP_DATAGRAM_MAX) {
        stats->dropped[UDP_DROP_TOO_BIG]++;
        return;
    }
    if (l->role == LANE_HUB) {
        stats->datagrams_from_clients++;
        stats->bytes_from_clients += n;
    } else {
        stats->datagrams_to_clients++;
        stats->bytes_to_clients += n;
    }
    u->on_datagram(u, bytes, n);
}

void lane_take_datagram(struct lane *l, const uint8_t *bytes, size_t n)
{
    struct lane_in *in = &l->in;
    size_t at;

    if (n == in->frame.len) {
        lane_on_datagram(l, bytes, n);
        return;
    }
    at = in->frame.len - in->left - n; /* what came before */
    if (!in->datagram)
        in->datagram = malloc(FRAME_PAYLOAD_MAX);
    if (at == 0)
        in->datagram_len = 0;
    if (in->datagram && in->datagram_len == at) {
        memcpy(in->datagram + at, bytes, n);
        in->datagram_len += (uint32_t)n;
    }
    if (in->left > 0)
        return;
    if (in->datagram_len == in->frame.len)
        lane_on_datagram(l, in->datagram, in->frame.len);
    else
        l->stats.udp.dropped[UDP_DROP_NO_MEMORY]++;
}

/* --- frames out ------------------------------------------------------------------------------- */

static enum frame_type data_type(const struct lane *l)
{
    return l->role == LANE_EDGE ? FRAME_UDP_DATA : FRAME_UDP_DATA_BACK;
}

bool lane_put_udp_opens(struct lane *l, uint32_t below_id)
{
    while (!list_is_empty(&l->out.udp_opens)) {
        struct udp_session *u = container_of(l->out.udp_opens.next, struct udp_session, in_control);

        if (u->id >= below_id)
            break;
        if (!lane_put_frame(l, u->id, FRAME_UDP_OPEN, u->open_header, u->open_header_len))
            return false;
        u->open_header_len = 0;
        list_remove(&u->in_control);
    }
    return true;
}

bool lane_put_udp_close(struct lane *l)
{
    const struct lane_reset *r = lane_reset_ring_first(&l->out.udp_closes);

    if (!r)
        return true;
    if (!lane_put_frame(l, r->id, FRAME_UDP_CLOSE, &r->code, r->code != 0))
        return false;
    lane_reset_ring_pop(&l->out.udp_closes);
    return true;
}

bool lane_put_rest(struct lane *l)
{
    struct bufq *rest = &l->out.rest;

    while (rest->len > 0 && lane_batch_room(l) > 0) {
        struct iovec piece;
        size_t count = bufq_peek(rest, &piece, 1), n = MIN(lane_batch_room(l), piece.iov_len);

        must(count == 1);
        lane_put(l, piece.iov_base, n);
        bufq_skip(rest, n);
    }
    return rest->len == 0;
}

/* The frame begins in this record and goes on in the next ones. */
static bool put_long(struct lane *l, struct udp_session *u, const struct udp_datagram *d)
{
    uint8_t header[FRAME_HEADER_BYTES];
    struct iovec pieces[UDP_PIECES_MAX];
    size_t count = 0, room;

    if (lane_batch_room(l) <= sizeof(header))
        return false;
    room = lane_batch_room(l) - sizeof(header);
    for (size_t i = 0, at = 0; i < d->count; at += d->pieces[i++].iov_len) {
        size_t now = at < room ? MIN(d->pieces[i].iov_len, room - at) : 0;

        if (now < d->pieces[i].iov_len)
            pieces[count++] =
                (struct iovec){(uint8_t *)d->pieces[i].iov_base + now, d->pieces[i].iov_len - now};
    }
    if (bufq_push_pieces(&l->out.rest, pieces, count) != 0) {
        udp_session_drop(u, UDP_DROP_NO_MEMORY);
        return true;
    }
    frame_emit(header, u->id, data_type(l), (uint32_t)d->len);
    lane_put(l, header, sizeof(header));
    for (size_t i = 0; i < d->count && lane_batch_room(l) > 0; i++)
        lane_put(l, d->pieces[i].iov_base, MIN(d->pieces[i].iov_len, lane_batch_room(l)));
    udp_session_taken(u);
    return true;
}

static bool put_datagram(struct lane *l, struct udp_session *u, const struct udp_datagram *d)
{
    uint8_t header[FRAME_HEADER_BYTES];

    if (lane_batch_room(l) < sizeof(header) + d->len)
        return sizeof(header) + d->len > LANE_RECORD_BYTES && put_long(l, u, d);
    frame_emit(header, u->id, data_type(l), (uint32_t)d->len);
    lane_put(l, header, sizeof(header));
    for (size_t i = 0; i < d->count; i++)
        lane_put(l, d->pieces[i].iov_base, d->pieces[i].iov_len);
    udp_session_taken(u);
    return true;
}

bool lane_put_udp_turn(struct lane *l, uint64_t now_ms)
{
    struct lane_sched *sched = &l->out.sched;
    struct udp_session *u = lane_sched_pick_udp(sched);
    struct udp_datagram d;
    uint32_t turn = MAX((uint32_t)SCHED_TURN_BYTES, sched->turn_bytes);

    while (u->turn_sent < turn && udp_session_peek(u, now_ms, UDP_FRAME_AGE_MS, &d)) {
        if (l->out.rest.len > 0 || !put_datagram(l, u, &d)) {
            lane_sched_return_udp(sched, u);
            return false;
        }
        lane_sched_drained_udp(sched, u, FRAME_HEADER_BYTES + d.len, now_ms);
    }
    if (u->queued > 0)
        lane_sched_add_udp(sched, u);
    return l->out.rest.len == 0;
}
