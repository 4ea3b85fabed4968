/* The link's life: tag, updates and their fates, loss and return, and the end of the service. */
#include <check.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "refusing_malloc.h"
#include "support/suite.h"
#include "support/ws_server.h"
#include "traffic/coreflow.h"
#include "traffic/traffic_conf.h"
#include "traffic_route_fixture.h"
#include "json/json.h"

static struct loop *loop;
static struct deadline guard;
static struct ws_server server;
static struct route_apply *apply;
static struct auth_key key;
static struct traffic_conf conf;
static struct coreflow link_;
static char url[64], nothing[1];
static unsigned published;

static void on_guard(struct deadline *d)
{
    (void)d;
    ck_abort_msg("nothing happened for 20 s");
}

static void on_publish(void *arg, struct route_set *set)
{
    (void)arg;
    (void)set;
    published++;
}

/* Where the apply thread waits in the middle of an update. */
static sem_t gate;
static bool is_gated;

static int store(void *arg, const struct route_set *set, char *why, size_t why_size)
{
    (void)arg;
    (void)set;
    (void)why;
    (void)why_size;
    while (is_gated && sem_wait(&gate) != 0) /* a signal */
        continue;
    return 0;
}

static void setup(void)
{
    struct route_set *empty = route_set_new(0);
    struct route_apply_options options = {.auth_key = &key,
                                          .routes_max = 100,
                                          .destinations_max = 16,
                                          .waiting_max = 1,
                                          .on_publish = on_publish,
                                          .store = store};

    log_init(LOG_TEXT, LOG_ERR, 2);
    options.loop = loop = loop_new("control", 0, 64);
    deadline_init(&guard, loop, on_guard);
    deadline_set(&guard, 20000);
    auth_key_init(&key);
    route_set_seal(empty);
    route_set_number(empty, 0);
    int rc = route_apply_new(&apply, &options, empty);
    ck_assert_int_eq(rc, 0);
    route_set_unref(empty);
    ws_server_start(&server, loop);
    published = 0;
    snprintf(url, sizeof(url), "ws://127.0.0.1:%u/x", server.port);
    conf = (struct traffic_conf){.coreflow_url = url, .coreflow_ca_file = nothing};
    conf.timeouts.coreflow_handshake_secs = conf.timeouts.coreflow_ping_secs = 15;
    conf.timeouts.coreflow_pong_secs = conf.timeouts.coreflow_message_secs = 15;
    conf.limits.routes_bytes = 60000;
    conf.limits.coreflow_answers = 4;
    conf.limits.waiting_updates = 1;
}

static void teardown(void)
{
    route_apply_stop(apply);
    coreflow_stop(&link_);
    coreflow_stop(&link_); /* fine twice */
    ck_assert_str_eq(coreflow_state_word(&link_), "off");
    loop_settle(loop);
    ck_assert_uint_eq(loop_pool(loop)->out_count, 0);
    deadline_off(&guard);
    loop_free(loop);
    route_apply_free(apply);
    ws_server_stop(&server);
}

/* Up and tagged, at the server's side too. */
static void tag(const char *answer)
{
    char id[64], text[512];
    const char *frame;

    ws_server_accept(&server);
    ws_server_upgrade(&server, "", 0);
    frame = ws_server_frame(&server);
    ck_assert_ptr_eq(strstr(frame, "1{\"method\":\"__typedsocket_setTag\""), frame);
    ck_assert_ptr_nonnull(strstr(frame, "\"name\":\"coretraffic\""));
    ck_assert_str_eq(coreflow_state_word(&link_), "tagging");
    snprintf(id, sizeof(id), "%.32s", strstr(frame, "\"id\":\"") + 6);
    snprintf(text, sizeof(text),
             "{\"method\":\"__typedsocket_setTag\",%s,"
             "\"correlation\":{\"id\":\"%s\",\"phase\":\"response\"}}",
             answer, id);
    ws_server_text(&server, text);
    while (link_.state != COREFLOW_UP)
        ws_server_spin(&server);
}

static void start(void)
{
    coreflow_start(&link_, loop, NULL, apply, &conf);
    ck_assert_str_eq(coreflow_state_word(&link_), "connecting");
    tag("\"response\":{\"success\":true}");
    ck_assert(link_.is_tagged);
}

static void ask(const char *method, const char *id, const char *request)
{
    char text[10000];

    snprintf(text, sizeof(text),
             "{\"method\":\"%s\",\"request\":%s,"
             "\"correlation\":{\"id\":\"%s\",\"phase\":\"request\"}}",
             method, request, id);
    ws_server_text(&server, text);
}

static void expect(const char *part, const char *id)
{
    const char *frame = ws_server_frame(&server);
    char end[100];

    ck_assert_msg(strstr(frame, part) != NULL, "%s", frame);
    snprintf(end, sizeof(end), "\"correlation\":{\"id\":\"%s\",\"phase\":\"response\"}}", id);
    ck_assert_msg(strstr(frame, end) != NULL, "%s", frame);
}

START_TEST(without_a_url_it_is_off)
{
    conf.coreflow_url = nothing;
    coreflow_start(&link_, loop, NULL, apply, &conf);
    ck_assert_str_eq(coreflow_state_word(&link_), "off");
    struct json_object *state = coreflow_emit_state(&link_);
    ck_assert_str_eq(json_object_to_json_string_ext(state, JSON_C_TO_STRING_PLAIN),
                     "{\"state\":\"off\"}");
    json_object_put(state);
}
END_TEST

START_TEST(each_request_has_its_answer)
{
    start();
    ask("updateRouting", "1", "{\"reverseConfigs\":[]}");
    expect("\"response\":{\"status\":\"ok\",\"errorText\":\"\"}", "1");
    ck_assert_uint_eq(published, 0); /* it was empty already */
    ask("updateRouting", "2", "[7]");
    expect("\"status\":\"error\",\"errorText\":\"1 fault: /reverseConfigs/0: ", "2");
    ask("other", "3", "{}");
    expect("\"error\":{\"text\":", "3");
    ck_assert_uint_eq(link_.stats.messages[COREFLOW_MESSAGE_UPDATE], 2);
    ck_assert_uint_eq(link_.stats.messages[COREFLOW_MESSAGE_UNKNOWN], 1);
    ck_assert_uint_eq(link_.stats.messages[COREFLOW_MESSAGE_ANSWER], 1);
    ck_assert_int_gt(link_.stats.last_update_at, 0);
    ck_assert(list_is_empty(&link_.asked));
}
END_TEST

static void on_edit_done(struct route_update *u, const struct route_set *live)
{
    (void)u;
    (void)live;
}

static bool on_edit_start(struct route_update *u, const struct route_set *live)
{
    (void)u;
    (void)live;
    return true;
}

/* A dry run: no set takes its place. */
static void submit_dry_run(void)
{
    struct route_update *u = route_update_new(ROUTE_UPDATE_PUT);

    strcpy(u->host, "a.test");
    u->text = must_strdup("{}");
    u->text_len = 2;
    u->is_dry_run = true;
    u->on_start = on_edit_start;
    u->on_done = on_edit_done;
    int rc = route_apply_submit(apply, u);
    ck_assert_int_eq(rc, 0);
}

/* A set of one route, which differs by its port; as JSON. */
static const char *set_of(unsigned port)
{
    static char out[8192];
    struct json_object *list = json_object_new_array(), *o = json_object_new_object(),
                       *ips = json_object_new_array(), *ports = json_object_new_array();

    json_object_array_add(ips, json_object_new_string("127.0.0.1"));
    json_object_array_add(ports, json_object_new_int((int)port));
    json_object_object_add(o, "hostName", json_object_new_string("a.test"));
    json_object_object_add(o, "destinationIps", ips);
    json_object_object_add(o, "destinationPorts", ports);
    json_object_object_add(o, "publicKey", json_object_new_string(a_test_chain));
    json_object_object_add(o, "privateKey", json_object_new_string(a_test_key));
    json_object_array_add(list, o);
    snprintf(out, sizeof(out), "%s", json_object_to_json_string(list));
    json_object_put(list);
    return out;
}

static void wait_for_waiting(unsigned n)
{
    while (route_apply_stats(apply)->waiting != n)
        ws_server_spin(&server);
}

/* The apply thread is held while it stores a set: what comes meanwhile waits, is superseded, or
 * finds the line full. */
START_TEST(superseded_and_busy)
{
    start();
    sem_init(&gate, 0, 0);
    is_gated = true;
    ask("updateRouting", "1", set_of(1));
    while (published < 1)
        ws_server_spin(&server);
    ask("updateRouting", "2", set_of(2));
    wait_for_waiting(1);
    ask("updateRouting", "3", set_of(3));
    expect("\"errorText\":\"superseded: ", "2");
    ck_assert_uint_eq(route_apply_stats(apply)->waiting, 1);
    sem_post(&gate);
    expect("\"status\":\"ok\"", "1");
    while (published < 2)
        ws_server_spin(&server);
    submit_dry_run();
    wait_for_waiting(1);
    ask("updateRouting", "4", set_of(4));
    expect("\"errorText\":\"1 updates wait already (limits.waitingUpdates)\"", "4");
    sem_post(&gate);
    expect("\"status\":\"ok\"", "3");
    ck_assert_uint_eq(published, 2);
    ck_assert(list_is_empty(&link_.asked));
}
END_TEST

START_TEST(a_link_that_breaks_comes_back)
{
    start();
    ask("updateRouting", "1", "[]");
    shutdown(server.fd, SHUT_RDWR); /* nobody waits for the answer any more */
    while (link_.state != COREFLOW_WAITING)
        ws_server_spin(&server);
    ck_assert(!link_.is_tagged && list_is_empty(&link_.asked));
    ck_assert_uint_eq(link_.stats.ends[WS_END_LOST] + link_.stats.ends[WS_END_PEER_CLOSED], 1);
    ck_assert_str_ne(link_.stats.last_error, "");
    tag("\"error\":{\"text\":\"no such method\",\"data\":{}}"); /* refused this time */
    ck_assert(!link_.is_tagged);
    ck_assert_uint_eq(link_.stats.connects, 2);
    ask("updateRouting", "2", "[]");
    expect("\"status\":\"ok\"", "2");
}
END_TEST

START_TEST(what_is_no_object_closes)
{
    start();
    ws_server_text(&server, "[]");
    const char *frame = ws_server_frame(&server);
    ck_assert_int_eq(frame[0], '8');
    ck_assert_int_eq((uint8_t)frame[1] << 8 | (uint8_t)frame[2], 1007);
    shutdown(server.fd, SHUT_RDWR);
    while (link_.state != COREFLOW_WAITING)
        ws_server_spin(&server);
    ck_assert_uint_eq(link_.stats.ends[WS_END_BAD_DATA], 1);
    ck_assert_uint_eq(link_.stats.messages[COREFLOW_MESSAGE_BROKEN], 1);
}
END_TEST

/* A server that says "so much will come", and we have no memory for it. */
START_TEST(a_size_that_nobody_has_closes)
{
    static const uint8_t head[] = {0x81, 127, 0x3f, 0, 0, 0, 0, 0, 0, 0, '{'};
    const char *frame;

    conf.limits.routes_bytes = INT64_MAX;
    start();
    ws_server_write(&server, head, sizeof(head));
    frame = ws_server_frame(&server);
    ck_assert_int_eq(frame[0], '8');
    ck_assert_int_eq((uint8_t)frame[1] << 8 | (uint8_t)frame[2], 1009);
    while (link_.state != COREFLOW_WAITING)
        ws_server_spin(&server);
    ck_assert_uint_eq(link_.stats.ends[WS_END_TOO_BIG], 1);
}
END_TEST

/* The service ends while an update is on its way: its sender hears of it. */
START_TEST(the_end_is_told)
{
    start();
    ask("updateRouting", "1", "{}");
    while (link_.stats.messages[COREFLOW_MESSAGE_UPDATE] == 0)
        ws_server_spin(&server);
    route_apply_stop(apply);
    coreflow_stop(&link_);
    expect("\"status\":\"error\"", "1");
    ck_assert_int_eq(ws_server_frame(&server)[0], '8');
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, without_a_url_it_is_off);
    tcase_add_test(tc, each_request_has_its_answer);
    tcase_add_test(tc, superseded_and_busy);
    tcase_add_test(tc, a_link_that_breaks_comes_back);
    tcase_add_test(tc, what_is_no_object_closes);
    tcase_add_test(tc, a_size_that_nobody_has_closes);
    tcase_add_test(tc, the_end_is_told);
    return suite_run("traffic_coreflow", tc);
}
