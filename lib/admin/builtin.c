/* builtin - the routes that every service has: health, readiness, metrics, configuration, log
 * level, the description of the API. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "admin/events.h"
#include "admin/server.h"
#include "admin/service_drain.h"

static struct json_object *object_with(const char *key, const char *value)
{
    struct json_object *object = json_object_new_object();

    must(object != NULL);
    json_object_object_add(object, key, json_object_new_string(value));
    return object;
}

static void get_health(void *service, struct admin_request *r)
{
    (void)service;
    admin_reply(r, 200, object_with("status", "ok"), NULL);
}

static void get_readiness(void *service, struct admin_request *r)
{
    const struct admin_options *options = &r->admin->options;
    struct json_object *body;
    char why[256] = "the service is draining";
    bool is_leaving = options->drain && service_drain_is_begun(options->drain);

    if (!is_leaving && (!options->is_ready || options->is_ready(service, why, sizeof(why)))) {
        admin_reply(r, 200, object_with("status", "ready"), NULL);
        return;
    }
    body = object_with("status", "notReady");
    json_object_object_add(body, "reason", json_object_new_string(why));
    admin_reply(r, 503, body, NULL);
}

/* --- metrics ---------------------------------------------------------------------------------- */

static void skip_blanks(const char **p)
{
    *p += strspn(*p, " \t");
}

/* One member of Accept: how much it wants OpenMetrics 1.0 and the old text, in thousandths. */
struct wish {
    int open_metrics, text;
};

/* "0.5" is 500; what is no weight is 1,000. */
static int parse_weight(const char *p)
{
    int weight = *p == '0' ? 0 : 1000, place = 100;

    if (p[0] != '0' || p[1] != '.')
        return weight;
    for (p += 2; *p >= '0' && *p <= '9' && place > 0; p++, place /= 10)
        weight += (*p - '0') * place;
    return weight;
}

static void weigh_member(const char *member, size_t n, struct wish *wish)
{
    const char *end = member + n, *p = member;
    size_t type_n = strcspn(member, ";, \t");
    bool is_other_version = false, is_open = false, is_text = false;
    int weight = 1000;

    is_open = type_n == 28 && strncasecmp(member, "application/openmetrics-text", 28) == 0;
    is_text = (type_n == 10 && strncasecmp(member, "text/plain", 10) == 0) ||
              (type_n == 6 && strncasecmp(member, "text/*", 6) == 0) ||
              (type_n == 3 && strncasecmp(member, "*/*", 3) == 0);
    for (p += MIN(type_n, n); p < end; p++) {
        if (*p != ';')
            continue;
        p++;
        skip_blanks(&p);
        if (strncasecmp(p, "q=", 2) == 0)
            weight = parse_weight(p + 2);
        else if (strncasecmp(p, "version=", 8) == 0)
            is_other_version = strncmp(p + 8, "1.", 2) != 0 && strncmp(p + 8, "\"1.", 3) != 0;
        p--;
    }
    if (is_open && !is_other_version)
        wish->open_metrics = MAX(wish->open_metrics, weight);
    if (is_text)
        wish->text = MAX(wish->text, weight);
}

/* OpenMetrics only for who names it, and likes it no less than the rest. */
static bool wants_open_metrics(struct admin_request *r)
{
    char *accept = request_header(r, "Accept", NULL);
    struct wish wish = {0, 0};

    for (const char *p = accept; p && *p;) {
        size_t n;

        p += strspn(p, ", \t");
        n = strcspn(p, ",");
        weigh_member(p, n, &wish);
        p += n;
    }
    free(accept);
    return wish.open_metrics > 0 && wish.open_metrics >= wish.text;
}

static void collect_own(struct metrics *m, const struct admin *a)
{
    static const char *const reasons[] = {
#define X(name, text) text,
        ADMIN_REFUSALS(X)
#undef X
    };

    metrics_family(m, "penstock_admin_requests_total", METRIC_COUNTER,
                   "Answers of the management API.");
    for (size_t i = 0; i < ADMIN_METHODS; i++)
        for (unsigned code = 100; code < 600; code++) {
            char text[8];

            if (!a->counters.answers[i][code - 100])
                continue;
            snprintf(text, sizeof(text), "%u", code);
            metrics_value(m, (double)a->counters.answers[i][code - 100], "method", admin_methods[i],
                          "code", text, NULL);
        }
    metrics_family(m, "penstock_admin_refused_total", METRIC_COUNTER,
                   "Requests and connections that the management API refused by itself.");
    for (size_t i = 0; i < ADMIN_REFUSED_COUNT; i++)
        metrics_value(m, (double)a->counters.refused[i], "reason", reasons[i], NULL);
    metrics_family(m, "penstock_admin_connections", METRIC_GAUGE,
                   "Open connections of the management API.");
    metrics_value(m, (double)a->main->clients_count, "port", "management", NULL);
    if (a->metrics)
        metrics_value(m, (double)a->metrics->clients_count, "port", "metrics", NULL);
}

static void count(struct metrics *m, const char *name, enum metric_type type, const char *help,
                  uint64_t value)
{
    metrics_family(m, name, type, help);
    metrics_value(m, (double)value, NULL);
}

static void collect_events(struct metrics *m, const struct admin *a)
{
    struct events_stats s;

    if (!a->options.events)
        return;
    events_stats(a->options.events, &s);
    count(m, "penstock_admin_events_total", METRIC_COUNTER, "Events raised.", s.raised);
    count(m, "penstock_admin_event_gaps_total", METRIC_COUNTER,
          "Listeners that missed some, and were told (limits.eventsKept).", s.gaps);
    count(m, "penstock_admin_events_lost_total", METRIC_COUNTER,
          "Events of streams that came faster than they could be told.", s.lost);
    count(m, "penstock_admin_event_subscribers", METRIC_GAUGE, "Listeners to events.",
          s.subscribers);
    count(m, "penstock_admin_event_subscribers_refused_total", METRIC_COUNTER,
          "Listeners refused (limits.eventSubscribers).", s.refused);
}

static void get_metrics(void *service, struct admin_request *r)
{
    bool is_open = wants_open_metrics(r);
    struct metrics *m = metrics_new(is_open);
    size_t len = 0;
    char *text;

    metrics_process(m, r->admin->service);
    metrics_family(m, "penstock_crash_recoveries_total", METRIC_COUNTER,
                   "Starts of the service after a crash (limits.restarts bounds a row of them).");
    metrics_value(m, (double)r->admin->options.crash_recoveries, NULL);
    collect_own(m, r->admin);
    collect_events(m, r->admin);
    if (r->admin->options.collect)
        r->admin->options.collect(service, m);
    text = metrics_finish(m, &len);
    reply_header(r, "Vary", "Accept");
    reply_text(r, 200,
               is_open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                       : "text/plain; version=0.0.4; charset=utf-8",
               text, len);
}

/* --- configuration, log, description ---------------------------------------------------------- */

/* The level may be another one since PUT /v1/log-level. */
static void get_config(void *service, struct admin_request *r)
{
    const struct admin_options *options = &r->admin->options;
    struct json_object *log = NULL;
    struct json_object *config =
        options->config ? options->config(service) : json_object_new_object();

    if (json_object_object_get_ex(config, "log", &log) && json_has(log, "level"))
        json_object_object_add(log, "level", json_object_new_string(log_level_name(log_level())));
    admin_reply(r, 200, config, NULL);
}

static void get_log_level(void *service, struct admin_request *r)
{
    (void)service;
    admin_reply(r, 200, object_with("level", log_level_name(log_level())), NULL);
}

static void put_log_level(void *service, struct admin_request *r)
{
    static const char *const keys[] = {"level", NULL};
    struct json_object *body = admin_body(r);
    struct json_check faults;
    const char *name;
    int level = -1;

    (void)service;
    json_check_init(&faults);
    if (!json_object_is_type(body, json_type_object)) {
        json_fault(&faults, "", "type", "must be an object");
    } else {
        json_only(&faults, "", body, keys);
        name = json_str(&faults, "", body, "level", JSON_REQUIRED, 1, 16);
        level = name ? log_level_parse(name) : -1;
        if (name && level < 0)
            json_fault(&faults, "/level", "invalid", "must be one of debug, info, warn, error");
    }
    if (json_check_failed(&faults)) {
        admin_problem_faults(r, &faults);
    } else {
        if (!admin_is_dry_run(r))
            log_set_level((enum log_level)level);
        admin_reply(r, 200, object_with("level", log_level_name((enum log_level)level)), NULL);
    }
    json_check_fini(&faults);
}

/* Answered at once: the connection is one of those that may finish. */
static void post_drain(void *service, struct admin_request *r)
{
    struct service_drain *drain = r->admin->options.drain;
    struct json_object *body;

    (void)service;
    if (!drain) {
        admin_problem(r, 404, "notFound", "this service does not drain");
        return;
    }
    body = object_with("status", "draining");
    json_object_object_add(body, "drainDelaySecs",
                           json_object_new_int64(drain->conf->drain_delay_secs));
    json_object_object_add(body, "drainSecs", json_object_new_int64(drain->conf->drain_secs));
    json_object_object_add(body, "dryRun", json_object_new_boolean(admin_is_dry_run(r)));
    if (!admin_is_dry_run(r))
        service_drain_begin(drain, "api");
    admin_reply(r, 202, body, NULL);
}

static void reply_yaml(struct admin_request *r, const char *text)
{
    if (!text) {
        admin_problem(r, 404, "notFound", "this service has no such description");
        return;
    }
    reply_text(r, 200, "application/yaml", must_strdup(text), strlen(text));
}

static void get_openapi(void *service, struct admin_request *r)
{
    (void)service;
    reply_yaml(r, r->admin->options.openapi);
}

/* What api/<service>.yaml refers to as ./common.yaml. */
static void get_openapi_common(void *service, struct admin_request *r)
{
    (void)service;
    reply_yaml(r, r->admin->options.openapi_common);
}

static const char *const event_queries[] = {"types", NULL};

const struct admin_route builtin_routes[] = {
    {.method = "GET", .pattern = "/healthz", .access = ADMIN_OPEN, .handle = get_health},
    {.method = "GET", .pattern = "/readyz", .access = ADMIN_OPEN, .handle = get_readiness},
    {.method = "GET", .pattern = "/metrics", .access = ADMIN_READ, .handle = get_metrics},
    {.method = "GET", .pattern = "/openapi.yaml", .access = ADMIN_READ, .handle = get_openapi},
    {.method = "GET",
     .pattern = "/common.yaml",
     .access = ADMIN_READ,
     .handle = get_openapi_common},
    {.method = "GET", .pattern = "/v1/config", .access = ADMIN_READ, .handle = get_config},
    {.method = "GET", .pattern = "/v1/log-level", .access = ADMIN_READ, .handle = get_log_level},
    {.method = "PUT",
     .pattern = "/v1/log-level",
     .access = ADMIN_WRITE,
     .takes_body = true,
     .queries = admin_dry_run_query,
     .handle = put_log_level},
    {.method = "POST",
     .pattern = "/v1/drain",
     .access = ADMIN_WRITE,
     .queries = admin_dry_run_query,
     .handle = post_drain},
    {.method = "GET",
     .pattern = "/v1/events",
     .access = ADMIN_READ,
     .queries = event_queries,
     .handle = get_events},
    {.method = NULL},
};

const struct admin_route metrics_routes[] = {
    {.method = "GET", .pattern = "/healthz", .access = ADMIN_OPEN, .handle = get_health},
    {.method = "GET", .pattern = "/readyz", .access = ADMIN_OPEN, .handle = get_readiness},
    {.method = "GET", .pattern = "/metrics", .access = ADMIN_PUBLIC, .handle = get_metrics},
    {.method = NULL},
};
