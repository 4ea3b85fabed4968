/* uplink - see uplink.h. */
#include "edge/uplink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "edge/edge_events.h"
#include "edge/edge_lane.h"
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

static uint64_t now_of(const struct uplink *u)
{
    return loop_now_ms(u->shared->control);
}

static uint64_t random_number(void)
{
    uint64_t random;

    tls_random(&random, sizeof(random));
    return random;
}

/* --- dialling --------------------------------------------------------------------------------- */

/* The next slot that dials founds a new one. */
static void leave_session(struct uplink *u)
{
    u->has_session = false;
    u->founder = 0;
    u->next_number = 0;
}

/* The next lane of the session, or the first of a new one. */
static struct lane_order *order_new(struct uplink *u, enum link_transport transport)
{
    struct lane_order *order = must_alloc(sizeof(*order));

    order->credentials = credentials_ref(u->credentials);
    order->serial = ++u->next_serial;
    order->transport = transport;
    order->dial_ms = transport == LINK_QUIC && u->choice.mode == TRANSPORT_FALLBACK
                         ? TRANSPORT_QUIC_UP_MS
                         : EDGE_DIAL_MS;
    order->has_session = u->has_session;
    if (u->has_session) {
        memcpy(order->session, u->session, sizeof(order->session));
        order->number = u->next_number++;
    }
    return order;
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
    order = order_new(u, u->choice.next);
    if (!u->has_session) {
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
    uint64_t delay_ms = backoff_down(&slot->backoff, now_of(u), random_number());

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
        if (slot->beside)
            edge_worker_close_lane(slot->worker, slot->beside);
        slot->beside = 0;
        slot_enter(slot, SLOT_OFF);
    }
    leave_session(u);
    if (was_up)
        tunnel_down(u);
}

/* --- moving to the other transport ------------------------------------------------------------ */

static void dial_beside(struct uplink_slot *slot, enum link_transport transport)
{
    struct uplink *u = slot->uplink;
    struct lane_order *order;

    if (slot->state != SLOT_UP || slot->beside || !u->has_session || u->is_ending ||
        u->next_number > LANE_MAX)
        return;
    order = order_new(u, transport);
    slot->beside = order->serial;
    edge_worker_dial(slot->worker, order);
}

/* Every slot whose lane is not by the transport of choice. */
static void move_slots(struct uplink *u)
{
    for (unsigned i = 0; i < u->shared->count; i++)
        if (u->slots[i].state == SLOT_UP && u->slots[i].transport != u->choice.next)
            dial_beside(&u->slots[i], u->choice.next);
}

/* A move that failed is tried again soon; QUIC when its probe is due. */
static void arm_move(struct uplink *u)
{
    uint64_t now_ms = now_of(u), due_ms = u->is_ending ? UINT64_MAX : u->choice.probe_due_ms;

    for (unsigned i = 0; i < u->shared->count; i++)
        if (!u->is_ending && u->slots[i].state == SLOT_UP &&
            u->slots[i].transport != u->choice.next)
            due_ms = MIN(due_ms, now_ms + UPLINK_MOVE_AGAIN_MS);
    if (due_ms == UINT64_MAX)
        deadline_off(&u->move);
    else
        deadline_set(&u->move, due_ms > now_ms ? due_ms - now_ms : 1);
}

/* One slot alone finds out whether QUIC works; the others follow it. */
static void on_move_due(struct deadline *deadline)
{
    struct uplink *u = container_of(deadline, struct uplink, move);

    if (transport_choice_probe(&u->choice, now_of(u), random_number())) {
        for (unsigned i = 0; i < u->shared->count; i++)
            if (u->slots[i].state == SLOT_UP) {
                dial_beside(&u->slots[i], LINK_QUIC);
                break;
            }
    }
    move_slots(u);
    arm_move(u);
}

/* The lane that was dialled beside is up: it is the slot's from now on. */
static void take_beside(struct uplink_slot *slot)
{
    if (slot->state == SLOT_UP)
        edge_worker_drain_lane(slot->worker, slot->serial, UPLINK_MOVE_SECS);
    else if (slot->state == SLOT_DIALLING)
        edge_worker_close_lane(slot->worker, slot->serial);
    slot_enter(slot, SLOT_UP);
    slot->serial = slot->beside;
    slot->beside = 0;
}

static void note_transport_up(struct uplink *u, enum link_transport transport)
{
    if (transport == LINK_QUIC)
        transport_choice_quic_up(&u->choice);
    else
        transport_choice_tls_up(&u->choice, now_of(u), random_number());
    move_slots(u);
    arm_move(u);
}

static void note_transport_failed(struct uplink *u, const struct lane_report *report,
                                  uint64_t ran_ms)
{
    enum link_transport before = u->choice.next;

    if (!report->is_path_fault)
        return;
    if (report->transport == LINK_QUIC)
        transport_choice_quic_failed(&u->choice, ran_ms, now_of(u), random_number());
    else if (ran_ms == 0)
        transport_choice_tls_failed(&u->choice);
    if (u->choice.next != before)
        log_warn("edge", "transport_changed", LOG_S("to", link_transport_name(u->choice.next)),
                 LOG_S("reason", transport_reason_name(u->choice.reason)));
    arm_move(u);
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
    snprintf(ack.public_ip, sizeof(ack.public_ip), "%.*s", (int)sizeof(ack.public_ip) - 1,
             u->stun.public_ip);
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

static void on_public_ip(struct stun_client *stun)
{
    struct uplink *u = container_of(stun, struct uplink, stun);

    edge_event_public_ip(u->shared->events, stun->public_ip);
    acknowledge(u);
}

static void apply(struct uplink *u, struct wire_config *config)
{
    wire_config_fini(&u->config);
    u->config = *config; /* moves */
    *config = (struct wire_config){0};
    u->has_config = true;
    if (!u->is_ending) {
        public_ports_assign(&u->ports, &u->config.ports, &u->config.ports_udp);
        stun_client_set_interval(&u->stun, u->config.stun_interval_secs);
    }
    log_info("edge", "config_applied", LOG_U("revision", u->config.revision),
             LOG_U("ports", u->config.ports.count + u->config.ports_udp.count));
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
    u->up_since_ms = MAX(now_of(u), 1u);
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
    public_ports_assign(&u->ports, &none, &none);
    wire_config_fini(&u->config);
    u->config = (struct wire_config){0};
    u->has_config = false;
}

/* --- reports of lanes
 * ------------------------------------------------------------------------------- */

static struct uplink_slot *slot_of(struct uplink *u, uint64_t serial)
{
    for (unsigned i = 0; i < u->shared->count; i++)
        if (u->slots[i].serial == serial || u->slots[i].beside == serial)
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
    lane->up_since_ms = now_of(u);
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
    u->founded_ms = now_of(u);
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
    if (report->serial == slot->beside)
        take_beside(slot);
    else
        slot_enter(slot, SLOT_UP);
    slot->transport = report->transport;
    backoff_up(&slot->backoff, now_of(u));
    add_lane(u, slot, report->lane_number);
    u->hub = report->hub;
    if (u->lane_count == 1)
        tunnel_up(u);
    if (!is_first && !u->is_ending)
        public_ports_resume(&u->ports);
    on_config(u, report, is_first);
    flush_held(u, false);
    dial_all(u);
    note_transport_up(u, report->transport);
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

static void dial_other_transport(struct uplink_slot *slot)
{
    slot_enter(slot, SLOT_OFF);
    slot_dial(slot);
}

static void on_collapsed(struct uplink *u)
{
    enum link_transport before = u->choice.next;

    transport_choice_collapsed(&u->choice, now_of(u), random_number());
    if (u->choice.next != before)
        log_warn("edge", "transport_changed", LOG_S("to", link_transport_name(u->choice.next)),
                 LOG_S("reason", transport_reason_name(u->choice.reason)));
    move_slots(u);
    arm_move(u);
}

static void on_dead(struct uplink *u, struct uplink_slot *slot, struct lane_report *report)
{
    struct uplink_lane *lane = lane_of(u, report->serial);
    bool was_last = lane && u->lane_count == 1;
    uint64_t ran_ms = lane ? MAX(now_of(u) - lane->up_since_ms, 1u) : 0;

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
    if (report->serial == slot->beside) { /* the slot has its lane still, or dials another */
        slot->beside = 0;
        note_transport_failed(u, report, ran_ms);
        return;
    }
    note_transport_failed(u, report, ran_ms);
    if (report->serial == u->founder)
        u->founder = 0;
    if (report->has_goodbye && report->goodbye == GOODBYE_REPLACED && is_current(u, report))
        park(u);
    else if (report->is_path_fault && u->choice.next != report->transport)
        dial_other_transport(slot);
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
    case LANE_REPORT_COLLAPSED:
        if (slot)
            on_collapsed(u);
        break;
    case LANE_REPORT_DRAINING:
        if (slot && slot->serial == report->serial)
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
    deadline_init(&u->move, shared->control, on_move_due);
    transport_choice_init(&u->choice, TRANSPORT_TLS, 0);
    public_ports_init(&u->ports, shared, bind_address, on_ports_changed, u);
    stun_client_init(&u->stun, shared->control, on_public_ip);
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
    deadline_off(&u->move);
    while ((node = list_pop(&u->lanes)))
        free(container_of(node, struct uplink_lane, node));
    stun_client_fini(&u->stun);
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
        stun_client_stop(&u->stun);
        stop_all(u);
        credentials_unref(old);
    }
    deadline_off(&u->parked);
    u->is_parked = false;
    if (u->credentials) {
        stun_client_start(&u->stun);
        dial_all(u);
    } else {
        forget_config(u);
    }
}

void uplink_drain(struct uplink *u, unsigned secs)
{
    struct port_list none = {0};

    u->is_ending = true;
    deadline_off(&u->move);
    stun_client_set_interval(&u->stun, 0);
    public_ports_assign(&u->ports, &none, &none);
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

enum link_transport uplink_transport(const struct uplink *u)
{
    for (unsigned i = 0; i < u->shared->count; i++)
        if (u->slots[i].state == SLOT_UP)
            return u->slots[i].transport;
    return u->choice.next; /* only draining ones are left */
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
