/* Sessions without a socket; that they shake hands is shown by the tests of QUIC. */
#include "tls/tls_session.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/tls_pair.h"

static const char *const alpn[] = {"one", NULL};

START_TEST(made_and_freed)
{
    struct tls_ctx *client = tls_pair_client_ctx(TLS_ONLY_13, alpn);
    struct tls_ctx *server = tls_pair_server_ctx(TLS_ONLY_13, alpn, "hub.test");
    struct tls *t;

    ck_assert_int_eq(tls_session_new_client(&t, client, "hub.test"), 0);
    ck_assert_str_eq(tls_sni(t), "hub.test");
    ck_assert_ptr_nonnull(tls_session_handle(t));
    gnutls_session_set_ptr(tls_session_handle(t), &t); /* the caller's own */
    ck_assert_int_eq(tls_error(t), 0);
    tls_free(t);
    ck_assert_int_eq(tls_session_new_client(&t, client, "no name"), -ERR_SYNTAX);
    ck_assert_ptr_null(t);
    ck_assert_int_eq(tls_session_new_client(&t, client, NULL), 0);
    tls_free(t);
    ck_assert_int_eq(tls_session_new_server(&t, server, NULL), 0);
    tls_free(t);
    tls_ctx_unref(client);
    tls_ctx_unref(server);
}
END_TEST

static const struct {
    gnutls_alert_description_t alert;
    int err;
} alerts[] = {
    {GNUTLS_A_BAD_CERTIFICATE, -ERR_CERT},     {GNUTLS_A_UNKNOWN_CA, -ERR_CERT},
    {GNUTLS_A_UNRECOGNIZED_NAME, -ERR_DENIED}, {GNUTLS_A_NO_APPLICATION_PROTOCOL, -ERR_TLS},
    {GNUTLS_A_HANDSHAKE_FAILURE, -ERR_TLS},
};

START_TEST(alerts_say_why)
{
    struct tls_ctx *client = tls_pair_client_ctx(TLS_ONLY_13, alpn);
    struct tls *t;

    for (size_t i = 0; i < ARRAY_LEN(alerts); i++) {
        ck_assert_int_eq(tls_session_new_client(&t, client, "hub.test"), 0);
        ck_assert_int_eq(tls_session_fail(t, (uint8_t)alerts[i].alert, i % 2 == 0), alerts[i].err);
        ck_assert_int_eq(tls_error(t), alerts[i].err);
        ck_assert_ptr_nonnull(strstr(tls_error_text(t), "alert"));
        /* the first one stays */
        ck_assert_int_eq(tls_session_fail(t, GNUTLS_A_INTERNAL_ERROR, true), alerts[i].err);
        tls_free(t);
    }
    tls_ctx_unref(client);
}
END_TEST

/* A handshake that agreed on no protocol is none. */
START_TEST(no_protocol)
{
    struct tls_ctx *client = tls_pair_client_ctx(TLS_ONLY_13, alpn);
    struct tls *t;

    ck_assert_int_eq(tls_session_new_client(&t, client, "hub.test"), 0);
    ck_assert_int_eq(tls_session_finish(t), -ERR_TLS);
    ck_assert_ptr_nonnull(strstr(tls_error_text(t), "no protocol"));
    tls_free(t);
    tls_ctx_unref(client);
}
END_TEST

/* Nor is one in which nobody looked at the certificate that is pinned. */
START_TEST(unchecked)
{
    static const uint8_t pin[TLS_PIN_BYTES] = {1};
    struct tls_client_options options = {.versions = TLS_ONLY_13, .alpn = alpn, .pin = pin};
    struct tls_ctx *client;
    struct tls *t;
    char why[160];

    ck_assert_int_eq(tls_ctx_new_client(&client, &options, why, sizeof(why)), 0);
    ck_assert_int_eq(tls_session_new_client(&t, client, "hub.test"), 0);
    ck_assert_int_eq(tls_session_finish(t), -ERR_CERT);
    tls_free(t);
    tls_ctx_unref(client);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tls_session");
    TCase *all = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(all, made_and_freed);
    tcase_add_test(all, alerts_say_why);
    tcase_add_test(all, no_protocol);
    tcase_add_test(all, unchecked);
    suite_add_tcase(suite, all);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
