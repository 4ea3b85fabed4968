/* The routes that every service has, and the client that asks for its own health. */
#include <netinet/in.h>

#include "admin/client.h"
#include "admin/process.h"
#include "admin_fixture.h"
#include "tls/tls.h"

static void set_not_ready(struct service *s)
{
    atomic_store(&s->is_ready, false);
}

START_TEST(health_and_readiness)
{
    struct service s;
    struct answer a;

    service_up(&s);
    ask(&s, &a, "GET /healthz HTTP/1.1\r\n" HOST "\r\n");
    ck_assert_uint_eq(a.status, 200);
    ck_assert_str_eq(a.body, "{\"status\":\"ok\"}");
    answer_fini(&a);
    ask(&s, &a, "GET /readyz HTTP/1.1\r\n" HOST "\r\n");
    ck_assert_uint_eq(a.status, 200);
    ck_assert_str_eq(a.body, "{\"status\":\"ready\"}");
    answer_fini(&a);
    on_loop(&s, set_not_ready);
    ask(&s, &a, "GET /readyz HTTP/1.1\r\n" HOST "\r\n");
    ck_assert_uint_eq(a.status, 503);
    expect_header(&a, "Content-Type", "application/json");
    ck_assert_str_eq(a.body, "{\"status\":\"notReady\",\"reason\":\"no tunnel is open\"}");
    answer_fini(&a);
    ask(&s, &a, "HEAD /healthz HTTP/1.1\r\n" HOST "\r\n");
    ck_assert_uint_eq(a.status, 200);
    expect_header(&a, "Content-Length", "15");
    answer_fini(&a);
    service_stop(&s);
}
END_TEST

START_TEST(configuration_and_descriptions)
{
    struct service s;
    struct answer a;

    service_up(&s);
    ask_problem(&s, "GET /v1/config HTTP/1.1\r\n" HOST "\r\n", 401, "unauthenticated");
    ask(&s, &a, "GET /v1/config HTTP/1.1\r\n" HOST READ "\r\n");
    ck_assert_str_eq(a.body, "{\"token\":\"***\"}");
    answer_fini(&a);
    ask_problem(&s, "GET /openapi.yaml HTTP/1.1\r\n" HOST "\r\n", 401, "unauthenticated");
    ask(&s, &a, "GET /openapi.yaml HTTP/1.1\r\n" HOST READ "\r\n");
    expect_header(&a, "Content-Type", "application/yaml");
    ck_assert_str_eq(a.body, "openapi: 3.1.0\n");
    answer_fini(&a);
    ask(&s, &a, "GET /common.yaml HTTP/1.1\r\n" HOST READ "\r\n");
    ck_assert_str_eq(a.body, "components: {}\n");
    answer_fini(&a);
    service_stop(&s);
}
END_TEST

START_TEST(log_level_is_set)
{
    static const char *const bad[] = {
        "{}", "{\"level\":\"loud\"}", "{\"level\":7}", "{\"level\":\"info\",\"x\":1}",
        "[]", "{\"level\":\"\"}",
    };
    struct service s;
    struct answer a;
    int before;

    service_up(&s);
    before = (int)log_level();
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char *request = must_printf("PUT /v1/log-level HTTP/1.1\r\n" HOST AUTH JSON
                                    "Content-Length: %zu\r\n\r\n%s",
                                    strlen(bad[i]), bad[i]);
        ask_problem(&s, request, 422, "invalid");
        free(request);
    }
    ck_assert_int_eq((int)log_level(), before);
    ask(&s, &a,
        "PUT /v1/log-level?dryRun=true HTTP/1.1\r\n" HOST AUTH JSON
        "Content-Length: 16\r\n\r\n{\"level\":\"warn\"}");
    ck_assert_uint_eq(a.status, 200);
    ck_assert_int_eq((int)log_level(), before);
    answer_fini(&a);
    ask(&s, &a,
        "PUT /v1/log-level HTTP/1.1\r\n" HOST AUTH JSON
        "Content-Length: 16\r\n\r\n{\"level\":\"warn\"}");
    ck_assert_str_eq(a.body, "{\"level\":\"warn\"}");
    ck_assert_int_eq((int)log_level(), LOG_WARN);
    answer_fini(&a);
    ask(&s, &a, "GET /v1/log-level HTTP/1.1\r\n" HOST READ "\r\n");
    ck_assert_str_eq(a.body, "{\"level\":\"warn\"}");
    answer_fini(&a);
    ask_problem(&s,
                "PUT /v1/log-level HTTP/1.1\r\n" HOST READ JSON
                "Content-Length: 16\r\n\r\n{\"level\":\"info\"}",
                403, "readOnly");
    service_stop(&s);
}
END_TEST

/* --- the client ----------------------------------------------------------------------------------
 */

#define TRIES 5

/* It took all the time that a client has: a machine that is held up for so long says nothing about
 * the service. */
static bool was_held_up(uint64_t since_us)
{
    return clock_now_us() - since_us >= CLIENT_LIMIT_MS * 1000ull;
}

static int check(const char *listen, bool is_tls, bool wants_ready, char **text)
{
    size_t n = 0;
    FILE *out = open_memstream(text, &n);
    int status;

    ck_assert_ptr_nonnull(out);
    status = client_check(listen, is_tls, wants_ready, out);
    fclose(out);
    return status;
}

static void expect_check(const char *listen, bool is_tls, bool wants_ready, int status,
                         const char *printed)
{
    for (unsigned tries = 1;; tries++) {
        uint64_t since_us = clock_now_us();
        char *text = NULL;
        int got = check(listen, is_tls, wants_ready, &text);
        bool is_right = got == status && strcmp(text, printed) == 0;

        ck_assert_msg(is_right || (was_held_up(since_us) && tries < TRIES), "%d: %s", got, text);
        free(text);
        if (is_right)
            return;
    }
}

static void ask_big(struct client_answer *a, const struct client_where *where)
{
    for (unsigned tries = 1;; tries++) {
        uint64_t since_us = clock_now_us();
        const char *why = client_get(a, where, "/v1/big", 0);

        ck_assert_msg(!why || (was_held_up(since_us) && tries < TRIES), "%s", why);
        if (!why)
            return;
    }
}

START_TEST(client_asks_a_service)
{
    struct service s;
    char *any;

    service_prepare(&s);
    s.options.listen = "[::]:0";
    service_start(&s);
    any = must_strdup(admin_address(s.admin)); /* [::] is no address to dial: it asks loopback */
    expect_check(any, false, false, 0, "");
    expect_check(any, false, true, 0, "");
    on_loop(&s, set_not_ready);
    expect_check(any, false, false, 0, "");
    expect_check(any, false, true, 1,
                 "{\"status\":\"notReady\",\"reason\":\"no tunnel is open\"}\n");
    service_stop(&s);
    expect_check(any, false, false, 1, "no connection\n");
    expect_check("nonsense", false, false, 1, "no connection\n");
    free(any);
}
END_TEST

static char *pem_file(const char *text)
{
    char *path = must_strdup("/tmp/penstock-admin-XXXXXX");
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

START_TEST(client_asks_over_tls)
{
    struct service s;
    char *cert, *key, *cert_file, *key_file;

    ck_assert_int_eq(tls_cert_make_pem("localhost", &cert, &key), 0);
    cert_file = pem_file(cert);
    key_file = pem_file(key);
    service_prepare(&s);
    s.options.cert_file = cert_file;
    s.options.key_file = key_file;
    s.options.metrics_listen = "127.0.0.1:0";
    service_start(&s);
    unlink(cert_file); /* read at the start, not later */
    unlink(key_file);
    expect_check(admin_address(s.admin), true, false, 0, "");
    expect_check(admin_address(s.admin), true, true, 0, "");
    expect_check(admin_metrics_address(s.admin), false, true, 0, ""); /* always plain */
    expect_check(admin_address(s.admin), false, false, 1, "the answer is no HTTP\n");
    expect_check(admin_metrics_address(s.admin), true, false, 1, "no TLS handshake\n");
    service_stop(&s);
    free(cert_file);
    free(key_file);
    free(cert);
    free(key);
}
END_TEST

/* A long answer, and one that is refused.  (One that does not end: tests/e2e/test_diag.py.) */
START_TEST(client_takes_an_answer)
{
    struct service s;
    struct client_where where = {.token = READ_TOKEN};
    struct client_answer a;

    service_prepare(&s);
    service_start(&s);
    where.listen = admin_address(s.admin);
    ask_big(&a, &where);
    ck_assert_uint_eq(a.status, 200);
    ck_assert_uint_gt(a.len, BIG_BYTES);
    ck_assert_uint_eq(a.len, strlen(a.body));
    ck_assert_int_eq(strncmp(a.body, "{\"big\":\"xxx", 11), 0);
    client_answer_fini(&a);
    where.token = "wrong-token-0123456789";
    ask_big(&a, &where);
    ck_assert_uint_eq(a.status, 401);
    client_answer_fini(&a);
    service_stop(&s);
}
END_TEST

/* A listener that never answers: the kernel takes the connection, nobody reads it. */
START_TEST(client_gives_up)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    uint64_t start_us = clock_now_us();
    char *address;

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    address = must_printf("127.0.0.1:%u", ntohs(at.sin_port));
    expect_check(address, false, false, 1, "no answer\n");
    ck_assert_uint_ge(clock_now_us() - start_us, CLIENT_LIMIT_MS * 1000ull - 100000);
    ck_assert_uint_lt(clock_now_us() - start_us, 3 * CLIENT_LIMIT_MS * 1000ull);
    close(fd);
    free(address);
}
END_TEST

/* --- hardening -----------------------------------------------------------------------------------
 */

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

START_TEST(process_is_hardened)
{
    struct rlimit core;
    struct sigaction now;

    process_harden();
    ck_assert_int_eq(prctl(PR_GET_DUMPABLE), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_CORE, &core), 0);
    ck_assert_uint_eq(core.rlim_max, 0);
    ck_assert_int_eq(sigaction(SIGPIPE, NULL, &now), 0);
    ck_assert(now.sa_handler == SIG_IGN);
    ck_assert_uint_eq(umask(0), 077);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        health_and_readiness,   configuration_and_descriptions,
        log_level_is_set,       client_asks_a_service,
        client_asks_over_tls,   client_gives_up,
        client_takes_an_answer, process_is_hardened,
    };

    return run_suite("admin_builtin", tests, ARRAY_LEN(tests));
}
