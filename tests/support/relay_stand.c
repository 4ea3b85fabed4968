/* relay_stand - see relay_stand.h. */
#include "support/relay_stand.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/socket.h"
#include "support/await.h"
#include "support/descriptors.h"
#include "support/seeded.h"
#include "support/tls_pair.h"

struct relay_stand stand;

/* --- a talker: the test's end of one socket ----------------------------------------------------
 */

static void talker_arm(struct talker *t)
{
    unsigned events = 0;

    if (t->fd < 0)
        return;
    if (!t->is_deaf && !t->has_heard_end && !t->is_broken)
        events |= LOOP_READ;
    if (t->said < t->to_say && !t->is_broken)
        events |= LOOP_WRITE;
    loop_io_arm(&t->io, events);
}

static uint8_t expected(const struct talker *t, uint64_t at)
{
    return at < t->first_len ? (uint8_t)t->first[at] : seeded_byte(t->heard_key, at - t->first_len);
}

static void talker_hear(struct talker *t)
{
    static uint8_t bytes[65536];
    ssize_t n = read(t->fd, bytes, 1 + seeded_below(&stand.seed, sizeof(bytes)));

    if (n < 0) {
        t->is_broken = errno != EAGAIN;
        return;
    }
    t->has_heard_end = n == 0;
    for (ssize_t i = 0; i < n; i++)
        if (bytes[i] != expected(t, t->heard + (uint64_t)i))
            ck_abort_msg("byte %llu is wrong",
                         (unsigned long long)t->heard + (unsigned long long)i);
    t->heard += (uint64_t)n;
}

static void talker_say(struct talker *t)
{
    static uint8_t bytes[65536];
    size_t n = 1 + seeded_below(&stand.seed, sizeof(bytes));
    ssize_t done;

    n = MIN(n, (size_t)(t->to_say - t->said));
    for (size_t i = 0; i < n; i++)
        bytes[i] = seeded_byte(t->key, t->said + i);
    done = send(t->fd, bytes, n, MSG_NOSIGNAL);
    if (done < 0)
        t->is_broken = errno != EAGAIN;
    else
        t->said += (uint64_t)done;
}

static void talker_end(struct talker *t)
{
    if (t->says_end && t->said == t->to_say && !t->has_said_end && !t->is_broken) {
        t->has_said_end = true;
        ck_assert_int_eq(shutdown(t->fd, SHUT_WR), 0);
    }
}

static void on_talker(struct loop_io *io, unsigned events)
{
    struct talker *t = container_of(io, struct talker, io);

    if ((events & LOOP_READ) && !t->is_deaf)
        talker_hear(t);
    if ((events & LOOP_WRITE) && t->said < t->to_say && !t->is_broken)
        talker_say(t);
    talker_end(t);
    talker_arm(t);
}

void talker_close(struct talker *t, bool is_reset)
{
    if (t->fd < 0)
        return;
    loop_io_arm(&t->io, 0);
    if (is_reset)
        socket_set_reset_on_close(t->fd);
    close(t->fd);
    t->fd = -1;
}

void talker_go(struct talker *t)
{
    talker_end(t);
    talker_arm(t);
}

bool talker_is_reset(const struct talker *t)
{
    struct pollfd at = {.fd = t->fd};

    return t->is_broken || (poll(&at, 1, 0) > 0 && (at.revents & POLLERR));
}

/* --- the stand ----------------------------------------------------------------------------------
 */

static void on_relay_done(struct relay *r)
{
    container_of(r, struct joint, relay)->done_count++;
}

static void on_change(struct stream *stream)
{
    relay_wake(&container_of(stream, struct joint, stream)->relay);
}

static struct stream *on_open(struct lane *lane, const struct proxy_header *client,
                              enum stream_reset *refuse)
{
    struct pair *p = &stand.pairs[stand.opened_count++];

    (void)lane, (void)client, (void)refuse;
    relay_start(&p->hub.relay, stand.loop, p->hub_fd, &p->hub.stream, stand.prefix,
                stand.prefix ? strlen(stand.prefix) : 0, on_relay_done);
    p->hub_fd = -1;
    return &p->hub.stream;
}

static void on_wake(struct lane *lane)
{
    (void)lane;
    loop_again(stand.loop, &stand.pump);
}

static const struct lane_ops lane_ops = {.on_open = on_open, .on_wake = on_wake};

static bool pass_records(struct lane *from, struct lane *to)
{
    const uint8_t *record;
    size_t n = lane_next_record(from, loop_now_ms(stand.loop), &record);

    if (n > 0)
        ck_assert_int_eq(lane_input(to, record, n, loop_now_ms(stand.loop)), 0);
    if (n > 0)
        lane_record_done(from);
    return n > 0;
}

static void pump(void)
{
    uint64_t now_ms = loop_now_ms(stand.loop), due_ms;

    if (stand.is_cut)
        return;
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(lane_tick(&stand.lane[i], now_ms), 0);
    for (bool has_moved = !stand.is_held; has_moved;) {
        has_moved = pass_records(&stand.lane[EDGE], &stand.lane[HUB]);
        has_moved |= pass_records(&stand.lane[HUB], &stand.lane[EDGE]);
    }
    lane_check(&stand.lane[EDGE]);
    lane_check(&stand.lane[HUB]);
    due_ms = MIN(lane_deadline(&stand.lane[EDGE]), lane_deadline(&stand.lane[HUB]));
    deadline_set(&stand.tick, due_ms > now_ms ? due_ms - now_ms : 1);
}

static void on_pump(struct ready *ready)
{
    (void)ready;
    pump();
}

static void on_tick(struct deadline *deadline)
{
    (void)deadline;
    pump();
}

void stand_up_with(uint64_t memory_budget, size_t pool_cap)
{
    memset(&stand, 0, sizeof(stand));
    stand.seed = 1;
    stand.fds_before = count_fds();
    stand.loop = loop_new("test", 64, pool_cap);
    for (unsigned i = 0; i < 2; i++) {
        budget_init(&stand.budget[i], memory_budget, 1000, 4u << 20);
        lane_init(&stand.lane[i], i == EDGE ? LANE_EDGE : LANE_HUB, &lane_ops, &stand.budget[i],
                  loop_pool(stand.loop), 65536, loop_now_ms(stand.loop));
    }
    ready_init(&stand.pump, on_pump);
    deadline_init(&stand.tick, stand.loop, on_tick);
}

void stand_up(void)
{
    stand_up_with(200u << 20, 0);
}

void stand_hold(bool is_held)
{
    stand.is_held = is_held;
    loop_again(stand.loop, &stand.pump);
}

void stand_lose_lanes(void)
{
    if (stand.is_cut)
        return;
    stand.is_cut = true;
    ready_cancel(&stand.pump);
    deadline_off(&stand.tick);
    lane_fini(&stand.lane[EDGE]);
    lane_fini(&stand.lane[HUB]);
}

void stand_down(void)
{
    for (unsigned i = 0; i < stand.pair_count; i++) {
        struct pair *p = &stand.pairs[i];

        relay_fini(&p->edge.relay);
        relay_fini(&p->hub.relay);
        stream_release(&p->edge.stream);
        stream_release(&p->hub.stream);
        talker_close(&p->client, false);
        talker_close(&p->target, false);
        if (p->hub_fd >= 0)
            close(p->hub_fd);
    }
    stand_lose_lanes();
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_uint_eq(stand.budget[i].taken, 0);
        ck_assert_uint_eq(stand.budget[i].streams, 0);
    }
    loop_free(stand.loop); /* every chunk is back */
    ck_assert_uint_eq(count_fds(), stand.fds_before);
}

bool happens_within(bool (*is_true)(void), uint64_t ms)
{
    return await_plain_within(stand.loop, is_true, ms);
}

/* Both sockets of one side: the talker's and the relay's. */
static int open_socket(struct talker *t, int buffer_bytes)
{
    struct tls_pair sockets;

    tls_pair_open(&sockets, PAIR_TCP, buffer_bytes);
    if (buffer_bytes > 0) {
        setsockopt(sockets.client_fd, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof(int));
        setsockopt(sockets.server_fd, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof(int));
    }
    chunk_pool_fini(&sockets.pool);
    t->fd = sockets.client_fd;
    loop_io_init(&t->io, stand.loop, t->fd, on_talker);
    return sockets.server_fd;
}

struct pair *stand_join(uint64_t from_client, uint64_t from_target, int buffer_bytes)
{
    struct proxy_header header = {.family = PROXY_INET, .src_port = 1, .dst_port = 443};
    struct pair *p = &stand.pairs[stand.pair_count++];
    uint64_t key = 1000 + stand.pair_count * 2;
    int edge_fd = open_socket(&p->client, buffer_bytes);

    p->hub_fd = open_socket(&p->target, buffer_bytes);
    p->client.key = p->target.heard_key = key;
    p->target.key = p->client.heard_key = key + 1;
    p->client.to_say = from_client;
    p->target.to_say = from_target;
    p->target.first = stand.prefix;
    p->target.first_len = stand.prefix ? strlen(stand.prefix) : 0;
    stream_init(&p->edge.stream, on_change);
    stream_init(&p->hub.stream, on_change);
    ck_assert_int_eq(
        lane_open_stream(&stand.lane[EDGE], &p->edge.stream, &header, loop_now_ms(stand.loop)), 0);
    relay_start(&p->edge.relay, stand.loop, edge_fd, &p->edge.stream, NULL, 0, on_relay_done);
    ck_assert_uint_eq(p->edge.done_count, 0);
    talker_arm(&p->client);
    talker_arm(&p->target);
    return p;
}
