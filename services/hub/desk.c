/* desk - see desk.h. */
#include "hub/desk.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "hub/hearing.h"
#include "hub/hub_events.h"
#include "hub/hub_lane_mail.h"

static const struct session_events session_events;
static void on_expiry(struct deadline *deadline);
static void on_grace(struct deadline *deadline);

void desk_init(struct desk *d, const struct desk_options *options)
{
    uint64_t seed;

    tls_random(&seed, sizeof(seed));
    *d = (struct desk){.loop = options->loop,
                       .shared = options->shared,
                       .registry = options->registry,
                       .max_lanes = options->max_lanes,
                       .max_waiting = options->max_waiting,
                       .max_sessions = options->max_sessions};
    admission_init(&d->admission, options->handshakes, options->handshakes_per_source, seed);
    session_book_init(&d->book, &session_events, d);
    list_init(&d->records);
    deadline_init(&d->expiry, d->loop, on_expiry);
    deadline_init(&d->grace, d->loop, on_grace);
}

void desk_close(struct desk *d)
{
    d->is_closed = true;
    deadline_off(&d->expiry);
    deadline_off(&d->grace);
}

void desk_fini(struct desk *d)
{
    struct list *node;

    if (!d->loop)
        return;
    LIST_EACH (&d->book.sessions, at, after) {
        struct edge_session *es = container_of(at, struct session, node)->user;

        es->edge->sessions--;
        edge_session_free(es);
    }
    session_book_fini(&d->book);
    while ((node = list_pop(&d->records))) {
        struct lane_record *record = container_of(node, struct lane_record, node);

        list_remove(&record->in_edge);
        free(record);
    }
    admission_fini(&d->admission);
    d->loop = NULL;
}

/* --- admission -------------------------------------------------------------------------------- */

static void count_fault(struct desk *d, enum handshake_fault fault)
{
    count_one(&d->shared->counters.handshake_faults[fault]);
}

static void log_not_admitted(struct desk *d, const union addr *peer, enum handshake_fault fault)
{
    char text[ADDR_TEXT_MAX];

    if (!log_limit_pass(&d->limit, loop_now_ms(d->loop)))
        return;
    log_warn("hub", "handshake_refused", LOG_S("code", handshake_fault_names[fault]),
             LOG_S("peer", addr_format(peer, text)), LOG_U("held", d->limit.held));
    d->limit.held = 0;
}

struct lane_record *lane_record_new(const union addr *peer, bool is_validated)
{
    struct lane_record *record = must_alloc(sizeof(*record));

    record->peer = *peer;
    record->is_validated = is_validated;
    list_init(&record->in_edge);
    return record;
}

/* Ends it, now or as soon as it has a lane that can be told. */
static void drop(struct lane_record *record)
{
    record->is_dropped = true;
    if (record->lane)
        hub_lane_post_drop(record->lane);
}

/* Counts it among the handshakes, in place of another one at a limit; false: too many (counted). */
static bool enter_admission(struct desk *d, struct lane_record *record)
{
    enum handshake_fault fault = HANDSHAKE_LIMIT_TOTAL;
    struct admission_entry *displaced;

    switch (admission_enter(&d->admission, &record->handshake,
                            record->is_validated ? &record->peer : NULL, loop_now_ms(d->loop),
                            &displaced)) {
    case ADMISSION_OK:
        if (displaced) {
            count_fault(d, HANDSHAKE_DISPLACED);
            drop(container_of(displaced, struct lane_record, handshake));
        }
        return true;
    case ADMISSION_SOURCE_FULL:
        fault = HANDSHAKE_LIMIT_SOURCE;
        break;
    case ADMISSION_FULL:
        break;
    }
    count_fault(d, fault);
    log_not_admitted(d, &record->peer, fault);
    return false;
}

static void leave_admission(struct desk *d, struct lane_record *record)
{
    admission_leave(&d->admission, &record->handshake);
}

static void keep_record(struct desk *d, struct lane_record *record)
{
    list_push(&d->records, &record->node);
    d->record_count++;
}

struct lane_record *desk_admit(struct desk *d, const union addr *peer)
{
    struct lane_record *record = lane_record_new(peer, true);

    count_one(&d->shared->counters.accepted);
    if (!enter_admission(d, record)) {
        free(record);
        return NULL;
    }
    keep_record(d, record);
    return record;
}

/* --- reports ---------------------------------------------------------------------------------- */

struct hello_mail {
    struct task task;
    struct desk *desk;
    struct hub_lane *lane;
    struct hello hello;
    uint8_t exporter[TLS_EXPORTER_BYTES];
};

static void run_hello(struct task *task)
{
    struct hello_mail *mail = container_of(task, struct hello_mail, task);
    struct desk *d = mail->desk;
    struct lane_record *record;

    if (!d->is_closed) {
        record = mail->lane->record;
        record->lane = mail->lane;
        leave_admission(d, record);
        if (!record->is_dropped)
            hearing_hold(d, record, &mail->hello, mail->exporter);
    }
    tls_wipe(mail, sizeof(*mail));
    free(mail);
}

void desk_post_hello(struct desk *d, struct hub_lane *lane, const struct hello *hello,
                     const uint8_t exporter[TLS_EXPORTER_BYTES])
{
    struct hello_mail *mail = must_alloc(sizeof(*mail));

    mail->task.run = run_hello;
    mail->desk = d;
    mail->lane = lane;
    mail->hello = *hello;
    memcpy(mail->exporter, exporter, sizeof(mail->exporter));
    loop_post(d->loop, &mail->task);
}

struct report_mail {
    struct task task;
    struct desk *desk;
    struct lane_record *record;
    struct hub_lane *lane;
};

static void post_report(struct desk *d, struct lane_record *record, struct hub_lane *lane,
                        void (*run)(struct task *task))
{
    struct report_mail *mail = must_alloc(sizeof(*mail));

    *mail = (struct report_mail){.task.run = run, .desk = d, .record = record, .lane = lane};
    loop_post(d->loop, &mail->task);
}

static struct report_mail take_report(struct task *task)
{
    struct report_mail *mail = container_of(task, struct report_mail, task), copy = *mail;

    free(mail);
    return copy;
}

static void run_arrived(struct task *task)
{
    struct report_mail mail = take_report(task);
    struct lane_record *record = mail.record;

    if (mail.desk->is_closed) { /* desk_fini() does not know it */
        free(record);
        return;
    }
    record->lane = mail.lane;
    count_one(&mail.desk->shared->counters.accepted);
    keep_record(mail.desk, record);
    if (!enter_admission(mail.desk, record))
        drop(record);
}

void desk_post_arrived(struct desk *d, struct hub_lane *lane)
{
    post_report(d, lane->record, lane, run_arrived);
}

static void run_begun(struct task *task)
{
    struct report_mail mail = take_report(task);

    if (mail.desk->is_closed)
        return;
    mail.record->lane = mail.lane;
    if (mail.record->is_dropped)
        drop(mail.record);
}

void desk_post_begun(struct desk *d, struct hub_lane *lane)
{
    post_report(d, lane->record, lane, run_begun);
}

static void run_validated(struct task *task)
{
    struct report_mail mail = take_report(task);
    struct lane_record *record = mail.record;

    if (mail.desk->is_closed || record->is_dropped)
        return;
    record->is_validated = true;
    leave_admission(mail.desk, record);
    if (!enter_admission(mail.desk, record))
        drop(record);
}

void desk_post_validated(struct desk *d, struct hub_lane *lane)
{
    post_report(d, lane->record, lane, run_validated);
}

static void run_refused(struct task *task)
{
    struct report_mail mail = take_report(task);

    if (!mail.desk->is_closed)
        leave_admission(mail.desk, mail.record);
}

void desk_post_refused(struct desk *d, struct hub_lane *lane)
{
    post_report(d, lane->record, lane, run_refused);
}

static void run_draining(struct task *task)
{
    struct report_mail mail = take_report(task);

    if (!mail.desk->is_closed && mail.record->session)
        session_lane_draining(mail.record->session->session, mail.record);
}

void desk_post_draining(struct desk *d, struct hub_lane *lane)
{
    post_report(d, lane->record, lane, run_draining);
}

void ack_mail_free(struct ack_mail *mail)
{
    if (!mail)
        return;
    config_ack_fini(&mail->ack);
    free(mail);
}

static void run_ack(struct task *task)
{
    struct ack_mail *mail = container_of(task, struct ack_mail, task);
    struct desk *d = mail->desk;
    struct lane_record *record;

    if (!d->is_closed) {
        record = mail->lane->record;
        if (record->session &&
            edge_session_acked(record->session, &mail->ack, loop_now_ms(d->loop)) != 0)
            hub_lane_post_goodbye(mail->lane, GOODBYE_PROTOCOL_ERROR,
                                  "CONFIG_ACK of a revision that was never sent", 0);
        hub_lane_post_ack_taken(mail->lane);
    }
    ack_mail_free(mail);
}

void desk_post_ack(struct desk *d, struct hub_lane *lane, struct ack_mail *mail)
{
    mail->task.run = run_ack;
    mail->desk = d;
    mail->lane = lane;
    loop_post(d->loop, &mail->task);
}

static void arm_expiry(struct desk *d)
{
    uint64_t now_ms = loop_now_ms(d->loop), next = session_expire(&d->book, now_ms);

    if (next == UINT64_MAX)
        deadline_off(&d->expiry);
    else
        deadline_set(&d->expiry, next > now_ms ? next - now_ms : 1);
}

static void on_expiry(struct deadline *deadline)
{
    arm_expiry(container_of(deadline, struct desk, expiry));
}

/* What the lane counted stays, though it is gone. */
static void keep_counts(struct desk *d, const struct lane_record *record)
{
    const struct lane_gauges *g = &record->lane->gauges;
    uint64_t in = counted(&g->bytes_in), out = counted(&g->bytes_out), dropped = 0;

    d->past_in += in;
    d->past_out += out;
    d->past_opened += counted(&g->opened);
    d->past_stalls += counted(&g->window_stalls);
    d->past_waits += counted(&g->ahead_waits);
    d->past_udp.opened += counted(&g->udp_opened);
    d->past_udp.datagrams_from_clients += counted(&g->udp_datagrams_in);
    d->past_udp.datagrams_to_clients += counted(&g->udp_datagrams_out);
    d->past_udp.bytes_from_clients += counted(&g->udp_bytes_in);
    d->past_udp.bytes_to_clients += counted(&g->udp_bytes_out);
    for (unsigned i = 0; i < UDP_DROP_COUNT; i++) {
        d->past_udp.dropped[i] += counted(&g->udp_dropped[i]);
        dropped += counted(&g->udp_dropped[i]);
    }
    if (record->edge) {
        record->edge->past_in += in;
        record->edge->past_out += out;
    }
    if (record->session) {
        record->session->past_in += in;
        record->session->past_out += out;
        record->session->past_udp_dropped += dropped;
    }
}

static void run_dead(struct task *task)
{
    struct report_mail mail = take_report(task);
    struct lane_record *record = mail.record;
    struct desk *d = mail.desk;

    if (d->is_closed)
        return;
    record->lane = mail.lane;
    leave_admission(d, record);
    d->waiting_count -= record->is_waiting;
    d->open_count -= record->is_open;
    keep_counts(d, record);
    if (record->session) {
        session_lane_lost(record->session->session, record, loop_now_ms(d->loop));
        edge_session_lane_lost(record->session, record);
        arm_expiry(d);
    }
    hub_lane_post_forget(record->lane);
    list_remove(&record->in_edge);
    list_remove(&record->node);
    d->record_count--;
    free(record);
}

void desk_post_dead(struct desk *d, struct hub_lane *lane)
{
    post_report(d, lane->record, lane, run_dead);
}

/* --- sessions and edges ----------------------------------------------------------------------- */

static const char *goodbye_message(enum goodbye_code code)
{
    switch (code) {
    case GOODBYE_REPLACED:
        return "a newer session of this edge took over";
    case GOODBYE_KICKED:
        return "the operator closed the connection";
    case GOODBYE_EDGE_DISABLED:
        return "the edge was disabled";
    case GOODBYE_SECRET_CHANGED:
        return "the secret of the edge was changed";
    case GOODBYE_DRAINING:
        return "the hub is stopping";
    case GOODBYE_PROTOCOL_ERROR:
    case GOODBYE_OVERLOADED:
    case GOODBYE_OTHER:
        break;
    }
    return "";
}

/* What the desk knew of it goes; the book frees the rest. */
static void forget_session(struct desk *d, struct session *s, const char *reason)
{
    struct edge_session *es = s->user;

    log_info("hub", "edge_disconnected", LOG_S("edge", s->edge_id), LOG_S("instance", s->instance),
             LOG_S("reason", reason), LOG_U("generation", s->generation));
    hub_event_edge_disconnected(d->shared->events, s, reason);
    es->edge->sessions--;
    edge_session_free(es);
    s->user = NULL;
}

static void on_session_end(void *arg, struct session *s, enum goodbye_code code)
{
    LIST_EACH (&s->lanes, node, after) {
        struct lane_record *record = container_of(node, struct session_lane, node)->link;

        record->session = NULL;
        hub_lane_post_goodbye(record->lane, code, goodbye_message(code), 0);
    }
    forget_session(arg, s, goodbye_name(code));
}

static void on_session_expired(void *arg, struct session *s)
{
    forget_session(arg, s, "no_lane");
}

static const struct session_events session_events = {on_session_end, on_session_expired};

void desk_config_changed(struct desk *d, struct edge *edge)
{
    for (struct session *s = session_of_edge(&d->book, edge->id, NULL); s;
         s = session_of_edge(&d->book, edge->id, s))
        edge_session_reconfigure(s->user, loop_now_ms(d->loop));
}

size_t desk_end_edge(struct desk *d, struct edge *edge, enum goodbye_code code)
{
    struct session *s;
    size_t count = 0;

    for (; (s = session_of_edge(&d->book, edge->id, NULL)) != NULL; count++)
        session_end(&d->book, s, code);
    must(edge->sessions == 0);
    return count;
}

static bool is_proof_good(const struct lane_record *record, uint64_t now_ms)
{
    return edge_is_secret_good(record->edge, record->secret_number, now_ms);
}

static bool has_good_lane(const struct session *s, uint64_t now_ms)
{
    LIST_EACH (&s->lanes, node, after)
        if (is_proof_good(container_of(node, struct session_lane, node)->link, now_ms))
            return true;
    return false;
}

/* Its session, too, where no other lane of that is better. */
static void end_lane(struct desk *d, struct lane_record *record, enum goodbye_code code)
{
    struct session *s = record->session->session;

    if (has_good_lane(s, loop_now_ms(d->loop)))
        hub_lane_post_goodbye(record->lane, code, goodbye_message(code), 0);
    else
        session_end(&d->book, s, code);
}

/* Ends it, or tells until when it is good; UINT64_MAX: nobody knows of an end. */
static uint64_t look_at_secret(struct desk *d, struct lane_record *record)
{
    if (!record->session || record->secret_number == record->edge->secret_number)
        return UINT64_MAX;
    if (is_proof_good(record, loop_now_ms(d->loop)))
        return record->edge->old_until.until_ms;
    end_lane(d, record, GOODBYE_SECRET_CHANGED);
    return UINT64_MAX;
}

static void arm_grace(struct desk *d, uint64_t until_ms)
{
    uint64_t now_ms = loop_now_ms(d->loop);

    if (until_ms != UINT64_MAX && (d->grace.due_ms == 0 || until_ms < d->grace.due_ms))
        deadline_set(&d->grace, until_ms > now_ms ? until_ms - now_ms : 1);
}

static void on_grace(struct deadline *deadline)
{
    struct desk *d = container_of(deadline, struct desk, grace);
    uint64_t next = UINT64_MAX;

    LIST_EACH (&d->records, node, after) {
        uint64_t until = look_at_secret(d, container_of(node, struct lane_record, node));

        next = MIN(next, until);
    }
    arm_grace(d, next);
}

void desk_watch_secrets(struct desk *d, struct edge *edge)
{
    LIST_EACH (&edge->records, node, after)
        arm_grace(d, look_at_secret(d, container_of(node, struct lane_record, in_edge)));
}

void desk_edge_removed(struct desk *d, struct edge *edge)
{
    struct list *node;

    desk_end_edge(d, edge, GOODBYE_KICKED);
    while ((node = list_pop(&edge->records)))
        container_of(node, struct lane_record, in_edge)->edge = NULL;
}

void desk_drain(struct desk *d, uint32_t secs)
{
    d->is_stopping = true;
    if (secs == 0)
        return;
    LIST_EACH (&d->records, node, after) {
        const struct lane_record *record = container_of(node, struct lane_record, node);

        if (record->is_open)
            hub_lane_post_drain(record->lane, secs);
    }
}

void desk_leave(struct desk *d)
{
    LIST_EACH (&d->book.sessions, node, after)
        session_end(&d->book, container_of(node, struct session, node), GOODBYE_DRAINING);
}
