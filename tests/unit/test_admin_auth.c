/* Bearer tokens: scopes, rotation, the bound on wrong guesses; alone and through the server. */
#include "admin/auth.h"
#include "admin/server.h"
#include "admin_fixture.h"

static struct auth auth; /* too large for a stack */

static union addr address(const char *text)
{
    union addr at;

    ck_assert_int_eq(addr_parse(&at, text), 0);
    return at;
}

/* --- the tokens ------------------------------------------------------------------------------- */

START_TEST(tokens_that_are_none)
{
    static const char *const bad[] = {"",     "\n\n",  "a\nb\nc",   "a b",
                                      "a\tb", "a\x7f", "a\xc3\xa9", NULL};

    ck_assert_int_eq(auth_set(&auth, "first", NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_int_eq(auth_set(&auth, bad[i], NULL), -ERR_SYNTAX);
    ck_assert_int_eq(auth_set(&auth, "good", "a b"), -ERR_SYNTAX);
    ck_assert_uint_eq(auth.write_count, 1); /* the old ones stay */
    ck_assert_int_eq(auth_set(&auth, "one\r\ntwo\n\n", "\nthree"), 0);
    ck_assert_uint_eq(auth.write_count, 2);
    ck_assert_uint_eq(auth.read_count, 1);
}
END_TEST

START_TEST(scopes)
{
    static const struct {
        const char *field;
        enum auth_verdict verdict;
        enum auth_scope scope;
    } cases[] = {
        {"Bearer write-1", AUTH_OK, AUTH_WRITE},
        {"Bearer write-2", AUTH_OK, AUTH_WRITE},
        {"bearer write-1", AUTH_OK, AUTH_WRITE},
        {"BEARER   write-1", AUTH_OK, AUTH_WRITE},
        {"Bearer read-1", AUTH_OK, AUTH_READ},
        {"Bearer both", AUTH_OK, AUTH_WRITE},
        {NULL, AUTH_MISSING, AUTH_NONE},
        {"", AUTH_MISSING, AUTH_NONE},
        {"Bearer", AUTH_MISSING, AUTH_NONE},
        {"Bearer ", AUTH_MISSING, AUTH_NONE},
        {"Basic d3JpdGUtMQ==", AUTH_MISSING, AUTH_NONE},
        {"write-1", AUTH_MISSING, AUTH_NONE},
        {"Bearer write-", AUTH_WRONG, AUTH_NONE},
        {"Bearer write-1 ", AUTH_WRONG, AUTH_NONE},
        {"Bearer write-11", AUTH_WRONG, AUTH_NONE},
        {"Bearer WRITE-1", AUTH_WRONG, AUTH_NONE},
        {"Bearer write-1,write-2", AUTH_WRONG, AUTH_NONE},
    };
    union addr peer = address("192.0.2.1:1");

    ck_assert_int_eq(auth_set(&auth, "write-1\nwrite-2", "read-1\nboth"), 0);
    ck_assert_int_eq(auth_set(&auth, "write-1\nwrite-2", "read-1"), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum auth_scope scope = AUTH_NONE;
        if (i == 5) /* a token of both scopes may write */
            ck_assert_int_eq(auth_set(&auth, "write-1\nboth", "read-1\nboth"), 0);
        ck_assert_int_eq(auth_check(&auth, cases[i].field, &peer, 5000 * i, &scope),
                         cases[i].verdict);
        ck_assert_int_eq(scope, cases[i].scope);
    }
}
END_TEST

/* A guesser is held at the limit; who shares its address and has the token is not. */
START_TEST(failures_of_an_address_are_bounded)
{
    union addr bad = address("192.0.2.1:1"), mapped = address("[::ffff:192.0.2.1]:2"),
               good = address("192.0.2.2:1");
    enum auth_scope scope;

    ck_assert_int_eq(auth_set(&auth, "token", NULL), 0);
    ck_assert_uint_eq(auth_wait_ms(&auth, &bad, 1000), 0);
    for (unsigned i = 0; i < AUTH_FAILURES_MAX; i++)
        ck_assert_int_eq(auth_check(&auth, "Bearer x", &bad, 1000 + i, &scope), AUTH_WRONG);
    ck_assert_int_eq(auth_check(&auth, "Bearer x", &bad, 1999, &scope), AUTH_TOO_MANY);
    ck_assert_int_eq(auth_check(&auth, "Bearer x", &mapped, 1999, &scope), AUTH_TOO_MANY);
    ck_assert_uint_eq(auth_wait_ms(&auth, &mapped, 1999), 1);
    ck_assert_uint_eq(auth_wait_ms(&auth, &good, 1999), 0);
    ck_assert_int_eq(auth_check(&auth, "Bearer token", &bad, 1999, &scope), AUTH_OK);
    ck_assert_int_eq(scope, AUTH_WRITE);
    ck_assert_int_eq(auth_check(&auth, "Bearer x", &bad, 1999, &scope), AUTH_TOO_MANY);
    ck_assert_int_eq(scope, AUTH_NONE);
    ck_assert_int_eq(auth_check(&auth, "Bearer x", &good, 1999, &scope), AUTH_WRONG);
    ck_assert_int_eq(auth_check(&auth, "Bearer x", &bad, 2000, &scope), AUTH_WRONG);
}
END_TEST

/* No guess: it counts against nobody, and is told so however many wrong tokens came. */
START_TEST(requests_without_a_token_are_no_guesses)
{
    union addr peer = address("192.0.2.1:1");
    enum auth_scope scope;

    auth_fini(&auth);
    ck_assert_int_eq(auth_set(&auth, "token", NULL), 0);
    for (unsigned i = 0; i < 10 * AUTH_FAILURES_MAX; i++)
        ck_assert_int_eq(auth_check(&auth, i % 2 ? NULL : "Basic eDp4", &peer, 1000, &scope),
                         AUTH_MISSING);
    for (unsigned i = 0; i < AUTH_FAILURES_MAX; i++)
        ck_assert_int_eq(auth_check(&auth, "Bearer x", &peer, 1000, &scope), AUTH_WRONG);
    ck_assert_int_eq(auth_check(&auth, "Bearer x", &peer, 1000, &scope), AUTH_TOO_MANY);
    ck_assert_int_eq(auth_check(&auth, NULL, &peer, 1000, &scope), AUTH_MISSING);
}
END_TEST

START_TEST(one_ipv6_network_is_one_address)
{
    union addr one = address("[2001:db8:1:2::1]:1"), two = address("[2001:db8:1:2:ffff::9]:1"),
               other = address("[2001:db8:1:3::1]:1");
    enum auth_scope scope;

    ck_assert_int_eq(auth_set(&auth, "token", NULL), 0);
    for (unsigned i = 0; i < AUTH_FAILURES_MAX; i++)
        ck_assert_int_eq(auth_check(&auth, "Bearer x", &one, 1000, &scope), AUTH_WRONG);
    ck_assert_int_eq(auth_check(&auth, "Bearer x", &two, 1000, &scope), AUTH_TOO_MANY);
    ck_assert_int_eq(auth_check(&auth, "Bearer x", &other, 1000, &scope), AUTH_WRONG);
}
END_TEST

/* A right token takes no place in the table, and the table has an end. */
START_TEST(many_addresses)
{
    enum auth_scope scope;
    unsigned used = 0;

    auth_fini(&auth);
    ck_assert_int_eq(auth_set(&auth, "token", NULL), 0);
    for (unsigned i = 0; i < 5000; i++) {
        union addr peer = {.in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(i)}};
        ck_assert_int_eq(auth_check(&auth, "Bearer token", &peer, 1000, &scope), AUTH_OK);
    }
    for (unsigned i = 0; i < AUTH_SLOTS; i++)
        used += auth.slots[i].failures != 0;
    ck_assert_uint_eq(used, 0);
    for (unsigned i = 0; i < 5000; i++) {
        union addr peer = {.in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(i)}};
        ck_assert_int_eq(auth_check(&auth, "Bearer x", &peer, 1000 + i, &scope), AUTH_WRONG);
    }
    for (unsigned i = 0; i < AUTH_SLOTS; i++)
        used += auth.slots[i].failures != 0;
    ck_assert_uint_gt(used, AUTH_SLOTS / 2);
}
END_TEST

/* --- through the server ------------------------------------------------------------------------
 */

static void ask_with(struct service *s, const char *token, const char *path, unsigned status)
{
    char *request =
        must_printf("GET %s HTTP/1.1\r\n" HOST "Authorization: Bearer %s\r\n\r\n", path, token);
    ask_status(s, request, status);
    free(request);
}

static void rotate(struct service *s)
{
    ck_assert_int_eq(admin_reload(s->admin, TOKEN_2 "\nthird-token", "", NULL), 0);
    ck_assert_int_eq(admin_reload(s->admin, "", READ_TOKEN, NULL), -ERR_SYNTAX);
}

START_TEST(rotation)
{
    struct service s;

    service_up(&s);
    ask_with(&s, TOKEN, "/v1/things", 200);
    ask_with(&s, TOKEN_2, "/v1/things", 200);
    ask_with(&s, READ_TOKEN, "/v1/things", 200);
    on_loop(&s, rotate);
    ask_with(&s, TOKEN, "/v1/things", 401);
    ask_with(&s, TOKEN_2, "/v1/things", 200);
    ask_with(&s, "third-token", "/v1/things", 200);
    ask_with(&s, READ_TOKEN, "/v1/things", 401);
    service_stop(&s);
}
END_TEST

START_TEST(answers_of_the_server)
{
    struct service s;
    struct answer a;

    service_up(&s);
    ask(&s, &a, "GET /v1/things HTTP/1.1\r\n" HOST "\r\n");
    expect_problem(&a, 401, "unauthenticated");
    expect_header(&a, "WWW-Authenticate", "Bearer realm=\"penstock\"");
    answer_fini(&a);
    ask(&s, &a, "GET /v1/things HTTP/1.1\r\n" HOST "Authorization: Bearer x\r\n\r\n");
    expect_problem(&a, 401, "unauthenticated");
    expect_header(&a, "WWW-Authenticate", "Bearer realm=\"penstock\", error=\"invalid_token\"");
    answer_fini(&a);
    ask(&s, &a, "PUT /v1/things HTTP/1.1\r\n" HOST READ JSON "Content-Length: 2\r\n\r\n{}");
    expect_problem(&a, 403, "readOnly");
    expect_header(&a, "WWW-Authenticate",
                  "Bearer realm=\"penstock\", error=\"insufficient_scope\"");
    answer_fini(&a);
    /* two of them say nothing for sure */
    ask_problem(&s, "GET /v1/things HTTP/1.1\r\n" HOST AUTH AUTH "\r\n", 401, "unauthenticated");
    ask_closed(&s, "PUT /v1/things HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}", 401,
               "unauthenticated");
    ask_status(&s, "GET /healthz HTTP/1.1\r\n" HOST "Authorization: Bearer x\r\n\r\n", 200);
    ck_assert_uint_eq(atomic_load(&s.handled), 0);
    service_stop(&s);
}
END_TEST

#define WRONG(method, path) method " " path " HTTP/1.1\r\n" HOST "Authorization: Bearer x\r\n"
#define RIGHT               "GET /v1/things HTTP/1.1\r\n" HOST AUTH "\r\n"
#define TRIES               2000 /* a machine that needs so many has never been at the limit */

static uint64_t now_ms(void)
{
    return clock_now_us() / 1000;
}

static void count_held(struct service *s)
{
    s->held = 0;
    LIST_EACH (&s->admin->requests, node, after)
        s->held += container_of(node, struct admin_request, node)->state == REQUEST_HELD;
}

/* Wrong tokens until one waits for its answer: on the connection that comes back. */
static int guess_until_held(struct service *s)
{
    static const char wrong[] = WRONG("GET", "/v1/things") "\r\n";
    struct pollfd ready = {.fd = dial_to(admin_address(s->admin)), .events = POLLIN};
    struct answer a;

    for (int i = 0; i < TRIES; i++) {
        say(ready.fd, wrong, strlen(wrong));
        while (poll(&ready, 1, 1) == 0) {
            on_loop(s, count_held);
            if (s->held == 0)
                continue;
            ck_assert_int_ge(i, AUTH_FAILURES_MAX);
            return ready.fd;
        }
        hear(ready.fd, &a, false);
        ck_assert(a.status == 401 || a.status == 429);
        if (a.status == 429) { /* the second was all but over */
            close(ready.fd);
            ready.fd = dial_to(admin_address(s->admin));
        }
        answer_fini(&a);
    }
    ck_abort_msg("never held");
}

/* More than ten wrong ones within a second: a further one is refused when it is over, and the right
 * token is let in meanwhile. */
START_TEST(a_guesser_waits_and_nobody_else)
{
    struct service s;
    struct answer a;
    int fd;

    service_up(&s);
    fd = guess_until_held(&s);
    ask_status(&s, RIGHT, 200);
    ask_problem(&s, "GET /v1/things HTTP/1.1\r\n" HOST "\r\n", 401, "unauthenticated");
    hear(fd, &a, false);
    expect_problem(&a, 429, "tooManyFailures");
    expect_header(&a, "Retry-After", "1");
    hear_end(fd);
    answer_fini(&a);
    close(fd);
    service_stop(&s);
}
END_TEST

/* One connection at a time makes ten guesses a second and one that waits, however fast it asks. */
START_TEST(guesses_of_a_connection_are_bounded)
{
    uint64_t since_ms = now_ms();
    struct service s;
    struct answer a;

    service_up(&s);
    for (unsigned i = 0; i < 2 * (AUTH_FAILURES_MAX + 1); i++) {
        ask(&s, &a, WRONG("GET", "/v1/things") "\r\n");
        ck_assert(a.status == 401 || a.status == 429);
        answer_fini(&a);
    }
    ck_assert_uint_ge(now_ms() - since_ms, 1900); /* the loop's clock is read once a turn */
    service_stop(&s);
}
END_TEST

/* Going away does not free the place for the next guess. */
START_TEST(a_held_connection_keeps_its_place)
{
    bool is_in = false;
    struct service s;
    int fd;

    service_prepare(&s);
    s.options.per_address_max = 1;
    service_start(&s);
    fd = guess_until_held(&s);
    close(fd);
    while (!is_in) {
        char c;

        fd = dial_to(admin_address(s.admin));
        (void)send(fd, RIGHT, strlen(RIGHT), MSG_NOSIGNAL);
        is_in = hear_bytes(fd, &c, 1) == 1;
        close(fd);
        on_loop(&s, count_held);
        ck_assert(!is_in || s.held == 0);
    }
    service_stop(&s);
}
END_TEST

/* What comes with it is thrown away. */
START_TEST(a_body_of_a_guesser)
{
    static const char put[] = WRONG("PUT", "/v1/things") JSON "Content-Length: 2\r\n\r\n{}";
    struct service s;
    struct answer a;
    int fd, other;

    service_up(&s);
    fd = guess_until_held(&s);
    other = dial_to(admin_address(s.admin));
    say(other, put, strlen(put));
    hear(other, &a, false);
    ck_assert(a.status == 401 || a.status == 429); /* the second may be over */
    hear_end(other);
    answer_fini(&a);
    ck_assert_uint_eq(atomic_load(&s.handled), 0);
    close(other);
    close(fd);
    service_stop(&s);
}
END_TEST

START_TEST(the_end_while_guesses_are_held)
{
    struct service s;
    struct answer a;
    int fd;

    service_up(&s);
    fd = guess_until_held(&s);
    service_stop(&s);
    hear(fd, &a, false);
    expect_problem(&a, 429, "tooManyFailures");
    answer_fini(&a);
    close(fd);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        tokens_that_are_none,
        scopes,
        failures_of_an_address_are_bounded,
        requests_without_a_token_are_no_guesses,
        one_ipv6_network_is_one_address,
        many_addresses,
        rotation,
        answers_of_the_server,
        a_guesser_waits_and_nobody_else,
        guesses_of_a_connection_are_bounded,
        a_held_connection_keeps_its_place,
        a_body_of_a_guesser,
        the_end_while_guesses_are_held,
    };

    return run_suite("admin_auth", tests, ARRAY_LEN(tests));
}
