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

/* --- for the assignment ----------------------------------------------------------------------- */

/* On the lowest live lane. */
static void send_ack(void *arg, const char *json)
{
    const struct uplink *u = arg;
    const struct uplink_lane *lowest = NULL;

    for (const struct list *n = u->lanes.next; n != &u->lanes; n = n->next) {
        const struct uplink_lane *lane = container_of(n, struct uplink_lane, node);

        if (lane->generation == u->generation && (!lowest || lane->number < lowest->number))
            lowest = lane;
    }
    if (lowest)
        edge_worker_send_config_ack(lowest->worker, lowest->serial, json);
}

static void tunnel_up(struct uplink *u)
{
    assignment_up(&u->assignment);
    log_info("edge", "tunnel_connected", LOG_U("connects", u->assignment.connects));
    edge_event_tunnel(u->shared->events, EDGE_EVENT_TUNNEL_CONNECTED, u);
}

static void tunnel_down(struct uplink *u)
{
    log_warn("edge", "tunnel_disconnected", LOG_S("why", u->last_error));
    edge_event_tunnel(u->shared->events, EDGE_EVENT_TUNNEL_DISCONNECTED, u);
    assignment_down(&u->assignment);
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
    order->takes_collapse = transport == LINK_QUIC && u->choice.mode == TRANSPORT_FALLBACK;
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

    if (!u->credentials || u->is_parked || u->assignment.has_ended)
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

static void slot_dial_now(struct uplink_slot *slot)
{
    slot_enter(slot, SLOT_OFF);
    slot_dial(slot);
}

/* At once when things were good for a while; else as after a failure, or the hub could keep us
 * dialling without end. */
static void slot_dial_again(struct uplink_slot *slot, uint64_t good_since_ms)
{
    if (now_of(slot->uplink) - good_since_ms < BACKOFF_GOOD_MS)
        slot_wait(slot, 0);
    else
        slot_dial_now(slot);
}

static void dial_all(struct uplink *u)
{
    for (unsigned i = 0; i < u->shared->count; i++)
        if (u->slots[i].state == SLOT_OFF)
            slot_dial(&u->slots[i]);
}

/* What it still reports counts no more: the slot may move again. */
static void drop_beside(struct uplink_slot *slot)
{
    if (slot->beside)
        edge_worker_close_lane(slot->worker, slot->beside);
    slot->beside = 0;
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
        drop_beside(slot);
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

    if (slot->state != SLOT_UP || slot->beside || !u->has_session || u->assignment.has_ended ||
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
    uint64_t now_ms = now_of(u), due_ms = u->choice.probe_due_ms;

    for (unsigned i = 0; i < u->shared->count; i++)
        if (u->slots[i].state == SLOT_UP && u->slots[i].transport != u->choice.next)
            due_ms = MIN(due_ms, now_ms + UPLINK_MOVE_AGAIN_MS);
    if (due_ms == UINT64_MAX || u->assignment.has_ended)
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

/* `before` is what was dialled until now.  LOG_DEBUG: it is no news. */
static void tell_choice(struct uplink *u, enum link_transport before, enum log_level level)
{
    if (u->choice.next == before)
        return;
    if (level > LOG_DEBUG)
        edge_event_transport(u->shared->events, u);
    LOG_AT(level, "edge", "transport_changed", LOG_S("to", link_transport_name(u->choice.next)),
           LOG_S("reason", transport_reason_name(u->choice.reason)));
}

static void note_transport_up(struct uplink *u, enum link_transport transport)
{
    enum link_transport before = u->choice.next;

    if (transport == LINK_QUIC)
        transport_choice_quic_up(&u->choice);
    else
        transport_choice_tls_up(&u->choice, now_of(u), random_number());
    tell_choice(u, before, LOG_INFO);
    move_slots(u);
    arm_move(u);
}

static bool is_up_by(const struct uplink *u, enum link_transport transport)
{
    for (unsigned i = 0; i < u->shared->count; i++)
        if (u->slots[i].state == SLOT_UP && u->slots[i].transport == transport)
            return true;
    return false;
}

static void note_transport_failed(struct uplink *u, const struct lane_report *report,
                                  uint64_t ran_ms)
{
    enum link_transport before = u->choice.next;
    bool was_hub_away = u->choice.is_hub_away;

    if (!report->is_path_fault)
        return;
    if (report->transport == LINK_QUIC)
        transport_choice_quic_failed(&u->choice, ran_ms, now_of(u), random_number());
    else if (ran_ms == 0 && !is_up_by(u, LINK_TLS))
        transport_choice_tls_failed(&u->choice, now_of(u));
    /* while neither is up they take turns: that is said once */
    tell_choice(u, before, was_hub_away ? LOG_DEBUG : LOG_WARN);
    arm_move(u);
}

/* Streams that are open stay; what is new goes by TLS as soon as that is up. */
static void note_collapsed(struct uplink *u, const struct uplink_lane *lane, const char *why)
{
    enum link_transport before = u->choice.next;

    log_warn("edge", "path_collapsed", LOG_U("lane", lane->number), LOG_S("why", why));
    transport_choice_quic_collapsed(&u->choice, now_of(u) - lane->up_since_ms, now_of(u),
                                    random_number());
    tell_choice(u, before, LOG_WARN);
    for (unsigned i = 0; i < u->shared->count && u->choice.next != before; i++)
        drop_beside(&u->slots[i]);
    move_slots(u);
    arm_move(u);
}

/* --- reports of lanes ------------------------------------------------------------------------- */

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
    if (report->is_founded) {
        stand_session(u, report);
    } else if (!is_current(u, report)) { /* it joined one that was given up meanwhile */
        if (report->serial == slot->beside)
            drop_beside(slot);
        else
            edge_worker_close_lane(slot->worker, slot->serial);
        arm_move(u);
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
    assignment_take_up(&u->assignment, &report->config, report->is_founded);
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
    for (unsigned i = 0; i < u->shared->count; i++) {
        if (&u->slots[i] != slot && u->slots[i].serial)
            edge_worker_close_lane(u->slots[i].worker, u->slots[i].serial);
        drop_beside(&u->slots[i]);
    }
    slot_dial_again(slot, u->founded_ms);
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
    note_transport_failed(u, report, ran_ms);
    if (report->serial == slot->beside) { /* the slot has its lane still, or dials another */
        slot->beside = 0;
        return;
    }
    if (report->serial == u->founder)
        u->founder = 0;
    if (report->has_goodbye && report->goodbye == GOODBYE_REPLACED && is_current(u, report))
        park(u);
    else if (report->is_path_fault && report->transport == LINK_QUIC && u->choice.next == LINK_TLS)
        slot_dial_now(slot); /* from TLS to QUIC the back-off paces it */
    else if (report->answer != ANSWER_UNKNOWN_SESSION)
        slot_wait(slot, (uint64_t)MIN(report->retry_after_secs, (uint32_t)RETRY_MAX_SECS) * 1000);
    else if (is_current(u, report))
        found_anew(u, slot);
    else if (u->has_session || u->founder)
        slot_dial_now(slot); /* another slot has learned it before: joins what that one founds */
    else
        slot_wait(slot, 0);
}

/* A slot keeps the serial of a lane that on_up() told to close, until it is gone: what that one
 * reports of itself is no news. */
void uplink_on_report(void *arg, struct lane_report *report)
{
    struct uplink *u = arg;
    struct uplink_slot *slot;
    struct uplink_lane *lane;

    if (!u->slots) { /* uplink_fini() was here: the edge ends */
        lane_report_free(report);
        return;
    }
    slot = slot_of(u, report->serial);
    lane = lane_of(u, report->serial);
    switch (report->kind) {
    case LANE_REPORT_UP:
        if (slot)
            on_up(u, slot, report);
        break;
    case LANE_REPORT_CONFIG:
        if (lane && is_current(u, report))
            assignment_take(&u->assignment, &report->config, false);
        edge_worker_config_taken(report->worker, report->serial);
        break;
    case LANE_REPORT_DRAINING:
        if (lane && slot && slot->serial == report->serial)
            slot_dial_again(slot, slot->backoff.up_since_ms);
        break;
    case LANE_REPORT_COLLAPSED:
        if (lane && slot && slot->serial == report->serial)
            note_collapsed(u, lane, report->why);
        break;
    case LANE_REPORT_DEAD:
        on_dead(u, slot, report);
        break;
    }
    lane_report_free(report);
}

/* --- life ------------------------------------------------------------------------------------- */

void uplink_init(struct uplink *u, struct edge_shared *shared, const char *bind_address,
                 enum transport_mode mode, uint64_t retry_ms)
{
    *u = (struct uplink){.shared = shared};
    list_init(&u->lanes);
    deadline_init(&u->parked, shared->control, on_parked_over);
    deadline_init(&u->move, shared->control, on_move_due);
    transport_choice_init(&u->choice, mode, retry_ms);
    assignment_init(&u->assignment, shared, bind_address, send_ack, u);
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
    deadline_off(&u->parked);
    deadline_off(&u->move);
    while ((node = list_pop(&u->lanes)))
        free(container_of(node, struct uplink_lane, node));
    assignment_fini(&u->assignment);
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
    if (u->credentials) {
        assignment_begin(&u->assignment);
        dial_all(u);
    } else {
        assignment_forget(&u->assignment);
    }
}

void uplink_drain(struct uplink *u, unsigned secs)
{
    deadline_off(&u->move);
    assignment_end(&u->assignment);
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
