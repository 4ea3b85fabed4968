/* test_edge_lane - edge/edge_lane.h: how many lanes a worker keeps, how a CONFIG waits, and why a
 * lane ended. */
#include "base/err.h"
#include "edge_worker_fixture.h"

START_TEST(lanes_are_not_gathered_without_end)
{
    stand_up(PATIENCE_MS);
    for (unsigned i = 0; i < EDGE_LANES_MAX + 4; i++) {
        dial(0);
        UNTIL(lanes_are_up, i + 1);
    }
    UNTIL(lanes_are_dead, 4);
    for (unsigned i = 0; i < 4; i++) /* the oldest */
        ck_assert(t.lanes[i].is_over);
    stand_down();
}
END_TEST

static bool configs_are_here(unsigned n)
{
    return t.config_count == n;
}

/* Only the newest of many waits for the control thread. */
START_TEST(one_config_is_under_way_and_one_waits)
{
    struct link *link;

    stand_up(PATIENCE_MS);
    dial(0);
    UNTIL(lanes_are_up, 1);
    link = t.lanes[0].link;
    for (unsigned revision = 2; revision < 12; revision++) {
        struct wire_config config = {.revision = revision};
        uint64_t sent = link_lane(link)->stats.records_out;
        char *json = wire_config_emit(&config, NULL);

        link_send_config(link, json);
        free(json);
        while (link_lane(link)->stats.records_out == sent)
            happens_within(configs_are_here, LANES_MAX, 1);
    }
    UNTIL(configs_are_here, 1);
    link_send_drain(link, 3600); /* has come behind all of them */
    UNTIL(lanes_drain, 1);
    ck_assert_uint_eq(t.config_count, 1);
    ck_assert_uint_eq(t.configs[0]->config.revision, 2);
    edge_worker_config_taken(t.configs[0]->worker, t.configs[0]->serial);
    UNTIL(configs_are_here, 2);
    ck_assert_uint_eq(t.configs[1]->config.revision, 11);
    edge_worker_config_taken(t.configs[1]->worker, t.configs[1]->serial);
    edge_worker_config_taken(&t.workers[0], 12345); /* of a lane that is gone */
    stand_down();
}
END_TEST

START_TEST(a_hub_without_the_secret_is_no_hub)
{
    stand_up(PATIENCE_MS);
    t.wrong_secret = "3210123456789012345678901234567890123456789";
    dial(0);
    UNTIL(lanes_are_dead, 1);
    ck_assert_uint_eq(t.ups, 0);
    ck_assert_ptr_nonnull(strstr(t.why, "not our hub"));
    ck_assert(!t.is_path_fault);
    stand_down();
}
END_TEST

/* A lane says which session it joins. */
START_TEST(a_hub_that_answers_with_another_session_is_refused)
{
    stand_up(PATIENCE_MS);
    t.session = 1;
    dial(0); /* the first founds one: any will do */
    UNTIL(lanes_are_up, 1);
    dial(0);
    UNTIL(lanes_are_dead, 1);
    ck_assert_uint_eq(t.ups, 1);
    ck_assert_ptr_nonnull(strstr(t.why, "another session"));
    ck_assert(!t.is_path_fault);
    t.session = 0; /* the one that is asked for */
    dial(0);
    UNTIL(lanes_are_up, 2);
    stand_down();
}
END_TEST

/* Only then another transport may do better. */
START_TEST(what_a_peer_or_this_process_does_wrong_is_not_the_paths_fault)
{
    static const int paths[] = {ERR_TIMEOUT, ERR_CONNECT, ERR_RESET, ERR_CLOSED, ERR_IO, ERR_SYS};
    static const int others[] = {ERR_NONE,   ERR_NOMEM,  ERR_LIMIT,   ERR_AUTH,   ERR_CERT,
                                 ERR_DENIED, ERR_SYNTAX, ERR_TOO_BIG, ERR_RESOLVE};
    static const int early[] = {ERR_TLS, ERR_PROTO};

    for (unsigned i = 0; i < ARRAY_LEN(paths); i++)
        for (unsigned k = 0; k < 2; k++)
            ck_assert(edge_lane_is_path_fault(-paths[i], k));
    for (unsigned i = 0; i < ARRAY_LEN(others); i++)
        for (unsigned k = 0; k < 2; k++)
            ck_assert(!edge_lane_is_path_fault(-others[i], k));
    for (unsigned i = 0; i < ARRAY_LEN(early); i++) {
        ck_assert(edge_lane_is_path_fault(-early[i], false));
        ck_assert(!edge_lane_is_path_fault(-early[i], true));
    }
    stand_up(PATIENCE_MS);
    dial(0);
    UNTIL(lanes_are_up, 1);
    link_send_config(t.lanes[0].link, "no JSON");
    UNTIL(lanes_are_dead, 1);
    ck_assert(!t.is_path_fault);
    dial(0);
    UNTIL(lanes_are_up, 2);
    link_free(t.lanes[1].link); /* without a word */
    t.lanes[1].link = NULL;
    UNTIL(lanes_are_dead, 2);
    ck_assert(t.is_path_fault);
    stand_down();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("edge_lane");
    TCase *c = tcase_create("lane");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(c, 120);
    tcase_add_test(c, lanes_are_not_gathered_without_end);
    tcase_add_test(c, one_config_is_under_way_and_one_waits);
    tcase_add_test(c, a_hub_without_the_secret_is_no_hub);
    tcase_add_test(c, a_hub_that_answers_with_another_session_is_refused);
    tcase_add_test(c, what_a_peer_or_this_process_does_wrong_is_not_the_paths_fault);
    suite_add_tcase(suite, c);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
