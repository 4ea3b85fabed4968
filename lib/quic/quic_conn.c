/* quic_conn - the life of a connection.
 *
 *   CONN_SHAKING -> CONN_OPEN -> CONN_OVER;  any -> CONN_CLOSING -> CONN_OVER
 *
 * The first error wins.  An end that is ours, or that the peer's bytes force on us, sends one
 * CONNECTION_CLOSE at once; the ids stay known for a while after it (quic_ids), the connection
 * itself is the owner's to free.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "quic/quic_internal.h"
#include "tls/tls_session.h"

#define ALERT_BAD_CERT 42u
#define ALERT_NO_ALPN  120u
/* Of a packet with one DATAGRAM frame, without its connection id: first byte, packet number, type,
 * tag. */
#define DATAGRAM_OVERHEAD (1u + 4u + 1u + 16u)

static void enter(struct quic *q, enum conn_state state)
{
    must(q->state < state);
    if (q->is_server && q->state == CONN_SHAKING)
        q->port->unvalidated--;
    q->state = state;
}

bool quic_is_over(const struct quic *q)
{
    return q->state == CONN_OVER;
}

void quic_note(struct quic *q, int err, const char *fmt, ...)
{
    va_list args;

    must(err < 0);
    if (q->error != 0)
        return;
    q->error = err;
    va_start(args, fmt);
    vsnprintf(q->error_text, sizeof(q->error_text), fmt, args);
    va_end(args);
}

/* --- the end ----------------------------------------------------------------------------- */

static void send_close(struct quic *q)
{
    uint8_t bytes[QUIC_CLOSE_BYTES];
    ngtcp2_path_storage path;
    struct quic_hop hop;
    ngtcp2_ssize n;

    ngtcp2_path_storage_zero(&path);
    n = ngtcp2_conn_write_connection_close(q->conn, &path.path, NULL, bytes, sizeof(bytes),
                                           &q->last, quic_now(q->port));
    if (n <= 0)
        return;
    quic_hop_of_path(&hop, q, &path.path);
    q->stats.packets_out++;
    q->stats.bytes_out += (uint64_t)n;
    quic_send_one(q->sock, bytes, (size_t)n, &hop);
    q->ids->farewell = malloc((size_t)n);
    if (!q->ids->farewell)
        return;
    memcpy(q->ids->farewell, bytes, (size_t)n);
    q->ids->farewell_len = (size_t)n;
}

enum farewell { FAREWELL_SENT, FAREWELL_HEARD, FAREWELL_NONE };

static void end(struct quic *q, enum farewell how)
{
    enter(q, CONN_OVER);
    deadline_off(&q->timer);
    ready_cancel(&q->again);
    list_remove(&q->waiting);
    if (how == FAREWELL_SENT)
        send_close(q);
    if (how == FAREWELL_NONE)
        quic_ids_free(q->port, q->ids);
    else
        quic_ids_retire(q->port, q->ids, 3 * ngtcp2_conn_get_pto(q->conn));
    q->ids = NULL;
}

/* What the peer's CONNECTION_CLOSE says. */
static void note_close_of_peer(struct quic *q)
{
    const ngtcp2_ccerr *its = ngtcp2_conn_get_ccerr(q->conn);
    int reason_len = (int)MIN(its->reasonlen, sizeof(q->reason));

    if (its->type == NGTCP2_CCERR_TYPE_APPLICATION ||
        (its->type == NGTCP2_CCERR_TYPE_TRANSPORT &&
         (its->error_code == NGTCP2_APPLICATION_ERROR || its->error_code == NGTCP2_NO_ERROR))) {
        q->is_by_peer = q->error == 0;
        quic_note(q, -ERR_CLOSED, "the peer closed, code %llu: %.*s",
                  (unsigned long long)its->error_code, reason_len, (const char *)its->reason);
        return;
    }
    if ((its->error_code & ~0xffull) == NGTCP2_CRYPTO_ERROR) {
        int err = tls_session_fail(q->tls, (uint8_t)its->error_code, true);

        quic_note(q, err, "%s", tls_error_text(q->tls));
        return;
    }
    quic_note(q, -ERR_PROTO, "the peer closed with transport error 0x%llx: %.*s",
              (unsigned long long)its->error_code, reason_len, (const char *)its->reason);
}

static void note_tls(struct quic *q)
{
    uint8_t alert = ngtcp2_conn_get_tls_alert(q->conn);
    int err = tls_session_fail(q->tls, alert, false);

    quic_note(q, err, "%s", tls_error_text(q->tls));
    ngtcp2_ccerr_set_tls_alert(&q->last, alert, NULL, 0);
}

/* Whatever ngtcp2 or GnuTLS made of it. */
static void note_no_memory(struct quic *q)
{
    static const uint8_t reason[] = "out of memory";

    if (q->memory.state == QUIC_MEMORY_REFUSED && q->error == 0) {
        q->port->stats.starved++;
        quic_note(q, -ERR_NOMEM, "refused more memory for QUIC than the %llu bytes that it holds",
                  (unsigned long long)q->memory.held);
    }
    quic_note(q, -ERR_NOMEM, "no memory");
    ngtcp2_ccerr_set_liberr(&q->last, NGTCP2_ERR_NOMEM, reason, sizeof(reason) - 1);
}

void quic_fail(struct quic *q, int liberr)
{
    if (q->state == CONN_CLOSING) { /* a callback made ngtcp2 fail so that this comes */
        end(q, FAREWELL_SENT);
        return;
    }
    if (q->memory.state != QUIC_MEMORY_GOOD)
        liberr = NGTCP2_ERR_NOMEM;
    switch (liberr) {
    case NGTCP2_ERR_DRAINING:
        note_close_of_peer(q);
        end(q, FAREWELL_HEARD);
        return;
    case NGTCP2_ERR_IDLE_CLOSE:
        quic_note(q, -ERR_TIMEOUT, "nothing came from the peer for %u ms", q->port->params.idle_ms);
        end(q, FAREWELL_NONE);
        return;
    case NGTCP2_ERR_RECV_VERSION_NEGOTIATION:
        quic_note(q, -ERR_PROTO, "the peer speaks another version of QUIC");
        end(q, FAREWELL_NONE);
        return;
    case NGTCP2_ERR_DROP_CONN:
    case NGTCP2_ERR_RETRY:
        quic_note(q, -ERR_PROTO, "the first packet is not the begin of a connection");
        end(q, FAREWELL_NONE);
        return;
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
        quic_note(q, -ERR_TIMEOUT, "no handshake in %u ms", q->port->params.handshake_ms);
        ngtcp2_ccerr_set_liberr(&q->last, liberr, NULL, 0);
        break;
    case NGTCP2_ERR_CRYPTO:
        note_tls(q);
        break;
    case NGTCP2_ERR_NOMEM:
    case NGTCP2_ERR_CALLBACK_FAILURE:
        note_no_memory(q);
        break;
    default:
        quic_note(q, -ERR_PROTO, "%s", ngtcp2_strerror(liberr));
        ngtcp2_ccerr_set_liberr(&q->last, liberr, NULL, 0);
        break;
    }
    end(q, FAREWELL_SENT);
}

void quic_refuse(struct quic *q)
{
    must(!q->is_inside && q->state <= CONN_OPEN);
    quic_note(q, -ERR_CONNECT,
              q->state == CONN_OPEN
                  ? "nobody has the peer's port, the network says, and nothing came from there"
                  : "the network refuses packets to the peer");
    end(q, FAREWELL_NONE);
}

void quic_settle(struct quic *q)
{
    if (q->memory.state != QUIC_MEMORY_GOOD && q->state < CONN_CLOSING) {
        note_no_memory(q);
        enter(q, CONN_CLOSING);
    }
    if (q->state == CONN_CLOSING)
        end(q, FAREWELL_SENT);
}

/* The owner asked ngtcp2 for something that takes memory. */
static void settle_memory(struct quic *q)
{
    if (q->memory.state == QUIC_MEMORY_GOOD || q->is_inside || quic_is_over(q))
        return;
    quic_settle(q);
    loop_again(q->port->loop, &q->again);
}

void quic_close(struct quic *q, enum quic_code code, const char *reason)
{
    size_t n = strlen(reason);

    if (q->state >= CONN_CLOSING)
        return;
    n = MIN(n, sizeof(q->reason));
    memcpy(q->reason, reason, n);
    ngtcp2_ccerr_set_application_error(&q->last, code, (const uint8_t *)q->reason, n);
    enter(q, CONN_CLOSING);
    if (!q->is_inside)
        quic_settle(q);
}

static void destroy(struct quic *q)
{
    ngtcp2_conn_del(q->conn);
    quic_memory_fini(&q->memory);
    tls_free(q->tls);
    if (q->qlog)
        fclose(q->qlog);
    free(q);
}

void quic_free(struct quic *q)
{
    must(!q->is_inside);
    quic_close(q, QUIC_CODE_NONE, "");
    deadline_off(&q->timer);
    ready_cancel(&q->again);
    list_remove(&q->node);
    list_remove(&q->touched);
    list_remove(&q->waiting);
    destroy(q);
}

/* --- the begin --------------------------------------------------------------------------- */

static void on_timer(struct deadline *d)
{
    struct quic *q = container_of(d, struct quic, timer);
    struct quic_port *port = q->port;
    uint64_t now_ns = quic_now(port);
    int rc;

    quic_mtu_on_timer(q, now_ns);
    q->is_inside = true;
    rc = ngtcp2_conn_handle_expiry(q->conn, now_ns);
    q->is_inside = false;
    if (rc != 0)
        quic_fail(q, rc);
    quic_settle(q);
    quic_refusal_on_timer(q, now_ns);
    quic_touch(q);
    quic_wake_touched(port);
}

static void on_again(struct ready *r)
{
    struct quic *q = container_of(r, struct quic, again);

    q->ops->on_wake(q);
}

struct quic *quic_alloc(struct quic_port *port, struct quic_socket *sock, const union addr *peer,
                        bool is_server)
{
    struct quic *q = calloc(1, sizeof(*q));

    if (!q)
        return NULL;
    q->ids = quic_ids_new(q);
    if (!q->ids) {
        free(q);
        return NULL;
    }
    q->port = port;
    q->sock = sock;
    q->peer = *peer;
    q->is_server = is_server;
    q->has_gso = true;
    ngtcp2_ccerr_default(&q->last);
    deadline_init(&q->timer, port->loop, on_timer);
    ready_init(&q->again, on_again);
    list_init(&q->node);
    list_init(&q->touched);
    list_init(&q->waiting);
    return q;
}

void quic_discard(struct quic *q)
{
    quic_ids_free(q->port, q->ids);
    destroy(q);
}

void quic_own(struct quic *q, const struct quic_ops *ops, void *owner)
{
    q->ops = ops;
    q->owner = owner;
}

void *quic_owner(const struct quic *q)
{
    return q->owner;
}

void quic_set_lender(struct quic *q, const struct quic_lender *lender, void *arg)
{
    quic_memory_set_lender(&q->memory, lender, arg);
}

/* The peers agreed; whether that is what our side asked for is checked here once more. */
void quic_became_secure(struct quic *q)
{
    int rc = tls_session_finish(q->tls);

    if (rc == 0) {
        enter(q, CONN_OPEN);
        return;
    }
    quic_note(q, rc, "%s", tls_error_text(q->tls));
    ngtcp2_ccerr_set_tls_alert(&q->last, rc == -ERR_CERT ? ALERT_BAD_CERT : ALERT_NO_ALPN, NULL, 0);
    enter(q, CONN_CLOSING);
}

/* --- reading and time -------------------------------------------------------------------- */

bool quic_read(struct quic *q, const struct quic_datagram *d)
{
    /* a client's own address is nothing that it knows: routes and the kernel may change it */
    union addr local = q->is_server ? d->local : q->sock->bound, peer = d->peer;
    ngtcp2_path path = {.local = {&local.sa, addr_len(&local)},
                        .remote = {&peer.sa, addr_len(&peer)}};
    int rc;

    if (quic_is_over(q))
        return false;
    q->stats.packets_in++;
    q->stats.bytes_in += d->len;
    q->is_inside = true;
    rc = ngtcp2_conn_read_pkt(q->conn, &path, NULL, d->bytes, d->len, q->port->now_ns);
    q->is_inside = false;
    if (rc != 0)
        quic_fail(q, rc);
    quic_settle(q);
    return !quic_is_over(q);
}

void quic_arm(struct quic *q, uint64_t now_ns)
{
    ngtcp2_tstamp due_ns = MIN(ngtcp2_conn_get_expiry(q->conn), quic_refusal_due_ns(q));

    if (due_ns == UINT64_MAX)
        deadline_off(&q->timer);
    else
        deadline_set(&q->timer, due_ns > now_ns ? (due_ns - now_ns + QUIC_MS - 1) / QUIC_MS : 1);
}

/* --- streams ----------------------------------------------------------------------------- */

static int opened(struct quic *q, int rc)
{
    settle_memory(q);
    if (rc == 0) {
        quic_memory_stream_opened(&q->memory);
        return 0;
    }
    return rc == NGTCP2_ERR_NOMEM ? -ERR_NOMEM : -ERR_LIMIT;
}

int quic_open(struct quic *q, int64_t *stream, void *user)
{
    must(!q->is_inside);
    if (q->state != CONN_OPEN)
        return -ERR_LIMIT;
    return opened(q, ngtcp2_conn_open_bidi_stream(q->conn, stream, user));
}

int quic_open_uni(struct quic *q, int64_t *stream, void *user)
{
    must(!q->is_inside);
    if (q->state != CONN_OPEN)
        return -ERR_LIMIT;
    return opened(q, ngtcp2_conn_open_uni_stream(q->conn, stream, user));
}

void quic_set_user(struct quic *q, int64_t stream, void *user)
{
    if (!quic_is_over(q))
        (void)ngtcp2_conn_set_stream_user_data(q->conn, stream, user); /* fine when it is gone */
}

void quic_shutdown(struct quic *q, int64_t stream, uint64_t code)
{
    if (q->state >= CONN_CLOSING)
        return;
    (void)ngtcp2_conn_shutdown_stream(q->conn, 0, stream, code); /* no memory: settled */
    settle_memory(q);
}

void quic_credit(struct quic *q, int64_t stream, uint64_t n)
{
    if (quic_is_over(q))
        return;
    (void)ngtcp2_conn_extend_max_stream_offset(q->conn, stream, n); /* fine when it is gone */
    settle_memory(q);
}

/* --- what it knows ----------------------------------------------------------------------- */

bool quic_is_secure(const struct quic *q)
{
    return q->state == CONN_OPEN;
}

bool quic_is_validated(const struct quic *q)
{
    return q->is_retried || q->state == CONN_OPEN;
}

size_t quic_datagram_max(const struct quic *q)
{
    const ngtcp2_transport_params *its = ngtcp2_conn_get_remote_transport_params(q->conn);
    const ngtcp2_cid *id;
    size_t packet, overhead, frame;

    if (q->state != CONN_OPEN || !its || its->max_datagram_frame_size == 0)
        return 0;
    id = ngtcp2_conn_get_dcid(q->conn);
    packet = quic_mtu(q);
    overhead = DATAGRAM_OVERHEAD + id->datalen + (packet > 16383 + 64 ? 4u : 2u);
    frame = (size_t)MIN(its->max_datagram_frame_size, (uint64_t)QUIC_DATAGRAM_MAX);
    frame = frame > 5 ? frame - 5 : 0; /* its type and its length */
    return MIN(packet - overhead, frame);
}

uint32_t quic_window(const struct quic *q)
{
    return (uint32_t)q->port->params.stream_window;
}

/* Of the streams that the client opens, which are all there are of both directions. */
uint64_t quic_peer_window(const struct quic *q)
{
    const ngtcp2_transport_params *its = ngtcp2_conn_get_remote_transport_params(q->conn);

    if (!its)
        return 0;
    return q->is_server ? its->initial_max_stream_data_bidi_local
                        : its->initial_max_stream_data_bidi_remote;
}

const union addr *quic_peer(const struct quic *q)
{
    return &q->peer;
}

int quic_exporter(const struct quic *q, uint8_t out[TLS_EXPORTER_BYTES])
{
    return q->state == CONN_OPEN ? tls_exporter(q->tls, out) : -ERR_TLS;
}

const char *quic_alpn(const struct quic *q)
{
    return tls_alpn(q->tls);
}

const char *quic_cipher(const struct quic *q)
{
    return tls_cipher(q->tls);
}

int quic_peer_times(const struct quic *q, int64_t *not_before, int64_t *not_after)
{
    return tls_peer_times(q->tls, not_before, not_after);
}

int quic_error(const struct quic *q)
{
    return q->error;
}

const char *quic_error_text(const struct quic *q)
{
    return q->error_text;
}

void quic_stats(const struct quic *q, struct quic_stats *out)
{
    uint64_t now_ns = quic_now(q->port);
    ngtcp2_conn_info info;

    ngtcp2_conn_get_conn_info(q->conn, &info);
    *out = q->stats;
    if (q->waiting_since_ns)
        out->waiting_us += (now_ns - q->waiting_since_ns) / NGTCP2_MICROSECONDS;
    if (q->progress.unacked > 0 && info.bytes_in_flight > 0) /* the first is an estimate */
        out->stalled_us = (now_ns - q->progress.since_ns) / NGTCP2_MICROSECONDS;
    out->cwnd = info.cwnd;
    out->in_flight = info.bytes_in_flight;
    out->rtt_us = (uint32_t)(info.smoothed_rtt / NGTCP2_MICROSECONDS);
    out->min_rtt_us =
        info.min_rtt == UINT64_MAX ? 0 : (uint32_t)(info.min_rtt / NGTCP2_MICROSECONDS);
    out->mtu = (uint32_t)quic_mtu(q);
    out->has_gso = q->has_gso;
}
