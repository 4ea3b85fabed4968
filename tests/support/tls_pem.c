/* tls_pem - see tls_pem.h. */
#include "support/tls_pem.h"

#include <arpa/inet.h>
#include <check.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"

#define FILES_MAX 32

static char *files[FILES_MAX]; /* owned: to be removed */
static size_t file_count;

static void remove_files(void)
{
    while (file_count > 0) {
        unlink(files[--file_count]);
        free(files[file_count]);
    }
}

char *tls_pem_file(const char *text)
{
    char *path = must_strdup("/tmp/penstock-test-XXXXXX");
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    ck_assert_uint_lt(file_count, FILES_MAX);
    if (file_count == 0)
        atexit(remove_files);
    files[file_count++] = must_strdup(path);
    return path;
}

static char *text_of(gnutls_datum_t *datum)
{
    char *text = must_printf("%.*s", (int)datum->size, (const char *)datum->data);

    gnutls_free(datum->data);
    return text;
}

static void set_names(gnutls_x509_crt_t cert, const struct tls_pem_options *o)
{
    unsigned char address[16];
    unsigned len = inet_pton(AF_INET, o->name, address) == 1    ? 4
                   : inet_pton(AF_INET6, o->name, address) == 1 ? 16
                                                                : 0;

    ck_assert_int_eq(gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, o->name,
                                                   (unsigned)strlen(o->name)),
                     0);
    if (o->is_ca)
        return;
    if (len > 0)
        gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS, address, len,
                                             GNUTLS_FSAN_SET);
    else
        gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, o->name,
                                             (unsigned)strlen(o->name), GNUTLS_FSAN_SET);
    if (o->more)
        gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, o->more,
                                             (unsigned)strlen(o->more), GNUTLS_FSAN_APPEND);
}

static void set_rest(gnutls_x509_crt_t cert, const struct tls_pem_options *o)
{
    static unsigned char serial[8] = {0x40};
    time_t now = time(NULL), day = 24 * 3600;

    serial[7]++;
    gnutls_x509_crt_set_version(cert, 3);
    gnutls_x509_crt_set_serial(cert, serial, sizeof(serial));
    gnutls_x509_crt_set_activation_time(cert, now - 2 * day);
    gnutls_x509_crt_set_expiration_time(cert, o->is_expired ? now - day : now + day);
    gnutls_x509_crt_set_basic_constraints(cert, o->is_ca, -1);
    gnutls_x509_crt_set_key_usage(cert, o->is_ca ? GNUTLS_KEY_KEY_CERT_SIGN
                                                 : GNUTLS_KEY_DIGITAL_SIGNATURE);
    if (!o->is_ca)
        gnutls_x509_crt_set_key_purpose_oid(
            cert, o->is_client_only ? GNUTLS_KP_TLS_WWW_CLIENT : GNUTLS_KP_TLS_WWW_SERVER, 0);
}

static void sign(gnutls_x509_crt_t cert, gnutls_x509_privkey_t key, const struct tls_pem *issuer)
{
    gnutls_x509_crt_t by = cert;
    gnutls_x509_privkey_t by_key = key;

    if (issuer) {
        gnutls_datum_t chain = {(unsigned char *)issuer->chain, (unsigned)strlen(issuer->chain)};
        gnutls_datum_t secret = {(unsigned char *)issuer->key, (unsigned)strlen(issuer->key)};

        gnutls_x509_crt_init(&by);
        gnutls_x509_privkey_init(&by_key);
        ck_assert_int_eq(gnutls_x509_crt_import(by, &chain, GNUTLS_X509_FMT_PEM), 0);
        ck_assert_int_eq(gnutls_x509_privkey_import(by_key, &secret, GNUTLS_X509_FMT_PEM), 0);
    }
    ck_assert_int_eq(gnutls_x509_crt_sign2(cert, by, by_key, GNUTLS_DIG_SHA256, 0), 0);
    if (issuer) {
        gnutls_x509_crt_deinit(by);
        gnutls_x509_privkey_deinit(by_key);
    }
}

void tls_pem_make(struct tls_pem *out, const struct tls_pem_options *o)
{
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t cert;
    gnutls_datum_t text;
    unsigned bits = o->rsa_bits ? o->rsa_bits : GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1);

    gnutls_x509_privkey_init(&key);
    gnutls_x509_crt_init(&cert);
    ck_assert_int_eq(
        gnutls_x509_privkey_generate(key, o->rsa_bits ? GNUTLS_PK_RSA : GNUTLS_PK_ECDSA, bits, 0),
        0);
    gnutls_x509_crt_set_key(cert, key);
    set_names(cert, o);
    set_rest(cert, o);
    sign(cert, key, o->issuer);
    ck_assert_int_eq(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &text), 0);
    out->chain = text_of(&text);
    if (o->with_issuer) {
        char *leaf = out->chain;

        out->chain = must_printf("%s%s", leaf, o->issuer->chain);
        free(leaf);
    }
    ck_assert_int_eq(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &text), 0);
    out->key = text_of(&text);
    gnutls_x509_crt_deinit(cert);
    gnutls_x509_privkey_deinit(key);
}

void tls_pem_fini(struct tls_pem *pem)
{
    free(pem->chain);
    free(pem->key);
    *pem = (struct tls_pem){NULL, NULL};
}
