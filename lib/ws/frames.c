/* frames - see frames.h.
 *
 * wslay would hold a whole message, and a small piece of memory for each of its fragments; a
 * message of many tiny fragments would then cost far more memory than bytes.  So its buffering is
 * off, pieces are handed on as they come, and the sum is counted here.
 */
#include "ws/frames.h"

#include <string.h>
#include <wslay/wslay.h>

#include "base/err.h"
#include "tls/tls.h"

#define REASON_MAX 123u /* bytes of a close frame's reason: section 5.5 */

static bool is_control(uint8_t opcode)
{
    return (opcode & 8) != 0;
}

/* --- what wslay asks for --------------------------------------------------------------------- */

static ssize_t on_recv(struct wslay_event_context *wslay, uint8_t *buf, size_t len, int flags,
                       void *arg)
{
    struct ws_frames *f = arg;
    size_t n = MIN(len, f->in_len);

    (void)flags;
    if (n == 0) {
        wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(buf, f->in, n);
    f->in += n;
    f->in_len -= n;
    return (ssize_t)n;
}

static ssize_t on_send(struct wslay_event_context *wslay, const uint8_t *data, size_t len,
                       int flags, void *arg)
{
    struct ws_frames *f = arg;
    size_t n = MIN(len, bufq_room(&f->out));

    (void)flags;
    f->is_cut = n < len;
    if (n == 0) {
        wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    if (bufq_push(&f->out, data, n) != 0) {
        wslay_event_set_error(wslay, WSLAY_ERR_CALLBACK_FAILURE);
        return -1;
    }
    return (ssize_t)n;
}

static int on_mask(struct wslay_event_context *wslay, uint8_t *buf, size_t len, void *arg)
{
    (void)wslay;
    (void)arg;
    tls_random(buf, len);
    return 0;
}

static void on_frame_start(struct wslay_event_context *wslay,
                           const struct wslay_event_on_frame_recv_start_arg *frame, void *arg)
{
    struct ws_frames *f = arg;

    (void)wslay;
    f->is_control = is_control(frame->opcode);
    if (f->is_control)
        return;
    if (frame->opcode == WSLAY_BINARY_FRAME)
        ws_frames_close(f, WS_CODE_UNSUPPORTED, "text messages only");
    if (frame->payload_length > f->message_max - f->message_len)
        ws_frames_close(f, WS_CODE_TOO_BIG, "the message is larger than its limit");
    else
        f->message_len += frame->payload_length;
    f->is_in_message = true;
}

static void on_chunk(struct wslay_event_context *wslay,
                     const struct wslay_event_on_frame_recv_chunk_arg *chunk, void *arg)
{
    struct ws_frames *f = arg;

    (void)wslay;
    if (!f->is_control && chunk->data_length > 0 && f->code == WS_CODE_NONE)
        f->on_data(f, chunk->data, chunk->data_length);
}

static void on_msg(struct wslay_event_context *wslay,
                   const struct wslay_event_on_msg_recv_arg *message, void *arg)
{
    struct ws_frames *f = arg;

    (void)wslay;
    if (message->opcode == WSLAY_PONG && f->code == WS_CODE_NONE)
        f->on_pong(f);
    if (is_control(message->opcode))
        return;
    f->is_in_message = false;
    f->message_len = 0;
    if (f->code == WS_CODE_NONE)
        f->on_message(f);
}

/* --- life ------------------------------------------------------------------------------------ */

int ws_frames_init(struct ws_frames *f, struct chunk_pool *pool, uint64_t message_max)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_recv,
        .send_callback = on_send,
        .genmask_callback = on_mask,
        .on_frame_recv_start_callback = on_frame_start,
        .on_frame_recv_chunk_callback = on_chunk,
        .on_msg_recv_callback = on_msg,
    };

    f->wslay = NULL;
    f->message_len = 0;
    f->message_max = message_max;
    f->is_in_message = f->is_control = f->is_cut = false;
    f->code = WS_CODE_NONE;
    bufq_init(&f->out, pool, WS_OUT_BYTES);
    if (wslay_event_context_client_init(&f->wslay, &callbacks, f) != 0)
        return -ERR_NOMEM;
    wslay_event_config_set_no_buffering(f->wslay, 1);
    wslay_event_config_set_max_recv_msg_length(f->wslay, message_max);
    return 0;
}

void ws_frames_fini(struct ws_frames *f)
{
    if (f->wslay)
        wslay_event_context_free(f->wslay);
    f->wslay = NULL;
    bufq_fini(&f->out);
}

/* --- coming in ------------------------------------------------------------------------------- */

static ssize_t on_close_send(const uint8_t *data, size_t len, int flags, void *arg)
{
    struct ws_frames *f = arg;

    (void)flags;
    return bufq_push(&f->out, data, len) == 0 ? (ssize_t)len : -1;
}

static int on_close_mask(uint8_t *buf, size_t len, void *arg)
{
    return on_mask(NULL, buf, len, arg);
}

/* A frame's head that cannot be is answered by wslay with a close frame without a code, which would
 * tell the server nothing: ours takes its place, unless `out` ends within another frame. */
static void close_by_hand(struct ws_frames *f)
{
    static const struct wslay_frame_callbacks callbacks = {
        .send_callback = on_close_send,
        .genmask_callback = on_close_mask,
    };
    static const uint8_t code[2] = {WS_CODE_PROTOCOL >> 8, WS_CODE_PROTOCOL & 0xff};
    struct wslay_frame_iocb frame = {.fin = 1,
                                     .opcode = WSLAY_CONNECTION_CLOSE,
                                     .mask = 1,
                                     .payload_length = sizeof(code),
                                     .data = code,
                                     .data_length = sizeof(code)};
    struct wslay_frame_context *wslay;

    f->code = WS_CODE_PROTOCOL;
    if (f->is_cut || wslay_frame_context_init(&wslay, &callbacks, f) != 0)
        return;
    wslay_event_shutdown_write(f->wslay);
    (void)wslay_frame_send(wslay, &frame);
    wslay_frame_context_free(wslay);
}

/* wslay has queued a close frame; only once that is encoded it tells the code. */
static int take_code(struct ws_frames *f)
{
    if (ws_frames_emit(f) != 0)
        return -ERR_NOMEM;
    f->code = wslay_event_get_status_code_sent(f->wslay);
    if (f->code == 1005 || f->code == 1006) /* it waits behind others */
        f->code = WS_CODE_PROTOCOL;
    return -ERR_PROTO;
}

int ws_frames_input(struct ws_frames *f, const uint8_t *bytes, size_t n)
{
    int rc;

    if (!wslay_event_get_read_enabled(f->wslay))
        return 0;
    f->in = bytes;
    f->in_len = n;
    rc = wslay_event_recv(f->wslay);
    f->in = NULL;
    f->in_len = 0;
    if (rc == WSLAY_ERR_NOMEM)
        return -ERR_NOMEM;
    if (rc != 0 && f->code == WS_CODE_NONE)
        close_by_hand(f);
    if (f->code != WS_CODE_NONE)
        return -ERR_PROTO;
    if (!wslay_event_get_read_enabled(f->wslay) && !wslay_event_get_close_received(f->wslay))
        return take_code(f);
    return 0;
}

/* --- going out ------------------------------------------------------------------------------- */

static int queue(struct ws_frames *f, uint8_t opcode, const void *bytes, size_t n)
{
    struct wslay_event_msg message = {.opcode = opcode, .msg = bytes, .msg_length = n};

    switch (wslay_event_queue_msg(f->wslay, &message)) {
    case 0:
        return 0;
    case WSLAY_ERR_NOMEM:
        return -ERR_NOMEM;
    default:
        return -ERR_CLOSED;
    }
}

int ws_frames_text(struct ws_frames *f, const char *text, size_t n)
{
    return queue(f, WSLAY_TEXT_FRAME, text, n);
}

int ws_frames_ping(struct ws_frames *f)
{
    return queue(f, WSLAY_PING, "penstock", 8);
}

void ws_frames_close(struct ws_frames *f, enum ws_code code, const char *why)
{
    size_t n = strlen(why);

    if (f->code != WS_CODE_NONE)
        return;
    f->code = code;
    /* Fails only when the server's close frame was answered already: then that was the last. */
    (void)wslay_event_queue_close(f->wslay, (uint16_t)code, (const uint8_t *)why,
                                  MIN(n, REASON_MAX));
}

int ws_frames_emit(struct ws_frames *f)
{
    return wslay_event_send(f->wslay) == 0 ? 0 : -ERR_NOMEM;
}

size_t ws_frames_queued(const struct ws_frames *f)
{
    return wslay_event_get_queued_msg_count(f->wslay);
}

bool ws_frames_is_idle(const struct ws_frames *f)
{
    return f->out.len == 0 && !wslay_event_want_write(f->wslay);
}

bool ws_frames_got_close(const struct ws_frames *f)
{
    return wslay_event_get_close_received(f->wslay) != 0;
}

unsigned ws_frames_close_code(const struct ws_frames *f)
{
    return wslay_event_get_status_code_received(f->wslay);
}
