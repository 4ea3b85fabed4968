/* route_cert_json - the certificates in a route's JSON: {publicKey, privateKey, moreKeys?:
 * [{publicKey, privateKey}]}, and what is worth a warning in them.
 */
#ifndef TRAFFIC_ROUTE_CERT_JSON_H
#define TRAFFIC_ROUTE_CERT_JSON_H

#include "traffic/route_cert.h"
#include "traffic/route_json.h"

/* Sets route->cert and route->is_covered; route->host is known, or NULL after a fault.  `present`:
 * the route that it takes the place of (or NULL), whose certificate stays when `obj` names none or
 * the same.  Whatever is wrong is among the faults, and route->cert is NULL then. */
void route_cert_json_parse(struct route_build *b, struct route_certs *certs, const char *base,
                           struct json_object *obj, const struct route *present,
                           struct route *route);

#endif
