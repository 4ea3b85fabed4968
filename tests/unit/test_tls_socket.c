/* test_tls_socket - the queues between GnuTLS and the socket: how much is read at once, what waits
 * for whom, and what happens when there is no memory or nobody takes the bytes. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "loop/loop.h"
#include "support/tls_pair.h"
#include "tls/tls_internal.h"

static struct tls_ctx *server_ctx, *client_ctx;

static void setup(void)
{
    server_ctx = tls_pair_server_ctx(TLS_ONLY_13, NULL, "hub.test");
    client_ctx = tls_pair_client_ctx(TLS_ONLY_13, NULL);
}

static void teardown(void)
{
    tls_ctx_unref(server_ctx);
    tls_ctx_unref(client_ctx);
}

static void open_pair(struct tls_pair *p, int sndbuf)
{
    tls_pair_open(p, PAIR_DIRECT, sndbuf);
    tls_pair_join(p, client_ctx, "hub.test", server_ctx, NULL);
    tls_pair_agree(p);
}

/* Reads all that is there; how many records. */
static unsigned drain(struct tls *t)
{
    unsigned count = 0;
    const uint8_t *bytes;
    enum io io;
    size_t n;

    while ((io = tls_read(t, &bytes, &n)) == IO_OK)
        count++;
    ck_assert_msg(io == IO_WAIT, "%s", tls_error_text(t));
    return count;
}

static void write_records(struct tls *t, unsigned count, size_t n)
{
    static uint8_t bytes[TLS_RECORD_BYTES];

    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(tls_write(t, bytes, n), IO_OK);
}

START_TEST(reading_adapts)
{
    struct tls_pair p;
    int size = 4 << 20;
    unsigned got = 0;

    open_pair(&p, size);
    ck_assert_uint_eq(p.server->pieces, 1);
    write_records(p.client, 60, TLS_RECORD_BYTES);
    while (got < 60) {
        ck_assert_int_ne(tls_flush(p.client), IO_FAIL);
        got += drain(p.server);
        if (got < 60)
            tls_pair_wait(&p);
    }
    ck_assert_uint_ge(p.pool.out_peak, 8); /* many chunks in one read */
    ck_assert_uint_gt(p.server->pieces, 1);
    for (int i = 0; i < 5; i++) { /* small ones bring it back */
        write_records(p.client, 1, 10);
        ck_assert_int_eq(tls_flush(p.client), IO_OK);
        for (got = 0; got == 0; got = drain(p.server))
            tls_pair_wait(&p);
    }
    ck_assert_uint_eq(p.server->pieces, 1);
    ck_assert_uint_eq(p.pool.out_count, 0);
    tls_pair_close(&p);
}
END_TEST

START_TEST(small_records_leave_in_few_chunks)
{
    struct tls_pair p;

    open_pair(&p, 0);
    write_records(p.client, 500, 10);
    ck_assert_uint_eq(tls_out_len(p.client), 500 * 32); /* 5 header, 1 type, 16 tag */
    ck_assert_uint_eq(p.pool.out_count, 1);
    ck_assert_uint_eq(tls_wants(p.client), LOOP_READ | LOOP_WRITE);
    ck_assert_int_eq(tls_flush(p.client), IO_OK);
    ck_assert_uint_eq(p.pool.out_count, 0);
    ck_assert_uint_eq(tls_wants(p.client), LOOP_READ);
    ck_assert_uint_eq(drain(p.server), 500);
    tls_pair_close(&p);
}
END_TEST

START_TEST(full_socket_waits)
{
    struct tls_pair p;
    unsigned got = 0;
    size_t left;

    open_pair(&p, 1);
    write_records(p.client, 20, TLS_RECORD_BYTES);
    ck_assert_int_eq(tls_flush(p.client), IO_WAIT);
    left = tls_out_len(p.client);
    ck_assert_uint_gt(left, 0);
    ck_assert_uint_lt(left, 20 * (TLS_RECORD_BYTES + 22)); /* some went */
    ck_assert_uint_eq(tls_wants(p.client), LOOP_READ | LOOP_WRITE);
    ck_assert_int_eq(tls_flush(p.client), IO_WAIT); /* nobody read meanwhile */
    ck_assert_uint_eq(tls_out_len(p.client), left);
    while (got < 20) {
        got += drain(p.server);
        ck_assert_int_ne(tls_flush(p.client), IO_FAIL);
    }
    ck_assert_uint_eq(p.pool.out_count, 0);
    tls_pair_close(&p);
}
END_TEST

START_TEST(wants_through_a_handshake)
{
    struct tls_pair p;

    tls_pair_open(&p, PAIR_DIRECT, 0);
    tls_pair_join(&p, client_ctx, "hub.test", server_ctx, NULL);
    ck_assert_uint_eq(tls_wants(p.server), LOOP_READ);
    ck_assert_int_eq(tls_handshake(p.server), IO_WAIT);
    ck_assert_uint_eq(tls_wants(p.server), LOOP_READ);
    ck_assert_int_eq(tls_handshake(p.client), IO_WAIT);
    ck_assert_uint_eq(tls_wants(p.client), LOOP_READ); /* its hello is with the kernel */
    ck_assert_uint_eq(p.pool.out_count, 0);
    tls_pair_agree(&p);
    ck_assert_uint_eq(tls_wants(p.client), LOOP_READ);
    tls_pair_close(&p);
}
END_TEST

START_TEST(out_queue_has_a_hard_end)
{
    static uint8_t bytes[TLS_RECORD_BYTES];
    struct tls_pair p;
    unsigned count = 0;

    open_pair(&p, 0);
    while (tls_write(p.client, bytes, sizeof(bytes)) == IO_OK)
        count++;
    ck_assert_uint_eq(count, TLS_OUT_BYTES / (TLS_RECORD_BYTES + 22));
    ck_assert_int_eq(tls_error(p.client), -ERR_FULL);
    ck_assert_uint_eq(p.pool.out_count, 0); /* given back at once */
    ck_assert_int_eq(tls_flush(p.client), IO_FAIL);
    tls_pair_close(&p);
}
END_TEST

/* A pool that others have used up, at each moment. */
static struct chunk *exhaust(struct chunk_pool *pool)
{
    struct chunk *taken = chunk_take(pool);

    ck_assert_ptr_nonnull(taken);
    pool->cap = pool->out_count;
    while (pool->free_count > 0) { /* the kept ones too */
        struct chunk *more = chunk_take(pool);

        more->next = taken;
        taken = more;
        pool->cap = pool->out_count;
    }
    return taken;
}

static void give_back(struct chunk_pool *pool, struct chunk *taken)
{
    while (taken) {
        struct chunk *next = taken->next;

        chunk_give(pool, taken);
        taken = next;
    }
}

START_TEST(no_chunk_for_the_handshake)
{
    struct tls_pair p;
    struct chunk *taken;

    tls_pair_open(&p, PAIR_DIRECT, 0);
    tls_pair_join(&p, client_ctx, "hub.test", server_ctx, NULL);
    taken = exhaust(&p.pool);
    ck_assert_int_eq(tls_handshake(p.client), IO_FAIL);
    ck_assert_int_eq(tls_error(p.client), -ERR_NOMEM);
    ck_assert_int_eq(tls_handshake(p.server), IO_FAIL);
    ck_assert_int_eq(tls_error(p.server), -ERR_NOMEM);
    give_back(&p.pool, taken);
    tls_pair_close(&p);
}
END_TEST

START_TEST(no_chunk_to_read_into)
{
    struct tls_pair p;
    struct chunk *taken;
    const uint8_t *bytes;
    size_t n;

    open_pair(&p, 0);
    write_records(p.client, 1, 100);
    ck_assert_int_eq(tls_flush(p.client), IO_OK);
    taken = exhaust(&p.pool);
    while (tls_read(p.server, &bytes, &n) == IO_WAIT)
        tls_pair_wait(&p);
    ck_assert_int_eq(tls_error(p.server), -ERR_NOMEM);
    ck_assert_str_eq(tls_error_text(p.server), "no memory to read into");
    give_back(&p.pool, taken);
    tls_pair_close(&p);
}
END_TEST

START_TEST(no_chunk_to_write_into)
{
    struct tls_pair p;
    struct chunk *taken;

    open_pair(&p, 0);
    taken = exhaust(&p.pool);
    ck_assert_int_eq(tls_write(p.client, "x", 1), IO_FAIL);
    ck_assert_int_eq(tls_error(p.client), -ERR_NOMEM);
    tls_bye(p.server); /* nor for this */
    ck_assert_int_eq(tls_error(p.server), -ERR_NOMEM);
    give_back(&p.pool, taken);
    tls_pair_close(&p);
}
END_TEST

/* The pool fails at its nth chunk, for every n, while data goes through: an error or success, and
 * every chunk comes back (tls_pair_close checks). */
START_TEST(pool_of_every_size)
{
    for (size_t cap = 1; cap < 12; cap++) {
        struct tls_pair p;
        enum io client, server;

        tls_pair_open(&p, PAIR_DIRECT, 0);
        p.pool.keep = 0;
        p.pool.cap = cap;
        tls_pair_join(&p, client_ctx, "hub.test", server_ctx, NULL);
        tls_pair_handshake(&p, &client, &server);
        if (client == IO_OK && server == IO_OK) {
            static uint8_t bytes[TLS_RECORD_BYTES];
            unsigned count = 0;

            while (count < 16 && tls_write(p.client, bytes, sizeof(bytes)) == IO_OK)
                count++;
            if (cap <= 8) {
                ck_assert_uint_lt(count, 16);
                ck_assert_int_eq(tls_error(p.client), -ERR_NOMEM);
            }
        } else {
            ck_assert(tls_error(p.client) == -ERR_NOMEM || tls_error(p.server) == -ERR_NOMEM);
        }
        ck_assert_uint_le(p.pool.out_peak, cap);
        tls_pair_close(&p);
    }
}
END_TEST

START_TEST(first_error_stays)
{
    struct tls_pair p;

    tls_pair_open(&p, PAIR_DIRECT, 0);
    tls_pair_join(&p, NULL, NULL, server_ctx, NULL);
    tls_note(p.server, -ERR_CERT, "first %d", 1);
    tls_note(p.server, -ERR_TLS, "second");
    ck_assert_int_eq(tls_error(p.server), -ERR_CERT);
    ck_assert_str_eq(tls_error_text(p.server), "first 1");
    tls_pair_close(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tls_socket");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_add_unchecked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, reading_adapts);
    tcase_add_test(tcase, small_records_leave_in_few_chunks);
    tcase_add_test(tcase, full_socket_waits);
    tcase_add_test(tcase, wants_through_a_handshake);
    tcase_add_test(tcase, out_queue_has_a_hard_end);
    tcase_add_test(tcase, no_chunk_for_the_handshake);
    tcase_add_test(tcase, no_chunk_to_read_into);
    tcase_add_test(tcase, no_chunk_to_write_into);
    tcase_add_test(tcase, pool_of_every_size);
    tcase_add_test(tcase, first_error_stays);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
