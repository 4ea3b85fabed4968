/* hub_probe - see hub_probe.h. */
#include "edge/hub_probe.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "edge/edge.h"
#include "edge/edge_conf.h"
#include "loop/socket.h"
#include "quic/quic.h"
#include "tunnel/budget.h"

#define SOFTWARE    "penstock-check/" PENSTOCK_VERSION
#define POOL_CHUNKS 4096
#define CONNECT_MS  3000u

struct hub_probes {
    struct loop *loop;      /* owned */
    struct quic_port *port; /* owned; NULL: no UDP socket could be had */
    struct budget budget;
    const struct credentials *credentials; /* borrowed */
    const char *instance;                  /* borrowed */
    size_t left;
    struct deadline due;
};

static void probe_enter(struct hub_probe *p, enum hub_probe_state to)
{
    must(to > p->state);
    p->state = to;
    if (to != PROBE_DONE)
        return;
    deadline_off(&p->settle);
    dial_cancel(&p->dial);
    if (--p->all->left == 0)
        loop_stop(p->all->loop);
}

static void end(struct hub_probe *p, int error, const char *why)
{
    if (p->state == PROBE_DONE)
        return;
    p->error = error;
    if (!p->why[0])
        snprintf(p->why, sizeof(p->why), "%s", why);
    probe_enter(p, PROBE_DONE);
}

/* --- the login -------------------------------------------------------------------------------- */

static void prove(struct hub_probe *p, uint8_t out[PROOF_BYTES])
{
    const struct token *token = &p->all->credentials->token;
    uint8_t exporter[PROOF_EXPORTER_BYTES] = {0}, message[PROOF_MESSAGE_MAX];
    size_t n;

    if (link_exporter(p->link, exporter) != 0)
        tls_random(exporter, sizeof(exporter)); /* nothing will match it */
    n = proof_message_emit(message, PROOF_EDGE, exporter, token->edge_id);
    tls_hmac_sha256(token->secret, strlen(token->secret), message, n, out);
}

static void ask(struct hub_probe *p)
{
    struct hello hello = {.version = WIRE_VERSION,
                          .has_session = true,
                          .is_session_formed = true,
                          .is_proof_formed = true};
    size_t n;
    char *line;

    snprintf(hello.edge_id, sizeof(hello.edge_id), "%s", p->all->credentials->token.edge_id);
    snprintf(hello.instance, sizeof(hello.instance), "%s", p->all->instance);
    snprintf(hello.software, sizeof(hello.software), "%s", SOFTWARE);
    tls_random(hello.session, sizeof(hello.session)); /* 128 bits that name no session */
    prove(p, hello.proof);
    line = hello_emit(&hello, &n);
    probe_enter(p, PROBE_ASKED);
    link_send_line(p->link, line, n);
    free(line);
}

static void on_settled(struct deadline *deadline)
{
    struct hub_probe *p = container_of(deadline, struct hub_probe, settle);
    struct quic_stats stats;

    quic_stats(p->quic, &stats);
    p->mtu = stats.mtu;
    ask(p);
}

static void on_secure(struct link *link)
{
    struct hub_probe *p = link_owner(link);

    p->is_secure = true;
    snprintf(p->cipher, sizeof(p->cipher), "%s", link_cipher(link));
    p->has_times = link_peer_times(link, &p->not_before, &p->not_after) == 0;
    if (p->transport == LINK_TLS) {
        ask(p);
        return;
    }
    probe_enter(p, PROBE_SETTLING);
    deadline_set(&p->settle, HUB_PROBE_SETTLE_MS);
}

static int on_line(struct link *link, const uint8_t *bytes, size_t n)
{
    struct hub_probe *p = link_owner(link);
    struct wire_why why = {""};
    struct answer answer = {0};
    int used = answer_parse(&answer, bytes, n, &why);

    if (used == 0)
        return 0;
    if (used < 0) {
        end(p, used, why.text[0] ? why.text : "its answer is too long");
        return used;
    }
    p->answer = answer.code;
    snprintf(p->message, sizeof(p->message), "%s", answer.message);
    answer_fini(&answer);
    end(p, 0, "");
    return -ERR_CLOSED;
}

static void on_dead(struct link *link)
{
    struct hub_probe *p = link_owner(link);

    end(p, link_error(link) ? link_error(link) : -ERR_CLOSED, link_error_text(link));
}

static const struct link_ops events = {
    .on_secure = on_secure,
    .on_line = on_line,
    .on_dead = on_dead,
};

/* --- the connection --------------------------------------------------------------------------- */

static struct link_options options_of(struct hub_probe *p)
{
    return (struct link_options){
        .side = LINK_EDGE,
        .loop = p->all->loop,
        .tls = p->all->credentials->tls,
        .budget = &p->all->budget,
        .ops = &events,
        .owner = p,
        .server_name = p->all->credentials->token.hub_host,
        .handshake_ms = HUB_PROBE_MS,
    };
}

static unsigned path_mtu(int fd, const union addr *peer)
{
    int mtu = 0;
    socklen_t len = sizeof(mtu);
    bool is_v6 = peer->sa.sa_family == AF_INET6;

    if (getsockopt(fd, is_v6 ? IPPROTO_IPV6 : IPPROTO_IP, is_v6 ? IPV6_MTU : IP_MTU, &mtu, &len))
        return 0;
    return (unsigned)mtu;
}

static void on_dialled(struct dial *dial, int fd, int err, const union addr *peer)
{
    struct hub_probe *p = container_of(dial, struct hub_probe, dial);
    struct link_options options = options_of(p);

    if (err) {
        end(p, err, err == -ERR_TIMEOUT ? err_text(err) : strerrordesc_np(dial->last_errno));
        return;
    }
    p->mtu = path_mtu(fd, peer);
    err = link_new(&p->link, fd, &options);
    if (err)
        end(p, err, err_text(err));
    else
        probe_enter(p, PROBE_SHAKING);
}

static void dial_quic(struct hub_probe *p)
{
    struct link_options options = options_of(p);
    struct quic_dial_options how = {
        .tls = options.tls, .peer = &p->at, .server_name = options.server_name};
    int err = p->all->port ? quic_dial(&p->quic, p->all->port, &how) : -ERR_SYS;

    if (!err)
        err = link_new_quic(&p->link, p->quic, &options);
    if (err)
        end(p, err, "no UDP socket for it can be had here");
    else
        probe_enter(p, PROBE_SHAKING);
}

static void start(struct hub_probe *p, struct hub_probes *all)
{
    p->all = all;
    deadline_init(&p->settle, all->loop, on_settled);
    dial_init(&p->dial, all->loop, NULL, on_dialled);
    if (p->transport == LINK_QUIC) {
        dial_quic(p);
        return;
    }
    addr_format_host(&p->at, p->literal);
    dial_start(&p->dial, p->literal, addr_port(&p->at), CONNECT_MS, CONNECT_MS);
}

static struct quic_port *open_port(struct loop *loop, const struct edge_conf *conf)
{
    static const char *const any[] = {"::", "0.0.0.0"};
    struct quic_port_options options = {.loop = loop, .count = 1, .params = edge_quic_params(conf)};
    struct quic_port *port = NULL;
    union addr at;
    int fds[2];

    options.params.qlog_dir = NULL;
    options.fds = fds;
    for (unsigned i = 0; i < ARRAY_LEN(any); i++)
        if (addr_parse_host(&at, any[i], 0) == 0 &&
            quic_bind(&at, 1, &fds[options.fd_count], NULL) == 0)
            options.fd_count++;
    tls_random(options.reset_key, sizeof(options.reset_key));
    if (options.fd_count == 0 || quic_port_new(&port, &options) != 0)
        return NULL;
    return port;
}

static void on_due(struct deadline *due)
{
    loop_stop(container_of(due, struct hub_probes, due)->loop);
}

void hub_probe_run(struct hub_probe *probes, size_t count, const struct edge_conf *conf,
                   const struct credentials *credentials)
{
    char host[INSTANCE_MAX + 1] = "edge";
    struct hub_probes all = {.credentials = credentials, .left = count};

    if (!*conf->instance)
        (void)gethostname(host, sizeof(host) - 1);
    all.instance = *conf->instance ? conf->instance : host;
    all.loop = loop_new("check", 0, POOL_CHUNKS);
    all.port = open_port(all.loop, conf);
    budget_init(&all.budget, (uint64_t)conf->memory_budget, 1, (uint32_t)conf->max_window);
    deadline_init(&all.due, all.loop, on_due);
    deadline_set(&all.due, HUB_PROBE_MS + HUB_PROBE_SETTLE_MS);
    for (size_t i = 0; i < count; i++)
        start(&probes[i], &all);
    if (all.left)
        loop_run(all.loop);
    for (size_t i = 0; i < count; i++) {
        end(&probes[i], -ERR_TIMEOUT, err_text(-ERR_TIMEOUT));
        link_free(probes[i].link);
        probes[i].link = NULL;
    }
    deadline_off(&all.due);
    loop_settle(all.loop);
    quic_port_free(all.port);
    loop_free(all.loop);
}
