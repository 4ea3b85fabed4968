/* Fuzz target of wire/proxy: at one go and in pieces the answer is the same, nothing behind the
 * header is taken, and what is taken comes back when it is sent again. */
#include <string.h>

#include "base/err.h"
#include "base/must.h"
#include "wire/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_same(const struct proxy_header *a, const struct proxy_header *b)
{
    return a->family == b->family && a->is_local == b->is_local && a->src_port == b->src_port &&
           a->dst_port == b->dst_port && memcmp(a->src, b->src, sizeof(a->src)) == 0 &&
           memcmp(a->dst, b->dst, sizeof(a->dst)) == 0;
}

/* In pieces of 1, 2, 3, ... bytes. */
static int step_pieces(struct proxy_reader *r, const uint8_t *data, size_t size, size_t *used)
{
    size_t piece = 1, one;
    int rc = 0;

    proxy_reader_init(r);
    for (*used = 0; rc == 0 && *used < size; piece++) {
        size_t n = MIN(piece, size - *used);
        rc = proxy_reader_step(r, data + *used, n, &one);
        must(one <= n);
        must(rc != 0 || one == n);
        *used += one;
    }
    return rc;
}

static void check_again(const struct proxy_header *h)
{
    uint8_t v2[PROXY_V2_EMIT_MAX];
    char v1[PROXY_V1_MAX];
    struct proxy_header back;

    size_t n = proxy_emit_v2(v2, h);
    must(proxy_parse(&back, v2, n, NULL) == (int)n);
    must(is_same(h, &back));
    must(h->family == PROXY_UNSPEC || h->transport == back.transport);
    if (h->transport != PROXY_STREAM)
        return;
    n = proxy_emit_v1(v1, h);
    must(proxy_parse(&back, (const uint8_t *)v1, n, NULL) == (int)n);
    must(h->is_local || is_same(h, &back));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header h, unused;
    struct proxy_reader r;
    size_t total, used;

    int rc = proxy_parse(&h, data, size, &total);
    int pieces = step_pieces(&r, data, size, &used);
    must(pieces == (rc > 0 ? 1 : rc));
    must(total == r.total);
    if (rc <= 0) {
        must(rc == 0 || rc == -ERR_PROTO);
        must(proxy_parse_open(&unused, data, size) == -ERR_PROTO);
        must(proxy_parse_udp_open(&unused, data, size) == -ERR_PROTO);
        return 0;
    }
    must((size_t)rc <= size);
    must(used == (size_t)rc);
    must(is_same(&h, &r.header));
    must(proxy_parse(&unused, data, (size_t)rc - 1, NULL) == 0);
    must(proxy_parse(&unused, data, (size_t)rc, NULL) == rc);
    must(r.version == 2 || rc <= PROXY_V1_MAX);
    check_again(&h);
    return 0;
}
