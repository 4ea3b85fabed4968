/* traffic_events - see traffic_events.h. */
#include "traffic/traffic_events.h"

#include <time.h>

#include "traffic/cert_watch.h"
#include "traffic/route.h"
#include "json/json.h"

const struct event_type traffic_event_types[] = {
#define X(name, text) {text, false},
    TRAFFIC_EVENTS(X)
#undef X
        {NULL, false},
};

void traffic_event_routes(struct events *e, const struct route_set *live)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "revision", json_object_new_int64((int64_t)live->revision));
    json_object_object_add(o, "routes", json_object_new_int64((int64_t)live->count));
    events_raise(e, TRAFFIC_EVENT_ROUTES_UPDATED, o);
}

void traffic_event_rejected(struct events *e, uint64_t number, size_t faults)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "update", json_object_new_int64((int64_t)number));
    json_object_object_add(o, "faults", json_object_new_int64((int64_t)faults));
    events_raise(e, TRAFFIC_EVENT_ROUTES_REJECTED, o);
}

void traffic_event_target(struct events *e, const char *target, const char *by, const char *host,
                          bool is_up)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "target", json_object_new_string(target));
    json_object_object_add(o, "by", json_object_new_string(by));
    if (host)
        json_object_object_add(o, "host", json_object_new_string(host));
    events_post(e, is_up ? TRAFFIC_EVENT_TARGET_UP : TRAFFIC_EVENT_TARGET_DOWN, o);
}

void traffic_event_certificate(struct events *e, const struct cert_notice *notice)
{
    struct json_object *o = json_object_new_object();
    time_t at = (time_t)notice->not_after;
    char text[40];
    struct tm tm;

    gmtime_r(&at, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    json_object_object_add(o, "host", json_object_new_string(notice->host));
    json_object_object_add(o, "notAfter", json_object_new_string(text));
    json_object_object_add(o, "daysLeft", json_object_new_int64(notice->days_left));
    events_raise(e,
                 notice->is_expired ? TRAFFIC_EVENT_CERTIFICATE_EXPIRED
                                    : TRAFFIC_EVENT_CERTIFICATE_EXPIRING,
                 o);
}
