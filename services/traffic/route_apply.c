/* route_apply - see route_apply.h.
 *
 * The line and everything else here belongs to the control thread; the apply thread sees one update
 * at a time, handed over through `slot` under the lock and handed back by loop_post().  While it
 * has it, the control thread touches nothing of the update but `request` (the client may go away).
 */
#include "traffic/route_apply.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/log.h"
#include "loop/crash_log.h"
#include "tls/tls.h"

struct route_apply {
    struct route_apply_options options;
    struct route_set *live;       /* counted */
    struct list waiting;          /* of struct route_update, oldest first */
    struct list readings;         /* of struct route_reading: all that are not answered yet */
    struct route_update *running; /* owned */
    uint64_t last_number;
    struct route_apply_stats stats;
    bool is_stopped;

    pthread_t thread;
    pthread_mutex_t lock; /* guards the four below */
    pthread_cond_t wake;
    struct list queue;         /* of struct route_reading */
    struct route_update *slot; /* borrowed from running */
    bool quits, has_waste;
    struct route_bin *bin; /* counted: sets that nobody holds any more */
    bool is_stored;        /* what is live; the apply thread's own */
};

static const char *const fate_names[] = {
#define X(name, word) [ROUTE_##name] = word,
    ROUTE_FATES(X)
#undef X
};

const char *route_fate_name(enum route_fate fate)
{
    return fate < ROUTE_FATE_COUNT ? fate_names[fate] : "?";
}

/* --- one update ------------------------------------------------------------------------------ */

struct route_update *route_update_new(enum route_update_kind kind)
{
    struct route_update *u = must_alloc(sizeof(*u));

    u->kind = kind;
    u->shape = &route_shape_rest;
    list_init(&u->node);
    return u;
}

/* It is secret, and of no use once it has been read. */
static void wipe_text(struct route_update *u)
{
    if (u->text)
        tls_wipe(u->text, u->text_len);
}

void route_update_free(struct route_update *u)
{
    wipe_text(u);
    free(u->text);
    free(u->added.list);
    free(u->changed.list);
    free(u->removed.list);
    route_build_fini(&u->build);
    route_set_unref(u->base);
    route_set_unref(u->set);
    free(u);
}

static void names_add(struct route_names *names, const struct route *route)
{
    if ((names->count & (names->count - 1)) == 0) { /* full at each power of two */
        size_t room = names->count ? 2 * names->count : 1;
        const struct route **list = reallocarray(names->list, room, sizeof(*list));

        must(list != NULL);
        names->list = list;
    }
    names->list[names->count++] = route;
}

static void compare_sets(struct route_update *u)
{
    for (size_t i = 0; i < u->set->count; i++) {
        const struct route *route = &u->set->routes[i];
        const struct route *before = route_set_entry(u->base, route->host);

        if (!before)
            names_add(&u->added, route);
        else if (memcmp(before->digest, route->digest, ROUTE_DIGEST_BYTES) != 0)
            names_add(&u->changed, route);
    }
    for (size_t i = 0; i < u->base->count; i++)
        if (!route_set_entry(u->set, u->base->routes[i].host))
            names_add(&u->removed, &u->base->routes[i]);
}

/* --- the apply thread ------------------------------------------------------------------------ */

static struct route_set *remove_route(struct route_update *u)
{
    const struct route *gone = route_set_entry(u->base, u->host);

    if (gone)
        return route_set_without(u->base, gone);
    json_fault(&u->build.faults, "", "notFound", "there is no route \"%s\"", u->host);
    return NULL;
}

static struct route_set *read_routes(struct route_update *u)
{
    bool is_set = u->kind == ROUTE_UPDATE_SET;
    struct json_list list = {.path = NULL};
    struct json_object *body;
    struct route_set *set;
    int rc = is_set ? json_read_list(&body, &list, u->shape->path, u->text, u->text_len, &u->syntax)
                    : json_read(&body, u->text, u->text_len, &u->syntax);

    if (rc != 0) {
        u->has_syntax_error = true;
        json_fault(&u->build.faults, u->syntax.pointer, u->syntax.code, "%s (byte %zu)",
                   u->syntax.reason, u->syntax.offset);
        return NULL;
    }
    set = is_set ? route_json_parse_list(&u->build, body, &list)
                 : route_json_put(&u->build, u->host, body);
    json_list_fini(&list);
    route_json_wipe(body);
    json_object_put(body);
    return set;
}

static void build(struct route_update *u)
{
    u->set = u->kind == ROUTE_UPDATE_DELETE ? remove_route(u) : read_routes(u);
    if (!u->set) {
        u->fate = u->is_dry_run ? ROUTE_CHECK_FAILED : ROUTE_REJECTED;
    } else {
        bool is_same = memcmp(u->set->digest, u->base->digest, ROUTE_DIGEST_BYTES) == 0;
        u->fate = is_same ? ROUTE_UNCHANGED : ROUTE_APPLIED;
        if (u->is_dry_run)
            u->fate = ROUTE_CHECKED;
    }
    u->built_us = clock_now_us();
}

/* The set that is live once the update is: of one that changes nothing the one before. */
static const struct route_set *set_after(const struct route_update *u)
{
    return u->fate == ROUTE_APPLIED ? u->set : u->base;
}

static void store(struct route_apply *a, struct route_update *u)
{
    const struct route_set *set = set_after(u);

    u->is_store_failed =
        a->options.store(a->options.arg, set, u->store_why, sizeof(u->store_why)) != 0;
    u->stored_us = clock_now_us();
    a->is_stored = !u->is_store_failed;
    if (!u->is_store_failed)
        return;
    log_err("routes", "store_failed", LOG_U("revision", set->revision),
            LOG_S("error", u->store_why));
}

/* What only its sender waits for: the set may be served meanwhile.  Who sends a set again since it
 * could not be stored has it stored. */
static void finish(struct route_apply *a, struct route_update *u)
{
    wipe_text(u);
    if (u->set)
        compare_sets(u);
    if (a->options.store &&
        (u->fate == ROUTE_APPLIED || (u->fate == ROUTE_UNCHANGED && !a->is_stored)))
        store(a, u);
}

/* What is there to do: a reading, an update, or only sets to free (both NULL); false: nothing any
 * more. */
static bool wait_for_work(struct route_apply *a, struct route_update **u, struct route_reading **r)
{
    struct list *node;
    bool goes_on;

    pthread_mutex_lock(&a->lock);
    while (!a->slot && !a->quits && !a->has_waste && list_is_empty(&a->queue))
        pthread_cond_wait(&a->wake, &a->lock);
    node = a->quits ? NULL : list_pop(&a->queue);
    *r = node ? container_of(node, struct route_reading, queued) : NULL;
    *u = a->slot; /* what was handed over is finished even when it shall end */
    a->slot = NULL;
    a->has_waste = false;
    goes_on = *u || !a->quits;
    pthread_mutex_unlock(&a->lock);
    return goes_on;
}

static void *thread_main(void *arg)
{
    struct route_apply *a = arg;
    struct route_reading *r;
    struct route_update *u;

    crash_log_thread_start();
    pthread_setname_np(pthread_self(), "apply");
    while (wait_for_work(a, &u, &r)) {
        if (r) {
            r->text = r->emit(r->set, &r->len, r->etag);
            loop_post(a->options.loop, &r->task);
        }
        if (u) {
            build(u);
            if (u->fate == ROUTE_APPLIED) {
                route_set_number(u->set, u->number);
                route_set_end_in(u->set, a->bin);
                loop_post(a->options.loop, &u->built);
            }
            finish(a, u);
            loop_post(a->options.loop, &u->ended);
        }
        route_bin_empty(a->bin);
    }
    crash_log_thread_end();
    return NULL;
}

static void on_waste(void *arg)
{
    struct route_apply *a = arg;

    pthread_mutex_lock(&a->lock);
    a->has_waste = true;
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->lock);
}

/* --- the control thread ---------------------------------------------------------------------- */

static void remember_error(struct route_apply *a, const struct route_update *u)
{
    const struct json_check *faults = &u->build.faults;

    free(a->stats.last_error);
    a->stats.last_error = NULL;
    if (u->fate != ROUTE_REJECTED)
        return;
    a->stats.last_error = must_printf("%zu %s, first at \"%s\": %s", faults->total,
                                      faults->total == 1 ? "fault" : "faults",
                                      faults->faults[0].pointer, faults->faults[0].detail);
    a->stats.last_error_number = u->number;
    a->stats.last_error_at = (int64_t)time(NULL);
}

static void log_outcome(const struct route_apply *a, const struct route_update *u)
{
    enum log_level level = u->fate == ROUTE_REJECTED ? LOG_WARN : LOG_INFO;
    const struct json_check *warnings = &u->build.warnings;

    if (warnings->count > 0) /* who pushes through Coreflow sees them nowhere else */
        log_warn("routes", "warnings", LOG_U("number", u->number), LOG_S("peer", u->peer),
                 LOG_U("count", warnings->total), LOG_S("first", warnings->faults[0].pointer),
                 LOG_S("code", warnings->faults[0].code));

    LOG_AT(level, "routes", "update", LOG_S("fate", route_fate_name(u->fate)),
           LOG_U("number", u->number), LOG_U("revision", a->live->revision), LOG_S("peer", u->peer),
           LOG_B("dry_run", u->is_dry_run), LOG_U("added", u->added.count),
           LOG_U("changed", u->changed.count), LOG_U("removed", u->removed.count),
           LOG_U("faults", u->build.faults.total), LOG_U("warnings", u->build.warnings.total),
           LOG_U("kept", u->build.kept), LOG_U("certificates_parsed", u->build.parsed),
           LOG_U("ms", u->built_us ? (u->built_us - u->taken_us) / 1000 : 0),
           LOG_U("store_ms", u->stored_us ? (u->stored_us - u->built_us) / 1000 : 0));
}

/* The end of every update: counted, logged, answered. */
static void settle(struct route_apply *a, struct route_update *u)
{
    a->stats.fates[u->fate]++;
    a->stats.sets +=
        u->kind == ROUTE_UPDATE_SET && (u->fate == ROUTE_APPLIED || u->fate == ROUTE_UNCHANGED);
    if (u->fate == ROUTE_APPLIED || u->fate == ROUTE_UNCHANGED || u->fate == ROUTE_REJECTED)
        remember_error(a, u);
    log_outcome(a, u);
    if (u->fate == ROUTE_REJECTED && a->options.on_rejected)
        a->options.on_rejected(a->options.arg, u->number, u->build.faults.total);
    u->on_done(u, a->live);
}

/* Nothing came of the newest number, so the next update may have it: revisions have no gaps but
 * where updates overtook each other. */
static void return_number(struct route_apply *a, const struct route_update *u)
{
    if (u->number == a->last_number && u->number > a->live->revision && list_is_empty(&a->waiting))
        a->last_number = a->live->revision;
}

static void on_built(struct task *task);
static void on_ended(struct task *task);

/* The next update goes to the thread; those that their sender drops are freed. */
static void start_next(struct route_apply *a)
{
    struct list *node;

    while (!a->running && !a->is_stopped && (node = list_pop(&a->waiting))) {
        struct route_update *u = container_of(node, struct route_update, node);

        a->stats.waiting--;
        if (u->on_start && !u->on_start(u, a->live)) {
            return_number(a, u);
            route_update_free(u);
            continue;
        }
        u->base = route_set_ref(a->live);
        route_build_init(&u->build, a->options.auth_key, u->base);
        u->build.shape = u->shape;
        u->build.routes_max = a->options.routes_max;
        u->build.destinations_max = a->options.destinations_max;
        u->built.run = on_built;
        u->ended.run = on_ended;
        a->running = u;
        pthread_mutex_lock(&a->lock);
        a->slot = u;
        pthread_cond_signal(&a->wake);
        pthread_mutex_unlock(&a->lock);
    }
}

static void on_built(struct task *task)
{
    struct route_update *u = container_of(task, struct route_update, built);
    struct route_apply *a = u->apply;

    if (u->is_settled) /* answered when the service ended */
        return;
    must(a->running == u);
    route_set_unref(a->live);
    a->live = route_set_ref(u->set);
    a->options.on_publish(a->options.arg, a->live);
}

static void on_ended(struct task *task)
{
    struct route_update *u = container_of(task, struct route_update, ended);
    struct route_apply *a = u->apply;

    if (u->is_settled) { /* the apply object may be gone */
        route_update_free(u);
        return;
    }
    must(a->running == u);
    a->running = NULL;
    a->stats.store_failures += u->is_store_failed;
    if (u->stored_us && !u->is_store_failed)
        a->stats.stored = set_after(u)->revision;
    settle(a, u);
    return_number(a, u);
    route_update_free(u);
    start_next(a);
}

/* Whether a new whole set makes an update pointless that waits. */
static bool is_pointless(const struct route_update *waiting, const struct route_update *newer)
{
    if (newer->kind != ROUTE_UPDATE_SET || waiting->is_dry_run != newer->is_dry_run)
        return false;
    return !waiting->is_dry_run || waiting->kind == ROUTE_UPDATE_SET;
}

static unsigned count_pointless(const struct route_apply *a, const struct route_update *newer)
{
    unsigned count = 0;

    LIST_EACH (&a->waiting, node, after)
        count += is_pointless(container_of(node, struct route_update, node), newer);
    return count;
}

static void supersede(struct route_apply *a, const struct route_update *newer)
{
    LIST_EACH (&a->waiting, node, after) {
        struct route_update *u = container_of(node, struct route_update, node);

        if (!is_pointless(u, newer))
            continue;
        list_remove(&u->node);
        a->stats.waiting--;
        u->fate = ROUTE_SUPERSEDED;
        u->superseded_by = newer->number;
        settle(a, u);
        route_update_free(u);
    }
}

int route_apply_submit(struct route_apply *a, struct route_update *u)
{
    must(u->on_done != NULL && u->fate == ROUTE_PENDING);
    if (a->is_stopped || a->stats.waiting - count_pointless(a, u) >= a->options.waiting_max) {
        a->stats.refused++;
        return -ERR_LIMIT;
    }
    if (!u->is_dry_run)
        u->number = ++a->last_number;
    supersede(a, u);
    u->apply = a;
    u->seen_revision = a->live->revision;
    u->taken_us = clock_now_us();
    list_push(&a->waiting, &u->node);
    a->stats.waiting++;
    start_next(a);
    return 0;
}

/* --- readings ------------------------------------------------------------------------------- */

static void reading_free(struct route_reading *r)
{
    route_set_unref(r->set);
    free(r->text);
    free(r);
}

static void on_read(struct task *task)
{
    struct route_reading *r = container_of(task, struct route_reading, task);

    if (!r->is_settled) {
        list_remove(&r->node);
        r->on_done(r);
    }
    reading_free(r);
}

void route_apply_read(struct route_apply *a, struct route_reading *r)
{
    r->apply = a;
    r->set = route_set_ref(a->live);
    r->task.run = on_read;
    list_init(&r->queued);
    list_push(&a->readings, &r->node);
    pthread_mutex_lock(&a->lock);
    list_push(&a->queue, &r->queued);
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->lock);
}

/* The thread has ended: what it wrote is on its way to a loop that does not run any more. */
static void stop_readings(struct route_apply *a)
{
    struct list *node;

    while ((node = list_pop(&a->readings))) {
        struct route_reading *r = container_of(node, struct route_reading, node);
        bool is_posted = r->text != NULL;

        free(r->text);
        r->text = NULL;
        r->is_settled = true;
        r->on_done(r);
        if (is_posted)
            continue; /* on_read() frees it */
        list_remove(&r->queued);
        reading_free(r);
    }
}

int route_apply_new(struct route_apply **out, const struct route_apply_options *options,
                    struct route_set *first)
{
    struct route_apply *a = must_alloc(sizeof(*a));
    sigset_t all, before;
    int rc;

    *out = NULL;
    a->options = *options;
    list_init(&a->waiting);
    list_init(&a->readings);
    list_init(&a->queue);
    a->live = route_set_ref(first);
    a->last_number = a->stats.stored = first->revision;
    a->is_stored = options->is_first_stored;
    rc = pthread_mutex_init(&a->lock, NULL);
    must(rc == 0);
    rc = pthread_cond_init(&a->wake, NULL);
    must(rc == 0);
    a->bin = route_bin_new(on_waste, a);
    route_set_end_in(first, a->bin);
    /* Signals are the control loop's. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    rc = pthread_create(&a->thread, NULL, thread_main, a);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        a->is_stopped = true;
        route_bin_close(a->bin);
        route_apply_free(a);
        return -ERR_SYS;
    }
    *out = a;
    return 0;
}

void route_apply_stop(struct route_apply *a)
{
    struct list *node;

    if (!a || a->is_stopped)
        return;
    a->is_stopped = true;
    pthread_mutex_lock(&a->lock);
    a->quits = true;
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    stop_readings(a);
    route_bin_close(a->bin);
    /* The one that was built has been posted, but this loop has not run it: on_ended() frees it. */
    if (a->running) {
        a->running->fate = ROUTE_STOPPED;
        a->running->is_settled = true;
        settle(a, a->running);
        a->running = NULL;
    }
    while ((node = list_pop(&a->waiting))) {
        struct route_update *u = container_of(node, struct route_update, node);

        a->stats.waiting--;
        u->fate = ROUTE_STOPPED;
        settle(a, u);
        route_update_free(u);
    }
}

void route_apply_free(struct route_apply *a)
{
    if (!a)
        return;
    must(a->is_stopped && !a->running);
    route_set_unref(a->live);
    route_bin_unref(a->bin);
    free(a->stats.last_error);
    pthread_cond_destroy(&a->wake);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

struct route_set *route_apply_live(const struct route_apply *a)
{
    return a->live;
}

const struct route_apply_stats *route_apply_stats(struct route_apply *a)
{
    const struct route_update *u = a->running;

    a->stats.is_busy = u != NULL;
    a->stats.desired = a->live->revision;
    if (u && !u->is_dry_run)
        a->stats.desired = u->number;
    LIST_EACH (&a->waiting, node, after) {
        u = container_of(node, struct route_update, node);
        if (!u->is_dry_run)
            a->stats.desired = MAX(a->stats.desired, u->number);
    }
    return &a->stats;
}
