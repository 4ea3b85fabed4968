/* tls_pem - certificates for tests, made on the spot: any issuer, any date, RSA or ECDSA, so that
 * no key lies in the tree and none expires there. */
#ifndef SUPPORT_TLS_PEM_H
#define SUPPORT_TLS_PEM_H

#include <stdbool.h>

struct tls_pem {
    char *chain, *key; /* owned */
};

struct tls_pem_options {
    const char *name;  /* common name; unless `is_ca` also the DNS name, or the address */
    const char *more;  /* one more DNS name, or NULL */
    unsigned rsa_bits; /* 0: ECDSA P-256 */
    bool is_ca, is_expired, is_client_only;
    const struct tls_pem *issuer; /* NULL: self-signed; its chain is appended when `with_issuer` */
    bool with_issuer;
};

void tls_pem_make(struct tls_pem *out, const struct tls_pem_options *options);
void tls_pem_fini(struct tls_pem *pem);
/* Writes a text into a new file below the test's temporary folder; the path is the caller's (free).
 * The file is removed when the process ends. */
char *tls_pem_file(const char *text);

#endif
