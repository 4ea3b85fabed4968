/* forward - see forward.h.
 *
 * One pump (forward_run), from the ready list: after the stream ended one way or the other, or its
 * OPEN was refused by the lane itself.  The dial and the relay tell by their own callbacks, which
 * come from the loop as well.
 */
#include "hub/forward.h"
#include "hub/edge_share.h"
#include "hub/hub_events.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "loop/dial.h"
#include "loop/socket.h"

#define ADDRESS_MS                                                                                 \
    1500 /* of a name, which may have several addresses; a literal gets all the time */

#define KEEPALIVE_AFTER_MS 2000

/* Apart from the forward, which lives much longer: it holds every address of a name. */
struct forward_dial {
    struct dial dial;
    struct reap reap;
    struct forward *forward; /* borrowed */
    uint64_t started_us;
};

static const struct {
    const char *name;
    unsigned next;
} rule[] = {
    [FORWARD_CONNECTING] = {"connecting", BIT(FORWARD_RELAYING) | BIT(FORWARD_CLOSED)},
    [FORWARD_RELAYING] = {"relaying", BIT(FORWARD_CLOSED)},
    [FORWARD_CLOSED] = {"closed", 0},
};

const char *forward_state_name(enum forward_state state)
{
    return rule[state].name;
}

static struct hub_shared *shared_of(const struct forward *f)
{
    return f->lane->worker->shared;
}

static void on_reap_dial(struct reap *reap)
{
    free(container_of(reap, struct forward_dial, reap));
}

/* Of the process, and of the edge. */
static void count_in(_Atomic uint32_t *all, _Atomic uint32_t *own)
{
    atomic_fetch_add_explicit(all, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(own, 1, memory_order_relaxed);
}

static void count_out(_Atomic uint32_t *all, _Atomic uint32_t *own)
{
    atomic_fetch_sub_explicit(all, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(own, 1, memory_order_relaxed);
}

/* Not freed at once: it may be the dial that calls. */
static void drop_dial(struct forward *f)
{
    if (!f->dial)
        return;
    dial_cancel(&f->dial->dial);
    loop_reap(f->lane->worker->loop, &f->dial->reap);
    f->dial = NULL;
    count_out(&shared_of(f)->connects, &f->lane->share->connects);
}

static void forward_free(struct forward *f)
{
    struct hub_lane *lane = f->lane;

    stream_release(&f->stream);
    count_out(&shared_of(f)->forwards, &lane->share->forwards);
    list_remove(&f->in_lane);
    free(f);
    hub_lane_forward_gone(lane);
}

static void on_reap(struct reap *reap)
{
    forward_free(container_of(reap, struct forward, reap));
}

static void log_close(const struct forward *f)
{
    char peer[ADDR_TEXT_MAX];
    union addr client = {0};

    if (!log_is_on(LOG_DEBUG))
        return;
    proxy_header_src(&f->client, &client.storage);
    log_debug("hub", "stream_closed", LOG_S("edge", f->lane->edge_id),
              LOG_U("stream", f->stream.id), LOG_S("client", addr_format(&client, peer)),
              LOG_U("port", f->client.dst_port), LOG_S("target", f->target.host),
              LOG_U("target_port", f->target.port), LOG_S("result", stream_result_names[f->result]),
              LOG_U("bytes_in", stream_bytes_in(&f->stream)),
              LOG_U("bytes_out", stream_bytes_out(&f->stream)));
}

static void forward_enter(struct forward *f,
                          enum forward_state to) /* the only writer of f->state */
{
    must(rule[f->state].next & BIT(to));
    f->state = to;
    if (to == FORWARD_RELAYING)
        drop_dial(f);
    if (to != FORWARD_CLOSED)
        return;
    drop_dial(f);
    list_remove(&f->in_young);
    relay_fini(&f->relay);
    deadline_off(&f->flush);
    ready_cancel(&f->ready);
    count_one(&shared_of(f)->counters.stream_results[f->result]);
    log_close(f);
    hub_event_stream(shared_of(f)->events, HUB_EVENT_STREAM_CLOSED, f);
}

static void close_forward(struct forward *f, enum stream_result result)
{
    f->result = result;
    forward_enter(f, FORWARD_CLOSED);
    loop_reap(f->lane->worker->loop, &f->reap);
}

static enum stream_result result_of_reset(const struct stream *s)
{
    switch (s->reset_code) {
    case RESET_LANE_LOST:
        return RESULT_LANE_LOST;
    case RESET_NO_MEMORY:
        return RESULT_NO_MEMORY;
    case RESET_UNREACHABLE:
        return RESULT_UNREACHABLE;
    case RESET_NONE:
    case RESET_BY_PEER:
    case RESET_NOT_ALLOWED:
        break;
    }
    return RESULT_CLIENT_RESET;
}

static void forward_run(struct forward *f)
{
    switch (f->stream.state) {
    case STREAM_IDLE: /* the lane had no room for it (limits.streams) */
        close_forward(f, RESULT_REFUSED);
        break;
    case STREAM_RESET:
        if (f->state == FORWARD_CONNECTING)
            close_forward(f, result_of_reset(&f->stream));
        break; /* RELAYING: the relay sees it and passes it on */
    case STREAM_ENDED:
        if (f->flush.due_ms != 0)
            break;
        deadline_set(&f->flush, shared_of(f)->flush_ms);
        (void)relay_moved_ms(&f->relay); /* what it takes counts from now on */
        break;
    case STREAM_OPEN:
        break;
    }
}

static void on_ready(struct ready *ready)
{
    forward_run(container_of(ready, struct forward, ready));
}

static void on_change(struct stream *s)
{
    struct forward *f = container_of(s, struct forward, stream);

    if (f->state == FORWARD_CLOSED)
        return;
    relay_wake(&f->relay);
    if (s->state != STREAM_OPEN)
        loop_again(f->lane->worker->loop, &f->ready);
}

/* Not while the target still takes something from time to time. */
static void on_flush_due(struct deadline *deadline)
{
    struct forward *f = container_of(deadline, struct forward, flush);
    uint64_t quiet_ms = loop_now_ms(f->lane->worker->loop) - relay_moved_ms(&f->relay);
    unsigned flush_ms = shared_of(f)->flush_ms;

    if (quiet_ms < flush_ms)
        deadline_set(&f->flush, flush_ms - quiet_ms);
    else
        close_forward(f, RESULT_FLUSH_TIMEOUT);
}

static void on_relay_done(struct relay *relay)
{
    struct forward *f = container_of(relay, struct forward, relay);

    switch (relay->end) {
    case RELAY_ENDED:
        close_forward(f, RESULT_ENDED);
        break;
    case RELAY_SOCKET_RESET:
        close_forward(f, RESULT_TARGET_RESET);
        break;
    case RELAY_STREAM_RESET:
        close_forward(f, result_of_reset(&f->stream));
        break;
    }
}

static void fail_connect(struct forward *f, enum connect_fault fault, int error)
{
    struct hub_worker *w = f->lane->worker;

    count_one(&w->shared->counters.connect_faults[fault]);
    if (log_limit_pass(&w->target_log, loop_now_ms(w->loop))) {
        log_warn("hub", "target_unreachable", LOG_S("edge", f->lane->edge_id),
                 LOG_U("port", f->client.dst_port), LOG_S("target", f->target.host),
                 LOG_U("target_port", f->target.port), LOG_S("reason", connect_fault_names[fault]),
                 LOG_S("detail", err_text(error)), LOG_U("held", w->target_log.held));
        w->target_log.held = 0;
    }
    stream_abort(&f->stream, RESET_UNREACHABLE);
    close_forward(f, RESULT_UNREACHABLE);
}

static enum connect_fault fault_of(int error)
{
    switch (-error) {
    case ERR_RESOLVE:
        return CONNECT_RESOLVE;
    case ERR_TIMEOUT:
        return CONNECT_TIMEOUT;
    case ERR_SYS:
        return CONNECT_SYSTEM;
    default:
        return CONNECT_REFUSED;
    }
}

static void on_dialled(struct dial *d, int fd, int err, const union addr *peer)
{
    struct forward_dial *dial = container_of(d, struct forward_dial, dial);
    struct forward *f = dial->forward;
    struct hub_shared *shared = shared_of(f);
    uint8_t prefix[RELAY_PREFIX_MAX];
    size_t n;

    if (err) {
        fail_connect(f, fault_of(err), err);
        return;
    }
    if (own_listeners_find_addr(&shared->own, peer)) { /* by a name: configuration could not tell */
        socket_set_reset_on_close(fd);
        close(fd);
        fail_connect(f, CONNECT_OWN_LISTENER, -ERR_DENIED);
        return;
    }
    duration_count(&shared->counters.connect, clock_now_us() - dial->started_us);
    n = target_emit_header(prefix, f->target.mode, &f->client);
    forward_enter(f, FORWARD_RELAYING);
    list_push(&f->lane->worker->young, &f->in_young);
    relay_start(&f->relay, f->lane->worker->loop, fd, &f->stream, prefix, n, on_relay_done);
    f->relay.rest_ms = shared->flush_ms;
}

static void start_dial(struct forward *f)
{
    struct hub_worker *w = f->lane->worker;
    struct forward_dial *dial = must_alloc(sizeof(*dial));
    unsigned total_ms = w->shared->connect_ms;

    count_in(&w->shared->connects, &f->lane->share->connects);
    dial->forward = f;
    dial->started_us = clock_now_us();
    reap_init(&dial->reap, on_reap_dial);
    dial_init(&dial->dial, w->loop, w->resolver, on_dialled);
    dial->dial.congestion = &w->shared->target_congestion;
    f->dial = dial;
    dial_start(&dial->dial, f->target.host, f->target.port,
               target_has_name(&f->target) ? MIN(total_ms, ADDRESS_MS) : total_ms, total_ms);
}

static struct stream *refuse_open(struct hub_lane *lane, enum open_refusal why,
                                  enum stream_reset code, enum stream_reset *refuse)
{
    count_one(&lane->worker->shared->counters.open_refusals[why]);
    *refuse = code;
    return NULL;
}

/* Whether there is room for one more; *why: what there is none of. */
static bool has_room(struct hub_lane *lane, enum open_refusal *why)
{
    static const enum open_refusal at_limit[] = {
        [SHARED_STREAMS] = OPEN_LIMIT_STREAMS, [SHARED_CONNECTS] = OPEN_LIMIT_CONNECTS};

    for (unsigned i = 0; i < ARRAY_LEN(at_limit); i++) {
        enum share_verdict verdict = edge_share_ask(lane, (enum shared_limit)i);

        *why = verdict == SHARE_PAST ? OPEN_SHARE : at_limit[i];
        if (verdict != SHARE_OK)
            return false;
    }
    return true;
}

struct stream *forward_open(struct hub_lane *lane, const struct proxy_header *client,
                            enum stream_reset *refuse)
{
    struct hub_shared *shared = lane->worker->shared;
    uint64_t now_ms = loop_now_ms(lane->worker->loop);
    enum open_refusal why;
    struct forward *f;

    if (!authority_allows(&lane->authority.tcp, client->dst_port, now_ms))
        return refuse_open(lane, OPEN_PORT, RESET_NOT_ALLOWED, refuse);
    if (!has_room(lane, &why))
        return refuse_open(lane, why, RESET_BY_PEER, refuse);
    f = calloc(1, sizeof(*f));
    if (!f)
        return refuse_open(lane, OPEN_MEMORY, RESET_BY_PEER, refuse);
    f->lane = lane;
    f->client = *client;
    f->target = target_map_find(shared->targets, client->dst_port);
    f->opened_ms = now_ms;
    list_init(&f->in_young);
    stream_init(&f->stream, on_change);
    deadline_init(&f->flush, lane->worker->loop, on_flush_due);
    ready_init(&f->ready, on_ready);
    reap_init(&f->reap, on_reap);
    start_dial(f);
    count_in(&shared->forwards, &lane->share->forwards);
    lane->forward_count++;
    list_push(lane->forwards.next, &f->in_lane);
    hub_event_stream(shared->events, HUB_EVENT_STREAM_OPENED, f);
    return &f->stream;
}

void forward_tick(struct hub_worker *w)
{
    uint64_t now_ms = loop_now_ms(w->loop);

    LIST_EACH (&w->young, node, after) {
        struct forward *f = container_of(node, struct forward, in_young);

        if (now_ms < f->opened_ms + KEEPALIVE_AFTER_MS)
            break;
        if (f->relay.fd >= 0)
            socket_set_keepalive(f->relay.fd);
        list_remove(node);
    }
}

void forward_stop(struct forward *f)
{
    if (f->state != FORWARD_CLOSED) {
        f->result = RESULT_STOPPED;
        forward_enter(f, FORWARD_CLOSED);
    }
    forward_free(f);
}
