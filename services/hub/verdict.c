/* verdict - see verdict.h. */
#include "hub/verdict.h"

#include <string.h>

static void prove(uint8_t out[PROOF_BYTES], const char *secret, enum proof_side side,
                  const struct hello *hello, const uint8_t exporter[TLS_EXPORTER_BYTES])
{
    uint8_t message[PROOF_MESSAGE_MAX];
    size_t n = proof_message_emit(message, side, exporter, hello->edge_id);

    tls_hmac_sha256(secret, strlen(secret), message, n, out);
}

static bool is_right(const char *secret, const struct hello *hello,
                     const uint8_t exporter[TLS_EXPORTER_BYTES])
{
    uint8_t proof[PROOF_BYTES];
    bool is_equal;

    prove(proof, secret, PROOF_EDGE, hello, exporter);
    is_equal = proof_is_equal(proof, hello->proof);
    tls_wipe(proof, sizeof(proof));
    return is_equal;
}

/* The secret that the hello was proved with, or NULL. */
static const char *matching_secret(const struct registry *r, const struct edge *edge,
                                   const struct hello *hello,
                                   const uint8_t exporter[TLS_EXPORTER_BYTES], uint64_t now_ms)
{
    const char *old = edge ? edge_old_secret(edge, now_ms) : NULL;
    bool is_new_right = is_right(edge ? edge->secret : r->decoy, hello, exporter);
    bool is_old_right = is_right(old ? old : r->decoy, hello, exporter);

    if (!edge || !hello->is_proof_formed)
        return NULL;
    if (is_new_right)
        return edge->secret;
    return old && is_old_right ? old : NULL;
}

void verdict_give(struct verdict *v, const struct registry *r, const struct hello *hello,
                  const uint8_t exporter[TLS_EXPORTER_BYTES], uint64_t now_ms)
{
    struct edge *edge = registry_find(r, hello->edge_id);
    const char *secret = matching_secret(r, edge, hello, exporter, now_ms);

    *v = (struct verdict){.code = ANSWER_UNAUTHORIZED, .message = "no such edge, or a wrong proof"};
    if (!secret)
        return;
    v->edge = edge;
    v->is_old_secret = secret != edge->secret;
    if (hello->rest_fault) {
        v->code = ANSWER_BAD_REQUEST;
        v->message = hello->rest_fault;
    } else if (!edge->is_enabled) {
        v->code = ANSWER_EDGE_DISABLED;
        v->message = "the edge is disabled";
    } else {
        v->code = ANSWER_OK;
        v->message = "";
        prove(v->proof, secret, PROOF_HUB, hello, exporter);
    }
}
