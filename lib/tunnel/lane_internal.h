/* lane_internal - what the files of a lane share: lane.c (life, time), lane_in.c (frames in),
 * lane_out.c (records out) and stream.c.  Not for others. */
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

/* A reset (or refusal) for the peer, as one byte of CLOSE, CLOSE_BACK or UDP_CLOSE. */
void lane_queue_reset(struct lane *l, uint32_t id, enum stream_reset code, bool is_udp);

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
/* Both directions ended: leaves the table. */
void stream_end_if_done(struct stream *s);
/* Credit is due (at rest: all of it): queues a WINDOW_UPDATE. */
void stream_return_credit(struct stream *s, bool at_rest);
/* The same without waking the lane; false: none is due. */
bool stream_grant_credit(struct stream *s, bool at_rest);
/* Puts it into the ring when it has data or a FIN to send. */
void stream_schedule(struct stream *s, uint64_t now_ms);
/* n bytes of the send queue went out; on QUIC they are kept until stream_acked(). */
void stream_sent(struct stream *s, size_t n);
/* The peer has n more of the bytes that went out. */
void stream_acked(struct stream *s, uint64_t n);
void stream_changed(struct stream *s);

#endif
