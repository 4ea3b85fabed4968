/* hub_conf - the table of keys: see hub_conf.h. */
#include "hub/hub_conf.h"

#include <stddef.h>
#include <string.h>

#include "hub/registry.h"
#include "hub/target.h"
#include "tunnel/budget.h"
#include "tunnel/udp_session.h"
#include "json/json.h"

#define AT(member)                 offsetof(struct hub_conf, member)
#define HANDSHAKES_REFUSED(reason) "penstock_hub_handshake_failures_total{reason=\"" reason "\"}"
#define OPENS_REFUSED(reason)      "penstock_hub_streams_refused_total{reason=\"" reason "\"}"

static const char *const congestion_choices[] = {"cubic", "bbr", NULL}; /* enum quic_congestion */

static void check_transports(struct json_check *faults, const char *pointer, const void *member)
{
    struct json_object *const *list = member;
    size_t count;

    if (!json_object_is_type(*list, json_type_array)) {
        json_fault(faults, pointer, "type", "must be a list, is %s", json_type_of(*list));
        return;
    }
    count = json_object_array_length(*list);
    for (size_t i = 0; i < count; i++) {
        struct json_object *item = json_object_array_get_idx(*list, i);
        const char *name =
            json_object_is_type(item, json_type_string) ? json_object_get_string(item) : "";

        if (strcmp(name, "tls") != 0 && strcmp(name, "quic") != 0)
            json_fault(faults, pointer, "invalid", "may hold \"tls\" and \"quic\" only");
    }
    if (count == 0)
        json_fault(faults, pointer, "invalid", "must name \"tls\", \"quic\" or both");
}

bool hub_conf_has_transport(const struct hub_conf *conf, const char *name)
{
    for (size_t i = 0; i < json_object_array_length(conf->tunnel_transports); i++)
        if (strcmp(json_object_get_string(json_object_array_get_idx(conf->tunnel_transports, i)),
                   name) == 0)
            return true;
    return false;
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
                              target_mode(TARGET_TCP, (unsigned)conf->target_proxy_protocol),
                              conf->target_ports, faults, "/target/ports") == 0)
        target_map_free(targets);
    if (host_is_valid(conf->target_host) &&
        target_map_parse_udp(&targets, conf->target_host,
                             target_mode(TARGET_UDP, (unsigned)conf->target_proxy_protocol_udp),
                             conf->target_ports_udp, faults, "/target/portsUdp") == 0)
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
     .fallback = "[\"tls\",\"quic\"]",
     .check = check_transports,
     .doc = "The transports that edges may use: tls on TCP, quic on UDP, both on the same number."},
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
     .doc = "TCP congestion control of the tunnel; empty: the system's; by loopback Reno, "
            "where that is BBR."},
    {.path = "tunnel.quicCongestion",
     .kind = CONF_ENUM,
     .offset = AT(quic_congestion),
     .choices = congestion_choices,
     .fallback = "cubic",
     .doc = "Congestion control of QUIC tunnels."},
    {.path = "tunnel.qlogDir",
     .kind = CONF_STRING,
     .offset = AT(qlog_dir),
     .fallback = "",
     .doc = "A folder for a qlog file of each QUIC connection (large: to look for faults); empty: "
            "none."},
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
     .choices = target_mode_names[TARGET_TCP],
     .fallback = "v1",
     .doc = "The PROXY header in front of a stream, that tells the client's address."},
    {.path = "target.portsUdp",
     .kind = CONF_JSON,
     .offset = AT(target_ports_udp),
     .fallback = "{}",
     .example = "{\"53\":5353}",
     .doc = "Public UDP port to target: a port, or {host, port, proxyProtocol}; a port not named "
            "goes to the same number."},
    {.path = "target.proxyProtocolUdp",
     .kind = CONF_ENUM,
     .offset = AT(target_proxy_protocol_udp),
     .choices = target_mode_names[TARGET_UDP],
     .fallback = "first",
     .doc = "The PROXY v2 header that tells the client's address: a datagram of its own before the "
            "first, or in front of each payload."},
    {.path = "edges",
     .kind = CONF_JSON,
     .offset = AT(edges),
     .fallback = "[]",
     .example = "[{\"id\":\"demo\",\"listenPorts\":[443]}]",
     .doc =
         "The edges to begin with: {id, listenPorts, listenPortsUdp, stunIntervalSecs, "
         "maxInstances, enabled, secret | secretFile}. An entry is applied when it is new or "
         "was edited since the last "
         "start; what the API changed or removed stays, and so does an edge whose entry is gone."},
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
     .doc = "The key of the secrets in it, made with it; empty: store.key in stateDir."},
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
          HANDSHAKES_REFUSED("limit_total"),
          "Tunnel connections that have not said hello yet; past it the oldest of the source with "
          "most gives way (displaced), or the newest is refused."),
    LIMIT("handshakesPerSource", handshakes_per_source, "32", 1, 65536, "connections",
          HANDSHAKES_REFUSED("limit_source"), "The same of one IPv4 address or IPv6 /64."),
    LIMIT("waitingRefusals", waiting_refusals, "1024", 0, 1000000, "connections",
          HANDSHAKES_REFUSED("limit_waiting"),
          "Wrong proofs that wait out their second; one more is closed without an answer."),
    LIMIT("connects", connects, "4096", 1, 1000000, "connections", OPENS_REFUSED("limit_connects"),
          "Target connects under way; an OPEN past it is reset."),
    LIMIT("edgeShare", edge_share, "90", 1, 100, "%", "penstock_hub_edge_share_refused_total",
          "Of streams, connects, udpSessions, udpMemory and tunnel.memoryBudget that one edge may "
          "have, so that none starves the others: as much when it is alone; those that compete get "
          "the same each, and some stays free for the next. 100: no shares."),
    LIMIT("udpSessions", udp_sessions, "16384", 1, 1000000, "UDP sessions",
          "penstock_hub_udp_evicted_total",
          "Open at once, each with a socket to its target; past it the least recently used one "
          "goes. Descriptors and ports may allow fewer: GET /v1/status has the number in force."),
    LIMIT("udpLookups", udp_lookups, "1024", 1, 4096, "lookups", OPENS_REFUSED("limit_lookups"),
          "Of names of UDP targets, under way at once in one worker: each new client is one.  Past "
          "it a client is refused for a moment, so that streams find their targets."),
    LIMIT("udpIdleSecs", udp_idle_secs, "70", 1, 86400, "s", "penstock_hub_udp_idle_total",
          "After which a UDP session without a datagram in either direction is closed; the edge's "
          "is shorter and rules."),
    LIMIT("udpQueueBytes", udp_queue_bytes, "262144", UDP_QUEUE_MIN, 16777216, "bytes",
          "penstock_hub_udp_dropped_total{reason=\"queue_full\"}",
          "Datagrams of one UDP session that wait for the tunnel; past it the oldest go."),
    LIMIT("udpMemory", udp_memory, "67108864", 1048576, 1099511627776, "bytes",
          "penstock_hub_udp_dropped_total{reason=\"no_memory\"}",
          "Buffers of all UDP sessions that wait for the tunnel."),
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
          "For a target that takes nothing of the last bytes of a stream that has ended."),
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
