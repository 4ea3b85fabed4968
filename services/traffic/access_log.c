/* access_log - see access_log.h.  No header is ever logged but Host's agreed name; log.h escapes.
 */
#include "traffic/access_log.h"

#include "tls/tls.h"
#include "traffic/client.h"
#include "traffic/traffic_worker_internal.h"

void access_log_request(const struct client *c, const struct exchange *x, unsigned status,
                        enum traffic_reason reason)
{
    uint64_t us = x->started_us > 0 ? clock_now_us() - x->started_us : 0;

    if (!c->worker->settings->log_access)
        return;
    log_info("traffic", "request", LOG_S("client", c->forward.address), LOG_S("host", c->sni),
             LOG_S("method", x->method), LOG_S("path", x->path), LOG_U("status", status),
             LOG_U("bytesIn", x->bytes_in), LOG_U("bytesOut", x->bytes_out), LOG_U("us", us),
             LOG_S("upstream", x->target[0] ? x->target : "-"), LOG_S("tls", tls_version(c->tls)),
             LOG_S("reason", traffic_reason_word(reason)));
}
