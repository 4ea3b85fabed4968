/* loop - one event loop: one thread, its connections, its memory pool, its clock.
 *
 * What a turn does:   poll -> on_event / on_due / posted tasks -> ready list -> reap -> sleep
 *
 * - An event callback records what happened and runs its own object, nobody else's.  To wake a
 *   neighbour, put it on the ready list (loop_again); to free an object, reap it (loop_reap).  Both
 *   happen after all events of the turn, so no caller ever holds a pointer that died under it.
 * - The ready list is drained in one pass; what is put there meanwhile runs in the next turn, which
 *   comes without sleeping.
 * - Everything here is for the loop's own thread, except loop_post() and loop_stop().
 */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H

#include <ev.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/must.h"

struct chunk_pool;
struct loop;

/* `name` is for logs and the thread's name; `pool_keep` and `pool_cap` are chunks (buf/chunk.h).
 * Never NULL: a program without its loops cannot run. */
struct loop *loop_new(const char *name, size_t pool_keep, size_t pool_cap);
/* Not while it runs.  Runs what was posted and what waits to be reaped, until neither is left:
 * after it, nothing that was on its way to an object of this loop is still to come. */
void loop_settle(struct loop *loop);
/* Not while it runs.  Settles it; what is on the ready list is forgotten.  NULL is fine. */
void loop_free(struct loop *loop);
/* Until loop_stop(), in the calling thread, which takes the loop's name unless it is the process's
 * first.  The turn in which it stops ends whole, ready list and reaping included.  A stopped loop
 * belongs to whoever joined its thread, and may be run again. */
void loop_run(struct loop *loop);
/* Any thread; before loop_run() it makes that return at once.  What the calling thread posted
 * earlier still runs: in the loop, or in loop_free() if the loop never ran. */
void loop_stop(struct loop *loop);
const char *loop_name(const struct loop *loop);
struct chunk_pool *loop_pool(struct loop *loop);

/* CLOCK_MONOTONIC, read once a turn; never goes back. */
uint64_t loop_now_ms(const struct loop *loop);
/* Monotonic, read now: to measure, from any thread. */
uint64_t clock_now_us(void);

/* Readiness of one descriptor.  The descriptor belongs to the caller; stop (arm 0) before close. */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };

struct loop_io {
    ev_io ev;
    struct loop *loop; /* borrowed */
    uint64_t turn;     /* of the newest event, or in which it was armed */
    void (*on_event)(struct loop_io *io, unsigned events);
};

void loop_io_init(struct loop_io *io, struct loop *loop, int fd,
                  void (*on_event)(struct loop_io *io, unsigned events));
/* Which events to wait for from now on; 0 stops (fine on a zeroed one).  Cheap when nothing
 * changes. */
void loop_io_arm(struct loop_io *io, unsigned events);
/* It was armed to read when this turn's poll looked, which found nothing there to be read.  (A poll
 * that has more to tell than it has room for leaves some for the next, which has.) */
bool loop_io_was_quiet(const struct loop_io *io);

/* One deadline: calls on_due once, when its time has come. */
struct deadline {
    ev_timer ev;
    struct loop *loop; /* borrowed */
    uint64_t due_ms;   /* 0: off */
    uint64_t timer_ms; /* when the timer goes off: at due_ms or earlier, then it is set anew */
    void (*on_due)(struct deadline *deadline);
};

#define DEADLINE_MAX_MS 315360000000u /* ten years: what is above is taken as that */

void deadline_init(struct deadline *d, struct loop *loop, void (*on_due)(struct deadline *d));
/* Due in ms from now; 0 means off.  Cheap to push into the future again and again: the timer is
 * left where it is and set anew when it goes off. */
void deadline_set(struct deadline *d, uint64_t ms);
static inline bool deadline_is_set(const struct deadline *d)
{
    return d->due_ms != 0;
}
void deadline_off(struct deadline *d); /* before its memory goes; fine on a zeroed one */

/* To be run after the events of this turn, once however often it was asked for.  Cancel it before
 * its memory goes. */
struct ready {
    struct list node;
    void (*run)(struct ready *ready);
};

void ready_init(struct ready *r, void (*run)(struct ready *ready));
void loop_again(struct loop *loop, struct ready *r);
void ready_cancel(struct ready *r); /* fine on a zeroed one */

/* To be freed after the events and the ready list of this turn, in the order of asking.  `free` may
 * reap others: they go in the same turn. */
struct reap {
    struct list node;
    void (*free)(struct reap *reap);
};

void reap_init(struct reap *r, void (*free)(struct reap *reap));
void loop_reap(struct loop *loop, struct reap *r); /* once an object */

/* A message to another loop: runs there, in the order of posting.  The memory is the sender's until
 * loop_post() and the receiver's from then on.  Any thread.  A task that was posted to a loop that
 * stopped meanwhile runs in loop_free(); the poster must be done by then. */
struct task {
    struct task *next;
    void (*run)(struct task *task);
};

void loop_post(struct loop *loop, struct task *task);

/* Signals, for the main loop only: on_signal runs in the loop, not in the handler. */
struct loop_signal {
    ev_signal ev;
    struct loop *loop; /* borrowed; NULL: stopped */
    void (*on_signal)(struct loop_signal *s, int signum);
};

/* SIGTERM, SIGINT and SIGHUP wait from now on, each until its loop_signal_start(): none of them
 * ends the program half-started, or is lost (as process 1 it would be).  Before any thread is made.
 */
void loop_signals_hold(void);
void loop_signal_start(struct loop_signal *s, struct loop *loop, int signum,
                       void (*on_signal)(struct loop_signal *s, int signum));
/* The signal is held again.  Before loop_free(); fine twice or zeroed. */
void loop_signal_stop(struct loop_signal *s);

#endif
