/* Tests of exchange: what an origin may do in the middle of a request.  The worker, the routes and
 * the connection are real; the test plays the codec and says what the origin sent. */
#include "traffic/exchange.h"

#include <sys/resource.h>

#include "loop/socket.h"
#include "support/suite.h"
#include "traffic/upstream.h"
#include "traffic_exchange_fixture.h"

static void setup(void)
{
    exchange_setup(NULL);
}

/* A request whose connection stands. */
static void start(const char *upgrade)
{
    ck_assert_int_eq(ask(upgrade, 4), REASON_NONE);
    exchange_on_connected(&exchange);
}

static bool on_head(unsigned status, const char *upgrade)
{
    static struct http_response response;

    response = (struct http_response){.status = status,
                                      .minor = 1,
                                      .framing = HTTP_NO_BODY,
                                      .upgrade = {upgrade, strlen(upgrade)}};
    return exchange_on_head(&exchange, &response);
}

/* The next byte that the origin would get. */
static char next_byte(void)
{
    struct iovec piece[12];

    ck_assert_uint_gt(exchange_output(&exchange, piece, ARRAY_LEN(piece)), 0);
    return *(char *)piece[0].iov_base;
}

START_TEST(an_answer_before_the_head_is_sent_cuts_no_head)
{
    size_t len;

    start(NULL);
    len = exchange.head_len;
    exchange_sent(&exchange, 6); /* "POST /" */
    exchange_push_body(&exchange, (const uint8_t *)"evil", 4);
    exchange_push_end(&exchange, NULL);
    ck_assert(on_head(200, ""));
    ck_assert_int_eq(next_byte(), ' '); /* not the body's: it would be read as the head's rest */
    ck_assert(!exchange_is_sent(&exchange));
    exchange_sent(&exchange, len - 6);
    ck_assert_int_eq(next_byte(), 'e');
    ck_assert(!exchange_is_sent(&exchange));
    exchange_sent(&exchange, 4);
    ck_assert(exchange_is_sent(&exchange));
}
END_TEST

/* A loop that was held up tells of the deadline first. */
START_TEST(a_connection_that_is_there_is_not_too_late)
{
    struct upstream *u;

    ck_assert_int_eq(ask(NULL, 4), REASON_NONE);
    u = exchange.upstream;
    ck_assert_int_eq(u->state, UPSTREAM_CONNECTING);
    while (!socket_is_answered(u->fd))
        ck_assert_int_eq(exchange.reason, REASON_NONE);
    deadline_off(&u->deadline);
    u->deadline.on_due(&u->deadline);
    ck_assert_int_eq(u->state, UPSTREAM_ACTIVE);
    ck_assert(deadline_is_set(&u->deadline));
    ck_assert_int_eq(exchange.reason, REASON_NONE);
    ck_assert_uint_eq(worker->counters.upstream_connects, 1);
}
END_TEST

START_TEST(an_answer_under_way_holds_no_set_of_routes)
{
    start(NULL);
    ck_assert_uint_eq(worker->hold->users, 3); /* the worker's, the requester's, ours */
    ck_assert(on_head(200, ""));
    ck_assert_uint_eq(worker->hold->users, 2);
    ck_assert_uint_eq(worker->counters.exchanges_open, 1);
    exchange_on_end(&exchange, NULL);
    exchange_reset(&exchange);
    ck_assert_uint_eq(worker->counters.exchanges_open, 0);
}
END_TEST

/* An idempotent request whose chunked body is empty, but for the trailers behind it. */
static void start_with_trailers(void)
{
    static struct http_request request;
    static struct http_fields trailers;

    request = (struct http_request){.method = {"PUT", 3},
                                    .target = {"/", 1},
                                    .authority = {"a.test", 6},
                                    .minor = 1,
                                    .is_idempotent = true,
                                    .framing = HTTP_CHUNKED};
    trailers.count = 1;
    trailers.list[0] =
        (struct http_field){.name = "X-T", .value = "1", .name_len = 3, .value_len = 1};
    ck_assert_int_eq(requester_check(&requester, request.authority), REASON_NONE);
    exchange_open(&exchange, "HTTP/1.1", &request);
    ck_assert_int_eq(exchange_start(&exchange, &request), REASON_NONE);
    exchange_on_connected(&exchange);
    exchange_push_end(&exchange, &trailers);
}

/* All that is to be sent now, but the last `but` bytes of it. */
static void send_all_but(size_t but)
{
    struct iovec pieces[12];
    size_t count = exchange_output(&exchange, pieces, ARRAY_LEN(pieces)), n = 0;

    for (size_t i = 0; i < count; i++)
        n += pieces[i].iov_len;
    ck_assert_uint_gt(n, but);
    exchange_sent(&exchange, n - but);
}

/* The connection, which the exchange is told of as lost: it is the test that holds it then. */
static void lose_connection(void)
{
    struct upstream *u = exchange.upstream;

    exchange_on_lost(&exchange, REASON_UPSTREAM_CLOSED, false, true);
    upstream_drop(u);
}

START_TEST(trailers_that_left_are_not_lost_by_a_retry)
{
    static const char trailers[] = "X-T: 1\r\n\r\n";
    size_t held = sizeof(trailers) - 1;
    /* bytes of the trailers that have left: none, one, all */
    size_t left = _i == 0 ? 0 : _i == 1 ? 1 : held;

    start_with_trailers();
    send_all_but(held - left);
    lose_connection();
    if (left > 0) {
        ck_assert_int_eq(exchange.state, EXCHANGE_DONE);
        ck_assert_int_eq(exchange.reason, REASON_UPSTREAM_CLOSED);
        ck_assert_uint_eq(worker->counters.upstream_retries, 0);
        return;
    }
    ck_assert_uint_eq(worker->counters.upstream_retries, 1);
    exchange_on_connected(&exchange);
    send_all_but(0);
    ck_assert_uint_eq(exchange.trailers_taken, held);
    ck_assert(exchange_is_sent(&exchange));
}
END_TEST

START_TEST(too_few_descriptors_mark_no_destination_down)
{
    struct rlimit before, none = {0, 0};

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none.rlim_max = before.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    ck_assert_int_eq(ask(NULL, 4), REASON_NO_MEMORY);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_uint_eq(worker->counters.targets_down, 0);
    exchange_reset(&exchange);
    start(NULL);
}
END_TEST

static const struct {
    const char *asked, *given;
    bool is_agreed;
} switches[] = {
    {"websocket", "websocket", true}, {"websocket", "WebSocket", true},
    {"a, b/1", "b/1", true},          {"a, b/1", "b/1, a", true},
    {"websocket", "h2c", false},      {"websocket", "websocket, h2c", false},
    {"websocket", "websocke", false}, {"websocket", "", false},
    {"websocket", " , ", false},
};

START_TEST(only_what_was_asked_for_is_switched_to)
{
    start(switches[_i].asked);
    ck_assert_int_eq(on_head(101, switches[_i].given), switches[_i].is_agreed);
    ck_assert_uint_eq(heads, switches[_i].is_agreed);
    if (!switches[_i].is_agreed)
        ck_assert_int_eq(exchange.reason, REASON_UPSTREAM_UPGRADE);
}
END_TEST

START_TEST(what_comes_behind_an_upgrade_waits)
{
    struct iovec piece[12];

    start("websocket");
    exchange_push_body(&exchange, (const uint8_t *)"GET /", 5);
    exchange_sent(&exchange, exchange.head_len);
    ck_assert_uint_eq(exchange_output(&exchange, piece, ARRAY_LEN(piece)), 0);
    ck_assert(on_head(101, "websocket"));
    ck_assert_int_eq(next_byte(), 'G');
    exchange_sent(&exchange, 5);
    ck_assert_uint_eq(took, 5);
}
END_TEST

START_TEST(a_key_of_ours_must_be_answered)
{
    static const char *const answers[] = {"right", "wrong", "righ", NULL};

    for (unsigned i = 0; i < ARRAY_LEN(answers); i++) {
        static struct http_response r;

        start("websocket");
        memcpy(exchange.upgrade.accept, "right", sizeof("right"));
        r = (struct http_response){
            .status = 101, .framing = HTTP_NO_BODY, .upgrade = {"websocket", 9}};
        if (answers[i]) {
            r.fields.count = 1;
            r.fields.list[0] = (struct http_field){.name = "Sec-WebSocket-Accept",
                                                   .name_len = 20,
                                                   .value = answers[i],
                                                   .value_len = (uint16_t)strlen(answers[i])};
        }
        ck_assert_int_eq(exchange_on_head(&exchange, &r), i == 0);
        exchange_cancel(&exchange, REASON_CLIENT_GONE);
        exchange_reset(&exchange);
    }
}
END_TEST

/* All that the origin gets from here on, at most `step` bytes at a time. */
static size_t take_all(char *out, size_t step)
{
    size_t len = 0;

    for (;;) {
        struct iovec piece[12];
        size_t n = exchange_output(&exchange, piece, ARRAY_LEN(piece)), sum = 0;

        if (n == 0)
            return len;
        for (size_t i = 0; i < n; i++) {
            size_t part = MIN(piece[i].iov_len, step - sum);

            memcpy(out + len + sum, piece[i].iov_base, part);
            sum += part;
        }
        exchange_sent(&exchange, sum);
        len += sum;
    }
}

START_TEST(a_body_is_framed_as_it_leaves)
{
    static const char want[] = "b\r\nhello world\r\n5\r\nagain\r\n0\r\nX-Sum: 16\r\n\r\n";
    static struct http_fields trailers;
    char out[256];
    size_t len, step = (size_t)_i + 1;

    start(NULL);
    exchange.framer.is_chunked = true;
    exchange_sent(&exchange, exchange.head_len);
    exchange_push_body(&exchange, (const uint8_t *)"hello ", 6);
    exchange_push_body(&exchange, (const uint8_t *)"world", 5); /* one chunk, whatever came */
    len = take_all(out, step);
    exchange_push_body(&exchange, (const uint8_t *)"again", 5);
    ck_assert(!exchange_is_sent(&exchange));
    trailers.count = 1;
    trailers.list[0] =
        (struct http_field){.name = "X-Sum", .name_len = 5, .value = "16", .value_len = 2};
    exchange_push_end(&exchange, &trailers);
    len += take_all(out + len, step);
    ck_assert_uint_eq(len, sizeof(want) - 1);
    ck_assert_mem_eq(out, want, len);
    ck_assert(exchange_is_sent(&exchange));
    ck_assert_uint_eq(took, 16);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("answers");

    tcase_add_checked_fixture(tcase, setup, exchange_teardown);
    tcase_add_test(tcase, an_answer_before_the_head_is_sent_cuts_no_head);
    tcase_add_test(tcase, a_connection_that_is_there_is_not_too_late);
    tcase_add_test(tcase, an_answer_under_way_holds_no_set_of_routes);
    tcase_add_loop_test(tcase, trailers_that_left_are_not_lost_by_a_retry, 0, 3);
    tcase_add_test(tcase, too_few_descriptors_mark_no_destination_down);
    tcase_add_loop_test(tcase, only_what_was_asked_for_is_switched_to, 0, ARRAY_LEN(switches));
    tcase_add_test(tcase, what_comes_behind_an_upgrade_waits);
    tcase_add_test(tcase, a_key_of_ours_must_be_answered);
    tcase_add_loop_test(tcase, a_body_is_framed_as_it_leaves, 0, 24);
    return suite_run("traffic/exchange", tcase);
}
