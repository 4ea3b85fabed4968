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

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHAIN_MAX     16u
#define PEM_BYTES_MAX (1u << 20)
#define RSA_BITS_MIN  1024u /* below, no TLS 1.3 signature fits */

struct chain {
    gnutls_x509_crt_t certs[CHAIN_MAX]; /* owned; the leaf is the first */
    unsigned count;
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
    gnutls_datum_t pem = {(unsigned char *)at, (unsigned)(end - at)};
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
    rc = gnutls_x509_crt_import(chain->certs[chain->count - 1], &pem, GNUTLS_X509_FMT_PEM);
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

static bool is_key_of(gnutls_x509_privkey_t key, gnutls_x509_crt_t cert)
{
    uint8_t of_key[32], of_cert[32];
    size_t key_len = sizeof(of_key), cert_len = sizeof(of_cert);

    return gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, of_key, &key_len) == 0 &&
           gnutls_x509_crt_get_key_id(cert, GNUTLS_KEYID_USE_SHA256, of_cert, &cert_len) == 0 &&
           key_len == cert_len && memcmp(of_key, of_cert, key_len) == 0;
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
    return 0;
}

/* Moves the leaf out of the chain and makes the credentials.  GnuTLS copies chain and key. */
static int cert_build(struct tls_cert *cert, struct chain *chain, gnutls_x509_privkey_t key,
                      char *why, size_t why_size)
{
    size_t pin_len = sizeof(cert->pin), print_len = sizeof(cert->fingerprint);
    int rc = gnutls_certificate_allocate_credentials(&cert->creds);

    if (rc < 0) {
        cert->creds = NULL;
        tls_say(why, why_size, "the certificate: %s", gnutls_strerror(rc));
        return -ERR_NOMEM;
    }
    rc = gnutls_certificate_set_x509_key(cert->creds, chain->certs, (int)chain->count, key);
    if (rc < 0) {
        tls_say(why, why_size, "chain and key are not usable together: %s", gnutls_strerror(rc));
        return rc == GNUTLS_E_CERTIFICATE_KEY_MISMATCH ? -ERR_CERT : -ERR_SYNTAX;
    }
    rc = gnutls_x509_crt_get_key_id(chain->certs[0], GNUTLS_KEYID_USE_SHA256, cert->pin, &pin_len);
    if (rc == 0)
        rc = gnutls_x509_crt_get_fingerprint(chain->certs[0], GNUTLS_DIG_SHA256, cert->fingerprint,
                                             &print_len);
    if (rc < 0) {
        tls_say(why, why_size, "the certificate: %s", gnutls_strerror(rc));
        return -ERR_SYNTAX;
    }
    cert->leaf = chain->certs[0];
    chain->certs[0] = chain->certs[--chain->count];
    return 0;
}

int tls_cert_parse(struct tls_cert **out, const char *chain_pem, const char *key_pem, char *why,
                   size_t why_size)
{
    struct chain chain = {.count = 0};
    struct tls_cert *cert = calloc(1, sizeof(*cert));
    gnutls_x509_privkey_t key = NULL;
    int rc = -ERR_NOMEM;

    *out = NULL;
    if (!cert || gnutls_x509_privkey_init(&key) < 0) {
        key = NULL;
        tls_say(why, why_size, "the certificate: %s", err_text(-ERR_NOMEM));
        goto out;
    }
    atomic_init(&cert->refs, 1);
    rc = chain_parse(&chain, chain_pem, why, why_size);
    if (rc == 0)
        rc = key_parse(key, key_pem, why, why_size);
    if (rc == 0)
        rc = key_check(key, &chain, why, why_size);
    if (rc == 0)
        rc = cert_build(cert, &chain, key, why, why_size);
out:
    if (key)
        gnutls_x509_privkey_deinit(key);
    chain_fini(&chain);
    if (rc == 0)
        *out = cert;
    else if (cert)
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
    if (cert->creds)
        gnutls_certificate_free_credentials(cert->creds);
    if (cert->leaf)
        gnutls_x509_crt_deinit(cert->leaf);
    free(cert);
}

void tls_cert_pin(const struct tls_cert *cert, uint8_t out[TLS_PIN_BYTES])
{
    memcpy(out, cert->pin, TLS_PIN_BYTES);
}

void tls_cert_fingerprint(const struct tls_cert *cert, uint8_t out[32])
{
    memcpy(out, cert->fingerprint, 32);
}

int64_t tls_cert_not_before(const struct tls_cert *cert)
{
    return (int64_t)gnutls_x509_crt_get_activation_time(cert->leaf);
}

int64_t tls_cert_not_after(const struct tls_cert *cert)
{
    return (int64_t)gnutls_x509_crt_get_expiration_time(cert->leaf);
}

bool tls_cert_covers(const struct tls_cert *cert, const char *host)
{
    return gnutls_x509_crt_check_hostname(cert->leaf, host) != 0;
}

void tls_cert_each_name(const struct tls_cert *cert, void (*on_name)(const char *name, void *arg),
                        void *arg)
{
    for (unsigned i = 0;; i++) {
        char name[TLS_SNI_MAX + 1];
        size_t n = sizeof(name);
        int type = gnutls_x509_crt_get_subject_alt_name(cert->leaf, i, name, &n, NULL);

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

/* Reads all of fd into text[0..size); the number of bytes, or -1 with errno. */
static ssize_t read_all(int fd, char *text, size_t size)
{
    size_t len = 0;

    while (len < size) {
        ssize_t n = read(fd, text + len, size - len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

/* A PEM file as a string on the heap, one byte longer than `*size` says. */
static int file_read(const char *path, char **out, size_t *size, char *why, size_t why_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = -ERR_IO;
    char *text = NULL;
    struct stat info;
    ssize_t n;

    if (fd < 0 || fstat(fd, &info) < 0) {
        tls_say(why, why_size, "%s: %s", path, strerror(errno));
        goto out;
    }
    if (!S_ISREG(info.st_mode) || info.st_size > (off_t)PEM_BYTES_MAX) {
        tls_say(why, why_size, "%s: not a file of at most %u bytes", path, PEM_BYTES_MAX);
        goto out;
    }
    *size = (size_t)info.st_size;
    text = must_alloc(*size + 1);
    n = read_all(fd, text, *size);
    if (n < 0) {
        tls_say(why, why_size, "%s: %s", path, strerror(errno));
        goto out;
    }
    text[n] = '\0';
    if (memchr(text, '\0', (size_t)n)) {
        tls_say(why, why_size, "%s: not a text in PEM form", path);
        rc = -ERR_SYNTAX;
        goto out;
    }
    *out = text;
    text = NULL;
    rc = 0;
out:
    if (text) {
        tls_wipe(text, *size);
        free(text);
    }
    if (fd >= 0)
        close(fd);
    return rc;
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
