/* credentials - whom the edge dials and how it proves itself: from a token or from single fields.
 * Immutable and counted: lanes on workers keep the ones that they were begun with. */
#ifndef EDGE_CREDENTIALS_H
#define EDGE_CREDENTIALS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "tls/tls.h"
#include "wire/token.h"

struct edge_conf;
struct json_check;
struct json_object;

struct credentials {
    _Atomic unsigned refs;
    struct token token;  /* wiped with the last reference */
    char *ca_file;       /* owned, or NULL */
    struct tls_ctx *tls; /* counted */
};

/* Token or fields of the configuration.  0; -ERR_NOT_FOUND: neither is given (no fault);
 * -ERR_SYNTAX with faults added. */
MUST_USE int credentials_from_conf(struct credentials **out, const struct edge_conf *conf,
                                   struct json_check *faults);
/* {"token"} or {"hubHost", "hubPort", "edgeId", "secret", "pin"?, "caFile"?}: PUT /v1/tunnel.
 * 0, -ERR_SYNTAX. */
MUST_USE int credentials_from_json(struct credentials **out, struct json_object *body,
                                   struct json_check *faults);
/* The file of the state directory.  0; -ERR_NOT_FOUND: there is none; -ERR_IO (it cannot be read)
 * and -ERR_SYNTAX with faults. */
MUST_USE int credentials_load(struct credentials **out, const char *state_dir,
                              struct json_check *faults);
/* Written beside and renamed, 0600; on the disk, with its folder, when it returns.  0, -ERR_IO. */
MUST_USE int credentials_save(const struct credentials *c, const char *state_dir);
/* Likewise.  0, -ERR_NOT_FOUND (there was none), -ERR_IO: it may be there still. */
MUST_USE int credentials_forget(const char *state_dir);

struct credentials *credentials_ref(struct credentials *c);
void credentials_unref(struct credentials *c); /* fine with NULL */
/* "pin", "ca" or "proof": how the hub is known. */
const char *credentials_verified_by(const struct credentials *c);

#endif
