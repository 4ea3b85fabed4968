/* requester - see requester.h. */
#include "traffic/requester.h"

#include <string.h>

#include "traffic/http_request.h"
#include "traffic/traffic_worker_internal.h"

const struct route *requester_route(struct requester *q)
{
    struct traffic_worker *w = q->worker;

    if (q->hold != w->hold) {
        requester_forget_route(q);
        q->hold = route_hold_ref(w->hold);
        q->route = route_set_find(q->hold->set, q->sni);
    }
    return q->route;
}

void requester_forget_route(struct requester *q)
{
    route_hold_unref(q->hold);
    q->hold = NULL;
    q->route = NULL;
}

static enum traffic_reason check_name(const struct requester *q, struct http_text authority)
{
    char host[ROUTE_HOST_MAX + 1];
    enum traffic_reason reason;

    if (http_text_is(authority, q->sni))
        return REASON_NONE;
    reason = http_host_normalise(authority, host);
    if (reason != REASON_NONE)
        return reason;
    return strcmp(host, q->sni) == 0 ? REASON_NONE : REASON_MISDIRECTED;
}

enum traffic_reason requester_check(struct requester *q, struct http_text authority)
{
    enum traffic_reason reason = check_name(q, authority);

    if (reason == REASON_NONE && !requester_route(q))
        reason = REASON_NO_ROUTE;
    return reason;
}
