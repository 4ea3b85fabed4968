/* quic_door - see quic_door.h. */
#include "hub/quic_door.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/err.h"
#include "hub/hub_conf.h"
#include "hub/hub_lane.h"
#include "tunnel/lane_quic.h"

/* Times limits.handshakes: what one worker takes on before the desk has heard of it.  It is the
 * desk that says who is too many, and that lets an older one give way. */
#define QUIC_DOOR_BURST 2u

/* --- binding ---------------------------------------------------------------------------------- */

/* [::] is two sets, IPv6 and IPv4; a machine that lacks one family gets the other. */
static int bind_sets(struct quic_door *d, union addr *at)
{
    union addr v4 = {.in = {.sin_family = AF_INET}}, bound;
    int err = quic_bind(at, d->workers, d->fds, &bound);

    d->sets = err == 0;
    if (err == 0)
        addr_set_port(at, addr_port(&bound));
    if (at->sa.sa_family != AF_INET6 || !addr_is_any(at) ||
        (err && err != -EAFNOSUPPORT && err != -EADDRNOTAVAIL))
        return err;
    addr_set_port(&v4, addr_port(at));
    err = quic_bind(&v4, d->workers, d->fds + d->sets * d->workers, NULL);
    if (err == 0)
        d->sets++;
    return d->sets > 0 && (err == 0 || err == -EAFNOSUPPORT || err == -EADDRNOTAVAIL) ? 0 : err;
}

int quic_door_bind(struct quic_door *d, union addr *at, unsigned workers, char *why,
                   size_t why_size)
{
    char text[ADDR_TEXT_MAX];
    int err;

    *d = (struct quic_door){.workers = workers};
    d->fds = must_alloc(2 * workers * sizeof(*d->fds));
    err = bind_sets(d, at);
    if (!err)
        return 0;
    quic_door_fini(d);
    snprintf(why, why_size, "cannot bind UDP %s: %s", addr_format(at, text), strerrordesc_np(-err));
    return -ERR_SYS;
}

void quic_door_fini(struct quic_door *d)
{
    for (unsigned i = 0; d->fds && i < d->sets * d->workers; i++)
        if (d->fds[i] >= 0)
            close(d->fds[i]);
    free(d->fds);
    *d = (struct quic_door){0};
}

/* --- on the worker ---------------------------------------------------------------------------- */

static enum quic_verdict on_initial(void *arg, const union addr *peer, bool is_validated)
{
    struct hub_worker *w = arg;
    unsigned unproven = quic_port_unvalidated(w->quic);

    (void)peer;
    if (unproven >= QUIC_DOOR_BURST * w->shared->handshakes_max ||
        atomic_load_explicit(&w->shared->is_closing, memory_order_relaxed))
        return QUIC_REFUSE;
    return unproven * w->shared->worker_count >= w->shared->retry_at && !is_validated ? QUIC_RETRY
                                                                                      : QUIC_ACCEPT;
}

static bool on_accept(void *arg, struct quic *q)
{
    return hub_lane_accept(arg, q);
}

static const struct quic_port_ops port_events = {.on_initial = on_initial, .on_accept = on_accept};

struct door_mail {
    struct task task;
    struct hub_worker *worker;
    int fds[2];
    struct quic_port_options options;
};

static void run_open(struct task *task)
{
    struct door_mail *mail = container_of(task, struct door_mail, task);
    struct hub_worker *w = mail->worker;
    int err;

    if (w->is_closed) {
        for (unsigned i = 0; i < mail->options.fd_count; i++)
            close(mail->fds[i]);
    } else {
        mail->options.fds = mail->fds;
        err = quic_port_new(&w->quic, &mail->options);
        if (err)
            log_err("hub", "quic_failed", LOG_S("error", err_text(err)));
        else
            quic_gauges_publish(&w->quic_gauges, w->quic);
    }
    tls_ctx_unref(mail->options.tls);
    tls_wipe(mail, sizeof(*mail));
    free(mail);
}

/* --- start ------------------------------------------------------------------------------------ */

/* Kept, so that a hub that was restarted tells its old connections at once that they are gone. */
static int load_keys(struct quic_port_options *options, const char *state_dir, char *why,
                     size_t why_size)
{
    static const char reset[] = "penstock quic stateless reset", retry[] = "penstock quic retry";
    char *path = must_printf("%s/quic.key", state_dir), *secret = NULL;
    int err = admin_secret_file(path, &secret, why, why_size);

    if (!err) {
        tls_hmac_sha256(secret, strlen(secret), reset, strlen(reset), options->reset_key);
        tls_hmac_sha256(secret, strlen(secret), retry, strlen(retry), options->retry_key);
        tls_wipe(secret, strlen(secret));
    }
    free(secret);
    free(path);
    return err;
}

static void post_open(const struct quic_door *d, struct hub_worker *w, unsigned index,
                      const struct quic_port_options *options)
{
    struct door_mail *mail = must_alloc(sizeof(*mail));

    mail->task.run = run_open;
    mail->worker = w;
    mail->options = *options;
    mail->options.loop = w->loop;
    mail->options.tls = tls_ctx_ref(w->shared->tls);
    mail->options.index = index;
    mail->options.arg = w;
    mail->options.fd_count = d->sets;
    for (unsigned set = 0; set < d->sets; set++) {
        mail->fds[set] = d->fds[set * d->workers + index];
        d->fds[set * d->workers + index] = -1;
    }
    loop_post(w->loop, &mail->task);
}

int quic_door_start(struct quic_door *d, struct hub_worker *workers, const struct hub_conf *conf,
                    char *why, size_t why_size)
{
    struct quic_port_options options = {
        .count = d->workers,
        .ops = &port_events,
        .params =
            {
                .congestion = (enum quic_congestion)conf->quic_congestion,
                .stream_window = INITIAL_WINDOW,
                .connection_window = 4 * (uint64_t)conf->max_window,
                .unproven_window = INITIAL_WINDOW,
                .streams_bidi = (uint64_t)conf->limits.streams + 1, /* and the control stream */
                .streams_uni = LANE_SIDES_MAX,
                .idle_ms = QUIC_IDLE_MS,
                .keep_alive_ms = QUIC_KEEP_ALIVE_MS,
                .handshake_ms = HUB_HANDSHAKE_MS,
                .qlog_dir = conf->qlog_dir,
            },
    };
    int err = load_keys(&options, conf->service.state_dir, why, why_size);

    for (unsigned i = 0; !err && i < d->workers; i++)
        post_open(d, &workers[i], i, &options);
    tls_wipe(&options, sizeof(options));
    return err;
}
