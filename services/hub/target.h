/* target - where a stream, or the datagrams, of a public port is forwarded to, and with which PROXY
 * header.
 *
 * One map for TCP, made once from target.host, target.ports and target.proxyProtocol, one for UDP,
 * from target.host, target.portsUdp and target.proxyProtocolUdp.  They never change:
 * workers read it without a lock.
 */
#ifndef HUB_TARGET_H
#define HUB_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must.h"

struct json_check;
struct json_object;
struct own_listeners;
struct proxy_header;

enum target_kind { TARGET_TCP, TARGET_UDP };

/* TCP: v1, v2, off.  UDP, version 2 always: first (a datagram of its own, again before payloads
 * until the target has answered), each (in front of every payload, in its datagram), off. */
enum proxy_mode { PROXY_MODE_V1, PROXY_MODE_V2, PROXY_MODE_OFF, PROXY_MODE_FIRST, PROXY_MODE_EACH };

/* The modes of a kind in the order in which they are configured. */
#define TARGET_MODES 3
extern const char *const target_mode_names[2][TARGET_MODES + 1]; /* by kind; NULL ends */
enum proxy_mode target_mode(enum target_kind kind, unsigned choice);

struct target {
    const char *host; /* borrowed from the map */
    uint16_t port;
    enum proxy_mode mode;
};

/* Not an address: it has to be looked up. */
bool target_has_name(const struct target *t);

struct target_map;

/* `ports` is the map of the configuration, checked here: faults go to `faults` below `base`.
 * 0, -ERR_SYNTAX. */
MUST_USE int target_map_parse(struct target_map **out, const char *host, enum proxy_mode mode,
                              struct json_object *ports, struct json_check *faults,
                              const char *base);
MUST_USE int target_map_parse_udp(struct target_map **out, const char *host, enum proxy_mode mode,
                                  struct json_object *ports, struct json_check *faults,
                                  const char *base);
void target_map_free(struct target_map *map); /* fine with NULL */
/* The ports that are named, by number. */
size_t target_map_count(const struct target_map *map);
struct target target_map_at(const struct target_map *map, size_t i, uint16_t *public_port);
/* Every port has a target: one that is not named goes to target.host and the same number. */
struct target target_map_find(const struct target_map *map, uint16_t port);
/* Adds a fault for each entry that is one of the hub's own listeners. */
void target_map_check_own(const struct target_map *map, const struct own_listeners *own,
                          struct json_check *faults, const char *base);

/* The header that goes in front of a stream or a datagram; returns its length, 0 for
 * PROXY_MODE_OFF.  `out` has room for RELAY_PREFIX_MAX bytes. */
size_t target_emit_header(uint8_t *out, enum proxy_mode mode, const struct proxy_header *client);

#endif
