/* proxy_bytes - the constants of PROXY protocol version 2 that reading and sending share. */
#ifndef WIRE_PROXY_BYTES_H
#define WIRE_PROXY_BYTES_H

#include <stdint.h>

extern const uint8_t proxy_v2_signature[12];

/* Version and command. */
#define PROXY_V2_LOCAL 0x20
#define PROXY_V2_PROXY 0x21
/* Family (high nibble) and transport. */
#define PROXY_V2_INET   1
#define PROXY_V2_INET6  2
#define PROXY_V2_UNIX   3
#define PROXY_V2_STREAM 1
#define PROXY_V2_DGRAM  2
/* Bytes of the addresses. */
#define PROXY_V2_INET_BYTES  12
#define PROXY_V2_INET6_BYTES 36
#define PROXY_V2_UNIX_BYTES  216

#define PROXY_V2_TLV_CRC32C 0x03

#endif
