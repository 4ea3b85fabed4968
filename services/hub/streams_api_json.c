/* streams_api_json - GET /v1/edges/{id}/streams: the newest streams of an edge.
 *
 * Streams live on the workers, so each of them is asked by a message and answers with a copy of
 * what it has; with the last answer the request is answered.  A client that leaves before gets
 * nothing, and the gathering ends all the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub/forward.h"
#include "hub/hub_api_json.h"

struct stream_row {
    uint32_t id;
    enum forward_state state;
    union addr client;
    uint16_t port, target_port;
    char target[HOST_MAX + 1];
    uint64_t bytes_in, bytes_out, age_ms;
};

struct stream_gather {
    struct loop *control;          /* borrowed */
    struct hub_counters *counters; /* borrowed */
    struct admin_request *request; /* borrowed; NULL: its client is gone */
    unsigned waiting;              /* workers that have not answered */
    char edge_id[EDGE_ID_MAX + 1];
    size_t max;
    struct gather_part {
        struct task task; /* there, and back */
        struct stream_gather *gather;
        struct hub_worker *worker;
        struct stream_row *rows; /* owned: max of them at most */
        size_t count;
        uint64_t total;
    } parts[]; /* one a worker */
};

/* --- on a worker
 * -------------------------------------------------------------------------------------- */

static void fill_row(struct stream_row *row, const struct forward *f, uint64_t now_ms)
{
    *row = (struct stream_row){.id = f->stream.id,
                               .state = f->state,
                               .port = f->client.dst_port,
                               .target_port = f->target.port,
                               .bytes_in = stream_bytes_in(&f->stream),
                               .bytes_out = stream_bytes_out(&f->stream),
                               .age_ms = now_ms - f->opened_ms};
    snprintf(row->target, sizeof(row->target), "%s", f->target.host);
    proxy_header_src(&f->client, &row->client.storage);
}

static int by_age(const void *a, const void *b)
{
    const struct stream_row *x = a, *y = b;

    return (x->age_ms > y->age_ms) - (x->age_ms < y->age_ms);
}

/* The newest of each lane; of all of them the newest `max` are kept. */
static void collect_lane(struct gather_part *part, const struct hub_lane *lane)
{
    size_t max = part->gather->max, taken = 0;
    uint64_t now_ms = loop_now_ms(part->worker->loop);

    part->total += lane->forward_count;
    LIST_EACH (&lane->forwards, node, after) {
        const struct forward *f = container_of(node, struct forward, in_lane);

        if (taken++ == max)
            break;
        if (f->state == FORWARD_CLOSED)
            continue;
        if (part->count == 2 * max) { /* room for a lane more: the oldest half goes */
            qsort(part->rows, part->count, sizeof(*part->rows), by_age);
            part->count = max;
        }
        fill_row(&part->rows[part->count++], f, now_ms);
    }
}

static void run_back(struct task *task);

static void run_collect(struct task *task)
{
    struct gather_part *part = container_of(task, struct gather_part, task);

    part->rows = must_alloc(2 * part->gather->max * sizeof(*part->rows));
    LIST_EACH (&part->worker->lanes, node, after) {
        const struct hub_lane *lane = container_of(node, struct hub_lane, node);

        if (strcmp(lane->edge_id, part->gather->edge_id) == 0)
            collect_lane(part, lane);
    }
    qsort(part->rows, part->count, sizeof(*part->rows), by_age);
    part->count = MIN(part->count, part->gather->max);
    part->task.run = run_back;
    loop_post(part->gather->control, &part->task);
}

/* --- on the control thread
 * ---------------------------------------------------------------------------- */

static struct json_object *emit_row(const struct stream_row *row)
{
    struct json_object *o = json_object_new_object();
    char text[ADDR_TEXT_MAX];
    char *target =
        must_printf(strchr(row->target, ':') ? "[%s]:%u" : "%s:%u", row->target, row->target_port);

    api_add_int(o, "id", row->id);
    api_add_str(o, "state", forward_state_name(row->state));
    api_add_str(o, "client", addr_format(&row->client, text));
    api_add_int(o, "port", row->port);
    api_add_str(o, "target", target);
    api_add_int(o, "bytesIn", row->bytes_in);
    api_add_int(o, "bytesOut", row->bytes_out);
    json_object_object_add(o, "ageSecs", json_object_new_double((double)row->age_ms / 1000.0));
    free(target);
    return o;
}

static void answer(const struct stream_gather *g, unsigned parts)
{
    struct json_object *o = json_object_new_object(), *list = json_object_new_array();
    size_t *at = must_alloc(parts * sizeof(*at));
    uint64_t total = 0;

    for (unsigned i = 0; i < parts; i++)
        total += g->parts[i].total;
    for (size_t n = 0; n < g->max; n++) { /* the youngest of what is left in any part */
        const struct stream_row *best = NULL;
        unsigned from = 0;

        for (unsigned i = 0; i < parts; i++) {
            const struct gather_part *part = &g->parts[i];

            if (at[i] < part->count && (!best || part->rows[at[i]].age_ms < best->age_ms)) {
                best = &part->rows[at[i]];
                from = i;
            }
        }
        if (!best)
            break;
        at[from]++;
        json_object_array_add(list, emit_row(best));
    }
    free(at);
    atomic_fetch_add_explicit(&g->counters->streams_unlisted,
                              total - MIN(total, json_object_array_length(list)),
                              memory_order_relaxed);
    json_object_object_add(o, "streams", list);
    api_add_int(o, "total", total);
    admin_reply(g->request, 200, o, NULL);
}

static unsigned parts_of(const struct stream_gather *g)
{
    unsigned count = 0;

    while (g->parts[count].gather)
        count++;
    return count;
}

static void run_back(struct task *task)
{
    struct stream_gather *g = container_of(task, struct gather_part, task)->gather;
    unsigned parts;

    if (--g->waiting > 0)
        return;
    parts = parts_of(g);
    if (g->request)
        answer(g, parts);
    for (unsigned i = 0; i < parts; i++)
        free(g->parts[i].rows);
    free(g);
}

static void on_gone(struct admin_request *r, void *arg)
{
    struct stream_gather *g = arg;

    must(g->request == r);
    g->request = NULL;
}

void api_get_streams(void *service, struct admin_request *r)
{
    struct hub *h = service;
    const struct edge *edge = api_find_edge(h, r);
    struct stream_gather *g;

    if (!edge)
        return;
    /* One part more than workers: the zeroed one ends them. */
    g = must_alloc(sizeof(*g) + (h->worker_count + 1) * sizeof(g->parts[0]));
    g->control = h->loop;
    g->counters = &h->shared.counters;
    g->request = r;
    g->waiting = h->worker_count;
    g->max = (size_t)h->conf.limits.streams_listed;
    memcpy(g->edge_id, edge->id, sizeof(g->edge_id));
    admin_defer(r, on_gone, g);
    for (unsigned i = 0; i < h->worker_count; i++)
        g->parts[i] =
            (struct gather_part){.task.run = run_collect, .gather = g, .worker = &h->workers[i]};
    for (unsigned i = 0; i < h->worker_count; i++)
        loop_post(h->workers[i].loop, &g->parts[i].task);
}
