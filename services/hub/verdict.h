/* verdict - who is it?  The first half of the answer to a hello: proof, then the rest of the line,
 * then the edge itself.  What concerns its session is the desk's.  (api/tunnel.md, Exact rules)
 *
 * A wrong proof, an edge that is not known and a secret whose grace is over cost the same time and
 * give the same answer: every hello is checked against two secrets, those of the decoy where there
 * are none, in constant time.
 */
#ifndef HUB_VERDICT_H
#define HUB_VERDICT_H

#include "hub/registry.h"
#include "tls/tls.h"
#include "wire/hello.h"

struct verdict {
    enum answer_code code;      /* OK, UNAUTHORIZED, BAD_REQUEST, EDGE_DISABLED */
    const char *message;        /* static */
    struct edge *edge;          /* borrowed; unless UNAUTHORIZED */
    bool is_old_secret;         /* proved with the one that is on its way out */
    uint8_t proof[PROOF_BYTES]; /* the hub's, OK only */
};

void verdict_give(struct verdict *v, const struct registry *r, const struct hello *hello,
                  const uint8_t exporter[TLS_EXPORTER_BYTES], uint64_t now_ms);

#endif
