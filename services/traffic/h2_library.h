/* h2_library - nghttp2 as an HTTP/2 connection uses it: its options, our settings, and the
 * callbacks that tell the session (h2_session.h) and its streams (h2_stream.h) what came and what
 * went.
 *
 * Windows are opened by hand, priorities are off, closed streams are not kept; payload leaves
 * without a copy, in frames that fill a TLS record each.
 */
#ifndef TRAFFIC_H2_LIBRARY_H
#define TRAFFIC_H2_LIBRARY_H

#include "base/must.h"

struct h2_session;
struct traffic_limits;

/* Makes s->ng, and submits our settings.  0, -ERR_NOMEM. */
MUST_USE int h2_library_new(struct h2_session *s, const struct traffic_limits *limits);

#endif
