/* traffic_events - what GET /v1/events of traffic tells. */
#ifndef TRAFFIC_TRAFFIC_EVENTS_H
#define TRAFFIC_TRAFFIC_EVENTS_H

#include "admin/events.h"

/* X(name, text). */
#define TRAFFIC_EVENTS(X)                                                                          \
    X(CRASH_RECOVERED, "crashRecovered")                                                           \
    X(ROUTES_UPDATED, "routesUpdated")                                                             \
    X(ROUTES_REJECTED, "routesRejected")                                                           \
    X(TARGET_DOWN, "targetDown")                                                                   \
    X(TARGET_UP, "targetUp")                                                                       \
    X(CERTIFICATE_EXPIRING, "certificateExpiring")                                                 \
    X(CERTIFICATE_EXPIRED, "certificateExpired")
#define X(name, text) TRAFFIC_EVENT_##name,
enum traffic_event { TRAFFIC_EVENTS(X) TRAFFIC_EVENT_COUNT };
#undef X

struct cert_notice;
struct route_set;

extern const struct event_type traffic_event_types[];

void traffic_event_routes(struct events *e, const struct route_set *live);
void traffic_event_rejected(struct events *e, uint64_t number, size_t faults);
/* From any thread.  `by`: "connection" (a worker's own) or "healthCheck", with the `host` that it
 * asked for; else NULL. */
void traffic_event_target(struct events *e, const char *target, const char *by, const char *host,
                          bool is_up);
void traffic_event_certificate(struct events *e, const struct cert_notice *notice);

#endif
