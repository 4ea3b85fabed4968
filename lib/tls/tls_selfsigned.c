/* tls_selfsigned - makes the certificate that a hub or a management API starts with when nobody
 * configured one: ECDSA P-256, self-signed, for one name or address, ten years.
 *
 * It is good for a pin, and for nothing else that a CA would be asked for: CA:false.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tls/tls_internal.h"

#define VALID_SECS      (10L * 365 * 24 * 3600)
#define CLOCK_SKEW_SECS 3600L /* a peer whose clock is behind takes it at once */
#define COMMON_NAME_MAX 64u   /* RFC 5280, ub-common-name */

static int set_names(gnutls_x509_crt_t cert, const char *name)
{
    uint8_t address[16];
    size_t address_len = tls_name_address(name, address), len = strlen(name);
    const char *common = len <= COMMON_NAME_MAX ? name : "penstock";
    int rc = gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, common,
                                           (unsigned)strlen(common));

    if (rc < 0)
        return rc;
    if (address_len > 0)
        return gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS, address,
                                                    (unsigned)address_len, GNUTLS_FSAN_SET);
    return gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, name, (unsigned)len,
                                                GNUTLS_FSAN_SET);
}

static int set_identity(gnutls_x509_crt_t cert, gnutls_x509_privkey_t key)
{
    uint8_t serial[16], id[20];
    size_t id_len = sizeof(id);
    time_t now = time(NULL);
    int rc;

    tls_random(serial, sizeof(serial));
    serial[0] = (uint8_t)((serial[0] & 0x3f) | 0x40); /* positive, never short */
    if ((rc = gnutls_x509_crt_set_version(cert, 3)) < 0 ||
        (rc = gnutls_x509_crt_set_serial(cert, serial, sizeof(serial))) < 0 ||
        (rc = gnutls_x509_crt_set_activation_time(cert, now - CLOCK_SKEW_SECS)) < 0 ||
        (rc = gnutls_x509_crt_set_expiration_time(cert, now + VALID_SECS)) < 0 ||
        (rc = gnutls_x509_crt_set_key(cert, key)) < 0 ||
        (rc = gnutls_x509_crt_get_key_id(cert, GNUTLS_KEYID_USE_SHA1, id, &id_len)) < 0)
        return rc;
    return gnutls_x509_crt_set_subject_key_id(cert, id, id_len);
}

static int set_usage(gnutls_x509_crt_t cert)
{
    int rc;

    if ((rc = gnutls_x509_crt_set_basic_constraints(cert, 0, -1)) < 0 ||
        (rc = gnutls_x509_crt_set_key_usage(cert, GNUTLS_KEY_DIGITAL_SIGNATURE)) < 0)
        return rc;
    return gnutls_x509_crt_set_key_purpose_oid(cert, GNUTLS_KP_TLS_WWW_SERVER, 0);
}

/* GnuTLS's memory as a string of the caller's; what GnuTLS had is wiped. */
static char *take_text(gnutls_datum_t *datum)
{
    char *text = datum->data ? strndup((const char *)datum->data, datum->size) : NULL;

    if (datum->data) {
        tls_wipe(datum->data, datum->size);
        gnutls_free(datum->data);
    }
    return text;
}

int tls_cert_make_pem(const char *name, char **chain_pem, char **key_pem)
{
    gnutls_datum_t chain = {NULL, 0}, secret = {NULL, 0};
    gnutls_x509_privkey_t key = NULL;
    gnutls_x509_crt_t cert = NULL;
    unsigned bits = GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1);
    bool is_made = gnutls_x509_privkey_init(&key) >= 0 && gnutls_x509_crt_init(&cert) >= 0 &&
                   gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, bits, 0) >= 0 &&
                   set_names(cert, name) >= 0 && set_identity(cert, key) >= 0 &&
                   set_usage(cert) >= 0 &&
                   gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0) >= 0 &&
                   gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &chain) >= 0 &&
                   gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL,
                                                     GNUTLS_PKCS_PLAIN, &secret) >= 0;

    *chain_pem = take_text(&chain);
    *key_pem = take_text(&secret);
    if (cert)
        gnutls_x509_crt_deinit(cert);
    if (key)
        gnutls_x509_privkey_deinit(key);
    if (is_made && *chain_pem && *key_pem)
        return 0;
    if (*key_pem)
        tls_wipe(*key_pem, strlen(*key_pem));
    free(*key_pem);
    free(*chain_pem);
    *chain_pem = *key_pem = NULL;
    return -ERR_TLS;
}
