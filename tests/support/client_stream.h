/* client_stream - a client's connection as an edge's lane has it: its stream, what came, and what a
 * test waits for. */
#ifndef SUPPORT_CLIENT_STREAM_H
#define SUPPORT_CLIENT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel/stream.h"
#include "wire/proxy.h"

struct link;
struct loop;

struct client_stream {
    struct stream stream;
    struct loop *loop; /* borrowed from the link */
    char got[4096];
    size_t got_len;
};

/* 192.0.2.1:`src_port` at port `dst_port` of 198.51.100.2; PROXY_STREAM or PROXY_DGRAM. */
struct proxy_header client_header(uint8_t transport, uint16_t src_port, uint16_t dst_port);

/* A new one; fine on a zeroed one and on one that was opened before.  stream_release() ends it. */
void client_stream_open(struct client_stream *c, struct link *link, uint16_t src_port,
                        uint16_t dst_port);
/* All of it: there must be room. */
void client_stream_says(struct client_stream *c, const char *text);
/* Takes what has come. */
void client_stream_take(struct client_stream *c);

/* --- conditions, of a struct client_stream */

/* Takes what comes. */
bool client_stream_is_at_end(void *arg);
bool client_stream_is_reset(void *arg);

#endif
