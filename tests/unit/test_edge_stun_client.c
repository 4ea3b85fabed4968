/* Tests of edge/stun_client against a server on loopback that answers what the test says: the
 * address, nothing, garbage, another transaction, too late, an error. */
#include <arpa/inet.h>
#include <check.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "edge/stun_client.h"
#include "support/await.h"

#define PATIENCE_MS 20000
#define RTO_MS      200u /* where it is waited for: three of them are 19 times that */

enum says {
    SAYS_ADDRESS,
    SAYS_NOTHING,
    SAYS_GARBAGE,
    SAYS_OTHER_ID,
    SAYS_ERROR,
    SAYS_ALTERNATE,
    SAYS_NO_ADDRESS
};

static struct loop *loop;
static struct stun_client client;
static unsigned changes;
static char server_text[64];

/* A server of one question at a time. */
static struct stun_server {
    int fd;
    struct loop_io io;
    enum says says;
    uint8_t address[4];
    unsigned requests, skip; /* skip: so many requests stay without an answer */
    uint8_t ids[32][STUN_ID_BYTES];
    union addr peer;
} server;

static void put_answer(uint8_t out[32], const uint8_t *id)
{
    static const uint8_t head[] = {0x01, 0x01, 0, 12, 0x21, 0x12, 0xa4, 0x42};
    static const uint8_t attribute[] = {0, 0x20, 0, 8, 0, 1, 0xa1, 0x47};

    memcpy(out, head, 8);
    memcpy(out + 8, id, STUN_ID_BYTES);
    memcpy(out + 20, attribute, 8);
    for (unsigned i = 0; i < 4; i++)
        out[28 + i] = server.address[i] ^ head[4 + i];
}

static void answer(const uint8_t *id)
{
    static const uint8_t error[] = {0, 9, 0, 4, 0, 0, 5, 0};
    static const uint8_t alternate[] = {
        0,    9,    0, 4, 0, 0, 3,    0, /* 300, and 192.0.2.9:3478 */
        0x80, 0x23, 0, 8, 0, 1, 0x0d, 0x96, 192, 0, 2, 9};
    uint8_t out[40];
    size_t n = 32;

    put_answer(out, id);
    switch (server.says) {
    case SAYS_ADDRESS:
        break;
    case SAYS_NOTHING:
        return;
    case SAYS_GARBAGE:
        memset(out, 0xff, sizeof(out));
        break;
    case SAYS_OTHER_ID:
        out[8] ^= 1;
        break;
    case SAYS_ERROR:
        out[1] = 0x11;
        out[3] = 8;
        memcpy(out + 20, error, sizeof(error));
        n = 28;
        break;
    case SAYS_ALTERNATE:
        out[1] = 0x11;
        out[3] = sizeof(alternate);
        memcpy(out + 20, alternate, sizeof(alternate));
        n = 40;
        break;
    case SAYS_NO_ADDRESS:
        out[3] = 0;
        n = 20;
        break;
    }
    ck_assert_int_eq(sendto(server.fd, out, n, 0, &server.peer.sa, addr_len(&server.peer)),
                     (ssize_t)n);
}

static void on_request(struct loop_io *io, unsigned events)
{
    socklen_t size = sizeof(server.peer);
    uint8_t request[64];

    (void)io;
    (void)events;
    ck_assert_int_eq(recvfrom(server.fd, request, sizeof(request), 0, &server.peer.sa, &size),
                     STUN_REQUEST_BYTES);
    memcpy(server.ids[server.requests % ARRAY_LEN(server.ids)], request + 8, STUN_ID_BYTES);
    server.requests++;
    if (server.requests > server.skip)
        answer(request + 8);
}

static void on_changed(struct stun_client *c)
{
    ck_assert_ptr_eq(c, &client);
    changes++;
}

static void server_open(void)
{
    union addr at;
    socklen_t n = sizeof(at);

    ck_assert_int_eq(addr_parse(&at, "127.0.0.1:0"), 0);
    server.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(server.fd, &at.sa, addr_len(&at)), 0);
    ck_assert_int_eq(getsockname(server.fd, &at.sa, &n), 0);
    addr_format(&at, server_text);
    loop_io_init(&server.io, loop, server.fd, on_request);
    loop_io_arm(&server.io, LOOP_READ);
}

static void server_close(void)
{
    loop_io_arm(&server.io, 0);
    if (server.fd >= 0)
        close(server.fd);
    server.fd = -1;
}

static uint32_t rto_ms; /* a test that is held up for less asks once */

static void use(const char *text)
{
    struct stun_options options = {.server = text, .rto_ms = rto_ms, .tries = 3};

    ck_assert_int_eq(stun_client_configure(&client, &options), 0);
}

static void setup(void)
{
    log_init(LOG_TEXT, LOG_ERR, 2);
    loop = loop_new("test", 0, 0);
    changes = 0;
    rto_ms = 10000;
    server = (struct stun_server){.says = SAYS_ADDRESS, .address = {192, 0, 2, 7}};
    server_open();
    stun_client_init(&client, loop, on_changed);
}

static void teardown(void)
{
    server_close();
    stun_client_fini(&client);
    stun_client_fini(&client);
    loop_free(loop);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static bool happens(bool (*is_true)(void))
{
    return await_plain_within(loop, is_true, PATIENCE_MS);
}

#define UNTIL(is_true) ck_assert_msg(happens(is_true), "never: " #is_true)

static uint64_t questions(void)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < STUN_RESULT_COUNT; i++)
        sum += client.results[i];
    return sum;
}

static bool one_is_over(void)
{
    return questions() == 1;
}

static bool two_are_over(void)
{
    return questions() == 2;
}

static bool one_was_asked(void)
{
    return server.requests >= 1;
}

static void expect_one(enum stun_result result)
{
    UNTIL(one_is_over);
    for (unsigned i = 0; i < STUN_RESULT_COUNT; i++)
        ck_assert_msg(client.results[i] == (i == (unsigned)result), "%s",
                      stun_result_name((enum stun_result)i));
    ck_assert_int_eq(client.state, STUN_WAITING);
    ck_assert_int_eq(client.fd, -1);
}

/* --- tests ------------------------------------------------------------------------------------ */

START_TEST(an_answer_is_the_address)
{
    use(server_text);
    stun_client_start(&client);
    expect_one(STUN_RESULT_OK);
    ck_assert_str_eq(client.public_ip, "192.0.2.7");
    ck_assert_uint_eq(changes, 1);
    ck_assert_uint_eq(server.requests, 1);
}
END_TEST

START_TEST(a_lost_request_is_sent_again_with_the_same_id)
{
    rto_ms = RTO_MS;
    use(server_text);
    server.skip = 2;
    stun_client_start(&client);
    expect_one(STUN_RESULT_OK);
    ck_assert_uint_eq(server.requests, 3);
    ck_assert_mem_eq(server.ids[0], server.ids[1], STUN_ID_BYTES);
    ck_assert_mem_eq(server.ids[0], server.ids[2], STUN_ID_BYTES);
}
END_TEST

static const struct {
    enum says says;
    enum stun_result result;
    unsigned requests, ignored;
} failures[] = {
    {SAYS_NOTHING, STUN_RESULT_TIMEOUT, 3, 0},    {SAYS_GARBAGE, STUN_RESULT_TIMEOUT, 3, 3},
    {SAYS_OTHER_ID, STUN_RESULT_TIMEOUT, 3, 3},   {SAYS_ERROR, STUN_RESULT_REFUSED, 1, 0},
    {SAYS_NO_ADDRESS, STUN_RESULT_USELESS, 1, 0}, {SAYS_ALTERNATE, STUN_RESULT_REDIRECTED, 1, 0},
};

START_TEST(what_is_no_answer_ends_in_its_result)
{
    uint64_t began_us = clock_now_us();

    rto_ms = RTO_MS;
    use(server_text);
    server.says = failures[_i].says;
    stun_client_start(&client);
    expect_one(failures[_i].result);
    ck_assert_uint_eq(server.requests, failures[_i].requests);
    ck_assert_uint_eq(client.requests, failures[_i].requests);
    ck_assert_uint_eq(client.ignored, failures[_i].ignored);
    ck_assert_str_eq(client.public_ip, "");
    ck_assert_uint_eq(changes, 0);
    if (failures[_i].result == STUN_RESULT_TIMEOUT) /* 1 + 2 + 16 times */
        ck_assert_uint_ge((clock_now_us() - began_us) / 1000, 19 * RTO_MS - 5);
}
END_TEST

static void expect_useless(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    const uint8_t address[] = {a, b, c, d};

    memcpy(server.address, address, sizeof(address));
    stun_client_start(&client);
    UNTIL(one_is_over);
    ck_assert_uint_eq(client.results[STUN_RESULT_USELESS], 1);
    client.results[STUN_RESULT_USELESS] = 0;
    stun_client_stop(&client);
}

START_TEST(an_address_that_nobody_can_have_is_none)
{
    use(server_text);
    expect_useless(0, 0, 0, 0);
    expect_useless(224, 0, 0, 1);
    expect_useless(255, 255, 255, 255);
    ck_assert_str_eq(client.public_ip, "");
}
END_TEST

START_TEST(a_change_is_seen_at_the_next_interval)
{
    use(server_text);
    stun_client_set_interval(&client, 1);
    stun_client_start(&client);
    UNTIL(one_is_over);
    server.address[3] = 8;
    UNTIL(two_are_over);
    ck_assert_str_eq(client.public_ip, "192.0.2.8");
    ck_assert_uint_eq(changes, 2);
    ck_assert_mem_ne(server.ids[0], server.ids[1], STUN_ID_BYTES);
}
END_TEST

static uint64_t pause_ms(void)
{
    return client.deadline.due_ms - client.asked_ms;
}

/* 10 s, doubled with each, jitter taken off; never later than the interval. */
START_TEST(a_failure_is_tried_again_before_the_interval_is_over)
{
    static const uint64_t whole_ms[] = {10000, 20000, 40000, 80000, 160000, 300000};

    use(server_text);
    server.says = SAYS_ERROR;
    for (unsigned i = 0; i < ARRAY_LEN(whole_ms); i++) {
        stun_client_start(&client);
        client.failures = i; /* a start of its own begins with none */
        UNTIL(one_is_over);
        ck_assert_uint_ge(pause_ms(), MIN(whole_ms[i] / 2, 160000u));
        ck_assert_uint_le(pause_ms(), whole_ms[i]);
        client.results[STUN_RESULT_REFUSED] = 0;
        stun_client_set_interval(&client, 3); /* the hub wants it more often */
        /* from now, not from the question: between turns the loop's clock may have gone on since */
        ck_assert_uint_le(client.deadline.due_ms - loop_now_ms(client.loop), 3000);
        stun_client_set_interval(&client, 0);
        ck_assert_uint_eq(client.deadline.due_ms, 0);
        stun_client_stop(&client);
    }
    server.says = SAYS_ADDRESS;
    stun_client_start(&client);
    expect_one(STUN_RESULT_OK);
    ck_assert_uint_eq(pause_ms(), STUN_INTERVAL_SECS * 1000);
}
END_TEST

START_TEST(the_pause_after_a_failure_has_jitter_and_an_end)
{
    ck_assert_uint_eq(stun_retry_ms(1, 0), STUN_RETRY_MS);
    ck_assert_uint_eq(stun_retry_ms(1, STUN_RETRY_MS / 2), STUN_RETRY_MS / 2);
    ck_assert_uint_eq(stun_retry_ms(3, 1), 4 * STUN_RETRY_MS - 1);
    ck_assert_uint_eq(stun_retry_ms(31, 0), stun_retry_ms(UINT_MAX, 0));
    for (unsigned random = 0; random < 10000; random += 7)
        ck_assert_uint_ge(stun_retry_ms(1, random), STUN_RETRY_MS / 2);
}
END_TEST

START_TEST(a_failure_leaves_the_address_and_the_same_one_is_no_change)
{
    use(server_text);
    stun_client_start(&client);
    UNTIL(one_is_over);
    server.says = SAYS_ERROR;
    stun_client_set_interval(&client, 1);
    UNTIL(two_are_over);
    ck_assert_uint_eq(client.results[STUN_RESULT_REFUSED], 1);
    ck_assert_str_eq(client.public_ip, "192.0.2.7");
    ck_assert_uint_eq(changes, 1);
}
END_TEST

START_TEST(an_interval_of_0_ends_it)
{
    use(server_text);
    stun_client_set_interval(&client, 0);
    stun_client_start(&client);
    expect_one(STUN_RESULT_OK);
    ck_assert_uint_eq(client.deadline.due_ms, 0);
    stun_client_set_interval(&client, 7);
    ck_assert_uint_le(client.deadline.due_ms, loop_now_ms(loop) + 7000);
    ck_assert_uint_gt(client.deadline.due_ms, 0);
}
END_TEST

START_TEST(an_answer_after_the_end_meets_nobody)
{
    rto_ms = RTO_MS;
    use(server_text);
    server.says = SAYS_NOTHING;
    stun_client_start(&client);
    expect_one(STUN_RESULT_TIMEOUT);
    server.says = SAYS_ADDRESS;
    answer(server.ids[0]);
    stun_client_set_interval(&client, 1);
    UNTIL(two_are_over);
    ck_assert_uint_eq(client.results[STUN_RESULT_OK], 1);
    ck_assert_uint_eq(client.ignored, 0);
}
END_TEST

START_TEST(a_stop_gives_up_what_is_open)
{
    use(server_text);
    server.says = SAYS_NOTHING;
    stun_client_start(&client);
    UNTIL(one_was_asked);
    ck_assert_int_eq(client.state, STUN_ASKING);
    stun_client_stop(&client);
    ck_assert_int_eq(client.fd, -1);
    ck_assert_uint_eq(questions(), 0);
    server.says = SAYS_ADDRESS;
    stun_client_start(&client); /* and again from the beginning */
    expect_one(STUN_RESULT_OK);
    stun_client_stop(&client);
    ck_assert_str_eq(client.public_ip, "");
}
END_TEST

START_TEST(nobody_at_the_port_is_seen_at_once)
{
    server_close();
    use(server_text);
    stun_client_start(&client);
    expect_one(STUN_RESULT_UNREACHABLE);
}
END_TEST

START_TEST(a_name_that_is_none_is_unresolved)
{
    use("no-such-name.invalid");
    stun_client_start(&client);
    expect_one(STUN_RESULT_UNRESOLVED);
}
END_TEST

START_TEST(without_a_server_nothing_is_asked)
{
    use("");
    stun_client_start(&client);
    ck_assert_int_eq(client.state, STUN_OFF);
    stun_client_set_interval(&client, 1);
    stun_client_stop(&client);
    ck_assert_uint_eq(server.requests, 0);
}
END_TEST

/* The order of addresses: as if a name had them all. */
static void resolved(const char *const *texts, unsigned count)
{
    union addr addrs[RESOLVER_ADDRESSES_MAX];

    use(server_text);
    stun_client_start(&client);
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(addr_parse(&addrs[i], texts[i]), 0);
    resolve_cancel(&client.query);
    client.query.on_addresses(&client.query, addrs, count, 0);
}

START_TEST(ipv4_is_asked_first_and_ipv6_not_after_it)
{
    const char *texts[] = {"[::1]:9", server_text};

    server.says = SAYS_ERROR;
    resolved(texts, 2);
    expect_one(STUN_RESULT_REFUSED);
    ck_assert_uint_eq(server.requests, 1);
    ck_assert_uint_eq(client.reached, 1);
}
END_TEST

START_TEST(no_more_than_two_addresses_are_asked)
{
    const char *texts[] = {server_text, server_text, server_text};

    server.says = SAYS_ERROR;
    resolved(texts, 3);
    expect_one(STUN_RESULT_REFUSED);
    ck_assert_uint_eq(server.requests, STUN_SERVERS_MAX);
    ck_assert_mem_ne(server.ids[0], server.ids[1], STUN_ID_BYTES);
}
END_TEST

START_TEST(the_second_address_answers_for_the_first)
{
    const char *texts[] = {"127.0.0.1:1", server_text};

    resolved(texts, 2);
    expect_one(STUN_RESULT_OK);
    ck_assert_str_eq(client.public_ip, "192.0.2.7");
}
END_TEST

static const struct {
    const char *text, *host; /* host NULL: refused */
    uint16_t port;
} servers[] = {
    {"stun.example.com", "stun.example.com", 3478},
    {"stun.example.com:19302", "stun.example.com", 19302},
    {"192.0.2.1:65535", "192.0.2.1", 65535},
    {"[2001:db8::1]", "2001:db8::1", 3478},
    {"[2001:db8::1]:1", "2001:db8::1", 1},
    {"2001:db8::1", NULL, 0},
    {"[192.0.2.1]", NULL, 0},
    {"[2001:db8::1", NULL, 0},
    {"[2001:db8::1]3478", NULL, 0},
    {"[]", NULL, 0},
    {"host:", NULL, 0},
    {"host:0", NULL, 0},
    {"host:65536", NULL, 0},
    {"host:123456", NULL, 0},
    {"host:+1", NULL, 0},
    {":3478", NULL, 0},
    {"ho st", NULL, 0},
    {"stun:host", NULL, 0},
};

START_TEST(a_server_is_a_host_and_maybe_a_port)
{
    char host[HOST_MAX + 1];
    uint16_t port;
    int err = stun_server_parse(host, &port, servers[_i].text);

    ck_assert_msg(err == (servers[_i].host ? 0 : -ERR_SYNTAX), "%s", servers[_i].text);
    if (!err) {
        ck_assert_str_eq(host, servers[_i].host);
        ck_assert_uint_eq(port, servers[_i].port);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("edge/stun_client");
    TCase *tcase = tcase_create("all");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, an_answer_is_the_address);
    tcase_add_test(tcase, a_lost_request_is_sent_again_with_the_same_id);
    tcase_add_loop_test(tcase, what_is_no_answer_ends_in_its_result, 0, (int)ARRAY_LEN(failures));
    tcase_add_test(tcase, an_address_that_nobody_can_have_is_none);
    tcase_add_test(tcase, a_change_is_seen_at_the_next_interval);
    tcase_add_test(tcase, a_failure_is_tried_again_before_the_interval_is_over);
    tcase_add_test(tcase, the_pause_after_a_failure_has_jitter_and_an_end);
    tcase_add_test(tcase, a_failure_leaves_the_address_and_the_same_one_is_no_change);
    tcase_add_test(tcase, an_interval_of_0_ends_it);
    tcase_add_test(tcase, an_answer_after_the_end_meets_nobody);
    tcase_add_test(tcase, a_stop_gives_up_what_is_open);
    tcase_add_test(tcase, nobody_at_the_port_is_seen_at_once);
    tcase_add_test(tcase, a_name_that_is_none_is_unresolved);
    tcase_add_test(tcase, without_a_server_nothing_is_asked);
    tcase_add_test(tcase, ipv4_is_asked_first_and_ipv6_not_after_it);
    tcase_add_test(tcase, no_more_than_two_addresses_are_asked);
    tcase_add_test(tcase, the_second_address_answers_for_the_first);
    tcase_add_loop_test(tcase, a_server_is_a_host_and_maybe_a_port, 0, (int)ARRAY_LEN(servers));
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
