/* route_store - the last good set of routes in the state folder: what a start begins with.
 *
 * <stateDir>/routes.json, mode 0600, since private keys are in it.  A new one is written beside it,
 * brought to the disk, and takes its place in one step: whoever reads it, whenever the machine
 * stopped, finds the old set or the new one.
 */
#ifndef TRAFFIC_ROUTE_STORE_H
#define TRAFFIC_ROUTE_STORE_H

#include "traffic/route.h"

/* Any thread, one at a time.  0; -ERR_IO with a sentence in `why`: the old file stays. */
MUST_USE int route_store_write(const char *folder, const struct route_set *set, char *why,
                               size_t why_size);
/* The set with its revision, one reference.  0; -ERR_NOT_FOUND: there is none; -ERR_IO: it cannot
 * be read, -ERR_SYNTAX: it holds something else (`why` says what); such a file is put aside as
 * routes.json.bad. */
MUST_USE int route_store_read(const char *folder, const struct auth_key *key,
                              struct route_set **out, char *why, size_t why_size);

#endif
