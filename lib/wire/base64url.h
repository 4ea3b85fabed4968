/* base64url - RFC 4648 section 5, without padding, one text for each sequence of bytes. */
#ifndef WIRE_BASE64URL_H
#define WIRE_BASE64URL_H

#include <stddef.h>
#include <stdint.h>

#include "base/must.h"

#define BASE64URL_LEN(n) (((n)*4 + 2) / 3)

/* Writes BASE64URL_LEN(n) characters and a NUL; returns how many without it. */
size_t base64url_emit(char *out, const uint8_t *src, size_t n);

/* 0 and how many bytes it is; -ERR_SYNTAX: another alphabet, padding, white space, a length that
 * can't be, bits left over that are not 0; -ERR_TOO_BIG: more than `cap` bytes. */
MUST_USE int base64url_parse(uint8_t *out, size_t cap, const char *src, size_t n, size_t *len);

#endif
