/* penstock-hub - wires the hub together: configuration, log, the service object, signals. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "admin/process.h"
#include "admin/service.h"
#include "base/log.h"
#include "doctor/command.h"
#include "hub/hub.h"
#include "hub/hub_check.h"
#include "hub/token_command_json.h"
#include "loop/socket.h"

extern char **environ;

static const struct conf_option token_options[] = {
    {"--show-secret", NULL, "decode: show the secret too"},
    {NULL, NULL, NULL},
};

static const struct conf_command commands[] = {
    SERVICE_COMMANDS,
    DOCTOR_COMMANDS,
    {.name = "token",
     .doc = "Makes a connection token of JSON with the secret on standard input, or shows one.",
     .synopsis = "encode|decode [hubHost=... hubPort=... edgeId=... pin=... | FILE]",
     .options = token_options},
    {.name = NULL},
};

struct program {
    struct hub hub;
    struct loop_signal term, interrupt, hangup;
    int argc;
    char **argv; /* borrowed: a reload reads them again */
};

static void on_stop(struct loop_signal *s, int signum)
{
    struct program *p = signum == SIGTERM ? container_of(s, struct program, term)
                                          : container_of(s, struct program, interrupt);

    service_drain_signal(&p->hub.drain, signum);
}

/* All or nothing: a key that only a start reads refuses the whole. */
static void on_hangup(struct loop_signal *s, int signum)
{
    struct program *p = container_of(s, struct program, hangup);
    struct hub_conf next;
    const char *cold;

    (void)signum;
    memset(&next, 0, sizeof(next));
    if (conf_load(&hub_conf_table, NULL, p->argc, p->argv, environ, &next, NULL, NULL) !=
        CONF_RUN) {
        log_err("hub", "reload_refused", LOG_S("why", "the configuration has faults"));
        return;
    }
    cold = hub_reload(&p->hub, &next);
    if (cold)
        log_err("hub", "reload_refused", LOG_S("why", "only a restart can change this key"),
                LOG_S("key", cold));
    conf_free(&hub_conf_table, &next);
}

static int run(struct program *p)
{
    struct hub *h = &p->hub;
    int err;

    loop_signals_hold();
    err = hub_start(h);
    if (!err) {
        loop_signal_start(&p->term, h->loop, SIGTERM, on_stop);
        loop_signal_start(&p->interrupt, h->loop, SIGINT, on_stop);
        loop_signal_start(&p->hangup, h->loop, SIGHUP, on_hangup);
        loop_run(h->loop);
        loop_signal_stop(&p->term);
        loop_signal_stop(&p->interrupt);
        loop_signal_stop(&p->hangup);
        log_info("hub", "stopped");
    }
    hub_fini(h);
    return err ? 1 : 0;
}

static int serve(struct program *p, int argc, char **argv)
{
    struct service_start start = {.table = &hub_conf_table,
                                  .argc = argc,
                                  .argv = argv,
                                  .environ_ = environ,
                                  .conf = &p->hub.conf,
                                  .service = &p->hub.conf.service};
    int status;

    p->argc = argc;
    p->argv = argv;
    rlimit_raise_files();
    return service_begin(&start, &p->hub.crash, &status) ? run(p) : status;
}

static int run_command(const char *command, char **rest, const struct hub_conf *conf)
{
    if (strcmp(command, "token") == 0)
        return token_command(rest);
    if (strcmp(command, "check") == 0)
        return doctor_check("hub", rest, hub_check, conf);
    if (strcmp(command, "diag") == 0)
        return doctor_diag(&(struct doctor_diag){.table = &hub_conf_table,
                                                 .conf = conf,
                                                 .service = &conf->service,
                                                 .examine = hub_check},
                           rest);
    return service_command(command, rest, &conf->service);
}

int main(int argc, char **argv)
{
    struct program p;
    const char *command = NULL;
    char **rest = NULL;
    int status;

    memset(&p, 0, sizeof(p));
    process_harden();
    switch (
        conf_load(&hub_conf_table, commands, argc, argv, environ, &p.hub.conf, &command, &rest)) {
    case CONF_DONE:
        return 0;
    case CONF_BAD:
        return 2;
    case CONF_RUN:
        break;
    }
    service_log_start(&p.hub.conf.service);
    status = command ? run_command(command, rest, &p.hub.conf) : serve(&p, argc, argv);
    conf_free(&hub_conf_table, &p.hub.conf);
    return status;
}
