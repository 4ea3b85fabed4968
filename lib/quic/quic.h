/* quic - QUIC connections of one loop over its UDP sockets (RFC 9000, 9001, 9002, 9221): ngtcp2 and
 * GnuTLS behind a contract that knows streams, datagrams and credit, nothing else.
 *
 *   quic_port   the UDP sockets of one loop (IPv4, IPv6): reads bundles (recvmmsg, GRO), finds the
 *               connection by its id, sends bundles (GSO); server: Retry, stateless reset
 *   quic        one connection
 *
 * Who calls whom.  The port reads; what came is handed to the connection's owner through quic_ops,
 * from within ngtcp2, so those callbacks only take note (push into a queue, loop_again).  Of the
 * calls here they may make quic_set_user, quic_credit, quic_shutdown and quic_close, no other.
 * After a bundle, or when a timer of the connection is due, on_wake() comes once; the owner's pump
 * then calls quic_flush(), which asks for what is to be sent (next) until the congestion window,
 * the socket or the owner has no more.  ACKs, credit and all else that QUIC wants to send goes out
 * with quic_flush() only, so it must follow every on_wake(), and every call that has something to
 * send.
 *
 * Flow control is the owner's: ngtcp2's own tuning is off.  A stream starts with `stream_window`
 * and gets more by quic_credit().  What arrives in order is returned to the connection at once, so
 * its own limit, `connection_window` (`unproven_window` until quic_admit()), bounds only what came
 * out of order.
 *
 * One loop, its thread only.  A connection is freed by quic_free(), from anywhere but a callback
 * of quic_ops (there: quic_close()).
 */
#ifndef QUIC_QUIC_H
#define QUIC_QUIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/must.h"
#include "loop/addr.h"
#include "loop/loop.h"
#include "tls/tls.h"

#define QUIC_PIECES_MAX    8u
#define QUIC_KEY_BYTES     32u
#define QUIC_IDLE_MS       6000u /* a dead path ends in about that (api/tunnel.md, Dead paths) */
#define QUIC_KEEP_ALIVE_MS 2000u
#define QUIC_DATAGRAM      (-1) /* in quic_piece.stream: a DATAGRAM frame */

struct quic;
struct quic_port;

enum quic_congestion { QUIC_CUBIC, QUIC_BBR };

/* What goes next. */
struct quic_piece {
    int64_t stream; /* or QUIC_DATAGRAM: then it goes whole or not at all */
    size_t want;    /* set before next() is asked: more bytes of a stream don't fit the packet */
    size_t least; /* so is this: with fewer, if more are to follow at once, let it wait for them */
    struct iovec iov[QUIC_PIECES_MAX];
    size_t count; /* 0 with is_fin: an empty frame that ends the stream */
    bool is_fin;  /* the stream ends behind these bytes */
    void *user;   /* the owner's own: given back */
};

enum quic_refusal {
    QUIC_BLOCKED, /* the peer gave no credit for it: on_credit() comes */
    QUIC_GONE,    /* the stream is shut down, or was never open */
    QUIC_TOO_BIG, /* a datagram beyond quic_datagram_max() */
};

struct quic_ops {
    /* Something happened: run your pump (from the ready list), with quic_flush() in it. */
    void (*on_wake)(struct quic *q);
    /* The peer opened a stream: a first frame for it came, whichever that was.  What follows may
     * wait here for its first byte, which on_data() brings, on and on: an owner that has enough of
     * such streams shuts it down, and nothing is kept for it. */
    void (*on_open)(struct quic *q, int64_t stream);
    /* Bytes of a stream, in order; n may be 0 with is_fin.  `user` as set, NULL for a stream that
     * the peer just opened.  The first call for it comes with its first bytes.  0; -ERR_PROTO
     * closes the connection with `QUIC_CODE_PROTOCOL`. */
    int (*on_data)(struct quic *q, int64_t stream, void *user, const uint8_t *bytes, size_t n,
                   bool is_fin);
    /* The peer has n more bytes (from the front); those may be freed. */
    void (*on_acked)(struct quic *q, int64_t stream, void *user, uint64_t n);
    /* RESET_STREAM came: no more bytes follow. */
    void (*on_reset)(struct quic *q, int64_t stream, void *user, uint64_t code);
    /* STOP_SENDING came; what was sent is not wanted (ngtcp2 answers with RESET_STREAM).  ngtcp2
     * tells late: a piece of that stream is refused as QUIC_GONE meanwhile, and this comes with its
     * code right before on_closed(), also where the code is the owner's own (quic_shutdown) or was
     * told by on_reset() already.  Up to 1.19 it has no word for it (its stream_stop_sending is for
     * the one that we send; recv_stop_sending, which would be it, is not released), so one that
     * comes alone is seen with the next bytes for that stream.  quic_shutdown() sends both frames.
     */
    void (*on_stop)(struct quic *q, int64_t stream, void *user, uint64_t code);
    /* Both directions are over and acknowledged, or it was shut down: none of its bytes is touched
     * any more. */
    void (*on_closed)(struct quic *q, int64_t stream, void *user);
    /* The peer takes bytes of the stream up to this offset now (from its first byte). */
    void (*on_credit)(struct quic *q, int64_t stream, void *user, uint64_t upto);
    void (*on_datagram)(struct quic *q, const uint8_t *bytes, size_t n);

    /* From within quic_flush(), only once the handshake is complete: fills *piece, or false:
     * nothing (more) to send.  Asked again and again until false; the bytes of a stream's piece
     * stay where they are until on_acked().  A piece that gets neither on_written() nor
     * on_refused() did not fit: it is asked for again. */
    bool (*next)(struct quic *q, struct quic_piece *piece);
    /* n bytes of the piece (all of them: its FIN too) are in a packet.  A datagram: n is all. */
    void (*on_written)(struct quic *q, const struct quic_piece *piece, size_t n);
    /* It cannot go now, or never: next() must not give the same again until something changed. */
    void (*on_refused)(struct quic *q, const struct quic_piece *piece, enum quic_refusal why);
};

/* Application error codes of CONNECTION_CLOSE (api/tunnel.md, QUIC transport). */
enum quic_code { QUIC_CODE_NONE = 0, QUIC_CODE_PROTOCOL = 1, QUIC_CODE_REFUSED = 2 };

/* What every connection of a port has in common. */
struct quic_params {
    enum quic_congestion congestion;
    uint64_t stream_window; /* initial credit of a stream, each direction */
    uint64_t streams_bidi;  /* that the peer may have open at once; replenished as they close */
    uint64_t streams_uni;
    /* What may wait here for a lost packet in front of it, over all streams; 0: no limit.  What is
     * told by on_data() counts no longer. */
    uint64_t connection_window;
    /* Until quic_admit(): one bidirectional stream, and as much of the above; 0: no such time. */
    uint64_t unproven_window;
    uint32_t idle_ms, keep_alive_ms, handshake_ms;
    const char *qlog_dir; /* borrowed; NULL or "": none.  One file a connection, <dir>/<id>.sqlog */
};

/* --- the port ---------------------------------------------------------------------------- */

enum quic_verdict {
    QUIC_ACCEPT,
    QUIC_RETRY, /* prove the address first (RFC 9000, 8.1.2); never for one that has */
    QUIC_REFUSE /* no answer */
};

struct quic_port_ops {
    /* Server: a first Initial.  Cheap: a flood comes by here.  `is_validated`: it brought a token
     * of our Retry. */
    enum quic_verdict (*on_initial)(void *arg, const union addr *peer, bool is_validated);
    /* Server: a connection begins; quic_own() must follow before this returns.  False: there is no
     * memory for its owner, and quic_free() was called instead. */
    bool (*on_accept)(void *arg, struct quic *q);
};

struct quic_port_options {
    struct loop *loop; /* borrowed */
    const int *fds;    /* moved, also when it fails: 1 or 2 bound, non-blocking UDP sockets */
    unsigned fd_count;
    struct tls_ctx *tls;   /* server: counted; NULL: a port that only dials */
    unsigned index, count; /* first byte of our connection ids = index (mod count) */
    uint8_t reset_key[QUIC_KEY_BYTES], retry_key[QUIC_KEY_BYTES]; /* of the whole process */
    struct quic_params params;
    const struct quic_port_ops *ops; /* borrowed; NULL: only dials */
    void *arg;
};

/* Binds `count` UDP sockets on one address with SO_REUSEPORT and a program that picks the socket by
 * the first byte of the destination connection id (mod count), all or none: 4 MiB of buffers where
 * the system allows it, V6ONLY, IP_PKTINFO, GRO.  Port 0: the kernel's.  count 1: no REUSEPORT.
 * 0, or -errno. */
MUST_USE int quic_bind(const union addr *at, unsigned count, int *fds, union addr *bound);
/* 0, -ERR_NOMEM, -ERR_SYS. */
MUST_USE int quic_port_new(struct quic_port **out, const struct quic_port_options *options);
/* Its connections must be freed before.  Fine with NULL. */
void quic_port_free(struct quic_port *port);

/* Counters of the port; single writer, its loop. */
struct quic_port_stats {
    uint64_t datagrams_in, datagrams_out, bytes_in, bytes_out;
    uint64_t reads, sends; /* system calls */
    uint64_t retries, resets_sent, refused, unknown, malformed;
    uint64_t mtu_lost; /* connections whose large packets vanish on the way: they send small ones */
    uint64_t gso_off;  /* paths that lost GSO: the kernel or the interface refused it */
    uint64_t refusals; /* dialled connections that ended since the network refused their packets */
    uint64_t
        refusals_ignored; /* such words that ended none by themselves: it is up, or not quoted */
    uint64_t send_errors, dropped; /* of a datagram: counted, never fatal */
    uint64_t starved;              /* connections that ended since they were refused more memory */
    uint64_t migrations;           /* peers that came from another address, validated */
    uint32_t recv_buffer, send_buffer; /* what the kernel really gave, bytes */
};
const struct quic_port_stats *quic_port_stats(const struct quic_port *port);
unsigned
quic_port_unvalidated(const struct quic_port *port); /* connections before their handshake */

/* --- connections --------------------------------------------------------------------------- */

struct quic_dial_options {
    struct tls_ctx *tls; /* counted */
    const union addr *peer;
    const char *server_name;    /* SNI and CA check; or NULL */
    const struct quic_ops *ops; /* borrowed */
    void *owner;                /* borrowed */
    uint8_t first_byte; /* of the first destination id: which worker of the server gets it */
};

/* Client.  Nothing is sent before quic_flush().  0, -ERR_NOMEM, -ERR_TLS, -ERR_SYS (no socket of
 * that family). */
MUST_USE int quic_dial(struct quic **out, struct quic_port *port,
                       const struct quic_dial_options *options);
void quic_own(struct quic *q, const struct quic_ops *ops, void *owner);
void *quic_owner(const struct quic *q);

/* Lends what a connection needs beyond what it has for nothing: its window (unproven_window until
 * quic_admit(), then connection_window) and quic_memory.h's allowance beside it.  Called from
 * within ngtcp2.  A connection that is refused ends with -ERR_NOMEM. */
struct quic_lender {
    bool (*take)(void *arg, uint64_t n); /* false: no */
    void (*give)(void *arg, uint64_t n);
};
/* The lender from now on; what the last one lent goes back at once, as it does in quic_free().
 * NULL: none. */
void quic_set_lender(struct quic *q, const struct quic_lender *lender, void *arg);

/* Sends what there is.  IO_OK: nothing is left.  IO_WAIT: window, pacing or socket; on_wake() will
 * come.  IO_EOF: the peer closed (quic_error()).  IO_FAIL: it is over (quic_error()). */
MUST_USE enum io quic_flush(struct quic *q);
/* The peer has proved who it is: from now on it has what `params` say.  Once. */
void quic_admit(struct quic *q);
bool quic_is_secure(
    const struct quic *q); /* the handshake is complete: streams and exporter work */
/* CONNECTION_CLOSE with this code, sent at once; then nothing comes and quic_flush() fails. */
void quic_close(struct quic *q, enum quic_code code, const char *reason);
/* Closes first when it was open.  The port answers late packets for a while (RFC 9000, 10.2). */
void quic_free(struct quic *q);

/* The next bidirectional (unidirectional) stream.  0, -ERR_LIMIT (the peer allows no more now, or
 * the handshake is not complete), -ERR_NOMEM. */
MUST_USE int quic_open(struct quic *q, int64_t *stream, void *user);
MUST_USE int quic_open_uni(struct quic *q, int64_t *stream, void *user);
void quic_set_user(struct quic *q, int64_t stream, void *user);
/* RESET_STREAM and STOP_SENDING with this code.  Fine when it is gone.  Without memory for that, or
 * for any of these four, the connection ends: on_wake() comes. */
void quic_shutdown(struct quic *q, int64_t stream, uint64_t code);
/* The peer may send n bytes more of it.  Fine when it is gone. */
void quic_credit(struct quic *q, int64_t stream, uint64_t n);

/* --- what it knows --- */

size_t quic_datagram_max(const struct quic *q); /* payload of the largest DATAGRAM now; 0: none */
/* What a stream of the peer, and one of ours, begins with: the transport parameters of both. */
uint32_t quic_window(const struct quic *q);
uint64_t quic_peer_window(const struct quic *q); /* after the handshake */
const union addr *quic_peer(const struct quic *q);
/* Server: that its peer is at that address is no mere claim: it answered our Retry, or its
 * handshake is complete (RFC 9000, 8.1). */
bool quic_is_validated(const struct quic *q);
int quic_exporter(const struct quic *q,
                  uint8_t out[TLS_EXPORTER_BYTES]); /* RFC 9266; 0, -ERR_TLS */
const char *quic_alpn(const struct quic *q);
const char *quic_cipher(const struct quic *q);
/* As tls_peer_times(). */
MUST_USE int quic_peer_times(const struct quic *q, int64_t *not_before, int64_t *not_after);
/* 0 in order, or the first error: -ERR_TIMEOUT (idle or handshake), -ERR_CONNECT (the network
 * refused it: before it was secure, or with silence behind it), -ERR_CLOSED (the peer closed),
 * -ERR_PROTO, -ERR_TLS, -ERR_CERT, -ERR_RESET (stateless reset), -ERR_NOMEM; and a sentence. */
int quic_error(const struct quic *q);
const char *quic_error_text(const struct quic *q);

struct quic_stats {
    uint64_t bytes_in, bytes_out; /* of UDP payload */
    uint64_t packets_in, packets_out;
    uint64_t packets_lost; /* with bytes of streams that are closed by now, or with a datagram */
    uint64_t bytes_full;  /* of bytes_out, in packets that were more than half full: no mere ACKs */
    uint64_t bytes_acked; /* of streams, in order, and of datagrams: the peer has them */
    uint64_t waiting_us;  /* how long there was more to send than the path let go */
    uint64_t stalled_us;  /* since when bytes of streams are under way and none was acknowledged */
    uint64_t cwnd, in_flight;
    uint32_t rtt_us, min_rtt_us, mtu; /* mtu: UDP payload of a packet now */
    bool has_gso;
    uint64_t migrations; /* the peer's address changed and was validated */
};
void quic_stats(const struct quic *q, struct quic_stats *out);

#endif
