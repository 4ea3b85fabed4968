/* http_head - the head of a request or an answer, as every version of HTTP has it: start line in
 * parts, fields in order, how the body is framed.
 *
 * A codec fills it from bytes (h1_request.h, h1_response.h), the exchange and forward_headers.h
 * work on it.  All texts are borrowed from the buffer that was parsed: a head lives as long as the
 * call. RFC 9110; what is hop by hop is section 7.6.1.
 */
#ifndef TRAFFIC_HTTP_HEAD_H
#define TRAFFIC_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "traffic/traffic_reason.h"

#define HTTP_FIELDS_MAX  256u /* of the arrays; limits.headerFields is at most this */
#define HTTP_FIELDS_OURS 1u   /* and one that the proxy adds: request_id_put() */
#define HTTP_UPGRADE_MAX 64u  /* bytes of Upgrade; a longer one is not passed on */
#define HTTP_ACCEPT_MAX  32u  /* Sec-WebSocket-Accept: 28 characters */

struct http_text {
    const char *p; /* borrowed, not ended by NUL */
    size_t n;
};

/* Fields that mean something to a proxy. */
enum http_field_id {
    FIELD_OTHER,
    FIELD_HOST,
    FIELD_CONTENT_LENGTH,
    FIELD_TRANSFER_ENCODING,
    FIELD_CONNECTION,
    FIELD_KEEP_ALIVE,
    FIELD_PROXY_CONNECTION,
    FIELD_PROXY, /* "Proxy": becomes HTTP_PROXY in CGI; never forwarded */
    FIELD_TE,
    FIELD_TRAILER,
    FIELD_UPGRADE,
    FIELD_HTTP2_SETTINGS,
    FIELD_EXPECT,
    FIELD_AUTHORIZATION,
    FIELD_FORWARDED, /* Forwarded, X-Forwarded*, X-Real-IP: ours alone */
    FIELD_DATE,
    FIELD_REQUEST_ID, /* X-Request-Id: request_id.h */
    FIELD_NO_TRAILER, /* others that must not come as a trailer: Cookie, Content-Type, ... */
    FIELD_LOOKALIKE,  /* "X_Forwarded_For": one of the above in disguise */
};

struct http_field {
    const char *name, *value; /* borrowed; the value without blanks around it */
    uint16_t name_len, value_len;
    uint8_t id;      /* enum http_field_id */
    bool is_dropped; /* not to be forwarded */
};

struct http_fields {
    unsigned count;
    struct http_field list[HTTP_FIELDS_MAX + HTTP_FIELDS_OURS];
};

enum http_framing {
    HTTP_NO_BODY,
    HTTP_LENGTH,      /* `length` bytes follow (may be 0) */
    HTTP_CHUNKED,     /* the end shows itself; trailers may follow */
    HTTP_UNTIL_CLOSE, /* answers only */
};

struct http_request {
    struct http_text method;
    struct http_text target;    /* origin-form, or "*" */
    struct http_text authority; /* Host, as it came: the name with or without a port */
    unsigned minor;             /* of HTTP/1 */
    bool is_head, is_idempotent;
    bool wants_close; /* the connection must not be used again */
    bool expects_continue;
    bool takes_trailers; /* TE: trailers */
    enum http_framing framing;
    uint64_t length;
    struct http_text upgrade;          /* protocols asked for; empty: none (h2c is not passed on) */
    struct http_text websocket_accept; /* what a 101 must answer to our key; empty: the client's */
    struct http_text authorization;
    unsigned authorization_count;
    struct http_fields fields;
};

struct http_response {
    unsigned status;
    struct http_text reason; /* phrase */
    unsigned minor;
    bool wants_close;
    bool has_date;
    enum http_framing framing;
    uint64_t length; /* with HTTP_LENGTH, and with HTTP_NO_BODY when has_length */
    bool has_length; /* Content-Length stands in the head (HEAD, 304: of what was not sent) */
    struct http_text upgrade; /* of a 101 */
    struct http_fields fields;
};

bool http_is_lower_same(const char *p, const char *lower, size_t n);
static inline bool http_text_is(struct http_text t, const char *lower) /* without regard to case */
{
    return t.n == strlen(lower) && http_is_lower_same(t.p, lower, t.n);
}
bool http_text_is_same(struct http_text a, struct http_text b); /* without regard to case */
/* A lower-case ASCII letter for an upper-case one, else the byte itself. */
unsigned char http_lower(char c);
bool http_is_token_char(char c); /* RFC 9110 5.6.2 */
bool http_is_value_char(char c); /* visible, blank or obs-text */
/* The first in [p, end) that is none, or `end`. */
const char *http_value_end(const char *p, const char *end);
/* Which of the known fields `name` is. */
enum http_field_id http_field_id_of(struct http_text name);

/* Walks a comma separated list: the next element without blanks, empty ones passed over.  False at
 * the end.  *rest begins as the whole value. */
bool http_list_next(struct http_text *rest, struct http_text *element);

/* What Connection says of the other fields: marks those it names as dropped, and all that are hop
 * by hop by themselves.  `close`, `keep-alive` and `upgrade` are reported.
 * REASON_CONNECTION_INVALID: it names a field that is not its own to remove, or too many. */
struct http_connection {
    bool has_close, has_keep_alive, has_upgrade, has_te;
};
enum traffic_reason http_connection_apply(struct http_fields *fields, struct http_connection *out);

/* Marks what must not be a trailer (RFC 9110 6.5.1). */
void http_trailers_filter(struct http_fields *fields);

/* "Not Found"; "" for a status that we never send. */
const char *http_status_phrase(unsigned status);

#endif
