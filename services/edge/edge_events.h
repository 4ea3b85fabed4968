/* edge_events - what GET /v1/events of an edge tells. */
#ifndef EDGE_EDGE_EVENTS_H
#define EDGE_EDGE_EVENTS_H

#include "admin/events.h"

/* X(name, text) */
#define EDGE_EVENTS(X)                                                                             \
    X(CRASH_RECOVERED, "crashRecovered")                                                           \
    X(TUNNEL_CONNECTED, "tunnelConnected")                                                         \
    X(TUNNEL_DISCONNECTED, "tunnelDisconnected")                                                   \
    X(TRANSPORT_CHANGED, "transportChanged")                                                       \
    X(PUBLIC_IP_DISCOVERED, "publicIpDiscovered")                                                  \
    X(PORTS_ASSIGNED, "portsAssigned")                                                             \
    X(PORTS_UPDATED, "portsUpdated")
#define X(name, text) EDGE_EVENT_##name,
enum edge_event { EDGE_EVENTS(X) EDGE_EVENT_COUNT };
#undef X

struct assignment;
struct uplink;

extern const struct event_type edge_event_types[];

/* tunnelConnected, tunnelDisconnected. */
void edge_event_tunnel(struct events *e, enum edge_event type, const struct uplink *u);
/* transportChanged: by what the hub is dialled from now on, and why. */
void edge_event_transport(struct events *e, const struct uplink *u);
/* publicIpDiscovered: it became known, or is another now. */
void edge_event_public_ip(struct events *e, const char *public_ip);
/* portsAssigned, portsUpdated. */
void edge_event_ports(struct events *e, enum edge_event type, const struct assignment *a);

#endif
