/* lane_quic - a lane on a QUIC connection instead of one TLS connection.  Sans-I/O, like the rest.
 *
 * The same struct lane with the same states, streams, windows and scheduler; what differs is how it
 * travels.  The connection's first bidirectional stream, number 0, is the control stream:
 * lane_input() and lane_next_record() speak its messages (wire/channel.h).  Each client's
 * connection is a bidirectional stream of the edge; number k of the lane is QUIC's stream 4k.  Its
 * first bytes are the PROXY v1 line; its ends, resets and credit are QUIC's own:
 *
 *   bytes and FIN        STREAM                         lane_quic_pick(), lane_quic_data()
 *   a reset              RESET_STREAM, STOP_SENDING     lane_quic_next_reset(), lane_quic_reset()
 *   credit               MAX_STREAM_DATA                lane_quic_next_credit(), lane_quic_credit()
 *   a UDP datagram       DATAGRAM, or a piece of a      lane_quic_pick_datagram(), _datagram();
 *                        unidirectional stream          lane_quic_pick_side(), _side_data()
 *
 * Bytes stay in the stream's sendq until lane_quic_acked(), since QUIC may have to send them again.
 * Whoever joins it to a connection (link/link_quic.c) takes resets before it asks for anything else
 * to send: after one the bytes are gone.  (api/tunnel.md, QUIC transport)
 */
#ifndef TUNNEL_LANE_QUIC_H
#define TUNNEL_LANE_QUIC_H

#include "tunnel/lane.h"

/* Silent streams: the peer opened them, and their first byte has not come.  What overtook it waits
 * in QUIC, in a block of 8 KiB and with what else a stream needs there, before anybody has seen
 * what the stream is for.  So many are free, as a burst's lost packets leave them; each one more
 * has its cost taken from the memory budget.  Where that has no more, one is let in all the same,
 * for its first byte may be the next thing that is read; when another opens, it is refused. */
#define LANE_SILENT_FREE 256u
#define LANE_SILENT_COST (12u << 10)
/* Streams whose PROXY line is not whole yet; more are refused. */
#define LANE_QUIC_OPENINGS_MAX 64u
/* What a stream reads ahead of the connection's packets: enough for some bundles, and little enough
 * to be in a processor's cache still when it is encrypted. */
#define LANE_QUIC_AHEAD         (512u << 10)
#define LANE_QUIC_AHEAD_PACKETS 16u /* or so many, where packets are very large */
/* Datagrams wait so long for their UDP_OPEN, of so many sessions and bytes at the most. */
#define LANE_EARLY_MS       500u
#define LANE_EARLY_SESSIONS 64u
#define LANE_EARLY_BYTES    (1u << 20)
/* Side streams, each way, and what may be on its way in one: a long datagram beyond is dropped. */
#define LANE_SIDES_MAX  256u
#define LANE_SIDE_BYTES (256u << 10)

struct udp_side;
struct udp_side_in;

/* Instead of lane_init().  `window` is the credit that each of the peer's streams begins with,
 * `peer_window` what ours begin with: the transport parameters of both. */
void lane_quic_init(struct lane *l, enum lane_role role, const struct lane_ops *ops,
                    struct budget *budget, struct chunk_pool *pool, uint32_t window,
                    uint64_t peer_window, uint64_t now_ms);

/* From a stream's number in the lane to QUIC's, and back: `id` is of a client's bidirectional
 * stream. */
static inline int64_t lane_quic_id(uint32_t number)
{
    return (int64_t)number * 4;
}

static inline uint32_t lane_quic_number(int64_t id)
{
    return (uint32_t)(id / 4);
}

/* --- coming in --- */

/* A DATAGRAM frame. */
void lane_quic_datagram(struct lane *l, const uint8_t *bytes, size_t n, uint64_t now_ms);
/* Bytes of a unidirectional stream: datagrams that are too long for a frame.  *side is the lane's
 * own word for the stream: NULL at first, kept by the caller, given back in
 * lane_quic_side_closed(). 0, -ERR_PROTO, -ERR_CLOSED. */
MUST_USE int lane_quic_side_data(struct lane *l, struct udp_side_in **side, const uint8_t *bytes,
                                 size_t n, uint64_t now_ms);
void lane_quic_side_closed(struct lane *l, struct udp_side_in *side); /* fine with NULL */
/* Hub: stream `number` (not 0) of the peer is open and silent.  The number of the one that is to be
 * reset at once, and counts no longer; 0: none. */
MUST_USE uint32_t lane_quic_silent_opened(struct lane *l, uint32_t number);
/* Its first byte is here, or it closed without. */
void lane_quic_silent_over(struct lane *l, uint32_t number);
/* Bytes of stream `number` (not 0).  `is_new`: the first of it.  0; -ERR_PROTO, -ERR_CLOSED: as
 * lane_input(). */
MUST_USE int lane_quic_data(struct lane *l, uint32_t number, bool is_new, const uint8_t *bytes,
                            size_t n, bool is_fin, uint64_t now_ms);
/* RESET_STREAM or STOP_SENDING came. */
void lane_quic_reset(struct lane *l, uint32_t number, uint64_t code);
/* The peer has n more of its bytes. */
void lane_quic_acked(struct lane *l, uint32_t number, uint64_t n);
/* The peer takes its bytes up to here. */
void lane_quic_credit(struct lane *l, uint32_t number, uint64_t upto);

/* --- going out: datagrams --- */

struct lane_quic_datagram {
    struct udp_session *session;
    uint8_t id[4];
    size_t count;                            /* of pieces: the id, then the payload */
    struct iovec pieces[UDP_PIECES_MAX + 1]; /* borrowed until the next call on the lane */
};
/* The datagram whose turn it is; those longer than `max`, their id included, go to the session's
 * side stream instead.  `are_streams_blocked`: the peer lends them nothing, and datagrams, which
 * need no credit, do not wait for theirs.  False: the turn is a stream's, or none is left.
 * lane_quic_datagram_done() must follow. */
MUST_USE bool lane_quic_pick_datagram(struct lane *l, uint64_t now_ms, size_t max,
                                      bool are_streams_blocked, struct lane_quic_datagram *out);
enum lane_quic_fate { DATAGRAM_SENT, DATAGRAM_LATER, DATAGRAM_TOO_BIG };
void lane_quic_datagram_done(struct lane *l, struct lane_quic_datagram *d, enum lane_quic_fate fate,
                             uint64_t now_ms);

/* Side streams: one a session, opened when its first long datagram comes.  One that has no QUIC
 * stream yet and wants a unidirectional one; or NULL. */
struct udp_side *lane_quic_next_side_to_open(struct lane *l);
void lane_quic_side_opened(struct udp_side *side, int64_t stream);
/* QUIC allows no more streams: what waits in it is dropped and counted. */
void lane_quic_side_refused(struct lane *l, struct udp_side *side);
/* One whose session is over: to be reset; gone with this call.  False: none. */
bool lane_quic_next_side_to_end(struct lane *l, int64_t *stream);
/* One that has bytes to send, in up to `max` pieces; or NULL. */
struct udp_side *lane_quic_pick_side(struct lane *l, int64_t *stream, struct iovec *out, size_t max,
                                     size_t *count);
void lane_quic_side_written(struct lane *l, struct udp_side *side, size_t n);
void lane_quic_side_acked(struct lane *l, int64_t stream, uint64_t n);
/* The peer takes no more of it now; and later it does again. */
void lane_quic_side_blocked(struct lane *l, struct udp_side *side);
void lane_quic_side_credit(struct lane *l, int64_t stream);

/* --- going out: streams --- */

/* Edge: opens stream `number`, the next one, for a client; results as lane_open_stream(), and
 * -ERR_LIMIT also when the peer's window does not take the PROXY line. */
MUST_USE int lane_quic_open(struct lane *l, struct stream *s, uint32_t number,
                            const struct proxy_header *client, uint64_t now_ms);
/* The next stream to shut down, and with which code; false: none. */
bool lane_quic_next_reset(struct lane *l, uint32_t *number, uint64_t *code);
/* The next stream whose credit is to be raised; false: none. */
bool lane_quic_next_credit(struct lane *l, uint32_t *number, uint32_t *bytes);
/* One of these two, or a side stream to open or to end, waits: sending brings them about, too. */
bool lane_quic_has_signs(const struct lane *l);
/* How large packets are now, and with how many bytes a bundle of them is full: so far ahead streams
 * read, and with fewer none begins one while its owner is about to add more. */
void lane_quic_set_packet(struct lane *l, size_t packet, size_t least);
/* Whose turn it is, and what it has to send: up to `max` pieces, `is_fin` when its end follows
 * behind them (perhaps without any).  NULL: nobody.  lane_quic_written() or lane_quic_return()
 * must follow before anything else is done with the lane. */
MUST_USE struct stream *lane_quic_pick(struct lane *l, uint64_t now_ms, struct iovec *out,
                                       size_t max, size_t *count, bool *is_fin);
/* n of the bytes are in a packet, and with `is_fin` the end too. */
void lane_quic_written(struct lane *l, struct stream *s, size_t n, bool is_fin, uint64_t now_ms);
/* It could not go: it is the next one again. */
void lane_quic_return(struct lane *l, struct stream *s);

#endif
