/* forward_rules - what a route does to the header fields of its requests and answers: `headers` and
 * `hsts` of route_options.h, behind what forward_headers.h does for every route. */
#ifndef TRAFFIC_FORWARD_RULES_H
#define TRAFFIC_FORWARD_RULES_H

#include "traffic/h1_emit.h"
#include "traffic/http_head.h"
#include "traffic/route_options.h"

/* Marks the fields that are removed or take another value, and puts the new ones as lines of
 * HTTP/1. */
void forward_rules_request(const struct route_options *options, struct http_request *r,
                           struct h1_text *extras);
/* The same for an answer; the new fields join its list, borrowed from the options. REASON_NONE, or
 * REASON_TOO_MANY_FIELDS: there is no place for them. */
MUST_USE enum traffic_reason forward_rules_response(const struct route_options *options,
                                                    struct http_response *r);

#endif
