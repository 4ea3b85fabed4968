/* tls_signer - signatures of RSA keys made by libcrypto, where the build has it.
 *
 * GnuTLS has libgmp and nettle make them, at a third of libcrypto's speed; a full handshake with an
 * RSA certificate is little else (docs/performance.md).  All the rest of TLS stays GnuTLS's: it
 * hands over what is to be signed, this hands back the signature.  ECDSA, where GnuTLS is the
 * faster one, and RSA-PSS keys stay with it too.
 *
 * Part of lib/tls: nobody else includes it.
 */
#ifndef TLS_TLS_SIGNER_H
#define TLS_TLS_SIGNER_H

#include <gnutls/abstract.h>
#include <stdbool.h>

#include "base/must.h"

/* This build has one. */
bool tls_signer_is_built(void);
/* A key for credentials that signs by libcrypto; the caller's: gnutls_privkey_deinit(), or what
 * takes it over.  Used by any thread, by several at once.  NULL: no RSA key, no libcrypto here, or
 * it would not take the key; GnuTLS has to sign then. */
gnutls_privkey_t tls_signer_new(gnutls_x509_privkey_t key);

#endif
