/* Updates of the routes, one after another: fates, numbers, who supersedes whom, the end.
 *
 * The test's thread is the control thread: nothing is published or answered before the loop runs,
 * so the order in the waiting line is the test's own. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "support/suite.h"
#include "tls/tls.h"
#include "traffic/route_apply.h"
#include "unit/traffic_route_fixture.h"

#define ENDED_MAX 32

static struct loop *loop;
static struct route_apply *apply;
static struct auth_key key;

/* What became of each update, in the order of answers: "set 2 applied r2 +1 ~0 -0". */
static char ended[ENDED_MAX][80];
static unsigned ended_count, expected_count, published;
static uint64_t published_revision;

static void on_publish(void *arg, struct route_set *set)
{
    ck_assert_ptr_eq(arg, &apply);
    published++;
    published_revision = set->revision;
}

static void on_done(struct route_update *u, const struct route_set *live)
{
    static const char *const kinds[] = {"set", "put", "delete"};

    ck_assert_uint_lt(ended_count, ENDED_MAX);
    snprintf(ended[ended_count++], sizeof(ended[0]), "%s%s %d %s r%d +%zu ~%zu -%zu",
             u->is_dry_run ? "dry " : "", kinds[u->kind], (int)u->number, route_fate_name(u->fate),
             (int)live->revision, u->added.count, u->changed.count, u->removed.count);
    if (ended_count == expected_count)
        loop_stop(loop);
}

/* On the apply thread, before the answer. */
static unsigned stores;
static uint64_t stored;
static bool store_fails;

static int on_store(void *arg, const struct route_set *set, char *why, size_t why_size)
{
    ck_assert_ptr_eq(arg, &apply);
    stores++;
    stored = set->revision;
    snprintf(why, why_size, "as it was told to");
    return store_fails ? -ERR_IO : 0;
}

static void start(unsigned waiting_max)
{
    struct route_set *empty = route_set_new(0);
    struct route_apply_options options = {
        .auth_key = &key,
        .routes_max = 100,
        .destinations_max = 16,
        .waiting_max = waiting_max,
        .on_publish = on_publish,
        .store = on_store,
        .arg = &apply,
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

static void finish(void)
{
    route_apply_stop(apply);
    route_apply_free(apply);
    loop_free(loop);
}

static void setup(void)
{
    ended_count = published = 0;
    start(4);
}

static struct json_object *a_route(const char *host, int port)
{
    struct json_object *route = json_object_new_object();
    struct json_object *ips = json_object_new_array(), *ports = json_object_new_array();

    json_object_array_add(ips, json_object_new_string("192.0.2.1"));
    json_object_array_add(ports, json_object_new_int(port));
    json_object_object_add(route, "hostName", json_object_new_string(host));
    json_object_object_add(route, "destinationIps", ips);
    json_object_object_add(route, "destinationPorts", ports);
    json_object_object_add(route, "publicKey", json_object_new_string(a_test_chain));
    json_object_object_add(route, "privateKey", json_object_new_string(a_test_key));
    return route;
}

static void give_text(struct route_update *u, struct json_object *body)
{
    u->text = must_strdup(json_object_to_json_string(body));
    u->text_len = strlen(u->text);
    u->on_done = on_done;
    json_object_put(body);
}

/* A set of the hosts, separated by blanks, all to one port. */
static struct route_update *a_set(const char *hosts, int port)
{
    struct route_update *u = route_update_new(ROUTE_UPDATE_SET);
    struct json_object *body = json_object_new_array();
    char copy[200], *rest = copy, *host;

    snprintf(copy, sizeof(copy), "%s", hosts);
    while ((host = strsep(&rest, " ")))
        if (*host)
            json_object_array_add(body, a_route(host, port));
    give_text(u, body);
    return u;
}

static struct route_update *an_edit(const char *host, int port)
{
    struct route_update *u = route_update_new(port ? ROUTE_UPDATE_PUT : ROUTE_UPDATE_DELETE);

    snprintf(u->host, sizeof(u->host), "%s", host);
    if (port)
        give_text(u, a_route(host, port));
    u->on_done = on_done;
    return u;
}

static struct route_update *dry(struct route_update *u)
{
    u->is_dry_run = true;
    return u;
}

static void submit(struct route_update *u)
{
    int rc = route_apply_submit(apply, u);

    ck_assert_int_eq(rc, 0);
}

/* Runs the loop until so many updates have been answered in all. */
static void run_until(unsigned count)
{
    expected_count = count;
    if (ended_count < count)
        loop_run(loop);
    ck_assert_uint_eq(ended_count, count);
}

START_TEST(revisions)
{
    submit(a_set("a.test b.test", 80));
    run_until(1);
    submit(a_set("b.test a.test", 80)); /* the same content */
    run_until(2);
    submit(a_set("b.test c.test", 81));
    run_until(3);
    submit(a_set("", 0));
    run_until(4);
    ck_assert_str_eq(ended[0], "set 1 applied r1 +2 ~0 -0");
    ck_assert_str_eq(ended[1], "set 2 unchanged r1 +0 ~0 -0");
    ck_assert_str_eq(ended[2], "set 2 applied r2 +1 ~1 -1");
    ck_assert_str_eq(ended[3], "set 3 applied r3 +0 ~0 -2");
    ck_assert_uint_eq(published, 3);
    ck_assert_uint_eq(published_revision, 3);
    ck_assert_uint_eq(route_apply_live(apply)->count, 0);
    finish();
}
END_TEST

START_TEST(a_rejected_update_changes_nothing)
{
    const struct route_apply_stats *stats;
    struct route_update *u = a_set("b.test", 80);

    submit(a_set("a.test", 80));
    run_until(1);
    free(u->text);
    u->text = must_strdup("[{},7]");
    u->text_len = 6;
    submit(u);
    run_until(2);
    ck_assert_str_eq(ended[1], "set 2 rejected r1 +0 ~0 -0");
    ck_assert_ptr_nonnull(route_set_find(route_apply_live(apply), "a.test"));
    stats = route_apply_stats(apply);
    ck_assert_str_eq(stats->last_error, "6 faults, first at \"/0/hostName\": is missing");
    ck_assert_uint_eq(stats->last_error_number, 2);
    ck_assert_uint_eq(stats->desired, 1);
    submit(a_set("a.test", 80)); /* no fault any more, though it changes nothing */
    run_until(3);
    ck_assert_ptr_null(route_apply_stats(apply)->last_error);
    ck_assert_uint_eq(stats->fates[ROUTE_REJECTED], 1);
    finish();
}
END_TEST

/* One is built, one waits, the newest wins; what a whole set replaces is told so at once. */
START_TEST(the_newest_set_wins)
{
    submit(a_set("a.test", 80));
    submit(a_set("b.test", 80));
    submit(an_edit("x.test", 80));
    ck_assert_uint_eq(route_apply_stats(apply)->desired, 3);
    submit(a_set("c.test", 80));
    ck_assert_uint_eq(ended_count, 2);
    run_until(4);
    ck_assert_str_eq(ended[0], "set 2 superseded r0 +0 ~0 -0");
    ck_assert_str_eq(ended[1], "put 3 superseded r0 +0 ~0 -0");
    ck_assert_str_eq(ended[2], "set 1 applied r1 +1 ~0 -0");
    ck_assert_str_eq(ended[3], "set 4 applied r4 +1 ~0 -1");
    ck_assert_uint_eq(route_apply_live(apply)->count, 1);
    finish();
}
END_TEST

/* Edits of several hosts are all applied, each to the outcome of the one before. */
START_TEST(no_edit_is_lost)
{
    submit(a_set("a.test", 80));
    submit(an_edit("x.test", 80));
    submit(an_edit("y.test", 80));
    submit(an_edit("x.test", 81));
    submit(an_edit("a.test", 0));
    run_until(5);
    ck_assert_str_eq(ended[1], "put 2 applied r2 +1 ~0 -0");
    ck_assert_str_eq(ended[2], "put 3 applied r3 +1 ~0 -0");
    ck_assert_str_eq(ended[3], "put 4 applied r4 +0 ~1 -0");
    ck_assert_str_eq(ended[4], "delete 5 applied r5 +0 ~0 -1");
    submit(an_edit("a.test", 0));
    run_until(6);
    ck_assert_str_eq(ended[5], "delete 6 rejected r5 +0 ~0 -0");
    ck_assert_uint_eq(route_apply_live(apply)->count, 2);
    finish();
}
END_TEST

START_TEST(dry_runs)
{
    struct route_update *bad = dry(a_set("a.test", 99999));

    submit(a_set("a.test", 80));
    submit(dry(a_set("b.test c.test", 80)));
    submit(an_edit("x.test", 80));
    submit(bad); /* supersedes the dry run only */
    submit(dry(an_edit("y.test", 80)));
    run_until(5);
    ck_assert_str_eq(ended[0], "dry set 0 superseded r0 +0 ~0 -0");
    ck_assert_str_eq(ended[1], "set 1 applied r1 +1 ~0 -0");
    ck_assert_str_eq(ended[2], "put 2 applied r2 +1 ~0 -0");
    ck_assert_str_eq(ended[3], "dry set 0 check_failed r2 +0 ~0 -0");
    ck_assert_str_eq(ended[4], "dry put 0 checked r2 +1 ~0 -0");
    ck_assert_uint_eq(published, 2);
    ck_assert_ptr_null(route_apply_stats(apply)->last_error);
    finish();
}
END_TEST

START_TEST(the_line_is_bounded)
{
    struct route_update *more = an_edit("e.test", 80);
    int rc;

    submit(a_set("a.test", 80)); /* is built */
    submit(an_edit("b.test", 80));
    submit(an_edit("c.test", 80));
    submit(an_edit("d.test", 80));
    submit(an_edit("f.test", 80));
    rc = route_apply_submit(apply, more);
    ck_assert_int_eq(rc, -ERR_LIMIT);
    ck_assert_uint_eq(route_apply_stats(apply)->refused, 1);
    ck_assert_uint_eq(route_apply_stats(apply)->waiting, 4);
    route_update_free(more);
    submit(a_set("z.test", 80)); /* a whole set clears the line and finds room */
    run_until(6);
    ck_assert_str_eq(ended[5], "set 6 applied r6 +1 ~0 -1");
    finish();
}
END_TEST

static unsigned dropped;

static bool drop(struct route_update *u, const struct route_set *live)
{
    ck_assert_uint_eq(u->seen_revision, 0);
    ck_assert_uint_eq(live->revision, 1);
    dropped++;
    return false;
}

/* A precondition is looked at when the turn of an update comes, not when it is sent. */
START_TEST(a_sender_may_drop_it)
{
    struct route_update *u = an_edit("x.test", 80);

    u->on_start = drop;
    submit(a_set("a.test", 80));
    submit(u);
    submit(an_edit("y.test", 80)); /* has its number already: a gap stays */
    run_until(2);
    ck_assert_uint_eq(dropped, 1);
    ck_assert_str_eq(ended[1], "put 3 applied r3 +1 ~0 -0");
    finish();
}
END_TEST

/* Ended while one is built and others wait: each is answered once, nothing is published. */
START_TEST(stop_answers_all)
{
    struct route_update *late = a_set("c.test", 80);
    int rc;

    submit(a_set("a.test", 80));
    submit(an_edit("x.test", 80));
    submit(dry(a_set("b.test", 80)));
    route_apply_stop(apply);
    ck_assert_uint_eq(ended_count, 3);
    ck_assert_str_eq(ended[0], "set 1 stopped r0 +1 ~0 -0");
    ck_assert_str_eq(ended[1], "put 2 stopped r0 +0 ~0 -0");
    ck_assert_str_eq(ended[2], "dry set 0 stopped r0 +0 ~0 -0");
    rc = route_apply_submit(apply, late);
    ck_assert_int_eq(rc, -ERR_LIMIT);
    route_update_free(late);
    finish();
    ck_assert_uint_eq(ended_count, 3);
    ck_assert_uint_eq(published, 0);
}
END_TEST

/* What is no JSON at all is rejected with the place. */
START_TEST(no_json)
{
    struct route_update *u = a_set("", 0);

    u->text[0] = '{';
    submit(u);
    run_until(1);
    ck_assert_str_eq(ended[0], "set 1 rejected r0 +0 ~0 -0");
    ck_assert_ptr_nonnull(strstr(route_apply_stats(apply)->last_error, "1 fault, first at "));
    finish();
}
END_TEST

static void expect_wiped(struct route_update *u, const struct route_set *live)
{
    ck_assert_uint_gt(u->text_len, strlen(a_test_key));
    for (size_t i = 0; i < u->text_len; i++)
        ck_assert_int_eq(u->text[i], 0);
    on_done(u, live);
}

/* The text is wiped as soon as it has been read. */
START_TEST(the_text_is_wiped)
{
    struct route_update *u = a_set("a.test", 80);

    u->on_done = expect_wiped;
    submit(u);
    run_until(1);
    finish();
}
END_TEST

/* --- readings -------------------------------------------------------------------------------- */

static char *emit_revision(const struct route_set *set, size_t *len, char etag[ROUTE_ETAG_MAX])
{
    char *text = must_printf("revision %d", (int)set->revision);

    memcpy(etag, set->etag, ROUTE_ETAG_MAX);
    *len = strlen(text);
    return text;
}

static void on_read(struct route_reading *r)
{
    ck_assert(!r->text || strcmp(r->etag, r->set->etag) == 0);
    ck_assert_uint_lt(ended_count, ENDED_MAX);
    snprintf(ended[ended_count++], sizeof(ended[0]), "%s", r->text ? r->text : "stopped");
    if (ended_count == expected_count)
        loop_stop(loop);
}

static void read_revision(void)
{
    struct route_reading *r = must_alloc(sizeof(*r));

    r->emit = emit_revision;
    r->on_done = on_read;
    route_apply_read(apply, r);
}

/* What was live when it was asked for, whatever comes meanwhile. */
START_TEST(readings)
{
    read_revision();
    submit(a_set("a.test", 80));
    read_revision();
    run_until(3);
    unsigned of_none = 0;
    for (unsigned i = 0; i < 3; i++)
        of_none += strcmp(ended[i], "revision 0") == 0;
    ck_assert_uint_eq(of_none, 2);
    read_revision();
    run_until(4);
    ck_assert_str_eq(ended[3], "revision 1");
    finish();
}
END_TEST

START_TEST(readings_at_the_end)
{
    for (int i = 0; i < 5; i++)
        read_revision();
    route_apply_stop(apply);
    ck_assert_uint_eq(ended_count, 5);
    for (int i = 0; i < 5; i++)
        ck_assert_str_eq(ended[i], "stopped");
    finish();
}
END_TEST

/* --- the state file ----------------------------------------------------------------------------
 */

/* Answered after it was stored, whether or not that worked; only applied ones are stored. */
START_TEST(stored_before_it_is_answered)
{
    submit(a_set("a.test", 80));
    run_until(1);
    ck_assert_uint_eq(stored, 1);
    ck_assert_uint_eq(route_apply_stats(apply)->stored, 1);
    submit(a_set("a.test", 80));
    submit(dry(an_edit("b.test", 80)));
    run_until(3);
    ck_assert_uint_eq(stores, 1);
    store_fails = true;
    submit(an_edit("b.test", 80));
    run_until(4);
    ck_assert_str_eq(ended[3], "put 3 applied r3 +1 ~0 -0");
    ck_assert_uint_eq(stores, 2);
    ck_assert_uint_eq(route_apply_stats(apply)->stored, 1);
    ck_assert_uint_eq(route_apply_stats(apply)->store_failures, 1);
    store_fails = false;
    finish();
}
END_TEST

/* The disk took nothing: who sends the same set again, told or not, has it stored. */
START_TEST(stored_when_it_is_sent_again)
{
    stores = 0;
    store_fails = true;
    submit(a_set("a.test", 80));
    submit(a_set("a.test", 80));
    run_until(2);
    ck_assert_str_eq(ended[1], "set 2 unchanged r1 +0 ~0 -0");
    ck_assert_uint_eq(stores, 2);
    ck_assert_uint_eq(route_apply_stats(apply)->store_failures, 2);
    ck_assert_uint_eq(route_apply_stats(apply)->stored, 0);
    store_fails = false;
    submit(a_set("a.test", 80));
    run_until(3);
    ck_assert_uint_eq(stores, 3);
    ck_assert_uint_eq(stored, 1);
    ck_assert_uint_eq(route_apply_stats(apply)->stored, 1);
    submit(an_edit("a.test", 80)); /* the same: now there is nothing to do */
    run_until(4);
    ck_assert_uint_eq(stores, 3);
    ck_assert_uint_eq(route_apply_stats(apply)->sets, 3);
    finish();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("route_apply");

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, revisions);
    tcase_add_test(tcase, a_rejected_update_changes_nothing);
    tcase_add_test(tcase, the_newest_set_wins);
    tcase_add_test(tcase, no_edit_is_lost);
    tcase_add_test(tcase, dry_runs);
    tcase_add_test(tcase, the_line_is_bounded);
    tcase_add_test(tcase, a_sender_may_drop_it);
    tcase_add_test(tcase, stop_answers_all);
    tcase_add_test(tcase, readings);
    tcase_add_test(tcase, readings_at_the_end);
    tcase_add_test(tcase, stored_when_it_is_sent_again);
    tcase_add_test(tcase, stored_before_it_is_answered);
    tcase_add_test(tcase, no_json);
    tcase_add_test(tcase, the_text_is_wiped);
    return suite_run("traffic_route_apply", tcase);
}
