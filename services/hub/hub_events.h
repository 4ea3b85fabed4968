/* hub_events - what GET /v1/events of a hub tells. */
#ifndef HUB_HUB_EVENTS_H
#define HUB_HUB_EVENTS_H

#include "admin/events.h"

/* X(name, text, of a single stream) */
#define HUB_EVENTS(X)                                                                              \
    X(CRASH_RECOVERED, "crashRecovered", false)                                                    \
    X(EDGE_CONNECTED, "edgeConnected", false)                                                      \
    X(EDGE_DISCONNECTED, "edgeDisconnected", false)                                                \
    X(STREAM_OPENED, "streamOpened", true)                                                         \
    X(STREAM_CLOSED, "streamClosed", true)
#define X(name, text, is_stream) HUB_EVENT_##name,
enum hub_event { HUB_EVENTS(X) HUB_EVENT_COUNT };
#undef X

struct forward;
struct session;
union addr;

extern const struct event_type hub_event_types[];

void hub_event_edge_connected(struct events *e, const struct session *s, const union addr *remote);
void hub_event_edge_disconnected(struct events *e, const struct session *s, const char *reason);
/* On the worker of its lane; nothing where nobody listens. */
void hub_event_stream(struct events *e, enum hub_event type, const struct forward *f);

#endif
