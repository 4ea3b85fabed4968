/* url - see url.h. */
#include "ws/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "loop/addr.h"

static const struct {
    const char *prefix;
    bool is_secure;
} schemes[] = {{"ws://", false}, {"wss://", true}, {"http://", false}, {"https://", true}};

static const char *skip_scheme(struct ws_url *out, const char *text)
{
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t n = strlen(schemes[i].prefix);

        if (strncasecmp(text, schemes[i].prefix, n) == 0) {
            out->is_secure = schemes[i].is_secure;
            return text + n;
        }
    }
    return NULL;
}

static bool is_name(const char *host)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";

    return host[0] != '\0' && host[0] != '.' && host[0] != '-' &&
           host[strspn(host, allowed)] == '\0';
}

/* 1 to 65535 in decimal, nothing else; 0: it is none. */
static uint16_t read_port(const char *text, size_t n)
{
    unsigned port = 0;

    if (n == 0 || n > 5)
        return 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return 0;
        port = 10 * port + (unsigned)(text[i] - '0');
    }
    return port <= 65535 ? (uint16_t)port : 0;
}

/* "host", "host:port", "[v6]", "[v6]:port". */
static const char *read_authority(struct ws_url *out, const char *text, size_t n)
{
    bool is_v6 = n > 0 && text[0] == '[';
    const char *end = is_v6 ? memchr(text, ']', n) : memchr(text, ':', n);
    const char *host = is_v6 ? text + 1 : text;
    size_t host_len = end ? (size_t)(end - host) : n;
    union addr probe;

    if (is_v6 && !end)
        return "the address in brackets has no end";
    if (host_len == 0 || host_len > WS_HOST_MAX)
        return "must name a host of at most 253 characters";
    memcpy(out->host, host, host_len);
    out->host[host_len] = '\0';
    if (is_v6 ? addr_parse_host(&probe, out->host, 0) != 0 || !strchr(out->host, ':')
              : !is_name(out->host))
        return "is no host name or address";
    end = host + host_len + (is_v6 ? 1 : 0);
    out->port = out->is_secure ? 443 : 80;
    if (end < text + n) {
        out->port = *end == ':' ? read_port(end + 1, (size_t)(text + n - end - 1)) : 0;
        if (out->port == 0)
            return "the port must be 1 to 65535";
    }
    if (out->port == (out->is_secure ? 443 : 80))
        snprintf(out->authority, sizeof(out->authority), is_v6 ? "[%s]" : "%s", out->host);
    else
        snprintf(out->authority, sizeof(out->authority), is_v6 ? "[%s]:%u" : "%s:%u", out->host,
                 (unsigned)out->port);
    return NULL;
}

static const char *read_target(struct ws_url *out, const char *text)
{
    size_t n = strlen(text);

    if (n >= WS_TARGET_MAX)
        return "the path is longer than 1,023 characters";
    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] >= 0x7f || strchr("\"<>\\^`{|}#", text[i]))
            return "the path may hold printable ASCII only, and no fragment";
    snprintf(out->target, sizeof(out->target), "%s%s", text[0] == '/' ? "" : "/", text);
    return NULL;
}

int ws_url_parse(struct ws_url *out, const char *text, const char **why)
{
    const char *rest;

    memset(out, 0, sizeof(*out));
    rest = skip_scheme(out, text);
    if (!rest) {
        *why = "must begin with ws://, wss://, http:// or https://";
        return -ERR_SYNTAX;
    }
    size_t n = strcspn(rest, "/?#");
    *why =
        memchr(rest, '@', n) ? "must hold no user and no password" : read_authority(out, rest, n);
    if (!*why)
        *why = read_target(out, rest + n);
    return *why ? -ERR_SYNTAX : 0;
}
