/* The client as a whole against a server that the test plays on a real socket: each way that it
 * ends has its reason, told once, and nothing is left behind. */
#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "support/tls_pem.h"
#include "support/ws_server.h"
#include "tls/tls.h"
#include "ws/client.h"
#include "ws/handshake.h"

static struct loop *loop;
static struct deadline guard;
static struct ws_client *client;
static struct ws_server server;
static char url_text[64];

/* What was told. */
static unsigned opened, ended, messages;
static size_t data_len;
static enum ws_end end;
static char why[200], data[64];

static void on_guard(struct deadline *d)
{
    (void)d;
    ck_abort_msg("nothing happened for 20 s");
}

static void on_open(void *arg, const union addr *peer)
{
    char text[ADDR_TEXT_MAX];

    ck_assert_ptr_eq(arg, &client);
    ck_assert_ptr_nonnull(strstr(addr_format(peer, text), "127.0.0.1:"));
    opened++;
    loop_stop(loop);
}

static void on_data(void *arg, const uint8_t *bytes, size_t n)
{
    ck_assert_ptr_eq(arg, &client);
    if (data_len + n < sizeof(data))
        memcpy(data + data_len, bytes, n);
    data_len += n;
}

static void on_message(void *arg)
{
    ck_assert_ptr_eq(arg, &client);
    messages++;
    loop_stop(loop);
}

static void on_end(void *arg, enum ws_end reason, const char *text)
{
    ck_assert_ptr_eq(arg, &client);
    ended++;
    end = reason;
    snprintf(why, sizeof(why), "%s", text);
    loop_stop(loop);
}

static const struct ws_callbacks callbacks = {on_open, on_data, on_message, on_end};

static void setup(void)
{
    log_init(LOG_TEXT, LOG_ERR, 2);
    loop = loop_new("test", 0, 64);
    deadline_init(&guard, loop, on_guard);
    deadline_set(&guard, 20000);
    ws_server_start(&server, loop);
    snprintf(url_text, sizeof(url_text), "ws://127.0.0.1:%u/x", server.port);
    client = NULL;
    opened = ended = messages = 0;
    data_len = 0;
}

static void teardown(void)
{
    if (client && ended == 0)
        ws_client_stop(client);
    loop_settle(loop);
    ck_assert_uint_eq(loop_pool(loop)->out_count, 0);
    deadline_off(&guard);
    loop_free(loop);
    ws_server_stop(&server);
}

static struct ws_options defaults(void)
{
    return (struct ws_options){.loop = loop,
                               .message_max = 100000,
                               .queue_max = 4,
                               .handshake_ms = 15000,
                               .ping_ms = 15000,
                               .pong_ms = 15000,
                               .message_ms = 15000,
                               .callbacks = &callbacks,
                               .arg = &client};
}

static void dial(const struct ws_options *options)
{
    struct ws_url url;
    const char *fault;
    int rc = ws_url_parse(&url, url_text, &fault);

    ck_assert_int_eq(rc, 0);
    client = ws_client_new(options, &url);
}

/* Runs the loop until something is told. */
static void run(void)
{
    loop_run(loop);
}

static void open_it(const struct ws_options *options)
{
    dial(options);
    ws_server_accept(&server);
    ws_server_upgrade(&server, "", 0);
    run();
    ck_assert_uint_eq(opened, 1);
}

static void expect_end(enum ws_end reason, const char *part)
{
    while (ended == 0)
        run();
    ck_assert_uint_eq(ended, 1);
    ck_assert_str_eq(ws_end_word(end), ws_end_word(reason));
    ck_assert_msg(strstr(why, part) != NULL, "%s", why);
}

START_TEST(a_message_each_way)
{
    struct ws_options options = defaults();

    open_it(&options);
    ws_server_write(&server, "\x01\x02he\x80\x03llo", 9);
    run();
    ck_assert_uint_eq(messages, 1);
    ck_assert_mem_eq(data, "hello", 5);
    ck_assert_int_eq(ws_client_send(client, "answer", 6), 0);
    const char *frame = ws_server_read(&server, NULL, 12);
    ck_assert_int_eq((uint8_t)frame[0], 0x81);
    ck_assert_int_eq((uint8_t)frame[1], 0x86);
    for (unsigned i = 0; i < 6; i++)
        ck_assert_int_eq(frame[6 + i] ^ frame[2 + i % 4], "answer"[i]);
}
END_TEST

START_TEST(a_frame_behind_the_answer)
{
    struct ws_options options = defaults();

    dial(&options);
    ws_server_accept(&server);
    ws_server_upgrade(&server, "\x81\x02hi", 4);
    while (messages == 0)
        run();
    ck_assert_uint_eq(opened, 1);
    ck_assert_mem_eq(data, "hi", 2);
}
END_TEST

START_TEST(nobody_there)
{
    struct ws_options options = defaults();

    close(server.listener);
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    dial(&options);
    expect_end(WS_END_CONNECT, "refused");
    ck_assert_uint_eq(opened, 0);
}
END_TEST

START_TEST(silence_instead_of_an_answer)
{
    struct ws_options options = defaults();

    options.handshake_ms = 100;
    dial(&options);
    expect_end(WS_END_HANDSHAKE_TIMEOUT, "not open");
}
END_TEST

START_TEST(an_answer_that_is_no_upgrade)
{
    struct ws_options options = defaults();

    dial(&options);
    ws_server_accept(&server);
    ws_server_read(&server, "\r\n\r\n", 0);
    ws_server_write(&server, "HTTP/1.1 503 x\r\n\r\n", 18);
    expect_end(WS_END_UPGRADE, "status 503");
}
END_TEST

START_TEST(an_end_instead_of_an_answer)
{
    struct ws_options options = defaults();

    dial(&options);
    ws_server_accept(&server);
    ws_server_read(&server, "\r\n\r\n", 0);
    shutdown(server.fd, SHUT_WR);
    expect_end(WS_END_UPGRADE, "ended");
}
END_TEST

static const struct {
    const char *bytes;
    size_t n;
    enum ws_end end;
    uint16_t code;
} faults[] = {
    {"\x81\x81"
     "abcde",
     7, WS_END_PROTOCOL, 1002},
    {"\x09\x00", 2, WS_END_PROTOCOL, 1002},
    {"\x82\x01"
     "a",
     3, WS_END_UNSUPPORTED, 1003},
    {"\x81\x01\xff", 3, WS_END_BAD_DATA, 1007},
    {"\x81\x7f\x00\x00\x00\x00\x00\x01\x86\xa1x", 11, WS_END_TOO_BIG, 1009},
    {"\x88\x02\x03\xe9", 4, WS_END_PEER_CLOSED, 1001},
};

START_TEST(a_close_with_its_code)
{
    struct ws_options options = defaults();
    const char *frame;
    uint64_t since_us;

    open_it(&options);
    since_us = clock_now_us();
    ws_server_write(&server, faults[_i].bytes, faults[_i].n);
    frame = ws_server_read(&server, NULL, 8);
    ck_assert_int_eq((uint8_t)frame[0], 0x88);
    ck_assert_int_eq((uint8_t)(frame[6] ^ frame[2]) << 8 | (uint8_t)(frame[7] ^ frame[3]),
                     faults[_i].code);
    /* the server closes first, or 3 s are over */
    ck_assert(ended == 0 || clock_now_us() - since_us > 2900000);
    shutdown(server.fd, SHUT_WR);
    expect_end(faults[_i].end, "closed with");
}
END_TEST

START_TEST(a_server_that_never_closes)
{
    struct ws_options options = defaults();

    open_it(&options);
    ws_client_close(client, WS_CODE_POLICY, "for a test");
    ck_assert_int_eq(ws_client_send(client, "x", 1), -ERR_CLOSED);
    expect_end(WS_END_POLICY, "1008: for a test");
}
END_TEST

START_TEST(an_end_without_a_close)
{
    struct ws_options options = defaults();

    open_it(&options);
    shutdown(server.fd, SHUT_WR);
    expect_end(WS_END_LOST, "without a close frame");
}
END_TEST

START_TEST(pings_and_pongs)
{
    struct ws_options options = defaults();

    options.ping_ms = 100;
    options.pong_ms = 4000; /* a test that is held up for less answers in time */
    open_it(&options);
    for (unsigned i = 0; i < 3; i++) {
        const char *frame = ws_server_read(&server, NULL, 14);

        ck_assert_int_eq((uint8_t)frame[0], 0x89);
        ck_assert_uint_eq(ended, 0);
        ws_server_write(&server, "\x8a\x08penstock", 10);
    }
    ws_server_read(&server, NULL, 14);
    expect_end(WS_END_PONG_TIMEOUT, "no pong");
}
END_TEST

START_TEST(a_message_without_an_end)
{
    struct ws_options options = defaults();

    options.message_ms = 200;
    open_it(&options);
    ws_server_write(&server, "\x01\x00", 2);
    while (ended == 0 && data_len < 1000000) {
        struct pollfd p = {.fd = server.fd, .events = POLLIN};

        ws_server_write(&server, "\x00\x01x", 3); /* bytes come all the time */
        ws_server_spin(&server);
        if (poll(&p, 1, 1) > 0)
            break; /* its close frame */
    }
    shutdown(server.fd, SHUT_WR);
    expect_end(WS_END_MESSAGE_TIMEOUT, "not whole");
}
END_TEST

/* Answers pile up, since the server takes none: it is not read any more, until it takes them. */
START_TEST(back_pressure)
{
    static char text[100000];
    struct ws_options options = defaults();
    unsigned sent = 0;

    memset(text, 'x', sizeof(text));
    open_it(&options);
    while (ws_client_pauses(client) == 0) {
        ck_assert_int_eq(ws_client_send(client, text, sizeof(text)), 0);
        sent++;
        ws_server_spin(&server);
        ck_assert_uint_lt(sent, 10000);
    }
    ws_server_write(&server, "\x81\x02hi", 4);
    for (unsigned i = 0; i < 20; i++)
        ws_server_spin(&server);
    ck_assert_uint_eq(messages, 0);
    while (messages == 0) {
        (void)!recv(server.fd, text, sizeof(text), 0);
        ws_server_spin(&server);
    }
    ck_assert_uint_eq(ws_client_pauses(client), 1);
    ck_assert_uint_eq(ended, 0);
}
END_TEST

START_TEST(a_stop_says_goodbye_and_tells_nothing)
{
    struct ws_options options = defaults();
    const char *frame;

    open_it(&options);
    ws_client_stop(client);
    client = NULL;
    frame = ws_server_read(&server, NULL, 8);
    ck_assert_int_eq((uint8_t)frame[0], 0x88);
    ck_assert_int_eq((uint8_t)(frame[7] ^ frame[3]), 1001 & 0xff);
    ck_assert_uint_eq(ended, 0);
}
END_TEST

START_TEST(a_stop_at_any_time)
{
    struct ws_options options = defaults();

    dial(&options);
    if (_i > 0)
        ws_server_accept(&server);
    if (_i > 1)
        ws_server_read(&server, "\r\n\r\n", 0);
    ws_client_stop(client);
    client = NULL;
    ws_server_spin(&server);
    ck_assert_uint_eq(ended + opened, 0);
}
END_TEST

/* --- TLS ------------------------------------------------------------------------------------- */

struct secure_server {
    struct tls_pem pem;
    struct tls_ctx *ctx;
    struct tls *tls;
    struct chunk_pool pool;
};

static void start_secure(struct secure_server *s, const char *name, struct ws_options *options)
{
    struct tls_server_options server_options = {.versions = TLS_12_AND_13};
    struct tls_client_options client_options = {.versions = TLS_12_AND_13};
    char text[200], *file;
    uint16_t port;

    sscanf(url_text, "ws://127.0.0.1:%hu", &port);
    snprintf(url_text, sizeof(url_text), "wss://127.0.0.1:%u/x", port);
    tls_pem_make(&s->pem, &(struct tls_pem_options){.name = name});
    ck_assert_int_eq(tls_cert_parse(&server_options.cert, s->pem.chain, s->pem.key, text, 200), 0);
    ck_assert_int_eq(tls_ctx_new_server(&s->ctx, &server_options), 0);
    tls_cert_unref(server_options.cert);
    file = tls_pem_file(s->pem.chain);
    client_options.ca_file = file;
    ck_assert_int_eq(tls_ctx_new_client(&options->tls, &client_options, text, 200), 0);
    free(file);
    dial(options);
    tls_ctx_unref(options->tls); /* the client has its own reference */
    ws_server_accept(&server);
    chunk_pool_init(&s->pool, 0, 0);
    ck_assert_int_eq(tls_new_server(&s->tls, s->ctx, &s->pool, server.fd, NULL), 0);
}

static void end_secure(struct secure_server *s)
{
    tls_free(s->tls);
    tls_ctx_unref(s->ctx);
    tls_pem_fini(&s->pem);
    chunk_pool_fini(&s->pool);
}

static void secure_read(struct secure_server *s, char *out, size_t n)
{
    const uint8_t *bytes;
    size_t got = 0, len;

    while (got < n) {
        enum io io = tls_read(s->tls, &bytes, &len);

        ck_assert(io == IO_OK || io == IO_WAIT);
        if (io == IO_OK) { /* all of a record: the tests ask for one or more of them */
            memcpy(out + got, bytes, len);
            got += len;
        } else {
            ws_server_spin(&server);
        }
    }
}

static void secure_write(struct secure_server *s, const char *bytes, size_t n)
{
    ck_assert_int_eq(tls_write(s->tls, bytes, n), IO_OK);
    ck_assert_int_eq(tls_flush(s->tls), IO_OK);
}

START_TEST(over_tls)
{
    struct ws_options options = defaults();
    struct secure_server s;
    char request[2048] = "", accept[WS_ACCEPT_TEXT], key[WS_KEY_TEXT], text[2048];
    enum io io;

    start_secure(&s, "127.0.0.1", &options);
    while ((io = tls_handshake(s.tls)) == IO_WAIT)
        ws_server_spin(&server);
    ck_assert_int_eq(io, IO_OK);
    while (!strstr(request, "\r\n\r\n"))
        secure_read(&s, request + strlen(request), 1);
    snprintf(key, sizeof(key), "%.24s", strstr(request, "Key: ") + 5);
    ws_accept_emit(key, accept);
    int n = snprintf(text, sizeof(text),
                     "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Accept: %s\r\n\r\n\x81\x02hi",
                     accept);
    secure_write(&s, text, (size_t)n);
    while (messages == 0)
        run();
    ck_assert_uint_eq(opened, 1);
    ck_assert_int_eq(ws_client_send(client, "yes", 3), 0);
    secure_read(&s, text, 9);
    ck_assert_int_eq((uint8_t)text[0], 0x81);
    ws_client_stop(client);
    client = NULL;
    secure_read(&s, text, 8);
    ck_assert_int_eq((uint8_t)text[0], 0x88);
    end_secure(&s);
}
END_TEST

START_TEST(a_certificate_of_another_name)
{
    struct ws_options options = defaults();
    struct secure_server s;

    start_secure(&s, "other.test", &options);
    while (ended == 0) {
        if (tls_handshake(s.tls) != IO_WAIT)
            break;
        ws_server_spin(&server);
    }
    expect_end(WS_END_TLS, "");
    ck_assert_uint_eq(opened, 0);
    end_secure(&s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ws_client");
    TCase *tc = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_message_each_way);
    tcase_add_test(tc, a_frame_behind_the_answer);
    tcase_add_test(tc, nobody_there);
    tcase_add_test(tc, silence_instead_of_an_answer);
    tcase_add_test(tc, an_answer_that_is_no_upgrade);
    tcase_add_test(tc, an_end_instead_of_an_answer);
    tcase_add_loop_test(tc, a_close_with_its_code, 0, (int)(sizeof(faults) / sizeof(faults[0])));
    tcase_add_test(tc, a_server_that_never_closes);
    tcase_add_test(tc, an_end_without_a_close);
    tcase_add_test(tc, pings_and_pongs);
    tcase_add_test(tc, a_message_without_an_end);
    tcase_add_test(tc, back_pressure);
    tcase_add_test(tc, a_stop_says_goodbye_and_tells_nothing);
    tcase_add_loop_test(tc, a_stop_at_any_time, 0, 3);
    tcase_add_test(tc, over_tls);
    tcase_add_test(tc, a_certificate_of_another_name);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
