/* A connection's life: handshake, what both ends then know, errors, closing, time. */
#include "quic/quic.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/quic_pair.h"
#include "support/tls_pair.h"

START_TEST(both_ends_agree)
{
    uint8_t a[TLS_EXPORTER_BYTES], b[TLS_EXPORTER_BYTES];
    struct quic_pair p;

    quic_pair_start(&p);
    ck_assert_int_eq(quic_exporter(p.client.q, a), 0);
    ck_assert_int_eq(quic_exporter(p.server.q, b), 0);
    ck_assert_mem_eq(a, b, sizeof(a));
    ck_assert_str_eq(quic_alpn(p.client.q), QUIC_PAIR_ALPN);
    ck_assert_str_eq(quic_alpn(p.server.q), QUIC_PAIR_ALPN);
    ck_assert_str_eq(quic_cipher(p.client.q), "AES-128-GCM");
    ck_assert(addr_is_same(quic_peer(p.client.q), &p.server_at));
    ck_assert_uint_eq(quic_port_unvalidated(p.server_port), 0);
    ck_assert_int_eq(quic_error(p.client.q), 0);
    quic_pair_close(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quic_conn");
    TCase *life = tcase_create("life");
    SRunner *runner;
    int failed;

    tcase_add_test(life, both_ends_agree);
    suite_add_tcase(suite, life);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
