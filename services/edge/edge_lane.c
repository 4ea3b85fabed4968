/* edge_lane - see edge_lane.h. */
#include "edge/edge_lane.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "edge/client.h"
#include "loop/socket.h"
#include "quic/quic.h"
#include "wire/base64url.h"

#define SOFTWARE "penstock/" PENSTOCK_VERSION

void lane_order_free(struct lane_order *order)
{
    credentials_unref(order->credentials);
    free(order);
}

struct lane_report *lane_report_new(enum lane_report_kind kind, uint64_t serial)
{
    struct lane_report *report = must_alloc(sizeof(*report));

    report->kind = kind;
    report->serial = serial;
    return report;
}

void lane_report_free(struct lane_report *report)
{
    wire_config_fini(&report->config);
    free(report);
}

static void run_report(struct task *task)
{
    struct lane_report *report = container_of(task, struct lane_report, task);

    report->on_report(report->arg, report);
}

static void post(struct edge_lane *lane, struct lane_report *report)
{
    struct edge_shared *shared = lane->worker->shared;

    report->worker = lane->worker;
    report->transport = lane->order->transport;
    report->on_report = shared->on_report;
    report->arg = shared->arg;
    report->task.run = run_report;
    loop_post(shared->control, &report->task);
}

static void on_reap(struct reap *reap)
{
    struct edge_lane *lane = container_of(reap, struct edge_lane, reap);

    lane_order_free(lane->order);
    if (lane->config)
        lane_report_free(lane->config);
    free(lane);
}

static void edge_lane_enter(struct edge_lane *lane, enum edge_lane_state to)
{
    must(to > lane->state);
    lane->state = to;
    if (to == EDGE_LANE_DEAD) {
        dial_cancel(&lane->dial);
        resolve_cancel(&lane->quic.query);
        deadline_off(&lane->quic.deadline);
        list_remove(&lane->node);
        loop_reap(lane->worker->loop, &lane->reap);
    }
    edge_worker_lanes_changed(lane->worker);
}

static void keep_counters(struct edge_lane *lane)
{
    const struct lane *frames = lane->link ? link_lane(lane->link) : NULL;

    if (!frames)
        return;
    lane->worker->past_in += frames->stats.bytes_from_clients;
    lane->worker->past_out += frames->stats.bytes_to_clients;
    lane->worker->past_stalls += frames->stats.window_stalls;
    lane->worker->past_waits += frames->stats.ahead_waits;
    udp_stats_add(&lane->worker->udp.past, &frames->stats.udp);
}

bool edge_lane_is_path_fault(int error, bool was_secure)
{
    switch (-error) {
    case ERR_TIMEOUT:
    case ERR_CONNECT:
    case ERR_RESET:
    case ERR_CLOSED:
    case ERR_IO:
    case ERR_SYS: /* no port, route or socket to dial from, by this transport */
        return true;
    case ERR_TLS:
    case ERR_PROTO: /* something else speaks there, or something between spoils it */
        return !was_secure;
    default:
        return false;
    }
}

/* The end of it, told to the control thread and logged once. */
static void end(struct edge_lane *lane, int error, const char *why, bool is_silent)
{
    struct lane_report *report = lane_report_new(LANE_REPORT_DEAD, lane->order->serial);
    const struct goodbye *goodbye = lane->link ? link_peer_goodbye(lane->link) : NULL;
    bool was_up = lane->state == EDGE_LANE_UP;

    report->is_path_fault =
        edge_lane_is_path_fault(error, lane->is_secure) && lane->answer == ANSWER_OK && !goodbye;
    memcpy(report->session, was_up ? lane->session : lane->order->session, sizeof(report->session));
    report->error = error;
    report->answer = lane->answer;
    report->retry_after_secs = lane->retry_after_secs;
    snprintf(report->why, sizeof(report->why), "%s", lane->why[0] ? lane->why : why);
    if (goodbye) {
        report->has_goodbye = true;
        report->goodbye = goodbye->code;
        report->retry_after_secs = goodbye->retry_after_secs;
    }
    if (was_up)
        log_info("edge", "lane_closed", LOG_U("lane", lane->order->number),
                 LOG_S("error", err_name(error)), LOG_S("why", report->why));
    else if (log_limit_pass(&lane->worker->failures, loop_now_ms(lane->worker->loop)))
        log_warn("edge", "lane_failed", LOG_U("lane", lane->order->number),
                 LOG_S("error", err_name(error)), LOG_S("why", report->why));
    keep_counters(lane);
    edge_lane_enter(lane, EDGE_LANE_DEAD);
    link_free(lane->link);
    lane->link = NULL;
    if (is_silent)
        lane_report_free(report);
    else
        post(lane, report);
}

/* --- the handshake ---------------------------------------------------------------------------- */

static void prove(struct edge_lane *lane, enum proof_side side, uint8_t out[PROOF_BYTES])
{
    const struct token *token = &lane->order->credentials->token;
    uint8_t exporter[PROOF_EXPORTER_BYTES] = {0}, message[PROOF_MESSAGE_MAX];
    size_t n;

    if (link_exporter(lane->link, exporter) != 0)
        tls_random(exporter, sizeof(exporter)); /* nothing will match it */
    n = proof_message_emit(message, side, exporter, token->edge_id);
    tls_hmac_sha256(token->secret, strlen(token->secret), message, n, out);
}

static void on_secure(struct link *link)
{
    struct edge_lane *lane = link_owner(link);
    struct hello hello = {.version = WIRE_VERSION, .lane = lane->order->number};
    size_t n;
    char *line;

    lane->is_secure = true;
    snprintf(hello.edge_id, sizeof(hello.edge_id), "%s", lane->order->credentials->token.edge_id);
    snprintf(hello.instance, sizeof(hello.instance), "%s", lane->worker->shared->instance);
    snprintf(hello.software, sizeof(hello.software), "%s", SOFTWARE);
    hello.has_session = hello.is_session_formed = lane->order->has_session;
    memcpy(hello.session, lane->order->session, sizeof(hello.session));
    if (lane->order->takes_collapse)
        feature_list_add(&hello.features, FEATURE_COLLAPSE);
    hello.is_proof_formed = true;
    prove(lane, PROOF_EDGE, hello.proof);
    line = hello_emit(&hello, &n);
    link_send_line(link, line, n);
    free(line);
}

static int refuse(struct edge_lane *lane, int error, const char *why)
{
    snprintf(lane->why, sizeof(lane->why), "%s", why);
    return error;
}

/* The hub's proof over this very channel: before it is right, nothing that it says counts. */
static int check_answer(struct edge_lane *lane, const struct answer *answer)
{
    uint8_t expected[PROOF_BYTES];

    if (answer->code != ANSWER_OK) {
        lane->answer = answer->code;
        lane->retry_after_secs = answer->retry_after_secs;
        snprintf(lane->why, sizeof(lane->why), "the hub refused: %s: %.150s",
                 answer_name(answer->code), answer->message);
        return -ERR_DENIED;
    }
    prove(lane, PROOF_HUB, expected);
    if (!answer->is_proof_formed || !proof_is_equal(expected, answer->proof) ||
        strcmp(answer->edge_id, lane->order->credentials->token.edge_id) != 0)
        return refuse(lane, -ERR_AUTH, "the hub does not know the secret: not our hub");
    if (lane->order->has_session &&
        memcmp(answer->session, lane->order->session, sizeof(answer->session)) != 0)
        return refuse(lane, -ERR_PROTO, "the hub answered with another session than was asked for");
    return 0;
}

static void report_up(struct edge_lane *lane, struct answer *answer)
{
    struct lane_report *report = lane_report_new(LANE_REPORT_UP, lane->order->serial);

    memcpy(report->session, answer->session, sizeof(report->session));
    report->config = answer->config; /* moves */
    answer->config = (struct wire_config){0};
    report->is_founded = !lane->order->has_session;
    report->lane_number = lane->order->number;
    memcpy(lane->session, answer->session, sizeof(lane->session));
    report->hub = *link_peer(lane->link);
    post(lane, report);
}

static int on_line(struct link *link, const uint8_t *bytes, size_t n)
{
    struct edge_lane *lane = link_owner(link);
    struct wire_why why = {""};
    struct answer answer = {0};
    int used = answer_parse(&answer, bytes, n, &why), err;

    if (used < 0)
        return refuse(lane, used, why.text[0] ? why.text : "the hub's answer is too long");
    if (used == 0)
        return 0;
    err = check_answer(lane, &answer);
    if (err) {
        answer_fini(&answer);
        return err;
    }
    log_info("edge", "lane_open", LOG_U("lane", lane->order->number),
             LOG_S("transport", link_transport_name(lane->order->transport)),
             LOG_S("verified", credentials_verified_by(lane->order->credentials)),
             LOG_S("cipher", link_cipher(link)));
    report_up(lane, &answer);
    link_open(link, answer.initial_window);
    edge_lane_enter(lane, EDGE_LANE_UP);
    answer_fini(&answer);
    return used;
}

/* --- frames ----------------------------------------------------------------------------------- */

static struct stream *on_open(struct link *link, const struct proxy_header *client,
                              enum stream_reset *refused)
{
    (void)link;
    (void)client;
    *refused = RESET_NOT_ALLOWED;
    return NULL; /* a hub opens no streams: the lane refuses the frame before it gets here */
}

/* However fast the hub sends them, one is under way and one waits. */
static void post_config(struct edge_lane *lane)
{
    if (!lane->config || lane->is_config_away)
        return;
    lane->is_config_away = true;
    post(lane, lane->config);
    lane->config = NULL;
}

void edge_lane_config_taken(struct edge_lane *lane)
{
    lane->is_config_away = false;
    post_config(lane);
}

static int on_control(struct link *link, enum frame_type type, const uint8_t *json, size_t n,
                      struct wire_why *why)
{
    struct edge_lane *lane = link_owner(link);
    struct lane_report *report;

    must(type == FRAME_CONFIG);
    report = lane_report_new(LANE_REPORT_CONFIG, lane->order->serial);
    if (wire_config_parse(&report->config, json, n, why) != 0) {
        lane_report_free(report);
        return -ERR_PROTO;
    }
    memcpy(report->session, lane->session, sizeof(report->session));
    if (lane->config)
        lane_report_free(lane->config);
    lane->config = report;
    post_config(lane);
    return 0;
}

static void begin_draining(struct edge_lane *lane)
{
    if (lane->is_draining)
        return;
    lane->is_draining = true;
    udp_flows_leave(&lane->worker->udp);
    post(lane, lane_report_new(LANE_REPORT_DRAINING, lane->order->serial));
    edge_worker_lanes_changed(lane->worker);
}

static void on_drain(struct link *link)
{
    begin_draining(link_owner(link));
}

static bool dial_next_address(struct edge_lane *lane);

static void post_collapse(struct edge_lane *lane, const char *why)
{
    uint64_t now_ms = loop_now_ms(lane->worker->loop);
    struct lane_report *report;

    if (lane->is_draining || now_ms - lane->collapse_told_ms < EDGE_COLLAPSE_MS)
        return;
    lane->collapse_told_ms = now_ms;
    report = lane_report_new(LANE_REPORT_COLLAPSED, lane->order->serial);
    snprintf(report->why, sizeof(report->why), "%s", why);
    post(lane, report);
}

static void on_collapse(struct link *link)
{
    post_collapse(link_owner(link), "the hub says so of its direction");
}

static void on_dead(struct link *link)
{
    struct edge_lane *lane = link_owner(link);

    if (lane->order->transport == LINK_QUIC && !lane->is_secure && dial_next_address(lane))
        return;
    end(lane, link_error(link), link_error_text(link), false);
}

static const struct link_ops events = {
    .on_secure = on_secure,
    .on_line = on_line,
    .on_open = on_open,
    .on_control = on_control,
    .on_drain = on_drain,
    .on_collapse = on_collapse,
    .on_dead = on_dead,
};

/* --- dialling --------------------------------------------------------------------------------- */

static struct link_options options_of(struct edge_lane *lane, unsigned handshake_ms)
{
    return (struct link_options){
        .side = LINK_EDGE,
        .loop = lane->worker->loop,
        .tls = lane->order->credentials->tls,
        .budget = &lane->worker->shared->budget,
        .ops = &events,
        .owner = lane,
        .server_name = lane->order->credentials->token.hub_host,
        .handshake_ms = handshake_ms,
    };
}

static void on_dialled(struct dial *dial, int fd, int err, const union addr *peer)
{
    struct edge_lane *lane = container_of(dial, struct edge_lane, dial);
    struct link_options options = options_of(lane, EDGE_HANDSHAKE_MS);

    (void)peer;
    if (err) {
        end(lane, err, err_text(err), false);
        return;
    }
    socket_set_tunnel_options(fd);
    err = link_new(&lane->link, fd, &options);
    if (err)
        end(lane, err, err_text(err), false);
    else
        edge_lane_enter(lane, EDGE_LANE_TALKING);
}

static int dial_quic(struct edge_lane *lane, const union addr *to, unsigned ms)
{
    struct link_options options = options_of(lane, ms);
    struct quic_port *port;
    struct quic *quic;
    int err = edge_worker_quic(lane->worker, &port);

    if (!err)
        err = quic_dial(&quic, port,
                        &(struct quic_dial_options){.tls = options.tls,
                                                    .peer = to,
                                                    .server_name = options.server_name,
                                                    .first_byte = (uint8_t)lane->order->number});
    return err ? err : link_new_quic(&lane->link, quic, &options);
}

/* False: none is left, or no time.  The last one gets all the time that is left: the hub's answer
 * belongs to it too. */
static bool dial_next_address(struct edge_lane *lane)
{
    struct edge_quic_dial *d = &lane->quic;
    struct link *before = lane->link;

    while (d->next < d->count) {
        uint64_t now_ms = loop_now_ms(lane->worker->loop);
        uint64_t left_ms = d->due_ms > now_ms ? d->due_ms - now_ms : 0;
        bool is_last = d->next + 1 == d->count;

        if (left_ms == 0)
            return false;
        if (dial_quic(lane, &d->addrs[d->next++],
                      (unsigned)(is_last ? left_ms : MIN(left_ms, (uint64_t)EDGE_ADDRESS_MS))) != 0)
            continue;
        link_free(before);
        return true;
    }
    return false;
}

static void on_addresses(struct resolve *query, const union addr *addrs, unsigned count, int err)
{
    struct edge_lane *lane = container_of(query, struct edge_lane, quic.query);

    deadline_off(&lane->quic.deadline);
    for (unsigned i = 0; !err && i < count; i++)
        lane->quic.addrs[lane->quic.count++] = addrs[i];
    if (err)
        end(lane, err, err_text(err), false);
    else if (dial_next_address(lane))
        edge_lane_enter(lane, EDGE_LANE_TALKING);
    else
        end(lane, -ERR_CONNECT, "no address of the hub can be dialled by QUIC", false);
}

static void on_lookup_due(struct deadline *deadline)
{
    end(container_of(deadline, struct edge_lane, quic.deadline), -ERR_TIMEOUT,
        "the hub's name was not looked up in time", false);
}

static void start_quic(struct edge_lane *lane)
{
    const struct token *token = &lane->order->credentials->token;

    lane->quic.due_ms = loop_now_ms(lane->worker->loop) + lane->order->dial_ms;
    deadline_init(&lane->quic.deadline, lane->worker->loop, on_lookup_due);
    deadline_set(&lane->quic.deadline, lane->order->dial_ms);
    resolve_start(&lane->quic.query, lane->worker->resolver, token->hub_host, token->hub_port,
                  on_addresses);
}

void edge_lane_start(struct edge_worker *w, struct lane_order *order)
{
    struct edge_lane *lane = must_alloc(sizeof(*lane));

    lane->worker = w;
    lane->order = order;
    reap_init(&lane->reap, on_reap);
    dial_init(&lane->dial, w->loop, w->resolver, on_dialled);
    lane->dial.congestion = &w->shared->lane_congestion;
    list_push(w->lanes.next, &lane->node); /* newest first */
    if (order->transport == LINK_QUIC)
        start_quic(lane);
    else
        dial_start(&lane->dial, order->credentials->token.hub_host,
                   order->credentials->token.hub_port, EDGE_ADDRESS_MS, order->dial_ms);
}

void edge_lane_close(struct edge_lane *lane, bool is_silent)
{
    end(lane, 0, "closed by the edge", is_silent);
}

void edge_lane_leave(struct edge_lane *lane)
{
    if (lane->state == EDGE_LANE_UP)
        link_goodbye(lane->link, GOODBYE_DRAINING, "the edge is stopping", 0);
    else
        edge_lane_close(lane, false);
}

static void watch_path(struct edge_lane *lane)
{
    enum path_sign sign = link_watch_path(lane->link);
    const struct path_watch *path = link_path(lane->link);
    char why[100];

    if (sign == PATH_SIGN_NONE)
        return;
    snprintf(why, sizeof(why), "%s: %llu bytes a second to the hub, %u %% lost",
             path_sign_name(sign), (unsigned long long)path->rate, path->loss_pct);
    post_collapse(lane, why);
}

/* A successor on this worker takes what comes. */
static bool has_successor(const struct edge_lane *lane)
{
    LIST_EACH (&lane->worker->lanes, node, after) {
        const struct edge_lane *other = container_of(node, struct edge_lane, node);

        if (other->state == EDGE_LANE_UP && !other->is_draining)
            return true;
    }
    return false;
}

void edge_lane_drain(struct edge_lane *lane, uint32_t secs)
{
    if (lane->state != EDGE_LANE_UP)
        return;
    if (secs > 0)
        link_send_drain(lane->link, secs);
    begin_draining(lane);
}

bool edge_lane_wants_ticks(const struct edge_lane *lane)
{
    return lane->is_draining ||
           (lane->state == EDGE_LANE_UP && link_lane(lane->link)->carrier != LANE_FRAMES);
}

void edge_lane_tick(struct edge_lane *lane)
{
    const struct lane *frames;

    if (lane->state != EDGE_LANE_UP)
        return;
    watch_path(lane);
    frames = link_lane(lane->link);
    if (frames->highest_id >= LANE_ID_WORN && !lane->is_draining)
        edge_lane_drain(lane, EDGE_WORN_SECS);
    if (lane->is_draining && lane_is_drained(frames) && has_successor(lane))
        link_goodbye(lane->link, GOODBYE_DRAINING, "the last stream has ended", 0);
}
