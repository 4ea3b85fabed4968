/* Tests of wire/proof: the bytes that are authenticated, and the text of a proof. */
#include <check.h>
#include <string.h>

#include "base/err.h"
#include "wire/proof.h"

START_TEST(the_message_is_label_exporter_and_id)
{
    uint8_t exporter[PROOF_EXPORTER_BYTES], out[PROOF_MESSAGE_MAX];

    for (size_t i = 0; i < sizeof(exporter); i++)
        exporter[i] = (uint8_t)i;
    ck_assert_uint_eq(proof_message_emit(out, PROOF_EDGE, exporter, "e-1"), 16 + 32 + 3);
    ck_assert_mem_eq(out, "penstock edge v1", 16);
    ck_assert_mem_eq(out + 16, exporter, 32);
    ck_assert_mem_eq(out + 48, "e-1", 3);
    ck_assert_uint_eq(proof_message_emit(out, PROOF_HUB, exporter, "e-1"), 15 + 32 + 3);
    ck_assert_mem_eq(out, "penstock hub v1", 15);
    ck_assert_mem_eq(out + 15, exporter, 32);
    ck_assert_mem_eq(out + 47, "e-1", 3);
    ck_assert_uint_eq(proof_message_emit(out, PROOF_EDGE, exporter, ""), 48);
}
END_TEST

START_TEST(the_longest_id_fits)
{
    uint8_t exporter[PROOF_EXPORTER_BYTES] = {0}, out[PROOF_MESSAGE_MAX];
    char id[EDGE_ID_MAX + 1];

    memset(id, 'x', EDGE_ID_MAX);
    id[EDGE_ID_MAX] = '\0';
    ck_assert_uint_eq(proof_message_emit(out, PROOF_EDGE, exporter, id), PROOF_MESSAGE_MAX);
}
END_TEST

START_TEST(a_proof_is_43_characters_of_base64url)
{
    uint8_t proof[PROOF_BYTES], back[PROOF_BYTES];
    char text[PROOF_TEXT_LEN + 2];

    for (size_t i = 0; i < sizeof(proof); i++)
        proof[i] = (uint8_t)(255 - i * 7);
    proof_emit(text, proof);
    ck_assert_uint_eq(strlen(text), PROOF_TEXT_LEN);
    ck_assert_int_eq(proof_parse(back, text), 0);
    ck_assert_mem_eq(back, proof, PROOF_BYTES);
    text[PROOF_TEXT_LEN] = '=';
    text[PROOF_TEXT_LEN + 1] = '\0';
    ck_assert_int_eq(proof_parse(back, text), -ERR_SYNTAX);
    text[PROOF_TEXT_LEN - 1] = '\0';
    ck_assert_int_eq(proof_parse(back, text), -ERR_SYNTAX);
    ck_assert_int_eq(proof_parse(back, ""), -ERR_SYNTAX);
    memset(text, 'A', PROOF_TEXT_LEN);
    text[PROOF_TEXT_LEN] = '\0';
    ck_assert_int_eq(proof_parse(back, text), 0);
    text[PROOF_TEXT_LEN - 1] = 'B'; /* two bits too many */
    ck_assert_int_eq(proof_parse(back, text), -ERR_SYNTAX);
    text[PROOF_TEXT_LEN - 1] = '+';
    ck_assert_int_eq(proof_parse(back, text), -ERR_SYNTAX);
}
END_TEST

START_TEST(proofs_differ_by_any_bit)
{
    uint8_t a[PROOF_BYTES] = {1, 2, 3}, b[PROOF_BYTES];

    memcpy(b, a, sizeof(a));
    ck_assert(proof_is_equal(a, b));
    for (size_t i = 0; i < PROOF_BYTES * 8; i++) {
        b[i / 8] ^= (uint8_t)(1 << i % 8);
        ck_assert(!proof_is_equal(a, b));
        b[i / 8] ^= (uint8_t)(1 << i % 8);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wire/proof");
    TCase *tcase = tcase_create("all");

    tcase_add_test(tcase, the_message_is_label_exporter_and_id);
    tcase_add_test(tcase, the_longest_id_fits);
    tcase_add_test(tcase, a_proof_is_43_characters_of_base64url);
    tcase_add_test(tcase, proofs_differ_by_any_bit);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
