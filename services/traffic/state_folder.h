/* state_folder - what traffic keeps in stateDir: the key of the passwords (auth-key) and the last
 * good set (routes.json), for one process at a time.
 *
 * A folder that cannot be written is no reason not to serve: the key is then one for this process,
 * nothing is stored, and every update says so.  A key that is there and cannot be used is one: the
 * passwords that are stored under it would all be wrong.
 */
#ifndef TRAFFIC_STATE_FOLDER_H
#define TRAFFIC_STATE_FOLDER_H

#include <stdbool.h>

#include "traffic/auth.h"
#include "traffic/route.h"
#include "traffic/traffic_conf.h"

/* What a start began with. */
enum first_routes {
    FIRST_STORED, /* the last good set, or most of it: routes_left_out */
    FIRST_FILE,   /* routesFile's */
    FIRST_NONE,   /* nothing was stored, and there is no routesFile */
    FIRST_LOST,   /* no route either, since what was stored cannot be used */
};

struct state_folder {
    const char *path; /* borrowed from the configuration; NULL: not open */
    int lock_fd;      /* owned; -1: none */
    struct auth_key auth_key;
    bool is_usable; /* what is stored is good after a restart */
    char why[256];  /* it is not */
    enum first_routes first;
    size_t routes_left_out; /* of the stored set, since they could not be used */
};

/* 0; after the reason was logged: -ERR_CONFLICT (another process has it), -ERR_IO (its auth-key
 * cannot be used).  state_folder_close() is due either way. */
MUST_USE int state_folder_open(struct state_folder *s, const char *path);
void state_folder_close(struct state_folder *s); /* fine with a zeroed one */

/* The set to begin with, one reference: what is stored, else what routesFile says, else the empty
 * one.  What of the stored one is lost is logged.  NULL: routesFile has faults, told on standard
 * error. */
MUST_USE struct route_set *state_folder_first(struct state_folder *s,
                                              const struct traffic_conf *conf);
/* Any thread.  As route_store_write(); always -ERR_IO where the folder is not usable. */
MUST_USE int state_folder_store(const struct state_folder *s, const struct route_set *set,
                                char *why, size_t why_size);

/* Routes of a set with a password that was stored under another key, so that none is right. */
size_t state_folder_passwords_lost(const struct route_set *set);

#endif
