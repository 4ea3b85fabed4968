/* tls_pair - two real TLS connections over real sockets in one test: a client and a server of
 * lib/tls, or one of them against a bare GnuTLS session.
 *
 *   PAIR_DIRECT    client ==socketpair== server
 *   PAIR_RELAYED   client ==socketpair== (client_wire) the test (server_wire) ==socketpair== server
 *   PAIR_TCP       client ==loopback==== server
 */
#ifndef SUPPORT_TLS_PAIR_H
#define SUPPORT_TLS_PAIR_H

#include <gnutls/gnutls.h>

#include "buf/chunk.h"
#include "tls/tls.h"

enum pair_kind { PAIR_DIRECT, PAIR_RELAYED, PAIR_TCP };

struct tls_pair {
    struct chunk_pool pool;
    struct tls *client, *server;  /* owned; NULL where the test has a session of its own */
    int client_fd, server_fd;     /* what the connections use, non-blocking */
    int client_wire, server_wire; /* the test's ends when relayed, else -1 */
};

/* Sockets and pool; the smallest send buffers when `sndbuf` is 1, else that many bytes, 0: default.
 */
void tls_pair_open(struct tls_pair *p, enum pair_kind kind, int sndbuf);
/* Both connections; a NULL context leaves that side to the test. */
void tls_pair_join(struct tls_pair *p, struct tls_ctx *client, const char *name,
                   struct tls_ctx *server, void *select_arg);
/* Frees all, and checks that every chunk came back. */
void tls_pair_close(struct tls_pair *p);

/* Waits until one of the descriptors is ready for what its connection wants. */
void tls_pair_wait(const struct tls_pair *p);
/* Both handshakes to their ends (each IO_OK or IO_FAIL); a side that fails shuts its socket. */
void tls_pair_handshake(struct tls_pair *p, enum io *client, enum io *server);
/* The same, and both must succeed. */
void tls_pair_agree(struct tls_pair *p);

/* Moves at most `max` bytes from one wire to the other; how many (0: nothing there). */
size_t tls_pair_forward(int from, int to, size_t max);
/* Reads exactly n bytes of what a connection sent. */
void tls_pair_collect(int wire, uint8_t *out, size_t n);
void tls_pair_put(int wire, const uint8_t *bytes, size_t n);

/* One message through, whole, byte for byte. */
void tls_pair_send(struct tls_pair *p, struct tls *from, struct tls *to, const char *text);
/* Waits for the next plaintext, the end, or the failure. */
enum io tls_pair_read(struct tls_pair *p, struct tls *t, const uint8_t **bytes, size_t *n);

/* A server context for one self-signed certificate, and a client context that checks nothing. */
struct tls_ctx *tls_pair_server_ctx(enum tls_versions versions, const char *const *alpn,
                                    const char *name);
struct tls_ctx *tls_pair_client_ctx(enum tls_versions versions, const char *const *alpn);

/* A bare GnuTLS client on fd, which offers what `priority` says. */
struct raw_client {
    gnutls_session_t session; /* owned */
    gnutls_certificate_credentials_t creds;
};

void raw_client_open(struct raw_client *raw, int fd, const char *priority, const char *sni);
void raw_client_close(struct raw_client *raw);
/* Both ends' handshakes: the raw client's GnuTLS code, the server's enum io. */
int raw_client_handshake(struct raw_client *raw, struct tls_pair *p, enum io *server);

#endif
