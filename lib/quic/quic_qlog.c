/* quic_qlog - one file of events a connection, as ngtcp2 writes it (JSON text sequences), to be
 * looked at with qvis.  Packets and their frames by kind and number: no payload, no key. */
#include <errno.h>
#include <string.h>

#include "quic/quic_internal.h"

#define PATH_BYTES 512

void quic_qlog_open(struct quic *q, const ngtcp2_cid *id)
{
    const char *dir = q->port->params.qlog_dir;
    char path[PATH_BYTES], name[2 * NGTCP2_MAX_CIDLEN + 1];
    int n;

    if (!dir || !*dir)
        return;
    for (size_t i = 0; i < id->datalen; i++)
        snprintf(name + 2 * i, 3, "%02x", id->data[i]);
    n = snprintf(path, sizeof(path), "%s/%s-%s.sqlog", dir, name,
                 q->is_server ? "server" : "client");
    if (n < 0 || (size_t)n >= sizeof(path))
        return;
    q->qlog = fopen(path, "we");
    if (!q->qlog && log_limit_pass(&q->port->qlog_complaints, loop_now_ms(q->port->loop)))
        log_warn("quic", "qlog_not_written", LOG_S("path", path),
                 LOG_S("error", strerrordesc_np(errno)));
}

void quic_qlog_write(void *user_data, uint32_t flags, const void *bytes, size_t n)
{
    struct quic *q = user_data;

    (void)flags;
    if (q->qlog)
        fwrite(bytes, 1, n, q->qlog);
}
