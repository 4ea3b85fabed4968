/* fake_end - the two ends of a connection through a fake_net or a fake_quic: they stand for a relay
 * and its socket.
 *
 * An end writes the bytes of its plan as the stream takes them and reads what comes, byte for byte
 * against what the other end's plan says.  Like a relay it does nothing without a reason: it writes
 * while stream_reserve() gives room, and after that only when on_change() has come.
 */
#ifndef SUPPORT_FAKE_END_H
#define SUPPORT_FAKE_END_H

#include "tunnel/stream.h"

enum fake_finish {
    FINISH_AT_END,     /* FIN behind the last byte */
    FINISH_AFTER_PEER, /* FIN once the other side's end was read */
    FINISH_NEVER,      /* holds its direction open */
    FINISH_BY_RESET,   /* resets once its last byte was handed in */
};

#define FAKE_FAST UINT32_MAX

struct fake_plan_end {
    uint64_t bytes;     /* to write */
    uint32_t write_max; /* a millisecond, at most; FAKE_FAST: no limit; 0: never */
    uint32_t read_max;  /* the same; 0: stalled */
    enum fake_finish finish;
    uint64_t reset_at; /* resets once it has read and written so much; 0: doesn't */
};

struct fake_plan {
    uint64_t open_at_ms;
    uint16_t port; /* 0: 443 */
    struct fake_plan_end client, target;
};

struct fake_end {
    struct stream stream;
    const uint64_t *now_ms; /* borrowed from the network, as all here */
    uint64_t *seed;
    struct fake_pair *pair;
    unsigned number; /* TAP_EDGE: the client; TAP_HUB: the target */
    bool is_started;
    bool may_write, may_read; /* on_change() came, or it has not failed since */
    bool has_finished;        /* FIN or reset was asked for */
    bool is_over;             /* ended or reset, and all that came was read */
    uint64_t written, taken;
    uint64_t changes;
    uint64_t last_change_ms, over_ms;
};

struct fake_pair {
    struct fake_plan plan;
    uint64_t key; /* of the content */
    struct fake_end end[2];
    bool is_opened;  /* OPEN was queued */
    bool is_refused; /* lane_open_stream() refused, or the hub did */
    int open_error;
    bool is_done;
};

void fake_end_start(struct fake_end *end, const uint64_t *now_ms, uint64_t *seed,
                    struct fake_pair *pair, unsigned number);
/* One millisecond of this end. */
void fake_end_run(struct fake_end *end);
void fake_end_check(const struct fake_end *end);
/* Both ended in order and all bytes came. */
bool fake_pair_is_exact(const struct fake_pair *pair);
/* Random sizes, readers and writers; every plan ends in order. */
void fake_plans_random(struct fake_plan *plans, unsigned n, uint64_t *seed);

#endif
