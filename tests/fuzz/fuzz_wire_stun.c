/* Fuzz target of wire/stun: what is read stays within the datagram, only its own transaction is
 * answered, and every cut of an answer is refused. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/must.h"
#include "wire/stun.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct stun_answer *a)
{
    must(a->kind == STUN_MAPPED || a->kind == STUN_ERROR || a->kind == STUN_USELESS);
    must(a->kind != STUN_ERROR || (a->error_code >= 300 && a->error_code <= 699));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t none[STUN_ID_BYTES];
    struct stun_answer answer, unused;
    uint8_t id[STUN_ID_BYTES];
    int err;

    err = stun_answer_parse(&answer, none, data, size);
    must(err == 0 || err == -ERR_PROTO || err == -ERR_NOT_FOUND);
    if (size < 20)
        return 0;
    memcpy(id, data + 8, sizeof(id));
    err = stun_answer_parse(&answer, id, data, size);
    must(err == 0 || err == -ERR_PROTO || err == -ERR_NOT_FOUND);
    if (err)
        return 0;
    check(&answer);
    must(size <= STUN_ANSWER_MAX);
    for (size_t cut = 0; cut < size; cut++)
        must(stun_answer_parse(&unused, id, data, cut) == -ERR_PROTO);
    id[0] ^= 1;
    must(stun_answer_parse(&unused, id, data, size) == -ERR_NOT_FOUND);
    return 0;
}
