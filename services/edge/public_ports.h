/* public_ports - the TCP and UDP ports that the hub assigned, and what became of each.  Control
 * thread.
 *
 *   assigned -> OPEN (all its sockets, for all workers) | FAILED (none; tried again every 5 s)
 *
 * A change touches only the ports that it names.  While the tunnel is away for longer than holdSecs
 * all are closed; the assignment stays.  on_changed() tells of what comes by itself: a port that
 * could be bound at last.  What the owner asks for, it tells itself.
 */
#ifndef EDGE_PUBLIC_PORTS_H
#define EDGE_PUBLIC_PORTS_H

#include "edge/edge_worker.h"
#include "wire/control.h"

#define PUBLIC_PORT_RETRY_MS 5000u

struct public_port {
    enum port_protocol protocol;
    uint16_t port;
    bool is_open;
    char error[96]; /* "" when open */
};

struct public_ports {
    struct edge_shared *shared; /* borrowed */
    const char *bind_address;   /* borrowed; "" for all */
    struct public_port *ports;  /* owned, rising, TCP before UDP of one number */
    size_t count;
    bool is_suspended;
    struct deadline retry;
    void (*on_changed)(void *arg);
    void *arg;
};

void public_ports_init(struct public_ports *p, struct edge_shared *shared, const char *bind_address,
                       void (*on_changed)(void *arg), void *arg);
void public_ports_fini(struct public_ports *p); /* closes nothing: the workers do */
/* The newest assignment, suspended or not before. */
void public_ports_assign(struct public_ports *p, const struct port_list *tcp,
                         const struct port_list *udp);
/* Opens what was suspended. */
void public_ports_resume(struct public_ports *p);
/* Closes all, keeps the assignment. */
void public_ports_suspend(struct public_ports *p);
size_t public_ports_open_count(const struct public_ports *p);
/* Those that could not be bound and are tried again; while they are suspended none is. */
size_t public_ports_failed_count(const struct public_ports *p);
/* True when there are such ports: `why` has the first, "port 443/tcp: Address already in use", and
 * how many more. */
bool public_ports_tell_failed(const struct public_ports *p, char *why, size_t why_size);
/* Fills what is bound and what failed; `out` is zeroed (config_ack_fini() after). */
void public_ports_describe(const struct public_ports *p, struct config_ack *out);
/* The same as JSON: adds listenPorts, listenPortsUdp and portErrors to `o`. */
struct json_object;
void public_ports_add_json(const struct public_ports *p, struct json_object *o);

#endif
