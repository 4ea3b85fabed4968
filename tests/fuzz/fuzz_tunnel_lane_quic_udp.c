/* fuzz_tunnel_lane_quic_udp - UDP sessions of a lane on QUIC against a hostile peer: DATAGRAM
 * frames in any order with UDP_OPEN and UDP_CLOSE, side streams cut anywhere, while sessions send
 * datagrams of every size, side streams are opened, refused, blocked and acknowledged, memory is
 * short, and time goes on.
 *
 * What QUIC itself refuses is not tried: an acknowledgement of what was not sent, data behind a
 * stream's end.  After every step the lane and its sessions check themselves.
 *
 * Input: one byte of setup, then steps: an opcode and its operands (step() below).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "fuzz/script.h"
#include "fuzz/udp_owner.h"
#include "tunnel/lane_quic.h"
#include "wire/channel.h"

#define SESSIONS 12u
#define SIDES    8u /* each way */
#define PIECES   4u
#define MEMORY   (160u * 1024)

/* What QUIC knows of a side stream that goes out. */
struct side_out {
    int64_t stream; /* 0: none */
    uint64_t sent, acked;
};

struct world {
    struct lane lane;
    struct budget budget;
    struct chunk_pool pool;
    uint64_t now_ms;
    struct udp_session sessions[SESSIONS];
    struct udp_side_in *in[SIDES]; /* the lane's word for it */
    struct side_out out[SIDES];
    int64_t next_stream;
};

static struct world *world; /* for on_udp_open() */
static struct udp_session *on_udp_open(struct lane *lane, const struct proxy_header *client,
                                       enum udp_end *refuse)
{
    must(lane->role == LANE_HUB);
    return answer_udp_open(world->sessions, SESSIONS, client->dst_port, refuse);
}

static const struct lane_ops ops = {.on_udp_open = on_udp_open};

static void check(const struct world *w)
{
    unsigned open = 0;

    lane_check(&w->lane);
    for (unsigned i = 0; i < SESSIONS; i++) {
        if (!w->sessions[i].on_closed)
            continue;
        udp_session_check(&w->sessions[i]);
        open += w->sessions[i].state == UDP_OPEN;
    }
    must(open == atomic_load(&w->budget.udp.sessions));
    must(atomic_load(&w->budget.udp.taken) <= w->budget.udp.limit_bytes);
    /* all that is kept is charged: chunks, and early datagrams which are none */
    must(w->pool.out_count * CHUNK_BYTES <= atomic_load(&w->budget.udp.taken));
}

/* --- the peer --------------------------------------------------------------------------------- */

/* UDP_OPEN of the next session (kind 0, 1: the last one again, or refused), or UDP_CLOSE. */
static void step_control(struct world *w, struct script *s)
{
    static const uint8_t header[28] = {13, 10, 13, 10, 0,  13,   10, 81,
                                       85, 73, 84, 10, 33, 0x12, 0,  12};
    uint8_t bytes[CHANNEL_HEADER_MAX + sizeof(header)], kind = take(s);
    uint32_t id = w->lane.highest_udp;
    size_t n;

    if (w->lane.state != LANE_OPEN)
        return;
    if (w->lane.role == LANE_HUB && kind % 3 > 0) {
        id += id == 0 || kind < 250;
        n = channel_emit(bytes, id, FRAME_UDP_OPEN, sizeof(header));
        memcpy(bytes + n, header, sizeof(header));
        put_u16(bytes + n + 26, kind & 0x40 ? 9 : 53);
        n += sizeof(header);
    } else {
        id -= MIN(id, kind / 3 % 4u);
        n = channel_emit(bytes, MAX(id, 1u), FRAME_UDP_CLOSE, 1);
        bytes[n++] = w->lane.role == LANE_HUB ? 0 : kind & 0x40 ? 3 : 0;
    }
    if (lane_input(&w->lane, bytes, n, w->now_ms) != 0)
        must(w->lane.state == LANE_ENDED);
}

/* A DATAGRAM frame: id (near the newest), length. */
static void step_datagram(struct world *w, struct script *s)
{
    uint32_t id = w->lane.highest_udp + 3 - take(s) % 8u;
    size_t n = (size_t)take(s) * 5;
    uint8_t *bytes = malloc(4 + n);

    must(bytes != NULL);
    put_u32(bytes, id);
    memset(bytes + 4, 'd', n);
    lane_quic_datagram(&w->lane, bytes, n == 1275 ? 2 : 4 + n, w->now_ms);
    free(bytes);
}

/* Bytes of a side stream: which, how many; as they stand in the script, or zeros. */
static void step_side_in(struct world *w, struct script *s)
{
    uint8_t which = take(s);
    size_t n = (size_t)take(s) * (which & 0x80 ? 300 : 1);
    uint8_t *bytes;

    if (w->lane.state != LANE_OPEN)
        return;
    if (which & 0x40) {
        lane_quic_side_closed(&w->lane, w->in[which % SIDES]);
        w->in[which % SIDES] = NULL;
        return;
    }
    if (n == 0)
        return; /* QUIC does not tell of nothing */
    bytes = calloc(1, n);
    must(bytes != NULL);
    for (size_t i = 0; i < n && i < 12; i++)
        bytes[i] = take(s);
    if (lane_quic_side_data(&w->lane, &w->in[which % SIDES], bytes, n, w->now_ms) != 0)
        must(w->lane.state == LANE_ENDED);
    free(bytes);
}

/* --- link_quic.c ------------------------------------------------------------------------------ */

static struct side_out *side_out_of(struct world *w, int64_t stream)
{
    for (unsigned i = 0; i < SIDES; i++)
        if (w->out[i].stream == stream)
            return &w->out[i];
    return NULL;
}

static void open_sides(struct world *w, bool refuses)
{
    struct udp_side *side;

    while ((side = lane_quic_next_side_to_open(&w->lane))) {
        struct side_out *out = refuses ? NULL : side_out_of(w, 0);

        if (!out) {
            lane_quic_side_refused(&w->lane, side);
            continue;
        }
        *out = (struct side_out){.stream = w->next_stream};
        lane_quic_side_opened(side, w->next_stream);
        w->next_stream += 4;
    }
}

static void step_send(struct world *w, struct script *s)
{
    uint8_t how = take(s);
    struct lane_quic_datagram d;
    struct iovec pieces[PIECES];
    struct udp_side *side;
    const uint8_t *record;
    size_t count, total, n;
    int64_t stream;

    while (lane_next_record(&w->lane, w->now_ms, &record) > 0)
        lane_record_done(&w->lane);
    for (unsigned i = 0; i <= how % 8u; i++) {
        enum lane_quic_fate fate = (enum lane_quic_fate)(take(s) % 8u);

        if (!lane_quic_pick_datagram(&w->lane, w->now_ms, 64 + take(s) * 5u, how & 0x20, &d))
            break;
        lane_quic_datagram_done(&w->lane, &d, fate > DATAGRAM_TOO_BIG ? DATAGRAM_SENT : fate,
                                w->now_ms);
    }
    open_sides(w, how & 0x40);
    while (lane_quic_next_side_to_end(&w->lane, &stream)) {
        must(side_out_of(w, stream) != NULL);
        side_out_of(w, stream)->stream = 0;
    }
    while ((side = lane_quic_pick_side(&w->lane, &stream, pieces, PIECES, &count))) {
        must(side_out_of(w, stream) != NULL);
        if (how & 0x80) {
            lane_quic_side_blocked(&w->lane, side);
            continue;
        }
        total = 0;
        for (size_t i = 0; i < count; i++)
            total += pieces[i].iov_len;
        n = 1 + (size_t)take(s) * 100;
        n = MIN(n, total);
        side_out_of(w, stream)->sent += n;
        lane_quic_side_written(&w->lane, side, n);
    }
}

/* An acknowledgement, or credit: which side stream, how much. */
static void step_sign(struct world *w, struct script *s)
{
    uint8_t which = take(s);
    struct side_out *out = &w->out[which % SIDES];
    uint64_t n = take(s) * 200u;

    n = MIN(n, out->sent - out->acked);
    if (out->stream == 0 || w->lane.state != LANE_OPEN)
        return;
    if (which & 0x80) {
        lane_quic_side_credit(&w->lane, out->stream);
        return;
    }
    out->acked += n;
    lane_quic_side_acked(&w->lane, out->stream, n);
}

/* --- the owner -------------------------------------------------------------------------------- */

static void step_owner(struct world *w, struct script *s)
{
    static const struct proxy_header client = {
        .family = PROXY_INET, .transport = PROXY_DGRAM, .dst_port = 53};
    static const uint8_t bytes[UDP_DATAGRAM_MAX];
    uint8_t which = take(s), what = take(s);
    struct udp_session *u = &w->sessions[which % SESSIONS];

    if (what == 255) {
        udp_session_release(u);
    } else if (what == 254) {
        udp_session_close(u, UDP_END_ORDERLY);
    } else if (u->state == UDP_OPEN) {
        udp_session_send(u, bytes, (size_t)what * (which & 0x80 ? 257 : 6), w->now_ms);
    } else if (w->lane.role == LANE_EDGE && lane_takes_streams(&w->lane)) {
        u = idle_session(w->sessions, SESSIONS);
        if (u && lane_udp_open(&w->lane, u, &client, w->now_ms) != 0)
            must(u->state != UDP_OPEN);
    }
}

static void step(struct world *w, struct script *s)
{
    switch (take(s) % 7) {
    case 0:
        step_control(w, s);
        break;
    case 1:
        step_datagram(w, s);
        break;
    case 2:
        step_side_in(w, s);
        break;
    case 3:
        step_send(w, s);
        break;
    case 4:
        step_sign(w, s);
        break;
    case 5:
        w->now_ms += take(s) * 5u;
        if (lane_tick(&w->lane, w->now_ms) != 0)
            must(w->lane.error == -ERR_TIMEOUT);
        break;
    default:
        step_owner(w, s);
        break;
    }
    check(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script s = {data, data + size};
    uint8_t setup = take(&s);

    world = calloc(1, sizeof(*world));
    must(world != NULL);
    world->now_ms = 1000;
    world->next_stream = 2;
    chunk_pool_init(&world->pool, 0, setup & 2 ? 6 : 0);
    budget_init(&world->budget, 1u << 20, 64, 1u << 20);
    budget_set_udp(&world->budget, setup & 8 ? 4 : 64, 131072,
                   setup & 4 ? 2 * CHUNK_BYTES : MEMORY);
    lane_quic_init(&world->lane, setup & 1 ? LANE_HUB : LANE_EDGE, &ops, &world->budget,
                   &world->pool, 65536, 65536, world->now_ms);
    while (s.at < s.end)
        step(world, &s);
    lane_fini(&world->lane);
    for (unsigned i = 0; i < SESSIONS; i++)
        udp_session_release(&world->sessions[i]);
    must(atomic_load(&world->budget.udp.taken) == 0);
    must(atomic_load(&world->budget.udp.sessions) == 0);
    must(world->pool.out_count == 0);
    chunk_pool_fini(&world->pool);
    free(world);
    return 0;
}
