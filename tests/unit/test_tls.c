/* test_tls - connections against each other: every byte arrives however the wire cuts it, every end
 * is told from every other, and bad bytes end in an error and an alert. */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/loop.h"
#include "support/tls_pair.h"

#define SEED       20240613u
#define BULK_BYTES 10000000u

static struct tls_ctx *server_ctx, *client_ctx;

static void setup(void)
{
    server_ctx = tls_pair_server_ctx(TLS_12_AND_13, NULL, "hub.test");
    client_ctx = tls_pair_client_ctx(TLS_12_AND_13, NULL);
}

static void teardown(void)
{
    tls_ctx_unref(server_ctx);
    tls_ctx_unref(client_ctx);
}

/* A pair whose handshake is done. */
static void open_pair(struct tls_pair *p, enum pair_kind kind, int sndbuf)
{
    tls_pair_open(p, kind, sndbuf);
    tls_pair_join(p, client_ctx, "hub.test", server_ctx, NULL);
    tls_pair_agree(p);
    ck_assert_uint_eq(p->pool.out_count, 0);
}

static unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return *seed >> 8;
}

/* --- bytes ------------------------------------------------------------------------------- */

struct half {
    struct tls *t;
    const uint8_t *give; /* borrowed */
    uint8_t *take;       /* owned */
    size_t given, taken;
    unsigned seed;
};

/* Writes and reads what is possible; true when something moved. */
static bool half_step(struct half *h)
{
    size_t before = h->given + h->taken, waiting = tls_out_len(h->t);
    const uint8_t *bytes;
    enum io io;
    size_t n;

    while (h->given < BULK_BYTES && tls_out_len(h->t) < 256u << 10) {
        n = 1 + next_random(&h->seed) % TLS_RECORD_BYTES;
        n = MIN(n, BULK_BYTES - h->given);
        ck_assert_int_eq(tls_write(h->t, h->give + h->given, n), IO_OK);
        h->given += n;
        waiting += n;
    }
    ck_assert_msg(tls_flush(h->t) != IO_FAIL, "%s", tls_error_text(h->t));
    while ((io = tls_read(h->t, &bytes, &n)) == IO_OK) {
        ck_assert_uint_gt(n, 0);
        ck_assert_uint_le(h->taken + n, BULK_BYTES);
        memcpy(h->take + h->taken, bytes, n);
        h->taken += n;
    }
    ck_assert_msg(io == IO_WAIT, "%s", tls_error_text(h->t));
    ck_assert(!tls_has_input(h->t));
    return h->given + h->taken > before || tls_out_len(h->t) < waiting;
}

START_TEST(bulk_both_ways)
{
    static const struct {
        enum pair_kind kind;
        int sndbuf;
    } row[] = {{PAIR_DIRECT, 1}, {PAIR_DIRECT, 0}, {PAIR_TCP, 1}, {PAIR_TCP, 0}};
    uint8_t *up = must_alloc(BULK_BYTES), *down = must_alloc(BULK_BYTES);
    struct half halves[2];
    struct tls_pair p;
    unsigned seed = SEED;

    for (size_t i = 0; i < BULK_BYTES; i++) {
        up[i] = (uint8_t)next_random(&seed);
        down[i] = (uint8_t)next_random(&seed);
    }
    open_pair(&p, row[_i].kind, row[_i].sndbuf);
    halves[0] = (struct half){p.client, up, must_alloc(BULK_BYTES), 0, 0, SEED};
    halves[1] = (struct half){p.server, down, must_alloc(BULK_BYTES), 0, 0, SEED + 1};
    while (halves[0].taken < BULK_BYTES || halves[1].taken < BULK_BYTES) {
        bool moved = half_step(&halves[0]);

        if (!half_step(&halves[1]) && !moved)
            tls_pair_wait(&p);
    }
    ck_assert_mem_eq(halves[1].take, up, BULK_BYTES);
    ck_assert_mem_eq(halves[0].take, down, BULK_BYTES);
    ck_assert_uint_eq(p.pool.out_count, 0); /* idle: nothing held */
    ck_assert_uint_le(p.pool.out_peak, 2 * 17 + 2 * 17);
    tls_pair_close(&p);
    free(halves[0].take);
    free(halves[1].take);
    free(up);
    free(down);
}
END_TEST

START_TEST(many_records_in_one_read)
{
    enum { RECORDS = 200 };
    struct tls_pair p;
    uint8_t *wire;
    size_t len, n;
    const uint8_t *bytes;
    char text[40], peeked;

    open_pair(&p, PAIR_RELAYED, 0);
    for (int i = 0; i < RECORDS; i++) {
        int size = snprintf(text, sizeof(text), "record number %d", i);

        ck_assert_int_eq(tls_write(p.client, text, (size_t)size), IO_OK);
    }
    len = tls_out_len(p.client);
    ck_assert_uint_lt(len, CHUNK_ROOM);
    wire = must_alloc(len);
    ck_assert_int_eq(tls_flush(p.client), IO_OK);
    tls_pair_collect(p.client_wire, wire, len);
    tls_pair_put(p.server_wire, wire, len);
    for (int i = 0; i < RECORDS; i++) {
        ck_assert_int_eq(tls_read(p.server, &bytes, &n), IO_OK);
        snprintf(text, sizeof(text), "record number %d", i);
        ck_assert_uint_eq(n, strlen(text));
        ck_assert_mem_eq(bytes, text, n);
        /* the first read took all of them from the socket */
        ck_assert_int_eq(recv(p.server_fd, &peeked, 1, MSG_PEEK | MSG_DONTWAIT), -1);
        ck_assert_int_eq(errno, EAGAIN);
        ck_assert_int_eq(tls_has_input(p.server), i < RECORDS - 1);
    }
    ck_assert_int_eq(tls_read(p.server, &bytes, &n), IO_WAIT);
    ck_assert_uint_eq(p.pool.out_count, 0);
    tls_pair_close(&p);
    free(wire);
}
END_TEST

START_TEST(record_cut_at_every_byte)
{
    static const char text[] = "forty bytes of plaintext, give or take a";
    struct tls_pair p;
    uint8_t wire[200];
    const uint8_t *bytes;
    size_t len, n;

    open_pair(&p, PAIR_RELAYED, 0);
    for (size_t cut = 1;; cut++) {
        ck_assert_int_eq(tls_write(p.client, text, strlen(text)), IO_OK);
        len = tls_out_len(p.client);
        ck_assert_uint_lt(len, sizeof(wire));
        ck_assert_int_eq(tls_flush(p.client), IO_OK);
        tls_pair_collect(p.client_wire, wire, len);
        if (cut == len)
            break;
        tls_pair_put(p.server_wire, wire, cut);
        ck_assert_int_eq(tls_read(p.server, &bytes, &n), IO_WAIT);
        ck_assert_uint_eq(n, 0);
        ck_assert(!tls_has_input(p.server));
        ck_assert_uint_eq(p.pool.out_count, 0); /* even with half a record there */
        tls_pair_put(p.server_wire, wire + cut, len - cut);
        ck_assert_int_eq(tls_pair_read(&p, p.server, &bytes, &n), IO_OK);
        ck_assert_uint_eq(n, strlen(text));
        ck_assert_mem_eq(bytes, text, n);
    }
    tls_pair_close(&p);
}
END_TEST

START_TEST(largest_record_byte_by_byte)
{
    struct tls_pair p;
    uint8_t *text = must_alloc(TLS_RECORD_BYTES), *wire;
    const uint8_t *bytes;
    size_t len, n;
    enum io io = IO_WAIT;

    open_pair(&p, PAIR_RELAYED, 0);
    tls_random(text, TLS_RECORD_BYTES);
    ck_assert_int_eq(tls_write(p.client, text, TLS_RECORD_BYTES), IO_OK);
    len = tls_out_len(p.client);
    wire = must_alloc(len);
    ck_assert_int_eq(tls_flush(p.client), IO_OK);
    tls_pair_collect(p.client_wire, wire, len);
    for (size_t i = 0; i < len; i++) {
        ck_assert_int_eq(io, IO_WAIT);
        tls_pair_put(p.server_wire, wire + i, 1);
        while ((io = tls_read(p.server, &bytes, &n)) == IO_WAIT)
            if (recv(p.server_fd, &(char){0}, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
                break;
    }
    ck_assert_int_eq(io, IO_OK);
    ck_assert_uint_eq(n, TLS_RECORD_BYTES);
    ck_assert_mem_eq(bytes, text, n);
    tls_pair_close(&p);
    free(text);
    free(wire);
}
END_TEST

START_TEST(handshake_in_single_bytes)
{
    enum io client = IO_WAIT, server = IO_WAIT;
    struct tls_pair p;
    size_t up = 0, down = 0;

    tls_pair_open(&p, PAIR_RELAYED, 0);
    tls_pair_join(&p, client_ctx, "hub.test", server_ctx, NULL);
    while (client == IO_WAIT || server == IO_WAIT) {
        client = client == IO_WAIT ? tls_handshake(p.client) : client;
        server = server == IO_WAIT ? tls_handshake(p.server) : server;
        up += tls_pair_forward(p.client_wire, p.server_wire, 1);
        down += tls_pair_forward(p.server_wire, p.client_wire, 1);
    }
    ck_assert_msg(client == IO_OK, "%s", tls_error_text(p.client));
    ck_assert_msg(server == IO_OK, "%s", tls_error_text(p.server));
    ck_assert_uint_gt(up, 200);
    ck_assert_uint_gt(down, 500);
    ck_assert_uint_eq(p.pool.out_count, 0);
    tls_pair_close(&p);
}
END_TEST

START_TEST(handshake_with_the_smallest_buffers)
{
    struct tls_pair p;

    open_pair(&p, _i ? PAIR_TCP : PAIR_DIRECT, 1);
    tls_pair_send(&p, p.client, p.server, "up");
    tls_pair_send(&p, p.server, p.client, "down");
    tls_pair_close(&p);
}
END_TEST

/* --- ends -------------------------------------------------------------------------------- */

START_TEST(close_notify_is_an_end)
{
    struct tls_pair p;
    const uint8_t *bytes;
    size_t n;

    open_pair(&p, PAIR_DIRECT, 0);
    ck_assert_int_eq(tls_write(p.client, "last words", 10), IO_OK);
    tls_bye(p.client);
    n = tls_out_len(p.client);
    tls_bye(p.client); /* once */
    ck_assert_uint_eq(tls_out_len(p.client), n);
    ck_assert_int_eq(tls_flush(p.client), IO_OK);
    ck_assert_int_eq(tls_pair_read(&p, p.server, &bytes, &n), IO_OK);
    ck_assert_uint_eq(n, 10);
    ck_assert_int_eq(tls_pair_read(&p, p.server, &bytes, &n), IO_EOF);
    ck_assert_int_eq(tls_read(p.server, &bytes, &n), IO_EOF);
    ck_assert_int_eq(tls_error(p.server), 0);
    ck_assert_uint_eq(tls_wants(p.server), 0); /* nothing more comes, nothing waits */
    ck_assert(!tls_has_input(p.server));
    tls_pair_send(&p, p.server, p.client, "the other way is open"); /* half-closed */
    tls_bye(p.server);
    ck_assert_int_eq(tls_flush(p.server), IO_OK);
    ck_assert_int_eq(tls_pair_read(&p, p.client, &bytes, &n), IO_EOF);
    tls_pair_close(&p);
}
END_TEST

START_TEST(bare_end_is_an_error)
{
    struct tls_pair p;
    const uint8_t *bytes;
    size_t n;

    open_pair(&p, _i ? PAIR_TCP : PAIR_DIRECT, 0);
    ck_assert_int_eq(tls_write(p.client, "cut", 3), IO_OK);
    ck_assert_int_eq(tls_flush(p.client), IO_OK);
    shutdown(p.client_fd, SHUT_WR);
    ck_assert_int_eq(tls_pair_read(&p, p.server, &bytes, &n), IO_OK);
    ck_assert_int_eq(tls_pair_read(&p, p.server, &bytes, &n), IO_FAIL);
    ck_assert_int_eq(tls_error(p.server), -ERR_CLOSED);
    ck_assert_str_eq(tls_error_text(p.server), "the peer closed without saying so");
    tls_pair_close(&p);
}
END_TEST

START_TEST(end_in_the_middle_of_a_record)
{
    struct tls_pair p;
    const uint8_t *bytes;
    uint8_t wire[100];
    size_t n;

    open_pair(&p, PAIR_RELAYED, 0);
    ck_assert_int_eq(tls_write(p.client, "some text that is cut", 21), IO_OK);
    n = tls_out_len(p.client);
    ck_assert_int_eq(tls_flush(p.client), IO_OK);
    tls_pair_collect(p.client_wire, wire, n);
    tls_pair_put(p.server_wire, wire, n - 1);
    shutdown(p.server_wire, SHUT_WR);
    ck_assert_int_eq(tls_pair_read(&p, p.server, &bytes, &n), IO_FAIL);
    ck_assert_int_eq(tls_error(p.server), -ERR_CLOSED);
    tls_pair_close(&p);
}
END_TEST

/* The relay ends the connection after each number of bytes of the handshake. */
START_TEST(end_in_the_handshake)
{
    for (size_t keep = 0; keep < 300; keep += 1 + keep / 8) {
        struct tls_pair p;
        enum io client, server;
        uint8_t hello[4096];
        ssize_t n;

        tls_pair_open(&p, PAIR_RELAYED, 0);
        tls_pair_join(&p, client_ctx, "hub.test", server_ctx, NULL);
        ck_assert_int_eq(tls_handshake(p.client), IO_WAIT);
        n = read(p.client_wire, hello, sizeof(hello));
        ck_assert_int_ge(n, 300);
        tls_pair_put(p.server_wire, hello, keep);
        shutdown(p.server_wire, SHUT_WR);
        tls_pair_handshake(&p, &client, &server);
        ck_assert_int_eq(server, IO_FAIL);
        ck_assert_int_eq(tls_error(p.server), -ERR_CLOSED);
        ck_assert_str_eq(tls_error_text(p.server), "the peer closed during the handshake");
        ck_assert_int_eq(client, IO_FAIL);
        ck_assert_int_eq(tls_error(p.client), -ERR_CLOSED);
        tls_pair_close(&p);
    }
}
END_TEST

static void reset(int fd)
{
    struct linger now = {1, 0};

    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
}

START_TEST(reset_while_reading)
{
    struct tls_pair p;
    const uint8_t *bytes;
    size_t n;
    int spare;

    open_pair(&p, PAIR_TCP, 0);
    spare = dup(STDERR_FILENO); /* tls_pair_close() closes the number again */
    reset(p.client_fd);
    ck_assert_int_eq(dup2(spare, p.client_fd), p.client_fd);
    close(spare);
    ck_assert_int_eq(tls_pair_read(&p, p.server, &bytes, &n), IO_FAIL);
    ck_assert_int_eq(tls_error(p.server), -ERR_RESET);
    ck_assert_str_eq(tls_error_text(p.server), "read: Connection reset by peer");
    tls_pair_close(&p);
}
END_TEST

/* What it said before is read.  Also: no SIGPIPE, which would end this process. */
START_TEST(writing_to_one_who_is_gone)
{
    struct tls_pair p;
    const uint8_t *bytes;
    size_t n;
    int spare;

    open_pair(&p, PAIR_DIRECT, 0);
    ck_assert_int_eq(tls_write(p.client, "last", 4), IO_OK);
    ck_assert_int_eq(tls_flush(p.client), IO_OK);
    spare = dup(STDERR_FILENO);
    ck_assert_int_eq(dup2(spare, p.client_fd), p.client_fd);
    close(spare);
    ck_assert_int_eq(tls_write(p.server, "x", 1), IO_OK);
    ck_assert_int_eq(tls_flush(p.server), IO_FAIL);
    ck_assert_int_eq(tls_error(p.server), -ERR_RESET);
    ck_assert_str_eq(tls_error_text(p.server), "write: Broken pipe");
    ck_assert_int_eq(tls_flush(p.server), IO_FAIL); /* it stays so */
    ck_assert_int_eq(tls_write(p.server, "x", 1), IO_FAIL);
    ck_assert_uint_eq(tls_wants(p.server), LOOP_READ);
    ck_assert_int_eq(tls_read(p.server, &bytes, &n), IO_OK);
    ck_assert_uint_eq(n, 4);
    ck_assert_mem_eq(bytes, "last", 4);
    ck_assert_int_eq(tls_pair_read(&p, p.server, &bytes, &n), IO_FAIL);
    ck_assert_int_eq(tls_handshake(p.server), IO_FAIL);
    tls_bye(p.server);
    ck_assert_uint_eq(tls_out_len(p.server), 0);
    ck_assert_uint_eq(tls_wants(p.server), 0);
    ck_assert_int_eq(tls_error(p.server), -ERR_RESET);
    tls_pair_close(&p);
}
END_TEST

/* The peer closed both ways behind its hello: nobody takes the server's part. */
START_TEST(nobody_takes_the_handshake)
{
    struct tls_pair p;
    int spare = dup(STDERR_FILENO);

    tls_pair_open(&p, PAIR_DIRECT, 0);
    tls_pair_join(&p, client_ctx, "hub.test", server_ctx, NULL);
    ck_assert_int_eq(tls_handshake(p.client), IO_WAIT);
    ck_assert_int_eq(dup2(spare, p.client_fd), p.client_fd);
    close(spare);
    ck_assert_int_eq(tls_handshake(p.server), IO_FAIL);
    ck_assert_int_eq(tls_error(p.server), -ERR_RESET);
    tls_pair_close(&p);
}
END_TEST

/* --- bad bytes --------------------------------------------------------------------------- */

START_TEST(garbage_instead_of_a_handshake)
{
    unsigned seed = SEED;

    for (int round = 0; round < 300; round++) {
        struct tls_pair p;
        uint8_t bytes[600];
        size_t n = 1 + next_random(&seed) % sizeof(bytes);
        bool to_server = round % 2;
        enum io io;

        for (size_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)next_random(&seed);
        if (round % 3 == 0 && n > 5) /* a plausible record header, then nonsense */
            memcpy(bytes, "\x16\x03\x01\x00\x80", 5);
        tls_pair_open(&p, PAIR_RELAYED, 0);
        tls_pair_join(&p, client_ctx, "hub.test", server_ctx, NULL);
        ck_assert_int_eq(tls_handshake(p.client), IO_WAIT);
        tls_pair_put(to_server ? p.server_wire : p.client_wire, bytes, n);
        shutdown(to_server ? p.server_wire : p.client_wire, SHUT_WR);
        while ((io = tls_handshake(to_server ? p.server : p.client)) == IO_WAIT)
            ;
        ck_assert_int_eq(io, IO_FAIL);
        ck_assert_int_lt(tls_error(to_server ? p.server : p.client), 0);
        ck_assert_str_ne(tls_error_text(to_server ? p.server : p.client), "");
        tls_pair_close(&p);
    }
}
END_TEST

START_TEST(plain_http_is_refused)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    struct tls_pair p;

    tls_pair_open(&p, PAIR_DIRECT, 0);
    tls_pair_join(&p, NULL, NULL, server_ctx, NULL);
    tls_pair_put(p.client_fd, (const uint8_t *)request, strlen(request));
    ck_assert_int_eq(tls_handshake(p.server), IO_FAIL);
    ck_assert_int_eq(tls_error(p.server), -ERR_TLS);
    tls_pair_close(&p);
}
END_TEST

/* A ClientHello that says it is larger than any is, sent without end: refused before it is stored.
 */
START_TEST(endless_hello_is_refused)
{
    uint8_t record[5 + 4096] = {0x16, 3, 1, 0x10, 0, 0x01, 0xff, 0xff, 0xff};
    struct tls_pair p;
    int sent = 0;

    tls_pair_open(&p, PAIR_DIRECT, 0);
    tls_pair_join(&p, NULL, NULL, server_ctx, NULL);
    do
        tls_pair_put(p.client_fd, record, sizeof(record));
    while (tls_handshake(p.server) == IO_WAIT && ++sent < 100);
    ck_assert_int_lt(sent, 8);
    ck_assert_int_eq(tls_error(p.server), -ERR_TLS);
    tls_pair_close(&p);
}
END_TEST

/* Each byte of a record is changed once: never plaintext; the sender gets an alert. */
START_TEST(changed_byte_is_seen)
{
    size_t len = 1;

    for (size_t at = 0; at < len; at++) {
        struct tls_pair p;
        const uint8_t *bytes;
        uint8_t wire[100];
        size_t n;
        enum io io;

        open_pair(&p, PAIR_RELAYED, 0);
        ck_assert_int_eq(tls_write(p.client, "a text", 6), IO_OK);
        len = tls_out_len(p.client);
        ck_assert_int_eq(tls_flush(p.client), IO_OK);
        tls_pair_collect(p.client_wire, wire, len);
        wire[at] ^= 0x40;
        tls_pair_put(p.server_wire, wire, len);
        shutdown(p.server_wire, SHUT_WR); /* a length made longer must not wait */
        io = tls_pair_read(&p, p.server, &bytes, &n);
        ck_assert_msg(io == IO_FAIL, "byte %zu", at);
        ck_assert_int_lt(tls_error(p.server), 0);
        if (tls_error(p.server) == -ERR_TLS && at >= 5) {
            tls_pair_forward(p.server_wire, p.client_wire, sizeof(wire));
            ck_assert_int_eq(tls_pair_read(&p, p.client, &bytes, &n), IO_FAIL);
            ck_assert_ptr_nonnull(strstr(tls_error_text(p.client), "alert"));
        }
        tls_pair_close(&p);
    }
    ck_assert_uint_gt(len, 20);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tls");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_add_unchecked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, bulk_both_ways, 0, 4);
    tcase_add_test(tcase, many_records_in_one_read);
    tcase_add_test(tcase, record_cut_at_every_byte);
    tcase_add_test(tcase, largest_record_byte_by_byte);
    tcase_add_test(tcase, handshake_in_single_bytes);
    tcase_add_loop_test(tcase, handshake_with_the_smallest_buffers, 0, 2);
    tcase_add_test(tcase, close_notify_is_an_end);
    tcase_add_loop_test(tcase, bare_end_is_an_error, 0, 2);
    tcase_add_test(tcase, end_in_the_middle_of_a_record);
    tcase_add_test(tcase, end_in_the_handshake);
    tcase_add_test(tcase, reset_while_reading);
    tcase_add_test(tcase, writing_to_one_who_is_gone);
    tcase_add_test(tcase, nobody_takes_the_handshake);
    tcase_add_test(tcase, garbage_instead_of_a_handshake);
    tcase_add_test(tcase, plain_http_is_refused);
    tcase_add_test(tcase, endless_hello_is_refused);
    tcase_add_test(tcase, changed_byte_is_seen);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
