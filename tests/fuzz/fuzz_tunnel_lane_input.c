/* fuzz_tunnel_lane_input - one lane against a hostile peer: arbitrary bytes and halfway sensible
 * frames in arbitrary pieces, while the owner reads, writes, ends and resets streams and time goes
 * on.
 *
 * After every step the lane checks itself, what it holds is within its bounds, and what it sends is
 * whole frames that this side may send, with nothing behind a GOODBYE.
 *
 * Input: one byte of setup, then steps: an opcode and its operands (step() below).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "fuzz/lane_script.h"
#include "fuzz/udp_owner.h"
#include "tunnel/lane.h"

#define STREAMS 24
#define BUDGET  (300u * 1024)

struct world {
    struct lane lane;
    struct budget budget;
    struct chunk_pool pool;
    uint64_t now_ms;
    struct stream streams[STREAMS];
    struct udp_session sessions[STREAMS];
    unsigned used; /* streams given so far; they are given again when they are over */
    uint8_t header[FRAME_HEADER_BYTES];
    uint32_t header_len, left; /* of the frame that is coming out */
    bool has_goodbye, is_over;
};

static struct world *world; /* for on_change(), which gets the stream only */

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
    struct stream *s = client->dst_port == 9 ? NULL : idle_stream(world);

    must(lane->role == LANE_HUB);
    *refuse = client->dst_port == 9 ? RESET_NOT_ALLOWED : RESET_BY_PEER;
    return s;
}

static struct udp_session *on_udp_open(struct lane *lane, const struct proxy_header *client,
                                       enum udp_end *refuse)
{
    must(lane->role == LANE_HUB);
    return answer_udp_open(world->sessions, STREAMS, client->dst_port, refuse);
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
    .on_open = on_open,
    .on_udp_open = on_udp_open,
    .on_control = on_control,
    .on_drain = on_drain,
};

/* --- what must hold --------------------------------------------------------------------------- */

static void check_output(struct world *w, const uint8_t *bytes, size_t n)
{
    struct frame f;

    while (n > 0) {
        size_t used;

        must(!w->has_goodbye || w->left > 0);
        if (w->left > 0) {
            used = MIN(n, (size_t)w->left);
            w->left -= (uint32_t)used;
        } else {
            used = MIN(n, (size_t)(FRAME_HEADER_BYTES - w->header_len));
            memcpy(w->header + w->header_len, bytes, used);
            w->header_len += (uint32_t)used;
            if (w->header_len == FRAME_HEADER_BYTES) {
                must(frame_parse(&f, w->header, FRAME_HEADER_BYTES) == FRAME_HEADER_BYTES);
                must(w->lane.role == LANE_EDGE ? frame_is_from_edge(f.type)
                                               : frame_is_from_hub(f.type));
                w->header_len = 0;
                w->left = f.len;
                w->has_goodbye = f.type == FRAME_GOODBYE;
            }
        }
        bytes += used;
        n -= used;
    }
}

static void check_udp_bounds(const struct world *w, uint64_t *bytes, unsigned *held)
{
    uint64_t charged = 0;
    unsigned open = 0;

    for (unsigned i = 0; i < STREAMS; i++) {
        const struct udp_session *u = &w->sessions[i];

        if (!u->on_closed)
            continue;
        udp_session_check(u);
        open += u->state == UDP_OPEN;
        charged += u->charge.bytes;
        *bytes += u->queue.len;
    }
    must(charged == atomic_load(&w->budget.udp.taken));
    must(charged <= w->budget.udp.limit_bytes);
    must(open == atomic_load(&w->budget.udp.sessions));
    *held += open;
}

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
        bytes += s->recvq.len + sendq_unsent(&s->sendq);
    }
    must(held == atomic_load(&w->budget.streams));
    check_udp_bounds(w, &bytes, &held);
    must(charged == atomic_load(&w->budget.taken));
    must(charged <= w->budget.limit_bytes);
    must(bytes <= w->budget.limit_bytes + w->budget.udp.limit_bytes +
                      held * (BUDGET_STREAM_FREE + CHUNK_ROOM));
    must(w->pool.out_count <= (bytes + w->lane.out.rest.len) / CHUNK_ROOM + 4 * held + 1);
    must(w->lane.out.resets.size <= LANE_RESETS_MAX);
    must(!w->lane.in.payload || w->lane.in.frame.len <= FRAME_PAYLOAD_MAX);
}

/* --- steps -------------------------------------------------------------------------------------
 */

static void feed(struct world *w, const uint8_t *bytes, size_t n, size_t piece)
{
    while (n > 0) {
        size_t part = MIN(n, piece);
        uint8_t *copy = malloc(part);

        must(copy != NULL);
        memcpy(copy, bytes, part);
        if (lane_input(&w->lane, copy, part, w->now_ms) != 0)
            must(w->lane.state == LANE_ENDED);
        free(copy);
        lane_check(&w->lane);
        bytes += part;
        n -= part;
    }
}

static const char *fitting_payload(uint8_t type, uint8_t flavour)
{
    static const char line[] = "PROXY TCP4 192.0.2.1 192.0.2.9 4000 443\r\n";
    static const char refused[] = "PROXY TCP6 2001:db8::1 2001:db8::2 4000 9\r\n";

    static const char udp[] = "\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c"
                              "\xc0\0\x02\x01\xc0\0\x02\x09\x0f\xa0\0\x35";
    static const char udp_refused[] = "\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c"
                                      "\xc0\0\x02\x01\xc0\0\x02\x09\x0f\xa0\0\x09";

    switch (type) {
    case FRAME_OPEN:
        return flavour & 1 ? refused : line;
    case FRAME_UDP_OPEN:
        return flavour & 1 ? udp_refused : udp;
    case FRAME_CONFIG:
    case FRAME_CONFIG_ACK:
        return flavour & 1 ? "!}" : "{\"revision\":3,\"listenPorts\":[]}";
    case FRAME_DRAIN:
        return flavour & 1 ? "{\"deadlineSecs\":3}" : "{\"deadlineSecs\":300}";
    case FRAME_GOODBYE:
        return "{\"code\":\"draining\",\"message\":\"\"}";
    default:
        return NULL;
    }
}

/* Mostly what the peer may send, to whom it may send it: a lane that ends at once tells little. */
static uint8_t pick_type(const struct world *w, uint8_t operand)
{
    static const uint8_t from_edge[] = {
        FRAME_OPEN,     FRAME_DATA,          FRAME_DATA,     FRAME_CLOSE,      FRAME_PONG,
        FRAME_OPEN,     FRAME_WINDOW_UPDATE, FRAME_DRAIN,    FRAME_CONFIG_ACK, FRAME_UDP_OPEN,
        FRAME_UDP_DATA, FRAME_UDP_DATA,      FRAME_UDP_CLOSE};
    static const uint8_t from_hub[] = {
        FRAME_DATA_BACK,          FRAME_DATA_BACK,     FRAME_DATA_BACK,     FRAME_CLOSE_BACK,
        FRAME_WINDOW_UPDATE_BACK, FRAME_PING,          FRAME_CONFIG,        FRAME_DRAIN,
        FRAME_DATA_BACK,          FRAME_UDP_DATA_BACK, FRAME_UDP_DATA_BACK, FRAME_UDP_CLOSE};

    if (operand >= 250)
        return operand % 0x14;
    return w->lane.role == LANE_HUB ? from_edge[operand % ARRAY_LEN(from_edge)]
                                    : from_hub[operand % ARRAY_LEN(from_hub)];
}

static uint32_t pick_id(const struct world *w, uint8_t type, uint8_t operand)
{
    if (operand >= 252)
        return operand == 252 ? UINT32_MAX : w->lane.highest_id + operand - 252;
    if (!frame_is_known(type) || frame_kind(type) == FRAME_OF_CONNECTION)
        return 0;
    if (type == FRAME_OPEN || type == FRAME_UDP_OPEN)
        return w->lane.highest_id + 1 + operand % 2;
    return w->lane.highest_id - MIN(w->lane.highest_id, operand % 8u);
}

static uint32_t pick_length(uint8_t type, uint8_t flavour, uint32_t operand)
{
    if (flavour & 0x20)
        return operand % (FRAME_PAYLOAD_MAX + 8);
    switch (type) {
    case FRAME_WINDOW_UPDATE:
    case FRAME_WINDOW_UPDATE_BACK:
        return FRAME_CREDIT_BYTES;
    case FRAME_PING:
    case FRAME_PONG:
        return FRAME_PING_BYTES;
    case FRAME_CLOSE:
    case FRAME_CLOSE_BACK:
    case FRAME_UDP_CLOSE:
        return operand % 2;
    default:
        return operand % 30000;
    }
}

/* A frame with operands: type, id, flavour, two bytes of length, piece, one byte of content. */
static void step_frame(struct world *w, struct script *s)
{
    static uint8_t frame[FRAME_HEADER_BYTES + FRAME_PAYLOAD_MAX + 8];
    uint8_t type = pick_type(w, take(s));
    uint32_t id = pick_id(w, type, take(s)), len;
    uint8_t flavour = take(s);
    const char *text = flavour & 0x80 ? NULL : fitting_payload(type, flavour);
    size_t piece;

    len = (uint32_t)take(s) << 8;
    len = pick_length(type, flavour, len | take(s));
    piece = 1 + take(s) * 300u;
    memset(frame, 0, sizeof(frame));
    frame[FRAME_HEADER_BYTES + 3] = take(s);     /* credit, or nothing */
    frame[FRAME_HEADER_BYTES + 7] = flavour & 3; /* the serial of a PONG */
    if (type == FRAME_UDP_CLOSE)
        frame[FRAME_HEADER_BYTES] = flavour & 0x40 ? 3 : flavour & 3;
    if (type == FRAME_CLOSE || type == FRAME_CLOSE_BACK)
        frame[FRAME_HEADER_BYTES] = flavour & 0x40 ? 1 : flavour & 3;
    if (text) {
        len = type == FRAME_UDP_OPEN ? 28 : (uint32_t)strlen(text);
        memcpy(frame + FRAME_HEADER_BYTES, text, len);
    }
    for (unsigned i = 0; i < 4; i++) {
        frame[i] = (uint8_t)(id >> (24 - 8 * i));
        frame[5 + i] = (uint8_t)(len >> (24 - 8 * i));
    }
    frame[4] = type;
    feed(w, frame, FRAME_HEADER_BYTES + len, piece);
}

static void step_records(struct world *w, unsigned n)
{
    const uint8_t *record;
    size_t len;

    for (; n > 0 && (len = lane_next_record(&w->lane, w->now_ms, &record)) > 0; n--) {
        must(len <= LANE_RECORD_BYTES);
        check_output(w, record, len);
        lane_record_done(&w->lane);
    }
}

/* What the owner does with one of its streams. */
static void step_owner(struct world *w, struct script *s)
{
    struct stream *x = &w->streams[take(s) % STREAMS];
    uint8_t what = take(s);
    size_t n = (size_t)take(s) * 700;

    own_stream(x, what, n, w->now_ms);
}

/* The same with one of its UDP sessions. */
static void step_udp_owner(struct world *w, struct script *s)
{
    static const uint8_t zeros[UDP_DATAGRAM_MAX + 1];
    struct udp_session *u = &w->sessions[take(s) % STREAMS];
    uint8_t what = take(s);
    size_t n = (size_t)take(s) * 257;

    if (!u->on_closed)
        return;
    if (what % 16 == 0)
        udp_session_close(u, what & 16 ? UDP_END_NOT_ALLOWED : UDP_END_ORDERLY);
    else if (what % 16 == 1)
        udp_session_release(u);
    else
        udp_session_send(u, zeros, MIN(n, sizeof(zeros)), w->now_ms);
}

static void step_lane(struct world *w, struct script *s)
{
    static const struct proxy_header client = {
        .family = PROXY_INET, .transport = PROXY_STREAM, .dst_port = 443};
    struct udp_session *u;
    struct stream *x;

    switch (take(s) % 8) {
    case 3:
    case 4:
        if (w->lane.role == LANE_EDGE && lane_takes_streams(&w->lane) &&
            (u = idle_session(w->sessions, STREAMS)))
            (void)!lane_udp_open(&w->lane, u, &client, w->now_ms);
        break;
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
        if (w->lane.role == LANE_EDGE && lane_takes_streams(&w->lane) && (x = idle_stream(w)))
            (void)!lane_open_stream(&w->lane, x, &client, w->now_ms);
        break;
    }
}

static void step(struct world *w, struct script *s)
{
    uint8_t op = take(s);
    size_t n;

    switch (op % 8) {
    case 0: /* raw bytes */
        n = take(s);
        n = MIN(n, (size_t)(s->end - s->at));
        feed(w, s->at, n, 1 + op / 8);
        s->at += n;
        break;
    case 1:
    case 2:
    case 3:
        step_frame(w, s);
        break;
    case 4:
        w->now_ms += take(s) * 37u;
        if (lane_tick(&w->lane, w->now_ms) != 0)
            must(w->lane.error == -ERR_TIMEOUT);
        break;
    case 5:
        step_records(w, 1 + op / 8);
        break;
    case 6:
        if (op & 8)
            step_udp_owner(w, s);
        else
            step_owner(w, s);
        break;
    default:
        step_lane(w, s);
        break;
    }
    lane_check(&w->lane);
    check_bounds(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script s = {data, data + size};
    uint8_t setup = take(&s);

    world = calloc(1, sizeof(*world));
    must(world != NULL);
    world->now_ms = 1000;
    chunk_pool_init(&world->pool, 8, setup & 2 ? 12 : 0);
    budget_init(&world->budget, setup & 4 ? 1 : BUDGET, setup & 8 ? 4 : 16384, 4u << 20);
    budget_set_udp(&world->budget, setup & 8 ? 3 : 16384, setup & 16 ? UDP_QUEUE_MIN : 200000,
                   setup & 4 ? 3 * CHUNK_BYTES : 1u << 20);
    lane_init(&world->lane, setup & 1 ? LANE_HUB : LANE_EDGE, &ops, &world->budget, &world->pool,
              65536, world->now_ms);
    while (s.at < s.end)
        step(world, &s);
    step_records(world, UINT32_MAX);
    if (!world->lane.has_goodbye && world->lane.error != -ERR_TIMEOUT)
        must(world->header_len == 0 && world->left == 0); /* it ends with a whole frame */
    lane_fini(&world->lane);
    for (unsigned i = 0; i < STREAMS; i++)
        stream_release(&world->streams[i]);
    for (unsigned i = 0; i < STREAMS; i++)
        udp_session_release(&world->sessions[i]);
    must(atomic_load(&world->budget.udp.taken) == 0);
    must(atomic_load(&world->budget.udp.sessions) == 0);
    must(atomic_load(&world->budget.taken) == 0);
    must(atomic_load(&world->budget.streams) == 0);
    chunk_pool_fini(&world->pool);
    free(world);
    return 0;
}
