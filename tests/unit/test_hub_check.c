/* What `penstock-hub check` looks at: which findings there are for which configuration, and that a
 * target is tried once, whoever leads to it. (A store that is damaged, ports beside a hub that
 * runs: e2e/test_check.py.) */
#include "doctor_fixture.h"

#include "base/log.h"
#include "doctor/reach.h"
#include "hub/hub_check.h"
#include "hub/hub_conf.h"
#include "loop/listener.h"
#include "support/tls_pem.h"
#include "unit/traffic_route_fixture.h"
#include "json/json.h"

static void check(const char *const *more)
{
    static char *none[] = {NULL};
    char state[100];
    const char *sets[16] = {"management.listen=127.0.0.1:0", "tunnel.listen=127.0.0.1:0", state};
    struct hub_conf conf = {0};
    struct json_check faults;
    size_t n = 3;

    log_init(LOG_TEXT, LOG_ERR, 2);
    snprintf(state, sizeof(state), "stateDir=%s", folder);
    while (more && *more)
        sets[n++] = *more++;
    json_check_init(&faults);
    ck_assert_msg(conf_read(&hub_conf_table, NULL, none, sets, &conf, &faults) == 0, "%s: %s",
                  faults.faults[0].pointer, faults.faults[0].detail);
    json_check_fini(&faults);
    hub_check(&r, &conf);
    conf_free(&hub_conf_table, &conf);
}

/* A port that takes connections (the kernel does: nobody accepts them). */
static int listening(uint16_t *port)
{
    union addr at, bound;
    int fd;

    ck_assert_int_eq(addr_parse_host(&at, "127.0.0.1", 0), 0);
    ck_assert_int_eq(listen_bind(&at, 1, &fd, &bound), 0);
    *port = addr_port(&bound);
    return fd;
}

static uint16_t deserted(void)
{
    uint16_t port;

    close(listening(&port));
    return port;
}

START_TEST(transports)
{
    static const char *const tls[] = {"target.ports={}", "tunnel.transports=[\"tls\"]", NULL};
    static const char *const quic[] = {"target.ports={}", "tunnel.transports=[\"quic\"]", NULL};
    static const char *const both[] = {"target.ports={}", NULL};

    check(tls);
    ck_assert_ptr_nonnull(strstr(only(&r, "tunnel.listen")->seen, "tcp"));
    ck_assert_ptr_null(find(&r, "buffers.receive"));
    report_fini(&r);
    report_init(&r, "test");
    check(quic);
    ck_assert_ptr_nonnull(strstr(only(&r, "tunnel.listen")->seen, "udp"));
    ck_assert_ptr_nonnull(find(&r, "buffers.receive"));
    report_fini(&r);
    report_init(&r, "test");
    check(both);
    ck_assert_uint_eq(count_of(&r, "tunnel.listen"), 2);
    ck_assert_ptr_null(find(&r, "target"));
}
END_TEST

/* Nothing is there, nothing is made. */
START_TEST(before_the_first_start)
{
    static const char *const more[] = {"target.ports={}", NULL};

    check(more);
    ck_assert_ptr_nonnull(strstr(only(&r, "store")->seen, "made at the first start"));
    ck_assert_ptr_nonnull(strstr(only(&r, "tunnel.certificate")->seen, "made at the first start"));
    ck_assert_int_eq(rmdir(folder), 0); /* it is empty */
}
END_TEST

START_TEST(targets)
{
    uint16_t port, nobody = deserted();
    int fd = listening(&port);
    char map[400], udp[200];
    const char *const more[] = {map, udp, NULL};
    unsigned good = 0, bad = 0;

    /* one of them four times, by a name another once: five names, three targets */
    snprintf(map, sizeof(map),
             "target.ports={\"80\":%u,\"81\":%u,\"443\":{\"host\":\"127.0.0.1\",\"port\":%u},"
             "\"444\":{\"host\":\"localhost\",\"port\":%u},\"22\":%u}",
             port, port, port, port, nobody);
    snprintf(udp, sizeof(udp),
             "target.portsUdp={\"53\":{\"host\":\"127.0.0.1\",\"port\":53},\"54\":{\"host\":"
             "\"127.0.0.1\",\"port\":54},\"55\":53}");
    check(more);
    close(fd);
    ck_assert_uint_eq(count_of(&r, "target"), 3);
    for (size_t i = 0; i < r.count; i++) {
        const struct finding *f = &r.findings[i];

        if (strcmp(f->name, "target") != 0)
            continue;
        good += f->verdict == REPORT_OK;
        bad += f->verdict == REPORT_WARN; /* never a failure: a hub starts before its targets do */
    }
    ck_assert_uint_eq(good, 2);
    ck_assert_uint_eq(bad, 1);
    ck_assert_uint_eq(count_of(&r, "target.udp"), 2);
}
END_TEST

/* However many there are, REACH_MAX are tried. */
START_TEST(more_targets_than_are_tried)
{
    char map[16384] = "target.ports={";
    size_t n = strlen(map);
    uint16_t nobody = deserted();
    const char *const more[] = {map, NULL};

    for (unsigned i = 1; i <= REACH_MAX + 9; i++)
        n += (size_t)snprintf(map + n, sizeof(map) - n,
                              "%s\"%u\":{\"host\":\"127.0.%u.%u\",\"port\":%u}", i > 1 ? "," : "",
                              i, i / 200, 1 + i % 200, nobody);
    snprintf(map + n, sizeof(map) - n, "}");
    check(more);
    ck_assert_uint_eq(count_of(&r, "target"), REACH_MAX);
}
END_TEST

/* What edges look at: a name where we did not make the certificate, which edges pin. */
START_TEST(certificates)
{
    char cert[100], key[100], *cert_file, *key_file;
    const char *other[] = {"target.ports={}", cert, key, "tunnel.publicHost=other.test", NULL};
    const char *right[] = {"target.ports={}", cert, key, "tunnel.publicHost=a.test", NULL};

    cert_file = tls_pem_file(a_test_chain);
    key_file = tls_pem_file(a_test_key);
    snprintf(cert, sizeof(cert), "tunnel.certFile=%s", cert_file);
    snprintf(key, sizeof(key), "tunnel.keyFile=%s", key_file);
    check(other);
    ck_assert_int_eq(only(&r, "tunnel.certificate")->verdict, REPORT_WARN);
    ck_assert_ptr_nonnull(strstr(only(&r, "tunnel.certificate")->seen, "cover other.test"));
    report_fini(&r);
    report_init(&r, "test");
    check(right);
    ck_assert_int_eq(only(&r, "tunnel.certificate")->verdict, REPORT_OK);
    report_fini(&r);
    report_init(&r, "test");
    snprintf(key, sizeof(key), "tunnel.keyFile=%s", cert_file);
    check(right);
    ck_assert_int_eq(only(&r, "tunnel.certificate")->verdict, REPORT_FAIL);
    free(cert_file);
    free(key_file);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {transports, before_the_first_start, targets,
                                  more_targets_than_are_tried, certificates};

    return run_suite("hub check", tests, ARRAY_LEN(tests));
}
