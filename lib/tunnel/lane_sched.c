/* lane_sched - see lane_sched.h. */
#include "tunnel/lane_sched.h"

void lane_sched_init(struct lane_sched *q, uint64_t now_ms)
{
    *q = (struct lane_sched){.earned_ms = now_ms, .second_ms = now_ms};
    list_init(&q->normal);
    list_init(&q->sustained);
    list_init(&q->udp);
}

/* Once sustained, a direction stays so. */
static void classify(struct stream *s, uint64_t now_ms)
{
    uint64_t age_ms = now_ms - s->opened_ms;

    if (!s->is_sustained && age_ms >= SCHED_SUSTAINED_AGE_MS &&
        s->sendq.sent >= SCHED_SUSTAINED_RATE / 1000u * age_ms)
        s->is_sustained = true;
}

void lane_sched_add(struct lane_sched *q, struct stream *s, uint64_t now_ms)
{
    if (!list_is_empty(&s->in_ring))
        return;
    classify(s, now_ms);
    s->turn = q->turns++;
    s->turn_sent = 0;
    s->rest_end = 0;
    list_push(s->is_sustained ? &q->sustained : &q->normal, &s->in_ring);
}

void lane_sched_remove(struct stream *s)
{
    list_remove(&s->in_ring);
}

void lane_sched_add_udp(struct lane_sched *q, struct udp_session *u)
{
    if (!list_is_empty(&u->in_ring))
        return;
    u->turn = q->turns++;
    u->turn_sent = 0;
    list_push(&q->udp, &u->in_ring);
}

void lane_sched_remove_udp(struct udp_session *u)
{
    list_remove(&u->in_ring);
}

static void roll(struct lane_sched *q, uint64_t now_ms)
{
    uint64_t rate, most, earned;

    if (now_ms - q->second_ms >= 1000) {
        q->drained_before = now_ms - q->second_ms < 2000 ? q->drained : 0;
        q->drained = 0;
        q->second_ms = now_ms;
    }
    most = MAX(q->drained, q->drained_before);
    q->turn_bytes = (uint32_t)MIN(most / (1000000 / SCHED_TURN_US), (uint64_t)SCHED_TURN_MAX);
    rate = MIN(most / 10, (uint64_t)SCHED_FLOOR_RATE);
    earned = rate * (now_ms - q->earned_ms) / 1000;
    if (earned > 0) { /* a slow lane earns less than a byte a millisecond: let time add up */
        q->tokens += earned;
        q->earned_ms = now_ms;
    }
    /* Never so much saved up that normal streams would feel a burst. */
    q->tokens = MIN(q->tokens, (uint64_t)SCHED_FLOOR_RATE / 4);
}

static bool is_sustained_due(const struct lane_sched *q)
{
    return !list_is_empty(&q->sustained) && q->tokens >= SCHED_TURN_BYTES;
}

bool lane_sched_is_udp_next(const struct lane_sched *q)
{
    if (list_is_empty(&q->udp) || is_sustained_due(q))
        return false;
    return list_is_empty(&q->normal) ||
           container_of(q->udp.next, struct udp_session, in_ring)->turn <
               container_of(q->normal.next, struct stream, in_ring)->turn;
}

bool lane_sched_has_udp(const struct lane_sched *q)
{
    return !list_is_empty(&q->udp);
}

struct udp_session *lane_sched_pick_udp(struct lane_sched *q)
{
    struct list *node = list_pop(&q->udp);

    return node ? container_of(node, struct udp_session, in_ring) : NULL;
}

struct stream *lane_sched_pick(struct lane_sched *q, uint64_t now_ms)
{
    struct list *node;

    if (now_ms != q->earned_ms && !list_is_empty(&q->sustained))
        roll(q, now_ms);
    if (list_is_empty(&q->normal) || is_sustained_due(q))
        node = list_pop(&q->sustained);
    else
        node = list_pop(&q->normal);
    return node ? container_of(node, struct stream, in_ring) : NULL;
}

void lane_sched_return(struct lane_sched *q, struct stream *s)
{
    struct list *ring = s->is_sustained ? &q->sustained : &q->normal;

    list_push(ring->next, &s->in_ring); /* before the first: at the front */
}

void lane_sched_return_udp(struct lane_sched *q, struct udp_session *u)
{
    list_push(q->udp.next, &u->in_ring);
}

/* What was there when the turn ended, not what comes meanwhile: that would go on for ever. */
static bool has_small_rest(struct stream *s)
{
    if (s->rest_end == 0 &&
        sendq_unsent(&s->sendq) <= MIN(s->turn_sent / SCHED_REST_PART, SCHED_REST_MAX))
        s->rest_end = s->sendq.end;
    return s->rest_end == s->sendq.end;
}

void lane_sched_go_on(struct lane_sched *q, struct stream *s, uint64_t now_ms)
{
    if (s->turn_sent < q->turn_bytes || has_small_rest(s))
        lane_sched_return(q, s);
    else
        lane_sched_add(q, s, now_ms);
}

void lane_sched_go_on_udp(struct lane_sched *q, struct udp_session *u)
{
    if (u->turn_sent < q->turn_bytes)
        lane_sched_return_udp(q, u);
    else
        lane_sched_add_udp(q, u);
}

static void drain(struct lane_sched *q, uint64_t n, uint64_t now_ms)
{
    if (now_ms != q->earned_ms)
        roll(q, now_ms);
    q->drained += n;
}

void lane_sched_drained_udp(struct lane_sched *q, struct udp_session *u, uint64_t n,
                            uint64_t now_ms)
{
    drain(q, n, now_ms);
    u->turn_sent += (uint32_t)n;
}

void lane_sched_drained(struct lane_sched *q, struct stream *s, uint64_t n, uint64_t now_ms)
{
    drain(q, n, now_ms);
    s->turn_sent += (uint32_t)n;
    if (s->is_sustained)
        q->tokens -= MIN(q->tokens, n);
}

bool lane_sched_is_empty(const struct lane_sched *q)
{
    return list_is_empty(&q->normal) && list_is_empty(&q->sustained) && list_is_empty(&q->udp);
}

unsigned lane_sched_depth(const struct list *ring)
{
    unsigned n = 0;

    for (const struct list *node = ring->next; node != ring; node = node->next)
        n++;
    return n;
}
