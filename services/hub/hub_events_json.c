/* hub_events - see hub_events.h. */
#include "hub/hub_events.h"

#include "hub/edge_session.h"
#include "hub/forward.h"
#include "hub/hub_counters.h"
#include "json/json.h"

const struct event_type hub_event_types[] = {
#define X(name, text, is_stream) {text, is_stream},
    HUB_EVENTS(X)
#undef X
        {NULL, false},
};

static struct json_object *of_session(const struct session *s)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "edgeId", json_object_new_string(s->edge_id));
    json_object_object_add(o, "instance", json_object_new_string(s->instance));
    json_object_object_add(o, "generation", json_object_new_int64((int64_t)s->generation));
    return o;
}

void hub_event_edge_connected(struct events *e, const struct session *s, const union addr *remote)
{
    struct json_object *o = of_session(s);
    char text[ADDR_TEXT_MAX];

    json_object_object_add(o, "remoteAddress",
                           json_object_new_string(addr_format_host(remote, text)));
    events_raise(e, HUB_EVENT_EDGE_CONNECTED, o);
}

void hub_event_edge_disconnected(struct events *e, const struct session *s, const char *reason)
{
    struct json_object *o = of_session(s);

    json_object_object_add(o, "reason", json_object_new_string(reason));
    events_raise(e, HUB_EVENT_EDGE_DISCONNECTED, o);
}

void hub_event_stream(struct events *e, enum hub_event type, const struct forward *f)
{
    struct json_object *o;
    union addr client = {0};
    char text[ADDR_TEXT_MAX];

    if (!events_wants(e, type))
        return;
    o = json_object_new_object();
    proxy_header_src(&f->client, &client.storage);
    json_object_object_add(o, "edgeId", json_object_new_string(f->lane->edge_id));
    json_object_object_add(o, "client", json_object_new_string(addr_format(&client, text)));
    json_object_object_add(o, "port", json_object_new_int(f->client.dst_port));
    json_object_object_add(o, "target", json_object_new_string(f->target.host));
    json_object_object_add(o, "targetPort", json_object_new_int(f->target.port));
    if (type == HUB_EVENT_STREAM_CLOSED) {
        json_object_object_add(o, "result", json_object_new_string(stream_result_names[f->result]));
        json_object_object_add(o, "bytesIn",
                               json_object_new_int64((int64_t)stream_bytes_in(&f->stream)));
        json_object_object_add(o, "bytesOut",
                               json_object_new_int64((int64_t)stream_bytes_out(&f->stream)));
    }
    events_post(e, type, o);
}
