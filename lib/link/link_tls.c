/* link_tls - a link on one TCP socket with TLS: the whole lane is one stream of frames.
 *
 * While OPEN it first reads everything the socket has, then looks at the lane's deadlines (after a
 * long stop the peer's PONG may be what waits to be read), then lets the lane fill the TLS out
 * queue up to LINK_OUT_BYTES, then flushes: what is queued here and in the kernel
 * (TCP_NOTSENT_LOWAT) is all that a control frame ever waits for.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "link/link_internal.h"

#define LINK_OUT_BYTES     (128u * 1024) /* ciphertext made ahead of the socket */
#define LINK_RECORDS_A_RUN 64u           /* read in one run; then others have their turn */

static enum step die_of_tls(struct link *link)
{
    return link_die(link, tls_error(link->tls.tls), tls_error_text(link->tls.tls));
}

static enum step handshake_step(struct link *link)
{
    switch (tls_handshake(link->tls.tls)) {
    case IO_OK:
        break;
    case IO_WAIT:
        return STEP_WAIT;
    case IO_EOF:
    case IO_FAIL:
        return die_of_tls(link);
    }
    return link_secured(link, tls_alpn(link->tls.tls));
}

static enum step line_step(struct link *link)
{
    const uint8_t *bytes;
    size_t n;

    if (tls_flush(link->tls.tls) == IO_FAIL)
        return die_of_tls(link);
    switch (tls_read(link->tls.tls, &bytes, &n)) {
    case IO_OK:
        break;
    case IO_WAIT:
        return STEP_WAIT;
    case IO_EOF:
        return link_die(link, -ERR_CLOSED, "the peer closed during the handshake");
    case IO_FAIL:
        return die_of_tls(link);
    }
    return link_take_line(link, bytes, n);
}

static enum step verdict_step(struct link *link)
{
    return tls_flush(link->tls.tls) == IO_FAIL ? die_of_tls(link) : STEP_WAIT;
}

static enum io read_frames(struct link *link)
{
    uint64_t now_ms = loop_now_ms(link->loop);
    const uint8_t *bytes;
    enum io io = IO_OK;
    size_t n;

    if (!link->tls.is_readable)
        return IO_WAIT;
    for (unsigned i = 0; i < LINK_RECORDS_A_RUN; i++) {
        io = tls_read(link->tls.tls, &bytes, &n);
        if (io != IO_OK || lane_input(&link->lane, bytes, n, now_ms) != 0)
            break;
    }
    link->tls.is_readable = io != IO_WAIT;
    return io;
}

/* IO_OK: all that the lane had (none before OPEN) is with the kernel. */
static enum io write_frames(struct link *link)
{
    struct tls *tls = link->tls.tls;
    uint64_t now_ms = loop_now_ms(link->loop);
    const uint8_t *record;

    for (;;) {
        bool is_empty = false;
        enum io io;

        while (tls_out_len(tls) < LINK_OUT_BYTES) {
            size_t n = link->lane.ops ? lane_next_record(&link->lane, now_ms, &record) : 0;

            is_empty = n == 0;
            if (is_empty)
                break;
            io = tls_write(tls, record, n);
            lane_record_done(&link->lane);
            if (io != IO_OK)
                return io;
        }
        io = tls_flush(tls);
        if (io != IO_OK || is_empty)
            return io;
    }
}

static enum step open_step(struct link *link)
{
    enum io in = read_frames(link), out;
    int err;

    if (link->is_orphan)
        return STEP_WAIT;
    if (link->lane.state == LANE_ENDED)
        return link_lane_has_ended(link);
    if (in == IO_FAIL)
        return die_of_tls(link);
    if (in == IO_EOF)
        return link_die(link, -ERR_CLOSED, "the peer closed without GOODBYE");
    err = lane_tick(&link->lane, loop_now_ms(link->loop));
    if (err)
        return link_lane_has_ended(link);
    out = write_frames(link);
    if (out == IO_FAIL)
        return die_of_tls(link);
    if (link->lane.state == LANE_ENDED)
        return link_lane_has_ended(link);
    return in == IO_OK ? STEP_MORE : STEP_WAIT;
}

static void shut_write(struct link *link)
{
    shutdown(link->tls.fd, SHUT_WR);
    link->tls.is_write_shut = true;
    link->state_due_ms = loop_now_ms(link->loop) + LINK_LEAVE_MS;
}

/* The rest of the last word goes out, and what comes is read and discarded meanwhile, or the kernel
 * would answer it with RST and destroy that word. */
static enum step leave_step(struct link *link)
{
    uint8_t waste[4096];
    ssize_t n;

    if (!link->tls.is_write_shut) {
        enum io out = write_frames(link);

        if (out == IO_FAIL) {
            link_enter(link, LINK_DEAD);
            return STEP_WAIT;
        }
        if (out == IO_OK)
            shut_write(link);
    }
    n = recv(link->tls.fd, waste, sizeof(waste), 0);
    if (n > 0)
        return STEP_MORE;
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        link_enter(link, LINK_DEAD);
    return STEP_WAIT;
}

static void arm(struct link *link)
{
    unsigned events = LOOP_READ;

    if (link->state == LINK_HANDSHAKE)
        events = tls_wants(link->tls.tls);
    else if (link->state == LINK_VERDICT)
        events = 0; /* the edge sends nothing now; its end is seen when the answer goes out */
    if (tls_out_len(link->tls.tls) > 0)
        events |= LOOP_WRITE;
    loop_io_arm(&link->tls.io, events);
}

static void close_socket(struct link *link)
{
    loop_io_arm(&link->tls.io, 0);
    tls_free(link->tls.tls);
    link->tls.tls = NULL;
    tls_ctx_unref(link->tls.ctx);
    link->tls.ctx = NULL;
    if (link->tls.fd >= 0)
        close(link->tls.fd);
    link->tls.fd = -1;
}

static void send_line(struct link *link, const char *text, size_t n)
{
    while (n > 0) {
        size_t part = MIN(n, TLS_RECORD_BYTES);

        if (tls_write(link->tls.tls, text, part) != IO_OK)
            return; /* the next step sees it */
        text += part;
        n -= part;
    }
}

static void start_lane(struct link *link, uint32_t initial_window)
{
    link->tls.is_readable = true;
    lane_init(&link->lane, link->side == LINK_HUB ? LANE_HUB : LANE_EDGE, &link_lane_ops,
              link->budget, loop_pool(link->loop), initial_window, loop_now_ms(link->loop));
}

static int open_stream(struct link *link, struct stream *s, const struct proxy_header *client)
{
    return lane_open_stream(&link->lane, s, client, loop_now_ms(link->loop));
}

static int exporter(const struct link *link, uint8_t out[TLS_EXPORTER_BYTES])
{
    return tls_exporter(link->tls.tls, out);
}

static const char *cipher(const struct link *link)
{
    return link->tls.tls ? tls_cipher(link->tls.tls) : "";
}

static int peer_times(const struct link *link, int64_t *not_before, int64_t *not_after)
{
    return link->tls.tls ? tls_peer_times(link->tls.tls, not_before, not_after) : -ERR_CERT;
}

const struct link_carrier link_carrier_tls = {
    .transport = LINK_TLS,
    .handshake = handshake_step,
    .line = line_step,
    .verdict = verdict_step,
    .open = open_step,
    .leave = leave_step,
    .arm = arm,
    .close = close_socket,
    .send_line = send_line,
    .start_lane = start_lane,
    .open_stream = open_stream,
    .exporter = exporter,
    .cipher = cipher,
    .peer_times = peer_times,
};

static void on_event(struct loop_io *io, unsigned events)
{
    struct link *link = container_of(io, struct link, tls.io);

    if (events & LOOP_READ)
        link->tls.is_readable = true;
    if (link->is_orphan) /* freed in a callback, and not reaped yet */
        return;
    link_run(link);
}

int link_new(struct link **out, int fd, const struct link_options *options)
{
    struct link *link = link_make(&link_carrier_tls, options);
    socklen_t len = sizeof(link->peer);
    int err;

    if (!link) {
        close(fd);
        return -ERR_NOMEM;
    }
    link->tls.fd = fd;
    link->tls.ctx = tls_ctx_ref(options->tls);
    getpeername(fd, &link->peer.sa, &len);
    loop_io_init(&link->tls.io, link->loop, fd, on_event);
    err = link->side == LINK_HUB
              ? tls_new_server(&link->tls.tls, link->tls.ctx, loop_pool(link->loop), fd, NULL)
              : tls_new_client(&link->tls.tls, link->tls.ctx, loop_pool(link->loop), fd,
                               options->server_name);
    if (err) {
        link_unmake(link);
        return err;
    }
    *out = link;
    return 0;
}
