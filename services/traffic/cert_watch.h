/* cert_watch - certificates that end soon: who operates them is told in time.
 *
 * It looks when a set of routes comes into force, and once a day.  A swap tells of hosts whose
 * certificate is another one than before, the daily look of all: who replaces one route a second
 * does not hear of the other thousand each time.  Of one host the certificate that ends first
 * speaks.  Control thread only.
 */
#ifndef TRAFFIC_CERT_WATCH_H
#define TRAFFIC_CERT_WATCH_H

#include "loop/loop.h"
#include "traffic/route.h"

#define CERT_WATCH_EVERY_MS 86400000u
#define CERT_WATCH_TOLD_MAX 256u /* of one look; the others are counted */

struct metrics;

struct cert_notice {
    const char *host;  /* borrowed for the call */
    int64_t not_after; /* seconds since 1970 */
    int64_t days_left; /* whole days; of one that has expired 0 */
    bool is_expired;
};

struct cert_watch {
    struct deadline daily;
    struct route_set *set; /* counted: the one in force */
    int64_t warn_days;     /* so many before the end; a reload may change it */
    /* Hosts by what the last look found, and those that were not told since too many were. */
    unsigned good, expiring, expired;
    uint64_t untold;
    void (*on_notice)(struct cert_watch *w, const struct cert_notice *notice);
};

void cert_watch_init(struct cert_watch *w, struct loop *loop, int64_t warn_days,
                     void (*on_notice)(struct cert_watch *w, const struct cert_notice *notice));
void cert_watch_fini(struct cert_watch *w); /* fine with a zeroed one */
/* A set comes into force; `now` in seconds since 1970. */
void cert_watch_take(struct cert_watch *w, struct route_set *set, int64_t now);
/* All of the set in force, told or not. */
void cert_watch_look(struct cert_watch *w, int64_t now);
void cert_watch_collect(const struct cert_watch *w, struct metrics *m);

#endif
