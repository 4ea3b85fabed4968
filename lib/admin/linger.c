/* linger - reading a connection empty after an answer that came before the request's end.
 *
 * A socket that is closed with unread bytes sends a reset, and the reset may reach the client
 * before it has read the answer.  So the connection stays open under a second descriptor: its
 * writing end is shut, what comes is thrown away, until the client closes, 2 s are over or 1 MiB
 * was read. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "admin/server.h"

struct lingering {
    struct list node;        /* in lingers->open */
    struct lingers *lingers; /* borrowed */
    struct loop_io io;
    struct deadline deadline;
    struct reap reap;
    int fd; /* owned */
    size_t bytes;
};

static void on_reap(struct reap *reap)
{
    free(container_of(reap, struct lingering, reap));
}

static void linger_close(struct lingering *l)
{
    if (l->fd < 0)
        return;
    loop_io_arm(&l->io, 0);
    deadline_off(&l->deadline);
    close(l->fd);
    l->fd = -1;
    list_remove(&l->node);
    l->lingers->count--;
    loop_reap(l->lingers->loop, &l->reap);
}

static void on_readable(struct loop_io *io, unsigned events)
{
    struct lingering *l = container_of(io, struct lingering, io);
    char waste[16384];
    ssize_t n;

    (void)events;
    while ((n = recv(l->fd, waste, sizeof(waste), MSG_DONTWAIT)) > 0) {
        l->bytes += (size_t)n;
        if (l->bytes >= ADMIN_LINGER_BYTES)
            break;
    }
    if (n >= 0 || (errno != EAGAIN && errno != EINTR))
        linger_close(l);
}

static void on_due(struct deadline *deadline)
{
    linger_close(container_of(deadline, struct lingering, deadline));
}

void lingers_init(struct lingers *l, struct loop *loop)
{
    *l = (struct lingers){.loop = loop};
    list_init(&l->open);
}

void lingers_fini(struct lingers *l)
{
    if (!l->loop)
        return;
    LIST_EACH (&l->open, node, after)
        linger_close(container_of(node, struct lingering, node));
}

void linger_start(struct lingers *l, int fd)
{
    struct lingering *one;

    if (l->count == ADMIN_LINGERS_MAX) {
        close(fd);
        return;
    }
    one = must_alloc(sizeof(*one));
    one->lingers = l;
    one->fd = fd;
    loop_io_init(&one->io, l->loop, fd, on_readable);
    deadline_init(&one->deadline, l->loop, on_due);
    reap_init(&one->reap, on_reap);
    shutdown(fd, SHUT_WR);
    loop_io_arm(&one->io, LOOP_READ);
    deadline_set(&one->deadline, ADMIN_LINGER_MS);
    list_push(&l->open, &one->node);
    l->count++;
}
