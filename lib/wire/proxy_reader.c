/* proxy_reader - see proxy.h: a PROXY header, byte by byte as it comes.
 *
 *   version 1   "PROXY TCP4 " src " " dst " " sport " " dport CR LF     at most 107 bytes
 *   version 2   signature:12 | version, command | family, transport | length:2
 *               | addresses: 12, 36 or 216 | TLVs: (type, length:2, value)...
 *
 * Every byte is looked at once, and refused where it first can't be right.  Only the line, or the
 * fixed part and the addresses, are kept; what is behind runs through the checksum and is gone.
 * After LOCAL, and PROXY with family UNSPEC, the rest has no known shape and is passed over.
 */
#include <arpa/inet.h>
#include <string.h>

#include "base/err.h"
#include "wire/proxy.h"
#include "wire/proxy_bytes.h"

#define V2_HELD_MAX (PROXY_V2_HEADER_BYTES + PROXY_V2_INET6_BYTES)
_Static_assert(V2_HELD_MAX <= PROXY_V1_MAX, "both versions are held in the same place");

void proxy_reader_init(struct proxy_reader *r)
{
    *r = (struct proxy_reader){.crc = 0xffffffff};
}

/* CRC32c (RFC 3720), reflected.  A bit at a time: at most 64 KiB a connection go through it. */
static uint32_t crc32c_step(uint32_t crc, uint8_t byte)
{
    crc ^= byte;
    for (int i = 0; i < 8; i++)
        crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    return crc;
}

/* The text up to the next blank, or to the end; false when it is empty, too long for an address, or
 * has bytes that no field has.  *at is moved behind the blank. */
static bool next_field(const char **at, const char *end, char out[INET6_ADDRSTRLEN])
{
    size_t n = 0;

    for (; *at + n < end && (*at)[n] != ' '; n++) {
        unsigned char c = (unsigned char)(*at)[n];
        if (n + 1 == INET6_ADDRSTRLEN || c < 0x21 || c > 0x7e)
            return false;
        out[n] = (char)c;
    }
    out[n] = '\0';
    *at += n;
    if (*at < end)
        (*at)++;
    return n > 0;
}

/* Decimal, no leading zero, at most 65535. */
static bool parse_port(const char *s, uint16_t *out)
{
    unsigned value = 0;

    if (s[0] == '0' && s[1])
        return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return false;
        value = value * 10 + (unsigned)(*s - '0');
        if (value > 65535)
            return false;
    }
    *out = (uint16_t)value;
    return true;
}

/* What follows "PROXY TCP4 " or "PROXY TCP6 ", without the CRLF. */
static int parse_addresses(struct proxy_header *h, const char *at, const char *end)
{
    int af = h->family == PROXY_INET ? AF_INET : AF_INET6;
    char field[INET6_ADDRSTRLEN];

    if (end[-1] == ' ')
        return -ERR_PROTO; /* next_field() would take a blank at the end for none */
    if (!next_field(&at, end, field) || inet_pton(af, field, h->src) != 1)
        return -ERR_PROTO;
    if (!next_field(&at, end, field) || inet_pton(af, field, h->dst) != 1)
        return -ERR_PROTO;
    if (!next_field(&at, end, field) || !parse_port(field, &h->src_port))
        return -ERR_PROTO;
    if (!next_field(&at, end, field) || !parse_port(field, &h->dst_port))
        return -ERR_PROTO;
    return at == end ? 1 : -ERR_PROTO;
}

static bool begins_with(const char *at, const char *end, const char *word)
{
    size_t n = strlen(word);

    return (size_t)(end - at) >= n && memcmp(at, word, n) == 0;
}

/* The whole line is held. */
static int parse_line(struct proxy_reader *r)
{
    const char *at = (const char *)r->held + strlen("PROXY ");
    const char *end = (const char *)r->held + r->seen - strlen("\r\n");

    if (begins_with(at, end, "TCP4 ")) {
        r->header.family = PROXY_INET;
    } else if (begins_with(at, end, "TCP6 ")) {
        r->header.family = PROXY_INET6;
    } else {
        bool is_unknown = begins_with(at, end, "UNKNOWN");
        at += is_unknown ? strlen("UNKNOWN") : 0;
        return is_unknown && (at == end || *at == ' ') ? 1 : -ERR_PROTO;
    }
    return parse_addresses(&r->header, at + strlen("TCPx "), end);
}

static int step_v1(struct proxy_reader *r, uint8_t byte)
{
    static const char word[] = "PROXY ";
    size_t at = r->seen;

    if (at < sizeof(word) - 1 && byte != (uint8_t)word[at])
        return -ERR_PROTO;
    /* CR is followed by LF, and LF stands behind CR: nowhere else is either. */
    if (at > 0 && (byte == '\n') != (r->held[at - 1] == '\r'))
        return -ERR_PROTO;
    r->held[at] = byte;
    r->seen++;
    if (byte == '\n')
        return parse_line(r);
    return r->seen == PROXY_V1_MAX ? -ERR_PROTO : 0;
}

/* The sixteen bytes are held: what follows them, and is it long enough? */
static int parse_fixed_part(struct proxy_reader *r)
{
    size_t len = (size_t)r->held[14] << 8 | r->held[15], need = 0;
    unsigned family = r->held[13] >> 4, transport = r->held[13] & 0xf;
    bool has_tlvs = true;

    r->total = PROXY_V2_HEADER_BYTES + len;
    r->header.is_local = r->held[12] == PROXY_V2_LOCAL;
    if (r->header.is_local || r->held[13] == 0) {
        has_tlvs = false;
    } else {
        /* 0x11, 0x12, 0x21, 0x22, 0x31, 0x32: every other pair must be rejected. */
        if (family < PROXY_V2_INET || family > PROXY_V2_UNIX || transport < PROXY_V2_STREAM ||
            transport > PROXY_V2_DGRAM)
            return -ERR_PROTO;
        r->header.transport = transport == PROXY_V2_STREAM ? PROXY_STREAM : PROXY_DGRAM;
        need = family == PROXY_V2_INET    ? PROXY_V2_INET_BYTES
               : family == PROXY_V2_INET6 ? PROXY_V2_INET6_BYTES
                                          : PROXY_V2_UNIX_BYTES;
        if (family != PROXY_V2_UNIX)
            r->header.family = family == PROXY_V2_INET ? PROXY_INET : PROXY_INET6;
    }
    r->tlvs_at = has_tlvs ? PROXY_V2_HEADER_BYTES + need : r->total;
    return len < need ? -ERR_PROTO : 0;
}

static void parse_v2_addresses(struct proxy_reader *r)
{
    struct proxy_header *h = &r->header;
    size_t n = h->family == PROXY_INET ? 4 : 16;
    const uint8_t *p = r->held + PROXY_V2_HEADER_BYTES, *ports = p + 2 * n;

    if (h->family == PROXY_UNSPEC)
        return;
    memcpy(h->src, p, n);
    memcpy(h->dst, p + n, n);
    h->src_port = (uint16_t)(ports[0] << 8 | ports[1]);
    h->dst_port = (uint16_t)(ports[2] << 8 | ports[3]);
}

/* A byte at or behind tlvs_at.  *crc_byte is what the checksum takes for it: 0 for its own value.
 */
static int step_tlv(struct proxy_reader *r, uint8_t byte, uint8_t *crc_byte)
{
    if (r->tlv_held < sizeof(r->tlv)) {
        r->tlv[r->tlv_held++] = byte;
        if (r->tlv_held < sizeof(r->tlv))
            return 0;
        r->tlv_left = (uint16_t)(r->tlv[1] << 8 | r->tlv[2]);
        if (r->tlv_left > r->total - r->seen - 1)
            return -ERR_PROTO;
        if (r->tlv[0] == PROXY_V2_TLV_CRC32C) {
            if (r->has_crc || r->tlv_left != 4)
                return -ERR_PROTO;
            r->has_crc = true;
        }
    } else {
        if (r->tlv[0] == PROXY_V2_TLV_CRC32C) {
            r->crc_told = r->crc_told << 8 | byte;
            *crc_byte = 0;
        }
        r->tlv_left--;
    }
    if (r->tlv_left == 0)
        r->tlv_held = 0;
    return 0;
}

static int finish_v2(struct proxy_reader *r)
{
    if (r->tlv_held != 0)
        return -ERR_PROTO; /* ends inside of a TLV */
    if (r->has_crc && r->crc_told != (r->crc ^ 0xffffffff))
        return -ERR_PROTO;
    parse_v2_addresses(r);
    return 1;
}

static int step_v2(struct proxy_reader *r, uint8_t byte)
{
    size_t at = r->seen;
    uint8_t crc_byte = byte;
    int rc = 0;

    if (at < sizeof(proxy_v2_signature) && byte != proxy_v2_signature[at])
        return -ERR_PROTO;
    if (at == 12 && byte != PROXY_V2_LOCAL && byte != PROXY_V2_PROXY)
        return -ERR_PROTO;
    if (at < V2_HELD_MAX)
        r->held[at] = byte;
    if (at >= PROXY_V2_HEADER_BYTES && at >= r->tlvs_at)
        rc = step_tlv(r, byte, &crc_byte);
    if (rc != 0)
        return rc;
    r->crc = crc32c_step(r->crc, crc_byte);
    r->seen++;
    if (r->seen == PROXY_V2_HEADER_BYTES && (rc = parse_fixed_part(r)) != 0)
        return rc;
    return r->seen >= PROXY_V2_HEADER_BYTES && r->seen == r->total ? finish_v2(r) : 0;
}

int proxy_reader_step(struct proxy_reader *r, const uint8_t *src, size_t n, size_t *used)
{
    int rc = 0;

    *used = 0;
    while (rc == 0 && *used < n) {
        uint8_t byte = src[*used];
        if (r->seen == 0)
            r->version = byte == proxy_v2_signature[0] ? 2 : 1;
        rc = r->version == 2 ? step_v2(r, byte) : step_v1(r, byte);
        (*used)++;
    }
    return rc;
}
