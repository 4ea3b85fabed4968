/* forward_headers - see forward_headers.h. */
#include "traffic/forward_headers.h"

#include <string.h>

#include "traffic/h1_emit.h"

void forward_client_set(struct forward_client *c, const union addr *client)
{
    union addr plain = *client;

    addr_unmap(&plain);
    addr_format_host(&plain, c->address);
    c->is_ipv6 = plain.sa.sa_family == AF_INET6;
}

void forward_request_filter(struct http_request *r, bool drops_authorization)
{
    for (unsigned i = 0; i < r->fields.count; i++) {
        struct http_field *f = &r->fields.list[i];

        switch ((enum http_field_id)f->id) {
        case FIELD_HOST:
        case FIELD_CONTENT_LENGTH:
        case FIELD_TRANSFER_ENCODING:
        case FIELD_CONNECTION:
        case FIELD_KEEP_ALIVE:
        case FIELD_PROXY_CONNECTION:
        case FIELD_PROXY:
        case FIELD_TE:
        case FIELD_UPGRADE:
        case FIELD_HTTP2_SETTINGS:
        case FIELD_EXPECT:
        case FIELD_FORWARDED:
        case FIELD_LOOKALIKE:
            f->is_dropped = true;
            break;
        case FIELD_AUTHORIZATION:
            f->is_dropped = f->is_dropped || drops_authorization;
            break;
        case FIELD_TRAILER:
            f->is_dropped = f->is_dropped || r->framing != HTTP_CHUNKED;
            break;
        case FIELD_OTHER:
        case FIELD_DATE:
        case FIELD_REQUEST_ID:
        case FIELD_NO_TRAILER:
            break;
        }
    }
}

size_t forward_extras(char out[FORWARD_EXTRAS_MAX], const struct forward_client *c,
                      struct http_text authority)
{
    struct h1_text t = {.p = out, .size = FORWARD_EXTRAS_MAX};

    h1_put_field(&t, "X-Forwarded-For", c->address);
    H1_PUT_LITERAL(&t, "X-Forwarded-Proto: https\r\nX-Forwarded-Host: ");
    h1_put(&t, authority.p, authority.n);
    H1_PUT_LITERAL(&t, "\r\nForwarded: for=");
    if (c->is_ipv6)
        H1_PUT_LITERAL(&t, "\"[");
    h1_put_text(&t, c->address);
    if (c->is_ipv6)
        H1_PUT_LITERAL(&t, "]\"");
    H1_PUT_LITERAL(&t, ";host=\"");
    h1_put(&t, authority.p, authority.n);
    H1_PUT_LITERAL(&t, "\";proto=https\r\n");
    return t.is_cut ? 0 : t.n;
}

void forward_response_filter(struct http_response *r, const char *version_header)
{
    struct http_text ours = {version_header, version_header ? strlen(version_header) : 0};
    bool has_trailers = r->framing == HTTP_CHUNKED;

    for (unsigned i = 0; i < r->fields.count; i++) {
        struct http_field *f = &r->fields.list[i];

        switch ((enum http_field_id)f->id) {
        case FIELD_CONTENT_LENGTH:
        case FIELD_TRANSFER_ENCODING:
        case FIELD_CONNECTION:
        case FIELD_KEEP_ALIVE:
        case FIELD_PROXY_CONNECTION:
        case FIELD_TE:
        case FIELD_UPGRADE:
        case FIELD_HTTP2_SETTINGS:
            f->is_dropped = true;
            break;
        case FIELD_TRAILER:
            f->is_dropped = f->is_dropped || !has_trailers;
            break;
        case FIELD_OTHER:
            if (http_text_is_same((struct http_text){f->name, f->name_len}, ours))
                f->is_dropped = true;
            break;
        case FIELD_HOST:
        case FIELD_PROXY:
        case FIELD_EXPECT:
        case FIELD_AUTHORIZATION:
        case FIELD_FORWARDED:
        case FIELD_DATE:
        case FIELD_REQUEST_ID:
        case FIELD_NO_TRAILER:
        case FIELD_LOOKALIKE:
            break;
        }
    }
}
