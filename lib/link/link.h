/* link - one lane of a tunnel on a real connection: joins tunnel (frames, streams) with tls or quic
 * (bytes). It is all that hub and edge see of a tunnel connection; which transport is below is not
 * their business.
 *
 *   HANDSHAKE -> LINE -> VERDICT -> OPEN -> LEAVING -> DEAD         any -> LEAVING or DEAD
 *
 *   HANDSHAKE  TLS, or QUIC's; ALPN and (edge) pin or CA are checked
 *   LINE       the peer's line of JSON is read: hub the hello, edge the answer
 *   VERDICT    hub: the line is with the control thread; nothing is read
 *   OPEN       frames
 *   LEAVING    the last word (GOODBYE, or an error answer) is being sent; then our write side is
 *              shut and what still comes is thrown away for up to 1 s, or the kernel's RST would
 *              destroy it (QUIC: until it is acknowledged, for up to 1 s)
 *   DEAD       told to the owner; freed by the loop
 *
 * One loop; everything here is for its thread.  The owner is told through link_ops and frees the
 * link with link_free() (from on_dead, or at any other time).
 */
#ifndef LINK_LINK_H
#define LINK_LINK_H

#include "loop/listener.h"
#include "loop/loop.h"
#include "tls/tls.h"
#include "tunnel/lane.h"
#include "tunnel/path_watch.h"

struct link;
struct quic;

enum link_transport { LINK_TLS, LINK_QUIC };
enum link_side { LINK_EDGE, LINK_HUB };

enum link_state {
    LINK_HANDSHAKE,
    LINK_LINE,
    LINK_VERDICT,
    LINK_OPEN,
    LINK_LEAVING,
    LINK_DEAD,
    LINK_STATE_COUNT,
};

struct link_ops {
    /* The channel is secure.  Edge: say hello with link_send_line(). */
    void (*on_secure)(struct link *link);
    /* All bytes of the line that came so far.  Returns how many of them the whole line is (then
     * link_open(), link_refuse() or link_wait() has been called), 0: more must come, < 0: close
     * without a word (-ERR_x becomes link_error()). */
    int (*on_line)(struct link *link, const uint8_t *bytes, size_t n);
    /* The lane's own events while OPEN: lane.h. */
    struct stream *(*on_open)(struct link *link, const struct proxy_header *client,
                              enum stream_reset *refuse);
    /* NULL: no UDP port is ever allowed. */
    struct udp_session *(*on_udp_open)(struct link *link, const struct proxy_header *client,
                                       enum udp_end *refuse);
    int (*on_control)(struct link *link, enum frame_type type, const uint8_t *json, size_t n,
                      struct wire_why *why);
    void (*on_drain)(struct link *link);
    /* Edge: what the hub sends here gets through no more than drop by drop, it says.  NULL: nobody
     * cares. */
    void (*on_collapse)(struct link *link);
    /* It is over: link_error(), link_goodbye().  Streams were told already. */
    void (*on_dead)(struct link *link);
};

struct link_options {
    enum link_side side;
    struct loop *loop;          /* borrowed */
    struct tls_ctx *tls;        /* counted; QUIC: NULL, its connection has one */
    struct budget *budget;      /* borrowed: lives as long as the streams; link_set_budget() */
    const struct link_ops *ops; /* borrowed */
    void *owner;                /* borrowed: link_owner() */
    const char *server_name;    /* edge, TLS: for SNI and CA; or NULL */
    unsigned handshake_ms;      /* from now to OPEN (hub: to the right proof) */
};

/* Takes `fd` over (a connected, non-blocking socket), also when it fails.  0, -ERR_NOMEM. */
MUST_USE int link_new(struct link **out, int fd, const struct link_options *options);
/* The same on a QUIC connection that was dialled or accepted just now. */
MUST_USE int link_new_quic(struct link **out, struct quic *quic,
                           const struct link_options *options);
/* Closes at once, without a word; on_dead is not called.  Streams are reset and told.  Fine from
 * any callback of the link: then it closes at the end of the loop's turn. */
void link_free(struct link *link);

/* --- LINE, VERDICT --- */

/* Queues a line; `text` ends in '\n'. */
void link_send_line(struct link *link, const char *text, size_t n);
/* From on_line: the answer comes later; until then nothing is read. */
void link_wait(struct link *link);
/* Another than that of the options, now that it is known whose link it is.  Before link_open(). */
void link_set_budget(struct link *link, struct budget *budget);
/* The handshake is done: frames from now on.  From on_line, or later after link_wait(). */
void link_open(struct link *link, uint32_t initial_window);
/* Sends the line and leaves: an error answer. */
void link_refuse(struct link *link, const char *line, size_t n, int error);
/* The handshake's deadline counts no longer (waiting out the second of a wrong proof). */
void link_extend(struct link *link, unsigned ms);

/* --- OPEN --- */

/* Edge.  0; -ERR_LIMIT, -ERR_CONFLICT, -ERR_PROTO: lane_open_stream(). */
MUST_USE int link_open_stream(struct link *link, struct stream *s,
                              const struct proxy_header *client);
/* Edge.  As lane_udp_open(). */
MUST_USE int link_open_udp(struct link *link, struct udp_session *u,
                           const struct proxy_header *client);
bool link_takes_streams(const struct link *link);
/* Some times a second: what path_watch_take() says of the path; NONE for TLS, and before OPEN. */
enum path_sign link_watch_path(struct link *link);
/* Its figures, for a log line; or NULL. */
const struct path_watch *link_path(const struct link *link);
void link_send_config(struct link *link, const char *json);
void link_send_drain(struct link *link, uint32_t deadline_secs);
/* Hub, to an edge that takes FEATURE_COLLAPSE: on_collapse() is told there.  Nothing drains.  It
 * may be lost when the peer allows no more streams; tell it again when the path does not mend. */
void link_tell_collapse(struct link *link);
/* GOODBYE, then LEAVING. */
void link_goodbye(struct link *link, enum goodbye_code code, const char *message,
                  uint32_t retry_after_secs);

/* --- what it knows --- */

void *link_owner(const struct link *link);
struct loop *link_loop(const struct link *link);
enum link_state link_state(const struct link *link);
const struct lane *
link_lane(const struct link *link); /* counters, rtt, drain; frames: NULL before OPEN */
enum link_transport link_transport(const struct link *link);
/* "tcpTls", "quic": for status, metrics and logs. */
const char *link_transport_name(enum link_transport transport);
const char *link_cipher(const struct link *link); /* "AES-128-GCM" */
/* From when until when the peer's certificate is good; after on_secure.  0, -ERR_CERT. */
MUST_USE int link_peer_times(const struct link *link, int64_t *not_before, int64_t *not_after);
const union addr *link_peer(const struct link *link);
/* RFC 9266 channel binding of this very connection; after on_secure.  0, -ERR_TLS. */
MUST_USE int link_exporter(const struct link *link, uint8_t out[TLS_EXPORTER_BYTES]);
/* Why it is over: 0 in order, or the first error; and a sentence. */
int link_error(const struct link *link);
const char *link_error_text(const struct link *link);
/* The peer's last word, or NULL. */
const struct goodbye *link_peer_goodbye(const struct link *link);

#endif
