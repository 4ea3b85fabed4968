/* main - penstock-traffic: reads the configuration, starts the service, waits for signals. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/admin.h"
#include "admin/client.h"
#include "admin/process.h"
#include "base/log.h"
#include "tls/tls.h"
#include "traffic/traffic.h"

#define STATUS_BAD 2 /* the configuration, the routes to begin with, or a command is wrong */

static const struct conf_command commands[] = {
    {"healthcheck", "asks the running service for /healthz; --ready: for /readyz"},
    {"management-token", "prints the management token, which is made when missing"},
    {NULL, NULL},
};

struct program {
    struct traffic traffic;
    struct loop_signal term, interrupt, reload;
    int argc;
    char **argv; /* borrowed: a reload reads them again */
};

static void on_stop(struct loop_signal *s, int signum)
{
    log_info("traffic", "stopping", LOG_S("signal", sigabbrev_np(signum)));
    loop_stop(s->loop);
}

/* All or nothing: a key that only a start reads refuses the whole. */
static void reload(struct program *p)
{
    struct traffic_conf next;
    const char *cold;

    memset(&next, 0, sizeof(next));
    if (conf_load(&traffic_conf_table, NULL, p->argc, p->argv, environ, &next, NULL, NULL) !=
        CONF_RUN) {
        log_err("traffic", "reload_refused", LOG_S("why", "the configuration has faults"));
        return;
    }
    cold = conf_cold_difference(&traffic_conf_table, &p->traffic.conf, &next);
    if (cold) {
        log_err("traffic", "reload_refused", LOG_S("why", "only a restart can change this key"),
                LOG_S("key", cold));
    } else {
        traffic_reload(&p->traffic, &next);
        log_info("traffic", "reloaded");
    }
    conf_free(&traffic_conf_table, &next);
}

static void on_reload(struct loop_signal *s, int signum)
{
    (void)signum;
    reload(container_of(s, struct program, reload));
}

static int run(struct program *p)
{
    struct traffic *t = &p->traffic;
    int status = EXIT_SUCCESS;

    if (traffic_start(t) == 0) {
        loop_signal_start(&p->term, t->loop, SIGTERM, on_stop);
        loop_signal_start(&p->interrupt, t->loop, SIGINT, on_stop);
        loop_signal_start(&p->reload, t->loop, SIGHUP, on_reload);
        loop_run(t->loop);
        loop_signal_stop(&p->term);
        loop_signal_stop(&p->interrupt);
        loop_signal_stop(&p->reload);
    } else {
        status = STATUS_BAD;
    }
    traffic_stop(t);
    if (status == EXIT_SUCCESS)
        log_info("traffic", "stopped");
    return status;
}

static int healthcheck(const struct service_conf *conf, char **rest)
{
    bool wants_ready = rest && rest[0] && strcmp(rest[0], "--ready") == 0;

    if (rest && rest[0] && (!wants_ready || rest[1])) {
        fprintf(stderr, "usage: penstock-traffic healthcheck [--ready]\n");
        return STATUS_BAD;
    }
    return client_check(conf->management_listen, conf->management_cert_file[0] != '\0',
                        wants_ready, stderr);
}

static int print_token(const struct service_conf *conf)
{
    char why[256] = "", *path, *token = NULL;
    int rc = 0;

    if (conf->management_token[0]) {
        printf("%.*s\n", (int)strcspn(conf->management_token, "\n"), conf->management_token);
        return EXIT_SUCCESS;
    }
    path = must_printf("%s/management.token", conf->state_dir);
    rc = admin_token_file(path, &token, why, sizeof(why));
    free(path);
    if (rc != 0) {
        fprintf(stderr, "penstock-traffic: %s\n", why);
        return EXIT_FAILURE;
    }
    printf("%.*s\n", (int)strcspn(token, "\n"), token);
    tls_wipe(token, strlen(token));
    free(token);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct program p;
    const char *command = NULL;
    char **rest = NULL;
    int status;

    memset(&p, 0, sizeof(p));
    p.argc = argc;
    p.argv = argv;
    process_harden();
    switch (conf_load(&traffic_conf_table, commands, argc, argv, environ, &p.traffic.conf,
                      &command, &rest)) {
    case CONF_DONE:
        return EXIT_SUCCESS;
    case CONF_BAD:
        return STATUS_BAD;
    case CONF_RUN:
        break;
    }
    service_log_start(&p.traffic.conf.service);
    if (!command)
        status = run(&p);
    else if (strcmp(command, "healthcheck") == 0)
        status = healthcheck(&p.traffic.conf.service, rest);
    else
        status = print_token(&p.traffic.conf.service);
    conf_free(&traffic_conf_table, &p.traffic.conf);
    return status;
}
