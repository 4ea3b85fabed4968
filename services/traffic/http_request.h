/* http_request - what every version of HTTP asks of a request: a method that we pass on, an
 * authority that is one, a target that is one, the protocols that it may be upgraded to.
 */
#ifndef TRAFFIC_HTTP_REQUEST_H
#define TRAFFIC_HTTP_REQUEST_H

#include "traffic/http_head.h"
#include "traffic/route.h"

/* Looks r->method up; sets is_idempotent and is_head.  REASON_NONE, REASON_BAD_METHOD,
 * REASON_METHOD_UNKNOWN, REASON_METHOD_REFUSED. */
enum traffic_reason http_method_check(struct http_request *r);

/* "name", "name:port", "[v6]:port": which bytes are there, not whether the name is one. */
bool http_is_authority(struct http_text t);

/* The name in an authority: lower case, without port and trailing dot, checked.
 * REASON_NONE, REASON_HOST_INVALID. */
enum traffic_reason http_host_normalise(struct http_text authority, char out[ROUTE_HOST_MAX + 1]);

/* r->target has no byte that a target cannot have.  REASON_BAD_TARGET. */
enum traffic_reason http_target_check_bytes(const struct http_request *r);
/* Origin-form, or "*" with OPTIONS. */
bool http_target_is_plain(const struct http_request *r);

/* False when a protocol of the list (Upgrade's value) would tunnel requests past us. */
bool http_may_upgrade(struct http_text protocols);

#endif
