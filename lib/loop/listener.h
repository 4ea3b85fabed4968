/* listener - TCP listening sockets: bound for all workers of a port or for none, accepted by each
 * worker with its own acceptor.
 *
 * The control thread binds (listen_bind); SO_REUSEPORT gives each worker a socket of its own.
 * An acceptor takes connections in batches.  When the process is out of descriptors it uses its
 * spare one to accept and close (so that the client learns of it at once instead of hanging), then
 * pauses for 100 ms; it never spins.
 */
#ifndef LOOP_LISTENER_H
#define LOOP_LISTENER_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "loop/loop.h"

union addr {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_storage storage;
};

#define ADDR_TEXT_MAX 64 /* "[ipv6%scope]:port" and its end */

/* "192.0.2.1:443", "[2001:db8::1]:443", "[::]:443", ":443" (= [::]:443).  0, -ERR_SYNTAX. */
MUST_USE int addr_parse(union addr *out, const char *text);
/* Writes "192.0.2.1:443" or "[2001:db8::1]:443"; an IPv4-mapped address as IPv4. */
const char *addr_format(const union addr *a, char out[ADDR_TEXT_MAX]);
/* The address alone, without port and brackets. */
const char *addr_format_host(const union addr *a, char out[ADDR_TEXT_MAX]);
socklen_t addr_len(const union addr *a);
uint16_t addr_port(const union addr *a);
void addr_set_port(union addr *a, uint16_t port);
/* ::ffff:192.0.2.1 becomes 192.0.2.1. */
void addr_unmap(union addr *a);
bool addr_is_same(const union addr *a, const union addr *b);      /* with port */
bool addr_is_same_host(const union addr *a, const union addr *b); /* without */

/* Binds and listens `count` sockets on one address (SO_REUSEPORT when count > 1, V6ONLY, O_NONBLOCK,
 * CLOEXEC), all or none.  Port 0 takes one port for all; *bound tells which.
 * 0, or -errno of the first failure. */
MUST_USE int listen_bind(const union addr *at, unsigned count, int *fds, union addr *bound);
/* For an address that means "any" ([::]): a second set on 0.0.0.0, same port.  A machine without
 * IPv6 gets the second set only.  fds has room for 2 * count; *sets tells how many sets were bound.
 * 0, or -errno. */
MUST_USE int listen_bind_any(const union addr *at, unsigned count, int *fds, unsigned *sets,
                             union addr *bound);

struct acceptor {
    struct loop_io io;
    struct deadline pause;
    int fd;       /* owned, -1 when closed */
    int spare_fd; /* owned: /dev/null, given up for a moment when descriptors run out */
    bool is_stopped;
    uint64_t accepted, exhausted; /* counters */
    /* The descriptor is the callee's; it is non-blocking, with TCP_NODELAY. */
    void (*on_accept)(struct acceptor *a, int fd, const union addr *peer);
};

/* Takes `fd` over. */
void acceptor_init(struct acceptor *a, struct loop *loop, int fd,
                   void (*on_accept)(struct acceptor *a, int fd, const union addr *peer));
void acceptor_start(struct acceptor *a);
void acceptor_stop(struct acceptor *a); /* accepts no more for now; what is queued waits */
void acceptor_fini(struct acceptor *a); /* closes; fine twice */

/* Dead-path detection of PROTOCOL: keep-alive idle 3 s, interval 1 s, TCP_USER_TIMEOUT 6 s. */
void socket_set_tunnel_options(int fd, const char *congestion);
/* The next close() sends RST instead of FIN. */
void socket_set_reset_on_close(int fd);
/* Raises the soft limit of open files to the hard one; what it is now. */
unsigned long rlimit_raise_files(void);

#endif
