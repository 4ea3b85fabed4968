/* traffic - the service as one object: its configuration, its control loop, its threads and what
 * they share.  main.c starts and stops it; the management API (traffic_api_json.h) reads it.
 *
 * Everything here belongs to the control thread.
 */
#ifndef TRAFFIC_TRAFFIC_H
#define TRAFFIC_TRAFFIC_H

#include "admin/service.h"
#include "admin/service_drain.h"
#include "loop/worker.h"
#include "traffic/cert_watch.h"
#include "traffic/coreflow.h"
#include "traffic/health.h"
#include "traffic/route_apply.h"
#include "traffic/route_watch.h"
#include "traffic/state_folder.h"
#include "traffic/traffic_conf.h"
#include "traffic/traffic_worker.h"
#include "traffic/trust_watch.h"

struct resolver;

struct traffic {
    struct traffic_conf conf;
    struct loop *loop;         /* owned */
    struct resolver *resolver; /* owned */
    struct state_folder state;
    struct route_apply *apply; /* owned */
    struct route_watch routes_file;
    struct trust_watch trust;
    struct coreflow coreflow;
    struct health health;
    struct cert_watch certs;
    struct tls_tickets *tickets; /* counted: in force; NULL: none */
    struct deadline rotation;    /* of the tickets' keys */

    struct worker *threads;          /* owned: workers_count of them */
    struct traffic_worker **workers; /* owned */
    unsigned workers_count;
    struct traffic_shared *shared;     /* owned */
    struct traffic_settings *settings; /* counted: in force */

    struct admin *admin;              /* owned */
    struct admin_route *admin_routes; /* owned */
    struct service_tokens tokens;
    char http_address[ADDR_TEXT_MAX], https_address[ADDR_TEXT_MAX]; /* as bound */
    struct events *events;                                          /* owned */
    struct service_drain drain;
    struct crash crash; /* why this process was started, if after a crash */
    uint64_t started_us;
};

/* Everything from routesFile to the listeners, in `t` whose conf is filled and whose rest is
 * zeroed. 0, or -ERR_* after the reason was logged; then traffic_stop() still has to be called. */
MUST_USE int traffic_start(struct traffic *t);
/* Ends in order: no more accepts, open connections reset, threads joined, everything freed but
 * conf. */
void traffic_stop(struct traffic *t);
/* Takes what is hot from `next`, which differs in nothing else; what it replaces is left there.  0,
 * or -ERR_* after the reason was logged: nothing has changed then. */
MUST_USE int traffic_reload(struct traffic *t, struct traffic_conf *next);
/* What it serves is what somebody wants to be served, also if that is nothing: false at a start
 * without routes that has lost what was stored, or waits for Coreflow's first set. */
bool traffic_has_routes(const struct traffic *t);
/* Of the set that the start began with; 0 once a whole set has come. */
uint64_t traffic_routes_left_out(const struct traffic *t);
/* The sums over all workers. */
void traffic_sum(const struct traffic *t, struct traffic_stats *out);

#endif
