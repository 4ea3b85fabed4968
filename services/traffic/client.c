/* client - see client.h. */
#include "traffic/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf/chunk.h"
#include "loop/socket.h"
#include "tls/tls.h"
#include "traffic/traffic_worker_internal.h"

static const unsigned next_of[] = {
#define X(name, next) [CLIENT_##name] = (next),
    CLIENT_STATES(X)
#undef X
};

static void client_free(struct reap *reap)
{
    free(container_of(reap, struct client, reap));
}

static void drop_stage(struct client *c)
{
    if (c->stage)
        chunk_give(loop_pool(c->worker->loop), c->stage);
    c->stage = NULL;
    c->stage_len = 0;
}

static void close_client(struct client *c)
{
    struct traffic_worker *w = c->worker;

    if (c->session)
        c->session->fini(c);
    requester_forget_route(&c->requester);
    deadline_off(&c->deadline);
    loop_io_arm(&c->io, 0);
    ready_cancel(&c->ready);
    drop_stage(c);
    tls_free(c->tls);
    c->tls = NULL;
    c->in_len = 0;
    free(c->intake);
    c->intake = NULL;
    close(c->fd);
    c->fd = -1;
    list_remove(&c->node);
    list_remove(&c->stalled);
    if (c->has_address_slot)
        worker_dismiss_address(w, c->address_slot);
    worker_dismiss(w);
    COUNT_DOWN(w, clients_open);
    loop_reap(w->loop, &c->reap);
}

static uint64_t body_idle_ms(const struct client *c)
{
    return (uint64_t)c->worker->settings->timeouts.body_idle_secs * 1000;
}

/* The only writer of c->state. */
static void client_enter(struct client *c, enum client_state to)
{
    must(next_of[c->state] & BIT(to));
    c->state = to;
    switch (to) {
    case CLIENT_PROXY:
        deadline_set(&c->deadline, PROXY_INTAKE_MS);
        break;
    case CLIENT_HANDSHAKE:
        deadline_set(&c->deadline, (uint64_t)c->worker->settings->timeouts.handshake_secs * 1000);
        break;
    case CLIENT_OPEN: /* the session's states have deadlines of their own */
        c->write_left_ms = body_idle_ms(c);
        break;
    case CLIENT_FLUSHING:
        deadline_set(&c->deadline, client_clip_patience(c, body_idle_ms(c)));
        break;
    case CLIENT_LINGER:
        shutdown(c->fd, SHUT_WR);
        deadline_set(&c->deadline, CLIENT_LINGER_MS);
        break;
    case CLIENT_DEAD:
        close_client(c);
        break;
    case CLIENT_STATE_COUNT:
        must(!"a state");
    }
}

static void refuse(struct client *c, enum traffic_reason reason)
{
    worker_count_reason(c->worker, reason);
    if (log_is_on(LOG_DEBUG) && log_limit_pass(&c->worker->refusals, loop_now_ms(c->worker->loop)))
        log_debug("traffic", "client_refused", LOG_S("client", c->requester.forward.address),
                  LOG_S("reason", traffic_reason_word(reason)),
                  LOG_S("error", c->tls ? tls_error_text(c->tls) : "-"));
}

/* --- plaintext ---------------------------------------------------------------------------- */

enum io client_fill(struct client *c)
{
    enum io io;

    if (c->in_len > 0)
        return IO_OK;
    if (c->is_in_ended)
        return IO_EOF;
    if (!c->is_readable && !tls_has_input(c->tls))
        return IO_WAIT;
    io = tls_read(c->tls, &c->in, &c->in_len);
    if (io == IO_WAIT)
        c->is_readable = false;
    else if (io == IO_EOF)
        c->is_in_ended = true;
    return io;
}

/* Something moved, `got` bytes of it from the client: what waits for movement only begins anew. */
static void touch(struct client *c, size_t got)
{
    if (c->state == CLIENT_OPEN)
        c->session->moved(c, got);
    else if (c->state == CLIENT_FLUSHING)
        deadline_set(&c->deadline, client_clip_patience(c, body_idle_ms(c)));
}

void client_skip(struct client *c, size_t n)
{
    must(n <= c->in_len);
    c->in += n;
    c->in_len -= n;
    if (n > 0)
        touch(c, n);
}

static void break_off(struct client *c, bool is_out_of_memory)
{
    c->is_broken = true;
    c->is_out_of_memory = is_out_of_memory;
}

static void write_record(struct client *c, const void *bytes, size_t n)
{
    if (!c->is_broken && tls_write(c->tls, bytes, n) != IO_OK)
        break_off(c, tls_error(c->tls) == -ERR_NOMEM);
}

void client_put(struct client *c, const void *bytes, size_t n)
{
    const uint8_t *from = bytes;

    touch(c, 0);
    while (n > 0 && !c->is_broken) {
        size_t part;

        if (c->stage_len == 0 && n >= TLS_RECORD_BYTES) {
            write_record(c, from, TLS_RECORD_BYTES);
            from += TLS_RECORD_BYTES;
            n -= TLS_RECORD_BYTES;
            continue;
        }
        if (!c->stage) {
            c->stage = chunk_take(loop_pool(c->worker->loop));
            if (!c->stage) {
                break_off(c, true);
                return;
            }
        }
        part = MIN(n, TLS_RECORD_BYTES - c->stage_len);
        memcpy(c->stage->bytes + c->stage_len, from, part);
        c->stage_len += part;
        from += part;
        n -= part;
        if (c->stage_len == TLS_RECORD_BYTES) {
            write_record(c, c->stage->bytes, c->stage_len);
            c->stage_len = 0;
        }
    }
}

size_t client_out_len(const struct client *c)
{
    return c->stage_len + (c->tls ? tls_out_len(c->tls) : 0);
}

size_t client_room(struct client *c)
{
    size_t cap = (size_t)c->worker->settings->limits.buffer_bytes, len = client_out_len(c);
    enum worker_pressure pressure = worker_pressure(c->worker);

    if (pressure != PRESSURE_NONE)
        cap = MIN(cap, TLS_RECORD_BYTES);
    if (pressure == PRESSURE_STALLED && len < cap) {
        worker_stall(c->worker, c);
        return 0;
    }
    return len < cap ? cap - len : 0;
}

enum traffic_reason client_end_reason(const struct client *c)
{
    if (c->worker->is_stopped)
        return REASON_STOPPED;
    return c->is_out_of_memory ? REASON_NO_MEMORY : REASON_CLIENT_GONE;
}

void client_wake(struct client *c)
{
    if (c->state != CLIENT_DEAD)
        loop_again(c->worker->loop, &c->ready);
}

void client_abort(struct client *c)
{
    c->is_broken = true;
    socket_set_reset_on_close(c->fd);
}

/* Sends what is gathered; an idle connection holds no memory for it. */
static void flush(struct client *c)
{
    size_t before;

    if (!c->tls || c->is_broken)
        return;
    if (c->stage_len > 0)
        write_record(c, c->stage->bytes, c->stage_len);
    drop_stage(c);
    before = tls_out_len(c->tls);
    if (before == 0 || c->is_broken)
        return;
    if (tls_flush(c->tls) == IO_FAIL) {
        c->is_broken = true;
        return;
    }
    client_pay_write(c, before - tls_out_len(c->tls));
    if (tls_out_len(c->tls) < before)
        touch(c, 0);
}

void client_shut(struct client *c)
{
    flush(c);
    if (!c->is_broken)
        tls_bye(c->tls); /* once, however often it is called */
}

/* --- states ------------------------------------------------------------------------------- */

static void start_tls(struct client *c)
{
    struct traffic_worker *w = c->worker;
    enum traffic_reason reason = REASON_NO_MEMORY;

    forward_client_set(&c->requester.forward, &c->address);
    c->has_address_slot = worker_admit_address(w, &c->address, &c->address_slot);
    if (!c->has_address_slot)
        reason = REASON_LIMIT_ADDRESS;
    if (!c->has_address_slot || tls_new_server(&c->tls, w->tls_ctx, loop_pool(w->loop), c->fd, c)) {
        refuse(c, reason);
        socket_set_reset_on_close(c->fd);
        client_enter(c, CLIENT_DEAD);
        return;
    }
    if (c->state != CLIENT_HANDSHAKE)
        client_enter(c, CLIENT_HANDSHAKE);
}

static enum step proxy_step(struct client *c)
{
    switch (proxy_intake_run(c->intake, c->fd, &c->address)) {
    case IO_WAIT:
        return STEP_WAIT;
    case IO_OK:
        free(c->intake);
        c->intake = NULL;
        start_tls(c);
        return STEP_MORE;
    case IO_EOF:
    case IO_FAIL:
        break;
    }
    refuse(c, REASON_PROXY_INVALID);
    client_enter(c, CLIENT_DEAD);
    return STEP_WAIT;
}

/* The protocol that ALPN agreed on; without ALPN it is HTTP/1. */
static enum step open_session(struct client *c)
{
    c->requester.sni = tls_sni(c->tls);
    c->requester.tls_version = tls_version(c->tls);
    c->is_readable = true;
    worker_count_handshake(c->worker, clock_now_us() - c->accepted_us);
    if (tls_is_resumed(c->tls))
        COUNT(c->worker, handshakes_resumed);
    client_enter(c, CLIENT_OPEN);
    c->session =
        strcmp(tls_alpn(c->tls), "h2") == 0 ? &h2_session_of_client : &h1_session_of_client;
    if (c->session->start(c) != 0) {
        c->session = NULL;
        refuse(c, REASON_NO_MEMORY);
        client_enter(c, CLIENT_DEAD);
        return STEP_WAIT;
    }
    return STEP_MORE;
}

static enum step handshake_step(struct client *c)
{
    int error;

    switch (tls_handshake(c->tls)) {
    case IO_OK:
        return open_session(c);
    case IO_WAIT:
        return STEP_WAIT;
    case IO_EOF:
    case IO_FAIL:
        break;
    }
    error = tls_error(c->tls);
    if (error == -ERR_CLOSED || error == -ERR_RESET) {
        refuse(c, REASON_CLIENT_GONE);
        client_enter(c, CLIENT_DEAD);
        return STEP_WAIT;
    }
    refuse(c, error == -ERR_DENIED ? REASON_UNKNOWN_NAME : REASON_HANDSHAKE_FAILED);
    client_enter(c, CLIENT_LINGER); /* the alert is with the kernel; no bye from a failed session */
    return STEP_MORE;
}

static void throw_away(struct client *c)
{
    for (;;) {
        ssize_t n = recv(c->fd, c->worker->read, sizeof(c->worker->read), MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        c->lingered += n > 0 ? (size_t)n : 0;
        if (n <= 0 || c->lingered > CLIENT_LINGER_BYTES) {
            client_enter(c, CLIENT_DEAD);
            return;
        }
    }
}

static enum step flushing_step(struct client *c)
{
    client_shut(c);
    flush(c);
    if (c->is_broken || tls_out_len(c->tls) > 0)
        return STEP_WAIT;
    client_enter(c, CLIENT_LINGER);
    return STEP_MORE;
}

static enum step open_step(struct client *c)
{
    enum step step = c->session->step(c);

    if (!c->session->is_over(c) || c->is_broken)
        return step;
    /* A session that has failed sends nothing more. */
    client_enter(c, tls_error(c->tls) == 0 ? CLIENT_FLUSHING : CLIENT_LINGER);
    return STEP_MORE;
}

static enum step client_step(struct client *c)
{
    if (c->is_broken) {
        if (c->state != CLIENT_DEAD)
            client_enter(c, CLIENT_DEAD);
        return STEP_WAIT;
    }
    switch (c->state) {
    case CLIENT_PROXY:
        return proxy_step(c);
    case CLIENT_HANDSHAKE:
        return handshake_step(c);
    case CLIENT_OPEN:
        return open_step(c);
    case CLIENT_FLUSHING:
        return flushing_step(c);
    case CLIENT_LINGER:
        throw_away(c);
        return STEP_WAIT;
    case CLIENT_DEAD:
    case CLIENT_STATE_COUNT:
        break;
    }
    return STEP_WAIT;
}

/* The only place that starts and stops watchers. */
static void client_arm(struct client *c)
{
    unsigned events = 0;

    switch (c->state) {
    case CLIENT_PROXY:
        events = LOOP_READ;
        break;
    case CLIENT_HANDSHAKE:
        events = tls_wants(c->tls);
        break;
    case CLIENT_OPEN:
        if (c->in_len == 0 && !c->is_in_ended && c->session->wants_input(c))
            events |= LOOP_READ;
        if (tls_out_len(c->tls) > 0)
            events |= LOOP_WRITE;
        break;
    case CLIENT_FLUSHING: /* what comes meanwhile waits in the kernel: nobody would take it */
        events = LOOP_WRITE;
        break;
    case CLIENT_LINGER:
        events = LOOP_READ;
        break;
    case CLIENT_DEAD:
    case CLIENT_STATE_COUNT:
        return;
    }
    loop_io_arm(&c->io, events);
}

/* The only pump. */
static void client_run(struct client *c)
{
    unsigned budget = CLIENT_STEPS_MAX;

    while (budget > 0 && client_step(c) == STEP_MORE)
        budget--;
    if (c->state == CLIENT_OPEN) {
        flush(c);
        if (!c->is_broken)
            c->session->on_room(c);
    }
    if (c->is_broken && c->state != CLIENT_DEAD)
        client_enter(c, CLIENT_DEAD);
    if (budget == 0)
        client_wake(c);
    client_arm(c);
}

static void on_event(struct loop_io *io, unsigned events)
{
    struct client *c = container_of(io, struct client, io);

    if (events & LOOP_READ)
        c->is_readable = true;
    client_run(c);
}

static void on_ready(struct ready *ready)
{
    client_run(container_of(ready, struct client, ready));
}

/* Its time is up, and nothing has come that would have saved it. */
static void time_out(struct client *c)
{
    switch (c->state) {
    case CLIENT_PROXY:
        refuse(c, REASON_PROXY_MISSING);
        client_enter(c, CLIENT_DEAD);
        return;
    case CLIENT_HANDSHAKE:
        refuse(c, REASON_HANDSHAKE_TIMEOUT);
        client_enter(c, CLIENT_DEAD);
        return;
    case CLIENT_OPEN:
        c->session->on_due(c);
        client_run(c);
        return;
    case CLIENT_FLUSHING:
        refuse(c, client_write_reason(c));
        client_enter(c, CLIENT_DEAD);
        return;
    case CLIENT_LINGER:
        client_enter(c, CLIENT_DEAD);
        return;
    case CLIENT_DEAD:
    case CLIENT_STATE_COUNT:
        return;
    }
}

/* What lies in the socket came in time, and what it takes goes in time: when the loop or the
 * machine was held up, a timer that fires first must not blame the client. */
static void on_due(struct deadline *d)
{
    struct client *c = container_of(d, struct client, deadline);
    enum client_state before = c->state;

    if (before != CLIENT_LINGER) {
        c->is_readable = true;
        client_run(c);
    }
    if (c->state == before && !deadline_is_set(&c->deadline))
        time_out(c);
}

/* --- life --------------------------------------------------------------------------------- */

void client_start(struct traffic_worker *w, int fd, const union addr *peer)
{
    struct client *c = calloc(1, sizeof(*c));
    bool is_trusted = proxy_trust_has(w->trust, peer);

    if (c && is_trusted)
        c->intake = calloc(1, sizeof(*c->intake));
    if (!c || (is_trusted && !c->intake)) {
        free(c);
        close(fd);
        worker_dismiss(w);
        worker_count_reason(w, REASON_NO_MEMORY);
        return;
    }
    c->fd = fd;
    c->worker = c->requester.worker = w;
    c->address = *peer;
    addr_unmap(&c->address);
    forward_client_set(&c->requester.forward, &c->address);
    c->accepted_us = clock_now_us();
    loop_io_init(&c->io, w->loop, fd, on_event);
    deadline_init(&c->deadline, w->loop, on_due);
    ready_init(&c->ready, on_ready);
    reap_init(&c->reap, client_free);
    list_init(&c->stalled);
    COUNT(w, connections);
    COUNT(w, clients_open);
    list_push(&w->clients, &c->node);
    if (is_trusted) {
        proxy_intake_init(c->intake);
        c->state = CLIENT_PROXY;
        deadline_set(&c->deadline, PROXY_INTAKE_MS);
    } else {
        c->state = CLIENT_HANDSHAKE;
        deadline_set(&c->deadline, (uint64_t)w->settings->timeouts.handshake_secs * 1000);
        start_tls(c);
    }
    client_arm(c);
}

void client_hurry(struct client *c)
{
    uint64_t due = c->write_since_ms + PRESSURE_PATIENCE_MS;

    if (c->state != CLIENT_OPEN && c->state != CLIENT_FLUSHING)
        return;
    if (c->write_since_ms == 0 || due > loop_now_ms(c->worker->loop))
        return;
    time_out(c);
}

void client_drain(struct client *c, bool now)
{
    if (c->state == CLIENT_DEAD)
        return;
    if (now) {
        if (c->state != CLIENT_FLUSHING && c->state != CLIENT_LINGER)
            socket_set_reset_on_close(c->fd);
        client_enter(c, CLIENT_DEAD);
        return;
    }
    if (c->state == CLIENT_OPEN && c->session->drain(c))
        client_wake(c);
}
