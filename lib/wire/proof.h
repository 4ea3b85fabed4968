/* proof - what both ends authenticate over a channel: label || exporter || edgeId.
 *
 *   proof = base64url(HMAC-SHA256(secret, label || exporter || edgeId))
 *
 * The HMAC itself is the caller's (tls): bytes come in, bytes go out.  api/tunnel.md "The channel".
 */
#ifndef WIRE_PROOF_H
#define WIRE_PROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must.h"
#include "wire/identity.h"

#define PROOF_EXPORTER_BYTES 32 /* of EXPORTER-Channel-Binding, RFC 9266 */
#define PROOF_BYTES          32
#define PROOF_TEXT_LEN       43
#define PROOF_MESSAGE_MAX    (16 + PROOF_EXPORTER_BYTES + EDGE_ID_MAX)

enum proof_side { PROOF_EDGE, PROOF_HUB };

/* Returns the length.  `edge_id` has at most EDGE_ID_MAX bytes (it may be an invalid one, ""). */
size_t proof_message_emit(uint8_t out[PROOF_MESSAGE_MAX], enum proof_side side,
                          const uint8_t exporter[PROOF_EXPORTER_BYTES], const char *edge_id);

/* As it stands in the handshake; with a NUL. */
void proof_emit(char out[PROOF_TEXT_LEN + 1], const uint8_t proof[PROOF_BYTES]);
/* 0, or -ERR_SYNTAX: not the base64url of 32 bytes, which counts as a wrong proof. */
MUST_USE int proof_parse(uint8_t out[PROOF_BYTES], const char *text);

/* In constant time. */
bool proof_is_equal(const uint8_t a[PROOF_BYTES], const uint8_t b[PROOF_BYTES]);

#endif
