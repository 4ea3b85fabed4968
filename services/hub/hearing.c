/* hearing - see hearing.h. */
#include "hub/hearing.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "hub/desk.h"
#include "hub/edge_share.h"
#include "hub/hub_events.h"
#include "hub/hub_lane_mail.h"
#include "hub/verdict.h"

#define OVERLOADED_RETRY_SECS 5

static void count_fault(struct desk *d, enum handshake_fault fault)
{
    count_one(&d->shared->counters.handshake_faults[fault]);
}

static void refuse(struct desk *d, struct lane_record *record, enum answer_code code,
                   const char *message, unsigned delay_ms)
{
    struct answer answer = {.code = code};
    size_t n;
    char *line;

    memcpy(answer.message, message, strnlen(message, ANSWER_MESSAGE_MAX));
    if (code == ANSWER_OVERLOADED)
        answer.retry_after_secs = OVERLOADED_RETRY_SECS;
    count_fault(d, handshake_fault_of(code));
    line = answer_emit(&answer, &n);
    hub_lane_post_refuse(record->lane, line, n, code, delay_ms);
}

/* Whoever guesses waits; and does not keep anyone else from being heard. */
static void refuse_proof(struct desk *d, struct lane_record *record, const char *message)
{
    if (d->waiting_count >= d->max_waiting) {
        count_fault(d, HANDSHAKE_LIMIT_WAITING);
        hub_lane_post_drop(record->lane);
        return;
    }
    record->is_waiting = true;
    d->waiting_count++;
    refuse(d, record, ANSWER_UNAUTHORIZED, message, HUB_WRONG_PROOF_MS);
}

static bool is_running(const struct desk *d, const struct hello *hello)
{
    const struct session *s = session_of_edge(&d->book, hello->edge_id, NULL);

    while (s && strcmp(s->instance, hello->instance) != 0)
        s = session_of_edge(&d->book, hello->edge_id, s);
    return s != NULL;
}

static struct session *begin(struct desk *d, struct lane_record *record, struct edge *edge,
                             const struct hello *hello, enum answer_code *code)
{
    uint64_t now_ms = loop_now_ms(d->loop);
    uint8_t id[SESSION_BYTES];
    char peer[ADDR_TEXT_MAX];
    struct session *session;

    if (d->book.count >= d->max_sessions && !is_running(d, hello)) {
        *code = ANSWER_OVERLOADED;
        return NULL;
    }
    tls_random(id, sizeof(id));
    session = session_begin(&d->book, hello, edge->max_instances, id, record, code);
    if (!session)
        return NULL;
    record->session = edge_session_new(session, edge, record, now_ms);
    edge->sessions++;
    if (!edge->share)
        edge->share = edge_share_new(d->shared);
    log_info("hub", "edge_connected", LOG_S("edge", edge->id), LOG_S("instance", hello->instance),
             LOG_S("peer", addr_format(&record->peer, peer)),
             LOG_U("generation", session->generation), LOG_S("software", hello->software));
    hub_event_edge_connected(d->shared->events, session, &record->peer);
    return session;
}

static struct session *join(struct desk *d, struct lane_record *record, const struct hello *hello,
                            enum answer_code *code)
{
    struct session *session =
        session_join(&d->book, hello, d->max_lanes, record, loop_now_ms(d->loop), code);

    if (!session)
        return NULL;
    record->session = session->user;
    if (!record->session->carrier && record->session->acked_revision < record->session->revision)
        record->session->carrier = record; /* its answer carries the newest CONFIG */
    return session;
}

static void answer_ok(struct lane_record *record, const struct session *session,
                      const struct verdict *v, const struct hello *hello)
{
    struct answer answer = {
        .code = ANSWER_OK, .is_proof_formed = true, .initial_window = INITIAL_WINDOW};
    size_t n;
    char *line;

    if (feature_list_has(&hello->features, FEATURE_COLLAPSE))
        feature_list_add(&answer.features, FEATURE_COLLAPSE);
    memcpy(answer.edge_id, v->edge->id, sizeof(answer.edge_id));
    memcpy(answer.proof, v->proof, sizeof(answer.proof));
    memcpy(answer.session, session->id, sizeof(answer.session));
    edge_session_config(record->session, &answer.config);
    line = answer_emit(&answer, &n);
    answer_fini(&answer);
    hub_lane_post_open(record->lane, line, n, &record->session->authority, v->edge, session->id);
}

static const char *session_message(enum answer_code code)
{
    switch (code) {
    case ANSWER_UNKNOWN_SESSION:
        return "no such session of this edge and instance";
    case ANSWER_LANE_IN_USE:
        return "this lane number was used already";
    case ANSWER_TOO_MANY_LANES:
        return "the session has as many lanes as it may (tunnel.maxLanes)";
    case ANSWER_OVERLOADED:
        return "the hub has as many sessions as it may (limits.sessions)";
    case ANSWER_BAD_REQUEST:
        return "a new session begins with lane 0";
    case ANSWER_OK:
    case ANSWER_UNSUPPORTED_VERSION:
    case ANSWER_UNAUTHORIZED:
    case ANSWER_EDGE_DISABLED:
    case ANSWER_OTHER:
        break;
    }
    return "";
}

void hearing_hold(struct desk *d, struct lane_record *record, const struct hello *hello,
                  const uint8_t exporter[TLS_EXPORTER_BYTES])
{
    enum answer_code code = ANSWER_OK;
    struct session *session;
    struct verdict v;

    verdict_give(&v, d->registry, hello, exporter, loop_now_ms(d->loop));
    if (v.code == ANSWER_UNAUTHORIZED) {
        refuse_proof(d, record, v.message);
        return;
    }
    if (v.code != ANSWER_OK) {
        refuse(d, record, v.code, v.message, 0);
        return;
    }
    if (d->is_stopping) {
        refuse(d, record, ANSWER_OVERLOADED, "the hub is stopping", 0);
        return;
    }
    session =
        hello->has_session ? join(d, record, hello, &code) : begin(d, record, v.edge, hello, &code);
    if (!session) {
        refuse(d, record, code, session_message(code), 0);
        return;
    }
    record->edge = v.edge;
    record->secret_number = v.edge->secret_number - v.is_old_secret;
    list_push(&v.edge->records, &record->in_edge);
    record->number = hello->lane;
    record->is_open = true;
    d->open_count++;
    answer_ok(record, session, &v, hello);
    if (!v.is_old_secret)
        return;
    desk_watch_secrets(d, v.edge);
    /* Whoever renewed it wants to know whether the edge has the new one yet. */
    log_info("hub", "old_secret_used", LOG_S("edge", v.edge->id));
}
