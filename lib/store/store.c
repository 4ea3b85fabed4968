/* store - see store.h: the batches, the queue, the thread. */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/err.h"
#include "loop/crash_log.h"
#include "loop/loop.h"
#include "store/database.h"
#include "tls/tls.h"

const char *const store_fault_names[STORE_FAULT_COUNT] = {"full", "read_only", "io"};

struct store_job {
    struct list node;          /* in store->queue */
    struct task task;          /* on its way back */
    struct store_batch *batch; /* owned */
    struct store_result result;
    void (*on_done)(void *arg, const struct store_result *result);
    void *arg;
};

struct store {
    struct loop *loop;        /* borrowed */
    struct database database; /* the thread's, once it runs */
    int lock_fd;              /* owned; -1: it could not be had, and nothing is written */
    unsigned queue_max;
    pthread_t thread;
    bool is_running;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    struct list queue; /* struct store_job, owned */
    bool is_ending;
    /* relaxed, for anyone */
    _Atomic uint64_t commits, faults[STORE_FAULT_COUNT], queue_full, busy_us;
    _Atomic unsigned queued;
    _Atomic bool is_read_only;
};

/* --- batches --- */

struct store_batch *store_batch_new(void)
{
    struct store_batch *b = must_alloc(sizeof(*b));

    list_init(&b->changes);
    return b;
}

static struct store_change *add(struct store_batch *b, const char *kind, const char *id)
{
    struct store_change *c = must_alloc(sizeof(*c));

    c->kind = must_strdup(kind);
    c->id = must_strdup(id);
    list_push(&b->changes, &c->node);
    return c;
}

void store_batch_put(struct store_batch *b, const char *kind, const char *id, const char *body,
                     const void *secret, size_t secret_len)
{
    struct store_change *c = add(b, kind, id);

    c->body = must_strdup(body);
    if (!secret)
        return;
    c->secret = must_alloc(secret_len);
    memcpy(c->secret, secret, secret_len);
    c->secret_len = secret_len;
}

void store_batch_remove(struct store_batch *b, const char *kind, const char *id)
{
    add(b, kind, id)->is_removal = true;
}

void store_batch_put_all(struct store_batch *b, const struct store_batch *from)
{
    LIST_EACH (&from->changes, node, after) {
        const struct store_change *c = container_of(node, struct store_change, node);

        if (c->is_removal)
            store_batch_remove(b, c->kind, c->id);
        else
            store_batch_put(b, c->kind, c->id, c->body, c->secret, c->secret_len);
    }
}

void store_batch_free(struct store_batch *b)
{
    struct list *node;

    while (b && (node = list_pop(&b->changes))) {
        struct store_change *c = container_of(node, struct store_change, node);

        if (c->secret)
            tls_wipe(c->secret, c->secret_len);
        free(c->secret);
        free(c->kind);
        free(c->id);
        free(c->body);
        free(c);
    }
    free(b);
}

/* --- writing, in whatever thread --- */

static enum store_fault fault_of(int err)
{
    return err == -ERR_FULL     ? STORE_FAULT_FULL
           : err == -ERR_DENIED ? STORE_FAULT_READ_ONLY
                                : STORE_FAULT_IO;
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* One process a file: two would each acknowledge what the other does not know.  0; -ERR_DENIED: the
 * disk or the folder does not let us make the lock's file; -ERR_CONFLICT, -ERR_IO. */
static int take_lock(struct store *s, const char *path, char *why, size_t why_size)
{
    char *name = must_printf("%s-lock", path);
    int fd = open(name, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int err = fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0 ? errno : 0;

    if (!err) {
        s->lock_fd = fd;
    } else if (fd >= 0 && err == EWOULDBLOCK) {
        snprintf(why, why_size, "%s: another process uses it", path);
        err = -ERR_CONFLICT;
    } else {
        snprintf(why, why_size, "%s: %s", name, strerrordesc_np(err));
        err = fd < 0 && (err == EROFS || err == EACCES) ? -ERR_DENIED : -ERR_IO;
    }
    if (err && fd >= 0)
        close(fd);
    free(name);
    return err;
}

/* A store that was opened without its lock, for reading, takes it before it writes. */
static int write_locked(struct store *s, const struct store_batch *b, char *why, size_t why_size)
{
    int err = s->lock_fd < 0 ? take_lock(s, s->database.path, why, why_size) : 0;

    return err ? err : database_write(&s->database, b, why, why_size);
}

static int write_batch(struct store *s, const struct store_batch *b, char *why, size_t why_size)
{
    uint64_t since_us = clock_now_us();
    int err = write_locked(s, b, why, why_size);

    if (err && err != -ERR_FULL && err != -ERR_DENIED)
        err = -ERR_IO;
    count(&s->busy_us, clock_now_us() - since_us);
    if (err)
        count(&s->faults[fault_of(err)], 1);
    else
        count(&s->commits, 1);
    atomic_store_explicit(&s->is_read_only, s->database.is_read_only, memory_order_relaxed);
    return err;
}

int store_write(struct store *s, const struct store_batch *b, char *why, size_t why_size)
{
    must(!s->is_running);
    return write_batch(s, b, why, why_size);
}

int store_load(struct store *s, const char *kind,
               void (*on_record)(void *arg, const struct store_record *record), void *arg,
               char *why, size_t why_size)
{
    must(!s->is_running);
    return database_load(&s->database, kind, on_record, arg, why, why_size);
}

/* --- the thread --- */

static void run_done(struct task *task)
{
    struct store_job *job = container_of(task, struct store_job, task);

    job->on_done(job->arg, &job->result);
    free(job);
}

/* The next one to write; NULL: there will be no more. */
static struct store_job *next_job(struct store *s)
{
    struct list *node;

    must(pthread_mutex_lock(&s->mutex) == 0);
    while (!(node = list_pop(&s->queue)) && !s->is_ending)
        must(pthread_cond_wait(&s->changed, &s->mutex) == 0);
    must(pthread_mutex_unlock(&s->mutex) == 0);
    return node ? container_of(node, struct store_job, node) : NULL;
}

static void *thread_main(void *arg)
{
    struct store *s = arg;
    struct store_job *job;

    crash_log_thread_start();
    pthread_setname_np(pthread_self(), "store");
    while ((job = next_job(s))) {
        job->result.err = write_batch(s, job->batch, job->result.why, sizeof(job->result.why));
        store_batch_free(job->batch);
        atomic_fetch_sub_explicit(&s->queued, 1, memory_order_relaxed);
        loop_post(s->loop, &job->task);
    }
    crash_log_thread_end();
    return NULL;
}

int store_start(struct store *s)
{
    sigset_t all, before;
    int err;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = pthread_create(&s->thread, NULL, thread_main, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    s->is_running = err == 0;
    return err ? -ERR_SYS : 0;
}

int store_commit(struct store *s, struct store_batch *b,
                 void (*on_done)(void *arg, const struct store_result *result), void *arg)
{
    struct store_job *job;

    must(s->is_running);
    if (atomic_load_explicit(&s->queued, memory_order_relaxed) >= s->queue_max) {
        count(&s->queue_full, 1);
        return -ERR_LIMIT;
    }
    job = must_alloc(sizeof(*job));
    job->batch = b;
    job->on_done = on_done;
    job->arg = arg;
    job->task.run = run_done;
    atomic_fetch_add_explicit(&s->queued, 1, memory_order_relaxed);
    must(pthread_mutex_lock(&s->mutex) == 0);
    list_push(&s->queue, &job->node);
    must(pthread_cond_signal(&s->changed) == 0);
    must(pthread_mutex_unlock(&s->mutex) == 0);
    return 0;
}

void store_stats(const struct store *s, struct store_stats *out)
{
#define SHOW(member) out->member = atomic_load_explicit(&s->member, memory_order_relaxed)
    SHOW(commits);
    for (size_t i = 0; i < STORE_FAULT_COUNT; i++)
        SHOW(faults[i]);
    SHOW(queue_full);
    SHOW(busy_us);
    SHOW(queued);
    SHOW(is_read_only);
#undef SHOW
}

/* --- life --- */

int store_open(struct store **out, const struct store_options *options, char *why, size_t why_size)
{
    struct store *s = must_alloc(sizeof(*s));
    char no_lock[STORE_WHY_BYTES] = "";
    int err;

    *out = NULL;
    s->lock_fd = -1;
    s->loop = options->loop;
    s->queue_max = options->queue_max;
    list_init(&s->queue);
    must(pthread_mutex_init(&s->mutex, NULL) == 0);
    must(pthread_cond_init(&s->changed, NULL) == 0);
    err = take_lock(s, options->path, no_lock, sizeof(no_lock));
    if (!err || err == -ERR_DENIED)
        err = database_init(&s->database, options->path, options->key, err ? no_lock : NULL, why,
                            why_size);
    else
        snprintf(why, why_size, "%s", no_lock);
    if (err) {
        store_close(s);
        return err;
    }
    atomic_store(&s->is_read_only, s->database.is_read_only);
    *out = s;
    return 0;
}

int store_look(const char *path, const uint8_t key[STORE_KEY_BYTES], char *why, size_t why_size)
{
    struct database d;
    int err = database_look(&d, path, key, why, why_size);

    database_fini(&d);
    return err;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    if (s->is_running) {
        must(pthread_mutex_lock(&s->mutex) == 0);
        s->is_ending = true;
        must(pthread_cond_signal(&s->changed) == 0);
        must(pthread_mutex_unlock(&s->mutex) == 0);
        must(pthread_join(s->thread, NULL) == 0);
    }
    must(list_is_empty(&s->queue));
    database_fini(&s->database);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    must(pthread_mutex_destroy(&s->mutex) == 0);
    must(pthread_cond_destroy(&s->changed) == 0);
    free(s);
}
