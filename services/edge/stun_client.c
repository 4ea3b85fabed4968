/* stun_client - see stun_client.h.  Sections are those of RFC 8489. */
#include "edge/stun_client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "loop/udp_socket.h"
#include "tls/tls.h"

static void ask_next_server(struct stun_client *c, enum stun_result before);

const char *stun_result_name(enum stun_result result)
{
    static const char *const names[] = {
#define X(name, text) text,
        STUN_RESULTS(X)
#undef X
    };

    return names[result];
}

/* 1 to 65535, digits only; 0: it is none. */
static uint16_t parse_port(const char *text)
{
    unsigned port = 0;

    for (size_t i = 0; text[i]; i++) {
        if (text[i] < '0' || text[i] > '9' || i > 4)
            return 0;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    return port <= UINT16_MAX ? (uint16_t)port : 0;
}

int stun_server_parse(char host[HOST_MAX + 1], uint16_t *port, const char *text)
{
    bool is_v6 = text[0] == '[';
    const char *begin = is_v6 ? text + 1 : text, *end = begin + strcspn(begin, is_v6 ? "]" : ":");
    const char *behind = is_v6 && *end ? end + 1 : end;
    size_t n = (size_t)(end - begin);
    union addr literal;

    if (n == 0 || n > HOST_MAX || (is_v6 && !*end))
        return -ERR_SYNTAX;
    memcpy(host, begin, n);
    host[n] = '\0';
    if (!host_is_valid(host) ||
        (is_v6 && (addr_parse_host(&literal, host, 0) != 0 || literal.sa.sa_family != AF_INET6)))
        return -ERR_SYNTAX;
    *port = STUN_PORT;
    if (!*behind)
        return 0;
    *port = *behind == ':' ? parse_port(behind + 1) : 0;
    return *port ? 0 : -ERR_SYNTAX;
}

/* The socket goes with the state that has one; ASKING again is the next address. */
static void stun_client_enter(struct stun_client *c, enum stun_client_state to)
{
    if (c->state == STUN_RESOLVING)
        resolve_cancel(&c->query);
    if (c->fd >= 0) {
        loop_io_arm(&c->io, 0);
        close(c->fd);
        c->fd = -1;
    }
    deadline_off(&c->deadline);
    c->state = to;
}

uint64_t stun_retry_ms(unsigned failures, uint64_t random)
{
    uint64_t whole_ms = (uint64_t)STUN_RETRY_MS << MIN(failures - 1, 30u);

    must(failures > 0);
    return whole_ms - random % (whole_ms / 2 + 1);
}

static void arm_interval(struct stun_client *c)
{
    uint64_t now_ms = loop_now_ms(c->loop), pause_ms = (uint64_t)c->interval_secs * 1000;
    uint64_t due_ms = c->asked_ms + (c->failures ? MIN(pause_ms, c->retry_ms) : pause_ms);

    if (c->interval_secs == 0)
        deadline_off(&c->deadline);
    else
        deadline_set(&c->deadline, due_ms > now_ms ? due_ms - now_ms : 1);
}

/* A server that fails again and again in one way says so once. */
static void log_result(struct stun_client *c, enum stun_result result)
{
    if (result == c->last)
        return;
    if (result != STUN_RESULT_OK)
        log_warn("edge", "stun_failed", LOG_S("server", c->host), LOG_U("port", c->port),
                 LOG_S("why", stun_result_name(result)));
    else
        log_info("edge", "stun_works_again", LOG_S("server", c->host));
}

static void end_question(struct stun_client *c, enum stun_result result)
{
    c->results[result]++;
    log_result(c, result);
    c->last = result;
    c->failures = result == STUN_RESULT_OK ? 0 : c->failures + 1;
    if (c->failures) {
        uint64_t random;

        tls_random(&random, sizeof(random));
        c->retry_ms = stun_retry_ms(c->failures, random);
    }
    c->asked_ms = loop_now_ms(c->loop);
    stun_client_enter(c, STUN_WAITING);
    arm_interval(c);
}

/* --- one address ------------------------------------------------------------------------------ */

/* The kernel has no room just now: as if the network had lost it. */
static bool is_passing(int err)
{
    return err == -EAGAIN || err == -EINTR || err == -ENOBUFS || err == -ENOMEM;
}

static void send_request(struct stun_client *c)
{
    uint8_t request[STUN_REQUEST_BYTES];
    struct iovec piece = {request, sizeof(request)};
    int err;

    stun_request_emit(request, c->id);
    err = udp_socket_send(c->fd, NULL, NULL, &piece, 1);
    if (err && !is_passing(err)) {
        ask_next_server(c, STUN_RESULT_UNREACHABLE);
        return;
    }
    c->requests += err == 0;
    c->reached += c->sent == 0;
    c->sent++;
    deadline_set(&c->deadline, stun_wait_ms(c->sent, c->tries, c->rto_ms));
}

/* An address that nobody can have is no answer. */
static bool is_usable(const union addr *a)
{
    uint32_t host = ntohl(a->in.sin_addr.s_addr);

    if (addr_is_any(a))
        return false;
    if (a->sa.sa_family == AF_INET6)
        return !IN6_IS_ADDR_MULTICAST(&a->in6.sin6_addr);
    return !IN_MULTICAST(host) && !IN_BADCLASS(host);
}

static union addr address_of(const struct stun_answer *answer)
{
    union addr a = {0};

    a.sa.sa_family = answer->is_ipv6 ? AF_INET6 : AF_INET;
    if (answer->is_ipv6)
        memcpy(&a.in6.sin6_addr, answer->address, 16);
    else
        memcpy(&a.in.sin_addr, answer->address, 4);
    addr_unmap(&a);
    addr_set_port(&a, answer->port);
    return a;
}

static void take_address(struct stun_client *c, const struct stun_answer *answer)
{
    char text[ADDR_TEXT_MAX];
    union addr a = address_of(answer);

    if (!is_usable(&a)) {
        ask_next_server(c, STUN_RESULT_USELESS);
        return;
    }
    end_question(c, STUN_RESULT_OK);
    if (strcmp(addr_format_host(&a, text), c->public_ip) == 0)
        return;
    log_info("edge", "public_ip", LOG_S("address", text), LOG_S("before", c->public_ip));
    snprintf(c->public_ip, sizeof(c->public_ip), "%s", text);
    c->on_changed(c);
}

static void take_error(struct stun_client *c, const struct stun_answer *answer)
{
    enum stun_result result =
        answer->error_code == STUN_TRY_ALTERNATE ? STUN_RESULT_REDIRECTED : STUN_RESULT_REFUSED;
    char alternate[ADDR_TEXT_MAX] = "";

    if (answer->has_address) {
        union addr a = address_of(answer);

        addr_format(&a, alternate);
    }
    LOG_AT(c->last == result ? LOG_DEBUG : LOG_WARN, "edge", "stun_refused",
           LOG_U("code", answer->error_code), LOG_S("alternate", alternate));
    ask_next_server(c, result);
}

static void take_answer(struct stun_client *c, const struct stun_answer *answer)
{
    switch (answer->kind) {
    case STUN_MAPPED:
        take_address(c, answer);
        break;
    case STUN_ERROR:
        take_error(c, answer);
        break;
    case STUN_USELESS:
        ask_next_server(c, STUN_RESULT_USELESS);
        break;
    }
}

/* A flood of what is no answer gets a turn's share of the loop, no more. */
static void on_readable(struct loop_io *io, unsigned events)
{
    struct stun_client *c = container_of(io, struct stun_client, io);
    uint8_t bytes[STUN_ANSWER_MAX + 1];
    struct stun_answer answer;

    (void)events;
    for (unsigned i = 0; i < STUN_DATAGRAMS_PER_TURN; i++) {
        ssize_t n = recv(c->fd, bytes, sizeof(bytes), 0);

        if (n < 0 && is_passing(-errno))
            return;
        if (n < 0) { /* a hard ICMP error ends the transaction (6.2.1) */
            ask_next_server(c, STUN_RESULT_UNREACHABLE);
            return;
        }
        if (stun_answer_parse(&answer, c->id, bytes, (size_t)n) == 0) {
            take_answer(c, &answer);
            return;
        }
        c->ignored++;
    }
}

static int open_socket(struct stun_client *c, const union addr *server)
{
    stun_client_enter(c, STUN_ASKING);
    c->fd = udp_socket_connect(server);
    if (c->fd < 0) {
        c->fd = -1;
        return -ERR_CONNECT;
    }
    loop_io_init(&c->io, c->loop, c->fd, on_readable);
    loop_io_arm(&c->io, LOOP_READ);
    return 0;
}

/* --- one question ----------------------------------------------------------------------------- */

/* After `before` came of the address until now.  IPv6 says another address than IPv4: it is asked
 * only when IPv4 cannot be. */
static void ask_next_server(struct stun_client *c, enum stun_result before)
{
    while (c->next_server < c->server_count && c->reached < STUN_SERVERS_MAX) {
        const union addr *server = &c->servers[c->next_server++];

        if (server->sa.sa_family == AF_INET6 && c->reached > 0 &&
            c->servers[0].sa.sa_family == AF_INET)
            break;
        if (open_socket(c, server) == 0) {
            tls_random(c->id, sizeof(c->id));
            c->sent = 0;
            send_request(c);
            return;
        }
        before = STUN_RESULT_UNREACHABLE;
    }
    end_question(c, before);
}

static void on_addresses(struct resolve *q, const union addr *addrs, unsigned count, int err)
{
    static const sa_family_t order[] = {AF_INET, AF_INET6};
    struct stun_client *c = container_of(q, struct stun_client, query);

    c->server_count = c->next_server = c->reached = 0;
    for (size_t f = 0; f < ARRAY_LEN(order); f++)
        for (unsigned i = 0; i < count; i++)
            if (addrs[i].sa.sa_family == order[f])
                c->servers[c->server_count++] = addrs[i];
    ask_next_server(c, err ? STUN_RESULT_UNRESOLVED : STUN_RESULT_UNREACHABLE);
}

static void ask(struct stun_client *c)
{
    stun_client_enter(c, STUN_RESOLVING);
    resolve_start(&c->query, c->resolver, c->host, c->port, on_addresses);
}

static void on_due(struct deadline *deadline)
{
    struct stun_client *c = container_of(deadline, struct stun_client, deadline);

    if (c->state == STUN_WAITING)
        ask(c);
    else if (c->sent < c->tries)
        send_request(c);
    else
        ask_next_server(c, STUN_RESULT_TIMEOUT);
}

/* --- life ------------------------------------------------------------------------------------- */

void stun_client_init(struct stun_client *c, struct loop *loop,
                      void (*on_changed)(struct stun_client *c))
{
    *c = (struct stun_client){.state = STUN_OFF,
                              .loop = loop,
                              .fd = -1,
                              .interval_secs = STUN_INTERVAL_SECS,
                              .on_changed = on_changed};
    deadline_init(&c->deadline, loop, on_due);
}

int stun_client_configure(struct stun_client *c, const struct stun_options *options)
{
    must(c->state == STUN_OFF && !c->resolver);
    must(options->rto_ms > 0 && options->tries > 0);
    if (!*options->server)
        return 0;
    must(stun_server_parse(c->host, &c->port, options->server) == 0);
    c->rto_ms = options->rto_ms;
    c->tries = options->tries;
    c->resolver = resolver_new(c->loop);
    return c->resolver ? 0 : -ERR_SYS;
}

void stun_client_fini(struct stun_client *c)
{
    if (!c->loop)
        return;
    stun_client_stop(c);
    resolver_free(c->resolver);
    *c = (struct stun_client){.fd = -1};
}

void stun_client_start(struct stun_client *c)
{
    must(c->state == STUN_OFF);
    if (c->resolver)
        ask(c);
}

void stun_client_stop(struct stun_client *c)
{
    stun_client_enter(c, STUN_OFF);
    c->public_ip[0] = '\0';
    c->interval_secs = STUN_INTERVAL_SECS;
    c->last = STUN_RESULT_OK;
    c->failures = 0;
}

void stun_client_set_interval(struct stun_client *c, uint32_t secs)
{
    c->interval_secs = secs;
    if (c->state == STUN_WAITING)
        arm_interval(c);
}
