/* traffic_api_json - see traffic_api_json.h.
 *
 * Changes of the routes are answered late: the request is deferred, the update goes to the apply
 * thread (route_apply.h), and what became of it is the answer.  A client that goes away meanwhile
 * takes nothing back. */
#include "traffic/traffic_api_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/admin.h"
#include "base/err.h"
#include "base/log.h"
#include "traffic/traffic.h"
#include "traffic/traffic_metrics.h"

#define HOST_TEXT_MAX    (ROUTE_HOST_MAX + 1)
#define BODIES_MIN       (128u << 20)
#define READ_AT_ONCE_MAX 50u /* routes */

static void add(struct json_object *obj, const char *key, struct json_object *value)
{
    int rc = json_object_object_add(obj, key, value);

    must(rc == 0);
}

static struct json_object *number(uint64_t n)
{
    return json_object_new_int64((int64_t)n);
}

static struct json_object *text(const char *s)
{
    return json_object_new_string(s);
}

/* --- reading --------------------------------------------------------------------------------- */

static struct json_object *emit_time(int64_t seconds)
{
    char out[40];
    time_t at = (time_t)seconds;
    struct tm tm;

    gmtime_r(&at, &tm);
    strftime(out, sizeof(out), "%Y-%m-%dT%H:%M:%SZ", &tm);
    return text(out);
}

static struct json_object *emit_error(const struct route_apply_stats *s)
{
    struct json_object *obj;

    if (!s->last_error)
        return NULL;
    obj = json_object_new_object();
    add(obj, "revision", number(s->last_error_number));
    add(obj, "at", emit_time(s->last_error_at));
    add(obj, "detail", text(s->last_error));
    return obj;
}

static struct json_object *emit_updates(const struct route_apply_stats *s)
{
    struct json_object *obj = json_object_new_object();

    add(obj, "applied", number(s->fates[ROUTE_APPLIED] + s->fates[ROUTE_UNCHANGED]));
    add(obj, "rejected", number(s->fates[ROUTE_REJECTED]));
    add(obj, "superseded", number(s->fates[ROUTE_SUPERSEDED]));
    add(obj, "waiting", number(s->waiting + (s->is_busy ? 1u : 0u)));
    return obj;
}

static struct json_object *emit_listeners(const struct traffic *t)
{
    struct json_object *obj = json_object_new_object();

    add(obj, "http", text(t->http_address));
    add(obj, "https", text(t->https_address));
    admin_add_listeners(t->admin, obj);
    return obj;
}

static void get_status(void *service, struct admin_request *r)
{
    struct traffic *t = service;
    const struct route_set *live = route_apply_live(t->apply);
    const struct route_apply_stats *s = route_apply_stats(t->apply);
    struct json_object *obj = json_object_new_object();
    struct traffic_stats sums;

    traffic_sum(t, &sums);
    add(obj, "running", json_object_new_boolean(!service_drain_is_begun(&t->drain)));
    add(obj, "version", text(PENSTOCK_VERSION));
    add(obj, "uptimeSecs", number((clock_now_us() - t->started_us) / 1000000));
    add(obj, "workers", number(t->workers_count));
    add(obj, "listeners", emit_listeners(t));
    add(obj, "routes", number(live->count));
    add(obj, "revision", number(live->revision));
    add(obj, "stored", t->state.is_usable ? number(s->stored) : NULL);
    add(obj, "routesLeftOut", number(traffic_routes_left_out(t)));
    add(obj, "passwordsLost", number(state_folder_passwords_lost(live)));
    add(obj, "desired", number(s->desired));
    add(obj, "lastError", emit_error(s));
    add(obj, "updates", emit_updates(s));
    add(obj, "coreflow", coreflow_emit_state(&t->coreflow));
    add(obj, "connections", number(sums.clients_open));
    add(obj, "connectionsTotal", number(sums.connections));
    add(obj, "requests", number(sums.requests));
    add(obj, "requestsOpen", number(sums.exchanges_open));
    add(obj, "upgradesOpen", number(sums.upgrades_open));
    add(obj, "upstreamConnections", number(sums.upstreams_open));
    add(obj, "targetsDown", number(sums.targets_down));
    add(obj, "healthTargets", number(t->health.count));
    add(obj, "healthDown", health_emit_down(&t->health));
    add(obj, "bytesIn", number(sums.bytes_in));
    add(obj, "bytesOut", number(sums.bytes_out));
    admin_reply(r, 200, obj, NULL);
}

/* The text of a document, the caller's. */
static char *take_text(struct json_object *obj, size_t *len)
{
    const char *made = json_object_to_json_string_length(
        obj, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, len);
    char *copy = must_alloc(*len + 1);

    memcpy(copy, made, *len);
    json_object_put(obj);
    return copy;
}

static char *emit_routes(const struct route_set *set, size_t *len, char etag[ROUTE_ETAG_MAX])
{
    memcpy(etag, set->etag, ROUTE_ETAG_MAX);
    return take_text(route_json_emit_set(set), len);
}

/* The days that are left change while the set does not: the tag is of what is said. */
static char *emit_certificates(const struct route_set *set, size_t *len, char etag[ROUTE_ETAG_MAX])
{
    char *made = take_text(route_json_emit_certificates(set, (int64_t)time(NULL)), len);
    uint8_t digest[32];

    tls_sha256(made, *len, digest);
    for (size_t i = 0; i < 8; i++)
        snprintf(etag + 2 * i, 3, "%02x", digest[i]);
    return made;
}

static void on_reading_gone(struct admin_request *r, void *arg)
{
    struct route_reading *reading = arg;

    must(reading->request == r);
    reading->request = NULL;
}

static void on_read(struct route_reading *reading)
{
    if (!reading->request)
        return;
    if (!reading->text) {
        admin_problem(reading->request, 503, "stopping", "the service ends");
        return;
    }
    admin_reply_text(reading->request, 200, reading->text, reading->len, reading->etag);
    reading->text = NULL; /* taken over */
}

/* A few routes are written here; many take tens of milliseconds, which the control thread does not
 * have. */
static void reply_reading(struct traffic *t, struct admin_request *r,
                          char *(*emit)(const struct route_set *set, size_t *len,
                                        char etag[ROUTE_ETAG_MAX]))
{
    const struct route_set *live = route_apply_live(t->apply);
    struct route_reading *reading;
    char etag[ROUTE_ETAG_MAX], *made;
    size_t len;

    if (live->count <= READ_AT_ONCE_MAX) {
        made = emit(live, &len, etag);
        admin_reply_text(r, 200, made, len, etag);
        return;
    }
    reading = must_alloc(sizeof(*reading));
    reading->emit = emit;
    reading->on_done = on_read;
    reading->request = r;
    admin_defer(r, on_reading_gone, reading);
    route_apply_read(t->apply, reading);
}

static void get_routes(void *service, struct admin_request *r)
{
    reply_reading(service, r, emit_routes);
}

static void get_certificates(void *service, struct admin_request *r)
{
    reply_reading(service, r, emit_certificates);
}

/* A route's own ETag is of its content, so that an edit of another host does not disturb it. */
static void route_etag(const struct route *route, char out[ROUTE_ETAG_MAX])
{
    for (size_t i = 0; i < 8; i++)
        snprintf(out + 2 * i, 3, "%02x", route->digest[i]);
}

/* The path's host name, normalised; false when 404 has been answered: no route can have it. */
static bool take_host(struct admin_request *r, char host[HOST_TEXT_MAX])
{
    const char *given = admin_param(r, "hostName"), *fault = route_host_fault(given, host);

    if (fault)
        admin_problem(r, 404, "notFound", "\"%.64s\" %s", given, fault);
    return !fault;
}

/* The same of a route that is to be there: its name is at fault, as it would be in a whole set. */
static bool take_new_host(struct admin_request *r, char host[HOST_TEXT_MAX])
{
    const char *fault = route_host_fault(admin_param(r, "hostName"), host);
    struct json_check faults;

    if (!fault)
        return true;
    json_check_init(&faults);
    json_fault(&faults, "/hostName", "invalid", "the path's %s", fault);
    admin_problem_faults(r, &faults);
    json_check_fini(&faults);
    return false;
}

static void get_route(void *service, struct admin_request *r)
{
    struct traffic *t = service;
    char host[HOST_TEXT_MAX], etag[ROUTE_ETAG_MAX];
    const struct route *route;

    if (!take_host(r, host))
        return;
    route = route_set_entry(route_apply_live(t->apply), host);
    if (!route) {
        admin_problem(r, 404, "notFound", "there is no route \"%s\"", host);
        return;
    }
    route_etag(route, etag);
    admin_reply(r, 200, route_json_emit(route), etag);
}

/* --- changing -------------------------------------------------------------------------------- */

static struct json_object *emit_names(const struct route_names *names)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < names->count; i++)
        json_object_array_add(list, text(names->list[i]->host));
    return list;
}

/* What a caller needs to know: an update that changed nothing is applied too. */
static const char *public_fate(enum route_fate fate)
{
    if (fate == ROUTE_UNCHANGED)
        return "applied";
    return fate == ROUTE_CHECKED ? "dryRun" : route_fate_name(fate);
}

/* That it is not stored stands first, and not among those of the set, of which a bound is kept. */
static struct json_object *emit_warnings(const struct route_update *u)
{
    struct json_object *list, *of_set;
    struct json_check own;

    json_check_init(&own);
    if (u->is_store_failed)
        json_fault(&own, "", "notStored", ROUTE_NOT_STORED ": %s", u->store_why);
    list = json_faults_emit(&own);
    json_check_fini(&own);
    of_set = json_faults_emit(&u->build.warnings);
    for (size_t i = 0; i < json_object_array_length(of_set); i++)
        json_object_array_add(list, json_object_get(json_object_array_get_idx(of_set, i)));
    json_object_put(of_set);
    return list;
}

static struct json_object *emit_outcome(const struct route_update *u, const struct route_set *live)
{
    struct json_object *obj = json_object_new_object();

    add(obj, "revision", number(live->revision));
    add(obj, "fate", text(public_fate(u->fate)));
    add(obj, "applied", json_object_new_boolean(u->fate != ROUTE_CHECKED));
    add(obj, "dryRun", json_object_new_boolean(u->is_dry_run));
    add(obj, "routes", number(u->set->count));
    add(obj, "added", emit_names(&u->added));
    add(obj, "changed", emit_names(&u->changed));
    add(obj, "removed", emit_names(&u->removed));
    add(obj, "warnings", emit_warnings(u));
    return obj;
}

/* The set's ETag, or the route's where one route was put. */
static void reply_outcome(struct route_update *u, const struct route_set *live)
{
    struct json_object *body = emit_outcome(u, live);
    char etag[ROUTE_ETAG_MAX], *location;

    if (u->is_dry_run || u->kind == ROUTE_UPDATE_DELETE) {
        admin_reply(u->request, 200, body, NULL);
    } else if (u->kind == ROUTE_UPDATE_SET) {
        admin_reply(u->request, 200, body, live->etag);
    } else {
        route_etag(route_set_entry(u->set, u->host), etag);
        if (u->added.count == 0) {
            admin_reply(u->request, 200, body, etag);
            return;
        }
        location = must_printf("/v1/routes/%s", u->host);
        admin_reply_created(u->request, location, body, etag);
        free(location);
    }
}

static void on_done(struct route_update *u, const struct route_set *live)
{
    struct admin_request *r = u->request;

    if (!r)
        return;
    switch (u->fate) {
    case ROUTE_APPLIED:
    case ROUTE_UNCHANGED:
    case ROUTE_CHECKED:
        reply_outcome(u, live);
        break;
    case ROUTE_CHECK_FAILED:
    case ROUTE_REJECTED:
        if (u->has_syntax_error)
            admin_problem_syntax(r, &u->syntax);
        else
            admin_problem_faults(r, &u->build.faults);
        break;
    case ROUTE_SUPERSEDED:
        admin_problem(r, 409, "superseded",
                      "update %" PRIu64 " was superseded by update %" PRIu64
                      " before its turn; revision %" PRIu64 " is live",
                      u->number, u->superseded_by, live->revision);
        break;
    case ROUTE_STOPPED:
        admin_problem(r, 503, "stopping", "the service ends; revision %" PRIu64 " is live",
                      live->revision);
        break;
    case ROUTE_PENDING:
    case ROUTE_FATE_COUNT:
        must(false);
    }
}

/* The precondition is looked at when nothing can come between it and the change. */
static bool on_start(struct route_update *u, const struct route_set *live)
{
    const struct route *route = route_set_entry(live, u->host);
    const char *present = live->etag;
    char etag[ROUTE_ETAG_MAX];
    bool may_go_on = false;

    if (!u->request) /* the precondition went away with the client: only the very same set is safe
                      */
        return live->revision == u->seen_revision;
    if (u->kind != ROUTE_UPDATE_SET) {
        present = route ? etag : NULL;
        if (route)
            route_etag(route, etag);
    }
    if (!route && u->kind == ROUTE_UPDATE_DELETE)
        admin_problem(u->request, 404, "notFound", "there is no route \"%s\"", u->host);
    else
        may_go_on = admin_if_match(u->request, present);
    if (!may_go_on)
        u->request = NULL;
    return may_go_on;
}

static void on_gone(struct admin_request *r, void *arg)
{
    struct route_update *u = arg;

    must(u->request == r);
    u->request = NULL;
}

static void submit(struct traffic *t, struct admin_request *r, enum route_update_kind kind,
                   const char *host)
{
    struct route_update *u = route_update_new(kind);
    int rc;

    u->is_dry_run = admin_is_dry_run(r);
    snprintf(u->host, sizeof(u->host), "%s", host);
    snprintf(u->peer, sizeof(u->peer), "%s", admin_peer(r));
    if (kind != ROUTE_UPDATE_DELETE)
        u->text = admin_take_body(r, &u->text_len);
    u->request = r;
    u->on_start = on_start;
    u->on_done = on_done;
    admin_defer(r, on_gone, u);
    rc = route_apply_submit(t->apply, u);
    if (rc == 0)
        return;
    route_update_free(u);
    admin_problem(r, 503, "busy", "%" PRId64 " updates wait already (limits.waitingUpdates)",
                  t->conf.limits.waiting_updates);
}

static void put_routes(void *service, struct admin_request *r)
{
    submit(service, r, ROUTE_UPDATE_SET, "");
}

static void put_route(void *service, struct admin_request *r)
{
    char host[HOST_TEXT_MAX];

    if (take_new_host(r, host))
        submit(service, r, ROUTE_UPDATE_PUT, host);
}

static void delete_route(void *service, struct admin_request *r)
{
    char host[HOST_TEXT_MAX];

    if (take_host(r, host))
        submit(service, r, ROUTE_UPDATE_DELETE, host);
}

/* --- the server ------------------------------------------------------------------------------ */

static bool is_ready(void *service, char *why, size_t why_size)
{
    struct traffic *t = service;
    const char *fault = NULL;

    if (!trust_watch_is_settled(&t->trust))
        fault = "the names in proxyProtocol.trusted are being looked up";
    else if (!traffic_has_routes(t))
        fault = t->state.first == FIRST_LOST
                    ? "the stored routes cannot be used, and none have come since"
                    : "no routes have come from Coreflow yet, and none were stored";
    snprintf(why, why_size, "%s", fault ? fault : "");
    return !fault;
}

static void collect(void *service, struct metrics *m)
{
    traffic_collect(service, m);
}

static struct json_object *get_config(void *service)
{
    struct traffic *t = service;

    return conf_emit(&traffic_conf_table, &t->conf);
}

#define READ(pattern_, handle_)                                                                    \
    {                                                                                              \
        .method = "GET", .pattern = pattern_, .access = ADMIN_READ, .handle = handle_              \
    }
#define PUT(pattern_, body_max_, handle_)                                                          \
    {                                                                                              \
        .method = "PUT", .pattern = pattern_, .access = ADMIN_WRITE, .takes_body = true,           \
        .body_is_raw = true, .body_max = body_max_, .queries = admin_dry_run_query,                \
        .handle = handle_                                                                          \
    }

/* The table; the limits of the two bodies are configured. */
static struct admin_route *make_routes(const struct traffic_limits *limits)
{
    const struct admin_route table[] = {
        READ("/v1/status", get_status),
        READ("/v1/routes", get_routes),
        PUT("/v1/routes", (size_t)limits->routes_bytes, put_routes),
        READ("/v1/routes/{hostName}", get_route),
        PUT("/v1/routes/{hostName}", (size_t)limits->route_bytes, put_route),
        {.method = "DELETE",
         .pattern = "/v1/routes/{hostName}",
         .access = ADMIN_WRITE,
         .queries = admin_dry_run_query,
         .handle = delete_route},
        READ("/v1/certificates", get_certificates),
        {.method = NULL},
    };
    struct admin_route *routes = must_alloc(sizeof(table));

    memcpy(routes, table, sizeof(table));
    return routes;
}

int traffic_api_start(struct traffic *t)
{
    struct admin_options options = {
        .loop = t->loop,
        .service = "traffic",
        .bodies_max = MAX(BODIES_MIN, 2 * (size_t)t->conf.limits.routes_bytes),
        .openapi = traffic_openapi,
        .openapi_common = traffic_openapi_common,
        .arg = t,
        .drain = &t->drain,
        .events = t->events,
        .is_ready = is_ready,
        .collect = collect,
        .config = get_config,
        .crash_recoveries = t->crash.recovered,
    };
    char why[256] = "";
    int rc = service_tokens_load(&t->tokens, &t->conf.service, why, sizeof(why));

    if (rc != 0)
        return service_start_failed("traffic", rc, "management.token", why);
    options.routes = t->admin_routes = make_routes(&t->conf.limits);
    return service_admin_start(&t->admin, &options, &t->conf.service, &t->tokens);
}

void traffic_api_stop(struct traffic *t)
{
    admin_stop(t->admin);
    t->admin = NULL;
    free(t->admin_routes);
    t->admin_routes = NULL;
    service_tokens_fini(&t->tokens);
}
