/* lane_quic_side - datagrams of a lane on QUIC that are too long for a DATAGRAM frame: each UDP
 * session that has such ones has a unidirectional stream of its own beside it, a side stream.
 *
 *   [id: u32], then [length: u16][payload] ...
 *
 * A side stream is a stream and has flow control, a datagram has not: what finds no room in it is
 * dropped, as in any full queue.  What the queues of both directions hold is charged to
 * limits.udpMemory.  (api/tunnel.md, QUIC transport)
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "tunnel/lane_internal.h"
#include "tunnel/lane_quic.h"

#define ID_BYTES     4u
#define LENGTH_BYTES 2u

/*   OPENING -> READY <-> IDLE        READY -> BLOCKED -> READY        any with a stream -> ENDING
 */
enum side_state {
    SIDE_OPENING, /* QUIC has not made its stream yet */
    SIDE_IDLE,    /* nothing to send */
    SIDE_READY,   /* has bytes to send */
    SIDE_BLOCKED, /* has bytes, and the peer takes no more of it now */
    SIDE_ENDING,  /* its session is over: to be reset */
    SIDE_STATE_COUNT
};

struct udp_side {
    enum side_state state;       /* written by side_enter() only */
    struct list node;            /* in sides.out[state] */
    struct udp_session *session; /* borrowed; NULL: over */
    int64_t stream;              /* -1: OPENING */
    struct sendq out;
    struct udp_charge charge;
};

/*   ID -> LENGTH -> RECORD -> LENGTH        LENGTH, RECORD -> SKIP -> LENGTH */
enum side_in_state {
    SIDE_IN_ID,
    SIDE_IN_LENGTH,
    SIDE_IN_RECORD,
    SIDE_IN_SKIP, /* a record that there is no memory for */
};

struct udp_side_in {
    enum side_in_state state; /* written by side_in_enter() only */
    struct list node;         /* in sides.in */
    uint8_t head[ID_BYTES];   /* of what is not whole: the id, or a length */
    size_t held;              /* bytes in it */
    size_t left;              /* of the record, to come */
    uint32_t id;
    struct bufq q; /* of the record, come */
    struct udp_charge charge;
};

struct lane_sides {
    struct list out[SIDE_STATE_COUNT]; /* struct udp_side, owned, by state */
    struct list in;                    /* struct udp_side_in, owned */
    unsigned out_count, in_count;
};

static struct lane_sides *sides_of(struct lane *l)
{
    if (l->sides)
        return l->sides;
    l->sides = must_alloc(sizeof(*l->sides));
    for (unsigned i = 0; i < SIDE_STATE_COUNT; i++)
        list_init(&l->sides->out[i]);
    list_init(&l->sides->in);
    return l->sides;
}

/* --- coming in -------------------------------------------------------------------------------- */

static void side_in_enter(struct udp_side_in *side, enum side_in_state to)
{
    must(to != SIDE_IN_ID);
    must((to == SIDE_IN_LENGTH) == (side->left == 0));
    side->state = to;
    side->held = 0;
}

static struct udp_side_in *side_in_new(struct lane *l)
{
    struct lane_sides *s = sides_of(l);
    struct udp_side_in *side;

    if (s->in_count == LANE_SIDES_MAX)
        return NULL;
    side = must_alloc(sizeof(*side));
    bufq_init(&side->q, l->pool, UINT16_MAX);
    udp_charge_init(&side->charge, l->budget, l->pool);
    list_push(&s->in, &side->node);
    s->in_count++;
    return side;
}

static void drop_record(struct udp_side_in *side)
{
    must(udp_charge_begin(&side->charge, 0));
    bufq_clear(&side->q);
    udp_charge_settle(&side->charge);
}

void lane_quic_side_closed(struct lane *l, struct udp_side_in *side)
{
    if (!side)
        return;
    drop_record(side);
    bufq_fini(&side->q);
    list_remove(&side->node);
    l->sides->in_count--;
    free(side);
}

static void no_memory(struct lane *l, struct udp_side_in *side)
{
    l->stats.udp.dropped[UDP_DROP_NO_MEMORY]++;
    drop_record(side);
    side_in_enter(side, side->left > 0 ? SIDE_IN_SKIP : SIDE_IN_LENGTH);
}

static void deliver_record(struct lane *l, struct udp_side_in *side)
{
    size_t n = side->q.len;

    if (!l->in.datagram)
        l->in.datagram = malloc(FRAME_PAYLOAD_MAX);
    if (!l->in.datagram) {
        no_memory(l, side);
        return;
    }
    bufq_copy(&side->q, l->in.datagram, n);
    drop_record(side);
    side_in_enter(side, SIDE_IN_LENGTH);
    lane_deliver_datagram(l, lane_find_udp(l, side->id), l->in.datagram, n);
}

/* The id or a length, whole or a part of it; how many bytes that were. */
static size_t take_head(struct lane *l, struct udp_side_in *side, const uint8_t *bytes, size_t n)
{
    size_t whole = side->state == SIDE_IN_ID ? ID_BYTES : LENGTH_BYTES;
    size_t part = MIN(n, whole - side->held);

    memcpy(side->head + side->held, bytes, part);
    side->held += part;
    if (side->held < whole)
        return part;
    if (side->state == SIDE_IN_ID) {
        side->id = get_u32(side->head);
        side_in_enter(side, SIDE_IN_LENGTH);
        return part;
    }
    side->left = get_u16(side->head);
    if (side->left == 0)
        deliver_record(l, side);
    else
        side_in_enter(side, SIDE_IN_RECORD);
    return part;
}

static size_t take_record(struct lane *l, struct udp_side_in *side, const uint8_t *bytes, size_t n)
{
    size_t part = MIN(n, side->left);
    int err = -ERR_NOMEM;

    if (udp_charge_begin(&side->charge, part)) {
        err = bufq_push(&side->q, bytes, part);
        udp_charge_settle(&side->charge);
    }
    side->left -= part;
    if (err)
        no_memory(l, side);
    else if (side->left == 0)
        deliver_record(l, side);
    return part;
}

static size_t skip_record(struct udp_side_in *side, size_t n)
{
    size_t part = MIN(n, side->left);

    side->left -= part;
    if (side->left == 0)
        side_in_enter(side, SIDE_IN_LENGTH);
    return part;
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
        size_t part = 0;

        switch (side->state) {
        case SIDE_IN_ID:
        case SIDE_IN_LENGTH:
            part = take_head(l, side, bytes, n);
            break;
        case SIDE_IN_RECORD:
            part = take_record(l, side, bytes, n);
            break;
        case SIDE_IN_SKIP:
            part = skip_record(side, n);
            break;
        }
        bytes += part;
        n -= part;
    }
    return 0;
}

/* --- going out -------------------------------------------------------------------------------- */

static void side_enter(struct lane_sides *s, struct udp_side *side, enum side_state to)
{
    must(to != SIDE_OPENING && side->state != SIDE_ENDING);
    must(side->stream >= 0);
    side->state = to;
    list_remove(&side->node);
    list_push(&s->out[to], &side->node);
}

static struct udp_side *first_in(const struct lane *l, enum side_state state)
{
    const struct list *list = l->sides ? &l->sides->out[state] : NULL;

    return !list || list_is_empty(list) ? NULL : container_of(list->next, struct udp_side, node);
}

bool lane_has_side_signs(const struct lane *l)
{
    return first_in(l, SIDE_OPENING) || first_in(l, SIDE_ENDING);
}

static void side_free(struct lane_sides *s, struct udp_side *side)
{
    if (side->session)
        side->session->side = NULL;
    list_remove(&side->node);
    must(udp_charge_begin(&side->charge, 0));
    sendq_fini(&side->out);
    udp_charge_settle(&side->charge);
    free(side);
    s->out_count--;
}

/* NULL: there are too many. */
static struct udp_side *side_for(struct lane *l, struct udp_session *u)
{
    struct lane_sides *s = sides_of(l);

    if (u->side || s->out_count == LANE_SIDES_MAX)
        return u->side;
    u->side = must_alloc(sizeof(*u->side));
    u->side->session = u;
    u->side->stream = -1;
    sendq_init(&u->side->out, l->pool, LANE_SIDE_BYTES);
    udp_charge_init(&u->side->charge, l->budget, l->pool);
    list_push(&s->out[SIDE_OPENING], &u->side->node);
    s->out_count++;
    return u->side;
}

void lane_side_end(struct udp_session *u)
{
    struct udp_side *side = u->side;
    struct lane_sides *s = u->lane->sides;

    if (!side)
        return;
    if (side->state == SIDE_OPENING) { /* QUIC never heard of it */
        side_free(s, side);
        return;
    }
    u->side = NULL;
    side->session = NULL;
    side_enter(s, side, SIDE_ENDING);
    lane_wake(u->lane);
}

/* 0, -ERR_FULL, -ERR_NOMEM. */
static int push_record(struct udp_side *side, uint32_t id, const struct udp_datagram *d)
{
    uint8_t head[ID_BYTES + LENGTH_BYTES];
    struct iovec pieces[UDP_PIECES_MAX + 1];
    size_t n = 0;
    int err;

    if (side->out.end == 0) { /* the stream begins with it */
        put_u32(head, id);
        n = ID_BYTES;
    }
    put_u16(head + n, (uint16_t)d->len);
    n += LENGTH_BYTES;
    pieces[0] = (struct iovec){head, n};
    memcpy(pieces + 1, d->pieces, d->count * sizeof(*d->pieces));
    if (!udp_charge_begin(&side->charge, n + d->len))
        return -ERR_NOMEM;
    err = sendq_push_pieces(&side->out, pieces, 1 + d->count);
    udp_charge_settle(&side->charge);
    return err;
}

void lane_side_send(struct lane *l, struct udp_session *u, const struct udp_datagram *d)
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
    if (side->state == SIDE_IDLE)
        side_enter(l->sides, side, SIDE_READY);
}

struct udp_side *lane_quic_next_side_to_open(struct lane *l)
{
    return first_in(l, SIDE_OPENING);
}

/* Idle: there was no memory for its first datagram. */
static enum side_state has_bytes(const struct udp_side *side)
{
    return sendq_is_idle(&side->out) ? SIDE_IDLE : SIDE_READY;
}

void lane_quic_side_opened(struct udp_side *side, int64_t stream)
{
    side->stream = stream;
    side_enter(side->session->lane->sides, side, has_bytes(side));
}

void lane_quic_side_refused(struct lane *l, struct udp_side *side)
{
    l->stats.udp.dropped[UDP_DROP_TOO_BIG]++;
    side_free(l->sides, side);
}

bool lane_quic_next_side_to_end(struct lane *l, int64_t *stream)
{
    struct udp_side *side = first_in(l, SIDE_ENDING);

    if (!side)
        return false;
    *stream = side->stream;
    side_free(l->sides, side); /* once it is reset QUIC reads none of its bytes */
    return true;
}

struct udp_side *lane_quic_pick_side(struct lane *l, int64_t *stream, struct iovec *out, size_t max,
                                     size_t *count)
{
    struct udp_side *side = first_in(l, SIDE_READY);

    if (!side)
        return NULL;
    *stream = side->stream;
    *count = sendq_peek_pieces(&side->out, out, max);
    must(*count > 0);
    return side;
}

void lane_quic_side_written(struct lane *l, struct udp_side *side, size_t n)
{
    sendq_sent(&side->out, n);
    side_enter(l->sides, side, has_bytes(side));
}

static struct udp_side *find_side(const struct lane *l, enum side_state state, int64_t stream)
{
    const struct list *list = l->sides ? &l->sides->out[state] : NULL;

    for (const struct list *n = list ? list->next : NULL; n != list; n = n->next)
        if (container_of(n, struct udp_side, node)->stream == stream)
            return container_of(n, struct udp_side, node);
    return NULL;
}

void lane_quic_side_acked(struct lane *l, int64_t stream, uint64_t n)
{
    static const enum side_state likely[] = {SIDE_IDLE, SIDE_READY, SIDE_BLOCKED};
    struct udp_side *side = NULL;

    for (unsigned i = 0; i < ARRAY_LEN(likely) && !side; i++)
        side = find_side(l, likely[i], stream);
    if (!side)
        return; /* it is to be reset */
    must(udp_charge_begin(&side->charge, 0));
    sendq_acked(&side->out, side->out.acked + n);
    udp_charge_settle(&side->charge);
}

void lane_quic_side_blocked(struct lane *l, struct udp_side *side)
{
    side_enter(l->sides, side, SIDE_BLOCKED);
}

void lane_quic_side_credit(struct lane *l, int64_t stream)
{
    struct udp_side *side = find_side(l, SIDE_BLOCKED, stream);

    if (!side)
        return;
    side_enter(l->sides, side, SIDE_READY);
    lane_wake(l);
}

void lane_sides_free(struct lane *l)
{
    struct lane_sides *s = l->sides;
    struct udp_side *side;

    if (!s)
        return;
    while ((side = first_in(l, SIDE_ENDING)))
        side_free(s, side);
    while (!list_is_empty(&s->in))
        lane_quic_side_closed(l, container_of(s->in.next, struct udp_side_in, node));
    must(s->out_count == 0); /* the sessions have ended theirs */
    free(s);
    l->sides = NULL;
}
