/* The management API of traffic over its own sockets: the whole service runs on ports of the
 * kernel's choice, its control loop in a thread; the test is the client. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/log.h"
#include "loop/socket.h"
#include "support/suite.h"
#include "traffic/traffic.h"
#include "unit/traffic_route_fixture.h"
#include "json/json.h"

#define TOKEN      "write-0123456789-0123456789"
#define READ_TOKEN "read-0123456789-0123456789"
#define ANSWER_MAX 65536

static struct traffic t;
static pthread_t thread;
static char *no_environment[] = {NULL};

struct answer {
    int status;
    char head[4096], etag[64], body[ANSWER_MAX];
    struct json_object *json; /* owned */
};

static const char *const state_files[] = {"auth-key", "routes.json"};
static char folder[64];

static void *run_loop(void *arg)
{
    loop_run(arg);
    return NULL;
}

static void setup(void)
{
    static const char *const sets[] = {
        "http.listen=127.0.0.1:0",
        "https.listen=127.0.0.1:0",
        "management.listen=127.0.0.1:0",
        "workers=2",
        "limits.routes=3",
        "limits.routeBytes=4096",
        NULL,
    };
    struct json_check faults;
    int rc;

    memset(&t, 0, sizeof(t));
    json_check_init(&faults);
    rc = conf_read(&traffic_conf_table, NULL, no_environment, sets, &t.conf, &faults);
    ck_assert_msg(rc == 0, "%s", faults.count ? faults.faults[0].detail : "?");
    json_check_fini(&faults);
    snprintf(folder, sizeof(folder), "/tmp/penstock-api-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    free(t.conf.service.state_dir);
    t.conf.service.state_dir = must_strdup(folder);
    free(t.conf.service.management_token);
    free(t.conf.service.management_read_token);
    t.conf.service.management_token = must_strdup(TOKEN);
    t.conf.service.management_read_token = must_strdup(READ_TOKEN);
    log_set_level(LOG_ERR);
    rc = traffic_start(&t);
    ck_assert_int_eq(rc, 0);
    rc = pthread_create(&thread, NULL, run_loop, t.loop);
    ck_assert_int_eq(rc, 0);
}

static void teardown(void)
{
    loop_stop(t.loop);
    pthread_join(thread, NULL);
    traffic_stop(&t);
    conf_free(&traffic_conf_table, &t.conf);
    for (size_t i = 0; i < ARRAY_LEN(state_files); i++) {
        char *path = must_printf("%s/%s", folder, state_files[i]);

        unlink(path);
        free(path);
    }
    ck_assert_int_eq(rmdir(folder), 0);
}

static int dial(const char *address)
{
    struct timeval limit = {.tv_sec = 10};
    union addr to;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(addr_parse(&to, address), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    ck_assert_int_eq(connect(fd, &to.sa, addr_len(&to)), 0);
    return fd;
}

static void parse_answer(struct answer *a, const char *text, size_t n)
{
    const char *end = strstr(text, "\r\n\r\n"), *etag;
    struct json_syntax why;

    ck_assert_msg(end != NULL, "no answer: %.*s", (int)n, text);
    snprintf(a->head, sizeof(a->head), "%.*s", (int)(end - text), text);
    snprintf(a->body, sizeof(a->body), "%s", end + 4);
    a->status = atoi(a->head + strlen("HTTP/1.1 "));
    etag = strstr(a->head, "ETag: \"");
    if (etag)
        snprintf(a->etag, sizeof(a->etag), "%.*s", (int)strcspn(etag + 7, "\""), etag + 7);
    if (strstr(a->head, "json") && json_read(&a->json, a->body, strlen(a->body), &why) != 0)
        ck_abort_msg("%s: %s", why.reason, a->body);
}

/* One request on a connection of its own. */
static struct answer ask(const char *token, const char *method, const char *path,
                         const char *fields, const char *body)
{
    static char text[ANSWER_MAX];
    char *head =
        must_printf("%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                    "Authorization: Bearer %s\r\nContent-Type: application/json\r\n"
                    "Content-Length: %zu\r\n%s\r\n%s",
                    method, path, token, body ? strlen(body) : 0, fields, body ? body : "");
    struct answer a = {.status = 0};
    size_t len = 0;
    ssize_t n;
    int fd = dial(admin_address(t.admin));

    ck_assert_int_eq((int)send(fd, head, strlen(head), MSG_NOSIGNAL), (int)strlen(head));
    do { /* a process that was stopped meanwhile is told so (signal(7)) */
        n = recv(fd, text + len, sizeof(text) - 1 - len, 0);
        len += n > 0 ? (size_t)n : 0;
    } while (n > 0 || (n < 0 && errno == EINTR));
    text[len] = '\0';
    close(fd);
    free(head);
    parse_answer(&a, text, len);
    return a;
}

static void forget(struct answer *a)
{
    json_object_put(a->json);
    a->json = NULL;
}

/* The member as JSON text, "a/b" inside another. */
static const char *member(const struct answer *a, const char *path)
{
    struct json_object *value = a->json;
    char copy[64], *rest = copy, *key;

    snprintf(copy, sizeof(copy), "%s", path);
    while ((key = strsep(&rest, "/")))
        if (json_object_is_type(value, json_type_array))
            value = json_object_array_get_idx(value, (size_t)atoi(key));
        else if (!json_object_object_get_ex(value, key, &value))
            return "absent";
    return json_object_to_json_string_ext(value,
                                          JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

/* Routes of a.test's certificate, one a host (separated by blanks); the caller's. */
static char *routes(const char *hosts, int port)
{
    struct json_object *list = json_object_new_array();
    char copy[200], *rest = copy, *host, *text;

    snprintf(copy, sizeof(copy), "%s", hosts);
    while ((host = strsep(&rest, " "))) {
        struct json_object *route = json_object_new_object();

        json_object_object_add(route, "hostName", json_object_new_string(host));
        json_object_object_add(route, "destinationIp", json_object_new_string("127.0.0.1"));
        json_object_object_add(route, "destinationPort", json_object_new_int(port));
        json_object_object_add(route, "publicKey", json_object_new_string(a_test_chain));
        json_object_object_add(route, "privateKey", json_object_new_string(a_test_key));
        json_object_array_add(list, route);
    }
    text = must_strdup(json_object_to_json_string(list));
    json_object_put(list);
    return text;
}

static struct answer put_set(const char *hosts, int port, const char *fields)
{
    char *text = routes(hosts, port);
    struct answer a = ask(TOKEN, "PUT", "/v1/routes", fields, text);

    free(text);
    return a;
}

/* One route's object out of a list of one. */
static struct answer put_one(const char *path, const char *host, int port, const char *fields)
{
    char *text = routes(host, port);
    struct answer a;

    text[strlen(text) - 1] = '\0'; /* [ {...} ] without its brackets */
    a = ask(TOKEN, "PUT", path, fields, text + 1);
    free(text);
    return a;
}

START_TEST(the_whole_set)
{
    struct answer a = put_set("a.test b.a.test", 80, "");

    ck_assert_int_eq(a.status, 200);
    ck_assert_str_eq(member(&a, "revision"), "1");
    ck_assert_str_eq(member(&a, "fate"), "\"applied\"");
    ck_assert_str_eq(member(&a, "added"), "[\"a.test\",\"b.a.test\"]");
    ck_assert_str_eq(member(&a, "warnings"), "[]");
    ck_assert_int_eq(strncmp(a.etag, "1-", 2), 0);
    forget(&a);

    a = put_set("b.a.test a.test", 80, ""); /* the same content */
    ck_assert_int_eq(a.status, 200);
    ck_assert_str_eq(member(&a, "revision"), "1");
    ck_assert_str_eq(member(&a, "applied"), "true");
    forget(&a);

    a = put_set("c.test b.a.test", 81, "");
    ck_assert_str_eq(member(&a, "revision"), "2");
    ck_assert_str_eq(member(&a, "added"), "[\"c.test\"]");
    ck_assert_str_eq(member(&a, "changed"), "[\"b.a.test\"]");
    ck_assert_str_eq(member(&a, "removed"), "[\"a.test\"]");
    ck_assert_str_eq(member(&a, "warnings/0/pointer"), "\"/0/publicKey\"");
    ck_assert_str_eq(member(&a, "warnings/0/code"), "\"certificateNameMismatch\"");
    forget(&a);

    a = ask(READ_TOKEN, "GET", "/v1/routes", "", NULL);
    ck_assert_int_eq(a.status, 200);
    ck_assert_str_eq(member(&a, "routes/0/hostName"), "\"c.test\"");
    ck_assert_str_eq(member(&a, "routes/0/destinationPorts"), "[81]");
    ck_assert_str_eq(member(&a, "routes/0/privateKey"), "absent");
    ck_assert_ptr_null(strstr(a.body, "PRIVATE"));
    ck_assert_str_eq(member(&a, "routes/2"), "null");
    forget(&a);
}
END_TEST

START_TEST(what_is_refused)
{
    struct answer a = put_set("a.test", 80, "");
    char *text;

    forget(&a);
    text = must_strdup("{\"routes\":[{\"hostName\":\"a.test\"},7]}");
    a = ask(TOKEN, "PUT", "/v1/routes", "", text);
    ck_assert_int_eq(a.status, 422);
    ck_assert_ptr_nonnull(strstr(a.head, "application/problem+json"));
    ck_assert_str_eq(member(&a, "type"), "\"urn:penstock:problem:invalid\"");
    ck_assert_str_eq(member(&a, "errors/0/pointer"), "\"/routes/0/destinationIps\"");
    ck_assert_str_eq(member(&a, "errors/4/pointer"), "\"/routes/1\"");
    forget(&a);
    free(text);

    a = ask(TOKEN, "PUT", "/v1/routes", "", "{\"routes\":[}");
    ck_assert_int_eq(a.status, 400);
    forget(&a);
    a = put_set("a.test b.a.test c.a.test d.a.test", 80, ""); /* limits.routes=3 */
    ck_assert_int_eq(a.status, 422);
    ck_assert_str_eq(member(&a, "errors/0/pointer"), "\"\"");
    forget(&a);
    a = ask(READ_TOKEN, "PUT", "/v1/routes", "", "[]");
    ck_assert_int_eq(a.status, 403);
    forget(&a);
    a = ask("nobody-0123456789-0123456789", "GET", "/v1/routes", "", NULL);
    ck_assert_int_eq(a.status, 401);
    forget(&a);
    text = must_alloc(4098);
    memset(text, ' ', 4097);
    a = ask(TOKEN, "PUT", "/v1/routes/a.test", "", text); /* limits.routeBytes=4096 */
    ck_assert_int_eq(a.status, 413);
    forget(&a);
    free(text);

    a = ask(TOKEN, "GET", "/v1/status", "", NULL);
    ck_assert_str_eq(member(&a, "revision"), "1");
    ck_assert_str_eq(member(&a, "desired"), "1");
    ck_assert_str_eq(member(&a, "routes"), "1");
    ck_assert_str_eq(member(&a, "updates/rejected"), "3");
    ck_assert_ptr_nonnull(strstr(member(&a, "lastError/detail"), "4 routes are more than 3"));
    forget(&a);
}
END_TEST

START_TEST(one_route)
{
    struct answer a = put_one("/v1/routes/A.test.", "a.test", 80, ""), b;
    char field[128];

    ck_assert_int_eq(a.status, 201);
    ck_assert_ptr_nonnull(strstr(a.head, "Location: /v1/routes/a.test\r\n"));
    ck_assert_str_eq(member(&a, "added"), "[\"a.test\"]");
    forget(&a);
    a = put_one("/v1/routes/a.test", "a.test", 81, "");
    ck_assert_int_eq(a.status, 200);
    ck_assert_str_eq(member(&a, "changed"), "[\"a.test\"]");
    forget(&a);
    a = put_one("/v1/routes/a.test", "b.test", 81, "");
    ck_assert_int_eq(a.status, 422);
    ck_assert_str_eq(member(&a, "errors/0/pointer"), "\"/hostName\"");
    forget(&a);
    a = put_one("/v1/routes/*.a.test", "*.a.test", 80, "");
    ck_assert_int_eq(a.status, 201);
    forget(&a);

    /* What GET shows goes back as it is, and its own ETag guards it. */
    a = ask(TOKEN, "GET", "/v1/routes/a.test", "", NULL);
    ck_assert_int_eq(a.status, 200);
    ck_assert_str_eq(member(&a, "destinationPorts"), "[81]");
    snprintf(field, sizeof(field), "If-Match: \"%s\"\r\n", a.etag);
    b = ask(TOKEN, "PUT", "/v1/routes/a.test", field, a.body);
    ck_assert_int_eq(b.status, 200);
    ck_assert_str_eq(member(&b, "revision"), "3");
    forget(&b);
    b = ask(TOKEN, "PUT", "/v1/routes/a.test", "If-Match: \"0000000000000000\"\r\n", a.body);
    ck_assert_int_eq(b.status, 412);
    forget(&b);
    forget(&a);

    /* RFC 9110, 13.1.1: nothing there, nothing matches. */
    a = put_one("/v1/routes/b.a.test", "b.a.test", 80, "If-Match: *\r\n");
    ck_assert_int_eq(a.status, 412);
    forget(&a);
    a = put_one("/v1/routes/b.a.test", "b.a.test", 80, "If-Match: \"0000000000000000\"\r\n");
    ck_assert_int_eq(a.status, 412);
    forget(&a);
    a = ask(TOKEN, "GET", "/v1/routes/b.a.test", "", NULL);
    ck_assert_int_eq(a.status, 404);
    forget(&a);

    a = ask(TOKEN, "GET", "/v1/routes/x.a.test", "", NULL); /* covered, but no entry */
    ck_assert_int_eq(a.status, 404);
    forget(&a);
    a = ask(TOKEN, "DELETE", "/v1/routes/%2a.a.test", "", NULL);
    ck_assert_int_eq(a.status, 200);
    ck_assert_str_eq(member(&a, "removed"), "[\"*.a.test\"]");
    forget(&a);
    a = ask(TOKEN, "DELETE", "/v1/routes/*.a.test", "", NULL);
    ck_assert_int_eq(a.status, 404);
    forget(&a);
    a = ask(TOKEN, "DELETE", "/v1/routes/a_b", "", NULL);
    ck_assert_int_eq(a.status, 404);
    forget(&a);
}
END_TEST

/* A name that no route can have: the fault is told as in a whole set, whatever the body is. */
START_TEST(names_that_no_route_can_have)
{
    static const struct {
        const char *path, *said;
    } cases[] = {
        {"/v1/routes/shop_x.localhost", "labels of letters, digits and hyphens"},
        {"/v1/routes/b%c3%bccher.test", "A-label, xn--"},
        {"/v1/routes/%ff%fe", "A-label, xn--"},
        {"/v1/routes/192.0.2.1", "is an address"},
        {"/v1/routes/a..test", "labels of"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct answer a = ask(TOKEN, "PUT", cases[i].path, "",
                              "{\"destinationIps\":[\"127.0.0.1\"],\"destinationPorts\":[80]}");

        ck_assert_int_eq(a.status, 422);
        ck_assert_str_eq(member(&a, "errors/0/pointer"), "\"/hostName\"");
        ck_assert_str_eq(member(&a, "errors/0/code"), "\"invalid\"");
        ck_assert_ptr_nonnull(strstr(member(&a, "errors/0/detail"), cases[i].said));
        forget(&a);
        a = ask(TOKEN, "GET", cases[i].path, "", NULL);
        ck_assert_int_eq(a.status, 404);
        ck_assert_ptr_nonnull(strstr(member(&a, "detail"), cases[i].said));
        forget(&a);
    }
}
END_TEST

START_TEST(preconditions_and_dry_runs)
{
    struct answer a = put_set("a.test", 80, ""), b;
    char field[128];

    snprintf(field, sizeof(field), "If-None-Match: \"%s\"\r\n", a.etag);
    b = ask(TOKEN, "GET", "/v1/routes", field, NULL);
    ck_assert_int_eq(b.status, 304);
    forget(&b);
    snprintf(field, sizeof(field), "If-Match: \"%s\"\r\n", a.etag);
    forget(&a);
    a = put_set("a.test b.a.test", 80, field);
    ck_assert_int_eq(a.status, 200);
    forget(&a);
    a = put_set("a.test", 80, field);
    ck_assert_int_eq(a.status, 412);
    forget(&a);

    a = ask(TOKEN, "PUT", "/v1/routes?dryRun=true", "", "[]");
    ck_assert_int_eq(a.status, 200);
    ck_assert_str_eq(member(&a, "fate"), "\"dryRun\"");
    ck_assert_str_eq(member(&a, "applied"), "false");
    ck_assert_str_eq(member(&a, "revision"), "2");
    ck_assert_str_eq(member(&a, "routes"), "0");
    ck_assert_str_eq(member(&a, "removed"), "[\"a.test\",\"b.a.test\"]");
    forget(&a);
    a = ask(TOKEN, "PUT", "/v1/routes?dryRun=true", "", "[7]");
    ck_assert_int_eq(a.status, 422);
    forget(&a);
    a = ask(TOKEN, "GET", "/v1/status", "", NULL);
    ck_assert_str_eq(member(&a, "routes"), "2");
    ck_assert_str_eq(member(&a, "lastError"), "null");
    ck_assert_str_eq(member(&a, "updates/rejected"), "0"); /* nor does an alert look at a dry run */
    forget(&a);
    a = ask(READ_TOKEN, "GET", "/metrics", "", NULL);
    ck_assert_ptr_nonnull(strstr(a.body, "_route_updates_total{fate=\"rejected\"} 0\n"));
    ck_assert_ptr_nonnull(strstr(a.body, "_route_updates_total{fate=\"checked\"} 1\n"));
    ck_assert_ptr_nonnull(strstr(a.body, "_route_updates_total{fate=\"check_failed\"} 1\n"));
    forget(&a);
}
END_TEST

START_TEST(state)
{
    struct answer a = put_set("a.test", 80, "");

    forget(&a);
    a = ask(READ_TOKEN, "GET", "/v1/certificates", "", NULL);
    ck_assert_int_eq(a.status, 200);
    ck_assert_str_eq(member(&a, "certificates/0/host"), "\"a.test\"");
    ck_assert_str_eq(member(&a, "certificates/0/names"), "[\"a.test\",\"*.a.test\"]");
    forget(&a);
    a = ask(READ_TOKEN, "GET", "/v1/status", "", NULL);
    ck_assert_str_eq(member(&a, "running"), "true");
    ck_assert_str_eq(member(&a, "version"), "\"" PENSTOCK_VERSION "\"");
    ck_assert_str_eq(member(&a, "workers"), "2");
    ck_assert_ptr_nonnull(strstr(member(&a, "listeners/https"), "127.0.0.1:"));
    ck_assert_ptr_null(strstr(member(&a, "listeners/https"), ":0\""));
    forget(&a);
    a = ask(READ_TOKEN, "GET", "/v1/config", "", NULL);
    ck_assert_int_eq(a.status, 200);
    ck_assert_ptr_null(strstr(a.body, TOKEN));
    forget(&a);
    a = ask(READ_TOKEN, "GET", "/metrics", "", NULL);
    ck_assert_int_eq(a.status, 200);
    ck_assert_ptr_nonnull(strstr(a.body, "\npenstock_traffic_routes 1\n"));
    ck_assert_ptr_nonnull(strstr(a.body, "\npenstock_traffic_route_revision 1\n"));
    ck_assert_ptr_nonnull(
        strstr(a.body, "\npenstock_traffic_route_updates_total{fate=\"applied\"} 1\n"));
    ck_assert_ptr_nonnull(
        strstr(a.body, "\npenstock_traffic_refused_total{reason=\"no_route\"} 0\n"));
    ck_assert_ptr_nonnull(strstr(a.body, "penstock_traffic_request_duration_seconds_count 0\n"));
    forget(&a);
    a = ask(READ_TOKEN, "GET", "/openapi.yaml", "", NULL);
    ck_assert_int_eq(a.status, 200);
    ck_assert_ptr_nonnull(strstr(a.body, "Penstock traffic"));
    forget(&a);
}
END_TEST

/* A reload, as SIGHUP makes it, run by the control loop. */
struct reload {
    struct task task;
    struct traffic_conf next;
    int err;
    _Atomic bool is_done;
};

static void run_reload(struct task *task)
{
    struct reload *r = container_of(task, struct reload, task);

    r->err = traffic_reload(&t, &r->next);
    conf_free(&traffic_conf_table, &r->next);
    r->is_done = true;
}

static void reload(struct reload *r, const char *extra, const char *token)
{
    const char *sets[] = {
        "http.listen=127.0.0.1:0",
        "https.listen=127.0.0.1:0",
        "management.listen=127.0.0.1:0",
        "workers=2",
        "limits.routes=3",
        "limits.routeBytes=4096",
        "log.level=error",
        extra,
        NULL,
    };
    struct json_check faults;
    int rc;

    memset(r, 0, sizeof(*r));
    json_check_init(&faults);
    rc = conf_read(&traffic_conf_table, NULL, no_environment, sets, &r->next, &faults);
    ck_assert_int_eq(rc, 0);
    json_check_fini(&faults);
    free(r->next.service.state_dir);
    r->next.service.state_dir = must_strdup(folder);
    free(r->next.service.management_token);
    r->next.service.management_token = must_strdup(token);
    free(r->next.service.management_read_token);
    r->next.service.management_read_token = must_strdup(READ_TOKEN);
    r->task.run = run_reload;
    loop_post(t.loop, &r->task);
    while (!r->is_done) { /* an answer means that the loop has turned since the posting */
        struct answer a = ask(READ_TOKEN, "GET", "/v1/status", "", NULL);

        ck_assert_int_eq(a.status, 200);
        forget(&a);
    }
}

START_TEST(reloads)
{
    static const char other[] = "other-0123456789-0123456789";
    struct reload r;
    struct answer a;

    reload(&r, "http.redirectPort=8443", other);
    ck_assert_int_eq(r.err, 0);
    a = ask(TOKEN, "GET", "/v1/config", "", NULL);
    ck_assert_int_eq(a.status, 401);
    forget(&a);
    a = ask(other, "GET", "/v1/config", "", NULL);
    ck_assert_int_eq(a.status, 200);
    ck_assert_str_eq(member(&a, "http/redirectPort"), "8443");
    forget(&a);
}
END_TEST

/* The service ends with an update under way, whose client is still there. */
START_TEST(an_end_in_the_middle)
{
    char *text = routes("a.test b.a.test c.a.test", 80);
    char *request = must_printf("PUT /v1/routes HTTP/1.1\r\nHost: localhost\r\nAuthorization: "
                                "Bearer " TOKEN "\r\nContent-Type: application/json\r\n"
                                "Content-Length: %zu\r\n\r\n%s",
                                strlen(text), text);
    int fds[8];

    for (size_t i = 0; i < 8; i++) {
        fds[i] = dial(admin_address(t.admin));
        ck_assert_int_eq((int)send(fds[i], request, strlen(request), MSG_NOSIGNAL),
                         (int)strlen(request));
    }
    teardown(); /* whatever has come by now is answered or dropped; ASan sees the rest */
    for (size_t i = 0; i < 8; i++)
        close(fds[i]);
    free(request);
    free(text);
    setup();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("api");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, the_whole_set);
    tcase_add_test(tcase, what_is_refused);
    tcase_add_test(tcase, one_route);
    tcase_add_test(tcase, names_that_no_route_can_have);
    tcase_add_test(tcase, preconditions_and_dry_runs);
    tcase_add_test(tcase, state);
    tcase_add_test(tcase, reloads);
    tcase_add_test(tcase, an_end_in_the_middle);
    return suite_run("traffic_route_api", tcase);
}
