/* stream - a connected socket, with TLS or without: one way to read and write for the client above.
 */
#ifndef WS_STREAM_H
#define WS_STREAM_H

#include "buf/bufq.h"
#include "tls/tls.h"

#define WS_READ_BYTES 16384u

struct ws_stream {
    int fd;                  /* owned; -1 */
    struct tls *tls;         /* owned; NULL: plain */
    struct chunk_pool *pool; /* borrowed from the loop */
    uint8_t *in;             /* owned: what the plain socket was read into */
    bool is_blocked;         /* the socket takes no more at the moment */
};

/* Takes the descriptor over. */
void ws_stream_init(struct ws_stream *s, struct chunk_pool *pool, int fd);
/* Wipes and frees, closes the descriptor; fine on one that is zeroed but for fd -1. */
void ws_stream_fini(struct ws_stream *s);
/* From now on all is TLS.  0, -ERR_NOMEM, -ERR_TLS, -ERR_SYNTAX. */
MUST_USE int ws_stream_secure(struct ws_stream *s, struct tls_ctx *ctx, const char *name);
/* As tls_handshake(). */
MUST_USE enum io ws_stream_handshake(struct ws_stream *s);

/* The next piece, at most WS_READ_BYTES, borrowed until the next call.  IO_EOF: the end, in order
 * or not; IO_FAIL: *err says why. */
MUST_USE enum io ws_stream_read(struct ws_stream *s, const uint8_t **bytes, size_t *n, int *err);
/* Takes from `out` what the socket takes.  IO_OK: everything is with the kernel. */
MUST_USE enum io ws_stream_write(struct ws_stream *s, struct bufq *out, int *err);
/* Queues what tells the other side that no more will come (TLS). */
void ws_stream_bye(struct ws_stream *s);
/* Readiness that the next step needs; `reads`: the caller wants input. */
unsigned ws_stream_wants(const struct ws_stream *s, bool reads);
/* Input lies here already: readiness of the socket would not tell. */
bool ws_stream_has_input(const struct ws_stream *s);

#endif
