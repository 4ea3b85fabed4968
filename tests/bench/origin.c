/* origin - answers HTTP/1.1 from memory on kept connections, for the rows that are about a proxy:
 * the less the origin costs, the more of the machine is the proxy's, and the more a row says of it.
 *
 *   origin PORT        GET / has 128 bytes, /1k and /1m what they say; all else is 404
 *
 * One thread.  A request is a head that begins with its path behind four bytes ("GET ") and ends
 * with an empty line; a body is not expected.  Whoever does otherwise is a bench gone wrong, and is
 * closed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#define HEAD_MAX   8192u
#define EVENTS_MAX 256
#define BACKLOG    4096

struct answer {
    const char *path;
    size_t body;
    char *bytes; /* head and body */
    size_t n;
};

static struct answer answers[] = {
    {"/ ", 128, NULL, 0}, {"/1k ", 1024, NULL, 0}, {"/1m ", 1 << 20, NULL, 0}};
static struct answer none = {"", 0, NULL, 0};

struct conn {
    int fd;
    size_t n; /* of the head that is being read */
    char head[HEAD_MAX];
    const struct answer *answer; /* on its way, or NULL */
    size_t sent;
};

static int epoll_fd;

static void die(const char *what)
{
    fprintf(stderr, "origin: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void make(struct answer *a, const char *status)
{
    int head;

    a->bytes = malloc(256 + a->body);
    if (!a->bytes)
        die("malloc");
    head = snprintf(a->bytes, 256,
                    "HTTP/1.1 %s\r\nServer: origin\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                    "Content-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
                    status, a->body);
    memset(a->bytes + head, 'x', a->body);
    a->n = (size_t)head + a->body;
}

static const struct answer *find(const char *path)
{
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
        if (strncmp(path, answers[i].path, strlen(answers[i].path)) == 0)
            return &answers[i];
    return &none;
}

/* False: it broke. */
static bool write_some(struct conn *c)
{
    while (c->answer) {
        ssize_t n = send(c->fd, c->answer->bytes + c->sent, c->answer->n - c->sent, MSG_NOSIGNAL);

        if (n < 0)
            return errno == EAGAIN;
        c->sent += (size_t)n;
        if (c->sent == c->answer->n)
            c->answer = NULL;
    }
    return true;
}

/* False: it is over. */
static bool read_some(struct conn *c)
{
    while (!c->answer) {
        size_t room = sizeof(c->head) - 1 - c->n;
        ssize_t n = recv(c->fd, c->head + c->n, room, 0);
        char *end;

        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0 || (size_t)n == room)
            return false;
        c->n += (size_t)n;
        c->head[c->n] = '\0';
        end = strstr(c->head, "\r\n\r\n");
        if (!end)
            continue;
        if (strncmp(c->head, "GET ", 4) != 0 || end + 4 != c->head + c->n)
            return false;
        c->answer = find(c->head + 4);
        c->n = c->sent = 0;
        if (!write_some(c))
            return false;
        if (!c->answer) /* it came short: the next byte is an edge */
            return true;
    }
    return true;
}

static void accept_all(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK), on = 1;
        struct conn *c;
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET};

        if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED))
            return;
        c = calloc(1, sizeof(*c));
        if (fd < 0 || !c)
            die("accept");
        c->fd = fd;
        event.data.ptr = c;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
            die("epoll_ctl");
    }
}

static int listen_at(const char *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    struct epoll_event event = {.events = EPOLLIN};

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, BACKLOG) != 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        die("listen");
    return fd;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    int listener;

    if (argc != 2) {
        fprintf(stderr, "usage: origin PORT\n");
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
        make(&answers[i], "200 OK");
    make(&none, "404 Not Found");
    epoll_fd = epoll_create1(0);
    listener = listen_at(argv[1]);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int n = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);

        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;

            if (!c) {
                accept_all(listener);
            } else if (!write_some(c) || !read_some(c)) {
                close(c->fd);
                free(c);
            }
        }
    }
}
