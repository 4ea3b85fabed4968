/* Fuzz target of wire/hello: the input as a hello and as an answer.  What is taken comes back the
 * same when it is emitted; a line that is cut is never more than "not yet". */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/must.h"
#include "wire/hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_same_list(const struct feature_list *a, const struct feature_list *b)
{
    return a->count == b->count && memcmp(a->names, b->names, sizeof(a->names)) == 0;
}

static void check_hello_again(const struct hello *h)
{
    struct hello back;
    struct wire_why why;
    size_t len;

    char *text = hello_emit(h, &len);
    must(len <= HELLO_MAX);
    must(hello_parse(&back, (const uint8_t *)text, len, &why) == (int)len);
    must(back.version == h->version);
    must(strcmp(back.edge_id, h->edge_id) == 0);
    must(strcmp(back.instance, h->instance) == 0);
    must(back.has_session == h->has_session);
    must(memcmp(back.session, h->session, sizeof(h->session)) == 0);
    must(back.lane == h->lane);
    must(back.is_proof_formed);
    must(memcmp(back.proof, h->proof, sizeof(h->proof)) == 0);
    must(strcmp(back.software, h->software) == 0);
    must(is_same_list(&back.features, &h->features));
    must(!back.rest_fault);
    free(text);
}

static void check_hello(const uint8_t *data, size_t size)
{
    struct hello h, unused;
    struct wire_why why = {""};

    int rc = hello_parse(&h, data, size, &why);
    must(rc == -ERR_PROTO || rc == -ERR_TOO_BIG || rc >= 0);
    must(rc != -ERR_PROTO || strlen(why.text) > 0);
    must(rc != -ERR_TOO_BIG || size >= HELLO_MAX);
    if (rc <= 0)
        return;
    must((size_t)rc == size);
    must(hello_parse(&unused, data, size - 1, &why) == 0);
    must(!h.is_session_formed || h.has_session);
    must(h.lane <= LANE_MAX);
    bool is_good = h.version == WIRE_VERSION && *h.edge_id && h.is_proof_formed && !h.rest_fault;
    if (is_good && h.has_session == h.is_session_formed)
        check_hello_again(&h);
}

static void check_answer_again(const struct answer *a)
{
    struct answer back;
    struct wire_why why;
    size_t len;

    char *text = answer_emit(a, &len);
    must(len <= ANSWER_MAX);
    must(answer_parse(&back, (const uint8_t *)text, len, &why) == (int)len);
    must(back.code == a->code);
    must(strcmp(back.edge_id, a->edge_id) == 0);
    must(memcmp(back.proof, a->proof, sizeof(a->proof)) == 0);
    must(memcmp(back.session, a->session, sizeof(a->session)) == 0);
    must(back.initial_window == a->initial_window);
    must(is_same_list(&back.features, &a->features));
    must(back.config.revision == a->config.revision);
    must(back.config.stun_interval_secs == a->config.stun_interval_secs);
    must(port_list_is_equal(&back.config.ports, &a->config.ports));
    must(port_list_is_equal(&back.config.ports_udp, &a->config.ports_udp));
    must(strcmp(back.message, a->message) == 0);
    must(back.retry_after_secs == a->retry_after_secs);
    answer_fini(&back);
    free(text);
}

static void check_answer(const uint8_t *data, size_t size)
{
    struct answer a;
    struct wire_why why = {""};

    int rc = answer_parse(&a, data, size, &why);
    must(rc == -ERR_PROTO || rc == -ERR_TOO_BIG || rc >= 0);
    must(rc != -ERR_PROTO || strlen(why.text) > 0);
    if (rc <= 0) {
        must(a.config.ports.ports == NULL);
        return;
    }
    must((size_t)rc <= size);
    must(data[rc - 1] == '\n');
    must(a.retry_after_secs <= RETRY_UNPROVEN_MAX_SECS);
    if (a.code != ANSWER_OTHER)
        check_answer_again(&a);
    answer_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_hello(data, size);
    check_answer(data, size);
    return 0;
}
