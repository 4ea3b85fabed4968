/* edge_udp_fixture - a public UDP port on the workers of edge_worker_fixture.h: the hub sends every
 * datagram back, and clients are sockets. */
#ifndef TESTS_UNIT_EDGE_UDP_FIXTURE_H
#define TESTS_UNIT_EDGE_UDP_FIXTURE_H

#include <arpa/inet.h>
#include <poll.h>

#include "edge_worker_fixture.h"

#define SESSIONS_MAX 64

/* The hub's end of a UDP session. */
struct hub_session {
    struct udp_session session;
    struct hub_end *end;
    uint16_t client_port;
    unsigned got; /* datagrams */
    bool is_closed;
};

static struct hub_session sessions[SESSIONS_MAX];
static unsigned session_count;
static bool refuses;

/* --- the hub ---------------------------------------------------------------------------------- */

static inline void on_datagram(struct udp_session *u, const uint8_t *bytes, size_t n)
{
    container_of(u, struct hub_session, session)->got++;
    udp_session_send(u, bytes, n, loop_now_ms(t.loop));
}

static inline void on_closed(struct udp_session *u)
{
    container_of(u, struct hub_session, session)->is_closed = true;
}

static inline struct udp_session *on_udp_open(struct link *link, const struct proxy_header *client,
                                              enum udp_end *refuse)
{
    struct hub_session *s = &sessions[session_count];

    ck_assert_uint_eq(client->dst_port, t.port);
    ck_assert_mem_eq(client->src, ((uint8_t[]){127, 0, 0}), 3);
    if (refuses) {
        *refuse = UDP_END_NOT_ALLOWED;
        return NULL;
    }
    ck_assert_uint_lt(session_count++, SESSIONS_MAX);
    s->end = link_owner(link);
    s->client_port = client->src_port;
    udp_session_init(&s->session, on_datagram, on_closed);
    return &s->session;
}

/* --- the stand -------------------------------------------------------------------------------- */

static inline void udp_up(unsigned workers, uint32_t limit, uint64_t idle_ms)
{
    union addr at;
    unsigned sets;
    int fds[WORKERS];

    memset(sessions, 0, sizeof(sessions));
    session_count = 0;
    refuses = false;
    hub_ops.on_udp_open = on_udp_open;
    workers_up(workers, (struct edge_shared){.udp_idle_ms = idle_ms}, limit);
    ck_assert_int_eq(addr_parse_host(&at, "127.0.0.1", 0), 0);
    ck_assert_int_eq(listen_bind_udp(&at, workers, fds, &sets, &at), 0);
    t.port = addr_port(&at);
    for (unsigned i = 0; i < workers; i++)
        edge_worker_open_port(&t.workers[i], PORT_UDP, t.port, &fds[i], 1);
}

static inline void udp_down(void)
{
    workers_down();
    for (unsigned i = 0; i < session_count; i++)
        udp_session_release(&sessions[i].session);
    stand_down();
}

/* The hub ends it without a word. */
static inline void lose_lane(unsigned i)
{
    link_free(t.lanes[i].link);
    t.lanes[i].link = NULL;
}

static inline void lane_up(unsigned worker)
{
    dial(worker);
    UNTIL(lanes_are_up, (unsigned)t.serial);
}

static inline bool sessions_came(unsigned n)
{
    return session_count == n;
}

static inline bool session_is_closed(unsigned i)
{
    return sessions[i].is_closed;
}

/* --- clients ---------------------------------------------------------------------------------- */

static int asking; /* the client that waits */

/* One at 127.0.0.`last`. */
static inline int client_at(uint8_t last)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(t.port)};
    struct sockaddr_in own = {.sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1u + last)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

static inline int client(void)
{
    return client_at(1);
}

static inline bool is_answered(unsigned n)
{
    struct pollfd at = {.fd = asking, .events = POLLIN};

    (void)n;
    return poll(&at, 1, 0) == 1 && (at.revents & POLLIN);
}

static struct {
    const char *text;
    uint64_t ms;
} said; /* by the hub, of its own accord */

static inline void hub_says(unsigned i, const char *text)
{
    said.text = text;
    said.ms = loop_now_ms(t.loop);
    udp_session_send(&sessions[i].session, text, strlen(text), said.ms);
}

/* The client that waits heard of session i.  Said again when nothing comes: what waits for longer
 * than UDP_FRAME_AGE_MS is not sent. */
static inline bool is_told(unsigned i)
{
    if (is_answered(0))
        return true;
    if (loop_now_ms(t.loop) - said.ms > 2 * UDP_FRAME_AGE_MS)
        hub_says(i, said.text);
    return false;
}

static const char *asked;

/* What else came is passed over: the hub may have said something twice. */
static inline bool is_echoed(unsigned n)
{
    char got[100];
    ssize_t len = recv(asking, got, sizeof(got), MSG_DONTWAIT);

    (void)n;
    return len == (ssize_t)strlen(asked) && memcmp(got, asked, (size_t)len) == 0;
}

static inline void ask(int fd, const char *text)
{
    ck_assert_int_eq(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
    asking = fd;
    asked = text;
    UNTIL(is_echoed, 0);
}

#endif
