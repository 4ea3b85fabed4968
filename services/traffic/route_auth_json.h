/* route_auth_json - `authentication` of a route's object: a password, its hash, or what the state
 * file has in its place. */
#ifndef TRAFFIC_ROUTE_AUTH_JSON_H
#define TRAFFIC_ROUTE_AUTH_JSON_H

#include "traffic/route_json.h"

/* Into route->auth; faults go to the build's, and `base` is the route's pointer.  `present` is what
 * the route had (or NULL): where no password is given it stays, if the user is the same and its
 * password is not lost. */
void route_auth_json_parse(struct route_build *b, const char *base, struct json_object *obj,
                           const struct route_auth *present, struct route *route);

#endif
