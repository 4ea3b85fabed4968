/* quic_pair - see quic_pair.h. */
#include "support/quic_pair.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/pieces.h"
#include "support/seeded.h"
#include "support/tls_pair.h"

#define PATIENCE_MS 25000u /* a pair that is held up for less does not part */
#define GIVE_UP_MS  40000u

const uint8_t *quic_pair_content(void)
{
    static uint8_t *content;

    if (!content) {
        content = malloc(QUIC_PAIR_CONTENT);
        ck_assert_ptr_nonnull(content);
        for (size_t i = 0; i < QUIC_PAIR_CONTENT; i += 8) {
            uint64_t word = seeded_mix(i + 7);

            memcpy(content + i, &word, 8);
        }
    }
    return content;
}

struct quic_pair_stream *quic_pair_stream(struct quic_pair_end *end, int64_t id)
{
    for (unsigned i = 0; i < QUIC_PAIR_STREAMS; i++)
        if (end->streams[i].is_used && end->streams[i].id == id)
            return &end->streams[i];
    for (unsigned i = 0; i < QUIC_PAIR_STREAMS; i++)
        if (!end->streams[i].is_used) {
            end->streams[i] = (struct quic_pair_stream){.id = id, .is_used = true};
            return &end->streams[i];
        }
    ck_abort_msg("too many streams");
    return NULL;
}

/* --- the owner --------------------------------------------------------------------------- */

void quic_pair_wake(struct quic_pair_end *end)
{
    loop_again(end->pair->loop, &end->run);
}

static void on_wake(struct quic *q)
{
    struct quic_pair_end *end = quic_owner(q);

    end->wakes++;
    quic_pair_wake(end);
}

static struct quic_pair_stream *stream_of(struct quic *q, int64_t id, void *user)
{
    struct quic_pair_end *end = quic_owner(q);
    struct quic_pair_stream *s = quic_pair_stream(end, id);

    if (user)
        ck_assert_ptr_eq(user, s);
    else
        quic_set_user(q, id, s);
    s->is_there = true;
    return s;
}

static void on_open(struct quic *q, int64_t id)
{
    struct quic_pair_end *end = quic_owner(q);

    (void)id;
    end->opened++;
}

static int on_data(struct quic *q, int64_t id, void *user, const uint8_t *bytes, size_t n,
                   bool is_fin)
{
    struct quic_pair_end *end = quic_owner(q);
    struct quic_pair_stream *s = stream_of(q, id, user);

    if (end->is_picky)
        return -ERR_PROTO;
    ck_assert(!s->is_fin && !s->is_reset && !s->is_closed);
    ck_assert_uint_le(s->got + n, QUIC_PAIR_CONTENT);
    if (n > 0 && memcmp(quic_pair_content() + s->got, bytes, n) != 0)
        s->bad += n;
    s->got += n;
    s->is_fin = is_fin;
    if (!end->is_withholding)
        quic_credit(q, id, n);
    return 0;
}

static void on_acked(struct quic *q, int64_t id, void *user, uint64_t n)
{
    struct quic_pair_stream *s = stream_of(q, id, user);

    s->acked += n;
    ck_assert_uint_le(s->acked, s->sent);
}

static void on_reset(struct quic *q, int64_t id, void *user, uint64_t code)
{
    struct quic_pair_stream *s = stream_of(q, id, user);

    s->is_reset = true;
    s->reset_code = code;
}

static void on_stop(struct quic *q, int64_t id, void *user, uint64_t code)
{
    struct quic_pair_stream *s = stream_of(q, id, user);

    s->is_stopped = true;
    s->stop_code = code;
}

static void on_closed(struct quic *q, int64_t id, void *user)
{
    stream_of(q, id, user)->is_closed = true;
}

static void on_credit(struct quic *q, int64_t id, void *user, uint64_t upto)
{
    struct quic_pair_stream *s = stream_of(q, id, user);

    ck_assert_uint_ge(upto, s->credit_upto);
    s->credit_upto = upto;
    s->is_blocked = false;
}

static void on_datagram(struct quic *q, const uint8_t *bytes, size_t n)
{
    struct quic_pair_end *end = quic_owner(q);

    end->datagrams_got++;
    if (memcmp(bytes, quic_pair_content(), n) != 0)
        end->datagrams_bad++;
}

static bool next_of_stream(const struct quic_pair_stream *s, struct quic_piece *piece)
{
    uint64_t left = s->want - s->sent;

    if (!s->is_used || !s->is_there || s->is_blocked || s->is_gone || s->is_fin_sent ||
        s->is_closed)
        return false;
    if (left == 0 && !s->has_fin)
        return false;
    piece->stream = s->id;
    piece->count = left > 0 ? 1 : 0;
    piece->iov[0] = (struct iovec){.iov_base = (void *)(uintptr_t)(quic_pair_content() + s->sent),
                                   .iov_len = left};
    if (left > 100000) { /* several pieces */
        piece->iov[0].iov_len = 1000;
        piece->iov[1] =
            (struct iovec){.iov_base = (uint8_t *)piece->iov[0].iov_base + 1000, .iov_len = 90000};
        piece->count = 2;
        left = 91000;
    }
    piece->is_fin = s->has_fin && s->sent + left == s->want;
    piece->user = (void *)(uintptr_t)s;
    return true;
}

static bool next(struct quic *q, struct quic_piece *piece)
{
    struct quic_pair_end *end = quic_owner(q);

    if (end->datagrams_sent + end->datagrams_too_big < end->datagrams_to_send) {
        *piece = (struct quic_piece){.stream = QUIC_DATAGRAM, .count = 1};
        piece->iov[0] = (struct iovec){.iov_base = (void *)(uintptr_t)quic_pair_content(),
                                       .iov_len = end->datagram_len};
        return true;
    }
    for (unsigned i = 0; i < QUIC_PAIR_STREAMS; i++)
        if (next_of_stream(&end->streams[i], piece))
            return true;
    return false;
}

static void on_written(struct quic *q, const struct quic_piece *piece, size_t n)
{
    struct quic_pair_end *end = quic_owner(q);
    struct quic_pair_stream *s = piece->user;

    if (piece->stream == QUIC_DATAGRAM) {
        ck_assert_uint_eq(n, end->datagram_len);
        end->datagrams_sent++;
        return;
    }
    s->sent += n;
    if (piece->is_fin && n == pieces_bytes(piece->iov, piece->count))
        s->is_fin_sent = true;
}

static void on_refused(struct quic *q, const struct quic_piece *piece, enum quic_refusal why)
{
    struct quic_pair_end *end = quic_owner(q);
    struct quic_pair_stream *s = piece->user;

    if (piece->stream == QUIC_DATAGRAM) {
        ck_assert_int_eq(why, QUIC_TOO_BIG);
        end->datagrams_too_big++;
    } else if (why == QUIC_BLOCKED) {
        s->is_blocked = true;
    } else {
        ck_assert_int_eq(why, QUIC_GONE);
        s->is_gone = true;
    }
}

const struct quic_ops quic_pair_ops = {
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

static void run_end(struct ready *r)
{
    struct quic_pair_end *end = container_of(r, struct quic_pair_end, run);

    if (end->q)
        end->last = quic_flush(end->q);
    loop_again(end->pair->loop, &end->pair->check);
}

static void init_end(struct quic_pair_end *end, struct quic_pair *p)
{
    *end = (struct quic_pair_end){.pair = p, .datagram_len = 1000};
    ready_init(&end->run, run_end);
}

/* --- the ports --------------------------------------------------------------------------- */

static enum quic_verdict on_initial(void *arg, const union addr *peer, bool is_validated)
{
    struct quic_pair *p = arg;

    ck_assert(addr_len(peer) > 0);
    p->initials++;
    p->validated += is_validated;
    return is_validated ? p->validated_verdict : p->verdict;
}

static bool on_accept(void *arg, struct quic *q)
{
    struct quic_pair *p = arg;
    struct quic_pair_end *end = &p->server;

    if (end->q) {
        ck_assert_uint_le(p->accepted, QUIC_PAIR_ENDS);
        end = &p->more[p->accepted - 1];
        init_end(end, p);
    }
    p->accepted++;
    end->q = q;
    quic_own(q, &quic_pair_ops, end);
    return true;
}

static const struct quic_port_ops port_ops = {on_initial, on_accept};

static const union addr *loopback(void)
{
    static union addr at;

    at.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return &at;
}

struct quic_port *quic_pair_new_client_port(struct quic_pair *p)
{
    struct quic_port_options options = {
        .loop = p->loop, .fd_count = 1, .count = 1, .params = p->params};
    struct quic_port *port;
    int fd;

    ck_assert_int_eq(quic_bind(loopback(), 1, &fd, NULL), 0);
    options.fds = &fd;
    ck_assert_int_eq(quic_port_new(&port, &options), 0);
    return port;
}

struct quic_port *quic_pair_new_server_port(struct quic_pair *p, const union addr *at)
{
    struct quic_port_options options = {.loop = p->loop,
                                        .fd_count = 1,
                                        .tls = p->server_tls,
                                        .count = 1,
                                        .params = p->params,
                                        .ops = &port_ops,
                                        .arg = p};
    struct quic_port *port;
    int fd;

    memset(options.reset_key, 7, sizeof(options.reset_key));
    memset(options.retry_key, 9, sizeof(options.retry_key));
    ck_assert_int_eq(quic_bind(at, 1, &fd, &p->server_at), 0);
    options.fds = &fd;
    ck_assert_int_eq(quic_port_new(&port, &options), 0);
    return port;
}

/* --- life -------------------------------------------------------------------------------- */

static void on_give_up(struct deadline *d)
{
    struct quic_pair *p = container_of(d, struct quic_pair, give_up);

    ck_abort_msg("client: %s; server: %s", p->client.q ? quic_error_text(p->client.q) : "-",
                 p->server.q ? quic_error_text(p->server.q) : "-");
}

static void run_check(struct ready *r)
{
    struct quic_pair *p = container_of(r, struct quic_pair, check);

    if (p->until && p->until(p))
        loop_stop(p->loop);
    else if (p->is_polling)
        loop_again(p->loop, &p->check);
}

void quic_pair_begin(struct quic_pair *p)
{
    static const char *const alpn[] = {QUIC_PAIR_ALPN, NULL};

    memset(p, 0, sizeof(*p));
    p->loop = loop_new("quic", 4, 0);
    p->raw = -1;
    p->server_tls = tls_pair_server_ctx(TLS_ONLY_13, alpn, "hub.test");
    p->client_tls = tls_pair_client_ctx(TLS_ONLY_13, alpn);
    p->verdict = p->validated_verdict = QUIC_ACCEPT;
    p->params = (struct quic_params){.congestion = QUIC_CUBIC,
                                     .stream_window = 256u << 10,
                                     .streams_bidi = 100,
                                     .streams_uni = 100,
                                     .idle_ms = PATIENCE_MS,
                                     .keep_alive_ms = QUIC_KEEP_ALIVE_MS,
                                     .handshake_ms = PATIENCE_MS};
    init_end(&p->client, p);
    init_end(&p->server, p);
    ready_init(&p->check, run_check);
    deadline_init(&p->give_up, p->loop, on_give_up);
}

void quic_pair_open(struct quic_pair *p)
{
    p->server_port = quic_pair_new_server_port(p, loopback());
    p->client_port = quic_pair_new_client_port(p);
}

void quic_pair_dial(struct quic_pair *p)
{
    struct quic_dial_options options = {.tls = p->client_tls,
                                        .peer = &p->server_at,
                                        .server_name = "hub.test",
                                        .ops = &quic_pair_ops,
                                        .owner = &p->client};

    ck_assert_int_eq(quic_dial(&p->client.q, p->client_port, &options), 0);
    quic_pair_wake(&p->client);
}

bool quic_pair_is_secure(struct quic_pair *p)
{
    return p->client.q && p->server.q && quic_is_secure(p->client.q) && quic_is_secure(p->server.q);
}

void quic_pair_start(struct quic_pair *p)
{
    quic_pair_begin(p);
    quic_pair_open(p);
    quic_pair_dial(p);
    quic_pair_until(p, quic_pair_is_secure);
}

void quic_pair_until(struct quic_pair *p, bool (*until)(struct quic_pair *p))
{
    p->until = until;
    deadline_set(&p->give_up, GIVE_UP_MS);
    if (!until(p))
        loop_run(p->loop);
    deadline_off(&p->give_up);
    p->until = NULL;
}

void quic_pair_poll(struct quic_pair *p, bool (*until)(struct quic_pair *p))
{
    p->is_polling = true;
    loop_again(p->loop, &p->check);
    quic_pair_until(p, until);
    p->is_polling = false;
}

void quic_pair_raw_send(struct quic_pair *p, const void *bytes, size_t n)
{
    if (p->raw < 0) {
        p->raw = socket(p->server_at.sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        ck_assert_int_eq(connect(p->raw, &p->server_at.sa, addr_len(&p->server_at)), 0);
    }
    ck_assert_int_eq(send(p->raw, bytes, n, 0), (ssize_t)n);
}

static uint64_t reads_seen;

/* Loopback delivers at once, and the port reads all of it in one turn. */
static bool is_read(struct quic_pair *p)
{
    return quic_port_stats(p->server_port)->reads > reads_seen;
}

size_t quic_pair_raw_recv(struct quic_pair *p, void *to, size_t n)
{
    ssize_t got;

    reads_seen = quic_port_stats(p->server_port)->reads;
    quic_pair_poll(p, is_read);
    got = recv(p->raw, to, n, 0);
    return got < 0 ? 0 : (size_t)got;
}

struct quic_pair_stream *quic_pair_send(struct quic_pair_end *end, uint64_t n, bool has_fin)
{
    struct quic_pair_stream *s;
    int64_t id;

    ck_assert_int_eq(quic_open(end->q, &id, NULL), 0);
    s = quic_pair_stream(end, id);
    quic_set_user(end->q, id, s);
    s->is_there = true;
    s->want = n;
    s->has_fin = has_fin;
    quic_pair_wake(end);
    return s;
}

void quic_pair_free_end(struct quic_pair_end *end)
{
    ready_cancel(&end->run);
    if (end->q)
        quic_free(end->q);
    end->q = NULL;
}

void quic_pair_close(struct quic_pair *p)
{
    quic_pair_free_end(&p->client);
    quic_pair_free_end(&p->server);
    for (unsigned i = 0; i < QUIC_PAIR_ENDS; i++)
        if (p->more[i].pair)
            quic_pair_free_end(&p->more[i]);
    ready_cancel(&p->check);
    if (p->raw >= 0)
        close(p->raw);
    quic_port_free(p->client_port);
    quic_port_free(p->server_port);
    tls_ctx_unref(p->server_tls);
    tls_ctx_unref(p->client_tls);
    loop_free(p->loop);
}
