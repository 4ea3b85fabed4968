/* admin - the management API server of a service: HTTP/1.1 and JSON on libmicrohttpd, driven by the
 * control loop (no thread of its own), so a handler may touch the control thread's state freely.
 *
 * It does by itself: routing, 404/405 with Allow, bearer tokens (two scopes, two tokens each during
 * rotation, constant time), client certificates, a rate of changes, Host and Origin checks, body
 * limit, duplicate Content-Length and any Transfer-Encoding but one "chunked" (400 and close),
 * strict JSON bodies, request ids, problem+json, ETag and If-Match, /healthz, /readyz, /metrics,
 * /v1/config, /v1/log-level, /v1/drain, /v1/events, /openapi.yaml. The service adds its table of
 * routes.
 *
 * A handler answers with exactly one of the admin_reply_* functions, at once or, after
 * admin_defer(), later from the control loop.
 */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must.h"
#include "json/json.h"

struct admin;
struct admin_request;
struct loop;
struct events;
struct metrics;
struct service_drain;

enum admin_access {
    ADMIN_OPEN,   /* nothing: health */
    ADMIN_PUBLIC, /* no token */
    ADMIN_READ,   /* readToken or token */
    ADMIN_WRITE,  /* token */
};

struct admin_route {
    const char *method;  /* "GET" (HEAD comes with it), "PUT", "POST", "PATCH", "DELETE" */
    const char *pattern; /* "/v1/edges/{id}/token": {x} takes one segment, percent-decoded */
    enum admin_access access;
    bool takes_body; /* JSON; without one, or with another type: 415 or 400 */
    bool body_is_optional;
    bool body_is_raw; /* not parsed here: admin_take_body() gives the bytes, for large sets that
                         another thread parses */
    size_t body_max;  /* 0: management.bodyBytes */
    /* The parameters behind ? that it knows, NULL-ended; NULL: none.  Any other is 400: a typo of
     * dryRun must not carry the change out. */
    const char *const *queries;
    void (*handle)(void *service, struct admin_request *r);
};

/* Of a route that changes something and can be tried: ?dryRun. */
extern const char *const admin_dry_run_query[];

struct admin_options {
    struct loop *loop;          /* borrowed */
    const char *service;        /* "hub": names, /openapi.yaml */
    const char *listen;         /* "127.0.0.1:9001" */
    const char *metrics_listen; /* or "": an open port with /metrics, /healthz, /readyz only */
    const char *tokens;         /* one or two, separated by newline; never empty */
    const char *read_tokens;    /* the same, or "" or NULL: none */
    const char *cert_file, *key_file; /* or "": plain HTTP */
    const char *client_ca_file;       /* PEM; or "": clients need no certificate */
    size_t body_max;                  /* bytes of one body; 0: 4 MiB */
    size_t bodies_max;                /* of all bodies in memory together; 0: 128 MiB; then 503 */
    unsigned connections_max;         /* a port; 0: 256; further ones are closed */
    unsigned per_address_max;         /* connections of one address; 0: 32 */
    unsigned changes_per_sec;         /* on average (change_rate.h); 0: no limit; then 429 */
    unsigned timeout_secs;            /* of silence, of a head that crawls; 0: 15 */
    unsigned stall_ms; /* a listener to events that takes nothing for so long is cut off; more than
                          a heartbeat apart (SUBSCRIBER_BEAT_MS); 0: 60,000 */
    struct json_object *hosts; /* further Host names that are accepted (a list), or NULL; counted */
    const char *openapi;       /* the text of api/<service>.yaml; borrowed, lives longer */
    const char
        *openapi_common; /* of api/common.yaml, which it refers to, served beside it; or NULL */
    const struct admin_route *routes; /* ended by a NULL method */
    uint64_t crash_recoveries;        /* for the metrics: starts of the service after a crash */
    void *arg;                        /* handed to handlers and hooks: `service` */
    struct service_drain *drain;      /* borrowed: POST /v1/drain, and /readyz; or NULL: neither */
    struct events *events;            /* borrowed: GET /v1/events; or NULL: none */
    /* Ready: true, or false with a sentence in `why`. */
    bool (*is_ready)(void *service, char *why, size_t why_size);
    void (*collect)(void *service, struct metrics *m);
    struct json_object *(*config)(void *service); /* masked; the caller's */
};

/* Starts to listen.  0, or -ERR_SYS, -ERR_SYNTAX with a sentence in `why`, and in *what the key of
 * the configuration that is at fault (static): "management.certFile".  SIGPIPE must be ignored
 * where TLS is used (process.h). */
MUST_USE int admin_start(struct admin **out, const struct admin_options *options, const char **what,
                         char *why, size_t why_size);
/* Fine with NULL; not from a handler.  Deferred requests are answered 503; their on_gone is called
 * first, so that nobody answers them again.  So is what comes while the last answers go out: no
 * handler is called from now on. */
void admin_stop(struct admin *a);
/* New tokens and host names from now on (SIGHUP); `hosts` is counted.  0, -ERR_SYNTAX: the old ones
 * stay. */
MUST_USE int admin_reload(struct admin *a, const char *tokens, const char *read_tokens,
                          struct json_object *hosts);
/* Another rate of changes from now on; 0: no limit. */
void admin_limit_changes(struct admin *a, unsigned per_sec);
/* The address it listens on, for port 0; of the open port, or NULL. */
const char *admin_address(const struct admin *a);
const char *admin_metrics_address(const struct admin *a);
/* Both as members of a status's `listeners`: management, and metrics where it is open. */
void admin_add_listeners(const struct admin *a, struct json_object *listeners);
/* The file of a token, made with 32 random bytes (43 characters and a newline) and mode 0600 when
 * missing; the folder too (0700).  Reads one or two lines of 16 to 256 characters without blanks,
 * kept as they are, a newline between them.  *out is the caller's: wipe it.  0, -ERR_IO with `why`.
 */
MUST_USE int admin_token_file(const char *path, char **out, char *why, size_t why_size);
/* The same, of a file that was made before: nothing is made.  0, -ERR_NOT_FOUND, -ERR_IO; both with
 * `why`. */
MUST_USE int admin_token_look(const char *path, char **out, char *why, size_t why_size);
/* Reads or makes a file of exactly one random secret in the same way (hub: edge secrets, keys). */
MUST_USE int admin_secret_file(const char *path, char **out, char *why, size_t why_size);
/* 32 random bytes as 43 characters of base64url; the caller's: wipe it. */
char *admin_secret_make(void);

/* --- in a handler ------------------------------------------------------------------------- */

const char *admin_param(const struct admin_request *r, const char *name); /* of the path; "" */
const char *admin_query(const struct admin_request *r, const char *name); /* or NULL */
/* An object or an array, borrowed; NULL when an optional body is absent. */
struct json_object *admin_body(const struct admin_request *r);
/* The bytes of a raw body, NUL-ended, the caller's from now on; NULL when an optional one is
 * absent. */
char *admin_take_body(struct admin_request *r, size_t *n);
const char *admin_request_id(const struct admin_request *r); /* for logs */
const char *admin_peer(const struct admin_request *r);       /* "127.0.0.1" */
bool admin_is_dry_run(const struct admin_request *r);        /* ?dryRun or ?dryRun=true */
/* If-Match against the present ETag (without quotes): true when absent, "*" or equal; else 412 has
 * been answered and the handler returns.  On a change an If-None-Match that holds the ETag, or is
 * "*", answers 412 too.  `etag` NULL: there is nothing yet, which no If-Match matches, and which
 * every If-None-Match asks for (RFC 9110, 13.1.1 and 13.1.2). */
MUST_USE bool admin_if_match(struct admin_request *r, const char *etag);

/* `body` is taken over (put after sending).  etag NULL: no header; else sent as "etag" in quotes,
 * and a GET whose If-None-Match holds it gets 304. */
void admin_reply(struct admin_request *r, unsigned status, struct json_object *body,
                 const char *etag);
/* The same with JSON that another thread has written, since it is long; `text` is taken over. */
void admin_reply_text(struct admin_request *r, unsigned status, char *text, size_t len,
                      const char *etag);
void admin_reply_empty(struct admin_request *r, unsigned status);
/* A file of a page that is part of the program (page.c): 200, or 304 to who has it.  A browser that
 * shows it loads scripts, styles and data from here only, and runs and frames nothing else. */
struct admin_page {
    const char *name, *type; /* "app.js", "text/javascript" */
    const char *text;        /* NUL-ended */
};
void admin_reply_page(struct admin_request *r, const struct admin_page *page);
/* 201 with Location. */
void admin_reply_created(struct admin_request *r, const char *location, struct json_object *body,
                         const char *etag);
/* problem+json; code is a short word ("notFound"): type becomes "urn:penstock:problem:<code>". */
void admin_problem(struct admin_request *r, unsigned status, const char *code, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* 422 with errors [{pointer, code, detail}], all of them. */
void admin_problem_faults(struct admin_request *r, const struct json_check *faults);

/* A raw body that is no JSON: 400 with errors [{pointer: "", code: "syntax", detail}]. */
void admin_problem_syntax(struct admin_request *r, const struct json_syntax *why);

/* The handler returns without an answer; it comes later through the same functions.  `on_gone` is
 * called (once, from the loop) when the client went away or admin stops before: the request must
 * not be touched any more then.  A client that shuts its sending side counts as gone. */
void admin_defer(struct admin_request *r, void (*on_gone)(struct admin_request *r, void *arg),
                 void *arg);

#endif
