/* route_store - the last good set of routes in the state folder: what a start begins with.
 *
 * <stateDir>/routes.json, mode 0600, since private keys are in it.  A new one is written beside it,
 * brought to the disk, and takes its place in one step: whoever reads it, whenever the machine
 * stopped, finds the old set or the new one.
 */
#ifndef TRAFFIC_ROUTE_STORE_H
#define TRAFFIC_ROUTE_STORE_H

#include "traffic/route.h"
#include "json/json.h"

/* Any thread, one at a time.  0; -ERR_IO with a sentence in `why`: the old file stays. */
MUST_USE int route_store_write(const char *folder, const struct route_set *set, char *why,
                               size_t why_size);
struct route_store_found {
    struct route_set *set; /* counted: with its revision; NULL: none */
    /* The routes of the file that are not in the set, since they cannot be used now: one fault
     * each, host name and cause.  The file stays as it is, and as routes.json.whole when the next
     * set takes its place. */
    struct json_check left_out;
};

/* 0; -ERR_NOT_FOUND: there is none; -ERR_IO: it cannot be read; -ERR_SYNTAX: it holds something
 * else, and was put aside as routes.json.bad, now or by an earlier start.  `why` says what.  In any
 * case the set and the faults are the caller's. */
MUST_USE int route_store_read(const char *folder, const struct auth_key *key,
                              struct route_store_found *out, char *why, size_t why_size);

#endif
