/* access_log - see access_log.h.  No header is ever logged but Host's agreed name; log.h escapes.
 */
#include "traffic/access_log.h"

#include "traffic/exchange.h"
#include "traffic/traffic_worker_internal.h"

void access_log_request(const struct exchange *x, unsigned status, uint64_t us,
                        enum traffic_reason reason)
{
    const struct requester *q = x->requester;

    if (!x->worker->settings->log_access)
        return;
    log_info("traffic", "request", LOG_S("client", q->forward.address), LOG_S("host", q->sni),
             LOG_S("protocol", x->protocol), LOG_S("method", x->method), LOG_S("path", x->path),
             LOG_U("status", status), LOG_U("bytesIn", x->bytes_in),
             LOG_U("bytesOut", x->bytes_out), LOG_U("us", us),
             LOG_S("upstream", x->target[0] ? x->target : "-"), LOG_S("tls", q->tls_version),
             LOG_S("reason", traffic_reason_word(reason)));
}
