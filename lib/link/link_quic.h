/* link_quic - what the pump of a link on QUIC (link_quic.c) and its callbacks (link_quic_events.c)
 * share.  Of link/ only.
 */
#ifndef LINK_LINK_QUIC_H
#define LINK_LINK_QUIC_H

#include "link/link_internal.h"
#include "quic/quic.h"
#include "tunnel/lane_quic.h"

#define CONTROL_ID 0
/* What the hub resets a stream of its own with, to say so (api/tunnel.md, Which transport). */
#define PATH_COLLAPSED 0x10

extern const struct quic_ops link_quic_events;

/* From a callback: the pump says goodbye. */
void link_quic_broken(struct link *link, const char *fault);
/* What was picked and found no packet is the next one again. */
void link_quic_take_back(struct link *link);

#endif
