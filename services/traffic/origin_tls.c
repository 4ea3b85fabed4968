/* origin_tls - see origin_tls.h.  A CA file is read at every build, so that a changed one is
 * another trust; the CAs themselves are only loaded when it is new. */
#include "traffic/origin_tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/regular_file.h"
#include "tls/tls.h"

struct origin_tls *origin_tls_ref(struct origin_tls *tls)
{
    unsigned before = atomic_fetch_add_explicit(&tls->refs, 1, memory_order_relaxed);

    must(before > 0);
    return tls;
}

void origin_tls_unref(struct origin_tls *tls)
{
    if (!tls || atomic_fetch_sub_explicit(&tls->refs, 1, memory_order_acq_rel) > 1)
        return;
    tls_ctx_unref(tls->ctx);
    free(tls->name);
    free(tls);
}

void origin_tls_cache_fini(struct origin_tls_cache *cache)
{
    for (size_t i = 0; i < cache->count; i++)
        origin_tls_unref(cache->list[i]);
    free(cache->list);
    memset(cache, 0, sizeof(*cache));
}

void origin_tls_cache_add(struct origin_tls_cache *cache, struct origin_tls *tls)
{
    if (cache->count > 0 && cache->list[cache->count - 1] == tls)
        return; /* routes of one kind stand side by side */
    if (cache->count == cache->room) {
        size_t room = cache->room ? 2 * cache->room : 8;
        struct origin_tls **list = reallocarray(cache->list, room, sizeof(struct origin_tls *));

        must(list != NULL);
        cache->list = list;
        cache->room = room;
    }
    cache->list[cache->count++] = origin_tls_ref(tls);
}

/* A CA file as it was read: what was hashed is what is trusted. */
struct ca_file {
    const char *path; /* borrowed; NULL: none */
    char *pem;        /* owned */
    size_t len;
};

static int ca_file_read(struct ca_file *ca, char *why, size_t why_size)
{
    const char *fault;

    if (!ca->path || regular_file_read(ca->path, TLS_CA_BYTES_MAX, &ca->pem, &ca->len, &fault) == 0)
        return 0;
    snprintf(why, why_size, "%s: %s", ca->path, fault);
    return -ERR_IO;
}

static int find_trust(const struct origin_tls_cache *cache, const uint8_t *trust_id, bool verifies,
                      const struct ca_file *ca, struct tls_ctx **out, char *why, size_t why_size)
{
    static const char *const alpn[] = {"http/1.1", NULL};
    struct tls_client_options options = {
        .versions = TLS_12_AND_13,
        .alpn = alpn,
        .ca_file = ca->path,
        .ca_pem = ca->pem,
        .ca_pem_len = ca->len,
        .use_system_ca = verifies && !ca->path,
    };

    for (size_t i = 0; i < cache->count; i++) {
        if (memcmp(cache->list[i]->trust_id, trust_id, ORIGIN_TLS_ID_BYTES) != 0)
            continue;
        *out = tls_ctx_ref(cache->list[i]->ctx);
        return 0;
    }
    return tls_ctx_new_client(out, &options, why, why_size);
}

/* The ids of a trust (of all that is in it) and of the trust with the name. */
static void make_ids(bool verifies, const struct ca_file *ca, const char *name, uint8_t *trust_id,
                     uint8_t *id)
{
    uint8_t trust[1 + ORIGIN_TLS_ID_BYTES] = {verifies ? (ca->path ? 2 : 1) : 0};
    uint8_t both[2 * ORIGIN_TLS_ID_BYTES];

    if (ca->pem)
        tls_sha256(ca->pem, ca->len, trust + 1);
    tls_sha256(trust, sizeof(trust), trust_id);
    memcpy(both, trust_id, ORIGIN_TLS_ID_BYTES);
    tls_sha256(name, strlen(name), both + ORIGIN_TLS_ID_BYTES);
    tls_sha256(both, sizeof(both), id);
}

static int find_or_make(struct origin_tls_cache *cache, bool verifies, const struct ca_file *ca,
                        const char *name, struct origin_tls **out, char *why, size_t why_size)
{
    uint8_t trust_id[ORIGIN_TLS_ID_BYTES], id[ORIGIN_TLS_ID_BYTES];
    struct origin_tls *made;
    int rc;

    make_ids(verifies, ca, name, trust_id, id);
    for (size_t i = 0; i < cache->count; i++)
        if (memcmp(cache->list[i]->id, id, ORIGIN_TLS_ID_BYTES) == 0) {
            *out = origin_tls_ref(cache->list[i]);
            return 0;
        }
    made = must_alloc(sizeof(*made));
    rc = find_trust(cache, trust_id, verifies, ca, &made->ctx, why, why_size);
    if (rc != 0) {
        free(made);
        return rc;
    }
    atomic_init(&made->refs, 1);
    memcpy(made->id, id, sizeof(made->id));
    memcpy(made->trust_id, trust_id, sizeof(made->trust_id));
    made->name = must_strdup(name);
    origin_tls_cache_add(cache, made);
    *out = made;
    return 0;
}

int origin_tls_cache_get(struct origin_tls_cache *cache, bool verifies, const char *ca_file,
                         const char *name, struct origin_tls **out, char *why, size_t why_size)
{
    struct ca_file ca = {.path = verifies ? ca_file : NULL};
    int rc = ca_file_read(&ca, why, why_size);

    *out = NULL;
    if (rc == 0)
        rc = find_or_make(cache, verifies, &ca, name, out, why, why_size);
    cache->failures += rc != 0;
    free(ca.pem);
    return rc;
}
