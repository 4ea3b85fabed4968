/* traffic_check - see traffic_check.h. */
#include "traffic/traffic_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "doctor/certificate.h"
#include "doctor/command.h"
#include "doctor/machine.h"
#include "doctor/reach.h"
#include "tls/tls.h"
#include "traffic/route_file.h"
#include "traffic/traffic_conf.h"
#include "ws/url.h"

#define SPARE_FILES 256u

/* --- routes ----------------------------------------------------------------------------------- */

/* Each line that the file's reader wrote; a warning's says so itself. */
static void tell_lines(struct report *r, char *text)
{
    char *rest = text, *line;

    while ((line = strsep(&rest, "\n")) != NULL) {
        const char *said = strstr(line, "routesFile ");

        if (!said)
            continue;
        if (strstr(said, ": warning: "))
            report_warn(r, "routes", "correct the route", "%s", said);
        else
            report_fail(r, "routes",
                        "correct the route: with such a file the service does not start", "%s",
                        said);
    }
}

static void check_certificates(struct report *r, const struct route_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct route *route = &set->routes[i];
        const struct tls_cert *cert = route->cert->cert;
        char *name = must_printf("certificate %s", route->host);

        for (unsigned pair = 0; pair < tls_cert_count(cert); pair++)
            certificate_check(r, name, cert, pair, route->is_wildcard ? NULL : route->host,
                              time(NULL));
        free(name);
    }
}

struct place {
    char host[ADDR_TEXT_MAX];
    struct destination *destination; /* borrowed from the set */
};

static bool is_known(const struct place *places, size_t count, const struct destination *d)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(places[i].destination->key, d->key) == 0)
            return true;
    return false;
}

static size_t gather(const struct route_set *set, struct place *places, size_t *left_out)
{
    size_t count = 0;

    for (size_t i = 0; i < set->count; i++)
        for (size_t k = 0; k < set->routes[i].destination_count; k++) {
            struct destination *d = &set->routes[i].destinations[k];

            if (is_known(places, count, d))
                continue;
            if (count == REACH_MAX) {
                ++*left_out;
                continue;
            }
            places[count].destination = d;
            addr_format_host(&d->addr, places[count].host);
            count++;
        }
    return count;
}

static void check_destinations(struct report *r, const struct route_set *set)
{
    struct place *places = must_alloc(REACH_MAX * sizeof(*places));
    struct reach *all = must_alloc(REACH_MAX * sizeof(*all));
    size_t left_out = 0, count = gather(set, places, &left_out);

    for (size_t i = 0; i < count; i++)
        all[i] =
            (struct reach){.host = places[i].host, .port = addr_port(&places[i].destination->addr)};
    reach_connect(all, count);
    for (size_t i = 0; i < count; i++)
        reach_report_connect(r, "destination", &all[i], REPORT_WARN);
    if (left_out)
        report_warn(r, "destination", "look at them yourself", "%zu more were not tried", left_out);
    free(all);
    free(places);
}

static void check_routes(struct report *r, const struct traffic_conf *conf)
{
    struct auth_key key;
    struct route_set *set;
    char *text = NULL;
    size_t n = 0;
    FILE *said;

    if (!*conf->routes_file)
        return;
    said = open_memstream(&text, &n);
    must(said != NULL);
    auth_key_init(&key);
    set = route_file_load(conf->routes_file, &conf->limits, &key, said);
    fclose(said);
    tell_lines(r, text);
    free(text);
    if (set) {
        report_ok(r, "routes", "%s has %zu routes", conf->routes_file, set->count);
        check_certificates(r, set);
        check_destinations(r, set);
    }
    route_set_unref(set);
    auth_key_fini(&key);
}

/* --- Coreflow --------------------------------------------------------------------------------- */

static void check_coreflow(struct report *r, const struct traffic_conf *conf)
{
    struct ws_url url;
    struct reach there;
    const char *why;

    if (!*conf->coreflow_url)
        return;
    if (ws_url_parse(&url, conf->coreflow_url, &why) != 0) {
        report_fail(r, "coreflow.url", "correct it", "%s", why);
        return;
    }
    there = (struct reach){.host = url.host, .port = url.port};
    reach_connect(&there, 1);
    reach_report_connect(r, "coreflow.url", &there, REPORT_FAIL);
}

void traffic_check(struct report *r, const void *member)
{
    const struct traffic_conf *conf = member;
    struct running running;

    running_ask(&running, &conf->service);
    doctor_check_service(r, &conf->service, &running);
    machine_check_files(r, 2 * (uint64_t)conf->limits.connections + SPARE_FILES);
    doctor_check_port(r, "http.listen", conf->http_listen, MACHINE_TCP, &running);
    doctor_check_port(r, "https.listen", conf->https_listen, MACHINE_TCP, &running);
    running_fini(&running);
    check_routes(r, conf);
    check_coreflow(r, conf);
}
