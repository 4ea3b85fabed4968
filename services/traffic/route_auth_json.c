/* route_auth_json - see route_auth_json.h. */
#include "traffic/route_auth_json.h"

#include <stdio.h>
#include <string.h>

#include "traffic/pass_hash.h"

/* What the state file has in place of a password.  NULL after a fault. */
static struct route_auth *parse_stored_auth(struct route_build *b, const char *at,
                                            struct json_object *auth, const char *user)
{
    const size_t n = 2 * AUTH_MAC_BYTES;
    const char *user_mac = json_str(&b->faults, at, auth, "userMac", JSON_REQUIRED, n, n);
    const char *pass_mac = json_str(&b->faults, at, auth, "passMac", JSON_REQUIRED, n, n);
    struct route_auth *stored = NULL;

    if (user && user_mac && pass_mac)
        stored = route_auth_restore(b->auth_key, user, user_mac, pass_mac);
    if (user_mac && pass_mac && user && !stored)
        json_fault_at(&b->faults, at, "passMac", "invalid", "is no hexadecimal text");
    return stored;
}

/* The user's name, borrowed from the document; NULL after a fault. */
static const char *parse_user(struct route_build *b, const char *at, struct json_object *auth)
{
    const char *type = json_str(&b->faults, at, auth, "type", JSON_REQUIRED, 1, 32);
    const char *user = json_str(&b->faults, at, auth, "user", JSON_REQUIRED, 1, AUTH_USER_MAX);

    if (type && strcmp(type, "Basic") != 0)
        json_fault_at(&b->faults, at, "type", "invalid", "must be \"Basic\"");
    if (!user || !strchr(user, ':'))
        return user;
    json_fault_at(&b->faults, at, "user", "invalid", "must not have a colon (RFC 7617)");
    return NULL;
}

/* NULL after a fault. */
static struct route_auth *parse_hash(struct route_build *b, const char *at,
                                     struct json_object *auth, const char *user)
{
    const char *hash = json_str(&b->faults, at, auth, "passHash", JSON_REQUIRED, 1, PASS_HASH_MAX);
    const char *fault = hash ? pass_hash_fault(hash) : NULL;

    if (json_has(auth, "pass"))
        json_fault_at(&b->faults, at, "passHash", "conflict",
                      "stands beside \"pass\": give one of them");
    if (fault)
        json_fault_at(&b->faults, at, "passHash", "invalid", "%s", fault);
    return user && hash && !fault ? route_auth_new_hashed(b->auth_key, user, hash) : NULL;
}

void route_auth_json_parse(struct route_build *b, const char *base, struct json_object *obj,
                           const struct route_auth *present, struct route *route)
{
    static const char *const keys[] = {"type", "user", "pass", "passHash", NULL};
    static const char *const stored_keys[] = {"type",    "user",     "userMac",
                                              "passMac", "passHash", NULL};
    struct json_object *auth = json_obj(&b->faults, base, obj, "authentication", JSON_OPTIONAL);
    char at[ROUTE_POINTER_MAX + 32];

    if (!auth)
        return;
    snprintf(at, sizeof(at), "%s/authentication", base);
    json_only(&b->faults, at, auth, b->is_stored ? stored_keys : keys);
    const char *user = parse_user(b, at, auth);
    if (json_has(auth, "passHash")) {
        route->auth = parse_hash(b, at, auth, user);
        return;
    }
    if (b->is_stored) {
        route->auth = parse_stored_auth(b, at, auth, user);
        return;
    }
    bool keeps = present && !present->is_lost && user && strcmp(present->user, user) == 0 &&
                 !json_has(auth, "pass");
    const char *pass = json_str(&b->faults, at, auth, "pass", keeps ? JSON_OPTIONAL : JSON_REQUIRED,
                                1, AUTH_PASS_MAX);

    if (keeps)
        route->auth = route_auth_copy(present);
    else if (user && pass)
        route->auth = route_auth_new(b->auth_key, user, pass, strlen(pass));
}
