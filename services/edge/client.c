/* client - see client.h. */
#include "edge/client.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "link/link.h"
#include "loop/socket.h"
#include "wire/proxy.h"

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static void on_reap(struct reap *reap)
{
    struct client *c = container_of(reap, struct client, reap);

    stream_release(&c->stream);
    free(c);
}

static void leave_held(struct client *c)
{
    if (list_is_empty(&c->held_node))
        return;
    list_remove(&c->held_node);
    atomic_fetch_sub_explicit(&c->worker->shared->held, 1, memory_order_relaxed);
}

static void uncount_address(struct client *c)
{
    if (c->is_counted)
        address_count_remove(&c->worker->shared->addresses, c->address_slot);
    c->is_counted = false;
}

static void client_enter(struct client *c, enum client_state to)
{
    must(to > c->state);
    leave_held(c);
    c->state = to;
    if (to == CLIENT_CLOSED) {
        deadline_off(&c->flush);
        uncount_address(c);
        list_remove(&c->node);
        atomic_fetch_sub_explicit(&c->worker->stats.clients, 1, memory_order_relaxed);
        loop_reap(c->worker->loop, &c->reap);
    }
}

static void turn_away(struct client *c, enum edge_refusal why)
{
    edge_worker_refuse(c->worker, c->fd, why);
    c->fd = -1;
    client_enter(c, CLIENT_CLOSED);
}

static void log_closed(const struct client *c, const char *end)
{
    char peer[ADDR_TEXT_MAX];

    if (!log_is_on(LOG_DEBUG))
        return;
    log_debug("edge", "client_closed", LOG_S("client", addr_format(&c->peer, peer)),
              LOG_S("end", end), LOG_S("reset", stream_reset_name(c->stream.reset_code)),
              LOG_U("bytes_in", stream_bytes_out(&c->stream)),
              LOG_U("bytes_out", stream_bytes_in(&c->stream)));
}

/* --- what is left for the client when its stream has ended -------------------------------------
 */

/* The kernel takes more from us by leaps only: what it has counts too. */
static uint64_t bytes_left(const struct client *c)
{
    int queued = 0;

    if (c->relay.fd >= 0 && ioctl(c->relay.fd, SIOCOUTQ, &queued) != 0)
        queued = 0;
    return c->stream.recvq.len + (uint64_t)queued;
}

static void note_left(struct client *c, uint64_t bytes)
{
    c->left_bytes = bytes;
    c->left_since_ms = loop_now_ms(c->worker->loop);
}

static void on_flush_look(struct deadline *deadline)
{
    struct client *c = container_of(deadline, struct client, flush);
    uint64_t left = bytes_left(c);

    if (left < c->left_bytes)
        note_left(c, left);
    if (loop_now_ms(c->worker->loop) - c->left_since_ms < c->worker->shared->flush_ms) {
        deadline_set(&c->flush, CLIENT_FLUSH_LOOK_MS);
        return;
    }
    count(&c->worker->stats.flush_timeouts);
    log_closed(c, "flush_timeout");
    relay_fini(&c->relay);
    edge_worker_ended(c->worker);
    client_enter(c, CLIENT_CLOSED);
}

static void on_change(struct stream *s)
{
    struct client *c = container_of(s, struct client, stream);

    relay_wake(&c->relay);
    if (s->state != STREAM_ENDED || s->recvq.len == 0 || c->state != CLIENT_RELAYING ||
        deadline_is_set(&c->flush))
        return;
    note_left(c, bytes_left(c));
    deadline_set(&c->flush, CLIENT_FLUSH_LOOK_MS);
}

static void on_done(struct relay *r)
{
    struct client *c = container_of(r, struct client, relay);
    struct edge_stats *stats = &c->worker->stats;

    if (r->end == RELAY_ENDED)
        count(&stats->ended);
    else
        count(&stats->reset);
    if (r->end == RELAY_STREAM_RESET && c->stream.reset_code < 4)
        count(&stats->reset_by_hub[c->stream.reset_code]);
    log_closed(c, relay_end_name(r->end));
    edge_worker_ended(c->worker);
    client_enter(c, CLIENT_CLOSED);
}

/* 0: relaying.  -ERR_LIMIT, -ERR_CONFLICT (no lane), other: turned away. */
static int open_stream(struct client *c)
{
    struct link *link = edge_worker_link(c->worker);
    struct proxy_header header;
    union addr local = {0};
    socklen_t len = sizeof(local);
    int err;

    if (!link)
        return -ERR_CONFLICT;
    if (getsockname(c->fd, &local.sa, &len) != 0)
        return -ERR_SYS;
    proxy_header_set(&header, PROXY_STREAM, &c->peer.sa, &local.sa);
    err = link_open_stream(link, &c->stream, &header);
    if (err)
        return err;
    edge_worker_opened(c->worker);
    client_enter(c, CLIENT_RELAYING);
    relay_start(&c->relay, c->worker->loop, c->fd, &c->stream, NULL, 0, on_done);
    c->fd = -1;
    return 0;
}

static void hold(struct client *c)
{
    struct edge_shared *shared = c->worker->shared;
    uint32_t held;

    if (!list_is_empty(&c->held_node))
        return;
    if (!atomic_load_explicit(&shared->is_holding, memory_order_relaxed)) {
        turn_away(c, EDGE_REFUSED_NO_TUNNEL);
        return;
    }
    held = atomic_fetch_add_explicit(&shared->held, 1, memory_order_relaxed);
    list_push(&c->worker->held, &c->held_node);
    edge_worker_watch(c->worker);
    if (held >= shared->held_max)
        turn_away(c, EDGE_REFUSED_LIMIT_HELD);
}

static bool count_address(struct client *c)
{
    struct edge_shared *shared = c->worker->shared;

    c->is_counted =
        address_count_add(&shared->addresses, &c->peer, shared->per_address_max, &c->address_slot);
    return c->is_counted;
}

/* Before the other worker counts it: nobody is two for a moment. */
static bool hand_over(struct client *c)
{
    uncount_address(c);
    if (!edge_worker_hand_over(c->worker, c->fd, &c->peer, c->hops))
        return false;
    c->fd = -1;
    client_enter(c, CLIENT_CLOSED);
    return true;
}

static void try_open(struct client *c, bool is_over)
{
    int err = open_stream(c);

    if (err == 0)
        return;
    if (err == -ERR_LIMIT) {
        turn_away(c, EDGE_REFUSED_LIMIT_STREAMS);
    } else if (err != -ERR_CONFLICT) {
        turn_away(c, EDGE_REFUSED_NO_MEMORY);
    } else if (is_over) {
        turn_away(c, EDGE_REFUSED_HOLD_EXPIRED);
    } else if (!hand_over(c)) {
        if (count_address(c))
            hold(c);
        else
            turn_away(c, EDGE_REFUSED_LIMIT_ADDRESS);
    }
}

void client_accept(struct edge_worker *w, int fd, const union addr *peer, unsigned hops)
{
    struct client *c = calloc(1, sizeof(*c));

    if (!c) {
        edge_worker_refuse(w, fd, EDGE_REFUSED_NO_MEMORY);
        return;
    }
    c->worker = w;
    c->fd = fd;
    c->peer = *peer;
    c->hops = hops;
    c->held_since_ms = loop_now_ms(w->loop);
    c->state = CLIENT_HELD;
    list_init(&c->held_node);
    reap_init(&c->reap, on_reap);
    deadline_init(&c->flush, w->loop, on_flush_look);
    stream_init(&c->stream, on_change);
    list_push(&w->clients, &c->node);
    atomic_fetch_add_explicit(&w->stats.clients, 1, memory_order_relaxed);
    if (count_address(c))
        try_open(c, false);
    else
        turn_away(c, EDGE_REFUSED_LIMIT_ADDRESS);
}

void client_retry(struct client *c, bool is_over)
{
    must(c->state == CLIENT_HELD);
    c->hops = 0;
    try_open(c, is_over);
}

void client_drop(struct client *c)
{
    if (c->state == CLIENT_CLOSED)
        return;
    if (c->state == CLIENT_HELD) {
        turn_away(c, EDGE_REFUSED_NO_TUNNEL);
        return;
    }
    relay_fini(&c->relay);
    client_enter(c, CLIENT_CLOSED);
}
