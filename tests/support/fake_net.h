/* fake_net - an edge and a hub, joined by one lane over a network that exists only here.
 *
 *   client end -> stream -> edge's lane -> pipe -> hub's lane -> stream -> target end
 *
 * The network carries bytes reliably and in order, as TCP does; but with a limited rate, a delay
 * that changes at random, a bounded queue, and cut into pieces anywhere.  The clock is fake and
 * goes on by one millisecond a step.  Everything random comes from one seed.
 *
 * The machine that drives a lane here does what link/ does and no more: it takes records only after
 * on_wake(), after input, after a deadline, or when its queue has room again; so a wake that the
 * lane forgets shows up as a failed assertion, not as a slow test.  After every step both lanes,
 * all streams, both budgets and (frame_tap) every frame on the wire are checked.
 */
#ifndef SUPPORT_FAKE_NET_H
#define SUPPORT_FAKE_NET_H

#include "support/fake_end.h"
#include "support/frame_tap.h"
#include "support/seeded.h"
#include "tunnel/lane.h"

struct fake_net_options {
    uint64_t seed;
    unsigned rate; /* bytes a millisecond and direction; 0: no limit */
    unsigned delay_min_ms, delay_max_ms;
    unsigned piece_max;      /* what comes in is cut at random, at most so long; 0: not cut */
    unsigned queue_bytes;    /* what a side's socket holds unsent; 0: 128 KiB */
    uint64_t memory_budget;  /* 0: 200 MiB */
    uint32_t stream_limit;   /* 0: 16,384 */
    uint32_t max_window;     /* 0: 4 MiB */
    uint32_t initial_window; /* 0: 64 KiB */
    uint32_t first_id;       /* 0: 1 */
    unsigned check_every;    /* steps between whole checks; 0: 1 */
};

struct fake_pipe {
    uint8_t *bytes; /* owned: [at, end) is on its way */
    size_t at, end, size;
    size_t sent; /* of [at, end): has left the sender's queue */
    struct fake_part {
        uint64_t due_ms;
        size_t n;
    } * parts; /* owned: what has left, in order */
    size_t parts_at, parts_end, parts_size;
    uint64_t newest_due_ms;
};

struct fake_side {
    struct fake_net *net;
    unsigned number; /* TAP_EDGE, TAP_HUB */
    struct lane lane;
    struct budget budget;
    struct chunk_pool pool;
    struct fake_pipe out;
    bool is_awake;     /* lane_next_record() is to be asked */
    bool is_blocked;   /* its queue was full */
    bool is_deaf;      /* takes nothing from the wire */
    uint64_t armed_ms; /* when lane_tick() is due, as seen at the last run */
    char *control;     /* owned: the newest CONFIG or CONFIG_ACK that came */
    unsigned control_count, drain_count;
    int input_error; /* the first one of lane_input() */
    int tick_error;
};

struct fake_net {
    struct fake_net_options options;
    uint64_t seed, now_ms, steps;
    struct fake_side side[TAP_SIDES];
    struct frame_tap tap;
    bool is_cut;
    struct fake_pair *pairs; /* owned */
    unsigned pair_count, done_count;
    unsigned refused_port;                 /* a port that is in no configuration */
    void (*on_step)(struct fake_net *net); /* or NULL: more to check or to do after every step */
    void *user;
};

/* `plans` says what the n connections do; each is opened at its time. */
void fake_net_init(struct fake_net *net, const struct fake_net_options *options,
                   const struct fake_plan *plans, unsigned n);
/* Both lanes are gone; whatever is left over of streams, budget or chunks fails the test. */
void fake_net_fini(struct fake_net *net);
/* One millisecond. */
void fake_net_step(struct fake_net *net);
/* Until all connections are done; fails the test when they aren't after max_ms. */
void fake_net_run(struct fake_net *net, uint64_t max_ms);
void fake_net_run_for(struct fake_net *net, uint64_t ms);
/* The connection between both is lost: what was under way is gone. */
void fake_net_cut(struct fake_net *net);
/* Everything that the lanes hold against what they may. */
void fake_net_check(const struct fake_net *net);

#endif
