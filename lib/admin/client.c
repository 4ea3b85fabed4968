/* client - see client.h.  Blocking by poll with one deadline over everything. */
#include "admin/client.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "loop/addr.h"
#include "loop/loop.h"

struct call {
    int fd; /* owned; -1 */
    uint64_t due_us;
    gnutls_session_t tls; /* owned; NULL: plain */
    gnutls_certificate_credentials_t credentials;
    unsigned quiet_ms; /* a silence that ends the answer; 0: none does */
    char *answer;      /* owned */
    size_t len, size;
};

/* Waits for the socket until the deadline.  False: it is over; what is there by then is in time,
 * though this process was held up. */
static bool await(const struct call *c, short events)
{
    struct pollfd fd = {.fd = c->fd, .events = events};
    uint64_t now_us = clock_now_us();
    uint64_t left_ms = now_us < c->due_us ? (c->due_us - now_us) / 1000 + 1 : 0;

    return poll(&fd, 1, (int)left_ms) == 1;
}

static bool dial_address(struct call *c, const union addr *at)
{
    int err = 0;
    socklen_t len = sizeof(err);

    c->fd = socket(at->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return false;
    if (connect(c->fd, &at->sa, addr_len(at)) == 0)
        return true;
    if (errno == EINPROGRESS && await(c, POLLOUT) &&
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0 && err == 0)
        return true;
    close(c->fd);
    c->fd = -1;
    return false;
}

/* [::] and 0.0.0.0 are no addresses to dial: loopback of both families then, IPv4 first. */
static bool dial_listen(struct call *c, const char *listen)
{
    union addr at;

    if (addr_parse(&at, listen) != 0)
        return false;
    if (!addr_is_any(&at))
        return dial_address(c, &at);
    uint16_t port = addr_port(&at);
    bool has_v6 = at.sa.sa_family == AF_INET6;

    if (addr_parse_host(&at, "127.0.0.1", port) == 0 && dial_address(c, &at))
        return true;
    return has_v6 && addr_parse_host(&at, "::1", port) == 0 && dial_address(c, &at);
}

static bool is_again(int code)
{
    return code == GNUTLS_E_AGAIN || code == GNUTLS_E_INTERRUPTED;
}

static short direction(const struct call *c)
{
    return gnutls_record_get_direction(c->tls) ? POLLOUT : POLLIN;
}

static bool shake_hands(struct call *c)
{
    int code;

    if (gnutls_init(&c->tls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) != 0 ||
        gnutls_set_default_priority(c->tls) != 0 ||
        gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, c->credentials) != 0)
        return false;
    gnutls_transport_set_int(c->tls, c->fd);
    while ((code = gnutls_handshake(c->tls)) != 0)
        if (gnutls_error_is_fatal(code) || (is_again(code) && !await(c, direction(c))))
            return false;
    return true;
}

static bool send_all(struct call *c, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t sent =
            c->tls ? gnutls_record_send(c->tls, text, n) : send(c->fd, text, n, MSG_NOSIGNAL);

        if (sent > 0) {
            text += sent;
            n -= (size_t)sent;
            continue;
        }
        if (c->tls ? !is_again((int)sent) : errno != EAGAIN && errno != EINTR)
            return false;
        if (!await(c, c->tls ? direction(c) : POLLOUT))
            return false;
    }
    return true;
}

/* Room for more, up to CLIENT_ANSWER_MAX and the NUL.  False: there is none. */
static bool make_room(struct call *c)
{
    size_t size = c->size ? 2 * c->size : 65536;
    char *longer;

    if (c->len + 1 < c->size)
        return true;
    if (size > CLIENT_ANSWER_MAX)
        return false;
    longer = must_alloc(size);
    if (c->len)
        memcpy(longer, c->answer, c->len);
    free(c->answer);
    c->answer = longer;
    c->size = size;
    return true;
}

/* Waits for more of the answer.  IO_EOF: it was quiet for so long that this was all. */
static enum io await_more(struct call *c)
{
    struct pollfd fd = {.fd = c->fd, .events = c->tls ? direction(c) : POLLIN};

    if (c->len && c->quiet_ms)
        return poll(&fd, 1, (int)c->quiet_ms) == 1 ? IO_OK : IO_EOF;
    return await(c, fd.events) ? IO_OK : IO_FAIL;
}

/* Until the server closes, as it was asked to, or the answer rests. */
static bool receive_all(struct call *c)
{
    enum io more = IO_OK;

    while (more == IO_OK && make_room(c)) {
        size_t room = c->size - c->len - 1;
        ssize_t got = c->tls ? gnutls_record_recv(c->tls, c->answer + c->len, room)
                             : recv(c->fd, c->answer + c->len, room, 0);

        if (got == 0 || got == GNUTLS_E_PREMATURE_TERMINATION)
            return true;
        if (got > 0) {
            c->len += (size_t)got;
            continue;
        }
        if (c->tls ? gnutls_error_is_fatal((int)got) != 0 : errno != EAGAIN && errno != EINTR)
            return false;
        more = await_more(c);
    }
    return more == IO_EOF;
}

/* Chunks become a text; one that is cut short ends it. */
static size_t join_chunks(char *body, size_t n)
{
    char *to = body, *from = body, *end = body + n;

    while (from < end) {
        char *data;
        size_t size = strtoul(from, &data, 16);

        if (size == 0 || !(data = memchr(data, '\n', (size_t)(end - data))))
            break;
        data++;
        size = MIN(size, (size_t)(end - data));
        memmove(to, data, size);
        to += size;
        from = data + size + 2; /* CRLF */
    }
    return (size_t)(to - body);
}

/* NULL; else why it is no answer. */
static const char *take_answer(struct client_answer *out, struct call *c)
{
    char *body;
    bool is_chunked;

    c->answer[c->len] = '\0';
    body = strstr(c->answer, "\r\n\r\n");
    if (strncmp(c->answer, "HTTP/1.1 ", 9) != 0 || !body)
        return "the answer is no HTTP";
    *body = '\0';
    is_chunked = strcasestr(c->answer, "\r\ntransfer-encoding: chunked") != NULL;
    body += 4;
    out->status = (unsigned)strtoul(c->answer + 9, NULL, 10);
    out->len = c->len - (size_t)(body - c->answer);
    if (is_chunked)
        out->len = join_chunks(body, out->len);
    memmove(c->answer, body, out->len);
    c->answer[out->len] = '\0';
    out->body = c->answer;
    c->answer = NULL;
    return NULL;
}

static bool load_credentials(struct call *c, const struct client_where *where)
{
    return gnutls_certificate_allocate_credentials(&c->credentials) == 0 &&
           (!where->cert_file ||
            gnutls_certificate_set_x509_key_file(c->credentials, where->cert_file, where->key_file,
                                                 GNUTLS_X509_FMT_PEM) >= 0);
}

static const char *ask(struct call *c, const struct client_where *where, const char *path)
{
    const char *fault = NULL;
    char *request = must_printf("GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                                "Last-Event-ID: 0-0\r\n%s%s%s\r\n",
                                path, where->token ? "Authorization: Bearer " : "",
                                where->token ? where->token : "", where->token ? "\r\n" : "");

    if (where->is_tls && !load_credentials(c, where))
        fault = "the certificate and its key cannot be read";
    else if (!dial_listen(c, where->listen))
        fault = "no connection";
    else if (where->is_tls && !shake_hands(c))
        fault = "no TLS handshake";
    else if (!send_all(c, request, strlen(request)) || !receive_all(c))
        fault = "no answer";
    gnutls_memset(request, 0, strlen(request));
    free(request);
    return fault;
}

const char *client_get(struct client_answer *out, const struct client_where *where,
                       const char *path, unsigned quiet_ms)
{
    struct call c = {.fd = -1, .quiet_ms = quiet_ms};
    const char *fault;

    c.due_us = clock_now_us() + CLIENT_LIMIT_MS * 1000ull;
    fault = ask(&c, where, path);
    *out = (struct client_answer){0};
    if (!fault)
        fault = c.len ? take_answer(out, &c) : "the answer is no HTTP";
    if (c.tls)
        gnutls_deinit(c.tls);
    if (c.credentials)
        gnutls_certificate_free_credentials(c.credentials);
    if (c.fd >= 0)
        close(c.fd);
    free(c.answer);
    return fault;
}

void client_answer_fini(struct client_answer *a)
{
    free(a->body);
    *a = (struct client_answer){0};
}

int client_check(const char *listen, bool is_tls, bool wants_ready, FILE *err)
{
    struct client_where where = {.listen = listen, .is_tls = is_tls};
    struct client_answer answer;
    const char *fault = client_get(&answer, &where, wants_ready ? "/readyz" : "/healthz", 0);
    int status = fault || answer.status != 200 ? 1 : 0;

    if (status)
        fprintf(err, "%s\n", fault ? fault : answer.body);
    client_answer_fini(&answer);
    return status;
}
