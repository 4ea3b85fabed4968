/* lane_in - frames into a lane; of a QUIC lane, the messages of its control stream.
 *
 * The bytes come as TLS gives them: a header may be split anywhere, and the payload of DATA is
 * passed on piece by piece, so no frame of a stream is ever held whole.  Control payloads (small,
 * or at most one CONFIG) and datagrams are gathered only when they came in pieces.
 *
 *   header (9 bytes) --begin()--> DATA: on_data() piece by piece   | dropped (a stream that ended)
 *                                 UDP_DATA: lane_take_datagram()
 *                                 anything else: on_frame() once it is whole
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tunnel/lane_internal.h"
#include "wire/channel.h"

static bool is_data(const struct frame *f)
{
    return f->type == FRAME_DATA || f->type == FRAME_DATA_BACK;
}

static bool is_open(const struct frame *f)
{
    return f->type == FRAME_OPEN || f->type == FRAME_UDP_OPEN;
}

static bool is_datagram(const struct frame *f)
{
    return f->type == FRAME_UDP_DATA || f->type == FRAME_UDP_DATA_BACK;
}

/* Which stream or UDP session a frame with an id that was opened belongs to; it may have ended. */
static int find_owner(struct lane *l, const struct frame *f)
{
    /* On QUIC's control stream an id is a UDP session's, and theirs alone. */
    if (l->carrier == LANE_FRAMES)
        l->in.stream = stream_table_find(&l->table, f->stream);
    l->in.udp = l->in.stream ? NULL : lane_find_udp(l, f->stream);
    if (l->in.stream && frame_kind(f->type) == FRAME_OF_UDP)
        return lane_break(l, "%s for stream %u, which is a TCP stream", frame_name(f->type),
                          f->stream);
    if (l->in.udp && frame_kind(f->type) == FRAME_OF_STREAM)
        return lane_break(l, "%s for stream %u, which is a UDP session", frame_name(f->type),
                          f->stream);
    if (l->in.stream && l->in.stream->open_line_len > 0)
        return lane_break(l, "%s for stream %u, whose OPEN was not sent yet", frame_name(f->type),
                          f->stream);
    if (l->in.udp && l->in.udp->open_header_len > 0)
        return lane_break(l, "%s for session %u, whose UDP_OPEN was not sent yet",
                          frame_name(f->type), f->stream);
    return 0;
}

/* A new header: what it is about, and whether it is allowed now. */
static int begin(struct lane *l)
{
    struct frame *f = &l->in.frame;
    bool from_edge = frame_is_from_edge(f->type);
    bool from_hub = frame_is_from_hub(f->type);
    uint32_t highest;
    int err;

    l->stats.frames_in++;
    l->in.left = f->len;
    l->in.stream = NULL;
    l->in.udp = NULL;
    if (l->role == LANE_HUB ? !from_edge : !from_hub)
        return lane_break(l, "%s must not come from this side", frame_name(f->type));
    if (f->stream == 0)
        return 0;
    highest = frame_kind(f->type) == FRAME_OF_UDP ? *lane_highest_udp(l) : l->highest_id;
    if (is_open(f)) {
        if (f->stream <= highest)
            return lane_break(l, "%s for stream %u, but %u was opened before", frame_name(f->type),
                              f->stream, highest);
        return 0;
    }
    if (f->stream > highest)
        return lane_break(l, "%s for stream %u, which was never opened", frame_name(f->type),
                          f->stream);
    err = find_owner(l, f);
    if (err || !l->in.stream)
        return err;
    if (!is_data(f))
        return 0;
    if (l->in.stream->in != HALF_OPEN)
        return lane_break(l, "data for stream %u after its FIN", f->stream);
    if (f->len > l->in.stream->window.granted - l->in.stream->window.received)
        return lane_break(l, "%u bytes for stream %u are past its credit", f->len, f->stream);
    return 0;
}

void lane_take_data(struct lane *l, struct stream *s, const uint8_t *bytes, size_t n)
{
    int err = bufq_push(&s->recvq, bytes, n);

    if (l->role == LANE_HUB)
        l->stats.bytes_from_clients += n;
    else
        l->stats.bytes_to_clients += n;
    if (err) {
        stream_abort(s, RESET_NO_MEMORY);
    } else {
        err = window_received(&s->window, n);
        must(err == 0); /* begin() looked; QUIC did */
    }
    stream_changed(s);
}

void lane_take_fin(struct stream *s)
{
    s->in = HALF_ENDED;
    window_end(&s->window);
    stream_end_if_done(s);
    stream_changed(s);
}

/* --- one function a frame; the payload is whole --- */

int lane_accept(struct lane *l, uint32_t id, const struct proxy_header *client)
{
    enum stream_reset refuse = RESET_NOT_ALLOWED;
    struct stream *s;
    int err;

    /* QUIC: its DRAIN may overtake the streams that it opened before; the deadline bounds them. */
    if (l->drain.by_peer && l->carrier == LANE_FRAMES)
        return lane_break(l, "OPEN of stream %u after DRAIN", id);
    if (l->drain.is_over) {
        l->stats.refused_limit++;
        lane_queue_reset(l, id, RESET_BY_PEER);
        return 0;
    }
    s = l->ops->on_open(l, client, &refuse);
    if (!s) {
        l->stats.refused_ports += refuse == RESET_NOT_ALLOWED;
        l->stats.refused_limit += refuse != RESET_NOT_ALLOWED;
        lane_queue_reset(l, id, refuse);
        return 0;
    }
    err = stream_join(s, l, id, l->now_ms);
    if (err) {
        l->stats.refused_limit++;
        lane_queue_reset(l, id, RESET_BY_PEER);
        s->reset_code = RESET_BY_PEER;
        stream_changed(s);
    }
    return 0;
}

static int on_open_frame(struct lane *l, const uint8_t *payload, size_t n)
{
    struct proxy_header client;
    uint32_t id = l->in.frame.stream;

    if (proxy_parse_open(&client, payload, n) != 0)
        return lane_break(l, "OPEN of stream %u is not one PROXY v1 line", id);
    l->highest_id = id;
    return lane_accept(l, id, &client);
}

static int on_close_frame(struct lane *l, const uint8_t *payload)
{
    struct stream *s = l->in.stream;
    enum close_code code;

    if (frame_close_parse(&code, &l->in.frame, payload) != 0)
        return lane_break(l, "%s of stream %u carries an unlisted byte",
                          frame_name(l->in.frame.type), l->in.frame.stream);
    if (!s)
        return 0;
    if (code == CLOSE_FIN) {
        if (s->in != HALF_OPEN)
            return lane_break(l, "a second FIN for stream %u", s->id);
        lane_take_fin(s);
        return 0;
    }
    l->stats.resets_in++;
    stream_reset_by_peer(s, (enum stream_reset)code);
    return 0;
}

static int on_window_frame(struct lane *l, const uint8_t *payload)
{
    struct stream *s = l->in.stream;
    uint32_t n;

    if (frame_credit_parse(&n, payload) != 0)
        return lane_break(l, "a WINDOW_UPDATE of 0 or past 2^31 - 1 for stream %u",
                          l->in.frame.stream);
    if (!s)
        return 0;
    if (s->credit + n > FRAME_CREDIT_MAX)
        return lane_break(l, "the credit of stream %u passes 2^31 - 1", s->id);
    s->credit += n;
    stream_tell_room(s);
    return 0;
}

static int on_ping_frame(struct lane *l, const uint8_t *payload)
{
    memcpy(l->out.pong, payload, sizeof(l->out.pong));
    l->out.has_pong = true;
    l->beat.silence_due_ms = l->now_ms + LANE_PING_SILENCE_MS;
    lane_wake(l);
    return 0;
}

static int on_pong_frame(struct lane *l, const uint8_t *payload)
{
    uint64_t serial = 0;

    for (unsigned i = 0; i < 8; i++)
        serial = serial << 8 | payload[i];
    if (l->beat.serial == 0)
        return lane_break(l, "%s", "a PONG without any PING");
    if (serial != l->beat.serial)
        return 0; /* an older one */
    l->beat.pong_due_ms = 0;
    l->beat.rtt_ms = (uint32_t)(l->now_ms - l->beat.pinged_ms);
    return 0;
}

static int on_drain_frame(struct lane *l, const uint8_t *payload, size_t n)
{
    struct wire_why why;
    struct drain d;
    uint64_t deadline_ms;

    if (drain_parse(&d, payload, n, &why) != 0)
        return lane_break(l, "DRAIN: %s", why.text);
    deadline_ms = l->now_ms + (uint64_t)d.deadline_secs * 1000;
    l->drain.by_peer = true;
    lane_drain_by(l, deadline_ms);
    l->ops->on_drain(l);
    lane_wake(l);
    return 0;
}

static int on_goodbye_frame(struct lane *l, const uint8_t *payload, size_t n)
{
    struct wire_why why;

    if (goodbye_parse(&l->goodbye, payload, n, &why) != 0)
        return lane_break(l, "GOODBYE: %s", why.text);
    l->has_goodbye = true;
    free(l->out.last); /* it is closed without an answer */
    free(l->out.body);
    bufq_clear(&l->out.rest);
    l->out.last = NULL;
    l->out.body = NULL;
    lane_end(l, -ERR_CLOSED, "GOODBYE %s: %s", goodbye_name(l->goodbye.code), l->goodbye.message);
    return -ERR_CLOSED;
}

static int on_frame(struct lane *l, const uint8_t *payload)
{
    size_t n = l->in.frame.len;
    enum frame_type type = (enum frame_type)l->in.frame.type; /* frame_parse() knew it */
    struct wire_why why = {""};

    switch (type) {
    case FRAME_OPEN:
        return on_open_frame(l, payload, n);
    case FRAME_UDP_OPEN:
        return lane_on_udp_open(l, payload, n);
    case FRAME_CLOSE:
    case FRAME_CLOSE_BACK:
        return on_close_frame(l, payload);
    case FRAME_WINDOW_UPDATE:
    case FRAME_WINDOW_UPDATE_BACK:
        return on_window_frame(l, payload);
    case FRAME_PING:
        return on_ping_frame(l, payload);
    case FRAME_PONG:
        return on_pong_frame(l, payload);
    case FRAME_CONFIG:
    case FRAME_CONFIG_ACK:
        if (l->ops->on_control(l, type, payload, n, &why) != 0)
            return lane_break(l, "%s: %s", frame_name(l->in.frame.type), why.text);
        return 0;
    case FRAME_DRAIN:
        return on_drain_frame(l, payload, n);
    case FRAME_GOODBYE:
        return on_goodbye_frame(l, payload, n);
    case FRAME_UDP_CLOSE:
        return lane_on_udp_close(l, payload);
    case FRAME_DATA: /* no payload at all is allowed */
    case FRAME_DATA_BACK:
        return 0;
    case FRAME_UDP_DATA: /* the same; it is a datagram all the same */
    case FRAME_UDP_DATA_BACK:
        lane_on_datagram(l, payload, n);
        return 0;
    }
    return lane_break(l, "frame type %u", (unsigned)type);
}

/* Payload of a frame that is looked at as a whole: in place when it came in one piece. */
static int gather(struct lane *l, const uint8_t *bytes, size_t n)
{
    struct lane_in *in = &l->in;
    int err;

    if (n == in->frame.len)
        return on_frame(l, bytes);
    if (!in->payload) {
        in->payload = must_alloc(in->frame.len);
        in->payload_len = 0;
    }
    memcpy(in->payload + in->payload_len, bytes, n);
    in->payload_len += (uint32_t)n;
    if (in->left > 0)
        return 0;
    err = on_frame(l, in->payload);
    free(in->payload);
    in->payload = NULL;
    return err;
}

static int take_payload(struct lane *l, const uint8_t *bytes, size_t n)
{
    l->in.left -= (uint32_t)n;
    if (is_data(&l->in.frame)) {
        if (l->in.stream) /* else it ended: thrown away */
            lane_take_data(l, l->in.stream, bytes, n);
        return 0;
    }
    if (is_datagram(&l->in.frame)) {
        lane_take_datagram(l, bytes, n);
        return 0;
    }
    return gather(l, bytes, n);
}

/* 0: the header is not whole. */
static int parse_header(struct lane *l)
{
    struct lane_in *in = &l->in;

    return l->carrier == LANE_FRAMES ? frame_parse(&in->frame, in->header, in->header_len)
                                     : channel_parse(&in->frame, in->header, in->header_len);
}

static const char *header_fault(const struct lane *l)
{
    const char *fault =
        l->carrier == LANE_FRAMES ? frame_fault(&l->in.frame) : channel_fault(&l->in.frame);

    return fault ? fault : "bad_length";
}

/* The next bytes of a header; how many were used.  One on a control stream has 5 or 9, which its
 * first byte tells. */
static size_t take_header(struct lane *l, const uint8_t *bytes, size_t n, int *err)
{
    struct lane_in *in = &l->in;
    size_t need = l->carrier == LANE_QUIC && in->header_len < CHANNEL_HEADER_MIN
                      ? CHANNEL_HEADER_MIN
                      : FRAME_HEADER_BYTES;
    size_t used = MIN(n, need - in->header_len);
    int got;

    memcpy(in->header + in->header_len, bytes, used);
    in->header_len += (uint32_t)used;
    *err = 0;
    got = parse_header(l);
    if (got == 0)
        return used;
    in->header_len = 0;
    *err = got < 0 ? lane_break(l, "%s", header_fault(l)) : begin(l);
    if (*err == 0 && in->left == 0)
        *err = on_frame(l, in->header); /* no payload: the pointer is not read */
    return used;
}

int lane_input(struct lane *l, const uint8_t *bytes, size_t n, uint64_t now_ms)
{
    int err = 0;

    l->now_ms = MAX(l->now_ms, now_ms);
    while (n > 0 && l->state == LANE_OPEN) {
        size_t used;

        if (l->in.left > 0) {
            used = MIN(n, (size_t)l->in.left);
            err = take_payload(l, bytes, used);
        } else {
            used = take_header(l, bytes, n, &err);
        }
        if (err)
            return err;
        bytes += used;
        n -= used;
    }
    return 0;
}
