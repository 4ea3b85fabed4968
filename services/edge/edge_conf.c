/* edge_conf - the table of keys: see edge_conf.h. */
#include "edge/edge_conf.h"

#include <stddef.h>

#include "edge/credentials.h"
#include "edge/stun_client.h"
#include "loop/addr.h"
#include "tunnel/udp_session.h"
#include "json/json.h"

#define AT(member) offsetof(struct edge_conf, member)

static const char *const transport_choices[] = {"tcpTls", "quic", "quicWithFallback",
                                                NULL};                  /* enum transport_mode */
static const char *const congestion_choices[] = {"cubic", "bbr", NULL}; /* enum quic_congestion */

static void check_address(struct json_check *faults, const char *pointer, const void *member)
{
    const char *const *text = member;
    union addr addr;

    if (**text && addr_parse_host(&addr, *text, 0) != 0)
        json_fault(faults, pointer, "invalid", "must be an IPv4 or IPv6 address, or empty");
}

static void check_stun_server(struct json_check *faults, const char *pointer, const void *member)
{
    const char *const *text = member;
    char host[HOST_MAX + 1];
    uint16_t port;

    if (**text && stun_server_parse(host, &port, *text) != 0)
        json_fault(faults, pointer, "invalid",
                   "must be a host, host:port or [IPv6 address]:port, or empty");
}

static void check_all(struct json_check *faults, const void *member)
{
    const struct edge_conf *conf = member;
    struct credentials *c = NULL;

    service_check(faults, &conf->service);
    if (credentials_from_conf(&c, conf, faults) == 0)
        credentials_unref(c);
}

static const struct conf_key keys[] = {
    {.path = "token",
     .kind = CONF_SECRET,
     .offset = AT(token),
     .max = 4096,
     .fallback = "",
     .doc = "The connection token that the hub gave out; or the single fields below."},
    {.path = "hubHost",
     .kind = CONF_STRING,
     .offset = AT(hub_host),
     .max = 253,
     .fallback = "",
     .doc = "Name or address of the hub."},
    {.path = "hubPort",
     .kind = CONF_INT,
     .offset = AT(hub_port),
     .min = 1,
     .max = 65535,
     .fallback = "8443",
     .doc = "The hub's tunnel port."},
    {.path = "edgeId",
     .kind = CONF_STRING,
     .offset = AT(edge_id),
     .max = 64,
     .fallback = "",
     .doc = "The id under which the hub knows this edge."},
    {.path = "secret",
     .kind = CONF_SECRET,
     .offset = AT(secret),
     .max = 256,
     .fallback = "",
     .doc = "The secret shared with the hub; shorter than 43 characters only with pin or caFile."},
    {.path = "pin",
     .kind = CONF_STRING,
     .offset = AT(pin),
     .max = 43,
     .fallback = "",
     .doc = "SHA-256 of the hub certificate's public key, in base64url."},
    {.path = "caFile",
     .kind = CONF_STRING,
     .offset = AT(ca_file),
     .fallback = "",
     .doc = "CA bundle that the hub's certificate must chain to."},
    {.path = "instance",
     .kind = CONF_STRING,
     .offset = AT(instance),
     .max = 253,
     .fallback = "",
     .doc = "Names this process's place, where several machines share one token; empty: the host "
            "name."},
    {.path = "bindAddress",
     .kind = CONF_STRING,
     .offset = AT(bind_address),
     .max = 64,
     .fallback = "",
     .check = check_address,
     .doc = "The address that public ports are bound on; empty or \"::\": all, IPv6 and IPv4."},
    {.path = "transportMode",
     .kind = CONF_ENUM,
     .offset = AT(transport_mode),
     .choices = transport_choices,
     .fallback = "quicWithFallback",
     .doc =
         "How the hub is reached; quicWithFallback: by QUIC, and by TLS while that does not work."},
    {.path = "quicRetrySecs",
     .kind = CONF_INT,
     .offset = AT(quic_retry_secs),
     .min = 1,
     .max = 86400,
     .fallback = "600",
     .unit = "s",
     .counter = "penstock_edge_transport_switches_total",
     .doc = "With quicWithFallback, on TLS: after so long, or a part of it, QUIC is tried again."},
    {.path = "holdSecs",
     .kind = CONF_INT,
     .offset = AT(hold_secs),
     .max = 3600,
     .fallback = "10",
     .unit = "s",
     .is_hot = true,
     .doc = "How long clients wait, and ports stay bound, while the tunnel is away."},
    {.path = "stun.server",
     .kind = CONF_STRING,
     .offset = AT(stun_server),
     .max = 261,
     .fallback = "stun.cloudflare.com:3478",
     .check = check_stun_server,
     .doc = "Who is asked for this edge's public address (STUN): host, or host:port; empty: "
            "nobody."},
    {.path = "stun.rtoMs",
     .kind = CONF_INT,
     .offset = AT(stun_rto_ms),
     .min = 10,
     .max = 60000,
     .fallback = "500",
     .unit = "ms",
     .counter = "penstock_edge_stun_requests_total{result=\"timeout\"}",
     .doc = "How long the first STUN request waits for its answer; each further one twice as "
            "long, the last one 16 times as long as the first."},
    {.path = "stun.tries",
     .kind = CONF_INT,
     .offset = AT(stun_tries),
     .min = 1,
     .max = 16,
     .fallback = "7",
     .unit = "requests",
     .counter = "penstock_edge_stun_requests_total{result=\"timeout\"}",
     .doc = "How often an address of the STUN server is asked before it counts as silent."},
    {.path = "tunnel.memoryBudget",
     .kind = CONF_INT,
     .offset = AT(memory_budget),
     .min = 1048576,
     .max = 1099511627776,
     .fallback = "209715200",
     .unit = "bytes",
     .counter = "penstock_edge_budget_denied_total",
     .doc = "What all streams may lend and hold beyond their first 64 KiB."},
    {.path = "tunnel.maxWindow",
     .kind = CONF_INT,
     .offset = AT(max_window),
     .min = 65536,
     .max = 1073741824,
     .fallback = "4194304",
     .unit = "bytes",
     .counter = "penstock_edge_window_stalls_total",
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
     .doc = "Congestion control of a tunnel by QUIC."},
    {.path = "tunnel.qlogDir",
     .kind = CONF_STRING,
     .offset = AT(qlog_dir),
     .fallback = "",
     .doc = "A folder for a qlog file of each QUIC connection (large: to look for faults); empty: "
            "none."},
    {.path = "limits.streams",
     .kind = CONF_INT,
     .offset = AT(limits.streams),
     .min = 1,
     .max = 10000000,
     .fallback = "16384",
     .unit = "streams",
     .counter = "penstock_edge_refused_total{reason=\"limit_streams\"}",
     .doc = "Client connections in the tunnel at once; past it accepting pauses."},
    {.path = "limits.connectionsPerAddress",
     .kind = CONF_INT,
     .offset = AT(limits.connections_per_address),
     .min = 1,
     .max = 10000000,
     .fallback = "4096",
     .unit = "connections",
     .counter = "penstock_edge_refused_total{reason=\"limit_address\"}",
     .doc = "Client connections at once of one IPv4 address or IPv6 /64, those that wait included; "
            "more are reset."},
    {.path = "limits.heldClients",
     .kind = CONF_INT,
     .offset = AT(limits.held_clients),
     .max = 1000000,
     .fallback = "1024",
     .unit = "connections",
     .counter = "penstock_edge_refused_total{reason=\"limit_held\"}",
     .doc = "Clients that wait while the tunnel is away; more are reset."},
    {.path = "limits.flushSecs",
     .kind = CONF_INT,
     .offset = AT(limits.flush_secs),
     .min = 1,
     .max = 86400,
     .fallback = "60",
     .unit = "s",
     .counter = "penstock_edge_streams_closed_total{result=\"flush_timeout\"}",
     .doc = "For a client to take any of the last bytes of a stream that has ended; then it is "
            "reset."},
    {.path = "limits.poolChunks",
     .kind = CONF_INT,
     .offset = AT(limits.pool_chunks),
     .min = 256,
     .max = 16777216,
     .fallback = "32768",
     .unit = "chunks of 16 KiB",
     .counter = "penstock_edge_pool_refused_total",
     .doc = "All buffers of one worker."},
    {.path = "limits.udpSessions",
     .kind = CONF_INT,
     .offset = AT(limits.udp_sessions),
     .min = 1,
     .max = 1000000,
     .fallback = "16384",
     .unit = "UDP sessions",
     .counter = "penstock_edge_udp_evicted_total",
     .doc = "Clients of UDP ports at once; past it the least recently used one goes, of an address "
            "(IPv6: a /64) that has more than its share, or of all that the client's worker "
            "serves. A share is what each address had if all had the same, but never less than a "
            "64th."},
    {.path = "limits.udpIdleSecs",
     .kind = CONF_INT,
     .offset = AT(limits.udp_idle_secs),
     .min = 1,
     .max = 86400,
     .fallback = "60",
     .unit = "s",
     .counter = "penstock_edge_udp_idle_total",
     .doc = "After which a UDP session without a datagram in either direction is closed."},
    {.path = "limits.udpQueueBytes",
     .kind = CONF_INT,
     .offset = AT(limits.udp_queue_bytes),
     .min = UDP_QUEUE_MIN,
     .max = 16777216,
     .fallback = "262144",
     .unit = "bytes",
     .counter = "penstock_edge_udp_dropped_total{reason=\"queue_full\"}",
     .doc = "Datagrams of one UDP session that wait for the tunnel; past it the oldest go."},
    {.path = "limits.udpMemory",
     .kind = CONF_INT,
     .offset = AT(limits.udp_memory),
     .min = 1048576,
     .max = 1099511627776,
     .fallback = "67108864",
     .unit = "bytes",
     .counter = "penstock_edge_udp_dropped_total{reason=\"no_memory\"}",
     .doc = "Buffers of all UDP sessions that wait for the tunnel."},
    CONF_SERVICE_KEYS(struct edge_conf, service, "127.0.0.1:9002", "/var/lib/penstock/edge"),
    {.path = NULL},
};

const struct conf_table edge_conf_table = {
    .service = "edge",
    .summary = "listens at the network's border and carries every connection to the hub",
    .keys = keys,
    .size = sizeof(struct edge_conf),
    .check = check_all,
};
