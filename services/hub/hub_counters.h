/* hub_counters - what the hub counts: relaxed atomics, added to by any thread, read by a scrape.
 *
 * The lists here are the label values of the metrics: bounded by the program.
 */
#ifndef HUB_HUB_COUNTERS_H
#define HUB_HUB_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "tunnel/udp_session.h"
#include "wire/control.h"
#include "wire/hello.h"

/* Why a tunnel connection never opened. */
#define HANDSHAKE_FAULTS(X)                                                                        \
    X(LIMIT_TOTAL, "limit_total")     /* limits.handshakes */                                      \
    X(LIMIT_SOURCE, "limit_source")   /* limits.handshakesPerSource */                             \
    X(DISPLACED, "displaced")         /* it gave way to another at one of these two */             \
    X(LIMIT_WAITING, "limit_waiting") /* limits.waitingRefusals */                                 \
    X(MEMORY, "memory")                                                                            \
    X(TLS, "tls")                                                                                  \
    X(TIMEOUT, "timeout")                                                                          \
    X(CLOSED, "closed") /* the peer went away */                                                   \
    X(HELLO_TOO_LONG, "hello_too_long")                                                            \
    X(BAD_REQUEST, "bad_request")                                                                  \
    X(UNSUPPORTED_VERSION, "unsupported_version")                                                  \
    X(UNAUTHORIZED, "unauthorized")                                                                \
    X(UNKNOWN_SESSION, "unknown_session")                                                          \
    X(EDGE_DISABLED, "edge_disabled")                                                              \
    X(LANE_IN_USE, "lane_in_use")                                                                  \
    X(TOO_MANY_LANES, "too_many_lanes")                                                            \
    X(OVERLOADED, "overloaded")

/* Why an OPEN or UDP_OPEN was refused at once. */
#define OPEN_REFUSALS(X)                                                                           \
    X(PORT, "port_not_allowed")                                                                    \
    X(LIMIT_STREAMS, "limit_streams")                                                              \
    X(LIMIT_CONNECTS, "limit_connects")                                                            \
    X(LIMIT_UDP, "limit_udp_sessions")                                                             \
    X(LOOKUPS, "limit_lookups")                                                                    \
    X(SHARE, "edge_share") /* of any of these limits: limits.edgeShare */                          \
    X(MEMORY, "memory")

/* What all edges share, and each has a share of (edge_share.h). */
#define SHARED_LIMITS(X)                                                                           \
    X(STREAMS, "streams")                                                                          \
    X(CONNECTS, "connects")                                                                        \
    X(UDP_SESSIONS, "udp_sessions")                                                                \
    X(MEMORY, "memory")         /* tunnel.memoryBudget */                                          \
    X(UDP_MEMORY, "udp_memory") /* limits.udpMemory */

/* How a stream ended that was not refused. */
#define STREAM_RESULTS(X)                                                                          \
    X(ENDED, "ended")             /* both sides in order */                                        \
    X(UNREACHABLE, "unreachable") /* the target could not be connected to */                       \
    X(CLIENT_RESET, "client_reset")                                                                \
    X(TARGET_RESET, "target_reset")                                                                \
    X(LANE_LOST, "lane_lost")                                                                      \
    X(NO_MEMORY, "no_memory")                                                                      \
    X(REFUSED, "refused")             /* limits.streams */                                         \
    X(FLUSH_TIMEOUT, "flush_timeout") /* limits.flushSecs */                                       \
    X(STOPPED, "stopped")             /* with the hub */

/* Why a connect to a target failed. */
#define CONNECT_FAULTS(X)                                                                          \
    X(RESOLVE, "resolve")                                                                          \
    X(REFUSED, "refused")                                                                          \
    X(TIMEOUT, "timeout")                                                                          \
    X(SYSTEM, "system") /* no descriptor, port or memory here */                                   \
    X(OWN_LISTENER, "own_listener")

#define X(name, text) HANDSHAKE_##name,
enum handshake_fault { HANDSHAKE_FAULTS(X) HANDSHAKE_FAULT_COUNT };
#undef X
#define X(name, text) OPEN_##name,
enum open_refusal { OPEN_REFUSALS(X) OPEN_REFUSAL_COUNT };
#undef X
#define X(name, text) SHARED_##name,
enum shared_limit { SHARED_LIMITS(X) SHARED_LIMIT_COUNT };
#undef X
#define X(name, text) RESULT_##name,
enum stream_result { STREAM_RESULTS(X) STREAM_RESULT_COUNT };
#undef X
#define X(name, text) CONNECT_##name,
enum connect_fault { CONNECT_FAULTS(X) CONNECT_FAULT_COUNT };
#undef X

extern const char *const handshake_fault_names[HANDSHAKE_FAULT_COUNT];
extern const char *const open_refusal_names[OPEN_REFUSAL_COUNT];
extern const char *const shared_limit_names[SHARED_LIMIT_COUNT];
extern const char *const stream_result_names[STREAM_RESULT_COUNT];
extern const char *const connect_fault_names[CONNECT_FAULT_COUNT];

#define DURATION_BOUNDS 8
extern const double duration_bounds[DURATION_BOUNDS]; /* seconds */

struct duration {
    _Atomic uint64_t counts[DURATION_BOUNDS + 1];
    _Atomic uint64_t sum_us;
};

struct hub_counters {
    _Atomic uint64_t accepted, handshakes; /* tunnel connections taken; of those, opened */
    _Atomic uint64_t handshake_faults[HANDSHAKE_FAULT_COUNT];
    _Atomic uint64_t open_refusals[OPEN_REFUSAL_COUNT];
    _Atomic uint64_t past_share[SHARED_LIMIT_COUNT]; /* the memories count in the budget */
    _Atomic uint64_t stream_results[STREAM_RESULT_COUNT];
    _Atomic uint64_t connect_faults[CONNECT_FAULT_COUNT];
    _Atomic uint64_t udp_dropped[UDP_DROP_COUNT]; /* outside of lanes */
    _Atomic uint64_t udp_evicted, udp_idle, udp_moved, udp_target_errors;
    _Atomic uint64_t goodbyes[GOODBYE_OTHER]; /* sent, by code */
    _Atomic uint64_t paths_collapsed;         /* by tunnel/path_watch.h, as often as it says so */
    _Atomic uint64_t edges_refused;           /* by limits.edges */
    _Atomic uint64_t streams_unlisted;        /* by limits.streamsListed */
    struct duration handshake, connect;
};

static inline void count_many(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline void count_one(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static inline uint64_t counted(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void duration_count(struct duration *d, uint64_t took_us);
/* An error answer as the fault that it is. */
enum handshake_fault handshake_fault_of(enum answer_code code);

#endif
