/* Tests of wire/proxy and wire/proxy_reader: every header is read at one go, cut at every byte, and
 * a byte at a time, and the answer must be the same. */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/err.h"
#include "wire/proxy.h"

#define SIG "\r\n\r\n\0\r\nQUIT\n"
#define IN4 "\x11\x00\x0c\xc0\x00\x02\x01\xcb\x00\x71\x09\xc8\x22\x01\xbb" /* 192.0.2.1:51234 */

static uint8_t *copy_of(const void *bytes, size_t n)
{
    uint8_t *copy = malloc(n > 0 ? n : 1);

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, bytes, n);
    return copy;
}

static bool is_same(const struct proxy_header *a, const struct proxy_header *b)
{
    return a->family == b->family && a->transport == b->transport && a->is_local == b->is_local &&
           memcmp(a->src, b->src, 16) == 0 && memcmp(a->dst, b->dst, 16) == 0 &&
           a->src_port == b->src_port && a->dst_port == b->dst_port;
}

/* By one call a byte; *used as the reader counted it. */
static int step_bytes(struct proxy_reader *r, const uint8_t *src, size_t n, size_t *used)
{
    int rc = 0;

    proxy_reader_init(r);
    for (*used = 0; rc == 0 && *used < n;) {
        size_t one;
        uint8_t *byte = copy_of(src + *used, 1);
        rc = proxy_reader_step(r, byte, 1, &one);
        ck_assert_uint_eq(one, 1);
        *used += one;
        free(byte);
    }
    return rc;
}

/* What all three ways of reading agree on: bytes used, 0 or -ERR_PROTO.  A header that is taken is
 * not whole at any earlier byte, and takes nothing of what follows it. */
static int read_all_ways(struct proxy_header *out, const void *bytes, size_t n)
{
    struct proxy_reader slow;
    size_t used, total;
    uint8_t *src = copy_of(bytes, n);
    struct proxy_header unused;

    *out = (struct proxy_header){.family = PROXY_UNSPEC};
    int rc = proxy_parse(out, src, n, &total);
    int rc_slow = step_bytes(&slow, src, n, &used);
    ck_assert_int_eq(rc < 0 ? rc : rc > 0, rc_slow);
    if (rc > 0) {
        ck_assert_uint_eq(used, (size_t)rc);
        ck_assert(is_same(out, &slow.header));
        for (size_t cut = 0; cut < (size_t)rc; cut++) {
            uint8_t *part = copy_of(src, cut);
            ck_assert_int_eq(proxy_parse(&unused, part, cut, &total), 0);
            if (slow.version == 2)
                ck_assert_uint_eq(total, cut < 16 ? 0 : (size_t)rc);
            free(part);
        }
    }
    free(src);
    return rc;
}

static void expect_addresses(const struct proxy_header *h, const char *src, uint16_t src_port,
                             const char *dst, uint16_t dst_port)
{
    int af = h->family == PROXY_INET ? AF_INET : AF_INET6;
    char text[INET6_ADDRSTRLEN];

    ck_assert_str_eq(inet_ntop(af, h->src, text, sizeof(text)), src);
    ck_assert_str_eq(inet_ntop(af, h->dst, text, sizeof(text)), dst);
    ck_assert_uint_eq(h->src_port, src_port);
    ck_assert_uint_eq(h->dst_port, dst_port);
}

#define LONG6 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
/* 107 and 108 bytes */
#define UNKNOWN_107 "PROXY UNKNOWN " LONG6 " " LONG6 " 65535 65535\r\n"
#define UNKNOWN_108 "PROXY UNKNOWN " LONG6 " " LONG6 " 65535 65535 \r\n"

static const struct {
    const char *line;
    int family; /* enum proxy_family, -1: refused */
    const char *src, *dst;
    uint16_t src_port, dst_port;
} lines[] = {
    {"PROXY TCP4 192.0.2.1 203.0.113.9 51234 443\r\n", PROXY_INET, "192.0.2.1", "203.0.113.9",
     51234, 443},
    {"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", PROXY_INET, "0.0.0.0", "255.255.255.255", 0,
     65535},
    {"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", PROXY_INET6, "2001:db8::1", "::1", 1, 2},
    {"PROXY TCP6 " LONG6 " " LONG6 " 65535 65535\r\n", PROXY_INET6, LONG6, LONG6, 65535, 65535},
    {"PROXY TCP6 ::ffff:192.0.2.1 2001:DB8::A 1 2\r\n", PROXY_INET6, "::ffff:192.0.2.1",
     "2001:db8::a", 1, 2},
    {"PROXY UNKNOWN\r\n", PROXY_UNSPEC, NULL, NULL, 0, 0},
    {"PROXY UNKNOWN \r\n", PROXY_UNSPEC, NULL, NULL, 0, 0},
    {"PROXY UNKNOWN what ever it is\r\n", PROXY_UNSPEC, NULL, NULL, 0, 0},
    {UNKNOWN_107, PROXY_UNSPEC, NULL, NULL, 0, 0},
    {UNKNOWN_108, -1, NULL, NULL, 0, 0},
    {"PROXY UNKNOWNX\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 192.0.2.1 203.0.113.9 51234 443\n", -1, NULL, NULL, 0, 0},
    {"PROXY UNKNOWN\n", -1, NULL, NULL, 0, 0},
    {"PROXY UNKNOWN a\rb\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY UNKNOWN a\r\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 192.0.2.1 203.0.113.9 51234 443\r \n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 192.0.2.1 203.0.113.9 051234 443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 192.0.2.1 203.0.113.9 51234 0443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 192.0.2.1 203.0.113.9 00 443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 192.0.2.1 203.0.113.9 51234 65536\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 192.0.2.1 203.0.113.9 4294967297 443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 192.0.2.1 203.0.113.9 -1 443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 192.0.2.1 203.0.113.9 +1 443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 192.0.2.1 203.0.113.9 0x1 443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 192.0.2.01 203.0.113.9 1 443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 192.0.2 203.0.113.9 1 443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 192.0.2.256 203.0.113.9 1 443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 ::1 ::1 1 443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP6 192.0.2.1 203.0.113.9 1 443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP6 12345::1 ::1 1 443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP6 fe80::1%lo ::1 1 443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 192.0.2.1 203.0.113.9 1\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 192.0.2.1 203.0.113.9 1 \r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 192.0.2.1 203.0.113.9 1 443 \r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 192.0.2.1 203.0.113.9 1 443 9\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 192.0.2.1  203.0.113.9 1 443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4  192.0.2.1 203.0.113.9 1 443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4\t192.0.2.1 203.0.113.9 1 443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 192.0.2.1\t203.0.113.9 1 443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4 \r\n", -1, NULL, NULL, 0, 0},
    {"PROXY TCP4\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY \r\n", -1, NULL, NULL, 0, 0},
    {"PROXY UDP4 192.0.2.1 203.0.113.9 1 443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY tcp4 192.0.2.1 203.0.113.9 1 443\r\n", -1, NULL, NULL, 0, 0},
    {"proxy TCP4 192.0.2.1 203.0.113.9 1 443\r\n", -1, NULL, NULL, 0, 0},
    {"PROXY\tTCP4 192.0.2.1 203.0.113.9 1 443\r\n", -1, NULL, NULL, 0, 0},
    {" PROXY TCP4 192.0.2.1 203.0.113.9 1 443\r\n", -1, NULL, NULL, 0, 0},
    {"GET / HTTP/1.1\r\n", -1, NULL, NULL, 0, 0},
    {"\r\nPROXY UNKNOWN\r\n", -1, NULL, NULL, 0, 0},
    {"\x16\x03\x01", -1, NULL, NULL, 0, 0},
};

START_TEST(lines_of_version_1)
{
    struct proxy_header h;
    const char *line = lines[_i].line;
    int rc = read_all_ways(&h, line, strlen(line));
    char with_more[200], out[PROXY_V1_MAX];

    if (lines[_i].family < 0) {
        ck_assert_msg(rc == -ERR_PROTO, "%s gives %d", line, rc);
        ck_assert_int_eq(proxy_parse_open(&h, (const uint8_t *)line, strlen(line)), -ERR_PROTO);
        return;
    }
    ck_assert_msg(rc == (int)strlen(line), "%s gives %d", line, rc);
    ck_assert_int_eq((int)h.family, lines[_i].family);
    ck_assert_int_eq(h.transport, PROXY_STREAM);
    ck_assert(!h.is_local);
    snprintf(with_more, sizeof(with_more), "%sPROXY TCP4 and more\r\n", line);
    ck_assert_int_eq(read_all_ways(&h, with_more, strlen(with_more)), (int)strlen(line));
    ck_assert_int_eq(proxy_parse_open(&h, (const uint8_t *)with_more, strlen(line) + 1),
                     -ERR_PROTO);
    ck_assert_int_eq(proxy_parse_open(&h, (const uint8_t *)line, strlen(line) - 1), -ERR_PROTO);
    ck_assert_int_eq(proxy_parse_open(&h, (const uint8_t *)line, strlen(line)),
                     h.family == PROXY_UNSPEC ? -ERR_PROTO : 0);
    if (h.family == PROXY_UNSPEC)
        return;
    expect_addresses(&h, lines[_i].src, lines[_i].src_port, lines[_i].dst, lines[_i].dst_port);
    size_t n = proxy_emit_v1(out, &h);
    struct proxy_header again;
    ck_assert_int_eq(proxy_parse(&again, (const uint8_t *)out, n, NULL), (int)n);
    ck_assert(is_same(&h, &again));
}
END_TEST

START_TEST(the_longest_line_is_107_bytes)
{
    struct proxy_header h;

    ck_assert_uint_eq(strlen(UNKNOWN_107), 107);
    ck_assert_uint_eq(strlen(UNKNOWN_108), 108);
    ck_assert_int_eq(read_all_ways(&h, UNKNOWN_107, 107), 107);
    /* Refused at the 107th byte, before the 108th has come. */
    ck_assert_int_eq(read_all_ways(&h, UNKNOWN_108, 106), 0);
    ck_assert_int_eq(read_all_ways(&h, UNKNOWN_108, 107), -ERR_PROTO);
}
END_TEST

START_TEST(a_nul_in_a_line_is_refused)
{
    static const char line[] = "PROXY TCP4 192.0.2.1\0 203.0.113.9 1 443\r\n";
    struct proxy_header h;

    ck_assert_int_eq(read_all_ways(&h, line, sizeof(line) - 1), -ERR_PROTO);
}
END_TEST

START_TEST(a_line_that_can_not_become_one_is_refused_at_once)
{
    struct proxy_header h;

    ck_assert_int_eq(read_all_ways(&h, "G", 1), -ERR_PROTO);
    ck_assert_int_eq(read_all_ways(&h, "PROXY", 5), 0);
    ck_assert_int_eq(read_all_ways(&h, "PROXX", 5), -ERR_PROTO);
    ck_assert_int_eq(read_all_ways(&h, "PROXY UNKNOWN\n", 14), -ERR_PROTO);
    ck_assert_int_eq(read_all_ways(&h, "\r\n\r\n\0\r\nQUIT\r", 12), -ERR_PROTO);
    ck_assert_int_eq(read_all_ways(&h, SIG "\x31", 13), -ERR_PROTO);
}
END_TEST

enum outcome { TAKEN_INET, TAKEN_INET6, TAKEN_UNSPEC, TAKEN_LOCAL, MORE, REFUSED };

#define ADDR6                                                                                      \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"                                                   \
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"                                                           \
    "\xc8\x22\x01\xbb"
#define ADDR4 "\xc0\x00\x02\x01\xcb\x00\x71\x09\xc8\x22\x01\xbb"
#define CASE(bytes, outcome, transport)                                                            \
    {                                                                                              \
        bytes, sizeof(bytes) - 1, outcome, transport                                               \
    }

static const struct {
    const char *bytes;
    size_t n;
    enum outcome outcome;
    enum proxy_transport transport;
} binaries[] = {
    CASE(SIG "\x21" IN4, TAKEN_INET, PROXY_STREAM),
    CASE(SIG "\x21\x12\x00\x0c" ADDR4, TAKEN_INET, PROXY_DGRAM),
    CASE(SIG "\x21\x21\x00\x24" ADDR6, TAKEN_INET6, PROXY_STREAM),
    CASE(SIG "\x21\x22\x00\x24" ADDR6, TAKEN_INET6, PROXY_DGRAM),
    CASE(SIG "\x21\x00\x00\x00", TAKEN_UNSPEC, PROXY_STREAM),
    CASE(SIG "\x21\x00\x00\x05"
             "abcde",
         TAKEN_UNSPEC, PROXY_STREAM),
    CASE(SIG "\x20\x00\x00\x00", TAKEN_LOCAL, PROXY_STREAM),
    CASE(SIG "\x20\x00\x00\x03"
             "abc",
         TAKEN_LOCAL, PROXY_STREAM),
    CASE(SIG "\x20\x11\x00\x0c" ADDR4, TAKEN_LOCAL, PROXY_STREAM),
    CASE(SIG "\x20\xff\x00\x01"
             "x",
         TAKEN_LOCAL, PROXY_STREAM), /* its family is ignored */
    /* TLVs: ALPN, NOOP, one of nobody's, an empty one: passed over */
    CASE(SIG "\x21\x11\x00\x1d" ADDR4 "\x01\x00\x02h2"
             "\x04\x00\x00"
             "\xee\x00\x01\xff"
             "\x05\x00\x02id",
         TAKEN_INET, PROXY_STREAM),
    /* a TLV that is longer than the header, one that is cut, one type alone */
    CASE(SIG "\x21\x11\x00\x10" ADDR4 "\x01\x00\x02h", REFUSED, PROXY_STREAM),
    CASE(SIG "\x21\x11\x00\x0e" ADDR4 "\x01\x00", REFUSED, PROXY_STREAM),
    CASE(SIG "\x21\x11\x00\x0d" ADDR4 "\x01", REFUSED, PROXY_STREAM),
    CASE(SIG "\x21\x11\x00\x0f" ADDR4 "\x01\xff\xff", REFUSED, PROXY_STREAM),
    /* the checksum's value has four bytes, and is there once */
    CASE(SIG "\x21\x11\x00\x12" ADDR4 "\x03\x00\x03"
             "abc",
         REFUSED, PROXY_STREAM),
    CASE(SIG "\x21\x11\x00\x14" ADDR4 "\x03\x00\x05"
             "abcde",
         REFUSED, PROXY_STREAM),
    CASE(SIG "\x21\x11\x00\x0f" ADDR4 "\x03\x00\x00", REFUSED, PROXY_STREAM),
    /* cut: fifteen bytes, and one short of the whole */
    CASE(SIG "\x21\x11\x00", MORE, PROXY_STREAM),
    CASE(SIG "\x21\x11\x00\x0c\xc0\x00\x02\x01\xcb\x00\x71\x09\xc8\x22\x01", MORE, PROXY_STREAM),
    CASE(SIG "\x21\x11\xff\xff" ADDR4, MORE, PROXY_STREAM),
    CASE(SIG, MORE, PROXY_STREAM),
    CASE("\r", MORE, PROXY_STREAM),
    CASE("", MORE, PROXY_STREAM),
    /* version and command */
    CASE(SIG "\x11\x11\x00\x0c" ADDR4, REFUSED, PROXY_STREAM),
    CASE(SIG "\x31\x11\x00\x0c" ADDR4, REFUSED, PROXY_STREAM),
    CASE(SIG "\x01\x11\x00\x0c" ADDR4, REFUSED, PROXY_STREAM),
    CASE(SIG "\x22\x11\x00\x0c" ADDR4, REFUSED, PROXY_STREAM),
    CASE(SIG "\x2f\x11\x00\x0c" ADDR4, REFUSED, PROXY_STREAM),
    /* family and transport */
    CASE(SIG "\x21\x10\x00\x0c" ADDR4, REFUSED, PROXY_STREAM),
    CASE(SIG "\x21\x13\x00\x0c" ADDR4, REFUSED, PROXY_STREAM),
    CASE(SIG "\x21\x01\x00\x0c" ADDR4, REFUSED, PROXY_STREAM),
    CASE(SIG "\x21\x41\x00\x0c" ADDR4, REFUSED, PROXY_STREAM),
    CASE(SIG "\x21\xff\x00\x0c" ADDR4, REFUSED, PROXY_STREAM),
    /* too short for the family, known before the addresses are there */
    CASE(SIG "\x21\x11\x00\x0b", REFUSED, PROXY_STREAM),
    CASE(SIG "\x21\x11\x00\x00", REFUSED, PROXY_STREAM),
    CASE(SIG "\x21\x21\x00\x23", REFUSED, PROXY_STREAM),
    CASE(SIG "\x21\x22\x00\x0c" ADDR4, REFUSED, PROXY_DGRAM),
    CASE(SIG "\x21\x31\x00\xd7", REFUSED, PROXY_STREAM),
    /* the signature */
    CASE("\r\n\r\n\x01\r\nQUIT\n\x21" IN4, REFUSED, PROXY_STREAM),
    CASE("\r\n\r\n\0\r\nQUIT\r\x21" IN4, REFUSED, PROXY_STREAM),
};

START_TEST(headers_of_version_2)
{
    const char *bytes = binaries[_i].bytes;
    size_t n = binaries[_i].n;
    uint8_t more[200];
    struct proxy_header h;
    int rc = read_all_ways(&h, bytes, n);

    if (binaries[_i].outcome == MORE || binaries[_i].outcome == REFUSED) {
        ck_assert_msg(rc == (binaries[_i].outcome == MORE ? 0 : -ERR_PROTO), "#%d gives %d", _i,
                      rc);
        ck_assert_int_eq(proxy_parse_udp_open(&h, (const uint8_t *)bytes, n), -ERR_PROTO);
        return;
    }
    ck_assert_msg(rc == (int)n, "#%d gives %d", _i, rc);
    ck_assert_int_eq(h.is_local, binaries[_i].outcome == TAKEN_LOCAL);
    ck_assert_int_eq(h.transport, binaries[_i].transport);
    if (binaries[_i].outcome == TAKEN_INET) {
        ck_assert_int_eq(h.family, PROXY_INET);
        expect_addresses(&h, "192.0.2.1", 51234, "203.0.113.9", 443);
    } else if (binaries[_i].outcome == TAKEN_INET6) {
        ck_assert_int_eq(h.family, PROXY_INET6);
        expect_addresses(&h, "2001:db8::1", 51234, "::1", 443);
    } else {
        ck_assert_int_eq(h.family, PROXY_UNSPEC);
    }
    memcpy(more, bytes, n);
    memset(more + n, '\r', 20);
    ck_assert_int_eq(read_all_ways(&h, more, n + 20), (int)n);
    ck_assert_int_eq(proxy_parse_udp_open(&h, more, n + 1), -ERR_PROTO);
    ck_assert_int_eq(proxy_parse_udp_open(&h, more, n),
                     h.family != PROXY_UNSPEC && h.transport == PROXY_DGRAM ? 0 : -ERR_PROTO);
    ck_assert_int_eq(proxy_parse_open(&h, more, n), -ERR_PROTO);
}
END_TEST

/* HAProxy's way: over the whole header with the checksum's value as zeros. */
static uint32_t crc32c(const uint8_t *p, size_t n)
{
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < n; i++)
        for (int bit = 0; bit < 8; bit++) {
            uint32_t in = ((uint32_t)p[i] >> bit & 1) ^ (crc & 1);
            crc = crc >> 1 ^ (in ? 0x82f63b78u : 0);
        }
    return ~crc;
}

START_TEST(the_checksum_of_the_test_is_the_published_one)
{
    ck_assert_uint_eq(crc32c((const uint8_t *)"123456789", 9), 0xe3069283);
}
END_TEST

/* INET, an unknown TLV, the checksum, another TLV. */
static size_t with_checksum(uint8_t out[100])
{
    static const char begin[] = SIG "\x21\x11\x00\x1b" ADDR4 "\x01\x00\x02h2\x03\x00\x04";
    size_t at = sizeof(begin) - 1;

    memcpy(out, begin, at);
    memcpy(out + at, "\0\0\0\0\x04\x00\x00", 7);
    uint32_t crc = crc32c(out, at + 7);
    for (int i = 0; i < 4; i++)
        out[at + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
    return at + 7;
}

START_TEST(a_right_checksum_is_taken_and_every_flipped_bit_refused)
{
    uint8_t bytes[100];
    size_t n = with_checksum(bytes);
    struct proxy_header h;

    ck_assert_int_eq(read_all_ways(&h, bytes, n), (int)n);
    expect_addresses(&h, "192.0.2.1", 51234, "203.0.113.9", 443);
    /* Flips that only a checksum can find: addresses, ports, the TLVs' values, its own. */
    for (size_t at = 16; at < n; at++) {
        if (at >= 28 && (at < 31 || (at > 32 && at < 36) || at > 39))
            continue;
        for (int bit = 0; bit < 8; bit++) {
            bytes[at] ^= (uint8_t)(1 << bit);
            ck_assert_int_eq(read_all_ways(&h, bytes, n), -ERR_PROTO);
            bytes[at] ^= (uint8_t)(1 << bit);
        }
    }
}
END_TEST

START_TEST(a_second_checksum_is_refused)
{
    uint8_t bytes[100];
    size_t n = with_checksum(bytes);
    struct proxy_header h;

    memcpy(bytes + n, "\x03\x00\x04", 3);
    memset(bytes + n + 3, 0, 4);
    bytes[15] = (uint8_t)(bytes[15] + 7);
    /* Whatever the second one says: it can't even be right. */
    ck_assert_int_eq(read_all_ways(&h, bytes, n + 7), -ERR_PROTO);
}
END_TEST

START_TEST(the_longest_header_is_passed_over_without_being_held)
{
    struct proxy_reader r;
    struct proxy_header h;
    uint8_t *bytes = calloc(1, PROXY_V2_MAX + 1);
    size_t used, total, at = 0, tlv = 65535 - 12 - 3;
    int rc = 0;

    ck_assert_ptr_nonnull(bytes);
    memcpy(bytes, SIG "\x21\x11\xff\xff" ADDR4, 28);
    bytes[28] = 0xe0;
    bytes[29] = (uint8_t)(tlv >> 8);
    bytes[30] = (uint8_t)tlv;
    ck_assert_int_eq(proxy_parse(&h, bytes, 16, &total), 0);
    ck_assert_uint_eq(total, PROXY_V2_MAX);
    ck_assert_int_eq(proxy_parse(&h, bytes, PROXY_V2_MAX + 1, &total), PROXY_V2_MAX);
    expect_addresses(&h, "192.0.2.1", 51234, "203.0.113.9", 443);
    proxy_reader_init(&r);
    while (rc == 0) {
        rc = proxy_reader_step(&r, bytes + at, MIN((size_t)1000, PROXY_V2_MAX + 1 - at), &used);
        at += used;
    }
    ck_assert_int_eq(rc, 1);
    ck_assert_uint_eq(at, PROXY_V2_MAX);
    ck_assert_uint_lt(sizeof(r), 300);
    ck_assert(is_same(&r.header, &h));
    free(bytes);
}
END_TEST

START_TEST(unix_addresses_are_read_over)
{
    uint8_t bytes[16 + 216 + 5] = SIG "\x21\x31\x00\xdd";
    struct proxy_header h;

    memset(bytes + 16, '/', 216);
    memcpy(bytes + 16 + 216, "\x01\x00\x02h2", 5);
    ck_assert_int_eq(read_all_ways(&h, bytes, sizeof(bytes)), sizeof(bytes));
    ck_assert_int_eq(h.family, PROXY_UNSPEC);
    ck_assert(!h.is_local);
    bytes[16 + 216 + 2] = 3;
    ck_assert_int_eq(read_all_ways(&h, bytes, sizeof(bytes)), -ERR_PROTO);
}
END_TEST

static struct sockaddr_storage address(const char *ip, uint16_t port)
{
    struct sockaddr_storage out = {.ss_family = AF_UNSPEC};
    struct sockaddr_in *in = (struct sockaddr_in *)&out;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&out;

    if (inet_pton(AF_INET, ip, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
    } else {
        ck_assert_int_eq(inet_pton(AF_INET6, ip, &in6->sin6_addr), 1);
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
    }
    return out;
}

static const struct {
    const char *src, *dst;
    enum proxy_family family;
    const char *src_told, *dst_told;
} pairs[] = {
    {"192.0.2.1", "203.0.113.9", PROXY_INET, "192.0.2.1", "203.0.113.9"},
    {"::ffff:192.0.2.1", "::ffff:203.0.113.9", PROXY_INET, "192.0.2.1", "203.0.113.9"},
    {"::ffff:192.0.2.1", "203.0.113.9", PROXY_INET, "192.0.2.1", "203.0.113.9"},
    {"2001:db8::1", "::1", PROXY_INET6, "2001:db8::1", "::1"},
    {"192.0.2.1", "::1", PROXY_INET6, "::ffff:192.0.2.1", "::1"},
    {"2001:db8::1", "203.0.113.9", PROXY_INET6, "2001:db8::1", "::ffff:203.0.113.9"},
};

START_TEST(headers_are_filled_from_socket_addresses)
{
    struct sockaddr_storage src = address(pairs[_i].src, 51234), dst = address(pairs[_i].dst, 443);
    struct sockaddr_storage back;
    struct proxy_header h, again;
    uint8_t v2[PROXY_V2_EMIT_MAX];
    char v1[PROXY_V1_MAX];

    proxy_header_set(&h, PROXY_STREAM, (struct sockaddr *)&src, (struct sockaddr *)&dst);
    ck_assert_int_eq(h.family, pairs[_i].family);
    expect_addresses(&h, pairs[_i].src_told, 51234, pairs[_i].dst_told, 443);
    size_t n = proxy_emit_v1(v1, &h);
    ck_assert_int_eq(proxy_parse(&again, (const uint8_t *)v1, n, NULL), (int)n);
    ck_assert(is_same(&h, &again));
    h.transport = PROXY_DGRAM;
    n = proxy_emit_v2(v2, &h);
    ck_assert_uint_eq(n, h.family == PROXY_INET ? 28 : 52);
    ck_assert_int_eq(proxy_parse_udp_open(&again, v2, n), 0);
    ck_assert(is_same(&h, &again));
    src = address(pairs[_i].src_told, 51234);
    ck_assert_uint_eq(proxy_header_src(&h, &back), h.family == PROXY_INET
                                                       ? sizeof(struct sockaddr_in)
                                                       : sizeof(struct sockaddr_in6));
    ck_assert_mem_eq(&back, &src, sizeof(src));
}
END_TEST

START_TEST(what_has_no_addresses_is_sent_as_such)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct proxy_header h, again;
    uint8_t v2[PROXY_V2_EMIT_MAX];
    char v1[PROXY_V1_MAX];

    proxy_header_set(&h, PROXY_STREAM, (struct sockaddr *)&un, (struct sockaddr *)&un);
    ck_assert_int_eq(h.family, PROXY_UNSPEC);
    ck_assert_uint_eq(proxy_emit_v1(v1, &h), 15);
    ck_assert_mem_eq(v1, "PROXY UNKNOWN\r\n", 15);
    ck_assert_uint_eq(proxy_emit_v2(v2, &h), 16);
    ck_assert_mem_eq(v2, SIG "\x21\0\0\0", 16);
    h.is_local = true;
    ck_assert_uint_eq(proxy_emit_v2(v2, &h), 16);
    ck_assert_mem_eq(v2, SIG "\x20\0\0\0", 16);
    ck_assert_int_eq(proxy_parse(&again, v2, 16, NULL), 16);
    ck_assert(again.is_local);
}
END_TEST

/* Nothing of it is left out. */
START_TEST(what_differs_in_an_address_or_a_port_hashes_differently)
{
    const struct proxy_header base = {.family = PROXY_INET6, .src_port = 1, .dst_port = 2};
    struct proxy_header others[36];
    uint64_t hash = proxy_header_hash(&base, 7);

    for (unsigned i = 0; i < ARRAY_LEN(others); i++) {
        others[i] = base;
        if (i < 16)
            others[i].src[i] = 1;
        else if (i < 32)
            others[i].dst[i - 16] = 1;
    }
    others[32].src_port = 0x101;
    others[33].dst_port = 0x102;
    others[34].src_port = 2;
    others[34].dst_port = 1;
    others[35].src_port = 0;
    for (unsigned i = 0; i < ARRAY_LEN(others); i++)
        ck_assert_uint_ne(proxy_header_hash(&others[i], 7), hash);
    ck_assert_uint_eq(proxy_header_hash(&base, 7), hash);
    ck_assert_uint_ne(proxy_header_hash(&base, 8), hash);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wire/proxy");
    TCase *v1 = tcase_create("version 1"), *v2 = tcase_create("version 2");
    TCase *sending = tcase_create("sending");

    tcase_add_loop_test(v1, lines_of_version_1, 0, ARRAY_LEN(lines));
    tcase_add_test(v1, the_longest_line_is_107_bytes);
    tcase_add_test(v1, a_nul_in_a_line_is_refused);
    tcase_add_test(v1, a_line_that_can_not_become_one_is_refused_at_once);
    tcase_add_loop_test(v2, headers_of_version_2, 0, ARRAY_LEN(binaries));
    tcase_add_test(v2, the_checksum_of_the_test_is_the_published_one);
    tcase_add_test(v2, a_right_checksum_is_taken_and_every_flipped_bit_refused);
    tcase_add_test(v2, a_second_checksum_is_refused);
    tcase_add_test(v2, the_longest_header_is_passed_over_without_being_held);
    tcase_add_test(v2, unix_addresses_are_read_over);
    tcase_add_loop_test(sending, headers_are_filled_from_socket_addresses, 0, ARRAY_LEN(pairs));
    tcase_add_test(sending, what_has_no_addresses_is_sent_as_such);
    tcase_add_test(sending, what_differs_in_an_address_or_a_port_hashes_differently);
    suite_add_tcase(suite, v1);
    suite_add_tcase(suite, v2);
    suite_add_tcase(suite, sending);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
