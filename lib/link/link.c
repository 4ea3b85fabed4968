/* link - see link.h: the states, what the owner asks for, and the lane's events.  How bytes get in
 * and out is the transport's: link_tls.c, link_quic.c.
 *
 * One pump (link_run) after every event.  The owner may free the link from within any of its
 * callbacks: then nobody is told anything any more, and the link is taken down when the loop reaps
 * it, not under the feet of lane_input().
 */
#include "link/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "link/link_internal.h"
#include "quic/quic.h"
#include "wire/hello.h"

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

const char *link_transport_name(enum link_transport transport)
{
    return transport == LINK_TLS ? "tcpTls" : "quic";
}

void link_fail(struct link *link, int error, const char *text)
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
    deadline_off(&link->deadline);
    lane_fini(&link->lane);
    link->carrier->close(link);
    ready_cancel(&link->ready); /* behind those two: what they end may wake the lane */
    free(link->line);
    link->line = NULL;
}

void link_enter(struct link *link, enum link_state to)
{
    must(rule[link->state].next & BIT(to));
    log_debug("link", "state", LOG_S("from", rule[link->state].name), LOG_S("to", rule[to].name));
    link->state = to;
    if (to == LINK_OPEN)
        link->state_due_ms = 0;
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

const struct lane_ops link_lane_ops = {
    .on_open = on_lane_open,
    .on_udp_open = on_lane_udp_open,
    .on_control = on_lane_control,
    .on_drain = on_lane_drain,
    .on_wake = on_lane_wake,
};

/* --- what the transports' steps share --------------------------------------------------------- */

enum step link_die(struct link *link, int error, const char *text)
{
    link_fail(link, error, text);
    link_enter(link, LINK_DEAD);
    return STEP_WAIT;
}

enum step link_secured(struct link *link, const char *alpn)
{
    if (strcmp(alpn, WIRE_ALPN) != 0)
        return link_die(link, -ERR_PROTO, "the peer did not agree on ALPN " WIRE_ALPN);
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
    (void)err; /* the lane has ended then: the open step sees it */
    return STEP_MORE;
}

enum step link_take_line(struct link *link, const uint8_t *bytes, size_t n)
{
    int used, err = feed_line(link, bytes, n);

    if (err)
        return link_die(link, err,
                        err == -ERR_NOMEM ? "no memory for the handshake's line"
                                          : "the handshake's line is too long");
    used = link->ops->on_line(link, link->line, link->line_len);
    if (link->is_orphan)
        return STEP_WAIT;
    if (used < 0)
        return link_die(link, used, "the handshake's line is not acceptable");
    if (used == 0)
        return STEP_MORE;
    must(link->state != LINK_LINE);
    return line_is_whole(link, (size_t)used);
}

enum step link_lane_has_ended(struct link *link)
{
    const struct lane *lane = &link->lane;

    if (lane->has_goodbye || lane->error == -ERR_TIMEOUT)
        return link_die(link, lane->error, lane->fault);
    link_fail(link, lane->error, lane->fault);
    link_enter(link, LINK_LEAVING);
    return STEP_MORE;
}

static enum step link_step(struct link *link)
{
    switch (link->state) {
    case LINK_HANDSHAKE:
        return link->carrier->handshake(link);
    case LINK_LINE:
        return link->carrier->line(link);
    case LINK_VERDICT:
        return link->carrier->verdict(link);
    case LINK_OPEN:
        return link->carrier->open(link);
    case LINK_LEAVING:
        return link->carrier->leave(link);
    case LINK_DEAD:
    case LINK_STATE_COUNT:
        break;
    }
    return STEP_WAIT;
}

/* The only place that starts or stops the transport's watchers and the timer. */
static void link_arm(struct link *link)
{
    uint64_t now_ms = loop_now_ms(link->loop), due_ms = UINT64_MAX;

    if (link->state == LINK_DEAD)
        return;
    link->carrier->arm(link);
    if (link->state_due_ms)
        due_ms = link->state_due_ms;
    if (link->state == LINK_OPEN)
        due_ms = MIN(due_ms, lane_deadline(&link->lane));
    if (due_ms == UINT64_MAX)
        deadline_off(&link->deadline);
    else
        deadline_set(&link->deadline, due_ms > now_ms ? due_ms - now_ms : 1);
}

void link_run(struct link *link)
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
            link_fail(link, -ERR_TIMEOUT, "the handshake took too long");
        link_enter(link, LINK_DEAD);
        return;
    }
    link->tls.is_readable = true; /* the loop may not have told yet */
    link_run(link);
}

/* --- for the owner ---------------------------------------------------------------------------- */

struct link *link_make(const struct link_carrier *carrier, const struct link_options *options)
{
    struct link *link = calloc(1, sizeof(*link));

    if (!link)
        return NULL;
    link->carrier = carrier;
    link->side = options->side;
    link->loop = options->loop;
    link->budget = options->budget;
    link->ops = options->ops;
    link->owner = options->owner;
    link->tls.fd = -1;
    link->line_max = link->side == LINK_HUB ? HELLO_MAX : ANSWER_MAX;
    deadline_init(&link->deadline, link->loop, on_due);
    ready_init(&link->ready, on_ready);
    reap_init(&link->reap, on_reap);
    link->state_due_ms = loop_now_ms(link->loop) + options->handshake_ms;
    loop_again(link->loop, &link->ready);
    return link;
}

void link_unmake(struct link *link)
{
    tear_down(link);
    free(link);
}

void link_free(struct link *link)
{
    if (!link || link->is_orphan)
        return;
    link->is_orphan = true;
    if (link->is_running) { /* from a callback: on_reap() does it */
        deadline_off(&link->deadline);
        ready_cancel(&link->ready);
    } else if (link->state != LINK_DEAD) {
        link_enter(link, LINK_DEAD);
    }
    loop_reap(link->loop, &link->reap);
}

void link_send_line(struct link *link, const char *text, size_t n)
{
    must(link->state == LINK_LINE || link->state == LINK_VERDICT);
    link->carrier->send_line(link, text, n);
    loop_again(link->loop, &link->ready);
}

void link_wait(struct link *link)
{
    link_enter(link, LINK_VERDICT);
}

void link_set_budget(struct link *link, struct budget *budget)
{
    must(link->state < LINK_OPEN);
    link->budget = budget;
}

void link_open(struct link *link, uint32_t initial_window)
{
    link->carrier->start_lane(link, initial_window);
    link_enter(link, LINK_OPEN);
    loop_again(link->loop, &link->ready);
}

void link_refuse(struct link *link, const char *line, size_t n, int error)
{
    link->carrier->send_line(link, line, n);
    link_fail(link, error, "the handshake was refused");
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
    return link->carrier->open_stream(link, s, client);
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

enum path_sign link_watch_path(struct link *link)
{
    if (link->state != LINK_OPEN || !link->carrier->watch_path)
        return PATH_SIGN_NONE;
    return link->carrier->watch_path(link);
}

const struct path_watch *link_path(const struct link *link)
{
    return link->carrier->watch_path ? &link->quic.path : NULL;
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

void link_tell_collapse(struct link *link)
{
    if (link->state == LINK_OPEN && link->carrier->tell_collapse)
        link->carrier->tell_collapse(link);
}

void link_goodbye(struct link *link, enum goodbye_code code, const char *message,
                  uint32_t retry_after_secs)
{
    if (link->state == LINK_OPEN) {
        link_fail(link, 0, message);
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

enum link_transport link_transport(const struct link *link)
{
    return link->carrier->transport;
}

const struct lane *link_lane(const struct link *link)
{
    return link->lane.ops || link->lane.initial_window ? &link->lane : NULL;
}

const char *link_cipher(const struct link *link)
{
    return link->carrier->cipher(link);
}

int link_peer_times(const struct link *link, int64_t *not_before, int64_t *not_after)
{
    return link->carrier->peer_times(link, not_before, not_after);
}

const union addr *link_peer(const struct link *link)
{
    return link->quic.quic ? quic_peer(link->quic.quic) : &link->peer; /* a QUIC peer may move */
}

int link_exporter(const struct link *link, uint8_t out[TLS_EXPORTER_BYTES])
{
    must(link->is_secure);
    return link->carrier->exporter(link, out);
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
