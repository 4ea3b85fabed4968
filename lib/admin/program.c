/* program - see program.h. */
#include "admin/program.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "admin/process.h"
#include "base/err.h"
#include "base/log.h"
#include "loop/log_writer.h"
#include "loop/socket.h"

extern char **environ;

enum status { STATUS_WELL, STATUS_CANNOT, STATUS_BAD };

struct running {
    const struct program *program;
    struct loop_signal term, interrupt, hangup;
    int argc;
    char **argv; /* a reload reads them again */
};

static void on_stop(struct loop_signal *s, int signum)
{
    struct running *r = signum == SIGTERM ? container_of(s, struct running, term)
                                          : container_of(s, struct running, interrupt);

    service_drain_signal(r->program->drain, signum);
}

/* All or nothing: keys that only a start reads refuse the whole. */
static void reload(struct running *r)
{
    const struct program *p = r->program;
    const char *name = p->table->service;
    char *cold;
    void *next = must_alloc(p->table->size);

    if (conf_load(p->table, NULL, r->argc, r->argv, environ, next, NULL, NULL) != CONF_RUN) {
        log_err(name, "reload_refused", LOG_S("why", "the configuration has faults"));
        free(next);
        return;
    }
    cold = conf_cold_differences(p->table, p->conf, next);
    if (cold)
        log_err(name, "reload_refused", LOG_S("why", "only a restart can change these keys"),
                LOG_S("keys", cold));
    else if (p->reload(p->arg, next) == 0)
        log_info(name, "reloaded");
    free(cold);
    conf_free(p->table, next);
    free(next);
}

static void on_hangup(struct loop_signal *s, int signum)
{
    (void)signum;
    reload(container_of(s, struct running, hangup));
}

static void serve_until_stopped(struct running *r)
{
    struct loop *loop = *r->program->loop;

    loop_signal_start(&r->term, loop, SIGTERM, on_stop);
    loop_signal_start(&r->interrupt, loop, SIGINT, on_stop);
    loop_signal_start(&r->hangup, loop, SIGHUP, on_hangup);
    loop_run(loop);
    loop_signal_stop(&r->term);
    loop_signal_stop(&r->interrupt);
    loop_signal_stop(&r->hangup);
}

static int serve(const struct program *p, int argc, char **argv)
{
    struct service_start start = {.table = p->table,
                                  .argc = argc,
                                  .argv = argv,
                                  .environ_ = environ,
                                  .conf = p->conf,
                                  .service = p->service};
    struct running r = {.program = p, .argc = argc, .argv = argv};
    int status, err;

    rlimit_raise_files();
    if (!service_begin(&start, p->crash, &status))
        return status;
    loop_signals_hold();
    if (log_writer_start() != 0)
        return STATUS_CANNOT;
    err = p->start(p->arg);
    if (!err)
        serve_until_stopped(&r);
    p->stop(p->arg);
    if (!err)
        log_info(p->table->service, "stopped");
    log_writer_stop();
    return err == -ERR_SYNTAX ? STATUS_BAD : err ? STATUS_CANNOT : STATUS_WELL;
}

int program_run(const struct program *p, int argc, char **argv)
{
    const char *command = NULL;
    char **rest = NULL;
    int status;

    process_harden();
    switch (conf_load(p->table, p->commands, argc, argv, environ, p->conf, &command, &rest)) {
    case CONF_DONE:
        return STATUS_WELL;
    case CONF_BAD:
        return STATUS_BAD;
    case CONF_RUN:
        break;
    }
    service_log_start(p->service);
    status = command ? p->command(command, rest, p->conf) : serve(p, argc, argv);
    conf_free(p->table, p->conf);
    return status;
}
