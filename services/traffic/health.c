/* health - see health.h.  A check's own connection says more than a kept one could: that the
 * destination accepts, too.  Only the status line is looked at; then the connection is closed. */
#include "traffic/health.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "admin/metrics.h"
#include "base/err.h"
#include "loop/socket.h"
#include "tls/tls.h"
#include "json/json.h"

#define BUCKETS          1024u
#define STATUS_LINE_NEED 13u /* "HTTP/1.1 200 " */
#define REQUEST_MAX      1536u
#define WATCH_KEY_MAX    (ADDR_TEXT_MAX + ROUTE_HOST_MAX + 1200u)

enum watch_state { WATCH_WAITING, WATCH_CONNECTING, WATCH_HANDSHAKE, WATCH_ASKING };

struct health_watch {
    struct list node;              /* of all */
    struct health_watch *next;     /* in its bucket */
    struct health *health;         /* borrowed */
    char *key;                     /* owned: all that makes it one check */
    struct health_mark *mark;      /* counted */
    struct route_options *options; /* counted: of a route that named it */
    char *host;                    /* owned */
    union addr addr;
    char target[ADDR_TEXT_MAX];
    uint64_t generation; /* of the newest set that names it */
    enum watch_state state;
    int fd; /* owned; -1 */
    struct loop_io io;
    struct deadline deadline; /* of the check, or until the next one */
    struct tls *tls;          /* owned */
    char line[STATUS_LINE_NEED];
    size_t line_len;
    unsigned in_a_row; /* answers that say otherwise than the mark */
    int64_t since;     /* seconds since 1970: of the mark's state */
};

/* --- marks ----------------------------------------------------------------------------------- */

static struct health_mark *mark_ref(struct health_mark *mark)
{
    atomic_fetch_add_explicit(&mark->refs, 1, memory_order_relaxed);
    return mark;
}

static void mark_unref(struct health_mark *mark)
{
    if (mark && atomic_fetch_sub_explicit(&mark->refs, 1, memory_order_acq_rel) == 1)
        free(mark);
}

void health_marks_free(struct health_mark **marks, size_t count)
{
    for (size_t i = 0; marks && i < count; i++)
        mark_unref(marks[i]);
    free(marks);
}

static bool is_down(const struct health_watch *w)
{
    return atomic_load_explicit(&w->mark->is_down, memory_order_relaxed);
}

static void set_down(struct health_watch *w, bool down)
{
    struct health *h = w->health;

    atomic_store_explicit(&w->mark->is_down, down, memory_order_relaxed);
    h->down += down ? 1u : (unsigned)-1;
    w->since = (int64_t)time(NULL);
    if (h->on_change)
        h->on_change(h, &(struct health_change){.host = w->host,
                                                .target = w->target,
                                                .path = w->options->health.path,
                                                .is_up = !down});
}

/* --- one check ---------------------------------------------------------------------------------
 */

/* The only place that ends a check; the next one is due after the interval. */
static void end_check(struct health_watch *w, bool is_good)
{
    const struct route_health *conf = &w->options->health;

    loop_io_arm(&w->io, 0);
    tls_free(w->tls);
    w->tls = NULL;
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    w->state = WATCH_WAITING;
    w->health->good += is_good;
    w->health->bad += !is_good;
    w->in_a_row = is_good == is_down(w) ? w->in_a_row + 1 : 0;
    if (w->in_a_row >= (is_good ? conf->healthy_threshold : conf->unhealthy_threshold)) {
        w->in_a_row = 0;
        set_down(w, !is_good);
    }
    deadline_set(&w->deadline, conf->interval_ms);
}

static size_t make_request(const struct health_watch *w, char out[REQUEST_MAX])
{
    const char *host = w->host[0] == '*' ? w->target : w->host;
    int n = snprintf(out, REQUEST_MAX,
                     "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: penstock-health\r\n"
                     "Accept: */*\r\nConnection: close\r\n\r\n",
                     w->options->health.path, host);

    must(n > 0 && (size_t)n < REQUEST_MAX);
    return (size_t)n;
}

/* The socket is empty: a request of this size goes in whole. */
static bool send_request(struct health_watch *w)
{
    char text[REQUEST_MAX];
    size_t n = make_request(w, text);

    w->state = WATCH_ASKING;
    if (w->tls)
        return tls_write(w->tls, text, n) == IO_OK && tls_flush(w->tls) != IO_FAIL;
    return send(w->fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n;
}

static enum io read_some(struct health_watch *w)
{
    char bytes[256];
    const uint8_t *plain = (const uint8_t *)bytes;
    size_t n = 0;

    if (w->tls) {
        enum io io = tls_read(w->tls, &plain, &n);

        if (io != IO_OK)
            return io;
    } else {
        ssize_t got = recv(w->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

        if (got < 0)
            return errno == EAGAIN || errno == EINTR ? IO_WAIT : IO_FAIL;
        if (got == 0)
            return IO_EOF;
        n = (size_t)got;
    }
    n = MIN(n, sizeof(w->line) - w->line_len);
    memcpy(w->line + w->line_len, plain, n);
    w->line_len += n;
    return IO_OK;
}

/* "HTTP/1.1 204 ...": 2xx and 3xx. */
static bool is_line_good(const struct health_watch *w)
{
    return memcmp(w->line, "HTTP/1.", 7) == 0 && w->line[8] == ' ' &&
           (w->line[9] == '2' || w->line[9] == '3');
}

static void ask_step(struct health_watch *w)
{
    enum io io = IO_OK;

    while (io == IO_OK && w->line_len < sizeof(w->line))
        io = read_some(w);
    if (w->line_len == sizeof(w->line))
        end_check(w, is_line_good(w));
    else if (io != IO_WAIT)
        end_check(w, false);
    else
        loop_io_arm(&w->io, LOOP_READ);
}

static void handshake_step(struct health_watch *w)
{
    switch (tls_handshake(w->tls)) {
    case IO_OK:
        if (send_request(w))
            loop_io_arm(&w->io, LOOP_READ);
        else
            end_check(w, false);
        return;
    case IO_WAIT:
        loop_io_arm(&w->io, tls_wants(w->tls));
        return;
    case IO_EOF:
    case IO_FAIL:
        end_check(w, false);
        return;
    }
}

static void on_connected(struct health_watch *w)
{
    const struct origin_tls *tls = w->options->tls;
    const char *name = tls && tls->name[0] ? tls->name : NULL;
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
        end_check(w, false);
    } else if (tls) {
        w->state = WATCH_HANDSHAKE;
        if (tls_new_client(&w->tls, tls->ctx, loop_pool(w->health->loop), w->fd, name) == 0)
            handshake_step(w);
        else
            end_check(w, false);
    } else if (send_request(w)) {
        loop_io_arm(&w->io, LOOP_READ);
    } else {
        end_check(w, false);
    }
}

static void on_event(struct loop_io *io, unsigned events)
{
    struct health_watch *w = container_of(io, struct health_watch, io);

    (void)events;
    switch (w->state) {
    case WATCH_CONNECTING:
        on_connected(w);
        return;
    case WATCH_HANDSHAKE:
        handshake_step(w);
        return;
    case WATCH_ASKING:
        ask_step(w);
        return;
    case WATCH_WAITING:
        return;
    }
}

static void begin_check(struct health_watch *w)
{
    w->line_len = 0;
    w->state = WATCH_CONNECTING;
    w->fd = socket(w->addr.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (w->fd < 0) { /* says nothing about the destination */
        w->state = WATCH_WAITING;
        deadline_set(&w->deadline, w->options->health.interval_ms);
        return;
    }
    deadline_set(&w->deadline, w->options->health.timeout_ms);
    loop_io_init(&w->io, w->health->loop, w->fd, on_event);
    if (connect(w->fd, &w->addr.sa, addr_len(&w->addr)) != 0 && errno != EINPROGRESS)
        end_check(w, false);
    else
        loop_io_arm(&w->io, LOOP_WRITE);
}

static void on_due(struct deadline *d)
{
    struct health_watch *w = container_of(d, struct health_watch, deadline);

    if (w->state == WATCH_WAITING)
        begin_check(w);
    else
        end_check(w, false);
}

/* --- watches -----------------------------------------------------------------------------------
 */

static struct health_watch **bucket_of(const struct health *h, const char *key)
{
    uint32_t hash = 2166136261u;

    for (; *key; key++)
        hash = (hash ^ (unsigned char)*key) * 16777619u;
    return &h->buckets[(hash ^ hash >> 16) % BUCKETS];
}

/* All that makes a check another one. */
static void make_key(const struct route *route, const struct destination *d, char *out, size_t size)
{
    const struct route_health *c = &route->options->health;
    const struct origin_tls *tls = route->options->tls;
    unsigned long long tls_id = 0;

    if (tls)
        memcpy(&tls_id, tls->id, sizeof(tls_id));
    snprintf(out, size, "%s %s %u %u %u %u %llx %s", d->key, route->host, c->interval_ms,
             c->timeout_ms, c->healthy_threshold, c->unhealthy_threshold, tls_id, c->path);
}

static struct health_watch *watch_new(struct health *h, const struct route *route,
                                      const struct destination *d, const char *key)
{
    struct health_watch *w = must_alloc(sizeof(*w)), **bucket = bucket_of(h, key);
    uint32_t spread;

    w->health = h;
    w->key = must_strdup(key);
    w->mark = must_alloc(sizeof(*w->mark));
    atomic_init(&w->mark->refs, 1);
    w->options = route_options_ref(route->options);
    w->host = must_strdup(route->host);
    w->addr = d->addr;
    memcpy(w->target, d->key, sizeof(w->target));
    w->fd = -1;
    w->since = (int64_t)time(NULL);
    deadline_init(&w->deadline, h->loop, on_due);
    /* The first one soon, and not all at once. */
    tls_random(&spread, sizeof(spread));
    deadline_set(&w->deadline, 1 + spread % MIN(w->options->health.interval_ms, 1000u));
    w->next = *bucket;
    *bucket = w;
    list_push(&h->watches, &w->node);
    h->count++;
    return w;
}

static void watch_free(struct health_watch *w)
{
    struct health_watch **at = bucket_of(w->health, w->key);

    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    list_remove(&w->node);
    w->health->count--;
    w->health->down -= is_down(w);
    deadline_off(&w->deadline);
    loop_io_arm(&w->io, 0);
    tls_free(w->tls);
    if (w->fd >= 0)
        close(w->fd);
    /* A set that is on its way out still reads it. */
    atomic_store_explicit(&w->mark->is_down, false, memory_order_relaxed);
    mark_unref(w->mark);
    route_options_unref(w->options);
    free(w->host);
    free(w->key);
    free(w);
}

static struct health_watch *find(const struct health *h, const char *key)
{
    struct health_watch *w = *bucket_of(h, key);

    while (w && strcmp(w->key, key) != 0)
        w = w->next;
    return w;
}

static void give_mark(struct health *h, struct route *route, size_t i, struct health_watch *w)
{
    w->generation = h->generation;
    route->marks[i] = mark_ref(w->mark);
}

/* The marks of what is watched already. */
static void keep_watches(struct health *h, struct route *route)
{
    char key[WATCH_KEY_MAX];

    must(!route->marks);
    route->marks = must_alloc(route->destination_count * sizeof(struct health_mark *));
    for (size_t i = 0; i < route->destination_count; i++) {
        struct health_watch *w;

        make_key(route, &route->destinations[i], key, sizeof(key));
        w = find(h, key);
        if (w)
            give_mark(h, route, i, w);
    }
}

static void make_watches(struct health *h, struct route *route)
{
    char key[WATCH_KEY_MAX];

    for (size_t i = 0; i < route->destination_count; i++) {
        if (route->marks[i])
            continue;
        if (h->count >= h->watches_max) {
            h->refused++;
            continue;
        }
        make_key(route, &route->destinations[i], key, sizeof(key));
        give_mark(h, route, i, watch_new(h, route, &route->destinations[i], key));
    }
}

static void each_checked(struct health *h, struct route_set *set,
                         void (*on_route)(struct health *h, struct route *route))
{
    for (size_t i = 0; i < set->count; i++)
        if (set->routes[i].options->health.path)
            on_route(h, &set->routes[i]);
}

/* What the set does not name ends before new ones begin: they may need its room. */
void health_take(struct health *h, struct route_set *set)
{
    h->generation++;
    each_checked(h, set, keep_watches);
    LIST_EACH (&h->watches, node, after) {
        struct health_watch *w = container_of(node, struct health_watch, node);

        if (w->generation != h->generation)
            watch_free(w);
    }
    each_checked(h, set, make_watches);
}

void health_init(struct health *h, struct loop *loop, unsigned watches_max,
                 void (*on_change)(struct health *h, const struct health_change *change))
{
    *h = (struct health){.loop = loop, .on_change = on_change, .watches_max = watches_max};
    list_init(&h->watches);
    h->buckets = must_alloc(BUCKETS * sizeof(struct health_watch *));
}

void health_fini(struct health *h)
{
    if (!h->buckets)
        return;
    LIST_EACH (&h->watches, node, after)
        watch_free(container_of(node, struct health_watch, node));
    free(h->buckets);
    h->buckets = NULL;
}

/* --- telling ------------------------------------------------------------------------------------
 */

static struct json_object *emit_watch(const struct health_watch *w)
{
    struct json_object *obj = json_object_new_object();
    char at[40];
    time_t since = (time_t)w->since;
    struct tm tm;

    gmtime_r(&since, &tm);
    strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", &tm);
    json_object_object_add(obj, "host", json_object_new_string(w->host));
    json_object_object_add(obj, "target", json_object_new_string(w->target));
    json_object_object_add(obj, "path", json_object_new_string(w->options->health.path));
    json_object_object_add(obj, "since", json_object_new_string(at));
    return obj;
}

struct json_object *health_emit_down(const struct health *h)
{
    struct json_object *list = json_object_new_array();

    LIST_EACH (&h->watches, node, after) {
        const struct health_watch *w = container_of(node, struct health_watch, node);

        if (is_down(w))
            json_object_array_add(list, emit_watch(w));
    }
    return list;
}

void health_collect(const struct health *h, struct metrics *m)
{
    metrics_family(m, "penstock_traffic_health_targets", METRIC_GAUGE,
                   "destinations with an active check, by what it says");
    metrics_value(m, (double)(h->count - h->down), "state", "up", NULL);
    metrics_value(m, (double)h->down, "state", "down", NULL);
    metrics_family(m, "penstock_traffic_health_checks_total", METRIC_COUNTER,
                   "active checks by their outcome");
    metrics_value(m, (double)h->good, "result", "good", NULL);
    metrics_value(m, (double)h->bad, "result", "bad", NULL);
    metrics_family(m, "penstock_traffic_health_refused_total", METRIC_COUNTER,
                   "destinations not checked since limits.healthTargets were");
    metrics_value(m, (double)h->refused, NULL);
}
