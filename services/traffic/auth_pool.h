/* auth_pool - a few threads that check passwords against hashes (pass_hash.h), for all workers.
 *
 *   worker: auth_pool_ask() --line--> thread: crypt --loop_post--> worker: on_verdict
 *
 * The line has an end: when it is full nothing is taken, and who asks is told so.
 */
#ifndef TRAFFIC_AUTH_POOL_H
#define TRAFFIC_AUTH_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/must.h"

struct auth_pool;
struct auth_job;
struct loop;

/* Who waits for a verdict: embedded in what waits, zeroed when nothing is asked.  One loop. */
struct auth_wait {
    struct auth_job *job; /* borrowed; NULL: nothing is asked */
    void (*on_verdict)(struct auth_wait *wait, bool is_right);
};

/* 0, -ERR_SYS. */
MUST_USE int auth_pool_new(struct auth_pool **out, unsigned threads, unsigned waiting_max);
/* Ends the threads; what waits is never answered.  When no loop of a waiting one runs any more, and
 * before those loops are freed; fine with NULL. */
void auth_pool_free(struct auth_pool *pool);

/* Both texts are copied.  on_verdict comes from `loop` later, once, unless it is cancelled.  0,
 * -ERR_LIMIT: the line is full. */
MUST_USE int auth_pool_ask(struct auth_pool *pool, struct loop *loop, const char *hash,
                           const char *password, struct auth_wait *wait);
void auth_wait_cancel(struct auth_wait *wait); /* fine when nothing is asked */

#endif
