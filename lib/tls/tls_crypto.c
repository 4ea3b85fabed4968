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
