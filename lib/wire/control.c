/* control - see control.h: what needs no JSON. */
#include "wire/control.h"

#include <stdlib.h>
#include <string.h>

void port_list_fini(struct port_list *l)
{
    free(l->ports);
    *l = (struct port_list){.ports = NULL};
}

static int compare_ports(const void *a, const void *b)
{
    return *(const uint16_t *)a - *(const uint16_t *)b;
}

void port_list_set(struct port_list *l, const uint16_t *ports, size_t n)
{
    must(l->ports == NULL);
    if (n == 0)
        return;
    l->ports = must_alloc(n * sizeof(*ports));
    memcpy(l->ports, ports, n * sizeof(*ports));
    qsort(l->ports, n, sizeof(*ports), compare_ports);
    l->count = 0;
    for (size_t i = 0; i < n; i++)
        if (l->ports[i] > (l->count > 0 ? l->ports[l->count - 1] : 0))
            l->ports[l->count++] = l->ports[i];
}

bool port_list_has(const struct port_list *l, uint16_t port)
{
    return l->count > 0 && bsearch(&port, l->ports, l->count, sizeof(port), compare_ports);
}

bool port_list_is_equal(const struct port_list *a, const struct port_list *b)
{
    return a->count == b->count &&
           (a->count == 0 || memcmp(a->ports, b->ports, a->count * sizeof(*a->ports)) == 0);
}

void port_list_copy(struct port_list *to, const struct port_list *from)
{
    port_list_set(to, from->ports, from->count);
}

void wire_config_fini(struct wire_config *c)
{
    port_list_fini(&c->ports);
    port_list_fini(&c->ports_udp);
    *c = (struct wire_config){.revision = 0};
}

void config_ack_fini(struct config_ack *a)
{
    port_list_fini(&a->ports);
    port_list_fini(&a->ports_udp);
    free(a->faults);
    *a = (struct config_ack){.revision = 0};
}

const char *goodbye_name(enum goodbye_code code)
{
    static const char *const names[] = {
#define X(name, text) [GOODBYE_##name] = text,
        GOODBYE_CODES(X)
#undef X
            [GOODBYE_OTHER] = "other",
    };

    return names[code];
}
