/* cert_watch - see cert_watch.h. */
#include "traffic/cert_watch.h"

#include <time.h>

#include "admin/metrics.h"
#include "base/log.h"
#include "tls/tls.h"

#define DAY_SECS 86400

/* The end of the pair that ends first. */
static int64_t first_end(const struct route *route)
{
    const struct tls_cert *cert = route->cert->cert;
    int64_t first = tls_cert_not_after(cert, 0);

    for (unsigned i = 1; i < tls_cert_count(cert); i++)
        first = MIN(first, tls_cert_not_after(cert, i));
    return first;
}

/* It was looked at in the set before. */
static bool is_known(const struct route_set *before, const struct route *route)
{
    const struct route *entry = before ? route_set_entry(before, route->host) : NULL;

    return entry && entry->cert == route->cert;
}

/* Tells of those that `before` has not already. */
static void look(struct cert_watch *w, const struct route_set *before, int64_t now)
{
    unsigned told = 0;

    w->good = w->expiring = w->expired = 0;
    for (size_t i = 0; i < w->set->count; i++) {
        const struct route *route = &w->set->routes[i];
        struct cert_notice n = {.host = route->host, .not_after = first_end(route)};

        n.is_expired = n.not_after <= now;
        n.days_left = n.is_expired ? 0 : (n.not_after - now) / DAY_SECS;
        if (!n.is_expired && n.not_after - now > w->warn_days * DAY_SECS) {
            w->good++;
            continue;
        }
        w->expired += n.is_expired;
        w->expiring += !n.is_expired;
        if (is_known(before, route))
            continue;
        if (++told <= CERT_WATCH_TOLD_MAX)
            w->on_notice(w, &n);
    }
    if (told <= CERT_WATCH_TOLD_MAX)
        return;
    w->untold += told - CERT_WATCH_TOLD_MAX;
    log_warn("traffic", "certificates_untold", LOG_U("hosts", told - CERT_WATCH_TOLD_MAX));
}

static void on_daily(struct deadline *d)
{
    struct cert_watch *w = container_of(d, struct cert_watch, daily);

    cert_watch_look(w, (int64_t)time(NULL));
}

void cert_watch_init(struct cert_watch *w, struct loop *loop, int64_t warn_days,
                     void (*on_notice)(struct cert_watch *w, const struct cert_notice *notice))
{
    *w = (struct cert_watch){.warn_days = warn_days, .on_notice = on_notice};
    deadline_init(&w->daily, loop, on_daily);
    deadline_set(&w->daily, CERT_WATCH_EVERY_MS);
}

void cert_watch_fini(struct cert_watch *w)
{
    deadline_off(&w->daily);
    route_set_unref(w->set);
    w->set = NULL;
}

void cert_watch_take(struct cert_watch *w, struct route_set *set, int64_t now)
{
    struct route_set *before = w->set;

    w->set = route_set_ref(set);
    look(w, before, now);
    route_set_unref(before);
}

void cert_watch_look(struct cert_watch *w, int64_t now)
{
    deadline_set(&w->daily, CERT_WATCH_EVERY_MS);
    if (w->set)
        look(w, NULL, now);
}

void cert_watch_collect(const struct cert_watch *w, struct metrics *m)
{
    metrics_family(m, "penstock_traffic_certificates", METRIC_GAUGE,
                   "hosts by what their certificate was when it was looked at last: when their set "
                   "came, or once a day");
    metrics_value(m, w->good, "state", "good", NULL);
    metrics_value(m, w->expiring, "state", "expiring", NULL);
    metrics_value(m, w->expired, "state", "expired", NULL);
    metrics_family(m, "penstock_traffic_certificates_untold_total", METRIC_COUNTER,
                   "hosts whose certificate ends and that had no event since too many had one");
    metrics_value(m, (double)w->untold, NULL);
}
