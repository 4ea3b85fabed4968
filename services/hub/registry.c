/* registry - see registry.h: a sorted array of pointers. */
#include "hub/registry.h"
#include "hub/edge_share.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tls/tls.h"
#include "wire/base64url.h"

/* 32 random bytes as they stand in a token. */
static void make_secret(char out[EDGE_SECRET_MADE + 1])
{
    uint8_t bytes[32];

    tls_random(bytes, sizeof(bytes));
    base64url_emit(out, bytes, sizeof(bytes));
    tls_wipe(bytes, sizeof(bytes));
}

void edge_spec_init(struct edge_spec *spec)
{
    *spec = (struct edge_spec){
        .stun_interval_secs = EDGE_STUN_SECS_DEFAULT, .max_instances = 1, .is_enabled = true};
}

void edge_spec_fini(struct edge_spec *spec)
{
    tls_wipe(spec->secret, sizeof(spec->secret));
    free(spec->secret_file);
    spec->secret_file = NULL;
    port_list_fini(&spec->ports);
    port_list_fini(&spec->ports_udp);
}

void edge_spec_make_secret(struct edge_spec *spec)
{
    make_secret(spec->secret);
}

void registry_init(struct registry *r, size_t limit)
{
    uint32_t boot;

    *r = (struct registry){.limit = limit};
    tls_random(&boot, sizeof(boot));
    snprintf(r->boot, sizeof(r->boot), "%08" PRIx32, boot);
    make_secret(r->decoy);
}

void edge_preview_fini(struct edge *edge)
{
    port_list_fini(&edge->ports);
    port_list_fini(&edge->ports_udp);
    tls_wipe(edge->secret, sizeof(edge->secret));
    tls_wipe(edge->old_secret, sizeof(edge->old_secret));
}

static void edge_free(struct edge *edge)
{
    must(edge->sessions == 0 && list_is_empty(&edge->records));
    edge_preview_fini(edge);
    edge_share_unref(edge->share);
    free(edge);
}

void registry_fini(struct registry *r)
{
    for (size_t i = 0; i < r->count; i++)
        edge_free(r->edges[i]);
    free(r->edges);
    tls_wipe(r->decoy, sizeof(r->decoy));
    *r = (struct registry){0};
}

/* Where the id stands, or where it would be put in. */
static size_t position(const struct registry *r, const char *id)
{
    size_t low = 0, high = r->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(r->edges[middle]->id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct edge *registry_find(const struct registry *r, const char *id)
{
    size_t at = position(r, id);

    return at < r->count && strcmp(r->edges[at]->id, id) == 0 ? r->edges[at] : NULL;
}

static struct edge *insert(struct registry *r, const char *id)
{
    size_t at = position(r, id);
    struct edge *edge = must_alloc(sizeof(*edge));

    if (r->count == r->cap) {
        struct edge **grown;

        r->cap = r->cap ? r->cap * 2 : 16;
        grown = must_alloc(r->cap * sizeof(struct edge *));
        if (r->count)
            memcpy(grown, r->edges, r->count * sizeof(struct edge *));
        free(r->edges);
        r->edges = grown;
    }
    memmove(r->edges + at + 1, r->edges + at, (r->count - at) * sizeof(struct edge *));
    *edge = (struct edge){.is_enabled = true};
    list_init(&edge->records);
    snprintf(edge->id, sizeof(edge->id), "%s", id);
    r->edges[at] = edge;
    r->count++;
    return edge;
}

static unsigned compare(const struct edge *edge, const struct edge_spec *spec)
{
    unsigned change = EDGE_SAME;

    if (!port_list_is_equal(&edge->ports, &spec->ports) ||
        !port_list_is_equal(&edge->ports_udp, &spec->ports_udp) ||
        edge->stun_interval_secs != spec->stun_interval_secs)
        change |= EDGE_NEW_CONFIG;
    if (spec->secret[0] && strcmp(edge->secret, spec->secret) != 0)
        change |= EDGE_NEW_SECRET;
    if (edge->is_enabled && !spec->is_enabled)
        change |= EDGE_NOW_DISABLED;
    if ((!edge->is_enabled && spec->is_enabled) || edge->max_instances != spec->max_instances)
        change |= EDGE_OTHER;
    return change;
}

unsigned registry_compare(const struct registry *r, const struct edge_spec *spec)
{
    const struct edge *edge = registry_find(r, spec->id);

    return edge ? compare(edge, spec) : EDGE_ADDED;
}

static void forget_old_secret(struct edge *edge)
{
    tls_wipe(edge->old_secret, sizeof(edge->old_secret));
    edge->old_until = (struct secret_grace){0};
}

/* The ports move. */
static void take_spec(struct edge *edge, struct edge_spec *spec)
{
    if (spec->secret[0] && strcmp(edge->secret, spec->secret) != 0) {
        snprintf(edge->secret, sizeof(edge->secret), "%s", spec->secret);
        edge->secret_number++;
        forget_old_secret(edge); /* whoever sets a secret by hand wants the others gone */
    }
    must(edge->secret[0]); /* nobody could connect, or everybody */
    port_list_fini(&edge->ports);
    port_list_fini(&edge->ports_udp);
    edge->ports = spec->ports;
    edge->ports_udp = spec->ports_udp;
    spec->ports = spec->ports_udp = (struct port_list){0};
    edge->stun_interval_secs = spec->stun_interval_secs;
    edge->max_instances = spec->max_instances;
    edge->is_enabled = spec->is_enabled;
}

int registry_put(struct registry *r, struct edge_spec *spec, unsigned *change)
{
    struct edge *edge = registry_find(r, spec->id);

    *change = edge ? compare(edge, spec) : EDGE_ADDED;
    if (*change == EDGE_SAME)
        return 0;
    if (!edge && r->count >= r->limit)
        return -ERR_LIMIT;
    if (!edge)
        edge = insert(r, spec->id);
    take_spec(edge, spec);
    edge->revision = ++r->revision;
    return 0;
}

/* What is durable of an edge; empty where there is none yet. */
static void copy_edge(const struct registry *r, const char *id, struct edge *out)
{
    const struct edge *edge = registry_find(r, id);

    *out = edge ? *edge : (struct edge){.is_enabled = true};
    list_init(&out->records);
    out->sessions = 0;
    out->share = NULL;
    out->ports = out->ports_udp = (struct port_list){0};
    if (edge) {
        port_list_copy(&out->ports, &edge->ports);
        port_list_copy(&out->ports_udp, &edge->ports_udp);
    }
    snprintf(out->id, sizeof(out->id), "%s", id);
}

void registry_preview(const struct registry *r, const struct edge_spec *spec, struct edge *out)
{
    struct edge_spec copy = *spec;

    copy.ports = copy.ports_udp = (struct port_list){0};
    port_list_copy(&copy.ports, &spec->ports);
    port_list_copy(&copy.ports_udp, &spec->ports_udp);
    copy_edge(r, spec->id, out);
    take_spec(out, &copy);
    tls_wipe(copy.secret, sizeof(copy.secret));
}

void registry_remove(struct registry *r, struct edge *edge)
{
    size_t at = position(r, edge->id);

    must(at < r->count && r->edges[at] == edge);
    memmove(r->edges + at, r->edges + at + 1, (r->count - at - 1) * sizeof(struct edge *));
    r->count--;
    r->revision++;
    edge_free(edge);
}

struct secret_grace secret_grace_of(uint64_t grace_ms, uint64_t now_ms, int64_t now_unix)
{
    if (grace_ms == 0)
        return (struct secret_grace){0};
    return (struct secret_grace){now_ms + grace_ms, now_unix + (int64_t)(grace_ms / 1000)};
}

static void renew(struct edge *edge, const char *secret, struct secret_grace grace)
{
    forget_old_secret(edge);
    if (grace.until_ms > 0) {
        memcpy(edge->old_secret, edge->secret, sizeof(edge->old_secret));
        edge->old_until = grace;
    }
    must(secret[0]);
    snprintf(edge->secret, sizeof(edge->secret), "%s", secret);
    edge->secret_number++;
}

void registry_renew_secret(struct registry *r, struct edge *edge, const char *secret,
                           struct secret_grace grace)
{
    renew(edge, secret, grace);
    edge->revision = ++r->revision;
}

void registry_preview_renewal(const struct registry *r, const struct edge_spec *spec,
                              struct secret_grace grace, struct edge *out)
{
    copy_edge(r, spec->id, out);
    renew(out, spec->secret, grace);
}

const char *edge_old_secret(const struct edge *edge, uint64_t now_ms)
{
    return edge->old_secret[0] && now_ms < edge->old_until.until_ms ? edge->old_secret : NULL;
}

bool edge_is_secret_good(const struct edge *edge, uint64_t number, uint64_t now_ms)
{
    if (number == edge->secret_number)
        return true;
    return number + 1 == edge->secret_number && edge_old_secret(edge, now_ms);
}

const char *registry_etag(const struct registry *r, const struct edge *edge,
                          char out[REGISTRY_ETAG_MAX])
{
    snprintf(out, REGISTRY_ETAG_MAX, "%s-%" PRIu64, r->boot, edge ? edge->revision : r->revision);
    return out;
}
