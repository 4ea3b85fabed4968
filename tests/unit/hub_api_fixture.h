/* hub_api_fixture - requests to the management API of a whole hub (hub_tunnel_fixture.h): the
 * client blocks in a thread of its own while the hub's loop runs in the test's. */
#ifndef TESTS_UNIT_HUB_API_FIXTURE_H
#define TESTS_UNIT_HUB_API_FIXTURE_H

#include "hub_tunnel_fixture.h"

static struct call {
    char request[4096];
    char answer[65536];
    _Atomic bool is_done;
    unsigned status;
    const char *body; /* in answer */
    struct json_object *json;
} call;

static inline void *run_call(void *arg)
{
    struct call *c = arg;
    union addr at;
    size_t n = 0;
    ssize_t got = 1;
    int fd;

    if (addr_parse(&at, admin_address(hub.admin)) == 0 &&
        (fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0) {
        if (connect(fd, &at.sa, addr_len(&at)) == 0 &&
            send(fd, c->request, strlen(c->request), MSG_NOSIGNAL) > 0)
            while (got > 0 && n < sizeof(c->answer) - 1) {
                got = read(fd, c->answer + n, sizeof(c->answer) - 1 - n);
                n += got > 0 ? (size_t)got : 0;
            }
        close(fd);
    }
    c->answer[n] = '\0';
    atomic_store(&c->is_done, true);
    return NULL;
}

static inline bool is_call_done(void *arg)
{
    return atomic_load(&((struct call *)arg)->is_done);
}

/* Sends call.request; its status. */
static inline unsigned make_call(void)
{
    pthread_t thread;

    call.answer[0] = '\0';
    atomic_store(&call.is_done, false);
    ck_assert_int_eq(pthread_create(&thread, NULL, run_call, &call), 0);
    UNTIL(is_call_done, &call);
    pthread_join(thread, NULL);
    ck_assert_int_eq(sscanf(call.answer, "HTTP/1.1 %u", &call.status), 1);
    call.body = strstr(call.answer, "\r\n\r\n");
    ck_assert_ptr_nonnull(call.body);
    call.body += 4;
    return call.status;
}

/* The status; call.json is the answer's body until the next request. */
static inline unsigned ask(const char *method, const char *path, const char *headers,
                           const char *body)
{
    json_object_put(call.json);
    memset(&call, 0, sizeof(call));
    snprintf(
        call.request, sizeof(call.request),
        "%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n%sConnection: close\r\n"
        "%s%s%zu\r\n\r\n%s",
        method, path, hub.tokens.tokens, headers ? headers : "",
        body ? "Content-Type: application/json\r\n" : "",
        "Content-Length: ", body ? strlen(body) : 0, body ? body : "");
    make_call();
    call.json = *call.body ? json_of(call.body) : NULL;
    return call.status;
}

#endif
