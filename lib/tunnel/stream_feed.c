/* stream_feed - see stream_feed.h. */
#include "tunnel/stream_feed.h"

#include "base/err.h"
#include "tunnel/lane_internal.h"

void lane_feed_init(struct lane_feed *f)
{
    *f = (struct lane_feed){0};
    list_init(&f->line);
}

/* What one in line may read when it is due: whole chunks. */
static uint32_t turn_of(const struct lane *l)
{
    uint32_t bytes = MAX(l->out.sched.turn_bytes, (uint32_t)CHUNK_ROOM);

    return bytes - bytes % CHUNK_ROOM;
}

static bool has_enough(const struct lane *l)
{
    const struct lane_feed *f = &l->out.feed;

    return f->ahead + f->due >= LANE_AHEAD_BYTES;
}

static void feed_line(struct lane *l);

/* The only writer of s->feed. */
static void feed_enter(struct stream *s, enum stream_feed to)
{
    struct lane_feed *f = &s->lane->out.feed;
    enum stream_feed from = s->feed;

    if (from == to)
        return;
    if (from == FEED_IN_LINE)
        list_remove(&s->in_line);
    if (from == FEED_DUE) {
        f->due -= s->turn_left;
        s->turn_left = 0;
    }
    s->feed = to;
    if (to == FEED_IN_LINE) {
        list_push(&f->line, &s->in_line);
        s->lane->stats.ahead_waits++;
    }
    if (to == FEED_DUE) {
        s->turn_left = turn_of(s->lane);
        f->due += s->turn_left;
    }
    if (from == FEED_DUE)
        feed_line(s->lane); /* what it did not read another may */
}

/* Who is told asks from the loop, not from here. */
static void feed_line(struct lane *l)
{
    struct lane_feed *f = &l->out.feed;

    while (!list_is_empty(&f->line) && !has_enough(l)) {
        struct stream *s = container_of(f->line.next, struct stream, in_line);

        feed_enter(s, FEED_DUE);
        stream_changed(s);
    }
}

void stream_feed_ask(struct stream *s, bool has_room)
{
    if (!has_room)
        feed_enter(s, FEED_STARVED);
    else if (s->feed == FEED_STARVED || s->feed == FEED_TOLD)
        feed_enter(s, FEED_FED);
}

/* Of the owner's bytes: the PROXY line in front of them on QUIC is ours. */
static bool has_unsent(const struct stream *s)
{
    return s->sendq.end > MAX(s->sendq.sent, (uint64_t)s->head_out);
}

/* Who asks for one chunk has had small reads lately (link/relay.c), too. */
static bool is_small_reader(const struct stream *s, size_t max)
{
    return !has_unsent(s) && (max == 1 || s->had_small_read);
}

size_t stream_feed_admit(struct stream *s, size_t room, size_t max)
{
    bool is_line = !list_is_empty(&s->lane->out.feed.line) || has_enough(s->lane);

    if (is_line && is_small_reader(s, max)) /* nobody is free of it with more than a chunk */
        max = 1;
    s->is_free = s->is_sustained || (max == 1 && is_small_reader(s, max));
    if (s->feed == FEED_DUE && !s->is_sustained)
        return MIN(room, (size_t)s->turn_left);
    if (s->is_sustained || !is_line) {
        feed_enter(s, FEED_FED);
        return room;
    }
    if (s->is_free) {
        feed_enter(s, FEED_FED);
        return MIN(room, (size_t)CHUNK_ROOM);
    }
    feed_enter(s, FEED_IN_LINE);
    return 0;
}

void stream_feed_give(struct stream *s, size_t n)
{
    s->given = (uint32_t)n;
    if (n == 0)
        feed_enter(s, FEED_STARVED);
}

void stream_feed_put(struct stream *s, size_t n)
{
    struct lane_feed *f = &s->lane->out.feed;
    bool was_all = n < s->given; /* it has no more just now */
    uint32_t of_turn = (uint32_t)MIN(n, (size_t)s->turn_left);

    if (n > 0)
        s->had_small_read = n < CHUNK_ROOM;
    if (!s->is_free || s->feed == FEED_DUE) {
        s->ahead += (uint32_t)n;
        f->ahead += n;
    }
    if (s->feed != FEED_DUE)
        return;
    s->turn_left -= of_turn;
    f->due -= of_turn;
    if (was_all || s->turn_left == 0)
        feed_enter(s, FEED_FED);
}

static void forget(struct stream *s, size_t n)
{
    uint32_t counted = (uint32_t)MIN(n, (size_t)s->ahead);

    s->ahead -= counted;
    s->lane->out.feed.ahead -= counted;
}

void stream_feed_sent(struct stream *s, size_t n)
{
    forget(s, n);
    feed_line(s->lane);
}

void stream_feed_stop(struct stream *s)
{
    feed_enter(s, FEED_FED);
}

void stream_feed_leave(struct stream *s)
{
    stream_feed_stop(s);
    forget(s, SIZE_MAX);
    feed_line(s->lane);
}

void stream_tell_room(struct stream *s)
{
    if (s->feed != FEED_STARVED)
        return;
    feed_enter(s, FEED_TOLD);
    stream_changed(s);
}

bool stream_feed_is_told(const struct stream *s)
{
    return s->feed == FEED_TOLD || s->feed == FEED_DUE;
}

void lane_feed_check(const struct lane *l)
{
    const struct lane_feed *f = &l->out.feed;
    uint64_t ahead = 0, due = 0;

    for (const struct list *node = l->streams.next; node != &l->streams; node = node->next) {
        const struct stream *s = container_of(node, struct stream, in_lane);

        ahead += s->ahead;
        due += s->turn_left;
        must((s->feed == FEED_DUE) == (s->turn_left > 0));
        must((s->feed == FEED_IN_LINE) == !list_is_empty(&s->in_line));
        must(s->ahead <= sendq_unsent(&s->sendq));
    }
    must(ahead == f->ahead);
    must(due == f->due);
    must(list_is_empty(&f->line) || has_enough(l)); /* else who waits would wait for nothing */
}
