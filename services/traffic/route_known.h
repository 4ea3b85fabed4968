/* route_known - the routes of the set before, found by the text that each was read from: a route
 * whose text is the same, byte for byte, is taken over as it is and not read again.
 *
 * A text's id is its HMAC under a key of the process that covers all else that a reading depends
 * on, the same for every route of a build (`destinations_max`): where that changes, no id is known
 * any more.  A MAC rather than a hash, since passwords are in these texts.
 *
 * What depends on more than that has no id, and is read each time: a route that speaks TLS to its
 * destinations (the file of CAs may say something else), one out of the state file (whose words are
 * others), one that was put alone (what it did not say came from the route before it), and one that
 * was worth a warning.  And a route is taken over only while its certificates are valid.
 */
#ifndef TRAFFIC_ROUTE_KNOWN_H
#define TRAFFIC_ROUTE_KNOWN_H

#include "traffic/route.h"

struct route_known {
    uint8_t key[32];
    int64_t now;                /* seconds since 1970 */
    const struct route **slots; /* owned: open addressing by id; routes borrowed from the set */
    size_t size;                /* a power of two, at least twice what is in it */
};

/* `base` (may be NULL) must outlive it. */
void route_known_init(struct route_known *known, const struct auth_key *key,
                      size_t destinations_max, const struct route_set *base, int64_t now);
void route_known_fini(struct route_known *known);
void route_known_id(const struct route_known *known, const char *text, size_t n,
                    uint8_t id[ROUTE_TEXT_ID_BYTES]);
/* The route that may be copied in place of reading such a text; or NULL. */
const struct route *route_known_find(const struct route_known *known,
                                     const uint8_t id[ROUTE_TEXT_ID_BYTES]);
/* The route, just read without a word against it, is known by this id from now on, if it can be. */
void route_known_keep(struct route *route, const uint8_t id[ROUTE_TEXT_ID_BYTES]);

#endif
