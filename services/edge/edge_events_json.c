/* edge_events - see edge_events.h. */
#include "edge/edge_events.h"

#include "edge/uplink.h"
#include "json/json.h"

const struct event_type edge_event_types[] = {
#define X(name, text) {text, false},
    EDGE_EVENTS(X)
#undef X
        {NULL, false},
};

void edge_event_tunnel(struct events *e, enum edge_event type, const struct uplink *u)
{
    struct json_object *o = json_object_new_object();
    char text[ADDR_TEXT_MAX];

    if (type == EDGE_EVENT_TUNNEL_CONNECTED)
        json_object_object_add(o, "hub", json_object_new_string(addr_format(&u->hub, text)));
    else
        json_object_object_add(o, "reason", json_object_new_string(u->last_error));
    events_raise(e, type, o);
}

void edge_event_transport(struct events *e, const struct uplink *u)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "transport",
                           json_object_new_string(link_transport_name(u->choice.next)));
    json_object_object_add(o, "reason",
                           json_object_new_string(transport_reason_name(u->choice.reason)));
    events_raise(e, EDGE_EVENT_TRANSPORT_CHANGED, o);
}

void edge_event_public_ip(struct events *e, const char *public_ip)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "publicIp", json_object_new_string(public_ip));
    events_raise(e, EDGE_EVENT_PUBLIC_IP_DISCOVERED, o);
}

void edge_event_ports(struct events *e, enum edge_event type, const struct assignment *a)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "revision", json_object_new_int64((int64_t)a->config.revision));
    public_ports_add_json(&a->ports, o);
    events_raise(e, type, o);
}
