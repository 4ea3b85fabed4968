/* authority - for which ports an edge may open streams, in time.  (api/tunnel.md, Authority)
 *
 * A port is good while it is in the configuration in force, and for a while after it was taken out:
 * until 10 s after the edge acknowledged its removal, at most 30 s after the CONFIG that removed
 * it. The hub keeps one a lane; the clock comes in.
 */
#ifndef TUNNEL_AUTHORITY_H
#define TUNNEL_AUTHORITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AUTHORITY_AFTER_ACK_MS    10000
#define AUTHORITY_AFTER_CONFIG_MS 30000
#define AUTHORITY_FADING_MAX      4096 /* ports taken out and still good; past it the oldest go */

struct authority {
    uint64_t bits[1024]; /* one a port */
    uint64_t revision;   /* of the configuration in force */
    struct fading_port {
        uint64_t until_ms, revision; /* revision: the one that took it out */
        uint16_t port;
    } * fading; /* owned */
    size_t fading_count;
};

void authority_init(struct authority *a);
void authority_fini(struct authority *a);
/* A CONFIG with these ports went out. */
void authority_config(struct authority *a, uint64_t revision, const uint16_t *ports, size_t n,
                      uint64_t now_ms);
/* The edge acknowledged `revision`. */
void authority_acked(struct authority *a, uint64_t revision, uint64_t now_ms);
bool authority_allows(const struct authority *a, uint16_t port, uint64_t now_ms);
/* The time of some port ended after `since_ms`, at `now_ms` at the latest. */
bool authority_has_faded(const struct authority *a, uint64_t since_ms, uint64_t now_ms);
/* In the configuration in force: no time of grace. */
bool authority_is_in_force(const struct authority *a, uint16_t port);

/* What a lane is told: a port number is one thing for TCP and another for UDP. */
struct authority_pair {
    struct authority tcp, udp;
};

#endif
