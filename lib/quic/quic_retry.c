/* quic_retry - the answers of a server that need no connection: Retry and its tokens (RFC 9000,
 * 8.1.2), stateless resets (10.3), version negotiation (6).
 *
 * Whoever asks may have a forged address, so no answer is larger than its question, and resets are
 * bounded in time as well: two machines that have forgotten each other must not go on for ever.
 */
#include <string.h>
#include <time.h>

#include "quic/quic_internal.h"

#define RETRY_SECS 10u
/* The least that is answered: a reset has 21 bytes at least and is shorter than that (RFC
 * 9000, 10.3). The PING of an idle connection has 34, and nothing else would ever tell such a one.
 */
#define RESET_LEAST  23u
#define ANSWER_BYTES 1200u
#define NS_PER_SEC   1000000000u

/* Tokens outlive a process, and go from one machine to another that has the same key. */
static ngtcp2_tstamp wall_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
}

static void answer(const struct quic_datagram *d, const uint8_t *bytes, ngtcp2_ssize n)
{
    struct quic_hop hop = {.to = d->peer, .from = d->local};

    if (n > 0)
        quic_send_one(d->sock, bytes, (size_t)n, &hop);
}

/* --- Retry ------------------------------------------------------------------------------- */

enum quic_token quic_retry_check(const struct quic_port *port, const ngtcp2_pkt_hd *hd,
                                 const union addr *peer, ngtcp2_cid *original)
{
    if (hd->tokenlen == 0 || hd->token[0] != NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY2)
        return TOKEN_NONE;
    return ngtcp2_crypto_verify_retry_token2(
               original, hd->token, hd->tokenlen, port->retry_key, sizeof(port->retry_key),
               hd->version, &peer->sa, addr_len(peer), &hd->dcid,
               RETRY_SECS * (ngtcp2_duration)NGTCP2_SECONDS, wall_clock()) == 0
               ? TOKEN_GOOD
               : TOKEN_BAD;
}

void quic_retry_send(struct quic_port *port, const struct quic_datagram *d, const ngtcp2_pkt_hd *hd)
{
    uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN2], bytes[ANSWER_BYTES];
    ngtcp2_ssize n;
    ngtcp2_cid id;

    quic_port_make_id(port, &id);
    n = ngtcp2_crypto_generate_retry_token2(token, port->retry_key, sizeof(port->retry_key),
                                            hd->version, &d->peer.sa, addr_len(&d->peer), &id,
                                            &hd->dcid, wall_clock());
    if (n < 0)
        return;
    n = ngtcp2_crypto_write_retry(bytes, sizeof(bytes), hd->version, &hd->scid, &id, &hd->dcid,
                                  token, (size_t)n);
    if (n <= 0)
        return;
    port->stats.retries++;
    answer(d, bytes, n);
}

void quic_retry_refuse_token(struct quic_port *port, const struct quic_datagram *d,
                             const ngtcp2_pkt_hd *hd)
{
    uint8_t bytes[ANSWER_BYTES];

    port->stats.refused++;
    answer(d, bytes,
           ngtcp2_crypto_write_connection_close(bytes, sizeof(bytes), hd->version, &hd->scid,
                                                &hd->dcid, NGTCP2_INVALID_TOKEN, NULL, 0));
}

/* --- stateless reset --------------------------------------------------------------------- */

void quic_reset_token(const struct quic_port *port, const ngtcp2_cid *id,
                      uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN])
{
    must(ngtcp2_crypto_generate_stateless_reset_token(token, port->reset_key,
                                                      sizeof(port->reset_key), id) == 0);
}

static bool may_reset(struct quic_port *port)
{
    uint64_t now_ns = quic_now(port);

    if (now_ns - port->resets_since_ns >= NS_PER_SEC) {
        port->resets_since_ns = now_ns;
        port->resets_count = 0;
    }
    return port->resets_count++ < QUIC_RESETS_PER_SEC;
}

void quic_reset_send(struct quic_port *port, const struct quic_datagram *d, const uint8_t *id_bytes)
{
    uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN], noise[64], bytes[128];
    size_t noise_len;
    ngtcp2_cid id;

    /* What the socket's program did not steer here may be of a live connection of another worker
     * (RFC 9000, 21.11). */
    if (d->len < RESET_LEAST || id_bytes[0] % port->count != port->index || !may_reset(port))
        return;
    ngtcp2_cid_init(&id, id_bytes, QUIC_ID_BYTES);
    quic_reset_token(port, &id, token);
    /* shorter than what it answers, so that an exchange of resets comes to its end */
    noise_len = MIN(d->len - 1 - sizeof(token), sizeof(noise)) - 1;
    tls_random(noise, noise_len);
    port->stats.resets_sent++;
    answer(d, bytes,
           ngtcp2_pkt_write_stateless_reset(bytes, sizeof(bytes), token, noise, noise_len));
}

/* --- version negotiation ----------------------------------------------------------------- */

void quic_version_send(struct quic_port *port, const struct quic_datagram *d,
                       const ngtcp2_version_cid *of)
{
    /* 0x?a?a?a?a is reserved, so that clients learn to pass over what they don't know */
    static const uint32_t versions[] = {0x1a2a3a4au, NGTCP2_PROTO_VER_V1};
    uint8_t bytes[ANSWER_BYTES], random;

    (void)port;
    if (d->len < NGTCP2_MAX_UDP_PAYLOAD_SIZE)
        return;
    tls_random(&random, 1);
    answer(d, bytes,
           ngtcp2_pkt_write_version_negotiation(bytes, sizeof(bytes), random, of->scid, of->scidlen,
                                                of->dcid, of->dcidlen, versions,
                                                ARRAY_LEN(versions)));
}
