/* tls_cert - a certificate chain with its key: parsed, checked against each other, ready for
 * sessions.
 *
 * Everything that can be wrong with two PEM texts is found here and said in a sentence, since the
 * people who read it sent thousands of routes in one update.  What is only unwise (expired, another
 * name) is no error: the getters tell, the caller warns.
 *
 * Once made, a cert is only read, by any thread; its count is atomic.
 */
#include "tls/tls_internal.h"
#include "tls/tls_key.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/regular_file.h"

#define CHAIN_MAX     16u
#define PEM_BYTES_MAX (1u << 20)
#define RSA_BITS_MIN  1024u /* below, no TLS 1.3 signature fits */

struct chain {
    gnutls_x509_crt_t certs[CHAIN_MAX]; /* owned; the leaf is the first */
    unsigned count;
    uint8_t print[32]; /* of the leaf */
};

void tls_say(char *why, size_t why_size, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(why, why_size, fmt, args);
    va_end(args);
}

static void chain_fini(struct chain *chain)
{
    for (unsigned i = 0; i < chain->count; i++)
        gnutls_x509_crt_deinit(chain->certs[i]);
    chain->count = 0;
}

static bool is_begin_of_cert(const char *at)
{
    static const char *const marks[] = {"-----BEGIN CERTIFICATE-----",
                                        "-----BEGIN X509 CERTIFICATE-----"};

    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        if (strncmp(at, marks[i], strlen(marks[i])) == 0)
            return true;
    return false;
}

/* Adds the PEM block [at, end) to the chain. */
static int chain_add(struct chain *chain, const char *at, const char *end, char *why,
                     size_t why_size)
{
    gnutls_datum_t pem = {(unsigned char *)at, (unsigned)(end - at)}, der = {NULL, 0};
    int rc;

    if (chain->count == CHAIN_MAX) {
        tls_say(why, why_size, "the chain has more than %u certificates", CHAIN_MAX);
        return -ERR_SYNTAX;
    }
    rc = gnutls_x509_crt_init(&chain->certs[chain->count]);
    if (rc < 0) {
        tls_say(why, why_size, "the chain: %s", gnutls_strerror(rc));
        return -ERR_NOMEM;
    }
    chain->count++;
    /* Decoded here, since the fingerprint is of these very bytes. */
    rc = gnutls_pem_base64_decode2(NULL, &pem, &der);
    if (rc == 0)
        rc = gnutls_x509_crt_import(chain->certs[chain->count - 1], &der, GNUTLS_X509_FMT_DER);
    if (rc == 0 && chain->count == 1)
        tls_sha256(der.data, der.size, chain->print);
    gnutls_free(der.data);
    if (rc < 0) {
        tls_say(why, why_size, "certificate %u of the chain is not well formed: %s", chain->count,
                gnutls_strerror(rc));
        return -ERR_SYNTAX;
    }
    return 0;
}

/* Block by block, so that an error names the certificate.  Other blocks (a key in the same file)
 * are passed over. */
static int chain_parse(struct chain *chain, const char *pem, char *why, size_t why_size)
{
    const char *at = pem;

    while ((at = strstr(at, "-----BEGIN "))) {
        const char *end = strstr(at, "-----END "), *close = end ? strstr(end + 9, "-----") : NULL;
        int rc = 0;

        if (!close) {
            tls_say(why, why_size, "the chain is cut off: a BEGIN line has no END line");
            return -ERR_SYNTAX;
        }
        close += strlen("-----");
        if (is_begin_of_cert(at))
            rc = chain_add(chain, at, close, why, why_size);
        if (rc != 0)
            return rc;
        at = close;
    }
    if (chain->count == 0) {
        tls_say(why, why_size, "the chain: %s",
                pem[0] == '\0'                    ? "it is empty"
                : strstr(pem, "PRIVATE KEY-----") ? "it holds a private key and no certificate"
                                                  : "there is no PEM block CERTIFICATE in it");
        return -ERR_SYNTAX;
    }
    return 0;
}

static int key_parse(gnutls_x509_privkey_t key, const char *pem, char *why, size_t why_size)
{
    gnutls_datum_t text = {(unsigned char *)pem, (unsigned)strlen(pem)};
    int rc;

    if (pem[0] == '\0') {
        tls_say(why, why_size, "the key: it is empty");
        return -ERR_SYNTAX;
    }
    if (!strstr(pem, "PRIVATE KEY-----")) {
        tls_say(why, why_size, "the key: there is no PEM block PRIVATE KEY in it");
        return -ERR_SYNTAX;
    }
    if (strstr(pem, "ENCRYPTED")) {
        tls_say(why, why_size, "the key: it is locked with a password, which is not supported");
        return -ERR_SYNTAX;
    }
    rc = gnutls_x509_privkey_import2(key, &text, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN);
    if (rc < 0) {
        tls_say(why, why_size, "the key is not well formed: %s", gnutls_strerror(rc));
        return -ERR_SYNTAX;
    }
    return 0;
}

static bool is_same_id(gnutls_x509_privkey_t key, gnutls_x509_crt_t cert)
{
    uint8_t of_key[32], of_cert[32];
    size_t key_len = sizeof(of_key), cert_len = sizeof(of_cert);

    return gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, of_key, &key_len) == 0 &&
           gnutls_x509_crt_get_key_id(cert, GNUTLS_KEYID_USE_SHA256, of_cert, &cert_len) == 0 &&
           key_len == cert_len && memcmp(of_key, of_cert, key_len) == 0;
}

static bool take_same(gnutls_datum_t *a, gnutls_datum_t *b)
{
    bool is_same = a->size == b->size && memcmp(a->data, b->data, a->size) == 0;

    gnutls_free(a->data);
    gnutls_free(b->data);
    return is_same;
}

/* A point is told from another by its two numbers: a tenth of what two hashes of two encodings
 * cost, and routes come by the thousand. */
static bool is_same_point(gnutls_x509_privkey_t key, gnutls_x509_crt_t cert)
{
    gnutls_datum_t x[2] = {{NULL, 0}, {NULL, 0}}, y[2] = {{NULL, 0}, {NULL, 0}};
    gnutls_ecc_curve_t curve[2];
    bool is_x, is_y;

    if (gnutls_x509_privkey_export_ecc_raw(key, &curve[0], &x[0], &y[0], NULL) < 0)
        return false;
    if (gnutls_x509_crt_get_pk_ecc_raw(cert, &curve[1], &x[1], &y[1]) < 0) {
        gnutls_free(x[0].data);
        gnutls_free(y[0].data);
        return false;
    }
    is_x = take_same(&x[0], &x[1]);
    is_y = take_same(&y[0], &y[1]);
    return curve[0] == curve[1] && is_x && is_y;
}

static bool is_key_of(gnutls_x509_privkey_t key, gnutls_x509_crt_t cert)
{
    int kind = gnutls_x509_privkey_get_pk_algorithm(key);

    if (kind != gnutls_x509_crt_get_pk_algorithm(cert, NULL))
        return false;
    return kind == GNUTLS_PK_ECDSA ? is_same_point(key, cert) : is_same_id(key, cert);
}

/* The key is the leaf's, and of a kind that our handshakes can use. */
static int key_check(gnutls_x509_privkey_t key, const struct chain *chain, char *why,
                     size_t why_size)
{
    unsigned bits = 0;
    int algorithm = gnutls_x509_crt_get_pk_algorithm(chain->certs[0], &bits);

    if (!is_key_of(key, chain->certs[0])) {
        for (unsigned i = 1; i < chain->count; i++) {
            if (!is_key_of(key, chain->certs[i]))
                continue;
            tls_say(why, why_size,
                    "the key belongs to certificate %u of the chain; that one must come first",
                    i + 1);
            return -ERR_CERT;
        }
        tls_say(why, why_size, "the key does not belong to the certificate");
        return -ERR_CERT;
    }
    if (algorithm != GNUTLS_PK_RSA && algorithm != GNUTLS_PK_RSA_PSS &&
        algorithm != GNUTLS_PK_ECDSA && algorithm != GNUTLS_PK_EDDSA_ED25519 &&
        algorithm != GNUTLS_PK_EDDSA_ED448) {
        tls_say(why, why_size, "the key is of a kind that TLS here cannot use: %s",
                gnutls_pk_algorithm_get_name((gnutls_pk_algorithm_t)algorithm));
        return -ERR_CERT;
    }
    if ((algorithm == GNUTLS_PK_RSA || algorithm == GNUTLS_PK_RSA_PSS) && bits < RSA_BITS_MIN) {
        tls_say(why, why_size, "the RSA key has %u bits; %u are the least", bits, RSA_BITS_MIN);
        return -ERR_CERT;
    }
    /* The public part of a key may be anything: GnuTLS's own test of a pair, a signature made and
     * verified, would find that too, but costs a third of a millisecond, with RSA two. */
    if (gnutls_x509_privkey_verify_params(key) < 0) {
        tls_say(why, why_size, "the key is not sound: its parts do not belong together");
        return -ERR_SYNTAX;
    }
    return 0;
}

/* Two keys of one kind would leave the choice to chance. */
static int kind_check(const struct tls_cert *cert, gnutls_x509_privkey_t key, char *why,
                      size_t why_size)
{
    int kind = gnutls_x509_privkey_get_pk_algorithm(key);

    for (unsigned i = 0; i < cert->count; i++) {
        if (gnutls_x509_crt_get_pk_algorithm(cert->leaves[i], NULL) != kind)
            continue;
        tls_say(why, why_size, "the key is of the same kind as another one: %s",
                tls_cert_key_kind(cert, i));
        return -ERR_CERT;
    }
    return 0;
}

static tls_key_maker make_key; /* NULL: GnuTLS signs with every key */

void tls_key_set_maker(tls_key_maker maker)
{
    make_key = maker;
}

/* The same with a key that somebody else signs with.  False: there is nobody for this one. */
static bool add_signed_elsewhere(struct tls_cert *cert, struct chain *chain,
                                 gnutls_x509_privkey_t key)
{
    gnutls_privkey_t signer = make_key ? make_key(key) : NULL;
    gnutls_pcert_st list[CHAIN_MAX];
    unsigned count = chain->count;

    if (!signer)
        return false;
    if (gnutls_pcert_import_x509_list(list, chain->certs, &count, 0) < 0) {
        gnutls_privkey_deinit(signer);
        return false;
    }
    if (gnutls_certificate_set_key(cert->creds, NULL, 0, list, (int)count, signer) >= 0)
        return true; /* list and key are the credentials' now */
    for (unsigned i = 0; i < count; i++)
        gnutls_pcert_deinit(&list[i]);
    gnutls_privkey_deinit(signer);
    return false;
}

/* Moves the leaf out of the chain and adds to the credentials.  GnuTLS copies chain and key. */
static int cert_build(struct tls_cert *cert, struct chain *chain, gnutls_x509_privkey_t key,
                      char *why, size_t why_size)
{
    int rc = 0;

    if (!add_signed_elsewhere(cert, chain, key))
        rc = gnutls_certificate_set_x509_key(cert->creds, chain->certs, (int)chain->count, key);
    if (rc < 0) {
        tls_say(why, why_size, "chain and key are not usable together: %s", gnutls_strerror(rc));
        return rc == GNUTLS_E_CERTIFICATE_KEY_MISMATCH ? -ERR_CERT : -ERR_SYNTAX;
    }
    memcpy(cert->prints[cert->count], chain->print, sizeof(chain->print));
    cert->not_before[cert->count] = gnutls_x509_crt_get_activation_time(chain->certs[0]);
    cert->not_after[cert->count] = gnutls_x509_crt_get_expiration_time(chain->certs[0]);
    cert->leaves[cert->count++] = chain->certs[0];
    chain->certs[0] = chain->certs[--chain->count];
    return 0;
}

int tls_cert_add(struct tls_cert *cert, const char *chain_pem, const char *key_pem, char *why,
                 size_t why_size)
{
    struct chain chain = {.count = 0};
    gnutls_x509_privkey_t key = NULL;
    int rc;

    must(cert->count < TLS_CERT_PAIRS_MAX);
    if (gnutls_x509_privkey_init(&key) < 0) {
        tls_say(why, why_size, "the certificate: %s", err_text(-ERR_NOMEM));
        return -ERR_NOMEM;
    }
    rc = chain_parse(&chain, chain_pem, why, why_size);
    if (rc == 0)
        rc = key_parse(key, key_pem, why, why_size);
    if (rc == 0)
        rc = key_check(key, &chain, why, why_size);
    if (rc == 0)
        rc = kind_check(cert, key, why, why_size);
    if (rc == 0)
        rc = cert_build(cert, &chain, key, why, why_size);
    gnutls_x509_privkey_deinit(key);
    chain_fini(&chain);
    return rc;
}

int tls_cert_parse(struct tls_cert **out, const char *chain_pem, const char *key_pem, char *why,
                   size_t why_size)
{
    struct tls_cert *cert = calloc(1, sizeof(*cert));
    int rc;

    *out = NULL;
    if (!cert || gnutls_certificate_allocate_credentials(&cert->creds) < 0) {
        free(cert);
        tls_say(why, why_size, "the certificate: %s", err_text(-ERR_NOMEM));
        return -ERR_NOMEM;
    }
    gnutls_certificate_set_flags(cert->creds, GNUTLS_CERTIFICATE_SKIP_KEY_CERT_MATCH);
    atomic_init(&cert->refs, 1);
    rc = tls_cert_add(cert, chain_pem, key_pem, why, why_size);
    if (rc == 0)
        *out = cert;
    else
        tls_cert_unref(cert);
    return rc;
}

struct tls_cert *tls_cert_ref(struct tls_cert *cert)
{
    must(atomic_fetch_add_explicit(&cert->refs, 1, memory_order_relaxed) > 0);
    return cert;
}

void tls_cert_unref(struct tls_cert *cert)
{
    if (!cert || atomic_fetch_sub_explicit(&cert->refs, 1, memory_order_acq_rel) > 1)
        return;
    gnutls_certificate_free_credentials(cert->creds);
    for (unsigned i = 0; i < cert->count; i++)
        gnutls_x509_crt_deinit(cert->leaves[i]);
    free(cert);
}

unsigned tls_cert_count(const struct tls_cert *cert)
{
    return cert->count;
}

static gnutls_x509_crt_t leaf(const struct tls_cert *cert, unsigned i)
{
    must(i < cert->count);
    return cert->leaves[i];
}

const char *tls_cert_key_kind(const struct tls_cert *cert, unsigned i)
{
    int kind = gnutls_x509_crt_get_pk_algorithm(leaf(cert, i), NULL);

    return kind == GNUTLS_PK_ECDSA ? "ECDSA"
                                   : gnutls_pk_algorithm_get_name((gnutls_pk_algorithm_t)kind);
}

void tls_cert_pin(const struct tls_cert *cert, uint8_t out[TLS_PIN_BYTES])
{
    size_t n = TLS_PIN_BYTES;

    must(gnutls_x509_crt_get_key_id(leaf(cert, 0), GNUTLS_KEYID_USE_SHA256, out, &n) == 0);
}

void tls_cert_fingerprint(const struct tls_cert *cert, unsigned i, uint8_t out[32])
{
    must(i < cert->count);
    memcpy(out, cert->prints[i], 32);
}

int64_t tls_cert_not_before(const struct tls_cert *cert, unsigned i)
{
    must(i < cert->count);
    return cert->not_before[i];
}

int64_t tls_cert_not_after(const struct tls_cert *cert, unsigned i)
{
    must(i < cert->count);
    return cert->not_after[i];
}

bool tls_cert_covers(const struct tls_cert *cert, unsigned i, const char *host)
{
    return gnutls_x509_crt_check_hostname(leaf(cert, i), host) != 0;
}

void tls_cert_each_name(const struct tls_cert *cert, unsigned part,
                        void (*on_name)(const char *name, void *arg), void *arg)
{
    for (unsigned i = 0;; i++) {
        char name[TLS_SNI_MAX + 1];
        size_t n = sizeof(name);
        int type = gnutls_x509_crt_get_subject_alt_name(leaf(cert, part), i, name, &n, NULL);

        if (type == GNUTLS_E_SHORT_MEMORY_BUFFER) /* longer than any host's name */
            continue;
        if (type < 0)
            return;
        if (type == GNUTLS_SAN_DNSNAME && n < sizeof(name) && !memchr(name, '\0', n)) {
            name[n] = '\0';
            on_name(name, arg);
        }
    }
}

/* --- files ------------------------------------------------------------------------------- */

/* A PEM file as a string on the heap, one byte longer than `*size` says. */
static int file_read(const char *path, char **out, size_t *size, char *why, size_t why_size)
{
    const char *fault;

    if (regular_file_read(path, PEM_BYTES_MAX, out, size, &fault) != 0) {
        tls_say(why, why_size, "%s: %s", path, fault);
        return -ERR_IO;
    }
    if (!memchr(*out, '\0', *size))
        return 0;
    tls_say(why, why_size, "%s: not a text in PEM form", path);
    tls_wipe(*out, *size);
    free(*out);
    *out = NULL;
    return -ERR_SYNTAX;
}

int tls_cert_load(struct tls_cert **out, const char *chain_file, const char *key_file, char *why,
                  size_t why_size)
{
    char *chain = NULL, *key = NULL, reason[160] = "";
    size_t chain_size = 0, key_size = 0;
    int rc = file_read(chain_file, &chain, &chain_size, why, why_size);

    *out = NULL;
    if (rc == 0)
        rc = file_read(key_file, &key, &key_size, why, why_size);
    if (rc == 0) {
        rc = tls_cert_parse(out, chain, key, reason, sizeof(reason));
        if (rc != 0)
            tls_say(why, why_size, "%s and %s: %s", chain_file, key_file, reason);
    }
    if (key) {
        tls_wipe(key, key_size);
        free(key);
    }
    free(chain);
    return rc;
}
