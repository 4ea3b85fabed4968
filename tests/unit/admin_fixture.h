/* admin_fixture - a management server with a few routes on a loop in a thread of its own, and a
 * client that sends exact bytes over a blocking socket. */
#ifndef TESTS_UNIT_ADMIN_FIXTURE_H
#define TESTS_UNIT_ADMIN_FIXTURE_H

#include <check.h>
#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "admin/admin.h"
#include "admin/metrics.h"
#include "base/err.h"
#include "base/log.h"
#include "loop/listener.h"
#include "loop/loop.h"

#define TOKEN      "write-token-0123456789"
#define TOKEN_2    "write-token-9876543210"
#define READ_TOKEN "read-token-0123456789"
#define PATIENCE_S 20 /* a test that waits longer has failed */
#define BODY_MAX   1000u
#define BIG_BYTES  (3u << 20)

/* 1.0 refuses by itself, in HTML, some of what 0.9.75 lets pass to us. */
#define MHD_IS_OLD (MHD_VERSION < 0x01000000)

#define AUTH "Authorization: Bearer " TOKEN "\r\n"
#define READ "Authorization: Bearer " READ_TOKEN "\r\n"
#define HOST "Host: localhost\r\n"
#define JSON "Content-Type: application/json\r\n"

struct service {
    struct loop *loop;
    struct admin *admin;
    pthread_t thread;
    bool is_running;
    struct admin_options options;
    struct admin_request *deferred; /* the loop's */
    sem_t has_deferred, has_gone;
    atomic_uint handled, gone;
    atomic_bool is_ready;
    atomic_size_t raw_bytes;
    unsigned held; /* for tests that count them on the loop */
};

static inline struct json_object *fixture_object(const char *key, const char *value)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, key, json_object_new_string(value));
    return o;
}

static inline void get_things(void *service, struct admin_request *r)
{
    struct service *s = service;

    atomic_fetch_add(&s->handled, 1);
    admin_reply(r, 200, fixture_object("name", "things"), "rev-1");
}

static inline void put_things(void *service, struct admin_request *r)
{
    struct service *s = service;

    atomic_fetch_add(&s->handled, 1);
    if (!admin_if_match(r, "rev-1"))
        return;
    admin_reply(r, 200, json_object_get(admin_body(r)), admin_is_dry_run(r) ? NULL : "rev-2");
}

static inline void post_thing(void *service, struct admin_request *r)
{
    (void)service;
    admin_reply_created(r, "/v1/things/a%2Fb", fixture_object("made", "yes"), "one");
}

static inline void get_part(void *service, struct admin_request *r)
{
    struct json_object *o = fixture_object("id", admin_param(r, "id"));
    const char *query = admin_query(r, "q");

    (void)service;
    json_object_object_add(o, "part", json_object_new_string(admin_param(r, "part")));
    json_object_object_add(o, "none", json_object_new_string(admin_param(r, "none")));
    json_object_object_add(o, "q", query ? json_object_new_string(query) : NULL);
    json_object_object_add(o, "peer", json_object_new_string(admin_peer(r)));
    admin_reply(r, 200, o, NULL);
}

static inline void delete_thing(void *service, struct admin_request *r)
{
    (void)service;
    admin_reply_empty(r, 204);
}

static inline void post_faults(void *service, struct admin_request *r)
{
    struct json_check c;

    (void)service;
    json_check_init(&c);
    json_fault(&c, "/a", "required", "must be there");
    json_fault(&c, "/b/3", "range", "must be below 7");
    admin_problem_faults(r, &c);
    json_check_fini(&c);
}

static inline void post_optional(void *service, struct admin_request *r)
{
    (void)service;
    admin_reply(r, 200, fixture_object("body", admin_body(r) ? "given" : "none"), NULL);
}

static inline void put_raw(void *service, struct admin_request *r)
{
    struct service *s = service;
    size_t n = 0;
    char *body = admin_take_body(r, &n);

    atomic_store(&s->raw_bytes, n);
    if (body && n == strlen(body))
        admin_reply(r, 200, fixture_object("first", n ? (char[]){body[0], 0} : ""), NULL);
    else
        admin_problem(r, 422, "nul", "%s", "the body holds a NUL");
    free(body);
}

static inline void get_big(void *service, struct admin_request *r)
{
    char *text = must_alloc(BIG_BYTES + 1);

    (void)service;
    memset(text, 'x', BIG_BYTES);
    admin_reply(r, 200, fixture_object("big", text), NULL);
    free(text);
}

static inline void deferred_gone(struct admin_request *r, void *arg)
{
    struct service *s = arg;

    ck_assert_ptr_eq(s->deferred, r);
    s->deferred = NULL;
    atomic_fetch_add(&s->gone, 1);
    sem_post(&s->has_gone);
}

static inline void post_slow(void *service, struct admin_request *r)
{
    struct service *s = service;

    s->deferred = r;
    admin_defer(r, deferred_gone, s);
    sem_post(&s->has_deferred);
}

/* Deferred and answered before the handler returns. */
static inline void post_hasty(void *service, struct admin_request *r)
{
    (void)service;
    admin_defer(r, deferred_gone, service);
    admin_reply(r, 200, fixture_object("was", "hasty"), NULL);
}

static inline bool fixture_is_ready(void *service, char *why, size_t why_size)
{
    struct service *s = service;

    if (atomic_load(&s->is_ready))
        return true;
    snprintf(why, why_size, "no tunnel is open");
    return false;
}

static inline void fixture_collect(void *service, struct metrics *m)
{
    (void)service;
    metrics_family(m, "penstock_things_total", METRIC_COUNTER, "Things.");
    metrics_value(m, 7, "kind", "a\"b\\c\nd", NULL);
}

static inline struct json_object *fixture_config(void *service)
{
    (void)service;
    return fixture_object("token", "***");
}

static const struct admin_route fixture_routes[] = {
    {.method = "GET", .pattern = "/v1/things", .access = ADMIN_READ, .handle = get_things},
    {.method = "PUT",
     .pattern = "/v1/things",
     .access = ADMIN_WRITE,
     .takes_body = true,
     .queries = admin_dry_run_query,
     .handle = put_things},
    {.method = "POST",
     .pattern = "/v1/things",
     .access = ADMIN_WRITE,
     .takes_body = true,
     .handle = post_thing},
    {.method = "DELETE",
     .pattern = "/v1/things/{id}",
     .access = ADMIN_WRITE,
     .queries = admin_dry_run_query,
     .handle = delete_thing},
    {.method = "GET",
     .pattern = "/v1/things/{id}/{part}",
     .access = ADMIN_READ,
     .queries = (const char *const[]){"q", "x", NULL},
     .handle = get_part},
    {.method = "POST",
     .pattern = "/v1/faults",
     .access = ADMIN_WRITE,
     .takes_body = true,
     .handle = post_faults},
    {.method = "POST",
     .pattern = "/v1/optional",
     .access = ADMIN_WRITE,
     .takes_body = true,
     .body_is_optional = true,
     .handle = post_optional},
    {.method = "PUT",
     .pattern = "/v1/raw",
     .access = ADMIN_WRITE,
     .takes_body = true,
     .body_is_raw = true,
     .body_max = 2 * BIG_BYTES,
     .handle = put_raw},
    {.method = "GET", .pattern = "/v1/big", .access = ADMIN_READ, .handle = get_big},
    {.method = "POST", .pattern = "/v1/slow", .access = ADMIN_WRITE, .handle = post_slow},
    {.method = "POST", .pattern = "/v1/hasty", .access = ADMIN_WRITE, .handle = post_hasty},
    {.method = NULL},
};

static inline void *fixture_thread(void *arg)
{
    struct service *s = arg;

    loop_run(s->loop);
    return NULL;
}

/* Options may be changed between prepare and start. */
static inline void service_prepare(struct service *s)
{
    memset(s, 0, sizeof(*s));
    log_init(LOG_TEXT, LOG_ERR, 2);
    signal(SIGPIPE, SIG_IGN);
    s->loop = loop_new("admin", 4, 64);
    sem_init(&s->has_deferred, 0, 0);
    sem_init(&s->has_gone, 0, 0);
    atomic_store(&s->is_ready, true);
    s->options = (struct admin_options){
        .loop = s->loop,
        .service = "sample",
        .listen = "127.0.0.1:0",
        .tokens = TOKEN "\n" TOKEN_2,
        .read_tokens = READ_TOKEN,
        .body_max = BODY_MAX,
        .openapi = "openapi: 3.1.0\n",
        .openapi_common = "components: {}\n",
        .routes = fixture_routes,
        .arg = s,
        .is_ready = fixture_is_ready,
        .collect = fixture_collect,
        .config = fixture_config,
    };
}

static inline void service_start(struct service *s)
{
    const char *what = NULL;
    char why[256] = "";

    ck_assert_msg(admin_start(&s->admin, &s->options, &what, why, sizeof(why)) == 0, "%s: %s", what,
                  why);
    ck_assert_int_eq(pthread_create(&s->thread, NULL, fixture_thread, s), 0);
    s->is_running = true;
}

/* The loop stands still afterwards; the admin is still there. */
static inline void service_halt(struct service *s)
{
    if (!s->is_running)
        return;
    loop_stop(s->loop);
    ck_assert_int_eq(pthread_join(s->thread, NULL), 0);
    s->is_running = false;
}

static inline void service_stop(struct service *s)
{
    service_halt(s);
    admin_stop(s->admin);
    loop_free(s->loop);
    sem_destroy(&s->has_deferred);
    sem_destroy(&s->has_gone);
}

static inline void service_up(struct service *s)
{
    service_prepare(s);
    service_start(s);
}

static inline void wait_for(sem_t *sem)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    while (sem_timedwait(sem, &until) != 0)
        ck_assert_int_eq(errno, EINTR);
}

/* Runs `run` on the loop and waits until it is done. */
struct errand {
    struct task task;
    struct service *s;
    void (*run)(struct service *s);
    sem_t done;
};

static inline void errand_run(struct task *task)
{
    struct errand *e = container_of(task, struct errand, task);

    e->run(e->s);
    sem_post(&e->done);
}

static inline void on_loop(struct service *s, void (*run)(struct service *s))
{
    struct errand e = {.task = {.run = errand_run}, .s = s, .run = run};

    sem_init(&e.done, 0, 0);
    loop_post(s->loop, &e.task);
    wait_for(&e.done);
    sem_destroy(&e.done);
}

/* --- the client ---------------------------------------------------------------------------- */

static inline int dial_to(const char *address)
{
    struct timeval limit = {.tv_sec = PATIENCE_S};
    union addr at;
    int fd;

    ck_assert_int_eq(addr_parse(&at, address), 0);
    fd = socket(at.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    ck_assert_int_eq(connect(fd, &at.sa, addr_len(&at)), 0);
    return fd;
}

static inline void say(int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);
        ck_assert_msg(sent > 0, "send: %s", strerror(errno));
        text += sent;
        n -= (size_t)sent;
    }
}

struct answer {
    unsigned status;
    char head[8192];
    char *body; /* owned */
    size_t body_len;
};

/* The value of a header of the answer; NULL when it has none. */
static inline const char *header_of(const struct answer *a, const char *name, char out[1024])
{
    const char *p = a->head;

    while ((p = strstr(p, "\r\n")) != NULL) {
        p += 2;
        size_t n = strlen(name);
        if (strncasecmp(p, name, n) == 0 && p[n] == ':') {
            snprintf(out, 1024, "%.*s", (int)strcspn(p + n + 1 + strspn(p + n + 1, " "), "\r"),
                     p + n + 1 + strspn(p + n + 1, " "));
            return out;
        }
    }
    return NULL;
}

/* A process that was stopped meanwhile is told so (signal(7)), and reads on. */
static inline ssize_t hear_bytes(int fd, void *to, size_t n)
{
    ssize_t got;

    do {
        got = recv(fd, to, n, 0);
    } while (got < 0 && errno == EINTR);
    return got;
}

/* Reads one answer: its head, then as many bytes as it says (none for `is_head`). */
static inline void hear(int fd, struct answer *a, bool is_head)
{
    char value[1024];
    size_t n = 0;

    memset(a, 0, sizeof(*a));
    while (!strstr(a->head, "\r\n\r\n")) {
        ck_assert_uint_lt(n, sizeof(a->head) - 1);
        ssize_t got = hear_bytes(fd, a->head + n, 1);
        ck_assert_msg(got == 1, "recv gave %zd (%s) after: %s", got, strerror(errno), a->head);
        n++;
    }
    ck_assert_int_eq(sscanf(a->head, "HTTP/1.1 %u", &a->status), 1);
    if (a->status == 100) {
        hear(fd, a, is_head);
        return;
    }
    if (header_of(a, "Content-Length", value) && !is_head && a->status != 304)
        a->body_len = strtoul(value, NULL, 10);
    a->body = must_alloc(a->body_len + 1);
    for (n = 0; n < a->body_len;) {
        ssize_t got = hear_bytes(fd, a->body + n, a->body_len - n);
        ck_assert_msg(got > 0, "recv gave %zd in the body", got);
        n += (size_t)got;
    }
}

/* The server has closed: an end or, where it left bytes unread, a reset. */
static inline void hear_end(int fd)
{
    char c;
    ssize_t got = hear_bytes(fd, &c, 1);

    ck_assert_msg(got == 0 || (got < 0 && errno == ECONNRESET), "got %zd: %s", got,
                  got < 0 ? strerror(errno) : "a byte");
}

static inline void answer_fini(struct answer *a)
{
    free(a->body);
    a->body = NULL;
}

/* One request on a connection of its own. */
static inline void ask(struct service *s, struct answer *a, const char *request)
{
    int fd = dial_to(admin_address(s->admin));

    say(fd, request, strlen(request));
    hear(fd, a, strncmp(request, "HEAD", 4) == 0);
    close(fd);
}

static inline void expect_header(const struct answer *a, const char *name, const char *value)
{
    char have[1024];

    if (!value) {
        ck_assert_msg(!header_of(a, name, have), "unexpected %s: %s", name, have);
        return;
    }
    ck_assert_msg(header_of(a, name, have) != NULL, "no %s in: %s", name, a->head);
    ck_assert_str_eq(have, value);
}

/* A problem+json of this status and code. */
static inline void expect_problem(const struct answer *a, unsigned status, const char *code)
{
    struct json_object *body = NULL, *value;
    struct json_syntax why;
    char *type = must_printf("urn:penstock:problem:%s", code);
    char id[1024];

    ck_assert_msg(a->status == status, "%u, wanted %u %s: %s", a->status, status, code,
                  a->body ? a->body : "");
    expect_header(a, "Content-Type", "application/problem+json");
    ck_assert_int_eq(json_read(&body, a->body, a->body_len, &why), 0);
    ck_assert(json_object_object_get_ex(body, "type", &value));
    ck_assert_str_eq(json_object_get_string(value), type);
    ck_assert(json_object_object_get_ex(body, "status", &value));
    ck_assert_int_eq(json_object_get_int(value), (int)status);
    ck_assert(json_object_object_get_ex(body, "title", &value));
    ck_assert(json_object_object_get_ex(body, "detail", &value));
    ck_assert(json_object_object_get_ex(body, "requestId", &value));
    ck_assert_ptr_nonnull(header_of(a, "X-Request-Id", id));
    ck_assert_str_eq(json_object_get_string(value), id);
    json_object_put(body);
    free(type);
}

static inline void ask_problem(struct service *s, const char *request, unsigned status,
                               const char *code)
{
    struct answer a;

    ask(s, &a, request);
    expect_problem(&a, status, code);
    answer_fini(&a);
}

static inline void ask_status(struct service *s, const char *request, unsigned status)
{
    struct answer a;

    ask(s, &a, request);
    ck_assert_msg(a.status == status, "%u, wanted %u for %s: %s", a.status, status, request,
                  a.body ? a.body : "");
    answer_fini(&a);
}

/* Refused with this, and the connection is closed. */
static inline void ask_closed(struct service *s, const char *request, unsigned status,
                              const char *code)
{
    int fd = dial_to(admin_address(s->admin));
    struct answer a;

    say(fd, request, strlen(request));
    hear(fd, &a, false);
    if (code)
        expect_problem(&a, status, code);
    else
        ck_assert_uint_eq(a.status, status);
    hear_end(fd);
    answer_fini(&a);
    close(fd);
}

static inline int run_suite(const char *name, const TTest *const *tests, size_t n)
{
    Suite *suite = suite_create(name);
    TCase *all = tcase_create(name);
    SRunner *runner;
    int failed;

    for (size_t i = 0; i < n; i++)
        tcase_add_test(all, tests[i]);
    tcase_set_timeout(all, 60);
    suite_add_tcase(suite, all);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
