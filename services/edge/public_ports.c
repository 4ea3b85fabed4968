/* public_ports - see public_ports.h. */
#include "edge/public_ports.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static const char *protocol_name(enum port_protocol protocol)
{
    return protocol == PORT_UDP ? "udp" : "tcp";
}

/* Binds for every worker, or for none. */
static int bind_all(struct public_ports *p, enum port_protocol protocol, uint16_t port)
{
    unsigned workers = p->shared->count, sets = 1;
    int *fds = must_alloc(2 * workers * sizeof(*fds));
    union addr at, bound;
    int err;

    if (addr_parse_host(&at, *p->bind_address ? p->bind_address : "::", port) != 0)
        err = -EINVAL;
    else if (protocol == PORT_UDP)
        err = listen_bind_udp(&at, workers, fds, &sets, &bound);
    else
        err = listen_bind_any(&at, workers, fds, &sets, &bound);
    for (unsigned i = 0; !err && i < workers; i++) {
        int mine[2] = {fds[i], sets > 1 ? fds[workers + i] : -1};

        edge_worker_open_port(&p->shared->workers[i], protocol, port, mine, sets);
    }
    free(fds);
    return err;
}

/* Logged once, though it is tried again and again. */
static void note_failure(struct public_port *port, int err)
{
    char buffer[64];
    const char *text = strerror_r(err, buffer, sizeof(buffer));

    if (strcmp(port->error, text) == 0)
        return;
    snprintf(port->error, sizeof(port->error), "%s", text);
    log_warn("edge", "port_failed", LOG_U("port", port->port),
             LOG_S("protocol", protocol_name(port->protocol)), LOG_S("error", port->error));
}

static void open_one(struct public_ports *p, struct public_port *port)
{
    int err = bind_all(p, port->protocol, port->port);

    port->is_open = err == 0;
    if (err) {
        note_failure(port, -err);
        return;
    }
    port->error[0] = '\0';
    log_info("edge", "port_open", LOG_U("port", port->port),
             LOG_S("protocol", protocol_name(port->protocol)));
}

static void close_one(struct public_ports *p, struct public_port *port)
{
    if (!port->is_open)
        return;
    for (unsigned i = 0; i < p->shared->count; i++)
        edge_worker_close_port(&p->shared->workers[i], port->protocol, port->port);
    port->is_open = false;
    log_info("edge", "port_closed", LOG_U("port", port->port),
             LOG_S("protocol", protocol_name(port->protocol)));
}

static void arm_retry(struct public_ports *p)
{
    if (public_ports_failed_count(p) > 0)
        deadline_set(&p->retry, PUBLIC_PORT_RETRY_MS);
    else
        deadline_off(&p->retry);
}

static void open_all(struct public_ports *p)
{
    for (size_t i = 0; i < p->count; i++)
        if (!p->ports[i].is_open)
            open_one(p, &p->ports[i]);
    arm_retry(p);
}

static void on_retry(struct deadline *deadline)
{
    struct public_ports *p = container_of(deadline, struct public_ports, retry);
    bool has_changed = false;

    for (size_t i = 0; i < p->count; i++) {
        if (p->ports[i].is_open)
            continue;
        open_one(p, &p->ports[i]);
        has_changed |= p->ports[i].is_open;
    }
    arm_retry(p);
    if (has_changed)
        p->on_changed(p->arg);
}

void public_ports_init(struct public_ports *p, struct edge_shared *shared, const char *bind_address,
                       void (*on_changed)(void *arg), void *arg)
{
    *p = (struct public_ports){
        .shared = shared, .bind_address = bind_address, .on_changed = on_changed, .arg = arg};
    deadline_init(&p->retry, shared->control, on_retry);
}

void public_ports_fini(struct public_ports *p)
{
    if (p->shared)
        deadline_off(&p->retry);
    free(p->ports);
    p->ports = NULL;
    p->count = 0;
}

static struct public_port *find(struct public_ports *p, enum port_protocol protocol, uint16_t port)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->ports[i].port == port && p->ports[i].protocol == protocol)
            return &p->ports[i];
    return NULL;
}

static void keep_or_add(struct public_ports *p, struct public_port *to, enum port_protocol protocol,
                        uint16_t port)
{
    struct public_port *old = find(p, protocol, port);

    *to = old ? *old : (struct public_port){.protocol = protocol, .port = port};
}

void public_ports_assign(struct public_ports *p, const struct port_list *tcp,
                         const struct port_list *udp)
{
    struct public_port *fresh = must_alloc((tcp->count + udp->count + 1) * sizeof(*fresh));
    size_t n = 0, t = 0, u = 0;

    p->is_suspended = false;
    for (size_t i = 0; i < p->count; i++)
        if (!port_list_has(p->ports[i].protocol == PORT_UDP ? udp : tcp, p->ports[i].port))
            close_one(p, &p->ports[i]);
    while (t < tcp->count || u < udp->count) {
        bool is_tcp = u == udp->count || (t < tcp->count && tcp->ports[t] <= udp->ports[u]);

        keep_or_add(p, &fresh[n++], is_tcp ? PORT_TCP : PORT_UDP,
                    is_tcp ? tcp->ports[t++] : udp->ports[u++]);
    }
    free(p->ports);
    p->ports = fresh;
    p->count = n;
    open_all(p);
}

void public_ports_resume(struct public_ports *p)
{
    if (!p->is_suspended)
        return;
    p->is_suspended = false;
    open_all(p);
}

void public_ports_suspend(struct public_ports *p)
{
    p->is_suspended = true;
    for (size_t i = 0; i < p->count; i++)
        close_one(p, &p->ports[i]);
    arm_retry(p);
}

size_t public_ports_open_count(const struct public_ports *p)
{
    size_t n = 0;

    for (size_t i = 0; i < p->count; i++)
        n += p->ports[i].is_open;
    return n;
}

size_t public_ports_failed_count(const struct public_ports *p)
{
    return p->is_suspended ? 0 : p->count - public_ports_open_count(p);
}

bool public_ports_tell_failed(const struct public_ports *p, char *why, size_t why_size)
{
    size_t failed = public_ports_failed_count(p), i = 0;
    char more[40] = "";

    if (failed == 0)
        return false;
    while (p->ports[i].is_open)
        i++;
    if (failed > 1)
        snprintf(more, sizeof(more), " (and %zu more)", failed - 1);
    snprintf(why, why_size, "port %u/%s: %s%s", p->ports[i].port,
             protocol_name(p->ports[i].protocol), p->ports[i].error, more);
    return true;
}

void public_ports_describe(const struct public_ports *p, struct config_ack *out)
{
    uint16_t *bound[2]; /* by protocol */
    size_t n[2] = {0, 0};

    for (unsigned k = 0; k < 2; k++)
        bound[k] = must_alloc((p->count + 1) * sizeof(*bound[k]));
    out->faults = must_alloc((p->count + 1) * sizeof(*out->faults));
    for (size_t i = 0; i < p->count; i++) {
        const struct public_port *port = &p->ports[i];

        if (port->is_open) {
            bound[port->protocol][n[port->protocol]++] = port->port;
        } else {
            struct port_fault *fault = &out->faults[out->fault_count++];

            fault->port = port->port;
            fault->protocol = port->protocol;
            snprintf(fault->error, sizeof(fault->error), "%s",
                     p->is_suspended ? "closed while the tunnel is away" : port->error);
        }
    }
    port_list_set(&out->ports, bound[PORT_TCP], n[PORT_TCP]);
    port_list_set(&out->ports_udp, bound[PORT_UDP], n[PORT_UDP]);
    free(bound[PORT_TCP]);
    free(bound[PORT_UDP]);
}
