/* metrics_process - the families that every process has: memory, descriptors, CPU, start, build,
 * its log.
 *
 * Nothing here needs /proc/self/fd: a process that may not be dumped (process.h) cannot open it. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "admin/server.h"
#include "loop/log_writer.h"

#define FD_BLOCK 1024 /* descriptors asked about in one poll */
#define FD_EMPTY_BLOCKS                                                                            \
    4 /* the kernel gives the lowest free number: behind such a gap is nothing */

static double count_fds(rlim_t limit)
{
    static struct pollfd block[FD_BLOCK];
    unsigned empty = 0;
    double count = 0;

    for (rlim_t from = 0; from < limit && empty < FD_EMPTY_BLOCKS; from += FD_BLOCK) {
        rlim_t n = MIN(limit - from, (rlim_t)FD_BLOCK);
        double before = count;

        for (rlim_t i = 0; i < n; i++)
            block[i] = (struct pollfd){.fd = (int)(from + i), .events = 0};
        if (poll(block, (nfds_t)n, 0) < 0)
            break;
        for (rlim_t i = 0; i < n; i++)
            if (!(block[i].revents & POLLNVAL))
                count++;
        empty = count > before ? 0 : empty + 1;
    }
    return count;
}

static double resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (!file)
        return 0;
    if (fscanf(file, "%lu %lu", &size, &resident) != 2)
        resident = 0;
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static double seconds_of(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Ticks between boot and start: the 22nd field of stat, counted behind the name, which may hold
 * blanks and brackets. */
static double start_after_boot(void)
{
    char text[1024];
    unsigned long long ticks = 0;
    FILE *file = fopen("/proc/self/stat", "re");
    size_t n = file ? fread(text, 1, sizeof(text) - 1, file) : 0;

    if (file)
        fclose(file);
    text[n] = '\0';
    char *p = strrchr(text, ')');
    for (int field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    if (!p || sscanf(p, " %llu", &ticks) != 1)
        return -1;
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

/* Worked out once: a clock that is set must not move the start of the process. */
static double start_time(void)
{
    static double known;

    if (known <= 0) {
        double since_boot = start_after_boot();
        known = since_boot < 0
                    ? seconds_of(CLOCK_REALTIME)
                    : seconds_of(CLOCK_REALTIME) - (seconds_of(CLOCK_BOOTTIME) - since_boot);
    }
    return known;
}

void metrics_process(struct metrics *m, const char *service)
{
    struct rlimit files = {0};
    struct rusage usage = {0};

    getrlimit(RLIMIT_NOFILE, &files);
    getrusage(RUSAGE_SELF, &usage);
    metrics_family(m, "penstock_build_info", METRIC_GAUGE, "Which program this is; always 1.");
    metrics_value(m, 1, "service", service, "version", PENSTOCK_VERSION, NULL);
    metrics_family(m, "process_resident_memory_bytes", METRIC_GAUGE, "Memory in use.");
    metrics_value(m, resident_bytes(), NULL);
    metrics_family(m, "process_open_fds", METRIC_GAUGE, "Open file descriptors.");
    metrics_value(m, count_fds(files.rlim_cur), NULL);
    metrics_family(m, "process_max_fds", METRIC_GAUGE, "The limit of open file descriptors.");
    metrics_value(m, (double)files.rlim_cur, NULL);
    metrics_family(m, "process_cpu_seconds_total", METRIC_COUNTER, "CPU time used.");
    metrics_value(m,
                  (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                      (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6,
                  NULL);
    metrics_family(m, "process_start_time_seconds", METRIC_GAUGE,
                   "When the process started, since 1970.");
    metrics_value(m, start_time(), NULL);
    metrics_family(m, "penstock_log_lines_dropped_total", METRIC_COUNTER,
                   "Log lines lost: nobody read the log, or it could not be written.");
    metrics_value(m, (double)log_writer_dropped(), NULL);
}
