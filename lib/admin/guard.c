/* guard - what is refused before anything else is looked at: heads that two programs could read in
 * two ways (RFC 9112, 6.3 and 11.2), targets that are none, and requests that a browser was talked
 * into sending (DNS rebinding: Host; other sites: Origin). */
#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "admin/server.h"

/* --- framing -------------------------------------------------------------------------------- */

static const char token_chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "!#$%&'*+-.^_`|~";

/* "Content-Length : 5" is another name to libmicrohttpd 0.9.75 and the same to others. */
static enum MHD_Result on_name(void *arg, enum MHD_ValueKind kind, const char *name,
                               const char *value)
{
    bool *is_bad = arg;

    (void)kind;
    (void)value;
    if (!*name || name[strspn(name, token_chars)])
        *is_bad = true;
    return MHD_YES;
}

/* What is wrong with the head's idea of where the body ends; NULL when nothing is. */
static const char *framing_fault(struct admin_request *r, const char *version)
{
    unsigned lengths, codings;
    char *length = request_header(r, "Content-Length", &lengths);
    char *coding = request_header(r, "Transfer-Encoding", &codings);
    bool has_bad_name = false;
    const char *fault = NULL;

    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, on_name, &has_bad_name);
    if (has_bad_name)
        fault = "a header's name is not well formed";
    else if (lengths > 1)
        fault = "Content-Length stands more than once";
    else if (codings > 0 && lengths > 0)
        fault = "Content-Length and Transfer-Encoding exclude each other";
    else if (codings > 1 || (coding && strcasecmp(coding, "chunked") != 0))
        fault = "Transfer-Encoding must be exactly one \"chunked\"";
    else if (coding && strcmp(version, "HTTP/1.1") != 0)
        fault = "Transfer-Encoding needs HTTP/1.1";
    else if (length && (!*length || strlen(length) > 18 || length[strspn(length, "0123456789")]))
        fault = "Content-Length is no number";
    r->has_body = coding || (length && strtoull(length, NULL, 10) > 0);
    free(length);
    free(coding);
    return fault;
}

bool guard_framing(struct admin_request *r, const char *version)
{
    const char *fault = framing_fault(r, version);

    if (!fault)
        return true;
    r->reply.must_close = true;
    reply_refuse(r, ADMIN_REFUSED_FRAMING, 400, "badFraming", "%s", fault);
    return false;
}

/* --- target --------------------------------------------------------------------------------- */

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return -1;
}

char *percent_decode(const char *text, size_t n)
{
    char *out = must_alloc(n + 1), *p = out;

    for (size_t i = 0; i < n; i++) {
        int high, low;

        if (text[i] != '%') {
            *p++ = text[i];
            continue;
        }
        high = i + 2 < n ? hex_of(text[i + 1]) : -1;
        low = i + 2 < n ? hex_of(text[i + 2]) : -1;
        if (high < 0 || low < 0 || (high == 0 && low == 0)) {
            free(out);
            return NULL;
        }
        *p++ = (char)(high * 16 + low);
        i += 2;
    }
    return out;
}

/* "http://host/path", as it is sent to proxies and has to be understood (RFC 9112, 3.2.2): its host
 * must be the Host.  Where the path begins; NULL for a target that is none. */
static const char *path_of(struct admin_request *r)
{
    const char *authority = NULL, *path;
    char *host;
    bool is_same;

    if (r->target[0] == '/')
        return r->target;
    if (strncasecmp(r->target, "http://", 7) == 0)
        authority = r->target + 7;
    else if (strncasecmp(r->target, "https://", 8) == 0)
        authority = r->target + 8;
    if (!authority)
        return NULL;
    path = authority + strcspn(authority, "/");
    host = request_header(r, "Host", NULL);
    is_same = host && strlen(host) == (size_t)(path - authority) &&
              strncasecmp(host, authority, strlen(host)) == 0;
    free(host);
    if (!is_same)
        return NULL;
    return *path ? path : "/";
}

bool guard_target(struct admin_request *r)
{
    const char *path = path_of(r);
    char *decoded = NULL;
    bool is_good = path != NULL;

    for (const char *p = path; p && *p; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f || strchr("\"<>\\^`{|}#", *p))
            is_good = false;
    if (is_good)
        decoded = percent_decode(path, strlen(path));
    if (decoded) {
        r->path = must_strdup(path);
        free(decoded);
        return true;
    }
    reply_refuse(r, ADMIN_REFUSED_TARGET, 400, "badTarget", "the request's target is no path");
    return false;
}

/* --- Host and Origin ------------------------------------------------------------------------ */

struct authority {
    char host[256]; /* lower case, without brackets and without a dot at the end */
    unsigned port;  /* 0: not given */
    bool is_address;
};

static bool parse_port(const char *text, unsigned *port)
{
    size_t n = strspn(text, "0123456789");

    if (n == 0 || n > 5 || text[n])
        return false;
    *port = (unsigned)strtoul(text, NULL, 10);
    return *port > 0 && *port <= 65535;
}

static bool parse_authority(const char *text, struct authority *out)
{
    unsigned char bytes[16];
    bool is_v6 = text[0] == '[';
    const char *host = is_v6 ? text + 1 : text;
    size_t n = strcspn(host, is_v6 ? "]" : ":");
    const char *rest = host + n + (is_v6 && host[n] == ']' ? 1 : 0);

    memset(out, 0, sizeof(*out));
    if (n == 0 || n >= sizeof(out->host) || (is_v6 && host[n] != ']'))
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = host[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c | 0x20);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
              c == '_' || (is_v6 && c == ':')))
            return false;
        out->host[i] = c;
    }
    if (*rest && (*rest != ':' || !parse_port(rest + 1, &out->port)))
        return false;
    out->is_address = inet_pton(is_v6 ? AF_INET6 : AF_INET, out->host, bytes) == 1;
    if (is_v6)
        return out->is_address;
    if (out->host[n - 1] == '.')
        out->host[n - 1] = '\0';
    return out->host[0] != '\0';
}

static bool is_known_name(const struct admin *a, const char *host)
{
    if (strcmp(host, "localhost") == 0)
        return true;
    if (!json_object_is_type(a->hosts, json_type_array))
        return false;
    for (size_t i = 0; i < json_object_array_length(a->hosts); i++) {
        const char *name = json_object_get_string(json_object_array_get_idx(a->hosts, i));
        if (name && strcasecmp(name, host) == 0)
            return true;
    }
    return false;
}

/* A page may call the API only when it came from the API's own address. */
static bool is_own_origin(const char *origin, const struct authority *host)
{
    struct authority from;
    unsigned fallback = 80;

    if (strncasecmp(origin, "http://", 7) == 0) {
        origin += 7;
    } else if (strncasecmp(origin, "https://", 8) == 0) {
        origin += 8;
        fallback = 443;
    } else {
        return false;
    }
    if (!parse_authority(origin, &from))
        return false;
    return strcmp(from.host, host->host) == 0 &&
           (from.port ? from.port : fallback) == (host->port ? host->port : fallback);
}

bool guard_host(struct admin_request *r)
{
    unsigned hosts, origins;
    char *field = request_header(r, "Host", &hosts), *origin;
    struct authority host;
    bool is_good = hosts == 1 && parse_authority(field, &host);

    free(field);
    if (!is_good) {
        r->reply.must_close = true;
        reply_refuse(r, ADMIN_REFUSED_HOST, 400, "badHost",
                     "exactly one well-formed Host is needed");
        return false;
    }
    if (!host.is_address && !is_known_name(r->admin, host.host)) {
        reply_refuse(r, ADMIN_REFUSED_HOST, 403, "hostNotAllowed",
                     "the Host is no address, not localhost and none of management.hosts");
        return false;
    }
    origin = request_header(r, "Origin", &origins);
    is_good = !origin || (origins == 1 && is_own_origin(origin, &host));
    free(origin);
    if (!is_good)
        reply_refuse(r, ADMIN_REFUSED_ORIGIN, 403, "originNotAllowed",
                     "requests from other origins are not allowed");
    return is_good;
}

/* --- client certificate, rate of changes ------------------------------------------------------ */

/* Signed by one of ours, for clients, and not out of date.  libmicrohttpd asks for a certificate
 * and leaves it to us what comes of it. */
static bool has_good_cert(struct client *c)
{
    static const char purpose[] = GNUTLS_KP_TLS_WWW_CLIENT;
    gnutls_typed_vdata_st wanted = {GNUTLS_DT_KEY_PURPOSE_OID, (unsigned char *)(uintptr_t)purpose,
                                    0};
    const union MHD_ConnectionInfo *info;
    unsigned faults = 0;

    if (c->cert != CLIENT_CERT_UNKNOWN)
        return c->cert == CLIENT_CERT_GOOD;
    info = MHD_get_connection_info(c->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    c->cert =
        info && gnutls_certificate_verify_peers(info->tls_session, &wanted, 1, &faults) == 0 &&
                faults == 0
            ? CLIENT_CERT_GOOD
            : CLIENT_CERT_BAD;
    return c->cert == CLIENT_CERT_GOOD;
}

bool guard_client_cert(struct admin_request *r, const struct admin_route *route)
{
    if (!r->admin->client_ca || r->client->port->is_metrics ||
        (route && route->access == ADMIN_OPEN) || has_good_cert(r->client))
        return true;
    reply_refuse(r, ADMIN_REFUSED_CLIENT_CERT, 403, "clientCertificateRequired",
                 "a certificate of a CA in management.clientCaFile is needed");
    return false;
}

bool guard_changes(struct admin_request *r)
{
    unsigned wait_secs;

    if (change_rate_take(&r->admin->changes, loop_now_ms(r->admin->options.loop), &wait_secs))
        return true;
    reply_header(r, "Retry-After", "%u", wait_secs);
    reply_refuse(r, ADMIN_REFUSED_CHANGES, 429, "tooManyChanges",
                 "more changes than limits.managementChanges allows");
    return false;
}

/* --- query ---------------------------------------------------------------------------------- */

#define NAME_SHOWN_MAX 40 /* bytes of an unknown parameter that the refusal repeats */

struct query_walk {
    struct admin_request *r;
    char *fault; /* owned; NULL: none */
};

static bool is_known(const struct admin_request *r, const char *name)
{
    const char *const *known = r->route->queries;

    while (known && *known && strcmp(*known, name) != 0)
        known++;
    return known && *known;
}

/* What is wrong with the newest one, the caller's; NULL: nothing. */
static char *parameter_fault(const struct admin_request *r)
{
    const struct parameter *newest = &r->queries[r->queries_count - 1];
    char *allowed, *fault;

    for (const struct parameter *p = r->queries; p < newest; p++)
        if (strcmp(p->name, newest->name) == 0)
            return must_printf("%.*s stands twice", NAME_SHOWN_MAX, newest->name);
    if (!is_known(r, newest->name)) {
        allowed = must_join(r->route->queries);
        fault = must_printf("%.*s is not known here; allowed: %s", NAME_SHOWN_MAX,
                            *newest->name ? newest->name : "a parameter without a name",
                            *allowed ? allowed : "none");
        free(allowed);
        return fault;
    }
    if (strcmp(newest->name, "dryRun") == 0 && strcmp(newest->value, "true") != 0 &&
        strcmp(newest->value, "false") != 0)
        return must_strdup("dryRun must be true or false");
    return NULL;
}

/* "?dryRun" is what "?dryRun=true" is: who writes it wants no change. */
static char *value_of(const char *name, const char *value)
{
    if (!value)
        return must_strdup(strcmp(name, "dryRun") == 0 ? "true" : "");
    return percent_decode(value, strlen(value));
}

static enum MHD_Result on_argument(void *arg, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    struct query_walk *walk = arg;
    struct admin_request *r = walk->r;
    struct parameter *next = &r->queries[r->queries_count];

    (void)kind;
    if (r->queries_count == ADMIN_QUERIES_MAX) {
        walk->fault = must_strdup("too many parameters");
        return MHD_NO;
    }
    next->name = percent_decode(name, strlen(name));
    next->value = next->name ? value_of(next->name, value) : NULL;
    if (!next->name || !next->value) { /* not counted: what is counted has both */
        free(next->name);
        free(next->value);
        *next = (struct parameter){0};
        walk->fault = must_strdup("a parameter is not well encoded");
        return MHD_NO;
    }
    r->queries_count++;
    walk->fault = parameter_fault(r);
    return walk->fault ? MHD_NO : MHD_YES;
}

bool guard_query(struct admin_request *r)
{
    struct query_walk walk = {r, NULL};

    MHD_get_connection_values(r->connection, MHD_GET_ARGUMENT_KIND, on_argument, &walk);
    if (!walk.fault)
        return true;
    reply_refuse(r, ADMIN_REFUSED_QUERY, 400, "badQuery", "%s", walk.fault);
    free(walk.fault);
    return false;
}
