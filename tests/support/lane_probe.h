/* lane_probe - one lane, and a test that plays its peer by hand: any frame in, legal or not, and
 * every frame that comes out, one by one.  Time stands still unless the test moves it.
 */
#ifndef SUPPORT_LANE_PROBE_H
#define SUPPORT_LANE_PROBE_H

#include "tunnel/lane.h"

#define PROBE_STREAMS      96
#define PROBE_REFUSED_PORT 9  /* refused with 0x03 */
#define PROBE_BUSY_PORT    10 /* refused with 0x01 */

struct probe_stream {
    struct stream stream;
    unsigned changes;
};

struct probe_udp {
    struct udp_session session;
    unsigned closes;
    uint64_t datagrams, bytes;
    uint8_t *newest; /* owned */
    size_t newest_len;
};

struct lane_probe {
    struct lane lane;
    struct budget budget;
    struct chunk_pool pool;
    uint64_t now_ms;
    struct probe_stream streams[PROBE_STREAMS]; /* in the order of opening */
    unsigned stream_count;
    struct probe_udp udp[PROBE_STREAMS]; /* the same */
    unsigned udp_count;
    unsigned wakes, drains, controls;
    char *control;              /* owned: the newest CONFIG or CONFIG_ACK that came */
    bool refuse_control;        /* on_control() says that its content is invalid */
    struct proxy_header client; /* of the newest OPEN */
    uint8_t *out;               /* owned: what the lane sent and the test has not looked at */
    size_t out_at, out_len;
    size_t record_max; /* the longest record so far */
};

struct probe_frame {
    uint32_t stream;
    uint8_t type;
    uint32_t len;
    const uint8_t *payload; /* borrowed until the next probe_next() */
};

void lane_probe_init(struct lane_probe *p, enum lane_role role);
/* A lane on QUIC: the test calls lane_quic_*() itself; the functions for frames are not for it. */
void lane_probe_init_quic(struct lane_probe *p, enum lane_role role);
void lane_probe_fini(struct lane_probe *p);

/* Frames into the lane; what lane_input() says.  lane_check() runs after each. */
int probe_send(struct lane_probe *p, uint32_t stream, unsigned type, const void *payload, size_t n);
int probe_send_text(struct lane_probe *p, unsigned type, const char *json);
/* OPEN with a proper line for this port; or DATA (DATA_BACK) of n bytes 'x'. */
int probe_open(struct lane_probe *p, uint32_t stream, uint16_t port);
int probe_data(struct lane_probe *p, uint32_t stream, size_t n);
int probe_credit(struct lane_probe *p, uint32_t stream, uint32_t n);
/* UDP_OPEN with a proper header for this port; UDP_DATA (UDP_DATA_BACK) of n bytes 'u'. */
int probe_udp_open(struct lane_probe *p, uint32_t id, uint16_t port);
int probe_udp_data(struct lane_probe *p, uint32_t id, size_t n);
/* FIN (code 0) or reset. */
int probe_close(struct lane_probe *p, uint32_t stream, unsigned code);

/* The next frame that the lane sends; false: none. */
bool probe_next(struct lane_probe *p, struct probe_frame *f);
/* It must be this one. */
void probe_expect(struct lane_probe *p, uint32_t stream, unsigned type, uint32_t len);
/* GOODBYE with this code must be next, and nothing after it, whatever happens. */
void probe_expect_goodbye(struct lane_probe *p, const char *code);
void probe_expect_silence(struct lane_probe *p);

/* Edge: opens the next stream, whose OPEN then waits; its index.  probe_dial() takes the OPEN out.
 */
unsigned probe_ask(struct lane_probe *p);
unsigned probe_dial(struct lane_probe *p);
/* The same for a UDP session. */
unsigned probe_udp_ask(struct lane_probe *p);
unsigned probe_udp_dial(struct lane_probe *p);
/* Puts n bytes 'y' into stream i; all of them must find room. */
void probe_write(struct lane_probe *p, unsigned i, size_t n);
/* Reads n bytes of stream i; they must be there. */
void probe_read(struct lane_probe *p, unsigned i, size_t n);
/* Moves the clock and ticks; what lane_tick() says. */
int probe_wait(struct lane_probe *p, uint64_t ms);

#endif
