/* h1_request - see h1_request.h. */
#include "traffic/h1_request.h"

#include <string.h>

#include "base/must.h"

/* What may be asked for; llhttp 8.1 and 9.2 both know all of them.  Others: 501. */
static const struct {
    const char *name;
    uint8_t len;
    bool is_idempotent, is_refused;
} methods[] = {
#define M(text, idempotent, refused)                                                               \
    {                                                                                              \
        text, sizeof(text) - 1, idempotent, refused                                                \
    }
    M("GET", true, false),        M("POST", false, false),        M("HEAD", true, false),
    M("PUT", true, false),        M("DELETE", true, false),       M("OPTIONS", true, false),
    M("PATCH", false, false),     M("CONNECT", false, true),      M("TRACE", true, true),
    M("PROPFIND", true, false),   M("PROPPATCH", true, false),    M("MKCOL", true, false),
    M("COPY", true, false),       M("MOVE", true, false),         M("LOCK", false, false),
    M("UNLOCK", true, false),     M("SEARCH", true, false),       M("BIND", true, false),
    M("REBIND", true, false),     M("UNBIND", true, false),       M("ACL", true, false),
    M("REPORT", true, false),     M("MKACTIVITY", true, false),   M("CHECKOUT", true, false),
    M("MERGE", true, false),      M("MKCALENDAR", true, false),   M("LINK", true, false),
    M("UNLINK", true, false),     M("M-SEARCH", true, false),     M("NOTIFY", false, false),
    M("SUBSCRIBE", false, false), M("UNSUBSCRIBE", false, false), M("PURGE", true, false),
#undef M
};

static const char http2_preface[] = "PRI * HTTP/2.0";

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static enum traffic_reason parse_version(unsigned *minor, const char *p, size_t n)
{
    if (n != 8 || memcmp(p, "HTTP/", 5) != 0 || !is_digit(p[5]) || p[6] != '.' || !is_digit(p[7]))
        return REASON_BAD_REQUEST_LINE;
    if (p[5] != '1' || p[7] > '1')
        return REASON_BAD_VERSION;
    *minor = (unsigned)(p[7] - '0');
    return REASON_NONE;
}

static enum traffic_reason parse_method(struct http_request *out)
{
    for (size_t i = 0; i < out->method.n; i++)
        if (!http_is_token_char(out->method.p[i]))
            return REASON_BAD_METHOD;
    if (out->method.n == 0)
        return REASON_BAD_METHOD;
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (methods[i].len == out->method.n &&
            memcmp(methods[i].name, out->method.p, out->method.n) == 0) {
            out->is_idempotent = methods[i].is_idempotent;
            out->is_head = i == 2;
            return methods[i].is_refused ? REASON_METHOD_REFUSED : REASON_NONE;
        }
    return REASON_METHOD_UNKNOWN;
}

/* method SP target SP version, one blank each (RFC 9112 3). */
static enum traffic_reason parse_line(struct http_request *out, const char *line, size_t n)
{
    const char *first = memchr(line, ' ', n), *second;
    enum traffic_reason reason;

    if (n == sizeof(http2_preface) - 1 && memcmp(line, http2_preface, n) == 0)
        return REASON_HTTP2_PREFACE;
    for (size_t i = 0; i < n; i++)
        if (!http_is_value_char(line[i]))
            return line[i] == '\r' ? REASON_BARE_CR : REASON_BAD_BYTE;
    if (!first)
        return REASON_BAD_REQUEST_LINE;
    second = memchr(first + 1, ' ', (size_t)(line + n - first - 1));
    if (!second || second == first + 1)
        return REASON_BAD_REQUEST_LINE;
    out->method = (struct http_text){line, (size_t)(first - line)};
    out->target = (struct http_text){first + 1, (size_t)(second - first - 1)};
    reason = parse_version(&out->minor, second + 1, (size_t)(line + n - second - 1));
    return reason != REASON_NONE ? reason : parse_method(out);
}

enum traffic_reason h1_request_line_check(const char *line, size_t n)
{
    struct http_request scratch;

    return parse_line(&scratch, line, n);
}

/* "name", "name:port", "[v6]:port": which bytes are there, not whether the name is one. */
static bool is_authority(struct http_text t)
{
    const char *p = t.p, *end = t.p + t.n;
    unsigned port = 0;

    if (p < end && *p == '[') {
        while (p < end && *p != ']')
            p++;
        if (p == end)
            return false;
        p++;
    } else {
        while (p < end && *p != ':') {
            unsigned char c = http_lower(*p);

            if (!(c >= 'a' && c <= 'z') && !is_digit(*p) && c != '-' && c != '.' && c != '_')
                return false;
            p++;
        }
        if (p == t.p)
            return false;
    }
    if (p == end)
        return true;
    if (*p++ != ':' || end - p > 5)
        return false;
    for (; p < end; p++) {
        if (!is_digit(*p))
            return false;
        port = port * 10 + (unsigned)(*p - '0');
    }
    return port <= UINT16_MAX;
}

static struct http_text authority_name(struct http_text authority)
{
    for (size_t i = authority.n; i > 0; i--) {
        char c = authority.p[i - 1];

        if (c == ':')
            return (struct http_text){authority.p, i - 1};
        if (!is_digit(c))
            break;
    }
    return authority;
}

enum traffic_reason http_host_normalise(struct http_text authority, char out[ROUTE_HOST_MAX + 1])
{
    struct http_text name = authority_name(authority);

    return route_normalise_host(name.p, name.n, false, out) == 0 ? REASON_NONE
                                                                 : REASON_HOST_INVALID;
}

/* An absolute-form target becomes origin-form; it must name the same host as Host does. */
static enum traffic_reason parse_absolute(struct http_request *out, const char *scheme)
{
    size_t skip = strlen(scheme);
    struct http_text rest = out->target, authority;
    size_t n = 0;

    if (rest.n < skip + 3 || memcmp(rest.p + skip, "://", 3) != 0 ||
        !http_text_is((struct http_text){rest.p, skip}, scheme))
        return REASON_BAD_TARGET;
    rest.p += skip + 3;
    rest.n -= skip + 3;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
        n++;
    authority = (struct http_text){rest.p, n};
    if (!is_authority(authority))
        return REASON_BAD_TARGET;
    if (!http_text_is_same(authority, out->authority))
        return REASON_HOST_MISMATCH;
    out->target = (struct http_text){rest.p + n, rest.n - n};
    if (out->target.n == 0)
        out->target = (struct http_text){"/", 1};
    else if (out->target.p[0] == '?')
        return REASON_BAD_TARGET; /* "/" would have to be put in front: no client sends this */
    return REASON_NONE;
}

static enum traffic_reason parse_target(struct http_request *out, const char *scheme)
{
    for (size_t i = 0; i < out->target.n; i++)
        if (out->target.p[i] <= ' ' || out->target.p[i] >= 0x7f || out->target.p[i] == '#')
            return REASON_BAD_TARGET;
    if (out->target.p[0] == '/')
        return REASON_NONE;
    if (out->target.n == 1 && out->target.p[0] == '*')
        return http_text_is(out->method, "options") ? REASON_NONE : REASON_BAD_TARGET;
    return parse_absolute(out, scheme);
}

/* What the fields say about the end of the body. */
struct framing {
    unsigned host_count, length_count, coding_count;
    struct http_text coding;
    struct http_text upgrade;
    unsigned upgrade_count;
};

static enum traffic_reason read_field(struct http_request *out, struct framing *seen,
                                      const struct http_field *f)
{
    struct http_text value = {f->value, f->value_len};

    switch ((enum http_field_id)f->id) {
    case FIELD_HOST:
        out->authority = value;
        return ++seen->host_count > 1 ? REASON_HOST_DUPLICATE : REASON_NONE;
    case FIELD_CONTENT_LENGTH:
        if (++seen->length_count > 1)
            return REASON_LENGTH_DUPLICATE;
        return h1_length_parse(&out->length, value);
    case FIELD_TRANSFER_ENCODING:
        seen->coding_count++;
        seen->coding = value;
        return REASON_NONE;
    case FIELD_EXPECT:
        if (out->minor == 0)
            return REASON_NONE;
        if (out->expects_continue || !http_text_is(value, "100-continue"))
            return REASON_EXPECT_UNKNOWN;
        out->expects_continue = true;
        return REASON_NONE;
    case FIELD_AUTHORIZATION:
        out->authorization = value;
        out->authorization_count++;
        return REASON_NONE;
    case FIELD_UPGRADE:
        seen->upgrade = value;
        seen->upgrade_count++;
        return REASON_NONE;
    case FIELD_TE: {
        struct http_text rest = value, coding;

        while (http_list_next(&rest, &coding))
            if (http_text_is(coding, "trailers"))
                out->takes_trailers = true;
        return REASON_NONE;
    }
    case FIELD_OTHER:
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_PROXY:
    case FIELD_TRAILER:
    case FIELD_HTTP2_SETTINGS:
    case FIELD_FORWARDED:
    case FIELD_DATE:
    case FIELD_NO_TRAILER:
    case FIELD_LOOKALIKE:
        break;
    }
    return REASON_NONE;
}

static enum traffic_reason decide_framing(struct http_request *out, const struct framing *seen)
{
    enum traffic_reason reason;

    if (seen->coding_count == 0) {
        out->framing = seen->length_count > 0 ? HTTP_LENGTH : HTTP_NO_BODY;
        return REASON_NONE;
    }
    if (seen->length_count > 0)
        return REASON_LENGTH_AND_CODING;
    if (out->minor == 0)
        return REASON_CODING_ON_HTTP10;
    if (seen->coding_count > 1)
        return REASON_CODING_INVALID;
    reason = h1_coding_parse(seen->coding);
    if (reason == REASON_NONE)
        out->framing = HTTP_CHUNKED;
    return reason;
}

/* An upgrade is passed on when the connection says so, there is no body in front of it, and it is
 * to something else than HTTP/2 in clear text, which would tunnel requests past us. */
static void decide_upgrade(struct http_request *out, const struct framing *seen,
                           const struct http_connection *connection)
{
    struct http_text rest = seen->upgrade, protocol;
    bool has_body =
        out->framing == HTTP_CHUNKED || (out->framing == HTTP_LENGTH && out->length > 0);

    if (!connection->has_upgrade || seen->upgrade_count != 1 ||
        seen->upgrade.n > HTTP_UPGRADE_MAX || out->minor == 0 || has_body)
        return;
    while (http_list_next(&rest, &protocol))
        if (http_text_is(protocol, "h2c") || http_text_is(protocol, "h2") ||
            (protocol.n >= 4 && http_text_is((struct http_text){protocol.p, 4}, "http")))
            return;
    out->upgrade = seen->upgrade;
}

enum traffic_reason h1_request_parse(struct http_request *out, const char *head,
                                     const struct h1_scan *scan, const struct h1_limits *limits,
                                     const char *scheme)
{
    struct framing seen = {0};
    struct http_connection connection;
    enum traffic_reason reason;

    must(scan->head_len > 0 && scan->first_len > 0);
    memset(out, 0, offsetof(struct http_request, fields));
    reason = parse_line(out, head, scan->first_len);
    if (reason == REASON_NONE)
        reason = h1_fields_parse(&out->fields, head + scan->first_len + 2, head + scan->head_len,
                                 limits->fields);
    for (unsigned i = 0; reason == REASON_NONE && i < out->fields.count; i++)
        reason = read_field(out, &seen, &out->fields.list[i]);
    if (reason == REASON_NONE)
        reason = decide_framing(out, &seen);
    if (reason == REASON_NONE && seen.host_count == 0)
        reason = REASON_HOST_MISSING;
    if (reason == REASON_NONE && !is_authority(out->authority))
        reason = REASON_HOST_INVALID;
    if (reason == REASON_NONE)
        reason = parse_target(out, scheme);
    if (reason == REASON_NONE)
        reason = http_connection_apply(&out->fields, &connection);
    if (reason != REASON_NONE)
        return reason;
    decide_upgrade(out, &seen, &connection);
    out->takes_trailers = out->takes_trailers && connection.has_te;
    out->wants_close =
        out->minor == 0 ? !connection.has_keep_alive || connection.has_close : connection.has_close;
    return h1_second_opinion(head, scan->head_len,
                             &(struct h1_opinion){.is_request = true,
                                                  .minor = out->minor,
                                                  .field_count = out->fields.count,
                                                  .method = out->method,
                                                  .framing = out->framing,
                                                  .has_length = seen.length_count > 0,
                                                  .length = out->length})
               ? REASON_NONE
               : REASON_PARSERS_DISAGREE;
}
