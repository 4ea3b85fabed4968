/* worker - see worker.h. */
#include "loop/worker.h"

#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "loop/crash_log.h"

#define WORKER_NAME_BYTES 32
#define PATH_BYTES        4096
#define CPUS_MAX          65536
#define HEAP_KEPT_BYTES   (1 << 20)
#define HEAP_STEP_BYTES   (256 << 10)

static void *worker_main(void *arg)
{
    struct worker *w = arg;

    crash_log_thread_start();
    loop_run(w->loop);
    crash_log_thread_end();
    return NULL;
}

/* GnuTLS takes 16 KiB from the heap for each record and gives it back.  Where that is the top of a
 * thread's heap, glibc would give it to the kernel and ask for it again each time. */
static void keep_heaps(void)
{
    (void)mallopt(M_TRIM_THRESHOLD, HEAP_KEPT_BYTES); /* without it things work too */
    (void)mallopt(M_TOP_PAD, HEAP_STEP_BYTES);
}

int workers_start(struct worker *workers, unsigned count, const char *name, size_t pool_keep,
                  size_t pool_cap)
{
    sigset_t all, before;
    int err = 0;

    keep_heaps();
    memset(workers, 0, count * sizeof(*workers));
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* a new thread inherits the mask */
    for (unsigned i = 0; i < count && err == 0; i++) {
        char loop_name[WORKER_NAME_BYTES];

        snprintf(loop_name, sizeof(loop_name), "%s-%u", name, i);
        workers[i].index = i;
        workers[i].loop = loop_new(loop_name, pool_keep, pool_cap);
        err = pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]);
        workers[i].is_running = err == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err == 0)
        return 0;
    log_err("loop", "thread_refused", LOG_S("error", strerrordesc_np(err)));
    workers_stop(workers, count);
    workers_free(workers, count);
    return -ERR_SYS;
}

void workers_stop(struct worker *workers, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (workers[i].is_running)
            loop_stop(workers[i].loop);
    for (unsigned i = 0; i < count; i++) {
        if (!workers[i].is_running)
            continue;
        must(pthread_join(workers[i].thread, NULL) == 0);
        workers[i].is_running = false;
    }
}

void workers_free(struct worker *workers, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        must(!workers[i].is_running);
        loop_free(workers[i].loop);
        workers[i].loop = NULL;
    }
}

/* The kernel's mask may be larger than cpu_set_t: EINVAL asks for more room. */
static unsigned affinity_count(void)
{
    for (size_t cpus = CPU_SETSIZE; cpus <= CPUS_MAX; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC(cpus);
        size_t size = CPU_ALLOC_SIZE(cpus);
        int count = 0, err;

        if (!set)
            break;
        CPU_ZERO_S(size, set);
        err = sched_getaffinity(0, size, set) == 0 ? 0 : errno;
        if (err == 0)
            count = CPU_COUNT_S(size, set);
        CPU_FREE(set);
        if (err == 0)
            return (unsigned)MAX(count, 1);
        if (err != EINVAL)
            break;
    }
    return 1;
}

/* The first line of a file, without its end; false when there is none. */
static bool read_line(const char *path, const char *prefix, char *out, size_t size)
{
    FILE *file = fopen(path, "re");
    bool is_found = false;

    if (!file)
        return false;
    while (!is_found && fgets(out, (int)size, file)) {
        out[strcspn(out, "\n")] = '\0';
        is_found = strncmp(out, prefix, strlen(prefix)) == 0;
    }
    fclose(file);
    return is_found;
}

/* "max 100000" or "150000 100000": quota and period in µs.  0: no limit, or nothing to read. */
static unsigned quota_of(const char *folder)
{
    char path[PATH_BYTES], line[128];
    unsigned long long quota, period;
    char *end;

    if (snprintf(path, sizeof(path), "%s/cpu.max", folder) >= (int)sizeof(path))
        return 0;
    if (!read_line(path, "", line, sizeof(line)) || line[0] < '0' || line[0] > '9')
        return 0;
    quota = strtoull(line, &end, 10);
    period = strtoull(end, &end, 10);
    if (period == 0 || quota == 0 || quota / period >= CPUS_MAX)
        return 0;
    return (unsigned)((quota + period - 1) / period);
}

unsigned worker_quota_count(const char *membership, const char *mount)
{
    char line[PATH_BYTES], folder[PATH_BYTES];
    size_t root = strlen(mount);
    unsigned tightest = 0;
    int len;

    if (!read_line(membership, "0::/", line, sizeof(line)))
        return 0;
    len = snprintf(folder, sizeof(folder), "%s%s", mount, line + strlen("0::"));
    if (len < 0 || len >= (int)sizeof(folder))
        return 0;
    for (;;) {
        unsigned here = quota_of(folder);
        char *slash;

        if (here && (tightest == 0 || here < tightest))
            tightest = here;
        slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < root)
            return tightest;
        *slash = '\0';
    }
}

unsigned worker_default_count(void)
{
    unsigned cores = affinity_count();
    unsigned quota = worker_quota_count("/proc/self/cgroup", "/sys/fs/cgroup");

    return quota ? MIN(cores, quota) : cores;
}
