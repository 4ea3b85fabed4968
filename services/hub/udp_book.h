/* udp_book - the UDP flows of one worker, and its part of the directory that tells which worker
 * holds which flow.
 *
 * The lanes of a session live on several workers, and a flow may come back on another lane than it
 * was on (its lane drains, or was lost): then it has to go on with the same socket.  So each flow
 * has a name (session, client, public port) which one worker, chosen by its hash, keeps:
 *
 *   worker A, a new flow   -- claim -->  directory     nobody has it: grant, without a socket
 *                                        directory     B has it:      handover --> worker B
 *   worker A  <-- grant, with the socket -----------------------------------------'
 *
 * All of it are messages; nothing is shared.  A claim makes the claimer the holder at once, so that
 * a second one finds it, and waits there until the first is granted.  A flow on another lane of the
 * same worker moves without asking.  (api/tunnel.md, UDP sessions)
 */
#ifndef HUB_UDP_BOOK_H
#define HUB_UDP_BOOK_H

#include "hub/udp_answerers.h"
#include "hub/udp_flow.h"
#include "loop/udp_outbox.h"

struct hub_worker;
struct udp_batch;

#define UDP_BOOK_BUCKETS 4096u  /* a power of two */
#define UDP_VICTIM_LOOKS 64u    /* flows looked at for one of the edge that is past its share */
#define UDP_ORPHAN_MS    30000u /* without a lane: as long as a session may be without one */

struct udp_book {
    struct hub_worker *worker; /* borrowed: contains it */
    struct list *flows;        /* owned: buckets, made with the first flow */
    struct list *names;        /* owned: buckets of the directory, made with the first claim */
    struct list lru;           /* all flows; the least recently used first */
    struct list orphans;       /* flows without a lane, by time */
    struct io_set sockets;     /* made with the first flow: theirs, which may go to others */
    struct udp_batch *batch;   /* owned; made with the first flow */
    struct udp_outbox *out;    /* owned; the same */
    struct udp_out_counters sent;
    struct udp_answerers answerers;
    uint64_t tick_ms;   /* of the last tick */
    uint64_t heard_ms;  /* of the one before it: what was refused until then is known by now */
    struct ready flush; /* at the end of the turn */
    size_t count;
    uint32_t lookups; /* flows that are RESOLVING a name */
    uint64_t next_serial;
    bool is_closed;
};

void udp_book_init(struct udp_book *b, struct hub_worker *w);
/* With the process: all flows, without a word; messages that still come do nothing. */
void udp_book_close(struct udp_book *b);
void udp_book_fini(struct udp_book *b); /* after the loops are freed */

/* lane_ops.on_udp_open (tunnel/lane.h). */
struct udp_session *udp_book_open(struct udp_book *b, struct hub_lane *lane,
                                  const struct proxy_header *client, enum udp_end *refuse);
/* The lane's ports changed: flows of those that were taken away are closed. */
void udp_book_authority_changed(struct udp_book *b, struct hub_lane *lane);
/* Some times a second: ends flows that are idle, or whose port's time of grace is over. */
void udp_book_tick(struct udp_book *b);

/* --- for udp_flow.c --- */

void udp_book_touch(struct udp_flow *f);
/* May this target's name be looked up once more?  The resolver is the streams', too. */
bool udp_book_may_look_up(const struct udp_book *b, const struct target *t);
void udp_book_orphaned(struct udp_flow *f);
/* It is closed: out of every list. */
void udp_book_left(struct udp_flow *f, bool is_moved);

#endif
