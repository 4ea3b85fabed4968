/* handshake - how a connection becomes a WebSocket, the client's side (RFC 6455, section 4).
 *
 * Pure: the nonce comes in.  We offer no extension and no subprotocol, so an answer that names one
 * is refused, as RFC 6455 wants it. */
#ifndef WS_HANDSHAKE_H
#define WS_HANDSHAKE_H

#include "ws/url.h"

#define WS_NONCE_BYTES 16u
#define WS_KEY_TEXT    25u   /* Sec-WebSocket-Key and its end */
#define WS_ACCEPT_TEXT 29u   /* Sec-WebSocket-Accept and its end */
#define WS_HEAD_MAX    8192u /* an answer's head */
#define WS_REQUEST_MAX 2048u

void ws_key_emit(const uint8_t nonce[WS_NONCE_BYTES], char out[WS_KEY_TEXT]);
void ws_accept_emit(const char *key, char out[WS_ACCEPT_TEXT]);

/* The request; its length. */
size_t ws_request_emit(const struct ws_url *url, const char *key, char out[WS_REQUEST_MAX]);

/* Looks at the first n bytes of an answer.  0 with *used: the head's length, the rest is frames;
 * *used 0: it is not whole yet.  -ERR_PROTO: refused, or no upgrade by the letter; -ERR_TOO_BIG:
 * no end within WS_HEAD_MAX.  `why` gets a sentence. */
MUST_USE int ws_answer_parse(const char *text, size_t n, const char *key, size_t *used, char *why,
                             size_t why_size);

#endif
