/* loop_fixture - a loop that a test runs for some time or until it is stopped. */
#ifndef TESTS_UNIT_LOOP_FIXTURE_H
#define TESTS_UNIT_LOOP_FIXTURE_H

#include <check.h>

#include "loop/loop.h"

static struct loop *loop;
static struct deadline stopper;

static void on_stopper(struct deadline *d)
{
    loop_stop(d->loop);
}

static void loop_setup(void)
{
    loop = loop_new("test", 2, 0);
    deadline_init(&stopper, loop, on_stopper);
}

static void loop_teardown(void)
{
    deadline_off(&stopper);
    loop_free(loop);
}

static void run_for(uint64_t ms)
{
    deadline_set(&stopper, ms);
    loop_run(loop);
}

#endif
