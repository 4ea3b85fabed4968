/* path_watch - see path_watch.h. */
#include "tunnel/path_watch.h"

#include <stdbool.h>

#include "base/must.h"

#define WAITING_PCT    90u /* of a window in which there always was more to send */
#define LOSS_PCT       20u
#define FALL_RATE      16u
#define FALL_CWND      8u
#define WINDOW_IN_RTTS 8u

const char *path_sign_name(enum path_sign sign)
{
    static const char *const names[] = {
#define X(name, text) text,
        PATH_SIGNS(X)
#undef X
    };

    return names[sign];
}

/* What came to an end in the window: acknowledged, or given up as lost. */
static uint64_t settled_in(const struct path_sample *from, const struct path_sample *to)
{
    uint64_t left = to->sent - from->sent + from->in_flight;

    return left > to->in_flight ? left - to->in_flight : 0;
}

static bool is_at_floor(const struct path_sample *s)
{
    return s->cwnd <= (uint64_t)PATH_FLOOR_PACKETS * s->packet;
}

static enum path_sign judge(struct path_watch *w, const struct path_sample *now)
{
    uint64_t acked = now->acked - w->begin.acked, settled = settled_in(&w->begin, now);
    uint64_t lost = settled > acked ? settled - acked : 0;

    w->rate = acked * 1000 / (now->now_ms - w->begin.now_ms);
    w->loss_pct = settled > 0 ? (uint32_t)(lost * 100 / settled) : 0;
    if (acked == 0)
        return PATH_SIGN_STALL;
    if (w->loss_pct >= LOSS_PCT && is_at_floor(now))
        return PATH_SIGN_LOSS;
    if (w->rate < PATH_SLOW_BYTES_SEC && w->rate * FALL_RATE < w->best_rate &&
        (is_at_floor(now) || now->cwnd * FALL_CWND <= w->best_cwnd))
        return PATH_SIGN_FALL;
    w->best_rate = MAX(w->best_rate, w->rate);
    w->best_cwnd = MAX(w->best_cwnd, now->cwnd);
    return PATH_SIGN_NONE;
}

static enum path_sign count(struct path_watch *w, enum path_sign sign)
{
    if (sign == PATH_SIGN_NONE) {
        w->score -= w->score > 0;
        return PATH_SIGN_NONE;
    }
    w->score += sign == PATH_SIGN_STALL ? 2 : 1;
    if (w->score < PATH_COLLAPSED_SCORE)
        return PATH_SIGN_NONE;
    w->score = 0;
    return sign;
}

/* A window is over when it is long enough and has something to show; one that has not, by the
 * longest time. */
static bool is_over(const struct path_watch *w, const struct path_sample *now)
{
    uint64_t ms = now->now_ms - w->begin.now_ms, rtts_ms = (uint64_t)now->rtt_ms * WINDOW_IN_RTTS;
    bool has_evidence = now->acked > w->begin.acked &&
                        settled_in(&w->begin, now) >= (uint64_t)PATH_EVIDENCE * now->packet;

    if (ms >= PATH_WINDOW_MAX_MS)
        return true;
    return has_evidence && ms >= MAX(rtts_ms, (uint64_t)PATH_WINDOW_MS);
}

enum path_sign path_watch_take(struct path_watch *w, const struct path_sample *now)
{
    enum path_sign sign = PATH_SIGN_NONE;
    uint64_t waited_ms, ms;

    if (w->begin.now_ms == 0) {
        w->begin = *now;
        return PATH_SIGN_NONE;
    }
    must(now->now_ms >= w->begin.now_ms && now->sent >= w->begin.sent);
    must(now->acked >= w->begin.acked && now->waiting_ms >= w->begin.waiting_ms);
    if (!is_over(w, now))
        return PATH_SIGN_NONE;
    ms = now->now_ms - w->begin.now_ms;
    waited_ms = now->waiting_ms - w->begin.waiting_ms;
    if (waited_ms * 100 >= ms * WAITING_PCT || now->stalled_ms >= ms)
        sign = judge(w, now);
    w->begin = *now;
    return count(w, sign);
}
