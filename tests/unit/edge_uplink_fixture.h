/* edge_uplink_fixture - an uplink that is real, with its public ports and their sockets.  The
 * workers' loops are there but don't run: what a lane would report is said by the test. */
#ifndef TESTS_UNIT_EDGE_UPLINK_FIXTURE_H
#define TESTS_UNIT_EDGE_UPLINK_FIXTURE_H

#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "edge/uplink.h"
#include "json/json.h"

#define WORKERS 3
#define GOOD_MS (BACKOFF_GOOD_MS + 1)

static struct loop *loop;
static struct worker threads[WORKERS];
static struct edge_worker workers[WORKERS];
static struct edge_shared shared;
static struct uplink u;
static uint16_t ports[2];

/* --- the stand -------------------------------------------------------------------------------- */

static inline uint16_t free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, n), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static inline struct credentials *credentials_of(const char *edge_id)
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

static inline void use(const char *edge_id)
{
    struct credentials *c = edge_id ? credentials_of(edge_id) : NULL;

    uplink_set_credentials(&u, c);
    credentials_unref(c);
}

static inline void stand_up_by(uint64_t hold_ms, enum transport_mode mode)
{
    log_init(LOG_TEXT, LOG_ERR, 2);
    loop = loop_new("control", 4, 0);
    shared = (struct edge_shared){.workers = workers,
                                  .count = WORKERS,
                                  .control = loop,
                                  .instance = "here",
                                  .hold_ms = hold_ms,
                                  .held_max = 10,
                                  .per_address_max = 100,
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

static inline void stand_up(uint64_t hold_ms)
{
    stand_up_by(hold_ms, TRANSPORT_TLS);
}

static inline void stand_down(void)
{
    for (unsigned i = 0; i < WORKERS; i++)
        edge_worker_fini(&workers[i]);
    for (unsigned i = 0; i < WORKERS; i++)
        loop_free(threads[i].loop); /* gives back what the commands carry */
    uplink_fini(&u);
    loop_free(loop);
}

/* --- what lanes report ------------------------------------------------------------------------ */

static inline struct uplink_slot *slot(unsigned i)
{
    return &u.slots[i];
}

static inline struct lane_report *report_of(enum lane_report_kind kind, uint64_t serial,
                                            char session)
{
    struct lane_report *r = lane_report_new(kind, serial);

    r->worker = &workers[0];
    memset(r->session, session, sizeof(r->session));
    return r;
}

static inline void say_up(uint64_t serial, bool is_founded, uint32_t number, char session,
                          uint64_t revision, unsigned port_count)
{
    struct lane_report *r = report_of(LANE_REPORT_UP, serial, session);

    r->is_founded = is_founded;
    r->lane_number = number;
    r->config.revision = revision;
    port_list_set(&r->config.ports, ports, port_count);
    uplink_on_report(&u, r);
}

static inline void say_dead(uint64_t serial, char session)
{
    struct lane_report *r = report_of(LANE_REPORT_DEAD, serial, session);

    r->error = -ERR_CLOSED;
    strcpy(r->why, "lost");
    uplink_on_report(&u, r);
}

static inline void say_refused(uint64_t serial, char session, enum answer_code code,
                               uint32_t retry_secs)
{
    struct lane_report *r = report_of(LANE_REPORT_DEAD, serial, session);

    r->answer = code;
    r->retry_after_secs = retry_secs;
    r->error = -ERR_DENIED;
    strcpy(r->why, "refused");
    uplink_on_report(&u, r);
}

/* The first slot founds `session`, the others join it. */
static inline void all_up(char session, uint64_t revision)
{
    say_up(slot(0)->serial, true, 0, session, revision, 1);
    for (unsigned i = 1; i < WORKERS; i++)
        say_up(slot(i)->serial, false, i, session, revision, 1);
    for (unsigned i = 0; i < WORKERS; i++)
        ck_assert_int_eq(slot(i)->state, SLOT_UP);
}

static inline unsigned count_in(enum slot_state state)
{
    unsigned n = 0;

    for (unsigned i = 0; i < WORKERS; i++)
        n += slot(i)->state == state;
    return n;
}

/* As if the session had stood for long. */
static inline void time_passes(void)
{
    u.founded_ms -= GOOD_MS;
    for (unsigned i = 0; i < WORKERS; i++)
        if (slot(i)->backoff.up_since_ms)
            slot(i)->backoff.up_since_ms -= GOOD_MS;
}

#endif
