/* lane_quic_udp - datagrams of a lane on QUIC: DATAGRAM frames, [id: u32][payload].
 *
 * A frame may overtake the UDP_OPEN on the control stream: for LANE_EARLY_MS it is kept.  One that
 * is too long for a frame goes aside (lane_quic_side.c).  (api/tunnel.md, QUIC transport)
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/pieces.h"
#include "tunnel/lane_internal.h"
#include "tunnel/lane_quic.h"

#define ID_BYTES 4u
/* What a datagram that is kept costs beside its bytes: thousands of empty ones are no gift. */
#define EARLY_COST 256u

struct early {
    struct list node;       /* in lane_early.all */
    struct list in_session; /* in lane_early.sessions[].all */
    uint64_t until_ms;
    uint32_t len;
    uint8_t bytes[];
};

struct early_session {
    uint32_t id;
    struct list all; /* struct early, the oldest first; empty: the place is free */
};

struct lane_early {
    struct list all; /* struct early, owned; the oldest first */
    size_t bytes;    /* with their cost */
    struct early_session sessions[LANE_EARLY_SESSIONS];
};

static struct lane_early *early_of(struct lane *l)
{
    if (!l->early) {
        l->early = must_alloc(sizeof(*l->early));
        list_init(&l->early->all);
        for (unsigned i = 0; i < LANE_EARLY_SESSIONS; i++)
            list_init(&l->early->sessions[i].all);
    }
    return l->early;
}

/* --- what came before its UDP_OPEN ------------------------------------------------------------ */

static void drop_early(struct lane *l, struct early *e)
{
    list_remove(&e->node);
    list_remove(&e->in_session);
    l->early->bytes -= EARLY_COST + e->len;
    budget_give_udp(l->budget, EARLY_COST + e->len);
    free(e);
}

static struct early *first_early(const struct lane *l)
{
    return l->early && !list_is_empty(&l->early->all)
               ? container_of(l->early->all.next, struct early, node)
               : NULL;
}

/* NULL: nothing waits for it. */
static struct early_session *find_early(struct lane_early *early, uint32_t id)
{
    for (unsigned i = 0; i < LANE_EARLY_SESSIONS; i++)
        if (early->sessions[i].id == id && !list_is_empty(&early->sessions[i].all))
            return &early->sessions[i];
    return NULL;
}

/* Its place, or a free one; NULL: so many others wait. */
static struct early_session *early_place(struct lane_early *early, uint32_t id)
{
    struct early_session *s = find_early(early, id);

    for (unsigned i = 0; i < LANE_EARLY_SESSIONS && !s; i++)
        if (list_is_empty(&early->sessions[i].all))
            s = &early->sessions[i];
    if (s)
        s->id = id;
    return s;
}

static void keep_early(struct lane *l, uint32_t id, const uint8_t *bytes, size_t n)
{
    struct lane_early *early = early_of(l);
    size_t cost = EARLY_COST + n;
    struct early_session *s = NULL;
    struct early *e = NULL;

    if (early->bytes + cost <= LANE_EARLY_BYTES)
        s = early_place(early, id);
    if (s && budget_take_udp(l->budget, cost))
        e = must_alloc(sizeof(*e) + n);
    if (!e) {
        l->stats.udp.dropped[UDP_DROP_NO_MEMORY]++;
        return;
    }
    *e = (struct early){.len = (uint32_t)n, .until_ms = l->now_ms + LANE_EARLY_MS};
    if (n > 0)
        memcpy(e->bytes, bytes, n);
    early->bytes += cost;
    list_push(&early->all, &e->node);
    list_push(&s->all, &e->in_session);
    lane_wake(l); /* the deadline moved */
}

void lane_early_deliver(struct lane *l, struct udp_session *u)
{
    struct early_session *s = l->early ? find_early(l->early, u->id) : NULL;

    if (!s)
        return;
    LIST_EACH (&s->all, node, after) {
        struct early *e = container_of(node, struct early, in_session);

        lane_deliver_datagram(l, u->state == UDP_OPEN ? u : NULL, e->bytes, e->len);
        drop_early(l, e);
    }
}

uint64_t lane_early_due(const struct lane *l)
{
    const struct early *e = first_early(l);

    return e ? e->until_ms : UINT64_MAX;
}

void lane_early_expire(struct lane *l)
{
    while (lane_early_due(l) <= l->now_ms) {
        l->stats.udp.dropped[UDP_DROP_CLOSED]++;
        drop_early(l, first_early(l));
    }
}

void lane_early_free(struct lane *l)
{
    struct early *e;

    while ((e = first_early(l)))
        drop_early(l, e);
    free(l->early);
    l->early = NULL;
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

/* --- frames that go out ----------------------------------------------------------------------- */

static bool is_a_datagrams_turn(const struct lane *l, bool are_streams_blocked)
{
    if (l->state != LANE_OPEN || l->out.last)
        return false;
    return are_streams_blocked ? lane_sched_has_udp(&l->out.sched)
                               : lane_sched_is_udp_next(&l->out.sched);
}

/* Its first datagram, too long for a frame: a part of its turn like any other. */
static void send_aside(struct lane *l, struct udp_session *u, const struct udp_datagram *d)
{
    size_t n = ID_BYTES + d->len;

    lane_side_send(l, u, d);
    lane_sched_drained_udp(&l->out.sched, u, n, l->now_ms);
    if (u->queued > 0)
        lane_sched_go_on_udp(&l->out.sched, u);
}

bool lane_quic_pick_datagram(struct lane *l, uint64_t now_ms, size_t max, bool are_streams_blocked,
                             struct lane_quic_datagram *out)
{
    struct udp_datagram d;

    l->now_ms = MAX(l->now_ms, now_ms);
    while (is_a_datagrams_turn(l, are_streams_blocked)) {
        struct udp_session *u = lane_sched_pick_udp(&l->out.sched);

        if (!udp_session_peek(u, l->now_ms, UDP_AGE_ANY, &d))
            continue;
        if (ID_BYTES + d.len > max) {
            send_aside(l, u, &d);
            continue;
        }
        *out = (struct lane_quic_datagram){.session = u, .count = 1 + d.count};
        put_u32(out->id, u->id);
        out->pieces[0] = (struct iovec){out->id, ID_BYTES};
        memcpy(out->pieces + 1, d.pieces, d.count * sizeof(*d.pieces));
        return true;
    }
    return false;
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
        lane_sched_drained_udp(&l->out.sched, u, pieces_bytes(d->pieces, d->count), now_ms);
        udp_session_taken(u);
    } else {
        udp_session_drop(u, UDP_DROP_TOO_BIG);
    }
    if (u->queued > 0)
        lane_sched_go_on_udp(&l->out.sched, u);
}
