/* hop_stream - one client's or one target's socket: read into the tunnel's slots, written from its
 * frames; what a slow one does not take is held.
 */
#include "hop.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void stream_make_ready(struct stream *s)
{
    if (s->is_ready || s->read_ended)
        return;
    s->is_ready = true;
    s->next_ready = NULL;
    *hop.ready_end = s;
    hop.ready_end = &s->next_ready;
}

struct stream *stream_new(uint32_t id, int fd)
{
    struct stream *s = calloc(1, sizeof(*s));
    int on = 1;

    if (!s)
        die("memory");
    s->id = id;
    s->fd = fd;
    hop.streams[id] = s;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    watch(fd, s, true);
    return s;
}

void stream_close_if_done(struct stream *s)
{
    if (!s->read_ended || !s->write_ended || s->is_ready || hop.run_of == s)
        return;
    close(s->fd);
    hop.streams[s->id] = NULL;
    if (hop.is_in)
        hop.spare_ids[hop.spare_count++] = s->id;
    if (hop.to == s)
        hop.to = NULL;
    free(s->held);
    free(s);
}

void stream_read(struct stream *s)
{
    struct iovec slots[SLOTS];
    uint8_t *at = hop.plain + hop.plain_len;
    size_t count = (PLAIN_BYTES - hop.plain_len) / RECORD, got;
    ssize_t n;

    for (size_t i = 0; i < count; i++)
        slots[i] = (struct iovec){at + i * RECORD + HEADER, SLOT};
    n = readv(s->fd, slots, (int)count);
    if (n < 0 && errno == EAGAIN) {
        s->is_readable = false;
        return;
    }
    if (n <= 0) {
        s->read_ended = true;
        tunnel_put(s->id, TYPE_FIN);
        return;
    }
    got = (size_t)n;
    s->is_readable = got == count * SLOT;
    for (size_t left = got; left > 0; at += RECORD) {
        size_t part = left < SLOT ? left : SLOT;

        tunnel_put_header(at, s->id, TYPE_DATA, part);
        hop.plain_len += HEADER + part;
        left -= part;
    }
}

static void shut(struct stream *s)
{
    shutdown(s->fd, SHUT_WR);
    s->write_ended = true;
}

void stream_end(struct stream *s)
{
    s->fin_waits = true;
    if (s->held_len == 0 && !s->write_ended)
        shut(s);
}

static void hold(struct stream *s, const uint8_t *bytes, size_t n)
{
    if (s->held_len + n > s->held_size) {
        s->held_size = 2 * (s->held_len + n);
        s->held = realloc(s->held, s->held_size);
        if (!s->held)
            die("memory");
    }
    memcpy(s->held + s->held_len, bytes, n);
    s->held_len += n;
    hop.held += n;
}

void stream_write_held(struct stream *s)
{
    while (s->held_at < s->held_len) {
        ssize_t n = send(s->fd, s->held + s->held_at, s->held_len - s->held_at, MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            n = (ssize_t)(s->held_len - s->held_at); /* nobody is there to read it */
        s->held_at += (size_t)n;
        hop.held -= (size_t)n;
    }
    s->held_at = s->held_len = 0;
    if (s->fin_waits && !s->write_ended)
        shut(s);
}

void stream_flush_run(void)
{
    struct msghdr message = {.msg_iov = hop.run, .msg_iovlen = hop.run_count};
    struct stream *s = hop.run_of;
    size_t sum = 0, done = 0;

    if (!s || hop.run_count == 0)
        return;
    for (unsigned i = 0; i < hop.run_count; i++)
        sum += hop.run[i].iov_len;
    if (s->held_len == 0) {
        ssize_t n = sendmsg(s->fd, &message, MSG_NOSIGNAL);

        if (n >= 0)
            done = (size_t)n;
        else if (errno != EAGAIN)
            done = sum; /* nobody is there to read it */
    }
    for (unsigned i = 0; i < hop.run_count; i++) {
        size_t part = done < hop.run[i].iov_len ? done : hop.run[i].iov_len;

        if (part < hop.run[i].iov_len)
            hold(s, (uint8_t *)hop.run[i].iov_base + part, hop.run[i].iov_len - part);
        done -= part;
    }
    hop.run_count = 0;
    hop.run_of = NULL;
}
