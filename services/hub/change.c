/* change - see change.h. */
#include "hub/change.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "hub/hub.h"
#include "hub/registry_store.h"
#include "json/json.h"

#define PEER_TEXT    64
#define REQUEST_TEXT 65

enum step_kind { STEP_PUT, STEP_REMOVE, STEP_RENEW };

struct change_step {
    struct list node;
    enum step_kind kind;
    struct edge_spec spec;     /* owned; with the new secret */
    struct secret_grace grace; /* of the old one */
};

enum change_state {
    CHANGE_FRESH,    /* in its request's handler: check() runs right there, or it has to wait */
    CHANGE_WAITING,  /* in line */
    CHANGE_CHECKING, /* out of the line: check() runs */
    CHANGE_STORING,  /* check() has committed it */
};

struct change {
    struct list node;              /* in queue->waiting, while it is WAITING */
    struct hub *hub;               /* borrowed */
    struct admin_request *request; /* borrowed; NULL: the client went away */
    enum change_state state;
    void (*check)(struct hub *h, struct change *c, struct admin_request *r);
    void (*answer)(struct hub *h, struct admin_request *r, const char *id,
                   struct json_object *body);
    struct list steps; /* struct change_step, owned, in order */
    char id[EDGE_ID_MAX + 1];
    struct json_object *body;                       /* owned */
    char peer[PEER_TEXT], request_id[REQUEST_TEXT]; /* for the log */
};

void change_queue_init(struct change_queue *q, unsigned max)
{
    *q = (struct change_queue){.max = max};
    list_init(&q->waiting);
}

static void change_free(struct change *c)
{
    struct list *node;

    while ((node = list_pop(&c->steps))) {
        struct change_step *step = container_of(node, struct change_step, node);

        edge_spec_fini(&step->spec);
        free(step);
    }
    json_object_put(c->body);
    c->hub->changes.count--;
    free(c);
}

void change_queue_close(struct change_queue *q)
{
    q->is_closed = true;
}

void change_queue_fini(struct change_queue *q)
{
    must(!q->current);
    must(!q->waiting.next || list_is_empty(&q->waiting));
    store_batch_free(q->unwritten);
}

/* --- what it will be -------------------------------------------------------------------------- */

static struct change_step *add_step(struct change *c, enum step_kind kind, const char *id)
{
    struct change_step *step = must_alloc(sizeof(*step));

    step->kind = kind;
    snprintf(step->spec.id, sizeof(step->spec.id), "%s", id);
    list_push(&c->steps, &step->node);
    return step;
}

void change_put(struct change *c, struct edge_spec *spec)
{
    struct change_step *step = add_step(c, STEP_PUT, spec->id);

    step->spec = *spec; /* moves */
    spec->ports = spec->ports_udp = (struct port_list){0};
    spec->secret_file = NULL;
    if (!registry_find(&c->hub->registry, step->spec.id) && !step->spec.secret[0])
        edge_spec_make_secret(&step->spec);
}

void change_remove(struct change *c, const char *id)
{
    (void)add_step(c, STEP_REMOVE, id);
}

void change_renew(struct change *c, const char *id, struct secret_grace grace)
{
    struct change_step *step = add_step(c, STEP_RENEW, id);

    step->grace = grace;
    edge_spec_make_secret(&step->spec);
}

static void batch_step(const struct hub *h, struct store_batch *b, const struct change_step *step)
{
    struct edge after;

    if (step->kind == STEP_REMOVE) {
        registry_batch_remove(b, step->spec.id);
        return;
    }
    if (step->kind == STEP_PUT)
        registry_preview(&h->registry, &step->spec, &after);
    else
        registry_preview_renewal(&h->registry, &step->spec, step->grace, &after);
    registry_batch_put(b, &after);
    edge_preview_fini(&after);
}

/* --- in force --------------------------------------------------------------------------------- */

static void log_step(const struct change *c, const char *event, const char *id)
{
    log_info("hub", event, LOG_S("edge", id), LOG_S("by", c->peer),
             LOG_S("request", c->request_id));
}

static void apply_step(struct hub *h, const struct change *c, struct change_step *step)
{
    struct edge *edge = registry_find(&h->registry, step->spec.id);
    unsigned change;

    switch (step->kind) {
    case STEP_PUT:
        must(hub_put_edge(h, &step->spec, &change) == 0); /* there was room: check() looked */
        log_step(c, change & EDGE_ADDED ? "edge_added" : "edge_changed", step->spec.id);
        break;
    case STEP_REMOVE:
        hub_remove_edge(h, edge);
        log_step(c, "edge_removed", step->spec.id);
        break;
    case STEP_RENEW:
        hub_renew_secret(h, edge, step->spec.secret, step->grace);
        log_step(c, "edge_secret_renewed", step->spec.id);
        break;
    }
}

static void refuse(struct admin_request *r, const struct store_result *result)
{
    if (result->err == -ERR_FULL)
        admin_problem(r, 507, "stateNotWritten", "nothing was changed: the disk is full");
    else if (result->err == -ERR_DENIED)
        admin_problem(r, 503, "stateReadOnly", "nothing was changed: the disk is read-only");
    else
        admin_problem(r, 503, "stateNotWritten",
                      "nothing was changed: the store cannot be written");
}

static void run_queue(struct hub *h);

static void on_stored(void *arg, const struct store_result *result)
{
    struct change *c = arg;
    struct hub *h = c->hub;

    h->changes.current = NULL;
    if (!result->err) {
        store_batch_free(h->changes.unwritten); /* it was in the same batch */
        h->changes.unwritten = NULL;
    }
    if (result->err) {
        log_err("hub", "change_not_stored", LOG_S("why", result->why), LOG_S("by", c->peer),
                LOG_S("request", c->request_id));
        if (c->request)
            refuse(c->request, result);
    } else {
        LIST_EACH (&c->steps, node, after)
            apply_step(h, c, container_of(node, struct change_step, node));
        if (c->request)
            c->answer(h, c->request, c->id, c->body);
        if (c->request) /* answer() took it */
            c->body = NULL;
    }
    change_free(c);
    run_queue(h);
}

/* --- the line --------------------------------------------------------------------------------- */

static void on_gone(struct admin_request *r, void *arg)
{
    struct change *c = arg;

    (void)r;
    c->request = NULL;
    if (c->state == CHANGE_STORING) /* it goes on without its client */
        return;
    must(c->state == CHANGE_WAITING);
    list_remove(&c->node);
    change_free(c);
}

static void change_enter(struct change *c, enum change_state to) /* the only writer of c->state */
{
    static const unsigned next[] = {
        [CHANGE_FRESH] = BIT(CHANGE_WAITING) | BIT(CHANGE_STORING),
        [CHANGE_WAITING] = BIT(CHANGE_CHECKING),
        [CHANGE_CHECKING] = BIT(CHANGE_STORING),
        [CHANGE_STORING] = 0,
    };

    must(next[c->state] & BIT(to));
    if (c->state == CHANGE_FRESH) /* its handler returns without an answer */
        admin_defer(c->request, on_gone, c);
    c->state = to;
}

void change_commit(struct hub *h, struct change *c, const char *id, struct json_object *body,
                   void (*answer)(struct hub *h, struct admin_request *r, const char *id,
                                  struct json_object *body))
{
    struct store_batch *b = store_batch_new();

    if (h->changes.unwritten)
        store_batch_put_all(b, h->changes.unwritten);
    LIST_EACH (&c->steps, node, after)
        batch_step(h, b, container_of(node, struct change_step, node));
    snprintf(c->id, sizeof(c->id), "%s", id);
    c->body = body;
    c->answer = answer;
    change_enter(c, CHANGE_STORING);
    must(store_commit(h->store, b, on_stored, c) == 0); /* nothing else is under way */
}

static void run_check(struct hub *h, struct change *c)
{
    struct change_queue *q = &h->changes;

    q->current = c;
    c->check(h, c, c->request);
    if (c->state == CHANGE_STORING)
        return;
    q->current = NULL;
    change_free(c);
}

/* Until one is being stored, or none is left. */
static void run_queue(struct hub *h)
{
    struct change_queue *q = &h->changes;
    struct list *node;

    while (!q->current && !q->is_closed && (node = list_pop(&q->waiting))) {
        struct change *c = container_of(node, struct change, node);

        change_enter(c, CHANGE_CHECKING);
        run_check(h, c);
    }
}

void change_begin(struct hub *h, struct admin_request *r,
                  void (*check)(struct hub *h, struct change *c, struct admin_request *r))
{
    struct change_queue *q = &h->changes;
    struct change *c;

    if (q->count >= q->max) {
        q->refused++;
        admin_problem(r, 503, "busy", "too many changes wait for the disk (limits.waitingChanges)");
        return;
    }
    c = must_alloc(sizeof(*c));
    *c = (struct change){.hub = h, .request = r, .state = CHANGE_FRESH, .check = check};
    list_init(&c->steps);
    snprintf(c->peer, sizeof(c->peer), "%s", admin_peer(r));
    snprintf(c->request_id, sizeof(c->request_id), "%s", admin_request_id(r));
    q->count++;
    if (!q->current && !q->is_closed && list_is_empty(&q->waiting)) {
        run_check(h, c);
        return;
    }
    change_enter(c, CHANGE_WAITING);
    list_push(&q->waiting, &c->node);
}
