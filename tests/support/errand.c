/* errand - see errand.h. */
#include "support/errand.h"

#include <check.h>
#include <stdatomic.h>

#include "loop/loop.h"
#include "support/await.h"

#define PATIENCE_MS 10000

struct errand {
    struct task task;
    void (*run)(void *arg);
    void *arg;
    _Atomic bool is_done;
};

static void on_task(struct task *task)
{
    struct errand *e = container_of(task, struct errand, task);

    e->run(e->arg);
    atomic_store(&e->is_done, true);
}

static bool is_done(void *arg)
{
    return atomic_load(&((struct errand *)arg)->is_done);
}

void errand_run(struct loop *here, struct loop *there, void (*run)(void *arg), void *arg)
{
    struct errand e = {.task.run = on_task, .run = run, .arg = arg};

    loop_post(there, &e.task);
    ck_assert_msg(await_within(here, is_done, &e, PATIENCE_MS), "never: an errand is done");
}
