/* supervisor - see supervisor.h. */
#include "loop/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/must.h"
#include "loop/loop.h" /* the clock */

#define DELAY_MIN_MS  1000u
#define DELAY_MAX_MS  30000u
#define CALM_AFTER_MS 60000u
#define FORK_WAIT_MS  1000u /* no process to be had: tried again after this */

struct supervisor {
    const struct supervisor_options *options; /* borrowed */
    struct crash crash;
    pid_t child;       /* 0: none runs */
    pid_t self;        /* the child's parent, if it lives */
    uint64_t since_us; /* when the child was started */
    bool is_ending;    /* it was told to end */
    sigset_t waited, before;
};

static const int passed_on[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};

static uint64_t or_default(uint64_t value, uint64_t fallback)
{
    return value ? value : fallback;
}

void crash_row_ran(struct crash *crash, const struct supervisor_options *options, uint64_t ran_ms)
{
    if (ran_ms >= or_default(options->calm_after_ms, CALM_AFTER_MS))
        crash->row = 0;
}

bool crash_row_add(struct crash *crash, const struct supervisor_options *options,
                   uint64_t *delay_ms)
{
    uint64_t delay = or_default(options->delay_min_ms, DELAY_MIN_MS);
    uint64_t most = or_default(options->delay_max_ms, DELAY_MAX_MS);

    crash->row++;
    if (crash->row > options->restarts_max)
        return false;
    for (unsigned i = 1; i < crash->row && delay < most; i++)
        delay *= 2;
    *delay_ms = MIN(delay, most);
    return true;
}

/* --- the child --- */

/* What ends a service in order stays held until its loop listens: none is lost in between. */
static void become_service(struct supervisor *s)
{
    must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    if (getppid() != s->self) /* it died before we asked to be told */
        raise(SIGKILL);
    sigaddset(&s->before, SIGTERM);
    sigaddset(&s->before, SIGINT);
    sigaddset(&s->before, SIGHUP);
    must(sigprocmask(SIG_SETMASK, &s->before, NULL) == 0);
}

/* True in the child.  s->child stays 0 when there was no process to be had. */
static bool fork_service(struct supervisor *s)
{
    pid_t pid;

    s->since_us = clock_now_us();
    pid = fork();
    if (pid == 0)
        return true;
    if (pid < 0)
        log_err(s->options->service, "fork_failed", LOG_S("error", strerrordesc_np(errno)));
    s->child = MAX(pid, 0);
    return false;
}

/* --- waiting --- */

static void pass_on(struct supervisor *s, int signum)
{
    if (signum != SIGHUP)
        s->is_ending = true;
    if (s->child)
        kill(s->child, signum);
}

/* All that ended; true: the service was among them. */
static bool reap(const struct supervisor *s, int *how)
{
    bool is_ours = false;
    int each;
    pid_t pid;

    while ((pid = waitpid(-1, &each, WNOHANG)) > 0) {
        if (pid != s->child)
            continue;
        is_ours = true;
        *how = each;
    }
    return is_ours;
}

/* Until the service ended: how. */
static int wait_for_end(struct supervisor *s)
{
    int how = 0;

    for (;;) {
        int signum = sigwaitinfo(&s->waited, NULL);

        if (signum > 0 && signum != SIGCHLD)
            pass_on(s, signum);
        else if (reap(s, &how))
            return how;
    }
}

/* Nothing runs meanwhile.  False: it was told to end. */
static bool pause_ms(struct supervisor *s, uint64_t ms)
{
    uint64_t end_us = clock_now_us() + ms * 1000, now_us;

    while (!s->is_ending && (now_us = clock_now_us()) < end_us) {
        struct timespec left = {.tv_sec = (time_t)((end_us - now_us) / 1000000),
                                .tv_nsec = (long)((end_us - now_us) % 1000000 * 1000)};
        int signum = sigtimedwait(&s->waited, NULL, &left), ignored;

        if (signum == SIGCHLD)
            (void)reap(s, &ignored);
        else if (signum > 0)
            pass_on(s, signum);
    }
    return !s->is_ending;
}

/* --- what an end means --- */

static int status_of(int how)
{
    return WIFSIGNALED(how) ? 128 + WTERMSIG(how) : WEXITSTATUS(how);
}

static bool is_crash(const struct supervisor *s, int how)
{
    if (s->is_ending)
        return false;
    return WIFSIGNALED(how) || (WEXITSTATUS(how) != 0 && s->crash.row > 0);
}

/* The service crashed: true when the time has come to start it again. */
static bool recover(struct supervisor *s, int how, uint64_t ran_ms, int *status)
{
    uint64_t delay_ms = 0;
    bool is_again;
    const char *by;

    s->crash.signal = WIFSIGNALED(how) ? WTERMSIG(how) : 0;
    s->crash.status = WIFSIGNALED(how) ? 0 : WEXITSTATUS(how);
    by = s->crash.signal ? sigabbrev_np(s->crash.signal) : NULL;
    is_again = crash_row_add(&s->crash, s->options, &delay_ms);
    log_err(s->options->service, "crashed", LOG_S("signal", by ? by : "none"),
            LOG_I("status", s->crash.status), LOG_U("ran_ms", ran_ms), LOG_U("row", s->crash.row),
            LOG_U("again_in_ms", delay_ms));
    if (!is_again) {
        log_err(s->options->service, "crash_recovery_failed", LOG_S("signal", by ? by : "none"),
                LOG_U("restarts", s->options->restarts_max));
        *status = SUPERVISOR_GAVE_UP;
        return false;
    }
    *status = 0; /* of an order to end that comes while nothing runs */
    if (!pause_ms(s, delay_ms))
        return false;
    s->crash.recovered++;
    return true;
}

/* SIGCHLD inherited as ignored would take each end from us: it is then neither told nor waited for.
 */
static void start_waiting(struct supervisor *s)
{
    must(signal(SIGCHLD, SIG_DFL) != SIG_ERR);
    sigemptyset(&s->waited);
    sigaddset(&s->waited, SIGCHLD);
    for (unsigned i = 0; i < ARRAY_LEN(passed_on); i++)
        sigaddset(&s->waited, passed_on[i]);
    must(sigprocmask(SIG_BLOCK, &s->waited, &s->before) == 0);
    s->self = getpid();
}

bool supervisor_run(const struct supervisor_options *options, struct crash *crash, int *status)
{
    struct supervisor s = {.options = options};
    uint64_t ran_ms;
    int how;

    *status = 0;
    start_waiting(&s);
    for (;;) {
        if (fork_service(&s)) {
            become_service(&s);
            *crash = s.crash;
            return true;
        }
        if (!s.child) {
            if (!pause_ms(&s, FORK_WAIT_MS))
                return false;
            continue;
        }
        how = wait_for_end(&s);
        s.child = 0;
        ran_ms = (clock_now_us() - s.since_us) / 1000;
        crash_row_ran(&s.crash, options, ran_ms); /* whether a status is one of a row */
        if (!is_crash(&s, how)) {
            *status = status_of(how);
            return false;
        }
        if (!recover(&s, how, ran_ms, status))
            return false;
    }
}
