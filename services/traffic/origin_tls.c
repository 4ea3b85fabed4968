/* origin_tls - see origin_tls.h.  A CA file is read at every build, so that a changed one is
 * another trust; the CAs themselves are only loaded when it is new. */
#include "traffic/origin_tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tls/tls.h"

#define CA_BYTES_MAX (4u << 20)

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

/* The hash of a file's content.  0, -ERR_IO. */
static int hash_file(const char *path, uint8_t out[32], char *why, size_t why_size)
{
    FILE *in = fopen(path, "rbe");
    char *bytes = in ? must_alloc(CA_BYTES_MAX) : NULL;
    size_t n = in ? fread(bytes, 1, CA_BYTES_MAX, in) : 0;
    int rc = -ERR_IO;

    if (!in || ferror(in)) {
        snprintf(why, why_size, "%s: %s", path, strerrordesc_np(errno));
    } else if (n == CA_BYTES_MAX) {
        snprintf(why, why_size, "%s: not a file of less than %u bytes", path, CA_BYTES_MAX);
    } else {
        tls_sha256(bytes, n, out);
        rc = 0;
    }
    free(bytes);
    if (in)
        fclose(in);
    return rc;
}

static int find_trust(const struct origin_tls_cache *cache, const uint8_t *trust_id, bool verifies,
                      const char *ca_file, struct tls_ctx **out, char *why, size_t why_size)
{
    static const char *const alpn[] = {"http/1.1", NULL};
    struct tls_client_options options = {
        .versions = TLS_12_AND_13,
        .alpn = alpn,
        .ca_file = verifies ? ca_file : NULL,
        .use_system_ca = verifies && !ca_file,
    };

    for (size_t i = 0; i < cache->count; i++) {
        if (memcmp(cache->list[i]->trust_id, trust_id, ORIGIN_TLS_ID_BYTES) != 0)
            continue;
        *out = tls_ctx_ref(cache->list[i]->ctx);
        return 0;
    }
    return tls_ctx_new_client(out, &options, why, why_size);
}

int origin_tls_cache_get(struct origin_tls_cache *cache, bool verifies, const char *ca_file,
                         const char *name, struct origin_tls **out, char *why, size_t why_size)
{
    uint8_t trust[1 + ORIGIN_TLS_ID_BYTES] = {verifies ? (ca_file ? 2 : 1) : 0};
    uint8_t trust_id[ORIGIN_TLS_ID_BYTES], both[2 * ORIGIN_TLS_ID_BYTES];
    struct origin_tls *made;
    int rc = verifies && ca_file ? hash_file(ca_file, trust + 1, why, why_size) : 0;

    *out = NULL;
    if (rc != 0)
        return rc;
    tls_sha256(trust, sizeof(trust), trust_id);
    memcpy(both, trust_id, sizeof(trust_id));
    tls_sha256(name, strlen(name), both + ORIGIN_TLS_ID_BYTES);
    tls_sha256(both, sizeof(both), both);
    for (size_t i = 0; i < cache->count; i++)
        if (memcmp(cache->list[i]->id, both, ORIGIN_TLS_ID_BYTES) == 0) {
            *out = origin_tls_ref(cache->list[i]);
            return 0;
        }
    made = must_alloc(sizeof(*made));
    rc = find_trust(cache, trust_id, verifies, ca_file, &made->ctx, why, why_size);
    if (rc != 0) {
        free(made);
        return rc;
    }
    atomic_init(&made->refs, 1);
    memcpy(made->id, both, sizeof(made->id));
    memcpy(made->trust_id, trust_id, sizeof(made->trust_id));
    made->name = must_strdup(name);
    origin_tls_cache_add(cache, made);
    *out = made;
    return 0;
}
