/* test_hub_udp_heirs - a UDP flow that is claimed while the worker that has it is held up: who
 * waits, who inherits its socket, and that none is left over.  A whole hub with three workers, so
 * that the two that claim it and the directory can run meanwhile.  (udp_book.h) */
#include <semaphore.h>

#include "hub_udp_fixture.h"
#include "support/errand.h"
#include "support/suite.h"

#define WORKERS   3
#define LANES_MAX 12

/* --- what a worker's book has, which only the worker reads ------------------------------------ */

struct look {
    const struct udp_book *book;
    size_t flows, names;
    bool has_heir;  /* its newest flow */
    size_t waiting; /* bytes for that one's socket */
};

static void take_look(void *arg)
{
    struct look *l = arg;
    const struct udp_book *b = l->book;
    const struct udp_flow *newest = container_of(b->lru.prev, struct udp_flow, in_lru);

    l->flows = b->count;
    if (b->count > 0) {
        l->has_heir = newest->has_heir;
        l->waiting = newest->waiting.len;
    }
    for (unsigned i = 0; b->names && i < UDP_BOOK_BUCKETS; i++)
        l->names += !list_is_empty(&b->names[i]);
}

static struct look look_at(unsigned worker)
{
    struct look l = {.book = &hub.workers[worker].udp};

    errand_run(hub.loop, hub.workers[worker].loop, take_look, &l);
    return l;
}

/* --- a worker that is held up ----------------------------------------------------------------- */

struct hold {
    struct task task;
    sem_t has_begun, may_end;
};

static void on_hold(struct task *task)
{
    struct hold *h = container_of(task, struct hold, task);

    ck_assert_int_eq(sem_post(&h->has_begun), 0);
    while (sem_wait(&h->may_end) != 0)
        continue;
}

static void hold_up(struct hold *h, unsigned worker)
{
    h->task.run = on_hold;
    ck_assert_int_eq(sem_init(&h->has_begun, 0, 0), 0);
    ck_assert_int_eq(sem_init(&h->may_end, 0, 0), 0);
    loop_post(hub.workers[worker].loop, &h->task);
    while (sem_wait(&h->has_begun) != 0)
        continue;
}

static void let_go(struct hold *h)
{
    ck_assert_int_eq(sem_post(&h->may_end), 0);
}

/* --- the stand -------------------------------------------------------------------------------- */

static struct test_lane lanes[LANES_MAX];
static unsigned lane_count;
static struct test_lane *lane_of[WORKERS]; /* one on each */
static unsigned keeper, holder, others[2]; /* the directory; who has the flow; who claims it */
static uint16_t client = 5000;
static struct test_session held; /* on the holder's lane */
static union addr home;          /* of its socket */
static struct hold hold;

static bool nothing_is_left(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < WORKERS; i++) {
        struct look l = look_at(i);

        if (l.flows + l.names > 0)
            return false;
    }
    return true;
}

/* The edge's, which the hub then forgets. */
static void session_ends(struct test_session *s)
{
    udp_session_release(&s->session);
    for (uint64_t due_ms = clock_now_us() / 1000 + PATIENCE_MS; !nothing_is_left(NULL);)
        ck_assert_msg(clock_now_us() / 1000 < due_ms, "never: a flow is forgotten");
}

/* The worker that has the one flow, and the one that keeps its name. */
static void find_it(unsigned *has_flow, unsigned *has_name)
{
    unsigned flows = 0, names = 0;

    for (unsigned i = 0; i < WORKERS; i++) {
        struct look l = look_at(i);

        flows += (unsigned)l.flows;
        names += (unsigned)l.names;
        if (l.flows > 0)
            *has_flow = i;
        if (l.names > 0)
            *has_name = i;
    }
    ck_assert_uint_eq(flows, 1);
    ck_assert_uint_eq(names, 1);
}

/* More lanes, until each worker has one. */
static void lanes_up(void)
{
    for (unsigned found = 0; found < WORKERS;) {
        struct test_lane *t = &lanes[lane_count];
        struct test_session s = {0};
        unsigned worker = 0;

        ck_assert_uint_lt(lane_count, LANES_MAX);
        if (lane_count > 0)
            lane_joins(t, &lanes[0], lane_count);
        lane_count++;
        edge_up(t);
        session_up(t, &s, client, 53);
        ask(&s, "where");
        find_it(&worker, &keeper);
        found += lane_of[worker] == NULL;
        lane_of[worker] = t;
        session_ends(&s);
    }
}

/* A client's flow is on the holder, which is held up from now on, and another keeps its name. */
static void setup(void)
{
    udp_up((const char *const[]){"workers=3", NULL});
    lanes_up();
    holder = 0;
    for (;;) {
        session_up(lane_of[holder], &held, ++client, 53);
        ask(&held, "one");
        find_it(&holder, &keeper);
        if (keeper != holder)
            break;
        session_ends(&held);
    }
    home = target.peers[target.count - 1];
    others[0] = 1;
    others[1] = 2;
    hold_up(&hold, holder);
}

static void teardown(void)
{
    static const unsigned none = 0;

    udp_session_release(&held.session);
    UNTIL(flows_are, (void *)(uintptr_t)&none);
    for (unsigned i = 0; i < lane_count; i++)
        lane_down(&lanes[i]);
    udp_down();
}

/* A worker's flow claims; what the directory makes of it has been told to whom it concerns. */
static void claim(unsigned worker, struct test_session *s)
{
    session_up(lane_of[worker], s, client, 53);
    s->asked = "claimed";
    say(s);
    for (uint64_t due_ms = clock_now_us() / 1000 + PATIENCE_MS; look_at(worker).flows == 0;)
        ck_assert_msg(clock_now_us() / 1000 < due_ms, "never: a flow claims");
    (void)look_at(keeper); /* has read it: loops take what is posted in its order */
}

/* The hub's, which is in this process. */
static bool sockets_are(void *arg)
{
    unsigned n = 0;

    for (int fd = 3; fd < 1024; fd++) {
        union addr peer = {0};
        socklen_t len = sizeof(peer);

        n += getpeername(fd, &peer.sa, &len) == 0 && addr_is_same(&peer, &target.at);
    }
    return n == *(unsigned *)arg;
}

static const unsigned one = 1;

/* --- tests ------------------------------------------------------------------------------------ */

START_TEST(who_claimed_last_inherits_the_socket)
{
    struct test_session first = {0}, second = {0};
    unsigned before = target.count;

    claim(others[0], &first);
    ck_assert(!look_at(others[0]).has_heir);
    claim(others[1], &second);
    ck_assert(look_at(others[0]).has_heir);
    ck_assert_uint_eq(first.got + second.got, 0); /* nobody has a socket but who is held up */
    let_go(&hold);
    UNTIL(is_closed, &held);
    UNTIL(is_closed, &first);
    ck_assert_int_eq(first.session.end, UDP_END_ORDERLY);
    ask(&second, "two");
    ck_assert_uint_gt(target.count, before);
    for (unsigned i = before; i < target.count; i++)
        ck_assert(addr_is_same(&target.peers[i], &home));
    UNTIL(flows_are, (void *)(uintptr_t)&one);
    UNTIL(sockets_are, (void *)(uintptr_t)&one);
    udp_session_release(&first.session);
    udp_session_release(&second.session);
}
END_TEST

/* It does not wait for what is granted to somebody who is gone. */
START_TEST(an_heir_of_one_that_left_begins_anew)
{
    struct test_session first = {0}, second = {0};

    claim(others[0], &first);
    claim(others[1], &second);
    udp_session_release(&first.session);
    ask(&second, "two"); /* while the holder is held up */
    ck_assert(!addr_is_same(&target.peers[target.count - 1], &home));
    let_go(&hold);
    UNTIL(is_closed, &held);
    UNTIL(flows_are, (void *)(uintptr_t)&one);
    UNTIL(sockets_are, (void *)(uintptr_t)&one); /* what was granted to nobody is closed */
    ask(&second, "three");
    udp_session_release(&second.session);
}
END_TEST

START_TEST(who_left_while_it_claimed_leaves_nothing)
{
    static const unsigned none = 0;
    struct test_session first = {0}, next = {0};

    claim(others[0], &first);
    udp_session_release(&first.session);
    let_go(&hold);
    UNTIL(is_closed, &held);
    UNTIL(flows_are, (void *)(uintptr_t)&none);
    UNTIL(sockets_are, (void *)(uintptr_t)&none);
    session_ends(&held);
    session_up(lane_of[others[1]], &next, client, 53);
    ask(&next, "the client comes again");
    udp_session_release(&next.session);
}
END_TEST

/* --- what waits for the socket ---------------------------------------------------------------- */

#define LONG 7000u /* bytes; before each its length waits */

static uint64_t dropped(enum udp_drop why)
{
    return counted(&hub.shared.counters.udp_dropped[why]);
}

static bool one_was_too_many(void *arg)
{
    static const uint8_t bytes[LONG];

    if (dropped(UDP_DROP_QUEUE_FULL) > 0)
        return true;
    udp_session_send(&((struct test_session *)arg)->session, bytes, LONG, loop_now_ms(hub.loop));
    return false;
}

START_TEST(only_so_much_waits_for_a_socket)
{
    struct test_session s = {0};

    session_up(lane_of[others[0]], &s, client, 53);
    UNTIL(one_was_too_many, &s);
    ck_assert_uint_eq(look_at(others[0]).waiting, UDP_WAITING_BYTES / (LONG + 4) * (LONG + 4));
    ck_assert_uint_eq(s.got, 0);
    let_go(&hold);
    UNTIL(is_closed, &held);
    ask(&s, "two");
    ck_assert_uint_eq(look_at(others[0]).waiting, 0); /* that has left, and by the socket: */
    ck_assert_uint_eq(dropped(UDP_DROP_CLOSED), 0);
    udp_session_release(&s.session);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, who_claimed_last_inherits_the_socket);
    tcase_add_test(tc, an_heir_of_one_that_left_begins_anew);
    tcase_add_test(tc, who_left_while_it_claimed_leaves_nothing);
    tcase_add_test(tc, only_so_much_waits_for_a_socket);
    return suite_run("udp_heirs", tc);
}
