/* client - see client.h. */
#include "ws/client.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "loop/dial.h"
#include "loop/socket.h"
#include "tls/tls.h"
#include "ws/handshake.h"
#include "ws/stream.h"

#define STEPS_MAX 16u /* reads in one turn of the loop: 256 KiB */

#define CLIENT_STATES(X)                                                                           \
    X(DIALLING, BIT(CLIENT_TLS) | BIT(CLIENT_UPGRADING) | BIT(CLIENT_DEAD))                        \
    X(TLS, BIT(CLIENT_UPGRADING) | BIT(CLIENT_DEAD))                                               \
    X(UPGRADING, BIT(CLIENT_OPEN) | BIT(CLIENT_DEAD))                                              \
    X(OPEN, BIT(CLIENT_PINGED) | BIT(CLIENT_CLOSING) | BIT(CLIENT_DEAD))                           \
    X(PINGED, BIT(CLIENT_OPEN) | BIT(CLIENT_CLOSING) | BIT(CLIENT_DEAD))                           \
    X(CLOSING, BIT(CLIENT_DEAD))                                                                   \
    X(DEAD, 0)

#define X(name, next) CLIENT_##name,
enum client_state { CLIENT_STATES(X) CLIENT_STATE_COUNT };
#undef X

static const struct {
    const char *name;
    unsigned next;
} rule[] = {
#define X(name, next) [CLIENT_##name] = {#name, (next)},
    CLIENT_STATES(X)
#undef X
};

static const char *const end_words[] = {
#define X(name, word) [WS_END_##name] = word,
    WS_ENDS(X)
#undef X
};

struct ws_client {
    enum client_state state; /* written by client_enter() only */
    struct ws_options options;
    struct ws_url url;
    struct dial dial;
    struct ws_stream stream;
    struct loop_io io;
    struct deadline deadline;
    struct ready ready;
    struct reap reap;
    union addr peer;
    char key[WS_KEY_TEXT];
    char head[WS_HEAD_MAX]; /* of the answer, as far as it has come */
    size_t head_len;
    struct ws_frames frames;   /* from OPEN on; `out` from UPGRADING on */
    uint64_t message_since_ms; /* when the message that is coming in began; 0: none is */
    uint64_t pauses;
    bool is_paused; /* queue_max is passed */
    enum ws_end end;
    char why[200]; /* the first reason; "" as long as there is none */
};

const char *ws_end_word(enum ws_end end)
{
    return end < WS_END_COUNT ? end_words[end] : "?";
}

/* --- states ---------------------------------------------------------------------------------- */

static void client_free(struct reap *reap)
{
    free(container_of(reap, struct ws_client, reap));
}

static void release(struct ws_client *c)
{
    deadline_off(&c->deadline);
    loop_io_arm(&c->io, 0);
    ready_cancel(&c->ready);
    dial_cancel(&c->dial);
    ws_frames_fini(&c->frames);
    ws_stream_fini(&c->stream);
    tls_ctx_unref(c->options.tls);
    loop_reap(c->options.loop, &c->reap);
}

/* The only writer of c->state. */
static void client_enter(struct ws_client *c, enum client_state to)
{
    must(rule[c->state].next & BIT(to));
    log_debug("ws", "state", LOG_S("from", rule[c->state].name), LOG_S("to", rule[to].name));
    c->state = to;
    switch (to) {
    case CLIENT_DIALLING:
    case CLIENT_TLS:
    case CLIENT_UPGRADING: /* one deadline for all three, set when it began */
        break;
    case CLIENT_OPEN:
        deadline_set(&c->deadline, c->options.ping_ms);
        break;
    case CLIENT_PINGED:
        deadline_set(&c->deadline, c->options.pong_ms);
        break;
    case CLIENT_CLOSING:
        deadline_set(&c->deadline, WS_CLOSING_MS);
        break;
    case CLIENT_DEAD:
        release(c);
        break;
    case CLIENT_STATE_COUNT:
        must(!"a state");
    }
}

static bool is_open(const struct ws_client *c)
{
    return c->state == CLIENT_OPEN || c->state == CLIENT_PINGED;
}

/* Keeps the first reason. */
static void note(struct ws_client *c, enum ws_end end, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void note(struct ws_client *c, enum ws_end end, const char *fmt, ...)
{
    va_list args;

    if (c->why[0] != '\0')
        return;
    c->end = end;
    va_start(args, fmt);
    vsnprintf(c->why, sizeof(c->why), fmt, args);
    va_end(args);
}

/* The end, told once. */
static void die(struct ws_client *c)
{
    client_enter(c, CLIENT_DEAD);
    c->options.callbacks->on_end(c->options.arg, c->end, c->why);
}

static void die_of(struct ws_client *c, enum ws_end end, const char *why)
{
    note(c, end, "%s", why);
    die(c);
}

/* --- getting there --------------------------------------------------------------------------- */

static void client_run(struct ws_client *c);

static void begin_upgrade(struct ws_client *c)
{
    uint8_t nonce[WS_NONCE_BYTES];
    char request[WS_REQUEST_MAX];
    size_t n;

    tls_random(nonce, sizeof(nonce));
    ws_key_emit(nonce, c->key);
    n = ws_request_emit(&c->url, c->key, request);
    client_enter(c, CLIENT_UPGRADING);
    if (ws_frames_init(&c->frames, loop_pool(c->options.loop), c->options.message_max) != 0 ||
        bufq_push(&c->frames.out, request, n) != 0)
        die_of(c, WS_END_NO_MEMORY, "out of memory");
}

static void on_io(struct loop_io *io, unsigned events)
{
    (void)events;
    client_run(container_of(io, struct ws_client, io));
}

static void on_dialled(struct dial *d, int fd, int err, const union addr *peer)
{
    struct ws_client *c = container_of(d, struct ws_client, dial);
    char text[ADDR_TEXT_MAX];

    if (err) {
        note(c, err == -ERR_RESOLVE ? WS_END_RESOLVE : WS_END_CONNECT, "%s: %s%s%s",
             c->url.authority, err_text(err), d->last_errno ? ": " : "",
             d->last_errno ? strerrordesc_np(d->last_errno) : "");
        die(c);
        return;
    }
    c->peer = *peer;
    log_debug("ws", "connected", LOG_S("peer", addr_format(peer, text)));
    socket_set_keepalive(fd);
    ws_stream_init(&c->stream, loop_pool(c->options.loop), fd);
    loop_io_init(&c->io, c->options.loop, fd, on_io);
    if (!c->url.is_secure) {
        begin_upgrade(c);
    } else if (ws_stream_secure(&c->stream, c->options.tls, c->url.host) == 0) {
        client_enter(c, CLIENT_TLS);
    } else {
        die_of(c, WS_END_TLS, "TLS could not begin");
        return;
    }
    client_run(c);
}

static bool step_tls(struct ws_client *c)
{
    switch (ws_stream_handshake(&c->stream)) {
    case IO_OK:
        begin_upgrade(c);
        return true;
    case IO_WAIT:
        return false;
    case IO_EOF:
    case IO_FAIL:
        die_of(c, WS_END_TLS, tls_error_text(c->stream.tls));
        return false;
    }
    return false;
}

/* --- bytes ----------------------------------------------------------------------------------- */

static enum ws_end end_of_code(unsigned code)
{
    switch (code) {
    case WS_CODE_UNSUPPORTED:
        return WS_END_UNSUPPORTED;
    case WS_CODE_BAD_DATA:
        return WS_END_BAD_DATA;
    case WS_CODE_POLICY:
        return WS_END_POLICY;
    case WS_CODE_TOO_BIG:
        return WS_END_TOO_BIG;
    default:
        return WS_END_PROTOCOL;
    }
}

static void note_code(struct ws_client *c)
{
    note(c, end_of_code(c->frames.code), "closed with %u", c->frames.code);
}

static void begin_close(struct ws_client *c, enum ws_code code, const char *why)
{
    ws_frames_close(&c->frames, code, why);
    client_enter(c, CLIENT_CLOSING);
}

/* A message's time is looked at when bytes come: one that stops coming holds up the pong too. */
static void watch_message(struct ws_client *c)
{
    uint64_t now_ms = loop_now_ms(c->options.loop);

    if (!c->frames.is_in_message) {
        c->message_since_ms = 0;
    } else if (c->message_since_ms == 0) {
        c->message_since_ms = MAX(now_ms, 1u);
    } else if (now_ms - c->message_since_ms > c->options.message_ms && is_open(c)) {
        note(c, WS_END_MESSAGE_TIMEOUT, "a message was not whole within %u s",
             c->options.message_ms / 1000);
        begin_close(c, WS_CODE_POLICY, "the message took too long");
    }
}

static void take_frames(struct ws_client *c, const uint8_t *bytes, size_t n)
{
    int rc = ws_frames_input(&c->frames, bytes, n);

    if (rc == -ERR_NOMEM) {
        die_of(c, WS_END_NO_MEMORY, "out of memory");
        return;
    }
    if (!is_open(c)) /* a callback closed it, or it was closing already */
        return;
    if (rc != 0) {
        note_code(c);
        client_enter(c, CLIENT_CLOSING);
    } else if (ws_frames_got_close(&c->frames)) {
        note(c, WS_END_PEER_CLOSED, "the server closed with %u", ws_frames_close_code(&c->frames));
        client_enter(c, CLIENT_CLOSING);
    } else {
        if (c->state == CLIENT_PINGED) /* it lives */
            deadline_set(&c->deadline, c->options.pong_ms);
        watch_message(c);
    }
}

static void take_answer(struct ws_client *c, const uint8_t *bytes, size_t n)
{
    size_t taken = MIN(n, sizeof(c->head) - c->head_len), used, before = c->head_len;
    char why[160];
    int rc;

    memcpy(c->head + before, bytes, taken);
    c->head_len += taken;
    rc = ws_answer_parse(c->head, c->head_len, c->key, &used, why, sizeof(why));
    if (rc != 0) {
        die_of(c, WS_END_UPGRADE, why);
        return;
    }
    if (used == 0)
        return;
    client_enter(c, CLIENT_OPEN);
    c->options.callbacks->on_open(c->options.arg, &c->peer);
    if (used < before + n && c->state != CLIENT_DEAD)
        take_frames(c, bytes + (used - before), n - (used - before));
}

static void lose(struct ws_client *c, int err)
{
    const char *text = err ? err_text(err) : "the connection ended without a close frame";

    if (c->state == CLIENT_UPGRADING)
        note(c, WS_END_UPGRADE, "no answer to the upgrade: %s",
             err ? err_text(err) : "the connection ended");
    else
        note(c, WS_END_LOST, "%s", text);
    die(c);
}

/* One piece.  True: there may be more. */
static bool read_piece(struct ws_client *c)
{
    const uint8_t *bytes;
    size_t n;
    int err;

    switch (ws_stream_read(&c->stream, &bytes, &n, &err)) {
    case IO_OK:
        if (c->state == CLIENT_UPGRADING)
            take_answer(c, bytes, n);
        else
            take_frames(c, bytes, n);
        return c->state != CLIENT_DEAD;
    case IO_WAIT:
        return false;
    case IO_EOF:
    case IO_FAIL:
        lose(c, err);
        return false;
    }
    return false;
}

/* What waits goes to the kernel; false: all is over. */
static bool write_out(struct ws_client *c)
{
    enum io io;
    int err = 0;

    do {
        if (c->state != CLIENT_UPGRADING && ws_frames_emit(&c->frames) != 0) {
            die_of(c, WS_END_NO_MEMORY, "out of memory");
            return false;
        }
        io = ws_stream_write(&c->stream, &c->frames.out, &err);
    } while (io == IO_OK && c->state != CLIENT_UPGRADING && !ws_frames_is_idle(&c->frames));
    if (io == IO_FAIL) {
        lose(c, err);
        return false;
    }
    return true;
}

static bool may_read(struct ws_client *c)
{
    bool was_paused = c->is_paused;

    c->is_paused = is_open(c) && ws_frames_queued(&c->frames) > c->options.queue_max;
    if (c->is_paused && !was_paused)
        c->pauses++;
    return !c->is_paused;
}

static bool step_bytes(struct ws_client *c)
{
    return write_out(c) && may_read(c) && read_piece(c);
}

/* True: it moved, and may move on. */
static bool client_step(struct ws_client *c)
{
    switch (c->state) {
    case CLIENT_DIALLING: /* dial's */
        return false;
    case CLIENT_TLS:
        return step_tls(c);
    case CLIENT_UPGRADING:
    case CLIENT_OPEN:
    case CLIENT_PINGED:
    case CLIENT_CLOSING:
        return step_bytes(c);
    case CLIENT_DEAD:
    case CLIENT_STATE_COUNT:
        break;
    }
    return false;
}

static void client_arm(struct ws_client *c)
{
    if (c->state == CLIENT_DEAD || c->state == CLIENT_DIALLING)
        return;
    if (c->state == CLIENT_TLS)
        loop_io_arm(&c->io, tls_wants(c->stream.tls));
    else
        loop_io_arm(&c->io, ws_stream_wants(&c->stream, !c->is_paused));
}

/* Every event ends here. */
static void client_run(struct ws_client *c)
{
    unsigned budget = STEPS_MAX;

    while (budget > 0 && client_step(c))
        budget--;
    if (c->state == CLIENT_DEAD)
        return;
    if (budget == 0 ||
        (c->state >= CLIENT_UPGRADING && !c->is_paused && ws_stream_has_input(&c->stream)))
        loop_again(c->options.loop, &c->ready);
    client_arm(c);
}

static void on_ready(struct ready *ready)
{
    client_run(container_of(ready, struct ws_client, ready));
}

/* --- time ------------------------------------------------------------------------------------ */

static void on_due(struct deadline *deadline)
{
    struct ws_client *c = container_of(deadline, struct ws_client, deadline);

    switch (c->state) {
    case CLIENT_DIALLING:
    case CLIENT_TLS:
    case CLIENT_UPGRADING:
        note(c, WS_END_HANDSHAKE_TIMEOUT, "not open within %u s", c->options.handshake_ms / 1000);
        die(c);
        return;
    case CLIENT_OPEN:
        if (ws_frames_ping(&c->frames) != 0) {
            die_of(c, WS_END_NO_MEMORY, "out of memory");
            return;
        }
        client_enter(c, CLIENT_PINGED);
        break;
    case CLIENT_PINGED:
        note(c, WS_END_PONG_TIMEOUT, "no pong within %u s", c->options.pong_ms / 1000);
        die(c);
        return;
    case CLIENT_CLOSING:
        die(c);
        return;
    case CLIENT_DEAD:
    case CLIENT_STATE_COUNT:
        must(!"a state with a deadline");
    }
    client_run(c);
}

/* --- what frames.h calls --------------------------------------------------------------------- */

static void on_data(struct ws_frames *f, const uint8_t *bytes, size_t n)
{
    struct ws_client *c = container_of(f, struct ws_client, frames);

    c->options.callbacks->on_data(c->options.arg, bytes, n);
}

static void on_message(struct ws_frames *f)
{
    struct ws_client *c = container_of(f, struct ws_client, frames);

    c->options.callbacks->on_message(c->options.arg);
}

static void on_pong(struct ws_frames *f)
{
    struct ws_client *c = container_of(f, struct ws_client, frames);

    if (c->state == CLIENT_PINGED)
        client_enter(c, CLIENT_OPEN);
}

/* --- life ------------------------------------------------------------------------------------ */

struct ws_client *ws_client_new(const struct ws_options *options, const struct ws_url *url)
{
    struct ws_client *c = must_alloc(sizeof(*c));

    must(!url->is_secure || options->tls);
    c->state = CLIENT_DIALLING;
    c->options = *options;
    if (c->options.tls)
        tls_ctx_ref(c->options.tls);
    c->url = *url;
    c->stream.fd = -1;
    c->frames.on_data = on_data;
    c->frames.on_message = on_message;
    c->frames.on_pong = on_pong;
    deadline_init(&c->deadline, options->loop, on_due);
    ready_init(&c->ready, on_ready);
    reap_init(&c->reap, client_free);
    dial_init(&c->dial, options->loop, options->resolver, on_dialled);
    deadline_set(&c->deadline, options->handshake_ms);
    dial_start(&c->dial, c->url.host, c->url.port, options->handshake_ms, options->handshake_ms);
    return c;
}

int ws_client_send(struct ws_client *c, const char *text, size_t n)
{
    int rc;

    if (!is_open(c))
        return -ERR_CLOSED;
    rc = ws_frames_text(&c->frames, text, n);
    if (rc == 0)
        loop_again(c->options.loop, &c->ready);
    return rc;
}

void ws_client_close(struct ws_client *c, enum ws_code code, const char *why)
{
    if (!is_open(c))
        return;
    note(c, end_of_code(code), "closed with %u: %s", (unsigned)code, why);
    begin_close(c, code, why);
    loop_again(c->options.loop, &c->ready);
}

void ws_client_stop(struct ws_client *c)
{
    int err;

    if (c->state == CLIENT_DEAD)
        return;
    if (is_open(c)) {
        /* What waits goes first: a close frame would overtake it. */
        if (ws_frames_emit(&c->frames) == 0)
            (void)!ws_stream_write(&c->stream, &c->frames.out, &err);
        ws_frames_close(&c->frames, WS_CODE_GOING_AWAY, "");
        if (ws_frames_emit(&c->frames) == 0 &&
            ws_stream_write(&c->stream, &c->frames.out, &err) == IO_OK) {
            ws_stream_bye(&c->stream);
            (void)!ws_stream_write(&c->stream, &c->frames.out, &err);
        }
    }
    client_enter(c, CLIENT_DEAD);
}

uint64_t ws_client_message_len(const struct ws_client *c)
{
    return c->frames.message_len;
}

uint64_t ws_client_pauses(const struct ws_client *c)
{
    return c->pauses;
}
