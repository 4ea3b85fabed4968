/* client - one client's connection at a public port.
 *
 *   HELD -> RELAYING -> CLOSED            HELD -> CLOSED
 *
 * It is opened on the worker's lane at once; while there is none it waits unread (HELD), its bytes
 * in the kernel, until a lane comes, another worker takes it, or the time to hold is over.
 *
 * When its stream has ended in the tunnel while bytes of it wait for the client, it is reset once
 * the client has taken none of them for limits.flushSecs: who reads no more keeps no memory.
 */
#ifndef EDGE_CLIENT_H
#define EDGE_CLIENT_H

#include "edge/edge_worker.h"
#include "link/relay.h"

#define CLIENT_FLUSH_LOOK_MS 1000u /* between two looks whether it takes any */

enum client_state { CLIENT_HELD, CLIENT_RELAYING, CLIENT_CLOSED };

struct client {
    struct list node;           /* in the worker's clients */
    struct list held_node;      /* in its held, while HELD */
    struct edge_worker *worker; /* borrowed */
    enum client_state state;    /* written by client_enter() only */
    int fd;                     /* owned while HELD; then the relay's */
    unsigned hops;              /* from worker to worker */
    uint64_t held_since_ms;
    union addr peer;
    bool is_counted; /* among the clients of its address, in address_slot */
    uint32_t address_slot;
    struct stream stream;
    struct relay relay;
    struct deadline flush; /* set while the stream has ended and bytes of it are left */
    uint64_t left_bytes, left_since_ms; /* then: how many, the kernel's included, and since when */
    struct reap reap;
};

/* Takes the socket over: opens it, hands it to another worker, holds it, or turns it away.  `hops`:
 * how many workers have handed it on. */
void client_accept(struct edge_worker *w, int fd, const union addr *peer, unsigned hops);
/* HELD: tries again; with `is_over` it is turned away. */
void client_retry(struct client *c, bool is_over);
/* Whatever it does: reset and freed. */
void client_drop(struct client *c);

#endif
