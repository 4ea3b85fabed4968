/* origin - answers HTTP/1.1 from memory, on kept connections or new ones, for the rows that are
 * about a proxy: the less the origin costs, the more of the machine is the proxy's, and the more a
 * row says of it.
 *
 *   origin PORT        GET / has 128 bytes, /1k and /1m what they say; all else is 404.  Who says
 *                      "Connection: close" gets one answer.
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
    struct {
        char *bytes; /* head and body */
        size_t n;
    } kept, last; /* with "Connection: close" */
};

static struct answer answers[] = {
    {.path = "/ ", .body = 128}, {.path = "/1k ", .body = 1024}, {.path = "/1m ", .body = 1 << 20}};
static struct answer none = {.path = ""};

struct conn {
    int fd;
    size_t n; /* of the head that is being read */
    char head[HEAD_MAX];
    const char *answer; /* on its way, or NULL */
    size_t left;
    bool is_last;
};

static int epoll_fd;

static void die(const char *what)
{
    fprintf(stderr, "origin: %s: %s\n", what, strerror(errno));
    exit(1);
}

static size_t make_one(char **bytes, const char *status, size_t body, const char *field)
{
    int head;

    *bytes = malloc(256 + body);
    if (!*bytes)
        die("malloc");
    head = snprintf(*bytes, 256,
                    "HTTP/1.1 %s\r\nServer: origin\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                    "Content-Type: text/plain\r\nContent-Length: %zu\r\n%s\r\n",
                    status, body, field);
    memset(*bytes + head, 'x', body);
    return (size_t)head + body;
}

static void make(struct answer *a, const char *status)
{
    a->kept.n = make_one(&a->kept.bytes, status, a->body, "");
    a->last.n = make_one(&a->last.bytes, status, a->body, "Connection: close\r\n");
}

static const struct answer *find(const char *path)
{
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
        if (strncmp(path, answers[i].path, strlen(answers[i].path)) == 0)
            return &answers[i];
    return &none;
}

/* False: it broke, or was the last answer. */
static bool write_some(struct conn *c)
{
    while (c->answer) {
        ssize_t n = send(c->fd, c->answer, c->left, MSG_NOSIGNAL);

        if (n < 0)
            return errno == EAGAIN;
        c->answer += n;
        c->left -= (size_t)n;
        if (c->left > 0)
            continue;
        c->answer = NULL;
        if (c->is_last)
            return false;
    }
    return true;
}

static void answer(struct conn *c)
{
    const struct answer *a = find(c->head + 4);

    c->is_last = strstr(c->head, "\r\nConnection: close\r\n") != NULL;
    c->answer = c->is_last ? a->last.bytes : a->kept.bytes;
    c->left = c->is_last ? a->last.n : a->kept.n;
    c->n = 0;
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
        answer(c);
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
