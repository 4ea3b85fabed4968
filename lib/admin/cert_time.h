/* cert_time - a certificate that we serve and that is out of its time is told at the start: clients
 * refuse it, and nothing else of ours would say why. */
#ifndef ADMIN_CERT_TIME_H
#define ADMIN_CERT_TIME_H

#include <stdint.h>

struct tls_cert;

/* Warns where a pair of it has ended, or begins later only, as of `now` (seconds since 1970).
 * `key` is what configures it: "management.certFile". */
void cert_time_warn(const char *service, const char *key, const struct tls_cert *cert, int64_t now);

#endif
