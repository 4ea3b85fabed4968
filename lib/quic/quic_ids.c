/* quic_ids - under which ids a connection is known, and what late packets get when it is gone.
 *
 * A connection that was closed leaves its ids here for a while (RFC 9000, 10.2): what still comes
 * for it is answered with the packet that closed it, the first, second, fourth, eighth ... time, or
 * not at all when the peer closed.  Without them a late packet would get a stateless reset, or be
 * taken for the begin of a new connection.  At most QUIC_LATE_MAX a port: then the oldest goes.
 */
#include <stdlib.h>

#include "quic/quic_internal.h"

struct quic_ids *quic_ids_new(struct quic *q)
{
    struct quic_ids *ids = calloc(1, sizeof(*ids));

    if (!ids)
        return NULL;
    ids->q = q;
    list_init(&ids->node);
    return ids;
}

bool quic_ids_add(struct quic_port *port, struct quic_ids *ids, enum route_kind kind,
                  const uint8_t *key, size_t key_len)
{
    for (size_t i = 0; i < ARRAY_LEN(ids->routes); i++)
        if (ids->routes[i].kind == ROUTE_NONE)
            return quic_route_add(&port->routes, &ids->routes[i], kind, key, key_len, ids);
    return false;
}

void quic_ids_remove(struct quic_port *port, struct quic_ids *ids, enum route_kind kind,
                     const uint8_t *key, size_t key_len)
{
    for (size_t i = 0; i < ARRAY_LEN(ids->routes); i++) {
        struct route *r = &ids->routes[i];

        if (r->kind == kind && r->key_len == key_len && tls_is_equal(r->key, key, key_len))
            quic_route_remove(&port->routes, r);
    }
}

void quic_ids_free(struct quic_port *port, struct quic_ids *ids)
{
    if (!ids)
        return;
    for (size_t i = 0; i < ARRAY_LEN(ids->routes); i++)
        quic_route_remove(&port->routes, &ids->routes[i]);
    if (!list_is_empty(&ids->node)) {
        list_remove(&ids->node);
        port->late_count--;
    }
    free(ids->farewell);
    free(ids);
}

static struct quic_ids *oldest(struct quic_port *port)
{
    return container_of(port->late.next, struct quic_ids, node);
}

/* The oldest says when to look again: all of them wait about as long. */
static void arm(struct quic_port *port, uint64_t now_ns)
{
    if (list_is_empty(&port->late)) {
        deadline_off(&port->late_timer);
        return;
    }
    uint64_t until_ns = oldest(port)->until_ns;

    deadline_set(&port->late_timer, until_ns > now_ns ? (until_ns - now_ns) / QUIC_MS + 1 : 1);
}

static void on_late_due(struct deadline *d)
{
    struct quic_port *port = container_of(d, struct quic_port, late_timer);
    uint64_t now_ns = quic_now(port);

    while (!list_is_empty(&port->late) && oldest(port)->until_ns <= now_ns)
        quic_ids_free(port, oldest(port));
    arm(port, now_ns);
}

void quic_ids_init(struct quic_port *port)
{
    list_init(&port->late);
    deadline_init(&port->late_timer, port->loop, on_late_due);
}

void quic_ids_fini(struct quic_port *port)
{
    while (!list_is_empty(&port->late))
        quic_ids_free(port, oldest(port));
    deadline_off(&port->late_timer);
}

void quic_ids_retire(struct quic_port *port, struct quic_ids *ids, uint64_t ns)
{
    uint64_t now_ns = quic_now(port);

    must(list_is_empty(&ids->node));
    ids->q = NULL;
    ids->until_ns = now_ns + ns;
    if (port->late_count == QUIC_LATE_MAX)
        quic_ids_free(port, oldest(port));
    list_push(&port->late, &ids->node);
    port->late_count++;
    arm(port, now_ns);
}

void quic_ids_answer(struct quic_port *port, struct quic_ids *ids, const struct quic_datagram *d)
{
    struct quic_hop hop = {.to = d->peer, .from = d->local};

    (void)port;
    ids->late_packets++;
    /* 1, 2, 4, 8 ...; never more than three times what came: RFC 9000, 10.2.1 */
    if (!ids->farewell || (ids->late_packets & (ids->late_packets - 1)) != 0 ||
        ids->farewell_len > d->len * 3)
        return;
    quic_send_one(d->sock, ids->farewell, ids->farewell_len, &hop);
}
