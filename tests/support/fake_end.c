/* fake_end - see fake_end.h. */
#include "support/fake_end.h"

#include <check.h>

#include "base/pieces.h"
#include "support/frame_tap.h"
#include "support/seeded.h"

#define PIECES 16

static void on_change(struct stream *s)
{
    struct fake_end *end = container_of(s, struct fake_end, stream);

    end->may_write = end->may_read = true;
    end->changes++;
    end->last_change_ms = *end->now_ms;
}

void fake_end_start(struct fake_end *end, const uint64_t *now_ms, uint64_t *seed,
                    struct fake_pair *pair, unsigned number)
{
    *end = (struct fake_end){.now_ms = now_ms,
                             .seed = seed,
                             .pair = pair,
                             .number = number,
                             .is_started = true,
                             .may_write = true,
                             .may_read = true};
    stream_init(&end->stream, on_change);
}

static const struct fake_plan_end *plan_of(const struct fake_end *end)
{
    return end->number == TAP_EDGE ? &end->pair->plan.client : &end->pair->plan.target;
}

static uint64_t key_of(const struct fake_pair *pair, unsigned writer)
{
    return pair->key * 2 + writer;
}

/* How much of a turn's allowance is used now: an end is never regular. */
static size_t allowance(struct fake_end *end, uint32_t max)
{
    if (max == 0 || max == FAKE_FAST)
        return max == 0 ? 0 : SIZE_MAX;
    return seeded_below(end->seed, 4) == 0 ? 0 : 1 + seeded_below(end->seed, max);
}

static void write_bytes(struct fake_end *end)
{
    const struct fake_plan_end *plan = plan_of(end);
    uint64_t key = key_of(end->pair, end->number);
    size_t left = allowance(end, plan->write_max);

    while (end->may_write && left > 0 && end->written < plan->bytes) {
        struct iovec piece[PIECES];
        size_t count = stream_reserve(&end->stream, piece, PIECES);
        size_t n = 0, want = (size_t)MIN((uint64_t)left, plan->bytes - end->written);

        if (count == 0) {
            end->may_write = false;
            return;
        }
        for (size_t i = 0; i < count && n < want; i++) {
            size_t part = MIN(piece[i].iov_len, want - n);
            uint8_t *to = piece[i].iov_base;

            for (size_t k = 0; k < part; k++)
                to[k] = seeded_byte(key, end->written + n + k);
            n += part;
        }
        stream_commit(&end->stream, n);
        end->written += n;
        left -= n;
    }
}

static void read_bytes(struct fake_end *end)
{
    uint64_t key = key_of(end->pair, !end->number);
    size_t left = allowance(end, plan_of(end)->read_max);

    while (end->may_read && left > 0) {
        struct iovec piece[PIECES];
        size_t count = stream_peek(&end->stream, piece, PIECES), n = 0;

        if (count == 0) {
            end->may_read = false;
            return;
        }
        for (size_t i = 0; i < count && n < left; i++) {
            size_t part = MIN(piece[i].iov_len, left - n);
            const uint8_t *from = piece[i].iov_base;

            for (size_t k = 0; k < part; k++)
                if (from[k] != seeded_byte(key, end->taken + n + k))
                    ck_abort_msg("byte %lu of %s is not what was written",
                                 (unsigned long)(end->taken + n + k),
                                 end->number == TAP_EDGE ? "an answer" : "a request");
            n += part;
        }
        end->taken += n;
        left -= n;
        stream_taken(&end->stream, n, *end->now_ms);
    }
}

static void finish(struct fake_end *end)
{
    const struct fake_plan_end *plan = plan_of(end);
    uint64_t moved = end->written + end->taken;

    if (end->has_finished || end->stream.state != STREAM_OPEN)
        return;
    if (plan->reset_at > 0 && moved >= plan->reset_at) {
        end->has_finished = true;
        stream_abort(&end->stream, end->number == TAP_HUB ? RESET_UNREACHABLE : RESET_BY_PEER);
        return;
    }
    if (end->written < plan->bytes || plan->finish == FINISH_NEVER)
        return;
    if (plan->finish == FINISH_AFTER_PEER && !stream_is_at_end(&end->stream))
        return;
    end->has_finished = true;
    if (plan->finish == FINISH_BY_RESET)
        stream_abort(&end->stream, RESET_BY_PEER);
    else
        stream_finish(&end->stream);
}

/* Whatever pace it reads at: a reset is its end. */
static void drop_rest(struct fake_end *end)
{
    struct iovec piece[PIECES];
    size_t count;

    while ((count = stream_peek(&end->stream, piece, PIECES)) > 0)
        stream_taken(&end->stream, pieces_bytes(piece, count), *end->now_ms);
}

void fake_end_run(struct fake_end *end)
{
    if (!end->is_started || end->is_over)
        return;
    read_bytes(end);
    write_bytes(end);
    finish(end);
    if (end->stream.state == STREAM_RESET)
        drop_rest(end);
    if (end->stream.state == STREAM_RESET ||
        (end->stream.state == STREAM_IDLE && end->stream.reset_code != RESET_NONE) ||
        (end->stream.state == STREAM_ENDED && stream_is_at_end(&end->stream))) {
        end->is_over = true;
        end->over_ms = *end->now_ms;
    }
}

void fake_end_check(const struct fake_end *end)
{
    if (!end->is_started)
        return;
    stream_check(&end->stream);
    ck_assert_uint_le(end->taken, end->number == TAP_EDGE ? end->pair->plan.target.bytes
                                                          : end->pair->plan.client.bytes);
}

bool fake_pair_is_exact(const struct fake_pair *pair)
{
    const struct fake_end *client = &pair->end[TAP_EDGE], *target = &pair->end[TAP_HUB];

    return client->is_started && target->is_started && client->stream.state == STREAM_ENDED &&
           target->stream.state == STREAM_ENDED && target->taken == pair->plan.client.bytes &&
           client->taken == pair->plan.target.bytes;
}

static struct fake_plan_end random_end(uint64_t *seed)
{
    static const uint32_t paces[] = {150, 1500, 8000, 30000, FAKE_FAST, FAKE_FAST};
    struct fake_plan_end end = {.finish = FINISH_AT_END};
    uint64_t size = seeded_below(seed, 100);

    end.bytes = size < 10   ? 0
                : size < 50 ? seeded_below(seed, 3000)
                : size < 90 ? seeded_below(seed, 60000)
                            : seeded_below(seed, 250000);
    end.write_max = paces[seeded_below(seed, ARRAY_LEN(paces))];
    end.read_max = paces[seeded_below(seed, ARRAY_LEN(paces))];
    return end;
}

void fake_plans_random(struct fake_plan *plans, unsigned n, uint64_t *seed)
{
    for (unsigned i = 0; i < n; i++) {
        plans[i] = (struct fake_plan){.open_at_ms = seeded_below(seed, 300),
                                      .client = random_end(seed),
                                      .target = random_end(seed)};
        if (seeded_chance(seed, 25))
            plans[i].client.finish = FINISH_AFTER_PEER;
        else if (seeded_chance(seed, 25))
            plans[i].target.finish = FINISH_AFTER_PEER;
    }
}
