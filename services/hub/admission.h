/* admission - how many tunnel connections may be before their hello at once, in all and of one
 * source: an IPv4 address or an IPv6 /64.  The newest is refused.  (api/tunnel.md, The channel)
 *
 * Pure; the control thread's.
 */
#ifndef HUB_ADMISSION_H
#define HUB_ADMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop/addr.h"

/* What connections of one place have in common. */
struct admission_source {
    uint64_t prefix; /* the IPv4 address, or the upper half of the IPv6 one */
    bool is_v6;
};

enum admission_verdict { ADMISSION_OK, ADMISSION_FULL, ADMISSION_SOURCE_FULL };

struct admission {
    struct admission_slot **buckets; /* owned */
    size_t bucket_count;             /* a power of two */
    uint64_t seed;
    unsigned count, cap, cap_per_source;
};

void admission_init(struct admission *a, unsigned cap, unsigned cap_per_source, uint64_t seed);
void admission_fini(struct admission *a);
/* Counts one connection of `from`; *source is what admission_leave() needs. */
enum admission_verdict admission_enter(struct admission *a, const union addr *from,
                                       struct admission_source *source);
/* Its hello was read, or it is gone. */
void admission_leave(struct admission *a, const struct admission_source *source);

#endif
