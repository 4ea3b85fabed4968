/* tls - the connection: a GnuTLS session driven over the two queues of tls_socket.c.
 *
 *   TLS_HANDSHAKE -> TLS_LAST_FLIGHT -> TLS_OPEN [-> TLS_DEAF]; any -> TLS_FAILED
 *
 * TLS_DEAF: the peer takes no more, but what it said before it went is still read.
 *
 * GnuTLS is called until it is starved (its pull found nothing) or done, then the socket is asked,
 * and so on until the socket has nothing either.  GnuTLS also says EAGAIN when it has swallowed a
 * message of its own (a ticket, a KeyUpdate): so is_starved, not its code, decides whether to read.
 *
 * How much a peer can make us do or hold without giving data is bounded: GnuTLS ends the connection
 * after 200 empty records in a row or 8 KeyUpdates in a second, we after QUIET_MAX messages of
 * other kinds in one call or TLS_QUIET_BYTES in all, and one call reads the socket at most
 * FILLS_MAX times.
 *
 * The first error wins.  It ends the connection (one that only writing met: the writing): one
 * attempt to send the alert, both queues given back, every later call says IO_FAIL.
 */
#include "tls/tls.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls/tls_internal.h"

#include "loop/loop.h"

#define QUIET_MAX 100u
#define FILLS_MAX 64u

void tls_note(struct tls *t, int err, const char *fmt, ...)
{
    va_list args;

    must(err < 0);
    if (t->error != 0)
        return;
    t->error = err;
    va_start(args, fmt);
    vsnprintf(t->error_text, sizeof(t->error_text), fmt, args);
    va_end(args);
}

/* The end of a connection whose error is noted.  `alert` is what the peer is told, or 0: nothing.
 */
static enum io fail(struct tls *t, int gnutls_code)
{
    must(t->error != 0);
    if (gnutls_code != 0 && gnutls_alert_send_appropriate(t->session, gnutls_code) >= 0 &&
        tls_socket_flush(t) == IO_FAIL)
        t->source = SOURCE_EOF; /* the peer is gone: nothing more to try */
    t->state = TLS_FAILED;
    bufq_clear(&t->in);
    bufq_clear(&t->out);
    return IO_FAIL;
}

int tls_alert_error(gnutls_alert_description_t alert)
{
    if (alert == GNUTLS_A_UNRECOGNIZED_NAME)
        return -ERR_DENIED;
    if (alert == GNUTLS_A_BAD_CERTIFICATE || alert == GNUTLS_A_UNSUPPORTED_CERTIFICATE ||
        alert == GNUTLS_A_CERTIFICATE_REVOKED || alert == GNUTLS_A_CERTIFICATE_EXPIRED ||
        alert == GNUTLS_A_CERTIFICATE_UNKNOWN || alert == GNUTLS_A_UNKNOWN_CA)
        return -ERR_CERT;
    return -ERR_TLS;
}

/* What GnuTLS's code means for the caller; what a callback noted before stays. */
static enum io fail_gnutls(struct tls *t, int code)
{
    if (code == GNUTLS_E_FATAL_ALERT_RECEIVED) {
        gnutls_alert_description_t alert = gnutls_alert_get(t->session);
        const char *name = gnutls_alert_get_name(alert);

        tls_note(t, tls_alert_error(alert), "the peer ended it with an alert: %s",
                 name ? name : "unknown");
        return fail(t, 0);
    }
    if (code == GNUTLS_E_PREMATURE_TERMINATION || (t->source == SOURCE_EOF && t->in.len == 0)) {
        tls_note(t, -ERR_CLOSED, "%s",
                 t->state == TLS_HANDSHAKE ? "the peer closed during the handshake"
                                           : "the peer closed without saying so");
        return fail(t, 0);
    }
    if (code == GNUTLS_E_PUSH_ERROR || code == GNUTLS_E_PULL_ERROR) {
        tls_note(t, -ERR_IO, "%s", gnutls_strerror(code));
        return fail(t, 0);
    }
    tls_note(t, code == GNUTLS_E_MEMORY_ERROR ? -ERR_NOMEM : -ERR_TLS, "%s", gnutls_strerror(code));
    return fail(t, code);
}

/* --- life -------------------------------------------------------------------------------- */

static int new_tls(struct tls **out, struct tls_ctx *ctx, const struct tls_carrier *carrier)
{
    gnutls_init_flags_t flags =
        ctx->role | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | (ctx->tickets ? 0 : GNUTLS_NO_TICKETS);
    struct tls *t = calloc(1, sizeof(*t));

    *out = NULL;
    if (!t)
        return -ERR_NOMEM;
    if (gnutls_init(&t->session, flags) < 0) {
        free(t);
        return -ERR_NOMEM;
    }
    t->ctx = tls_ctx_ref(ctx);
    t->fd = carrier->fd;
    t->is_quic = carrier->is_quic;
    t->state = TLS_HANDSHAKE;
    t->pieces = 1;
    bufq_init(&t->in, carrier->pool, TLS_IN_BYTES);
    bufq_init(&t->out, carrier->pool, TLS_OUT_BYTES);
    gnutls_transport_set_ptr(t->session, t);
    gnutls_handshake_set_timeout(t->session, GNUTLS_INDEFINITE_TIMEOUT); /* the caller's deadline */
    if (!t->is_quic)
        tls_socket_setup(t);
    *out = t;
    return 0;
}

static int finish_new(struct tls **out, struct tls *t)
{
    int rc = tls_ctx_setup(t);

    if (rc != 0) {
        tls_free(t);
        t = NULL;
    }
    *out = t;
    return rc;
}

int tls_open_server(struct tls **out, struct tls_ctx *ctx, const struct tls_carrier *carrier,
                    void *select_arg)
{
    struct tls *t;
    int rc = new_tls(&t, ctx, carrier);

    must(ctx->role == GNUTLS_SERVER);
    *out = NULL;
    if (rc != 0)
        return rc;
    t->select_arg = select_arg;
    return finish_new(out, t);
}

int tls_open_client(struct tls **out, struct tls_ctx *ctx, const struct tls_carrier *carrier,
                    const char *name)
{
    uint8_t address[16];
    struct tls *t;
    int rc = new_tls(&t, ctx, carrier);

    must(ctx->role == GNUTLS_CLIENT);
    *out = NULL;
    if (rc != 0)
        return rc;
    if (name && tls_name_address(name, address) > 0)
        memcpy(t->name, name, strlen(name) + 1); /* an address's text is shorter than a name */
    else if (name && tls_name_normalise(t->name, name, strlen(name)) != 0) {
        tls_free(t);
        return -ERR_SYNTAX;
    }
    return finish_new(out, t);
}

int tls_new_server(struct tls **out, struct tls_ctx *ctx, struct chunk_pool *pool, int fd,
                   void *select_arg)
{
    return tls_open_server(out, ctx, &(struct tls_carrier){.fd = fd, .pool = pool}, select_arg);
}

int tls_new_client(struct tls **out, struct tls_ctx *ctx, struct chunk_pool *pool, int fd,
                   const char *name)
{
    return tls_open_client(out, ctx, &(struct tls_carrier){.fd = fd, .pool = pool}, name);
}

static void packet_drop(struct tls *t)
{
    if (t->packet)
        gnutls_packet_deinit(t->packet);
    t->packet = NULL;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    packet_drop(t);
    gnutls_deinit(t->session);
    bufq_fini(&t->in);
    bufq_fini(&t->out);
    tls_cert_unref(t->cert); /* after the session: it points into the credentials */
    tls_ctx_unref(t->ctx);
    free(t);
}

/* --- handshake --------------------------------------------------------------------------- */

void tls_learn(struct tls *t)
{
    gnutls_datum_t alpn;

    if (gnutls_alpn_get_selected_protocol(t->session, &alpn) == 0 && alpn.size <= TLS_ALPN_NAME_MAX)
        memcpy(t->alpn, alpn.data, alpn.size);
}

static void enter_last_flight(struct tls *t)
{
    tls_learn(t);
    if (t->source == SOURCE_DRAINED) /* long ago by now */
        t->source = SOURCE_READY;
    t->quiet_bytes = 0;
    t->is_resumed = gnutls_session_is_resumed(t->session) != 0;
    t->state = TLS_LAST_FLIGHT;
}

/* GnuTLS as far as the input goes.  IO_OK: agreed; IO_WAIT: starved. */
static enum io handshake_step(struct tls *t)
{
    for (unsigned quiet = 0; quiet < QUIET_MAX; quiet++) {
        int code;

        t->is_starved = false;
        code = gnutls_handshake(t->session);
        if (code == GNUTLS_E_SUCCESS) {
            if (tls_ctx_is_satisfied(t)) {
                enter_last_flight(t);
                return IO_OK;
            }
            tls_note(t, -ERR_CERT, "the server's certificate was not checked");
            return fail(t, GNUTLS_E_CERTIFICATE_ERROR);
        }
        if (gnutls_error_is_fatal(code))
            return fail_gnutls(t, code);
        if (t->is_starved)
            return IO_WAIT;
    }
    tls_note(t, -ERR_TLS, "the peer's handshake does not come to an end");
    return fail(t, GNUTLS_E_UNEXPECTED_PACKET);
}

/* IO_OK: the kernel has our last flight. */
static enum io last_flight_step(struct tls *t)
{
    enum io io = tls_socket_flush(t);

    if (io == IO_OK)
        t->state = TLS_OPEN;
    return io == IO_FAIL ? fail(t, 0) : io;
}

enum io tls_handshake(struct tls *t)
{
    must(t->state != TLS_OPEN);
    for (unsigned fills = 0; t->state == TLS_HANDSHAKE; fills++) {
        enum io io = handshake_step(t), sent;

        if (io == IO_FAIL)
            return io;
        sent = tls_socket_flush(t);
        if (sent == IO_FAIL)
            return fail(t, 0);
        if (io == IO_OK)
            break;
        if (fills == FILLS_MAX)
            return IO_WAIT; /* the socket still has something: the loop comes back at once */
        io = tls_socket_fill(t);
        if (io == IO_FAIL)
            return fail(t, 0);
        if (io == IO_WAIT)
            return io;
    }
    return t->state == TLS_FAILED ? IO_FAIL : last_flight_step(t);
}

static bool may_read(const struct tls *t)
{
    return t->state == TLS_OPEN || t->state == TLS_DEAF;
}

unsigned tls_wants(const struct tls *t)
{
    unsigned wants = t->out.len > 0 ? LOOP_WRITE : 0;

    if (t->state == TLS_FAILED)
        return 0;
    if (t->state == TLS_HANDSHAKE || (may_read(t) && !t->is_eof))
        wants |= LOOP_READ;
    return wants;
}

/* --- records ----------------------------------------------------------------------------- */

/* GnuTLS has nothing to work on: asked all the same it would take a block of the heap, ask for
 * input and give the block back. */
static bool has_nothing(const struct tls *t)
{
    return t->in.len == 0 && t->source != SOURCE_EOF &&
           gnutls_record_check_pending(t->session) == 0;
}

/* One attempt to get a record out of GnuTLS.  IO_WAIT: not one is complete, or GnuTLS swallowed a
 * message (is_starved is false then). */
static enum io record_step(struct tls *t, const uint8_t **bytes, size_t *n)
{
    gnutls_datum_t plain;
    ssize_t code;

    t->is_starved = has_nothing(t);
    if (t->is_starved)
        return IO_WAIT;
    code = gnutls_record_recv_packet(t->session, &t->packet);
    if (code > 0) {
        t->quiet_bytes = 0;
        gnutls_packet_get(t->packet, &plain, NULL);
        *bytes = plain.data;
        *n = plain.size;
        return IO_OK;
    }
    packet_drop(t);
    if (code == 0) {
        t->is_eof = true;
        return IO_EOF;
    }
    if (code == GNUTLS_E_REHANDSHAKE) {
        tls_note(t, -ERR_TLS, "the peer asks for a renegotiation");
        return fail(t, (int)code);
    }
    return gnutls_error_is_fatal((int)code) ? fail_gnutls(t, (int)code) : IO_WAIT;
}

enum io tls_read(struct tls *t, const uint8_t **bytes, size_t *n)
{
    unsigned quiet = 0, fills = 0;

    *bytes = NULL;
    *n = 0;
    packet_drop(t);
    if (t->state == TLS_FAILED)
        return IO_FAIL;
    must(may_read(t));
    if (t->is_eof)
        return IO_EOF;
    while (quiet < QUIET_MAX) {
        enum io io = record_step(t, bytes, n);

        if (io != IO_WAIT)
            return io;
        if (!t->is_starved) {
            quiet++;
            continue;
        }
        io = fills++ < FILLS_MAX ? tls_socket_fill(t) : IO_WAIT;
        if (io == IO_FAIL)
            return fail(t, 0);
        if (io == IO_WAIT)
            return io;
    }
    tls_note(t, -ERR_TLS, "the peer sends messages without end and no data");
    return fail(t, GNUTLS_E_UNEXPECTED_PACKET);
}

bool tls_has_input(const struct tls *t)
{
    return t->state != TLS_FAILED && !t->is_eof &&
           (t->in.len > 0 || gnutls_record_check_pending(t->session) > 0);
}

enum io tls_write(struct tls *t, const void *bytes, size_t n)
{
    const uint8_t *from = bytes;

    must(n <= TLS_RECORD_BYTES);
    if (t->state == TLS_FAILED || t->state == TLS_DEAF)
        return IO_FAIL;
    must(t->state == TLS_OPEN && !t->is_bye);
    while (n > 0) { /* once, but for a peer that takes only smaller records */
        ssize_t sent = gnutls_record_send(t->session, from, n);

        if (sent < 0)
            return fail_gnutls(t, (int)sent);
        from += sent;
        n -= (size_t)sent;
    }
    return IO_OK;
}

enum io tls_flush(struct tls *t)
{
    enum io io;

    if (t->state == TLS_FAILED || t->state == TLS_DEAF)
        return IO_FAIL;
    io = tls_socket_flush(t);
    if (io == IO_FAIL && t->state == TLS_OPEN) {
        t->state = TLS_DEAF;
        bufq_clear(&t->out);
        return IO_FAIL;
    }
    return io == IO_FAIL ? fail(t, 0) : io;
}

size_t tls_out_len(const struct tls *t)
{
    return t->out.len;
}

void tls_bye(struct tls *t)
{
    int code;

    if (t->state != TLS_OPEN || t->is_bye)
        return;
    t->is_bye = true;
    code = gnutls_bye(t->session, GNUTLS_SHUT_WR);
    if (code < 0)
        (void)fail_gnutls(t, code);
}

/* --- what was agreed --------------------------------------------------------------------- */

int tls_exporter(const struct tls *t, uint8_t out[TLS_EXPORTER_BYTES])
{
    static const char label[] = "EXPORTER-Channel-Binding";

    must(t->state == TLS_OPEN || t->state == TLS_LAST_FLIGHT);
    /* RFC 9266 4.2: without an extended master secret TLS 1.2 gives no unique bytes. */
    if (gnutls_protocol_get_version(t->session) != GNUTLS_TLS1_3 &&
        !gnutls_session_ext_master_secret_status(t->session))
        return -ERR_TLS;
    return gnutls_prf_rfc5705(t->session, sizeof(label) - 1, label, 0, NULL, TLS_EXPORTER_BYTES,
                              (char *)out) == 0
               ? 0
               : -ERR_TLS;
}

const char *tls_alpn(const struct tls *t)
{
    return t->alpn;
}

const char *tls_sni(const struct tls *t)
{
    return t->name;
}

const char *tls_version(const struct tls *t)
{
    const char *name = gnutls_protocol_get_name(gnutls_protocol_get_version(t->session));

    return name ? name : "";
}

int tls_peer_times(const struct tls *t, int64_t *not_before, int64_t *not_after)
{
    unsigned count = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(t->session, &count);
    gnutls_x509_crt_t leaf;
    int err = -ERR_CERT;

    if (!chain || count == 0 || gnutls_x509_crt_init(&leaf) != 0)
        return -ERR_CERT;
    if (gnutls_x509_crt_import(leaf, &chain[0], GNUTLS_X509_FMT_DER) == 0) {
        *not_before = gnutls_x509_crt_get_activation_time(leaf);
        *not_after = gnutls_x509_crt_get_expiration_time(leaf);
        err = 0;
    }
    gnutls_x509_crt_deinit(leaf);
    return err;
}

const char *tls_cipher(const struct tls *t)
{
    const char *name = gnutls_cipher_get_name(gnutls_cipher_get(t->session));

    return name ? name : "";
}

bool tls_is_resumed(const struct tls *t)
{
    return t->is_resumed;
}

int tls_error(const struct tls *t)
{
    return t->error;
}

const char *tls_error_text(const struct tls *t)
{
    return t->error_text;
}
