/* tls_pair - see tls_pair.h. */
#include "support/tls_pair.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/loop.h"

#define WAIT_MS 20000

static void set_nonblock(int fd)
{
    ck_assert_int_eq(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

static void open_tcp(int *client, int *server)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    *client = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &n), 0);
    ck_assert_int_eq(connect(*client, (struct sockaddr *)&at, n), 0);
    *server = accept(listener, NULL, NULL);
    ck_assert_int_ge(*server, 0);
    close(listener);
}

void tls_pair_open(struct tls_pair *p, enum pair_kind kind, int sndbuf)
{
    int fds[2];

    *p = (struct tls_pair){.client_wire = -1, .server_wire = -1};
    chunk_pool_init(&p->pool, 4, 0);
    if (kind == PAIR_TCP) {
        open_tcp(&p->client_fd, &p->server_fd);
    } else {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        p->client_fd = fds[0];
        p->server_fd = fds[1];
    }
    if (kind == PAIR_RELAYED) {
        p->client_wire = p->server_fd;
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        p->server_wire = fds[0];
        p->server_fd = fds[1];
        set_nonblock(p->client_wire);
        set_nonblock(p->server_wire);
    }
    set_nonblock(p->client_fd);
    set_nonblock(p->server_fd);
    if (sndbuf > 0) {
        setsockopt(p->client_fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf));
        setsockopt(p->server_fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf));
    }
}

void tls_pair_join(struct tls_pair *p, struct tls_ctx *client, const char *name,
                   struct tls_ctx *server, void *select_arg)
{
    if (client)
        ck_assert_int_eq(tls_new_client(&p->client, client, &p->pool, p->client_fd, name), 0);
    if (server)
        ck_assert_int_eq(tls_new_server(&p->server, server, &p->pool, p->server_fd, select_arg), 0);
    ck_assert_uint_eq(p->pool.out_count, 0);
}

void tls_pair_close(struct tls_pair *p)
{
    tls_free(p->client);
    tls_free(p->server);
    close(p->client_fd);
    close(p->server_fd);
    if (p->client_wire >= 0) {
        close(p->client_wire);
        close(p->server_wire);
    }
    ck_assert_uint_eq(p->pool.out_count, 0);
    chunk_pool_fini(&p->pool);
}

static short poll_events(unsigned wants)
{
    return (short)((wants & LOOP_READ ? POLLIN : 0) | (wants & LOOP_WRITE ? POLLOUT : 0));
}

void tls_pair_wait(const struct tls_pair *p)
{
    struct pollfd fds[4] = {
        {p->client_fd, poll_events(p->client ? tls_wants(p->client) : LOOP_READ), 0},
        {p->server_fd, poll_events(p->server ? tls_wants(p->server) : LOOP_READ), 0},
        {p->client_wire, POLLIN, 0}, /* -1 is passed over */
        {p->server_wire, POLLIN, 0},
    };

    for (size_t i = 0; i < 2; i++)
        if (fds[i].events == 0)
            fds[i].fd = -1;
    ck_assert_int_gt(poll(fds, ARRAY_LEN(fds), WAIT_MS), 0);
}

static enum io handshake_step(struct tls *t, int fd, enum io before)
{
    enum io io = before;

    if (t && before == IO_WAIT) {
        io = tls_handshake(t);
        if (io == IO_FAIL)
            shutdown(fd, SHUT_WR);
    }
    return io;
}

void tls_pair_handshake(struct tls_pair *p, enum io *client, enum io *server)
{
    *client = *server = IO_WAIT;
    for (;;) {
        *client = handshake_step(p->client, p->client_fd, *client);
        *server = handshake_step(p->server, p->server_fd, *server);
        if (p->client_wire >= 0) {
            tls_pair_forward(p->client_wire, p->server_wire, 65536);
            tls_pair_forward(p->server_wire, p->client_wire, 65536);
        }
        if (*client != IO_WAIT && *server != IO_WAIT)
            return;
        /* who is done waits for nothing here */
        struct tls_pair waiting = *p;
        if (*client != IO_WAIT)
            waiting.client_fd = -1;
        if (*server != IO_WAIT)
            waiting.server_fd = -1;
        tls_pair_wait(&waiting);
    }
}

void tls_pair_agree(struct tls_pair *p)
{
    enum io client, server;

    tls_pair_handshake(p, &client, &server);
    ck_assert_msg(client == IO_OK, "client: %s", tls_error_text(p->client));
    ck_assert_msg(server == IO_OK, "server: %s", tls_error_text(p->server));
}

size_t tls_pair_forward(int from, int to, size_t max)
{
    uint8_t bytes[65536];
    ssize_t n = read(from, bytes, MIN(max, sizeof(bytes)));

    if (n < 0)
        ck_assert_int_eq(errno, EAGAIN);
    if (n == 0)
        shutdown(to, SHUT_WR);
    if (n <= 0)
        return 0;
    tls_pair_put(to, bytes, (size_t)n);
    return (size_t)n;
}

void tls_pair_collect(int wire, uint8_t *out, size_t n)
{
    while (n > 0) {
        struct pollfd fd = {wire, POLLIN, 0};
        ssize_t got;

        ck_assert_int_eq(poll(&fd, 1, WAIT_MS), 1);
        got = read(wire, out, n);
        ck_assert_int_gt(got, 0);
        out += got;
        n -= (size_t)got;
    }
}

void tls_pair_put(int wire, const uint8_t *bytes, size_t n)
{
    ck_assert_int_eq(send(wire, bytes, n, MSG_NOSIGNAL), (ssize_t)n);
}

enum io tls_pair_read(struct tls_pair *p, struct tls *t, const uint8_t **bytes, size_t *n)
{
    enum io io;

    while ((io = tls_read(t, bytes, n)) == IO_WAIT) {
        struct pollfd fd = {t == p->client ? p->client_fd : p->server_fd, POLLIN, 0};

        ck_assert_int_eq(poll(&fd, 1, WAIT_MS), 1);
    }
    return io;
}

void tls_pair_send(struct tls_pair *p, struct tls *from, struct tls *to, const char *text)
{
    const uint8_t *bytes;
    size_t n;

    ck_assert_int_eq(tls_write(from, text, strlen(text)), IO_OK);
    ck_assert_int_eq(tls_flush(from), IO_OK);
    ck_assert_int_eq(tls_pair_read(p, to, &bytes, &n), IO_OK);
    ck_assert_uint_eq(n, strlen(text));
    ck_assert_mem_eq(bytes, text, n);
}

struct tls_ctx *tls_pair_server_ctx(enum tls_versions versions, const char *const *alpn,
                                    const char *name)
{
    struct tls_server_options options = {.versions = versions, .alpn = alpn};
    char *chain, *key, why[160];
    struct tls_ctx *ctx;

    ck_assert_int_eq(tls_cert_make_pem(name, &chain, &key), 0);
    ck_assert_int_eq(tls_cert_parse(&options.cert, chain, key, why, sizeof(why)), 0);
    free(chain);
    free(key);
    ck_assert_int_eq(tls_ctx_new_server(&ctx, &options), 0);
    tls_cert_unref(options.cert);
    return ctx;
}

struct tls_ctx *tls_pair_client_ctx(enum tls_versions versions, const char *const *alpn)
{
    struct tls_client_options options = {.versions = versions, .alpn = alpn};
    struct tls_ctx *ctx;
    char why[160];

    ck_assert_int_eq(tls_ctx_new_client(&ctx, &options, why, sizeof(why)), 0);
    return ctx;
}

/* --- a bare GnuTLS client ---------------------------------------------------------------- */

void raw_client_open(struct raw_client *raw, int fd, const char *priority, const char *sni)
{
    const char *at = NULL;

    gnutls_certificate_allocate_credentials(&raw->creds);
    gnutls_init(&raw->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
    ck_assert_msg(gnutls_priority_set_direct(raw->session, priority, &at) == 0, "%s", at);
    gnutls_credentials_set(raw->session, GNUTLS_CRD_CERTIFICATE, raw->creds);
    gnutls_transport_set_int(raw->session, fd);
    gnutls_handshake_set_timeout(raw->session, GNUTLS_INDEFINITE_TIMEOUT);
    if (sni)
        ck_assert_int_eq(gnutls_server_name_set(raw->session, GNUTLS_NAME_DNS, sni, strlen(sni)),
                         0);
}

void raw_client_close(struct raw_client *raw)
{
    gnutls_deinit(raw->session);
    gnutls_certificate_free_credentials(raw->creds);
}

int raw_client_handshake(struct raw_client *raw, struct tls_pair *p, enum io *server)
{
    int code = GNUTLS_E_AGAIN;

    *server = IO_WAIT;
    for (;;) {
        if (code == GNUTLS_E_AGAIN)
            code = gnutls_handshake(raw->session);
        if (code < 0 && gnutls_error_is_fatal(code))
            shutdown(p->client_fd, SHUT_WR);
        *server = handshake_step(p->server, p->server_fd, *server);
        if (code == GNUTLS_E_WARNING_ALERT_RECEIVED)
            code = GNUTLS_E_AGAIN;
        if (code != GNUTLS_E_AGAIN && *server != IO_WAIT)
            return code;
        struct tls_pair waiting = *p;
        if (code != GNUTLS_E_AGAIN)
            waiting.client_fd = -1;
        if (*server != IO_WAIT)
            waiting.server_fd = -1;
        tls_pair_wait(&waiting);
    }
}
