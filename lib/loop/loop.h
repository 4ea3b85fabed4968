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

/* `name` is for logs and the thread's name; `pool_keep` and `pool_cap` are chunks (buf/chunk.h). */
struct loop *loop_new(const char *name, size_t pool_keep, size_t pool_cap);
void loop_free(struct loop *loop); /* not while it runs; runs what waits to be reaped */
void loop_run(struct loop *loop);  /* until loop_stop() */
void loop_stop(struct loop *loop); /* any thread */
const char *loop_name(const struct loop *loop);
struct chunk_pool *loop_pool(struct loop *loop);

/* Monotonic, read once a turn; never goes back. */
uint64_t loop_now_ms(const struct loop *loop);
/* Monotonic, read now: to measure, from any thread. */
uint64_t clock_now_us(void);

/* Readiness of one descriptor.  The descriptor belongs to the caller; stop (arm 0) before close. */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };

struct loop_io {
    ev_io ev;
    struct loop *loop; /* borrowed */
    void (*on_event)(struct loop_io *io, unsigned events);
};

void loop_io_init(struct loop_io *io, struct loop *loop, int fd,
                  void (*on_event)(struct loop_io *io, unsigned events));
/* Which events to wait for from now on; 0 stops.  Cheap when nothing changes. */
void loop_io_arm(struct loop_io *io, unsigned events);

/* One deadline: calls on_due once, when its time has come. */
struct deadline {
    ev_timer ev;
    struct loop *loop; /* borrowed */
    uint64_t due_ms;   /* 0: off */
    void (*on_due)(struct deadline *deadline);
};

void deadline_init(struct deadline *d, struct loop *loop, void (*on_due)(struct deadline *d));
/* Due in ms from now; 0 means off.  Cheap to push into the future again and again. */
void deadline_set(struct deadline *d, uint64_t ms);
void deadline_off(struct deadline *d);

/* To be run after the events of this turn, once however often it was asked for. */
struct ready {
    struct list node;
    void (*run)(struct ready *ready);
};

void ready_init(struct ready *r, void (*run)(struct ready *ready));
void loop_again(struct loop *loop, struct ready *r);
void ready_cancel(struct ready *r);

/* To be freed after the events and the ready list of this turn. */
struct reap {
    struct list node;
    void (*free)(struct reap *reap);
};

void reap_init(struct reap *r, void (*free)(struct reap *reap));
void loop_reap(struct loop *loop, struct reap *r); /* once an object */

/* A message to another loop: runs there, in the order of posting.  The memory is the sender's until
 * loop_post() and the receiver's from then on.  Any thread.  A task that was posted to a loop that
 * stopped meanwhile runs in loop_free(). */
struct task {
    struct task *next;
    void (*run)(struct task *task);
};

void loop_post(struct loop *loop, struct task *task);

/* Signals, for the main loop only: on_signal runs in the loop, not in the handler. */
struct loop_signal {
    ev_signal ev;
    void (*on_signal)(struct loop_signal *s, int signum);
};

void loop_signal_start(struct loop_signal *s, struct loop *loop, int signum,
                       void (*on_signal)(struct loop_signal *s, int signum));

#endif
