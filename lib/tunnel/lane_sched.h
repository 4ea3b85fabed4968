/* lane_sched - whose turn it is to send data: normal streams and UDP sessions, and sustained
 * streams.
 *
 * Normal streams and UDP sessions go round robin, as if they were in one ring: each takes a number
 * when it joins its ring, and the lower one goes first.  A turn is a full chunk on TLS and a packet
 * on QUIC, and goes on until it has had what the lane drains in SCHED_TURN_US, by the faster one of
 * this second and the last: on a lane that is slow nobody waits longer for that, on a fast one the
 * other end gets a stream's bytes in pieces that are worth a system call.  A small rest of what it
 * had when its turn ended, and its FIN, go with the turn: else they were a piece of their own.
 *
 * Sustained ones (elephants) go last, but never get less than 1 MB/s in all, or a tenth of what the
 * lane drained in the last second where that is less. Control is not here: it always goes first
 * (lane.h).  Pure; the clock comes in.
 * (api/tunnel.md, QoS)
 */
#ifndef TUNNEL_LANE_SCHED_H
#define TUNNEL_LANE_SCHED_H

#include "tunnel/stream.h"
#include "tunnel/udp_session.h"

#define SCHED_TURN_BYTES       CHUNK_ROOM /* one full chunk: 16 KiB less a frame's header */
#define SCHED_TURN_US          250u
#define SCHED_TURN_MAX         (8u * CHUNK_ROOM) /* a turn ends that had so much */
#define SCHED_REST_PART        4u       /* a rest goes with a turn that is so many times as long, */
#define SCHED_REST_MAX         4096u    /* if it is no longer than that */
#define SCHED_FLOOR_RATE       1000000u /* bytes a second for all sustained streams */
#define SCHED_SUSTAINED_AGE_MS 10000u
#define SCHED_SUSTAINED_RATE   2500000u /* bytes a second since OPEN: 20 Mbit/s */

struct lane_sched {
    struct list normal, sustained; /* streams by in_ring */
    struct list udp;               /* UDP sessions by in_ring */
    uint64_t turns;                /* numbers given so far */
    uint32_t turn_bytes;           /* a turn ends that had so much */
    uint64_t tokens;    /* bytes that sustained streams may send though normal ones wait */
    uint64_t earned_ms; /* when tokens were last added */
    uint64_t second_ms; /* when the running second began */
    uint64_t drained, drained_before; /* in the running second, in the one before */
};

void lane_sched_init(struct lane_sched *q, uint64_t now_ms);
/* The stream has something to send; its tier is looked at anew.  Fine when it is in already. */
void lane_sched_add(struct lane_sched *q, struct stream *s, uint64_t now_ms);
void lane_sched_remove(struct stream *s);
/* The same for a UDP session that has datagrams. */
void lane_sched_add_udp(struct lane_sched *q, struct udp_session *u);
void lane_sched_remove_udp(struct udp_session *u);
/* The next turn is a UDP session's: lane_sched_pick_udp(), not lane_sched_pick(). */
bool lane_sched_is_udp_next(const struct lane_sched *q);
bool lane_sched_has_udp(const struct lane_sched *q);
struct udp_session *lane_sched_pick_udp(struct lane_sched *q);
/* Which stream's turn it is (taken out of its ring), or NULL. */
struct stream *lane_sched_pick(struct lane_sched *q, uint64_t now_ms);
/* It was picked, has sent, and has more: it is the next one again while its turn lasts. */
void lane_sched_go_on(struct lane_sched *q, struct stream *s, uint64_t now_ms);
void lane_sched_go_on_udp(struct lane_sched *q, struct udp_session *u);
/* It was picked and could not use its turn: it is the next one again. */
void lane_sched_return(struct lane_sched *q, struct stream *s);
void lane_sched_return_udp(struct lane_sched *q, struct udp_session *u);
/* It sent n bytes. */
void lane_sched_drained(struct lane_sched *q, struct stream *s, uint64_t n, uint64_t now_ms);
void lane_sched_drained_udp(struct lane_sched *q, struct udp_session *u, uint64_t n,
                            uint64_t now_ms);
bool lane_sched_is_empty(const struct lane_sched *q);
/* How many wait in a ring (walks the ring: for status only). */
unsigned lane_sched_depth(const struct list *ring);

#endif
