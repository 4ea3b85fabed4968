/* hub_cert - the hub's certificate: as configured, or a self-signed one that is made once and kept
 * in the state directory (hub.crt, hub.key), so that pins in tokens stay right. */
#ifndef HUB_HUB_CERT_H
#define HUB_HUB_CERT_H

#include "hub/hub_conf.h"
#include "tls/tls.h"

/* 0, or -ERR_* with `why`. */
MUST_USE int hub_cert_load(struct tls_cert **out, const struct hub_conf *conf, char *why,
                           size_t why_size);

#endif
