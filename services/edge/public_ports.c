/* public_ports - see public_ports.h. */
#include "edge/public_ports.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* Binds for every worker, or for none. */
static int bind_all(struct public_ports *p, uint16_t port)
{
    unsigned workers = p->shared->count, sets = 1;
    int *fds = must_alloc(2 * workers * sizeof(*fds));
    union addr at, bound;
    int err;

    if (*p->bind_address) {
        err = addr_parse_host(&at, p->bind_address, port) ? -EINVAL
                                                          : listen_bind(&at, workers, fds, &bound);
    } else {
        err = addr_parse_host(&at, "::", port) ? -EINVAL
                                               : listen_bind_any(&at, workers, fds, &sets, &bound);
    }
    for (unsigned i = 0; !err && i < workers; i++) {
        int mine[2] = {fds[i], sets > 1 ? fds[workers + i] : -1};

        edge_worker_open_port(&p->shared->workers[i], port, mine, sets);
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
    log_warn("edge", "port_failed", LOG_U("port", port->port), LOG_S("error", port->error));
}

static void open_one(struct public_ports *p, struct public_port *port)
{
    int err = bind_all(p, port->port);

    port->is_open = err == 0;
    if (err) {
        note_failure(port, -err);
        return;
    }
    port->error[0] = '\0';
    log_info("edge", "port_open", LOG_U("port", port->port));
}

static void close_one(struct public_ports *p, struct public_port *port)
{
    if (!port->is_open)
        return;
    for (unsigned i = 0; i < p->shared->count; i++)
        edge_worker_close_port(&p->shared->workers[i], port->port);
    port->is_open = false;
    log_info("edge", "port_closed", LOG_U("port", port->port));
}

static bool has_failed(const struct public_ports *p)
{
    for (size_t i = 0; i < p->count; i++)
        if (!p->ports[i].is_open)
            return true;
    return false;
}

static void arm_retry(struct public_ports *p)
{
    if (!p->is_suspended && has_failed(p))
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

static struct public_port *find(struct public_ports *p, uint16_t port)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->ports[i].port == port)
            return &p->ports[i];
    return NULL;
}

void public_ports_assign(struct public_ports *p, const struct port_list *list)
{
    struct public_port *fresh = must_alloc((list->count + 1) * sizeof(*fresh));

    p->is_suspended = false;
    for (size_t i = 0; i < p->count; i++)
        if (!port_list_has(list, p->ports[i].port))
            close_one(p, &p->ports[i]);
    for (size_t i = 0; i < list->count; i++) {
        struct public_port *old = find(p, list->ports[i]);

        fresh[i] = old ? *old : (struct public_port){.port = list->ports[i]};
    }
    free(p->ports);
    p->ports = fresh;
    p->count = list->count;
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

void public_ports_describe(const struct public_ports *p, struct config_ack *out)
{
    uint16_t *bound = must_alloc((p->count + 1) * sizeof(*bound));
    size_t n = 0;

    out->faults = must_alloc((p->count + 1) * sizeof(*out->faults));
    for (size_t i = 0; i < p->count; i++) {
        if (p->ports[i].is_open) {
            bound[n++] = p->ports[i].port;
        } else {
            struct port_fault *fault = &out->faults[out->fault_count++];

            fault->port = p->ports[i].port;
            fault->protocol = PORT_TCP;
            snprintf(fault->error, sizeof(fault->error), "%s",
                     p->is_suspended ? "closed while the tunnel is away" : p->ports[i].error);
        }
    }
    port_list_set(&out->ports, bound, n);
    free(bound);
}
