/* link_internal - what the files of a link share: link.c (states, the owner's side, the lane's
 * events), link_tls.c and link_quic.c (a transport each: how lines and frames get in and out).  Not
 * for others. */
#ifndef LINK_LINK_INTERNAL_H
#define LINK_LINK_INTERNAL_H

#include "buf/bufq.h"
#include "buf/sendq.h"
#include "link/link.h"
#include "tunnel/lane_quic.h"

#define LINK_LEAVE_MS 1000u /* for the last word to go out, and again for the peer to close */

enum step { STEP_WAIT, STEP_MORE };

/* What a transport does; each step is one of link_run()'s. */
struct link_carrier {
    enum link_transport transport;
    enum step (*handshake)(struct link *link); /* HANDSHAKE: ends in link_secured() */
    enum step (*line)(struct link *link);      /* LINE: bytes to link_take_line() */
    enum step (*verdict)(struct link *link);   /* VERDICT: nothing is read */
    enum step (*open)(struct link *link);      /* OPEN */
    enum step (*leave)(struct link *link);     /* LEAVING: the last word goes out */
    void (*arm)(struct link *link);            /* the only place that starts and stops watchers */
    void (*close)(struct link *link);          /* gives the connection up; fine half-built */
    void (*send_line)(struct link *link, const char *text, size_t n);
    void (*start_lane)(struct link *link, uint32_t initial_window);
    int (*open_stream)(struct link *link, struct stream *s, const struct proxy_header *client);
    enum path_sign (*watch_path)(struct link *link); /* NULL, as the next: TCP sees to it */
    void (*tell_collapse)(struct link *link);
    int (*exporter)(const struct link *link, uint8_t out[TLS_EXPORTER_BYTES]);
    const char *(*cipher)(const struct link *link);
    int (*peer_times)(const struct link *link, int64_t *not_before, int64_t *not_after);
};

/* One TCP socket with TLS: link_tls.c. */
struct link_tls {
    int fd;              /* owned */
    struct tls *tls;     /* owned */
    struct tls_ctx *ctx; /* counted */
    struct loop_io io;
    bool is_write_shut;
    bool is_readable; /* the socket may have more; else reading it is a call for nothing */
};

/* One QUIC connection: link_quic.c. */
struct link_quic {
    struct quic *quic;       /* owned */
    struct bufq in;          /* of the control stream: came in, not looked at */
    struct sendq out;        /* of the control stream, until it is acknowledged */
    bool has_control;        /* the control stream is open */
    bool is_control_ended;   /* the peer ended it: no frame follows */
    bool is_control_blocked; /* the peer takes no more of it now */
    bool is_blocked;         /* the peer lends the connection nothing: until something comes */
    bool is_broken;          /* bytes came that break the protocol: `fault` says how */
    /* What was picked and is not in a packet yet: one of them at most. */
    struct stream *offered; /* borrowed */
    struct lane_quic_datagram datagram;
    bool has_datagram;
    struct path_watch path;
    char fault[120];
};

struct link {
    const struct link_carrier *carrier; /* static */
    enum link_state state;              /* written by link_enter() only */
    enum link_side side;
    struct loop *loop;          /* borrowed */
    struct budget *budget;      /* borrowed */
    const struct link_ops *ops; /* borrowed */
    void *owner;                /* borrowed */
    struct deadline deadline;
    struct ready ready;
    struct reap reap;
    union addr peer;
    uint64_t state_due_ms; /* of the handshake, or of leaving; 0: none */
    int error;
    char error_text[200];
    bool is_secure;  /* on_secure was called */
    bool is_orphan;  /* link_free() was called: tell nobody */
    bool is_running; /* link_run(), or an event of the transport, is on the stack */
    uint8_t *line;   /* owned: what came of the line */
    size_t line_len, line_max;
    struct link_tls tls;
    struct link_quic quic;
    struct lane lane;
};

extern const struct link_carrier link_carrier_tls, link_carrier_quic;
extern const struct lane_ops link_lane_ops;

/* The part of making one that both transports share; NULL: no memory. */
struct link *link_make(const struct link_carrier *carrier, const struct link_options *options);
/* It could not be made after all. */
void link_unmake(struct link *link);

void link_enter(struct link *link, enum link_state to); /* the only writer of link->state */
/* The first error wins. */
void link_fail(struct link *link, int error, const char *text);
enum step link_die(struct link *link, int error, const char *text);
/* The handshake is complete with this protocol. */
enum step link_secured(struct link *link, const char *alpn);
/* Bytes that came before OPEN. */
enum step link_take_line(struct link *link, const uint8_t *bytes, size_t n);
/* The lane has ended: whoever said GOODBYE, or is dead, gets no answer; everyone else our last
 * word. */
enum step link_lane_has_ended(struct link *link);
void link_run(struct link *link); /* every event ends here */

#endif
