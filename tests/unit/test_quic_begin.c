/* How connections begin: whom a client accepts, what cannot be dialled, what a peer may open. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/quic_pair.h"

static bool is_client_over(struct quic_pair *p)
{
    return p->client.last == IO_FAIL || p->client.last == IO_EOF;
}

static bool is_server_over(struct quic_pair *p)
{
    return p->server.last == IO_FAIL || p->server.last == IO_EOF;
}

static bool are_both_over(struct quic_pair *p)
{
    return is_client_over(p) && is_server_over(p);
}

static struct tls_ctx *client_ctx(const uint8_t *pin, const char *protocol)
{
    const char *alpn[] = {protocol, NULL};
    struct tls_client_options options = {.versions = TLS_ONLY_13, .alpn = alpn, .pin = pin};
    struct tls_ctx *ctx;
    char why[160];

    ck_assert_int_eq(tls_ctx_new_client(&ctx, &options, why, sizeof(why)), 0);
    return ctx;
}

/* Both hear why; nobody hears of bytes. */
START_TEST(another_pin)
{
    static const uint8_t pin[TLS_PIN_BYTES] = {1};
    struct quic_pair p;

    quic_pair_begin(&p);
    tls_ctx_unref(p.client_tls);
    p.client_tls = client_ctx(pin, QUIC_PAIR_ALPN);
    quic_pair_open(&p);
    quic_pair_dial(&p);
    quic_pair_until(&p, are_both_over);
    ck_assert_int_eq(quic_error(p.client.q), -ERR_CERT);
    ck_assert_ptr_nonnull(strstr(quic_error_text(p.client.q), "pinned"));
    ck_assert_int_eq(p.client.last, IO_FAIL);
    ck_assert_int_eq(quic_error(p.server.q), -ERR_CERT);
    ck_assert_int_eq(p.server.last, IO_FAIL);
    ck_assert_uint_eq(quic_port_unvalidated(p.server_port), 0);
    quic_pair_close(&p);
}
END_TEST

START_TEST(right_pin)
{
    static const char *const alpn[] = {QUIC_PAIR_ALPN, NULL};
    struct tls_server_options options = {.versions = TLS_ONLY_13, .alpn = alpn};
    char *chain, *key, why[160];
    uint8_t pin[TLS_PIN_BYTES];
    struct quic_pair p;

    quic_pair_begin(&p);
    ck_assert_int_eq(tls_cert_make_pem("hub.test", &chain, &key), 0);
    ck_assert_int_eq(tls_cert_parse(&options.cert, chain, key, why, sizeof(why)), 0);
    free(chain);
    free(key);
    tls_cert_pin(options.cert, pin);
    tls_ctx_unref(p.client_tls);
    tls_ctx_unref(p.server_tls);
    p.client_tls = client_ctx(pin, QUIC_PAIR_ALPN);
    ck_assert_int_eq(tls_ctx_new_server(&p.server_tls, &options), 0);
    tls_cert_unref(options.cert);
    quic_pair_open(&p);
    quic_pair_dial(&p);
    quic_pair_until(&p, quic_pair_is_secure);
    quic_pair_close(&p);
}
END_TEST

/* The server ends it with its first packet: its owner never hears of the connection. */
START_TEST(another_protocol)
{
    struct quic_pair p;

    quic_pair_begin(&p);
    tls_ctx_unref(p.client_tls);
    p.client_tls = client_ctx(NULL, "another");
    quic_pair_open(&p);
    quic_pair_dial(&p);
    quic_pair_until(&p, is_client_over);
    ck_assert_int_eq(quic_error(p.client.q), -ERR_TLS);
    ck_assert_uint_eq(p.accepted, 0);
    ck_assert_uint_eq(p.initials, 1);
    ck_assert_uint_eq(quic_port_unvalidated(p.server_port), 0);
    quic_pair_close(&p);
}
END_TEST

/* A name that is none, a family without a socket. */
START_TEST(what_cannot_be_dialled)
{
    struct quic_dial_options options = {.ops = &quic_pair_ops};
    union addr six;
    struct quic_pair p;
    struct quic *q;

    quic_pair_begin(&p);
    quic_pair_open(&p);
    options.tls = p.client_tls;
    options.owner = &p.client;
    options.peer = &p.server_at;
    options.server_name = "no such name";
    ck_assert_int_eq(quic_dial(&q, p.client_port, &options), -ERR_SYNTAX);
    ck_assert_ptr_null(q);
    ck_assert_int_eq(addr_parse(&six, "[::1]:1"), 0);
    options.peer = &six;
    options.server_name = NULL;
    ck_assert_int_eq(quic_dial(&q, p.client_port, &options), -ERR_SYS);
    quic_pair_close(&p);
}
END_TEST

START_TEST(streams_have_a_limit)
{
    struct quic_pair p;
    int64_t id;

    quic_pair_begin(&p);
    p.params.streams_bidi = 2;
    p.params.streams_uni = 1;
    quic_pair_open(&p);
    quic_pair_dial(&p);
    ck_assert_int_eq(quic_open(p.client.q, &id, NULL), -ERR_LIMIT); /* not yet secure */
    quic_pair_until(&p, quic_pair_is_secure);
    ck_assert_int_eq(quic_open(p.client.q, &id, NULL), 0);
    ck_assert_int_eq(quic_open(p.client.q, &id, NULL), 0);
    ck_assert_int_eq(quic_open(p.client.q, &id, NULL), -ERR_LIMIT);
    ck_assert_int_eq(quic_open_uni(p.client.q, &id, NULL), 0);
    ck_assert_int_eq(quic_open_uni(p.client.q, &id, NULL), -ERR_LIMIT);
    quic_pair_close(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quic_begin");
    TCase *all = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(all, another_pin);
    tcase_add_test(all, right_pin);
    tcase_add_test(all, another_protocol);
    tcase_add_test(all, what_cannot_be_dialled);
    tcase_add_test(all, streams_have_a_limit);
    suite_add_tcase(suite, all);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
