/* loop - see loop.h.
 *
 * How a turn maps to libev:
 *
 *   prepare (lowest priority)   end_turn: ready list, reaping; idle watcher on if more is ready
 *   poll                        sleeps unless the idle watcher is on
 *   check (highest priority)    begin_turn: reads the clock before any callback runs
 *   pending                     on_event, on_due, on_signal, posted tasks
 *
 * Posted tasks are a stack that any thread pushes to with one compare-and-swap; the loop takes all
 * of it with one exchange and turns it round, which gives the order of pushing.  Only the push that
 * found the stack empty wakes the loop.
 */
#include "loop/loop.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "buf/chunk.h"

#define THREAD_NAME_BYTES 16 /* the kernel's limit, with the end */

struct loop {
    struct ev_loop *ev; /* owned */
    char *name;         /* owned */
    struct chunk_pool pool;
    uint64_t now_ms;
    uint64_t turn; /* begun with the newest poll */
    ev_prepare turn_end;
    ev_check turn_begin;
    ev_idle awake; /* on while something is ready */
    ev_async posted;
    _Atomic(struct task *) tasks; /* owned; newest first */
    struct list ready, reaped;
    atomic_bool is_stopping;
    bool is_running;
    pthread_t thread; /* while it runs */
};

static uint64_t clock_now_ms(void)
{
    return clock_now_us() / 1000;
}

uint64_t clock_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* A loop that runs belongs to its thread alone; one that doesn't, to whoever made or joined it. */
static void must_own(const struct loop *loop)
{
    must(!loop->is_running || pthread_equal(loop->thread, pthread_self()));
}

static void run_ready(struct loop *loop)
{
    struct list pass, *node;

    list_init(&pass);
    list_move_all(&pass, &loop->ready);
    while ((node = list_pop(&pass))) {
        struct ready *r = container_of(node, struct ready, node);

        r->run(r);
    }
}

static void run_reaped(struct loop *loop)
{
    struct list *node;

    while ((node = list_pop(&loop->reaped))) {
        struct reap *r = container_of(node, struct reap, node);

        r->free(r);
    }
}

/* All that was posted, in the order of posting; false: nothing.  What is posted meanwhile waits for
 * the next turn. */
static bool run_tasks(struct loop *loop)
{
    struct task *stack = atomic_exchange_explicit(&loop->tasks, NULL, memory_order_acquire);
    struct task *queue = NULL;

    if (!stack)
        return false;
    while (stack) {
        struct task *older = stack->next;

        stack->next = queue;
        queue = stack;
        stack = older;
    }
    while (queue) {
        struct task *next = queue->next; /* read first: the task's memory is its receiver's */

        queue->run(queue);
        queue = next;
    }
    return true;
}

static void end_turn(struct loop *loop)
{
    run_ready(loop);
    run_reaped(loop);
    if (list_is_empty(&loop->ready))
        ev_idle_stop(loop->ev, &loop->awake);
    else
        ev_idle_start(loop->ev, &loop->awake);
}

static void on_turn_end(struct ev_loop *ev, ev_prepare *w, int revents)
{
    (void)ev;
    (void)revents;
    end_turn(container_of(w, struct loop, turn_end));
}

static void on_turn_begin(struct ev_loop *ev, ev_check *w, int revents)
{
    struct loop *loop = container_of(w, struct loop, turn_begin);

    (void)ev;
    (void)revents;
    loop->now_ms = clock_now_ms();
    loop->turn++;
}

/* An active idle watcher is all it takes to keep libev from sleeping. */
static void on_awake(struct ev_loop *ev, ev_idle *w, int revents)
{
    (void)ev;
    (void)w;
    (void)revents;
}

static void on_posted(struct ev_loop *ev, ev_async *w, int revents)
{
    struct loop *loop = container_of(w, struct loop, posted);
    /* Read before the tasks are taken, so that all that was posted before the stop runs. */
    bool is_stopping = atomic_load(&loop->is_stopping);

    (void)revents;
    run_tasks(loop);
    if (is_stopping)
        ev_break(ev, EVBREAK_ALL);
}

struct loop *loop_new(const char *name, size_t pool_keep, size_t pool_cap)
{
    struct loop *loop = must_alloc(sizeof(*loop));

    loop->name = must_strdup(name);
    loop->ev = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    must(loop->ev != NULL);
    chunk_pool_init(&loop->pool, pool_keep, pool_cap);
    loop->now_ms = clock_now_ms();
    atomic_init(&loop->tasks, NULL);
    atomic_init(&loop->is_stopping, false);
    list_init(&loop->ready);
    list_init(&loop->reaped);
    ev_prepare_init(&loop->turn_end, on_turn_end);
    ev_set_priority(&loop->turn_end, EV_MINPRI);
    ev_prepare_start(loop->ev, &loop->turn_end);
    ev_check_init(&loop->turn_begin, on_turn_begin);
    ev_set_priority(&loop->turn_begin, EV_MAXPRI);
    ev_check_start(loop->ev, &loop->turn_begin);
    ev_idle_init(&loop->awake, on_awake);
    ev_async_init(&loop->posted, on_posted);
    ev_async_start(loop->ev, &loop->posted);
    return loop;
}

void loop_settle(struct loop *loop)
{
    must(!loop->is_running);
    while (run_tasks(loop) || !list_is_empty(&loop->reaped))
        run_reaped(loop);
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    loop_settle(loop);
    while (list_pop(&loop->ready))
        continue;
    ev_loop_destroy(loop->ev);
    chunk_pool_fini(&loop->pool);
    free(loop->name);
    free(loop);
}

/* The first thread's name is the process's name, which is not ours to change. */
static void name_thread(const struct loop *loop)
{
    char name[THREAD_NAME_BYTES] = "";

    if (gettid() == getpid())
        return;
    strncpy(name, loop->name, sizeof(name) - 1);
    pthread_setname_np(pthread_self(), name);
}

void loop_run(struct loop *loop)
{
    must(!loop->is_running);
    loop->thread = pthread_self();
    loop->is_running = true;
    name_thread(loop);
    loop->now_ms = clock_now_ms();
    if (!atomic_load(&loop->is_stopping))
        ev_run(loop->ev, 0);
    end_turn(loop);
    loop->is_running = false;
    atomic_store(&loop->is_stopping, false);
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->is_stopping, true);
    ev_async_send(loop->ev, &loop->posted);
}

const char *loop_name(const struct loop *loop)
{
    return loop->name;
}

struct chunk_pool *loop_pool(struct loop *loop)
{
    return &loop->pool;
}

uint64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_ms;
}

static void on_io(struct ev_loop *ev, ev_io *w, int revents)
{
    struct loop_io *io = container_of(w, struct loop_io, ev);
    unsigned events = 0;

    (void)ev;
    io->turn = io->loop->turn;
    if (revents & EV_READ)
        events |= LOOP_READ;
    if (revents & EV_WRITE)
        events |= LOOP_WRITE;
    io->on_event(io, events);
}

void loop_io_init(struct loop_io *io, struct loop *loop, int fd,
                  void (*on_event)(struct loop_io *io, unsigned events))
{
    must(fd >= 0);
    *io = (struct loop_io){.loop = loop, .on_event = on_event};
    ev_io_init(&io->ev, on_io, fd, 0);
}

void loop_io_arm(struct loop_io *io, unsigned events)
{
    int want = (events & LOOP_READ ? EV_READ : 0) | (events & LOOP_WRITE ? EV_WRITE : 0);
    int have;

    must((events & ~(unsigned)(LOOP_READ | LOOP_WRITE)) == 0);
    if (!io->loop) {
        must(want == 0);
        return;
    }
    must_own(io->loop);
    have = ev_is_active(&io->ev) ? io->ev.events & (EV_READ | EV_WRITE) : 0;
    if (want != 0 && want == have)
        return;
    ev_io_stop(io->loop->ev, &io->ev); /* takes back an event of this turn that did not run yet */
    if (want == 0)
        return;
    io->turn = io->loop->turn;
    ev_io_modify(&io->ev, want);
    ev_io_start(io->loop->ev, &io->ev);
}

bool loop_io_was_quiet(const struct loop_io *io)
{
    must_own(io->loop);
    return ev_is_active(&io->ev) && (io->ev.events & EV_READ) && !ev_is_pending(&io->ev) &&
           io->turn != io->loop->turn;
}

static void deadline_arm(struct deadline *d)
{
    struct ev_loop *ev = d->loop->ev;
    double secs =
        d->due_ms > d->loop->now_ms ? (double)(d->due_ms - d->loop->now_ms) / 1000.0 : 0.0;

    ev_timer_stop(ev, &d->ev);
    ev_timer_set(&d->ev, secs, 0.0);
    d->timer_ms = d->due_ms;
    ev_timer_start(ev, &d->ev);
}

/* The timer may be early: `due_ms` was pushed back since, or libev's clock is a moment behind. */
static void on_timer(struct ev_loop *ev, ev_timer *w, int revents)
{
    struct deadline *d = container_of(w, struct deadline, ev);

    (void)ev;
    (void)revents;
    must(d->due_ms != 0);
    if (d->due_ms > d->loop->now_ms) {
        deadline_arm(d);
        return;
    }
    d->due_ms = 0;
    d->on_due(d);
}

void deadline_init(struct deadline *d, struct loop *loop, void (*on_due)(struct deadline *d))
{
    *d = (struct deadline){.loop = loop, .on_due = on_due};
    ev_timer_init(&d->ev, on_timer, 0.0, 0.0);
}

void deadline_set(struct deadline *d, uint64_t ms)
{
    struct loop *loop = d->loop;

    if (ms == 0) {
        deadline_off(d);
        return;
    }
    must_own(loop);
    if (!loop->is_running) { /* between turns the clock stands still */
        loop->now_ms = clock_now_ms();
        ev_now_update(loop->ev);
    }
    d->due_ms = loop->now_ms + MIN(ms, (uint64_t)DEADLINE_MAX_MS);
    if (!ev_is_active(&d->ev) || d->timer_ms > d->due_ms)
        deadline_arm(d);
}

void deadline_off(struct deadline *d)
{
    if (!d->loop)
        return;
    must_own(d->loop);
    d->due_ms = 0;
    ev_timer_stop(d->loop->ev, &d->ev);
}

void ready_init(struct ready *r, void (*run)(struct ready *ready))
{
    r->run = run;
    list_init(&r->node);
}

void loop_again(struct loop *loop, struct ready *r)
{
    must_own(loop);
    if (list_is_empty(&r->node))
        list_push(&loop->ready, &r->node);
}

void ready_cancel(struct ready *r)
{
    if (r->node.next)
        list_remove(&r->node);
}

void reap_init(struct reap *r, void (*free_fn)(struct reap *reap))
{
    r->free = free_fn;
    list_init(&r->node);
}

void loop_reap(struct loop *loop, struct reap *r)
{
    must_own(loop);
    must(list_is_empty(&r->node));
    list_push(&loop->reaped, &r->node);
}

void loop_post(struct loop *loop, struct task *task)
{
    struct task *newest = atomic_load_explicit(&loop->tasks, memory_order_relaxed);

    do {
        task->next = newest;
    } while (!atomic_compare_exchange_weak_explicit(&loop->tasks, &newest, task,
                                                    memory_order_release, memory_order_relaxed));
    if (!newest) /* the first: the others find the loop woken.  `task` is not ours any more */
        ev_async_send(loop->ev, &loop->posted);
}

static void on_signal(struct ev_loop *ev, ev_signal *w, int revents)
{
    struct loop_signal *s = container_of(w, struct loop_signal, ev);

    (void)ev;
    (void)revents;
    s->on_signal(s, w->signum);
}

void loop_signals_hold(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    must(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
}

void loop_signal_start(struct loop_signal *s, struct loop *loop, int signum,
                       void (*callback)(struct loop_signal *s, int signum))
{
    sigset_t set;

    must_own(loop);
    *s = (struct loop_signal){.loop = loop, .on_signal = callback};
    ev_signal_init(&s->ev, on_signal, signum);
    ev_signal_start(loop->ev, &s->ev);
    sigemptyset(&set);
    sigaddset(&set, signum);
    must(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
}

/* Held first, for libev puts the default back: one that comes while all is taken down would end the
 * process in the middle. */
void loop_signal_stop(struct loop_signal *s)
{
    sigset_t set;

    if (!s->loop)
        return;
    must_own(s->loop);
    sigemptyset(&set);
    sigaddset(&set, s->ev.signum);
    must(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    ev_signal_stop(s->loop->ev, &s->ev);
    s->loop = NULL;
}
