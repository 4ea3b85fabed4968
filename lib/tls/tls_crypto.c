/* tls_crypto - the bare cryptography that others need, so that GnuTLS's types stay in this module.
 *
 * These calls fail only when GnuTLS itself is unusable (a failed self-test, no entropy, no memory
 * for a few bytes); a program must not go on then, so there is no error to return.
 */
#include <gnutls/crypto.h>

#include "tls/tls_internal.h"

void tls_hmac_sha256(const void *key, size_t key_len, const void *text, size_t text_len,
                     uint8_t out[32])
{
    must(gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, key_len, text, text_len, out) == 0);
}

void tls_sha256(const void *text, size_t text_len, uint8_t out[32])
{
    must(gnutls_hash_fast(GNUTLS_DIG_SHA256, text, text_len, out) == 0);
}

#define NONCE_BYTES 12
#define TAG_BYTES   16
_Static_assert(NONCE_BYTES + TAG_BYTES == TLS_SEAL_BYTES, "what a sealed text has more");

static gnutls_aead_cipher_hd_t cipher_of(const uint8_t key[32])
{
    gnutls_datum_t datum = {(unsigned char *)(uintptr_t)key, 32};
    gnutls_aead_cipher_hd_t cipher;

    must(gnutls_aead_cipher_init(&cipher, GNUTLS_CIPHER_AES_256_GCM, &datum) == 0);
    return cipher;
}

void tls_seal(const uint8_t key[32], const void *binding, size_t binding_n, const void *text,
              size_t n, uint8_t *out)
{
    gnutls_aead_cipher_hd_t cipher = cipher_of(key);
    size_t sealed_n = n + TAG_BYTES;

    tls_random(out, NONCE_BYTES);
    must(gnutls_aead_cipher_encrypt(cipher, out, NONCE_BYTES, binding, binding_n, TAG_BYTES, text,
                                    n, out + NONCE_BYTES, &sealed_n) == 0);
    must(sealed_n == n + TAG_BYTES);
    gnutls_aead_cipher_deinit(cipher);
}

int tls_unseal(const uint8_t key[32], const void *binding, size_t binding_n, const void *sealed,
               size_t n, uint8_t *out)
{
    const uint8_t *bytes = sealed;
    gnutls_aead_cipher_hd_t cipher;
    size_t out_n;
    int rc;

    if (n < TLS_SEAL_BYTES)
        return -ERR_AUTH;
    out_n = n - TLS_SEAL_BYTES;
    cipher = cipher_of(key);
    rc = gnutls_aead_cipher_decrypt(cipher, bytes, NONCE_BYTES, binding, binding_n, TAG_BYTES,
                                    bytes + NONCE_BYTES, n - NONCE_BYTES, out, &out_n);
    gnutls_aead_cipher_deinit(cipher);
    return rc == 0 ? 0 : -ERR_AUTH;
}

void tls_sha1(const void *text, size_t text_len, uint8_t out[20])
{
    must(gnutls_hash_fast(GNUTLS_DIG_SHA1, text, text_len, out) == 0);
}

void tls_random(void *out, size_t n)
{
    must(gnutls_rnd(GNUTLS_RND_KEY, out, n) == 0);
}

bool tls_is_equal(const void *a, const void *b, size_t n)
{
    return gnutls_memcmp(a, b, n) == 0;
}

void tls_wipe(void *p, size_t n)
{
    gnutls_memset(p, 0, n);
}
