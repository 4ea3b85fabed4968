/* h1_response - an answer's head in HTTP/1, as strict as a request's: an origin whose answer could
 * be read in two ways is not believed at all. */
#ifndef TRAFFIC_H1_RESPONSE_H
#define TRAFFIC_H1_RESPONSE_H

#include "traffic/h1_scan.h"

/* A whole head.  `to_head`: the request was HEAD, so no body follows whatever the fields say.
 * REASON_NONE, REASON_UPSTREAM_INVALID (*why then says what was wrong; it may be NULL). */
enum traffic_reason h1_response_parse(struct http_response *out, const char *head,
                                      const struct h1_scan *scan, const struct h1_limits *limits,
                                      bool to_head, enum traffic_reason *why);

#endif
