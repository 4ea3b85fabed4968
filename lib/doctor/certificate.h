/* certificate - findings about a certificate that we serve, or that a peer showed us. */
#ifndef DOCTOR_CERTIFICATE_H
#define DOCTOR_CERTIFICATE_H

#include <stdint.h>

#include "doctor/report.h"

#define CERTIFICATE_SOON_DAYS 14

struct tls_cert;

/* The time of one of its pairs of key and chain, as of `now` (seconds since 1970); and, unless
 * `host` is NULL or "", whether it covers that name.  One finding. */
void certificate_check(struct report *r, const char *name, const struct tls_cert *cert,
                       unsigned pair, const char *host, int64_t now);

#endif
