/* test_tls_crypto - known answers of SHA-256 and HMAC (FIPS 180-2, RFC 4231), and the rest by its
 * properties. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls/tls.h"

static void hex(const uint8_t bytes[32], char out[65])
{
    for (int i = 0; i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

START_TEST(sha256_known_answers)
{
    static const struct {
        const char *text, *expect;
    } row[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    uint8_t sum[32];
    char text[65];

    tls_sha256(row[_i].text, strlen(row[_i].text), sum);
    hex(sum, text);
    ck_assert_str_eq(text, row[_i].expect);
}
END_TEST

START_TEST(sha1_known_answer)
{
    uint8_t sum[32] = {0};
    char text[65];

    tls_sha1("abc", 3, sum); /* FIPS 180-1 */
    hex(sum, text);
    ck_assert_mem_eq(text, "a9993e364706816aba3e25717850c26c9cd0d89d", 40);
    ck_assert_uint_eq(sum[20], 0);
}
END_TEST

START_TEST(hmac_known_answers)
{
    uint8_t key[131], text[152], sum[32];
    char got[65];

    tls_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, sum); /* RFC 4231, case 2 */
    hex(sum, got);
    ck_assert_str_eq(got, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");

    memset(key, 0x0b, 20); /* case 1 */
    tls_hmac_sha256(key, 20, "Hi There", 8, sum);
    hex(sum, got);
    ck_assert_str_eq(got, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");

    memset(key, 0xaa, sizeof(key)); /* case 6: a key longer than a block */
    memcpy(text, "Test Using Larger Than Block-Size Key - Hash Key First", 54);
    tls_hmac_sha256(key, sizeof(key), text, 54, sum);
    hex(sum, got);
    ck_assert_str_eq(got, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");

    tls_hmac_sha256("key", 3, "", 0, sum); /* Python's hmac says */
    hex(sum, got);
    ck_assert_str_eq(got, "5d5d139563c95b5967b9bd9a8c9b233a9dedb45072794cd232dc1b74832607d0");
}
END_TEST

START_TEST(random_bytes_differ)
{
    uint8_t a[32] = {0}, b[32] = {0}, zero[32] = {0};

    tls_random(a, sizeof(a));
    tls_random(b, sizeof(b));
    ck_assert_mem_ne(a, b, sizeof(a));
    ck_assert_mem_ne(a, zero, sizeof(a));
}
END_TEST

START_TEST(equal_sees_every_byte)
{
    uint8_t a[40], b[40];

    tls_random(a, sizeof(a));
    memcpy(b, a, sizeof(a));
    ck_assert(tls_is_equal(a, b, sizeof(a)));
    ck_assert(tls_is_equal(a, b, 0));
    for (size_t i = 0; i < sizeof(a); i++) {
        b[i] ^= 1;
        ck_assert(!tls_is_equal(a, b, sizeof(a)));
        b[i] ^= 1;
    }
}
END_TEST

START_TEST(wipe_zeroes_all_and_no_more)
{
    char text[] = "a secret!";

    tls_wipe(text, 8);
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(text[i], 0);
    ck_assert_int_eq(text[8], '!');
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tls_crypto");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_add_loop_test(tcase, sha256_known_answers, 0, 3);
    tcase_add_test(tcase, sha1_known_answer);
    tcase_add_test(tcase, hmac_known_answers);
    tcase_add_test(tcase, random_bytes_differ);
    tcase_add_test(tcase, equal_sees_every_byte);
    tcase_add_test(tcase, wipe_zeroes_all_and_no_more);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
