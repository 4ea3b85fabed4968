/* http_request - see http_request.h. */
#include "traffic/http_request.h"

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

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

enum traffic_reason http_method_check(struct http_request *r)
{
    for (size_t i = 0; i < r->method.n; i++)
        if (!http_is_token_char(r->method.p[i]))
            return REASON_BAD_METHOD;
    if (r->method.n == 0)
        return REASON_BAD_METHOD;
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (methods[i].len == r->method.n &&
            memcmp(methods[i].name, r->method.p, r->method.n) == 0) {
            r->is_idempotent = methods[i].is_idempotent;
            r->is_head = i == 2;
            return methods[i].is_refused ? REASON_METHOD_REFUSED : REASON_NONE;
        }
    return REASON_METHOD_UNKNOWN;
}

bool http_is_authority(struct http_text t)
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

enum traffic_reason http_target_check_bytes(const struct http_request *r)
{
    for (size_t i = 0; i < r->target.n; i++)
        if (r->target.p[i] <= ' ' || r->target.p[i] >= 0x7f || r->target.p[i] == '#')
            return REASON_BAD_TARGET;
    return r->target.n > 0 ? REASON_NONE : REASON_BAD_TARGET;
}

bool http_target_is_plain(const struct http_request *r)
{
    if (r->target.p[0] == '/')
        return true;
    return r->target.n == 1 && r->target.p[0] == '*' && http_text_is(r->method, "options");
}

bool http_may_upgrade(struct http_text protocols)
{
    struct http_text protocol;

    while (http_list_next(&protocols, &protocol))
        if (http_text_is(protocol, "h2c") || http_text_is(protocol, "h2") ||
            (protocol.n >= 4 && http_text_is((struct http_text){protocol.p, 4}, "http")))
            return false;
    return true;
}
