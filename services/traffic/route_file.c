/* route_file - see route_file.h. */
#include "traffic/route_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tls/tls.h"
#include "traffic/route_json.h"

#define READ_STEP 65536u

struct text {
    char *bytes; /* owned: private keys are in it */
    size_t len, room;
};

static void text_fini(struct text *t)
{
    if (t->bytes)
        tls_wipe(t->bytes, t->room);
    free(t->bytes);
}

/* Not realloc(), which would leave copies of the keys behind. */
static void text_grow(struct text *t)
{
    size_t room = t->room ? 2 * t->room : READ_STEP;
    char *bytes = must_alloc(room);

    if (t->bytes) {
        memcpy(bytes, t->bytes, t->len);
        tls_wipe(t->bytes, t->room);
    }
    free(t->bytes);
    t->bytes = bytes;
    t->room = room;
}

int route_file_read(const char *path, size_t max, char **text, size_t *len, const char **why)
{
    FILE *in = fopen(path, "rbe");
    struct text t = {.bytes = NULL};
    int err = in ? 0 : -ERR_SYS;

    if (in)
        setvbuf(in, NULL, _IONBF, 0); /* no copy in a buffer of stdio's */
    while (in && !feof(in) && !ferror(in) && t.len <= max) {
        if (t.len == t.room)
            text_grow(&t);
        t.len += fread(t.bytes + t.len, 1, t.room - t.len, in);
    }
    if (in && ferror(in))
        err = -ERR_SYS;
    else if (t.len > max)
        err = -ERR_LIMIT;
    *why = err == -ERR_LIMIT ? "it is larger than limits.routesBytes" : strerrordesc_np(errno);
    if (in)
        fclose(in);
    if (err) {
        text_fini(&t);
        return err;
    }
    *text = t.bytes;
    *len = t.len;
    return 0;
}

static void print_list(FILE *err, const char *path, const char *kind, const struct json_check *c)
{
    for (size_t i = 0; i < c->count; i++)
        fprintf(err, "penstock-traffic: routesFile %s: %s%s: %s\n", path, kind,
                c->faults[i].pointer, c->faults[i].detail);
    if (c->total > c->count)
        fprintf(err, "penstock-traffic: routesFile %s: and %zu more\n", path, c->total - c->count);
}

static struct route_set *parse(const struct text *t, const char *path,
                               const struct traffic_limits *limits, const struct auth_key *key,
                               FILE *err)
{
    struct json_object *body;
    struct json_syntax why;
    struct json_list list;
    struct route_build b;
    struct route_set *set;
    size_t line, column;

    if (json_read_list(&body, &list, route_shape_rest.path, t->bytes, t->len, &why) != 0) {
        json_place(t->bytes, why.offset, &line, &column);
        fprintf(err, "penstock-traffic: routesFile %s: line %zu, column %zu (byte %zu): %s\n", path,
                line, column, why.offset, why.reason);
        return NULL;
    }
    route_build_init(&b, key, NULL);
    b.routes_max = (size_t)limits->routes;
    b.destinations_max = (size_t)limits->route_destinations;
    set = route_json_parse_list(&b, body, &list);
    print_list(err, path, "", &b.faults);
    print_list(err, path, "warning: ", &b.warnings);
    route_build_fini(&b);
    json_list_fini(&list);
    route_json_wipe(body);
    json_object_put(body);
    return set;
}

struct route_set *route_file_load(const char *path, const struct traffic_limits *limits,
                                  const struct auth_key *key, FILE *err)
{
    struct text t = {.bytes = NULL};
    struct route_set *set = NULL;
    const char *why;

    if (!path[0]) {
        set = route_set_new(0);
        route_set_seal(set);
        route_set_number(set, 0);
        return set;
    }
    if (route_file_read(path, (size_t)limits->routes_bytes, &t.bytes, &t.len, &why) != 0)
        fprintf(err, "penstock-traffic: routesFile %s: %s\n", path, why);
    else
        set = parse(&t, path, limits, key, err);
    t.room = t.len; /* nothing was written behind */
    text_fini(&t);
    if (set)
        route_set_number(set, 1);
    return set;
}
