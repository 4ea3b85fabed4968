/* udp_hand_over - see udp_hand_over.h. */
#include "edge/udp_hand_over.h"

#include <stdlib.h>
#include <string.h>

#include "edge/edge_worker.h"
#include "loop/udp_socket.h"

struct handed_datagrams {
    struct task task;
    struct edge_worker *to; /* borrowed */
    uint16_t port;
    struct udp_arrival arrival; /* of `bytes` */
    uint8_t bytes[];
};

/* Empty datagrams take memory, too. */
static uint32_t cost_of(const struct udp_arrival *a)
{
    return (uint32_t)(sizeof(struct handed_datagrams) + a->len);
}

static void run(struct task *task)
{
    struct handed_datagrams *h = container_of(task, struct handed_datagrams, task);

    atomic_fetch_sub_explicit(&h->to->handed_bytes, cost_of(&h->arrival), memory_order_relaxed);
    if (!h->to->is_closed)
        udp_flows_take_guest(&h->to->udp, h->port, &h->arrival);
    free(h);
}

bool udp_hand_over(struct edge_worker *to, uint16_t port, const struct udp_arrival *a)
{
    uint32_t cost = cost_of(a);
    struct handed_datagrams *h;

    if (atomic_fetch_add_explicit(&to->handed_bytes, cost, memory_order_relaxed) + cost >
        UDP_HANDED_BYTES) {
        atomic_fetch_sub_explicit(&to->handed_bytes, cost, memory_order_relaxed);
        return false;
    }
    h = must_alloc(sizeof(*h) + a->len);
    *h = (struct handed_datagrams){.to = to, .port = port, .arrival = *a};
    h->task.run = run;
    h->arrival.bytes = h->bytes;
    h->arrival.dropped = 0; /* told by the socket that it came from */
    if (a->len > 0)
        memcpy(h->bytes, a->bytes, a->len);
    loop_post(to->loop, &h->task);
    return true;
}
