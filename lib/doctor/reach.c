/* reach - see reach.h. */
#include "doctor/reach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "loop/dial.h"

struct run {
    struct loop *loop;         /* owned */
    struct resolver *resolver; /* owned */
    size_t left;
    struct deadline due;
};

struct attempt {
    struct run *run;     /* borrowed */
    struct reach *reach; /* borrowed */
    struct resolve query;
    struct dial dial;
};

static void one_less(struct run *run)
{
    if (--run->left == 0)
        loop_stop(run->loop);
}

static void on_addresses(struct resolve *query, const union addr *addrs, unsigned count, int err)
{
    struct attempt *a = container_of(query, struct attempt, query);

    memcpy(a->reach->addrs, addrs, count * sizeof(*addrs));
    a->reach->count = count;
    a->reach->err = err;
    one_less(a->run);
}

static void on_dialled(struct dial *d, int fd, int err, const union addr *peer)
{
    struct attempt *a = container_of(d, struct attempt, dial);

    if (fd >= 0)
        close(fd);
    a->reach->err = err;
    a->reach->last_errno = d->last_errno;
    if (peer)
        a->reach->peer = *peer;
    one_less(a->run);
}

static void on_due(struct deadline *due)
{
    loop_stop(container_of(due, struct run, due)->loop);
}

static void start_lookup(struct attempt *a)
{
    resolve_start(&a->query, a->run->resolver, a->reach->host, a->reach->port, on_addresses);
}

static void start_dial(struct attempt *a)
{
    dial_init(&a->dial, a->run->loop, a->run->resolver, on_dialled);
    dial_start(&a->dial, a->reach->host, a->reach->port, REACH_ADDRESS_MS, REACH_MS);
}

static void run_all(struct reach *all, size_t count, void (*start)(struct attempt *a))
{
    struct run run = {.left = count};
    struct attempt *attempts = must_alloc((count + 1) * sizeof(*attempts));

    must(count <= REACH_MAX);
    for (size_t i = 0; i < count; i++)
        all[i].err = -ERR_TIMEOUT; /* what is not told in time */
    run.loop = loop_new("check", 0, 0);
    run.resolver = resolver_new(run.loop);
    deadline_init(&run.due, run.loop, on_due);
    deadline_set(&run.due, REACH_MS + 1000);
    for (size_t i = 0; run.resolver && i < count; i++) {
        attempts[i] = (struct attempt){.run = &run, .reach = &all[i]};
        start(&attempts[i]);
    }
    if (run.resolver && count)
        loop_run(run.loop);
    for (size_t i = 0; i < count; i++) {
        resolve_cancel(&attempts[i].query);
        dial_cancel(&attempts[i].dial);
    }
    deadline_off(&run.due);
    resolver_free(run.resolver);
    loop_free(run.loop);
    free(attempts);
}

void reach_lookup(struct reach *all, size_t count)
{
    run_all(all, count, start_lookup);
}

void reach_connect(struct reach *all, size_t count)
{
    run_all(all, count, start_dial);
}

void reach_report_lookup(struct report *r, const char *name, const struct reach *t)
{
    char *list = must_strdup("");

    for (unsigned i = 0; i < t->count; i++) {
        char text[ADDR_TEXT_MAX];
        char *longer =
            must_printf("%s%s%s", list, i ? ", " : "", addr_format_host(&t->addrs[i], text));

        free(list);
        list = longer;
    }
    if (t->err)
        report_fail(r, name, "check the name, and the name servers in /etc/resolv.conf",
                    "%s has no address: %s", t->host, err_text(t->err));
    else
        report_ok(r, name, "%s is %s", t->host, list);
    free(list);
}

void reach_report_connect(struct report *r, const char *name, const struct reach *t,
                          enum report_verdict bad)
{
    static const char mend[] =
        "see that it runs and listens there, and that no firewall is between";
    char text[ADDR_TEXT_MAX];
    const char *why = t->err == -ERR_CONNECT || t->err == -ERR_SYS ? strerrordesc_np(t->last_errno)
                                                                   : err_text(t->err);

    if (!t->err)
        report_ok(r, name, "%s:%u answers at %s", t->host, (unsigned)t->port,
                  addr_format(&t->peer, text));
    else if (bad == REPORT_FAIL)
        report_fail(r, name, mend, "%s:%u by TCP: %s", t->host, (unsigned)t->port, why);
    else
        report_warn(r, name, mend, "%s:%u by TCP: %s", t->host, (unsigned)t->port, why);
}
