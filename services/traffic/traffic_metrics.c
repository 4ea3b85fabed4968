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

static void collect_updates(struct metrics *m, const struct route_apply_stats *s)
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
    metrics_family(m, "penstock_traffic_certificate_first_expiry_timestamp_seconds", METRIC_GAUGE,
                   "when the first of the certificates in use expires; 0 without one");
    metrics_value(m, (double)first, NULL);
}

void traffic_collect(struct traffic *t, struct metrics *m)
{
    struct traffic_stats sums;

    traffic_sum(t, &sums);
    collect_workers(m, &sums);
    collect_answers(m, &sums);
    collect_updates(m, route_apply_stats(t->apply));
    collect_routes(m, route_apply_live(t->apply));
    health_collect(&t->health, m);
}
