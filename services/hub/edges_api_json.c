/* edges_api_json - the registry over the API: the whole set, and one edge.
 *
 * A change is checked whole before any of it is made, and is durable before it is answered
 * (change.h); with ?dryRun=true nothing is made, and the answer is what it would be. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "hub/hub_api_json.h"
#include "json/json.h"

static struct spec_rules rules_of(const struct hub *h)
{
    return (struct spec_rules){h->shared.targets, h->shared.targets_udp, &h->shared.own};
}

void api_get_edges(void *service, struct admin_request *r)
{
    const struct hub *h = service;
    struct json_object *o = json_object_new_object(), *list = json_object_new_array();
    char etag[REGISTRY_ETAG_MAX];

    for (size_t i = 0; i < h->registry.count; i++)
        json_object_array_add(list, edge_emit(h->registry.edges[i]));
    json_object_object_add(o, "edges", list);
    admin_reply(r, 200, o, registry_etag(&h->registry, NULL, etag));
}

void api_get_edge(void *service, struct admin_request *r)
{
    const struct hub *h = service;
    const struct edge *edge = api_find_edge(h, r);
    char etag[REGISTRY_ETAG_MAX];

    if (edge)
        admin_reply(r, 200, edge_emit(edge), registry_etag(&h->registry, edge, etag));
}

/* --- POST: one more ----------------------------------------------------------------------------
 */

static void answer_created(struct hub *h, struct admin_request *r, const char *id,
                           struct json_object *body)
{
    const struct edge *edge = registry_find(&h->registry, id);
    char etag[REGISTRY_ETAG_MAX], location[sizeof("/v1/edges/") + EDGE_ID_MAX];
    struct json_object *o = edge_emit(edge);
    char *token;

    (void)body;
    if (*h->conf.public_host) {
        token = hub_make_token(h, edge, h->conf.public_host, hub_public_port(h));
        api_add_str(o, "token", token);
        tls_wipe(token, strlen(token));
        free(token);
    }
    snprintf(location, sizeof(location), "/v1/edges/%s", edge->id);
    admin_reply_created(r, location, o, registry_etag(&h->registry, edge, etag));
}

static void create(struct hub *h, struct change *c, struct admin_request *r, struct edge_spec *spec)
{
    if (h->registry.count >= h->registry.limit) {
        count_one(&h->shared.counters.edges_refused);
        admin_problem(r, 409, "limit", "the registry is full (limits.edges)");
        return;
    }
    change_put(c, spec);
    change_commit(h, c, spec->id, NULL, answer_created);
}

/* What the edge would look like. */
static struct json_object *emit_spec(const struct edge_spec *spec)
{
    struct edge edge = {.ports = spec->ports, /* borrowed */
                        .ports_udp = spec->ports_udp,
                        .stun_interval_secs = spec->stun_interval_secs,
                        .max_instances = spec->max_instances,
                        .is_enabled = spec->is_enabled};

    memcpy(edge.id, spec->id, sizeof(edge.id));
    return edge_emit(&edge);
}

static void check_post(struct hub *h, struct change *c, struct admin_request *r)
{
    struct spec_rules rules = rules_of(h);
    char etag[REGISTRY_ETAG_MAX];
    struct json_check faults;
    struct edge_spec spec;

    if (!admin_if_match(r, registry_etag(&h->registry, NULL, etag)))
        return;
    json_check_init(&faults);
    edge_spec_init(&spec);
    edge_spec_parse(&spec, admin_body(r), SPEC_FROM_API, &rules, &faults, "");
    if (json_check_failed(&faults))
        admin_problem_faults(r, &faults);
    else if (registry_find(&h->registry, spec.id))
        admin_problem(r, 409, "exists", "the edge \"%s\" exists", spec.id);
    else if (admin_is_dry_run(r))
        admin_reply(r, 200, emit_spec(&spec), NULL);
    else
        create(h, c, r, &spec);
    edge_spec_fini(&spec);
    json_check_fini(&faults);
}

void api_post_edges(void *service, struct admin_request *r)
{
    change_begin(service, r, check_post);
}

/* --- PUT: the whole set
 * ------------------------------------------------------------------------------ */

static bool is_named(struct edge_spec **sorted, size_t count, const char *id)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(sorted[middle]->id, id);

        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static int by_id(const void *a, const void *b)
{
    const struct edge_spec *const *x = a, *const *y = b;

    return strcmp((*x)->id, (*y)->id);
}

/* The edges that the set does not name. */
static void remove_others(const struct hub *h, struct change *c, struct edge_spec *specs,
                          size_t count, struct json_object *removed)
{
    struct edge_spec **sorted = must_alloc(MAX(count, 1u) * sizeof(*sorted));

    for (size_t i = 0; i < count; i++)
        sorted[i] = &specs[i];
    qsort(sorted, count, sizeof(*sorted), by_id);
    for (size_t i = 0; i < h->registry.count; i++) {
        const struct edge *edge = h->registry.edges[i];

        if (is_named(sorted, count, edge->id))
            continue;
        json_object_array_add(removed, json_object_new_string(edge->id));
        change_remove(c, edge->id);
    }
    free(sorted);
}

static void answer_replaced(struct hub *h, struct admin_request *r, const char *id,
                            struct json_object *body)
{
    char etag[REGISTRY_ETAG_MAX];

    (void)id;
    admin_reply(r, 200, body, registry_etag(&h->registry, NULL, etag));
}

/* Removals first: what comes in their place finds room. */
static void replace(struct hub *h, struct change *c, struct admin_request *r,
                    struct edge_spec *specs, size_t count)
{
    struct json_object *o = json_object_new_object(), *added = json_object_new_array();
    struct json_object *changed = json_object_new_array(), *removed = json_object_new_array();
    size_t steps;

    remove_others(h, c, specs, count, removed);
    for (size_t i = 0; i < count; i++) {
        unsigned change = registry_compare(&h->registry, &specs[i]);

        if (change == EDGE_SAME)
            continue;
        json_object_array_add(change & EDGE_ADDED ? added : changed,
                              json_object_new_string(specs[i].id));
        change_put(c, &specs[i]);
    }
    steps = json_object_array_length(added) + json_object_array_length(changed) +
            json_object_array_length(removed);
    json_object_object_add(o, "added", added);
    json_object_object_add(o, "changed", changed);
    json_object_object_add(o, "removed", removed);
    json_object_object_add(o, "dryRun", json_object_new_boolean(admin_is_dry_run(r)));
    if (steps == 0 || admin_is_dry_run(r))
        answer_replaced(h, r, "", o);
    else
        change_commit(h, c, "", o, answer_replaced);
}

static void check_put(struct hub *h, struct change *c, struct admin_request *r)
{
    struct spec_rules rules = rules_of(h);
    struct json_object *body = admin_body(r), *list = body;
    bool is_bare = json_object_is_type(body, json_type_array);
    char etag[REGISTRY_ETAG_MAX];
    struct edge_spec *specs = NULL;
    struct json_check faults;
    size_t count = 0;

    if (!admin_if_match(r, registry_etag(&h->registry, NULL, etag)))
        return;
    json_check_init(&faults);
    if (!is_bare) {
        json_only(&faults, "", body, (const char *const[]){"edges", NULL});
        list = json_array(&faults, "", body, "edges", JSON_REQUIRED, 0, SIZE_MAX);
    }
    if (list && edge_specs_parse(&specs, &count, list, h->registry.limit, SPEC_FROM_API, &rules,
                                 &faults, is_bare ? "" : "/edges") != 0)
        must(json_check_failed(&faults));
    if (list && json_object_array_length(list) > h->registry.limit)
        count_one(&h->shared.counters.edges_refused);
    if (json_check_failed(&faults))
        admin_problem_faults(r, &faults);
    else
        replace(h, c, r, specs, count);
    for (size_t i = 0; i < count; i++)
        edge_spec_fini(&specs[i]);
    free(specs);
    json_check_fini(&faults);
}

void api_put_edges(void *service, struct admin_request *r)
{
    change_begin(service, r, check_put);
}

/* --- one edge ----------------------------------------------------------------------------------
 */

static void answer_edge(struct hub *h, struct admin_request *r, const char *id,
                        struct json_object *body)
{
    const struct edge *edge = registry_find(&h->registry, id);
    char etag[REGISTRY_ETAG_MAX];

    (void)body;
    admin_reply(r, 200, edge_emit(edge), registry_etag(&h->registry, edge, etag));
}

static void check_patch(struct hub *h, struct change *c, struct admin_request *r)
{
    const struct edge *edge = api_find_edge(h, r);
    struct spec_rules rules = rules_of(h);
    char etag[REGISTRY_ETAG_MAX];
    struct json_check faults;
    struct edge_spec spec;

    if (!edge || !admin_if_match(r, registry_etag(&h->registry, edge, etag)))
        return;
    json_check_init(&faults);
    edge_spec_of(&spec, edge);
    edge_spec_parse(&spec, admin_body(r), SPEC_FROM_API, &rules, &faults, "");
    if (json_check_failed(&faults)) {
        admin_problem_faults(r, &faults);
    } else if (admin_is_dry_run(r)) {
        admin_reply(r, 200, emit_spec(&spec), NULL);
    } else if (registry_compare(&h->registry, &spec) == EDGE_SAME) {
        answer_edge(h, r, edge->id, NULL);
    } else {
        change_put(c, &spec);
        change_commit(h, c, edge->id, NULL, answer_edge);
    }
    edge_spec_fini(&spec);
    json_check_fini(&faults);
}

void api_patch_edge(void *service, struct admin_request *r)
{
    change_begin(service, r, check_patch);
}

static void answer_deleted(struct hub *h, struct admin_request *r, const char *id,
                           struct json_object *body)
{
    (void)h;
    (void)id;
    (void)body;
    admin_reply_empty(r, 204);
}

static void check_delete(struct hub *h, struct change *c, struct admin_request *r)
{
    const struct edge *edge = api_find_edge(h, r);
    char etag[REGISTRY_ETAG_MAX];

    if (!edge || !admin_if_match(r, registry_etag(&h->registry, edge, etag)))
        return;
    if (admin_is_dry_run(r)) {
        answer_deleted(h, r, edge->id, NULL);
        return;
    }
    change_remove(c, edge->id);
    change_commit(h, c, edge->id, NULL, answer_deleted);
}

void api_delete_edge(void *service, struct admin_request *r)
{
    change_begin(service, r, check_delete);
}
