/* edge_worker - see edge_worker.h. */
#include "edge/edge_worker.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "buf/chunk.h"
#include "edge/client.h"
#include "edge/edge_lane.h"
#include "loop/socket.h"

/* One listening socket of a public port. */
struct public_socket {
    struct list node;
    struct edge_worker *worker; /* borrowed */
    struct acceptor acceptor;
    struct reap reap;
    uint16_t port;
};

/* --- lanes ------------------------------------------------------------------------------------ */

static struct edge_lane *lane_of(struct list *node)
{
    return container_of(node, struct edge_lane, node);
}

static struct edge_lane *find_lane(struct edge_worker *w, uint64_t serial)
{
    LIST_EACH (&w->lanes, node, after) {
        if (lane_of(node)->order->serial == serial)
            return lane_of(node);
    }
    return NULL;
}

struct link *edge_worker_link(struct edge_worker *w)
{
    struct link *last_resort = NULL;

    LIST_EACH (&w->lanes, node, after) {
        struct edge_lane *lane = lane_of(node);

        if (lane->state != EDGE_LANE_UP || !link_takes_streams(lane->link))
            continue;
        if (!lane->is_draining)
            return lane->link;
        if (!last_resort)
            last_resort = lane->link;
    }
    return last_resort; /* a hub that drains still takes streams until its deadline */
}

void edge_worker_lanes_changed(struct edge_worker *w)
{
    atomic_store_explicit(&w->has_lane, edge_worker_link(w) != NULL, memory_order_relaxed);
    udp_flows_follow(&w->udp);
    edge_worker_watch(w);
}

/* --- clients ---------------------------------------------------------------------------------- */

/* At limits.streams the edge accepts no more; a little below it goes on. */
static void pause_or_go_on(struct edge_worker *w)
{
    uint32_t limit = w->shared->budget.limit_streams;
    bool is_full = budget_streams(&w->shared->budget) >= limit - (w->is_paused ? limit / 20 : 0);

    if (is_full == w->is_paused)
        return;
    w->is_paused = is_full;
    LIST_EACH (&w->ports, node, after) {
        struct public_socket *s = container_of(node, struct public_socket, node);

        if (is_full)
            acceptor_stop(&s->acceptor);
        else
            acceptor_start(&s->acceptor);
    }
}

static void tick_within(struct edge_worker *w, uint64_t ms)
{
    if (deadline_is_set(&w->tick) && w->tick.due_ms > loop_now_ms(w->loop) + ms)
        deadline_set(&w->tick, ms);
}

void edge_worker_watch(struct edge_worker *w)
{
    tick_within(w, EDGE_TICK_MS);
}

void edge_worker_opened(struct edge_worker *w)
{
    atomic_fetch_add_explicit(&w->stats.opened, 1, memory_order_relaxed);
    if (budget_streams(&w->shared->budget) >= w->shared->budget.limit_streams)
        pause_or_go_on(w); /* who is next in the queue waits there */
}

/* Not here: the stream is still being taken down. */
void edge_worker_ended(struct edge_worker *w)
{
    if (w->is_paused)
        tick_within(w, 1);
}

void edge_worker_refuse(struct edge_worker *w, int fd, enum edge_refusal why)
{
    atomic_fetch_add_explicit(&w->stats.refused[why], 1, memory_order_relaxed);
    if (why == EDGE_REFUSED_LIMIT_STREAMS)
        pause_or_go_on(w); /* another worker's client was the last */
    socket_set_reset_on_close(fd);
    close(fd);
}

struct handed_over {
    struct task task;
    struct edge_worker *to; /* borrowed */
    unsigned hops;
    int fd; /* owned */
    union addr peer;
};

static void run_handed_over(struct task *task)
{
    struct handed_over *h = container_of(task, struct handed_over, task);

    if (h->to->is_closed)
        edge_worker_refuse(h->to, h->fd, EDGE_REFUSED_NO_TUNNEL);
    else
        client_accept(h->to, h->fd, &h->peer, h->hops);
    free(h);
}

struct edge_worker *edge_worker_with_lane(struct edge_worker *w)
{
    struct edge_shared *shared = w->shared;

    for (unsigned i = 1; i < shared->count; i++) {
        struct edge_worker *other = &shared->workers[(w->index + i) % shared->count];

        if (atomic_load_explicit(&other->has_lane, memory_order_relaxed))
            return other;
    }
    return NULL;
}

/* has_lane is a moment old: two workers that believe it of each other must not pass a client to and
 * fro for ever. */
bool edge_worker_hand_over(struct edge_worker *w, int fd, const union addr *peer, unsigned hops)
{
    struct edge_worker *to = hops < EDGE_HOPS_MAX ? edge_worker_with_lane(w) : NULL;
    struct handed_over *h;

    if (!to)
        return false;
    h = must_alloc(sizeof(*h));
    *h = (struct handed_over){.to = to, .hops = hops + 1, .fd = fd, .peer = *peer};
    h->task.run = run_handed_over;
    loop_post(to->loop, &h->task);
    return true;
}

static void on_accept(struct acceptor *a, int fd, const union addr *peer)
{
    struct public_socket *s = container_of(a, struct public_socket, acceptor);

    atomic_fetch_add_explicit(&s->worker->stats.accepted, 1, memory_order_relaxed);
    client_accept(s->worker, fd, peer, 0);
}

/* --- each tick: what others read, and what has no event of its own ---------------------------- */

static struct client *held_of(struct list *node)
{
    return container_of(node, struct client, held_node);
}

/* Whoever has waited as long as anyone may is turned away, though the tunnel never went down: no
 * lane may take streams while one is still up. */
static void retry_held(struct edge_worker *w)
{
    uint64_t now_ms = loop_now_ms(w->loop);

    LIST_EACH (&w->held, node, after) {
        struct client *c = held_of(node);

        client_retry(c, now_ms - c->held_since_ms > w->shared->hold_ms);
    }
}

static uint64_t exhausted(const struct edge_worker *w)
{
    uint64_t sum = w->past_exhausted;

    LIST_EACH (&w->ports, node, after)
        sum += atomic_load_explicit(
            &container_of(node, struct public_socket, node)->acceptor.exhausted,
            memory_order_relaxed);
    return sum;
}

/* Nothing but the numbers waits for a tick: nobody is to be turned away, or soon. */
static bool is_at_rest(const struct edge_worker *w)
{
    LIST_EACH (&w->lanes, node, after) {
        if (edge_lane_wants_ticks(lane_of(node)))
            return false;
    }
    return !w->is_paused &&
           budget_streams(&w->shared->budget) < w->shared->budget.limit_streams / 2 &&
           list_is_empty(&w->held) && w->udp.all.sources.flows == 0;
}

static void on_tick(struct deadline *tick)
{
    struct edge_worker *w = container_of(tick, struct edge_worker, tick);

    LIST_EACH (&w->lanes, node, after) {
        edge_lane_tick(lane_of(node));
    }
    edge_worker_lanes_changed(w); /* a lane may take no more streams without an event of ours */
    retry_held(w);
    udp_flows_tick(&w->udp);
    pause_or_go_on(w);
    edge_stats_publish(w, exhausted(w));
    deadline_set(&w->tick, is_at_rest(w) ? EDGE_REST_MS : EDGE_TICK_MS);
}

/* --- QUIC ------------------------------------------------------------------------------------- */

/* Not connected to anybody, on any address: when this machine's address changes, the connections go
 * on. */
static unsigned bind_udp(int fds[2])
{
    static const char *const any[] = {"::", "0.0.0.0"};
    unsigned count = 0;
    union addr at;

    for (unsigned i = 0; i < ARRAY_LEN(any); i++)
        if (addr_parse_host(&at, any[i], 0) == 0 && quic_bind(&at, 1, &fds[count], NULL) == 0)
            count++;
    return count;
}

int edge_worker_quic(struct edge_worker *w, struct quic_port **out)
{
    int fds[2], err = 0;
    struct quic_port_options options = {
        .loop = w->loop, .fds = fds, .count = 1, .params = w->shared->quic};

    if (!w->quic) {
        options.fd_count = bind_udp(fds);
        if (options.fd_count == 0)
            return -ERR_SYS;
        tls_random(options.reset_key, sizeof(options.reset_key));
        err = quic_port_new(&w->quic, &options);
    }
    *out = w->quic;
    return err;
}

/* --- life ------------------------------------------------------------------------------------- */

int edge_worker_init(struct edge_worker *w, struct worker *worker, struct edge_shared *shared)
{
    w->worker = worker;
    w->loop = worker->loop;
    w->shared = shared;
    w->index = worker->index;
    list_init(&w->lanes);
    list_init(&w->ports);
    list_init(&w->clients);
    list_init(&w->held);
    udp_flows_init(&w->udp, w);
    w->resolver = resolver_new(w->loop);
    deadline_init(&w->tick, w->loop, on_tick);
    return w->resolver ? 0 : -ERR_SYS;
}

static void on_reap_socket(struct reap *reap)
{
    free(container_of(reap, struct public_socket, reap));
}

static void close_socket(struct public_socket *s)
{
    list_remove(&s->node);
    s->worker->past_exhausted += atomic_load_explicit(&s->acceptor.exhausted, memory_order_relaxed);
    if (s->worker->is_closed)
        acceptor_fini(&s->acceptor);
    else
        acceptor_finish(&s->acceptor);
    loop_reap(s->worker->loop, &s->reap);
}

void edge_worker_fini(struct edge_worker *w)
{
    if (!w->loop)
        return;
    w->is_closed = true;
    deadline_off(&w->tick);
    LIST_EACH (&w->ports, node, after) {
        close_socket(container_of(node, struct public_socket, node));
    }
    udp_flows_fini(&w->udp);
    LIST_EACH (&w->clients, client_node, after_client) {
        client_drop(container_of(client_node, struct client, node));
    }
    LIST_EACH (&w->lanes, lane_node, after_lane) {
        edge_lane_close(lane_of(lane_node), true);
    }
    quic_port_free(w->quic);
    w->quic = NULL;
    resolver_free(w->resolver);
    w->resolver = NULL;
}

/* --- from the control thread: each call is a message ------------------------------------------ */

enum command_kind {
    COMMAND_DIAL,
    COMMAND_ACK,
    COMMAND_CONFIG_TAKEN,
    COMMAND_CLOSE,
    COMMAND_DRAIN,
    COMMAND_OPEN_PORT,
    COMMAND_CLOSE_PORT,
    COMMAND_FLUSH,
    COMMAND_KEEP_FLOWS,
    COMMAND_DRAIN_ALL,
    COMMAND_LEAVE,
};

struct command {
    struct task task;
    enum command_kind kind;
    struct edge_worker *worker; /* borrowed */
    struct lane_order *order;   /* owned, moves to the lane */
    uint64_t serial;
    char *json; /* owned */
    enum port_protocol protocol;
    uint16_t port;
    uint32_t secs;
    int fds[2]; /* owned, move to the acceptors */
    unsigned fd_count;
    bool is_over;
};

static void open_port(struct edge_worker *w, const struct command *c)
{
    if (c->protocol == PORT_UDP) {
        udp_flows_open_port(&w->udp, c->port, c->fds, c->fd_count);
        return;
    }
    for (unsigned i = 0; i < c->fd_count; i++) {
        struct public_socket *s = must_alloc(sizeof(*s));

        s->worker = w;
        s->port = c->port;
        reap_init(&s->reap, on_reap_socket);
        socket_set_keepalive(c->fds[i]); /* the clients' connections inherit it */
        acceptor_init(&s->acceptor, w->loop, c->fds[i], on_accept);
        acceptor_set_congestion(&s->acceptor, &w->shared->client_congestion);
        list_push(&w->ports, &s->node);
        if (!w->is_paused)
            acceptor_start(&s->acceptor);
    }
}

static void close_port(struct edge_worker *w, enum port_protocol protocol, uint16_t port)
{
    if (protocol == PORT_UDP) {
        udp_flows_close_port(&w->udp, port);
        return;
    }
    LIST_EACH (&w->ports, node, after) {
        struct public_socket *s = container_of(node, struct public_socket, node);

        if (s->port == port)
            close_socket(s);
    }
}

static void flush_held(struct edge_worker *w, bool is_over)
{
    LIST_EACH (&w->held, node, after) {
        client_retry(held_of(node), is_over);
    }
}

/* What it carries is given back: the worker has ended. */
static void drop_command(const struct command *c)
{
    if (c->order)
        lane_order_free(c->order);
    for (unsigned i = 0; i < c->fd_count; i++)
        close(c->fds[i]);
}

/* A hub that drains each lane as soon as it is up must not gather them here. */
static void make_room(struct edge_worker *w)
{
    unsigned count = 0;

    for (const struct list *n = w->lanes.next; n != &w->lanes; n = n->next)
        count++;
    if (count >= EDGE_LANES_MAX)
        edge_lane_close(lane_of(w->lanes.prev), false);
}

static void follow_command(const struct command *c)
{
    struct edge_worker *w = c->worker;
    struct edge_lane *lane = c->serial ? find_lane(w, c->serial) : NULL;

    if (!w->tick.due_ms) /* the first command: edge_worker_init() was on another thread */
        deadline_set(&w->tick, EDGE_TICK_MS);
    switch (c->kind) {
    case COMMAND_DIAL:
        make_room(w);
        edge_lane_start(w, c->order);
        break;
    case COMMAND_ACK:
        if (lane && lane->state == EDGE_LANE_UP)
            link_send_config(lane->link, c->json);
        break;
    case COMMAND_CONFIG_TAKEN:
        if (lane)
            edge_lane_config_taken(lane);
        break;
    case COMMAND_CLOSE:
        if (lane)
            edge_lane_close(lane, false);
        break;
    case COMMAND_DRAIN:
        if (lane)
            edge_lane_drain(lane, c->secs);
        break;
    case COMMAND_OPEN_PORT:
        open_port(w, c);
        break;
    case COMMAND_CLOSE_PORT:
        close_port(w, c->protocol, c->port);
        break;
    case COMMAND_FLUSH:
        flush_held(w, c->is_over);
        break;
    case COMMAND_KEEP_FLOWS:
        udp_flows_drain(&w->udp);
        break;
    case COMMAND_DRAIN_ALL:
        flush_held(w, true);
        LIST_EACH (&w->lanes, node, after)
            edge_lane_drain(lane_of(node), c->secs);
        break;
    case COMMAND_LEAVE:
        LIST_EACH (&w->lanes, leaving, after_leaving)
            edge_lane_leave(lane_of(leaving));
        break;
    }
}

static void run_command(struct task *task)
{
    struct command *c = container_of(task, struct command, task);

    if (c->worker->is_closed)
        drop_command(c);
    else
        follow_command(c);
    free(c->json);
    free(c);
}

static struct command *command_new(struct edge_worker *w, enum command_kind kind)
{
    struct command *c = must_alloc(sizeof(*c));

    c->kind = kind;
    c->worker = w;
    c->task.run = run_command;
    return c;
}

static void command_send(struct command *c)
{
    loop_post(c->worker->loop, &c->task);
}

void edge_worker_dial(struct edge_worker *w, struct lane_order *order)
{
    struct command *c = command_new(w, COMMAND_DIAL);

    c->order = order;
    command_send(c);
}

void edge_worker_send_config_ack(struct edge_worker *w, uint64_t serial, const char *json)
{
    struct command *c = command_new(w, COMMAND_ACK);

    c->serial = serial;
    c->json = must_strdup(json);
    command_send(c);
}

void edge_worker_config_taken(struct edge_worker *w, uint64_t serial)
{
    struct command *c = command_new(w, COMMAND_CONFIG_TAKEN);

    c->serial = serial;
    command_send(c);
}

void edge_worker_close_lane(struct edge_worker *w, uint64_t serial)
{
    struct command *c = command_new(w, COMMAND_CLOSE);

    c->serial = serial;
    command_send(c);
}

void edge_worker_drain_lane(struct edge_worker *w, uint64_t serial, uint32_t secs)
{
    struct command *c = command_new(w, COMMAND_DRAIN);

    c->serial = serial;
    c->secs = secs;
    command_send(c);
}

void edge_worker_open_port(struct edge_worker *w, enum port_protocol protocol, uint16_t port,
                           const int *fds, unsigned count)
{
    struct command *c = command_new(w, COMMAND_OPEN_PORT);

    must(count <= ARRAY_LEN(c->fds));
    c->protocol = protocol;
    c->port = port;
    memcpy(c->fds, fds, count * sizeof(*fds));
    c->fd_count = count;
    command_send(c);
}

void edge_worker_close_port(struct edge_worker *w, enum port_protocol protocol, uint16_t port)
{
    struct command *c = command_new(w, COMMAND_CLOSE_PORT);

    c->protocol = protocol;
    c->port = port;
    command_send(c);
}

void edge_worker_keep_flows(struct edge_worker *w)
{
    command_send(command_new(w, COMMAND_KEEP_FLOWS));
}

void edge_worker_drain(struct edge_worker *w, unsigned secs)
{
    struct command *c = command_new(w, COMMAND_DRAIN_ALL);

    c->secs = secs;
    command_send(c);
}

void edge_worker_leave(struct edge_worker *w)
{
    command_send(command_new(w, COMMAND_LEAVE));
}

void edge_worker_flush_held(struct edge_worker *w, bool is_over)
{
    struct command *c = command_new(w, COMMAND_FLUSH);

    c->is_over = is_over;
    command_send(c);
}
