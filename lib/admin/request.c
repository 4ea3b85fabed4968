/* request - one request from its head to its answer, as libmicrohttpd's calls drive it.
 *
 * libmicrohttpd calls the access handler once with the head, then for each piece of the body, then
 * once more when all is there.  A refusal of a request with a body is answered at the first call:
 * the connection is then closed, so that the body is never read.  A refusal without a body waits
 * for the last call, which keeps the connection alive.  A deferred request is suspended, as is one
 * that is held; resuming makes libmicrohttpd call once more. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "admin/server.h"
#include "tls/tls.h"

#define X(name, next) [REQUEST_##name] = {#name, next},
static const struct {
    const char *name;
    unsigned next;
} rule[] = {REQUEST_STATES(X)};
#undef X

/* The only writer of r->state. */
void request_enter(struct admin_request *r, enum request_state to)
{
    enum request_state from = r->state;

    must(rule[from].next & BIT(to));
    r->state = to;
}

struct header_search {
    const char *name;
    char *joined; /* owned by the caller of request_header */
    unsigned count;
};

static enum MHD_Result on_header(void *arg, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    struct header_search *search = arg;
    char *longer;

    (void)kind;
    if (strcasecmp(name, search->name) != 0)
        return MHD_YES;
    longer = must_printf("%s%s%s", search->joined ? search->joined : "", search->joined ? ", " : "",
                         value ? value : "");
    free(search->joined);
    search->joined = longer;
    search->count++;
    return MHD_YES;
}

char *request_header(const struct admin_request *r, const char *name, unsigned *count)
{
    struct header_search search = {.name = name};

    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, on_header, &search);
    if (count)
        *count = search.count;
    return search.joined;
}

static bool is_request_id(const char *text)
{
    size_t n = text ? strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "0123456789._-")
                    : 0;

    return n >= 1 && n <= 64 && text[n] == '\0';
}

/* The client's own id when it is harmless, else 64 random bits. */
static void choose_id(struct admin_request *r)
{
    char *given = request_header(r, "X-Request-Id", NULL);
    uint64_t random;

    if (is_request_id(given)) {
        snprintf(r->id, sizeof(r->id), "%s", given);
    } else {
        tls_random(&random, sizeof(random));
        snprintf(r->id, sizeof(r->id), "%016llx", (unsigned long long)random);
    }
    free(given);
}

static struct admin_request *request_new(struct port *p, struct MHD_Connection *connection,
                                         const char *target, const char *method)
{
    struct admin_request *r = must_alloc(sizeof(*r));
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    r->admin = p->admin;
    r->client = info->socket_context;
    r->connection = connection;
    r->target = target;
    r->method = method;
    r->is_head = strcmp(method, "HEAD") == 0;
    choose_id(r);
    list_push(&p->admin->requests, &r->node);
    return r;
}

static void free_parameters(struct parameter *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(list[i].name);
        free(list[i].value);
    }
}

static void request_free(struct admin_request *r)
{
    list_remove(&r->node);
    r->admin->bodies_bytes -= r->body_reserved;
    free_parameters(r->params, r->params_count);
    free_parameters(r->queries, r->queries_count);
    if (r->body) /* it may have held a secret */
        tls_wipe(r->body, r->body_len);
    free(r->body);
    json_object_put(r->document);
    deadline_off(&r->hold);
    reply_fini(&r->reply);
    free(r->path);
    free(r);
}

/* --- one wrong token too many ---------------------------------------------------------------- */

static void refuse_wrong_token(struct admin_request *r)
{
    r->reply.must_close = true; /* libmicrohttpd reads on behind no answer to its first call */
    client_keep_for_linger(r->client);
    reply_header(r, "Retry-After", "1");
    reply_refuse(r, ADMIN_REFUSED_AUTH_RATE, 429, "tooManyFailures",
                 "too many wrong tokens from this address");
}

static void on_hold_over(struct deadline *deadline)
{
    refuse_wrong_token(container_of(deadline, struct admin_request, hold));
}

/* Nobody looks whether the client goes away: that would free its connection for the next guess. */
static void hold(struct admin_request *r, uint64_t now_ms)
{
    if (r->admin->is_stopping) {
        refuse_wrong_token(r);
        return;
    }
    request_enter(r, REQUEST_HELD);
    client_enter(r->client, CLIENT_HANDLING);
    deadline_init(&r->hold, r->admin->options.loop, on_hold_over);
    deadline_set(&r->hold, MAX(auth_wait_ms(&r->admin->auth, &r->client->addr, now_ms), 1u));
    MHD_suspend_connection(r->connection);
}

/* --- the head ------------------------------------------------------------------------------ */

static bool check_access(struct admin_request *r, const struct route_match *match)
{
    struct admin *a = r->admin;
    const char *scheme = "Bearer realm=\"penstock\"";
    enum auth_verdict verdict;
    uint64_t now_ms;
    char *field;
    unsigned count;

    if (r->client->port->is_metrics || (match->route && match->route->access <= ADMIN_PUBLIC) ||
        (!match->route && match->has_public))
        return true;
    field = request_header(r, "Authorization", &count);
    now_ms = loop_now_ms(a->options.loop);
    verdict = auth_check(&a->auth, count == 1 ? field : NULL, &r->client->addr, now_ms, &r->scope);
    if (field)
        tls_wipe(field, strlen(field));
    free(field);
    if (verdict == AUTH_OK)
        return true;
    if (log_limit_pass(&a->auth_log, now_ms))
        log_warn("admin", "auth_failed", LOG_S("peer", r->client->peer), LOG_S("request_id", r->id),
                 LOG_B("has_token", verdict != AUTH_MISSING), LOG_U("held", a->auth_log.held));
    if (verdict == AUTH_TOO_MANY) {
        hold(r, now_ms);
        return false;
    }
    reply_header(r, "WWW-Authenticate", "%s%s", scheme,
                 verdict == AUTH_WRONG ? ", error=\"invalid_token\"" : "");
    reply_refuse(r, ADMIN_REFUSED_AUTH, 401, "unauthenticated",
                 verdict == AUTH_WRONG ? "the token is not valid" : "a bearer token is needed");
    return false;
}

static bool check_route(struct admin_request *r, const struct route_match *match)
{
    if (!match->has_path) {
        reply_refuse(r, ADMIN_REFUSED_PATH, 404, "notFound", "there is nothing at this path");
        return false;
    }
    if (!match->route) {
        reply_header(r, "Allow", "%s", match->allow);
        reply_refuse(r, ADMIN_REFUSED_METHOD, 405, "methodNotAllowed", "this path allows only %s",
                     match->allow);
        return false;
    }
    r->route = match->route;
    if (match->route->access == ADMIN_WRITE && r->scope != AUTH_WRITE) {
        reply_header(r, "WWW-Authenticate", "Bearer realm=\"penstock\", error=\"%s\"",
                     "insufficient_scope");
        reply_refuse(r, ADMIN_REFUSED_SCOPE, 403, "readOnly", "this token may only read");
        return false;
    }
    return match->route->access != ADMIN_WRITE || guard_changes(r);
}

static bool is_json_type(const char *type)
{
    size_t n = type ? strcspn(type, "; \t") : 0;
    const char *charset;

    if (n != strlen("application/json") || strncasecmp(type, "application/json", n) != 0)
        return false;
    charset = type + n + strspn(type + n, "; \t");
    return *charset == '\0' || strcasecmp(charset, "charset=utf-8") == 0 ||
           strcasecmp(charset, "charset=\"utf-8\"") == 0;
}

#define TYPE_SHOWN_MAX 60 /* bytes of a wrong type or coding that the refusal repeats */

static bool check_media_type(struct admin_request *r)
{
    unsigned count;
    char *type = request_header(r, "Content-Type", &count);
    char *coding = request_header(r, "Content-Encoding", NULL);
    bool is_json = count == 1 && is_json_type(type);
    bool is_plain = !coding || strcasecmp(coding, "identity") == 0;

    if (!is_json)
        reply_refuse(r, ADMIN_REFUSED_MEDIA_TYPE, 415, "unsupportedMediaType",
                     "the body must be application/json; Content-Type is %.*s", TYPE_SHOWN_MAX,
                     type ? type : "missing");
    else if (!is_plain)
        reply_refuse(r, ADMIN_REFUSED_MEDIA_TYPE, 415, "unsupportedMediaType",
                     "the body must not be encoded; Content-Encoding is %.*s", TYPE_SHOWN_MAX,
                     coding);
    free(type);
    free(coding);
    return is_json && is_plain;
}

/* Room for `more` bytes of bodies; all requests together stay below a bound. */
static bool reserve(struct admin_request *r, size_t more)
{
    if (r->admin->bodies_bytes + more > r->admin->options.bodies_max) {
        reply_header(r, "Retry-After", "1");
        reply_refuse(r, ADMIN_REFUSED_BODIES, 503, "busy", "too many large bodies at once");
        return false;
    }
    r->admin->bodies_bytes += more;
    r->body_reserved += more;
    return true;
}

static bool refuse_too_large(struct admin_request *r)
{
    reply_refuse(r, ADMIN_REFUSED_TOO_LARGE, 413, "bodyTooLarge",
                 "the body must have at most %zu bytes", r->body_max);
    return false;
}

/* What the head says about the body, against what the route takes. */
static bool check_body_head(struct admin_request *r)
{
    const struct admin_route *route = r->route;
    char *length = request_header(r, "Content-Length", NULL);
    uint64_t n = length ? strtoull(length, NULL, 10) : 0;

    free(length);
    r->body_max = route->body_max ? route->body_max : r->admin->options.body_max;
    if (!route->takes_body && r->has_body) {
        reply_refuse(r, ADMIN_REFUSED_BODY, 400, "unexpectedBody", "this request takes no body");
        return false;
    }
    if (!route->takes_body || (!r->has_body && route->body_is_optional))
        return true;
    if (!r->has_body) {
        reply_refuse(r, ADMIN_REFUSED_BODY, 400, "bodyRequired", "a JSON body is needed");
        return false;
    }
    if (!check_media_type(r))
        return false;
    if (n > r->body_max)
        return refuse_too_large(r);
    if (n && !reserve(r, (size_t)n))
        return false;
    if (n) {
        r->body = must_alloc((size_t)n + 1);
        r->body_cap = (size_t)n;
    }
    return true;
}

/* In this order: what is no proper HTTP; whom the client thinks it talks to; who it is; and only
 * then what there is. */
static void check_head(struct admin_request *r, const char *version)
{
    struct route_match match;

    if (!guard_framing(r, version) || !guard_target(r) || !guard_host(r))
        return;
    route_find(r, &match);
    if (!guard_client_cert(r, match.route))
        return;
    if (!check_access(r, &match) || !check_route(r, &match) || !guard_query(r))
        return;
    (void)check_body_head(r);
}

static enum MHD_Result on_head(struct port *p, struct MHD_Connection *connection,
                               const char *target, const char *method, const char *version,
                               void **context)
{
    struct admin_request *r = request_new(p, connection, target, method);

    *context = r;
    check_head(r, version);
    if (r->state == REQUEST_ANSWERED && (r->has_body || r->reply.must_close)) {
        r->reply.must_close = true;
        client_keep_for_linger(r->client);
        return reply_queue(r);
    }
    if (r->state == REQUEST_HEAD && r->has_body) {
        request_enter(r, REQUEST_BODY);
        client_enter(r->client, CLIENT_BODY);
    }
    return MHD_YES;
}

/* --- the body ------------------------------------------------------------------------------ */

static bool grow(struct admin_request *r, size_t n)
{
    size_t cap = r->body_cap ? r->body_cap : 4096;

    if (n > r->body_max - r->body_len)
        return refuse_too_large(r);
    while (cap < r->body_len + n)
        cap *= 2;
    cap = MIN(cap, r->body_max);
    if (cap > r->body_cap) {
        char *larger;

        if (!reserve(r, cap - r->body_cap))
            return false;
        larger = must_alloc(cap + 1);
        memcpy(larger, r->body ? r->body : "", r->body_len);
        if (r->body)
            tls_wipe(r->body, r->body_len);
        free(r->body);
        r->body = larger;
        r->body_cap = cap;
    }
    return true;
}

static enum MHD_Result on_bytes(struct admin_request *r, const char *bytes, size_t *n)
{
    must(r->state == REQUEST_BODY);
    if (!grow(r, *n)) {
        client_keep_for_linger(r->client);
        r->reply.must_close = true;
        reply_send_now(r);
        return MHD_NO;
    }
    memcpy(r->body + r->body_len, bytes, *n);
    r->body_len += *n;
    r->client->bytes += *n;
    *n = 0;
    return MHD_YES;
}

static void refuse_syntax(struct admin_request *r, const struct json_syntax *why)
{
    r->admin->counters.refused[ADMIN_REFUSED_SYNTAX]++;
    admin_problem_syntax(r, why);
}

/* A handler that asked for a body gets a map or a list, never a bare word. */
static bool parse_body(struct admin_request *r)
{
    struct json_syntax why;

    if (!r->has_body || r->route->body_is_raw)
        return true;
    if (json_read(&r->document, r->body ? r->body : "", r->body_len, &why) != 0) {
        refuse_syntax(r, &why);
        return false;
    }
    if (json_object_is_type(r->document, json_type_object) ||
        json_object_is_type(r->document, json_type_array))
        return true;
    why.offset = 0;
    snprintf(why.reason, sizeof(why.reason), "an object or a list is needed, not %s",
             json_type_of(r->document));
    refuse_syntax(r, &why);
    return false;
}

/* --- the handler --------------------------------------------------------------------------- */

void request_watch(struct admin_request *r)
{
    struct epoll_event event = {.events = EPOLLRDHUP, .data.ptr = r};

    if (epoll_ctl(r->admin->gone_fd, EPOLL_CTL_ADD, r->client->fd, &event) != 0)
        log_warn("admin", "watch_failed", LOG_S("error", strerrordesc_np(errno)));
}

void admin_defer(struct admin_request *r, void (*on_gone)(struct admin_request *r, void *arg),
                 void *arg)
{
    request_enter(r, REQUEST_DEFERRED);
    r->on_gone = on_gone;
    r->on_gone_arg = arg;
    r->is_suspended = true;
    request_watch(r);
    MHD_suspend_connection(r->connection);
}

/* The connection goes with it: nothing that follows on it would be answered otherwise. */
static void refuse_stopping(struct admin_request *r)
{
    r->reply.must_close = true;
    admin_problem(r, 503, "stopping", "the service is stopping");
}

static enum MHD_Result on_complete(struct admin_request *r)
{
    switch (r->state) {
    case REQUEST_HEAD:
    case REQUEST_BODY:
        request_enter(r, REQUEST_HANDLING);
        client_enter(r->client, CLIENT_HANDLING);
        if (r->admin->is_stopping)
            refuse_stopping(r);
        else if (parse_body(r))
            r->route->handle(r->admin->options.arg, r);
        must(r->state == REQUEST_ANSWERED || r->state == REQUEST_DEFERRED);
        return r->is_suspended ? MHD_YES : reply_queue(r);
    case REQUEST_ANSWERED:
        return reply_queue(r);
    case REQUEST_GONE:
        return MHD_NO;
    case REQUEST_DEFERRED: /* suspended: libmicrohttpd does not come here */
    case REQUEST_HELD:
    case REQUEST_HANDLING:
    case REQUEST_STATE_COUNT:
        break;
    }
    return MHD_NO;
}

enum MHD_Result request_on_data(void *port, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *bytes,
                                size_t *n, void **context)
{
    struct admin_request *r = *context;

    if (!r)
        return on_head(port, connection, url, method, version, context);
    if (*n)
        return on_bytes(r, bytes, n);
    return on_complete(r);
}

void request_on_completed(void *port, struct MHD_Connection *connection, void **context,
                          enum MHD_RequestTerminationCode why)
{
    struct admin_request *r = *context;

    (void)port;
    (void)connection;
    (void)why;
    if (!r)
        return;
    must(r->state != REQUEST_DEFERRED && r->state != REQUEST_HELD);
    if (r->listener)
        (void)epoll_ctl(r->admin->gone_fd, EPOLL_CTL_DEL, r->client->fd, NULL);
    client_enter(r->client, CLIENT_HEAD);
    request_free(r);
    *context = NULL;
}

/* --- deferred requests ---------------------------------------------------------------------- */

/* The request is taken out of the waiting ones and libmicrohttpd told to go on with it. */
void request_resume(struct admin_request *r)
{
    (void)epoll_ctl(r->admin->gone_fd, EPOLL_CTL_DEL, r->client->fd, NULL);
    MHD_resume_connection(r->connection);
    loop_again(r->admin->options.loop, &r->client->port->pump);
}

static void request_left(struct admin_request *r)
{
    if (r->listener) {
        (void)epoll_ctl(r->admin->gone_fd, EPOLL_CTL_DEL, r->client->fd, NULL);
        subscriber_end(r->listener);
        return;
    }
    request_enter(r, REQUEST_GONE);
    if (r->on_gone)
        r->on_gone(r, r->on_gone_arg);
    request_resume(r);
}

/* One event at a time: what on_gone does may answer or end other requests of the same batch. */
void requests_on_gone_event(struct loop_io *io, unsigned events)
{
    struct admin *a = container_of(io, struct admin, gone_io);
    struct epoll_event event;

    (void)events;
    while (epoll_wait(a->gone_fd, &event, 1, 0) == 1)
        request_left(event.data.ptr);
}

void requests_end(struct admin *a)
{
    LIST_EACH (&a->requests, node, after) {
        struct admin_request *r = container_of(node, struct admin_request, node);

        if (r->state == REQUEST_HELD)
            refuse_wrong_token(r);
        if (r->state != REQUEST_DEFERRED)
            continue;
        if (r->on_gone)
            r->on_gone(r, r->on_gone_arg);
        refuse_stopping(r);
    }
}
