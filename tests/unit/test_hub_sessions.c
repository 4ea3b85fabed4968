/* Handshakes and sessions against a whole hub over real TLS: answers, lanes, CONFIG, GOODBYE.
 * (desk.h, hearing.h, hub_lane.h, hub_lane_mail.h) */
#include "hub_tunnel_fixture.h"

#define EDGES                                                                                      \
    "edges=[{\"id\":\"e1\",\"listenPorts\":[443],\"secret\":\"" SECRET_OF_E1 "\"},"                \
    "{\"id\":\"off\",\"enabled\":false,\"secret\":\"" SECRET_OF_E1 "\"},"                          \
    "{\"id\":\"two\",\"maxInstances\":2,\"secret\":\"" SECRET_OF_E1 "\"}]"

static void setup(void)
{
    hub_up((const char *const[]){EDGES, "tunnel.maxLanes=2", "limits.handshakesPerSource=4",
                                 "limits.waitingRefusals=2", "limits.sessions=3", NULL});
}

static uint64_t faults_of(enum handshake_fault fault)
{
    return counted(&hub.shared.counters.handshake_faults[fault]);
}

static const struct edge_session *only_session(void)
{
    if (list_is_empty(&hub.desk.book.sessions))
        return NULL;
    return container_of(hub.desk.book.sessions.next, struct session, node)->user;
}

static bool is_acked(void *revision)
{
    return only_session() && only_session()->acked_revision == *(uint64_t *)revision;
}

static bool no_records(void *arg)
{
    (void)arg;
    return hub.desk.record_count == 0;
}

static void patch(const char *id, const char *body)
{
    struct json_object *obj = json_of(body);
    struct edge_spec spec;
    struct json_check faults;
    unsigned change;

    json_check_init(&faults);
    edge_spec_of(&spec, registry_find(&hub.registry, id));
    edge_spec_parse(&spec, obj, SPEC_FROM_API, NULL, &faults, "");
    ck_assert_uint_eq(faults.total, 0);
    ck_assert_int_eq(hub_put_edge(&hub, &spec, &change), 0);
    edge_spec_fini(&spec);
    json_check_fini(&faults);
    json_object_put(obj);
}

START_TEST(a_session_begins)
{
    struct test_lane t = {.acks = true};
    uint64_t one = 1;

    ck_assert_int_eq(lane_up(&t), ANSWER_OK);
    ck_assert(t.is_proof_right);
    ck_assert_str_eq(t.answer.edge_id, "e1");
    ck_assert_uint_eq(t.answer.initial_window, 65536);
    ck_assert_uint_eq(t.config.revision, 1);
    ck_assert_uint_eq(t.config.ports.count, 1);
    ck_assert_uint_eq(t.config.ports.ports[0], 443);
    ck_assert_uint_eq(t.config.stun_interval_secs, 300);
    UNTIL(is_acked, &one);
    ck_assert_uint_eq(only_session()->ack.ports.ports[0], 443);
    ck_assert_uint_eq(hub.desk.admission.count, 0);
    lane_down(&t);
    UNTIL(no_records, NULL);
    ck_assert_uint_eq(hub.desk.book.count, 1); /* it may come back within 30 s */
    ck_assert_uint_gt(only_session()->session->alone_since_ms, 0);
}
END_TEST

static const struct {
    const char *raw;
    enum answer_code code;
} lines[] = {
    {"nonsense\n", ANSWER_BAD_REQUEST},
    {"{}\n", ANSWER_BAD_REQUEST},
    {"[]\n", ANSWER_BAD_REQUEST},
    {"{\"version\":2,\"edgeId\":\"e1\",\"instance\":\"x\",\"lane\":0,\"proof\":\"x\","
     "\"software\":\"t\",\"features\":[]}\n",
     ANSWER_UNSUPPORTED_VERSION},
    {"{\"version\":1,\"version\":1}\n", ANSWER_BAD_REQUEST},
};

START_TEST(refused_on_the_spot)
{
    struct test_lane t = {.raw = lines[_i].raw};

    ck_assert_int_eq(lane_up(&t), lines[_i].code);
    ck_assert(t.answer.message[0] != 0);
    lane_down(&t);
    UNTIL(no_records, NULL);
    ck_assert_uint_eq(hub.desk.admission.count, 0);
    ck_assert_uint_eq(faults_of(handshake_fault_of(lines[_i].code)), 1);
}
END_TEST

START_TEST(too_long_gets_no_answer)
{
    char *line = must_alloc(HELLO_MAX + 100);
    struct test_lane t = {.raw = line};

    memset(line, 'x', HELLO_MAX + 50);
    lane_dial(&t);
    UNTIL(is_answered, &t);
    ck_assert(!t.has_answer && t.is_dead);
    UNTIL(no_records, NULL);
    ck_assert_uint_eq(faults_of(HANDSHAKE_HELLO_TOO_LONG), 1);
    lane_down(&t);
    free(line);
}
END_TEST

static struct test_lane guesses[2];

static bool two_wait_or_did(void *arg)
{
    (void)arg;
    return hub.desk.waiting_count == 2 || guesses[0].has_answer || guesses[1].has_answer;
}

/* Two that wait, and one more: an edge that is not known, and a wrong proof.  False: this machine
 * was held up for the second that they wait. */
static bool one_guess_too_many(void)
{
    struct test_lane c = {.edge_id = "nobody"}, good = {.instance = "good"};
    uint64_t since_us = clock_now_us();
    bool were_held_up;

    guesses[0] = (struct test_lane){.edge_id = "nobody"};
    guesses[1] = (struct test_lane){.secret = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"};
    lane_dial(&guesses[0]);
    lane_dial(&guesses[1]);
    UNTIL(two_wait_or_did, NULL);
    ck_assert_uint_eq(hub.desk.admission.count, 0); /* they don't keep others from saying hello */
    ck_assert_int_eq(lane_up(&good), ANSWER_OK);
    lane_dial(&c);
    UNTIL(is_answered, &c);
    were_held_up = clock_now_us() - since_us >= HUB_WRONG_PROOF_MS * 1000ull;
    ck_assert(!c.has_answer || were_held_up); /* limits.waitingRefusals */
    were_held_up = c.has_answer;
    lane_down(&c);
    lane_down(&good);
    return !were_held_up;
}

/* The same answer, after a second. */
START_TEST(guesses_wait)
{
    unsigned tries = 1;

    while (!one_guess_too_many()) {
        ck_assert_uint_lt(tries++, 5);
        lane_down(&guesses[0]);
        lane_down(&guesses[1]);
        UNTIL(no_records, NULL);
    }
    ck_assert_uint_eq(faults_of(HANDSHAKE_LIMIT_WAITING), 1);
    for (unsigned i = 0; i < 2; i++) {
        struct test_lane *t = &guesses[i];

        UNTIL(is_answered, t);
        ck_assert_int_eq(t->answer.code, ANSWER_UNAUTHORIZED);
        ck_assert_uint_ge(t->ended_ms - t->started_ms, HUB_WRONG_PROOF_MS);
    }
    ck_assert_str_eq(guesses[0].answer.message, guesses[1].answer.message);
    if (tries == 1)
        ck_assert_uint_eq(faults_of(HANDSHAKE_UNAUTHORIZED), 2);
    lane_down(&guesses[0]);
    lane_down(&guesses[1]);
    UNTIL(no_records, NULL);
    ck_assert_uint_eq(hub.desk.waiting_count, 0);
}
END_TEST

START_TEST(disabled)
{
    struct test_lane t = {.edge_id = "off"};

    ck_assert_int_eq(lane_up(&t), ANSWER_EDGE_DISABLED);
    ck_assert(!t.is_proof_right); /* an error carries none */
    lane_down(&t);
}
END_TEST

START_TEST(lanes_join)
{
    struct test_lane a = {.acks = true}, b = {0}, used = {0}, third = {0}, other = {0}, gone = {0};

    ck_assert_int_eq(lane_up(&a), ANSWER_OK);
    lane_joins(&b, &a, 1);
    ck_assert_int_eq(lane_up(&b), ANSWER_OK);
    ck_assert_mem_eq(b.answer.session, a.answer.session, SESSION_BYTES);
    ck_assert_uint_eq(b.config.revision, 1);
    ck_assert_uint_eq(hub.desk.open_count, 2);
    lane_joins(&used, &a, 1);
    ck_assert_int_eq(lane_up(&used), ANSWER_LANE_IN_USE);
    lane_joins(&third, &a, 2);
    ck_assert_int_eq(lane_up(&third), ANSWER_TOO_MANY_LANES);
    lane_joins(&other, &a, 3);
    other.instance = "elsewhere";
    ck_assert_int_eq(lane_up(&other), ANSWER_UNKNOWN_SESSION);
    gone.has_session = true;
    ck_assert_int_eq(lane_up(&gone), ANSWER_UNKNOWN_SESSION);
    lane_down(&a);
    lane_down(&b);
    lane_down(&used);
    lane_down(&third);
    lane_down(&other);
    lane_down(&gone);
}
END_TEST

static bool has_one_lane_left(void *arg)
{
    (void)arg;
    return only_session()->session->lane_count - only_session()->session->draining_count == 1;
}

/* A lane that drains makes room for its successor. */
START_TEST(draining_lanes_do_not_count)
{
    struct test_lane a = {0}, b = {0}, c = {0};

    ck_assert_int_eq(lane_up(&a), ANSWER_OK);
    lane_joins(&b, &a, 1);
    ck_assert_int_eq(lane_up(&b), ANSWER_OK);
    link_send_drain(a.link, 30);
    UNTIL(has_one_lane_left, NULL);
    lane_joins(&c, &a, 2);
    ck_assert_int_eq(lane_up(&c), ANSWER_OK);
    lane_down(&a);
    lane_down(&b);
    lane_down(&c);
}
END_TEST

START_TEST(a_newer_session_replaces)
{
    struct test_lane old = {0}, new = {0};

    ck_assert_int_eq(lane_up(&old), ANSWER_OK);
    ck_assert_int_eq(lane_up(&new), ANSWER_OK);
    ck_assert(memcmp(old.answer.session, new.answer.session, SESSION_BYTES) != 0);
    UNTIL(is_dead, &old);
    ck_assert(old.has_goodbye);
    ck_assert_int_eq(old.goodbye.code, GOODBYE_REPLACED);
    ck_assert(!new.is_dead);
    ck_assert_uint_eq(hub.desk.book.count, 1);
    lane_down(&old);
    lane_down(&new);
}
END_TEST

START_TEST(instances)
{
    struct test_lane a = {.edge_id = "two", .instance = "a"};
    struct test_lane b = {.edge_id = "two", .instance = "b"};
    struct test_lane c = {.edge_id = "two", .instance = "c"};

    ck_assert_int_eq(lane_up(&a), ANSWER_OK);
    ck_assert_int_eq(lane_up(&b), ANSWER_OK);
    ck_assert_uint_eq(hub.desk.book.count, 2);
    ck_assert_int_eq(lane_up(&c), ANSWER_OK); /* one more replaces the oldest */
    UNTIL(is_dead, &a);
    ck_assert_int_eq(a.goodbye.code, GOODBYE_REPLACED);
    ck_assert(!b.is_dead && !c.is_dead);
    lane_down(&a);
    lane_down(&b);
    lane_down(&c);
}
END_TEST

/* One session more than limits.sessions is told to come later; a replacement always gets in. */
START_TEST(too_many_sessions)
{
    struct test_lane t[5];

    memset(t, 0, sizeof(t));
    registry_find(&hub.registry, "e1")->max_instances = 10;
    for (size_t i = 0; i < 3; i++) {
        t[i].instance = (const char *const[]){"a", "b", "c"}[i];
        ck_assert_int_eq(lane_up(&t[i]), ANSWER_OK);
    }
    t[3].instance = "d";
    ck_assert_int_eq(lane_up(&t[3]), ANSWER_OVERLOADED);
    ck_assert_uint_gt(t[3].answer.retry_after_secs, 0);
    t[4].instance = "b";
    ck_assert_int_eq(lane_up(&t[4]), ANSWER_OK);
    ck_assert_uint_eq(hub.desk.book.count, 3);
    for (size_t i = 0; i < 5; i++)
        lane_down(&t[i]);
}
END_TEST

static bool has_config(void *arg)
{
    return ((struct test_lane *)arg)->configs > 0;
}

START_TEST(ports_change_at_once)
{
    struct test_lane a = {.acks = true}, b = {.acks = true};
    uint64_t one = 1, two = 2;

    ck_assert_int_eq(lane_up(&a), ANSWER_OK);
    lane_joins(&b, &a, 1);
    ck_assert_int_eq(lane_up(&b), ANSWER_OK);
    UNTIL(is_acked, &one);
    patch("e1", "{\"listenPorts\":[443,80]}");
    UNTIL(has_config, &a);
    ck_assert_uint_eq(a.config.revision, 2);
    ck_assert_uint_eq(a.config.ports.count, 2);
    UNTIL(is_acked, &two);
    ck_assert_int_eq(b.configs, 0); /* on the lowest lane only */
    patch("e1", "{\"maxInstances\":2}");
    ck_assert_uint_eq(only_session()->revision, 2); /* nothing the edge has to know */
    lane_down(&a);
    lane_down(&b);
}
END_TEST

/* The lane with the CONFIG dies before the CONFIG_ACK: the newest goes again, on the other. */
START_TEST(config_moves_when_its_lane_dies)
{
    struct test_lane a = {0}, b = {.acks = true};
    uint64_t two = 2;

    ck_assert_int_eq(lane_up(&a), ANSWER_OK);
    lane_joins(&b, &a, 1);
    ck_assert_int_eq(lane_up(&b), ANSWER_OK);
    patch("e1", "{\"listenPorts\":[8080]}");
    UNTIL(has_config, &a);
    ck_assert_uint_eq(a.config.revision, 2);
    lane_down(&a);
    UNTIL(has_config, &b);
    ck_assert_uint_eq(b.config.revision, 2);
    ck_assert_uint_eq(b.config.ports.ports[0], 8080);
    UNTIL(is_acked, &two);
    lane_down(&b);
}
END_TEST

START_TEST(an_ack_from_the_future)
{
    struct test_lane t = {0};

    ck_assert_int_eq(lane_up(&t), ANSWER_OK);
    t.config.revision = 7;
    lane_ack(&t);
    UNTIL(is_dead, &t);
    ck_assert_int_eq(t.goodbye.code, GOODBYE_PROTOCOL_ERROR);
    lane_down(&t);
}
END_TEST

START_TEST(operators_words)
{
    struct edge *edge = registry_find(&hub.registry, "e1");
    struct test_lane t = {0}, again = {0};

    ck_assert_int_eq(lane_up(&t), ANSWER_OK);
    switch (_i) {
    case 0:
        ck_assert_uint_eq(desk_end_edge(&hub.desk, edge, GOODBYE_KICKED), 1);
        break;
    case 1:
        patch("e1", "{\"enabled\":false}");
        break;
    case 2:
        hub_renew_secret(&hub, edge, new_secret(), (struct secret_grace){0});
        break;
    case 3:
        patch("e1", "{\"secret\":\"CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC\"}");
        break;
    default:
        hub_remove_edge(&hub, edge);
    }
    UNTIL(is_dead, &t);
    ck_assert(t.has_goodbye);
    ck_assert_int_eq(
        t.goodbye.code,
        ((enum goodbye_code[]){GOODBYE_KICKED, GOODBYE_EDGE_DISABLED, GOODBYE_SECRET_CHANGED,
                               GOODBYE_SECRET_CHANGED, GOODBYE_KICKED})[_i]);
    ck_assert_uint_eq(hub.desk.book.count, 0);
    ck_assert_int_eq(lane_up(&again),
                     ((enum answer_code[]){ANSWER_OK, ANSWER_EDGE_DISABLED, ANSWER_UNAUTHORIZED,
                                           ANSWER_UNAUTHORIZED, ANSWER_UNAUTHORIZED})[_i]);
    lane_down(&t);
    lane_down(&again);
}
END_TEST

START_TEST(grace_keeps_the_tunnel)
{
    struct edge *edge = registry_find(&hub.registry, "e1");
    struct test_lane t = {0}, old = {.instance = "x"}, new = {.instance = "y"};

    edge->max_instances = 3;
    ck_assert_int_eq(lane_up(&t), ANSWER_OK);
    hub_renew_secret(&hub, edge, new_secret(),
                     secret_grace_of(60000, loop_now_ms(hub.loop), 1700000000));
    ck_assert_int_eq(lane_up(&old), ANSWER_OK);
    ck_assert(old.is_proof_right);
    new.secret = edge->secret;
    ck_assert_int_eq(lane_up(&new), ANSWER_OK);
    ck_assert(new.is_proof_right);
    ck_assert(!t.is_dead && hub.desk.book.count == 3);
    lane_down(&t);
    lane_down(&old);
    lane_down(&new);
}
END_TEST

static bool is_full(void *arg)
{
    (void)arg;
    return faults_of(HANDSHAKE_LIMIT_SOURCE) > 0;
}

START_TEST(silent_connections_are_few)
{
    char byte;
    int fds[5];

    for (size_t i = 0; i < 5; i++)
        fds[i] = dial_hub();
    UNTIL(is_full, NULL);
    ck_assert_uint_eq(hub.desk.admission.count, 4);
    ck_assert_int_eq(read(fds[4], &byte, 1), 0); /* the newest was closed */
    for (size_t i = 0; i < 5; i++)
        close(fds[i]);
    UNTIL(no_records, NULL);
    ck_assert_uint_eq(hub.desk.admission.count, 0);
    ck_assert_uint_eq(faults_of(HANDSHAKE_CLOSED), 4);
}
END_TEST

START_TEST(stops_with_a_word)
{
    struct test_lane a = {0}, b = {0};

    ck_assert_int_eq(lane_up(&a), ANSWER_OK);
    lane_joins(&b, &a, 1);
    ck_assert_int_eq(lane_up(&b), ANSWER_OK);
    hub.conf.service.drain_secs = 0;
    service_drain_begin(&hub.drain, "test");
    loop_run(hub.loop); /* until the lanes are gone */
    ck_assert_uint_eq(hub.desk.record_count, 0);
    UNTIL(is_dead, &a);
    UNTIL(is_dead, &b);
    ck_assert_int_eq(a.goodbye.code, GOODBYE_DRAINING);
    ck_assert_int_eq(b.goodbye.code, GOODBYE_DRAINING);
    lane_down(&a);
    lane_down(&b);
}
END_TEST

/* With lanes open, and a hello on its way: nothing is lost (the sanitizer looks). */
START_TEST(stops_at_once)
{
    struct test_lane a = {0}, b = {0};

    ck_assert_int_eq(lane_up(&a), ANSWER_OK);
    lane_dial(&b);
    lane_down(&a);
    lane_down(&b);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("sessions");

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, hub_down);
    tcase_add_test(tcase, a_session_begins);
    tcase_add_loop_test(tcase, refused_on_the_spot, 0, (int)(sizeof(lines) / sizeof(lines[0])));
    tcase_add_test(tcase, too_long_gets_no_answer);
    tcase_add_test(tcase, guesses_wait);
    tcase_add_test(tcase, disabled);
    tcase_add_test(tcase, lanes_join);
    tcase_add_test(tcase, draining_lanes_do_not_count);
    tcase_add_test(tcase, a_newer_session_replaces);
    tcase_add_test(tcase, instances);
    tcase_add_test(tcase, too_many_sessions);
    tcase_add_test(tcase, ports_change_at_once);
    tcase_add_test(tcase, config_moves_when_its_lane_dies);
    tcase_add_test(tcase, an_ack_from_the_future);
    tcase_add_loop_test(tcase, operators_words, 0, 5);
    tcase_add_test(tcase, grace_keeps_the_tunnel);
    tcase_add_test(tcase, silent_connections_are_few);
    tcase_add_test(tcase, stops_with_a_word);
    tcase_add_test(tcase, stops_at_once);
    return suite_run("hub_sessions", tcase);
}
