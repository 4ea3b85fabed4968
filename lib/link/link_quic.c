/* link_quic - a link on a QUIC connection: the control stream carries lines and messages, each
 * client's connection is a stream of its own (tunnel/lane_quic.h).
 *
 *   quic --on_data--> in ----> lines, lane_input()             the control stream, number 0
 *        <----next--- out <--- lane_next_record()
 *        --on_data--> lane_quic_data()                         all others, at once
 *        <----next--- lane_quic_pick()
 *
 * QUIC's callbacks (link_quic_events.c) only take note: they fill queues of ours or feed the lane,
 * which wakes the owners of streams; the pump, here, does the rest.  In a run resets go first:
 * after one, the bytes that QUIC might have wanted to send again are gone.
 */
#include "link/link_quic.h"

#include "base/err.h"

#define CONTROL_CAP                                                                                \
    (256u * 1024) /* of the control stream, each way: more than any line or CONFIG */
#define CONTROL_AHEAD (64u * 1024) /* messages made ahead of the connection */
#define CONTROL_PIECE 4096u        /* looked at at once */

static enum step die_of_quic(struct link *link)
{
    const char *text = quic_error_text(link->quic.quic);
    int error = quic_error(link->quic.quic);

    return link_die(link, error ? error : -ERR_CLOSED, *text ? text : "the peer closed");
}

/* --- steps ------------------------------------------------------------------------------------ */

static enum io flush(struct link *link)
{
    enum io io = quic_flush(link->quic.quic);

    link_quic_take_back(link);
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

/* The peer's fault, and no last word is under way: it has its time to go out, as any has. */
static bool is_fault_untold(const struct link *link)
{
    return link->quic.is_broken && link->state_due_ms == 0;
}

static enum step open_step(struct link *link)
{
    struct link_quic *lq = &link->quic;
    enum io io;

    lq->is_blocked = lq->is_control_blocked = false; /* asked anew: more may be lent by now */
    read_control(link);
    if (link->is_orphan)
        return STEP_WAIT;
    if (is_fault_untold(link)) {
        link_fail(link, -ERR_PROTO, lq->fault);
        link_goodbye(link, GOODBYE_PROTOCOL_ERROR, lq->fault, 0);
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
    return is_fault_untold(link) || lane_quic_has_signs(&link->lane) ? STEP_MORE : STEP_WAIT;
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

/* What QUIC itself holds for the lane beyond its allowance is part of what the lane may hold. */
static bool take_memory(void *arg, uint64_t n)
{
    return budget_take(arg, n);
}

static void give_memory(void *arg, uint64_t n)
{
    budget_give(arg, n);
}

static const struct quic_lender lender = {take_memory, give_memory};

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
        link_quic_broken(link, "no memory for the handshake's line");
}

static void start_lane(struct link *link, uint32_t initial_window)
{
    struct quic *q = link->quic.quic;

    (void)initial_window; /* QUIC's transport parameters said it already */
    quic_admit(q);        /* the peer has proved itself: more streams, more memory */
    quic_set_lender(q, &lender, link->budget);
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
    err = lane_quic_open(&link->lane, s, lane_quic_number(id), client, loop_now_ms(link->loop));
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
    quic_own(quic, &link_quic_events, link);
    *out = link;
    return 0;
}
