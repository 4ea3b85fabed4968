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

void edge_event_public_ip(struct events *e, const char *public_ip)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "publicIp", json_object_new_string(public_ip));
    events_raise(e, EDGE_EVENT_PUBLIC_IP_DISCOVERED, o);
}

void edge_event_ports(struct events *e, enum edge_event type, const struct uplink *u)
{
    struct json_object *o = json_object_new_object(), *ports = json_object_new_array();
    struct json_object *errors = json_object_new_array();
    struct config_ack ack = {0};

    public_ports_describe(&u->ports, &ack);
    for (size_t i = 0; i < ack.ports.count; i++)
        json_object_array_add(ports, json_object_new_int(ack.ports.ports[i]));
    for (size_t i = 0; i < ack.fault_count; i++) {
        struct json_object *error = json_object_new_object();

        json_object_object_add(error, "port", json_object_new_int(ack.faults[i].port));
        json_object_object_add(error, "error", json_object_new_string(ack.faults[i].error));
        json_object_array_add(errors, error);
    }
    config_ack_fini(&ack);
    json_object_object_add(o, "revision", json_object_new_int64((int64_t)u->config.revision));
    json_object_object_add(o, "listenPorts", ports);
    json_object_object_add(o, "portErrors", errors);
    events_raise(e, type, o);
}
