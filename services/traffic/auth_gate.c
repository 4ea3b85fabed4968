/* auth_gate - see auth_gate.h. */
#include "traffic/auth_gate.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "tls/tls.h"
#include "traffic/traffic_worker_internal.h"

#define WAIT_MAX_SHIFT 6u      /* 2^6 s, cut to 60 s */
#define FORGET_MS      600000u /* an address is forgotten when it failed that long ago */

void auth_gate_fini(struct auth_gate *gate)
{
    if (gate->cache)
        tls_wipe(gate->cache, AUTH_CACHE_SLOTS * sizeof(*gate->cache));
    free(gate->cache);
    free(gate->addresses);
    memset(gate, 0, sizeof(*gate));
}

/* --- addresses ----------------------------------------------------------------------------------
 */

/* Who guesses at one route is not forgiven by what he knows of another. */
static uint64_t guesser_id(const char *text, const char *host)
{
    uint8_t bytes[16] = {0};
    uint64_t hash = 0xcbf29ce484222325u;
    size_t n = inet_pton(AF_INET, text, bytes) == 1    ? 4
               : inet_pton(AF_INET6, text, bytes) == 1 ? 8
                                                       : 0;

    for (size_t i = 0; i < n; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    for (const char *at = host; *at; at++)
        hash = (hash ^ (uint8_t)*at) * 0x100000001b3u;
    return hash ^ n;
}

/* Its slot, which another address may have had: then that one is forgotten. */
static struct auth_address_slot *address_slot(struct traffic_worker *w, uint64_t address)
{
    struct auth_gate *gate = &w->auth;
    struct auth_address_slot *slot;
    uint64_t now = loop_now_ms(w->loop);

    if (!gate->addresses)
        gate->addresses = must_alloc(AUTH_ADDRESS_SLOTS * sizeof(*gate->addresses));
    slot = &gate->addresses[(address ^ address >> 32) % AUTH_ADDRESS_SLOTS];
    if (slot->address != address || now > slot->last_ms + FORGET_MS)
        *slot = (struct auth_address_slot){.address = address, .last_ms = now};
    return slot;
}

static bool has_to_wait(struct traffic_worker *w, uint64_t address)
{
    return w->settings->auth.failures > 0 &&
           address_slot(w, address)->until_ms > loop_now_ms(w->loop);
}

static void note_failure(struct traffic_worker *w, uint64_t address)
{
    struct auth_address_slot *slot = address_slot(w, address);
    unsigned max = (unsigned)w->settings->auth.failures, over;
    uint64_t now = loop_now_ms(w->loop);

    slot->failures++;
    slot->last_ms = now;
    if (max == 0 || slot->failures < max)
        return;
    over = MIN(slot->failures - max, WAIT_MAX_SHIFT);
    slot->until_ms = now + MIN(1000u << over, 60000u);
}

static void note_success(struct traffic_worker *w, uint64_t address)
{
    if (w->auth.addresses)
        address_slot(w, address)->failures = 0;
}

/* --- what was right a moment ago ---------------------------------------------------------------
 */

static struct auth_cache_slot *cache_slot(struct traffic_worker *w, const uint8_t *id)
{
    struct auth_gate *gate = &w->auth;
    uint32_t at;

    if (!gate->cache)
        gate->cache = must_alloc(AUTH_CACHE_SLOTS * sizeof(*gate->cache));
    memcpy(&at, id, sizeof(at));
    return &gate->cache[at % AUTH_CACHE_SLOTS];
}

static bool is_remembered(struct traffic_worker *w, const uint8_t *id)
{
    const struct auth_cache_slot *slot = cache_slot(w, id);

    return slot->due_ms > loop_now_ms(w->loop) && tls_is_equal(slot->id, id, AUTH_MAC_BYTES);
}

static void remember(struct traffic_worker *w, const uint8_t *id)
{
    struct auth_cache_slot *slot = cache_slot(w, id);

    memcpy(slot->id, id, AUTH_MAC_BYTES);
    slot->due_ms = loop_now_ms(w->loop) + (uint64_t)w->settings->auth.cache_secs * 1000;
}

/* --- asking --------------------------------------------------------------------------------------
 */

static enum traffic_reason judge(struct traffic_worker *w, uint64_t address, bool is_right)
{
    if (is_right)
        note_success(w, address);
    else
        note_failure(w, address);
    return is_right ? REASON_NONE : REASON_AUTH_FAILED;
}

static void on_verdict(struct auth_wait *wait, bool is_right)
{
    struct auth_check *check = container_of(wait, struct auth_check, wait);
    struct traffic_worker *w = check->worker;

    is_right = is_right && check->is_user_right;
    if (is_right && w->settings->auth.cache_secs > 0)
        remember(w, check->id);
    check->on_verdict(check, judge(w, check->address, is_right));
}

static enum traffic_reason ask_pool(struct traffic_worker *w, const struct route_auth *auth,
                                    const struct http_request *r, struct auth_check *check,
                                    bool *waits)
{
    struct auth_credentials given;
    enum traffic_reason reason = REASON_AUTH_FAILED;

    if (route_auth_read(auth, r->authorization.p, r->authorization.n, &given)) {
        memcpy(check->id, given.id, sizeof(check->id));
        check->is_user_right = given.is_user_right;
        check->worker = w;
        check->wait.on_verdict = on_verdict;
        if (is_remembered(w, given.id)) {
            reason = judge(w, check->address, true);
        } else if (auth_pool_ask(w->auth_pool, w->loop, auth->hash, given.pass, &check->wait) ==
                   0) {
            *waits = true;
            reason = REASON_NONE;
        } else {
            reason = REASON_AUTH_BUSY;
        }
    }
    tls_wipe(&given, sizeof(given));
    return reason;
}

enum traffic_reason auth_gate_ask(struct traffic_worker *w, const struct route *route,
                                  const struct http_request *r, const char *address,
                                  struct auth_check *check, bool *waits)
{
    const struct route_auth *auth = route->auth;

    *waits = false;
    if (!auth)
        return REASON_NONE;
    if (r->authorization_count > 1)
        return REASON_AUTH_DUPLICATE;
    if (r->authorization_count == 0)
        return REASON_AUTH_REQUIRED;
    check->address = guesser_id(address, route->host);
    if (has_to_wait(w, check->address))
        return REASON_AUTH_BACKOFF;
    if (auth->hash)
        return ask_pool(w, auth, r, check, waits);
    switch (route_auth_check(auth, r->authorization.p, r->authorization.n)) {
    case AUTH_OK:
        return judge(w, check->address, true);
    case AUTH_WRONG:
        return judge(w, check->address, false);
    case AUTH_MISSING:
    case AUTH_MALFORMED:
        break;
    }
    return REASON_AUTH_FAILED;
}
