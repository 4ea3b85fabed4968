/* test_tls_ctx - what two sides agree on, and what they refuse: versions, ciphers, ALPN, names; and
 * that the peer of a refusal is told why. */
#include <check.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support/tls_pair.h"
#include "support/tls_pem.h"

#define OFFERS 21 /* rows of others_offers */

static const char *const no_alpn[] = {NULL};

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

/* --- versions and ciphers ---------------------------------------------------------------- */

START_TEST(ours_agree)
{
    static const enum tls_versions row[][2] = {
        {TLS_ONLY_13, TLS_ONLY_13},
        {TLS_12_AND_13, TLS_12_AND_13},
        {TLS_12_AND_13, TLS_ONLY_13},
        {TLS_ONLY_13, TLS_12_AND_13},
    };
    struct tls_ctx *server = tls_pair_server_ctx(row[_i][0], no_alpn, "hub.test");
    struct tls_ctx *client = tls_pair_client_ctx(row[_i][1], no_alpn);
    struct tls_pair p;
    uint8_t a[TLS_EXPORTER_BYTES], b[TLS_EXPORTER_BYTES], zero[TLS_EXPORTER_BYTES] = {0};
    int64_t from = 0, until = 0;

    tls_pair_open(&p, PAIR_DIRECT, 0);
    tls_pair_join(&p, client, "hub.test", server, NULL);
    tls_pair_agree(&p);
    ck_assert_int_eq(tls_peer_times(p.client, &from, &until), 0);
    ck_assert(from <= time(NULL) && until > time(NULL));
    ck_assert_int_eq(tls_peer_times(p.server, &from, &until), -ERR_CERT); /* clients show none */
    ck_assert_str_eq(tls_version(p.client), "TLS1.3");
    ck_assert_str_eq(tls_version(p.server), "TLS1.3");
    ck_assert_str_eq(tls_cipher(p.client), "AES-128-GCM");
    ck_assert_str_eq(tls_cipher(p.server), "AES-128-GCM");
    ck_assert_str_eq(tls_sni(p.server), "hub.test");
    ck_assert_str_eq(tls_alpn(p.server), "");
    ck_assert_int_eq(tls_exporter(p.client, a), 0);
    ck_assert_int_eq(tls_exporter(p.server, b), 0);
    ck_assert_mem_eq(a, b, sizeof(a));
    ck_assert_mem_ne(a, zero, sizeof(a));
    ck_assert_int_eq(tls_error(p.client), 0);
    ck_assert_str_eq(tls_error_text(p.client), "");
    tls_pair_close(&p);
    tls_ctx_unref(client);
    tls_ctx_unref(server);
}
END_TEST

START_TEST(exporters_of_two_connections_differ)
{
    struct tls_ctx *server = tls_pair_server_ctx(TLS_ONLY_13, NULL, "hub.test");
    struct tls_ctx *client = tls_pair_client_ctx(TLS_ONLY_13, NULL);
    uint8_t bytes[2][TLS_EXPORTER_BYTES];

    for (int i = 0; i < 2; i++) {
        struct tls_pair p;

        tls_pair_open(&p, PAIR_DIRECT, 0);
        tls_pair_join(&p, client, NULL, server, NULL);
        tls_pair_agree(&p);
        ck_assert_int_eq(tls_exporter(p.client, bytes[i]), 0);
        tls_pair_close(&p);
    }
    ck_assert_mem_ne(bytes[0], bytes[1], TLS_EXPORTER_BYTES);
    tls_ctx_unref(client);
    tls_ctx_unref(server);
}
END_TEST

/* What other clients offer, and what becomes of it.  NULL: refused. */
START_TEST(others_offers)
{
    static const struct {
        enum tls_versions versions;
        bool is_rsa;
        const char *offer, *version, *cipher;
    } row[] = {
        {TLS_ONLY_13, false, "NORMAL", "TLS1.3", "AES-128-GCM"},
        {TLS_ONLY_13, true, "NORMAL", "TLS1.3", "AES-128-GCM"},
        {TLS_ONLY_13, false, "NORMAL:-VERS-ALL:+VERS-TLS1.2", NULL, NULL},
        {TLS_ONLY_13, false, "NORMAL:-CIPHER-ALL:+CHACHA20-POLY1305:+AES-256-GCM:+AES-128-GCM",
         "TLS1.3", "AES-128-GCM"}, /* our order, not the client's */
        {TLS_ONLY_13, false, "NORMAL:-CIPHER-ALL:+CHACHA20-POLY1305", "TLS1.3",
         "CHACHA20-POLY1305"},
        {TLS_ONLY_13, false, "NORMAL:-CIPHER-ALL:+AES-256-GCM", "TLS1.3", "AES-256-GCM"},
        {TLS_ONLY_13, false, "NORMAL:-GROUP-ALL:+GROUP-SECP256R1", "TLS1.3", "AES-128-GCM"},
        {TLS_ONLY_13, false, "NORMAL:-GROUP-ALL:+GROUP-SECP384R1:+GROUP-SECP256R1", "TLS1.3",
         "AES-128-GCM"}, /* HelloRetryRequest */
        {TLS_ONLY_13, false, "NORMAL:-GROUP-ALL:+GROUP-SECP384R1", NULL, NULL},
        {TLS_12_AND_13, false, "NORMAL", "TLS1.3", "AES-128-GCM"},
        {TLS_12_AND_13, false, "NORMAL:-VERS-ALL:+VERS-TLS1.2", "TLS1.2", "AES-128-GCM"},
        {TLS_12_AND_13, true, "NORMAL:-VERS-ALL:+VERS-TLS1.2", "TLS1.2", "AES-128-GCM"},
        {TLS_12_AND_13, false,
         "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+CHACHA20-POLY1305:+AES-128-GCM", "TLS1.2",
         "AES-128-GCM"},
        {TLS_12_AND_13, false, "NORMAL:-GROUP-ALL:+GROUP-SECP384R1", "TLS1.3", "AES-128-GCM"},
        {TLS_12_AND_13, true, "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA", NULL, NULL},
        {TLS_12_AND_13, true, "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+DHE-RSA", NULL, NULL},
        {TLS_12_AND_13, false, "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-CBC", NULL,
         NULL},
        {TLS_12_AND_13, true, "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-256-CBC:+SHA1", NULL,
         NULL},
        {TLS_12_AND_13, true, "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-CCM", NULL, NULL},
        {TLS_12_AND_13, false,
         "NORMAL:-VERS-ALL:+VERS-TLS1.2:-SIGN-ALL:+SIGN-ECDSA-SHA1:%VERIFY_ALLOW_SIGN_WITH_SHA1",
         NULL, NULL},
        {TLS_12_AND_13, false, "NORMAL:-VERS-ALL:+VERS-TLS1.1:+VERS-TLS1.0", NULL, NULL},
    };
    struct tls_pem pem;
    struct tls_ctx *server;
    struct raw_client raw;
    struct tls_pair p;
    enum io io;
    int code;

    _Static_assert(ARRAY_LEN(row) == OFFERS, "each row is a run of the loop");
    tls_pem_make(
        &pem, &(struct tls_pem_options){.name = "a.test", .rsa_bits = row[_i].is_rsa ? 2048 : 0});
    server = server_of(&pem, row[_i].versions);
    tls_pair_open(&p, PAIR_DIRECT, 0);
    tls_pair_join(&p, NULL, NULL, server, NULL);
    raw_client_open(&raw, p.client_fd, row[_i].offer, "a.test");
    code = raw_client_handshake(&raw, &p, &io);
    if (row[_i].version) {
        ck_assert_msg(io == IO_OK, "%s: %s", row[_i].offer, tls_error_text(p.server));
        ck_assert_int_eq(code, 0);
        ck_assert_str_eq(tls_version(p.server), row[_i].version);
        ck_assert_str_eq(tls_cipher(p.server), row[_i].cipher);
    } else {
        ck_assert_msg(io == IO_FAIL, "%s", row[_i].offer);
        ck_assert_int_eq(tls_error(p.server), -ERR_TLS);
        ck_assert_str_ne(tls_error_text(p.server), "");
        ck_assert_int_eq(code, GNUTLS_E_FATAL_ALERT_RECEIVED);
    }
    raw_client_close(&raw);
    tls_pair_close(&p);
    tls_ctx_unref(server);
    tls_pem_fini(&pem);
}
END_TEST

/* ECDSA and RSA for one name: a client gets the one that it can check. */
START_TEST(two_kinds_of_key)
{
    static const struct {
        const char *offer;
        gnutls_pk_algorithm_t kind;
    } row[] = {
        {"NORMAL", GNUTLS_PK_ECDSA},
        {"NORMAL:-SIGN-ALL:+SIGN-RSA-PSS-RSAE-SHA256", GNUTLS_PK_RSA},
        {"NORMAL:-SIGN-ALL:+SIGN-ECDSA-SECP256R1-SHA256", GNUTLS_PK_ECDSA},
        {"NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+ECDHE-RSA", GNUTLS_PK_RSA},
        {"NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+ECDHE-ECDSA", GNUTLS_PK_ECDSA},
    };
    struct tls_server_options options = {.versions = TLS_12_AND_13};
    struct tls_pem ecdsa, rsa;
    struct tls_ctx *server;
    char why[160] = "";

    tls_pem_make(&ecdsa, &(struct tls_pem_options){.name = "a.test"});
    tls_pem_make(&rsa, &(struct tls_pem_options){.name = "a.test", .rsa_bits = 2048});
    options.cert = parse(&ecdsa);
    ck_assert_int_eq(tls_cert_add(options.cert, rsa.chain, rsa.key, why, sizeof(why)), 0);
    ck_assert_int_eq(tls_ctx_new_server(&server, &options), 0);
    tls_cert_unref(options.cert);
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        const gnutls_datum_t *chain;
        gnutls_x509_crt_t cert;
        struct raw_client raw;
        struct tls_pair p;
        unsigned count;
        enum io io;

        tls_pair_open(&p, PAIR_DIRECT, 0);
        tls_pair_join(&p, NULL, NULL, server, NULL);
        raw_client_open(&raw, p.client_fd, row[i].offer, "a.test");
        ck_assert_msg(raw_client_handshake(&raw, &p, &io) == 0, "%s", row[i].offer);
        chain = gnutls_certificate_get_peers(raw.session, &count);
        gnutls_x509_crt_init(&cert);
        ck_assert_int_eq(gnutls_x509_crt_import(cert, &chain[0], GNUTLS_X509_FMT_DER), 0);
        ck_assert_msg(gnutls_x509_crt_get_pk_algorithm(cert, NULL) == (int)row[i].kind, "%s",
                      row[i].offer);
        gnutls_x509_crt_deinit(cert);
        raw_client_close(&raw);
        tls_pair_close(&p);
    }
    tls_ctx_unref(server);
    tls_pem_fini(&ecdsa);
    tls_pem_fini(&rsa);
}
END_TEST

/* --- ALPN -------------------------------------------------------------------------------- */

START_TEST(alpn)
{
    static const struct {
        const char *server[3], *client[3], *agreed;
    } row[] = {
        {{"penstock/1", NULL}, {"penstock/1", NULL}, "penstock/1"},
        {{"h2", "http/1.1", NULL}, {"http/1.1", "h2", NULL}, "h2"}, /* the server's order */
        {{"h2", "http/1.1", NULL}, {"http/1.1", NULL}, "http/1.1"},
        {{"penstock/1", NULL}, {"other/1", NULL}, ""}, /* the caller's to refuse */
        {{"penstock/1", NULL}, {NULL}, ""},
        {{NULL}, {"penstock/1", NULL}, ""},
    };
    struct tls_ctx *server = tls_pair_server_ctx(TLS_ONLY_13, row[_i].server, "hub.test");
    struct tls_ctx *client = tls_pair_client_ctx(TLS_ONLY_13, row[_i].client);
    struct tls_pair p;

    tls_pair_open(&p, PAIR_DIRECT, 0);
    tls_pair_join(&p, client, NULL, server, NULL);
    tls_pair_agree(&p);
    ck_assert_str_eq(tls_alpn(p.client), row[_i].agreed);
    ck_assert_str_eq(tls_alpn(p.server), row[_i].agreed);
    tls_pair_close(&p);
    tls_ctx_unref(client);
    tls_ctx_unref(server);
}
END_TEST

/* --- SNI --------------------------------------------------------------------------------- */

struct table {
    struct tls_cert *cert;
    const char *name; /* whom the cert is for; NULL: nobody */
    bool takes_none;
    unsigned asked;
    char asked_for[256];
};

static struct tls_cert *select_cert(void *arg, const char *sni)
{
    struct table *table = arg;

    table->asked++;
    snprintf(table->asked_for, sizeof(table->asked_for), "%s", sni ? sni : "(none)");
    if (!sni)
        return table->takes_none ? table->cert : NULL;
    return table->name && strcmp(sni, table->name) == 0 ? table->cert : NULL;
}

static struct tls_ctx *selecting_ctx(enum tls_versions versions)
{
    struct tls_server_options options = {.versions = versions, .select = select_cert};
    struct tls_ctx *ctx;

    ck_assert_int_eq(tls_ctx_new_server(&ctx, &options), 0);
    return ctx;
}

START_TEST(sni_chooses)
{
    static const struct {
        const char *dial, *asked_for; /* NULL: the client names nobody */
        bool takes_none, is_served;
    } row[] = {
        {"a.test", "a.test", false, true},     {"A.Test.", "a.test", false, true},
        {"b.test", "b.test", false, false},    {"x.a.test", "x.a.test", false, false},
        {NULL, "(none)", false, false},        {NULL, "(none)", true, true},
        {"127.0.0.1", "(none)", true, true}, /* an address is never sent */
        {"127.0.0.1", "(none)", false, false},
    };
    struct tls_pem pem;
    struct table table = {.name = "a.test", .takes_none = row[_i].takes_none};
    struct tls_ctx *server = selecting_ctx(TLS_12_AND_13);
    struct tls_ctx *client = tls_pair_client_ctx(TLS_12_AND_13, NULL);
    struct tls_pair p;
    enum io at_client, at_server;

    tls_pem_make(&pem, &(struct tls_pem_options){.name = "a.test"});
    table.cert = parse(&pem);
    tls_pair_open(&p, PAIR_DIRECT, 0);
    tls_pair_join(&p, client, row[_i].dial, server, &table);
    tls_pair_handshake(&p, &at_client, &at_server);
    ck_assert_str_eq(table.asked_for, row[_i].asked_for);
    ck_assert_uint_eq(table.asked, 1);
    if (row[_i].is_served) {
        ck_assert_msg(at_server == IO_OK, "%s", tls_error_text(p.server));
        ck_assert_int_eq(at_client, IO_OK);
        ck_assert_str_eq(tls_sni(p.server), row[_i].asked_for[0] == '(' ? "" : row[_i].asked_for);
        tls_cert_unref(table.cert); /* the connection has its own */
        table.cert = NULL;
        tls_pair_send(&p, p.client, p.server, "still there");
    } else {
        ck_assert_int_eq(at_server, IO_FAIL);
        ck_assert_int_eq(tls_error(p.server), -ERR_DENIED);
        ck_assert_int_eq(at_client, IO_FAIL);
        ck_assert_int_eq(tls_error(p.client), -ERR_DENIED);
        ck_assert_ptr_nonnull(strstr(tls_error_text(p.client), "not recognized"));
    }
    tls_pair_close(&p);
    tls_cert_unref(table.cert);
    tls_ctx_unref(client);
    tls_ctx_unref(server);
    tls_pem_fini(&pem);
}
END_TEST

START_TEST(sni_denial_as_others_see_it)
{
    static const char *const offers[] = {"NORMAL", "NORMAL:-VERS-ALL:+VERS-TLS1.2"};
    struct table table = {.name = NULL};
    struct tls_ctx *server = selecting_ctx(TLS_12_AND_13);
    struct raw_client raw;
    struct tls_pair p;
    enum io io;

    tls_pair_open(&p, PAIR_DIRECT, 0);
    tls_pair_join(&p, NULL, NULL, server, &table);
    raw_client_open(&raw, p.client_fd, offers[_i], "unknown.test");
    ck_assert_int_eq(raw_client_handshake(&raw, &p, &io), GNUTLS_E_FATAL_ALERT_RECEIVED);
    ck_assert_int_eq(gnutls_alert_get(raw.session), GNUTLS_A_UNRECOGNIZED_NAME);
    ck_assert_int_eq(io, IO_FAIL);
    ck_assert_int_eq(tls_error(p.server), -ERR_DENIED);
    ck_assert_str_eq(tls_error_text(p.server), "there is no certificate for unknown.test");
    raw_client_close(&raw);
    tls_pair_close(&p);
    tls_ctx_unref(server);
}
END_TEST

/* A HelloRetryRequest brings a second hello: the choice is made once and stays. */
START_TEST(sni_with_a_second_hello)
{
    struct tls_pem pem;
    struct table table = {.name = "a.test"};
    struct tls_ctx *server = selecting_ctx(TLS_ONLY_13);
    struct raw_client raw;
    struct tls_pair p;
    enum io io;

    tls_pem_make(&pem, &(struct tls_pem_options){.name = "a.test"});
    table.cert = parse(&pem);
    tls_pair_open(&p, PAIR_DIRECT, 0);
    tls_pair_join(&p, NULL, NULL, server, &table);
    raw_client_open(&raw, p.client_fd, "NORMAL:-GROUP-ALL:+GROUP-SECP384R1:+GROUP-SECP256R1",
                    "a.test");
    ck_assert_int_eq(raw_client_handshake(&raw, &p, &io), 0);
    ck_assert_msg(io == IO_OK, "%s", tls_error_text(p.server));
    ck_assert_uint_eq(table.asked, 1);
    ck_assert_str_eq(tls_sni(p.server), "a.test");
    raw_client_close(&raw);
    tls_pair_close(&p);
    tls_cert_unref(table.cert);
    tls_ctx_unref(server);
    tls_pem_fini(&pem);
}
END_TEST

START_TEST(sni_may_not_change_with_a_second_hello)
{
    struct tls_pem pem;
    struct table table = {.name = "a.test"};
    struct tls_ctx *server = selecting_ctx(TLS_ONLY_13);
    struct raw_client raw;
    struct tls_pair p;
    uint8_t hello[2048], *at;
    ssize_t n;

    tls_pem_make(&pem, &(struct tls_pem_options){.name = "a.test"});
    table.cert = parse(&pem);
    tls_pair_open(&p, PAIR_RELAYED, 0);
    tls_pair_join(&p, NULL, NULL, server, &table);
    raw_client_open(&raw, p.client_fd, "NORMAL:-GROUP-ALL:+GROUP-SECP384R1:+GROUP-SECP256R1",
                    "a.test");
    ck_assert_int_eq(gnutls_handshake(raw.session), GNUTLS_E_AGAIN);
    ck_assert_uint_gt(tls_pair_forward(p.client_wire, p.server_wire, sizeof(hello)), 0);
    ck_assert_int_eq(tls_handshake(p.server), IO_WAIT); /* HelloRetryRequest */
    ck_assert_uint_gt(tls_pair_forward(p.server_wire, p.client_wire, sizeof(hello)), 0);
    ck_assert_int_eq(gnutls_handshake(raw.session), GNUTLS_E_AGAIN);
    n = read(p.client_wire, hello, sizeof(hello));
    ck_assert_int_gt(n, 100);
    at = memmem(hello, (size_t)n, "a.test", 6);
    ck_assert_ptr_nonnull(at);
    at[0] = 'b';
    tls_pair_put(p.server_wire, hello, (size_t)n);
    while (tls_handshake(p.server) == IO_WAIT)
        tls_pair_wait(&p);
    ck_assert_int_eq(tls_error(p.server), -ERR_DENIED);
    ck_assert_str_eq(tls_error_text(p.server), "the client changed the name it asks for");
    ck_assert_uint_eq(table.asked, 1);
    raw_client_close(&raw);
    tls_pair_close(&p);
    tls_cert_unref(table.cert);
    tls_ctx_unref(server);
    tls_pem_fini(&pem);
}
END_TEST

/* A ClientHello goes out, its name is overwritten on the wire with `bytes`, the server sees that.
 */
static void forge_sni(const char *name, const char *bytes, struct table *table, int *error)
{
    struct tls_ctx *server = selecting_ctx(TLS_ONLY_13);
    struct tls_ctx *client = tls_pair_client_ctx(TLS_ONLY_13, NULL);
    struct tls_pair p;
    uint8_t hello[2048], *at;
    ssize_t n;

    tls_pair_open(&p, PAIR_RELAYED, 0);
    tls_pair_join(&p, client, name, server, table);
    ck_assert_int_eq(tls_handshake(p.client), IO_WAIT);
    n = read(p.client_wire, hello, sizeof(hello));
    ck_assert_int_gt(n, 100);
    at = memmem(hello, (size_t)n, name, strlen(name));
    ck_assert_ptr_nonnull(at);
    memcpy(at, bytes, strlen(name));
    tls_pair_put(p.server_wire, hello, (size_t)n);
    ck_assert_int_eq(tls_handshake(p.server), IO_FAIL);
    *error = tls_error(p.server);
    tls_pair_close(&p);
    tls_ctx_unref(client);
    tls_ctx_unref(server);
}

START_TEST(sni_that_is_no_name)
{
    static const char *const forged[] = {"a.test\0.x", "*.aa.test",       "a..a.test",
                                         "a b.c.tes",  "a.\xff\xff.test", "../../aaa"};
    struct table table = {.name = "a.test", .takes_none = true};
    int error = 0;

    forge_sni("aaaa.test", forged[_i], &table, &error);
    ck_assert_uint_eq(table.asked, 0); /* `select` never sees it */
    ck_assert_msg(error == -ERR_DENIED || error == -ERR_TLS, "%s", err_name(error));
}
END_TEST

START_TEST(name_that_cannot_be_dialled)
{
    struct tls_ctx *client = tls_pair_client_ctx(TLS_ONLY_13, NULL);
    struct tls_pair p;
    struct tls *t = (struct tls *)-1;

    tls_pair_open(&p, PAIR_DIRECT, 0);
    ck_assert_int_eq(tls_new_client(&t, client, &p.pool, p.client_fd, "not a name"), -ERR_SYNTAX);
    ck_assert_ptr_null(t);
    tls_pair_close(&p);
    tls_ctx_unref(client);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tls_ctx");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, ours_agree, 0, 4);
    tcase_add_test(tcase, exporters_of_two_connections_differ);
    tcase_add_loop_test(tcase, others_offers, 0, OFFERS);
    tcase_add_test(tcase, two_kinds_of_key);
    tcase_add_loop_test(tcase, alpn, 0, 6);
    tcase_add_loop_test(tcase, sni_chooses, 0, 8);
    tcase_add_loop_test(tcase, sni_denial_as_others_see_it, 0, 2);
    tcase_add_test(tcase, sni_with_a_second_hello);
    tcase_add_test(tcase, sni_may_not_change_with_a_second_hello);
    tcase_add_loop_test(tcase, sni_that_is_no_name, 0, 6);
    tcase_add_test(tcase, name_that_cannot_be_dialled);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
