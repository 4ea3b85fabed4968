/* penstock-edge - wires the edge together: configuration, log, the service object, signals. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "admin/process.h"
#include "admin/service.h"
#include "base/log.h"
#include "doctor/command.h"
#include "edge/edge.h"
#include "edge/edge_check.h"
#include "loop/socket.h"

extern char **environ;

static const struct conf_command commands[] = {
    SERVICE_COMMANDS,
    DOCTOR_COMMANDS,
    {.name = NULL},
};

struct program {
    struct edge edge;
    struct loop_signal term, interrupt, hangup;
    int argc;
    char **argv; /* borrowed: a reload reads them again */
};

static void on_stop(struct loop_signal *s, int signum)
{
    struct program *p = signum == SIGTERM ? container_of(s, struct program, term)
                                          : container_of(s, struct program, interrupt);

    service_drain_signal(&p->edge.drain, signum);
}

/* All or nothing: a key that only a start reads refuses the whole. */
static void on_hangup(struct loop_signal *s, int signum)
{
    struct program *p = container_of(s, struct program, hangup);
    struct edge_conf next = {0};
    const char *cold;

    (void)signum;
    if (conf_load(&edge_conf_table, NULL, p->argc, p->argv, environ, &next, NULL, NULL) !=
        CONF_RUN) {
        log_err("edge", "reload_refused", LOG_S("why", "the configuration has faults"));
        return;
    }
    cold = edge_reload(&p->edge, &next);
    if (cold)
        log_err("edge", "reload_refused", LOG_S("why", "only a restart can change this key"),
                LOG_S("key", cold));
    conf_free(&edge_conf_table, &next);
}

static int run(struct program *p)
{
    struct edge *e = &p->edge;
    int err;

    loop_signals_hold();
    err = edge_start(e);
    if (!err) {
        loop_signal_start(&p->term, e->loop, SIGTERM, on_stop);
        loop_signal_start(&p->interrupt, e->loop, SIGINT, on_stop);
        loop_signal_start(&p->hangup, e->loop, SIGHUP, on_hangup);
        loop_run(e->loop);
        loop_signal_stop(&p->term);
        loop_signal_stop(&p->interrupt);
        loop_signal_stop(&p->hangup);
    }
    edge_stop(e);
    return err ? 1 : 0;
}

static int serve(struct program *p, int argc, char **argv)
{
    struct service_start start = {.table = &edge_conf_table,
                                  .argc = argc,
                                  .argv = argv,
                                  .environ_ = environ,
                                  .conf = &p->edge.conf,
                                  .service = &p->edge.conf.service};
    int status;

    p->argc = argc;
    p->argv = argv;
    rlimit_raise_files();
    return service_begin(&start, &p->edge.crash, &status) ? run(p) : status;
}

static int run_command(const char *command, char **rest, const struct edge_conf *conf)
{
    if (strcmp(command, "check") == 0)
        return doctor_check("edge", rest, edge_check, conf);
    if (strcmp(command, "diag") == 0)
        return doctor_diag(&(struct doctor_diag){.table = &edge_conf_table,
                                                 .conf = conf,
                                                 .service = &conf->service,
                                                 .each_secret = edge_each_secret,
                                                 .examine = edge_check},
                           rest);
    return service_command(command, rest, &conf->service);
}

int main(int argc, char **argv)
{
    static struct program p;
    struct edge_conf *conf = &p.edge.conf;
    const char *command = NULL;
    char **rest = NULL;
    int status;

    process_harden();
    switch (conf_load(&edge_conf_table, commands, argc, argv, environ, conf, &command, &rest)) {
    case CONF_RUN:
        break;
    case CONF_DONE:
        return 0;
    case CONF_BAD:
        return 2;
    }
    service_log_start(&conf->service);
    status = command ? run_command(command, rest, conf) : serve(&p, argc, argv);
    conf_free(&edge_conf_table, conf);
    return status;
}
