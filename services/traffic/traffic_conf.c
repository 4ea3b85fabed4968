/* traffic_conf - the table of keys: see traffic_conf.h. */
#include "traffic/traffic_conf.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "tls/tls.h"
#include "traffic/http_head.h"
#include "traffic/proxy_intake.h"
#include "ws/url.h"
#include "json/json.h"

#define AT(member)      offsetof(struct traffic_conf, member)
#define TOO_LARGE       "penstock_admin_refused_total{reason=\"too_large\"}"
#define REFUSED(reason) "penstock_traffic_refused_total{reason=\"" reason "\"}"

/* Calls `is_fine` for each entry of a list of strings. */
static void check_list(struct json_check *faults, const char *pointer, struct json_object *list,
                       bool (*is_fine)(const char *text), const char *allowed)
{
    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        struct json_object *value = json_object_array_get_idx(list, i);
        char key[24];

        snprintf(key, sizeof(key), "%zu", i);
        if (!json_object_is_type(value, json_type_string))
            json_fault_at(faults, pointer, key, "type", "must be a string, is %s",
                          json_type_of(value));
        else if (!is_fine(json_object_get_string(value)))
            json_fault_at(faults, pointer, key, "invalid", "\"%.64s\" is no %s",
                          json_object_get_string(value), allowed);
    }
}

static bool is_trustable(const char *text)
{
    struct proxy_trust *probe = proxy_trust_new();
    bool is_network = proxy_trust_add(probe, text) == 0;

    proxy_trust_unref(probe);
    /* Digits, dots and colons alone are an address that is wrong, not a name. */
    return is_network || (service_name_is_valid(text) && text[strspn(text, "0123456789.")] != '\0');
}

static void check_trusted(struct json_check *faults, const char *pointer, const void *member)
{
    struct json_object *const *list = member;

    check_list(faults, pointer, *list, is_trustable, "address, network (10.0.0.0/8) or host name");
}

static void check_field_name(struct json_check *faults, const char *pointer, const void *member)
{
    const char *const *text = member;

    if (!*text || !**text)
        return; /* none is sent */
    if (!service_name_is_valid(*text) || strchr(*text, '.'))
        json_fault(faults, pointer, "invalid",
                   "must be the name of a header field: letters, digits, \"-\" and \"_\"");
}

static void check_url(struct json_check *faults, const char *pointer, const void *member)
{
    const char *const *text = member;
    struct ws_url url;
    const char *why;

    if (*text && **text && ws_url_parse(&url, *text, &why) != 0)
        json_fault(faults, pointer, "invalid", "%s", why);
}

static void check_all(struct json_check *faults, const void *member)
{
    const struct traffic_conf *conf = member;
    service_check(faults, &conf->service);
    if (conf->limits.request_line_bytes > conf->limits.header_bytes)
        json_fault(faults, "/limits/requestLineBytes", "range",
                   "must not be more than limits.headerBytes");
    if (conf->limits.route_bytes > conf->limits.routes_bytes)
        json_fault(faults, "/limits/routeBytes", "range",
                   "must not be more than limits.routesBytes");
}

/* Rows of one shape each. */
#define SECS(name, member_, fallback_, min_, max_, counter_, doc_)                                 \
    {                                                                                              \
        .path = "timeouts." name, .kind = CONF_INT, .offset = AT(timeouts.member_), .min = (min_), \
        .max = (max_), .fallback = (fallback_), .unit = "s", .counter = (counter_),                \
        .is_hot = true, .doc = (doc_)                                                              \
    }
#define LIMIT(name, member_, fallback_, min_, max_, unit_, counter_, hot_, doc_)                   \
    {                                                                                              \
        .path = "limits." name, .kind = CONF_INT, .offset = AT(limits.member_), .min = (min_),     \
        .max = (max_), .fallback = (fallback_), .unit = (unit_), .counter = (counter_),            \
        .is_hot = (hot_), .doc = (doc_)                                                            \
    }

#define COREFLOW_SECS(name, member_, fallback_, reason_, doc_)                                     \
    {                                                                                              \
        .path = "timeouts." name, .kind = CONF_INT, .offset = AT(timeouts.member_), .min = 1,      \
        .max = 3600, .fallback = (fallback_), .unit = "s",                                         \
        .counter = "penstock_traffic_coreflow_ends_total{reason=\"" reason_ "\"}", .doc = (doc_)   \
    }

static const char *const access_formats[] = {"json", "combined", NULL};

static const struct conf_key keys[] = {
    {.path = "http.listen",
     .kind = CONF_LISTEN,
     .offset = AT(http_listen),
     .min = 1,
     .fallback = "[::]:7999",
     .doc = "Where plain HTTP is redirected to https."},
    {.path = "http.redirectPort",
     .kind = CONF_INT,
     .offset = AT(http_redirect_port),
     .min = 1,
     .max = 65535,
     .fallback = "443",
     .is_hot = true,
     .doc = "The port that redirects name; 443 is left out of the address."},
    {.path = "https.listen",
     .kind = CONF_LISTEN,
     .offset = AT(https_listen),
     .min = 1,
     .fallback = "[::]:8000",
     .doc = "Where TLS is ended and requests are routed."},
    {.path = "proxyProtocol.trusted",
     .kind = CONF_JSON,
     .offset = AT(proxy_trusted),
     .fallback = "[]",
     .example = "[\"10.0.0.0/8\"]",
     .is_hot = true,
     .check = check_trusted,
     .doc = "Addresses, networks and names (looked up every 10 s) that must send a PROXY header; "
            "from any other peer none is taken."},
    {.path = "routesFile",
     .kind = CONF_STRING,
     .offset = AT(routes_file),
     .fallback = "",
     .doc = "A JSON file with the routes to begin with, as in PUT /v1/routes."},
    {.path = "routesFileSecs",
     .kind = CONF_INT,
     .offset = AT(routes_file_secs),
     .min = 0,
     .max = 86400,
     .fallback = "0",
     .unit = "s",
     .counter = "penstock_traffic_route_updates_total",
     .doc =
         "How often routesFile is looked at: it is submitted at the start and when it is another "
         "one; the newest update wins. 0: it is read at the start only."},
    {.path = "coreflow.url",
     .kind = CONF_STRING,
     .offset = AT(coreflow_url),
     .max = 1400,
     .fallback = "",
     .is_url = true,
     .check = check_url,
     .doc =
         "The control plane that sends the routes: ws:// or wss:// (http:// and https:// are the "
         "same), as http://coreflow:3000; empty: none."},
    {.path = "coreflow.caFile",
     .kind = CONF_STRING,
     .offset = AT(coreflow_ca_file),
     .fallback = "",
     .doc = "Whom to trust with wss://, a PEM file read at each connect; empty: the system's CAs."},
    {.path = "versionHeader",
     .kind = CONF_STRING,
     .offset = AT(version_header),
     .max = 128,
     .fallback = "servezone_coretraffic_version",
     .is_hot = true,
     .check = check_field_name,
     .doc = "The header field that carries the version in every answer of a known route; empty: "
            "none."},
    {.path = "generateRequestId",
     .kind = CONF_BOOL,
     .offset = AT(generate_request_id),
     .fallback = "true",
     .is_hot = true,
     .doc =
         "A request without X-Request-Id, or with more than one or one that is not 1 to 64 token "
         "characters, gets one of 128 random bits. false: the field is passed on as it came."},
    {.path = "certificates.expiringDays",
     .kind = CONF_INT,
     .offset = AT(certificates_expiring_days),
     .min = 0,
     .max = 3650,
     .fallback = "14",
     .unit = "days",
     .counter = "penstock_traffic_certificates{state=\"expiring\"}",
     .is_hot = true,
     .doc = "How long before its end a certificate raises the event certificateExpiring: when its "
            "route comes, and once a day."},
    {.path = "tickets.keys",
     .kind = CONF_INT,
     .offset = AT(tickets.keys),
     .min = 0,
     .max = TLS_TICKET_KEYS_MAX,
     .fallback = "12",
     .unit = "keys",
     .counter = "penstock_traffic_handshakes_resumed_total",
     .doc =
         "Keys of TLS session tickets that are kept: the newest seals, all open. 0: no tickets."},
    {.path = "tickets.rotateSecs",
     .kind = CONF_INT,
     .offset = AT(tickets.rotate_secs),
     .min = 60,
     .max = 86400,
     .fallback = "3600",
     .unit = "s",
     .doc = "How long a key seals tickets; then a fresh random one does."},
    {.path = "auth.failures",
     .kind = CONF_INT,
     .offset = AT(auth.failures),
     .min = 0,
     .max = 1000000,
     .fallback = "10",
     .unit = "failures",
     .counter = REFUSED("auth_backoff"),
     .is_hot = true,
     .doc = "Wrong credentials in a row from one IPv4 address or IPv6 /64, of one worker; then it "
            "waits 1 s, 2 s, ... 60 s. 0: never."},
    {.path = "auth.cacheSecs",
     .kind = CONF_INT,
     .offset = AT(auth.cache_secs),
     .min = 0,
     .max = 86400,
     .fallback = "60",
     .unit = "s",
     .is_hot = true,
     .doc = "How long a password is taken for right once its passHash was checked. 0: not at all."},
    {.path = "auth.threads",
     .kind = CONF_INT,
     .offset = AT(auth.threads),
     .min = 1,
     .max = 64,
     .fallback = "2",
     .unit = "threads",
     .doc = "Threads that check passwords against passHash."},
    SECS("handshakeSecs", handshake_secs, "10", 1, 3600, REFUSED("handshake_timeout"),
         "From accept to the end of the TLS handshake."),
    SECS("headerSecs", header_secs, "10", 1, 3600, REFUSED("header_timeout"),
         "From the first byte of a request's head to its last."),
    SECS("bodyIdleSecs", body_idle_secs, "60", 1, 86400, REFUSED("body_timeout"),
         "How long nothing may move in a request or its answer."),
    SECS("idleSecs", idle_secs, "75", 1, 86400, NULL,
         "How long a client connection may be without a request."),
    SECS("connectSecs", connect_secs, "5", 1, 3600, REFUSED("upstream_connect"),
         "One attempt to reach a destination."),
    SECS("upgradeIdleSecs", upgrade_idle_secs, "3600", 1, 604800, REFUSED("upgrade_idle"),
         "How long nothing may move in an upgraded connection (WebSocket)."),
    COREFLOW_SECS("coreflowHandshakeSecs", coreflow_handshake_secs, "10", "handshake_timeout",
                  "From dialling Coreflow to an open WebSocket."),
    COREFLOW_SECS("coreflowPingSecs", coreflow_ping_secs, "20", "pong_timeout",
                  "Between a sign of life of Coreflow's and a ping to it."),
    COREFLOW_SECS("coreflowPongSecs", coreflow_pong_secs, "10", "pong_timeout",
                  "How long Coreflow may be silent behind a ping or our tag."),
    COREFLOW_SECS("coreflowMessageSecs", coreflow_message_secs, "120", "message_timeout",
                  "From the first byte of a message of Coreflow's to its last."),
    LIMIT("connections", connections, "65536", 1, 10000000, "connections",
          REFUSED("limit_connections"), true, "Client connections at once, both listeners."),
    LIMIT("connectionsPerAddress", connections_per_address, "4096", 1, 10000000, "connections",
          REFUSED("limit_address"), true,
          "Client connections at once of one IPv4 address or IPv6 /64."),
    LIMIT("headerBytes", header_bytes, "16384", 1024, 65535, "bytes", REFUSED("header_too_large"),
          true, "The head of a request or an answer."),
    LIMIT("headerFields", header_fields, "100", 8, HTTP_FIELDS_MAX, "fields",
          REFUSED("too_many_fields"), true, "Fields of a head."),
    LIMIT("requestLineBytes", request_line_bytes, "8192", 256, 65535, "bytes",
          REFUSED("uri_too_long"), true, "The first line of a request."),
    LIMIT("requestsPerConnection", requests_per_connection, "10000", 1, 1000000000, "requests",
          NULL, true, "Requests on one client connection; then it is closed in order."),
    LIMIT("h2Streams", h2_streams, "100", 1, 1000, "streams", REFUSED("h2_streams"), true,
          "Streams at once of one HTTP/2 connection; one more is refused."),
    LIMIT("h2WindowBytes", h2_window_bytes, "1048576", 65535, 16777216, "bytes", NULL, true,
          "Window of an HTTP/2 connection: bytes of bodies that may be on their way to us or wait "
          "here for their origins; limits.bufferBytes is the window of each stream."),
    LIMIT("h2HeadsBytes", h2_heads_bytes, "1048576", 1024, 16777216, "bytes", REFUSED("h2_heads"),
          true,
          "Memory for the requests of one HTTP/2 connection: their streams, and their heads until "
          "the answer begins; one more is refused, and asked again by the client."),
    LIMIT("h2SharedBytes", h2_shared_bytes, "12582912", 0, 1073741824, "bytes",
          REFUSED("h2_unlent"), true,
          "Of that, what all HTTP/2 connections together may hold beyond 8 KiB, or twice what it "
          "has sent, of each; those of one address nine tenths of it at most. "
          "penstock_traffic_h2_lent_bytes tells how much is lent."),
    LIMIT("h2Resets", h2_resets, "500", 1, 1000000, "resets", REFUSED("h2_resets"), true,
          "Streams of one HTTP/2 connection that were reset, by the client or since it broke a "
          "rule; a tenth of it comes back each second. Then GOAWAY."),
    LIMIT(
        "h2ControlFrames", h2_control_frames, "1000", 16, 1000000, "frames",
        REFUSED("h2_control_frames"), true,
        "PING, SETTINGS, PRIORITY, WINDOW_UPDATE and empty DATA of one HTTP/2 connection; a tenth "
        "of it comes back each second, and 2 or 3 with a request or a frame of an answer. Then "
        "GOAWAY."),
    LIMIT("h2Continuations", h2_continuations, "8", 1, 1000, "frames", REFUSED("h2_continuations"),
          true, "CONTINUATION frames of one head. Then GOAWAY."),
    LIMIT("upstreamConnections", upstream_connections, "4096", 1, 1000000, "connections",
          REFUSED("upstream_full"), true, "Connections of one worker to one destination."),
    LIMIT("upstreamIdle", upstream_idle, "128", 0, 1000000, "connections", NULL, true,
          "Of those, how many are kept without work."),
    LIMIT("bufferBytes", buffer_bytes, "65536", 32768, 16777216, "bytes", NULL, true,
          "Held of one exchange and direction; then its source is not read on."),
    LIMIT(
        "readRate", read_rate, "250", 0, 1000000000, "bytes/s", REFUSED("slow_read"), true,
        "How fast a client must take what waits for it, on the whole, beside bodyIdleSecs; what it "
        "took buys it time, at most bodyIdleSecs of it. 0: no such rate. Upgraded connections "
        "have upgradeIdleSecs instead."),
    LIMIT("poolChunks", pool_chunks, "32768", 64, 16777216, "chunks of 16 KiB",
          REFUSED("no_memory"), false, "All buffers of one worker."),
    LIMIT("routes", routes, "20000", 1, 1000000, "routes",
          "penstock_traffic_route_updates_total{fate=\"rejected\"}", false, "Routes in a set."),
    LIMIT("routesBytes", routes_bytes, "67108864", 1024, 1073741824, "bytes", TOO_LARGE, false,
          "The body of PUT /v1/routes, routesFile, and a message of Coreflow's (there counted as "
          "penstock_traffic_coreflow_ends_total{reason=\"too_big\"})."),
    LIMIT("routeBytes", route_bytes, "262144", 1024, 16777216, "bytes", TOO_LARGE, false,
          "The body of PUT /v1/routes/{hostName}."),
    LIMIT("routeDestinations", route_destinations, "256", 1, 65536, "destinations",
          "penstock_traffic_route_updates_total{fate=\"rejected\"}", false,
          "destinationIps x destinationPorts of one route."),
    LIMIT("healthTargets", health_targets, "4096", 0, 100000, "destinations",
          "penstock_traffic_health_refused_total", false,
          "Destinations that are checked actively; further ones count as up."),
    LIMIT("authWaiting", auth_waiting, "64", 1, 100000, "passwords", REFUSED("auth_busy"), false,
          "Passwords that wait to be checked against passHash."),
    LIMIT("waitingUpdates", waiting_updates, "16", 1, 1024, "updates",
          "penstock_traffic_route_updates_refused_total", false,
          "Updates of the routes that wait while one is applied."),
    LIMIT("coreflowAnswers", coreflow_answers, "16", 1, 65536, "messages",
          "penstock_traffic_coreflow_pauses_total", false,
          "Answers, pongs too, that Coreflow does not take; then nothing more is read from it."),
    CONF_SERVICE_KEYS(struct traffic_conf, service, "127.0.0.1:9003", "/var/lib/penstock/traffic"),
    {.path = "log.access",
     .kind = CONF_BOOL,
     .offset = AT(log_access),
     .fallback = "true",
     .is_hot = true,
     .doc = "One line for each request."},
    {.path = "log.accessFormat",
     .kind = CONF_ENUM,
     .offset = AT(log_access_format),
     .choices = access_formats,
     .fallback = "json",
     .is_hot = true,
     .doc = "The form of that line: json is an event of the log like others, in log.format; "
            "combined is NCSA's, for goaccess and awstats."},
    {.path = NULL},
};

const struct conf_table traffic_conf_table = {
    .service = "traffic",
    .summary = "HTTPS ingress: ends TLS, checks basic auth, proxies by host name",
    .keys = keys,
    .size = sizeof(struct traffic_conf),
    .check = check_all,
};
