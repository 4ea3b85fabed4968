/* udp_book - see udp_book.h. */
#include "hub/udp_book.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "hub/edge_share.h"
#include "hub/hub_lane.h"

/* Who holds the flow of this name. */
struct udp_name {
    struct list node;
    struct udp_key key;
    unsigned worker;
    uint64_t serial;
};

enum udp_mail_kind { MAIL_CLAIM, MAIL_RELEASE, MAIL_HANDOVER, MAIL_GRANT };

struct udp_mail {
    struct task task;
    enum udp_mail_kind kind;
    struct udp_book *to; /* borrowed */
    struct udp_key key;
    unsigned worker; /* CLAIM, RELEASE: who says so; HANDOVER: who gets it */
    uint64_t serial; /* of the flow there */
    uint64_t holder; /* HANDOVER: the serial of the flow here */
    int fd;          /* GRANT: owned; -1: none */
    bool has_answered;
};

/* --- tables ----------------------------------------------------------------------------------- */

/* The same on every worker. */
static uint64_t hash_of(const struct udp_book *b, const struct udp_key *key)
{
    uint64_t words[2];

    memcpy(words, key->session, sizeof(words));
    return proxy_header_hash(&key->client,
                             hash_add(hash_add(b->worker->shared->udp_seed, words[0]), words[1]));
}

static bool is_same(const struct udp_key *a, const struct udp_key *b)
{
    return memcmp(a->session, b->session, sizeof(a->session)) == 0 &&
           proxy_header_is_equal(&a->client, &b->client);
}

static struct list *buckets_new(void)
{
    struct list *buckets = must_alloc(UDP_BOOK_BUCKETS * sizeof(*buckets));

    for (unsigned i = 0; i < UDP_BOOK_BUCKETS; i++)
        list_init(&buckets[i]);
    return buckets;
}

/* The high bits: the low ones choose the directory's worker. */
static struct list *bucket_of(const struct udp_book *b, struct list *buckets,
                              const struct udp_key *key)
{
    return &buckets[hash_of(b, key) >> 32 & (UDP_BOOK_BUCKETS - 1)];
}

static struct udp_flow *find(const struct udp_book *b, const struct udp_key *key)
{
    if (!b->flows)
        return NULL;
    LIST_EACH (bucket_of(b, b->flows, key), node, after) {
        struct udp_flow *f = container_of(node, struct udp_flow, in_bucket);

        if (is_same(&f->key, key))
            return f;
    }
    return NULL;
}

static struct udp_flow *find_serial(const struct udp_book *b, const struct udp_key *key,
                                    uint64_t serial)
{
    struct udp_flow *f = find(b, key);

    return f && f->serial == serial ? f : NULL;
}

static struct udp_name *find_name(const struct udp_book *b, const struct udp_key *key)
{
    if (!b->names)
        return NULL;
    LIST_EACH (bucket_of(b, b->names, key), node, after) {
        struct udp_name *name = container_of(node, struct udp_name, node);

        if (is_same(&name->key, key))
            return name;
    }
    return NULL;
}

/* --- messages --------------------------------------------------------------------------------- */

static void run_mail(struct task *task);

static struct udp_book *book_of(const struct udp_book *b, unsigned worker)
{
    return &b->worker->shared->workers[worker].udp;
}

static unsigned index_of(const struct udp_book *b)
{
    return (unsigned)(b->worker - b->worker->shared->workers);
}

static struct udp_mail *mail_new(struct udp_book *to, enum udp_mail_kind kind,
                                 const struct udp_key *key, unsigned worker, uint64_t serial)
{
    struct udp_mail *mail = must_alloc(sizeof(*mail));

    *mail = (struct udp_mail){.task.run = run_mail,
                              .kind = kind,
                              .to = to,
                              .key = *key,
                              .worker = worker,
                              .serial = serial,
                              .fd = -1};
    return mail;
}

static void mail_send(struct udp_mail *mail)
{
    loop_post(mail->to->worker->loop, &mail->task);
}

static void tell_directory(const struct udp_flow *f, enum udp_mail_kind kind)
{
    struct udp_book *b = f->book;
    unsigned keeper = (unsigned)(hash_of(b, &f->key) % b->worker->shared->worker_count);

    mail_send(mail_new(book_of(b, keeper), kind, &f->key, index_of(b), f->serial));
}

static void grant(struct udp_book *b, const struct udp_key *key, unsigned worker, uint64_t serial,
                  int fd, bool has_answered)
{
    struct udp_mail *mail = mail_new(book_of(b, worker), MAIL_GRANT, key, worker, serial);

    mail->fd = fd;
    mail->has_answered = has_answered;
    mail_send(mail);
}

/* At the directory: the claimer holds the name from now on. */
static void on_claim(struct udp_book *b, const struct udp_mail *mail)
{
    struct udp_name *name = find_name(b, &mail->key);
    struct udp_mail *handover;

    if (name) {
        handover = mail_new(book_of(b, name->worker), MAIL_HANDOVER, &mail->key, mail->worker,
                            mail->serial);
        handover->holder = name->serial;
        name->worker = mail->worker;
        name->serial = mail->serial;
        mail_send(handover);
        return;
    }
    if (!b->names)
        b->names = buckets_new();
    name = must_alloc(sizeof(*name));
    *name = (struct udp_name){.key = mail->key, .worker = mail->worker, .serial = mail->serial};
    list_push(bucket_of(b, b->names, &mail->key), &name->node);
    grant(b, &mail->key, mail->worker, mail->serial, -1, false);
}

static void on_release(struct udp_book *b, const struct udp_mail *mail)
{
    struct udp_name *name = find_name(b, &mail->key);

    if (!name || name->worker != mail->worker || name->serial != mail->serial)
        return; /* somebody else has claimed it since */
    list_remove(&name->node);
    free(name);
}

/* At the worker that held it; it may have closed the flow meanwhile. */
static void on_handover(struct udp_book *b, const struct udp_mail *mail)
{
    struct udp_flow *f = find_serial(b, &mail->key, mail->holder);
    bool has_answered = f && f->has_answered;
    int fd = -1;

    if (f && f->state == UDP_FLOW_CLAIMING) {
        f->has_heir = true;
        f->heir_worker = mail->worker;
        f->heir_serial = mail->serial;
        return;
    }
    if (f) {
        fd = udp_flow_take_socket(f);
        if (f->is_refused && fd >= 0) { /* the next one looks for another address */
            close(fd);
            fd = -1;
        }
        udp_flow_close(f, UDP_END_ORDERLY, true);
        count_one(&b->worker->shared->counters.udp_moved);
    }
    grant(b, &mail->key, mail->worker, mail->serial, fd, has_answered);
}

static void on_grant(struct udp_book *b, const struct udp_mail *mail)
{
    struct udp_flow *f = find_serial(b, &mail->key, mail->serial);

    if (!f) { /* closed meanwhile, and released */
        if (mail->fd >= 0)
            close(mail->fd);
        return;
    }
    must(f->state == UDP_FLOW_CLAIMING);
    if (f->has_heir) {
        grant(b, &mail->key, f->heir_worker, f->heir_serial, mail->fd, mail->has_answered);
        udp_flow_close(f, UDP_END_ORDERLY, true);
        return;
    }
    udp_flow_begin(f, mail->fd, mail->has_answered);
}

static void run_mail(struct task *task)
{
    struct udp_mail *mail = container_of(task, struct udp_mail, task);
    struct udp_book *b = mail->to;

    if (b->is_closed) {
        if (mail->fd >= 0)
            close(mail->fd);
    } else {
        switch (mail->kind) {
        case MAIL_CLAIM:
            on_claim(b, mail);
            break;
        case MAIL_RELEASE:
            on_release(b, mail);
            break;
        case MAIL_HANDOVER:
            on_handover(b, mail);
            break;
        case MAIL_GRANT:
            on_grant(b, mail);
            break;
        }
    }
    free(mail);
}

/* --- flows ------------------------------------------------------------------------------------ */

void udp_book_touch(struct udp_flow *f)
{
    f->active_ms = loop_now_ms(f->book->worker->loop);
    list_remove(&f->in_lru);
    list_push(&f->book->lru, &f->in_lru);
    if (f->lane) {
        list_remove(&f->in_lane);
        list_push(&f->lane->udp_flows, &f->in_lane);
    }
}

bool udp_book_may_look_up(const struct udp_book *b, const struct target *t)
{
    return !target_has_name(t) || b->lookups < b->worker->shared->udp_lookups_max;
}

void udp_book_orphaned(struct udp_flow *f)
{
    f->orphan_ms = loop_now_ms(f->book->worker->loop);
    list_push(&f->book->orphans, &f->in_orphans);
}

void udp_book_left(struct udp_flow *f, bool is_moved)
{
    struct udp_book *b = f->book;

    if (!is_moved && !b->is_closed && b->worker->shared->worker_count > 1) {
        tell_directory(f, MAIL_RELEASE);
        if (f->has_heir) /* what is granted to us finds nobody: it must not wait for that */
            grant(b, &f->key, f->heir_worker, f->heir_serial, -1, false);
    }
    list_remove(&f->in_bucket);
    list_remove(&f->in_lru);
    b->count--;
}

static void on_send_error(struct udp_outbox *box, int err)
{
    struct udp_book *b = box->owner;

    udp_flow_count_error(b, err);
}

/* Who has just sent is among the newest. */
static void on_send_pending(struct udp_outbox *box, int err)
{
    struct udp_book *b = box->owner;

    (void)err;
    for (struct list *n = b->lru.prev; n != &b->lru; n = n->prev) {
        struct udp_flow *f = container_of(n, struct udp_flow, in_lru);

        if (f->fd != box->fd)
            continue;
        udp_flow_refused(f);
        return;
    }
}

static void on_flush(struct ready *ready)
{
    udp_outbox_flush(container_of(ready, struct udp_book, flush)->out);
}

static bool make_tables(struct udp_book *b)
{
    if (!b->flows) {
        if (io_set_init(&b->sockets, b->worker->loop) != 0)
            return false;
        b->flows = buckets_new();
        b->batch = udp_batch_new();
        must(b->batch != NULL);
        b->out = udp_outbox_new(&b->sent, b, on_send_error);
        b->out->on_pending = on_send_pending;
    }
    return true;
}

/* A flow of the edge that has no lane (it died, and was started again), or a lane elsewhere. */
static struct udp_flow *victim_of(const struct udp_book *b, const struct edge_share *share)
{
    unsigned looks = 0;

    for (struct list *n = b->orphans.next; n != &b->orphans && looks < UDP_VICTIM_LOOKS;
         n = n->next, looks++) {
        struct udp_flow *f = container_of(n, struct udp_flow, in_orphans);

        if (f->share == share)
            return f;
    }
    for (struct list *n = b->lru.next; n != &b->lru && looks < UDP_VICTIM_LOOKS;
         n = n->next, looks++) {
        struct udp_flow *f = container_of(n, struct udp_flow, in_lru);

        if (f->share == share)
            return f;
    }
    return NULL;
}

/* The one that goes for a new flow of the lane: of the lane itself, or else of its edge, where that
 * has its share, so that nobody else pays; at the limit the least recently used one of the worker.
 */
static struct udp_flow *victim(const struct udp_book *b, const struct hub_lane *lane,
                               enum share_verdict verdict)
{
    if (verdict == SHARE_PAST && !list_is_empty(&lane->udp_flows))
        return container_of(lane->udp_flows.next, struct udp_flow, in_lane);
    if (verdict == SHARE_PAST)
        return victim_of(b, lane->share);
    if (verdict == SHARE_LIMIT && !list_is_empty(&b->lru))
        return container_of(b->lru.next, struct udp_flow, in_lru);
    return NULL;
}

static bool make_room(struct udp_book *b, struct hub_lane *lane, uint16_t port,
                      enum open_refusal *why)
{
    struct target target = target_map_find(b->worker->shared->targets_udp, port);
    enum share_verdict verdict;
    struct udp_flow *f;

    *why = OPEN_LIMIT_UDP;
    if (!make_tables(b))
        return false;
    *why = OPEN_LOOKUPS;
    if (!udp_book_may_look_up(b, &target))
        return false;
    *why = OPEN_LIMIT_UDP;
    verdict = edge_share_ask(lane, SHARED_UDP_SESSIONS);
    if (verdict == SHARE_OK)
        return true;
    if (verdict == SHARE_PAST)
        *why = OPEN_SHARE;
    f = victim(b, lane, verdict);
    if (!f)
        return false;
    udp_flow_close(f, UDP_END_ORDERLY, false);
    count_one(&b->worker->shared->counters.udp_evicted);
    return true;
}

static struct udp_session *refuse_open(struct udp_book *b, enum open_refusal why)
{
    count_one(&b->worker->shared->counters.open_refusals[why]);
    return NULL;
}

static struct udp_flow *add(struct udp_book *b, const struct udp_key *key, struct edge_share *share)
{
    struct udp_flow *f = udp_flow_new(b, key, share);

    if (!f)
        return NULL;
    f->serial = ++b->next_serial;
    list_push(bucket_of(b, b->flows, key), &f->in_bucket);
    list_push(&b->lru, &f->in_lru);
    b->count++;
    return f;
}

struct udp_session *udp_book_open(struct udp_book *b, struct hub_lane *lane,
                                  const struct proxy_header *client, enum udp_end *refuse)
{
    struct hub_shared *shared = b->worker->shared;
    struct udp_key key = {.client = *client};
    enum open_refusal why;
    struct udp_session *u;
    struct udp_flow *f;

    *refuse = UDP_END_NOT_ALLOWED;
    if (!authority_allows(&lane->authority.udp, client->dst_port, loop_now_ms(b->worker->loop)))
        return refuse_open(b, OPEN_PORT);
    *refuse = UDP_END_LIMIT;
    memcpy(key.session, lane->session, sizeof(key.session));
    f = find(b, &key);
    if (f) {
        count_one(&shared->counters.udp_moved);
        u = udp_flow_attach(f, lane);
        udp_book_touch(f);
        return u;
    }
    if (!make_room(b, lane, client->dst_port, &why))
        return refuse_open(b, why);
    f = add(b, &key, lane->share);
    if (!f)
        return refuse_open(b, OPEN_MEMORY);
    u = udp_flow_attach(f, lane);
    udp_book_touch(f);
    if (shared->worker_count > 1)
        tell_directory(f, MAIL_CLAIM);
    else
        udp_flow_begin(f, -1, false);
    return u;
}

void udp_book_authority_changed(struct udp_book *b, struct hub_lane *lane)
{
    (void)b;
    LIST_EACH (&lane->udp_flows, node, after) {
        struct udp_flow *f = container_of(node, struct udp_flow, in_lane);

        if (!authority_is_in_force(&lane->authority.udp, f->key.client.dst_port))
            udp_flow_close(f, UDP_END_NOT_ALLOWED, false);
    }
}

/* Flows that the edge opened in the time of grace of a port. */
static void end_faded(struct hub_lane *lane, uint64_t since_ms, uint64_t now_ms)
{
    const struct authority *a = &lane->authority.udp;

    if (!authority_has_faded(a, since_ms, now_ms))
        return;
    LIST_EACH (&lane->udp_flows, node, after) {
        struct udp_flow *f = container_of(node, struct udp_flow, in_lane);

        if (!authority_allows(a, f->key.client.dst_port, now_ms))
            udp_flow_close(f, UDP_END_NOT_ALLOWED, false);
    }
}

void udp_book_tick(struct udp_book *b)
{
    uint64_t now_ms = loop_now_ms(b->worker->loop);

    LIST_EACH (&b->worker->lanes, lane, next_lane)
        end_faded(container_of(lane, struct hub_lane, node), b->tick_ms, now_ms);
    b->heard_ms = b->tick_ms;
    b->tick_ms = now_ms;
    LIST_EACH (&b->lru, node, after) {
        struct udp_flow *f = container_of(node, struct udp_flow, in_lru);

        if (now_ms - f->active_ms < b->worker->shared->udp_idle_ms)
            break;
        udp_flow_close(f, UDP_END_ORDERLY, false);
        count_one(&b->worker->shared->counters.udp_idle);
    }
    LIST_EACH (&b->orphans, orphan, after_orphan) {
        struct udp_flow *f = container_of(orphan, struct udp_flow, in_orphans);

        if (now_ms - f->orphan_ms < UDP_ORPHAN_MS)
            break;
        udp_flow_close(f, UDP_END_ORDERLY, false);
    }
}

void udp_book_init(struct udp_book *b, struct hub_worker *w)
{
    *b = (struct udp_book){.worker = w};
    list_init(&b->lru);
    list_init(&b->orphans);
    ready_init(&b->flush, on_flush);
}

void udp_book_close(struct udp_book *b)
{
    if (!b->worker || b->is_closed)
        return;
    b->is_closed = true;
    LIST_EACH (&b->lru, node, after)
        udp_flow_close(container_of(node, struct udp_flow, in_lru), UDP_END_ORDERLY, false);
    ready_cancel(&b->flush);
    io_set_fini(&b->sockets);
}

void udp_book_fini(struct udp_book *b)
{
    for (unsigned i = 0; b->names && i < UDP_BOOK_BUCKETS; i++) {
        struct list *node;

        while ((node = list_pop(&b->names[i])))
            free(container_of(node, struct udp_name, node));
    }
    free(b->names);
    free(b->flows);
    udp_batch_free(b->batch);
    udp_outbox_free(b->out);
    b->names = b->flows = NULL;
    b->batch = NULL;
    b->out = NULL;
}
