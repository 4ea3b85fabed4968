/* hop_tunnel - the tunnel's connection: its frames, their records, and TLS around them.
 *
 *   hop.plain (frames in one piece) --16 KiB records--> hop.sealed --one send a turn--> peer
 *   peer --one recv a turn--> hop.raw --records--> frames --a run of one stream--> hop_stream.c
 */
#include "hop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

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

void tunnel_put_header(uint8_t *to, uint32_t id, enum type type, size_t n)
{
    put_u32(to, id);
    to[4] = (uint8_t)type;
    put_u32(to + 5, (uint32_t)n);
}

void tunnel_put(uint32_t id, enum type type)
{
    tunnel_put_header(hop.plain + hop.plain_len, id, type, 0);
    hop.plain_len += HEADER;
}

/* --- frames in -------------------------------------------------------------------------------- */

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
            stream_flush_run();
        if (!s)
            break;
        stream_end(s);
        stream_close_if_done(s);
        break;
    default:
        fprintf(stderr, "hop: frame type %u\n", hop.header[4]);
        exit(1);
    }
}

/* Borrows `bytes` until stream_flush_run(). */
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
                    stream_flush_run();
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
            stream_flush_run();
            while (count > 0)
                gnutls_packet_deinit(packets[--count]);
        }
        if (n == GNUTLS_E_AGAIN)
            return;
    }
}

void tunnel_read(void)
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
    stream_flush_run();
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

/* --- frames out ------------------------------------------------------------------------------- */

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

void tunnel_write(void)
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

void tunnel_fill(void)
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
        stream_make_ready(s);
    }
    seal();
    tunnel_write();
}

/* --- TLS -------------------------------------------------------------------------------------- */

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
void tunnel_start_tls(void)
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
