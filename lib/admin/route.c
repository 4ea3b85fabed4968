/* route - which route of the tables a path and a method mean, and what else the path allows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/server.h"

/* Does the raw path fit the pattern?  {x} takes one segment that is not empty. */
static bool is_match(const char *pattern, const char *path)
{
    while (*pattern) {
        if (*pattern == '{') {
            size_t n = strcspn(path, "/");
            if (n == 0)
                return false;
            path += n;
            pattern += strcspn(pattern, "}") + 1;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return *path == '\0';
}

/* The segments that stand for {x}, decoded; the whole path decodes, so each of them does. */
static void take_params(struct admin_request *r, const char *pattern)
{
    const char *path = r->path;

    while (*pattern) {
        size_t n = strcspn(path, "/"), name_n;
        struct parameter *param;

        if (*pattern != '{') {
            pattern++;
            path++;
            continue;
        }
        must(r->params_count < ADMIN_PARAMS_MAX);
        name_n = strcspn(pattern, "}") - 1;
        param = &r->params[r->params_count++];
        param->name = strndup(pattern + 1, name_n);
        param->value = percent_decode(path, n);
        must(param->name != NULL && param->value != NULL);
        path += n;
        pattern += name_n + 2;
    }
}

static void allow(struct route_match *match, const char *method)
{
    size_t n = strlen(match->allow);
    bool is_get = strcmp(method, "GET") == 0;

    must(n + strlen(method) + sizeof(", , HEAD") <= sizeof(match->allow));
    snprintf(match->allow + n, sizeof(match->allow) - n, "%s%s%s", n ? ", " : "", method,
             is_get ? ", HEAD" : "");
}

static void search(struct admin_request *r, const struct admin_route *routes,
                   struct route_match *out)
{
    const char *method = r->is_head ? "GET" : r->method;

    for (; routes && routes->method; routes++) {
        if (!is_match(routes->pattern, r->path))
            continue;
        out->has_path = true;
        out->has_public = out->has_public || routes->access <= ADMIN_PUBLIC;
        allow(out, routes->method);
        if (!out->route && strcmp(routes->method, method) == 0) {
            out->route = routes;
            take_params(r, routes->pattern);
        }
    }
}

void route_find(struct admin_request *r, struct route_match *out)
{
    memset(out, 0, sizeof(*out));
    if (r->client->port->is_metrics) {
        search(r, metrics_routes, out);
        return;
    }
    search(r, builtin_routes, out);
    search(r, r->admin->options.routes, out);
}

static const char *find(const struct parameter *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0)
            return list[i].value;
    return NULL;
}

const char *admin_param(const struct admin_request *r, const char *name)
{
    const char *value = find(r->params, r->params_count, name);

    return value ? value : "";
}

const char *const admin_dry_run_query[] = {"dryRun", NULL};

const char *admin_query(const struct admin_request *r, const char *name)
{
    return find(r->queries, r->queries_count, name);
}

bool admin_is_dry_run(const struct admin_request *r)
{
    const char *value = admin_query(r, "dryRun");

    return value && strcmp(value, "true") == 0;
}
