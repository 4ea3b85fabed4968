/* channel - see channel.h. */
#include "wire/channel.h"

#include "base/bytes.h"
#include "base/err.h"

#define ID_BYTES 4u

static bool has_id(uint8_t type)
{
    return type == FRAME_UDP_OPEN || type == FRAME_UDP_CLOSE;
}

static bool is_on_channel(uint8_t type)
{
    return has_id(type) || (frame_is_known(type) && frame_kind(type) == FRAME_OF_CONNECTION);
}

const char *channel_fault(const struct frame *f)
{
    if (frame_is_known(f->type) && !is_on_channel(f->type))
        return "not_on_channel";
    return frame_fault(f);
}

size_t channel_emit(uint8_t out[CHANNEL_HEADER_MAX], uint32_t id, enum frame_type type,
                    uint32_t len)
{
    struct frame f = {id, (uint8_t)type, len};

    must(channel_fault(&f) == NULL);
    out[0] = f.type;
    if (!has_id(f.type)) {
        put_u32(out + 1, len);
        return CHANNEL_HEADER_MIN;
    }
    put_u32(out + 1, len + ID_BYTES);
    put_u32(out + CHANNEL_HEADER_MIN, id);
    return CHANNEL_HEADER_MAX;
}

int channel_parse(struct frame *out, const uint8_t *src, size_t n)
{
    if (n < CHANNEL_HEADER_MIN)
        return 0;
    *out = (struct frame){.type = src[0], .len = get_u32(src + 1)};
    if (!has_id(out->type))
        return channel_fault(out) ? -ERR_PROTO : (int)CHANNEL_HEADER_MIN;
    if (out->len < ID_BYTES) {
        out->len = 0;
        return -ERR_PROTO; /* UDP_OPEN: bad_length; UDP_CLOSE: no session's id */
    }
    if (n < CHANNEL_HEADER_MAX)
        return 0;
    out->len -= ID_BYTES;
    out->stream = get_u32(src + CHANNEL_HEADER_MIN);
    return channel_fault(out) ? -ERR_PROTO : CHANNEL_HEADER_MAX;
}
