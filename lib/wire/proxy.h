/* proxy - the PROXY protocol, versions 1 and 2, by HAProxy's doc/proxy-protocol.txt.
 *
 * What is read is untrusted: either the whole header is valid or the connection is closed.  A
 * header is never guessed: the caller knows from configuration whether one comes. Version 2 may be
 * 64 KiB long with its TLVs; a proxy_reader goes over it as it comes and holds no more than the
 * addresses.  A CRC32c TLV is checked, all other TLVs are passed over.
 */
#ifndef WIRE_PROXY_H
#define WIRE_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/must.h"

#define PROXY_V1_MAX          107          /* a line with its CRLF */
#define PROXY_V2_HEADER_BYTES 16           /* signature, version and command, family, length */
#define PROXY_V2_MAX          (16 + 65535) /* what can come */
#define PROXY_V2_EMIT_MAX     (16 + 36)    /* what is sent: no TLVs */

enum proxy_family {
    PROXY_UNSPEC, /* LOCAL, UNKNOWN, AF_UNIX: the addresses of the connection itself count */
    PROXY_INET,
    PROXY_INET6,
};
enum proxy_transport { PROXY_STREAM, PROXY_DGRAM };

struct proxy_header {
    enum proxy_family family;
    enum proxy_transport transport;
    bool is_local;            /* v2 LOCAL: the sender's own connection, a health check */
    uint8_t src[16], dst[16]; /* PROXY_INET: the first four */
    uint16_t src_port, dst_port;
};

/* From what accept() and getsockname() gave: an IPv4 address mapped into IPv6 becomes IPv4 when
 * both are; of two families both become IPv6; another family: PROXY_UNSPEC. */
void proxy_header_set(struct proxy_header *out, enum proxy_transport transport,
                      const struct sockaddr *src, const struct sockaddr *dst);
/* The same addresses and ports. */
bool proxy_header_is_equal(const struct proxy_header *a, const struct proxy_header *b);
/* For a table of them: who connects chooses address and port, so the seed is ours, and random. */
uint64_t proxy_header_hash(const struct proxy_header *h, uint64_t seed);
/* The client's address; family must not be PROXY_UNSPEC.  Returns its length. */
socklen_t proxy_header_src(const struct proxy_header *h, struct sockaddr_storage *out);

/* A version 1 line with its CRLF, no NUL; returns its length.  transport must be PROXY_STREAM;
 * "PROXY UNKNOWN" for PROXY_UNSPEC. */
size_t proxy_emit_v1(char out[PROXY_V1_MAX], const struct proxy_header *h);
/* LOCAL when is_local.  Returns the length: 16, 28 or 52. */
size_t proxy_emit_v2(uint8_t out[PROXY_V2_EMIT_MAX], const struct proxy_header *h);

/* Reads a header of either version as it comes. */
struct proxy_reader {
    struct proxy_header header; /* valid once proxy_reader_step() returned 1 */
    int version;                /* 1, 2; 0: not known yet */
    size_t total;               /* of a version 2 header, known from its 16th byte on; else 0 */
    size_t seen;                /* bytes taken so far */
    uint8_t held[PROXY_V1_MAX]; /* the line, or fixed part and addresses */
    /* version 2 */
    size_t tlvs_at;    /* where the TLVs begin; == total: there are none, or none to look at */
    uint8_t tlv[3];    /* type and length of the present one */
    uint8_t tlv_held;  /* how many of these three are there */
    uint16_t tlv_left; /* bytes of its value to come */
    uint32_t crc, crc_told;
    bool has_crc;
};

void proxy_reader_init(struct proxy_reader *r);
/* Takes of the n bytes what belongs to the header, never one behind it; *used says how many.
 * 1: the header is whole; 0: all n are taken and more must come; -ERR_PROTO: none, close.
 * After 1 or an error it must not be called again. */
MUST_USE int proxy_reader_step(struct proxy_reader *r, const uint8_t *src, size_t n, size_t *used);

/* The same at one go: bytes used, 0: need more, -ERR_PROTO.  *total (may be NULL) is the length of
 * a version 2 header as soon as it is known, else 0: a caller that holds the bytes can refuse
 * early. */
MUST_USE int proxy_parse(struct proxy_header *out, const uint8_t *src, size_t n, size_t *total);

/* The payload of OPEN: exactly one version 1 line, TCP4 or TCP6.  0, -ERR_PROTO. */
MUST_USE int proxy_parse_open(struct proxy_header *out, const uint8_t *src, size_t n);
/* The payload of UDP_OPEN: exactly one version 2 header, PROXY, INET or INET6, DGRAM.  0,
 * -ERR_PROTO. */
MUST_USE int proxy_parse_udp_open(struct proxy_header *out, const uint8_t *src, size_t n);

#endif
