/* Tests of tunnel/session: the hub's book of sessions. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/suite.h"
#include "tunnel/session.h"

struct ended {
    unsigned count;
    enum goodbye_code code;
    uint64_t generation;
    unsigned lanes; /* that it still had, so that they can be told */
    unsigned expired;
};

static void on_end(void *arg, struct session *s, enum goodbye_code code)
{
    struct ended *e = arg;

    *e = (struct ended){e->count + 1, code, s->generation, s->lane_count, e->expired};
}

static void on_expired(void *arg, struct session *s)
{
    struct ended *e = arg;

    e->expired++;
    e->generation = s->generation;
    ck_assert_uint_eq(s->lane_count, 0);
}

static const struct session_events events = {on_end, on_expired};

static struct hello hello_of(const char *edge, const char *instance, uint32_t lane)
{
    struct hello h = {.version = 1, .lane = lane};

    snprintf(h.edge_id, sizeof(h.edge_id), "%s", edge);
    snprintf(h.instance, sizeof(h.instance), "%s", instance);
    return h;
}

static uint8_t next_id;

static struct session *begin(struct session_book *b, const char *edge, const char *instance,
                             unsigned max_instances, void *link)
{
    struct hello h = hello_of(edge, instance, 0);
    uint8_t id[SESSION_BYTES] = {++next_id};
    enum answer_code code = ANSWER_OVERLOADED;
    struct session *s = session_begin(b, &h, max_instances, id, link, &code);

    ck_assert_ptr_nonnull(s);
    ck_assert_int_eq(code, ANSWER_OK);
    ck_assert_mem_eq(s->id, id, sizeof(id));
    return s;
}

static struct session *join(struct session_book *b, const struct session *s, uint32_t lane,
                            unsigned max_lanes, void *link, uint64_t now_ms, enum answer_code *code)
{
    struct hello h = hello_of(s->edge_id, s->instance, lane);

    h.has_session = h.is_session_formed = true;
    memcpy(h.session, s->id, sizeof(h.session));
    return session_join(b, &h, max_lanes, link, now_ms, code);
}

START_TEST(a_hello_without_session_replaces_the_same_instance)
{
    struct ended ended = {0};
    struct session_book b;
    struct session *first, *second;
    int links[2];

    session_book_init(&b, &events, &ended);
    first = begin(&b, "e", "host", 1, &links[0]);
    ck_assert_uint_eq(ended.count, 0);
    ck_assert_ptr_eq(session_first_link(first), &links[0]);
    second = begin(&b, "e", "host", 1, &links[1]);
    ck_assert_uint_eq(ended.count, 1);
    ck_assert_int_eq(ended.code, GOODBYE_REPLACED);
    ck_assert_uint_eq(ended.lanes, 1);
    ck_assert_uint_gt(second->generation, ended.generation);
    ck_assert_uint_eq(b.count, 1);
    session_book_fini(&b);
    ck_assert_uint_eq(ended.count, 1); /* not called by fini */
}
END_TEST

START_TEST(one_instance_too_many_replaces_the_oldest)
{
    struct ended ended = {0};
    struct session_book b;
    uint64_t oldest, next;
    int link;

    session_book_init(&b, &events, &ended);
    begin(&b, "other", "z", 3, &link);
    oldest = begin(&b, "e", "a", 3, &link)->generation;
    next = begin(&b, "e", "b", 3, &link)->generation;
    begin(&b, "e", "c", 3, &link);
    ck_assert_uint_eq(ended.count, 0);
    begin(&b, "e", "d", 3, &link);
    ck_assert_uint_eq(ended.count, 1);
    ck_assert_uint_eq(ended.generation, oldest);
    begin(&b, "e", "c", 3, &link); /* its own place: nobody else has to go */
    ck_assert_uint_eq(ended.count, 2);
    ck_assert_uint_ne(ended.generation, next);
    begin(&b, "e", "x", 1, &link); /* maxInstances was lowered meanwhile */
    ck_assert_uint_eq(ended.count, 5);
    ck_assert_uint_eq(b.count, 2); /* that one and the other edge's */
    begin(&b, "e", "y", 0, &link); /* 0 is taken as 1 */
    ck_assert_uint_eq(b.count, 2);
    session_book_fini(&b);
}
END_TEST

START_TEST(a_new_session_begins_with_lane_0)
{
    struct ended ended = {0};
    struct session_book b;
    struct hello h = hello_of("e", "host", 1);
    uint8_t id[SESSION_BYTES] = {1};
    enum answer_code code = ANSWER_OK;
    int link;

    session_book_init(&b, &events, &ended);
    begin(&b, "e", "host", 1, &link);
    ck_assert_ptr_null(session_begin(&b, &h, 1, id, &link, &code));
    ck_assert_int_eq(code, ANSWER_BAD_REQUEST);
    ck_assert_uint_eq(ended.count, 0); /* and nobody was replaced by it */
    ck_assert_uint_eq(b.count, 1);
    session_book_fini(&b);
}
END_TEST

START_TEST(a_lane_joins_its_session_only)
{
    struct ended ended = {0};
    struct session_book b;
    struct session *s;
    struct hello h;
    enum answer_code code;
    int link, more;

    session_book_init(&b, &events, &ended);
    s = begin(&b, "e", "host", 2, &link);
    begin(&b, "e", "elsewhere", 2, &link);
    ck_assert_ptr_eq(join(&b, s, 1, 16, &more, 1000, &code), s);
    ck_assert_int_eq(code, ANSWER_OK);
    h = hello_of("e", "elsewhere", 2); /* the session of another instance */
    h.has_session = h.is_session_formed = true;
    memcpy(h.session, s->id, sizeof(h.session));
    ck_assert_ptr_null(session_join(&b, &h, 16, &more, 1000, &code));
    ck_assert_int_eq(code, ANSWER_UNKNOWN_SESSION);
    h = hello_of("f", "host", 2); /* of another edge */
    h.has_session = h.is_session_formed = true;
    memcpy(h.session, s->id, sizeof(h.session));
    ck_assert_ptr_null(session_join(&b, &h, 16, &more, 1000, &code));
    ck_assert_int_eq(code, ANSWER_UNKNOWN_SESSION);
    h = hello_of("e", "host", 2);
    h.has_session = h.is_session_formed = true; /* of nobody */
    ck_assert_ptr_null(session_join(&b, &h, 16, &more, 1000, &code));
    ck_assert_int_eq(code, ANSWER_UNKNOWN_SESSION);
    memcpy(h.session, s->id, sizeof(h.session));
    h.is_session_formed = false; /* what the line said was no session at all */
    ck_assert_ptr_null(session_join(&b, &h, 16, &more, 1000, &code));
    ck_assert_int_eq(code, ANSWER_UNKNOWN_SESSION);
    session_book_fini(&b);
}
END_TEST

START_TEST(a_lane_number_is_used_once)
{
    struct ended ended = {0};
    struct session_book b;
    struct session *s;
    enum answer_code code;
    int links[4];

    session_book_init(&b, &events, &ended);
    s = begin(&b, "e", "host", 1, &links[0]);
    ck_assert_ptr_null(join(&b, s, 0, 16, &links[1], 1000, &code));
    ck_assert_int_eq(code, ANSWER_LANE_IN_USE);
    ck_assert_ptr_eq(join(&b, s, 65535, 16, &links[1], 1000, &code), s);
    ck_assert_ptr_eq(join(&b, s, 64, 16, &links[2], 1000, &code), s);
    session_lane_lost(s, &links[1], 1000);
    ck_assert_ptr_null(
        join(&b, s, 65535, 16, &links[3], 1000, &code)); /* not even when it is gone */
    ck_assert_int_eq(code, ANSWER_LANE_IN_USE);
    ck_assert_uint_eq(s->lane_count, 2);
    ck_assert_ptr_eq(session_first_link(s), &links[0]);
    session_lane_lost(s, &links[0], 1000);
    ck_assert_ptr_eq(join(&b, s, 63, 16, &links[3], 1000, &code), s);
    ck_assert_ptr_eq(session_first_link(s), &links[3]); /* the lowest, not the first to join */
    session_lane_lost(s, &links[0], 1000);              /* unknown by now: fine */
    ck_assert_uint_eq(s->lane_count, 2);
    session_book_fini(&b);
}
END_TEST

START_TEST(draining_lanes_do_not_count_against_the_cap)
{
    struct ended ended = {0};
    struct session_book b;
    struct session *s;
    enum answer_code code;
    int links[6];

    session_book_init(&b, &events, &ended);
    s = begin(&b, "e", "host", 1, &links[0]);
    ck_assert_ptr_nonnull(join(&b, s, 1, 2, &links[1], 1000, &code));
    ck_assert_ptr_null(join(&b, s, 2, 2, &links[2], 1000, &code));
    ck_assert_int_eq(code, ANSWER_TOO_MANY_LANES);
    session_lane_draining(s, &links[0]);
    session_lane_draining(s, &links[0]); /* said twice is counted once */
    ck_assert_ptr_nonnull(
        join(&b, s, 2, 2, &links[2], 1000, &code)); /* the number was not used up */
    ck_assert_ptr_null(join(&b, s, 3, 2, &links[3], 1000, &code));
    session_lane_lost(s, &links[0], 1000);
    ck_assert_uint_eq(s->draining_count, 0);
    ck_assert_ptr_null(join(&b, s, 3, 2, &links[3], 1000, &code));
    session_lane_lost(s, &links[1], 1000);
    ck_assert_ptr_nonnull(join(&b, s, 3, 2, &links[3], 1000, &code));
    session_book_fini(&b);
}
END_TEST

/* An edge that says DRAIN on each of its lanes and dials the next must not gather thousands. */
START_TEST(draining_lanes_have_a_bound_too)
{
    enum { MAX_LANES = 2, ALL = SESSION_LANES_FACTOR * MAX_LANES };
    struct ended ended = {0};
    struct session_book b;
    struct session *s;
    enum answer_code code;
    int links[ALL + 1];

    session_book_init(&b, &events, &ended);
    s = begin(&b, "e", "host", 1, &links[0]);
    session_lane_draining(s, &links[0]);
    for (uint32_t i = 1; i < ALL; i++) {
        ck_assert_ptr_nonnull(join(&b, s, i, MAX_LANES, &links[i], 1000, &code));
        session_lane_draining(s, &links[i]);
    }
    ck_assert_ptr_null(join(&b, s, ALL, MAX_LANES, &links[ALL], 1000, &code));
    ck_assert_int_eq(code, ANSWER_TOO_MANY_LANES);
    session_lane_lost(s, &links[3], 1000);
    ck_assert_ptr_nonnull(join(&b, s, ALL, MAX_LANES, &links[ALL], 1000, &code));
    session_book_fini(&b);
}
END_TEST

START_TEST(a_session_without_a_lane_ends_after_30_s)
{
    struct ended ended = {0};
    struct session_book b;
    struct session *s, *other;
    enum answer_code code;
    int links[4];

    session_book_init(&b, &events, &ended);
    ck_assert_uint_eq(session_expire(&b, 1000), UINT64_MAX);
    s = begin(&b, "e", "host", 1, &links[0]);
    other = begin(&b, "f", "host", 1, &links[1]);
    ck_assert_uint_eq(session_expire(&b, 100000), UINT64_MAX);
    session_lane_lost(s, &links[0], 100000);
    ck_assert_ptr_null(session_first_link(s));
    ck_assert_uint_eq(session_expire(&b, 100000), 130000);
    ck_assert_ptr_eq(join(&b, s, 1, 16, &links[2], 129999, &code), s); /* just in time */
    ck_assert_uint_eq(session_expire(&b, 200000), UINT64_MAX);
    session_lane_lost(s, &links[2], 200000);
    session_lane_lost(other, &links[1], 210000);
    ck_assert_uint_eq(session_expire(&b, 229999), 230000);
    ck_assert_ptr_null(join(&b, s, 2, 16, &links[3], 230000, &code)); /* though not cleared yet */
    ck_assert_int_eq(code, ANSWER_UNKNOWN_SESSION);
    ck_assert_uint_eq(ended.expired, 0);
    ck_assert_uint_eq(session_expire(&b, 230000), 240000);
    ck_assert_uint_eq(ended.expired, 1);
    ck_assert_uint_eq(session_expire(&b, 250000), UINT64_MAX);
    ck_assert_uint_eq(ended.expired, 2);
    ck_assert_uint_eq(ended.count, 0); /* nobody was told a reason that is none */
    ck_assert_uint_eq(b.count, 0);
    session_book_fini(&b);
}
END_TEST

START_TEST(an_owner_may_end_a_session)
{
    struct ended ended = {0};
    struct session_book b;
    struct session *s;
    enum answer_code code;
    int links[2];

    session_book_init(&b, &events, &ended);
    s = begin(&b, "e", "host", 1, &links[0]);
    ck_assert_ptr_nonnull(join(&b, s, 1, 16, &links[1], 1000, &code));
    session_end(&b, s, GOODBYE_KICKED);
    ck_assert_uint_eq(ended.count, 1);
    ck_assert_int_eq(ended.code, GOODBYE_KICKED);
    ck_assert_uint_eq(ended.lanes, 2);
    ck_assert_uint_eq(b.count, 0);
    session_book_fini(&b);
}
END_TEST

START_TEST(the_sessions_of_an_edge_are_found_oldest_first)
{
    enum { EDGES = 1000 }; /* so many that some share a bucket */
    struct ended ended = {0};
    struct session_book b;
    struct session *s;
    char name[16];
    int link;

    session_book_init(&b, &events, &ended);
    ck_assert_ptr_null(session_of_edge(&b, "e0", NULL));
    for (unsigned i = 0; i < 2 * EDGES; i++) {
        snprintf(name, sizeof(name), "e%u", i % EDGES);
        begin(&b, name, i < EDGES ? "a" : "b", 2, &link);
    }
    ck_assert_uint_eq(b.count, 2 * EDGES);
    for (unsigned i = 0; i < EDGES; i++) {
        snprintf(name, sizeof(name), "e%u", i);
        s = session_of_edge(&b, name, NULL);
        ck_assert_ptr_nonnull(s);
        ck_assert_uint_eq(s->generation, i + 1);
        s = session_of_edge(&b, name, s);
        ck_assert_ptr_nonnull(s);
        ck_assert_uint_eq(s->generation, EDGES + i + 1);
        ck_assert_ptr_null(session_of_edge(&b, name, s));
    }
    session_end(&b, session_of_edge(&b, "e7", NULL), GOODBYE_KICKED);
    s = session_of_edge(&b, "e7", NULL);
    ck_assert_str_eq(s->instance, "b");
    ck_assert_ptr_null(session_of_edge(&b, "e7", s));
    session_book_fini(&b);
}
END_TEST

START_TEST(an_ended_session_does_not_expire_as_well)
{
    struct ended ended = {0};
    struct session_book b;
    struct session *s;
    int link;

    session_book_init(&b, &events, &ended);
    s = begin(&b, "e", "host", 1, &link);
    session_lane_lost(s, &link, 1000);
    session_end(&b, s, GOODBYE_KICKED);
    ck_assert_int_eq(ended.code, GOODBYE_KICKED);
    ck_assert_uint_eq(session_expire(&b, 1000000), UINT64_MAX);
    ck_assert_uint_eq(ended.expired, 0);
    session_book_fini(&b);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, a_hello_without_session_replaces_the_same_instance);
    tcase_add_test(tc, one_instance_too_many_replaces_the_oldest);
    tcase_add_test(tc, a_new_session_begins_with_lane_0);
    tcase_add_test(tc, a_lane_joins_its_session_only);
    tcase_add_test(tc, a_lane_number_is_used_once);
    tcase_add_test(tc, draining_lanes_do_not_count_against_the_cap);
    tcase_add_test(tc, draining_lanes_have_a_bound_too);
    tcase_add_test(tc, a_session_without_a_lane_ends_after_30_s);
    tcase_add_test(tc, an_owner_may_end_a_session);
    tcase_add_test(tc, the_sessions_of_an_edge_are_found_oldest_first);
    tcase_add_test(tc, an_ended_session_does_not_expire_as_well);
    return suite_run("session", tc);
}
