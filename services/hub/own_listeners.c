/* own_listeners - see own_listeners.h. */
#include "hub/own_listeners.h"

#include <ifaddrs.h>
#include <string.h>
#include <strings.h>

#include "base/must.h"

void own_listeners_init(struct own_listeners *own)
{
    struct ifaddrs *all;

    memset(own, 0, sizeof(*own));
    if (getifaddrs(&all) != 0)
        return; /* loopback and the listeners' own addresses are still known */
    for (struct ifaddrs *i = all; i && own->local_count < OWN_ADDRESSES_MAX; i = i->ifa_next) {
        union addr *to = &own->local[own->local_count];

        if (!i->ifa_addr)
            continue;
        if (i->ifa_addr->sa_family == AF_INET)
            memcpy(&to->in, i->ifa_addr, sizeof(to->in));
        else if (i->ifa_addr->sa_family == AF_INET6)
            memcpy(&to->in6, i->ifa_addr, sizeof(to->in6));
        else
            continue;
        own->local_count++;
    }
    freeifaddrs(all);
}

void own_listeners_add(struct own_listeners *own, const union addr *at, const char *name)
{
    if (addr_port(at) == 0)
        return;
    must(own->count < OWN_LISTENERS_MAX);
    own->listeners[own->count].at = *at;
    own->listeners[own->count++].name = name;
}

/* Linux takes a connection to 0.0.0.0 or :: as one to loopback. */
static bool is_local(const struct own_listeners *own, const union addr *a)
{
    if (addr_is_any(a) || addr_is_loopback(a))
        return true;
    for (size_t i = 0; i < own->local_count; i++)
        if (addr_is_same_host(&own->local[i], a))
            return true;
    return false;
}

const char *own_listeners_find_addr(const struct own_listeners *own, const union addr *to)
{
    for (size_t i = 0; i < own->count; i++) {
        const union addr *at = &own->listeners[i].at;

        if (addr_port(at) != addr_port(to))
            continue;
        if (addr_is_same_host(at, to) || (addr_is_any(at) && is_local(own, to)) ||
            (addr_is_any(to) && addr_is_loopback(at)))
            return own->listeners[i].name;
    }
    return NULL;
}

const char *own_listeners_find(const struct own_listeners *own, const char *host, uint16_t port)
{
    union addr to;
    const char *name;

    if (strcasecmp(host, "localhost") == 0) {
        name = own_listeners_find(own, "127.0.0.1", port);
        return name ? name : own_listeners_find(own, "::1", port);
    }
    return addr_parse_host(&to, host, port) == 0 ? own_listeners_find_addr(own, &to) : NULL;
}
