/* udp_owner - what the owner of UDP sessions does in the fuzz targets of lanes. */
#ifndef FUZZ_UDP_OWNER_H
#define FUZZ_UDP_OWNER_H

#include "base/must.h"
#include "tunnel/udp_session.h"

static volatile uint8_t touched;

static void on_datagram(struct udp_session *u, const uint8_t *bytes, size_t n)
{
    must(u->state == UDP_OPEN && n <= UDP_DATAGRAM_MAX);
    if (n > 0)
        touched = (uint8_t)(touched + bytes[0] + bytes[n - 1]); /* they can be read */
}

static void on_closed(struct udp_session *u)
{
    must(u->state != UDP_OPEN);
}

/* One that is not in use, or NULL. */
static struct udp_session *idle_session(struct udp_session *sessions, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct udp_session *u = &sessions[i];

        if (u->on_closed && u->state == UDP_OPEN)
            continue;
        udp_session_release(u);
        udp_session_init(u, on_datagram, on_closed);
        return u;
    }
    return NULL;
}

/* A hub's lane_ops.on_udp_open: port 9 is not allowed. */
static struct udp_session *answer_udp_open(struct udp_session *sessions, unsigned count,
                                           uint16_t port, enum udp_end *refuse)
{
    *refuse = port == 9 ? UDP_END_NOT_ALLOWED : UDP_END_LIMIT;
    return port == 9 ? NULL : idle_session(sessions, count);
}

#endif
