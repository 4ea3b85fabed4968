/* routesFile while it changes: taken when it is another one, once; left alone when it is the same,
 * away or at fault. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "support/suite.h"
#include "tls/tls.h"
#include "traffic/route_watch.h"
#include "unit/traffic_route_fixture.h"

#define LOOK_MS   1
#define BYTES_MAX 100000

static struct loop *loop;
static struct route_apply *apply;
static struct route_watch watch;
static struct auth_key key;
static char folder[64], path[96];
static unsigned rejected;

static void on_publish(void *arg, struct route_set *set)
{
    (void)arg;
    (void)set;
    loop_stop(loop);
}

static void on_rejected(void *arg, uint64_t number, size_t faults)
{
    (void)arg;
    (void)number;
    (void)faults;
    rejected++;
    loop_stop(loop);
}

static void on_late(struct deadline *d)
{
    (void)d;
    loop_stop(loop);
}

/* Runs the loop for so long, or until something is published or rejected. */
static void run(uint64_t ms)
{
    struct deadline late = {.loop = NULL};

    deadline_init(&late, loop, on_late);
    deadline_set(&late, ms);
    loop_run(loop);
    deadline_off(&late);
}

static void begin(unsigned waiting_max)
{
    struct route_set *empty = route_set_new(0);
    struct route_apply_options options = {
        .auth_key = &key,
        .routes_max = 100,
        .destinations_max = 16,
        .waiting_max = waiting_max,
        .on_publish = on_publish,
        .on_rejected = on_rejected,
    };

    log_set_level(LOG_ERR);
    auth_key_init(&key);
    options.loop = loop = loop_new("control", 0, 16);
    route_set_seal(empty);
    route_set_number(empty, 0);
    int rc = route_apply_new(&apply, &options, empty);
    ck_assert_int_eq(rc, 0);
    route_set_unref(empty);
}

static void setup(void)
{
    rejected = 0;
    snprintf(folder, sizeof(folder), "/tmp/penstock-watch-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/routes.json", folder);
    begin(4);
}

static void teardown(void)
{
    char command[128];

    route_apply_stop(apply);
    route_watch_stop(&watch);
    route_apply_free(apply);
    loop_free(loop);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static void start(void)
{
    route_watch_start(&watch, loop, apply, path, BYTES_MAX, LOOK_MS);
}

static void write_text(const char *at, const char *text)
{
    FILE *out = fopen(at, "we");

    ck_assert_ptr_nonnull(out);
    fputs(text, out);
    fclose(out);
}

static char ca_file[96]; /* of the routes that are written; "": none */

/* A set of one route; the caller's. */
static char *text_of_route(const char *host)
{
    struct json_object *route = json_object_new_object(), *list = json_object_new_array();
    char *text;

    json_object_object_add(route, "hostName", json_object_new_string(host));
    json_object_object_add(route, "destinationIp", json_object_new_string("192.0.2.1"));
    json_object_object_add(route, "destinationPort", json_object_new_int(80));
    json_object_object_add(route, "publicKey", json_object_new_string(a_test_chain));
    json_object_object_add(route, "privateKey", json_object_new_string(a_test_key));
    if (ca_file[0]) {
        struct json_object *tls = json_object_new_object();

        json_object_object_add(tls, "caFile", json_object_new_string(ca_file));
        json_object_object_add(route, "upstreamTls", tls);
    }
    json_object_array_add(list, route);
    text = must_strdup(json_object_to_json_string(list));
    json_object_put(list);
    return text;
}

static void write_route(const char *at, const char *host)
{
    char *text = text_of_route(host);

    write_text(at, text);
    free(text);
}

static bool has(const char *host)
{
    return route_set_find(route_apply_live(apply), host) != NULL;
}

/* Looks go on, and nothing is submitted. */
static void check_quiet(void)
{
    uint64_t before = watch.submitted;

    run(30 * LOOK_MS);
    ck_assert_uint_eq(watch.submitted, before);
}

START_TEST(the_first_look_takes_it_and_the_others_do_not)
{
    write_route(path, "a.test");
    start();
    run(10000);
    ck_assert(has("a.test"));
    check_quiet();
    ck_assert_uint_eq(watch.submitted, 1);
}
END_TEST

START_TEST(a_file_that_is_written_anew)
{
    write_route(path, "a.test");
    start();
    run(10000);
    write_route(path, "b.a.test");
    run(10000);
    ck_assert(has("b.a.test") && !has("a.test"));
    check_quiet();
}
END_TEST

START_TEST(a_file_that_is_moved_into_its_place)
{
    char other[128];

    write_route(path, "a.test");
    start();
    run(10000);
    snprintf(other, sizeof(other), "%s/other", folder);
    write_route(other, "c.a.test");
    ck_assert_int_eq(rename(other, path), 0);
    run(10000);
    ck_assert(has("c.a.test"));
}
END_TEST

/* routes.json -> ..data/routes.json, ..data -> ..1, and a new ..data moved over the old one. */
START_TEST(a_volume_of_kubernetes)
{
    char name[160], data[128], next[128];

    for (int i = 1; i <= 2; i++) {
        snprintf(name, sizeof(name), "%s/..%d", folder, i);
        ck_assert_int_eq(mkdir(name, 0700), 0);
        snprintf(name, sizeof(name), "%s/..%d/routes.json", folder, i);
        write_route(name, i == 1 ? "a.test" : "b.a.test");
    }
    snprintf(data, sizeof(data), "%s/..data", folder);
    snprintf(next, sizeof(next), "%s/..next", folder);
    ck_assert_int_eq(symlink("..1", data), 0);
    ck_assert_int_eq(symlink("..data/routes.json", path), 0);
    start();
    run(10000);
    ck_assert(has("a.test"));
    ck_assert_int_eq(symlink("..2", next), 0);
    ck_assert_int_eq(rename(next, data), 0);
    run(10000);
    ck_assert(has("b.a.test") && !has("a.test"));
    check_quiet();
}
END_TEST

START_TEST(a_file_at_fault_changes_nothing_and_is_tried_once)
{
    write_route(path, "a.test");
    start();
    run(10000);
    write_text(path, "[{");
    run(10000);
    ck_assert_uint_eq(rejected, 1);
    ck_assert(has("a.test"));
    check_quiet();
    ck_assert_uint_eq(rejected, 1);
    write_route(path, "b.a.test");
    run(10000);
    ck_assert(has("b.a.test"));
}
END_TEST

static void pass_over(struct route_update *u, const struct route_set *live)
{
    (void)u;
    (void)live;
}

/* The cause lies elsewhere, and may end without a change of the file. */
START_TEST(a_file_that_waits_for_another_one)
{
    snprintf(ca_file, sizeof(ca_file), "%s/ca.pem", folder);
    write_route(path, "a.test");
    start();
    for (unsigned tries = 1; tries <= 3; tries++) {
        run(10000);
        ck_assert_uint_eq(rejected, tries);
        ck_assert_uint_eq(watch.submitted, tries);
    }
    run(10000); /* the fourth came to nothing: 2, 4, 8, 16 looks */
    ck_assert_uint_eq(watch.pause, 16);
    write_text(ca_file, a_test_chain);
    run(10000);
    ck_assert(has("a.test"));
    check_quiet();
    ca_file[0] = '\0';
}
END_TEST

/* Not over what somebody has sent meanwhile. */
START_TEST(the_newest_update_wins_over_a_file_that_waits)
{
    struct route_update *u;

    snprintf(ca_file, sizeof(ca_file), "%s/ca.pem", folder);
    write_route(path, "a.test");
    start();
    run(10000);
    ck_assert_uint_eq(rejected, 1);
    ca_file[0] = '\0';
    u = route_update_new(ROUTE_UPDATE_SET);
    u->text = text_of_route("b.a.test");
    u->text_len = strlen(u->text);
    u->on_done = pass_over;
    int rc = route_apply_submit(apply, u);
    ck_assert_int_eq(rc, 0);
    while (!has("b.a.test"))
        run(10000);
    snprintf(ca_file, sizeof(ca_file), "%s/ca.pem", folder);
    write_text(ca_file, a_test_chain);
    ca_file[0] = '\0';
    check_quiet();
    ck_assert(has("b.a.test"));
}
END_TEST

START_TEST(a_file_that_goes_and_comes_back)
{
    start();
    check_quiet();
    write_route(path, "a.test");
    run(10000);
    ck_assert(has("a.test"));
    unlink(path);
    check_quiet();
    ck_assert(has("a.test"));
    write_route(path, "b.a.test");
    run(10000);
    ck_assert(has("b.a.test"));
}
END_TEST

START_TEST(what_cannot_be_read_is_left_alone)
{
    char *much = must_alloc(BYTES_MAX + 2);

    ck_assert_int_eq(mkfifo(path, 0600), 0);
    start();
    check_quiet();
    unlink(path);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    check_quiet();
    rmdir(path);
    memset(much, ' ', BYTES_MAX + 1);
    write_text(path, much);
    free(much);
    check_quiet();
    ck_assert_uint_eq(watch.submitted, 0);
    write_route(path, "a.test");
    run(10000);
    ck_assert(has("a.test"));
}
END_TEST

/* The line of updates is full: the file is taken as soon as there is room. */
START_TEST(a_full_line_is_waited_for)
{
    struct route_update *u;

    write_route(path, "a.test");
    for (int i = 0; i < 5; i++) { /* one is built, four wait */
        u = route_update_new(ROUTE_UPDATE_DELETE);
        snprintf(u->host, sizeof(u->host), "none.test");
        u->on_done = pass_over;
        int rc = route_apply_submit(apply, u);
        ck_assert_int_eq(rc, 0);
    }
    start();
    while (!has("a.test"))
        run(10000);
    ck_assert_uint_eq(watch.submitted, 1);
}
END_TEST

START_TEST(nothing_to_watch)
{
    route_watch_start(&watch, loop, apply, "", BYTES_MAX, LOOK_MS);
    check_quiet();
    route_watch_stop(&watch);
    write_route(path, "a.test");
    route_watch_start(&watch, loop, apply, path, BYTES_MAX, 0);
    check_quiet();
    ck_assert(!has("a.test"));
}
END_TEST

int main(void)
{
    TCase *c = tcase_create("watch");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, the_first_look_takes_it_and_the_others_do_not);
    tcase_add_test(c, a_file_that_is_written_anew);
    tcase_add_test(c, a_file_that_is_moved_into_its_place);
    tcase_add_test(c, a_volume_of_kubernetes);
    tcase_add_test(c, a_file_at_fault_changes_nothing_and_is_tried_once);
    tcase_add_test(c, a_file_that_waits_for_another_one);
    tcase_add_test(c, the_newest_update_wins_over_a_file_that_waits);
    tcase_add_test(c, a_file_that_goes_and_comes_back);
    tcase_add_test(c, what_cannot_be_read_is_left_alone);
    tcase_add_test(c, a_full_line_is_waited_for);
    tcase_add_test(c, nothing_to_watch);
    return suite_run("traffic_route_watch", c);
}
