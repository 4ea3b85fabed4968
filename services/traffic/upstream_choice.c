/* upstream_choice - see upstream_choice.h. */
#include "traffic/upstream_choice.h"

#include "traffic/health.h"
#include "traffic/traffic_worker_internal.h"

void upstream_choice_start(struct upstream_choice *c, struct route_slot *slot,
                           const struct route *route)
{
    *c = (struct upstream_choice){.first = slot->next};
    slot->next = (slot->next + 1) % (unsigned)route->destination_count;
}

static bool was_tried(const struct upstream_choice *c, const struct upstream_pool *pool)
{
    for (unsigned i = 0; i < c->attempts; i++)
        if (c->tried[i] == pool)
            return true;
    return false;
}

static unsigned in_flight(const struct upstream_pool *pool)
{
    return pool->open - pool->idle_count;
}

/* xorshift64: chance enough to spread a load. */
static uint64_t roll(uint64_t *dice)
{
    *dice ^= *dice << 13;
    *dice ^= *dice >> 7;
    *dice ^= *dice << 17;
    return *dice;
}

/* One pass over the destinations in round robin order. */
struct pass {
    const struct upstream_choice *choice;
    const struct route_slot *slot;
    const struct route *route;
    uint64_t now_ms;
    bool wants_down_ones;
};

/* The n-th of the order, or NULL: not one of this pass. */
static struct upstream_pool *candidate(const struct pass *p, unsigned n)
{
    unsigned i = (p->choice->first + n) % (unsigned)p->route->destination_count;
    struct upstream_pool *pool = p->slot->pools[i];
    bool is_down = upstream_pool_is_down(pool, p->now_ms) || health_is_down(p->route, i);

    return is_down == p->wants_down_ones && !was_tried(p->choice, pool) ? pool : NULL;
}

static struct upstream_pool *first_of(const struct pass *p)
{
    struct upstream_pool *pool = NULL;

    for (unsigned n = 0; n < p->route->destination_count && !pool; n++)
        pool = candidate(p, n);
    return pool;
}

static struct upstream_pool *least_of(const struct pass *p)
{
    struct upstream_pool *least = NULL;

    for (unsigned n = 0; n < p->route->destination_count; n++) {
        struct upstream_pool *pool = candidate(p, n);

        if (pool && (!least || in_flight(pool) < in_flight(least)))
            least = pool;
    }
    return least;
}

/* The better of two by chance, both among the candidates. */
static struct upstream_pool *better_of_two(const struct pass *p, uint64_t *dice)
{
    struct upstream_pool *one = NULL, *two = NULL;
    unsigned seen = 0;

    for (unsigned n = 0; n < p->route->destination_count; n++) { /* a sample of two */
        struct upstream_pool *pool = candidate(p, n);
        uint64_t place;

        if (!pool)
            continue;
        place = seen < 2 ? seen : roll(dice) % (seen + 1);
        seen++;
        if (place == 0)
            one = pool;
        else if (place == 1)
            two = pool;
    }
    if (!one || !two)
        return one ? one : two;
    if (in_flight(one) == in_flight(two))
        return roll(dice) & 1 ? one : two;
    return in_flight(one) < in_flight(two) ? one : two;
}

static struct upstream_pool *pick(const struct pass *p, uint64_t *dice)
{
    if (p->wants_down_ones)
        return first_of(p);
    switch (p->route->options->balance) {
    case BALANCE_LEAST_CONNECTIONS:
        return least_of(p);
    case BALANCE_P2C:
        return better_of_two(p, dice);
    case BALANCE_ROUND_ROBIN:
    case BALANCE_COUNT:
        break;
    }
    return first_of(p);
}

struct upstream_pool *upstream_choice_next(struct upstream_choice *c, const struct route_slot *slot,
                                           const struct route *route, uint64_t now_ms,
                                           uint64_t *dice)
{
    struct pass pass = {.choice = c, .slot = slot, .route = route, .now_ms = now_ms};
    struct upstream_pool *pool;

    if (c->attempts == UPSTREAM_ATTEMPTS_MAX)
        return NULL;
    pool = pick(&pass, dice);
    pass.wants_down_ones = true;
    if (!pool)
        pool = pick(&pass, dice);
    if (pool)
        c->tried[c->attempts++] = pool;
    return pool;
}
