/* penstock-edge - wires the edge together: configuration, log, the service object, signals. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "admin/process.h"
#include "base/log.h"
#include "edge/edge.h"
#include "loop/socket.h"

extern char **environ;

static const struct conf_command commands[] = {
    {"healthcheck", "asks the running edge: /healthz, or /readyz with --ready; 0 when it is well"},
    {"management-token", "prints the token of the management API"},
    {NULL, NULL},
};

static void on_signal(struct loop_signal *s, int signum)
{
    log_info("edge", "stopping", LOG_S("signal", strsignal(signum)));
    loop_stop(s->loop);
}

static int run(struct edge *e)
{
    struct loop_signal on_term, on_int;
    int err = edge_start(e);

    if (!err) {
        loop_signal_start(&on_term, e->loop, SIGTERM, on_signal);
        loop_signal_start(&on_int, e->loop, SIGINT, on_signal);
        loop_run(e->loop);
        loop_signal_stop(&on_term);
        loop_signal_stop(&on_int);
    }
    edge_stop(e);
    return err ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct edge edge = {0};
    const char *command = NULL;
    char **rest = NULL;
    int status;

    switch (conf_load(&edge_conf_table, commands, argc, argv, environ, &edge.conf, &command,
                      &rest)) {
    case CONF_RUN:
        break;
    case CONF_DONE:
        return 0;
    case CONF_BAD:
        return 2;
    }
    service_log_start(&edge.conf.service);
    process_harden();
    if (command)
        status = service_command(command, rest, &edge.conf.service);
    else {
        rlimit_raise_files();
        status = run(&edge);
    }
    conf_free(&edge_conf_table, &edge.conf);
    return status;
}
