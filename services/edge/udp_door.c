/* udp_door - see udp_door.h. */
#include "edge/udp_door.h"

#include <stdlib.h>
#include <unistd.h>

#include "edge/edge_worker.h"
#include "edge/udp_flows.h"

static void door_run(struct udp_door *door)
{
    struct udp_flows *f = door->flows;
    size_t bytes = 0;

    for (unsigned round = 0; round < UDP_ROUNDS && bytes < UDP_TURN_BYTES; round++) {
        int n = udp_batch_receive(f->batch, door->fd);

        if (n < 0)
            f->errors++; /* an ICMP answer to something that was sent before */
        for (int i = 0; i < n; i++) {
            struct udp_arrival a;

            udp_batch_get(f->batch, (unsigned)i, &a);
            door->take(door, &a);
            bytes += a.len;
        }
        if (n == 0 || (n > 0 && (unsigned)n < UDP_BATCH))
            return;
    } /* level triggered: the loop calls again, after others */
}

static void on_readable(struct loop_io *io, unsigned events)
{
    (void)events;
    door_run(container_of(io, struct udp_door, io));
}

static void on_reap(struct reap *reap)
{
    free(container_of(reap, struct udp_door, reap));
}

void udp_door_open(struct udp_flows *f, uint16_t port, int fd,
                   void (*take)(struct udp_door *door, const struct udp_arrival *a))
{
    struct udp_door *door = must_alloc(sizeof(*door));
    union addr at = {0};
    socklen_t len = sizeof(at);

    (void)!getsockname(fd, &at.sa, &len);
    door->flows = f;
    door->port = port;
    door->fd = fd;
    door->family = at.sa.sa_family;
    door->take = take;
    reap_init(&door->reap, on_reap);
    udp_socket_set_public(fd, at.sa.sa_family);
    loop_io_init(&door->io, f->worker->loop, fd, on_readable);
    loop_io_arm(&door->io, LOOP_READ);
    list_push(&f->sockets, &door->node);
}

void udp_door_close(struct udp_door *door)
{
    must(door->flow_count == 0);
    udp_outbox_forget(door->flows->out, door->fd);
    loop_io_arm(&door->io, 0);
    close(door->fd);
    list_remove(&door->node);
    loop_reap(door->flows->worker->loop, &door->reap);
}
