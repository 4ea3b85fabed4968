/* admission - how many tunnel connections may be before their hello at once, in all and of one
 * source: an IPv4 address or an IPv6 /64.  (api/tunnel.md, Before a proof)
 *
 * An address that a QUIC packet only claims to come from is nobody's: whoever forges it uses no
 * quota of its.  Such connections count in all, and together as one source of its own.
 *
 * At a limit somebody gives way rather than that whoever came first keeps all others out: at that
 * of a source its oldest, at that of all the oldest of the source that has most; but only one that
 * is older than ADMISSION_GRACE_MS, which is enough for who means to say hello, or whose source has
 * more than the newcomer's will have.  So many edges that come at once do not push each other out
 * for ever.  Where nobody gives way the newcomer is refused.
 *
 * Pure; the control thread's.
 */
#ifndef HUB_ADMISSION_H
#define HUB_ADMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "loop/addr.h"

#define ADMISSION_GRACE_MS 1000u

enum admission_verdict { ADMISSION_OK, ADMISSION_FULL, ADMISSION_SOURCE_FULL };

/* One connection.  A zeroed one is in no admission. */
struct admission_entry {
    struct list node;            /* in slot.entries */
    struct admission_slot *slot; /* borrowed from the admission; NULL: does not count */
    uint64_t since_ms;
};

struct admission {
    struct admission_slot **buckets; /* owned */
    size_t bucket_count;             /* a power of two */
    uint64_t seed;
    unsigned count, cap, cap_per_source;
    struct list *by_count; /* owned: [n] has the slots with n entries, longest at that first */
    unsigned most;         /* the highest n whose list is not empty; 0: none */
};

void admission_init(struct admission *a, unsigned cap, unsigned cap_per_source, uint64_t seed);
/* The entries may be gone. */
void admission_fini(struct admission *a);
/* Counts a connection of `from`, or of an address that has not shown to be one (NULL).  With
 * ADMISSION_OK *displaced is the one that gave way, which counts no longer, or NULL. */
enum admission_verdict admission_enter(struct admission *a, struct admission_entry *entry,
                                       const union addr *from, uint64_t now_ms,
                                       struct admission_entry **displaced);
/* Its hello was read, or it is gone.  Fine with one that does not count. */
void admission_leave(struct admission *a, struct admission_entry *entry);

#endif
