/* signer - signatures of RSA keys made by libcrypto, where the build has it.
 *
 * GnuTLS has libgmp and nettle make them, at a third of libcrypto's speed; a full handshake with an
 * RSA certificate is little else (docs/performance.md).  All the rest of TLS stays GnuTLS's: it
 * hands over what is to be signed, this hands back the signature.  ECDSA, where GnuTLS is the
 * faster one, and RSA-PSS keys stay with it too.
 *
 * A module of its own, since libcrypto is as large as one of our images without it: who calls
 * signer_start() has it, the others don't link it.
 */
#ifndef SIGNER_SIGNER_H
#define SIGNER_SIGNER_H

#include <gnutls/abstract.h>
#include <stdbool.h>

#include "base/must.h"

/* From now on lib/tls makes the keys of certificates by signer_new().  Before other threads start.
 */
void signer_start(void);
/* This build has one. */
bool signer_is_built(void);
/* A key for credentials that signs by libcrypto; the caller's: gnutls_privkey_deinit(), or what
 * takes it over.  Used by any thread, by several at once.  NULL: no RSA key, no libcrypto here, or
 * it would not take the key; GnuTLS has to sign then. */
gnutls_privkey_t signer_new(gnutls_x509_privkey_t key);

#endif
