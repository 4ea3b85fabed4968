/* h1_request - see h1_request.h. */
#include "traffic/h1_request.h"

#include <string.h>

#include "base/must.h"
#include "traffic/http_request.h"

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

/* method SP target SP version, one blank each (RFC 9112 3). */
static enum traffic_reason parse_line(struct http_request *out, const char *line, size_t n)
{
    const char *first = memchr(line, ' ', n), *second, *bad = http_value_end(line, line + n);
    enum traffic_reason reason;

    if (n == sizeof(http2_preface) - 1 && memcmp(line, http2_preface, n) == 0)
        return REASON_HTTP2_PREFACE;
    if (bad != line + n)
        return *bad == '\r' ? REASON_BARE_CR : REASON_BAD_BYTE;
    if (!first)
        return REASON_BAD_REQUEST_LINE;
    second = memchr(first + 1, ' ', (size_t)(line + n - first - 1));
    if (!second || second == first + 1)
        return REASON_BAD_REQUEST_LINE;
    out->method = (struct http_text){line, (size_t)(first - line)};
    out->target = (struct http_text){first + 1, (size_t)(second - first - 1)};
    reason = parse_version(&out->minor, second + 1, (size_t)(line + n - second - 1));
    return reason != REASON_NONE ? reason : http_method_check(out);
}

enum traffic_reason h1_request_line_check(const char *line, size_t n)
{
    struct http_request scratch;

    return parse_line(&scratch, line, n);
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
    if (!http_is_authority(authority))
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
    enum traffic_reason reason = http_target_check_bytes(out);

    if (reason != REASON_NONE || http_target_is_plain(out))
        return reason;
    if (out->target.n == 1 && out->target.p[0] == '*')
        return REASON_BAD_TARGET;
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
    case FIELD_REQUEST_ID:
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
    bool has_body =
        out->framing == HTTP_CHUNKED || (out->framing == HTTP_LENGTH && out->length > 0);

    if (!connection->has_upgrade || seen->upgrade_count != 1 ||
        seen->upgrade.n > HTTP_UPGRADE_MAX || out->minor == 0 || has_body)
        return;
    if (http_may_upgrade(seen->upgrade))
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
    out->fields.count = 0;
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
    if (reason == REASON_NONE && !http_is_authority(out->authority))
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
