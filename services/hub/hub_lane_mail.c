/* hub_lane_mail - see hub_lane_mail.h.  Each message is a struct lane_mail that runs on the lane's
 * worker: run_x() does what hub_lane_post_x() asked.
 */
#include "hub/hub_lane_mail.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "hub/edge_share.h"
#include "hub/hub_lane.h"
#include "hub/registry.h"

struct lane_mail {
    struct task task;
    struct hub_lane *lane;
    char *text; /* owned: a line, or a CONFIG */
    size_t text_len;
    struct authority_pair *authority; /* owned */
    struct edge_share *share;         /* counted */
    uint8_t session[SESSION_BYTES];
    char edge_id[EDGE_ID_MAX + 1];
    enum answer_code answer;
    enum goodbye_code goodbye;
    char message[GOODBYE_MESSAGE_MAX + 1];
    uint32_t retry_after_secs, drain_secs;
    unsigned delay_ms;
};

static struct lane_mail *mail_of(struct task *task)
{
    return container_of(task, struct lane_mail, task);
}

static struct lane_mail *mail_new(struct hub_lane *lane, void (*run)(struct task *task))
{
    struct lane_mail *mail = must_alloc(sizeof(*mail));

    mail->task.run = run;
    mail->lane = lane;
    return mail;
}

static void mail_send(struct lane_mail *mail)
{
    loop_post(mail->lane->worker->loop, &mail->task);
}

static void mail_free(struct lane_mail *mail)
{
    if (mail->authority) {
        authority_fini(&mail->authority->tcp);
        authority_fini(&mail->authority->udp);
    }
    free(mail->authority);
    edge_share_unref(mail->share);
    free(mail->text);
    free(mail);
}

/* A copy is only asked (authority_allows), never changed. */
static void copy_authority(struct authority *to, const struct authority *from)
{
    size_t n = from->fading_count * sizeof(*from->fading);

    *to = *from;
    to->fading = NULL;
    if (from->fading_count > 0) {
        to->fading = must_alloc(n);
        memcpy(to->fading, from->fading, n);
    }
}

static struct authority_pair *copy_authorities(const struct authority_pair *from)
{
    struct authority_pair *to = must_alloc(sizeof(*to));

    copy_authority(&to->tcp, &from->tcp);
    copy_authority(&to->udp, &from->udp);
    return to;
}

static void take_authority(struct lane_mail *mail)
{
    authority_fini(&mail->lane->authority.tcp);
    authority_fini(&mail->lane->authority.udp);
    mail->lane->authority = *mail->authority;
    mail->authority->tcp.fading = mail->authority->udp.fading = NULL; /* moved */
}

static void run_open(struct task *task)
{
    struct lane_mail *mail = mail_of(task);
    struct hub_lane *lane = mail->lane;

    if (lane->link && link_state(lane->link) == LINK_VERDICT) {
        char peer[ADDR_TEXT_MAX];
        struct hub_counters *counters = &lane->worker->shared->counters;

        take_authority(mail);
        memcpy(lane->edge_id, mail->edge_id, sizeof(lane->edge_id));
        memcpy(lane->session, mail->session, sizeof(lane->session));
        lane->share = mail->share;
        mail->share = NULL; /* moved */
        lane->was_open = true;
        link_set_budget(lane->link, &lane->share->budget);
        link_send_line(lane->link, mail->text, mail->text_len);
        link_open(lane->link, INITIAL_WINDOW);
        count_one(&counters->handshakes);
        duration_count(&counters->handshake, clock_now_us() - lane->accepted_us);
        log_info("hub", "lane_open", LOG_S("edge", lane->edge_id),
                 LOG_S("peer", addr_format(link_peer(lane->link), peer)),
                 LOG_S("transport", link_transport_name(lane->transport)),
                 LOG_S("cipher", link_cipher(lane->link)));
    }
    mail_free(mail);
}

void hub_lane_post_open(struct hub_lane *lane, char *line, size_t n,
                        const struct authority_pair *authority, const struct edge *edge,
                        const uint8_t session[SESSION_BYTES])
{
    struct lane_mail *mail = mail_new(lane, run_open);

    mail->text = line;
    mail->text_len = n;
    mail->authority = copy_authorities(authority);
    mail->share = edge_share_ref(edge->share);
    memcpy(mail->edge_id, edge->id, strnlen(edge->id, EDGE_ID_MAX));
    memcpy(mail->session, session, sizeof(mail->session));
    mail_send(mail);
}

static void run_refuse(struct task *task)
{
    struct lane_mail *mail = mail_of(task);
    struct hub_lane *lane = mail->lane;

    if (lane->link && link_state(lane->link) == LINK_VERDICT) {
        hub_lane_log_refusal(lane, mail->answer);
        if (mail->delay_ms == 0) {
            link_refuse(lane->link, mail->text, mail->text_len, -ERR_DENIED);
        } else {
            lane->refusal_line = mail->text;
            lane->refusal_len = mail->text_len;
            mail->text = NULL;
            deadline_set(&lane->refusal, mail->delay_ms);
        }
    }
    mail_free(mail);
}

void hub_lane_post_refuse(struct hub_lane *lane, char *line, size_t n, enum answer_code code,
                          unsigned delay_ms)
{
    struct lane_mail *mail = mail_new(lane, run_refuse);

    mail->text = line;
    mail->text_len = n;
    mail->answer = code;
    mail->delay_ms = delay_ms;
    mail_send(mail);
}

static void run_drop(struct task *task)
{
    struct lane_mail *mail = mail_of(task);

    if (mail->lane->link)
        hub_lane_end(mail->lane);
    mail_free(mail);
}

void hub_lane_post_drop(struct hub_lane *lane)
{
    mail_send(mail_new(lane, run_drop));
}

static void run_authority(struct task *task)
{
    struct lane_mail *mail = mail_of(task);

    take_authority(mail);
    udp_book_authority_changed(&mail->lane->worker->udp, mail->lane);
    if (mail->text && mail->lane->link)
        link_send_config(mail->lane->link, mail->text);
    mail_free(mail);
}

void hub_lane_post_authority(struct hub_lane *lane, const struct authority_pair *authority,
                             char *config)
{
    struct lane_mail *mail = mail_new(lane, run_authority);

    mail->authority = copy_authorities(authority);
    mail->text = config;
    mail_send(mail);
}

static void run_goodbye(struct task *task)
{
    struct lane_mail *mail = mail_of(task);
    struct hub_lane *lane = mail->lane;

    if (lane->link && link_state(lane->link) == LINK_OPEN) {
        link_goodbye(lane->link, mail->goodbye, mail->message, mail->retry_after_secs);
        lane->goodbye = goodbye_name(mail->goodbye);
        count_one(&lane->worker->shared->counters.goodbyes[mail->goodbye]);
    }
    mail_free(mail);
}

void hub_lane_post_goodbye(struct hub_lane *lane, enum goodbye_code code, const char *message,
                           uint32_t retry_after_secs)
{
    struct lane_mail *mail = mail_new(lane, run_goodbye);

    must(code != GOODBYE_OTHER);
    mail->goodbye = code;
    mail->retry_after_secs = retry_after_secs;
    memcpy(mail->message, message, strnlen(message, GOODBYE_MESSAGE_MAX));
    mail_send(mail);
}

static void run_drain(struct task *task)
{
    struct lane_mail *mail = mail_of(task);

    if (mail->lane->link)
        link_send_drain(mail->lane->link, mail->drain_secs);
    mail_free(mail);
}

void hub_lane_post_drain(struct hub_lane *lane, uint32_t secs)
{
    struct lane_mail *mail = mail_new(lane, run_drain);

    mail->drain_secs = secs;
    mail_send(mail);
}

static void run_ack_taken(struct task *task)
{
    struct lane_mail *mail = mail_of(task);

    mail->lane->is_ack_away = false;
    if (mail->lane->link)
        hub_lane_send_ack(mail->lane);
    mail_free(mail);
}

void hub_lane_post_ack_taken(struct hub_lane *lane)
{
    mail_send(mail_new(lane, run_ack_taken));
}

static void run_forget(struct task *task)
{
    struct lane_mail *mail = mail_of(task);
    struct hub_lane *lane = mail->lane;

    mail_free(mail);
    hub_lane_forget(lane);
}

void hub_lane_post_forget(struct hub_lane *lane)
{
    mail_send(mail_new(lane, run_forget));
}
