/* lane_quic - a lane on a QUIC connection instead of one TLS connection.  Sans-I/O, like the rest.
 *
 * The same struct lane with the same states, streams, windows and scheduler; what differs is how it
 * travels.  The connection's first bidirectional stream, number 0, is the control stream:
 * lane_input() and lane_next_record() speak its messages (wire/channel.h).  Each client's
 * connection is a bidirectional stream of the edge; number k of the lane is QUIC's stream 4k.  Its
 * first bytes are the PROXY v1 line; its ends, resets and credit are QUIC's own:
 *
 *   lane                               QUIC
 *   a stream's bytes and FIN           STREAM frames                    lane_quic_pick, _data
 *   a reset (enum stream_reset)        RESET_STREAM and STOP_SENDING    lane_quic_next_reset,
 * _reset WINDOW_UPDATE                      MAX_STREAM_DATA                  lane_quic_next_credit,
 * _credit
 *
 * Bytes stay in the stream's sendq until lane_quic_acked(), since QUIC may have to send them again.
 * Whoever joins it to a connection (link/link_quic.c) takes resets before it asks for anything else
 * to send: after one the bytes are gone.  (api/tunnel.md, QUIC transport)
 */
#ifndef TUNNEL_LANE_QUIC_H
#define TUNNEL_LANE_QUIC_H

#include "tunnel/lane.h"

#define LANE_QUIC_OPENINGS_MAX 64u /* streams whose PROXY line is not whole yet; more are refused  \
                                    */

/* Instead of lane_init().  `window` is the credit that each of the peer's streams begins with,
 * `peer_window` what ours begin with: the transport parameters of both. */
void lane_quic_init(struct lane *l, enum lane_role role, const struct lane_ops *ops,
                    struct budget *budget, struct chunk_pool *pool, uint32_t window,
                    uint64_t peer_window, uint64_t now_ms);

static inline int64_t lane_quic_id(uint32_t number)
{
    return (int64_t)number * 4;
}

/* --- coming in --- */

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

/* --- going out --- */

/* Edge: opens stream `number`, the next one, for a client; results as lane_open_stream(), and
 * -ERR_LIMIT also when the peer's window does not take the PROXY line. */
MUST_USE int lane_quic_open(struct lane *l, struct stream *s, uint32_t number,
                            const struct proxy_header *client, uint64_t now_ms);
/* The next stream to shut down, and with which code; false: none. */
bool lane_quic_next_reset(struct lane *l, uint32_t *number, uint64_t *code);
/* The next stream whose credit is to be raised; false: none. */
bool lane_quic_next_credit(struct lane *l, uint32_t *number, uint32_t *bytes);
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
