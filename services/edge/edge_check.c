/* edge_check - see edge_check.h. */
#include "edge/edge_check.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "doctor/command.h"
#include "doctor/machine.h"
#include "doctor/reach.h"
#include "edge/credentials.h"
#include "edge/edge_conf.h"
#include "edge/hub_probe.h"
#include "edge/transport_choice.h"
#include "quic/quic.h"
#include "json/json.h"

#define ADDRESSES_MAX 4u /* of the hub, that are tried: it takes few handshakes of one source */
#define SPARE_FILES   256u
#define SOCKET_BYTES  (4 << 20) /* what quic_bind() asks for */
#define MTU_LITTLE    1280u
#define DAY_SECS      86400

/* --- the hub ---------------------------------------------------------------------------------- */

static struct credentials *find_credentials(struct report *r, const struct edge_conf *conf)
{
    struct credentials *c = NULL;
    struct json_check faults;
    int err;

    json_check_init(&faults);
    err = credentials_from_conf(&c, conf, &faults);
    if (err == -ERR_NOT_FOUND)
        err = credentials_load(&c, conf->service.state_dir, &faults);
    if (err == -ERR_NOT_FOUND)
        report_fail(r, "token",
                    "set token (POST /v1/edges/{id}/token of the hub), or PUT /v1/tunnel",
                    "there is none, neither in the configuration nor in stateDir");
    else if (err)
        report_fail(r, "token", "correct it, or PUT /v1/tunnel anew", "%s: %s",
                    faults.count ? faults.faults[0].pointer : "/",
                    faults.count ? faults.faults[0].detail : err_text(err));
    else
        report_ok(r, "token", "edge %s of the hub at %s:%u, which is known by its %s",
                  c->token.edge_id, c->token.hub_host, (unsigned)c->token.hub_port,
                  credentials_verified_by(c));
    json_check_fini(&faults);
    return c;
}

static const char *mend_of(const struct hub_probe *p)
{
    bool is_udp = p->transport == LINK_QUIC;

    switch (-p->error) {
    case ERR_CERT:
        return "get a new token if the hub has a new certificate; with caFile, look at hubHost and "
               "at both clocks; if neither changed, somebody is in between";
    case ERR_TLS:
    case ERR_PROTO:
        return "see that hubHost and hubPort are the hub's tunnel.listen, and that nothing in "
               "between ends TLS";
    case ERR_DENIED:
        return "see the hub's log";
    default:
        return is_udp ? "let UDP through to the hub's tunnel port, both ways; see "
                        "tunnel.transports of the hub"
                      : "see that the hub runs, and let TCP through to its tunnel port";
    }
}

/* Is one of this transport secure? */
static bool has_secure(const struct hub_probe *probes, size_t count, enum link_transport transport)
{
    for (size_t i = 0; i < count; i++)
        if (probes[i].transport == transport && probes[i].is_secure)
            return true;
    return false;
}

static void report_path(struct report *r, const struct hub_probe *p, bool is_needed)
{
    const char *name = p->transport == LINK_QUIC ? "hub.quic" : "hub.tls";
    char at[ADDR_TEXT_MAX];

    addr_format(&p->at, at);
    if (p->is_secure)
        report_ok(r, name, "%s: handshake done, %s", at, p->cipher);
    else if (is_needed)
        report_fail(r, name, mend_of(p), "%s: %s", at, p->why);
    else
        report_warn(r, name, mend_of(p), "%s: %s", at, p->why);
    if (!p->is_secure || p->mtu == 0)
        return;
    if (p->mtu < MTU_LITTLE)
        report_warn(r, "hub.mtu", "let ICMP \"too big\" through, or raise the MTU on the way",
                    "%s: packets of %u bytes, no more, get through", at, p->mtu);
    else
        report_ok(r, "hub.mtu", "%s: %s%u bytes", at,
                  p->transport == LINK_QUIC ? "UDP payloads get through up to "
                                            : "the kernel's path MTU is ",
                  p->mtu);
}

static void report_answer(struct report *r, const struct hub_probe *p, const struct credentials *c)
{
    switch (p->answer) {
    case ANSWER_UNKNOWN_SESSION: /* to a session that there is not: hub_probe.h */
        report_ok(r, "hub.login", "the hub knows edge %s and its secret%s", c->token.edge_id,
                  c->token.has_pin || c->ca_file
                      ? ""
                      : "; with neither pin nor caFile, who it is shows in a real login only");
        break;
    case ANSWER_UNAUTHORIZED:
        report_fail(r, "hub.login",
                    "get a new token of the hub (POST /v1/edges/{id}/token), for this edge",
                    "the hub does not know edge %s by this secret", c->token.edge_id);
        break;
    case ANSWER_EDGE_DISABLED:
        report_fail(r, "hub.login",
                    "enable it: PATCH /v1/edges/{id} {\"enabled\": true} on the hub",
                    "edge %s is disabled", c->token.edge_id);
        break;
    case ANSWER_OVERLOADED:
        report_warn(r, "hub.login", "wait, and check again", "the hub has no room: %s", p->message);
        break;
    case ANSWER_UNSUPPORTED_VERSION:
        report_fail(r, "hub.login", "bring hub and edge to versions that go together",
                    "the hub speaks another version of the tunnel: %s", p->message);
        break;
    case ANSWER_OK: /* it cannot be: nothing was begun */
    case ANSWER_BAD_REQUEST:
    case ANSWER_LANE_IN_USE:
    case ANSWER_TOO_MANY_LANES:
    case ANSWER_OTHER:
        report_warn(r, "hub.login", "see the hub's log", "the hub answered %s: %s",
                    answer_name(p->answer), p->message);
        break;
    }
}

/* By this machine's clock: the hub made it by its own.  Who knows the hub by caFile has failed
 * already where it is not good; a pin asks for no date. */
static void report_times(struct report *r, const struct hub_probe *probes, size_t count)
{
    static const char *const name = "hub.certificate";
    int64_t now = time(NULL);

    while (count > 0 && !probes->has_times) {
        probes++;
        count--;
    }
    if (count == 0)
        return;
    if (now < probes->not_before)
        report_warn(r, name, "compare both clocks: one of them is wrong",
                    "by this clock it is good only in %lld minutes",
                    (long long)(probes->not_before - now + 59) / 60);
    else if (now >= probes->not_after)
        report_warn(r, name, "renew it on the hub, or compare both clocks",
                    "by this clock it ended %lld days ago",
                    (long long)(now - probes->not_after) / DAY_SECS);
    else
        report_ok(r, name, "good by this clock, for %lld more days",
                  (long long)(probes->not_after - now) / DAY_SECS);
}

/* One word about the login, whichever way it went; where several answered they are one hub. */
static void report_login(struct report *r, const struct hub_probe *probes, size_t count,
                         const struct credentials *c)
{
    for (size_t i = 0; i < count; i++)
        if (probes[i].state == PROBE_DONE && probes[i].error == 0) {
            report_answer(r, &probes[i], c);
            return;
        }
    for (size_t i = 0; i < count; i++)
        if (probes[i].is_secure) {
            report_fail(r, "hub.login", "see the hub's log",
                        "the hub gave no answer to a login: %s", probes[i].why);
            return;
        }
}

static void check_paths(struct report *r, const struct edge_conf *conf, const struct credentials *c,
                        const struct reach *hub)
{
    struct hub_probe *probes = must_alloc(2 * ADDRESSES_MAX * sizeof(*probes));
    enum transport_mode mode = (enum transport_mode)conf->transport_mode;
    size_t count = 0;

    for (unsigned i = 0; i < MIN(hub->count, ADDRESSES_MAX); i++) {
        if (mode != TRANSPORT_QUIC)
            probes[count++] = (struct hub_probe){.at = hub->addrs[i], .transport = LINK_TLS};
        if (mode != TRANSPORT_TLS)
            probes[count++] = (struct hub_probe){.at = hub->addrs[i], .transport = LINK_QUIC};
    }
    hub_probe_run(probes, count, conf, c);
    for (size_t i = 0; i < count; i++)
        report_path(r, &probes[i],
                    !has_secure(probes, count, LINK_TLS) && !has_secure(probes, count, LINK_QUIC));
    report_times(r, probes, count);
    report_login(r, probes, count, c);
    free(probes);
}

static void check_hub(struct report *r, const struct edge_conf *conf)
{
    struct credentials *c = find_credentials(r, conf);
    struct reach hub = {0};

    if (!c)
        return;
    hub.host = c->token.hub_host;
    hub.port = c->token.hub_port;
    reach_lookup(&hub, 1);
    reach_report_lookup(r, "hub.name", &hub);
    if (!hub.err)
        check_paths(r, conf, c, &hub);
    credentials_unref(c);
}

/* --- this machine ----------------------------------------------------------------------------- */

static void check_buffers(struct report *r)
{
    union addr at;
    int fd;

    if (addr_parse_host(&at, "127.0.0.1", 0) == 0 && quic_bind(&at, 1, &fd, NULL) == 0) {
        machine_check_udp_buffers(r, fd, SOCKET_BYTES);
        close(fd);
    }
}

void edge_check(struct report *r, const void *member)
{
    const struct edge_conf *conf = member;
    struct running running;

    running_ask(&running, &conf->service);
    doctor_check_service(r, &conf->service, &running);
    running_fini(&running);
    machine_check_files(r,
                        (uint64_t)(conf->limits.streams + conf->limits.held_clients) + SPARE_FILES);
    check_buffers(r);
    machine_check_low_ports(r, conf->bind_address);
    check_hub(r, conf);
}

void edge_each_secret(const void *member, void (*on_secret)(void *arg, const char *secret),
                      void *arg)
{
    const struct edge_conf *conf = member;
    struct wire_why why;
    struct token token;

    if (!*conf->token || token_parse(&token, conf->token, &why) != 0)
        return;
    on_secret(arg, token.secret);
    token_fini(&token);
}
