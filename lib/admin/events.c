/* events - see events.h. */
#include "admin/events.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "loop/loop.h"
#include "tls/tls.h"
#include "json/json.h"

#define NAME_SHOWN_MAX 40 /* bytes of an unknown type that the refusal repeats */

enum { RING_SERVICE, RING_STREAMS, RING_COUNT };

struct event {
    uint64_t number;
    unsigned type;
    char *text; /* owned; NULL: an empty place */
    size_t len;
};

struct ring {
    struct event *events; /* owned: `kept` of them */
    uint32_t types;       /* that go into it */
    uint64_t total;       /* ever put in; the newest is (total - 1) % kept */
};

struct events {
    struct loop *loop;              /* borrowed */
    const struct event_type *types; /* borrowed */
    unsigned types_count;
    size_t kept;
    unsigned subscribers_max, subscribers;
    unsigned wanted[EVENT_TYPES_MAX]; /* subscribers of each type */
    _Atomic uint32_t wanted_mask;     /* the same, for workers */
    char boot[9];
    uint64_t number; /* of the newest */
    struct ring rings[RING_COUNT];
    uint64_t gaps, refused;
    _Atomic uint64_t lost;
    _Atomic unsigned posted;
    void (*on_news)(void *arg); /* or NULL */
    void *arg;
};

struct events *events_new(struct loop *loop, const struct event_type *types, size_t kept,
                          unsigned subscribers_max)
{
    struct events *e = must_alloc(sizeof(*e));
    uint32_t boot;

    e->loop = loop;
    e->types = types;
    for (; types[e->types_count].name; e->types_count++) {
        must(e->types_count < EVENT_TYPES_MAX);
        e->rings[types[e->types_count].is_stream ? RING_STREAMS : RING_SERVICE].types |=
            BIT(e->types_count);
    }
    e->kept = kept;
    e->subscribers_max = subscribers_max;
    tls_random(&boot, sizeof(boot));
    snprintf(e->boot, sizeof(e->boot), "%08" PRIx32, boot);
    for (size_t i = 0; i < RING_COUNT; i++)
        e->rings[i].events = must_alloc(kept * sizeof(struct event));
    return e;
}

void events_free(struct events *e)
{
    if (!e)
        return;
    must(e->subscribers == 0 && atomic_load(&e->posted) == 0);
    for (size_t i = 0; i < RING_COUNT; i++) {
        for (size_t k = 0; k < e->kept; k++)
            free(e->rings[i].events[k].text);
        free(e->rings[i].events);
    }
    free(e);
}

/* --- raising --- */

static void format_time(char out[40])
{
    struct timespec now;
    struct tm utc;
    size_t n;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    n = strftime(out, 40, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out + n, 40 - n, ".%03ldZ", now.tv_nsec / 1000000);
}

/* No newline can be in it: JSON escapes them. */
static char *format(const struct events *e, unsigned type, struct json_object *data, size_t *len)
{
    char *text = must_printf("id: %s-%" PRIu64 "\nevent: %s\ndata: %s\n\n", e->boot, e->number,
                             e->types[type].name,
                             json_object_to_json_string_ext(
                                 data, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));

    *len = strlen(text);
    return text;
}

void events_raise(struct events *e, unsigned type, struct json_object *data)
{
    struct ring *ring;
    struct event *slot;
    char time_text[40];

    if (!e) {
        json_object_put(data);
        return;
    }
    must(type < e->types_count);
    data = data ? data : json_object_new_object();
    format_time(time_text);
    json_object_object_add(data, "time", json_object_new_string(time_text));
    ring = &e->rings[e->types[type].is_stream ? RING_STREAMS : RING_SERVICE];
    slot = &ring->events[ring->total++ % e->kept];
    e->number++;
    free(slot->text);
    slot->number = e->number;
    slot->type = type;
    slot->text = format(e, type, data, &slot->len);
    json_object_put(data);
    if (e->on_news)
        e->on_news(e->arg);
}

/* --- from other threads --- */

struct event_mail {
    struct task task;
    struct events *events;
    unsigned type;
    struct json_object *data; /* owned */
};

static void run_mail(struct task *task)
{
    struct event_mail *mail = container_of(task, struct event_mail, task);

    atomic_fetch_sub_explicit(&mail->events->posted, 1, memory_order_relaxed);
    events_raise(mail->events, mail->type, mail->data);
    free(mail);
}

bool events_wants(const struct events *e, unsigned type)
{
    if (!e)
        return false;
    return !e->types[type].is_stream ||
           atomic_load_explicit(&e->wanted_mask, memory_order_relaxed) & BIT(type);
}

void events_post(struct events *e, unsigned type, struct json_object *data)
{
    struct event_mail *mail;

    if (!e || atomic_fetch_add_explicit(&e->posted, 1, memory_order_relaxed) >= EVENTS_POSTED_MAX) {
        if (e) {
            atomic_fetch_sub_explicit(&e->posted, 1, memory_order_relaxed);
            atomic_fetch_add_explicit(&e->lost, 1, memory_order_relaxed);
        }
        json_object_put(data);
        return;
    }
    mail = must_alloc(sizeof(*mail));
    *mail = (struct event_mail){.task.run = run_mail, .events = e, .type = type, .data = data};
    loop_post(e->loop, &mail->task);
}

/* --- listeners --- */

static int find_type(const struct events *e, const char *name, size_t n)
{
    for (unsigned i = 0; i < e->types_count; i++)
        if (strlen(e->types[i].name) == n && memcmp(e->types[i].name, name, n) == 0)
            return (int)i;
    return -1;
}

/* The names that exist, for the refusal of another one. */
static void tell_types(const struct events *e, const char *name, size_t n, char *why,
                       size_t why_size)
{
    const char *names[EVENT_TYPES_MAX + 1] = {NULL};
    char *all;

    for (unsigned i = 0; i < e->types_count; i++)
        names[i] = e->types[i].name;
    all = must_join(names);
    snprintf(why, why_size, "types: there is no event \"%.*s\"; there are %s",
             (int)MIN(n, (size_t)NAME_SHOWN_MAX), name, all);
    free(all);
}

static int parse_types(const struct events *e, const char *types, uint32_t *mask, char *why,
                       size_t why_size)
{
    *mask = 0;
    for (unsigned i = 0; !types && i < e->types_count; i++)
        *mask |= e->types[i].is_stream ? 0 : BIT(i);
    while (types) {
        size_t n = strcspn(types, ",");
        int type = find_type(e, types, n);

        if (type < 0) {
            tell_types(e, types, n, why, why_size);
            return -ERR_SYNTAX;
        }
        *mask |= BIT((unsigned)type);
        types = types[n] ? types + n + 1 : NULL;
    }
    return 0;
}

static uint64_t oldest(const struct events *e, const struct ring *ring)
{
    return ring->total > e->kept ? ring->total - e->kept : 0;
}

/* The first one of the ring behind event `number`; what is no longer there is a gap. */
static void seek(const struct events *e, struct event_place *place, size_t i, uint64_t number)
{
    const struct ring *ring = &e->rings[i];
    uint64_t at = oldest(e, ring);

    if (at > 0 && place->mask & ring->types && ring->events[at % e->kept].number > number + 1)
        place->has_gap = true; /* those of the other ring may be between; better one too many */
    while (at < ring->total && ring->events[at % e->kept].number <= number)
        at++;
    place->at[i] = at;
}

/* "<boot>-<number>" of this boot. */
static bool parse_id(const struct events *e, const char *id, uint64_t *number)
{
    size_t n = strlen(e->boot);
    char *end;

    if (strncmp(id, e->boot, n) != 0 || id[n] != '-' || id[n + 1] < '0' || id[n + 1] > '9')
        return false;
    *number = strtoull(id + n + 1, &end, 10);
    return *end == '\0' && *number <= e->number;
}

static void count_wanted(struct events *e, uint32_t mask, unsigned add)
{
    uint32_t all = 0;

    for (unsigned i = 0; i < e->types_count; i++) {
        if (mask & BIT(i))
            e->wanted[i] += add; /* or less: it wraps */
        if (e->wanted[i])
            all |= BIT(i);
    }
    atomic_store_explicit(&e->wanted_mask, all, memory_order_relaxed);
}

int events_join(struct events *e, struct event_place *place, const char *types, const char *last_id,
                char *why, size_t why_size)
{
    uint64_t number = e->number;

    *place = (struct event_place){.mask = 0};
    if (parse_types(e, types, &place->mask, why, why_size) != 0)
        return -ERR_SYNTAX;
    if (e->subscribers >= e->subscribers_max) {
        snprintf(why, why_size, "too many listeners (limits.eventSubscribers)");
        e->refused++;
        return -ERR_LIMIT;
    }
    if (last_id && !parse_id(e, last_id, &number)) {
        place->has_gap = true;
        number = 0;
    }
    for (size_t i = 0; i < RING_COUNT; i++)
        seek(e, place, i, number);
    e->gaps += place->has_gap;
    e->subscribers++;
    count_wanted(e, place->mask, 1);
    return 0;
}

void events_leave(struct events *e, struct event_place *place)
{
    e->subscribers--;
    count_wanted(e, place->mask, (unsigned)-1);
}

/* The next event of a ring that this one wants; NULL: none. */
static const struct event *peek(struct events *e, struct event_place *place, size_t i)
{
    const struct ring *ring = &e->rings[i];
    uint64_t first = oldest(e, ring);

    if (!(place->mask & ring->types))
        return NULL;
    if (place->at[i] < first) { /* it was too slow */
        place->at[i] = first;
        place->has_gap = true;
        e->gaps++;
    }
    for (; place->at[i] < ring->total; place->at[i]++) {
        const struct event *event = &ring->events[place->at[i] % e->kept];

        if (place->mask & BIT(event->type))
            return event;
    }
    return NULL;
}

char *events_next(struct events *e, struct event_place *place, size_t *len)
{
    static const char gap[] = "event: gap\ndata: {}\n\n";
    const struct event *a = peek(e, place, RING_SERVICE), *b = peek(e, place, RING_STREAMS);

    if (place->has_gap) {
        place->has_gap = false;
        *len = strlen(gap);
        return must_strdup(gap);
    }
    if (!a && !b)
        return NULL;
    if (!a || (b && b->number < a->number)) {
        a = b;
        place->at[RING_STREAMS]++;
    } else {
        place->at[RING_SERVICE]++;
    }
    *len = a->len;
    return must_strdup(a->text);
}

void events_on_news(struct events *e, void (*on_news)(void *arg), void *arg)
{
    e->on_news = on_news;
    e->arg = arg;
}

void events_stats(const struct events *e, struct events_stats *out)
{
    *out = (struct events_stats){.raised = e->number,
                                 .gaps = e->gaps,
                                 .lost = atomic_load_explicit(&e->lost, memory_order_relaxed),
                                 .refused = e->refused,
                                 .subscribers = e->subscribers};
}
