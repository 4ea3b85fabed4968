/* route_watch - see route_watch.h. */
#include "traffic/route_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/log.h"
#include "tls/tls.h"
#include "traffic/route_file.h"

static struct route_watch_mark mark_of(const struct stat *s)
{
    return (struct route_watch_mark){.device = s->st_dev,
                                     .inode = s->st_ino,
                                     .size = s->st_size,
                                     .changed = s->st_ctim}; /* a file's time can be set back */
}

static bool is_same(const struct route_watch_mark *a, const struct route_watch_mark *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static void tell_unreadable(const struct route_watch *w, const char *why)
{
    log_warn("routes", "file_unreadable", LOG_S("file", w->path), LOG_S("error", why));
}

static uint64_t applied(const struct route_watch *w)
{
    return route_apply_stats(w->apply)->fates[ROUTE_APPLIED];
}

static void try_again(struct route_watch *w)
{
    w->applied = applied(w);
    w->pause = w->pause == 0 ? 2 : MIN(2 * w->pause, ROUTE_WATCH_LOOKS_MAX);
    w->left = w->pause;
}

/* What became of it is in route_apply's log already. */
static void on_done(struct route_update *u, const struct route_set *live)
{
    struct route_watch *w = u->arg;

    (void)live;
    if (u->fate == ROUTE_REJECTED && u->build.origin_tls.failures > 0)
        try_again(w);
    else if (u->fate != ROUTE_STOPPED)
        w->pause = w->left = 0;
}

/* 0: it is on its way, or at fault and told; -ERR_LIMIT: the line is full. */
static int submit(struct route_watch *w, bool is_regular)
{
    struct route_update *u;
    bool is_first = w->pause == 0;
    const char *why;
    char *text;
    size_t len;
    int err;

    if (!is_regular) { /* to read from a pipe could take forever */
        tell_unreadable(w, "it is no regular file");
        return 0;
    }
    err = route_file_read(w->path, w->bytes_max, &text, &len, &why);
    if (err) {
        if (is_first)
            tell_unreadable(w, why);
        if (err != -ERR_LIMIT)
            try_again(w);
        return 0;
    }
    u = route_update_new(ROUTE_UPDATE_SET);
    u->text = text;
    u->text_len = len;
    u->on_done = on_done;
    u->arg = w;
    snprintf(u->peer, sizeof(u->peer), "routesFile");
    err = route_apply_submit(w->apply, u);
    if (err)
        route_update_free(u);
    else
        w->submitted++;
    return err;
}

/* Whether this look is to try the same file again.  Not over what somebody has sent since. */
static bool is_due(struct route_watch *w)
{
    const struct route_apply_stats *stats = route_apply_stats(w->apply);

    if (w->applied != applied(w))
        w->pause = w->left = 0;
    if (w->left == 0) /* none is meant, or it is under way */
        return false;
    if (stats->is_busy || stats->waiting > 0) /* what becomes of that one decides */
        return false;
    return --w->left == 0;
}

static void look(struct route_watch *w)
{
    const struct route_watch_mark none = {.inode = 0}, gone = {.inode = 0, .size = -1};
    struct route_watch_mark mark;
    struct stat s;

    if (stat(w->path, &s) != 0) {
        if (!is_same(&w->seen, &gone))
            tell_unreadable(w, strerrordesc_np(errno));
        w->seen = gone;
        return;
    }
    mark = mark_of(&s);
    if (!is_same(&w->seen, &mark))
        w->pause = w->left = 0;
    else if (!is_due(w))
        return;
    /* Taken note of before it is read: what is written meanwhile is seen by the next look. */
    w->seen = mark;
    if (submit(w, S_ISREG(s.st_mode)) != 0)
        w->seen = none;
}

static void on_due(struct deadline *d)
{
    struct route_watch *w = container_of(d, struct route_watch, again);

    look(w);
    deadline_set(&w->again, w->every_ms);
}

void route_watch_start(struct route_watch *w, struct loop *loop, struct route_apply *apply,
                       const char *path, size_t bytes_max, uint64_t every_ms)
{
    *w = (struct route_watch){.bytes_max = bytes_max, .every_ms = every_ms};
    if (!path[0] || every_ms == 0)
        return;
    w->apply = apply;
    w->path = must_strdup(path);
    deadline_init(&w->again, loop, on_due);
    deadline_set(&w->again, 1);
}

void route_watch_stop(struct route_watch *w)
{
    if (w->apply)
        deadline_off(&w->again);
    free(w->path);
    memset(w, 0, sizeof(*w));
}
