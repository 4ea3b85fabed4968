/* hub_lane - see hub_lane.h.  First its life, then the link's events.  What the desk sends it runs
 * in hub_lane_mail.c.
 */
#include "hub/hub_lane.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "hub/desk.h"
#include "hub/edge_share.h"
#include "hub/forward.h"
#include "loop/socket.h"

static const struct link_ops link_events;

/* --- birth and death -------------------------------------------------------------------------- */

struct new_mail {
    struct task task;
    struct hub_worker *worker;
    struct lane_record *record;
    int fd;
};

static void on_refusal_due(struct deadline *deadline)
{
    struct hub_lane *lane = container_of(deadline, struct hub_lane, refusal);

    if (lane->link && link_state(lane->link) == LINK_VERDICT)
        link_refuse(lane->link, lane->refusal_line, lane->refusal_len, -ERR_AUTH);
}

static struct hub_lane *lane_make(struct hub_worker *w, enum link_transport transport,
                                  struct lane_record *record, struct link_options *options)
{
    struct hub_lane *lane = must_alloc(sizeof(*lane));

    lane->worker = w;
    lane->record = record;
    lane->transport = transport;
    lane->accepted_us = clock_now_us();
    list_init(&lane->forwards);
    list_init(&lane->udp_flows);
    authority_init(&lane->authority.tcp);
    authority_init(&lane->authority.udp);
    deadline_init(&lane->refusal, w->loop, on_refusal_due);
    list_push(&w->lanes, &lane->node);
    *options = (struct link_options){.side = LINK_HUB,
                                     .loop = w->loop,
                                     .tls = w->shared->tls,
                                     .budget = &w->shared->budget,
                                     .ops = &link_events,
                                     .owner = lane,
                                     .handshake_ms = HUB_HANDSHAKE_MS};
    return lane;
}

static void lane_begins(struct hub_lane *lane)
{
    hub_worker_watch(lane->worker);
}

static void lane_failed(struct hub_lane *lane)
{
    struct hub_shared *shared = lane->worker->shared;

    count_one(&shared->counters.handshake_faults[HANDSHAKE_MEMORY]);
    lane->link = NULL;
    desk_post_dead(shared->desk, lane); /* which lets it be forgotten */
}

static void run_new(struct task *task)
{
    struct new_mail mail = *container_of(task, struct new_mail, task);
    struct hub_worker *w = mail.worker;
    struct link_options options;
    struct hub_lane *lane;

    free(container_of(task, struct new_mail, task));
    if (w->is_closed) {
        close(mail.fd);
        return;
    }
    lane = lane_make(w, LINK_TLS, mail.record, &options);
    desk_post_begun(w->shared->desk, lane);
    socket_set_tunnel_options(mail.fd);
    if (link_new(&lane->link, mail.fd, &options) != 0)
        lane_failed(lane);
    else
        lane_begins(lane);
}

bool hub_lane_accept(struct hub_worker *w, struct quic *quic)
{
    bool is_validated = quic_is_validated(quic);
    struct lane_record *record = lane_record_new(quic_peer(quic), is_validated);
    struct link_options options;
    struct hub_lane *lane = lane_make(w, LINK_QUIC, record, &options);

    lane->is_validated = is_validated;
    desk_post_arrived(w->shared->desk, lane);
    if (link_new_quic(&lane->link, quic, &options) != 0) {
        lane_failed(lane);
        return false;
    }
    lane_begins(lane);
    return true;
}

void hub_lane_post_new(struct hub_worker *w, int fd, struct lane_record *record)
{
    struct new_mail *mail = must_alloc(sizeof(*mail));

    *mail = (struct new_mail){.task.run = run_new, .worker = w, .record = record, .fd = fd};
    loop_post(w->loop, &mail->task);
}

void hub_lane_free(struct hub_lane *lane)
{
    must(!lane->link && lane->forward_count == 0);
    must(lane->refusal.due_ms == 0); /* its loop may be gone */
    must(list_is_empty(&lane->udp_flows));
    authority_fini(&lane->authority.tcp);
    authority_fini(&lane->authority.udp);
    ack_mail_free(lane->ack);
    free(lane->refusal_line);
    edge_share_unref(lane->share);
    free(lane);
}

/* The last of both frees it: the desk's last message, the end of the last forward. */
static void free_if_over(struct hub_lane *lane)
{
    if (!lane->is_forgotten || lane->forward_count > 0)
        return;
    list_remove(&lane->node);
    hub_lane_free(lane);
}

void hub_lane_end(struct hub_lane *lane)
{
    hub_lane_publish(lane);
    deadline_off(&lane->refusal);
    link_free(lane->link);
    lane->link = NULL;
    desk_post_dead(lane->worker->shared->desk, lane);
}

void hub_lane_forget(struct hub_lane *lane)
{
    must(!lane->link);
    if (lane->worker->is_closed) /* hub_worker_fini() frees it */
        return;
    lane->is_forgotten = true;
    free_if_over(lane);
}

void hub_lane_forward_gone(struct hub_lane *lane)
{
    must(lane->forward_count > 0);
    lane->forward_count--;
    free_if_over(lane);
}

void hub_lane_close(struct hub_lane *lane)
{
    lane->is_forgotten = false; /* the worker's list is walked: hub_worker_fini() frees */
    deadline_off(&lane->refusal);
    hub_lane_publish(lane);
    link_free(lane->link);
    lane->link = NULL;
    LIST_EACH (&lane->forwards, node, after)
        forward_stop(container_of(node, struct forward, in_lane));
}

void hub_lane_watch(struct hub_lane *lane)
{
    enum path_sign sign = lane->link ? link_watch_path(lane->link) : PATH_SIGN_NONE;

    if (sign == PATH_SIGN_NONE)
        return;
    count_one(&lane->worker->shared->counters.paths_collapsed);
    log_info("hub", "path_collapsed", LOG_S("edge", lane->edge_id),
             LOG_S("sign", path_sign_name(sign)), LOG_U("bytes_sec", link_path(lane->link)->rate),
             LOG_U("lost_pct", link_path(lane->link)->loss_pct));
    if (lane->takes_collapse)
        link_tell_collapse(lane->link);
}

void hub_lane_publish(struct hub_lane *lane)
{
    const struct lane *l = lane->link ? link_lane(lane->link) : NULL;
    struct lane_gauges *g = &lane->gauges;

    if (!l)
        return;
#define SHOW(member, value) atomic_store_explicit(&g->member, (value), memory_order_relaxed)
    SHOW(bytes_in, l->stats.bytes_from_clients + l->stats.udp.bytes_from_clients);
    SHOW(bytes_out, l->stats.bytes_to_clients + l->stats.udp.bytes_to_clients);
    SHOW(udp_sessions, l->udp_count);
    SHOW(udp_opened, l->stats.udp.opened);
    SHOW(udp_bytes_in, l->stats.udp.bytes_from_clients);
    SHOW(udp_bytes_out, l->stats.udp.bytes_to_clients);
    SHOW(udp_datagrams_in, l->stats.udp.datagrams_from_clients);
    SHOW(udp_datagrams_out, l->stats.udp.datagrams_to_clients);
    for (unsigned i = 0; i < UDP_DROP_COUNT; i++)
        SHOW(udp_dropped[i], l->stats.udp.dropped[i]);
    SHOW(opened, l->stats.opened);
    SHOW(window_stalls, l->stats.window_stalls);
    SHOW(ahead_waits, l->stats.ahead_waits);
    SHOW(streams, l->stream_count);
    SHOW(rtt_ms, l->beat.rtt_ms);
    if (l->ops) { /* else it is dead and its rings are gone */
        SHOW(queue_data, lane_sched_depth(&l->out.sched.normal));
        SHOW(queue_udp, lane_sched_depth(&l->out.sched.udp));
        SHOW(queue_sustained, lane_sched_depth(&l->out.sched.sustained));
    }
#undef SHOW
}

/* --- the link's events ------------------------------------------------------------------------ */

/* The edge speaks first. */
static void on_secure(struct link *link)
{
    struct hub_lane *lane = link_owner(link);

    if (lane->transport != LINK_QUIC || lane->is_validated)
        return;
    lane->is_validated = true;
    desk_post_validated(lane->worker->shared->desk, lane);
}

void hub_lane_log_refusal(struct hub_lane *lane, enum answer_code code)
{
    struct log_limit *limit = &lane->worker->handshake_log;
    char peer[ADDR_TEXT_MAX];

    if (!log_limit_pass(limit, loop_now_ms(lane->worker->loop)))
        return;
    log_warn("hub", "handshake_refused", LOG_S("code", answer_name(code)),
             LOG_S("peer", addr_format(link_peer(lane->link), peer)), LOG_U("held", limit->held));
    limit->held = 0;
}

/* Nothing secret is needed for this answer: no need to ask the desk. */
static int refuse_now(struct hub_lane *lane, int used, enum answer_code code, const char *message)
{
    struct hub_shared *shared = lane->worker->shared;
    struct answer answer = {.code = code};
    size_t n;
    char *line;

    memcpy(answer.message, message, strnlen(message, ANSWER_MESSAGE_MAX));
    line = answer_emit(&answer, &n);
    count_one(&shared->counters.handshake_faults[handshake_fault_of(code)]);
    hub_lane_log_refusal(lane, code);
    lane->is_told = true;
    desk_post_refused(shared->desk, lane);
    link_refuse(lane->link, line, n, -ERR_PROTO);
    free(line);
    return used;
}

static int on_line(struct link *link, const uint8_t *bytes, size_t n)
{
    struct hub_lane *lane = link_owner(link);
    uint8_t exporter[TLS_EXPORTER_BYTES];
    struct wire_why why;
    struct hello hello;
    int used = hello_parse(&hello, bytes, n, &why);

    if (used == 0 || used == -ERR_TOO_BIG)
        return used;
    if (used < 0)
        return refuse_now(lane, (int)n, ANSWER_BAD_REQUEST, why.text);
    if (hello.version != WIRE_VERSION)
        return refuse_now(lane, used, ANSWER_UNSUPPORTED_VERSION, "this hub speaks version 1");
    if (link_exporter(link, exporter) != 0)
        return -ERR_TLS;
    lane->is_told = true;
    lane->takes_collapse = feature_list_has(&hello.features, FEATURE_COLLAPSE);
    link_wait(link);
    link_extend(link, HUB_VERDICT_MS);
    desk_post_hello(lane->worker->shared->desk, lane, &hello, exporter);
    return used;
}

static struct stream *on_open(struct link *link, const struct proxy_header *client,
                              enum stream_reset *refuse)
{
    return forward_open(link_owner(link), client, refuse);
}

static struct udp_session *on_udp_open(struct link *link, const struct proxy_header *client,
                                       enum udp_end *refuse)
{
    struct hub_lane *lane = link_owner(link);

    return udp_book_open(&lane->worker->udp, lane, client, refuse);
}

void hub_lane_send_ack(struct hub_lane *lane)
{
    struct ack_mail *mail = lane->ack;

    if (!mail || lane->is_ack_away)
        return;
    lane->ack = NULL;
    lane->is_ack_away = true;
    desk_post_ack(lane->worker->shared->desk, lane, mail);
}

static int on_control(struct link *link, enum frame_type type, const uint8_t *json, size_t n,
                      struct wire_why *why)
{
    struct hub_lane *lane = link_owner(link);
    struct ack_mail *mail = must_alloc(sizeof(*mail));

    must(type == FRAME_CONFIG_ACK);
    if (config_ack_parse(&mail->ack, json, n, why) != 0) {
        free(mail);
        return -ERR_PROTO;
    }
    ack_mail_free(lane->ack);
    lane->ack = mail;
    hub_lane_send_ack(lane);
    return 0;
}

static void on_drain(struct link *link)
{
    struct hub_lane *lane = link_owner(link);

    if (lane->is_drain_told)
        return;
    lane->is_drain_told = true;
    desk_post_draining(lane->worker->shared->desk, lane);
}

static enum handshake_fault fault_of(int error)
{
    switch (-error) {
    case ERR_TIMEOUT:
        return HANDSHAKE_TIMEOUT;
    case ERR_CLOSED:
    case ERR_RESET:
        return HANDSHAKE_CLOSED;
    case ERR_TOO_BIG:
        return HANDSHAKE_HELLO_TOO_LONG;
    case ERR_NOMEM:
        return HANDSHAKE_MEMORY;
    default:
        return HANDSHAKE_TLS;
    }
}

static void log_end(struct hub_lane *lane)
{
    struct log_limit *limit = &lane->worker->handshake_log;
    const struct goodbye *goodbye = link_peer_goodbye(lane->link);
    int error = link_error(lane->link);
    const char *reason = goodbye         ? goodbye_name(goodbye->code)
                         : lane->goodbye ? lane->goodbye
                         : error         ? err_name(error)
                                         : "ended";
    const char *text = goodbye ? goodbye->message : link_error_text(lane->link);
    char peer[ADDR_TEXT_MAX];

    addr_format(link_peer(lane->link), peer);
    if (lane->was_open) {
        log_info("hub", "lane_closed", LOG_S("edge", lane->edge_id), LOG_S("peer", peer),
                 LOG_S("reason", reason), LOG_S("detail", text),
                 LOG_U("bytes_in", counted(&lane->gauges.bytes_in)),
                 LOG_U("bytes_out", counted(&lane->gauges.bytes_out)));
        return;
    }
    if (lane->is_told || !log_limit_pass(limit, loop_now_ms(lane->worker->loop)))
        return;
    log_info("hub", "handshake_failed", LOG_S("peer", peer), LOG_S("reason", reason),
             LOG_S("detail", text), LOG_U("held", limit->held));
    limit->held = 0;
}

static void on_dead(struct link *link)
{
    struct hub_lane *lane = link_owner(link);
    struct hub_counters *counters = &lane->worker->shared->counters;

    hub_lane_publish(lane);
    log_end(lane);
    if (!lane->was_open && !lane->is_told)
        count_one(&counters->handshake_faults[fault_of(link_error(link))]);
    if (lane->was_open && link_error(link) == -ERR_PROTO)
        count_one(&counters->goodbyes[GOODBYE_PROTOCOL_ERROR]);
    hub_lane_end(lane);
}

static const struct link_ops link_events = {
    .on_secure = on_secure,
    .on_line = on_line,
    .on_open = on_open,
    .on_udp_open = on_udp_open,
    .on_control = on_control,
    .on_drain = on_drain,
    .on_dead = on_dead,
};
