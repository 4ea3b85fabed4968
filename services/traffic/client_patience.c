/* client_patience - see client_patience.h. */
#include "traffic/client_patience.h"

#include "tls/tls.h"
#include "traffic/client.h"
#include "traffic/traffic_worker_internal.h"

static uint64_t body_idle_ms(const struct client *c)
{
    return (uint64_t)c->worker->settings->timeouts.body_idle_secs * 1000;
}

uint64_t client_write_due_ms(const struct client *c)
{
    bool has_rate = c->worker->settings->limits.read_rate > 0;

    if (c->write_since_ms == 0)
        return 0;
    if (worker_pressure(c->worker) == PRESSURE_STALLED)
        return c->write_since_ms + PRESSURE_PATIENCE_MS;
    return c->write_since_ms + (has_rate ? c->write_left_ms : body_idle_ms(c));
}

void client_forgive_write(struct client *c)
{
    c->write_left_ms = body_idle_ms(c);
    if (c->write_since_ms != 0)
        c->write_since_ms = MAX(loop_now_ms(c->worker->loop), 1u);
}

uint64_t client_clip_patience(const struct client *c, uint64_t ms)
{
    uint64_t now = loop_now_ms(c->worker->loop), due = c->write_since_ms + c->write_left_ms;

    if (c->write_since_ms == 0 || c->worker->settings->limits.read_rate == 0)
        return ms;
    return MIN(ms, due > now ? due - now : 1);
}

void client_pay_write(struct client *c, size_t moved)
{
    uint64_t rate = (uint64_t)c->worker->settings->limits.read_rate;
    uint64_t now = loop_now_ms(c->worker->loop);

    if (moved > 0) {
        uint64_t waited = c->write_since_ms ? now - c->write_since_ms : 0;
        uint64_t left = c->write_left_ms > waited ? c->write_left_ms - waited : 0;

        c->write_left_ms = MIN(left + (rate ? (uint64_t)moved * 1000 / rate : 0), body_idle_ms(c));
        c->write_since_ms = 0;
    }
    if (c->write_since_ms == 0 && tls_out_len(c->tls) > 0)
        c->write_since_ms = MAX(now, 1u);
}

enum traffic_reason client_write_reason(const struct client *c)
{
    uint64_t waited = loop_now_ms(c->worker->loop) - c->write_since_ms;

    return waited < body_idle_ms(c) ? REASON_SLOW_READ : REASON_WRITE_TIMEOUT;
}
