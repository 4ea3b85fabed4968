/* slow_link - makes the packets of a netfilter queue late, loses some and lets some be overtaken.
 *
 *     iptables -A INPUT -i v-far -j NFQUEUE --queue-num 1          in a namespace of the test's own
 *     slow_link QUEUE DELAY_US LOSS_PPM REORDER_PPM REORDER_US SEED
 *
 * Every packet is let through DELAY_US after it came, but LOSS_PPM of a million, which never are,
 * and REORDER_PPM, which take REORDER_US longer, so that those behind them come first.  The two
 * lines of waiting packets are in order of time each, since each has one delay.  Rates are the
 * business of tc (tbf).
 *
 * Says "ready" once packets are taken, and at SIGTERM how many came, were lost and were late.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <libnetfilter_queue/libnetfilter_queue.h>

#define NS_PER_SEC    1000000000ull
#define NS_PER_US     1000ull
#define PPM           1000000u
#define LINE_MAX      65536u /* a power of 2; the kernel is told not to hold more */
#define READS_A_TURN  64
#define RECEIVE_BYTES (8u << 20)
#define MESSAGE_BYTES 65536u

struct waiting {
    uint32_t id;
    uint64_t due_ns;
};

struct line {
    struct waiting at[LINE_MAX];
    unsigned head, tail; /* count for ever */
    uint64_t delay_ns;
};

struct slow_link {
    struct nfq_handle *handle;  /* owned */
    struct nfq_q_handle *queue; /* owned by handle */
    int timer, signals;         /* owned */
    struct line usual, late;
    uint32_t loss_ppm, reorder_ppm;
    uint64_t random;
    uint64_t came, lost, overtaken, full;
};

static struct slow_link the_link;

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

/* xorshift64*: the same seed, the same losses. */
static bool happens(struct slow_link *l, uint32_t ppm)
{
    l->random ^= l->random >> 12;
    l->random ^= l->random << 25;
    l->random ^= l->random >> 27;
    return ((l->random * 2685821657736338717ull) >> 32) % PPM < ppm;
}

static void decide(struct slow_link *l, uint32_t id, uint32_t verdict)
{
    (void)nfq_set_verdict(l->queue, id, verdict, 0, NULL);
}

static int on_packet(struct nfq_q_handle *queue, struct nfgenmsg *message, struct nfq_data *data,
                     void *arg)
{
    struct slow_link *l = arg;
    uint32_t id = ntohl(nfq_get_msg_packet_hdr(data)->packet_id);
    struct line *line = &l->usual;

    (void)queue;
    (void)message;
    l->came++;
    if (happens(l, l->loss_ppm)) {
        l->lost++;
        decide(l, id, NF_DROP);
        return 0;
    }
    if (happens(l, l->reorder_ppm)) {
        l->overtaken++;
        line = &l->late;
    }
    if (line->tail - line->head == LINE_MAX) {
        l->full++;
        decide(l, id, NF_DROP);
        return 0;
    }
    line->at[line->tail++ % LINE_MAX] =
        (struct waiting){.id = id, .due_ns = now_ns() + line->delay_ns};
    return 0;
}

/* Lets through what is due; when the next is, or 0. */
static uint64_t release(struct slow_link *l, struct line *line, uint64_t now)
{
    while (line->head != line->tail) {
        const struct waiting *w = &line->at[line->head % LINE_MAX];

        if (w->due_ns > now)
            return w->due_ns;
        decide(l, w->id, NF_ACCEPT);
        line->head++;
    }
    return 0;
}

static void set_timer(struct slow_link *l, uint64_t at_ns)
{
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at_ns / NS_PER_SEC),
                                           .tv_nsec = (long)(at_ns % NS_PER_SEC)}};

    timerfd_settime(l->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void read_queue(struct slow_link *l)
{
    static char message[MESSAGE_BYTES];
    int fd = nfq_fd(l->handle);

    for (int i = 0; i < READS_A_TURN; i++) {
        ssize_t n = recv(fd, message, sizeof(message), MSG_DONTWAIT);

        if (n <= 0)
            return;
        nfq_handle_packet(l->handle, message, (int)n);
    }
}

static void run(struct slow_link *l)
{
    struct pollfd fds[] = {{.fd = nfq_fd(l->handle), .events = POLLIN},
                           {.fd = l->timer, .events = POLLIN},
                           {.fd = l->signals, .events = POLLIN}};

    while (!(fds[2].revents & POLLIN)) {
        uint64_t now = now_ns(), a = release(l, &l->usual, now), b = release(l, &l->late, now);
        uint64_t expired;

        set_timer(l, a && b ? (a < b ? a : b) : a | b);
        if (poll(fds, 3, -1) < 0 && errno != EINTR)
            return;
        if (fds[1].revents & POLLIN && read(l->timer, &expired, sizeof(expired)) < 0)
            continue;
        if (fds[0].revents & POLLIN)
            read_queue(l);
    }
}

static bool start(struct slow_link *l, uint16_t number)
{
    int on = 1;
    sigset_t set;

    l->handle = nfq_open();
    if (!l->handle)
        return false;
    l->queue = nfq_create_queue(l->handle, number, on_packet, l);
    if (!l->queue || nfq_set_mode(l->queue, NFQNL_COPY_META, 0) < 0 ||
        nfq_set_queue_maxlen(l->queue, LINE_MAX) < 0)
        return false;
    nfnl_rcvbufsiz(nfq_nfnlh(l->handle), RECEIVE_BYTES);
    /* what finds no room there is lost: no error of ours */
    (void)setsockopt(nfq_fd(l->handle), SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof(on));
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    l->signals = signalfd(-1, &set, SFD_CLOEXEC);
    l->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    return l->signals >= 0 && l->timer >= 0;
}

static unsigned long number_of(const char *text, unsigned long max)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (*text == '\0' || *end != '\0' || n > max) {
        fprintf(stderr, "slow_link: %s is not a number up to %lu\n", text, max);
        exit(2);
    }
    return n;
}

int main(int argc, char **argv)
{
    struct slow_link *l = &the_link;
    uint16_t number;

    if (argc != 7) {
        fprintf(stderr, "usage: slow_link QUEUE DELAY_US LOSS_PPM REORDER_PPM REORDER_US SEED\n");
        return 2;
    }
    number = (uint16_t)number_of(argv[1], UINT16_MAX);
    l->usual.delay_ns = number_of(argv[2], UINT32_MAX) * NS_PER_US;
    l->loss_ppm = (uint32_t)number_of(argv[3], PPM);
    l->reorder_ppm = (uint32_t)number_of(argv[4], PPM);
    l->late.delay_ns = l->usual.delay_ns + number_of(argv[5], UINT32_MAX) * NS_PER_US;
    l->random = number_of(argv[6], UINT32_MAX) * 2 + 1;
    if (!start(l, number)) {
        perror("slow_link");
        return 1;
    }
    puts("ready");
    fflush(stdout);
    run(l);
    printf("came=%llu lost=%llu overtaken=%llu full=%llu\n", (unsigned long long)l->came,
           (unsigned long long)l->lost, (unsigned long long)l->overtaken,
           (unsigned long long)l->full);
    nfq_destroy_queue(l->queue);
    nfq_close(l->handle);
    return 0;
}
