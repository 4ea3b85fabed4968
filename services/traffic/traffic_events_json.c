/* traffic_events - see traffic_events.h. */
#include "traffic/traffic_events.h"

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
