/* fuzz_tunnel_two_lanes - an edge's lane and a hub's, joined by two byte pipes, while a script
 * opens streams, reads, writes, ends, resets, drains, moves bytes in pieces and lets time go on.
 *
 * Two sides that both keep the rules must never accuse each other: every lane_input() is in order,
 * the bytes that come out of a stream are those that went in, and when the script is over all that
 * is left comes to its end by itself.
 *
 * Input: one byte of setup, then steps: an opcode and its operands (step() below).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "fuzz/script.h"
#include "tunnel/lane.h"

#define PAIRS      12
#define TALKS      6
#define PIPE_BYTES (1u << 20)

enum { EDGE, HUB };

struct end {
    struct stream stream;
    struct end *other;
    bool is_used, has_finished;
    uint64_t written, taken;
};

/* One end of a UDP session: datagrams carry a number that rises. */
struct talk {
    struct udp_session session;
    bool is_used;
    uint32_t sent, newest;
};

struct side {
    struct lane lane;
    struct budget budget;
    struct chunk_pool pool;
    uint8_t *pipe; /* what the other side has not got yet */
    size_t pipe_len;
    struct end ends[PAIRS];
    struct talk talks[TALKS];
    bool is_timed_out;
};

static struct world {
    struct side side[2];
    uint64_t now_ms;
} world;

static void on_change(struct stream *s)
{
    must(container_of(s, struct end, stream)->is_used);
}

/* The content of pair i from one side: any offset has a byte of its own. */
static uint8_t content(const struct end *e, const struct side *from, uint64_t offset)
{
    return (uint8_t)((offset * 31 + (offset >> 8)) ^ (uint64_t)(e - from->ends) * 77 ^
                     (from == &world.side[HUB]));
}

static void end_start(struct end *e, struct end *other)
{
    stream_release(&e->stream);
    *e = (struct end){.is_used = true, .other = other};
    stream_init(&e->stream, on_change);
}

static struct stream *on_open(struct lane *lane, const struct proxy_header *client,
                              enum stream_reset *refuse)
{
    struct end *e = &world.side[HUB].ends[client->src_port];

    must(lane == &world.side[HUB].lane);
    must(client->src_port < PAIRS);
    if (client->dst_port == 9) {
        *refuse = RESET_NOT_ALLOWED;
        return NULL;
    }
    end_start(e, &world.side[EDGE].ends[client->src_port]);
    return &e->stream;
}

/* Whole, in order, each once at most; not all of them. */
static void on_datagram(struct udp_session *u, const uint8_t *bytes, size_t n)
{
    struct talk *t = container_of(u, struct talk, session);
    uint32_t number = 0;

    must(u->state == UDP_OPEN);
    if (n < 4)
        return;
    for (size_t i = 0; i < 4; i++)
        number = number << 8 | bytes[i];
    must(number > t->newest);
    t->newest = number;
    for (size_t i = 4; i < n; i++)
        must(bytes[i] == (uint8_t)(number * 13 + n + i));
}

static void on_closed(struct udp_session *u)
{
    must(u->state != UDP_OPEN);
}

static void talk_start(struct talk *t)
{
    udp_session_release(&t->session);
    *t = (struct talk){.is_used = true};
    udp_session_init(&t->session, on_datagram, on_closed);
}

static struct udp_session *on_udp_open(struct lane *lane, const struct proxy_header *client,
                                       enum udp_end *refuse)
{
    must(lane == &world.side[HUB].lane);
    must(client->src_port < TALKS);
    *refuse = UDP_END_NOT_ALLOWED;
    if (client->dst_port == 9)
        return NULL;
    talk_start(&world.side[HUB].talks[client->src_port]);
    return &world.side[HUB].talks[client->src_port].session;
}

static void talk(struct side *side, unsigned i, size_t n)
{
    static uint8_t bytes[UDP_DATAGRAM_MAX];
    struct talk *t = &side->talks[i];
    uint32_t number = ++t->sent;

    if (!t->is_used)
        return;
    for (size_t k = 0; k < 4; k++)
        bytes[k] = (uint8_t)(number >> (24 - 8 * k));
    for (size_t k = 4; k < n; k++)
        bytes[k] = (uint8_t)(number * 13 + n + k);
    udp_session_send(&t->session, bytes, n, world.now_ms);
}

static void open_talk(unsigned i, bool is_refused)
{
    struct talk *t = &world.side[EDGE].talks[i];
    struct proxy_header client = {.family = PROXY_INET,
                                  .transport = PROXY_DGRAM,
                                  .src_port = (uint16_t)i,
                                  .dst_port = is_refused ? 9 : 53};

    if (t->is_used) /* once a script */
        return;
    talk_start(t);
    if (lane_udp_open(&world.side[EDGE].lane, &t->session, &client, world.now_ms) != 0)
        udp_session_release(&t->session);
}

static int on_control(struct lane *lane, enum frame_type type, const uint8_t *json, size_t n,
                      struct wire_why *why)
{
    (void)why;
    must(type == (lane->role == LANE_HUB ? FRAME_CONFIG_ACK : FRAME_CONFIG));
    for (size_t i = 0; i < n; i++)
        must(json[i] == 'c');
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

/* --- what the sides do -------------------------------------------------------------------------
 */

static void pull(struct side *from)
{
    const uint8_t *record;
    size_t n;

    while (from->pipe_len + LANE_RECORD_BYTES <= PIPE_BYTES &&
           (n = lane_next_record(&from->lane, world.now_ms, &record)) > 0) {
        memcpy(from->pipe + from->pipe_len, record, n);
        from->pipe_len += n;
        lane_record_done(&from->lane);
    }
}

/* Up to n bytes on their way from one side get to the other, in pieces. */
static void move(struct side *from, size_t n, size_t piece)
{
    struct side *to = from == &world.side[EDGE] ? &world.side[HUB] : &world.side[EDGE];
    size_t at = 0;

    n = MIN(n, from->pipe_len);
    while (at < n) {
        size_t part = MIN(piece, n - at);
        int err = lane_input(&to->lane, from->pipe + at, part, world.now_ms);

        must(err == 0 || to->lane.has_goodbye);
        at += part;
    }
    memmove(from->pipe, from->pipe + n, from->pipe_len - n);
    from->pipe_len -= n;
}

static void open_pair(unsigned i, bool is_refused)
{
    struct end *e = &world.side[EDGE].ends[i], *target = &world.side[HUB].ends[i];
    struct proxy_header client = {.family = PROXY_INET,
                                  .transport = PROXY_STREAM,
                                  .src_port = (uint16_t)i,
                                  .dst_port = is_refused ? 9 : 443};

    if (e->is_used) /* once a script: an id in flight says which pair it is */
        return;
    target->other = e;
    end_start(e, target);
    if (lane_open_stream(&world.side[EDGE].lane, &e->stream, &client, world.now_ms) != 0)
        stream_release(&e->stream);
}

static void write_some(struct side *side, struct end *e, size_t n)
{
    struct iovec piece[16];
    size_t count, put = 0;

    if (!e->stream.on_change)
        return;
    count = stream_reserve(&e->stream, piece, ARRAY_LEN(piece));
    for (size_t i = 0; i < count && put < n; i++)
        for (size_t k = 0; k < piece[i].iov_len && put < n; k++, put++)
            ((uint8_t *)piece[i].iov_base)[k] = content(e, side, e->written + put);
    if (count > 0)
        stream_commit(&e->stream, put);
    e->written += put;
}

static void read_some(struct side *side, struct end *e, size_t n)
{
    struct side *from = side == &world.side[EDGE] ? &world.side[HUB] : &world.side[EDGE];
    struct iovec piece[16];
    size_t count, got = 0;

    if (!e->stream.on_change)
        return;
    count = stream_peek(&e->stream, piece, ARRAY_LEN(piece));
    for (size_t i = 0; i < count && got < n; i++)
        for (size_t k = 0; k < piece[i].iov_len && got < n; k++, got++)
            must(((uint8_t *)piece[i].iov_base)[k] ==
                 content(&from->ends[e - side->ends], from, e->taken + got));
    e->taken += got;
    if (got > 0)
        stream_taken(&e->stream, got, world.now_ms);
}

static void finish(struct end *e)
{
    if (!e->stream.on_change || e->has_finished || e->stream.state != STREAM_OPEN)
        return;
    e->has_finished = true;
    stream_finish(&e->stream);
}

static void wait_ms(uint64_t ms)
{
    world.now_ms += ms;
    for (unsigned i = 0; i < 2; i++)
        if (lane_tick(&world.side[i].lane, world.now_ms) != 0)
            world.side[i].is_timed_out = true; /* nobody moved its PING: fair enough */
}

static void check(void)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct side *side = &world.side[i];
        uint64_t charged = 0;

        lane_check(&side->lane);
        must(side->lane.error != -ERR_PROTO);
        for (unsigned k = 0; k < PAIRS; k++) {
            const struct stream *s = &side->ends[k].stream;

            if (!s->on_change)
                continue;
            stream_check(s);
            charged += s->budget ? s->window.charged + s->send_charged : 0;
        }
        for (unsigned k = 0; k < TALKS; k++)
            if (side->talks[k].is_used)
                udp_session_check(&side->talks[k].session);
        must(charged == atomic_load(&side->budget.taken));
        must(charged <= side->budget.limit_bytes);
    }
}

static void step_lane(struct side *side, struct script *s)
{
    static char config[40001];

    switch (take(s) % 8) {
    case 0:
        lane_send_drain(&side->lane, take(s), world.now_ms);
        break;
    case 1:
        if (take(s) == 'G')
            lane_send_goodbye(&side->lane, GOODBYE_REPLACED, "by the script", 0);
        break;
    case 2:
        open_talk(take(s) % TALKS, take(s) == 9);
        break;
    case 3:
    case 4:
        talk(side, take(s) % TALKS, take(s) * 255u);
        break;
    case 5:
        udp_session_close(&side->talks[take(s) % TALKS].session, UDP_END_ORDERLY);
        break;
    default:
        memset(config, 'c', sizeof(config) - 1);
        config[2 + take(s) * 150u] = '\0';
        lane_send_config(&side->lane, config);
        break;
    }
}

static void step(struct script *s)
{
    uint8_t op = take(s);
    struct side *side = &world.side[op >> 3 & 1];
    struct end *e = &side->ends[(op >> 4) % PAIRS];
    size_t n;

    switch (op & 7) {
    case 0:
        open_pair((op >> 4) % PAIRS, take(s) == 9);
        break;
    case 1:
        write_some(side, e, take(s) * 300u);
        break;
    case 2:
        read_some(side, e, take(s) * 300u);
        break;
    case 3:
    case 4:
        pull(side);
        n = take(s) * 400u;
        move(side, n, 1 + take(s) * 40u);
        break;
    case 5:
        n = take(s);
        if (n < 128)
            finish(e);
        else if (n < 150 && e->stream.on_change)
            stream_abort(&e->stream, RESET_BY_PEER);
        else if (n < 160)
            stream_release(&e->stream);
        break;
    case 6:
        wait_ms(take(s) * 9u);
        break;
    default:
        step_lane(side, s);
        break;
    }
    check();
}

/* Everyone ends and reads to the end: so must every stream. */
static void settle(void)
{
    for (unsigned round = 0; round < 400; round++) {
        for (unsigned i = 0; i < 2 * PAIRS; i++) {
            struct side *side = &world.side[i & 1];

            finish(&side->ends[i / 2]);
            read_some(side, &side->ends[i / 2], SIZE_MAX);
        }
        for (unsigned i = 0; i < 2; i++) {
            pull(&world.side[i]);
            move(&world.side[i], PIPE_BYTES, PIPE_BYTES);
        }
        wait_ms(20);
        check();
    }
}

static void check_settled(void)
{
    bool is_whole =
        world.side[EDGE].lane.state == LANE_OPEN && world.side[HUB].lane.state == LANE_OPEN;

    if (!is_whole)
        return;
    for (unsigned i = 0; i < 2 * PAIRS; i++) {
        const struct end *e = &world.side[i & 1].ends[i / 2];

        must(!e->stream.on_change || e->stream.state != STREAM_OPEN);
        if (e->stream.on_change && e->stream.state == STREAM_ENDED)
            must(e->taken == e->other->written);
    }
    must(world.side[EDGE].lane.stream_count == 0);
    must(world.side[HUB].lane.stream_count == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t pipes[2][PIPE_BYTES];
    struct script s = {data, data + size};
    uint8_t setup = take(&s);

    memset(&world, 0, sizeof(world));
    world.now_ms = 1000;
    for (unsigned i = 0; i < 2; i++) {
        struct side *side = &world.side[i];

        side->pipe = pipes[i];
        chunk_pool_init(&side->pool, 8, 0);
        budget_init(&side->budget, setup & 1 ? 50000 : 200u << 20, setup & 2 ? 3 : 100,
                    setup & 4 ? 65536 : 4u << 20);
        lane_init(&side->lane, i == EDGE ? LANE_EDGE : LANE_HUB, &ops, &side->budget, &side->pool,
                  setup & 8 ? 4096 : 65536, world.now_ms);
    }
    while (s.at < s.end)
        step(&s);
    settle();
    check_settled();
    for (unsigned i = 0; i < 2; i++) {
        struct side *side = &world.side[i];

        for (unsigned k = 0; k < PAIRS; k++)
            stream_release(&side->ends[k].stream);
        for (unsigned k = 0; k < TALKS; k++)
            udp_session_release(&side->talks[k].session);
        must(atomic_load(&side->budget.udp.taken) == 0);
        must(atomic_load(&side->budget.udp.sessions) == 0);
        lane_fini(&side->lane);
        must(atomic_load(&side->budget.taken) == 0);
        must(atomic_load(&side->budget.streams) == 0);
        chunk_pool_fini(&side->pool);
    }
    return 0;
}
