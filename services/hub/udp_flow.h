/* udp_flow - one UDP session on its way from the tunnel to a target: a connected socket.
 *
 *   CLAIMING -> RESOLVING -> OPEN -> CLOSED        any -> CLOSED
 *                   ^---------'                    refused by an address, and the name has others
 *
 *   CLAIMING   asks whether another worker holds this client's flow; datagrams wait
 *   RESOLVING  the target's name is looked up; datagrams wait
 *   OPEN       datagrams pass
 *   CLOSED     freed by the loop
 *
 * It belongs to a lane while that is there, and outlives it for a while (an orphan): the edge opens
 * the flow again on another lane of its session, and finds the same socket (udp_book.h).  The PROXY
 * header goes first (a datagram of its own, again before each payload until the target has
 * answered), with each payload, or not at all.  (api/tunnel.md, UDP sessions)
 */
#ifndef HUB_UDP_FLOW_H
#define HUB_UDP_FLOW_H

#include "buf/bufq.h"
#include "hub/target.h"
#include "loop/io_set.h"
#include "loop/resolver.h"
#include "tunnel/udp_session.h"
#include "wire/hello.h"

struct edge_share;
struct hub_lane;
struct udp_book;

#define UDP_WAITING_BYTES 131072u /* datagrams of one flow that wait for its socket */
#define UDP_ROUNDS        4u      /* receives of one socket in a turn */
#define UDP_NEXT_MS       1000u   /* how long an address is new; between two, once each was tried */

enum udp_flow_state { UDP_FLOW_CLAIMING, UDP_FLOW_RESOLVING, UDP_FLOW_OPEN, UDP_FLOW_CLOSED };

struct udp_key {
    uint8_t session[SESSION_BYTES];
    struct proxy_header client;
};

struct udp_flow {
    enum udp_flow_state state; /* written by udp_flow_enter() only */
    struct udp_book *book;     /* borrowed */
    struct hub_lane *lane;     /* borrowed; NULL: an orphan */
    struct edge_share *share;  /* counted: its edge's */
    struct list in_bucket, in_lru, in_lane, in_orphans;
    struct udp_key key;
    uint64_t serial; /* names it among the workers, with the worker's index */
    uint64_t active_ms, orphan_ms;
    struct udp_session session;
    struct target target;
    uint8_t header[PROXY_V2_EMIT_MAX];
    size_t header_len;
    int fd; /* owned; -1: none */
    struct io_entry io;
    struct resolve query;
    struct bufq waiting; /* records: u32 length, then the datagram */
    uint32_t overflow;   /* what the kernel dropped so far of the target's */
    union addr to;       /* of the socket; family 0: not known, it came from another worker */
    unsigned choices;    /* addresses of the target's name */
    unsigned turned;     /* how often the next one was taken */
    uint64_t to_ms;      /* when the socket was made */
    bool is_refused;     /* by the address, which has not answered yet */
    bool has_answered;   /* the target has: it knows the client */
    bool has_heir;       /* CLAIMING, and claimed already: what is granted goes on */
    unsigned heir_worker;
    uint64_t heir_serial;
    struct reap reap;
};

/* Counts in the process and in the edge's share.  NULL: no memory. */
struct udp_flow *udp_flow_new(struct udp_book *book, const struct udp_key *key,
                              struct edge_share *share);
/* It is this lane's from now on; gives the session to be opened there. */
struct udp_session *udp_flow_attach(struct udp_flow *f, struct hub_lane *lane);
/* CLAIMING: with the socket that another worker had (moves), or -1: a new one. */
void udp_flow_begin(struct udp_flow *f, int fd, bool has_answered);
/* Gives its socket away; -1: it has none. */
int udp_flow_take_socket(struct udp_flow *f);
/* ICMP says that nobody listens there: unless it has answered, the next datagram goes elsewhere. */
void udp_flow_refused(struct udp_flow *f);
/* -errno of a datagram that could not be sent. */
void udp_flow_count_error(struct udp_book *book, int err);
/* The edge is told; `is_moved`: another worker has it now, so its name there stays. */
void udp_flow_close(struct udp_flow *f, enum udp_end end, bool is_moved);

#endif
