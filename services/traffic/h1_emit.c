/* h1_emit - see h1_emit.h. */
#include "traffic/h1_emit.h"

void h1_put_text(struct h1_text *t, const char *s)
{
    h1_put(t, s, strlen(s));
}

void h1_put_number(struct h1_text *t, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    h1_put(t, digits + at, sizeof(digits) - at);
}

void h1_put_field(struct h1_text *t, const char *name, const char *value)
{
    h1_put_text(t, name);
    H1_PUT_LITERAL(t, ": ");
    h1_put_text(t, value);
    H1_PUT_LITERAL(t, "\r\n");
}

static void put_fields(struct h1_text *t, const struct http_fields *fields)
{
    for (unsigned i = 0; i < fields->count; i++) {
        const struct http_field *f = &fields->list[i];

        if (f->is_dropped)
            continue;
        h1_put(t, f->name, f->name_len);
        H1_PUT_LITERAL(t, ": ");
        h1_put(t, f->value, f->value_len);
        H1_PUT_LITERAL(t, "\r\n");
    }
}

void h1_request_emit(struct h1_text *t, const struct http_request *r, struct http_text extras)
{
    h1_put(t, r->method.p, r->method.n);
    H1_PUT_LITERAL(t, " ");
    h1_put(t, r->target.p, r->target.n);
    H1_PUT_LITERAL(t, " HTTP/1.1\r\nHost: ");
    h1_put(t, r->authority.p, r->authority.n);
    H1_PUT_LITERAL(t, "\r\n");
    put_fields(t, &r->fields);
    h1_put(t, extras.p, extras.n);
    if (r->framing == HTTP_LENGTH) {
        H1_PUT_LITERAL(t, "Content-Length: ");
        h1_put_number(t, r->length);
        H1_PUT_LITERAL(t, "\r\n");
    } else if (r->framing == HTTP_CHUNKED) {
        H1_PUT_LITERAL(t, "Transfer-Encoding: chunked\r\n");
    }
    if (r->expects_continue)
        H1_PUT_LITERAL(t, "Expect: 100-continue\r\n");
    if (r->upgrade.n > 0) {
        H1_PUT_LITERAL(t, "Connection: Upgrade\r\nUpgrade: ");
        h1_put(t, r->upgrade.p, r->upgrade.n);
        H1_PUT_LITERAL(t, "\r\n");
    } else if (r->takes_trailers) {
        H1_PUT_LITERAL(t, "Connection: TE\r\nTE: trailers\r\n");
    }
    H1_PUT_LITERAL(t, "\r\n");
}

static void put_status_line(struct h1_text *t, const struct http_response *r)
{
    H1_PUT_LITERAL(t, "HTTP/1.1 ");
    h1_put_number(t, r->status);
    H1_PUT_LITERAL(t, " ");
    h1_put(t, r->reason.p, r->reason.n);
    H1_PUT_LITERAL(t, "\r\n");
}

void h1_response_emit(struct h1_text *t, const struct http_response *r, const struct h1_answer *a)
{
    put_status_line(t, r);
    put_fields(t, &r->fields);
    if (!r->has_date)
        h1_put_field(t, "Date", a->date);
    if (a->version_header)
        h1_put_field(t, a->version_header, a->version);
    if (r->framing == HTTP_LENGTH || (r->framing == HTTP_NO_BODY && r->has_length)) {
        H1_PUT_LITERAL(t, "Content-Length: ");
        h1_put_number(t, r->length);
        H1_PUT_LITERAL(t, "\r\n");
    } else if (a->is_chunked) {
        H1_PUT_LITERAL(t, "Transfer-Encoding: chunked\r\n");
    }
    if (r->status == 101) {
        H1_PUT_LITERAL(t, "Connection: Upgrade\r\nUpgrade: ");
        h1_put(t, r->upgrade.p, r->upgrade.n);
        H1_PUT_LITERAL(t, "\r\n");
    } else if (a->closes) {
        H1_PUT_LITERAL(t, "Connection: close\r\n");
    } else if (a->minor == 0) {
        H1_PUT_LITERAL(t, "Connection: keep-alive\r\n");
    }
    H1_PUT_LITERAL(t, "\r\n");
}

void h1_interim_emit(struct h1_text *t, const struct http_response *r)
{
    put_status_line(t, r);
    put_fields(t, &r->fields);
    H1_PUT_LITERAL(t, "\r\n");
}

size_t h1_chunk_head(char out[H1_CHUNK_HEAD_MAX], size_t n)
{
    char digits[16];
    size_t at = sizeof(digits), len;

    do {
        digits[--at] = "0123456789abcdef"[n & 15];
        n >>= 4;
    } while (n > 0);
    len = sizeof(digits) - at;
    memcpy(out, digits + at, len);
    out[len] = '\r';
    out[len + 1] = '\n';
    return len + 2;
}

void h1_trailers_emit(struct h1_text *t, const struct http_fields *trailers)
{
    if (trailers)
        put_fields(t, trailers);
    H1_PUT_LITERAL(t, "\r\n");
}

void h1_last_chunk_emit(struct h1_text *t, const struct http_fields *trailers)
{
    H1_PUT_LITERAL(t, "0\r\n");
    h1_trailers_emit(t, trailers);
}
