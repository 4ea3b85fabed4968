/* client - asks a service on this machine how it is: `penstock-x healthcheck [--ready]`. */
#ifndef ADMIN_CLIENT_H
#define ADMIN_CLIENT_H

#include <stdbool.h>
#include <stdio.h>

#define CLIENT_LIMIT_MS 3000

/* One GET of /healthz or /readyz on `listen` ("127.0.0.1:9001"; an address that means "any" is
 * asked on loopback), over TLS when the service has a certificate (which is not checked: the
 * machine asks itself).  Blocks for at most 3 s.  The exit status: 0 when the answer is 200, else 1
 * with the answer's body, or a sentence, on `err`. */
int client_check(const char *listen, bool is_tls, bool wants_ready, FILE *err);

#endif
