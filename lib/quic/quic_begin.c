/* quic_begin - how a connection begins: what it asks of ngtcp2 and tells its peer, and which ids it
 * is known by, as a server and as a client.
 */
#include <string.h>

#include "quic/quic_internal.h"
#include "tls/tls_session.h"

#define NO_LIMIT        (1ull << 60)
#define UDP_PAYLOAD_MAX 65527u
#define PEER_IDS        7u

static ngtcp2_conn *conn_of_ref(ngtcp2_crypto_conn_ref *ref)
{
    return ((struct quic *)ref->user_data)->conn;
}

static void fill_settings(struct quic *q, ngtcp2_settings *settings)
{
    const struct quic_params *params = &q->port->params;

    ngtcp2_settings_default(settings);
    settings->initial_ts = quic_now(q->port);
    settings->cc_algo = params->congestion == QUIC_BBR ? NGTCP2_CC_ALGO_BBR : NGTCP2_CC_ALGO_CUBIC;
    quic_mtu_init(q, settings);
    settings->handshake_timeout = params->handshake_ms * QUIC_MS;
    /* BBR takes its estimate of the rate from ACKs and gets stuck on many small ones. */
    settings->ack_thresh = params->congestion == QUIC_BBR ? 32 : 2;
    if (q->qlog)
        settings->qlog_write = quic_qlog_write;
}

static uint64_t window_or_none(const struct quic_params *params)
{
    return params->connection_window ? params->connection_window : NO_LIMIT;
}

static void fill_params(const struct quic *q, ngtcp2_transport_params *out)
{
    const struct quic_params *params = &q->port->params;

    ngtcp2_transport_params_default(out);
    out->initial_max_stream_data_bidi_local = params->stream_window;
    out->initial_max_stream_data_bidi_remote = params->stream_window;
    out->initial_max_stream_data_uni = params->stream_window;
    out->initial_max_data = window_or_none(params);
    out->initial_max_streams_bidi = params->streams_bidi;
    out->initial_max_streams_uni = params->streams_uni;
    if (params->unproven_window) {
        out->initial_max_data = params->unproven_window;
        out->initial_max_streams_bidi = MIN(params->streams_bidi, 1u);
        out->initial_max_streams_uni = 0;
    }
    out->max_idle_timeout = params->idle_ms * QUIC_MS;
    out->max_udp_payload_size = UDP_PAYLOAD_MAX;
    out->max_datagram_frame_size = QUIC_DATAGRAM_MAX;
    out->active_connection_id_limit = PEER_IDS;
}

static void init_memory(struct quic *q)
{
    const struct quic_params *params = &q->port->params;

    if (params->unproven_window)
        quic_memory_init(&q->memory, params->unproven_window + QUIC_MEMORY_UNPROVEN, 0);
    else
        quic_memory_init(&q->memory, window_or_none(params) + QUIC_MEMORY_BESIDE,
                         QUIC_MEMORY_STREAM);
}

void quic_admit(struct quic *q)
{
    const struct quic_params *params = &q->port->params;

    if (quic_is_over(q) || !params->unproven_window)
        return;
    quic_memory_set_allowance(&q->memory, window_or_none(params) + QUIC_MEMORY_BESIDE,
                              QUIC_MEMORY_STREAM);
    ngtcp2_conn_extend_max_offset(q->conn, window_or_none(params) - params->unproven_window);
    if (params->streams_bidi > 1)
        ngtcp2_conn_extend_max_streams_bidi(q->conn, params->streams_bidi - 1);
    if (params->streams_uni > 0)
        ngtcp2_conn_extend_max_streams_uni(q->conn, params->streams_uni);
}

static void begin(struct quic *q)
{
    gnutls_session_t session = tls_session_handle(q->tls);

    q->ref = (ngtcp2_crypto_conn_ref){.get_conn = conn_of_ref, .user_data = q};
    gnutls_session_set_ptr(session, &q->ref);
    ngtcp2_conn_set_tls_native_handle(q->conn, session);
    if (q->port->params.keep_alive_ms > 0)
        ngtcp2_conn_set_keep_alive_timeout(q->conn, q->port->params.keep_alive_ms * QUIC_MS);
    if (q->is_server)
        q->port->unvalidated++;
    list_push(&q->port->conns, &q->node);
}

struct quic *quic_new_server(struct quic_port *port, const struct quic_datagram *d,
                             const ngtcp2_pkt_hd *hd, const ngtcp2_cid *original)
{
    struct quic *q = quic_alloc(port, d->sock, &d->peer, true);
    union addr local = d->local, peer = d->peer;
    ngtcp2_path path = {.local = {&local.sa, addr_len(&local)},
                        .remote = {&peer.sa, addr_len(&peer)}};
    ngtcp2_transport_params params;
    ngtcp2_settings settings;
    ngtcp2_cid id;

    if (!q)
        return NULL;
    init_memory(q);
    quic_port_make_id(port, &id);
    quic_qlog_open(q, original ? original : &hd->dcid);
    fill_settings(q, &settings);
    fill_params(q, &params);
    params.original_dcid = original ? *original : hd->dcid;
    params.original_dcid_present = 1;
    if (original) {
        q->is_retried = true;
        params.retry_scid = hd->dcid;
        params.retry_scid_present = 1;
        settings.token = hd->token;
        settings.tokenlen = hd->tokenlen;
        settings.token_type = NGTCP2_TOKEN_TYPE_RETRY;
    }
    params.stateless_reset_token_present = 1;
    quic_reset_token(port, &id, params.stateless_reset_token);
    if (tls_session_new_server(&q->tls, port->tls, NULL) != 0 ||
        ngtcp2_crypto_gnutls_configure_server_session(tls_session_handle(q->tls)) != 0 ||
        !quic_ids_add(port, q->ids, ROUTE_ID, hd->dcid.data, hd->dcid.datalen) ||
        !quic_ids_add(port, q->ids, ROUTE_ID, id.data, id.datalen) ||
        ngtcp2_conn_server_new(&q->conn, &hd->scid, &id, &path, hd->version, &quic_callbacks,
                               &settings, &params, &q->memory.mem, q) != 0) {
        quic_discard(q);
        return NULL;
    }
    begin(q);
    return q;
}

static int fill_client(struct quic *q, const struct quic_dial_options *o)
{
    union addr peer = *o->peer;
    ngtcp2_path path = {.local = {&q->sock->bound.sa, addr_len(&q->sock->bound)},
                        .remote = {&peer.sa, addr_len(&peer)}};
    ngtcp2_transport_params params;
    ngtcp2_settings settings;
    uint8_t first[QUIC_ID_BYTES];
    ngtcp2_cid id, server_id;
    int rc;

    tls_random(first, sizeof(first));
    first[0] = o->first_byte;
    ngtcp2_cid_init(&server_id, first, sizeof(first));
    quic_port_make_id(q->port, &id);
    quic_qlog_open(q, &server_id);
    fill_settings(q, &settings);
    fill_params(q, &params);
    rc = tls_session_new_client(&q->tls, o->tls, o->server_name);
    if (rc != 0)
        return rc;
    if (ngtcp2_crypto_gnutls_configure_client_session(tls_session_handle(q->tls)) != 0 ||
        !quic_ids_add(q->port, q->ids, ROUTE_ID, id.data, id.datalen) ||
        ngtcp2_conn_client_new(&q->conn, &server_id, &id, &path, NGTCP2_PROTO_VER_V1,
                               &quic_callbacks, &settings, &params, &q->memory.mem, q) != 0)
        return -ERR_NOMEM;
    return 0;
}

int quic_dial(struct quic **out, struct quic_port *port, const struct quic_dial_options *options)
{
    struct quic_socket *sock = quic_port_socket(port, options->peer->sa.sa_family);
    struct quic *q;
    int rc;

    *out = NULL;
    if (!sock)
        return -ERR_SYS;
    q = quic_alloc(port, sock, options->peer, false);
    if (!q)
        return -ERR_NOMEM;
    init_memory(q);
    rc = fill_client(q, options);
    if (rc != 0) {
        quic_discard(q);
        return rc;
    }
    begin(q);
    quic_own(q, options->ops, options->owner);
    *out = q;
    return 0;
}
