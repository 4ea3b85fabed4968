/* test_edge_uplink - edge/uplink.h: which slot dials when, and what a report of a lane changes.
 *
 * The uplink, the public ports and their sockets are real; the workers' loops are there but don't
 * run: what a lane would report is said by the test.
 */
#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "edge/edge_events.h"
#include "edge/uplink.h"
#include "json/json.h"

#define WORKERS     3
#define PATIENCE_MS 10000
#define GOOD_MS     (BACKOFF_GOOD_MS + 1)

static struct loop *loop;
static struct worker threads[WORKERS];
static struct edge_worker workers[WORKERS];
static struct edge_shared shared;
static struct uplink u;
static uint16_t ports[2];

/* --- the stand -------------------------------------------------------------------------------- */

static uint16_t free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, n), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static struct credentials *credentials_of(const char *edge_id)
{
    struct json_object *body = json_object_new_object();
    struct credentials *c = NULL;
    struct json_check faults;

    json_check_init(&faults);
    json_object_object_add(body, "hubHost", json_object_new_string("127.0.0.1"));
    json_object_object_add(body, "hubPort", json_object_new_int(1));
    json_object_object_add(body, "edgeId", json_object_new_string(edge_id));
    json_object_object_add(body, "secret",
                           json_object_new_string("0123456789012345678901234567890123456789012"));
    ck_assert_int_eq(credentials_from_json(&c, body, &faults), 0);
    json_check_fini(&faults);
    json_object_put(body);
    return c;
}

static void use(const char *edge_id)
{
    struct credentials *c = edge_id ? credentials_of(edge_id) : NULL;

    uplink_set_credentials(&u, c);
    credentials_unref(c);
}

static void stand_up_by(uint64_t hold_ms, enum transport_mode mode)
{
    log_init(LOG_TEXT, LOG_ERR, 2);
    loop = loop_new("control", 4, 0);
    shared = (struct edge_shared){.workers = workers,
                                  .count = WORKERS,
                                  .control = loop,
                                  .congestion = "",
                                  .instance = "here",
                                  .hold_ms = hold_ms,
                                  .held_max = 10,
                                  .on_report = uplink_on_report,
                                  .arg = &u};
    budget_init(&shared.budget, 1u << 20, 100, 1u << 20);
    memset(workers, 0, sizeof(workers));
    for (unsigned i = 0; i < WORKERS; i++) {
        threads[i] = (struct worker){.loop = loop_new("worker", 4, 0), .index = i};
        ck_assert_int_eq(edge_worker_init(&workers[i], &threads[i], &shared), 0);
    }
    uplink_init(&u, &shared, "127.0.0.1", mode, 600000);
    ports[0] = free_port();
    ports[1] = free_port();
}

static void stand_up(uint64_t hold_ms)
{
    stand_up_by(hold_ms, TRANSPORT_TLS);
}

static void stand_down(void)
{
    for (unsigned i = 0; i < WORKERS; i++)
        edge_worker_fini(&workers[i]);
    for (unsigned i = 0; i < WORKERS; i++)
        loop_free(threads[i].loop); /* gives back what the commands carry */
    uplink_fini(&u);
    loop_free(loop);
}

static bool (*awaited)(void);
static uint64_t until_ms;
static bool was_true;

static void on_poll(struct deadline *d)
{
    was_true = awaited();
    if (was_true || loop_now_ms(loop) >= until_ms)
        loop_stop(loop);
    else
        deadline_set(d, 1);
}

static bool happens(bool (*is_true)(void))
{
    struct deadline poll;

    awaited = is_true;
    until_ms = clock_now_us() / 1000 + PATIENCE_MS;
    deadline_init(&poll, loop, on_poll);
    deadline_set(&poll, 1);
    loop_run(loop);
    deadline_off(&poll);
    return was_true;
}

#define UNTIL(is_true) ck_assert_msg(happens(is_true), "never: " #is_true)

/* --- what lanes report ------------------------------------------------------------------------ */

static struct uplink_slot *slot(unsigned i)
{
    return &u.slots[i];
}

static struct lane_report *report_of(enum lane_report_kind kind, uint64_t serial, char session)
{
    struct lane_report *r = lane_report_new(kind, serial);

    r->worker = &workers[0];
    memset(r->session, session, sizeof(r->session));
    return r;
}

static void say_up(uint64_t serial, bool is_founded, uint32_t number, char session,
                   uint64_t revision, unsigned port_count)
{
    struct lane_report *r = report_of(LANE_REPORT_UP, serial, session);

    r->is_founded = is_founded;
    r->lane_number = number;
    r->config.revision = revision;
    port_list_set(&r->config.ports, ports, port_count);
    uplink_on_report(&u, r);
}

static void say_up_by(uint64_t serial, bool is_founded, uint32_t number, char session,
                      enum link_transport transport)
{
    struct lane_report *r = report_of(LANE_REPORT_UP, serial, session);

    r->is_founded = is_founded;
    r->lane_number = number;
    r->transport = transport;
    r->config.revision = 1;
    uplink_on_report(&u, r);
}

static void say_config(uint64_t serial, char session, uint64_t revision, unsigned port_count)
{
    struct lane_report *r = report_of(LANE_REPORT_CONFIG, serial, session);

    r->config.revision = revision;
    port_list_set(&r->config.ports, ports, port_count);
    uplink_on_report(&u, r);
}

static void say_draining(uint64_t serial)
{
    uplink_on_report(&u, report_of(LANE_REPORT_DRAINING, serial, 0));
}

static void say_dead(uint64_t serial, char session)
{
    struct lane_report *r = report_of(LANE_REPORT_DEAD, serial, session);

    r->error = -ERR_CLOSED;
    strcpy(r->why, "lost");
    uplink_on_report(&u, r);
}

static void say_refused(uint64_t serial, char session, enum answer_code code, uint32_t retry_secs)
{
    struct lane_report *r = report_of(LANE_REPORT_DEAD, serial, session);

    r->answer = code;
    r->retry_after_secs = retry_secs;
    r->error = -ERR_DENIED;
    strcpy(r->why, "refused");
    uplink_on_report(&u, r);
}

static void say_replaced(uint64_t serial, char session)
{
    struct lane_report *r = report_of(LANE_REPORT_DEAD, serial, session);

    r->has_goodbye = true;
    r->goodbye = GOODBYE_REPLACED;
    r->error = -ERR_CLOSED;
    strcpy(r->why, "replaced");
    uplink_on_report(&u, r);
}

/* It never came up, or what carried it is gone. */
static void say_path_fault(uint64_t serial, char session, enum link_transport transport)
{
    struct lane_report *r = report_of(LANE_REPORT_DEAD, serial, session);

    r->transport = transport;
    r->is_path_fault = true;
    r->error = -ERR_TIMEOUT;
    strcpy(r->why, "no answer");
    uplink_on_report(&u, r);
}

/* The first slot founds `session`, the others join it. */
static void all_up(char session, uint64_t revision)
{
    say_up(slot(0)->serial, true, 0, session, revision, 1);
    for (unsigned i = 1; i < WORKERS; i++)
        say_up(slot(i)->serial, false, i, session, revision, 1);
    for (unsigned i = 0; i < WORKERS; i++)
        ck_assert_int_eq(slot(i)->state, SLOT_UP);
}

static unsigned count_in(enum slot_state state)
{
    unsigned n = 0;

    for (unsigned i = 0; i < WORKERS; i++)
        n += slot(i)->state == state;
    return n;
}

/* As if the session had stood for long. */
static void time_passes(void)
{
    u.founded_ms -= GOOD_MS;
    for (unsigned i = 0; i < WORKERS; i++)
        if (slot(i)->backoff.up_since_ms)
            slot(i)->backoff.up_since_ms -= GOOD_MS;
}

/* --- founding --------------------------------------------------------------------------------- */

START_TEST(one_founds_and_the_others_join)
{
    stand_up(10000);
    ck_assert_str_eq(uplink_phase(&u), "noCredentials");
    use("e1");
    ck_assert_int_eq(slot(0)->state, SLOT_DIALLING);
    ck_assert_uint_eq(count_in(SLOT_OFF), WORKERS - 1);
    ck_assert_uint_eq(u.founder, slot(0)->serial);
    ck_assert_str_eq(uplink_phase(&u), "connecting");
    say_up(slot(0)->serial, true, 0, 'a', 1, 1);
    ck_assert_uint_eq(count_in(SLOT_DIALLING), WORKERS - 1);
    ck_assert_uint_eq(u.founder, 0);
    ck_assert_uint_eq(u.next_number, WORKERS);
    ck_assert_str_eq(uplink_phase(&u), "connected");
    say_up(slot(1)->serial, false, 1, 'a', 1, 1);
    ck_assert_uint_eq(u.lane_count, 2);
    ck_assert_uint_eq(u.assignment.connects, 1);
    stand_down();
}
END_TEST

/* Or each slot would make the next one dial at once, past all back-off. */
START_TEST(a_founder_that_fails_tries_again_alone)
{
    stand_up(10000);
    use("e1");
    for (unsigned i = 0; i < 5; i++) {
        say_refused(slot(0)->serial, 0, ANSWER_OVERLOADED, 30);
        ck_assert_int_eq(slot(0)->state, SLOT_WAITING);
        ck_assert_uint_eq(count_in(SLOT_OFF), WORKERS - 1);
        ck_assert_uint_ge(slot(0)->wait.due_ms, loop_now_ms(loop) + 29000);
        slot(0)->wait.on_due(&slot(0)->wait);
        ck_assert_int_eq(slot(0)->state, SLOT_DIALLING);
    }
    ck_assert_str_eq(u.last_error, "refused");
    stand_down();
}
END_TEST

START_TEST(a_lost_lane_is_dialled_into_its_session_with_the_next_number)
{
    stand_up(10000);
    use("e1");
    all_up('a', 1);
    say_dead(slot(1)->serial, 'a');
    ck_assert_int_eq(slot(1)->state, SLOT_WAITING);
    ck_assert_uint_eq(u.lane_count, WORKERS - 1);
    slot(1)->wait.on_due(&slot(1)->wait);
    ck_assert_int_eq(slot(1)->state, SLOT_DIALLING);
    ck_assert_uint_eq(u.next_number, WORKERS + 1);
    ck_assert(u.has_session);
    stand_down();
}
END_TEST

/* --- a hub that was restarted ----------------------------------------------------------------- */

static void all_lost_and_dialled_again(void)
{
    for (unsigned i = 0; i < WORKERS; i++)
        say_dead(slot(i)->serial, 'a');
    for (unsigned i = 0; i < WORKERS; i++)
        slot(i)->wait.on_due(&slot(i)->wait);
    ck_assert_uint_eq(count_in(SLOT_DIALLING), WORKERS);
}

START_TEST(two_that_learn_of_it_at_once_found_one_session)
{
    uint64_t old[WORKERS], founder;

    stand_up(10000);
    use("e1");
    all_up('a', 1);
    time_passes();
    all_lost_and_dialled_again();
    for (unsigned i = 0; i < WORKERS; i++)
        old[i] = slot(i)->serial;
    say_refused(old[1], 'a', ANSWER_UNKNOWN_SESSION, 0);
    ck_assert_int_eq(slot(1)->state, SLOT_DIALLING); /* at once */
    ck_assert(!u.has_session);
    founder = u.founder;
    ck_assert_uint_eq(founder, slot(1)->serial);
    say_refused(old[0], 'a', ANSWER_UNKNOWN_SESSION, 0); /* was on its way already */
    say_dead(old[2], 'a');                               /* told to close */
    ck_assert_uint_eq(u.founder, founder);
    ck_assert_int_eq(slot(0)->state, SLOT_OFF);
    ck_assert_int_eq(slot(2)->state, SLOT_WAITING);
    say_up(founder, true, 0, 'b', 1, 1);
    ck_assert_int_eq(slot(0)->state, SLOT_DIALLING);
    say_up(slot(0)->serial, false, 1, 'b', 1, 1);
    ck_assert_uint_eq(u.lane_count, 2);
    stand_down();
}
END_TEST

/* A hub that says so again and again does not get us to dial without end. */
START_TEST(a_young_session_that_is_unknown_is_a_failure)
{
    stand_up(10000);
    use("e1");
    all_up('a', 1);
    say_dead(slot(1)->serial, 'a');
    slot(1)->wait.on_due(&slot(1)->wait);
    say_refused(slot(1)->serial, 'a', ANSWER_UNKNOWN_SESSION, 0);
    ck_assert_int_eq(slot(1)->state, SLOT_WAITING);
    ck_assert(!u.has_session);
    stand_down();
}
END_TEST

START_TEST(a_lane_that_joined_a_session_given_up_meanwhile_is_none)
{
    uint64_t late;

    stand_up(10000);
    use("e1");
    all_up('a', 1);
    time_passes();
    all_lost_and_dialled_again();
    late = slot(0)->serial;
    say_refused(slot(1)->serial, 'a', ANSWER_UNKNOWN_SESSION, 0);
    say_up(late, false, 3, 'a', 1, 1);
    ck_assert_uint_eq(u.lane_count, 0);
    ck_assert_int_ne(slot(0)->state, SLOT_UP);
    say_dead(late, 'a');
    ck_assert_int_eq(slot(0)->state, SLOT_WAITING);
    stand_down();
}
END_TEST

/* --- replaced --------------------------------------------------------------------------------- */

START_TEST(replaced_on_the_present_session_parks)
{
    stand_up(10000);
    use("e1");
    all_up('a', 1);
    say_replaced(slot(2)->serial, 'a');
    ck_assert_str_eq(uplink_phase(&u), "replaced");
    ck_assert_uint_eq(count_in(SLOT_OFF), WORKERS);
    ck_assert_uint_eq(u.lane_count, 0);
    ck_assert_uint_ge(u.parked.due_ms, loop_now_ms(loop) + UPLINK_REPLACED_MS - 1000);
    u.parked.on_due(&u.parked);
    ck_assert_uint_eq(count_in(SLOT_DIALLING), 1);
    ck_assert_uint_ne(u.founder, 0);
    stand_down();
}
END_TEST

/* Lane numbers are used up: this edge itself replaces its session. */
START_TEST(replaced_on_an_earlier_session_does_not_park)
{
    uint64_t lost;

    stand_up(10000);
    use("e1");
    all_up('a', 1);
    u.next_number = LANE_MAX + 1;
    lost = slot(0)->serial;
    say_dead(lost, 'a');
    slot(0)->wait.on_due(&slot(0)->wait);
    ck_assert_uint_eq(u.founder, slot(0)->serial);
    say_replaced(slot(1)->serial, 'a'); /* before the new one is known here */
    say_up(slot(0)->serial, true, 0, 'b', 1, 1);
    say_replaced(slot(2)->serial, 'a'); /* and after it */
    ck_assert(!u.is_parked);
    ck_assert_int_eq(slot(0)->state, SLOT_UP);
    ck_assert_int_eq(slot(2)->state, SLOT_WAITING);
    ck_assert_uint_eq(u.lane_count, 1);
    stand_down();
}
END_TEST

START_TEST(new_credentials_end_the_parking)
{
    stand_up(10000);
    use("e1");
    all_up('a', 1);
    say_replaced(slot(0)->serial, 'a');
    use("e2");
    ck_assert_uint_eq(count_in(SLOT_DIALLING), 1);
    ck_assert_uint_eq(u.parked.due_ms, 0);
    stand_down();
}
END_TEST

/* --- draining --------------------------------------------------------------------------------- */

START_TEST(a_lane_that_drains_has_a_successor_at_once)
{
    uint64_t drained;

    stand_up(10000);
    use("e1");
    all_up('a', 1);
    time_passes();
    drained = slot(1)->serial;
    say_draining(drained);
    ck_assert_int_eq(slot(1)->state, SLOT_DIALLING);
    ck_assert_uint_ne(slot(1)->serial, drained);
    ck_assert_uint_eq(u.lane_count, WORKERS);
    say_draining(drained); /* told twice: nothing more */
    say_up(slot(1)->serial, false, 3, 'a', 1, 1);
    say_dead(drained, 'a');
    ck_assert_int_eq(slot(1)->state, SLOT_UP);
    ck_assert_uint_eq(u.lane_count, WORKERS);
    stand_down();
}
END_TEST

START_TEST(lanes_that_drain_as_soon_as_they_are_up_are_dialled_slowly)
{
    stand_up(10000);
    use("e1");
    all_up('a', 1);
    say_draining(slot(1)->serial);
    ck_assert_int_eq(slot(1)->state, SLOT_WAITING);
    ck_assert_uint_ge(slot(1)->wait.due_ms, loop_now_ms(loop) + BACKOFF_FLOOR_MS - 1);
    stand_down();
}
END_TEST

/* --- ports and the time to hold --------------------------------------------------------------- */

static bool is_suspended(void)
{
    return u.assignment.ports.is_suspended;
}

static bool is_port_open(unsigned i)
{
    for (size_t k = 0; k < u.assignment.ports.count; k++)
        if (u.assignment.ports.ports[k].port == ports[i])
            return u.assignment.ports.ports[k].is_open;
    return false;
}

START_TEST(ports_outlive_a_short_absence)
{
    stand_up(10000);
    use("e1");
    all_up('a', 1);
    ck_assert(is_port_open(0));
    for (unsigned i = 0; i < WORKERS; i++)
        say_dead(slot(i)->serial, 'a');
    ck_assert(!uplink_is_connected(&u));
    ck_assert(is_port_open(0));
    ck_assert(shared.is_holding);
    ck_assert_uint_ne(u.assignment.hold.due_ms, 0);
    slot(1)->wait.on_due(&slot(1)->wait);
    say_up(slot(1)->serial, false, 3, 'a', 1, 1);
    ck_assert_uint_eq(u.assignment.hold.due_ms, 0);
    ck_assert(is_port_open(0));
    ck_assert_uint_eq(u.assignment.connects, 2);
    stand_down();
}
END_TEST

static unsigned port_events(struct event_place *place)
{
    unsigned n = 0;
    size_t len;
    char *text;

    while ((text = events_next(shared.events, place, &len))) {
        for (const char *at = text; (at = strstr(at, "event: ports")); at++)
            n++;
        free(text);
    }
    return n;
}

/* The workers close their sockets when they come to it; here they never do: so ports[] changes. */
START_TEST(what_changes_without_the_hub_is_told_too)
{
    struct event_place place;

    stand_up(20);
    shared.events = events_new(loop, edge_event_types, 64, 1);
    ck_assert_int_eq(events_join(shared.events, &place, "portsAssigned,portsUpdated", NULL), 0);
    use("e1");
    all_up('a', 1);
    ck_assert_uint_eq(port_events(&place), 1);
    for (unsigned i = 0; i < WORKERS; i++)
        say_dead(slot(i)->serial, 'a');
    ck_assert_uint_eq(port_events(&place), 0); /* they are held */
    UNTIL(is_suspended);
    ck_assert_uint_eq(port_events(&place), 1);
    u.assignment.ports.ports[0].port = ports[0] = free_port();
    if (slot(1)->state == SLOT_WAITING)
        slot(1)->wait.on_due(&slot(1)->wait);
    say_up(slot(1)->serial, false, 3, 'a', 1, 1);
    ck_assert_uint_eq(port_events(&place), 1);
    use(NULL);
    ck_assert_uint_eq(port_events(&place), 1);
    use(NULL);
    ck_assert_uint_eq(port_events(&place), 0);
    events_leave(shared.events, &place);
    events_free(shared.events);
    stand_down();
}
END_TEST

/* The workers close their sockets when they come to it; here they never do.  So the port that comes
 * back is another one than the one that was bound. */
START_TEST(ports_come_back_into_the_same_session_after_the_time_to_hold)
{
    stand_up(20);
    use("e1");
    all_up('a', 1);
    for (unsigned i = 0; i < WORKERS; i++)
        say_dead(slot(i)->serial, 'a');
    UNTIL(is_suspended);
    ck_assert(!shared.is_holding);
    ck_assert(!is_port_open(0));
    u.assignment.ports.ports[0].port = ports[0] = free_port();
    if (slot(1)->state == SLOT_WAITING)
        slot(1)->wait.on_due(&slot(1)->wait);
    ck_assert_int_eq(slot(1)->state, SLOT_DIALLING);
    say_up(slot(1)->serial, false, 3, 'a', 1, 1); /* the same session, the same revision */
    ck_assert(!is_suspended());
    ck_assert(is_port_open(0));
    ck_assert(shared.is_holding);
    stand_down();
}
END_TEST

START_TEST(a_port_in_use_is_tried_again_but_not_while_suspended)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    stand_up(20);
    at.sin_port = htons(ports[0]);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    use("e1");
    say_up(slot(0)->serial, true, 0, 'a', 1, 2);
    ck_assert(!is_port_open(0));
    ck_assert(is_port_open(1));
    ck_assert_str_ne(u.assignment.ports.ports[u.assignment.ports.ports[0].is_open].error, "");
    ck_assert_uint_ne(u.assignment.ports.retry.due_ms, 0);
    close(fd);
    u.assignment.ports.retry.on_due(&u.assignment.ports.retry);
    ck_assert(is_port_open(0));
    ck_assert_uint_eq(u.assignment.ports.retry.due_ms, 0);
    say_config(slot(0)->serial, 'a', 2, 0);
    ck_assert_uint_eq(u.assignment.ports.count, 0);
    stand_down();
}
END_TEST

START_TEST(without_time_to_hold_ports_close_at_once)
{
    stand_up(0);
    use("e1");
    all_up('a', 1);
    for (unsigned i = 0; i < WORKERS; i++)
        say_dead(slot(i)->serial, 'a');
    ck_assert(is_suspended());
    ck_assert(!shared.is_holding);
    stand_down();
}
END_TEST

START_TEST(only_a_higher_revision_of_this_session_is_applied)
{
    stand_up(10000);
    use("e1");
    all_up('a', 5);
    say_config(slot(1)->serial, 'a', 4, 0); /* lower */
    ck_assert_uint_eq(u.assignment.ports.count, 1);
    say_config(slot(1)->serial, 'a', 5, 0); /* equal: acknowledged, and changes nothing */
    ck_assert_uint_eq(u.assignment.ports.count, 1);
    say_config(slot(1)->serial, 'z', 9, 0); /* another session */
    ck_assert_uint_eq(u.assignment.ports.count, 1);
    say_config(12345, 'a', 9, 0); /* nobody's */
    ck_assert_uint_eq(u.assignment.ports.count, 1);
    say_config(slot(1)->serial, 'a', 6, 2);
    ck_assert_uint_eq(u.assignment.ports.count, 2);
    ck_assert_uint_eq(u.assignment.config.revision, 6);
    stand_down();
}
END_TEST

/* --- which transport -------------------------------------------------------------------------- */

static void stand_up_choosing(void)
{
    stand_up_by(10000, TRANSPORT_FALLBACK);
    use("e1");
}

/* A blip of QUIC where TCP is blocked must not be the end of it; and a hub that is away is not
 * dialled without end. */
START_TEST(while_nothing_is_up_the_transports_take_turns)
{
    stand_up_choosing();
    for (unsigned i = 0; i < 4; i++) {
        uint64_t quic = slot(0)->serial;

        ck_assert_int_eq(u.choice.next, LINK_QUIC);
        say_path_fault(quic, 0, LINK_QUIC);
        ck_assert_int_eq(u.choice.next, LINK_TLS);
        ck_assert_int_eq(slot(0)->state, SLOT_DIALLING); /* at once */
        ck_assert_uint_ne(slot(0)->serial, quic);
        say_path_fault(slot(0)->serial, 0, LINK_TLS);
        ck_assert_int_eq(u.choice.next, LINK_QUIC);
        ck_assert_int_eq(slot(0)->state, SLOT_WAITING); /* the back-off paces it */
        ck_assert_uint_ge(slot(0)->wait.due_ms, loop_now_ms(loop) + BACKOFF_FLOOR_MS - 1);
        ck_assert_uint_eq(count_in(SLOT_OFF), WORKERS - 1);
        ck_assert_uint_eq(u.move.due_ms, 0);
        slot(0)->wait.on_due(&slot(0)->wait);
        ck_assert_int_eq(slot(0)->state, SLOT_DIALLING);
    }
    say_up_by(slot(0)->serial, true, 0, 'a', LINK_QUIC);
    ck_assert_int_eq(u.choice.reason, TRANSPORT_REASON_PREFERRED);
    ck_assert_int_eq(uplink_transport(&u), LINK_QUIC);
    stand_down();
}
END_TEST

/* All slots of a session that stands dial at once: each finds the way that is left. */
START_TEST(slots_that_fail_out_of_step_end_on_the_transport_that_works)
{
    stand_up_choosing();
    for (unsigned i = 0; i < WORKERS; i++)
        say_up_by(slot(i)->serial, i == 0, i, 'a', LINK_QUIC);
    for (unsigned i = 0; i < WORKERS; i++)
        say_path_fault(slot(i)->serial, 'a', LINK_QUIC);
    ck_assert_int_eq(u.choice.next, LINK_TLS);
    ck_assert_uint_eq(count_in(SLOT_DIALLING), WORKERS);
    for (unsigned i = 0; i < WORKERS; i++)
        say_path_fault(slot(i)->serial, 'a', LINK_TLS);
    ck_assert_uint_eq(count_in(SLOT_WAITING), WORKERS);
    ck_assert_uint_eq(u.choice.switches[TRANSPORT_REASON_TLS_NOT_UP], 1);
    slot(1)->wait.on_due(&slot(1)->wait);
    say_path_fault(slot(1)->serial, 'a', LINK_QUIC);
    slot(2)->wait.on_due(&slot(2)->wait);
    ck_assert_int_eq(u.choice.next, LINK_TLS);
    say_up_by(slot(1)->serial, false, 3, 'a', LINK_TLS);
    say_path_fault(slot(2)->serial, 'a', LINK_TLS); /* one alone: TLS is up beside it */
    ck_assert_int_eq(u.choice.next, LINK_TLS);
    ck_assert_uint_le(u.move.due_ms, loop_now_ms(loop) + TRANSPORT_PROBE_SOON_MS);
    slot(2)->wait.on_due(&slot(2)->wait);
    say_up_by(slot(2)->serial, false, 4, 'a', LINK_TLS);
    ck_assert_int_eq(uplink_transport(&u), LINK_TLS);
    stand_down();
}
END_TEST

/* All slots by TLS, and QUIC is dialled beside the first. */
static void all_up_and_one_moves(void)
{
    stand_up_choosing();
    say_path_fault(slot(0)->serial, 0, LINK_QUIC);
    for (unsigned i = 0; i < WORKERS; i++)
        say_up_by(slot(i)->serial, i == 0, i, 'a', LINK_TLS);
    u.choice.probe_due_ms = 0;
    u.move.on_due(&u.move);
    ck_assert_uint_ne(slot(0)->beside, 0);
    ck_assert_uint_eq(slot(1)->beside, 0);
}

START_TEST(a_lane_beside_takes_the_place_of_the_first)
{
    uint64_t old, beside;

    all_up_and_one_moves();
    old = slot(0)->serial;
    beside = slot(0)->beside;
    say_up_by(beside, false, 3, 'a', LINK_QUIC);
    ck_assert_uint_eq(slot(0)->serial, beside);
    ck_assert_uint_eq(slot(0)->beside, 0);
    ck_assert_uint_eq(u.lane_count, WORKERS + 1);
    for (unsigned i = 1; i < WORKERS; i++)
        ck_assert_uint_ne(slot(i)->beside, 0); /* the others follow */
    say_dead(old, 'a');
    ck_assert_int_eq(slot(0)->state, SLOT_UP);
    stand_down();
}
END_TEST

static void say_collapsed(uint64_t serial)
{
    struct lane_report *r = report_of(LANE_REPORT_COLLAPSED, serial, 'a');

    strcpy(r->why, "loss");
    uplink_on_report(&u, r);
}

/* One is enough: the path is the same.  The lanes that are up stay until TLS is. */
START_TEST(a_path_that_collapses_moves_all_to_tls)
{
    uint64_t old[WORKERS];

    stand_up_choosing();
    for (unsigned i = 0; i < WORKERS; i++)
        say_up_by(slot(i)->serial, i == 0, i, 'a', LINK_QUIC);
    say_collapsed(slot(0)->serial + 1000); /* of nobody */
    ck_assert_int_eq(u.choice.next, LINK_QUIC);
    say_collapsed(slot(1)->serial);
    ck_assert_int_eq(u.choice.next, LINK_TLS);
    ck_assert_int_eq(u.choice.reason, TRANSPORT_REASON_QUIC_COLLAPSED);
    ck_assert_int_eq(uplink_transport(&u), LINK_QUIC);
    for (unsigned i = 0; i < WORKERS; i++) {
        ck_assert_uint_ne(slot(i)->beside, 0);
        old[i] = slot(i)->serial;
    }
    for (unsigned i = 0; i < WORKERS; i++)
        say_up_by(slot(i)->beside, false, WORKERS + i, 'a', LINK_TLS);
    ck_assert_int_eq(uplink_transport(&u), LINK_TLS);
    ck_assert_uint_eq(u.lane_count, 2 * WORKERS);
    say_collapsed(old[2]); /* a lane that drains: no news */
    ck_assert_uint_eq(u.choice.collapses, 1);
    ck_assert_uint_ge(u.choice.probe_due_ms, loop_now_ms(loop) + u.choice.retry_ms / 2);
    ck_assert_uint_le(u.move.due_ms, u.choice.probe_due_ms + 1);
    stand_down();
}
END_TEST

START_TEST(a_path_that_collapses_where_tls_fails_serves_on)
{
    stand_up_choosing();
    for (unsigned i = 0; i < WORKERS; i++)
        say_up_by(slot(i)->serial, i == 0, i, 'a', LINK_QUIC);
    say_collapsed(slot(0)->serial);
    for (unsigned i = 0; i < WORKERS; i++)
        say_path_fault(slot(i)->beside, 'a', LINK_TLS);
    ck_assert_int_eq(u.choice.next, LINK_QUIC);
    ck_assert_int_eq(u.choice.reason, TRANSPORT_REASON_TLS_NOT_UP);
    ck_assert_uint_eq(count_in(SLOT_UP), WORKERS);
    say_collapsed(slot(0)->serial);
    ck_assert_uint_eq(slot(0)->beside, 0);
    stand_down();
}
END_TEST

/* The numbers of the session are used up: it is given up, and the lane beside has joined it. */
START_TEST(a_lane_beside_for_a_session_given_up_leaves_the_slot_free_to_move)
{
    uint64_t mine, late;

    all_up_and_one_moves();
    late = slot(0)->beside;
    mine = slot(0)->serial;
    u.next_number = LANE_MAX + 1;
    say_dead(slot(1)->serial, 'a');
    slot(1)->wait.on_due(&slot(1)->wait);
    ck_assert_uint_eq(u.founder, slot(1)->serial);
    say_up_by(late, false, 3, 'a', LINK_QUIC);
    ck_assert_uint_eq(slot(0)->beside, 0);
    ck_assert_uint_eq(slot(0)->serial, mine);
    ck_assert_int_eq(slot(0)->state, SLOT_UP);
    say_dead(late, 'a');
    ck_assert_int_eq(slot(0)->state, SLOT_UP);
    say_up_by(slot(1)->serial, true, 0, 'b', LINK_QUIC);
    ck_assert_uint_ne(slot(0)->beside, 0);
    stand_down();
}
END_TEST

START_TEST(a_session_that_is_unknown_takes_what_is_dialled_beside_with_it)
{
    uint64_t beside;

    all_up_and_one_moves();
    beside = slot(0)->beside;
    time_passes();
    say_dead(slot(1)->serial, 'a');
    slot(1)->wait.on_due(&slot(1)->wait);
    say_refused(slot(1)->serial, 'a', ANSWER_UNKNOWN_SESSION, 0);
    ck_assert_uint_eq(slot(0)->beside, 0);
    say_up_by(beside, false, 3, 'a', LINK_QUIC); /* was on its way already */
    ck_assert_uint_eq(slot(0)->beside, 0);
    ck_assert_uint_eq(u.lane_count, WORKERS - 1);
    stand_down();
}
END_TEST

/* --- credentials ------------------------------------------------------------------------------ */

START_TEST(credentials_changed_twice_leave_one_founder)
{
    uint64_t old[3];

    stand_up(10000);
    use("e1");
    all_up('a', 1);
    for (unsigned i = 0; i < 3; i++)
        old[i] = slot(i)->serial;
    use("e2");
    uint64_t second = slot(0)->serial;
    use("e3");
    ck_assert_uint_eq(count_in(SLOT_DIALLING), 1);
    ck_assert_uint_eq(u.founder, slot(0)->serial);
    ck_assert_uint_ne(slot(0)->serial, second);
    for (unsigned i = 0; i < 3; i++)
        say_replaced(old[i], 'a'); /* late: they were told to end */
    say_up(second, true, 0, 'b', 7, 2);
    say_dead(second, 'b');
    ck_assert(!u.has_session && !u.is_parked);
    ck_assert_uint_eq(u.lane_count, 0);
    ck_assert_uint_eq(u.founder, slot(0)->serial);
    ck_assert_str_eq(u.last_error, "");
    say_up(slot(0)->serial, true, 0, 'c', 1, 1);
    ck_assert_uint_eq(u.assignment.config.revision, 1);
    stand_down();
}
END_TEST

START_TEST(without_credentials_nothing_is_left)
{
    stand_up(10000);
    use("e1");
    all_up('a', 1);
    use(NULL);
    ck_assert_str_eq(uplink_phase(&u), "noCredentials");
    ck_assert_uint_eq(count_in(SLOT_OFF), WORKERS);
    ck_assert_uint_eq(u.assignment.ports.count, 0);
    ck_assert(!u.assignment.has_config && !shared.is_holding);
    ck_assert_uint_eq(u.assignment.hold.due_ms, 0);
    stand_down();
}
END_TEST

/* While the tunnel is away clients wait: not any more when no tunnel is wanted. */
START_TEST(without_credentials_nobody_is_held)
{
    stand_up(10000);
    use("e1");
    all_up('a', 1);
    for (unsigned i = 0; i < WORKERS; i++)
        say_dead(slot(i)->serial, 'a');
    ck_assert(shared.is_holding);
    use(NULL);
    ck_assert(!shared.is_holding);
    ck_assert_uint_eq(u.assignment.ports.count, 0);
    ck_assert_uint_eq(u.assignment.hold.due_ms, 0);
    use(NULL); /* again: nothing happens */
    stand_down();
}
END_TEST

START_TEST(a_report_after_the_end_is_freed)
{
    struct lane_report *r;

    stand_up(10000);
    use("e1");
    r = report_of(LANE_REPORT_UP, slot(0)->serial, 'a');
    port_list_set(&r->config.ports, ports, 2);
    stand_down();
    uplink_on_report(&u, r); /* AddressSanitizer looks whether it is */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("edge_uplink");
    TCase *c = tcase_create("uplink");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(c, 30);
    tcase_add_test(c, one_founds_and_the_others_join);
    tcase_add_test(c, a_founder_that_fails_tries_again_alone);
    tcase_add_test(c, a_lost_lane_is_dialled_into_its_session_with_the_next_number);
    tcase_add_test(c, two_that_learn_of_it_at_once_found_one_session);
    tcase_add_test(c, a_young_session_that_is_unknown_is_a_failure);
    tcase_add_test(c, a_lane_that_joined_a_session_given_up_meanwhile_is_none);
    tcase_add_test(c, replaced_on_the_present_session_parks);
    tcase_add_test(c, replaced_on_an_earlier_session_does_not_park);
    tcase_add_test(c, new_credentials_end_the_parking);
    tcase_add_test(c, a_lane_that_drains_has_a_successor_at_once);
    tcase_add_test(c, lanes_that_drain_as_soon_as_they_are_up_are_dialled_slowly);
    tcase_add_test(c, ports_outlive_a_short_absence);
    tcase_add_test(c, what_changes_without_the_hub_is_told_too);
    tcase_add_test(c, ports_come_back_into_the_same_session_after_the_time_to_hold);
    tcase_add_test(c, a_port_in_use_is_tried_again_but_not_while_suspended);
    tcase_add_test(c, without_time_to_hold_ports_close_at_once);
    tcase_add_test(c, only_a_higher_revision_of_this_session_is_applied);
    tcase_add_test(c, while_nothing_is_up_the_transports_take_turns);
    tcase_add_test(c, slots_that_fail_out_of_step_end_on_the_transport_that_works);
    tcase_add_test(c, a_path_that_collapses_moves_all_to_tls);
    tcase_add_test(c, a_path_that_collapses_where_tls_fails_serves_on);
    tcase_add_test(c, a_lane_beside_takes_the_place_of_the_first);
    tcase_add_test(c, a_lane_beside_for_a_session_given_up_leaves_the_slot_free_to_move);
    tcase_add_test(c, a_session_that_is_unknown_takes_what_is_dialled_beside_with_it);
    tcase_add_test(c, credentials_changed_twice_leave_one_founder);
    tcase_add_test(c, without_credentials_nothing_is_left);
    tcase_add_test(c, without_credentials_nobody_is_held);
    tcase_add_test(c, a_report_after_the_end_is_freed);
    suite_add_tcase(suite, c);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
