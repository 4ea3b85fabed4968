/* route_watch - routesFile, looked at again and again: when it is not the file that it was, what it
 * holds is submitted as PUT /v1/routes would be, and the newest update wins.
 *
 * A look is one stat() of what the path leads to, so that a file that was written anew, one that
 * was moved into its place, and a symbolic link that leads elsewhere (as in a volume of Kubernetes)
 * are seen alike.  The first look submits in any case: what was loaded at the start, or a set that
 * was stored, may be older; if it says the same, nothing changes.  A file that is away or at fault
 * changes nothing either: it is told once in the log, and the routes stay.  One that could not be
 * read, or was refused for a cause outside of it (a CA file that is not there yet), is tried again
 * after 2, 4, 8 looks, at most ROUTE_WATCH_LOOKS_MAX, until some other update was applied.
 *
 * The file is read on the control thread: it is meant for some MiB at most.  Control thread only.
 */
#ifndef TRAFFIC_ROUTE_WATCH_H
#define TRAFFIC_ROUTE_WATCH_H

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "traffic/route_apply.h"

#define ROUTE_WATCH_LOOKS_MAX 64u

/* What tells one file from another, or from itself before it was written. */
struct route_watch_mark {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct route_watch {
    struct route_apply *apply; /* borrowed; NULL: there is no watch */
    char *path;                /* owned */
    size_t bytes_max;
    uint64_t every_ms;
    struct deadline again;
    struct route_watch_mark seen; /* zeroed: none yet */
    unsigned pause;               /* looks from one try to the next; 0: the first one was it */
    unsigned left;                /* of them, before the next; 0: none is due */
    uint64_t applied;             /* updates, whoever sent them, when the pause began */
    uint64_t submitted;           /* how often, for tests */
};

/* The first look is due at once.  A path of "" or every_ms of 0 watches nothing. */
void route_watch_start(struct route_watch *w, struct loop *loop, struct route_apply *apply,
                       const char *path, size_t bytes_max, uint64_t every_ms);
void route_watch_stop(struct route_watch *w); /* fine when zeroed */

#endif
