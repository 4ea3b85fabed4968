/* Events: the rings, who hears what, gaps, ids; those that come from other threads. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/events.h"
#include "base/err.h"
#include "loop/loop.h"
#include "support/suite.h"
#include "json/json.h"

enum { COMES, GOES, STREAM };
static const struct event_type types[] = {
    {"comes", false}, {"goes", false}, {"stream", true}, {NULL, false}};

#define KEPT 4

static struct loop *loop;
static struct events *events;

static void setup(void)
{
    loop = loop_new("test", 0, 0);
    events = events_new(loop, types, KEPT, 2);
}

static void teardown(void)
{
    loop_free(loop);
    events_free(events);
}

static void raise_n(unsigned type, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        events_raise(events, type, NULL);
}

/* The names of all that is new, one letter each: c g s, and - for a gap.  `last` gets the last id.
 */
static const char *news(struct event_place *place, char last[64])
{
    static char out[64];
    size_t n = 0, len;
    char *text;

    while ((text = events_next(events, place, &len))) {
        const char *name = strstr(text, "event: ") + 7;

        ck_assert_uint_eq(len, strlen(text));
        ck_assert_str_eq(text + len - 2, "\n\n");
        out[n++] = strncmp(name, "gap", 3) == 0 ? '-' : *name;
        if (last && sscanf(text, "id: %63[^\n]", last) != 1)
            ck_assert_int_eq(out[n - 1], '-');
        free(text);
    }
    out[n] = '\0';
    return out;
}

static char why[EVENTS_WHY_BYTES];

static void join(struct event_place *place, const char *names, const char *last_id)
{
    ck_assert_int_eq(events_join(events, place, names, last_id, why, sizeof(why)), 0);
}

START_TEST(from_now_on)
{
    struct event_place all, some;

    raise_n(COMES, 2);
    join(&all, NULL, NULL);
    join(&some, "goes,stream", NULL);
    ck_assert_str_eq(news(&all, NULL), "");
    raise_n(COMES, 1);
    raise_n(STREAM, 1);
    raise_n(GOES, 1);
    raise_n(STREAM, 1);
    ck_assert_str_eq(news(&all, NULL), "cg"); /* streams only by name */
    ck_assert_str_eq(news(&some, NULL), "sgs");
    ck_assert_str_eq(news(&some, NULL), "");
    events_leave(events, &all);
    events_leave(events, &some);
}
END_TEST

START_TEST(what_it_looks_like)
{
    struct json_object *data = json_object_new_object();
    struct event_place place;
    char *text, boot[9];
    unsigned number;
    size_t len;

    join(&place, NULL, NULL);
    json_object_object_add(data, "name", json_object_new_string("a\nb"));
    events_raise(events, GOES, data);
    text = events_next(events, &place, &len);
    ck_assert_ptr_nonnull(text);
    ck_assert_int_eq(sscanf(text, "id: %8[0-9a-f]-%u\nevent: goes\ndata: {", boot, &number), 2);
    ck_assert_uint_eq(number, 1);
    ck_assert_ptr_nonnull(strstr(text, "\"name\":\"a\\nb\""));
    ck_assert_ptr_nonnull(strstr(text, "\"time\":\"2"));
    free(text);
    events_leave(events, &place);
}
END_TEST

START_TEST(coming_back)
{
    struct event_place first, again;
    char id[64] = "", oldest[64] = "";

    join(&first, NULL, NULL);
    raise_n(COMES, 1);
    ck_assert_str_eq(news(&first, oldest), "c");
    raise_n(GOES, 1);
    ck_assert_str_eq(news(&first, id), "g");
    events_leave(events, &first);
    raise_n(COMES, 2);
    join(&again, NULL, id);
    ck_assert_str_eq(news(&again, NULL), "cc");
    events_leave(events, &again);
    raise_n(GOES, 1); /* behind `oldest` there are as many as are kept */
    join(&again, NULL, oldest);
    ck_assert_str_eq(news(&again, NULL), "gccg");
    events_leave(events, &again);
    raise_n(GOES, 1);
    join(&again, NULL, oldest);
    ck_assert_str_eq(news(&again, NULL), "-ccgg");
    events_leave(events, &again);
}
END_TEST

START_TEST(ids_that_are_none)
{
    static const char *const ids[] = {"", "1", "00000000-1", "zzzzzzzz-1", "99999999999999999999"};
    struct event_place place;

    raise_n(COMES, 2);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        join(&place, NULL, ids[i]);
        ck_assert_str_eq(news(&place, NULL), "-cc");
        events_leave(events, &place);
    }
}
END_TEST

START_TEST(too_slow)
{
    struct event_place place;
    struct events_stats stats;

    join(&place, NULL, NULL);
    raise_n(COMES, KEPT);
    raise_n(GOES, KEPT);
    ck_assert_str_eq(news(&place, NULL), "-gggg");
    raise_n(COMES, 1);
    ck_assert_str_eq(news(&place, NULL), "c");
    raise_n(STREAM, 3 * KEPT); /* of another ring: nothing of its own is pushed out */
    raise_n(GOES, 1);
    ck_assert_str_eq(news(&place, NULL), "g");
    events_stats(events, &stats);
    ck_assert_uint_eq(stats.gaps, 1);
    ck_assert_uint_eq(stats.raised, 2 * KEPT + 1 + 3 * KEPT + 1);
    events_leave(events, &place);
}
END_TEST

START_TEST(who_may_listen)
{
    struct event_place a, b, c;
    struct events_stats stats;

    ck_assert_int_eq(events_join(events, &a, "comes,nonsense", NULL, why, sizeof(why)),
                     -ERR_SYNTAX);
    ck_assert_str_eq(why, "types: there is no event \"nonsense\"; there are comes, goes, stream");
    ck_assert_int_eq(events_join(events, &a, "", NULL, why, sizeof(why)), -ERR_SYNTAX);
    ck_assert_int_eq(events_join(events, &a, "comes,", NULL, why, sizeof(why)), -ERR_SYNTAX);
    join(&a, NULL, NULL);
    join(&b, NULL, NULL);
    ck_assert_int_eq(events_join(events, &c, NULL, NULL, why, sizeof(why)), -ERR_LIMIT);
    ck_assert_str_eq(why, "too many listeners (limits.eventSubscribers)");
    events_stats(events, &stats);
    ck_assert_uint_eq(stats.refused, 1);
    ck_assert_uint_eq(stats.subscribers, 2);
    events_leave(events, &a);
    join(&c, NULL, NULL);
    events_leave(events, &b);
    events_leave(events, &c);
}
END_TEST

START_TEST(streams_are_wanted_while_somebody_listens)
{
    struct event_place a, b;

    ck_assert(events_wants(events, COMES));
    ck_assert(!events_wants(events, STREAM));
    join(&a, "stream", NULL);
    join(&b, "stream,goes", NULL);
    ck_assert(events_wants(events, STREAM));
    events_leave(events, &a);
    ck_assert(events_wants(events, STREAM));
    events_leave(events, &b);
    ck_assert(!events_wants(events, STREAM));
    ck_assert(!events_wants(NULL, COMES));
    events_raise(NULL, COMES, json_object_new_object());
    events_post(NULL, COMES, json_object_new_object());
}
END_TEST

static void *post_many(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < EVENTS_POSTED_MAX + 10; i++)
        events_post(events, GOES, json_object_new_object());
    return NULL;
}

/* The loop does not run meanwhile: those past the bound are lost, and counted. */
START_TEST(from_another_thread)
{
    struct events_stats stats;
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, post_many, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    loop_settle(loop);
    events_stats(events, &stats);
    ck_assert_uint_eq(stats.raised, EVENTS_POSTED_MAX);
    ck_assert_uint_eq(stats.lost, 10);
    post_many(NULL);
    loop_settle(loop);
    events_stats(events, &stats);
    ck_assert_uint_eq(stats.raised, 2 * EVENTS_POSTED_MAX);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("rings");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, from_now_on);
    tcase_add_test(tcase, what_it_looks_like);
    tcase_add_test(tcase, coming_back);
    tcase_add_test(tcase, ids_that_are_none);
    tcase_add_test(tcase, too_slow);
    tcase_add_test(tcase, who_may_listen);
    tcase_add_test(tcase, streams_are_wanted_while_somebody_listens);
    tcase_add_test(tcase, from_another_thread);
    return suite_run("admin_events", tcase);
}
