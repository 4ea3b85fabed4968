/* client - asks a service on this machine: `penstock-x healthcheck [--ready]`, and what `check` and
 * `diag` want to know of one that runs. */
#ifndef ADMIN_CLIENT_H
#define ADMIN_CLIENT_H

#include <stdbool.h>
#include <stdio.h>

#include "base/must.h"

#define CLIENT_LIMIT_MS   3000
#define CLIENT_ANSWER_MAX (8u << 20)

/* Where its management API is. */
struct client_where {
    const char *listen; /* "127.0.0.1:9001"; an address that means "any" is asked on loopback */
    bool is_tls;        /* whose certificate is not checked: the machine asks itself */
    const char *token;  /* or NULL */
    /* PEM files of a certificate and its key, shown where one is asked for; or both NULL */
    const char *cert_file, *key_file;
};

struct client_answer {
    unsigned status;
    char *body; /* owned, NUL-ended */
    size_t len;
};

/* One GET.  Blocks for at most 3 s.  `quiet_ms`: an answer that does not end (events) is taken as
 * it is after such a silence; 0: it has to end.  NULL: *out is filled, client_answer_fini() is due;
 * else a sentence (static), and nothing is due. */
MUST_USE const char *client_get(struct client_answer *out, const struct client_where *where,
                                const char *path, unsigned quiet_ms);
void client_answer_fini(struct client_answer *a);

/* /healthz or /readyz, which ask nobody for a certificate.  The exit status: 0 when the answer is
 * 200, else 1 with the answer's body, or a sentence, on `err`. */
int client_check(const char *listen, bool is_tls, bool wants_ready, FILE *err);

#endif
