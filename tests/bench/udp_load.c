/* udp_load - datagrams through a relay to a sink in the same process: how many a second, and how
 * many never came.
 *
 *     udp_load RELAY_PORT SINK_PORT BYTES SECS
 *
 * At most WINDOW are under way, so that what is lost is the relay's doing and not that of a sender
 * which floods a machine of few cores; what does not come within PATIENCE_MS counts as lost. Begins
 * when a first datagram has come through, so that the relay is there and knows the session.  One
 * line of JSON.
 *
 * It sends and receives as QUIC programs do, up to BATCH datagrams a call (UDP_SEGMENT, UDP_GRO): a
 * sender that takes each through the kernel by itself is slower than what it is to measure.  A
 * relay that reads one at a time gets them one at a time.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WINDOW       512u
#define BATCH        64u
#define MESSAGES     16u
#define PATIENCE_MS  50
#define BYTES_MAX    65507u
#define FIRST_TRIES  100
#define BUFFER_BYTES (4 << 20)
#define NS_PER_SEC   1000000000ull
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static uint8_t payload[BYTES_MAX];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static unsigned long number_of(const char *text, unsigned long max)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (*text == '\0' || *end != '\0' || n == 0 || n > max) {
        fprintf(stderr, "udp_load: %s is not a number from 1 to %lu\n", text, max);
        exit(2);
    }
    return n;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

static int open_socket(uint16_t port, int (*attach)(int, const struct sockaddr *, socklen_t))
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), size = BUFFER_BYTES,
        on = 1;

    if (fd < 0 || attach(fd, (struct sockaddr *)&at, sizeof(at)) != 0)
        die("udp_load: socket");
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    (void)setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on));
    return fd;
}

/* How many of them fit one message. */
static unsigned batch_of(size_t bytes)
{
    size_t most = BYTES_MAX / bytes;

    return most < BATCH ? (unsigned)most : BATCH;
}

static unsigned send_some(int fd, size_t bytes, unsigned count)
{
    union {
        struct cmsghdr head;
        uint8_t room[CMSG_SPACE(sizeof(uint16_t))];
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(uint16_t)),
                          .cmsg_level = IPPROTO_UDP,
                          .cmsg_type = UDP_SEGMENT}};
    uint16_t segment = (uint16_t)bytes;
    struct iovec iov[BATCH];
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = count};

    memcpy(CMSG_DATA(&control.head), &segment, sizeof(segment));
    if (count > 1) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
    }
    for (unsigned i = 0; i < count; i++)
        iov[i] = (struct iovec){.iov_base = payload, .iov_len = bytes};
    return sendmsg(fd, &message, 0) > 0 ? count : 0;
}

/* One size for all of the message but its last datagram. */
static size_t segment_of(struct msghdr *message, size_t len)
{
    int segment = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
            memcpy(&segment, CMSG_DATA(c), sizeof(segment));
    return segment > 0 ? (size_t)segment : len;
}

/* Only whole ones count; waits up to `wait_ms` for the first. */
static unsigned receive_some(int fd, size_t bytes, int wait_ms)
{
    static uint8_t to[MESSAGES][BYTES_MAX];
    static union {
        struct cmsghdr head;
        uint8_t room[CMSG_SPACE(sizeof(int))];
    } controls[MESSAGES];
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    struct mmsghdr messages[MESSAGES];
    struct iovec iov[MESSAGES];
    unsigned whole = 0;
    int n;

    if (wait_ms > 0 && poll(&ready, 1, wait_ms) <= 0)
        return 0;
    for (unsigned i = 0; i < MESSAGES; i++) {
        iov[i] = (struct iovec){.iov_base = to[i], .iov_len = sizeof(to[i])};
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i],
                                                   .msg_iovlen = 1,
                                                   .msg_control = &controls[i],
                                                   .msg_controllen = sizeof(controls[i])}};
    }
    n = recvmmsg(fd, messages, MESSAGES, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++)
        if (segment_of(&messages[i].msg_hdr, messages[i].msg_len) == bytes)
            whole += (unsigned)(messages[i].msg_len / bytes);
    return whole;
}

static void wait_for_first(int out, int in, size_t bytes)
{
    for (int i = 0; i < FIRST_TRIES; i++) {
        (void)send_some(out, bytes, 1);
        if (receive_some(in, bytes, PATIENCE_MS) > 0) {
            while (receive_some(in, bytes, PATIENCE_MS) > 0)
                ;
            return;
        }
    }
    fprintf(stderr, "udp_load: no datagram comes through\n");
    exit(1);
}

int main(int argc, char **argv)
{
    uint64_t came = 0, lost = 0, begin, end;
    unsigned under_way = 0, batch;
    size_t bytes;
    int out, in;

    if (argc != 5) {
        fprintf(stderr, "usage: udp_load RELAY_PORT SINK_PORT BYTES SECS\n");
        return 2;
    }
    out = open_socket((uint16_t)number_of(argv[1], UINT16_MAX), connect);
    in = open_socket((uint16_t)number_of(argv[2], UINT16_MAX), bind);
    bytes = number_of(argv[3], BYTES_MAX);
    batch = batch_of(bytes);
    wait_for_first(out, in, bytes);
    begin = now_ns();
    end = begin + number_of(argv[4], 3600) * NS_PER_SEC;
    while (now_ns() < end) {
        unsigned room = WINDOW - under_way, got;

        if (room >= batch)
            under_way += send_some(out, bytes, batch);
        got = receive_some(in, bytes, room >= batch ? 0 : PATIENCE_MS);
        came += got;
        if (got == 0 && room < batch) {
            lost += under_way;
            under_way = 0;
        }
        under_way -= got < under_way ? got : under_way; /* some that were given up come late */
    }
    printf("{\"came\": %llu, \"lost\": %llu, \"secs\": %.6f}\n", (unsigned long long)came,
           (unsigned long long)lost, (double)(now_ns() - begin) / (double)NS_PER_SEC);
    close(out);
    close(in);
    return 0;
}
