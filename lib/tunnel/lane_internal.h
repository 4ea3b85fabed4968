/* lane_internal - what the files of a lane share: lane.c (life, time), lane_in.c (frames in),
 * lane_out.c (records out), lane_udp.c (UDP sessions), lane_quic*.c, stream.c, stream_feed.c and
 * udp_session.c.  Not for others.
 */
#ifndef TUNNEL_LANE_INTERNAL_H
#define TUNNEL_LANE_INTERNAL_H

#include "tunnel/lane.h"

/* Ends the lane: first error wins.  `fault` is kept; a GOODBYE may still be sent. */
void lane_end(struct lane *l, int error, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The protocol was broken: lane_end() and GOODBYE protocol_error. */
int lane_break(struct lane *l, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_USE;
void lane_wake(struct lane *l);
/* A DRAIN, of either side: what is open then is reset.  It can only come earlier. */
void lane_drain_by(struct lane *l, uint64_t deadline_ms);

/* A stream got no chunk: tell all that starve in a while that they may try again. */
void lane_retry_later(struct lane *l);

/* A reset (or refusal) for the peer, as one byte of CLOSE or CLOSE_BACK. */
void lane_queue_reset(struct lane *l, uint32_t id, enum stream_reset code);
/* A ring of what waits to be told; too many end the lane (GOODBYE overloaded). */
void lane_reset_ring_push(struct lane *l, struct lane_reset_ring *ring, struct lane_reset what);
const struct lane_reset *lane_reset_ring_first(const struct lane_reset_ring *ring); /* or NULL */
void lane_reset_ring_pop(struct lane_reset_ring *ring);

/* lane_out.c: into the record that is being made. */
size_t lane_batch_room(const struct lane *l);
void lane_put(struct lane *l, const void *src, size_t n); /* n <= lane_batch_room() */
/* A short frame, whole or not at all. */
bool lane_put_frame(struct lane *l, uint32_t id, enum frame_type type, const void *payload,
                    size_t n);

/* Hub: a client's connection wants in as stream `id`, its PROXY line is parsed.  0, -ERR_PROTO. */
MUST_USE int lane_accept(struct lane *l, uint32_t id, const struct proxy_header *client);
/* n bytes of payload came for the stream; it may be reset by it (no memory). */
void lane_take_data(struct lane *l, struct stream *s, const uint8_t *bytes, size_t n);
/* The peer's FIN. */
void lane_take_fin(struct stream *s);
/* n bytes of payload of a stream went out. */
void lane_count_out(struct lane *l, size_t n);

/* The stream joins and leaves the lane; leaving keeps its received bytes. */
MUST_USE int stream_join(struct stream *s, struct lane *l, uint32_t id, uint64_t now_ms);
/* The only writer of s->state. */
void stream_enter(struct stream *s, enum stream_state to, enum stream_reset code);
/* The peer's reset: what came before it stays readable. */
void stream_reset_by_peer(struct stream *s, enum stream_reset code);
/* Any other: it is thrown away.  Whoever calls it tells the owner where that is another. */
void stream_drop(struct stream *s, enum stream_reset code);
/* Bytes or a FIN went out: its owner is told if they were the last that it waits for. */
void stream_tell_flushed(struct stream *s);
/* Both directions ended: leaves the table. */
void stream_end_if_done(struct stream *s);
/* Queues a WINDOW_UPDATE if credit is due (at rest it is sooner: window_grant()). */
void stream_return_credit(struct stream *s, bool at_rest);
/* The same without waking the lane; false: none is due. */
bool stream_grant_credit(struct stream *s, bool at_rest);
/* Puts it into the ring when it has data or a FIN to send. */
void stream_schedule(struct stream *s, uint64_t now_ms);
/* The same for one that was picked and sent: in front, while its turn lasts. */
void stream_go_on(struct stream *s, uint64_t now_ms);
/* n bytes of the send queue went out; on QUIC they are kept until stream_acked(). */
void stream_sent(struct stream *s, size_t n);
/* The peer has n more of the bytes that went out. */
void stream_acked(struct stream *s, uint64_t n);
void stream_changed(struct stream *s);

/* The highest id so far of the space that UDP sessions have. */
uint32_t *lane_highest_udp(struct lane *l);
/* lane_quic.c: what silent streams took from the budget goes back. */
void lane_silent_end(struct lane *l);
/* lane_quic_udp.c: datagrams that came before their UDP_OPEN. */
void lane_early_deliver(struct lane *l, struct udp_session *u);
void lane_early_expire(struct lane *l);
uint64_t lane_early_due(const struct lane *l); /* UINT64_MAX: none waits */
void lane_early_free(struct lane *l);
/* lane_quic_side.c: its first datagram, too long for a frame, goes into its side stream or is
 * dropped. */
void lane_side_send(struct lane *l, struct udp_session *u, const struct udp_datagram *d);
void lane_side_end(struct udp_session *u);      /* the session is over */
bool lane_has_side_signs(const struct lane *l); /* one to open or to end */
void lane_sides_free(struct lane *l);

/* udp_session.c.  0, -ERR_LIMIT, -ERR_NOMEM. */
MUST_USE int udp_session_join(struct udp_session *u, struct lane *l, uint32_t id);
/* The only writer of u->state. */
void udp_session_enter(struct udp_session *u, enum udp_state to, enum udp_end end);

/* lane_udp.c: frames in, their payload whole (but lane_take_datagram(), which gets it piece by
 * piece). */
MUST_USE int lane_on_udp_open(struct lane *l, const uint8_t *payload, size_t n);
MUST_USE int lane_on_udp_close(struct lane *l, const uint8_t *payload);
void lane_on_datagram(struct lane *l, const uint8_t *bytes, size_t n);
/* To the session, counted; `u` NULL: it has ended. */
void lane_deliver_datagram(struct lane *l, struct udp_session *u, const uint8_t *bytes, size_t n);
void lane_take_datagram(struct lane *l, const uint8_t *bytes, size_t n);
/* Frames out.  False: it did not fit, the rest goes into the next record. */
bool lane_put_udp_opens(struct lane *l, uint32_t below_id); /* all with a lower id */
bool lane_put_udp_close(struct lane *l);                    /* one, if one waits */
bool lane_put_rest(struct lane *l);
bool lane_put_udp_turn(struct lane *l, uint64_t now_ms); /* one waits: lane_sched_is_udp_next() */
struct udp_session *lane_find_udp(const struct lane *l, uint32_t id);
void lane_queue_udp_close(struct lane *l, uint32_t id, enum udp_end end);
/* All UDP sessions are closed and told; the peer hears of it unless the lane is lost. */
void lane_close_udp(struct lane *l, enum udp_end end);
void lane_check_udp(const struct lane *l);

#endif
