/* udp_relay - the least that a relay of datagrams can be: recvmmsg, sendmmsg, one way, one client.
 *
 *     udp_relay LISTEN_PORT TARGET_PORT
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BATCH        64u
#define BYTES_MAX    65507u
#define BUFFER_BYTES (4 << 20)

static uint8_t bytes[BATCH][BYTES_MAX];

static int open_socket(const char *port, int (*attach)(int, const struct sockaddr *, socklen_t))
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = BUFFER_BYTES;

    if (fd < 0 || attach(fd, (struct sockaddr *)&at, sizeof(at)) != 0) {
        perror("udp_relay: socket");
        exit(1);
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    return fd;
}

int main(int argc, char **argv)
{
    struct mmsghdr messages[BATCH];
    struct iovec iov[BATCH];
    int in, out;

    if (argc != 3) {
        fprintf(stderr, "usage: udp_relay LISTEN_PORT TARGET_PORT\n");
        return 2;
    }
    in = open_socket(argv[1], bind);
    out = open_socket(argv[2], connect);
    for (;;) {
        int n;

        for (unsigned i = 0; i < BATCH; i++) {
            iov[i] = (struct iovec){.iov_base = bytes[i], .iov_len = sizeof(bytes[i])};
            messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
        }
        n = recvmmsg(in, messages, BATCH, MSG_WAITFORONE, NULL);
        if (n < 0 && errno != EINTR)
            return 1;
        for (int i = 0; i < n; i++)
            iov[i].iov_len = messages[i].msg_len;
        if (n > 0)
            (void)sendmmsg(out, messages, (unsigned)n, 0); /* what finds no room is lost */
    }
}
