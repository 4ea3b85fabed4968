/* link_quic - a link on a QUIC connection: the control stream carries lines and messages, each
 * client's connection is a stream of its own (tunnel/lane_quic.h).
 *
 *   quic --on_data--> in ----> lines, lane_input()             the control stream, number 0
 *        <----next--- out <--- lane_next_record()
 *        --on_data--> lane_quic_data()                         all others, at once
 *        <----next--- lane_quic_pick()
 *
 * QUIC's callbacks only take note: they fill queues of ours or feed the lane, which wakes the
 * owners of streams; the pump does the rest.  In a run resets go first: after one, the bytes that
 * QUIC might have wanted to send again are gone.
 */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "link/link_internal.h"
#include "quic/quic.h"
#include "tunnel/lane_quic.h"

#define CONTROL_ID 0
#define CONTROL_CAP                                                                                \
    (256u * 1024) /* of the control stream, each way: more than any line or CONFIG */
#define CONTROL_AHEAD  (64u * 1024) /* messages made ahead of the connection */
#define CONTROL_PIECE  4096u        /* looked at at once */
#define PATH_COLLAPSED 0x10 /* what a side stream is reset with that says so (api/tunnel.md) */
/* RFC 9000, 2.1: what a stream's id says of it. */
#define IS_CLIENTS_BIDI(id) (((id)&3) == 0)
#define IS_CLIENTS_UNI(id)  (((id)&3) == 2)
#define IS_SERVERS_UNI(id)  (((id)&3) == 3)

static enum step die_of_quic(struct link *link)
{
    const char *text = quic_error_text(link->quic.quic);
    int error = quic_error(link->quic.quic);

    return link_die(link, error ? error : -ERR_CLOSED, *text ? text : "the peer closed");
}

/* From a callback: the pump says goodbye. */
static void note_broken(struct link *link, const char *fault)
{
    if (!link->quic.is_broken)
        snprintf(link->quic.fault, sizeof(link->quic.fault), "%s", fault);
    link->quic.is_broken = true;
    loop_again(link->loop, &link->ready);
}

/* --- steps ------------------------------------------------------------------------------------ */

/* What was picked and found no packet is the next one again. */
static void take_back(struct link *link)
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

static enum io flush(struct link *link)
{
    enum io io = quic_flush(link->quic.quic);

    take_back(link);
    return io;
}

static enum step handshake_step(struct link *link)
{
    struct link_quic *lq = &link->quic;
    enum io io = flush(link);
    int64_t id;

    if (io == IO_FAIL || io == IO_EOF)
        return die_of_quic(link);
    if (!quic_is_secure(lq->quic))
        return STEP_WAIT;
    if (link->side == LINK_EDGE) {
        if (quic_open(lq->quic, &id, link) != 0 || id != CONTROL_ID)
            return link_die(link, -ERR_LIMIT, "the peer allows no stream");
        lq->has_control = true;
    }
    return link_secured(link, quic_alpn(lq->quic));
}

/* The next bytes of the control stream, taken out of the queue; 0: none. */
static size_t take_control(struct link *link, uint8_t out[CONTROL_PIECE])
{
    size_t n = bufq_copy(&link->quic.in, out, CONTROL_PIECE);

    if (n > 0) {
        bufq_skip(&link->quic.in, n);
        quic_credit(link->quic.quic, CONTROL_ID, n);
    }
    return n;
}

static enum step line_step(struct link *link)
{
    uint8_t bytes[CONTROL_PIECE];
    enum io io = flush(link);
    size_t n;

    if (io == IO_FAIL || io == IO_EOF)
        return die_of_quic(link);
    if (link->quic.is_broken)
        return link_die(link, -ERR_PROTO, link->quic.fault);
    n = take_control(link, bytes);
    if (n > 0)
        return link_take_line(link, bytes, n);
    if (link->quic.is_control_ended)
        return link_die(link, -ERR_CLOSED, "the peer closed during the handshake");
    return STEP_WAIT;
}

static enum step verdict_step(struct link *link)
{
    enum io io = flush(link);

    return io == IO_FAIL || io == IO_EOF ? die_of_quic(link) : STEP_WAIT;
}

static void read_control(struct link *link)
{
    uint8_t bytes[CONTROL_PIECE];
    size_t n;

    while (!link->is_orphan && (n = take_control(link, bytes)) > 0)
        if (lane_input(&link->lane, bytes, n, loop_now_ms(link->loop)) != 0)
            return;
}

/* The lane's messages into `out`.  0, -ERR_NOMEM. */
static int write_control(struct link *link)
{
    struct link_quic *lq = &link->quic;
    const uint8_t *record;
    size_t n;
    int err = 0;

    while (!err && sendq_unsent(&lq->out) < CONTROL_AHEAD &&
           sendq_room(&lq->out) >= LANE_RECORD_BYTES &&
           (n = lane_next_record(&link->lane, loop_now_ms(link->loop), &record)) > 0) {
        err = sendq_push(&lq->out, record, n);
        lane_record_done(&link->lane);
    }
    return err;
}

static void open_and_end_sides(struct link *link)
{
    struct udp_side *side;
    int64_t stream;

    while ((side = lane_quic_next_side_to_open(&link->lane))) {
        if (quic_open_uni(link->quic.quic, &stream, NULL) == 0)
            lane_quic_side_opened(side, stream);
        else
            lane_quic_side_refused(&link->lane, side);
    }
    while (lane_quic_next_side_to_end(&link->lane, &stream))
        quic_shutdown(link->quic.quic, stream, 0);
}

static void tell_streams(struct link *link)
{
    uint32_t number, bytes;
    uint64_t code;

    open_and_end_sides(link);
    while (lane_quic_next_reset(&link->lane, &number, &code))
        quic_shutdown(link->quic.quic, lane_quic_id(number), code);
    while (lane_quic_next_credit(&link->lane, &number, &bytes))
        quic_credit(link->quic.quic, lane_quic_id(number), bytes);
}

static enum step open_step(struct link *link)
{
    struct link_quic *lq = &link->quic;
    enum io io;

    lq->is_blocked = lq->is_control_blocked = false; /* asked anew: more may be lent by now */
    read_control(link);
    if (link->is_orphan)
        return STEP_WAIT;
    if (lq->is_broken) {
        link_fail(link, -ERR_PROTO, lq->fault);
        lane_send_goodbye(&link->lane, GOODBYE_PROTOCOL_ERROR, lq->fault, 0);
    }
    if (lane_tick(&link->lane, loop_now_ms(link->loop)) != 0)
        return link_lane_has_ended(link);
    tell_streams(link);
    if (write_control(link) != 0)
        return link_die(link, -ERR_NOMEM, "no memory for the control stream");
    io = flush(link);
    if (link->lane.state == LANE_ENDED)
        return link_lane_has_ended(link);
    if (io == IO_FAIL || io == IO_EOF)
        return die_of_quic(link);
    if (lq->is_control_ended)
        return link_die(link, -ERR_CLOSED, "the peer closed without GOODBYE");
    /* What sending itself brought about comes in the next step: nobody else will wake us for it. */
    return lq->is_broken || lane_quic_has_signs(&link->lane) ? STEP_MORE : STEP_WAIT;
}

/* The last word, and what was on its way before it: ends of streams, too. */
static bool is_all_acknowledged(const struct link *link)
{
    struct quic_stats stats;

    if (sendq_held(&link->quic.out) > 0)
        return false;
    quic_stats(link->quic.quic, &stats);
    return stats.in_flight == 0;
}

/* Until all is acknowledged, for up to a second: a connection that closes takes with it what is
 * not.
 */
static enum step leave_step(struct link *link)
{
    struct link_quic *lq = &link->quic;
    enum io io;

    lq->is_control_blocked = false;
    if (link->lane.ops) {
        tell_streams(link); /* their owners may still end them: then the bytes are gone */
        if (write_control(link) != 0)
            return link_die(link, -ERR_NOMEM, "no memory for the control stream");
    }
    io = flush(link);
    if (io == IO_FAIL || io == IO_EOF || is_all_acknowledged(link))
        link_enter(link, LINK_DEAD);
    return STEP_WAIT;
}

static void arm(struct link *link)
{
    (void)link; /* the port reads, and each connection has a timer of its own */
}

static void close_connection(struct link *link)
{
    struct link_quic *lq = &link->quic;

    lq->offered = NULL;
    lq->has_datagram = false;
    if (lq->quic) {
        link->peer = *quic_peer(lq->quic);
        quic_free(lq->quic);
    }
    lq->quic = NULL;
    bufq_fini(&lq->in);
    sendq_fini(&lq->out);
}

static void send_line(struct link *link, const char *text, size_t n)
{
    if (sendq_push(&link->quic.out, text, n) != 0)
        note_broken(link, "no memory for the handshake's line");
}

static void start_lane(struct link *link, uint32_t initial_window)
{
    struct quic *q = link->quic.quic;

    (void)initial_window; /* QUIC's transport parameters said it already */
    quic_admit(q);        /* the peer has proved itself: more streams, more memory */
    lane_quic_init(&link->lane, link->side == LINK_HUB ? LANE_HUB : LANE_EDGE, &link_lane_ops,
                   link->budget, loop_pool(link->loop), quic_window(q), quic_peer_window(q),
                   loop_now_ms(link->loop));
}

static int open_stream(struct link *link, struct stream *s, const struct proxy_header *client)
{
    int64_t id;
    int err;

    if (!lane_takes_streams(&link->lane))
        return -ERR_CONFLICT;
    err = quic_open(link->quic.quic, &id, link);
    if (err)
        return err;
    err = lane_quic_open(&link->lane, s, (uint32_t)(id / 4), client, loop_now_ms(link->loop));
    if (err)
        quic_shutdown(link->quic.quic, id, RESET_BY_PEER);
    return err;
}

static enum path_sign watch_path(struct link *link)
{
    struct path_sample sample;
    struct quic_stats stats;

    quic_stats(link->quic.quic, &stats);
    sample = (struct path_sample){.now_ms = loop_now_ms(link->loop),
                                  .waiting_ms = stats.waiting_us / 1000,
                                  .stalled_ms = stats.stalled_us / 1000,
                                  .sent = stats.bytes_full,
                                  .acked = stats.bytes_acked,
                                  .in_flight = stats.in_flight,
                                  .cwnd = stats.cwnd,
                                  .packet = stats.mtu,
                                  .rtt_ms = stats.rtt_us / 1000};
    return path_watch_take(&link->quic.path, &sample);
}

/* Not a message: those wait behind whatever QUIC sends again, which on such a path is megabytes.
 * A reset waits for nothing. */
static void tell_collapse(struct link *link)
{
    int64_t stream;

    must(link->side == LINK_HUB);
    if (quic_open_uni(link->quic.quic, &stream, NULL) != 0)
        return;
    quic_shutdown(link->quic.quic, stream, PATH_COLLAPSED);
    loop_again(link->loop, &link->ready);
}

static int exporter(const struct link *link, uint8_t out[TLS_EXPORTER_BYTES])
{
    return quic_exporter(link->quic.quic, out);
}

static const char *cipher(const struct link *link)
{
    return link->quic.quic ? quic_cipher(link->quic.quic) : "";
}

static int peer_times(const struct link *link, int64_t *not_before, int64_t *not_after)
{
    return link->quic.quic ? quic_peer_times(link->quic.quic, not_before, not_after) : -ERR_CERT;
}

const struct link_carrier link_carrier_quic = {
    .transport = LINK_QUIC,
    .handshake = handshake_step,
    .line = line_step,
    .verdict = verdict_step,
    .open = open_step,
    .leave = leave_step,
    .arm = arm,
    .close = close_connection,
    .send_line = send_line,
    .start_lane = start_lane,
    .open_stream = open_stream,
    .watch_path = watch_path,
    .tell_collapse = tell_collapse,
    .exporter = exporter,
    .cipher = cipher,
    .peer_times = peer_times,
};

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
        note_broken(link, "no memory for the control stream");
    }
}

static int on_stream_data(struct link *link, int64_t stream, bool is_new, const uint8_t *bytes,
                          size_t n, bool is_fin)
{
    if (is_new)
        quic_set_user(link->quic.quic, stream, link);
    return lane_quic_data(&link->lane, (uint32_t)(stream / 4), is_new, bytes, n, is_fin,
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
        note_broken(link, "a stream before the handshake was done");
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
        note_broken(link, "a stream of a kind that the protocol does not have");
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
        lane_quic_acked(&link->lane, (uint32_t)(stream / 4), n);
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
        note_broken(link, "the control stream was reset");
    else if (!user &&
             IS_CLIENTS_BIDI(stream)) /* before its first byte: our direction ends as well */
        quic_shutdown(q, stream, RESET_BY_PEER);
    else if (has_lane(link) && IS_CLIENTS_BIDI(stream))
        lane_quic_reset(&link->lane, (uint32_t)(stream / 4), code);
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

    if (link->lane.ops &&
        (link->side == LINK_HUB ? IS_CLIENTS_UNI(stream) : IS_SERVERS_UNI(stream)))
        lane_quic_side_closed(&link->lane, user);
}

static void on_credit(struct quic *q, int64_t stream, void *user, uint64_t upto)
{
    struct link *link = enter_event(q);

    (void)user;
    if (link && stream == CONTROL_ID)
        link->quic.is_control_blocked = false;
    else if (link && has_lane(link) && IS_CLIENTS_BIDI(stream))
        lane_quic_credit(&link->lane, (uint32_t)(stream / 4), upto);
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

    take_back(link);
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

static size_t bytes_of(const struct quic_piece *piece)
{
    size_t n = 0;

    for (size_t i = 0; i < piece->count; i++)
        n += piece->iov[i].iov_len;
    return n;
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
    lane_quic_written(&link->lane, piece->user, n, piece->is_fin && n == bytes_of(piece),
                      loop_now_ms(link->loop));
}

static void on_refused(struct quic *q, const struct quic_piece *piece, enum quic_refusal why)
{
    struct link *link = quic_owner(q);

    if (piece->stream == CONTROL_ID) {
        link->quic.is_control_blocked = true;
        if (why != QUIC_BLOCKED)
            note_broken(link, "the control stream was reset");
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
    take_back(link);
    if (why == QUIC_BLOCKED)
        link->quic.is_blocked = true;
    else
        lane_quic_reset(&link->lane, (uint32_t)(piece->stream / 4), RESET_BY_PEER);
}

static const struct quic_ops quic_events = {
    .on_wake = on_wake,
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

int link_new_quic(struct link **out, struct quic *quic, const struct link_options *options)
{
    struct link *link = link_make(&link_carrier_quic, options);

    if (!link) {
        quic_free(quic);
        return -ERR_NOMEM;
    }
    link->quic.quic = quic;
    link->peer = *quic_peer(quic);
    bufq_init(&link->quic.in, loop_pool(link->loop), CONTROL_CAP);
    sendq_init(&link->quic.out, loop_pool(link->loop), CONTROL_CAP);
    quic_own(quic, &quic_events, link);
    *out = link;
    return 0;
}
