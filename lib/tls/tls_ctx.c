/* tls_ctx - what the connections of one listener or dialler have in common, and the two questions
 * that GnuTLS asks while a handshake runs: which certificate for this name (server), and is this
 * certificate the right one (client).
 *
 * Both are answered inside GnuTLS's callbacks, since only there an alert can tell the peer why.
 * They record in the connection and never call back into the handshake.
 */
#include "tls/tls_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/regular_file.h"

/* Explicit lists from nothing, so that no GnuTLS release or system policy adds to them.  The
 * server's order rules: AES-128-GCM is ten times faster than ChaCha20 here.  No SHA-1 signature, no
 * RSA key exchange, no CBC.  PROFILE_MEDIUM: chains of 112 bits of security and more. */
#define AEADS "+AEAD:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:"
#define SIGNS "+SIGN-ALL:-SIGN-RSA-SHA1:-SIGN-ECDSA-SHA1:"
#define RULES "+CTYPE-X509:%SERVER_PRECEDENCE:%PROFILE_MEDIUM"

#define ONLY_13 "NONE:+VERS-TLS1.3:" AEADS "+GROUP-X25519:+GROUP-SECP256R1:" SIGNS RULES

enum { PRIORITY_QUIC = TLS_12_AND_13 + 1 }; /* TLS_ONLY_13, without what middleboxes want to see */

static const char *const priority_texts[] = {
    [TLS_ONLY_13] = ONLY_13,
    [TLS_12_AND_13] = "NONE:+VERS-TLS1.3:+VERS-TLS1.2:+ECDHE-ECDSA:+ECDHE-RSA:" AEADS
                      "+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:" SIGNS RULES,
    [PRIORITY_QUIC] = ONLY_13 ":%DISABLE_TLS13_COMPAT_MODE", /* RFC 9001, 8.4 */
};
static gnutls_priority_t priorities[ARRAY_LEN(priority_texts)];
static pthread_once_t priorities_once = PTHREAD_ONCE_INIT;

static void priorities_compile(void)
{
    for (size_t i = 0; i < ARRAY_LEN(priority_texts); i++)
        if (gnutls_priority_init(&priorities[i], priority_texts[i], NULL) < 0)
            priorities[i] = NULL;
}

/* A context with the role, the versions and the protocols set; or NULL: GnuTLS refuses our list. */
static struct tls_ctx *ctx_new(gnutls_init_flags_t role, enum tls_versions versions,
                               const char *const *alpn)
{
    struct tls_ctx *ctx;

    must(versions == TLS_ONLY_13 || versions == TLS_12_AND_13);
    pthread_once(&priorities_once, priorities_compile);
    if (!priorities[versions] || !priorities[PRIORITY_QUIC])
        return NULL;
    ctx = must_alloc(sizeof(*ctx));
    memset(ctx, 0, sizeof(*ctx));
    atomic_init(&ctx->refs, 1);
    ctx->role = role;
    ctx->priority = priorities[versions];
    ctx->quic_priority = priorities[PRIORITY_QUIC];
    ctx->is_only_13 = versions == TLS_ONLY_13;
    for (; alpn && alpn[ctx->alpn_count]; ctx->alpn_count++) {
        size_t n = strlen(alpn[ctx->alpn_count]);

        must(ctx->alpn_count < TLS_ALPN_MAX);
        must(n > 0 && n <= TLS_ALPN_NAME_MAX);
        memcpy(ctx->alpn[ctx->alpn_count], alpn[ctx->alpn_count], n);
    }
    return ctx;
}

int tls_ctx_new_server(struct tls_ctx **out, const struct tls_server_options *options)
{
    struct tls_ctx *ctx = ctx_new(GNUTLS_SERVER, options->versions, options->alpn);

    must(!options->cert != !options->select);
    *out = ctx;
    if (!ctx)
        return -ERR_TLS;
    ctx->cert = options->cert ? tls_cert_ref(options->cert) : NULL;
    ctx->select = options->select;
    must(!options->tickets || options->select);
    ctx->tickets = options->tickets;
    return 0;
}

/* --- the client's view of the server's certificate --------------------------------------- */

static int check_pin(struct tls *t, const gnutls_datum_t *leaf)
{
    uint8_t pin[TLS_PIN_BYTES];
    size_t n = sizeof(pin);
    gnutls_x509_crt_t cert;
    int rc = gnutls_x509_crt_init(&cert);

    if (rc == 0) {
        rc = gnutls_x509_crt_import(cert, leaf, GNUTLS_X509_FMT_DER);
        if (rc == 0)
            rc = gnutls_x509_crt_get_key_id(cert, GNUTLS_KEYID_USE_SHA256, pin, &n);
        gnutls_x509_crt_deinit(cert);
    }
    if (rc < 0) {
        tls_note(t, -ERR_CERT, "the server's certificate: %s", gnutls_strerror(rc));
        return -ERR_CERT;
    }
    if (!tls_is_equal(pin, t->ctx->pin, sizeof(pin))) {
        tls_note(t, -ERR_CERT, "the server's certificate is not the pinned one");
        return -ERR_CERT;
    }
    return 0;
}

/* Chain, dates, purpose, and the name that was dialled. */
static int check_chain(struct tls *t)
{
    uint8_t address[16];
    size_t address_len = tls_name_address(t->name, address);
    gnutls_typed_vdata_st wanted[] = {
        {GNUTLS_DT_KEY_PURPOSE_OID, (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_SERVER, 0},
        {address_len ? GNUTLS_DT_IP_ADDRESS : GNUTLS_DT_DNS_HOSTNAME,
         address_len ? address : (unsigned char *)t->name, (unsigned)address_len},
    };
    gnutls_datum_t text = {NULL, 0};
    unsigned status = 0;
    int rc;

    if (t->name[0] == '\0') {
        tls_note(t, -ERR_CERT, "there is no name to check the server's certificate against");
        return -ERR_CERT;
    }
    rc = gnutls_certificate_verify_peers(t->session, wanted, ARRAY_LEN(wanted), &status);
    if (rc < 0) {
        tls_note(t, -ERR_CERT, "the server's certificate: %s", gnutls_strerror(rc));
        return -ERR_CERT;
    }
    if (status == 0)
        return 0;
    if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) == 0)
        tls_note(t, -ERR_CERT, "%s", (const char *)text.data);
    gnutls_free(text.data);
    tls_note(t, -ERR_CERT, "the server's certificate is not trusted");
    return -ERR_CERT;
}

static int on_server_cert(gnutls_session_t session)
{
    struct tls *t = tls_of(session);
    unsigned count = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);

    if (!chain || count == 0) {
        tls_note(t, -ERR_CERT, "the server sent no certificate");
        return GNUTLS_E_CERTIFICATE_ERROR;
    }
    if ((t->ctx->has_pin && check_pin(t, &chain[0]) != 0) ||
        (t->ctx->has_ca && check_chain(t) != 0))
        return GNUTLS_E_CERTIFICATE_ERROR;
    t->is_checked = true;
    return 0;
}

bool tls_ctx_is_satisfied(const struct tls *t)
{
    return t->is_checked || (!t->ctx->has_pin && !t->ctx->has_ca);
}

static int tell_trust(int count, const char *where, char *why, size_t why_size)
{
    if (count > 0)
        return 0;
    tls_say(why, why_size, "%s: %s", where,
            count < 0 ? gnutls_strerror(count) : "no certificate in it");
    return -ERR_SYNTAX;
}

static int trust_pem(struct tls_ctx *ctx, const char *file, const char *pem, size_t n, char *why,
                     size_t why_size)
{
    gnutls_datum_t text = {(unsigned char *)(uintptr_t)pem, (unsigned)n};

    must(n <= TLS_CA_BYTES_MAX);
    return tell_trust(gnutls_certificate_set_x509_trust_mem(ctx->creds, &text, GNUTLS_X509_FMT_PEM),
                      file, why, why_size);
}

static int trust_file(struct tls_ctx *ctx, const char *file, char *why, size_t why_size)
{
    const char *fault;
    char *pem;
    size_t n;
    int rc;

    if (regular_file_read(file, TLS_CA_BYTES_MAX, &pem, &n, &fault) != 0) {
        tls_say(why, why_size, "%s: %s", file, fault);
        return -ERR_IO;
    }
    rc = trust_pem(ctx, file, pem, n, why, why_size);
    free(pem);
    return rc;
}

/* Loads the CAs that the options name. */
static int load_trust(struct tls_ctx *ctx, const struct tls_client_options *options, char *why,
                      size_t why_size)
{
    if (options->ca_pem)
        return trust_pem(ctx, options->ca_file, options->ca_pem, options->ca_pem_len, why,
                         why_size);
    if (options->ca_file)
        return trust_file(ctx, options->ca_file, why, why_size);
    return tell_trust(gnutls_certificate_set_x509_system_trust(ctx->creds),
                      "the system's CA certificates", why, why_size) != 0
               ? -ERR_IO
               : 0;
}

int tls_ctx_new_client(struct tls_ctx **out, const struct tls_client_options *options, char *why,
                       size_t why_size)
{
    struct tls_ctx *ctx = ctx_new(GNUTLS_CLIENT, options->versions, options->alpn);
    int rc;

    must(!options->ca_file || !options->use_system_ca);
    must(options->ca_file || !options->ca_pem);
    *out = NULL;
    if (!ctx || gnutls_certificate_allocate_credentials(&ctx->creds) < 0) {
        tls_say(why, why_size, "GnuTLS does not work here as this program needs it");
        if (ctx)
            ctx->creds = NULL;
        tls_ctx_unref(ctx);
        return -ERR_TLS;
    }
    ctx->has_ca = options->ca_file || options->use_system_ca;
    ctx->has_pin = options->pin != NULL;
    if (ctx->has_pin)
        memcpy(ctx->pin, options->pin, sizeof(ctx->pin));
    if (ctx->has_pin || ctx->has_ca)
        gnutls_certificate_set_verify_function(ctx->creds, on_server_cert);
    if (ctx->has_ca && (rc = load_trust(ctx, options, why, why_size)) != 0) {
        tls_ctx_unref(ctx);
        return rc;
    }
    *out = ctx;
    return 0;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx)
{
    must(atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed) > 0);
    return ctx;
}

void tls_ctx_unref(struct tls_ctx *ctx)
{
    if (!ctx || atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) > 1)
        return;
    tls_cert_unref(ctx->cert);
    if (ctx->creds)
        gnutls_certificate_free_credentials(ctx->creds);
    free(ctx);
}

/* --- the server's choice ----------------------------------------------------------------- */

/* Reads and normalises the client's server name into t->name.  0; -ERR_NOT_FOUND: it sent none;
 * -ERR_SYNTAX: not a host name. */
static int read_sni(const struct tls *t, char out[TLS_SNI_MAX + 1])
{
    char sent[TLS_SNI_MAX + 3]; /* with a dot at the end and GnuTLS's zero */
    size_t n = sizeof(sent);
    unsigned type = 0;
    int rc = gnutls_server_name_get(t->session, sent, &n, &type, 0);

    out[0] = '\0';
    if (rc == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
        return -ERR_NOT_FOUND;
    if (rc < 0 || type != GNUTLS_NAME_DNS)
        return -ERR_SYNTAX;
    return tls_name_normalise(out, sent, n);
}

static int set_tickets(struct tls *t)
{
    const struct tls_tickets *tickets = t->ctx->tickets ? t->ctx->tickets(t->select_arg) : NULL;

    return tickets ? tls_tickets_enable(t, tickets) : 0;
}

/* After a HelloRetryRequest it comes a second time; a client must not change its mind then. */
static int on_client_hello(gnutls_session_t session)
{
    struct tls *t = tls_of(session);
    char name[TLS_SNI_MAX + 1];
    int rc = read_sni(t, name);

    if (!t->ctx->select) { /* one certificate for all: the name is only told */
        memcpy(t->name, name, sizeof(name));
        return 0;
    }
    if (rc == -ERR_SYNTAX) {
        tls_note(t, -ERR_DENIED, "the client asks for something that is not a host name");
        return GNUTLS_E_UNRECOGNIZED_NAME;
    }
    if (t->cert) {
        if (strcmp(name, t->name) == 0)
            return 0;
        tls_note(t, -ERR_DENIED, "the client changed the name it asks for");
        return GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER;
    }
    memcpy(t->name, name, sizeof(name));
    t->cert = t->ctx->select(t->select_arg, rc == 0 ? name : NULL);
    if (!t->cert) {
        if (rc == 0)
            tls_note(t, -ERR_DENIED, "there is no certificate for %s", name);
        else
            tls_note(t, -ERR_DENIED, "the client names no host");
        return GNUTLS_E_UNRECOGNIZED_NAME;
    }
    tls_cert_ref(t->cert);
    rc = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, t->cert->creds);
    return rc == 0 ? set_tickets(t) : rc;
}

static int setup_server(struct tls *t)
{
    gnutls_handshake_set_post_client_hello_function(t->session, on_client_hello);
    if (t->ctx->tickets)
        tls_tickets_setup(t);
    if (!t->ctx->cert)
        return 0;
    t->cert = tls_cert_ref(t->ctx->cert);
    return gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, t->cert->creds);
}

static int setup_client(struct tls *t)
{
    uint8_t address[16];
    int rc = gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, t->ctx->creds);

    if (rc < 0 || t->name[0] == '\0' || tls_name_address(t->name, address) > 0)
        return rc;
    return gnutls_server_name_set(t->session, GNUTLS_NAME_DNS, t->name, strlen(t->name));
}

int tls_ctx_setup(struct tls *t)
{
    struct tls_ctx *ctx = t->ctx;
    gnutls_datum_t alpn[TLS_ALPN_MAX];
    int rc = gnutls_priority_set(t->session, t->is_quic ? ctx->quic_priority : ctx->priority);
    unsigned alpn_rules = GNUTLS_ALPN_SERVER_PRECEDENCE | (t->is_quic ? GNUTLS_ALPN_MANDATORY : 0u);

    for (unsigned i = 0; i < ctx->alpn_count; i++)
        alpn[i] = (gnutls_datum_t){(unsigned char *)ctx->alpn[i], (unsigned)strlen(ctx->alpn[i])};
    if (rc == 0 && ctx->alpn_count > 0)
        rc = gnutls_alpn_set_protocols(t->session, alpn, ctx->alpn_count, alpn_rules);
    if (rc == 0)
        rc = ctx->role == GNUTLS_SERVER ? setup_server(t) : setup_client(t);
    if (rc == 0)
        return 0;
    return rc == GNUTLS_E_MEMORY_ERROR ? -ERR_NOMEM : -ERR_TLS;
}
