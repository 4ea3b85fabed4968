/* addr - see addr.h. */
#include "loop/addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

/* Digits alone, no sign, no leading zero but "0" itself. */
static int parse_port(const char *text, uint16_t *port)
{
    unsigned value = 0;
    size_t len = strlen(text);

    if (len == 0 || len > 5 || (len > 1 && text[0] == '0'))
        return -ERR_SYNTAX;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -ERR_SYNTAX;
        value = value * 10 + (unsigned)(*text - '0');
    }
    if (value > UINT16_MAX)
        return -ERR_SYNTAX;
    *port = (uint16_t)value;
    return 0;
}

/* The part behind '%': an interface's name or its number.  0: there is none such. */
static uint32_t parse_scope(const char *text)
{
    unsigned index = if_nametoindex(text);
    char *end;

    if (index)
        return index;
    if (*text < '0' || *text > '9')
        return 0;
    unsigned long value = strtoul(text, &end, 10);
    return *end == '\0' && value <= UINT32_MAX ? (uint32_t)value : 0;
}

static int parse_ipv6(struct sockaddr_in6 *out, char *text)
{
    char *percent = strchr(text, '%');

    *out = (struct sockaddr_in6){.sin6_family = AF_INET6};
    if (percent) {
        *percent = '\0';
        out->sin6_scope_id = parse_scope(percent + 1);
        if (out->sin6_scope_id == 0)
            return -ERR_SYNTAX;
    }
    return inet_pton(AF_INET6, text, &out->sin6_addr) == 1 ? 0 : -ERR_SYNTAX;
}

/* An address of `len` characters; brackets promise IPv6. */
static int parse_host(union addr *out, const char *text, size_t len, bool has_brackets)
{
    char host[ADDR_TEXT_MAX];

    if (len == 0 || len >= sizeof(host))
        return -ERR_SYNTAX;
    memcpy(host, text, len);
    host[len] = '\0';
    memset(out, 0, sizeof(*out));
    if (has_brackets || strchr(host, ':'))
        return parse_ipv6(&out->in6, host);
    out->in.sin_family = AF_INET;
    return inet_pton(AF_INET, host, &out->in.sin_addr) == 1 ? 0 : -ERR_SYNTAX;
}

int addr_parse_host(union addr *out, const char *text, uint16_t port)
{
    size_t len = strlen(text);
    bool has_brackets = len >= 2 && text[0] == '[' && text[len - 1] == ']';
    union addr a;

    if (parse_host(&a, text + has_brackets, len - 2 * has_brackets, has_brackets) != 0)
        return -ERR_SYNTAX;
    addr_set_port(&a, port);
    *out = a;
    return 0;
}

int addr_parse(union addr *out, const char *text)
{
    const char *colon = strrchr(text, ':');
    uint16_t port;
    size_t len;
    union addr a;

    if (!colon || parse_port(colon + 1, &port) != 0)
        return -ERR_SYNTAX;
    len = (size_t)(colon - text);
    if (len == 0)
        return addr_parse_host(out, "::", port);
    bool has_brackets = len >= 2 && text[0] == '[' && text[len - 1] == ']';
    if (!has_brackets && memchr(text, ':', len)) /* where would the port begin? */
        return -ERR_SYNTAX;
    if (parse_host(&a, text + has_brackets, len - 2 * has_brackets, has_brackets) != 0)
        return -ERR_SYNTAX;
    addr_set_port(&a, port);
    *out = a;
    return 0;
}

const char *addr_format_host(const union addr *a, char out[ADDR_TEXT_MAX])
{
    union addr plain = *a;

    addr_unmap(&plain);
    if (plain.sa.sa_family == AF_INET) {
        inet_ntop(AF_INET, &plain.in.sin_addr, out, ADDR_TEXT_MAX);
        return out;
    }
    if (plain.sa.sa_family != AF_INET6) {
        strncpy(out, "-", ADDR_TEXT_MAX);
        return out;
    }
    inet_ntop(AF_INET6, &plain.in6.sin6_addr, out, ADDR_TEXT_MAX);
    if (plain.in6.sin6_scope_id) {
        char name[IF_NAMESIZE];
        size_t len = strlen(out);

        if (if_indextoname(plain.in6.sin6_scope_id, name))
            snprintf(out + len, ADDR_TEXT_MAX - len, "%%%s", name);
        else
            snprintf(out + len, ADDR_TEXT_MAX - len, "%%%u", plain.in6.sin6_scope_id);
    }
    return out;
}

const char *addr_format(const union addr *a, char out[ADDR_TEXT_MAX])
{
    char host[ADDR_TEXT_MAX];

    addr_format_host(a, host);
    if (strchr(host, ':'))
        snprintf(out, ADDR_TEXT_MAX, "[%.54s]:%u", host, addr_port(a));
    else if (addr_len(a) > 0)
        snprintf(out, ADDR_TEXT_MAX, "%.54s:%u", host, addr_port(a));
    else
        snprintf(out, ADDR_TEXT_MAX, "-");
    return out;
}

socklen_t addr_len(const union addr *a)
{
    if (a->sa.sa_family == AF_INET)
        return sizeof(a->in);
    return a->sa.sa_family == AF_INET6 ? sizeof(a->in6) : 0;
}

uint16_t addr_port(const union addr *a)
{
    if (a->sa.sa_family == AF_INET)
        return ntohs(a->in.sin_port);
    return a->sa.sa_family == AF_INET6 ? ntohs(a->in6.sin6_port) : 0;
}

void addr_set_port(union addr *a, uint16_t port)
{
    if (a->sa.sa_family == AF_INET)
        a->in.sin_port = htons(port);
    else if (a->sa.sa_family == AF_INET6)
        a->in6.sin6_port = htons(port);
}

void addr_unmap(union addr *a)
{
    struct sockaddr_in in = {.sin_family = AF_INET};

    if (a->sa.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
        return;
    in.sin_port = a->in6.sin6_port;
    memcpy(&in.sin_addr, &a->in6.sin6_addr.s6_addr[12], sizeof(in.sin_addr));
    memset(a, 0, sizeof(*a));
    a->in = in;
}

bool addr_is_any(const union addr *a)
{
    if (a->sa.sa_family == AF_INET)
        return a->in.sin_addr.s_addr == htonl(INADDR_ANY);
    return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

bool addr_is_loopback(const union addr *a)
{
    union addr plain = *a;

    addr_unmap(&plain);
    if (plain.sa.sa_family == AF_INET)
        return ntohl(plain.in.sin_addr.s_addr) >> 24 == 127;
    return plain.sa.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&plain.in6.sin6_addr);
}

bool addr_is_same_host(const union addr *a, const union addr *b)
{
    union addr x = *a, y = *b;

    addr_unmap(&x);
    addr_unmap(&y);
    if (x.sa.sa_family != y.sa.sa_family)
        return false;
    if (x.sa.sa_family == AF_INET)
        return x.in.sin_addr.s_addr == y.in.sin_addr.s_addr;
    return x.sa.sa_family == AF_INET6 && IN6_ARE_ADDR_EQUAL(&x.in6.sin6_addr, &y.in6.sin6_addr) &&
           x.in6.sin6_scope_id == y.in6.sin6_scope_id;
}

bool addr_is_same(const union addr *a, const union addr *b)
{
    return addr_is_same_host(a, b) && addr_port(a) == addr_port(b);
}
