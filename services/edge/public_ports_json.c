/* public_ports_json - what is bound and what failed, as the status and the events tell it. */
#include "edge/public_ports.h"
#include "json/json.h"

static struct json_object *list_of(const struct port_list *ports)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < ports->count; i++)
        json_object_array_add(list, json_object_new_int(ports->ports[i]));
    return list;
}

static struct json_object *fault_of(const struct port_fault *fault)
{
    struct json_object *o = json_object_new_object();
    const char *protocol = fault->protocol == PORT_UDP ? "udp" : "tcp";

    json_object_object_add(o, "port", json_object_new_int(fault->port));
    json_object_object_add(o, "protocol", json_object_new_string(protocol));
    json_object_object_add(o, "error", json_object_new_string(fault->error));
    return o;
}

void public_ports_add_json(const struct public_ports *p, struct json_object *o)
{
    struct json_object *errors = json_object_new_array();
    struct config_ack ack = {0};

    public_ports_describe(p, &ack);
    for (size_t i = 0; i < ack.fault_count; i++)
        json_object_array_add(errors, fault_of(&ack.faults[i]));
    json_object_object_add(o, "listenPorts", list_of(&ack.ports));
    json_object_object_add(o, "listenPortsUdp", list_of(&ack.ports_udp));
    json_object_object_add(o, "portErrors", errors);
    config_ack_fini(&ack);
}
