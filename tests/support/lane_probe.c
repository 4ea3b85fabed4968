/* lane_probe - see lane_probe.h. */
#include "support/lane_probe.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tunnel/lane_quic.h"

static struct lane_probe *of(struct lane *lane)
{
    return container_of(lane, struct lane_probe, lane);
}

static void on_change(struct stream *s)
{
    container_of(s, struct probe_stream, stream)->changes++;
}

static struct stream *next_stream(struct lane_probe *p)
{
    ck_assert_uint_lt(p->stream_count, PROBE_STREAMS);
    stream_init(&p->streams[p->stream_count].stream, on_change);
    return &p->streams[p->stream_count++].stream;
}

static struct stream *on_open(struct lane *lane, const struct proxy_header *client,
                              enum stream_reset *refuse)
{
    struct lane_probe *p = of(lane);

    p->client = *client;
    if (client->dst_port == PROBE_REFUSED_PORT || client->dst_port == PROBE_BUSY_PORT) {
        *refuse = client->dst_port == PROBE_BUSY_PORT ? RESET_BY_PEER : RESET_NOT_ALLOWED;
        return NULL;
    }
    return next_stream(p);
}

static void on_datagram(struct udp_session *u, const uint8_t *bytes, size_t n)
{
    struct probe_udp *x = container_of(u, struct probe_udp, session);

    x->datagrams++;
    x->bytes += n;
    free(x->newest);
    x->newest = malloc(n ? n : 1);
    ck_assert_ptr_nonnull(x->newest);
    if (n > 0)
        memcpy(x->newest, bytes, n);
    x->newest_len = n;
}

static void on_closed(struct udp_session *u)
{
    container_of(u, struct probe_udp, session)->closes++;
}

static struct udp_session *next_udp(struct lane_probe *p)
{
    ck_assert_uint_lt(p->udp_count, PROBE_STREAMS);
    udp_session_init(&p->udp[p->udp_count].session, on_datagram, on_closed);
    return &p->udp[p->udp_count++].session;
}

static struct udp_session *on_udp_open(struct lane *lane, const struct proxy_header *client,
                                       enum udp_end *refuse)
{
    struct lane_probe *p = of(lane);

    p->client = *client;
    if (client->dst_port == PROBE_REFUSED_PORT || client->dst_port == PROBE_BUSY_PORT) {
        *refuse = client->dst_port == PROBE_BUSY_PORT ? UDP_END_LIMIT : UDP_END_NOT_ALLOWED;
        return NULL;
    }
    return next_udp(p);
}

static int on_control(struct lane *lane, enum frame_type type, const uint8_t *json, size_t n,
                      struct wire_why *why)
{
    struct lane_probe *p = of(lane);

    (void)type;
    if (p->refuse_control) {
        snprintf(why->text, sizeof(why->text), "not to my taste");
        return -ERR_PROTO;
    }
    free(p->control);
    p->control = strndup((const char *)json, n);
    p->controls++;
    return 0;
}

static void on_drain(struct lane *lane)
{
    of(lane)->drains++;
}

static void on_wake(struct lane *lane)
{
    of(lane)->wakes++;
}

static const struct lane_ops ops = {
    .on_open = on_open,
    .on_udp_open = on_udp_open,
    .on_control = on_control,
    .on_drain = on_drain,
    .on_wake = on_wake,
};

static void init_around(struct lane_probe *p)
{
    memset(p, 0, sizeof(*p));
    p->now_ms = 5000;
    chunk_pool_init(&p->pool, 16, 0);
    budget_init(&p->budget, 200u << 20, 16384, 4u << 20);
}

void lane_probe_init(struct lane_probe *p, enum lane_role role)
{
    init_around(p);
    lane_init(&p->lane, role, &ops, &p->budget, &p->pool, 65536, p->now_ms);
}

void lane_probe_init_quic(struct lane_probe *p, enum lane_role role)
{
    init_around(p);
    lane_quic_init(&p->lane, role, &ops, &p->budget, &p->pool, 65536, 65536, p->now_ms);
}

void lane_probe_fini(struct lane_probe *p)
{
    for (unsigned i = 0; i < p->stream_count; i++)
        stream_release(&p->streams[i].stream);
    for (unsigned i = 0; i < p->udp_count; i++) {
        udp_session_release(&p->udp[i].session);
        free(p->udp[i].newest);
    }
    lane_fini(&p->lane);
    lane_fini(&p->lane); /* fine twice */
    free(p->control);
    free(p->out);
    ck_assert_uint_eq(atomic_load(&p->budget.taken), 0);
    ck_assert_uint_eq(atomic_load(&p->budget.streams), 0);
    ck_assert_uint_eq(atomic_load(&p->budget.udp.taken), 0);
    ck_assert_uint_eq(atomic_load(&p->budget.udp.sessions), 0);
    chunk_pool_fini(&p->pool);
}

static void put_u32(uint8_t *to, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        to[i] = (uint8_t)(v >> (24 - 8 * i));
}

int probe_send(struct lane_probe *p, uint32_t stream, unsigned type, const void *payload, size_t n)
{
    uint8_t *frame = malloc(FRAME_HEADER_BYTES + n);
    int err;

    ck_assert_ptr_nonnull(frame);
    put_u32(frame, stream);
    frame[4] = (uint8_t)type;
    put_u32(frame + 5, (uint32_t)n);
    if (n > 0)
        memcpy(frame + FRAME_HEADER_BYTES, payload, n);
    err = lane_input(&p->lane, frame, FRAME_HEADER_BYTES + n, p->now_ms);
    free(frame);
    lane_check(&p->lane);
    return err;
}

int probe_send_text(struct lane_probe *p, unsigned type, const char *json)
{
    return probe_send(p, 0, type, json, strlen(json));
}

int probe_open(struct lane_probe *p, uint32_t stream, uint16_t port)
{
    struct proxy_header client = {.family = PROXY_INET,
                                  .transport = PROXY_STREAM,
                                  .src = {192, 0, 2, 1},
                                  .dst = {192, 0, 2, 9},
                                  .src_port = 40000,
                                  .dst_port = port};
    char line[PROXY_V1_MAX];

    return probe_send(p, stream, FRAME_OPEN, line, proxy_emit_v1(line, &client));
}

int probe_udp_open(struct lane_probe *p, uint32_t id, uint16_t port)
{
    struct proxy_header client = {.family = PROXY_INET,
                                  .transport = PROXY_DGRAM,
                                  .src = {192, 0, 2, 1},
                                  .dst = {192, 0, 2, 9},
                                  .src_port = 40000,
                                  .dst_port = port};
    uint8_t header[PROXY_V2_EMIT_MAX];

    return probe_send(p, id, FRAME_UDP_OPEN, header, proxy_emit_v2(header, &client));
}

int probe_udp_data(struct lane_probe *p, uint32_t id, size_t n)
{
    char *bytes = malloc(n ? n : 1);
    int err;

    ck_assert_ptr_nonnull(bytes);
    memset(bytes, 'u', n);
    err = probe_send(p, id, p->lane.role == LANE_HUB ? FRAME_UDP_DATA : FRAME_UDP_DATA_BACK, bytes,
                     n);
    free(bytes);
    return err;
}

int probe_data(struct lane_probe *p, uint32_t stream, size_t n)
{
    char *bytes = malloc(n ? n : 1);
    int err;

    ck_assert_ptr_nonnull(bytes);
    memset(bytes, 'x', n);
    err = probe_send(p, stream, p->lane.role == LANE_HUB ? FRAME_DATA : FRAME_DATA_BACK, bytes, n);
    free(bytes);
    return err;
}

int probe_credit(struct lane_probe *p, uint32_t stream, uint32_t n)
{
    uint8_t body[4];

    put_u32(body, n);
    return probe_send(p, stream,
                      p->lane.role == LANE_HUB ? FRAME_WINDOW_UPDATE : FRAME_WINDOW_UPDATE_BACK,
                      body, sizeof(body));
}

int probe_close(struct lane_probe *p, uint32_t stream, unsigned code)
{
    uint8_t byte = (uint8_t)code;

    return probe_send(p, stream, p->lane.role == LANE_HUB ? FRAME_CLOSE : FRAME_CLOSE_BACK, &byte,
                      code != 0);
}

static bool pull(struct lane_probe *p)
{
    const uint8_t *record;
    size_t n = lane_next_record(&p->lane, p->now_ms, &record);

    if (n == 0) {
        ck_assert(!lane_has_output(&p->lane));
        return false;
    }
    ck_assert_uint_le(n, LANE_RECORD_BYTES);
    p->record_max = MAX(p->record_max, n);
    if (p->out)
        memmove(p->out, p->out + p->out_at, p->out_len - p->out_at);
    p->out_len -= p->out_at;
    p->out_at = 0;
    p->out = realloc(p->out, p->out_len + n);
    ck_assert_ptr_nonnull(p->out);
    memcpy(p->out + p->out_len, record, n);
    p->out_len += n;
    lane_record_done(&p->lane);
    lane_check(&p->lane);
    return true;
}

bool probe_next(struct lane_probe *p, struct probe_frame *f)
{
    struct frame head;

    while (p->out_len - p->out_at < FRAME_HEADER_BYTES)
        if (!pull(p)) {
            ck_assert_uint_eq(p->out_len, p->out_at); /* no half frame is left */
            return false;
        }
    ck_assert_int_eq(frame_parse(&head, p->out + p->out_at, FRAME_HEADER_BYTES),
                     FRAME_HEADER_BYTES);
    while (p->out_len - p->out_at < FRAME_HEADER_BYTES + head.len)
        ck_assert(pull(p));
    *f = (struct probe_frame){.stream = head.stream,
                              .type = head.type,
                              .len = head.len,
                              .payload = p->out + p->out_at + FRAME_HEADER_BYTES};
    p->out_at += FRAME_HEADER_BYTES + head.len;
    return true;
}

void probe_expect(struct lane_probe *p, uint32_t stream, unsigned type, uint32_t len)
{
    struct probe_frame f;

    ck_assert_msg(probe_next(p, &f), "nothing came, %s was expected", frame_name((uint8_t)type));
    ck_assert_msg(f.type == type && f.stream == stream && f.len == len,
                  "%s of %u with %u bytes, not %s of %u with %u bytes", frame_name(f.type),
                  f.stream, f.len, frame_name((uint8_t)type), stream, len);
}

void probe_expect_silence(struct lane_probe *p)
{
    struct probe_frame f;

    if (probe_next(p, &f))
        ck_abort_msg("%s of %u came, nothing was expected", frame_name(f.type), f.stream);
}

void probe_expect_goodbye(struct lane_probe *p, const char *code)
{
    struct wire_why why;
    struct goodbye bye;
    struct probe_frame f;

    ck_assert_msg(probe_next(p, &f), "no GOODBYE came");
    ck_assert_msg(f.type == FRAME_GOODBYE, "%s came, not GOODBYE", frame_name(f.type));
    ck_assert_int_eq(goodbye_parse(&bye, f.payload, f.len, &why), 0);
    ck_assert_str_eq(goodbye_name(bye.code), code);
    ck_assert_int_eq(p->lane.state, LANE_ENDED);
    probe_expect_silence(p);
    ck_assert(!lane_has_output(&p->lane));
    ck_assert_uint_eq(lane_deadline(&p->lane), UINT64_MAX);
    ck_assert_int_eq(probe_send(p, 0, 0x55, "", 0), 0); /* what follows is dropped */
    ck_assert_int_eq(probe_wait(p, 60000), 0);
    lane_send_config(&p->lane, "{}");
    lane_send_drain(&p->lane, 1, p->now_ms);
    lane_send_goodbye(&p->lane, GOODBYE_KICKED, "again", 0);
    probe_expect_silence(p);
}

static const struct proxy_header dialler = {.family = PROXY_INET,
                                            .transport = PROXY_STREAM,
                                            .src = {192, 0, 2, 1},
                                            .dst = {192, 0, 2, 9},
                                            .src_port = 40000,
                                            .dst_port = 443};

unsigned probe_ask(struct lane_probe *p)
{
    struct stream *s = next_stream(p);

    ck_assert_int_eq(lane_open_stream(&p->lane, s, &dialler, p->now_ms), 0);
    lane_check(&p->lane);
    return p->stream_count - 1;
}

unsigned probe_dial(struct lane_probe *p)
{
    unsigned i = probe_ask(p);
    char line[PROXY_V1_MAX];

    probe_expect(p, p->streams[i].stream.id, FRAME_OPEN, (uint32_t)proxy_emit_v1(line, &dialler));
    return i;
}

unsigned probe_udp_ask(struct lane_probe *p)
{
    struct udp_session *u = next_udp(p);

    ck_assert_int_eq(lane_udp_open(&p->lane, u, &dialler, p->now_ms), 0);
    lane_check(&p->lane);
    return p->udp_count - 1;
}

unsigned probe_udp_dial(struct lane_probe *p)
{
    unsigned i = probe_udp_ask(p);

    probe_expect(p, p->udp[i].session.id, FRAME_UDP_OPEN, 28);
    return i;
}

void probe_write(struct lane_probe *p, unsigned i, size_t n)
{
    struct stream *s = &p->streams[i].stream;

    while (n > 0) {
        struct iovec piece[16];
        size_t count = stream_reserve(s, piece, ARRAY_LEN(piece)), put = 0;

        ck_assert_msg(count > 0, "no room for %zu bytes", n);
        for (size_t k = 0; k < count && put < n; k++) {
            size_t part = MIN(piece[k].iov_len, n - put);

            memset(piece[k].iov_base, 'y', part);
            put += part;
        }
        stream_commit(s, put);
        n -= put;
    }
    lane_check(&p->lane);
}

void probe_read(struct lane_probe *p, unsigned i, size_t n)
{
    struct stream *s = &p->streams[i].stream;

    ck_assert_uint_ge(s->recvq.len, n);
    stream_taken(s, n, p->now_ms);
    stream_check(s);
}

int probe_wait(struct lane_probe *p, uint64_t ms)
{
    int err;

    p->now_ms += ms;
    err = lane_tick(&p->lane, p->now_ms);
    lane_check(&p->lane);
    return err;
}
