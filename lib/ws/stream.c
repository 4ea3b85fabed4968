/* stream - see stream.h. */
#include "ws/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "loop/loop.h"

#define WRITE_PIECES    8u
#define CIPHERTEXT_HELD 65536u /* encrypted and unsent; then nothing more is encrypted */

void ws_stream_init(struct ws_stream *s, struct chunk_pool *pool, int fd)
{
    *s = (struct ws_stream){.fd = fd, .pool = pool};
    s->in = must_alloc(WS_READ_BYTES);
}

void ws_stream_fini(struct ws_stream *s)
{
    tls_free(s->tls);
    s->tls = NULL;
    if (s->in)
        tls_wipe(s->in, WS_READ_BYTES);
    free(s->in);
    s->in = NULL;
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

int ws_stream_secure(struct ws_stream *s, struct tls_ctx *ctx, const char *name)
{
    return tls_new_client(&s->tls, ctx, s->pool, s->fd, name);
}

enum io ws_stream_handshake(struct ws_stream *s)
{
    return tls_handshake(s->tls);
}

/* --- reading --------------------------------------------------------------------------------- */

static int socket_error(int error)
{
    return error == ECONNRESET || error == EPIPE ? -ERR_RESET
           : error == ETIMEDOUT                  ? -ERR_TIMEOUT
                                                 : -ERR_IO;
}

static enum io read_plain(struct ws_stream *s, const uint8_t **bytes, size_t *n, int *err)
{
    ssize_t got;

    do {
        got = recv(s->fd, s->in, WS_READ_BYTES, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got > 0) {
        *bytes = s->in;
        *n = (size_t)got;
        return IO_OK;
    }
    if (got == 0)
        return IO_EOF;
    if (errno == EAGAIN)
        return IO_WAIT;
    *err = socket_error(errno);
    return IO_FAIL;
}

enum io ws_stream_read(struct ws_stream *s, const uint8_t **bytes, size_t *n, int *err)
{
    enum io io;

    *err = 0;
    if (!s->tls)
        return read_plain(s, bytes, n, err);
    io = tls_read(s->tls, bytes, n);
    if (io != IO_FAIL)
        return io;
    *err = tls_error(s->tls);
    return *err == -ERR_CLOSED ? IO_EOF : IO_FAIL;
}

/* --- writing --------------------------------------------------------------------------------- */

static enum io write_plain(struct ws_stream *s, struct bufq *out, int *err)
{
    while (out->len > 0) {
        struct iovec pieces[WRITE_PIECES];
        struct msghdr message = {.msg_iov = pieces,
                                 .msg_iovlen = bufq_peek(out, pieces, WRITE_PIECES)};
        ssize_t n = sendmsg(s->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return IO_WAIT;
        if (n < 0) {
            *err = socket_error(errno);
            return IO_FAIL;
        }
        bufq_skip(out, (size_t)n);
    }
    return IO_OK;
}

static enum io write_tls(struct ws_stream *s, struct bufq *out, int *err)
{
    enum io io;

    do {
        while (out->len > 0 && tls_out_len(s->tls) < CIPHERTEXT_HELD) {
            struct iovec piece;
            size_t count = bufq_peek(out, &piece, 1);

            must(count == 1);
            if (tls_write(s->tls, piece.iov_base, MIN(piece.iov_len, TLS_RECORD_BYTES)) != IO_OK) {
                *err = tls_error(s->tls);
                return IO_FAIL;
            }
            bufq_skip(out, MIN(piece.iov_len, TLS_RECORD_BYTES));
        }
        io = tls_flush(s->tls);
    } while (io == IO_OK && out->len > 0);
    if (io == IO_FAIL)
        *err = tls_error(s->tls);
    return io;
}

enum io ws_stream_write(struct ws_stream *s, struct bufq *out, int *err)
{
    enum io io;

    *err = 0;
    io = s->tls ? write_tls(s, out, err) : write_plain(s, out, err);
    s->is_blocked = io == IO_WAIT;
    return io;
}

void ws_stream_bye(struct ws_stream *s)
{
    if (s->tls)
        tls_bye(s->tls);
}

unsigned ws_stream_wants(const struct ws_stream *s, bool reads)
{
    return (reads ? LOOP_READ : 0u) | (s->is_blocked ? LOOP_WRITE : 0u);
}

bool ws_stream_has_input(const struct ws_stream *s)
{
    return s->tls && tls_has_input(s->tls);
}
