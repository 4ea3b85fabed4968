/* udp_flow - see udp_flow.h. */
#include "hub/udp_flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "hub/edge_share.h"
#include "hub/hub_lane.h"

#define OVERFLOW_UNKNOWN UINT32_MAX

static struct hub_worker *worker_of(const struct udp_flow *f)
{
    return f->book->worker;
}

static void count_drop(const struct udp_flow *f, enum udp_drop why)
{
    count_one(&worker_of(f)->shared->counters.udp_dropped[why]);
}

static void udp_flow_enter(struct udp_flow *f, enum udp_flow_state to)
{
    must(to > f->state || (f->state == UDP_FLOW_OPEN && to == UDP_FLOW_RESOLVING));
    if (target_has_name(&f->target)) {
        f->book->lookups += to == UDP_FLOW_RESOLVING;
        f->book->lookups -= f->state == UDP_FLOW_RESOLVING;
    }
    f->state = to;
}

static void try_next(struct udp_flow *f);

/* --- to the target ---------------------------------------------------------------------------- */

static enum udp_drop drop_of(int err)
{
    switch (-err) {
    case EAGAIN:
    case ENOBUFS:
        return UDP_DROP_SOCKET_FULL;
    case EMSGSIZE:
        return UDP_DROP_TOO_BIG;
    default:
        return UDP_DROP_SOCKET_ERROR;
    }
}

void udp_flow_count_error(struct udp_book *book, int err)
{
    struct hub_counters *c = &book->worker->shared->counters;

    count_one(&c->udp_dropped[drop_of(err)]);
    if (drop_of(err) == UDP_DROP_SOCKET_ERROR)
        count_one(&c->udp_target_errors);
}

/* With the others of this turn, at its end. */
static void send_one(const struct udp_flow *f, const struct iovec *pieces, size_t count)
{
    udp_outbox_add(f->book->out, f->fd, NULL, NULL, pieces, count);
    loop_again(worker_of(f)->loop, &f->book->flush);
}

static void send_payload(struct udp_flow *f, const uint8_t *bytes, size_t n)
{
    struct iovec pieces[2] = {{f->header, f->header_len}, {(void *)(uintptr_t)bytes, n}};
    bool is_each = f->target.mode == PROXY_MODE_EACH;

    if (f->fd < 0) {
        count_drop(f, UDP_DROP_NO_SOCKET);
        return;
    }
    if (is_each && n + f->header_len > UDP_DATAGRAM_MAX) {
        count_drop(f, UDP_DROP_TOO_BIG);
        return;
    }
    if (f->target.mode == PROXY_MODE_FIRST && !f->has_answered)
        send_one(f, pieces, 1); /* if it is lost, the next payload brings another */
    if (is_each)
        send_one(f, pieces, 2);
    else
        send_one(f, pieces + 1, 1);
}

static void wait_with(struct udp_flow *f, const uint8_t *bytes, size_t n)
{
    uint32_t len = (uint32_t)n;
    struct iovec pieces[2] = {{&len, sizeof(len)}, {(void *)(uintptr_t)bytes, n}};
    int err = bufq_push_pieces(&f->waiting, pieces, 2);

    if (err)
        count_drop(f, err == -ERR_FULL ? UDP_DROP_QUEUE_FULL : UDP_DROP_NO_MEMORY);
}

static void on_datagram(struct udp_session *u, const uint8_t *bytes, size_t n)
{
    struct udp_flow *f = container_of(u, struct udp_flow, session);

    udp_book_touch(f);
    if (f->state == UDP_FLOW_OPEN && f->is_refused)
        try_next(f);
    if (f->state == UDP_FLOW_OPEN)
        send_payload(f, bytes, n);
    else
        wait_with(f, bytes, n);
}

static void send_waiting(struct udp_flow *f)
{
    static _Thread_local uint8_t bytes[UDP_DATAGRAM_MAX];
    uint32_t len;

    while (f->waiting.len > 0) {
        size_t n = bufq_copy(&f->waiting, &len, sizeof(len));

        must(n == sizeof(len) && len <= sizeof(bytes));
        bufq_skip(&f->waiting, sizeof(len));
        n = bufq_copy(&f->waiting, bytes, len);
        must(n == len);
        bufq_skip(&f->waiting, len);
        send_payload(f, bytes, len);
    }
}

/* Without a socket they go nowhere. */
static void drop_waiting(struct udp_flow *f)
{
    uint32_t len;

    while (f->waiting.len > 0) {
        size_t n = bufq_copy(&f->waiting, &len, sizeof(len));

        must(n == sizeof(len));
        bufq_skip(&f->waiting, sizeof(len) + len);
        count_drop(f, UDP_DROP_CLOSED);
    }
    bufq_fini(&f->waiting);
}

/* --- from the target -------------------------------------------------------------------------- */

static void count_overflow(struct udp_flow *f, uint32_t so_far)
{
    _Atomic uint64_t *counter = &worker_of(f)->shared->counters.udp_dropped[UDP_DROP_SOCKET_FULL];

    if (f->overflow != OVERFLOW_UNKNOWN && so_far == 0)
        return; /* it was not told */
    if (f->overflow != OVERFLOW_UNKNOWN)
        count_many(counter, (uint32_t)(so_far - f->overflow));
    f->overflow = so_far;
}

static void take_arrival(struct udp_flow *f, const struct udp_arrival *a)
{
    if (!f->has_answered && f->choices > 1)
        udp_answerers_note(&f->book->answerers, &f->target, &f->to);
    f->has_answered = true;
    f->is_refused = false;
    count_overflow(f, a->dropped);
    if (a->is_cut)
        count_drop(f, UDP_DROP_TRUNCATED);
    else if (f->session.state != UDP_OPEN)
        count_drop(f, UDP_DROP_NO_TUNNEL);
    else
        udp_session_send(&f->session, a->bytes, a->len, loop_now_ms(worker_of(f)->loop));
}

static void on_readable(struct io_entry *io)
{
    struct udp_flow *f = container_of(io, struct udp_flow, io);
    struct udp_batch *batch = f->book->batch;
    size_t bytes = 0;

    for (unsigned round = 0; round < UDP_ROUNDS && bytes < UDP_TURN_BYTES; round++) {
        int n = udp_batch_receive(batch, f->fd);

        if (n < 0)
            count_one(&worker_of(f)->shared->counters.udp_target_errors);
        if (n == -ECONNREFUSED)
            udp_flow_refused(f);
        if (n > 0)
            udp_book_touch(f);
        for (int i = 0; i < n; i++) {
            struct udp_arrival a;

            udp_batch_get(batch, (unsigned)i, &a);
            take_arrival(f, &a);
            bytes += a.len;
        }
        if (n == 0 || (n > 0 && (unsigned)n < UDP_BATCH))
            return;
    }
}

/* --- its life --------------------------------------------------------------------------------- */

/* Takes the socket.  The flow may be closed by it. */
static void open_socket(struct udp_flow *f, int fd)
{
    f->fd = fd;
    if (io_set_add(&f->book->sockets, &f->io, fd) != 0) {
        count_one(&worker_of(f)->shared->counters.connect_faults[CONNECT_SYSTEM]);
        udp_flow_close(f, UDP_END_ORDERLY, false); /* the client's next datagram tries again */
        return;
    }
    udp_flow_enter(f, UDP_FLOW_OPEN);
    send_waiting(f);
}

static void log_unreachable(const struct udp_flow *f, const char *why)
{
    struct hub_worker *w = worker_of(f);

    if (!log_limit_pass(&w->target_log, loop_now_ms(w->loop)))
        return;
    log_warn("hub", "udp_target_unreachable", LOG_U("port", f->key.client.dst_port),
             LOG_S("target", f->target.host), LOG_U("target_port", f->target.port),
             LOG_S("detail", why), LOG_U("held", w->target_log.held));
    w->target_log.held = 0;
}

/* Who answered others; or behind the one that refused this flow.  Servers give a name's addresses
 * in an order of their own each time. */
static unsigned first_of(const struct udp_flow *f, const union addr *addrs, unsigned count)
{
    if (f->turned == 0)
        return udp_answerers_first(&f->book->answerers, &f->target, addrs, count);
    for (unsigned i = 0; i < count; i++)
        if (addr_is_same(&addrs[i], &f->to))
            return i + 1;
    return 0;
}

static void on_addresses(struct resolve *q, const union addr *addrs, unsigned count, int err)
{
    struct udp_flow *f = container_of(q, struct udp_flow, query);
    struct hub_shared *shared = worker_of(f)->shared;
    unsigned first = first_of(f, addrs, count);
    int fd = -1;

    f->choices = count;
    f->to_ms = loop_now_ms(worker_of(f)->loop);
    for (unsigned i = 0; i < count && fd < 0; i++) {
        f->to = addrs[(first + i) % count];
        if (!own_listeners_find_addr(&shared->own, &f->to))
            fd = udp_socket_connect(&f->to);
    }
    if (fd < 0) {
        count_one(&shared->counters.connect_faults[err ? CONNECT_RESOLVE : CONNECT_SYSTEM]);
        log_unreachable(f, err ? err_text(err) : "no socket to any of its addresses");
        udp_flow_close(f, UDP_END_ORDERLY, false); /* the client's next datagram tries again */
        return;
    }
    open_socket(f, fd);
}

static void look_up(struct udp_flow *f)
{
    udp_flow_enter(f, UDP_FLOW_RESOLVING);
    resolve_start(&f->query, worker_of(f)->resolver, f->target.host, f->target.port, on_addresses);
}

/* The name is asked anew: the answer is the newest, and there is no other list to keep. */
static void try_next(struct udp_flow *f)
{
    if (f->turned >= f->choices && loop_now_ms(worker_of(f)->loop) - f->to_ms < UDP_NEXT_MS)
        return;
    if (!udp_book_may_look_up(f->book, &f->target))
        return;
    f->turned++;
    close(udp_flow_take_socket(f)); /* what still left by it may be refused, too */
    f->is_refused = false;
    f->overflow = 0;
    look_up(f);
}

/* Where nothing was refused for a while it is at home, though it may never be answered (syslog): a
 * service that is started again is worth waiting for.  How long a refusal took to be read is no
 * part of that while: the worker may have been held up. */
void udp_flow_refused(struct udp_flow *f)
{
    bool is_new = f->book->heard_ms < f->to_ms + UDP_NEXT_MS;

    if (is_new && !f->has_answered && f->choices > 1)
        f->is_refused = true;
}

void udp_flow_begin(struct udp_flow *f, int fd, bool has_answered)
{
    f->has_answered = has_answered;
    if (fd >= 0) {
        f->overflow = OVERFLOW_UNKNOWN; /* the one before has counted */
        open_socket(f, fd);
    } else if (udp_book_may_look_up(f->book, &f->target)) {
        look_up(f);
    } else { /* it was still allowed when the client came */
        count_one(&worker_of(f)->shared->counters.open_refusals[OPEN_LOOKUPS]);
        udp_flow_close(f, UDP_END_ORDERLY, false);
    }
}

static void detach(struct udp_flow *f)
{
    list_remove(&f->in_lane);
    list_remove(&f->in_orphans);
    f->lane = NULL;
}

static void on_closed(struct udp_session *u)
{
    struct udp_flow *f = container_of(u, struct udp_flow, session);

    if (u->end != UDP_END_LANE_LOST) {
        udp_flow_close(f, UDP_END_ORDERLY, false);
        return;
    }
    detach(f);
    udp_book_orphaned(f);
}

struct udp_session *udp_flow_attach(struct udp_flow *f, struct hub_lane *lane)
{
    udp_session_release(&f->session); /* on another lane: UDP_CLOSE */
    udp_session_init(&f->session, on_datagram, on_closed);
    detach(f);
    f->lane = lane;
    list_push(&lane->udp_flows, &f->in_lane);
    return &f->session;
}

int udp_flow_take_socket(struct udp_flow *f)
{
    int fd = f->fd;

    if (fd >= 0)
        udp_outbox_forget(f->book->out, fd);
    io_set_remove(&f->book->sockets, &f->io);
    f->fd = -1;
    return fd;
}

static void on_reap(struct reap *reap)
{
    free(container_of(reap, struct udp_flow, reap));
}

struct udp_flow *udp_flow_new(struct udp_book *book, const struct udp_key *key,
                              struct edge_share *share)
{
    struct hub_worker *w = book->worker;
    struct udp_flow *f = calloc(1, sizeof(*f));

    if (!f)
        return NULL;
    f->book = book;
    f->key = *key;
    f->share = edge_share_ref(share);
    atomic_fetch_add_explicit(&w->shared->udp_flows, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&share->udp_flows, 1, memory_order_relaxed);
    f->fd = -1;
    f->target = target_map_find(w->shared->targets_udp, key->client.dst_port);
    f->header_len = target_emit_header(f->header, f->target.mode, &key->client);
    bufq_init(&f->waiting, loop_pool(w->loop), UDP_WAITING_BYTES);
    list_init(&f->in_bucket);
    list_init(&f->in_lru);
    list_init(&f->in_lane);
    list_init(&f->in_orphans);
    reap_init(&f->reap, on_reap);
    io_entry_init(&f->io, on_readable);
    udp_session_init(&f->session, on_datagram, on_closed);
    return f;
}

void udp_flow_close(struct udp_flow *f, enum udp_end end, bool is_moved)
{
    int fd = udp_flow_take_socket(f);

    must(f->state != UDP_FLOW_CLOSED);
    udp_session_close(&f->session, end);
    udp_session_release(&f->session);
    resolve_cancel(&f->query);
    drop_waiting(f);
    detach(f);
    if (fd >= 0)
        close(fd);
    udp_book_left(f, is_moved);
    atomic_fetch_sub_explicit(&worker_of(f)->shared->udp_flows, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&f->share->udp_flows, 1, memory_order_relaxed);
    edge_share_unref(f->share);
    f->share = NULL;
    udp_flow_enter(f, UDP_FLOW_CLOSED);
    loop_reap(worker_of(f)->loop, &f->reap);
}
