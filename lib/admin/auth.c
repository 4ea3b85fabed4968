/* auth - see auth.h. */
#include "admin/auth.h"

#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/must.h"
#include "tls/tls.h"

#define WINDOW_MS 1000

/* The tokens of a text; -ERR_SYNTAX when they are more than two or hold what no header can. */
static int digest_tokens(uint8_t out[AUTH_TOKENS_MAX][32], unsigned *count, const char *text)
{
    *count = 0;
    while (text && *text) {
        size_t n = strcspn(text, "\r\n");

        if (n && *count == AUTH_TOKENS_MAX)
            return -ERR_SYNTAX;
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)text[i] <= 0x20 || (unsigned char)text[i] >= 0x7f)
                return -ERR_SYNTAX;
        if (n)
            tls_sha256(text, n, out[(*count)++]);
        text += n;
        text += strspn(text, "\r\n");
    }
    return 0;
}

int auth_set(struct auth *a, const char *write, const char *read)
{
    struct auth next = {0};

    if (digest_tokens(next.write, &next.write_count, write) != 0 || next.write_count == 0 ||
        digest_tokens(next.read, &next.read_count, read) != 0)
        return -ERR_SYNTAX;
    memcpy(a->write, next.write, sizeof(a->write));
    memcpy(a->read, next.read, sizeof(a->read));
    a->write_count = next.write_count;
    a->read_count = next.read_count;
    return 0;
}

void auth_fini(struct auth *a)
{
    tls_wipe(a, sizeof(*a));
}

/* One customer of IPv6 has a whole /64: counted as one. */
static void key_of(const union addr *peer, uint8_t key[16])
{
    union addr plain = *peer;

    memset(key, 0, 16);
    addr_unmap(&plain);
    if (plain.sa.sa_family == AF_INET6) {
        memcpy(key, &plain.in6.sin6_addr, 8);
    } else {
        key[10] = key[11] = 0xff;
        memcpy(key + 12, &plain.in.sin_addr, 4);
    }
}

static struct auth_slot *group_of(struct auth *a, const uint8_t key[16])
{
    unsigned hash = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < 16; i++)
        hash = (hash ^ key[i]) * 16777619u;
    hash ^= hash >> 16;
    return &a->slots[hash % (AUTH_SLOTS / AUTH_SLOTS_PER_GROUP) * AUTH_SLOTS_PER_GROUP];
}

static bool is_over(const struct auth_slot *slot, uint64_t now_ms)
{
    return slot->failures == 0 || now_ms - slot->since_ms >= WINDOW_MS;
}

/* The address's second that is not over yet; NULL: there is none. */
static struct auth_slot *slot_of(struct auth *a, const uint8_t key[16], uint64_t now_ms)
{
    struct auth_slot *group = group_of(a, key);

    for (unsigned i = 0; i < AUTH_SLOTS_PER_GROUP; i++)
        if (!is_over(&group[i], now_ms) && memcmp(group[i].key, key, 16) == 0)
            return &group[i];
    return NULL;
}

/* Counts in the address's own slot, else in one whose second is over, else in the oldest. */
static void count_failure(struct auth *a, const uint8_t key[16], uint64_t now_ms)
{
    struct auth_slot *own = slot_of(a, key, now_ms), *into = group_of(a, key);

    if (own) {
        own->failures++;
        return;
    }
    for (unsigned i = 1; i < AUTH_SLOTS_PER_GROUP; i++)
        if (group_of(a, key)[i].since_ms < into->since_ms)
            into = &group_of(a, key)[i];
    *into = (struct auth_slot){.since_ms = now_ms, .failures = 1};
    memcpy(into->key, key, 16);
}

static const char *bearer_of(const char *field)
{
    if (!field || strncasecmp(field, "Bearer ", 7) != 0)
        return NULL;
    field += 7;
    field += strspn(field, " ");
    return *field ? field : NULL;
}

/* Every known token is compared, in constant time, whatever was found before. */
static enum auth_scope scope_of(const struct auth *a, const char *token)
{
    uint8_t digest[32];
    bool may_write = false, may_read = false;

    tls_sha256(token, strlen(token), digest);
    for (unsigned i = 0; i < a->write_count; i++)
        may_write |= tls_is_equal(digest, a->write[i], sizeof(digest));
    for (unsigned i = 0; i < a->read_count; i++)
        may_read |= tls_is_equal(digest, a->read[i], sizeof(digest));
    return may_write ? AUTH_WRITE : may_read ? AUTH_READ : AUTH_NONE;
}

enum auth_verdict auth_check(struct auth *a, const char *field, const union addr *peer,
                             uint64_t now_ms, enum auth_scope *scope)
{
    const char *token = bearer_of(field);
    const struct auth_slot *slot;
    uint8_t key[16];

    *scope = token ? scope_of(a, token) : AUTH_NONE;
    if (*scope != AUTH_NONE)
        return AUTH_OK;
    if (!token)
        return AUTH_MISSING;
    key_of(peer, key);
    slot = slot_of(a, key, now_ms);
    if (slot && slot->failures >= AUTH_FAILURES_MAX)
        return AUTH_TOO_MANY;
    count_failure(a, key, now_ms);
    return AUTH_WRONG;
}

uint64_t auth_wait_ms(struct auth *a, const union addr *peer, uint64_t now_ms)
{
    const struct auth_slot *slot;
    uint8_t key[16];

    key_of(peer, key);
    slot = slot_of(a, key, now_ms);
    return slot ? WINDOW_MS - (now_ms - slot->since_ms) : 0;
}
