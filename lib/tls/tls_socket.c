/* tls_socket - the two queues between GnuTLS and the socket.
 *
 * GnuTLS never sees the descriptor: its pull takes from `in`, its push adds to `out`, and neither
 * waits.  One read fills `in` with as many records as have come, one write takes many away.
 *
 * Reading adapts: one chunk to begin with; each read that fills what it was given doubles the next,
 * up to TLS_PIECES_MAX; each that leaves half of it free halves it.  A read that comes back short
 * has emptied the socket, so the next one waits for readiness (level-triggered) and saves a call.
 */
#include <errno.h>
#include <string.h>

#include "base/pieces.h"
#include "loop/socket.h"
#include "tls/tls_internal.h"

/* --- GnuTLS's side ----------------------------------------------------------------------- */

/* GnuTLS stores a handshake message of up to 16 MiB before it looks at it, also once the handshake
 * is done: too much to hold for somebody unknown. */
static size_t quiet_max(const struct tls *t)
{
    if (t->state != TLS_HANDSHAKE)
        return TLS_QUIET_BYTES;
    return t->ctx->role == GNUTLS_SERVER ? TLS_HELLO_BYTES : TLS_CHAIN_BYTES;
}

static ssize_t on_pull(gnutls_transport_ptr_t ptr, void *to, size_t n)
{
    struct tls *t = ptr;
    size_t got = bufq_copy(&t->in, to, n);

    t->quiet_bytes += got;
    if (t->quiet_bytes > quiet_max(t)) {
        tls_note(t, -ERR_TLS, "the peer sends too much that is no data");
        gnutls_transport_set_errno(t->session, EIO);
        return -1;
    }
    if (got > 0) {
        bufq_skip(&t->in, got);
        return (ssize_t)got;
    }
    if (t->source == SOURCE_EOF)
        return 0;
    t->is_starved = true;
    gnutls_transport_set_errno(t->session, EAGAIN);
    return -1;
}

static int on_pull_timeout(gnutls_transport_ptr_t ptr, unsigned ms)
{
    const struct tls *t = ptr;

    (void)ms; /* never waits */
    return t->in.len > 0 || t->source == SOURCE_EOF;
}

static ssize_t on_push(gnutls_transport_ptr_t ptr, const giovec_t *pieces, int count)
{
    struct tls *t = ptr;
    ssize_t sum = 0;

    for (int i = 0; i < count; i++) {
        int rc = t->state == TLS_DEAF ? 0 /* nobody hears it */
                                      : bufq_push(&t->out, pieces[i].iov_base, pieces[i].iov_len);

        if (rc != 0) {
            tls_note(t, rc, "no room for a record to send: %s", err_text(rc));
            gnutls_transport_set_errno(t->session, EIO);
            return -1;
        }
        sum += (ssize_t)pieces[i].iov_len;
    }
    return sum;
}

void tls_socket_setup(struct tls *t)
{
    gnutls_transport_set_pull_function(t->session, on_pull);
    gnutls_transport_set_pull_timeout_function(t->session, on_pull_timeout);
    gnutls_transport_set_vec_push_function(t->session, on_push);
}

/* --- the socket's side ------------------------------------------------------------------- */

static enum io fail_io(struct tls *t, const char *what)
{
    bool is_reset = errno == ECONNRESET || errno == EPIPE || errno == ETIMEDOUT ||
                    errno == ECONNABORTED || errno == ENOTCONN || errno == EHOSTUNREACH ||
                    errno == ENETUNREACH || errno == ECONNREFUSED;

    tls_note(t, is_reset ? -ERR_RESET : -ERR_IO, "%s: %s", what, strerror(errno));
    return IO_FAIL;
}

/* Before the handshake is done a peer gets one chunk's worth at a time and no more. */
static void adapt(struct tls *t, size_t asked, size_t got)
{
    unsigned max = t->state == TLS_OPEN ? TLS_PIECES_MAX : 1;

    if (got == asked)
        t->pieces = MIN(t->pieces * 2, max);
    else if (got < asked / 2 && t->pieces > 1)
        t->pieces /= 2;
}

enum io tls_socket_fill(struct tls *t)
{
    struct iovec pieces[TLS_PIECES_MAX];
    size_t asked, count;
    ssize_t got;

    must(t->source != SOURCE_EOF);
    if (t->source == SOURCE_DRAINED) {
        t->source = SOURCE_READY;
        return IO_WAIT;
    }
    count = bufq_reserve(&t->in, pieces, t->pieces);
    if (count == 0) {
        tls_note(t, -ERR_NOMEM, "no memory to read into");
        return IO_FAIL;
    }
    asked = pieces_bytes(pieces, count);
    got = socket_read(t->fd, pieces, count);
    if (got < 0) {
        int saved = errno;

        bufq_commit(&t->in, 0);
        if (saved == EAGAIN)
            return IO_WAIT;
        errno = saved;
        return fail_io(t, "read");
    }
    bufq_commit(&t->in, (size_t)got);
    adapt(t, asked, (size_t)got);
    if (got == 0)
        t->source = SOURCE_EOF;
    else if ((size_t)got < asked)
        t->source = SOURCE_DRAINED;
    return IO_OK;
}

enum io tls_socket_flush(struct tls *t)
{
    while (t->out.len > 0) {
        struct iovec pieces[TLS_PIECES_MAX];
        size_t count = bufq_peek(&t->out, pieces, ARRAY_LEN(pieces)), offered = 0;
        ssize_t sent;

        for (size_t i = 0; i < count; i++)
            offered += pieces[i].iov_len;
        sent = socket_write(t->fd, pieces, count);
        if (sent < 0 && errno == EAGAIN)
            return IO_WAIT;
        if (sent < 0)
            return fail_io(t, "write");
        bufq_skip(&t->out, (size_t)sent);
        if ((size_t)sent < offered) /* the socket is full */
            return IO_WAIT;
    }
    return IO_OK;
}
