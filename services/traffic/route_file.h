/* route_file - the routes to begin with, from a file: the same JSON and the same rules as
 * PUT /v1/routes. */
#ifndef TRAFFIC_ROUTE_FILE_H
#define TRAFFIC_ROUTE_FILE_H

#include <stdio.h>

#include "traffic/route.h"
#include "traffic/traffic_conf.h"

/* The set of the file, sealed and numbered 1; of an empty path the empty set, numbered 0.  One
 * reference.  NULL: every fault, or why the file cannot be read, has been written to `err`. */
MUST_USE struct route_set *route_file_load(const char *path, const struct traffic_limits *limits,
                                           const struct auth_key *key, FILE *err);

#endif
