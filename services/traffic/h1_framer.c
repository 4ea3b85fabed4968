/* h1_framer - see h1_framer.h.  RFC 9112 section 7.1. */
#include "traffic/h1_framer.h"

#include <assert.h>

#include "base/must.h"
#include "traffic/h1_emit.h"

static_assert(H1_FRAMER_TEXT_MAX >= H1_CHUNK_HEAD_MAX, "a chunk's head");

static const char crlf[] = {'\r', '\n'};

void h1_framer_next(struct h1_framer *f, size_t held, bool has_ended, bool has_trailers)
{
    if (f->text_sent < f->text_len || f->left > 0 || f->tail_left > 0 || f->is_last)
        return;
    f->text_len = f->text_sent = 0;
    if (!f->is_chunked) {
        f->left = held;
    } else if (held > 0) {
        f->text_len = (uint8_t)h1_chunk_head(f->text, held);
        f->left = held;
        f->tail_left = sizeof(crlf);
    } else if (has_ended) {
        f->is_last = true;
        f->text_len = (uint8_t)h1_chunk_head(f->text, 0);
        f->tail_left = has_trailers ? 0 : sizeof(crlf);
    }
}

size_t h1_framer_text(const struct h1_framer *f, const char **out)
{
    *out = f->text + f->text_sent;
    return (size_t)(f->text_len - f->text_sent);
}

size_t h1_framer_tail(const struct h1_framer *f, const char **out)
{
    *out = crlf + sizeof(crlf) - f->tail_left;
    return f->tail_left;
}

size_t h1_framer_sent(struct h1_framer *f, size_t *n)
{
    size_t text = MIN(*n, (size_t)(f->text_len - f->text_sent)), payload, tail;

    payload = MIN(*n - text, f->left);
    tail = MIN(*n - text - payload, (size_t)f->tail_left);
    f->text_sent = (uint8_t)(f->text_sent + text);
    f->left -= payload;
    f->tail_left = (uint8_t)(f->tail_left - tail);
    *n -= text + payload + tail;
    return payload;
}

bool h1_framer_is_done(const struct h1_framer *f)
{
    return !f->is_chunked || (f->is_last && f->text_sent == f->text_len && f->tail_left == 0);
}

void h1_framer_rewind(struct h1_framer *f)
{
    *f = (struct h1_framer){.is_chunked = f->is_chunked};
}
