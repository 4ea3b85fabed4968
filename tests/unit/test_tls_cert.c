/* test_tls_cert - certificates: what is taken, what is refused with which sentence, and that what
 * tls_cert_make_pem() makes is usable. */
#include <check.h>
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support/tls_pem.h"
#include "tls/tls.h"

static struct tls_pem ca, leaf, rsa, other;

static void setup(void)
{
    tls_pem_make(&ca, &(struct tls_pem_options){.name = "Test CA", .is_ca = true});
    tls_pem_make(&leaf,
                 &(struct tls_pem_options){
                     .name = "a.test", .more = "*.b.test", .issuer = &ca, .with_issuer = true});
    tls_pem_make(&rsa, &(struct tls_pem_options){.name = "rsa.test", .rsa_bits = 2048});
    tls_pem_make(&other, &(struct tls_pem_options){.name = "other.test"});
}

static void teardown(void)
{
    tls_pem_fini(&ca);
    tls_pem_fini(&leaf);
    tls_pem_fini(&rsa);
    tls_pem_fini(&other);
}

static struct tls_cert *parse(const struct tls_pem *pem)
{
    struct tls_cert *cert;
    char why[160] = "";

    ck_assert_msg(tls_cert_parse(&cert, pem->chain, pem->key, why, sizeof(why)) == 0, "%s", why);
    ck_assert_str_eq(why, "");
    return cert;
}

static void refuse(const char *chain, const char *key, int err, const char *words)
{
    struct tls_cert *cert = (struct tls_cert *)-1;
    char why[160] = "";
    int rc = tls_cert_parse(&cert, chain, key, why, sizeof(why));

    ck_assert_msg(rc == err, "%s: %s", err_name(rc), why);
    ck_assert_msg(strstr(why, words) != NULL, "\"%s\" lacks \"%s\"", why, words);
    ck_assert_ptr_null(cert);
}

START_TEST(good_ones_parse)
{
    struct tls_cert *cert = parse(&leaf), *again = tls_cert_ref(cert);

    tls_cert_unref(cert);
    ck_assert_int_lt(tls_cert_not_before(again, 0), time(NULL));
    ck_assert_int_gt(tls_cert_not_after(again, 0), time(NULL));
    tls_cert_unref(again);
    tls_cert_unref(NULL);
    tls_cert_unref(parse(&rsa));
    tls_cert_unref(parse(&other));
}
END_TEST

START_TEST(other_forms_parse)
{
    struct tls_pem both = {must_printf("%s%s", leaf.key, leaf.chain), must_strdup(leaf.key)};
    struct tls_pem noisy = {must_printf("Subject: a.test\r\n\r\n%s\n# end\n", leaf.chain),
                            must_printf("\n%s\n\n", leaf.key)};
    char *pkcs8_chain, *pkcs8_key;

    tls_cert_unref(parse(&both)); /* a key in the same file, as HAProxy has it */
    tls_cert_unref(parse(&noisy));
    ck_assert_int_eq(tls_cert_make_pem("c.test", &pkcs8_chain, &pkcs8_key), 0);
    ck_assert_ptr_nonnull(strstr(pkcs8_key, "BEGIN PRIVATE KEY"));
    ck_assert_ptr_nonnull(strstr(leaf.key, "BEGIN EC PRIVATE KEY"));
    ck_assert_ptr_nonnull(strstr(rsa.key, "BEGIN RSA PRIVATE KEY"));
    free(pkcs8_chain);
    free(pkcs8_key);
    tls_pem_fini(&both);
    tls_pem_fini(&noisy);
}
END_TEST

START_TEST(expired_parses_and_says_so)
{
    struct tls_pem pem;
    struct tls_cert *cert;

    tls_pem_make(&pem, &(struct tls_pem_options){.name = "old.test", .is_expired = true});
    cert = parse(&pem);
    ck_assert_int_lt(tls_cert_not_after(cert, 0), time(NULL));
    tls_cert_unref(cert);
    tls_pem_fini(&pem);
}
END_TEST

START_TEST(bad_chains_are_named)
{
    char *cut = must_printf("%.*s", (int)strlen(leaf.chain) - 40, leaf.chain);
    char *bad_second = must_strdup(leaf.chain), *second;
    char *many = must_strdup("");

    refuse("", leaf.key, -ERR_SYNTAX, "the chain: it is empty");
    refuse("hello", leaf.key, -ERR_SYNTAX, "no PEM block CERTIFICATE");
    refuse(leaf.key, leaf.key, -ERR_SYNTAX, "a private key and no certificate");
    refuse(cut, leaf.key, -ERR_SYNTAX, "cut off");
    refuse("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", leaf.key, -ERR_SYNTAX,
           "certificate 1 of the chain is not well formed");
    second = strstr(strstr(bad_second, "-----END"), "-----BEGIN");
    memset(second + 60, 'A', 30);
    refuse(bad_second, leaf.key, -ERR_SYNTAX, "certificate 2 of the chain is not well formed");
    for (int i = 0; i < 9; i++) { /* two each */
        char *more = must_printf("%s%s", many, leaf.chain);

        free(many);
        many = more;
    }
    refuse(many, leaf.key, -ERR_SYNTAX, "more than 16");
    free(cut);
    free(bad_second);
    free(many);
}
END_TEST

START_TEST(bad_keys_are_named)
{
    char *cut = must_printf("%.*s", (int)strlen(leaf.key) / 2, leaf.key);

    refuse(leaf.chain, "", -ERR_SYNTAX, "the key: it is empty");
    refuse(leaf.chain, "hello", -ERR_SYNTAX, "no PEM block PRIVATE KEY");
    refuse(leaf.chain, leaf.chain, -ERR_SYNTAX, "no PEM block PRIVATE KEY");
    refuse(leaf.chain, cut, -ERR_SYNTAX, "the key is not well formed");
    refuse(leaf.chain, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
           -ERR_SYNTAX, "the key is not well formed");
    refuse(leaf.chain,
           "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
           -ERR_SYNTAX, "password");
    refuse(leaf.chain,
           "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,00\n\n"
           "AAAA\n-----END RSA PRIVATE KEY-----\n",
           -ERR_SYNTAX, "password");
    free(cut);
}
END_TEST

START_TEST(key_must_belong_to_the_certificate)
{
    struct tls_pem rsa2;
    char *reversed = must_printf("%s%s", ca.chain, other.chain);

    tls_pem_make(&rsa2, &(struct tls_pem_options){.name = "rsa.test", .rsa_bits = 2048});
    refuse(leaf.chain, other.key, -ERR_CERT, "does not belong"); /* ECDSA, ECDSA */
    refuse(rsa.chain, rsa2.key, -ERR_CERT, "does not belong");   /* RSA, RSA */
    refuse(leaf.chain, rsa.key, -ERR_CERT, "does not belong");
    refuse(rsa.chain, leaf.key, -ERR_CERT, "does not belong");
    refuse(reversed, other.key, -ERR_CERT, "belongs to certificate 2");
    tls_pem_fini(&rsa2);
    free(reversed);
}
END_TEST

/* The scalar of one key with the point of another: such a key belongs to the certificate by its
 * public part, and would fail at the first handshake. */
START_TEST(key_must_be_sound)
{
    gnutls_x509_privkey_t right, wrong, forged;
    gnutls_datum_t x, y, k, unused[2], pem;
    gnutls_datum_t right_pem = {(unsigned char *)leaf.key, (unsigned)strlen(leaf.key)};
    gnutls_datum_t wrong_pem = {(unsigned char *)other.key, (unsigned)strlen(other.key)};
    gnutls_ecc_curve_t curve;

    gnutls_x509_privkey_init(&right);
    gnutls_x509_privkey_init(&wrong);
    gnutls_x509_privkey_init(&forged);
    ck_assert_int_eq(gnutls_x509_privkey_import(right, &right_pem, GNUTLS_X509_FMT_PEM), 0);
    ck_assert_int_eq(gnutls_x509_privkey_import(wrong, &wrong_pem, GNUTLS_X509_FMT_PEM), 0);
    ck_assert_int_eq(gnutls_x509_privkey_export_ecc_raw(right, &curve, &x, &y, NULL), 0);
    ck_assert_int_eq(gnutls_x509_privkey_export_ecc_raw(wrong, &curve, &unused[0], &unused[1], &k),
                     0);
    ck_assert_int_eq(gnutls_x509_privkey_import_ecc_raw(forged, curve, &x, &y, &k), 0);
    ck_assert_int_eq(gnutls_x509_privkey_export2(forged, GNUTLS_X509_FMT_PEM, &pem), 0);
    refuse(leaf.chain, (char *)pem.data, -ERR_SYNTAX, "do not belong together");
    gnutls_free(pem.data);
    gnutls_free(x.data);
    gnutls_free(y.data);
    gnutls_free(k.data);
    gnutls_free(unused[0].data);
    gnutls_free(unused[1].data);
    gnutls_x509_privkey_deinit(right);
    gnutls_x509_privkey_deinit(wrong);
    gnutls_x509_privkey_deinit(forged);
}
END_TEST

START_TEST(two_of_a_kind_are_refused)
{
    struct tls_cert *cert = parse(&leaf);
    char why[160] = "";

    ck_assert_int_eq(tls_cert_add(cert, other.chain, other.key, why, sizeof(why)), -ERR_CERT);
    ck_assert_ptr_nonnull(strstr(why, "of the same kind as another one: ECDSA"));
    ck_assert_uint_eq(tls_cert_count(cert), 1);
    ck_assert_int_eq(tls_cert_add(cert, rsa.chain, leaf.key, why, sizeof(why)), -ERR_CERT);
    ck_assert_int_eq(tls_cert_add(cert, rsa.chain, rsa.key, why, sizeof(why)), 0);
    ck_assert_uint_eq(tls_cert_count(cert), 2);
    ck_assert_str_eq(tls_cert_key_kind(cert, 0), "ECDSA");
    ck_assert_str_eq(tls_cert_key_kind(cert, 1), "RSA");
    tls_cert_unref(cert);
}
END_TEST

START_TEST(rsa_key_too_short_to_sign)
{
    struct tls_pem small;

    tls_pem_make(&small, &(struct tls_pem_options){.name = "a.test", .rsa_bits = 768});
    refuse(small.chain, small.key, -ERR_CERT, "768 bits");
    tls_pem_fini(&small);
}
END_TEST

START_TEST(why_may_be_short_or_absent)
{
    struct tls_cert *cert;
    char why[8];

    ck_assert_int_eq(tls_cert_parse(&cert, "", "", why, sizeof(why)), -ERR_SYNTAX);
    ck_assert_str_eq(why, "the cha");
    ck_assert_int_eq(tls_cert_parse(&cert, "", "", NULL, 0), -ERR_SYNTAX);
}
END_TEST

static void on_name(const char *name, void *arg)
{
    char *all = arg;

    strncat(all, name, 100);
    strncat(all, ",", 2);
}

START_TEST(names_and_what_they_cover)
{
    struct tls_cert *cert = parse(&leaf), *plain;
    struct tls_pem address;
    char all[300] = "";

    tls_cert_each_name(cert, 0, on_name, all);
    ck_assert_str_eq(all, "a.test,*.b.test,");
    ck_assert(tls_cert_covers(cert, 0, "a.test"));
    ck_assert(tls_cert_covers(cert, 0, "A.Test"));
    ck_assert(tls_cert_covers(cert, 0, "x.b.test"));
    ck_assert(tls_cert_covers(cert, 0, "*.b.test")); /* a route's own wildcard */
    ck_assert(!tls_cert_covers(cert, 0, "b.test"));
    ck_assert(!tls_cert_covers(cert, 0, "x.y.b.test"));
    ck_assert(!tls_cert_covers(cert, 0, "*.test"));
    ck_assert(!tls_cert_covers(cert, 0, "other.test"));
    ck_assert(!tls_cert_covers(cert, 0, ""));
    plain = parse(&rsa);
    ck_assert(!tls_cert_covers(plain, 0, "*.test"));
    tls_cert_unref(plain);
    tls_pem_make(&address, &(struct tls_pem_options){.name = "192.0.2.7"});
    plain = parse(&address);
    ck_assert(tls_cert_covers(plain, 0, "192.0.2.7"));
    ck_assert(!tls_cert_covers(plain, 0, "192.0.2.8"));
    tls_cert_unref(plain);
    tls_cert_unref(cert);
    tls_pem_fini(&address);
}
END_TEST

/* The pin as anybody else would compute it: SHA-256 over the exported public key. */
START_TEST(pin_and_fingerprint)
{
    struct tls_cert *cert = parse(&leaf);
    uint8_t pin[32], print[32], expect[32];
    gnutls_datum_t text = {(unsigned char *)leaf.chain, (unsigned)strlen(leaf.chain)}, der;
    gnutls_x509_crt_t crt;
    gnutls_pubkey_t key;

    tls_cert_pin(cert, pin);
    tls_cert_fingerprint(cert, 0, print);
    gnutls_x509_crt_init(&crt);
    gnutls_pubkey_init(&key);
    ck_assert_int_eq(gnutls_x509_crt_import(crt, &text, GNUTLS_X509_FMT_PEM), 0);
    ck_assert_int_eq(gnutls_pubkey_import_x509(key, crt, 0), 0);
    ck_assert_int_eq(gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &der), 0);
    tls_sha256(der.data, der.size, expect);
    gnutls_free(der.data);
    ck_assert_mem_eq(pin, expect, 32);
    ck_assert_int_eq(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, &der), 0);
    tls_sha256(der.data, der.size, expect);
    gnutls_free(der.data);
    ck_assert_mem_eq(print, expect, 32);
    gnutls_pubkey_deinit(key);
    gnutls_x509_crt_deinit(crt);
    tls_cert_unref(cert);
}
END_TEST

START_TEST(made_one_is_usable)
{
    static const char *const names[] = {
        "hub.test", "127.0.0.1", "2001:db8::1",
        "a-name-of-more-than-sixty-four-characters.which-no-common-name-holds.test"};
    const int64_t ten_years = 10LL * 365 * 24 * 3600;
    struct tls_pem pem;
    struct tls_cert *cert;
    gnutls_x509_crt_t crt;
    gnutls_datum_t text;
    uint8_t serial[32];
    size_t serial_len = sizeof(serial);
    unsigned usage, is_critical, is_ca = 1;
    char purpose[64];
    size_t purpose_len = sizeof(purpose);

    ck_assert_int_eq(tls_cert_make_pem(names[_i], &pem.chain, &pem.key), 0);
    cert = parse(&pem);
    ck_assert(tls_cert_covers(cert, 0, names[_i]));
    ck_assert(!tls_cert_covers(cert, 0, "other.test"));
    ck_assert_int_le(tls_cert_not_before(cert, 0), time(NULL));
    ck_assert_int_ge(tls_cert_not_after(cert, 0), time(NULL) + ten_years - 60);
    ck_assert_int_le(tls_cert_not_after(cert, 0), time(NULL) + ten_years);
    tls_cert_unref(cert);

    text = (gnutls_datum_t){(unsigned char *)pem.chain, (unsigned)strlen(pem.chain)};
    gnutls_x509_crt_init(&crt);
    ck_assert_int_eq(gnutls_x509_crt_import(crt, &text, GNUTLS_X509_FMT_PEM), 0);
    ck_assert_int_eq(gnutls_x509_crt_get_version(crt), 3);
    ck_assert_int_eq(gnutls_x509_crt_get_serial(crt, serial, &serial_len), 0);
    ck_assert_uint_eq(serial_len, 16);
    ck_assert_int_eq(gnutls_x509_crt_get_basic_constraints(crt, &is_critical, &is_ca, NULL), 0);
    ck_assert_uint_eq(is_ca, 0);
    ck_assert_int_eq(gnutls_x509_crt_get_key_usage(crt, &usage, &is_critical), 0);
    ck_assert_uint_eq(usage, GNUTLS_KEY_DIGITAL_SIGNATURE);
    ck_assert_int_eq(gnutls_x509_crt_get_key_purpose_oid(crt, 0, purpose, &purpose_len, NULL), 0);
    ck_assert_str_eq(purpose, GNUTLS_KP_TLS_WWW_SERVER);
    gnutls_x509_crt_deinit(crt);
    tls_pem_fini(&pem);
}
END_TEST

START_TEST(two_made_are_not_alike)
{
    struct tls_pem a, b;
    struct tls_cert *x, *y;
    uint8_t pins[2][32];

    ck_assert_int_eq(tls_cert_make_pem("a.test", &a.chain, &a.key), 0);
    ck_assert_int_eq(tls_cert_make_pem("a.test", &b.chain, &b.key), 0);
    x = parse(&a);
    y = parse(&b);
    tls_cert_pin(x, pins[0]);
    tls_cert_pin(y, pins[1]);
    ck_assert_mem_ne(pins[0], pins[1], 32);
    tls_cert_unref(x);
    tls_cert_unref(y);
    tls_pem_fini(&a);
    tls_pem_fini(&b);
}
END_TEST

START_TEST(files)
{
    char *chain = tls_pem_file(leaf.chain), *key = tls_pem_file(leaf.key);
    char *wrong = tls_pem_file(other.key), why[300] = "";
    struct tls_cert *cert;

    ck_assert_int_eq(tls_cert_load(&cert, chain, key, why, sizeof(why)), 0);
    ck_assert(tls_cert_covers(cert, 0, "a.test"));
    tls_cert_unref(cert);
    ck_assert_int_eq(tls_cert_load(&cert, chain, wrong, why, sizeof(why)), -ERR_CERT);
    ck_assert_ptr_nonnull(strstr(why, wrong));
    ck_assert_ptr_nonnull(strstr(why, "does not belong"));
    ck_assert_ptr_null(cert);
    ck_assert_int_eq(tls_cert_load(&cert, "/nowhere/chain", key, why, sizeof(why)), -ERR_IO);
    ck_assert_str_eq(why, "/nowhere/chain: No such file or directory");
    ck_assert_int_eq(tls_cert_load(&cert, chain, "/nowhere/key", why, sizeof(why)), -ERR_IO);
    ck_assert_str_eq(why, "/nowhere/key: No such file or directory");
    ck_assert_int_eq(tls_cert_load(&cert, "/", key, why, sizeof(why)), -ERR_IO);
    ck_assert_ptr_nonnull(strstr(why, "no regular file"));
    free(chain);
    free(key);
    free(wrong);
}
END_TEST

START_TEST(binary_file_is_refused)
{
    char *chain = tls_pem_file("0123456789"), why[200] = "";
    FILE *file = fopen(chain, "wb");
    struct tls_cert *cert;

    ck_assert_uint_eq(fwrite("\x30\x82\x00\x01", 1, 4, file), 4);
    fclose(file);
    ck_assert_int_eq(tls_cert_load(&cert, chain, chain, why, sizeof(why)), -ERR_SYNTAX);
    ck_assert_ptr_nonnull(strstr(why, "PEM"));
    free(chain);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tls_cert");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_add_unchecked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, good_ones_parse);
    tcase_add_test(tcase, other_forms_parse);
    tcase_add_test(tcase, expired_parses_and_says_so);
    tcase_add_test(tcase, bad_chains_are_named);
    tcase_add_test(tcase, bad_keys_are_named);
    tcase_add_test(tcase, key_must_belong_to_the_certificate);
    tcase_add_test(tcase, key_must_be_sound);
    tcase_add_test(tcase, two_of_a_kind_are_refused);
    tcase_add_test(tcase, rsa_key_too_short_to_sign);
    tcase_add_test(tcase, why_may_be_short_or_absent);
    tcase_add_test(tcase, names_and_what_they_cover);
    tcase_add_test(tcase, pin_and_fingerprint);
    tcase_add_loop_test(tcase, made_one_is_usable, 0, 4);
    tcase_add_test(tcase, two_made_are_not_alike);
    tcase_add_test(tcase, files);
    tcase_add_test(tcase, binary_file_is_refused);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
