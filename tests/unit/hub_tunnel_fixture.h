/* hub_tunnel_fixture - a whole hub in this process, with its workers and its API, an edge made of
 * one link a lane, and a target that answers with what it got.  The hub's control loop is the
 * test's. */
#ifndef TESTS_UNIT_HUB_TUNNEL_FIXTURE_H
#define TESTS_UNIT_HUB_TUNNEL_FIXTURE_H

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "hub/hub.h"
#include "hub_fixture.h"
#include "link/link.h"
#include "support/await.h"

#define SECRET_OF_E1 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define PATIENCE_MS  10000

static struct hub hub;
static char state_dir[64];
static struct budget edge_budget;

static inline bool until_ms(bool (*is_true)(void *arg), void *arg, uint64_t ms)
{
    return await_within(hub.loop, is_true, arg, ms);
}

#define UNTIL(condition, arg)                                                                      \
    ck_assert_msg(until_ms(condition, arg, PATIENCE_MS), "never: " #condition)

/* --- the hub
 * --------------------------------------------------------------------------------------- */

/* "edges=..." goes through the environment: --set takes no secrets. */
static inline void hub_up(const char *const *more)
{
    char *environment[] = {NULL, NULL};
    const char *sets[16] = {"tunnel.listen=127.0.0.1:0", "management.listen=127.0.0.1:0",
                            "workers=2", "log.level=error"};
    char state[96];
    struct json_check faults;
    size_t n = 4;

    snprintf(state_dir, sizeof(state_dir), "/tmp/hub-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(state_dir));
    snprintf(state, sizeof(state), "stateDir=%s", state_dir);
    sets[n++] = state;
    for (; more && *more; more++) {
        if (strncmp(*more, "edges=", 6) == 0)
            environment[0] = must_printf("PENSTOCK_EDGES=%s", *more + 6);
        else
            sets[n++] = *more;
    }
    json_check_init(&faults);
    memset(&hub, 0, sizeof(hub));
    ck_assert_msg(conf_read(&hub_conf_table, NULL, environment, sets, &hub.conf, &faults) == 0,
                  "%s: %s", faults.faults[0].pointer, faults.faults[0].detail);
    free(environment[0]);
    json_check_fini(&faults);
    service_log_start(&hub.conf.service);
    ck_assert_int_eq(hub_start(&hub), 0);
    budget_init(&edge_budget, 64u << 20, 1000, 4u << 20);
}

static inline int on_file(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static inline void hub_down(void)
{
    hub_stop(&hub);
    conf_free(&hub_conf_table, &hub.conf);
    nftw(state_dir, on_file, 8, FTW_DEPTH | FTW_PHYS);
}

/* --- an edge
 * ---------------------------------------------------------------------------------------- */

struct test_lane {
    struct link *link;
    /* what it says */
    const char *edge_id, *secret, *instance;
    const char *raw; /* this instead of a hello */
    bool has_session;
    uint8_t session[SESSION_BYTES];
    uint32_t number;
    bool acks; /* answers a CONFIG at once */
    /* what it heard */
    struct answer answer;
    bool has_answer, is_dead, is_proof_right;
    int configs; /* CONFIG frames */
    struct wire_config config;
    struct goodbye goodbye;
    bool has_goodbye;
    uint64_t started_ms, ended_ms;
};

static inline void lane_ack(struct test_lane *t)
{
    struct config_ack ack = {.revision = t->config.revision};
    char *text;

    port_list_copy(&ack.ports, &t->config.ports);
    text = config_ack_emit(&ack, NULL);
    link_send_config(t->link, text);
    free(text);
    config_ack_fini(&ack);
}

static inline void test_prove(uint8_t out[PROOF_BYTES], const struct test_lane *t,
                              enum proof_side side)
{
    uint8_t message[PROOF_MESSAGE_MAX], exporter[TLS_EXPORTER_BYTES];
    size_t n;

    ck_assert_int_eq(link_exporter(t->link, exporter), 0);
    n = proof_message_emit(message, side, exporter, t->edge_id);
    tls_hmac_sha256(t->secret, strlen(t->secret), message, n, out);
}

static inline void on_test_secure(struct link *link)
{
    struct test_lane *t = link_owner(link);
    struct hello h = {.version = WIRE_VERSION,
                      .has_session = t->has_session,
                      .is_session_formed = true,
                      .lane = t->number,
                      .is_proof_formed = true};
    size_t n;
    char *line;

    if (t->raw) {
        link_send_line(link, t->raw, strlen(t->raw));
        return;
    }
    snprintf(h.edge_id, sizeof(h.edge_id), "%s", t->edge_id);
    snprintf(h.instance, sizeof(h.instance), "%s", t->instance);
    snprintf(h.software, sizeof(h.software), "test");
    memcpy(h.session, t->session, sizeof(h.session));
    test_prove(h.proof, t, PROOF_EDGE);
    line = hello_emit(&h, &n);
    link_send_line(link, line, n);
    free(line);
}

static inline int on_test_line(struct link *link, const uint8_t *bytes, size_t n)
{
    struct test_lane *t = link_owner(link);
    uint8_t expect[PROOF_BYTES];
    struct wire_why why;
    int used = answer_parse(&t->answer, bytes, n, &why);

    if (used <= 0)
        return used;
    t->has_answer = true;
    t->ended_ms = loop_now_ms(link_loop(link));
    if (t->answer.code != ANSWER_OK)
        return -ERR_DENIED;
    test_prove(expect, t, PROOF_HUB);
    t->is_proof_right = proof_is_equal(expect, t->answer.proof);
    t->config = t->answer.config; /* moved */
    t->answer.config = (struct wire_config){.revision = 0};
    link_open(link, t->answer.initial_window);
    if (t->acks)
        lane_ack(t);
    return used;
}

static inline int on_test_control(struct link *link, enum frame_type type, const uint8_t *json,
                                  size_t n, struct wire_why *why)
{
    struct test_lane *t = link_owner(link);

    ck_assert_int_eq(type, FRAME_CONFIG);
    wire_config_fini(&t->config);
    ck_assert_int_eq(wire_config_parse(&t->config, json, n, why), 0);
    t->configs++;
    if (t->acks)
        lane_ack(t);
    return 0;
}

static inline void on_test_drain(struct link *link)
{
    (void)link;
}

static inline void on_test_dead(struct link *link)
{
    struct test_lane *t = link_owner(link);

    if (link_peer_goodbye(link)) {
        t->has_goodbye = true;
        t->goodbye = *link_peer_goodbye(link);
    }
    t->is_dead = true;
    link_free(link);
    t->link = NULL;
}

static const struct link_ops test_link_ops = {.on_secure = on_test_secure,
                                              .on_line = on_test_line,
                                              .on_control = on_test_control,
                                              .on_drain = on_test_drain,
                                              .on_dead = on_test_dead};

static inline int dial_hub(void)
{
    const union addr *at = &hub.tunnel_at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, &at->sa, addr_len(at)), 0);
    return fd;
}

static inline void lane_dial(struct test_lane *t)
{
    static const char *const alpn[] = {WIRE_ALPN, NULL};
    struct tls_ctx *ctx;
    char why[100];
    int fd = dial_hub();

    if (!t->edge_id)
        t->edge_id = "e1";
    if (!t->secret)
        t->secret = SECRET_OF_E1;
    if (!t->instance)
        t->instance = "here";
    ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    ck_assert_int_eq(tls_ctx_new_client(
                         &ctx, &(struct tls_client_options){.versions = TLS_ONLY_13, .alpn = alpn},
                         why, sizeof(why)),
                     0);
    ck_assert_int_eq(link_new(&t->link, fd,
                              &(struct link_options){.side = LINK_EDGE,
                                                     .loop = hub.loop,
                                                     .tls = ctx,
                                                     .budget = &edge_budget,
                                                     .ops = &test_link_ops,
                                                     .owner = t,
                                                     .handshake_ms = 8000}),
                     0);
    tls_ctx_unref(ctx);
    t->started_ms = loop_now_ms(hub.loop);
}

static inline bool is_answered(void *arg)
{
    struct test_lane *t = arg;

    return t->has_answer || t->is_dead;
}

static inline bool is_dead(void *arg)
{
    return ((struct test_lane *)arg)->is_dead;
}

/* Dials, and waits for the answer.  The hub gives its desk HUB_VERDICT_MS for that: anew where this
 * machine was held up for so long. */
static inline enum answer_code lane_up(struct test_lane *t)
{
    for (unsigned tries = 1;; tries++) {
        uint64_t since_us = clock_now_us();

        t->is_dead = false;
        lane_dial(t);
        UNTIL(is_answered, t);
        if (t->has_answer)
            return t->answer.code;
        if (clock_now_us() - since_us < HUB_VERDICT_MS * 1000ull || tries == 5)
            return ANSWER_OTHER;
        t->number += t->has_session ? 16 : 0; /* the hub may have taken the one before */
    }
}

/* A lane that must come up, of an edge that acknowledges each CONFIG. */
static inline void edge_up(struct test_lane *t)
{
    t->acks = true;
    ck_assert_int_eq(lane_up(t), ANSWER_OK);
}

/* A further lane of the session of `of`. */
static inline void lane_joins(struct test_lane *t, const struct test_lane *of, uint32_t number)
{
    t->has_session = true;
    t->number = number;
    memcpy(t->session, of->answer.session, sizeof(t->session));
}

static inline void lane_down(struct test_lane *t)
{
    link_free(t->link);
    t->link = NULL;
    answer_fini(&t->answer);
    wire_config_fini(&t->config);
}

#endif
