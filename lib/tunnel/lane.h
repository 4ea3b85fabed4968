/* lane - one connection of a tunnel after its handshake: frames in, frames out.  Sans-I/O.  On TLS
 * everything is a frame of one byte stream; lane_quic.h says how the same lane travels on QUIC.
 *
 *        lane_input(bytes) --> frames --> streams, on_control, on_open ...
 *   lane_next_record() <-- control, data, sustained <-- streams, lane_send_*
 *
 * The same code runs in hub and edge (`role`); the clock is an argument.  Whoever joins it to a
 * socket (link/) feeds in whatever arrives, never stops reading, takes records while its own queue
 * has room, and calls lane_tick() when lane_deadline() has come.
 *
 * States: OPEN -> ENDED (GOODBYE was sent or received, the protocol was broken, or the peer is
 * dead). Draining is a property of each side, not a state: frames still flow.
 *
 * What is to be sent as control is kept as state, never as a growing queue: one credit sum a
 * stream, one PONG, the newest CONFIG; only resets queue up, LANE_RESETS_MAX of them.
 * (api/tunnel.md: Frames, QoS, Dead paths)
 */
#ifndef TUNNEL_LANE_H
#define TUNNEL_LANE_H

#include "tunnel/lane_sched.h"
#include "tunnel/stream.h"
#include "tunnel/stream_table.h"
#include "tunnel/udp_session.h"
#include "wire/control.h"
#include "wire/frame.h"
#include "wire/proxy.h"

#define LANE_RECORD_BYTES    16384u
#define LANE_RESETS_MAX      65536u /* resets that wait to be sent; past it GOODBYE overloaded */
#define LANE_PING_EVERY_MS   15000u
#define LANE_PONG_WITHIN_MS  10000u
#define LANE_PING_SILENCE_MS 25000u
#define LANE_REST_MS         250u /* after which credit of a stream at rest leaves by itself */
#define LANE_RETRY_MS        100u /* after which a stream that got no memory tries again */
#define LANE_ID_WORN         0xffff0000u /* stream ids above it: time for a new lane */

enum lane_role { LANE_EDGE, LANE_HUB };
enum lane_carrier {
    LANE_FRAMES, /* one byte stream carries all of it */
    LANE_QUIC,   /* this is the control stream: lane_quic.h */
};
enum lane_state { LANE_OPEN, LANE_ENDED };

struct lane_ops {
    /* Hub: a client's connection wants in.  Gives an IDLE stream (its owner's), or NULL with
     * *refuse set to RESET_NOT_ALLOWED or RESET_BY_PEER.  Past limits.streams the OPEN is refused
     * all the same: the stream given stays IDLE for good, with reset_code set, and on_change() says
     * so. */
    struct stream *(*on_open)(struct lane *lane, const struct proxy_header *client,
                              enum stream_reset *refuse);
    /* Hub: a client's datagrams want in.  Gives an IDLE UDP session (its owner's), or NULL with
     * *refuse set to UDP_END_NOT_ALLOWED or UDP_END_LIMIT.  Past limits.udpSessions the UDP_OPEN is
     * refused all the same: the session given stays IDLE, with `end` set, and on_closed() says so.
     * NULL: no UDP port is allowed. */
    struct udp_session *(*on_udp_open)(struct lane *lane, const struct proxy_header *client,
                                       enum udp_end *refuse);
    /* CONFIG (edge) or CONFIG_ACK (hub).  0, or -ERR_PROTO: its content is invalid, *why says why.
     */
    int (*on_control)(struct lane *lane, enum frame_type type, const uint8_t *json, size_t n,
                      struct wire_why *why);
    /* The peer drains: it wants no new streams after deadline_secs. */
    void (*on_drain)(struct lane *lane);
    /* There is something to send, or lane_deadline() moved: only take note. */
    void (*on_wake)(struct lane *lane);
};

struct lane_stats {                                /* single writer: the lane's loop */
    uint64_t bytes_from_clients, bytes_to_clients; /* payload of DATA and DATA_BACK */
    uint64_t opened, refused_ports, refused_limit, resets_in, resets_out;
    uint64_t frames_in, records_out, window_stalls, ahead_waits;
    struct udp_stats udp;
};

struct lane_reset {
    uint32_t id;
    uint8_t code;
};
struct lane_reset_ring {
    struct lane_reset *items; /* owned */
    uint32_t size, at, count;
};

struct lane {
    enum lane_role role;
    enum lane_carrier carrier;
    enum lane_state state;      /* written by lane_enter() only */
    const struct lane_ops *ops; /* borrowed */
    struct budget *budget;      /* borrowed from the process */
    struct chunk_pool *pool;    /* borrowed from the loop */
    uint32_t initial_window;
    uint64_t initial_credit; /* of a stream, as the peer gives it */
    size_t send_cap;         /* of a stream: unsent and unacknowledged bytes */
    size_t send_ahead;       /* of these, unsent */
    size_t send_least;       /* QUIC: fewer wait for those that a stream's owner is about to add */
    uint64_t now_ms;         /* the newest time that came in */
    struct id_table table;
    struct list streams;
    uint32_t stream_count;
    struct id_table udp_table;
    struct list udp_sessions;
    uint32_t udp_count;
    uint32_t highest_id;  /* opened (edge) or seen (hub) */
    uint32_t highest_udp; /* the same of UDP sessions, on QUIC: a space of ids of their own */
    struct lane_stats stats;
    int error;              /* why it ended: -ERR_x, 0 in order */
    char fault[160];        /* a sentence about it */
    struct goodbye goodbye; /* what the peer said, when it said GOODBYE */
    bool has_goodbye;

    struct lane_in { /* the frame that is being read */
        uint8_t header[FRAME_HEADER_BYTES];
        uint32_t header_len;
        struct frame frame;
        uint32_t left;           /* of its payload */
        struct stream *stream;   /* borrowed: where DATA goes; NULL: dropped */
        struct udp_session *udp; /* borrowed: where UDP_DATA goes; NULL: dropped */
        uint8_t *datagram;       /* owned: one that came in pieces; made at the first one */
        uint32_t datagram_len;
        uint8_t *payload; /* owned: control payload that is not whole yet */
        uint32_t payload_len;
    } in;

    struct lane_out {
        struct list control;     /* streams with an OPEN or credit to tell */
        struct list quiet;       /* streams whose credit is due, in order of time */
        struct lane_sched sched; /* streams with data */
        struct lane_feed feed;   /* streams that may bring more of it */
        struct lane_reset_ring resets;
        struct list udp_opens;             /* UDP sessions whose UDP_OPEN waits, by rising id */
        struct lane_reset_ring udp_closes; /* code 0: orderly */
        struct bufq rest;                  /* of a datagram that is longer than a record */
        uint64_t retry_due_ms;             /* 0, or when streams that found no chunk try again */
        char *config;                      /* owned: the newest CONFIG or CONFIG_ACK that waits */
        char *last;                        /* owned: GOODBYE that waits; the last frame */
        char *drain;                       /* owned: DRAIN that waits */
        uint8_t *body; /* owned: payload that is longer than a record and not out yet */
        uint32_t body_len, body_at;
        uint8_t pong[8], ping[8];
        bool has_pong, has_ping;
        struct stream *direct; /* borrowed: whose chunk is the record that is out just now */
        uint32_t direct_len;
        uint32_t batch_len;
        uint8_t batch[LANE_RECORD_BYTES];
    } out;

    struct lane_silent { /* QUIC, hub: streams whose first byte has not come */
        uint32_t count;
        uint32_t extra; /* number of one that is not in it; 0: there is none */
    } silent;
    struct lane_openings *openings; /* owned; QUIC: lane_quic.c */
    struct lane_early *early;       /* owned; QUIC: lane_quic_udp.c */
    struct lane_sides *sides;       /* owned; QUIC: lane_quic_side.c */

    struct lane_beat {
        uint64_t opened_ms;
        uint64_t ping_due_ms;    /* hub: when the next PING goes */
        uint64_t pong_due_ms;    /* hub: 0, or when its PONG must be here */
        uint64_t silence_due_ms; /* edge: when the next PING must have come */
        uint64_t pinged_ms;      /* when the PING under way was sent */
        uint64_t serial;         /* of the newest PING */
        uint32_t rtt_ms;         /* of the newest PONG */
    } beat;

    struct lane_drain {
        bool by_us, by_peer;
        bool is_over;         /* the deadline has passed: no stream is taken any more */
        uint64_t deadline_ms; /* 0: none, or passed; then what is open is reset */
    } drain;
};

/* `initial_window` is what the hub's answer said, for both directions. */
void lane_init(struct lane *l, enum lane_role role, const struct lane_ops *ops,
               struct budget *budget, struct chunk_pool *pool, uint32_t initial_window,
               uint64_t now_ms);
/* The connection is gone: every stream is reset with RESET_LANE_LOST (owners are told), memory goes
 * back.  Fine on a zeroed one and twice. */
void lane_fini(struct lane *l);
void lane_check(const struct lane *l);

/* --- coming in --- */

/* Takes all n bytes.  0: go on.  -ERR_CLOSED: GOODBYE came, see l->goodbye.  -ERR_PROTO: broken,
 * l->fault says how, a GOODBYE protocol_error waits to be sent.  Input after the end is dropped. */
MUST_USE int lane_input(struct lane *l, const uint8_t *bytes, size_t n, uint64_t now_ms);

/* --- going out --- */

/* The next record of plaintext, at most LANE_RECORD_BYTES, borrowed until lane_record_done(), which
 * must follow before anything else is done with the lane.  0: nothing to send. */
MUST_USE size_t lane_next_record(struct lane *l, uint64_t now_ms, const uint8_t **record);
void lane_record_done(struct lane *l);
bool lane_has_output(const struct lane *l);

/* --- time --- */

/* When lane_tick() must be called next, in ms; UINT64_MAX: never. */
uint64_t lane_deadline(const struct lane *l);
/* 0, or -ERR_TIMEOUT: the peer is dead (l->fault). */
MUST_USE int lane_tick(struct lane *l, uint64_t now_ms);

/* --- what the owner asks for --- */

/* Edge: opens a stream for a client; `s` is IDLE.  0; -ERR_LIMIT (limits.streams), -ERR_CONFLICT
 * (draining, ended or worn out), -ERR_PROTO (no v1 line can say it). */
MUST_USE int lane_open_stream(struct lane *l, struct stream *s, const struct proxy_header *client,
                              uint64_t now_ms);
/* Edge: opens a UDP session for a client; `u` is IDLE.  0; -ERR_LIMIT (limits.udpSessions),
 * -ERR_CONFLICT (as above), -ERR_PROTO (no v2 header can say it), -ERR_NOMEM. */
MUST_USE int lane_udp_open(struct lane *l, struct udp_session *u, const struct proxy_header *client,
                           uint64_t now_ms);
/* CONFIG from the hub, CONFIG_ACK from the edge; copied; replaces one that was not sent yet. */
void lane_send_config(struct lane *l, const char *json);
/* No new streams from us (edge), none wanted (hub); a later call can only shorten it, and does
 * nothing once the deadline has passed. */
void lane_send_drain(struct lane *l, uint32_t deadline_secs, uint64_t now_ms);
/* The last frame.  Everything else that waits is dropped. */
void lane_send_goodbye(struct lane *l, enum goodbye_code code, const char *message,
                       uint32_t retry_after_secs);
/* Edge: may lane_open_stream() and lane_udp_open() be tried?  Not drained by us, the hub's deadline
 * has not passed, not worn, not ended. */
bool lane_takes_streams(const struct lane *l);
/* Draining, and the last stream and UDP session have ended. */
bool lane_is_drained(const struct lane *l);

#endif
