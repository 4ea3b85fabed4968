/* auth - basic authentication (RFC 7617) of a route: what is kept of a password, and the check.
 *
 * A password is kept only as HMAC-SHA256 under a key of 32 random bytes (a file in the state
 * folder, so that stored routes are good after a restart); the user's name has a MAC too, so that
 * both comparisons cost the same whatever the client sent.  A check computes and compares both MACs
 * always, for an unknown user as for a known one.
 */
#ifndef TRAFFIC_AUTH_H
#define TRAFFIC_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must.h"

#define AUTH_MAC_BYTES 32
#define AUTH_USER_MAX  256  /* bytes of a user's name */
#define AUTH_PASS_MAX  1024 /* bytes of a password */

struct auth_key {
    uint8_t bytes[32];
};

/* What a route asks of its clients.  Immutable, may be read by any thread. */
struct route_auth {
    char *user; /* owned: for GET /v1/routes */
    uint8_t user_mac[AUTH_MAC_BYTES];
    uint8_t pass_mac[AUTH_MAC_BYTES]; /* where there is no hash */
    char *hash;                       /* owned: crypt(5); checked off the loops (auth_gate.h) */
    bool is_lost;                     /* kept under another key: no password is right */
    const struct auth_key *key;       /* borrowed from the process */
};

/* What a client gave, for a route with a hash.  Wiped by the caller. */
struct auth_credentials {
    char pass[AUTH_PASS_MAX + 1];
    bool is_user_right;
    uint8_t id[AUTH_MAC_BYTES]; /* of hash, name and password together */
};

enum auth_verdict {
    AUTH_OK,
    AUTH_MISSING,   /* no Authorization field */
    AUTH_MALFORMED, /* not `Basic` with well-formed credentials */
    AUTH_WRONG,     /* a name or a password that is not the route's */
};

void auth_key_init(struct auth_key *key); /* random: good for this process */
/* From a secret that outlives the process. */
void auth_key_derive(struct auth_key *key, const char *secret);
void auth_key_fini(struct auth_key *key); /* wiped */

/* Both texts are copied or hashed here; the caller wipes its own copy of `pass`. */
struct route_auth *route_auth_new(const struct auth_key *key, const char *user, const char *pass,
                                  size_t pass_len);
/* With a hash (pass_hash.h) in place of the password. */
struct route_auth *route_auth_new_hashed(const struct auth_key *key, const char *user,
                                         const char *hash);
/* From the MACs of an earlier run, in hexadecimal.  NULL: they are not.  The user's is the check of
 * the key: another one than `key` makes it lost. */
struct route_auth *route_auth_restore(const struct auth_key *key, const char *user,
                                      const char *user_mac, const char *pass_mac);
struct route_auth *route_auth_copy(const struct route_auth *auth); /* NULL gives NULL */
void route_auth_free(struct route_auth *auth);                     /* fine with NULL */

/* The credentials of a field's value, for a route with a hash; false: they are not well formed. Any
 * thread; allocates nothing. */
bool route_auth_read(const struct route_auth *auth, const char *value, size_t n,
                     struct auth_credentials *out);
/* The value of the Authorization field (surrounding blanks removed; NULL: there is none).  More
 * than one such field is the caller's to refuse.  Any thread; allocates nothing. */
enum auth_verdict route_auth_check(const struct route_auth *auth, const char *value, size_t n);

#endif
