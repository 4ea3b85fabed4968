/* quic_bulk - how fast lib/quic moves one stream, or datagrams, over loopback: two threads, each
 * with a loop and a port of its own; the client sends, the server takes and gives credit back.
 *
 *   quic_bulk [--secs N] [--mtu BYTES] [--bbr] [--window BYTES] [--datagrams BYTES] [--no-gso]
 *
 * Prints GB/s of payload and what the ports counted.  --mtu keeps the path from growing above that
 * many bytes, as a real network would.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "quic/quic_internal.h"

static struct {
    unsigned secs;
    size_t mtu, datagram;
    uint64_t window;
    enum quic_congestion congestion;
    bool has_no_gso;
} options = {.secs = 3, .window = 32u << 20, .congestion = QUIC_CUBIC};

static atomic_ullong taken, taken_datagrams;

struct end {
    struct loop *loop;
    struct quic_port *port;
    struct quic *q;
    struct ready run;
    struct deadline over;
    int64_t stream;
    bool is_open, is_blocked;
    uint8_t *bytes;
    union addr at;
};

static void die(const char *what)
{
    fprintf(stderr, "quic_bulk: %s\n", what);
    exit(1);
}

static void on_wake(struct quic *q)
{
    struct end *end = quic_owner(q);

    loop_again(end->loop, &end->run);
}

static void on_open(struct quic *q, int64_t stream)
{
    (void)q, (void)stream;
}

static int on_data(struct quic *q, int64_t stream, void *user, const uint8_t *bytes, size_t n,
                   bool is_fin)
{
    (void)user;
    (void)bytes;
    (void)is_fin;
    quic_credit(q, stream, n);
    atomic_fetch_add_explicit(&taken, n, memory_order_relaxed);
    return 0;
}

static void on_acked(struct quic *q, int64_t stream, void *user, uint64_t n)
{
    (void)q, (void)stream, (void)user, (void)n;
}

static void on_code(struct quic *q, int64_t stream, void *user, uint64_t code)
{
    (void)q, (void)stream, (void)user, (void)code;
}

static void on_closed(struct quic *q, int64_t stream, void *user)
{
    (void)q, (void)stream, (void)user;
}

static void on_credit(struct quic *q, int64_t stream, void *user, uint64_t upto)
{
    struct end *end = quic_owner(q);

    (void)stream, (void)user, (void)upto;
    end->is_blocked = false;
}

static void on_datagram(struct quic *q, const uint8_t *bytes, size_t n)
{
    (void)q, (void)bytes;
    atomic_fetch_add_explicit(&taken, n, memory_order_relaxed);
    atomic_fetch_add_explicit(&taken_datagrams, 1, memory_order_relaxed);
}

static bool next(struct quic *q, struct quic_piece *piece)
{
    struct end *end = quic_owner(q);

    if (!end->bytes || end->is_blocked)
        return false;
    piece->count = 1;
    if (options.datagram > 0) {
        if (quic_datagram_max(q) < options.datagram) /* until path MTU discovery is further */
            return false;
        piece->stream = QUIC_DATAGRAM;
        piece->iov[0] = (struct iovec){.iov_base = end->bytes, .iov_len = options.datagram};
        return true;
    }
    if (!end->is_open)
        return false;
    piece->stream = end->stream;
    piece->iov[0] = (struct iovec){.iov_base = end->bytes, .iov_len = 65536};
    return true;
}

static void on_written(struct quic *q, const struct quic_piece *piece, size_t n)
{
    (void)q, (void)piece, (void)n;
}

static void on_refused(struct quic *q, const struct quic_piece *piece, enum quic_refusal why)
{
    struct end *end = quic_owner(q);

    (void)piece;
    if (why != QUIC_BLOCKED)
        die("a piece was refused");
    end->is_blocked = true;
}

static const struct quic_ops ops = {on_wake,     on_open, on_data,    on_acked,
                                    on_code,     on_code, on_closed,  on_credit,
                                    on_datagram, next,    on_written, on_refused};

static void run(struct ready *r)
{
    struct end *end = container_of(r, struct end, run);

    if (!end->q)
        return;
    if (end->bytes && !end->is_open && options.datagram == 0 && quic_is_secure(end->q))
        end->is_open = quic_open(end->q, &end->stream, NULL) == 0;
    if (quic_flush(end->q) == IO_FAIL) {
        fprintf(stderr, "quic_bulk: %s\n", quic_error_text(end->q));
        loop_stop(end->loop);
    }
}

static ssize_t send_within(int fd, const struct msghdr *m, int flags)
{
    size_t n = m->msg_iov->iov_len, segment = n;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)m, c))
        if (c->cmsg_level == 17 && c->cmsg_type == 103) {
            uint16_t size;

            memcpy(&size, CMSG_DATA(c), sizeof(size));
            segment = size;
        }
    if (options.has_no_gso && segment < n) {
        errno = EIO;
        return -1;
    }
    if (options.mtu > 0 && segment > options.mtu) {
        errno = EMSGSIZE;
        return -1;
    }
    return sendmsg(fd, m, flags);
}

static struct quic_params params(void)
{
    return (struct quic_params){.congestion = options.congestion,
                                .stream_window = options.window,
                                .streams_bidi = 10,
                                .streams_uni = 10,
                                .idle_ms = QUIC_IDLE_MS,
                                .keep_alive_ms = QUIC_KEEP_ALIVE_MS,
                                .handshake_ms = 5000};
}

static enum quic_verdict on_initial(void *arg, const union addr *peer, bool is_validated)
{
    (void)arg, (void)peer, (void)is_validated;
    return QUIC_ACCEPT;
}

static bool on_accept(void *arg, struct quic *q)
{
    struct end *end = arg;

    end->q = q;
    quic_own(q, &ops, end);
    return true;
}

static const struct quic_port_ops port_ops = {on_initial, on_accept};
static const char *const alpn[] = {"bulk", NULL};

static void open_port(struct end *end, struct tls_ctx *tls)
{
    struct quic_port_options o = {.loop = end->loop,
                                  .fd_count = 1,
                                  .tls = tls,
                                  .count = 1,
                                  .params = params(),
                                  .ops = tls ? &port_ops : NULL,
                                  .arg = end};
    union addr at;
    int fd;

    if (addr_parse(&at, "127.0.0.1:0") != 0 || quic_bind(&at, 1, &fd, &end->at) != 0)
        die("no socket");
    o.fds = &fd;
    if (quic_port_new(&end->port, &o) != 0)
        die("no port");
    quic_port_set_send(end->port, send_within);
}

static void *serve(void *arg)
{
    struct end *end = arg;

    loop_run(end->loop);
    return NULL;
}

static void on_over(struct deadline *d)
{
    loop_stop(container_of(d, struct end, over)->loop);
}

static struct tls_ctx *server_tls(void)
{
    struct tls_server_options o = {.versions = TLS_ONLY_13, .alpn = alpn};
    char *chain, *key, why[160];
    struct tls_ctx *tls;

    if (tls_cert_make_pem("bulk", &chain, &key) != 0 ||
        tls_cert_parse(&o.cert, chain, key, why, sizeof(why)) != 0 ||
        tls_ctx_new_server(&tls, &o) != 0)
        die("no certificate");
    free(chain);
    free(key);
    tls_cert_unref(o.cert);
    return tls;
}

static double cpu_secs(clockid_t clock)
{
    struct timespec used;

    clock_gettime(clock, &used);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static void print_port(const char *name, const struct quic_port *port)
{
    const struct quic_port_stats *s = quic_port_stats(port);

    printf("%s: %.1f packets a read, %.1f a send, %llu errors, buffers %u/%u KiB\n", name,
           s->reads ? (double)s->datagrams_in / (double)s->reads : 0,
           s->sends ? (double)s->datagrams_out / (double)s->sends : 0,
           (unsigned long long)s->send_errors, s->recv_buffer >> 10, s->send_buffer >> 10);
}

static void read_options(int argc, char **argv)
{
    static const struct option known[] = {{"secs", 1, NULL, 's'},
                                          {"mtu", 1, NULL, 'm'},
                                          {"bbr", 0, NULL, 'b'},
                                          {"window", 1, NULL, 'w'},
                                          {"datagrams", 1, NULL, 'd'},
                                          {"no-gso", 0, NULL, 'g'},
                                          {0}};
    int c;

    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1)
        switch (c) {
        case 's':
            options.secs = (unsigned)atoi(optarg);
            break;
        case 'm':
            options.mtu = (size_t)atol(optarg);
            break;
        case 'b':
            options.congestion = QUIC_BBR;
            break;
        case 'w':
            options.window = (uint64_t)atoll(optarg);
            break;
        case 'd':
            options.datagram = (size_t)atol(optarg);
            break;
        case 'g':
            options.has_no_gso = true;
            break;
        default:
            die("what?");
        }
}

int main(int argc, char **argv)
{
    struct tls_client_options client_options = {.versions = TLS_ONLY_13, .alpn = alpn};
    struct end client = {0}, server = {0};
    struct quic_dial_options dial = {
        .peer = &server.at, .server_name = "bulk", .ops = &ops, .owner = &client};
    struct quic_stats stats;
    char why[160];
    pthread_t thread;
    uint64_t begin_us;
    double secs, gigabytes;
    clockid_t server_clock;

    read_options(argc, argv);
    client.loop = loop_new("client", 4, 0);
    server.loop = loop_new("server", 4, 0);
    ready_init(&client.run, run);
    ready_init(&server.run, run);
    open_port(&server, server_tls());
    open_port(&client, NULL);
    client.bytes = calloc(1, 65536);
    if (tls_ctx_new_client(&dial.tls, &client_options, why, sizeof(why)) != 0 || !client.bytes ||
        quic_dial(&client.q, client.port, &dial) != 0)
        die("cannot dial");
    pthread_create(&thread, NULL, serve, &server);
    deadline_init(&client.over, client.loop, on_over);
    deadline_set(&client.over, options.secs * 1000);
    loop_again(client.loop, &client.run);
    begin_us = clock_now_us();
    loop_run(client.loop);
    secs = (double)(clock_now_us() - begin_us) / 1e6;
    gigabytes = (double)atomic_load(&taken) / 1e9;
    pthread_getcpuclockid(thread, &server_clock);
    printf("%.3f GB/s, processor s/GB: client %.2f, server %.2f", gigabytes / secs,
           cpu_secs(CLOCK_THREAD_CPUTIME_ID) / gigabytes, cpu_secs(server_clock) / gigabytes);
    if (options.datagram > 0)
        printf(", %.3f M datagrams/s", (double)atomic_load(&taken_datagrams) / secs / 1e6);
    quic_stats(client.q, &stats);
    printf("; mtu %u, rtt %u us, cwnd %llu KiB\n", stats.mtu, stats.rtt_us,
           (unsigned long long)stats.cwnd >> 10);
    print_port("client", client.port);
    loop_stop(server.loop);
    pthread_join(thread, NULL);
    print_port("server", server.port);
    return 0;
}
