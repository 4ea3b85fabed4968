/* worker - a thread with a loop of its own.  Workers share nothing that is written but relaxed
 * counters; the control thread hands them immutable snapshots and sockets by loop_post(). */
#ifndef LOOP_WORKER_H
#define LOOP_WORKER_H

#include <pthread.h>

#include "loop/loop.h"

struct worker {
    pthread_t thread;
    struct loop *loop; /* owned */
    unsigned index;
    bool is_running;
};

/* `count` workers named "<name>-<index>".  Signals are blocked in them.  0, -ERR_SYS. */
MUST_USE int workers_start(struct worker *workers, unsigned count, const char *name,
                           size_t pool_keep, size_t pool_cap);
/* Stops the loops and joins the threads; the loops stay, so that what is left can be freed in the
 * calling thread (loop_adopt makes that legal), then workers_free(). */
void workers_stop(struct worker *workers, unsigned count);
void workers_free(struct worker *workers, unsigned count);

/* Cores this process may run on (affinity and cgroup quota), at least 1. */
unsigned worker_default_count(void);

#endif
