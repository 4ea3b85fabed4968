/* certs - ECDSA P-256 certificates for h0.<suffix> to h<n-1>.<suffix>, as JSON lines [chain, key]:
 * thousands of routes want thousands of certificates, each its own.
 *
 *     certs COUNT SUFFIX             self-signed
 *     certs COUNT SUFFIX chains      leaf and intermediate, as long as a public authority's: the
 * leaf carries as many bytes as two signed timestamps (RFC 6962), the intermediate is signed by an
 * RSA-4096 root
 *
 * The intermediate is the same for all, as an authority's is.
 */
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROOT_BITS       4096
#define TIMESTAMPS_SIZE 244
#define TIMESTAMPS_OID  "2.999.1" /* of the arc for examples: they are none */

struct issuer {
    gnutls_x509_crt_t cert;
    gnutls_x509_privkey_t key;
};

static void check(int rc)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "certs: %s\n", gnutls_strerror(rc));
    exit(1);
}

/* PEM has nothing to escape but its line feeds. */
static void print_pem(const gnutls_datum_t *pem)
{
    for (unsigned i = 0; i < pem->size; i++)
        if (pem->data[i] == '\n')
            fputs("\\n", stdout);
        else
            putchar(pem->data[i]);
}

static void print_cert(gnutls_x509_crt_t cert)
{
    gnutls_datum_t pem;

    check(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &pem));
    print_pem(&pem);
    gnutls_free(pem.data);
}

static void print_key(gnutls_x509_privkey_t key)
{
    gnutls_datum_t pem;

    check(
        gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &pem));
    print_pem(&pem);
    gnutls_free(pem.data);
}

/* A new key and a certificate for it, all but what distinguishes a leaf from an authority. */
static struct issuer begin(const char *name, long number, gnutls_pk_algorithm_t algorithm,
                           unsigned bits)
{
    unsigned char serial[4] = {1, (unsigned char)(number >> 16), (unsigned char)(number >> 8),
                               (unsigned char)number};
    time_t now = time(NULL);
    struct issuer made;

    check(gnutls_x509_privkey_init(&made.key));
    check(gnutls_x509_privkey_generate(made.key, algorithm, bits, 0));
    check(gnutls_x509_crt_init(&made.cert));
    check(gnutls_x509_crt_set_version(made.cert, 3));
    check(gnutls_x509_crt_set_serial(made.cert, serial, sizeof(serial)));
    check(gnutls_x509_crt_set_activation_time(made.cert, now - 3600));
    check(gnutls_x509_crt_set_expiration_time(made.cert, now + 30 * 86400));
    check(gnutls_x509_crt_set_dn_by_oid(made.cert, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                        (unsigned)strlen(name)));
    check(gnutls_x509_crt_set_key(made.cert, made.key));
    return made;
}

static void end(struct issuer *made)
{
    gnutls_x509_crt_deinit(made->cert);
    gnutls_x509_privkey_deinit(made->key);
}

static void set_key_ids(gnutls_x509_crt_t cert, gnutls_x509_crt_t by)
{
    unsigned char id[64];
    size_t size = sizeof(id);

    check(gnutls_x509_crt_get_key_id(cert, 0, id, &size));
    check(gnutls_x509_crt_set_subject_key_id(cert, id, size));
    size = sizeof(id);
    check(gnutls_x509_crt_get_key_id(by, 0, id, &size));
    check(gnutls_x509_crt_set_authority_key_id(cert, id, size));
}

static struct issuer make_intermediate(void)
{
    struct issuer root = begin("Root", 1, GNUTLS_PK_RSA, ROOT_BITS);
    struct issuer made =
        begin("Intermediate", 2, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1));

    check(gnutls_x509_crt_set_basic_constraints(made.cert, 1, 0));
    check(gnutls_x509_crt_set_key_usage(made.cert, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN));
    set_key_ids(made.cert, root.cert);
    check(gnutls_x509_crt_sign2(made.cert, root.cert, root.key, GNUTLS_DIG_SHA256, 0));
    end(&root);
    return made;
}

static void set_leaf(gnutls_x509_crt_t cert, const struct issuer *by)
{
    static const unsigned char timestamps[TIMESTAMPS_SIZE] = {4, 129,
                                                              TIMESTAMPS_SIZE - 3}; /* DER */

    check(gnutls_x509_crt_set_basic_constraints(cert, 0, -1));
    check(gnutls_x509_crt_set_key_usage(cert, GNUTLS_KEY_DIGITAL_SIGNATURE));
    check(gnutls_x509_crt_set_key_purpose_oid(cert, GNUTLS_KP_TLS_WWW_SERVER, 0));
    check(gnutls_x509_crt_set_extension_by_oid(cert, TIMESTAMPS_OID, timestamps, sizeof(timestamps),
                                               0));
    set_key_ids(cert, by->cert);
}

/* By NULL: by itself. */
static void make(long number, const char *suffix, const struct issuer *by)
{
    char name[128];
    int len = snprintf(name, sizeof(name), "h%ld.%s", number, suffix);
    struct issuer made =
        begin(name, number, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1));
    const struct issuer *signer = by ? by : &made;

    check(gnutls_x509_crt_set_subject_alt_name(made.cert, GNUTLS_SAN_DNSNAME, name, (unsigned)len,
                                               GNUTLS_FSAN_SET));
    if (by)
        set_leaf(made.cert, by);
    check(gnutls_x509_crt_sign2(made.cert, signer->cert, signer->key, GNUTLS_DIG_SHA256, 0));
    fputs("[\"", stdout);
    print_cert(made.cert);
    if (by)
        print_cert(by->cert);
    fputs("\",\"", stdout);
    print_key(made.key);
    puts("\"]");
    end(&made);
}

int main(int argc, char **argv)
{
    bool has_chains = argc == 4 && strcmp(argv[3], "chains") == 0;
    struct issuer intermediate;

    if (argc != 3 && !has_chains) {
        fprintf(stderr, "usage: certs COUNT SUFFIX [chains]\n");
        return 2;
    }
    if (has_chains)
        intermediate = make_intermediate();
    for (long i = 0; i < atol(argv[1]); i++)
        make(i, argv[2], has_chains ? &intermediate : NULL);
    if (has_chains)
        end(&intermediate);
    return 0;
}
