/* edge_session - see edge_session.h. */
#include "hub/edge_session.h"

#include <stdlib.h>

#include "base/err.h"
#include "hub/desk.h"
#include "hub/hub_lane_mail.h"
#include "hub/unix_time.h"

/* The ports of the present revision. */
static void set_authority(struct edge_session *s, uint64_t now_ms)
{
    const struct edge *e = s->edge;

    authority_config(&s->authority.tcp, s->revision, e->ports.ports, e->ports.count, now_ms);
    authority_config(&s->authority.udp, s->revision, e->ports_udp.ports, e->ports_udp.count,
                     now_ms);
}

struct edge_session *edge_session_new(struct session *session, struct edge *edge,
                                      struct lane_record *carrier, uint64_t now_ms)
{
    struct edge_session *s = must_alloc(sizeof(*s));

    s->session = session;
    s->edge = edge;
    s->revision = 1;
    s->carrier = carrier;
    s->remote = carrier->peer;
    s->connected_unix = unix_time_now();
    authority_init(&s->authority.tcp);
    authority_init(&s->authority.udp);
    set_authority(s, now_ms);
    session->user = s;
    return s;
}

void edge_session_free(struct edge_session *s)
{
    authority_fini(&s->authority.tcp);
    authority_fini(&s->authority.udp);
    config_ack_fini(&s->ack);
    free(s);
}

void edge_session_config(const struct edge_session *s, struct wire_config *out)
{
    *out = (struct wire_config){.revision = s->revision,
                                .stun_interval_secs = s->edge->stun_interval_secs};
    port_list_copy(&out->ports, &s->edge->ports);
    port_list_copy(&out->ports_udp, &s->edge->ports_udp);
}

static char *config_text(const struct edge_session *s)
{
    struct wire_config config;
    char *text;

    edge_session_config(s, &config);
    text = wire_config_emit(&config, NULL);
    wire_config_fini(&config);
    return text;
}

/* Every lane but `except` learns which ports are good. */
static void tell_authority(const struct edge_session *s, const struct lane_record *except)
{
    LIST_EACH (&s->session->lanes, node, after) {
        struct lane_record *record = container_of(node, struct session_lane, node)->link;

        if (record != except)
            hub_lane_post_authority(record->lane, &s->authority, NULL);
    }
}

/* The newest CONFIG on the lowest live lane; without one it goes with the answer to the next. */
static void send_config(struct edge_session *s)
{
    s->carrier = session_first_link(s->session);
    if (s->carrier)
        hub_lane_post_authority(s->carrier->lane, &s->authority, config_text(s));
}

void edge_session_reconfigure(struct edge_session *s, uint64_t now_ms)
{
    s->revision++;
    set_authority(s, now_ms);
    /* First the others: a new port may be used on any lane as soon as the edge has the CONFIG. */
    tell_authority(s, session_first_link(s->session));
    send_config(s);
}

int edge_session_acked(struct edge_session *s, struct config_ack *ack, uint64_t now_ms)
{
    if (ack->revision > s->revision)
        return -ERR_PROTO;
    if (ack->revision < s->acked_revision)
        return 0; /* overtaken by a newer one on another lane */
    if (ack->revision > s->acked_revision) {
        s->acked_revision = ack->revision;
        authority_acked(&s->authority.tcp, ack->revision, now_ms);
        authority_acked(&s->authority.udp, ack->revision, now_ms);
        tell_authority(s, NULL);
    }
    if (ack->revision == s->revision)
        s->carrier = NULL;
    config_ack_fini(&s->ack);
    s->ack = *ack;
    *ack = (struct config_ack){0};
    return 0;
}

void edge_session_lane_lost(struct edge_session *s, const struct lane_record *record)
{
    if (s->carrier == record)
        send_config(s);
}
