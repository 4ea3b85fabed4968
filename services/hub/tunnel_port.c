/* tunnel_port - see tunnel_port.h. */
#include "hub/tunnel_port.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"

static void on_accept(struct acceptor *a, int fd, const union addr *peer)
{
    struct tunnel_port *p = container_of(a, struct tunnel_door, acceptor)->port;
    struct lane_record *record = desk_admit(p->desk, peer);

    if (!record) {
        close(fd);
        return;
    }
    hub_lane_post_new(&p->workers[p->next], fd, record);
    p->next = (p->next + 1) % p->worker_count;
}

int tunnel_port_bind(struct tunnel_port *p, struct loop *loop, const char *listen,
                     const struct congestion *congestion, char *why, size_t why_size)
{
    int fds[TUNNEL_PORT_SETS], err;
    unsigned sets = 0;
    union addr at;

    if (addr_parse(&at, listen) != 0) {
        snprintf(why, why_size, "\"%s\" is no address", listen);
        return -ERR_SYNTAX;
    }
    err = listen_bind_any(&at, 1, fds, &sets, &p->bound);
    if (err) {
        snprintf(why, why_size, "cannot listen on %s: %s", listen, strerrordesc_np(-err));
        return -ERR_SYS;
    }
    for (unsigned i = 0; i < sets; i++) {
        p->doors[i].port = p;
        acceptor_init(&p->doors[i].acceptor, loop, fds[i], on_accept);
        acceptor_set_congestion(&p->doors[i].acceptor, congestion);
    }
    p->door_count = sets;
    return 0;
}

void tunnel_port_start(struct tunnel_port *p, struct desk *desk, struct hub_worker *workers,
                       unsigned worker_count)
{
    p->desk = desk;
    p->workers = workers;
    p->worker_count = worker_count;
    for (unsigned i = 0; i < p->door_count; i++)
        acceptor_start(&p->doors[i].acceptor);
}

void tunnel_port_fini(struct tunnel_port *p)
{
    for (unsigned i = 0; i < p->door_count; i++)
        acceptor_fini(&p->doors[i].acceptor);
    p->door_count = 0;
}
