/* pass_hash - see pass_hash.h. */
#include "traffic/pass_hash.h"

#include <crypt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tls/tls.h"

#define BCRYPT_BYTES    60u
#define BCRYPT_COST_MAX 15
#define SHA512_BYTES    86u /* of the hash alone */
#define YESCRYPT_BYTES  43u
#define ROUNDS_MAX      5000000

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* The last part, behind the last "$", has all its bytes: else it is only a salt. */
static bool is_whole(const char *hash, size_t bytes)
{
    const char *last = strrchr(hash, '$');

    return last && strlen(last + 1) == bytes;
}

static const char *bcrypt_fault(const char *hash)
{
    if (strlen(hash) != BCRYPT_BYTES)
        return "is no whole bcrypt hash";
    return atol(hash + 4) > BCRYPT_COST_MAX ? "takes too long: bcrypt's cost is above 15" : NULL;
}

static const char *sha512_fault(const char *hash)
{
    if (!is_whole(hash, SHA512_BYTES))
        return "is no whole SHA-512 hash";
    return begins(hash, "$6$rounds=") && atol(hash + 10) > ROUNDS_MAX
               ? "takes too long: more than 5000000 rounds"
               : NULL;
}

const char *pass_hash_fault(const char *hash)
{
    int rc;

    for (const char *at = hash; *at; at++)
        if (*at <= ' ' || *at >= 0x7f || strchr(":;*!\\", *at))
            return "has a character that no hash has";
    rc = crypt_checksalt(hash);
    if (rc != CRYPT_SALT_OK)
        return "is no hash that is known here, or one that is too weak";
    if (begins(hash, "$2b$") || begins(hash, "$2y$") || begins(hash, "$2a$"))
        return bcrypt_fault(hash);
    if (begins(hash, "$6$"))
        return sha512_fault(hash);
    if (begins(hash, "$y$"))
        return is_whole(hash, YESCRYPT_BYTES) ? NULL : "is no whole yescrypt hash";
    return "must be yescrypt ($y$), bcrypt ($2b$) or SHA-512 ($6$)";
}

bool pass_hash_is_right(const char *hash, const char *password)
{
    struct crypt_data *data = must_alloc(sizeof(*data));
    const char *made = crypt_r(password, hash, data);
    size_t n = strlen(hash);
    bool is_right = made && strlen(made) == n && tls_is_equal(made, hash, n);

    tls_wipe(data, sizeof(*data));
    free(data);
    return is_right;
}

int pass_hash_make(const char *method, const char *password, char *out, size_t size)
{
    static const struct {
        const char *method, *prefix;
    } known[] = {{"yescrypt", "$y$"}, {"bcrypt", "$2b$"}, {"sha512", "$6$"}};
    struct crypt_data *data;
    const char *made = NULL;
    char *salt = NULL;

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(method, known[i].method) == 0)
            salt = crypt_gensalt_ra(known[i].prefix, 0, NULL, 0);
        else if (i + 1 == ARRAY_LEN(known) && !salt)
            return -ERR_NOT_FOUND;
    if (!salt)
        return -ERR_SYS;
    data = must_alloc(sizeof(*data));
    made = crypt_r(password, salt, data);
    if (made && made[0] != '*' && strlen(made) < size)
        snprintf(out, size, "%s", made);
    else
        made = NULL;
    tls_wipe(data, sizeof(*data));
    free(data);
    free(salt);
    return made ? 0 : -ERR_SYS;
}
