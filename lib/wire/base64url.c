/* base64url - see base64url.h. */
#include "wire/base64url.h"

#include <string.h>

#include "base/err.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

size_t base64url_emit(char *out, const uint8_t *src, size_t n)
{
    char *p = out;
    uint32_t bits = 0;
    unsigned have = 0; /* bits not written yet: 0, 2 or 4 */

    for (size_t i = 0; i < n; i++) {
        bits = bits << 8 | src[i];
        for (have += 8; have >= 6; have -= 6)
            *p++ = alphabet[(bits >> (have - 6)) & 63];
    }
    if (have > 0)
        *p++ = alphabet[(bits << (6 - have)) & 63];
    *p = '\0';
    must((size_t)(p - out) == BASE64URL_LEN(n));
    return (size_t)(p - out);
}

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

int base64url_parse(uint8_t *out, size_t cap, const char *src, size_t n, size_t *len)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t count = 0;

    *len = 0;
    if (n % 4 == 1)
        return -ERR_SYNTAX;
    for (size_t i = 0; i < n; i++) {
        int v = value_of(src[i]);
        if (v < 0)
            return -ERR_SYNTAX;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        if (count == cap)
            return -ERR_TOO_BIG;
        out[count++] = (uint8_t)(bits >> have);
    }
    if (bits & ((1u << have) - 1))
        return -ERR_SYNTAX; /* a second text for the same bytes */
    *len = count;
    return 0;
}
