/* h2_head - see h2_head.h. */
#include "traffic/h2_head.h"

#include <assert.h>
#include <string.h>

#include "base/err.h"
#include "traffic/http_request.h"

static_assert(HTTP_ACCEPT_MAX >= WS_ACCEPT_TEXT, "an accept and its end");

/* In front of each field in h->text. */
struct lengths {
    uint16_t name, value;
};

void h2_head_fini(struct h2_head *h)
{
    h1_gather_fini(&h->text);
    *h = (struct h2_head){0};
}

static void fail(struct h2_head *h, enum traffic_reason reason)
{
    if (h->reason == REASON_NONE)
        h->reason = reason;
}

void h2_head_give_up(struct h2_head *h, enum traffic_reason reason)
{
    h1_gather_fini(&h->text);
    fail(h, reason);
}

static enum traffic_reason check_field(struct http_text name, struct http_text value)
{
    size_t start = name.n > 0 && name.p[0] == ':';

    if (name.n == start)
        return REASON_BAD_FIELD_NAME;
    for (size_t i = start; i < name.n; i++)
        if (!http_is_token_char(name.p[i]) || (name.p[i] >= 'A' && name.p[i] <= 'Z'))
            return REASON_BAD_FIELD_NAME;
    if (http_value_end(value.p, value.p + value.n) != value.p + value.n)
        return REASON_BAD_FIELD_VALUE;
    return REASON_NONE;
}

static int keep(struct h2_head *h, struct http_text name, struct http_text value)
{
    struct lengths lengths = {(uint16_t)name.n, (uint16_t)value.n};
    char *at = h1_gather_extend(&h->text, sizeof(lengths) + name.n + value.n);

    if (!at)
        return -ERR_NOMEM;
    memcpy(at, &lengths, sizeof(lengths));
    memcpy(at + sizeof(lengths), name.p, name.n);
    if (value.n > 0)
        memcpy(at + sizeof(lengths) + name.n, value.p, value.n);
    return 0;
}

bool h2_head_add(struct h2_head *h, struct http_text name, struct http_text value,
                 const struct h1_limits *limits)
{
    enum traffic_reason reason;

    h->bytes += name.n + value.n + H2_FIELD_COST;
    h->count += name.n == 0 || name.p[0] != ':';
    h->is_extended = h->is_extended || http_text_is(name, ":protocol");
    if (h->bytes > H2_HEAD_FLOOD * limits->head_bytes || h->count > H2_HEAD_FLOOD * limits->fields)
        return false;
    if (h->bytes > limits->head_bytes)
        fail(h, REASON_HEADER_TOO_LARGE);
    if (h->count > limits->fields)
        fail(h, REASON_TOO_MANY_FIELDS);
    reason = check_field(name, value);
    if (reason != REASON_NONE)
        fail(h, reason);
    if (h->reason == REASON_NONE && keep(h, name, value) != 0)
        fail(h, REASON_NO_MEMORY);
    return true;
}

/* --- reading it ---------------------------------------------------------------------------- */

/* The field at *at; false at the end. */
static bool next_field(const struct h2_head *h, size_t end, size_t *at, struct http_text *name,
                       struct http_text *value)
{
    struct lengths lengths;

    if (*at == end)
        return false;
    memcpy(&lengths, h->text.bytes + *at, sizeof(lengths));
    *name = (struct http_text){h->text.bytes + *at + sizeof(lengths), lengths.name};
    *value = (struct http_text){name->p + name->n, lengths.value};
    *at += sizeof(lengths) + lengths.name + lengths.value;
    must(*at <= end);
    return true;
}

static void put_field(struct http_fields *fields, struct http_text name, struct http_text value)
{
    struct http_field *f = &fields->list[fields->count++];

    *f = (struct http_field){.name = name.p,
                             .value = value.p,
                             .name_len = (uint16_t)name.n,
                             .value_len = (uint16_t)value.n,
                             .id = (uint8_t)http_field_id_of(name)};
}

static bool is_cookie(struct http_text name)
{
    return name.n == 6 && memcmp(name.p, "cookie", 6) == 0;
}

/* Behind the fields: what the crumbs of Cookie make when they are put together (RFC 9113 8.2.3).
 * `end` is where the fields end.  Empty when there are fewer than two. */
static enum traffic_reason join_cookies(struct h2_head *h, size_t end)
{
    struct http_text name, value;
    unsigned crumbs = 0;
    size_t used;

    for (size_t at = 0; next_field(h, end, &at, &name, &value);)
        crumbs += is_cookie(name);
    if (crumbs < 2)
        return REASON_NONE;
    for (size_t at = 0; next_field(h, end, &at, &name, &value);) {
        size_t begin = (size_t)(value.p - h->text.bytes);
        char scratch[256];

        if (!is_cookie(name))
            continue;
        if (h->text.len > end && h1_gather_add(&h->text, "; ", 2, SIZE_MAX / 2, &used) != 0)
            return REASON_NO_MEMORY;
        for (size_t from = 0; from < value.n; from += sizeof(scratch)) { /* it may move */
            size_t part = MIN(value.n - from, sizeof(scratch));

            memcpy(scratch, h->text.bytes + begin + from, part);
            if (h1_gather_add(&h->text, scratch, part, SIZE_MAX / 2, &used) != 0)
                return REASON_NO_MEMORY;
        }
    }
    return REASON_NONE;
}

/* The pseudo fields and what else of a head means something to us. */
struct seen {
    struct http_text scheme, protocol, authority, host;
    unsigned pseudo, method_count, path_count, scheme_count, host_count, authority_count,
        protocol_count, length_count;
};

static enum traffic_reason read_pseudo(struct http_request *out, struct seen *seen,
                                       struct http_text name, struct http_text value)
{
    seen->pseudo++;
    if (http_text_is(name, ":method")) {
        out->method = value;
        return ++seen->method_count > 1 ? REASON_BAD_REQUEST_LINE : REASON_NONE;
    }
    if (http_text_is(name, ":path")) {
        out->target = value;
        return ++seen->path_count > 1 ? REASON_BAD_REQUEST_LINE : REASON_NONE;
    }
    if (http_text_is(name, ":scheme")) {
        seen->scheme = value;
        return ++seen->scheme_count > 1 ? REASON_BAD_REQUEST_LINE : REASON_NONE;
    }
    if (http_text_is(name, ":authority")) {
        seen->authority = value;
        return ++seen->authority_count > 1 ? REASON_HOST_DUPLICATE : REASON_NONE;
    }
    if (http_text_is(name, ":protocol")) {
        seen->protocol = value;
        return ++seen->protocol_count > 1 ? REASON_BAD_REQUEST_LINE : REASON_NONE;
    }
    return REASON_BAD_FIELD_NAME;
}

static enum traffic_reason read_field(struct http_request *out, struct seen *seen,
                                      const struct http_field *f)
{
    struct http_text value = {f->value, f->value_len};

    switch ((enum http_field_id)f->id) {
    case FIELD_HOST:
        seen->host = value;
        return ++seen->host_count > 1 ? REASON_HOST_DUPLICATE : REASON_NONE;
    case FIELD_CONTENT_LENGTH:
        if (++seen->length_count > 1)
            return REASON_LENGTH_DUPLICATE;
        return h1_length_parse(&out->length, value);
    case FIELD_TRANSFER_ENCODING: /* RFC 9113 8.2.2 */
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_UPGRADE:
        return REASON_CONNECTION_INVALID;
    case FIELD_TE:
        if (!http_text_is(value, "trailers"))
            return REASON_CONNECTION_INVALID;
        out->takes_trailers = true;
        return REASON_NONE;
    case FIELD_EXPECT:
        if (out->expects_continue || !http_text_is(value, "100-continue"))
            return REASON_EXPECT_UNKNOWN;
        out->expects_continue = true;
        return REASON_NONE;
    case FIELD_AUTHORIZATION:
        out->authorization = value;
        out->authorization_count++;
        return REASON_NONE;
    case FIELD_OTHER:
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

static enum traffic_reason read_fields(struct h2_head *h, struct http_request *out,
                                       struct seen *seen)
{
    size_t end = h->text.len;
    enum traffic_reason reason = join_cookies(h, end);
    bool has_joined = h->text.len > end, has_cookie = false;
    struct http_text name, value;

    for (size_t at = 0; reason == REASON_NONE && next_field(h, end, &at, &name, &value);) {
        if (name.p[0] == ':') {
            reason =
                out->fields.count > 0 ? REASON_BAD_FIELD_NAME : read_pseudo(out, seen, name, value);
            continue;
        }
        if (is_cookie(name) && has_joined) {
            if (has_cookie)
                continue;
            has_cookie = true;
            value = (struct http_text){h->text.bytes + end, h->text.len - end};
        }
        must(out->fields.count < HTTP_FIELDS_MAX);
        put_field(&out->fields, name, value);
        reason = read_field(out, seen, &out->fields.list[out->fields.count - 1]);
    }
    return reason;
}

static enum traffic_reason decide_authority(struct http_request *out, const struct seen *seen)
{
    if (seen->authority_count == 0 && seen->host_count == 0)
        return REASON_HOST_MISSING;
    out->authority = seen->authority_count > 0 ? seen->authority : seen->host;
    if (!http_is_authority(out->authority))
        return REASON_HOST_INVALID;
    if (seen->authority_count > 0 && seen->host_count > 0 &&
        !http_text_is_same(seen->authority, seen->host))
        return REASON_HOST_MISMATCH;
    return REASON_NONE;
}

/* RFC 8441: an extended CONNECT goes on as a GET with an upgrade.  Its key and version are of the
 * hop in front of us, if they came at all. */
static enum traffic_reason make_websocket(struct http_request *out, const struct h2_websocket *w,
                                          struct http_text protocol)
{
    bool has_version = false;

    if (!http_text_is(out->method, "connect"))
        return REASON_BAD_METHOD;
    if (!http_text_is(protocol, "websocket"))
        return REASON_UPGRADE_UNKNOWN;
    if (out->framing == HTTP_LENGTH)
        return REASON_LENGTH_INVALID;
    for (unsigned i = 0; i < out->fields.count; i++) {
        struct http_field *f = &out->fields.list[i];
        struct http_text name = {f->name, f->name_len};

        if (http_text_is(name, "sec-websocket-key") || http_text_is(name, "sec-websocket-accept"))
            f->is_dropped = true;
        has_version = has_version || http_text_is(name, "sec-websocket-version");
    }
    if (out->fields.count + 2 > HTTP_FIELDS_MAX)
        return REASON_TOO_MANY_FIELDS;
    put_field(&out->fields, (struct http_text){"Sec-WebSocket-Key", 17},
              (struct http_text){w->key, strlen(w->key)});
    if (!has_version)
        put_field(&out->fields, (struct http_text){"Sec-WebSocket-Version", 21},
                  (struct http_text){"13", 2});
    out->method = (struct http_text){"GET", 3};
    out->upgrade = protocol;
    out->framing = HTTP_NO_BODY;
    out->websocket_accept = (struct http_text){w->accept, strlen(w->accept)};
    return http_method_check(out);
}

static enum traffic_reason check_request(struct http_request *out, const struct seen *seen,
                                         const struct h2_websocket *w)
{
    enum traffic_reason reason;

    if (seen->method_count == 0)
        return REASON_BAD_METHOD;
    if (seen->protocol_count > 0) {
        reason = make_websocket(out, w, seen->protocol);
    } else {
        reason = http_method_check(out);
    }
    if (reason != REASON_NONE)
        return reason;
    if (seen->path_count == 0 || seen->scheme_count == 0 || !http_text_is(seen->scheme, "https"))
        return REASON_BAD_TARGET;
    reason = http_target_check_bytes(out);
    if (reason == REASON_NONE && !http_target_is_plain(out))
        reason = REASON_BAD_TARGET;
    return reason == REASON_NONE ? decide_authority(out, seen) : reason;
}

enum traffic_reason h2_head_request(struct h2_head *h, struct http_request *out, bool ended,
                                    const struct h2_websocket *w)
{
    struct seen seen = {0};
    enum traffic_reason reason;

    memset(out, 0, offsetof(struct http_request, fields));
    out->fields.count = 0;
    out->minor = 1;
    reason = read_fields(h, out, &seen);
    if (h->reason != REASON_NONE)
        reason = h->reason;
    if (reason != REASON_NONE)
        return reason;
    if (seen.length_count > 0)
        out->framing = HTTP_LENGTH;
    else if (!ended)
        out->framing = HTTP_CHUNKED;
    if (ended && out->length > 0)
        return REASON_LENGTH_INVALID;
    return check_request(out, &seen, w);
}

enum traffic_reason h2_head_trailers(struct h2_head *h, struct http_fields *out, size_t max_bytes)
{
    struct http_text name, value;

    out->count = 0;
    if (h->reason != REASON_NONE)
        return h->reason;
    if (h->bytes > max_bytes)
        return REASON_TRAILER_TOO_LARGE;
    for (size_t at = 0; next_field(h, h->text.len, &at, &name, &value);) {
        if (name.p[0] == ':')
            return REASON_TRAILER_INVALID;
        put_field(out, name, value);
    }
    return REASON_NONE;
}
