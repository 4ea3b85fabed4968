/* link - see link.h.
 *
 * One pump (link_run) after every event.  While OPEN it first reads everything the socket has, then
 * looks at the lane's deadlines (after a long stop the peer's PONG may be what waits to be read),
 * then lets the lane fill the TLS out queue up to LINK_OUT_BYTES, then flushes: what is queued here
 * and in the kernel (TCP_NOTSENT_LOWAT) is all that a control frame ever waits for.
 *
 * The owner may free the link from within any of its callbacks: then nobody is told anything any
 * more, and the link is taken down when the loop reaps it, not under the feet of lane_input().
 */
#include "link/link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "wire/hello.h"

#define LINK_OUT_BYTES     (128u * 1024) /* ciphertext made ahead of the socket */
#define LINK_RECORDS_A_RUN 64u           /* read in one run; then others have their turn */
#define LINK_LEAVE_MS      1000u /* for the last word to go out, and again for the peer to close */

enum step { STEP_WAIT, STEP_MORE };

struct link {
    enum link_state state; /* written by link_enter() only */
    enum link_side side;
    struct loop *loop;          /* borrowed */
    struct budget *budget;      /* borrowed */
    const struct link_ops *ops; /* borrowed */
    void *owner;                /* borrowed */
    int fd;                     /* owned */
    struct tls *tls;            /* owned */
    struct tls_ctx *ctx;        /* counted */
    struct loop_io io;
    struct deadline deadline;
    struct ready ready;
    struct reap reap;
    union addr peer;
    uint64_t state_due_ms; /* of the handshake, or of leaving; 0: none */
    int error;
    char error_text[200];
    bool is_secure; /* on_secure was called */
    bool is_write_shut;
    bool is_readable; /* the socket may have more; else reading it is a call for nothing */
    bool is_orphan;   /* link_free() was called: tell nobody */
    bool is_running;  /* link_run() is on the stack */
    uint8_t *line;    /* owned: what came of the line */
    size_t line_len, line_max;
    struct lane lane;
};

#define LINK_STATES(X)                                                                             \
    X(HANDSHAKE, BIT(LINK_LINE) | BIT(LINK_DEAD))                                                  \
    X(LINE, BIT(LINK_VERDICT) | BIT(LINK_OPEN) | BIT(LINK_LEAVING) | BIT(LINK_DEAD))               \
    X(VERDICT, BIT(LINK_OPEN) | BIT(LINK_LEAVING) | BIT(LINK_DEAD))                                \
    X(OPEN, BIT(LINK_LEAVING) | BIT(LINK_DEAD))                                                    \
    X(LEAVING, BIT(LINK_DEAD))                                                                     \
    X(DEAD, 0)
#define X(name, next) [LINK_##name] = {#name, next},
static const struct {
    const char *name;
    unsigned next;
} rule[] = {LINK_STATES(X)};
#undef X
_Static_assert(ARRAY_LEN(rule) == LINK_STATE_COUNT, "every state has a rule");

static void link_run(struct link *link);
static void link_enter(struct link *link, enum link_state to);

const char *link_state_name(enum link_state state)
{
    return rule[state].name;
}

static void fail(struct link *link, int error, const char *text)
{
    if (link->error || link->error_text[0]) /* the first one wins */
        return;
    link->error = error;
    snprintf(link->error_text, sizeof(link->error_text), "%s", text);
}

static void on_reap(struct reap *reap)
{
    struct link *link = container_of(reap, struct link, reap);

    if (link->state != LINK_DEAD)
        link_enter(link, LINK_DEAD);
    free(link);
}

/* Gives up all but the struct itself; the streams' owners are told. */
static void tear_down(struct link *link)
{
    loop_io_arm(&link->io, 0);
    deadline_off(&link->deadline);
    ready_cancel(&link->ready);
    lane_fini(&link->lane);
    tls_free(link->tls);
    link->tls = NULL;
    tls_ctx_unref(link->ctx);
    link->ctx = NULL;
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
    free(link->line);
    link->line = NULL;
}

static void link_enter(struct link *link, enum link_state to) /* the only writer of link->state */
{
    must(rule[link->state].next & BIT(to));
    log_debug("link", "state", LOG_S("from", rule[link->state].name), LOG_S("to", rule[to].name));
    link->state = to;
    if (to == LINK_OPEN) {
        link->state_due_ms = 0;
        link->is_readable = true;
    }
    if (to == LINK_LEAVING)
        link->state_due_ms = loop_now_ms(link->loop) + LINK_LEAVE_MS;
    if (to == LINK_DEAD) {
        tear_down(link);
        if (!link->is_orphan)
            link->ops->on_dead(link);
    }
}

/* --- the lane's events ------------------------------------------------------------------------ */

static struct link *of_lane(struct lane *lane)
{
    return container_of(lane, struct link, lane);
}

static struct stream *on_lane_open(struct lane *lane, const struct proxy_header *client,
                                   enum stream_reset *refuse)
{
    struct link *link = of_lane(lane);

    if (link->is_orphan) {
        *refuse = RESET_BY_PEER;
        return NULL;
    }
    return link->ops->on_open(link, client, refuse);
}

static struct udp_session *on_lane_udp_open(struct lane *lane, const struct proxy_header *client,
                                            enum udp_end *refuse)
{
    struct link *link = of_lane(lane);

    if (link->is_orphan || !link->ops->on_udp_open)
        return NULL;
    return link->ops->on_udp_open(link, client, refuse);
}

static int on_lane_control(struct lane *lane, enum frame_type type, const uint8_t *json, size_t n,
                           struct wire_why *why)
{
    struct link *link = of_lane(lane);

    return link->is_orphan ? 0 : link->ops->on_control(link, type, json, n, why);
}

static void on_lane_drain(struct lane *lane)
{
    struct link *link = of_lane(lane);

    if (!link->is_orphan)
        link->ops->on_drain(link);
}

static void on_lane_wake(struct lane *lane)
{
    struct link *link = of_lane(lane);

    loop_again(link->loop, &link->ready);
}

static const struct lane_ops lane_events = {
    .on_open = on_lane_open,
    .on_udp_open = on_lane_udp_open,
    .on_control = on_lane_control,
    .on_drain = on_lane_drain,
    .on_wake = on_lane_wake,
};

/* --- steps, one a state ----------------------------------------------------------------------- */

static enum step die(struct link *link, int error, const char *text)
{
    fail(link, error, text);
    link_enter(link, LINK_DEAD);
    return STEP_WAIT;
}

static enum step die_of_tls(struct link *link)
{
    return die(link, tls_error(link->tls), tls_error_text(link->tls));
}

static enum step handshake_step(struct link *link)
{
    switch (tls_handshake(link->tls)) {
    case IO_OK:
        break;
    case IO_WAIT:
        return STEP_WAIT;
    case IO_EOF:
    case IO_FAIL:
        return die_of_tls(link);
    }
    if (strcmp(tls_alpn(link->tls), WIRE_ALPN) != 0)
        return die(link, -ERR_PROTO, "the peer did not agree on ALPN " WIRE_ALPN);
    link_enter(link, LINK_LINE);
    link->is_secure = true;
    link->ops->on_secure(link);
    return STEP_MORE;
}

/* Nobody has proved anything yet: memory for what came, and no more. */
static int feed_line(struct link *link, const uint8_t *bytes, size_t n)
{
    uint8_t *longer;

    if (link->line_len + n > link->line_max + TLS_RECORD_BYTES)
        return -ERR_TOO_BIG;
    longer = realloc(link->line, link->line_len + n);
    if (!longer)
        return -ERR_NOMEM;
    link->line = longer;
    memcpy(link->line + link->line_len, bytes, n);
    link->line_len += n;
    return 0;
}

/* What came behind the line is the first of the frames. */
static enum step line_is_whole(struct link *link, size_t used)
{
    size_t rest = link->line_len - used;
    int err = 0;

    if (link->state == LINK_OPEN && rest > 0)
        err = lane_input(&link->lane, link->line + used, rest, loop_now_ms(link->loop));
    free(link->line);
    link->line = NULL;
    (void)err; /* the lane has ended then: open_step() sees it */
    return STEP_MORE;
}

static enum step line_step(struct link *link)
{
    const uint8_t *bytes;
    size_t n;
    int used, err;

    if (tls_flush(link->tls) == IO_FAIL)
        return die_of_tls(link);
    switch (tls_read(link->tls, &bytes, &n)) {
    case IO_OK:
        break;
    case IO_WAIT:
        return STEP_WAIT;
    case IO_EOF:
        return die(link, -ERR_CLOSED, "the peer closed during the handshake");
    case IO_FAIL:
        return die_of_tls(link);
    }
    err = feed_line(link, bytes, n);
    if (err)
        return die(link, err,
                   err == -ERR_NOMEM ? "no memory for the handshake's line"
                                     : "the handshake's line is too long");
    used = link->ops->on_line(link, link->line, link->line_len);
    if (link->is_orphan)
        return STEP_WAIT;
    if (used < 0)
        return die(link, used, "the handshake's line is not acceptable");
    if (used == 0)
        return STEP_MORE;
    must(link->state != LINK_LINE);
    return line_is_whole(link, (size_t)used);
}

static enum io read_frames(struct link *link)
{
    uint64_t now_ms = loop_now_ms(link->loop);
    const uint8_t *bytes;
    enum io io = IO_OK;
    size_t n;

    if (!link->is_readable)
        return IO_WAIT;
    for (unsigned i = 0; i < LINK_RECORDS_A_RUN; i++) {
        io = tls_read(link->tls, &bytes, &n);
        if (io != IO_OK || lane_input(&link->lane, bytes, n, now_ms) != 0)
            break;
    }
    link->is_readable = io != IO_WAIT;
    return io;
}

/* IO_OK: all that the lane had (none before OPEN) is with the kernel. */
static enum io write_frames(struct link *link)
{
    uint64_t now_ms = loop_now_ms(link->loop);
    const uint8_t *record;

    for (;;) {
        bool is_empty = false;
        enum io io;

        while (tls_out_len(link->tls) < LINK_OUT_BYTES) {
            size_t n = link->lane.ops ? lane_next_record(&link->lane, now_ms, &record) : 0;

            is_empty = n == 0;
            if (is_empty)
                break;
            io = tls_write(link->tls, record, n);
            lane_record_done(&link->lane);
            if (io != IO_OK)
                return io;
        }
        io = tls_flush(link->tls);
        if (io != IO_OK || is_empty)
            return io;
    }
}

/* Whoever said GOODBYE, or is dead, gets no answer; everyone else our last word. */
static enum step lane_has_ended(struct link *link)
{
    const struct lane *lane = &link->lane;

    if (lane->has_goodbye || lane->error == -ERR_TIMEOUT)
        return die(link, lane->error, lane->fault);
    fail(link, lane->error, lane->fault);
    link_enter(link, LINK_LEAVING);
    return STEP_MORE;
}

static enum step open_step(struct link *link)
{
    enum io in = read_frames(link), out;
    int err;

    if (link->is_orphan)
        return STEP_WAIT;
    if (link->lane.state == LANE_ENDED)
        return lane_has_ended(link);
    if (in == IO_FAIL)
        return die_of_tls(link);
    if (in == IO_EOF)
        return die(link, -ERR_CLOSED, "the peer closed without GOODBYE");
    err = lane_tick(&link->lane, loop_now_ms(link->loop));
    if (err)
        return lane_has_ended(link);
    out = write_frames(link);
    if (out == IO_FAIL)
        return die_of_tls(link);
    if (link->lane.state == LANE_ENDED)
        return lane_has_ended(link);
    return in == IO_OK ? STEP_MORE : STEP_WAIT;
}

static void shut_write(struct link *link)
{
    shutdown(link->fd, SHUT_WR);
    link->is_write_shut = true;
    link->state_due_ms = loop_now_ms(link->loop) + LINK_LEAVE_MS;
}

/* The rest of the last word goes out, and what comes is read and discarded meanwhile, or the kernel
 * would answer it with RST and destroy that word. */
static enum step leave_step(struct link *link)
{
    uint8_t waste[4096];
    ssize_t n;

    if (!link->is_write_shut) {
        enum io out = write_frames(link);

        if (out == IO_FAIL) {
            link_enter(link, LINK_DEAD);
            return STEP_WAIT;
        }
        if (out == IO_OK)
            shut_write(link);
    }
    n = recv(link->fd, waste, sizeof(waste), 0);
    if (n > 0)
        return STEP_MORE;
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        link_enter(link, LINK_DEAD);
    return STEP_WAIT;
}

static enum step link_step(struct link *link)
{
    switch (link->state) {
    case LINK_HANDSHAKE:
        return handshake_step(link);
    case LINK_LINE:
        return line_step(link);
    case LINK_VERDICT:
        return tls_flush(link->tls) == IO_FAIL ? die_of_tls(link) : STEP_WAIT;
    case LINK_OPEN:
        return open_step(link);
    case LINK_LEAVING:
        return leave_step(link);
    case LINK_DEAD:
    case LINK_STATE_COUNT:
        break;
    }
    return STEP_WAIT;
}

/* The only place that starts or stops the watcher and the timer. */
static void link_arm(struct link *link)
{
    uint64_t now_ms = loop_now_ms(link->loop), due_ms = UINT64_MAX;
    unsigned events = LOOP_READ;

    if (link->state == LINK_DEAD)
        return;
    if (link->state == LINK_HANDSHAKE)
        events = tls_wants(link->tls);
    else if (link->state == LINK_VERDICT)
        events = 0; /* the edge sends nothing now; its end is seen when the answer goes out */
    if (tls_out_len(link->tls) > 0)
        events |= LOOP_WRITE;
    loop_io_arm(&link->io, events);
    if (link->state_due_ms)
        due_ms = link->state_due_ms;
    if (link->state == LINK_OPEN)
        due_ms = MIN(due_ms, lane_deadline(&link->lane));
    if (due_ms == UINT64_MAX)
        deadline_off(&link->deadline);
    else
        deadline_set(&link->deadline, due_ms > now_ms ? due_ms - now_ms : 1);
}

static void link_run(struct link *link) /* every event ends here */
{
    unsigned budget = 4;

    must(!link->is_running);
    link->is_running = true;
    while (budget > 0 && !link->is_orphan && link_step(link) == STEP_MORE)
        budget--;
    link->is_running = false;
    if (link->state == LINK_DEAD || link->is_orphan)
        return;
    ready_cancel(&link->ready); /* what came in asked for this very run */
    if (budget == 0)
        loop_again(link->loop, &link->ready);
    link_arm(link);
}

static void on_event(struct loop_io *io, unsigned events)
{
    struct link *link = container_of(io, struct link, io);

    if (events & LOOP_READ)
        link->is_readable = true;
    link_run(link);
}

static void on_ready(struct ready *ready)
{
    link_run(container_of(ready, struct link, ready));
}

static void on_due(struct deadline *deadline)
{
    struct link *link = container_of(deadline, struct link, deadline);
    uint64_t now_ms = loop_now_ms(link->loop);

    if (link->state_due_ms && now_ms >= link->state_due_ms) {
        if (link->state < LINK_OPEN)
            fail(link, -ERR_TIMEOUT, "the handshake took too long");
        link_enter(link, LINK_DEAD);
        return;
    }
    link->is_readable = true; /* the loop may not have told yet */
    link_run(link);
}

/* --- for the owner ---------------------------------------------------------------------------- */

int link_new(struct link **out, int fd, const struct link_options *options)
{
    struct link *link = calloc(1, sizeof(*link));
    socklen_t len = sizeof(link->peer);
    int err;

    if (!link) {
        close(fd);
        return -ERR_NOMEM;
    }
    link->side = options->side;
    link->loop = options->loop;
    link->budget = options->budget;
    link->ops = options->ops;
    link->owner = options->owner;
    link->fd = fd;
    link->ctx = tls_ctx_ref(options->tls);
    link->line_max = link->side == LINK_HUB ? HELLO_MAX : ANSWER_MAX;
    getpeername(fd, &link->peer.sa, &len);
    loop_io_init(&link->io, link->loop, fd, on_event);
    deadline_init(&link->deadline, link->loop, on_due);
    ready_init(&link->ready, on_ready);
    reap_init(&link->reap, on_reap);
    err = link->side == LINK_HUB
              ? tls_new_server(&link->tls, link->ctx, loop_pool(link->loop), fd, NULL)
              : tls_new_client(&link->tls, link->ctx, loop_pool(link->loop), fd,
                               options->server_name);
    if (err) {
        tear_down(link);
        free(link);
        return err;
    }
    link->state_due_ms = loop_now_ms(link->loop) + options->handshake_ms;
    loop_again(link->loop, &link->ready);
    *out = link;
    return 0;
}

void link_free(struct link *link)
{
    if (!link || link->is_orphan)
        return;
    link->is_orphan = true;
    if (link->is_running) { /* from a callback: on_reap() does it */
        loop_io_arm(&link->io, 0);
        deadline_off(&link->deadline);
        ready_cancel(&link->ready);
    } else if (link->state != LINK_DEAD) {
        link_enter(link, LINK_DEAD);
    }
    loop_reap(link->loop, &link->reap);
}

static void queue_bytes(struct link *link, const char *text, size_t n)
{
    while (n > 0) {
        size_t part = MIN(n, TLS_RECORD_BYTES);

        if (tls_write(link->tls, text, part) != IO_OK)
            return; /* the next step sees it */
        text += part;
        n -= part;
    }
    loop_again(link->loop, &link->ready);
}

void link_send_line(struct link *link, const char *text, size_t n)
{
    must(link->state == LINK_LINE || link->state == LINK_VERDICT);
    queue_bytes(link, text, n);
}

void link_wait(struct link *link)
{
    link_enter(link, LINK_VERDICT);
}

void link_open(struct link *link, uint32_t initial_window)
{
    lane_init(&link->lane, link->side == LINK_HUB ? LANE_HUB : LANE_EDGE, &lane_events,
              link->budget, loop_pool(link->loop), initial_window, loop_now_ms(link->loop));
    link_enter(link, LINK_OPEN);
    loop_again(link->loop, &link->ready);
}

void link_refuse(struct link *link, const char *line, size_t n, int error)
{
    queue_bytes(link, line, n);
    fail(link, error, "the handshake was refused");
    link_enter(link, LINK_LEAVING);
    loop_again(link->loop, &link->ready);
}

void link_extend(struct link *link, unsigned ms)
{
    link->state_due_ms = loop_now_ms(link->loop) + ms;
    loop_again(link->loop, &link->ready);
}

int link_open_stream(struct link *link, struct stream *s, const struct proxy_header *client)
{
    if (link->state != LINK_OPEN)
        return -ERR_CONFLICT;
    return lane_open_stream(&link->lane, s, client, loop_now_ms(link->loop));
}

int link_open_udp(struct link *link, struct udp_session *u, const struct proxy_header *client)
{
    if (link->state != LINK_OPEN)
        return -ERR_CONFLICT;
    return lane_udp_open(&link->lane, u, client, loop_now_ms(link->loop));
}

bool link_takes_streams(const struct link *link)
{
    return link->state == LINK_OPEN && lane_takes_streams(&link->lane);
}

void link_send_config(struct link *link, const char *json)
{
    if (link->state == LINK_OPEN)
        lane_send_config(&link->lane, json);
}

void link_send_drain(struct link *link, uint32_t deadline_secs)
{
    if (link->state == LINK_OPEN)
        lane_send_drain(&link->lane, deadline_secs, loop_now_ms(link->loop));
}

void link_goodbye(struct link *link, enum goodbye_code code, const char *message,
                  uint32_t retry_after_secs)
{
    if (link->state == LINK_OPEN) {
        fail(link, 0, message);
        lane_send_goodbye(&link->lane, code, message, retry_after_secs);
        if (link->state_due_ms == 0) /* a peer that does not read must not hold us up */
            link->state_due_ms = loop_now_ms(link->loop) + LINK_LEAVE_MS;
    }
}

void *link_owner(const struct link *link)
{
    return link->owner;
}

struct loop *link_loop(const struct link *link)
{
    return link->loop;
}

enum link_state link_state(const struct link *link)
{
    return link->state;
}

const struct lane *link_lane(const struct link *link)
{
    return link->lane.ops || link->lane.initial_window ? &link->lane : NULL;
}

const struct tls *link_tls(const struct link *link)
{
    return link->tls;
}

const union addr *link_peer(const struct link *link)
{
    return &link->peer;
}

int link_exporter(const struct link *link, uint8_t out[TLS_EXPORTER_BYTES])
{
    must(link->is_secure);
    return tls_exporter(link->tls, out);
}

int link_error(const struct link *link)
{
    return link->error;
}

const char *link_error_text(const struct link *link)
{
    return link->error_text;
}

const struct goodbye *link_peer_goodbye(const struct link *link)
{
    return link->lane.has_goodbye ? &link->lane.goodbye : NULL;
}
