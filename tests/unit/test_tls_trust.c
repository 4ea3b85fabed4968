/* test_tls_trust - how a client knows its server: by pin, by CA and name, or not at all; and that
 * contexts may be shared by threads. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "support/tls_pair.h"
#include "support/tls_pem.h"

static struct tls_cert *parse(const struct tls_pem *pem)
{
    struct tls_cert *cert;
    char why[160] = "";

    ck_assert_msg(tls_cert_parse(&cert, pem->chain, pem->key, why, sizeof(why)) == 0, "%s", why);
    return cert;
}

static struct tls_ctx *server_of(const struct tls_pem *pem, enum tls_versions versions)
{
    struct tls_server_options options = {.versions = versions, .cert = parse(pem)};
    struct tls_ctx *ctx;

    ck_assert_int_eq(tls_ctx_new_server(&ctx, &options), 0);
    tls_cert_unref(options.cert);
    return ctx;
}

static struct tls_ctx *client_of(const struct tls_client_options *options)
{
    struct tls_ctx *ctx;
    char why[200] = "";

    ck_assert_msg(tls_ctx_new_client(&ctx, options, why, sizeof(why)) == 0, "%s", why);
    return ctx;
}

/* One handshake; what the client says, and that the server learns of a refusal. */
static int outcome(struct tls_ctx *client, const char *name, struct tls_ctx *server, char *text,
                   size_t text_size)
{
    struct tls_pair p;
    enum io at_client, at_server;
    int error;

    tls_pair_open(&p, PAIR_DIRECT, 0);
    tls_pair_join(&p, client, name, server, NULL);
    tls_pair_handshake(&p, &at_client, &at_server);
    error = tls_error(p.client);
    ck_assert_int_eq(at_client == IO_OK, error == 0);
    snprintf(text, text_size, "%s", tls_error_text(p.client));
    if (error != 0) {
        ck_assert_int_eq(at_server, IO_FAIL);
        ck_assert_int_eq(tls_error(p.server), -ERR_CERT);
    } else {
        tls_pair_send(&p, p.server, p.client, "hello");
    }
    tls_pair_close(&p);
    return error;
}

START_TEST(pinned_key)
{
    struct tls_pem pem;
    struct tls_client_options options = {.versions = TLS_ONLY_13};
    struct tls_ctx *client, *server;
    struct tls_cert *cert;
    uint8_t right[TLS_PIN_BYTES];
    char text[160];

    tls_pem_make(&pem, &(struct tls_pem_options){.name = "hub.test", .is_expired = true});
    cert = parse(&pem);
    tls_cert_pin(cert, right);
    tls_cert_unref(cert);
    server = server_of(&pem, TLS_ONLY_13);
    options.pin = right;
    client = client_of(&options);
    ck_assert_int_eq(outcome(client, "any.test", server, text, sizeof(text)), 0);
    ck_assert_int_eq(outcome(client, NULL, server, text, sizeof(text)), 0);
    right[31] ^= 1; /* the context has a copy */
    ck_assert_int_eq(outcome(client, NULL, server, text, sizeof(text)), 0);
    tls_ctx_unref(client);
    client = client_of(&options);
    ck_assert_int_eq(outcome(client, "any.test", server, text, sizeof(text)), -ERR_CERT);
    ck_assert_str_eq(text, "the server's certificate is not the pinned one");
    tls_ctx_unref(client);
    tls_ctx_unref(server);
    tls_pem_fini(&pem);
}
END_TEST

enum { BY_CA, BY_CA_RSA, BY_CA_EXPIRED, BY_CA_ADDRESS, BY_CA_CLIENT_ONLY, BY_OTHER, ISSUED };

START_TEST(chain_and_name)
{
    static const struct {
        int cert;
        const char *dial;
        const char *refusal; /* NULL: taken */
    } row[] = {
        {BY_CA, "hub.test", NULL},
        {BY_CA, "HUB.test.", NULL},
        {BY_CA_RSA, "hub.test", NULL},
        {BY_CA_ADDRESS, "192.0.2.7", NULL},
        {BY_CA_ADDRESS, "192.0.2.8", "name"},
        {BY_CA, "other.test", "name"},
        {BY_CA, "192.0.2.7", "name"},
        {BY_CA, NULL, "no name to check"},
        {BY_CA_EXPIRED, "hub.test", "expired"},
        {BY_CA_CLIENT_ONLY, "hub.test", "purpose"},
        {BY_OTHER, "hub.test", "issuer is unknown"},
    };
    struct tls_pem ca, other, pem[ISSUED];
    struct tls_client_options options = {.versions = TLS_12_AND_13};
    struct tls_ctx *client;
    char *file;

    tls_pem_make(&ca, &(struct tls_pem_options){.name = "CA", .is_ca = true});
    tls_pem_make(&other, &(struct tls_pem_options){.name = "other CA", .is_ca = true});
    const struct tls_pem_options made[ISSUED] = {
        [BY_CA] = {.name = "hub.test", .issuer = &ca},
        [BY_CA_RSA] = {.name = "hub.test", .issuer = &ca, .rsa_bits = 2048, .with_issuer = true},
        [BY_CA_EXPIRED] = {.name = "hub.test", .issuer = &ca, .is_expired = true},
        [BY_CA_ADDRESS] = {.name = "192.0.2.7", .issuer = &ca},
        [BY_CA_CLIENT_ONLY] = {.name = "hub.test", .issuer = &ca, .is_client_only = true},
        [BY_OTHER] = {.name = "hub.test", .issuer = &other},
    };
    for (int i = 0; i < ISSUED; i++)
        tls_pem_make(&pem[i], &made[i]);
    file = tls_pem_file(ca.chain);
    options.ca_file = file;
    client = client_of(&options);
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct tls_ctx *server = server_of(&pem[row[i].cert], TLS_12_AND_13);
        char text[160];
        int rc = outcome(client, row[i].dial, server, text, sizeof(text));

        ck_assert_msg(rc == (row[i].refusal ? -ERR_CERT : 0), "row %zu: %d %s", i, rc, text);
        ck_assert_msg(!row[i].refusal || strstr(text, row[i].refusal), "row %zu: %s", i, text);
        tls_ctx_unref(server);
    }
    tls_ctx_unref(client);
    for (int i = 0; i < ISSUED; i++)
        tls_pem_fini(&pem[i]);
    tls_pem_fini(&ca);
    tls_pem_fini(&other);
    free(file);
}
END_TEST

START_TEST(pin_and_ca_must_both_agree)
{
    struct tls_pem ca, pem;
    struct tls_client_options options = {.versions = TLS_ONLY_13};
    struct tls_ctx *client, *server;
    struct tls_cert *cert;
    uint8_t pin_bytes[TLS_PIN_BYTES];
    char *file, text[160];

    tls_pem_make(&ca, &(struct tls_pem_options){.name = "CA", .is_ca = true});
    tls_pem_make(&pem, &(struct tls_pem_options){.name = "hub.test", .issuer = &ca});
    cert = parse(&pem);
    tls_cert_pin(cert, pin_bytes);
    tls_cert_unref(cert);
    server = server_of(&pem, TLS_ONLY_13);
    file = tls_pem_file(ca.chain);
    options.ca_file = file;
    options.pin = pin_bytes;
    client = client_of(&options);
    ck_assert_int_eq(outcome(client, "hub.test", server, text, sizeof(text)), 0);
    ck_assert_int_eq(outcome(client, "x.test", server, text, sizeof(text)), -ERR_CERT);
    tls_ctx_unref(client);
    pin_bytes[0] ^= 0x80;
    client = client_of(&options);
    ck_assert_int_eq(outcome(client, "hub.test", server, text, sizeof(text)), -ERR_CERT);
    tls_ctx_unref(client);
    tls_ctx_unref(server);
    tls_pem_fini(&ca);
    tls_pem_fini(&pem);
    free(file);
}
END_TEST

START_TEST(ca_file_that_is_none)
{
    char *empty = tls_pem_file("nothing\n"), why[200] = "";
    struct tls_client_options options = {.ca_file = "/nowhere/ca.pem"};
    struct tls_ctx *ctx = (struct tls_ctx *)-1;

    ck_assert_int_eq(tls_ctx_new_client(&ctx, &options, why, sizeof(why)), -ERR_IO);
    ck_assert_ptr_nonnull(strstr(why, "/nowhere/ca.pem"));
    ck_assert_ptr_null(ctx);
    options.ca_file = empty;
    ck_assert_int_eq(tls_ctx_new_client(&ctx, &options, why, sizeof(why)), -ERR_SYNTAX);
    ck_assert_ptr_nonnull(strstr(why, empty));
    ck_assert_ptr_null(ctx);
    ck_assert_int_eq(remove(empty), 0);
    ck_assert_int_eq(mkfifo(empty, 0600), 0); /* nobody writes into it: not to be waited for */
    ck_assert_int_eq(tls_ctx_new_client(&ctx, &options, why, sizeof(why)), -ERR_IO);
    ck_assert_ptr_nonnull(strstr(why, "is no regular file"));
    ck_assert_int_eq(remove(empty), 0);
    free(empty);
}
END_TEST

/* A container image without a CA bundle: an error that says so, else nobody's certificate passes.
 */
START_TEST(system_ca_refuses_a_stranger)
{
    struct tls_client_options options = {.versions = TLS_ONLY_13, .use_system_ca = true};
    struct tls_ctx *server = tls_pair_server_ctx(TLS_ONLY_13, NULL, "hub.test"), *client;
    char why[200] = "", text[160];
    int rc = tls_ctx_new_client(&client, &options, why, sizeof(why));

    if (rc == 0) {
        ck_assert_int_eq(outcome(client, "hub.test", server, text, sizeof(text)), -ERR_CERT);
        tls_ctx_unref(client);
    } else {
        ck_assert_int_eq(rc, -ERR_IO);
        ck_assert_ptr_nonnull(strstr(why, "system"));
    }
    tls_ctx_unref(server);
}
END_TEST

struct sharing {
    struct tls_ctx *client, *server; /* borrowed */
    unsigned agreed;
};

static void *shake_hands(void *arg)
{
    struct sharing *s = arg;

    for (int i = 0; i < 8; i++) {
        struct tls_pair p;
        enum io client, server;

        tls_pair_open(&p, PAIR_DIRECT, 0);
        tls_pair_join(&p, s->client, "hub.test", s->server, NULL);
        tls_pair_handshake(&p, &client, &server);
        s->agreed += client == IO_OK && server == IO_OK;
        tls_pair_close(&p);
    }
    return NULL;
}

START_TEST(contexts_are_shared_by_threads)
{
    struct tls_pem ca, pem;
    struct tls_client_options options = {.versions = TLS_ONLY_13};
    struct tls_ctx *server, *client;
    struct sharing sharing[4];
    pthread_t threads[4];
    char *file;

    tls_pem_make(&ca, &(struct tls_pem_options){.name = "CA", .is_ca = true});
    tls_pem_make(&pem, &(struct tls_pem_options){.name = "hub.test", .issuer = &ca});
    file = tls_pem_file(ca.chain);
    options.ca_file = file;
    server = server_of(&pem, TLS_ONLY_13);
    client = client_of(&options);
    for (int i = 0; i < 4; i++) {
        sharing[i] = (struct sharing){tls_ctx_ref(client), server, 0};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, shake_hands, &sharing[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_uint_eq(sharing[i].agreed, 8);
        tls_ctx_unref(sharing[i].client);
    }
    tls_ctx_unref(client);
    tls_ctx_unref(server);
    tls_pem_fini(&ca);
    tls_pem_fini(&pem);
    free(file);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tls_trust");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, pinned_key);
    tcase_add_test(tcase, chain_and_name);
    tcase_add_test(tcase, pin_and_ca_must_both_agree);
    tcase_add_test(tcase, ca_file_that_is_none);
    tcase_add_test(tcase, system_ca_refuses_a_stranger);
    tcase_add_test(tcase, contexts_are_shared_by_threads);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
