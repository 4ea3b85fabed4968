/* fake_quic - an edge and a hub, joined by one QUIC lane over a connection that exists only here.
 *
 *   client end -> stream -> edge's lane -> frames -> hub's lane -> stream -> target end
 *
 * What a QUIC connection does to a lane, and no more than that: the bytes of a stream come in
 * order, cut anywhere up to a packet's size, while streams overtake one another, the control stream
 * too; acknowledgements come later and in portions of any size; RESET_STREAM, STOP_SENDING and
 * MAX_STREAM_DATA travel by themselves, so that data, credit and resets meet in any order.  Lost
 * packets show as what they are to a lane: delay, and bytes that are read a second time.
 *
 * Bytes that are in a packet must stay where they are until they are acknowledged: each frame keeps
 * a copy and the place that it was made from, and both are compared when it is acknowledged and,
 * once in a while, as a retransmission would.  The pools keep no chunk, so that the address
 * sanitizer sees one that was given back too early.
 *
 * The machine that drives a lane does what link/link_quic.c does: resets first, then credit, the
 * control stream, and what lane_quic_pick() gives; and only after on_wake(), an event, a deadline,
 * or when packets may leave again.  A wake that the lane forgets is a failed assertion.  The clock
 * is fake: one millisecond a step.  Everything random comes from one seed.
 */
#ifndef SUPPORT_FAKE_QUIC_H
#define SUPPORT_FAKE_QUIC_H

#include "support/fake_end.h"
#include "support/fake_way.h"
#include "support/frame_tap.h"
#include "support/seeded.h"
#include "tunnel/lane_quic.h"

struct fake_quic_options {
    uint64_t seed;
    unsigned delay_min_ms, delay_max_ms; /* of a frame; of its acknowledgement the same again */
    unsigned packets;                    /* a millisecond and direction; 0: as many as there are */
    uint64_t memory_budget;              /* 0: 200 MiB */
    uint32_t stream_limit;               /* 0: 16,384 */
    uint32_t max_window;                 /* 0: 4 MiB */
    uint32_t initial_window;             /* 0: 64 KiB */
    unsigned check_every;                /* steps between whole checks; 0: 1 */
};

struct fake_quic_stream {
    struct fake_way way[TAP_SIDES]; /* by sender */
    bool is_known[TAP_SIDES];       /* to this side's link: it opened it, or bytes of it came */
};

struct fake_quic_side {
    struct fake_quic *net;
    unsigned number; /* TAP_EDGE, TAP_HUB */
    struct lane lane;
    struct budget budget;
    struct chunk_pool pool;
    bool is_awake;     /* the lane is to be asked */
    bool is_blocked;   /* all packets of this millisecond are gone */
    uint64_t armed_ms; /* when lane_tick() is due, as seen at the last run */
    char *control;     /* owned: the newest CONFIG or CONFIG_ACK that came */
    unsigned control_count, drain_count;
    unsigned resets[4]; /* shut down by this side, by code */
    int input_error;    /* the first one of lane_input() or lane_quic_data() */
    int tick_error;
};

struct fake_quic {
    struct fake_quic_options options;
    uint64_t seed, now_ms, steps;
    struct fake_quic_side side[TAP_SIDES];
    struct fake_quic_stream *streams; /* owned: by number; 0 is the control stream */
    uint32_t stream_count, stream_room;
    uint64_t verified; /* bytes that were still what they were */
    bool is_cut;
    bool is_deaf[TAP_SIDES];         /* what is sent to it is on its way for ever */
    bool is_control_deaf[TAP_SIDES]; /* of the control stream, no other */
    struct fake_pair *pairs;         /* owned */
    unsigned pair_count, done_count;
    unsigned refused_port;
    void (*on_step)(struct fake_quic *net); /* or NULL */
};

/* `plans` says what the n connections do; each is opened at its time. */
void fake_quic_init(struct fake_quic *net, const struct fake_quic_options *options,
                    const struct fake_plan *plans, unsigned n);
/* Whatever is left over of streams, budget or chunks fails the test. */
void fake_quic_fini(struct fake_quic *net);
void fake_quic_step(struct fake_quic *net);
/* Until all connections are done; fails the test when they aren't after max_ms. */
void fake_quic_run(struct fake_quic *net, uint64_t max_ms);
void fake_quic_run_for(struct fake_quic *net, uint64_t ms);
/* The connection is lost. */
void fake_quic_cut(struct fake_quic *net);
void fake_quic_check(const struct fake_quic *net);

#endif
