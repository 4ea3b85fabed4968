/* session - see session.h. */
#include "tunnel/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

void session_book_init(struct session_book *b,
                       void (*on_end)(void *arg, struct session *s, enum goodbye_code code),
                       void *arg)
{
    *b = (struct session_book){.on_end = on_end, .arg = arg};
    list_init(&b->sessions);
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

    while ((node = list_pop(&b->sessions)))
        session_free(container_of(node, struct session, node));
    b->count = 0;
}

void session_end(struct session_book *b, struct session *s, enum goodbye_code code)
{
    list_remove(&s->node);
    must(b->count > 0);
    b->count--;
    b->on_end(b->arg, s, code);
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
    list_push(&s->lanes, &lane->node);
}

/* The same instance's older session goes; then the oldest of the edge until one more may come. */
static void make_room(struct session_book *b, const struct hello *h, unsigned max_instances)
{
    unsigned count = 0;

    LIST_EACH(&b->sessions, node, after)
    {
        struct session *s = container_of(node, struct session, node);

        if (strcmp(s->edge_id, h->edge_id) != 0)
            continue;
        if (strcmp(s->instance, h->instance) == 0)
            session_end(b, s, GOODBYE_REPLACED);
        else
            count++;
    }
    LIST_EACH(&b->sessions, node, after)
    {
        struct session *s = container_of(node, struct session, node);

        if (count < MAX(max_instances, 1u))
            break;
        if (strcmp(s->edge_id, h->edge_id) == 0) {
            session_end(b, s, GOODBYE_REPLACED);
            count--;
        }
    }
}

struct session *session_begin(struct session_book *b, const struct hello *h,
                              unsigned max_instances, const uint8_t id[SESSION_BYTES], void *link,
                              uint64_t now_ms, enum answer_code *code)
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
    s->began_ms = now_ms;
    list_init(&s->lanes);
    add_lane(s, 0, link);
    list_push(&b->sessions, &s->node);
    b->count++;
    *code = ANSWER_OK;
    return s;
}

static struct session *find(struct session_book *b, const struct hello *h)
{
    LIST_EACH(&b->sessions, node, after)
    {
        struct session *s = container_of(node, struct session, node);

        if (memcmp(s->id, h->session, sizeof(s->id)) == 0)
            return strcmp(s->edge_id, h->edge_id) == 0 && strcmp(s->instance, h->instance) == 0
                       ? s
                       : NULL;
    }
    return NULL;
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
    if (s->lane_count - s->draining_count >= max_lanes) {
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
    if (s->lane_count == 0)
        s->alone_since_ms = MAX(now_ms, 1u);
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
    uint64_t next = UINT64_MAX;

    LIST_EACH(&b->sessions, node, after)
    {
        struct session *s = container_of(node, struct session, node);

        if (!s->alone_since_ms)
            continue;
        if (is_expired(s, now_ms))
            session_end(b, s, GOODBYE_OVERLOADED);
        else
            next = MIN(next, s->alone_since_ms + SESSION_WITHOUT_LANE_MS);
    }
    return next;
}
