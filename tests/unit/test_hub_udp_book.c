/* UDP flows against a whole hub with two workers over real TLS: where a flow is found again, what
 * is refused, what goes when there is no room.  (udp_book.h, udp_flow.h) */
#include "hub_udp_fixture.h"
#include "support/errand.h"
#include "support/suite.h"

START_TEST(a_flow_is_the_same_on_every_lane)
{
    static const unsigned one = 1;
    struct test_lane a = {0}, b = {0};
    struct test_session first = {0}, second = {0};

    udp_up(NULL);
    edge_up(&a);
    lane_joins(&b, &a, 1);
    edge_up(&b); /* on the other worker */
    session_up(&a, &first, 5000, 53);
    ask(&first, "one");
    for (unsigned i = 0; i < 6; i++) { /* to and fro; the lane that is left is told */
        struct test_session *from = i % 2 ? &second : &first, *to = i % 2 ? &first : &second;

        session_up(i % 2 ? &a : &b, to, 5000, 53);
        ask(to, "two");
        UNTIL(is_closed, from);
        ck_assert_int_eq(from->session.end, UDP_END_ORDERLY);
    }
    session_up(&a, &second, 5000, 53); /* and on the same lane */
    ask(&second, "three");
    UNTIL(is_closed, &first);
    for (unsigned i = 1; i < target.count; i++)
        ck_assert(addr_is_same(&target.peers[i], &target.peers[0]));
    ck_assert_uint_eq(counted(&hub.shared.counters.udp_moved), 7);
    UNTIL(flows_are, (void *)(uintptr_t)&one);
    udp_session_release(&first.session);
    udp_session_release(&second.session);
    lane_down(&a);
    lane_down(&b);
    udp_down();
}
END_TEST

START_TEST(a_flow_outlives_its_lane)
{
    static const unsigned none = 0;
    struct test_lane a = {0}, b = {0}, c = {0};
    struct test_session s = {0}, last = {0};

    udp_up(NULL);
    edge_up(&a);
    lane_joins(&b, &a, 1);
    edge_up(&b);
    session_up(&a, &s, 5000, 53);
    ask(&s, "one");
    link_free(a.link);
    a.link = NULL;
    ck_assert_int_eq(s.session.end, UDP_END_LANE_LOST);
    lane_joins(&c, &a, 2);
    edge_up(&c);
    session_up(&b, &s, 5000, 53);
    ask(&s, "two");
    session_up(&c, &last, 5000, 53);
    ask(&last, "three");
    ck_assert(addr_is_same(&target.peers[1], &target.peers[0]));
    ck_assert(addr_is_same(&target.peers[2], &target.peers[0]));
    UNTIL(is_closed, &s);
    udp_session_release(&s.session);
    udp_session_release(&last.session);
    UNTIL(flows_are, (void *)(uintptr_t)&none);
    lane_down(&a);
    lane_down(&b);
    lane_down(&c);
    udp_down();
}
END_TEST

/* Of one worker. */
struct orphans {
    struct udp_book *book;
    unsigned count;
    uint64_t age_ms; /* so much older they become */
};

static void age_orphans(void *arg)
{
    struct orphans *o = arg;

    o->count = 0;
    for (struct list *n = o->book->orphans.next; n != &o->book->orphans; n = n->next) {
        container_of(n, struct udp_flow, in_orphans)->orphan_ms -= o->age_ms;
        o->count++;
    }
}

static unsigned orphans_after(uint64_t ms)
{
    unsigned count = 0;

    for (unsigned i = 0; i < hub.worker_count; i++) {
        struct orphans o = {.book = &hub.workers[i].udp, .age_ms = ms};

        errand_run(hub.loop, hub.workers[i].loop, age_orphans, &o);
        count += o.count;
    }
    return count;
}

static bool is_orphaned(void *arg)
{
    (void)arg;
    return orphans_after(0) == 1;
}

/* The edge does not come back: its sockets go. */
START_TEST(an_orphan_is_kept_for_so_long)
{
    static const unsigned none = 0;
    struct test_lane a = {0};
    struct test_session s = {0};

    udp_up(NULL);
    edge_up(&a);
    session_up(&a, &s, 5000, 53);
    ask(&s, "one");
    link_free(a.link);
    a.link = NULL;
    while (!is_orphaned(NULL))
        ck_assert_uint_eq(atomic_load(&hub.shared.udp_flows), 1);
    ck_assert_uint_eq(orphans_after(UDP_ORPHAN_MS), 1);
    UNTIL(flows_are, (void *)(uintptr_t)&none);
    ck_assert_uint_eq(orphans_after(0), 0);
    udp_session_release(&s.session);
    lane_down(&a);
    udp_down();
}
END_TEST

START_TEST(what_is_not_allowed_is_refused)
{
    struct test_session s = {0}, good = {0};
    struct test_lane t = {0};

    udp_up(NULL);
    edge_up(&t);
    session_up(&t, &s, 5000, 55);
    UNTIL(is_closed, &s);
    ck_assert_int_eq(s.session.end, UDP_END_NOT_ALLOWED);
    session_up(&t, &good, 5001, 53);
    ask(&good, "fine");
    ck_assert_uint_eq(counted(&hub.shared.counters.open_refusals[OPEN_PORT]), 1);
    udp_session_release(&s.session);
    udp_session_release(&good.session);
    lane_down(&t);
    udp_down();
}
END_TEST

static bool has_config(void *arg)
{
    return ((struct test_lane *)arg)->configs > 0;
}

/* On the worker: what fades has faded just now. */
static void end_grace(void *arg)
{
    struct hub_worker *w = arg;

    LIST_EACH (&w->lanes, node, after) {
        struct authority *a = &container_of(node, struct hub_lane, node)->authority.udp;

        for (size_t i = 0; i < a->fading_count; i++)
            a->fading[i].until_ms = loop_now_ms(w->loop) + 1;
    }
}

/* Opened within the time of grace, by an edge that acknowledges nothing. */
START_TEST(a_flow_ends_with_the_grace_of_its_port)
{
    struct test_session s = {0}, kept = {0}, late = {0};
    struct test_lane t = {0};
    struct edge_spec spec;
    unsigned change;

    udp_up((const char *const[]){"workers=1", NULL});
    edge_up(&t);
    t.acks = false;
    edge_spec_of(&spec, registry_find(&hub.registry, "e1"));
    port_list_fini(&spec.ports_udp);
    port_list_set(&spec.ports_udp, (const uint16_t[]){54}, 1);
    ck_assert_int_eq(hub_put_edge(&hub, &spec, &change), 0);
    edge_spec_fini(&spec);
    UNTIL(has_config, &t);
    session_up(&t, &s, 5000, 53);
    session_up(&t, &kept, 5000, 54);
    ask(&s, "one");
    errand_run(hub.loop, hub.workers[0].loop, end_grace, &hub.workers[0]);
    UNTIL(is_closed, &s);
    ck_assert_int_eq(s.session.end, UDP_END_NOT_ALLOWED);
    session_up(&t, &late, 5001, 53);
    UNTIL(is_closed, &late);
    ck_assert_int_eq(late.session.end, UDP_END_NOT_ALLOWED);
    ck_assert_int_eq(kept.session.state, UDP_OPEN);
    udp_session_release(&s.session);
    udp_session_release(&kept.session);
    udp_session_release(&late.session);
    lane_down(&t);
    udp_down();
}
END_TEST

START_TEST(past_the_limit_the_least_recently_used_goes)
{
    struct test_session s[3] = {0};
    struct test_lane t = {0};

    udp_up((const char *const[]){"limits.udpSessions=2", NULL});
    edge_up(&t);
    for (uint16_t i = 0; i < 3; i++) {
        session_up(&t, &s[i], (uint16_t)(5000 + i), 53);
        ask(&s[i], "here");
        if (i == 1)
            ask(&s[0], "still here");
    }
    UNTIL(is_closed, &s[1]);
    ask(&s[0], "and now");
    ck_assert_uint_eq(counted(&hub.shared.counters.udp_evicted), 1);
    for (unsigned i = 0; i < 3; i++)
        udp_session_release(&s[i].session);
    lane_down(&t);
    udp_down();
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, a_flow_is_the_same_on_every_lane);
    tcase_add_test(tc, a_flow_outlives_its_lane);
    tcase_add_test(tc, an_orphan_is_kept_for_so_long);
    tcase_add_test(tc, what_is_not_allowed_is_refused);
    tcase_add_test(tc, a_flow_ends_with_the_grace_of_its_port);
    tcase_add_test(tc, past_the_limit_the_least_recently_used_goes);
    return suite_run("udp_book", tc);
}
