/* hop - the least that a tunnel hop can be: one connection, frames, GnuTLS, and nothing else.
 *
 *   hop out [--plain] TUNNEL_PORT TARGET_PORT     waits for the tunnel, dials the target
 *   hop in  [--plain] LISTEN_PORT TUNNEL_PORT     dials the tunnel, accepts clients
 *
 * A reference for `make bench`: what this machine's kernel and GnuTLS leave to win.  It has no flow
 * control but TCP's own (one stalled target stalls all), no authority, no timers, no log, one
 * thread. With --plain the same without encryption, which bounds the design itself.
 *
 *   socket --readv--> plain (frames in one piece) --16 KiB records--> sealed --one send a turn-->
 * peer peer --one recv a turn--> raw --records--> frames --sendmsg, a run of one stream--> socket
 *
 * Everything is edge-triggered; what is known to be readable waits on a list, so epoll_ctl is
 * called once a connection.  Errors of the setup end the program with a line on stderr.
 */
#include "hop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS_MAX 256

struct hop hop;

void die(const char *what)
{
    fprintf(stderr, "hop: %s: %s\n", what, strerror(errno));
    exit(1);
}

void watch(int fd, void *what, bool is_edge)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = what};

    if (!is_edge)
        event.events = EPOLLIN;
    if (epoll_ctl(hop.epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl");
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 4096) != 0)
        die("listen");
    return fd;
}

static int dial_tunnel(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (unsigned tries = 0;; tries++) { /* the other end may be starting just now */
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
            return fd;
        close(fd);
        if (tries == 100)
            die("connect");
        usleep(50000);
    }
}

static void setup(bool is_plain, uint16_t first, uint16_t second)
{
    int on = 1, waiting = -1;

    hop.epoll = epoll_create1(0);
    hop.ready_end = &hop.ready;
    if (hop.is_in) {
        hop.fd = dial_tunnel(second);
    } else {
        hop.target = second;
        waiting = listen_on(first);
        hop.fd = accept(waiting, NULL, NULL);
        close(waiting);
    }
    if (hop.fd < 0)
        die("tunnel");
    setsockopt(hop.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (!is_plain)
        tunnel_start_tls();
    fcntl(hop.fd, F_SETFL, O_NONBLOCK);
    watch(hop.fd, &hop.fd, true);
    hop.listener = -1;
    if (!hop.is_in)
        return;
    for (uint32_t id = STREAMS_MAX; id > 0; id--)
        hop.spare_ids[hop.spare_count++] = id - 1;
    hop.listener = listen_on(first);
    fcntl(hop.listener, F_SETFL, O_NONBLOCK);
    watch(hop.listener, &hop.listener, false);
}

static void accept_clients(void)
{
    while (hop.spare_count > 0 && PLAIN_BYTES - hop.plain_len >= 4 * RECORD) {
        int fd = accept4(hop.listener, NULL, NULL, SOCK_NONBLOCK);
        uint32_t id;

        if (fd < 0)
            return;
        id = hop.spare_ids[--hop.spare_count];
        stream_new(id, fd);
        tunnel_put(id, TYPE_OPEN);
    }
}

static void on_event(const struct epoll_event *event)
{
    struct stream *s = event->data.ptr;

    if (event->data.ptr == &hop.fd) {
        hop.is_readable = true;
        if (hop.is_full && event->events & EPOLLOUT)
            tunnel_write();
    } else if (event->data.ptr == &hop.listener) {
        accept_clients();
    } else {
        if (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
            s->is_readable = true;
            stream_make_ready(s);
        }
        if (event->events & EPOLLOUT && s->held_len > 0)
            stream_write_held(s);
        stream_close_if_done(s);
    }
}

int main(int argc, char **argv)
{
    bool is_plain = argc == 5 && strcmp(argv[2], "--plain") == 0;

    if (argc != 4 + is_plain || (strcmp(argv[1], "in") != 0 && strcmp(argv[1], "out") != 0)) {
        fprintf(stderr, "usage: hop out [--plain] TUNNEL_PORT TARGET_PORT\n"
                        "       hop in [--plain] LISTEN_PORT TUNNEL_PORT\n");
        return 2;
    }
    hop.is_in = strcmp(argv[1], "in") == 0;
    setup(is_plain, (uint16_t)atoi(argv[argc - 2]), (uint16_t)atoi(argv[argc - 1]));
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        bool has_more = (hop.ready && !hop.is_full) || (hop.is_readable && hop.held < HELD_MAX);
        int count = epoll_wait(hop.epoll, events, EVENTS_MAX, has_more ? 0 : -1);

        for (int i = 0; i < count; i++)
            on_event(&events[i]);
        if (hop.is_readable && hop.held < HELD_MAX)
            tunnel_read();
        tunnel_fill();
    }
}
