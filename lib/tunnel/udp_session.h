/* udp_session - the datagrams between one client's address and one public port, inside a tunnel.
 *
 * It lives inside its owner (the edge's flow, the hub's socket to a target) and belongs to one lane
 * from its UDP_OPEN until it is closed:
 *
 *   IDLE -> OPEN -> CLOSED      by either side, or with the lane; udp_session_init() makes it IDLE
 *
 * Datagrams that wait to go out are queued here, whole, in chunks of the loop's pool; a transport's
 * codec only drains the queue (udp_session_peek(), udp_session_taken()).  There is no flow control:
 * a queue that is full drops its oldest, and what waited too long is dropped when its turn comes.
 * Whatever is dropped is counted by its reason.  What comes in is not queued: on_datagram() gets
 * it.
 *
 * on_datagram() and on_closed() only take note: they call nothing here.  All functions are for the
 * loop of the lane.  (api/tunnel.md, UDP sessions)
 */
#ifndef TUNNEL_UDP_SESSION_H
#define TUNNEL_UDP_SESSION_H

#include <stdbool.h>
#include <sys/uio.h>

#include "base/list.h"
#include "buf/bufq.h"
#include "tunnel/budget.h"
#include "tunnel/udp_charge.h"
#include "wire/proxy.h"

struct lane;

#define UDP_DATAGRAM_MAX 65507u /* the most that IPv4 carries */
#define UDP_FRAME_AGE_MS 200u   /* on a reliable transport nothing older than this is sent */
#define UDP_AGE_ANY      UINT64_MAX
#define UDP_PIECES_MAX   6u                       /* chunks that a datagram can touch */
#define UDP_QUEUE_MIN    (UDP_DATAGRAM_MAX + 16u) /* less could never hold the largest one */

enum udp_state { UDP_IDLE, UDP_OPEN, UDP_CLOSED };

/* Why it was closed; the first two travel as the payload of UDP_CLOSE. */
enum udp_end {
    UDP_END_ORDERLY = 0x00,
    UDP_END_NOT_ALLOWED = 0x03,
    UDP_END_LANE_LOST = 0x100, /* told to the owner only */
    UDP_END_LIMIT = 0x101,     /* limits.udpSessions: it never opened */
    UDP_END_NO_MEMORY = 0x102,
};

/* Why a datagram was dropped: the label of a counter.  The last ones are for what lies outside of
 * tunnels, so that edge and hub use one set of words. */
#define UDP_DROPS(X)                                                                               \
    X(QUEUE_FULL, "queue_full")         /* the oldest of a session's queue made room */            \
    X(TOO_OLD, "too_old")               /* it waited for longer than 200 ms */                     \
    X(TOO_BIG, "too_big")               /* more than a datagram, or its target's, can hold */      \
    X(NO_MEMORY, "no_memory")           /* limits.udpMemory or the pool of chunks is used up */    \
    X(CLOSED, "closed")                 /* its session had ended, or ended while it waited */      \
    X(TRUNCATED, "truncated")           /* the kernel had cut it */                                \
    X(NO_TUNNEL, "no_tunnel")           /* no lane takes it */                                     \
    X(LIMIT_SESSIONS, "limit_sessions") /* limits.udpSessions, and none to evict */                \
    X(NO_SOCKET, "no_socket")           /* no descriptor, address or route for the target */       \
    X(SOCKET_FULL, "socket_full")       /* the kernel's queue had no room */                       \
    X(SOCKET_ERROR, "socket_error") /* the kernel refused it: EPERM, ENETUNREACH, EMSGSIZE ... */

enum udp_drop {
#define X(name, text) UDP_DROP_##name,
    UDP_DROPS(X)
#undef X
        UDP_DROP_COUNT
};
const char *udp_drop_name(enum udp_drop why);

struct udp_stats { /* single writer: the lane's loop */
    uint64_t opened, closed;
    uint64_t datagrams_from_clients, datagrams_to_clients;
    uint64_t bytes_from_clients, bytes_to_clients; /* of their payloads */
    uint64_t dropped[UDP_DROP_COUNT];
};
void udp_stats_add(struct udp_stats *to, const struct udp_stats *from);

struct udp_session {
    struct lane *lane;     /* borrowed; NULL when IDLE or CLOSED */
    struct budget *budget; /* borrowed from the process while OPEN */
    uint32_t id;
    enum udp_state state; /* written by udp_session_enter() only */
    enum udp_end end;
    struct list in_lane;    /* all UDP sessions of the lane */
    struct list in_control; /* its UDP_OPEN waits to be sent */
    struct list in_ring;    /* has datagrams to send */
    uint64_t turn;          /* its place in the ring (lane_sched.h) */
    uint32_t turn_sent;     /* bytes in this turn */
    struct bufq queue;      /* records: struct udp_record, then the datagram */
    uint32_t queued;        /* records in it */
    struct udp_charge charge;
    struct udp_side *side;   /* borrowed from the lane; QUIC: lane_quic_side.c; or NULL */
    uint8_t open_header_len; /* a UDP_OPEN waits to be sent while this is not 0 */
    uint8_t open_header[PROXY_V2_EMIT_MAX];
    /* A datagram came, of 0 to UDP_DATAGRAM_MAX bytes, borrowed for the call. */
    void (*on_datagram)(struct udp_session *u, const uint8_t *bytes, size_t n);
    /* The peer closed it, the lane is lost, or it could not open at all: see `end`. */
    void (*on_closed)(struct udp_session *u);
};

/* A zeroed one may be released; udp_session_init() makes it IDLE. */
void udp_session_init(struct udp_session *u,
                      void (*on_datagram)(struct udp_session *u, const uint8_t *bytes, size_t n),
                      void (*on_closed)(struct udp_session *u));
/* Lets go of everything: an OPEN one is closed first.  No callback comes after it. */
void udp_session_release(struct udp_session *u);
void udp_session_check(const struct udp_session *u);

/* --- for the owner --- */

/* Queues one datagram (0 bytes are one, too).  What has to be dropped, this one or older ones, is
 * counted in the lane.  Fine in every state. */
void udp_session_send(struct udp_session *u, const void *bytes, size_t n, uint64_t now_ms);
/* Ends it: what waits is dropped, the peer is told with UDP_CLOSE.  on_closed() is not called.
 * Nothing happens unless OPEN. */
void udp_session_close(struct udp_session *u, enum udp_end end);

/* --- for a transport's codec --- */

struct udp_datagram {
    size_t len;
    size_t count;                        /* of pieces; 0 when len is 0 */
    struct iovec pieces[UDP_PIECES_MAX]; /* borrowed until the next call on the session */
    uint64_t queued_ms;
};

/* The oldest one that is no older than max_age_ms; those that are older are dropped.  False: none
 * waits. */
bool udp_session_peek(struct udp_session *u, uint64_t now_ms, uint64_t max_age_ms,
                      struct udp_datagram *out);
/* What udp_session_peek() gave has left. */
void udp_session_taken(struct udp_session *u);
/* The same, but it could not leave: counted. */
void udp_session_drop(struct udp_session *u, enum udp_drop why);

#endif
