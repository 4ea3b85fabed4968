/* RSA signatures by libcrypto: GnuTLS takes each for its own, whatever the scheme, from several
 * threads at once. */
#include "signer/signer.h"

#include <check.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "support/tls_pem.h"

static gnutls_x509_privkey_t key;
static gnutls_pubkey_t verifier;
static gnutls_privkey_t signer;

static void import_key(unsigned rsa_bits)
{
    struct tls_pem pem;
    gnutls_datum_t text;

    tls_pem_make(&pem, &(struct tls_pem_options){.name = "a.test", .rsa_bits = rsa_bits});
    text = (gnutls_datum_t){(unsigned char *)pem.key, (unsigned)strlen(pem.key)};
    ck_assert_int_eq(gnutls_x509_privkey_init(&key), 0);
    ck_assert_int_eq(gnutls_x509_privkey_import(key, &text, GNUTLS_X509_FMT_PEM), 0);
    tls_pem_fini(&pem);
}

/* A verifier that knows nothing of libcrypto, and the signer; NULL where the build has none. */
static void setup(void)
{
    gnutls_privkey_t plain;

    import_key(2048);
    ck_assert_int_eq(gnutls_privkey_init(&plain), 0);
    ck_assert_int_eq(gnutls_privkey_import_x509(plain, key, 0), 0);
    ck_assert_int_eq(gnutls_pubkey_init(&verifier), 0);
    ck_assert_int_eq(gnutls_pubkey_import_privkey(verifier, plain, 0, 0), 0);
    gnutls_privkey_deinit(plain);
    signer = signer_new(key);
    ck_assert_int_eq(signer != NULL, signer_is_built());
    gnutls_x509_privkey_deinit(key); /* it needs that one no more */
}

static void teardown(void)
{
    gnutls_pubkey_deinit(verifier);
    if (signer)
        gnutls_privkey_deinit(signer);
}

static const gnutls_sign_algorithm_t schemes[] = {
    GNUTLS_SIGN_RSA_PSS_RSAE_SHA256, GNUTLS_SIGN_RSA_PSS_RSAE_SHA384,
    GNUTLS_SIGN_RSA_PSS_RSAE_SHA512, GNUTLS_SIGN_RSA_SHA256,
    GNUTLS_SIGN_RSA_SHA384,          GNUTLS_SIGN_RSA_SHA512,
};

static const gnutls_datum_t message = {(unsigned char *)"what is signed", 14},
                            other = {(unsigned char *)"what is not it", 14};

static void sign_and_verify(gnutls_sign_algorithm_t scheme)
{
    gnutls_datum_t signature = {NULL, 0};

    ck_assert_int_eq(gnutls_privkey_sign_data2(signer, scheme, 0, &message, &signature), 0);
    ck_assert_int_eq(gnutls_pubkey_verify_data2(verifier, scheme, 0, &message, &signature), 0);
    ck_assert_int_lt(gnutls_pubkey_verify_data2(verifier, scheme, 0, &other, &signature), 0);
    gnutls_free(signature.data);
}

START_TEST(each_scheme)
{
    if (signer)
        sign_and_verify(schemes[_i]);
}
END_TEST

static void *sign_often(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < 30; i++)
        sign_and_verify(schemes[i % 6]);
    return NULL;
}

START_TEST(from_several_threads)
{
    pthread_t threads[4];

    if (!signer)
        return;
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, sign_often, NULL), 0);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}
END_TEST

/* What it does not do is refused, and not signed with something else. */
START_TEST(a_scheme_that_it_has_not)
{
    gnutls_datum_t signature = {NULL, 0};

    if (!signer)
        return;
    ck_assert_int_lt(
        gnutls_privkey_sign_data2(signer, GNUTLS_SIGN_ECDSA_SHA256, 0, &message, &signature), 0);
    ck_assert_int_lt(
        gnutls_privkey_sign_data2(signer, GNUTLS_SIGN_RSA_PSS_SHA256, 0, &message, &signature), 0);
}
END_TEST

START_TEST(other_keys_stay_with_gnutls)
{
    import_key(0);
    ck_assert_ptr_null(signer_new(key));
    gnutls_x509_privkey_deinit(key);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("signer");
    TCase *tcase = tcase_create("signatures");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, each_scheme, 0, 6);
    tcase_add_test(tcase, from_several_threads);
    tcase_add_test(tcase, a_scheme_that_it_has_not);
    tcase_add_test(tcase, other_keys_stay_with_gnutls);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
