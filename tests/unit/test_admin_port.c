/* Ports and their connections: bounds, timeouts, both address families, TLS, wrong options. */
#include <gnutls/gnutls.h>

#include "admin_fixture.h"
#include "tls/tls.h"

#define PUT_THINGS "PUT /v1/things HTTP/1.1\r\n" HOST AUTH JSON

static uint64_t elapsed_ms(const struct timespec *since)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)((now.tv_sec - since->tv_sec) * 1000 +
                      (now.tv_nsec - since->tv_nsec) / 1000000);
}

START_TEST(silent_connections_are_closed)
{
    struct service s;
    struct timespec start;
    int fd;

    service_prepare(&s);
    s.options.timeout_secs = 1;
    service_start(&s);
    clock_gettime(CLOCK_MONOTONIC, &start);
    fd = dial_to(admin_address(s.admin));
    hear_end(fd);
    ck_assert_uint_ge(elapsed_ms(&start), 900);
    ck_assert_uint_lt(elapsed_ms(&start), 10000);
    close(fd);
    service_stop(&s);
}
END_TEST

/* A byte now and then is no silence, but a head that does not come to its end is closed too. */
static void crawl(const char *beginning)
{
    struct service s;
    struct timespec start;
    struct pollfd readable;
    int fd;

    service_prepare(&s);
    s.options.timeout_secs = 1;
    service_start(&s);
    clock_gettime(CLOCK_MONOTONIC, &start);
    fd = dial_to(admin_address(s.admin));
    say(fd, beginning, strlen(beginning));
    readable = (struct pollfd){.fd = fd, .events = POLLIN};
    while (poll(&readable, 1, 100) == 0) {
        ck_assert_uint_lt(elapsed_ms(&start), PATIENCE_S * 1000);
        if (send(fd, "x", 1, MSG_NOSIGNAL) < 0)
            break;
    }
    hear_end(fd);
    ck_assert_uint_ge(elapsed_ms(&start), 900);
    close(fd);
    service_stop(&s);
}

START_TEST(crawling_head_is_closed)
{
    crawl("GET /healthz HTTP/1.1\r\nX: ");
}
END_TEST

START_TEST(crawling_body_is_closed)
{
    crawl(PUT_THINGS "Content-Length: 900\r\n\r\n");
}
END_TEST

/* One more than allowed is closed; when one leaves there is room again. */
static void expect_room_for(struct service *s, unsigned max)
{
    int fds[16];
    struct answer a;

    for (unsigned i = 0; i < max; i++) {
        fds[i] = dial_to(admin_address(s->admin));
        say(fds[i], "GET /healthz HTTP/1.1\r\n" HOST "\r\n",
            strlen("GET /healthz HTTP/1.1\r\n" HOST "\r\n"));
        hear(fds[i], &a, false);
        ck_assert_uint_eq(a.status, 200);
        answer_fini(&a);
    }
    int extra = dial_to(admin_address(s->admin));
    hear_end(extra);
    close(extra);
    close(fds[0]);
    for (bool is_in = false; !is_in;) { /* the server learns of it when it does */
        char first = 0;
        int fd = dial_to(admin_address(s->admin));
        (void)send(fd, "GET /healthz HTTP/1.1\r\n" HOST "\r\n",
                   strlen("GET /healthz HTTP/1.1\r\n" HOST "\r\n"), MSG_NOSIGNAL);
        is_in = hear_bytes(fd, &first, 1) == 1 && first == 'H';
        close(fd);
    }
    for (unsigned i = 1; i < max; i++)
        close(fds[i]);
}

START_TEST(connections_are_bounded)
{
    struct service s;

    service_prepare(&s);
    s.options.connections_max = 5;
    service_start(&s);
    expect_room_for(&s, 5);
    service_stop(&s);
}
END_TEST

START_TEST(connections_of_one_address_are_bounded)
{
    struct service s;

    service_prepare(&s);
    s.options.per_address_max = 4;
    service_start(&s);
    expect_room_for(&s, 4);
    service_stop(&s);
}
END_TEST

START_TEST(both_families_and_the_open_port)
{
    struct service s;
    struct answer a;
    char *other;
    int fd;

    service_prepare(&s);
    s.options.listen = "[::]:0";
    s.options.metrics_listen = "127.0.0.1:0";
    service_start(&s);
    other = must_printf("127.0.0.1%s", strrchr(admin_address(s.admin), ':'));
    fd = dial_to(other);
    say(fd, "GET /v1/things/a/b HTTP/1.1\r\n" HOST READ "\r\n",
        strlen("GET /v1/things/a/b HTTP/1.1\r\n" HOST READ "\r\n"));
    hear(fd, &a, false);
    ck_assert_uint_eq(a.status, 200);
    ck_assert_ptr_nonnull(strstr(a.body, "\"peer\":\"127.0.0.1\""));
    answer_fini(&a);
    close(fd);
    fd = dial_to(admin_metrics_address(s.admin));
    say(fd, "GET /metrics HTTP/1.1\r\n" HOST "\r\nGET /v1/things HTTP/1.1\r\n" HOST AUTH "\r\n",
        strlen("GET /metrics HTTP/1.1\r\n" HOST "\r\nGET /v1/things HTTP/1.1\r\n" HOST AUTH
               "\r\n"));
    hear(fd, &a, false);
    ck_assert_uint_eq(a.status, 200);
    answer_fini(&a);
    hear(fd, &a, false);
    expect_problem(&a, 404, "notFound"); /* nothing but the three routes is there */
    answer_fini(&a);
    close(fd);
    free(other);
    service_stop(&s);
}
END_TEST

START_TEST(wrong_options)
{
    struct service s;
    struct admin *admin = NULL;
    const char *what = NULL;
    char why[256];

    service_prepare(&s);
    s.options.listen = "localhost:1";
    ck_assert_int_eq(admin_start(&admin, &s.options, &what, why, sizeof(why)), -ERR_SYNTAX);
    ck_assert_str_eq(why, "localhost:1 is no address:port");
    ck_assert_str_eq(what, "management.listen");
    s.options.listen = "127.0.0.1:0";
    s.options.tokens = "";
    ck_assert_int_eq(admin_start(&admin, &s.options, &what, why, sizeof(why)), -ERR_SYNTAX);
    s.options.tokens = "a\nb\nc";
    ck_assert_int_eq(admin_start(&admin, &s.options, &what, why, sizeof(why)), -ERR_SYNTAX);
    ck_assert_str_eq(what, "management.token");
    s.options.tokens = TOKEN;
    s.options.cert_file = "/nonexistent";
    ck_assert_int_eq(admin_start(&admin, &s.options, &what, why, sizeof(why)), -ERR_SYNTAX);
    ck_assert_str_eq(why, "a certificate and its key must both be given");
    s.options.key_file = "/nonexistent";
    ck_assert_int_eq(admin_start(&admin, &s.options, &what, why, sizeof(why)), -ERR_SYNTAX);
    ck_assert_ptr_nonnull(strstr(why, "/nonexistent"));
    ck_assert_str_eq(what, "management.certFile");
    s.options.cert_file = s.options.key_file = NULL;
    ck_assert_int_eq(admin_start(&admin, &s.options, &what, why, sizeof(why)), 0);
    s.options.listen = admin_address(admin); /* taken */
    struct admin *second = NULL;
    ck_assert_int_eq(admin_start(&second, &s.options, &what, why, sizeof(why)), -ERR_SYS);
    ck_assert_ptr_nonnull(strstr(why, "cannot listen on"));
    ck_assert_str_eq(what, "management.listen");
    s.options.metrics_listen = s.options.listen;
    s.options.listen = "127.0.0.1:0";
    ck_assert_int_eq(admin_start(&second, &s.options, &what, why, sizeof(why)), -ERR_SYS);
    ck_assert_str_eq(what, "metrics.listen");
    ck_assert_ptr_null(second);
    admin_stop(NULL);
    admin_stop(admin);
    loop_free(s.loop);
}
END_TEST

/* --- TLS ----------------------------------------------------------------------------------------
 */

static char *pem_file(const char *text)
{
    char *path = must_strdup("/tmp/penstock-admin-XXXXXX");
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

struct secure {
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    int fd;
};

static void secure_dial(struct secure *c, const char *address, const char *priorities, int wanted)
{
    int code;

    c->fd = dial_to(address);
    ck_assert_int_eq(gnutls_certificate_allocate_credentials(&c->credentials), 0);
    ck_assert_int_eq(gnutls_init(&c->session, GNUTLS_CLIENT), 0);
    ck_assert_int_eq(gnutls_priority_set_direct(c->session, priorities, NULL), 0);
    gnutls_credentials_set(c->session, GNUTLS_CRD_CERTIFICATE, c->credentials);
    gnutls_transport_set_int(c->session, c->fd);
    do {
        code = gnutls_handshake(c->session);
    } while (code < 0 && !gnutls_error_is_fatal(code));
    ck_assert_msg((code == 0) == (wanted == 0), "%s", gnutls_strerror(code));
}

static void secure_close(struct secure *c)
{
    gnutls_deinit(c->session);
    gnutls_certificate_free_credentials(c->credentials);
    close(c->fd);
}

/* Sends, and reads until the server says goodbye; the text is the caller's. */
static char *secure_ask(struct secure *c, const char *request, size_t n)
{
    char *text = must_alloc(65536);
    size_t len = 0;
    ssize_t got;

    while (n > 0) {
        ssize_t sent = gnutls_record_send(c->session, request, n);
        ck_assert_int_gt(sent, 0);
        request += sent;
        n -= (size_t)sent;
    }
    while ((got = gnutls_record_recv(c->session, text + len, 65535 - len)) > 0)
        len += (size_t)got;
    return text;
}

START_TEST(over_tls)
{
    static const char get[] = "GET /v1/things HTTP/1.1\r\n" HOST READ "Connection: close\r\n\r\n";
    static const char slow[] = "POST /v1/slow HTTP/1.1\r\n" HOST AUTH "\r\n";
    static const char chunked[] = PUT_THINGS "Transfer-Encoding: chunked\r\n\r\n2000\r\n";
    struct service s;
    struct secure c;
    char *cert, *key, *cert_file, *key_file, *text, *body;

    ck_assert_int_eq(tls_cert_make_pem("localhost", &cert, &key), 0);
    cert_file = pem_file(cert);
    key_file = pem_file(key);
    service_prepare(&s);
    s.options.cert_file = cert_file;
    s.options.key_file = key_file;
    service_start(&s);
    secure_dial(&c, admin_address(s.admin), "NORMAL", 0);
    text = secure_ask(&c, get, strlen(get));
    ck_assert_int_eq(strncmp(text, "HTTP/1.1 200 ", 13), 0);
    ck_assert_ptr_nonnull(strstr(text, "{\"name\":\"things\"}"));
    free(text);
    secure_close(&c);
    /* an answer in the middle of a body goes through TLS as well */
    secure_dial(&c, admin_address(s.admin), "NORMAL:-VERS-ALL:+VERS-TLS1.2", 0);
    body = must_alloc(strlen(chunked) + 0x2000);
    memcpy(body, chunked, strlen(chunked));
    memset(body + strlen(chunked), 'x', 0x2000);
    text = secure_ask(&c, body, strlen(chunked) + 0x2000);
    ck_assert_int_eq(strncmp(text, "HTTP/1.1 413 ", 13), 0);
    ck_assert_ptr_nonnull(strstr(text, "urn:penstock:problem:bodyTooLarge"));
    free(text);
    free(body);
    secure_close(&c);
    /* a client that leaves while its answer is deferred */
    secure_dial(&c, admin_address(s.admin), "NORMAL", 0);
    ck_assert_int_eq(gnutls_record_send(c.session, slow, strlen(slow)), (ssize_t)strlen(slow));
    wait_for(&s.has_deferred);
    secure_close(&c);
    wait_for(&s.has_gone);
    /* old versions are refused */
    secure_dial(&c, admin_address(s.admin), "NORMAL:-VERS-ALL:+VERS-TLS1.1:%COMPAT", -1);
    secure_close(&c);
    service_stop(&s);
    unlink(cert_file);
    unlink(key_file);
    free(cert_file);
    free(key_file);
    free(cert);
    free(key);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        silent_connections_are_closed,
        crawling_head_is_closed,
        crawling_body_is_closed,
        connections_are_bounded,
        connections_of_one_address_are_bounded,
        both_families_and_the_open_port,
        wrong_options,
        over_tls,
    };

    return run_suite("admin_port", tests, ARRAY_LEN(tests));
}
