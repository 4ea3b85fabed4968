/* route_file - the routes to begin with, from a file: the same JSON and the same rules as
 * PUT /v1/routes. */
#ifndef TRAFFIC_ROUTE_FILE_H
#define TRAFFIC_ROUTE_FILE_H

#include <stddef.h>
#include <stdio.h>

#include "traffic/route.h"
#include "traffic/traffic_conf.h"

/* The bytes of the file; `*text` is the caller's, to wipe and to free.  0; -ERR_SYS or -ERR_LIMIT:
 * *why (static) says it. */
MUST_USE int route_file_read(const char *path, size_t max, char **text, size_t *len,
                             const char **why);

/* The set of the file, sealed and numbered 1; of an empty path the empty set, numbered 0.  One
 * reference.  NULL: every fault, or why the file cannot be read, has been written to `err`. */
MUST_USE struct route_set *route_file_load(const char *path, const struct traffic_limits *limits,
                                           const struct auth_key *key, FILE *err);

#endif
