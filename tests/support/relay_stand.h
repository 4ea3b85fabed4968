/* relay_stand - two relays of link/relay.h between real sockets, their streams in an edge's and a
 * hub's lane that are joined here in memory, and at both ends a talker that knows every byte that
 * must come.
 *
 *   client talker =tcp= relay -- stream -- edge's lane === hub's lane -- stream -- relay =tcp=
 * target talker
 *
 * Everything runs in one loop, as in a service; the tests wait for conditions.
 */
#ifndef SUPPORT_RELAY_STAND_H
#define SUPPORT_RELAY_STAND_H

#include "link/relay.h"
#include "tunnel/lane.h"

#define STAND_PATIENCE_MS                                                                          \
    60000 /* a machine whose memory for TCP is short sends again and again                         \
           */
#define STAND_PAIRS_MAX 64
#define EDGE            LANE_EDGE
#define HUB             LANE_HUB

/* The test's end of one socket. */
struct talker {
    int fd; /* owned; -1 when closed */
    struct loop_io io;
    uint64_t key;       /* what it says */
    uint64_t heard_key; /* what it must hear */
    const char *first;  /* what it must hear before that; or NULL */
    uint64_t first_len, to_say, said, heard;
    bool is_deaf;  /* reads nothing */
    bool says_end; /* FIN behind its last byte */
    bool has_said_end, has_heard_end, is_broken;
};

/* Goes on after the test has changed what it is to do. */
void talker_go(struct talker *t);
void talker_close(struct talker *t, bool is_reset);
/* A talker that waits for nothing is not told: so its socket is asked. */
bool talker_is_reset(const struct talker *t);

/* A relay with its stream, as a client or a forward has them. */
struct joint {
    struct stream stream;
    struct relay relay;
    unsigned done_count;
};

struct pair {
    struct joint edge, hub;
    struct talker client, target;
    int hub_fd; /* waits for the hub's relay; -1 */
};

extern struct relay_stand {
    struct loop *loop;
    uint64_t seed;
    struct budget budget[2];
    struct lane lane[2];
    struct ready pump;
    struct deadline tick;
    struct pair pairs[STAND_PAIRS_MAX];
    unsigned pair_count, opened_count;
    const char *prefix; /* of the hub's relays */
    bool is_cut;
    bool is_held; /* what the lanes have to send stays there */
    unsigned fds_before;
} stand;

void stand_up(void);
void stand_up_with(uint64_t memory_budget, size_t pool_cap);
/* Resets what the test left; then nothing may be held any more: streams, budget, chunks,
 * descriptors. */
void stand_down(void);
/* Nothing leaves the lanes, as when the path between them is full; false: it goes on. */
void stand_hold(bool is_held);
/* Both lanes are gone, as when their connection is. */
void stand_lose_lanes(void);
/* One more connection; buffer_bytes: of each socket, 0: as the system has it. */
struct pair *stand_join(uint64_t from_client, uint64_t from_target, int buffer_bytes);

/* The loop runs until the condition holds, or for so long. */
bool happens_within(bool (*is_true)(void), uint64_t ms);
#define UNTIL(is_true) ck_assert_msg(happens_within(is_true, STAND_PATIENCE_MS), "never: " #is_true)

#endif
