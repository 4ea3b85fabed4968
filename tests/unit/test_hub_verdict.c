/* The verdict about a hello: the order of its checks, both secrets, nothing told before the proof.
 */
#include <stdio.h>

#include "hub/verdict.h"
#include "hub_fixture.h"

#define NOW 100000u

static struct registry registry;
static const uint8_t exporter[TLS_EXPORTER_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8};
static const char secret[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

static void prove(uint8_t out[PROOF_BYTES], const char *with, enum proof_side side,
                  const uint8_t *over, const char *id)
{
    uint8_t message[PROOF_MESSAGE_MAX];
    size_t n = proof_message_emit(message, side, over, id);

    tls_hmac_sha256(with, strlen(with), message, n, out);
}

static struct hello hello_of(const char *id, const char *with)
{
    struct hello h = {.version = WIRE_VERSION, .is_proof_formed = true};

    snprintf(h.edge_id, sizeof(h.edge_id), "%s", id);
    snprintf(h.instance, sizeof(h.instance), "here");
    prove(h.proof, with, PROOF_EDGE, exporter, id);
    return h;
}

static struct verdict judge(const struct hello *h)
{
    struct verdict v;

    verdict_give(&v, &registry, h, exporter, NOW);
    return v;
}

static void setup(void)
{
    struct edge_spec spec;
    unsigned change;

    registry_init(&registry, 10);
    edge_spec_init(&spec);
    memcpy(spec.id, "e1", 3);
    memcpy(spec.secret, secret, sizeof(secret));
    ck_assert_int_eq(registry_put(&registry, &spec, &change), 0);
    edge_spec_fini(&spec);
}

static void teardown(void)
{
    registry_fini(&registry);
}

START_TEST(right)
{
    struct hello h = hello_of("e1", secret);
    struct verdict v = judge(&h);
    uint8_t expect[PROOF_BYTES];

    ck_assert_int_eq(v.code, ANSWER_OK);
    ck_assert_ptr_eq(v.edge, registry_find(&registry, "e1"));
    ck_assert(!v.is_old_secret);
    prove(expect, secret, PROOF_HUB, exporter, "e1");
    ck_assert_mem_eq(v.proof, expect, sizeof(expect));
}
END_TEST

/* Every one of them gives the very same answer. */
START_TEST(wrong)
{
    static const uint8_t other_channel[TLS_EXPORTER_BYTES] = {9};
    struct hello h = hello_of("e1", secret);
    struct verdict v;

    switch (_i) {
    case 0: /* the edge is not known */
        h = hello_of("e2", secret);
        break;
    case 1: /* another secret */
        h = hello_of("e1", "BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        break;
    case 2: /* replayed from, or relayed over, another connection */
        prove(h.proof, secret, PROOF_EDGE, other_channel, "e1");
        break;
    case 3: /* the hub's own proof, reflected */
        prove(h.proof, secret, PROOF_HUB, exporter, "e1");
        break;
    case 4: /* no base64url of 32 bytes */
        h.is_proof_formed = false;
        break;
    case 5: /* proved for another edge */
        prove(h.proof, secret, PROOF_EDGE, exporter, "e2");
        break;
    case 6: /* what nobody must be able to log in with */
        h = hello_of("nobody", registry.decoy);
        break;
    case 7:
        h = hello_of("e1", registry.decoy);
        break;
    default:
        h.proof[31] ^= 1;
    }
    v = judge(&h);
    ck_assert_int_eq(v.code, ANSWER_UNAUTHORIZED);
    ck_assert_str_eq(v.message, "no such edge, or a wrong proof");
    ck_assert_ptr_null(v.edge);
    ck_assert_mem_eq(v.proof, (uint8_t[PROOF_BYTES]){0}, PROOF_BYTES);
}
END_TEST

START_TEST(proof_comes_before_the_rest)
{
    struct hello good = hello_of("e1", secret), bad = hello_of("e1", "x");
    struct edge *edge = registry_find(&registry, "e1");

    edge->is_enabled = false;
    ck_assert_int_eq(judge(&good).code, ANSWER_EDGE_DISABLED);
    ck_assert_int_eq(judge(&bad).code, ANSWER_UNAUTHORIZED);
    good.rest_fault = bad.rest_fault = "instance is missing";
    ck_assert_int_eq(judge(&good).code, ANSWER_BAD_REQUEST); /* the line before the edge */
    ck_assert_str_eq(judge(&good).message, "instance is missing");
    ck_assert_int_eq(judge(&bad).code, ANSWER_UNAUTHORIZED);
    ck_assert_mem_eq(judge(&good).proof, (uint8_t[PROOF_BYTES]){0}, PROOF_BYTES);
}
END_TEST

START_TEST(both_secrets_in_the_grace)
{
    struct edge *edge = registry_find(&registry, "e1");
    struct hello with_old = hello_of("e1", secret), with_new;
    uint8_t expect[PROOF_BYTES];
    struct verdict v;

    registry_renew_secret(&registry, edge, new_secret(), secret_grace_of(1000, NOW, 0));
    with_new = hello_of("e1", edge->secret);
    v = judge(&with_new);
    ck_assert_int_eq(v.code, ANSWER_OK);
    ck_assert(!v.is_old_secret);
    v = judge(&with_old);
    ck_assert_int_eq(v.code, ANSWER_OK);
    ck_assert(v.is_old_secret);
    prove(expect, secret, PROOF_HUB, exporter, "e1"); /* the hub answers with the same secret */
    ck_assert_mem_eq(v.proof, expect, sizeof(expect));
    verdict_give(&v, &registry, &with_old, exporter, NOW + 1000);
    ck_assert_int_eq(v.code, ANSWER_UNAUTHORIZED);
    verdict_give(&v, &registry, &with_new, exporter, NOW + 1000);
    ck_assert_int_eq(v.code, ANSWER_OK);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("verdict");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, right);
    tcase_add_loop_test(tcase, wrong, 0, 9);
    tcase_add_test(tcase, proof_comes_before_the_rest);
    tcase_add_test(tcase, both_secrets_in_the_grace);
    return suite_run("hub_verdict", tcase);
}
