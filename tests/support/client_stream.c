/* client_stream - see client_stream.h. */
#include "support/client_stream.h"

#include <check.h>
#include <string.h>

#include "link/link.h"
#include "loop/loop.h"

struct proxy_header client_header(uint8_t transport, uint16_t src_port, uint16_t dst_port)
{
    return (struct proxy_header){.family = PROXY_INET,
                                 .transport = transport,
                                 .src = {192, 0, 2, 1},
                                 .dst = {198, 51, 100, 2},
                                 .src_port = src_port,
                                 .dst_port = dst_port};
}

static void on_change(struct stream *s)
{
    (void)s; /* the condition that is waited for looks */
}

void client_stream_open(struct client_stream *c, struct link *link, uint16_t src_port,
                        uint16_t dst_port)
{
    struct proxy_header client = client_header(PROXY_STREAM, src_port, dst_port);

    stream_release(&c->stream);
    *c = (struct client_stream){.loop = link_loop(link)};
    stream_init(&c->stream, on_change);
    ck_assert_int_eq(link_open_stream(link, &c->stream, &client), 0);
}

void client_stream_says(struct client_stream *c, const char *text)
{
    struct iovec piece;

    ck_assert_uint_eq(stream_reserve(&c->stream, &piece, 1), 1);
    ck_assert_uint_ge(piece.iov_len, strlen(text));
    memcpy(piece.iov_base, text, strlen(text));
    stream_commit(&c->stream, strlen(text));
}

void client_stream_take(struct client_stream *c)
{
    struct iovec piece;

    while (stream_peek(&c->stream, &piece, 1) > 0) {
        ck_assert_uint_le(c->got_len + piece.iov_len, sizeof(c->got));
        memcpy(c->got + c->got_len, piece.iov_base, piece.iov_len);
        c->got_len += piece.iov_len;
        stream_taken(&c->stream, piece.iov_len, loop_now_ms(c->loop));
    }
}

bool client_stream_is_reset(void *arg)
{
    return ((struct client_stream *)arg)->stream.state == STREAM_RESET;
}

bool client_stream_is_at_end(void *arg)
{
    struct client_stream *c = arg;

    client_stream_take(c);
    return stream_is_at_end(&c->stream) || client_stream_is_reset(c);
}
