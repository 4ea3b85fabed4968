/* supervisor - the process that was started first: it forks the service and starts it again when it
 * crashes.
 *
 *   supervisor --fork--> service          SIGTERM, SIGINT, SIGQUIT, SIGHUP are passed on
 *        ^                  |
 *        |   a signal ended it: wait 1 s, 2 s ... 30 s, fork again; a calm minute ends the row
 *        |   it ended by itself: so does the supervisor, with the same status
 *
 * It has one thread and no loop, waits in sigtimedwait() only, and touches nothing but its child;
 * as process 1 it reaps whatever else was left to it.  The child dies with its supervisor
 * (PR_SET_PDEATHSIG), so that nothing is left behind that holds the ports.
 *
 * An exit status is the service's own word (a start that failed, an order to stop), so it is passed
 * on as it is, unless it stands in a row of crashes: what was running a moment ago is tried again.
 */
#ifndef LOOP_SUPERVISOR_H
#define LOOP_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>

#define SUPERVISOR_GAVE_UP 70 /* exit status: too many crashes in a row */

struct supervisor_options {
    const char *service;    /* for the log */
    unsigned restarts_max;  /* in a row; one crash more ends it */
    uint64_t delay_min_ms;  /* 0: 1 s */
    uint64_t delay_max_ms;  /* 0: 30 s */
    uint64_t calm_after_ms; /* 0: 60 s: a run as long as this ends the row */
};

/* What a service process is told about the ones before it. */
struct crash {
    int signal;         /* that ended the one before; 0: none, or it ended with a status */
    int status;         /* its exit status then */
    unsigned row;       /* crashes in this row; 0: there was none */
    uint64_t recovered; /* starts after a crash, since the supervisor began */
};

/* Before any thread is made.  True: this is the service, started for the first time or again:
 * *crash says which, and SIGTERM, SIGINT and SIGHUP are held (loop_signals_hold()).  False: this
 * was the supervisor and all is over: end with *status. */
bool supervisor_run(const struct supervisor_options *options, struct crash *crash, int *status);

/* The rule behind it.  However the service ended: a run of calm_after_ms ends the row. */
void crash_row_ran(struct crash *crash, const struct supervisor_options *options, uint64_t ran_ms);
/* Then, when it was a crash.  True: start it again after *delay_ms. */
bool crash_row_add(struct crash *crash, const struct supervisor_options *options,
                   uint64_t *delay_ms);

#endif
