/* auth - see auth.h.  Credentials are decoded strictly: one scheme, one blank or more, canonical
 * base64 with padding, a colon, no control characters; the first colon ends the user's name. */
#include "traffic/auth.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tls/tls.h"

#define CREDENTIALS_MAX (AUTH_USER_MAX + 1 + AUTH_PASS_MAX)

void auth_key_init(struct auth_key *key)
{
    tls_random(key->bytes, sizeof(key->bytes));
}

void auth_key_derive(struct auth_key *key, const char *secret)
{
    tls_sha256(secret, strlen(secret), key->bytes);
}

void auth_key_fini(struct auth_key *key)
{
    tls_wipe(key, sizeof(*key));
}

/* The two MACs must never be those of the same text, or a password equal to the name would show:
 * the first byte says what the text is. */
static void text_mac(const struct auth_key *key, char what, const char *text, size_t n,
                     uint8_t out[AUTH_MAC_BYTES])
{
    char buf[1 + CREDENTIALS_MAX];

    must(n <= CREDENTIALS_MAX);
    buf[0] = what;
    memcpy(buf + 1, text, n);
    tls_hmac_sha256(key->bytes, sizeof(key->bytes), buf, 1 + n, out);
    tls_wipe(buf, sizeof(buf));
}

struct route_auth *route_auth_new(const struct auth_key *key, const char *user, const char *pass,
                                  size_t pass_len)
{
    struct route_auth *auth = must_alloc(sizeof(*auth));

    must(strlen(user) <= AUTH_USER_MAX && pass_len <= AUTH_PASS_MAX);
    auth->user = must_strdup(user);
    auth->key = key;
    text_mac(key, 'u', user, strlen(user), auth->user_mac);
    text_mac(key, 'p', pass, pass_len, auth->pass_mac);
    return auth;
}

struct route_auth *route_auth_new_hashed(const struct auth_key *key, const char *user,
                                         const char *hash)
{
    struct route_auth *auth = must_alloc(sizeof(*auth));

    must(strlen(user) <= AUTH_USER_MAX);
    auth->user = must_strdup(user);
    auth->hash = must_strdup(hash);
    auth->key = key;
    text_mac(key, 'u', user, strlen(user), auth->user_mac);
    tls_sha256(hash, strlen(hash), auth->pass_mac); /* tells one from another in digests */
    return auth;
}

static bool unhex(const char *text, uint8_t out[AUTH_MAC_BYTES])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < 2 * AUTH_MAC_BYTES; i++) {
        const char *digit = text[i] ? strchr(digits, text[i]) : NULL;

        if (!digit)
            return false;
        out[i / 2] = (uint8_t)(out[i / 2] << 4 | (digit - digits));
    }
    return true;
}

struct route_auth *route_auth_restore(const struct auth_key *key, const char *user,
                                      const char *user_mac, const char *pass_mac)
{
    struct route_auth *auth = must_alloc(sizeof(*auth));
    uint8_t expected[AUTH_MAC_BYTES];

    must(strlen(user) <= AUTH_USER_MAX);
    auth->user = must_strdup(user);
    auth->key = key;
    if (unhex(user_mac, auth->user_mac) && unhex(pass_mac, auth->pass_mac)) {
        text_mac(key, 'u', user, strlen(user), expected);
        auth->is_lost = memcmp(expected, auth->user_mac, AUTH_MAC_BYTES) != 0;
        return auth;
    }
    route_auth_free(auth);
    return NULL;
}

struct route_auth *route_auth_copy(const struct route_auth *auth)
{
    struct route_auth *copy;

    if (!auth)
        return NULL;
    copy = must_alloc(sizeof(*copy));
    *copy = *auth;
    copy->user = must_strdup(auth->user);
    copy->hash = auth->hash ? must_strdup(auth->hash) : NULL;
    return copy;
}

void route_auth_free(struct route_auth *auth)
{
    if (!auth)
        return;
    free(auth->user);
    free(auth->hash);
    tls_wipe(auth, sizeof(*auth));
    free(auth);
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

/* Canonical base64 only: padded to fours, no bits set behind the last byte.  The length, or -1. */
static int base64_decode(const char *in, size_t n, char *out, size_t room)
{
    size_t len = 0, digits = n;
    uint32_t bits = 0;
    unsigned have = 0;

    if (n == 0 || n % 4 != 0)
        return -1;
    if (in[n - 1] == '=')
        digits -= in[n - 2] == '=' ? 2 : 1;
    for (size_t i = 0; i < digits; i++) {
        int value = base64_value(in[i]);

        if (value < 0)
            return -1;
        bits = (bits << 6 | (uint32_t)value) & 0xffffff;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        if (len == room)
            return -1;
        out[len++] = (char)(bits >> have & 0xff);
    }
    return (bits & ((1u << have) - 1)) == 0 ? (int)len : -1;
}

/* "user:pass" out of the field's value, or -1. */
static int credentials_decode(const char *value, size_t n, char out[CREDENTIALS_MAX])
{
    size_t at = 5;
    int len;

    if (n < 7 || strncasecmp(value, "Basic", 5) != 0 || value[at] != ' ')
        return -1;
    while (at < n && value[at] == ' ')
        at++;
    len = base64_decode(value + at, n - at, out, CREDENTIALS_MAX);
    for (int i = 0; i < len; i++)
        if ((unsigned char)out[i] < 0x20 || out[i] == 0x7f)
            return -1;
    return len;
}

bool route_auth_read(const struct route_auth *auth, const char *value, size_t n,
                     struct auth_credentials *out)
{
    char text[1 + AUTH_MAC_BYTES + CREDENTIALS_MAX];
    char *credentials = text + 1 + AUTH_MAC_BYTES;
    int len = credentials_decode(value, n, credentials);
    char *colon = len > 0 ? memchr(credentials, ':', (size_t)len) : NULL;
    size_t pass_len = colon ? (size_t)(credentials + len - colon - 1) : 0;

    memset(out, 0, sizeof(*out));
    if (colon && pass_len <= AUTH_PASS_MAX && colon - credentials <= AUTH_USER_MAX) {
        uint8_t mac[AUTH_MAC_BYTES];

        text_mac(auth->key, 'u', credentials, (size_t)(colon - credentials), mac);
        out->is_user_right = tls_is_equal(mac, auth->user_mac, AUTH_MAC_BYTES);
        memcpy(out->pass, colon + 1, pass_len);
        text[0] = 'c';
        memcpy(text + 1, auth->pass_mac, AUTH_MAC_BYTES);
        tls_hmac_sha256(auth->key->bytes, sizeof(auth->key->bytes), text,
                        1 + AUTH_MAC_BYTES + (size_t)len, out->id);
    }
    tls_wipe(text, sizeof(text));
    return colon && pass_len <= AUTH_PASS_MAX;
}

enum auth_verdict route_auth_check(const struct route_auth *auth, const char *value, size_t n)
{
    char text[CREDENTIALS_MAX];
    uint8_t user_mac[AUTH_MAC_BYTES], pass_mac[AUTH_MAC_BYTES];
    enum auth_verdict verdict = AUTH_MALFORMED;
    const char *colon;
    int len;

    if (!value)
        return AUTH_MISSING;
    len = credentials_decode(value, n, text);
    colon = len > 0 ? memchr(text, ':', (size_t)len) : NULL;
    if (colon) {
        size_t user_len = (size_t)(colon - text);

        text_mac(auth->key, 'u', text, user_len, user_mac);
        text_mac(auth->key, 'p', colon + 1, (size_t)len - user_len - 1, pass_mac);
        /* No short cut: both comparisons are made whatever the first one says. */
        bool user_is_right = tls_is_equal(user_mac, auth->user_mac, AUTH_MAC_BYTES);
        bool pass_is_right = tls_is_equal(pass_mac, auth->pass_mac, AUTH_MAC_BYTES);
        verdict = (user_is_right & pass_is_right) ? AUTH_OK : AUTH_WRONG;
        tls_wipe(pass_mac, sizeof(pass_mac));
    }
    tls_wipe(text, sizeof(text));
    return verdict;
}
