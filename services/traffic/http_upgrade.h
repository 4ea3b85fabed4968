/* http_upgrade - what a client asked to switch to (RFC 9110, 7.8), and whether a 101 of the origin
 * is the answer to it. */
#ifndef TRAFFIC_HTTP_UPGRADE_H
#define TRAFFIC_HTTP_UPGRADE_H

#include "traffic/http_head.h"

struct http_upgrade {
    uint8_t protocols_len; /* 0: nothing was asked for */
    char protocols[HTTP_UPGRADE_MAX];
    char accept[HTTP_ACCEPT_MAX]; /* Sec-WebSocket-Accept that the 101 must have; "": any */
};

/* Keeps what `r` asks for, beyond the life of its text. */
void http_upgrade_note(struct http_upgrade *u, const struct http_request *r);

static inline bool http_upgrade_is_asked(const struct http_upgrade *u)
{
    return u->protocols_len > 0;
}

/* Of a 101: it switches to what was asked for and to nothing else ("h2c", say, would be a tunnel
 * that the client did not ask for), and has the answer to our key (RFC 6455, 4.2.2), where it was
 * we who made one for a client that has none of its own. */
bool http_upgrade_is_answered(const struct http_upgrade *u, const struct http_response *r);

#endif
