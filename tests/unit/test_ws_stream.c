/* A stream over a plain socket and over TLS: what one side writes the other reads, in order,
 * through small buffers; the end and a reset are told apart. */
#include <check.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "loop/loop.h"
#include "support/tls_pair.h"
#include "ws/stream.h"

static struct chunk_pool pool;
static struct ws_stream stream;
static int other;
static struct tls_ctx *server_ctx, *client_ctx;
static struct tls *server;

static void setup(void)
{
    int fds[2], small = 4096;

    chunk_pool_init(&pool, 0, 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    ws_stream_init(&stream, &pool, fds[0]);
    other = fds[1];
    server_ctx = client_ctx = NULL;
    server = NULL;
}

static void teardown(void)
{
    ws_stream_fini(&stream);
    ws_stream_fini(&stream); /* fine twice */
    tls_free(server);
    tls_ctx_unref(server_ctx);
    tls_ctx_unref(client_ctx);
    if (other >= 0)
        close(other);
    chunk_pool_fini(&pool);
}

static void secure(void)
{
    enum io mine = IO_WAIT, theirs = IO_WAIT;

    server_ctx = tls_pair_server_ctx(TLS_12_AND_13, NULL, "flow.test");
    client_ctx = tls_pair_client_ctx(TLS_12_AND_13, NULL);
    ck_assert_int_eq(tls_new_server(&server, server_ctx, &pool, other, NULL), 0);
    ck_assert_int_eq(ws_stream_secure(&stream, client_ctx, "flow.test"), 0);
    while (mine == IO_WAIT || theirs == IO_WAIT) {
        if (mine == IO_WAIT)
            mine = ws_stream_handshake(&stream);
        if (theirs == IO_WAIT)
            theirs = tls_handshake(server);
    }
    ck_assert_int_eq(mine, IO_OK);
    ck_assert_int_eq(theirs, IO_OK);
}

static size_t other_read(uint8_t *out, size_t size)
{
    const uint8_t *bytes;
    ssize_t got;
    size_t n;

    if (!server) {
        got = recv(other, out, size, 0);
        return got > 0 ? (size_t)got : 0;
    }
    if (tls_read(server, &bytes, &n) != IO_OK)
        return 0;
    ck_assert_uint_le(n, size);
    memcpy(out, bytes, n);
    return n;
}

START_TEST(out_through_a_small_buffer)
{
    static uint8_t sent[200000], got[200000 + TLS_RECORD_BYTES];
    struct bufq out;
    size_t pushed = 0, len = 0, waits = 0;
    int err;

    if (_i)
        secure();
    for (size_t i = 0; i < sizeof(sent); i++)
        sent[i] = (uint8_t)(i * 7 + i / 251);
    bufq_init(&out, &pool, 50000);
    while (len < sizeof(sent)) {
        size_t n = MIN(bufq_room(&out), sizeof(sent) - pushed);
        enum io io;

        ck_assert_int_eq(bufq_push(&out, sent + pushed, n), 0);
        pushed += n;
        io = ws_stream_write(&stream, &out, &err);
        ck_assert_int_ne(io, IO_FAIL);
        ck_assert(stream.is_blocked == (io == IO_WAIT));
        ck_assert_uint_eq(ws_stream_wants(&stream, true),
                          LOOP_READ | (io == IO_WAIT ? LOOP_WRITE : 0u));
        waits += io == IO_WAIT;
        len += other_read(got + len, TLS_RECORD_BYTES);
    }
    ck_assert_mem_eq(sent, got, sizeof(sent));
    ck_assert_uint_gt(waits, 0);
    ck_assert_uint_eq(out.len, 0);
    bufq_fini(&out);
}
END_TEST

START_TEST(in_and_the_end)
{
    const uint8_t *bytes;
    enum io io;
    size_t n;
    int err;

    if (_i)
        secure();
    ck_assert_int_eq(ws_stream_read(&stream, &bytes, &n, &err), IO_WAIT);
    ck_assert(!ws_stream_has_input(&stream));
    if (_i) {
        ck_assert_int_eq(tls_write(server, "hello", 5), IO_OK);
        ck_assert_int_eq(tls_flush(server), IO_OK);
    } else {
        ck_assert_int_eq(send(other, "hello", 5, 0), 5);
    }
    ck_assert_int_eq(ws_stream_read(&stream, &bytes, &n, &err), IO_OK);
    ck_assert_uint_eq(n, 5);
    ck_assert_mem_eq(bytes, "hello", 5);
    shutdown(other, SHUT_WR); /* with TLS: without close_notify, all the same an end here */
    do {
        io = ws_stream_read(&stream, &bytes, &n, &err);
    } while (io == IO_WAIT);
    ck_assert_int_eq(io, IO_EOF);
}
END_TEST

START_TEST(nobody_reads_any_more)
{
    struct bufq out;
    int err;

    bufq_init(&out, &pool, 1000);
    ck_assert_int_eq(bufq_push(&out, "x", 1), 0);
    close(other);
    other = -1;
    ck_assert_int_eq(ws_stream_write(&stream, &out, &err), IO_FAIL);
    ck_assert_int_eq(err, -ERR_RESET);
    bufq_fini(&out);
}
END_TEST

START_TEST(a_bye_ends_tls_in_order)
{
    struct bufq none;
    const uint8_t *bytes;
    size_t n;
    int err;

    secure();
    bufq_init(&none, &pool, 0);
    ws_stream_bye(&stream);
    ck_assert_int_eq(ws_stream_write(&stream, &none, &err), IO_OK);
    ck_assert_int_eq(tls_read(server, &bytes, &n), IO_EOF);
    bufq_fini(&none);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ws_stream");
    TCase *tc = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, out_through_a_small_buffer, 0, 2);
    tcase_add_loop_test(tc, in_and_the_end, 0, 2);
    tcase_add_test(tc, nobody_reads_any_more);
    tcase_add_test(tc, a_bye_ends_tls_in_order);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
