/* forward_headers - which fields of a message cross the proxy, and which it adds.
 *
 * To the origin: nothing hop by hop, nothing that Connection names, no X-Forwarded-*, Forwarded,
 * X-Real-IP of the client's (nor names that a server would take for one of them: X_Forwarded_For);
 * X-Forwarded-For, -Proto, -Host and Forwarded (RFC 7239) of our own.
 * To the client: nothing hop by hop; no version header but ours.
 * Framing (Content-Length, Transfer-Encoding) is always written anew.
 */
#ifndef TRAFFIC_FORWARD_HEADERS_H
#define TRAFFIC_FORWARD_HEADERS_H

#include "loop/listener.h"
#include "traffic/http_head.h"

#define FORWARD_EXTRAS_MAX 1536u

/* Who asks, ready for the extras of every request of a connection. */
struct forward_client {
    char address[ADDR_TEXT_MAX]; /* without port and brackets */
    bool is_ipv6;
};

void forward_client_set(struct forward_client *c, const union addr *client);

/* Marks what does not go on.  `drops_authorization`: it was meant for us. */
void forward_request_filter(struct http_request *r, bool drops_authorization);
/* X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host and Forwarded as lines of HTTP/1; returns
 * their length, 0 when they do not fit (the authority is checked, so it has an end). */
size_t forward_extras(char out[FORWARD_EXTRAS_MAX], const struct forward_client *c,
                      struct http_text authority);
/* Marks what does not go on; `version_header` is the name of ours, or NULL. */
void forward_response_filter(struct http_response *r, const char *version_header);

#endif
