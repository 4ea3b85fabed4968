/* http_head - see http_head.h. */
#include "traffic/http_head.h"

#include <string.h>

#include "base/must.h"

#define CONNECTION_TOKENS_MAX 32u

enum { TOKEN = 1, VALUE = 2 };

/* Classes of bytes: tchar of RFC 9110 5.6.2, and what a field's value may hold (5.5). */
static const uint8_t class_of[256] = {
    ['\t'] = VALUE,
    [' '] = VALUE,
    ['!'] = TOKEN | VALUE,
    ['"'] = VALUE,
    ['#'] = TOKEN | VALUE,
    ['$'] = TOKEN | VALUE,
    ['%'] = TOKEN | VALUE,
    ['&'] = TOKEN | VALUE,
    ['\''] = TOKEN | VALUE,
    ['('] = VALUE,
    [')'] = VALUE,
    ['*'] = TOKEN | VALUE,
    ['+'] = TOKEN | VALUE,
    [','] = VALUE,
    ['-'] = TOKEN | VALUE,
    ['.'] = TOKEN | VALUE,
    ['/'] = VALUE,
    ['0' ... '9'] = TOKEN | VALUE,
    [':'] = VALUE,
    [';'] = VALUE,
    ['<'] = VALUE,
    ['='] = VALUE,
    ['>'] = VALUE,
    ['?'] = VALUE,
    ['@'] = VALUE,
    ['A' ... 'Z'] = TOKEN | VALUE,
    ['['] = VALUE,
    ['\\'] = VALUE,
    [']'] = VALUE,
    ['^'] = TOKEN | VALUE,
    ['_'] = TOKEN | VALUE,
    ['`'] = TOKEN | VALUE,
    ['a' ... 'z'] = TOKEN | VALUE,
    ['{'] = VALUE,
    ['|'] = TOKEN | VALUE,
    ['}'] = VALUE,
    ['~'] = TOKEN | VALUE,
    [0x80 ... 0xff] = VALUE,
};

struct known_field {
    const char *name; /* lower case; NULL ends the list */
    uint8_t id;
};

/* By their length: a name is compared with a few at most. */
#define NAMES(...)                                                                                 \
    (const struct known_field[])                                                                   \
    {                                                                                              \
        __VA_ARGS__,                                                                               \
        {                                                                                          \
            NULL, FIELD_OTHER                                                                      \
        }                                                                                          \
    }
static const struct known_field *const known[] = {
    [2] = NAMES({"te", FIELD_TE}),
    [4] = NAMES({"host", FIELD_HOST}, {"date", FIELD_DATE}, {"vary", FIELD_NO_TRAILER}),
    [5] = NAMES({"proxy", FIELD_PROXY}, {"range", FIELD_NO_TRAILER}),
    [6] = NAMES({"expect", FIELD_EXPECT}, {"cookie", FIELD_NO_TRAILER}),
    [7] = NAMES({"trailer", FIELD_TRAILER}, {"upgrade", FIELD_UPGRADE}),
    [8] = NAMES({"location", FIELD_NO_TRAILER}),
    [9] = NAMES({"forwarded", FIELD_FORWARDED}, {"x-real-ip", FIELD_FORWARDED}),
    [10] = NAMES({"connection", FIELD_CONNECTION}, {"keep-alive", FIELD_KEEP_ALIVE},
                 {"set-cookie", FIELD_NO_TRAILER}),
    [12] = NAMES({"content-type", FIELD_NO_TRAILER}, {"max-forwards", FIELD_NO_TRAILER},
                 {"x-request-id", FIELD_REQUEST_ID}),
    [13] = NAMES({"authorization", FIELD_AUTHORIZATION}, {"content-range", FIELD_NO_TRAILER},
                 {"cache-control", FIELD_NO_TRAILER}),
    [14] =
        NAMES({"content-length", FIELD_CONTENT_LENGTH}, {"http2-settings", FIELD_HTTP2_SETTINGS}),
    [16] = NAMES({"proxy-connection", FIELD_PROXY_CONNECTION},
                 {"content-encoding", FIELD_NO_TRAILER}, {"www-authenticate", FIELD_NO_TRAILER}),
    [17] = NAMES({"transfer-encoding", FIELD_TRANSFER_ENCODING}),
    [18] = NAMES({"proxy-authenticate", FIELD_NO_TRAILER}),
    [19] = NAMES({"proxy-authorization", FIELD_NO_TRAILER}),
};
#undef NAMES

#define X_FORWARDED "x-forwarded"

unsigned char http_lower(char c)
{
    unsigned char u = (unsigned char)c;

    return (unsigned char)(u >= 'A' && u <= 'Z' ? u | 0x20 : u);
}

bool http_is_token_char(char c)
{
    return class_of[(unsigned char)c] & TOKEN;
}

bool http_is_value_char(char c)
{
    return class_of[(unsigned char)c] & VALUE;
}

#define EACH_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Of the eight bytes at p, whether one is below a blank, or DEL. */
static bool has_control(const char *p)
{
    uint64_t word, del;

    memcpy(&word, p, sizeof(word));
    del = word ^ EACH_BYTE(0x7f);
    return (((word - EACH_BYTE(' ')) & ~word) | ((del - EACH_BYTE(1)) & ~del)) & EACH_BYTE(0x80);
}

const char *http_value_end(const char *p, const char *end)
{
    if (end - p >= 8) {
        while (end - p > 8 && !has_control(p))
            p += 8;
        if (end - p <= 8 && !has_control(end - 8))
            return end;
    }
    while (p < end && http_is_value_char(*p)) /* a TAB is one */
        p++;
    return p;
}

bool http_is_lower_same(const char *p, const char *lower, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (http_lower(p[i]) != (unsigned char)lower[i])
            return false;
    return true;
}

bool http_text_is_same(struct http_text a, struct http_text b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (http_lower(a.p[i]) != http_lower(b.p[i]))
            return false;
    return true;
}

static enum http_field_id find_known(struct http_text name)
{
    const struct known_field *k = name.n < ARRAY_LEN(known) ? known[name.n] : NULL;

    for (; k && k->name; k++)
        if (http_is_lower_same(name.p, k->name, name.n))
            return (enum http_field_id)k->id;
    if (http_lower(name.p[0]) == 'x' && name.n >= sizeof(X_FORWARDED) - 1 &&
        http_is_lower_same(name.p, X_FORWARDED, sizeof(X_FORWARDED) - 1))
        return FIELD_FORWARDED;
    return FIELD_OTHER;
}

/* A server that hands fields on as variables turns "-" into "_" (CGI), and some turn every other
 * character into it: a name that becomes one of ours in that way is the same field to the origin.
 */
static enum http_field_id find_disguised(struct http_text name)
{
    char plain[24];
    enum http_field_id id;

    for (size_t i = 0; i < MIN(name.n, sizeof(plain)); i++) {
        unsigned char c = http_lower(name.p[i]);

        plain[i] = (char)((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '-');
    }
    id = find_known((struct http_text){plain, MIN(name.n, sizeof(plain))});
    return id == FIELD_OTHER || id == FIELD_NO_TRAILER || id == FIELD_DATE ? FIELD_OTHER
                                                                           : FIELD_LOOKALIKE;
}

enum http_field_id http_field_id_of(struct http_text name)
{
    enum http_field_id id;

    if (name.n == 0)
        return FIELD_OTHER;
    id = find_known(name);
    if (id != FIELD_OTHER)
        return id;
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = http_lower(name.p[i]);

        if (c != '-' && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9'))
            return find_disguised(name);
    }
    return FIELD_OTHER;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

bool http_list_next(struct http_text *rest, struct http_text *element)
{
    while (rest->n > 0) {
        const char *comma = memchr(rest->p, ',', rest->n);
        size_t n = comma ? (size_t)(comma - rest->p) : rest->n;
        const char *p = rest->p;
        size_t used = comma ? n + 1 : n;

        rest->p += used;
        rest->n -= used;
        while (n > 0 && is_blank(*p)) {
            p++;
            n--;
        }
        while (n > 0 && is_blank(p[n - 1]))
            n--;
        if (n > 0) {
            *element = (struct http_text){p, n};
            return true;
        }
    }
    return false;
}

/* What Connection may name: never what frames or routes a message, nor what we vouch for. */
static bool may_be_named(enum http_field_id id)
{
    switch (id) {
    case FIELD_OTHER:
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_PROXY:
    case FIELD_TE:
    case FIELD_TRAILER:
    case FIELD_UPGRADE:
    case FIELD_HTTP2_SETTINGS:
    case FIELD_REQUEST_ID:
        return true;
    case FIELD_HOST:
    case FIELD_CONTENT_LENGTH:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_EXPECT:
    case FIELD_AUTHORIZATION:
    case FIELD_FORWARDED:
    case FIELD_DATE:
    case FIELD_NO_TRAILER:
    case FIELD_LOOKALIKE:
        return false;
    }
    return false;
}

static bool is_hop_by_hop(enum http_field_id id)
{
    return id == FIELD_CONNECTION || id == FIELD_KEEP_ALIVE || id == FIELD_PROXY_CONNECTION ||
           id == FIELD_PROXY || id == FIELD_TE || id == FIELD_UPGRADE ||
           id == FIELD_HTTP2_SETTINGS || id == FIELD_TRANSFER_ENCODING;
}

static enum traffic_reason apply_token(struct http_fields *fields, struct http_text token,
                                       struct http_connection *out)
{
    if (http_text_is(token, "close")) {
        out->has_close = true;
        return REASON_NONE;
    }
    if (http_text_is(token, "keep-alive")) {
        out->has_keep_alive = true;
        return REASON_NONE;
    }
    if (http_text_is(token, "upgrade")) {
        out->has_upgrade = true;
        return REASON_NONE;
    }
    if (http_text_is(token, "te")) {
        out->has_te = true;
        return REASON_NONE;
    }
    for (size_t i = 0; i < token.n; i++)
        if (!http_is_token_char(token.p[i]))
            return REASON_CONNECTION_INVALID;
    if (!may_be_named(http_field_id_of(token)))
        return REASON_CONNECTION_INVALID;
    for (unsigned i = 0; i < fields->count; i++) {
        struct http_field *f = &fields->list[i];

        if (http_text_is_same((struct http_text){f->name, f->name_len}, token))
            f->is_dropped = true;
    }
    return REASON_NONE;
}

enum traffic_reason http_connection_apply(struct http_fields *fields, struct http_connection *out)
{
    unsigned tokens = 0;

    *out = (struct http_connection){0};
    for (unsigned i = 0; i < fields->count; i++) {
        struct http_field *f = &fields->list[i];
        struct http_text rest = {f->value, f->value_len}, token;

        if (is_hop_by_hop((enum http_field_id)f->id))
            f->is_dropped = true;
        if (f->id != FIELD_CONNECTION)
            continue;
        while (http_list_next(&rest, &token)) {
            enum traffic_reason reason;

            if (++tokens > CONNECTION_TOKENS_MAX)
                return REASON_CONNECTION_INVALID;
            reason = apply_token(fields, token, out);
            if (reason != REASON_NONE)
                return reason;
        }
    }
    return REASON_NONE;
}

void http_trailers_filter(struct http_fields *fields)
{
    for (unsigned i = 0; i < fields->count; i++)
        if (fields->list[i].id != FIELD_OTHER)
            fields->list[i].is_dropped = true;
}

const char *http_status_phrase(unsigned status)
{
    switch (status) {
    case 301:
        return "Moved Permanently";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 417:
        return "Expectation Failed";
    case 421:
        return "Misdirected Request";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 501:
        return "Not Implemented";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "";
    }
}
