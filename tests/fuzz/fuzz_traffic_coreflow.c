/* Bytes of a Coreflow server: its answer to the upgrade, then frames, then TypedRequest messages.
 *
 * The first byte says how the rest is cut into reads; the key is fixed, so that the corpus has an
 * answer that fits it.  Whatever is refused has a code; whatever is taken stays within its limit;
 * whatever leaves is one close frame at most, and nothing behind it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "traffic/coreflow_json.h"
#include "ws/frames.h"
#include "ws/handshake.h"

#define KEY         "dGhlIHNhbXBsZSBub25jZQ=="
#define MESSAGE_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct typed_message message;

static void on_data(struct ws_frames *f, const uint8_t *bytes, size_t n)
{
    must(f->code == WS_CODE_NONE && n > 0);
    if (typed_message_push(&message, bytes, n) != 0)
        abort();
    must(message.len <= MESSAGE_MAX);
}

static void on_pong(struct ws_frames *f)
{
    must(f->code == WS_CODE_NONE);
}

/* As coreflow.c does it. */
static void on_message(struct ws_frames *f)
{
    struct typed_head head;

    if (!typed_message_is_object(&message)) {
        ws_frames_close(f, WS_CODE_BAD_DATA, "no JSON object");
    } else {
        typed_head_read(&head, &message);
        must((head.phase == TYPED_UNREADABLE) == (head.why[0] != '\0') ||
             head.phase == TYPED_ANSWER);
        if (head.phase == TYPED_REQUEST) {
            char *text = coreflow_emit_error(&head, "there is no such method here");
            struct json_object *back;
            struct json_syntax why;

            must(head.method[0] != '\0' && head.id[0] != '\0');
            must(json_read(&back, text, strlen(text), &why) == 0);
            json_object_put(back);
            must(ws_frames_text(f, text, strlen(text)) != -ERR_NOMEM);
            free(text);
        }
    }
    typed_message_clear(&message);
}

static void take_out(struct ws_frames *f)
{
    must(ws_frames_emit(f) == 0);
    bufq_clear(&f->out);
}

static void read_frames(const uint8_t *data, size_t size, size_t step)
{
    struct chunk_pool pool;
    struct ws_frames f = {.on_data = on_data, .on_message = on_message, .on_pong = on_pong};
    int rc = 0;

    chunk_pool_init(&pool, 0, 0);
    typed_message_init(&message);
    must(ws_frames_init(&f, &pool, MESSAGE_MAX) == 0);
    for (size_t at = 0; at < size && rc == 0; at += step) {
        rc = ws_frames_input(&f, data + at, MIN(step, size - at));
        must(rc == 0 || (rc == -ERR_PROTO && f.code >= 1002 && f.code <= 1011));
        take_out(&f);
    }
    if (rc != 0) {
        must(ws_frames_is_idle(&f));
        must(ws_frames_text(&f, "x", 1) == -ERR_CLOSED);
    }
    typed_message_clear(&message);
    ws_frames_fini(&f);
    chunk_pool_fini(&pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[160] = "";
    size_t used, step;

    if (size < 2)
        return 0;
    step = data[0] ? data[0] : size;
    data++;
    size--;
    if (data[0] != 'H') { /* frames alone: nearer to the point than a hash that must fit */
        read_frames(data, size, step);
        return 0;
    }
    if (ws_answer_parse((const char *)data, size, KEY, &used, why, sizeof(why)) != 0) {
        must(why[0] != '\0' && used == 0);
        return 0;
    }
    must(used <= size && used <= WS_HEAD_MAX);
    if (used > 0)
        read_frames(data + used, size - used, step);
    return 0;
}
