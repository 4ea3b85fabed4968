/* quic_flush - packets made of what the owner has: as many frames in a packet as fit, as many
 * packets as the congestion window and the pacer let go.
 *
 * A loop's timers have a resolution of a millisecond; a pacer's are finer.  That costs no speed:
 * ngtcp2 counts how late it is asked and lets go at once what the time was worth.
 */
#include <string.h>

#include "quic/quic_internal.h"

#include "base/pieces.h"

#define FLUSH_BYTES (1u << 20) /* of one call: others have a turn too */

/* What writing one piece came to, beside a length or an error of ngtcp2. */
enum { NEXT_PIECE = NGTCP2_ERR_WRITE_MORE };

struct packet {
    uint8_t *to;
    ngtcp2_path_storage path;
    ngtcp2_tstamp ts;
    size_t mtu;
    size_t least; /* bytes of a stream that are worth it to begin with */
    bool is_idle; /* the owner had nothing more */
};

static ngtcp2_ssize refuse(struct quic *q, const struct quic_piece *piece, enum quic_refusal why)
{
    q->ops->on_refused(q, piece, why);
    return NEXT_PIECE;
}

static ngtcp2_ssize write_datagram(struct quic *q, struct packet *p, const struct quic_piece *piece,
                                   const ngtcp2_vec *bytes)
{
    size_t n = pieces_bytes(piece->iov, piece->count);
    int is_taken = 0;
    ngtcp2_ssize rc;

    if (n > quic_datagram_max(q))
        return refuse(q, piece, QUIC_TOO_BIG);
    rc = ngtcp2_conn_writev_datagram(q->conn, &p->path.path, NULL, p->to, q->progress.packet_max,
                                     &is_taken, NGTCP2_WRITE_DATAGRAM_FLAG_MORE, n, bytes,
                                     piece->count, p->ts);
    if (is_taken)
        q->ops->on_written(q, piece, n);
    return rc;
}

static ngtcp2_ssize write_stream(struct quic *q, struct packet *p, const struct quic_piece *piece,
                                 const ngtcp2_vec *bytes)
{
    uint32_t flags = NGTCP2_WRITE_STREAM_FLAG_MORE;
    ngtcp2_ssize taken = -1, rc;

    must(piece->is_fin || pieces_bytes(piece->iov, piece->count) > 0);
    if (piece->is_fin)
        flags |= NGTCP2_WRITE_STREAM_FLAG_FIN;
    rc = ngtcp2_conn_writev_stream(q->conn, &p->path.path, NULL, p->to, q->progress.packet_max,
                                   &taken, flags, piece->stream, bytes, piece->count, p->ts);
    if (rc == NGTCP2_ERR_STREAM_DATA_BLOCKED)
        return refuse(q, piece, QUIC_BLOCKED);
    if (rc == NGTCP2_ERR_STREAM_SHUT_WR || rc == NGTCP2_ERR_STREAM_NOT_FOUND)
        return refuse(q, piece, QUIC_GONE);
    if (taken >= 0) {
        quic_mtu_on_written(q, (size_t)taken);
        q->ops->on_written(q, piece, (size_t)taken);
    }
    return rc;
}

/* The next packet: its length, 0 when none may go, or an error of ngtcp2. */
static ngtcp2_ssize write_packet(struct quic *q, struct packet *p)
{
    ngtcp2_ssize rc = NEXT_PIECE;

    while (rc == NEXT_PIECE) {
        struct quic_piece piece = {.stream = QUIC_DATAGRAM, .want = p->mtu, .least = p->least};
        ngtcp2_vec bytes[QUIC_PIECES_MAX];

        if (q->state != CONN_OPEN || !q->ops->next(q, &piece)) {
            p->is_idle = true;
            return ngtcp2_conn_writev_stream(q->conn, &p->path.path, NULL, p->to,
                                             q->progress.packet_max, NULL,
                                             NGTCP2_WRITE_STREAM_FLAG_NONE, -1, NULL, 0, p->ts);
        }
        must(piece.count <= QUIC_PIECES_MAX);
        for (size_t i = 0; i < piece.count; i++)
            bytes[i] = (ngtcp2_vec){.base = piece.iov[i].iov_base, .len = piece.iov[i].iov_len};
        rc = piece.stream == QUIC_DATAGRAM ? write_datagram(q, p, &piece, bytes)
                                           : write_stream(q, p, &piece, bytes);
    }
    return rc;
}

/* A probe for a larger MTU is expected to be lost, and what shares its bundle with it: with what
 * the kernel refuses all of a bundle is gone.  That looked like congestion, before slow start was
 * over.
 */
static enum io send_probe(struct quic *q, size_t n, const struct quic_hop *hop)
{
    enum io io = quic_bundle_add(q->sock, q, n, hop);

    return io == IO_OK ? quic_bundle_flush(q->sock, q) : io;
}

/* A path validation may go to a peer of the other family: not with this socket's bundle. */
static enum io send_packet(struct quic *q, const struct packet *p, size_t n)
{
    size_t mtu = quic_mtu(q);
    struct quic_socket *sock;
    struct quic_hop hop;

    quic_hop_of_path(&hop, q, &p->path.path);
    q->stats.packets_out++;
    q->stats.bytes_out += n;
    if (n > mtu / 2 && n <= mtu) /* a larger one is a probe */
        q->stats.bytes_full += n;
    if (hop.to.sa.sa_family == q->sock->bound.sa.sa_family)
        return n > mtu ? send_probe(q, n, &hop) : quic_bundle_add(q->sock, q, n, &hop);
    sock = quic_port_socket(q->port, hop.to.sa.sa_family);
    if (sock)
        quic_send_one(sock, p->to, n, &hop);
    return IO_OK;
}

static void note_waiting(struct quic *q, enum io io)
{
    uint64_t now_ns = q->port->now_ns;

    if (q->waiting_since_ns)
        q->stats.waiting_us += (now_ns - q->waiting_since_ns) / NGTCP2_MICROSECONDS;
    q->waiting_since_ns = io == IO_WAIT ? now_ns : 0;
}

static void wait_for_socket(struct quic *q)
{
    if (list_is_empty(&q->waiting))
        list_push(&q->port->waiting, &q->waiting);
}

/* IO_OK: nothing is left.  IO_WAIT: nothing more may go now, or its share is used up (then it has
 * asked to be woken). */
static enum io write_packets(struct quic *q)
{
    struct packet p = {.ts = quic_now(q->port), .mtu = quic_mtu(q)};
    size_t sum = 0, since_paced = 0, quantum = ngtcp2_conn_get_send_quantum(q->conn);
    size_t bundle = q->has_gso ? quic_bundle_room(p.mtu) : p.mtu;

    ngtcp2_path_storage_zero(&p.path);
    for (;;) {
        ngtcp2_ssize n;
        enum io io;

        p.to = quic_bundle_tail(q->sock);
        p.is_idle = false;
        p.least = q->sock->bundle.len > 0 ? p.mtu : bundle;
        n = write_packet(q, &p);
        if (n < 0) {
            quic_fail(q, (int)n);
            return IO_FAIL;
        }
        if (n == 0)
            break;
        io = send_packet(q, &p, (size_t)n);
        sum += (size_t)n;
        since_paced += (size_t)n;
        if (since_paced >= quantum || io == IO_WAIT) {
            p.ts = quic_now(q->port);
            ngtcp2_conn_update_pkt_tx_time(q->conn, p.ts);
            since_paced = 0;
        }
        if (io == IO_WAIT)
            return IO_WAIT;
        if (sum >= FLUSH_BYTES) {
            loop_again(q->port->loop, &q->again);
            return IO_WAIT;
        }
    }
    ngtcp2_conn_update_pkt_tx_time(q->conn, p.ts);
    return p.is_idle ? IO_OK : IO_WAIT;
}

enum io quic_flush(struct quic *q)
{
    enum io io;

    must(!q->is_inside);
    if (quic_is_over(q))
        return q->is_by_peer ? IO_EOF : IO_FAIL;
    if (q->sock->is_blocked) {
        wait_for_socket(q);
        quic_arm(q, quic_now(q->port));
        return IO_WAIT;
    }
    q->is_inside = true;
    io = write_packets(q);
    q->is_inside = false;
    note_waiting(q, io);
    if (!q->sock->is_blocked)
        (void)quic_bundle_flush(q->sock, q);
    quic_settle(q);
    if (quic_is_over(q))
        return q->is_by_peer ? IO_EOF : IO_FAIL;
    if (q->sock->is_blocked) {
        wait_for_socket(q);
        io = IO_WAIT;
    }
    quic_arm(q, quic_now(q->port));
    return io;
}
