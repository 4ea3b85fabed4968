/* coreflow - see coreflow.h. */
#include "traffic/coreflow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "tls/tls.h"
#include "traffic/traffic_conf.h"

static const unsigned next_of[] = {
    [COREFLOW_OFF] = BIT(COREFLOW_CONNECTING),
    [COREFLOW_WAITING] = BIT(COREFLOW_CONNECTING) | BIT(COREFLOW_OFF),
    [COREFLOW_CONNECTING] = BIT(COREFLOW_TAGGING) | BIT(COREFLOW_WAITING) | BIT(COREFLOW_OFF),
    [COREFLOW_TAGGING] = BIT(COREFLOW_UP) | BIT(COREFLOW_WAITING) | BIT(COREFLOW_OFF),
    [COREFLOW_UP] = BIT(COREFLOW_WAITING) | BIT(COREFLOW_OFF),
};

/* An update of this link on its way; `link` is NULL when whoever asked is gone. */
struct coreflow_asked {
    struct list node;
    struct coreflow *link; /* borrowed */
    char id[TYPED_ID_MAX + 1];
};

const char *coreflow_state_word(const struct coreflow *c)
{
    static const char *const words[] = {
        [COREFLOW_OFF] = "off",
        [COREFLOW_WAITING] = "waiting",
        [COREFLOW_CONNECTING] = "connecting",
        [COREFLOW_TAGGING] = "tagging",
        [COREFLOW_UP] = "connected",
    };

    return words[c->state];
}

const char *coreflow_message_word(enum coreflow_message message)
{
    static const char *const words[] = {
#define X(name, word) [COREFLOW_MESSAGE_##name] = word,
        COREFLOW_MESSAGES(X)
#undef X
    };

    return words[message];
}

uint64_t coreflow_pauses(const struct coreflow *c)
{
    return c->stats.pauses + (c->ws ? ws_client_pauses(c->ws) : 0);
}

/* --- states ---------------------------------------------------------------------------------- */

/* Nobody waits for these answers any more; the updates go on. */
static void forget_asked(struct coreflow *c)
{
    struct list *node;

    while ((node = list_pop(&c->asked)))
        container_of(node, struct coreflow_asked, node)->link = NULL;
}

static void leave_link(struct coreflow *c)
{
    c->ws = NULL;
    c->is_tagged = false;
    typed_message_clear(&c->message);
    forget_asked(c);
}

/* The only writer of c->state. */
static void coreflow_enter(struct coreflow *c, enum coreflow_state to)
{
    uint64_t random;

    must(next_of[c->state] & BIT(to));
    c->state = to;
    deadline_off(&c->wait);
    switch (to) {
    case COREFLOW_OFF:
        leave_link(c);
        break;
    case COREFLOW_WAITING:
        leave_link(c);
        tls_random(&random, sizeof(random));
        deadline_set(&c->wait, backoff_down(&c->backoff, loop_now_ms(c->loop), random));
        break;
    case COREFLOW_CONNECTING:
        break;
    case COREFLOW_TAGGING:
        backoff_up(&c->backoff, loop_now_ms(c->loop));
        deadline_set(&c->wait, (uint64_t)c->conf->timeouts.coreflow_pong_secs * 1000);
        break;
    case COREFLOW_UP:
        break;
    case COREFLOW_STATE_COUNT:
        must(!"a state");
    }
}

/* --- what comes in --------------------------------------------------------------------------- */

static void send_text(struct coreflow *c, char *text)
{
    /* One that is closing has no need of it any more; without memory the client ends by itself. */
    if (ws_client_send(c->ws, text, strlen(text)) != 0)
        log_debug("coreflow", "answer_dropped");
    free(text);
}

/* An update's fate is known. */
static void on_done(struct route_update *u, const struct route_set *live)
{
    struct coreflow_asked *asked = u->arg;
    struct coreflow *c = asked->link;
    char text[TYPED_TEXT_MAX];
    const char *status;

    if (c) {
        list_remove(&asked->node);
        status = coreflow_describe(u, live, text);
        send_text(c, coreflow_emit_status_answer("updateRouting", asked->id, status, text));
    }
    free(asked);
}

static void update_routing(struct coreflow *c, const struct typed_head *head)
{
    struct route_update *u = route_update_new(ROUTE_UPDATE_SET);
    struct coreflow_asked *asked = must_alloc(sizeof(*asked));
    char peer[ADDR_TEXT_MAX], busy[128];

    c->stats.messages[COREFLOW_MESSAGE_UPDATE]++;
    c->stats.last_update_at = (int64_t)time(NULL);
    asked->link = c;
    memcpy(asked->id, head->id, sizeof(asked->id));
    list_push(&c->asked, &asked->node);
    u->shape = &route_shape_coreflow;
    u->text = typed_message_take(&c->message, &u->text_len);
    u->arg = asked;
    u->on_done = on_done;
    snprintf(u->peer, sizeof(u->peer), "coreflow %.50s", addr_format(&c->peer, peer));
    if (route_apply_submit(c->apply, u) == 0)
        return;
    route_update_free(u);
    list_remove(&asked->node);
    free(asked);
    snprintf(busy, sizeof(busy), "%" PRId64 " updates wait already (limits.waitingUpdates)",
             c->conf->limits.waiting_updates);
    send_text(c, coreflow_emit_status_answer(head->method, head->id, "error", busy));
}

static void log_message(struct coreflow *c, const char *event, const char *what)
{
    if (!log_limit_pass(&c->log_message, loop_now_ms(c->loop)))
        return;
    log_warn("coreflow", event, LOG_S("what", what), LOG_U("held_back", c->log_message.held));
    c->log_message.held = 0;
}

static void take_request(struct coreflow *c, const struct typed_head *head)
{
    if (strcmp(head->method, "updateRouting") == 0) {
        update_routing(c, head);
        return;
    }
    c->stats.messages[COREFLOW_MESSAGE_UNKNOWN]++;
    log_message(c, "unknown_method", head->method);
    send_text(c, coreflow_emit_error(head, "there is no such method here"));
}

static void take_answer(struct coreflow *c, const struct typed_head *head)
{
    c->stats.messages[COREFLOW_MESSAGE_ANSWER]++;
    if (c->state != COREFLOW_TAGGING || strcmp(head->id, c->tag_id) != 0)
        return;
    c->is_tagged = head->is_good;
    if (!head->is_good)
        log_warn("coreflow", "tag_refused", LOG_S("why", head->why));
    log_info("coreflow", "connected", LOG_S("url", c->url.authority), LOG_B("tagged", c->is_tagged),
             LOG_U("connects", c->stats.connects));
    coreflow_enter(c, COREFLOW_UP);
}

static void take_message(struct coreflow *c)
{
    struct typed_head head;

    if (!typed_message_is_object(&c->message)) {
        c->stats.messages[COREFLOW_MESSAGE_BROKEN]++;
        log_message(c, "broken_message", "no JSON object");
        ws_client_close(c->ws, WS_CODE_BAD_DATA, "no JSON object");
        return;
    }
    typed_head_read(&head, &c->message);
    switch (head.phase) {
    case TYPED_REQUEST:
        take_request(c, &head);
        break;
    case TYPED_ANSWER:
        take_answer(c, &head);
        break;
    case TYPED_UNREADABLE:
        c->stats.messages[COREFLOW_MESSAGE_IGNORED]++;
        log_message(c, "message_ignored", head.why);
        break;
    }
}

static void on_message(void *arg)
{
    struct coreflow *c = arg;

    take_message(c);
    typed_message_clear(&c->message);
}

static void on_data(void *arg, const uint8_t *bytes, size_t n)
{
    struct coreflow *c = arg;

    /* How long it is was only said: that we have no memory for it is no bug of ours. */
    if (typed_message_reserve(&c->message, (size_t)ws_client_message_len(c->ws)) == 0 &&
        typed_message_push(&c->message, bytes, n) == 0)
        return;
    typed_message_clear(&c->message);
    ws_client_close(c->ws, WS_CODE_TOO_BIG, "there is no memory for the message");
}

/* --- the link comes and goes ----------------------------------------------------------------- */

static void on_open(void *arg, const union addr *peer)
{
    struct coreflow *c = arg;
    uint8_t random[16];

    c->peer = *peer;
    c->stats.connects++;
    c->stats.last_change_at = (int64_t)time(NULL);
    tls_random(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(c->tag_id + 2 * i, 3, "%02x", random[i]);
    coreflow_enter(c, COREFLOW_TAGGING);
    send_text(c, coreflow_emit_tag(COREFLOW_TAG, c->tag_id));
}

static void note_end(struct coreflow *c, enum ws_end end, const char *why)
{
    c->stats.ends[end]++;
    snprintf(c->stats.last_error, sizeof(c->stats.last_error), "%s", why);
    if (!log_limit_pass(&c->log_end, loop_now_ms(c->loop)))
        return;
    log_warn("coreflow", "disconnected", LOG_S("url", c->url.authority),
             LOG_S("reason", ws_end_word(end)), LOG_S("why", why),
             LOG_U("held_back", c->log_end.held));
    c->log_end.held = 0;
}

static void on_end(void *arg, enum ws_end end, const char *why)
{
    struct coreflow *c = arg;

    if (c->state == COREFLOW_TAGGING || c->state == COREFLOW_UP)
        c->stats.last_change_at = (int64_t)time(NULL);
    c->stats.pauses = coreflow_pauses(c);
    note_end(c, end, why);
    coreflow_enter(c, COREFLOW_WAITING);
}

static void dial(struct coreflow *c)
{
    static const struct ws_callbacks callbacks = {on_open, on_data, on_message, on_end};
    const struct traffic_conf *conf = c->conf;
    struct tls_client_options tls = {
        .versions = TLS_12_AND_13,
        .ca_file = conf->coreflow_ca_file[0] ? conf->coreflow_ca_file : NULL,
        .use_system_ca = !conf->coreflow_ca_file[0],
    };
    struct ws_options options = {
        .loop = c->loop,
        .resolver = c->resolver,
        .message_max = (uint64_t)conf->limits.routes_bytes,
        .queue_max = (size_t)conf->limits.coreflow_answers,
        .handshake_ms = (unsigned)conf->timeouts.coreflow_handshake_secs * 1000,
        .ping_ms = (unsigned)conf->timeouts.coreflow_ping_secs * 1000,
        .pong_ms = (unsigned)conf->timeouts.coreflow_pong_secs * 1000,
        .message_ms = (unsigned)conf->timeouts.coreflow_message_secs * 1000,
        .callbacks = &callbacks,
        .arg = c,
    };
    char why[200] = "";

    coreflow_enter(c, COREFLOW_CONNECTING);
    /* Read anew for each try: the file of CAs may be exchanged while we run. */
    if (c->url.is_secure && tls_ctx_new_client(&options.tls, &tls, why, sizeof(why)) != 0) {
        note_end(c, WS_END_TLS, why);
        coreflow_enter(c, COREFLOW_WAITING);
        return;
    }
    c->ws = ws_client_new(&options, &c->url);
    tls_ctx_unref(options.tls);
}

static void on_wait(struct deadline *deadline)
{
    struct coreflow *c = container_of(deadline, struct coreflow, wait);

    if (c->state == COREFLOW_WAITING)
        dial(c);
    else
        ws_client_close(c->ws, WS_CODE_POLICY, "the tag was not answered");
}

void coreflow_start(struct coreflow *c, struct loop *loop, struct resolver *resolver,
                    struct route_apply *apply, const struct traffic_conf *conf)
{
    const char *why;

    *c = (struct coreflow){.loop = loop, .resolver = resolver, .apply = apply, .conf = conf};
    list_init(&c->asked);
    typed_message_init(&c->message);
    deadline_init(&c->wait, loop, on_wait);
    c->stats.last_change_at = (int64_t)time(NULL);
    if (conf->coreflow_url[0] == '\0')
        return;
    int rc = ws_url_parse(&c->url, conf->coreflow_url, &why);
    must(rc == 0);
    dial(c);
}

void coreflow_stop(struct coreflow *c)
{
    if (!c->loop || c->state == COREFLOW_OFF)
        return;
    if (c->ws)
        ws_client_stop(c->ws);
    coreflow_enter(c, COREFLOW_OFF);
}
