/* token - the connection token: all that an edge has to know, in one word to copy.
 *
 *   base64url of {"hubHost":"...","hubPort":8443,"edgeId":"...","secret":"...","pin":"..."}
 *
 * A token is a secret: never log it; token_fini() wipes the struct.  api/tunnel.md "Token".
 */
#ifndef WIRE_TOKEN_H
#define WIRE_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/must.h"
#include "wire/identity.h"
#include "wire/why.h"

#define TOKEN_TEXT_MAX 4096
#define PIN_BYTES      32 /* SHA-256 of the SubjectPublicKeyInfo */
#define PIN_TEXT_LEN   43 /* of base64url */

struct token {
    char hub_host[HOST_MAX + 1];
    uint16_t hub_port;
    char edge_id[EDGE_ID_MAX + 1];
    char secret[SECRET_MAX + 1];
    bool has_pin;
    uint8_t pin[PIN_BYTES];
};

/* 0; or -ERR_SYNTAX with the first key at fault named in *why ("hubPort: must be 1 to 65535").
 * White space around the text is not part of it and is an error too: trim what you read. */
MUST_USE int token_parse(struct token *out, const char *text, struct wire_why *why);
/* The caller frees it (and wipes it before, where it matters).  Every field must be valid. */
char *token_emit(const struct token *t) MUST_USE;
void token_fini(struct token *t);

/* The pin by itself, as it stands in token and configuration. */
MUST_USE int pin_parse(uint8_t out[PIN_BYTES], const char *text); /* 0, -ERR_SYNTAX */
void pin_emit(char out[PIN_TEXT_LEN + 1], const uint8_t pin[PIN_BYTES]);

#endif
