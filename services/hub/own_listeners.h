/* own_listeners - the hub's own ports, so that no stream is ever forwarded to one of them: an edge
 * that was taken over must not reach the management API through its own hub. */
#ifndef HUB_OWN_LISTENERS_H
#define HUB_OWN_LISTENERS_H

#include <stdbool.h>

#include "loop/addr.h"

#define OWN_LISTENERS_MAX 8
#define OWN_ADDRESSES_MAX 64 /* of this machine's interfaces; further ones are left out */

struct own_listeners {
    struct {
        union addr at;
        const char *name; /* static */
    } listeners[OWN_LISTENERS_MAX];
    size_t count;
    union addr local[OWN_ADDRESSES_MAX];
    size_t local_count;
};

/* Reads the addresses of this machine's interfaces. */
void own_listeners_init(struct own_listeners *own);
/* `name` is static; an address with port 0 is not one yet and is left out. */
void own_listeners_add(struct own_listeners *own, const union addr *at, const char *name);
/* Which listener a connection to the address would reach, or NULL. */
const char *own_listeners_find_addr(const struct own_listeners *own, const union addr *to);
/* The same for a host: an IP literal or "localhost".  Any other name is looked at again, as an
 * address, when it is dialled. */
const char *own_listeners_find(const struct own_listeners *own, const char *host, uint16_t port);

#endif
