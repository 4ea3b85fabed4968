/* socket - reading and writing TCP sockets, options that more than one place sets, and the limit of
 * open files. */
#ifndef LOOP_SOCKET_H
#define LOOP_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

/* readv(2) and writev(2) of a non-blocking socket that go on after EINTR and raise no SIGPIPE.
 * `count` > 0.  One piece, the rule with small requests, goes by recv(2) and send(2), which spares
 * the kernel a few per cent. */
ssize_t socket_read(int fd, const struct iovec *pieces, size_t count);
ssize_t socket_write(int fd, const struct iovec *pieces, size_t count);
/* The last bytes before the end: shutdown(2) or close(2) has to follow at once, which sends them
 * and the FIN as one segment. */
ssize_t socket_write_last(int fd, const struct iovec *pieces, size_t count);
/* A connect(2) under way has come to its end, well or not, though the loop may not have told yet:
 * one that was held up tells of the deadline first, and what came in time is not too late. */
bool socket_is_answered(int fd);

/* For a tunnel's connection, PROTOCOL's dead-path detection: keep-alive idle 3 s, interval 1 s,
 * 3 probes, TCP_USER_TIMEOUT 6 s; TCP_NODELAY; at most 128 KiB unsent in the kernel, so that a
 * frame of a higher tier does not queue behind megabytes. */
void socket_set_tunnel_options(int fd);
void socket_set_nodelay(int fd);
/* For a client or a target: a peer whose machine is gone is found out in two minutes though no byte
 * moves.  What a listener accepts inherits it. */
void socket_set_keepalive(int fd);
/* The next close() sends RST instead of FIN, also when it is the kernel that closes, after a
 * process that was killed.  What the peer has not got by then is thrown away. */
void socket_set_reset_on_close(int fd);
/* The next close() sends FIN, behind the bytes that wait: as in the beginning. */
void socket_set_fin_on_close(int fd);
/* The errno that waits to be told (SO_ERROR), which is told by it; 0: none. */
int socket_error(int fd);
/* Bytes that the peer has not acknowledged yet; 0 as well where it cannot be told. */
int socket_queued(int fd);
/* Raises the soft limit of open files to the hard one; what it is now (0: it cannot be read). */
unsigned long rlimit_raise_files(void);

#endif
