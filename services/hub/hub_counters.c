/* hub_counters - see hub_counters.h. */
#include "hub/hub_counters.h"

#define X(name, text) text,
const char *const handshake_fault_names[] = {HANDSHAKE_FAULTS(X)};
const char *const open_refusal_names[] = {OPEN_REFUSALS(X)};
const char *const shared_limit_names[] = {SHARED_LIMITS(X)};
const char *const stream_result_names[] = {STREAM_RESULTS(X)};
const char *const connect_fault_names[] = {CONNECT_FAULTS(X)};
#undef X

const double duration_bounds[DURATION_BOUNDS] = {0.001, 0.005, 0.02, 0.05, 0.2, 0.5, 1, 5};

void duration_count(struct duration *d, uint64_t took_us)
{
    unsigned at = 0;

    while (at < DURATION_BOUNDS && (double)took_us > duration_bounds[at] * 1e6)
        at++;
    count_one(&d->counts[at]);
    atomic_fetch_add_explicit(&d->sum_us, took_us, memory_order_relaxed);
}

enum handshake_fault handshake_fault_of(enum answer_code code)
{
    switch (code) {
    case ANSWER_UNSUPPORTED_VERSION:
        return HANDSHAKE_UNSUPPORTED_VERSION;
    case ANSWER_UNAUTHORIZED:
        return HANDSHAKE_UNAUTHORIZED;
    case ANSWER_UNKNOWN_SESSION:
        return HANDSHAKE_UNKNOWN_SESSION;
    case ANSWER_EDGE_DISABLED:
        return HANDSHAKE_EDGE_DISABLED;
    case ANSWER_LANE_IN_USE:
        return HANDSHAKE_LANE_IN_USE;
    case ANSWER_TOO_MANY_LANES:
        return HANDSHAKE_TOO_MANY_LANES;
    case ANSWER_OVERLOADED:
        return HANDSHAKE_OVERLOADED;
    case ANSWER_OK:
    case ANSWER_BAD_REQUEST:
    case ANSWER_OTHER:
        break;
    }
    return HANDSHAKE_BAD_REQUEST;
}
