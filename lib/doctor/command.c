/* command - see command.h. */
#include "doctor/command.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "doctor/certificate.h"
#include "tls/tls.h"
#include "json/json.h"

const struct conf_option doctor_check_options[] = {
    {"--json", NULL, "print the findings as JSON"},
    {NULL, NULL, NULL},
};

/* NULL: fine; else the argument that is none of ours. */
static const char *stranger(char **rest)
{
    for (; rest && *rest; rest++)
        if (strcmp(*rest, "--json") != 0)
            return *rest;
    return NULL;
}

static void print(const struct report *r, char **rest)
{
    if (rest && *rest)
        report_print_json(r, stdout);
    else
        report_print(r, stdout);
    fflush(stdout);
}

void doctor_tell_faults(const struct conf_table *table, const struct json_check *faults,
                        char **rest)
{
    struct report r;

    report_init(&r, table->service);
    for (size_t i = 0; i < faults->count; i++)
        report_fail(&r, "configuration", "correct it there; --help lists the keys", "%s",
                    faults->faults[i].detail);
    print(&r, rest);
    report_fini(&r);
}

int doctor_check(const char *service, char **rest,
                 void (*examine)(struct report *r, const void *conf), const void *conf)
{
    const char *wrong = stranger(rest);
    struct report r;
    int status;

    if (wrong) {
        fprintf(stderr, "check: takes no %s\n", wrong);
        return 2;
    }
    log_set_level(LOG_ERR); /* what it would warn of is a finding */
    report_init(&r, service);
    report_ok(&r, "configuration", "it can be read and makes sense");
    examine(&r, conf);
    print(&r, rest);
    status = report_status(&r);
    report_fini(&r);
    return status;
}

void doctor_check_port(struct report *r, const char *name, const char *listen,
                       enum machine_port kind, const struct running *running)
{
    machine_check_port(r, name, listen, kind, running_holder(running, listen, kind));
}

static void check_token(struct report *r, const char *name, const char *given, const char *file,
                        const char *state_dir, const char *made)
{
    char *path;

    if (given && *given)
        return;
    path = *file ? must_strdup(file) : must_printf("%s/%s", state_dir, made);
    machine_check_secret_file(r, name, path);
    free(path);
}

static void check_certificate(struct report *r, const struct service_conf *conf)
{
    static const char name[] = "management.certificate";
    struct tls_cert *cert = NULL;
    char why[200] = "";

    if (!*conf->management_cert_file)
        return;
    if (tls_cert_load(&cert, conf->management_cert_file, conf->management_key_file, why,
                      sizeof(why)) != 0) {
        report_fail(r, name, "see management.certFile and management.keyFile", "%s", why);
        return;
    }
    certificate_check(r, name, cert, 0, NULL, time(NULL));
    tls_cert_unref(cert);
}

static void tell_running(struct report *r, const struct service_conf *conf,
                         const struct running *running)
{
    if (running->is_there && !running->listeners)
        report_warn(r, "service", "run the check as the service's user and with its configuration",
                    "one answers at %s and cannot be asked for its listeners: %s",
                    conf->management_listen, running->why);
}

void doctor_check_service(struct report *r, const struct service_conf *conf,
                          const struct running *running)
{
    tell_running(r, conf, running);
    machine_check_folder(r, "stateDir", conf->state_dir);
    check_token(r, "management.token", conf->management_token, conf->management_token_file,
                conf->state_dir, "management-token");
    check_token(r, "management.readToken", conf->management_read_token,
                conf->management_read_token_file, conf->state_dir, "management-read-token");
    check_certificate(r, conf);
    doctor_check_port(r, "management.listen", conf->management_listen, MACHINE_TCP, running);
    if (*conf->metrics_listen)
        doctor_check_port(r, "metrics.listen", conf->metrics_listen, MACHINE_TCP, running);
    machine_check_clock(r);
}
