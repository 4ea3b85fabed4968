/* access_log - see access_log.h. */
#include "traffic/access_log.h"

#include <assert.h>
#include <stdlib.h>

#include "traffic/exchange.h"
#include "traffic/h1_emit.h"
#include "traffic/traffic_worker_internal.h"

/* All escaped, and what is of fixed size: status, bytes, brackets, blanks. */
#define LINE_TEXTS                                                                                 \
    (ADDR_TEXT_MAX +                                                                               \
     4 * (ACCESS_USER_MAX + ACCESS_METHOD_MAX + ACCESS_PATH_MAX + 2 * ACCESS_VALUE_MAX) +          \
     ACCESS_TIME_MAX)
static_assert(LINE_TEXTS + 128 <= ACCESS_LINE_MAX, "a combined line is never cut");

void access_log_copy(char *to, size_t size, struct http_text from)
{
    size_t n = MIN(from.n, size - 1);

    if (n > 0) /* a line that could not be read has no parts */
        memcpy(to, from.p, n);
    to[n] = '\0';
}

void access_notes_set(struct access_notes *notes, const struct http_fields *fields)
{
    notes->user[0] = notes->referer[0] = notes->agent[0] = '\0';
    for (unsigned i = fields->count; i-- > 0;) { /* of several the first */
        const struct http_field *f = &fields->list[i];
        struct http_text name = {f->name, f->name_len}, value = {f->value, f->value_len};

        if (http_text_is(name, "referer"))
            access_log_copy(notes->referer, sizeof(notes->referer), value);
        else if (http_text_is(name, "user-agent"))
            access_log_copy(notes->agent, sizeof(notes->agent), value);
    }
}

void access_log_time(char out[ACCESS_TIME_MAX], const struct tm *tm)
{
    size_t n = strftime(out, ACCESS_TIME_MAX, "%d/%b/%Y:%H:%M:%S +0000", tm);

    must(n > 0);
}

/* `stop`: the last byte that is not written as it is, in front of visible ASCII. */
static void put_escaped(struct h1_text *t, const char *s, unsigned char stop)
{
    static const char digits[] = "0123456789ABCDEF";

    if (!s || !*s) {
        H1_PUT_LITERAL(t, "-");
        return;
    }
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c <= stop || c >= 0x7f || c == '"' || c == '\\')
            h1_put(t, (const char[]){'\\', 'x', digits[c >> 4], digits[c & 15]}, 4);
        else
            h1_put(t, s, 1);
    }
}

static void put_word(struct h1_text *t, const char *s)
{
    put_escaped(t, s, ' ');
}

static void put_quoted(struct h1_text *t, const char *s)
{
    H1_PUT_LITERAL(t, " \"");
    put_escaped(t, s, ' ' - 1);
    H1_PUT_LITERAL(t, "\"");
}

static void put_request(struct h1_text *t, const struct access_record *r)
{
    H1_PUT_LITERAL(t, "] \"");
    if (r->method[0] && r->path[0]) {
        put_word(t, r->method);
        H1_PUT_LITERAL(t, " ");
        put_word(t, r->path);
        H1_PUT_LITERAL(t, " ");
        h1_put_text(t, r->protocol);
    } else {
        H1_PUT_LITERAL(t, "-");
    }
    H1_PUT_LITERAL(t, "\" ");
}

static void write_combined(const struct traffic_worker *w, const struct access_record *r)
{
    static const struct access_notes none;
    const struct access_notes *notes = r->notes ? r->notes : &none;
    char line[ACCESS_LINE_MAX];
    struct h1_text t = {.p = line, .size = sizeof(line)};

    h1_put_text(&t, r->client);
    H1_PUT_LITERAL(&t, " - ");
    put_word(&t, notes->user);
    H1_PUT_LITERAL(&t, " [");
    h1_put_text(&t, w->log_time);
    put_request(&t, r);
    h1_put_number(&t, r->status > 0 ? r->status : ACCESS_NO_ANSWER);
    H1_PUT_LITERAL(&t, " ");
    h1_put_number(&t, r->bytes_out);
    put_quoted(&t, notes->referer);
    put_quoted(&t, notes->agent);
    H1_PUT_LITERAL(&t, "\n");
    must(!t.is_cut);
    log_raw(LOG_INFO, line, t.n);
}

void access_log_write(const struct traffic_worker *w, const struct access_record *r)
{
    if (!w->settings->log_access)
        return;
    if (w->settings->access_format == ACCESS_COMBINED) {
        write_combined(w, r);
        return;
    }
    log_info("traffic", "request", LOG_S("client", r->client), LOG_S("host", r->host),
             LOG_S("protocol", r->protocol), LOG_S("method", r->method), LOG_S("path", r->path),
             LOG_U("status", r->status), LOG_U("bytesIn", r->bytes_in),
             LOG_U("bytesOut", r->bytes_out), LOG_U("us", r->us), LOG_S("upstream", r->upstream),
             LOG_S("tls", r->tls), LOG_S("reason", traffic_reason_word(r->reason)),
             LOG_S("request_id", r->request_id[0] ? r->request_id : "-"));
}

/* --- of an exchange ------------------------------------------------------------------------ */

void access_log_note(struct exchange *x, const struct http_request *r)
{
    access_log_copy(x->method, sizeof(x->method), r->method);
    access_log_copy(x->path, sizeof(x->path), r->target);
    if (x->worker->settings->access_format != ACCESS_COMBINED)
        return;
    x->notes = malloc(sizeof(*x->notes));
    if (x->notes)
        access_notes_set(x->notes, &r->fields);
}

void access_log_note_user(struct exchange *x)
{
    const char *user = x->route->auth ? x->route->auth->user : NULL;

    if (x->notes && user)
        access_log_copy(x->notes->user, sizeof(x->notes->user),
                        (struct http_text){user, strlen(user)});
}

void access_log_request(const struct exchange *x, unsigned status, uint64_t us,
                        enum traffic_reason reason)
{
    access_log_write(x->worker, &(struct access_record){
                                    .client = x->requester->forward.address,
                                    .host = x->requester->sni,
                                    .protocol = x->protocol,
                                    .method = x->method,
                                    .path = x->path,
                                    .upstream = x->target[0] ? x->target : "-",
                                    .tls = x->requester->tls_version,
                                    .request_id = x->request_id,
                                    .notes = x->notes,
                                    .status = status,
                                    .bytes_in = x->bytes_in,
                                    .bytes_out = x->bytes_out,
                                    .us = us,
                                    .reason = reason,
                                });
}
