/* The service that runs with a configuration, and what it says of its listeners. */
#include "doctor_fixture.h"

#include "base/log.h"
#include "doctor/running.h"
#include "one_answer_fixture.h"
#include "json/json.h"

#define LIVES "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
#define SICK  "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}"
#define TOKEN "a-token-that-may-read-only"

static char no_file[] = "", token[] = TOKEN, listen_text[64];
static struct running running;

static void ask(const char *first, const char *second, char *with)
{
    struct service_conf conf = {.management_listen = listen_text,
                                .management_cert_file = no_file,
                                .management_read_token = with,
                                .management_read_token_file = no_file,
                                .state_dir = folder};

    log_init(LOG_TEXT, LOG_ERR, 2);
    two_answers_up(first, second);
    snprintf(listen_text, sizeof(listen_text), "%s", one_answer.listen);
    running_ask(&running, &conf);
    one_answer_down();
}

/* An answer with a body; until the next call. */
static const char *status(unsigned code, const char *body)
{
    static char text[1024];

    snprintf(text, sizeof(text), "HTTP/1.1 %u Said\r\nContent-Length: %zu\r\n\r\n%s", code,
             strlen(body), body);
    return text;
}

/* Nobody is there who would not say that it lives. */
START_TEST(who_runs)
{
    static const struct {
        const char *answer;
        bool is_there;
    } seen[] = {{LIVES, true}, {SICK, false}, {"SSH-2.0-OpenSSH_9.2\r\n", false}, {"", false}};

    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        ask(seen[i].answer, NULL, NULL);
        ck_assert_int_eq(running.is_there, seen[i].is_there);
        ck_assert_ptr_null(running.listeners);
        ck_assert_int_eq(running_holder(&running, "127.0.0.1:80", MACHINE_TCP),
                         seen[i].is_there ? MACHINE_UNTOLD : MACHINE_STRANGER);
        running_fini(&running);
    }
}
END_TEST

START_TEST(what_is_no_answer)
{
    static const struct {
        unsigned code;
        const char *body, *why;
    } seen[] = {
        {401, "{}", "401"},           {403, "{}", "403"},
        {200, "{}", "no listeners"},  {200, "no JSON", "no listeners"},
        {200, "[1]", "no listeners"}, {200, "{\"listeners\": [\"127.0.0.1:80\"]}", "no listeners"},
    };

    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        ask(LIVES, status(seen[i].code, seen[i].body), token);
        ck_assert(running.is_there);
        ck_assert_ptr_null(running.listeners);
        ck_assert_msg(strstr(running.why, seen[i].why) != NULL, "%s", running.why);
        ck_assert_int_eq(running_holder(&running, "127.0.0.1:80", MACHINE_TCP), MACHINE_UNTOLD);
        running_fini(&running);
    }
}
END_TEST

START_TEST(whose_ports)
{
    static const struct {
        const char *listen;
        enum machine_port kind;
        enum machine_holder holder;
    } rows[] = {
        {"127.0.0.1:8443", MACHINE_TCP, MACHINE_SERVICE},
        {"127.0.0.1:8443", MACHINE_UDP, MACHINE_STRANGER},
        {"127.0.0.2:8443", MACHINE_TCP, MACHINE_STRANGER},
        {"0.0.0.0:8443", MACHINE_TCP, MACHINE_SERVICE},
        {"[::]:8443", MACHINE_TCP, MACHINE_SERVICE},
        {"127.0.0.1:8444", MACHINE_TCP, MACHINE_STRANGER},
        {"127.0.0.1:8444", MACHINE_UDP, MACHINE_SERVICE},
        {"127.0.0.1:9001", MACHINE_TCP, MACHINE_SERVICE},
        {"127.0.0.1:1", MACHINE_TCP, MACHINE_STRANGER},
    };

    ask(LIVES,
        status(200, "{\"listeners\": {\"tunnel\": \"127.0.0.1:8443\", \"management\": "
                    "\"[::]:9001\", \"tunnelQuic\": \"127.0.0.1:8444\", \"odd\": 1, "
                    "\"none\": null}}"),
        token);
    ck_assert_ptr_nonnull(running.listeners);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        ck_assert_msg(running_holder(&running, rows[i].listen, rows[i].kind) == rows[i].holder,
                      "row %zu", i);
    running_fini(&running);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {who_runs, what_is_no_answer, whose_ports};

    return run_suite("doctor running", tests, ARRAY_LEN(tests));
}
