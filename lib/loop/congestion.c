/* congestion - see congestion.h. */
#include "loop/congestion.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

#define PACED "bbr"  /* begins the names of all its versions */
#define NEAR  "reno" /* every kernel has this one */

static bool is_split(const struct congestion *c)
{
    return strcmp(c->near, c->far) != 0;
}

static bool set(int fd, const char *name)
{
    return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) == 0;
}

static void warn(const char *event, const char *name)
{
    log_warn("loop", event, LOG_S("name", name), LOG_S("error", strerrordesc_np(errno)));
}

static void use_configured(struct congestion *c, int fd, const char *configured)
{
    if (!set(fd, configured)) {
        warn("congestion_control_refused", configured);
        return;
    }
    snprintf(c->near, sizeof(c->near), "%s", configured);
    snprintf(c->far, sizeof(c->far), "%s", configured);
}

/* Only where a socket can be given NEAR and then the system's again: accepted ones are. */
static void use_standard(struct congestion *c, int fd)
{
    char standard[CONGESTION_NAME_MAX] = "";
    socklen_t n = sizeof(standard) - 1;

    if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, standard, &n) != 0 ||
        strncmp(standard, PACED, strlen(PACED)) != 0 || !set(fd, NEAR) || !set(fd, standard))
        return;
    snprintf(c->near, sizeof(c->near), "%s", NEAR);
    snprintf(c->far, sizeof(c->far), "%s", standard);
}

void congestion_init(struct congestion *c, const char *configured)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *c = (struct congestion){0};
    if (fd < 0) {
        if (configured && *configured)
            warn("congestion_control_refused", configured);
        return;
    }
    if (configured && *configured)
        use_configured(c, fd, configured);
    if (!*c->far)
        use_standard(c, fd);
    close(fd);
}

/* Quiet where it fails: the socket keeps what it has, and congestion_init() has tried. */
void congestion_before_connect(const struct congestion *c, int fd, const union addr *peer)
{
    if (*c->near && (!is_split(c) || addr_is_loopback(peer)))
        (void)set(fd, c->near);
}

void congestion_listen(const struct congestion *c, int fd)
{
    if (*c->near)
        (void)set(fd, c->near);
}

/* The system's may be forbidden meanwhile (tcp_allowed_congestion_control): who is far has NEAR
 * then, which works, and the log says so once. */
void congestion_accepted(const struct congestion *c, int fd, const union addr *peer)
{
    static _Atomic bool has_warned;

    if (!*c->far || (is_split(c) && addr_is_loopback(peer)) || set(fd, c->far))
        return;
    if (!atomic_exchange_explicit(&has_warned, true, memory_order_relaxed))
        warn("congestion_control_lost", c->far);
}
