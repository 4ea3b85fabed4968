/* quic_events - what ngtcp2 tells while it reads a packet, handed to the connection's owner.
 *
 * ngtcp2 is on the stack in all of these; what would call back into it is noted and done when it
 * has returned (quic_settle).
 */
#include <string.h>

#include "quic/quic_internal.h"

/* After the owner asked for the end, or for what there is no memory for, it hears nothing more. */
static bool is_ending(const struct quic *q)
{
    return q->state == CONN_CLOSING || q->memory.state != QUIC_MEMORY_GOOD;
}

#define STOP_IF_CLOSING(q)                                                                         \
    do {                                                                                           \
        if (is_ending(q))                                                                          \
            return NGTCP2_ERR_CALLBACK_FAILURE;                                                    \
    } while (0)

/* What a callback returns when its owner has been told. */
static int told(const struct quic *q)
{
    return is_ending(q) ? NGTCP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_open(ngtcp2_conn *conn, int64_t stream, void *arg)
{
    struct quic *q = arg;

    (void)conn;
    STOP_IF_CLOSING(q);
    quic_memory_stream_opened(&q->memory);
    q->ops->on_open(q, stream);
    return told(q);
}

static int on_stream_data(ngtcp2_conn *conn, uint32_t flags, int64_t stream, uint64_t offset,
                          const uint8_t *bytes, size_t n, void *arg, void *user)
{
    struct quic *q = arg;

    (void)offset;
    STOP_IF_CLOSING(q);
    ngtcp2_conn_extend_max_offset(conn, n); /* see quic.h, Flow control */
    if (q->ops->on_data(q, stream, user, bytes, n, (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0) == 0)
        return told(q);
    quic_close(q, QUIC_CODE_PROTOCOL, "");
    quic_note(q, -ERR_PROTO, "the peer's bytes are not what they should be");
    return NGTCP2_ERR_CALLBACK_FAILURE;
}

static int on_acked(ngtcp2_conn *conn, int64_t stream, uint64_t offset, uint64_t n, void *arg,
                    void *user)
{
    struct quic *q = arg;

    (void)conn;
    (void)offset;
    STOP_IF_CLOSING(q);
    if (n == 0)
        return 0;
    quic_mtu_on_acked(q, n);
    q->stats.bytes_acked += n;
    q->ops->on_acked(q, stream, user, n);
    return told(q);
}

static int on_reset(ngtcp2_conn *conn, int64_t stream, uint64_t final_size, uint64_t code,
                    void *arg, void *user)
{
    struct quic *q = arg;

    (void)conn;
    (void)final_size;
    STOP_IF_CLOSING(q);
    q->ops->on_reset(q, stream, user, code);
    return told(q);
}

/* ngtcp2 has no callback for STOP_SENDING; it keeps the code until here. */
static int on_close(ngtcp2_conn *conn, uint32_t flags, int64_t stream, uint64_t code, void *arg,
                    void *user)
{
    struct quic *q = arg;

    STOP_IF_CLOSING(q);
    quic_memory_stream_closed(&q->memory);
    q->stats.packets_lost += ngtcp2_conn_get_stream_loss_count(conn, stream);
    if (flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET) {
        quic_mtu_on_reset(q);
        q->ops->on_stop(q, stream, user, code);
    }
    q->ops->on_closed(q, stream, user);
    if (ngtcp2_conn_is_local_stream(conn, stream))
        return 0;
    if (ngtcp2_is_bidi_stream(stream))
        ngtcp2_conn_extend_max_streams_bidi(conn, 1);
    else
        ngtcp2_conn_extend_max_streams_uni(conn, 1);
    return 0;
}

static int on_credit(ngtcp2_conn *conn, int64_t stream, uint64_t upto, void *arg, void *user)
{
    struct quic *q = arg;

    (void)conn;
    STOP_IF_CLOSING(q);
    q->ops->on_credit(q, stream, user, upto);
    return told(q);
}

static int on_datagram(ngtcp2_conn *conn, uint32_t flags, const uint8_t *bytes, size_t n, void *arg)
{
    struct quic *q = arg;

    (void)conn;
    (void)flags;
    STOP_IF_CLOSING(q);
    q->ops->on_datagram(q, bytes, n);
    return told(q);
}

/* Its id is its length: see write_datagram() in quic_flush.c. */
static int on_datagram_acked(ngtcp2_conn *conn, uint64_t id, void *arg)
{
    struct quic *q = arg;

    (void)conn;
    q->stats.bytes_acked += id;
    return 0;
}

static int on_datagram_lost(ngtcp2_conn *conn, uint64_t id, void *arg)
{
    struct quic *q = arg;

    (void)conn;
    (void)id;
    q->stats.packets_lost++;
    return 0;
}

static int on_handshake(ngtcp2_conn *conn, void *arg)
{
    struct quic *q = arg;

    (void)conn;
    quic_became_secure(q);
    return q->state == CONN_OPEN ? 0 : NGTCP2_ERR_CALLBACK_FAILURE;
}

static int on_stateless_reset(ngtcp2_conn *conn, const ngtcp2_pkt_stateless_reset *reset, void *arg)
{
    (void)conn;
    (void)reset;
    quic_note(arg, -ERR_RESET, "the peer does not know the connection any more");
    return 0;
}

static int on_new_id(ngtcp2_conn *conn, ngtcp2_cid *id, uint8_t *token, size_t n, void *arg)
{
    struct quic *q = arg;

    (void)conn;
    must(n == QUIC_ID_BYTES);
    quic_port_make_id(q->port, id);
    quic_reset_token(q->port, id, token);
    return quic_ids_add(q->port, q->ids, ROUTE_ID, id->data, id->datalen)
               ? 0
               : NGTCP2_ERR_CALLBACK_FAILURE;
}

static int on_old_id(ngtcp2_conn *conn, const ngtcp2_cid *id, void *arg)
{
    struct quic *q = arg;

    (void)conn;
    quic_ids_remove(q->port, q->ids, ROUTE_ID, id->data, id->datalen);
    return 0;
}

/* The tokens by which a stateless reset of the peer would be known.  One that finds no room costs
 * the wait for the idle timeout. */
static int on_peer_id(ngtcp2_conn *conn, ngtcp2_connection_id_status_type type, uint64_t number,
                      const ngtcp2_cid *id, const uint8_t *token, void *arg)
{
    struct quic *q = arg;

    (void)conn;
    (void)number;
    (void)id;
    if (!token)
        return 0;
    if (type == NGTCP2_CONNECTION_ID_STATUS_TYPE_ACTIVATE)
        (void)quic_ids_add(q->port, q->ids, ROUTE_RESET_TOKEN, token,
                           NGTCP2_STATELESS_RESET_TOKENLEN);
    else
        quic_ids_remove(q->port, q->ids, ROUTE_RESET_TOKEN, token, NGTCP2_STATELESS_RESET_TOKENLEN);
    return 0;
}

/* The peer is where it says it is. */
static int on_path(ngtcp2_conn *conn, uint32_t flags, const ngtcp2_path *path,
                   const ngtcp2_path *old, ngtcp2_path_validation_result result, void *arg)
{
    struct quic *q = arg;
    struct quic_hop hop;
    struct quic_socket *sock;

    (void)conn;
    (void)flags;
    (void)old;
    if (result != NGTCP2_PATH_VALIDATION_RESULT_SUCCESS)
        return 0;
    quic_hop_of_path(&hop, q, path);
    sock = quic_port_socket(q->port, hop.to.sa.sa_family);
    if (!sock || addr_is_same(&hop.to, &q->peer))
        return 0;
    q->peer = hop.to;
    q->sock = sock;
    q->has_gso = true; /* another interface may do what the last one refused */
    quic_mtu_on_path(q);
    q->stats.migrations++;
    q->port->stats.migrations++;
    return 0;
}

static void on_random(uint8_t *to, size_t n, const ngtcp2_rand_ctx *ctx)
{
    (void)ctx;
    tls_random(to, n);
}

const ngtcp2_callbacks quic_callbacks = {
    .client_initial = ngtcp2_crypto_client_initial_cb,
    .recv_client_initial = ngtcp2_crypto_recv_client_initial_cb,
    .recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb,
    .handshake_completed = on_handshake,
    .encrypt = ngtcp2_crypto_encrypt_cb,
    .decrypt = ngtcp2_crypto_decrypt_cb,
    .hp_mask = ngtcp2_crypto_hp_mask_cb,
    .stream_open = on_open,
    .recv_stream_data = on_stream_data,
    .acked_stream_data_offset = on_acked,
    .stream_close = on_close,
    .recv_stateless_reset = on_stateless_reset,
    .recv_retry = ngtcp2_crypto_recv_retry_cb,
    .rand = on_random,
    .get_new_connection_id = on_new_id,
    .remove_connection_id = on_old_id,
    .update_key = ngtcp2_crypto_update_key_cb,
    .path_validation = on_path,
    .stream_reset = on_reset,
    .extend_max_stream_data = on_credit,
    .dcid_status = on_peer_id,
    .delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
    .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
    .recv_datagram = on_datagram,
    .ack_datagram = on_datagram_acked,
    .lost_datagram = on_datagram_lost,
    .get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb,
    .version_negotiation = ngtcp2_crypto_version_negotiation_cb,
};
