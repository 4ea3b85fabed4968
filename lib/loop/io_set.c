/* io_set - see io_set.h. */
#include "loop/io_set.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/err.h"

static void on_some(struct loop_io *io, unsigned events)
{
    struct io_set *s = container_of(io, struct io_set, io);
    struct epoll_event told[IO_SET_BATCH];
    int n = epoll_wait(s->fd, told, IO_SET_BATCH, 0);

    (void)events;
    must(n >= 0 || errno == EINTR);
    s->batch_count = n > 0 ? (unsigned)n : 0;
    for (unsigned i = 0; i < s->batch_count; i++)
        s->batch[i] = told[i].data.ptr;
    for (unsigned i = 0; i < s->batch_count; i++)
        if (s->batch[i])
            s->batch[i]->on_readable(s->batch[i]);
    s->batch_count = 0;
}

int io_set_init(struct io_set *s, struct loop *loop)
{
    s->batch_count = 0;
    s->fd = epoll_create1(EPOLL_CLOEXEC);
    if (s->fd < 0)
        return -ERR_SYS;
    loop_io_init(&s->io, loop, s->fd, on_some);
    loop_io_arm(&s->io, LOOP_READ);
    return 0;
}

void io_set_fini(struct io_set *s)
{
    if (!s->io.loop)
        return;
    loop_io_arm(&s->io, 0);
    close(s->fd);
    s->io.loop = NULL;
    s->fd = -1;
}

void io_entry_init(struct io_entry *e, void (*on_readable)(struct io_entry *entry))
{
    *e = (struct io_entry){.fd = -1, .on_readable = on_readable};
}

int io_set_add(struct io_set *s, struct io_entry *e, int fd)
{
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = e};

    must(e->fd < 0 && fd >= 0);
    if (epoll_ctl(s->fd, EPOLL_CTL_ADD, fd, &wanted) != 0)
        return -ERR_SYS;
    e->fd = fd;
    return 0;
}

void io_set_remove(struct io_set *s, struct io_entry *e)
{
    int err;

    if (e->fd < 0)
        return;
    err = epoll_ctl(s->fd, EPOLL_CTL_DEL, e->fd, NULL);
    must(err == 0); /* or it was closed before */
    e->fd = -1;
    for (unsigned i = 0; i < s->batch_count; i++)
        if (s->batch[i] == e)
            s->batch[i] = NULL;
}
