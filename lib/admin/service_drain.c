/* service_drain - see service_drain.h. */
#include "admin/service_drain.h"

#include <string.h>

#include "base/log.h"

static const struct {
    const char *name;
    unsigned next;
} rule[] = {
    [DRAIN_RUNNING] = {"running", BIT(DRAIN_ANNOUNCED)},
    [DRAIN_ANNOUNCED] = {"announced", BIT(DRAIN_CLOSING) | BIT(DRAIN_OVER)},
    [DRAIN_CLOSING] = {"closing", BIT(DRAIN_LEAVING) | BIT(DRAIN_OVER)},
    [DRAIN_LEAVING] = {"leaving", BIT(DRAIN_OVER)},
    [DRAIN_OVER] = {"over", 0},
};
_Static_assert(ARRAY_LEN(rule) == DRAIN_STATE_COUNT, "every state has a rule");

static void enter(struct service_drain *d, enum drain_state to)
{
    uint64_t now_ms = loop_now_ms(d->look.loop);

    must(rule[d->state].next & BIT(to));
    log_info(d->service, "drain", LOG_S("state", rule[to].name),
             LOG_U("after_ms", now_ms - d->begun_ms));
    d->state = to;
    d->due_ms = now_ms;
    switch (to) {
    case DRAIN_ANNOUNCED:
        d->due_ms += (uint64_t)d->conf->drain_delay_secs * 1000;
        break;
    case DRAIN_CLOSING:
        d->due_ms += (uint64_t)d->conf->drain_secs * 1000;
        d->ops->close(d->arg, (unsigned)d->conf->drain_secs);
        break;
    case DRAIN_LEAVING:
        d->due_ms += DRAIN_LEAVE_MS;
        if (d->ops->leave)
            d->ops->leave(d->arg);
        break;
    case DRAIN_OVER:
        deadline_off(&d->look);
        loop_stop(d->look.loop);
        break;
    case DRAIN_RUNNING:
    case DRAIN_STATE_COUNT:
        break;
    }
}

/* True: another state was entered. */
static bool step(struct service_drain *d)
{
    bool is_due = loop_now_ms(d->look.loop) >= d->due_ms;

    switch (d->state) {
    case DRAIN_ANNOUNCED:
        if (!is_due)
            return false;
        enter(d, DRAIN_CLOSING);
        return true;
    case DRAIN_CLOSING:
        if (!is_due && !d->ops->is_idle(d->arg))
            return false;
        enter(d, DRAIN_LEAVING);
        return true;
    case DRAIN_LEAVING:
        if (d->ops->leave && !is_due && !d->ops->is_gone(d->arg))
            return false;
        enter(d, DRAIN_OVER);
        return false;
    case DRAIN_RUNNING:
    case DRAIN_OVER:
    case DRAIN_STATE_COUNT:
        break;
    }
    return false;
}

static void run(struct service_drain *d)
{
    while (step(d))
        continue;
    if (d->state != DRAIN_OVER)
        deadline_set(&d->look, DRAIN_LOOK_MS);
}

static void on_look(struct deadline *deadline)
{
    run(container_of(deadline, struct service_drain, look));
}

void service_drain_init(struct service_drain *d, struct loop *loop, const char *service,
                        const struct service_conf *conf, const struct service_drain_ops *ops,
                        void *arg)
{
    *d = (struct service_drain){.service = service, .conf = conf, .ops = ops, .arg = arg};
    deadline_init(&d->look, loop, on_look);
}

void service_drain_fini(struct service_drain *d)
{
    deadline_off(&d->look);
}

void service_drain_begin(struct service_drain *d, const char *by)
{
    if (d->state != DRAIN_RUNNING)
        return;
    log_info(d->service, "stopping", LOG_S("by", by));
    d->begun_ms = loop_now_ms(d->look.loop);
    enter(d, DRAIN_ANNOUNCED);
    run(d);
}

void service_drain_signal(struct service_drain *d, int signum)
{
    if (d->state == DRAIN_RUNNING) {
        service_drain_begin(d, sigabbrev_np(signum));
    } else if (d->state != DRAIN_OVER &&
               loop_now_ms(d->look.loop) - d->begun_ms >= DRAIN_SECOND_MS) {
        log_warn(d->service, "stopping_at_once", LOG_S("by", sigabbrev_np(signum)));
        enter(d, DRAIN_OVER);
    }
}

bool service_drain_is_begun(const struct service_drain *d)
{
    return d->state != DRAIN_RUNNING;
}
