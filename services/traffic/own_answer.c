/* own_answer - see own_answer.h. */
#include "traffic/own_answer.h"

#include <stdio.h>

#include "traffic/exchange.h"
#include "traffic/traffic_worker_internal.h"

void own_answer_set(struct own_answer *a, const struct exchange *x, enum traffic_reason reason)
{
    const struct traffic_settings *settings = x->worker->settings;
    const struct route *route = requester_route(x->requester);

    *a = (struct own_answer){.status = traffic_reason_status(reason),
                             .word = traffic_reason_word(reason),
                             .is_head = x->is_head,
                             .date = x->worker->date,
                             .version_header = route ? settings->version_header : NULL,
                             .version = settings->version,
                             .hsts = route ? route->options->hsts : NULL,
                             .explains = route && route->options->explains};
    must(a->status != 0);
    if (a->explains && x->request_id[0])
        a->request_id = x->request_id;
    if (a->status == 401)
        a->realm = route->host;
}

static void put_field(struct http_fields *fields, const char *name, struct http_text value)
{
    struct http_field *f = &fields->list[fields->count++];

    must(value.n <= UINT16_MAX);
    *f = (struct http_field){.name = name,
                             .name_len = (uint16_t)strlen(name),
                             .value = value.p,
                             .value_len = (uint16_t)value.n};
}

static struct http_text text_of(const char *s)
{
    return (struct http_text){s, strlen(s)};
}

void own_answer_make(struct own_answer *a, struct http_response *out)
{
    int n = snprintf(a->body, sizeof(a->body), "%u %s\n", a->status, a->word);

    must(n > 0 && (size_t)n < sizeof(a->body));
    memset(out, 0, offsetof(struct http_response, fields));
    out->fields.count = 0;
    out->status = a->status;
    out->reason = text_of(http_status_phrase(a->status));
    out->framing = a->is_head ? HTTP_NO_BODY : HTTP_LENGTH;
    out->has_length = true;
    out->length = (uint64_t)n;
    if (a->realm) { /* a host name: nothing to escape */
        int len = snprintf(a->challenge, sizeof(a->challenge),
                           "Basic realm=\"%s\", charset=\"UTF-8\"", a->realm);

        must(len > 0 && (size_t)len < sizeof(a->challenge));
        put_field(&out->fields, "WWW-Authenticate", text_of(a->challenge));
    }
    if (a->hsts)
        put_field(&out->fields, "Strict-Transport-Security", text_of(a->hsts));
    if (a->explains)
        put_field(&out->fields, "penstock-reason", text_of(a->word));
    if (a->request_id)
        put_field(&out->fields, "X-Request-Id", text_of(a->request_id));
    if (a->status == 405)
        put_field(&out->fields, "Allow", text_of("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    if (a->location.n > 0)
        put_field(&out->fields, "Location", a->location);
    put_field(&out->fields, "Content-Type", text_of("text/plain; charset=utf-8"));
    a->body_len = a->is_head ? 0 : (size_t)n;
}

void own_answer_emit(struct h1_text *t, struct own_answer *a)
{
    struct http_response response;

    own_answer_make(a, &response);
    h1_response_emit(t, &response,
                     &(struct h1_answer){.minor = a->minor,
                                         .closes = a->closes,
                                         .version_header = a->version_header,
                                         .version = a->version,
                                         .date = a->date});
    h1_put(t, a->body, a->body_len);
}
