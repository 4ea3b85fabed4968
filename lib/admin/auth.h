/* auth - bearer tokens: two scopes, up to two tokens each, and a bound on wrong guesses.
 *
 * Only SHA-256 digests are kept and compared, all of them each time: neither the time nor the
 * memory tells anything about a token.  An address that fails more than 10 times within a second
 * gets no further answer from the comparison until the second is over, right or wrong.
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
    AUTH_TOO_MANY, /* failures from this address */
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

#endif
