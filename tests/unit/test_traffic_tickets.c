/* The keys of session tickets, of the whole service: its timer makes a fresh one for all workers,
 * and what an older one has sealed opens as long as that is kept (tickets.keys, rotateSecs). */
#include <arpa/inet.h>
#include <check.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/log.h"
#include "support/await.h"
#include "support/suite.h"
#include "support/tls_pem.h"
#include "traffic/traffic.h"
#include "unit/traffic_route_fixture.h"
#include "json/json.h"

#define KEYS        3
#define ROTATE_SECS 600
#define VISITS      16 /* in a row: both workers are asked, but for one of 2^15 runs */

static struct traffic t;
static char *routes_file; /* owned */
static char folder[64];
static gnutls_certificate_credentials_t credentials;

static char *a_route(void)
{
    struct json_object *list = json_object_new_array(), *route = json_object_new_object();
    char *text;

    json_object_object_add(route, "hostName", json_object_new_string("a.test"));
    json_object_object_add(route, "destinationIp", json_object_new_string("127.0.0.1"));
    json_object_object_add(route, "destinationPort", json_object_new_int(1));
    json_object_object_add(route, "publicKey", json_object_new_string(a_test_chain));
    json_object_object_add(route, "privateKey", json_object_new_string(a_test_key));
    json_object_array_add(list, route);
    text = must_strdup(json_object_to_json_string(list));
    json_object_put(list);
    return text;
}

static void start(int keys)
{
    static char *no_environment[] = {NULL};
    char *keys_set = must_printf("tickets.keys=%d", keys),
         *secs_set = must_printf("tickets.rotateSecs=%d", ROTATE_SECS),
         *routes_set = must_printf("routesFile=%s", routes_file),
         *state_set = must_printf("stateDir=%s", folder);
    const char *const sets[] = {"http.listen=127.0.0.1:0",
                                "https.listen=127.0.0.1:0",
                                "management.listen=127.0.0.1:0",
                                state_set,
                                "proxyProtocol.trusted=[]",
                                "workers=2",
                                keys_set,
                                secs_set,
                                routes_set,
                                NULL};
    struct json_check faults;
    int rc;

    memset(&t, 0, sizeof(t));
    json_check_init(&faults);
    rc = conf_read(&traffic_conf_table, NULL, no_environment, sets, &t.conf, &faults);
    ck_assert_msg(rc == 0, "%s", faults.count ? faults.faults[0].detail : "?");
    json_check_fini(&faults);
    free(t.conf.service.management_token);
    t.conf.service.management_token = must_strdup("write-0123456789-0123456789");
    free(state_set);
    free(routes_set);
    free(secs_set);
    free(keys_set);
    log_set_level(LOG_ERR);
    ck_assert_int_eq(traffic_start(&t), 0);
}

static void setup(void)
{
    char *text = a_route();

    snprintf(folder, sizeof(folder), "/tmp/penstock-tickets-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    routes_file = tls_pem_file(text);
    free(text);
    ck_assert_int_eq(gnutls_certificate_allocate_credentials(&credentials), 0);
}

static void teardown(void)
{
    static const char *const files[] = {"auth-key", "management-token", "management-read-token",
                                        "routes.json"};

    traffic_stop(&t);
    conf_free(&traffic_conf_table, &t.conf);
    gnutls_certificate_free_credentials(credentials);
    free(routes_file);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char *path = must_printf("%s/%s", folder, files[i]);

        (void)unlink(path);
        free(path);
    }
    ck_assert_int_eq(rmdir(folder), 0);
}

static int dial(void)
{
    struct timeval limit = {.tv_sec = 10};
    union addr to;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(addr_parse(&to, t.https_address), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    ck_assert_int_eq(connect(fd, &to.sa, addr_len(&to)), 0);
    return fd;
}

/* A handshake, with a ticket or without, and a request that is refused: tickets come in front of
 * the answer.  Whether it was resumed; *next: a ticket of this visit, the caller's. */
static bool visit(const gnutls_datum_t *ticket, gnutls_datum_t *next)
{
    static const char request[] = "GET / HTTP/1.1\r\n\r\n";
    gnutls_session_t s;
    char answer[4096];
    bool is_resumed;
    int fd = dial(), rc;
    ssize_t n;

    ck_assert_int_eq(gnutls_init(&s, GNUTLS_CLIENT), 0);
    ck_assert_int_eq(gnutls_set_default_priority(s), 0);
    ck_assert_int_eq(gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, credentials), 0);
    ck_assert_int_eq(gnutls_server_name_set(s, GNUTLS_NAME_DNS, "a.test", 6), 0);
    if (ticket)
        ck_assert_int_eq(gnutls_session_set_data(s, ticket->data, ticket->size), 0);
    gnutls_transport_set_int(s, fd);
    while ((rc = gnutls_handshake(s)) < 0 && !gnutls_error_is_fatal(rc))
        ;
    ck_assert_msg(rc == 0, "%s", gnutls_strerror(rc));
    is_resumed = gnutls_session_is_resumed(s) != 0;
    ck_assert_int_eq((int)gnutls_record_send(s, request, sizeof(request) - 1),
                     (int)sizeof(request) - 1);
    while ((n = gnutls_record_recv(s, answer, sizeof(answer))) == GNUTLS_E_AGAIN ||
           n == GNUTLS_E_INTERRUPTED)
        ;
    ck_assert_int_gt((int)n, 12);
    ck_assert_mem_eq(answer, "HTTP/1.1 400", 12);
    if (next)
        ck_assert_int_eq(gnutls_session_get_data2(s, next), 0);
    gnutls_deinit(s);
    close(fd);
    return is_resumed;
}

static void check_opens(const gnutls_datum_t *ticket)
{
    for (unsigned i = 0; i < VISITS; i++)
        ck_assert(visit(ticket, NULL));
}

/* At both workers, which hear of new keys when their loops turn. */
static bool opens_nowhere(void *arg)
{
    for (unsigned i = 0; i < VISITS; i++)
        if (visit(arg, NULL))
            return false;
    return true;
}

static bool is_rotated(void *arg)
{
    return t.tickets != arg;
}

/* The timer is at its end: what it does then, on its loop. */
static void rotate(void)
{
    uint64_t in_ms = t.rotation.due_ms - loop_now_ms(t.loop);
    struct tls_tickets *before = t.tickets;

    ck_assert(deadline_is_set(&t.rotation));
    ck_assert_uint_le(in_ms, ROTATE_SECS * 1000);
    ck_assert_uint_gt(in_ms, ROTATE_SECS * 1000 - 60000);
    deadline_set(&t.rotation, 1);
    tls_tickets_ref(before); /* so that the next one is elsewhere */
    ck_assert(await_within(t.loop, is_rotated, before, 10000));
    tls_tickets_unref(before);
}

START_TEST(a_ticket_lives_as_long_as_its_key)
{
    gnutls_datum_t first, second;

    start(KEYS);
    ck_assert(!visit(NULL, &first));
    for (unsigned i = 0; i < KEYS; i++) {
        check_opens(&first);
        rotate();
    }
    ck_assert(await_within(t.loop, opens_nowhere, &first, 10000));
    ck_assert(!visit(NULL, &second)); /* by the newest key, at either worker */
    for (unsigned i = 0; i < KEYS; i++) {
        check_opens(&second);
        rotate();
    }
    ck_assert(await_within(t.loop, opens_nowhere, &second, 10000));
    gnutls_free(first.data);
    gnutls_free(second.data);
}
END_TEST

START_TEST(no_keys_no_timer)
{
    start(0);
    ck_assert_ptr_null(t.tickets);
    ck_assert(!deadline_is_set(&t.rotation));
    ck_assert(!visit(NULL, NULL));
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("tickets");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, a_ticket_lives_as_long_as_its_key);
    tcase_add_test(tcase, no_keys_no_timer);
    return suite_run("traffic_tickets", tcase);
}
