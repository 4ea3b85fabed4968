/* frame - see frame.h.  All that is known of a type stands in FRAME_TYPES; the functions look it
 * up. api/tunnel.md "Frames". */
#include "wire/frame.h"

#include "base/bytes.h"
#include "base/err.h"

struct rule {
    const char *name;
    enum frame_from from;
    enum frame_kind kind;
    uint32_t min, max;
};

static const struct rule rules[] = {
#define X(name, value, from, kind, min, max)                                                       \
    [value] = {#name, FRAME_##from, FRAME_OF_##kind, min, max},
    FRAME_TYPES(X)
#undef X
};
_Static_assert(ARRAY_LEN(rules) == 0x12, "types go from 0x01 to 0x11 without a gap");

static const struct rule *rule_of(uint8_t type)
{
    must(frame_is_known(type));
    return &rules[type];
}

bool frame_is_known(uint8_t type)
{
    return type < ARRAY_LEN(rules) && rules[type].name;
}

const char *frame_name(uint8_t type)
{
    return frame_is_known(type) ? rules[type].name : "unknown";
}

enum frame_kind frame_kind(uint8_t type)
{
    return rule_of(type)->kind;
}

bool frame_is_from_edge(uint8_t type)
{
    return rule_of(type)->from != FRAME_FROM_HUB;
}

bool frame_is_from_hub(uint8_t type)
{
    return rule_of(type)->from != FRAME_FROM_EDGE;
}

const char *frame_fault(const struct frame *f)
{
    if (!frame_is_known(f->type))
        return "unknown_type";
    const struct rule *rule = &rules[f->type];
    if (f->len > FRAME_PAYLOAD_MAX)
        return "oversized";
    if (f->len < rule->min || f->len > rule->max)
        return "bad_length";
    if (f->stream == 0 && rule->kind != FRAME_OF_CONNECTION)
        return "stream_frame_on_0";
    if (f->stream != 0 && rule->kind == FRAME_OF_CONNECTION)
        return "connection_frame_on_stream";
    return NULL;
}

void frame_emit(uint8_t out[FRAME_HEADER_BYTES], uint32_t stream, enum frame_type type,
                uint32_t len)
{
    struct frame f = {stream, (uint8_t)type, len};

    must(frame_fault(&f) == NULL);
    put_u32(out, stream);
    out[4] = (uint8_t)type;
    put_u32(out + 5, len);
}

int frame_parse(struct frame *out, const uint8_t *src, size_t n)
{
    if (n < FRAME_HEADER_BYTES)
        return 0;
    *out = (struct frame){get_u32(src), src[4], get_u32(src + 5)};
    return frame_fault(out) ? -ERR_PROTO : FRAME_HEADER_BYTES;
}

const char *close_name(enum close_code code)
{
    switch (code) {
    case CLOSE_FIN:
        return "fin";
    case CLOSE_RESET:
        return "reset";
    case CLOSE_UNREACHABLE:
        return "unreachable";
    case CLOSE_NOT_ALLOWED:
        return "not_allowed";
    }
    return "unknown";
}

size_t frame_close_emit(uint8_t out[1], enum close_code code)
{
    out[0] = (uint8_t)code;
    return code == CLOSE_FIN ? 0 : 1;
}

int frame_close_parse(enum close_code *out, const struct frame *f, const uint8_t *payload)
{
    bool is_listed = false;

    *out = CLOSE_FIN;
    if (f->len == 0)
        return 0;
    uint8_t byte = payload[0];
    if (f->type == FRAME_CLOSE)
        is_listed = byte == CLOSE_RESET;
    else if (f->type == FRAME_CLOSE_BACK)
        is_listed = byte >= CLOSE_RESET && byte <= CLOSE_NOT_ALLOWED;
    else if (f->type == FRAME_UDP_CLOSE)
        is_listed = byte == CLOSE_NOT_ALLOWED;
    if (f->len != 1 || !is_listed)
        return -ERR_PROTO;
    *out = (enum close_code)byte;
    return 0;
}

void frame_credit_emit(uint8_t out[FRAME_CREDIT_BYTES], uint32_t credit)
{
    must(credit > 0);
    must(credit <= FRAME_CREDIT_MAX);
    put_u32(out, credit);
}

int frame_credit_parse(uint32_t *out, const uint8_t payload[FRAME_CREDIT_BYTES])
{
    *out = get_u32(payload);
    return *out == 0 || *out > FRAME_CREDIT_MAX ? -ERR_PROTO : 0;
}
