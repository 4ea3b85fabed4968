/* auth - bearer tokens: two scopes, up to two tokens each, and a bound on wrong guesses.
 *
 * Only SHA-256 digests are kept and compared, all of them each time: neither the time nor the
 * memory tells anything about a token.
 *
 * A right token is always let in: whoever shares its address, a client with an old token or
 * a guesser, locks nobody out.  An address with 10 wrong tokens within a second is told of further
 * ones only when that second is over (AUTH_TOO_MANY, auth_wait_ms()).  Each of those holds its
 * connection meanwhile, also when the client has left, and an address has only so many of them
 * (limits.managementPerAddress): so many guesses it has a second, and 10.  Who shows no token does
 * not guess, and is not counted.
 */
#ifndef ADMIN_AUTH_H
#define ADMIN_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "loop/addr.h"

#define AUTH_TOKENS_MAX      2
#define AUTH_FAILURES_MAX    10 /* answered a second and address */
#define AUTH_SLOTS           256
#define AUTH_SLOTS_PER_GROUP 4

enum auth_scope { AUTH_NONE, AUTH_READ, AUTH_WRITE };

enum auth_verdict {
    AUTH_OK,
    AUTH_MISSING, /* no bearer token */
    AUTH_WRONG,
    AUTH_TOO_MANY, /* wrong, as too many of this address were within the second */
};

struct auth_slot {
    uint8_t key[16]; /* the address; of IPv6 the first 64 bits */
    uint64_t since_ms;
    unsigned failures; /* 0: free */
};

struct auth {
    uint8_t write[AUTH_TOKENS_MAX][32], read[AUTH_TOKENS_MAX][32];
    unsigned write_count, read_count;
    struct auth_slot slots[AUTH_SLOTS];
};

/* One or two tokens each, a line each; `read` may be NULL or "".  Blank lines are looked over.
 * 0, -ERR_SYNTAX: no write token, a third one, or one with a blank or a control character in it. */
int auth_set(struct auth *a, const char *write, const char *read)
    __attribute__((warn_unused_result));
void auth_fini(struct auth *a);
/* `field` is the value of Authorization, or NULL. */
enum auth_verdict auth_check(struct auth *a, const char *field, const union addr *peer,
                             uint64_t now_ms, enum auth_scope *scope);
/* Until the second of the address's wrong tokens is over; 0: it has none. */
uint64_t auth_wait_ms(struct auth *a, const union addr *peer, uint64_t now_ms);

#endif
