/* lane_quic_udp - datagrams of a lane on QUIC: DATAGRAM frames, and what they cannot carry.
 *
 *   session's queue --+--> DATAGRAM [id: u32][payload]
 *                     +--> side stream [id: u32], then [length: u16][payload] ...     the long ones
 *
 * A frame may overtake the UDP_OPEN on the control stream: for LANE_EARLY_MS it is kept.  There is
 * no flow control for datagrams; a side stream is a stream and has some: what finds no room in it
 * is dropped, as in any full queue.  (api/tunnel.md, QUIC transport)
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tunnel/lane_internal.h"
#include "tunnel/lane_quic.h"

#define ID_BYTES     4u
#define LENGTH_BYTES 2u
/* What a datagram that is kept costs beside its bytes: thousands of empty ones are no gift. */
#define EARLY_COST 256u

struct early {
    struct list node; /* in sides.early, the oldest first */
    uint64_t until_ms;
    uint32_t id, len;
    uint8_t bytes[];
};

struct udp_side {
    struct list node;            /* in sides.opening, idle, ready, blocked or ending */
    bool is_blocked;             /* in sides.blocked: the peer takes no more of it now */
    struct udp_session *session; /* borrowed; NULL: over */
    int64_t stream;              /* -1: not opened yet */
    struct sendq out;
};

struct udp_side_in {
    struct list node; /* in sides.in */
    struct bufq q;    /* of what is not whole */
    uint32_t id;
    bool has_id;
};

struct lane_sides {
    struct list early;
    size_t early_bytes;
    struct list opening, idle, ready, blocked, ending; /* struct udp_side, owned */
    unsigned count;
    struct list in; /* struct udp_side_in, owned */
    unsigned in_count;
};

static void put_u32(uint8_t *out, uint32_t v)
{
    out[0] = (uint8_t)(v >> 24);
    out[1] = (uint8_t)(v >> 16);
    out[2] = (uint8_t)(v >> 8);
    out[3] = (uint8_t)v;
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static struct lane_sides *sides_of(struct lane *l)
{
    struct lane_sides *s = l->sides;

    if (s)
        return s;
    s = l->sides = must_alloc(sizeof(*s));
    list_init(&s->early);
    list_init(&s->opening);
    list_init(&s->idle);
    list_init(&s->ready);
    list_init(&s->blocked);
    list_init(&s->ending);
    list_init(&s->in);
    return s;
}

/* --- what came before its UDP_OPEN ------------------------------------------------------------ */

static void drop_early(struct lane_sides *s, struct early *e)
{
    list_remove(&e->node);
    s->early_bytes -= EARLY_COST + e->len;
    free(e);
}

/* How many sessions other than `id` wait. */
static unsigned count_early(const struct lane_sides *s, uint32_t id)
{
    uint32_t seen[LANE_EARLY_SESSIONS];
    unsigned count = 0;

    for (const struct list *n = s->early.next; n != &s->early; n = n->next) {
        uint32_t its = container_of(n, struct early, node)->id;
        unsigned i = 0;

        while (i < count && seen[i] != its)
            i++;
        if (its != id && i == count && count < LANE_EARLY_SESSIONS)
            seen[count++] = its;
    }
    return count;
}

static void keep_early(struct lane *l, uint32_t id, const uint8_t *bytes, size_t n)
{
    struct lane_sides *s = sides_of(l);
    struct early *e = NULL;

    if (s->early_bytes + EARLY_COST + n <= LANE_EARLY_BYTES &&
        count_early(s, id) < LANE_EARLY_SESSIONS)
        e = malloc(sizeof(*e) + n);
    if (!e) {
        l->stats.udp.dropped[UDP_DROP_NO_MEMORY]++;
        return;
    }
    *e = (struct early){.id = id, .len = (uint32_t)n, .until_ms = l->now_ms + LANE_EARLY_MS};
    if (n > 0)
        memcpy(e->bytes, bytes, n);
    s->early_bytes += EARLY_COST + n;
    list_push(&s->early, &e->node);
    lane_wake(l); /* the deadline moved */
}

void lane_early_deliver(struct lane *l, struct udp_session *u)
{
    if (!l->sides)
        return;
    LIST_EACH (&l->sides->early, node, after) {
        struct early *e = container_of(node, struct early, node);

        if (e->id != u->id)
            continue;
        lane_deliver_datagram(l, u->state == UDP_OPEN ? u : NULL, e->bytes, e->len);
        drop_early(l->sides, e);
    }
}

uint64_t lane_early_due(const struct lane *l)
{
    if (!l->sides || list_is_empty(&l->sides->early))
        return UINT64_MAX;
    return container_of(l->sides->early.next, struct early, node)->until_ms;
}

void lane_early_expire(struct lane *l)
{
    while (lane_early_due(l) <= l->now_ms) {
        l->stats.udp.dropped[UDP_DROP_CLOSED]++;
        drop_early(l->sides, container_of(l->sides->early.next, struct early, node));
    }
}

void lane_quic_datagram(struct lane *l, const uint8_t *bytes, size_t n, uint64_t now_ms)
{
    uint32_t id;

    l->now_ms = MAX(l->now_ms, now_ms);
    if (l->state != LANE_OPEN)
        return;
    if (n < ID_BYTES) { /* nobody's */
        l->stats.udp.dropped[UDP_DROP_TRUNCATED]++;
        return;
    }
    id = get_u32(bytes);
    if (l->role == LANE_HUB && id > l->highest_udp)
        keep_early(l, id, bytes + ID_BYTES, n - ID_BYTES);
    else
        lane_deliver_datagram(l, lane_find_udp(l, id), bytes + ID_BYTES, n - ID_BYTES);
}

/* --- side streams that come in ---------------------------------------------------------------- */

static struct udp_side_in *side_in_new(struct lane *l)
{
    struct lane_sides *s = sides_of(l);
    struct udp_side_in *side;

    if (s->in_count == LANE_SIDES_MAX)
        return NULL;
    side = must_alloc(sizeof(*side));
    bufq_init(&side->q, l->pool, LENGTH_BYTES + UINT16_MAX);
    list_push(&s->in, &side->node);
    s->in_count++;
    return side;
}

void lane_quic_side_closed(struct lane *l, struct udp_side_in *side)
{
    if (!side)
        return;
    list_remove(&side->node);
    l->sides->in_count--;
    bufq_fini(&side->q);
    free(side);
}

/* How long the record at the front is, its length included; 0: that is not known yet. */
static size_t record_len(const struct udp_side_in *side)
{
    uint8_t head[LENGTH_BYTES];

    if (bufq_copy(&side->q, head, sizeof(head)) < sizeof(head))
        return 0;
    return LENGTH_BYTES + ((size_t)head[0] << 8 | head[1]);
}

/* Bytes that what stands at the front still wants. */
static size_t wanted(const struct udp_side_in *side)
{
    size_t whole = side->has_id ? record_len(side) : ID_BYTES;

    return (whole > 0 ? whole : LENGTH_BYTES) - side->q.len;
}

static void take_id(struct udp_side_in *side)
{
    uint8_t id[ID_BYTES];

    if (bufq_copy(&side->q, id, sizeof(id)) < sizeof(id))
        return;
    bufq_skip(&side->q, sizeof(id));
    side->id = get_u32(id);
    side->has_id = true;
}

/* The record is whole. */
static void deliver_record(struct lane *l, struct udp_side_in *side)
{
    size_t n = side->q.len - LENGTH_BYTES;

    if (!l->in.datagram)
        l->in.datagram = malloc(FRAME_PAYLOAD_MAX);
    if (l->in.datagram) {
        bufq_skip(&side->q, LENGTH_BYTES);
        bufq_copy(&side->q, l->in.datagram, n);
        lane_deliver_datagram(l, lane_find_udp(l, side->id), l->in.datagram, n);
    } else {
        l->stats.udp.dropped[UDP_DROP_NO_MEMORY]++;
    }
    bufq_clear(&side->q);
}

int lane_quic_side_data(struct lane *l, struct udp_side_in **kept, const uint8_t *bytes, size_t n,
                        uint64_t now_ms)
{
    l->now_ms = MAX(l->now_ms, now_ms);
    if (l->state != LANE_OPEN)
        return l->error;
    if (!*kept)
        *kept = side_in_new(l);
    if (!*kept)
        return lane_break(l, "more than %u side streams", LANE_SIDES_MAX);
    while (n > 0) {
        struct udp_side_in *side = *kept;
        size_t part = MIN(n, wanted(side));

        if (bufq_push(&side->q, bytes, part) != 0)
            return lane_break(l, "%s", "no memory for a side stream");
        bytes += part;
        n -= part;
        if (!side->has_id)
            take_id(side);
        else if (side->q.len == record_len(side))
            deliver_record(l, side);
    }
    return 0;
}

/* --- side streams that go out ----------------------------------------------------------------- */

static void move_to(struct list *list, struct udp_side *side)
{
    list_remove(&side->node);
    list_push(list, &side->node);
}

static void side_free(struct lane_sides *s, struct udp_side *side)
{
    if (side->session)
        side->session->side = NULL;
    list_remove(&side->node);
    sendq_fini(&side->out);
    free(side);
    s->count--;
}

/* NULL: there are too many. */
static struct udp_side *side_for(struct lane *l, struct udp_session *u)
{
    struct lane_sides *s = sides_of(l);

    if (u->side || s->count == LANE_SIDES_MAX)
        return u->side;
    u->side = must_alloc(sizeof(*u->side));
    u->side->session = u;
    u->side->stream = -1;
    sendq_init(&u->side->out, l->pool, LANE_SIDE_BYTES);
    list_push(&s->opening, &u->side->node);
    s->count++;
    return u->side;
}

void lane_side_end(struct udp_session *u)
{
    struct udp_side *side = u->side;
    struct lane_sides *s = u->lane->sides;

    if (!side)
        return;
    if (side->stream < 0) { /* QUIC never heard of it */
        side_free(s, side);
        return;
    }
    u->side = NULL;
    side->session = NULL;
    move_to(&s->ending, side);
    lane_wake(u->lane);
}

/* 0, -ERR_FULL, -ERR_NOMEM. */
static int push_record(struct udp_side *side, uint32_t id, const struct udp_datagram *d)
{
    uint8_t head[ID_BYTES + LENGTH_BYTES];
    struct iovec pieces[UDP_PIECES_MAX + 1];
    size_t n = 0;

    if (side->out.end == 0) { /* the stream begins with it */
        put_u32(head, id);
        n = ID_BYTES;
    }
    head[n++] = (uint8_t)(d->len >> 8);
    head[n++] = (uint8_t)d->len;
    pieces[0] = (struct iovec){head, n};
    memcpy(pieces + 1, d->pieces, d->count * sizeof(*d->pieces));
    return sendq_push_pieces(&side->out, pieces, 1 + d->count);
}

static void send_aside(struct lane *l, struct udp_session *u, const struct udp_datagram *d)
{
    struct udp_side *side = side_for(l, u);
    int err = side ? push_record(side, u->id, d) : -ERR_LIMIT;

    if (err) {
        udp_session_drop(u, err == -ERR_LIMIT  ? UDP_DROP_TOO_BIG
                            : err == -ERR_FULL ? UDP_DROP_QUEUE_FULL
                                               : UDP_DROP_NO_MEMORY);
        return;
    }
    udp_session_taken(u);
    if (side->stream >= 0 && !side->is_blocked)
        move_to(&l->sides->ready, side);
}

struct udp_side *lane_quic_next_side_to_open(struct lane *l)
{
    struct list *opening = l->sides ? &l->sides->opening : NULL;

    return !opening || list_is_empty(opening) ? NULL
                                              : container_of(opening->next, struct udp_side, node);
}

void lane_quic_side_opened(struct udp_side *side, int64_t stream)
{
    struct lane_sides *s = side->session->lane->sides;

    side->stream = stream;
    /* empty when there was no memory for its first datagram */
    move_to(sendq_is_idle(&side->out) ? &s->idle : &s->ready, side);
}

void lane_quic_side_refused(struct lane *l, struct udp_side *side)
{
    l->stats.udp.dropped[UDP_DROP_TOO_BIG]++;
    side_free(l->sides, side);
}

bool lane_quic_next_side_to_end(struct lane *l, int64_t *stream)
{
    struct udp_side *side;

    if (!l->sides || list_is_empty(&l->sides->ending))
        return false;
    side = container_of(l->sides->ending.next, struct udp_side, node);
    *stream = side->stream;
    side_free(l->sides, side); /* once it is reset QUIC reads none of its bytes */
    return true;
}

struct udp_side *lane_quic_pick_side(struct lane *l, int64_t *stream, struct iovec *out, size_t max,
                                     size_t *count)
{
    struct udp_side *side;

    if (!l->sides || list_is_empty(&l->sides->ready))
        return NULL;
    side = container_of(l->sides->ready.next, struct udp_side, node);
    *stream = side->stream;
    *count = sendq_peek_pieces(&side->out, out, max);
    must(*count > 0);
    return side;
}

void lane_quic_side_written(struct lane *l, struct udp_side *side, size_t n)
{
    sendq_sent(&side->out, n);
    move_to(sendq_is_idle(&side->out) ? &l->sides->idle : &l->sides->ready, side);
}

static struct udp_side *find_side(const struct list *list, int64_t stream)
{
    for (const struct list *n = list->next; n != list; n = n->next)
        if (container_of(n, struct udp_side, node)->stream == stream)
            return container_of(n, struct udp_side, node);
    return NULL;
}

void lane_quic_side_acked(struct lane *l, int64_t stream, uint64_t n)
{
    struct udp_side *side = l->sides ? find_side(&l->sides->idle, stream) : NULL;

    if (l->sides && !side)
        side = find_side(&l->sides->ready, stream);
    if (l->sides && !side)
        side = find_side(&l->sides->blocked, stream);
    if (side)
        sendq_acked(&side->out, side->out.acked + n);
}

void lane_quic_side_blocked(struct lane *l, struct udp_side *side)
{
    side->is_blocked = true;
    move_to(&l->sides->blocked, side);
}

void lane_quic_side_credit(struct lane *l, int64_t stream)
{
    struct udp_side *side = l->sides ? find_side(&l->sides->blocked, stream) : NULL;

    if (!side)
        return;
    side->is_blocked = false;
    move_to(&l->sides->ready, side);
    lane_wake(l);
}

void lane_sides_free(struct lane *l)
{
    struct lane_sides *s = l->sides;

    if (!s)
        return;
    while (!list_is_empty(&s->early))
        drop_early(s, container_of(s->early.next, struct early, node));
    while (!list_is_empty(&s->ending))
        side_free(s, container_of(s->ending.next, struct udp_side, node));
    while (!list_is_empty(&s->in))
        lane_quic_side_closed(l, container_of(s->in.next, struct udp_side_in, node));
    must(s->count == 0); /* the sessions have ended theirs */
    free(s);
    l->sides = NULL;
}

/* --- frames that go out ----------------------------------------------------------------------- */

bool lane_quic_is_udp_next(const struct lane *l)
{
    return l->state == LANE_OPEN && !l->out.last && lane_sched_is_udp_next(&l->out.sched);
}

bool lane_quic_pick_datagram(struct lane *l, uint64_t now_ms, size_t max,
                             struct lane_quic_datagram *out)
{
    struct udp_datagram d;

    l->now_ms = MAX(l->now_ms, now_ms);
    while (lane_quic_is_udp_next(l)) {
        struct udp_session *u = lane_sched_pick_udp(&l->out.sched);

        while (udp_session_peek(u, l->now_ms, UDP_AGE_ANY, &d) && ID_BYTES + d.len > max)
            send_aside(l, u, &d);
        if (u->queued == 0)
            continue;
        *out = (struct lane_quic_datagram){.session = u, .count = 1 + d.count};
        put_u32(out->id, u->id);
        out->pieces[0] = (struct iovec){out->id, ID_BYTES};
        memcpy(out->pieces + 1, d.pieces, d.count * sizeof(*d.pieces));
        return true;
    }
    return false;
}

static size_t bytes_of(const struct lane_quic_datagram *d)
{
    size_t n = 0;

    for (size_t i = 0; i < d->count; i++)
        n += d->pieces[i].iov_len;
    return n;
}

void lane_quic_datagram_done(struct lane *l, struct lane_quic_datagram *d, enum lane_quic_fate fate,
                             uint64_t now_ms)
{
    struct udp_session *u = d->session;

    if (fate == DATAGRAM_LATER) {
        lane_sched_return_udp(&l->out.sched, u);
        return;
    }
    if (fate == DATAGRAM_SENT) {
        lane_sched_drained_udp(&l->out.sched, bytes_of(d), now_ms);
        udp_session_taken(u);
    } else {
        udp_session_drop(u, UDP_DROP_TOO_BIG);
    }
    if (u->queued > 0)
        lane_sched_add_udp(&l->out.sched, u);
}
