/* assignment - what the hub assigned to this edge, and for how long it is kept while no hub is
 * there.  Control thread.
 *
 *   nothing -- take --> in force -- down --> held -- holdSecs --> suspended -- take_up --> in force
 *
 * A session's first CONFIG is always applied; then only a higher revision.  Each is acknowledged
 * with what came of it, and so is a port that can be bound later on, and the address under which
 * the world sees this edge (stun_client.h), which is asked for as often as the hub says.  While the
 * tunnel is away the ports stay open and clients wait, for holdSecs; then the ports are closed, and
 * open again with the next lane.  Whatever changes what is bound is an event: portsAssigned for a
 * session's first CONFIG, else portsUpdated.  Which lanes there are is uplink.c's business: it says
 * up and down, and sends the acknowledgement.  (api/tunnel.md, Configuration)
 */
#ifndef EDGE_ASSIGNMENT_H
#define EDGE_ASSIGNMENT_H

#include "edge/public_ports.h"
#include "edge/stun_client.h"

struct assignment {
    struct edge_shared *shared; /* borrowed */
    struct public_ports ports;
    struct stun_client stun;   /* stun_client_configure() is the owner's to call */
    struct wire_config config; /* owned: the newest that was applied */
    bool has_config, has_ended;
    struct deadline hold; /* then the public ports are closed */
    uint64_t connects;    /* how often the tunnel came up */
    /* On the lowest live lane, if there is one. */
    void (*send_ack)(void *arg, const char *json);
    void *arg;
};

void assignment_init(struct assignment *a, struct edge_shared *shared, const char *bind_address,
                     void (*send_ack)(void *arg, const char *json), void *arg);
/* The workers have stopped. */
void assignment_fini(struct assignment *a);
/* There is a hub to dial now, or another one than before: the public address is asked for. */
void assignment_begin(struct assignment *a);
/* A CONFIG of the session in force; moves out of `config` when it is applied.  `is_first`: that
 * began a session. */
void assignment_take(struct assignment *a, struct wire_config *config, bool is_first);
/* The first lane is up: clients may be held when it goes. */
void assignment_up(struct assignment *a);
/* A lane is up, the first one too, with its CONFIG: what was suspended is opened, who waits gets
 * in. */
void assignment_take_up(struct assignment *a, struct wire_config *config, bool is_first);
/* The last lane is gone. */
void assignment_down(struct assignment *a);
/* No hub is wanted any more: neither are its ports. */
void assignment_forget(struct assignment *a);
/* The edge ends: the ports are closed, UDP ones with their last flow, and none is bound any more.
 */
void assignment_end(struct assignment *a);

#endif
