/* identity - the names and secrets that edges go by, and how long each may be.
 * api/tunnel.md "The channel", "Handshake". */
#ifndef WIRE_IDENTITY_H
#define WIRE_IDENTITY_H

#include <stdbool.h>

#define EDGE_ID_MAX      64  /* of A-Za-z0-9._- */
#define INSTANCE_MAX     253 /* bytes */
#define SECRET_MIN       22  /* of A-Za-z0-9-_.~ */
#define SECRET_ALONE_MIN 43  /* from here on the hub's proof alone tells that it is the hub */
#define SECRET_MAX       256
#define HOST_MAX         253 /* of A-Za-z0-9._:- : a name or an address */
#define SESSION_BYTES    16
#define SESSION_TEXT_LEN 22 /* of base64url */

/* NULL is not valid, like every other string that isn't. */
bool edge_id_is_valid(const char *id);
bool secret_is_valid(const char *secret);
/* 1 to INSTANCE_MAX bytes, no control characters. */
bool instance_is_valid(const char *instance);
bool host_is_valid(const char *host);

#endif
