/* tls_key - who signs with the key of a certificate in place of GnuTLS.
 *
 * For lib/signer only, since GnuTLS's types show here.
 */
#ifndef TLS_TLS_KEY_H
#define TLS_TLS_KEY_H

#include <gnutls/abstract.h>

/* Makes a key for credentials, which then own it; used by any thread.  NULL: not for this one,
 * GnuTLS signs. */
typedef gnutls_privkey_t (*tls_key_maker)(gnutls_x509_privkey_t key);

/* For certificates that are read from now on.  Before other threads start. */
void tls_key_set_maker(tls_key_maker maker);

#endif
