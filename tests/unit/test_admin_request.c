/* The life of a request: bodies in all sizes and paces, deferred answers, connections and limits.
 */
#include "admin/events.h"
#include "admin_fixture.h"

#define PUT_THINGS "PUT /v1/things HTTP/1.1\r\n" HOST AUTH JSON

START_TEST(body_in_one_piece_and_byte_by_byte)
{
    static const char request[] = PUT_THINGS "Content-Length: 13\r\n\r\n{\"a\":[1,\"x\"]}";
    struct service s;
    struct answer a;
    int fd;

    service_up(&s);
    ask(&s, &a, request);
    ck_assert_uint_eq(a.status, 200);
    ck_assert_str_eq(a.body, "{\"a\":[1,\"x\"]}");
    expect_header(&a, "Content-Type", "application/json");
    expect_header(&a, "ETag", "\"rev-2\"");
    answer_fini(&a);
    fd = dial_to(admin_address(s.admin));
    for (size_t i = 0; i < strlen(request); i++)
        say(fd, request + i, 1);
    hear(fd, &a, false);
    ck_assert_uint_eq(a.status, 200);
    ck_assert_str_eq(a.body, "{\"a\":[1,\"x\"]}");
    answer_fini(&a);
    close(fd);
    service_stop(&s);
}
END_TEST

START_TEST(chunked_body)
{
    struct service s;
    struct answer a;

    service_up(&s);
    ask(&s, &a,
        PUT_THINGS "Transfer-Encoding: Chunked\r\n\r\n"
                   "2\r\n{\"\r\n7\r\na\":true\r\n1\r\n}\r\n0\r\nX-Trailer: 1\r\n\r\n");
    ck_assert_uint_eq(a.status, 200);
    ck_assert_str_eq(a.body, "{\"a\":true}");
    answer_fini(&a);
    service_stop(&s);
}
END_TEST

START_TEST(expect_continue)
{
    struct service s;
    struct answer a;
    char interim[26] = "";
    int fd;

    service_up(&s);
    fd = dial_to(admin_address(s.admin));
    say(fd, PUT_THINGS "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        strlen(PUT_THINGS "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
    ck_assert_int_eq(recv(fd, interim, 25, MSG_WAITALL), 25);
    ck_assert_str_eq(interim, "HTTP/1.1 100 Continue\r\n\r\n");
    say(fd, "{}", 2);
    hear(fd, &a, false);
    ck_assert_uint_eq(a.status, 200);
    answer_fini(&a);
    close(fd);
    /* what is refused is refused instead of continued */
    ask_closed(&s,
               "PUT /v1/things HTTP/1.1\r\n" HOST JSON
               "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n",
               401, "unauthenticated");
    service_stop(&s);
}
END_TEST

/* The detail says which byte. */
static void expect_syntax(struct service *s, const char *body, const char *detail)
{
    char *request = must_printf(PUT_THINGS "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
    struct json_object *o = NULL, *errors, *value;
    struct json_syntax why;
    struct answer a;

    ask(s, &a, request);
    expect_problem(&a, 400, "malformedBody");
    ck_assert_int_eq(json_read(&o, a.body, a.body_len, &why), 0);
    ck_assert(json_object_object_get_ex(o, "errors", &errors));
    ck_assert_uint_eq(json_object_array_length(errors), 1);
    errors = json_object_array_get_idx(errors, 0);
    ck_assert(json_object_object_get_ex(errors, "pointer", &value));
    ck_assert_str_eq(json_object_get_string(value), "");
    ck_assert(json_object_object_get_ex(errors, "code", &value));
    ck_assert_str_eq(json_object_get_string(value), "syntax");
    ck_assert(json_object_object_get_ex(errors, "detail", &value));
    ck_assert_msg(strncmp(json_object_get_string(value), detail, strlen(detail)) == 0, "%s",
                  json_object_get_string(value));
    json_object_put(o);
    answer_fini(&a);
    free(request);
}

START_TEST(malformed_bodies)
{
    struct service s;

    service_up(&s);
    expect_syntax(&s, "{\"a\":}", "byte 5: ");
    expect_syntax(&s, "{\"a\":1,\"a\":2}", "byte 7: ");
    expect_syntax(&s, "{}x", "byte 2: ");
    expect_syntax(&s, " ", "byte 1: ");
    expect_syntax(&s, "null", "byte 0: an object or a list is needed, not null");
    expect_syntax(&s, "7", "byte 0: an object or a list is needed, not integer");
    ck_assert_uint_eq(atomic_load(&s.handled), 0);
    service_stop(&s);
}
END_TEST

/* A body of exactly the limit passes; of one byte more it is refused from the head alone. */
START_TEST(largest_body)
{
    struct service s;
    struct answer a;
    char body[BODY_MAX + 1], *request;

    service_up(&s);
    memset(body, ' ', BODY_MAX);
    memcpy(body, "{}", 2);
    body[BODY_MAX] = '\0';
    request = must_printf(PUT_THINGS "Content-Length: %u\r\n\r\n%s", BODY_MAX, body);
    ask(&s, &a, request);
    ck_assert_uint_eq(a.status, 200);
    answer_fini(&a);
    free(request);
    request = must_printf(PUT_THINGS "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
                          BODY_MAX, body);
    ask(&s, &a, request);
    ck_assert_uint_eq(a.status, 200);
    answer_fini(&a);
    free(request);
    ask_closed(&s, PUT_THINGS "Content-Length: 1001\r\n\r\n", 413, "bodyTooLarge");
    service_stop(&s);
}
END_TEST

/* The length is not known beforehand: the answer comes in the middle, and it can be read although
 * the client goes on sending. */
START_TEST(chunked_body_over_the_limit)
{
    struct service s;
    struct answer a;
    char *chunk = must_alloc(0x8000 + 1);
    int fd;

    service_up(&s);
    memset(chunk, 'x', 0x8000);
    fd = dial_to(admin_address(s.admin));
    say(fd, PUT_THINGS "Transfer-Encoding: chunked\r\n\r\n8000\r\n",
        strlen(PUT_THINGS "Transfer-Encoding: chunked\r\n\r\n8000\r\n"));
    say(fd, chunk, 0x8000);
    hear(fd, &a, false);
    expect_problem(&a, 413, "bodyTooLarge");
    expect_header(&a, "Connection", "close");
    ck_assert_uint_eq(atomic_load(&s.handled), 0);
    hear_end(fd);
    answer_fini(&a);
    close(fd);
    free(chunk);
    service_stop(&s);
}
END_TEST

/* The answer is there, and the client, which did not look, goes on sending: closing at once would
 * be a reset, which breaks its sending and may eat the answer. */
START_TEST(refused_body_is_read_empty_for_a_moment)
{
    static const char head[] = PUT_THINGS "Content-Length: 600000\r\n\r\n";
    struct service s;
    struct answer a;
    struct pollfd answered;
    char *piece = must_alloc(6000);
    int fd;

    service_up(&s);
    fd = dial_to(admin_address(s.admin));
    say(fd, head, strlen(head));
    answered = (struct pollfd){.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&answered, 1, PATIENCE_S * 1000), 1);
    for (int i = 0; i < 100; i++)
        say(fd, piece, 6000);
    hear(fd, &a, false);
    expect_problem(&a, 413, "bodyTooLarge");
    hear_end(fd);
    answer_fini(&a);
    close(fd);
    free(piece);
    service_stop(&s);
}
END_TEST

START_TEST(raw_body)
{
    struct service s;
    struct answer a;
    char *body = must_alloc(BIG_BYTES + 1), *head;
    int fd;

    service_up(&s);
    memset(body, 'r', BIG_BYTES); /* no JSON: the handler gets it all the same */
    head = must_printf("PUT /v1/raw HTTP/1.1\r\n" HOST AUTH JSON "Content-Length: %u\r\n\r\n",
                       BIG_BYTES);
    fd = dial_to(admin_address(s.admin));
    say(fd, head, strlen(head));
    say(fd, body, BIG_BYTES);
    hear(fd, &a, false);
    ck_assert_uint_eq(a.status, 200);
    ck_assert_str_eq(a.body, "{\"first\":\"r\"}");
    ck_assert_uint_eq(atomic_load(&s.raw_bytes), BIG_BYTES);
    answer_fini(&a);
    close(fd);
    free(head);
    free(body);
    service_stop(&s);
}
END_TEST

START_TEST(bodies_together_are_bounded)
{
    struct service s;
    struct answer a;
    int fd;

    service_prepare(&s);
    s.options.bodies_max = BIG_BYTES;
    service_start(&s);
    fd = dial_to(admin_address(s.admin));
    say(fd,
        "PUT /v1/raw HTTP/1.1\r\n" HOST AUTH JSON "Expect: 100-continue\r\nContent-Length: "
        "3145000\r\n\r\n",
        strlen("PUT /v1/raw HTTP/1.1\r\n" HOST AUTH JSON "Expect: 100-continue\r\n"
               "Content-Length: 3145000\r\n\r\n"));
    char interim[26] = "";
    ck_assert_int_eq(recv(fd, interim, 25, MSG_WAITALL), 25); /* it has its place now */
    ask(&s, &a, "PUT /v1/raw HTTP/1.1\r\n" HOST AUTH JSON "Content-Length: 1000\r\n\r\n");
    expect_problem(&a, 503, "busy");
    expect_header(&a, "Retry-After", "1");
    answer_fini(&a);
    close(fd); /* and gives it back */
    for (unsigned status = 503; status == 503;) {
        ask(&s, &a, "PUT /v1/raw HTTP/1.1\r\n" HOST AUTH JSON "Content-Length: 4\r\n\r\nabcd");
        status = a.status;
        answer_fini(&a);
    }
    service_stop(&s);
}
END_TEST

START_TEST(big_answer_to_a_slow_reader)
{
    struct service s;
    struct answer a;
    int fd;

    service_up(&s);
    fd = dial_to(admin_address(s.admin));
    say(fd, "GET /v1/big HTTP/1.1\r\n" HOST READ "\r\n",
        strlen("GET /v1/big HTTP/1.1\r\n" HOST READ "\r\n"));
    ask_status(&s, "GET /healthz HTTP/1.1\r\n" HOST "\r\n", 200); /* others are served meanwhile */
    hear(fd, &a, false);
    ck_assert_uint_eq(a.status, 200);
    ck_assert_uint_eq(a.body_len, BIG_BYTES + strlen("{\"big\":\"\"}"));
    answer_fini(&a);
    close(fd);
    service_stop(&s);
}
END_TEST

START_TEST(connection_is_kept_and_requests_may_follow_each_other)
{
    static const char two[] = "GET /healthz HTTP/1.1\r\n" HOST "X-Request-Id: one\r\n\r\n"
                              "GET /v1/things HTTP/1.1\r\n" HOST READ "X-Request-Id: two\r\n\r\n"
                              "GET /nothing HTTP/1.1\r\n" HOST READ "X-Request-Id: three\r\n\r\n"
                              "PUT /v1/things HTTP/1.1\r\n" HOST AUTH JSON
                              "X-Request-Id: four\r\nContent-Length: 2\r\n\r\n{}";
    static const struct {
        const char *id;
        unsigned status;
    } wanted[] = {{"one", 200}, {"two", 200}, {"three", 404}, {"four", 200}};
    struct service s;
    int fd;

    service_up(&s);
    fd = dial_to(admin_address(s.admin));
    say(fd, two, strlen(two));
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        struct answer a;
        hear(fd, &a, false);
        ck_assert_uint_eq(a.status, wanted[i].status);
        expect_header(&a, "X-Request-Id", wanted[i].id);
        answer_fini(&a);
    }
    close(fd);
    service_stop(&s);
}
END_TEST

/* --- deferred answers ------------------------------------------------------------------------ */

#define POST_SLOW "POST /v1/slow HTTP/1.1\r\n" HOST AUTH "\r\n"

static void answer_deferred(struct service *s)
{
    ck_assert_ptr_nonnull(s->deferred);
    admin_reply(s->deferred, 202, fixture_object("is", "late"), NULL);
    s->deferred = NULL;
}

START_TEST(deferred_answer)
{
    struct service s;
    struct answer a;
    int fd;

    service_up(&s);
    fd = dial_to(admin_address(s.admin));
    for (int i = 0; i < 3; i++) { /* the connection goes on */
        say(fd, POST_SLOW, strlen(POST_SLOW));
        wait_for(&s.has_deferred);
        ask_status(&s, "GET /healthz HTTP/1.1\r\n" HOST "\r\n", 200);
        on_loop(&s, answer_deferred);
        hear(fd, &a, false);
        ck_assert_uint_eq(a.status, 202);
        ck_assert_str_eq(a.body, "{\"is\":\"late\"}");
        answer_fini(&a);
    }
    ck_assert_uint_eq(atomic_load(&s.gone), 0);
    close(fd);
    service_stop(&s);
}
END_TEST

START_TEST(deferred_and_answered_at_once)
{
    struct service s;
    struct answer a;

    service_up(&s);
    ask(&s, &a, "POST /v1/hasty HTTP/1.1\r\n" HOST AUTH "\r\n");
    ck_assert_uint_eq(a.status, 200);
    ck_assert_str_eq(a.body, "{\"was\":\"hasty\"}");
    answer_fini(&a);
    service_stop(&s);
}
END_TEST

START_TEST(client_goes_away_while_deferred)
{
    struct service s;
    int fd;

    service_up(&s);
    fd = dial_to(admin_address(s.admin));
    say(fd, POST_SLOW, strlen(POST_SLOW));
    wait_for(&s.has_deferred);
    close(fd); /* in order */
    wait_for(&s.has_gone);
    fd = dial_to(admin_address(s.admin));
    say(fd, POST_SLOW, strlen(POST_SLOW));
    wait_for(&s.has_deferred);
    socket_set_reset_on_close(fd); /* by a reset */
    close(fd);
    wait_for(&s.has_gone);
    ck_assert_uint_eq(atomic_load(&s.gone), 2);
    ask_status(&s, "GET /healthz HTTP/1.1\r\n" HOST "\r\n", 200);
    service_stop(&s);
}
END_TEST

START_TEST(stopping_answers_what_is_deferred)
{
    struct service s;
    struct answer a;
    int fd;

    service_up(&s);
    fd = dial_to(admin_address(s.admin));
    say(fd, POST_SLOW, strlen(POST_SLOW));
    wait_for(&s.has_deferred);
    service_stop(&s);
    ck_assert_uint_eq(atomic_load(&s.gone), 1);
    hear(fd, &a, false);
    expect_problem(&a, 503, "stopping");
    hear_end(fd);
    answer_fini(&a);
    close(fd);
}
END_TEST

/* Refused as the service stops, and nothing after it. */
static void hear_stopping(int fd)
{
    struct answer a;

    hear(fd, &a, false);
    expect_problem(&a, 503, "stopping");
    expect_header(&a, "Connection", "close");
    answer_fini(&a);
    hear_end(fd);
    close(fd);
}

/* Two changes in one write: the answer to the first lets the second in, which nobody would answer
 * once it is deferred. */
START_TEST(stopping_while_requests_follow_each_other)
{
    struct service s;
    int fd;

    service_up(&s);
    fd = dial_to(admin_address(s.admin));
    say(fd, POST_SLOW POST_SLOW, strlen(POST_SLOW POST_SLOW));
    wait_for(&s.has_deferred);
    service_stop(&s);
    ck_assert_uint_eq(atomic_load(&s.gone), 1);
    hear_stopping(fd);
}
END_TEST

/* What came while nothing ran is read by the stop itself. */
START_TEST(stopping_as_requests_come)
{
    static const char *const late[] = {
        POST_SLOW POST_SLOW,
        "POST /v1/hasty HTTP/1.1\r\n" HOST AUTH "\r\n",
        "GET /v1/events HTTP/1.1\r\n" HOST READ "\r\n",
        "GET /v1/things HTTP/1.1\r\n" HOST READ "\r\n",
    };
    static const struct event_type types[] = {{"comes", false}, {NULL, false}};
    struct service s;
    struct events *events;
    int fds[ARRAY_LEN(late)];

    service_prepare(&s);
    s.options.events = events = events_new(s.loop, types, 4, 2);
    service_start(&s);
    for (size_t i = 0; i < ARRAY_LEN(late); i++) {
        struct answer a;

        fds[i] = dial_to(admin_address(s.admin));
        say(fds[i], "GET /healthz HTTP/1.1\r\n" HOST "\r\n",
            strlen("GET /healthz HTTP/1.1\r\n" HOST "\r\n"));
        hear(fds[i], &a, false);
        answer_fini(&a);
    }
    service_halt(&s);
    for (size_t i = 0; i < ARRAY_LEN(late); i++)
        say(fds[i], late[i], strlen(late[i]));
    service_stop(&s);
    events_free(events);
    ck_assert_uint_eq(atomic_load(&s.handled), 0);
    for (size_t i = 0; i < ARRAY_LEN(late); i++)
        hear_stopping(fds[i]);
}
END_TEST

START_TEST(stopping_in_the_middle_of_requests)
{
    struct service s;
    struct answer a;
    int idle, half;

    service_up(&s);
    half = dial_to(admin_address(s.admin));
    say(half, PUT_THINGS "Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",
        strlen(PUT_THINGS "Expect: 100-continue\r\nContent-Length: 9\r\n\r\n"));
    char interim[26] = "";
    ck_assert_int_eq(recv(half, interim, 25, MSG_WAITALL), 25);
    idle = dial_to(admin_address(s.admin));
    say(idle, "GET /healthz HTTP/1.1\r\n" HOST "\r\n",
        strlen("GET /healthz HTTP/1.1\r\n" HOST "\r\n"));
    hear(idle, &a, false);
    answer_fini(&a);
    service_stop(&s);
    hear_end(half);
    hear_end(idle);
    close(half);
    close(idle);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        body_in_one_piece_and_byte_by_byte,
        chunked_body,
        expect_continue,
        malformed_bodies,
        largest_body,
        chunked_body_over_the_limit,
        refused_body_is_read_empty_for_a_moment,
        raw_body,
        bodies_together_are_bounded,
        big_answer_to_a_slow_reader,
        connection_is_kept_and_requests_may_follow_each_other,
        deferred_answer,
        deferred_and_answered_at_once,
        client_goes_away_while_deferred,
        stopping_answers_what_is_deferred,
        stopping_while_requests_follow_each_other,
        stopping_as_requests_come,
        stopping_in_the_middle_of_requests,
    };

    return run_suite("admin_request", tests, ARRAY_LEN(tests));
}
