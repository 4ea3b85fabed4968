/* Changes on their way to the disk: a client that goes away, a hub that ends, a line that is full.
 */
#include "hub_tunnel_fixture.h"

#include <sqlite3.h>

#include "store/store.h"

#define CLIENTS 6

static int clients[CLIENTS];

static void setup(void)
{
    hub_up((const char *const[]){"limits.waitingChanges=3", NULL});
}

/* The answer is not read here. */
static int ask(const char *what, const char *body)
{
    char request[512];
    union addr at;
    int fd;

    snprintf(request, sizeof(request),
             "%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
             "Content-Type: application/json\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
             what, hub.tokens.tokens, strlen(body), body);
    ck_assert_int_eq(addr_parse(&at, admin_address(hub.admin)), 0);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fd, &at.sa, addr_len(&at)), 0);
    ck_assert_int_eq((int)send(fd, request, strlen(request), MSG_NOSIGNAL), (int)strlen(request));
    return fd;
}

/* A request for an edge of this name. */
static int post_edge(const char *id)
{
    char body[64];

    snprintf(body, sizeof(body), "{\"id\":\"%s\"}", id);
    return ask("POST /v1/edges", body);
}

static unsigned status_of(int fd)
{
    char answer[4096] = "";
    size_t n = 0;
    ssize_t got;
    unsigned status = 0;

    while ((got = read(fd, answer + n, sizeof(answer) - 1 - n)) > 0)
        n += (size_t)got;
    close(fd);
    (void)sscanf(answer, "HTTP/1.1 %u", &status);
    return status;
}

static bool has_edge(void *arg)
{
    return registry_find(&hub.registry, arg) != NULL;
}

static bool is_quiet(void *arg)
{
    (void)arg;
    return hub.changes.count == 0;
}

START_TEST(a_client_that_goes_away)
{
    char id[] = "e1";

    close(post_edge(id));
    UNTIL(has_edge, id); /* what it began is done all the same */
    UNTIL(is_quiet, NULL);
    hub_down();
}
END_TEST

/* The same hub again, with the state that it left. */
static void restart(void)
{
    struct hub_conf conf = hub.conf;

    hub_stop(&hub);
    memset(&hub, 0, sizeof(hub));
    hub.conf = conf;
    ck_assert_int_eq(hub_start(&hub), 0);
}

static bool has_begun(void *arg)
{
    (void)arg;
    return hub.changes.count > 0 || hub.registry.count > 0;
}

static void post_all(void)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        char id[8];

        snprintf(id, sizeof(id), "e%zu", i);
        clients[i] = post_edge(id);
    }
}

START_TEST(the_hub_ends_in_the_middle)
{
    unsigned created = 0;

    post_all();
    UNTIL(has_begun, NULL);
    restart(); /* the sanitizer looks whether anything is left */
    for (size_t i = 0; i < CLIENTS; i++) {
        unsigned status = status_of(clients[i]);
        char id[8];

        snprintf(id, sizeof(id), "e%zu", i);
        /* 503, and 0 of one that was never heard: nothing has changed */
        ck_assert_msg(status == 201 || status == 503 || status == 0, "%u", status);
        ck_assert_int_eq(has_edge(id), status == 201);
        created += status == 201;
    }
    ck_assert_uint_ge(created, 1); /* the one that was under way */
    hub_down();
}
END_TEST

static bool all_are_answered(void *arg)
{
    (void)arg;
    return hub.registry.count + hub.changes.refused == CLIENTS && hub.changes.count == 0;
}

START_TEST(past_its_end_the_line_refuses)
{
    unsigned created = 0, refused = 0;

    post_all();
    UNTIL(all_are_answered, NULL);
    /* their answers are with the kernel once the hub has ended in order */
    size_t in_registry = hub.registry.count;
    hub_down();
    for (size_t i = 0; i < CLIENTS; i++) {
        unsigned status = status_of(clients[i]);

        ck_assert_msg(status == 201 || status == 503, "%u", status);
        created += status == 201;
        refused += status == 503;
    }
    ck_assert_uint_eq(created, in_registry);
    ck_assert_uint_eq(created + refused, CLIENTS);
    ck_assert_uint_ge(created, 3);
}
END_TEST

/* Whoever has this keeps the hub from writing. */
static sqlite3 *lock_file(void)
{
    char *path = must_printf("%s/hub.db", state_dir);
    sqlite3 *db;

    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    free(path);
    return db;
}

static bool was_refused(void *arg)
{
    struct store_stats stats;

    (void)arg;
    store_stats(hub.store, &stats);
    return stats.faults[STORE_FAULT_IO] == 2; /* the first one was the start's */
}

static bool has_one_edge(void *arg)
{
    (void)arg;
    return hub.registry.count == 1;
}

/* The configuration's edge was not in the file when it was removed: removed it stays. */
START_TEST(edges_that_could_not_be_stored_at_the_start)
{
    sqlite3 *db = lock_file();
    int fd;

    json_object_put(hub.conf.edges);
    hub.conf.edges = json_of("[{\"id\":\"e1\",\"secret\":\"" SECRET_OF_E1 "\"}"
                             ",{\"id\":\"e2\",\"secret\":\"" SECRET_OF_E1 "\"}]");
    restart();
    ck_assert_uint_eq(hub.registry.count, 2);
    fd = ask("DELETE /v1/edges/e1", "");
    UNTIL(was_refused, NULL);
    UNTIL(is_quiet, NULL);
    ck_assert_uint_eq(hub.registry.count, 2); /* refused: what was to go before it is kept */
    sqlite3_close(db);
    close(fd);
    fd = ask("DELETE /v1/edges/e1", "");
    UNTIL(has_one_edge, NULL);
    UNTIL(is_quiet, NULL);
    restart();
    ck_assert_uint_eq(status_of(fd), 204);
    ck_assert_ptr_null(registry_find(&hub.registry, "e1"));
    ck_assert_ptr_nonnull(registry_find(&hub.registry, "e2"));
    hub_down();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("changes");

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, a_client_that_goes_away);
    tcase_add_loop_test(tcase, the_hub_ends_in_the_middle, 0, 5);
    tcase_add_test(tcase, past_its_end_the_line_refuses);
    tcase_add_test(tcase, edges_that_could_not_be_stored_at_the_start);
    return suite_run("hub_change", tcase);
}
