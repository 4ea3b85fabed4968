/* load - thousands of TCP connections from one thread, for the growth rows of `make bench`.
 *
 *   load serve PORT                     answers; one line "ready"
 *   load ask COUNT PORT [PORT ...]      opens COUNT connections, dealt round robin over the ports,
 * has one small answer on each, and says "ready"; then every line "SECS ACTIVE UPLOAD ANSWER RATE"
 * on stdin is a measurement, answered by one line of JSON; end of input ends it
 *
 * A request is two u32 in network order, how many bytes follow it and how many the answer shall
 * have. With RATE 0 ACTIVE connections have a request under way at any time, and each answer passes
 * the turn on to the connection that has waited longest, so that all take part, whatever ACTIVE is.
 * With a RATE so many requests begin a second, evenly, each on the connection that has waited
 * longest; one that finds ACTIVE of them under way is left out and counted ("missed").
 *
 * A connection that breaks or answers too much ends the program: a measurement with errors is none.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define HEAD        8u
#define PIECE       (64u << 10)
#define EVENTS_MAX  512
#define SAMPLES_MAX (8u << 20)
#define OPENING_MAX 64u /* connections whose first answer is awaited at a time */
#define STALL_SECS  60

struct conn {
    int fd;
    uint8_t head[HEAD];
    size_t head_len;   /* server: of the request that is being read */
    uint64_t to_read;  /* server: upload; client: answer */
    uint64_t to_write; /* server: answer; client: upload, with its head */
    uint64_t asked_us;
    struct conn *next; /* client: waits for its turn */
    bool is_asking;
};

static int epoll_fd;
static uint8_t bytes[PIECE];

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void watch(struct conn *c)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    int on = 1;

    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0)
        die("epoll_ctl");
}

static struct sockaddr_in loopback(const char *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

/* --- server -------------------------------------------------------------------------------------
 */

static bool serve_close(struct conn *c)
{
    close(c->fd);
    free(c);
    return false;
}

static bool serve_write(struct conn *c)
{
    while (c->to_write > 0) {
        size_t part = c->to_write < PIECE ? (size_t)c->to_write : PIECE;
        ssize_t n = send(c->fd, bytes, part, MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN)
            return true;
        if (n < 0)
            return serve_close(c);
        c->to_write -= (uint64_t)n;
    }
    return true;
}

/* False: it is gone. */
static bool serve_read(struct conn *c)
{
    for (;;) {
        bool is_head = c->to_read == 0;
        size_t want = is_head              ? HEAD - c->head_len
                      : c->to_read < PIECE ? (size_t)c->to_read
                                           : PIECE;
        ssize_t n = recv(c->fd, is_head ? c->head + c->head_len : bytes, want, 0);
        uint32_t numbers[2];

        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0)
            return serve_close(c);
        if (!is_head) {
            c->to_read -= (uint64_t)n;
        } else {
            c->head_len += (size_t)n;
            if (c->head_len < HEAD)
                continue;
            memcpy(numbers, c->head, HEAD);
            c->head_len = 0;
            c->to_read = ntohl(numbers[0]);
            c->asked_us = ntohl(numbers[1]); /* the answer's size, until the upload is here */
        }
        if (c->to_read == 0) {
            c->to_write += c->asked_us;
            if (!serve_write(c))
                return false;
            if ((size_t)n < want) /* it is empty: the next byte is an edge */
                return true;
        }
    }
}

static void serve_accept(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        struct conn *c;

        if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED))
            return;
        if (fd < 0)
            die("accept");
        c = calloc(1, sizeof(*c));
        if (!c)
            die("memory");
        c->fd = fd;
        watch(c);
    }
}

static _Noreturn void serve(const char *port)
{
    struct sockaddr_in at = loopback(port);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct epoll_event event = {.events = EPOLLIN};

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(listener, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(listener, 4096) != 0)
        die("listen");
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);

        for (int i = 0; i < count; i++) {
            struct conn *c = events[i].data.ptr;

            if (!c)
                serve_accept(listener);
            else if (serve_write(c))
                serve_read(c);
        }
    }
}

/* --- client -------------------------------------------------------------------------------------
 */

static struct {
    struct conn *conns; /* owned */
    unsigned count;
    struct conn *waiting, **waiting_end;
    uint32_t upload, answer;
    unsigned asking;
    uint64_t end_us; /* no request begins after it */
    unsigned active;
    int clock; /* ticks for each request of a RATE; -1: answers pass on the turn */
    uint64_t answered, missed;
    uint32_t *samples; /* owned: microseconds of each answer */
} ask;

static void ask_wait(struct conn *c)
{
    c->next = NULL;
    *ask.waiting_end = c;
    ask.waiting_end = &c->next;
}

static void ask_write(struct conn *c)
{
    while (c->to_write > 0) {
        size_t left = (size_t)c->to_write, rest = left > ask.upload ? left - ask.upload : 0;
        size_t body = left - rest < PIECE ? left - rest : PIECE;
        struct iovec pieces[2] = {{c->head + HEAD - rest, rest}, {bytes, body}};
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
        ssize_t n = sendmsg(c->fd, &message, MSG_NOSIGNAL);

        if (n < 0 && (errno == EAGAIN || errno == ENOTCONN))
            return;
        if (n < 0)
            die("a connection broke");
        c->to_write -= (uint64_t)n;
    }
}

static void ask_begin(struct conn *c)
{
    uint32_t numbers[2] = {htonl(ask.upload), htonl(ask.answer)};

    memcpy(c->head, numbers, HEAD);
    c->to_write = HEAD + ask.upload;
    c->to_read = ask.answer;
    c->asked_us = now_us();
    c->is_asking = true;
    ask.asking++;
    ask_write(c);
}

/* The one that has waited longest has its turn. */
static void ask_next(uint64_t now)
{
    struct conn *c = ask.waiting;

    if (!c || now >= ask.end_us)
        return;
    ask.waiting = c->next;
    if (!ask.waiting)
        ask.waiting_end = &ask.waiting;
    ask_begin(c);
}

static void ask_read(struct conn *c)
{
    while (c->is_asking) {
        size_t want = c->to_read < PIECE ? (size_t)c->to_read : PIECE;
        ssize_t n = recv(c->fd, bytes, want, 0);
        uint64_t now;

        if (n < 0 && (errno == EAGAIN || errno == ENOTCONN))
            return;
        if (n <= 0)
            die("a connection ended");
        c->to_read -= (uint64_t)n;
        if (c->to_read > 0)
            continue;
        now = now_us();
        ask.samples[ask.answered++ % SAMPLES_MAX] = (uint32_t)(now - c->asked_us);
        c->is_asking = false;
        ask.asking--;
        ask_wait(c);
        if (ask.clock < 0)
            ask_next(now);
    }
}

static void ask_tick(void)
{
    uint64_t due, now = now_us();

    if (read(ask.clock, &due, sizeof(due)) != sizeof(due))
        return;
    for (; due > 0 && now < ask.end_us; due--)
        if (ask.asking < ask.active && ask.waiting)
            ask_next(now);
        else
            ask.missed++;
    if (now >= ask.end_us) {
        close(ask.clock);
        ask.clock = -1;
    }
}

static void ask_start_clock(unsigned rate)
{
    struct timespec each = {.tv_sec = rate == 1, .tv_nsec = 1000000000 / rate % 1000000000};
    struct itimerspec every = {each, each};
    struct epoll_event event = {.events = EPOLLIN};

    ask.clock = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    if (ask.clock < 0 || timerfd_settime(ask.clock, 0, &every, NULL) != 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, ask.clock, &event) != 0)
        die("a clock");
}

/* Until nothing is under way, and nothing begins any more. */
static void ask_run(void)
{
    while (ask.asking > 0 || ask.clock >= 0) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(epoll_fd, events, EVENTS_MAX, STALL_SECS * 1000);

        errno = ETIMEDOUT;
        if (count == 0)
            die("no answer");
        for (int i = 0; i < count; i++) {
            struct conn *c = events[i].data.ptr;

            if (!c) {
                ask_tick();
                continue;
            }
            if (events[i].events & EPOLLOUT)
                ask_write(c);
            ask_read(c);
        }
    }
}

static void ask_open(unsigned count, char **ports, unsigned port_count)
{
    ask.conns = calloc(count, sizeof(*ask.conns));
    ask.samples = malloc(SAMPLES_MAX * sizeof(*ask.samples));
    ask.waiting_end = &ask.waiting;
    ask.count = count;
    ask.answer = 1;
    ask.clock = -1;
    if (!ask.conns || !ask.samples)
        die("memory");
    for (unsigned i = 0; i < count; i++) {
        struct sockaddr_in to = loopback(ports[i % port_count]);
        struct conn *c = &ask.conns[i];

        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (c->fd < 0)
            die("socket");
        if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)
            die("connect");
        watch(c);
        ask_begin(c);
        if ((i + 1) % OPENING_MAX == 0 || i + 1 == count)
            ask_run();
    }
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void measure(double secs, unsigned active, unsigned rate)
{
    uint64_t begin = now_us();
    size_t n;

    ask.answered = ask.missed = 0;
    ask.active = active;
    ask.end_us = begin + (uint64_t)(secs * 1e6);
    if (rate > 0)
        ask_start_clock(rate);
    for (unsigned i = 0; i < active && rate == 0; i++)
        ask_next(begin);
    ask_run();
    n = ask.answered < SAMPLES_MAX ? (size_t)ask.answered : SAMPLES_MAX;
    qsort(ask.samples, n, sizeof(*ask.samples), by_value);
    printf("{\"answers\": %llu, \"missed\": %llu, \"secs\": %.6f, \"p50Us\": %u, \"p99Us\": %u}\n",
           (unsigned long long)ask.answered, (unsigned long long)ask.missed,
           (double)(now_us() - begin) / 1e6, n ? ask.samples[n / 2] : 0,
           n ? ask.samples[n * 99 / 100] : 0);
    fflush(stdout);
}

static int ask_for(unsigned count, char **ports, unsigned port_count)
{
    char line[256];
    double secs;
    unsigned active, rate;

    ask_open(count, ports, port_count);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin)) {
        if (sscanf(line, "%lf %u %u %u %u", &secs, &active, &ask.upload, &ask.answer, &rate) != 5 ||
            active == 0 || ask.answer == 0 || rate > 1000000000) {
            fprintf(stderr, "load: SECS ACTIVE UPLOAD ANSWER RATE, not %s", line);
            return 2;
        }
        measure(secs, active, rate);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct rlimit files;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    epoll_fd = epoll_create1(0);
    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        serve(argv[2]);
    if (argc >= 4 && strcmp(argv[1], "ask") == 0 && atoi(argv[2]) > 0)
        return ask_for((unsigned)atoi(argv[2]), argv + 3, (unsigned)argc - 3);
    fprintf(stderr, "usage: load serve PORT | load ask COUNT PORT [PORT ...]\n");
    return 2;
}
