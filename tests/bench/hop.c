/* hop - the least that a tunnel hop can be: one connection, frames, GnuTLS, and nothing else.
 *
 *   hop out [--plain] TUNNEL_PORT TARGET_PORT     waits for the tunnel, dials the target
 *   hop in  [--plain] LISTEN_PORT TUNNEL_PORT     dials the tunnel, accepts clients
 *
 * A reference for `make bench`: what this machine's kernel and GnuTLS leave to win.  It has no flow
 * control but TCP's own (one stalled target stalls all), no authority, no timers, no log, one
 * thread. With --plain the same without encryption, which bounds the design itself.
 *
 *   socket --readv--> plain (frames in one piece) --16 KiB records--> sealed --one send a turn-->
 * peer peer --one recv a turn--> raw --records--> frames --sendmsg, a run of one stream--> socket
 *
 * Everything is edge-triggered; what is known to be readable waits on a list, so epoll_ctl is
 * called once a connection.  Errors of the setup end the program with a line on stderr.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#define HEADER       9u /* id: u32, type: u8, length: u32 */
#define RECORD       16384u
#define SLOT         (RECORD - HEADER)
#define SLOTS        16u
#define PLAIN_BYTES  (SLOTS * RECORD)
#define SEALED_BYTES (2u * PLAIN_BYTES)
#define RAW_BYTES    (512u << 10)
#define HELD_MAX     (4u << 20) /* for targets that are slow; past it the tunnel is not read */
#define STREAMS_MAX  16384u
#define EVENTS_MAX   256

enum type { TYPE_OPEN = 1, TYPE_DATA, TYPE_FIN };

struct stream {
    uint32_t id;
    int fd;
    bool is_readable, is_ready, read_ended, write_ended, fin_waits;
    struct stream *next_ready;
    uint8_t *held; /* owned: what the socket did not take yet */
    size_t held_at, held_len, held_size;
};

static struct {
    int epoll, listener, fd;
    bool is_in, is_readable, is_full; /* the tunnel's socket */
    uint16_t target;
    gnutls_session_t tls; /* NULL: unencrypted */
    struct stream *streams[STREAMS_MAX];
    uint32_t spare_ids[STREAMS_MAX], spare_count;
    struct stream *ready, **ready_end;
    size_t held;

    size_t plain_len, sealed_at, sealed_len, raw_at, raw_len;
    uint8_t plain[PLAIN_BYTES], sealed[SEALED_BYTES], raw[RAW_BYTES];

    uint8_t header[HEADER]; /* of the frame that is being read */
    size_t header_len;
    uint32_t left;
    struct stream *to; /* whose payload it is; NULL: dropped */
    struct iovec run[64];
    unsigned run_count;
    struct stream *run_of;
} hop;

static void die(const char *what)
{
    fprintf(stderr, "hop: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void put_u32(uint8_t *to, uint32_t value)
{
    value = htonl(value);
    memcpy(to, &value, sizeof(value));
}

static uint32_t get_u32(const uint8_t *from)
{
    uint32_t value;

    memcpy(&value, from, sizeof(value));
    return ntohl(value);
}

static void put_header(uint8_t *to, uint32_t id, enum type type, size_t n)
{
    put_u32(to, id);
    to[4] = (uint8_t)type;
    put_u32(to + 5, (uint32_t)n);
}

static void watch(int fd, void *what, bool is_edge)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = what};

    if (!is_edge)
        event.events = EPOLLIN;
    if (epoll_ctl(hop.epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl");
}

/* --- streams ------------------------------------------------------------------------------------
 */

static void make_ready(struct stream *s)
{
    if (s->is_ready || s->read_ended)
        return;
    s->is_ready = true;
    s->next_ready = NULL;
    *hop.ready_end = s;
    hop.ready_end = &s->next_ready;
}

static void put_frame(uint32_t id, enum type type)
{
    put_header(hop.plain + hop.plain_len, id, type, 0);
    hop.plain_len += HEADER;
}

static struct stream *stream_new(uint32_t id, int fd)
{
    struct stream *s = calloc(1, sizeof(*s));
    int on = 1;

    if (!s)
        die("memory");
    s->id = id;
    s->fd = fd;
    hop.streams[id] = s;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    watch(fd, s, true);
    return s;
}

static void stream_close_if_done(struct stream *s)
{
    if (!s->read_ended || !s->write_ended || s->is_ready || hop.run_of == s)
        return;
    close(s->fd);
    hop.streams[s->id] = NULL;
    if (hop.is_in)
        hop.spare_ids[hop.spare_count++] = s->id;
    if (hop.to == s)
        hop.to = NULL;
    free(s->held);
    free(s);
}

/* As many full slots as there is room for; what comes is one run of frames without a gap. */
static void stream_read(struct stream *s)
{
    struct iovec slots[SLOTS];
    uint8_t *at = hop.plain + hop.plain_len;
    size_t count = (PLAIN_BYTES - hop.plain_len) / RECORD, got;
    ssize_t n;

    for (size_t i = 0; i < count; i++)
        slots[i] = (struct iovec){at + i * RECORD + HEADER, SLOT};
    n = readv(s->fd, slots, (int)count);
    if (n < 0 && errno == EAGAIN) {
        s->is_readable = false;
        return;
    }
    if (n <= 0) {
        s->read_ended = true;
        put_frame(s->id, TYPE_FIN);
        return;
    }
    got = (size_t)n;
    s->is_readable = got == count * SLOT;
    for (size_t left = got; left > 0; at += RECORD) {
        size_t part = left < SLOT ? left : SLOT;

        put_header(at, s->id, TYPE_DATA, part);
        hop.plain_len += HEADER + part;
        left -= part;
    }
}

static void shut(struct stream *s)
{
    shutdown(s->fd, SHUT_WR);
    s->write_ended = true;
}

static void hold(struct stream *s, const uint8_t *bytes, size_t n)
{
    if (s->held_len + n > s->held_size) {
        s->held_size = 2 * (s->held_len + n);
        s->held = realloc(s->held, s->held_size);
        if (!s->held)
            die("memory");
    }
    memcpy(s->held + s->held_len, bytes, n);
    s->held_len += n;
    hop.held += n;
}

static void stream_write_held(struct stream *s)
{
    while (s->held_at < s->held_len) {
        ssize_t n = send(s->fd, s->held + s->held_at, s->held_len - s->held_at, MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            n = (ssize_t)(s->held_len - s->held_at); /* nobody is there to read it */
        s->held_at += (size_t)n;
        hop.held -= (size_t)n;
    }
    s->held_at = s->held_len = 0;
    if (s->fin_waits && !s->write_ended)
        shut(s);
}

/* What came in for one stream leaves in one call. */
static void flush_run(void)
{
    struct msghdr message = {.msg_iov = hop.run, .msg_iovlen = hop.run_count};
    struct stream *s = hop.run_of;
    size_t sum = 0, done = 0;

    if (!s || hop.run_count == 0)
        return;
    for (unsigned i = 0; i < hop.run_count; i++)
        sum += hop.run[i].iov_len;
    if (s->held_len == 0) {
        ssize_t n = sendmsg(s->fd, &message, MSG_NOSIGNAL);

        if (n >= 0)
            done = (size_t)n;
        else if (errno != EAGAIN)
            done = sum; /* nobody is there to read it */
    }
    for (unsigned i = 0; i < hop.run_count; i++) {
        size_t part = done < hop.run[i].iov_len ? done : hop.run[i].iov_len;

        if (part < hop.run[i].iov_len)
            hold(s, (uint8_t *)hop.run[i].iov_base + part, hop.run[i].iov_len - part);
        done -= part;
    }
    hop.run_count = 0;
    hop.run_of = NULL;
}

/* --- frames in ----------------------------------------------------------------------------------
 */

static void dial_target(uint32_t id)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(hop.target)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0)
        die("socket");
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)
        die("connect");
    stream_new(id, fd);
}

static void on_header(void)
{
    uint32_t id = get_u32(hop.header);
    struct stream *s = id < STREAMS_MAX ? hop.streams[id] : NULL;

    hop.left = get_u32(hop.header + 5);
    hop.to = NULL;
    switch (hop.header[4]) {
    case TYPE_OPEN:
        if (id < STREAMS_MAX && !s)
            dial_target(id);
        break;
    case TYPE_DATA:
        hop.to = s;
        break;
    case TYPE_FIN:
        if (hop.run_of == s)
            flush_run();
        if (!s)
            break;
        s->fin_waits = true;
        if (s->held_len == 0 && !s->write_ended)
            shut(s);
        stream_close_if_done(s);
        break;
    default:
        fprintf(stderr, "hop: frame type %u\n", hop.header[4]);
        exit(1);
    }
}

/* Borrows `bytes` until flush_run(). */
static void take(uint8_t *bytes, size_t n)
{
    while (n > 0) {
        size_t part;

        if (hop.left == 0) {
            part = HEADER - hop.header_len < n ? HEADER - hop.header_len : n;
            memcpy(hop.header + hop.header_len, bytes, part);
            hop.header_len += part;
            if (hop.header_len == HEADER) {
                hop.header_len = 0;
                on_header();
            }
        } else {
            part = hop.left < n ? hop.left : n;
            if (hop.to) {
                if (hop.run_of != hop.to || hop.run_count == 64)
                    flush_run();
                hop.run_of = hop.to;
                hop.run[hop.run_count++] = (struct iovec){bytes, part};
            }
            hop.left -= (uint32_t)part;
        }
        bytes += part;
        n -= part;
    }
}

static void take_records(void)
{
    gnutls_packet_t packets[SLOTS];
    unsigned count = 0;

    for (;;) {
        gnutls_datum_t plain;
        ssize_t n = gnutls_record_recv_packet(hop.tls, &packets[count]);

        if (n > 0) {
            gnutls_packet_get(packets[count++], &plain, NULL);
            take(plain.data, plain.size);
        } else if (n == 0 || gnutls_error_is_fatal((int)n)) {
            exit(0); /* the other end is gone */
        }
        if (count == SLOTS || n < 0) {
            flush_run();
            while (count > 0)
                gnutls_packet_deinit(packets[--count]);
        }
        if (n == GNUTLS_E_AGAIN)
            return;
    }
}

static void read_tunnel(void)
{
    size_t kept = hop.raw_len - hop.raw_at; /* less than a record */
    ssize_t n;

    memmove(hop.raw, hop.raw + hop.raw_at, kept);
    hop.raw_at = 0;
    hop.raw_len = kept;
    n = recv(hop.fd, hop.raw + kept, RAW_BYTES - kept, 0);
    if (n < 0 && errno == EAGAIN) {
        hop.is_readable = false;
        return;
    }
    if (n <= 0)
        exit(0);
    hop.raw_len += (size_t)n;
    hop.is_readable = hop.raw_len == RAW_BYTES;
    if (hop.tls) {
        take_records();
        return;
    }
    take(hop.raw, hop.raw_len);
    flush_run();
    hop.raw_at = hop.raw_len;
}

static ssize_t on_pull(gnutls_transport_ptr_t ptr, void *to, size_t n)
{
    size_t part = hop.raw_len - hop.raw_at < n ? hop.raw_len - hop.raw_at : n;

    (void)ptr;
    if (part == 0) {
        gnutls_transport_set_errno(hop.tls, EAGAIN);
        return -1;
    }
    memcpy(to, hop.raw + hop.raw_at, part);
    hop.raw_at += part;
    return (ssize_t)part;
}

/* --- frames out ---------------------------------------------------------------------------------
 */

static ssize_t on_push(gnutls_transport_ptr_t ptr, const giovec_t *pieces, int count)
{
    size_t sum = 0;

    (void)ptr;
    for (int i = 0; i < count; i++) {
        memcpy(hop.sealed + hop.sealed_len, pieces[i].iov_base, pieces[i].iov_len);
        hop.sealed_len += pieces[i].iov_len;
        sum += pieces[i].iov_len;
    }
    return (ssize_t)sum;
}

static void write_tunnel(void)
{
    const uint8_t *from = hop.tls ? hop.sealed : hop.plain;
    size_t n = hop.tls ? hop.sealed_len : hop.plain_len;

    while (hop.sealed_at < n) {
        ssize_t sent = send(hop.fd, from + hop.sealed_at, n - hop.sealed_at, MSG_NOSIGNAL);

        hop.is_full = sent < 0 && errno == EAGAIN;
        if (hop.is_full)
            return;
        if (sent < 0)
            exit(0);
        hop.sealed_at += (size_t)sent;
    }
    hop.sealed_at = hop.sealed_len = 0;
    if (!hop.tls)
        hop.plain_len = 0;
}

static void seal(void)
{
    if (!hop.tls)
        return;
    for (size_t at = 0; at < hop.plain_len; at += RECORD) {
        size_t n = hop.plain_len - at < RECORD ? hop.plain_len - at : RECORD;

        if (gnutls_record_send(hop.tls, hop.plain + at, n) != (ssize_t)n)
            die("gnutls_record_send");
    }
    hop.plain_len = 0;
}

/* Nothing is read from the sockets before the kernel has all that was read before. */
static void fill_tunnel(void)
{
    struct stream *s, *again = NULL;

    if (hop.is_full)
        return;
    while ((s = hop.ready) && PLAIN_BYTES - hop.plain_len >= 2 * RECORD) {
        hop.ready = s->next_ready;
        if (!hop.ready)
            hop.ready_end = &hop.ready;
        s->is_ready = false;
        stream_read(s);
        if (s->is_readable && !s->read_ended) {
            s->next_ready = again;
            again = s;
        } else {
            stream_close_if_done(s);
        }
    }
    while (again) {
        s = again;
        again = s->next_ready;
        make_ready(s);
    }
    seal();
    write_tunnel();
}

static void accept_clients(void)
{
    while (hop.spare_count > 0 && PLAIN_BYTES - hop.plain_len >= 4 * RECORD) {
        int fd = accept4(hop.listener, NULL, NULL, SOCK_NONBLOCK);
        uint32_t id;

        if (fd < 0)
            return;
        id = hop.spare_ids[--hop.spare_count];
        stream_new(id, fd);
        put_frame(id, TYPE_OPEN);
    }
}

/* --- setup --------------------------------------------------------------------------------------
 */

static int listen_on(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 4096) != 0)
        die("listen");
    return fd;
}

static int dial_tunnel(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (unsigned tries = 0;; tries++) { /* the other end may be starting just now */
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
            return fd;
        close(fd);
        if (tries == 100)
            die("connect");
        usleep(50000);
    }
}

static int on_key(gnutls_session_t tls, const char *name, gnutls_datum_t *key)
{
    (void)tls;
    (void)name;
    key->data = gnutls_malloc(16);
    key->size = 16;
    memset(key->data, 7, 16); /* both ends are on this machine, for a measurement */
    return 0;
}

/* TLS 1.3 by a shared key: no certificates are needed, and the records are the same. */
static void start_tls(void)
{
    static const char priority[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK:+PSK:"
                                   "-CIPHER-ALL:+AES-128-GCM";
    gnutls_psk_client_credentials_t client;
    gnutls_psk_server_credentials_t server;
    gnutls_datum_t key;

    gnutls_init(&hop.tls, (hop.is_in ? GNUTLS_CLIENT : GNUTLS_SERVER) | GNUTLS_NO_TICKETS);
    gnutls_priority_set_direct(hop.tls, priority, NULL);
    if (hop.is_in) {
        gnutls_psk_allocate_client_credentials(&client);
        on_key(hop.tls, NULL, &key);
        gnutls_psk_set_client_credentials(client, "hop", &key, GNUTLS_PSK_KEY_RAW);
        gnutls_credentials_set(hop.tls, GNUTLS_CRD_PSK, client);
    } else {
        gnutls_psk_allocate_server_credentials(&server);
        gnutls_psk_set_server_credentials_function(server, on_key);
        gnutls_credentials_set(hop.tls, GNUTLS_CRD_PSK, server);
    }
    gnutls_transport_set_int(hop.tls, hop.fd);
    if (gnutls_handshake(hop.tls) != 0)
        die("handshake");
    gnutls_transport_set_pull_function(hop.tls, on_pull);
    gnutls_transport_set_vec_push_function(hop.tls, on_push);
}

static void setup(bool is_plain, uint16_t first, uint16_t second)
{
    int on = 1, waiting = -1;

    hop.epoll = epoll_create1(0);
    hop.ready_end = &hop.ready;
    if (hop.is_in) {
        hop.fd = dial_tunnel(second);
    } else {
        hop.target = second;
        waiting = listen_on(first);
        hop.fd = accept(waiting, NULL, NULL);
        close(waiting);
    }
    if (hop.fd < 0)
        die("tunnel");
    setsockopt(hop.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (!is_plain)
        start_tls();
    fcntl(hop.fd, F_SETFL, O_NONBLOCK);
    watch(hop.fd, &hop.fd, true);
    hop.listener = -1;
    if (!hop.is_in)
        return;
    for (uint32_t id = STREAMS_MAX; id > 0; id--)
        hop.spare_ids[hop.spare_count++] = id - 1;
    hop.listener = listen_on(first);
    fcntl(hop.listener, F_SETFL, O_NONBLOCK);
    watch(hop.listener, &hop.listener, false);
}

static void on_event(const struct epoll_event *event)
{
    struct stream *s = event->data.ptr;

    if (event->data.ptr == &hop.fd) {
        hop.is_readable = true;
        if (hop.is_full && event->events & EPOLLOUT)
            write_tunnel();
    } else if (event->data.ptr == &hop.listener) {
        accept_clients();
    } else {
        if (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
            s->is_readable = true;
            make_ready(s);
        }
        if (event->events & EPOLLOUT && s->held_len > 0)
            stream_write_held(s);
        stream_close_if_done(s);
    }
}

int main(int argc, char **argv)
{
    bool is_plain = argc == 5 && strcmp(argv[2], "--plain") == 0;

    if (argc != 4 + is_plain || (strcmp(argv[1], "in") != 0 && strcmp(argv[1], "out") != 0)) {
        fprintf(stderr, "usage: hop out [--plain] TUNNEL_PORT TARGET_PORT\n"
                        "       hop in [--plain] LISTEN_PORT TUNNEL_PORT\n");
        return 2;
    }
    hop.is_in = strcmp(argv[1], "in") == 0;
    setup(is_plain, (uint16_t)atoi(argv[argc - 2]), (uint16_t)atoi(argv[argc - 1]));
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        bool has_more = (hop.ready && !hop.is_full) || (hop.is_readable && hop.held < HELD_MAX);
        int count = epoll_wait(hop.epoll, events, EVENTS_MAX, has_more ? 0 : -1);

        for (int i = 0; i < count; i++)
            on_event(&events[i]);
        if (hop.is_readable && hop.held < HELD_MAX)
            read_tunnel();
        fill_tunnel();
    }
}
