/* quic_pair - real QUIC connections over real sockets in one test: a server's port and a client's
 * on one loop, and an owner for each connection that sends and takes what a test asks for.
 *
 * Every stream carries the same bytes (quic_pair_content), so what arrives is checked by its
 * offset.  Nothing sleeps: quic_pair_until() runs the loop until a condition holds, and fails the
 * test when that takes too long.
 */
#ifndef SUPPORT_QUIC_PAIR_H
#define SUPPORT_QUIC_PAIR_H

#include "quic/quic.h"
#include "quic/quic_internal.h"

#define QUIC_PAIR_CONTENT (12u << 20)
#define QUIC_PAIR_STREAMS 8u
#define QUIC_PAIR_ENDS    40u
#define QUIC_PAIR_ALPN    "penstock-test"

struct quic_pair;

/* One stream as one end sees it. */
struct quic_pair_stream {
    int64_t id;
    bool is_used;
    bool is_there; /* opened by this end, or heard of: what a test wants of it may go */
    uint64_t want, sent, acked; /* to send in all, so far, acknowledged */
    bool has_fin;               /* the end is to be sent behind `want` */
    bool is_fin_sent, is_blocked, is_gone;
    uint64_t credit_upto;
    uint64_t got, bad; /* bytes that came; those that were wrong */
    bool is_fin, is_reset, is_stopped, is_closed;
    uint64_t reset_code, stop_code;
};

/* One end of a connection: its owner. */
struct quic_pair_end {
    struct quic *q; /* owned; NULL when it is freed */
    struct quic_pair *pair;
    struct ready run;
    struct quic_pair_stream streams[QUIC_PAIR_STREAMS];
    bool is_withholding; /* gives no credit back */
    bool is_picky;       /* takes no bytes: -ERR_PROTO */
    uint64_t datagrams_to_send, datagrams_sent, datagrams_got, datagrams_bad, datagrams_too_big;
    size_t datagram_len;
    enum io last; /* of quic_flush() */
    unsigned wakes;
    unsigned opened; /* streams, by the other end */
};

struct quic_pair {
    struct loop *loop;
    struct quic_port *server_port, *client_port;
    union addr server_at;
    struct tls_ctx *server_tls, *client_tls;
    struct quic_params params;
    enum quic_verdict verdict, validated_verdict;
    unsigned initials, validated;
    struct quic_pair_end client, server;
    struct quic_pair_end more[QUIC_PAIR_ENDS]; /* further connections that the server took */
    unsigned accepted;
    int raw; /* a socket of no connection, connected to the server; or -1 */
    bool (*until)(struct quic_pair *p);
    bool is_polling;
    struct deadline give_up;
    struct ready check;
};

extern const struct quic_ops quic_pair_ops;

const uint8_t *quic_pair_content(void);
/* Contexts, loop and ports; change `params` between begin and open. */
void quic_pair_begin(struct quic_pair *p);
void quic_pair_open(struct quic_pair *p);
/* A client's connection to the server, under way. */
void quic_pair_dial(struct quic_pair *p);
/* Begin, open, dial, and both ends secure. */
void quic_pair_start(struct quic_pair *p);
void quic_pair_close(struct quic_pair *p);

void quic_pair_until(struct quic_pair *p, bool (*until)(struct quic_pair *p));
/* The same, asked in every turn: for what no owner is woken for. */
void quic_pair_poll(struct quic_pair *p, bool (*until)(struct quic_pair *p));
bool quic_pair_is_secure(struct quic_pair *p);

/* The stream of that id at this end; made when it is new. */
struct quic_pair_stream *quic_pair_stream(struct quic_pair_end *end, int64_t id);
/* Opens one that sends n bytes. */
struct quic_pair_stream *quic_pair_send(struct quic_pair_end *end, uint64_t n, bool has_fin);
void quic_pair_wake(struct quic_pair_end *end);
void quic_pair_free_end(struct quic_pair_end *end);
/* Bytes to the server from a socket of no connection; and what comes back there: its length, or 0
 * when the server did not answer all that it got. */
void quic_pair_raw_send(struct quic_pair *p, const void *bytes, size_t n);
size_t quic_pair_raw_recv(struct quic_pair *p, void *to, size_t n);
/* A UDP port for dialling on loopback. */
struct quic_port *quic_pair_new_client_port(struct quic_pair *p);
struct quic_port *quic_pair_new_server_port(struct quic_pair *p, const union addr *at);

#endif
