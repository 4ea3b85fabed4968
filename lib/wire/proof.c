/* proof - see proof.h. */
#include "wire/proof.h"

#include <string.h>

#include "base/err.h"
#include "wire/base64url.h"

_Static_assert(PROOF_TEXT_LEN == BASE64URL_LEN(PROOF_BYTES), "a proof is 32 bytes");

size_t proof_message_emit(uint8_t out[PROOF_MESSAGE_MAX], enum proof_side side,
                          const uint8_t exporter[PROOF_EXPORTER_BYTES], const char *edge_id)
{
    const char *label = side == PROOF_EDGE ? "penstock edge v1" : "penstock hub v1";
    size_t label_len = strlen(label), id_len = strlen(edge_id);

    must(id_len <= EDGE_ID_MAX);
    must(label_len + PROOF_EXPORTER_BYTES + id_len <= PROOF_MESSAGE_MAX);
    memcpy(out, label, label_len);
    memcpy(out + label_len, exporter, PROOF_EXPORTER_BYTES);
    memcpy(out + label_len + PROOF_EXPORTER_BYTES, edge_id, id_len);
    return label_len + PROOF_EXPORTER_BYTES + id_len;
}

void proof_emit(char out[PROOF_TEXT_LEN + 1], const uint8_t proof[PROOF_BYTES])
{
    base64url_emit(out, proof, PROOF_BYTES);
}

int proof_parse(uint8_t out[PROOF_BYTES], const char *text)
{
    size_t len;

    memset(out, 0, PROOF_BYTES);
    if (strlen(text) != PROOF_TEXT_LEN)
        return -ERR_SYNTAX;
    return base64url_parse(out, PROOF_BYTES, text, PROOF_TEXT_LEN, &len);
}

bool proof_is_equal(const uint8_t a[PROOF_BYTES], const uint8_t b[PROOF_BYTES])
{
    volatile uint8_t differ = 0; /* volatile: no early end may be made of this */

    for (size_t i = 0; i < PROOF_BYTES; i++)
        differ = (uint8_t)(differ | (a[i] ^ b[i]));
    return differ == 0;
}
