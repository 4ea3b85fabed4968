/* log_writer - see log_writer.h.
 *
 * The thread asks with poll(2) before each write(2), so that one that is told to end is not stuck
 * in a write; the descriptor stays blocking, since it is shared with whoever started us. */
#include "loop/log_writer.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/log_ring.h"
#include "loop/crash_log.h"
#include "loop/loop.h" /* the clock */

#define JOIN_MS 200u /* beyond LOG_FLUSH_MS: another process took the room that poll(2) told of */

static struct log_writer {
    struct log_ring ring;
    pthread_t thread;
    int fd;                  /* the log's; borrowed */
    int wake;                /* an eventfd; owned */
    bool is_running;         /* control thread */
    bool is_refused;         /* the thread: fd does not even take the line that tells of a gap */
    atomic_bool is_asleep;   /* who sets it to false writes to wake */
    atomic_bool is_hurried;  /* somebody waits: nothing is gathered any more */
    atomic_bool has_ended;   /* there is nothing left of the thread but to join it */
    _Atomic uint64_t end_us; /* when the thread gives up; 0: it is not to end */
} writer;

static _Thread_local bool is_writer;

static void wake(struct log_writer *w)
{
    static const uint64_t one = 1;
    ssize_t done = write(w->wake, &one, sizeof(one)); /* EAGAIN: it is awake 2^64 times */

    (void)done;
}

/* --- the thread
 * ------------------------------------------------------------------------------------ */

static void clear_wake(struct log_writer *w)
{
    uint64_t times;
    ssize_t done = read(w->wake, &times, sizeof(times));

    (void)done;
}

/* Until somebody wakes it, or for so long. */
static void wait_for_wake(struct log_writer *w, int ms)
{
    struct pollfd woken = {.fd = w->wake, .events = POLLIN};

    if (poll(&woken, 1, ms) > 0)
        clear_wake(w);
}

static bool is_ending(const struct log_writer *w)
{
    return atomic_load(&w->end_us) > 0;
}

static bool has_work(const struct log_writer *w)
{
    return !log_ring_is_empty(&w->ring) || (log_ring_has_gap(&w->ring) && !w->is_refused);
}

/* It says that it sleeps before it looks for the last time: whoever pushes behind that look sees
 * it asleep. */
static void sleep_until_woken(struct log_writer *w)
{
    atomic_store(&w->is_asleep, true);
    if (!has_work(w) && !is_ending(w))
        wait_for_wake(w, -1);
    atomic_store(&w->is_asleep, false);
    w->is_refused = false; /* tried again */
    if (!atomic_load(&w->is_hurried))
        wait_for_wake(w, (int)LOG_GATHER_MS);
}

/* -1: as long as it takes. */
static int ms_left(const struct log_writer *w)
{
    uint64_t end_us = atomic_load(&w->end_us), now_us = clock_now_us();

    if (end_us == 0)
        return -1;
    return now_us < end_us ? (int)((end_us - now_us + 999) / 1000) : 0;
}

/* Until the descriptor takes something, or is broken, which the write tells.  False: the time is
 * up. */
static bool wait_for_room(struct log_writer *w)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = w->fd, .events = POLLOUT}, {.fd = w->wake, .events = POLLIN}};
        int ms = ms_left(w);

        if (ms == 0)
            return false;
        if (poll(fds, ARRAY_LEN(fds), ms) <= 0)
            continue;
        if (fds[1].revents)
            clear_wake(w);
        if (fds[0].revents)
            return true;
    }
}

static uint64_t count_lines(const char *text, size_t n)
{
    uint64_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += text[i] == '\n';
    return count;
}

/* write(2).  0: nothing yet, -1: it is refused for good. */
static ssize_t write_text(int fd, const char *text, size_t n)
{
    ssize_t done = write(fd, text, n);

    return done < 0 && (errno == EINTR || errno == EAGAIN) ? 0 : done;
}

static void write_lines(struct log_writer *w, const char *text, size_t n)
{
    ssize_t done = write_text(w->fd, text, n);

    if (done < 0)
        log_ring_lose(&w->ring, count_lines(text, n));
    log_ring_written(&w->ring, done < 0 ? n : (size_t)done);
}

static void write_gap(struct log_writer *w)
{
    char text[LOG_LINE_BYTES];
    uint64_t gap = log_ring_take_gap(&w->ring);
    struct log_field count = LOG_U("count", gap);
    ssize_t done;

    if (gap == 0)
        return;
    done = write_text(w->fd, text, log_emit_line(text, LOG_WARN, "log", "log_dropped", &count, 1));
    w->is_refused = done < 0;
    if (done > 0)
        log_ring_told(&w->ring);
    else
        log_ring_untold(&w->ring);
}

/* What comes next: lines, or what was lost behind them. */
static void write_next(struct log_writer *w)
{
    char text[PIPE_BUF];
    size_t n = log_ring_peek(&w->ring, text, sizeof(text));

    if (n > 0)
        write_lines(w, text, n);
    else
        write_gap(w);
}

static void *thread_main(void *arg)
{
    struct log_writer *w = arg;

    is_writer = true; /* before a fatal signal gets through */
    crash_log_thread_start();
    pthread_setname_np(pthread_self(), "log");
    for (;;) {
        if (!has_work(w)) {
            if (is_ending(w))
                break;
            sleep_until_woken(w);
        } else if (wait_for_room(w)) {
            write_next(w);
        } else {
            break;
        }
    }
    crash_log_thread_end();
    atomic_store(&w->has_ended, true);
    return NULL;
}

/* --- whoever logs
 * ---------------------------------------------------------------------------------- */

static void push(const char *text, size_t len)
{
    log_ring_push(&writer.ring, text, len);
    if (atomic_load(&writer.is_asleep) && atomic_exchange(&writer.is_asleep, false))
        wake(&writer);
}

/* In a handler of a fatal signal, while the other threads go on: the writer writes.  If it is the
 * one that dies it does so here. */
static bool settle(void)
{
    struct pollfd room = {.fd = writer.fd, .events = POLLOUT};
    uint64_t end = log_ring_end(&writer.ring), until_us = clock_now_us() + LOG_LAST_MS * 1000;
    bool is_own = is_writer;

    is_writer = false; /* one that dies of this, too, does not come here again */
    atomic_store(&writer.is_hurried, true);
    wake(&writer);
    while (!log_ring_is_settled(&writer.ring, end)) {
        if (clock_now_us() >= until_us)
            return false;
        if (poll(&room, is_own ? 1 : 0, 1) > 0)
            write_next(&writer);
    }
    return true;
}

static const struct log_sink sink = {.push = push, .settle = settle};

/* --- life
 * ------------------------------------------------------------------------------------------ */

int log_writer_start(void)
{
    struct log_writer *w = &writer;
    sigset_t all, before;
    int err;

    must(!w->is_running);
    log_ring_init(&w->ring);
    w->fd = log_descriptor();
    w->is_refused = false;
    atomic_store(&w->is_asleep, false);
    atomic_store(&w->is_hurried, false);
    atomic_store(&w->has_ended, false);
    atomic_store(&w->end_us, 0);
    w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->wake < 0) {
        log_err("log", "thread_refused", LOG_S("error", strerrordesc_np(errno)));
        return -ERR_SYS;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* a new thread inherits the mask */
    err = pthread_create(&w->thread, NULL, thread_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err) {
        log_err("log", "thread_refused", LOG_S("error", strerrordesc_np(err)));
        close(w->wake);
        return -ERR_SYS;
    }
    w->is_running = true;
    log_divert(&sink);
    return 0;
}

/* A thread that does not end even so is left to the end of the process. */
static bool join(struct log_writer *w, uint64_t until_us)
{
    while (!atomic_load(&w->has_ended)) {
        if (clock_now_us() >= until_us) {
            pthread_detach(w->thread);
            return false;
        }
        (void)poll(NULL, 0, 1);
    }
    must(pthread_join(w->thread, NULL) == 0);
    return true;
}

void log_writer_stop(void)
{
    struct log_writer *w = &writer;
    uint64_t end_us = clock_now_us() + LOG_FLUSH_MS * 1000;

    if (!w->is_running)
        return;
    w->is_running = false;
    atomic_store(&w->end_us, end_us);
    atomic_store(&w->is_hurried, true);
    wake(w);
    if (!join(w, end_us + JOIN_MS * 1000) || !log_ring_is_settled(&w->ring, log_ring_end(&w->ring)))
        return; /* a line more could not be written, and must not wait for it */
    log_divert(NULL);
    close(w->wake);
}

uint64_t log_writer_dropped(void)
{
    return log_ring_dropped(&writer.ring);
}
