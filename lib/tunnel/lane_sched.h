/* lane_sched - whose turn it is to send data: two rings, normal and sustained.
 *
 * Normal streams go round robin.  Sustained ones (elephants) go last, but never get less than
 * 1 MB/s in all, or a tenth of what the lane drained in the last second where that is less. Control
 * is not here: it always goes first (lane.h).  Pure; the clock comes in.  (api/tunnel.md, QoS)
 */
#ifndef TUNNEL_LANE_SCHED_H
#define TUNNEL_LANE_SCHED_H

#include "tunnel/stream.h"

#define SCHED_TURN_BYTES       CHUNK_ROOM /* a turn: one full chunk, 16 KiB less a frame's header */
#define SCHED_FLOOR_RATE       1000000u   /* bytes a second for all sustained streams */
#define SCHED_SUSTAINED_AGE_MS 10000u
#define SCHED_SUSTAINED_RATE   2500000u /* bytes a second since OPEN: 20 Mbit/s */

struct lane_sched {
    struct list normal, sustained; /* streams by in_ring */
    uint64_t tokens;    /* bytes that sustained streams may send though normal ones wait */
    uint64_t earned_ms; /* when tokens were last added */
    uint64_t second_ms; /* when the running second began */
    uint64_t drained, drained_before; /* in the running second, in the one before */
};

void lane_sched_init(struct lane_sched *q, uint64_t now_ms);
/* The stream has something to send; its tier is looked at anew.  Fine when it is in already. */
void lane_sched_add(struct lane_sched *q, struct stream *s, uint64_t now_ms);
void lane_sched_remove(struct stream *s);
/* Whose turn it is (taken out of its ring), or NULL. */
struct stream *lane_sched_pick(struct lane_sched *q, uint64_t now_ms);
/* It was picked and could not use its turn: it is the next one again. */
void lane_sched_return(struct lane_sched *q, struct stream *s);
/* It sent n bytes. */
void lane_sched_drained(struct lane_sched *q, const struct stream *s, uint64_t n, uint64_t now_ms);
bool lane_sched_is_empty(const struct lane_sched *q);
/* How many streams wait, by tier (walks the ring: for status only). */
unsigned lane_sched_depth(const struct list *ring);

#endif
