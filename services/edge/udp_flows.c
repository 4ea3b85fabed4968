/* udp_flows - see udp_flows.h. */
#include "edge/udp_flows.h"

#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "edge/edge_worker.h"
#include "edge/udp_door.h"
#include "edge/udp_hand_over.h"
#include "link/link.h"
#include "tls/tls.h"
#include "wire/proxy.h"

/* A session of the flow; one that was left behind waits for the hub's UDP_CLOSE, or for ours. */
struct udp_leg {
    struct udp_session session;
    struct udp_flow *flow; /* borrowed: contains it */
};

struct udp_flow {
    struct list in_bucket;
    struct udp_place in_all, in_open;
    struct list in_left; /* the leg that is not in use was left behind */
    uint64_t left_ms;
    struct udp_door *door;      /* borrowed: closes its flows */
    struct proxy_header client; /* the key */
    union addr peer, local;
    enum udp_flow_state state; /* written by flow_enter() only */
    struct edge_worker *away;  /* borrowed; AWAY: who has its session */
    bool is_guest;             /* what came last was handed over by another worker */
    struct udp_leg legs[2];
    unsigned at; /* the leg in use */
    uint64_t active_ms, shut_until_ms;
};

/* Of a node in the room of all. */
static struct udp_flow *flow_at(struct list *in_lru)
{
    return container_of(in_lru, struct udp_place, in_lru)->flow;
}

static uint64_t now_of(const struct udp_flows *f)
{
    return loop_now_ms(f->worker->loop);
}

/* It is in the room of the OPEN ones before it is OPEN: that may fail. */
static void flow_enter(struct udp_flow *x, enum udp_flow_state to)
{
    struct udp_flows *f = x->door->flows;

    x->state = to;
    if (to != UDP_FLOW_OPEN)
        udp_room_leave(&f->open, &x->in_open);
    if (to == UDP_FLOW_STRAY || to == UDP_FLOW_AWAY)
        f->has_strays = true;
}

/* --- the table -------------------------------------------------------------------------------- */

static struct list *bucket_of(const struct udp_flows *f, const struct proxy_header *key)
{
    return &f->buckets[proxy_header_hash(key, f->seed) & (UDP_FLOW_BUCKETS - 1)];
}

static struct udp_flow *find(const struct udp_flows *f, const struct proxy_header *key)
{
    LIST_EACH (bucket_of(f, key), node, after) {
        struct udp_flow *x = container_of(node, struct udp_flow, in_bucket);

        if (proxy_header_is_equal(&x->client, key))
            return x;
    }
    return NULL;
}

static void touch(struct udp_flow *x)
{
    struct udp_flows *f = x->door->flows;

    x->active_ms = now_of(f);
    udp_room_touch(&f->all, &x->in_all);
    if (x->state == UDP_FLOW_OPEN)
        udp_room_touch(&f->open, &x->in_open);
}

/* The end of the process waits for them, so the number is never a tick old. */
static void publish_count(struct udp_flows *f)
{
    atomic_store_explicit(&f->worker->stats.udp.flows, (uint32_t)f->all.sources.flows,
                          memory_order_relaxed);
}

static void flow_free(struct udp_flow *x)
{
    struct udp_flows *f = x->door->flows;

    for (unsigned i = 0; i < 2; i++)
        udp_session_release(&x->legs[i].session);
    list_remove(&x->in_bucket);
    list_remove(&x->in_left);
    udp_room_leave(&f->open, &x->in_open);
    udp_room_leave(&f->all, &x->in_all);
    x->door->flow_count--;
    publish_count(f);
    free(x);
}

/* One of the room goes for one more of this client. */
static bool evict(struct udp_flows *f, const struct udp_room *room,
                  const struct proxy_header *client)
{
    enum udp_eviction why;
    struct udp_place *place = udp_room_victim(room, client, &why);

    if (!place)
        return false;
    f->evicted[why]++;
    flow_free(place->flow);
    return true;
}

/* --- to the client ---------------------------------------------------------------------------- */

static struct udp_leg *leg_of(struct udp_session *u)
{
    return container_of(u, struct udp_leg, session);
}

static void on_datagram(struct udp_session *u, const uint8_t *bytes, size_t n)
{
    struct udp_flow *x = leg_of(u)->flow;
    struct udp_flows *f = x->door->flows;
    struct iovec piece = {(void *)(uintptr_t)bytes, n};

    udp_outbox_add(f->out, x->door->fd, &x->peer, &x->local, &piece, 1);
    loop_again(f->worker->loop, &f->flush);
    touch(x);
}

static void on_send_error(struct udp_outbox *box, int err)
{
    struct udp_flows *f = box->owner;

    f->dropped[err == -EAGAIN || err == -ENOBUFS ? UDP_DROP_SOCKET_FULL
               : err == -EMSGSIZE                ? UDP_DROP_TOO_BIG
                                                 : UDP_DROP_SOCKET_ERROR]++;
}

static void on_flush(struct ready *ready)
{
    udp_outbox_flush(container_of(ready, struct udp_flows, flush)->out);
}

static void on_closed(struct udp_session *u)
{
    struct udp_leg *leg = leg_of(u);
    struct udp_flow *x = leg->flow;

    if (leg != &x->legs[x->at]) { /* the one that was left: the hub has moved the flow */
        list_remove(&x->in_left);
        return;
    }
    if (u->end == UDP_END_LANE_LOST) {
        flow_enter(x, UDP_FLOW_STRAY);
        return;
    }
    x->shut_until_ms = now_of(x->door->flows) +
                       (u->end == UDP_END_NOT_ALLOWED ? UDP_SHUT_REFUSED_MS : UDP_SHUT_MS);
    flow_enter(x, UDP_FLOW_SHUT);
}

/* --- to the hub ------------------------------------------------------------------------------- */

static void close_left_leg(struct udp_flow *x)
{
    list_remove(&x->in_left);
    udp_session_close(&x->legs[!x->at].session, UDP_END_ORDERLY);
}

/* For one more session of `x`, on `leg`: its own other one goes, then one that was left behind, and
 * only then a client. */
static bool make_room_for(struct udp_flow *x, unsigned leg)
{
    struct udp_flows *f = x->door->flows;

    if (x->legs[!leg].session.state == UDP_OPEN) {
        list_remove(&x->in_left);
        udp_session_close(&x->legs[!leg].session, UDP_END_ORDERLY);
        if (leg != x->at)
            flow_enter(x, UDP_FLOW_STRAY); /* it was the one in use */
        return true;
    }
    must(x->state != UDP_FLOW_OPEN); /* so it is not `x` that goes */
    if (list_is_empty(&f->left))
        return evict(f, &f->open, &x->client);
    close_left_leg(container_of(f->left.next, struct udp_flow, in_left));
    return true;
}

/* Opens on `leg`, which is not in use, or was left behind.  0, or as link_open_udp(). */
static int try_leg(struct udp_flow *x, unsigned leg, struct link *link)
{
    struct udp_flows *f = x->door->flows;
    struct udp_session *u = &x->legs[leg].session;
    int err;

    udp_session_release(u);
    if (leg != x->at)
        list_remove(&x->in_left);
    udp_session_init(u, on_datagram, on_closed);
    err = link_open_udp(link, u, &x->client);
    if (err)
        return err;
    if (!udp_room_enter(&f->open, &x->in_open, &x->client)) {
        udp_session_close(u, UDP_END_ORDERLY); /* the hub has not heard of it yet */
        return -ERR_NOMEM;
    }
    x->at = leg;
    flow_enter(x, UDP_FLOW_OPEN);
    return 0;
}

/* The same for a client's datagram: others may have to go for it. */
static enum udp_drop open_leg(struct udp_flow *x, unsigned leg, struct link *link)
{
    int err = try_leg(x, leg, link);

    if (err == -ERR_LIMIT && make_room_for(x, leg))
        err = try_leg(x, leg, link);
    if (err == -ERR_LIMIT)
        return UDP_DROP_LIMIT_SESSIONS;
    if (err == -ERR_CONFLICT)
        return UDP_DROP_NO_TUNNEL;
    return err ? UDP_DROP_NO_MEMORY : UDP_DROP_COUNT;
}

static enum udp_drop open_flow(struct udp_flow *x)
{
    struct link *link = edge_worker_link(x->door->flows->worker);

    return link ? open_leg(x, x->at, link) : UDP_DROP_NO_TUNNEL;
}

static bool is_left_behind(const struct udp_flow *x)
{
    const struct lane *lane = x->legs[x->at].session.lane;

    return lane && (lane->drain.by_us || lane->drain.by_peer);
}

static bool move(struct udp_flow *x, struct link *link)
{
    struct udp_flows *f = x->door->flows;

    if (open_leg(x, !x->at, link) != UDP_DROP_COUNT)
        return false;
    if (x->legs[!x->at].session.state == UDP_OPEN) {
        x->left_ms = now_of(f);
        list_push(&f->left, &x->in_left);
    }
    return true;
}

/* At the limit it stays as it is, until the next tick: where it was served by another worker the
 * hub closes that session when the flow is here, so there is room for the next one. */
static bool come_back(struct udp_flow *x, struct link *link)
{
    return budget_has_udp_room(&x->door->flows->worker->shared->budget) &&
           try_leg(x, x->at, link) == 0;
}

/* A stray opens again, one that is away comes back, one on a draining lane moves.  False: it has to
 * try again. */
static bool follow(struct udp_flow *x, struct link *link)
{
    if (x->state == UDP_FLOW_SHUT || (x->state == UDP_FLOW_STRAY && x->is_guest))
        return true; /* a guest may be served elsewhere by now: it opens when it comes again */
    if (x->state == UDP_FLOW_STRAY || x->state == UDP_FLOW_AWAY)
        return come_back(x, link);
    if (!is_left_behind(x))
        return true;
    if (link_lane(link) == x->legs[x->at].session.lane)
        return false;
    return move(x, link);
}

void udp_flows_leave(struct udp_flows *f)
{
    f->has_strays = f->all.sources.flows > 0;
}

void udp_flows_follow(struct udp_flows *f)
{
    bool is_done = true;
    struct link *link = f->has_strays ? edge_worker_link(f->worker) : NULL;

    if (!link)
        return;
    for (struct list *n = f->all.lru.next; n != &f->all.lru; n = n->next)
        is_done = follow(flow_at(n), link) && is_done;
    f->has_strays = !is_done;
}

static struct udp_flow *flow_new(struct udp_door *door, const struct proxy_header *key,
                                 const struct udp_arrival *a)
{
    struct udp_flows *f = door->flows;
    struct udp_flow *x = calloc(1, sizeof(*x));

    if (!x)
        return NULL;
    if (!udp_room_enter(&f->all, &x->in_all, key)) {
        free(x);
        return NULL;
    }
    x->in_all.flow = x->in_open.flow = x;
    x->door = door;
    door->flow_count++;
    publish_count(f);
    x->client = *key;
    x->peer = a->peer;
    x->local = a->local;
    for (unsigned i = 0; i < 2; i++) {
        x->legs[i].flow = x;
        udp_session_init(&x->legs[i].session, on_datagram, on_closed);
    }
    list_init(&x->in_left);
    list_push(bucket_of(f, key), &x->in_bucket);
    touch(x);
    return x;
}

static bool go_away(struct udp_flow *x)
{
    x->away = edge_worker_with_lane(x->door->flows->worker);
    if (x->away)
        flow_enter(x, UDP_FLOW_AWAY);
    return x->away != NULL;
}

static bool is_well(const struct udp_flow *x, bool is_guest)
{
    return x->state == UDP_FLOW_OPEN ||
           (x->state == UDP_FLOW_AWAY && !is_guest &&
            atomic_load_explicit(&x->away->has_lane, memory_order_relaxed));
}

/* Makes it OPEN, or AWAY. */
static enum udp_drop mend(struct udp_flow *x, bool is_guest)
{
    enum udp_drop why;

    if (x->state == UDP_FLOW_SHUT && now_of(x->door->flows) < x->shut_until_ms)
        return UDP_DROP_CLOSED;
    if (x->state == UDP_FLOW_AWAY)
        flow_enter(x, UDP_FLOW_STRAY);
    why = open_flow(x);
    if (why == UDP_DROP_NO_TUNNEL && !is_guest && go_away(x))
        return UDP_DROP_COUNT;
    return why;
}

/* The flow that an arrival belongs to, OPEN or (never a guest's) AWAY; or why there is none. */
static enum udp_drop flow_for(struct udp_door *door, const struct udp_arrival *a, bool is_guest,
                              struct udp_flow **out)
{
    struct udp_flows *f = door->flows;
    union addr local = a->local;
    struct proxy_header key;
    struct udp_flow *x;
    enum udp_drop why;

    addr_set_port(&local, door->port);
    proxy_header_set(&key, PROXY_DGRAM, &a->peer.sa, &local.sa);
    if (key.family == PROXY_UNSPEC || key.src_port == 0)
        return UDP_DROP_SOCKET_ERROR;
    x = find(f, &key);
    if (!x && door->is_closing)
        return UDP_DROP_CLOSED;
    if (!x) {
        if (!edge_worker_link(f->worker) && (is_guest || !edge_worker_with_lane(f->worker)))
            return UDP_DROP_NO_TUNNEL;
        if (f->all.sources.flows >= f->worker->shared->budget.udp.limit_sessions)
            evict(f, &f->all, &key);
        x = flow_new(door, &key, a);
        if (!x)
            return UDP_DROP_NO_MEMORY;
    }
    x->is_guest = is_guest;
    if (!is_well(x, is_guest)) {
        why = mend(x, is_guest);
        if (why != UDP_DROP_COUNT)
            return why;
    }
    touch(x);
    *out = x;
    return UDP_DROP_COUNT;
}

static void hand_over(struct udp_flow *x, const struct udp_arrival *a, uint64_t count)
{
    struct udp_flows *f = x->door->flows;
    bool is_taken = udp_hand_over(x->away, x->door->port, a);

    *(is_taken ? &f->handed_over : &f->dropped[UDP_DROP_QUEUE_FULL]) += count;
}

static uint64_t count_of(const struct udp_arrival *a)
{
    return a->len == 0 ? 1 : (a->len + a->segment - 1) / a->segment;
}

static void take_arrival(struct udp_door *door, const struct udp_arrival *a, bool is_guest)
{
    struct udp_flows *f = door->flows;
    uint64_t count = count_of(a);
    struct udp_flow *x = NULL;
    enum udp_drop why = a->is_cut ? UDP_DROP_TRUNCATED : flow_for(door, a, is_guest, &x);

    f->dropped[UDP_DROP_SOCKET_FULL] += a->dropped - (a->dropped ? door->overflow : 0);
    door->overflow = a->dropped ? a->dropped : door->overflow;
    if (why != UDP_DROP_COUNT) {
        f->dropped[why] += count;
        return;
    }
    if (x->state == UDP_FLOW_AWAY) {
        hand_over(x, a, count);
        return;
    }
    for (size_t at = 0; count > 0; count--, at += a->segment)
        udp_session_send(&x->legs[x->at].session, a->bytes + at, MIN(a->segment, a->len - at),
                         now_of(f));
}

static void take_own(struct udp_door *door, const struct udp_arrival *a)
{
    take_arrival(door, a, false);
}

void udp_flows_take_guest(struct udp_flows *f, uint16_t port, const struct udp_arrival *a)
{
    LIST_EACH (&f->sockets, node, after) {
        struct udp_door *door = container_of(node, struct udp_door, node);

        if (door->port == port && door->family == a->peer.sa.sa_family) {
            take_arrival(door, a, true);
            return;
        }
    }
    f->dropped[UDP_DROP_CLOSED] += count_of(a);
}

/* --- ports ------------------------------------------------------------------------------------ */

static void close_door(struct udp_door *door)
{
    struct udp_flows *f = door->flows;

    LIST_EACH (&f->all.lru, node, after) {
        struct udp_flow *x = flow_at(node);

        if (x->door == door)
            flow_free(x);
    }
    udp_door_close(door);
}

static void make_room(struct udp_flows *f)
{
    if (f->buckets)
        return;
    f->batch = udp_batch_new();
    must(f->batch != NULL);
    f->out = udp_outbox_new(&f->sent, f, on_send_error);
    udp_room_init(&f->all, f->seed);
    udp_room_init(&f->open, f->seed);
    f->buckets = must_alloc(UDP_FLOW_BUCKETS * sizeof(*f->buckets));
    for (unsigned i = 0; i < UDP_FLOW_BUCKETS; i++)
        list_init(&f->buckets[i]);
}

void udp_flows_open_port(struct udp_flows *f, uint16_t port, const int *fds, unsigned count)
{
    make_room(f);
    for (unsigned i = 0; i < count; i++)
        udp_door_open(f, port, fds[i], take_own);
}

void udp_flows_close_port(struct udp_flows *f, uint16_t port)
{
    LIST_EACH (&f->sockets, node, after) {
        struct udp_door *door = container_of(node, struct udp_door, node);

        if (door->port != port)
            continue;
        if (f->is_draining && door->flow_count > 0)
            door->is_closing = true;
        else
            close_door(door);
    }
}

void udp_flows_drain(struct udp_flows *f)
{
    f->is_draining = true;
}

static void close_ended_doors(struct udp_flows *f)
{
    LIST_EACH (&f->sockets, node, after) {
        struct udp_door *door = container_of(node, struct udp_door, node);

        if (door->is_closing && door->flow_count == 0)
            close_door(door);
    }
}

/* The hub that has moved the flow has closed it by now; to another one the flow is new, and the old
 * hub would wait for it as long as it drains. */
static void close_left(struct udp_flows *f, uint64_t now_ms)
{
    LIST_EACH (&f->left, node, after) {
        struct udp_flow *x = container_of(node, struct udp_flow, in_left);

        if (now_ms - x->left_ms < UDP_LEFT_MS)
            break;
        close_left_leg(x);
    }
}

void udp_flows_tick(struct udp_flows *f)
{
    uint64_t now_ms = now_of(f);

    if (f->is_draining)
        close_ended_doors(f);
    if (f->all.sources.flows == 0)
        return;
    udp_flows_follow(f);
    close_left(f, now_ms);
    LIST_EACH (&f->all.lru, node, after) {
        struct udp_flow *x = flow_at(node);

        if (now_ms - x->active_ms < f->worker->shared->udp_idle_ms)
            break;
        flow_free(x);
        f->idle++;
    }
}

void udp_flows_init(struct udp_flows *f, struct edge_worker *w)
{
    *f = (struct udp_flows){.worker = w};
    list_init(&f->left);
    list_init(&f->sockets);
    ready_init(&f->flush, on_flush);
    tls_random(&f->seed, sizeof(f->seed));
}

void udp_flows_fini(struct udp_flows *f)
{
    if (!f->worker)
        return;
    LIST_EACH (&f->sockets, node, after) {
        close_door(container_of(node, struct udp_door, node));
    }
    ready_cancel(&f->flush);
    udp_batch_free(f->batch);
    udp_outbox_free(f->out);
    udp_room_fini(&f->open);
    udp_room_fini(&f->all);
    free(f->buckets);
    *f = (struct udp_flows){0};
}
