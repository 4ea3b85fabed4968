/* Fuzz target of wire/token: the input as a token's text, and as the JSON inside of one. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/must.h"
#include "wire/base64url.h"
#include "wire/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_token(const char *text)
{
    struct token t, back;
    struct wire_why why = {""};

    int rc = token_parse(&t, text, &why);
    must(rc == 0 || rc == -ERR_SYNTAX);
    if (rc != 0) {
        must(strlen(why.text) > 0);
        must(strlen(t.secret) == 0);
        return;
    }
    char *again = token_emit(&t);
    must(token_parse(&back, again, &why) == 0);
    must(strcmp(t.hub_host, back.hub_host) == 0);
    must(t.hub_port == back.hub_port);
    must(strcmp(t.edge_id, back.edge_id) == 0);
    must(strcmp(t.secret, back.secret) == 0);
    must(t.has_pin == back.has_pin);
    must(memcmp(t.pin, back.pin, sizeof(t.pin)) == 0);
    free(again);
    token_fini(&t);
    token_fini(&back);
}

/* base64url has one text for each sequence of bytes, and no second one. */
static void check_base64url(const uint8_t *data, size_t size, const char *text)
{
    size_t n, len, cap = size + 1;
    uint8_t *bytes = must_alloc(cap);
    char *again = must_alloc(BASE64URL_LEN(size) + 2);

    n = base64url_emit(again, data, size);
    must(base64url_parse(bytes, cap, again, n, &len) == 0);
    must(len == size);
    must(size == 0 || memcmp(bytes, data, size) == 0);
    if (base64url_parse(bytes, cap, text, strlen(text), &len) == 0) {
        must(base64url_emit(again, bytes, len) == strlen(text));
        must(strcmp(again, text) == 0);
    }
    free(bytes);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = must_alloc(BASE64URL_LEN(size) + 2);

    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    check_token(text);
    check_base64url(data, size, text);
    base64url_emit(text, data, size);
    check_token(text);
    free(text);
    return 0;
}
