/* link_quic_events - what QUIC tells a link, of which only note is taken, and what it asks for
 * (quic/quic.h).
 */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/pieces.h"
#include "link/link_quic.h"

/* RFC 9000, 2.1: what a stream's id says of it. */
#define IS_CLIENTS_BIDI(id) (((id)&3) == 0)
#define IS_CLIENTS_UNI(id)  (((id)&3) == 2)
#define IS_SERVERS_UNI(id)  (((id)&3) == 3)

void link_quic_broken(struct link *link, const char *fault)
{
    if (!link->quic.is_broken)
        snprintf(link->quic.fault, sizeof(link->quic.fault), "%s", fault);
    link->quic.is_broken = true;
    loop_again(link->loop, &link->ready);
}

void link_quic_take_back(struct link *link)
{
    struct link_quic *lq = &link->quic;

    if (lq->offered)
        lane_quic_return(&link->lane, lq->offered);
    if (lq->has_datagram)
        lane_quic_datagram_done(&link->lane, &lq->datagram, DATAGRAM_LATER,
                                loop_now_ms(link->loop));
    lq->offered = NULL;
    lq->has_datagram = false;
}

/* --- what QUIC tells: take note, no more ------------------------------------------------------ */

/* The lane's callbacks may free the link: not before this event is over.  NULL: nobody cares. */
static struct link *enter_event(struct quic *q)
{
    struct link *link = quic_owner(q);

    return link->is_orphan || link->state == LINK_DEAD ? NULL : link;
}

static bool has_lane(const struct link *link)
{
    return link->state == LINK_OPEN && link->lane.state == LANE_OPEN;
}

static void on_wake(struct quic *q)
{
    struct link *link = enter_event(q);

    if (link)
        loop_again(link->loop, &link->ready);
}

/* Once OPEN it is looked at in the order of packets: the datagrams behind a UDP_OPEN want it first.
 */
static void on_control(struct link *link, const uint8_t *bytes, size_t n, bool is_fin)
{
    struct link_quic *lq = &link->quic;

    lq->has_control = true;
    lq->is_control_ended |= is_fin;
    loop_again(link->loop, &link->ready); /* which also sees when the lane has ended */
    if (has_lane(link) && lq->in.len == 0) {
        quic_credit(lq->quic, CONTROL_ID, n);
        if (lane_input(&link->lane, bytes, n, loop_now_ms(link->loop)) != 0)
            return;
    } else if (n > 0 && bufq_push(&lq->in, bytes, n) != 0) {
        link_quic_broken(link, "no memory for the control stream");
    }
}

/* A client's connection begins with its first byte; until then the lane only counts it, and `user`
 * is NULL. */
static void on_open(struct quic *q, int64_t stream)
{
    struct link *link = quic_owner(q);
    int64_t refused = stream;

    if (stream == CONTROL_ID || !IS_CLIENTS_BIDI(stream))
        return;
    if (enter_event(q) && link->state < LINK_OPEN)
        link_quic_broken(link, "a stream before the handshake was done");
    else if (enter_event(q) && has_lane(link))
        refused = lane_quic_id(lane_quic_silent_opened(&link->lane, lane_quic_number(stream)));
    if (refused == CONTROL_ID) /* none */
        return;
    quic_set_user(q, refused, link);
    quic_shutdown(q, refused, RESET_BY_PEER);
}

static int on_stream_data(struct link *link, int64_t stream, bool is_new, const uint8_t *bytes,
                          size_t n, bool is_fin)
{
    if (is_new) {
        quic_set_user(link->quic.quic, stream, link);
        lane_quic_silent_over(&link->lane, lane_quic_number(stream));
    }
    return lane_quic_data(&link->lane, lane_quic_number(stream), is_new, bytes, n, is_fin,
                          loop_now_ms(link->loop));
}

/* What a side stream holds is one datagram at most: its credit goes back at once. */
static int on_side_data(struct link *link, int64_t stream, void *user, const uint8_t *bytes,
                        size_t n)
{
    struct udp_side_in *side = user;
    int err = lane_quic_side_data(&link->lane, &side, bytes, n, loop_now_ms(link->loop));

    quic_set_user(link->quic.quic, stream, side);
    quic_credit(link->quic.quic, stream, n);
    return err;
}

static int on_data(struct quic *q, int64_t stream, void *user, const uint8_t *bytes, size_t n,
                   bool is_fin)
{
    struct link *link = enter_event(q);
    bool was_running;
    int err = 0;

    if (!link)
        return 0;
    if (link->state < LINK_OPEN && stream != CONTROL_ID) {
        link_quic_broken(link, "a stream before the handshake was done");
        return 0;
    }
    if (link->state >= LINK_OPEN && !has_lane(link))
        return 0;
    was_running = link->is_running;
    link->is_running = true;
    if (stream == CONTROL_ID)
        on_control(link, bytes, n, is_fin);
    else if (IS_CLIENTS_BIDI(stream) && stream / 4 <= UINT32_MAX)
        err = on_stream_data(link, stream, !user, bytes, n, is_fin);
    else if (link->side == LINK_HUB ? IS_CLIENTS_UNI(stream) : IS_SERVERS_UNI(stream))
        err = on_side_data(link, stream, user, bytes, n);
    else
        link_quic_broken(link, "a stream of a kind that the protocol does not have");
    if (err) /* the lane has ended: the pump sees it */
        loop_again(link->loop, &link->ready);
    link->is_running = was_running;
    return 0;
}

static void on_acked(struct quic *q, int64_t stream, void *user, uint64_t n)
{
    struct link *link = enter_event(q);

    (void)user;
    if (!link)
        return;
    if (stream == CONTROL_ID) {
        sendq_acked(&link->quic.out, link->quic.out.acked + n);
        loop_again(link->loop, &link->ready); /* leaving waits for it */
    } else if (has_lane(link) && IS_CLIENTS_BIDI(stream)) {
        lane_quic_acked(&link->lane, lane_quic_number(stream), n);
    } else if (has_lane(link)) {
        lane_quic_side_acked(&link->lane, stream, n);
    }
}

static void on_reset(struct quic *q, int64_t stream, void *user, uint64_t code)
{
    struct link *link = enter_event(q);

    if (!link)
        return;
    if (stream == CONTROL_ID)
        link_quic_broken(link, "the control stream was reset");
    else if (!user &&
             IS_CLIENTS_BIDI(stream)) /* before its first byte: our direction ends as well */
        quic_shutdown(q, stream, RESET_BY_PEER);
    else if (has_lane(link) && IS_CLIENTS_BIDI(stream))
        lane_quic_reset(&link->lane, lane_quic_number(stream), code);
    else if (has_lane(link) && IS_SERVERS_UNI(stream) && code == PATH_COLLAPSED &&
             link->side == LINK_EDGE && link->ops->on_collapse)
        link->ops->on_collapse(link);
    /* Else the end of a side stream is its session's. */
}

static void on_stop(struct quic *q, int64_t stream, void *user, uint64_t code)
{
    if (IS_CLIENTS_BIDI(stream)) /* a side stream: told by on_reset(), or its session ends */
        on_reset(q, stream, user, code);
}

static void on_closed(struct quic *q, int64_t stream, void *user)
{
    struct link *link = quic_owner(q);

    if (!link->lane.ops)
        return;
    if (link->side == LINK_HUB ? IS_CLIENTS_UNI(stream) : IS_SERVERS_UNI(stream))
        lane_quic_side_closed(&link->lane, user);
    else if (IS_CLIENTS_BIDI(stream) && stream != CONTROL_ID && !user)
        lane_quic_silent_over(&link->lane, lane_quic_number(stream));
}

static void on_credit(struct quic *q, int64_t stream, void *user, uint64_t upto)
{
    struct link *link = enter_event(q);

    (void)user;
    if (link && stream == CONTROL_ID)
        link->quic.is_control_blocked = false;
    else if (link && has_lane(link) && IS_CLIENTS_BIDI(stream))
        lane_quic_credit(&link->lane, lane_quic_number(stream), upto);
    else if (link && has_lane(link))
        lane_quic_side_credit(&link->lane, stream);
}

static void on_datagram(struct quic *q, const uint8_t *bytes, size_t n)
{
    struct link *link = enter_event(q);
    bool was_running;

    if (!link || !has_lane(link))
        return;
    was_running = link->is_running;
    link->is_running = true;
    lane_quic_datagram(&link->lane, bytes, n, loop_now_ms(link->loop));
    link->is_running = was_running;
}

/* --- what QUIC asks for ----------------------------------------------------------------------- */

static bool offer_datagram(struct link *link, struct quic_piece *piece)
{
    struct link_quic *lq = &link->quic;
    size_t max;

    if (!lane_sched_has_udp(&link->lane.out.sched))
        return false;
    max = quic_datagram_max(lq->quic);
    if (!lane_quic_pick_datagram(&link->lane, loop_now_ms(link->loop), max, lq->is_blocked,
                                 &lq->datagram))
        return false;
    lq->has_datagram = true;
    *piece = (struct quic_piece){.stream = QUIC_DATAGRAM, .count = lq->datagram.count};
    memcpy(piece->iov, lq->datagram.pieces, piece->count * sizeof(*piece->iov));
    return true;
}

static bool offer_side(struct link *link, struct quic_piece *piece)
{
    struct udp_side *side = lane_quic_pick_side(&link->lane, &piece->stream, piece->iov,
                                                QUIC_PIECES_MAX, &piece->count);

    piece->user = side;
    piece->is_fin = false;
    return side != NULL;
}

static bool next(struct quic *q, struct quic_piece *piece)
{
    struct link *link = quic_owner(q);
    struct link_quic *lq = &link->quic;
    size_t most = MIN(QUIC_PIECES_MAX, piece->want / CHUNK_ROOM + 2); /* only the first is a part */
    struct stream *s;

    link_quic_take_back(link);
    if (lq->has_control && !lq->is_control_blocked && sendq_unsent(&lq->out) > 0) {
        *piece = (struct quic_piece){.stream = CONTROL_ID};
        piece->count = sendq_peek_pieces(&lq->out, piece->iov, QUIC_PIECES_MAX);
        return true;
    }
    if (!has_lane(link))
        return false;
    if (offer_datagram(link, piece) || offer_side(link, piece))
        return true;
    if (lq->is_blocked)
        return false;
    lane_quic_set_packet(&link->lane, piece->want, piece->least);
    s = lane_quic_pick(&link->lane, loop_now_ms(link->loop), piece->iov, most, &piece->count,
                       &piece->is_fin);
    if (!s)
        return false;
    piece->stream = lane_quic_id(s->id);
    piece->user = lq->offered = s;
    return true;
}

static void on_written(struct quic *q, const struct quic_piece *piece, size_t n)
{
    struct link *link = quic_owner(q);

    if (piece->stream == CONTROL_ID) {
        sendq_sent(&link->quic.out, n);
        return;
    }
    if (piece->stream == QUIC_DATAGRAM) {
        link->quic.has_datagram = false;
        lane_quic_datagram_done(&link->lane, &link->quic.datagram, DATAGRAM_SENT,
                                loop_now_ms(link->loop));
        return;
    }
    if (!IS_CLIENTS_BIDI(piece->stream)) {
        lane_quic_side_written(&link->lane, piece->user, n);
        return;
    }
    must(link->quic.offered == piece->user);
    link->quic.offered = NULL;
    lane_quic_written(&link->lane, piece->user, n,
                      piece->is_fin && n == pieces_bytes(piece->iov, piece->count),
                      loop_now_ms(link->loop));
}

static void on_refused(struct quic *q, const struct quic_piece *piece, enum quic_refusal why)
{
    struct link *link = quic_owner(q);

    if (piece->stream == CONTROL_ID) {
        link->quic.is_control_blocked = true;
        if (why != QUIC_BLOCKED)
            link_quic_broken(link, "the control stream was reset");
        return;
    }
    if (piece->stream == QUIC_DATAGRAM) {
        link->quic.has_datagram = false;
        lane_quic_datagram_done(&link->lane, &link->quic.datagram, DATAGRAM_TOO_BIG,
                                loop_now_ms(link->loop));
        return;
    }
    if (!IS_CLIENTS_BIDI(piece->stream)) {
        lane_quic_side_blocked(&link->lane, piece->user);
        return;
    }
    link_quic_take_back(link);
    if (why == QUIC_BLOCKED)
        link->quic.is_blocked = true;
    else
        lane_quic_reset(&link->lane, lane_quic_number(piece->stream), RESET_BY_PEER);
}

const struct quic_ops link_quic_events = {
    .on_wake = on_wake,
    .on_open = on_open,
    .on_data = on_data,
    .on_acked = on_acked,
    .on_reset = on_reset,
    .on_stop = on_stop,
    .on_closed = on_closed,
    .on_credit = on_credit,
    .on_datagram = on_datagram,
    .next = next,
    .on_written = on_written,
    .on_refused = on_refused,
};
