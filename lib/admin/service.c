/* service - see service.h. */
#include "admin/service.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/client.h"
#include "base/err.h"
#include "base/log.h"
#include "loop/crash_log.h"
#include "tls/tls.h"

/* Reads the file of tokens: admin_token_file() makes a missing one, admin_token_look() does not. */
typedef int read_tokens(const char *path, char **out, char *why, size_t why_size);

static int load(read_tokens *load_file, const char *given, const char *file, const char *state_dir,
                const char *name, char **out, char *why, size_t why_size)
{
    char *path;
    int err;

    if (given && *given) {
        *out = must_strdup(given);
        return 0;
    }
    path = *file ? must_strdup(file) : must_printf("%s/%s", state_dir, name);
    err = load_file(path, out, why, why_size);
    free(path);
    return err;
}

static int load_tokens(read_tokens *load_file, const struct service_conf *conf, char **out,
                       char *why, size_t why_size)
{
    return load(load_file, conf->management_token, conf->management_token_file, conf->state_dir,
                "management-token", out, why, why_size);
}

static int load_read_tokens(read_tokens *load_file, const struct service_conf *conf, char **out,
                            char *why, size_t why_size)
{
    return load(load_file, conf->management_read_token, conf->management_read_token_file,
                conf->state_dir, "management-read-token", out, why, why_size);
}

int service_tokens_load(struct service_tokens *out, const struct service_conf *conf, char *why,
                        size_t why_size)
{
    int err;

    *out = (struct service_tokens){0};
    err = load_tokens(admin_token_file, conf, &out->tokens, why, why_size);
    if (err)
        return err;
    return load_read_tokens(admin_token_file, conf, &out->read_tokens, why, why_size);
}

static void free_secret(char *text)
{
    if (text)
        tls_wipe(text, strlen(text));
    free(text);
}

char *service_read_token(const struct service_conf *conf)
{
    char *tokens, why[200];

    if (load_read_tokens(admin_token_look, conf, &tokens, why, sizeof(why)) != 0)
        return NULL;
    tokens[strcspn(tokens, "\n")] = '\0'; /* of two during rotation, the newer one stands first */
    return tokens;
}

void service_tokens_fini(struct service_tokens *t)
{
    free_secret(t->tokens);
    free_secret(t->read_tokens);
    *t = (struct service_tokens){0};
}

int service_start_failed(const char *service, int err, const char *what, const char *why)
{
    log_err(service, "start_failed", LOG_S("what", what), LOG_S("why", why));
    return err;
}

int service_admin_start(struct admin **out, struct admin_options *options,
                        const struct service_conf *conf, const struct service_tokens *tokens)
{
    const char *what = NULL;
    char why[200] = "";
    int err;

    options->listen = conf->management_listen;
    options->metrics_listen = conf->metrics_listen;
    options->cert_file = conf->management_cert_file;
    options->key_file = conf->management_key_file;
    options->client_ca_file = conf->management_client_ca_file;
    options->changes_per_sec = (unsigned)conf->management_changes;
    options->body_max = (size_t)conf->management_body_bytes;
    options->bodies_max = (size_t)conf->management_bodies_bytes;
    options->connections_max = (unsigned)conf->management_connections;
    options->per_address_max = (unsigned)conf->management_per_address;
    options->timeout_secs = (unsigned)conf->management_timeout_secs;
    options->hosts = conf->management_hosts;
    options->tokens = tokens->tokens;
    options->read_tokens = tokens->read_tokens;
    err = admin_start(out, options, &what, why, sizeof(why));
    if (err)
        return service_start_failed(options->service, err, what, why);
    log_info(options->service, "listening", LOG_S("name", "management"),
             LOG_S("address", admin_address(*out)));
    if (admin_metrics_address(*out))
        log_info(options->service, "listening", LOG_S("name", "metrics"),
                 LOG_S("address", admin_metrics_address(*out)));
    return 0;
}

static void swap(char **a, char **b)
{
    char *kept = *a;

    *a = *b;
    *b = kept;
}

int service_reload(const char *service, struct admin *a, struct service_tokens *tokens,
                   struct service_conf *now, struct service_conf *next)
{
    struct service_tokens fresh = {0};
    struct json_object *hosts = now->management_hosts;
    char why[200] = "";
    int err = service_tokens_load(&fresh, next, why, sizeof(why));

    if (!err)
        err = admin_reload(a, fresh.tokens, fresh.read_tokens, next->management_hosts);
    if (err) {
        log_err(service, "tokens_refused", LOG_S("why", why[0] ? why : err_text(err)));
        service_tokens_fini(&fresh);
        return err;
    }
    service_tokens_fini(tokens);
    *tokens = fresh;
    now->log_level = next->log_level;
    log_set_level((enum log_level)now->log_level);
    now->management_changes = next->management_changes;
    admin_limit_changes(a, (unsigned)now->management_changes);
    now->drain_secs = next->drain_secs;
    now->drain_delay_secs = next->drain_delay_secs;
    now->management_hosts = next->management_hosts;
    next->management_hosts = hosts;
    swap(&now->management_token, &next->management_token);
    swap(&now->management_read_token, &next->management_read_token);
    return 0;
}

/* --- start
 * ---------------------------------------------------------------------------------------- */

/* What a SIGHUP put into force is not lost with the process that crashed; a file that is at fault
 * by now does not keep the service down. */
static void read_again(const struct service_start *start)
{
    void *fresh = must_alloc(start->table->size);

    if (conf_load(start->table, NULL, start->argc, start->argv, start->environ_, fresh, NULL,
                  NULL) == CONF_RUN) {
        conf_free(start->table, start->conf);
        memcpy(start->conf, fresh, start->table->size);
        service_log_start(start->service);
    } else {
        log_warn(start->table->service, "old_configuration",
                 LOG_S("why", "the configuration has faults"));
    }
    free(fresh);
}

bool service_begin(const struct service_start *start, struct crash *crash, int *status)
{
    struct supervisor_options options = {.service = start->table->service,
                                         .restarts_max = (unsigned)start->service->restarts};

    *crash = (struct crash){0};
    if (start->service->supervise && !supervisor_run(&options, crash, status))
        return false;
    if (crash->row)
        read_again(start);
    crash_log_start();
    return true;
}

void service_tell_crash(const char *service, const struct crash *crash, struct events *events,
                        unsigned type)
{
    const char *by = crash->signal ? sigabbrev_np(crash->signal) : NULL;
    struct json_object *data;

    if (!crash->row)
        return;
    log_warn(service, "crash_recovered", LOG_S("signal", by ? by : "none"),
             LOG_I("status", crash->status), LOG_U("row", crash->row),
             LOG_U("recovered", crash->recovered));
    data = json_object_new_object();
    json_object_object_add(data, "signal", by ? json_object_new_string(by) : NULL);
    json_object_object_add(data, "status", json_object_new_int(crash->status));
    json_object_object_add(data, "row", json_object_new_int64(crash->row));
    json_object_object_add(data, "recovered", json_object_new_int64((int64_t)crash->recovered));
    events_raise(events, type, data);
}

struct events *service_events_new(const struct service_conf *conf, struct loop *loop,
                                  const struct event_type *types)
{
    return events_new(loop, types, (size_t)conf->events_kept, (unsigned)conf->event_subscribers);
}

static int print_token(const struct service_conf *conf)
{
    const char *file = conf->management_token_file;
    char *tokens, why[200];

    switch (-load_tokens(admin_token_look, conf, &tokens, why, sizeof(why))) {
    case ERR_NONE: /* of two tokens during rotation, the newer one stands first */
        printf("%.*s\n", (int)strcspn(tokens, "\n"), tokens);
        free_secret(tokens);
        return 0;
    case ERR_NOT_FOUND:
        fprintf(stderr,
                "no token in %s: the service makes it at its first start; does it run with another "
                "--config?\n",
                *file ? file : conf->state_dir);
        return 1;
    default:
        fprintf(stderr, "management-token: %s\n", why);
        return 1;
    }
}

const struct conf_option service_healthcheck_options[] = {
    {"--ready", NULL, "ask whether it can serve (/readyz)"},
    {NULL, NULL, NULL},
};

int service_command(const char *command, char **rest, const struct service_conf *conf)
{
    if (strcmp(command, "management-token") == 0)
        return print_token(conf);
    if (strcmp(command, "healthcheck") != 0)
        return -1;
    return client_check(conf->management_listen, *conf->management_cert_file != '\0',
                        rest && rest[0] && strcmp(rest[0], "--ready") == 0, stderr);
}
