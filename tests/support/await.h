/* await - runs a loop until a condition holds, which is looked at every millisecond: how tests wait
 * for what comes from elsewhere. */
#ifndef SUPPORT_AWAIT_H
#define SUPPORT_AWAIT_H

#include <stdbool.h>
#include <stdint.h>

struct loop;

/* Whether it held within so long.  Not from within a condition. */
bool await_within(struct loop *loop, bool (*is_true)(void *arg), void *arg, uint64_t ms);
/* The same of a condition that knows what it looks at. */
bool await_plain_within(struct loop *loop, bool (*is_true)(void), uint64_t ms);

#endif
