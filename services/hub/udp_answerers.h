/* udp_answerers - which address of a target's name answered last.
 *
 * A name may have several addresses, and the service may listen at one of them only ("localhost" is
 * ::1 and 127.0.0.1).  A connection is tried at each; a datagram has no such moment: what was sent
 * to the wrong one is lost.  So a flow that is refused goes on to the next address (udp_flow.c),
 * and who answers is remembered here for the flows that come.
 *
 * One worker's, as many targets as it has places; the newest takes the place.
 */
#ifndef HUB_UDP_ANSWERERS_H
#define HUB_UDP_ANSWERERS_H

#include "hub/target.h"
#include "loop/addr.h"

#define UDP_ANSWERERS 64u /* places; a power of two */

struct udp_answerers {
    struct udp_answerer {
        const char *host; /* borrowed from the map of targets, as its name; NULL: free */
        uint16_t port;
        union addr addr;
    } places[UDP_ANSWERERS];
};

void udp_answerers_note(struct udp_answerers *a, const struct target *t, const union addr *addr);
/* The index of the one that answered last; 0: none of them, or not known. */
unsigned udp_answerers_first(const struct udp_answerers *a, const struct target *t,
                             const union addr *addrs, unsigned count);

#endif
