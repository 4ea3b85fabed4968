/* trust_watch - see trust_watch.h. */
#include "traffic/trust_watch.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "json/json.h"

static bool has_address(const struct trust_name *n, const union addr *addr)
{
    for (unsigned i = 0; i < n->count; i++)
        if (addr_is_same_host(&n->addrs[i], addr))
            return true;
    return false;
}

/* The order of a lookup's addresses means nothing. */
static bool is_same(const struct trust_name *n, const union addr *addrs, unsigned count)
{
    if (count != n->count)
        return false;
    for (unsigned i = 0; i < count; i++)
        if (!has_address(n, &addrs[i]))
            return false;
    return true;
}

static const char *text_at(const struct trust_watch *w, size_t i)
{
    return json_object_get_string(json_object_array_get_idx(w->list, i));
}

static struct proxy_trust *build(const struct trust_watch *w)
{
    struct proxy_trust *trust = proxy_trust_new();

    for (size_t i = 0; i < json_object_array_length(w->list); i++)
        if (proxy_trust_add(trust, text_at(w, i)) != 0)
            continue; /* a name: below */
    for (size_t i = 0; i < w->names_count; i++)
        for (unsigned a = 0; a < w->names[i].count; a++)
            proxy_trust_add_address(trust, &w->names[i].addrs[a]);
    return trust;
}

static void replace(struct trust_watch *w)
{
    struct proxy_trust *trust = build(w);

    proxy_trust_unref(w->present);
    w->present = trust;
    w->on_change(w, trust);
}

static void on_addresses(struct resolve *q, const union addr *addrs, unsigned count, int err)
{
    struct trust_name *n = container_of(q, struct trust_name, query);

    n->was_asked = true;
    if (err != 0) {
        if (!n->is_failing)
            log_warn("trust", "lookup_failed", LOG_S("name", n->name),
                     LOG_U("kept_addresses", n->count));
        n->is_failing = true;
        return;
    }
    n->is_failing = false;
    count = MIN(count, (unsigned)RESOLVER_ADDRESSES_MAX);
    if (is_same(n, addrs, count))
        return;
    memcpy(n->addrs, addrs, count * sizeof(*addrs));
    n->count = count;
    log_info("trust", "addresses_changed", LOG_S("name", n->name), LOG_U("addresses", count));
    replace(n->watch);
}

/* Asks for each name that is not being asked for. */
static void ask(struct trust_watch *w)
{
    for (size_t i = 0; i < w->names_count; i++)
        if (!w->names[i].query.resolver)
            resolve_start(&w->names[i].query, w->resolver, w->names[i].name, 0, on_addresses);
    deadline_set(&w->again, TRUST_WATCH_EVERY_MS);
}

static void on_due(struct deadline *d)
{
    ask(container_of(d, struct trust_watch, again));
}

/* The names of a list, those that `before` has with what is known of them.  Which may be looked up
 * just now: who asked first gets no answer any more. */
static void take_names(struct trust_watch *w, struct json_object *list,
                       const struct trust_name *before, size_t before_count)
{
    size_t count = json_object_array_length(list);
    struct proxy_trust *probe = proxy_trust_new();

    w->list = json_object_get(list);
    w->names = must_alloc(count * sizeof(*w->names));
    w->names_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct trust_name *n = &w->names[w->names_count];

        if (proxy_trust_add(probe, text_at(w, i)) == 0)
            continue;
        w->names_count++;
        for (size_t k = 0; k < before_count; k++)
            if (strcmp(before[k].name, text_at(w, i)) == 0)
                *n = before[k];
        memset(&n->query, 0, sizeof(n->query));
        n->watch = w;
        n->name = must_strdup(text_at(w, i));
    }
    proxy_trust_unref(probe);
}

static void free_names(struct trust_name *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i].name);
    free(names);
}

void trust_watch_init(struct trust_watch *w, struct loop *loop, struct resolver *resolver,
                      struct json_object *list,
                      void (*on_change)(struct trust_watch *w, struct proxy_trust *trust))
{
    *w = (struct trust_watch){.loop = loop, .resolver = resolver, .on_change = on_change};
    take_names(w, list, NULL, 0);
    w->present = build(w);
    deadline_init(&w->again, loop, on_due);
    if (w->names_count > 0)
        ask(w);
}

void trust_watch_take(struct trust_watch *w, struct json_object *list)
{
    struct trust_name *before = w->names;
    size_t before_count = w->names_count;
    struct json_object *list_before = w->list;

    if (json_object_equal(list, list_before))
        return;
    for (size_t i = 0; i < before_count; i++)
        resolve_cancel(&before[i].query);
    take_names(w, list, before, before_count);
    free_names(before, before_count);
    json_object_put(list_before);
    deadline_off(&w->again);
    if (w->names_count > 0)
        ask(w);
    replace(w);
}

void trust_watch_fini(struct trust_watch *w)
{
    if (!w->loop)
        return;
    deadline_off(&w->again);
    for (size_t i = 0; i < w->names_count; i++)
        resolve_cancel(&w->names[i].query);
    free_names(w->names, w->names_count);
    json_object_put(w->list);
    proxy_trust_unref(w->present);
    memset(w, 0, sizeof(*w));
}

bool trust_watch_is_settled(const struct trust_watch *w)
{
    for (size_t i = 0; i < w->names_count; i++)
        if (!w->names[i].was_asked)
            return false;
    return true;
}
