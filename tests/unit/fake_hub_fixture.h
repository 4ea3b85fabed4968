/* fake_hub_fixture - as much of a hub as `penstock-edge check` asks: TCP, TLS, one hello, and the
 * answer that the test wants.  A thread of its own, for who asks blocks. */
#ifndef TESTS_UNIT_FAKE_HUB_FIXTURE_H
#define TESTS_UNIT_FAKE_HUB_FIXTURE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "edge/credentials.h"
#include "edge/edge_conf.h"
#include "link/link.h"
#include "loop/listener.h"
#include "loop/worker.h"
#include "support/tls_pem.h"
#include "wire/hello.h"
#include "json/json.h"

#define EDGE_ID       "fra-1"
#define EDGE_SECRET   "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"
#define FAKE_HUB_LANE 16

static struct fake_hub {
    /* what it does */
    enum answer_code code;
    const char *raw; /* this instead of an answer; "": none, it closes */
    bool is_expired; /* its certificate */
    /* what it saw; read it after fake_hub_down() */
    struct hello hello; /* the last one */
    unsigned hellos, right_proofs;
    /* its own */
    struct worker worker;
    struct acceptor acceptor;
    struct tls_ctx *tls;
    struct budget budget;
    struct link *links[FAKE_HUB_LANE];
    unsigned link_count;
    uint16_t port;
} fake_hub;

static inline bool is_right_proof(struct link *link, const struct hello *h)
{
    uint8_t message[PROOF_MESSAGE_MAX], exporter[TLS_EXPORTER_BYTES], expected[PROOF_BYTES];
    size_t n;

    ck_assert_int_eq(link_exporter(link, exporter), 0);
    n = proof_message_emit(message, PROOF_EDGE, exporter, EDGE_ID);
    tls_hmac_sha256(EDGE_SECRET, strlen(EDGE_SECRET), message, n, expected);
    return proof_is_equal(expected, h->proof);
}

static inline int on_hello(struct link *link, const uint8_t *bytes, size_t n)
{
    struct answer answer = {.code = fake_hub.code, .message = "as the test wants it"};
    struct wire_why why;
    int used = hello_parse(&fake_hub.hello, bytes, n, &why);
    char *line;

    if (used <= 0)
        return used;
    fake_hub.hellos++;
    fake_hub.right_proofs += is_right_proof(link, &fake_hub.hello);
    if (fake_hub.raw && !*fake_hub.raw)
        return -ERR_CLOSED;
    if (fake_hub.raw) {
        link_refuse(link, fake_hub.raw, strlen(fake_hub.raw), -ERR_DENIED);
        return used;
    }
    line = answer_emit(&answer, &n);
    link_refuse(link, line, n, -ERR_DENIED);
    free(line);
    return used;
}

static inline void on_edge_secure(struct link *link)
{
    (void)link;
}

static inline void on_edge_dead(struct link *link)
{
    struct link **mine = link_owner(link);

    link_free(link);
    *mine = NULL;
}

static const struct link_ops fake_hub_ops = {
    .on_secure = on_edge_secure, .on_line = on_hello, .on_dead = on_edge_dead};

static inline void on_edge_dials(struct acceptor *a, int fd, const union addr *peer)
{
    struct link **mine = &fake_hub.links[fake_hub.link_count++];

    (void)a;
    (void)peer;
    ck_assert_uint_le(fake_hub.link_count, FAKE_HUB_LANE);
    ck_assert_int_eq(link_new(mine, fd,
                              &(struct link_options){.side = LINK_HUB,
                                                     .loop = fake_hub.worker.loop,
                                                     .tls = fake_hub.tls,
                                                     .budget = &fake_hub.budget,
                                                     .ops = &fake_hub_ops,
                                                     .owner = mine,
                                                     .handshake_ms = 8000}),
                     0);
}

static inline struct tls_ctx *fake_hub_tls(void)
{
    static const char *const alpn[] = {WIRE_ALPN, NULL};
    struct tls_server_options options = {.versions = TLS_ONLY_13, .alpn = alpn};
    struct tls_pem pem;
    struct tls_ctx *ctx;
    char why[200];

    tls_pem_make(&pem,
                 &(struct tls_pem_options){.name = "127.0.0.1", .is_expired = fake_hub.is_expired});
    ck_assert_int_eq(tls_cert_parse(&options.cert, pem.chain, pem.key, why, sizeof(why)), 0);
    tls_pem_fini(&pem);
    ck_assert_int_eq(tls_ctx_new_server(&ctx, &options), 0);
    tls_cert_unref(options.cert);
    return ctx;
}

struct listening {
    struct task task;
    int fd;
};

static inline void on_listen(struct task *task)
{
    struct listening *l = container_of(task, struct listening, task);

    acceptor_init(&fake_hub.acceptor, fake_hub.worker.loop, l->fd, on_edge_dials);
    acceptor_start(&fake_hub.acceptor);
    free(l);
}

/* `as` says what it does. */
static inline void fake_hub_up(struct fake_hub as)
{
    struct listening *l = must_alloc(sizeof(*l));
    union addr at, bound;

    fake_hub = as;
    fake_hub.tls = fake_hub_tls();
    budget_init(&fake_hub.budget, 64u << 20, 1000, 4u << 20);
    ck_assert_int_eq(addr_parse_host(&at, "127.0.0.1", 0), 0);
    ck_assert_int_eq(listen_bind(&at, 1, &l->fd, &bound), 0);
    fake_hub.port = addr_port(&bound);
    ck_assert_int_eq(workers_start(&fake_hub.worker, 1, "fake-hub", 16, 0), 0);
    l->task = (struct task){.run = on_listen};
    loop_post(fake_hub.worker.loop, &l->task);
}

static inline void fake_hub_down(void)
{
    workers_stop(&fake_hub.worker, 1);
    acceptor_fini(&fake_hub.acceptor);
    for (unsigned i = 0; i < fake_hub.link_count; i++)
        link_free(fake_hub.links[i]);
    workers_free(&fake_hub.worker, 1);
    tls_ctx_unref(fake_hub.tls);
}

/* A port of 127.0.0.1 where nobody listens. */
static inline uint16_t deserted_port(void)
{
    union addr at, bound;
    int fd;

    ck_assert_int_eq(addr_parse_host(&at, "127.0.0.1", 0), 0);
    ck_assert_int_eq(listen_bind(&at, 1, &fd, &bound), 0);
    close(fd);
    return addr_port(&bound);
}

/* --- the edge's side
 * -------------------------------------------------------------------------------- */

static struct edge_conf conf;

/* Reads a configuration of EDGE_ID for that port (0: with no credentials), with `more` --set words.
 */
static inline void edge_conf_read(uint16_t port, const char *state_dir, const char *const *more)
{
    char *environment[] = {"PENSTOCK_SECRET=" EDGE_SECRET, NULL}, *none[] = {NULL};
    char state[100], at[40];
    const char *sets[16] = {"management.listen=127.0.0.1:0", state};
    struct json_check faults;
    size_t n = 2;

    snprintf(state, sizeof(state), "stateDir=%s", state_dir);
    snprintf(at, sizeof(at), "hubPort=%u", (unsigned)port);
    if (port) {
        sets[n++] = at;
        sets[n++] = "hubHost=127.0.0.1";
        sets[n++] = "edgeId=" EDGE_ID;
    }
    while (more && *more)
        sets[n++] = *more++;
    memset(&conf, 0, sizeof(conf));
    json_check_init(&faults);
    ck_assert_msg(
        conf_read(&edge_conf_table, NULL, port ? environment : none, sets, &conf, &faults) == 0,
        "%s: %s", faults.faults[0].pointer, faults.faults[0].detail);
    json_check_fini(&faults);
}

#endif
