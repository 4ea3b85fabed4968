/* h1_body - see h1_body.h. */
#include "traffic/h1_body.h"

#include <string.h>

void h1_body_init(struct h1_body *b, struct chunk_pool *pool, enum http_framing framing,
                  uint64_t length)
{
    *b = (struct h1_body){.pool = pool};
    switch (framing) {
    case HTTP_NO_BODY:
        b->state = H1_BODY_NONE;
        break;
    case HTTP_LENGTH:
        b->state = length > 0 ? H1_BODY_LENGTH : H1_BODY_NONE;
        break;
    case HTTP_CHUNKED:
        b->state = H1_BODY_SIZE;
        break;
    case HTTP_UNTIL_CLOSE:
        b->state = H1_BODY_CLOSE;
        break;
    }
    b->left = length;
}

void h1_body_fini(struct h1_body *b)
{
    if (b->trailers)
        chunk_give(b->pool, b->trailers);
    b->trailers = NULL;
}

bool h1_body_eof(struct h1_body *b)
{
    if (b->state == H1_BODY_CLOSE || b->state == H1_BODY_NONE)
        b->state = H1_BODY_END;
    return b->state == H1_BODY_END;
}

static enum h1_body_step bad(struct h1_piece *out, enum traffic_reason reason)
{
    out->reason = reason;
    return H1_STEP_BAD;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of the line in front of a chunk. */
static enum traffic_reason size_byte(struct h1_body *b, uint8_t c)
{
    int digit = hex_value(c);

    if (digit >= 0) {
        if (++b->digits > H1_SIZE_DIGITS || b->left > (uint64_t)INT64_MAX >> 4)
            return REASON_CHUNK_INVALID;
        b->left = b->left << 4 | (uint64_t)digit;
        return REASON_NONE;
    }
    if (b->digits == 0)
        return REASON_CHUNK_INVALID;
    if (c == '\r') {
        b->state = H1_BODY_SIZE_LF;
    } else if (c == ';') {
        b->state = H1_BODY_EXT;
        b->ext_needs_name = true;
        b->ext_bytes++;
    } else {
        return REASON_CHUNK_INVALID;
    }
    return b->ext_bytes > H1_EXTENSION_BYTES ? REASON_CHUNK_EXTENSION : REASON_NONE;
}

static enum traffic_reason extension_byte(struct h1_body *b, uint8_t c)
{
    if (c == '\r') {
        b->state = H1_BODY_SIZE_LF;
        return b->ext_needs_name ? REASON_CHUNK_EXTENSION : REASON_NONE;
    }
    if (++b->ext_bytes > H1_EXTENSION_BYTES || !http_is_value_char((char)c))
        return REASON_CHUNK_EXTENSION;
    if (b->ext_needs_name && !http_is_token_char((char)c))
        return REASON_CHUNK_EXTENSION;
    b->ext_needs_name = c == ';';
    return REASON_NONE;
}

/* One byte that is no payload. */
static enum traffic_reason framing_byte(struct h1_body *b, uint8_t c)
{
    switch (b->state) {
    case H1_BODY_SIZE:
        return size_byte(b, c);
    case H1_BODY_EXT:
        return extension_byte(b, c);
    case H1_BODY_SIZE_LF:
        b->state = b->left > 0 ? H1_BODY_DATA : H1_BODY_TRAILERS;
        return c == '\n' ? REASON_NONE : REASON_CHUNK_INVALID;
    case H1_BODY_DATA_CR:
        b->state = H1_BODY_DATA_LF;
        return c == '\r' ? REASON_NONE : REASON_CHUNK_INVALID;
    case H1_BODY_DATA_LF:
        b->state = H1_BODY_SIZE;
        b->left = 0;
        b->digits = 0;
        return c == '\n' ? REASON_NONE : REASON_CHUNK_INVALID;
    case H1_BODY_NONE:
    case H1_BODY_LENGTH:
    case H1_BODY_CLOSE:
    case H1_BODY_DATA:
    case H1_BODY_TRAILERS:
    case H1_BODY_END:
        break;
    }
    must(!"a state with framing");
    return REASON_CHUNK_INVALID;
}

static enum h1_body_step end_trailers(struct h1_body *b, const char *p, size_t n,
                                      struct http_fields *trailers, struct h1_piece *out)
{
    enum traffic_reason reason = h1_fields_parse(trailers, p, p + n, MIN(HTTP_FIELDS_MAX, 32u));

    if (reason != REASON_NONE)
        return bad(out, reason == REASON_TOO_MANY_FIELDS ? REASON_TRAILER_TOO_LARGE
                                                         : REASON_TRAILER_INVALID);
    b->state = H1_BODY_END;
    return H1_STEP_END;
}

/* The usual case, an empty section in one piece, needs no memory; pieces are gathered in a chunk.
 */
static enum h1_body_step run_trailers(struct h1_body *b, const uint8_t *p, size_t n,
                                      struct http_fields *trailers, struct h1_piece *out)
{
    const char *base = (const char *)p;
    size_t total = n, before = b->trailers_len, part;
    enum traffic_reason reason;

    if (b->trailers) {
        part = MIN(n, CHUNK_BYTES - b->trailers_len);
        memcpy(b->trailers->bytes + b->trailers_len, p, part);
        base = (const char *)b->trailers->bytes;
        total = b->trailers_len + part;
    }
    reason = h1_scan_trailers(&b->scan, base, total, H1_TRAILER_BYTES);
    if (reason != REASON_NONE)
        return bad(out, reason == REASON_TRAILER_TOO_LARGE ? reason : REASON_TRAILER_INVALID);
    if (b->scan.head_len > 0) {
        out->used += b->scan.head_len - before;
        return end_trailers(b, base, b->scan.head_len, trailers, out);
    }
    if (!b->trailers && n > 0) { /* n is below H1_TRAILER_BYTES here */
        b->trailers = chunk_take(b->pool);
        if (!b->trailers)
            return bad(out, REASON_NO_MEMORY);
        memcpy(b->trailers->bytes, p, n);
    }
    b->trailers_len = total;
    out->used += n;
    return H1_STEP_MORE;
}

static enum h1_body_step take_payload(struct h1_body *b, const uint8_t *p, size_t n,
                                      size_t payload_max, struct h1_piece *out)
{
    size_t part = MIN(n, payload_max);

    if (b->state != H1_BODY_CLOSE)
        part = (size_t)MIN((uint64_t)part, b->left);
    out->payload = p;
    out->payload_len = part;
    out->used += part;
    if (part == 0)
        return H1_STEP_MORE;
    if (b->state != H1_BODY_CLOSE)
        b->left -= part;
    if (b->left == 0 && b->state == H1_BODY_LENGTH)
        b->state = H1_BODY_NONE;
    else if (b->left == 0 && b->state == H1_BODY_DATA)
        b->state = H1_BODY_DATA_CR;
    return H1_STEP_DATA;
}

enum h1_body_step h1_body_run(struct h1_body *b, const uint8_t *p, size_t n, size_t payload_max,
                              struct http_fields *trailers, struct h1_piece *out)
{
    *out = (struct h1_piece){0};
    must(b->state != H1_BODY_END);
    must(payload_max > 0 || n == 0);
    if (b->state == H1_BODY_NONE) {
        trailers->count = 0;
        b->state = H1_BODY_END;
        return H1_STEP_END;
    }
    while (out->used < n) {
        const uint8_t *at = p + out->used;
        size_t left = n - out->used;
        enum traffic_reason reason;

        if (b->state == H1_BODY_LENGTH || b->state == H1_BODY_CLOSE || b->state == H1_BODY_DATA)
            return take_payload(b, at, left, payload_max, out);
        if (b->state == H1_BODY_TRAILERS)
            return run_trailers(b, at, left, trailers, out);
        reason = framing_byte(b, *at);
        if (reason != REASON_NONE)
            return bad(out, reason);
        out->used++;
    }
    return H1_STEP_MORE;
}
