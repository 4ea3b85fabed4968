/* udp_session - see udp_session.h.
 *
 *   queue:  | record | datagram | record | datagram | ...        all bytes in chunks of the pool
 */
#include "tunnel/udp_session.h"

#include <string.h>

#include "base/err.h"
#include "tunnel/lane_internal.h"

struct udp_record {
    uint32_t len;
    uint32_t queued_ms; /* the low bits: ages are short */
};

const char *udp_drop_name(enum udp_drop why)
{
    static const char *const names[] = {
#define X(name, text) text,
        UDP_DROPS(X)
#undef X
    };

    return names[why];
}

void udp_stats_add(struct udp_stats *to, const struct udp_stats *from)
{
    to->opened += from->opened;
    to->closed += from->closed;
    to->datagrams_from_clients += from->datagrams_from_clients;
    to->datagrams_to_clients += from->datagrams_to_clients;
    to->bytes_from_clients += from->bytes_from_clients;
    to->bytes_to_clients += from->bytes_to_clients;
    for (unsigned i = 0; i < UDP_DROP_COUNT; i++)
        to->dropped[i] += from->dropped[i];
}

void udp_session_init(struct udp_session *u,
                      void (*on_datagram)(struct udp_session *u, const uint8_t *bytes, size_t n),
                      void (*on_closed)(struct udp_session *u))
{
    *u =
        (struct udp_session){.state = UDP_IDLE, .on_datagram = on_datagram, .on_closed = on_closed};
    list_init(&u->in_lane);
    list_init(&u->in_control);
    list_init(&u->in_ring);
}

static void count_drop(struct udp_session *u, enum udp_drop why, uint64_t n)
{
    u->lane->stats.udp.dropped[why] += n;
}

static void take_from_queue(struct udp_session *u, size_t n)
{
    must(udp_charge_begin(&u->charge, 0));
    bufq_skip(&u->queue, n);
    udp_charge_settle(&u->charge);
}

/* --- life ------------------------------------------------------------------------------------- */

int udp_session_join(struct udp_session *u, struct lane *l, uint32_t id)
{
    must(u->state == UDP_IDLE);
    if (!budget_open_udp(l->budget))
        return -ERR_LIMIT;
    u->id = id;
    if (id_table_add(&l->udp_table, &u->id) != 0) {
        budget_close_udp(l->budget);
        return -ERR_NOMEM;
    }
    u->lane = l;
    u->budget = l->budget;
    bufq_init(&u->queue, l->pool, l->budget->udp.queue_bytes);
    udp_charge_init(&u->charge, l->budget, l->pool);
    l->stats.udp.opened++;
    l->udp_count++;
    list_push(&l->udp_sessions, &u->in_lane);
    udp_session_enter(u, UDP_OPEN, UDP_END_ORDERLY);
    return 0;
}

static void leave_lane(struct udp_session *u)
{
    struct lane *l = u->lane;

    count_drop(u, UDP_DROP_CLOSED, u->queued);
    take_from_queue(u, u->queue.len);
    bufq_fini(&u->queue);
    u->queued = 0;
    budget_close_udp(u->budget);
    u->budget = NULL;
    list_remove(&u->in_lane);
    list_remove(&u->in_control);
    lane_sched_remove_udp(u);
    lane_side_end(u);
    id_table_remove(&l->udp_table, &u->id);
    if (l->in.udp == u)
        l->in.udp = NULL;
    l->udp_count--;
    l->stats.udp.closed++;
    u->lane = NULL;
}

void udp_session_enter(struct udp_session *u, enum udp_state to, enum udp_end end)
{
    switch (to) {
    case UDP_IDLE:
        must(!"no UDP session becomes idle again");
        break;
    case UDP_OPEN:
        must(u->state == UDP_IDLE);
        break;
    case UDP_CLOSED:
        must(u->state == UDP_OPEN);
        u->end = end;
        leave_lane(u);
        break;
    }
    u->state = to;
}

void udp_session_close(struct udp_session *u, enum udp_end end)
{
    struct lane *l = u->lane;

    if (u->state != UDP_OPEN)
        return;
    if (u->open_header_len == 0) /* else the peer never heard of it */
        lane_queue_udp_close(l, u->id, end);
    udp_session_enter(u, UDP_CLOSED, end);
    lane_wake(l);
}

void udp_session_release(struct udp_session *u)
{
    if (!u->on_closed)
        return;
    udp_session_close(u, UDP_END_ORDERLY);
    u->on_closed = NULL;
    u->on_datagram = NULL;
}

void udp_session_check(const struct udp_session *u)
{
    if (u->state != UDP_OPEN) {
        must(!u->lane && !u->budget);
        must(u->queued == 0 && u->charge.bytes == 0);
        return;
    }
    bufq_check(&u->queue);
    must((u->queued == 0) == (u->queue.len == 0));
    must((u->queued == 0) == (u->charge.bytes == 0));
    must(u->charge.bytes <= (u->queue.len / CHUNK_ROOM + 2) * CHUNK_BYTES);
    must((u->queued == 0) == list_is_empty(&u->in_ring));
    must((u->open_header_len == 0) == list_is_empty(&u->in_control));
}

/* --- the queue -------------------------------------------------------------------------------- */

static struct udp_record first_record(const struct udp_session *u)
{
    struct udp_record r = {0, 0};
    size_t n = bufq_copy(&u->queue, &r, sizeof(r));

    must(n == sizeof(r));
    return r;
}

static void skip_first(struct udp_session *u)
{
    struct udp_record r = first_record(u);

    take_from_queue(u, sizeof(r) + r.len);
    u->queued--;
}

static enum udp_drop push(struct udp_session *u, const void *bytes, size_t n, uint64_t now_ms)
{
    struct udp_record r = {(uint32_t)n, (uint32_t)now_ms};
    struct iovec pieces[2] = {{&r, sizeof(r)}, {(void *)(uintptr_t)bytes, n}};
    int err;

    if (!udp_charge_begin(&u->charge, sizeof(r) + n))
        return UDP_DROP_NO_MEMORY;
    err = bufq_push_pieces(&u->queue, pieces, 2);
    udp_charge_settle(&u->charge);
    if (err)
        return UDP_DROP_NO_MEMORY;
    u->queued++;
    return UDP_DROP_COUNT;
}

void udp_session_send(struct udp_session *u, const void *bytes, size_t n, uint64_t now_ms)
{
    size_t need = sizeof(struct udp_record) + n;
    enum udp_drop why;

    if (u->state != UDP_OPEN)
        return;
    if (n > UDP_DATAGRAM_MAX) {
        count_drop(u, UDP_DROP_TOO_BIG, 1);
        return;
    }
    must(need <= u->queue.cap);
    for (; bufq_room(&u->queue) < need; count_drop(u, UDP_DROP_QUEUE_FULL, 1))
        skip_first(u);
    why = push(u, bytes, n, now_ms);
    if (why != UDP_DROP_COUNT)
        count_drop(u, why, 1);
    if (u->queued == 0) { /* older ones made room for one that found no memory */
        lane_sched_remove_udp(u);
        return;
    }
    lane_sched_add_udp(&u->lane->out.sched, u);
    lane_wake(u->lane);
}

bool udp_session_peek(struct udp_session *u, uint64_t now_ms, uint64_t max_age_ms,
                      struct udp_datagram *out)
{
    struct iovec pieces[UDP_PIECES_MAX + 1];
    struct udp_record r = {0, 0};
    size_t count, at = sizeof(r), left;

    while (u->queued > 0) {
        r = first_record(u);
        if ((uint32_t)((uint32_t)now_ms - r.queued_ms) <= max_age_ms)
            break;
        skip_first(u);
        count_drop(u, UDP_DROP_TOO_OLD, 1);
    }
    if (u->queued == 0) {
        lane_sched_remove_udp(u);
        return false;
    }
    *out =
        (struct udp_datagram){.len = r.len, .queued_ms = now_ms - ((uint32_t)now_ms - r.queued_ms)};
    count = bufq_peek(&u->queue, pieces, ARRAY_LEN(pieces));
    left = r.len;
    for (size_t i = 0; i < count && left > 0; i++) {
        size_t skipped = MIN(at, pieces[i].iov_len), part = MIN(left, pieces[i].iov_len - skipped);

        at -= skipped;
        if (part == 0)
            continue;
        must(out->count < UDP_PIECES_MAX);
        out->pieces[out->count++] = (struct iovec){(uint8_t *)pieces[i].iov_base + skipped, part};
        left -= part;
    }
    must(left == 0);
    return true;
}

static void leave_ring_if_empty(struct udp_session *u)
{
    if (u->queued == 0)
        lane_sched_remove_udp(u);
}

void udp_session_taken(struct udp_session *u)
{
    struct udp_stats *stats = &u->lane->stats.udp;
    uint64_t n = first_record(u).len;

    must(u->queued > 0);
    skip_first(u);
    leave_ring_if_empty(u);
    if (u->lane->role == LANE_EDGE) {
        stats->datagrams_from_clients++;
        stats->bytes_from_clients += n;
    } else {
        stats->datagrams_to_clients++;
        stats->bytes_to_clients += n;
    }
}

void udp_session_drop(struct udp_session *u, enum udp_drop why)
{
    must(u->queued > 0);
    skip_first(u);
    leave_ring_if_empty(u);
    count_drop(u, why, 1);
}
