/* h2_websocket - the key of a WebSocket's opening handshake, made here: over HTTP/2 the client has
 * none (RFC 8441), and the origin, which speaks HTTP/1.1, wants one (RFC 6455 4.2.2).
 */
#ifndef TRAFFIC_H2_WEBSOCKET_H
#define TRAFFIC_H2_WEBSOCKET_H

#include "traffic/http_head.h"

#define H2_WEBSOCKET_KEY_BYTES 16u
#define H2_WEBSOCKET_KEY       24u /* them in base64 */

struct h2_websocket {
    char key[H2_WEBSOCKET_KEY + 1]; /* Sec-WebSocket-Key */
    char accept[HTTP_ACCEPT_MAX];   /* Sec-WebSocket-Accept that proves the origin understood */
};

void h2_websocket_make(struct h2_websocket *w, const uint8_t random[H2_WEBSOCKET_KEY_BYTES]);

#endif
