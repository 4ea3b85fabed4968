/* session - see session.h. */
#include "tunnel/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

static struct list *bucket_of(const struct session_book *b, const char *edge_id)
{
    uint32_t hash =
        2166136261u; /* FNV-1a; ids are the operator's, nobody chooses them to collide */

    for (; *edge_id; edge_id++)
        hash = (hash ^ (uint8_t)*edge_id) * 16777619u;
    return &b->buckets[(hash ^ hash >> 16) & (SESSION_BUCKETS - 1)];
}

void session_book_init(struct session_book *b, const struct session_events *events, void *arg)
{
    *b = (struct session_book){.events = events, .arg = arg};
    list_init(&b->sessions);
    list_init(&b->alone);
    b->buckets = must_alloc(SESSION_BUCKETS * sizeof(*b->buckets));
    for (size_t i = 0; i < SESSION_BUCKETS; i++)
        list_init(&b->buckets[i]);
}

static void session_free(struct session *s)
{
    struct list *node;

    while ((node = list_pop(&s->lanes)))
        free(container_of(node, struct session_lane, node));
    free(s);
}

void session_book_fini(struct session_book *b)
{
    struct list *node;

    if (!b->buckets)
        return;
    while ((node = list_pop(&b->sessions)))
        session_free(container_of(node, struct session, node));
    free(b->buckets);
    b->buckets = NULL;
    b->count = 0;
}

struct session *session_of_edge(const struct session_book *b, const char *edge_id,
                                const struct session *after)
{
    struct list *bucket = bucket_of(b, edge_id);
    struct list *n = after ? after->in_bucket.next : bucket->next;

    for (; n != bucket; n = n->next) {
        struct session *s = container_of(n, struct session, in_bucket);

        if (strcmp(s->edge_id, edge_id) == 0)
            return s;
    }
    return NULL;
}

/* Nobody finds it any more. */
static void leave_book(struct session_book *b, struct session *s)
{
    list_remove(&s->node);
    list_remove(&s->in_bucket);
    list_remove(&s->in_alone);
    must(b->count > 0);
    b->count--;
}

void session_end(struct session_book *b, struct session *s, enum goodbye_code code)
{
    leave_book(b, s);
    b->events->on_end(b->arg, s, code);
    session_free(s);
}

static void add_lane(struct session *s, uint32_t number, void *link)
{
    struct session_lane *lane = must_alloc(sizeof(*lane));

    lane->number = number;
    lane->link = link;
    s->used[number / 64] |= (uint64_t)1 << (number % 64);
    s->lane_count++;
    s->alone_since_ms = 0;
    list_remove(&s->in_alone);
    list_push(&s->lanes, &lane->node);
}

/* The same instance's older session goes; then the oldest of the edge until one more may come. */
static void make_room(struct session_book *b, const struct hello *h, unsigned max_instances)
{
    struct session *s, *next;
    unsigned count = 0;

    for (s = session_of_edge(b, h->edge_id, NULL); s; s = next) {
        next = session_of_edge(b, h->edge_id, s);
        if (strcmp(s->instance, h->instance) == 0)
            session_end(b, s, GOODBYE_REPLACED);
        else
            count++;
    }
    for (; count >= MAX(max_instances, 1u); count--)
        session_end(b, session_of_edge(b, h->edge_id, NULL), GOODBYE_REPLACED);
}

struct session *session_begin(struct session_book *b, const struct hello *h, unsigned max_instances,
                              const uint8_t id[SESSION_BYTES], void *link, enum answer_code *code)
{
    struct session *s;

    if (h->lane != 0) {
        *code = ANSWER_BAD_REQUEST;
        return NULL;
    }
    make_room(b, h, max_instances);
    s = must_alloc(sizeof(*s));
    memcpy(s->id, id, sizeof(s->id));
    snprintf(s->edge_id, sizeof(s->edge_id), "%s", h->edge_id);
    snprintf(s->instance, sizeof(s->instance), "%s", h->instance);
    s->generation = ++b->generation;
    s->book = b;
    list_init(&s->lanes);
    list_init(&s->in_alone);
    add_lane(s, 0, link);
    list_push(&b->sessions, &s->node);
    list_push(bucket_of(b, s->edge_id), &s->in_bucket);
    b->count++;
    *code = ANSWER_OK;
    return s;
}

static struct session *find(struct session_book *b, const struct hello *h)
{
    struct session *s = session_of_edge(b, h->edge_id, NULL);

    while (s && memcmp(s->id, h->session, sizeof(s->id)) != 0)
        s = session_of_edge(b, h->edge_id, s);
    return s && strcmp(s->instance, h->instance) == 0 ? s : NULL;
}

static bool is_expired(const struct session *s, uint64_t now_ms)
{
    return s->alone_since_ms && now_ms - s->alone_since_ms >= SESSION_WITHOUT_LANE_MS;
}

struct session *session_join(struct session_book *b, const struct hello *h, unsigned max_lanes,
                             void *link, uint64_t now_ms, enum answer_code *code)
{
    struct session *s = h->is_session_formed ? find(b, h) : NULL;

    if (!s || is_expired(s, now_ms)) { /* session_expire() may come a moment later */
        *code = ANSWER_UNKNOWN_SESSION;
        return NULL;
    }
    if (s->used[h->lane / 64] >> (h->lane % 64) & 1) {
        *code = ANSWER_LANE_IN_USE;
        return NULL;
    }
    if (s->lane_count - s->draining_count >= max_lanes ||
        s->lane_count >= SESSION_LANES_FACTOR * max_lanes) {
        *code = ANSWER_TOO_MANY_LANES;
        return NULL;
    }
    add_lane(s, h->lane, link);
    *code = ANSWER_OK;
    return s;
}

static struct session_lane *find_lane(const struct session *s, const void *link)
{
    for (struct list *n = s->lanes.next; n != &s->lanes; n = n->next) {
        struct session_lane *lane = container_of(n, struct session_lane, node);

        if (lane->link == link)
            return lane;
    }
    return NULL;
}

void session_lane_lost(struct session *s, const void *link, uint64_t now_ms)
{
    struct session_lane *lane = find_lane(s, link);

    if (!lane)
        return;
    s->lane_count--;
    s->draining_count -= lane->is_draining;
    list_remove(&lane->node);
    free(lane);
    if (s->lane_count > 0)
        return;
    s->alone_since_ms = MAX(now_ms, 1u);
    list_push(&s->book->alone, &s->in_alone);
}

void session_lane_draining(struct session *s, const void *link)
{
    struct session_lane *lane = find_lane(s, link);

    if (lane && !lane->is_draining) {
        lane->is_draining = true;
        s->draining_count++;
    }
}

void *session_first_link(const struct session *s)
{
    const struct session_lane *first = NULL;

    for (const struct list *n = s->lanes.next; n != &s->lanes; n = n->next) {
        const struct session_lane *lane = container_of(n, struct session_lane, node);

        if (!first || lane->number < first->number)
            first = lane;
    }
    return first ? first->link : NULL;
}

uint64_t session_expire(struct session_book *b, uint64_t now_ms)
{
    LIST_EACH (&b->alone, node, after) {
        struct session *s = container_of(node, struct session, in_alone);

        if (!is_expired(s, now_ms)) /* and so are those behind it: all have the same time */
            return s->alone_since_ms + SESSION_WITHOUT_LANE_MS;
        leave_book(b, s);
        b->events->on_expired(b->arg, s);
        session_free(s);
    }
    return UINT64_MAX;
}
