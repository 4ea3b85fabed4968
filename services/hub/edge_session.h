/* edge_session - what the desk knows of a session beyond the book (tunnel/session.h): which CONFIG
 * is out and which was acknowledged, the ports in force in time, what the edge reported.
 *
 *   NEW CONFIG (revision + 1) --> on the lowest live lane --> CONFIG_ACK
 *          ^                                |
 *          '--- that lane died first: ------'  the newest again on the then lowest
 *
 * (api/tunnel.md, CONFIG, Revision, Authority in time)
 */
#ifndef HUB_EDGE_SESSION_H
#define HUB_EDGE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "loop/addr.h"
#include "tunnel/authority.h"
#include "tunnel/session.h"
#include "wire/control.h"

struct edge;
struct lane_record;

struct edge_session {
    struct session *session; /* borrowed from the book */
    struct edge *edge;       /* borrowed from the registry: its sessions end before it goes */
    uint64_t revision;       /* of the newest CONFIG */
    uint64_t acked_revision;
    struct lane_record *carrier; /* borrowed: the lane with the CONFIG that is not acknowledged */
    struct authority_pair authority; /* of every lane: each has a copy */
    struct config_ack ack;           /* owned: the newest */
    union addr remote;               /* of the lane that began it */
    int64_t connected_unix;
    uint64_t past_in, past_out, past_udp_dropped; /* of its lanes that are gone: bytes, datagrams */
};

/* For a session that has just begun with `carrier`: revision 1 goes with the answer. */
struct edge_session *edge_session_new(struct session *session, struct edge *edge,
                                      struct lane_record *carrier, uint64_t now_ms);
void edge_session_free(struct edge_session *s);
/* The configuration in force, for the answer of a lane; wire_config_fini() it. */
void edge_session_config(const struct edge_session *s, struct wire_config *out);
/* The edge's ports or interval changed: a new revision to all lanes. */
void edge_session_reconfigure(struct edge_session *s, uint64_t now_ms);
/* 0; -ERR_PROTO: a revision that was never sent.  The ack's lists move. */
MUST_USE int edge_session_acked(struct edge_session *s, struct config_ack *ack, uint64_t now_ms);
/* Call it after session_lane_lost(). */
void edge_session_lane_lost(struct edge_session *s, const struct lane_record *record);

#endif
