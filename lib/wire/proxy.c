/* proxy - see proxy.h: filling and sending headers, and reading one that is there as a whole. */
#include "wire/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/hash.h"
#include "wire/proxy_bytes.h"

const uint8_t proxy_v2_signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                        0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; /* ::ffff:0:0/96 */

/* Sixteen bytes and a port of any internet address, IPv4 as a mapped one; false for others. */
static bool flatten(const struct sockaddr *sa, uint8_t addr[16], uint16_t *port)
{
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof(in));
        memcpy(addr, mapped, sizeof(mapped));
        memcpy(addr + sizeof(mapped), &in.sin_addr, 4);
        *port = ntohs(in.sin_port);
        return true;
    }
    if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof(in6));
        memcpy(addr, &in6.sin6_addr, 16);
        *port = ntohs(in6.sin6_port);
        return true;
    }
    return false;
}

static bool is_mapped(const uint8_t addr[16])
{
    return memcmp(addr, mapped, sizeof(mapped)) == 0;
}

void proxy_header_set(struct proxy_header *out, enum proxy_transport transport,
                      const struct sockaddr *src, const struct sockaddr *dst)
{
    *out = (struct proxy_header){.transport = transport, .family = PROXY_INET6};
    if (!flatten(src, out->src, &out->src_port) || !flatten(dst, out->dst, &out->dst_port)) {
        *out = (struct proxy_header){.transport = transport, .family = PROXY_UNSPEC};
        return;
    }
    if (!is_mapped(out->src) || !is_mapped(out->dst))
        return;
    out->family = PROXY_INET;
    memmove(out->src, out->src + 12, 4);
    memmove(out->dst, out->dst + 12, 4);
    memset(out->src + 4, 0, 12);
    memset(out->dst + 4, 0, 12);
}

bool proxy_header_is_equal(const struct proxy_header *a, const struct proxy_header *b)
{
    return a->family == b->family && a->transport == b->transport && a->is_local == b->is_local &&
           a->src_port == b->src_port && a->dst_port == b->dst_port &&
           memcmp(a->src, b->src, sizeof(a->src)) == 0 &&
           memcmp(a->dst, b->dst, sizeof(a->dst)) == 0;
}

uint64_t proxy_header_hash(const struct proxy_header *h, uint64_t seed)
{
    uint64_t words[4], hash = seed;

    memcpy(words, h->src, sizeof(h->src));
    memcpy(words + 2, h->dst, sizeof(h->dst));
    for (unsigned i = 0; i < ARRAY_LEN(words); i++)
        hash = hash_add(hash, words[i]);
    return hash_add(hash, (uint64_t)h->src_port << 16 | h->dst_port);
}

socklen_t proxy_header_src(const struct proxy_header *h, struct sockaddr_storage *out)
{
    must(h->family != PROXY_UNSPEC);
    memset(out, 0, sizeof(*out));
    if (h->family == PROXY_INET) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(h->src_port)};
        memcpy(&in.sin_addr, h->src, 4);
        memcpy(out, &in, sizeof(in));
        return sizeof(in);
    }
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(h->src_port)};
    memcpy(&in6.sin6_addr, h->src, 16);
    memcpy(out, &in6, sizeof(in6));
    return sizeof(in6);
}

size_t proxy_emit_v1(char out[PROXY_V1_MAX], const struct proxy_header *h)
{
    char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN], line[PROXY_V1_MAX + 1];
    int af = h->family == PROXY_INET ? AF_INET : AF_INET6;
    int n;

    must(h->transport == PROXY_STREAM);
    if (h->family == PROXY_UNSPEC) {
        n = snprintf(line, sizeof(line), "PROXY UNKNOWN\r\n");
    } else {
        const char *a = inet_ntop(af, h->src, src, sizeof(src));
        const char *b = inet_ntop(af, h->dst, dst, sizeof(dst));
        must(a != NULL);
        must(b != NULL);
        n = snprintf(line, sizeof(line), "PROXY %s %s %s %u %u\r\n",
                     h->family == PROXY_INET ? "TCP4" : "TCP6", a, b, h->src_port, h->dst_port);
    }
    must(n > 0);
    must((size_t)n <= PROXY_V1_MAX);
    memcpy(out, line, (size_t)n);
    return (size_t)n;
}

size_t proxy_emit_v2(uint8_t out[PROXY_V2_EMIT_MAX], const struct proxy_header *h)
{
    bool is_bare = h->is_local || h->family == PROXY_UNSPEC;
    size_t addr_len = is_bare ? 0 : h->family == PROXY_INET ? 4 : 16, n = 0;
    unsigned family = h->family == PROXY_INET ? PROXY_V2_INET : PROXY_V2_INET6;
    unsigned transport = h->transport == PROXY_STREAM ? PROXY_V2_STREAM : PROXY_V2_DGRAM;

    memcpy(out, proxy_v2_signature, sizeof(proxy_v2_signature));
    n = sizeof(proxy_v2_signature);
    out[n++] = h->is_local ? PROXY_V2_LOCAL : PROXY_V2_PROXY;
    out[n++] = is_bare ? 0 : (uint8_t)(family << 4 | transport);
    put_u16(out + n, (uint16_t)(is_bare ? 0 : 2 * addr_len + 4));
    n += 2;
    must(n == PROXY_V2_HEADER_BYTES);
    if (is_bare)
        return n;
    memcpy(out + n, h->src, addr_len);
    memcpy(out + n + addr_len, h->dst, addr_len);
    n += 2 * addr_len;
    put_u16(out + n, h->src_port);
    n += 2;
    put_u16(out + n, h->dst_port);
    n += 2;
    must(n <= PROXY_V2_EMIT_MAX);
    return n;
}

int proxy_parse(struct proxy_header *out, const uint8_t *src, size_t n, size_t *total)
{
    struct proxy_reader r;
    size_t used;

    proxy_reader_init(&r);
    int rc = proxy_reader_step(&r, src, n, &used);
    if (total)
        *total = r.total;
    if (rc != 1)
        return rc;
    *out = r.header;
    return (int)used;
}

/* Exactly one header, of the version and transport asked for, with addresses. */
static int parse_whole(struct proxy_header *out, const uint8_t *src, size_t n, int version,
                       enum proxy_transport transport)
{
    struct proxy_reader r;
    size_t used;

    proxy_reader_init(&r);
    if (proxy_reader_step(&r, src, n, &used) != 1 || used != n || r.version != version)
        return -ERR_PROTO;
    if (r.header.is_local || r.header.family == PROXY_UNSPEC || r.header.transport != transport)
        return -ERR_PROTO;
    *out = r.header;
    return 0;
}

int proxy_parse_open(struct proxy_header *out, const uint8_t *src, size_t n)
{
    return parse_whole(out, src, n, 1, PROXY_STREAM);
}

int proxy_parse_udp_open(struct proxy_header *out, const uint8_t *src, size_t n)
{
    return parse_whole(out, src, n, 2, PROXY_DGRAM);
}
