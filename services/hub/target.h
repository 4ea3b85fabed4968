/* target - where a stream of a public port is forwarded to, and with which PROXY header.
 *
 * The map is made once from target.host, target.ports and target.proxyProtocol and never changes:
 * workers read it without a lock.
 */
#ifndef HUB_TARGET_H
#define HUB_TARGET_H

#include <stddef.h>
#include <stdint.h>

#include "base/must.h"

struct json_check;
struct json_object;
struct own_listeners;
struct proxy_header;

enum proxy_mode { PROXY_MODE_V1, PROXY_MODE_V2, PROXY_MODE_OFF };

struct target {
    const char *host; /* borrowed from the map */
    uint16_t port;
    enum proxy_mode mode;
};

struct target_map;

/* `ports` is the map of the configuration, checked here: faults go to `faults` below `base`.
 * 0, -ERR_SYNTAX. */
MUST_USE int target_map_parse(struct target_map **out, const char *host, enum proxy_mode mode,
                              struct json_object *ports, struct json_check *faults,
                              const char *base);
void target_map_free(struct target_map *map); /* fine with NULL */
/* Every port has a target: one that is not named goes to target.host and the same number. */
struct target target_map_find(const struct target_map *map, uint16_t port);
/* Adds a fault for each entry that is one of the hub's own listeners. */
void target_map_check_own(const struct target_map *map, const struct own_listeners *own,
                          struct json_check *faults, const char *base);

/* The header that goes in front of a stream; returns its length, 0 for PROXY_MODE_OFF.  `out` has
 * room for RELAY_PREFIX_MAX bytes. */
size_t target_emit_header(uint8_t *out, enum proxy_mode mode, const struct proxy_header *client);

#endif
