/* service - what every service does in the same way with its service_conf (conf/service_conf.h):
 * tokens, the start of its management API, the commands of its program. */
#ifndef ADMIN_SERVICE_H
#define ADMIN_SERVICE_H

#include "admin/admin.h"
#include "admin/events.h"
#include "conf/service_conf.h"
#include "loop/supervisor.h"

struct service_tokens {
    char *tokens, *read_tokens; /* owned, secret */
};

/* Both tokens: as configured, or from stateDir ("management-token", "management-read-token"), made
 * there when missing.  0, -ERR_IO with `why`; service_tokens_fini() is due either way. */
MUST_USE int service_tokens_load(struct service_tokens *out, const struct service_conf *conf,
                                 char *why, size_t why_size);
void service_tokens_fini(struct service_tokens *t); /* wipes; fine on a zeroed one */

/* A token that may read, of a service that was started before; nothing is made.  The caller's, a
 * secret; NULL: there is none that this user may read. */
char *service_read_token(const struct service_conf *conf);

/* Why it does not start: logged, one line a reason.  Returns err. */
int service_start_failed(const char *service, int err, const char *what, const char *why);

/* Fills in what comes from `conf`, starts, and logs one line "listening" a port (name management,
 * metrics).  What the service brings itself is set before: loop, service, openapi, routes, arg and
 * hooks.  0, or -ERR_* after the reason was logged. */
MUST_USE int service_admin_start(struct admin **out, struct admin_options *options,
                                 const struct service_conf *conf,
                                 const struct service_tokens *tokens);

/* Puts what a reload may change in every service (is_hot in CONF_SERVICE_KEYS) into force, and what
 * was there before into `next`.  0; -ERR_*: the reason was logged, and everything stays as it is:
 * call it before a service puts its own part into force. */
MUST_USE int service_reload(const char *service, struct admin *a, struct service_tokens *tokens,
                            struct service_conf *now, struct service_conf *next);

/* What main() knows when it is about to run the service. */
struct service_start {
    const struct conf_table *table;
    int argc;
    char **argv, **environ_;            /* borrowed */
    void *conf;                         /* of the table: read, and read again after a crash */
    const struct service_conf *service; /* inside of it */
};

/* Forks a supervisor off, unless `supervise` is false.  True: this process is the service, go on;
 * after a crash with a configuration that was read anew, or the last good one.  False: all is over,
 * end with *status. */
MUST_USE bool service_begin(const struct service_start *start, struct crash *crash, int *status);
/* Once the service runs: says whether it comes after a crash, in the log and as event `type`
 * (crashRecovered).  What a supervisor gives up can raise no event any more: crash_recovery_failed
 * is its log's last line and status 70. */
void service_tell_crash(const char *service, const struct crash *crash, struct events *events,
                        unsigned type);
struct events *service_events_new(const struct service_conf *conf, struct loop *loop,
                                  const struct event_type *types);

/* The commands that every program has, for its table of them. */
extern const struct conf_option service_healthcheck_options[];
#define SERVICE_COMMANDS                                                                           \
    {.name = "healthcheck",                                                                        \
     .doc = "Asks the running service whether it lives; status 0 when it is well.",                \
     .options = service_healthcheck_options},                                                      \
    {                                                                                              \
        .name = "management-token",                                                                \
        .doc = "Prints the token of the management API, which the service's first start makes."    \
    }

/* "healthcheck [--ready]" and "management-token"; the exit status, or -1: another command. */
int service_command(const char *command, char **rest, const struct service_conf *conf);

#endif
