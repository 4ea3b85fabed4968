/* auth_pool - see auth_pool.h.  A job belongs to the pool until its verdict is posted, then to the
 * loop; its `wait` is touched by the loop's thread alone. */
#include "traffic/auth_pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/list.h"
#include "loop/crash_log.h"
#include "loop/loop.h"
#include "tls/tls.h"
#include "traffic/pass_hash.h"

struct auth_job {
    struct list node;
    struct task task;
    struct loop *loop;      /* borrowed */
    struct auth_wait *wait; /* borrowed; NULL: cancelled */
    char *hash, *password;  /* owned */
    bool is_right;
};

struct auth_pool {
    pthread_mutex_t lock; /* guards line, waiting and quits */
    pthread_cond_t wake;
    struct list line;
    unsigned waiting, waiting_max;
    bool quits;
    pthread_t *threads; /* owned */
    unsigned count;
};

static void job_free(struct auth_job *job)
{
    tls_wipe(job->password, strlen(job->password));
    free(job->password);
    free(job->hash);
    free(job);
}

static void on_checked(struct task *task)
{
    struct auth_job *job = container_of(task, struct auth_job, task);
    struct auth_wait *wait = job->wait;
    bool is_right = job->is_right;

    job_free(job);
    if (!wait)
        return;
    wait->job = NULL;
    wait->on_verdict(wait, is_right);
}

static void *thread_main(void *arg)
{
    struct auth_pool *pool = arg;

    crash_log_thread_start();
    pthread_setname_np(pthread_self(), "auth");
    for (;;) {
        struct list *node = NULL;
        struct auth_job *job;

        pthread_mutex_lock(&pool->lock);
        while (!pool->quits && !(node = list_pop(&pool->line)))
            pthread_cond_wait(&pool->wake, &pool->lock);
        pool->waiting -= node != NULL;
        pthread_mutex_unlock(&pool->lock);
        if (!node)
            break;
        job = container_of(node, struct auth_job, node);
        job->is_right = pass_hash_is_right(job->hash, job->password);
        loop_post(job->loop, &job->task);
    }
    crash_log_thread_end();
    return NULL;
}

int auth_pool_new(struct auth_pool **out, unsigned threads, unsigned waiting_max)
{
    struct auth_pool *pool = must_alloc(sizeof(*pool));
    sigset_t all, before;
    int rc = pthread_mutex_init(&pool->lock, NULL);

    must(rc == 0);
    rc = pthread_cond_init(&pool->wake, NULL);
    must(rc == 0);
    list_init(&pool->line);
    pool->waiting_max = waiting_max;
    pool->threads = must_alloc(threads * sizeof(*pool->threads));
    /* Signals are the control loop's. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    for (; pool->count < threads && rc == 0; pool->count += rc == 0)
        rc = pthread_create(&pool->threads[pool->count], NULL, thread_main, pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    *out = pool;
    if (rc == 0)
        return 0;
    auth_pool_free(pool);
    *out = NULL;
    return -ERR_SYS;
}

void auth_pool_free(struct auth_pool *pool)
{
    struct list *node;

    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->quits = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->count; i++)
        pthread_join(pool->threads[i], NULL);
    while ((node = list_pop(&pool->line))) {
        struct auth_job *job = container_of(node, struct auth_job, node);

        if (job->wait)
            job->wait->job = NULL;
        job_free(job);
    }
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool->threads);
    free(pool);
}

int auth_pool_ask(struct auth_pool *pool, struct loop *loop, const char *hash, const char *password,
                  struct auth_wait *wait)
{
    struct auth_job *job = must_alloc(sizeof(*job));
    bool is_taken;

    must(!wait->job);
    job->task.run = on_checked;
    job->loop = loop;
    job->wait = wait;
    job->hash = must_strdup(hash);
    job->password = must_strdup(password);
    pthread_mutex_lock(&pool->lock);
    is_taken = pool->waiting < pool->waiting_max;
    if (is_taken) {
        pool->waiting++;
        list_push(&pool->line, &job->node);
        pthread_cond_signal(&pool->wake);
    }
    pthread_mutex_unlock(&pool->lock);
    if (!is_taken) {
        job_free(job);
        return -ERR_LIMIT;
    }
    wait->job = job;
    return 0;
}

void auth_wait_cancel(struct auth_wait *wait)
{
    if (wait->job)
        wait->job->wait = NULL;
    wait->job = NULL;
}
