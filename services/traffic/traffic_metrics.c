/* traffic_metrics - see traffic_metrics.h. */
#include "traffic/traffic_metrics.h"

#include "admin/metrics.h"
#include "tls/tls.h"
#include "traffic/traffic.h"

static void collect_workers(struct metrics *m, const struct traffic_stats *s)
{
#define X(name, help)                                                                              \
    metrics_family(m, "penstock_traffic_" #name "_total", METRIC_COUNTER, help);                   \
    metrics_value(m, (double)s->name, NULL);
    TRAFFIC_COUNTERS(X)
#undef X
#define X(name, help)                                                                              \
    metrics_family(m, "penstock_traffic_" #name, METRIC_GAUGE, help);                              \
    metrics_value(m, (double)s->name, NULL);
    TRAFFIC_GAUGES(X)
#undef X
}

static void collect_answers(struct metrics *m, const struct traffic_stats *s)
{
    static const char *const classes[] = {NULL, "1xx", "2xx", "3xx", "4xx", "5xx"};

    metrics_family(m, "penstock_traffic_responses_total", METRIC_COUNTER,
                   "answers of the TLS listener by class of status");
    for (unsigned i = 1; i < 6; i++)
        metrics_value(m, (double)s->statuses[i], "class", classes[i], NULL);
    metrics_family(m, "penstock_traffic_refused_total", METRIC_COUNTER,
                   "requests and connections refused or broken, by reason");
    for (unsigned i = REASON_NONE + 1; i < REASON_COUNT; i++)
        metrics_value(m, (double)s->reasons[i], "reason",
                      traffic_reason_word((enum traffic_reason)i), NULL);
    metrics_family(m, "penstock_traffic_request_duration_seconds", METRIC_HISTOGRAM,
                   "from the end of a request's head to the end of its answer");
    metrics_histogram(m, traffic_duration_bounds, s->requests_duration.counts,
                      TRAFFIC_DURATION_BUCKETS, s->requests_duration.sum, NULL);
    metrics_family(m, "penstock_traffic_handshake_duration_seconds", METRIC_HISTOGRAM,
                   "from accept to the end of the TLS handshake");
    metrics_histogram(m, traffic_duration_bounds, s->handshakes_duration.counts,
                      TRAFFIC_DURATION_BUCKETS, s->handshakes_duration.sum, NULL);
}

static void collect_updates(struct metrics *m, const struct route_apply_stats *s, uint64_t left_out)
{
    metrics_family(m, "penstock_traffic_route_updates_total", METRIC_COUNTER,
                   "updates of the routes by what became of them");
    for (unsigned i = ROUTE_PENDING + 1; i < ROUTE_FATE_COUNT; i++)
        metrics_value(m, (double)s->fates[i], "fate", route_fate_name((enum route_fate)i), NULL);
    metrics_family(m, "penstock_traffic_route_updates_refused_total", METRIC_COUNTER,
                   "updates refused since limits.waitingUpdates were waiting");
    metrics_value(m, (double)s->refused, NULL);
    metrics_family(m, "penstock_traffic_route_store_failures_total", METRIC_COUNTER,
                   "sets that are served but could not be written into the state folder");
    metrics_value(m, (double)s->store_failures, NULL);
    metrics_family(m, "penstock_traffic_route_stored_revision", METRIC_GAUGE,
                   "revision of the set that a restart would begin with");
    metrics_value(m, (double)s->stored, NULL);
    metrics_family(m, "penstock_traffic_routes_left_out", METRIC_GAUGE,
                   "routes of the stored set that could not be used at the start");
    metrics_value(m, (double)left_out, NULL);
    metrics_family(m, "penstock_traffic_route_updates_waiting", METRIC_GAUGE,
                   "updates that wait for their turn");
    metrics_value(m, (double)s->waiting, NULL);
}

/* The first certificate to end speaks for all: a label for each host would have no bound. */
static void collect_routes(struct metrics *m, const struct route_set *set)
{
    int64_t first = 0;

    for (size_t i = 0; i < set->count; i++) {
        const struct tls_cert *cert = set->routes[i].cert->cert;

        for (unsigned pair = 0; pair < tls_cert_count(cert); pair++) {
            int64_t end = tls_cert_not_after(cert, pair);

            first = first == 0 || end < first ? end : first;
        }
    }
    metrics_family(m, "penstock_traffic_routes", METRIC_GAUGE, "routes in force");
    metrics_value(m, (double)set->count, NULL);
    metrics_family(m, "penstock_traffic_route_revision", METRIC_GAUGE,
                   "revision of the route set in force");
    metrics_value(m, (double)set->revision, NULL);
    metrics_family(m, "penstock_traffic_route_passwords_lost", METRIC_GAUGE,
                   "routes whose password was stored under another auth-key: none is right");
    metrics_value(m, (double)state_folder_passwords_lost(set), NULL);
    metrics_family(m, "penstock_traffic_certificate_first_expiry_timestamp_seconds", METRIC_GAUGE,
                   "when the first of the certificates in use expires; 0 without one");
    metrics_value(m, (double)first, NULL);
}

static void collect_coreflow(struct metrics *m, const struct coreflow *c)
{
    const struct coreflow_stats *s = &c->stats;

    metrics_family(m, "penstock_traffic_coreflow_configured", METRIC_GAUGE,
                   "1: there is a coreflow.url; the others say nothing without it");
    metrics_value(m, c->state != COREFLOW_OFF, NULL);
    metrics_family(m, "penstock_traffic_coreflow_connected", METRIC_GAUGE,
                   "1: the link is open and tagged");
    metrics_value(m, c->state == COREFLOW_UP && c->is_tagged, NULL);
    metrics_family(m, "penstock_traffic_coreflow_change_timestamp_seconds", METRIC_GAUGE,
                   "since when the link is as it is: there or away");
    metrics_value(m, (double)s->last_change_at, NULL);
    metrics_family(m, "penstock_traffic_coreflow_update_timestamp_seconds", METRIC_GAUGE,
                   "when the newest set came from Coreflow; 0: none came");
    metrics_value(m, (double)s->last_update_at, NULL);
    metrics_family(m, "penstock_traffic_coreflow_connects_total", METRIC_COUNTER,
                   "how often the link was opened");
    metrics_value(m, (double)s->connects, NULL);
    metrics_family(m, "penstock_traffic_coreflow_pauses_total", METRIC_COUNTER,
                   "how often reading paused since limits.coreflowAnswers were waiting");
    metrics_value(m, (double)coreflow_pauses(c), NULL);
    metrics_family(m, "penstock_traffic_coreflow_ends_total", METRIC_COUNTER,
                   "links that ended or did not come to be, by reason");
    for (unsigned i = 0; i < WS_END_COUNT; i++)
        metrics_value(m, (double)s->ends[i], "reason", ws_end_word((enum ws_end)i), NULL);
    metrics_family(m, "penstock_traffic_coreflow_messages_total", METRIC_COUNTER,
                   "messages of Coreflow's by what they were");
    for (unsigned i = 0; i < COREFLOW_MESSAGE_COUNT; i++)
        metrics_value(m, (double)s->messages[i], "kind",
                      coreflow_message_word((enum coreflow_message)i), NULL);
}

void traffic_collect(struct traffic *t, struct metrics *m)
{
    struct traffic_stats sums;

    traffic_sum(t, &sums);
    collect_workers(m, &sums);
    collect_answers(m, &sums);
    collect_updates(m, route_apply_stats(t->apply), traffic_routes_left_out(t));
    collect_routes(m, route_apply_live(t->apply));
    collect_coreflow(m, &t->coreflow);
    health_collect(&t->health, m);
    cert_watch_collect(&t->certs, m);
}
