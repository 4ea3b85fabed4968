/* Tests of upstream over TLS: what it holds while the origin reads slowly leaves by itself, and all
 * of it.  Worker, connection and TLS are real; the test is the client's codec and the origin, which
 * takes from its socket as much at a time as the test says. */
#include "traffic/upstream.h"

#include <poll.h>
#include <sys/socket.h>

#include "loop/socket.h"
#include "support/await.h"
#include "support/suite.h"
#include "support/tls_pair.h"
#include "traffic_exchange_fixture.h"

#define WAIT_MS   20000u /* the connection's own time of silence is 60 s */
#define RCV_BYTES 32768
#define SND_BYTES 212992
#define STEP      4096u

static struct origin_tls_cache cache;
static struct tls_ctx *server_ctx;
static struct tls_pair origin; /* the server's side: its wire is the accepted socket */
static enum io agreed;
static size_t pushed, arrived; /* bytes behind the head */
static char head[4096];
static size_t head_len;
static bool is_at_end;

static void setup(void)
{
    int small = RCV_BYTES;
    struct origin_tls *tls;
    char why[128];

    ck_assert_int_eq(origin_tls_cache_get(&cache, false, NULL, "a.test", &tls, why, sizeof(why)),
                     0);
    exchange_setup(tls);
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    server_ctx = tls_pair_server_ctx(TLS_12_AND_13, NULL, "a.test");
    tls_pair_open(&origin, PAIR_RELAYED, 0);
    tls_pair_join(&origin, NULL, NULL, server_ctx, NULL);
    close(origin.client_wire);
    origin.client_wire = -1;
    agreed = IO_WAIT;
    pushed = arrived = head_len = 0;
    is_at_end = false;
}

static void teardown(void)
{
    exchange_teardown();
    origin_tls_cache_fini(&cache);
    tls_pair_close(&origin);
    tls_ctx_unref(server_ctx);
}

/* --- the two sides --------------------------------------------------------------------------- */

static uint8_t byte_at(size_t at)
{
    return (uint8_t)(at * 7 + at / 251);
}

static void push(size_t n)
{
    static uint8_t bytes[65536];

    for (size_t i = 0; i < n; i++)
        bytes[i] = byte_at(pushed + i);
    exchange_push_body(&exchange, bytes, n);
    pushed += n;
}

static bool has_head(void)
{
    return head_len >= 4 && memcmp(head + head_len - 4, "\r\n\r\n", 4) == 0;
}

static void take(const uint8_t *bytes, size_t n)
{
    size_t wrong = 0, i = 0;

    for (; i < n && !has_head(); i++) {
        ck_assert_uint_lt(head_len, sizeof(head));
        head[head_len++] = (char)bytes[i];
    }
    for (; i < n; i++)
        wrong += bytes[i] != byte_at(arrived++);
    ck_assert_uint_eq(wrong, 0);
}

/* The origin reads at most so much of its socket, and sends what it has to send. */
static void origin_reads(size_t max)
{
    const uint8_t *bytes;
    enum io io = IO_OK;
    size_t n;

    if (max > 0)
        tls_pair_forward(origin.client_wire, origin.server_wire, max);
    if (agreed == IO_WAIT)
        agreed = tls_handshake(origin.server);
    ck_assert_int_ne(agreed, IO_FAIL);
    while (agreed == IO_OK && (io = tls_read(origin.server, &bytes, &n)) == IO_OK)
        take(bytes, n);
    ck_assert_msg(io != IO_FAIL, "%s", tls_error_text(origin.server));
    is_at_end = io == IO_EOF;
    ck_assert_int_eq(tls_flush(origin.server), IO_OK);
    tls_pair_forward(origin.server_wire, origin.client_wire, 65536);
}

static void origin_says(const char *text)
{
    ck_assert_int_eq(tls_write(origin.server, text, strlen(text)), IO_OK);
    origin_reads(0);
}

/* --- what is waited for ---------------------------------------------------------------------- */

static bool has_accepted(void)
{
    origin.client_wire = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    return origin.client_wire >= 0;
}

static bool is_head_there(void)
{
    origin_reads(STEP);
    return has_head();
}

static bool is_relaying(void)
{
    return exchange.state == EXCHANGE_RELAYING;
}

/* The client pushes until the socket is full, TLS holds ciphertext and the exchange a body, with
 * some room left. */
static bool is_stuck(void)
{
    size_t space = exchange_room(&exchange);

    if (space > STEP)
        push(space - STEP);
    return exchange.upstream->is_write_blocked && exchange.body.len > 0 &&
           tls_out_len(exchange.upstream->tls) > 0;
}

/* The client pushes as much at a time as TLS takes, until TLS holds all that does not go. */
static bool is_all_with_tls(void)
{
    if (tls_out_len(exchange.upstream->tls) > 0)
        return exchange.body.len == 0;
    if (exchange.body.len == 0)
        push(3 * TLS_RECORD_BYTES);
    return false;
}

/* The origin reads a little, and the client pushes a little, until the kernel has taken what TLS
 * held. */
static bool is_tls_empty(void)
{
    if (tls_out_len(exchange.upstream->tls) == 0)
        return true;
    origin_reads(STEP);
    push(MIN(exchange_room(&exchange), 1u));
    return false;
}

static bool has_origin_end(void)
{
    return !exchange.upstream || exchange.upstream->is_eof;
}

static bool has_all(void)
{
    origin_reads(STEP);
    return arrived == pushed;
}

static bool has_end(void)
{
    origin_reads(STEP);
    return is_at_end;
}

static bool is_over(void)
{
    return exchange.state == EXCHANGE_DONE;
}

#define AWAIT(is_true) ck_assert_msg(await_plain_within(loop, is_true, WAIT_MS), #is_true)

/* A request of which the origin has read the head; or, a connection that it has upgraded. */
static void start(bool is_upgrade)
{
    int small = SND_BYTES;

    ck_assert_int_eq(ask(is_upgrade ? "websocket" : NULL, 64u << 20), REASON_NONE);
    setsockopt(exchange.upstream->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    AWAIT(has_accepted);
    AWAIT(is_head_there);
    if (!is_upgrade)
        return;
    origin_says("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                "Upgrade: websocket\r\n\r\n");
    AWAIT(is_relaying);
}

/* --- tests ----------------------------------------------------------------------------------- */

/* The kernel tells of room only when a third of its buffer is free: what TLS held is gone before,
 * when a push of the client's runs the connection. */
START_TEST(what_waits_leaves_though_the_client_pushes_no_more)
{
    start(_i);
    AWAIT(is_stuck);
    AWAIT(is_tls_empty);
    AWAIT(has_all);
}
END_TEST

START_TEST(an_upgraded_connection_is_closed_behind_its_last_byte)
{
    start(true);
    AWAIT(is_all_with_tls);
    exchange_push_end(&exchange, NULL);
    tls_bye(origin.server);
    origin_reads(0);
    AWAIT(has_origin_end);
    AWAIT(has_end);
    ck_assert_uint_eq(arrived, pushed);
    AWAIT(is_over);
}
END_TEST

/* A loop that was held up tells of the deadline first. */
START_TEST(an_origin_that_has_read_is_not_too_late)
{
    struct upstream *u;
    struct pollfd writable = {.events = POLLOUT};

    start(false);
    AWAIT(is_stuck);
    u = exchange.upstream;
    writable.fd = u->fd;
    while (poll(&writable, 1, 0) == 0)
        origin_reads(65536);
    deadline_off(&u->deadline);
    u->deadline.on_due(&u->deadline);
    ck_assert_int_eq(exchange.reason, REASON_NONE);
    ck_assert_int_eq(u->state, UPSTREAM_ACTIVE);
    ck_assert(deadline_is_set(&u->deadline));
}
END_TEST

/* Of a large upload, say: 413, and the rest is answered by resets. */
START_TEST(an_answer_is_read_though_the_origin_takes_no_more)
{
    start(false);
    origin_says("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
    socket_set_reset_on_close(origin.client_wire);
    close(origin.client_wire);
    origin.client_wire = -1;
    push(TLS_RECORD_BYTES);
    AWAIT(is_over);
    ck_assert_int_eq(exchange.reason, REASON_NONE);
    ck_assert_uint_eq(exchange.status, 413);
}
END_TEST

START_TEST(a_status_line_is_longer_than_a_request_line_may_be)
{
    worker->limits.request_line_bytes = 16;
    start(true); /* awaits the answer */
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("origins");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, what_waits_leaves_though_the_client_pushes_no_more, 0, 2);
    tcase_add_test(tcase, an_upgraded_connection_is_closed_behind_its_last_byte);
    tcase_add_test(tcase, an_origin_that_has_read_is_not_too_late);
    tcase_add_test(tcase, an_answer_is_read_though_the_origin_takes_no_more);
    tcase_add_test(tcase, a_status_line_is_longer_than_a_request_line_may_be);
    return suite_run("traffic/upstream", tcase);
}
