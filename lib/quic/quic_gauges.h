/* quic_gauges - the counters of QUIC ports as other threads see them: a port's loop copies them
 * here every now and then, a scrape reads them.  What they are called in the metrics of hub and
 * edge stands here once. */
#ifndef QUIC_QUIC_GAUGES_H
#define QUIC_QUIC_GAUGES_H

#include <stdatomic.h>

#include "quic/quic.h"

/* member of struct quic_port_stats, name behind penstock_<service>_, label and its value or NULL,
 * counter or gauge, help */
#define QUIC_GAUGES(X)                                                                             \
    X(datagrams_in, "quic_datagrams_total", "direction", "in", COUNTER, "UDP datagrams of QUIC.")  \
    X(datagrams_out, "quic_datagrams_total", "direction", "out", COUNTER, "")                      \
    X(bytes_in, "quic_bytes_total", "direction", "in", COUNTER, "UDP payload of QUIC.")            \
    X(bytes_out, "quic_bytes_total", "direction", "out", COUNTER, "")                              \
    X(reads, "quic_system_calls_total", "call", "read", COUNTER, "System calls of QUIC sockets.")  \
    X(sends, "quic_system_calls_total", "call", "send", COUNTER, "")                               \
    X(retries, "quic_retries_total", NULL, NULL, COUNTER, "Retry sent: prove the address first.")  \
    X(resets_sent, "quic_stateless_resets_total", NULL, NULL, COUNTER,                             \
      "Stateless resets sent for connections that are not known.")                                 \
    X(refused, "quic_dropped_total", "reason", "refused", COUNTER,                                 \
      "Datagrams that came and were dropped, and ones that could not be sent.")                    \
    X(unknown, "quic_dropped_total", "reason", "unknown", COUNTER, "")                             \
    X(malformed, "quic_dropped_total", "reason", "malformed", COUNTER, "")                         \
    X(dropped, "quic_dropped_total", "reason", "send", COUNTER, "")                                \
    X(send_errors, "quic_send_errors_total", NULL, NULL, COUNTER, "Sends that failed.")            \
    X(gso_off, "quic_gso_off_total", NULL, NULL, COUNTER,                                          \
      "Paths on which the kernel refused segmentation offload.")                                   \
    X(refusals, "quic_refusals_total", "meant", "attempt", COUNTER,                                \
      "ICMP errors that ended an attempt to connect, or a silent connection, and ones that ended " \
      "nothing.")                                                                                  \
    X(refusals_ignored, "quic_refusals_total", "meant", "nothing", COUNTER, "")                    \
    X(mtu_lost, "quic_mtu_lost_total", NULL, NULL, COUNTER,                                        \
      "Connections whose large packets vanished on the way: they send small ones.")                \
    X(starved, "quic_starved_total", NULL, NULL, COUNTER,                                          \
      "Connections that ended since they were refused more memory.")                               \
    X(migrations, "quic_migrations_total", NULL, NULL, COUNTER,                                    \
      "Connections whose peer came from another address and was validated there.")                 \
    X(recv_buffer, "quic_socket_buffer_bytes", "direction", "in", GAUGE,                           \
      "Buffer of a QUIC socket as the kernel gave it; 0: no socket is open.")                      \
    X(send_buffer, "quic_socket_buffer_bytes", "direction", "out", GAUGE, "")

struct quic_gauges {
#define X(member, name, label, value, kind, help) _Atomic uint64_t member;
    QUIC_GAUGES(X)
#undef X
};

enum quic_gauge_kind { QUIC_COUNTER, QUIC_GAUGE };

struct quic_gauge_rule {
    const char *name, *label, *value, *help;
    enum quic_gauge_kind kind;
    size_t offset; /* of a _Atomic uint64_t in struct quic_gauges */
};
/* Those of one name stand together, the first has the help; ended by a NULL name. */
extern const struct quic_gauge_rule quic_gauge_rules[];

/* By the port's loop. */
void quic_gauges_publish(struct quic_gauges *g, const struct quic_port *port);
/* Sums of counters, the least of gauges, over `count` of them, `stride` bytes apart.  Any thread.
 */
uint64_t quic_gauges_sum(const struct quic_gauge_rule *rule, const struct quic_gauges *first,
                         size_t stride, unsigned count);

#endif
