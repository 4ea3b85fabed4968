/* fuzz_quic_datagrams - arbitrary datagrams into a server's port, and a real client's and server's
 * handshake whose packets are bent, cut, repeated and mixed on the way.
 *
 * Nothing is sent: what the ports want to send is caught and may be delivered by the next step.
 * Checked: no crash; a server sends to an address that it has not validated at most three times
 * what came from there (RFC 9000, 8.1); connections, ids and counts are gone in the end.
 *
 * Input: steps, each an opcode and its operands (step() below).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "fuzz/script.h"
#include "quic/quic_internal.h"

#define CONNS_MAX 16u
#define CAUGHT    8u
#define BYTES_MAX 2048u

struct packet {
    uint8_t bytes[BYTES_MAX];
    size_t len;
};

static struct {
    struct loop *loop;
    struct quic_port *server, *client;
    struct tls_ctx *server_tls, *client_tls;
    struct packet from_server[CAUGHT], from_client[CAUGHT];
    unsigned from_server_count, from_client_count;
    struct quic *conns[CONNS_MAX];
    unsigned conn_count;
    uint64_t in, out; /* of the server, while no address is validated */
    bool is_validated;
    enum quic_verdict verdict;
} world;

/* --- owners that do nothing --- */

static void on_wake(struct quic *q)
{
    (void)q;
}

static void on_open(struct quic *q, int64_t stream)
{
    (void)q, (void)stream;
}

static int on_data(struct quic *q, int64_t stream, void *user, const uint8_t *bytes, size_t n,
                   bool is_fin)
{
    (void)q, (void)stream, (void)user, (void)bytes, (void)n, (void)is_fin;
    return 0;
}

static void on_number(struct quic *q, int64_t stream, void *user, uint64_t n)
{
    (void)q, (void)stream, (void)user, (void)n;
}

static void on_closed(struct quic *q, int64_t stream, void *user)
{
    (void)q, (void)stream, (void)user;
}

static void on_datagram(struct quic *q, const uint8_t *bytes, size_t n)
{
    (void)q, (void)bytes, (void)n;
}

static bool next(struct quic *q, struct quic_piece *piece)
{
    (void)q, (void)piece;
    return false;
}

static void on_written(struct quic *q, const struct quic_piece *piece, size_t n)
{
    (void)q, (void)piece, (void)n;
}

static void on_refused(struct quic *q, const struct quic_piece *piece, enum quic_refusal why)
{
    (void)q, (void)piece, (void)why;
}

static const struct quic_ops ops = {on_wake,     on_open,   on_data,    on_number,
                                    on_number,   on_number, on_closed,  on_number,
                                    on_datagram, next,      on_written, on_refused};

static enum quic_verdict on_initial(void *arg, const union addr *peer, bool is_validated)
{
    (void)arg, (void)peer;
    world.is_validated |= is_validated;
    return world.conn_count < CONNS_MAX ? world.verdict : QUIC_REFUSE;
}

static bool on_accept(void *arg, struct quic *q)
{
    (void)arg;
    quic_own(q, &ops, NULL);
    world.conns[world.conn_count++] = q;
    return true;
}

/* --- the wires --- */

static void catch_packets(struct packet *into, unsigned *count, const struct msghdr *m)
{
    struct packet *p = &into[*count % CAUGHT];

    p->len = MIN(m->msg_iov->iov_len, BYTES_MAX);
    memcpy(p->bytes, m->msg_iov->iov_base, p->len);
    (*count)++;
}

static ssize_t server_sends(int fd, const struct msghdr *m, int flags)
{
    (void)fd, (void)flags;
    world.out += m->msg_iov->iov_len;
    must(world.is_validated || world.out <= 3 * world.in);
    catch_packets(world.from_server, &world.from_server_count, m);
    return (ssize_t)m->msg_iov->iov_len;
}

static ssize_t client_sends(int fd, const struct msghdr *m, int flags)
{
    (void)fd, (void)flags;
    catch_packets(world.from_client, &world.from_client_count, m);
    return (ssize_t)m->msg_iov->iov_len;
}

static void deliver(struct quic_port *to, const uint8_t *bytes, size_t n)
{
    const struct quic_port *from = to == world.server ? world.client : world.server;
    struct quic_datagram d = {.sock = &to->sockets[0], .len = n};
    uint8_t *exact = malloc(n > 0 ? n : 1); /* so that ASan sees an overread */

    if (n > 0)
        memcpy(exact, bytes, n);
    d.bytes = exact;
    d.peer = from->sockets[0].bound;
    d.local = to->sockets[0].bound;
    if (to == world.server)
        world.in += n;
    quic_port_take(to, &d);
    quic_wake_touched(to);
    free(exact);
}

/* --- steps --- */

static void step_raw(struct script *s, struct quic_port *to)
{
    size_t n = (size_t)take(s) << 8 | take(s), have = (size_t)(s->end - s->at);
    uint8_t bytes[BYTES_MAX] = {0};

    n = MIN(n, BYTES_MAX);
    have = MIN(have, n);
    memcpy(bytes, s->at, have);
    s->at += have;
    deliver(to, bytes, n); /* padded, so that little input makes a first packet */
}

/* One that was caught, bent. */
static void step_caught(struct script *s, struct quic_port *to)
{
    struct packet *from = to == world.server ? world.from_client : world.from_server;
    unsigned count = to == world.server ? world.from_client_count : world.from_server_count;
    struct packet p = from[take(s) % CAUGHT];
    uint8_t bends = take(s) & 3, cut = take(s);

    if (count == 0)
        return;
    world.is_validated |= to == world.client; /* whoever has these can prove the address */
    for (uint8_t i = 0; i < bends && p.len > 0; i++) {
        size_t at = ((size_t)take(s) << 8 | take(s)) % p.len;

        p.bytes[at] ^= take(s);
    }
    if (cut & 1)
        p.len -= MIN(p.len, cut);
    deliver(to, p.bytes, p.len);
}

static void flush(struct quic *q)
{
    enum io io = quic_flush(q);

    must((io == IO_OK || io == IO_WAIT) == !quic_is_over(q));
}

static void step_dial(struct script *s)
{
    struct quic_dial_options o = {.tls = world.client_tls,
                                  .peer = &world.server->sockets[0].bound,
                                  .server_name = "fuzz.test",
                                  .ops = &ops,
                                  .first_byte = take(s)};

    if (world.conn_count < CONNS_MAX &&
        quic_dial(&world.conns[world.conn_count], world.client, &o) == 0)
        flush(world.conns[world.conn_count++]);
}

static void flush_all(void)
{
    for (unsigned i = 0; i < world.conn_count; i++)
        flush(world.conns[i]);
}

static void step(struct script *s)
{
    switch (take(s) & 7) {
    case 0:
        step_raw(s, world.server);
        break;
    case 1:
        step_raw(s, world.client);
        break;
    case 2:
        step_caught(s, world.server);
        break;
    case 3:
        step_caught(s, world.client);
        break;
    case 4:
        step_dial(s);
        break;
    case 5:
        flush_all();
        break;
    case 6:
        if (world.conn_count > 0)
            quic_free(world.conns[--world.conn_count]);
        break;
    default:
        world.verdict = take(s) % 3;
        break;
    }
}

/* --- the world --- */

static struct quic_port *new_port(struct tls_ctx *tls)
{
    static const struct quic_port_ops port_ops = {on_initial, on_accept};
    struct quic_port_options o = {
        .loop = world.loop,
        .fd_count = 1,
        .tls = tls,
        .count = 1,
        .params = {.stream_window = 65536,
                   .streams_bidi = 10,
                   .streams_uni = 10,
                   .idle_ms = 6000,
                   .handshake_ms = 5000},
        .ops = &port_ops,
    };
    struct quic_port *port;
    union addr at;
    int fd;

    must(addr_parse(&at, "127.0.0.1:0") == 0 && quic_bind(&at, 1, &fd, NULL) == 0);
    o.fds = &fd;
    must(quic_port_new(&port, &o) == 0);
    return port;
}

static void make_world(void)
{
    static const char *const alpn[] = {"fuzz", NULL};
    struct tls_server_options so = {.versions = TLS_ONLY_13, .alpn = alpn};
    struct tls_client_options co = {.versions = TLS_ONLY_13, .alpn = alpn};
    char *chain, *key, why[160];

    world.loop = loop_new("fuzz", 4, 0);
    must(tls_cert_make_pem("fuzz.test", &chain, &key) == 0);
    must(tls_cert_parse(&so.cert, chain, key, why, sizeof(why)) == 0);
    must(tls_ctx_new_server(&world.server_tls, &so) == 0);
    must(tls_ctx_new_client(&world.client_tls, &co, why, sizeof(why)) == 0);
    tls_cert_unref(so.cert);
    free(chain);
    free(key);
    world.server = new_port(world.server_tls);
    world.client = new_port(NULL);
    quic_port_set_send(world.server, server_sends);
    quic_port_set_send(world.client, client_sends);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script s = {data, data + size};

    if (!world.loop)
        make_world();
    world.from_server_count = world.from_client_count = 0;
    memset(world.from_server, 0, sizeof(world.from_server));
    memset(world.from_client, 0, sizeof(world.from_client));
    world.in = world.out = 0;
    world.is_validated = false;
    world.verdict = QUIC_ACCEPT;
    while (s.at < s.end)
        step(&s);
    while (world.conn_count > 0)
        quic_free(world.conns[--world.conn_count]);
    must(quic_port_unvalidated(world.server) == 0);
    quic_ids_fini(world.server);
    quic_ids_fini(world.client);
    must(world.server->routes.count == 0 && world.client->routes.count == 0);
    must(list_is_empty(&world.server->conns) && list_is_empty(&world.server->touched));
    return 0;
}
