/* resolver - see resolver.h.
 *
 *   resolve (the caller's) <-> query (ours) -> channel (one c-ares channel) -> sockets
 *
 * c-ares has no way to take back one query, and calls back at any time, from within
 * ares_getaddrinfo() too.  So a query is an object of its own: its callback records the answer and
 * puts the caller's `resolve` on the ready list; a cancelled one loses its caller and is freed when
 * c-ares is done with it.
 *
 * c-ares 1.18 cannot read resolv.conf again: when the file changed, a new channel takes the lookups
 * from then on, and the old one is retired: it goes when its last query has ended.
 */
#include "loop/resolver.h"

#include <ares.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/log.h"

#define SYSTEM_RESOLV_CONF "/etc/resolv.conf"
#define SERVER_TIMEOUT_MS  1000
#define SERVER_TRIES       3
#define NAME_BYTES_MAX     254 /* 253 and a final dot */

struct channel {
    struct list node;
    struct resolver *resolver; /* borrowed */
    ares_channel ares;         /* owned */
    struct list sockets;       /* of struct channel_socket */
    struct deadline deadline;  /* c-ares's next timeout */
    struct reap reap;
    unsigned queries; /* that c-ares holds */
    bool is_retired;
};

struct channel_socket {
    struct list node;
    struct loop_io io;
    struct channel *channel; /* borrowed */
    ares_socket_t fd;        /* borrowed from c-ares */
};

struct resolver_query {
    struct list node;          /* in the resolver's queries */
    struct channel *channel;   /* borrowed; NULL once c-ares is done with the query */
    struct resolve *caller;    /* borrowed; NULL when cancelled */
    struct resolver *resolver; /* borrowed */
    uint16_t port;
    unsigned count;
    union addr addrs[RESOLVER_ADDRESSES_MAX];
};

/* What tells one state of a file from another, however it was replaced. */
struct file_mark {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
};

struct resolver {
    struct loop *loop; /* borrowed */
    struct resolver_options options;
    struct file_mark mark;   /* of resolv.conf when `channel` read it */
    struct channel *channel; /* owned: the one in use */
    struct list retired;     /* owned */
    struct list queries;     /* owned */
    unsigned query_count;
};

static void channel_arm(struct channel *c)
{
    struct timeval left;

    if (!ares_timeout(c->ares, NULL, &left)) {
        deadline_off(&c->deadline);
        return;
    }
    /* Rounded up: a millisecond early would find nothing due. */
    deadline_set(&c->deadline, (uint64_t)left.tv_sec * 1000 + (uint64_t)left.tv_usec / 1000 + 1);
}

static void on_channel_due(struct deadline *d)
{
    struct channel *c = container_of(d, struct channel, deadline);

    ares_process_fd(c->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    channel_arm(c);
}

/* c-ares may close this very socket meanwhile: `io` is not touched after the call. */
static void on_socket(struct loop_io *io, unsigned events)
{
    struct channel_socket *s = container_of(io, struct channel_socket, io);
    struct channel *c = s->channel;
    ares_socket_t fd = s->fd;

    ares_process_fd(c->ares, events & LOOP_READ ? fd : ARES_SOCKET_BAD,
                    events & LOOP_WRITE ? fd : ARES_SOCKET_BAD);
    channel_arm(c);
}

static struct channel_socket *find_socket(struct channel *c, ares_socket_t fd)
{
    LIST_EACH (&c->sockets, node, after) {
        struct channel_socket *s = container_of(node, struct channel_socket, node);

        if (s->fd == fd)
            return s;
    }
    return NULL;
}

/* c-ares tells which of its sockets wait for what; neither: it is about to close it. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct channel *c = arg;
    struct channel_socket *s = find_socket(c, fd);

    if (!readable && !writable) {
        if (!s)
            return;
        loop_io_arm(&s->io, 0);
        list_remove(&s->node);
        free(s);
        return;
    }
    if (!s) {
        s = must_alloc(sizeof(*s));
        s->channel = c;
        s->fd = fd;
        loop_io_init(&s->io, c->resolver->loop, fd, on_socket);
        list_push(&c->sockets, &s->node);
    }
    loop_io_arm(&s->io, (readable ? LOOP_READ : 0u) | (writable ? LOOP_WRITE : 0u));
}

/* Every query that c-ares still holds is called back from here, as destroyed. */
static void channel_free(struct channel *c)
{
    list_remove(&c->node);
    ares_destroy(c->ares);
    deadline_off(&c->deadline);
    must(c->queries == 0);
    must(list_is_empty(&c->sockets));
    free(c);
}

static void on_channel_reap(struct reap *reap)
{
    channel_free(container_of(reap, struct channel, reap));
}

static void library_init(void)
{
    must(ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS);
}

static struct channel *channel_new(struct resolver *r)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct channel *c = must_alloc(sizeof(*c));
    struct ares_options options = {.timeout = SERVER_TIMEOUT_MS, .tries = SERVER_TRIES};
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB, status;

    pthread_once(&once, library_init);
    list_init(&c->node);
    list_init(&c->sockets);
    c->resolver = r;
    deadline_init(&c->deadline, r->loop, on_channel_due);
    reap_init(&c->reap, on_channel_reap);
    options.sock_state_cb = on_socket_state;
    options.sock_state_cb_data = c;
    if (r->options.server_port) {
        options.udp_port = options.tcp_port = r->options.server_port;
        mask |= ARES_OPT_UDP_PORT | ARES_OPT_TCP_PORT;
    }
    if (r->options.resolv_conf) {
        options.resolvconf_path = (char *)(uintptr_t)r->options.resolv_conf; /* only read */
        mask |= ARES_OPT_RESOLVCONF;
    }
#ifdef ARES_OPT_QUERY_CACHE /* from 1.31 on c-ares would cache unless told not to */
    options.qcache_max_ttl = 0;
    mask |= ARES_OPT_QUERY_CACHE;
#endif
    status = ares_init_options(&c->ares, &options, mask);
    if (status == ARES_SUCCESS)
        return c;
    log_warn("loop", "resolver_refused", LOG_S("error", ares_strerror(status)));
    free(c);
    return NULL;
}

static struct file_mark mark_file(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return (struct file_mark){0};
    return (struct file_mark){.device = st.st_dev,
                              .inode = st.st_ino,
                              .size = st.st_size,
                              .modified = st.st_mtim,
                              .changed = st.st_ctim};
}

static bool is_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool is_same_mark(const struct file_mark *a, const struct file_mark *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           is_same_time(a->modified, b->modified) && is_same_time(a->changed, b->changed);
}

static const char *conf_path(const struct resolver *r)
{
    return r->options.resolv_conf ? r->options.resolv_conf : SYSTEM_RESOLV_CONF;
}

static void retire(struct resolver *r, struct channel *c)
{
    c->is_retired = true;
    list_push(&r->retired, &c->node);
    if (c->queries == 0)
        loop_reap(r->loop, &c->reap);
}

/* When no new channel can be made the old one goes on, until the file changes again. */
static void follow_resolv_conf(struct resolver *r)
{
    struct file_mark now = mark_file(conf_path(r)); /* before the channel reads it: never too new */
    struct channel *fresh;

    if (is_same_mark(&now, &r->mark))
        return;
    r->mark = now;
    fresh = channel_new(r);
    if (!fresh)
        return;
    log_debug("loop", "resolver_reloaded", LOG_S("file", conf_path(r)));
    retire(r, r->channel);
    r->channel = fresh;
}

struct resolver *resolver_new_with(struct loop *loop, const struct resolver_options *options)
{
    struct resolver *r = must_alloc(sizeof(*r));

    r->loop = loop;
    r->options = *options;
    list_init(&r->retired);
    list_init(&r->queries);
    r->mark = mark_file(conf_path(r));
    r->channel = channel_new(r);
    if (r->channel)
        return r;
    free(r);
    return NULL;
}

struct resolver *resolver_new(struct loop *loop)
{
    return resolver_new_with(loop, &(struct resolver_options){0});
}

static void query_free(struct resolver_query *query)
{
    list_remove(&query->node);
    query->resolver->query_count--;
    free(query);
}

/* The caller becomes idle: nothing of the resolver points to it any more. */
static void detach(struct resolve *q)
{
    ready_cancel(&q->answer);
    if (q->query)
        q->query->caller = NULL;
    q->query = NULL;
    q->resolver = NULL;
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;
    LIST_EACH (&r->queries, node, after) {
        struct resolver_query *query = container_of(node, struct resolver_query, node);

        if (query->caller)
            detach(query->caller);
        if (!query->channel)
            query_free(query);
    }
    channel_free(r->channel);
    LIST_EACH (&r->retired, node, after) {
        struct channel *c = container_of(node, struct channel, node);

        list_remove(&c->reap.node);
        channel_free(c);
    }
    must(r->query_count == 0);
    free(r);
}

static void take_addresses(struct resolver_query *query, const struct ares_addrinfo *info)
{
    const struct ares_addrinfo_node *node = info->nodes;

    for (; node && query->count < RESOLVER_ADDRESSES_MAX; node = node->ai_next) {
        union addr *a = &query->addrs[query->count];

        if (node->ai_family != AF_INET && node->ai_family != AF_INET6)
            continue;
        if (node->ai_addrlen > sizeof(*a))
            continue;
        memcpy(a, node->ai_addr, node->ai_addrlen);
        addr_set_port(a, query->port);
        query->count++;
    }
}

/* Called by c-ares, from anywhere in it: only records. */
static void on_query_done(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct resolver_query *query = arg;
    struct channel *c = query->channel;
    struct resolver *r = query->resolver;

    (void)timeouts;
    query->channel = NULL;
    c->queries--;
    if (c->is_retired && c->queries == 0 && status != ARES_EDESTRUCTION)
        loop_reap(r->loop, &c->reap);
    if (info && status == ARES_SUCCESS)
        take_addresses(query, info);
    if (info)
        ares_freeaddrinfo(info);
    if (!query->caller) {
        query_free(query);
        return;
    }
    if (query->count == 0)
        log_debug("loop", "name_not_resolved", LOG_S("error", ares_strerror(status)));
    loop_again(r->loop, &query->caller->answer);
}

/* The caller is idle before it is told, so that it may start anew; the query lives on the side. */
static void on_answer(struct ready *ready)
{
    struct resolve *q = container_of(ready, struct resolve, answer);
    struct resolver_query *query = q->query;
    union addr addrs[RESOLVER_ADDRESSES_MAX];
    unsigned count = 0;

    detach(q);
    if (query) {
        count = query->count;
        memcpy(addrs, query->addrs, count * sizeof(addrs[0]));
        query_free(query);
    }
    q->on_addresses(q, addrs, count, count ? 0 : -ERR_RESOLVE);
}

static struct resolver_query *query_new(struct resolver *r, struct resolve *q, uint16_t port)
{
    struct resolver_query *query = NULL;

    if (r->query_count < RESOLVER_QUERIES_MAX)
        query = calloc(1, sizeof(*query));
    if (!query)
        return NULL;
    query->caller = q;
    query->resolver = r;
    query->port = port;
    list_push(&r->queries, &query->node);
    r->query_count++;
    return query;
}

void resolve_start(struct resolve *q, struct resolver *r, const char *host, uint16_t port,
                   void (*on_addresses)(struct resolve *q, const union addr *addrs, unsigned count,
                                        int err))
{
    struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    size_t len = strlen(host);
    struct resolver_query *query;

    must(q->resolver == NULL);
    *q = (struct resolve){.resolver = r, .on_addresses = on_addresses};
    ready_init(&q->answer, on_answer);
    q->query = query = query_new(r, q, port);
    if (!query || len == 0 || len > NAME_BYTES_MAX) {
        loop_again(r->loop, &q->answer);
        return;
    }
    if (addr_parse_host(&query->addrs[0], host, port) == 0) {
        query->count = 1;
        loop_again(r->loop, &q->answer);
        return;
    }
    follow_resolv_conf(r);
    query->channel = r->channel;
    r->channel->queries++;
    ares_getaddrinfo(r->channel->ares, host, NULL, &hints, on_query_done, query);
    channel_arm(r->channel);
}

void resolve_cancel(struct resolve *q)
{
    struct resolver_query *query = q->query;

    if (!q->resolver)
        return;
    detach(q);
    if (query && !query->channel) /* else c-ares holds it, and frees it by calling back */
        query_free(query);
}
