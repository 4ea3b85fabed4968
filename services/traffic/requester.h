/* requester - who asks: what all exchanges of one client connection have in common, whatever
 * version of HTTP it speaks.
 *
 * The name of the handshake decides the route for the connection's whole life; it is looked up once
 * in each set of routes, and let go when a new set comes, however long the connection stays.
 */
#ifndef TRAFFIC_REQUESTER_H
#define TRAFFIC_REQUESTER_H

#include "traffic/forward_headers.h"
#include "traffic/route.h"

struct route_hold;
struct traffic_worker;

struct requester {
    struct traffic_worker *worker; /* borrowed */
    struct forward_client forward;
    const char *sni;           /* borrowed from TLS: lower case, no trailing dot */
    const char *tls_version;   /* borrowed from TLS: "TLS1.3" */
    const struct route *route; /* borrowed from `hold` */
    struct route_hold *hold;   /* counted: the set that `route` was looked up in; NULL: in none */
};

/* The route of the name of the handshake in the set in force, which is q->hold then; or NULL. */
const struct route *requester_route(struct requester *q);
/* Lets the set go.  Fine on a zeroed one. */
void requester_forget_route(struct requester *q);

/* REASON_NONE: the authority of a request is the name of the handshake, and that has a route.
 * REASON_HOST_INVALID, REASON_MISDIRECTED, REASON_NO_ROUTE: the request is none of ours. */
enum traffic_reason requester_check(struct requester *q, struct http_text authority);

#endif
