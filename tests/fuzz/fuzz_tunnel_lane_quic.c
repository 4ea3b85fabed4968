/* fuzz_tunnel_lane_quic - one lane on QUIC against a hostile peer: bytes of the control stream and
 * of streams, ends, resets, credit and acknowledgements in any order that a QUIC library lets
 * through, while the owner reads, writes, ends and resets streams and time goes on.
 *
 * What QUIC itself refuses is not tried: data past the credit or behind an end, an acknowledgement
 * of what was not sent.  After every step the lane checks itself and what it holds is within its
 * bounds; bytes that are not acknowledged are read again, as a retransmission would.
 *
 * Input: one byte of setup, then steps: an opcode and its operands (step() below).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "fuzz/lane_script.h"
#include "tunnel/lane_quic.h"
#include "wire/channel.h"

#define STREAMS 24u   /* of the owner */
#define NUMBERS 96u   /* of QUIC; 0 is the control stream */
#define WINDOW  4096u /* small, so that credit matters */
#define BUDGET  (300u * 1024)
#define PIECES  8u

/* What QUIC knows of a stream. */
struct quic_stream {
    bool is_known, is_over; /* coming in: bytes came; its end or reset came */
    bool is_shut;           /* going out: reset */
    uint64_t received, lent;
    uint64_t sent, acked, limit;
};

struct world {
    struct lane lane;
    struct budget budget;
    struct chunk_pool pool;
    uint64_t now_ms;
    struct stream streams[STREAMS];
    struct quic_stream quic[NUMBERS];
    uint32_t opened; /* edge: streams that QUIC has given out */
};

static struct world *world; /* for on_change(), which gets the stream only */
static volatile uint8_t seen;

static void on_change(struct stream *s)
{
    must(s >= world->streams && s < world->streams + STREAMS);
}

/* A stream that is not in use, or NULL. */
static struct stream *idle_stream(struct world *w)
{
    for (unsigned i = 0; i < STREAMS; i++) {
        struct stream *s = &w->streams[i];

        if (s->on_change && (s->state == STREAM_OPEN || s->budget))
            continue;
        stream_release(s);
        stream_init(s, on_change);
        return s;
    }
    return NULL;
}

static struct stream *on_open(struct lane *lane, const struct proxy_header *client,
                              enum stream_reset *refuse)
{
    must(lane->role == LANE_HUB);
    *refuse = client->dst_port == 9 ? RESET_NOT_ALLOWED : RESET_BY_PEER;
    return client->dst_port == 9 ? NULL : idle_stream(world);
}

static int on_control(struct lane *lane, enum frame_type type, const uint8_t *json, size_t n,
                      struct wire_why *why)
{
    must(type == (lane->role == LANE_HUB ? FRAME_CONFIG_ACK : FRAME_CONFIG));
    must(n >= 2 && n <= FRAME_PAYLOAD_MAX);
    why->text[0] = '\0';
    if (json[0] == '!')
        return -ERR_PROTO;
    lane_send_config(lane, "{\"revision\":1}"); /* an answer from within */
    return 0;
}

static void on_drain(struct lane *lane)
{
    must(lane->drain.by_peer);
}

static const struct lane_ops ops = {
    .on_open = on_open, .on_control = on_control, .on_drain = on_drain};

/* --- what must hold --------------------------------------------------------------------------- */

static void check_bounds(const struct world *w)
{
    uint64_t bytes = 0, charged = 0;
    unsigned held = 0;

    for (unsigned i = 0; i < STREAMS; i++) {
        const struct stream *s = &w->streams[i];

        if (!s->on_change)
            continue;
        stream_check(s);
        if (!s->budget)
            continue;
        held++;
        charged += s->window.charged + s->send_charged;
        bytes += s->recvq.len + sendq_held(&s->sendq);
    }
    must(charged == atomic_load(&w->budget.taken));
    must(charged <= w->budget.limit_bytes);
    must(held == atomic_load(&w->budget.streams));
    must(bytes <= w->budget.limit_bytes + held * (BUDGET_STREAM_FREE + CHUNK_ROOM));
    must(w->pool.out_count <= bytes / CHUNK_ROOM + 4 * held);
    must(w->lane.out.resets.size <= LANE_RESETS_MAX);
    must(!w->lane.in.payload || w->lane.in.frame.len <= FRAME_PAYLOAD_MAX);
}

/* All that is out and not acknowledged is read, as QUIC does when a packet is lost. */
static void read_in_flight(const struct world *w)
{
    for (unsigned i = 0; i < STREAMS; i++) {
        const struct stream *s = &w->streams[i];
        uint64_t left = s->sendq.sent - s->sendq.acked;

        if (!s->on_change || s->state != STREAM_OPEN)
            continue;
        must(w->quic[s->id].is_shut ||
             (s->sendq.sent == w->quic[s->id].sent && s->sendq.acked == w->quic[s->id].acked));
        for (const struct chunk *c = s->sendq.head; c && left > 0; c = c->next) {
            uint64_t part = MIN(left, (uint64_t)(c->tail - c->head));

            for (uint64_t k = 0; k < part; k++)
                seen = (uint8_t)(seen ^ c->bytes[c->head + k]);
            left -= part;
        }
        must(left == 0);
    }
}

/* --- the peer ----------------------------------------------------------------------------------
 */

static void feed_control(struct world *w, const uint8_t *bytes, size_t n, size_t piece)
{
    while (n > 0) {
        size_t part = MIN(n, piece);
        uint8_t *copy = malloc(part);

        must(copy != NULL);
        memcpy(copy, bytes, part);
        if (lane_input(&w->lane, copy, part, w->now_ms) != 0)
            must(w->lane.state == LANE_ENDED);
        free(copy);
        bytes += part;
        n -= part;
    }
}

static const char *fitting_payload(uint8_t type, uint8_t flavour)
{
    switch (type) {
    case FRAME_CONFIG:
    case FRAME_CONFIG_ACK:
        return flavour & 1 ? "!}" : "{\"revision\":3,\"listenPorts\":[]}";
    case FRAME_DRAIN:
        return flavour & 1 ? "{\"deadlineSecs\":3}" : "{\"deadlineSecs\":300}";
    case FRAME_GOODBYE:
        return "{\"code\":\"draining\",\"message\":\"\"}";
    case FRAME_UDP_OPEN: /* with its id: the header has four bytes of it */
        return "\r\n\r\n";
    default:
        return "\0\0\0\0\0\0\0\1"; /* PING, PONG: the first serial */
    }
}

/* A message: type, flavour, piece. */
static void step_message(struct world *w, struct script *s)
{
    static const uint8_t from_edge[] = {FRAME_PONG,       FRAME_CONFIG_ACK, FRAME_DRAIN,
                                        FRAME_CONFIG_ACK, FRAME_UDP_OPEN,   FRAME_UDP_CLOSE};
    static const uint8_t from_hub[] = {FRAME_PING,  FRAME_CONFIG,    FRAME_PING,
                                       FRAME_DRAIN, FRAME_UDP_CLOSE, FRAME_CONFIG};
    uint8_t message[CHANNEL_HEADER_MAX + 80] = {0}, operand = take(s), flavour = take(s), type;
    const char *text;
    size_t n;

    type = w->lane.role == LANE_HUB ? from_edge[operand % 6] : from_hub[operand % 6];
    if (operand >= 250)
        type = operand == 250 ? FRAME_GOODBYE : (uint8_t)(flavour % 0x14);
    text = fitting_payload(type, flavour);
    n = type == FRAME_PING || type == FRAME_PONG ? 8 : strlen(text);
    if (type == FRAME_UDP_OPEN) { /* PROXY v2, PROXY DGRAM INET, 12 bytes of address */
        static const uint8_t header[28] = {13, 10, 13, 10, 0,  13,   10, 81,
                                           85, 73, 84, 10, 33, 0x12, 0,  12};

        memcpy(message + CHANNEL_HEADER_MAX, header, sizeof(header));
        message[8] = (uint8_t)(w->lane.highest_udp + 1 - flavour % 2u);
        n = 4 + sizeof(header);
    } else if (type == FRAME_UDP_CLOSE) {
        message[8] = (uint8_t)(w->lane.highest_udp + flavour % 2u);
        message[9] = flavour & 2 ? 3 : 1;
        n = 5 - flavour / 128;
    } else {
        memcpy(message + CHANNEL_HEADER_MIN, text, n);
    }
    message[0] = type;
    message[4] = (uint8_t)n;
    feed_control(w, message, CHANNEL_HEADER_MIN + n, 1 + take(s));
}

/* Bytes of a stream: number, flavour, length.  Those that may come are a line, cut anywhere by what
 * came before, and anything behind it. */
static void step_data(struct world *w, struct script *s)
{
    static const char *const lines[] = {"PROXY TCP4 192.0.2.1 192.0.2.9 4000 443\r\nGET /",
                                        "PROXY TCP6 2001:db8::1 2001:db8::2 4000 9\r\n",
                                        "PROXY TCP4 192.0.2.1 192.0.2.9 4000 443\r\n",
                                        "nonsense\n"};
    uint32_t number = 1 + take(s) % (NUMBERS - 1);
    uint8_t flavour = take(s);
    struct quic_stream *q = &w->quic[number];
    bool is_new = !q->is_known, is_fin = (flavour & 0x38) == 0x38;
    const char *line = lines[flavour & 0x40 ? flavour % 4u : flavour % 3u];
    size_t n = take(s), room = (size_t)(q->lent - q->received);
    uint8_t *bytes;

    if (q->is_over || w->lane.state != LANE_OPEN)
        return;
    if (w->lane.role == LANE_EDGE && is_new && flavour != 0x7f)
        return; /* a hub that opens streams has an end at once */
    n = MIN(flavour & 0x80 ? n * 64 : n, room);
    if (n == 0 && !is_fin)
        return; /* QUIC does not tell of nothing */
    bytes = n > 0 ? malloc(n) : NULL;
    must(n == 0 || bytes != NULL);
    for (size_t i = 0; i < n; i++) {
        uint64_t at = q->received + i;

        bytes[i] = (uint8_t)(at < strlen(line) ? line[at] : 'x');
    }
    q->is_known = true;
    q->received += n;
    q->is_over = is_fin;
    if (lane_quic_data(&w->lane, number, is_new, bytes, n, is_fin, w->now_ms) != 0)
        must(w->lane.state == LANE_ENDED);
    free(bytes);
}

/* What else a peer may say of a stream: number, kind, amount. */
static void step_sign(struct world *w, struct script *s)
{
    uint32_t number = 1 + take(s) % (NUMBERS - 1);
    uint8_t kind = take(s);
    uint64_t n = take(s);
    struct quic_stream *q = &w->quic[number];

    if (w->lane.state != LANE_OPEN)
        return; /* link_quic.c tells it no more */
    switch (kind % 8) {
    case 0: /* RESET_STREAM */
        if (!q->is_over)
            lane_quic_reset(&w->lane, number, kind & 0x80 ? UINT64_MAX - n : n % 6);
        q->is_over = true;
        break;
    case 1: /* STOP_SENDING */
        lane_quic_reset(&w->lane, number, n % 6);
        q->is_shut = true;
        break;
    case 2:
    case 3: /* MAX_STREAM_DATA, of any size, late or early */
        q->limit = MAX(q->limit, kind & 0x80 ? 1ull << (n % 62) : n * 500);
        lane_quic_credit(&w->lane, number, q->limit);
        break;
    default:
        n = MIN(n * 40, q->sent - q->acked);
        if (q->is_shut || n == 0)
            break;
        q->acked += n;
        lane_quic_acked(&w->lane, number, n);
        break;
    }
}

/* --- link_quic.c -------------------------------------------------------------------------------
 */

static void take_signs(struct world *w)
{
    uint32_t number, bytes;
    uint64_t code;

    while (lane_quic_next_reset(&w->lane, &number, &code)) {
        must(code >= RESET_BY_PEER && code <= RESET_NOT_ALLOWED);
        must(number > 0 && number < NUMBERS);
        w->quic[number].is_shut = true;
    }
    while (lane_quic_next_credit(&w->lane, &number, &bytes)) {
        must(bytes > 0 && number > 0 && number < NUMBERS);
        w->quic[number].lent += bytes;
    }
}

static void step_send(struct world *w, struct script *s, unsigned packets)
{
    struct iovec piece[PIECES];
    const uint8_t *record;
    size_t count, total, n;
    struct stream *x;
    bool is_fin;

    take_signs(w);
    while ((n = lane_next_record(&w->lane, w->now_ms, &record)) > 0) {
        must(n <= LANE_RECORD_BYTES);
        lane_record_done(&w->lane);
    }
    for (; packets > 0; packets--) {
        struct quic_stream *q;

        x = lane_quic_pick(&w->lane, w->now_ms, piece, 1 + packets % PIECES, &count, &is_fin);
        if (!x)
            return;
        q = &w->quic[x->id];
        n = take(s);
        if (q->is_shut) { /* QUIC_GONE */
            uint32_t number = x->id;

            lane_quic_return(&w->lane, x);
            lane_quic_reset(&w->lane, number, RESET_BY_PEER);
            continue;
        }
        if (n == 255) { /* no room in the packet */
            lane_quic_return(&w->lane, x);
            return;
        }
        total = 0;
        for (size_t i = 0; i < count; i++)
            total += piece[i].iov_len;
        n = MIN(total, 1 + n * 64);
        q->sent += n;
        must(q->sent <= q->limit);
        lane_quic_written(&w->lane, x, n, is_fin && n == total, w->now_ms);
    }
}

/* --- the owner ---------------------------------------------------------------------------------
 */

static void step_owner(struct world *w, struct script *s)
{
    struct stream *x = &w->streams[take(s) % STREAMS];
    uint8_t what = take(s);
    size_t n = (size_t)take(s) * 200;

    own_stream(x, what, n, w->now_ms);
}

static void open_stream(struct world *w)
{
    static const struct proxy_header client = {
        .family = PROXY_INET, .transport = PROXY_STREAM, .dst_port = 443};
    struct stream *x;

    if (!lane_takes_streams(&w->lane) || w->opened + 1 == NUMBERS || !(x = idle_stream(w)))
        return;
    w->quic[++w->opened].is_known = true;
    if (lane_quic_open(&w->lane, x, w->opened, &client, w->now_ms) != 0)
        w->quic[w->opened].is_shut = w->quic[w->opened].is_over = true;
}

static void step_lane(struct world *w, struct script *s)
{
    switch (take(s) % 8) {
    case 0:
        lane_send_config(&w->lane, "{\"revision\":2}");
        break;
    case 1:
        lane_send_drain(&w->lane, take(s), w->now_ms);
        break;
    case 2:
        if (take(s) == 7)
            lane_send_goodbye(&w->lane, GOODBYE_KICKED, "enough", 1);
        break;
    default:
        if (w->lane.role == LANE_EDGE)
            open_stream(w);
        break;
    }
}

static void step(struct world *w, struct script *s)
{
    uint8_t op = take(s);
    size_t n;

    switch (op % 9) {
    case 0: /* raw bytes of the control stream */
        n = take(s);
        n = MIN(n, (size_t)(s->end - s->at));
        feed_control(w, s->at, n, 1 + op / 9);
        s->at += n;
        break;
    case 1:
        step_message(w, s);
        break;
    case 2:
    case 3:
        step_data(w, s);
        break;
    case 4:
        step_sign(w, s);
        break;
    case 5:
        w->now_ms += take(s) * 37u;
        if (lane_tick(&w->lane, w->now_ms) != 0)
            must(w->lane.error == -ERR_TIMEOUT);
        break;
    case 6:
        step_send(w, s, 1 + op / 9);
        break;
    case 7:
        step_owner(w, s);
        break;
    default:
        step_lane(w, s);
        break;
    }
    lane_check(&w->lane);
    check_bounds(w);
    read_in_flight(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script s = {data, data + size};
    uint8_t setup = take(&s);

    world = calloc(1, sizeof(*world));
    must(world != NULL);
    world->now_ms = 1000;
    chunk_pool_init(&world->pool, 0, setup & 2 ? 12 : 0);
    budget_init(&world->budget, setup & 4 ? 1 : BUDGET, setup & 8 ? 4 : 16384, 4u << 20);
    for (unsigned i = 0; i < NUMBERS; i++)
        world->quic[i].lent = world->quic[i].limit = WINDOW;
    lane_quic_init(&world->lane, setup & 1 ? LANE_HUB : LANE_EDGE, &ops, &world->budget,
                   &world->pool, WINDOW, WINDOW, world->now_ms);
    while (s.at < s.end)
        step(world, &s);
    step_send(world, &s, 1000);
    lane_fini(&world->lane);
    for (unsigned i = 0; i < STREAMS; i++)
        stream_release(&world->streams[i]);
    must(atomic_load(&world->budget.taken) == 0);
    must(atomic_load(&world->budget.streams) == 0);
    must(world->pool.out_count == 0);
    chunk_pool_fini(&world->pool);
    free(world);
    return 0;
}
