/* uplink - see uplink.h. */
#include "edge/uplink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "edge/edge_events.h"
#include "tls/tls.h"

static void tunnel_down(struct uplink *u);

static void slot_enter(struct uplink_slot *slot, enum slot_state to)
{
    slot->state = to;
    if (to != SLOT_WAITING)
        deadline_off(&slot->wait);
    if (to == SLOT_OFF || to == SLOT_WAITING)
        slot->serial = 0;
}

/* --- dialling --------------------------------------------------------------------------------- */

/* The next slot that dials founds a new one. */
static void leave_session(struct uplink *u)
{
    u->has_session = false;
    u->founder = 0;
    u->next_number = 0;
}

static void slot_dial(struct uplink_slot *slot)
{
    struct uplink *u = slot->uplink;
    struct lane_order *order;

    if (!u->credentials || u->is_parked || u->is_ending)
        return;
    if (!u->has_session && u->founder) {
        slot_enter(slot, SLOT_OFF); /* it joins when the session stands */
        return;
    }
    if (u->has_session && u->next_number > LANE_MAX)
        leave_session(u);
    order = must_alloc(sizeof(*order));
    order->credentials = credentials_ref(u->credentials);
    order->serial = ++u->next_serial;
    order->has_session = u->has_session;
    if (u->has_session) {
        memcpy(order->session, u->session, sizeof(order->session));
        order->number = u->next_number++;
    } else {
        u->founder = order->serial;
        u->next_number = 1;
    }
    slot_enter(slot, SLOT_DIALLING);
    slot->serial = order->serial;
    edge_worker_dial(slot->worker, order);
}

static void on_wait(struct deadline *deadline)
{
    slot_dial(container_of(deadline, struct uplink_slot, wait));
}

static void slot_wait(struct uplink_slot *slot, uint64_t at_least_ms)
{
    struct uplink *u = slot->uplink;
    uint64_t random, delay_ms;

    tls_random(&random, sizeof(random));
    delay_ms = backoff_down(&slot->backoff, loop_now_ms(u->shared->control), random);
    slot_enter(slot, SLOT_WAITING);
    deadline_set(&slot->wait, MAX(delay_ms, at_least_ms));
}

/* At once when things were good for a while; else as after a failure, or the hub could keep us
 * dialling without end. */
static void slot_dial_again(struct uplink_slot *slot, uint64_t good_since_ms)
{
    uint64_t now_ms = loop_now_ms(slot->uplink->shared->control);

    if (now_ms - good_since_ms < BACKOFF_GOOD_MS) {
        slot_wait(slot, 0);
        return;
    }
    slot_enter(slot, SLOT_OFF);
    slot_dial(slot);
}

static void dial_all(struct uplink *u)
{
    for (unsigned i = 0; i < u->shared->count; i++)
        if (u->slots[i].state == SLOT_OFF)
            slot_dial(&u->slots[i]);
}

/* Every lane is told to end and forgotten: what it still reports counts no more. */
static void stop_all(struct uplink *u)
{
    struct list *node;
    bool was_up = u->lane_count > 0;

    while ((node = list_pop(&u->lanes))) {
        struct uplink_lane *lane = container_of(node, struct uplink_lane, node);

        edge_worker_close_lane(lane->worker, lane->serial);
        free(lane);
    }
    u->lane_count = 0;
    for (unsigned i = 0; i < u->shared->count; i++) {
        struct uplink_slot *slot = &u->slots[i];

        if (slot->state == SLOT_DIALLING)
            edge_worker_close_lane(slot->worker, slot->serial);
        slot_enter(slot, SLOT_OFF);
    }
    leave_session(u);
    if (was_up)
        tunnel_down(u);
}

/* --- what the hub assigned
 * ------------------------------------------------------------------------ */

/* On the lowest live lane. */
static void acknowledge(void *arg)
{
    struct uplink *u = arg;
    struct uplink_lane *lowest = NULL;
    struct config_ack ack = {.revision = u->config.revision};
    char *json;

    if (!u->has_config)
        return;
    LIST_EACH (&u->lanes, node, after) {
        struct uplink_lane *lane = container_of(node, struct uplink_lane, node);

        if (lane->generation == u->generation && (!lowest || lane->number < lowest->number))
            lowest = lane;
    }
    if (!lowest)
        return;
    public_ports_describe(&u->ports, &ack);
    json = config_ack_emit(&ack, NULL);
    edge_worker_send_config_ack(lowest->worker, lowest->serial, json);
    free(json);
    config_ack_fini(&ack);
}

/* One that could not be bound can be by now. */
static void on_ports_changed(void *arg)
{
    struct uplink *u = arg;

    edge_event_ports(u->shared->events, EDGE_EVENT_PORTS_UPDATED, u);
    acknowledge(u);
}

static void apply(struct uplink *u, struct wire_config *config)
{
    wire_config_fini(&u->config);
    u->config = *config; /* moves */
    *config = (struct wire_config){0};
    u->has_config = true;
    if (!u->is_ending)
        public_ports_assign(&u->ports, &u->config.ports);
    log_info("edge", "config_applied", LOG_U("revision", u->config.revision),
             LOG_U("ports", u->config.ports.count));
}

/* A session's first is always applied; then only a higher one, and an equal one is acknowledged. */
static void on_config(struct uplink *u, struct lane_report *report, bool is_first)
{
    if (is_first || report->config.revision > u->config.revision) {
        apply(u, &report->config);
        edge_event_ports(u->shared->events,
                         is_first ? EDGE_EVENT_PORTS_ASSIGNED : EDGE_EVENT_PORTS_UPDATED, u);
    } else if (report->config.revision < u->config.revision) {
        return;
    }
    acknowledge(u);
}

/* --- the tunnel comes and goes
 * ---------------------------------------------------------------------- */

static void flush_held(struct uplink *u, bool is_over)
{
    for (unsigned i = 0; i < u->shared->count; i++)
        edge_worker_flush_held(&u->shared->workers[i], is_over);
}

static void tunnel_up(struct uplink *u)
{
    u->up_since_ms = MAX(loop_now_ms(u->shared->control), 1u);
    u->connects++;
    deadline_off(&u->hold);
    atomic_store_explicit(&u->shared->is_holding, true, memory_order_relaxed);
    log_info("edge", "tunnel_connected", LOG_U("connects", u->connects));
    edge_event_tunnel(u->shared->events, EDGE_EVENT_TUNNEL_CONNECTED, u);
}

static void on_hold_over(struct deadline *deadline)
{
    struct uplink *u = container_of(deadline, struct uplink, hold);

    atomic_store_explicit(&u->shared->is_holding, false, memory_order_relaxed);
    public_ports_suspend(&u->ports);
    flush_held(u, true);
}

static void tunnel_down(struct uplink *u)
{
    u->up_since_ms = 0;
    log_warn("edge", "tunnel_disconnected", LOG_S("why", u->last_error));
    edge_event_tunnel(u->shared->events, EDGE_EVENT_TUNNEL_DISCONNECTED, u);
    if (u->shared->hold_ms > 0)
        deadline_set(&u->hold, u->shared->hold_ms);
    else
        on_hold_over(&u->hold);
}

/* No hub is wanted any more: neither are its ports. */
static void forget_config(struct uplink *u)
{
    struct port_list none = {0};

    deadline_off(&u->hold);
    on_hold_over(&u->hold);
    public_ports_assign(&u->ports, &none);
    wire_config_fini(&u->config);
    u->config = (struct wire_config){0};
    u->has_config = false;
}

/* --- reports of lanes
 * ------------------------------------------------------------------------------- */

static struct uplink_slot *slot_of(struct uplink *u, uint64_t serial)
{
    for (unsigned i = 0; i < u->shared->count; i++)
        if (u->slots[i].serial == serial)
            return &u->slots[i];
    return NULL;
}

static struct uplink_lane *lane_of(struct uplink *u, uint64_t serial)
{
    LIST_EACH (&u->lanes, node, after) {
        struct uplink_lane *lane = container_of(node, struct uplink_lane, node);

        if (lane->serial == serial)
            return lane;
    }
    return NULL;
}

static void add_lane(struct uplink *u, const struct uplink_slot *slot, uint32_t number)
{
    struct uplink_lane *lane = must_alloc(sizeof(*lane));

    lane->worker = slot->worker;
    lane->serial = slot->serial;
    lane->generation = u->generation;
    lane->number = number;
    list_push(&u->lanes, &lane->node);
    u->lane_count++;
}

/* Its lane is of the session in force. */
static bool is_current(const struct uplink *u, const struct lane_report *report)
{
    return u->has_session && memcmp(report->session, u->session, sizeof(u->session)) == 0;
}

static void stand_session(struct uplink *u, const struct lane_report *report)
{
    memcpy(u->session, report->session, sizeof(u->session));
    u->has_session = true;
    u->founder = 0;
    u->founded_ms = loop_now_ms(u->shared->control);
    u->generation++;
}

static void on_up(struct uplink *u, struct uplink_slot *slot, struct lane_report *report)
{
    bool is_first = report->is_founded;

    if (is_first) {
        stand_session(u, report);
    } else if (!is_current(u, report)) { /* it joined one that was given up meanwhile */
        edge_worker_close_lane(slot->worker, slot->serial);
        return;
    }
    slot_enter(slot, SLOT_UP);
    backoff_up(&slot->backoff, loop_now_ms(u->shared->control));
    add_lane(u, slot, report->lane_number);
    u->hub = report->hub;
    if (u->lane_count == 1)
        tunnel_up(u);
    if (!is_first && !u->is_ending)
        public_ports_resume(&u->ports);
    on_config(u, report, is_first);
    flush_held(u, false);
    dial_all(u);
}

static void park(struct uplink *u)
{
    log_warn("edge", "replaced", LOG_U("wait_ms", UPLINK_REPLACED_MS));
    u->is_parked = true;
    stop_all(u);
    deadline_set(&u->parked, UPLINK_REPLACED_MS);
}

static void on_parked_over(struct deadline *deadline)
{
    struct uplink *u = container_of(deadline, struct uplink, parked);

    u->is_parked = false;
    dial_all(u);
}

/* The hub was restarted: lanes that do not drain already belong to a session that is no more. */
static void found_anew(struct uplink *u, struct uplink_slot *slot)
{
    leave_session(u);
    for (unsigned i = 0; i < u->shared->count; i++)
        if (&u->slots[i] != slot && u->slots[i].serial)
            edge_worker_close_lane(u->slots[i].worker, u->slots[i].serial);
    slot_dial_again(slot, u->founded_ms);
}

/* Another slot has learned it before: this one joins what it founds. */
static void join_anew(const struct uplink *u, struct uplink_slot *slot)
{
    if (!u->has_session && !u->founder) {
        slot_wait(slot, 0);
        return;
    }
    slot_enter(slot, SLOT_OFF);
    slot_dial(slot);
}

static void on_dead(struct uplink *u, struct uplink_slot *slot, struct lane_report *report)
{
    struct uplink_lane *lane = lane_of(u, report->serial);
    bool was_last = lane && u->lane_count == 1;

    if ((lane || slot) && (report->error || report->has_goodbye)) /* not what we ended ourselves */
        snprintf(u->last_error, sizeof(u->last_error), "%s", report->why);
    if (lane) {
        list_remove(&lane->node);
        free(lane);
        u->lane_count--;
    }
    if (was_last)
        tunnel_down(u);
    if (!slot) /* it had a successor, or nothing is wanted any more */
        return;
    if (report->serial == u->founder)
        u->founder = 0;
    if (report->has_goodbye && report->goodbye == GOODBYE_REPLACED && is_current(u, report))
        park(u);
    else if (report->answer != ANSWER_UNKNOWN_SESSION)
        slot_wait(slot, (uint64_t)MIN(report->retry_after_secs, (uint32_t)RETRY_MAX_SECS) * 1000);
    else if (is_current(u, report))
        found_anew(u, slot);
    else
        join_anew(u, slot);
}

void uplink_on_report(void *arg, struct lane_report *report)
{
    struct uplink *u = arg;
    struct uplink_slot *slot;

    if (!u->slots) { /* uplink_fini() was here: the edge ends */
        lane_report_free(report);
        return;
    }
    slot = slot_of(u, report->serial);
    switch (report->kind) {
    case LANE_REPORT_UP:
        if (slot)
            on_up(u, slot, report);
        break;
    case LANE_REPORT_CONFIG:
        if (lane_of(u, report->serial) && is_current(u, report))
            on_config(u, report, false);
        edge_worker_config_taken(report->worker, report->serial);
        break;
    case LANE_REPORT_DRAINING:
        if (slot)
            slot_dial_again(slot, slot->backoff.up_since_ms);
        break;
    case LANE_REPORT_DEAD:
        on_dead(u, slot, report);
        break;
    }
    lane_report_free(report);
}

/* --- life
 * ----------------------------------------------------------------------------------------- */

void uplink_init(struct uplink *u, struct edge_shared *shared, const char *bind_address)
{
    *u = (struct uplink){.shared = shared};
    list_init(&u->lanes);
    deadline_init(&u->hold, shared->control, on_hold_over);
    deadline_init(&u->parked, shared->control, on_parked_over);
    public_ports_init(&u->ports, shared, bind_address, on_ports_changed, u);
    u->slots = must_alloc(shared->count * sizeof(*u->slots));
    for (unsigned i = 0; i < shared->count; i++) {
        u->slots[i].uplink = u;
        u->slots[i].worker = &shared->workers[i];
        deadline_init(&u->slots[i].wait, shared->control, on_wait);
    }
}

void uplink_fini(struct uplink *u)
{
    struct list *node;

    if (!u->slots)
        return;
    for (unsigned i = 0; i < u->shared->count; i++)
        slot_enter(&u->slots[i], SLOT_OFF);
    deadline_off(&u->hold);
    deadline_off(&u->parked);
    while ((node = list_pop(&u->lanes)))
        free(container_of(node, struct uplink_lane, node));
    public_ports_fini(&u->ports);
    wire_config_fini(&u->config);
    credentials_unref(u->credentials);
    free(u->slots);
    u->slots = NULL;
}

void uplink_set_credentials(struct uplink *u, struct credentials *credentials)
{
    struct credentials *old = u->credentials;

    u->credentials = credentials ? credentials_ref(credentials) : NULL;
    if (old) {
        stop_all(u);
        credentials_unref(old);
    }
    deadline_off(&u->parked);
    u->is_parked = false;
    if (u->credentials)
        dial_all(u);
    else
        forget_config(u);
}

void uplink_drain(struct uplink *u, unsigned secs)
{
    struct port_list none = {0};

    u->is_ending = true;
    public_ports_assign(&u->ports, &none);
    acknowledge(u);
    for (unsigned i = 0; i < u->shared->count; i++)
        edge_worker_drain(&u->shared->workers[i], secs);
}

void uplink_leave(struct uplink *u)
{
    for (unsigned i = 0; i < u->shared->count; i++)
        edge_worker_leave(&u->shared->workers[i]);
}

bool uplink_is_connected(const struct uplink *u)
{
    return u->lane_count > 0;
}

const char *uplink_phase(const struct uplink *u)
{
    if (!u->credentials)
        return "noCredentials";
    if (u->lane_count > 0)
        return "connected";
    if (u->is_parked)
        return "replaced";
    for (unsigned i = 0; i < u->shared->count; i++)
        if (u->slots[i].state == SLOT_DIALLING)
            return "connecting";
    return "waiting";
}
