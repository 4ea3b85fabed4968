/* command - the commands `check` and `diag` of every program: their options, and what is the same
 * in all of them.  What is looked at is the service's own: it gives a function. */
#ifndef DOCTOR_COMMAND_H
#define DOCTOR_COMMAND_H

#include "conf/service_conf.h"
#include "doctor/report.h"
#include "doctor/running.h"

#define DOCTOR_COMMANDS                                                                            \
    {.name = "check",                                                                              \
     .doc = "Looks at what the service needs, from here: configuration, files, ports, names, "     \
            "peers. One line each: ok, warn or fail, what was seen and how to mend it. Status 0, " \
            "1 when something fails, 2 when the configuration is wrong.",                          \
     .options = doctor_check_options,                                                              \
     .on_faults = doctor_tell_faults},                                                             \
    {                                                                                              \
        .name = "diag",                                                                            \
        .doc =                                                                                     \
            "Writes a tar file about the service and this machine, without secrets, for who "      \
            "helps you: configuration, what check finds, the running service's status, metrics "   \
            "and events, the kernel's settings.",                                                  \
        .options = doctor_diag_options                                                             \
    }

extern const struct conf_option doctor_check_options[], doctor_diag_options[];
void doctor_tell_faults(const struct conf_table *table, const struct json_check *faults,
                        char **rest);

/* `examine` adds what it finds; `conf` is the service's own.  The exit status. */
int doctor_check(const char *service, char **rest,
                 void (*examine)(struct report *r, const void *conf), const void *conf);

/* What every service has: its folder, its management API and metrics port, the clock. */
void doctor_check_service(struct report *r, const struct service_conf *conf,
                          const struct running *running);
/* A listener of the service: can be bound, or is held by the service that runs. */
void doctor_check_port(struct report *r, const char *name, const char *listen,
                       enum machine_port kind, const struct running *running);

/* What the bundle of a service is made of. */
struct doctor_diag {
    const struct conf_table *table;
    const void *conf;                   /* of the table */
    const struct service_conf *service; /* inside of it */
    void (*examine)(struct report *r, const void *conf);
    /* Secrets that stand inside others; or NULL. */
    void (*each_secret)(const void *conf, void (*on_secret)(void *arg, const char *secret),
                        void *arg);
};
/* The exit status. */
int doctor_diag(const struct doctor_diag *diag, char **rest);

#endif
