/* reach - whether names resolve and TCP ports answer: many at once, in a loop of its own that ends
 * with the call.  Blocks for REACH_MS at most. */
#ifndef DOCTOR_REACH_H
#define DOCTOR_REACH_H

#include <stddef.h>

#include "doctor/report.h"
#include "loop/resolver.h"

#define REACH_MS         5000u
#define REACH_ADDRESS_MS 3000u
#define REACH_MAX        256u /* of one call */

struct reach {
    const char *host; /* borrowed */
    uint16_t port;
    int err; /* 0, or as struct dial says */
    int last_errno;
    union addr peer; /* that answered, or the last one tried */
    union addr addrs[RESOLVER_ADDRESSES_MAX];
    unsigned count;
};

/* Looks each up; fills addrs, count, err. */
void reach_lookup(struct reach *all, size_t count);
/* Connects to each, and closes; fills peer, err, last_errno. */
void reach_connect(struct reach *all, size_t count);

/* The findings of these: "name.example has 2 addresses: ...". */
void reach_report_lookup(struct report *r, const char *name, const struct reach *t);
/* `fails`: what the verdict is when nothing answers. */
void reach_report_connect(struct report *r, const char *name, const struct reach *t,
                          enum report_verdict bad);

#endif
