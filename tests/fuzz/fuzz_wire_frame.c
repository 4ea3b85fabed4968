/* Fuzz target of wire/frame: a stream of frames.  What a parse function takes, its emit function
 * writes again byte for byte. */
#include <string.h>

#include "base/err.h"
#include "base/must.h"
#include "wire/frame.h"
#include "wire/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_close(const struct frame *f, const uint8_t *payload)
{
    enum close_code code;
    uint8_t out[1];

    if (frame_close_parse(&code, f, payload) != 0)
        return;
    must(frame_close_emit(out, code) == f->len);
    must(f->len == 0 || out[0] == payload[0]);
    must(strcmp(close_name(code), "unknown") != 0);
}

static void check_credit(const uint8_t *payload)
{
    uint8_t out[FRAME_CREDIT_BYTES];
    uint32_t credit;

    if (frame_credit_parse(&credit, payload) != 0)
        return;
    frame_credit_emit(out, credit);
    must(memcmp(out, payload, sizeof(out)) == 0);
}

static void check_payload(const struct frame *f, const uint8_t *payload)
{
    struct proxy_header client;

    if (f->type == FRAME_CLOSE || f->type == FRAME_CLOSE_BACK || f->type == FRAME_UDP_CLOSE)
        check_close(f, payload);
    if (f->type == FRAME_WINDOW_UPDATE || f->type == FRAME_WINDOW_UPDATE_BACK)
        check_credit(payload);
    if (f->type == FRAME_OPEN && proxy_parse_open(&client, payload, f->len) == 0)
        must(client.family != PROXY_UNSPEC);
    if (f->type == FRAME_UDP_OPEN && proxy_parse_udp_open(&client, payload, f->len) == 0)
        must(client.transport == PROXY_DGRAM);
}

/* Of any known type and every length and id: legal ones only come back as they went. */
static void check_emit(uint32_t stream, uint8_t type, uint32_t len)
{
    struct frame f = {stream, type, len}, back;
    uint8_t out[FRAME_HEADER_BYTES];

    if (frame_fault(&f))
        return;
    frame_emit(out, stream, (enum frame_type)type, len);
    must(frame_parse(&back, out, sizeof(out)) == FRAME_HEADER_BYTES);
    must(back.stream == stream);
    must(back.type == type);
    must(back.len == len);
    must(frame_is_from_edge(type) || frame_is_from_hub(type));
    must((frame_kind(type) == FRAME_OF_CONNECTION) == (stream == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame f;

    while (size > 0) {
        int rc = frame_parse(&f, data, size);
        must(rc == 0 || rc == -ERR_PROTO || rc == FRAME_HEADER_BYTES);
        must((rc == 0) == (size < FRAME_HEADER_BYTES));
        if (rc == 0)
            return 0;
        must((rc == -ERR_PROTO) == (frame_fault(&f) != NULL));
        if (rc < 0)
            return 0;
        check_emit(f.stream, f.type, f.len);
        check_emit(f.stream ^ 1, f.type, f.len + 1);
        data += FRAME_HEADER_BYTES;
        size -= FRAME_HEADER_BYTES;
        if (f.len > size)
            return 0;
        check_payload(&f, data);
        data += f.len;
        size -= f.len;
    }
    return 0;
}
