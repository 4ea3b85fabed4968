/* addr - an IPv4 or IPv6 address with a port: reading, writing, comparing. */
#ifndef LOOP_ADDR_H
#define LOOP_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/must.h"

union addr {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_storage storage;
};

#define ADDR_TEXT_MAX 64 /* "[ipv6%scope]:port" and its end; an interface's name is at most 15 */

/* "192.0.2.1:443", "[2001:db8::1]:443", "[fe80::1%eth0]:443", "[::]:443", ":443" (= [::]:443).
 * An IPv6 address needs its brackets.  0, -ERR_SYNTAX (*out is then untouched). */
MUST_USE int addr_parse(union addr *out, const char *text);
/* The same without a port in the text, brackets allowed: "192.0.2.1", "::1", "[::1]".
 * 0, -ERR_SYNTAX: no IP literal. */
MUST_USE int addr_parse_host(union addr *out, const char *text, uint16_t port);
/* Writes "192.0.2.1:443" or "[2001:db8::1]:443"; an IPv4-mapped address as IPv4; "-" for none. */
const char *addr_format(const union addr *a, char out[ADDR_TEXT_MAX]);
/* The address alone, without port and brackets. */
const char *addr_format_host(const union addr *a, char out[ADDR_TEXT_MAX]);
socklen_t addr_len(const union addr *a); /* for bind and connect; 0: neither family */
uint16_t addr_port(const union addr *a);
void addr_set_port(union addr *a, uint16_t port);
/* ::ffff:192.0.2.1 becomes 192.0.2.1. */
void addr_unmap(union addr *a);
bool addr_is_any(const union addr *a); /* [::] or 0.0.0.0 */
bool addr_is_loopback(const union addr *a);
/* 192.0.2.1 and ::ffff:192.0.2.1 are the same to both. */
bool addr_is_same(const union addr *a, const union addr *b);      /* with port */
bool addr_is_same_host(const union addr *a, const union addr *b); /* without */

#endif
