/* edge_share - see edge_share.h. */
#include "hub/edge_share.h"

#include <stdlib.h>

#include "hub/hub_lane.h"

struct edge_share *edge_share_new(struct hub_shared *shared)
{
    struct edge_share *share = must_alloc(sizeof(*share));

    budget_init_part(&share->budget, &shared->budget, shared->share_percent);
    atomic_store_explicit(&share->refs, 1, memory_order_relaxed);
    return share;
}

struct edge_share *edge_share_ref(struct edge_share *share)
{
    unsigned before = atomic_fetch_add_explicit(&share->refs, 1, memory_order_relaxed);

    must(before > 0);
    return share;
}

void edge_share_unref(struct edge_share *share)
{
    unsigned before;

    if (!share)
        return;
    before = atomic_fetch_sub_explicit(&share->refs, 1, memory_order_acq_rel);
    must(before > 0);
    if (before > 1)
        return;
    must(atomic_load_explicit(&share->forwards, memory_order_relaxed) == 0);
    must(atomic_load_explicit(&share->udp_flows, memory_order_relaxed) == 0);
    must(atomic_load_explicit(&share->budget.taken, memory_order_relaxed) == 0);
    must(atomic_load_explicit(&share->budget.udp.taken, memory_order_relaxed) == 0);
    free(share);
}

struct bound {
    uint32_t own, taken, limit;
};

static uint32_t present(const _Atomic uint32_t *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

static struct bound bound_of(const struct edge_share *share, const struct hub_shared *shared,
                             enum shared_limit which)
{
    switch (which) {
    case SHARED_STREAMS:
        return (struct bound){present(&share->forwards), present(&shared->forwards),
                              shared->forwards_max};
    case SHARED_CONNECTS:
        return (struct bound){present(&share->connects), present(&shared->connects),
                              shared->connects_max};
    case SHARED_UDP_SESSIONS:
        return (struct bound){present(&share->udp_flows), present(&shared->udp_flows),
                              shared->budget.udp.limit_sessions};
    case SHARED_MEMORY:
    case SHARED_UDP_MEMORY:
    case SHARED_LIMIT_COUNT:
        break;
    }
    must(!"the budget decides about memory");
    return (struct bound){0};
}

static void tell(struct hub_lane *lane, enum shared_limit which, const struct bound *b)
{
    struct hub_worker *w = lane->worker;

    count_one(&lane->share->refused[which]);
    count_one(&w->shared->counters.past_share[which]);
    if (!log_limit_pass(&w->share_log, loop_now_ms(w->loop)))
        return;
    log_warn("hub", "edge_past_share", LOG_S("edge", lane->edge_id),
             LOG_S("limit", shared_limit_names[which]), LOG_U("own", b->own),
             LOG_U("taken", b->taken), LOG_U("of", b->limit), LOG_U("held", w->share_log.held));
    w->share_log.held = 0;
}

enum share_verdict edge_share_ask(struct hub_lane *lane, enum shared_limit which)
{
    const struct hub_shared *shared = lane->worker->shared;
    struct bound b = bound_of(lane->share, shared, which);

    /* At the limit as if one were free: it still makes a difference who asks. */
    if (budget_share_allows(b.own, MIN(b.taken, b.limit - 1), b.limit, shared->share_percent))
        return b.taken < b.limit ? SHARE_OK : SHARE_LIMIT;
    tell(lane, which, &b);
    return SHARE_PAST;
}

uint64_t edge_share_refused(const struct edge_share *share)
{
    uint64_t sum = counted(&share->budget.past_share) + counted(&share->budget.udp.past_share);

    for (unsigned i = 0; i < SHARED_LIMIT_COUNT; i++)
        sum += counted(&share->refused[i]);
    return sum;
}
