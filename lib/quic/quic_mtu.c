/* quic_mtu - how large a packet may be: path MTU discovery (RFC 8899), and the way back.
 *
 * ngtcp2 probes for larger packets and never doubts what it has found.  A path whose MTU shrinks
 * later (another route, a tunnel below us) swallows all large packets while small ones, such as
 * keep-alives and ACKs, get through: a connection that lives and moves nothing.  So: when bytes of
 * streams were under way for three PTOs, none was acknowledged, and the peer's packets came all the
 * while, the connection sends packets of the least size that QUIC asks of every path, until it has
 * another path.
 */
#include "quic/quic_internal.h"

#define PTOS_WITHOUT_ACK   3u
#define PACKETS_IN_LEAST   3u
#define PACKET_BYTES_LEAST NGTCP2_MAX_UDP_PAYLOAD_SIZE

/* From small to large; one that is lost three times rules out what is above it.  1452 is Ethernet
 * with IPv6, 1404 and 1350 leave room for tunnels below us, 8900 is a jumbo frame, the rest is
 * loopback and virtual machines. */
static const uint16_t probes[] = {1452, 1404, 1350, 8900, 32700, QUIC_PACKET_BYTES};

void quic_mtu_init(struct quic *q, ngtcp2_settings *settings)
{
    settings->max_tx_udp_payload_size = QUIC_PACKET_BYTES;
    settings->pmtud_probes = probes;
    settings->pmtud_probeslen = ARRAY_LEN(probes);
    q->progress.packet_max = QUIC_PACKET_BYTES;
}

void quic_mtu_on_path(struct quic *q)
{
    q->progress.packet_max = QUIC_PACKET_BYTES;
}

size_t quic_mtu(const struct quic *q)
{
    return MIN(ngtcp2_conn_get_path_max_tx_udp_payload_size(q->conn), q->progress.packet_max);
}

static void move_on(struct quic *q, uint64_t now_ns)
{
    q->progress.since_ns = now_ns;
    q->progress.packets_in = q->stats.packets_in;
}

/* Some of its bytes are not acknowledged ever, and nobody knows how many. */
void quic_mtu_on_reset(struct quic *q)
{
    q->progress.unacked = 0;
}

void quic_mtu_on_written(struct quic *q, size_t n)
{
    if (q->progress.unacked == 0)
        move_on(q, q->port->now_ns);
    q->progress.unacked += n;
}

void quic_mtu_on_acked(struct quic *q, uint64_t n)
{
    q->progress.unacked -= MIN(n, q->progress.unacked);
    move_on(q, q->port->now_ns);
}

void quic_mtu_on_timer(struct quic *q, uint64_t now_ns)
{
    const struct quic_progress *p = &q->progress;

    if (q->state != CONN_OPEN || p->unacked == 0 || quic_mtu(q) <= PACKET_BYTES_LEAST)
        return;
    if (now_ns - p->since_ns <= PTOS_WITHOUT_ACK * ngtcp2_conn_get_pto(q->conn) ||
        q->stats.packets_in - p->packets_in < PACKETS_IN_LEAST)
        return;
    q->progress.packet_max = PACKET_BYTES_LEAST;
    q->port->stats.mtu_lost++;
}
