/* program - the main() of a service: its configuration, then one of its commands, or the service
 * itself under its supervisor, with its signals, until it ends.
 *
 *   SIGTERM, SIGINT  end in order (service_drain.h); a second one at once
 *   SIGHUP           reads the configuration again, all of it or nothing
 *
 * The exit status is what lib/conf/man.c tells: 0, 1, 2, 70.
 */
#ifndef ADMIN_PROGRAM_H
#define ADMIN_PROGRAM_H

#include "admin/service.h"
#include "admin/service_drain.h"

/* Everything is borrowed, and stays until program_run() returns. */
struct program {
    const struct conf_table *table;
    const struct conf_command *commands;
    int (*command)(const char *name, char **rest, const void *conf); /* the exit status */

    /* The service's own, zeroed; inside of them: */
    void *arg;
    void *conf; /* of the table */
    const struct service_conf *service;
    struct crash *crash;
    struct loop **loop; /* made by start() */
    struct service_drain *drain;

    /* 0, or -ERR_* after the reason was logged (service_start_failed()); -ERR_SYNTAX: what is
     * configured is wrong, which starting again will not mend.  stop() follows either way. */
    int (*start)(void *arg);
    void (*stop)(void *arg);
    /* Takes what is hot from `next` (another struct of the table) and leaves there what it
     * replaces; nothing that only a start reads differs.  0, or -ERR_* after the reason was logged,
     * and nothing has changed. */
    int (*reload)(void *arg, void *next);
};

/* The exit status. */
int program_run(const struct program *p, int argc, char **argv);

#endif
