/* test_tls_peers - our server against bare GnuTLS clients that do what ours never would: key
 * updates without end, records without data, renegotiation, records of 512 bytes, TLS 1.2. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/tls_pair.h"

static struct tls_ctx *server_ctx;

static void setup(void)
{
    server_ctx = tls_pair_server_ctx(TLS_12_AND_13, NULL, "hub.test");
}

static void teardown(void)
{
    tls_ctx_unref(server_ctx);
}

static void open_raw(struct tls_pair *p, struct raw_client *raw, const char *priority)
{
    enum io server;

    tls_pair_open(p, PAIR_DIRECT, 1 << 20);
    tls_pair_join(p, NULL, NULL, server_ctx, NULL);
    raw_client_open(raw, p->client_fd, priority, "hub.test");
    ck_assert_int_eq(raw_client_handshake(raw, p, &server), 0);
    ck_assert_msg(server == IO_OK, "%s", tls_error_text(p->server));
}

START_TEST(key_updates_pass)
{
    struct raw_client raw;
    struct tls_pair p;
    const uint8_t *bytes;
    char text[8];
    size_t n;

    open_raw(&p, &raw, "NORMAL");
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(gnutls_session_key_update(raw.session, i % 2 ? GNUTLS_KU_PEER : 0), 0);
        ck_assert_int_eq(gnutls_record_send(raw.session, "after", 5), 5);
        ck_assert_int_eq(tls_pair_read(&p, p.server, &bytes, &n), IO_OK);
        ck_assert_uint_eq(n, 5);
        ck_assert_int_eq(tls_write(p.server, "answer", 6), IO_OK);
        ck_assert_int_eq(tls_flush(p.server), IO_OK);
        while ((n = (size_t)gnutls_record_recv(raw.session, text, sizeof(text))) ==
               (size_t)GNUTLS_E_AGAIN) /* the KeyUpdate that answers ours */
            ;
        ck_assert_uint_eq(n, 6);
        ck_assert_mem_eq(text, "answer", 6);
    }
    raw_client_close(&raw);
    tls_pair_close(&p);
}
END_TEST

START_TEST(key_update_flood_ends)
{
    struct raw_client raw;
    struct tls_pair p;
    const uint8_t *bytes;
    size_t n;

    open_raw(&p, &raw, "NORMAL");
    for (int i = 0; i < 101; i++)
        ck_assert_int_eq(gnutls_session_key_update(raw.session, 0), 0);
    ck_assert_int_eq(tls_pair_read(&p, p.server, &bytes, &n), IO_FAIL);
    ck_assert_int_eq(tls_error(p.server), -ERR_TLS);
    raw_client_close(&raw);
    tls_pair_close(&p);
}
END_TEST

START_TEST(empty_records)
{
    struct raw_client raw;
    struct tls_pair p;
    const uint8_t *bytes;
    size_t n;

    open_raw(&p, &raw, "NORMAL");
    for (int i = 0; i < 50; i++)
        ck_assert_int_eq(gnutls_record_send2(raw.session, "", 0, 4, 0), 0);
    ck_assert_int_eq(gnutls_record_send(raw.session, "data", 4), 4);
    ck_assert_int_eq(tls_pair_read(&p, p.server, &bytes, &n), IO_OK);
    ck_assert_uint_eq(n, 4); /* never an empty one */
    ck_assert_mem_eq(bytes, "data", 4);
    for (int i = 0; i < 500; i++)
        ck_assert_int_eq(gnutls_record_send2(raw.session, "", 0, 4, 0), 0);
    ck_assert_int_eq(tls_pair_read(&p, p.server, &bytes, &n), IO_FAIL);
    ck_assert_int_eq(tls_error(p.server), -ERR_TLS);
    raw_client_close(&raw);
    tls_pair_close(&p);
}
END_TEST

/* Few records, but each as large as one can be, and nothing in them. */
START_TEST(padding_without_data)
{
    struct raw_client raw;
    struct tls_pair p;
    const uint8_t *bytes;
    size_t n;

    open_raw(&p, &raw, "NORMAL");
    for (int i = 0; i < 9; i++) { /* data between them: goes on for ever */
        ck_assert_int_eq(gnutls_record_send2(raw.session, "", 0, 16000, 0), 0);
        ck_assert_int_eq(gnutls_record_send(raw.session, "data", 4), 4);
        ck_assert_int_eq(tls_pair_read(&p, p.server, &bytes, &n), IO_OK);
    }
    for (int i = 0; i < 9; i++)
        ck_assert_int_eq(gnutls_record_send2(raw.session, "", 0, 16000, 0), 0);
    ck_assert_int_eq(tls_pair_read(&p, p.server, &bytes, &n), IO_FAIL);
    ck_assert_int_eq(tls_error(p.server), -ERR_TLS);
    ck_assert_str_eq(tls_error_text(p.server), "the peer sends too much that is no data");
    raw_client_close(&raw);
    tls_pair_close(&p);
}
END_TEST

START_TEST(renegotiation_is_refused)
{
    struct raw_client raw;
    struct tls_pair p;
    const uint8_t *bytes;
    char text[8];
    size_t n;

    open_raw(&p, &raw, "NORMAL:-VERS-ALL:+VERS-TLS1.2");
    ck_assert_int_eq(gnutls_handshake(raw.session), GNUTLS_E_AGAIN); /* says hello again */
    ck_assert_int_eq(tls_pair_read(&p, p.server, &bytes, &n), IO_FAIL);
    ck_assert_int_eq(tls_error(p.server), -ERR_TLS);
    ck_assert_str_eq(tls_error_text(p.server), "the peer asks for a renegotiation");
    ck_assert_int_lt(gnutls_record_recv(raw.session, text, sizeof(text)), 0);
    ck_assert_int_eq(gnutls_alert_get(raw.session), GNUTLS_A_NO_RENEGOTIATION);
    raw_client_close(&raw);
    tls_pair_close(&p);
}
END_TEST

START_TEST(tls12_carries_data)
{
    struct raw_client raw;
    struct tls_pair p;
    const uint8_t *bytes;
    uint8_t exported[TLS_EXPORTER_BYTES], theirs[TLS_EXPORTER_BYTES];
    char text[8];
    size_t n;

    open_raw(&p, &raw, "NORMAL:-VERS-ALL:+VERS-TLS1.2");
    ck_assert_str_eq(tls_version(p.server), "TLS1.2");
    ck_assert_int_eq(gnutls_record_send(raw.session, "ping", 4), 4);
    ck_assert_int_eq(tls_pair_read(&p, p.server, &bytes, &n), IO_OK);
    ck_assert_uint_eq(n, 4);
    ck_assert_int_eq(tls_write(p.server, "pong", 4), IO_OK);
    ck_assert_int_eq(tls_flush(p.server), IO_OK);
    ck_assert_int_eq(gnutls_record_recv(raw.session, text, sizeof(text)), 4);
    ck_assert_mem_eq(text, "pong", 4);
    ck_assert_int_eq(tls_exporter(p.server, exported), 0); /* with extended master secret */
    ck_assert_int_eq(gnutls_prf_rfc5705(raw.session, 24, "EXPORTER-Channel-Binding", 0, NULL,
                                        sizeof(theirs), (char *)theirs),
                     0);
    ck_assert_mem_eq(exported, theirs, sizeof(theirs));
    raw_client_close(&raw);
    tls_pair_close(&p);
}
END_TEST

/* RFC 9266 4.2. */
START_TEST(no_exporter_without_extended_master_secret)
{
    struct raw_client raw;
    struct tls_pair p;
    uint8_t exported[TLS_EXPORTER_BYTES];

    open_raw(&p, &raw, "NORMAL:-VERS-ALL:+VERS-TLS1.2:%NO_SESSION_HASH");
    ck_assert_int_eq(tls_exporter(p.server, exported), -ERR_TLS);
    raw_client_close(&raw);
    tls_pair_close(&p);
}
END_TEST

/* A peer that takes only records of 512 bytes still gets all of a large one. */
START_TEST(small_records_of_the_peer)
{
    struct raw_client raw;
    struct tls_pair p;
    enum io server;
    uint8_t *sent = must_alloc(TLS_RECORD_BYTES), *got = must_alloc(TLS_RECORD_BYTES);
    size_t len = 0;

    tls_pair_open(&p, PAIR_DIRECT, 0);
    tls_pair_join(&p, NULL, NULL, server_ctx, NULL);
    raw_client_open(&raw, p.client_fd, "NORMAL", "hub.test");
    ck_assert_int_eq(gnutls_record_set_max_recv_size(raw.session, 512), 0);
    ck_assert_int_eq(raw_client_handshake(&raw, &p, &server), 0);
    ck_assert_int_eq(server, IO_OK);
    tls_random(sent, TLS_RECORD_BYTES);
    ck_assert_int_eq(tls_write(p.server, sent, TLS_RECORD_BYTES), IO_OK);
    ck_assert_int_eq(tls_flush(p.server), IO_OK);
    while (len < TLS_RECORD_BYTES) {
        ssize_t n = gnutls_record_recv(raw.session, got + len, TLS_RECORD_BYTES - len);

        ck_assert_int_gt(n, 0);
        ck_assert_int_le(n, 512);
        len += (size_t)n;
    }
    ck_assert_mem_eq(sent, got, TLS_RECORD_BYTES);
    raw_client_close(&raw);
    tls_pair_close(&p);
    free(sent);
    free(got);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tls_peers");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_add_unchecked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, key_updates_pass);
    tcase_add_test(tcase, key_update_flood_ends);
    tcase_add_test(tcase, empty_records);
    tcase_add_test(tcase, padding_without_data);
    tcase_add_test(tcase, renegotiation_is_refused);
    tcase_add_test(tcase, tls12_carries_data);
    tcase_add_test(tcase, no_exporter_without_extended_master_secret);
    tcase_add_test(tcase, small_records_of_the_peer);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
