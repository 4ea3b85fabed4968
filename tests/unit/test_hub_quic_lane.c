/* A lane on QUIC against a whole hub: what it leaves behind when the hub ends under it; what others
 * can do with its address. */
#include "hub_tunnel_fixture.h"
#include "loop/udp_socket.h"
#include "quic/quic_internal.h"
#include "support/client_stream.h"
#include "tunnel/lane_quic.h"

/* No packet of QUIC is as long: it goes by a side stream, whatever the path's MTU. */
#define LONG_BYTES 65300u

/* --- a target that answers each datagram with a long one --- */

static struct {
    struct loop_io io;
    int fd;
    union addr at;
} target;

static void on_target(struct loop_io *io, unsigned events)
{
    static uint8_t bytes[LONG_BYTES];
    union addr peer = {0};
    socklen_t len = sizeof(peer);
    ssize_t n = recvfrom(target.fd, bytes, sizeof(bytes), 0, &peer.sa, &len);

    (void)io, (void)events;
    if (n >= 0) /* one that is lost is asked for again */
        (void)sendto(target.fd, bytes, sizeof(bytes), 0, &peer.sa, len);
}

/* --- an edge --- */

static struct quic_port *port;
static struct tls_ctx *client_ctx;

static bool is_door_open(void *arg)
{
    (void)arg;
    return hub.quic.fds && hub.quic.fds[0] < 0;
}

static void setup(void)
{
    static const char *const alpn[] = {WIRE_ALPN, NULL};
    struct tls_client_options tls = {.versions = TLS_ONLY_13, .alpn = alpn};
    struct quic_params params = {.stream_window = BUDGET_STREAM_FREE,
                                 .streams_uni = LANE_SIDES_MAX,
                                 .idle_ms = PATIENCE_MS,
                                 .keep_alive_ms = QUIC_KEEP_ALIVE_MS,
                                 .handshake_ms = PATIENCE_MS};
    struct quic_port_options options = {.fd_count = 1, .count = 1, .params = params};
    char ports[64], why[100];
    union addr at;
    unsigned sets;
    int fd;

    memset(&target, 0, sizeof(target));
    ck_assert_int_eq(addr_parse_host(&target.at, "127.0.0.1", 0), 0);
    at = target.at;
    ck_assert_int_eq(listen_bind_udp(&target.at, 1, &target.fd, &sets, &target.at), 0);
    snprintf(ports, sizeof(ports), "target.portsUdp={\"53\":%u}", addr_port(&target.at));
    hub_up((const char *const[]){
        "edges=[{\"id\":\"e1\",\"listenPortsUdp\":[53],\"secret\":\"" SECRET_OF_E1 "\"}]", ports,
        "target.proxyProtocolUdp=off", NULL});
    loop_io_init(&target.io, hub.loop, target.fd, on_target);
    loop_io_arm(&target.io, LOOP_READ);
    ck_assert_int_eq(tls_ctx_new_client(&client_ctx, &tls, why, sizeof(why)), 0);
    ck_assert_int_eq(quic_bind(&at, 1, &fd, NULL), 0);
    options.loop = hub.loop;
    options.fds = &fd;
    ck_assert_int_eq(quic_port_new(&port, &options), 0);
    UNTIL(is_door_open, NULL);
}

static void edge_up_by_quic(struct test_lane *t)
{
    struct quic_dial_options dial = {.tls = client_ctx, .peer = &hub.tunnel_at};
    struct link_options options = {.side = LINK_EDGE,
                                   .loop = hub.loop,
                                   .budget = &edge_budget,
                                   .ops = &test_link_ops,
                                   .owner = t,
                                   .handshake_ms = PATIENCE_MS};
    struct quic *quic;

    t->edge_id = "e1";
    t->secret = SECRET_OF_E1;
    t->instance = "here";
    t->acks = true;
    ck_assert_int_eq(quic_dial(&quic, port, &dial), 0);
    ck_assert_int_eq(link_new_quic(&t->link, quic, &options), 0);
    UNTIL(is_answered, t);
    ck_assert(t->has_answer && t->answer.code == ANSWER_OK);
}

/* --- a client --- */

static struct {
    struct udp_session session;
    size_t newest_len;
    uint64_t asked_ms;
} client;

static void on_datagram(struct udp_session *u, const uint8_t *bytes, size_t n)
{
    (void)u, (void)bytes;
    client.newest_len = n;
}

static void on_closed(struct udp_session *u)
{
    (void)u;
}

/* Asked again when nothing comes: datagrams may be lost. */
static bool is_answered_at_length(void *arg)
{
    uint64_t now_ms = loop_now_ms(hub.loop);

    (void)arg;
    if (client.newest_len == LONG_BYTES)
        return true;
    if (now_ms - client.asked_ms > 500) {
        client.asked_ms = now_ms;
        udp_session_send(&client.session, "?", 1, now_ms);
    }
    return false;
}

static ssize_t swallow(int fd, const struct msghdr *message, int flags)
{
    size_t n = 0;

    (void)fd, (void)flags;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        n += message->msg_iov[i].iov_len;
    return (ssize_t)n;
}

/* The hub has a stream of its own beside the session, and is to end it, when nobody runs the lane
 * any more. */
START_TEST(a_hub_that_ends_beside_a_side_stream)
{
    struct proxy_header header = client_header(PROXY_DGRAM, 5000, 53);
    struct test_lane t = {0};

    setup();
    edge_up_by_quic(&t);
    udp_session_init(&client.session, on_datagram, on_closed);
    ck_assert_int_eq(link_open_udp(t.link, &client.session, &header), 0);
    UNTIL(is_answered_at_length, NULL);
    loop_io_arm(&target.io, 0);
    close(target.fd);
    quic_port_set_send(port, swallow); /* the hub hears nothing of the edge's end */
    udp_session_release(&client.session);
    lane_down(&t);
    loop_settle(hub.loop);
    quic_port_free(port);
    tls_ctx_unref(client_ctx);
    hub_down();
}
END_TEST

/* --- somebody who forges the edge's address --- */

/* More than limits.handshakesPerSource. */
#define FORGED 40

static int stranger; /* the edge's address, and a port where nobody reads */

static ssize_t send_as_stranger(int fd, const struct msghdr *message, int flags)
{
    (void)fd;
    return sendmsg(stranger, message, flags);
}

static void on_wake(struct quic *q)
{
    (void)q;
}

static void forge_initial(uint8_t first_byte)
{
    static const struct quic_ops ops = {.on_wake = on_wake};
    struct quic_dial_options dial = {
        .tls = client_ctx, .peer = &hub.tunnel_at, .ops = &ops, .first_byte = first_byte};
    struct quic *quic;

    ck_assert_int_eq(quic_dial(&quic, port, &dial), 0);
    quic_port_set_send(port, send_as_stranger);
    ck_assert_int_ne(quic_flush(quic), IO_FAIL);
    quic_port_set_send(port, swallow); /* no word of its end */
    quic_free(quic);
    quic_port_set_send(port, NULL);
}

static bool are_taken(void *arg)
{
    uint64_t retries = 0;

    (void)arg;
    for (unsigned i = 0; i < hub.worker_count; i++)
        retries += counted(&hub.workers[i].quic_gauges.retries);
    return counted(&hub.shared.counters.accepted) + retries == FORGED;
}

/* Those are few, and count for nobody: the edge comes in, on both transports, and so does the
 * hub's every other peer. */
START_TEST(forged_packets_take_nothing_of_an_address)
{
    struct test_lane by_tls = {.instance = "tls"}, by_quic = {0};
    union addr at;

    setup();
    ck_assert_int_eq(addr_parse_host(&at, "127.0.0.1", 0), 0);
    ck_assert_int_eq(quic_bind(&at, 1, &stranger, NULL), 0);
    for (unsigned i = 0; i < FORGED; i++)
        forge_initial((uint8_t)i);
    UNTIL(are_taken, NULL);
    ck_assert_uint_eq(counted(&hub.shared.counters.accepted), hub.shared.retry_at);
    ck_assert_uint_eq(hub.desk.admission.count, hub.shared.retry_at);
    ck_assert_int_eq(lane_up(&by_tls), ANSWER_OK);
    edge_up_by_quic(&by_quic);
    ck_assert_uint_eq(counted(&hub.shared.counters.handshake_faults[HANDSHAKE_LIMIT_SOURCE]), 0);
    close(stranger);
    loop_io_arm(&target.io, 0);
    close(target.fd);
    lane_down(&by_tls);
    lane_down(&by_quic);
    loop_settle(hub.loop);
    quic_port_free(port);
    tls_ctx_unref(client_ctx);
    hub_down();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("lane");

    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, a_hub_that_ends_beside_a_side_stream);
    tcase_add_test(tcase, forged_packets_take_nothing_of_an_address);
    return suite_run("hub_quic_lane", tcase);
}
