/* redirect - see redirect.h. */
#include "traffic/redirect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop/socket.h"
#include "traffic/access_log.h"
#include "traffic/forward_headers.h"
#include "traffic/h1_request.h"
#include "traffic/http_request.h"
#include "traffic/own_answer.h"
#include "traffic/traffic_worker_internal.h"

enum redirect_step { MORE, WAIT };

static const unsigned next_of[] = {
#define X(name, next) [REDIRECT_##name] = (next),
    REDIRECT_STATES(X)
#undef X
};

static void redirect_free(struct reap *reap)
{
    free(container_of(reap, struct redirect, reap));
}

static void close_redirect(struct redirect *r)
{
    struct traffic_worker *w = r->worker;

    deadline_off(&r->deadline);
    loop_io_arm(&r->io, 0);
    ready_cancel(&r->ready);
    h1_gather_fini(&r->in);
    h1_gather_fini(&r->out);
    close(r->fd);
    r->fd = -1;
    list_remove(&r->node);
    if (r->has_address_slot)
        worker_dismiss_address(w, r->address_slot);
    worker_dismiss(w);
    COUNT_DOWN(w, clients_open);
    loop_reap(w->loop, &r->reap);
}

/* The only writer of r->state. */
static void redirect_enter(struct redirect *r, enum redirect_state to)
{
    const struct traffic_timeouts *t = &r->worker->settings->timeouts;

    must(next_of[r->state] & BIT(to));
    r->state = to;
    switch (to) {
    case REDIRECT_PROXY:
        break;
    case REDIRECT_HEAD: /* a client that connects in plain text means to ask at once */
        deadline_set(&r->deadline, (uint64_t)t->header_secs * 1000);
        break;
    case REDIRECT_LINGER:
        shutdown(r->fd, SHUT_WR);
        deadline_set(&r->deadline, REDIRECT_LINGER_MS);
        break;
    case REDIRECT_DEAD:
        close_redirect(r);
        break;
    case REDIRECT_STATE_COUNT:
        must(!"a state");
    }
}

/* --- answers ------------------------------------------------------------------------------ */

static bool put_ipv6(struct h1_text *out, struct http_text host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (host.n < 4 || host.n - 2 >= sizeof(text) || host.p[host.n - 1] != ']')
        return false;
    memcpy(text, host.p + 1, host.n - 2);
    text[host.n - 2] = '\0';
    if (inet_pton(AF_INET6, text, &address) != 1)
        return false;
    h1_put(out, host.p, host.n);
    return true;
}

enum traffic_reason redirect_location(struct h1_text *out, struct http_text authority,
                                      struct http_text target, uint16_t port)
{
    char name[ROUTE_HOST_MAX + 1];

    H1_PUT_LITERAL(out, "https://");
    if (authority.p[0] == '[') {
        const char *end = memchr(authority.p, ']', authority.n);

        if (!end ||
            !put_ipv6(out, (struct http_text){authority.p, (size_t)(end + 1 - authority.p)}))
            return REASON_HOST_INVALID;
    } else {
        if (http_host_normalise(authority, name) != REASON_NONE)
            return REASON_HOST_INVALID;
        h1_put_text(out, name);
    }
    if (port != 443) {
        H1_PUT_LITERAL(out, ":");
        h1_put_number(out, port);
    }
    if (target.p[0] == '/')
        h1_put(out, target.p, target.n);
    else
        H1_PUT_LITERAL(out, "/"); /* OPTIONS * */
    return REASON_NONE;
}

/* One request, as far as it could be read (NULL: its head is not whole), and what it was answered
 * with; no status: there was no memory for that. */
static void log_request(const struct redirect *r, const struct http_request *q, unsigned status,
                        size_t body_len, enum traffic_reason reason)
{
    char host[ROUTE_HOST_MAX + 1] = "", method[ACCESS_METHOD_MAX] = "", path[ACCESS_PATH_MAX] = "";
    char id[REQUEST_ID_MAX + 1] = "";
    struct forward_client client;
    struct access_notes notes = {0};

    if (!r->worker->settings->log_access)
        return;
    forward_client_set(&client, &r->address);
    if (q) {
        access_log_copy(method, sizeof(method), q->method);
        access_log_copy(path, sizeof(path), q->target);
        access_notes_set(&notes, &q->fields);
        request_id_read(id, &q->fields);
        if (q->authority.n > 0 && http_host_normalise(q->authority, host) != REASON_NONE)
            host[0] = '\0';
    }
    access_log_write(
        r->worker, &(struct access_record){.client = client.address,
                                           .host = host[0] ? host : "-",
                                           .protocol = q && q->minor == 0 ? "HTTP/1.0" : "HTTP/1.1",
                                           .method = method,
                                           .path = path,
                                           .upstream = "-",
                                           .tls = "-",
                                           .request_id = id,
                                           .notes = &notes,
                                           .status = status,
                                           .bytes_out = body_len,
                                           .reason = reason});
}

/* `q` as in log_request(). */
static void answer(struct redirect *r, enum traffic_reason reason, const struct http_request *q,
                   struct http_text location)
{
    struct traffic_worker *w = r->worker;
    bool is_moved = reason == REASON_NONE;
    struct h1_text text = {.p = (char *)w->read, .size = sizeof(w->read)};
    struct own_answer own = {.status = is_moved ? 301 : traffic_reason_status(reason),
                             .word = is_moved ? "moved to https" : traffic_reason_word(reason),
                             .minor = is_moved ? q->minor : 1,
                             .closes = r->closes,
                             .is_head = is_moved && q->is_head,
                             .date = w->date,
                             .location = location};
    size_t used;

    own_answer_emit(&text, &own);
    if (is_moved)
        COUNT(w, redirects);
    else
        worker_count_reason(w, reason);
    if (text.is_cut || h1_gather_add(&r->out, text.p, text.n, SIZE_MAX / 2, &used) != 0) {
        r->closes = true;
        own.status = 0;
        own.body_len = 0;
    }
    log_request(r, q, own.status, own.body_len, reason);
}

static void refuse(struct redirect *r, enum traffic_reason reason, const struct http_request *q)
{
    r->closes = true;
    answer(r, reason, q, (struct http_text){NULL, 0});
}

static void answer_request(struct redirect *r)
{
    struct traffic_worker *w = r->worker;
    struct http_request *q = &w->request;
    struct h1_text where = {.p = w->text, .size = sizeof(w->text)};
    enum traffic_reason reason = h1_request_parse(q, r->in.bytes, &r->scan, &w->limits, "http");
    bool has_body;

    if (reason == REASON_NONE)
        reason = redirect_location(&where, q->authority, q->target, w->settings->redirect_port);
    if (reason != REASON_NONE) {
        refuse(r, reason, q);
        return;
    }
    has_body = q->framing == HTTP_CHUNKED || (q->framing == HTTP_LENGTH && q->length > 0);
    r->closes =
        q->wants_close || has_body || q->expects_continue || q->upgrade.n > 0 || w->is_draining;
    answer(r, REASON_NONE, q, (struct http_text){where.p, where.n});
}

/* --- states ------------------------------------------------------------------------------- */

static void admit_address(struct redirect *r)
{
    r->has_address_slot = worker_admit_address(r->worker, &r->address, &r->address_slot);
    if (r->has_address_slot)
        return;
    worker_count_reason(r->worker, REASON_LIMIT_ADDRESS);
    socket_set_reset_on_close(r->fd);
    redirect_enter(r, REDIRECT_DEAD);
}

static enum redirect_step proxy_step(struct redirect *r)
{
    enum io io = proxy_intake_run(&r->intake, r->fd, &r->address);

    if (io == IO_WAIT)
        return WAIT;
    if (io == IO_OK) {
        redirect_enter(r, REDIRECT_HEAD);
        admit_address(r);
        return MORE;
    }
    worker_count_reason(r->worker, REASON_PROXY_INVALID);
    redirect_enter(r, REDIRECT_DEAD);
    return WAIT;
}

static void drop_head(struct redirect *r)
{
    size_t n = r->scan.head_len;

    r->in.len -= n;
    memmove(r->in.bytes, r->in.bytes + n, r->in.len);
    r->scan = (struct h1_scan){0};
    if (r->in.len == 0)
        h1_gather_fini(&r->in);
}

/* One head of what came; false: it is not whole. */
static bool serve_head(struct redirect *r)
{
    struct traffic_worker *w = r->worker;
    bool had_line = r->scan.first_len > 0;
    enum traffic_reason reason = h1_scan_run(&r->scan, r->in.bytes, r->in.len, &w->limits);

    if (reason == REASON_NONE && r->scan.head_len == 0 && r->scan.first_len > 0 && !had_line)
        reason = h1_request_line_check(r->in.bytes, r->scan.first_len);
    if (reason != REASON_NONE) {
        refuse(r, reason, NULL);
        return true;
    }
    if (r->scan.head_len == 0)
        return false;
    answer_request(r);
    drop_head(r);
    deadline_set(&r->deadline, (uint64_t)(r->closes ? w->settings->timeouts.header_secs
                                                    : w->settings->timeouts.idle_secs) *
                                   1000);
    return true;
}

static enum redirect_step head_step(struct redirect *r)
{
    struct traffic_worker *w = r->worker;
    size_t used;
    ssize_t n;

    if (r->out.len > 0)
        return WAIT; /* one answer after the other */
    if (r->closes) {
        redirect_enter(r, REDIRECT_LINGER);
        return MORE;
    }
    if (r->in.len > 0 && serve_head(r))
        return MORE;
    if (r->is_eof) {
        redirect_enter(r, REDIRECT_DEAD);
        return WAIT;
    }
    if (!r->is_readable)
        return WAIT;
    n = recv(r->fd, w->read, w->limits.head_bytes, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        r->is_readable = errno == EINTR;
        return r->is_readable ? MORE : WAIT;
    }
    if (n < 0) {
        redirect_enter(r, REDIRECT_DEAD);
        return WAIT;
    }
    if (n == 0)
        r->is_eof = true;
    else if (r->in.len == 0)
        deadline_set(&r->deadline, (uint64_t)w->settings->timeouts.header_secs * 1000);
    if (n > 0 && h1_gather_add(&r->in, w->read, (size_t)n, SIZE_MAX / 2, &used) != 0)
        redirect_enter(r, REDIRECT_DEAD);
    return MORE;
}

static enum redirect_step linger_step(struct redirect *r)
{
    for (;;) {
        ssize_t n = recv(r->fd, r->worker->read, sizeof(r->worker->read), MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return WAIT;
        r->lingered += n > 0 ? (size_t)n : 0;
        if (n <= 0 || r->lingered > REDIRECT_LINGER_BYTES) {
            redirect_enter(r, REDIRECT_DEAD);
            return WAIT;
        }
    }
}

static enum redirect_step redirect_step(struct redirect *r)
{
    switch (r->state) {
    case REDIRECT_PROXY:
        return proxy_step(r);
    case REDIRECT_HEAD:
        return head_step(r);
    case REDIRECT_LINGER:
        return linger_step(r);
    case REDIRECT_DEAD:
    case REDIRECT_STATE_COUNT:
        break;
    }
    return WAIT;
}

/* Sends what waits; true when something did and all of it went. */
static bool flush(struct redirect *r)
{
    ssize_t n;

    if (r->state != REDIRECT_HEAD || r->out.len == 0 || r->is_write_blocked)
        return false;
    n = send(r->fd, r->out.bytes + r->out_sent, r->out.len - r->out_sent,
             MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0 && errno == EAGAIN) {
        r->is_write_blocked = true;
        return false;
    }
    if (n < 0) {
        redirect_enter(r, REDIRECT_DEAD);
        return false;
    }
    r->out_sent += (size_t)n;
    if (r->out_sent < r->out.len)
        return true;
    h1_gather_fini(&r->out);
    r->out_sent = 0;
    return true;
}

/* The only place that starts and stops watchers. */
static void redirect_arm(struct redirect *r)
{
    unsigned events = LOOP_READ;

    if (r->state == REDIRECT_DEAD)
        return;
    if (r->state == REDIRECT_HEAD && r->out.len > 0)
        events = LOOP_WRITE; /* who doesn't read its answer isn't read on */
    loop_io_arm(&r->io, events);
}

/* The only pump. */
static void redirect_run(struct redirect *r)
{
    unsigned budget = REDIRECT_STEPS_MAX;

    do {
        while (budget > 0 && redirect_step(r) == MORE)
            budget--;
    } while (budget > 0 && flush(r));
    if (budget == 0 && r->state != REDIRECT_DEAD)
        loop_again(r->worker->loop, &r->ready);
    redirect_arm(r);
}

static void on_event(struct loop_io *io, unsigned events)
{
    struct redirect *r = container_of(io, struct redirect, io);

    if (events & LOOP_READ)
        r->is_readable = true;
    if (events & LOOP_WRITE)
        r->is_write_blocked = false;
    redirect_run(r);
}

static void on_ready(struct ready *ready)
{
    redirect_run(container_of(ready, struct redirect, ready));
}

static void on_due(struct deadline *d)
{
    struct redirect *r = container_of(d, struct redirect, deadline);

    if (r->state == REDIRECT_PROXY)
        worker_count_reason(r->worker, REASON_PROXY_MISSING);
    if (r->state == REDIRECT_HEAD && r->in.len > 0 && r->out.len == 0 && !r->closes) {
        refuse(r, REASON_HEADER_TIMEOUT, NULL);
        deadline_set(&r->deadline, REDIRECT_LINGER_MS);
        redirect_run(r);
        return;
    }
    redirect_enter(r, REDIRECT_DEAD);
}

/* --- life --------------------------------------------------------------------------------- */

void redirect_start(struct traffic_worker *w, int fd, const union addr *peer)
{
    struct redirect *r = calloc(1, sizeof(*r));

    if (!r) {
        close(fd);
        worker_dismiss(w);
        worker_count_reason(w, REASON_NO_MEMORY);
        return;
    }
    r->fd = fd;
    r->worker = w;
    r->address = *peer;
    addr_unmap(&r->address);
    loop_io_init(&r->io, w->loop, fd, on_event);
    deadline_init(&r->deadline, w->loop, on_due);
    ready_init(&r->ready, on_ready);
    reap_init(&r->reap, redirect_free);
    COUNT(w, connections);
    COUNT(w, clients_open);
    list_push(&w->redirects, &r->node);
    if (proxy_trust_has(w->trust, peer)) {
        proxy_intake_init(&r->intake);
        r->state = REDIRECT_PROXY;
        deadline_set(&r->deadline, PROXY_INTAKE_MS);
    } else {
        r->state = REDIRECT_HEAD;
        deadline_set(&r->deadline, (uint64_t)w->settings->timeouts.header_secs * 1000);
        admit_address(r);
    }
    redirect_arm(r);
}

void redirect_drain(struct redirect *r, bool now)
{
    if (r->state == REDIRECT_DEAD)
        return;
    if (now || (r->state == REDIRECT_HEAD && r->in.len == 0 && r->out.len == 0))
        redirect_enter(r, REDIRECT_DEAD);
}
