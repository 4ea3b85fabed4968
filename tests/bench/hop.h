/* hop - what the files of a hop (hop.c) share: its one state, and what they do for each other. */
#ifndef BENCH_HOP_H
#define BENCH_HOP_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define HEADER       9u /* id: u32, type: u8, length: u32 */
#define RECORD       16384u
#define SLOT         (RECORD - HEADER)
#define SLOTS        16u
#define PLAIN_BYTES  (SLOTS * RECORD)
#define SEALED_BYTES (2u * PLAIN_BYTES)
#define RAW_BYTES    (512u << 10)
#define HELD_MAX     (4u << 20) /* for targets that are slow; past it the tunnel is not read */
#define STREAMS_MAX  16384u

enum type { TYPE_OPEN = 1, TYPE_DATA, TYPE_FIN };

struct stream {
    uint32_t id;
    int fd;
    bool is_readable, is_ready, read_ended, write_ended, fin_waits;
    struct stream *next_ready;
    uint8_t *held; /* owned: what the socket did not take yet */
    size_t held_at, held_len, held_size;
};

extern struct hop {
    int epoll, listener, fd;
    bool is_in, is_readable, is_full; /* the tunnel's socket */
    uint16_t target;
    gnutls_session_t tls; /* NULL: unencrypted */
    struct stream *streams[STREAMS_MAX];
    uint32_t spare_ids[STREAMS_MAX], spare_count;
    struct stream *ready, **ready_end;
    size_t held;

    size_t plain_len, sealed_at, sealed_len, raw_at, raw_len;
    uint8_t plain[PLAIN_BYTES], sealed[SEALED_BYTES], raw[RAW_BYTES];

    uint8_t header[HEADER]; /* of the frame that is being read */
    size_t header_len;
    uint32_t left;
    struct stream *to; /* whose payload it is; NULL: dropped */
    struct iovec run[64];
    unsigned run_count;
    struct stream *run_of;
} hop;

_Noreturn void die(const char *what);
void watch(int fd, void *what, bool is_edge);

/* --- hop_stream.c: the sockets of clients and targets -------------------------------------------
 */

struct stream *stream_new(uint32_t id, int fd);
/* It waits to be read. */
void stream_make_ready(struct stream *s);
/* As many full slots as there is room for; what comes is one run of frames without a gap. */
void stream_read(struct stream *s);
/* Nothing more goes to its socket once what is held is written. */
void stream_end(struct stream *s);
void stream_write_held(struct stream *s);
/* What came in for one stream leaves in one call. */
void stream_flush_run(void);
void stream_close_if_done(struct stream *s);

/* --- hop_tunnel.c: frames, records, and the one connection ---------------------------------------
 */

/* A frame without payload. */
void tunnel_put(uint32_t id, enum type type);
/* Before the payload, which stands at `to + HEADER` already. */
void tunnel_put_header(uint8_t *to, uint32_t id, enum type type, size_t n);
void tunnel_read(void);
void tunnel_write(void);
/* Nothing is read from the sockets before the kernel has all that was read before. */
void tunnel_fill(void);
void tunnel_start_tls(void);

#endif
