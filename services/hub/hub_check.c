/* hub_check - see hub_check.h. */
#include "hub/hub_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "doctor/certificate.h"
#include "doctor/command.h"
#include "doctor/machine.h"
#include "doctor/reach.h"
#include "hub/hub_cert.h"
#include "hub/hub_conf.h"
#include "hub/registry_store.h"
#include "hub/target.h"
#include "quic/quic.h"
#include "json/json.h"

#define SPARE_FILES  256u
#define SOCKET_BYTES (4 << 20) /* what quic_bind() asks for */

static void check_store(struct report *r, const struct hub_conf *conf)
{
    char why[STORE_WHY_BYTES] = "";

    switch (-registry_store_look(conf, why, sizeof(why))) {
    case ERR_NONE:
        report_ok(r, "store", "%s can be read with its key", why);
        break;
    case ERR_NOT_FOUND:
        report_ok(r, "store", "%s is not there yet; it is made at the first start", why);
        break;
    case ERR_AUTH:
        report_fail(r, "store", "bring the key of this store back (store.keyFile)", "%s", why);
        break;
    default:
        report_fail(r, "store", "bring it back from a backup, or give store.url another file", "%s",
                    why);
        break;
    }
}

static void check_certificate(struct report *r, const struct hub_conf *conf)
{
    char *made = must_printf("%s/hub.crt", conf->service.state_dir), why[200] = "";
    struct tls_cert *cert = NULL;

    if (!*conf->tunnel_cert_file && access(made, F_OK) != 0 && errno == ENOENT) {
        report_ok(r, "tunnel.certificate", "%s is not there yet; it is made at the first start",
                  made);
    } else if (hub_cert_load(&cert, conf, why, sizeof(why)) != 0) {
        report_fail(r, "tunnel.certificate", "see tunnel.certFile and tunnel.keyFile", "%s", why);
    } else {
        /* edges with a pin look at no name, and a certificate of our own is known by its pin */
        certificate_check(r, "tunnel.certificate", cert, 0,
                          *conf->tunnel_cert_file ? conf->public_host : NULL, time(NULL));
        tls_cert_unref(cert);
    }
    free(made);
}

static void check_ports(struct report *r, const struct hub_conf *conf,
                        const struct running *running)
{
    if (hub_conf_has_transport(conf, "tls"))
        doctor_check_port(r, "tunnel.listen", conf->tunnel_listen, MACHINE_TCP, running);
    if (hub_conf_has_transport(conf, "quic"))
        doctor_check_port(r, "tunnel.listen", conf->tunnel_listen, MACHINE_UDP, running);
}

static void check_buffers(struct report *r, const struct hub_conf *conf)
{
    union addr at;
    int fd;

    if (hub_conf_has_transport(conf, "quic") && addr_parse_host(&at, "127.0.0.1", 0) == 0 &&
        quic_bind(&at, 1, &fd, NULL) == 0) {
        machine_check_udp_buffers(r, fd, SOCKET_BYTES);
        close(fd);
    }
}

/* --- targets ---------------------------------------------------------------------------------- */

/* What no other entry is yet. */
static void add_once(struct reach *all, size_t *count, const struct target *t)
{
    for (size_t i = 0; i < *count; i++)
        if (all[i].port == t->port && strcmp(all[i].host, t->host) == 0)
            return;
    if (*count < REACH_MAX)
        all[(*count)++] = (struct reach){.host = t->host, .port = t->port};
}

static size_t gather(const struct target_map *map, struct reach *all)
{
    size_t count = 0;

    for (size_t i = 0; i < target_map_count(map); i++) {
        uint16_t port;
        struct target t = target_map_at(map, i, &port);

        add_once(all, &count, &t);
    }
    return count;
}

/* A hub starts before its targets do: none of them is a fault of its own. */
static void check_targets(struct report *r, const struct hub_conf *conf)
{
    struct reach *all = must_alloc(REACH_MAX * sizeof(*all));
    struct target_map *map = NULL;
    struct json_check faults;
    size_t count;

    json_check_init(&faults);
    must(target_map_parse(&map, conf->target_host,
                          target_mode(TARGET_TCP, (unsigned)conf->target_proxy_protocol),
                          conf->target_ports, &faults, "") == 0); /* it was checked */
    count = gather(map, all);
    reach_connect(all, count);
    for (size_t i = 0; i < count; i++)
        reach_report_connect(r, "target", &all[i], REPORT_WARN);
    target_map_free(map);
    must(target_map_parse_udp(&map, conf->target_host,
                              target_mode(TARGET_UDP, (unsigned)conf->target_proxy_protocol_udp),
                              conf->target_ports_udp, &faults, "") == 0);
    count = gather(map, all);
    reach_lookup(all, count);
    for (size_t i = 0; i < count; i++)
        reach_report_lookup(r, "target.udp", &all[i]);
    target_map_free(map);
    json_check_fini(&faults);
    free(all);
}

void hub_check(struct report *r, const void *member)
{
    const struct hub_conf *conf = member;
    struct running running;

    running_ask(&running, &conf->service);
    doctor_check_service(r, &conf->service, &running);
    machine_check_files(
        r, (uint64_t)(conf->limits.streams + conf->limits.udp_sessions + conf->limits.sessions) +
               SPARE_FILES);
    check_buffers(r, conf);
    check_store(r, conf);
    check_certificate(r, conf);
    check_ports(r, conf, &running);
    check_targets(r, conf);
    running_fini(&running);
}
