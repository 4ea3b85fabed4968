/* h2_emit - see h2_emit.h.  RFC 9113 section 8.3.2. */
#include "traffic/h2_emit.h"

#include <string.h>

#include "base/must.h"

static void put(struct h2_fields *f, const char *name, size_t name_len, const char *value,
                size_t value_len)
{
    must(f->count < ARRAY_LEN(f->list));
    f->list[f->count++] = (nghttp2_nv){.name = (uint8_t *)name,
                                       .value = (uint8_t *)value,
                                       .namelen = name_len,
                                       .valuelen = value_len,
                                       .flags = NGHTTP2_NV_FLAG_NONE};
}

static void put_text(struct h2_fields *f, const char *name, const char *value)
{
    put(f, name, strlen(name), value, strlen(value));
}

static void put_fields(struct h2_fields *f, const struct http_fields *fields, bool drops_accept)
{
    for (unsigned i = 0; i < fields->count; i++) {
        const struct http_field *from = &fields->list[i];
        struct http_text name = {from->name, from->name_len};

        if (from->is_dropped || (drops_accept && http_text_is(name, "sec-websocket-accept")))
            continue;
        put(f, name.p, name.n, from->value, from->value_len);
    }
}

static size_t emit_number(char out[20], uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    memcpy(out, digits + at, sizeof(digits) - at);
    return sizeof(digits) - at;
}

void h2_fields_response(struct h2_fields *f, const struct http_response *r,
                        const struct h2_answer *a)
{
    unsigned status = r->status == 101 ? 200 : r->status;

    must(status >= 100 && status <= 999);
    f->count = 0;
    for (unsigned i = 3; i-- > 0; status /= 10)
        f->status[i] = (char)('0' + status % 10);
    put(f, ":status", 7, f->status, sizeof(f->status));
    put_fields(f, &r->fields, r->status == 101);
    if (a->date && !r->has_date)
        put_text(f, "date", a->date);
    if (a->version_header)
        put_text(f, a->version_header, a->version);
    if (r->framing == HTTP_LENGTH || (r->framing == HTTP_NO_BODY && r->has_length))
        put(f, "content-length", 14, f->length, emit_number(f->length, r->length));
}

void h2_fields_trailers(struct h2_fields *f, const struct http_fields *trailers)
{
    f->count = 0;
    put_fields(f, trailers, false);
}
