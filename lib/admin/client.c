/* client - see client.h.  Blocking by poll with one deadline over everything. */
#include "admin/client.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop/addr.h"
#include "loop/loop.h"

#define ANSWER_MAX 65536

struct call {
    int fd; /* owned; -1 */
    uint64_t due_us;
    gnutls_session_t tls; /* owned; NULL: plain */
    gnutls_certificate_credentials_t credentials;
    char answer[ANSWER_MAX + 1];
    size_t len;
};

/* Waits for the socket until the deadline.  False: it is over. */
static bool await(const struct call *c, short events)
{
    struct pollfd fd = {.fd = c->fd, .events = events};
    uint64_t now_us = clock_now_us();

    if (now_us >= c->due_us)
        return false;
    return poll(&fd, 1, (int)((c->due_us - now_us) / 1000) + 1) == 1;
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

    if (gnutls_certificate_allocate_credentials(&c->credentials) != 0 ||
        gnutls_init(&c->tls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) != 0 ||
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

/* Until the server closes, as it was asked to. */
static bool receive_all(struct call *c)
{
    while (c->len < ANSWER_MAX) {
        ssize_t got = c->tls ? gnutls_record_recv(c->tls, c->answer + c->len, ANSWER_MAX - c->len)
                             : recv(c->fd, c->answer + c->len, ANSWER_MAX - c->len, 0);

        if (got == 0 || got == GNUTLS_E_PREMATURE_TERMINATION)
            return true;
        if (got > 0) {
            c->len += (size_t)got;
            continue;
        }
        if (c->tls ? gnutls_error_is_fatal((int)got) != 0 : errno != EAGAIN && errno != EINTR)
            return false;
        if (!await(c, c->tls ? direction(c) : POLLIN))
            return false;
    }
    return true;
}

/* NULL when the service is well; else what to print. */
static const char *judge(struct call *c)
{
    char *body = strstr(c->answer, "\r\n\r\n");

    if (strncmp(c->answer, "HTTP/1.1 ", 9) != 0 || !body)
        return "the answer is no HTTP";
    return strncmp(c->answer + 9, "200 ", 4) == 0 ? NULL : body + 4;
}

static const char *ask(struct call *c, const char *listen, bool is_tls, const char *path)
{
    char request[128];
    int n = snprintf(request, sizeof(request),
                     "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);

    if (!dial_listen(c, listen))
        return "no connection";
    if (is_tls && !shake_hands(c))
        return "no TLS handshake";
    if (!send_all(c, request, (size_t)n) || !receive_all(c))
        return "no answer";
    return judge(c);
}

int client_check(const char *listen, bool is_tls, bool wants_ready, FILE *err)
{
    struct call *c = must_alloc(sizeof(*c));
    const char *fault;

    c->fd = -1;
    c->due_us = clock_now_us() + CLIENT_LIMIT_MS * 1000ull;
    fault = ask(c, listen, is_tls, wants_ready ? "/readyz" : "/healthz");
    if (fault)
        fprintf(err, "%s\n", fault);
    if (c->tls)
        gnutls_deinit(c->tls);
    if (c->credentials)
        gnutls_certificate_free_credentials(c->credentials);
    if (c->fd >= 0)
        close(c->fd);
    free(c);
    return fault ? 1 : 0;
}
