/* relay - see relay.h.  One pump, run from the ready list after the socket or the stream moved. */
#include "link/relay.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/pieces.h"
#include "loop/socket.h"

#define RELAY_PIECES 16
#define RELAY_ROUNDS 4 /* of each direction a run: then others have their turn */

static const unsigned may_go_to[] = {
    [RELAY_IDLE] = BIT(RELAY_MOVING),
    [RELAY_MOVING] = BIT(RELAY_SENDING) | BIT(RELAY_WRITING) | BIT(RELAY_DONE),
    [RELAY_SENDING] = BIT(RELAY_DONE),
    [RELAY_WRITING] = BIT(RELAY_DONE),
    [RELAY_DONE] = 0,
};

/* The stream may be in its lane for longer: until our FIN has left, on QUIC until all that went is
 * acknowledged.  The socket has no part in it. */
static bool has_socket_ended(const struct relay *r)
{
    return r->read_ended && r->write_ended;
}

static void let_go_of_socket(struct relay *r)
{
    if (r->fd < 0)
        return;
    if (has_socket_ended(r))
        socket_set_fin_on_close(r->fd);
    loop_io_arm(&r->io, 0);
    deadline_off(&r->look);
    close(r->fd);
    r->fd = -1;
}

static void relay_enter(struct relay *r, enum relay_state to) /* the only writer of r->state */
{
    must(may_go_to[r->state] & BIT(to));
    r->state = to;
    if (to == RELAY_WRITING)
        r->moved_ms = loop_now_ms(r->loop);
    if (to == RELAY_SENDING)
        let_go_of_socket(r);
    if (to != RELAY_DONE)
        return;
    ready_cancel(&r->ready);
    let_go_of_socket(r);
}

static void finish(struct relay *r, enum relay_end end)
{
    r->end = end;
    relay_enter(r, RELAY_DONE);
    r->on_done(r);
}

/* A request is read into one chunk, which is recv(2) and charges no budget; who fills what he is
 * given gets all.  One small read is no sign: it is also what is left of an answer of some chunks,
 * and to read the next one in two parts makes two frames and two writes of it. */
static void size_next_read(struct relay *r, size_t n, size_t want)
{
    bool is_small = n < want && n <= CHUNK_ROOM;

    r->small_reads = is_small ? (uint8_t)(r->small_reads + 1) : 0;
    if (n == want)
        r->read_pieces = RELAY_PIECES;
    if (r->small_reads == RELAY_SMALL_READS) {
        r->read_pieces = 1;
        r->small_reads = 0;
    }
}

/* At the end of what can be read: whether a FIN stands there.  The failed write took the error that
 * reading would have told; it was EPIPE where the RST came behind a FIN (tcp_reset() in Linux). */
static bool has_peer_ended(const struct relay *r)
{
    return r->broken == 0 || r->broken == EPIPE;
}

/* Socket to stream.  IO_OK: moved, maybe more.  IO_WAIT: for the socket or for room. */
static enum io read_socket(struct relay *r)
{
    struct iovec pieces[RELAY_PIECES];
    size_t count, want;
    ssize_t n;

    if (r->read_ended || r->read_blocked)
        return IO_WAIT;
    count = stream_reserve(r->stream, pieces, r->read_pieces);
    if (count == 0)
        return IO_WAIT;
    want = pieces_bytes(pieces, count);
    n = socket_read(r->fd, pieces, count);
    stream_commit(r->stream, n > 0 ? (size_t)n : 0);
    if (n == 0) {
        r->read_ended = true;
        if (has_peer_ended(r))
            stream_finish(r->stream);
        return IO_EOF;
    }
    if (n < 0) {
        if (errno != EAGAIN)
            return IO_FAIL;
        r->read_blocked = true;
        return IO_WAIT;
    }
    r->moved_ms = loop_now_ms(r->loop);
    r->read_blocked = (size_t)n < want; /* the socket is empty: epoll will tell */
    size_next_read(r, (size_t)n, want);
    return IO_OK;
}

/* It takes no more; what it said before is still to be read. */
static enum io break_socket(struct relay *r, int error)
{
    r->broken = error;
    r->moved_ms = loop_now_ms(r->loop);
    return IO_FAIL;
}

static enum io write_some(struct relay *r, const struct iovec *pieces, size_t count, bool is_last,
                          size_t *taken)
{
    ssize_t n =
        is_last ? socket_write_last(r->fd, pieces, count) : socket_write(r->fd, pieces, count);

    *taken = n > 0 ? (size_t)n : 0;
    if (n > 0)
        r->moved_ms = loop_now_ms(r->loop);
    if (n >= 0)
        return IO_OK;
    if (errno != EAGAIN)
        return break_socket(r, errno);
    r->write_blocked = true;
    return IO_WAIT;
}

static enum io end_writing(struct relay *r)
{
    if (!r->read_ended && shutdown(r->fd, SHUT_WR) != 0 && errno != ENOTCONN)
        return break_socket(r, errno);
    r->write_ended = true; /* one that has ended its side, too, is closed at once: the same word */
    return IO_EOF;
}

/* Stream to socket.  The prefix leaves with the first bytes and the FIN with the last ones, if they
 * are there. */
static enum io write_socket(struct relay *r)
{
    size_t prefix = (size_t)(r->prefix_len - r->prefix_at), count = 0, total, taken;
    struct iovec pieces[RELAY_PIECES];
    bool is_last;
    enum io io;

    if (r->write_ended || r->write_blocked || r->broken != 0)
        return IO_WAIT;
    if (prefix > 0)
        pieces[count++] = (struct iovec){r->prefix + r->prefix_at, prefix};
    count += stream_peek(r->stream, pieces + count, RELAY_PIECES - count);
    if (count == 0)
        return stream_is_at_end(r->stream) ? end_writing(r) : IO_WAIT;
    total = pieces_bytes(pieces, count);
    is_last = stream_ends_after(r->stream, total - prefix);
    io = write_some(r, pieces, count, is_last, &taken);
    r->prefix_at = (uint8_t)(r->prefix_at + MIN(taken, prefix));
    if (taken > prefix)
        stream_taken(r->stream, taken - prefix, loop_now_ms(r->loop));
    return is_last && taken == total ? end_writing(r) : io;
}

static unsigned wanted_events(const struct relay *r)
{
    return (r->read_blocked && !r->read_ended ? LOOP_READ : 0u) |
           (r->write_blocked ? LOOP_WRITE : 0u);
}

/* A watcher does not tell when a reset has waited long enough. */
static bool needs_look(const struct relay *r, unsigned events)
{
    return events == 0 || r->broken != 0 || r->state == RELAY_WRITING;
}

/* The only place that starts the watcher and the timer.  The timer is left alone while the watcher
 * is on: a busy relay comes by here many times a millisecond. */
static void relay_arm(struct relay *r)
{
    unsigned events = wanted_events(r);

    if (r->fd < 0)
        return;
    loop_io_arm(&r->io, events);
    if (needs_look(r, events) && r->look.due_ms == 0)
        deadline_set(&r->look, r->state == RELAY_WRITING ? RELAY_REST_LOOK_MS : RELAY_LOOK_MS);
}

/* The lane bounds how long that takes: what waits in the stream has its credit, so it leaves, or
 * the lane is lost. */
static void send_rest(struct relay *r)
{
    if (!stream_is_flushed(r->stream))
        return;
    stream_abort(r->stream, RESET_BY_PEER);
    finish(r, RELAY_SOCKET_RESET);
}

static void fail(struct relay *r)
{
    relay_enter(r, RELAY_SENDING);
    stream_flush(r->stream);
    send_rest(r);
}

static bool is_rest_written(const struct relay *r)
{
    struct iovec piece;

    return r->prefix_at == r->prefix_len && stream_peek(r->stream, &piece, 1) == 0;
}

static void write_rest(struct relay *r)
{
    unsigned rounds = RELAY_ROUNDS;
    enum io io = IO_OK;

    while (io == IO_OK && rounds-- > 0)
        io = write_socket(r);
    if (io == IO_FAIL || has_socket_ended(r) ||
        (io != IO_OK && is_rest_written(r) && socket_queued(r->fd) == 0)) {
        finish(r, RELAY_STREAM_RESET);
        return;
    }
    if (io == IO_OK)
        loop_again(r->loop, &r->ready);
    relay_arm(r);
}

/* Only what a peer said may have bytes in front of it: our own reset, and the loss of the lane,
 * have thrown them away. */
static void on_stream_reset(struct relay *r)
{
    if (r->fd < 0 || r->broken != 0 || r->stream->reset_code > RESET_NOT_ALLOWED) {
        finish(r, RELAY_STREAM_RESET);
        return;
    }
    relay_enter(r, RELAY_WRITING);
    write_rest(r);
}

static void move(struct relay *r)
{
    enum io in = IO_OK, out = IO_OK;
    unsigned rounds = RELAY_ROUNDS;

    if (r->stream->state == STREAM_RESET) {
        on_stream_reset(r);
        return;
    }
    for (; rounds > 0 && (in == IO_OK || out == IO_OK); rounds--) {
        if (out == IO_OK)
            out = write_socket(r);
        if (in == IO_OK)
            in = read_socket(r);
        if (in == IO_FAIL || (r->broken != 0 && r->read_ended)) {
            fail(r);
            return;
        }
    }
    if (has_socket_ended(r)) {
        let_go_of_socket(r); /* open it would be taken out of epoll first: one more system call */
        if (r->stream->state == STREAM_ENDED)
            finish(r, RELAY_ENDED);
        else if (in == IO_EOF)
            loop_again(r->loop, &r->ready); /* right behind the lane, which sends our FIN */
        return;
    }
    if (in == IO_OK || out == IO_OK)
        loop_again(r->loop, &r->ready);
    relay_arm(r);
}

static void relay_run(struct relay *r)
{
    switch (r->state) {
    case RELAY_MOVING:
        move(r);
        break;
    case RELAY_SENDING:
        send_rest(r);
        break;
    case RELAY_WRITING:
        write_rest(r);
        break;
    case RELAY_IDLE:
    case RELAY_DONE:
        break;
    }
}

/* What the socket's kernel has is on its way as well, and tells of room only after much has left.
 */
static void note_queue(struct relay *r)
{
    int queued = socket_queued(r->fd);

    if (queued < r->queued)
        r->moved_ms = loop_now_ms(r->loop);
    r->queued = queued;
}

static void give_up(struct relay *r)
{
    if (r->state == RELAY_MOVING)
        fail(r);
    else
        finish(r, RELAY_STREAM_RESET);
}

static void on_look(struct deadline *deadline)
{
    struct relay *r = container_of(deadline, struct relay, look);
    int error = 0;

    if (r->broken == 0) {
        if (r->state == RELAY_MOVING && wanted_events(r) != 0) /* the watcher hears of it */
            return;
        error = socket_error(r->fd);
        if (error != 0)
            (void)break_socket(r, error);
    }
    if (r->state == RELAY_WRITING)
        note_queue(r);
    if (needs_look(r, LOOP_READ) && loop_now_ms(r->loop) - r->moved_ms >= r->rest_ms)
        give_up(r);
    else if (r->broken != 0 && r->state == RELAY_WRITING)
        finish(r, RELAY_STREAM_RESET);
    else if (r->broken != 0 || r->state == RELAY_WRITING)
        relay_run(r);
    else
        deadline_set(&r->look, RELAY_LOOK_MS);
}

static void on_event(struct loop_io *io, unsigned events)
{
    struct relay *r = container_of(io, struct relay, io);

    if (events & LOOP_READ)
        r->read_blocked = false;
    if (events & LOOP_WRITE)
        r->write_blocked = false;
    relay_run(r);
}

static void on_ready(struct ready *ready)
{
    relay_run(container_of(ready, struct relay, ready));
}

void relay_start(struct relay *r, struct loop *loop, int fd, struct stream *stream,
                 const void *prefix, size_t n, void (*on_done)(struct relay *r))
{
    const uint8_t *from = prefix;

    must(n <= RELAY_PREFIX_MAX);
    *r = (struct relay){.loop = loop,
                        .stream = stream,
                        .fd = fd,
                        .read_blocked = true, /* accepted or connected just now: epoll will tell */
                        .read_pieces = 1,
                        .rest_ms = RELAY_REST_MS,
                        .moved_ms = loop_now_ms(loop),
                        .on_done = on_done};
    for (size_t i = 0; i < n; i++)
        r->prefix[i] = from[i];
    r->prefix_len = (uint8_t)n;
    loop_io_init(&r->io, loop, fd, on_event);
    ready_init(&r->ready, on_ready);
    deadline_init(&r->look, loop, on_look);
    socket_set_reset_on_close(fd);
    relay_enter(r, RELAY_MOVING);
    loop_again(loop, &r->ready);
}

void relay_wake(struct relay *r)
{
    if (r->state != RELAY_IDLE && r->state != RELAY_DONE)
        loop_again(r->loop, &r->ready);
}

void relay_fini(struct relay *r)
{
    if (r->state == RELAY_IDLE || r->state == RELAY_DONE)
        return;
    r->end = RELAY_SOCKET_RESET;
    relay_enter(r, RELAY_DONE);
}

uint64_t relay_moved_ms(struct relay *r)
{
    if (r->state != RELAY_IDLE && r->fd >= 0)
        note_queue(r);
    return r->moved_ms;
}

const char *relay_end_name(enum relay_end end)
{
    static const char *const names[] = {"ended", "socket_reset", "stream_reset"};

    return names[end];
}
