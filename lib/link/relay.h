/* relay - joins one TCP socket with one stream of a tunnel and pumps both ways.
 *
 *   socket --read---> stream (going out)          as far as credit and budget allow
 *   socket <--write-- stream (came in)            credit goes back as the socket takes the bytes
 *
 * Half-close and reset pass one to one: the socket's end becomes the stream's FIN and the stream's
 * FIN shuts the socket's write side; a reset of either side becomes a reset of the other (RST on
 * TCP). A socket that both sides have ended is closed at once, while the stream may still wait for
 * acknowledgements: nothing that becomes of it concerns the socket any more. Used by the edge for
 * clients and by the hub for targets.
 *
 * A reset goes behind the bytes that its sender said before it, as in the sender's own kernel: a
 * server that answers and closes while the request still comes (413) has its answer heard.  So a
 * socket that takes no more is read to its end first.  Where nothing moves for rest_ms, the reset
 * goes without them; and so it does when the lane is lost.
 *
 * From the start on the socket is one that close() resets, and only one that both sides have ended
 * in order is closed with FIN: so that whatever ends the process, a stream that was cut short does
 * not look complete.
 *
 * While nothing is wanted of the socket (no room to read into, nothing to write) nobody would hear
 * of its reset: then it is looked at every RELAY_LOOK_MS.
 *
 *   IDLE -> MOVING -> DONE          MOVING -> SENDING, WRITING -> DONE
 *
 *   SENDING   the socket is broken and closed; its last bytes leave by the stream, then a reset
 *   WRITING   the stream was reset; its last bytes leave by the socket, then RST
 *
 * The owner embeds the relay and its stream, starts it once both are there and gets on_done() once
 * (from the loop, never from relay_start()).
 */
#ifndef LINK_RELAY_H
#define LINK_RELAY_H

#include "loop/loop.h"
#include "tunnel/stream.h"

#define RELAY_PREFIX_MAX 108 /* a PROXY header in front of everything */
#define RELAY_LOOK_MS    1000u
#define RELAY_REST_LOOK_MS                                                                         \
    100u /* WRITING: has the other machine got it all?  It may hold its ACK back for 40 ms */
#define RELAY_REST_MS     60000u /* rest_ms, where its owner says nothing else */
#define RELAY_SMALL_READS 4      /* of one chunk at most, in a row: what comes is small */

enum relay_state { RELAY_IDLE, RELAY_MOVING, RELAY_SENDING, RELAY_WRITING, RELAY_DONE };

enum relay_end {
    RELAY_ENDED,        /* both directions ended in order */
    RELAY_SOCKET_RESET, /* the socket broke; the stream was reset */
    RELAY_STREAM_RESET, /* stream.reset_code says why; the socket was reset */
};

struct relay {
    struct loop *loop;      /* borrowed */
    struct stream *stream;  /* borrowed from the owner */
    int fd;                 /* owned; -1 once both sides have ended it */
    enum relay_state state; /* written by relay_enter() only */
    enum relay_end end;
    bool read_ended;                  /* the socket gave its end */
    bool write_ended;                 /* the socket's write side is shut */
    bool read_blocked, write_blocked; /* the kernel said: later */
    int broken;          /* 0, or the errno by which the socket said that it takes no more */
    unsigned rest_ms;    /* a reset waits no longer; the owner may change it after the start */
    int queued;          /* WRITING: bytes that the socket's peer had not, when it was looked at */
    uint64_t moved_ms;   /* when the socket gave or took bytes last, or the reset came */
    uint8_t read_pieces; /* to read into at most: one, or all that there are */
    uint8_t small_reads; /* in a row, of one chunk at most */
    struct loop_io io;
    struct ready ready;
    struct deadline look; /* while the watcher is off */
    uint8_t prefix[RELAY_PREFIX_MAX];
    uint8_t prefix_len, prefix_at;
    void (*on_done)(struct relay *r);
};

/* Takes over a connected, non-blocking socket, which from now on close() resets.  `prefix` (n <=
 * RELAY_PREFIX_MAX) is sent to the socket before anything else. */
void relay_start(struct relay *r, struct loop *loop, int fd, struct stream *stream,
                 const void *prefix, size_t n, void (*on_done)(struct relay *r));
/* The stream's on_change() ends here: takes note.  Fine before relay_start() and after the end. */
void relay_wake(struct relay *r);
/* Resets the socket at once and closes it, if it is still there; fine on a zeroed one and twice.
 * The stream is the owner's to release. */
void relay_fini(struct relay *r);
/* When the socket last gave something or its peer took something: whoever waits for that asks at
 * least twice, for of the peer only the difference between two calls can tell.  0: not started. */
uint64_t relay_moved_ms(struct relay *r);
const char *relay_end_name(enum relay_end end);

#endif
