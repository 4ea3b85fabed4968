/* test_hub_udp_victims - which UDP flow goes for a new one of an edge that has its share and whose
 * lane has none: one of the edge that waits for a lane, as far as is looked.  A whole hub with one
 * worker, so that all flows are in one book.  (udp_book.h) */
#include "hub/edge_share.h"
#include "hub_tunnel_fixture.h"
#include "support/client_stream.h"
#include "support/errand.h"

#define SECRET_OF_E2 "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA"
#define LIMIT        200
#define ALONE        180 /* limits.edgeShare is 90 percent */

static void setup(void)
{
    hub_up((const char *const[]){"edges=[{\"id\":\"e1\",\"listenPortsUdp\":[53],"
                                 "\"secret\":\"" SECRET_OF_E1 "\"},"
                                 "{\"id\":\"e2\",\"listenPortsUdp\":[53],"
                                 "\"secret\":\"" SECRET_OF_E2 "\"}]",
                                 "workers=1", "limits.udpSessions=200", "target.host=127.0.0.1",
                                 NULL});
    ck_assert_uint_eq(hub.worker_count, 1);
}

static void teardown(void)
{
    hub_down();
}

static struct edge_share *share_of(const struct test_lane *t)
{
    return registry_find(&hub.registry, t->edge_id)->share;
}

/* --- the edges --------------------------------------------------------------------------------
 */

/* What one lane has opened: `count` clients, numbered from `first`. */
struct opened {
    struct udp_session sessions[LIMIT];
    unsigned first, count;
};

static void on_datagram(struct udp_session *u, const uint8_t *bytes, size_t n)
{
    (void)u, (void)bytes, (void)n;
}

static void on_closed(struct udp_session *u)
{
    (void)u; /* the condition that is waited for looks */
}

struct want {
    const struct edge_share *share;
    uint32_t flows;
};

static bool flows_are(void *arg)
{
    const struct want *w = arg;

    return atomic_load(&w->share->udp_flows) == w->flows;
}

static void open_one(struct test_lane *t, struct opened *o)
{
    struct proxy_header client = client_header(PROXY_DGRAM, (uint16_t)(o->first + o->count), 53);
    struct udp_session *u = &o->sessions[o->count++];

    udp_session_init(u, on_datagram, on_closed);
    ck_assert_int_eq(link_open_udp(t->link, u, &client), 0);
}

static void open_many(struct test_lane *t, struct opened *o, unsigned count)
{
    struct want w = {share_of(t), atomic_load(&share_of(t)->udp_flows) + count};

    for (unsigned i = 0; i < count; i++)
        open_one(t, o);
    UNTIL(flows_are, &w);
}

static void forget(struct opened *o)
{
    for (unsigned i = 0; i < o->count; i++)
        udp_session_release(&o->sessions[i]);
}

static unsigned open_of(const struct opened *o)
{
    unsigned n = 0;

    for (unsigned i = 0; i < o->count; i++)
        n += o->sessions[i].state == UDP_OPEN;
    return n;
}

/* --- the worker's list, which only the worker reads ------------------------------------------- */

static void count_orphans(void *arg)
{
    const struct udp_book *b = &hub.workers[0].udp;
    unsigned *count = arg;

    for (struct list *n = b->orphans.next; n != &b->orphans; n = n->next)
        (*count)++;
}

static unsigned orphans(void)
{
    unsigned count = 0;

    errand_run(hub.loop, hub.workers[0].loop, count_orphans, &count);
    return count;
}

/* The lane is lost: its flows are orphans. */
static void lose(struct test_lane *t, const struct opened *o)
{
    unsigned before = orphans(), n;
    uint64_t until_ms = clock_now_us() / 1000 + PATIENCE_MS;

    lane_down(t);
    while ((n = orphans()) != before + o->count)
        ck_assert_msg(clock_now_us() / 1000 < until_ms, "%u orphans of %u", n, before + o->count);
}

/* --- tests ------------------------------------------------------------------------------------ */

static bool is_closed(void *arg)
{
    return ((const struct udp_session *)arg)->state == UDP_CLOSED;
}

/* The flows of the edge's other lane are older, and in use: they stay. */
START_TEST(an_orphan_goes_before_a_flow_that_has_a_lane)
{
    static struct opened live, lost, fresh;
    struct test_lane a = {0}, b = {0}, c = {0};

    live.first = 1000, lost.first = 2000, fresh.first = 3000;
    edge_up(&a);
    lane_joins(&b, &a, 1);
    edge_up(&b);
    open_many(&a, &live, ALONE / 2);
    open_many(&b, &lost, ALONE / 2);
    lose(&b, &lost);
    lane_joins(&c, &a, 2);
    edge_up(&c);
    open_one(&c, &fresh);
    while (orphans() != ALONE / 2 - 1)
        ck_assert(fresh.sessions[0].state == UDP_OPEN);
    ck_assert_uint_eq(atomic_load(&share_of(&a)->udp_flows), ALONE);
    ck_assert_uint_eq(counted(&hub.shared.counters.udp_evicted), 1);
    ck_assert_uint_eq(open_of(&live), ALONE / 2);
    ck_assert_uint_eq(open_of(&fresh), 1);
    forget(&live);
    forget(&lost);
    forget(&fresh);
    lane_down(&a);
    lane_down(&c);
}
END_TEST

/* How many orphans of another edge stand in front of the edge's own, and whether that is found. */
static const struct {
    unsigned others;
    bool is_found;
} looks[] = {{0, true}, {UDP_VICTIM_LOOKS - 1, true}, {UDP_VICTIM_LOOKS, false}};

START_TEST(only_so_many_are_looked_at)
{
    static struct opened others, lost, fresh;
    struct test_lane other = {.edge_id = "e2", .secret = SECRET_OF_E2}, a = {0}, b = {0};
    const struct hub_counters *c = &hub.shared.counters;
    unsigned own = 0;

    others.first = 1000, lost.first = 2000, fresh.first = 3000;
    edge_up(&other);
    open_many(&other, &others, looks[_i].others);
    lose(&other, &others);
    edge_up(&a);
    while (budget_share_allows(own, looks[_i].others + own, LIMIT, hub.shared.share_percent))
        own++;
    open_many(&a, &lost, own);
    lose(&a, &lost);
    edge_up(&b); /* a session of its own: the edge was started again */
    open_one(&b, &fresh);
    if (looks[_i].is_found) {
        while (orphans() != looks[_i].others + own - 1)
            ck_assert_uint_eq(counted(&c->open_refusals[OPEN_SHARE]), 0);
        ck_assert_uint_eq(open_of(&fresh), 1);
    } else {
        UNTIL(is_closed, &fresh.sessions[0]);
        ck_assert_int_eq(fresh.sessions[0].end, UDP_END_ORDERLY);
        ck_assert_uint_eq(orphans(), looks[_i].others + own);
    }
    ck_assert_uint_eq(counted(&c->open_refusals[OPEN_SHARE]), !looks[_i].is_found);
    ck_assert_uint_eq(counted(&c->udp_evicted), looks[_i].is_found);
    ck_assert_uint_eq(atomic_load(&registry_find(&hub.registry, "e2")->share->udp_flows),
                      looks[_i].others);
    forget(&others);
    forget(&lost);
    forget(&fresh);
    lane_down(&b);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, an_orphan_goes_before_a_flow_that_has_a_lane);
    tcase_add_loop_test(tc, only_so_many_are_looked_at, 0, ARRAY_LEN(looks));
    return suite_run("udp_victims", tc);
}
