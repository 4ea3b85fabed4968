/* reply - answers: JSON with ETags, RFC 9457 problems, and how they reach the client. */
#include <gnutls/gnutls.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/etag.h"
#include "admin/server.h"

#define PROBLEM_JSON "application/problem+json"

const char *const admin_methods[ADMIN_METHODS] = {"GET",   "HEAD",   "PUT",  "POST",
                                                  "PATCH", "DELETE", "other"};

const char *status_title(unsigned status)
{
    static const struct {
        unsigned status;
        const char *title;
    } known[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {409, "Conflict"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {422, "Unprocessable Content"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
        {507, "Insufficient Storage"},
    };

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].status == status)
            return known[i].title;
    return "Other";
}

void reply_fini(struct reply *reply)
{
    for (size_t i = 0; i < reply->headers_count; i++)
        free(reply->headers[i].value);
    free(reply->body);
    if (reply->subscriber)
        subscriber_free(reply->subscriber);
    memset(reply, 0, sizeof(*reply));
}

void reply_header(struct admin_request *r, const char *name, const char *fmt, ...)
{
    struct reply *reply = &r->reply;
    char *value = NULL;
    va_list args;

    must(reply->headers_count < ADMIN_HEADERS_MAX);
    va_start(args, fmt);
    int n = vasprintf(&value, fmt, args);
    va_end(args);
    must(n >= 0);
    for (char *p = value; *p; p++) /* what a header cannot hold would end it */
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    reply->headers[reply->headers_count++] = (struct reply_header){name, value};
}

static size_t method_index(const char *method)
{
    size_t i = 0;

    while (i < ADMIN_METHODS - 1 && strcmp(admin_methods[i], method) != 0)
        i++;
    return i;
}

/* Every change is told, done or refused, with who asked for it. */
static void audit(const struct admin_request *r)
{
    static const char *const scopes[] = {"none", "read", "write"};

    if (r->route && r->route->access == ADMIN_WRITE)
        log_info("admin", "audit", LOG_S("method", r->method), LOG_S("path", r->path),
                 LOG_U("status", r->reply.status), LOG_S("peer", r->client->peer),
                 LOG_S("scope", scopes[r->scope]), LOG_B("dry_run", admin_is_dry_run(r)),
                 LOG_S("request_id", r->id));
    else
        log_debug("admin", "request", LOG_S("method", r->method),
                  LOG_S("path", r->path ? r->path : "?"), LOG_U("status", r->reply.status),
                  LOG_S("peer", r->client->peer), LOG_S("request_id", r->id));
}

/* The only way to an answer: `body` is taken over. */
void reply_text(struct admin_request *r, unsigned status, const char *type, char *body, size_t len)
{
    bool is_suspended = r->state == REQUEST_DEFERRED || r->state == REQUEST_HELD;

    must(status >= 200 && status <= 599);
    request_enter(r, REQUEST_ANSWERED);
    r->reply.status = status;
    r->reply.type = type;
    r->reply.body = body;
    r->reply.len = len;
    r->admin->counters.answers[method_index(r->method)][status - 100]++;
    audit(r);
    if (is_suspended)
        request_resume(r);
}

/* `s` is taken over. */
void reply_events(struct admin_request *r, struct subscriber *s)
{
    r->reply.subscriber = s;
    reply_header(r, "X-Accel-Buffering", "no");
    reply_text(r, 200, EVENT_STREAM, NULL, 0);
}

static void reply_json(struct admin_request *r, unsigned status, const char *type,
                       struct json_object *body)
{
    size_t len = 0;
    const char *text = json_object_to_json_string_length(
        body, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
    char *copy = must_alloc(len + 1);

    memcpy(copy, text, len);
    json_object_put(body);
    reply_text(r, status, type, copy, len);
}

/* --- answers of handlers ---------------------------------------------------------------------- */

static bool is_reading(const struct admin_request *r)
{
    return r->is_head || strcmp(r->method, "GET") == 0;
}

/* Puts the ETag; true: the client has this already, and has been told so. */
static bool reply_known(struct admin_request *r, unsigned status, const char *etag)
{
    char *known = etag && is_reading(r) ? request_header(r, "If-None-Match", NULL) : NULL;
    bool is_same = known && status == 200 && etag_list_has(known, etag, ETAG_WEAK);

    free(known);
    if (etag)
        reply_header(r, "ETag", "\"%s\"", etag);
    if (is_same)
        reply_text(r, 304, NULL, NULL, 0);
    return is_same;
}

void admin_reply(struct admin_request *r, unsigned status, struct json_object *body,
                 const char *etag)
{
    if (reply_known(r, status, etag))
        json_object_put(body);
    else
        reply_json(r, status, "application/json", body);
}

void admin_reply_text(struct admin_request *r, unsigned status, char *text, size_t len,
                      const char *etag)
{
    if (reply_known(r, status, etag))
        free(text);
    else
        reply_text(r, status, "application/json", text, len);
}

void admin_reply_empty(struct admin_request *r, unsigned status)
{
    reply_text(r, status, NULL, NULL, 0);
}

void admin_reply_created(struct admin_request *r, const char *location, struct json_object *body,
                         const char *etag)
{
    reply_header(r, "Location", "%s", location);
    admin_reply(r, 201, body, etag);
}

bool admin_if_match(struct admin_request *r, const char *etag)
{
    char *wanted = request_header(r, "If-Match", NULL);
    char *unwanted = is_reading(r) ? NULL : request_header(r, "If-None-Match", NULL);
    bool is_good = (!wanted || (etag && etag_list_has(wanted, etag, ETAG_STRONG))) &&
                   (!unwanted || !etag || !etag_list_has(unwanted, etag, ETAG_WEAK));

    free(wanted);
    free(unwanted);
    if (is_good)
        return true;
    if (etag) {
        reply_header(r, "ETag", "\"%s\"", etag);
        admin_problem(r, 412, "preconditionFailed", "the present ETag is \"%s\"", etag);
    } else {
        admin_problem(r, 412, "preconditionFailed", "there is nothing that could match");
    }
    return false;
}

/* --- problems --------------------------------------------------------------------------------- */

/* `errors` (or NULL) is taken over.  A path or a parameter that `detail` repeats may be any bytes.
 */
static void problem(struct admin_request *r, unsigned status, const char *code, char *detail,
                    struct json_object *errors)
{
    struct json_object *body = json_object_new_object();
    char *type = must_printf("urn:penstock:problem:%s", code);

    must(body != NULL);
    json_repair_utf8(detail);
    json_object_object_add(body, "type", json_object_new_string(type));
    json_object_object_add(body, "title", json_object_new_string(status_title(status)));
    json_object_object_add(body, "status", json_object_new_int((int)status));
    json_object_object_add(body, "detail", json_object_new_string(detail));
    if (errors)
        json_object_object_add(body, "errors", errors);
    json_object_object_add(body, "requestId", json_object_new_string(r->id));
    free(type);
    reply_json(r, status, PROBLEM_JSON, body);
}

static char *format(const char *fmt, va_list args) __attribute__((format(printf, 1, 0)));

static char *format(const char *fmt, va_list args)
{
    char *text = NULL;
    int n = vasprintf(&text, fmt, args);

    must(n >= 0);
    return text;
}

void admin_problem(struct admin_request *r, unsigned status, const char *code, const char *fmt, ...)
{
    va_list args;
    char *detail;

    va_start(args, fmt);
    detail = format(fmt, args);
    va_end(args);
    problem(r, status, code, detail, NULL);
    free(detail);
}

void reply_refuse(struct admin_request *r, enum admin_refusal why, unsigned status,
                  const char *code, const char *fmt, ...)
{
    va_list args;
    char *detail;

    r->admin->counters.refused[why]++;
    va_start(args, fmt);
    detail = format(fmt, args);
    va_end(args);
    problem(r, status, code, detail, NULL);
    free(detail);
}

void admin_problem_faults(struct admin_request *r, const struct json_check *faults)
{
    char *detail =
        must_printf("%zu fault%s in the body", faults->total, faults->total == 1 ? "" : "s");

    problem(r, 422, "invalid", detail, json_faults_emit(faults));
    free(detail);
}

void admin_problem_syntax(struct admin_request *r, const struct json_syntax *why)
{
    char detail[] = "the body is no acceptable JSON";
    struct json_check one;

    json_check_init(&one);
    json_fault(&one, "", "syntax", "byte %zu: %s", why->offset, why->reason);
    problem(r, 400, "malformedBody", detail, json_faults_emit(&one));
    json_check_fini(&one);
}

/* --- the way out ------------------------------------------------------------------------------ */

enum MHD_Result reply_queue(struct admin_request *r)
{
    struct reply *reply = &r->reply;
    struct MHD_Response *response =
        reply->subscriber
            ? subscriber_response(reply->subscriber)
            : MHD_create_response_from_buffer(reply->len, reply->body, MHD_RESPMEM_MUST_FREE);
    enum MHD_Result result;

    r->listener = response ? reply->subscriber : NULL;
    reply->subscriber = NULL; /* its response's, or gone */
    if (!response)
        return MHD_NO;
    reply->body = NULL; /* libmicrohttpd's now */
    MHD_add_response_header(response, "X-Request-Id", r->id);
    MHD_add_response_header(response, "Cache-Control", reply->cache ? reply->cache : "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (reply->type)
        MHD_add_response_header(response, "Content-Type", reply->type);
    for (size_t i = 0; i < reply->headers_count; i++)
        MHD_add_response_header(response, reply->headers[i].name, reply->headers[i].value);
    if (reply->must_close)
        MHD_add_response_header(response, "Connection", "close");
    client_enter(r->client, r->listener ? CLIENT_STREAMING : CLIENT_REPLY);
    r->client->bytes = reply->len;
    if (r->listener) {
        /* how long it may take nothing is the sweep's to say (port.c), and longer */
        (void)MHD_set_connection_option(r->connection, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
        request_watch(r);
    }
    result = MHD_queue_response(r->connection, reply->status, response);
    MHD_destroy_response(response);
    return result;
}

static char *date_now(char out[40])
{
    time_t now = time(NULL);
    struct tm utc;

    gmtime_r(&now, &utc);
    strftime(out, 40, "%a, %d %b %Y %H:%M:%S GMT", &utc);
    return out;
}

void reply_send_now(struct admin_request *r)
{
    const struct reply *reply = &r->reply;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    char date[40], *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    must(out != NULL);
    fprintf(out,
            "HTTP/1.1 %u %s\r\nDate: %s\r\nConnection: close\r\nX-Request-Id: %s\r\n"
            "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
            "Content-Type: %s\r\nContent-Length: %zu\r\n",
            reply->status, status_title(reply->status), date_now(date), r->id, reply->type,
            reply->len);
    for (size_t i = 0; i < reply->headers_count; i++)
        fprintf(out, "%s: %s\r\n", reply->headers[i].name, reply->headers[i].value);
    fputs("\r\n", out);
    fwrite(reply->body, 1, reply->len, out);
    must(fclose(out) == 0);
    if (info && info->tls_session)
        (void)gnutls_record_send(info->tls_session, text, len);
    else
        (void)send(r->client->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    free(text);
}
