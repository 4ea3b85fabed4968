/* certs - self-signed ECDSA P-256 certificates for h0.<suffix> to h<n-1>.<suffix>, as JSON lines
 * [chain, key]: thousands of routes want thousands of certificates, each its own.
 *
 *     certs COUNT SUFFIX
 */
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
    putchar('"');
    for (unsigned i = 0; i < pem->size; i++)
        if (pem->data[i] == '\n')
            fputs("\\n", stdout);
        else
            putchar(pem->data[i]);
    putchar('"');
}

static void make(long number, const char *suffix)
{
    unsigned char serial[4] = {1, (unsigned char)(number >> 16), (unsigned char)(number >> 8),
                               (unsigned char)number};
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t cert;
    gnutls_datum_t pem;
    char name[128];
    time_t now = time(NULL);
    int len = snprintf(name, sizeof(name), "h%ld.%s", number, suffix);

    check(gnutls_x509_privkey_init(&key));
    check(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                       GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
    check(gnutls_x509_crt_init(&cert));
    check(gnutls_x509_crt_set_version(cert, 3));
    check(gnutls_x509_crt_set_serial(cert, serial, sizeof(serial)));
    check(gnutls_x509_crt_set_activation_time(cert, now - 3600));
    check(gnutls_x509_crt_set_expiration_time(cert, now + 30 * 86400));
    check(gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, name, (unsigned)len));
    check(gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, name, (unsigned)len,
                                               GNUTLS_FSAN_SET));
    check(gnutls_x509_crt_set_key(cert, key));
    check(gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0));
    check(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &pem));
    putchar('[');
    print_pem(&pem);
    gnutls_free(pem.data);
    check(
        gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &pem));
    putchar(',');
    print_pem(&pem);
    puts("]");
    gnutls_free(pem.data);
    gnutls_x509_crt_deinit(cert);
    gnutls_x509_privkey_deinit(key);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: certs COUNT SUFFIX\n");
        return 2;
    }
    for (long i = 0; i < atol(argv[1]); i++)
        make(i, argv[2]);
    return 0;
}
