/* h2_websocket - see h2_websocket.h. */
#include "traffic/h2_websocket.h"

#include <assert.h>
#include <string.h>

#include "tls/tls.h"

#define GUID       "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define SHA1_BYTES 20u

static_assert(HTTP_ACCEPT_MAX > (SHA1_BYTES + 2) / 3 * 4, "an accept and its end");

/* Base64 with padding (RFC 4648 4) and a NUL. */
static void base64_emit(char *out, const uint8_t *src, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < n; i += 3) {
        unsigned bits = (unsigned)src[i] << 16;

        bits |= i + 1 < n ? (unsigned)src[i + 1] << 8 : 0;
        bits |= i + 2 < n ? (unsigned)src[i + 2] : 0;
        *out++ = digits[bits >> 18 & 63];
        *out++ = digits[bits >> 12 & 63];
        *out++ = i + 1 < n ? digits[bits >> 6 & 63] : '=';
        *out++ = i + 2 < n ? digits[bits & 63] : '=';
    }
    *out = '\0';
}

void h2_websocket_make(struct h2_websocket *w, const uint8_t random[H2_WEBSOCKET_KEY_BYTES])
{
    char text[H2_WEBSOCKET_KEY + sizeof(GUID)];
    uint8_t hash[SHA1_BYTES];

    base64_emit(w->key, random, H2_WEBSOCKET_KEY_BYTES);
    memcpy(text, w->key, H2_WEBSOCKET_KEY);
    memcpy(text + H2_WEBSOCKET_KEY, GUID, sizeof(GUID) - 1);
    tls_sha1(text, sizeof(text) - 1, hash);
    base64_emit(w->accept, hash, sizeof(hash));
}
