/* port - one libmicrohttpd daemon: its acceptors, the pump that runs it, its connections. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/server.h"
#include "base/err.h"

#define MEMORY_BYTES  32768 /* a connection's pool: its head, its read buffer, the answer's head */
#define CLOSING_TURNS 8     /* how often the pump runs at the end, to get answers out */

#define TLS_PRIORITIES                                                                             \
    "NONE:+VERS-TLS1.3:+VERS-TLS1.2:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:+AEAD:"           \
    "+ECDHE-ECDSA:+ECDHE-RSA:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:+SIGN-ALL:"           \
    "+COMP-NULL:+CTYPE-X509:%SERVER_PRECEDENCE"

/* The only place that calls MHD_run; afterwards MHD says when it wants to be called again. */
void port_run(struct port *p)
{
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;

    if (!p->daemon)
        return;
    must(!p->is_running);
    p->is_running = true;
    (void)MHD_run(p->daemon);
    p->is_running = false;
    if (MHD_get_timeout(p->daemon, &wait_ms) != MHD_YES)
        deadline_off(&p->timeout);
    else if (wait_ms == 0)
        loop_again(p->admin->options.loop, &p->pump);
    else
        deadline_set(&p->timeout, wait_ms);
}

static void on_pump(struct ready *ready)
{
    port_run(container_of(ready, struct port, pump));
}

static void on_epoll(struct loop_io *io, unsigned events)
{
    (void)events;
    port_run(container_of(io, struct port, io));
}

static void on_timeout(struct deadline *deadline)
{
    port_run(container_of(deadline, struct port, timeout));
}

static void on_accept(struct acceptor *acceptor, int fd, const union addr *peer)
{
    struct port *p = container_of(acceptor, struct door, acceptor)->port;
    struct admin_counters *counters = &p->admin->counters;

    if (p->clients_count >= p->admin->options.connections_max) {
        counters->refused[ADMIN_REFUSED_CONNECTIONS]++;
        close(fd);
        return;
    }
    if (MHD_add_connection(p->daemon, fd, &peer->sa, addr_len(peer)) != MHD_YES)
        counters->refused[ADMIN_REFUSED_PER_ADDRESS]++; /* MHD has closed it */
    loop_again(p->admin->options.loop, &p->pump);
}

void client_enter(struct client *c, enum client_phase phase)
{
    c->phase = phase;
    c->since_ms = loop_now_ms(c->port->admin->options.loop);
    c->bytes = 0;
}

void client_keep_for_linger(struct client *c)
{
    if (c->linger_fd < 0 && c->port->admin->lingers.count < ADMIN_LINGERS_MAX)
        c->linger_fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
}

static void client_opened(struct port *p, struct MHD_Connection *connection, void **context)
{
    struct client *c = must_alloc(sizeof(*c));
    const union MHD_ConnectionInfo *info;

    c->port = p;
    c->connection = connection;
    c->linger_fd = -1;
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    c->fd = info->connect_fd;
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info->client_addr->sa_family == AF_INET6)
        memcpy(&c->addr.in6, info->client_addr, sizeof(c->addr.in6));
    else
        memcpy(&c->addr.in, info->client_addr, sizeof(c->addr.in));
    addr_unmap(&c->addr);
    addr_format_host(&c->addr, c->peer);
    client_enter(c, CLIENT_HEAD);
    list_push(&p->clients, &c->node);
    if (p->clients_count++ == 0)
        deadline_set(&p->sweep, ADMIN_SWEEP_MS);
    *context = c;
}

static void client_closed(struct client *c)
{
    struct port *p = c->port;

    list_remove(&c->node);
    p->clients_count--;
    if (c->linger_fd >= 0)
        linger_start(&p->admin->lingers, c->linger_fd);
    free(c);
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        client_opened(arg, connection, context);
    else if (*context)
        client_closed(*context);
}

/* MHD's timeout is about silence.  This one is about progress: a head that comes byte by byte, a
 * body or an answer that crawls.  The socket is shut; MHD finds out and closes. */
static bool is_too_slow(const struct client *c, uint64_t now_ms)
{
    uint64_t limit_ms = (uint64_t)c->port->admin->options.timeout_secs * 1000;

    switch (c->phase) {
    case CLIENT_HANDLING:
        return false;
    case CLIENT_STREAMING:
        limit_ms = c->port->admin->options.stall_ms;
        break;
    case CLIENT_HEAD:
        break;
    case CLIENT_BODY:
    case CLIENT_REPLY:
        limit_ms += c->bytes * 1000 / ADMIN_BODY_RATE;
        break;
    }
    return now_ms - c->since_ms > limit_ms;
}

static void on_sweep(struct deadline *deadline)
{
    struct port *p = container_of(deadline, struct port, sweep);
    uint64_t now_ms = loop_now_ms(p->admin->options.loop);

    LIST_EACH (&p->clients, node, after) {
        struct client *c = container_of(node, struct client, node);

        if (is_too_slow(c, now_ms)) {
            p->admin->counters.refused[ADMIN_REFUSED_SLOW]++;
            shutdown(c->fd, SHUT_RDWR);
        }
    }
    if (p->clients_count)
        deadline_set(&p->sweep, ADMIN_SWEEP_MS);
}

/* What libmicrohttpd has to say is about single connections: for debugging only. */
__attribute__((format(printf, 2, 0))) static void on_message(void *arg, const char *fmt,
                                                             va_list args)
{
    char text[512];

    (void)arg;
    if (!log_is_on(LOG_DEBUG))
        return;
    vsnprintf(text, sizeof(text), fmt, args);
    text[strcspn(text, "\n")] = '\0';
    log_debug("admin", "microhttpd", LOG_S("text", text));
}

/* Paths and arguments are decoded by ourselves, strictly. */
static size_t leave_escaped(void *arg, struct MHD_Connection *connection, char *text)
{
    (void)arg;
    (void)connection;
    return strlen(text);
}

static struct MHD_Daemon *start_daemon(struct port *p)
{
    const struct admin *a = p->admin;
    bool has_tls = a->cert && !p->is_metrics;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, a->cert},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, a->key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES},
        {a->client_ca ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, 0, a->client_ca},
        {MHD_OPTION_END, 0, NULL},
    };

    return MHD_start_daemon(
        MHD_USE_NO_LISTEN_SOCKET | MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
            (has_tls ? MHD_USE_TLS : 0u),
        0, NULL, NULL, request_on_data, p, MHD_OPTION_EXTERNAL_LOGGER, on_message, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, request_on_completed, p, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, p, MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_BYTES, MHD_OPTION_CONNECTION_LIMIT,
        a->options.connections_max, MHD_OPTION_PER_IP_CONNECTION_LIMIT, a->options.per_address_max,
        MHD_OPTION_CONNECTION_TIMEOUT, a->options.timeout_secs,
        has_tls ? MHD_OPTION_ARRAY : MHD_OPTION_END, tls, MHD_OPTION_END);
}

/* The listening sockets, as doors that are still shut. */
static int bind_doors(struct port *p, const char *listen, char *why, size_t why_size)
{
    union addr at, bound;
    unsigned sets = 0;
    int fds[2], err;

    if (addr_parse(&at, listen) != 0) {
        snprintf(why, why_size, "%s is no address:port", listen);
        return -ERR_SYNTAX;
    }
    err = listen_bind_any(&at, 1, fds, &sets, &bound);
    if (err != 0) {
        snprintf(why, why_size, "cannot listen on %s: %s", listen, strerrordesc_np(-err));
        return -ERR_SYS;
    }
    addr_format(&bound, p->address);
    p->doors_count = sets;
    for (unsigned i = 0; i < sets; i++) {
        p->doors[i].port = p;
        acceptor_init(&p->doors[i].acceptor, p->admin->options.loop, fds[i], on_accept);
    }
    return 0;
}

int port_start(struct port **out, struct admin *a, const char *listen, bool is_metrics, char *why,
               size_t why_size)
{
    struct port *p = must_alloc(sizeof(*p));
    const union MHD_DaemonInfo *info;
    int err;

    *out = p;
    p->admin = a;
    p->is_metrics = is_metrics;
    list_init(&p->clients);
    ready_init(&p->pump, on_pump);
    deadline_init(&p->timeout, a->options.loop, on_timeout);
    deadline_init(&p->sweep, a->options.loop, on_sweep);
    err = bind_doors(p, listen, why, why_size);
    if (err != 0)
        return err;
    p->daemon = start_daemon(p);
    info = p->daemon ? MHD_get_daemon_info(p->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info || info->epoll_fd < 0) {
        snprintf(why, why_size, "libmicrohttpd does not start on %s", listen);
        return -ERR_SYS;
    }
    loop_io_init(&p->io, a->options.loop, info->epoll_fd, on_epoll);
    loop_io_arm(&p->io, LOOP_READ);
    for (unsigned i = 0; i < p->doors_count; i++)
        acceptor_start(&p->doors[i].acceptor);
    port_run(p);
    return 0;
}

/* Answers that are ready go out as far as the sockets take them; then everything is closed. */
void port_stop(struct port *p)
{
    if (!p)
        return;
    must(!p->is_running);
    for (unsigned i = 0; i < p->doors_count; i++)
        acceptor_fini(&p->doors[i].acceptor);
    for (int i = 0; p->daemon && i < CLOSING_TURNS; i++)
        port_run(p);
    if (p->io.loop)
        loop_io_arm(&p->io, 0);
    if (p->daemon)
        MHD_stop_daemon(p->daemon);
    p->daemon = NULL;
    deadline_off(&p->timeout);
    deadline_off(&p->sweep);
    ready_cancel(&p->pump);
    must(p->clients_count == 0);
    free(p);
}
