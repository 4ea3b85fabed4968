/* control - the JSON payloads of CONFIG, CONFIG_ACK, DRAIN and GOODBYE.
 *
 * Unknown keys are passed over, missing ones, wrong types, ports out of order or there twice are
 * protocol errors.  Emit functions return a text of the caller's (free), NUL-ended, its length in
 * *len when len is not NULL; it always fits a frame.  api/tunnel.md "Payloads in JSON".
 */
#ifndef WIRE_CONTROL_H
#define WIRE_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must.h"
#include "wire/why.h"

#define CONFIG_PORTS_MAX        1024      /* of one edge, TCP and UDP together */
#define CONFIG_REVISION_MAX     INT64_MAX /* what JSON carries */
#define PORT_ERROR_MAX          255
#define GOODBYE_MESSAGE_MAX     255
#define RETRY_MAX_SECS          300 /* how long a hub may make an edge wait */
#define RETRY_UNPROVEN_MAX_SECS 30  /* before the hub has proved that it knows the secret */

/* Rising, no port twice, none 0.  A zeroed one is an empty one. */
struct port_list {
    uint16_t *ports; /* owned */
    size_t count;
};

void port_list_fini(struct port_list *l);
/* Sorted and without doubles, whatever order they come in; `l` must be empty.  0 is left out. */
void port_list_set(struct port_list *l, const uint16_t *ports, size_t n);
bool port_list_has(const struct port_list *l, uint16_t port);
bool port_list_is_equal(const struct port_list *a, const struct port_list *b);
void port_list_copy(struct port_list *to, const struct port_list *from); /* `to` must be empty */

/* What the hub assigns. */
struct wire_config {
    uint64_t revision;
    struct port_list ports, ports_udp; /* owned */
    uint32_t stun_interval_secs;       /* 0: no STUN */
};

void wire_config_fini(struct wire_config *c);
MUST_USE int wire_config_parse(struct wire_config *out, const uint8_t *src, size_t n,
                               struct wire_why *why); /* 0, -ERR_PROTO: *out is empty */
char *wire_config_emit(const struct wire_config *c, size_t *len) MUST_USE;

enum port_protocol { PORT_TCP, PORT_UDP };

struct port_fault {
    uint16_t port;
    enum port_protocol protocol;
    char error[PORT_ERROR_MAX + 1];
};

/* What is bound at the edge. */
struct config_ack {
    uint64_t revision;
    struct port_list ports, ports_udp; /* owned */
    struct port_fault *faults;         /* owned; by port, TCP before UDP, none twice */
    size_t fault_count;
    char public_ip[46]; /* "": not known */
};

void config_ack_fini(struct config_ack *a);
MUST_USE int config_ack_parse(struct config_ack *out, const uint8_t *src, size_t n,
                              struct wire_why *why); /* 0, -ERR_PROTO: *out is empty */
/* Faults may come in any order; their texts are cut when the whole would not fit a frame. */
char *config_ack_emit(const struct config_ack *a, size_t *len) MUST_USE;

struct drain {
    uint32_t deadline_secs;
};

MUST_USE int drain_parse(struct drain *out, const uint8_t *src, size_t n,
                         struct wire_why *why); /* 0, -ERR_PROTO */
char *drain_emit(const struct drain *d, size_t *len) MUST_USE;

#define GOODBYE_CODES(X)                                                                           \
    X(REPLACED, "replaced")                                                                        \
    X(KICKED, "kicked")                                                                            \
    X(EDGE_DISABLED, "edge_disabled")                                                              \
    X(SECRET_CHANGED, "secret_changed")                                                            \
    X(PROTOCOL_ERROR, "protocol_error")                                                            \
    X(DRAINING, "draining")                                                                        \
    X(OVERLOADED, "overloaded")

/* GOODBYE_OTHER: a code that this version does not know; it ends the connection all the same. */
enum goodbye_code {
#define X(name, text) GOODBYE_##name,
    GOODBYE_CODES(X)
#undef X
        GOODBYE_OTHER
};

struct goodbye {
    enum goodbye_code code;
    char message[GOODBYE_MESSAGE_MAX + 1];
    uint32_t retry_after_secs; /* 0: no wait asked for */
};

const char *goodbye_name(enum goodbye_code code); /* "replaced"; "other" */
MUST_USE int goodbye_parse(struct goodbye *out, const uint8_t *src, size_t n,
                           struct wire_why *why);                  /* 0, -ERR_PROTO */
char *goodbye_emit(const struct goodbye *g, size_t *len) MUST_USE; /* code is not OTHER */

#endif
