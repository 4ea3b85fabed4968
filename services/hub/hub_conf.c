/* hub_conf - the table of keys: see hub_conf.h. */
#include "hub/hub_conf.h"

#include <stddef.h>
#include <string.h>

#include "hub/registry.h"
#include "hub/target.h"
#include "tunnel/budget.h"
#include "json/json.h"

#define AT(member)                 offsetof(struct hub_conf, member)
#define HANDSHAKES_REFUSED(reason) "penstock_hub_handshake_failures_total{reason=\"" reason "\"}"
#define OPENS_REFUSED(reason)      "penstock_hub_streams_refused_total{reason=\"" reason "\"}"

static const char *const proxy_choices[] = {"v1", "v2", "off", NULL}; /* enum proxy_mode */

/* ["tls"] is all there is until QUIC comes. */
static void check_transports(struct json_check *faults, const char *pointer, const void *member)
{
    struct json_object *const *list = member;
    struct json_object *first;

    if (!json_object_is_type(*list, json_type_array)) {
        json_fault(faults, pointer, "type", "must be a list, is %s", json_type_of(*list));
        return;
    }
    first = json_object_array_length(*list) == 1 ? json_object_array_get_idx(*list, 0) : NULL;
    if (!json_object_is_type(first, json_type_string) ||
        strcmp(json_object_get_string(first), "tls") != 0)
        json_fault(faults, pointer, "invalid", "must be [\"tls\"] in this version");
}

static bool is_set(const char *text)
{
    return text && *text;
}

static void check_all(struct json_check *faults, const void *member)
{
    const struct hub_conf *conf = member;
    bool has_cert = is_set(conf->tunnel_cert_file), has_key = is_set(conf->tunnel_key_file);
    struct target_map *targets = NULL;

    service_check(faults, &conf->service);
    if (has_cert != has_key)
        json_fault(faults, has_cert ? "/tunnel/keyFile" : "/tunnel/certFile", "required",
                   "tunnel.certFile and tunnel.keyFile go together");
    if (is_set(conf->public_host) && !host_is_valid(conf->public_host))
        json_fault(faults, "/tunnel/publicHost", "invalid", "must be a host name or an address");
    if (!host_is_valid(conf->target_host))
        json_fault(faults, "/target/host", "invalid", "must be a host name or an address");
    else if (target_map_parse(&targets, conf->target_host,
                              (enum proxy_mode)conf->target_proxy_protocol, conf->target_ports,
                              faults, "/target/ports") == 0)
        target_map_free(targets);
    if (strncmp(conf->store_url, STORE_SCHEME, strlen(STORE_SCHEME)) != 0 ||
        !conf->store_url[strlen(STORE_SCHEME)])
        json_fault(faults, "/store/url", "invalid", "must be " STORE_SCHEME " and a file");
    registry_check_conf(faults, "/edges", conf->edges, (size_t)conf->limits.edges);
}

#define LIMIT(name, member_, fallback_, min_, max_, unit_, counter_, doc_)                         \
    {                                                                                              \
        .path = "limits." name, .kind = CONF_INT, .offset = AT(limits.member_), .min = (min_),     \
        .max = (max_), .fallback = (fallback_), .unit = (unit_), .counter = (counter_),            \
        .doc = (doc_)                                                                              \
    }

static const struct conf_key keys[] = {
    {.path = "tunnel.listen",
     .kind = CONF_LISTEN,
     .offset = AT(tunnel_listen),
     .min = 1,
     .fallback = "[::]:8443",
     .doc = "Where edges dial in."},
    {.path = "tunnel.transports",
     .kind = CONF_JSON,
     .offset = AT(tunnel_transports),
     .fallback = "[\"tls\"]",
     .check = check_transports,
     .doc = "The transports that edges may use; this version has tls."},
    {.path = "tunnel.certFile",
     .kind = CONF_STRING,
     .offset = AT(tunnel_cert_file),
     .fallback = "",
     .doc = "PEM chain of the tunnel; empty: a self-signed one, made in stateDir."},
    {.path = "tunnel.keyFile",
     .kind = CONF_STRING,
     .offset = AT(tunnel_key_file),
     .fallback = "",
     .doc = "PEM key of tunnel.certFile."},
    {.path = "tunnel.publicHost",
     .kind = CONF_STRING,
     .offset = AT(public_host),
     .max = HOST_MAX,
     .fallback = "",
     .doc = "The host that tokens name; empty: the request for one must say it."},
    {.path = "tunnel.publicPort",
     .kind = CONF_INT,
     .offset = AT(public_port),
     .max = 65535,
     .fallback = "0",
     .doc = "The port that tokens name; 0: that of tunnel.listen."},
    {.path = "tunnel.maxLanes",
     .kind = CONF_INT,
     .offset = AT(max_lanes),
     .min = 1,
     .max = 256,
     .fallback = "16",
     .unit = "lanes",
     .counter = HANDSHAKES_REFUSED("too_many_lanes"),
     .doc = "Connections of one running edge that are not draining."},
    {.path = "tunnel.memoryBudget",
     .kind = CONF_INT,
     .offset = AT(memory_budget),
     .min = 1048576,
     .max = 1099511627776,
     .fallback = "209715200",
     .unit = "bytes",
     .counter = "penstock_hub_budget_denied_total",
     .doc = "What all streams may lend and hold beyond their first 64 KiB."},
    {.path = "tunnel.maxWindow",
     .kind = CONF_INT,
     .offset = AT(max_window),
     .min = BUDGET_STREAM_FREE,
     .max = 1073741824,
     .fallback = "4194304",
     .unit = "bytes",
     .counter = "penstock_hub_window_stalls_total",
     .doc = "The largest window of one stream."},
    {.path = "tunnel.tlsCongestion",
     .kind = CONF_STRING,
     .offset = AT(tls_congestion),
     .max = 15,
     .fallback = "",
     .doc = "TCP congestion control of the tunnel; empty: the system's."},
    {.path = "target.host",
     .kind = CONF_STRING,
     .offset = AT(target_host),
     .min = 1,
     .max = HOST_MAX,
     .fallback = "127.0.0.1",
     .doc = "Where streams are forwarded to."},
    {.path = "target.ports",
     .kind = CONF_JSON,
     .offset = AT(target_ports),
     .fallback = "{\"80\":7999,\"443\":8000}",
     .doc = "Public port to target: a port, or {host, port, proxyProtocol}; a port not named goes "
            "to the same number."},
    {.path = "target.proxyProtocol",
     .kind = CONF_ENUM,
     .offset = AT(target_proxy_protocol),
     .choices = proxy_choices,
     .fallback = "v1",
     .doc = "The PROXY header in front of a stream, that tells the client's address."},
    {.path = "edges",
     .kind = CONF_JSON,
     .offset = AT(edges),
     .fallback = "[]",
     .doc = "The edges to begin with: {id, listenPorts, stunIntervalSecs, maxInstances, enabled, "
            "secret | secretFile}. An entry is applied when it is new or was edited since the last "
            "start; what the API changed or removed stays."},
    {.path = "store.url",
     .kind = CONF_STRING,
     .offset = AT(store_url),
     .min = 1,
     .fallback = STORE_SCHEME "hub.db",
     .doc = "Where edges are kept: sqlite: and a file, relative to stateDir."},
    {.path = "store.keyFile",
     .kind = CONF_STRING,
     .offset = AT(store_key_file),
     .fallback = "",
     .doc = "The key of the secrets in it, made when missing; empty: store.key in stateDir."},
    LIMIT("streams", streams, "16384", 1, 10000000, "streams", OPENS_REFUSED("limit_streams"),
          "Open at once; an OPEN past it is reset."),
    LIMIT("edges", edges, "10000", 1, REGISTRY_MAX, "edges", "penstock_hub_edges_refused_total",
          "In the registry; one more is refused by the API."),
    LIMIT("waitingChanges", waiting_changes, "64", 1, 10000, "changes",
          "penstock_hub_changes_refused_total",
          "Of the registry, that wait until they are durable; one more is refused with 503."),
    LIMIT("sessions", sessions, "16384", 1, 1000000, "sessions", HANDSHAKES_REFUSED("overloaded"),
          "Running edge instances; one more is told overloaded."),
    LIMIT("handshakes", handshakes, "256", 1, 65536, "connections",
          HANDSHAKES_REFUSED("limit_total"), "Tunnel connections that have not said hello yet."),
    LIMIT("handshakesPerSource", handshakes_per_source, "32", 1, 65536, "connections",
          HANDSHAKES_REFUSED("limit_source"), "The same of one IPv4 address or IPv6 /64."),
    LIMIT("waitingRefusals", waiting_refusals, "1024", 0, 1000000, "connections",
          HANDSHAKES_REFUSED("limit_waiting"),
          "Wrong proofs that wait out their second; one more is closed without an answer."),
    LIMIT("connects", connects, "4096", 1, 1000000, "connections", OPENS_REFUSED("limit_connects"),
          "Target connects under way; an OPEN past it is reset."),
    LIMIT("poolChunks", pool_chunks, "131072", 256, 16777216, "chunks of 16 KiB",
          "penstock_hub_pool_refused_total", "All buffers of one worker."),
    LIMIT("streamsListed", streams_listed, "1000", 1, 100000, "streams",
          "penstock_hub_streams_unlisted_total",
          "In an answer of GET /v1/edges/{id}/streams: the newest."),
    LIMIT("metricsEdges", metrics_edges, "1000", 0, REGISTRY_MAX, "edges", NULL,
          "That have a label of their own in the metrics; the others share \"*other\"."),
    LIMIT("connectSecs", connect_secs, "5", 1, 3600, "s",
          "penstock_hub_connect_failures_total{reason=\"timeout\"}",
          "To connect to a target, the lookup and all its addresses included."),
    LIMIT("flushSecs", flush_secs, "60", 1, 86400, "s",
          "penstock_hub_streams_total{result=\"flush_timeout\"}",
          "For a target to take the last bytes of a stream that has ended."),
    CONF_SERVICE_KEYS(struct hub_conf, service, "127.0.0.1:9001", "/var/lib/penstock/hub"),
    {.path = NULL},
};

const struct conf_table hub_conf_table = {
    .service = "hub",
    .summary = "keeps the registry of edges, ends their tunnels, forwards streams to targets",
    .keys = keys,
    .size = sizeof(struct hub_conf),
    .check = check_all,
};
