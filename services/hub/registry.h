/* registry - the edges that the hub knows: their secrets, ports and limits.  In memory; the control
 * thread's alone.  change.h makes what changes durable first, registry_store.h reads it back.
 *
 * It says nothing to anyone: who changes an edge tells its sessions (desk.h) what that means for
 * them (edge_change).
 */
#ifndef HUB_REGISTRY_H
#define HUB_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/must.h"
#include "wire/control.h"
#include "wire/identity.h"

struct edge_share;
struct json_check;
struct json_object;
struct own_listeners;
struct target_map;

#define REGISTRY_MAX           100000
#define REGISTRY_ETAG_MAX      64
#define EDGE_INSTANCES_MAX     64
#define EDGE_STUN_SECS_DEFAULT 300
#define GRACE_SECS_MAX         (30 * 86400) /* of the secret before a new one */
#define EDGE_SECRET_MADE       43           /* characters: 32 random bytes in base64url */

/* What somebody wants an edge to be. */
struct edge_spec {
    char id[EDGE_ID_MAX + 1];
    char secret[SECRET_MAX + 1]; /* "": keep the one there is */
    char *secret_file;           /* owned, configuration only: read, or made when missing */
    struct port_list ports;      /* owned: listenPorts */
    struct port_list ports_udp;  /* owned: listenPortsUdp */
    uint32_t stun_interval_secs; /* 0: off */
    unsigned max_instances;
    bool is_enabled;
};

void edge_spec_init(struct edge_spec *spec); /* the defaults */
void edge_spec_fini(struct edge_spec *spec); /* wipes the secret; fine on a zeroed one */
void edge_spec_make_secret(struct edge_spec *spec);

/* Until when the secret before a new one is good.  Made once for a change, when it is asked for:
 * the answer, the store and the registry say the same time.  Zeroed: not at all. */
struct secret_grace {
    uint64_t until_ms;  /* of the loop's clock: counts */
    int64_t until_unix; /* for people, and for another run of the hub */
};

/* For grace_ms from now on; 0: not at all. */
struct secret_grace secret_grace_of(uint64_t grace_ms, uint64_t now_ms, int64_t now_unix);

struct edge {
    char id[EDGE_ID_MAX + 1];
    char secret[SECRET_MAX + 1];
    char old_secret[SECRET_MAX + 1]; /* good until old_until; "": none */
    struct secret_grace old_until;
    uint64_t secret_number;            /* of the present secret in this run: the one before has the
                                          number before */
    struct port_list ports, ports_udp; /* owned */
    uint32_t stun_interval_secs;
    unsigned max_instances;
    bool is_enabled;
    uint64_t revision;          /* of the registry when it was changed last */
    uint64_t past_in, past_out; /* bytes of lanes that are gone: metrics */
    uint64_t live_in, live_out; /* scratch of a scrape */
    unsigned sessions;          /* of the desk: what points here */
    struct list records;        /* struct lane_record, borrowed from the desk: the same */
    struct edge_share *share;   /* counted: the same, from its first session on */
};

/* What a change means for a connected edge; bits. */
enum edge_change {
    EDGE_SAME = 0,
    EDGE_ADDED = 1,
    EDGE_NEW_CONFIG = 2,   /* its ports or STUN interval: a CONFIG */
    EDGE_NEW_SECRET = 4,   /* its tunnels are closed: secret_changed */
    EDGE_NOW_DISABLED = 8, /* edge_disabled */
    EDGE_OTHER = 16,       /* shows in the API only */
};

struct registry {
    struct edge **edges; /* owned, by id */
    size_t count, cap, limit;
    uint64_t revision;                /* rises with every change */
    char boot[9];                     /* random: etags of another run are never ours */
    char decoy[EDGE_SECRET_MADE + 1]; /* the secret of no edge: verdict.h */
};

void registry_init(struct registry *r, size_t limit);
void registry_fini(struct registry *r);
struct edge *registry_find(const struct registry *r, const char *id);

/* Adds the edge, or makes it what the spec says, with its secret; a spec without one keeps that of
 * an edge that is there, and is not for a new edge.  The ports move out of the spec.  *change
 * (bits) says what it was.  0; -ERR_LIMIT: limits.edges. */
MUST_USE int registry_put(struct registry *r, struct edge_spec *spec, unsigned *change);
/* What registry_put() would say. */
unsigned registry_compare(const struct registry *r, const struct edge_spec *spec);
/* Frees it. */
void registry_remove(struct registry *r, struct edge *edge);
/* A new secret; the old one is good for that long. */
void registry_renew_secret(struct registry *r, struct edge *edge, const char *secret,
                           struct secret_grace grace);

/* The edge as registry_put() and registry_renew_secret() would leave it: a copy that stands alone,
 * for edge_preview_fini().  The spec stays whole. */
void registry_preview(const struct registry *r, const struct edge_spec *spec, struct edge *out);
void registry_preview_renewal(const struct registry *r, const struct edge_spec *spec,
                              struct secret_grace grace, struct edge *out);
void edge_preview_fini(struct edge *edge); /* wipes */

/* The secret before the present one, while it is good; else NULL. */
const char *edge_old_secret(const struct edge *edge, uint64_t now_ms);
/* Whether what was proved with the secret of this number is good still. */
bool edge_is_secret_good(const struct edge *edge, uint64_t number, uint64_t now_ms);

/* Of the whole set (edge NULL) or of one edge. */
const char *registry_etag(const struct registry *r, const struct edge *edge,
                          char out[REGISTRY_ETAG_MAX]);

/* --- JSON ------------------------------------------------------------------------------------- */

/* Where ports and targets meet: a public port whose target is a listener of the hub is a fault.
 * Either may be NULL: not checked. */
struct spec_rules {
    const struct target_map *targets, *targets_udp;
    const struct own_listeners *own;
};

enum spec_source { SPEC_FROM_API, SPEC_FROM_CONF };

/* Reads an object over what `spec` holds already (its defaults, or an edge as it is).  `base` is
 * where it stands.  Without id in the object spec->id stays.  Faults go to `faults`. */
void edge_spec_parse(struct edge_spec *spec, struct json_object *obj, enum spec_source source,
                     const struct spec_rules *rules, struct json_check *faults, const char *base);
/* An edge as a spec, without its secret. */
void edge_spec_of(struct edge_spec *spec, const struct edge *edge);
/* A list of edges, none twice: *out and *count are the caller's (edge_spec_fini each, free).
 * 0, -ERR_SYNTAX. */
MUST_USE int edge_specs_parse(struct edge_spec **out, size_t *count, struct json_object *list,
                              size_t limit, enum spec_source source, const struct spec_rules *rules,
                              struct json_check *faults, const char *base);
/* For the configuration's table: faults only. */
void registry_check_conf(struct json_check *faults, const char *base, struct json_object *list,
                         size_t limit);
/* Without secrets; the caller's. */
struct json_object *edge_emit(const struct edge *edge);
/* Its `oldSecretGoodUntil`, and that of the answer to who asked for a new secret. */
void secret_grace_emit(struct json_object *obj, struct secret_grace grace);

#endif
