/* main - penstock-traffic: reads the configuration, starts the service, waits for signals. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/process.h"
#include "admin/service.h"
#include "base/err.h"
#include "base/log.h"
#include "doctor/command.h"
#include "signer/signer.h"
#include "tls/tls.h"
#include "traffic/pass_hash.h"
#include "traffic/traffic.h"
#include "traffic/traffic_check.h"

#define STATUS_BAD 2 /* the configuration, the routes to begin with, or a command is wrong */

static const struct conf_command commands[] = {
    SERVICE_COMMANDS,
    DOCTOR_COMMANDS,
    {.name = "hash-password",
     .doc = "Reads a password from standard input and prints its hash for passHash.",
     .synopsis = "[yescrypt|bcrypt|sha512]"},
    {.name = NULL},
};

struct program {
    struct traffic traffic;
    struct loop_signal term, interrupt, reload;
    int argc;
    char **argv; /* borrowed: a reload reads them again */
};

static void on_stop(struct loop_signal *s, int signum)
{
    struct program *p = signum == SIGTERM ? container_of(s, struct program, term)
                                          : container_of(s, struct program, interrupt);

    service_drain_signal(&p->traffic.drain, signum);
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
    cold = traffic_cold_difference(&p->traffic, &next);
    if (cold) {
        log_err("traffic", "reload_refused", LOG_S("why", "only a restart can change this key"),
                LOG_S("key", cold));
    } else if (traffic_reload(&p->traffic, &next) == 0) {
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

    loop_signals_hold();
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

static int serve(struct program *p, int argc, char **argv)
{
    struct service_start start = {.table = &traffic_conf_table,
                                  .argc = argc,
                                  .argv = argv,
                                  .environ_ = environ,
                                  .conf = &p->traffic.conf,
                                  .service = &p->traffic.conf.service};
    int status;

    p->argc = argc;
    p->argv = argv;
    return service_begin(&start, &p->traffic.crash, &status) ? run(p) : status;
}

/* A line feed at the end is the terminal's, not the password's. */
static int hash_password(const char *method)
{
    char password[AUTH_PASS_MAX + 2], hash[PASS_HASH_MAX];
    size_t n = fread(password, 1, sizeof(password) - 1, stdin);
    int rc;

    if (n > 0 && password[n - 1] == '\n')
        n--;
    password[n] = '\0';
    if (n == 0 || n > AUTH_PASS_MAX || strlen(password) != n) {
        fprintf(stderr, "penstock-traffic: standard input must be a password of 1 to %d bytes\n",
                AUTH_PASS_MAX);
        return STATUS_BAD;
    }
    rc = pass_hash_make(method, password, hash, sizeof(hash));
    tls_wipe(password, sizeof(password));
    if (rc != 0) {
        fprintf(stderr, "penstock-traffic: hash-password: %s\n",
                rc == -ERR_NOT_FOUND ? "the method must be yescrypt, bcrypt or sha512"
                                     : "no hash could be made");
        return STATUS_BAD;
    }
    return puts(hash) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int run_command(const char *command, char **rest, const struct traffic_conf *conf)
{
    if (strcmp(command, "hash-password") == 0)
        return hash_password(rest && rest[0] ? rest[0] : "yescrypt");
    if (strcmp(command, "check") == 0)
        return doctor_check("traffic", rest, traffic_check, conf);
    if (strcmp(command, "diag") == 0)
        return doctor_diag(&(struct doctor_diag){.table = &traffic_conf_table,
                                                 .conf = conf,
                                                 .service = &conf->service,
                                                 .examine = traffic_check},
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
    signer_start();
    switch (conf_load(&traffic_conf_table, commands, argc, argv, environ, &p.traffic.conf, &command,
                      &rest)) {
    case CONF_DONE:
        return EXIT_SUCCESS;
    case CONF_BAD:
        return STATUS_BAD;
    case CONF_RUN:
        break;
    }
    service_log_start(&p.traffic.conf.service);
    status = command ? run_command(command, rest, &p.traffic.conf) : serve(&p, argc, argv);
    conf_free(&traffic_conf_table, &p.traffic.conf);
    return status;
}
