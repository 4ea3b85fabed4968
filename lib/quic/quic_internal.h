/* quic_internal - what the files of this module share: the sockets, the port, the connection, and
 * the few calls that cross them.  Nobody outside lib/quic includes it but its tests; ngtcp2's types
 * stay behind it.
 *
 *   quic_bind    sockets, and which worker's socket a packet goes to
 *   quic_port    reading; which connection a packet is for; what strangers get
 *   quic_route   the table behind that
 *   quic_retry   answers that need no connection: Retry, reset, version negotiation
 *   quic_refusal what the network says of packets that we sent
 *   quic_ids     under which ids a connection is known, and what late packets get when it is gone
 *   quic_begin   how a connection begins, as a server and as a client
 *   quic_conn    its life: read, timed, closed
 *   quic_events  what ngtcp2 tells, handed to the owner
 *   quic_flush   packets made of what the owner has
 *   quic_memory  what ngtcp2 may hold for it
 *   quic_mtu     how large they may be
 *   quic_send    packets into bundles, bundles into the kernel
 *   quic_qlog    one file of events a connection
 */
#ifndef QUIC_QUIC_INTERNAL_H
#define QUIC_QUIC_INTERNAL_H

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/list.h"
#include "base/log.h"
#include "quic/quic.h"
#include "quic/quic_memory.h"
#include "quic/quic_route.h"

#define QUIC_ID_BYTES       12u    /* of our connection ids: 1 for the worker, 11 random */
#define QUIC_ROUTES_MAX     32u    /* of a connection: ids of its own, reset tokens of its peer */
#define QUIC_PACKET_BYTES   65000u /* the largest datagram that is sent: path MTU permitting */
#define QUIC_BUNDLE_BYTES   65507u /* of one send: what IPv4 carries */
#define QUIC_SEGMENTS_MAX   64u    /* the kernel's own bound */
#define QUIC_DATAGRAM_MAX   65535u /* of a DATAGRAM frame that we take */
#define QUIC_CLOSE_BYTES    1252u
#define QUIC_LATE_MAX       1024u /* closed connections whose late packets are known, a port */
#define QUIC_ERROR_TEXT_MAX 160u
#define QUIC_RESETS_PER_SEC 1000u
#define QUIC_MS             ((uint64_t)NGTCP2_MILLISECONDS)

/* From where to where a datagram goes.  `from` of family AF_UNSPEC: the kernel chooses. */
struct quic_hop {
    union addr to, from;
};

/* Packets to one peer that leave in one system call: all as long as the first, the last may be
 * shorter.  Behind them there may be one more packet, the begin of the next bundle. */
struct quic_bundle {
    uint8_t *bytes; /* owned: QUIC_BUNDLE_BYTES + QUIC_PACKET_BYTES */
    size_t len, segment;
    unsigned count;
    bool is_complete; /* its last packet is a shorter one */
    struct quic_hop hop;
    size_t next_len;
    struct quic_hop next_hop;
};

struct quic_socket {
    struct loop_io io;
    struct quic_port *port; /* borrowed */
    int fd;                 /* owned; -1: none */
    union addr bound;
    struct quic_bundle bundle;
    bool is_blocked; /* the bundle waits until the kernel takes it */
};

struct quic_read_buffers;

struct quic_port {
    struct loop *loop; /* borrowed */
    struct quic_socket sockets[2];
    unsigned socket_count;
    struct tls_ctx *tls; /* counted; or NULL */
    unsigned index, count;
    uint8_t reset_key[QUIC_KEY_BYTES], retry_key[QUIC_KEY_BYTES];
    struct quic_params params;
    const struct quic_port_ops *ops; /* borrowed */
    void *arg;
    struct route_table routes;
    struct list conns;   /* struct quic.node */
    struct list touched; /* struct quic.touched: on_wake() is due */
    struct list waiting; /* struct quic.waiting: for a socket that is full */
    struct list late;    /* struct quic_ids.node, the oldest first */
    unsigned late_count, unvalidated;
    struct deadline late_timer;
    struct quic_read_buffers *buffers; /* owned */
    uint64_t now_ns;                   /* never goes back */
    uint64_t resets_since_ns, resets_count;
    struct quic_port_stats stats;
    struct log_limit qlog_complaints;
    /* sendmsg(2), or what a test puts in its place. */
    ssize_t (*send)(int fd, const struct msghdr *message, int flags);
};

/* The ids under which a connection is known.  They outlive it. */
struct quic_ids {
    struct quic *q;   /* borrowed; NULL: it is over, only late packets come */
    struct list node; /* in the port's `late` */
    uint64_t until_ns;
    uint8_t
        *farewell; /* owned: the packet that closed it; NULL: the peer closed, nothing answers */
    size_t farewell_len;
    unsigned late_packets;
    struct route routes[QUIC_ROUTES_MAX];
};

enum conn_state {
    CONN_SHAKING, /* handshake */
    CONN_OPEN,
    CONN_CLOSING, /* a callback asked for the end: it comes when ngtcp2 returns */
    CONN_OVER,    /* nothing more is read or sent */
};

/* Whether what is sent arrives (quic_mtu.c). */
struct quic_progress {
    size_t packet_max;   /* the largest packet that is written */
    uint64_t unacked;    /* bytes of streams that are not acknowledged; an estimate */
    uint64_t since_ns;   /* when one was, or nothing was under way */
    uint64_t packets_in; /* at that time */
};

/* That the peer's process is gone (quic_refusal.c). */
struct quic_suspicion {
    uint64_t until_ns;   /* 0: there is none */
    uint64_t packets_in; /* when it began */
};

struct quic {
    struct quic_port *port;    /* borrowed */
    struct quic_socket *sock;  /* borrowed: of the path's family */
    ngtcp2_conn *conn;         /* owned */
    struct quic_memory memory; /* of it */
    ngtcp2_crypto_conn_ref ref;
    struct tls *tls;      /* owned */
    struct quic_ids *ids; /* owned until it is over */
    bool is_server, has_gso;
    bool is_retried; /* its first Initial brought a token of our Retry */
    enum conn_state state;
    const struct quic_ops *ops; /* borrowed */
    void *owner;                /* borrowed */
    bool is_inside;             /* ngtcp2 is on the stack */
    struct deadline timer;
    struct ready again; /* a flush had more than its share */
    struct list node, touched, waiting;
    union addr peer;
    struct quic_progress progress;
    struct quic_suspicion suspicion;
    ngtcp2_ccerr last; /* what CONNECTION_CLOSE says */
    char reason[64];   /* behind it */
    bool is_by_peer;   /* the peer ended it in order */
    int error;
    char error_text[QUIC_ERROR_TEXT_MAX];
    FILE *qlog;                /* owned; or NULL */
    uint64_t waiting_since_ns; /* there is more to send than the path lets go; 0: there is not */
    struct quic_stats stats;
};

/* A datagram that came. */
struct quic_datagram {
    struct quic_socket *sock;
    const uint8_t *bytes;
    size_t len;
    union addr peer, local; /* local: what it was sent to */
};

/* --- quic_port --- */
/* Monotonic, in ns; never goes back. */
uint64_t quic_now(struct quic_port *port);
/* A datagram came: to whom it belongs it goes. */
void quic_port_take(struct quic_port *port, const struct quic_datagram *d);
/* on_wake() is due, once the bundle is read. */
void quic_touch(struct quic *q);
void quic_wake_touched(struct quic_port *port);
/* Of that family; or NULL. */
struct quic_socket *quic_port_socket(struct quic_port *port, sa_family_t family);
/* A new id of ours: its first byte says which worker. */
void quic_port_make_id(const struct quic_port *port, ngtcp2_cid *id);
void quic_port_set_send(struct quic_port *port,
                        ssize_t (*send)(int fd, const struct msghdr *message, int flags));

/* --- quic_ids --- */
struct quic_ids *quic_ids_new(struct quic *q); /* or NULL */
/* False: no room, or somebody else has it. */
bool quic_ids_add(struct quic_port *port, struct quic_ids *ids, enum route_kind kind,
                  const uint8_t *key, size_t key_len);
void quic_ids_remove(struct quic_port *port, struct quic_ids *ids, enum route_kind kind,
                     const uint8_t *key, size_t key_len);
void quic_ids_free(struct quic_port *port, struct quic_ids *ids);
/* The connection is over: known for `ns` more. */
void quic_ids_retire(struct quic_port *port, struct quic_ids *ids, uint64_t ns);
/* A packet for a connection that is over. */
void quic_ids_answer(struct quic_port *port, struct quic_ids *ids, const struct quic_datagram *d);
void quic_ids_init(struct quic_port *port);
void quic_ids_fini(struct quic_port *port);

/* --- quic_retry --- */
enum quic_token { TOKEN_NONE, TOKEN_GOOD, TOKEN_BAD };
/* Whether the Initial brought a token of our Retry; the id that the client dialled first. */
enum quic_token quic_retry_check(const struct quic_port *port, const ngtcp2_pkt_hd *hd,
                                 const union addr *peer, ngtcp2_cid *original);
void quic_retry_send(struct quic_port *port, const struct quic_datagram *d,
                     const ngtcp2_pkt_hd *hd);
void quic_retry_refuse_token(struct quic_port *port, const struct quic_datagram *d,
                             const ngtcp2_pkt_hd *hd);
void quic_reset_send(struct quic_port *port, const struct quic_datagram *d, const uint8_t *id);
void quic_reset_token(const struct quic_port *port, const ngtcp2_cid *id,
                      uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN]);
void quic_version_send(struct quic_port *port, const struct quic_datagram *d,
                       const ngtcp2_version_cid *of);

/* --- quic_refusal --- */
/* The kernel is to tell. */
void quic_refusal_watch(const struct quic_socket *s);
/* It has something to tell, or not. */
void quic_refusal_read(const struct quic_socket *s);
/* When a suspicion is to be looked at; UINT64_MAX: there is none. */
uint64_t quic_refusal_due_ns(const struct quic *q);
void quic_refusal_on_timer(struct quic *q, uint64_t now_ns); /* may end it */

/* --- quic_begin --- */
/* `original` is set when the client came back from our Retry.  NULL: no memory. */
struct quic *quic_new_server(struct quic_port *port, const struct quic_datagram *d,
                             const ngtcp2_pkt_hd *hd, const ngtcp2_cid *original);

/* --- quic_conn --- */
/* All but what ngtcp2 and GnuTLS keep of it.  NULL: no memory. */
struct quic *quic_alloc(struct quic_port *port, struct quic_socket *sock, const union addr *peer,
                        bool is_server);
void quic_discard(struct quic *q); /* one that never began */
/* False: it is over. */
bool quic_read(struct quic *q, const struct quic_datagram *d);
void quic_note(struct quic *q, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* ngtcp2 said so, while reading, writing or at a timer: ends the connection. */
void quic_fail(struct quic *q, int liberr);
/* Nobody is there, the network says: ends it without a word. */
void quic_refuse(struct quic *q);
/* What a callback asked for while ngtcp2 was on the stack. */
void quic_settle(struct quic *q);
void quic_arm(struct quic *q, uint64_t now_ns);
void quic_became_secure(struct quic *q);
bool quic_is_over(const struct quic *q);

/* --- quic_events --- */
extern const ngtcp2_callbacks quic_callbacks;

/* --- quic_mtu --- */
void quic_mtu_init(struct quic *q, ngtcp2_settings *settings);
void quic_mtu_on_path(struct quic *q);  /* another path: everything is possible again */
void quic_mtu_on_reset(struct quic *q); /* a stream ended before its bytes were through */
void quic_mtu_on_written(struct quic *q, size_t n);
void quic_mtu_on_acked(struct quic *q, uint64_t n);
void quic_mtu_on_timer(struct quic *q, uint64_t now_ns);
/* UDP payload of a packet now. */
size_t quic_mtu(const struct quic *q);

/* --- quic_send --- */
/* 0, -ERR_NOMEM. */
MUST_USE int quic_bundle_init(struct quic_bundle *b);
void quic_bundle_fini(struct quic_bundle *b);
/* Where the next packet is to be written: QUIC_PACKET_BYTES are free there.  Not while blocked. */
uint8_t *quic_bundle_tail(struct quic_socket *s);
/* How many bytes of packets so large a bundle takes. */
size_t quic_bundle_room(size_t packet);
/* n bytes were written there.  IO_OK; IO_WAIT: they are kept, the socket is full. */
enum io quic_bundle_add(struct quic_socket *s, struct quic *q, size_t n,
                        const struct quic_hop *hop);
/* IO_OK: nothing is left; IO_WAIT.  `q` is whose packets these are, or NULL: not known any more. */
enum io quic_bundle_flush(struct quic_socket *s, struct quic *q);
/* One datagram, now; dropped when the socket is full. */
void quic_send_one(struct quic_socket *s, const uint8_t *bytes, size_t n,
                   const struct quic_hop *hop);
void quic_hop_of_path(struct quic_hop *hop, const struct quic *q, const ngtcp2_path *path);

/* --- quic_qlog --- */
void quic_qlog_open(struct quic *q, const ngtcp2_cid *id);
void quic_qlog_write(void *user_data, uint32_t flags, const void *bytes, size_t n);

#endif
