/* Fuzz target of wire/control: the input as CONFIG, CONFIG_ACK, DRAIN and GOODBYE.  What is taken
 * comes back the same when it is emitted, and fits a frame. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/must.h"
#include "wire/control.h"
#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_ports(const struct port_list *l)
{
    must(l->count <= CONFIG_PORTS_MAX);
    for (size_t i = 0; i < l->count; i++) {
        must(l->ports[i] > (i > 0 ? l->ports[i - 1] : 0));
        must(port_list_has(l, l->ports[i]));
    }
}

static void check_config(const uint8_t *data, size_t size)
{
    struct wire_config c, back;
    struct wire_why why = {""};
    size_t len;

    if (wire_config_parse(&c, data, size, &why) != 0) {
        must(strlen(why.text) > 0);
        must(c.ports.ports == NULL);
        return;
    }
    check_ports(&c.ports);
    check_ports(&c.ports_udp);
    char *text = wire_config_emit(&c, &len);
    must(len <= FRAME_PAYLOAD_MAX);
    must(wire_config_parse(&back, (const uint8_t *)text, len, &why) == 0);
    must(back.revision == c.revision);
    must(back.stun_interval_secs == c.stun_interval_secs);
    must(port_list_is_equal(&back.ports, &c.ports));
    must(port_list_is_equal(&back.ports_udp, &c.ports_udp));
    free(text);
    wire_config_fini(&c);
    wire_config_fini(&back);
}

static void check_same_faults(const struct config_ack *a, const struct config_ack *b)
{
    must(a->fault_count == b->fault_count);
    for (size_t i = 0; i < a->fault_count; i++) {
        must(a->faults[i].port == b->faults[i].port);
        must(a->faults[i].protocol == b->faults[i].protocol);
        /* cut where the whole would be too large for a frame */
        must(strncmp(a->faults[i].error, b->faults[i].error, strlen(b->faults[i].error)) == 0);
    }
}

static void check_ack(const uint8_t *data, size_t size)
{
    struct config_ack a, back;
    struct wire_why why = {""};
    size_t len;

    if (config_ack_parse(&a, data, size, &why) != 0) {
        must(strlen(why.text) > 0);
        must(a.faults == NULL);
        return;
    }
    check_ports(&a.ports);
    check_ports(&a.ports_udp);
    char *text = config_ack_emit(&a, &len);
    must(len <= FRAME_PAYLOAD_MAX);
    must(config_ack_parse(&back, (const uint8_t *)text, len, &why) == 0);
    must(back.revision == a.revision);
    must(port_list_is_equal(&back.ports, &a.ports));
    must(port_list_is_equal(&back.ports_udp, &a.ports_udp));
    must(strcmp(back.public_ip, a.public_ip) == 0);
    check_same_faults(&a, &back);
    free(text);
    config_ack_fini(&a);
    config_ack_fini(&back);
}

static void check_drain(const uint8_t *data, size_t size)
{
    struct wire_why why = {""};
    struct drain d, back;
    size_t len;

    if (drain_parse(&d, data, size, &why) != 0) {
        must(strlen(why.text) > 0);
        return;
    }
    char *text = drain_emit(&d, &len);
    must(drain_parse(&back, (const uint8_t *)text, len, &why) == 0);
    must(back.deadline_secs == d.deadline_secs);
    free(text);
}

static void check_goodbye(const uint8_t *data, size_t size)
{
    struct goodbye g, back;
    struct wire_why why = {""};
    size_t len;

    if (goodbye_parse(&g, data, size, &why) != 0) {
        must(strlen(why.text) > 0);
        return;
    }
    must(g.retry_after_secs <= RETRY_MAX_SECS);
    if (g.code == GOODBYE_OTHER)
        return;
    char *text = goodbye_emit(&g, &len);
    must(len <= FRAME_PAYLOAD_MAX);
    must(goodbye_parse(&back, (const uint8_t *)text, len, &why) == 0);
    must(back.code == g.code);
    must(strcmp(back.message, g.message) == 0);
    must(back.retry_after_secs == g.retry_after_secs);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_config(data, size);
    check_ack(data, size);
    check_drain(data, size);
    check_goodbye(data, size);
    return 0;
}
