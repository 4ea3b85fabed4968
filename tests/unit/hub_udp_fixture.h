/* hub_udp_fixture - on hub_tunnel_fixture.h: a UDP target that sends everything back, and the
 * sessions of clients as an edge has them. */
#ifndef TESTS_UNIT_HUB_UDP_FIXTURE_H
#define TESTS_UNIT_HUB_UDP_FIXTURE_H

#include "hub_tunnel_fixture.h"
#include "loop/udp_socket.h"
#include "support/client_stream.h"
#include "wire/proxy.h"

/* --- a target: sends back what is no bare header, and remembers who asked -----------------------
 */

static struct {
    struct loop_io io;
    int fd;
    union addr at, peers[64];
    unsigned count;
} target;

static inline void on_target(struct loop_io *io, unsigned events)
{
    uint8_t bytes[2048];
    union addr peer = {0};
    socklen_t len = sizeof(peer);
    ssize_t n = recvfrom(target.fd, bytes, sizeof(bytes), 0, &peer.sa, &len);

    (void)io, (void)events;
    if (n < 0 || target.count == ARRAY_LEN(target.peers))
        return;
    target.peers[target.count++] = peer;
    ck_assert_int_eq(sendto(target.fd, bytes, (size_t)n, 0, &peer.sa, len), n);
}

/* With `more` words of configuration, or NULL. */
static inline void udp_up(const char *const *more)
{
    const char *words[8] = {"edges=[{\"id\":\"e1\",\"listenPortsUdp\":[53,54],"
                            "\"secret\":\"" SECRET_OF_E1 "\"}]",
                            "target.proxyProtocolUdp=off"};
    size_t n = 2;
    unsigned sets;
    char ports[64];

    memset(&target, 0, sizeof(target));
    ck_assert_int_eq(addr_parse_host(&target.at, "127.0.0.1", 0), 0);
    ck_assert_int_eq(listen_bind_udp(&target.at, 1, &target.fd, &sets, &target.at), 0);
    snprintf(ports, sizeof(ports), "target.portsUdp={\"53\":%u}", addr_port(&target.at));
    words[n++] = ports;
    while (more && *more)
        words[n++] = *more++;
    hub_up(words);
    loop_io_init(&target.io, hub.loop, target.fd, on_target);
    loop_io_arm(&target.io, LOOP_READ);
}

static inline void udp_down(void)
{
    loop_io_arm(&target.io, 0);
    close(target.fd);
    hub_down();
}

/* --- a client's session on the edge's side ------------------------------------------------------
 */

struct test_session {
    struct udp_session session;
    unsigned got;
    uint8_t newest[2048];
    size_t newest_len;
    const char *asked;
    uint64_t asked_ms;
};

static inline void on_datagram(struct udp_session *u, const uint8_t *bytes, size_t n)
{
    struct test_session *s = container_of(u, struct test_session, session);

    s->got++;
    s->newest_len = n;
    if (n > 0)
        memcpy(s->newest, bytes, n);
}

static inline void on_closed(struct udp_session *u)
{
    (void)u; /* the condition that is waited for looks */
}

static inline void session_up(struct test_lane *t, struct test_session *s, uint16_t client,
                              uint16_t port)
{
    struct proxy_header header = client_header(PROXY_DGRAM, client, port);

    udp_session_release(&s->session);
    *s = (struct test_session){.got = 0};
    udp_session_init(&s->session, on_datagram, on_closed);
    ck_assert_int_eq(link_open_udp(t->link, &s->session, &header), 0);
}

static inline void say(struct test_session *s)
{
    s->asked_ms = loop_now_ms(hub.loop);
    udp_session_send(&s->session, s->asked, strlen(s->asked), s->asked_ms);
}

/* Asked again when nothing comes: what waits for longer than UDP_FRAME_AGE_MS is not sent. */
static inline bool is_echoed(void *arg)
{
    struct test_session *s = arg;

    if (s->newest_len == strlen(s->asked) && memcmp(s->newest, s->asked, s->newest_len) == 0)
        return true;
    if (loop_now_ms(hub.loop) - s->asked_ms > 2 * UDP_FRAME_AGE_MS)
        say(s);
    return false;
}

static inline bool is_closed(void *arg)
{
    return ((struct test_session *)arg)->session.state == UDP_CLOSED;
}

static inline void ask(struct test_session *s, const char *text)
{
    s->newest_len = 0;
    s->asked = text;
    say(s);
    UNTIL(is_echoed, s);
}

static inline bool flows_are(void *arg)
{
    return atomic_load(&hub.shared.udp_flows) == *(unsigned *)arg;
}

#endif
