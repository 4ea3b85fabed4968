/* worker - a thread with a loop of its own.  Workers share nothing that is written but relaxed
 * counters; the control thread hands them immutable snapshots and sockets by loop_post(). */
#ifndef LOOP_WORKER_H
#define LOOP_WORKER_H

#include <pthread.h>

#include "loop/loop.h"

struct worker {
    pthread_t thread;
    struct loop *loop; /* owned by the worker's starter */
    unsigned index;
    bool is_running;
};

/* `count` workers named "<name>-<index>", all or none.  Signals are blocked in them.  Their loops
 * take tasks (loop_post) from the moment this returns.  0, -ERR_SYS. */
MUST_USE int workers_start(struct worker *workers, unsigned count, const char *name,
                           size_t pool_keep, size_t pool_cap);
/* Stops the loops and joins the threads; fine twice.  The loops stay and belong to the calling
 * thread from then on: it may free there what the workers left, and ends with workers_free(). */
void workers_stop(struct worker *workers, unsigned count);
void workers_free(struct worker *workers, unsigned count);

/* Cores this process may use: its affinity, and the CPU quota of its cgroup (version 2) rounded up;
 * at least 1. */
unsigned worker_default_count(void);
/* The part that reads the quota: `membership` is /proc/self/cgroup, `mount` where cgroup2 is
 * mounted.  The tightest cpu.max from the process's group up to the mount; 0: none. */
unsigned worker_quota_count(const char *membership, const char *mount);

#endif
