/* service_drain - how a service ends in order: after SIGTERM, SIGINT or POST /v1/drain.
 *
 *   RUNNING -> ANNOUNCED -> CLOSING -> LEAVING -> OVER          any -> OVER: a second signal
 *
 *   ANNOUNCED  /readyz says 503, all else goes on for drainDelaySecs: whoever balances the load
 *              finds out before a connection is refused
 *   CLOSING    nothing new is taken (close), what is open may finish for up to drainSecs (is_idle)
 *   LEAVING    the last word to the peers goes out (leave, is_gone), for up to DRAIN_LEAVE_MS
 *   OVER       the loop stops; what is still open is reset as the service is taken down
 *
 * A signal often comes twice at once, to the process group and passed on by a supervisor: only one
 * that comes DRAIN_SECOND_MS after the first is a second one.  Control thread.
 */
#ifndef ADMIN_SERVICE_DRAIN_H
#define ADMIN_SERVICE_DRAIN_H

#include <stdbool.h>

#include "conf/service_conf.h"
#include "loop/loop.h"

#define DRAIN_LEAVE_MS  1500u
#define DRAIN_SECOND_MS 1000u
#define DRAIN_LOOK_MS   50u /* between two looks at is_idle and is_gone */

enum drain_state {
    DRAIN_RUNNING,
    DRAIN_ANNOUNCED,
    DRAIN_CLOSING,
    DRAIN_LEAVING,
    DRAIN_OVER,
    DRAIN_STATE_COUNT
};

struct service_drain_ops {
    /* Takes nothing new from now on, and tells its peers: for `secs` (0: not at all) what is open
     * may go on. */
    void (*close)(void *arg, unsigned secs);
    bool (*is_idle)(const void *arg); /* nothing is open any more */
    void (*leave)(void *arg);         /* or NULL: there is nobody to say goodbye to */
    bool (*is_gone)(const void *arg);
};

struct service_drain {
    enum drain_state state;          /* written by enter() only */
    const char *service;             /* for the log */
    const struct service_conf *conf; /* borrowed: drainSecs, drainDelaySecs as they are by then */
    const struct service_drain_ops *ops;
    void *arg;
    struct deadline look;
    uint64_t begun_ms, due_ms;
};

void service_drain_init(struct service_drain *d, struct loop *loop, const char *service,
                        const struct service_conf *conf, const struct service_drain_ops *ops,
                        void *arg);
void service_drain_fini(struct service_drain *d); /* fine on a zeroed one */
/* Begins, once; `by` is for the log. */
void service_drain_begin(struct service_drain *d, const char *by);
/* The same by a signal; the second one ends it all. */
void service_drain_signal(struct service_drain *d, int signum);
bool service_drain_is_begun(const struct service_drain *d);

#endif
