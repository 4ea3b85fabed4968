/* admin - see admin.h: starting and stopping, and what a reload changes. */
#include "admin/server.h"

#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "admin/cert_time.h"
#include "base/err.h"
#include "tls/tls.h"

#define PEM_MAX (1u << 20)

static void set_defaults(struct admin_options *o)
{
    o->connections_max = o->connections_max ? o->connections_max : 256;
    o->per_address_max = o->per_address_max ? o->per_address_max : 32;
    o->timeout_secs = o->timeout_secs ? o->timeout_secs : 15;
    o->stall_ms = o->stall_ms ? o->stall_ms : SUBSCRIBER_STALL_MS;
    o->body_max = o->body_max ? o->body_max : 4u << 20;
    o->bodies_max = o->bodies_max ? o->bodies_max : 128u << 20;
}

static char *read_pem(const char *path)
{
    char *text = must_alloc(PEM_MAX + 1);
    size_t used = 0;
    ssize_t n = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    while (fd >= 0 && used < PEM_MAX && (n = read(fd, text + used, PEM_MAX - used)) > 0)
        used += (size_t)n;
    if (fd >= 0)
        close(fd);
    if (n == 0)
        return text;
    tls_wipe(text, used);
    free(text);
    return NULL;
}

/* tls_cert_load says well what is wrong with a pair; libmicrohttpd wants the texts. */
static int load_cert(struct admin *a, char *why, size_t why_size)
{
    const char *cert_file = a->options.cert_file, *key_file = a->options.key_file;
    bool has_cert = cert_file && *cert_file, has_key = key_file && *key_file;
    struct tls_cert *checked = NULL;

    if (!has_cert && !has_key)
        return 0;
    if (!has_cert || !has_key) {
        snprintf(why, why_size, "a certificate and its key must both be given");
        return -ERR_SYNTAX;
    }
    if (tls_cert_load(&checked, cert_file, key_file, why, why_size) != 0)
        return -ERR_SYNTAX;
    cert_time_warn(a->service, "management.certFile", checked, (int64_t)time(NULL));
    tls_cert_unref(checked);
    a->cert = read_pem(cert_file);
    a->key = read_pem(key_file);
    if (a->cert && a->key)
        return 0;
    snprintf(why, why_size, "%s cannot be read", a->cert ? key_file : cert_file);
    return -ERR_SYS;
}

/* At least one certificate, and nothing that is none: a file with a fault in it lets nobody in. */
static int load_client_ca(struct admin *a, char *why, size_t why_size)
{
    const char *file = a->options.client_ca_file;
    gnutls_x509_crt_t *list = NULL;
    gnutls_datum_t text;
    unsigned n = 0;
    int code;

    if (!file || !*file)
        return 0;
    if (!a->cert) {
        snprintf(why, why_size, "a CA of clients needs a certificate of the server");
        return -ERR_SYNTAX;
    }
    a->client_ca = read_pem(file);
    if (!a->client_ca) {
        snprintf(why, why_size, "%s cannot be read", file);
        return -ERR_SYS;
    }
    text = (gnutls_datum_t){(unsigned char *)a->client_ca, (unsigned)strlen(a->client_ca)};
    code = gnutls_x509_crt_list_import2(&list, &n, &text, GNUTLS_X509_FMT_PEM, 0);
    for (unsigned i = 0; code >= 0 && i < n; i++)
        gnutls_x509_crt_deinit(list[i]);
    gnutls_free(list);
    if (code >= 0 && n > 0)
        return 0;
    snprintf(why, why_size, "%s holds no certificates: %s", file, gnutls_strerror(code));
    return -ERR_SYNTAX;
}

static int start_watch(struct admin *a, char *why, size_t why_size)
{
    a->gone_fd = epoll_create1(EPOLL_CLOEXEC);
    if (a->gone_fd < 0) {
        snprintf(why, why_size, "no epoll descriptor");
        return -ERR_SYS;
    }
    loop_io_init(&a->gone_io, a->options.loop, a->gone_fd, requests_on_gone_event);
    loop_io_arm(&a->gone_io, LOOP_READ);
    return 0;
}

/* *what is the key that each step looks at. */
static int start_parts(struct admin *a, const char **what, char *why, size_t why_size)
{
    const char *metrics = a->options.metrics_listen;
    int err;

    *what = "management.certFile";
    if ((err = load_cert(a, why, why_size)) != 0)
        return err;
    *what = "management.clientCaFile";
    if ((err = load_client_ca(a, why, why_size)) != 0)
        return err;
    *what = "management.listen";
    if ((err = start_watch(a, why, why_size)) != 0)
        return err;
    if ((err = port_start(&a->main, a, a->options.listen, false, why, why_size)) != 0)
        return err;
    *what = "metrics.listen";
    return metrics && *metrics ? port_start(&a->metrics, a, metrics, true, why, why_size) : 0;
}

int admin_start(struct admin **out, const struct admin_options *options, const char **what,
                char *why, size_t why_size)
{
    struct admin *a = must_alloc(sizeof(*a));
    int err;

    *out = NULL;
    a->options = *options;
    a->gone_fd = -1;
    a->service = must_strdup(options->service);
    set_defaults(&a->options);
    admin_limit_changes(a, options->changes_per_sec);
    list_init(&a->requests);
    lingers_init(&a->lingers, options->loop);
    subscribers_init(a);
    *what = "management.token";
    err = admin_reload(a, options->tokens, options->read_tokens, options->hosts);
    if (err != 0)
        snprintf(why, why_size, "the management token must be one or two lines without blanks");
    else
        err = start_parts(a, what, why, why_size);
    /* Texts that the caller may free are not looked at again. */
    a->options.service = a->options.listen = a->options.metrics_listen = NULL;
    a->options.tokens = a->options.read_tokens = NULL;
    a->options.cert_file = a->options.key_file = a->options.client_ca_file = NULL;
    a->options.hosts = NULL;
    if (err != 0) {
        admin_stop(a);
        return err;
    }
    *out = a;
    return 0;
}

int admin_reload(struct admin *a, const char *tokens, const char *read_tokens,
                 struct json_object *hosts)
{
    int err = auth_set(&a->auth, tokens, read_tokens);

    if (err != 0)
        return err;
    json_object_put(a->hosts);
    a->hosts = json_object_get(hosts);
    return 0;
}

void admin_limit_changes(struct admin *a, unsigned per_sec)
{
    change_rate_set(&a->changes, per_sec, loop_now_ms(a->options.loop));
}

void admin_stop(struct admin *a)
{
    if (!a)
        return;
    a->is_stopping = true; /* first: answers that go out let further requests in */
    requests_end(a);
    subscribers_end(a);
    port_stop(a->main);
    port_stop(a->metrics);
    must(list_is_empty(&a->subscribers));
    lingers_fini(&a->lingers);
    if (a->gone_fd >= 0) {
        loop_io_arm(&a->gone_io, 0);
        close(a->gone_fd);
    }
    auth_fini(&a->auth);
    json_object_put(a->hosts);
    free(a->client_ca);
    free(a->cert);
    if (a->key)
        tls_wipe(a->key, strlen(a->key));
    free(a->key);
    free(a->service);
    free(a);
}

const char *admin_address(const struct admin *a)
{
    return a->main->address;
}

const char *admin_metrics_address(const struct admin *a)
{
    return a->metrics ? a->metrics->address : NULL;
}

void admin_add_listeners(const struct admin *a, struct json_object *listeners)
{
    json_object_object_add(listeners, "management", json_object_new_string(admin_address(a)));
    if (a->metrics)
        json_object_object_add(listeners, "metrics",
                               json_object_new_string(admin_metrics_address(a)));
}

struct json_object *admin_body(const struct admin_request *r)
{
    return r->document;
}

char *admin_take_body(struct admin_request *r, size_t *n)
{
    char *body = r->body;

    *n = r->body_len;
    r->body = NULL;
    r->body_len = r->body_cap = 0;
    return body;
}

const char *admin_peer(const struct admin_request *r)
{
    return r->client->peer;
}

const char *admin_request_id(const struct admin_request *r)
{
    return r->id;
}
