/* uplink - the edge's session with its hub: which lanes there are, when they are dialled again,
 * what the hub assigned.  Control thread.
 *
 * Each worker has a slot, which keeps one lane up:
 *
 *   OFF -> WAITING (back-off) -> DIALLING -> UP -> WAITING ...
 *
 * The first slot to dial without a session founds one; the others join it when it stands, and it
 * alone tries again until then.  When the hub does not know the session any more (it was
 * restarted), one slot founds a new one at once.  What lanes of an earlier session still report
 * changes nothing: a slot whose lane it was dials again, that is all. (api/tunnel.md, Handshake and
 * sessions, Reconnect)
 *
 * A slot moves to another transport (transport_choice.h) with nobody noticing: a lane by it is
 * dialled beside the one that is up, joins the session, and takes all that is new; the old one
 * drains.
 */
#ifndef EDGE_UPLINK_H
#define EDGE_UPLINK_H

#include "edge/public_ports.h"
#include "edge/stun_client.h"
#include "edge/transport_choice.h"
#include "tunnel/backoff.h"

#define UPLINK_MOVE_SECS     86400u /* for streams of a lane that another transport has replaced */
#define UPLINK_MOVE_AGAIN_MS 5000u  /* after a move to the other transport failed */
#define UPLINK_REPLACED_MS   60000u /* after GOODBYE replaced: somebody else is this edge now */

enum slot_state { SLOT_OFF, SLOT_WAITING, SLOT_DIALLING, SLOT_UP };

struct uplink;

struct uplink_slot {
    struct uplink *uplink;      /* borrowed */
    struct edge_worker *worker; /* borrowed */
    enum slot_state state;      /* written by slot_enter() only */
    struct backoff backoff;
    struct deadline wait;
    uint64_t serial; /* of its lane while DIALLING or UP */
    uint64_t beside; /* of a lane by the other transport that is dialled to replace it; 0: none */
    enum link_transport transport; /* of its lane while UP */
};

/* A lane that is up, a draining one too. */
struct uplink_lane {
    struct list node;
    struct edge_worker *worker; /* borrowed */
    uint64_t serial;
    uint64_t generation; /* of its session */
    uint32_t number;
    uint64_t up_since_ms;
};

struct uplink {
    struct edge_shared *shared; /* borrowed */
    struct public_ports ports;
    struct stun_client stun;         /* stun_client_configure() is the owner's to call */
    struct transport_choice choice;  /* transport_choice_init() is the owner's to call */
    struct deadline move;            /* QUIC is to be tried again, or a move to be finished */
    struct credentials *credentials; /* counted; NULL: nothing to dial */
    struct uplink_slot *slots;       /* owned, one a worker */
    struct list lanes;               /* struct uplink_lane, owned */
    unsigned lane_count;
    uint64_t next_serial;
    uint32_t next_number;
    bool has_session;
    uint8_t session[SESSION_BYTES];
    uint64_t founder;          /* serial of the lane that is to found one; 0: none */
    uint64_t generation;       /* sessions so far */
    uint64_t founded_ms;       /* when the newest one stood */
    struct wire_config config; /* owned: the newest that was applied */
    struct deadline hold;      /* then the public ports are closed */
    struct deadline parked;    /* after `replaced` */
    bool is_parked, has_config;
    bool is_ending;       /* nothing is dialled or bound any more */
    uint64_t up_since_ms; /* 0: down */
    uint64_t connects;    /* how often the tunnel came up */
    char last_error[200];
    union addr hub;
};

void uplink_init(struct uplink *u, struct edge_shared *shared, const char *bind_address);
/* The workers have stopped. */
void uplink_fini(struct uplink *u);
/* Dials with these (counted here too) from now on; NULL: ends the tunnel and closes the ports. */
void uplink_set_credentials(struct uplink *u, struct credentials *credentials);
/* The public ports are closed, DRAIN goes to the hub on every lane: what is open may finish for
 * `secs` (0: without a word). */
void uplink_drain(struct uplink *u, unsigned secs);
/* GOODBYE draining on every lane. */
void uplink_leave(struct uplink *u);
/* For edge_shared.on_report. */
void uplink_on_report(void *arg, struct lane_report *report);

bool uplink_is_connected(const struct uplink *u);
/* By which transport new streams go, while connected. */
enum link_transport uplink_transport(const struct uplink *u);
/* For status: "connected", "connecting", "waiting", "replaced", "noCredentials". */
const char *uplink_phase(const struct uplink *u);

#endif
