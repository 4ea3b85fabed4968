/* signer - see signer.h.  RFC 8017: sections 8.1 (PSS, TLS 1.3 and 1.2) and 8.2 (PKCS #1
 * v1.5, TLS 1.2); what GnuTLS hands over is hashed already. */
#include "signer/signer.h"

#include "tls/tls_key.h"

void signer_start(void)
{
    tls_key_set_maker(signer_new);
}

#if PENSTOCK_LIBCRYPTO

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "tls/tls.h"

bool signer_is_built(void)
{
    return true;
}

/* Of a scheme with PSS, or NULL. */
static const EVP_MD *pss_digest(gnutls_sign_algorithm_t scheme)
{
    if (scheme == GNUTLS_SIGN_RSA_PSS_RSAE_SHA256)
        return EVP_sha256();
    if (scheme == GNUTLS_SIGN_RSA_PSS_RSAE_SHA384)
        return EVP_sha384();
    if (scheme == GNUTLS_SIGN_RSA_PSS_RSAE_SHA512)
        return EVP_sha512();
    return NULL;
}

/* RSA_RAW: with PKCS #1 v1.5 around a DigestInfo that is there already. */
static bool set_scheme(EVP_PKEY_CTX *ctx, gnutls_sign_algorithm_t scheme)
{
    const EVP_MD *md = pss_digest(scheme);

    if (EVP_PKEY_sign_init(ctx) <= 0)
        return false;
    if (scheme == GNUTLS_SIGN_RSA_RAW)
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) > 0;
    return md && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) > 0 &&
           EVP_PKEY_CTX_set_signature_md(ctx, md) > 0 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) > 0;
}

static int sign(gnutls_privkey_t key, gnutls_sign_algorithm_t scheme, void *arg, unsigned flags,
                const gnutls_datum_t *hash, gnutls_datum_t *out)
{
    EVP_PKEY *pkey = arg;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
    size_t n = (size_t)EVP_PKEY_get_size(pkey);
    bool is_good;

    (void)key;
    (void)flags;
    out->data = gnutls_malloc(n);
    is_good = ctx && out->data && set_scheme(ctx, scheme) &&
              EVP_PKEY_sign(ctx, out->data, &n, hash->data, hash->size) > 0;
    EVP_PKEY_CTX_free(ctx);
    if (is_good) {
        out->size = (unsigned)n;
        return 0;
    }
    ERR_clear_error();
    gnutls_free(out->data);
    out->data = NULL;
    return GNUTLS_E_PK_SIGN_FAILED;
}

static int inform(gnutls_privkey_t key, unsigned flags, void *arg)
{
    gnutls_sign_algorithm_t scheme = GNUTLS_FLAGS_TO_SIGN_ALGO(flags);

    (void)key;
    if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO)
        return GNUTLS_PK_RSA;
    if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO_BITS)
        return EVP_PKEY_get_bits(arg);
    if (flags & GNUTLS_PRIVKEY_INFO_HAVE_SIGN_ALGO)
        return pss_digest(scheme) || scheme == GNUTLS_SIGN_RSA_RAW ||
               scheme == GNUTLS_SIGN_RSA_SHA256 || scheme == GNUTLS_SIGN_RSA_SHA384 ||
               scheme == GNUTLS_SIGN_RSA_SHA512;
    return -1; /* no scheme of its own, and nothing else that it could be asked for */
}

static void forget(gnutls_privkey_t key, void *arg)
{
    (void)key;
    EVP_PKEY_free(arg); /* wipes it */
}

/* The same key as libcrypto's, or NULL. */
static EVP_PKEY *convert(gnutls_x509_privkey_t key)
{
    gnutls_datum_t der = {NULL, 0};
    const unsigned char *at;
    EVP_PKEY *pkey;

    /* Nothing of a system's configuration: engines and providers of others are not wanted here. */
    if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1 ||
        gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_DER, &der) < 0)
        return NULL;
    at = der.data;
    pkey = d2i_PrivateKey(EVP_PKEY_RSA, NULL, &at, (long)der.size);
    tls_wipe(der.data, der.size);
    gnutls_free(der.data);
    if (!pkey)
        ERR_clear_error();
    return pkey;
}

gnutls_privkey_t signer_new(gnutls_x509_privkey_t key)
{
    gnutls_privkey_t out = NULL;
    EVP_PKEY *pkey;

    if (gnutls_x509_privkey_get_pk_algorithm(key) != GNUTLS_PK_RSA)
        return NULL;
    pkey = convert(key);
    if (!pkey)
        return NULL;
    if (gnutls_privkey_init(&out) < 0) {
        EVP_PKEY_free(pkey);
        return NULL;
    }
    if (gnutls_privkey_import_ext4(out, pkey, NULL, sign, NULL, forget, inform, 0) < 0) {
        gnutls_privkey_deinit(out);
        EVP_PKEY_free(pkey);
        return NULL;
    }
    return out;
}

#else

bool signer_is_built(void)
{
    return false;
}

gnutls_privkey_t signer_new(gnutls_x509_privkey_t key)
{
    (void)key;
    return NULL;
}

#endif
