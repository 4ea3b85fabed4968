/* assignment - see assignment.h. */
#include "edge/assignment.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "edge/edge_events.h"

static void acknowledge(struct assignment *a)
{
    struct config_ack ack = {.revision = a->config.revision};
    char *json;

    if (!a->has_config)
        return;
    public_ports_describe(&a->ports, &ack);
    snprintf(ack.public_ip, sizeof(ack.public_ip), "%.*s", (int)sizeof(ack.public_ip) - 1,
             a->stun.public_ip);
    json = config_ack_emit(&ack, NULL);
    a->send_ack(a->arg, json);
    free(json);
    config_ack_fini(&ack);
}

/* One that could not be bound can be by now. */
static void on_ports_changed(void *arg)
{
    struct assignment *a = arg;

    edge_event_ports(a->shared->events, EDGE_EVENT_PORTS_UPDATED, a);
    acknowledge(a);
}

static void on_public_ip(struct stun_client *stun)
{
    struct assignment *a = container_of(stun, struct assignment, stun);

    edge_event_public_ip(a->shared->events, stun->public_ip);
    acknowledge(a);
}

/* Of what no CONFIG asked for. */
static void tell_change(struct assignment *a, size_t open_before)
{
    if (public_ports_open_count(&a->ports) != open_before)
        edge_event_ports(a->shared->events, EDGE_EVENT_PORTS_UPDATED, a);
}

static void apply(struct assignment *a, struct wire_config *config)
{
    wire_config_fini(&a->config);
    a->config = *config; /* moves */
    *config = (struct wire_config){0};
    a->has_config = true;
    if (!a->has_ended) {
        public_ports_assign(&a->ports, &a->config.ports, &a->config.ports_udp);
        stun_client_set_interval(&a->stun, a->config.stun_interval_secs);
    }
    log_info("edge", "config_applied", LOG_U("revision", a->config.revision),
             LOG_U("ports", a->config.ports.count + a->config.ports_udp.count));
}

/* An equal one is acknowledged, and changes nothing. */
void assignment_take(struct assignment *a, struct wire_config *config, bool is_first)
{
    if (is_first || config->revision > a->config.revision) {
        apply(a, config);
        edge_event_ports(a->shared->events,
                         is_first ? EDGE_EVENT_PORTS_ASSIGNED : EDGE_EVENT_PORTS_UPDATED, a);
    } else if (config->revision < a->config.revision) {
        return;
    }
    acknowledge(a);
}

static void flush_held(struct assignment *a, bool is_over)
{
    for (unsigned i = 0; i < a->shared->count; i++)
        edge_worker_flush_held(&a->shared->workers[i], is_over);
}

void assignment_begin(struct assignment *a)
{
    stun_client_stop(&a->stun);
    if (!a->has_ended)
        stun_client_start(&a->stun);
}

void assignment_up(struct assignment *a)
{
    a->connects++;
    deadline_off(&a->hold);
    atomic_store_explicit(&a->shared->is_holding, true, memory_order_relaxed);
}

void assignment_take_up(struct assignment *a, struct wire_config *config, bool is_first)
{
    size_t before = public_ports_open_count(&a->ports);

    if (!is_first && !a->has_ended)
        public_ports_resume(&a->ports);
    tell_change(a, before);
    assignment_take(a, config, is_first);
    flush_held(a, false);
}

static void on_hold_over(struct deadline *deadline)
{
    struct assignment *a = container_of(deadline, struct assignment, hold);

    size_t before = public_ports_open_count(&a->ports);

    atomic_store_explicit(&a->shared->is_holding, false, memory_order_relaxed);
    public_ports_suspend(&a->ports);
    tell_change(a, before);
    flush_held(a, true);
}

void assignment_down(struct assignment *a)
{
    if (a->shared->hold_ms > 0)
        deadline_set(&a->hold, a->shared->hold_ms);
    else
        on_hold_over(&a->hold);
}

static void close_ports(struct assignment *a)
{
    size_t before = public_ports_open_count(&a->ports);
    struct port_list none = {0};

    public_ports_assign(&a->ports, &none, &none);
    tell_change(a, before);
}

void assignment_forget(struct assignment *a)
{
    stun_client_stop(&a->stun);
    deadline_off(&a->hold);
    atomic_store_explicit(&a->shared->is_holding, false, memory_order_relaxed);
    close_ports(a);
    flush_held(a, true);
    wire_config_fini(&a->config);
    a->config = (struct wire_config){0};
    a->has_config = false;
}

void assignment_end(struct assignment *a)
{
    a->has_ended = true;
    stun_client_set_interval(&a->stun, 0);
    for (unsigned i = 0; i < a->shared->count; i++)
        edge_worker_keep_flows(&a->shared->workers[i]);
    close_ports(a);
    acknowledge(a);
}

void assignment_init(struct assignment *a, struct edge_shared *shared, const char *bind_address,
                     void (*send_ack)(void *arg, const char *json), void *arg)
{
    *a = (struct assignment){.shared = shared, .send_ack = send_ack, .arg = arg};
    public_ports_init(&a->ports, shared, bind_address, on_ports_changed, a);
    stun_client_init(&a->stun, shared->control, on_public_ip);
    deadline_init(&a->hold, shared->control, on_hold_over);
}

void assignment_fini(struct assignment *a)
{
    deadline_off(&a->hold);
    stun_client_fini(&a->stun);
    public_ports_fini(&a->ports);
    wire_config_fini(&a->config);
}
