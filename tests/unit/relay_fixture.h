/* relay_fixture - what tests of relays wait for and look at, in the stand of
 * tests/support/relay_stand.h: mostly its first pair. */
#ifndef TESTS_UNIT_RELAY_FIXTURE_H
#define TESTS_UNIT_RELAY_FIXTURE_H

#include <check.h>
#include <stdlib.h>

#include "support/relay_stand.h"

static inline bool all_done(void)
{
    for (unsigned i = 0; i < stand.pair_count; i++)
        if (!stand.pairs[i].edge.done_count || !stand.pairs[i].hub.done_count)
            return false;
    return true;
}

static inline bool all_ended(void)
{
    for (unsigned i = 0; i < stand.pair_count; i++)
        if (!stand.pairs[i].client.has_heard_end || !stand.pairs[i].target.has_heard_end)
            return false;
    return all_done();
}

static inline bool target_has_heard_all(void)
{
    return stand.pairs[0].target.heard ==
           stand.pairs[0].target.first_len + stand.pairs[0].client.to_say;
}

static inline bool target_has_heard_end(void)
{
    return stand.pairs[0].target.has_heard_end;
}

static inline bool client_has_heard_end(void)
{
    return stand.pairs[0].client.has_heard_end;
}

/* Both sides have ended it. */
static inline bool edge_socket_is_closed(void)
{
    return stand.pairs[0].edge.relay.fd < 0;
}

/* The edge's relay waits for nothing but room, or nothing but the other side: its watcher is off.
 */
static inline bool edge_is_blind(void)
{
    const struct relay *r = &stand.pairs[0].edge.relay;

    return r->state == RELAY_MOVING && !ev_is_active(&r->io.ev) && list_is_empty(&r->ready.node);
}

/* For good: nobody takes anything at the other end. */
static inline bool edge_is_out_of_room(void)
{
    const struct pair *p = &stand.pairs[0];

    return edge_is_blind() && p->edge.stream.feed == FEED_STARVED && p->edge.stream.credit == 0 &&
           p->hub.relay.write_blocked;
}

static inline void check_exact(const struct pair *p)
{
    ck_assert_uint_eq(p->target.heard, p->target.first_len + p->client.to_say);
    ck_assert_uint_eq(p->client.heard, p->target.to_say);
    ck_assert_uint_eq(p->edge.done_count, 1);
    ck_assert_uint_eq(p->hub.done_count, 1);
    ck_assert_int_eq(p->edge.relay.end, RELAY_ENDED);
    ck_assert_int_eq(p->hub.relay.end, RELAY_ENDED);
    ck_assert_int_eq(p->edge.stream.state, STREAM_ENDED);
    ck_assert_int_eq(p->hub.stream.state, STREAM_ENDED);
}

#endif
