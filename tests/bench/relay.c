/* relay - the least that a server in traffic's place can be: it ends TLS and passes bytes on.
 *
 *   relay PORT TARGET_PORT CHAIN_FILE KEY_FILE
 *
 * A reference for `make bench`: what this machine's kernel, GnuTLS, client and origin leave to win.
 * Two threads with a listener each; a client has an upstream connection to itself, made before it
 * is served.  No HTTP is read, nothing is pooled, limited, timed, counted or logged.
 *
 *   client --one recv--> sealed --GnuTLS--> plain --one send--> upstream
 *   upstream --one recv--> plain --GnuTLS--> sealed --one send--> client
 *
 * Messages are small: what does not leave in one send is a bench gone wrong, and ends the program
 * with a line on stderr.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define PRIORITY   "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:-GROUP-ALL:+GROUP-X25519"
#define EVENTS_MAX 256
#define BACKLOG    4096
#define RECORD     16384u
#define BYTES      (RECORD + 1024u) /* sealed; plain */

struct client;

struct end {
    struct client *client;
    int fd;
};

struct client {
    struct end down, up;
    gnutls_session_t tls;
    bool is_open; /* the handshake is done */
    bool is_gone; /* freed when the turn is over */
    struct client *next_gone;
    size_t in_at, in_len, out_len;
    char in[BYTES], out[BYTES]; /* sealed */
    char plain[BYTES];
};

static struct sockaddr_in here, target;
static gnutls_certificate_credentials_t credentials;
static gnutls_priority_t priority;

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "relay: %s: %s\n", what, why);
    exit(1);
}

static void send_all(int fd, const char *bytes, size_t n)
{
    if (n > 0 && send(fd, bytes, n, MSG_NOSIGNAL) != (ssize_t)n && errno != EPIPE &&
        errno != ECONNRESET)
        die("send", strerror(errno));
}

/* --- GnuTLS reads and writes memory ------------------------------------------------------------
 */

static ssize_t pull(gnutls_transport_ptr_t of, void *to, size_t n)
{
    struct client *c = of;
    size_t have = c->in_len - c->in_at;

    if (have == 0) {
        gnutls_transport_set_errno(c->tls, EAGAIN);
        return -1;
    }
    n = n < have ? n : have;
    memcpy(to, c->in + c->in_at, n);
    c->in_at += n;
    return (ssize_t)n;
}

static int is_there(gnutls_transport_ptr_t of, unsigned ms)
{
    const struct client *c = of;

    (void)ms;
    return c->in_len > c->in_at;
}

static ssize_t push(gnutls_transport_ptr_t of, const void *from, size_t n)
{
    struct client *c = of;

    if (n > sizeof(c->out) - c->out_len)
        die("push", "a turn has more than a record");
    memcpy(c->out + c->out_len, from, n);
    c->out_len += n;
    return (ssize_t)n;
}

static void flush(struct client *c)
{
    send_all(c->down.fd, c->out, c->out_len);
    c->out_len = 0;
}

/* --- clients -----------------------------------------------------------------------------------
 */

/* As traffic does between two sockets of one machine: nothing is paced. */
static void tune(int fd)
{
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
}

static void watch(int epoll, int fd, struct end *end)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = end};

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl", strerror(errno));
}

static void client_new(int epoll, int fd)
{
    struct client *c = calloc(1, sizeof(*c));
    int up = socket(AF_INET, SOCK_STREAM, 0);

    if (!c || up < 0 || connect(up, (struct sockaddr *)&target, sizeof(target)) != 0)
        die("upstream", strerror(errno));
    tune(fd);
    tune(up);
    c->down = (struct end){.client = c, .fd = fd};
    c->up = (struct end){.client = c, .fd = up};
    if (gnutls_init(&c->tls, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS) < 0)
        die("gnutls_init", "no memory");
    gnutls_priority_set(c->tls, priority);
    gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_transport_set_ptr(c->tls, c);
    gnutls_transport_set_pull_function(c->tls, pull);
    gnutls_transport_set_pull_timeout_function(c->tls, is_there);
    gnutls_transport_set_push_function(c->tls, push);
    watch(epoll, fd, &c->down);
    watch(epoll, up, &c->up);
}

static void client_free(struct client *c)
{
    close(c->down.fd);
    close(c->up.fd);
    gnutls_deinit(c->tls);
    free(c);
}

/* As below. */
static bool shake_hands(struct client *c)
{
    int rc = gnutls_handshake(c->tls);

    flush(c);
    c->is_open = rc == 0;
    return rc == 0 || !gnutls_error_is_fatal(rc);
}

/* False: the client is gone. */
static bool from_client(struct client *c)
{
    ssize_t n;

    memmove(c->in, c->in + c->in_at, c->in_len - c->in_at);
    c->in_len -= c->in_at;
    c->in_at = 0;
    n = recv(c->down.fd, c->in + c->in_len, sizeof(c->in) - c->in_len, MSG_DONTWAIT);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    c->in_len += (size_t)n;
    if (!c->is_open && !shake_hands(c))
        return false;
    while (c->is_open) {
        n = gnutls_record_recv(c->tls, c->plain, sizeof(c->plain));
        if (n <= 0)
            return n == GNUTLS_E_AGAIN;
        send_all(c->up.fd, c->plain, (size_t)n);
    }
    return true;
}

static bool from_upstream(struct client *c)
{
    ssize_t n = recv(c->up.fd, c->plain, RECORD, MSG_DONTWAIT);

    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    if (gnutls_record_send(c->tls, c->plain, (size_t)n) != n)
        return false;
    flush(c);
    return true;
}

/* --- threads -----------------------------------------------------------------------------------
 */

static int listen_here(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof(here)) != 0 || listen(fd, BACKLOG) != 0)
        die("listen", strerror(errno));
    return fd;
}

static void on_event(int epoll, int listener, struct end *end, struct client **gone)
{
    int fd;

    if (!end) {
        fd = accept(listener, NULL, NULL);
        if (fd >= 0)
            client_new(epoll, fd);
    } else if (!end->client->is_gone && !(end == &end->client->down ? from_client(end->client)
                                                                    : from_upstream(end->client))) {
        end->client->is_gone = true;
        end->client->next_gone = *gone;
        *gone = end->client;
    }
}

static _Noreturn void *serve(void *unused)
{
    int epoll = epoll_create1(0), listener = listen_here();

    (void)unused;
    watch(epoll, listener, NULL);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        struct client *gone = NULL; /* its other end may be among the events */
        int count = epoll_wait(epoll, events, EVENTS_MAX, -1);

        for (int i = 0; i < count; i++)
            on_event(epoll, listener, events[i].data.ptr, &gone);
        while (gone) {
            struct client *next = gone->next_gone;

            client_free(gone);
            gone = next;
        }
    }
}

static struct sockaddr_in loopback(const char *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

int main(int argc, char **argv)
{
    pthread_t second;
    int rc;

    if (argc != 5) {
        fprintf(stderr, "usage: relay PORT TARGET_PORT CHAIN_FILE KEY_FILE\n");
        return 2;
    }
    here = loopback(argv[1]);
    target = loopback(argv[2]);
    gnutls_certificate_allocate_credentials(&credentials);
    rc = gnutls_certificate_set_x509_key_file(credentials, argv[3], argv[4], GNUTLS_X509_FMT_PEM);
    if (rc < 0 || (rc = gnutls_priority_init(&priority, PRIORITY, NULL)) < 0)
        die("certificate", gnutls_strerror(rc));
    if (pthread_create(&second, NULL, serve, NULL) != 0)
        die("thread", "cannot be made");
    serve(NULL);
}
