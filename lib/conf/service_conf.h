/* service_conf - the keys that every service has: management API, metrics, log, workers, stateDir.
 *
 * A service embeds struct service_conf and puts CONF_SERVICE_KEYS into its table:
 *
 *   struct edge_conf { struct service_conf service; ... };
 *   static const struct conf_key keys[] = {
 *       CONF_SERVICE_KEYS(struct edge_conf, service, "127.0.0.1:9002", "/var/lib/penstock/edge"),
 * ...
 */
#ifndef CONF_SERVICE_CONF_H
#define CONF_SERVICE_CONF_H

#include "conf/conf.h"

struct service_conf {
    char *management_listen;                                  /* owned, like all strings here */
    char *management_token, *management_read_token;           /* owned, secret */
    char *management_token_file, *management_read_token_file; /* where they are kept or made */
    char *management_cert_file, *management_key_file, *management_client_ca_file;
    int64_t management_body_bytes;
    int64_t management_connections, management_per_address, management_bodies_bytes;
    int64_t management_timeout_secs, management_changes;
    int64_t events_kept, event_subscribers;
    struct json_object *management_hosts; /* owned: a list of names */
    char *metrics_listen;
    int log_level;   /* enum log_level */
    int log_format;  /* enum service_log_format */
    int64_t workers; /* 0: one a core */
    char *state_dir;
    int64_t drain_secs, drain_delay_secs;
    bool supervise;
    int64_t restarts; /* crashes in a row that a supervisor bears */
};

enum service_log_format { SERVICE_LOG_AUTO, SERVICE_LOG_TEXT, SERVICE_LOG_JSON };

extern const char *const service_log_levels[];
extern const char *const service_log_formats[];

/* Checks for the table. */
void service_check_hosts(struct json_check *faults, const char *pointer, const void *member);
void service_check_token(struct json_check *faults, const char *pointer, const void *member);
/* What several keys must agree on; call it from the table's own check. */
void service_check(struct json_check *faults, const struct service_conf *conf);

/* Letters, digits, hyphens, dots, and the underscore that Compose puts into its names. */
bool service_name_is_valid(const char *text);

/* Sets log format and level; auto is text on a terminal, else JSON. */
void service_log_start(const struct service_conf *conf);

#define CONF_SERVICE_KEYS(type, member, listen_, state_dir_)                                       \
    {.path = "management.listen",                                                                  \
     .kind = CONF_LISTEN,                                                                          \
     .offset = offsetof(type, member.management_listen),                                           \
     .min = 1,                                                                                     \
     .fallback = (listen_),                                                                        \
     .doc = "Where the management API listens."},                                                  \
        {.path = "management.token",                                                               \
         .kind = CONF_SECRET,                                                                      \
         .offset = offsetof(type, member.management_token),                                        \
         .fallback = "",                                                                           \
         .check = service_check_token,                                                             \
         .is_hot = true,                                                                           \
         .doc = "The bearer token that may change things (two lines during rotation); made in "    \
                "stateDir when missing."},                                                         \
        {.path = "management.readToken",                                                           \
         .kind = CONF_SECRET,                                                                      \
         .offset = offsetof(type, member.management_read_token),                                   \
         .fallback = "",                                                                           \
         .check = service_check_token,                                                             \
         .is_hot = true,                                                                           \
         .doc = "The bearer token that may read; made in stateDir when missing."},                 \
        {.path = "management.tokenFile",                                                           \
         .kind = CONF_STRING,                                                                      \
         .offset = offsetof(type, member.management_token_file),                                   \
         .fallback = "",                                                                           \
         .doc = "A file for it instead of stateDir's, made when missing."},                        \
        {.path = "management.readTokenFile",                                                       \
         .kind = CONF_STRING,                                                                      \
         .offset = offsetof(type, member.management_read_token_file),                              \
         .fallback = "",                                                                           \
         .doc = "The same for management.readToken."},                                             \
        {.path = "management.certFile",                                                            \
         .kind = CONF_STRING,                                                                      \
         .offset = offsetof(type, member.management_cert_file),                                    \
         .fallback = "",                                                                           \
         .doc = "PEM chain of the management API; empty: plain HTTP."},                            \
        {.path = "management.keyFile",                                                             \
         .kind = CONF_STRING,                                                                      \
         .offset = offsetof(type, member.management_key_file),                                     \
         .fallback = "",                                                                           \
         .doc = "PEM key of management.certFile."},                                                \
        {.path = "management.clientCaFile",                                                        \
         .kind = CONF_STRING,                                                                      \
         .offset = offsetof(type, member.management_client_ca_file),                               \
         .fallback = "",                                                                           \
         .doc = "PEM of CAs: who asks for more than health needs a certificate of one of them, "   \
                "beside the token; empty: none is needed."},                                       \
        {.path = "management.bodyBytes",                                                           \
         .kind = CONF_INT,                                                                         \
         .offset = offsetof(type, member.management_body_bytes),                                   \
         .min = 1024,                                                                              \
         .max = 1073741824,                                                                        \
         .fallback = "4194304",                                                                    \
         .unit = "bytes",                                                                          \
         .counter = "penstock_admin_refused_total{reason=\"too_large\"}",                          \
         .doc = "The body of a management request, where no limit of its own is named."},          \
        {.path = "management.hosts",                                                               \
         .kind = CONF_JSON,                                                                        \
         .offset = offsetof(type, member.management_hosts),                                        \
         .fallback = "[]",                                                                         \
         .example = "[\"hub\"]",                                                                   \
         .check = service_check_hosts,                                                             \
         .is_hot = true,                                                                           \
         .doc =                                                                                    \
             "Host names that the management API answers to, beside IP addresses and localhost."}, \
        {.path = "limits.managementConnections",                                                   \
         .kind = CONF_INT,                                                                         \
         .offset = offsetof(type, member.management_connections),                                  \
         .min = 1,                                                                                 \
         .max = 65536,                                                                             \
         .fallback = "256",                                                                        \
         .unit = "connections",                                                                    \
         .counter = "penstock_admin_refused_total{reason=\"connections\"}",                        \
         .doc = "To the management API at once; more are closed."},                                \
        {.path = "limits.managementPerAddress",                                                    \
         .kind = CONF_INT,                                                                         \
         .offset = offsetof(type, member.management_per_address),                                  \
         .min = 1,                                                                                 \
         .max = 65536,                                                                             \
         .fallback = "32",                                                                         \
         .unit = "connections",                                                                    \
         .counter = "penstock_admin_refused_total{reason=\"per_address\"}",                        \
         .doc = "Of those, from one address."},                                                    \
        {.path = "limits.managementBodiesBytes",                                                   \
         .kind = CONF_INT,                                                                         \
         .offset = offsetof(type, member.management_bodies_bytes),                                 \
         .min = 65536,                                                                             \
         .max = 1099511627776,                                                                     \
         .fallback = "134217728",                                                                  \
         .unit = "bytes",                                                                          \
         .counter = "penstock_admin_refused_total{reason=\"bodies\"}",                             \
         .doc = "Bodies of management requests in memory together; more get 503."},                \
        {.path = "limits.managementChanges",                                                       \
         .kind = CONF_INT,                                                                         \
         .offset = offsetof(type, member.management_changes),                                      \
         .max = 1000000,                                                                           \
         .fallback = "100",                                                                        \
         .unit = "changes/s",                                                                      \
         .counter = "penstock_admin_refused_total{reason=\"changes\"}",                            \
         .is_hot = true,                                                                           \
         .doc = "Requests that change something, dry runs too, on average over 10 s; more get "    \
                "429. 0: "                                                                         \
                "no limit."},                                                                      \
        {.path = "limits.managementTimeoutSecs",                                                   \
         .kind = CONF_INT,                                                                         \
         .offset = offsetof(type, member.management_timeout_secs),                                 \
         .min = 1,                                                                                 \
         .max = 3600,                                                                              \
         .fallback = "15",                                                                         \
         .unit = "s",                                                                              \
         .counter = "penstock_admin_refused_total{reason=\"slow\"}",                               \
         .doc = "Silence of a management connection, or a head that crawls."},                     \
        {.path = "limits.eventsKept",                                                              \
         .kind = CONF_INT,                                                                         \
         .offset = offsetof(type, member.events_kept),                                             \
         .min = 16,                                                                                \
         .max = 1000000,                                                                           \
         .fallback = "1024",                                                                       \
         .unit = "events",                                                                         \
         .counter = "penstock_admin_event_gaps_total",                                             \
         .doc =                                                                                    \
             "Of GET /v1/events, for who comes back or is slow; as many more of single streams."}, \
        {.path = "limits.eventSubscribers",                                                        \
         .kind = CONF_INT,                                                                         \
         .offset = offsetof(type, member.event_subscribers),                                       \
         .min = 1,                                                                                 \
         .max = 1024,                                                                              \
         .fallback = "32",                                                                         \
         .unit = "listeners",                                                                      \
         .counter = "penstock_admin_event_subscribers_refused_total",                              \
         .doc = "To GET /v1/events at once; more get 503."},                                       \
        {.path = "limits.restarts",                                                                \
         .kind = CONF_INT,                                                                         \
         .offset = offsetof(type, member.restarts),                                                \
         .max = 1000000,                                                                           \
         .fallback = "10",                                                                         \
         .unit = "restarts",                                                                       \
         .counter = "penstock_crash_recoveries_total",                                             \
         .doc = "After crashes in a row, 1 s to 30 s apart; one crash more and the supervisor "    \
                "ends with status 70. A run of 60 s ends the row."},                               \
        {.path = "metrics.listen",                                                                 \
         .kind = CONF_LISTEN,                                                                      \
         .offset = offsetof(type, member.metrics_listen),                                          \
         .fallback = "",                                                                           \
         .doc = "An open port with /metrics and health only; empty: none."},                       \
        {.path = "log.level",                                                                      \
         .kind = CONF_ENUM,                                                                        \
         .offset = offsetof(type, member.log_level),                                               \
         .choices = service_log_levels,                                                            \
         .fallback = "info",                                                                       \
         .is_hot = true,                                                                           \
         .doc = "Lines below this level are not written."},                                        \
        {.path = "log.format",                                                                     \
         .kind = CONF_ENUM,                                                                        \
         .offset = offsetof(type, member.log_format),                                              \
         .choices = service_log_formats,                                                           \
         .fallback = "auto",                                                                       \
         .doc = "auto is text on a terminal, else json."},                                         \
        {.path = "workers",                                                                        \
         .kind = CONF_INT,                                                                         \
         .offset = offsetof(type, member.workers),                                                 \
         .max = 1024,                                                                              \
         .fallback = "0",                                                                          \
         .unit = "threads",                                                                        \
         .doc = "Worker threads; 0: one a core."},                                                 \
        {.path = "stateDir",                                                                       \
         .kind = CONF_STRING,                                                                      \
         .offset = offsetof(type, member.state_dir),                                               \
         .min = 1,                                                                                 \
         .fallback = (state_dir_),                                                                 \
         .doc = "The folder of what is made at the first start."},                                 \
        {.path = "drainSecs",                                                                      \
         .kind = CONF_INT,                                                                         \
         .offset = offsetof(type, member.drain_secs),                                              \
         .max = 86400,                                                                             \
         .fallback = "30",                                                                         \
         .unit = "s",                                                                              \
         .is_hot = true,                                                                           \
         .doc =                                                                                    \
             "How long open connections may finish once the service stops; then they are reset."}, \
        {.path = "drainDelaySecs",                                                                 \
         .kind = CONF_INT,                                                                         \
         .offset = offsetof(type, member.drain_delay_secs),                                        \
         .max = 3600,                                                                              \
         .fallback = "0",                                                                          \
         .unit = "s",                                                                              \
         .is_hot = true,                                                                           \
         .doc = "Before that: /readyz says 503 and new connections are still taken; the chart "    \
                "sets 5."},                                                                        \
    {                                                                                              \
        .path = "supervise", .kind = CONF_BOOL, .offset = offsetof(type, member.supervise),        \
        .fallback = "true",                                                                        \
        .doc = "A parent process starts the service again when it crashes; --no-supervise is the " \
               "same as false."                                                                    \
    }

#endif
